//! The daemon with frames from another program: standard input and
//! `capture.command`.

use std::fs;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use affectd::host::realtime;
use serde_json::Value;

const LONG: Duration = Duration::from_secs(30);

/// A daemon with a reader of its events, and a socket in the place of a service
/// manager.
struct Daemon {
    child: Child,
    events: Receiver<Value>,
    manager: UnixDatagram,
    directory: tempfile::TempDir,
}

impl Daemon {
    fn start(capture: &str) -> Self {
        Self::start_by(Command::new(env!("CARGO_BIN_EXE_affectd")), capture)
    }

    /// Starts the daemon through a command whose last argument is the daemon's
    /// path.
    fn start_by(mut command: Command, capture: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let board = directory.path().join("board.toml");
        fs::write(
            &board,
            format!("[capture]\n{capture}\n[events]\nstdout = true\n"),
        )
        .unwrap();
        let socket = directory.path().join("notify");
        let manager = UnixDatagram::bind(&socket).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut child = command
            .arg("run")
            .arg("--board")
            .arg(&board)
            .env("NOTIFY_SOCKET", &socket)
            .env("WATCHDOG_USEC", "500000")
            .current_dir(directory.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (send, events) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines() {
                let event = serde_json::from_str(&line.unwrap()).unwrap();
                if send.send(event).is_err() {
                    return;
                }
            }
        });
        Self {
            child,
            events,
            manager,
            directory,
        }
    }

    /// The next event of a kind.
    fn event(&self, kind: &str) -> Value {
        let start = Instant::now();
        loop {
            let left = LONG.saturating_sub(start.elapsed());
            let event = self.events.recv_timeout(left);
            let event = event.unwrap_or_else(|_| panic!("no event {kind}"));
            if event["type"] == kind {
                return event;
            }
        }
    }

    /// How often the watchdog was fed since the last call.
    fn feeds(&self) -> usize {
        let mut buffer = [0; 1024];
        let mut count = 0;
        while let Ok(length) = self.manager.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..length]);
            count += usize::from(text.contains("WATCHDOG=1"));
        }
        count
    }

    /// The most memory that the process has had, in MB.
    fn most_memory(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap();
        line.split_whitespace()
            .nth(1)
            .unwrap()
            .parse::<u64>()
            .unwrap()
            / 1024
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A photograph with a face as a JPEG.
fn good() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/astronaut.jpg");
    let picture = affectd::image::read_luma(path).unwrap();
    let (width, height) = (picture.width as u16, picture.height as u16);
    let mut jpeg = Vec::new();
    jpeg_encoder::Encoder::new(&mut jpeg, 90)
        .encode(
            &picture.pixels,
            width,
            height,
            jpeg_encoder::ColorType::Luma,
        )
        .unwrap();
    jpeg
}

/// Writes pieces at 30 per second until `done`.
fn feed(child: &mut Child, piece: &[u8], mut done: impl FnMut() -> bool) {
    let mut pipe = child.stdin.take().unwrap();
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < LONG);
        pipe.write_all(piece).unwrap();
        std::thread::sleep(Duration::from_millis(33));
    }
    child.stdin = Some(pipe);
}

#[test]
fn broken_pictures_on_standard_input_are_a_lost_camera() {
    let good = good();
    let half = good[..good.len() / 2].to_vec();
    let noughts = [&half[..], &[0; 200_000]].concat();
    let mut of_good_run = 0;
    for (piece, part) in [
        (good.clone(), ""),
        (half, "broken ones came, the last: "),
        (vec![0; 30_000], "no whole frame for 0.8 s"),
        (noughts, "no whole frame for 0.8 s"),
    ] {
        let mut daemon = Daemon::start("source = '-'\nformat = 'mjpg'");
        let mut frames = 0;
        feed(&mut daemon.child, &good, || {
            frames += 1;
            frames > 30
        });
        // A decision from the good pictures.
        daemon.event("face");
        if part.is_empty() {
            feed(&mut daemon.child, &piece, || {
                frames += 1;
                frames > 90
            });
            of_good_run = daemon.most_memory();
            continue;
        }
        let mut lost = None;
        let events = &daemon.events;
        feed(&mut daemon.child, &piece, || {
            lost = events
                .try_iter()
                .find(|event| event["type"] == "camera_lost");
            lost.is_some()
        });
        let lost = lost.unwrap();
        let reason = lost["reason"].as_str().unwrap();
        assert!(reason.contains(part), "{reason}");

        // The loop still feeds the watchdog.
        daemon.feeds();
        let start = Instant::now();
        feed(&mut daemon.child, &piece, || {
            start.elapsed() > Duration::from_secs(2)
        });
        assert!(daemon.feeds() >= 2);
        let memory = daemon.most_memory();
        assert!(memory <= of_good_run + 16, "{memory} and {of_good_run} MB");

        // Good pictures bring it back.
        let mut back = false;
        let events = &daemon.events;
        feed(&mut daemon.child, &good, || {
            back |= events
                .try_iter()
                .any(|event| event["type"] == "camera_back");
            back
        });
        drop(daemon.child.stdin.take());
        let goodbye = daemon.event("goodbye");
        let broken = goodbye["counters"]["frames_broken"].as_u64().unwrap();
        assert!(broken > 0 || piece[0] == 0, "{goodbye}");
    }
}

#[test]
fn pictures_without_an_end_marker_keep_the_face() {
    let good = good();
    let mut daemon = Daemon::start("source = '-'");
    let mut frames = 0;
    feed(&mut daemon.child, &good[..good.len() - 2], || {
        frames += 1;
        frames > 60
    });
    drop(daemon.child.stdin.take());
    let mut faces = 0;
    let goodbye = loop {
        let event = daemon.events.recv_timeout(LONG).unwrap();
        match event["type"].as_str().unwrap() {
            "camera_lost" => panic!("{event}"),
            "face" => faces += 1,
            "goodbye" => break event,
            _ => {}
        }
    };
    assert!(faces > 0);
    // The last picture has no successor that ends it, so it counts neither as
    // whole nor as broken.
    assert_eq!(goodbye["counters"]["frames_broken"], 0, "{goodbye}");
}

/// A program that writes a picture in a file every 50 ms, and its process number into
/// another one.
fn camera(directory: &Path, good: &[u8]) -> PathBuf {
    fs::write(directory.join("good.jpg"), good).unwrap();
    let path = directory.join("camera");
    // No program is started to read the status: a shell blocks signals while it
    // starts one.
    let script = "#!/bin/sh\necho $$ >pid\n\
                  while read -r line; do echo \"$line\"; done </proc/$$/status >status\n\
                  env >env\n\
                  echo sensor found >&2\n\
                  while :; do cat good.jpg || exit 1; sleep 0.05; done\n";
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(start.elapsed() < LONG, "{what} does not come");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn a_program_is_killed_with_affectd() {
    let programs = tempfile::tempdir().unwrap();
    let path = camera(programs.path(), &good());
    let mut daemon = Daemon::start(&format!(
        "command = ['sh', '-c', 'cd {} && exec {}']",
        programs.path().display(),
        path.display()
    ));
    daemon.event("face");
    let read = |name: &str| fs::read_to_string(programs.path().join(name)).unwrap();
    let pid: u32 = read("pid").trim().parse().unwrap();

    // The environment and status that it was started with.
    let status = read("status");
    let field = |name: &str| field(&status, name);
    assert_eq!(field("PPid:"), daemon.child.id().to_string());
    wait_for_an_empty_mask(&pid.to_string());
    assert_eq!(field("VmLck:"), "0");
    // SIGPIPE is bit 12.
    let ignored = u64::from_str_radix(&field("SigIgn:"), 16).unwrap();
    assert_eq!(ignored & 1 << 12, 0);
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat
        .rsplit(')')
        .next()
        .unwrap()
        .split_whitespace()
        .collect();
    assert_eq!(fields[2], pid.to_string(), "its own process group");
    assert_eq!(fields[38], "0", "SCHED_OTHER");
    assert!(!read("env").contains("NOTIFY_SOCKET"));
    assert!(!read("env").contains("WATCHDOG"));

    daemon.child.kill().unwrap();
    daemon.child.wait().unwrap();
    wait_for("the program's end", || {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
        (stat.is_empty() || stat.contains(") Z ")).then_some(())
    });
}

#[test]
fn a_program_that_ends_is_an_unplugged_camera() {
    let programs = tempfile::tempdir().unwrap();
    let path = camera(programs.path(), &good());
    let daemon = Daemon::start(&format!(
        "command = ['sh', '-c', 'cd {} && exec {}']",
        programs.path().display(),
        path.display()
    ));
    daemon.event("face");
    let pid = programs.path().join("pid");
    let number = fs::read_to_string(&pid).unwrap();
    let killed = Command::new("kill").args(["-9", number.trim()]).status();
    assert!(killed.unwrap().success());
    let lost = daemon.event("camera_lost");
    let reason = lost["reason"].as_str().unwrap();
    assert!(reason.contains("signal: 9"), "{reason}");
    assert!(reason.contains("sensor found"), "{reason}");
    daemon.event("camera_back");
    daemon.event("face");
    assert_ne!(fs::read_to_string(&pid).unwrap(), number);
    assert!(daemon.directory.path().is_dir());
}

/// The value of a field in the text of `/proc/PID/status`.
fn field(status: &str, name: &str) -> String {
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().to_owned()
}

/// Waits until a process blocks no signal. A shell blocks all signals for a
/// moment while it starts another program; an inherited mask would stay.
fn wait_for_an_empty_mask(pid: &str) {
    wait_for("an empty signal mask", || {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        (field(&status, "SigBlk:") == "0000000000000000").then_some(())
    });
}

/// The scheduling policy of a process; 0 is SCHED_OTHER, 1 is SCHED_FIFO.
fn policy(pid: &str) -> String {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let after_name = stat.rsplit(')').next().unwrap();
    after_name.split_whitespace().nth(38).unwrap().to_owned()
}

/// The loop starts a program again while it runs under SCHED_FIFO, in locked
/// memory, and in a process that was started with a blocked signal.
#[test]
fn a_program_that_is_started_again_inherits_no_priority_lock_or_signal_mask() {
    const BLOCKED: &str = "0000000000000800"; // SIGUSR2
    let programs = tempfile::tempdir().unwrap();
    let path = camera(programs.path(), &good());
    let process = "[process]\nrealtime_priority = 5\nlock_memory = true\n";
    let capture = format!(
        "command = ['sh', '-c', 'cd {} && exec {}']\n{process}",
        programs.path().display(),
        path.display()
    );
    let may = std::thread::spawn(|| {
        let may = realtime::lock_memory().and_then(|()| realtime::set_realtime(5));
        realtime::unlock_memory();
        may.is_ok()
    });
    if !may.join().unwrap() {
        // Without the privilege the daemon does not start at all.
        let board = programs.path().join("board.toml");
        fs::write(&board, format!("[capture]\n{capture}")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_affectd"))
            .args(["run", "--board"])
            .arg(&board)
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && text.contains("CAP_"), "{text}");
        return;
    }
    let mut command = Command::new("env");
    command.args(["--block-signal=USR2", env!("CARGO_BIN_EXE_affectd")]);
    let daemon = Daemon::start_by(command, &capture);
    daemon.event("face");
    let own = daemon.child.id().to_string();
    let status = fs::read_to_string(format!("/proc/{own}/status")).unwrap();
    assert_eq!(policy(&own), "1", "the loop's thread is the first one");
    assert_ne!(field(&status, "VmLck:"), "0");
    assert_eq!(field(&status, "SigBlk:"), BLOCKED);

    let read = |name: &str| fs::read_to_string(programs.path().join(name)).unwrap();
    let first = read("pid").trim().to_owned();
    let killed = Command::new("kill").args(["-9", &first]).status().unwrap();
    assert!(killed.success());
    daemon.event("camera_back");
    let second = read("pid").trim().to_owned();
    assert_ne!(second, first);
    assert_eq!(policy(&second), "0");
    let status = read("status");
    assert_eq!(field(&status, "Pid:"), second);
    assert_eq!(field(&status, "VmLck:"), "0");
    wait_for_an_empty_mask(&second);
}

#[test]
fn check_names_a_missing_program() {
    let directory = tempfile::tempdir().unwrap();
    let board = directory.path().join("board.toml");
    let check = |program: &str| {
        fs::write(&board, format!("[capture]\ncommand = ['{program}']\n")).unwrap();
        let output = Command::new(env!("CARGO_BIN_EXE_affectd"))
            .arg("check")
            .arg(&board)
            .output()
            .unwrap();
        (
            output.status.code().unwrap(),
            String::from_utf8(output.stdout).unwrap(),
        )
    };
    let (code, text) = check("rpicam-vid-that-is-missing");
    assert_eq!(code, 1, "{text}");
    assert!(
        text.contains("WRONG   capture.command: program 'rpicam-vid-that-is-missing' is missing"),
        "{text}"
    );
    let (code, text) = check("sh");
    assert_eq!(code, 0, "{text}");
    assert!(text.contains("ok      capture.command: /"), "{text}");
}

#[test]
fn a_picture_on_standard_input_is_read() {
    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let copies = tempfile::tempdir().unwrap();
    let output = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(["image", "-", "--annotate"])
        .arg(copies.path())
        .stdin(fs::File::open(photos.join("astronaut.jpg")).unwrap())
        .output()
        .unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{error}");
    let line: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(line["file"], "-");
    assert_eq!(line["faces"].as_array().unwrap().len(), 1);
    assert!(copies.path().join("stdin-faces.png").is_file());
}
