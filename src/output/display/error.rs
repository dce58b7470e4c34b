//! Errors of displays.

use std::io;
use std::path::PathBuf;

use crate::output::gpio;

/// An error of a display. [`open`](super::open) returns only [`Options`](Self::Options); the
/// others are logged while the display is tried again.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DisplayError {
    #[error("{0}")]
    Options(String),
    #[error("cannot start the display's thread: {0}")]
    Thread(io::Error),
    #[error(
        "no answer from address {address:#04x} on {}: {reason}; check wires and supply; \
         `i2cdetect -y N` shows the addresses that answer on /dev/i2c-N, and some modules have 0x3d",
        bus.display()
    )]
    I2c {
        bus: PathBuf,
        address: u8,
        reason: String,
    },
    #[error("cannot open {}: {reason}{hint}", path.display())]
    Bus {
        path: PathBuf,
        reason: String,
        hint: &'static str,
    },
    #[error("cannot write to {}: {reason}", device.display())]
    Spi { device: PathBuf, reason: String },
    #[error("cannot set the line {what} on GPIO chip '{chip}': {reason}")]
    Pin {
        chip: String,
        what: &'static str,
        reason: String,
    },
    #[error(transparent)]
    Line(#[from] gpio::Error),
    #[error("framebuffer {}: {source}", path.display())]
    Framebuffer { path: PathBuf, source: io::Error },
    #[error("framebuffer {} cannot be drawn on: it reports {complaint}", path.display())]
    FramebufferFormat { path: PathBuf, complaint: String },
    #[error("cannot write the picture {}: {source}", path.display())]
    Picture { path: PathBuf, source: io::Error },
}
