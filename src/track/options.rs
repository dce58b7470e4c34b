//! The board file's `[track]`: which faces count, and when a face begins and
//! ends.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Which faces count if there are several.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The largest box: the person nearest to the camera.
    #[default]
    Largest,
    /// The box nearest to the centre of the picture.
    MostCentral,
    /// The face that came first, until it is lost.
    First,
    /// All faces; the largest one leads.
    All,
}

impl Policy {
    /// All policies.
    pub const ALL: [Self; 4] = [Self::Largest, Self::MostCentral, Self::First, Self::All];

    /// The name used in board files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Largest => "largest",
            Self::MostCentral => "central",
            Self::First => "first",
            Self::All => "all",
        }
    }
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown policy '{0}'; policies are largest, central, first and all")]
pub struct UnknownPolicy(pub String);

impl FromStr for Policy {
    type Err = UnknownPolicy;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|policy| policy.name() == name)
            .ok_or_else(|| UnknownPolicy(name.to_owned()))
    }
}

/// The board file's `[track]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// Which faces count. Default: the largest one.
    pub policy: Policy,
    /// A face that is not found for this time is gone. Default: 600 ms, a few
    /// missed frames even on a slow board.
    pub lost_after: Duration,
    /// How often a face must be found before it counts; 1 to 1,000. Default: 2,
    /// because most of a Haar cascade's false faces last for a single frame. 1
    /// suits separate photographs.
    pub confirm: u32,
    /// The `confirm` finds must be in a row, or all within this time. Default:
    /// 200 ms, so that the dark frames of a strobed lamp do not matter. Zero:
    /// only in a row.
    pub confirm_within: Duration,
    /// The least intersection over union at which a box is the same face,
    /// 0.01 to 1. Default: 0.3, as in SORT.
    pub min_overlap: f64,
    /// The presence from which on a new box is a face, if an observer measures
    /// it; 0 to 1. Default: 0.8.
    pub presence: f32,
    /// The presence from which on a followed face is still there, 0 to 1 and at
    /// most `presence`. The lower value keeps a face that turns away from
    /// flickering. Default: 0.5.
    pub presence_keep: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            policy: Policy::Largest,
            lost_after: Duration::from_millis(600),
            confirm: 2,
            confirm_within: Duration::from_millis(200),
            min_overlap: 0.3,
            presence: 0.8,
            presence_keep: 0.5,
        }
    }
}

/// An option is out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    #[error(
        "confirm is {0}, but must be from {from} to {to} (2 is usual)",
        from = Options::CONFIRM.start(), to = Options::CONFIRM.end()
    )]
    Confirm(u32),
    #[error(
        "min_overlap is {0}, but must be from {from} to {to} (0.3 is usual)",
        from = Options::MIN_OVERLAP.start(), to = Options::MIN_OVERLAP.end()
    )]
    MinOverlap(f64),
    #[error(
        "presence is {presence} and presence_keep {keep}, but both must be from 0 to 1, and \
         presence_keep the lower one (0.8 and 0.5 are usual)"
    )]
    Presence { presence: f32, keep: f32 },
}

impl Options {
    /// The range of [`confirm`](Self::confirm).
    pub const CONFIRM: RangeInclusive<u32> = 1..=1000;
    /// The range of [`min_overlap`](Self::min_overlap).
    pub const MIN_OVERLAP: RangeInclusive<f64> = 0.01..=1.0;

    /// Whether a new box of this presence is a face. NaN counts as no face.
    #[must_use]
    pub fn accepts(&self, presence: f32) -> bool {
        presence >= self.presence
    }

    /// Whether a followed face of this presence is still there. NaN counts as
    /// no face.
    #[must_use]
    pub fn keeps(&self, presence: f32) -> bool {
        presence >= self.presence_keep
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`OptionsError`], naming the option.
    pub fn validate(&self) -> Result<(), OptionsError> {
        if !Self::CONFIRM.contains(&self.confirm) {
            return Err(OptionsError::Confirm(self.confirm));
        }
        if !Self::MIN_OVERLAP.contains(&self.min_overlap) {
            return Err(OptionsError::MinOverlap(self.min_overlap));
        }
        let (presence, keep) = (self.presence, self.presence_keep);
        if !(keep >= 0.0 && keep <= presence && presence <= 1.0) {
            return Err(OptionsError::Presence { presence, keep });
        }
        Ok(())
    }
}
