//! Sockets that the service manager passes to the daemon, by name
//! (`sd_listen_fds_with_names`(3)). They are kept for the life of the process,
//! so that a part that is opened again after a reload gets its socket again.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixListener;
use std::sync::OnceLock;

use listenfd::ListenFd;
use rustix::io::FdFlags;

use super::unix_socket::Listener;

/// A socket that listens.
#[derive(Debug)]
pub struct Passed {
    name: String,
    socket: OwnedFd,
    /// Whether other machines may reach it: it is none of the kind that has a
    /// file.
    pub is_of_network: bool,
}

impl Passed {
    /// A listener at the socket.
    ///
    /// # Errors
    /// There are no free descriptors.
    pub fn duplicate(&self) -> io::Result<Listener> {
        Ok(Listener::from(self.socket.try_clone()?))
    }
}

/// The socket with this name, if the service manager passed one.
#[must_use]
pub fn listener(name: &str) -> Option<&'static Passed> {
    static ALL: OnceLock<Vec<Passed>> = OnceLock::new();
    let all = ALL.get_or_init(|| {
        let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
        receive(ListenFd::from_env(), &names)
    });
    all.iter().find(|passed| passed.name == name)
}

/// Takes each socket that listens for streams; others are left alone.
fn receive(mut given: ListenFd, names: &str) -> Vec<Passed> {
    let mut all = Vec::new();
    for (index, name) in (0..given.len()).zip(names.split(':')) {
        let network = |given: &mut ListenFd| {
            let socket: TcpListener = given.take_tcp_listener(index).ok()??;
            Some(OwnedFd::from(socket))
        };
        let unix = |given: &mut ListenFd| {
            let socket: UnixListener = given.take_unix_listener(index).ok()??;
            Some(OwnedFd::from(socket))
        };
        let (socket, is_of_network): (OwnedFd, bool) = match unix(&mut given) {
            Some(socket) => (socket, false),
            None => match network(&mut given) {
                Some(socket) => (socket, true),
                None => continue,
            },
        };
        // Not for the programs that affectd starts.
        let prepared = rustix::io::fcntl_setfd(&socket, FdFlags::CLOEXEC)
            .and_then(|()| rustix::io::ioctl_fionbio(&socket, true));
        match prepared {
            Ok(()) => all.push(Passed {
                name: name.to_owned(),
                socket,
                is_of_network,
            }),
            Err(error) => log::warn!("the socket '{name}' of the service manager: {error}"),
        }
    }
    all
}
