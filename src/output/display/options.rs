//! What a board file says about a display.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use super::DisplayError;

/// A display and how often it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub kind: Kind,
    /// The most pictures a second; above 0. 10 unless said otherwise.
    pub max_fps: f32,
}

impl Options {
    /// [`max_fps`](Self::max_fps) unless said otherwise.
    pub const MAX_FPS: f32 = 10.0;

    /// A display with the usual rate.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            max_fps: Self::MAX_FPS,
        }
    }

    /// Whether a device could be as the options say, without looking at any.
    ///
    /// # Errors
    /// The first thing that cannot be, with what can.
    pub fn validate(&self) -> Result<(), DisplayError> {
        if !(self.max_fps > 0.0 && self.max_fps.is_finite()) {
            return Err(DisplayError::Options(format!(
                "max_fps of {} is {}; a number above 0 is needed",
                self.kind, self.max_fps
            )));
        }
        match &self.kind {
            Kind::Png(png) => png.validate(),
        }
    }
}

/// Where the screen is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A picture file.
    Png(PngOptions),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Png(png) => write!(f, "display {}", png.path.display()),
        }
    }
}

/// A picture file that is replaced whenever the picture changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PngOptions {
    /// The file; its folder is made if it does not exist.
    pub path: PathBuf,
    /// Pixels, 1 to [`MAX_SIDE`](Self::MAX_SIDE).
    pub width: u32,
    /// Pixels, 1 to [`MAX_SIDE`](Self::MAX_SIDE).
    pub height: u32,
    pub coloring: Coloring,
    /// Keep each picture as a numbered file beside `path` too
    /// (`display-000001.png`). The newest value wins: what is replaced within
    /// 1/`max_fps` s is not drawn.
    pub every_change: bool,
}

impl PngOptions {
    /// The largest side of a picture.
    pub const MAX_SIDE: u32 = 4096;

    fn validate(&self) -> Result<(), DisplayError> {
        let sides = 1..=Self::MAX_SIDE;
        if !sides.contains(&self.width) || !sides.contains(&self.height) {
            return Err(DisplayError::Options(format!(
                "a picture of {}x{} cannot be; each side is 1 to {} pixels",
                self.width,
                self.height,
                Self::MAX_SIDE
            )));
        }
        if self.path.file_name().is_none() {
            return Err(DisplayError::Options(format!(
                "'{}' is no name of a picture file; display.png would be one",
                self.path.display()
            )));
        }
        Ok(())
    }
}

/// `display.png` in the working folder: 240x240 in colour.
impl Default for PngOptions {
    fn default() -> Self {
        Self {
            path: PathBuf::from("display.png"),
            width: 240,
            height: 240,
            coloring: Coloring::Color,
            every_change: false,
        }
    }
}

/// The colours of a picture file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Coloring {
    /// Black and white, as on an SSD1306.
    Mono,
    #[default]
    Color,
}

impl FromStr for Coloring {
    type Err = DisplayError;

    fn from_str(name: &str) -> Result<Self, DisplayError> {
        match name {
            "mono" => Ok(Self::Mono),
            "color" => Ok(Self::Color),
            _ => Err(DisplayError::Options(format!(
                "'{name}' is no colouring; there are mono and color"
            ))),
        }
    }
}
