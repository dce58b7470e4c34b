//! The daemon on a recording, without hardware.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use affectd::frame::Rect;
use serde_json::Value;

fn photos() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos")
}

/// A board file for the photographs at two per second, replayed as fast as
/// possible.
fn board(directory: &Path, more: &str) -> PathBuf {
    let path = directory.join("board.toml");
    let text = format!(
        "[capture]\nsource = '{}'\nfps = 2\npace = 'fast'\n\
         [track]\nconfirm = 1\nlost_after_ms = 100\n\
         [decide]\ntime_constant_ms = 0\ndwell_ms = 0\nenter = 0.2\nleave = 0.1\n{more}",
        photos().display()
    );
    fs::write(&path, text).unwrap();
    path
}

fn run(board: &Path, arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_affectd"))
        .arg("run")
        .arg("--board")
        .arg(board)
        .args(arguments)
        .output()
        .unwrap()
}

fn lines(output: &Output) -> Vec<Value> {
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8(output.stdout.clone())
        .unwrap()
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

fn of_type<'v>(lines: &'v [Value], kind: &str) -> Vec<&'v Value> {
    lines.iter().filter(|line| line["type"] == kind).collect()
}

#[test]
fn the_photographs_give_their_faces_as_events() {
    let directory = tempfile::tempdir().unwrap();
    // With the cascade's own boxes.
    let more = "[face]\nmodel = 'none'\n[events]\nstdout = true\n";
    let board = board(directory.path(), more);
    let lines = lines(&run(&board, &[]));

    assert_eq!(lines[0]["type"], "hello");
    assert_eq!(lines[0]["live"], false);
    let last = lines.last().unwrap();
    assert_eq!(last["type"], "goodbye");
    assert_eq!(last["reason"], "end of recording");
    let pictures = fs::read_dir(photos())
        .unwrap()
        .filter(|entry| {
            let path = entry.as_ref().unwrap().path();
            path.extension().is_some_and(|e| e == "jpg" || e == "png")
        })
        .count();
    assert_eq!(last["frames"], pictures);

    // OpenCV's boxes in the photographs with a face, in the order of their
    // names: astronaut-gray, astronaut, biden, obama-portrait, obama-speech.
    let expected = [
        Rect::new(48, 64, 98, 98),
        Rect::new(177, 66, 95, 95),
        Rect::new(150, 117, 187, 187),
        Rect::new(171, 46, 148, 148),
        Rect::new(105, 135, 230, 230),
    ];
    let boxes: Vec<Rect> = of_type(&lines, "face")
        .iter()
        .map(|face| {
            let side = |index: usize| face["box"][index].as_i64().unwrap();
            Rect::new(
                side(0) as i32,
                side(1) as i32,
                side(2) as u32,
                side(3) as u32,
            )
        })
        .collect();
    for expected in expected {
        assert!(
            boxes.iter().any(|found| found.overlap(expected) > 0.7),
            "{expected:?} is not among {boxes:?}"
        );
    }
    assert!(
        !of_type(&lines, "none").is_empty(),
        "some pictures hold no face"
    );
}

/// A strobed infra-red lamp lights every other frame: the face is never found
/// in two frames in a row.
#[test]
fn a_face_under_a_strobed_lamp_is_confirmed_with_the_default_settings() {
    let directory = tempfile::tempdir().unwrap();
    let lit = affectd::image::read_luma(photos().join("astronaut.jpg")).unwrap();
    let dark = vec![4; lit.pixels.len()];
    let header = format!("YUV4MPEG2 W{} H{} F30:1 Cmono\n", lit.width, lit.height);
    let mut recording = header.into_bytes();
    for frame in 0..20 {
        recording.extend_from_slice(b"FRAME\n");
        recording.extend_from_slice(if frame % 2 == 0 { &lit.pixels } else { &dark });
    }
    fs::write(directory.path().join("lamp.y4m"), recording).unwrap();
    let board = directory.path().join("board.toml");
    for (more, dark_frames) in [("", 0), ("skip_darker_than = 40\n", 10)] {
        let text = format!(
            "[capture]\nsource = '{}'\npace = 'fast'\n{more}[events]\nstdout = true\n",
            directory.path().join("lamp.y4m").display()
        );
        fs::write(&board, text).unwrap();
        let lines = lines(&run(&board, &[]));
        let faces = of_type(&lines, "face");
        let first = faces.first().expect("a confirmed face");
        assert_eq!(first["label"], "happy", "{first}");
        let goodbye = lines.last().unwrap();
        assert_eq!(goodbye["counters"]["frames_dark"], dark_frames, "{goodbye}");
        // No face before that, and no loss of the face afterwards.
        let last = of_type(&lines, "none").pop().expect("the first frame");
        assert!(last["frame"].as_u64() < first["frame"].as_u64(), "{last}");
    }
}

#[test]
fn the_same_recording_gives_the_same_events_at_any_pace() {
    let directory = tempfile::tempdir().unwrap();
    let board = board(directory.path(), "[events]\nstdout = true\n");
    let first = run(&board, &[]);
    let paced = fs::read_to_string(&board)
        .unwrap()
        .replace("'fast'", "'recorded'");
    fs::write(&board, paced).unwrap();
    let second = run(&board, &[]);
    let after_hello = |output: &Output| -> Vec<String> {
        let text = String::from_utf8(output.stdout.clone()).unwrap();
        text.lines().skip(1).map(str::to_owned).collect()
    };
    assert!(after_hello(&first).len() > 5);
    assert_eq!(after_hello(&first), after_hello(&second));
}

#[test]
fn outputs_work_side_by_side() {
    let directory = tempfile::tempdir().unwrap();
    let board = board(
        directory.path(),
        "[[display]]\nkind = 'png'\npath = 'screen/oled.png'\nsize = '128x64'\ncolor = false\n\
         [events]\nfile = 'events.jsonl'\n",
    );
    let output = run(&board, &["--stats"]);
    assert!(output.stdout.is_empty());
    assert!(lines(&output).is_empty());
    let events = fs::read_to_string(directory.path().join("events.jsonl")).unwrap();
    assert!(events.ends_with("}\n") && events.contains("\"goodbye\""));
    let png = fs::read(directory.path().join("screen/oled.png")).unwrap();
    assert_eq!(&png[1..4], b"PNG");
    let stats = String::from_utf8(output.stderr).unwrap();
    for stage in [
        "capture",
        "detect",
        "observe",
        "decide",
        "frame ready to outputs",
    ] {
        assert!(stats.contains(stage), "{stage} is not in {stats}");
    }
}

#[test]
fn a_broken_display_stops_nothing_else() {
    let directory = tempfile::tempdir().unwrap();
    let board = board(
        directory.path(),
        "[[display]]\nkind = 'ssd1306'\nbus = '/dev/i2c-there-is-none'\n\
         [events]\nstdout = true\n",
    );
    let output = run(&board, &[]);
    let log = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(lines(&output).last().unwrap()["type"], "goodbye");
    let complaints = log.matches("/dev/i2c-there-is-none").count();
    assert!(complaints >= 1, "{log}");
}

mod signals {
    use super::*;
    use std::io::{BufRead as _, BufReader, Lines};
    use std::process::{Child, ChildStdout, Stdio};
    use std::time::{Duration, Instant};

    use rustix::process::Signal;

    /// A daemon that waits for a camera, and its events.
    struct Daemon {
        child: Child,
        events: Lines<BufReader<ChildStdout>>,
        _directory: tempfile::TempDir,
    }

    const WAITING: &str =
        "[capture]\nsource = '/dev/video-there-is-none'\n[events]\nstdout = true\n";

    impl Daemon {
        fn start() -> Self {
            let directory = tempfile::tempdir().unwrap();
            let board = directory.path().join("board.toml");
            fs::write(&board, WAITING).unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
                .args(["run", "--board"])
                .arg(&board)
                .stdout(Stdio::piped())
                .stderr(Stdio::null())
                .spawn()
                .unwrap();
            let events = BufReader::new(child.stdout.take().unwrap()).lines();
            Self {
                child,
                events,
                _directory: directory,
            }
        }

        /// The next event other than `health`.
        fn next(&mut self) -> Value {
            loop {
                let line = self.events.next().unwrap().unwrap();
                let event: Value = serde_json::from_str(&line).unwrap();
                if event["type"] != "health" {
                    return event;
                }
            }
        }

        fn signal(&self, signal: Signal) {
            let pid = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process(pid, signal).unwrap();
        }

        fn is_lost(&mut self) {
            assert_eq!(self.next()["type"], "hello");
            let lost = self.next();
            assert_eq!(lost["type"], "camera_lost");
            let reason = lost["reason"].as_str().unwrap();
            assert!(reason.contains("no such device"), "{reason}");
        }

        fn says_goodbye(&mut self, reason: &str) {
            let goodbye = self.next();
            assert_eq!(goodbye["type"], "goodbye");
            assert_eq!(goodbye["reason"], reason);
        }
    }

    #[test]
    fn sigterm_ends_a_daemon_that_waits_for_its_camera() {
        let mut daemon = Daemon::start();
        daemon.is_lost();
        daemon.signal(Signal::TERM);
        let asked = Instant::now();
        daemon.says_goodbye("SIGTERM");
        assert!(daemon.child.wait().unwrap().success());
        // A generous limit: the daemon must not wait for the camera.
        assert!(asked.elapsed() < Duration::from_secs(5));
    }
}
