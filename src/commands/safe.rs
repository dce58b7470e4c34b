//! `affectd safe`: sets the GPIO lines to their safe level when the daemon is
//! not running.

use std::path::PathBuf;
use std::process::ExitCode;

use super::result::CommandResult;
use crate::board::{Board, BoardSource};
use crate::host::{restarts, state};
use crate::output::gpio;

/// Set a board's GPIO lines to their safe level and exit
///
/// For systemd's ExecStopPost=: after a crash or SIGKILL the kernel releases the
/// lines, and the level that they have then depends on the board.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  affectd safe\n  affectd safe robot.toml")]
pub struct Args {
    /// This board file alone, in place of the system's
    #[arg(value_name = "BOARD")]
    board: Option<PathBuf>,
}

/// Sets the lines.
///
/// # Errors
/// The board file is invalid, or a line cannot be set.
pub fn run(args: &Args) -> CommandResult {
    let board = Board::load(&BoardSource::of(args.board.clone()))?;
    // First the lines; the rest is only a note.
    let set = board.gpio.as_ref().map_or(Ok(()), gpio::set_safe);
    if let Some(reason) = restarts::end_by_service_manager()
        && let Some(directory) = board.state.directory()
        && let Err(error) = state::write(&directory, restarts::EXIT, Some(&reason))
    {
        log::warn!(
            "why affectd ended cannot be noted in {}: {error}",
            directory.display()
        );
    }
    set?;
    Ok(ExitCode::SUCCESS)
}
