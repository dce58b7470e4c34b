//! What an event says, and how it is written; the schema is in the module above.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{SCHEMA, fatigue};
use crate::decide::Facing;
use crate::decide::fatigue::What;
use crate::frame::Timestamp;
use crate::observe::expression::{Expression, Probabilities};
use crate::observe::record::{self, to_decimals};
use crate::output::FaceReport;

/// What the first line tells about the process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// Where frames come from, as [`crate::capture::Source::description`] says.
    pub source: String,
    /// Whether frames come in real time; a recording's events have no `wall`.
    pub live: bool,
    /// The classifier's name.
    pub model: String,
    /// What is driven besides events, such as `gpio` and `display`.
    pub outputs: Vec<String>,
}

/// What the last line tells.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goodbye {
    /// A signal's name, `end of recording`, an error.
    pub reason: String,
    /// Frames processed.
    pub frames: u64,
    /// Anything else that was counted, by name, in the order to be written.
    pub counters: Vec<(String, u64)>,
}

/// A line to be. Cheap to copy: what has no fixed size is shared.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub time: Timestamp,
    pub wall: Option<SystemTime>,
    pub frame: u64,
    pub body: Body,
}

/// What `face` has only where it is asked for.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detail {
    pub landmarks: bool,
    pub affect: bool,
}

#[derive(Clone, Debug)]
#[expect(
    clippy::large_enum_variant,
    reason = "an event goes into its queue without the heap"
)]
pub(super) enum Body {
    /// With the period, zero for none.
    Hello(Arc<(Hello, Duration)>),
    Face {
        face: FaceReport,
        leading: bool,
        size: (u32, u32),
        change: bool,
        detail: Detail,
    },
    Attention {
        track: u32,
        facing: Facing,
    },
    Gone {
        track: u32,
    },
    None {
        since: Timestamp,
        change: bool,
    },
    CameraLost {
        reason: Arc<str>,
        since: Timestamp,
        change: bool,
    },
    CameraBack {
        after: Duration,
    },
    Temperature {
        hot: bool,
        reason: Arc<str>,
    },
    Fatigue(What),
    Dropped {
        lines: u64,
    },
    Goodbye(Arc<Goodbye>),
}

impl Event {
    /// Whether the line tells nothing new, so that it is the first to go when
    /// some must.
    pub fn is_repetition(&self) -> bool {
        matches!(
            self.body,
            Body::Face { change: false, .. }
                | Body::None { change: false, .. }
                | Body::CameraLost { change: false, .. }
                | Body::Fatigue(What::State { change: false, .. })
        )
    }

    /// Appends the line with its end to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Maps with string keys into memory: there is nothing that could fail,
        // and half a line would be worse than none.
        if serde_json::to_writer(&mut *out, self).is_err() {
            return out.truncate(start);
        }
        out.push(b'\n');
    }
}

impl Serialize for Event {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("schema", &SCHEMA)?;
        map.serialize_entry("type", self.body.name())?;
        map.serialize_entry("time", &seconds(self.time.0))?;
        if let Some(wall) = self.wall {
            map.serialize_entry("wall", &Utc(wall))?;
        }
        map.serialize_entry("frame", &self.frame)?;
        self.body.serialize(&mut map)?;
        map.end()
    }
}

impl Body {
    fn name(&self) -> &'static str {
        match self {
            Self::Hello(_) => "hello",
            Self::Face { .. } => "face",
            Self::Attention { .. } => "attention",
            Self::Gone { .. } => "gone",
            Self::None { .. } => "none",
            Self::CameraLost { .. } => "camera_lost",
            Self::CameraBack { .. } => "camera_back",
            Self::Temperature { .. } => "temperature",
            Self::Fatigue(What::State { .. }) => "fatigue",
            Self::Fatigue(What::Closure { .. }) => "closure",
            Self::Fatigue(What::Yawn { .. }) => "yawn",
            Self::Fatigue(What::Alarm(_)) => "alarm",
            Self::Dropped { .. } => "dropped",
            Self::Goodbye(_) => "goodbye",
        }
    }

    fn serialize<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Hello(hello) => {
                let (hello, period) = &**hello;
                map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
                map.serialize_entry("source", &hello.source)?;
                map.serialize_entry("live", &hello.live)?;
                map.serialize_entry("model", &hello.model)?;
                map.serialize_entry("outputs", &hello.outputs)?;
                map.serialize_entry("classes", &Expression::ALL.map(Expression::name))?;
                let period = u64::try_from(period.as_millis()).unwrap_or(u64::MAX);
                map.serialize_entry("period_ms", &period)
            }
            Self::Face {
                face,
                leading,
                size,
                change,
                detail,
            } => {
                let rect = face.rect;
                let decision = &face.decision.expression;
                map.serialize_entry("track", &face.id)?;
                map.serialize_entry("leading", leading)?;
                map.serialize_entry("box", &(rect.x, rect.y, rect.width, rect.height))?;
                map.serialize_entry("size", size)?;
                map.serialize_entry("searched", &seconds(face.searched.0))?;
                map.serialize_entry("label", decision.label.name())?;
                map.serialize_entry("confidence", &rounded(decision.confidence))?;
                map.serialize_entry("probabilities", &ByName(decision.probabilities))?;
                map.serialize_entry("since", &seconds(decision.since.0))?;
                map.serialize_entry("change", change)?;
                serialize_observed(map, face, *detail)
            }
            Self::Attention { track, facing } => {
                map.serialize_entry("track", track)?;
                map.serialize_entry("facing", &facing.is_facing)?;
                map.serialize_entry("since", &seconds(facing.since.0))
            }
            Self::Gone { track } => map.serialize_entry("track", track),
            Self::None { since, change } => {
                map.serialize_entry("since", &seconds(since.0))?;
                map.serialize_entry("change", change)
            }
            Self::CameraLost {
                reason,
                since,
                change,
            } => {
                map.serialize_entry("reason", &**reason)?;
                map.serialize_entry("since", &seconds(since.0))?;
                map.serialize_entry("change", change)
            }
            Self::CameraBack { after } => map.serialize_entry("after", &seconds(*after)),
            Self::Temperature { hot, reason } => {
                map.serialize_entry("hot", hot)?;
                map.serialize_entry("reason", &**reason)
            }
            Self::Fatigue(what) => fatigue::serialize(what, map),
            Self::Dropped { lines } => map.serialize_entry("lines", lines),
            Self::Goodbye(goodbye) => {
                map.serialize_entry("reason", &goodbye.reason)?;
                map.serialize_entry("frames", &goodbye.frames)?;
                map.serialize_entry("counters", &Counters(&goodbye.counters))
            }
        }
    }
}

/// What is known of a face besides its expression; what is not known is left
/// out.
fn serialize_observed<M: SerializeMap>(
    map: &mut M,
    face: &FaceReport,
    detail: Detail,
) -> Result<(), M::Error> {
    if let Some(seen) = &face.observed.face {
        record::serialize_face(map, seen)?;
    }
    if let Some(baseline) = face.decision.baseline {
        map.serialize_entry("baseline", &rounded(baseline))?;
        if let Some(answer) = face.observed.expression {
            map.serialize_entry("raw_probabilities", &ByName(answer))?;
        }
    }
    if let Some(facing) = face.decision.facing {
        map.serialize_entry("facing", &facing.is_facing)?;
    }
    if let Some(metres) = face.distance {
        map.serialize_entry("distance_m", &to_decimals(metres, 2))?;
    }
    if detail.landmarks
        && let Some(seen) = &face.observed.face
    {
        record::serialize_landmarks(map, seen)?;
    }
    if detail.affect {
        let (valence, arousal) = face.decision.expression.probabilities.affect();
        map.serialize_entry("valence", &rounded(valence))?;
        map.serialize_entry("arousal", &rounded(arousal))?;
    }
    Ok(())
}

struct ByName(Probabilities);

impl Serialize for ByName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(
            Expression::ALL
                .into_iter()
                .map(|expression| (expression.name(), rounded(self.0.of(expression)))),
        )
    }
}

struct Counters<'a>(&'a [(String, u64)]);

impl Serialize for Counters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, count)| (name, count)))
    }
}

/// A probability to 4 decimals.
pub(super) fn rounded(value: f32) -> f64 {
    to_decimals(value, 4)
}

/// Seconds to the millisecond, from whole numbers so that nothing depends on
/// how a sum was rounded.
pub(super) fn seconds(time: Duration) -> f64 {
    time.as_millis() as f64 / 1e3
}

/// A time of the wall clock as RFC 3339 writes it, in UTC, to the millisecond.
struct Utc(SystemTime);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A clock before 1970 is a board without a battery that has not heard
        // of the time yet; it has nothing to tell.
        let since = self.0.duration_since(UNIX_EPOCH).unwrap_or_default();
        let (days, second) = (since.as_secs() / 86_400, since.as_secs() % 86_400);

        // From days to a date by Howard Hinnant's algorithm civil_from_days
        // (https://howardhinnant.github.io/date_algorithms.html): years begin
        // in March, so that the leap day comes last, in eras of 400 years.
        let days = days + 719_468;
        let (era, day) = (days / 146_097, days % 146_097);
        let year = (day - day / 1_460 + day / 36_524 - day / 146_096) / 365;
        let day = day - (365 * year + year / 4 - year / 100);
        let month = (5 * day + 2) / 153;
        let day = day - (153 * month + 2) / 5 + 1;
        let (month, next) = if month < 10 {
            (month + 3, 0)
        } else {
            (month - 9, 1)
        };
        let year = era * 400 + year + next;

        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
            second / 3_600,
            second / 60 % 60,
            second % 60,
            since.subsec_millis()
        )
    }
}

impl Serialize for Utc {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_right() {
        // From `date -u -d @SECONDS +%FT%TZ`.
        for (seconds, text) in [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399, "2000-02-28T23:59:59.000Z"),
            (951_782_400, "2000-02-29T00:00:00.000Z"),
            (951_868_800, "2000-03-01T00:00:00.000Z"),
            (1_767_225_599, "2025-12-31T23:59:59.000Z"),
            (1_767_225_600, "2026-01-01T00:00:00.000Z"),
            (4_107_542_400, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799, "9999-12-31T23:59:59.000Z"),
        ] {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            assert_eq!(Utc(time).to_string(), text);
        }
        let time = UNIX_EPOCH + Duration::from_micros(1_999);
        assert_eq!(Utc(time).to_string(), "1970-01-01T00:00:00.001Z");
    }

    #[test]
    fn numbers_are_short_and_finite() {
        let text = |value| serde_json::to_string(&rounded(value)).unwrap();
        assert_eq!(text(0.1), "0.1");
        assert_eq!(text(1.0 / 3.0), "0.3333");
        assert_eq!(text(0.999_99), "1.0");
        assert_eq!(text(1e-9), "0.0");
        assert_eq!(text(f32::NAN), "0.0");
        let time = Duration::from_nanos(86_400_123_999_999);
        assert_eq!(serde_json::to_string(&seconds(time)).unwrap(), "86400.123");
    }
}
