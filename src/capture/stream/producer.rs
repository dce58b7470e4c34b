//! The trait of producers: the writers of streams.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

/// The writer of a pipe, as the stream uses it.
pub(super) trait Producer {
    /// The name for logs and reasons.
    fn name(&self) -> &str;

    /// The pipe, if there is one now. The stream calls this while it has none;
    /// it must not wait.
    ///
    /// # Errors
    /// The reason why there is none now.
    fn connect(&mut self, now: Instant) -> Result<Option<OwnedFd>, String>;

    /// Called when the pipe was closed or cannot be read. Returns the reason
    /// why no frames come now, or `None` if none will ever come again.
    fn closed(&mut self, now: Instant) -> Option<String>;

    /// Called when no whole frame has come for too long. Returns whether the
    /// stream must ask for the pipe again.
    fn stalled(&mut self, now: Instant) -> bool;

    /// Called at the first whole frame since the pipe was connected.
    fn streaming(&mut self, _now: Instant) {}

    /// The descriptor of the producer's messages.
    fn messages(&self) -> Option<BorrowedFd<'_>> {
        None
    }

    /// Reads the waiting messages.
    fn read_messages(&mut self) {}

    /// How long the first frame may take, if longer than the others.
    fn start_timeout(&self) -> Duration {
        Duration::ZERO
    }
}
