//! The daemon: builds every part from a board file, runs the loop, and applies
//! a changed board file while it runs.
//!
//! A reload (SIGHUP) changes as little as possible. A thread of its own does
//! the slow work that may fail: it reads the board file and loads models while
//! the loop continues. Then, between two frames, parts are exchanged: the
//! source and the outputs only if their settings differ, the stages always,
//! because the files of the models may have changed. Followed faces are kept.
//! If a step fails, exchanged parts are put back, and the daemon continues with
//! the old board file.

use std::cell::OnceCell;
use std::error::Error;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::{Duration, Instant};

use log::{error, info, warn};

use crate::assets::{self, ModelChoice};
use crate::board::Board;
use crate::capture::{self, CaptureError, Closed, Pace, Source, SourceSpec};
use crate::control::{self, Command, Control};
use crate::decide::Decider;
use crate::decide::baseline::{self, Mode, Obstacle, Progress, Rest, StoredError};
use crate::detect::{Cascade, Detector, Search};
use crate::health::Health;
use crate::host::service::Notifier;
use crate::host::signals::Signals;
use crate::host::state::{self, State};
use crate::host::thermal::Thermometer;
use crate::host::watchdog::{self, HardwareWatchdog};
use crate::host::{identity, logging, memory, realtime, restarts};
use crate::http::{self, Server};
use crate::incident;
use crate::metrics::{self, FileOptions, HttpOptions, MetricsFile};
use crate::monitor::{Known, Monitor};
use crate::nn::Workspace;
use crate::observe::{Classifier, FaceNetworks, FieldOfView};
use crate::output::events::{Announcer, Events, Hello};
use crate::output::gpio::Lines;
use crate::output::record::{self, Recorder};
use crate::output::{Output, PausedBy, display, events, gpio};
use crate::pipeline::{Pipeline, Stages, Step};
use crate::preview::{self, Preview, Remote};
use crate::snapshot::{Published, Snapshot};
use crate::track::Tracker;

/// An error of any part, from any thread.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Reads the board file, with the settings that the command line replaces.
pub type ReadBoard = dyn Fn() -> Result<Board, AnyError> + Send + Sync;

/// Runs the daemon until a signal or the end of a recording. `print_stats`:
/// print the time of each stage at the end and at each reload.
///
/// # Errors
/// A part cannot be built or opened at the start: see [`Board::load`],
/// [`capture::open`], [`gpio::open`], [`Events::new`]. After a failed reload: a
/// part that was closed for it cannot be opened again.
pub fn run(read_board: Arc<ReadBoard>, print_stats: bool) -> Result<(), AnyError> {
    let signals = Signals::install()?;
    realtime::keep_pages_small();
    let mut notifier = Notifier::from_environment();
    let board = read_board()?;
    // Before the loop gets a real-time priority, which new threads inherit.
    let workshop = Workshop::start(read_board)?;
    let mut daemon = Daemon::start(board)?;
    notifier.ready();

    let mut reload = Reload::None;
    let reason = loop {
        if let Some(signal) = signals.stop_requested() {
            break signal;
        }
        if signals.take_reopen() {
            daemon.pipeline.reopen_files();
        }
        if signals.take_reload() {
            reload = match reload {
                Reload::None => {
                    let size = daemon.pipeline.frame_size();
                    daemon.pipeline.between_frames(|| {
                        notifier.reloading();
                        info!("reading the board file again");
                        workshop.prepare(size);
                    });
                    Reload::Preparing
                }
                // The file may have changed since it was read.
                Reload::Preparing | Reload::Again => Reload::Again,
            };
        }
        if let Some(prepared) = workshop.prepared() {
            let before = memory::usage().system_here;
            workshop.discard(daemon.reload(prepared)?);
            if print_stats {
                logging::print(format_args!("{}", daemon.pipeline.stats()));
            }
            reload = match reload {
                Reload::Again => {
                    workshop.prepare(daemon.pipeline.frame_size());
                    Reload::Preparing
                }
                Reload::None | Reload::Preparing => {
                    notifier.ready();
                    Reload::None
                }
            };
            daemon.pipeline.leave_out_allocations_since(before);
        }
        #[cfg(feature = "rig")]
        crate::host::rig::obey();
        daemon.look_at_temperature();
        daemon.obey_orders();
        daemon.look_at_pause();
        daemon.look_at_baseline_button();
        daemon.look_at_preview();
        daemon.look_at_health();
        match daemon.pipeline.step() {
            Step::Frame => notifier.status(&daemon.streaming),
            Step::NoFrame if daemon.pipeline.paused_by().is_any() => notifier.status("paused"),
            Step::NoFrame if daemon.pipeline.is_waiting_for_camera() => {
                notifier.status("waiting for the camera");
            }
            // The loop works; a source that delivers nothing reports its loss
            // itself.
            Step::NoFrame => {}
            // Frames that are only skipped must not feed the watchdogs.
            Step::PassedOver => continue,
            Step::Ended => break "end of recording",
        }
        if let Some(recorded) = daemon.pipeline.take_recorded() {
            daemon.keep_baseline(recorded);
        }
        notifier.feed();
        if let Some((_, watchdog)) = &mut daemon.watchdog {
            watchdog.feed();
        }
    };

    daemon.pipeline.between_frames(|| {
        notifier.stopping();
        info!("stopping: {reason}");
    });
    daemon.pipeline.finish(reason);
    restarts::end(&mut daemon.state, reason);
    if let Some((_, watchdog)) = daemon.watchdog {
        watchdog.stop();
    }
    if print_stats {
        logging::print(format_args!("{}", daemon.pipeline.stats()));
    }
    Ok(())
}

/// The progress of a reload.
enum Reload {
    None,
    /// The workshop prepares it.
    Preparing,
    /// The same, and another reload was requested meanwhile.
    Again,
}

/// The frame size of the rehearsal if no other size is known.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// The expected size of the frames, after they were turned: the requested one,
/// or that of the present frames.
fn expected_size(capture: &capture::Options, now: Option<(u32, u32)>) -> (u32, u32) {
    match (capture.size, now) {
        (Some(size), _) => capture.turn.size(size),
        (None, Some(now)) => now,
        (None, None) => capture.turn.size(USUAL_SIZE),
    }
}

/// A board file with the stages built from it.
struct Prepared {
    board: Board,
    stages: Stages,
    model: ModelIdentity,
}

/// The expression model that is in use.
#[derive(Clone, Debug)]
struct ModelIdentity {
    name: String,
    sha256: String,
}

/// Builds the stages of a board and rehearses them with the worst frame of this
/// size. To add another model, load it here and add it as another observer.
fn prepare(board: Board, size: (u32, u32)) -> Result<Prepared, AnyError> {
    if let Err(error) = memory::reserve(board.process.arena) {
        warn!("the system gives no memory for the frame arena (process.arena_kib): {error}");
    }
    let cascade = Cascade::load(&assets::find_file(&board.detect.cascade)?)?;
    let detector = Detector::new(cascade, board.detect.detector.clone())?;
    let search = Search::new(detector, board.detect.search.clone())?;
    let workspace = Workspace::default();
    let model_file = assets::find_file(&board.classify.model)?;
    let classifier = Classifier::load_in(&model_file, &workspace)?;
    let manifest = classifier.manifest();
    let model = ModelIdentity {
        name: manifest.name.clone(),
        sha256: manifest.sha256.to_ascii_lowercase(),
    };
    let mut decider = Decider::new(board.decide)
        .with_baseline(board.baseline)
        .with_stored_baseline(stored_baseline(&board, &model.name));
    if let Some(options) = board.facing {
        decider = decider.with_facing(options);
    }
    let mut stages = Stages::new(search, Tracker::new(board.track), decider)
        .with_observer(classifier, board.classify.interval);
    let face_files = board.face.files();
    if let Some((face, eyes)) = &face_files {
        let networks = FaceNetworks::load(face, eyes.as_deref(), &workspace)?;
        stages = stages.with_verifier(networks);
        if let Some(degrees) = board.horizontal_fov {
            stages = stages.with_field_of_view(FieldOfView {
                degrees,
                quarter_turned: board.capture.turn.rotation.is_quarter(),
            });
        }
    } else if board.facing.is_some() {
        return Err(format!(
            "the section [facing] needs a face net, but none is installed ({}.onnx): install it, \
             name one as face.model, or remove the section",
            assets::DEFAULT_FACE
        )
        .into());
    } else if board.face.model == ModelChoice::Shipped {
        info!(
            "no face net is installed ({}.onnx): every box of the cascade counts as a face",
            assets::DEFAULT_FACE
        );
    }
    if let Some(fatigue) = &board.fatigue {
        if !matches!(face_files, Some((_, Some(_)))) {
            return Err(format!(
                "the section [fatigue] needs a face net and an eye net, but they are not installed \
                 ({}.onnx, {}.onnx): install them, name others as face.model and face.eyes, or \
                 remove the section",
                assets::DEFAULT_FACE,
                assets::DEFAULT_EYES
            )
            .into());
        }
        stages = stages.with_fatigue(fatigue.rules);
    }
    stages.rehearse(size.0, size.1)?;
    Ok(Prepared {
        board,
        stages,
        model,
    })
}

/// The name of the recorded baseline in the state directory.
const BASELINE: &str = "baseline";

/// The recorded baseline, if the board asks for one and it can be used.
fn stored_baseline(board: &Board, model: &str) -> Option<Rest> {
    if board.baseline.mode != Mode::Stored {
        return None;
    }
    let directory = board.state.directory();
    let text = directory
        .as_deref()
        .and_then(|directory| state::read(directory, BASELINE));
    let (Some(directory), Some(text)) = (directory, text) else {
        warn!(
            "decide.baseline.mode is \"stored\", and no baseline is recorded: every face is \
             compared with the average one; `affectd baseline record` records one"
        );
        return None;
    };
    match Rest::from_text(&text, model) {
        Ok(rest) => Some(rest),
        Err(error @ StoredError::Damaged(_)) => {
            state::set_aside(&directory, BASELINE, &error);
            None
        }
        Err(error @ StoredError::OtherModel { .. }) => {
            warn!("{}: {error}", directory.join(BASELINE).display());
            None
        }
    }
}

const NO_FACE_NET: &str = "a baseline needs a face net, which detects when a face is at rest, but \
    this board has none: install the shipped one, or name one as face.model";

/// How much longer than its patience a recording waits for frames.
const FRAMES_MISSING: Duration = Duration::from_secs(10);

/// Records the baseline of the person in front of the board's camera, shows the
/// progress on its displays, and stores the baseline in the state directory.
/// Returns the file. Calls `tell` with the progress after each frame.
///
/// # Errors
/// The board has no face net or no state directory, a part cannot be opened, no
/// frames come, or no face in front of the camera was at rest for long enough.
pub fn record_baseline(board: Board, mut tell: impl FnMut(&Progress)) -> Result<PathBuf, AnyError> {
    if board.face.files().is_none() {
        return Err(NO_FACE_NET.into());
    }
    let Some(directory) = board.state.directory() else {
        return Err(
            "there is no place to store a baseline: name one in the board file, such as \
                    [state] directory = \"/var/lib/affectd\""
                .into(),
        );
    };
    let size = expected_size(&board.capture, None);
    let Prepared {
        board,
        stages,
        model,
    } = prepare(board, size)?;
    let source = capture::open(&board.capture)?;
    let displays: Result<Vec<_>, _> = board.displays.iter().map(display::open).collect();
    let mut pipeline = Pipeline::new(source, stages, displays?);
    pipeline.record_baseline();
    let last = Instant::now() + baseline::PATIENCE + FRAMES_MISSING;
    let outcome = loop {
        match pipeline.step() {
            Step::Frame => {}
            Step::Ended => break Err("the recording ended before a face was at rest for long enough: capture.repeat = true plays it again".into()),
            Step::NoFrame | Step::PassedOver if Instant::now() > last => {
                break Err(format!(
                    "{} gives no frames; if affectd runs, stop it first: systemctl stop affectd",
                    pipeline.source().description()
                )
                .into());
            }
            Step::NoFrame | Step::PassedOver => continue,
        }
        if let Some(progress) = pipeline.recording() {
            tell(progress);
        }
        if let Some(recorded) = pipeline.take_recorded() {
            break recorded.map_err(|obstacle| {
                format!(
                    "no baseline recorded within {} s: {obstacle}",
                    baseline::PATIENCE.as_secs()
                )
                .into()
            });
        }
    };
    let stored = outcome.and_then(|rest: Rest| {
        state::write(&directory, BASELINE, Some(&rest.to_text(&model.name))).map_err(|error| {
            format!(
                "the baseline cannot be written to {}: {error}",
                directory.display()
            )
            .into()
        })
    });
    pipeline.finish("recorded");
    stored.map(|()| directory.join(BASELINE))
}

/// The thread that prepares reloads. It starts before the loop gets a real-time
/// priority, so it never has one.
struct Workshop {
    jobs: Sender<Job>,
    prepared: Receiver<Result<Prepared, AnyError>>,
}

enum Job {
    /// Prepare the board file for frames of this size.
    Prepare(Option<(u32, u32)>),
    /// Free the stages that a reload replaced. Freeing a model takes some time.
    Discard(Box<Stages>),
}

/// Importing a network needs more stack than the default.
const WORKSHOP_STACK: usize = 8 << 20;

impl Workshop {
    fn start(read_board: Arc<ReadBoard>) -> std::io::Result<Self> {
        let (jobs, orders) = mpsc::channel();
        let (done, prepared) = mpsc::channel();
        thread::Builder::new()
            .name("reload".to_owned())
            .stack_size(WORKSHOP_STACK)
            .spawn(move || {
                for job in orders {
                    match job {
                        Job::Prepare(size) => {
                            let result = read_board().and_then(|board| {
                                let size = expected_size(&board.capture, size);
                                prepare(board, size)
                            });
                            if done.send(result).is_err() {
                                return;
                            }
                        }
                        Job::Discard(stages) => drop(stages),
                    }
                }
            })?;
        Ok(Self { jobs, prepared })
    }

    fn prepare(&self, size: Option<(u32, u32)>) {
        // The thread ends only when this is dropped.
        let _ = self.jobs.send(Job::Prepare(size));
    }

    fn prepared(&self) -> Option<Result<Prepared, AnyError>> {
        self.prepared.try_recv().ok()
    }

    fn discard(&self, stages: Option<Box<Stages>>) {
        if let Some(stages) = stages {
            let _ = self.jobs.send(Job::Discard(stages));
        }
    }
}

/// An output as the board file describes it.
#[derive(Clone, Debug, PartialEq)]
enum OutputOptions {
    Gpio(gpio::Options),
    Events {
        options: events::Options,
        /// Whether frames come in real time: events of a recording have other
        /// times.
        is_live: bool,
    },
    Display(display::Options),
    Preview {
        options: preview::Options,
        /// It shows the levels of the lines.
        gpio: Option<gpio::Options>,
        /// With these it finds out whether the picture is upright.
        upright: preview::UprightOptions,
    },
    Record {
        options: record::Options,
        /// Whether frames come in real time: then the loop does not wait for
        /// the file.
        is_live: bool,
    },
}

/// The outputs of a board in the order of their reports: GPIO first, because a
/// robot waits for it.
fn outputs_of(board: &Board, is_live: bool) -> Vec<OutputOptions> {
    let gpio = board.gpio.clone().map(OutputOptions::Gpio);
    let events = board
        .events
        .clone()
        .map(|options| OutputOptions::Events { options, is_live });
    let displays = board.displays.iter().cloned().map(OutputOptions::Display);
    let record = board
        .fatigue
        .as_ref()
        .and_then(|fatigue| fatigue.record.clone());
    let record = record.map(|options| OutputOptions::Record { options, is_live });
    let preview = board.preview.clone().map(|options| OutputOptions::Preview {
        options,
        gpio: board.gpio.clone(),
        upright: preview::UprightOptions {
            cascade: board.detect.cascade.clone(),
            detector: board.detect.detector.clone(),
        },
    });
    gpio.into_iter()
        .chain(events)
        .chain(displays)
        .chain(record)
        .chain(preview)
        .collect()
}

/// The running parts of a board.
struct Daemon {
    board: Board,
    model: ModelIdentity,
    /// The id of a board file that has none.
    machine: OnceCell<String>,
    pipeline: Pipeline,
    /// The options of the pipeline's source; `None` while it is closed.
    capture: Option<capture::Options>,
    /// The options of the pipeline's outputs, in the same order.
    outputs: Vec<OutputOptions>,
    /// Sends the events that do not come from reports.
    announcer: Option<Announcer>,
    /// The levels of the GPIO lines; empty without lines.
    levels: Arc<gpio::Levels>,
    preview: Option<Remote>,
    monitor: Monitor,
    known: Known,
    control: Option<Control>,
    http: Option<(HttpOptions, Server)>,
    metrics: Option<MetricsFile>,
    /// What the control socket and metrics report about this machine's identity and
    /// model.
    hello: Arc<Hello>,
    lost_reason: Arc<str>,
    /// The latest snapshot for the control socket and metrics.
    latest: Published,
    published: Instant,
    /// The line for the service manager while frames come.
    streaming: String,
    /// Whether the last command of a client was `pause`, not `resume`.
    paused_by_control: bool,
    /// When a source that could not be opened after a pause is tried again.
    reopen_at: Option<Instant>,
    thermometer: Option<Thermometer>,
    /// The texts that outlast a restart.
    state: State,
    watchdog: Option<(watchdog::Options, HardwareWatchdog)>,
}

impl Daemon {
    fn start(board: Board) -> Result<Self, AnyError> {
        memory::give_back_large_blocks();
        // First, so that the lines have their safe levels while models are
        // loaded and a camera is opened.
        let lines = board.gpio.as_ref().map(gpio::open).transpose()?;
        let size = expected_size(&board.capture, None);
        let Prepared {
            board,
            stages,
            model,
        } = prepare(board, size)?;
        let mut state = State::open(&board.state)?;
        let restarts = restarts::begin(&mut state);
        let by = PausedBy {
            control: state.get(PAUSE).is_some(),
            gpio: lines.as_ref().is_some_and(Lines::asks_pause),
        };
        let is_closed = by.is_any() && must_close(&board.capture);
        let source: Box<dyn Source> = if is_closed {
            Box::new(closed(&board.capture))
        } else {
            capture::open(&board.capture)?
        };
        info!("{}: {}", board.name, source.description());

        let mut outputs = Vec::new();
        let mut opened: Vec<Box<dyn Output>> = Vec::new();
        let levels = lines.as_ref().map(Lines::levels).unwrap_or_default();
        if let Some((lines, options)) = lines.zip(board.gpio.clone()) {
            outputs.push(OutputOptions::Gpio(options));
            opened.push(Box::new(lines));
        }
        let mut streaming = String::with_capacity(STATUS_ROOM);
        streaming.push_str("streaming");
        let mut daemon = Self {
            model,
            pipeline: Pipeline::new(source, stages, opened),
            capture: (!is_closed).then(|| board.capture.clone()),
            outputs,
            announcer: None,
            levels,
            preview: None,
            monitor: Monitor::new(),
            known: Known::default(),
            control: None,
            http: None,
            metrics: None,
            hello: Arc::default(),
            lost_reason: Arc::from(""),
            latest: Published::default(),
            published: Instant::now(),
            streaming,
            paused_by_control: by.control,
            reopen_at: None,
            machine: OnceCell::new(),
            thermometer: board.thermal.clone().map(Thermometer::new),
            state,
            watchdog: None,
            board: board.clone(),
        };
        daemon.known.restarts = restarts.count;
        daemon.known.restart_reason = restarts.reason.map(Arc::from);
        if by.is_any() {
            info!(target: incident::PAUSE.target, "paused by {}", named(by));
            daemon.pipeline.pause(by);
        }
        daemon.set_control(board.control.as_ref())?;
        daemon.set_http(board.http.as_ref())?;
        daemon.set_metrics(board.metrics.as_ref())?;
        daemon.set_outputs(&board, &daemon.model.clone())?;
        daemon.hello = Arc::new(daemon.hello(&board, &daemon.model));
        // Only after all threads are started, because they would inherit the
        // priority.
        realtime::change(&realtime::Options::default(), &board.process)?;
        // Last, because from here on it must be fed.
        daemon.set_watchdog(board.watchdog.as_ref())?;
        Ok(daemon)
    }

    fn look_at_temperature(&mut self) {
        if let Some(thermometer) = &mut self.thermometer
            && let Some((hot, reason)) = thermometer.look()
        {
            if hot {
                warn!(target: incident::TOO_HOT.target, "too hot ({reason}): about every other frame is skipped");
            } else {
                info!(target: incident::TOO_HOT.target, "cool again ({reason}): no frames are skipped any more");
            }
            self.pipeline.set_hot(hot, reason);
        }
    }

    fn look_at_health(&mut self) {
        self.known.temperature = self.thermometer.as_ref().and_then(Thermometer::celsius);
        let news = self.monitor.look(&mut self.pipeline, &self.known);
        if let Some((health, _)) = &news {
            describe(health, &mut self.streaming);
        }
        let is_due = news.is_some() || self.published.elapsed() >= PUBLISH;
        if let Some((health, change)) = news
            && let Some(announcer) = &self.announcer
        {
            announcer.health(health, change, self.pipeline.last_frame());
        }
        let is_asked = self.control.is_some()
            || self.http.is_some()
            || self.metrics.is_some()
            || self.preview.is_some();
        if is_due && is_asked {
            self.published = Instant::now();
            if *self.lost_reason != *self.pipeline.lost_reason() {
                self.lost_reason = Arc::from(self.pipeline.lost_reason());
            }
            self.latest.put(Snapshot {
                hello: Arc::clone(&self.hello),
                health: self.monitor.health(&self.pipeline, &self.known),
                lost_reason: Arc::clone(&self.lost_reason),
                figures: self.monitor.figures(&self.pipeline),
                at: self.published,
            });
        }
    }

    /// Says so wherever it matters when somebody begins to watch the preview, and
    /// when nobody does any more.
    fn look_at_preview(&mut self) {
        if let Some(news) = self.preview.as_mut().and_then(Remote::news) {
            self.pipeline.set_watched(news.is_watched);
            if let Some(announcer) = &self.announcer {
                announcer.preview(news.is_watched, self.pipeline.last_frame());
            }
        }
    }

    /// Executes the commands of clients of the control socket.
    fn obey_orders(&mut self) {
        while let Some(order) = self.control.as_ref().and_then(Control::take_order) {
            let before = memory::usage().system_here;
            let mut result = Ok(());
            match order.command {
                Command::Pause => {
                    self.paused_by_control = true;
                    self.state.set(PAUSE, "control\n".to_owned());
                }
                Command::Resume => {
                    self.paused_by_control = false;
                    self.state.remove(PAUSE);
                }
                Command::Baseline => result = self.begin_baseline(),
            }
            self.look_at_pause();
            order.finish(result);
            self.pipeline.leave_out_allocations_since(before);
        }
    }

    /// Begins to record a baseline, if a button asks for it.
    fn look_at_baseline_button(&mut self) {
        if self.pipeline.take_baseline_request()
            && let Err(problem) = self.begin_baseline()
        {
            warn!("no baseline can be recorded: {problem}");
        }
    }

    fn begin_baseline(&mut self) -> Result<(), String> {
        if self.board.face.files().is_none() {
            return Err(NO_FACE_NET.to_owned());
        }
        info!("recording a baseline");
        self.pipeline.record_baseline();
        Ok(())
    }

    /// Begins or ends a pause, if the control socket or a switch says so.
    fn look_at_pause(&mut self) {
        let before = self.pipeline.paused_by();
        let by = PausedBy {
            control: self.paused_by_control,
            gpio: self.pipeline.asks_pause(),
        };
        let is_due = self.reopen_at.is_some_and(|at| Instant::now() >= at);
        if by == before && !is_due {
            return;
        }
        let allocated = memory::usage().system_here;
        if by != before {
            // First tell the outputs; the other work takes longer.
            self.pipeline.pause(by);
        }
        match (before.is_any(), by.is_any()) {
            (_, true) => {
                if by != before {
                    info!(target: incident::PAUSE.target, "paused by {}", named(by));
                }
                self.reopen_at = None;
                self.close_source();
            }
            (true, false) => {
                info!(target: incident::PAUSE.target, "the pause is over");
                self.open_source();
            }
            (false, false) => self.open_source(),
        }
        self.pipeline.leave_out_allocations_since(allocated);
    }

    /// Closes a camera for a pause, so that its light goes out.
    fn close_source(&mut self) {
        if self.capture.as_ref().is_some_and(must_close) {
            self.capture = None;
            let source = closed(&self.board.capture);
            self.pipeline.replace_source(Box::new(source));
        }
    }

    /// Opens a source that was closed for a pause. If that fails, the camera is
    /// lost until it succeeds.
    fn open_source(&mut self) {
        if self.capture.is_some() {
            return;
        }
        let capture = &self.board.capture;
        // Threads that are started here would inherit the loop's priority.
        let process = self.board.process;
        let ordinary = process.without_priority();
        let changed = realtime::change(&process, &ordinary);
        let opened = capture::open(capture);
        if let Err(error) = changed.and_then(|()| realtime::change(&ordinary, &process)) {
            error!("{error}");
        }
        match opened {
            Ok(source) => {
                self.reopen_at = None;
                self.capture = Some(capture.clone());
                self.pipeline.replace_source(source);
            }
            Err(error) => {
                let is_first = self.reopen_at.is_none();
                self.reopen_at = Some(Instant::now() + REOPEN);
                if is_first {
                    warn!(target: incident::CAMERA_LOST.target, "the camera cannot be opened after the pause: {error}; affectd tries again every few seconds");
                    let source = Closed::lost(capture.source.to_string(), error.to_string());
                    self.pipeline.replace_source(Box::new(source));
                }
            }
        }
    }

    /// Stores a recorded baseline, or logs why there is none.
    fn keep_baseline(&mut self, recorded: Result<Rest, Obstacle>) {
        let (state, model) = (&mut self.state, &self.model);
        self.pipeline.between_frames(|| match recorded {
            Ok(rest) => {
                info!("a baseline was recorded");
                state.set(BASELINE, rest.to_text(&model.name));
            }
            Err(obstacle) => warn!("no baseline was recorded: {obstacle}"),
        });
    }

    /// Puts a prepared board into force, or logs why the old one stays. Returns
    /// the stages that are not needed.
    ///
    /// # Errors
    /// A part of the old board that was closed cannot be opened again.
    fn reload(
        &mut self,
        prepared: Result<Prepared, AnyError>,
    ) -> Result<Option<Box<Stages>>, AnyError> {
        let (prepared, replaced) = match prepared {
            Ok(prepared) => {
                let replaced = self.replace_parts(&prepared.board, &prepared.model)?;
                (Some(prepared), replaced)
            }
            Err(error) => (None, Err(error)),
        };
        let failure = replaced.as_ref().err().map(ToString::to_string);
        if let Some(error) = &failure {
            error!(target: incident::RELOAD.target, "the new board file is refused, and the old one stays in force: {error}");
            // The arena got its new size before the new stages were tried out.
            if let Err(error) = memory::reserve(self.board.process.arena) {
                warn!("the frame arena keeps its new size: {error}");
            }
        }
        let stages = prepared.map(|prepared| self.adopt(prepared, failure.is_none()));
        self.note_reload(failure.as_deref());
        Ok(stages)
    }

    /// Takes the stages of a new board whose other parts are in force. Returns
    /// those that are not needed.
    fn adopt(&mut self, prepared: Prepared, is_in_force: bool) -> Box<Stages> {
        let mut stages = Box::new(prepared.stages);
        if is_in_force {
            self.pipeline.exchange_stages(&mut stages);
            if self.board.thermal != prepared.board.thermal {
                self.thermometer = prepared.board.thermal.clone().map(Thermometer::new);
                // A new thermal zone begins as cool.
                if self.pipeline.is_hot() {
                    self.pipeline.set_hot(false, "[thermal] has changed");
                }
            }
            self.board = prepared.board;
            self.model = prepared.model;
            info!(target: incident::RELOAD.target, "the new board file is in force");
        }
        stages
    }

    /// Counts a reload, and sends its result to the readers of events.
    fn note_reload(&mut self, failure: Option<&str>) {
        match failure {
            None => self.known.reloads.done += 1,
            Some(_) => self.known.reloads.failed += 1,
        }
        self.known.reloads.error = failure.map(Arc::from);
        let hello = self.hello(&self.board, &self.model);
        self.hello = Arc::new(hello.clone());
        if let Some(announcer) = &self.announcer {
            announcer.reloaded(failure, hello, self.pipeline.last_frame());
        }
    }

    /// Replaces the parts whose settings differ, or leaves everything as it was
    /// (the inner error).
    ///
    /// # Errors
    /// A part of the old board that was closed cannot be opened again.
    fn replace_parts(
        &mut self,
        board: &Board,
        model: &ModelIdentity,
    ) -> Result<Result<(), AnyError>, AnyError> {
        let (old, new) = (self.board.process, board.process);
        // If the kernel refuses this, nothing was closed yet.
        if let Err(error) = realtime::change(&old, &new) {
            return Ok(Err(error.into()));
        }
        // Threads that start below would inherit the priority.
        let ordinary = new.without_priority();
        let in_force = |result: Result<(), realtime::ProcessError>| {
            if let Err(error) = result {
                error!("{error}");
            }
        };
        in_force(realtime::change(&new, &ordinary));
        let replaced = self.set_parts(board, model);
        let restored = match &replaced {
            Ok(()) => Ok(()),
            Err(_) => self.set_parts(&self.board.clone(), &self.model.clone()),
        };
        let process = if replaced.is_ok() { new } else { old };
        in_force(realtime::change(&ordinary, &process));
        match (replaced, restored) {
            (Err(error), Err(worse)) => Err(format!(
                "the new board file cannot be used: {error}; and the old one cannot be put back \
                 into force: {worse}"
            )
            .into()),
            (replaced, _) => Ok(replaced),
        }
    }

    /// Brings each part into the state that a board describes. After an error
    /// there are parts of both boards, and some are closed.
    fn set_parts(&mut self, board: &Board, model: &ModelIdentity) -> Result<(), AnyError> {
        self.set_watchdog(board.watchdog.as_ref())?;
        self.state.set_options(&board.state)?;
        self.set_control(board.control.as_ref())?;
        self.set_http(board.http.as_ref())?;
        self.set_metrics(board.metrics.as_ref())?;
        self.set_source(&board.capture)?;
        self.set_outputs(board, model)
    }

    fn set_watchdog(&mut self, wanted: Option<&watchdog::Options>) -> Result<(), watchdog::Error> {
        if self.watchdog.as_ref().map(|(options, _)| options) == wanted {
            return Ok(());
        }
        let started = wanted
            .map(|options| Ok((options.clone(), HardwareWatchdog::start(options)?)))
            .transpose()?;
        if let Some((_, old)) = std::mem::replace(&mut self.watchdog, started) {
            old.stop();
        }
        Ok(())
    }

    fn set_control(&mut self, wanted: Option<&control::Options>) -> Result<(), control::Error> {
        if self.control.as_ref().map(Control::options) == wanted {
            return Ok(());
        }
        // It may be opened again at the same place.
        self.control = None;
        self.control = wanted
            .map(|options| Control::open(options, &self.latest))
            .transpose()?;
        Ok(())
    }

    fn set_http(&mut self, wanted: Option<&HttpOptions>) -> Result<(), http::Error> {
        if self.http.as_ref().map(|(options, _)| options) == wanted {
            return Ok(());
        }
        // It may be opened again at the same place.
        self.http = None;
        if let Some(options) = wanted {
            self.http = Some((options.clone(), metrics::serve(options, &self.latest)?));
        }
        Ok(())
    }

    fn set_metrics(&mut self, wanted: Option<&FileOptions>) -> Result<(), AnyError> {
        if self.metrics.as_ref().map(MetricsFile::options) == wanted {
            return Ok(());
        }
        self.metrics = None;
        let started = wanted.map(|options| MetricsFile::start(options, &self.latest));
        self.metrics = started
            .transpose()
            .map_err(|error| format!("cannot start a thread for metrics: {error}"))?;
        Ok(())
    }

    fn set_source(&mut self, wanted: &capture::Options) -> Result<(), CaptureError> {
        if self.capture.as_ref() == Some(wanted) {
            return Ok(());
        }
        self.reopen_at = None;
        if self.pipeline.paused_by().is_any() && must_close(wanted) {
            // It is opened when the pause ends.
            self.capture = None;
            self.pipeline.replace_source(Box::new(closed(wanted)));
            return Ok(());
        }
        // Opening takes a moment, in which the lines must be safe.
        self.pipeline.suspend();
        let is_same = |old: &capture::Options| old.source == wanted.source;
        if self.capture.as_ref().is_some_and(is_same) {
            // A camera can be open only once.
            self.capture = None;
            let source = Closed::on_purpose("closed".to_owned(), true);
            self.pipeline.replace_source(Box::new(source));
        }
        let source = capture::open(wanted)?;
        info!("frames now come from {}", source.description());
        self.pipeline.replace_source(source);
        self.capture = Some(wanted.clone());
        Ok(())
    }

    /// Opens the outputs of a board that are missing, and finishes those that
    /// the board does not have.
    fn set_outputs(&mut self, board: &Board, model: &ModelIdentity) -> Result<(), AnyError> {
        let is_live = self.pipeline.source().is_live();
        let wanted = outputs_of(board, is_live);
        let mut there: Vec<_> = std::mem::take(&mut self.outputs)
            .into_iter()
            .zip(self.pipeline.take_outputs())
            .collect();
        let mut kept = Vec::with_capacity(wanted.len());
        for options in wanted {
            let place = there.iter().position(|(old, _)| *old == options);
            kept.push((options, place.map(|place| there.remove(place).1)));
        }
        // Before others are opened, because they may need the same lines or
        // socket.
        for (options, output) in there {
            match options {
                OutputOptions::Events { .. } => self.announcer = None,
                OutputOptions::Gpio(_) => self.levels = Arc::default(),
                OutputOptions::Preview { .. } => self.forget_preview(),
                OutputOptions::Display(_) | OutputOptions::Record { .. } => {}
            }
            self.pipeline.dismiss(output, "reload");
        }
        let mut result = Ok(());
        for (options, output) in kept {
            let output = match output {
                Some(output) => output,
                // After an error only the present outputs are kept.
                None if result.is_err() => continue,
                None => match self.open_output(&options, board, model) {
                    Ok(output) => output,
                    Err(error) => {
                        result = Err(error);
                        continue;
                    }
                },
            };
            self.outputs.push(options);
            self.pipeline.add_output(output);
        }
        result
    }

    fn open_output(
        &mut self,
        options: &OutputOptions,
        board: &Board,
        model: &ModelIdentity,
    ) -> Result<Box<dyn Output>, AnyError> {
        Ok(match options {
            OutputOptions::Gpio(options) => {
                let lines = gpio::open(options)?;
                self.levels = lines.levels();
                Box::new(lines)
            }
            OutputOptions::Preview {
                options, upright, ..
            } => {
                let preview = Preview::open(
                    options,
                    self.latest.clone(),
                    Arc::clone(&self.levels),
                    upright.clone(),
                )?;
                self.preview = Some(preview.remote());
                Box::new(preview)
            }
            OutputOptions::Display(options) => display::open(options)?,
            OutputOptions::Record { options, is_live } => {
                Box::new(Recorder::new(options.clone(), *is_live)?)
            }
            OutputOptions::Events { options, .. } => {
                let hello = self.hello(board, model);
                let events = Events::new(options, hello)?;
                self.announcer = Some(events.announcer());
                Box::new(events)
            }
        })
    }

    /// The preview is closed, and nobody watches any more.
    fn forget_preview(&mut self) {
        if self
            .preview
            .take()
            .is_some_and(|preview| preview.was_watched())
        {
            self.pipeline.set_watched(false);
            if let Some(announcer) = &self.announcer {
                announcer.preview(false, self.pipeline.last_frame());
            }
        }
    }

    /// The greeting for readers of events.
    fn hello(&self, board: &Board, model: &ModelIdentity) -> Hello {
        let gpio = board.gpio.iter().map(|_| "gpio".to_owned());
        let displays = board
            .displays
            .iter()
            .map(|display| display.kind.to_string());
        let source = self.pipeline.source();
        Hello {
            id: match &board.id {
                Some(id) => id.clone(),
                None => self.machine.get_or_init(identity::machine).clone(),
            },
            name: board.name.clone(),
            config: board.settings_sha256(),
            source: source.description(),
            live: source.is_live(),
            model: model.name.clone(),
            model_sha256: model.sha256.clone(),
            outputs: gpio.chain(displays).collect(),
        }
    }
}

/// The name of the pause in the state directory.
const PAUSE: &str = "pause";

/// The longest time between two snapshots for the control socket.
const PUBLISH: Duration = Duration::from_secs(1);

/// Room for the status while frames come, so that it is never allocated anew.
const STATUS_ROOM: usize = 128;

/// One line for the service manager on a daemon that gets frames, such as
/// "streaming, 29.9 frames per second, 54 \u{b0}C".
fn describe(health: &Health, line: &mut String) {
    line.clear();
    line.push_str("streaming");
    // Writing to a String cannot fail.
    if let Some(fps) = health.fps.filter(|fps| *fps > 0.0) {
        let _ = write!(line, ", {fps:.1} frames per second");
    }
    if let Some(celsius) = health.temperature {
        let _ = write!(line, ", {celsius:.0} \u{b0}C");
    }
    if health.is_hot {
        line.push_str(", too hot");
    }
}

/// A source that cannot be opened after a pause is tried again after this time.
const REOPEN: Duration = Duration::from_secs(5);

/// Whether a source is closed for a pause: a camera, or the program that reads
/// it. Frames from a pipe are thrown away instead, and a recording does not
/// advance.
const fn must_close(capture: &capture::Options) -> bool {
    matches!(
        capture.source,
        SourceSpec::V4l2Path(_)
            | SourceSpec::V4l2Card(_)
            | SourceSpec::Nokhwa(_)
            | SourceSpec::Command(_)
    )
}

/// The placeholder for a source that is closed for a pause.
fn closed(capture: &capture::Options) -> Closed {
    let is_live =
        !matches!(capture.source, SourceSpec::Command(_)) || capture.pace == Pace::Recorded;
    Closed::on_purpose(capture.source.to_string(), is_live)
}

/// Who asks for a pause, for the log.
fn named(by: PausedBy) -> String {
    by.names().collect::<Vec<_>>().join(" and ")
}
