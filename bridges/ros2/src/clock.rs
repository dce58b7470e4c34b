//! The time of capture on the wall clock.
//!
//! An event's `time` is when its frame was captured, on the monotonic clock of
//! the machine that the bridge runs on, too. Its `wall` is when the line was
//! written, which is later.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use crate::messages::Time;

/// Differences of the clocks that are smaller come from reading one clock after
/// the other.
const JITTER: Duration = Duration::from_millis(5);

/// A reading of both clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Since boot.
    pub monotonic: Duration,
    /// Since the Unix epoch.
    pub wall: Duration,
}

impl Now {
    pub fn read() -> Self {
        Self {
            monotonic: read(ClockId::Monotonic),
            wall: read(ClockId::Realtime),
        }
    }
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Turns an event's time into a stamp.
#[derive(Debug, Default)]
pub struct Clock {
    /// The wall clock when the monotonic one began. Kept while the clocks do not
    /// move against each other, so that all messages of a frame have the same
    /// stamp.
    boot: Option<Duration>,
}

impl Clock {
    /// When a frame was captured. A recording's times (`live` is false) begin at
    /// 0; its stamps are the present time.
    pub fn stamp(&mut self, time: f64, live: bool, now: Now) -> Time {
        let captured = Duration::try_from_secs_f64(time)
            .ok()
            .filter(|time| live && *time <= now.monotonic + JITTER);
        let Some(captured) = captured else {
            return now.wall.into();
        };
        let boot = now.wall.saturating_sub(now.monotonic);
        if self.boot.is_none_or(|kept| kept.abs_diff(boot) > JITTER) {
            self.boot = Some(boot);
        }
        (self.boot.unwrap_or(boot) + captured).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn now(monotonic_us: u64, wall_us: u64) -> Now {
        Now {
            monotonic: Duration::from_micros(monotonic_us),
            wall: Duration::from_micros(wall_us),
        }
    }

    #[test]
    fn the_stamp_is_the_time_of_capture() {
        let mut clock = Clock::default();
        let first = clock.stamp(0.9, true, now(1_000_000, 1_700_000_001_000_000));
        assert_eq!((first.sec, first.nanosec), (1_700_000_000, 900_000_000));
        // The second line of the same frame, with clocks read at other moments.
        let second = clock.stamp(0.9, true, now(1_000_300, 1_700_000_001_000_302));
        assert_eq!(first, second);
    }

    #[test]
    fn a_wall_clock_that_is_set_is_followed() {
        let mut clock = Clock::default();
        clock.stamp(1.0, true, now(1_000_000, 5_000_000));
        let set = clock.stamp(2.0, true, now(2_000_000, 1_700_000_000_000_000));
        assert_eq!((set.sec, set.nanosec), (1_700_000_000, 0));
    }

    #[test]
    fn a_recording_or_a_time_to_come_gets_the_present_time() {
        let mut clock = Clock::default();
        let present = now(1_000_000, 1_700_000_000_000_000);
        for (time, live) in [(0.5, false), (7.0, true), (-1.0, true), (f64::NAN, true)] {
            assert_eq!(
                clock.stamp(time, live, present).sec,
                1_700_000_000,
                "{time}"
            );
        }
    }

    #[test]
    fn both_clocks_run() {
        let now = Now::read();
        assert!(now.monotonic > Duration::ZERO);
        assert!(now.wall > Duration::from_secs(1_600_000_000));
    }
}
