//! The loop: takes the newest frame, or learns that there is none, takes it
//! through all [`Stages`], and reports to the outputs.
//!
//! This is the only module that knows all stages. What is slow or may fail runs
//! beside the loop behind one call: capture gets a lost camera back, and slow
//! devices have threads of their own.

mod arena;
mod stages;
pub mod stats;

use std::time::{Duration, Instant};

use crate::capture::{Captured, Frame, Source};
use crate::frame::Timestamp;
use crate::host::thermal::HalfRate;
use crate::output::Output;
use crate::report::{Camera, FaceReport, Heat, Report, Shutdown};
use arena::ArenaWatch;
use stats::{Stage, Stats};

pub use arena::ArenaTooSmall;
pub use stages::Stages;

/// How long a step waits for a frame. Signals are noticed and safe levels set
/// between two waits, so this bounds how late they are.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// What a step of the loop did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame went through all stages.
    Frame,
    /// A frame was passed over because the machine is too hot.
    PassedOver,
    /// No frame came, and the outputs were told so.
    NoFrame,
    /// The recording is over.
    Ended,
}

/// A source, the stages and the outputs, put together.
pub struct Pipeline {
    source: Box<dyn Source>,
    stages: Stages,
    outputs: Vec<Box<dyn Output>>,
    last: Last,
    rate: HalfRate,
    stats: Stats,
    arena: ArenaWatch,
}

/// What the last frame left, for reports while no frame comes.
struct Last {
    timestamp: Timestamp,
    frame: u64,
    /// Frames passed over since then, which are not to count as dropped.
    passed_over: u64,
    frame_size: (u32, u32),
    camera: CameraState,
    /// Why the camera was lost; the buffer is kept.
    lost_reason: String,
    nobody_since: Option<Timestamp>,
    is_hot: bool,
    heat_reason: String,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum CameraState {
    Starting,
    Streaming,
    Lost,
}

impl Pipeline {
    /// A pipeline of parts that are ready. Outputs get their reports in this
    /// order.
    #[must_use]
    pub fn new(source: Box<dyn Source>, stages: Stages, outputs: Vec<Box<dyn Output>>) -> Self {
        Self {
            source,
            stages,
            outputs,
            last: Last::new(),
            rate: HalfRate::default(),
            stats: Stats::new(),
            arena: ArenaWatch::new(),
        }
    }

    /// Takes one frame through all stages and reports it, or reports that none
    /// came within [`PATIENCE`].
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
                    self.stages.forget();
                    self.last.nobody_since = None;
                }
                self.stats.count_frame(self.last.advance(&frame));
                self.stages.look(&frame, &mut self.stats);
                let faces = self.stages.faces();
                self.last.note_faces(faces);
                let report = Report {
                    is_new: true,
                    fatigue: self.stages.fatigue(true),
                    ..self.last.report(faces)
                };
                if tell(&mut self.outputs, &report, &mut self.stats, Some(ready)) {
                    self.stages.acknowledge();
                }
                self.stats.note(Stage::Frame, ready.elapsed());
                self.arena.look(self.last.frame_size);
                return Step::Frame;
            }
            Captured::Ended => return Step::Ended,
            Captured::Waiting => {}
            Captured::Skipped => self.last.passed_over += 1,
            Captured::Lost { reason } => self.last.lose(reason),
        }
        if live {
            self.last.timestamp = self.last.timestamp.max(Timestamp::now());
        }
        let is_lost = self.last.camera == CameraState::Lost;
        let is_news = is_lost && self.stages.lose_camera(self.last.timestamp);
        let report = Report {
            fatigue: self.stages.fatigue(is_news),
            ..self.last.report(self.stages.faces())
        };
        if tell(&mut self.outputs, &report, &mut self.stats, None) {
            self.stages.acknowledge();
        }
        Step::NoFrame
    }

    /// Puts every output into its safe state and says why. To be called once,
    /// at the end.
    pub fn finish(&mut self, reason: &str) {
        let mut outputs = self.take_outputs();
        self.finish_outputs(&mut outputs, reason);
        self.outputs = outputs;
    }

    /// Puts these outputs into their safe state and says why.
    fn finish_outputs(&mut self, outputs: &mut [Box<dyn Output>], reason: &str) {
        let counts = self.source.counts();
        let counters = [
            ("frames_dropped", self.stats.dropped()),
            ("frames_broken", counts.broken),
            ("frames_dark", counts.dark),
            ("not_a_face", self.stages.refused().unwrap_or_default()),
        ];
        // Only a face network refuses faces.
        let counted = counters.len() - usize::from(self.stages.refused().is_none());
        let report = Report {
            shutdown: Some(Shutdown {
                reason,
                frames: self.stats.frames(),
                counters: &counters[..counted],
            }),
            ..self.last.report(self.stages.faces())
        };
        self.stats.between_frames(|| {
            for output in outputs {
                output.update(&report);
                output.finish();
            }
        });
    }

    /// Passes over about every other frame from now on, or no longer, and
    /// reports why.
    pub fn set_hot(&mut self, hot: bool, reason: &str) {
        self.rate.set(hot);
        self.last.is_hot = hot;
        self.last.heat_reason.clear();
        self.last.heat_reason.push_str(reason);
        let mut report = Report {
            fatigue: self.stages.fatigue(false),
            ..self.last.report(self.stages.faces())
        };
        if self.source.is_live() {
            report.timestamp = report.timestamp.max(Timestamp::now());
        }
        tell(&mut self.outputs, &report, &mut self.stats, None);
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

    /// Leaves the allocations of this thread out of the count of frames', those
    /// since [`Usage::system_here`](crate::host::memory::Usage::system_here) was
    /// `before`.
    pub fn leave_out_allocations_since(&mut self, before: u64) {
        self.stats.leave_out_allocations_since(before);
    }

    /// The source of frames.
    #[must_use]
    pub fn source(&self) -> &dyn Source {
        &*self.source
    }

    /// The size of the last frame; `None` before the first.
    #[must_use]
    pub fn frame_size(&self) -> Option<(u32, u32)> {
        Some(self.last.frame_size).filter(|size| *size != (0, 0))
    }

    /// The time and the number of the last frame.
    #[must_use]
    pub const fn last_frame(&self) -> (Timestamp, u64) {
        (self.last.timestamp, self.last.frame)
    }

    /// Whether about every other frame is passed over.
    #[must_use]
    pub const fn is_hot(&self) -> bool {
        self.last.is_hot
    }

    /// Reports as before the first frame, so that GPIO lines go to their safe
    /// level. The next frame ends that.
    pub fn suspend(&mut self) {
        self.last.camera = CameraState::Starting;
        let report = self.last.report(&[]);
        tell(&mut self.outputs, &report, &mut self.stats, None);
    }

    /// Takes frames from another source from now on. The one before is dropped,
    /// and the faces in its frames are forgotten.
    pub fn replace_source(&mut self, source: Box<dyn Source>) {
        self.suspend();
        self.source = source;
        self.stages.forget();
        self.stages.forget_eyes();
        let (is_hot, heat_reason) = (self.last.is_hot, std::mem::take(&mut self.last.heat_reason));
        self.last = Last {
            is_hot,
            heat_reason,
            ..Last::new()
        };
    }

    /// Goes on with other stages, and leaves what they replace in `next`. The
    /// faces that are followed are kept, with what was decided about them.
    pub fn exchange_stages(&mut self, next: &mut Stages) {
        self.stages.exchange(next);
    }

    /// Takes out all outputs, in their order. Without any, frames still go
    /// through the stages.
    pub fn take_outputs(&mut self) -> Vec<Box<dyn Output>> {
        std::mem::take(&mut self.outputs)
    }

    /// Adds an output, which gets its reports after those that are there.
    pub fn add_output(&mut self, output: Box<dyn Output>) {
        self.outputs.push(output);
    }

    /// Puts an output that was taken out into its safe state, says why, and
    /// drops it.
    pub fn dismiss(&mut self, mut output: Box<dyn Output>, reason: &str) {
        self.finish_outputs(std::slice::from_mut(&mut output), reason);
    }
}

impl Last {
    const fn new() -> Self {
        Self {
            timestamp: Timestamp(Duration::ZERO),
            frame: 0,
            passed_over: 0,
            frame_size: (0, 0),
            camera: CameraState::Starting,
            lost_reason: String::new(),
            nobody_since: None,
            is_hot: false,
            heat_reason: String::new(),
        }
    }

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

    fn note_faces(&mut self, faces: &[FaceReport]) {
        if faces.is_empty() {
            self.nobody_since.get_or_insert(self.timestamp);
        } else {
            self.nobody_since = None;
        }
    }

    /// A report with these faces, if there is a camera.
    fn report<'a>(&'a self, faces: &'a [FaceReport]) -> Report<'a> {
        let is_streaming = self.camera == CameraState::Streaming;
        Report {
            timestamp: self.timestamp,
            frame: self.frame,
            is_new: false,
            camera: match self.camera {
                CameraState::Starting => Camera::Starting,
                CameraState::Streaming => Camera::Streaming,
                CameraState::Lost => Camera::Lost {
                    reason: &self.lost_reason,
                },
            },
            frame_size: self.frame_size,
            faces: if is_streaming { faces } else { &[] },
            fatigue: None,
            nobody_since: self.nobody_since.filter(|_| is_streaming),
            heat: Heat {
                is_hot: self.is_hot,
                reason: &self.heat_reason,
            },
            shutdown: None,
        }
    }
}

/// `ready`: since when the report's frame was there, if it is a new one. Returns
/// whether somebody has acknowledged the alarm.
fn tell(
    outputs: &mut [Box<dyn Output>],
    report: &Report<'_>,
    stats: &mut Stats,
    ready: Option<Instant>,
) -> bool {
    let start = Instant::now();
    let mut is_acknowledged = false;
    for output in outputs {
        let changes = output.update(report);
        is_acknowledged |= changes.is_acknowledged;
        if let Some(ready) = ready
            && changes.edges > 0
        {
            stats.note(Stage::Edge, ready.elapsed());
        }
    }
    stats.note(Stage::Output, start.elapsed());
    is_acknowledged
}
