//! `affectd status`, `affectd pause` and `affectd resume`: the daemon's control
//! socket on the command line.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::result::CommandResult;
use crate::board::{Board, BoardError, BoardSource};
use crate::control::{self, client};
use crate::host::logging;

/// How often `--wait` asks.
const INTERVAL: Duration = Duration::from_millis(500);

/// Report the state of the running daemon
///
/// Asks the daemon through the control socket that the board file names
/// (`[control]`).
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 well, 1 running but not well (or its answer cannot be read), 2 wrong usage,
3 paused, 4 not running.

Examples:
  affectd status
  affectd status --json --wait 60    # after an update: is it well within a minute?")]
pub struct Args {
    #[command(flatten)]
    daemon: Daemon,

    /// Print the answer as one JSON object
    #[arg(long)]
    json: bool,

    /// Wait for up to this many seconds until the daemon is well or paused
    #[arg(long, value_name = "SECONDS", default_value_t = 0.0, value_parser = seconds)]
    wait: f64,
}

/// Close the camera of the running daemon until `affectd resume`
///
/// The board file must allow it: `[control] allow = ["pause", "resume"]`. GPIO lines go
/// to their safe level, and the display says that affectd is paused. The pause outlasts
/// restarts where there is a state directory.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 paused, 1 refused or failed, 2 wrong usage, 4 not running.

Example:
  affectd pause")]
pub struct PauseArgs {
    #[command(flatten)]
    daemon: Daemon,
}

/// End a pause that `affectd pause` began
///
/// The board file must allow it: `[control] allow = ["pause", "resume"]`. A
/// pause by a switch (`[gpio.inputs] pause`) continues.
#[derive(clap::Args)]
#[command(after_help = "\
Exit codes: 0 resumed, 1 refused or failed, 2 wrong usage, 4 not running.

Example:
  affectd resume")]
pub struct ResumeArgs {
    #[command(flatten)]
    daemon: Daemon,
}

/// Which daemon is meant.
#[derive(clap::Args)]
struct Daemon {
    /// The daemon's board file, in place of the system's
    #[arg(long, value_name = "FILE")]
    board: Option<PathBuf>,

    /// The control socket, instead of the board file's
    #[arg(long, value_name = "PATH", conflicts_with = "board")]
    socket: Option<PathBuf>,
}

fn seconds(text: &str) -> Result<f64, String> {
    match text.parse() {
        Ok(seconds) if (0.0..=86_400.0).contains(&seconds) => Ok(seconds),
        _ => Err("must be a number of seconds from 0 to 86400".to_owned()),
    }
}

impl Daemon {
    fn socket(&self) -> Result<PathBuf, Box<dyn std::error::Error>> {
        if let Some(socket) = &self.socket {
            return Ok(socket.clone());
        }
        // A daemon may still run that read the file before it had these errors.
        let (board, problems) = match Board::load_in_part(&BoardSource::of(self.board.clone())) {
            Err(BoardError::Nowhere(_)) => return Ok(control::default_socket()),
            loaded => loaded?,
        };
        match board.control {
            Some(options) => Ok(options.socket),
            None if problems > 0 => Ok(control::default_socket()),
            None => Err(
                "the board file has no section [control], so the daemon has no control socket"
                    .into(),
            ),
        }
    }
}

/// Prints the state of the daemon.
///
/// # Errors
/// The board file cannot be read, or it has no control socket.
pub fn run(args: &Args) -> CommandResult {
    let socket = args.daemon.socket()?;
    let start = Instant::now();
    let wait = Duration::from_secs_f64(args.wait);
    loop {
        let answer = client::ask(&socket, "status");
        let code = code(&answer);
        let left = wait.saturating_sub(start.elapsed());
        if left.is_zero() || matches!(code, Code::Well | Code::Paused) {
            print(&answer, args.json);
            return Ok(ExitCode::from(code as u8));
        }
        std::thread::sleep(left.min(INTERVAL));
    }
}

/// Orders a pause.
///
/// # Errors
/// It is refused, or the daemon cannot be reached.
pub fn pause(args: &PauseArgs) -> CommandResult {
    order(&args.daemon, "pause")
}

/// Orders the end of a pause.
///
/// # Errors
/// It is refused, or the daemon cannot be reached.
pub fn resume(args: &ResumeArgs) -> CommandResult {
    order(&args.daemon, "resume")
}

fn order(daemon: &Daemon, command: &str) -> CommandResult {
    let answer = client::ask(&daemon.socket()?, command);
    match answer {
        Ok(_) => Ok(ExitCode::SUCCESS),
        Err(error @ client::Error::NotRunning { .. }) => {
            logging::print(format_args!("affectd: {error}\n"));
            Ok(ExitCode::from(Code::NotRunning as u8))
        }
        Err(error) => Err(error.into()),
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
enum Code {
    Well = 0,
    Unwell = 1,
    Paused = 3,
    NotRunning = 4,
}

fn code(answer: &Result<Value, client::Error>) -> Code {
    match answer {
        Ok(status) if status["state"] == "well" => Code::Well,
        Ok(status) if status["state"] == "paused" => Code::Paused,
        Err(client::Error::NotRunning { .. }) => Code::NotRunning,
        _ => Code::Unwell,
    }
}

fn print(answer: &Result<Value, client::Error>, is_json: bool) {
    match answer {
        Ok(status) if is_json => println!("{status}"),
        Ok(status) => print!("{}", described(status)),
        Err(error) => {
            if is_json {
                let state = match error {
                    client::Error::NotRunning { .. } => "not running",
                    _ => "unknown",
                };
                let answer = json!({ "ok": false, "state": state, "error": error.to_string() });
                println!("{answer}");
            }
            logging::print(format_args!("affectd: {error}\n"));
        }
    }
}

/// A status in lines for people.
fn described(status: &Value) -> String {
    let text = |key: &str| match &status[key] {
        Value::String(text) => text.clone(),
        Value::Null => "unknown".to_owned(),
        other => other.to_string(),
    };
    let mut lines = vec![("state", text("state"))];
    for problem in status["problems"].as_array().into_iter().flatten() {
        lines.push(("problem", problem.as_str().unwrap_or_default().to_owned()));
    }
    lines.push(("name", format!("{} (id {})", text("name"), text("id"))));
    lines.push((
        "version",
        format!("{}, process {}", text("version"), text("pid")),
    ));
    lines.push(("uptime", format!("{} s", text("uptime"))));
    let mut camera = text("camera");
    if let Some(by) = status["paused_by"].as_array() {
        let by: Vec<_> = by.iter().filter_map(Value::as_str).collect();
        camera = format!("{camera} by {}", by.join(" and "));
    }
    lines.push(("camera", format!("{camera}: {}", text("source"))));
    lines.push((
        "frames",
        format!(
            "{}; {} per second; half of them within {} ms, 99 of 100 within {} ms",
            text("frames"),
            text("fps"),
            text("frame_p50_ms"),
            text("frame_p99_ms")
        ),
    ));
    let dropped = status["dropped"].as_object().into_iter().flatten();
    let dropped: Vec<_> = dropped
        .map(|(reason, count)| format!("{count} {reason}"))
        .collect();
    lines.push(("dropped", dropped.join(", ")));
    if status["temperature"].is_number() {
        let hot = if status["hot"] == true {
            ", too hot"
        } else {
            ""
        };
        lines.push(("temperature", format!("{} °C{hot}", text("temperature"))));
    }
    lines.push(("memory", format!("{} KiB", text("rss_kib"))));
    lines.push((
        "reloads",
        format!(
            "{}, failed: {}",
            text("reloads_done"),
            text("reloads_failed")
        ),
    ));
    lines.push((
        "model",
        format!("{} (SHA-256 {})", text("model"), text("model_sha256")),
    ));
    lines.push(("settings", format!("SHA-256 {}", text("config"))));
    lines
        .iter()
        .map(|(key, value)| format!("{key:<12}{value}\n"))
        .collect()
}
