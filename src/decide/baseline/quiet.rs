//! Which frames show a face at rest. The face networks decide that, not the
//! classifier, because its answer is what the baseline corrects.

use std::fmt;

use crate::observe::FaceObservation;

/// The largest angle of a quiet head, in degrees.
const QUIET_ANGLE: f32 = 20.0;
/// The least openness of a quiet face's eyes.
const QUIET_EYES: f32 = 0.5;
/// The largest opening and the largest smile of a quiet mouth.
const QUIET_JAW: f32 = 0.15;
const QUIET_SMILE: f32 = 0.3;

/// Why a frame does not show a face at rest. As text: what is wrong, and what
/// the person should do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unrest {
    /// The face net did not run on the face, or it does not see a face there.
    Unseen,
    TurnedAway,
    /// Shut, covered, or too small to tell.
    Eyes,
    Mouth,
    Smile,
    /// The classifier's answer has just changed.
    Change,
}

impl Unrest {
    /// What the person should do, for a small display.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Unseen | Self::TurnedAway => "face the camera",
            Self::Eyes => "open your eyes, or come closer",
            Self::Mouth => "shut your mouth",
            Self::Smile => "do not smile",
            Self::Change => "keep still",
        }
    }
}

impl fmt::Display for Unrest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let problem = match self {
            Self::Unseen => "the face is not seen well",
            Self::TurnedAway => "the face is turned away",
            Self::Eyes => "the eyes are shut, covered or too small",
            Self::Mouth => "the mouth is open",
            Self::Smile => "the face smiles",
            Self::Change => "the expression changes",
        };
        write!(f, "{problem}: {}", self.advice())
    }
}

/// Why a face is not at rest; `None` if it is.
pub fn unrest(seen: Option<&FaceObservation>) -> Option<Unrest> {
    let Some(seen) = seen else {
        return Some(Unrest::Unseen);
    };
    // A face with NaN is not at rest either.
    let within = |value: f32, most: f32| value <= most;
    let is_open = |openness: Option<f32>| openness.is_some_and(|o| o >= QUIET_EYES);
    if !(within(seen.yaw.abs(), QUIET_ANGLE) && within(seen.pitch.abs(), QUIET_ANGLE)) {
        Some(Unrest::TurnedAway)
    } else if !(is_open(seen.left_eye.openness()) && is_open(seen.right_eye.openness())) {
        Some(Unrest::Eyes)
    } else if !within(seen.jaw, QUIET_JAW) {
        Some(Unrest::Mouth)
    } else if !within(seen.smile, QUIET_SMILE) {
        Some(Unrest::Smile)
    } else {
        None
    }
}
