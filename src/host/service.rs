//! Notifications to the service manager, by the protocol of systemd's
//! `sd_notify(3)`: lines of `KEY=value` in a datagram to the socket named by
//! `$NOTIFY_SOCKET`. A notification is sent without blocking or not at all.
//!
//! The crate sd-notify is not used because it opens one socket per message,
//! blocks when the manager is slow, and supports no abstract socket names
//! (`@…`).

use std::ffi::OsStr;
use std::fmt::Write as _;
use std::io;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use crate::fault::FaultLog;
use crate::frame::Timestamp;

/// Reports the state of the process to the service manager. Does nothing if
/// there is none.
///
/// ```
/// use affectd::host::service::Notifier;
/// let mut notifier = Notifier::from_environment();
/// notifier.ready();
/// notifier.status("watching /dev/video0");
/// notifier.feed();
/// ```
#[derive(Debug)]
pub struct Notifier {
    socket: Option<UnixDatagram>,
    watchdog: Option<Duration>,
    fed: Option<Instant>,
    status: String,
    message: String,
    fault: FaultLog,
}

impl Notifier {
    /// Takes the manager's socket from `NOTIFY_SOCKET` and the watchdog's
    /// interval from `WATCHDOG_USEC` (unless `WATCHDOG_PID` is another
    /// process). If the socket cannot be reached, this is logged and nothing is
    /// sent.
    #[must_use]
    pub fn from_environment() -> Self {
        let socket = std::env::var_os("NOTIFY_SOCKET");
        let number = |name| std::env::var(name).ok()?.parse::<u64>().ok();
        let for_us = number("WATCHDOG_PID").is_none_or(|pid| pid == u64::from(std::process::id()));
        let watchdog = number("WATCHDOG_USEC").filter(|_| for_us);
        Self::new(socket.as_deref(), watchdog.map(Duration::from_micros))
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
            message: String::new(),
            fault: FaultLog::new("service manager"),
        }
    }

    /// Start-up is finished: frames come, or affectd waits for a camera. Also
    /// ends a reload.
    pub fn ready(&mut self) {
        self.send_surely(format_args!("READY=1\n"));
    }

    /// The board file is being read again; [`Notifier::ready`] says when that is
    /// done.
    pub fn reloading(&mut self) {
        let now = Timestamp::now().0.as_micros();
        self.send_surely(format_args!("RELOADING=1\nMONOTONIC_USEC={now}\n"));
    }

    /// The process has begun to stop.
    pub fn stopping(&mut self) {
        self.send_surely(format_args!("STOPPING=1\n"));
    }

    /// Sets the line that `systemctl status` shows. Sent only when it differs
    /// from the last one.
    pub fn status(&mut self, status: &str) {
        if self.socket.is_none() || status == self.status {
            return;
        }
        // A line break would begin another assignment.
        let line = status.lines().next().unwrap_or_default();
        if self.send(format_args!("STATUS={line}\n")) {
            self.status.clear();
            self.status.push_str(status);
        }
    }

    /// Feeds the watchdog, if the manager keeps one: at most twice in its
    /// interval, however often this is called. Call this only after a frame was
    /// processed, or while the loop waits for a camera as it should.
    pub fn feed(&mut self) {
        let Some(interval) = self.watchdog else {
            return;
        };
        // The watchdog uses the same clock, CLOCK_MONOTONIC, which stops during
        // a suspend.
        if self.fed.is_none_or(|fed| fed.elapsed() >= interval / 2)
            && self.send(format_args!("WATCHDOG=1\n"))
        {
            self.fed = Some(Instant::now());
        }
    }

    /// The manager's watchdog interval, if it keeps one.
    #[must_use]
    pub fn watchdog(&self) -> Option<Duration> {
        self.watchdog
    }

    /// Sends a message that must arrive, and waits a little for a full queue.
    /// Not for use while frames are processed.
    fn send_surely(&mut self, message: std::fmt::Arguments<'_>) {
        for _ in 0..5 {
            if self.send(message) {
                return;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Sends without waiting. True if it was sent, or if there is no service
    /// manager.
    fn send(&mut self, message: std::fmt::Arguments<'_>) -> bool {
        let Some(socket) = &self.socket else {
            return true;
        };
        self.message.clear();
        // Writing to a String cannot fail.
        let _ = self.message.write_fmt(message);
        match socket.send(self.message.as_bytes()) {
            Ok(_) => {
                self.fault.cleared();
                true
            }
            Err(error) => {
                self.fault
                    .occurred(&format_args!("cannot be notified: {error}"));
                false
            }
        }
    }
}

/// The directory for sockets and other files that last until the service ends:
/// the service manager's (`RuntimeDirectory=` in a unit), or else `/run/affectd`.
#[must_use]
pub fn runtime_directory() -> PathBuf {
    let given = std::env::var("RUNTIME_DIRECTORY").ok();
    // Several directories are separated by colons.
    let first = given.as_deref().and_then(|all| all.split(':').next());
    let directory = first.filter(|first| !first.is_empty());
    PathBuf::from(directory.unwrap_or("/run/affectd"))
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

    fn manager() -> (tempfile::TempDir, UnixDatagram, std::path::PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket.set_nonblocking(true).unwrap();
        (folder, socket, path)
    }

    fn received(socket: &UnixDatagram) -> Vec<String> {
        let mut messages = Vec::new();
        let mut buffer = [0; 256];
        while let Ok(length) = socket.recv(&mut buffer) {
            messages.push(String::from_utf8(buffer[..length].to_vec()).unwrap());
        }
        messages
    }

    #[test]
    fn the_manager_hears_the_protocol() {
        let (_folder, socket, path) = manager();
        let mut notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_secs(3600)));
        notifier.ready();
        notifier.status("watching /dev/video0");
        notifier.status("watching /dev/video0");
        notifier.status("camera lost\nREADY=0");
        for _ in 0..100 {
            notifier.feed();
        }
        notifier.stopping();
        assert_eq!(
            received(&socket),
            [
                "READY=1\n",
                "STATUS=watching /dev/video0\n",
                "STATUS=camera lost\n",
                "WATCHDOG=1\n",
                "STOPPING=1\n",
            ]
        );
    }

    #[test]
    fn the_watchdog_is_fed_again_after_half_its_interval() {
        let (_folder, socket, path) = manager();
        let mut notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_millis(20)));
        notifier.feed();
        std::thread::sleep(Duration::from_millis(11));
        notifier.feed();
        assert_eq!(received(&socket), ["WATCHDOG=1\n", "WATCHDOG=1\n"]);
    }

    #[test]
    fn a_manager_that_reads_nothing_stops_nobody() {
        let (_folder, socket, path) = manager();
        let mut notifier = Notifier::new(Some(path.as_os_str()), Some(Duration::from_nanos(1)));
        for _ in 0..10_000 {
            notifier.feed();
        }
        assert!(notifier.fault.total() > 0);
        // A message that could not be sent does not count as sent.
        let heard = received(&socket).len();
        assert!(heard > 0 && heard < 10_000);
        notifier.feed();
        assert_eq!(received(&socket).len(), 1);
    }

    #[test]
    fn abstract_names_work() {
        let name = format!("affectd-test-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&name).unwrap();
        let socket = UnixDatagram::bind_addr(&address).unwrap();
        socket.set_nonblocking(true).unwrap();
        Notifier::new(Some(OsStr::new(&format!("@{name}"))), None).ready();
        assert_eq!(received(&socket), ["READY=1\n"]);
    }

    #[test]
    fn without_a_manager_nothing_happens() {
        let mut notifier = Notifier::new(
            Some(OsStr::new("/nonexistent/notify")),
            Some(Duration::from_secs(1)),
        );
        notifier.ready();
        notifier.feed();
        assert_eq!(notifier.watchdog(), None);
        assert_eq!(notifier.fault.total(), 0);
    }
}
