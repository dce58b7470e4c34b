//! The other end of the control socket, for the commands `status`, `pause` and
//! `resume`.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take: longer than the daemon waits for its loop.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer that is read.
const LONGEST: u64 = 1 << 20;

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("affectd is not running: no process listens at {}", .socket.display())]
    NotRunning { socket: PathBuf },
    #[error("control socket {}: {source}{}", .socket.display(), hint(.source))]
    Io { socket: PathBuf, source: io::Error },
    #[error("control socket {}: the answer is not affectd's: {text}", .socket.display())]
    Answer { socket: PathBuf, text: String },
    #[error("affectd refuses: {0}")]
    Refused(String),
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::PermissionDenied => "; only root and the socket's group may use it",
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; affectd does not answer",
        _ => "",
    }
}

/// Sends a command to a daemon and gives its answer.
///
/// # Errors
/// See [`Error`].
pub fn ask(socket: &Path, command: &str) -> Result<Value, Error> {
    let failed = |source: io::Error| match source.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Error::NotRunning {
            socket: socket.to_owned(),
        },
        _ => Error::Io {
            socket: socket.to_owned(),
            source,
        },
    };
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    let line = exchange(&mut stream, command).map_err(|source| Error::Io {
        socket: socket.to_owned(),
        source,
    })?;
    let answer: Value = serde_json::from_str(&line).unwrap_or_default();
    match answer["ok"].as_bool() {
        Some(true) => Ok(answer),
        Some(false) => Err(Error::Refused(
            answer["error"].as_str().unwrap_or_default().to_owned(),
        )),
        None => Err(Error::Answer {
            socket: socket.to_owned(),
            text: line.trim_end().chars().take(200).collect(),
        }),
    }
}

fn exchange(stream: &mut UnixStream, command: &str) -> io::Result<String> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = serde_json::json!({ "command": command });
    stream.write_all(format!("{request}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    Ok(line)
}
