//! The daemon beside others that do not do their part.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

/// The writing end of a pipe that is full, and that nobody reads; with the
/// other end, which keeps it open.
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
    // A daemon that waits for its log says nothing; the test then hangs here
    // unless it is ended.
    let pid = Pid::from_child(&child);
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let guard = std::thread::spawn(move || {
        if is_done.recv_timeout(Duration::from_secs(60))
            == Err(std::sync::mpsc::RecvTimeoutError::Timeout)
        {
            kill_process(pid, Signal::KILL).unwrap();
        }
    });
    let mut next = || -> Value {
        let line = events.next().expect("the daemon waits for its log");
        serde_json::from_str(&line.unwrap()).unwrap()
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
