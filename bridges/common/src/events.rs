//! The daemon's event socket (`docs/events.md`), schema 1.
//!
//! [`EventSocket::run`] connects, hands over each event, and connects again for
//! ever when the connection ends. What is wrong with the socket or with a line is
//! logged once until it is gone.
//!
//! What was known of the daemon is void when [`Notice::Lost`] comes. That is also
//! so when affectd is connected and says nothing: with a camera it sends `health`
//! every 10 seconds.

use std::fmt;
use std::io::{self, Read as _};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use serde_json::{Map, Value};

use crate::backoff::Backoff;
use crate::fault::Fault;

/// The version of the events that this reads.
pub const SCHEMA: i64 = 1;

/// The longest line that is read. The daemon's are below 8 KiB.
pub const LONGEST_LINE: usize = 64 * 1024;

/// Bad lines count as gone when there was none for so long.
const BAD_LINES_GONE: Duration = Duration::from_secs(60);

/// An event: one line of the socket, of schema 1, with a type.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    line: String,
    keys: Map<String, Value>,
}

impl Event {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no event of schema 1; the text says why.
    pub fn parse(line: &str) -> Result<Self, BadLine> {
        let keys = match serde_json::from_str(line) {
            Ok(Value::Object(keys)) => keys,
            Ok(_) => return Err(BadLine::Other("it is no JSON object".to_owned())),
            Err(error) => return Err(BadLine::Other(format!("it is no JSON: {error}"))),
        };
        match keys.get("schema").and_then(Value::as_i64) {
            Some(SCHEMA) => {}
            Some(other) => return Err(BadLine::Schema(other)),
            None => return Err(BadLine::Other("it has no schema".to_owned())),
        }
        if !keys.get("type").is_some_and(Value::is_string) {
            return Err(BadLine::Other("it has no type".to_owned()));
        }
        Ok(Self {
            line: line.to_owned(),
            keys,
        })
    }

    /// The line as the daemon sent it, without the line break.
    #[must_use]
    pub fn line(&self) -> &str {
        &self.line
    }

    /// The type, such as `face`. New types may come; skip what you do not know.
    #[must_use]
    pub fn kind(&self) -> &str {
        self.text("type").unwrap_or_default()
    }

    /// Seconds on the source's monotonic clock.
    #[must_use]
    pub fn time(&self) -> f64 {
        self.number("time").unwrap_or_default()
    }

    /// Number of the frame.
    #[must_use]
    pub fn frame(&self) -> u64 {
        self.get("frame")
            .and_then(Value::as_u64)
            .unwrap_or_default()
    }

    /// A key's value; `None` if it is absent or null.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&Value> {
        self.keys.get(key).filter(|value| !value.is_null())
    }

    /// A number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<f64> {
        self.get(key)?.as_f64()
    }

    /// A whole number.
    #[must_use]
    pub fn integer(&self, key: &str) -> Option<i64> {
        self.get(key)?.as_i64()
    }

    /// A string.
    #[must_use]
    pub fn text(&self, key: &str) -> Option<&str> {
        self.get(key)?.as_str()
    }

    /// A boolean.
    #[must_use]
    pub fn flag(&self, key: &str) -> Option<bool> {
        self.get(key)?.as_bool()
    }

    /// All keys.
    #[must_use]
    pub const fn keys(&self) -> &Map<String, Value> {
        &self.keys
    }
}

/// Why a line is no event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BadLine {
    /// Of another version of the events.
    Schema(i64),
    /// Too long, cut off, or something else.
    Other(String),
}

impl fmt::Display for BadLine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Schema(schema) => write!(
                f,
                "affectd sends events of schema {schema}, this program reads schema {SCHEMA}; \
                 install the version of it that came with this affectd"
            ),
            Self::Other(why) => write!(
                f,
                "a line is skipped: {why}; if this goes on, restart affectd, and report it with \
                 what `socat - UNIX-CONNECT:SOCKET` prints"
            ),
        }
    }
}

/// What the reader has to tell.
#[derive(Clone, Debug, PartialEq)]
pub enum Notice {
    /// An event. The first one of each connection is `hello`.
    Event(Event),
    /// No event for a while, whether connected or not; for what a bridge does
    /// from time to time.
    Idle,
    /// The connection has ended, or affectd is silent. Comes once, after events.
    Lost(String),
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// How often [`Notice::Idle`] comes.
    pub idle: Duration,
    /// For `hello` after connecting.
    pub hello: Duration,
    /// For the next line, where lines must come: three regular ones missed.
    pub silence: Duration,
    /// Between attempts to connect, at first and at most.
    pub retry: (Duration, Duration),
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            idle: Duration::from_millis(500),
            hello: Duration::from_secs(10),
            silence: Duration::from_secs(30),
            retry: (Duration::from_millis(400), Duration::from_secs(5)),
        }
    }
}

/// The event socket of a daemon.
#[derive(Debug)]
pub struct EventSocket {
    path: PathBuf,
    timing: Timing,
    socket: Fault,
    lines: Fault,
    last_bad: Option<Instant>,
}

/// The end of [`EventSocket::run`].
struct Stopped;

impl EventSocket {
    /// Does not connect yet.
    #[must_use]
    pub fn new(path: &Path, timing: Timing) -> Self {
        Self {
            path: path.to_owned(),
            timing,
            socket: Fault::new(format!("event socket {}", path.display())),
            lines: Fault::new(format!("event socket {}", path.display())),
            last_bad: None,
        }
    }

    /// Connects and hands over what comes, until `handle` breaks.
    pub fn run(&mut self, mut handle: impl FnMut(Notice) -> ControlFlow<()>) {
        let mut backoff = Backoff::new(self.timing.retry.0, self.timing.retry.1);
        loop {
            let mut connection = Connection::default();
            let Err(ended) = self.read(&mut connection, &mut handle) else {
                return;
            };
            self.socket.occurred(&ended);
            if connection.is_known {
                backoff.reset();
                if handle(Notice::Lost(ended)).is_break() {
                    return;
                }
            }
            let until = Instant::now() + backoff.wait();
            loop {
                let left = until.saturating_duration_since(Instant::now());
                if left.is_zero() {
                    break;
                }
                std::thread::sleep(left.min(self.timing.idle));
                if handle(Notice::Idle).is_break() {
                    return;
                }
            }
        }
    }

    /// Reads one connection: gives the reason for which it ended.
    fn read(
        &mut self,
        connection: &mut Connection,
        handle: &mut impl FnMut(Notice) -> ControlFlow<()>,
    ) -> Result<Stopped, String> {
        let mut stream = UnixStream::connect(&self.path).map_err(|error| explained(&error))?;
        let refused = |error: io::Error| error.to_string();
        stream
            .set_read_timeout(Some(self.timing.idle))
            .map_err(refused)?;
        let mut chunk = [0; 8192];
        let mut last = Instant::now();
        loop {
            let length = match stream.read(&mut chunk) {
                Ok(0) => {
                    if !connection.line.is_empty() {
                        self.bad_line(&BadLine::Other("it is cut off".to_owned()));
                    }
                    return Err("affectd closed the connection; it is awaited again".to_owned());
                }
                Ok(length) => length,
                Err(error) if is_timeout(&error) => 0,
                Err(error) => return Err(error.to_string()),
            };
            for part in chunk[..length].split_inclusive(|byte| *byte == b'\n') {
                let Some(line) = connection.add(part) else {
                    continue;
                };
                match line.and_then(|line| Event::parse(&line)) {
                    Ok(event) => {
                        if event.kind() == "hello" {
                            connection.greeted(&event, self.timing.silence);
                            self.socket.cleared();
                        } else if !connection.is_known {
                            continue;
                        }
                        last = Instant::now();
                        if handle(Notice::Event(event)).is_break() {
                            return Ok(Stopped);
                        }
                    }
                    Err(bad @ BadLine::Schema(_)) => return Err(bad.to_string()),
                    Err(bad) => self.bad_line(&bad),
                }
            }
            if self
                .last_bad
                .is_some_and(|bad| bad.elapsed() > BAD_LINES_GONE)
            {
                self.last_bad = None;
                self.lines.cleared();
            }
            let limit = if connection.is_known {
                connection.silence
            } else {
                Some(self.timing.hello)
            };
            if limit.is_some_and(|limit| last.elapsed() > limit) {
                return Err(format!(
                    "affectd sends nothing for {:.0} s; see `systemctl status affectd`",
                    last.elapsed().as_secs_f64()
                ));
            }
            if length == 0 && handle(Notice::Idle).is_break() {
                return Ok(Stopped);
            }
        }
    }

    fn bad_line(&mut self, bad: &BadLine) {
        self.last_bad = Some(Instant::now());
        self.lines.occurred(bad);
    }
}

/// What is kept of one connection.
#[derive(Debug, Default)]
struct Connection {
    /// The beginning of a line.
    line: Vec<u8>,
    /// The rest of a line that is too long is skipped.
    skips: bool,
    /// `hello` has come.
    is_known: bool,
    /// How long affectd may be silent, if there is a limit.
    silence: Option<Duration>,
}

impl Connection {
    /// Adds a part, which ends with a line break or not. Gives the line if it is
    /// complete.
    fn add(&mut self, part: &[u8]) -> Option<Result<String, BadLine>> {
        let (text, is_complete) = match part {
            [text @ .., b'\n'] => (text, true),
            text => (text, false),
        };
        if !self.skips && self.line.len() + text.len() > LONGEST_LINE {
            self.skips = true;
            self.line = Vec::new();
        }
        if !self.skips {
            self.line.extend_from_slice(text);
        }
        if !is_complete {
            return None;
        }
        if std::mem::take(&mut self.skips) {
            let why = format!("it is longer than {LONGEST_LINE} bytes");
            return Some(Err(BadLine::Other(why)));
        }
        let line = String::from_utf8(self.line.clone());
        self.line.clear();
        Some(line.map_err(|_| BadLine::Other("it is not UTF-8".to_owned())))
    }

    fn greeted(&mut self, hello: &Event, least: Duration) {
        self.is_known = true;
        let period = hello.number("period_ms").unwrap_or_default();
        let regular = Duration::from_millis(period.clamp(0.0, 3.6e6) as u64);
        // A camera's `health` comes every 10 s, a recording has none.
        self.silence = if hello.flag("live").unwrap_or_default() {
            Some(least)
        } else if regular.is_zero() {
            None
        } else {
            Some(least.max(3 * regular))
        };
    }
}

fn is_timeout(error: &io::Error) -> bool {
    use io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), WouldBlock | TimedOut | Interrupted)
}

fn explained(error: &io::Error) -> String {
    let what_to_do = match error.kind() {
        io::ErrorKind::NotFound => {
            "is affectd running, and does its board file have [events] socket? It is awaited"
        }
        io::ErrorKind::ConnectionRefused => "affectd is not running; it is awaited",
        io::ErrorKind::PermissionDenied => {
            "this program must run as root or in the group affectd (SupplementaryGroups=affectd)"
        }
        _ => "it is tried again",
    };
    format!("{error}; {what_to_do}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_lines_are_refused() {
        let bad = |line: &str| Event::parse(line).unwrap_err();
        assert_eq!(bad("{\"schema\":2,\"type\":\"hello\"}"), BadLine::Schema(2));
        for line in [
            "",
            "x",
            "[]",
            "{}",
            "{\"schema\":1}",
            "{\"schema\":1,\"type\":3}",
            "{\"schema\":1",
        ] {
            assert!(matches!(bad(line), BadLine::Other(_)), "{line}");
        }
    }

    #[test]
    fn keys_are_read_and_null_is_absent() {
        let line = r#"{"schema":1,"type":"face","time":1.5,"frame":7,"track":3,"leading":true,"label":"sad","yaw":null}"#;
        let event = Event::parse(line).unwrap();
        assert_eq!(event.kind(), "face");
        assert_eq!((event.time(), event.frame()), (1.5, 7));
        assert_eq!(event.integer("track"), Some(3));
        assert_eq!(event.flag("leading"), Some(true));
        assert_eq!(event.text("label"), Some("sad"));
        assert_eq!(event.get("yaw"), None);
        assert_eq!(event.number("label"), None);
        assert_eq!(event.line(), line);
    }

    #[test]
    fn lines_come_in_any_pieces() {
        let mut connection = Connection::default();
        assert_eq!(connection.add(b"a"), None);
        assert_eq!(connection.add(b"b\n"), Some(Ok("ab".to_owned())));
        assert_eq!(connection.add(b"\n"), Some(Ok(String::new())));
        assert_eq!(connection.add(&[b'x'; LONGEST_LINE]), None);
        assert_eq!(connection.add(b"y"), None);
        assert_eq!(connection.add(&[b'x'; LONGEST_LINE]), None);
        assert_eq!(
            connection.line.capacity(),
            0,
            "no memory for what is skipped"
        );
        assert!(matches!(
            connection.add(b"\n"),
            Some(Err(BadLine::Other(_)))
        ));
        assert_eq!(connection.add(b"c\n"), Some(Ok("c".to_owned())));
    }
}
