//! The events that readers get.

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{FileTypeExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use crate::reports;
use affectd::decide::fatigue::{self, Alarm, ClosureKind, FatigueDecision, State, What};
use affectd::decide::{Facing, Label};
use affectd::frame::{Rect, Timestamp};
use affectd::health::{Dropped, Health, Reloads};
use affectd::host::unix_socket::SocketError;
use affectd::observe::expression::{Expression, Probabilities};
use affectd::observe::{FaceObservation, Lids};
use affectd::output::events::{
    Error, Events, Hello, Options, QUEUE, READER_QUEUE, READERS, SCHEMA,
};
use affectd::output::{
    Camera, FaceReport, FatigueReport, Heat, Output, PausedBy, Report, Shutdown,
};
use affectd::report::CameraState;
use rustix::fs::{FileType, Mode};
use serde_json::Value;

const HAPPY: Label = Label::Expression(Expression::Happy);
const SAD: Label = Label::Expression(Expression::Sad);

/// Long enough for any machine; no test waits for it unless it fails.
const LONG: Duration = Duration::from_secs(30);

fn hello(live: bool) -> Hello {
    Hello {
        source: "replay:faces 640x480".to_owned(),
        live,
        model: "mobilenet_v2_112".to_owned(),
        outputs: vec!["gpio".to_owned(), "display".to_owned()],
        id: "robot-7".to_owned(),
        name: "lobby".to_owned(),
        config: "c0".to_owned(),
        model_sha256: "a1".to_owned(),
    }
}

fn face(track: u32, label: Label) -> FaceReport {
    let mut face = reports::face(track, label, 0.876_54);
    face.rect = Rect::new(-3, 40, 120, 121);
    face.searched = Timestamp::from_millis(1_080);
    let decision = &mut face.decision.expression;
    decision.probabilities = Probabilities([0.01, 0.02, 0.03, 0.876_54, 0.02, 0.03, 0.013_46]);
    decision.since = Timestamp::from_millis(1_040);
    face
}

struct Run {
    events: Events,
    frame: u64,
}

impl Run {
    fn new(options: &Options, live: bool) -> Self {
        Self {
            events: Events::new(options, hello(live)).unwrap(),
            frame: 0,
        }
    }

    fn report(&mut self, millis: u64, report: Report<'_>) {
        self.events.update(&Report {
            timestamp: Timestamp::from_millis(millis),
            frame: self.frame,
            frame_size: (640, 480),
            ..report
        });
    }

    fn frame(&mut self, millis: u64, faces: &[FaceReport]) {
        self.frame += 1;
        let report = Report {
            is_new: true,
            camera: Camera::Streaming,
            faces,
            ..Report::default()
        };
        self.report(millis, report);
    }

    /// A wait without a frame.
    fn wait(&mut self, millis: u64, faces: &[FaceReport]) {
        let report = Report {
            camera: Camera::Streaming,
            faces,
            ..Report::default()
        };
        self.report(millis, report);
    }

    fn lost(&mut self, millis: u64, reason: &str) {
        let report = Report {
            camera: Camera::Lost { reason },
            ..Report::default()
        };
        self.report(millis, report);
    }
}

/// The lines of a run, through a file.
fn lines(period: Option<u64>, live: bool, run: impl FnOnce(&mut Run)) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let options = Options {
        file: Some(path.clone()),
        period: period.map(Duration::from_millis),
        ..Options::default()
    };
    let mut events = Run::new(&options, live);
    run(&mut events);
    events.events.finish();
    let text = fs::read_to_string(path).unwrap();
    assert!(text.ends_with('\n'));
    text.lines().map(str::to_owned).collect()
}

fn parsed(line: &str) -> Value {
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"))
}

/// A short text for a line.
fn brief(line: &str) -> String {
    let line = parsed(line);
    let mut text = line["type"].as_str().unwrap().to_owned();
    for key in ["track", "label", "reason", "lines", "after"] {
        match &line[key] {
            Value::Null => {}
            Value::String(value) => text += &format!(" {value}"),
            value => text += &format!(" {value}"),
        }
    }
    if line["leading"] == Value::Bool(true) {
        text += " leading";
    }
    if line["change"] == Value::Bool(false) {
        text += " again";
    }
    text
}

fn briefs(lines: &[String]) -> Vec<String> {
    lines.iter().map(|line| brief(line)).collect()
}

/// Every type but `dropped` and `attention`.
fn story(run: &mut Run) {
    run.report(0, Report::default());
    run.frame(40, &[]);
    run.frame(80, &[face(7, HAPPY), face(9, Label::Uncertain)]);
    run.frame(120, &[face(9, Label::Uncertain)]);
    run.lost(620, "/dev/video0: No such device");
    run.frame(2000, &[]);
    let hot = Report {
        camera: Camera::Streaming,
        heat: Heat {
            is_hot: true,
            reason: "75.0 degrees",
        },
        ..Report::default()
    };
    run.report(2000, hot);
    let decision = FatigueDecision {
        track: Some(9),
        state: State::Asleep,
        since: Timestamp::from_millis(1990),
        openness: [Some(0.25), None],
        perclos: Some(0.1),
        window: Duration::from_secs(60),
        valid: 0.75,
        closure: Some(Duration::from_millis(3010)),
        yawns: Some(0),
        calibrated: true,
        fps: Some(30.0),
        confidence: 0.75,
        ..FatigueDecision::default()
    };
    let events = [
        What::State {
            decision,
            change: true,
        },
        What::Closure {
            track: 9,
            kind: ClosureKind::Sleep,
            duration: Duration::from_micros(3_010_600),
        },
        What::Yawn {
            track: 9,
            duration: Duration::from_secs(4),
        },
        What::Alarm(Alarm {
            state: State::Asleep,
            is_on: true,
            is_acknowledged: false,
        }),
    ]
    .map(|what| fatigue::Event {
        time: Timestamp::from_millis(2000),
        what,
    });
    let eyes = FatigueReport {
        decision: &decision,
        events: &events,
        samples: &[],
        is_acknowledged: false,
        took_acknowledgement: false,
        is_new: true,
    };
    run.report(
        2000,
        Report {
            fatigue: Some(eyes),
            ..hot
        },
    );
    // An event that was sent is not sent again.
    let old = FatigueReport {
        is_new: false,
        ..eyes
    };
    run.report(
        2000,
        Report {
            fatigue: Some(old),
            ..hot
        },
    );
    let last = Report {
        shutdown: Some(Shutdown {
            reason: "SIGTERM",
            frames: 4,
            counters: &[("late", 2), ("camera_errors", 1)],
        }),
        ..hot
    };
    run.report(2000, last);
}

#[test]
fn every_line_matches_the_schema() {
    let probabilities = r#""probabilities":{"angry":0.01,"disgust":0.02,"fear":0.03,"happy":0.8765,"sad":0.02,"surprise":0.03,"neutral":0.0135},"since":1.04,"change":true}"#;
    let first = format!(
        r#"{{"schema":1,"type":"hello","time":0.0,"frame":0,"version":"{}","id":"robot-7","name":"lobby","config":"c0","source":"replay:faces 640x480","live":false,"model":"mobilenet_v2_112","model_sha256":"a1","outputs":["gpio","display"],"classes":["angry","disgust","fear","happy","sad","surprise","neutral"],"period_ms":0}}"#,
        env!("CARGO_PKG_VERSION")
    );
    let expected = [
        first.as_str(),
        r#"{"schema":1,"type":"none","time":0.04,"frame":1,"since":0.04,"change":true}"#,
        &format!(
            r#"{{"schema":1,"type":"face","time":0.08,"frame":2,"track":7,"leading":true,"box":[-3,40,120,121],"size":[640,480],"searched":1.08,"label":"happy","confidence":0.8765,{probabilities}"#
        ),
        &format!(
            r#"{{"schema":1,"type":"face","time":0.08,"frame":2,"track":9,"leading":false,"box":[-3,40,120,121],"size":[640,480],"searched":1.08,"label":"uncertain","confidence":0.8765,{probabilities}"#
        ),
        r#"{"schema":1,"type":"gone","time":0.12,"frame":3,"track":7}"#,
        // It is the leading face now.
        &format!(
            r#"{{"schema":1,"type":"face","time":0.12,"frame":3,"track":9,"leading":true,"box":[-3,40,120,121],"size":[640,480],"searched":1.08,"label":"uncertain","confidence":0.8765,{probabilities}"#
        ),
        r#"{"schema":1,"type":"camera_lost","time":0.62,"frame":3,"reason":"/dev/video0: No such device","since":0.62,"change":true}"#,
        r#"{"schema":1,"type":"camera_back","time":2.0,"frame":4,"after":1.38}"#,
        r#"{"schema":1,"type":"none","time":2.0,"frame":4,"since":2.0,"change":true}"#,
        r#"{"schema":1,"type":"temperature","time":2.0,"frame":4,"hot":true,"reason":"75.0 degrees"}"#,
        r#"{"schema":1,"type":"fatigue","time":2.0,"frame":4,"track":9,"state":"asleep","reason":null,"since":1.99,"openness_left":0.25,"openness_right":null,"perclos":0.1,"perclos_180":null,"window_s":60.0,"valid":0.75,"closure_ms":3010,"blink_rate":null,"blink_duration_ms":null,"yawns":0,"nods":null,"winks":0,"calibrated":true,"fps":30.0,"confidence":0.75,"change":true}"#,
        r#"{"schema":1,"type":"closure","time":2.0,"frame":4,"track":9,"kind":"sleep","duration_ms":3011}"#,
        r#"{"schema":1,"type":"yawn","time":2.0,"frame":4,"track":9,"duration_ms":4000}"#,
        r#"{"schema":1,"type":"alarm","time":2.0,"frame":4,"state":"asleep","on":true,"acknowledged":false}"#,
        r#"{"schema":1,"type":"goodbye","time":2.0,"frame":4,"reason":"SIGTERM","frames":4,"counters":{"late":2,"camera_errors":1}}"#,
    ];
    let found = lines(None, false, story);
    for (found, expected) in found.iter().zip(expected) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), expected.len());
}

const DOCUMENTATION: &str = include_str!("../../docs/events.md");

/// The keys of each type in order, from the tables of the documentation.
fn documented() -> Vec<(String, Vec<(String, String)>)> {
    let mut types: Vec<(String, Vec<_>)> = vec![("".to_owned(), Vec::new())];
    let schema = DOCUMENTATION
        .lines()
        .skip_while(|line| *line != "## Schema, version 1")
        .take_while(|line| *line != "## What happens when an output fails");
    for line in schema {
        if let Some(name) = line.strip_prefix("### `").and_then(|l| l.strip_suffix('`')) {
            types.push((name.to_owned(), Vec::new()));
        } else if let Some(row) = line.strip_prefix("| `") {
            let (key, rest) = row.split_once("` | ").unwrap();
            let (kind, _) = rest.split_once(" |").unwrap();
            let keys = &mut types.last_mut().unwrap().1;
            keys.push((key.to_owned(), kind.to_owned()));
        }
    }
    types
}

#[test]
fn the_documentation_has_every_type_of_the_code() {
    let code = include_str!("../../src/output/events/line.rs");
    let (_, code) = code.split_once("fn name(&self) -> &'static str {").unwrap();
    let (code, _) = code.split_once("\n    }\n").unwrap();
    let mut types: Vec<_> = code.split('"').skip(1).step_by(2).collect();
    assert!(types.contains(&"face"), "{code}");
    let documented = documented();
    let mut documented: Vec<_> = documented[1..].iter().map(|(name, _)| name).collect();
    types.sort_unstable();
    documented.sort_unstable();
    assert_eq!(documented, types);
}

#[test]
fn the_documentation_has_the_limits_of_the_code() {
    for limit in [
        format!("queue of {QUEUE} lines"),
        format!("when {READER_QUEUE} bytes wait"),
        format!("more than {READERS} readers"),
        format!("Schema, version {SCHEMA}"),
    ] {
        assert!(DOCUMENTATION.contains(&limit), "{limit}");
    }
}

#[test]
fn the_documentation_has_every_key_in_order_with_its_type() {
    let documented = documented();
    let (_, common) = &documented[0];
    let mut seen = Vec::new();
    let mut optional_keys_seen = BTreeSet::new();
    for live in [false, true] {
        let mut found = lines(None, live, story);
        // The types that are not in the story, and a face of which everything
        // is known.
        found.push(dropped_line(live));
        found.extend(lines_about_a_known_face(live));
        found.extend(lines_about_the_daemon(live));
        for line in found {
            let object = parsed(&line);
            let name = object["type"].as_str().unwrap().to_owned();
            let (_, own) = documented
                .iter()
                .find(|(documented, _)| *documented == name)
                .unwrap_or_else(|| panic!("{name} is not documented"));
            let expected: Vec<_> = common
                .iter()
                .chain(own)
                .filter(|(key, _)| live || key != "wall")
                .collect();
            // serde_json's map sorts its keys, so the order comes from the
            // text.
            let (mut place, mut count) = (0, 0);
            for (key, kind) in &expected {
                let (kind, is_optional) = match kind.strip_suffix(", if known") {
                    Some(kind) => (kind, true),
                    None => (kind.as_str(), false),
                };
                if is_optional && object.get(key).is_none() {
                    continue;
                }
                count += 1;
                optional_keys_seen.extend(is_optional.then(|| key.clone()));
                let quoted = format!("\"{key}\":");
                let found = line[place..]
                    .find(&quoted)
                    .unwrap_or_else(|| panic!("{key} is missing or out of order in {line}"));
                place += found + quoted.len();
                let value = &object[key];
                let known = kind.strip_suffix(" or null");
                let fits = value.is_null() && known.is_some()
                    || match known.unwrap_or(kind) {
                        "integer" => value.is_u64(),
                        "number" => value.is_f64(),
                        "string" => value.is_string(),
                        "boolean" => value.is_boolean(),
                        "object" => value.is_object(),
                        "array of 14 pairs" => value.as_array().is_some_and(|a| {
                            a.len() == 14 && a.iter().all(|pair| pair[1].is_f64())
                        }),
                        "array of strings" => value.as_array().is_some_and(|a| a[0].is_string()),
                        kind => {
                            let count = kind
                                .strip_prefix("array of ")
                                .and_then(|k| k.strip_suffix(" integers"))
                                .unwrap_or_else(|| panic!("unknown kind {kind}"));
                            let array = value.as_array().unwrap();
                            array.len().to_string() == count && array.iter().all(Value::is_i64)
                        }
                    };
                assert!(fits, "{key} is no {kind} in {line}");
            }
            assert_eq!(object.as_object().unwrap().len(), count, "{line}");
            seen.push(name);
        }
    }
    let optional: BTreeSet<_> = documented
        .iter()
        .flat_map(|(_, keys)| keys)
        .filter(|(_, kind)| kind.ends_with(", if known"))
        .map(|(key, _)| key.clone())
        .collect();
    assert_eq!(optional, optional_keys_seen);
    for (name, _) in &documented[1..] {
        assert!(
            seen.contains(name),
            "{name} is documented but was never sent"
        );
    }
}

/// A face of which everything is known, and which turns to the camera.
fn known_face(is_facing: bool) -> FaceReport {
    let lids = |openness| {
        Some(Lids {
            openness,
            gaze_down: 0.1,
            covered: 0.1,
        })
    };
    let mut face = face(7, HAPPY);
    let mut seen = FaceObservation::at((57.0, 100.5), 120.0, 0.987_65);
    seen.left_eye.lids = lids(0.912_34);
    seen.right_eye.lids = lids(0.05);
    (seen.yaw, seen.pitch, seen.roll) = (-12.345, 3.0, 0.04);
    face.observed.face = Some(seen);
    face.distance = Some(1.234);
    face.decision.baseline = Some(0.25);
    face.observed.expression = Some(face.decision.expression.probabilities);
    face.decision.facing = Some(Facing {
        is_facing,
        since: Timestamp::from_millis(1_100),
    });
    face
}

fn lines_about_a_known_face(live: bool) -> Vec<String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let options = Options {
        file: Some(path.clone()),
        landmarks: true,
        affect: true,
        ..Options::default()
    };
    let mut run = Run::new(&options, live);
    run.frame(40, &[known_face(false)]);
    run.frame(80, &[known_face(true)]);
    run.frame(120, &[known_face(true)]);
    run.frame(160, &[known_face(false)]);
    run.events.finish();
    let text = fs::read_to_string(path).unwrap();
    text.lines().skip(1).map(str::to_owned).collect()
}

#[test]
fn everything_known_about_a_face_is_sent() {
    let found = lines_about_a_known_face(false);
    let kinds: Vec<_> = found.iter().map(|line| brief(line)).collect();
    assert_eq!(
        kinds,
        [
            "face 7 happy leading",
            "attention 7",
            "attention 7",
            "goodbye end"
        ]
    );
    let known = r#""presence":0.9876,"eye_openness_left":0.9123,"eye_openness_right":0.05,"jaw":0.0,"smile":0.0,"yaw":-12.3,"pitch":3.0,"roll":0.0,"baseline":0.25,"raw_probabilities":{"angry":0.01,"disgust":0.02,"fear":0.03,"happy":0.8765,"sad":0.02,"surprise":0.03,"neutral":0.0135},"facing":false,"distance_m":1.23,"landmarks":[[57.0,100.5],"#;
    assert!(found[0].contains(known), "{}", found[0]);
    // 0.8765 of (0.81, 0.51), and the others' shares.
    let affect = r#""valence":0.6731,"arousal":0.4926}"#;
    assert!(found[0].ends_with(affect), "{}", found[0]);
    assert_eq!(
        found[1],
        r#"{"schema":1,"type":"attention","time":0.08,"frame":2,"track":7,"facing":true,"since":1.1}"#
    );
    assert!(found[2].contains(r#""facing":false"#));
}

#[test]
fn wall_times_are_rfc_3339_and_now() {
    let found = lines(None, true, story);
    for line in &found {
        let wall = parsed(line)["wall"].as_str().unwrap().to_owned();
        let shape: String = wall
            .chars()
            .map(|c| if c.is_ascii_digit() { '0' } else { c })
            .collect();
        assert_eq!(shape, "0000-00-00T00:00:00.000Z");
        assert!(wall.as_str() > "2024");
    }
}

#[test]
fn a_recording_gives_the_same_lines_every_time() {
    let first = lines(Some(100), false, story);
    std::thread::sleep(Duration::from_millis(3));
    assert_eq!(first, lines(Some(100), false, story));
}

#[test]
fn only_changes_are_sent() {
    let found = lines(None, false, |run| {
        for millis in (0..1000).step_by(40) {
            let state = if millis < 500 { HAPPY } else { SAD };
            run.frame(millis, &[face(1, state)]);
        }
        run.frame(1000, &[face(2, SAD)]);
        run.frame(1040, &[]);
        run.frame(1080, &[]);
        run.frame(1120, &[face(2, SAD)]);
    });
    assert_eq!(
        briefs(&found),
        [
            "hello",
            "face 1 happy leading",
            "face 1 sad leading",
            "gone 1",
            "face 2 sad leading",
            "none",
            "face 2 sad leading",
            "goodbye end",
        ]
    );
}

#[test]
fn the_state_is_repeated_once_a_period() {
    let found = lines(Some(100), false, |run| {
        for millis in (0..300).step_by(40) {
            run.frame(millis, &[face(1, HAPPY)]);
        }
        // A wait counts as well as a frame.
        run.wait(400, &[face(1, HAPPY)]);
        run.frame(440, &[]);
        run.frame(539, &[]);
        run.frame(540, &[]);
        run.lost(600, "unplugged");
        run.lost(690, "No such device");
        run.lost(700, "No such device");
        run.frame(800, &[face(1, HAPPY)]);
        // A recording that starts again begins a new period.
        run.frame(0, &[face(1, HAPPY)]);
        run.frame(99, &[face(1, HAPPY)]);
        run.frame(100, &[face(1, HAPPY)]);
    });
    let times: Vec<_> = found[1..]
        .iter()
        .map(|line| format!("{} {}", parsed(line)["time"], brief(line)))
        .collect();
    assert_eq!(
        times,
        [
            "0.0 face 1 happy leading",
            "0.12 face 1 happy leading again",
            "0.24 face 1 happy leading again",
            "0.4 face 1 happy leading again",
            "0.44 none",
            "0.54 none again",
            "0.6 camera_lost unplugged",
            // The first reason is the real cause.
            "0.7 camera_lost unplugged again",
            "0.8 camera_back 0.2",
            "0.8 face 1 happy leading",
            "0.1 face 1 happy leading again",
            "0.1 goodbye end",
        ]
    );
    assert_eq!(parsed(&found[0])["period_ms"], 100);
    assert_eq!(parsed(found.last().unwrap())["frames"], 15);
}

#[test]
fn a_camera_that_is_absent_from_the_start_is_lost() {
    let found = lines(None, false, |run| {
        run.report(0, Report::default());
        run.lost(10, "/dev/video0: No such file or directory");
        run.lost(20, "/dev/video0: No such file or directory");
        run.frame(2510, &[]);
    });
    assert_eq!(
        briefs(&found),
        [
            "hello",
            "camera_lost /dev/video0: No such file or directory",
            "camera_back 2.5",
            "none",
            "goodbye end",
        ]
    );
}

#[test]
fn a_file_is_appended_to() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    let options = Options {
        file: Some(path.clone()),
        ..Options::default()
    };
    for _ in 0..2 {
        Run::new(&options, false).events.finish();
    }
    let text = fs::read_to_string(&path).unwrap();
    let found: Vec<_> = text.lines().map(brief).collect();
    assert_eq!(found, ["hello", "goodbye end", "hello", "goodbye end"]);
    let mode = fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o137, 0, "{mode:o}");
}

#[test]
fn a_line_cut_short_by_a_power_cut_spoils_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("events.jsonl");
    fs::write(&path, "{\"schema\":1,\"type\":\"fa").unwrap();
    let options = Options {
        file: Some(path.clone()),
        ..Options::default()
    };
    Run::new(&options, false).events.finish();
    let text = fs::read_to_string(&path).unwrap();
    let found: Vec<_> = text.lines().skip(1).map(brief).collect();
    assert_eq!(found, ["hello", "goodbye end"]);
}

#[test]
fn a_file_that_cannot_be_made_is_named() {
    let folder = tempfile::tempdir().unwrap();
    for path in [
        folder.path().to_owned(),
        folder.path().join("missing/events.jsonl"),
    ] {
        let options = Options {
            file: Some(path.clone()),
            ..Options::default()
        };
        let error = Events::new(&options, hello(false)).unwrap_err();
        assert!(error.to_string().contains(path.to_str().unwrap()));
    }
}

// ---- A socket with several readers ----------------------------------------

fn socket_options(folder: &Path) -> (Options, PathBuf) {
    let path = folder.join("events.sock");
    let options = Options {
        socket: Some(path.clone()),
        ..Options::default()
    };
    (options, path)
}

struct Client(BufReader<UnixStream>);

impl Client {
    fn new(path: &Path) -> Self {
        let stream = UnixStream::connect(path).unwrap();
        stream.set_read_timeout(Some(LONG)).unwrap();
        Self(BufReader::new(stream))
    }

    /// The next line; `None` at the end.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let count = self.0.read_line(&mut line).expect("a line within the time");
        (count > 0).then(|| line.trim_end().to_owned())
    }

    fn briefs(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| brief(&self.line().unwrap())).collect()
    }

    fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.line()).collect()
    }
}

#[test]
fn each_reader_first_gets_hello_and_the_present_state() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    let mut run = Run::new(&options, false);
    assert_eq!(
        fs::metadata(&path).unwrap().permissions().mode() & 0o777,
        0o660
    );

    let mut early = Client::new(&path);
    assert_eq!(early.briefs(1), ["hello"]);
    run.frame(40, &[]);
    run.frame(80, &[face(1, HAPPY), face(2, SAD), face(3, SAD)]);
    run.frame(120, &[face(2, SAD), face(1, SAD)]);
    let story = [
        "none",
        "face 1 happy leading",
        "face 2 sad",
        "face 3 sad",
        "gone 3",
        "face 2 sad leading",
        "face 1 sad",
    ];
    assert_eq!(early.briefs(7), story);

    let mut late = Client::new(&path);
    assert_eq!(
        late.briefs(3),
        ["hello", "face 2 sad leading", "face 1 sad"]
    );
    run.lost(500, "unplugged");
    assert_eq!(late.briefs(1), ["camera_lost unplugged"]);
    let mut latest = Client::new(&path);
    assert_eq!(latest.briefs(2), ["hello", "camera_lost unplugged"]);

    run.events.finish();
    for client in [early, late, latest] {
        let rest = client.rest();
        assert_eq!(brief(rest.last().unwrap()), "goodbye end");
    }
    assert!(!path.exists(), "the socket file is left behind");
}

/// Health with all values known, except who asked for a pause.
fn known_health() -> Health {
    Health {
        camera: CameraState::Streaming,
        fps: Some(29.97),
        frames: 300,
        dropped: Dropped {
            busy: 1,
            broken: 2,
            dark: 3,
            hot: 4,
        },
        frame_p50: Some(Duration::from_micros(7_125)),
        frame_p99: Some(Duration::from_micros(12_500)),
        temperature: Some(61.25),
        is_hot: false,
        arena_overflows: 5,
        resident: 9_000 << 10,
        uptime: Duration::from_millis(10_500),
        reloads: Reloads {
            done: 1,
            failed: 2,
            error: Some("no such file".into()),
        },
        restarts: 6,
        restart_reason: Some("killed".into()),
        ..Health::default()
    }
}

/// Events that do not come from reports: the daemon's health, the result of a
/// reload, and a pause.
fn lines_about_the_daemon(live: bool) -> Vec<String> {
    lines(None, live, |run| {
        let by = PausedBy {
            control: true,
            gpio: true,
        };
        let announcer = run.events.announcer();
        let health = Health {
            paused_by: by,
            ..known_health()
        };
        let at = (Timestamp::default(), 0);
        announcer.health(health, true, at);
        announcer.reloaded(Some("bad key"), hello(live), at);
        announcer.preview(true, at);
        let camera = Camera::Paused { by };
        run.report(
            0,
            Report {
                camera,
                ..Report::default()
            },
        );
    })
}

#[test]
fn health_and_reloads_are_told_to_all_readers() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    let mut run = Run::new(&options, true);
    let announcer = run.events.announcer();
    let mut early = Client::new(&path);
    assert_eq!(early.briefs(1), ["hello"]);
    let health = known_health();
    let at = (Timestamp::default(), 300);
    announcer.health(health, false, at);
    let line = early.line().unwrap();
    let (_, figures) = line.split_once(r#""frame":300,"#).unwrap();
    assert_eq!(
        figures,
        r#""camera":"streaming","fps":30.0,"frames":300,"dropped":{"busy":1,"broken":2,"dark":3,"hot":4},"frame_p50_ms":7.125,"frame_p99_ms":12.5,"temperature":61.3,"hot":false,"arena_overflows":5,"rss_kib":9000,"uptime":10.5,"reloads_done":1,"reloads_failed":2,"reload_error":"no such file","restarts":6,"restart_reason":"killed","change":false}"#
    );
    // What is not known is left out.
    announcer.health(Health::default(), true, at);
    let line = early.line().unwrap();
    let (_, figures) = line.split_once(r#""frame":300,"#).unwrap();
    assert_eq!(
        figures,
        r#""camera":"starting","frames":0,"dropped":{"busy":0,"broken":0,"dark":0,"hot":0},"hot":false,"arena_overflows":0,"rss_kib":0,"uptime":0.0,"reloads_done":0,"reloads_failed":0,"restarts":0,"change":true}"#
    );
    // A later reader gets the last `health`, after `hello`.
    let mut late = Client::new(&path);
    assert_eq!(late.briefs(1), ["hello"]);
    assert!(late.line().unwrap().ends_with(figures));

    announcer.reloaded(Some("bad key"), hello(true), at);
    announcer.reloaded(None, hello(true), at);
    for client in [&mut early, &mut late] {
        for end in [
            r#""ok":false,"config":"c0","error":"bad key"}"#,
            r#""ok":true,"config":"c0"}"#,
        ] {
            let line = client.line().unwrap();
            assert!(
                line.contains(r#""type":"reload""#) && line.ends_with(end),
                "{line}"
            );
            assert_eq!(client.briefs(1), ["hello"]);
        }
    }
    run.events.finish();
}

#[test]
fn a_recording_has_no_health() {
    let found = lines(None, false, |run| {
        let at = (Timestamp::default(), 1);
        run.events.announcer().health(Health::default(), true, at);
    });
    assert_eq!(briefs(&found), ["hello", "goodbye end"]);
}

#[test]
fn a_reader_that_never_reads_is_dropped_and_others_lose_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    // Live, so that the loop does not wait for readers.
    let mut run = Run::new(&options, true);
    let sleeper = UnixStream::connect(&path).unwrap();
    let mut reader = Client::new(&path);
    assert_eq!(reader.briefs(1), ["hello"]);

    // Sends lines at the good reader's pace, until the other reader was sent
    // more than the kernel and the queue can store together.
    let mut given = 0;
    for frame in 0..4000_u64 {
        let state = if frame % 2 == 0 { HAPPY } else { SAD };
        run.frame(frame * 40, &[face(1, state)]);
        let line = reader.line().unwrap();
        given += line.len() + 1;
        assert_eq!(parsed(&line)["frame"], frame + 1);
    }
    // The sleeping reader gets what the kernel stored for it, and then the end.
    let mut kept = String::new();
    sleeper.set_read_timeout(Some(LONG)).unwrap();
    (&sleeper).read_to_string(&mut kept).unwrap();
    assert!(
        kept.len() < given / 2,
        "{} of {given} bytes were kept",
        kept.len()
    );
    run.events.finish();
    assert_eq!(reader.rest().len(), 1);
}

#[test]
fn readers_may_come_and_go_and_send_anything() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    let mut run = Run::new(&options, true);
    for round in 0..100_u64 {
        let mut client = Client::new(&path);
        assert_eq!(client.briefs(1), ["hello"]);
        client
            .0
            .get_mut()
            .write_all(b"GET / HTTP/1.1\r\n\r\n")
            .unwrap();
        if round % 2 == 0 {
            client
                .0
                .get_ref()
                .shutdown(std::net::Shutdown::Write)
                .unwrap();
        }
        run.frame(round * 40, &[face(round as u32, HAPPY)]);
    }
    let client = Client::new(&path);
    run.events.finish();
    let rest = client.rest();
    assert_eq!(brief(rest.last().unwrap()), "goodbye end");
}

#[test]
fn readers_beyond_the_limit_are_turned_away() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    let mut run = Run::new(&options, true);
    let mut clients: Vec<_> = (0..affectd::output::events::READERS)
        .map(|_| Client::new(&path))
        .collect();
    for client in &mut clients {
        assert_eq!(client.briefs(1), ["hello"]);
    }
    assert_eq!(Client::new(&path).line(), None);
    // A free place can be used again.
    drop(clients.pop());
    let start = Instant::now();
    while Client::new(&path).line().is_none() {
        assert!(start.elapsed() < LONG);
    }
    run.events.finish();
    assert_eq!(clients.remove(0).rest().len(), 1);
}

#[test]
fn a_stale_socket_is_replaced_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());

    // Left by a process that was killed: the file exists, but no process
    // listens.
    drop(UnixListener::bind(&path).unwrap());
    assert!(path.exists());
    let mut run = Run::new(&options, false);
    assert_eq!(Client::new(&path).briefs(1), ["hello"]);

    let error = Events::new(&options, hello(false)).unwrap_err();
    assert!(
        matches!(error, Error::Socket(SocketError::InUse { .. })),
        "{error}"
    );
    assert_eq!(Client::new(&path).briefs(1), ["hello"]);
    run.events.finish();

    fs::write(&path, "precious").unwrap();
    let error = Events::new(&options, hello(false)).unwrap_err();
    assert!(
        matches!(error, Error::Socket(SocketError::NoSocket { .. })),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&path).unwrap(), "precious");
}

#[test]
fn the_place_of_a_socket_is_free_as_soon_as_its_owner_is_gone() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    for round in 0..20 {
        // Dropped without a goodbye, as after a failed start; its thread may
        // run for another moment.
        let run = Run::new(&options, true);
        let reader = Client::new(&path);
        drop(run);
        let again = Events::new(&options, hello(true));
        assert!(again.is_ok(), "round {round}: {}", again.unwrap_err());
        // The old thread does not remove the new file.
        reader.rest();
        assert_eq!(Client::new(&path).briefs(1), ["hello"]);
    }
    assert!(!path.exists());
}

#[test]
fn a_socket_that_is_no_longer_ours_stays() {
    let folder = tempfile::tempdir().unwrap();
    let (options, path) = socket_options(folder.path());
    let mut run = Run::new(&options, false);
    fs::remove_file(&path).unwrap();
    let _other = UnixListener::bind(&path).unwrap();
    run.events.finish();
    assert!(fs::metadata(&path).unwrap().file_type().is_socket());
}

#[test]
fn a_path_that_no_socket_can_have_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    for (name, expected) in [
        ("x".repeat(120), "at most 107"),
        ("missing/events.sock".to_owned(), "does its folder exist?"),
    ] {
        let path = folder.path().join(name);
        let options = Options {
            socket: Some(path.clone()),
            ..Options::default()
        };
        let error = Events::new(&options, hello(false)).unwrap_err().to_string();
        assert!(error.contains(path.to_str().unwrap()), "{error}");
        assert!(error.contains(expected), "{error}");
    }
}

// ---- Outputs that fail ------------------------------------------------------

#[test]
fn a_full_disk_stops_neither_the_loop_nor_other_outputs() {
    let folder = tempfile::tempdir().unwrap();
    let (mut options, path) = socket_options(folder.path());
    options.file = Some(PathBuf::from("/dev/full"));
    let mut run = Run::new(&options, true);
    let mut reader = Client::new(&path);
    assert_eq!(reader.briefs(1), ["hello"]);
    for frame in 0..2 * QUEUE as u64 {
        let state = if frame % 2 == 0 { HAPPY } else { SAD };
        run.frame(frame * 40, &[face(1, state)]);
        assert_eq!(parsed(&reader.line().unwrap())["frame"], frame + 1);
    }
    let start = Instant::now();
    run.events.finish();
    // A limit for any machine; the promised limit is 150 ms.
    assert!(start.elapsed() < Duration::from_secs(2));
    assert_eq!(brief(&reader.line().unwrap()), "goodbye end");
}

/// A `dropped` line, from a named pipe that was not read for a while.
fn dropped_line(live: bool) -> String {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("pipe");
    let (kind, mode) = (FileType::Fifo, Mode::from_raw_mode(0o600));
    rustix::fs::mknodat(rustix::fs::CWD, &path, kind, mode, 0).unwrap();
    // Open for reading before events are written to it, as a reader would be.
    let pipe = fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open(&path)
        .unwrap();
    let options = Options {
        file: Some(path),
        ..Options::default()
    };
    let mut run = Run::new(&options, live);
    // A pipe stores 64 KiB, about 160 lines.
    let count = 1000;
    for frame in 0..count {
        let state = if frame % 2 == 0 { HAPPY } else { SAD };
        run.frame(frame * 40, &[face(1, state)]);
    }
    let reader = std::thread::spawn(move || {
        let mut lines = Vec::new();
        for line in BufReader::new(pipe).lines() {
            let line = line.unwrap();
            let last = line.contains("\"goodbye\"");
            lines.push(line);
            if last {
                break;
            }
        }
        lines
    });
    run.events.finish();
    let lines = reader.join().unwrap();
    let dropped: Vec<_> = lines
        .iter()
        .filter(|line| line.contains("\"dropped\""))
        .collect();
    let lost: u64 = dropped
        .iter()
        .map(|line| parsed(line)["lines"].as_u64().unwrap())
        .sum();
    let faces = lines.iter().filter(|l| l.contains("\"face\"")).count() as u64;
    assert_eq!(faces + lost, count, "every line is there or counted");
    assert!(lost > 0);
    assert_eq!(brief(&lines[0]), "hello");
    dropped[0].clone()
}

#[test]
fn what_a_slow_reader_missed_is_counted() {
    let line = dropped_line(true);
    assert!(brief(&line).starts_with("dropped "), "{line}");
}

/// Set in the environment of a process that a test starts from this file.
const CHILD: &str = "AFFECTD_TEST_CHILD";

/// Runs in a process of its own, whose standard output the tests below close or
/// do not read. A byte on its standard input lets it continue.
#[test]
#[ignore = "run by other tests as a process of its own"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let options = Options {
        stdout: true,
        ..Options::default()
    };
    let mut run = Run::new(&options, true);
    let mut line = String::new();
    std::io::stdin().read_line(&mut line).unwrap();
    for frame in 0..2000_u64 {
        let state = if frame % 2 == 0 { HAPPY } else { SAD };
        run.frame(frame * 40, &[face(1, state)]);
    }
    let start = Instant::now();
    run.events.finish();
    let millis = start.elapsed().as_millis();
    eprintln!("finished in {millis} ms");
    // Not through the test harness, which writes to standard output.
    std::process::exit(if millis < 2000 { 0 } else { 1 });
}

fn child_process() -> std::process::Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "events::child", "--ignored", "--nocapture"])
        .env(CHILD, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Lets the child continue and waits for its end.
fn finish(mut child: std::process::Child) {
    child.stdin.take().unwrap().write_all(b"\n").unwrap();
    let output = child.stderr.take().unwrap();
    let status = child.wait().unwrap();
    let text = std::io::read_to_string(output).unwrap();
    assert!(status.success(), "{status}: {text}");
    assert!(text.contains("finished in"), "{text}");
}

#[test]
fn a_closed_standard_output_ends_nothing() {
    let mut child = child_process();
    let mut output = BufReader::new(child.stdout.take().unwrap());
    let mut line = String::new();
    while !line.contains("\"hello\"") {
        line.clear();
        assert!(output.read_line(&mut line).unwrap() > 0);
    }
    drop(output);
    finish(child);
}

#[test]
fn a_standard_output_that_nobody_reads_holds_nothing_up() {
    let mut child = child_process();
    let output = child.stdout.take().unwrap();
    finish(child);
    drop(output);
}
