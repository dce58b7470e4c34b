//! What was learned about a face at rest so far: an estimate of the
//! classifier's answer, to which each quiet frame adds, and the mean answer of
//! the last second, with which each frame is compared.

use std::time::Duration;

use super::rest::Rest;
use crate::decide::clock::FrameClock;

/// The largest difference between a log probability of a quiet face and the
/// mean of the last second, in nats.
const QUIET_CHANGE: f32 = 0.7;
/// The time constant of the mean answer with which a frame is compared.
const RECENT: Duration = Duration::from_secs(1);
/// A longer step between two frames says nothing about the time between them.
const LONGEST_STEP: Duration = Duration::from_secs(1);

#[derive(Clone, Copy, Debug)]
pub struct Learned {
    /// The answer of about the last second.
    recent: Rest,
    /// The estimate of the resting answer.
    pub rest: Rest,
    /// The quiet time that went into the estimate.
    pub quiet: Duration,
}

impl Learned {
    /// Begins with the first answer of a face. The time before that frame does
    /// not belong to the face.
    pub const fn new(logs: Rest) -> Self {
        Self {
            recent: logs,
            rest: logs,
            quiet: Duration::ZERO,
        }
    }

    /// Compares an answer with the last second, and adds it to that second.
    /// Returns whether the answer has not just changed.
    pub fn is_steady(&mut self, logs: &Rest, step: Duration) -> bool {
        let is_steady = logs.distance(&self.recent) <= QUIET_CHANGE;
        self.recent.follow(logs, share(step, RECENT));
        is_steady
    }
}

/// The time from the frame before to this one, as far as it counts.
pub fn step(clock: &FrameClock) -> Duration {
    clock.step().min(LONGEST_STEP)
}

/// The share of a step in an exponential mean. Computed in f64, because
/// mathematics libraries differ in the last bit, and rounding to f32 hides that.
pub fn share(step: Duration, time_constant: Duration) -> f32 {
    (1.0 - (-step.as_secs_f64() / time_constant.as_secs_f64()).exp()) as f32
}
