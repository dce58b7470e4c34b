//! A board file that changes while the daemon runs.

use std::cell::Cell;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::{UnixDatagram, UnixStream};

use rustix::process::{Pid, Signal};
use serde_json::Value;

use crate::daemon::{Daemon, Start};
use crate::guest::{PATIENCE, base, chip, lines, set, states_on, wait_until};
use crate::webcam::Webcam;

use super::{EACH_FRAME, HAPPY, QUICK, photo, privilege, robot};

const MANAGER: &str = "/tmp/reload-notify";

/// The service manager, which is notified when a reload begins and when it is
/// over.
struct Manager(UnixDatagram);

impl Manager {
    fn new() -> Self {
        let _ = fs::remove_file(MANAGER);
        let socket = UnixDatagram::bind(MANAGER).expect(MANAGER);
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        // A daemon that does not run as root may write to it, too.
        fs::set_permissions(MANAGER, std::os::unix::fs::PermissionsExt::from_mode(0o666))
            .expect(MANAGER);
        Self(socket)
    }

    fn wait_for(&self, wanted: &str) {
        let mut message = [0; 256];
        loop {
            let length = self.0.recv(&mut message).expect(wanted);
            if message[..length].starts_with(wanted.as_bytes()) {
                return;
            }
        }
    }

    /// Makes the daemon read the board file again, and waits until that is
    /// over.
    fn reload(&self, daemon: &Daemon) {
        daemon.signal(Signal::HUP);
        self.wait_for("RELOADING=1");
        self.wait_for("READY=1");
    }
}

fn start(log: &str, board: &str, user: Option<(u32, u32)>) -> (Daemon, Manager) {
    let manager = Manager::new();
    let mut daemon = Start {
        board,
        env: &[("NOTIFY_SOCKET", MANAGER)],
        user,
        ..Start::new(log)
    }
    .go();
    manager.wait_for("READY=1");
    daemon.expect_type("face");
    wait_until("a line", || states_on().len() == 1);
    (daemon, manager)
}

/// An event about the face in a later frame; no face may end or begin before
/// it. `greetings` is how often `hello` may come before that event.
fn goes_on(daemon: &mut Daemon, greetings: usize) -> Value {
    // Earlier events do not count.
    let before = daemon.drain();
    let is_greeting = |event: &Value| event["type"] == "hello";
    let greeted = Cell::new(before.iter().filter(|event| is_greeting(event)).count());
    let frame = before
        .last()
        .map_or(Value::Null, |event| event["frame"].clone());
    let face = daemon.expect("the face in a later frame", |event| {
        let is_reload = event["type"] == "reload";
        assert!(
            is_reload || event["type"] == "face" || is_greeting(event),
            "{event}"
        );
        greeted.set(greeted.get() + usize::from(is_greeting(event)));
        event["type"] == "face" && event["frame"] != frame
    });
    let greeted = greeted.get();
    assert!(greeted <= greetings, "{greeted} greetings");
    face
}

/// Each reload sends `hello` once.
const AFTER_A_RELOAD: usize = 1;

/// How often a camera was opened, by the log.
fn opened(log: &str) -> usize {
    let log = fs::read_to_string(format!("/out/{log}.log")).expect("the log");
    log.matches("] camera /dev/video").count()
}

/// Waits until the log contains a text `times` times, and returns the log from
/// the last of them on. The log is written with a small delay.
fn log_says(log: &str, text: &str, times: usize) -> String {
    let mut rest = String::new();
    wait_until(text, || {
        let log = fs::read_to_string(format!("/out/{log}.log")).expect("the log");
        let found: Vec<_> = log.match_indices(text).collect();
        if let Some((last, _)) = found.last() {
            rest = log[*last..].to_owned();
        }
        found.len() >= times
    });
    rest
}

/// With another `[decide]` no line moves, the camera stays open, the face keeps
/// its number and readers of events stay connected.
pub fn decide_alone() -> String {
    const EVENTS: &str = "/sys/kernel/tracing/events/gpio/enable";
    const LOG: &str = "reload-decide";
    let _webcam = Webcam::plug(&photo(HAPPY));
    let board = robot(&[QUICK, EACH_FRAME]);
    let (mut daemon, manager) = start(LOG, &board, None);
    let stream = UnixStream::connect("/tmp/events.sock").expect("the socket of events");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut reader = BufReader::new(stream).lines().map(|line| {
        serde_json::from_str::<Value>(&line.expect("a line in time")).expect("an event")
    });
    assert_eq!(reader.next().expect("a greeting")["type"], "hello");
    let before = goes_on(&mut daemon, 0);
    let cameras = opened(LOG);
    assert!(cameras > 0, "no camera in the log");

    set("/sys/kernel/tracing/trace", "");
    set(EVENTS, "1");
    robot(&[
        QUICK,
        EACH_FRAME,
        ("[classify]", "[decide]\ndwell_ms = 450\n\n[classify]"),
    ]);
    manager.reload(&daemon);
    let after = goes_on(&mut daemon, AFTER_A_RELOAD);
    set(EVENTS, "0");

    let trace = fs::read_to_string("/sys/kernel/tracing/trace").expect("the trace");
    let heartbeat = format!(": {} set ", base() + lines::HEARTBEAT);
    let moved: Vec<_> = trace
        .lines()
        .filter(|line| line.contains("gpio_value:") || line.contains("gpio_direction:"))
        .filter(|line| !line.contains(&heartbeat))
        // A display moves its own data/command line with each picture.
        .filter(|line| !line.trim_start().starts_with("display-"))
        .collect();
    assert!(moved.is_empty(), "{moved:#?}");
    assert_eq!(after["track"], before["track"], "{before}, then {after}");
    assert_eq!(opened(LOG), cameras, "the camera was opened again");
    // The reader is still connected. It gets only events about the face and the
    // reload, and a new `hello`.
    let mut greeted = 0;
    reader
        .by_ref()
        // The socket's thread may still send earlier events.
        .skip_while(|event| event["frame"].as_u64() <= before["frame"].as_u64())
        .inspect(|event| match event["type"].as_str() {
            Some("face" | "health" | "reload") => {}
            Some("hello") => greeted += 1,
            _ => panic!("not expected here: {event}"),
        })
        .find(|event| event["frame"] == after["frame"])
        .expect("the same event on the socket");
    assert!(greeted <= AFTER_A_RELOAD, "{greeted} greetings");
    log_says(LOG, "the new board file is in force", 1);
    daemon.stop();
    String::new()
}

/// The scheduling policy of each thread, by name; 1 is `SCHED_FIFO`.
fn policies(pid: Pid) -> Vec<(String, u32)> {
    fs::read_dir(format!("/proc/{pid}/task"))
        .expect("a process that lives")
        .filter_map(|entry| {
            let stat = fs::read_to_string(entry.ok()?.path().join("stat")).ok()?;
            let (head, fields) = stat.rsplit_once(')')?;
            let name = head.split_once('(')?.1.to_owned();
            // The 41st field; the state, after the name, is the third.
            let policy = fields.split_whitespace().nth(38)?.parse().ok()?;
            Some((name, policy))
        })
        .collect()
}

/// The loop, and no other thread, has the real-time priority.
fn only_the_loop_is_realtime(daemon: &Daemon) -> usize {
    let policies = policies(daemon.pid());
    let realtime: Vec<_> = policies.iter().filter(|(_, policy)| *policy == 1).collect();
    assert_eq!(realtime.len(), 1, "{policies:?}");
    assert_eq!(realtime[0].0, "affectd", "{policies:?}");
    policies.len()
}

fn locked_kib(daemon: &Daemon) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", daemon.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmLck:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok());
    number.expect("the locked memory")
}

const REALTIME: (&str, &str) = (
    "[classify]",
    "[process]\nrealtime_priority = 10\nlock_memory = true\n\n[classify]",
);

/// If anything is wrong with the new board file, the old one stays in force,
/// with its scheduling, locked memory, lines and readers.
pub fn that_fails() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    let board = robot(&[QUICK, EACH_FRAME, REALTIME]);
    let (mut daemon, manager) = start("reload-fails", &board, None);
    let threads = only_the_loop_is_realtime(&daemon);
    assert!(locked_kib(&daemon) > 0);
    let reader = UnixStream::connect("/tmp/events.sock").expect("the socket of events");

    let mut chip = gpio_cdev::Chip::new(chip()).expect("the simulated chip");
    let held = chip
        .get_line(22)
        .and_then(|line| line.request(gpio_cdev::LineRequestFlags::OUTPUT, 0, "another program"))
        .expect("a free line");
    let model = ("\"mobilenet_v2_112\"", "\"/rig/none.onnx\"");
    let syntax = ("[classify]", "[classify");
    let taken = ("sad = 26", "sad = 22");
    let refused = [
        (&[EACH_FRAME, REALTIME, model][..], "none.onnx"),
        (&[QUICK, EACH_FRAME, REALTIME, syntax], "board.toml"),
        (&[QUICK, EACH_FRAME, REALTIME, taken], "another program"),
    ];
    for (times, (wrong, says)) in (1..).zip(refused) {
        robot(wrong);
        manager.reload(&daemon);
        let log = log_says("reload-fails", "the old one stays in force", times);
        assert!(log.contains(says), "{says}: {log}");
        assert_eq!(only_the_loop_is_realtime(&daemon), threads);
        assert!(locked_kib(&daemon) > 0);
        goes_on(&mut daemon, AFTER_A_RELOAD);
        wait_until("a line", || states_on().len() == 1);
    }
    drop(held);

    // A good reload starts a thread, which must be an ordinary one.
    robot(&[
        QUICK,
        EACH_FRAME,
        REALTIME,
        (
            "[events]",
            "[[display]]\nkind = \"png\"\npath = \"/tmp/more.png\"\nsize = \"128x64\"\n\n[events]",
        ),
    ]);
    manager.reload(&daemon);
    assert_eq!(only_the_loop_is_realtime(&daemon), threads + 1);
    assert!(locked_kib(&daemon) > 0);
    // A reload without these settings undoes both.
    robot(&[QUICK, EACH_FRAME]);
    manager.reload(&daemon);
    let policies = policies(daemon.pid());
    assert!(
        policies.iter().all(|(_, policy)| *policy == 0),
        "{policies:?}"
    );
    assert_eq!(locked_kib(&daemon), 0);
    // The reader stayed connected all the time.
    drop(reader);
    daemon.stop();
    String::new()
}

/// If the kernel refuses a priority, nothing else is changed.
pub fn without_the_right() -> String {
    let _webcam = Webcam::plug(&photo(HAPPY));
    privilege::give_devices_to_the_group();
    let board = robot(&[QUICK, EACH_FRAME]);
    let user = Some((privilege::USER, privilege::GROUP));
    let (mut daemon, manager) = start("reload-refused", &board, user);
    let threads = policies(daemon.pid()).len();
    robot(&[QUICK, EACH_FRAME, REALTIME, ("sad = 26", "sad = 22")]);
    manager.reload(&daemon);
    log_says("reload-refused", "the old one stays in force", 1);
    goes_on(&mut daemon, AFTER_A_RELOAD);
    let policies = policies(daemon.pid());
    assert_eq!(policies.len(), threads);
    assert!(
        policies.iter().all(|(_, policy)| *policy == 0),
        "{policies:?}"
    );
    assert_eq!(locked_kib(&daemon), 0);
    assert_eq!(states_on().len(), 1);
    daemon.stop();
    String::new()
}
