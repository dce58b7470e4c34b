//! ST7789: small colour panels over SPI.
//!
//! The crate mipidsi knows the controller. Its SPI interface borrows a buffer,
//! which a panel that is closed and opened again for a year cannot lend it, and
//! sends empty writes, each a system call; so here is one that owns its buffer.

use std::fmt;

use embedded_graphics::pixelcolor::Rgb565;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;
use mipidsi::interface::{Interface, InterfaceKind};
use mipidsi::models::ST7789;
use mipidsi::options::{ColorInversion, Orientation, Rotation as Turn};
use mipidsi::{Builder, Display, NoResetPin};

use crate::frame::Rect;

use super::options::Rotation;
use super::worker::Panel;
use super::{DisplayError, St7789Options};
use crate::draw::{Canvas, Grain};

/// Bytes a write: spidev refuses more than 4096 unless told otherwise when the
/// kernel starts.
const BUFFER: usize = 4096;

/// An ST7789 with its data/command line and optional backlight.
pub struct St7789Panel<SPI: SpiDevice, PIN: OutputPin> {
    driver: Display<Link<SPI, PIN>, ST7789, NoResetPin>,
    backlight: Option<PIN>,
    lit: bool,
    options: St7789Options,
}

/// The lines beside the bus.
#[derive(Debug)]
pub struct St7789Pins<PIN> {
    /// High for data, low for commands.
    pub dc: PIN,
    /// Low resets.
    pub reset: Option<PIN>,
    /// High is lit.
    pub backlight: Option<PIN>,
}

impl<SPI, PIN> St7789Panel<SPI, PIN>
where
    SPI: SpiDevice<Error: fmt::Display>,
    PIN: OutputPin<Error: fmt::Display>,
{
    /// Resets and initialises the controller, in the dark: its memory holds
    /// noise until the first picture.
    ///
    /// # Errors
    /// The bus or a line fails. That no display is connected cannot be told.
    pub fn new(
        spi: SPI,
        mut pins: St7789Pins<PIN>,
        delay: &mut impl DelayNs,
        options: &St7789Options,
    ) -> Result<Self, DisplayError> {
        let line = |what| {
            move |error: PIN::Error| DisplayError::Pin {
                chip: options.chip.clone(),
                what,
                reason: error.to_string(),
            }
        };
        if let Some(backlight) = &mut pins.backlight {
            backlight.set_low().map_err(line("backlight"))?;
        }
        if let Some(reset) = &mut pins.reset {
            // At least 10 us low, then 120 ms (data sheet, 7.4.5).
            reset.set_low().map_err(line("reset"))?;
            delay.delay_ms(1);
            reset.set_high().map_err(line("reset"))?;
            delay.delay_ms(120);
        }
        let link = Link {
            spi,
            dc: pins.dc,
            buffer: Box::new([0; BUFFER]),
        };
        let turn = match options.rotation {
            Rotation::Deg0 => Turn::Deg0,
            Rotation::Deg90 => Turn::Deg90,
            Rotation::Deg180 => Turn::Deg180,
            Rotation::Deg270 => Turn::Deg270,
        };
        let driver = Builder::new(ST7789, link)
            .display_size(options.width, options.height)
            .display_offset(options.offset.0, options.offset.1)
            .orientation(Orientation::new().rotate(turn))
            .invert_colors(if options.invert {
                ColorInversion::Inverted
            } else {
                ColorInversion::Normal
            })
            .init(delay)
            .map_err(|error| match error {
                mipidsi::InitError::Interface(fault) => fault.of(options),
                mipidsi::InitError::ResetPin(never) => match never {},
                mipidsi::InitError::InvalidConfiguration(wrong) => {
                    DisplayError::Options(format!("the ST7789 cannot be set up so: {wrong:?}"))
                }
            })?;
        Ok(Self {
            driver,
            backlight: pins.backlight,
            lit: false,
            options: options.clone(),
        })
    }

    fn light(&mut self, on: bool) -> Result<(), DisplayError> {
        if let Some(backlight) = &mut self.backlight {
            if on {
                backlight.set_high()
            } else {
                backlight.set_low()
            }
            .map_err(|error| DisplayError::Pin {
                chip: self.options.chip.clone(),
                what: "backlight",
                reason: error.to_string(),
            })?;
        }
        self.lit = on;
        Ok(())
    }
}

impl<SPI, PIN> Panel for St7789Panel<SPI, PIN>
where
    SPI: SpiDevice<Error: fmt::Display>,
    PIN: OutputPin<Error: fmt::Display>,
{
    type Color = Rgb565;

    fn size(&self) -> (u32, u32) {
        let (width, height) = (self.options.width.into(), self.options.height.into());
        if self.options.rotation.is_sideways() {
            (height, width)
        } else {
            (width, height)
        }
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 8,
            // A rectangle costs 11 system calls for lines and bus, some 100 us
            // on a small board: 200 pixels at 32 MHz.
            overhead: 200,
        }
    }

    fn show(&mut self, canvas: &Canvas<Rgb565>, rects: &[Rect]) -> Result<(), DisplayError> {
        for rect in rects {
            // Sides are at most 320.
            let (left, top) = (rect.x as u16, rect.y as u16);
            let (right, bottom) = (rect.right() as u16 - 1, rect.bottom() as u16 - 1);
            let pixels =
                (u32::from(top)..=u32::from(bottom)).flat_map(|y| canvas.span(*rect, y).iter());
            self.driver
                .set_pixels(left, top, right, bottom, pixels.copied())
                .map_err(|fault| fault.of(&self.options))?;
        }
        if !self.lit {
            self.light(true)?;
        }
        Ok(())
    }

    /// Dark if there is a line for the backlight; else the picture for "stopped"
    /// stays.
    fn darken(&mut self) -> Result<bool, DisplayError> {
        self.light(false)?;
        Ok(self.backlight.is_some())
    }
}

/// What failed between this machine and the panel.
#[derive(Debug)]
enum Fault<S, P> {
    Spi(S),
    Dc(P),
}

impl<S: fmt::Display, P: fmt::Display> Fault<S, P> {
    fn of(&self, options: &St7789Options) -> DisplayError {
        match self {
            Self::Spi(error) => DisplayError::Spi {
                device: options.spi.clone(),
                reason: error.to_string(),
            },
            Self::Dc(error) => DisplayError::Pin {
                chip: options.chip.clone(),
                what: "dc",
                reason: error.to_string(),
            },
        }
    }
}

/// SPI with a line that tells data from commands ("4-line serial").
struct Link<SPI, PIN> {
    spi: SPI,
    dc: PIN,
    buffer: Box<[u8; BUFFER]>,
}

impl<SPI: SpiDevice, PIN: OutputPin> Link<SPI, PIN> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), Fault<SPI::Error, PIN::Error>> {
        self.spi.write(bytes).map_err(Fault::Spi)
    }
}

impl<SPI: SpiDevice, PIN: OutputPin> Interface for Link<SPI, PIN> {
    type Word = u8;
    type Error = Fault<SPI::Error, PIN::Error>;

    const KIND: InterfaceKind = InterfaceKind::Serial4Line;

    fn send_command(&mut self, command: u8, parameters: &[u8]) -> Result<(), Self::Error> {
        self.dc.set_low().map_err(Fault::Dc)?;
        self.write(&[command])?;
        // Whatever follows is data, pixels too.
        self.dc.set_high().map_err(Fault::Dc)?;
        if parameters.is_empty() {
            return Ok(());
        }
        self.write(parameters)
    }

    fn send_pixels<const N: usize>(
        &mut self,
        pixels: impl IntoIterator<Item = [u8; N]>,
    ) -> Result<(), Self::Error> {
        let mut filled = 0;
        for pixel in pixels {
            if filled + N > BUFFER {
                self.spi.write(&self.buffer[..filled]).map_err(Fault::Spi)?;
                filled = 0;
            }
            self.buffer[filled..filled + N].copy_from_slice(&pixel);
            filled += N;
        }
        if filled > 0 {
            self.spi.write(&self.buffer[..filled]).map_err(Fault::Spi)?;
        }
        Ok(())
    }

    fn send_repeated_pixel<const N: usize>(
        &mut self,
        pixel: [u8; N],
        count: u32,
    ) -> Result<(), Self::Error> {
        self.send_pixels((0..count).map(|_| pixel))
    }
}
