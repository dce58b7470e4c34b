//! `[metrics]` and `[http]` on a daemon whose camera is a program.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixDatagram, UnixStream};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use crate::pictures::{affectd, stderr, stdout};
use crate::place::{LONG, Place, code, wait_until};

const BOTH: &str = "[http]\nsocket = 'http.sock'\n[metrics]\nfile = 'metrics.prom'\n";

/// The status line and the body of the answer to a GET request.
fn get(place: &Place, path: &str) -> (String, String) {
    let mut socket = UnixStream::connect(place.path("http.sock")).unwrap();
    socket.set_read_timeout(Some(LONG)).unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    socket.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    let status = head.lines().next().unwrap();
    (status.to_owned(), body.to_owned())
}

/// The samples of a text, by name and labels.
fn samples(text: &str) -> BTreeMap<&str, f64> {
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            (name, value.parse().unwrap())
        })
        .collect()
}

fn value(place: &Place, name: &str) -> Option<f64> {
    samples(&get(place, "/metrics").1).get(name).copied()
}

#[test]
fn metrics_follow_the_daemon() {
    let place = Place::new(&format!("allow = ['pause', 'resume']\n{BOTH}"));
    let mut daemon = place.start();
    daemon.expect("none");
    wait_until("health", || get(&place, "/healthz").0 == "HTTP/1.1 200 OK");
    assert_eq!(get(&place, "/healthz").1, "well\n");
    let (status, text) = get(&place, "/metrics");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let found = samples(&text);
    assert_eq!(found["affectd_camera_up"], 1.0);
    assert_eq!(found["affectd_paused"], 0.0);
    assert!(found["affectd_resident_memory_bytes"] > 1e6);
    let now = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap();
    for name in [
        "affectd_start_time_seconds",
        "affectd_last_frame_timestamp_seconds",
    ] {
        let age = now.as_secs_f64() - found[name];
        assert!((-1.0..60.0).contains(&age), "{name} is {age} s ago");
    }
    assert!(text.contains("board=\"lobby\""), "{text}");
    let frames = found["affectd_frames_total"];
    wait_until("more frames", || {
        value(&place, "affectd_frames_total").unwrap() > frames
    });
    let found = get(&place, "/metrics").1;
    let found = samples(&found);
    let detected = found["affectd_stage_duration_seconds_count{stage=\"detect\"}"];
    assert!(detected > 0.0);
    assert_eq!(
        found["affectd_stage_duration_seconds_bucket{stage=\"detect\",le=\"+Inf\"}"],
        detected
    );

    // The file has the same, and everybody may read it.
    let file = place.path("metrics.prom");
    wait_until("the file", || file.exists());
    let mode = fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o644);
    let text = fs::read_to_string(&file).unwrap();
    let names =
        |text: &str| -> Vec<String> { samples(text).keys().map(|&s| s.to_owned()).collect() };
    let mut expected = names(&text);
    expected.push("process_resident_memory_bytes".to_owned());
    assert_eq!(names(&get(&place, "/metrics").1), expected);

    // A pause is on purpose.
    assert_eq!(code(&place.command(&["pause"])), Some(0));
    wait_until("a pause", || value(&place, "affectd_paused") == Some(1.0));
    assert_eq!(value(&place, "affectd_camera_up"), Some(0.0));
    let answer = get(&place, "/healthz");
    assert_eq!(
        answer,
        (
            "HTTP/1.1 200 OK".to_owned(),
            "paused by control\n".to_owned()
        )
    );
    assert_eq!(code(&place.command(&["resume"])), Some(0));
    wait_until("frames", || value(&place, "affectd_camera_up") == Some(1.0));

    // A reload that fails.
    let good = fs::read_to_string(place.path("board.toml")).unwrap();
    fs::write(
        place.path("board.toml"),
        good.replace("fps = 20", "fps = 'fast'"),
    )
    .unwrap();
    daemon.signal(Signal::HUP);
    wait_until("a failed reload", || {
        value(&place, "affectd_last_reload_successful") == Some(0.0)
    });
    let (status, text) = get(&place, "/healthz");
    assert_eq!(status, "HTTP/1.1 503 Service Unavailable");
    assert!(text.contains("capture.fps"), "{text}");

    // A reload without the sections.
    fs::write(place.path("board.toml"), good.replace(BOTH, "")).unwrap();
    daemon.signal(Signal::HUP);
    wait_until("a reload", || {
        !file.exists() && !place.path("http.sock").exists()
    });
    fs::write(place.path("board.toml"), good).unwrap();
    daemon.signal(Signal::HUP);
    wait_until("another reload", || file.exists());
    daemon.stop();
    assert!(!file.exists() && !place.path("http.sock").exists());
}

#[test]
fn nothing_else_is_served_and_certainly_no_picture() {
    let place = Place::new(BOTH);
    let mut daemon = place.start();
    daemon.expect("none");
    for path in [
        "/",
        "/snapshot",
        "/stream",
        "/state",
        "/metrics/",
        "/healthz/../metrics",
    ] {
        let (status, text) = get(&place, path);
        assert_eq!(status, "HTTP/1.1 404 Not Found", "{path}");
        assert_eq!(text, "here are /metrics and /healthz\n");
    }
    let (status, _) = get(&place, "/metrics?debug");
    assert_eq!(status, "HTTP/1.1 200 OK");
    let mut socket = UnixStream::connect(place.path("http.sock")).unwrap();
    socket
        .write_all(b"PUT /metrics HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\n\r\nx")
        .unwrap();
    let mut answer = String::new();
    socket.read_to_string(&mut answer).unwrap();
    assert!(
        answer.starts_with("HTTP/1.1 405 Method Not Allowed\r\n"),
        "{answer}"
    );
    let mode = fs::metadata(place.path("http.sock")).unwrap().permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);

    // Who has the socket keeps it.
    let own = place.path("other.toml");
    let text = fs::read_to_string(place.path("board.toml")).unwrap();
    fs::write(&own, text.replace("control.sock", "other.sock")).unwrap();
    let output = place.command_on(&own, &["run"]);
    assert_eq!(code(&output), Some(1));
    let told = stderr(&output);
    let holder = format!("process {} ('affectd')", daemon.child.id());
    assert!(
        told.contains("http.sock") && told.contains(&holder),
        "{told}"
    );
    // What a killed one left is taken over.
    daemon.signal(Signal::KILL);
    drop(daemon);
    assert!(place.path("http.sock").exists());
    let mut daemon = place.start();
    daemon.expect("none");
    assert_eq!(get(&place, "/metrics").0, "HTTP/1.1 200 OK");
    daemon.stop();
}

#[test]
fn a_lost_camera_and_an_unwritable_folder_are_told() {
    let place = Place::new(BOTH);
    let board = fs::read_to_string(place.path("board.toml")).unwrap();
    let board = board
        .replace("head -c", "exit 3; head -c")
        .replace("metrics.prom", "producer/metrics.prom");
    fs::write(place.path("board.toml"), board).unwrap();
    fs::write(place.path("producer"), "").unwrap();
    let mut daemon = place.start();
    daemon.expect("camera_lost");
    wait_until("the problem", || {
        get(&place, "/healthz").1.contains("the camera is lost")
    });
    assert_eq!(
        get(&place, "/healthz").0,
        "HTTP/1.1 503 Service Unavailable"
    );
    assert_eq!(value(&place, "affectd_camera_up"), Some(0.0));
    assert_eq!(value(&place, "affectd_camera_lost_total"), Some(1.0));
    assert_eq!(
        value(&place, "affectd_last_frame_timestamp_seconds"),
        Some(0.0)
    );
    wait_until("a warning", || place.log().contains("metrics file"));
    assert_eq!(place.log().matches("metrics file").count(), 1);
    daemon.stop();

    let board = place.path("board.toml");
    let output = affectd(["check".as_ref(), "--hardware".as_ref(), board.as_os_str()]);
    let told = stdout(&output);
    assert!(told.contains("WRONG   metrics: "), "{told}");
    assert!(told.contains("ok      http: can be made"), "{told}");
}

#[test]
fn the_service_manager_hears_the_frame_rate() {
    let place = Place::new("");
    let manager = UnixDatagram::bind(place.path("notify")).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    let _daemon = place.start_with(Some(&place.path("notify")));
    let start = Instant::now();
    let mut bytes = [0; 512];
    loop {
        assert!(start.elapsed() < LONG);
        let length = manager.recv(&mut bytes).unwrap();
        let text = String::from_utf8_lossy(&bytes[..length]);
        if let Some(rest) = text.strip_prefix("STATUS=streaming, ") {
            let fps: f64 = rest
                .trim_end()
                .strip_suffix(" frames per second")
                .unwrap()
                .parse()
                .unwrap();
            assert!((0.1..25.0).contains(&fps), "{text}");
            assert!(start.elapsed() > Duration::from_secs(5));
            break;
        }
    }
}
