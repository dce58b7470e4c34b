//! Capture: from a camera, a recording or standard input to luma planes.
//!
//! Each of them is a [`Source`]. The pipeline asks for the newest frame with a
//! time limit. It gets a frame, or the answer that there is none yet, that the
//! camera is lost, or that the recording is over. This module handles all
//! faults of a camera that runs for a year (unplugged, stalled, another node
//! number, half frames). The pipeline only sees [`Captured::Lost`].
//!
//! - `v4l2`: Linux cameras; a state machine around the kernel.
//! - `nokhwa`: cameras read with the crate nokhwa, for laptops (a cargo
//!   feature).
//! - `replay`: pictures, Y4M and Motion-JPEG recordings.
//! - `stream`: frames that another program writes into a pipe, and the start of
//!   that program.
//! - `turn`, `dark`: any source, with its picture turned or without dark
//!   frames.
//! - [`convert`]: one function per pixel format.

use std::os::unix::fs::FileTypeExt as _;

use crate::frame::MAX_SIDE;

mod closed;
pub mod convert;
mod dark;
mod error;
mod format;
#[cfg(feature = "nokhwa")]
mod nokhwa;
mod options;
mod replay;
mod source;
mod stall;
mod stream;
mod turn;
mod v4l2;

pub use closed::Closed;
pub use error::CaptureError;
pub use format::{PixelFormat, UnknownFormat};
pub use options::{Options, Pace, SourceSpec};
pub use source::{Captured, Counts, Frame, Source};
pub use stream::{find_program, launch_producer};
pub use v4l2::{CameraInfo, ControlInfo, FormatInfo, SizeInfo, cameras};

/// Opens a source.
///
/// A missing or busy camera is not an error: the source starts as
/// [`Captured::Lost`] and tries again and again, because a robot's camera may
/// need longer to start than its computer.
///
/// # Errors
/// Errors that waiting cannot fix: an absurd size or rate, a device that is not
/// a camera, a format or size that the device does not have (the error lists
/// what it has), an unknown control, a recording without a frame.
pub fn open(options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    if let Some((width, height)) = options.size
        && !((1..=MAX_SIDE).contains(&width) && (1..=MAX_SIDE).contains(&height))
    {
        return Err(CaptureError::Size { width, height });
    }
    if let Some(fps) = options.fps
        && !Options::FPS.contains(&f64::from(fps))
    {
        return Err(CaptureError::Rate {
            fps,
            from: *Options::FPS.start(),
            to: *Options::FPS.end(),
        });
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
        reason: "this affectd was built without nokhwa: build it with --features nokhwa, or use /dev/videoN".to_owned(),
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
    fn errors_for_wrong_sources_say_what_is_right() {
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
