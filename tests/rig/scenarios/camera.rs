//! Faults of a camera, and a pause, which closes it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use crate::daemon::{Daemon, Start};
use crate::guest::{Usage, all_safe, cameras, level, lines, wait_until};
use crate::webcam::{Fault, Webcam};

use super::{HAPPY, NOBODY, QUICK, photo, render, robot};

/// Longest time from the last good frame to safe levels, and from the camera's
/// return to the first frame.
const SAFE: Duration = Duration::from_secs(1);
const BACK: Duration = Duration::from_secs(2);

fn start(log: &str, format: &str) -> Daemon {
    let format = format!("format = \"{format}\"");
    Start {
        board: &robot(&[QUICK, ("format = \"yuyv\"", &format)]),
        ..Start::new(log)
    }
    .go()
}

/// On while there is a face; active low.
fn face_line() -> bool {
    !level(lines::FACE)
}

fn sees_a_face(daemon: &mut Daemon) {
    daemon.expect_type("face");
    wait_until("the face line", face_line);
}

/// Waits for safe levels and the event; returns the time until the levels were
/// safe.
fn is_lost(daemon: &mut Daemon) -> (Duration, String) {
    let safe = wait_until("safe levels", all_safe);
    assert!(safe < SAFE, "safe after {safe:?}");
    let lost = daemon.expect_type("camera_lost");
    (safe, lost["reason"].as_str().unwrap_or_default().to_owned())
}

fn is_back(daemon: &mut Daemon) -> Duration {
    let start = Instant::now();
    daemon.expect_type("camera_back");
    let back = start.elapsed();
    assert!(back < BACK, "back after {back:?}");
    sees_a_face(daemon);
    back
}

/// Whether a daemon has a camera open.
fn has_camera_open(daemon: &Daemon) -> bool {
    let files = fs::read_dir(format!("/proc/{}/fd", daemon.pid())).expect("its files");
    files
        .filter_map(|file| fs::read_link(file.ok()?.path()).ok())
        .any(|file| file.to_string_lossy().starts_with("/dev/video"))
}

/// Sends a command to the control socket; returns when it is answered.
fn control(command: &str) {
    let mut socket = BufReader::new(UnixStream::connect("/tmp/control.sock").expect("control"));
    writeln!(socket.get_mut(), "{{\"command\":\"{command}\"}}").expect("control");
    let mut answer = String::new();
    socket.read_line(&mut answer).expect("an answer");
    assert!(answer.contains("\"ok\":true"), "{answer}");
}

/// A pause closes the camera, so that its light goes out, and ends without a
/// loss of the camera.
pub fn paused() -> String {
    const SOCKET: &str = "socket = \"/tmp/control.sock\"";
    let allowed = format!("{SOCKET}\nallow = [\"pause\", \"resume\"]");
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = Start {
        board: &robot(&[QUICK, (SOCKET, &allowed)]),
        ..Start::new("camera-paused")
    }
    .go();
    sees_a_face(&mut daemon);
    assert!(has_camera_open(&daemon));

    let start = Instant::now();
    control("pause");
    wait_until("safe levels", all_safe);
    wait_until("the camera's end", || !has_camera_open(&daemon));
    let closed = start.elapsed();
    assert!(closed < SAFE, "closed after {closed:?}");
    let paused = daemon.expect("the pause", |event| {
        assert_ne!(event["type"], "camera_lost", "{event}");
        event["type"] == "paused"
    });
    assert_eq!(paused["by"], serde_json::json!(["control"]));

    let start = Instant::now();
    control("resume");
    sees_a_face(&mut daemon);
    let back = start.elapsed();
    assert!(back < BACK, "back after {back:?}");
    daemon.stop();
    format!(
        ": closed after {} ms, back after {} ms",
        closed.as_millis(),
        back.as_millis()
    )
}

/// A second daemon says who holds the camera, and gets it when that one ends.
pub fn held_by_another() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let mut first = start("camera-held", "yuyv");
    sees_a_face(&mut first);
    let board = "/tmp/second.toml";
    let text = "[capture]\nsource = \"card:Rig Webcam\"\nsize = \"320x240\"\n\
                [classify]\nmodel = \"/rig/tiny.onnx\"\n[events]\nstdout = true\n";
    fs::write(board, text).expect(board);
    let mut second = Start {
        board,
        ..Start::new("camera-held-second")
    }
    .go();
    let lost = second.expect_type("camera_lost");
    let holder = format!("in use by 'affectd' (process {})", first.pid());
    let reason = lost["reason"].as_str().unwrap_or_default();
    assert!(reason.contains(&holder), "{reason}");
    first.stop();
    second.expect_type("camera_back");
    second.stop();
    String::new()
}

/// The cable is pulled and plugged in again.
pub fn pulled() -> String {
    let picture = photo(HAPPY);
    let webcam = Webcam::plug(&picture);
    let mut daemon = start("camera-pulled", "yuyv");
    sees_a_face(&mut daemon);

    drop(webcam);
    let (safe, reason) = is_lost(&mut daemon);
    assert!(reason.contains("unplugged"), "{reason}");
    wait_until("the node's end", || cameras().is_empty());

    let _webcam = Webcam::plug(&picture);
    wait_until("the node's return", || !cameras().is_empty());
    let back = is_back(&mut daemon);
    daemon.stop();
    format!(
        ": safe after {} ms, back after {} ms",
        safe.as_millis(),
        back.as_millis()
    )
}

/// The camera is lost while the eyes of the watched person are shut. Afterwards
/// it is unknown whether the person sleeps. So the state is neither `asleep`
/// nor `nobody`, until a face is seen again.
pub fn lost_with_shut_eyes() -> String {
    let lines = format!(
        "heartbeat = 17\nasleep = {}\nno_reading = {}\nfatigue_ok = {}",
        lines::ASLEEP,
        lines::NO_READING,
        lines::FATIGUE_OK
    );
    let board = robot(&[
        QUICK,
        ("heartbeat = 17", &lines),
        ("[events]", "[fatigue]\n\n[events]"),
    ]);
    let webcam = Webcam::plug(&render("eyes-open.jpg"));
    let mut daemon = Start {
        board: &board,
        ..Start::new("camera-lost-with-shut-eyes")
    }
    .go();
    // A face is reported when it changes, the state of the eyes every second.
    sees_a_face(&mut daemon);
    daemon.expect_fatigue("calibrating", None);
    webcam.show(&render("eyes-shut.jpg"));
    daemon.expect_fatigue("asleep", None);
    wait_until("the asleep line", || level(lines::ASLEEP));
    assert!(!level(lines::NO_READING), "no_reading is on too early");

    drop(webcam);
    let safe_eyes =
        || level(lines::NO_READING) && !level(lines::ASLEEP) && !level(lines::FATIGUE_OK);
    let safe = wait_until("safe levels", || all_safe() && safe_eyes());
    assert!(safe < SAFE, "safe after {safe:?}");
    let lost = daemon.expect_fatigue("no_reading", Some("lost_while_closed"));
    let closure = lost["closure_ms"].clone();
    assert!(closure.is_null(), "a closure of {closure} ms goes on");

    // Longer than the time after which a place counts as empty, with and
    // without a camera.
    let stays = |daemon: &mut Daemon, what: &str, from: f64| {
        daemon.expect(what, |event| {
            if event["type"] != "fatigue" {
                return false;
            }
            assert_eq!(event["state"], "no_reading", "{what}: {event}");
            assert_eq!(event["reason"], "lost_while_closed", "{what}: {event}");
            assert!(safe_eyes(), "{what}: the lines have changed");
            event["time"]
                .as_f64()
                .is_some_and(|time| time > from + 11.0)
        })
    };
    let time = |event: &serde_json::Value| event["time"].as_f64().expect("a time");
    let last = stays(&mut daemon, "11 s without a camera", time(&lost));
    let webcam = Webcam::plug(&photo(NOBODY));
    daemon.expect_type("camera_back");
    stays(&mut daemon, "11 s without a face", time(&last));

    webcam.show(&render("eyes-open.jpg"));
    daemon.expect_fatigue("calibrating", None);
    wait_until("the no_reading line's end", || !level(lines::NO_READING));
    daemon.stop();
    format!(": safe after {} ms", safe.as_millis())
}

/// The same as `pulled`, with a log that nobody reads: the loss is logged
/// before the lines go to their safe levels, which must not wait for the log.
pub fn pulled_beside_an_unread_log() -> String {
    let webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = Start {
        board: &robot(&[QUICK]),
        is_log_unread: true,
        ..Start::new("camera-unread-log")
    }
    .go();
    sees_a_face(&mut daemon);
    drop(webcam);
    let (safe, _) = is_lost(&mut daemon);
    daemon.stop();
    format!(": safe after {} ms", safe.as_millis())
}

pub fn stalled() -> String {
    fails("camera-stalled", "yuyv", Fault::Stalled)
}

pub fn errors() -> String {
    fails("camera-errors", "yuyv", Fault::Errors)
}

/// Noise is a valid picture in YUYV, and a broken file in MJPG.
pub fn noise() -> String {
    fails("camera-noise", "mjpg", Fault::Noise)
}

pub fn half_frames() -> String {
    let yuyv = fails("camera-half-yuyv", "yuyv", Fault::HalfFrames);
    let mjpg = fails("camera-half-mjpg", "mjpg", Fault::HalfFrames);
    format!("{yuyv}; mjpg{mjpg}")
}

/// The camera stays plugged in, delivers no good frame for a while, and then
/// works again.
fn fails(log: &str, format: &str, fault: Fault) -> String {
    let webcam = Webcam::plug(&photo(HAPPY));
    let mut daemon = start(log, format);
    sees_a_face(&mut daemon);
    webcam.fail(fault);
    let (safe, reason) = is_lost(&mut daemon);
    webcam.fail(Fault::None);
    let back = is_back(&mut daemon);
    daemon.stop();
    format!(
        ": safe after {} ms ({reason}), back after {} ms",
        safe.as_millis(),
        back.as_millis()
    )
}

/// Another program holds the old node open, so that the camera comes back under
/// another number.
pub fn renumbered() -> String {
    let picture = photo(HAPPY);
    let webcam = Webcam::plug(&picture);
    let mut daemon = start("camera-renumbered", "yuyv");
    sees_a_face(&mut daemon);

    let held = File::open("/dev/video0").expect("/dev/video0");
    drop(webcam);
    is_lost(&mut daemon);
    wait_until("the node's end", || cameras().is_empty());
    let _webcam = Webcam::plug(&picture);
    wait_until("another node", || !cameras().is_empty());
    let nodes = cameras().join(", ");
    assert!(!nodes.contains("video0"), "{nodes}");
    is_back(&mut daemon);
    daemon.stop();
    drop(held);
    format!(": video0 came back as {nodes}")
}

pub fn absent_at_start() -> String {
    let mut daemon = start("camera-absent", "yuyv");
    daemon.expect_type("hello");
    daemon.expect_type("camera_lost");
    assert!(all_safe());
    let _webcam = Webcam::plug(&photo(HAPPY));
    wait_until("the node", || !cameras().is_empty());
    let back = is_back(&mut daemon);
    daemon.stop();
    format!(": back after {} ms", back.as_millis())
}

pub fn ten_cycles() -> String {
    cycles(10)
}

pub fn thousand_cycles() -> String {
    cycles(1000)
}

/// The cable is pulled and plugged in again and again. The numbers of
/// descriptors and threads do not grow, and memory does not grow after the
/// first few cycles.
fn cycles(count: u32) -> String {
    const WARM: u32 = 3;
    let picture = photo(HAPPY);
    let mut webcam = Some(Webcam::plug(&picture));
    let mut daemon = start("camera-cycles", "yuyv");
    sees_a_face(&mut daemon);
    let mut before = Usage::of(daemon.pid());
    for cycle in 0..count {
        webcam.take();
        daemon.expect_type("camera_lost");
        wait_until("the node's end", || cameras().is_empty());
        webcam = Some(Webcam::plug(&picture));
        daemon.expect_type("camera_back");
        sees_a_face(&mut daemon);
        if cycle + 1 == WARM {
            before = Usage::of(daemon.pid());
        }
    }
    let after = Usage::of(daemon.pid());
    daemon.stop();
    assert_eq!(
        after.descriptors, before.descriptors,
        "{before:?} {after:?}"
    );
    assert_eq!(after.threads, before.threads, "{before:?} {after:?}");
    assert_eq!(after.huge, 0, "{before:?} {after:?}");
    // A few pages of the heap that no cycle has used before.
    assert!(after.memory <= before.memory + 64, "{before:?} {after:?}");
    format!(
        ": {} descriptors, {} threads; memory {} KiB, then {} KiB",
        after.descriptors, after.threads, before.memory, after.memory
    )
}
