//! What a camera is to the state machine in `camera`: something that is opened,
//! delivers buffers and is closed.
//!
//! The traits are here so that each fault is a unit test. Behind them is the
//! Linux kernel (`node`, `stream`) on a thread of its own (`device_thread`).

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use crate::capture::CaptureError;
use crate::capture::convert::Layout;
use crate::frame::Timestamp;

use super::negotiate::Ask;

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
    /// It is absent, busy or failing, and may be well later.
    NotYet(String),
    /// It can never be opened with these settings.
    Never(CaptureError),
}

const BUSY: &str = "it is in use by another program";

impl Refusal {
    /// From an error of opening the node `device`.
    pub fn of_opening(device: &str, error: io::Error) -> Self {
        match error.raw_os_error() {
            _ if is_absence(&error) => Self::NotYet("there is no such device".to_owned()),
            Some(libc::EBUSY) => Self::NotYet(BUSY.to_owned()),
            Some(libc::EACCES | libc::EPERM) => Self::Never(CaptureError::Permission {
                device: device.to_owned(),
            }),
            _ => Self::Never(CaptureError::Device {
                device: device.to_owned(),
                doing: "opening it",
                source: error,
            }),
        }
    }

    /// From an error after opening: the camera is leaving, in use or unwell.
    pub fn of_starting(error: &io::Error, doing: &str) -> Self {
        Self::NotYet(match error.raw_os_error() {
            Some(libc::EBUSY) => BUSY.to_owned(),
            Some(libc::ENOSPC) => format!(
                "{doing}: the USB bus has no bandwidth left (another camera, or ask for less)"
            ),
            _ if is_absence(error) => "it has gone".to_owned(),
            _ => format!("{doing}: {error}"),
        })
    }
}

/// Whether an error says that a device is leaving or not there yet.
pub fn is_absence(error: &io::Error) -> bool {
    matches!(
        error.raw_os_error(),
        Some(libc::ENOENT | libc::ENODEV | libc::ENXIO)
    )
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

/// A camera that streams. Dropping it closes it in full, which may take as long
/// as its driver likes; the other calls do not wait for the driver.
pub trait Stream {
    /// Waits for at most `timeout` until a buffer is filled.
    fn wait(&mut self, timeout: Duration) -> io::Result<Ready>;
    /// The oldest filled buffer, `None` if there is none.
    fn dequeue(&mut self) -> io::Result<Option<Filled>>;
    /// The bytes of a dequeued buffer.
    fn bytes(&self, filled: &Filled) -> &[u8];
    /// Gives a dequeued buffer back to the driver.
    fn requeue(&mut self, filled: Filled) -> io::Result<()>;
}

/// Opens a camera, for as long as its driver takes.
pub trait Opener {
    type Stream: Stream;

    /// Finds the camera, agrees on a format, sets its controls and starts it.
    /// A control that cannot be set is an error if `strict`, else a warning.
    fn open(
        &mut self,
        target: &Target,
        ask: &Ask,
        strict: bool,
    ) -> Result<(Self::Stream, Granted), Refusal>;
}

/// One camera that is opened and closed elsewhere, so that no call here waits
/// for a driver; and the time.
pub trait V4l2Backend {
    type Stream: Stream;

    /// Begins to open the camera, once what is being closed is closed.
    /// [`opened`](Self::opened) gives the result; until then nothing else may be
    /// begun. `strict`: see [`Opener::open`].
    fn begin_open(&mut self, strict: bool);

    /// Waits for at most `timeout` for the result of what was begun. `None` if
    /// there is none yet; a signal ends the wait early.
    fn opened(&mut self, timeout: Duration) -> Option<Result<(Self::Stream, Granted), Refusal>>;

    /// Begins to close the camera.
    fn begin_close(&mut self, stream: Self::Stream);

    /// The time on the clock of frames.
    fn now(&self) -> Timestamp;

    fn sleep(&mut self, time: Duration);
}
