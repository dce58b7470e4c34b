//! The state machine of a camera that may be unplugged and come back.
//!
//! ```text
//!   ┌──────┐  after a pause  ┌─────────┐  it is open  ┌───────────┐
//!   │ Lost │ ──────────────▶ │ Opening │ ───────────▶ │ Streaming │
//!   └──────┘ ◀────────────── └─────────┘              └───────────┘
//!       ▲       it is not                                   │
//!       └───────────────────────────────────────────────────┘
//!                 unplugged, stalled, an error
//! ```
//!
//! Every fault is handled in the same way: the camera is closed completely and
//! opened again by its name, because the node's number may have changed.
//! ustreamer does the same. So the many faults of USB cameras need no handling
//! of their own.

use std::io;
use std::time::Duration;

use log::{debug, info, warn};

use super::backend::{Filled, Granted, Ready, Refusal, Stream, Target, V4l2Backend};
use crate::capture::convert::Layout;
use crate::capture::stall::{Broken, Stall};
use crate::capture::{CaptureError, Captured, Counts, Frame, Options, PixelFormat, Source};
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::image::{LumaImage, jpeg};
use crate::incident;

/// The wait before the first attempt to reopen; doubled up to the last.
const FIRST_RETRY: Duration = Duration::from_millis(100);
const LAST_RETRY: Duration = Duration::from_millis(500);

/// Webcams need a second or two from STREAMON to their first frame.
const START_TIMEOUT: Duration = Duration::from_secs(5);

/// How long the start waits until a camera is open before it continues without
/// it. A working camera needs less; only a driver that hangs, or libcamera's
/// layer at its first start, needs more.
const OPEN_PATIENCE: Duration = Duration::from_secs(2);

/// A driver that takes longer than this to close and open a camera counts as
/// hanging.
const HANGS: Duration = Duration::from_secs(5);

/// A driver's timestamp that differs from now by more than this is from another
/// clock.
const WRONG_CLOCK: Duration = Duration::from_secs(60);

/// More buffers than any driver has: a limit, in case a driver always returns
/// another one.
const MAX_READY: usize = 64;

enum State<S> {
    Streaming {
        stream: S,
        granted: Granted,
        /// Time of the last good frame, or of the start of the stream.
        last_seen: Timestamp,
        /// No frame has come since it was opened.
        starting: bool,
    },
    Opening {
        since: Timestamp,
        /// The wait before this attempt.
        wait: Duration,
        /// Whether the log has said that the driver hangs.
        told: bool,
    },
    Lost {
        next_try: Timestamp,
        wait: Duration,
    },
}

/// The result of a step of the state machine.
enum Outcome {
    Frame(Timestamp),
    Waiting,
    Lost,
}

/// A V4L2 camera with a name, which is opened again after each loss.
pub struct Camera<B: V4l2Backend> {
    backend: B,
    target: Target,
    stall_timeout: Duration,
    stall: Stall,
    /// The sequence at the last good frame.
    good_sequence: u64,
    state: State<B::Stream>,
    /// Whether a frame has come since the camera was last lost, or missing at
    /// the start.
    back: bool,
    /// Why it is lost, if it is.
    reason: String,
    described: String,
    image: LumaImage,
    sequence: u64,
    driver_sequence: Option<u32>,
    last_timestamp: Timestamp,
    broken: FaultLog,
    broken_since: Broken,
}

impl<B: V4l2Backend> Camera<B> {
    /// Opens the camera, or begins to wait for it if it is missing or busy, or
    /// if its driver does not answer within two seconds. The backend finds the
    /// camera; `target` is its name for logs.
    ///
    /// # Errors
    /// The camera can never be opened with these settings.
    pub fn open(mut backend: B, target: Target, options: &Options) -> Result<Self, CaptureError> {
        backend.begin_open(true);
        let since = backend.now();
        let (state, reason) = match backend.opened(OPEN_PATIENCE) {
            Some(Ok((stream, granted))) => {
                info!(target: incident::CAMERA_BACK.target, "camera {granted}");
                (streaming(stream, granted, backend.now()), String::new())
            }
            Some(Err(Refusal::Never(error))) => return Err(error),
            Some(Err(Refusal::NotYet(reason))) => {
                warn!(target: incident::CAMERA_LOST.target, "camera {target}: {reason}; waiting for it");
                let state = State::Lost {
                    next_try: later(backend.now(), FIRST_RETRY),
                    wait: FIRST_RETRY,
                };
                (state, reason)
            }
            None => {
                let reason = "it is still being opened".to_owned();
                warn!(target: incident::CAMERA_LOST.target, "camera {target}: {reason}; waiting for it");
                let state = State::Opening {
                    since,
                    wait: FIRST_RETRY,
                    told: false,
                };
                (state, reason)
            }
        };
        let described = match &state {
            State::Streaming { granted, .. } => granted.to_string(),
            State::Opening { .. } | State::Lost { .. } => target.to_string(),
        };
        Ok(Self {
            back: matches!(state, State::Streaming { .. }),
            broken: FaultLog::new(format!("camera {target}: frame dropped")),
            broken_since: Broken::default(),
            backend,
            target,
            stall_timeout: options.stall_timeout,
            stall: Stall::new(options.stall_timeout, options.fps, Timestamp::default()),
            good_sequence: 0,
            state,
            reason,
            described,
            image: LumaImage::default(),
            sequence: 0,
            driver_sequence: None,
            last_timestamp: Timestamp::default(),
        })
    }

    fn step(&mut self, deadline: Timestamp) -> Outcome {
        loop {
            let outcome = match self.state {
                State::Streaming { .. } => self.frame(deadline),
                State::Opening { .. } => {
                    self.await_opening(deadline);
                    None
                }
                State::Lost { next_try, wait } => {
                    let now = self.backend.now();
                    if now < next_try {
                        let until = next_try.min(deadline);
                        self.backend.sleep(until.since(now));
                    }
                    let now = self.backend.now();
                    if now >= next_try {
                        self.backend.begin_open(false);
                        self.state = State::Opening {
                            since: now,
                            wait,
                            told: false,
                        };
                        self.await_opening(deadline);
                    }
                    None
                }
            };
            match outcome {
                // A camera counts as back only with its first frame.
                Some(Outcome::Waiting) if !self.back => return Outcome::Lost,
                Some(outcome) => return outcome,
                // A signal may have ended the wait: let the caller check.
                None if matches!(self.state, State::Opening { .. }) => return Outcome::Lost,
                None if self.backend.now() >= deadline => return Outcome::Lost,
                None => {}
            }
        }
    }

    /// Waits for the camera that is being opened.
    fn await_opening(&mut self, deadline: Timestamp) {
        let left = deadline.since(self.backend.now());
        let answer = self.backend.opened(left);
        let now = self.backend.now();
        let State::Opening { since, wait, told } = &mut self.state else {
            return;
        };
        match answer {
            None => {
                if !*told && now.since(*since) >= HANGS {
                    *told = true;
                    self.reason = format!(
                        "its driver has not closed and opened it within {} s",
                        HANGS.as_secs()
                    );
                    warn!("camera {}: {}; waiting for it", self.target, self.reason);
                }
            }
            Some(Ok((stream, granted))) => {
                info!(target: incident::CAMERA_BACK.target, "camera {granted}");
                self.described = granted.to_string();
                self.driver_sequence = None;
                self.state = streaming(stream, granted, now);
            }
            Some(Err(refusal)) => {
                let wait = (*wait * 2).min(LAST_RETRY);
                self.state = State::Lost {
                    next_try: later(now, wait),
                    wait,
                };
                let reason = match refusal {
                    Refusal::NotYet(reason) => reason,
                    Refusal::Never(error) => error.to_string(),
                };
                if reason != self.reason {
                    warn!("camera {}: {reason}", self.target);
                    self.reason = reason;
                }
            }
        }
    }

    /// Begins to close the camera completely.
    fn lose(&mut self, reason: String) -> Option<Outcome> {
        let lost = State::Lost {
            next_try: later(self.backend.now(), FIRST_RETRY),
            wait: FIRST_RETRY,
        };
        if let State::Streaming { stream, .. } = std::mem::replace(&mut self.state, lost) {
            self.backend.begin_close(stream);
        }
        warn!(target: incident::CAMERA_LOST.target, "camera {}: lost: {reason}", self.target);
        self.broken.cleared();
        self.reason = reason;
        self.back = false;
        Some(Outcome::Lost)
    }

    /// Waits for a good frame and converts it. Never returns `None`; `step`
    /// needs this type.
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
            let now = self.backend.now();
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
                START_TIMEOUT.max(self.stall.limit())
            } else {
                self.stall.limit()
            };
            if now.since(*last_seen) >= limit {
                let reason = self.broken_since.reason(limit);
                self.broken_since.clear();
                return self.lose(reason);
            }
            if now >= deadline {
                return Some(Outcome::Waiting);
            }
            let until = deadline.min(later(*last_seen, limit));
            match stream.wait(until.since(now)) {
                Ok(ready) => error_reported = ready == Ready::Error,
                // A signal: let the caller check which one.
                Err(e) if e.kind() == io::ErrorKind::Interrupted => return Some(Outcome::Waiting),
                Err(error) => return self.lose(explain(&error)),
            }
        }
    }

    /// Takes all filled buffers from the driver, converts the newest good one
    /// into `image`, and gives all of them back to the driver.
    fn drain(&mut self) -> io::Result<Option<Timestamp>> {
        let now = self.backend.now();
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
                let fault = "the driver marks it as damaged";
                self.broken.occurred(&fault);
                self.broken_since.add(&fault);
                Some(filled)
            } else if filled.used < need {
                let used = filled.used;
                let fault = format_args!("{used} of {need} bytes came");
                self.broken.occurred(&fault);
                self.broken_since.add(&fault);
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
            // Zero if the driver does not give one.
            .filter(|t| !t.0.is_zero())
            .unwrap_or(now);
        // If this process was stopped for a while, older frames do not show the
        // present.
        if now.since(timestamp) > self.stall_timeout {
            *last_seen = now;
            stream.requeue(filled)?;
            return Ok(None);
        }
        let converted = convert(&granted.layout, stream.bytes(&filled), &mut self.image);
        stream.requeue(filled)?;
        match converted {
            Ok(()) => {
                *last_seen = now;
                if *starting {
                    *starting = false;
                    if let Some(fps) = granted.fps {
                        self.stall.announce(fps);
                    }
                    self.stall.restart(now);
                }
                let count = self.sequence - self.good_sequence;
                self.good_sequence = self.sequence;
                self.stall.pictures(count, now);
                self.broken_since.clear();
                // Drivers' clocks jitter, but time must not go back.
                self.last_timestamp = self.last_timestamp.max(timestamp);
                Ok(Some(self.last_timestamp))
            }
            Err(reason) => {
                self.broken.occurred(&reason);
                self.broken_since.add(&reason);
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

fn convert(layout: &Layout, bytes: &[u8], image: &mut LumaImage) -> Result<(), String> {
    (image.width, image.height) = (layout.width, layout.height);
    if layout.format == PixelFormat::Mjpg {
        let size = jpeg::luma(bytes, &mut image.pixels).map_err(|e| e.to_string())?;
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

/// By how much the sequence number grows: the driver's count includes frames
/// that the driver itself dropped. If the driver does not count, or starts
/// again, this is one.
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

impl<B: V4l2Backend> Drop for Camera<B> {
    fn drop(&mut self) {
        let lost = State::Lost {
            next_try: Timestamp::default(),
            wait: FIRST_RETRY,
        };
        if let State::Streaming { stream, .. } = std::mem::replace(&mut self.state, lost) {
            self.backend.begin_close(stream);
        }
    }
}

impl<B: V4l2Backend> Source for Camera<B> {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = later(self.backend.now(), timeout);
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

    fn counts(&self) -> Counts {
        Counts {
            broken: self.broken.total(),
            dark: 0,
        }
    }
}

#[cfg(test)]
#[path = "tests.rs"]
mod tests;
