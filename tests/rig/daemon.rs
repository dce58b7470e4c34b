//! Starts affectd with a board file, reads its events and ends it.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::guest::{PATIENCE, wait_until};

const AFFECTD: &str = "/bin/affectd";

/// A command of affectd other than `run`.
pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(AFFECTD);
    command.args(args).stdin(Stdio::null());
    command
}

/// A running `affectd run`.
pub struct Daemon {
    child: Child,
    /// The child, or the child's child if another program runs affectd.
    pid: Pid,
    events: Receiver<Value>,
    /// The events read so far, for the message of a failure.
    heard: Vec<String>,
    /// Keeps the pipe of an unread log open.
    _unread: Option<File>,
}

/// How to start a daemon.
pub struct Start<'a> {
    pub board: &'a str,
    pub args: &'a [&'a str],
    pub env: &'a [(&'a str, &'a str)],
    /// A program that runs affectd, with its arguments.
    pub under: &'a [&'a str],
    /// User and group, if not root.
    pub user: Option<(u32, u32)>,
    /// The log goes to a file of this name in /out.
    pub log: &'a str,
    /// The log goes into a full pipe that nobody reads instead.
    pub is_log_unread: bool,
}

impl<'a> Start<'a> {
    /// With robot.toml unchanged.
    pub fn new(log: &'a str) -> Self {
        Self {
            board: "/rig/robot.toml",
            args: &[],
            env: &[],
            under: &[],
            user: None,
            log,
            is_log_unread: false,
        }
    }

    pub fn go(&self) -> Daemon {
        let (log, unread) = if self.is_log_unread {
            let (read, write) = full_pipe();
            (write, Some(read))
        } else {
            let log = File::options()
                .create(true)
                .append(true)
                .open(format!("/out/{}.log", self.log));
            (log.expect("/out"), None)
        };
        let words: Vec<&str> = self.under.iter().copied().chain([AFFECTD]).collect();
        let mut command = Command::new(words[0]);
        if let Some((user, group)) = self.user {
            // std drops the supplementary groups as well.
            command.uid(user).gid(group);
        }
        let mut child = command
            .args(&words[1..])
            .args(["--log", "debug", "run", "--stats", "--board", self.board])
            .args(self.args)
            .envs(self.env.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("affectd");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, events) = channel();
        thread::spawn(move || {
            for line in stdout.lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line)
                    .unwrap_or_else(|error| panic!("no event: {line}: {error}"));
                // It comes at regular times, between the events that a scenario
                // waits for.
                if event["type"] == "health" {
                    continue;
                }
                if sender.send(event).is_err() {
                    break;
                }
            }
        });
        let mut pid = Pid::from_child(&child);
        if !self.under.is_empty() {
            let children = format!("/proc/{pid}/task/{pid}/children");
            wait_until("affectd", || {
                let all = fs::read_to_string(&children).unwrap_or_default();
                let found = all.split_whitespace().find_map(|word| {
                    let exe = fs::read_link(format!("/proc/{word}/exe")).ok()?;
                    Pid::from_raw(word.parse().ok()?).filter(|_| exe.ends_with("affectd"))
                });
                pid = found.unwrap_or(pid);
                found.is_some()
            });
        }
        Daemon {
            child,
            pid,
            events,
            heard: Vec::new(),
            _unread: unread,
        }
    }
}

/// A pipe with no room for a byte: the reading and the writing end.
fn full_pipe() -> (File, File) {
    let (read, write) = rustix::pipe::pipe().expect("a pipe");
    let mut write = File::from(write);
    let flags = rustix::fs::fcntl_getfl(&write).expect("its flags");
    rustix::fs::fcntl_setfl(&write, flags | rustix::fs::OFlags::NONBLOCK).expect("its flags");
    for size in [4096, 1] {
        while write.write(&vec![b'.'; size]).is_ok() {}
    }
    rustix::fs::fcntl_setfl(&write, flags).expect("its flags");
    (File::from(read), write)
}

impl Daemon {
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// Reads events until one meets a condition.
    pub fn expect(&mut self, what: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let start = Instant::now();
        loop {
            let left = PATIENCE.saturating_sub(start.elapsed());
            match self.events.recv_timeout(left) {
                Ok(event) => {
                    self.heard.push(event.to_string());
                    if wanted(&event) {
                        return event;
                    }
                }
                Err(error) => self.complain(what, error),
            }
        }
    }

    fn complain(&self, what: &str, error: RecvTimeoutError) -> ! {
        let last = self.heard.len().saturating_sub(8);
        let why = match error {
            RecvTimeoutError::Timeout => "it did not come in time",
            RecvTimeoutError::Disconnected => "affectd ended",
        };
        panic!(
            "waited in vain for {what}: {why}; the last events were\n{}",
            self.heard[last..].join("\n")
        );
    }

    pub fn expect_type(&mut self, kind: &str) -> Value {
        self.expect(kind, |event| event["type"] == kind)
    }

    /// Waits for a leading face with this label.
    pub fn expect_face(&mut self, label: &str) -> Value {
        self.expect(&format!("a face that looks {label}"), |event| {
            event["type"] == "face" && event["leading"] == true && event["label"] == label
        })
    }

    /// Waits for a state of eyes, with this reason.
    pub fn expect_fatigue(&mut self, state: &str, reason: Option<&str>) -> Value {
        self.expect(&format!("the state {state}, reason {reason:?}"), |event| {
            event["type"] == "fatigue"
                && event["state"] == state
                && event["reason"].as_str() == reason
        })
    }

    /// Takes all events that have come so far.
    pub fn drain(&mut self) -> Vec<Value> {
        self.events.try_iter().collect()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid, signal).expect("a process that lives");
    }

    /// Waits for the process to end.
    pub fn wait(&mut self) -> (ExitStatus, Duration) {
        let start = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return (status, start.elapsed());
            }
            assert!(start.elapsed() < PATIENCE, "affectd does not end");
            thread::sleep(Duration::from_millis(1));
        }
    }

    /// Ends it by SIGTERM and returns its last event.
    pub fn stop(mut self) -> Value {
        self.signal(Signal::TERM);
        let goodbye = self.expect_type("goodbye");
        let (status, _) = self.wait();
        assert!(status.success(), "{status}");
        goodbye
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
