//! What a board file says about a display.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

use crate::output::gpio::LineId;

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
            Kind::Ssd1306(oled) => oled.validate(),
            Kind::St7789(panel) => panel.validate(),
            Kind::Framebuffer { .. } => Ok(()),
            Kind::Png(png) => png.validate(),
        }
    }
}

/// Where the screen is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A small OLED of one bit over I²C.
    Ssd1306(Ssd1306Options),
    /// A small colour panel over SPI.
    St7789(St7789Options),
    /// A Linux framebuffer, usually `/dev/fb0`.
    Framebuffer { path: PathBuf },
    /// A picture file.
    Png(PngOptions),
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ssd1306(oled) => {
                write!(f, "display SSD1306 on {}", oled.bus.display())
            }
            Self::St7789(panel) => write!(f, "display ST7789 on {}", panel.spi.display()),
            Self::Framebuffer { path } => write!(f, "display {}", path.display()),
            Self::Png(png) => write!(f, "display {}", png.path.display()),
        }
    }
}

/// How far the picture is turned on the glass, clockwise.
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
                    "'{degrees}' is no rotation; there are 0, 90, 180 and 270"
                ))
            })
            .and_then(Self::from_degrees)
    }
}

/// An SSD1306 on an I²C bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ssd1306Options {
    pub bus: PathBuf,
    /// 7 bits, 0x08 to 0x77; most modules have 0x3c, some 0x3d.
    pub address: u8,
    pub size: OledSize,
    pub rotation: Rotation,
}

/// `/dev/i2c-1`, address 0x3c, 128x64, upright.
impl Default for Ssd1306Options {
    fn default() -> Self {
        Self {
            bus: PathBuf::from("/dev/i2c-1"),
            address: 0x3c,
            size: OledSize::default(),
            rotation: Rotation::default(),
        }
    }
}

impl Ssd1306Options {
    fn validate(&self) -> Result<(), DisplayError> {
        // The others are reserved by the I2C specification (UM10204, 3.1.12).
        if (0x08..=0x77).contains(&self.address) {
            Ok(())
        } else {
            Err(DisplayError::Options(format!(
                "no I2C device has the address {:#04x}; an SSD1306 has 0x3c or 0x3d \
                 (0x78 and 0x7a on a module's back are the same with a bit below)",
                self.address
            )))
        }
    }
}

/// The glass of an OLED, in pixels before it is turned.
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
                "'{size}' is no size of an SSD1306; there are 128x64 and 128x32"
            ))),
        }
    }
}

/// An ST7789 on an SPI bus.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct St7789Options {
    pub spi: PathBuf,
    /// The clock in Hz; lower it for long wires.
    pub speed_hz: u32,
    /// The GPIO chip of the lines below: label, path or name.
    pub chip: String,
    /// Data or command.
    pub dc: LineId,
    /// Without it, the display's reset has to be tied high; it is then reset by
    /// a command.
    pub reset: Option<LineId>,
    /// Without it, the display shines all the time.
    pub backlight: Option<LineId>,
    /// Pixels before it is turned: at most 240x320.
    pub width: u16,
    pub height: u16,
    /// Where the glass's corner lies in the controller's 240x320 pixels.
    pub offset: (u16, u16),
    pub rotation: Rotation,
    /// Most panels (IPS) need their colours inverted.
    pub invert: bool,
}

impl St7789Options {
    /// The controller's memory in pixels.
    const MEMORY: (u16, u16) = (240, 320);

    /// 240x240, upright, at 32 MHz on `/dev/spidev0.0`, with no line but `dc`.
    #[must_use]
    pub fn new(chip: &str, dc: LineId) -> Self {
        Self {
            spi: PathBuf::from("/dev/spidev0.0"),
            speed_hz: 32_000_000,
            chip: chip.to_owned(),
            dc,
            reset: None,
            backlight: None,
            width: 240,
            height: 240,
            offset: (0, 0),
            rotation: Rotation::default(),
            invert: true,
        }
    }

    fn validate(&self) -> Result<(), DisplayError> {
        let fits = |side: u16, offset: u16, most: u16| {
            side > 0 && u32::from(side) + u32::from(offset) <= u32::from(most)
        };
        if !fits(self.width, self.offset.0, Self::MEMORY.0)
            || !fits(self.height, self.offset.1, Self::MEMORY.1)
        {
            return Err(DisplayError::Options(format!(
                "an ST7789 has 240x320 pixels; {}x{} at {},{} do not lie in them",
                self.width, self.height, self.offset.0, self.offset.1
            )));
        }
        if self.speed_hz == 0 {
            return Err(DisplayError::Options(
                "an SPI clock of 0 Hz sends nothing; 32000000 would be usual".into(),
            ));
        }
        let lines = [Some(&self.dc), self.reset.as_ref(), self.backlight.as_ref()];
        for (index, line) in lines.iter().enumerate() {
            if line.is_some() && lines[index + 1..].contains(line) {
                return Err(DisplayError::Options(format!(
                    "two of the display's lines dc, reset and backlight are {} of {}",
                    line.map_or_else(String::new, ToString::to_string),
                    self.chip
                )));
            }
        }
        Ok(())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(kind: Kind) -> String {
        let error = Options::new(kind).validate().unwrap_err();
        assert!(matches!(error, DisplayError::Options(_)), "{error:?}");
        error.to_string()
    }

    #[test]
    fn defaults_are_possible() {
        let panel = St7789Options::new("pinctrl-bcm2711", LineId::Offset(25));
        for kind in [
            Kind::Ssd1306(Ssd1306Options::default()),
            Kind::St7789(panel),
            Kind::Framebuffer {
                path: "/dev/fb0".into(),
            },
            Kind::Png(PngOptions::default()),
        ] {
            Options::new(kind).validate().unwrap();
        }
    }

    #[test]
    fn what_no_device_could_be_is_told() {
        let oled = Ssd1306Options {
            address: 0x78,
            ..Ssd1306Options::default()
        };
        assert!(refused(Kind::Ssd1306(oled)).contains("0x3c or 0x3d"));
        let panel = St7789Options::new("pinctrl-bcm2711", LineId::Offset(25));
        let large = St7789Options {
            width: 320,
            height: 240,
            ..panel.clone()
        };
        assert!(refused(Kind::St7789(large)).contains("320x240 at 0,0"));
        let shifted = St7789Options {
            offset: (0, u16::MAX),
            ..panel.clone()
        };
        assert!(refused(Kind::St7789(shifted)).contains("0,65535"));
        let still = St7789Options {
            speed_hz: 0,
            ..panel.clone()
        };
        assert!(refused(Kind::St7789(still)).contains("0 Hz"));
        let crossed = St7789Options {
            backlight: Some(LineId::Offset(25)),
            ..panel
        };
        assert!(refused(Kind::St7789(crossed)).contains("line 25"));
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
