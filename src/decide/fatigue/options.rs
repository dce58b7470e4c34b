//! The board file's `[fatigue]`: which faces are watched, and the thresholds.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Whose eyes are watched, among all faces that are followed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Watch {
    /// The largest face. Another face is watched instead only after it was 1.5
    /// times as large for a second.
    #[default]
    Largest,
    /// Every face.
    All,
    /// The largest face whose centre lies in a region of the picture.
    Region,
}

impl Watch {
    /// All values.
    pub const ALL: [Self; 3] = [Self::Largest, Self::All, Self::Region];

    /// The name in board files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Largest => "largest",
            Self::All => "all",
            Self::Region => "region",
        }
    }
}

impl fmt::Display for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not a [`Watch`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must be \"largest\", \"all\" or \"region\", is \"{0}\"")]
pub struct UnknownWatch(pub String);

impl FromStr for Watch {
    type Err = UnknownWatch;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|watch| watch.name() == name)
            .ok_or_else(|| UnknownWatch(name.to_owned()))
    }
}

/// The board file's `[fatigue]`, without the recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Default: the largest face.
    pub watch: Watch,
    /// The watched part of the picture: x, y, width and height as fractions of
    /// the upright picture, 0 to 1. For [`Watch::Region`] only.
    pub region: Option<[f32; 4]>,
    /// How long a face may be missing and keep its calibration. Default: 10 s.
    pub keep_calibration: Duration,
    /// PERCLOS over 60 s from which on a person counts as drowsy, if PERCLOS
    /// over 180 s reaches two thirds of it. Below 0.53 times this value for 60
    /// s, the person is no longer drowsy. Default: 0.15 (NSTSCE 25-UI-177).
    pub drowsy: f32,
    /// A closure of this length is a microsleep. Default: 1.5 s (Euro NCAP: 1 to
    /// 2 s).
    pub microsleep: Duration,
    /// A closure of this length is sleep. Default: 3 s (Euro NCAP).
    pub asleep: Duration,
    /// A closure of this length means that the person does not respond. Default:
    /// 6 s (Euro NCAP).
    pub unresponsive: Duration,
    /// The measure's usual value of open eyes. Default: 1, the eye net's. An
    /// eye aspect ratio has about 0.29.
    pub open: f32,
    /// The measure's usual value of shut eyes. Default: 0.05, the eye net's. An
    /// eye aspect ratio has about 0.09.
    pub shut: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            watch: Watch::Largest,
            region: None,
            keep_calibration: Duration::from_secs(10),
            drowsy: 0.15,
            microsleep: Duration::from_millis(1500),
            asleep: Duration::from_secs(3),
            unresponsive: Duration::from_secs(6),
            open: 1.0,
            shut: 0.05,
        }
    }
}

/// An option is out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    #[error(
        "region is {region:?}, which reaches out of the picture or is empty: x, y, width and \
         height are fractions of the picture, and x + width and y + height are at most 1"
    )]
    Region { region: [f32; 4] },
    #[error(
        "watch is \"region\" but region is missing: add region = [x, y, width, height], fractions \
         of the picture"
    )]
    NoRegion,
    #[error("region has no effect while watch is \"{0}\": set watch = \"region\", or remove it")]
    UselessRegion(Watch),
    #[error(
        "drowsy is {drowsy}, but must be a share of time from {} to {}",
        Options::DROWSY.start(),
        Options::DROWSY.end()
    )]
    Drowsy { drowsy: f32 },
    #[error(
        "{longer} is {longer_ms} and {shorter} {shorter_ms}, but {longer} must be the longer one \
         (1500, 3000 and 6000 are usual)"
    )]
    Order {
        shorter: &'static str,
        shorter_ms: u128,
        longer: &'static str,
        longer_ms: u128,
    },
    #[error("{key} is {millis}, but must be from {} to {} ms",
        Options::CLOSURE_MS.start(), Options::CLOSURE_MS.end())]
    Closure { key: &'static str, millis: u128 },
    #[error(
        "the open level is {open} and the shut level {shut}, but open must be above 0 and shut \
         from 0 to half of it"
    )]
    Levels { open: f32, shut: f32 },
}

impl OptionsError {
    /// The key of the board file that is wrong.
    #[must_use]
    pub const fn key(&self) -> &'static str {
        match self {
            Self::Region { .. } | Self::UselessRegion(_) => "region",
            Self::NoRegion => "watch",
            Self::Drowsy { .. } => "drowsy",
            Self::Order { longer, .. } => longer,
            Self::Closure { key, .. } => key,
            Self::Levels { .. } => "open",
        }
    }
}

impl Options {
    /// The range of `drowsy`: below the first value blinks alone would reach
    /// it.
    pub const DROWSY: RangeInclusive<f32> = 0.02..=0.9;
    /// The range of the lengths of closures, in milliseconds. Shorter closures
    /// are long blinks.
    pub const CLOSURE_MS: RangeInclusive<u64> = 600..=60_000;
    /// The range of `keep_calibration`, in seconds.
    pub const KEEP_CALIBRATION_S: RangeInclusive<f64> = 0.0..=600.0;

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`OptionsError`], naming the option.
    pub fn validate(&self) -> Result<(), OptionsError> {
        match (self.watch, self.region) {
            (Watch::Region, None) => return Err(OptionsError::NoRegion),
            (Watch::Region, Some(region)) => {
                let [x, y, width, height] = region;
                let is_inside = x >= 0.0
                    && y >= 0.0
                    && width > 0.0
                    && height > 0.0
                    && x + width <= 1.0 + f32::EPSILON
                    && y + height <= 1.0 + f32::EPSILON;
                if !is_inside {
                    return Err(OptionsError::Region { region });
                }
            }
            (watch, Some(_)) => return Err(OptionsError::UselessRegion(watch)),
            (_, None) => {}
        }
        if !Self::DROWSY.contains(&self.drowsy) {
            return Err(OptionsError::Drowsy {
                drowsy: self.drowsy,
            });
        }
        let closures = [
            ("microsleep_ms", self.microsleep),
            ("asleep_ms", self.asleep),
            ("unresponsive_ms", self.unresponsive),
        ];
        for (key, length) in closures {
            let millis = length.as_millis();
            if !u64::try_from(millis).is_ok_and(|ms| Self::CLOSURE_MS.contains(&ms)) {
                return Err(OptionsError::Closure { key, millis });
            }
        }
        for pair in closures.windows(2) {
            if pair[0].1 >= pair[1].1 {
                return Err(OptionsError::Order {
                    shorter: pair[0].0,
                    shorter_ms: pair[0].1.as_millis(),
                    longer: pair[1].0,
                    longer_ms: pair[1].1.as_millis(),
                });
            }
        }
        let (open, shut) = (self.open, self.shut);
        if !(open > 0.0 && open.is_finite() && shut >= 0.0 && shut <= 0.5 * open) {
            return Err(OptionsError::Levels { open, shut });
        }
        Ok(())
    }
}
