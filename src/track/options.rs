//! The board file's `[track]`: who counts, and when a face comes and goes.

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::Duration;

/// Who counts when several faces are there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Policy {
    /// The largest box: the person nearest to the camera.
    #[default]
    Largest,
    /// The box nearest to the centre of the picture.
    MostCentral,
    /// Who came first, until that face is lost.
    First,
    /// Everybody; the largest leads.
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

/// A name that is none of the policies.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown policy '{0}': the policies for which face counts are largest, central, first and all"
)]
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
    /// Who counts. Default: the largest face.
    pub policy: Policy,
    /// A face not found for this long is gone. Default: 600 ms, a few missed
    /// frames even on a slow board.
    pub lost_after: Duration,
    /// How often a face must be found before it counts; 1 to 1,000. Default: 2,
    /// because most of a Haar cascade's false faces last for a single frame. 1
    /// suits separate photographs.
    pub confirm: u32,
    /// The finds that count towards `confirm` are those in a row, or all within
    /// this time. Default: 200 ms, which bridges the dark frames between those
    /// that a strobed lamp lights. Zero: only those in a row.
    pub confirm_within: Duration,
    /// The least intersection over union at which a box is the same face,
    /// 0.01 to 1. Default: 0.3, as in SORT.
    pub min_overlap: f64,
    /// The presence from which a new box is a face, where an observer says how
    /// sure that is; 0 to 1. Default: 0.8.
    pub presence: f32,
    /// The presence from which a followed face is still there, 0 to 1 and at
    /// most `presence`, so that a face which turns away does not flicker.
    /// Default: 0.5.
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

/// An option that makes no sense.
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
    /// What [`confirm`](Self::confirm) may be.
    pub const CONFIRM: RangeInclusive<u32> = 1..=1000;
    /// What [`min_overlap`](Self::min_overlap) may be.
    pub const MIN_OVERLAP: RangeInclusive<f64> = 0.01..=1.0;

    /// Whether a new box of this presence is a face. Not a number is no face.
    #[must_use]
    pub fn accepts(&self, presence: f32) -> bool {
        presence >= self.presence
    }

    /// Whether a followed face of this presence is still there. Not a number is
    /// no face.
    #[must_use]
    pub fn keeps(&self, presence: f32) -> bool {
        presence >= self.presence_keep
    }

    /// Says what makes no sense.
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
