//! What is published, and that it is never stale.

use std::time::Duration;

use serde_json::{Value, json};

use crate::support::{Bridge, Broker, Daemon, await_that};

#[test]
fn states_changes_health_and_eyes_are_published() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "Küche");
    let subscriber = broker.subscribe("affectd/#");
    let _bridge = Bridge::start(&daemon, &broker, "[topics]\nperiod_s = 2\n");
    daemon.accept();
    daemon.none();
    subscriber.text("affectd/robot-7/availability", "online");
    daemon.face("happy");
    let state = subscriber.expression(&json!("happy"));
    assert_eq!(state.topic, "affectd/robot-7/state");
    assert!(!state.is_retained);
    let mut expected = json!({
        "expression": "happy", "confidence": 0.87, "faces": 1, "facing": null, "paused": false,
    });
    expected["since"] = state.json()["since"].clone();
    assert_eq!(
        state.json(),
        expected,
        "no box and no probabilities unless asked for"
    );
    let since = expected["since"].as_str().unwrap();
    assert!(since.starts_with("2026-01-31T12:34:5"), "{since}");
    let change = subscriber.find("a change", |message| message.topic.ends_with("/change"));
    assert_eq!(
        change.json(),
        json!({"event_type": "happy", "from": "none", "confidence": 0.87})
    );
    daemon.health();
    let health = subscriber.find("health", |message| message.topic.ends_with("/health"));
    assert_eq!(health.json()["camera"], "streaming");
    assert_eq!(health.json()["bridge"]["lines_dropped"], 0);
    daemon.fatigue("drowsy");
    let fatigue = subscriber.find("fatigue", |message| message.topic.ends_with("/fatigue"));
    assert_eq!(fatigue.json()["state"], "drowsy");
    assert_eq!(fatigue.json()["valid"], 0.93);
    daemon.send("dropped", &json!({"lines": 7}));
    subscriber.find("the dropped lines", |message| {
        message.topic.ends_with("/health") && message.json()["bridge"]["lines_dropped"] == 7
    });
    // Repeated without a change, but no change is reported again.
    for _ in 0..2 {
        subscriber.expression(&json!("happy"));
    }
    daemon.send(
        "camera_lost",
        &json!({"reason": "unplugged", "since": 1, "change": true}),
    );
    let lost = subscriber.expression(&Value::Null);
    assert_eq!(lost.json()["faces"], Value::Null);

    let retained = broker.retained();
    let topics: Vec<_> = retained
        .iter()
        .map(|message| message.topic.as_str())
        .collect();
    for topic in ["availability", "health"] {
        assert!(
            topics.contains(&format!("affectd/robot-7/{topic}").as_str()),
            "{topics:?}"
        );
    }
    for topic in ["state", "change", "fatigue", "events"] {
        assert!(
            !topics.contains(&format!("affectd/robot-7/{topic}").as_str()),
            "{topics:?}"
        );
    }
}

#[test]
fn details_and_raw_lines_are_published_if_asked_for() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let subscriber = broker.subscribe("haus/roboter/#");
    let settings = "[topics]\nprefix = \"haus/roboter\"\ndetails = true\nevents = true\n";
    let _bridge = Bridge::start(&daemon, &broker, settings);
    daemon.accept();
    subscriber.text("haus/roboter/r/availability", "online");
    daemon.face("sad");
    let raw = subscriber.find("the line", |message| {
        message.topic == "haus/roboter/r/events" && message.json()["type"] == "face"
    });
    assert_eq!(raw.json()["label"], "sad");
    let state = subscriber.expression(&json!("sad"));
    assert_eq!(state.json()["box"], json!([1, 2, 3, 4]));
    assert_eq!(state.json()["probabilities"], json!({"happy": 0.87}));
    // The socket's own report of what is missing is passed on as well.
    daemon.send("dropped", &json!({"lines": 7}));
    subscriber.find("dropped", |message| {
        message.topic.ends_with("/events") && message.json()["type"] == "dropped"
    });
}

/// Lines that a real daemon wrote (`bridges/common/tests/data`).
#[test]
fn what_a_real_daemon_writes_is_published() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let recording = include_str!("../../../common/tests/data/daemon.jsonl");
    let mut daemon = Daemon::new(folder.path(), "desk", "desk");
    let subscriber = broker.subscribe("affectd/#");
    let _bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    subscriber.text("/availability", "online");
    let mut expected = Vec::new();
    for line in recording.lines() {
        let event: Value = serde_json::from_str(line).unwrap();
        // The first line of another daemon would be another machine.
        if event["type"] == "hello" {
            continue;
        }
        daemon.raw(&format!("{line}\n"));
        if event["type"] == "face" && event["leading"] == true && event["change"] == true {
            expected.push(event["label"].clone());
        }
    }
    assert!(expected.len() > 3, "{expected:?}");
    let states: Vec<_> = subscriber
        .all(Duration::from_secs(2))
        .into_iter()
        .filter(|message| message.topic.ends_with("/change"))
        .map(|message| message.json()["event_type"].clone())
        .collect();
    for label in expected {
        assert!(states.contains(&label), "{label} is not in {states:?}");
    }
}

#[test]
fn whoever_ends_the_machine_is_offline() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let subscriber = broker.subscribe("affectd/#");
    let availability = || {
        let retained = broker.retained();
        let message = retained
            .iter()
            .find(|message| message.topic == "affectd/r/availability");
        message.map(|message| message.text.clone())
    };
    let bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    daemon.face("happy");
    subscriber.text("/availability", "online");

    // The daemon ends, and comes back with another state.
    daemon.end();
    subscriber.text("/availability", "offline");
    assert_eq!(availability().as_deref(), Some("offline"));
    daemon.begin();
    daemon.accept();
    daemon.face("sad");
    // The new state is there before the machine is online.
    subscriber.expression(&json!("sad"));
    subscriber.text("/availability", "online");

    // The bridge is killed: the broker sends the will.
    bridge.process.signal("-KILL");
    subscriber.text("/availability", "offline");
    drop(bridge);
    let mut bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    subscriber.text("/availability", "online");

    // The bridge is stopped.
    bridge.process.signal("-TERM");
    subscriber.text("/availability", "offline");
    let status = bridge.process.0.wait().unwrap();
    assert!(status.success(), "{status}: {}", bridge.log());
    assert_eq!(availability().as_deref(), Some("offline"));
}

#[test]
fn after_a_restart_of_the_broker_all_is_there_again() {
    let folder = tempfile::tempdir().unwrap();
    let mut broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let bridge = Bridge::start(&daemon, &broker, "[topics]\nperiod_s = 3600\n");
    daemon.accept();
    daemon.face("happy");
    daemon.health();
    bridge.await_log("connected as 'affectd-r'");
    broker.kill();
    bridge.await_log("no program listens there");
    // What happens meanwhile is not sent later as if it happened then.
    daemon.face("sad");
    daemon.face("angry");
    broker.run();
    let subscriber = broker.subscribe("#");
    subscriber.text("/availability", "online");
    let topics = ["affectd/r/health", "homeassistant/device/affectd_r/config"];
    await_that("the retained messages", || {
        let retained = broker.retained();
        let is_there = |topic: &&str| retained.iter().any(|message| message.topic == **topic);
        topics.iter().all(is_there)
    });
    let state = subscriber.find("a state", |message| message.topic.ends_with("/state"));
    assert_eq!(state.json()["expression"], "angry");
    let rest = subscriber.all(Duration::from_secs(1));
    assert!(
        !rest
            .iter()
            .any(|message| message.topic.ends_with("/change")),
        "{rest:?}"
    );
    assert_eq!(
        bridge.logged("no program listens there"),
        1,
        "{}",
        bridge.log()
    );
}

#[test]
fn two_robots_share_a_broker() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let subscriber = broker.subscribe("affectd/#");
    let mut bridges = Vec::new();
    for (id, name, label) in [("a", "Häuschen", "happy"), ("b", "Küche", "sad")] {
        let mut daemon = Daemon::new(folder.path(), id, name);
        let bridge = Bridge::start(&daemon, &broker, "");
        daemon.accept();
        daemon.face(label);
        let state = subscriber.expression(&json!(label));
        assert_eq!(state.topic, format!("affectd/{id}/state"));
        bridges.push((daemon, bridge));
    }
    await_that("both descriptions", || {
        let names: Vec<_> = broker
            .retained()
            .iter()
            .filter(|message| message.topic.starts_with("homeassistant/"))
            .map(|message| message.json()["device"]["name"].clone())
            .collect();
        names == ["Häuschen", "Küche"]
    });
    let (mut first, second) = {
        let mut bridges = bridges.into_iter();
        (bridges.next().unwrap(), bridges.next().unwrap())
    };
    second.1.process.signal("-TERM");
    let offline = subscriber.text("/availability", "offline");
    assert_eq!(offline.topic, "affectd/b/availability");
    first.0.face("fear");
    assert_eq!(
        subscriber.expression(&json!("fear")).topic,
        "affectd/a/state"
    );
}

/// The lines of a frame may be torn apart where the machine is busy.
#[test]
fn a_leading_face_that_follows_another_late_is_one_change() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let subscriber = broker.subscribe("affectd/#");
    let _bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    daemon.face("happy");
    subscriber.text("/availability", "online");
    daemon.send("gone", &json!({"track": 1}));
    std::thread::sleep(Duration::from_millis(200));
    daemon.face("sad");
    let messages = subscriber.all(Duration::from_secs(2));
    let changes: Vec<_> = messages
        .iter()
        .filter(|message| message.topic.ends_with("/change"))
        .map(|message| message.json()["event_type"].clone())
        .collect();
    assert_eq!(changes, ["sad"], "{messages:?}");
    let unknown = messages
        .iter()
        .any(|message| message.topic.ends_with("/state") && message.json()["expression"].is_null());
    assert!(!unknown, "{messages:?}");
}

#[test]
fn another_id_is_another_machine() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "before", "r");
    let subscriber = broker.subscribe("affectd/#");
    let _bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    subscriber.text("affectd/before/availability", "online");
    // The board file was changed and read again.
    daemon.id = "after".to_owned();
    daemon.greet();
    subscriber.text("affectd/before/availability", "offline");
    subscriber.text("affectd/after/availability", "online");
}
