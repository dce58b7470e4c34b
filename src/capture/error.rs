//! Errors from opening a source.

use std::io;
use std::path::PathBuf;

use super::format::{PixelFormat, UnknownFormat};
use crate::frame::MAX_SIDE;
use crate::image::MediaError;

/// The source cannot be opened, or not with these options. A camera that is
/// missing or busy is not an error: see [`open`](super::open).
#[derive(Debug, thiserror::Error)]
pub enum CaptureError {
    #[error(
        "source '{given}': {reason}; a source is a V4L2 device (/dev/video0, /dev/v4l/by-id/...), card:NAME, nokhwa:NUMBER, - for frames on standard input, or the path of a recording or a FIFO"
    )]
    Source { given: String, reason: String },
    #[error(transparent)]
    Format(#[from] UnknownFormat),
    #[error(
        "raw frames of format {format} do not contain their size: give it, as in --format {format} --size 640x480 (board file: capture.size)"
    )]
    SizeMissing { format: PixelFormat },
    #[error(
        "a stride of {stride} bytes is out of range: a row of {width} pixels in {format} has {row} bytes, and the stride is from 1 to 4 rows"
    )]
    Stride {
        stride: usize,
        format: PixelFormat,
        width: u32,
        row: usize,
    },
    #[error("a size of {width}x{height}: both sides must be from 1 to {MAX_SIDE} pixels")]
    Size { width: u32, height: u32 },
    #[error("a rate of {fps} frames per second: it must be from {from} to {to}")]
    Rate { fps: f32, from: f64, to: f64 },
    #[error("{device}: is not a camera: {reason}")]
    NotACamera { device: String, reason: String },
    #[error("{device}: does not offer {asked}; it offers {offered}")]
    NotOffered {
        device: String,
        asked: String,
        offered: String,
    },
    #[error(
        "{device}: no permission to open it: add the user to the group that owns it (often 'video')"
    )]
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
