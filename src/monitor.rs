//! Collects the daemon's [`Health`] between two frames.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use crate::health::{Dropped, Health, Reloads};
use crate::host::memory;
use crate::host::realtime::resident_memory;
use crate::pipeline::Pipeline;
use crate::report::CameraState;
use crate::snapshot::Figures;

/// How often health is reported without a change.
pub const PERIOD: Duration = Duration::from_secs(10);

/// Rates are not computed from less than this.
const SHORTEST: Duration = Duration::from_secs(1);

/// A clock that jumps by this much was set.
const CLOCK_JUMP: Duration = Duration::from_secs(60);

/// Decides when health is reported, and counts since the last regular report.
#[derive(Debug)]
pub struct Monitor {
    started: Instant,
    /// The same by the wall clock.
    started_at: SystemTime,
    /// When the figures below began to be collected.
    since: Instant,
    rates: Rates,
    reported: Health,
}

/// Values from other parts.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Degrees Celsius.
    pub temperature: Option<f32>,
    pub reloads: Reloads,
    pub restarts: u64,
    pub restart_reason: Option<Arc<str>>,
}

/// Figures of the last full period.
#[derive(Clone, Copy, Debug, Default)]
struct Rates {
    fps: Option<f64>,
    p50: Option<Duration>,
    p99: Option<Duration>,
}

impl Default for Monitor {
    fn default() -> Self {
        Self::new()
    }
}

impl Monitor {
    /// A monitor of a daemon that starts now.
    #[must_use]
    pub fn new() -> Self {
        Self {
            started: Instant::now(),
            started_at: SystemTime::now(),
            since: Instant::now(),
            rates: Rates::default(),
            reported: Health::default(),
        }
    }

    /// When the daemon started, by the wall clock. It stays the same but for a
    /// clock that was set: a Raspberry Pi without a clock learns the time from the
    /// network, after the start.
    fn started_at(&mut self) -> SystemTime {
        let now = SystemTime::now().checked_sub(self.started.elapsed());
        let now = now.unwrap_or(SystemTime::UNIX_EPOCH);
        let apart = now.duration_since(self.started_at);
        if apart.unwrap_or_else(|error| error.duration()) >= CLOCK_JUMP {
            self.started_at = now;
        }
        self.started_at
    }

    /// What metrics need besides the health. Allocates nothing.
    pub fn figures(&mut self, pipeline: &Pipeline) -> Figures {
        Figures {
            started: self.started_at(),
            stages: *pipeline.stats().buckets(),
            last_frame: pipeline.last_frame_at(),
            camera_losses: pipeline.camera_losses(),
            faces: pipeline.face_count(),
            valid_eyes: pipeline.valid_eyes(),
        }
    }

    /// The daemon's health if a report is due, and whether a change is the
    /// reason; otherwise [`PERIOD`] has passed since the last regular report.
    /// Allocates nothing.
    pub fn look(&mut self, pipeline: &mut Pipeline, known: &Known) -> Option<(Health, bool)> {
        let is_due = self.since.elapsed() >= PERIOD;
        let is_same = pipeline.camera() == self.reported.camera
            && pipeline.paused_by() == self.reported.paused_by
            && pipeline.is_hot() == self.reported.is_hot
            && known.reloads == self.reported.reloads;
        if is_same && !is_due {
            return None;
        }
        if is_due {
            self.rates = Rates::of(pipeline, self.since.elapsed());
            pipeline.begin_period();
            self.since = Instant::now();
        }
        let health = self.health(pipeline, known);
        self.reported = health.clone();
        Some((health, !is_same))
    }

    /// The daemon's health now. Allocates nothing.
    #[must_use]
    pub fn health(&self, pipeline: &Pipeline, known: &Known) -> Health {
        let mut rates = self.rates;
        // Before the first period is over.
        if rates.fps.is_none() && self.since.elapsed() >= SHORTEST {
            rates = Rates::of(pipeline, self.since.elapsed());
        }
        let camera = pipeline.camera();
        if camera != CameraState::Streaming {
            rates.fps = rates.fps.map(|_| 0.0);
        }
        let counts = pipeline.counts();
        Health {
            camera,
            paused_by: pipeline.paused_by(),
            fps: rates.fps,
            frames: pipeline.stats().frames(),
            dropped: Dropped {
                busy: pipeline.stats().dropped(),
                broken: counts.broken,
                dark: counts.dark,
                hot: pipeline.passed_over(),
            },
            frame_p50: rates.p50,
            frame_p99: rates.p99,
            temperature: known.temperature,
            is_hot: pipeline.is_hot(),
            arena_overflows: memory::usage().overflows,
            resident: resident_memory().unwrap_or(0),
            uptime: self.started.elapsed(),
            reloads: known.reloads.clone(),
            restarts: known.restarts,
            restart_reason: known.restart_reason.clone(),
        }
    }
}

impl Rates {
    fn of(pipeline: &Pipeline, period: Duration) -> Self {
        let recent = pipeline.stats().recent();
        Self {
            fps: Some(recent.frames as f64 / period.as_secs_f64()),
            p50: recent.p50,
            p99: recent.p99,
        }
    }
}
