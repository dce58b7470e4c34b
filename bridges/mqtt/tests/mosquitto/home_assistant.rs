//! Home Assistant's part: discovery, its birth message, leftovers, the switch.

use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::mpsc::{Receiver, channel};

use serde_json::{Value, json};

use crate::support::{Bridge, Broker, Daemon, Message, Subscriber, configuration};

const CONFIG: &str = "homeassistant/device/affectd_robot-7/config";

fn discovery(subscriber: &Subscriber) -> Value {
    let message = subscriber.find("discovery", |message| {
        message.topic == CONFIG && !message.is_retained && !message.text.is_empty()
    });
    message.json()
}

fn shown(discovery: &Value) -> Vec<String> {
    let components = discovery["components"].as_object().unwrap();
    let shown = components
        .iter()
        .filter(|(_, keys)| keys.get("unique_id").is_some());
    shown.map(|(key, _)| key.clone()).collect()
}

#[test]
fn the_device_describes_itself() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "Küchenhäuschen");
    let subscriber = broker.subscribe("#");
    let _bridge = Bridge::start(
        &daemon,
        &broker,
        "[homeassistant]\nhide = [\"frame_time\"]\n",
    );
    daemon.accept();
    let message = discovery(&subscriber);
    assert_eq!(message["device"]["name"], "Küchenhäuschen");
    assert_eq!(message["device"]["identifiers"], json!(["affectd_robot-7"]));
    assert_eq!(
        message["availability_topic"],
        "affectd/robot-7/availability"
    );
    assert_eq!(message["origin"]["name"], "affectd-mqtt");
    assert_eq!(
        shown(&message),
        [
            "camera",
            "change",
            "confidence",
            "expression",
            "face",
            "faces",
            "fps",
            "hot",
            "lines_dropped"
        ]
    );
    let components = &message["components"];
    // What is not shown is taken away, should an earlier version have shown it.
    for (key, platform) in [
        ("pause", "switch"),
        ("frame_time", "sensor"),
        ("fatigue", "sensor"),
    ] {
        assert_eq!(components[key], json!({"platform": platform}));
    }
    let expression = &components["expression"];
    assert_eq!(expression["device_class"], "enum");
    assert_eq!(expression["expire_after"], 30);
    assert_eq!(expression["unique_id"], "affectd_robot-7_expression");
    assert!(
        expression["options"]
            .as_array()
            .unwrap()
            .contains(&json!("none"))
    );
    for (key, component) in components.as_object().unwrap() {
        let platform = &component["platform"];
        assert!(platform.is_string(), "{key}");
        // Whatever is not retained must expire, except for an event.
        let topic = component["state_topic"].as_str().unwrap_or_default();
        let expires = component.get("expire_after").is_some();
        let may_stay = platform == "event" || topic.ends_with("/health") || topic.is_empty();
        assert_ne!(expires, may_stay, "{key}");
    }

    // Eyes are watched: their sensors appear with the first event about them.
    daemon.fatigue("ok");
    let message = discovery(&subscriber);
    let now = shown(&message);
    assert!(now.contains(&"fatigue".to_owned()) && now.contains(&"fatigue_valid".to_owned()));
}

#[test]
fn after_its_start_home_assistant_gets_everything_again() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let subscriber = broker.subscribe("#");
    let _bridge = Bridge::start(&daemon, &broker, "[topics]\nperiod_s = 3600\n");
    daemon.accept();
    daemon.face("happy");
    daemon.health();
    discovery(&subscriber);
    // The state follows when Home Assistant has subscribed.
    subscriber.expression(&json!("happy"));
    for _ in 0..2 {
        broker.publish("homeassistant/status", "offline", false);
        broker.publish("homeassistant/status", "online", false);
        discovery(&subscriber);
        subscriber.text("/availability", "online");
        subscriber.expression(&json!("happy"));
    }
}

#[test]
fn leftovers_of_other_versions_are_removed_and_what_was_seen_stays() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let leftover = json!({
        "device": {"identifiers": ["affectd_robot-7"]},
        "components": {
            "mood_ring": {"platform": "light", "unique_id": "x"},
            "facing": {"platform": "binary_sensor", "unique_id": "y"},
            "temperature": {"platform": "sensor"},
        },
    });
    broker.publish(CONFIG, &leftover.to_string(), true);
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let subscriber = broker.subscribe("#");
    let _bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    let message = discovery(&subscriber);
    assert_eq!(
        message["components"]["mood_ring"],
        json!({"platform": "light"})
    );
    let shown = shown(&message);
    assert!(shown.contains(&"facing".to_owned()), "{shown:?}");
    assert!(!shown.contains(&"temperature".to_owned()), "{shown:?}");
}

#[test]
fn without_discovery_nothing_is_said_to_home_assistant() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let subscriber = broker.subscribe("#");
    let _bridge = Bridge::start(
        &daemon,
        &broker,
        "[topics]\nperiod_s = 1\n[homeassistant]\ndiscovery = false\n",
    );
    daemon.accept();
    daemon.face("happy");
    for _ in 0..3 {
        subscriber.expression(&json!("happy"));
    }
    assert!(
        !broker
            .retained()
            .iter()
            .any(|message| message.topic == CONFIG)
    );
}

/// A control socket that obeys or refuses.
struct Control {
    path: PathBuf,
    requests: Receiver<String>,
}

impl Control {
    fn start(folder: &Path, answer: &'static str) -> Self {
        let path = folder.join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let (sender, requests) = channel();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut line = String::new();
                BufReader::new(stream.try_clone().unwrap())
                    .read_line(&mut line)
                    .unwrap();
                writeln!(stream, "{answer}").unwrap();
                sender.send(line.trim().to_owned()).unwrap();
            }
        });
        Self { path, requests }
    }

    fn settings(&self) -> String {
        format!("[control]\nsocket = {:?}\npause = true\n", self.path)
    }
}

#[test]
fn the_switch_pauses_if_it_is_allowed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let control = Control::start(folder.path(), "{\"ok\":true}");
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let subscriber = broker.subscribe("#");
    let bridge = Bridge::start(&daemon, &broker, &control.settings());
    daemon.accept();
    daemon.face("happy");
    let message = discovery(&subscriber);
    let topic = message["components"]["pause"]["command_topic"]
        .as_str()
        .unwrap()
        .to_owned();
    let state = subscriber.expression(&json!("happy"));
    assert_eq!(state.json()["paused"], false);
    broker.publish(&topic, "ON", false);
    assert_eq!(control.requests.recv().unwrap(), "{\"command\":\"pause\"}");
    daemon.send(
        "paused",
        &json!({"by": ["control"], "since": 1, "change": true}),
    );
    let is_paused =
        |message: &Message| message.topic.ends_with("/state") && message.json()["paused"] == true;
    subscriber.find("a pause", is_paused);
    // Neither a retained order nor another word is obeyed.
    broker.publish(&topic, "sideways", false);
    bridge.await_log("'sideways' is no order");
    broker.publish(&topic, "OFF", true);
    broker.publish(&topic, "OFF", false);
    assert_eq!(control.requests.recv().unwrap(), "{\"command\":\"resume\"}");
}

#[test]
fn a_retained_order_is_not_obeyed() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    broker.publish("affectd/robot-7/pause/set", "ON", true);
    let control = Control::start(folder.path(), "{\"ok\":true}");
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let bridge = Bridge::start(&daemon, &broker, &control.settings());
    daemon.accept();
    bridge.await_log("a retained order is not obeyed");
    assert!(control.requests.try_recv().is_err());
}

#[test]
fn a_refused_pause_shows_what_is_so() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let control = Control::start(folder.path(), "{\"ok\":false,\"error\":\"not allowed\"}");
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let settings = format!("[topics]\nperiod_s = 3600\n{}", control.settings());
    let bridge = Bridge::start(&daemon, &broker, &settings);
    daemon.accept();
    daemon.face("happy");
    bridge.await_log("connected as");
    let subscriber = broker.subscribe("affectd/#");
    // The states that are sent because of the start.
    subscriber.all(std::time::Duration::from_secs(4));
    broker.publish("affectd/robot-7/pause/set", "ON", false);
    bridge.await_log("not allowed");
    let state = subscriber.expression(&json!("happy"));
    assert_eq!(state.json()["paused"], false);
}

fn forget(daemon_socket: &Path, broker: &Broker, arguments: &[&str]) -> Output {
    let config = broker.folder.join("forget.toml");
    std::fs::write(&config, configuration(daemon_socket, broker.port, "")).unwrap();
    Command::new(env!("CARGO_BIN_EXE_affectd-mqtt"))
        .args(["forget", "--config", config.to_str().unwrap()])
        .args(arguments)
        .output()
        .unwrap()
}

#[test]
fn forget_clears_what_the_broker_keeps() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "r");
    let subscriber = broker.subscribe("#");
    let mut bridge = Bridge::start(&daemon, &broker, "");
    daemon.accept();
    daemon.health();
    discovery(&subscriber);
    let missing = Path::new("/nonexistent/events.sock");

    // Not while the bridge runs: it would publish again.
    let output = forget(missing, &broker, &["--id", "robot-7"]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success());
    assert!(error.contains("systemctl stop affectd-mqtt"), "{error}");

    bridge.process.signal("-TERM");
    bridge.process.0.wait().unwrap();
    assert_eq!(broker.retained().len(), 3);
    let output = forget(missing, &broker, &[]);
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("forget --id ID"), "{error}");
    let output = forget(missing, &broker, &["--id", "robot-7"]);
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(
        text.lines()
            .filter(|line| line.starts_with("cleared "))
            .count(),
        3,
        "{text}"
    );
    assert_eq!(broker.retained(), []);
    let output = forget(missing, &broker, &["--id", "robot-7"]);
    assert!(
        String::from_utf8(output.stdout)
            .unwrap()
            .contains("kept nothing")
    );
}
