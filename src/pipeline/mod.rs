//! The loop: takes the newest frame, if there is one, passes it through all
//! [`Stages`], and reports to the outputs.
//!
//! Only this module knows all stages. Slow work and work that may fail runs
//! outside of the loop: capture reopens a lost camera, and slow devices have
//! threads of their own.

mod arena;
mod stages;
pub mod stats;

use std::time::{Duration, Instant};

use crate::capture::{Captured, Counts, Frame, Source};
use crate::decide::baseline::{Obstacle, Progress, Rest};
use crate::decide::fatigue::State;
use crate::frame::Timestamp;
use crate::host::thermal::HalfRate;
use crate::output::{Changes, Output};
use crate::report::{Camera, CameraState, FaceReport, Heat, PausedBy, Report, Shutdown};
use arena::ArenaWatch;
use stats::{Stage, Stats};

pub use arena::ArenaTooSmall;
pub use stages::Stages;

/// How long a step waits for a frame. The loop handles signals and sets safe
/// levels between two waits, so this limits their delay.
pub const PATIENCE: Duration = Duration::from_millis(50);

/// The result of a step of the loop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// A frame went through all stages.
    Frame,
    /// A frame was skipped because the machine is too hot.
    PassedOver,
    /// No frame came, and the outputs got a report about that.
    NoFrame,
    /// The recording is over.
    Ended,
}

/// A source, the stages and the outputs, put together.
pub struct Pipeline {
    source: Box<dyn Source>,
    stages: Stages,
    outputs: Vec<Box<dyn Output>>,
    /// The counts of earlier sources, which were replaced.
    counted_before: Counts,
    /// Frames that were skipped because the machine was too hot.
    passed_over: u64,
    /// Whether a switch of an output asked for a pause when it was last read.
    asks_pause: bool,
    /// Whether a button of an output asked for a baseline since the request was
    /// last taken.
    asks_baseline: bool,
    last: Last,
    /// When the last frame arrived that went through the stages.
    last_frame_at: Option<Instant>,
    /// How often the camera was lost.
    camera_losses: u64,
    rate: HalfRate,
    stats: Stats,
    arena: ArenaWatch,
}

/// The last frame's values, for reports while no frame comes.
struct Last {
    timestamp: Timestamp,
    frame: u64,
    /// Frames skipped since then, which do not count as dropped.
    passed_over: u64,
    frame_size: (u32, u32),
    camera: CameraState,
    paused_by: PausedBy,
    /// Why the camera was lost; the buffer is kept.
    lost_reason: String,
    nobody_since: Option<Timestamp>,
    is_hot: bool,
    heat_reason: String,
    is_watched: bool,
}

impl Pipeline {
    /// A pipeline from its parts. Outputs get their reports in this order.
    #[must_use]
    pub fn new(source: Box<dyn Source>, stages: Stages, outputs: Vec<Box<dyn Output>>) -> Self {
        Self {
            source,
            stages,
            outputs,
            counted_before: Counts::default(),
            passed_over: 0,
            asks_pause: false,
            asks_baseline: false,
            last: Last::new(),
            last_frame_at: None,
            camera_losses: 0,
            rate: HalfRate::default(),
            stats: Stats::new(),
            arena: ArenaWatch::new(),
        }
    }

    /// Takes one frame through all stages and reports it, or reports that none
    /// came within [`PATIENCE`].
    pub fn step(&mut self) -> Step {
        if self.last.paused_by.is_any() {
            return self.step_paused();
        }
        let asked = Instant::now();
        let live = self.source.is_live();
        match self.source.next(PATIENCE) {
            Captured::Frame(frame) => {
                if !self.rate.takes(frame.timestamp) {
                    self.last.passed_over += 1;
                    self.passed_over += 1;
                    return Step::PassedOver;
                }
                self.stats.note(Stage::Capture, asked.elapsed());
                let ready = Instant::now();
                self.last_frame_at = Some(ready);
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
                    picture: Some(frame.luma),
                    fatigue: self.stages.fatigue(true),
                    recording: self.stages.recording(),
                    ..self.last.report(faces)
                };
                let heard = tell(&mut self.outputs, &report, &mut self.stats, Some(ready));
                self.hear(heard);
                self.stats.note(Stage::Frame, ready.elapsed());
                self.arena.look(self.last.frame_size);
                return Step::Frame;
            }
            Captured::Ended => return Step::Ended,
            Captured::Waiting => {}
            Captured::Skipped => self.last.passed_over += 1,
            Captured::Lost { reason } => {
                if self.last.camera != CameraState::Lost {
                    self.camera_losses += 1;
                }
                self.last.lose(reason);
            }
        }
        if live {
            self.last.timestamp = self.last.timestamp.max(Timestamp::now());
        }
        let is_lost = self.last.camera == CameraState::Lost;
        let is_news = is_lost && self.stages.lose_camera(self.last.timestamp);
        let report = Report {
            fatigue: self.stages.fatigue(is_news),
            recording: self.stages.recording(),
            ..self.last.report(self.stages.faces())
        };
        let heard = tell(&mut self.outputs, &report, &mut self.stats, None);
        self.hear(heard);
        Step::NoFrame
    }

    /// A step of a pause: no frame goes through the stages.
    fn step_paused(&mut self) -> Step {
        if self.source.is_live() {
            // A program that writes frames into a pipe must not have to wait.
            if matches!(self.source.next(PATIENCE), Captured::Ended) {
                return Step::Ended;
            }
            self.last.timestamp = self.last.timestamp.max(Timestamp::now());
        } else {
            // A recording does not advance.
            std::thread::sleep(PATIENCE);
        }
        let heard = tell(
            &mut self.outputs,
            &self.last.report(&[]),
            &mut self.stats,
            None,
        );
        self.hear(heard);
        Step::NoFrame
    }

    fn hear(&mut self, heard: Changes) {
        if heard.is_acknowledged {
            self.stages.acknowledge();
        }
        self.asks_pause = heard.asks_pause;
        self.asks_baseline |= heard.asks_baseline;
    }

    /// Begins a pause, changes who asks for it, or ends it if nobody asks for
    /// it, and reports this at once. During a pause no frame goes through the
    /// stages; the faces before it are forgotten. To close the source, replace
    /// it ([`Pipeline::replace_source`]).
    pub fn pause(&mut self, by: PausedBy) {
        if by == self.last.paused_by {
            return;
        }
        self.last.paused_by = by;
        self.last.camera = self.last.without_frames();
        self.last.nobody_since = None;
        self.stages.forget();
        self.stages.forget_eyes();
        if self.source.is_live() {
            self.last.timestamp = self.last.timestamp.max(Timestamp::now());
        }
        let report = self.last.report(&[]);
        tell(&mut self.outputs, &report, &mut self.stats, None);
    }

    /// Who asks for the pause, if there is one.
    #[must_use]
    pub const fn paused_by(&self) -> PausedBy {
        self.last.paused_by
    }

    /// Whether an output's switch asked for a pause when it was last read.
    #[must_use]
    pub const fn asks_pause(&self) -> bool {
        self.asks_pause
    }

    /// Why the camera was lost the last time; empty if it was never lost.
    #[must_use]
    pub fn lost_reason(&self) -> &str {
        &self.last.lost_reason
    }

    /// Puts every output into its safe state, with the reason. Call this once,
    /// at the end.
    pub fn finish(&mut self, reason: &str) {
        let mut outputs = self.take_outputs();
        self.finish_outputs(&mut outputs, reason);
        self.outputs = outputs;
    }

    /// Puts these outputs into their safe state, with the reason.
    fn finish_outputs(&mut self, outputs: &mut [Box<dyn Output>], reason: &str) {
        let counts = self.counts();
        let counters = [
            ("frames_dropped", self.stats.dropped()),
            ("frames_broken", counts.broken),
            ("frames_dark", counts.dark),
            ("not_a_face", self.stages.refused().unwrap_or_default()),
        ];
        // Only a face net rejects boxes.
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

    /// Starts or stops skipping about every other frame, and reports the
    /// reason.
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

    /// Says from the next report on whether somebody sees the camera's pictures
    /// by the preview.
    pub const fn set_watched(&mut self, is_watched: bool) {
        self.last.is_watched = is_watched;
    }

    /// Makes the outputs open their files again.
    pub fn reopen_files(&mut self) {
        for output in &mut self.outputs {
            output.reopen_files();
        }
    }

    /// Whether frames come.
    #[must_use]
    pub const fn camera(&self) -> CameraState {
        self.last.camera
    }

    /// What was counted since the start, by this source and those before it.
    #[must_use]
    pub fn counts(&self) -> Counts {
        self.counted_before + self.source.counts()
    }

    /// When the last frame arrived that went through the stages.
    #[must_use]
    pub const fn last_frame_at(&self) -> Option<Instant> {
        self.last_frame_at
    }

    /// How often the camera was lost since the start.
    #[must_use]
    pub const fn camera_losses(&self) -> u64 {
        self.camera_losses
    }

    /// How many faces count in the last frame; zero without a camera.
    #[must_use]
    pub fn face_count(&self) -> usize {
        match self.last.camera {
            CameraState::Streaming => self.stages.faces().len(),
            CameraState::Starting | CameraState::Lost | CameraState::Paused => 0,
        }
    }

    /// The valid share of the last minute of the watched eyes, 0 to 1; `None`
    /// while no eyes are watched.
    #[must_use]
    pub fn valid_eyes(&self) -> Option<f32> {
        let decision = self.stages.fatigue(false)?.decision;
        let is_watching = decision.state != State::Nobody && !decision.window.is_zero();
        is_watching.then_some(decision.valid)
    }

    /// Frames that were skipped since the start because the machine was too
    /// hot.
    #[must_use]
    pub const fn passed_over(&self) -> u64 {
        self.passed_over
    }

    /// Begins to collect [`Stats::recent`] again, without earlier frames.
    pub fn begin_period(&mut self) {
        self.stats.begin_period();
    }

    /// Whether a button that asks for a baseline was pressed since the last
    /// call.
    pub const fn take_baseline_request(&mut self) -> bool {
        std::mem::replace(&mut self.asks_baseline, false)
    }

    /// Begins to record the baseline of the person in front of the camera, or
    /// begins again. Needs a verifier ([`Stages::with_verifier`]): without one
    /// the recording fails, because no face is seen at rest.
    pub fn record_baseline(&mut self) {
        self.stages.record_baseline();
    }

    /// The progress of the recording of a baseline; `None` unless a recording
    /// continues or has just ended.
    #[must_use]
    pub const fn recording(&self) -> Option<&Progress> {
        self.stages.recording()
    }

    /// Returns the outcome of a recording that has ended, once. In the mode
    /// `stored`, a recorded baseline is already in force.
    pub fn take_recorded(&mut self) -> Option<Result<Rest, Obstacle>> {
        self.stages.take_recorded()
    }

    /// Whether the loop waits for a camera.
    #[must_use]
    pub fn is_waiting_for_camera(&self) -> bool {
        self.last.camera != CameraState::Streaming
    }

    /// Runs work of the loop's thread that does not belong to a frame
    /// ([`Stats::between_frames`]).
    pub fn between_frames<T>(&mut self, work: impl FnOnce() -> T) -> T {
        self.stats.between_frames(work)
    }

    /// The statistics so far.
    #[must_use]
    pub const fn stats(&self) -> &Stats {
        &self.stats
    }

    /// Does not count this thread's allocations as those of frames, from the
    /// moment at which
    /// [`Usage::system_here`](crate::host::memory::Usage::system_here) was
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

    /// Whether about every other frame is skipped.
    #[must_use]
    pub const fn is_hot(&self) -> bool {
        self.last.is_hot
    }

    /// Reports the state before the first frame, so that GPIO lines go to their
    /// safe level. The next frame ends this state. A pause continues.
    pub fn suspend(&mut self) {
        self.last.camera = self.last.without_frames();
        let report = self.last.report(&[]);
        tell(&mut self.outputs, &report, &mut self.stats, None);
    }

    /// Takes frames from another source from now on. The one before is dropped,
    /// and the faces in its frames are forgotten.
    pub fn replace_source(&mut self, source: Box<dyn Source>) {
        self.suspend();
        self.counted_before = self.counts();
        self.source = source;
        self.stages.forget();
        self.stages.forget_eyes();
        let (is_hot, heat_reason) = (self.last.is_hot, std::mem::take(&mut self.last.heat_reason));
        self.last = Last {
            is_hot,
            heat_reason,
            camera: self.last.camera,
            paused_by: self.last.paused_by,
            is_watched: self.last.is_watched,
            ..Last::new()
        };
    }

    /// Exchanges the stages with `next`. Followed faces are kept, with the
    /// decisions about them.
    pub fn exchange_stages(&mut self, next: &mut Stages) {
        self.stages.exchange(next);
    }

    /// Removes and returns all outputs, in their order. Without outputs, frames
    /// still pass through the stages.
    pub fn take_outputs(&mut self) -> Vec<Box<dyn Output>> {
        std::mem::take(&mut self.outputs)
    }

    /// Adds an output, which gets its reports after the others.
    pub fn add_output(&mut self, output: Box<dyn Output>) {
        self.outputs.push(output);
    }

    /// Puts a removed output into its safe state, with the reason, and drops
    /// it.
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
            paused_by: PausedBy {
                control: false,
                gpio: false,
            },
            lost_reason: String::new(),
            nobody_since: None,
            is_hot: false,
            heat_reason: String::new(),
            is_watched: false,
        }
    }

    /// The state of a camera that has just been opened, or that is closed for a
    /// pause.
    const fn without_frames(&self) -> CameraState {
        if self.paused_by.is_any() {
            CameraState::Paused
        } else {
            CameraState::Starting
        }
    }

    /// Notes a frame as the last one. Returns how many frames the source
    /// dropped before it.
    fn advance(&mut self, frame: &Frame<'_>) -> u64 {
        let dropped = match self.camera {
            CameraState::Streaming => frame
                .sequence
                .saturating_sub(self.frame + 1 + self.passed_over),
            CameraState::Starting | CameraState::Lost | CameraState::Paused => 0,
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
                CameraState::Paused => Camera::Paused { by: self.paused_by },
            },
            frame_size: self.frame_size,
            picture: None,
            is_watched: self.is_watched,
            faces: if is_streaming { faces } else { &[] },
            fatigue: None,
            recording: None,
            nobody_since: self.nobody_since.filter(|_| is_streaming),
            heat: Heat {
                is_hot: self.is_hot,
                reason: &self.heat_reason,
            },
            shutdown: None,
        }
    }
}

/// `ready`: when the report's frame arrived, if it is a new one. Returns the
/// changes of all outputs together.
fn tell(
    outputs: &mut [Box<dyn Output>],
    report: &Report<'_>,
    stats: &mut Stats,
    ready: Option<Instant>,
) -> Changes {
    let start = Instant::now();
    let mut all = Changes::NONE;
    for output in outputs {
        let changes = output.update(report);
        all.edges += changes.edges;
        all.is_acknowledged |= changes.is_acknowledged;
        all.asks_pause |= changes.asks_pause;
        all.asks_baseline |= changes.asks_baseline;
        if let Some(ready) = ready
            && changes.edges > 0
        {
            stats.note(Stage::Edge, ready.elapsed());
        }
    }
    stats.note(Stage::Output, start.elapsed());
    all
}
