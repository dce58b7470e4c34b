//! Events as JSON Lines: on standard output, in a file, and on a Unix socket
//! for several readers.
//!
//! Each of the three has a thread of its own and a bounded queue in front of it,
//! because each can hang by itself: a pipe that nobody reads, a card that is
//! busy, a reader that sleeps. The loop only puts events into queues.
//!
//! # Schema, version 1
//!
//! Every line is one JSON object in UTF-8, its keys in the order given here.
//! New keys and new types may come within a version; readers skip what they do
//! not know. A key that is removed or changes its meaning makes a new version.
//!
//! Every line begins with these:
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `schema` | integer | 1 |
//! | `type` | string | which of the types below |
//! | `time` | number | seconds on the source's monotonic clock (a camera's: since boot; a recording's: since its start), to the millisecond |
//! | `wall` | string | date and time in UTC, `2026-01-31T12:34:56.789Z`; only with a live source, so that a recording gives the same lines every time |
//! | `frame` | integer | number of the frame; numbers may be left out where frames were dropped |
//!
//! **`hello`**: the first line, at the start and for each reader of the socket.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `version` | string | affectd's version |
//! | `source` | string | where frames come from |
//! | `live` | boolean | true for a camera, false for a recording |
//! | `model` | string | name of the classifier |
//! | `outputs` | array of strings | what is driven besides events |
//! | `classes` | array of strings | the seven expressions in the order of `probabilities` |
//! | `period_ms` | integer | how often the state is repeated without a change; 0: never |
//!
//! A reader that connects later then gets the last lines that hold (of each face,
//! or `none`, or `camera_lost`), as they were sent.
//!
//! **`face`**: a face that counts. Sent when its label changes, when it begins
//! or ceases to lead, and once a period. The leading face of a frame comes first.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `track` | integer | stays with a face for as long as it is followed; it says nothing about who it is |
//! | `leading` | boolean | whether this is the face that GPIO and the display show |
//! | `box` | array of 4 integers | x, y, width, height in pixels, within the frame |
//! | `size` | array of 2 integers | width and height of the frame |
//! | `searched` | number | the `time` of the frame in which the place of the box was last searched: an earlier one if a search is spread over frames |
//! | `label` | string | the stable apparent expression, or `uncertain` |
//! | `confidence` | number | smoothed probability of the label (of the most probable class if uncertain), 0 to 1 |
//! | `probabilities` | object | smoothed probability of each class by name, in the order angry, disgust, fear, happy, sad, surprise, neutral |
//! | `since` | number | the `time` from which the label holds |
//! | `change` | boolean | false for a repetition |
//!
//! **`gone`**: a face counts no longer, while others do.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `track` | integer | its track |
//!
//! **`none`**: no face counts; ends all tracks.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `since` | number | the `time` from which there is none |
//! | `change` | boolean | false for a repetition |
//!
//! **`camera_lost`**: no frames come; ends all tracks.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `reason` | string | for people |
//! | `since` | number | the `time` from which it is lost |
//! | `change` | boolean | false for a repetition |
//!
//! **`camera_back`**: frames come again. The faces follow as if they were new.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `after` | number | seconds without a camera |
//!
//! **`temperature`**: the machine has become too hot, and about every other
//! frame is passed over, or it is cool again.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `hot` | boolean | true: frames are passed over from now on |
//! | `reason` | string | for people |
//!
//! **`dropped`**: the reader of this output was too slow, or the output failed
//! for a while, and lines were left out here: repetitions first, then the oldest.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `lines` | integer | how many |
//!
//! **`goodbye`**: the last line. If it is missing, the process was killed, or
//! the reader was too slow.
//!
//! | Key | Type | Meaning |
//! |---|---|---|
//! | `reason` | string | a signal's name, `end of recording` or an error |
//! | `frames` | integer | frames processed |
//! | `counters` | object | what else was counted, by name |
//!
//! Numbers that are no integers have at most 4 decimals (times: 3).
//!
//! # What happens when an output fails
//!
//! | Failure | What happens |
//! |---|---|
//! | standard output closed | logged once; no more events there |
//! | standard output not read | its queue of [`QUEUE`] lines fills, then lines are dropped |
//! | disk full, or another error of the file | logged once; tried again at growing intervals of up to 5 s; a line cut short is continued, so that no line is broken |
//! | power cut, or a disk that stays full until the end | the file may end inside a line; the next start begins a new one |
//! | reader of the socket too slow | it is dropped when [`READER_QUEUE`] bytes wait for it beyond what the kernel buffers; others lose nothing |
//! | more than [`READERS`] readers | further ones are turned away |
//!
//! With a recording (`live` false) lines are worth more than time, so the loop
//! waits for a full queue, at most a second, before it drops lines; an output
//! that let it wait in vain is not waited for again until it moves.

mod line;
mod queue;
mod socket;
mod stream;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use crate::decide::{Decision, State};
use crate::frame::Timestamp;
use crate::output::{Camera, Farewell, Output, Report};
use line::{Body, Event, Goodbye};
use queue::Queue;

pub use line::Hello;
pub use queue::QUEUE;
pub use socket::{READER_QUEUE, READERS};

/// The version of the schema.
pub const SCHEMA: u32 = 1;

/// How long [`Output::finish`] waits for lines to be written: long enough for
/// every healthy output, short enough for SIGTERM.
const FINISH_LIVE: Duration = Duration::from_millis(150);
/// The same for a recording, where lines are worth more than time.
const FINISH_RECORDED: Duration = Duration::from_secs(2);
/// How long the loop waits for room in a queue, with a recording.
const PATIENCE_RECORDED: Duration = Duration::from_secs(1);

/// The board file's `[events]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// Lines on standard output. Default: false.
    pub stdout: bool,
    /// A file that lines are appended to; created with mode 0640. Default: none.
    pub file: Option<PathBuf>,
    /// A Unix stream socket to make, with mode 0660. Default: none.
    pub socket: Option<PathBuf>,
    /// Repeat the state after this time without a change. Default: never.
    pub period: Option<Duration>,
}

/// Why events cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("event file {}: {source}", .path.display())]
    File {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "event socket {}: the path has {} bytes, and a socket's may have {} at most",
        .path.display(), .path.as_os_str().len(), socket::PATH_LONGEST
    )]
    SocketPath { path: PathBuf },
    #[error(
        "event socket {}: something that is no socket is there; remove it or choose another path",
        .path.display()
    )]
    NoSocket { path: PathBuf },
    #[error(
        "event socket {}: another process listens there; end it or choose another path",
        .path.display()
    )]
    SocketInUse { path: PathBuf },
    #[error("event socket {}: {doing}: {source}", .path.display())]
    Socket {
        path: PathBuf,
        doing: &'static str,
        source: std::io::Error,
    },
    #[error("standard output: {0}")]
    Stdout(std::io::Error),
    #[error("cannot start a thread for events: {0}")]
    Thread(std::io::Error),
}

/// Events from reports.
///
/// Allocates nothing a frame once it has seen as many faces as it will see at
/// once; the queues have a fixed size.
#[derive(Debug)]
pub struct Events {
    queues: Vec<Arc<Queue>>,
    /// Nothing is ever sent: it reports that all threads have dropped their end.
    ended: mpsc::Receiver<()>,
    live: bool,
    period: Option<Duration>,
    shown: Shown,
    faces: Vec<Face>,
    /// When the state was last sent.
    sent: Timestamp,
    now: Timestamp,
    frame: u64,
    /// The last frame among `frames`, which counts those processed.
    counted: Option<u64>,
    frames: u64,
    goodbye: Option<Goodbye>,
    finished: bool,
}

/// What the last lines told, faces aside.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Nothing,
    Faces,
    None { since: Timestamp },
    Lost { since: Timestamp, reason: Arc<str> },
}

/// What the last line told about a face.
#[derive(Clone, Copy, Debug)]
struct Face {
    track: u32,
    state: State,
    leading: bool,
    /// Whether the present report has it.
    here: bool,
}

impl Events {
    /// Opens what `options` asks for and says hello there.
    ///
    /// # Errors
    /// A file or a socket that cannot be made.
    pub fn new(options: &Options, hello: Hello) -> Result<Self, Error> {
        let live = hello.live;
        let period = options.period.filter(|period| !period.is_zero());
        let now = if live {
            Timestamp::now()
        } else {
            Timestamp::default()
        };
        let hello = Event {
            time: now,
            wall: live.then(SystemTime::now),
            frame: 0,
            body: Body::Hello(Arc::new((hello, period.unwrap_or_default()))),
        };
        let (running, ended) = mpsc::channel::<()>();
        let mut events = Self {
            queues: Vec::new(),
            ended,
            live,
            period,
            shown: Shown::Nothing,
            faces: Vec::new(),
            sent: now,
            now,
            frame: 0,
            counted: None,
            frames: 0,
            goodbye: None,
            finished: false,
        };
        // Everything that can fail comes before the first thread.
        let file = options.file.as_deref().map(stream::file).transpose()?;
        let stdout = options.stdout.then(stream::stdout).transpose()?;
        let listener = options
            .socket
            .as_deref()
            .map(socket::Listener::bind)
            .transpose()?;
        for stream in [stdout, file].into_iter().flatten() {
            events.start("events", running.clone(), |queue| stream.run(queue))?;
        }
        if let Some(listener) = listener {
            events.start("events-socket", running, |queue| listener.run(queue))?;
        }
        events.push(hello);
        Ok(events)
    }

    fn start(
        &mut self,
        name: &str,
        running: mpsc::Sender<()>,
        run: impl FnOnce(&Queue) + Send + 'static,
    ) -> Result<(), Error> {
        let queue = Arc::new(Queue::new().map_err(Error::Thread)?);
        let thread = Arc::clone(&queue);
        std::thread::Builder::new()
            .name(name.to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                let _running = running;
                run(&thread);
            })
            .map_err(Error::Thread)?;
        self.queues.push(queue);
        Ok(())
    }

    fn push(&self, event: Event) {
        let patience = if self.live || self.finished {
            Duration::ZERO
        } else {
            PATIENCE_RECORDED
        };
        for queue in &self.queues {
            queue.push(event.clone(), patience);
        }
    }

    fn send(&self, body: Body) {
        self.push(Event {
            time: self.now,
            wall: self.live.then(SystemTime::now),
            frame: self.frame,
            body,
        });
    }

    /// Whether the state is to be repeated now. A clock that was set back, by a
    /// recording that starts again, begins a new period.
    fn is_due(&mut self) -> bool {
        if self.now < self.sent {
            self.sent = self.now;
        }
        self.period
            .is_some_and(|period| self.now.since(self.sent) >= period)
    }

    fn lost(&mut self, reason: &str) {
        let due = self.is_due();
        let (since, reason, change) = match &self.shown {
            // The first reason is kept: later ones tell of attempts to reopen.
            Shown::Lost { since, reason } => (*since, Arc::clone(reason), false),
            _ => (self.now, Arc::from(reason), true),
        };
        if change || due {
            self.faces.clear();
            self.sent = self.now;
            self.shown = Shown::Lost {
                since,
                reason: Arc::clone(&reason),
            };
            self.send(Body::CameraLost {
                reason,
                since,
                change,
            });
        }
    }

    fn none(&mut self) {
        let due = self.is_due();
        let (since, change) = match self.shown {
            Shown::None { since } => (since, false),
            _ => (self.now, true),
        };
        if change || due {
            self.faces.clear();
            self.sent = self.now;
            self.shown = Shown::None { since };
            self.send(Body::None { since, change });
        }
    }

    /// `decisions` are those about a face, the leading one first.
    fn faces<'a>(
        &mut self,
        decisions: impl Iterator<Item = &'a Decision> + Clone,
        size: (u32, u32),
    ) {
        let due = self.is_due();
        for face in &mut self.faces {
            face.here = decisions.clone().any(|d| d.track == face.track);
        }
        for face in self.faces.iter().filter(|face| !face.here) {
            self.send(Body::Gone { track: face.track });
        }
        self.faces.retain(|face| face.here);

        let mut sent = false;
        for (index, decision) in decisions.enumerate() {
            let face = Face {
                track: decision.track,
                state: decision.state,
                leading: index == 0,
                here: true,
            };
            let known = self.faces.iter_mut().find(|f| f.track == face.track);
            let change = match known {
                Some(known) => {
                    let change = known.state != face.state || known.leading != face.leading;
                    *known = face;
                    change
                }
                None => {
                    self.faces.push(face);
                    true
                }
            };
            if change || due {
                sent = true;
                self.send(Body::Face {
                    decision: *decision,
                    leading: face.leading,
                    size,
                    change,
                });
            }
        }
        self.shown = Shown::Faces;
        if sent {
            self.sent = self.now;
        }
    }
}

impl Output for Events {
    fn update(&mut self, report: &Report<'_>) {
        if self.finished || self.queues.is_empty() {
            return;
        }
        self.now = report.timestamp;
        match report.camera {
            Camera::Starting => {}
            Camera::Lost { reason } => {
                self.frame = report.frame;
                self.lost(reason);
            }
            Camera::Streaming => {
                if self.counted != Some(report.frame) {
                    self.counted = Some(report.frame);
                    self.frames += 1;
                }
                self.frame = report.frame;
                if let Shown::Lost { since, .. } = self.shown {
                    self.send(Body::CameraBack {
                        after: self.now.since(since),
                    });
                    self.shown = Shown::Nothing;
                }
                let mut faces = report
                    .decisions
                    .iter()
                    .filter(|decision| decision.state != State::None)
                    .peekable();
                if faces.peek().is_none() {
                    self.none();
                } else {
                    self.faces(faces, report.frame_size);
                }
            }
        }
    }

    /// Keeps what the last line is to say; without it, that gives no reason but
    /// `end`, counts the frames and has no counters.
    fn temperature(&mut self, at: Timestamp, hot: bool, reason: &str) {
        self.now = at;
        self.send(Body::Temperature {
            hot,
            reason: Arc::from(reason),
        });
    }

    fn farewell(&mut self, farewell: &Farewell<'_>) {
        self.goodbye = Some(Goodbye {
            reason: farewell.reason.to_owned(),
            frames: farewell.frames,
            counters: farewell
                .counters
                .iter()
                .map(|&(name, count)| (name.to_owned(), count))
                .collect(),
        });
    }

    /// Says goodbye and waits for what is queued to be written: with a live
    /// source at most 150 ms, with a recording at most 2 s.
    fn finish(&mut self) {
        if self.finished {
            return;
        }
        self.finished = true;
        if self.live {
            self.now = Timestamp::now();
        }
        let goodbye = self.goodbye.take().unwrap_or_else(|| Goodbye {
            reason: "end".to_owned(),
            frames: self.frames,
            counters: Vec::new(),
        });
        self.send(Body::Goodbye(Arc::new(goodbye)));
        for queue in &self.queues {
            queue.close();
        }
        let deadline = Instant::now()
            + if self.live {
                FINISH_LIVE
            } else {
                FINISH_RECORDED
            };
        // Ends with an error in either case: all threads are through, or the
        // time is over. A thread that hangs in a write ends with the process.
        let _ = self
            .ended
            .recv_timeout(deadline.saturating_duration_since(Instant::now()));
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Without a goodbye: whoever drops events without finishing them has
        // run into an error.
        for queue in &self.queues {
            queue.close();
        }
    }
}
