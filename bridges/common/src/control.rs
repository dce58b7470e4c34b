//! A client of the daemon's control socket (`docs/control.md`).

use std::fmt;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

/// How long an answer may take: longer than the daemon waits for its loop.
const PATIENCE: Duration = Duration::from_secs(15);

/// The longest answer that is read.
const LONGEST: u64 = 1 << 20;

/// What a bridge may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// The camera is closed.
    Pause,
    /// It is opened again.
    Resume,
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
        })
    }
}

/// Sends a command and waits for the answer, for at most 15 seconds.
///
/// # Errors
/// The socket cannot be used, or affectd refuses; the text says what to do.
pub fn ask(socket: &Path, command: Command) -> Result<(), String> {
    let failed = |error: io::Error| {
        let hint = match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => {
                "; is affectd running, with a section [control] in its board file?"
            }
            io::ErrorKind::PermissionDenied => {
                "; only root and members of the group affectd may use it"
            }
            io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "; affectd does not answer",
            _ => "",
        };
        format!("control socket {}: {error}{hint}", socket.display())
    };
    let line = exchange(socket, command).map_err(failed)?;
    let answer: Value = serde_json::from_str(&line).unwrap_or_default();
    match answer["ok"].as_bool() {
        Some(true) => Ok(()),
        Some(false) => Err(format!(
            "affectd refuses: {}; [control] allow in its board file must name '{command}'",
            answer["error"].as_str().unwrap_or("without a reason")
        )),
        None => Err(format!(
            "control socket {}: the answer is not affectd's: {}",
            socket.display(),
            line.trim_end().chars().take(200).collect::<String>()
        )),
    }
}

fn exchange(socket: &Path, command: Command) -> io::Result<String> {
    let mut stream = UnixStream::connect(socket)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{{\"command\":\"{command}\"}}\n").as_bytes())?;
    let mut line = String::new();
    BufReader::new(stream.take(LONGEST)).read_line(&mut line)?;
    Ok(line)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    fn answered(answer: &'static str) -> (Result<(), String>, String) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("control.sock");
        let listener = UnixListener::bind(&path).unwrap();
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut line = String::new();
            BufReader::new(stream.try_clone().unwrap())
                .read_line(&mut line)
                .unwrap();
            stream.write_all(answer.as_bytes()).unwrap();
            line
        });
        let result = ask(&path, Command::Pause);
        (result, server.join().unwrap())
    }

    #[test]
    fn an_order_is_sent_and_its_answer_is_read() {
        let (result, request) = answered("{\"ok\":true}\n");
        assert_eq!(result, Ok(()));
        assert_eq!(request, "{\"command\":\"pause\"}\n");
    }

    #[test]
    fn a_refusal_says_what_to_change() {
        let (result, _) = answered("{\"ok\":false,\"error\":\"pause is not allowed\"}\n");
        let error = result.unwrap_err();
        assert!(error.contains("pause is not allowed") && error.contains("[control] allow"));
    }

    #[test]
    fn another_servers_answer_and_no_server_are_errors() {
        let (result, _) = answered("HTTP/1.1 400 Bad Request\r\n");
        assert!(result.unwrap_err().contains("not affectd's"));
        let missing = ask(Path::new("/nonexistent/control.sock"), Command::Resume);
        assert!(missing.unwrap_err().contains("is affectd running"));
    }
}
