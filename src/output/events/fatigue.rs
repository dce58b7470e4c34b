//! Lines about eyes: `fatigue`, `closure` and `yawn`.

use std::time::Duration;

use serde::ser::SerializeMap;

use super::numbers::{rounded, seconds};
use crate::decide::fatigue::{FatigueDecision, Reason, What};

/// Writes the keys of an event after those that all lines have.
pub(super) fn serialize<M: SerializeMap>(what: &What, map: &mut M) -> Result<(), M::Error> {
    match what {
        What::State { decision, change } => {
            state(decision, map)?;
            map.serialize_entry("change", change)
        }
        What::Closure {
            track,
            kind,
            duration,
        } => {
            map.serialize_entry("track", track)?;
            map.serialize_entry("kind", kind.name())?;
            map.serialize_entry("duration_ms", &millis(*duration))
        }
        What::Alarm(alarm) => {
            map.serialize_entry("state", alarm.state.name())?;
            map.serialize_entry("on", &alarm.is_on)?;
            map.serialize_entry("acknowledged", &alarm.is_acknowledged)
        }
        What::Yawn { track, duration } => {
            map.serialize_entry("track", track)?;
            map.serialize_entry("duration_ms", &millis(*duration))
        }
    }
}

fn state<M: SerializeMap>(decision: &FatigueDecision, map: &mut M) -> Result<(), M::Error> {
    let number = |value: Option<f32>| value.map(rounded);
    map.serialize_entry("track", &decision.track)?;
    map.serialize_entry("state", decision.state.name())?;
    map.serialize_entry("reason", &decision.reason.map(Reason::name))?;
    map.serialize_entry("since", &seconds(decision.since.0))?;
    map.serialize_entry("openness_left", &number(decision.openness[0]))?;
    map.serialize_entry("openness_right", &number(decision.openness[1]))?;
    map.serialize_entry("perclos", &number(decision.perclos))?;
    map.serialize_entry("perclos_180", &number(decision.perclos_180))?;
    map.serialize_entry("window_s", &seconds(decision.window))?;
    map.serialize_entry("valid", &rounded(decision.valid))?;
    map.serialize_entry("closure_ms", &decision.closure.map(millis))?;
    map.serialize_entry("blink_rate", &number(decision.blink_rate))?;
    map.serialize_entry("blink_duration_ms", &decision.blink_duration.map(millis))?;
    map.serialize_entry("yawns", &decision.yawns)?;
    map.serialize_entry("nods", &decision.nods)?;
    map.serialize_entry("winks", &decision.winks)?;
    map.serialize_entry("calibrated", &decision.calibrated)?;
    map.serialize_entry("fps", &number(decision.fps))?;
    map.serialize_entry("confidence", &rounded(decision.confidence))
}

fn millis(time: Duration) -> u64 {
    // Rounded, so that 1500 ms does not become 1499.
    u64::try_from((time.as_nanos() + 500_000) / 1_000_000).unwrap_or(u64::MAX)
}
