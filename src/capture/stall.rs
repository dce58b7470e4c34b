//! Decides when a source that delivers no whole frame counts as lost.

use std::fmt::{self, Write as _};
use std::time::Duration;

use crate::frame::Timestamp;

/// At least this many intervals between two frames must pass: a slow camera
/// that misses one or two frames is not lost.
const INTERVALS: u32 = 3;

/// Watches the time since the last whole frame.
///
/// The source is lost after `stall_timeout`, but never before three intervals
/// between frames have passed. The interval is the requested or announced one,
/// or the measured one if that is longer.
#[derive(Clone, Debug)]
pub struct Stall {
    timeout: Duration,
    announced: Duration,
    /// A running mean; zero before the second frame.
    measured: Duration,
    last: Timestamp,
    /// Whether a frame has come since the source was started or came back.
    streaming: bool,
}

impl Stall {
    /// `fps` is the requested rate, if any.
    pub fn new(timeout: Duration, fps: Option<f32>, now: Timestamp) -> Self {
        let mut stall = Self {
            timeout,
            announced: Duration::ZERO,
            measured: Duration::ZERO,
            last: now,
            streaming: false,
        };
        if let Some(fps) = fps {
            stall.announce(f64::from(fps));
        }
        stall
    }

    /// Notes the rate that the stream announces.
    pub fn announce(&mut self, fps: f64) {
        if let Ok(interval) = Duration::try_from_secs_f64(1.0 / fps) {
            self.announced = interval;
        }
    }

    /// Notes that `count` whole frames came since the last call.
    pub fn pictures(&mut self, count: u64, now: Timestamp) {
        if self.streaming && count > 0 {
            let count = u32::try_from(count).unwrap_or(u32::MAX);
            let interval = now.since(self.last) / count;
            self.measured = if self.measured.is_zero() {
                interval
            } else {
                (self.measured * 7 + interval) / 8
            };
        }
        self.streaming = true;
        self.last = now;
    }

    /// Notes that the source is started again: its time runs from now on.
    pub fn restart(&mut self, now: Timestamp) {
        self.last = now;
        self.streaming = false;
    }

    /// The time without a frame after which the source is lost.
    pub fn limit(&self) -> Duration {
        self.timeout
            .max(self.announced.max(self.measured).saturating_mul(INTERVALS))
    }

    /// Time since the last whole frame, or since the start.
    pub fn silence(&self, now: Timestamp) -> Duration {
        now.since(self.last)
    }
}

/// The broken frames since the last whole one.
#[derive(Debug, Default)]
pub struct Broken {
    count: u64,
    last: String,
}

impl Broken {
    pub fn add(&mut self, fault: &dyn fmt::Display) {
        self.count += 1;
        self.last.clear();
        let _ = write!(self.last, "{fault}");
    }

    /// A whole frame came.
    pub const fn clear(&mut self) {
        self.count = 0;
    }

    /// The reason for the loss of a source that delivers no whole frame.
    pub fn reason(&self, limit: Duration) -> String {
        let mut reason = format!("no whole frame for {:.1} s", limit.as_secs_f32());
        if self.count > 0 {
            let _ = write!(
                reason,
                "; {} broken ones came, the last: {}",
                self.count, self.last
            );
        }
        reason
    }

    pub const fn is_empty(&self) -> bool {
        self.count == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn is_overdue(stall: &Stall, now: Timestamp) -> bool {
        stall.silence(now) >= stall.limit()
    }

    #[test]
    fn a_slow_stream_has_three_of_its_intervals() {
        let start = Timestamp::from_millis(5000);
        let at = |millis: u64| Timestamp::from_millis(5000 + millis);
        let timeout = Duration::from_millis(800);

        let mut asked = Stall::new(timeout, Some(1.0), start);
        assert!(!is_overdue(&asked, at(2999)));
        assert!(is_overdue(&asked, at(3000)));
        asked.announce(2.0);
        assert!(is_overdue(&asked, at(1500)));

        let mut seen = Stall::new(timeout, None, start);
        assert!(!is_overdue(&seen, at(799)) && is_overdue(&seen, at(800)));
        for second in 0..4 {
            seen.pictures(1, at(second * 1000));
        }
        assert_eq!(seen.limit(), 3 * SECOND);
        assert!(!is_overdue(&seen, at(5999)) && is_overdue(&seen, at(6000)));

        // The pause in which it was lost does not count as an interval between
        // frames.
        seen.restart(at(60_000));
        seen.pictures(1, at(70_000));
        assert_eq!(seen.limit(), 3 * SECOND);
    }

    #[test]
    fn a_fast_stream_has_the_timeout() {
        let start = Timestamp::from_millis(5000);
        let mut stall = Stall::new(SECOND, Some(30.0), start);
        for frame in 1..100 {
            // Two arrive at once.
            stall.pictures(2, Timestamp::from_millis(5000 + frame * 66));
        }
        assert_eq!(stall.limit(), SECOND);
        assert!(stall.measured < Duration::from_millis(40));
        // Senseless rates are ignored.
        stall.announce(0.0);
        stall.announce(f64::NAN);
        assert_eq!(stall.limit(), SECOND);
    }
}
