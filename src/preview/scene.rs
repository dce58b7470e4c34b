//! What the preview says besides the picture, as JSON.

use std::time::Instant;

use serde::ser::{Serialize, SerializeMap as _, Serializer};

use super::advice;
use super::history::History;
use super::measure::Measured;
use crate::decide::fatigue::FatigueDecision;
use crate::health::Health;
use crate::observe::record::{serialize_face, serialize_landmarks, to_decimals};
use crate::output::gpio::{Level, Levels};
use crate::report::{CameraState, FaceReport};
use crate::snapshot::Snapshot;

/// What the last shot shows.
#[derive(Debug, Default)]
pub struct Scene {
    /// When it was taken; `None` before the first and while nobody watches.
    pub at: Option<Instant>,
    pub frame: u64,
    pub camera: CameraState,
    /// Why the camera is lost, if it is.
    pub reason: String,
    /// The size of the frame in pixels; (0, 0) without one.
    pub size: (u32, u32),
    pub faces: Vec<FaceReport>,
    pub fatigue: Option<FatigueDecision>,
    /// Of the leading face, or of the whole picture; `None` without a picture.
    pub measured: Option<Measured>,
    pub advice: Vec<&'static str>,
    pub history: History,
}

impl Scene {
    /// The largest side of the leading face's box.
    pub fn face_side(&self) -> Option<u32> {
        let face = self.faces.first()?;
        Some(face.rect.width.max(face.rect.height))
    }
}

/// Everything, for `/state`.
pub struct State<'a> {
    pub scene: &'a Scene,
    pub snapshot: &'a Snapshot,
    pub levels: &'a Levels,
    /// How many clients watch, and for how many seconds they still can.
    pub clients: usize,
    pub ends_in: u64,
    pub now: Instant,
}

impl Serialize for State<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (scene, snapshot) = (self.scene, self.snapshot);
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("id", &snapshot.hello.id)?;
        map.serialize_entry("name", &snapshot.hello.name)?;
        map.serialize_entry("version", env!("CARGO_PKG_VERSION"))?;
        map.serialize_entry("model", &snapshot.hello.model)?;
        map.serialize_entry("source", &snapshot.hello.source)?;
        map.serialize_entry("clients", &self.clients)?;
        map.serialize_entry("ends_in", &self.ends_in)?;
        // Before the first shot only the loop's word is known.
        let camera = match scene.at {
            Some(_) => scene.camera,
            None => snapshot.health.camera,
        };
        map.serialize_entry("camera", camera.name())?;
        let reason = match scene.at {
            Some(_) => &*scene.reason,
            None if camera == CameraState::Lost => &*snapshot.lost_reason,
            None => "",
        };
        if !reason.is_empty() {
            map.serialize_entry("reason", reason)?;
        }
        map.serialize_entry("advice", &scene.advice)?;
        if let Some(at) = scene.at.filter(|_| scene.measured.is_some()) {
            map.serialize_entry("frame", &scene.frame)?;
            map.serialize_entry("size", &scene.size)?;
            let age = self.now.saturating_duration_since(at);
            map.serialize_entry("age_ms", &(age.as_millis() as u64))?;
        }
        if let Some(measured) = &scene.measured {
            map.serialize_entry("brightness", &to_decimals(measured.brightness, 3))?;
            if let Some(sharpness) = measured.sharpness {
                map.serialize_entry("sharpness", &to_decimals(sharpness, 3))?;
            }
        }
        if let Some(side) = scene.face_side() {
            map.serialize_entry("face_size", &side)?;
        }
        map.serialize_entry("limits", &Limits)?;
        map.serialize_entry("faces", &Faces(&scene.faces))?;
        if let Some(fatigue) = &scene.fatigue {
            map.serialize_entry("eyes", &Eyes(fatigue))?;
        }
        map.serialize_entry("history", &scene.history)?;
        map.serialize_entry("lines", &Lines(self.levels))?;
        map.serialize_entry("health", &OfHealth(&snapshot.health))?;
        map.end()
    }
}

/// The values from which on advice is given.
struct Limits;

impl Serialize for Limits {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("dark", &to_decimals(advice::DARK, 3))?;
        map.serialize_entry("bright", &to_decimals(advice::BRIGHT, 3))?;
        map.serialize_entry("blurred", &to_decimals(advice::BLURRED, 3))?;
        map.serialize_entry("face_small", &advice::FACE_SMALL)?;
        map.end()
    }
}

struct Faces<'a>(&'a [FaceReport]);

impl Serialize for Faces<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(OfFace))
    }
}

struct OfFace<'a>(&'a FaceReport);

impl Serialize for OfFace<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let face = self.0;
        let decision = &face.decision.expression;
        let rect = face.rect;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("track", &face.id)?;
        map.serialize_entry("box", &(rect.x, rect.y, rect.width, rect.height))?;
        map.serialize_entry("label", decision.label.name())?;
        map.serialize_entry("confidence", &to_decimals(decision.confidence, 4))?;
        let probabilities = decision.probabilities.0.map(|p| to_decimals(p, 4) as f32);
        map.serialize_entry(
            "probabilities",
            &crate::observe::expression::Probabilities(probabilities),
        )?;
        if let Some(seen) = &face.observed.face {
            serialize_face(&mut map, seen)?;
            serialize_landmarks(&mut map, seen)?;
        }
        if let Some(facing) = face.decision.facing {
            map.serialize_entry("facing", &facing.is_facing)?;
        }
        if let Some(metres) = face.distance {
            map.serialize_entry("distance_m", &to_decimals(metres, 2))?;
        }
        map.end()
    }
}

struct Eyes<'a>(&'a FatigueDecision);

impl Serialize for Eyes<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let decision = self.0;
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("state", decision.state.name())?;
        if let Some(reason) = decision.reason {
            map.serialize_entry("reason", reason.name())?;
        }
        for (key, value) in [
            ("openness_left", decision.openness[0]),
            ("openness_right", decision.openness[1]),
            ("perclos", decision.perclos),
        ] {
            if let Some(value) = value {
                map.serialize_entry(key, &to_decimals(value, 3))?;
            }
        }
        map.end()
    }
}

/// Each GPIO line with its level.
struct Lines<'a>(&'a Levels);

impl Serialize for Lines<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|(line, level)| Line { line, level }))
    }
}

struct Line<'a> {
    line: &'a crate::output::gpio::Described,
    level: Level,
}

impl Serialize for Line<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("role", self.line.role)?;
        map.serialize_entry("line", &self.line.line)?;
        map.serialize_entry("input", &self.line.is_input)?;
        map.serialize_entry("level", self.level.name())?;
        map.end()
    }
}

struct OfHealth<'a>(&'a Health);

impl Serialize for OfHealth<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        self.0.serialize_into(&mut map)?;
        map.end()
    }
}
