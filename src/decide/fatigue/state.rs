//! How awake a person is, and why that is not known.

use std::fmt;
use std::str::FromStr;

/// How awake a person is. More severe states compare as greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There is no face in the watched region.
    Nobody,
    Ok,
    /// The person's open level is not known yet.
    #[default]
    Calibrating,
    /// There are no usable eyes; see [`FatigueDecision::reason`](super::FatigueDecision::reason).
    NoReading,
    Drowsy,
    Microsleep,
    Asleep,
    Unresponsive,
}

impl State {
    /// All states.
    pub const ALL: [Self; 8] = [
        Self::Nobody,
        Self::Ok,
        Self::Calibrating,
        Self::NoReading,
        Self::Drowsy,
        Self::Microsleep,
        Self::Asleep,
        Self::Unresponsive,
    ];

    /// The name in events, board files and recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Calibrating => "calibrating",
            Self::NoReading => "no_reading",
            Self::Nobody => "nobody",
            Self::Drowsy => "drowsy",
            Self::Microsleep => "microsleep",
            Self::Asleep => "asleep",
            Self::Unresponsive => "unresponsive",
        }
    }

    /// Whether this state raises an alarm: drowsy or more severe.
    #[must_use]
    pub fn is_alarm(self) -> bool {
        self >= Self::Drowsy
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Why there is no reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Reason {
    /// The head is turned too far.
    Pose,
    /// The picture is too dark.
    Dark,
    /// The picture is too bright.
    Glare,
    /// The eyes are not visible: dark glasses, a hand, hair, or the face is too
    /// small.
    EyesHidden,
    /// Frames come too slowly.
    Rate,
    /// The eyes were shut when they, the face or the camera were lost.
    LostWhileClosed,
    /// No frames come.
    CameraLost,
}

impl Reason {
    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Pose,
        Self::Dark,
        Self::Glare,
        Self::EyesHidden,
        Self::Rate,
        Self::LostWhileClosed,
        Self::CameraLost,
    ];

    /// The name in events and recordings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pose => "pose",
            Self::Dark => "dark",
            Self::Glare => "glare",
            Self::EyesHidden => "eyes_hidden",
            Self::Rate => "rate",
            Self::LostWhileClosed => "lost_while_closed",
            Self::CameraLost => "camera_lost",
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not a [`Reason`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown reason '{name}'; reasons are {}", Reason::ALL.map(Reason::name).join(", "))]
pub struct UnknownReason {
    pub name: String,
}

impl FromStr for Reason {
    type Err = UnknownReason;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|reason| reason.name() == name)
            .ok_or_else(|| UnknownReason {
                name: name.to_owned(),
            })
    }
}
