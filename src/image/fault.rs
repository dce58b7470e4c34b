//! Errors of pictures and picture files.

use std::io;
use std::path::PathBuf;

use crate::frame::MAX_SIDE;

/// Why the bytes of a picture cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the file is empty")]
    Empty,
    #[error("not a PNG, JPEG or PGM picture")]
    NotAPicture,
    #[error("the {0} ends before the picture does")]
    Truncated(&'static str),
    #[error("the picture is {width}x{height}, but its sides must be from 1 to {MAX_SIDE} pixels")]
    Size { width: u32, height: u32 },
    #[error("the {kind} is damaged: {reason}")]
    Damaged { kind: &'static str, reason: String },
    #[error("the {kind} has a feature that is not supported: {reason}")]
    Unsupported { kind: &'static str, reason: String },
}

/// A picture file that could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum MediaError {
    #[error("{}: cannot be read: {source}", .path.display())]
    Read { path: PathBuf, source: io::Error },
    #[error("{}: with {bytes} bytes the file is too large", .path.display())]
    TooManyBytes { path: PathBuf, bytes: u64 },
    #[error("{}: {fault}", .path.display())]
    Picture { path: PathBuf, fault: Fault },
    #[error("{}: cannot be written: {source}", .path.display())]
    Write { path: PathBuf, source: io::Error },
    #[error(
        "{}: {pixels} bytes do not fit a picture of {width}x{height} pixels", .path.display()
    )]
    Shape {
        path: PathBuf,
        width: u32,
        height: u32,
        pixels: usize,
    },
}
