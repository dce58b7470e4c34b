//! How long to wait before the next attempt: longer after each failure, and at
//! random, so that a hundred robots do not return to a broker in one moment.

use std::time::Duration;

/// Waiting times with full jitter: between a quarter of the first time and a
/// bound that doubles with each failure.
#[derive(Clone, Debug)]
pub struct Backoff {
    first: Duration,
    most: Duration,
    bound: Duration,
}

impl Backoff {
    /// The bound starts with `first` and doubles up to `most`.
    #[must_use]
    pub const fn new(first: Duration, most: Duration) -> Self {
        Self {
            first,
            most,
            bound: first,
        }
    }

    /// How long to wait now, after one more failure.
    pub fn wait(&mut self) -> Duration {
        let least = self.first / 4;
        let bound = self.bound.min(self.most);
        self.bound = bound.saturating_mul(2).min(self.most);
        least + bound.saturating_sub(least).mul_f64(fastrand::f64())
    }

    /// Begins with the first time again, after a success that lasted.
    pub const fn reset(&mut self) {
        self.bound = self.first;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FIRST: Duration = Duration::from_secs(1);
    const MOST: Duration = Duration::from_secs(60);

    #[test]
    fn waits_grow_to_the_most_and_differ() {
        let mut longest = Duration::ZERO;
        let mut waits = Vec::new();
        for _ in 0..200 {
            let mut backoff = Backoff::new(FIRST, MOST);
            for failure in 0..10 {
                let bound = (FIRST * (1 << failure)).min(MOST);
                let wait = backoff.wait();
                assert!(wait >= FIRST / 4 && wait <= bound, "{failure}: {wait:?}");
                longest = longest.max(wait);
            }
            waits.push(backoff.wait());
        }
        assert!(longest > MOST * 3 / 4, "{longest:?}");
        // Full jitter: the waits after many failures are spread over the range.
        let short = waits.iter().filter(|wait| **wait < MOST / 3).count();
        let long = waits.iter().filter(|wait| **wait > MOST * 2 / 3).count();
        assert!(short > 30 && long > 30, "{short} short, {long} long");
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new(FIRST, MOST);
        for _ in 0..10 {
            backoff.wait();
        }
        backoff.reset();
        assert!(backoff.wait() <= FIRST);
    }
}
