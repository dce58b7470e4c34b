//! The result of the rules for one person at one time.

use std::time::Duration;

use super::state::{Reason, State};
use crate::frame::Timestamp;

/// The decision about a person at one time. `None` means unknown.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct FatigueDecision {
    /// The face's number; `None` before the first face and for `nobody`, unless
    /// everybody is watched: then it says which face is gone.
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
    /// The same over 180 s; unknown while less than 90 s of them are valid.
    pub perclos_180: Option<f32>,
    /// How long the short window is so far, at most 60 s.
    pub window: Duration,
    /// The valid share of the short window, 0 to 1.
    pub valid: f32,
    /// The length of the present closure; `None` while the eyes are open or
    /// unknown.
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
    /// How often one eye alone was shut, since the watch of this person began.
    pub winks: u32,
    /// Whether the person's own open level is known.
    pub calibrated: bool,
    /// Frames per second; unknown at the start.
    pub fps: Option<f32>,
    /// The reliability of the state, 0 to 1: `valid`, or half of it while not
    /// calibrated. It is not a probability.
    pub confidence: f32,
}
