//! The control socket, `affectd status`, `pause` and `resume` on a daemon whose
//! camera is a program.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;
use serde_json::Value;

use crate::pictures::{affectd, stderr, stdout};
use crate::place::{Daemon, Place, code, wait_until};

const WAIT: [&str; 4] = ["status", "--json", "--wait", "60"];

#[test]
fn status_tells_a_daemon_that_is_well_from_one_that_is_not() {
    let place = Place::new("");
    let output = place.command(&["status"]);
    assert_eq!(code(&output), Some(4));
    assert!(
        stderr(&output).contains("not running"),
        "{}",
        stderr(&output)
    );
    let output = place.command(&["status", "--json", "--wait", "0.1"]);
    assert_eq!(code(&output), Some(4));
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["state"], "not running");

    let daemon = place.start();
    let output = place.command(&WAIT);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let answer: Value = serde_json::from_str(&stdout(&output)).unwrap();
    assert_eq!(answer["state"], "well");
    assert_eq!(
        (&answer["id"], &answer["name"]),
        (&"robot-7".into(), &"lobby".into())
    );
    assert_eq!(answer["camera"], "streaming");
    assert_eq!(answer["pid"], daemon.child.id());
    assert_eq!(answer["problems"], serde_json::json!([]));
    assert!(answer["rss_kib"].as_u64().unwrap() > 1000);
    let output = place.command(&["status"]);
    assert_eq!(code(&output), Some(0));
    assert!(
        stdout(&output).starts_with("state       well\n"),
        "{}",
        stdout(&output)
    );
    let mode = fs::metadata(place.path("control.sock"))
        .unwrap()
        .permissions();
    assert_eq!(mode.mode() & 0o777, 0o660);

    // A board file that gets errors later does not prevent the daemon from
    // answering, and counts as a problem after it was read.
    let good = fs::read_to_string(place.path("board.toml")).unwrap();
    let bad = good.replace("fps = 20", "fps = 'fast'");
    fs::write(place.path("board.toml"), bad).unwrap();
    assert_eq!(code(&place.command(&["status"])), Some(0));
    daemon.signal(Signal::HUP);
    wait_until("a failed reload", || {
        code(&place.command(&["status"])) == Some(1)
    });
    let told = stdout(&place.command(&["status"]));
    assert!(told.contains("capture.fps"), "{told}");
    daemon.stop();
    assert!(!place.path("control.sock").exists());
    assert_eq!(code(&place.command(&["status"])), Some(4));
}

#[test]
fn a_camera_that_is_lost_is_not_well() {
    let place = Place::new("");
    let board = fs::read_to_string(place.path("board.toml")).unwrap();
    fs::write(
        place.path("board.toml"),
        board.replace("head -c", "exit 3; head -c"),
    )
    .unwrap();
    let mut daemon = place.start();
    daemon.expect("camera_lost");
    wait_until("the problem", || {
        stdout(&place.command(&["status"])).contains("the camera is lost")
    });
    let output = place.command(&["status", "--wait", "1"]);
    assert_eq!(code(&output), Some(1));
    daemon.stop();
}

#[test]
fn what_is_not_allowed_is_refused() {
    let place = Place::new("allow = ['resume']");
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    let output = place.command(&["pause"]);
    assert_eq!(code(&output), Some(1));
    assert!(
        stderr(&output).contains("control.allow"),
        "{}",
        stderr(&output)
    );
    assert_eq!(code(&place.command(&["resume"])), Some(0));
    assert!(
        place.log().contains("pause refused to process"),
        "{}",
        place.log()
    );
    assert_eq!(code(&place.command(&["status"])), Some(0));
    daemon.stop();
}

#[test]
fn a_pause_closes_the_camera_and_outlasts_a_restart() {
    let place = Place::new("allow = ['pause', 'resume']");
    let mut daemon = place.start();
    daemon.expect("none");
    assert!(place.has_producer());

    let asked = Instant::now();
    assert_eq!(code(&place.command(&["pause"])), Some(0));
    wait_until("the end of the program", || !place.has_producer());
    // The limit is one second; the rest is a reserve for a busy machine.
    assert!(
        asked.elapsed() < Duration::from_secs(10),
        "{:?}",
        asked.elapsed()
    );
    let paused = daemon.expect("paused");
    assert_eq!(paused["by"], serde_json::json!(["control"]));
    assert_eq!(paused["change"], true);
    assert_eq!(daemon.expect("paused")["change"], false);
    assert_eq!(code(&place.command(&WAIT)), Some(3));
    assert!(stdout(&place.command(&["status"])).contains("paused by control"));

    // A reload leaves the camera closed, whatever it changes.
    place.write_board("allow = ['pause', 'resume']\n[decide]\ndwell_ms = 300");
    let board = fs::read_to_string(place.path("board.toml")).unwrap();
    fs::write(
        place.path("board.toml"),
        board.replace("fps = 20", "fps = 15"),
    )
    .unwrap();
    daemon.signal(Signal::HUP);
    assert_eq!(daemon.expect("reload")["ok"], true);
    assert_eq!(daemon.expect("paused")["change"], false);
    assert!(!place.has_producer());

    daemon.signal(Signal::KILL);
    daemon.child.wait().unwrap();
    drop(daemon);
    let mut daemon = place.start();
    assert_eq!(
        daemon.expect("paused")["by"],
        serde_json::json!(["control"])
    );
    assert_eq!(code(&place.command(&WAIT)), Some(3));
    assert!(!place.has_producer());

    assert_eq!(code(&place.command(&["resume"])), Some(0));
    daemon.expect("camera_back");
    assert!(place.has_producer());
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    let log = place.log();
    assert!(log.contains("resume requested by process"), "{log}");
    assert!(log.contains("the pause is over"), "{log}");

    // The kill counts as a restart; the end that follows does not.
    let answer: Value = serde_json::from_str(&stdout(&place.command(&WAIT))).unwrap();
    assert_eq!(answer["restarts"], 1);
    assert!(
        answer["restart_reason"]
            .as_str()
            .unwrap()
            .contains("killed")
    );
    daemon.stop();
    let daemon = place.start();
    let answer: Value = serde_json::from_str(&stdout(&place.command(&WAIT))).unwrap();
    assert_eq!(
        (&answer["state"], &answer["restarts"]),
        (&"well".into(), &1.into())
    );
    daemon.stop();
}

#[test]
fn who_ended_it_is_noted_by_the_command_after_the_stop() {
    let place = Place::new("");
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    daemon.signal(Signal::KILL);
    drop(daemon);
    let safe = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .arg("safe")
        .arg(place.path("board.toml"))
        .env("SERVICE_RESULT", "watchdog")
        .env("EXIT_STATUS", "ABRT")
        .output()
        .unwrap();
    assert!(safe.status.success(), "{}", stderr(&safe));
    let daemon = place.start();
    let answer: Value = serde_json::from_str(&stdout(&place.command(&WAIT))).unwrap();
    assert_eq!(answer["restarts"], 1);
    assert!(
        answer["restart_reason"]
            .as_str()
            .unwrap()
            .contains("watchdog")
    );
    daemon.stop();
}

#[test]
fn a_recording_stands_still_during_a_pause() {
    let place = Place::new("");
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let board = format!(
        "[capture]\nsource = '{}'\nfps = 10\nrepeat = true\n[track]\nconfirm = 1\n[events]\nstdout = true\nperiod_ms = 50\n\
         [control]\nsocket = 'control.sock'\nallow = ['pause', 'resume']\n",
        photos.display()
    );
    fs::write(place.path("board.toml"), board).unwrap();
    let mut daemon = place.start();
    daemon.expect("face");
    assert_eq!(code(&place.command(&["pause"])), Some(0));
    let paused = daemon.expect("paused");
    assert_eq!(code(&place.command(&["status"])), Some(3));
    assert_eq!(code(&place.command(&["resume"])), Some(0));
    let back = daemon.expect("camera_back");
    // The recording continues with the frame after the last one, as if no time
    // had passed.
    assert_eq!(back["frame"], paused["frame"].as_u64().unwrap() + 1);
    assert!(back["after"].as_f64().unwrap() < 0.2, "{back}");
    daemon.expect("face");
    daemon.stop();
}

#[test]
fn a_second_daemon_says_who_holds_the_socket() {
    let place = Place::new("");
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    let output = place.command(&["run"]);
    assert_eq!(code(&output), Some(1));
    let told = stderr(&output);
    let holder = format!("process {} ('affectd')", daemon.child.id());
    assert!(
        told.contains("control.sock") && told.contains(&holder),
        "{told}"
    );
    // The first daemon still works.
    assert_eq!(code(&place.command(&["status"])), Some(0));
    // The socket that a killed daemon left is taken over.
    daemon.signal(Signal::KILL);
    drop(daemon);
    assert!(place.path("control.sock").exists());
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    daemon.stop();
    // A file that is not a socket is not touched.
    fs::write(place.path("control.sock"), "precious").unwrap();
    let output = place.command(&["run"]);
    assert!(
        stderr(&output).contains("not a socket"),
        "{}",
        stderr(&output)
    );
    assert_eq!(fs::read(place.path("control.sock")).unwrap(), b"precious");
}

#[test]
fn bad_requests_are_answered_and_end_nothing() {
    let place = Place::new("allow = ['pause']");
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    let line = |socket: &mut BufReader<UnixStream>| {
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        line
    };
    let mut socket = BufReader::new(place.connect());
    for bad in [
        "",
        "status",
        "{}",
        "{\"command\":3}",
        "{\"command\":\"reboot\"}",
        "{\"command\":\"resume\"}",
        "{\"command\":\"status\",\"more\":1}",
        "[[[[[[[[[[[[[[[[[[",
        "\u{0}\u{1}\u{2}",
        "GET / HTTP/1.1",
    ] {
        writeln!(socket.get_mut(), "{bad}").unwrap();
        let answer: Value = serde_json::from_str(&line(&mut socket)).unwrap();
        assert_eq!(answer["ok"], false, "{bad}");
        assert!(!answer["error"].as_str().unwrap().is_empty(), "{bad}");
    }
    // In pieces, and two at once.
    for piece in [
        "{\"comm",
        "and\":\"sta",
        "tus\"}\n{\"command\":\"status\"}\n",
    ] {
        socket.get_mut().write_all(piece.as_bytes()).unwrap();
        std::thread::sleep(Duration::from_millis(20));
    }
    for _ in 0..2 {
        assert!(line(&mut socket).contains("\"state\":\"well\""));
    }
    // Without a line's end, before the client closes its side.
    let mut last = place.connect();
    last.write_all(b"{\"command\":\"status\"}").unwrap();
    last.shutdown(std::net::Shutdown::Write).unwrap();
    let mut text = String::new();
    last.read_to_string(&mut text).unwrap();
    assert!(text.contains("\"ok\":true"), "{text}");
    // Too long: refused, and disconnected.
    let mut long = place.connect();
    long.write_all(&[b'x'; 4096]).unwrap();
    let mut text = String::new();
    // The rest of what it sent may make the kernel reset the connection.
    let _ = long.read_to_string(&mut text);
    assert!(text.contains("at most 4096 bytes"), "{text}");
    // Clients that send nothing, and one that reads nothing, do not block
    // others for long: the ninth client is served when the ten seconds of the
    // first ones are over.
    let silent: Vec<_> = (0..8).map(|_| place.connect()).collect();
    assert_eq!(code(&place.command(&["status"])), Some(0));
    drop(silent);
    assert_eq!(code(&place.command(&["status"])), Some(0));
    daemon.stop();
}

#[test]
fn outputs_are_tested_while_no_daemon_runs() {
    let place = Place::new("[[display]]\nkind = 'png'\npath = 'shown.png'\nevery_change = true");
    let daemon = place.start();
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    let output = place.command(&["test-outputs"]);
    assert_eq!(code(&output), Some(1));
    let told = stderr(&output);
    assert!(
        told.contains(&format!("process {}", daemon.child.id())),
        "{told}"
    );
    daemon.stop();

    for entry in fs::read_dir(place.0.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "png") {
            fs::remove_file(path).unwrap();
        }
    }
    let output = place.command(&["test-outputs"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let told = stdout(&output);
    for label in ["happy", "uncertain", "no face", "no camera", "paused"] {
        assert!(told.contains(&format!("shows   {label:<12} ")), "{told}");
    }
    // Twelve pictures that differ, and the last one.
    let names = fs::read_dir(place.0.path()).unwrap();
    let names = names.map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let count = names.filter(|name| name.ends_with(".png")).count();
    assert!(count >= 12, "{count} pictures");
}

#[test]
fn under_the_journal_each_line_has_its_priority_and_no_time() {
    let place = Place::new("");
    let log = fs::File::create(place.path("log")).unwrap();
    let metadata = log.metadata().unwrap();
    let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["run", "--board"])
        .arg(place.path("board.toml"))
        .env(
            "JOURNAL_STREAM",
            format!("{}:{}", metadata.dev(), metadata.ino()),
        )
        .stdout(Stdio::piped())
        .stderr(log)
        .spawn()
        .unwrap();
    let events = BufReader::new(child.stdout.take().unwrap()).lines();
    let daemon = Daemon { child, events };
    assert_eq!(code(&place.command(&WAIT)), Some(0));
    daemon.stop();
    let text = place.log();
    assert!(text.contains("<6>stopping: SIGTERM\n"), "{text}");
    for line in text.lines() {
        assert!(line.starts_with("<6>") || line.starts_with("<4>"), "{line}");
    }
}

#[test]
fn the_files_of_an_image_are_checked_together() {
    let root = tempfile::tempdir().unwrap();
    let write = |path: &str, text: &str| {
        let path = root.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    let check = |words: &[&str]| {
        let words = words.iter().map(AsRef::as_ref);
        affectd(
            ["check".as_ref(), "--root".as_ref(), root.path().as_os_str()]
                .into_iter()
                .chain(words),
        )
    };
    let output = check(&[]);
    assert_eq!(code(&output), Some(1));
    assert!(
        stderr(&output).contains("there is no board file"),
        "{}",
        stderr(&output)
    );
    write(
        "usr/share/affectd/board.toml",
        "[capture]\nsource = '/dev/video0'\nfps = 30\n",
    );
    write("etc/affectd/board.d/50-slow.toml", "[capture]\nfps = 10\n");
    let output = check(&["--effective"]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    let slow = root.path().join("etc/affectd/board.d/50-slow.toml");
    let expected = format!("fps = 10  # {}:2\n", slow.display());
    assert!(text.contains(&expected), "{text}");
    assert!(!text.contains("fps = 30"), "{text}");
    let output = check(&[]);
    assert_eq!(code(&output), Some(0), "{}", stderr(&output));
    let text = stdout(&output);
    assert_eq!(text.matches("ok      board file").count(), 2, "{text}");
    write(
        "run/affectd-config/board.d/50-slow.toml",
        "[capture]\nfps = 'x'\n",
    );
    let told = stderr(&check(&["--effective"]));
    assert!(
        told.contains("run/affectd-config/board.d/50-slow.toml:2: capture.fps"),
        "{told}"
    );
}

#[test]
fn an_answer_that_is_not_affectds_is_no_status() {
    let place = Place::new("");
    let listener = UnixListener::bind(place.path("control.sock")).unwrap();
    let other = std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(b"220 mail ready\n").unwrap();
        let mut text = [0; 64];
        let _ = client.read(&mut text);
    });
    let output = place.command(&["status"]);
    assert_eq!(code(&output), Some(1));
    assert!(
        stderr(&output).contains("220 mail ready"),
        "{}",
        stderr(&output)
    );
    other.join().unwrap();
}
