//! Signals, in a process of its own.

use std::io::{BufRead as _, BufReader};
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use affectd::host::signals::Signals;
use rustix::process::{Pid, Signal, kill_process};

/// Set in the environment of a process that a test starts from this file.
const CHILD: &str = "AFFECTD_TEST_CHILD";

/// Prints the signals that it gets, without an end.
#[test]
#[ignore = "run by other tests as a process of its own"]
fn child() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let signals = Signals::install().unwrap();
    println!("\nready");
    let mut told = false;
    loop {
        if signals.take_reload() {
            println!("reload");
        }
        if let (Some(name), false) = (signals.stop_requested(), told) {
            told = true;
            println!("{name}");
        }
        signals.sleep(Duration::from_secs(60));
    }
}

struct Process(Child, BufReader<ChildStdout>);

impl Process {
    fn new() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "signals::child", "--ignored", "--nocapture"])
            .env(CHILD, "1")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let mut process = Self(child, output);
        process.expect("ready");
        process
    }

    fn send(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }

    /// The process's exit status; fails if it does not end.
    fn status(&mut self) -> ExitStatus {
        let start = Instant::now();
        loop {
            if let Some(status) = self.0.try_wait().unwrap() {
                return status;
            }
            assert!(start.elapsed() < Duration::from_secs(30), "it goes on");
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Reads lines until this one comes.
    fn expect(&mut self, wanted: &str) {
        let mut line = String::new();
        while line.trim() != wanted {
            line.clear();
            let count = self.1.read_line(&mut line).unwrap();
            assert!(count > 0, "the process ended before it said {wanted}");
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn a_second_interrupt_ends_the_process_at_once() {
    let mut process = Process::new();
    process.send(Signal::INT);
    process.expect("SIGINT");
    assert!(process.0.try_wait().unwrap().is_none());
    process.send(Signal::INT);
    let status = process.status();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn an_interrupt_ends_a_process_that_was_told_to_stop() {
    let mut process = Process::new();
    process.send(Signal::TERM);
    process.expect("SIGTERM");
    process.send(Signal::TERM);
    process.send(Signal::INT);
    let status = process.status();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_hangup_asks_for_a_reload_each_time() {
    let mut process = Process::new();
    for _ in 0..2 {
        process.send(Signal::HUP);
        process.expect("reload");
    }
    process.send(Signal::TERM);
    process.expect("SIGTERM");
}

struct Running(Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn sigusr1_opens_the_event_file_again() {
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name);
    let photos = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/photos");
    std::fs::write(
        at("board.toml"),
        format!("[capture]\nsource = '{photos}'\nrepeat = true\n[track]\nconfirm = 1\n[events]\nfile = 'events.jsonl'\n"),
    )
    .unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_affectd"));
    command
        .args(["run", "--fast", "--board"])
        .arg(at("board.toml"));
    // If the test fails, the process must not keep the test's own output open.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut daemon = Running(command.spawn().unwrap());
    let has_a_face = |name: &str| {
        let start = Instant::now();
        while !std::fs::read_to_string(at(name)).is_ok_and(|text| text.contains("\"face\"")) {
            assert!(
                start.elapsed() < Duration::from_secs(60),
                "no face in {name}"
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    };
    has_a_face("events.jsonl");
    std::fs::rename(at("events.jsonl"), at("events.jsonl.1")).unwrap();
    let pid = Pid::from_child(&daemon.0);
    kill_process(pid, Signal::USR1).unwrap();
    has_a_face("events.jsonl");
    kill_process(pid, Signal::TERM).unwrap();
    assert!(daemon.0.wait().unwrap().success());
    let text = std::fs::read_to_string(at("events.jsonl")).unwrap();
    assert!(text.lines().next().unwrap().contains("\"hello\""), "{text}");
    assert!(
        text.lines().last().unwrap().contains("\"goodbye\""),
        "{text}"
    );
    let old = std::fs::read_to_string(at("events.jsonl.1")).unwrap();
    assert!(old.ends_with('\n') && !old.contains("\"goodbye\""), "{old}");
}
