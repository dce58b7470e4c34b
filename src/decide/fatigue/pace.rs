//! Measures the rate of frames, and limits the interval between two frames.

use std::time::Duration;

/// How many intervals are remembered.
const REMEMBERED: usize = 32;
/// With fewer intervals the rate is unknown.
const LEAST: usize = 8;
/// Intervals up to the first one always count; intervals above the second one
/// never count.
const ALWAYS: Duration = Duration::from_millis(250);
const NEVER: Duration = Duration::from_millis(500);

/// The last intervals between frames.
#[derive(Clone, Debug, Default)]
pub(super) struct Pace {
    intervals: [Duration; REMEMBERED],
    next: usize,
    count: usize,
    /// The mean of the middle half, which does not change with jitter or a
    /// pause.
    middle: Duration,
}

impl Pace {
    pub fn note(&mut self, interval: Duration) {
        if interval.is_zero() {
            return;
        }
        self.intervals[self.next] = interval;
        self.next = (self.next + 1) % REMEMBERED;
        self.count = (self.count + 1).min(REMEMBERED);
        let mut sorted = self.intervals;
        let sorted = &mut sorted[..self.count];
        sorted.sort_unstable();
        let quarter = self.count / 4;
        let middle = &sorted[quarter..self.count - quarter];
        self.middle = middle.iter().sum::<Duration>() / middle.len() as u32;
    }

    /// Frames per second; `None` before it is known.
    pub fn fps(&self) -> Option<f32> {
        (self.count >= LEAST).then(|| 1.0 / self.middle.as_secs_f32())
    }

    /// The longest interval in which an eye is assumed not to change: twice the
    /// usual interval, but at least 250 ms and at most 500 ms.
    pub fn longest_interval(&self) -> Duration {
        (2 * self.middle).clamp(ALWAYS, NEVER)
    }

    /// The usual interval between frames; zero before there is one.
    pub const fn usual_interval(&self) -> Duration {
        self.middle
    }

    pub fn clear(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(millis: impl IntoIterator<Item = u64>) -> Pace {
        let mut pace = Pace::default();
        for interval in millis {
            pace.note(Duration::from_millis(interval));
        }
        pace
    }

    #[test]
    fn a_pause_and_jitter_do_not_change_the_rate() {
        let even = pace(std::iter::repeat_n(200, 32)).fps().unwrap();
        assert!((even - 5.0).abs() < 1e-3);
        let mut uneven: Vec<_> = (0..31)
            .map(|i| if i % 2 == 0 { 150 } else { 250 })
            .collect();
        uneven.push(20_000);
        let fps = pace(uneven).fps().unwrap();
        assert!((fps - 5.0).abs() < 0.1, "{fps}");
        assert_eq!(pace([33; 7]).fps(), None);
    }

    #[test]
    fn the_longest_interval_follows_the_rate_within_limits() {
        let longest = |millis| pace([millis; 32]).longest_interval().as_millis();
        assert_eq!(longest(33), 250);
        assert_eq!(longest(200), 400);
        assert_eq!(longest(900), 500);
    }
}
