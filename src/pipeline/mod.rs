//! The loop: takes the newest frame (or learns that there is none), finds
//! faces, follows them, looks at each that counts, decides, and tells the
//! outputs. The only module that knows all stages.
//!
//! Whatever is slow or may fail lives beside the loop behind one call: getting
//! a camera back is capture's business, and slow devices have threads of their
//! own.

pub mod stats;

use std::time::{Duration, Instant};

use crate::capture::{Captured, Frame, Source};
use crate::decide::{Decider, Decision, Face};
use crate::detect::Search;
use crate::fault::Repeated;
use crate::frame::{LumaView, Rect, Timestamp};
use crate::host::memory::{self, Usage};
use crate::host::thermal::HalfRate;
use crate::image::jpeg;
use crate::observe::Classifier;
use crate::observe::expression::Probabilities;
use crate::output::{Camera, Farewell, Output, Report};
use crate::pipeline::stats::{Stage, Stats};
use crate::track::{Track, Tracker};

/// How long a step waits for a frame. Signals are noticed and safe levels set
/// between two waits, so this bounds how late they are.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// What a step of the loop came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame went through all stages.
    Frame,
    /// There was one, which was passed over because the machine is too hot.
    PassedOver,
    /// There was none, and the outputs were told how things stand.
    NoFrame,
    /// The recording is over.
    Ended,
}

/// All stages, put together.
pub struct Pipeline {
    source: Box<dyn Source>,
    faces: Faces,
    outputs: Vec<Box<dyn Output>>,
    last: Last,
    rate: HalfRate,
    stats: Stats,
    overflows: u64,
    told_of_arena: bool,
}

/// What the last frame left, to be told again while no frame comes.
struct Last {
    timestamp: Timestamp,
    frame: u64,
    /// Frames passed over since then, which are not to count as dropped.
    passed_over: u64,
    frame_size: (u32, u32),
    camera: CameraState,
    /// Why the camera was lost; the buffer is kept.
    lost_reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CameraState {
    Starting,
    Streaming,
    Lost,
}

impl Pipeline {
    /// A pipeline of stages that are ready.
    #[must_use]
    pub fn new(source: Box<dyn Source>, faces: Faces, outputs: Vec<Box<dyn Output>>) -> Self {
        Self {
            source,
            faces,
            outputs,
            last: Last {
                timestamp: Timestamp::default(),
                frame: 0,
                passed_over: 0,
                frame_size: (0, 0),
                camera: CameraState::Starting,
                lost_reason: String::new(),
            },
            rate: HalfRate::default(),
            stats: Stats::new(),
            overflows: memory::usage().overflows,
            told_of_arena: false,
        }
    }

    /// Takes one frame through all stages, or waits for [`PATIENCE`] in vain.
    pub fn step(&mut self) -> Step {
        let asked = Instant::now();
        let live = self.source.is_live();
        match self.source.next(PATIENCE) {
            Captured::Frame(frame) => {
                if !self.rate.takes(frame.timestamp) {
                    self.last.passed_over += 1;
                    return Step::PassedOver;
                }
                self.stats.note(Stage::Capture, asked.elapsed());
                let ready = Instant::now();
                if self.last.camera == CameraState::Lost {
                    self.faces.forget();
                }
                self.stats.count_frame(self.last.advance(&frame));
                let decisions = self.faces.look(&frame, &mut self.stats);
                let report = self.last.report(decisions);
                tell(&mut self.outputs, &report, &mut self.stats, Some(ready));
                self.stats.note(Stage::Frame, ready.elapsed());
                self.watch_arena();
                return Step::Frame;
            }
            Captured::Ended => return Step::Ended,
            Captured::Waiting => {}
            Captured::Lost { reason } => self.last.lose(reason),
        }
        if live {
            self.last.timestamp = self.last.timestamp.max(Timestamp::now());
        }
        let decisions = match self.last.camera {
            CameraState::Streaming => self.faces.decider.decisions(),
            CameraState::Starting | CameraState::Lost => &[],
        };
        let report = self.last.report(decisions);
        tell(&mut self.outputs, &report, &mut self.stats, None);
        Step::NoFrame
    }

    /// Says once that the arena is too small for what comes: it goes on with
    /// the system's memory.
    fn watch_arena(&mut self) {
        let usage = memory::usage();
        if usage.overflows > self.overflows {
            self.overflows = usage.overflows;
            if !self.told_of_arena {
                self.told_of_arena = true;
                log::warn!(
                    "the frame arena of {} KiB is too small for a frame of {}x{}: {}; further \
                     cases are only counted (--stats)",
                    usage.arena >> 10,
                    self.last.frame_size.0,
                    self.last.frame_size.1,
                    advice(&usage)
                );
            }
        }
    }

    /// Puts every output into its safe state and says why. To be called once,
    /// at the end.
    pub fn finish(&mut self, reason: &str) {
        let farewell = Farewell {
            reason,
            frames: self.stats.frames(),
            counters: &[("frames_dropped", self.stats.dropped())],
        };
        let outputs = &mut self.outputs;
        self.stats.between_frames(|| {
            for output in outputs {
                output.farewell(&farewell);
                output.finish();
            }
        });
    }

    /// Passes over about every other frame from now on, or no longer; the
    /// outputs are told why.
    pub fn set_hot(&mut self, hot: bool, reason: &str) {
        self.rate.set(hot);
        let at = if self.source.is_live() {
            Timestamp::now()
        } else {
            self.last.timestamp
        };
        for output in &mut self.outputs {
            output.temperature(at, hot, reason);
        }
    }

    /// Lets the outputs open their files again.
    pub fn reopen_files(&mut self) {
        for output in &mut self.outputs {
            output.reopen_files();
        }
    }

    /// Whether a camera is being waited for.
    #[must_use]
    pub fn is_waiting_for_camera(&self) -> bool {
        self.last.camera != CameraState::Streaming
    }

    /// Runs what is not a frame's work on the loop's thread
    /// ([`Stats::between_frames`]).
    pub fn between_frames<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.stats.between_frames(work)
    }

    /// What was measured so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// What the frames come from, for people.
    #[must_use]
    pub fn source_description(&self) -> String {
        self.source.description()
    }
}

impl Last {
    /// Takes a frame as the last one; tells how many the source dropped
    /// between it and the one before.
    fn advance(&mut self, frame: &Frame<'_>) -> u64 {
        let dropped = match self.camera {
            CameraState::Streaming => frame
                .sequence
                .saturating_sub(self.frame + 1 + self.passed_over),
            CameraState::Starting | CameraState::Lost => 0,
        };
        self.timestamp = frame.timestamp;
        self.frame = frame.sequence;
        self.passed_over = 0;
        self.frame_size = (frame.luma.width(), frame.luma.height());
        self.camera = CameraState::Streaming;
        dropped
    }

    fn lose(&mut self, reason: &str) {
        self.camera = CameraState::Lost;
        if self.lost_reason != reason {
            self.lost_reason.clear();
            self.lost_reason.push_str(reason);
        }
    }

    fn report<'a>(&'a self, decisions: &'a [Decision]) -> Report<'a> {
        Report {
            timestamp: self.timestamp,
            frame: self.frame,
            camera: match self.camera {
                CameraState::Starting => Camera::Starting,
                CameraState::Streaming => Camera::Streaming,
                CameraState::Lost => Camera::Lost {
                    reason: &self.lost_reason,
                },
            },
            frame_size: self.frame_size,
            decisions,
        }
    }
}

/// `ready`: since when the report's frame was there, if it is a new one.
fn tell(
    outputs: &mut [Box<dyn Output>],
    report: &Report<'_>,
    stats: &mut Stats,
    ready: Option<Instant>,
) {
    let start = Instant::now();
    for output in outputs {
        let edges = output.edges();
        output.update(report);
        if let Some(ready) = ready
            && output.edges() != edges
        {
            stats.note(Stage::Edge, ready.elapsed());
        }
    }
    stats.note(Stage::Output, start.elapsed());
}

/// The size that the arena should have.
fn advice(usage: &Usage) -> String {
    let needed = (usage.high_water + usage.missing).div_ceil(1 << 20) << 10;
    format!("process.arena_kib = {needed} in the board file would do")
}

/// The arena has no room for what a frame may need.
#[derive(Debug, thiserror::Error)]
#[error(
    "the frame arena of {} KiB is too small for frames of {width}x{height}: {}",
    usage.arena >> 10,
    advice(usage)
)]
pub struct ArenaTooSmall {
    width: u32,
    height: u32,
    usage: Usage,
}

/// The stages between the source and the outputs: what is made of a frame.
pub struct Faces {
    search: Search,
    tracker: Tracker,
    classifier: Classifier,
    decider: Decider,
    interval: Duration,
    /// The frame size that the classifier has its buffers for.
    reserved_for: (u32, u32),
    expected: Vec<Rect>,
    looks: Vec<Look>,
    faces: Vec<Face>,
    refused: Repeated,
}

/// When a face was last classified.
#[derive(Clone, Copy)]
struct Look {
    track: u32,
    at: Timestamp,
}

/// More faces than this in one frame make a vector grow once.
const RESERVED: usize = 32;

impl Faces {
    /// Stages that have seen nothing yet. `interval` is the least time between
    /// two looks at the same face; zero looks at it on every frame.
    #[must_use]
    pub fn new(
        search: Search,
        tracker: Tracker,
        classifier: Classifier,
        decider: Decider,
        interval: Duration,
    ) -> Self {
        Self {
            search,
            tracker,
            classifier,
            decider,
            interval,
            reserved_for: (0, 0),
            expected: Vec::with_capacity(RESERVED),
            looks: Vec::with_capacity(RESERVED),
            faces: Vec::with_capacity(RESERVED),
            refused: Repeated::new("classify"),
        }
    }

    /// The classifier's name.
    #[must_use]
    pub fn model_name(&self) -> &str {
        &self.classifier.manifest().name
    }

    /// Does once what libraries do in the worst frame of this size: decodes a
    /// JPEG and runs the network. Tells whether the frame's arena has room for
    /// it, and leaves every buffer of the detector and the classifier in its size.
    ///
    /// # Errors
    /// It has not.
    pub fn rehearse(&mut self, width: u32, height: u32) -> Result<(), ArenaTooSmall> {
        let before = memory::usage();
        self.search.reserve(width, height);
        self.classifier.reserve(width, height);
        self.reserved_for = (width, height);
        let side = |side: u32| u16::try_from(side).unwrap_or(u16::MAX);
        let mut pixels = Vec::new();
        let picture = jpeg::blank(side(width), side(height));
        // A size that no JPEG has is no worse case, and the gray picture that
        // the network gets is none that it could refuse.
        if jpeg::luma(&picture, &mut pixels).is_ok()
            && let Ok(view) = LumaView::new(&pixels, width, height, width as usize)
        {
            let _ = self.classifier.classify_whole(&view);
        }
        let usage = memory::usage();
        if usage.arena > 0 && usage.overflows > before.overflows {
            return Err(ArenaTooSmall {
                width,
                height,
                usage,
            });
        }
        Ok(())
    }

    /// Finds, follows, looks at and decides about the faces of a frame.
    pub fn look(&mut self, frame: &Frame<'_>, stats: &mut Stats) -> &[Decision] {
        let now = frame.timestamp;
        let luma = &frame.luma;
        if self.reserved_for != (luma.width(), luma.height()) {
            self.reserved_for = (luma.width(), luma.height());
            self.classifier.reserve(luma.width(), luma.height());
        }

        self.expected.clear();
        self.expected.extend(self.tracker.expected());
        let found = stats.time(Stage::Detect, || {
            self.search.find(*luma, now, &self.expected)
        });
        stats.time(Stage::Track, || {
            self.tracker.follow(now, luma.bounds(), &found);
        });

        self.looks.retain(|look| {
            self.tracker
                .counting()
                .iter()
                .any(|track| track.id == look.track)
        });
        self.faces.clear();
        for index in 0..self.tracker.counting().len() {
            let track = self.tracker.counting()[index];
            let probabilities = if self.is_due(&track, now) {
                stats.time(Stage::Classify, || self.classify(frame, &track))
            } else {
                None
            };
            self.faces.push(Face {
                track: track.id,
                rect: track.rect,
                searched: track.searched,
                probabilities,
            });
        }
        stats.time(Stage::Decide, || self.decider.update(now, &self.faces))
    }

    /// Forgets all faces, as after the camera was gone.
    pub fn forget(&mut self) {
        self.tracker.clear();
        self.decider.clear();
        self.looks.clear();
    }

    /// A face is looked at where it was found, not where it is thought to be,
    /// and not more often than asked.
    fn is_due(&self, track: &Track, now: Timestamp) -> bool {
        track.found
            && self
                .looks
                .iter()
                .find(|look| look.track == track.id)
                .is_none_or(|look| now.since(look.at) >= self.interval)
    }

    fn classify(&mut self, frame: &Frame<'_>, track: &Track) -> Option<Probabilities> {
        match self.classifier.classify(&frame.luma, track.rect) {
            Ok(probabilities) => {
                self.refused.cleared();
                let at = frame.timestamp;
                match self.looks.iter_mut().find(|look| look.track == track.id) {
                    Some(look) => look.at = at,
                    None => self.looks.push(Look {
                        track: track.id,
                        at,
                    }),
                }
                Some(probabilities)
            }
            Err(error) => {
                self.refused.occurred(&error);
                None
            }
        }
    }
}
