//! Raw frames on standard input, from a program that knows a camera which
//! V4L2 does not (`rpicam-vid`, `gst-launch-1.0 … ! fdsink`).
//!
//! A pipe is a camera that cannot be asked for its newest frame. At the
//! recorded pace it is taken as live: frames get the time of their arrival,
//! and of those that wait in the pipe all but the newest whole one are passed
//! over; a pipe on which nothing comes is a stalled camera. As fast as
//! possible it is taken as a recording: every frame counts, timed by its place.
//! Where a file is redirected to standard input it is replayed like any other.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use log::{debug, info, warn};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use super::convert::Layout;
use super::replay::mjpeg::{Mjpeg, Split, Splitter};
use super::replay::{Player, Rate, Recording, Step, VIDEO_RATE};
use super::{CaptureError, Captured, Frame, Options, Pace, PixelFormat, Source};
use crate::fault::FaultLog;
use crate::frame::Timestamp;
use crate::image::{LumaImage, jpeg};

/// Linux gives an unprivileged pipe up to this (`fs.pipe-max-size`).
const PIPE_SIZE: usize = 1 << 20;

/// Frames passed over in one call at most, so that a writer that is faster
/// than reading cannot keep the call from returning.
const MAX_PASSED_OVER: u64 = 16;

/// What comes in: the numbers of a frame, or JPEGs which bring their own.
#[derive(Clone, Copy, Debug)]
enum Kind {
    Raw(Layout),
    Jpegs,
}

pub fn open(options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(fail(
            "is a terminal: pipe raw frames into it, as in rpicam-vid -t 0 --codec yuv420 --width 640 --height 480 -o - | affectd run --source - --format i420 --size 640x480",
        ));
    }
    let fd = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| fail(&error.to_string()))?;
    open_fd(fd, options)
}

fn fail(reason: &str) -> CaptureError {
    CaptureError::Stdin {
        reason: reason.to_owned(),
    }
}

fn open_fd(fd: OwnedFd, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let kind = match (options.format, options.size) {
        (Some(PixelFormat::Mjpg), _) => Kind::Jpegs,
        (Some(format), Some((width, height))) => Kind::Raw(Layout::packed(format, width, height)),
        _ => {
            return Err(fail(
                "raw frames do not say what they are: give their format (i420, nv12, grey, yuyv, uyvy, y16; mjpg needs no size) and their size, as in --format i420 --size 640x480",
            ));
        }
    };
    let rate = options.fps.map_or(VIDEO_RATE, Rate::from_fps);
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|e| fail(&e.to_string()))?;
    if metadata.is_file() {
        let name = "standard input".to_owned();
        let failed = |reason: String| fail(&reason);
        return Ok(match kind {
            Kind::Raw(layout) => Box::new(
                Player::open(RawFile::new(file, layout), name, rate, options).map_err(failed)?,
            ),
            Kind::Jpegs => {
                let video = Mjpeg::open(file).map_err(|e| failed(e.to_string()))?;
                Box::new(Player::open(video, name, rate, options).map_err(failed)?)
            }
        });
    }
    if metadata.is_dir() {
        return Err(fail("is a directory"));
    }
    Ok(Box::new(Pipe::new(
        OwnedFd::from(file),
        kind,
        rate,
        options,
    )))
}

/// A file of raw frames.
struct RawFile<R> {
    file: R,
    layout: Layout,
    bytes: Vec<u8>,
}

impl<R> RawFile<R> {
    fn new(file: R, layout: Layout) -> Self {
        Self {
            file,
            layout,
            bytes: vec![0; layout.frame()],
        }
    }
}

impl<R: Read + Seek> Recording for RawFile<R> {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        let mut got = 0;
        while got < self.bytes.len() {
            match self.file.read(&mut self.bytes[got..]) {
                Ok(0) if got == 0 => return Step::End,
                Ok(0) => {
                    return Step::Broken(format!(
                        "the last frame has {got} of {} bytes",
                        self.bytes.len()
                    ));
                }
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!("standard input cannot be read further: {error}");
                    return Step::End;
                }
            }
        }
        let Layout { width, height, .. } = self.layout;
        (image.width, image.height) = (width, height);
        image.pixels.resize(width as usize * height as usize, 0);
        match self.layout.luma(&self.bytes, &mut image.pixels) {
            Ok(()) => Step::Frame,
            Err(short) => Step::Broken(short.to_string()),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }

    fn kind(&self) -> String {
        format!("raw {}", self.layout.format)
    }
}

/// Frames from a pipe or a socket.
struct Pipe {
    fd: OwnedFd,
    framer: Framer,
    rate: Rate,
    pace: Pace,
    stall_timeout: Duration,
    image: LumaImage,
    /// Frames completed so far, those passed over included.
    count: u64,
    passed_over: u64,
    broken: FaultLog,
    last_byte: Instant,
    lost: Option<String>,
    ended: bool,
}

enum Framer {
    Raw {
        layout: Layout,
        bytes: Vec<u8>,
        got: usize,
    },
    Jpegs {
        splitter: Splitter,
        /// A second picture: a broken one must not cost the one before it.
        spare: LumaImage,
    },
}

enum Bytes {
    Some,
    /// None now.
    Dry,
    Closed,
}

impl Pipe {
    fn new(fd: OwnedFd, kind: Kind, rate: Rate, options: &Options) -> Self {
        // So that whole frames fit in and the writer is not held up by us.
        if let Err(error) = rustix::pipe::fcntl_setpipe_size(&fd, PIPE_SIZE) {
            debug!("standard input: its pipe is not enlarged: {error}");
        }
        let mut image = LumaImage::default();
        let framer = match kind {
            Kind::Raw(layout) => {
                (image.width, image.height) = (layout.width, layout.height);
                image
                    .pixels
                    .resize(layout.width as usize * layout.height as usize, 0);
                Framer::Raw {
                    layout,
                    bytes: vec![0; layout.frame()],
                    got: 0,
                }
            }
            Kind::Jpegs => Framer::Jpegs {
                splitter: Splitter::default(),
                spare: LumaImage::default(),
            },
        };
        Self {
            fd,
            framer,
            rate,
            pace: options.pace,
            stall_timeout: options.stall_timeout,
            image,
            count: 0,
            passed_over: 0,
            broken: FaultLog::new("standard input: frame passed over"),
            last_byte: Instant::now(),
            lost: None,
            ended: false,
        }
    }

    /// Reads what is there, waiting for at most `timeout` for the first byte.
    fn read(&mut self, timeout: Duration) -> Bytes {
        let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
        let limit = Timespec::try_from(timeout).ok();
        match poll(&mut fds, limit.as_ref()) {
            Ok(0) | Err(Errno::INTR) => return Bytes::Dry,
            Ok(_) => {}
            Err(error) => return self.close(&error.to_string()),
        }
        let room = match &mut self.framer {
            Framer::Raw { bytes, got, .. } => &mut bytes[*got..],
            Framer::Jpegs { splitter, .. } => splitter.room(),
        };
        let count = match rustix::io::read(&self.fd, room) {
            Ok(0) => return self.close(""),
            Ok(count) => count,
            Err(Errno::INTR | Errno::AGAIN) => return Bytes::Dry,
            Err(error) => return self.close(&error.to_string()),
        };
        match &mut self.framer {
            Framer::Raw { got, .. } => *got += count,
            Framer::Jpegs { splitter, .. } => splitter.filled(count),
        }
        self.last_byte = Instant::now();
        Bytes::Some
    }

    fn close(&mut self, error: &str) -> Bytes {
        self.ended = true;
        if !error.is_empty() {
            warn!("standard input: {error}");
        }
        let partial = match &self.framer {
            Framer::Raw { got: 0, .. } => None,
            Framer::Raw { bytes, got, .. } => {
                Some(format!("{got} of the {} bytes of a frame", bytes.len()))
            }
            Framer::Jpegs { splitter, .. } => {
                splitter.is_within().then(|| "part of a JPEG".to_owned())
            }
        };
        if let Some(partial) = partial {
            warn!("standard input: closed after {partial}");
        }
        info!(
            "standard input: closed after {} frames, of which {} were passed over",
            self.count, self.passed_over
        );
        Bytes::Closed
    }

    /// Takes a completed frame into `image`, if there is one.
    fn take(&mut self) -> bool {
        match &mut self.framer {
            Framer::Raw { layout, bytes, got } => {
                if *got < bytes.len() {
                    return false;
                }
                *got = 0;
                self.count += 1;
                // A whole frame has all the bytes that its luma needs.
                layout.luma(bytes, &mut self.image.pixels).is_ok()
            }
            Framer::Jpegs { splitter, spare } => loop {
                let fault = match splitter.next() {
                    Split::More => return false,
                    Split::Broken(reason) => reason.to_owned(),
                    Split::Picture(range) => {
                        let data = splitter.bytes(range);
                        match jpeg::luma(data, &mut spare.pixels) {
                            Ok((width, height)) => {
                                (spare.width, spare.height) = (width, height);
                                std::mem::swap(spare, &mut self.image);
                                self.count += 1;
                                return true;
                            }
                            Err(fault) => fault.to_string(),
                        }
                    }
                };
                self.count += 1;
                self.broken.occurred(&fault);
            },
        }
    }

    /// Reads until there is a frame; at a live pace, until there is no newer.
    fn newest(&mut self, deadline: Instant) -> bool {
        let mut have = false;
        let mut passed_over = 0;
        loop {
            if self.take() {
                passed_over += u64::from(have);
                have = true;
                if self.pace == Pace::Fast || passed_over == MAX_PASSED_OVER {
                    break;
                }
                continue;
            }
            let patience = if have {
                Duration::ZERO
            } else {
                deadline.saturating_duration_since(Instant::now())
            };
            match self.read(patience) {
                Bytes::Some => {}
                Bytes::Dry if !have && Instant::now() < deadline => {}
                Bytes::Dry | Bytes::Closed => break,
            }
        }
        self.passed_over += passed_over;
        have
    }
}

impl Source for Pipe {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = Instant::now() + timeout;
        if self.ended {
            return Captured::Ended;
        }
        if self.newest(deadline) {
            self.lost = None;
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
        if self.lost.is_none() && self.last_byte.elapsed() >= self.stall_timeout {
            self.lost = Some(format!(
                "nothing came on standard input for {:.1} s",
                self.stall_timeout.as_secs_f32()
            ));
        }
        match &self.lost {
            Some(reason) => Captured::Lost { reason },
            None => Captured::Waiting,
        }
    }

    fn description(&self) -> String {
        let (what, size) = match &self.framer {
            Framer::Raw { layout, .. } => (
                layout.format,
                format!(" {}x{}", layout.width, layout.height),
            ),
            Framer::Jpegs { .. } => (PixelFormat::Mjpg, String::new()),
        };
        format!("standard input: {what}{size}")
    }

    fn is_live(&self) -> bool {
        self.pace == Pace::Recorded
    }
}

#[cfg(test)]
mod tests;
