//! The options of a source.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::error::CaptureError;
use super::format::PixelFormat;
use crate::image::turn::Turn;

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
    /// A camera read with nokhwa, by its index (`nokhwa:0`).
    Nokhwa(u32),
    /// A recording: a still picture, a directory of them, Y4M or concatenated
    /// MJPEG. Or a FIFO, which is read like standard input.
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
                Err(_) => wrong("write a camera's number after nokhwa:, as in nokhwa:0"),
            };
        }
        if given.bytes().all(|byte| byte.is_ascii_digit()) {
            return wrong(&format!("for a V4L2 camera write /dev/video{given}"));
        }
        if is_address(given) {
            return wrong(&format!(
                "affectd opens no network connection: let ffmpeg open it, with \
                 ffmpeg -loglevel error -i '{given}' -f rawvideo -pix_fmt gray -s 640x480 - | \
                 affectd run --board BOARD --source - --format grey --size 640x480"
            ));
        }
        // Recordings may be in shared memory, and shells name their pipes
        // /dev/fd/N.
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
    /// At the recorded speed.
    #[default]
    Recorded,
    /// As fast as the loop asks for frames; the recorded timestamps stay.
    Fast,
}

/// The board file's `[capture]`.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub source: SourceSpec,
    /// The requested size in pixels; `None` leaves it to the device or the
    /// recording.
    pub size: Option<(u32, u32)>,
    /// The requested frames per second; for a directory of pictures, how many
    /// are shown per second.
    pub fps: Option<f32>,
    /// `None`: the best format that the device offers.
    pub format: Option<PixelFormat>,
    /// V4L2 controls by name, as `v4l2-ctl --list-ctrls` spells them.
    pub controls: Vec<(String, i64)>,
    pub pace: Pace,
    /// Start a recording again when it ends.
    pub repeat: bool,
    /// A source that delivers no whole frame for this time counts as lost, but
    /// never before three of its intervals between frames have passed.
    pub stall_timeout: Duration,
    /// How the source's picture is turned and mirrored before the later stages.
    /// `size` is the size before that.
    pub turn: Turn,
    /// How long the first frame of a [`SourceSpec::Command`] may take.
    pub start_timeout: Duration,
    /// Bytes from one row of raw frames to the next, if rows are padded.
    pub stride: Option<usize>,
    /// Mean luma, 0 to 255, below which a frame is skipped, at most three in a
    /// row; 0: none.
    pub skip_darker_than: f32,
}

impl Options {
    /// The range of [`fps`](Self::fps).
    pub const FPS: RangeInclusive<f64> = 0.1..=1000.0;
    /// The range of [`stall_timeout`](Self::stall_timeout) and
    /// [`start_timeout`](Self::start_timeout) in a board file, in milliseconds.
    pub const TIMEOUT_MS: RangeInclusive<u64> = 100..=3_600_000;
    /// The range of [`skip_darker_than`](Self::skip_darker_than).
    pub const LUMA: RangeInclusive<f64> = 0.0..=255.0;
}

impl Default for Options {
    /// The first camera with its own settings. It counts as lost early enough
    /// that the outputs are safe a second after its last frame.
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
