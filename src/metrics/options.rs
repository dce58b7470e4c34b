//! The board file's `[metrics]` and `[http]`.

use std::path::PathBuf;

use crate::host::service::runtime_directory;
use crate::host::unix_socket::{self, SocketError};

/// The board file's `[metrics]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileOptions {
    /// The file, which is replaced as a whole and has mode 0644. Default:
    /// `metrics.prom` in the [runtime directory](runtime_directory).
    pub file: PathBuf,
}

impl Default for FileOptions {
    fn default() -> Self {
        Self {
            file: runtime_directory().join("metrics.prom"),
        }
    }
}

/// The board file's `[http]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HttpOptions {
    /// The path of the socket, created with mode 0660. Default: `http.sock` in
    /// the [runtime directory](runtime_directory).
    pub socket: PathBuf,
}

impl Default for HttpOptions {
    fn default() -> Self {
        Self {
            socket: runtime_directory().join("http.sock"),
        }
    }
}

impl HttpOptions {
    /// Checks the options without opening the socket.
    ///
    /// # Errors
    /// The socket's path is too long for the kernel.
    pub fn validate(&self) -> Result<(), SocketError> {
        unix_socket::check_path(&self.socket)
    }
}
