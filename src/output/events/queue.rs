//! The bounded queue between the loop and the thread of one output.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::event::{EventfdFlags, eventfd};

use super::line::{Body, Event};

/// How many lines wait for one output before some are dropped.
pub const QUEUE: usize = 256;

/// The socket's thread waits on the descriptor, together with others; a
/// stream's thread waits on the condition, because it waits for nothing else.
#[derive(Debug)]
pub(super) struct Queue {
    state: Mutex<State>,
    changed: Condvar,
    descriptor: OwnedFd,
}

#[derive(Debug)]
struct State {
    events: VecDeque<Event>,
    /// Lines dropped since the last one that was taken.
    dropped: u64,
    /// No more events will come.
    closed: bool,
    /// No thread takes events any more.
    abandoned: bool,
    /// The loop waited for room without success, and nothing was taken since
    /// then.
    stuck: bool,
    /// The file must be opened again.
    reopen: bool,
}

impl Queue {
    pub fn new() -> io::Result<Self> {
        Ok(Self {
            state: Mutex::new(State {
                events: VecDeque::with_capacity(QUEUE),
                dropped: 0,
                closed: false,
                abandoned: false,
                stuck: false,
                reopen: false,
            }),
            changed: Condvar::new(),
            descriptor: eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing panics while the lock is held.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn wake(&self) {
        self.changed.notify_all();
        // Fails only if the counter is full, and then it is readable anyway.
        let _ = rustix::io::write(&self.descriptor, &1_u64.to_ne_bytes());
    }

    /// Adds an event. If there is no room, waits for at most `patience`, and
    /// then drops the oldest repetition, or else the oldest line, but never
    /// `hello`.
    pub fn push(&self, event: Event, patience: Duration) {
        let mut state = self.lock();
        if state.events.len() >= QUEUE && !patience.is_zero() && !state.stuck {
            state = self
                .changed
                .wait_timeout_while(state, patience, |state| {
                    state.events.len() >= QUEUE && !state.abandoned
                })
                .unwrap_or_else(PoisonError::into_inner)
                .0;
            state.stuck = state.events.len() >= QUEUE;
        }
        if state.abandoned {
            return;
        }
        if state.events.len() >= QUEUE {
            let events = &mut state.events;
            let oldest = events
                .iter()
                .position(Event::is_repetition)
                .or_else(|| {
                    events
                        .iter()
                        .position(|event| !matches!(event.body, Body::Hello(_)))
                })
                .unwrap_or(0);
            events.remove(oldest);
            state.dropped += 1;
        }
        state.events.push_back(event);
        drop(state);
        self.wake();
    }

    /// The next event; `dropped` comes before the first line after dropped
    /// ones.
    pub fn pop(&self) -> Option<Event> {
        let mut state = self.lock();
        state.stuck = false;
        let next = state.events.front()?;
        let event = if state.dropped > 0 && !matches!(next.body, Body::Hello(_)) {
            let lines = state.dropped;
            let event = Event {
                body: Body::Dropped { lines },
                ..next.clone()
            };
            state.dropped = 0;
            event
        } else {
            state.events.pop_front()?
        };
        drop(state);
        self.changed.notify_all();
        Some(event)
    }

    /// Waits until there is an event, the queue is closed, or the file must be
    /// opened again.
    pub fn wait(&self) {
        let _state = self
            .changed
            .wait_while(self.lock(), |state| {
                state.events.is_empty() && !state.closed && !state.reopen
            })
            .unwrap_or_else(PoisonError::into_inner);
    }

    /// Waits until the queue is closed or the time is over; true if it is closed.
    pub fn wait_closed(&self, time: Duration) -> bool {
        self.changed
            .wait_timeout_while(self.lock(), time, |state| !state.closed)
            .unwrap_or_else(PoisonError::into_inner)
            .0
            .closed
    }

    /// Asks for the file to be opened again.
    pub fn ask_reopen(&self) {
        self.lock().reopen = true;
        self.wake();
    }

    /// Whether `ask_reopen` was called since the last call.
    pub fn take_reopen(&self) -> bool {
        std::mem::take(&mut self.lock().reopen)
    }

    /// Closes the queue: no more events will come, but waiting ones are still
    /// written.
    pub fn close(&self) {
        self.lock().closed = true;
        self.wake();
    }

    pub fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// Notes that no thread takes events any more; waiting ones are dropped.
    pub fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        state.events.clear();
        drop(state);
        self.changed.notify_all();
    }

    /// Lines that wait.
    pub fn len(&self) -> usize {
        self.lock().events.len()
    }

    /// Makes the descriptor unreadable again.
    pub fn clear(&self) {
        let _ = rustix::io::read(&self.descriptor, &mut [0; 8]);
    }
}

impl AsFd for Queue {
    /// Readable when there is something to do.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::frame::Timestamp;

    fn event(frame: u64, change: bool) -> Event {
        Event {
            time: Timestamp::default(),
            wall: None,
            frame,
            body: Body::None {
                since: Timestamp::default(),
                change,
            },
        }
    }

    fn drain(queue: &Queue) -> Vec<Event> {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn repetitions_go_first() {
        let queue = Queue::new().unwrap();
        for frame in 0..QUEUE as u64 {
            queue.push(event(frame, frame != 100), Duration::ZERO);
        }
        queue.push(event(1000, true), Duration::ZERO);
        queue.push(event(1001, true), Duration::ZERO);
        let events = drain(&queue);
        // First the repetition 100 and then the oldest, 0, were dropped.
        assert!(matches!(events[0].body, Body::Dropped { lines: 2 }));
        let frames: Vec<_> = events[1..].iter().map(|event| event.frame).collect();
        let expected: Vec<_> = (1..100)
            .chain(101..QUEUE as u64)
            .chain([1000, 1001])
            .collect();
        assert_eq!(frames, expected);
    }

    #[test]
    fn the_loop_waits_once_until_an_event_is_taken() {
        let queue = Queue::new().unwrap();
        let short = Duration::from_millis(5);
        for frame in 0..QUEUE as u64 {
            queue.push(event(frame, true), short);
        }
        assert!(!queue.lock().stuck);
        queue.push(event(1000, true), short);
        assert!(queue.lock().stuck);
        // The test would hang if this waited.
        queue.push(event(1001, true), Duration::from_secs(3600));
        assert!(queue.pop().is_some());
        assert!(!queue.lock().stuck);
    }

    #[test]
    fn a_waiting_push_continues_when_there_is_room() {
        let queue = Queue::new().unwrap();
        for frame in 0..QUEUE as u64 {
            queue.push(event(frame, true), Duration::ZERO);
        }
        std::thread::scope(|scope| {
            scope.spawn(|| queue.push(event(1000, true), Duration::from_secs(3600)));
            queue.pop();
        });
        let events = drain(&queue);
        assert_eq!(events.len(), QUEUE);
        assert_eq!(events.last().unwrap().frame, 1000);
    }
}
