//! `affectd baseline record`, and what a stored baseline does to a run.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use affectd::image::{LumaImage, read_luma};
use serde_json::Value;
use tempfile::TempDir;

use crate::pictures::{affectd, lines, photo, stderr, stdout, write_gray};

const LONG: Duration = Duration::from_secs(60);

/// A folder for a board file and its state directory.
struct Kiosk(TempDir);

impl Kiosk {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn baseline(&self) -> PathBuf {
        self.0.path().join("state/baseline")
    }

    /// A board file that shows a picture; `more` follows its capture section.
    fn board(&self, picture: &Path, more: &str) -> PathBuf {
        let board = self.0.path().join("board.toml");
        let text = format!(
            "[capture]\nsource = {:?}\npace = 'fast'\n{more}\n[track]\nconfirm = 1\n\
             lost_after_ms = 3000\n[state]\ndirectory = 'state'\n[events]\nstdout = true\n",
            picture.to_str().unwrap()
        );
        fs::write(&board, text).unwrap();
        board
    }

    fn record(&self, picture: &Path, more: &str) -> std::process::Output {
        let board = self.board(picture, more);
        affectd(["baseline", "record", "--board", board.to_str().unwrap()])
    }

    /// The first face of a run with a stored baseline, and the log.
    fn first_face(&self, picture: &Path) -> (Value, String) {
        let more = "[decide.baseline]\nmode = 'stored'\nstrength = 1.0";
        let board = self.board(picture, more);
        let output = affectd(["run", "--board", board.to_str().unwrap()]);
        assert!(output.status.success(), "{}", stderr(&output));
        let face = lines(&output)
            .into_iter()
            .find(|event| event["type"] == "face")
            .expect("there is a face");
        (face, stderr(&output))
    }
}

#[test]
fn a_recorded_face_is_neutral_from_then_on() {
    let kiosk = Kiosk::new();
    let picture = photo("biden.jpg");
    let (before, log) = kiosk.first_face(&picture);
    assert!(before.get("baseline").is_none(), "{before}");
    assert!(log.contains("no baseline is recorded"), "{log}");

    let output = kiosk.record(&picture, "fps = 5\nrepeat = true");
    let said = stdout(&output);
    assert!(output.status.success(), "{}", stderr(&output));
    let countdown: Vec<_> = said
        .lines()
        .filter_map(|line| line.strip_prefix("look at the camera and relax: "))
        .collect();
    assert_eq!(countdown, ["5 s", "4 s", "3 s", "2 s", "1 s"], "{said}");
    assert!(
        said.contains("it takes effect with [decide.baseline]"),
        "{said}"
    );
    assert!(kiosk.baseline().is_file());

    let (face, _) = kiosk.first_face(&picture);
    assert_eq!(face["baseline"], 1.0, "{face}");
    assert_eq!(face["raw_probabilities"], before["probabilities"]);
    let neutral = |of: &Value| of["neutral"].as_f64().unwrap();
    let (corrected, raw) = (&face["probabilities"], &face["raw_probabilities"]);
    assert!(neutral(corrected) > neutral(raw), "{face}");
    // A smile of another person does not become neutral.
    let (smile, _) = kiosk.first_face(&photo("astronaut.jpg"));
    assert!(
        smile["probabilities"]["happy"].as_f64().unwrap() > 0.5,
        "{smile}"
    );
}

/// Two pictures beside each other.
fn beside(left: &LumaImage, right: &LumaImage, path: &Path) {
    let (left, right) = (left.view(), right.view());
    let height = left.height().min(right.height());
    write_gray(path, left.width() + right.width(), height, |x, y| {
        match x.checked_sub(left.width()) {
            None => left.row(y)[x as usize],
            Some(x) => right.row(y)[x as usize],
        }
    });
}

#[test]
fn what_cannot_be_recorded_says_why_and_what_to_do() {
    let kiosk = Kiosk::new();
    let two = kiosk.0.path().join("two.png");
    let read = |name| read_luma(photo(name)).unwrap();
    beside(&read("biden.jpg"), &read("obama-portrait.jpg"), &two);
    for (picture, words) in [
        (
            photo("coffee.jpg"),
            "nobody is there: step in front of the camera",
        ),
        (
            two,
            "several people are there: record the baseline of one person alone",
        ),
        (photo("astronaut.jpg"), "the face smiles: do not smile"),
        (
            photo("obama-speech.jpg"),
            "the mouth is open: shut your mouth",
        ),
    ] {
        let output = kiosk.record(&picture, "fps = 1\nrepeat = true");
        let error = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{error}");
        let line = format!("no baseline recorded within 30 s: {words}");
        assert!(error.contains(&line), "{error}");
        assert!(!kiosk.baseline().exists());
    }
    let face = photo("biden.jpg");
    for (more, words) in [
        ("fps = 5", "the recording ended before a face was at rest"),
        ("[face]\nmodel = 'none'", "a baseline needs a face net"),
    ] {
        let output = kiosk.record(&face, more);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(words), "{}", stderr(&output));
    }
    let board = kiosk.board(&face, "");
    let text = fs::read_to_string(&board).unwrap();
    fs::write(&board, text.replace("[state]\ndirectory = 'state'\n", "")).unwrap();
    let output = affectd(["baseline", "record", "--board", board.to_str().unwrap()]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("[state] directory = "),
        "{}",
        stderr(&output)
    );
}

/// A daemon that runs.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_running_daemon_records_a_baseline_where_the_board_allows_it() {
    let kiosk = Kiosk::new();
    let ask = |allow: &str, model: &str| {
        let more = format!(
            "fps = 5\nrepeat = true\n[face]\n{model}\n\
             [control]\nsocket = 'control.sock'\nallow = {allow}"
        );
        let board = kiosk.board(&photo("biden.jpg"), &more);
        let log = kiosk.0.path().join("log");
        let child = Command::new(env!("CARGO_BIN_EXE_affectd"))
            .args(["run", "--board"])
            .arg(board)
            .stdout(Stdio::null())
            .stderr(fs::File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let daemon = Daemon(child);
        let started = Instant::now();
        let socket = loop {
            match UnixStream::connect(kiosk.0.path().join("control.sock")) {
                Ok(socket) => break socket,
                Err(error) => assert!(started.elapsed() < LONG, "{error}"),
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        socket.set_read_timeout(Some(LONG)).unwrap();
        let mut socket = BufReader::new(socket);
        writeln!(socket.get_mut(), "{{\"command\":\"baseline\"}}").unwrap();
        let mut line = String::new();
        socket.read_line(&mut line).unwrap();
        let answer: Value = serde_json::from_str(&line).unwrap();
        (daemon, answer, log)
    };

    let (daemon, answer, _) = ask("[]", "");
    assert_eq!(answer["ok"], false, "{answer}");
    drop(daemon);
    let (daemon, answer, _) = ask("['baseline']", "model = 'none'");
    assert!(
        answer["error"].as_str().unwrap().contains("face net"),
        "{answer}"
    );
    drop(daemon);
    assert!(!kiosk.baseline().exists());

    let (_daemon, answer, log) = ask("['baseline']", "");
    assert_eq!(answer, serde_json::json!({"ok": true}));
    let started = Instant::now();
    while !kiosk.baseline().exists() {
        let log = fs::read_to_string(&log).unwrap();
        assert!(started.elapsed() < LONG, "{log}");
        std::thread::sleep(Duration::from_millis(10));
    }
    let log = fs::read_to_string(&log).unwrap();
    assert!(log.contains("a baseline was recorded"), "{log}");
}

#[test]
fn a_stored_baseline_that_cannot_be_used_is_not_fatal() {
    let kiosk = Kiosk::new();
    let picture = photo("biden.jpg");
    assert!(
        kiosk
            .record(&picture, "fps = 5\nrepeat = true")
            .status
            .success()
    );
    let good = fs::read_to_string(kiosk.baseline()).unwrap();
    let aside = kiosk.baseline().with_extension("damaged");

    fs::write(kiosk.baseline(), &good[..good.len() / 2]).unwrap();
    let (face, log) = kiosk.first_face(&picture);
    assert!(face.get("baseline").is_none(), "{face}");
    assert!(log.contains("the stored baseline is damaged"), "{log}");
    assert!(aside.is_file() && !kiosk.baseline().exists());

    // The baseline of another classifier is not damaged, and its file stays.
    fs::write(kiosk.baseline(), good.replace("mobilenet", "other_net")).unwrap();
    let (face, log) = kiosk.first_face(&picture);
    assert!(face.get("baseline").is_none(), "{face}");
    assert!(
        log.contains("was recorded with the model other_net"),
        "{log}"
    );
    assert!(kiosk.baseline().is_file());
}
