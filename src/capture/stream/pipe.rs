//! Frames from a pipe, with any producer.

use std::fmt::Write as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::framer::{self, Expected, Framer, Taken};
use super::producer::Producer;
use crate::capture::replay::{Rate, VIDEO_RATE};
use crate::capture::stall::{Broken, Stall};
use crate::capture::{Captured, Counts, Frame, Options, Pace, Source};
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::image::LumaImage;
use crate::incident;

/// The largest pipe that Linux gives without privileges (`fs.pipe-max-size`).
const PIPE_SIZE: usize = 1 << 20;

/// How many frames one call skips at most, so that the call returns even if the
/// writer is faster than the reader.
const MAX_SKIPPED: u64 = 16;

/// How long to wait before a producer without a pipe is asked again.
const CONNECT_AGAIN: Duration = Duration::from_millis(20);

/// Frames from a pipe.
pub(super) struct Stream<P> {
    producer: P,
    fd: Option<OwnedFd>,
    expected: Expected,
    framer: Framer,
    rate: Rate,
    pace: Pace,
    stall: Stall,
    image: LumaImage,
    /// Number of frames so far, including skipped and broken ones.
    count: u64,
    skipped: u64,
    broken: FaultLog,
    broken_since: Broken,
    /// A whole frame has come since the pipe was connected.
    streaming: bool,
    /// No frames come; `reason` says why.
    lost: bool,
    reason: String,
    ended: bool,
}

enum Bytes {
    Some,
    /// No bytes now.
    Dry,
    /// Whether the last bytes were a whole frame.
    Closed {
        is_whole: bool,
    },
}

impl<P: Producer> Stream<P> {
    pub(super) fn new(producer: P, expected: Expected, options: &Options) -> Self {
        Self {
            fd: None,
            expected,
            framer: Framer::new(expected),
            rate: options.fps.map_or(VIDEO_RATE, Rate::from_fps),
            pace: options.pace,
            stall: Stall::new(options.stall_timeout, options.fps, Timestamp::now()),
            image: LumaImage::default(),
            count: 0,
            skipped: 0,
            broken: FaultLog::new(format!("{}: frame dropped", producer.name())),
            broken_since: Broken::default(),
            streaming: false,
            lost: false,
            reason: String::new(),
            ended: false,
            producer,
        }
    }

    /// Asks the producer for its pipe, if there is none.
    fn connect(&mut self) {
        let now = Instant::now();
        match self.producer.connect(now) {
            Ok(None) => {}
            Ok(Some(fd)) => {
                // So that whole frames fit in and the writer does not have to
                // wait.
                if let Err(error) = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_SIZE) {
                    debug!(
                        "{}: the pipe cannot be enlarged: {error}",
                        self.producer.name()
                    );
                }
                self.fd = Some(fd);
                self.framer = Framer::new(self.expected);
                self.streaming = false;
                self.stall.restart(Timestamp::now());
            }
            Err(reason) => self.lose(&reason),
        }
    }

    /// Reads the waiting bytes; waits for at most `patience` for the first one.
    fn read(&mut self, patience: Duration) -> Bytes {
        let Some(fd) = &self.fd else {
            return Bytes::Dry;
        };
        let limit = Timespec::try_from(patience).ok();
        let messages = self.producer.messages();
        let has_messages = messages.is_some();
        let mut fds = [
            PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(messages.unwrap_or(fd.as_fd()), PollFlags::IN),
        ];
        let polled = poll(&mut fds[..1 + usize::from(has_messages)], limit.as_ref());
        let ready = fds.map(|fd| !fd.revents().is_empty());
        match polled {
            Ok(0) | Err(Errno::INTR) => return Bytes::Dry,
            Ok(_) => {}
            Err(error) => return self.close(&error.to_string()),
        }
        if has_messages && ready[1] {
            self.producer.read_messages();
        }
        if !ready[0] {
            return Bytes::Dry;
        }
        match rustix::io::read(fd, self.framer.room()) {
            Ok(0) => self.close(""),
            Ok(count) => {
                self.framer.filled(count);
                Bytes::Some
            }
            Err(Errno::INTR | Errno::AGAIN) => Bytes::Dry,
            Err(error) => self.close(&error.to_string()),
        }
    }

    fn close(&mut self, error: &str) -> Bytes {
        self.fd = None;
        let mut partial = self.framer.partial();
        let last = self.framer.take_last(&mut self.image);
        if last != Taken::More {
            partial = None;
        }
        let is_whole = self.count_place(last);
        let name = self.producer.name();
        if !error.is_empty() {
            warn!("{name}: {error}");
        }
        if let Some(partial) = partial {
            warn!("{name}: closed after {partial}");
        }
        info!(
            "{name}: closed after {} frames, of which {} were skipped and {} were broken",
            self.count,
            self.skipped,
            self.broken.total()
        );
        match self.producer.closed(Instant::now()) {
            Some(reason) => self.lose(&reason),
            None => self.ended = true,
        }
        Bytes::Closed { is_whole }
    }

    fn lose(&mut self, reason: &str) {
        if !self.lost || self.reason != reason {
            warn!(target: incident::CAMERA_LOST.target, "{}: lost: {reason}", self.producer.name());
            self.reason.clear();
            self.reason.push_str(reason);
        }
        self.lost = true;
    }

    /// Takes the next whole frame into `image`, if there is one.
    fn take(&mut self) -> bool {
        loop {
            match self.framer.take(&mut self.image) {
                Taken::More => return false,
                taken => {
                    if self.count_place(taken) {
                        return true;
                    }
                }
            }
        }
    }

    /// Counts a frame's place, and returns whether the frame is whole.
    fn count_place(&mut self, taken: Taken) -> bool {
        match taken {
            Taken::More => false,
            Taken::Frame => {
                self.count += 1;
                true
            }
            Taken::Broken(fault) => {
                self.count += 1;
                self.broken_since.add(&fault);
                self.broken.occurred(&fault);
                false
            }
        }
    }

    /// Reads until there is a frame; if the stream is live, until there is no
    /// newer one. Returns the number of whole frames that came.
    fn newest(&mut self, deadline: Instant) -> u64 {
        let mut whole = 0;
        loop {
            if self.take() {
                whole += 1;
                if self.pace == Pace::Fast || whole > MAX_SKIPPED {
                    break;
                }
                continue;
            }
            let now = Instant::now();
            let patience = if whole > 0 {
                Duration::ZERO
            } else {
                deadline.saturating_duration_since(now)
            };
            match self.read(patience) {
                Bytes::Closed { is_whole } => {
                    whole += u64::from(is_whole);
                    break;
                }
                Bytes::Dry if whole > 0 => break,
                // Even if bytes without a frame come faster than they are read.
                Bytes::Some | Bytes::Dry if now >= deadline => break,
                Bytes::Some | Bytes::Dry => {}
            }
        }
        self.skipped += whole.saturating_sub(1);
        whole
    }

    /// Notes that `whole` frames came.
    fn pictures(&mut self, whole: u64) {
        let now = Instant::now();
        if let Some(fps) = self.framer.rate() {
            self.stall.announce(fps);
        }
        self.stall.pictures(whole, Timestamp::now());
        if !self.streaming {
            self.streaming = true;
            self.producer.streaming(now);
        }
        // They may be the last frames of a producer that has ended.
        if self.lost && self.fd.is_some() {
            self.lost = false;
            info!(target: incident::CAMERA_BACK.target, "{}: frames come again", self.producer.name());
            // The next broken frame is logged again.
            self.broken.cleared();
        }
        self.broken_since.clear();
    }

    /// Reports a loss if too much time has passed without a whole frame.
    fn look_for_stall(&mut self) {
        if let Some(reason) = self.framer.unreadable() {
            let reason = reason.to_owned();
            self.lose(&reason);
            return;
        }
        let now = Instant::now();
        let start = if self.streaming {
            Duration::ZERO
        } else {
            self.producer.start_timeout()
        };
        let limit = self.stall.limit().max(start);
        if self.fd.is_none() || self.stall.silence(Timestamp::now()) < limit {
            return;
        }
        let restarts = self.producer.stalled(now);
        if self.lost && !restarts {
            return;
        }
        let mut reason = self.broken_since.reason(limit);
        if self.broken_since.is_empty()
            && let Some(partial) = self.framer.partial()
        {
            let _ = write!(reason, "; {partial} came");
        }
        self.broken_since.clear();
        self.lose(&reason);
        if restarts {
            self.fd = None;
        }
    }
}

impl<P: Producer> Source for Stream<P> {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = Instant::now() + timeout;
        if self.ended {
            return Captured::Ended;
        }
        if self.fd.is_none() {
            self.connect();
        }
        let whole = if self.fd.is_some() {
            self.newest(deadline)
        } else {
            std::thread::sleep(timeout.min(CONNECT_AGAIN));
            0
        };
        if whole > 0 {
            self.pictures(whole);
            let sequence = self.count - 1;
            let timestamp = match self.pace {
                Pace::Recorded => Timestamp::now(),
                Pace::Fast => Timestamp(self.rate.at(sequence)),
            };
            return match self.image.try_view() {
                Ok(luma) => Captured::Frame(Frame {
                    luma,
                    timestamp,
                    sequence,
                }),
                Err(_) => Captured::Waiting,
            };
        }
        if self.ended {
            return Captured::Ended;
        }
        self.look_for_stall();
        if self.lost {
            Captured::Lost {
                reason: &self.reason,
            }
        } else {
            Captured::Waiting
        }
    }

    fn description(&self) -> String {
        format!(
            "{}: {}",
            self.producer.name(),
            framer::describe(self.expected, &self.framer)
        )
    }

    fn is_live(&self) -> bool {
        self.pace == Pace::Recorded
    }

    fn counts(&self) -> Counts {
        Counts {
            broken: self.broken.total(),
            dark: 0,
        }
    }
}
