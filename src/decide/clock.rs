//! The clock of a decider.

use std::time::Duration;

use crate::frame::Timestamp;

/// Advances with the timestamps of frames but never back: a timestamp before the
/// last one counts as the same instant.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameClock {
    frame: Option<Timestamp>,
    time: Duration,
    step: Duration,
}

impl FrameClock {
    /// Advances to a frame taken at `now`.
    pub fn advance(&mut self, now: Timestamp) {
        self.step = self
            .frame
            .map_or(Duration::ZERO, |before| now.since(before));
        self.frame = Some(now);
        self.time = self.time.saturating_add(self.step);
    }

    /// The timestamp of the frame; zero before the first.
    pub fn now(&self) -> Timestamp {
        self.frame.unwrap_or_default()
    }

    /// The time since the first frame.
    pub const fn time(&self) -> Duration {
        self.time
    }

    /// The time since the frame before.
    pub const fn step(&self) -> Duration {
        self.step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_may_stand_still_but_does_not_go_back() {
        let mut clock = FrameClock::default();
        let mut at = |millis: u64| {
            clock.advance(Timestamp::from_millis(millis));
            (clock.time().as_millis(), clock.step().as_millis())
        };
        assert_eq!(at(500), (0, 0));
        assert_eq!(at(600), (100, 100));
        assert_eq!(at(600), (100, 0));
        assert_eq!(at(50), (100, 0));
        assert_eq!(at(70), (120, 20));
    }
}
