//! A daemon, a broker, a bridge and a subscriber for a test. All but the daemon
//! are real programs.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// Long enough for a busy machine; no test waits for it unless it fails.
pub const LONG: Duration = Duration::from_secs(30);

/// Ends a process that a test started, however the test ends.
pub struct Started(pub Child);

impl Started {
    pub fn pid(&self) -> String {
        self.0.id().to_string()
    }

    pub fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.pid()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // Both fail only if the process has already ended.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn program(name: &str) -> PathBuf {
    ["/usr/sbin", "/usr/bin", "/usr/local/sbin", "/usr/local/bin"]
        .iter()
        .map(|folder| Path::new(folder).join(name))
        .find(|path| path.exists())
        .unwrap_or_else(|| panic!("{name} is missing; scripts/test-bridges installs it"))
}

pub fn await_that(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < deadline, "not within {LONG:?}: {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

pub fn secret_file(path: &Path, text: &str) {
    fs::write(path, text).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

pub fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    listener.local_addr().unwrap().port()
}

/// Mosquitto.
pub struct Broker {
    pub folder: PathBuf,
    pub port: u16,
    process: Option<Started>,
    /// Arguments of mosquitto_pub and mosquitto_sub.
    client: Vec<String>,
}

impl Broker {
    /// A broker that anybody may use.
    pub fn start(folder: &Path) -> Self {
        Self::with(folder, "allow_anonymous true\n", &[])
    }

    /// A broker with these lines for its listener.
    pub fn with(folder: &Path, config: &str, client: &[&str]) -> Self {
        let mut broker = Self {
            folder: folder.to_owned(),
            port: free_port(),
            process: None,
            client: client.iter().map(|&argument| argument.to_owned()).collect(),
        };
        let config = format!(
            "listener {} 127.0.0.1\nuser root\nmax_queued_messages 0\nmax_inflight_messages 0\n{config}",
            broker.port
        );
        fs::write(folder.join("mosquitto.conf"), config).unwrap();
        broker.run();
        broker
    }

    pub fn run(&mut self) {
        let log = File::create(self.folder.join("mosquitto.log")).unwrap();
        let child = Command::new(program("mosquitto"))
            .arg("-c")
            .arg(self.folder.join("mosquitto.conf"))
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        self.process = Some(Started(child));
        await_that("mosquitto listens", || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_ok()
        });
    }

    /// Also forgets what was retained.
    pub fn kill(&mut self) {
        self.process = None;
    }

    pub fn signal(&self, signal: &str) {
        self.process.as_ref().unwrap().signal(signal);
    }

    fn client(&self, name: &str) -> Command {
        // Otherwise it keeps its lines back while they go into a pipe.
        let mut command = Command::new("stdbuf");
        command
            .arg("-oL")
            .arg(program(name))
            .args(["-h", "localhost", "-p", &self.port.to_string()])
            .args(&self.client);
        command
    }

    pub fn publish(&self, topic: &str, message: &str, is_retained: bool) {
        let mut command = self.client("mosquitto_pub");
        command.args(["-q", "1", "-t", topic, "-m", message]);
        if is_retained {
            command.arg("-r");
        }
        assert!(command.status().unwrap().success());
    }

    /// The retained messages now.
    pub fn retained(&self) -> Vec<Message> {
        let output = self
            .client("mosquitto_sub")
            .args(["-t", "#", "-W", "1", "-F", "%r %t %p", "--retained-only"])
            .output()
            .unwrap();
        String::from_utf8(output.stdout)
            .unwrap()
            .lines()
            .map(Message::parse)
            .collect()
    }

    pub fn subscribe(&self, topic: &str) -> Subscriber {
        Subscriber::new(self.client("mosquitto_sub"), topic)
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Message {
    pub is_retained: bool,
    pub topic: String,
    pub text: String,
}

impl Message {
    fn parse(line: &str) -> Self {
        let (retained, rest) = line.split_once(' ').unwrap();
        let (topic, text) = rest.split_once(' ').unwrap_or((rest, ""));
        Self {
            is_retained: retained == "1",
            topic: topic.to_owned(),
            text: text.to_owned(),
        }
    }

    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{self:?}: {error}"))
    }
}

/// mosquitto_sub.
pub struct Subscriber {
    _process: Started,
    messages: Receiver<Message>,
}

impl Subscriber {
    fn new(mut command: Command, topic: &str) -> Self {
        let mut child = command
            .args(["-q", "1", "-d", "-t", topic, "-F", "MESSAGE %r %t %p"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let process = Started(child);
        let (sender, messages) = channel();
        let (ready, subscribed) = channel();
        thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                if line.contains("SUBACK") || line.contains("Subscribed") {
                    let _ = ready.send(());
                }
                if let Some(message) = line.strip_prefix("MESSAGE ")
                    && sender.send(Message::parse(message)).is_err()
                {
                    return;
                }
            }
        });
        subscribed.recv_timeout(LONG).expect("no subscription");
        Self {
            _process: process,
            messages,
        }
    }

    /// The next message for which this is so; others before it are skipped.
    pub fn find(&self, what: &str, mut is_it: impl FnMut(&Message) -> bool) -> Message {
        let deadline = Instant::now() + LONG;
        let mut skipped = Vec::new();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.messages.recv_timeout(left) {
                Ok(message) if is_it(&message) => return message,
                Ok(message) => skipped.push(message),
                Err(_) => panic!("no message: {what}; others: {skipped:#?}"),
            }
        }
    }

    pub fn text(&self, topic: &str, text: &str) -> Message {
        self.find(&format!("{topic} {text}"), |message| {
            message.topic.ends_with(topic) && message.text == text
        })
    }

    /// The next state with this expression.
    pub fn expression(&self, expression: &Value) -> Message {
        self.find(&format!("expression {expression}"), |message| {
            message.topic.ends_with("/state") && message.json()["expression"] == *expression
        })
    }

    /// All messages until there is none for so long.
    pub fn all(&self, quiet: Duration) -> Vec<Message> {
        let mut all = Vec::new();
        loop {
            match self.messages.recv_timeout(quiet) {
                Ok(message) => all.push(message),
                Err(RecvTimeoutError::Timeout) => return all,
                Err(RecvTimeoutError::Disconnected) => panic!("mosquitto_sub has ended"),
            }
        }
    }
}

/// The event socket of a daemon that a test plays.
pub struct Daemon {
    listener: Option<UnixListener>,
    path: PathBuf,
    stream: Option<UnixStream>,
    pub id: String,
    pub name: String,
    time: f64,
}

impl Daemon {
    pub fn new(folder: &Path, id: &str, name: &str) -> Self {
        let path = folder.join(format!("{id}-events.sock"));
        Self {
            listener: Some(UnixListener::bind(&path).unwrap()),
            path,
            stream: None,
            id: id.to_owned(),
            name: name.to_owned(),
            time: 100.0,
        }
    }

    /// Accepts the bridge and greets it.
    pub fn accept(&mut self) {
        let (stream, _) = self.listener.as_ref().unwrap().accept().unwrap();
        self.stream = Some(stream);
        self.greet();
    }

    pub fn greet(&mut self) {
        let hello = json!({
            "version": "0.2.0", "id": self.id, "name": self.name, "config": "c", "source": "test",
            "live": true, "model": "m", "period_ms": 1000,
        });
        self.send("hello", &hello);
    }

    pub fn send(&mut self, kind: &str, keys: &Value) {
        self.time += 0.1;
        let line = line(kind, self.time, keys);
        let stream = self.stream.as_mut().unwrap();
        stream.write_all(line.as_bytes()).unwrap();
    }

    pub fn raw(&mut self, text: &str) {
        self.stream
            .as_mut()
            .unwrap()
            .write_all(text.as_bytes())
            .unwrap();
    }

    pub fn face(&mut self, label: &str) {
        let face = json!({
            "track": 1, "leading": true, "box": [1, 2, 3, 4], "size": [640, 480], "searched": 1,
            "label": label, "confidence": 0.87, "probabilities": {"happy": 0.87},
            "since": self.time, "change": true,
        });
        self.send("face", &face);
    }

    pub fn none(&mut self) {
        self.send("none", &json!({"since": self.time, "change": true}));
    }

    pub fn health(&mut self) {
        let health = json!({
            "camera": "streaming", "fps": 29.9, "frames": 100, "dropped": {"busy": 1},
            "frame_p50_ms": 12.5, "frame_p99_ms": 20, "hot": false, "arena_overflows": 0,
            "rss_kib": 50000, "uptime": 10, "reloads_done": 0, "reloads_failed": 0,
            "restarts": 0, "change": false,
        });
        self.send("health", &health);
    }

    pub fn fatigue(&mut self, state: &str) {
        let fatigue = json!({
            "track": 1, "state": state, "reason": null, "since": self.time, "valid": 0.93,
            "perclos": 0.1, "closure_ms": null, "calibrated": true, "change": true,
        });
        self.send("fatigue", &fatigue);
    }

    /// The process has ended; its socket is gone.
    pub fn end(&mut self) {
        self.stream = None;
        self.listener = None;
        fs::remove_file(&self.path).unwrap();
    }

    pub fn begin(&mut self) {
        self.listener = Some(UnixListener::bind(&self.path).unwrap());
    }

    pub fn stream(&mut self) -> UnixStream {
        self.stream.take().unwrap()
    }
}

/// A line as the daemon writes it.
pub fn line(kind: &str, time: f64, keys: &Value) -> String {
    let mut line = json!({
        "schema": 1, "type": kind, "time": time, "wall": "2026-01-31T12:34:56.789Z",
        "frame": (time * 30.0) as u64,
    });
    for (key, value) in keys.as_object().unwrap() {
        line[key] = value.clone();
    }
    format!("{line}\n")
}

/// affectd-mqtt.
pub struct Bridge {
    pub process: Started,
    log: PathBuf,
}

impl Bridge {
    /// `settings` are lines of TOML; `[broker]` comes last, so that a test can add
    /// keys to it.
    pub fn start(daemon: &Daemon, broker: &Broker, settings: &str) -> Self {
        Self::at_port(daemon, &broker.folder, broker.port, settings)
    }

    pub fn at_port(daemon: &Daemon, folder: &Path, port: u16, settings: &str) -> Self {
        static COUNT: std::sync::atomic::AtomicU32 = std::sync::atomic::AtomicU32::new(0);
        let number = COUNT.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        let config = folder.join(format!("mqtt-{number}.toml"));
        let log = folder.join(format!("bridge-{number}.log"));
        fs::write(&config, configuration(&daemon.path, port, settings)).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_affectd-mqtt"))
            .arg("--config")
            .arg(config)
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        Self {
            process: Started(child),
            log,
        }
    }

    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    pub fn logged(&self, part: &str) -> usize {
        self.log()
            .lines()
            .filter(|line| line.contains(part))
            .count()
    }

    pub fn await_log(&self, part: &str) {
        let deadline = Instant::now() + LONG;
        while self.logged(part) == 0 {
            assert!(
                Instant::now() < deadline,
                "no '{part}' in the log:\n{}",
                self.log()
            );
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub fn resident_kib(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.process.pid())).unwrap();
        let line = status
            .lines()
            .find(|line| line.starts_with("VmRSS:"))
            .unwrap();
        line.split_whitespace().nth(1).unwrap().parse().unwrap()
    }
}

pub fn configuration(events: &Path, port: u16, settings: &str) -> String {
    let mut config = String::new();
    let (sections, broker) = settings.split_once("[broker]\n").unwrap_or((settings, ""));
    write!(
        config,
        "[events]\nsocket = {events:?}\n{sections}\n[broker]\nport = {port}\nretry_max_s = 1\n{broker}"
    )
    .unwrap();
    config
}
