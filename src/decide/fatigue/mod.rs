//! From the openness of eyes, frame by frame, to closures, PERCLOS and one state.
//!
//! [`Fatigue`] takes one [`EyeSample`] per face and frame and integrates over
//! capture time, never over frames, so that 5 and 60 frames per second lead to
//! the same. What is not known is neither open nor shut: invalid time makes no
//! alarm and no `ok`.
//!
//! - `calibration`: the person's own open and shut levels.
//! - `closures`: closures, winks, blinks.
//! - `windows`: PERCLOS P80 (the share of valid time in which at least 80% of
//!   the eye is covered, closures below 250 ms left out) and valid time over
//!   60 s and 180 s.
//! - `gestures`: yawns and nods.
//! - `person`: one person's state from all of this.
//! - `watch`: whose eyes are watched, and whose calibration is kept.
//!
//! # Rules
//! An interval between two frames counts if both frames are valid and it is no
//! longer than twice the usual interval (250 ms at least, 500 ms at most); it
//! belongs to its first frame. A longer gap ends a closure.
//!
//! No closure starts while the eyes look down ([`EyeSample::gaze_down`] above
//! 0.5) or the head is bent down by more than 12 degrees from its rest; one that
//! is under way goes on. From 15 degrees of yaw on the far eye does not count,
//! from 30 on neither does.
//!
//! The states, the gravest first; the first that holds counts:
//!
//! | state | holds from | until |
//! |---|---|---|
//! | `unresponsive` | 6 s closed | 3 s open |
//! | `asleep` | 3 s closed | 3 s open |
//! | `microsleep` | 1.5 s closed | 2 s open |
//! | `nobody` | no watched face for 10 s, unless it was lost with shut eyes | a face |
//! | `no_reading` | no usable eyes for 10 s, a rate below 4.5 frames per second, or a window that has filled and is valid for less than half | |
//! | `calibrating` | the start, and another person | 30 s of valid, frontal time |
//! | `drowsy` | PERCLOS over 60 s >= 0.15 and over 180 s >= 0.10 | PERCLOS over 60 s < 0.08 for 60 s |
//! | `ok` | | |
//!
//! The first three end after 10 s without usable eyes: then nothing is known.
//!
//! Definitions, thresholds and constants come from the literature as far as it
//! has any; `options` names the source of each threshold.
//!
//! ```
//! use affectd::decide::fatigue::{EyeSample, FaceSample, Fatigue, Options, State};
//! use affectd::frame::Timestamp;
//!
//! let mut fatigue = Fatigue::new(Options::default());
//! let mut look = |millis: u64, openness: f32| {
//!     let eyes = EyeSample {
//!         left: Some(openness),
//!         right: Some(openness),
//!         ..EyeSample::default()
//!     };
//!     fatigue.look(Timestamp::from_millis(millis), &[FaceSample { track: 1, eyes }]);
//!     fatigue.decision().state
//! };
//! for frame in 0..1000 {
//!     look(frame * 33, 1.0);
//! }
//! assert_eq!(look(33_000, 1.0), State::Ok);
//! for frame in 1001..1100 {
//!     look(frame * 33, 0.02);
//! }
//! assert_eq!(look(36_300, 0.02), State::Asleep);
//! ```

mod calibration;
mod closures;
mod gestures;
mod options;
mod pace;
mod person;
#[cfg(test)]
mod tests;
pub mod trace;
mod watch;
mod windows;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

pub use options::{Options, OptionsError, UnknownWatch, Watch};
pub use watch::Fatigue;

use crate::frame::Timestamp;

/// What one frame shows of the eyes and the head of one face. `None` is
/// unknown, never 0.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct EyeSample {
    /// How far the person's own left eye is open, in the measure of
    /// [`Options::open`] and [`Options::shut`]; `None` if it cannot be told.
    pub left: Option<f32>,
    /// The same of the right eye.
    pub right: Option<f32>,
    /// How sure it is that the open eyes look down, 0 to 1.
    pub gaze_down: Option<f32>,
    /// How sure it is that no eye is to be seen, 0 to 1; from 0.5 on the eyes
    /// are not used.
    pub covered: Option<f32>,
    /// How far the mouth is open, 0 to 1.
    pub jaw: Option<f32>,
    /// How much the face smiles, 0 to 1.
    pub smile: Option<f32>,
    /// Degrees, positive with the nose to the picture's right.
    pub yaw: Option<f32>,
    /// Degrees, positive with the nose up.
    pub pitch: Option<f32>,
    /// Degrees, positive clockwise. Changes nothing; it is recorded.
    pub roll: Option<f32>,
    /// How sure it is that this is a face, 0 to 1. Changes nothing: the tracker
    /// has decided on it; it is recorded.
    pub presence: Option<f32>,
    /// The face's box: x, y, width and height as fractions of the picture.
    /// `None` stands for the whole picture.
    pub rect: Option<[f32; 4]>,
    /// Why the eyes cannot be used, if it is known.
    pub reason: Option<Reason>,
}

/// An [`EyeSample`] with the face that it belongs to.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FaceSample {
    /// The number of the face while it is followed.
    pub track: u32,
    pub eyes: EyeSample,
}

/// What holds of a person's wakefulness. Graver states are greater.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// There is no face in the watched region.
    Nobody,
    Ok,
    /// The person's open level is not known yet.
    #[default]
    Calibrating,
    /// There are no usable eyes; see [`FatigueDecision::reason`].
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

    /// Whether the person should be alarmed: drowsy or graver.
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
    /// The eyes are not to be seen: dark glasses, a hand, hair, a face too small.
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

/// A name that is none of [`Reason`]'s.
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

/// What is decided of a person at one time. `None` is unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FatigueDecision {
    /// The face's number; `None` before the first face and for `nobody`, unless
    /// everybody is watched: then it tells who is gone.
    pub track: Option<u32>,
    pub state: State,
    /// Why there is no reading.
    pub reason: Option<Reason>,
    /// Since when the state holds.
    pub since: Timestamp,
    /// Calibrated openness of the left and the right eye, 0 (shut) to 1 (the
    /// person's own open level).
    pub openness: [Option<f32>; 2],
    /// PERCLOS P80 over the last 60 s, 0 to 1; unknown while less than 30 s of
    /// the window are valid.
    pub perclos: Option<f32>,
    /// The same over 180 s, of which 90 s are valid.
    pub perclos_180: Option<f32>,
    /// How long the short window is so far, at most 60 s.
    pub window: Duration,
    /// The valid share of the short window, 0 to 1.
    pub valid: f32,
    /// How long the closure under way has lasted; `None` while the eyes are open
    /// or unknown.
    pub closure: Option<Duration>,
    /// Blinks per minute of valid time, over 180 s; unknown below 15 frames per
    /// second or 10 blinks.
    pub blink_rate: Option<f32>,
    /// Their mean length.
    pub blink_duration: Option<Duration>,
    /// Yawns of the last ten minutes; unknown if the mouth was never seen.
    pub yawns: Option<u32>,
    /// Nods of the last ten minutes; unknown if the pitch was never known.
    pub nods: Option<u32>,
    /// One eye shut alone, since the watch of this person began.
    pub winks: u32,
    /// Whether the person's own open level is known.
    pub calibrated: bool,
    /// Frames per second; unknown at the start.
    pub fps: Option<f32>,
    /// How far the state can be relied on, 0 to 1: the valid share of the short
    /// window, and half of it while not calibrated. It is no probability.
    pub confidence: f32,
}

/// What a closure of the eyes was, by its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosureKind {
    /// Up to 500 ms.
    Blink,
    /// Longer, but no microsleep.
    Long,
    /// From [`Options::microsleep`] on.
    Microsleep,
    /// From [`Options::asleep`] on.
    Sleep,
}

impl ClosureKind {
    /// The name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blink => "blink",
            Self::Long => "long",
            Self::Microsleep => "microsleep",
            Self::Sleep => "sleep",
        }
    }
}

/// What should wake a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Drowsy or graver; the last one when the alarm is over.
    pub state: State,
    /// Whether it is on, acknowledged or not.
    pub is_on: bool,
    /// Whether somebody has acknowledged it, which a graver state undoes.
    pub is_acknowledged: bool,
}

/// Something that happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub time: Timestamp,
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The state of a person: when it changes, and once a second.
    State {
        decision: FatigueDecision,
        change: bool,
    },
    /// Eyes that were shut have opened, or were lost.
    Closure {
        track: u32,
        kind: ClosureKind,
        duration: Duration,
    },
    /// A yawn has ended.
    Yawn { track: u32, duration: Duration },
    /// An alarm began, changed its state, was acknowledged, or ended.
    Alarm(Alarm),
}
