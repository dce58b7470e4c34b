//! Events as JSON Lines: on standard output, in a file, and on a Unix socket
//! for several readers.
//!
//! Each of the three has a thread of its own and a bounded queue in front of
//! it, because each can hang: a pipe that nobody reads, a busy card, a reader
//! that sleeps. The loop only puts events into queues.
//!
//! The rest of this page is `docs/events.md`: the schema, and what happens when
//! an output fails.
//!
#![doc = include_str!("../../../docs/events.md")]

mod fatigue;
mod file;
mod line;
mod numbers;
mod options;
mod queue;
mod socket;
mod stream;
mod target;

use std::sync::Arc;
use std::sync::mpsc;
use std::time::{Duration, Instant, SystemTime};

use crate::decide::Label;
use crate::frame::Timestamp;
use crate::health::Health;
use crate::host::unix_socket;
use crate::output::{Camera, Changes, FaceReport, Heat, Output, PausedBy, Report, Shutdown};
use crate::track::BySlot;
use line::{Body, Detail, Event, Goodbye};
use queue::Queue;

pub use line::{FatigueLine, Hello, SCHEMA};
pub use options::{Error, Options};
pub use queue::QUEUE;
pub use socket::{READER_QUEUE, READERS};

/// How long [`Output::finish`] waits for lines to be written: long enough for
/// every output that works, short enough for SIGTERM.
const FINISH_LIVE: Duration = Duration::from_millis(150);

/// The same for a recording, for which complete output matters more than time.
const FINISH_RECORDED: Duration = Duration::from_secs(2);

/// How long the loop waits for room in a queue, with a recording.
const PATIENCE_RECORDED: Duration = Duration::from_secs(1);

/// Opens the event file and creates the socket, to check whether the daemon can
/// do so. Removes both again.
///
/// # Errors
/// Each of the two that cannot be opened.
#[must_use]
pub fn probe(options: &Options) -> Vec<Error> {
    let file = options
        .file
        .as_deref()
        .map(|path| file::probe(path, options.max_bytes));
    let socket = options
        .socket
        .as_deref()
        .map(|path| Ok(socket::Server::bind(path).map(drop)?));
    [file, socket]
        .into_iter()
        .flatten()
        .filter_map(Result::err)
        .collect()
}

/// Events from reports.
///
/// Allocates nothing per frame; the queues have a fixed size.
#[derive(Debug)]
pub struct Events {
    queues: Vec<Arc<Queue>>,
    /// Nothing is ever sent. It reports when all threads have dropped their
    /// end.
    ended: mpsc::Receiver<()>,
    live: bool,
    period: Option<Duration>,
    detail: Detail,
    shown: Shown,
    told: BySlot<Option<Told>>,
    was_hot: bool,
    /// When the state was last sent.
    sent: Timestamp,
    now: Timestamp,
    frame: u64,
    /// Frames processed.
    frames: u64,
    goodbye: Option<Goodbye>,
    finished: bool,
    /// Removed after the last line.
    socket_file: Option<unix_socket::SocketFile>,
}

/// Sends the readers of [`Events`] the events that do not come from reports:
/// the daemon's health, the preview's viewers, and the results of reloads.
#[derive(Clone, Debug)]
pub struct Announcer {
    queues: Vec<Arc<Queue>>,
    is_live: bool,
    period: Duration,
}

impl Announcer {
    /// Sends the result of a reload, and then `hello` with the settings in
    /// force. `error` is the reason why the old board file stays in force, if
    /// it does. `at` is the time and the number of the last frame.
    pub fn reloaded(&self, error: Option<&str>, hello: Hello, at: (Timestamp, u64)) {
        let config = Arc::from(hello.config.as_str());
        let error = error.map(Arc::from);
        self.announce(at, Body::Reload { config, error });
        self.announce(at, Body::Hello(Arc::new((hello, self.period))));
    }

    /// Reports the daemon's health. With a recording it reports nothing, so
    /// that it always gives the same lines. `change`: whether a change is the
    /// reason for this report. Allocates nothing.
    pub fn health(&self, health: Health, change: bool, at: (Timestamp, u64)) {
        if self.is_live {
            self.announce(at, Body::Health { health, change });
        }
    }

    /// Says that somebody watches the preview from now on, or that nobody does any
    /// more. Allocates nothing.
    pub fn preview(&self, watched: bool, at: (Timestamp, u64)) {
        self.announce(at, Body::Preview { watched });
    }

    fn announce(&self, (time, frame): (Timestamp, u64), body: Body) {
        let event = Event {
            time: if self.is_live { Timestamp::now() } else { time },
            wall: self.is_live.then(SystemTime::now),
            frame,
            body,
        };
        for queue in &self.queues {
            queue.push(event.clone(), Duration::ZERO);
        }
    }
}

/// The state in the last lines, without faces.
#[derive(Clone, Debug, PartialEq)]
enum Shown {
    Nothing,
    Faces,
    None { since: Timestamp },
    Lost { since: Timestamp, reason: Arc<str> },
    Paused { since: Timestamp, by: PausedBy },
}

/// The state of a face in its last line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    label: Label,
    is_leading: bool,
    facing: bool,
}

impl Events {
    /// Opens the outputs in `options` and sends `hello` to them.
    ///
    /// # Errors
    /// A file or a socket cannot be created.
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
            detail: Detail {
                landmarks: options.landmarks,
                affect: options.affect,
            },
            shown: Shown::Nothing,
            told: BySlot::default(),
            was_hot: false,
            sent: now,
            now,
            frame: 0,
            frames: 0,
            goodbye: None,
            finished: false,
            socket_file: None,
        };
        // Everything that can fail comes before the first thread is started.
        let file = options
            .file
            .as_deref()
            .map(|path| stream::file(path, options.max_bytes))
            .transpose()?;
        let stdout = options.stdout.then(stream::stdout).transpose()?;
        let listener = options
            .socket
            .as_deref()
            .map(socket::Server::bind)
            .transpose()?;
        if let Some(stream) = stdout {
            events.start("events", running.clone(), |queue| stream.run(queue))?;
        }
        if let Some(stream) = file {
            events.start("events", running.clone(), |queue| stream.run(queue))?;
        }
        if let Some((listener, file)) = listener {
            events.socket_file = Some(file);
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

    /// A handle that sends further events to the readers of these outputs.
    #[must_use]
    pub fn announcer(&self) -> Announcer {
        Announcer {
            queues: self.queues.clone(),
            is_live: self.live,
            period: self.period.unwrap_or_default(),
        }
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

    /// Whether the state must be repeated now. If the clock goes back, because
    /// a recording starts again, a new period begins.
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
            // The first reason is kept; later ones are about attempts to
            // reopen.
            Shown::Lost { since, reason } => (*since, Arc::clone(reason), false),
            _ => (self.now, Arc::from(reason), true),
        };
        if change || due {
            self.told.clear();
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

    fn paused(&mut self, by: PausedBy) {
        let due = self.is_due();
        let (since, change) = match self.shown {
            Shown::Paused { since, by: before } => (since, before != by),
            _ => (self.now, true),
        };
        if change || due {
            self.told.clear();
            self.sent = self.now;
            self.shown = Shown::Paused { since, by };
            self.send(Body::Paused { by, since, change });
        }
    }

    fn none(&mut self, nobody_since: Option<Timestamp>) {
        let due = self.is_due();
        let (since, change) = match self.shown {
            Shown::None { since } => (since, false),
            _ => (nobody_since.unwrap_or(self.now), true),
        };
        if change || due {
            self.told.clear();
            self.sent = self.now;
            self.shown = Shown::None { since };
            self.send(Body::None { since, change });
        }
    }

    fn faces(&mut self, faces: &[FaceReport], size: (u32, u32)) {
        let due = self.is_due();
        for (gone, _) in self.told.iter() {
            if faces.iter().all(|face| face.key() != gone) {
                self.send(Body::Gone { track: gone.id });
            }
        }
        self.told.keep_only(faces.iter().map(FaceReport::key));

        let mut sent = false;
        for (index, face) in faces.iter().enumerate() {
            let facing = face.decision.facing.unwrap_or_default();
            let now = Told {
                label: face.decision.expression.label,
                is_leading: index == 0,
                facing: facing.is_facing,
            };
            let before = self.told.of(face.key()).replace(now);
            let change = before.is_none_or(|before| {
                (before.label, before.is_leading) != (now.label, now.is_leading)
            });
            if change || due {
                sent = true;
                self.send(Body::Face {
                    face: *face,
                    leading: now.is_leading,
                    size,
                    change,
                    detail: self.detail,
                });
            }
            if before.is_some_and(|before| before.facing) != now.facing {
                self.send(Body::Attention {
                    track: face.id,
                    facing,
                });
            }
        }
        self.shown = Shown::Faces;
        if sent {
            self.sent = self.now;
        }
    }

    fn temperature(&mut self, heat: Heat<'_>) {
        if self.was_hot != heat.is_hot {
            self.was_hot = heat.is_hot;
            self.send(Body::Temperature {
                hot: heat.is_hot,
                reason: Arc::from(heat.reason),
            });
        }
    }

    /// Keeps the contents of the last line. Without them, the last line has the
    /// reason `end`, the number of frames and no counters.
    fn note_shutdown(&mut self, shutdown: &Shutdown<'_>) {
        self.goodbye = Some(Goodbye {
            reason: shutdown.reason.to_owned(),
            frames: shutdown.frames,
            counters: shutdown
                .counters
                .iter()
                .map(|&(name, count)| (name.to_owned(), count))
                .collect(),
        });
    }

    /// Sends the events about eyes. Their times are those of frames, also for
    /// events that happened without a frame.
    fn fatigue(&mut self, report: &Report<'_>) {
        let Some(fatigue) = report.fatigue.filter(|fatigue| fatigue.is_new) else {
            return;
        };
        for event in fatigue.events {
            self.push(Event {
                time: event.time,
                wall: self.live.then(SystemTime::now),
                frame: report.frame,
                body: Body::Fatigue(event.what),
            });
        }
    }

    fn tell(&mut self, report: &Report<'_>) {
        self.tell_all_but_eyes(report);
        self.fatigue(report);
    }

    fn tell_all_but_eyes(&mut self, report: &Report<'_>) {
        self.now = report.timestamp;
        self.temperature(report.heat);
        match report.camera {
            Camera::Starting => {}
            Camera::Paused { by } => self.paused(by),
            Camera::Lost { reason } => {
                self.frame = report.frame;
                self.lost(reason);
            }
            Camera::Streaming => {
                self.frames += u64::from(report.is_new);
                self.frame = report.frame;
                if let Shown::Lost { since, .. } | Shown::Paused { since, .. } = self.shown {
                    self.send(Body::CameraBack {
                        after: self.now.since(since),
                    });
                    self.shown = Shown::Nothing;
                }
                if report.faces.is_empty() {
                    self.none(report.nobody_since);
                } else {
                    self.faces(report.faces, report.frame_size);
                }
            }
        }
    }
}

impl Output for Events {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        if self.finished || self.queues.is_empty() {
            return Changes::NONE;
        }
        match &report.shutdown {
            Some(shutdown) => self.note_shutdown(shutdown),
            None => self.tell(report),
        }
        Changes::NONE
    }

    fn reopen_files(&mut self) {
        for queue in &self.queues {
            queue.ask_reopen();
        }
    }

    /// Sends `goodbye` and waits until the queues are written: with a live
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
        // This always returns an error: all threads have ended, or the time is
        // over. A thread that hangs in a write ends with the process.
        let _ = self
            .ended
            .recv_timeout(deadline.saturating_duration_since(Instant::now()));
        self.socket_file = None;
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        // Without `goodbye`: if events are dropped without `finish`, there was
        // an error.
        for queue in &self.queues {
            queue.close();
        }
    }
}
