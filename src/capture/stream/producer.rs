//! What a stream knows of the program that writes it.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// Who writes into the pipe.
pub(super) trait Producer {
    /// For logs and reasons.
    fn name(&self) -> &str;

    /// The pipe, if there is one now. Asked while there is none; must not wait.
    ///
    /// # Errors
    /// Why there is none now.
    fn connect(&mut self, now: Instant) -> Result<Option<OwnedFd>, String>;

    /// The pipe was closed or cannot be read. Returns the reason why no picture
    /// comes now, or `None` if none will come again.
    fn closed(&mut self, now: Instant) -> Option<String>;

    /// No whole picture has come for too long. Returns whether the pipe is to
    /// be asked for anew.
    fn stalled(&mut self, now: Instant) -> bool;

    /// The first whole picture since the pipe was connected has come.
    fn streaming(&mut self, _now: Instant) {}

    /// What the producer has to say besides its frames.
    fn messages(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reads the messages that are there.
    fn read_messages(&mut self) {}

    /// How long the first picture may take, if longer than the others.
    fn start_timeout(&self) -> Duration {
        Duration::ZERO
    }
}
