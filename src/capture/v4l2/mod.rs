//! Linux cameras.
//!
//! From the device up:
//!
//! - `sys`: the V4L2 requests, with the few lines of unsafe code that they
//!   need.
//! - `formats`: what a camera offers. `negotiate`: chooses a format.
//! - `stream`: the buffers of a running camera. `node`: from a camera's name to
//!   a running stream.
//! - `holder`: names the program that holds a busy camera.
//! - `device_thread`: opens and closes cameras on a thread of its own, because
//!   a driver may hang there without a limit. The loop itself takes filled
//!   buffers from a running stream: this never waits for the driver, and the
//!   loop converts only the newest frame.
//! - `camera`: the state machine that opens a lost camera again. It uses the
//!   layers below only through the traits in `backend`.
//!
//! Only the structures and request numbers of the crate `v4l` are used, not its
//! devices and streams. After a timeout `MmapStream::next` queues a buffer that
//! the kernel still owns (and then always gets EINVAL). Its `Drop` panics if a
//! failing camera answers STREAMOFF with an error other than ENODEV. Its
//! capabilities and controls panic on names that are cut inside of a UTF-8
//! sequence, and on unknown types. And it calls ioctl by number, which
//! libcamerify cannot intercept.

mod backend;
mod camera;
mod device_thread;
mod formats;
mod holder;
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
