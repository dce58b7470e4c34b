//! `affectd check`: reports everything that is wrong with a board file.

use std::error::Error;
use std::os::unix::fs::FileTypeExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use super::CommandResult;
use crate::assets::{self, ModelChoice};
use crate::board::{self, Board, BoardSource, Places};
use crate::capture::{self, Captured, SourceSpec};
use crate::control;
use crate::detect::{Cascade, Detector, Search};
use crate::host::{realtime, state};
use crate::metrics;
use crate::nn::Workspace;
use crate::observe::{Classifier, FaceNetworks};
use crate::output::{display, events, gpio, record};
use crate::preview;

/// How long to wait for a camera's first frame.
const FIRST_FRAME: Duration = Duration::from_secs(5);

/// Report everything that is wrong with a board file
///
/// Reads the board file, the model and the cascade, and tries the privileges
/// that the section [process] needs. Uses no hardware unless you give
/// --hardware: then it also opens everything that `run` opens. GPIO lines go to
/// their safe level, displays are set up and stay dark, and files and sockets
/// that the check created are removed.
#[derive(clap::Args)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is shown by --help"
)]
#[command(after_help = "\
Examples:
  affectd check boards/raspberry-pi-4.toml
  affectd check --hardware /etc/affectd/board.toml

Exit codes: 0 nothing is wrong, 1 something is wrong, 2 wrong usage.")]
pub struct Args {
    /// This board file alone, in place of the system's
    #[arg(value_name = "BOARD")]
    board: Option<PathBuf>,

    /// Print the settings that all board files together give, with the file and the line
    /// of each key
    #[arg(long, conflicts_with = "hardware")]
    effective: bool,

    /// Look for the system's board files below this directory, such as a mounted image
    #[arg(long, value_name = "DIR", conflicts_with_all = ["board", "hardware"])]
    root: Option<PathBuf>,

    /// Also open the camera, GPIO lines, displays, event outputs, sensors
    #[arg(long)]
    hardware: bool,
}

/// Checks a board file and prints a line for each thing that was checked.
///
/// # Errors
/// The board file has problems.
pub fn run(args: &Args) -> CommandResult {
    let source = match &args.root {
        Some(root) => BoardSource::Layers(Places::below(root)),
        None => BoardSource::of(args.board.clone()),
    };
    if args.effective {
        print!("{}", source.effective()?);
        Board::load(&source)?;
        return Ok(ExitCode::SUCCESS);
    }
    let board = Board::load(&source)?;
    let mut findings = Findings::default();
    for file in source.files()? {
        findings.note("board file", Ok(file.display().to_string()));
    }
    for warning in &board.warnings {
        println!("note    {}:{warning}", warning.file.display());
    }
    findings.note("model", model(&board));
    findings.note("face", face(&board));
    findings.note("cascade", cascade(&board));
    findings.note("process", privileges(&board.process));
    if let SourceSpec::Command(command) = &board.capture.source {
        findings.note("capture.command", producer(command));
    }
    if args.hardware {
        hardware(&board, &mut findings);
    }
    Ok(if findings.bad == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Opens everything that `run` opens.
fn hardware(board: &Board, findings: &mut Findings) {
    for clash in board::clashes(&board.claims) {
        findings.note("board file", Err(clash.into()));
    }
    findings.note("camera", camera(board));
    if let Some(options) = &board.gpio {
        findings.note("gpio", gpio_lines(options));
    }
    for options in &board.displays {
        let answer = display::probe(options).map(|()| match options.kind {
            display::Kind::Png(_) => "can be written".to_owned(),
            _ => "answers".to_owned(),
        });
        findings.note(&options.kind.to_string(), answer.map_err(Into::into));
    }
    if let Some(options) = &board.events {
        let errors = events::probe(options);
        if errors.is_empty() {
            findings.note("events", Ok("can be written".to_owned()));
        }
        for error in errors {
            findings.note("events", Err(error.into()));
        }
    }
    let record = board
        .fatigue
        .as_ref()
        .and_then(|fatigue| fatigue.record.as_ref());
    if let Some(options) = record {
        let answer = record::probe(options).map(|()| "can be written".to_owned());
        findings.note("record", answer.map_err(Into::into));
    }
    if let Some(options) = &board.control {
        let made = control::probe(options).map(|()| "can be created".to_owned());
        findings.note("control", made.map_err(Into::into));
    }
    if let Some(options) = &board.metrics {
        let written = metrics::probe_file(options)
            .map(|()| format!("{} can be written", options.file.display()))
            .map_err(|error| format!("{}: {error}", options.file.display()).into());
        findings.note("metrics", written);
    }
    if let Some(options) = &board.http {
        let made = metrics::probe_socket(options).map(|()| "can be made".to_owned());
        findings.note("http", made.map_err(Into::into));
    }
    if let Some(options) = &board.preview {
        let made = preview::probe(options).map(|()| "can be made".to_owned());
        findings.note("preview", made.map_err(Into::into));
    }
    if let Some(options) = &board.thermal {
        for path in [&options.zone, &options.throttled].into_iter().flatten() {
            findings.note("thermal", sensor(path));
        }
    }
    if let Some(options) = &board.watchdog {
        findings.note("watchdog", watchdog(&options.device));
    }
    if let Some(directory) = board.state.directory() {
        findings.note("state", state_directory(&directory));
    }
}

/// Writes a file there and removes it.
fn state_directory(directory: &Path) -> Result<String, Box<dyn Error>> {
    const NAME: &str = "check";
    state::write(directory, NAME, Some(""))
        .and_then(|()| state::write(directory, NAME, None))
        .map_err(|error| format!("{}: {error}", directory.display()))?;
    Ok(format!("{} can be written", directory.display()))
}

fn sensor(path: &Path) -> Result<String, Box<dyn Error>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(format!("{}: {}", path.display(), text.trim())),
        Err(error) => Err(format!("{}: {error}", path.display()).into()),
    }
}

/// Looks at the device without opening it: that would start the watchdog, which
/// some drivers never stop.
fn watchdog(device: &Path) -> Result<String, Box<dyn Error>> {
    let failed = |error: &dyn std::fmt::Display| format!("{}: {error}", device.display());
    let found = std::fs::metadata(device).map_err(|error| failed(&error))?;
    if !found.file_type().is_char_device() {
        return Err(failed(&"this is not a device file").into());
    }
    access(device, Access::WRITE_OK).map_err(|error| {
        failed(&format_args!(
            "{error}; give the user the right to write to it"
        ))
    })?;
    Ok(format!("{} can be written", device.display()))
}

#[derive(Default)]
struct Findings {
    bad: usize,
}

impl Findings {
    fn note(&mut self, subject: &str, finding: Result<String, Box<dyn Error>>) {
        match finding {
            Ok(detail) => println!("ok      {subject}: {detail}"),
            Err(error) => {
                self.bad += 1;
                println!("WRONG   {subject}: {error}");
            }
        }
    }
}

fn model(board: &Board) -> Result<String, Box<dyn Error>> {
    let classifier = Classifier::load(&assets::find_file(&board.classify.model)?)?;
    Ok(classifier.manifest().name.clone())
}

/// Which face networks verify boxes.
fn face(board: &Board) -> Result<String, Box<dyn Error>> {
    match board.face.files() {
        Some((face, eyes)) => {
            let networks = FaceNetworks::load(&face, eyes.as_deref(), &Workspace::default())?;
            let eyes = if eyes.is_some() { "with" } else { "without" };
            Ok(format!("{}, {eyes} eyes", networks.manifest().name))
        }
        None if board.face.model == ModelChoice::None => {
            Ok("none: every box of the cascade counts as a face".to_owned())
        }
        None => {
            Ok("no face net is installed: every box of the cascade counts as a face".to_owned())
        }
    }
}

fn cascade(board: &Board) -> Result<String, Box<dyn Error>> {
    let cascade = Cascade::load(&assets::find_file(&board.detect.cascade)?)?;
    let (width, height) = cascade.window();
    let detector = Detector::new(cascade, board.detect.detector.clone())?;
    Search::new(detector, board.detect.search.clone())?;
    Ok(format!(
        "{}, window {width}x{height}",
        board.detect.cascade.display()
    ))
}

/// The path of the program that writes the frames.
fn producer(command: &[String]) -> Result<String, Box<dyn Error>> {
    let program = command.first().ok_or("the list is empty")?;
    Ok(capture::find_program(program)?.display().to_string())
}

/// Tries the settings of `[process]` with the rights of this user.
fn privileges(options: &realtime::Options) -> Result<String, Box<dyn Error>> {
    let mut granted = vec![format!("frame arena of {} KiB", options.arena >> 10)];
    if options.lock_memory {
        realtime::lock_memory()?;
        realtime::unlock_memory();
        granted.push("memory can be locked".to_owned());
    }
    if let Some(priority) = options.realtime_priority {
        realtime::set_realtime(priority)?;
        realtime::set_ordinary();
        granted.push(format!("SCHED_FIFO priority {priority} is allowed"));
    }
    Ok(granted.join(", "))
}

fn camera(board: &Board) -> Result<String, Box<dyn Error>> {
    let mut source = capture::open(&board.capture)?;
    let patience = match board.capture.source {
        SourceSpec::Command(_) => FIRST_FRAME.max(board.capture.start_timeout),
        _ => FIRST_FRAME,
    };
    let deadline = Instant::now() + patience;
    let mut problem = format!("no frame within {} s", patience.as_secs());
    while Instant::now() < deadline {
        match source.next(Duration::from_millis(100)) {
            Captured::Frame(_) => return Ok(source.description()),
            Captured::Lost { reason } => problem = reason.to_owned(),
            Captured::Waiting | Captured::Skipped => {}
            Captured::Ended => return Err("the recording has no frame".into()),
        }
    }
    Err(problem.into())
}

fn gpio_lines(options: &gpio::Options) -> Result<String, Box<dyn Error>> {
    gpio::set_safe(options)?;
    Ok(format!(
        "{} lines of {} at their safe level",
        options.lines.len(),
        options.chip
    ))
}
