//! The board file's `[control]`, and the commands.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::host::service::runtime_directory;
use crate::host::unix_socket::{self, SocketError};
use crate::suggest::nearest;

/// The board file's `[control]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The path of the socket, created with mode 0660.
    pub socket: PathBuf,
    /// Which commands are allowed besides `status`.
    pub allow: Vec<Command>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: default_socket(),
            allow: Vec::new(),
        }
    }
}

impl Options {
    /// Checks the options without opening the socket.
    ///
    /// # Errors
    /// The socket's path is too long for the kernel.
    pub fn validate(&self) -> Result<(), Error> {
        Ok(unix_socket::check_path(&self.socket)?)
    }
}

/// `control.sock` in the [runtime directory](runtime_directory).
#[must_use]
pub fn default_socket() -> PathBuf {
    runtime_directory().join("control.sock")
}

/// A command of a client; the board file must allow it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Close the camera until `resume`.
    Pause,
    /// End the pause.
    Resume,
    /// Record the baseline of the person in front of the camera.
    Baseline,
}

impl Command {
    /// Every command.
    pub const ALL: [Self; 3] = [Self::Pause, Self::Resume, Self::Baseline];

    /// The name used in requests and board files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pause => "pause",
            Self::Resume => "resume",
            Self::Baseline => "baseline",
        }
    }
}

impl fmt::Display for Command {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not a command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown command '{name}'{}; commands are {}",
    nearest(.name, names()).map_or_else(String::new, |near| format!(", did you mean '{near}'?")),
    names().collect::<Vec<_>>().join(", ")
)]
pub struct UnknownCommand {
    pub name: String,
}

pub(super) fn names() -> impl Iterator<Item = &'static str> {
    Command::ALL.into_iter().map(Command::name)
}

impl FromStr for Command {
    type Err = UnknownCommand;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|command| command.name() == name)
            .ok_or_else(|| UnknownCommand {
                name: name.to_owned(),
            })
    }
}

/// Errors from opening the control socket.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("control socket {0}")]
    Socket(#[from] SocketError),
    #[error("the control socket cannot be served: {0}")]
    Thread(std::io::Error),
}
