//! `affectd run`: the daemon.

use std::error::Error;
use std::path::PathBuf;
use std::process::ExitCode;

use log::{error, info, warn};

use super::CommandResult;
use crate::assets;
use crate::board::Board;
use crate::capture::{self, Pace, PixelFormat, Source, SourceSpec};
use crate::decide::Decider;
use crate::detect::{Cascade, Detector, Search};
use crate::frame::parse_size;
use crate::host::logging;
use crate::host::memory;
use crate::host::realtime;
use crate::host::service::Notifier;
use crate::host::signals::Signals;
use crate::host::thermal::Thermometer;
use crate::host::watchdog::HardwareWatchdog;
use crate::image::turn::Rotation;
use crate::observe::Classifier;
use crate::output::{Output, display, events, gpio};
use crate::pipeline::{Pipeline, Stages, Step};
use crate::track::Tracker;

/// Run the daemon: frames in, GPIO lines, displays and events out
///
/// Runs until SIGTERM or SIGINT, or until a recording ends. SIGHUP reads the
/// board file again; if the file has errors, they are logged and the settings in
/// force stay.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// The board file
    #[arg(long, value_name = "FILE")]
    board: PathBuf,

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
/// What made starting pointless: a board file that cannot be used, a model that
/// is refused, a camera that cannot do what is asked of it, a GPIO line that
/// cannot be had.
pub fn run(args: &Args) -> CommandResult {
    let signals = Signals::install()?;
    realtime::keep_pages_small();
    let mut notifier = Notifier::from_environment();
    let mut daemon = Daemon::start(args.board()?)?;
    notifier.ready();

    let reason = loop {
        if let Some(signal) = signals.stop_requested() {
            break signal;
        }
        if signals.take_reopen() {
            daemon.pipeline.reopen_files();
        }
        if signals.take_reload() {
            notifier.reloading();
            daemon = daemon.reload(args)?;
            notifier.ready();
        }
        #[cfg(feature = "rig")]
        crate::host::rig::obey();
        daemon.look_at_temperature();
        match daemon.pipeline.step() {
            Step::Frame => notifier.status("streaming"),
            Step::NoFrame if daemon.pipeline.is_waiting_for_camera() => {
                notifier.status("waiting for the camera");
            }
            // The loop is alive, and a source that delivers nothing reports its
            // loss itself.
            Step::NoFrame => {}
            // Frames that are only passed over must not feed the watchdogs.
            Step::PassedOver => continue,
            Step::Ended => break "end of recording",
        }
        notifier.feed();
        if let Some(watchdog) = &mut daemon.watchdog {
            watchdog.feed();
        }
    };

    daemon.pipeline.between_frames(|| {
        notifier.stopping();
        info!("stopping: {reason}");
    });
    daemon.pipeline.finish(reason);
    if let Some(watchdog) = daemon.watchdog {
        watchdog.stop();
    }
    if args.stats {
        logging::print(format_args!("{}", daemon.pipeline.stats()));
    }
    Ok(ExitCode::SUCCESS)
}

impl Args {
    /// The board file with what the command line says instead.
    fn board(&self) -> Result<Board, Box<dyn Error>> {
        let mut board = Board::load(&self.board)?;
        for warning in &board.warnings {
            warn!("{}:{warning}", self.board.display());
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

/// The size of frames that is tried out where the board file names none.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// A board at work.
struct Daemon {
    board: Board,
    pipeline: Pipeline,
    thermometer: Option<Thermometer>,
    watchdog: Option<HardwareWatchdog>,
}

impl Daemon {
    fn start(board: Board) -> Result<Self, Box<dyn Error>> {
        // Whoever is still in a scope belongs to a source that was closed.
        memory::give_back_large_blocks();
        if let Err(error) = memory::reserve(board.process.arena) {
            warn!("the system gives no memory for the frame arena (process.arena_kib): {error}");
        }
        let (mut stages, model) = stages(&board)?;
        let (width, height) = board
            .capture
            .turn
            .size(board.capture.size.unwrap_or(USUAL_SIZE));
        stages.rehearse(width, height)?;
        let source = capture::open(&board.capture)?;
        info!("{}: {}", board.name, source.description());
        let outputs = outputs(&board, &*source, &model)?;
        if board.process.lock_memory {
            realtime::lock_memory()?;
        }
        // Now that all threads are started, which would inherit it.
        if let Some(priority) = board.process.realtime_priority {
            realtime::set_realtime(priority)?;
        }
        // Last: from here on it has to be fed.
        let watchdog = board.watchdog.as_ref();
        let watchdog = watchdog.map(HardwareWatchdog::start).transpose()?;
        Ok(Self {
            pipeline: Pipeline::new(source, stages, outputs),
            thermometer: board.thermal.clone().map(Thermometer::new),
            watchdog,
            board,
        })
    }

    fn look_at_temperature(&mut self) {
        if let Some(thermometer) = &mut self.thermometer
            && let Some((hot, reason)) = thermometer.look()
        {
            if hot {
                warn!("too hot ({reason}): about every other frame is passed over");
            } else {
                info!("cool again ({reason}): all frames are taken");
            }
            self.pipeline.set_hot(hot, reason);
        }
    }

    /// Starts anew with the board file as it is now, or goes on with the old
    /// one where that cannot be.
    fn reload(mut self, args: &Args) -> Result<Self, Box<dyn Error>> {
        let board = self.pipeline.between_frames(|| match args.board() {
            Ok(board) => {
                info!("reading {} again", args.board.display());
                Some(board)
            }
            Err(error) => {
                error!("the old board file stays in force: {error}");
                None
            }
        });
        let Some(board) = board else {
            return Ok(self);
        };
        // Camera, lines and socket can be had once only: let go of them first.
        self.pipeline.finish("reload");
        if args.stats {
            logging::print(format_args!("{}", self.pipeline.stats()));
        }
        let old = self.board;
        drop(self.pipeline);
        if let Some(watchdog) = self.watchdog {
            watchdog.stop();
        }
        if old.process.realtime_priority.is_some() {
            realtime::set_ordinary();
        }
        realtime::unlock_memory();
        Self::start(board).or_else(|error| {
            error!("the old board file comes back into force: {error}");
            Self::start(old)
        })
    }
}

fn outputs(
    board: &Board,
    source: &dyn Source,
    model: &str,
) -> Result<Vec<Box<dyn Output>>, Box<dyn Error>> {
    let mut outputs: Vec<Box<dyn Output>> = Vec::new();
    let mut names = Vec::new();
    // GPIO first: it is what a robot waits for.
    if let Some(options) = &board.gpio {
        outputs.push(Box::new(gpio::open(options)?));
        names.push("gpio".to_owned());
    }
    names.extend(
        board
            .displays
            .iter()
            .map(|options| options.kind.to_string()),
    );
    if let Some(options) = &board.events {
        let hello = events::Hello {
            source: source.description(),
            live: source.is_live(),
            model: model.to_owned(),
            outputs: names,
        };
        outputs.push(Box::new(events::Events::new(options, hello)?));
    }
    for options in &board.displays {
        outputs.push(display::open(options)?);
    }
    Ok(outputs)
}

/// The stages, and the name of the expression model. A further model is loaded
/// here and added as one more observer.
fn stages(board: &Board) -> Result<(Stages, String), Box<dyn Error>> {
    let cascade = Cascade::load(&assets::find_file(&board.detect.cascade)?)?;
    let detector = Detector::new(cascade, board.detect.detector.clone())?;
    let search = Search::new(detector, board.detect.search.clone())?;
    let classifier = Classifier::load(&assets::find_file(&board.classify.model)?)?;
    let model = classifier.manifest().name.clone();
    let stages = Stages::new(
        search,
        Tracker::new(board.track),
        Decider::new(board.decide),
    )
    .with_observer(classifier, board.classify.interval);
    Ok((stages, model))
}
