//! `affectd safe`: GPIO lines to their safe level, for when the daemon is gone.

use std::path::PathBuf;
use std::process::ExitCode;

use super::CommandResult;
use crate::board::Board;
use crate::output::gpio;

/// Put a board's GPIO lines to their safe level and exit
///
/// For systemd's ExecStopPost=: after a crash or SIGKILL the kernel releases
/// the lines, and what level that leaves depends on the board.
#[derive(clap::Args)]
#[command(after_help = "Example:\n  affectd safe /etc/affectd/board.toml")]
pub struct Args {
    /// The board file
    #[arg(value_name = "BOARD")]
    board: PathBuf,
}

/// Sets the lines.
///
/// # Errors
/// A board file that cannot be used, or lines that cannot be set.
pub fn run(args: &Args) -> CommandResult {
    if let Some(options) = Board::load(&args.board)?.gpio {
        gpio::set_safe(&options)?;
    }
    Ok(ExitCode::SUCCESS)
}
