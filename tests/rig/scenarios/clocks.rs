//! Clocks that jump, a process that is stopped, and too little processor time.

use std::fs;
use std::process::{Child, Command};
use std::thread;
use std::time::Duration;

use affectd::frame::Timestamp;
use rustix::process::Signal;
use rustix::time::{ClockId, Timespec, clock_gettime, clock_settime};
use serde_json::Value;

use crate::daemon::{Daemon, Start};
use crate::guest::{cameras, modprobe, set, states_on, wait_until};
use crate::webcam::Webcam;

use super::{EACH_FRAME, HAPPY, QUICK, photo, robot};

/// An older frame is not processed: the default of `stall_timeout_ms`.
const OLDEST: f64 = 0.8;

fn start(log: &str) -> Daemon {
    let mut daemon = Start {
        board: &robot(&[QUICK, EACH_FRAME]),
        ..Start::new(log)
    }
    .go();
    daemon.expect_type("face");
    wait_until("a line", || states_on().len() == 1);
    daemon
}

/// The present time on the events' clock.
fn now() -> f64 {
    Timestamp::now().0.as_secs_f64()
}

fn time(event: &Value) -> f64 {
    event["time"].as_f64().expect("every line has it")
}

fn frame(event: &Value) -> u64 {
    event["frame"].as_u64().expect("every line has it")
}

/// The event for the next frame with a face; no other event may come before it.
fn next_face(daemon: &mut Daemon, after: &Value) -> Value {
    daemon.expect("the same face in another frame", |event| {
        assert_eq!(event["type"], "face", "{event}");
        assert!(time(event) >= time(after), "{after}, then {event}");
        event["frame"] != after["frame"]
    })
}

/// Ends the daemon. Every frame of the camera must be processed or counted as
/// dropped; returns both counts.
fn stop(daemon: Daemon) -> (u64, u64) {
    let goodbye = daemon.stop();
    let processed = goodbye["frames"].as_u64().expect("frames");
    let dropped = &goodbye["counters"]["frames_dropped"];
    let dropped = dropped.as_u64().expect("frames_dropped");
    assert_eq!(processed + dropped, frame(&goodbye), "{goodbye}");
    (processed, dropped)
}

/// The wall clock is set a year ahead and back: no decision changes.
pub fn wall_clock_jumps() -> String {
    const DAY: i64 = 86_400;
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = start("clocks-jump");
    let mut last = daemon.expect_type("face");
    let since = last["since"].clone();
    for days in [400, -800, 400] {
        let wall = clock_gettime(ClockId::Realtime);
        let jumped = Timespec {
            tv_sec: wall.tv_sec + days * DAY,
            ..wall
        };
        clock_settime(ClockId::Realtime, jumped).expect("the right to set the clock");
        let asked = now();
        for _ in 0..3 {
            let event = next_face(&mut daemon, &last);
            assert_eq!(event["since"], since, "{event}");
            assert_eq!(event["track"], last["track"]);
            assert_eq!(states_on().len(), 1);
            last = event;
        }
        assert!((time(&last) - asked).abs() < 10.0, "{asked}, then {last}");
        // The event's wall time follows.
        let output = Command::new("/bin/date").args(["-u", "+%F"]).output();
        let date = String::from_utf8(output.expect("date").stdout).expect("a date");
        let wall = last["wall"].as_str().expect("a live source has it");
        assert!(wall.starts_with(date.trim()), "{wall} on {date}");
    }
    stop(daemon);
    String::new()
}

/// The process is stopped for three seconds, while the driver's buffers fill
/// with frames that are old afterwards.
pub fn process_stopped() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = start("clocks-stopped");
    let before = daemon.expect_type("face");
    daemon.signal(Signal::STOP);
    thread::sleep(Duration::from_secs(3));
    let before = daemon.drain().pop().unwrap_or(before);
    let awake = now();
    daemon.signal(Signal::CONT);
    // After this time no face counts as being at the same place.
    let after = daemon.expect("another frame", |event| event["frame"] != before["frame"]);
    assert!(
        time(&after) >= awake - OLDEST,
        "awake at {awake}, then {after}"
    );
    daemon.expect("the face", |event| {
        assert_ne!(event["type"], "camera_lost", "{event}");
        event["type"] == "face"
    });
    let (processed, dropped) = stop(daemon);
    assert!(dropped > 0, "nothing was dropped in three seconds");
    format!(": {processed} frames, {dropped} dropped")
}

/// Other programs use the whole processor: the loop takes the newest frame and
/// counts the others, and the camera does not count as lost.
pub fn processor_starved() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = start("clocks-starved");
    let pid = daemon.pid().to_string();
    let status = Command::new("/bin/renice")
        .args(["-n", "19", "-p", &pid])
        .status();
    assert!(status.is_ok_and(|status| status.success()), "renice");
    let calm = daemon.expect_type("face");
    let calm = (calm.clone(), rate(&mut daemon, calm, 10));
    let hog = Hog::start();
    let starved = rate(&mut daemon, calm.0, 10);
    assert!(
        starved < 0.7 * calm.1,
        "no starving: {:.1} frames a second, then {starved:.1}",
        calm.1
    );
    drop(hog);
    let (processed, dropped) = stop(daemon);
    assert!(dropped > 0, "a starved loop took every frame");
    format!(
        ": {:.1} frames a second, then {starved:.1}; {processed} frames, {dropped} dropped",
        calm.1
    )
}

/// Processed frames per second, over `frames` frames. After long pauses between
/// frames a face may have to be found again.
fn rate(daemon: &mut Daemon, after: Value, frames: u32) -> f64 {
    let mut next = |after: &Value| {
        daemon.expect("another frame", |event| {
            assert_ne!(event["type"], "camera_lost", "{event}");
            event["frame"] != after["frame"]
        })
    };
    let first = next(&after);
    let last = (0..frames).fold(first.clone(), |last, _| next(&last));
    f64::from(frames) / (time(&last) - time(&first))
}

/// A program that uses the processor all the time.
struct Hog(Child);

impl Hog {
    fn start() -> Self {
        let hog = Command::new("/bin/sh")
            .args(["-c", "while :; do :; done"])
            .spawn();
        Self(hog.expect("a shell"))
    }
}

impl Drop for Hog {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The machine suspends and resumes while the camera streams, and frames
/// continue.
///
/// The kernel suspends processes, devices and (where it can) its own clock, but
/// leaves out the last step, the hand-over to the firmware. (The camera is the
/// kernel's virtual one: with the rig's webcam plugged in, vhci-hcd refuses to
/// suspend.)
pub fn suspended() -> String {
    modprobe(&["vivid", "n_devs=1", "node_types=0x1", "num_inputs=1"]);
    wait_until("vivid's node", || !cameras().is_empty());
    let board = robot(&[QUICK, EACH_FRAME]);
    let mut daemon = Start {
        board: &board,
        args: &["--source", "card:vivid", "--format", "grey"],
        ..Start::new("clocks-suspended")
    }
    .go();
    let mut last = daemon.expect_type("none");
    // A machine without such firmware only suspends its devices.
    let kinds = fs::read_to_string("/sys/power/mem_sleep").expect("a way to suspend");
    let (kind, turn) = match kinds.contains("deep") {
        true => ("deep", "core"),
        false => ("s2idle", "devices"),
    };
    set("/sys/power/mem_sleep", kind);
    set("/sys/power/pm_test", turn);
    // The kernel would busy-wait there, which takes the emulator a minute.
    set("/sys/module/suspend/parameters/pm_test_delay", "0");
    for _ in 0..3 {
        set("/sys/power/state", "mem");
        last = daemon.drain().pop().unwrap_or(last);
        for _ in 0..3 {
            last = daemon.expect("another frame", |event| {
                assert_eq!(event["type"], "none", "{event}");
                assert!(time(event) >= time(&last), "{last}, then {event}");
                event["frame"] != last["frame"]
            });
        }
    }
    set("/sys/power/pm_test", "none");
    assert!((time(&last) - now()).abs() < 5.0, "{last} at {}", now());
    stop(daemon);
    let status = Command::new("/bin/rmmod").arg("vivid").status();
    assert!(status.is_ok_and(|status| status.success()), "rmmod vivid");
    let succeeded = fs::read_to_string("/sys/power/suspend_stats/success").expect("its count");
    assert_eq!(succeeded.trim(), "3", "suspended so often");
    format!(": {kind}, up to {turn}")
}
