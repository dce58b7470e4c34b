//! `affectd run`: the daemon.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use log::warn;

use super::CommandResult;
use crate::board::{Board, BoardSource};
use crate::capture::{self, Pace, PixelFormat, SourceSpec};
use crate::daemon::{self, AnyError};
use crate::frame::parse_size;
use crate::image::turn::Rotation;

/// Run the daemon: frames in, GPIO lines, displays and events out
///
/// Runs until SIGTERM or SIGINT, or until a recording ends. SIGHUP reads the
/// board file again; if the file has errors, they are logged and the old
/// settings stay in force.
#[derive(Clone, clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// This board file alone, in place of the system's: /usr/share/affectd/board.toml,
    /// /etc/affectd/board.toml and the drop-ins in board.d beside them
    #[arg(long, value_name = "FILE")]
    board: Option<PathBuf>,

    /// Take frames from this source instead of the board file's
    #[arg(long, value_name = "SOURCE")]
    source: Option<SourceSpec>,

    /// Pixel format, with --source: yuyv, uyvy, nv12, i420, grey, y16, rgb24, bgr24 or
    /// mjpg, by these names or those of ffmpeg, GStreamer and V4L2. Y4M and JPEGs on
    /// standard input need none
    #[arg(long, requires = "source")]
    format: Option<PixelFormat>,

    /// Size in pixels, with --source; raw frames need it
    #[arg(long, value_name = "WIDTHxHEIGHT", requires = "source", value_parser = parse_size)]
    size: Option<(u32, u32)>,

    /// Frames per second, with --source
    #[arg(long, requires = "source")]
    fps: Option<f32>,

    /// Rotate the picture clockwise by 0, 90, 180 or 270 degrees instead of the board file's rotation
    #[arg(long, value_name = "DEGREES")]
    rotation: Option<Rotation>,

    /// Exchange left and right, after the rotation
    #[arg(long)]
    mirror: bool,

    /// Replay a recording as fast as this machine can
    #[arg(long)]
    fast: bool,

    /// Start a recording again when it ends
    #[arg(long)]
    repeat: bool,

    /// On exit and on SIGHUP, print the time of each stage and the memory in use to standard error
    #[arg(long)]
    stats: bool,
}

const EXAMPLES: &str = "\
Examples:
  affectd run --board boards/desk.toml --stats
  affectd run --board boards/desk.toml --source /dev/video0
  rpicam-vid -n -t 0 --width 640 --height 480 --codec yuv420 -o - |
    affectd run --board boards/raspberry-pi-5.toml --source - --format i420 --size 640x480";

/// Runs the daemon.
///
/// # Errors
/// The daemon cannot start: the board file or a model cannot be used, the
/// camera does not support the settings, or a GPIO line is in use.
pub fn run(args: &Args) -> CommandResult {
    let stats = args.stats;
    let args = args.clone();
    // The error without `Send` and `Sync`, which `?` does not remove.
    daemon::run(Arc::new(move || args.board()), stats)
        .map_err(|error| -> Box<dyn Error> { error })?;
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The board file, with the settings that the command line replaces.
    fn board(&self) -> Result<Board, AnyError> {
        let mut board = Board::load(&BoardSource::of(self.board.clone()))?;
        for warning in &board.warnings {
            warn!("{}:{warning}", warning.file.display());
        }
        let capture = &mut board.capture;
        if let Some(source) = &self.source {
            *capture = capture::Options {
                source: source.clone(),
                size: self.size,
                fps: self.fps,
                format: self.format,
                ..capture::Options::default()
            };
        }
        if let Some(rotation) = self.rotation {
            capture.turn.rotation = rotation;
        }
        capture.turn.mirror |= self.mirror;
        if self.fast {
            capture.pace = Pace::Fast;
        }
        capture.repeat |= self.repeat;
        Ok(board)
    }
}
