//! Turns affectd's events into ROS messages. Knows the present state, and no
//! sockets: what goes in are events, what comes out are messages.

use std::time::Duration;

use serde_json::{Map, Value};

use crate::clock::{Clock, Now};
use crate::event::{Body, Event, Face, Fatigue, Hello};
use crate::ids::IdPool;
use crate::messages::{
    ActionUnits, DiagnosticArray, DiagnosticStatus, EYES_CLOSED, Expression, FaceMessage, Header,
    IdsList, JAW_DROP, KeyValue, Level, Message, PerUnit, PoseStamped, RegionOfInterest, Time,
    TransformStamped, Transforms,
};
use crate::pose::{Angles, Place, pose};

/// A fault stays in the bridge's diagnostics for this long after it happened,
/// so that a reader who looks once a minute sees it.
const SHOWN: Duration = Duration::from_secs(60);

/// A face that is in the picture now.
#[derive(Debug)]
struct Tracked {
    /// Its number in affectd's events.
    track: u64,
    /// Its id, as a number in the pool.
    id: usize,
    /// When the last line about it came.
    seen: Duration,
    /// Whether its last action units said something.
    has_units: bool,
    /// Whether it points to the camera, if known.
    facing: Option<bool>,
}

/// The connection to affectd.
#[derive(Debug)]
enum Link {
    /// Lines come.
    Up,
    /// Why they do not.
    Down(String),
}

/// What is known of the camera from other events than `health`.
#[derive(Debug)]
enum Camera {
    Unknown,
    Streaming,
    Lost(String),
    Paused(String),
}

#[derive(Debug)]
struct Alarm {
    state: String,
    acknowledged: bool,
}

/// What happened since the bridge started.
#[derive(Debug, Default)]
pub struct Counters {
    /// Lines read from the event socket.
    pub lines: u64,
    /// Lines that could not be understood.
    pub invalid: u64,
    /// Lines that affectd left out (its `dropped` events).
    pub dropped: u64,
    /// Connections to the event socket.
    pub connections: u64,
    /// Faces that no line ended.
    pub expired: u64,
    /// Lines about faces for which no id was free.
    pub without_id: u64,
    /// Messages that could not be published.
    pub unpublished: u64,
    /// How often the DDS participant was made.
    pub participants: u64,
}

/// The state between affectd and ROS.
#[derive(Debug)]
pub struct Bridge {
    frame_id: String,
    /// The node's name with its namespace, before the names of statuses.
    node: String,
    pool: IdPool,
    faces: Vec<Tracked>,
    clock: Clock,
    link: Link,
    hello: Option<Hello>,
    camera: Camera,
    health: Option<Map<String, Value>>,
    is_hot: bool,
    /// Whether affectd says who faces the camera.
    knows_attention: bool,
    /// Whether affectd watches eyes.
    knows_fatigue: bool,
    alarm: Option<Alarm>,
    /// The capture time of the last line.
    stamp: Time,
    /// When the last line came.
    last_line: Duration,
    /// When the bridge last lost something, and what.
    loss: Option<(Duration, String)>,
    /// The addresses that are used now.
    addresses: String,
    pub counters: Counters,
}

impl Bridge {
    /// Nothing is known yet. `node` is the node's name with its namespace, and
    /// `letter` begins all ids of faces.
    pub fn new(frame_id: &str, node: &str, letter: char, now: Now) -> Self {
        Self {
            frame_id: frame_id.to_owned(),
            node: node.trim_start_matches('/').to_owned(),
            pool: IdPool::new(letter),
            faces: Vec::new(),
            clock: Clock::default(),
            link: Link::Down("none since the start; the log says why".to_owned()),
            hello: None,
            camera: Camera::Unknown,
            health: None,
            is_hot: false,
            knows_attention: false,
            knows_fatigue: false,
            alarm: None,
            stamp: now.wall.into(),
            last_line: now.monotonic,
            loss: None,
            addresses: String::new(),
            counters: Counters::default(),
        }
    }

    /// The first letter of all ids of faces.
    pub const fn letter(&self) -> char {
        self.pool.letter()
    }

    /// The number of faces.
    pub const fn faces(&self) -> usize {
        self.faces.len()
    }

    /// Whether there is a connection to affectd.
    pub const fn is_connected(&self) -> bool {
        matches!(self.link, Link::Up)
    }

    /// Which addresses the DDS participant uses, for diagnostics.
    pub fn use_addresses(&mut self, addresses: String) {
        self.addresses = addresses;
        self.counters.participants += 1;
    }

    /// The event socket is open. affectd sends the whole state again.
    pub fn connected(&mut self, now: Now, out: &mut Vec<Message>) {
        self.counters.connections += 1;
        self.forget(now, out);
        self.link = Link::Up;
        self.last_line = now.monotonic;
    }

    /// The event socket is closed, or cannot be opened: whatever was known holds
    /// no more.
    pub fn disconnected(&mut self, why: &str, now: Now, out: &mut Vec<Message>) {
        self.forget(now, out);
        self.link = Link::Down(why.to_owned());
        // It may be short, and diagnostics come once a second.
        self.loss = Some((
            now.monotonic,
            format!("the connection to affectd ended: {why}"),
        ));
        if std::mem::take(&mut self.knows_fatigue) {
            let unknown = |name: &str| {
                let value = vec![text("reason", why)];
                self.status(name, Level::Stale, "unknown", value)
            };
            let status = vec![unknown("fatigue"), unknown("alarm")];
            let header = self.header();
            out.push(Message::Fatigue(DiagnosticArray { header, status }));
        }
    }

    fn forget(&mut self, now: Now, out: &mut Vec<Message>) {
        self.stamp = now.wall.into();
        self.end_all(now, out);
        self.knows_attention = false;
        self.hello = None;
        self.health = None;
        self.camera = Camera::Unknown;
        self.is_hot = false;
        self.alarm = None;
    }

    /// A line that is no event of schema 1.
    pub fn invalid(&mut self, what: &str, now: Now) {
        self.counters.lines += 1;
        self.counters.invalid += 1;
        self.last_line = now.monotonic;
        self.loss = Some((now.monotonic, format!("a line was not understood: {what}")));
    }

    /// A message could not be published.
    pub fn unpublished(&mut self, what: &str, now: Now) {
        self.counters.unpublished += 1;
        self.loss = Some((now.monotonic, format!("a message was lost: {what}")));
    }

    /// Takes an event, and appends the messages that say what it says.
    pub fn take(&mut self, event: Event, now: Now, out: &mut Vec<Message>) {
        self.counters.lines += 1;
        self.last_line = now.monotonic;
        if let Body::Hello(hello) = event.body {
            self.hello = Some(hello);
            return;
        }
        let live = self.hello.as_ref().is_some_and(|hello| hello.live);
        self.stamp = self.clock.stamp(event.time, live, now);
        match event.body {
            Body::Face(face) => self.face(&face, now, out),
            Body::Attention(attention) => {
                self.knows_attention = true;
                if let Some(face) = self.find(attention.track) {
                    face.facing = Some(attention.facing);
                }
                out.push(self.attention());
            }
            Body::Gone(gone) => self.end(|face| face.track == gone.track, now, out),
            Body::Nobody => {
                self.camera = Camera::Streaming;
                self.end_all(now, out);
            }
            Body::CameraLost(lost) => {
                self.camera = Camera::Lost(lost.reason);
                self.end_all(now, out);
            }
            Body::CameraBack => self.camera = Camera::Streaming,
            Body::Paused(paused) => {
                self.camera = Camera::Paused(paused.by.join(" and "));
                self.end_all(now, out);
            }
            Body::Temperature(temperature) => self.is_hot = temperature.hot,
            Body::Fatigue(fatigue) => {
                let message = self.fatigue(&fatigue, event.time);
                out.push(message);
            }
            Body::Alarm(alarm) => {
                self.knows_fatigue = true;
                self.alarm = alarm.on.then_some(Alarm {
                    state: alarm.state,
                    acknowledged: alarm.acknowledged,
                });
                let (header, status) = (self.header(), vec![self.alarm_status()]);
                out.push(Message::Fatigue(DiagnosticArray { header, status }));
            }
            Body::Health(health) => {
                self.is_hot = health.get("hot").and_then(Value::as_bool) == Some(true);
                self.health = Some(health);
            }
            Body::Dropped(dropped) => {
                self.counters.dropped += dropped.lines;
                let what = format!(
                    "affectd left out {} lines: it is read too slowly",
                    dropped.lines
                );
                self.loss = Some((now.monotonic, what));
            }
            Body::Goodbye(_) => self.end_all(now, out),
            Body::Hello(_) | Body::Reload(_) | Body::Other => {}
        }
    }

    /// Once a second: repeats what subscribers that came late have missed, ends
    /// faces that affectd no longer mentions, and says how everything is.
    pub fn tick(&mut self, now: Now, out: &mut Vec<Message>) {
        if let Some(limit) = self.patience() {
            let is_over = |face: &Tracked| now.monotonic.saturating_sub(face.seen) > limit;
            let over = self.faces.iter().filter(|face| is_over(face)).count();
            if over > 0 {
                self.counters.expired += over as u64;
                self.end(is_over, now, out);
            }
        }
        out.push(self.tracked());
        if self.knows_attention {
            out.push(self.attention());
        }
        out.push(self.diagnostics(now));
    }

    /// After this time without a line, what affectd said no longer holds. None
    /// if affectd does not repeat its state.
    fn patience(&self) -> Option<Duration> {
        let period = self.hello.as_ref()?.period_ms;
        let period = Duration::from_millis(period);
        (!period.is_zero()).then(|| period.saturating_mul(3) + Duration::from_secs(1))
    }

    fn header(&self) -> Header {
        Header {
            stamp: self.stamp,
            frame_id: self.frame_id.clone(),
        }
    }

    fn find(&mut self, track: u64) -> Option<&mut Tracked> {
        self.faces.iter_mut().find(|face| face.track == track)
    }

    /// The id of a face that is in the picture.
    fn id_of(&self, track: u64) -> Option<String> {
        let face = self.faces.iter().find(|face| face.track == track)?;
        Some(self.pool.name(face.id))
    }

    fn end(&mut self, which: impl Fn(&Tracked) -> bool, now: Now, out: &mut Vec<Message>) {
        let before = self.faces.len();
        let pool = &mut self.pool;
        let mut was_facing = false;
        self.faces.retain(|face| {
            let ends = which(face);
            if ends {
                pool.release(face.id, now.monotonic);
                was_facing |= face.facing == Some(true);
            }
            !ends
        });
        if self.faces.len() < before {
            out.push(self.tracked());
        }
        if was_facing {
            out.push(self.attention());
        }
    }

    fn end_all(&mut self, now: Now, out: &mut Vec<Message>) {
        self.end(|_| true, now, out);
    }

    fn tracked(&self) -> Message {
        let ids = self.faces.iter().map(|face| self.pool.name(face.id));
        Message::Tracked(IdsList {
            header: self.header(),
            ids: ids.collect(),
        })
    }

    fn attention(&self) -> Message {
        let facing = self.faces.iter().filter(|face| face.facing == Some(true));
        Message::Attention(IdsList {
            header: self.header(),
            ids: facing.map(|face| self.pool.name(face.id)).collect(),
        })
    }

    fn face(&mut self, face: &Face, now: Now, out: &mut Vec<Message>) {
        self.camera = Camera::Streaming;
        if self.find(face.track).is_none() {
            let Some(id) = self.pool.take(now.monotonic) else {
                self.counters.without_id += 1;
                self.loss = Some((now.monotonic, "a face had to wait for an id".to_owned()));
                return;
            };
            self.faces.push(Tracked {
                track: face.track,
                id,
                seen: now.monotonic,
                has_units: false,
                facing: None,
            });
            out.push(self.tracked());
        }
        let units = action_units(face);
        let Some(tracked) = self.find(face.track) else {
            return;
        };
        tracked.seen = now.monotonic;
        let id = tracked.id;
        // Once more after they became unknown, so that no old ones stay.
        let had_units = std::mem::replace(&mut tracked.has_units, units.is_some());
        let facing_before = tracked.facing;
        if face.facing.is_some() {
            tracked.facing = face.facing;
        }
        let faces = tracked.facing == Some(true);
        self.knows_attention |= face.facing.is_some();

        let header = self.header();
        out.push(Message::Face(
            id,
            FaceMessage::Region(region(face, header.clone())),
        ));
        out.push(Message::Face(
            id,
            FaceMessage::Expression(expression(face, header.clone())),
        ));
        if units.is_some() || had_units {
            let (intensity, confidence) = units.unwrap_or((PerUnit::ZERO, PerUnit::ZERO));
            let units = ActionUnits {
                header: header.clone(),
                intensity,
                confidence,
            };
            out.push(Message::Face(id, FaceMessage::ActionUnits(Box::new(units))));
        }
        self.pose(face, id, header, out);
        if faces != (facing_before == Some(true)) {
            out.push(self.attention());
        }
    }

    fn pose(&self, face: &Face, id: usize, header: Header, out: &mut Vec<Message>) {
        let (Some(yaw), Some(pitch), Some(roll)) = (face.yaw, face.pitch, face.roll) else {
            return;
        };
        let angles = Angles { yaw, pitch, roll };
        let [x, y, width, height] = face.rect;
        let place = Place {
            offset: (
                x + width / 2.0 - face.size[0] / 2.0,
                y + height / 2.0 - face.size[1] / 2.0,
            ),
            side: width,
        };
        let pose = pose(angles, place, face.distance_m);
        if pose.position.z.is_finite() {
            let name = self.pool.name(id);
            let child = |child_frame_id: String, transform| TransformStamped {
                header: header.clone(),
                child_frame_id,
                transform,
            };
            let mut gaze = pose;
            gaze.orientation = angles.gaze();
            let transforms = vec![
                child(format!("face_{name}"), pose),
                child(format!("gaze_{name}"), gaze),
            ];
            out.push(Message::Transforms(Transforms { transforms }));
        }
        let pose = PoseStamped { header, pose };
        out.push(Message::Face(id, FaceMessage::Pose(pose)));
    }

    fn fatigue(&mut self, fatigue: &Fatigue, time: f64) -> Message {
        self.knows_fatigue = true;
        let id = fatigue.track.and_then(|track| self.id_of(track));
        let level = fatigue_level(&fatigue.state);
        let mut values = Vec::new();
        if let Some(id) = &id {
            values.push(text("face", id));
        }
        for (key, value) in &fatigue.figures {
            match (key.as_str(), value.as_f64()) {
                ("change", _) => {}
                // On affectd's clock, which subscribers do not have.
                ("since", Some(since)) => {
                    values.push(text("state_s", &format!("{:.3}", time - since)));
                }
                _ => flatten(key, value, &mut values),
            }
        }
        let name = match &id {
            Some(id) => format!("fatigue {id}"),
            None => "fatigue".to_owned(),
        };
        let status = vec![
            self.status(&name, level, &fatigue.state, values),
            self.alarm_status(),
        ];
        let header = self.header();
        Message::Fatigue(DiagnosticArray { header, status })
    }

    fn alarm_status(&self) -> DiagnosticStatus {
        let Some(alarm) = &self.alarm else {
            return self.status("alarm", Level::Ok, "none", Vec::new());
        };
        let acknowledged = vec![text("acknowledged", &alarm.acknowledged.to_string())];
        let level = fatigue_level(&alarm.state);
        self.status("alarm", level, &alarm.state, acknowledged)
    }

    fn status(
        &self,
        name: &str,
        level: Level,
        message: &str,
        values: Vec<KeyValue>,
    ) -> DiagnosticStatus {
        DiagnosticStatus {
            level,
            name: format!("{}: {name}", self.node),
            message: message.to_owned(),
            hardware_id: self.hello.as_ref().map_or("", |hello| &hello.id).to_owned(),
            values,
        }
    }

    fn diagnostics(&self, now: Now) -> Message {
        // Of the present moment, not of a frame.
        let header = Header {
            stamp: now.wall.into(),
            frame_id: String::new(),
        };
        let status = vec![self.camera_status(now), self.bridge_status(now)];
        Message::Diagnostics(DiagnosticArray { header, status })
    }

    fn camera_status(&self, now: Now) -> DiagnosticStatus {
        let mut values = Vec::new();
        if let Some(hello) = &self.hello {
            for (key, value) in [
                ("name", &hello.name),
                ("version", &hello.version),
                ("source", &hello.source),
                ("model", &hello.model),
            ] {
                values.push(text(key, value));
            }
        }
        for (key, value) in self.health.iter().flatten() {
            if key != "change" {
                flatten(key, value, &mut values);
            }
        }
        let (level, message) = self.camera_state(now);
        self.status("camera", level, &message, values)
    }

    fn camera_state(&self, now: Now) -> (Level, String) {
        if let Link::Down(why) = &self.link {
            return (Level::Error, format!("no connection to affectd: {why}"));
        }
        let silent = now.monotonic.saturating_sub(self.last_line);
        if self.patience().is_some_and(|patience| silent > patience) {
            let silent = silent.as_secs();
            return (
                Level::Error,
                format!("affectd has sent nothing for {silent} s"),
            );
        }
        let camera = |health: &Map<String, Value>| Some(health.get("camera")?.as_str()?.to_owned());
        let by_health = self.health.as_ref().and_then(camera);
        match &self.camera {
            Camera::Lost(reason) => (Level::Error, format!("camera lost: {reason}")),
            Camera::Paused(by) => (Level::Warn, format!("paused by {by}")),
            _ if self.is_hot => (Level::Warn, "too hot: frames are skipped".to_owned()),
            Camera::Streaming => (Level::Ok, "streaming".to_owned()),
            Camera::Unknown => match by_health.as_deref() {
                Some("streaming") => (Level::Ok, "streaming".to_owned()),
                Some("lost") => (Level::Error, "camera lost".to_owned()),
                Some(other) => (Level::Warn, other.to_owned()),
                None => (Level::Warn, "no frame yet".to_owned()),
            },
        }
    }

    fn bridge_status(&self, now: Now) -> DiagnosticStatus {
        let counters = &self.counters;
        let mut values = vec![text("addresses", &self.addresses)];
        for (key, count) in [
            ("faces", self.faces.len() as u64),
            ("ids_in_use", self.pool.taken() as u64),
            ("lines", counters.lines),
            ("lines_invalid", counters.invalid),
            ("lines_dropped", counters.dropped),
            ("connections", counters.connections),
            ("faces_expired", counters.expired),
            ("lines_without_id", counters.without_id),
            ("messages_unpublished", counters.unpublished),
            ("participants", counters.participants),
        ] {
            values.push(text(key, &count.to_string()));
        }
        let recent = self.loss.as_ref().filter(|(at, _)| {
            let ago = now.monotonic.saturating_sub(*at);
            ago < SHOWN
        });
        match recent {
            Some((_, what)) => self.status("bridge", Level::Warn, what, values),
            None => self.status("bridge", Level::Ok, "ok", values),
        }
    }
}

/// The word of `hri_msgs/Expression` for a label of affectd. Empty for
/// `uncertain`: the list of words has none for it, and a face whose expression
/// is not known is not neutral.
fn word(label: &str) -> &str {
    match label {
        "fear" => "scared",
        "surprise" => "surprised",
        "disgust" => "disgusted",
        "angry" | "happy" | "sad" | "neutral" => label,
        _ => "",
    }
}

fn region(face: &Face, header: Header) -> RegionOfInterest {
    let [x, y, width, height] = face.rect;
    let part = |at: f64, of: f64| (at / of).clamp(0.0, 1.0) as f32;
    RegionOfInterest {
        header,
        xmin: part(x, face.size[0]),
        ymin: part(y, face.size[1]),
        xmax: part(x + width, face.size[0]),
        ymax: part(y + height, face.size[1]),
        c: face.presence.unwrap_or(f32::NAN),
    }
}

fn expression(face: &Face, header: Header) -> Expression {
    let word = word(&face.label);
    Expression {
        header,
        expression: word.to_owned(),
        valence: face.valence.unwrap_or(f32::NAN),
        arousal: face.arousal.unwrap_or(f32::NAN),
        // The confidence belongs to the word.
        confidence: if word.is_empty() {
            0.0
        } else {
            face.confidence
        },
    }
}

/// Intensities and confidences, if any of them is known. A confidence of 0 says
/// that a unit is not known.
fn action_units(face: &Face) -> Option<(PerUnit, PerUnit)> {
    // Both eyes are closed as far as the more open one is: a wink is no 43.
    let open = match (face.eye_openness_left, face.eye_openness_right) {
        (Some(left), Some(right)) => Some(left.max(right)),
        (one, other) => one.or(other),
    };
    let (mut intensity, mut confidence) = (PerUnit::ZERO, PerUnit::ZERO);
    let closed = open.map(|open| 1.0 - open);
    let units = [(EYES_CLOSED, closed), (JAW_DROP, face.jaw)];
    let mut known = false;
    for (code, value) in units {
        if let Some(value) = value {
            intensity.0[code] = value.clamp(0.0, 1.0);
            // All of these come from the face net, which says how sure it is of
            // the face and not how sure of each figure.
            confidence.0[code] = face.presence.unwrap_or(1.0);
            known = true;
        }
    }
    known.then_some((intensity, confidence))
}

fn fatigue_level(state: &str) -> Level {
    match state {
        "ok" => Level::Ok,
        "drowsy" => Level::Warn,
        "microsleep" | "asleep" | "unresponsive" => Level::Error,
        // Nobody is there, or the eyes cannot be read.
        _ => Level::Stale,
    }
}

fn text(key: &str, value: &str) -> KeyValue {
    KeyValue {
        key: key.to_owned(),
        value: value.to_owned(),
    }
}

/// Appends a JSON value as text; of an object, each of its values; of an
/// unknown one (null), nothing.
fn flatten(key: &str, value: &Value, values: &mut Vec<KeyValue>) {
    match value {
        Value::Null => {}
        Value::String(string) => values.push(text(key, string)),
        Value::Object(object) => {
            for (inner, value) in object {
                flatten(&format!("{key}.{inner}"), value, values);
            }
        }
        Value::Array(array) => {
            let items = array.iter().map(|item| match item {
                Value::String(string) => string.clone(),
                other => other.to_string(),
            });
            values.push(text(key, &items.collect::<Vec<_>>().join(" ")));
        }
        other => values.push(text(key, &other.to_string())),
    }
}

#[cfg(test)]
mod tests;
