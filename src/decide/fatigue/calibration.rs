//! Turns an eye's raw measure into its openness, with the person's own levels.
//!
//! The open level O is the 90th percentile of the measure over the first 30 s
//! of valid, frontal time. It is at most 1.4 times the median, so that lids
//! that are wide open for a moment do not determine it. The shut level C is the
//! measure's usual share of O; after five blinks it is the median of their
//! lowest values. Openness is `(raw - C) / (O - C)`, clamped to 0 to 1.

use std::time::Duration;

/// The valid, frontal time for measuring the open level.
const COLLECT: Duration = Duration::from_secs(30);
/// After this time, a provisional level from the time so far is used instead of
/// the measure's usual one.
const PROVISIONAL: Duration = Duration::from_secs(3);
/// How often the provisional level is computed again.
const PROVISIONAL_STEP: Duration = Duration::from_millis(300);
/// The plausible open levels, relative to the measure's usual one.
const PLAUSIBLE: std::ops::RangeInclusive<f32> = 0.6..=1.6;
/// A level above this multiple of the median comes from lids that were wide
/// open for a moment.
const ABOVE_MEDIAN: f32 = 1.4;
/// How fast and how far the open level may rise after the calibration: by 2%
/// per 30 s, to at most 1.25 times the first one. It never falls, because
/// drowsy lids droop.
const RISE_STEP: f32 = 1.02;
const RISE_MOST: f32 = 1.25;
/// The shut level is at most this part of the open one.
const SHUT_MOST: f32 = 0.5;
/// Blinks whose minima give the shut level.
const MINIMA: usize = 5;

const BINS: usize = 512;
/// The upper end of the histogram, as parts of the usual open level.
const REACH: f32 = 2.0;

/// A histogram of the measure's values, in microseconds per bin.
#[derive(Clone, Debug)]
struct Histogram {
    micros: [u32; BINS],
    total: u64,
    /// The width of a bin.
    width: f32,
}

impl Histogram {
    fn new(usual_open: f32) -> Self {
        Self {
            micros: [0; BINS],
            total: 0,
            width: usual_open * REACH / BINS as f32,
        }
    }

    fn clear(&mut self) {
        self.micros.fill(0);
        self.total = 0;
    }

    fn add(&mut self, value: f32, time: Duration) {
        let micros = u32::try_from(time.as_micros()).unwrap_or(u32::MAX);
        // Bin k has its centre at k widths; `as` clamps values outside.
        let bin = ((value / self.width).round() as usize).min(BINS - 1);
        self.micros[bin] = self.micros[bin].saturating_add(micros);
        self.total += u64::from(micros);
    }

    fn collected(&self) -> Duration {
        Duration::from_micros(self.total)
    }

    fn quantile(&self, share: f64) -> f32 {
        let wanted = (share * self.total as f64) as u64;
        let mut below = 0;
        for (bin, micros) in self.micros.iter().enumerate() {
            below += u64::from(*micros);
            if below > wanted {
                return bin as f32 * self.width;
            }
        }
        0.0
    }

    /// The level of open eyes.
    fn open_level(&self) -> f32 {
        self.quantile(0.9).min(ABOVE_MEDIAN * self.quantile(0.5))
    }
}

/// The levels of one eye.
#[derive(Clone, Debug)]
pub(super) struct EyeLevels {
    usual_open: f32,
    /// The shut level as a part of the open one.
    usual_ratio: f32,
    open: f32,
    /// The level from the calibration; `None` while calibrating.
    first: Option<f32>,
    shut: Option<f32>,
    minima: [f32; MINIMA],
    minima_count: usize,
    histogram: Histogram,
    /// The collected time at which the provisional level was last computed.
    looked_at: Duration,
}

impl EyeLevels {
    pub fn new(usual_open: f32, usual_shut: f32) -> Self {
        Self {
            usual_open,
            usual_ratio: usual_shut / usual_open,
            open: usual_open,
            first: None,
            shut: None,
            minima: [0.0; MINIMA],
            minima_count: 0,
            histogram: Histogram::new(usual_open),
            looked_at: Duration::ZERO,
        }
    }

    /// Starts again, for example for another person.
    pub fn reset(&mut self) {
        self.open = self.usual_open;
        self.first = None;
        self.shut = None;
        self.minima_count = 0;
        self.histogram.clear();
        self.looked_at = Duration::ZERO;
    }

    pub const fn is_calibrated(&self) -> bool {
        self.first.is_some()
    }

    pub const fn open_level(&self) -> f32 {
        self.open
    }

    fn shut_level(&self) -> f32 {
        self.shut.map_or(self.usual_ratio * self.open, |shut| {
            shut.min(SHUT_MOST * self.open)
        })
    }

    /// How far the eye is open, 0 (shut) to 1 (the person's own open level).
    pub fn openness(&self, raw: f32) -> f32 {
        let shut = self.shut_level();
        ((raw - shut) / (self.open - shut)).clamp(0.0, 1.0)
    }

    /// Uses the level of the other eye until this one has its own.
    pub fn borrow_from(&mut self, other: &Self) {
        if !self.is_calibrated() && self.histogram.collected() < PROVISIONAL {
            self.open = other.open;
        }
    }

    /// Notes that the measure had a value for some time.
    pub fn collect(&mut self, raw: f32, time: Duration) {
        self.histogram.add(raw, time);
        let collected = self.histogram.collected();
        if let Some(first) = self.first {
            if collected >= COLLECT {
                let level = self.histogram.open_level();
                if level > self.open {
                    self.open = level
                        .min(self.open * RISE_STEP)
                        .min(first * RISE_MOST)
                        .max(self.open);
                }
                self.histogram.clear();
            }
            return;
        }
        let is_complete = collected >= COLLECT;
        let is_due = collected >= PROVISIONAL && collected - self.looked_at >= PROVISIONAL_STEP;
        if !is_complete && !is_due {
            return;
        }
        self.looked_at = collected;
        let level = self.histogram.open_level();
        let is_plausible = PLAUSIBLE.contains(&(level / self.usual_open));
        if is_plausible {
            self.open = level;
        }
        if is_complete {
            self.first = is_plausible.then_some(level);
            self.histogram.clear();
            self.looked_at = Duration::ZERO;
        }
    }

    /// Notes the lowest raw value of a blink.
    pub fn note_blink(&mut self, minimum: f32) {
        if self.minima_count < MINIMA {
            self.minima[self.minima_count] = minimum;
            self.minima_count += 1;
            if self.minima_count == MINIMA {
                let mut sorted = self.minima;
                sorted.sort_unstable_by(f32::total_cmp);
                self.shut = Some(sorted[MINIMA / 2]);
            }
        }
    }

    /// Begins a new collection, to compare the level of a face that came back.
    pub fn begin_check(&mut self) {
        self.histogram.clear();
        self.looked_at = Duration::ZERO;
    }

    /// The collected time since then, and the level from it.
    pub fn checked(&self) -> (Duration, f32) {
        (self.histogram.collected(), self.histogram.open_level())
    }
}

/// The rest pose of the head: the mean pose of the first 30 s with a face.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RestPose {
    seconds: f64,
    yaw: f64,
    pitch: f64,
    jaw: f64,
}

impl RestPose {
    /// The camera may be at the side or below, up to these angles.
    const YAW_MOST: f64 = 30.0;
    const PITCH_MOST: f64 = 25.0;
    const JAW_MOST: f64 = 0.6;

    pub fn collect(&mut self, yaw: f32, pitch: f32, jaw: Option<f32>, time: Duration) {
        let time = time.as_secs_f64();
        if self.seconds < COLLECT.as_secs_f64() {
            self.seconds += time;
            let share = time / self.seconds.max(1e-9);
            self.yaw += share * (f64::from(yaw) - self.yaw);
            self.pitch += share * (f64::from(pitch) - self.pitch);
            if let Some(jaw) = jaw {
                self.jaw += share * (f64::from(jaw) - self.jaw);
            }
        }
    }

    fn is_known(&self) -> bool {
        self.seconds >= PROVISIONAL.as_secs_f64()
    }

    pub fn yaw(&self) -> f32 {
        let yaw = self.yaw.clamp(-Self::YAW_MOST, Self::YAW_MOST) as f32;
        if self.is_known() { yaw } else { 0.0 }
    }

    pub fn pitch(&self) -> f32 {
        let pitch = self.pitch.clamp(-Self::PITCH_MOST, Self::PITCH_MOST) as f32;
        if self.is_known() { pitch } else { 0.0 }
    }

    pub fn jaw(&self) -> f32 {
        let jaw = self.jaw.clamp(0.0, Self::JAW_MOST) as f32;
        if self.is_known() { jaw } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(100);

    /// Shows an eye these values for a tenth of a second each.
    fn show(levels: &mut EyeLevels, values: impl IntoIterator<Item = f32>) {
        for value in values {
            levels.collect(value, FRAME);
        }
    }

    fn near(level: f32, expected: f32) -> bool {
        (level / expected - 1.0).abs() < 0.005
    }

    #[test]
    fn the_open_level_is_the_persons_own() {
        for own in [0.65, 1.0, 1.5] {
            let mut levels = EyeLevels::new(1.0, 0.05);
            show(&mut levels, std::iter::repeat_n(own, 299));
            assert!(!levels.is_calibrated());
            show(&mut levels, [own]);
            assert!(levels.is_calibrated());
            assert!(near(levels.open_level(), own), "{levels:?}");
            assert!(levels.openness(own) > 0.99);
            assert!(levels.openness(0.05 * own) < 0.001);
        }
    }

    #[test]
    fn an_implausible_level_calibrates_nothing() {
        let mut levels = EyeLevels::new(1.0, 0.05);
        // Asleep from the start.
        show(&mut levels, std::iter::repeat_n(0.05, 900));
        assert!(!levels.is_calibrated());
        assert_eq!(levels.open_level(), 1.0);
        show(&mut levels, std::iter::repeat_n(0.9, 300));
        assert!(levels.is_calibrated());
        assert!(near(levels.open_level(), 0.9));
    }

    #[test]
    fn wide_eyes_for_a_moment_do_not_set_the_level() {
        let mut levels = EyeLevels::new(1.0, 0.05);
        show(&mut levels, std::iter::repeat_n(1.9, 60));
        show(&mut levels, std::iter::repeat_n(0.8, 240));
        assert!(near(levels.open_level(), 1.4 * 0.8), "{levels:?}");
    }

    #[test]
    fn the_open_level_rises_slowly_and_never_falls() {
        let mut levels = EyeLevels::new(1.0, 0.05);
        show(&mut levels, std::iter::repeat_n(0.8, 300));
        let first = levels.open_level();
        show(&mut levels, std::iter::repeat_n(0.4, 9000));
        assert_eq!(levels.open_level(), first);
        show(&mut levels, std::iter::repeat_n(1.0, 300));
        assert!(near(levels.open_level(), 1.02 * first));
        show(&mut levels, std::iter::repeat_n(1.6, 36_000));
        assert!(near(levels.open_level(), 1.25 * first));
    }

    #[test]
    fn five_blinks_give_the_shut_level() {
        let mut levels = EyeLevels::new(1.0, 0.05);
        show(&mut levels, std::iter::repeat_n(1.0, 300));
        for minimum in [0.2, 0.22, 0.9, 0.18] {
            levels.note_blink(minimum);
            assert!(levels.openness(0.2) > 0.1);
        }
        levels.note_blink(0.21);
        assert_eq!(levels.openness(0.21), 0.0);
        assert!(levels.openness(0.3) > 0.0);
    }
}
