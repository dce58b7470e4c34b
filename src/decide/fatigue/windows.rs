//! Sliding windows of 60 s and 180 s over valid and shut time, in fixed memory.
//!
//! Time is divided into buckets of 100 ms. A window ends at the last frame and
//! begins inside of a bucket, of which the part in the window counts. The error
//! is at most 25 ms at any rate of frames.

use std::time::Duration;

const BUCKET: Duration = Duration::from_millis(100);
/// The unit of times in a bucket: 2 microseconds, so that 16 bits are enough.
const UNIT_NANOS: u128 = 2_000;

/// The short window.
pub(super) const SHORT: Duration = Duration::from_secs(60);
/// The long window.
pub(super) const LONG: Duration = Duration::from_secs(180);

const SHORT_BUCKETS: u64 = 600;
const LONG_BUCKETS: u64 = 1800;
const BUCKETS: usize = LONG_BUCKETS as usize + 2;

#[derive(Clone, Copy, Debug, Default)]
struct Bucket {
    valid: u16,
    shut: u16,
}

#[derive(Clone, Copy, Debug, Default)]
struct Sum {
    valid: u64,
    shut: u64,
}

impl Sum {
    fn take(&mut self, bucket: Bucket) {
        self.valid -= u64::from(bucket.valid);
        self.shut -= u64::from(bucket.shut);
    }
}

/// Valid and shut time in a window.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Share {
    /// The length of the window so far.
    pub length: Duration,
    pub valid: Duration,
    pub shut: Duration,
}

impl Share {
    /// Valid time as a share of the window, 0 to 1.
    pub fn valid_share(&self) -> f32 {
        share(self.valid, self.length)
    }

    /// Shut time as a share of valid time, 0 to 1.
    pub fn shut_share(&self) -> f32 {
        share(self.shut, self.valid)
    }
}

fn share(part: Duration, of: Duration) -> f32 {
    if of.is_zero() {
        return 0.0;
    }
    ((part.as_secs_f64() / of.as_secs_f64()) as f32).clamp(0.0, 1.0)
}

/// Valid and shut time of the last 180 s.
#[derive(Clone, Debug)]
pub(super) struct Windows {
    buckets: [Bucket; BUCKETS],
    /// When the first window began.
    origin: Duration,
    /// The newest bucket's number since the origin.
    head: u64,
    /// The buckets after `head - SHORT_BUCKETS`, and after `head - LONG_BUCKETS`.
    short: Sum,
    long: Sum,
}

impl Windows {
    pub fn new() -> Self {
        Self {
            buckets: [Bucket::default(); BUCKETS],
            origin: Duration::ZERO,
            head: 0,
            short: Sum::default(),
            long: Sum::default(),
        }
    }

    /// Forgets everything; windows begin at `now`.
    pub fn restart(&mut self, now: Duration) {
        self.buckets.fill(Bucket::default());
        self.origin = now;
        self.head = 0;
        self.short = Sum::default();
        self.long = Sum::default();
    }

    fn number(&self, time: Duration) -> u64 {
        let nanos = time.saturating_sub(self.origin).as_nanos();
        u64::try_from(nanos / BUCKET.as_nanos()).unwrap_or(u64::MAX)
    }

    fn at(&self, number: u64) -> Bucket {
        self.buckets[(number % BUCKETS as u64) as usize]
    }

    /// Moves the end of the windows to `now`.
    pub fn advance(&mut self, now: Duration) {
        let number = self.number(now);
        if number.saturating_sub(self.head) > LONG_BUCKETS + 1 {
            // No bucket is in a window any more.
            self.buckets.fill(Bucket::default());
            self.short = Sum::default();
            self.long = Sum::default();
            self.head = number;
        }
        while self.head < number {
            self.head += 1;
            if let Some(left) = self.head.checked_sub(SHORT_BUCKETS) {
                self.short.take(self.at(left));
            }
            if let Some(left) = self.head.checked_sub(LONG_BUCKETS) {
                self.long.take(self.at(left));
            }
            self.buckets[(self.head % BUCKETS as u64) as usize] = Bucket::default();
        }
    }

    /// Adds the time from `from` to `to`, which is at most the last advance.
    /// Time before the windows is ignored.
    pub fn add(&mut self, from: Duration, to: Duration, kind: Kind) {
        let mut start = from.max(self.origin);
        while start < to {
            let number = self.number(start);
            let end =
                (self.origin + BUCKET * u32::try_from(number + 1).unwrap_or(u32::MAX)).min(to);
            if end <= start {
                return;
            }
            if self.head >= number + LONG_BUCKETS {
                start = end;
                continue;
            }
            // Differences of rounded ends, so that rounding errors do not add
            // up.
            let unit = |time: Duration| time.as_nanos() / UNIT_NANOS;
            let units = u16::try_from(unit(end) - unit(start)).unwrap_or(u16::MAX);
            let bucket = &mut self.buckets[(number % BUCKETS as u64) as usize];
            let (part, short, long) = match kind {
                Kind::Valid => (
                    &mut bucket.valid,
                    &mut self.short.valid,
                    &mut self.long.valid,
                ),
                Kind::Shut => (&mut bucket.shut, &mut self.short.shut, &mut self.long.shut),
            };
            let before = *part;
            *part = part.saturating_add(units);
            let added = u64::from(*part - before);
            if self.head < number + SHORT_BUCKETS {
                *short += added;
            }
            if self.head < number + LONG_BUCKETS {
                *long += added;
            }
            start = end;
        }
    }

    /// The last 60 s before `now`, the time of the last advance.
    pub fn short(&self, now: Duration) -> Share {
        self.share(now, SHORT, SHORT_BUCKETS, self.short)
    }

    /// The last 180 s.
    pub fn long(&self, now: Duration) -> Share {
        self.share(now, LONG, LONG_BUCKETS, self.long)
    }

    fn share(&self, now: Duration, window: Duration, buckets: u64, sum: Sum) -> Share {
        let length = now.saturating_sub(self.origin).min(window);
        let (mut valid, mut shut) = (sum.valid as f64, sum.shut as f64);
        if let Some(oldest) = self.head.checked_sub(buckets) {
            let oldest = self.at(oldest);
            let into = now.saturating_sub(self.origin).as_nanos() % BUCKET.as_nanos();
            let inside = 1.0 - into as f64 / BUCKET.as_nanos() as f64;
            valid += inside * f64::from(oldest.valid);
            shut += inside * f64::from(oldest.shut);
        }
        let time = |units: f64| Duration::from_nanos((units * UNIT_NANOS as f64) as u64);
        Share {
            length,
            valid: time(valid).min(length),
            shut: time(shut).min(length),
        }
    }
}

/// The kind of a time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Valid,
    /// Counted in addition to [`Valid`](Self::Valid).
    Shut,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn millis(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        /// Compares with plain sums over all intervals.
        #[test]
        fn windows_equal_a_plain_sum(
            steps in prop::collection::vec((5_u64..500, any::<bool>(), 0_u8..4), 1..2000),
            origin in 0_u64..1000,
        ) {
            let mut windows = Windows::new();
            windows.restart(millis(origin));
            let mut now = origin;
            let mut intervals = Vec::new();
            for (index, (step, valid, shut)) in steps.into_iter().enumerate() {
                let from = now;
                // Now and then a long pause.
                now += if index % 500 == 499 { 90_000 + step } else { step };
                windows.advance(millis(now));
                if valid && now - from <= 500 {
                    windows.add(millis(from), millis(now), Kind::Valid);
                    if shut == 0 {
                        windows.add(millis(from), millis(now), Kind::Shut);
                    }
                    intervals.push((from, now, shut == 0));
                }
            }
            for (share, length) in [(windows.short(millis(now)), 60_000), (windows.long(millis(now)), 180_000)] {
                let begin = now.saturating_sub(length).max(origin);
                let sum = |only_shut: bool| -> u64 {
                    intervals
                        .iter()
                        .filter(|(_, _, shut)| *shut || !only_shut)
                        .map(|(from, to, _)| to.saturating_sub(*from.max(&begin)))
                        .sum()
                };
                prop_assert_eq!(share.length, millis(now - begin));
                for (got, want) in [(share.valid, sum(false)), (share.shut, sum(true))] {
                    prop_assert!(got.abs_diff(millis(want)) <= millis(26), "{got:?} for {want} ms");
                }
            }
        }
    }
}
