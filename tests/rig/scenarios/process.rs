//! How the process ends: on request, killed, after a panic, stuck.

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::os::unix::process::ExitStatusExt as _;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::daemon::{Daemon, Start, command};
use crate::guest::{all_safe, base, chip, lines, modprobe, set, states_on, wait_until};
use crate::webcam::Webcam;

use super::{HAPPY, QUICK, photo, robot};

fn start(log: &str) -> Daemon {
    let mut daemon = Start {
        board: &robot(&[QUICK]),
        ..Start::new(log)
    }
    .go();
    daemon.expect_type("face");
    wait_until("a line", || states_on().len() == 1);
    daemon
}

/// Starts the daemon with a way to make the loop hang or panic.
fn start_with_door(log: &str) -> (Daemon, impl Fn(&str)) {
    let door = "/tmp/door";
    let _ = fs::remove_file(door);
    let mut daemon = Start {
        board: &robot(&[QUICK]),
        env: &[("AFFECTD_RIG", door)],
        ..Start::new(log)
    }
    .go();
    daemon.expect_type("face");
    wait_until("a line", || states_on().len() == 1);
    (daemon, move |word| fs::write(door, word).expect(door))
}

/// Safe levels, `goodbye` and the end of the process soon after SIGTERM or
/// SIGINT.
pub fn asked_to_stop() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut told = String::new();
    for (signal, name) in [(Signal::TERM, "SIGTERM"), (Signal::INT, "SIGINT")] {
        let mut daemon = start("process-stop");
        let asked = Instant::now();
        daemon.signal(signal);
        let safe = wait_until("safe levels", all_safe);
        let goodbye = daemon.expect_type("goodbye");
        let said = asked.elapsed();
        assert_eq!(goodbye["reason"], name);
        let (status, _) = daemon.wait();
        assert!(status.success(), "{status}");
        let ended = asked.elapsed();
        for (what, time) in [("safe levels", safe), ("goodbye", said)] {
            assert!(time < Duration::from_millis(200), "{what} after {time:?}");
        }
        told += &format!(
            "; {name}: safe after {} ms, goodbye after {} ms, ended after {} ms",
            safe.as_millis(),
            said.as_millis(),
            ended.as_millis()
        );
    }
    told
}

/// After SIGKILL the kernel releases the lines, and `affectd safe`, which
/// systemd runs then (ExecStopPost=), sets every one of them to its safe level.
pub fn killed() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = start("process-killed");
    daemon.signal(Signal::KILL);
    daemon.wait();
    drop(daemon);
    made_safe();
    String::new()
}

/// A panic ends the process at once (set in Cargo.toml); the rest is as after
/// SIGKILL.
pub fn panicked() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let (mut daemon, tell) = start_with_door("process-panic");
    tell("panic");
    let (status, _) = daemon.wait();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()), "{status}");
    drop(daemon);
    made_safe();
    String::new()
}

/// No process holds the lines, and `affectd safe` sets each to its safe level.
fn made_safe() {
    const EVENTS: &str = "/sys/kernel/tracing/events/gpio/enable";
    let mut chip = gpio_cdev::Chip::new(chip()).expect("the simulated chip");
    for line in lines::STATES {
        let line = chip.get_line(line).and_then(|line| line.info());
        let line = line.expect("a line of the chip");
        assert!(!line.is_kernel(), "held by {:?}", line.consumer());
    }
    set("/sys/kernel/tracing/trace", "");
    set(EVENTS, "1");
    let status = command(&["safe", "/rig/robot.toml"])
        .status()
        .expect("affectd");
    set(EVENTS, "0");
    assert!(status.success(), "{status}");
    wait_until("safe levels", all_safe);
    // A released simulated line falls back to the level of its resistor; the
    // kernel's trace has the level that was set before.
    let trace = fs::read_to_string("/sys/kernel/tracing/trace").expect("the trace");
    let base = base();
    for line in lines::STATES
        .into_iter()
        .chain([lines::HEARTBEAT, lines::FACE])
    {
        let safe = u32::from(line == lines::FACE);
        let set = format!("gpio_value: {} set {safe}", base + line);
        assert!(trace.contains(&set), "no '{set}' in\n{trace}");
    }
}

/// The service manager's watchdog is fed only while frames are processed or
/// affectd waits for a missing camera.
pub fn service_watchdog() -> String {
    let manager = UnixDatagram::bind("/tmp/notify").expect("/tmp/notify");
    let interval = Duration::from_secs(4);
    manager.set_read_timeout(Some(interval)).expect("a timeout");
    let is_fed = |manager: &UnixDatagram| {
        let mut message = [0; 256];
        let start = Instant::now();
        while start.elapsed() < interval {
            match manager.recv(&mut message) {
                Ok(length) if message[..length].starts_with(b"WATCHDOG=1") => return true,
                Ok(_) => {}
                Err(_) => return false,
            }
        }
        false
    };
    let webcam = Webcam::plug(&photo(HAPPY));
    let micros = interval.as_micros().to_string();
    let door = "/tmp/door";
    let _ = fs::remove_file(door);
    let mut daemon = Start {
        board: &robot(&[QUICK]),
        env: &[
            ("NOTIFY_SOCKET", "/tmp/notify"),
            ("WATCHDOG_USEC", &micros),
            ("AFFECTD_RIG", door),
        ],
        ..Start::new("process-service-watchdog")
    }
    .go();
    daemon.expect_type("face");
    for _ in 0..3 {
        assert!(is_fed(&manager), "not fed while frames are processed");
    }
    drop(webcam);
    daemon.expect_type("camera_lost");
    for _ in 0..3 {
        assert!(is_fed(&manager), "not fed while the camera is waited for");
    }
    fs::write(door, "stick").expect(door);
    // Takes what was sent before the loop got stuck.
    is_fed(&manager);
    assert!(!is_fed(&manager), "fed though the loop is stuck");
    drop(daemon);
    fs::remove_file("/tmp/notify").expect("/tmp/notify");
    String::new()
}

/// The kernel's software watchdog acts when the loop is stuck, but not while it
/// runs, and not after affectd has ended normally.
pub fn hardware_watchdog() -> String {
    const MARGIN: Duration = Duration::from_secs(5);
    // It reports that it would have reset the machine, but does not reset it.
    modprobe(&["softdog", "soft_margin=5", "soft_noboot=1"]);
    let bitten = || {
        let output = Command::new("/bin/dmesg").output().expect("dmesg");
        String::from_utf8_lossy(&output.stdout).contains("Triggered - Reboot ignored")
    };
    let _webcam = Webcam::plug(&photo(HAPPY));
    let board = [
        QUICK,
        (
            "[events]",
            "[watchdog]\ndevice = \"/dev/watchdog\"\n\n[events]",
        ),
    ];
    let run = |door: &str| {
        let mut daemon = Start {
            board: &robot(&board),
            env: &[("AFFECTD_RIG", door)],
            ..Start::new("process-hardware-watchdog")
        }
        .go();
        daemon.expect_type("face");
        daemon
    };
    let daemon = run("/tmp/no-door");
    thread::sleep(2 * MARGIN);
    assert!(!bitten(), "it bit though frames are processed");
    daemon.stop();
    thread::sleep(2 * MARGIN);
    assert!(!bitten(), "it bit though affectd was asked to end");

    let door = "/tmp/door";
    let _ = fs::remove_file(door);
    let daemon = run(door);
    fs::write(door, "stick").expect(door);
    let time = wait_until("the bite", bitten);
    drop(daemon);
    format!(": bit after {:.1} s", time.as_secs_f32())
}

/// Above the limit about every other frame is skipped, and an event says so.
pub fn too_hot() -> String {
    let zone = "/tmp/temperature";
    fs::write(zone, "50000").expect(zone);
    let _webcam = Webcam::plug(&photo(HAPPY));
    let thermal = "[thermal]\nzone = \"/tmp/temperature\"\n\n[events]";
    let board = robot(&[
        QUICK,
        ("[events]", thermal),
        ("stdout = true", "stdout = true\nperiod_ms = 1"),
    ]);
    let mut daemon = Start {
        board: &board,
        ..Start::new("process-too-hot")
    }
    .go();
    daemon.expect_type("face");
    // With a period of 1 ms there is an event for each processed frame, and
    // some while none comes.
    let rate = |daemon: &mut Daemon| {
        let mut next = |after: &Value| {
            daemon.expect("another frame", |event| {
                event["type"] == "face" && event["frame"] != *after
            })
        };
        let first = next(&Value::Null);
        let last = (0..10).fold(first.clone(), |last, _| next(&last["frame"]));
        let time = |event: &Value| event["time"].as_f64().expect("every line has it");
        10.0 / (time(&last) - time(&first))
    };
    let cool = rate(&mut daemon);
    fs::write(zone, "75000").expect(zone);
    let event = daemon.expect_type("temperature");
    assert_eq!(event["hot"], true);
    let hot = rate(&mut daemon);
    assert!(
        (0.35..0.65).contains(&(hot / cool)),
        "{cool:.1} frames a second, then {hot:.1}"
    );
    fs::write(zone, "60000").expect(zone);
    let event = daemon.expect_type("temperature");
    assert_eq!(event["hot"], false);
    daemon.stop();
    format!(": {cool:.1} frames a second, then {hot:.1}")
}
