//! Linux cameras.
//!
//! From the device up:
//!
//! - `sys`: the V4L2 requests, with the few unsafe lines that they cost.
//! - `formats`: what a camera offers. `negotiate`: which of it to take.
//! - `stream`: the buffers of a running camera. `node`: from a camera's name to
//!   a running stream.
//! - `device_thread`: opens and closes cameras on a thread of its own, because
//!   a driver may hang there for as long as it likes. A running stream is lent
//!   to the loop: taking a filled buffer never waits for the driver, and on the
//!   loop's thread no frame is converted that a newer one replaces.
//! - `camera`: the state machine that gets a lost camera back. It sees the
//!   layers below through the traits in `backend` only.
//!
//! Of the crate `v4l` the structures and request numbers are used, not its
//! devices and streams: `MmapStream::next` queues a buffer after a time-out that
//! the kernel still owns (EINVAL for ever after), its `Drop` panics where a
//! dying camera answers STREAMOFF with an error other than ENODEV, its
//! capabilities and controls panic on names that are cut within a UTF-8 sequence
//! and on types that it does not know, and it calls ioctl by number, out of
//! libcamerify's reach.

mod backend;
mod camera;
mod device_thread;
mod formats;
mod negotiate;
mod node;
mod stream;
mod sys;

pub use backend::Target;
pub use formats::{CameraInfo, ControlInfo, FormatInfo, SizeInfo};
pub use node::cameras;

use super::{CaptureError, Options, Source};

/// Opens a camera of this machine.
///
/// # Errors
/// The camera can never be opened with these settings, or no thread can be
/// started.
pub fn open(target: Target, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let ask = negotiate::Ask {
        size: options.size,
        fps: options.fps,
        format: options.format,
        controls: options.controls.clone(),
    };
    let backend = device_thread::DeviceThread::start(node::Linux, target.clone(), ask)?;
    Ok(Box::new(camera::Camera::open(backend, target, options)?))
}
