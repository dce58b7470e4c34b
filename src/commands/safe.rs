//! `affectd safe`: sets the GPIO lines to their safe level when the daemon is
//! not running.

use std::path::PathBuf;
use std::process::ExitCode;

use super::CommandResult;
use crate::board::Board;
use crate::output::gpio;

/// Set a board's GPIO lines to their safe level and exit
///
/// For systemd's ExecStopPost=: after a crash or SIGKILL the kernel releases the
/// lines, and the level that they have then depends on the board.
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
/// The board file is invalid, or a line cannot be set.
pub fn run(args: &Args) -> CommandResult {
    if let Some(options) = Board::load(&args.board)?.gpio {
        gpio::set_safe(&options)?;
    }
    Ok(ExitCode::SUCCESS)
}
