//! The reader of the event socket, against a socket that behaves as affectd's or
//! worse.

use std::io::Write as _;
use std::ops::ControlFlow;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::time::Duration;

use affectd_bridge::events::{Event, EventSocket, LONGEST_LINE, Notice, Timing};
use log::{LevelFilter, Log, Metadata, Record};

const LONG: Duration = Duration::from_secs(20);

const HELLO: &str =
    r#"{"schema":1,"type":"hello","time":0,"frame":0,"id":"robot-7","live":true,"period_ms":1000}"#;
const FACE: &str = r#"{"schema":1,"type":"face","time":1,"frame":1,"track":1,"label":"happy"}"#;

const QUICK: Timing = Timing {
    idle: Duration::from_millis(20),
    hello: Duration::from_millis(400),
    silence: Duration::from_millis(400),
    retry: (Duration::from_millis(5), Duration::from_millis(50)),
};

/// Lines of the log by the thread that logged them.
static LOG: Mutex<Vec<(std::thread::ThreadId, String)>> = Mutex::new(Vec::new());
struct Logger;
impl Log for Logger {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn log(&self, record: &Record<'_>) {
        let line = format!("{} {}", record.level(), record.args());
        LOG.lock()
            .unwrap()
            .push((std::thread::current().id(), line));
    }
    fn flush(&self) {}
}

struct Reader {
    path: PathBuf,
    _folder: tempfile::TempDir,
    notices: Receiver<Notice>,
    thread: std::thread::ThreadId,
}

impl Reader {
    fn new() -> Self {
        let _ = log::set_logger(&Logger);
        log::set_max_level(LevelFilter::Info);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("events.sock");
        let (sender, notices): (Sender<Notice>, _) = channel();
        let socket = path.clone();
        let thread = std::thread::spawn(move || {
            EventSocket::new(&socket, QUICK).run(|notice| match sender.send(notice) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            });
        });
        Self {
            path,
            _folder: folder,
            notices,
            thread: thread.thread().id(),
        }
    }

    /// The next notice but idle ones.
    fn next(&self) -> Notice {
        loop {
            match self.notices.recv_timeout(LONG).expect("no notice") {
                Notice::Idle => {}
                notice => return notice,
            }
        }
    }

    fn kind(&self) -> String {
        match self.next() {
            Notice::Event(event) => event.kind().to_owned(),
            Notice::Lost(_) => "lost".to_owned(),
            Notice::Idle => unreachable!(),
        }
    }

    fn log(&self) -> Vec<String> {
        let log = LOG.lock().unwrap();
        let lines = log.iter().filter(|(thread, _)| *thread == self.thread);
        lines.map(|(_, line)| line.clone()).collect()
    }

    fn logged(&self, part: &str) -> usize {
        self.log().iter().filter(|line| line.contains(part)).count()
    }
}

fn connected(listener: &UnixListener, lines: &[&str]) -> UnixStream {
    let (mut stream, _) = listener.accept().unwrap();
    for line in lines {
        // The reader may have hung up because of an earlier line.
        let _ = writeln!(stream, "{line}");
    }
    stream
}

#[test]
fn a_socket_that_is_missing_is_awaited_and_logged_once() {
    let reader = Reader::new();
    // A hundred attempts or more.
    std::thread::sleep(Duration::from_millis(1500));
    assert_eq!(reader.log().len(), 1, "{:?}", reader.log());
    assert_eq!(reader.logged("is affectd running"), 1, "{:?}", reader.log());
    let listener = UnixListener::bind(&reader.path).unwrap();
    let _stream = connected(&listener, &[HELLO, FACE]);
    assert_eq!(reader.kind(), "hello");
    assert_eq!(reader.kind(), "face");
    assert_eq!(reader.logged("well again"), 1, "{:?}", reader.log());
}

#[test]
fn bad_lines_are_skipped() {
    let reader = Reader::new();
    let listener = UnixListener::bind(&reader.path).unwrap();
    let long = "x".repeat(3 * LONGEST_LINE);
    let mut stream = connected(
        &listener,
        &[
            HELLO,
            "no JSON",
            &long,
            "{\"schema\":1,\"type\":\"of the future\",\"x\":{}}",
            "no JSON",
            FACE,
        ],
    );
    stream
        .write_all(b"{\"schema\":1,\"type\":\"\xff\"}\n{\"schema\":1,\"ty")
        .unwrap();
    drop(stream);
    assert_eq!(reader.kind(), "hello");
    assert_eq!(
        reader.kind(),
        "of the future",
        "skipping unknown types is the bridge's part"
    );
    assert_eq!(reader.kind(), "face");
    assert_eq!(reader.kind(), "lost");
    for part in ["no JSON", "longer than", "UTF-8", "cut off"] {
        assert_eq!(reader.logged(part), 1, "{part}: {:?}", reader.log());
    }
}

#[test]
fn a_schema_from_the_future_is_refused_until_it_is_gone() {
    let reader = Reader::new();
    let listener = UnixListener::bind(&reader.path).unwrap();
    let future = HELLO.replace("\"schema\":1", "\"schema\":2");
    for _ in 0..5 {
        connected(&listener, &[&future, FACE]);
    }
    let _stream = connected(&listener, &[HELLO]);
    assert_eq!(reader.kind(), "hello");
    assert_eq!(reader.logged("schema 2"), 1, "{:?}", reader.log());
}

#[test]
fn a_silent_daemon_is_lost() {
    let reader = Reader::new();
    let listener = UnixListener::bind(&reader.path).unwrap();
    let _first = connected(&listener, &[HELLO, FACE]);
    assert_eq!(reader.kind(), "hello");
    assert_eq!(reader.kind(), "face");
    assert_eq!(reader.kind(), "lost");
    assert_eq!(reader.logged("sends nothing"), 1, "{:?}", reader.log());
    // One that never says hello, either.
    let _second = connected(&listener, &[FACE]);
    let _third = connected(&listener, &[HELLO]);
    assert_eq!(reader.kind(), "hello");
}

#[test]
fn a_recording_without_a_period_may_be_silent() {
    let reader = Reader::new();
    let listener = UnixListener::bind(&reader.path).unwrap();
    let hello = HELLO
        .replace("\"live\":true", "\"live\":false")
        .replace("1000", "0");
    let mut stream = connected(&listener, &[&hello]);
    assert_eq!(reader.kind(), "hello");
    std::thread::sleep(3 * QUICK.silence);
    writeln!(stream, "{FACE}").unwrap();
    assert_eq!(reader.kind(), "face");
}

/// Lines that a real daemon wrote; tests/data/README.md says how.
#[test]
fn what_the_daemon_writes_is_read() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/daemon.jsonl");
    let recording = std::fs::read_to_string(path).unwrap();
    let reader = Reader::new();
    let listener = UnixListener::bind(&reader.path).unwrap();
    let lines: Vec<_> = recording.lines().collect();
    let _stream = connected(&listener, &lines);
    let mut kinds = std::collections::BTreeSet::new();
    for line in &lines {
        let Notice::Event(event) = reader.next() else {
            panic!("lost at {line}");
        };
        assert_eq!(event.line(), *line);
        assert_eq!(event, Event::parse(line).unwrap());
        kinds.insert(event.kind().to_owned());
    }
    for kind in ["hello", "face", "none", "fatigue", "goodbye"] {
        assert!(kinds.contains(kind), "no {kind} in {kinds:?}");
    }
    assert_eq!(reader.logged("skipped"), 0, "{:?}", reader.log());
}
