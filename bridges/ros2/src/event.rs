//! What the bridge takes from affectd's events, schema 1 (docs/events.md).
//! Types and keys that it does not know are ignored.

use serde::Deserialize;
use serde_json::{Map, Value};

/// A line of the event socket.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Seconds on affectd's monotonic clock: when the frame was captured.
    pub time: f64,
    pub body: Body,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Body {
    Hello(Hello),
    Face(Box<Face>),
    Attention(Attention),
    Gone(Gone),
    /// No face counts.
    Nobody,
    CameraLost(Reason),
    CameraBack,
    Paused(Paused),
    Temperature(Temperature),
    Fatigue(Fatigue),
    Alarm(Alarm),
    /// All keys, so that new ones reach diagnostics by themselves.
    Health(Map<String, Value>),
    Reload(Reload),
    Dropped(Dropped),
    Goodbye(Reason),
    /// A type that the bridge does not use.
    Other,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Hello {
    #[serde(default)]
    pub version: String,
    #[serde(default)]
    pub id: String,
    #[serde(default)]
    pub name: String,
    #[serde(default)]
    pub source: String,
    #[serde(default)]
    pub model: String,
    #[serde(default)]
    pub live: bool,
    /// How often the state is repeated in milliseconds; 0: never.
    #[serde(default)]
    pub period_ms: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Face {
    pub track: u64,
    #[serde(rename = "box")]
    pub rect: [f64; 4],
    pub size: [f64; 2],
    pub label: String,
    pub confidence: f32,
    pub presence: Option<f32>,
    pub eye_openness_left: Option<f32>,
    pub eye_openness_right: Option<f32>,
    pub jaw: Option<f32>,
    pub yaw: Option<f64>,
    pub pitch: Option<f64>,
    pub roll: Option<f64>,
    pub facing: Option<bool>,
    pub distance_m: Option<f64>,
    pub valence: Option<f32>,
    pub arousal: Option<f32>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Attention {
    pub track: u64,
    pub facing: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Gone {
    pub track: u64,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Reason {
    #[serde(default)]
    pub reason: String,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Paused {
    #[serde(default)]
    pub by: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Temperature {
    pub hot: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Fatigue {
    pub track: Option<u64>,
    pub state: String,
    /// The other keys, so that new ones reach subscribers by themselves.
    #[serde(flatten)]
    pub figures: Map<String, Value>,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Alarm {
    pub state: String,
    pub on: bool,
    #[serde(default)]
    pub acknowledged: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Reload {
    pub ok: bool,
}

#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Dropped {
    pub lines: u64,
}

/// The keys that every line begins with.
const COMMON: [&str; 5] = ["schema", "type", "time", "wall", "frame"];

impl Event {
    /// Reads a line's object.
    ///
    /// # Errors
    ///
    /// A key is missing or has another type than in schema 1.
    pub fn read(mut line: Map<String, Value>) -> Result<Self, String> {
        let kind = match line.get("type") {
            Some(Value::String(kind)) => kind.clone(),
            _ => return Err("no `type`".to_owned()),
        };
        let time = line.get("time").and_then(Value::as_f64);
        for key in COMMON {
            line.remove(key);
        }
        let keys = Value::Object(line);
        let body = match kind.as_str() {
            "hello" => of(&kind, keys).map(Body::Hello),
            "face" => of(&kind, keys).map(|face| Body::Face(Box::new(face))),
            "attention" => of(&kind, keys).map(Body::Attention),
            "gone" => of(&kind, keys).map(Body::Gone),
            "none" => Ok(Body::Nobody),
            "camera_lost" => of(&kind, keys).map(Body::CameraLost),
            "camera_back" => Ok(Body::CameraBack),
            "paused" => of(&kind, keys).map(Body::Paused),
            "temperature" => of(&kind, keys).map(Body::Temperature),
            "fatigue" => of(&kind, keys).map(Body::Fatigue),
            "alarm" => of(&kind, keys).map(Body::Alarm),
            "health" => of(&kind, keys).map(Body::Health),
            "reload" => of(&kind, keys).map(Body::Reload),
            "dropped" => of(&kind, keys).map(Body::Dropped),
            "goodbye" => of(&kind, keys).map(Body::Goodbye),
            _ => Ok(Body::Other),
        }?;
        let time = time.ok_or_else(|| format!("`{kind}` without `time`"))?;
        Ok(Self { time, body })
    }
}

fn of<T: serde::de::DeserializeOwned>(kind: &str, keys: Value) -> Result<T, String> {
    serde_json::from_value(keys).map_err(|error| format!("`{kind}`: {error}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Result<Event, String> {
        Event::read(serde_json::from_str(line).unwrap())
    }

    #[test]
    fn a_face_without_a_face_net() {
        let event = read(
            r#"{"schema":1,"type":"face","time":12.5,"frame":7,"track":3,"leading":true,
                "box":[10,20,30,40],"size":[640,480],"searched":12.5,"label":"happy","confidence":0.9,
                "probabilities":{"happy":0.9},"since":12,"change":true,"something_new":[1,2]}"#,
        )
        .unwrap();
        assert_eq!(event.time, 12.5);
        let Body::Face(face) = event.body else {
            panic!("{event:?}")
        };
        assert_eq!((face.track, face.label.as_str()), (3, "happy"));
        assert_eq!((face.presence, face.yaw, face.facing), (None, None, None));
    }

    #[test]
    fn fatigue_keeps_keys_that_the_bridge_does_not_know() {
        let event = read(
            r#"{"schema":1,"type":"fatigue","time":1,"frame":1,"track":null,"state":"nobody",
                "perclos":null,"new":3}"#,
        )
        .unwrap();
        let Body::Fatigue(fatigue) = event.body else {
            panic!("{event:?}")
        };
        let figures: Vec<_> = fatigue.figures.keys().map(String::as_str).collect();
        assert_eq!(figures, ["new", "perclos"]);
    }

    #[test]
    fn unknown_types_are_ignored_and_broken_lines_are_not() {
        let event = read(r#"{"schema":1,"type":"dance","time":1,"frame":1}"#);
        assert_eq!(event.unwrap().body, Body::Other);
        assert!(read(r#"{"schema":1,"type":"gone","time":1,"frame":1}"#).is_err());
        assert!(read(r#"{"schema":1,"type":"none","frame":1}"#).is_err());
        assert!(read(r#"{"schema":1}"#).is_err());
    }
}
