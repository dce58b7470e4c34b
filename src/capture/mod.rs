//! Capture: from a camera, a recording or standard input to luma planes.

use std::path::PathBuf;
use std::time::Duration;

use crate::frame::{LumaView, Timestamp};

/// A frame, borrowed from its source until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub luma: LumaView<'a>,
    /// When the frame was taken, on the source's monotonic clock.
    pub timestamp: Timestamp,
    /// Counts up by one a frame taken; a gap tells of frames dropped.
    pub sequence: u64,
}

/// What a call of [`Source::next`] found.
#[derive(Debug)]
pub enum Captured<'a> {
    /// The newest frame.
    Frame(Frame<'a>),
    /// No frame within the time allowed, though the source seems well.
    Waiting,
    /// The camera is gone or stalled; the source goes on trying to get it back
    /// (full close and reopen) on every later call. `reason` is fit for a log
    /// and an event.
    Lost { reason: &'a str },
    /// The recording is over; there will be no further frame.
    Ended,
}

/// Something that delivers luma planes without heap allocation per frame.
pub trait Source {
    /// Waits for at most `timeout` for the newest frame.
    fn next(&mut self, timeout: Duration) -> Captured<'_>;

    /// What this is, for logs and the `hello` event: device, format, size, rate.
    fn description(&self) -> String;

    /// Whether frames come in real time (a camera) or as fast as they are
    /// asked for (a recording replayed at full speed).
    fn is_live(&self) -> bool;
}

/// Where frames come from. Parsed from the board file's `source` or `--source`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// A V4L2 device: a path, a by-id or by-path link.
    V4l2Path(PathBuf),
    /// The first V4L2 capture device whose card name is this (`card:NAME`).
    V4l2Card(String),
    /// The portable source, by camera index (`nokhwa:0`).
    Nokhwa(u32),
    /// A recording: a still picture, a directory of them, Y4M or concatenated MJPEG.
    Replay(PathBuf),
    /// Raw frames on standard input (`-`).
    Stdin,
}

/// A pixel format of a camera or of raw frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PixelFormat {
    Yuyv,
    Uyvy,
    Nv12,
    /// Planar YUV 4:2:0 (V4L2's YU12, I420).
    I420,
    Grey,
    /// 16-bit little-endian gray; the upper 8 bits are used.
    Y16,
    Mjpg,
}

/// How fast a recording is replayed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pace {
    /// At the pace at which it was recorded.
    #[default]
    Recorded,
    /// As fast as frames are asked for; timestamps stay the recorded ones.
    Fast,
}

/// The board file's `[capture]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub source: SourceSpec,
    /// Pixels asked for; `None` leaves it to the device or the recording.
    pub size: Option<(u32, u32)>,
    /// Frames a second asked for; for pictures the rate at which they are shown.
    pub fps: Option<f32>,
    /// `None` takes the best that the device offers.
    pub format: Option<PixelFormat>,
    /// V4L2 controls by name, as `v4l2-ctl --list-ctrls` spells them.
    pub controls: Vec<(String, i64)>,
    pub pace: Pace,
    /// Start a recording again when it ends.
    pub repeat: bool,
    /// A camera that delivers nothing for this long counts as lost.
    pub stall_timeout: Duration,
}
