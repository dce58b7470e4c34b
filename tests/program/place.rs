//! A daemon in a folder of its own, whose camera is a program.

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use crate::pictures::affectd;

pub const LONG: Duration = Duration::from_secs(60);

pub struct Daemon {
    pub child: Child,
    pub events: std::io::Lines<BufReader<ChildStdout>>,
}

/// A folder with a board file, and the files that a daemon writes there.
pub struct Place(pub tempfile::TempDir);

impl Place {
    /// A board whose camera is a program that writes its number into a file and
    /// then gray frames.
    pub fn new(more: &str) -> Self {
        let place = Self(tempfile::tempdir().unwrap());
        place.write_board(more);
        place
    }

    pub fn write_board(&self, more: &str) {
        let text = format!(
            "name = 'lobby'\nid = 'robot-7'\n\
             [capture]\nformat = 'gray'\nsize = '160x120'\nfps = 20\n\
             command = ['sh', '-c', 'echo $$ > {}; while head -c 19200 /dev/zero; do sleep 0.05; done']\n\
             [events]\nstdout = true\nperiod_ms = 100\n[state]\ndirectory = 'state'\n\
             [control]\nsocket = 'control.sock'\n{more}\n",
            self.path("producer").display()
        );
        fs::write(self.path("board.toml"), text).unwrap();
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    pub fn start(&self) -> Daemon {
        self.start_with(None)
    }

    /// Starts a daemon that tells a service manager at this socket how it is.
    pub fn start_with(&self, manager: Option<&Path>) -> Daemon {
        let log = fs::File::create(self.path("log")).unwrap();
        // With the umask of the packaged unit.
        let mut command = Command::new("sh");
        command
            .args(["-c", "umask 077; exec \"$0\" \"$@\""])
            .args([env!("CARGO_BIN_EXE_affectd"), "run", "--board"])
            .arg(self.path("board.toml"))
            .stdout(Stdio::piped())
            .stderr(log);
        if let Some(socket) = manager {
            command.env("NOTIFY_SOCKET", socket);
        }
        let mut child = command.spawn().unwrap();
        let events = BufReader::new(child.stdout.take().unwrap()).lines();
        Daemon { child, events }
    }

    pub fn command(&self, words: &[&str]) -> Output {
        self.command_on(&self.path("board.toml"), words)
    }

    /// A command on another board file.
    pub fn command_on(&self, board: &Path, words: &[&str]) -> Output {
        let words = words.iter().map(AsRef::as_ref);
        affectd(words.chain(["--board".as_ref(), board.as_os_str()]))
    }

    pub fn connect(&self) -> UnixStream {
        let socket = UnixStream::connect(self.path("control.sock")).unwrap();
        socket.set_read_timeout(Some(LONG)).unwrap();
        socket
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Whether the program that writes frames runs.
    pub fn has_producer(&self) -> bool {
        let Ok(text) = fs::read_to_string(self.path("producer")) else {
            return false;
        };
        let pid = text.trim().parse().ok().and_then(Pid::from_raw);
        pid.is_some_and(|pid| test_kill_process(pid).is_ok())
    }
}

impl Daemon {
    pub fn expect(&mut self, kind: &str) -> Value {
        loop {
            let line = self.events.next().expect(kind).unwrap();
            let event: Value = serde_json::from_str(&line).unwrap();
            if event["type"] == kind {
                return event;
            }
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    pub fn stop(mut self) {
        self.signal(Signal::TERM);
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < LONG, "{what} does not come");
        std::thread::sleep(Duration::from_millis(5));
    }
}

pub fn code(output: &Output) -> Option<i32> {
    output.status.code()
}
