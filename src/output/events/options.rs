//! Which event outputs there are, and errors from opening them.

use std::path::PathBuf;
use std::time::Duration;

use crate::host::unix_socket::{self, SocketError};
use crate::output::growing_file::old_file;

/// The board file's `[events]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Lines on standard output. Default: false.
    pub stdout: bool,
    /// A file that lines are appended to; created with mode 0640. Default: none.
    pub file: Option<PathBuf>,
    /// The largest size of the file in bytes, at least
    /// [`MAX_BYTES_LEAST`](Self::MAX_BYTES_LEAST): a full file is renamed to
    /// `FILE.1`, which replaces the earlier `FILE.1`, and a new file begins
    /// with `hello`. Default: no limit.
    pub max_bytes: Option<u64>,
    /// The path of a Unix stream socket, created with mode 0660. Default: none.
    pub socket: Option<PathBuf>,
    /// Repeat the state after this time without a change. Default: never.
    pub period: Option<Duration>,
    /// Whether `face` has the landmarks. Default: false.
    pub landmarks: bool,
    /// Whether `face` has valence and arousal. Default: false.
    pub affect: bool,
}

impl Options {
    /// The smallest [`max_bytes`](Self::max_bytes): a few lines.
    pub const MAX_BYTES_LEAST: u64 = 4096;

    /// The name of the full file after it is replaced, if it has a limit.
    #[must_use]
    pub fn old_file(&self) -> Option<PathBuf> {
        self.max_bytes?;
        Some(old_file(self.file.as_deref()?))
    }

    /// Checks the options without opening a file.
    ///
    /// # Errors
    /// The socket's path is too long for the kernel, or `max_bytes` is too
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
        "event file {}: max_bytes needs a writable folder: {source}",
        .path.display()
    )]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "max_bytes is {most}, but must be at least {}, or 0 for no limit",
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
