//! The options of a display in a board file.

use std::fmt;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::str::FromStr;

use crate::output::gpio::LineId;

use super::DisplayError;

/// A display, and how often it is drawn.
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    pub kind: Kind,
    /// The largest number of pictures per second, above 0. Default: 10.
    pub max_fps: f32,
}

impl Options {
    /// The default of [`max_fps`](Self::max_fps).
    pub const MAX_FPS: f32 = 10.0;

    /// The range of [`max_fps`](Self::max_fps).
    pub const MAX_FPS_RANGE: RangeInclusive<f64> = 0.1..=1000.0;

    /// A display with the usual rate.
    #[must_use]
    pub const fn new(kind: Kind) -> Self {
        Self {
            kind,
            max_fps: Self::MAX_FPS,
        }
    }

    /// Checks the options without opening a device.
    ///
    /// # Errors
    /// Names the first impossible option, and what is possible.
    pub fn validate(&self) -> Result<(), DisplayError> {
        check_max_fps(&self.kind.to_string(), self.max_fps)?;
        match &self.kind {
            Kind::Oled(oled) => oled.validate(),
            Kind::Tft(panel) => panel.validate(),
            Kind::Framebuffer { .. } => Ok(()),
            Kind::Png(png) => png.validate(),
        }
    }
}

/// Refuses a rate out of range. `subject` names the display.
pub(super) fn check_max_fps(subject: &str, max_fps: f32) -> Result<(), DisplayError> {
    let range = Options::MAX_FPS_RANGE;
    if range.contains(&f64::from(max_fps)) {
        return Ok(());
    }
    Err(DisplayError::Options(format!(
        "max_fps of {subject} is {max_fps}; it must be from {} to {}",
        range.start(),
        range.end()
    )))
}

/// Where the screen is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A small OLED of one bit over I²C.
    Oled(OledOptions),
    /// A small colour panel over SPI.
    Tft(TftOptions),
    /// A Linux framebuffer, usually `/dev/fb0`.
    Framebuffer { path: PathBuf },
    /// A picture file.
    Png(PngOptions),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Oled(oled) => {
                write!(f, "display {} on {}", oled.controller, oled.bus.display())
            }
            Self::Tft(panel) => {
                write!(f, "display {} on {}", panel.controller, panel.spi.display())
            }
            Self::Framebuffer { path } => write!(f, "display {}", path.display()),
            Self::Png(png) => write!(f, "display {}", png.path.display()),
        }
    }
}

/// How far the picture is turned on the panel, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    #[default]
    Deg0,
    Deg90,
    Deg180,
    Deg270,
}

impl Rotation {
    /// Whether width and height change places.
    #[must_use]
    pub const fn is_sideways(self) -> bool {
        matches!(self, Self::Deg90 | Self::Deg270)
    }

    /// A rotation from degrees.
    ///
    /// # Errors
    /// The degrees are not 0, 90, 180 or 270.
    pub fn from_degrees(degrees: i64) -> Result<Self, DisplayError> {
        match degrees {
            0 => Ok(Self::Deg0),
            90 => Ok(Self::Deg90),
            180 => Ok(Self::Deg180),
            270 => Ok(Self::Deg270),
            _ => Err(DisplayError::Options(format!(
                "a display cannot be turned by {degrees} degrees; 0, 90, 180 and 270 are possible"
            ))),
        }
    }
}

impl FromStr for Rotation {
    type Err = DisplayError;

    fn from_str(degrees: &str) -> Result<Self, DisplayError> {
        degrees
            .parse()
            .map_err(|_| {
                DisplayError::Options(format!(
                    "unknown rotation '{degrees}'; rotations are 0, 90, 180 and 270"
                ))
            })
            .and_then(Self::from_degrees)
    }
}

/// The controller of an OLED.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OledController {
    /// Most OLEDs of 0.96 and 0.91 inches.
    #[default]
    Ssd1306,
    /// Most OLEDs of 1.3 inches. Its memory has 132 columns, and the panel
    /// shows the middle 128: with the commands of an SSD1306 the picture is
    /// shifted by 2 pixels.
    Sh1106,
}

impl fmt::Display for OledController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Ssd1306 => "SSD1306",
            Self::Sh1106 => "SH1106",
        })
    }
}

/// An OLED on an I²C bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OledOptions {
    pub controller: OledController,
    pub bus: PathBuf,
    /// 7 bits, 0x08 to 0x77; most modules have 0x3c, some 0x3d.
    pub address: u8,
    pub size: OledSize,
    pub rotation: Rotation,
}

/// An SSD1306 on `/dev/i2c-1`, address 0x3c, 128x64, upright.
impl Default for OledOptions {
    fn default() -> Self {
        Self::new(OledController::default())
    }
}

impl OledOptions {
    /// `/dev/i2c-1`, address 0x3c, 128x64, upright.
    #[must_use]
    pub fn new(controller: OledController) -> Self {
        Self {
            controller,
            bus: PathBuf::from("/dev/i2c-1"),
            address: 0x3c,
            size: OledSize::default(),
            rotation: Rotation::default(),
        }
    }

    fn validate(&self) -> Result<(), DisplayError> {
        // The others are reserved by the I2C specification (UM10204, 3.1.12).
        if !(0x08..=0x77).contains(&self.address) {
            return Err(DisplayError::Options(format!(
                "{:#04x} is not an I2C address; an {} has 0x3c or 0x3d \
                 (0x78 and 0x7a on a module's back are these two, shifted by one bit)",
                self.address, self.controller
            )));
        }
        if self.controller == OledController::Sh1106 && self.size != OledSize::W128H64 {
            return Err(DisplayError::Options(
                "an SH1106 has a size of 128x64; OLEDs of 128x32 have an SSD1306".into(),
            ));
        }
        Ok(())
    }
}

/// The size of an OLED, in pixels before it is turned.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OledSize {
    #[default]
    W128H64,
    W128H32,
}

impl FromStr for OledSize {
    type Err = DisplayError;

    fn from_str(size: &str) -> Result<Self, DisplayError> {
        match size {
            "128x64" => Ok(Self::W128H64),
            "128x32" => Ok(Self::W128H32),
            _ => Err(DisplayError::Options(format!(
                "unknown size '{size}' of an OLED; sizes are 128x64 and 128x32"
            ))),
        }
    }
}

/// The controller of a colour panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TftController {
    /// Most panels of 1.14 to 2 inches.
    St7789,
    /// Round panels of 1.28 inches.
    Gc9a01,
    /// Most panels of 2.2 to 3.2 inches.
    Ili9341,
}

impl TftController {
    /// The controller's memory in pixels, width and height.
    #[must_use]
    pub const fn memory(self) -> (u16, u16) {
        match self {
            Self::Gc9a01 => (240, 240),
            Self::St7789 | Self::Ili9341 => (240, 320),
        }
    }
}

impl fmt::Display for TftController {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::St7789 => "ST7789",
            Self::Gc9a01 => "GC9A01",
            Self::Ili9341 => "ILI9341",
        })
    }
}

/// A colour panel on an SPI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TftOptions {
    pub controller: TftController,
    pub spi: PathBuf,
    /// The clock in Hz; lower it for long wires.
    pub speed_hz: u32,
    /// The GPIO chip of the lines below: label, path or name.
    pub chip: String,
    /// The line that distinguishes data from commands.
    pub dc: LineId,
    /// The reset line. Without it, connect the display's reset pin to high; a
    /// command then resets it.
    pub reset: Option<LineId>,
    /// The backlight line. Without it, the display shines all the time.
    pub backlight: Option<LineId>,
    /// Width in pixels before it is turned, at most that of the controller's
    /// [memory](TftController::memory).
    pub width: u16,
    pub height: u16,
    /// The position of the panel's corner in the controller's memory.
    pub offset: (u16, u16),
    pub rotation: Rotation,
    /// For modules that show the picture mirrored.
    pub mirror: bool,
    /// Most IPS panels need their colours inverted.
    pub invert: bool,
    /// Whether the panel has blue where the controller expects red.
    pub bgr: bool,
}

impl TftOptions {
    /// What [`speed_hz`](Self::speed_hz) may be.
    pub const SPEED_HZ: RangeInclusive<u32> = 100_000..=125_000_000;

    /// The options that suit most modules with this controller: upright, 32 MHz
    /// on `/dev/spidev0.0`, only the line `dc`. An ST7789 has 240x240 pixels,
    /// the others have the size of their memory.
    #[must_use]
    pub fn new(controller: TftController, chip: &str, dc: LineId) -> Self {
        let (width, height) = match controller {
            TftController::St7789 => (240, 240),
            TftController::Gc9a01 | TftController::Ili9341 => controller.memory(),
        };
        Self {
            controller,
            spi: PathBuf::from("/dev/spidev0.0"),
            speed_hz: 32_000_000,
            chip: chip.to_owned(),
            dc,
            reset: None,
            backlight: None,
            width,
            height,
            offset: (0, 0),
            rotation: Rotation::default(),
            mirror: false,
            invert: controller != TftController::Ili9341,
            bgr: controller != TftController::St7789,
        }
    }

    fn validate(&self) -> Result<(), DisplayError> {
        let fits = |side: u16, offset: u16, most: u16| {
            side > 0 && u32::from(side) + u32::from(offset) <= u32::from(most)
        };
        let memory = self.controller.memory();
        if !fits(self.width, self.offset.0, memory.0) || !fits(self.height, self.offset.1, memory.1)
        {
            return Err(DisplayError::Options(format!(
                "the controller {} has {}x{} pixels, which do not contain {}x{} at {},{}",
                self.controller,
                memory.0,
                memory.1,
                self.width,
                self.height,
                self.offset.0,
                self.offset.1
            )));
        }
        if !Self::SPEED_HZ.contains(&self.speed_hz) {
            return Err(DisplayError::Options(format!(
                "the SPI clock is {} Hz; it must be from {} to {}, and 32000000 is usual",
                self.speed_hz,
                Self::SPEED_HZ.start(),
                Self::SPEED_HZ.end()
            )));
        }
        Ok(())
    }
}

/// A picture file that is replaced whenever the picture changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PngOptions {
    /// The file; its folder is created if it does not exist.
    pub path: PathBuf,
    /// Pixels, 1 to [`MAX_SIDE`](Self::MAX_SIDE).
    pub width: u32,
    /// Pixels, 1 to [`MAX_SIDE`](Self::MAX_SIDE).
    pub height: u32,
    pub coloring: Coloring,
    /// Also keep each picture as a numbered file beside `path`
    /// (`display-000001.png`). A picture that is replaced within 1/`max_fps` s
    /// is not drawn.
    pub every_change: bool,
}

impl PngOptions {
    /// The largest side of a picture.
    pub const MAX_SIDE: u32 = 4096;

    fn validate(&self) -> Result<(), DisplayError> {
        let sides = 1..=Self::MAX_SIDE;
        if !sides.contains(&self.width) || !sides.contains(&self.height) {
            return Err(DisplayError::Options(format!(
                "a picture cannot have {}x{} pixels; each side has 1 to {}",
                self.width,
                self.height,
                Self::MAX_SIDE
            )));
        }
        if self.path.file_name().is_none() {
            return Err(DisplayError::Options(format!(
                "'{}' does not name a picture file; an example is display.png",
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
    /// Black and white, as on an OLED.
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
                "unknown colouring '{name}'; colourings are mono and color"
            ))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tft(controller: TftController) -> TftOptions {
        TftOptions::new(controller, "pinctrl-bcm2711", LineId::Offset(25))
    }

    fn refused(kind: Kind) -> String {
        let error = Options::new(kind).validate().unwrap_err();
        assert!(matches!(error, DisplayError::Options(_)), "{error:?}");
        error.to_string()
    }

    #[test]
    fn defaults_are_possible() {
        for kind in [
            Kind::Oled(OledOptions::default()),
            Kind::Oled(OledOptions::new(OledController::Sh1106)),
            Kind::Tft(tft(TftController::St7789)),
            Kind::Tft(tft(TftController::Gc9a01)),
            Kind::Tft(tft(TftController::Ili9341)),
            Kind::Framebuffer {
                path: "/dev/fb0".into(),
            },
            Kind::Png(PngOptions::default()),
        ] {
            Options::new(kind).validate().unwrap();
        }
    }

    #[test]
    fn impossible_options_are_refused() {
        let oled = OledOptions {
            address: 0x78,
            ..OledOptions::default()
        };
        assert!(refused(Kind::Oled(oled)).contains("0x3c or 0x3d"));
        let flat = OledOptions {
            size: OledSize::W128H32,
            ..OledOptions::new(OledController::Sh1106)
        };
        assert!(refused(Kind::Oled(flat)).contains("SSD1306"));
        let tall = TftOptions {
            height: 320,
            ..tft(TftController::Gc9a01)
        };
        assert!(refused(Kind::Tft(tall)).contains("GC9A01 has 240x240"));
        let panel = tft(TftController::St7789);
        let large = TftOptions {
            width: 320,
            height: 240,
            ..panel.clone()
        };
        assert!(refused(Kind::Tft(large)).contains("320x240 at 0,0"));
        let shifted = TftOptions {
            offset: (0, u16::MAX),
            ..panel.clone()
        };
        assert!(refused(Kind::Tft(shifted)).contains("0,65535"));
        let still = TftOptions {
            speed_hz: 0,
            ..panel
        };
        assert!(refused(Kind::Tft(still)).contains("0 Hz"));
    }

    #[test]
    fn names_are_read() {
        assert_eq!("270".parse::<Rotation>().unwrap(), Rotation::Deg270);
        let error = "45".parse::<Rotation>().unwrap_err().to_string();
        assert!(error.contains("45") && error.contains("180"), "{error}");
        assert!("left".parse::<Rotation>().is_err());
        assert_eq!("128x32".parse::<OledSize>().unwrap(), OledSize::W128H32);
        assert!("96x16".parse::<OledSize>().is_err());
        assert_eq!("mono".parse::<Coloring>().unwrap(), Coloring::Mono);
    }
}
