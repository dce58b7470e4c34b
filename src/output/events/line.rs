//! The contents of events and how they are written; the schema is in the module
//! above.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use serde::ser::{Serialize, SerializeMap, Serializer};

use super::fatigue;
use super::numbers::{Utc, rounded, seconds};
use crate::decide::Facing;
use crate::decide::fatigue::What;
use crate::frame::Timestamp;
use crate::health::Health;
use crate::observe::expression::{Expression, Probabilities};
use crate::observe::record::{self, to_decimals};
use crate::output::{FaceReport, PausedBy};

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// The contents of the first line, `hello`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello {
    /// The machine's id: letters, digits, `-` and `_`.
    pub id: String,
    /// The board's name for people.
    pub name: String,
    /// A hash of the settings in force, as
    /// [`Board::settings_sha256`](crate::board::Board::settings_sha256).
    pub config: String,
    /// Where frames come from, as [`crate::capture::Source::description`] says.
    pub source: String,
    /// Whether frames come in real time; a recording's events have no `wall`.
    pub live: bool,
    /// The classifier's name.
    pub model: String,
    /// The SHA-256 of the classifier's file.
    pub model_sha256: String,
    /// The outputs besides events, such as `gpio` and `display`.
    pub outputs: Vec<String>,
}

impl Hello {
    /// Writes the fields as entries of a JSON object.
    ///
    /// # Errors
    /// Those of the map.
    pub fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("id", &self.id)?;
        map.serialize_entry("name", &self.name)?;
        map.serialize_entry("config", &self.config)?;
        map.serialize_entry("source", &self.source)?;
        map.serialize_entry("live", &self.live)?;
        map.serialize_entry("model", &self.model)?;
        map.serialize_entry("model_sha256", &self.model_sha256)?;
        map.serialize_entry("outputs", &self.outputs)
    }
}

/// The contents of the last line, `goodbye`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Goodbye {
    /// A signal's name, `end of recording`, an error.
    pub reason: String,
    /// Frames processed.
    pub frames: u64,
    /// Other counts by name, in the order in which they are written.
    pub counters: Vec<(String, u64)>,
}

/// A line before it is written. Cheap to clone: parts without a fixed size are
/// shared.
#[derive(Clone, Debug)]
pub(super) struct Event {
    pub time: Timestamp,
    pub wall: Option<SystemTime>,
    pub frame: u64,
    pub body: Body,
}

/// The keys of `face` that are only written on request.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Detail {
    pub landmarks: bool,
    pub affect: bool,
}

#[derive(Clone, Debug)]
pub(super) enum Body {
    /// With the period; zero means none.
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
    Paused {
        by: PausedBy,
        since: Timestamp,
        change: bool,
    },
    Temperature {
        hot: bool,
        reason: Arc<str>,
    },
    Fatigue(What),
    Health {
        health: Health,
        change: bool,
    },
    /// Whether somebody watches the preview.
    Preview {
        watched: bool,
    },
    Reload {
        /// The hash of the settings in force.
        config: Arc<str>,
        /// Why the old ones stay in force, if they do.
        error: Option<Arc<str>>,
    },
    Dropped {
        lines: u64,
    },
    Goodbye(Arc<Goodbye>),
}

impl Event {
    /// Whether the line only repeats the state, so that it is dropped first.
    pub fn is_repetition(&self) -> bool {
        matches!(
            self.body,
            Body::Face { change: false, .. }
                | Body::None { change: false, .. }
                | Body::CameraLost { change: false, .. }
                | Body::Fatigue(What::State { change: false, .. })
                | Body::Health { change: false, .. }
                | Body::Paused { change: false, .. }
        )
    }

    /// Appends the line with its end to `out`.
    pub fn write(&self, out: &mut Vec<u8>) {
        let start = out.len();
        // Maps with string keys, written into memory, cannot fail; and half a
        // line would be worse than none.
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

/// The line of an event of a recording, as `affectd fatigue` prints it: like
/// the daemon's, without `wall`.
#[derive(Clone, Copy, Debug)]
pub struct FatigueLine {
    pub event: crate::decide::fatigue::Event,
    /// The frame's number.
    pub frame: u64,
}

impl Serialize for FatigueLine {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let line = Event {
            time: self.event.time,
            wall: None,
            frame: self.frame,
            body: Body::Fatigue(self.event.what),
        };
        line.serialize(serializer)
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
            Self::Paused { .. } => "paused",
            Self::Temperature { .. } => "temperature",
            Self::Fatigue(What::State { .. }) => "fatigue",
            Self::Fatigue(What::Closure { .. }) => "closure",
            Self::Fatigue(What::Yawn { .. }) => "yawn",
            Self::Fatigue(What::Alarm(_)) => "alarm",
            Self::Health { .. } => "health",
            Self::Preview { .. } => "preview",
            Self::Reload { .. } => "reload",
            Self::Dropped { .. } => "dropped",
            Self::Goodbye(_) => "goodbye",
        }
    }

    fn serialize<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        match self {
            Self::Hello(hello) => {
                let (hello, period) = &**hello;
                map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
                hello.serialize_into(map)?;
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
                map.serialize_entry("probabilities", &rounded_all(decision.probabilities))?;
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
            Self::Paused { by, since, change } => {
                map.serialize_entry("by", by)?;
                map.serialize_entry("since", &seconds(since.0))?;
                map.serialize_entry("change", change)
            }
            Self::Temperature { hot, reason } => {
                map.serialize_entry("hot", hot)?;
                map.serialize_entry("reason", &**reason)
            }
            Self::Fatigue(what) => fatigue::serialize(what, map),
            Self::Health { health, change } => {
                health.serialize_into(map)?;
                map.serialize_entry("change", change)
            }
            Self::Preview { watched } => map.serialize_entry("watched", watched),
            Self::Reload { config, error } => {
                map.serialize_entry("ok", &error.is_none())?;
                map.serialize_entry("config", &**config)?;
                match error {
                    Some(error) => map.serialize_entry("error", &**error),
                    None => Ok(()),
                }
            }
            Self::Dropped { lines } => map.serialize_entry("lines", lines),
            Self::Goodbye(goodbye) => {
                map.serialize_entry("reason", &goodbye.reason)?;
                map.serialize_entry("frames", &goodbye.frames)?;
                map.serialize_entry("counters", &Counters(&goodbye.counters))
            }
        }
    }
}

/// Writes the observations of a face besides its expression, without unknown
/// ones.
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
            map.serialize_entry("raw_probabilities", &rounded_all(answer))?;
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

/// All of them to the decimals that lines have.
fn rounded_all(probabilities: Probabilities) -> Probabilities {
    Probabilities(probabilities.0.map(|p| rounded(p) as f32))
}

struct Counters<'a>(&'a [(String, u64)]);

impl Serialize for Counters<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|(name, count)| (name, count)))
    }
}
