//! A program that affectd starts itself and whose standard output it reads.
//!
//! The program gets a process group of its own, ordinary scheduling, the
//! default signal mask, no standard input, and none of the service manager's
//! variables. It is killed when affectd dies. Its standard error goes to the
//! log, a few lines at a time. When it ends or delivers no frame, its whole
//! group is ended and it is started again, at growing intervals.
//!
//! Between `fork` and `exec` only unsafe code could run, so affectd starts
//! itself as an intermediate process ([`launch_producer`]). That process asks
//! the kernel to kill it when its parent dies, gives up its real-time priority,
//! and then executes the program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, ExitCode, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use log::{info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{
    Pid, Signal, WaitId, WaitIdOptions, getppid, kill_process_group,
    set_parent_process_death_signal, test_kill_process_group, waitid,
};

use super::framer::expected;
use super::pipe::Stream;
use super::producer::Producer;
use crate::capture::{CaptureError, Options, Source};
use crate::host::realtime;

/// The first argument of an affectd that executes another program.
const BECOME: &str = "__become-producer";

/// Whether this program's `main` calls [`launch_producer`].
static CAN_LAUNCH: AtomicBool = AtomicBool::new(false);

/// Time from an end to the next start: the first and the longest one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
const LAST_WAIT: Duration = Duration::from_secs(10);

/// After this time with frames the next wait is the first one again.
const HEALTHY: Duration = Duration::from_secs(60);

/// Time from SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_secs(2);

/// The same when affectd itself ends.
const LAST_GRACE: Duration = Duration::from_millis(300);

/// How long affectd waits for a killed process group when it ends itself or
/// changes its source. A driver that hangs can hold a process for ever.
const KILLED: Duration = Duration::from_millis(200);

/// How long a program whose output was closed may take to end.
const END: Duration = Duration::from_millis(30);

/// Programs that open a `capture.command` must call this first in `main`. In an
/// affectd that was started to execute a producer, this executes it, and
/// returns only if that fails, with the exit code.
#[must_use]
pub fn launch_producer() -> Option<ExitCode> {
    let mut arguments = std::env::args_os().skip(1);
    if arguments.next().as_deref() != Some(OsStr::new(BECOME)) {
        CAN_LAUNCH.store(true, Ordering::Relaxed);
        return None;
    }
    let parent = arguments.next();
    let parent = parent.as_deref().and_then(OsStr::to_str);
    let (Some(parent), Some(program)) = (parent, arguments.next()) else {
        eprintln!("affectd: {BECOME} is for affectd itself");
        return Some(ExitCode::from(2));
    };
    let asked = set_parent_process_death_signal(Some(Signal::KILL));
    // The parent may have died before that.
    let is_orphan = getppid().is_none_or(|pid| pid.as_raw_pid().to_string() != parent);
    if asked.is_err() || is_orphan {
        return Some(ExitCode::FAILURE);
    }
    realtime::set_ordinary();
    let error = Command::new(&program).args(arguments).exec();
    eprintln!("cannot be started: {error}");
    Some(ExitCode::from(127))
}

/// Finds a program like a shell: a name with a slash is a path, any other name
/// is searched in `PATH`.
///
/// # Errors
/// The message says why the program was not found, and what to do.
pub fn find_program(name: &str) -> Result<PathBuf, String> {
    let is_program = |path: &Path| {
        use std::os::unix::fs::PermissionsExt as _;
        path.metadata()
            .is_ok_and(|found| found.is_file() && found.permissions().mode() & 0o111 != 0)
    };
    if name.contains('/') {
        let path = PathBuf::from(name);
        return match path.metadata() {
            _ if is_program(&path) => Ok(path),
            Ok(_) => Err(format!("'{name}' is not an executable file")),
            Err(error) => Err(format!("'{name}': {error}")),
        };
    }
    let path = std::env::var_os("PATH").unwrap_or_else(|| OsString::from("/usr/bin:/bin"));
    std::env::split_paths(&path)
        .map(|directory| directory.join(name))
        .find(|candidate| is_program(candidate))
        .ok_or_else(|| {
            let package = match name {
                "rpicam-vid" | "libcamera-vid" => " (package rpicam-apps-lite)",
                "gst-launch-1.0" => " (package gstreamer1.0-tools)",
                "ffmpeg" => " (package ffmpeg)",
                _ => "",
            };
            format!(
                "program '{name}' is missing{package}: install it, or write its path; PATH is {}",
                path.display()
            )
        })
}

/// Starts a program whose standard output is a stream of frames.
///
/// # Errors
/// The program does not exist, or raw frames have no size.
pub fn open(command: &[String], options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let expected = expected(options)?;
    let fail = |reason| CaptureError::Command { reason };
    let Some(program) = command.first() else {
        return Err(fail("the list is empty".to_owned()));
    };
    find_program(program).map_err(fail)?;
    let name = Path::new(program).file_name().map_or_else(
        || program.clone(),
        |name| name.to_string_lossy().into_owned(),
    );
    let producer = Program {
        command: command.to_vec(),
        messages: Messages::new(name.clone()),
        name,
        start_timeout: options.start_timeout,
        state: State::Ended {
            next_start: Instant::now(),
        },
        wait: FIRST_WAIT,
        last_group: None,
        streaming_since: None,
    };
    Ok(Box::new(Stream::new(producer, expected, options)))
}

struct Program {
    command: Vec<String>,
    name: String,
    start_timeout: Duration,
    state: State,
    /// From the next end to the start after it.
    wait: Duration,
    /// The process group of the program that ended last.
    last_group: Option<Pid>,
    streaming_since: Option<Instant>,
    messages: Messages,
}

enum State {
    Running(Child),
    /// It was asked to end.
    Ending {
        child: Child,
        kill_at: Instant,
    },
    Ended {
        next_start: Instant,
    },
}

impl Program {
    fn start(&self) -> io::Result<(Child, OwnedFd, ChildStderr)> {
        let (program, arguments) = self.command.split_first().unwrap_or((&self.name, &[]));
        let mut command = if CAN_LAUNCH.load(Ordering::Relaxed) {
            // The running file, even if it was replaced by another one.
            let mut launcher = Command::new("/proc/self/exe");
            launcher
                .arg0("affectd")
                .arg(BECOME)
                .arg(std::process::id().to_string())
                .arg(program);
            launcher
        } else {
            Command::new(program)
        };
        command
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0);
        // The program is not the service that the manager watches.
        for variable in ["NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"] {
            command.env_remove(variable);
        }
        let mut child = command.spawn()?;
        match (child.stdout.take(), child.stderr.take()) {
            (Some(output), Some(messages)) => Ok((child, output.into(), messages)),
            _ => Err(io::Error::other("its standard output cannot be read")),
        }
    }

    /// Ends the processes that an ended child left behind, and plans its next
    /// start.
    fn ended(&mut self, mut child: Child, now: Instant) -> io::Result<ExitStatus> {
        let group = Pid::from_child(&child);
        signal_group(group, Signal::KILL);
        let status = child.wait();
        self.last_group = Some(group);
        self.state = self.next_start(now);
        status
    }

    /// The state after an end now: waiting for the next start.
    fn next_start(&mut self, now: Instant) -> State {
        let was_healthy = self
            .streaming_since
            .take()
            .is_some_and(|since| now.saturating_duration_since(since) >= HEALTHY);
        if was_healthy {
            self.wait = FIRST_WAIT;
        }
        let next_start = now + self.wait;
        self.wait = (self.wait * 2).min(LAST_WAIT);
        State::Ended { next_start }
    }

    /// Takes the child out of a state that has one.
    fn child(&mut self, now: Instant) -> Option<Child> {
        let ended = State::Ended { next_start: now };
        match std::mem::replace(&mut self.state, ended) {
            State::Running(child) | State::Ending { child, .. } => Some(child),
            ended @ State::Ended { .. } => {
                self.state = ended;
                None
            }
        }
    }
}

impl Producer for Program {
    fn name(&self) -> &str {
        &self.name
    }

    fn connect(&mut self, now: Instant) -> Result<Option<OwnedFd>, String> {
        match &self.state {
            State::Running(_) => return Ok(None),
            State::Ending { child, kill_at } => {
                if !has_ended(child) {
                    if now >= *kill_at {
                        signal_group(Pid::from_child(child), Signal::KILL);
                    }
                } else if let Some(child) = self.child(now) {
                    let _ = self.ended(child, now);
                }
                return Ok(None);
            }
            State::Ended { next_start } if now < *next_start => return Ok(None),
            State::Ended { .. } => {}
        }
        if let Some(group) = self.last_group.take() {
            reap_group(group);
        }
        match self.start() {
            Ok((child, output, messages)) => {
                info!("{}: started as process {}", self.name, child.id());
                self.state = State::Running(child);
                self.messages.read_from(messages);
                Ok(Some(output))
            }
            Err(error) => {
                self.state = self.next_start(now);
                Err(format!("cannot be started: {error}"))
            }
        }
    }

    fn closed(&mut self, now: Instant) -> Option<String> {
        let Some(child) = self.child(now) else {
            return Some("it has ended".to_owned());
        };
        let until = Instant::now() + END;
        while !has_ended(&child) && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(2));
        }
        self.read_messages();
        if !has_ended(&child) {
            signal_group(Pid::from_child(&child), Signal::TERM);
            self.state = State::Ending {
                child,
                kill_at: now + GRACE,
            };
            return Some("it has closed its standard output".to_owned());
        }
        let status = self
            .ended(child, now)
            .map_or_else(|error| error.to_string(), |status| status.to_string());
        Some(match self.messages.last() {
            "" => format!("it ended with {status}"),
            last => format!("it ended with {status}; its last message: {last}"),
        })
    }

    fn stalled(&mut self, now: Instant) -> bool {
        if let Some(child) = self.child(now) {
            signal_group(Pid::from_child(&child), Signal::TERM);
            self.state = State::Ending {
                child,
                kill_at: now + GRACE,
            };
        }
        true
    }

    fn streaming(&mut self, now: Instant) {
        self.streaming_since = Some(now);
    }

    fn messages(&self) -> Option<BorrowedFd<'_>> {
        self.messages.pipe.as_ref().map(AsFd::as_fd)
    }

    fn read_messages(&mut self) {
        self.messages.read();
    }

    fn start_timeout(&self) -> Duration {
        self.start_timeout
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let now = Instant::now();
        let Some(mut child) = self.child(now) else {
            if let Some(group) = self.last_group {
                reap_group(group);
            }
            return;
        };
        let group = Pid::from_child(&child);
        signal_group(group, Signal::TERM);
        while !has_ended(&child) && now.elapsed() < LAST_GRACE {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal_group(group, Signal::KILL);
        // So the next program that opens the camera finds it free.
        let killed = Instant::now();
        loop {
            let is_left = matches!(child.try_wait(), Ok(None));
            if !is_left && reap_group(group) {
                return;
            }
            if killed.elapsed() >= KILLED {
                if is_left {
                    warn!("{}: process {} does not end", self.name, child.id());
                }
                return;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// Whether a child has ended. It is not reaped, so that its process group's
/// number cannot be given to another one.
fn has_ended(child: &Child) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    !matches!(
        waitid(WaitId::Pid(Pid::from_child(child)), options),
        Ok(None)
    )
}

fn signal_group(group: Pid, signal: Signal) {
    // The group may be gone already.
    let _ = kill_process_group(group, signal);
}

/// Reaps the processes of a group that affectd inherited, which happens if it
/// is the first process of a container. Returns whether the whole group is
/// gone.
fn reap_group(group: Pid) -> bool {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG;
    while let Ok(Some(_)) = waitid(WaitId::Pgid(Some(group)), options) {}
    test_kill_process_group(group) == Err(Errno::SRCH)
}

/// How many lines of a program's standard error are logged in one window of
/// time.
const LINES: u32 = 10;
const WINDOW: Duration = Duration::from_secs(10);

/// How many bytes of a line are logged.
const LINE: usize = 400;

/// A program's standard error on its way to the log.
struct Messages {
    name: String,
    pipe: Option<ChildStderr>,
    line: Vec<u8>,
    last: String,
    window: Instant,
    in_window: u32,
    left_out: u64,
}

impl Messages {
    fn new(name: String) -> Self {
        Self {
            name,
            pipe: None,
            line: Vec::with_capacity(LINE),
            last: String::with_capacity(LINE),
            window: Instant::now(),
            in_window: 0,
            left_out: 0,
        }
    }

    fn read_from(&mut self, pipe: ChildStderr) {
        self.pipe = Some(pipe);
        self.line.clear();
        self.last.clear();
    }

    fn last(&self) -> &str {
        &self.last
    }

    /// Reads the waiting messages, with a limit.
    fn read(&mut self) {
        let mut bytes = [0; 4096];
        for _ in 0..16 {
            let Some(pipe) = &self.pipe else {
                return;
            };
            let mut fds = [PollFd::new(pipe, PollFlags::IN)];
            if !matches!(poll(&mut fds, Some(&Timespec::default())), Ok(1)) {
                return;
            }
            match rustix::io::read(pipe, &mut bytes) {
                Ok(0) | Err(_) => {
                    self.pipe = None;
                    self.end_of_line();
                }
                Ok(count) => self.take(&bytes[..count]),
            }
        }
    }

    fn take(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            // A carriage return ends the lines of progress reports.
            if byte == b'\n' || byte == b'\r' {
                self.end_of_line();
            } else if self.line.len() < LINE {
                self.line.push(byte);
            }
        }
    }

    fn end_of_line(&mut self) {
        let text = self.line.trim_ascii();
        if text.is_empty() {
            self.line.clear();
            return;
        }
        if self.window.elapsed() >= WINDOW {
            self.window = Instant::now();
            self.in_window = 0;
            if self.left_out > 0 {
                warn!(
                    "{}: {} messages were dropped here",
                    self.name, self.left_out
                );
                self.left_out = 0;
            }
        }
        self.last.clear();
        for part in text.utf8_chunks() {
            // Escape sequences would reach the terminal of the log's reader.
            let shown = part.valid().chars().filter(|c| !c.is_control());
            self.last.extend(shown);
        }
        self.in_window += 1;
        if self.in_window <= LINES {
            info!("{}: {}", self.name, self.last);
        } else {
            self.left_out += 1;
        }
        self.line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inherited_processes_of_a_group_are_reaped() {
        // The kernel gives orphans to the test, as to the first process of a
        // container.
        rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
        let mut child = Command::new("sh")
            .args(["-c", "sleep 100 & exit 0"])
            .process_group(0)
            .spawn()
            .unwrap();
        let group = Pid::from_child(&child);
        child.wait().unwrap();
        assert!(!reap_group(group), "it sleeps");
        signal_group(group, Signal::KILL);
        let start = Instant::now();
        while !reap_group(group) {
            assert!(start.elapsed() < Duration::from_secs(30));
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
