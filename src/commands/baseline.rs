//! `affectd baseline`: records how the one person who uses a machine looks at rest.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use clap::Subcommand;
use log::warn;

use super::CommandResult;
use crate::board::{Board, BoardSource};
use crate::daemon;
use crate::decide::baseline::{Mode, Obstacle, Progress};

/// Record how a person looks at rest
///
/// affectd compares every face with an average one, so a person whose resting
/// mouth turns down may be "sad" all day. If only one person uses the machine,
/// a recorded baseline corrects that: [decide.baseline] mode = "stored".
#[derive(clap::Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is shown by --help"
)]
pub struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand)]
enum Action {
    Record(RecordArgs),
}

/// Record the person in front of the camera, and store the baseline in the
/// [state] directory
///
/// This takes 5 seconds at rest: one person alone, the face to the camera, eyes
/// open, mouth shut, no smile. After 30 seconds the command gives up and says
/// what was missing. The board's displays show the countdown. Only numbers are
/// stored, no picture. No other program may use the camera: stop a running
/// affectd first.
#[derive(clap::Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is shown by --help"
)]
#[command(after_help = "\
Examples:
  sudo systemctl stop affectd
  sudo affectd baseline record --board /etc/affectd/board.toml
  sudo systemctl start affectd

Exit codes: 0 recorded, 1 not recorded, 2 wrong usage.")]
pub struct RecordArgs {
    /// This board file alone, in place of the system's
    #[arg(long, value_name = "FILE")]
    board: Option<PathBuf>,
}

/// Records a baseline.
///
/// # Errors
/// See [`daemon::record_baseline`].
pub fn run(args: &Args) -> CommandResult {
    let Action::Record(args) = &args.action;
    let board = Board::load(&BoardSource::of(args.board.clone()))?;
    for warning in &board.warnings {
        warn!("{}:{warning}", warning.file.display());
    }
    let mode = board.baseline.mode;
    let mut told = None;
    let stored = daemon::record_baseline(board, |progress| tell(progress, &mut told))
        .map_err(|error| -> Box<dyn Error> { error })?;
    println!("recorded: {}", stored.display());
    if mode != Mode::Stored {
        println!("it takes effect with [decide.baseline] mode = \"stored\"");
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a line for each second that is left, and for each new obstacle.
fn tell(progress: &Progress, told: &mut Option<(Duration, Option<Obstacle>)>) {
    if let Progress::Running { left, obstacle } = progress {
        let seconds =
            Duration::from_secs(u64::try_from(left.as_millis().div_ceil(1000)).unwrap_or(0));
        let now = Some((seconds, *obstacle));
        if *told != now {
            *told = now;
            match obstacle {
                Some(obstacle) => println!("{obstacle}"),
                None => println!("{}: {} s", progress.advice(), seconds.as_secs()),
            }
        }
    }
}
