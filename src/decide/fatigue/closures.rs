//! Finds closures in the openness of both eyes.
//!
//! Lids are shut from the frame in which the more open eye is below 0.3 until
//! the one in which it is above 0.5. Such a time counts as a closure if it is a
//! blink, or if the lids were deeply shut (below 0.2) for half of it: eyes that
//! look down, squint or droop stay between 0.2 and 0.3. Only counted intervals
//! make a closure longer; time without seen eyes never does.

use std::time::Duration;

use super::windows::{Kind, Windows};

/// Below the first openness lids count as shut, above the second one as open
/// again.
const SHUT: f32 = 0.3;
const OPEN: f32 = 0.5;
/// Below this openness lids are deeply shut: at least 80% of the eye is covered,
/// as in PERCLOS P80.
pub(super) const DEEP: f32 = 0.2;
/// With slow frames the lowest point of a blink may lie between two of them, so
/// a blink begins at a higher value: 0.4 for intervals of 100 ms or more.
const SHUT_BETWEEN_FRAMES: f32 = 0.4;
const FAST: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_millis(100);
/// A closure up to this length is a blink (Johns 2003 calls longer ones long).
pub(super) const BLINK_LONGEST: Duration = Duration::from_millis(500);
/// Closures shorter than this are not in PERCLOS.
const PERCLOS_LEAST: Duration = Duration::from_millis(250);
/// How many deep times of a closure wait until it counts. Further ones are
/// ignored: lids that flutter so often are not shut.
const WAITING: usize = 32;

/// A closure that ended.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ended {
    pub length: Duration,
    /// The lowest raw value of each eye that was seen, left and right.
    pub minima: [Option<f32>; 2],
    /// Whether it ended because frames or eyes were missing.
    pub is_cut: bool,
}

#[derive(Clone, Copy, Debug)]
struct Shut {
    /// Counted time since the lids shut, and the part of it that is deep.
    length: Duration,
    deep: Duration,
    /// The longest time up to now of which at least half is deep, and by how
    /// much the deep part exceeds the rest.
    run: Duration,
    run_deep: Duration,
    /// The longest such time so far.
    longest: Duration,
    minima: [Option<f32>; 2],
    /// False while the lids are only nearly shut: see [`SHUT_BETWEEN_FRAMES`].
    is_full: bool,
    /// Whether the last frame was deep.
    was_deep: bool,
    /// Deep times that are not in PERCLOS yet.
    waiting: [(Duration, Duration); WAITING],
    waiting_count: usize,
}

/// Finds the closures of a pair of eyes.
#[derive(Clone, Debug)]
pub(super) struct Closures {
    shut: Option<Shut>,
}

impl Closures {
    pub const fn new() -> Self {
        Self { shut: None }
    }

    pub fn reset(&mut self) {
        self.shut = None;
    }

    /// Whether the lids are shut, even if this is not a closure.
    pub fn is_shut(&self) -> bool {
        self.shut.is_some_and(|shut| shut.is_full)
    }

    /// The length so far of the present closure; zero without one.
    pub fn length(&self) -> Duration {
        self.shut.map_or(Duration::ZERO, |shut| {
            if !shut.is_full {
                Duration::ZERO
            } else if shut.length <= BLINK_LONGEST || is_half(shut.deep, shut.length) {
                shut.length
            } else {
                shut.run
            }
        })
    }

    /// Takes a counted interval that ends now.
    pub fn pass(&mut self, from: Duration, to: Duration, windows: &mut Windows) {
        let Some(shut) = &mut self.shut else {
            return;
        };
        let interval = to - from;
        shut.length += interval;
        shut.run += interval;
        if shut.was_deep {
            shut.deep += interval;
            shut.run_deep += interval;
        }
        if is_half(shut.run_deep, shut.run) {
            shut.longest = shut.longest.max(shut.run);
        } else {
            shut.run = Duration::ZERO;
            shut.run_deep = Duration::ZERO;
        }
        if is_half(shut.deep, shut.length) {
            shut.longest = shut.longest.max(shut.length);
        }
        if !shut.is_full {
            return;
        }
        if shut.was_deep {
            let count = shut.waiting_count;
            if count > 0 && shut.waiting[count - 1].1 == from {
                shut.waiting[count - 1].1 = to;
            } else if let Some(place) = shut.waiting.get_mut(count) {
                *place = (from, to);
                shut.waiting_count += 1;
            }
        }
        let is_closure = shut.length <= BLINK_LONGEST || is_half(shut.deep, shut.length);
        if shut.length >= PERCLOS_LEAST && is_closure {
            for (from, to) in &shut.waiting[..shut.waiting_count] {
                windows.add(*from, *to, Kind::Shut);
            }
            shut.waiting_count = 0;
        }
    }

    /// Takes the openness of a frame's usable eyes, left and right, with the raw
    /// values. `interval`: the usual time between frames. `may_start`: whether
    /// lids that shut now begin a closure. Returns a closure that ended.
    pub fn look(
        &mut self,
        openness: [Option<f32>; 2],
        raw: [Option<f32>; 2],
        interval: Duration,
        may_start: bool,
    ) -> Option<Ended> {
        let most_open = openness.into_iter().flatten().reduce(f32::max)?;
        if most_open > OPEN {
            return self.end(false);
        }
        let near = SHUT + (SHUT_BETWEEN_FRAMES - SHUT) * slowness(interval);
        if self.shut.is_none() && may_start && most_open < near {
            self.shut = Some(Shut {
                length: Duration::ZERO,
                deep: Duration::ZERO,
                run: Duration::ZERO,
                run_deep: Duration::ZERO,
                longest: Duration::ZERO,
                minima: [None; 2],
                is_full: false,
                was_deep: false,
                waiting: [(Duration::ZERO, Duration::ZERO); WAITING],
                waiting_count: 0,
            });
        }
        let shut = self.shut.as_mut()?;
        if most_open < SHUT && !shut.is_full {
            if may_start {
                // Before, the lids were only nearly shut.
                shut.is_full = true;
                shut.length = Duration::ZERO;
                shut.deep = Duration::ZERO;
                shut.run = Duration::ZERO;
                shut.run_deep = Duration::ZERO;
            } else {
                self.shut = None;
                return None;
            }
        }
        shut.was_deep = most_open < DEEP;
        for (minimum, raw) in shut.minima.iter_mut().zip(raw) {
            if let Some(raw) = raw {
                *minimum = Some(minimum.map_or(raw, |minimum| minimum.min(raw)));
            }
        }
        None
    }

    /// Ends the present closure because frames or eyes are missing.
    pub fn cut(&mut self) -> Option<Ended> {
        self.end(true)
    }

    fn end(&mut self, is_cut: bool) -> Option<Ended> {
        let shut = self.shut.take()?;
        let is_short = shut.length <= BLINK_LONGEST;
        let length = if is_short || is_half(shut.deep, shut.length) {
            shut.length
        } else {
            shut.longest
        };
        // If the eyes were not seen to open, this is not a blink; if they were
        // only nearly shut, it can only be a blink.
        let is_closure = if is_short {
            !is_cut
        } else {
            shut.is_full && length > BLINK_LONGEST
        };
        is_closure.then_some(Ended {
            length,
            minima: shut.minima,
            is_cut,
        })
    }
}

fn is_half(part: Duration, whole: Duration) -> bool {
    2 * part >= whole
}

/// 0 for fast frames to 1 for slow ones.
fn slowness(interval: Duration) -> f32 {
    let above = interval.saturating_sub(FAST).as_secs_f32();
    (above / (SLOW - FAST).as_secs_f32()).min(1.0)
}

/// Counts winks: one eye shut while the other one is open.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Winks {
    length: Option<Duration>,
    count: u32,
}

impl Winks {
    /// Shorter times come from an eye that was measured badly in a frame or
    /// two, longer times from an eye that stays shut.
    const LEAST: Duration = Duration::from_millis(100);
    const MOST: Duration = Duration::from_secs(2);

    /// Takes the openness of a frame's eyes; `interval` is the counted time since
    /// the frame before.
    pub fn look(&mut self, openness: [Option<f32>; 2], interval: Option<Duration>) {
        let ([Some(left), Some(right)], Some(interval)) = (openness, interval) else {
            self.length = None;
            return;
        };
        let length = self.length.map(|length| length + interval);
        if left.min(right) < SHUT && left.max(right) > OPEN {
            self.length = Some(length.unwrap_or_default());
        } else if left.min(right) > OPEN {
            if length.is_some_and(|length| (Self::LEAST..=Self::MOST).contains(&length)) {
                self.count = self.count.saturating_add(1);
            }
            self.length = None;
        } else if left.max(right) < SHUT {
            // Both eyes are shut, so this is a blink.
            self.length = None;
        } else {
            self.length = length;
        }
    }

    pub const fn count(self) -> u32 {
        self.count
    }
}

/// The last blinks, for their rate and mean length.
#[derive(Clone, Debug)]
pub(super) struct Blinks {
    /// When each ended, and its length.
    blinks: [(Duration, Duration); Self::LOGGED],
    next: usize,
    count: usize,
}

impl Blinks {
    const LOGGED: usize = 128;
    /// How many are needed for a rate and a mean.
    const LEAST: usize = 10;

    pub const fn new() -> Self {
        Self {
            blinks: [(Duration::ZERO, Duration::ZERO); Self::LOGGED],
            next: 0,
            count: 0,
        }
    }

    pub fn reset(&mut self) {
        self.next = 0;
        self.count = 0;
    }

    pub fn note(&mut self, now: Duration, length: Duration) {
        self.blinks[self.next] = (now, length);
        self.next = (self.next + 1) % Self::LOGGED;
        self.count = (self.count + 1).min(Self::LOGGED);
    }

    /// The number of blinks in the last `window` and their mean length; `None`
    /// for fewer than ten.
    pub fn mean(&self, now: Duration, window: Duration) -> Option<(usize, Duration)> {
        let recent = self.blinks[..self.count]
            .iter()
            .filter(|(ended, _)| now.saturating_sub(*ended) <= window);
        let (count, sum) = recent.fold((0, Duration::ZERO), |(count, sum), (_, length)| {
            (count + 1, sum + *length)
        });
        (count >= Self::LEAST).then(|| (count, sum / count as u32))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Plays openness values, 50 ms each, to both eyes.
    fn play(values: &[(f32, u32)]) -> (Vec<u128>, Duration, Closures) {
        let frame = Duration::from_millis(50);
        let (mut closures, mut windows) = (Closures::new(), Windows::new());
        let mut now = Duration::ZERO;
        let mut found = Vec::new();
        for &(value, times) in values {
            for _ in 0..times {
                windows.advance(now);
                if now > Duration::ZERO {
                    closures.pass(now - frame, now, &mut windows);
                }
                let eyes = [Some(value); 2];
                found.extend(closures.look(eyes, eyes, frame, true));
                now += frame;
            }
        }
        let lengths = found.iter().map(|ended| ended.length.as_millis()).collect();
        (lengths, windows.short(now - frame).shut, closures)
    }

    #[test]
    fn a_closure_lasts_from_shut_to_open() {
        let (lengths, shut, _) = play(&[(1.0, 10), (0.25, 1), (0.0, 4), (0.4, 1), (1.0, 10)]);
        assert_eq!(lengths, [300]);
        // Only the deep part is in PERCLOS.
        assert_eq!(shut, Duration::from_millis(200));
    }

    #[test]
    fn blinks_are_not_in_perclos() {
        let (lengths, shut, _) = play(&[(1.0, 10), (0.0, 4), (1.0, 10), (0.0, 2), (1.0, 10)]);
        assert_eq!(lengths, [200, 100]);
        assert_eq!(shut, Duration::ZERO);
    }

    #[test]
    fn eyes_that_look_down_make_no_closure() {
        let (lengths, _, closures) =
            play(&[(1.0, 10), (0.25, 60), (0.19, 20), (0.25, 30), (1.0, 10)]);
        assert_eq!(lengths, [1000 + 1000]);
        assert_eq!(closures.length(), Duration::ZERO);
        let (lengths, _, closures) = play(&[(1.0, 10), (0.25, 60)]);
        assert_eq!(lengths, [] as [u128; 0]);
        assert!(closures.is_shut());
        assert_eq!(closures.length(), Duration::ZERO);
    }

    #[test]
    fn sleep_after_a_long_squint_is_not_late() {
        let (_, _, closures) = play(&[(1.0, 10), (0.25, 200), (0.05, 41)]);
        assert_eq!(closures.length(), Duration::from_secs(2));
    }

    #[test]
    fn a_start_can_be_forbidden_but_a_started_closure_continues() {
        let frame = Duration::from_millis(50);
        let mut closures = Closures::new();
        let mut windows = Windows::new();
        let shut = [Some(0.0); 2];
        assert_eq!(closures.look(shut, shut, frame, false), None);
        assert!(!closures.is_shut());
        closures.look(shut, shut, frame, true);
        closures.pass(frame, 2 * frame, &mut windows);
        closures.look(shut, shut, frame, false);
        assert_eq!(closures.length(), frame);
    }

    #[test]
    fn slow_frames_detect_a_blink_at_a_higher_value() {
        let find = |interval: u64| {
            let mut closures = Closures::new();
            let eyes = |value| [Some(value); 2];
            let interval = Duration::from_millis(interval);
            closures.look(eyes(0.35), eyes(0.35), interval, true);
            closures
                .look(eyes(1.0), eyes(1.0), interval, true)
                .is_some()
        };
        assert!(find(100));
        assert!(!find(33));
    }

    #[test]
    fn one_eye_is_a_wink() {
        let mut winks = Winks::default();
        let interval = Some(Duration::from_millis(50));
        let mut show = |left: f32, right: f32, times: usize| {
            for _ in 0..times {
                winks.look([Some(left), Some(right)], interval);
            }
            winks.count()
        };
        assert_eq!(show(1.0, 1.0, 5), 0);
        assert_eq!(show(0.1, 0.9, 6), 0);
        assert_eq!(show(0.9, 0.9, 5), 1);
        // A blink in which one eye shuts first, and an eye that stays shut.
        show(0.1, 0.9, 1);
        show(0.1, 0.1, 4);
        assert_eq!(show(1.0, 1.0, 5), 1);
        show(1.0, 0.1, 100);
        assert_eq!(show(1.0, 1.0, 5), 1);
    }
}
