//! Faults of the broker and of the network: each is logged once with what to do,
//! and the bridge goes on by itself when the cause is gone.

use std::fs;
use std::net::{Ipv4Addr, TcpListener};
use std::process::Command;
use std::time::Duration;

use serde_json::json;

use crate::support::{Bridge, Broker, Daemon, configuration, free_port, secret_file};

#[test]
fn a_wrong_password_is_reported_once_and_may_be_mended() {
    let folder = tempfile::tempdir().unwrap();
    let passwords = folder.path().join("passwords");
    fs::write(&passwords, "").unwrap();
    let made = Command::new("/usr/bin/mosquitto_passwd")
        .args(["-b", passwords.to_str().unwrap(), "robot", "richtig"])
        .status();
    assert!(made.unwrap().success());
    let config = format!(
        "allow_anonymous false\npassword_file {}\n",
        passwords.display()
    );
    let broker = Broker::with(folder.path(), &config, &["-u", "robot", "-P", "richtig"]);
    let password = folder.path().join("password");
    secret_file(&password, "falsch\n");
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let settings = format!("[broker]\nuser = \"robot\"\npassword_file = {password:?}\n");
    let bridge = Bridge::start(&daemon, &broker, &settings);
    daemon.accept();
    daemon.face("happy");
    bridge.await_log("refuses the user 'robot'");
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(bridge.logged("refuses the user"), 1, "{}", bridge.log());
    assert!(!bridge.log().contains("falsch"));
    let subscriber = broker.subscribe("affectd/#");
    secret_file(&password, "richtig\n");
    subscriber.text("/availability", "online");
    bridge.await_log("well again");
}

#[test]
fn a_password_that_others_can_read_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    fs::write(&password, "x").unwrap();
    let config = folder.path().join("mqtt.toml");
    let settings = format!("[broker]\nuser = \"robot\"\npassword_file = {password:?}\n");
    fs::write(&config, configuration(folder.path(), 1, &settings)).unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_affectd-mqtt"))
        .args(["check", "--config", config.to_str().unwrap()])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(
        error.contains("mqtt.toml:8: broker.password_file: "),
        "{error}"
    );
    assert!(error.contains("chmod o="), "{error}");
}

#[test]
fn a_broker_that_accepts_and_says_nothing_is_reported_once() {
    let folder = tempfile::tempdir().unwrap();
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = silent.local_addr().unwrap().port();
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let bridge = Bridge::at_port(&daemon, folder.path(), port, "");
    daemon.accept();
    bridge.await_log("says nothing for 10 s");
    // The second attempt.
    let first = silent.accept().unwrap();
    let second = silent.accept().unwrap();
    assert_eq!(bridge.logged("says nothing"), 1, "{}", bridge.log());
    drop((first, second));
}

#[test]
fn a_broker_that_falls_silent_holds_up_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "r", "r");
    let bridge = Bridge::start(&daemon, &broker, "[topics]\nperiod_s = 3\n");
    daemon.accept();
    daemon.face("happy");
    bridge.await_log("connected as");
    let subscriber = broker.subscribe("affectd/#");
    broker.signal("-STOP");
    // More than the queues hold: the daemon's lines must still be read, or it
    // would count this bridge as too slow.
    let long = "x".repeat(3000);
    for number in 0..3000 {
        daemon.face(if number % 2 == 0 { "sad" } else { "happy" });
        daemon.send("of the future", &json!({"text": long}));
    }
    daemon.face("fear");
    bridge.await_log("does not answer any more");
    broker.signal("-CONT");
    subscriber.expression(&json!("fear"));
    subscriber.text("/availability", "online");
}

#[test]
fn a_client_id_that_is_used_twice_is_reported_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut first = Daemon::new(folder.path(), "robot-7", "r");
    let one = Bridge::start(&first, &broker, "");
    first.accept();
    let other = tempfile::tempdir().unwrap();
    let mut second = Daemon::new(other.path(), "robot-7", "r");
    let two = Bridge::start(&second, &broker, "");
    second.accept();
    for bridge in [&one, &two] {
        bridge.await_log("most likely another client uses 'affectd-robot-7', too");
    }
    drop(two);
    // The other one is gone: this one stays.
    let subscriber = broker.subscribe("affectd/#");
    first.face("happy");
    subscriber.expression(&json!("happy"));
    assert_eq!(one.logged("most likely another client"), 1, "{}", one.log());
}

#[test]
fn a_name_that_nobody_knows_and_a_port_without_a_broker_are_explained() {
    let folder = tempfile::tempdir().unwrap();
    for (settings, part) in [
        ("[broker]\nhost = \"broker.invalid\"\n", "name is not known"),
        ("", "no program listens there"),
    ] {
        let id = if settings.is_empty() { "a" } else { "b" };
        let mut daemon = Daemon::new(folder.path(), id, "r");
        let bridge = Bridge::at_port(&daemon, folder.path(), free_port(), settings);
        daemon.accept();
        bridge.await_log(part);
    }
}

#[test]
fn check_tries_both_ends() {
    let folder = tempfile::tempdir().unwrap();
    let broker = Broker::start(folder.path());
    let mut daemon = Daemon::new(folder.path(), "robot-7", "Küche");
    let config = folder.path().join("mqtt.toml");
    let socket = folder.path().join("robot-7-events.sock");
    fs::write(&config, configuration(&socket, broker.port, "")).unwrap();
    let check = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_affectd-mqtt"));
        command.args(["check", "--connect", "--config", config.to_str().unwrap()]);
        command
    };
    let running = std::thread::spawn({
        let mut check = check();
        move || check.output().unwrap()
    });
    daemon.accept();
    let output = running.join().unwrap();
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(
        text.contains("'robot-7' (Küche)") && text.contains("accepts the connection"),
        "{text}"
    );
    daemon.end();
    let output = check().output().unwrap();
    assert!(!output.status.success());
    assert!(
        String::from_utf8(output.stderr)
            .unwrap()
            .contains("is affectd running?")
    );
}
