//! A Unix socket with several readers. One thread serves them and never waits
//! for any of them.
//!
//! Readers only read: affectd ignores what they send. The socket file's mode,
//! 0660, and its folder decide who may connect.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};

use super::line::{Body, Event};
use super::queue::Queue;
use crate::host::unix_socket::{Listener, SocketError, SocketFile};

/// How many bytes may wait for a reader, in addition to the kernel's buffer,
/// before it is disconnected: about 150 lines.
pub const READER_QUEUE: usize = 64 * 1024;

/// How many readers there may be at once.
pub const READERS: usize = 16;

/// How much time readers have at the end to take waiting lines.
const LAST_CALL: Duration = Duration::from_millis(100);

/// The pause after a reader could not be accepted because there are no free
/// descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_secs(1);

/// A socket that readers can connect to.
#[derive(Debug)]
pub(super) struct Server {
    listener: Listener,
}

impl Server {
    pub fn bind(path: &Path) -> Result<(Self, SocketFile), SocketError> {
        let (listener, file) = Listener::bind(path)?;
        Ok((Self { listener }, file))
    }

    /// Serves readers until the queue is closed and empty.
    pub fn run(self, queue: &Queue) {
        let mut readers = Readers::default();
        let mut latest = Latest::default();
        let mut line = Vec::with_capacity(1024);
        let mut pause_until: Option<Instant> = None;
        loop {
            let timeout = pause_until.map(|until| until.saturating_duration_since(Instant::now()));
            if timeout.is_some_and(|left| left.is_zero()) {
                pause_until = None;
            }
            let accepting = pause_until.is_none();
            let (woken, waiting) =
                readers.poll(queue, accepting.then_some(&self.listener), timeout);

            if woken {
                queue.clear();
                while let Some(event) = queue.pop() {
                    line.clear();
                    event.write(&mut line);
                    readers.give(&line);
                    latest.take(event);
                }
            }
            // After the events, so that a new reader begins with the present
            // state.
            if waiting && !self.accept(&mut readers, &latest) {
                pause_until = Some(Instant::now() + ACCEPT_PAUSE);
            }
            readers.send();
            if queue.is_closed() && queue.len() == 0 {
                break;
            }
        }
        readers.finish();
    }

    /// Accepts waiting readers; false if there are no free resources.
    fn accept(&self, readers: &mut Readers, latest: &Latest) -> bool {
        loop {
            match self.listener.accept() {
                Ok(socket) if readers.all.len() < READERS => {
                    let mut reader = Reader {
                        socket,
                        // The largest number of waiting bytes, and a line.
                        unsent: VecDeque::with_capacity(READER_QUEUE + 4096),
                    };
                    latest.greet(&mut reader);
                    readers.all.push(reader);
                }
                Ok(_) => readers
                    .refused
                    .note("already has the largest number of readers"),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR | Errno::CONNABORTED) => {}
                Err(error) => {
                    readers
                        .refused
                        .note(&format!("cannot accept a reader: {error}"));
                    return false;
                }
            }
        }
    }
}

#[derive(Debug)]
struct Reader {
    socket: OwnedFd,
    unsent: VecDeque<u8>,
}

impl Reader {
    /// Sends as much as possible; false if the reader is gone.
    fn send(&mut self) -> bool {
        while !self.unsent.is_empty() {
            let (bytes, _) = self.unsent.as_slices();
            match send(&self.socket, bytes, SendFlags::NOSIGNAL) {
                Ok(count) => drop(self.unsent.drain(..count)),
                Err(Errno::AGAIN) => return true,
                Err(Errno::INTR) => {}
                Err(_) => return false,
            }
        }
        true
    }
}

#[derive(Debug, Default)]
struct Readers {
    all: Vec<Reader>,
    slow: Noted,
    refused: Noted,
}

impl Readers {
    /// Waits for an event, a new reader (if `listener` is given), or a reader
    /// that has room again or is gone. Returns whether one of the first two
    /// happened.
    fn poll(
        &mut self,
        queue: &Queue,
        listener: Option<&Listener>,
        timeout: Option<Duration>,
    ) -> (bool, bool) {
        let count = 1 + self.all.len() + usize::from(listener.is_some());
        // On the stack, because this is done for every event.
        let mut polled: [PollFd<'_>; READERS + 2] = std::array::from_fn(|index| {
            let reader = index.checked_sub(1).and_then(|index| self.all.get(index));
            match (reader, listener) {
                // The end of a connection is always reported.
                (Some(reader), _) if reader.unsent.is_empty() => {
                    PollFd::new(&reader.socket, PollFlags::empty())
                }
                (Some(reader), _) => PollFd::new(&reader.socket, PollFlags::OUT),
                (None, Some(listener)) if index > 0 => PollFd::new(listener, PollFlags::IN),
                (None, _) => PollFd::new(queue, PollFlags::IN),
            }
        });
        let timeout = timeout.and_then(|time| Timespec::try_from(time).ok());
        if poll(&mut polled[..count], timeout.as_ref()).is_err() {
            return (false, false);
        }
        let happened: [_; READERS + 2] = std::array::from_fn(|index| polled[index].revents());
        let happened = &happened[..count];
        let mut index = 0;
        self.all.retain(|_| {
            index += 1;
            !happened[index].intersects(PollFlags::HUP | PollFlags::ERR)
        });
        let waiting = listener.is_some() && happened.last().is_some_and(|h| !h.is_empty());
        (!happened[0].is_empty(), waiting)
    }

    /// Puts a line into every reader's queue; a reader without room is
    /// disconnected.
    fn give(&mut self, line: &[u8]) {
        let slow = &mut self.slow;
        self.all.retain_mut(|reader| {
            reader.unsent.extend(line);
            if reader.unsent.len() <= READER_QUEUE
                || (reader.send() && reader.unsent.len() <= READER_QUEUE)
            {
                return true;
            }
            slow.note("disconnected a reader that was too slow");
            false
        });
    }

    fn send(&mut self) {
        self.all.retain_mut(Reader::send);
    }

    /// Gives readers a short time to take waiting lines.
    fn finish(&mut self) {
        let deadline = Instant::now() + LAST_CALL;
        loop {
            self.all
                .retain_mut(|reader| reader.send() && !reader.unsent.is_empty());
            let left = deadline.saturating_duration_since(Instant::now());
            if self.all.is_empty() || left.is_zero() {
                return;
            }
            let mut polled: Vec<_> = self
                .all
                .iter()
                .map(|reader| PollFd::new(&reader.socket, PollFlags::OUT))
                .collect();
            let timeout = Timespec::try_from(left).ok();
            let _ = poll(&mut polled, timeout.as_ref());
        }
    }
}

/// An event that is logged the first time and then only counted, so that a
/// reader that connects again and again does not fill the log.
#[derive(Debug, Default)]
struct Noted(u64);

impl Noted {
    fn note(&mut self, what: &str) {
        self.0 += 1;
        if self.0.is_power_of_two() {
            log::warn!("event socket: {what} (number {})", self.0);
        }
    }
}

/// The lines for a new reader: `hello` and the present state.
#[derive(Debug, Default)]
struct Latest {
    hello: Option<Event>,
    state: Vec<Event>,
    /// While the machine is too hot.
    temperature: Option<Event>,
    health: Option<Event>,
    /// While somebody watches the preview.
    preview: Option<Event>,
    /// For readers that connect while the process ends.
    goodbye: Option<Event>,
}

impl Latest {
    fn take(&mut self, event: Event) {
        match event.body {
            Body::Hello(_) => self.hello = Some(event),
            Body::Face { face, leading, .. } => {
                self.state.retain(|held| match held.body {
                    Body::Face { face: held, .. } => held.id != face.id,
                    Body::Attention { .. } => true,
                    _ => false,
                });
                let place = if leading { 0 } else { self.state.len() };
                self.state.insert(place, event);
            }
            Body::Attention { track, .. } => {
                self.state.retain(|held| match held.body {
                    Body::Attention { track: held, .. } => held != track,
                    _ => true,
                });
                self.state.push(event);
            }
            Body::Gone { track } => self.state.retain(|held| match held.body {
                Body::Face { face, .. } => face.id != track,
                Body::Attention { track: held, .. } => held != track,
                _ => true,
            }),
            Body::None { .. } | Body::CameraLost { .. } | Body::Paused { .. } => {
                self.state.clear();
                self.state.push(event);
            }
            Body::Temperature { hot, .. } => self.temperature = hot.then_some(event),
            Body::CameraBack { .. } => self.state.clear(),
            Body::Goodbye(_) => self.goodbye = Some(event),
            Body::Health { .. } => self.health = Some(event),
            Body::Preview { watched } => self.preview = watched.then_some(event),
            // The next state of eyes comes within a second.
            Body::Dropped { .. } | Body::Reload { .. } | Body::Fatigue(_) => {}
        }
    }

    fn greet(&self, reader: &mut Reader) {
        let mut lines = Vec::new();
        let lasting = self.hello.iter().chain(&self.temperature);
        let lasting = lasting.chain(&self.health).chain(&self.preview);
        for event in lasting.chain(&self.state).chain(&self.goodbye) {
            event.write(&mut lines);
        }
        reader.unsent.extend(lines);
    }
}
