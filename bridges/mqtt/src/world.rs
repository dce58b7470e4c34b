//! What is known of the daemon from its events, and the messages that say it.
//!
//! Nothing here is older than the connection to the event socket: when that ends,
//! a new [`World`] begins in which all is unknown.

use std::time::Duration;

use affectd_bridge::events::Event;
use serde_json::{Map, Value, json};

/// All that the state's `expression` can be, besides null for unknown.
pub const EXPRESSIONS: &[&str] = &[
    "angry",
    "disgust",
    "fear",
    "happy",
    "sad",
    "surprise",
    "neutral",
    "uncertain",
    "none",
];

/// All states of the event `fatigue`.
pub const FATIGUE_STATES: &[&str] = &[
    "ok",
    "calibrating",
    "drowsy",
    "microsleep",
    "asleep",
    "unresponsive",
    "no_reading",
    "nobody",
];

/// Of several persons, the first of these states that one of them is in is shown.
const SEVERITY: &[&str] = &[
    "unresponsive",
    "asleep",
    "microsleep",
    "drowsy",
    "no_reading",
    "calibrating",
    "ok",
    "nobody",
];

/// The most faces that are kept; the daemon follows fewer.
const FACES: usize = 64;

/// A face or an eye state that was not repeated for so long, on the source's
/// clock, is gone: the line that said so was dropped.
const FORGOTTEN_S: f64 = 5.0;

/// Which machine it is, from `hello`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub id: String,
    pub name: String,
    pub version: String,
}

impl Identity {
    /// Reads `hello`.
    ///
    /// # Errors
    /// The id cannot be a part of topics.
    pub fn new(hello: &Event) -> Result<Self, String> {
        let id = hello.text("id").unwrap_or_default();
        let is_fine = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
        if id.is_empty() || id.len() > 64 || !id.chars().all(is_fine) {
            return Err(format!(
                "affectd's id '{id}' cannot be a part of topics; give it an id of letters, \
                 digits, '-' and '_' in its board file (affectd 0.2.0 or newer)"
            ));
        }
        Ok(Self {
            id: id.to_owned(),
            name: hello.text("name").unwrap_or("affectd").to_owned(),
            version: hello.text("version").unwrap_or_default().to_owned(),
        })
    }
}

/// What the camera does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Camera {
    #[default]
    Unknown,
    Streaming,
    Lost,
    Paused,
}

#[derive(Clone, Debug)]
struct Face {
    track: i64,
    time: f64,
    is_leading: bool,
    event: Event,
}

#[derive(Clone, Debug)]
struct Fatigue {
    track: Option<i64>,
    time: f64,
    event: Event,
}

/// What is known now.
#[derive(Clone, Debug, Default)]
pub struct World {
    camera: Camera,
    faces: Vec<Face>,
    /// The `time` from which no face counts.
    nobody_since: Option<f64>,
    fatigue: Vec<Fatigue>,
    health: Option<Event>,
    /// Whether states are repeated.
    is_repeated: f64,
    /// `time` and `wall` of the newest line.
    now: (f64, Option<Duration>),
}

/// What of the state is news when it changes. The rest is only repeated.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shown {
    pub expression: Option<String>,
    pub faces: Option<usize>,
    pub facing: Option<bool>,
    pub paused: Option<bool>,
}

/// The same of the eyes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ShownFatigue {
    pub state: Option<String>,
    pub reason: Option<String>,
}

impl World {
    /// Takes an event. Types that are not known, and lines without what their type
    /// must have, change nothing.
    pub fn take(&mut self, event: &Event) {
        let wall = event
            .text("wall")
            .and_then(|wall| humantime::parse_rfc3339(wall).ok());
        let wall = wall.and_then(|wall| wall.duration_since(std::time::UNIX_EPOCH).ok());
        self.now = (event.time(), wall);
        match event.kind() {
            "hello" => {
                self.is_repeated = event.number("period_ms").unwrap_or_default() / 1000.0;
            }
            "face" => self.face(event),
            "gone" => {
                if let Some(track) = event.integer("track") {
                    self.faces.retain(|face| face.track != track);
                    self.fatigue.retain(|fatigue| fatigue.track != Some(track));
                }
            }
            "none" => {
                self.nobody();
                self.camera = Camera::Streaming;
                self.nobody_since = Some(event.number("since").unwrap_or(event.time()));
            }
            "camera_lost" => {
                self.nobody();
                self.camera = Camera::Lost;
            }
            "paused" => {
                self.nobody();
                self.camera = Camera::Paused;
            }
            "camera_back" => {
                self.nobody();
                self.camera = Camera::Unknown;
            }
            "attention" => {
                let (track, facing) = (event.integer("track"), event.get("facing"));
                let face = self.faces.iter_mut().find(|face| Some(face.track) == track);
                if let (Some(face), Some(facing)) = (face, facing) {
                    face.event = with(&face.event, "facing", facing);
                }
            }
            "fatigue" => self.eyes(event),
            "health" => self.health = Some(event.clone()),
            _ => {}
        }
        self.forget();
    }

    fn nobody(&mut self) {
        self.faces.clear();
        self.nobody_since = None;
    }

    fn face(&mut self, event: &Event) {
        let (Some(track), Some(_)) = (event.integer("track"), event.text("label")) else {
            return;
        };
        self.camera = Camera::Streaming;
        self.nobody_since = None;
        let is_leading = event.flag("leading").unwrap_or_default();
        if is_leading {
            for face in &mut self.faces {
                face.is_leading = false;
            }
        }
        self.faces.retain(|face| face.track != track);
        if self.faces.len() < FACES {
            self.faces.push(Face {
                track,
                time: event.time(),
                is_leading,
                event: event.clone(),
            });
        }
    }

    fn eyes(&mut self, event: &Event) {
        let state = event.text("state").unwrap_or_default();
        if !FATIGUE_STATES.contains(&state) {
            return;
        }
        let track = event.integer("track");
        self.fatigue.retain(|fatigue| fatigue.track != track);
        if self.fatigue.len() < FACES {
            self.fatigue.push(Fatigue {
                track,
                time: event.time(),
                event: event.clone(),
            });
        }
    }

    /// Drops what should have been repeated since.
    fn forget(&mut self) {
        let now = self.now.0;
        self.fatigue
            .retain(|fatigue| now - fatigue.time <= FORGOTTEN_S);
        if self.is_repeated > 0.0 {
            let longest = FORGOTTEN_S.max(3.0 * self.is_repeated);
            self.faces.retain(|face| now - face.time <= longest);
        }
    }

    fn leading(&self) -> Option<&Face> {
        self.faces.iter().find(|face| face.is_leading)
    }

    /// The worst of all watched eyes.
    fn worst(&self) -> Option<&Event> {
        let severity = |event: &Event| {
            let state = event.text("state").unwrap_or_default();
            SEVERITY.iter().position(|known| *known == state)
        };
        self.fatigue
            .iter()
            .map(|fatigue| &fatigue.event)
            .min_by_key(|event| severity(event))
    }

    /// False between a line that ends the leading face and the one that says what
    /// comes in its place.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.camera != Camera::Streaming || self.leading().is_some() || self.nobody_since.is_some()
    }

    /// What of the state is news when it changes.
    #[must_use]
    pub fn shown(&self) -> Shown {
        let expression = match (self.leading(), self.faces.len()) {
            (Some(face), _) => {
                let label = face.event.text("label").unwrap_or_default();
                let known = EXPRESSIONS.iter().find(|known| **known == label);
                Some(known.map_or("uncertain", |known| known))
            }
            // The next line says which one leads.
            (None, 1..) => Some("uncertain"),
            (None, 0) => self.nobody_since.map(|_| "none"),
        };
        Shown {
            expression: expression.map(str::to_owned),
            faces: (self.camera == Camera::Streaming).then_some(self.faces.len()),
            facing: self.leading().and_then(|face| face.event.flag("facing")),
            paused: match self.camera {
                Camera::Unknown => None,
                Camera::Paused => Some(true),
                Camera::Streaming | Camera::Lost => Some(false),
            },
        }
    }

    /// What of the eyes is news when it changes.
    #[must_use]
    pub fn shown_fatigue(&self) -> ShownFatigue {
        let text = |key| {
            self.worst()
                .and_then(|event| event.text(key))
                .map(str::to_owned)
        };
        ShownFatigue {
            state: text("state"),
            reason: text("reason"),
        }
    }

    /// The message of the topic `state`.
    #[must_use]
    pub fn state(&self, details: bool) -> String {
        let shown = self.shown();
        let leading = self.leading().map(|face| &face.event);
        let since = leading
            .and_then(|event| event.number("since"))
            .or(self.nobody_since);
        let mut state = json!({
            "expression": shown.expression,
            "confidence": leading.and_then(|event| event.number("confidence")),
            "faces": shown.faces,
            "facing": shown.facing,
            "paused": shown.paused,
            "since": since.and_then(|since| self.wall(since)),
        });
        if let Some(event) = leading.filter(|_| details) {
            for (key, value) in event.keys() {
                let is_said = state.get(key).is_some();
                let is_plumbing = matches!(
                    key.as_str(),
                    "schema" | "type" | "label" | "leading" | "change"
                );
                if !is_said && !is_plumbing {
                    state[key] = value.clone();
                }
            }
        }
        state.to_string()
    }

    /// The message of the topic `fatigue`; none before the first event about eyes.
    #[must_use]
    pub fn fatigue(&self) -> Option<String> {
        let event = self.worst()?;
        let mut message = Map::new();
        for key in [
            "state",
            "reason",
            "valid",
            "perclos",
            "closure_ms",
            "calibrated",
        ] {
            message.insert(key.to_owned(), event.get(key).cloned().unwrap_or_default());
        }
        let since = event.number("since").and_then(|since| self.wall(since));
        message.insert("since".to_owned(), json!(since));
        Some(Value::Object(message).to_string())
    }

    /// The message of the topic `change`.
    #[must_use]
    pub fn change(&self, from: Option<&str>) -> Option<String> {
        let to = self.shown().expression?;
        let confidence = self
            .leading()
            .and_then(|face| face.event.number("confidence"));
        Some(json!({ "event_type": to, "from": from, "confidence": confidence }).to_string())
    }

    /// The message of the topic `health`, with what the bridge adds; none before
    /// the first event about it.
    #[must_use]
    pub fn health(&self, bridge: &Value) -> Option<String> {
        let mut keys = self.health.as_ref()?.keys().clone();
        keys.remove("change");
        keys.insert("bridge".to_owned(), bridge.clone());
        Some(Value::Object(keys).to_string())
    }

    /// Whether values of an optional component have come with this event.
    #[must_use]
    pub fn has(event: &Event, component: &str) -> bool {
        match component {
            "facing" => event.get("facing").is_some(),
            "fatigue" | "fatigue_valid" => event.kind() == "fatigue",
            "temperature" => event.kind() == "health" && event.number("temperature").is_some(),
            _ => false,
        }
    }

    /// The date of a `time` of the source, if it has one.
    fn wall(&self, time: f64) -> Option<String> {
        let (now, wall) = self.now;
        let ago = Duration::try_from_secs_f64(now - time).ok()?;
        let date = std::time::UNIX_EPOCH + wall?.checked_sub(ago)?;
        Some(humantime::format_rfc3339_seconds(date).to_string())
    }
}

fn with(event: &Event, key: &str, value: &Value) -> Event {
    let mut keys = event.keys().clone();
    keys.insert(key.to_owned(), value.clone());
    Event::parse(&Value::Object(keys).to_string()).unwrap_or_else(|_| event.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(keys: &str) -> Event {
        let line = format!("{{\"schema\":1,{keys}}}");
        Event::parse(&line).unwrap_or_else(|bad| panic!("{line}: {bad}"))
    }

    fn face(time: f64, track: u32, leading: bool, label: &str) -> Event {
        event(&format!(
            "\"type\":\"face\",\"time\":{time},\"wall\":\"2026-01-31T12:00:10.000Z\",\"frame\":1,\
             \"track\":{track},\"leading\":{leading},\"box\":[1,2,3,4],\"label\":\"{label}\",\
             \"confidence\":0.8,\"since\":{}",
            time - 2.0
        ))
    }

    fn world(events: &[Event]) -> World {
        let mut world = World::default();
        world.take(&event("\"type\":\"hello\",\"time\":0,\"period_ms\":1000"));
        for event in events {
            world.take(event);
        }
        world
    }

    fn expression(world: &World) -> Option<String> {
        world.shown().expression
    }

    #[test]
    fn all_is_unknown_at_first() {
        let world = world(&[]);
        assert_eq!(world.shown(), Shown::default());
        assert_eq!(
            world.state(true),
            r#"{"confidence":null,"expression":null,"faces":null,"facing":null,"paused":null,"since":null}"#
        );
        assert_eq!(world.fatigue(), None);
        assert_eq!(world.health(&json!({})), None);
        assert_eq!(world.change(None), None);
    }

    #[test]
    fn the_leading_face_is_shown_and_all_are_counted() {
        let world = world(&[face(10.0, 1, true, "happy"), face(10.0, 2, false, "sad")]);
        let state: Value = serde_json::from_str(&world.state(false)).unwrap();
        assert_eq!(
            state,
            json!({"expression": "happy", "confidence": 0.8, "faces": 2, "facing": null,
                   "paused": false, "since": "2026-01-31T12:00:08Z"})
        );
        let details: Value = serde_json::from_str(&world.state(true)).unwrap();
        assert_eq!(details["box"], json!([1, 2, 3, 4]));
        assert_eq!(details["track"], 1);
        assert_eq!(details["since"], "2026-01-31T12:00:08Z");
    }

    #[test]
    fn faces_go() {
        let mut world = world(&[face(10.0, 1, true, "happy"), face(10.0, 2, false, "sad")]);
        world.take(&event("\"type\":\"gone\",\"time\":11,\"track\":1"));
        assert_eq!(expression(&world).as_deref(), Some("uncertain"));
        world.take(&face(11.0, 2, true, "sad"));
        assert_eq!(expression(&world).as_deref(), Some("sad"));
        world.take(&event("\"type\":\"none\",\"time\":12,\"since\":12"));
        assert_eq!(expression(&world).as_deref(), Some("none"));
        assert_eq!(world.shown().faces, Some(0));
    }

    #[test]
    fn between_two_leading_faces_nothing_is_settled() {
        let mut world = world(&[face(10.0, 1, true, "happy")]);
        assert!(world.is_settled());
        world.take(&event("\"type\":\"gone\",\"time\":11,\"track\":1"));
        assert!(!world.is_settled());
        world.take(&face(11.0, 2, true, "sad"));
        assert!(world.is_settled());
        world.take(&event("\"type\":\"none\",\"time\":12,\"since\":12"));
        assert!(world.is_settled());
    }

    #[test]
    fn without_a_camera_nothing_is_known_but_the_pause() {
        for (line, paused) in [("camera_lost", false), ("paused", true)] {
            let mut world = world(&[face(10.0, 1, true, "happy")]);
            world.take(&event(&format!(
                "\"type\":\"{line}\",\"time\":11,\"since\":11"
            )));
            let shown = Shown {
                paused: Some(paused),
                ..Shown::default()
            };
            assert_eq!(world.shown(), shown, "{line}");
            world.take(&event("\"type\":\"camera_back\",\"time\":12,\"after\":1"));
            assert_eq!(world.shown(), Shown::default());
            world.take(&event("\"type\":\"none\",\"time\":12,\"since\":12"));
            assert_eq!(expression(&world).as_deref(), Some("none"));
        }
    }

    #[test]
    fn a_face_whose_end_was_dropped_is_forgotten() {
        let mut world = world(&[face(10.0, 1, true, "happy"), face(10.0, 2, false, "sad")]);
        for second in 11..16 {
            world.take(&face(f64::from(second), 1, true, "happy"));
        }
        assert_eq!(world.shown().faces, Some(2));
        world.take(&face(16.0, 1, true, "happy"));
        assert_eq!(world.shown().faces, Some(1));
    }

    #[test]
    fn attention_changes_facing() {
        let mut world = world(&[face(10.0, 1, true, "happy")]);
        world.take(&event(
            "\"type\":\"attention\",\"time\":10.5,\"track\":1,\"facing\":true,\"since\":10",
        ));
        assert_eq!(world.shown().facing, Some(true));
    }

    #[test]
    fn the_worst_eyes_are_shown_and_forgotten() {
        let eyes = |time: u32, track: &str, state: &str| {
            event(&format!(
                "\"type\":\"fatigue\",\"time\":{time},\"track\":{track},\"state\":\"{state}\",\
                 \"reason\":null,\"since\":{time},\"valid\":0.9,\"perclos\":null"
            ))
        };
        let mut world = world(&[
            eyes(10, "1", "ok"),
            eyes(10, "2", "asleep"),
            eyes(10, "null", "nobody"),
        ]);
        assert_eq!(world.shown_fatigue().state.as_deref(), Some("asleep"));
        let message: Value = serde_json::from_str(&world.fatigue().unwrap()).unwrap();
        assert_eq!(message["valid"], 0.9);
        assert_eq!(message["reason"], Value::Null);
        world.take(&eyes(15, "1", "ok"));
        assert_eq!(world.shown_fatigue().state.as_deref(), Some("asleep"));
        world.take(&eyes(16, "1", "ok"));
        assert_eq!(world.shown_fatigue().state.as_deref(), Some("ok"));
        world.take(&eyes(17, "1", "of the future"));
        assert_eq!(world.shown_fatigue().state.as_deref(), Some("ok"));
    }

    #[test]
    fn lines_that_lack_keys_or_are_unknown_change_nothing() {
        let mut world = world(&[face(10.0, 1, true, "happy")]);
        let before = world.shown();
        for line in [
            "face",
            "gone",
            "attention",
            "fatigue",
            "of the future",
            "reload",
        ] {
            world.take(&event(&format!("\"type\":\"{line}\",\"time\":10")));
        }
        assert_eq!(world.shown(), before);
        assert_eq!(world.fatigue(), None);
    }

    #[test]
    fn lines_that_lie_do_not_fill_the_memory() {
        let mut world = world(&[]);
        for track in 0..10_000 {
            world.take(&face(10.0, track, false, "sad"));
        }
        assert_eq!(world.faces.len(), FACES);
    }

    #[test]
    fn a_label_of_the_future_is_uncertain() {
        let world = world(&[face(10.0, 1, true, "contempt")]);
        assert_eq!(expression(&world).as_deref(), Some("uncertain"));
    }

    #[test]
    fn an_id_that_is_no_topic_is_refused() {
        let hello = |id: &str| {
            Identity::new(&event(&format!(
                "\"type\":\"hello\",\"id\":\"{id}\",\"name\":\"Küche\""
            )))
        };
        assert_eq!(hello("robot-7").unwrap().name, "Küche");
        for id in ["", "a/b", "+", "é", &"x".repeat(65)] {
            assert!(hello(id).unwrap_err().contains("board file"), "{id}");
        }
    }
}
