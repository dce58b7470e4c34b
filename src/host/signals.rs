//! The signals that the process acts on. The loop polls them and never waits
//! for them. A signal handler only sets a flag and writes a byte into a pipe.
//!
//! - `SIGTERM`, `SIGINT`: stop, after the outputs are in their safe state.
//! - `SIGINT` again, after either of them: end at once. GPIO lines then have
//!   the level that the kernel leaves.
//! - `SIGHUP`: read the board file again. If affectd was started from a
//!   terminal that is gone now, it means stop: a camera must not keep watching
//!   after its user closed the window. Under `nohup` affectd continues.
//! - `SIGUSR1`: open the event file again, for logrotate.

use std::io::{self, Read as _};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM, SIGUSR1};

/// The signals that reached the process. The loop asks for them.
///
/// A signal also ends a `poll` of the main thread (the kernel prefers that
/// thread), so a loop that waits there for a frame learns of it at once; any
/// other wait can include this value's descriptor, which turns readable.
#[derive(Debug)]
pub struct Signals {
    /// The number of the first signal that asked to stop, 0 before.
    stop: Arc<AtomicUsize>,
    hangup: Arc<AtomicBool>,
    reopen: Arc<AtomicBool>,
    wake: UnixStream,
    /// The process was started from a terminal and must end with it.
    bound_to_terminal: bool,
}

impl Signals {
    /// Takes over SIGTERM, SIGINT, SIGHUP and SIGUSR1 for the rest of the process's life.
    ///
    /// # Errors
    /// No descriptor is left for the pipe.
    pub fn install() -> io::Result<Self> {
        let (wake, waker) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let bound_to_terminal = has_terminal() && !ignores_hangup();
        let stop = Arc::new(AtomicUsize::new(0));
        let hangup = Arc::new(AtomicBool::new(false));
        let reopen = Arc::new(AtomicBool::new(false));
        let stopping = Arc::new(AtomicBool::new(false));

        // Actions run in the order in which they are registered, so this one
        // sees whether a signal came before the present one.
        signal_hook::flag::register_conditional_default(SIGINT, Arc::clone(&stopping))?;
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stopping))?;
            signal_hook::flag::register_usize(signal, Arc::clone(&stop), signal as usize)?;
        }
        signal_hook::flag::register(SIGHUP, Arc::clone(&hangup))?;
        signal_hook::flag::register(SIGUSR1, Arc::clone(&reopen))?;
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGUSR1] {
            signal_hook::low_level::pipe::register(signal, waker.try_clone()?)?;
        }
        Ok(Self {
            stop,
            hangup,
            reopen,
            wake,
            bound_to_terminal,
        })
    }

    /// The name of the signal that asks the process to stop, if one has come.
    #[must_use]
    pub fn stop_requested(&self) -> Option<&'static str> {
        match self.stop.load(Ordering::SeqCst) as i32 {
            0 => (self.hangup.load(Ordering::SeqCst) && self.lost_terminal()).then_some("SIGHUP"),
            SIGINT => Some("SIGINT"),
            _ => Some("SIGTERM"),
        }
    }

    /// Whether SIGHUP asked for the board file to be read again, since the last
    /// call.
    #[must_use]
    pub fn take_reload(&self) -> bool {
        if self.lost_terminal() {
            return false;
        }
        self.hangup.swap(false, Ordering::SeqCst)
    }

    /// Whether SIGUSR1 asked for files to be opened again, since the last call.
    #[must_use]
    pub fn take_reopen(&self) -> bool {
        self.reopen.swap(false, Ordering::SeqCst)
    }

    /// Sleeps until a signal comes or the time is over; true if a signal came.
    /// For a wait that waits for nothing else, such as pacing a recording.
    pub fn sleep(&self, time: Duration) -> bool {
        let deadline = Instant::now() + time;
        let mut woken = false;
        loop {
            // Bytes left from earlier signals must not end a later sleep.
            while matches!((&self.wake).read(&mut [0; 64]), Ok(1..)) {
                woken = true;
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if woken || left.is_zero() {
                return woken;
            }
            let mut wait = [PollFd::new(&self.wake, PollFlags::IN)];
            let timeout = Timespec::try_from(left).ok();
            // An error means that a signal interrupted the call.
            let _ = poll(&mut wait, timeout.as_ref());
        }
    }

    fn lost_terminal(&self) -> bool {
        self.bound_to_terminal && !has_terminal()
    }
}

impl AsFd for Signals {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }
}

/// Whether the process has a controlling terminal that is still there.
fn has_terminal() -> bool {
    use rustix::fs::{Mode, OFlags, open};
    open(
        "/dev/tty",
        OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC | OFlags::NONBLOCK,
        Mode::empty(),
    )
    .is_ok()
}

/// Whether SIGHUP was ignored when the process started, as `nohup` does.
fn ignores_hangup() -> bool {
    std::fs::read_to_string("/proc/self/status")
        .ok()
        .and_then(|status| {
            let mask = status
                .lines()
                .find_map(|line| line.strip_prefix("SigIgn:"))?;
            u64::from_str_radix(mask.trim(), 16).ok()
        })
        .is_some_and(|mask| mask & 1 << (SIGHUP - 1) != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    // One test for all signals: they belong to the whole process.
    #[test]
    fn signals_are_seen_and_wake_a_sleeper() {
        let signals = Signals::install().unwrap();
        assert_eq!(signals.stop_requested(), None);
        assert!(!signals.take_reload());

        signal_hook::low_level::raise(SIGHUP).unwrap();
        assert!(signals.take_reload());
        assert!(!signals.take_reload());
        assert!(!signals.take_reopen());
        signal_hook::low_level::raise(SIGUSR1).unwrap();
        assert!(signals.take_reopen());
        assert!(!signals.take_reopen() && !signals.take_reload());
        assert_eq!(signals.stop_requested(), None);
        assert!(signals.sleep(Duration::from_secs(20)));
        assert!(!signals.sleep(Duration::from_millis(1)));

        let other = std::thread::spawn(|| {
            std::thread::sleep(Duration::from_millis(20));
            signal_hook::low_level::raise(SIGTERM).unwrap();
        });
        assert!(signals.sleep(Duration::from_secs(20)));
        other.join().unwrap();
        assert_eq!(signals.stop_requested(), Some("SIGTERM"));
    }
}
