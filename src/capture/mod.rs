//! Capture: from a camera, a recording or standard input to luma planes.
//!
//! All of them are a [`Source`]: the pipeline asks for the newest frame within
//! a time and learns, besides a frame, that there is none yet, that the camera
//! is gone, or that the recording is over. What a camera does to a program
//! that runs for a year (unplugged, stalled, other node number, half frames)
//! is dealt with in here and reaches the pipeline as [`Captured::Lost`] only.
//!
//! - `v4l2`: Linux cameras; a state machine around the kernel.
//! - `nokhwa`: cameras through the crate nokhwa, for laptops (a cargo feature).
//! - `replay`: pictures, Y4M and Motion-JPEG recordings.
//! - `stream`: frames that another program writes into a pipe, and that program.
//! - `turn`, `dark`: any source with its picture turned, or without dark frames.
//! - [`convert`]: one function per pixel format.

use std::fmt;
use std::io;
use std::os::unix::fs::FileTypeExt as _;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use crate::frame::{LumaView, MAX_SIDE, Timestamp};
use crate::image::MediaError;
use crate::image::turn::Turn;

pub mod convert;
mod dark;
mod format;
#[cfg(feature = "nokhwa")]
mod nokhwa;
mod replay;
mod stall;
mod stream;
mod turn;
mod v4l2;

pub use format::PixelFormat;
pub use stream::{find_program, launch_producer};
pub use v4l2::{CameraInfo, ControlInfo, FormatInfo, SizeInfo, cameras};

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
    /// A frame came that is passed over on purpose: it is too dark
    /// ([`Options::skip_darker_than`]).
    Skipped,
    /// The recording is over; there will be no further frame.
    Ended,
}

/// Something that delivers luma planes without heap allocation per frame.
pub trait Source {
    /// Waits for at most `timeout` for the newest frame.
    fn next(&mut self, timeout: Duration) -> Captured<'_>;

    /// What this is, for logs and the `hello` event: device, format, size, rate.
    fn description(&self) -> String;

    /// Whether timestamps are [`Timestamp::now`]'s, so that the time without a
    /// frame can be told: true for cameras and live pipes. A recording's
    /// timestamps are its own, at whatever pace it is replayed, so that it
    /// always gives the same decisions.
    fn is_live(&self) -> bool;

    /// What was counted since the source was opened.
    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Frames that reached nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that could not be used: damaged, cut off, of another size.
    pub broken: u64,
    /// Frames that were passed over because they were too dark.
    pub dark: u64,
}

/// Where frames come from. Parsed from the board file's `source` or `--source`.
///
/// ```
/// use affectd::capture::SourceSpec;
/// let camera: SourceSpec = "card:HD Webcam".parse().unwrap();
/// assert_eq!(camera, SourceSpec::V4l2Card("HD Webcam".into()));
/// assert_eq!(camera.to_string(), "card:HD Webcam");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SourceSpec {
    /// A V4L2 device: a path, a by-id or by-path link.
    V4l2Path(PathBuf),
    /// The first V4L2 capture device whose card name is this (`card:NAME`).
    V4l2Card(String),
    /// A camera through nokhwa, by its index (`nokhwa:0`).
    Nokhwa(u32),
    /// A recording: a still picture, a directory of them, Y4M or concatenated
    /// MJPEG. Or a FIFO, which is read as standard input is.
    Replay(PathBuf),
    /// Frames on standard input (`-`).
    Stdin,
    /// A program and its arguments; it writes frames to its standard output.
    Command(Vec<String>),
}

impl fmt::Display for SourceSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::V4l2Path(path) | Self::Replay(path) => path.display().fmt(f),
            Self::V4l2Card(name) => write!(f, "card:{name}"),
            Self::Nokhwa(index) => write!(f, "nokhwa:{index}"),
            Self::Stdin => f.write_str("-"),
            Self::Command(command) => f.write_str(&command.join(" ")),
        }
    }
}

impl FromStr for SourceSpec {
    type Err = CaptureError;

    fn from_str(given: &str) -> Result<Self, Self::Err> {
        let wrong = |reason: &str| {
            Err(CaptureError::Source {
                given: given.to_owned(),
                reason: reason.to_owned(),
            })
        };
        if given.trim().is_empty() {
            return wrong("it is empty");
        }
        if given == "-" || given == "/dev/stdin" {
            return Ok(Self::Stdin);
        }
        if let Some(name) = given.strip_prefix("card:") {
            return match name.trim() {
                "" => wrong("the card's name is missing"),
                name => Ok(Self::V4l2Card(name.to_owned())),
            };
        }
        if let Some(index) = given.strip_prefix("nokhwa:") {
            return match index.parse() {
                Ok(index) => Ok(Self::Nokhwa(index)),
                Err(_) => wrong("after nokhwa: comes a camera's number, as in nokhwa:0"),
            };
        }
        if given.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong(&format!("a V4L2 camera is written /dev/video{given}"));
        }
        if is_address(given) {
            return wrong(&format!(
                "affectd opens no network connection: let ffmpeg open it, with \
                 ffmpeg -loglevel error -i '{given}' -f rawvideo -pix_fmt gray -s 640x480 - | \
                 affectd run --board BOARD --source - --format grey --size 640x480"
            ));
        }
        // Recordings may lie in memory, and shells name their pipes /dev/fd/N.
        let is_file = ["/dev/shm/", "/dev/fd/"]
            .iter()
            .any(|folder| given.starts_with(folder));
        if given.starts_with("/dev/") && !is_file {
            return Ok(Self::V4l2Path(given.into()));
        }
        Ok(Self::Replay(given.into()))
    }
}

/// Whether this is an address such as `rtsp://camera/1`.
fn is_address(text: &str) -> bool {
    text.split_once("://").is_some_and(|(scheme, _)| {
        let mut letters = scheme.chars();
        letters.next().is_some_and(|c| c.is_ascii_alphabetic())
            && letters.all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
    })
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
    /// A source that delivers no whole picture for this long counts as lost, but
    /// never before three of its intervals between pictures have passed.
    pub stall_timeout: Duration,
    /// How the source's picture is turned and mirrored before anything else
    /// sees it. `size` is the source's own.
    pub turn: Turn,
    /// How long the first picture of a [`SourceSpec::Command`] may take.
    pub start_timeout: Duration,
    /// Bytes from one row of raw frames to the next, where rows are padded.
    pub stride: Option<usize>,
    /// Mean luma, 0 to 255, below which a frame is passed over; 0: none. At most
    /// three frames in a row are.
    pub skip_darker_than: f32,
}

impl Default for Options {
    /// The first camera as it comes. It counts as lost soon enough that the
    /// outputs are safe a second after its last frame.
    fn default() -> Self {
        Self {
            source: SourceSpec::V4l2Path("/dev/video0".into()),
            size: None,
            fps: None,
            format: None,
            controls: Vec::new(),
            pace: Pace::default(),
            repeat: false,
            stall_timeout: Duration::from_millis(800),
            turn: Turn::default(),
            start_timeout: Duration::from_secs(10),
            stride: None,
            skip_darker_than: 0.0,
        }
    }
}

/// Why a source cannot be had, or is not to be had as asked for. A camera that
/// is merely absent or busy is none of these: see [`open`].
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(
        "source '{given}': {reason}; a source is a V4L2 device (/dev/video0, /dev/v4l/by-id/...), card:NAME, nokhwa:NUMBER, - for frames on standard input, or the path of a recording or a FIFO"
    )]
    Source { given: String, reason: String },
    #[error(
        "unknown pixel format '{given}'; formats are yuyv, uyvy, nv12, i420, grey, y16, rgb24, bgr24 and mjpg, by these names or those of ffmpeg, GStreamer and V4L2{advice}"
    )]
    Format { given: String, advice: &'static str },
    #[error(
        "raw frames of format {format} do not say how large they are: give their size, as in --format {format} --size 640x480 (board file: capture.size)"
    )]
    SizeMissing { format: PixelFormat },
    #[error(
        "a stride of {stride} bytes: a row of {width} pixels in {format} has {row} bytes, and the stride is at most 4 rows"
    )]
    Stride {
        stride: usize,
        format: PixelFormat,
        width: u32,
        row: usize,
    },
    #[error("a size of {width}x{height}: both sides have to lie between 1 and {MAX_SIDE} pixels")]
    Size { width: u32, height: u32 },
    #[error("a rate of {fps} frames a second: it has to lie above 0 and not above 1000")]
    Rate { fps: f32 },
    #[error("{device}: is no camera: {reason}")]
    NotACamera { device: String, reason: String },
    #[error("{device}: does not offer {asked}; it offers {offered}")]
    NotOffered {
        device: String,
        asked: String,
        offered: String,
    },
    #[error("{device}: may not be opened: add the user to the group that owns it (often 'video')")]
    Permission { device: String },
    #[error("{device}: control '{name}': {reason}")]
    Control {
        device: String,
        name: String,
        reason: String,
    },
    #[error("{device}: {doing}: {source}")]
    Device {
        device: String,
        doing: &'static str,
        source: io::Error,
    },
    #[error("{}: {reason}", .path.display())]
    Recording { path: PathBuf, reason: String },
    #[error(transparent)]
    Picture(#[from] MediaError),
    #[error("standard input: {reason}")]
    Stdin { reason: String },
    #[error("capture.command: {reason}")]
    Command { reason: String },
    #[error("nokhwa:{index}: {reason}")]
    Nokhwa { index: u32, reason: String },
}

/// Opens a source.
///
/// A camera that is absent or busy is no error: the source starts as
/// [`Captured::Lost`] and goes on trying, since a robot's camera may take
/// longer to start than its computer.
///
/// # Errors
/// What no waiting would mend: absurd sizes and rates, a device that is no
/// camera, a format or size that the device does not have (with what it
/// has), an unknown control, a recording that holds no picture.
pub fn open(options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    if let Some((width, height)) = options.size
        && !((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height))
    {
        return Err(CaptureError::Size { width, height });
    }
    if let Some(fps) = options.fps
        && !(fps > 0.0 && fps <= 1000.0)
    {
        return Err(CaptureError::Rate { fps });
    }
    let source = open_unturned(options)?;
    let source: Box<dyn Source> = if options.turn.is_none() {
        source
    } else {
        Box::new(turn::Turned::new(source, options.turn))
    };
    Ok(if options.skip_darker_than > 0.0 {
        Box::new(dark::SkipDark::new(source, options.skip_darker_than))
    } else {
        source
    })
}

fn open_unturned(options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    match &options.source {
        SourceSpec::V4l2Path(path) => v4l2::open(v4l2::Target::Path(path.clone()), options),
        SourceSpec::V4l2Card(name) => v4l2::open(v4l2::Target::Card(name.clone()), options),
        SourceSpec::Nokhwa(index) => open_nokhwa(*index, options),
        SourceSpec::Replay(path) if is_pipe(path) => stream::open_fifo(path, options),
        SourceSpec::Replay(path) => replay::open(path, options),
        SourceSpec::Stdin => stream::open_stdin(options),
        SourceSpec::Command(command) => stream::open_command(command, options),
    }
}

fn is_pipe(path: &std::path::Path) -> bool {
    path.metadata()
        .is_ok_and(|found| found.file_type().is_fifo())
}

#[cfg(feature = "nokhwa")]
fn open_nokhwa(index: u32, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    Ok(Box::new(nokhwa::Nokhwa::open(index, options)?))
}

#[cfg(not(feature = "nokhwa"))]
fn open_nokhwa(index: u32, _options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    Err(CaptureError::Nokhwa {
        index,
        reason: "this affectd is built without nokhwa: build it with --features nokhwa, or use /dev/videoN".to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sources_are_told_apart() {
        let spec = |s: &str| s.parse::<SourceSpec>().unwrap();
        assert_eq!(
            spec("/dev/video0"),
            SourceSpec::V4l2Path("/dev/video0".into())
        );
        assert_eq!(
            spec("/dev/v4l/by-id/usb-x"),
            SourceSpec::V4l2Path("/dev/v4l/by-id/usb-x".into())
        );
        assert_eq!(
            spec("/dev/shm/a.y4m"),
            SourceSpec::Replay("/dev/shm/a.y4m".into())
        );
        assert_eq!(spec("/dev/fd/63"), SourceSpec::Replay("/dev/fd/63".into()));
        assert_eq!(spec("card: A B "), SourceSpec::V4l2Card("A B".into()));
        assert_eq!(spec("nokhwa:3"), SourceSpec::Nokhwa(3));
        assert_eq!(spec("-"), SourceSpec::Stdin);
        assert_eq!(spec("faces"), SourceSpec::Replay("faces".into()));
        for text in ["/dev/video0", "card:A B", "nokhwa:3", "-", "faces/a.png"] {
            assert_eq!(spec(text).to_string(), text);
        }
    }

    #[test]
    fn a_wrong_source_is_told_what_is_right() {
        for given in ["", "  ", "card:", "nokhwa:", "nokhwa:front", "nokhwa:-1"] {
            let error = given.parse::<SourceSpec>().unwrap_err().to_string();
            assert!(
                error.contains("/dev/video0") && error.contains("card:NAME"),
                "{error}"
            );
        }
    }

    #[test]
    fn an_address_and_a_number_are_answered_with_what_works() {
        let error = |given: &str| given.parse::<SourceSpec>().unwrap_err().to_string();
        let told = error("rtsp://10.0.0.2:554/stream1");
        assert!(
            told.contains("ffmpeg -loglevel error -i 'rtsp://10.0.0.2:554/stream1'")
                && told.contains("--source - --format grey --size 640x480"),
            "{told}"
        );
        assert!(error("http://camera/mjpg").contains("ffmpeg"));
        assert!(error("0").contains("/dev/video0"), "{}", error("0"));
        assert!(error("12").contains("/dev/video12"));
    }

    #[test]
    fn absurd_sizes_and_rates_are_refused_before_any_device_is_touched() {
        for size in [(0, 480), (640, 0), (8001, 480), (640, u32::MAX)] {
            let options = Options {
                size: Some(size),
                ..Options::default()
            };
            assert!(matches!(open(&options), Err(CaptureError::Size { .. })));
        }
        for fps in [0.0, -1.0, f32::NAN, f32::INFINITY, 1e9] {
            let options = Options {
                fps: Some(fps),
                ..Options::default()
            };
            assert!(matches!(open(&options), Err(CaptureError::Rate { .. })));
        }
    }
}
