//! Linux cameras: a small state machine around the kernel.
//!
//! ```text
//!            device found, format granted
//!   ┌──────┐ ───────────────────────────▶ ┌───────────┐
//!   │ Lost │                              │ Streaming │
//!   └──────┘ ◀─────────────────────────── └───────────┘
//!      │  ▲   unplugged, stalled, error     frames, the newest one first
//!      └──┘ tries again, every 500 ms at most
//! ```
//!
//! Every fault ends in the same full close and reopen, by name: the node's
//! number may have changed and the camera be another one of its kind. This is
//! what ustreamer does, and it is what keeps the many ways in which a USB
//! camera fails from needing a way each.
//!
//! The kernel is behind two traits ([`Kernel`] opens, [`Stream`] delivers), so
//! that each fault is a unit test. Of the crate `v4l` the structures and
//! request numbers are used, not its devices and streams: `MmapStream::next`
//! queues a buffer after a time-out that the kernel still owns (EINVAL for
//! ever after), its `Drop` panics where a dying camera answers STREAMOFF with
//! an error other than ENODEV, its capabilities and controls panic on names
//! that are cut within a UTF-8 sequence and on types that it does not know,
//! and it calls ioctl by number, out of libcamerify's reach. `sys` holds the
//! few unsafe lines that this costs.

pub mod formats;
mod negotiate;
pub mod node;
mod sys;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use log::{debug, info, warn};

use self::negotiate::Ask;
use super::convert::Layout;
use super::{CaptureError, Captured, Frame, Options, PixelFormat, Source};
use crate::fault::Repeated;
use crate::frame::Timestamp;
use crate::image::{LumaImage, jpeg};

/// The wait before the first attempt to reopen; doubled up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// Webcams take a second or two from STREAMON to their first frame.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// A driver's timestamp further off than this is on another clock.
const WRONG_CLOCK: Duration = Duration::from_secs(60);

/// More ready buffers than any driver has: one that always has another would
/// keep us for ever.
const MAX_READY: usize = 64;

/// How the camera is named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    Path(PathBuf),
    Card(String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Path(path) => path.display().fmt(f),
            Self::Card(name) => write!(f, "card:{name}"),
        }
    }
}

/// What the driver agreed to.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// Node, card and driver.
    pub device: String,
    pub layout: Layout,
    /// Frames a second, where the driver says.
    pub fps: Option<f64>,
}

impl std::fmt::Display for Granted {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Layout {
            format,
            width,
            height,
            ..
        } = self.layout;
        write!(f, "{}: {format} {width}x{height}", self.device)?;
        match self.fps {
            Some(fps) => write!(f, " at {fps:.1} fps"),
            None => Ok(()),
        }
    }
}

/// Why a camera was not opened.
#[derive(Debug)]
pub enum Refusal {
    /// Absent, busy, or failing: it may be well later.
    NotYet(String),
    /// It will never be as asked for.
    Never(CaptureError),
}

/// A buffer that the driver has filled.
#[derive(Clone, Copy, Debug)]
pub struct Filled {
    pub index: usize,
    /// Bytes of it that hold data.
    pub used: usize,
    /// The driver says that the data is not to be trusted.
    pub damaged: bool,
    /// The driver's count of frames since the start of the stream.
    pub sequence: u32,
    /// On `CLOCK_MONOTONIC`, where the driver says that it is.
    pub timestamp: Option<Timestamp>,
}

/// What waiting for a buffer came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Data,
    Nothing,
    /// The driver reports an error, which dequeuing may tell.
    Error,
}

/// A camera that streams. Dropping it closes it in full.
pub trait Stream {
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready>;
    /// The oldest filled buffer, `None` if there is none. Never waits.
    fn dequeue(&mut self) -> io::Result<Option<Filled>>;
    /// The bytes of a dequeued buffer.
    fn bytes(&self, filled: &Filled) -> &[u8];
    /// Gives a dequeued buffer back to the driver.
    fn requeue(&mut self, filled: Filled) -> io::Result<()>;
}

/// What opens cameras, and the time.
pub trait Kernel {
    type Stream: Stream;
    /// Finds the camera, agrees on a format, sets its controls and starts it.
    /// A control that cannot be set is an error if `strict`, else a warning.
    fn open(
        &mut self,
        target: &Target,
        ask: &Ask,
        strict: bool,
    ) -> Result<(Self::Stream, Granted), Refusal>;
    fn now(&self) -> Timestamp;
    fn sleep(&mut self, time: Duration);
}

enum State<S> {
    Streaming {
        stream: S,
        granted: Granted,
        /// When a good frame was last seen, or streaming began.
        last_seen: Timestamp,
        /// No frame has come since it was opened.
        starting: bool,
    },
    Lost {
        next_try: Timestamp,
        wait: Duration,
    },
}

/// What a step of the state machine came to.
enum Outcome {
    Frame(Timestamp),
    Waiting,
    Lost,
}

/// A V4L2 camera by name, however often it comes and goes.
pub struct Camera<K: Kernel> {
    kernel: K,
    target: Target,
    ask: Ask,
    stall_timeout: Duration,
    state: State<K::Stream>,
    /// Whether a frame has come since the camera was last lost, or absent at
    /// the start.
    back: bool,
    /// Why it is lost, if it is.
    reason: String,
    described: String,
    image: LumaImage,
    scratch: Vec<u8>,
    sequence: u64,
    driver_sequence: Option<u32>,
    last_timestamp: Timestamp,
    broken: Repeated,
}

impl<K: Kernel> Camera<K> {
    /// Opens the camera, or begins to wait for it where it is absent or busy.
    ///
    /// # Errors
    /// What waiting would not mend.
    pub fn open(mut kernel: K, target: Target, options: &Options) -> Result<Self, CaptureError> {
        let ask = Ask {
            size: options.size,
            fps: options.fps,
            format: options.format,
            controls: options.controls.clone(),
        };
        let (state, reason) = match kernel.open(&target, &ask, true) {
            Ok((stream, granted)) => {
                info!("camera {granted}");
                (streaming(stream, granted, kernel.now()), String::new())
            }
            Err(Refusal::NotYet(reason)) => {
                warn!("camera {target}: {reason}; waiting for it");
                let state = State::Lost {
                    next_try: later(kernel.now(), FIRST_RETRY),
                    wait: FIRST_RETRY,
                };
                (state, reason)
            }
            Err(Refusal::Never(error)) => return Err(error),
        };
        let described = match &state {
            State::Streaming { granted, .. } => granted.to_string(),
            State::Lost { .. } => target.to_string(),
        };
        Ok(Self {
            back: matches!(state, State::Streaming { .. }),
            broken: Repeated::new(format!("camera {target}: frame dropped")),
            kernel,
            target,
            ask,
            stall_timeout: options.stall_timeout,
            state,
            reason,
            described,
            image: LumaImage::default(),
            scratch: Vec::new(),
            sequence: 0,
            driver_sequence: None,
            last_timestamp: Timestamp::default(),
        })
    }

    fn step(&mut self, deadline: Timestamp) -> Outcome {
        loop {
            let outcome = match self.state {
                State::Streaming { .. } => self.frame(deadline),
                State::Lost { next_try, .. } => {
                    let now = self.kernel.now();
                    if now < next_try {
                        let until = next_try.min(deadline);
                        self.kernel.sleep(until.since(now));
                    }
                    if self.kernel.now() >= next_try {
                        self.reopen();
                    }
                    None
                }
            };
            match outcome {
                // A camera that has come back is back with its first frame.
                Some(Outcome::Waiting) if !self.back => return Outcome::Lost,
                Some(outcome) => return outcome,
                None if self.kernel.now() >= deadline => return Outcome::Lost,
                None => {}
            }
        }
    }

    fn reopen(&mut self) {
        match self.kernel.open(&self.target, &self.ask, false) {
            Ok((stream, granted)) => {
                info!("camera {granted}");
                self.described = granted.to_string();
                self.driver_sequence = None;
                self.state = streaming(stream, granted, self.kernel.now());
            }
            Err(refusal) => {
                let reason = match refusal {
                    Refusal::NotYet(reason) => reason,
                    Refusal::Never(error) => error.to_string(),
                };
                if reason != self.reason {
                    warn!("camera {}: {reason}", self.target);
                    self.reason = reason;
                }
                if let State::Lost { next_try, wait } = &mut self.state {
                    *wait = (*wait * 2).min(LAST_RETRY);
                    *next_try = later(self.kernel.now(), *wait);
                }
            }
        }
    }

    /// Closes the camera in full.
    fn lose(&mut self, reason: String) -> Option<Outcome> {
        warn!("camera {}: lost: {reason}", self.target);
        self.broken.cleared();
        self.reason = reason;
        self.back = false;
        self.state = State::Lost {
            next_try: later(self.kernel.now(), FIRST_RETRY),
            wait: FIRST_RETRY,
        };
        Some(Outcome::Lost)
    }

    /// Waits for a good frame and converts it. `None` never: it is the shape
    /// that `step` takes.
    fn frame(&mut self, deadline: Timestamp) -> Option<Outcome> {
        let mut error_reported = false;
        loop {
            match self.drain() {
                Ok(Some(timestamp)) => {
                    self.back = true;
                    self.reason.clear();
                    return Some(Outcome::Frame(timestamp));
                }
                Ok(None) if error_reported => {
                    return self.lose("the driver reports an error".to_owned());
                }
                Ok(None) => {}
                Err(error) => return self.lose(explain(&error)),
            }
            let now = self.kernel.now();
            let State::Streaming {
                stream,
                last_seen,
                starting,
                ..
            } = &mut self.state
            else {
                return None;
            };
            let limit = if *starting {
                START_TIMEOUT.max(self.stall_timeout)
            } else {
                self.stall_timeout
            };
            if now.since(*last_seen) >= limit {
                return self.lose(format!("no usable frame for {:.1} s", limit.as_secs_f32()));
            }
            if now >= deadline {
                return Some(Outcome::Waiting);
            }
            let until = deadline.min(later(*last_seen, limit));
            match stream.wait(until.since(now)) {
                Ok(ready) => error_reported = ready == Ready::Error,
                // A signal: let the caller look what it was.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return Some(Outcome::Waiting),
                Err(error) => return self.lose(explain(&error)),
            }
        }
    }

    /// Takes all filled buffers from the driver, and of the good ones the
    /// newest into `image`. All of them are with the driver again afterwards.
    fn drain(&mut self) -> io::Result<Option<Timestamp>> {
        let now = self.kernel.now();
        let State::Streaming {
            stream,
            granted,
            last_seen,
            starting,
        } = &mut self.state
        else {
            return Ok(None);
        };
        let mut newest: Option<Filled> = None;
        for _ in 0..MAX_READY {
            let Some(filled) = stream.dequeue()? else {
                break;
            };
            self.sequence += advance(&mut self.driver_sequence, filled.sequence);
            let need = match granted.layout.format {
                PixelFormat::Mjpg => 1,
                _ => granted.layout.needed(),
            };
            let superseded = if filled.damaged {
                self.broken.occurred(&"the driver marks it as damaged");
                Some(filled)
            } else if filled.used < need {
                let used = filled.used;
                self.broken
                    .occurred(&format_args!("{used} of {need} bytes came"));
                Some(filled)
            } else {
                newest.replace(filled)
            };
            if let Some(superseded) = superseded {
                stream.requeue(superseded)?;
            }
        }
        let Some(filled) = newest else {
            return Ok(None);
        };
        let timestamp = filled
            .timestamp
            .filter(|&t| t.since(now) < Duration::from_secs(1) && now.since(t) < WRONG_CLOCK)
            // Left out by the driver.
            .filter(|t| !t.0.is_zero())
            .unwrap_or(now);
        // A frame from before a long absence of ours says nothing about now.
        if now.since(timestamp) > self.stall_timeout {
            *last_seen = now;
            stream.requeue(filled)?;
            return Ok(None);
        }
        let converted = convert(
            &granted.layout,
            stream.bytes(&filled),
            &mut self.scratch,
            &mut self.image,
        );
        stream.requeue(filled)?;
        match converted {
            Ok(()) => {
                *last_seen = now;
                *starting = false;
                // Drivers' clocks jitter; time does not go back.
                self.last_timestamp = self.last_timestamp.max(timestamp);
                Ok(Some(self.last_timestamp))
            }
            Err(reason) => {
                self.broken.occurred(&reason);
                Ok(None)
            }
        }
    }
}

fn streaming<S>(stream: S, granted: Granted, now: Timestamp) -> State<S> {
    State::Streaming {
        stream,
        granted,
        last_seen: now,
        starting: true,
    }
}

fn convert(
    layout: &Layout,
    bytes: &[u8],
    scratch: &mut Vec<u8>,
    image: &mut LumaImage,
) -> Result<(), String> {
    (image.width, image.height) = (layout.width, layout.height);
    if layout.format == PixelFormat::Mjpg {
        let size = jpeg::luma(bytes, scratch, &mut image.pixels).map_err(|e| e.to_string())?;
        if size != (layout.width, layout.height) {
            return Err(format!("a JPEG of {}x{}", size.0, size.1));
        }
        return Ok(());
    }
    image
        .pixels
        .resize(layout.width as usize * layout.height as usize, 0);
    layout
        .luma(bytes, &mut image.pixels)
        .map_err(|short| short.to_string())
}

/// By how much the sequence goes on: the driver's count tells of frames that
/// it dropped itself. Drivers that do not count, or start anew, count as one.
fn advance(previous: &mut Option<u32>, sequence: u32) -> u64 {
    let step = previous.map_or(1, |p| sequence.wrapping_sub(p));
    *previous = Some(sequence);
    if (1..10_000).contains(&step) {
        u64::from(step)
    } else {
        1
    }
}

fn later(time: Timestamp, by: Duration) -> Timestamp {
    Timestamp(time.0.saturating_add(by))
}

fn explain(error: &io::Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENODEV) => "it has been unplugged".to_owned(),
        _ => error.to_string(),
    }
}

impl<K: Kernel> Source for Camera<K> {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = later(self.kernel.now(), timeout);
        match self.step(deadline) {
            Outcome::Frame(timestamp) => match self.image.try_view() {
                Ok(luma) => Captured::Frame(Frame {
                    luma,
                    timestamp,
                    sequence: self.sequence,
                }),
                Err(error) => {
                    debug!("camera {}: {error}", self.target);
                    Captured::Waiting
                }
            },
            Outcome::Waiting => Captured::Waiting,
            Outcome::Lost => Captured::Lost {
                reason: &self.reason,
            },
        }
    }

    fn description(&self) -> String {
        self.described.clone()
    }

    fn is_live(&self) -> bool {
        true
    }
}

#[cfg(test)]
mod tests;
