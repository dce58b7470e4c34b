//! Notifications to the service manager, by the protocol of systemd's
//! `sd_notify(3)`, as the daemon sends them (`src/host/service.rs` says why
//! without a crate).

use std::ffi::OsStr;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::time::{Duration, Instant};

/// Reports the state of the process to the service manager. Does nothing if
/// there is none. Sending never blocks.
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    fed: Option<Instant>,
    status: String,
}

impl Notifier {
    /// Takes the manager's socket from `NOTIFY_SOCKET` and the watchdog's
    /// interval from `WATCHDOG_USEC`. If the socket cannot be reached, this is
    /// logged and nothing is sent.
    #[must_use]
    pub fn from_environment() -> Self {
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| for_us);
        Self::new(
            std::env::var_os("NOTIFY_SOCKET").as_deref(),
            watchdog.map(Duration::from_micros),
        )
    }

    fn new(address: Option<&OsStr>, watchdog: Option<Duration>) -> Self {
        let socket = address.and_then(|address| match connect(address) {
            Ok(socket) => Some(socket),
            Err(error) => {
                log::warn!(
                    "NOTIFY_SOCKET={}: {error}; the service manager gets no notifications",
                    address.display()
                );
                None
            }
        });
        Self {
            watchdog: watchdog.filter(|interval| socket.is_some() && !interval.is_zero()),
            socket,
            fed: None,
            status: String::new(),
        }
    }

    /// The start is finished: the configuration is valid, and the bridge waits
    /// for affectd and for the network, or has both.
    pub fn ready(&mut self) {
        self.send("READY=1\n");
    }

    /// The process has begun to stop.
    pub fn stopping(&mut self) {
        self.send("STOPPING=1\n");
    }

    /// One line on how things are, for `systemctl status`. Sent only when it
    /// differs from the last one.
    pub fn status(&mut self, status: &str) {
        if self.socket.is_none() || status == self.status {
            return;
        }
        // A line break would begin another assignment.
        let line = status.lines().next().unwrap_or_default();
        if self.send(&format!("STATUS={line}\n")) {
            status.clone_into(&mut self.status);
        }
    }

    /// Feeds the watchdog, if the manager keeps one: at most twice in its
    /// interval, however often this is called.
    pub fn feed(&mut self) {
        let Some(interval) = self.watchdog else {
            return;
        };
        if self.fed.is_none_or(|fed| fed.elapsed() >= interval / 2) && self.send("WATCHDOG=1\n") {
            self.fed = Some(Instant::now());
        }
    }

    fn send(&self, message: &str) -> bool {
        let Some(socket) = &self.socket else {
            return false;
        };
        for _ in 0..5 {
            match socket.send(message.as_bytes()) {
                Ok(_) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    std::thread::sleep(Duration::from_millis(5));
                }
                Err(error) => {
                    log::debug!("the service manager cannot be notified: {error}");
                    return false;
                }
            }
        }
        false
    }
}

fn connect(address: &OsStr) -> io::Result<UnixDatagram> {
    let address = match address.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        path => SocketAddr::from_pathname(OsStr::from_bytes(path))?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.connect_addr(&address)?;
    socket.set_nonblocking(true)?;
    Ok(socket)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_manager_hears_the_protocol() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let manager = UnixDatagram::bind(&path).unwrap();
        manager.set_nonblocking(true).unwrap();
        let mut notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_secs(3600)));
        notifier.ready();
        notifier.status("connected");
        notifier.status("connected");
        notifier.status("lost\nREADY=0");
        for _ in 0..100 {
            notifier.feed();
        }
        notifier.stopping();
        let mut heard = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(length) = manager.recv(&mut buffer) {
            heard.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        assert_eq!(
            heard,
            [
                "READY=1\n",
                "STATUS=connected\n",
                "STATUS=lost\n",
                "WATCHDOG=1\n",
                "STOPPING=1\n"
            ]
        );
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let missing = OsStr::new("/nonexistent/notify");
        let mut notifier = Notifier::new(Some(missing), Some(Duration::from_secs(1)));
        notifier.ready();
        notifier.feed();
        notifier.status("x");
        assert!(notifier.fed.is_none());
    }
}
