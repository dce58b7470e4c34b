//! Which event outputs there are, and errors from opening them.

use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::output::old_file::old_file;

/// What `sockaddr_un` has room for, without the final zero.
const PATH_LONGEST: usize = 107;

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
            Some(path) => check_path(path),
            None => Ok(()),
        }
    }
}

/// Refuses a path that a socket cannot have.
pub(super) fn check_path(path: &Path) -> Result<(), Error> {
    // An empty path or one that begins with a zero would be an abstract name,
    // which has no mode.
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() > PATH_LONGEST {
        return Err(Error::SocketPath {
            path: path.to_owned(),
        });
    }
    Ok(())
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
    #[error(
        "event socket {}: the path has {} bytes; a socket's path has at most {}",
        .path.display(), .path.as_os_str().len(), PATH_LONGEST
    )]
    SocketPath { path: PathBuf },
    #[error(
        "event socket {}: a file that is not a socket is there; remove it or choose another path",
        .path.display()
    )]
    NoSocket { path: PathBuf },
    #[error(
        "event socket {}: another process listens there; end it or choose another path",
        .path.display()
    )]
    SocketInUse { path: PathBuf },
    #[error("event socket {}: {doing}: {source}", .path.display())]
    Socket {
        path: PathBuf,
        doing: &'static str,
        source: std::io::Error,
    },
    #[error("standard output: {0}")]
    Stdout(std::io::Error),
    #[error("cannot start a thread for events: {0}")]
    Thread(std::io::Error),
}
