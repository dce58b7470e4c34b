use super::*;
use crate::ids::POOL;
use crate::messages::Message;

/// A bridge with a connection, and the clock of its machine.
struct Rig {
    bridge: Bridge,
    now: Now,
    out: Vec<Message>,
}

const HELLO: &str = r#""type":"hello","version":"0.2.0","id":"robot-7","name":"Küche","source":"/dev/video0","live":true,"model":"m","period_ms":1000"#;

impl Rig {
    fn new() -> Self {
        let now = Now {
            monotonic: Duration::from_secs(1000),
            wall: Duration::from_secs(1_700_000_000),
        };
        let mut rig = Self {
            bridge: Bridge::new("camera_optical_frame", "/robot1/affectd", 'f', now),
            now,
            out: Vec::new(),
        };
        rig.bridge.connected(now, &mut rig.out);
        rig.say(HELLO);
        rig
    }

    fn pass(&mut self, seconds: f64) {
        let time = Duration::from_secs_f64(seconds);
        self.now.monotonic += time;
        self.now.wall += time;
    }

    /// Hands over a line of the present moment, and gives what it led to.
    fn say(&mut self, keys: &str) -> Vec<Message> {
        let time = self.now.monotonic.as_secs_f64();
        let line = format!(r#"{{"schema":1,"time":{time},"frame":1,{keys}}}"#);
        let event = Event::read(serde_json::from_str(&line).unwrap()).unwrap();
        self.out.clear();
        self.bridge.take(event, self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn face(&mut self, track: u64, more: &str) -> Vec<Message> {
        self.say(&face(track, "happy", more))
    }

    fn tick(&mut self) -> Vec<Message> {
        self.out.clear();
        self.bridge.tick(self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    fn lost(&mut self) -> Vec<Message> {
        self.out.clear();
        self.bridge
            .disconnected("the reason", self.now, &mut self.out);
        std::mem::take(&mut self.out)
    }

    /// Level, message and values of a status in diagnostics.
    fn diagnosed(&mut self, name: &str) -> (Level, String, Map<String, Value>) {
        let messages = self.tick();
        let array = messages.iter().find_map(|message| match message {
            Message::Diagnostics(array) => Some(array),
            _ => None,
        });
        let name = format!("robot1/affectd: {name}");
        let mut statuses = array.unwrap().status.iter();
        let status = statuses.find(|status| status.name == name).unwrap();
        let values = status.values.iter();
        let values = values.map(|pair| (pair.key.clone(), Value::String(pair.value.clone())));
        (status.level, status.message.clone(), values.collect())
    }
}

fn face(track: u64, label: &str, more: &str) -> String {
    format!(
        r#""type":"face","track":{track},"leading":true,"box":[160,120,80,80],"size":[640,480],"searched":1,"label":"{label}","confidence":0.75,"probabilities":{{}},"since":1,"change":true{more}"#
    )
}

fn tracked(messages: &[Message]) -> Vec<Vec<&str>> {
    let ids = messages.iter().filter_map(|message| match message {
        Message::Tracked(list) => Some(list.ids.iter().map(String::as_str).collect()),
        _ => None,
    });
    ids.collect()
}

fn attention(messages: &[Message]) -> Option<Vec<&str>> {
    messages.iter().rev().find_map(|message| match message {
        Message::Attention(list) => Some(list.ids.iter().map(String::as_str).collect()),
        _ => None,
    })
}

fn expression_of(messages: &[Message]) -> &Expression {
    let found = messages.iter().find_map(|message| match message {
        Message::Face(_, FaceMessage::Expression(expression)) => Some(expression),
        _ => None,
    });
    found.unwrap()
}

fn units_of(messages: &[Message]) -> Option<&ActionUnits> {
    messages.iter().find_map(|message| match message {
        Message::Face(_, FaceMessage::ActionUnits(units)) => Some(&**units),
        _ => None,
    })
}

fn fatigue_of(messages: &[Message]) -> Vec<(Level, &str, &str)> {
    let status = messages.iter().find_map(|message| match message {
        Message::Fatigue(array) => Some(&array.status),
        _ => None,
    });
    let rows = status.unwrap().iter();
    rows.map(|row| (row.level, row.name.as_str(), row.message.as_str()))
        .collect()
}

#[test]
fn the_words_are_those_of_ros4hri() {
    let mut rig = Rig::new();
    for (label, word) in [
        ("angry", "angry"),
        ("disgust", "disgusted"),
        ("fear", "scared"),
        ("happy", "happy"),
        ("sad", "sad"),
        ("surprise", "surprised"),
        ("neutral", "neutral"),
    ] {
        let messages = rig.say(&face(1, label, ""));
        let expression = expression_of(&messages);
        assert_eq!(
            (expression.expression.as_str(), expression.confidence),
            (word, 0.75)
        );
        assert!(expression.valence.is_nan() && expression.arousal.is_nan());
    }
    let messages = rig.say(&face(1, "uncertain", r#","valence":-0.5,"arousal":0.25"#));
    let expression = expression_of(&messages);
    assert_eq!(
        (expression.expression.as_str(), expression.confidence),
        ("", 0.0)
    );
    assert_eq!((expression.valence, expression.arousal), (-0.5, 0.25));
}

#[test]
fn a_face_is_listed_before_what_is_known_of_it() {
    let mut rig = Rig::new();
    rig.pass(0.1);
    let messages = rig.face(5, r#","presence":0.9"#);
    assert_eq!(tracked(&messages), [["f00"]]);
    assert!(matches!(messages[0], Message::Tracked(_)));
    let Message::Face(0, FaceMessage::Region(region)) = &messages[1] else {
        panic!("{messages:?}")
    };
    assert_eq!((region.xmin, region.ymin), (0.25, 0.25));
    assert_eq!((region.xmax, region.c), (0.375, 0.9));
    assert!((region.ymax - 200.0 / 480.0).abs() < 1e-6);
    assert_eq!(region.header.frame_id, "camera_optical_frame");
    // All of a frame have the frame's time.
    assert_eq!(
        (region.header.stamp.sec, region.header.stamp.nanosec),
        (1_700_000_000, 100_000_000)
    );
    assert_eq!(expression_of(&messages).header, region.header);
    // The second line of the same face lists nothing again.
    assert!(tracked(&rig.face(5, "")).is_empty());
    assert_eq!(tracked(&rig.face(6, "")), [["f00", "f01"]]);
}

#[test]
fn a_box_beyond_the_picture_is_cut() {
    let mut rig = Rig::new();
    let keys = face(1, "happy", "").replace("[160,120,80,80]", "[-20,400,100,100]");
    let messages = rig.say(&keys);
    let Message::Face(0, FaceMessage::Region(region)) = &messages[1] else {
        panic!("{messages:?}")
    };
    assert_eq!((region.xmin, region.xmax, region.ymax), (0.0, 0.125, 1.0));
    assert!(region.c.is_nan(), "no face net, no confidence");
}

#[test]
fn faces_end_with_every_event_that_ends_them() {
    for end in [
        r#""type":"none","since":1,"change":true"#,
        r#""type":"camera_lost","reason":"unplugged","since":1,"change":true"#,
        r#""type":"paused","by":["control"],"since":1,"change":true"#,
        r#""type":"goodbye","reason":"SIGTERM","frames":1,"counters":{}"#,
    ] {
        let mut rig = Rig::new();
        rig.face(1, "");
        rig.face(2, "");
        assert_eq!(tracked(&rig.say(end)), [Vec::<&str>::new()], "{end}");
        assert_eq!(rig.bridge.faces(), 0);
    }
    let mut rig = Rig::new();
    rig.face(1, "");
    rig.face(2, "");
    let messages = rig.say(r#""type":"gone","track":1"#);
    assert_eq!(tracked(&messages), [["f01"]]);
    assert!(rig.say(r#""type":"gone","track":9"#).is_empty());
}

#[test]
fn a_lost_connection_ends_all_and_the_next_begins_anew() {
    let mut rig = Rig::new();
    rig.face(1, r#","facing":true"#);
    let messages = rig.lost();
    assert_eq!(tracked(&messages), [Vec::<&str>::new()]);
    assert_eq!(attention(&messages), Some(vec![]));
    assert!(rig.lost().is_empty(), "said once");
    let (level, message, _) = rig.diagnosed("camera");
    assert_eq!(level, Level::Error);
    assert_eq!(message, "no connection to affectd: the reason");

    rig.bridge.connected(rig.now, &mut rig.out);
    rig.say(HELLO);
    // The same number of another run is another face.
    assert_eq!(tracked(&rig.face(1, "")), [["f01"]]);
}

#[test]
fn a_face_that_is_no_longer_mentioned_ends() {
    let mut rig = Rig::new();
    rig.face(1, "");
    for _ in 0..4 {
        rig.pass(1.0);
        rig.face(2, "");
        rig.tick();
    }
    assert_eq!(rig.bridge.faces(), 2, "three periods may be missing");
    rig.pass(0.5);
    let messages = rig.tick();
    assert_eq!(tracked(&messages)[0], ["f01"]);
    assert_eq!(rig.diagnosed("bridge").2["faces_expired"], "1");
}

#[test]
fn without_a_period_nothing_expires() {
    let mut rig = Rig::new();
    rig.say(&HELLO.replace("1000", "0"));
    rig.face(1, "");
    rig.pass(3600.0);
    rig.tick();
    assert_eq!(rig.bridge.faces(), 1);
}

#[test]
fn more_faces_than_ids_wait_and_say_so() {
    let mut rig = Rig::new();
    for track in 0..POOL as u64 {
        rig.face(track, "");
    }
    assert!(rig.face(99, "").is_empty());
    let (level, message, values) = rig.diagnosed("bridge");
    assert_eq!(
        (level, message.as_str()),
        (Level::Warn, "a face had to wait for an id")
    );
    assert_eq!(
        (&values["ids_in_use"], &values["lines_without_id"]),
        (&"32".into(), &"1".into())
    );
    rig.say(r#""type":"gone","track":4"#);
    rig.pass(9.0);
    assert!(rig.face(99, "").is_empty(), "the id rests for 10 seconds");
    rig.pass(1.0);
    assert!(tracked(&rig.face(99, ""))[0].contains(&"f04"));
}

#[test]
fn eyes_and_jaw_are_action_units() {
    let mut rig = Rig::new();
    assert_eq!(units_of(&rig.face(1, "")), None, "nothing is known");
    let both = r#","presence":0.8,"eye_openness_left":0.25,"eye_openness_right":0.75,"jaw":0.5"#;
    let messages = rig.face(1, both);
    let units = units_of(&messages).unwrap();
    // The more open eye counts.
    assert_eq!((units.intensity.0[43], units.confidence.0[43]), (0.25, 0.8));
    assert_eq!((units.intensity.0[26], units.confidence.0[26]), (0.5, 0.8));
    let others = units.confidence.0.iter().filter(|one| **one == 0.0).count();
    assert_eq!(others, 97);
    let messages = rig.face(1, r#","presence":0.8,"eye_openness_right":0.1"#);
    let units = units_of(&messages).unwrap();
    assert!((units.intensity.0[43] - 0.9).abs() < 1e-6);
    assert_eq!(units.confidence.0[26], 0.0, "the jaw is not known any more");
    // Once more to say that nothing is known, and then no more.
    let messages = rig.face(1, "");
    assert_eq!(units_of(&messages).unwrap().confidence, PerUnit::ZERO);
    assert_eq!(units_of(&rig.face(1, "")), None);
}

#[test]
fn a_pose_with_a_distance_is_also_a_transform() {
    let mut rig = Rig::new();
    let angles = r#","yaw":10,"pitch":0,"roll":0"#;
    let messages = rig.face(1, angles);
    assert!(
        !messages
            .iter()
            .any(|message| matches!(message, Message::Transforms(_)))
    );
    let Some(Message::Face(0, FaceMessage::Pose(pose))) = messages.last() else {
        panic!("{messages:?}")
    };
    assert!(pose.pose.position.z.is_nan(), "the distance is not known");

    let messages = rig.face(1, &format!(r#"{angles},"distance_m":2"#));
    let transforms = messages.iter().find_map(|message| match message {
        Message::Transforms(transforms) => Some(&transforms.transforms),
        _ => None,
    });
    let [face, gaze] = &transforms.unwrap()[..] else {
        panic!("{messages:?}")
    };
    assert_eq!(face.child_frame_id, "face_f00");
    assert_eq!(gaze.child_frame_id, "gaze_f00");
    assert_eq!(face.header.frame_id, "camera_optical_frame");
    let position = face.transform.position;
    // 120 pixels to the left, 80 up; a box of 80 pixels is 0.1638 m wide.
    assert!(
        (position.x + 120.0 * 0.1638 / 80.0).abs() < 1e-9,
        "{position:?}"
    );
    assert!((position.y + 80.0 * 0.1638 / 80.0).abs() < 1e-9);
    assert_eq!(position.z, 2.0);
}

#[test]
fn attention_lists_those_who_face_the_camera() {
    let mut rig = Rig::new();
    assert_eq!(attention(&rig.face(1, "")), None, "affectd does not say");
    assert_eq!(attention(&rig.tick()), None);
    assert_eq!(
        attention(&rig.face(1, r#","facing":true"#)),
        Some(vec!["f00"])
    );
    assert_eq!(
        attention(&rig.face(1, r#","facing":true"#)),
        None,
        "no news"
    );
    rig.face(2, r#","facing":false"#);
    let messages = rig.say(r#""type":"attention","track":2,"facing":true,"since":1"#);
    assert_eq!(attention(&messages), Some(vec!["f00", "f01"]));
    let messages = rig.say(r#""type":"attention","track":1,"facing":false,"since":1"#);
    assert_eq!(attention(&messages), Some(vec!["f01"]));
    assert_eq!(
        attention(&rig.tick()),
        Some(vec!["f01"]),
        "for those who come late"
    );
    let messages = rig.say(r#""type":"gone","track":2"#);
    assert_eq!(attention(&messages), Some(vec![]));
}

#[test]
fn fatigue_has_a_level_and_its_figures() {
    let mut rig = Rig::new();
    rig.face(3, "");
    for (state, level) in [
        ("ok", Level::Ok),
        ("drowsy", Level::Warn),
        ("microsleep", Level::Error),
        ("asleep", Level::Error),
        ("unresponsive", Level::Error),
        ("calibrating", Level::Stale),
        ("no_reading", Level::Stale),
        ("nobody", Level::Stale),
    ] {
        let messages = rig.say(&format!(
            r#""type":"fatigue","track":3,"state":"{state}","reason":null,"since":998.5,"perclos":0.125,"valid":1,"calibrated":true,"change":true"#
        ));
        assert_eq!(
            fatigue_of(&messages),
            [
                (level, "robot1/affectd: fatigue f00", state),
                (Level::Ok, "robot1/affectd: alarm", "none")
            ]
        );
        let Some(Message::Fatigue(array)) = messages.first() else {
            panic!("{messages:?}")
        };
        let values = array.status[0].values.iter();
        let values: Vec<_> = values.map(|v| (v.key.as_str(), v.value.as_str())).collect();
        for pair in [
            ("face", "f00"),
            ("perclos", "0.125"),
            ("valid", "1"),
            ("calibrated", "true"),
            ("state_s", "1.500"),
        ] {
            assert!(values.contains(&pair), "{pair:?} in {values:?}");
        }
        assert!(
            !values
                .iter()
                .any(|(key, _)| ["reason", "change", "since"].contains(key))
        );
    }
}

#[test]
fn an_alarm_comes_at_once_and_stays() {
    let mut rig = Rig::new();
    let alarm = r#""type":"alarm","state":"microsleep","on":true,"acknowledged":false"#;
    let name = "robot1/affectd: alarm";
    assert_eq!(
        fatigue_of(&rig.say(alarm)),
        [(Level::Error, name, "microsleep")]
    );
    let messages = rig.say(r#""type":"fatigue","track":null,"state":"nobody""#);
    assert_eq!(
        fatigue_of(&messages),
        [
            (Level::Stale, "robot1/affectd: fatigue", "nobody"),
            (Level::Error, name, "microsleep")
        ]
    );
    let messages = rig.say(&alarm.replace("\"on\":true", "\"on\":false"));
    assert_eq!(fatigue_of(&messages), [(Level::Ok, name, "none")]);
    // Without affectd nothing is known, and subscribers hear it.
    let messages = rig.lost();
    assert_eq!(
        fatigue_of(&messages),
        [
            (Level::Stale, "robot1/affectd: fatigue", "unknown"),
            (Level::Stale, name, "unknown")
        ]
    );
}

#[test]
fn diagnostics_follow_health_and_the_camera() {
    let mut rig = Rig::new();
    assert_eq!(rig.diagnosed("camera").0, Level::Warn, "no frame yet");
    let health = r#""type":"health","camera":"streaming","fps":29.9,"frames":10,"dropped":{"busy":3,"hot":0},"hot":false,"paused_by":["a","b"],"change":false"#;
    rig.say(health);
    let (level, message, values) = rig.diagnosed("camera");
    assert_eq!((level, message.as_str()), (Level::Ok, "streaming"));
    for (key, value) in [
        ("name", "Küche"),
        ("version", "0.2.0"),
        ("fps", "29.9"),
        ("dropped.busy", "3"),
        ("hot", "false"),
        ("paused_by", "a b"),
    ] {
        assert_eq!(values[key], value, "{key}");
    }
    rig.say(&health.replace("\"hot\":false", "\"hot\":true"));
    assert_eq!(rig.diagnosed("camera").0, Level::Warn);
    rig.say(r#""type":"temperature","hot":false,"reason":"x""#);
    assert_eq!(rig.diagnosed("camera").0, Level::Ok);
    rig.say(r#""type":"paused","by":["gpio","control"],"since":1,"change":true"#);
    let (level, message, _) = rig.diagnosed("camera");
    assert_eq!(
        (level, message.as_str()),
        (Level::Warn, "paused by gpio and control")
    );
    rig.say(r#""type":"camera_lost","reason":"unplugged","since":1,"change":true"#);
    let (level, message, _) = rig.diagnosed("camera");
    assert_eq!(
        (level, message.as_str()),
        (Level::Error, "camera lost: unplugged")
    );
    rig.say(r#""type":"camera_back","after":3"#);
    assert_eq!(rig.diagnosed("camera").0, Level::Ok);
    rig.pass(5.0);
    let (level, message, _) = rig.diagnosed("camera");
    assert_eq!(
        (level, message.as_str()),
        (Level::Error, "affectd has sent nothing for 5 s")
    );
}

#[test]
fn dropped_and_strange_lines_are_passed_on_for_a_minute() {
    let mut rig = Rig::new();
    assert_eq!(rig.diagnosed("bridge").0, Level::Ok);
    rig.say(r#""type":"dropped","lines":12"#);
    let (level, message, values) = rig.diagnosed("bridge");
    assert_eq!(level, Level::Warn);
    assert!(message.contains("12 lines"), "{message}");
    assert_eq!(values["lines_dropped"], "12");
    rig.pass(61.0);
    let (level, _, values) = rig.diagnosed("bridge");
    assert_eq!((level, &values["lines_dropped"]), (Level::Ok, &"12".into()));
    rig.bridge.invalid("`gone`: no track", rig.now);
    assert_eq!(rig.diagnosed("bridge").0, Level::Warn);
}

#[test]
fn types_that_the_bridge_does_not_know_change_nothing() {
    let mut rig = Rig::new();
    rig.face(1, "");
    for kind in ["yawn", "closure", "preview", "dance"] {
        assert!(rig.say(&format!(r#""type":"{kind}","track":1"#)).is_empty());
    }
    assert!(
        rig.say(r#""type":"reload","ok":true,"config":"x""#)
            .is_empty()
    );
    assert!(rig.say(HELLO).is_empty(), "as after a reload");
    assert_eq!(rig.bridge.faces(), 1);
}
