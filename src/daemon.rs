//! The daemon: builds every part from a board file, runs the loop, and lets a
//! changed board file take effect while it runs.
//!
//! A reload (SIGHUP) changes as little as it can. What takes long and may fail,
//! reading the board file and loading models, happens on a thread of its own
//! while the loop goes on. Then, between two frames, parts are exchanged: the
//! source and the outputs only where their settings differ, the stages always,
//! because the files of the models may have changed. The faces that are followed
//! are kept. If any of it fails, what was exchanged is put back, and the daemon
//! goes on with the old board file.

use std::error::Error;
use std::sync::Arc;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use log::{error, info, warn};

use crate::assets::{self, ModelChoice};
use crate::board::Board;
use crate::capture::{self, CaptureError, Captured, Source};
use crate::decide::Decider;
use crate::detect::{Cascade, Detector, Search};
use crate::host::service::Notifier;
use crate::host::signals::Signals;
use crate::host::state::State;
use crate::host::thermal::Thermometer;
use crate::host::watchdog::{self, HardwareWatchdog};
use crate::host::{logging, memory, realtime};
use crate::nn::Workspace;
use crate::observe::{Classifier, FaceNetworks, FieldOfView};
use crate::output::events::{Events, Greeter, Hello};
use crate::output::record::{self, Recorder};
use crate::output::{Output, display, events, gpio};
use crate::pipeline::{Pipeline, Stages, Step};
use crate::track::Tracker;

/// An error of any part, from any thread.
pub type AnyError = Box<dyn Error + Send + Sync>;

/// Reads the board file, with what the command line says instead.
pub type ReadBoard = dyn Fn() -> Result<Board, AnyError> + Send + Sync;

/// Runs the daemon until a signal or the end of a recording. `print_stats`:
/// whether the time of each stage is printed at the end and at each reload.
///
/// # Errors
/// A part cannot be built or opened at the start: see [`Board::load`],
/// [`capture::open`], [`gpio::open`], [`Events::new`]. After a reload that
/// failed: a part that was closed for it cannot be opened again.
pub fn run(read_board: Arc<ReadBoard>, print_stats: bool) -> Result<(), AnyError> {
    let signals = Signals::install()?;
    realtime::keep_pages_small();
    let mut notifier = Notifier::from_environment();
    let board = read_board()?;
    // Before the loop gets a real-time priority, which threads inherit.
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
        if let Some((_, watchdog)) = &mut daemon.watchdog {
            watchdog.feed();
        }
    };

    daemon.pipeline.between_frames(|| {
        notifier.stopping();
        info!("stopping: {reason}");
    });
    daemon.pipeline.finish(reason);
    if let Some((_, watchdog)) = daemon.watchdog {
        watchdog.stop();
    }
    if print_stats {
        logging::print(format_args!("{}", daemon.pipeline.stats()));
    }
    Ok(())
}

/// How far a reload is.
enum Reload {
    None,
    /// The workshop is at it.
    Preparing,
    /// The same, and another one was asked for meanwhile.
    Again,
}

/// The size of frames that is tried out where nothing says another.
const USUAL_SIZE: (u32, u32) = (640, 480);

/// The size of the frames to expect, after they were turned: as asked for, or as
/// those that come now.
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
    /// The name of the expression model.
    model: String,
}

/// Builds the stages of a board and tries them out on the worst frame of this
/// size. A further model is loaded here and added as one more observer.
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
    let model = classifier.manifest().name.clone();
    let mut decider = Decider::new(board.decide).with_baseline(board.baseline);
    if let Some(options) = board.facing {
        decider = decider.with_facing(options);
    }
    let mut stages = Stages::new(search, Tracker::new(board.track), decider)
        .with_observer(classifier, board.classify.interval);
    if let Some((face, eyes)) = board.face.files() {
        let networks = FaceNetworks::load(&face, eyes.as_deref(), &workspace)?;
        stages = stages.with_verifier(networks);
        if let Some(degrees) = board.horizontal_fov {
            stages = stages.with_field_of_view(FieldOfView {
                degrees,
                quarter_turned: board.capture.turn.rotation.is_quarter(),
            });
        }
    } else if board.facing.is_some() {
        return Err(format!(
            "the section [facing] needs a face net, and none is installed ({}.onnx): install it, \
             name one as face.model, or take the section out",
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
        if !matches!(board.face.files(), Some((_, Some(_)))) {
            return Err(format!(
                "the section [fatigue] needs a face net and an eye net, and they are not installed \
                 ({}.onnx, {}.onnx): install them, name others as face.model and face.eyes, or take \
                 the section out",
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

/// The thread that prepares reloads. It is started before the loop gets a
/// real-time priority and so never has one.
struct Workshop {
    jobs: Sender<Job>,
    prepared: Receiver<Result<Prepared, AnyError>>,
}

enum Job {
    /// Prepare the board file, for frames of this size.
    Prepare(Option<(u32, u32)>),
    /// Free what a reload has replaced. A model takes the system some time.
    Discard(Box<Stages>),
}

/// Importing a network takes more stack than threads have by default.
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
    Record {
        options: record::Options,
        /// Whether frames come in real time: then nothing waits for the file.
        is_live: bool,
    },
}

/// The outputs of a board in the order in which they get reports: GPIO first,
/// because a robot waits for it.
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
    gpio.into_iter()
        .chain(events)
        .chain(displays)
        .chain(record)
        .collect()
}

/// A board at work.
struct Daemon {
    board: Board,
    model: String,
    pipeline: Pipeline,
    /// The options of the pipeline's source; `None` while it is closed.
    capture: Option<capture::Options>,
    /// The options of the pipeline's outputs, in the same order.
    outputs: Vec<OutputOptions>,
    /// What readers of events were told, and how to tell them more.
    greeted: Option<(Greeter, Hello)>,
    thermometer: Option<Thermometer>,
    /// What outlasts a restart.
    state: State,
    watchdog: Option<(watchdog::Options, HardwareWatchdog)>,
}

impl Daemon {
    fn start(board: Board) -> Result<Self, AnyError> {
        memory::give_back_large_blocks();
        // First of all, so that the lines have their safe levels while models
        // are loaded and a camera is waited for.
        let lines = board.gpio.as_ref().map(gpio::open).transpose()?;
        let size = expected_size(&board.capture, None);
        let Prepared {
            board,
            stages,
            model,
        } = prepare(board, size)?;
        let source = capture::open(&board.capture)?;
        info!("{}: {}", board.name, source.description());

        let mut outputs = Vec::new();
        let mut opened: Vec<Box<dyn Output>> = Vec::new();
        if let Some((lines, options)) = lines.zip(board.gpio.clone()) {
            outputs.push(OutputOptions::Gpio(options));
            opened.push(Box::new(lines));
        }
        let mut daemon = Self {
            model,
            pipeline: Pipeline::new(source, stages, opened),
            capture: Some(board.capture.clone()),
            outputs,
            greeted: None,
            thermometer: board.thermal.clone().map(Thermometer::new),
            state: State::open(&board.state)?,
            watchdog: None,
            board: board.clone(),
        };
        daemon.set_outputs(&board, &daemon.model.clone())?;
        // Now that all threads are started, which would inherit the priority.
        realtime::change(&realtime::Options::default(), &board.process)?;
        // Last: from here on it has to be fed.
        daemon.set_watchdog(board.watchdog.as_ref())?;
        Ok(daemon)
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

    /// Puts a prepared board into force, or says why the old one stays. Returns
    /// stages that are not needed, or no longer.
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
        if let Err(error) = &replaced {
            error!("the board file is not taken, and the old one stays in force: {error}");
            // It was set before the new stages were tried out.
            if let Err(error) = memory::reserve(self.board.process.arena) {
                warn!("the frame arena keeps its new size: {error}");
            }
        }
        let Some(prepared) = prepared else {
            return Ok(None);
        };
        let mut stages = Box::new(prepared.stages);
        if replaced.is_ok() {
            self.pipeline.exchange_stages(&mut stages);
            if self.board.thermal != prepared.board.thermal {
                self.thermometer = prepared.board.thermal.clone().map(Thermometer::new);
                // A new one begins with a cool machine.
                if self.pipeline.is_hot() {
                    self.pipeline.set_hot(false, "[thermal] has changed");
                }
            }
            self.board = prepared.board;
            self.model = prepared.model;
            self.greet();
            info!("the new board file is in force");
        }
        Ok(Some(stages))
    }

    /// Replaces what the new board wants otherwise, or leaves everything as it
    /// was (the inner error).
    ///
    /// # Errors
    /// A part of the old board that was closed cannot be opened again.
    fn replace_parts(
        &mut self,
        board: &Board,
        model: &str,
    ) -> Result<Result<(), AnyError>, AnyError> {
        let (old, new) = (self.board.process, board.process);
        // Whether the kernel allows it is known before anything is closed.
        if let Err(error) = realtime::change(&old, &new) {
            return Ok(Err(error.into()));
        }
        // Threads that are started below would inherit the priority.
        let ordinary = realtime::Options {
            realtime_priority: None,
            ..new
        };
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
                "the new board file is not taken: {error}; and the old one cannot be put back \
                 into force: {worse}"
            )
            .into()),
            (replaced, _) => Ok(replaced),
        }
    }

    /// Brings each part into the state that a board asks for. An error leaves
    /// parts of both boards, and some closed.
    fn set_parts(&mut self, board: &Board, model: &str) -> Result<(), AnyError> {
        self.set_watchdog(board.watchdog.as_ref())?;
        self.state.set_options(&board.state)?;
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

    fn set_source(&mut self, wanted: &capture::Options) -> Result<(), CaptureError> {
        if self.capture.as_ref() == Some(wanted) {
            return Ok(());
        }
        // Opening takes a moment, in which the lines are to be safe.
        self.pipeline.suspend();
        let is_same = |old: &capture::Options| old.source == wanted.source;
        if self.capture.as_ref().is_some_and(is_same) {
            // A camera can be open once only.
            self.capture = None;
            self.pipeline.replace_source(Box::new(Closed));
        }
        let source = capture::open(wanted)?;
        info!("frames now come from {}", source.description());
        self.pipeline.replace_source(source);
        self.capture = Some(wanted.clone());
        Ok(())
    }

    /// Opens the outputs that a board asks for and that are not there, and
    /// finishes those that it does not ask for.
    fn set_outputs(&mut self, board: &Board, model: &str) -> Result<(), AnyError> {
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
        // Before others are opened, which may need the same lines or socket.
        for (options, output) in there {
            if matches!(options, OutputOptions::Events { .. }) {
                self.greeted = None;
            }
            self.pipeline.dismiss(output, "reload");
        }
        let mut result = Ok(());
        for (options, output) in kept {
            let output = match output {
                Some(output) => output,
                // After an error only what is there is kept.
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
        model: &str,
    ) -> Result<Box<dyn Output>, AnyError> {
        Ok(match options {
            OutputOptions::Gpio(options) => Box::new(gpio::open(options)?),
            OutputOptions::Display(options) => display::open(options)?,
            OutputOptions::Record { options, is_live } => {
                Box::new(Recorder::new(options.clone(), *is_live)?)
            }
            OutputOptions::Events { options, .. } => {
                let hello = self.hello(board, model);
                let events = Events::new(options, hello.clone())?;
                self.greeted = Some((events.greeter(), hello));
                Box::new(events)
            }
        })
    }

    /// What readers of events are told at first.
    fn hello(&self, board: &Board, model: &str) -> Hello {
        let gpio = board.gpio.iter().map(|_| "gpio".to_owned());
        let displays = board
            .displays
            .iter()
            .map(|display| display.kind.to_string());
        let source = self.pipeline.source();
        Hello {
            source: source.description(),
            live: source.is_live(),
            model: model.to_owned(),
            outputs: gpio.chain(displays).collect(),
        }
    }

    /// Tells readers of events who stayed what a reload has changed.
    fn greet(&mut self) {
        let hello = self.hello(&self.board, &self.model);
        if let Some((greeter, known)) = &mut self.greeted
            && *known != hello
        {
            let (time, frame) = self.pipeline.last_frame();
            greeter.greet(hello.clone(), time, frame);
            *known = hello;
        }
    }
}

/// In the place of a source that is closed while another one is opened.
struct Closed;

impl Source for Closed {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        thread::sleep(timeout);
        Captured::Waiting
    }

    fn description(&self) -> String {
        "closed".to_owned()
    }

    fn is_live(&self) -> bool {
        true
    }
}
