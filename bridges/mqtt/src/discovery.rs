//! Home Assistant's device discovery: one retained message describes the device
//! and its components (Home Assistant 2024.11 or newer).
//!
//! A component that is merely left out of the message stays in Home Assistant. So
//! the message names every component that was ever published: one that is not
//! shown has nothing but its platform, which removes it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use crate::settings::Settings;
use crate::world::{EXPRESSIONS, FATIGUE_STATES, Identity};

/// Every component that any version has published, with its platform. Never
/// remove a row: Home Assistant would keep the component for ever.
pub const KEYS: &[(&str, &str)] = &[
    ("expression", "sensor"),
    ("face", "binary_sensor"),
    ("faces", "sensor"),
    ("confidence", "sensor"),
    ("change", "event"),
    ("facing", "binary_sensor"),
    ("fatigue", "sensor"),
    ("fatigue_valid", "sensor"),
    ("camera", "binary_sensor"),
    ("temperature", "sensor"),
    ("fps", "sensor"),
    ("frame_time", "sensor"),
    ("hot", "binary_sensor"),
    ("lines_dropped", "sensor"),
    ("pause", "switch"),
];

/// Components of functions that the board file may leave out. They appear when
/// affectd sends their values for the first time, and stay.
pub const OPTIONAL: &[&str] = &["facing", "fatigue", "fatigue_valid", "temperature"];

/// The topics of a machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Names {
    base: String,
    discovery: String,
    pub birth: String,
}

impl Names {
    pub fn new(settings: &Settings, id: &str) -> Self {
        let prefix = &settings.home_assistant.prefix;
        Self {
            base: format!("{}/{id}", settings.topics.prefix),
            discovery: format!("{prefix}/device/affectd_{id}/config"),
            birth: format!("{prefix}/status"),
        }
    }

    pub fn availability(&self) -> String {
        format!("{}/availability", self.base)
    }
    pub fn state(&self) -> String {
        format!("{}/state", self.base)
    }
    pub fn change(&self) -> String {
        format!("{}/change", self.base)
    }
    pub fn fatigue(&self) -> String {
        format!("{}/fatigue", self.base)
    }
    pub fn health(&self) -> String {
        format!("{}/health", self.base)
    }
    pub fn events(&self) -> String {
        format!("{}/events", self.base)
    }
    pub fn pause(&self) -> String {
        format!("{}/pause/set", self.base)
    }
    pub fn discovery(&self) -> String {
        self.discovery.clone()
    }
}

/// The components of a retained message: which are shown, and the platforms of
/// all. It may be another version's.
pub fn published(message: &[u8]) -> (BTreeSet<String>, BTreeMap<String, String>) {
    let message: Value = serde_json::from_slice(message).unwrap_or_default();
    let mut shown = BTreeSet::new();
    let mut platforms = BTreeMap::new();
    for (key, component) in message["components"].as_object().into_iter().flatten() {
        let platform = component["platform"].as_str().unwrap_or_default();
        platforms.insert(key.clone(), platform.to_owned());
        if component.as_object().is_some_and(|keys| keys.len() > 1) {
            shown.insert(key.clone());
        }
    }
    (shown, platforms)
}

/// What decides about the message besides the settings.
#[derive(Clone, Debug, Default)]
pub struct Known {
    /// Keys of [`OPTIONAL`] components whose values have come.
    pub seen: BTreeSet<String>,
    /// Components of other versions, with their platforms.
    pub leftovers: BTreeMap<String, String>,
}

/// The message.
pub fn message(settings: &Settings, machine: &Identity, names: &Names, known: &Known) -> String {
    let mut components = Map::new();
    for (key, platform) in known
        .leftovers
        .iter()
        .filter(|(_, platform)| !platform.is_empty())
    {
        components.insert(key.clone(), json!({ "platform": platform }));
    }
    for (key, platform) in KEYS {
        let is_shown = match *key {
            "pause" => settings.control.pause,
            key => !OPTIONAL.contains(&key) || known.seen.contains(key),
        } && !settings
            .home_assistant
            .hide
            .iter()
            .any(|hidden| hidden == key);
        let mut component = json!({ "platform": platform });
        if is_shown {
            component["unique_id"] = json!(format!("affectd_{}_{key}", machine.id));
            let Value::Object(keys) = described(key, settings, names) else {
                unreachable!("a component is an object");
            };
            for (name, value) in keys {
                component[name] = value;
            }
        }
        components.insert((*key).to_owned(), component);
    }
    json!({
        "device": {
            "identifiers": [format!("affectd_{}", machine.id)],
            "name": machine.name,
            "manufacturer": "affectd",
            "model": "affectd",
            "sw_version": machine.version,
        },
        "origin": { "name": "affectd-mqtt", "sw_version": env!("CARGO_PKG_VERSION") },
        "availability_topic": names.availability(),
        "components": components,
    })
    .to_string()
}

fn described(key: &str, settings: &Settings, names: &Names) -> Value {
    let (state, health) = (names.state(), names.health());
    // Repeated each period; three missed ones are too many.
    let expires = settings.topics.period.as_secs() * 3;
    match key {
        "expression" => json!({
            "name": "Expression",
            "icon": "mdi:emoticon-outline",
            "device_class": "enum",
            "options": EXPRESSIONS,
            "state_topic": state,
            "value_template": "{{ value_json.expression }}",
            "json_attributes_topic": state,
            "expire_after": expires,
        }),
        "face" => json!({
            "name": "Face",
            "device_class": "occupancy",
            "state_topic": state,
            "value_template": "{{ None if value_json.faces is none else 'ON' if value_json.faces > 0 else 'OFF' }}",
            "expire_after": expires,
        }),
        "faces" => json!({
            "name": "Faces",
            "icon": "mdi:account-group-outline",
            "state_class": "measurement",
            "state_topic": state,
            "value_template": "{{ value_json.faces }}",
            "expire_after": expires,
        }),
        "confidence" => json!({
            "name": "Confidence",
            "icon": "mdi:percent-outline",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "state_topic": state,
            "value_template": "{{ None if value_json.confidence is none else (value_json.confidence * 100) | round }}",
            "expire_after": expires,
        }),
        "change" => json!({
            "name": "Change of expression",
            "icon": "mdi:emoticon-happy-outline",
            "event_types": EXPRESSIONS,
            "state_topic": names.change(),
        }),
        "facing" => json!({
            "name": "Facing the camera",
            "icon": "mdi:eye-outline",
            "state_topic": state,
            "value_template": "{{ None if value_json.facing is none else 'ON' if value_json.facing else 'OFF' }}",
            "expire_after": expires,
        }),
        "fatigue" => json!({
            "name": "Eye closure",
            "icon": "mdi:sleep",
            "device_class": "enum",
            "options": FATIGUE_STATES,
            "state_topic": names.fatigue(),
            "value_template": "{{ value_json.state }}",
            "json_attributes_topic": names.fatigue(),
            "expire_after": expires,
        }),
        "fatigue_valid" => json!({
            "name": "Eye closure: valid time",
            "icon": "mdi:percent-outline",
            "entity_category": "diagnostic",
            "unit_of_measurement": "%",
            "state_class": "measurement",
            "state_topic": names.fatigue(),
            "value_template": "{{ None if value_json.valid is none else (value_json.valid * 100) | round }}",
            "expire_after": expires,
        }),
        "camera" => json!({
            "name": "Camera",
            "device_class": "connectivity",
            "entity_category": "diagnostic",
            "state_topic": health,
            "value_template": "{{ 'ON' if value_json.camera == 'streaming' else 'OFF' }}",
        }),
        "temperature" => json!({
            "name": "Temperature",
            "device_class": "temperature",
            "entity_category": "diagnostic",
            "unit_of_measurement": "°C",
            "state_class": "measurement",
            "state_topic": health,
            "value_template": "{{ value_json.get('temperature') }}",
        }),
        "fps" => json!({
            "name": "Frame rate",
            "icon": "mdi:speedometer",
            "entity_category": "diagnostic",
            "unit_of_measurement": "fps",
            "state_class": "measurement",
            "suggested_display_precision": 1,
            "state_topic": health,
            "value_template": "{{ value_json.get('fps') }}",
        }),
        "frame_time" => json!({
            "name": "Frame time",
            "device_class": "duration",
            "entity_category": "diagnostic",
            "unit_of_measurement": "ms",
            "state_class": "measurement",
            "suggested_display_precision": 1,
            "state_topic": health,
            "value_template": "{{ value_json.get('frame_p50_ms') }}",
        }),
        "hot" => json!({
            "name": "Too hot",
            "device_class": "problem",
            "entity_category": "diagnostic",
            "state_topic": health,
            "value_template": "{{ 'ON' if value_json.hot else 'OFF' }}",
        }),
        "lines_dropped" => json!({
            "name": "Events lost",
            "icon": "mdi:message-alert-outline",
            "entity_category": "diagnostic",
            "state_class": "total_increasing",
            "state_topic": health,
            "value_template": "{{ value_json.bridge.lines_dropped }}",
        }),
        "pause" => json!({
            "name": "Pause",
            "icon": "mdi:eye-off-outline",
            "command_topic": names.pause(),
            "state_topic": state,
            "value_template": "{{ None if value_json.paused is none else 'ON' if value_json.paused else 'OFF' }}",
        }),
        other => unreachable!("no description of {other}"),
    }
}
