//! The board file's `[preview]`, and errors from opening the preview.

use std::ops::RangeInclusive;
use std::path::PathBuf;

use crate::host::unix_socket::{self, SocketError};
use crate::http;

/// The board file's `[preview]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// The path of the Unix socket, created with mode 0660. `None`: only a
    /// socket that the service manager passes.
    pub socket: Option<PathBuf>,
    /// Names that a request may give as its host, besides those of this machine
    /// itself (`localhost`, `127.0.0.1`, `[::1]`).
    pub hosts: Vec<String>,
    /// A file with the password that clients need. Without it, no socket of a
    /// network is served.
    pub token_file: Option<PathBuf>,
    /// How many clients can see the pictures at once.
    pub clients: usize,
    /// Pictures per second at most.
    pub fps: f32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            socket: None,
            hosts: Vec::new(),
            token_file: None,
            clients: 4,
            fps: 5.0,
        }
    }
}

impl Options {
    /// The range of [`clients`](Self::clients).
    pub const CLIENTS: RangeInclusive<usize> = 1..=16;
    /// The range of [`fps`](Self::fps).
    pub const FPS: RangeInclusive<f64> = 0.5..=30.0;

    /// Checks the options without opening anything.
    ///
    /// # Errors
    /// The socket's path is too long for the kernel.
    pub fn validate(&self) -> Result<(), Error> {
        match &self.socket {
            Some(path) => Ok(unix_socket::check_path(path)?),
            None => Ok(()),
        }
    }
}

/// Errors from opening the preview.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("preview socket {0}")]
    Socket(#[from] SocketError),
    #[error("preview: {0}")]
    Http(#[from] http::Error),
    #[error(
        "preview: it has no socket: name one as preview.socket, or start affectd with affectd-preview.socket"
    )]
    NoSocket,
    #[error(
        "preview: the service manager passed a socket of a network, which needs a password: name a file with one as preview.token_file"
    )]
    NoToken,
    #[error("preview.token_file {}: {problem}", .path.display())]
    Token { path: PathBuf, problem: String },
    #[error("the preview cannot be served: {0}")]
    Thread(#[from] std::io::Error),
}
