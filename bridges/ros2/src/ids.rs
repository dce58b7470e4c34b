//! The ids of faces, a pool of 32.
//!
//! A publisher that was dropped stays visible to subscribers with Fast DDS, and
//! costs memory here and there, so the publishers of an id are kept open and
//! the id is given to another face later.

use std::time::Duration;

/// The number of ids.
pub const POOL: usize = 32;
/// An id rests this long, so that no subscriber takes the next face for the
/// one that has gone.
pub const REST: Duration = Duration::from_secs(10);
/// Ids that rested this long come before ids that were never used: so the list
/// of topics stays as short as the number of visitors allows.
pub const LONG_REST: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Fresh,
    Taken,
    /// Since this time.
    Free(Duration),
}

/// Which ids are in use, and since when the others are not.
#[derive(Debug)]
pub struct IdPool {
    slots: [Slot; POOL],
    letter: char,
}

impl IdPool {
    /// No id is in use. All ids begin with this letter.
    ///
    /// A bridge that is started again takes another letter, so that no
    /// subscriber takes a new face for one from before a crash.
    pub const fn new(letter: char) -> Self {
        Self {
            slots: [Slot::Fresh; POOL],
            letter,
        }
    }

    /// Takes an id that may be used now: the one that rested longest.
    /// `now` is a time that only grows.
    pub fn take(&mut self, now: Duration) -> Option<usize> {
        let rested = |slot: &Slot| match slot {
            Slot::Free(since) => Some(now.saturating_sub(*since)),
            _ => None,
        };
        let longest = (0..POOL)
            .filter_map(|index| Some((index, rested(&self.slots[index])?)))
            // The first of several with the same time.
            .rev()
            .max_by_key(|&(_, rest)| rest);
        let fresh = self.slots.iter().position(|slot| *slot == Slot::Fresh);
        let index = match longest {
            Some((index, rest)) if rest >= LONG_REST => index,
            _ if fresh.is_some() => fresh?,
            Some((index, rest)) if rest >= REST => index,
            _ => return None,
        };
        self.slots[index] = Slot::Taken;
        Some(index)
    }

    /// Gives an id back.
    pub fn release(&mut self, index: usize, now: Duration) {
        self.slots[index] = Slot::Free(now);
    }

    /// The id as subscribers see it.
    pub fn name(&self, index: usize) -> String {
        name(self.letter, index)
    }

    /// The letter that all ids begin with.
    pub const fn letter(&self) -> char {
        self.letter
    }

    /// How many ids are in use.
    pub fn taken(&self) -> usize {
        let taken = |slot: &&Slot| **slot == Slot::Taken;
        self.slots.iter().filter(taken).count()
    }
}

/// An id: a letter, because names of topics may not begin with a digit, and
/// two digits.
pub fn name(letter: char, index: usize) -> String {
    format!("{letter}{index:02}")
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(1000 + seconds)
    }

    #[test]
    fn no_id_is_used_again_within_ten_seconds() {
        let mut pool = IdPool::new('f');
        let ids: Vec<_> = (0..POOL).map(|_| pool.take(at(0)).unwrap()).collect();
        assert_eq!(ids, (0..POOL).collect::<Vec<_>>());
        assert_eq!(pool.take(at(0)), None);

        pool.release(7, at(1));
        pool.release(3, at(2));
        assert_eq!(pool.take(at(10)), None, "7 rests for 9 seconds only");
        assert_eq!(pool.take(at(11)), Some(7));
        assert_eq!(pool.take(at(11)), None);
        assert_eq!(pool.take(at(12)), Some(3));
        assert_eq!(pool.taken(), POOL);
    }

    #[test]
    fn the_oldest_is_used_first() {
        let mut pool = IdPool::new('f');
        for _ in 0..POOL {
            pool.take(at(0));
        }
        for (time, id) in [(5, 20), (3, 11), (4, 30)] {
            pool.release(id, at(time));
        }
        let order = [0; 3].map(|_| pool.take(at(40)).unwrap());
        assert_eq!(order, [11, 30, 20]);
    }

    #[test]
    fn one_visitor_at_a_time_needs_few_topics() {
        let mut pool = IdPool::new('f');
        let mut used = std::collections::BTreeSet::new();
        for visitor in 0..1000 {
            let id = pool.take(at(visitor * 20)).unwrap();
            used.insert(id);
            pool.release(id, at(visitor * 20 + 15));
        }
        assert!(used.len() <= 4, "{used:?}");
    }

    #[test]
    fn an_id_begins_with_a_letter() {
        assert_eq!(IdPool::new('q').name(5), "q05");
    }
}
