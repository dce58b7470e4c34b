//! The daemon with a standard error that nobody reads, and its reloads.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The writing end of a full pipe that nobody reads, and the reading end, which
/// keeps the pipe open.
fn full_pipe() -> (OwnedFd, OwnedFd) {
    let (read, write) = rustix::pipe::pipe().unwrap();
    let mut file = fs::File::from(write.try_clone().unwrap());
    let flags = rustix::fs::fcntl_getfl(&write).unwrap();
    rustix::fs::fcntl_setfl(&write, flags | OFlags::NONBLOCK).unwrap();
    while file.write(&[b'.'; 4096]).is_ok() {}
    while file.write(b".").is_ok() {}
    rustix::fs::fcntl_setfl(&write, flags).unwrap();
    (read, write)
}

#[test]
fn a_standard_error_that_nobody_reads_holds_nothing_up() {
    let folder = tempfile::tempdir().unwrap();
    let board = folder.path().join("board.toml");
    let text = "[capture]\nsource = '/dev/video-there-is-none'\n[events]\nstdout = true\n";
    fs::write(&board, text).unwrap();
    let (_read, full) = full_pipe();
    let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["--log", "debug", "run", "--stats", "--board"])
        .arg(&board)
        .stdout(Stdio::piped())
        .stderr(full)
        .spawn()
        .unwrap();
    let mut events = BufReader::new(child.stdout.take().unwrap()).lines();
    // A daemon that waits for its log sends no events, and this test would
    // hang. So the daemon is ended after a while.
    let pid = Pid::from_child(&child);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(Duration::from_secs(60))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            kill_process(pid, Signal::KILL).unwrap();
        }
    });
    // `health` comes when it changes and every ten seconds.
    let mut next = || -> Value {
        loop {
            let line = events.next().expect("the daemon waits for its log");
            let event: Value = serde_json::from_str(&line.unwrap()).unwrap();
            if event["type"] != "health" {
                return event;
            }
        }
    };
    assert_eq!(next()["type"], "hello");
    assert_eq!(next()["type"], "camera_lost");
    kill_process(pid, Signal::TERM).unwrap();
    let asked = Instant::now();
    assert_eq!(next()["type"], "goodbye");
    assert!(child.wait().unwrap().success());
    assert!(asked.elapsed() < Duration::from_secs(10));
    drop(done);
    guard.join().unwrap();
}

mod reload {
    use super::*;
    use std::io::Lines;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::path::{Path, PathBuf};
    use std::process::{Child, ChildStdout};

    const LONG: Duration = Duration::from_secs(60);

    /// A daemon, its events, and the service manager, which learns when a
    /// reload is over.
    struct Daemon {
        child: Child,
        events: Lines<BufReader<ChildStdout>>,
        manager: UnixDatagram,
        folder: tempfile::TempDir,
    }

    fn tiny() -> PathBuf {
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classify/tiny.onnx")
    }

    /// A board file that repeats the photographs at 20 per second.
    fn board(model: &Path, more: &str) -> String {
        let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
        format!(
            "[capture]\nsource = '{}'\nfps = 20\nrepeat = true\n\
             [track]\nconfirm = 1\n[classify]\nmodel = '{}'\n{more}\n\
             [events]\nstdout = true\nsocket = 'events.sock'\nperiod_ms = 20\n",
            photos.display(),
            model.display()
        )
    }

    const WAITING: &str =
        "[capture]\nsource = '/dev/video-there-is-none'\n[events]\nstdout = true\n";

    const AT_ONCE: &str =
        "[decide]\ntime_constant_ms = 0\ndwell_ms = 0\nenter = 0.02\nleave = 0.01";
    const NEVER: &str =
        "[decide]\ntime_constant_ms = 0\ndwell_ms = 0\nenter = 0.9999\nleave = 0.9998";

    impl Daemon {
        fn start(board: &str) -> Self {
            let folder = tempfile::tempdir().unwrap();
            let file = folder.path().join("board.toml");
            fs::write(&file, board).unwrap();
            let notify = folder.path().join("notify");
            let manager = UnixDatagram::bind(&notify).unwrap();
            manager.set_read_timeout(Some(LONG)).unwrap();
            let log = fs::File::create(folder.path().join("log")).unwrap();
            let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
                .args(["run", "--board"])
                .arg(&file)
                .env("NOTIFY_SOCKET", &notify)
                .stdout(Stdio::piped())
                .stderr(log)
                .spawn()
                .unwrap();
            let events = BufReader::new(child.stdout.take().unwrap()).lines();
            let daemon = Self {
                child,
                events,
                manager,
                folder,
            };
            daemon.hears("READY=1");
            daemon
        }

        fn hears(&self, wanted: &str) {
            let mut message = [0; 256];
            loop {
                let length = self.manager.recv(&mut message).expect(wanted);
                if message[..length].starts_with(wanted.as_bytes()) {
                    return;
                }
            }
        }

        fn reload(&self, board: &str) {
            fs::write(self.folder.path().join("board.toml"), board).unwrap();
            self.signal(Signal::HUP);
            self.hears("RELOADING=1");
            self.hears("READY=1");
        }

        fn signal(&self, signal: Signal) {
            kill_process(Pid::from_child(&self.child), signal).unwrap();
        }

        /// Waits until the log contains a text `times` times, and returns the
        /// log from the last of them on. The log is written with a small delay.
        fn log_says(&self, text: &str, times: usize) -> String {
            let start = Instant::now();
            loop {
                let log = fs::read_to_string(self.folder.path().join("log")).unwrap();
                let found: Vec<_> = log.match_indices(text).collect();
                if found.len() == times {
                    return log[found[times - 1].0..].to_owned();
                }
                assert!(start.elapsed() < LONG, "{text} not {times} times: {log}");
                std::thread::sleep(Duration::from_millis(5));
            }
        }

        fn connect(&self) -> Lines<BufReader<UnixStream>> {
            let socket = UnixStream::connect(self.folder.path().join("events.sock")).unwrap();
            socket.set_read_timeout(Some(LONG)).unwrap();
            BufReader::new(socket).lines()
        }

        /// The next event other than `health`.
        fn next(&mut self) -> Value {
            loop {
                let event = event(self.events.next());
                if event["type"] != "health" {
                    return event;
                }
            }
        }

        /// The daemon's niceness and scheduling policy.
        fn scheduling(&self) -> (String, String) {
            let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
            let (_, fields) = stat.rsplit_once(')').unwrap();
            let field = |index| fields.split_whitespace().nth(index).unwrap().to_owned();
            (field(16), field(38))
        }

        /// Ends it, and returns the type of each event that was not read,
        /// except `health`.
        fn stop(mut self) -> Vec<String> {
            self.signal(Signal::TERM);
            assert!(self.child.wait().unwrap().success());
            let events = self.events.by_ref();
            let kinds = events.map(|line| event(Some(line))["type"].to_string());
            kinds.filter(|kind| kind != "\"health\"").collect()
        }
    }

    impl Drop for Daemon {
        fn drop(&mut self) {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }

    fn event(line: Option<std::io::Result<String>>) -> Value {
        serde_json::from_str(&line.expect("it goes on").unwrap()).unwrap()
    }

    fn labels<R: std::io::BufRead>(reader: &mut Lines<R>, count: usize) -> Vec<String> {
        let mut labels = Vec::new();
        while labels.len() < count {
            let event = event(reader.next());
            match event["type"].as_str().unwrap() {
                "face" => labels.push(event["label"].as_str().unwrap().to_owned()),
                "none" | "gone" | "reload" | "hello" => {}
                other => panic!("{other} amid faces: {event}"),
            }
        }
        labels
    }

    #[test]
    fn one_that_changes_decide_alone_takes_effect_and_drops_no_reader() {
        let mut daemon = Daemon::start(&board(&tiny(), AT_ONCE));
        let mut reader = daemon.connect();
        assert_eq!(event(reader.next())["type"], "hello");
        assert_eq!(daemon.next()["type"], "hello");
        assert!(!labels(&mut reader, 5).contains(&"uncertain".to_owned()));
        daemon.reload(&board(&tiny(), NEVER));
        // Earlier events may still be on their way.
        for _ in 0..200 {
            if labels(&mut reader, 1) == ["uncertain"] {
                break;
            }
        }
        let after = labels(&mut reader, 5);
        assert!(after.iter().all(|label| label == "uncertain"), "{after:?}");
        daemon.log_says("the new board file is in force", 1);
        // Standard output was not closed and opened again either.
        let kinds = daemon.stop();
        let count = |wanted: &str| kinds.iter().filter(|kind| *kind == wanted).count();
        assert_eq!(count("\"goodbye\""), 1);
        // This event has the result of the reload.
        assert_eq!((count("\"reload\""), count("\"hello\"")), (1, 1));
    }

    #[test]
    fn one_that_changes_the_model_greets_the_readers_who_stay() {
        let mut daemon = Daemon::start(&board(&tiny(), AT_ONCE));
        let mut reader = daemon.connect();
        let first = event(reader.next());
        assert_eq!(first["type"], "hello");
        let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mobilenet_v2_112.onnx");
        daemon.reload(&board(&model, AT_ONCE));
        let mut reload = event(reader.next());
        while reload["type"] != "reload" {
            assert_ne!(reload["type"], "goodbye");
            reload = event(reader.next());
        }
        let greeting = event(reader.next());
        assert_eq!(greeting["type"], "hello");
        assert_eq!(reload["ok"], true);
        assert_eq!(reload["config"], greeting["config"]);
        assert_ne!(greeting["config"], first["config"]);
        assert_eq!(greeting["id"], first["id"]);
        assert_ne!(greeting["model_sha256"], first["model_sha256"]);
        assert_ne!(greeting["model"], first["model"]);
        assert_eq!(greeting["model"], "mobilenet_v2_112");
        // A reader that comes now gets only the new greeting.
        let mut late = daemon.connect();
        assert_eq!(event(late.next())["model"], "mobilenet_v2_112");
        assert_ne!(event(late.next())["type"], "hello");
        daemon.next();
    }

    #[test]
    fn one_that_changes_the_events_closes_them_and_opens_them_anew() {
        let mut daemon = Daemon::start(WAITING);
        assert_eq!(daemon.next()["type"], "hello");
        assert_eq!(daemon.next()["type"], "camera_lost");
        daemon.reload(&format!("{WAITING}period_ms = 60000\n"));
        let goodbye = daemon.next();
        assert_eq!(goodbye["type"], "goodbye");
        assert_eq!(goodbye["reason"], "reload");
        let hello = daemon.next();
        assert_eq!(hello["type"], "hello");
        assert_eq!(hello["period_ms"], 60_000);
        assert_eq!(daemon.next()["type"], "reload");
        assert_eq!(daemon.next()["type"], "hello");
        assert_eq!(daemon.next()["type"], "camera_lost");
        assert_eq!(daemon.stop(), ["\"goodbye\""]);
    }

    #[test]
    fn one_that_fails_leaves_everything_as_it_was() {
        let good = board(&tiny(), AT_ONCE);
        let mut daemon = Daemon::start(&good);
        let hello = daemon.next();
        assert_eq!(hello["type"], "hello");
        let mut reader = daemon.connect();
        assert_eq!(event(reader.next())["type"], "hello");
        let scheduling = daemon.scheduling();
        let gpio = "[gpio]\nchip = 'no such chip'\nlines = { happy = 1 }";
        let refused = [
            ("[capture]\nsource = 3\n".to_owned(), "capture.source"),
            (board(Path::new("/none.onnx"), ""), "/none.onnx"),
            // These two errors show only after other parts were replaced.
            (board(&tiny(), gpio), "no such chip"),
            (
                good.replace("'events.sock'", "'no/such/folder/events.sock'"),
                "no/such/folder",
            ),
            (
                good.replace("fps = 20", "fps = 21")
                    .replace("photos'", "nowhere'"),
                "nowhere",
            ),
        ];
        for (times, (bad, says)) in (1..).zip(refused) {
            daemon.reload(&bad);
            let log = daemon.log_says("the old one stays in force", times);
            assert!(log.contains(says), "{says}: {log}");
            assert_eq!(daemon.scheduling(), scheduling, "{says}");
            if says == "no/such/folder" {
                // The events had to be closed to open them elsewhere.
                reader = daemon.connect();
                assert_eq!(event(reader.next())["type"], "hello");
            } else {
                let mut reload = event(reader.next());
                while reload["type"] != "reload" {
                    reload = event(reader.next());
                }
                assert_eq!(reload["ok"], false, "{says}");
                assert!(reload["error"].as_str().unwrap().contains(says), "{reload}");
                let again = event(reader.next());
                assert_eq!(again["type"], "hello", "{says}");
                assert_eq!(again["config"], hello["config"], "{says}");
            }
            labels(&mut reader, 3);
        }
        daemon.reload(&good);
        assert_eq!(daemon.scheduling(), scheduling);
        daemon.log_says("the new board file is in force", 1);
        daemon.stop();
    }
}
