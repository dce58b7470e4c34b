//! Unix sockets that listen at a path: created with their mode, replacing the
//! socket of a killed process, and removed at the end.

use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::Mode;
use rustix::io::Errno;
use rustix::net::sockopt::{socket_domain, socket_peercred};
use rustix::net::{
    AddressFamily, SocketAddrUnix, SocketFlags, SocketType, accept_with, bind, connect, listen,
    socket_with,
};

use crate::fault::FaultLog;

/// The longest path in bytes: the room in `sockaddr_un`, without the final
/// zero.
pub const PATH_LONGEST: usize = 107;

/// Connections that wait to be accepted.
const BACKLOG: i32 = 16;

/// The pause after a client could not be accepted because there are no free
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// Errors from creating a socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    #[error(
        "{}: the path has {} bytes, but a socket's path can have at most {PATH_LONGEST}; choose another path",
        .path.display(), .path.as_os_str().len()
    )]
    Path { path: PathBuf },
    #[error(
        "{}: there is a file that is not a socket; remove it or choose another path",
        .path.display()
    )]
    NoSocket { path: PathBuf },
    #[error("{}: {holder} uses this socket; end it or choose another path", .path.display())]
    InUse { path: PathBuf, holder: Holder },
    #[error("{}: {doing}: {source}", .path.display())]
    Io {
        path: PathBuf,
        doing: &'static str,
        source: io::Error,
    },
}

/// The process at the other end of a socket, as the kernel reports it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Holder {
    /// Its number, user and name; `None` if the kernel does not report them.
    process: Option<(i32, u32, String)>,
}

impl Holder {
    /// The process at the other end of a connected socket.
    #[must_use]
    pub fn of(socket: impl AsFd) -> Self {
        let socket = socket.as_fd();
        // At other sockets the kernel names process 0, which is none.
        if socket_domain(socket) != Ok(AddressFamily::UNIX) {
            return Self::default();
        }
        let process = socket_peercred(socket).ok().map(|peer| {
            let pid = peer.pid.as_raw_nonzero().get();
            let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
            (pid, peer.uid.as_raw(), name.trim().to_owned())
        });
        Self { process }
    }
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.process {
            Some((pid, uid, name)) if name.is_empty() => {
                write!(f, "process {pid} of user {uid}")
            }
            Some((pid, uid, name)) => write!(f, "process {pid} ('{name}') of user {uid}"),
            None => f.write_str("another process"),
        }
    }
}

/// Refuses a path that a socket cannot have.
///
/// # Errors
/// [`SocketError::Path`].
pub fn check_path(path: &Path) -> Result<(), SocketError> {
    // An empty path, or a path that begins with a zero, would be an abstract
    // name, which has no mode.
    let bytes = path.as_os_str().as_bytes();
    if bytes.is_empty() || bytes.contains(&0) || bytes.len() > PATH_LONGEST {
        return Err(SocketError::Path {
            path: path.to_owned(),
        });
    }
    Ok(())
}

/// A stream socket that clients can connect to. It never blocks.
#[derive(Debug)]
pub struct Listener {
    socket: OwnedFd,
}

/// Accepts the clients of a listener. While the system has no free descriptors,
/// it tries once a second, so that a client that waits does not keep the thread
/// busy.
#[derive(Debug)]
pub struct Acceptor {
    listener: Listener,
    refused: FaultLog,
    pause_until: Option<Instant>,
}

/// The file of a socket. Dropping it removes the file, so that the next socket
/// can be created at once, even while the listener is still served.
#[derive(Debug)]
pub struct SocketFile {
    path: PathBuf,
    /// Device and inode, so that a file of another process is never removed.
    identity: (u64, u64),
}

impl Listener {
    /// Creates a socket with mode 0660. Replaces a socket that no process
    /// listens at.
    ///
    /// # Errors
    /// The path cannot be used, there is another file, or another process
    /// listens at it.
    pub fn bind(path: &Path) -> Result<(Self, SocketFile), SocketError> {
        let failed = |doing| {
            move |error: Errno| SocketError::Io {
                path: path.to_owned(),
                doing,
                source: error.into(),
            }
        };
        check_path(path)?;
        let address =
            SocketAddrUnix::new(path).map_err(failed("is not a valid path for a socket"))?;
        let new_socket = || {
            socket_with(
                AddressFamily::UNIX,
                SocketType::STREAM,
                SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
                None,
            )
            .map_err(failed("cannot be created"))
        };
        remove_stale(path, &address, &new_socket()?)?;

        let socket = new_socket()?;
        let mode = Mode::from_raw_mode(0o660);
        // The socket's mode limits the mode of the file from the start; the
        // second call adds the bits that the umask removed.
        rustix::fs::fchmod(&socket, mode).map_err(failed("its mode cannot be set"))?;
        bind(&socket, &address).map_err(failed("cannot be created (does its folder exist?)"))?;
        rustix::fs::chmod(path, mode).map_err(failed("its mode cannot be set"))?;
        let stat = rustix::fs::stat(path).map_err(failed("cannot be found again"))?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: (stat.st_dev, stat.st_ino),
        };
        listen(&socket, BACKLOG).map_err(failed("cannot listen for clients"))?;
        Ok((Self { socket }, file))
    }

    /// The next waiting connection, which does not block either.
    ///
    /// # Errors
    /// [`Errno::AGAIN`] if none waits; otherwise those of `accept`.
    pub fn accept(&self) -> Result<OwnedFd, Errno> {
        accept_with(&self.socket, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK)
    }
}

impl From<OwnedFd> for Listener {
    /// A socket that listens already. It must be one that never blocks.
    fn from(socket: OwnedFd) -> Self {
        Self { socket }
    }
}

impl Acceptor {
    /// `subject` opens the log lines about clients that cannot be accepted.
    #[must_use]
    pub fn new(listener: Listener, subject: String) -> Self {
        Self {
            listener,
            refused: FaultLog::new(subject),
            pause_until: None,
        }
    }

    /// The listener, unless a pause goes on.
    #[must_use]
    pub fn listener(&self, now: Instant) -> Option<&Listener> {
        self.pauses_until(now).is_none().then_some(&self.listener)
    }

    /// The end of the pause, if one goes on.
    #[must_use]
    pub fn pauses_until(&self, now: Instant) -> Option<Instant> {
        self.pause_until.filter(|until| *until > now)
    }

    /// The connection that waits, if there is one.
    pub fn accept(&mut self) -> Option<OwnedFd> {
        self.pause_until = None;
        match self.listener.accept() {
            Ok(socket) => {
                self.refused.cleared();
                Some(socket)
            }
            Err(Errno::AGAIN | Errno::INTR | Errno::CONNABORTED) => None,
            Err(error) => {
                self.refused
                    .occurred(&format_args!("a client cannot be accepted: {error}"));
                self.pause_until = Some(Instant::now() + ACCEPT_PAUSE);
                None
            }
        }
    }
}

impl AsFd for Listener {
    /// Readable when a connection waits.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_fd()
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let ours = std::fs::symlink_metadata(&self.path)
            .is_ok_and(|found| (found.dev(), found.ino()) == self.identity);
        if ours && let Err(error) = std::fs::remove_file(&self.path) {
            log::warn!("socket {}: cannot be removed: {error}", self.path.display());
        }
    }
}

/// Removes a socket file that a killed process left: no process listens at it.
fn remove_stale(path: &Path, address: &SocketAddrUnix, probe: &OwnedFd) -> Result<(), SocketError> {
    let failed = |source| SocketError::Io {
        path: path.to_owned(),
        doing: "cannot replace the existing one",
        source,
    };
    let there = match std::fs::symlink_metadata(path) {
        Ok(there) => there,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(failed(error)),
    };
    if !there.file_type().is_socket() {
        return Err(SocketError::NoSocket {
            path: path.to_owned(),
        });
    }
    let in_use = |holder| SocketError::InUse {
        path: path.to_owned(),
        holder,
    };
    match connect(probe, address) {
        Err(Errno::CONNREFUSED) => std::fs::remove_file(path).map_err(failed),
        Err(Errno::NOENT) => Ok(()),
        Ok(()) => Err(in_use(Holder::of(probe))),
        // Its queue is full, or it is a socket of another type.
        Err(Errno::AGAIN | Errno::PROTOTYPE) => Err(in_use(Holder::default())),
        Err(error) => Err(failed(error.into())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_in_use_is_refused_with_the_name_of_its_process() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (_listener, file) = Listener::bind(&path).unwrap();
        let error = Listener::bind(&path).unwrap_err().to_string();
        let name = std::fs::read_to_string("/proc/self/comm").unwrap();
        let expected = format!("process {} ('{}')", std::process::id(), name.trim());
        assert!(error.contains(&expected), "{error}");
        drop(file);
        assert!(!path.exists());
    }

    #[test]
    fn a_file_of_another_process_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("s");
        let (_listener, file) = Listener::bind(&path).unwrap();
        std::fs::rename(&path, folder.path().join("other")).unwrap();
        std::fs::write(&path, "another's").unwrap();
        drop(file);
        assert!(path.exists());
        let error = Listener::bind(&path).unwrap_err();
        assert!(matches!(error, SocketError::NoSocket { .. }), "{error}");
    }
}
