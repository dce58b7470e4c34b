//! A slot between the loop and the thread of a slow device: it contains one
//! value, and a newer value replaces one that was not taken yet.
//!
//! With a channel, a slow device would show old values; with this slot it
//! always shows the newest one. The lock is held only while a value is moved in
//! or out, never while a device works, so the loop does not wait for a device.
//!
//! ```
//! use affectd::output::latest::{self, Taken};
//! use std::time::Duration;
//!
//! let (writer, reader) = latest::slot();
//! let device = std::thread::spawn(move || {
//!     let mut shown = 0;
//!     while let Taken::Value(value) = reader.take(Duration::from_secs(5)) {
//!         shown = value; // a slow device would work here
//!     }
//!     shown
//! });
//! for value in 1..=100 {
//!     writer.put(value);
//! }
//! // The last value is always taken, however slow the device.
//! assert!(writer.close(Duration::from_secs(5)));
//! assert_eq!(device.join().unwrap(), 100);
//! ```

use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug)]
struct Slot<T> {
    state: Mutex<State<T>>,
    changed: Condvar,
}

#[derive(Debug)]
struct State<T> {
    value: Option<T>,
    writing: bool,
    reading: bool,
}

impl<T> Slot<T> {
    fn lock(&self) -> MutexGuard<'_, State<T>> {
        // Nothing panics while the lock is held, so a poisoned lock is still
        // usable.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready` or until the time is over; returns the lock.
    fn wait(
        &self,
        timeout: Duration,
        ready: impl Fn(&State<T>) -> bool,
    ) -> MutexGuard<'_, State<T>> {
        let deadline = Instant::now().checked_add(timeout);
        let mut state = self.lock();
        while !ready(&state) {
            let left = deadline.map_or(timeout, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                break;
            }
            state = self
                .changed
                .wait_timeout(state, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        state
    }
}

/// An empty slot: the loop keeps the writer, the device's thread the reader.
#[must_use]
pub fn slot<T>() -> (Writer<T>, Reader<T>) {
    let slot = Arc::new(Slot {
        state: Mutex::new(State {
            value: None,
            writing: true,
            reading: true,
        }),
        changed: Condvar::new(),
    });
    (Writer(Arc::clone(&slot)), Reader(slot))
}

/// The loop's end of a slot. Dropping it closes the slot.
#[derive(Debug)]
pub struct Writer<T>(Arc<Slot<T>>);

impl<T> Writer<T> {
    /// Puts a value into the slot and returns at once. Returns an old value
    /// that was not taken, so that its buffers can be reused, or `value` itself
    /// if the reader is gone.
    pub fn put(&self, value: T) -> Option<T> {
        let mut state = self.0.lock();
        if !state.reading {
            return Some(value);
        }
        let replaced = state.value.replace(value);
        drop(state);
        self.0.changed.notify_all();
        replaced
    }

    /// Whether the reader still exists; false after its thread has ended, also
    /// by a panic.
    #[must_use]
    pub fn is_read(&self) -> bool {
        self.0.lock().reading
    }

    /// Closes the slot and waits for at most `timeout` until the reader has
    /// taken the last value and is gone. Returns whether it is gone: a thread
    /// that hangs in its device must not block the end of the process.
    #[must_use]
    pub fn close(self, timeout: Duration) -> bool {
        self.0.lock().writing = false;
        self.0.changed.notify_all();
        !self.0.wait(timeout, |state| !state.reading).reading
    }
}

impl<T> Drop for Writer<T> {
    fn drop(&mut self) {
        self.0.lock().writing = false;
        self.0.changed.notify_all();
    }
}

/// The device thread's end of a slot. After it is dropped, the writer knows
/// that there is no reader any more.
#[derive(Debug)]
pub struct Reader<T>(Arc<Slot<T>>);

/// The result of [`Reader::take`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Taken<T> {
    /// The newest value.
    Value(T),
    /// Nothing new within the time limit.
    Nothing,
    /// Nothing new, and nothing will come: the writer is gone. Earlier values
    /// come first.
    Closed,
}

impl<T> Reader<T> {
    /// Waits for at most `timeout` for a new value; a timeout of zero does not
    /// wait.
    #[must_use]
    pub fn take(&self, timeout: Duration) -> Taken<T> {
        let mut state = self
            .0
            .wait(timeout, |state| state.value.is_some() || !state.writing);
        match state.value.take() {
            Some(value) => Taken::Value(value),
            None if state.writing => Taken::Nothing,
            None => Taken::Closed,
        }
    }
}

impl<T> Drop for Reader<T> {
    fn drop(&mut self) {
        self.0.lock().reading = false;
        self.0.changed.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    const LONG: Duration = Duration::from_secs(20);

    #[test]
    fn the_newest_value_wins_and_the_older_comes_back() {
        let (writer, reader) = slot();
        assert_eq!(writer.put(1), None);
        assert_eq!(writer.put(2), Some(1));
        assert_eq!(reader.take(LONG), Taken::Value(2));
        assert_eq!(reader.take(Duration::ZERO), Taken::Nothing);
        assert_eq!(reader.take(Duration::from_millis(1)), Taken::Nothing);
    }

    #[test]
    fn a_waiting_reader_wakes() {
        let (writer, reader) = slot();
        let thread = thread::spawn(move || (reader.take(LONG), reader.take(LONG)));
        writer.put("here");
        while writer.0.lock().value.is_some() {
            thread::yield_now();
        }
        drop(writer);
        assert_eq!(
            thread.join().unwrap(),
            (Taken::Value("here"), Taken::Closed)
        );
    }

    #[test]
    fn a_value_put_in_before_closing_is_still_taken() {
        let (writer, reader) = slot();
        writer.put(7);
        drop(writer);
        assert_eq!(reader.take(LONG), Taken::Value(7));
        assert_eq!(reader.take(LONG), Taken::Closed);
    }

    #[test]
    fn close_waits_for_the_reader_within_a_limit() {
        let (writer, reader) = slot();
        writer.put(7);
        let thread = thread::spawn(move || reader.take(LONG));
        assert!(writer.close(LONG));
        assert_eq!(thread.join().unwrap(), Taken::Value(7));

        let (writer, reader) = slot::<u8>();
        assert!(!writer.close(Duration::from_millis(1)));
        assert_eq!(reader.take(LONG), Taken::Closed);
    }

    #[test]
    fn a_reader_that_panicked_is_noticed() {
        let (writer, reader) = slot();
        let thread = thread::spawn(move || {
            let _held = reader;
            // Unwinds like a panic, but prints nothing.
            std::panic::resume_unwind(Box::new("device gone"));
        });
        assert!(thread.join().is_err());
        assert!(!writer.is_read());
        assert_eq!(writer.put(1), Some(1));
    }
}
