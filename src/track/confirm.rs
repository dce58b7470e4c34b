//! Decides when a face that was found a few times begins to count.

use std::time::Duration;

use super::options::Options;
use super::slots::{SLOTS, Slot};

/// The times of each slot's last finds, as many as are needed.
#[derive(Debug)]
pub(super) struct Finds {
    needed: usize,
    within: Duration,
    /// A ring of `needed` times per slot.
    times: Box<[Duration]>,
}

impl Finds {
    pub fn new(options: &Options) -> Self {
        let needed = options.confirm.max(1) as usize;
        Self {
            needed,
            within: options.confirm_within,
            times: vec![Duration::ZERO; needed * SLOTS].into(),
        }
    }

    /// Notes that the face in a slot was found for the `count`-th time, and the
    /// `run`-th time without a miss. Returns whether the face counts.
    pub fn note(&mut self, slot: Slot, count: u32, run: u32, at: Duration) -> bool {
        let (count, run) = (count as usize, run as usize);
        let ring = &mut self.times[slot.index() * self.needed..][..self.needed];
        ring[(count.max(1) - 1) % self.needed] = at;
        let oldest = ring[count % self.needed];
        run >= self.needed || (count >= self.needed && at.saturating_sub(oldest) <= self.within)
    }
}
