//! What the commands on files share: the detector's options, JSON Lines on
//! standard output, and continuing after a bad file.

use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;
use std::str::FromStr;

use serde::Serialize;

use super::CommandResult;
use crate::assets;
use crate::detect::{Cascade, Detector, Enhance, Options};
use crate::image::turn::{Rotation, Turn};

/// The search for faces; the names and defaults are those of OpenCV's
/// `detectMultiScale`.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Search for faces")]
pub struct DetectArgs {
    /// Cascade in OpenCV's XML format: a path, or the name of a shipped one
    #[arg(long, value_name = "FILE", default_value = assets::DEFAULT_CASCADE)]
    pub cascade: String,

    /// Factor between two face sizes of the search, 1.01 to 10. A smaller factor
    /// finds more faces and takes longer
    #[arg(long, value_name = "FACTOR", default_value_t = Options::default().scale_factor)]
    pub scale_factor: f64,

    /// How many windows must agree on a face. A larger number gives fewer false
    /// faces; 0 shows every window
    #[arg(long, value_name = "N", default_value_t = Options::default().min_neighbors)]
    pub min_neighbors: u32,

    /// Smallest face in pixels, as 30 or 30x40 [default: the cascade's window]
    #[arg(long, value_name = "SIZE")]
    pub min_size: Option<Size>,

    /// Largest face in pixels, as 300 or 300x400 [default: the picture]
    #[arg(long, value_name = "SIZE")]
    pub max_size: Option<Size>,

    /// Contrast enhancement before the search, for dark or infra-red pictures:
    /// off, equalize or clahe
    #[arg(long, value_name = "HOW", default_value = "off")]
    pub enhance: Enhance,
}

impl DetectArgs {
    /// The detector with these options.
    ///
    /// # Errors
    /// The cascade is missing or invalid, or an option is out of range.
    pub fn detector(&self) -> Result<Detector, Box<dyn std::error::Error>> {
        let cascade = Cascade::load(&assets::find(&self.cascade)?)?;
        let defaults = Options::default();
        let options = Options {
            scale_factor: self.scale_factor,
            min_neighbors: self.min_neighbors,
            min_size: self.min_size.map_or(defaults.min_size, Size::pair),
            max_size: self.max_size.map(Size::pair),
            enhance: self.enhance,
        };
        Ok(Detector::new(cascade, options)?)
    }
}

/// How pictures are turned before the search for faces.
#[derive(clap::Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Turn the picture")]
pub struct TurnArgs {
    /// Rotate clockwise by 0, 90, 180 or 270 degrees
    #[arg(long, value_name = "DEGREES", default_value_t)]
    pub rotation: Rotation,

    /// Exchange left and right, after the rotation
    #[arg(long)]
    pub mirror: bool,
}

impl TurnArgs {
    #[must_use]
    pub const fn turn(self) -> Turn {
        Turn {
            rotation: self.rotation,
            mirror: self.mirror,
        }
    }
}

/// Width and height in pixels, written as `30` (square) or `30x40`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    pub width: u32,
    pub height: u32,
}

impl Size {
    fn pair(self) -> (u32, u32) {
        (self.width, self.height)
    }
}

/// A text that is not a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a size is written as 30 (square) or 30x40, in pixels")]
pub struct NoSize;

impl FromStr for Size {
    type Err = NoSize;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (width, height) = text.split_once(['x', 'X']).unwrap_or((text, text));
        Ok(Self {
            width: width.parse().map_err(|_| NoSize)?,
            height: height.parse().map_err(|_| NoSize)?,
        })
    }
}

/// Writes a line of JSON and flushes it, so that a reader of the pipe gets each
/// line at once.
///
/// # Errors
/// Standard output cannot be written.
pub fn write_line(out: &mut dyn Write, line: &impl Serialize) -> io::Result<()> {
    let mut text = serde_json::to_vec(line)?;
    text.push(b'\n');
    out.write_all(&text)?;
    out.flush()
}

/// The exit code of a command on files. A reader that closes the pipe early, as
/// in `affectd … | head`, is not an error.
///
/// # Errors
/// Standard output cannot be written for another reason.
pub fn ended(result: io::Result<()>, failures: &Failures) -> CommandResult {
    match result {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(failures.code()),
        Err(error) => Err(format!("standard output cannot be written: {error}").into()),
        Ok(()) => Ok(failures.code()),
    }
}

/// Reports each bad file on standard error and counts them.
#[derive(Debug, Default)]
pub struct Failures {
    count: usize,
}

impl Failures {
    /// Reports an error that names its file.
    pub fn add(&mut self, error: &dyn fmt::Display) {
        self.count += 1;
        eprintln!("affectd: {error}");
    }

    /// How many there were.
    #[must_use]
    pub const fn count(&self) -> usize {
        self.count
    }

    /// 1 if there was any, else 0.
    #[must_use]
    pub fn code(&self) -> ExitCode {
        ExitCode::from(u8::from(self.count > 0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_one_number_or_two() {
        let size = |width, height| Ok(Size { width, height });
        assert_eq!("30".parse(), size(30, 30));
        assert_eq!("30x40".parse(), size(30, 40));
        for bad in ["", "x", "30x", "-1", "30x40x50", "3.5"] {
            assert_eq!(bad.parse::<Size>(), Err(NoSize), "{bad}");
        }
    }
}
