//! The traits through which the state machine in `camera` opens a camera, takes
//! buffers from it and closes it.
//!
//! With these traits each fault can be a unit test. They are implemented for
//! the Linux kernel (`node`, `stream`) on a thread of its own
//! (`device_thread`).

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::capture::CaptureError;
use crate::capture::convert::Layout;
use crate::frame::Timestamp;

use super::holder::in_use;
use super::negotiate::Ask;

/// How the board file names the camera.
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

/// The settings that the driver accepted.
#[derive(Clone, Debug, PartialEq)]
pub struct Granted {
    /// Node, card and driver.
    pub device: String,
    pub layout: Layout,
    /// Frames per second, if the driver reports them.
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
    /// It is missing, busy or failing, but may work later.
    NotYet(String),
    /// It can never be opened with these settings.
    Never(CaptureError),
}

impl Refusal {
    /// The refusal for an error from opening the node `device`.
    pub fn of_opening(device: &str, error: io::Error) -> Self {
        match error.raw_os_error() {
            _ if is_absence(&error) => Self::NotYet("there is no such device".to_owned()),
            Some(libc::EBUSY) => Self::NotYet(in_use(Path::new(device))),
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

    /// The refusal for an error after opening: the camera is unplugged, in use
    /// or faulty.
    pub fn of_starting(device: &Path, error: &io::Error, doing: &str) -> Self {
        Self::NotYet(match error.raw_os_error() {
            Some(libc::EBUSY) => in_use(device),
            Some(libc::ENOSPC) => format!(
                "{doing}: the USB bus has no bandwidth left (unplug another camera, or choose a smaller size or rate)"
            ),
            _ if is_absence(error) => "it is gone".to_owned(),
            _ => format!("{doing}: {error}"),
        })
    }
}

/// Whether an error means that a device is unplugged or not there yet.
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
    /// Bytes of it that contain data.
    pub used: usize,
    /// The driver marks the data as damaged.
    pub damaged: bool,
    /// The driver's count of frames since the start of the stream.
    pub sequence: u32,
    /// On `CLOCK_MONOTONIC`; `None` if the driver uses another clock.
    pub timestamp: Option<Timestamp>,
}

/// The result of waiting for a buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ready {
    Data,
    Nothing,
    /// The driver reports an error; dequeuing may give the details.
    Error,
}

/// A camera that streams. Dropping it closes it completely, which may wait for
/// the driver without a limit; the other calls do not wait for the driver.
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

/// Opens a camera; may wait for the driver without a limit.
pub trait Opener {
    type Stream: Stream;

    /// Finds the camera, agrees on a format, sets its controls and starts it. A
    /// control that cannot be set is an error if `strict`, otherwise a warning.
    fn open(
        &mut self,
        target: &Target,
        ask: &Ask,
        strict: bool,
    ) -> Result<(Self::Stream, Granted), Refusal>;
}

/// A camera that another thread opens and closes, so that no call here waits
/// for a driver; and the clock.
pub trait V4l2Backend {
    type Stream: Stream;

    /// Begins to open the camera, after a close that is still running.
    /// [`opened`](Self::opened) gives the result; until then nothing else may
    /// be begun. `strict`: see [`Opener::open`].
    fn begin_open(&mut self, strict: bool);

    /// Waits for at most `timeout` for the result of
    /// [`begin_open`](Self::begin_open). `None` if there is none yet; a signal
    /// ends the wait early.
    fn opened(&mut self, timeout: Duration) -> Option<Result<(Self::Stream, Granted), Refusal>>;

    /// Begins to close the camera.
    fn begin_close(&mut self, stream: Self::Stream);

    /// The present time on the frames' clock.
    fn now(&self) -> Timestamp;

    fn sleep(&mut self, time: Duration);
}
