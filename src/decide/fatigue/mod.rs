//! Turns the openness of eyes, frame by frame, into closures, PERCLOS and one
//! state.
//!
//! [`Fatigue`] takes one [`EyeSample`] per face and frame and integrates over
//! capture time, never over frames, so 5 and 60 frames per second give the same
//! result. Unknown eyes count neither as open nor as shut: invalid time leads
//! to no alarm and not to `ok`.
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
//! longer than twice the usual interval. This limit is at least 250 ms and at
//! most 500 ms. An interval has the values of its first frame. A longer gap
//! ends a closure.
//!
//! No closure starts while the eyes look down ([`EyeSample::gaze_down`] above
//! 0.5) or the head is more than 12 degrees below its rest pose; a closure that
//! has started continues. From 15 degrees of yaw on, the far eye does not
//! count; from 30 degrees on, neither eye counts.
//!
//! The states, the most severe first. If several apply, the first one counts:
//!
//! | state | holds from | until |
//! |---|---|---|
//! | `unresponsive` | 6 s closed | 3 s open |
//! | `asleep` | 3 s closed | 3 s open |
//! | `microsleep` | 1.5 s closed | 2 s open |
//! | `nobody` | no watched face for 10 s, unless it was lost with shut eyes | a face |
//! | `no_reading` | no usable eyes for 10 s, a rate below 4.5 frames per
//! second, or less than half of a full window is valid | |
//! | `calibrating` | the start, and another person | 30 s of valid, frontal time |
//! | `drowsy` | PERCLOS over 60 s >= 0.15 and over 180 s >= 0.10 | PERCLOS over 60 s < 0.08 for 60 s |
//! | `ok` | | |
//!
//! The first three also end after 10 s without usable eyes.
//!
//! Definitions, thresholds and constants come from the literature where
//! possible; `options` names the source of each threshold.
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
mod decision;
mod event;
mod gestures;
mod options;
mod pace;
mod person;
mod sample;
mod state;
#[cfg(test)]
mod tests;
pub mod trace;
mod watch;
mod windows;

pub use decision::FatigueDecision;
pub use event::{Alarm, ClosureKind, Event, What};
pub use options::{Options, OptionsError, UnknownWatch, Watch};
pub use sample::{EyeSample, FaceSample};
pub use state::{Reason, State, UnknownReason};
pub use watch::Fatigue;
