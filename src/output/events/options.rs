//! Which event outputs there are, and errors from opening them.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::unix_socket::{self, SocketError};
use crate::output::old_file::old_file;

/// The board file's `[events]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Lines on standard output. Default: false.
    pub stdout: bool,
    /// A file that lines are appended to; created with mode 0640. Default: none.
    pub file: Option<PathBuf>,
    /// The most bytes of the file, at least [`MAX_BYTES_LEAST`](Self::MAX_BYTES_LEAST):
    /// a full one is renamed to `FILE.1`, in the place of the one before, and a
    /// new one begins with `hello`. Default: no limit.
    pub max_bytes: Option<u64>,
    /// A Unix stream socket to make, with mode 0660. Default: none.
    pub socket: Option<PathBuf>,
    /// Repeat the state after this time without a change. Default: never.
    pub period: Option<Duration>,
    /// Whether `face` has the landmarks. Default: false.
    pub landmarks: bool,
    /// Whether `face` has valence and arousal. Default: false.
    pub affect: bool,
}

impl Options {
    /// The least that [`max_bytes`](Self::max_bytes) may be: a few lines.
    pub const MAX_BYTES_LEAST: u64 = 4096;

    /// The file that the full one becomes, if it has a limit.
    #[must_use]
    pub fn old_file(&self) -> Option<PathBuf> {
        self.max_bytes?;
        Some(old_file(self.file.as_deref()?))
    }

    /// Checks the options by themselves, without touching a file.
    ///
    /// # Errors
    /// The socket's path is longer than the kernel takes, or `max_bytes` is too
    /// small.
    pub fn validate(&self) -> Result<(), Error> {
        if let Some(most) = self.max_bytes
            && most < Self::MAX_BYTES_LEAST
        {
            return Err(Error::MaxBytes { most });
        }
        match &self.socket {
            Some(path) => Ok(unix_socket::check_path(path)?),
            None => Ok(()),
        }
    }
}

/// Errors from opening an event output.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("event file {}: {source}", .path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "event file {}: max_bytes needs a folder that can be written to: {source}",
        .path.display()
    )]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "max_bytes is {most}; it is at least {}, or 0 for no limit",
        Options::MAX_BYTES_LEAST
    )]
    MaxBytes { most: u64 },
    #[error("event socket {0}")]
    Socket(#[from] SocketError),
    #[error("standard output: {0}")]
    Stdout(std::io::Error),
    #[error("cannot start a thread for events: {0}")]
    Thread(std::io::Error),
}
