//! Replay: still pictures, directories of them, Y4M and Motion-JPEG files.
//!
//! Time comes from the recording: a frame's timestamp is its place divided by
//! the rate, on any machine, so the same recording leads to the same events at
//! any speed. No frame is dropped because it is late; a slow machine takes
//! longer. When a recording is repeated, time and sequence numbers continue.
//!
//! A broken frame is skipped with a warning; the frames after it keep their
//! times. If so many follow each other that a live camera would count as lost
//! ([`Stall`]), the recording counts as lost too, by its own time. Frames are
//! read one at a time into the same memory, so the length of a recording does
//! not matter.
//!
//! [`Player`] does the pacing and repeating for everything that is a
//! [`Recording`].

pub mod mjpeg;
mod pictures;
mod recording;
pub mod y4m;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::time::{Duration, Instant};

use log::{info, warn};

use super::stall::Stall;
use super::{CaptureError, Captured, Counts, Frame, Options, Pace, Source};
use crate::frame::Timestamp;
use crate::image::{LumaImage, jpeg, pgm, png};
use crate::incident;

pub use recording::{PICTURE_RATE, Rate, Recording, Step, VIDEO_RATE};

/// The first broken frames get a log line each; further ones are only counted.
const LOUD: u64 = 10;

/// Plays a recording.
pub struct Player<R> {
    recording: R,
    name: String,
    rate: Rate,
    pace: Pace,
    repeat: bool,
    image: LumaImage,
    size: (u32, u32),
    /// Number of the next frame to read, over all repetitions.
    index: u64,
    /// `image` has a frame that was not returned yet.
    loaded: bool,
    /// Frames read since the start of this repetition.
    in_this_round: u64,
    /// Broken places; each counts once, however often it is played.
    broken: u64,
    first_round: bool,
    /// There is no further frame.
    at_end: bool,
    /// Uses the recording's time.
    stall: Stall,
    /// The number of the last frame that was returned.
    last: Option<u64>,
    /// Why the last broken frame was broken.
    fault: String,
    /// The broken frames since the last good one count as a loss, which was
    /// reported.
    lost: bool,
    reason: String,
    /// When the first frame was requested, and its time in the recording.
    start: Option<(Instant, Duration)>,
}

impl<R: Recording> Player<R> {
    /// Reads up to the first whole frame, so that a recording without one is
    /// an error here and not an empty run.
    ///
    /// # Errors
    /// The reason why there is no whole frame.
    pub fn open(recording: R, name: String, rate: Rate, options: &Options) -> Result<Self, String> {
        let mut player = Self {
            recording,
            name,
            rate,
            pace: options.pace,
            repeat: options.repeat,
            image: LumaImage::default(),
            size: (0, 0),
            index: 0,
            loaded: false,
            in_this_round: 0,
            broken: 0,
            first_round: true,
            at_end: false,
            stall: Stall::new(
                options.stall_timeout,
                Some(rate.fps() as f32),
                Timestamp::default(),
            ),
            last: None,
            fault: String::new(),
            lost: false,
            reason: String::new(),
            start: None,
        };
        let mut first_fault = None;
        loop {
            match player.recording.read(&mut player.image) {
                Step::Frame => break,
                Step::Broken(reason) => {
                    first_fault.get_or_insert_with(|| reason.clone());
                    player.skip_broken(reason);
                }
                Step::End => {
                    return Err(first_fault.unwrap_or_else(|| "contains no frame".to_owned()));
                }
            }
        }
        player.loaded = true;
        player.in_this_round = 1;
        player.size = (player.image.width, player.image.height);
        if let Some(asked) = options.size
            && asked != player.size
        {
            warn!(
                "{}: recorded at {}x{}; it is not scaled to the requested {}x{}",
                player.name, player.size.0, player.size.1, asked.0, asked.1
            );
        }
        Ok(player)
    }

    /// Counts a broken frame. Each is logged once, and not again when the
    /// recording is repeated.
    fn skip_broken(&mut self, fault: String) {
        self.index += 1;
        self.fault = fault;
        if !self.first_round {
            return;
        }
        self.broken += 1;
        let reason = &self.fault;
        if self.broken <= LOUD {
            warn!("{}: skipped: {reason}", self.name);
        }
        if self.broken == LOUD {
            warn!("{}: further broken frames are only counted", self.name);
        }
    }

    /// Reads the next whole frame; false at the end, and if `deadline` passes
    /// while frames are broken.
    fn load(&mut self, deadline: Instant) -> bool {
        loop {
            match self.recording.read(&mut self.image) {
                Step::Frame => {
                    self.loaded = true;
                    self.in_this_round += 1;
                    return true;
                }
                Step::Broken(reason) => {
                    self.skip_broken(reason);
                    if Instant::now() >= deadline {
                        return false;
                    }
                }
                Step::End => {
                    if self.first_round && self.broken > 0 {
                        info!(
                            "{}: {} broken frames were skipped, {} were good",
                            self.name, self.broken, self.in_this_round
                        );
                    }
                    // If a round had no frame, the next ones would have none
                    // either.
                    if !self.repeat || self.in_this_round == 0 {
                        self.at_end = true;
                        return false;
                    }
                    if let Err(error) = self.recording.rewind() {
                        warn!("{}: cannot be started again: {error}", self.name);
                        self.at_end = true;
                        return false;
                    }
                    self.first_round = false;
                    self.in_this_round = 0;
                }
            }
        }
    }

    /// The recording's time at which the broken frames since the last good one
    /// count as a loss, if that is before the frame at `index`.
    fn loss(&self) -> Option<Duration> {
        let last = self.rate.at(self.last?);
        let loss = last + self.stall.limit();
        (loss < self.rate.at(self.index)).then_some(loss)
    }

    /// Waits until a time of the recording; false if that takes longer than
    /// `timeout`.
    fn wait_until(&mut self, time: Duration, timeout: Duration) -> bool {
        if self.pace == Pace::Fast {
            return true;
        }
        let now = Instant::now();
        // The first frame is due at the first call.
        let (start, first) = *self.start.get_or_insert((now, time));
        let due = start + time.saturating_sub(first);
        let wait = due.saturating_duration_since(now);
        std::thread::sleep(wait.min(timeout));
        wait <= timeout
    }
}

impl<R: Recording> Player<R> {
    fn lose(&mut self) {
        self.lost = true;
        self.reason = format!(
            "no whole frame for {:.1} s; the last broken one: {}",
            self.stall.limit().as_secs_f32(),
            self.fault
        );
        if self.first_round {
            warn!(target: incident::CAMERA_LOST.target, "{}: lost: {}", self.name, self.reason);
        }
    }
}

impl<R: Recording> Source for Player<R> {
    fn next(&mut self, timeout: Duration) -> Captured<'_> {
        let deadline = Instant::now() + timeout;
        if !self.loaded && !self.at_end {
            self.load(deadline);
        }
        if let Some(loss) = self.loss()
            && !self.lost
        {
            let timeout = deadline.saturating_duration_since(Instant::now());
            if !self.wait_until(loss, timeout) {
                return Captured::Waiting;
            }
            self.lose();
            return Captured::Lost {
                reason: &self.reason,
            };
        }
        let is_due = self.loaded && {
            let timeout = deadline.saturating_duration_since(Instant::now());
            self.wait_until(self.rate.at(self.index), timeout)
        };
        if !is_due {
            return match (self.at_end && !self.loaded, self.lost) {
                (true, _) => Captured::Ended,
                (false, true) => Captured::Lost {
                    reason: &self.reason,
                },
                (false, false) => Captured::Waiting,
            };
        }
        self.loaded = false;
        self.lost = false;
        let sequence = self.index;
        self.last = Some(sequence);
        self.index += 1;
        match self.image.try_view() {
            Ok(luma) => Captured::Frame(Frame {
                luma,
                timestamp: Timestamp(self.rate.at(sequence)),
                sequence,
            }),
            // Readers keep their size; a frame of another size counts as
            // broken.
            Err(error) => {
                warn!("{}: skipped: {error}", self.name);
                Captured::Waiting
            }
        }
    }

    fn description(&self) -> String {
        format!(
            "{}: {} {}x{} at {:.3} fps{}{}",
            self.name,
            self.recording.kind(),
            self.size.0,
            self.size.1,
            self.rate.fps(),
            match self.pace {
                Pace::Recorded => "",
                Pace::Fast => ", as fast as possible",
            },
            if self.repeat { ", repeated" } else { "" },
        )
    }

    fn is_live(&self) -> bool {
        false
    }

    fn counts(&self) -> Counts {
        Counts {
            broken: self.broken,
            dark: 0,
        }
    }
}

/// Opens a recording: a directory, a file whose first bytes show its format, or
/// Motion-JPEG, which starts like a JPEG and is recognised by its name.
///
/// # Errors
/// The path does not exist, has another format, or contains no picture.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let fail = |reason: String| CaptureError::Recording {
        path: path.to_owned(),
        reason,
    };
    let name = path.display().to_string();
    let asked = options.fps.map(Rate::from_fps);
    let metadata = std::fs::metadata(path).map_err(|error| fail(explain(path, &error)))?;
    if metadata.is_dir() {
        let pictures = pictures::Pictures::directory(path).map_err(fail)?;
        let rate = asked.unwrap_or(PICTURE_RATE);
        let player = Player::open(pictures, name, rate, options).map_err(fail)?;
        return Ok(Box::new(player));
    }
    // Opening a FIFO or device may wait for ever, or disturb the program that
    // writes into it.
    if !metadata.is_file() {
        return Err(fail(NOT_A_FILE.to_owned()));
    }
    let mut file = File::open(path).map_err(|e| fail(explain(path, &e)))?;
    let mut head = [0; 10];
    let got = read_head(&mut file, &mut head).map_err(|e| fail(explain(path, &e)))?;
    let head = &head[..got];
    if head.is_empty() {
        return Err(fail("the file is empty".to_owned()));
    }
    if head.starts_with(y4m::MAGIC) {
        let video = y4m::Y4m::open(file).map_err(fail)?;
        let rate = asked.or(video.rate()).unwrap_or(VIDEO_RATE);
        let player = Player::open(video, name, rate, options).map_err(fail)?;
        return Ok(Box::new(player));
    }
    if is_mjpeg(path) {
        let video = mjpeg::Mjpeg::open(file).map_err(|e| fail(e.to_string()))?;
        let rate = asked.unwrap_or(VIDEO_RATE);
        let player = Player::open(video, name, rate, options).map_err(fail)?;
        return Ok(Box::new(player));
    }
    let picture = [png::MAGIC, jpeg::START];
    if picture.iter().any(|start| head.starts_with(start)) || pgm::is_netpbm(head) {
        let picture = pictures::Pictures::one(path);
        let rate = asked.unwrap_or(PICTURE_RATE);
        let player = Player::open(picture, name, rate, options).map_err(fail)?;
        return Ok(Box::new(player));
    }
    Err(fail(
        "is not a recording that affectd can read: use PNG, JPEG or PGM pictures, a directory of them, Y4M, or concatenated JPEGs in a .mjpeg file; convert other formats with: ffmpeg -i FILE -pix_fmt gray -f yuv4mpegpipe FILE.y4m".to_owned(),
    ))
}

/// The message for files that the system cannot seek in.
const NOT_A_FILE: &str = "is not a file, a directory or a FIFO, so it can be read only once \
                          from its start: pipe it into affectd and use the source '-'";

fn explain(path: &Path, error: &io::Error) -> String {
    let text = path.to_string_lossy();
    if error.raw_os_error() == Some(rustix::io::Errno::SPIPE.raw_os_error()) {
        return NOT_A_FILE.to_owned();
    }
    if error.kind() == io::ErrorKind::NotFound && text.starts_with("video") {
        format!("does not exist; for a camera write /dev/{text}")
    } else if error.kind() == io::ErrorKind::NotFound {
        "does not exist".to_owned()
    } else {
        error.to_string()
    }
}

fn is_mjpeg(path: &Path) -> bool {
    path.extension().and_then(|e| e.to_str()).is_some_and(|e| {
        ["mjpg", "mjpeg", "mjpegs"]
            .iter()
            .any(|known| e.eq_ignore_ascii_case(known))
    })
}

/// Reads the first bytes and goes back.
pub fn read_head(file: &mut File, head: &mut [u8]) -> io::Result<usize> {
    use std::io::{Seek, SeekFrom};
    let mut got = 0;
    while got < head.len() {
        match file.read(&mut head[got..]) {
            Ok(0) => break,
            Ok(n) => got += n,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
    file.seek(SeekFrom::Start(0))?;
    Ok(got)
}

#[cfg(test)]
mod tests;
