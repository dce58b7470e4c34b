//! Colour panels over SPI: ST7789, GC9A01 and ILI9341.
//!
//! The crate mipidsi drives the controllers. Its SPI interface borrows a
//! buffer, which does not work for a panel that is closed and opened again many
//! times, and sends empty writes, each of which is a system call. So this file
//! has an interface that owns its buffer.

use std::fmt;

use embedded_graphics::pixelcolor::Rgb565;
use embedded_hal::delay::DelayNs;
use embedded_hal::digital::OutputPin;
use embedded_hal::spi::SpiDevice;
use mipidsi::interface::{Interface, InterfaceKind};
use mipidsi::models::{GC9A01, ILI9341Rgb565, Model, ST7789};
use mipidsi::options::{ColorInversion, ColorOrder, Orientation, Rotation as Turn};
use mipidsi::{Builder, Display, NoResetPin};

use crate::draw::{Canvas, Grain};
use crate::frame::Rect;

use super::DisplayError;
use super::options::{Rotation, TftController, TftOptions};
use super::panel::{Outline, Panel};

/// Bytes per write: spidev refuses more than 4096, unless a kernel parameter
/// changes that.
const BUFFER: usize = 4096;

/// A colour panel with its data/command line and optional backlight.
pub struct TftPanel<SPI: SpiDevice, PIN: OutputPin> {
    driver: Driver<Link<SPI, PIN>>,
    backlight: Option<PIN>,
    lit: bool,
    options: TftOptions,
}

/// mipidsi's driver for each controller. One panel type for all of them keeps
/// the binary small.
enum Driver<L: Interface<Word = u8>> {
    St7789(Display<L, ST7789, NoResetPin>),
    Gc9a01(Display<L, GC9A01, NoResetPin>),
    Ili9341(Display<L, ILI9341Rgb565, NoResetPin>),
}

/// The lines besides the bus.
#[derive(Debug)]
pub struct TftPins<PIN> {
    /// High for data, low for commands.
    pub dc: PIN,
    /// Low resets.
    pub reset: Option<PIN>,
    /// High is lit.
    pub backlight: Option<PIN>,
}

impl<SPI, PIN> TftPanel<SPI, PIN>
where
    SPI: SpiDevice<Error: fmt::Display>,
    PIN: OutputPin<Error: fmt::Display>,
{
    /// Resets and initialises the controller, with the backlight off: its
    /// memory contains noise until the first picture.
    ///
    /// # Errors
    /// The bus or a line fails. A display that is not connected causes no
    /// error, because SPI has no answers.
    pub fn new(
        spi: SPI,
        mut pins: TftPins<PIN>,
        delay: &mut impl DelayNs,
        options: &TftOptions,
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
            // At least 10 us low, then 120 ms (data sheets of all three).
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
        let driver = match options.controller {
            TftController::St7789 => Driver::St7789(initialise(ST7789, link, delay, options)?),
            TftController::Gc9a01 => Driver::Gc9a01(initialise(GC9A01, link, delay, options)?),
            TftController::Ili9341 => {
                Driver::Ili9341(initialise(ILI9341Rgb565, link, delay, options)?)
            }
        };
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

fn initialise<SPI, PIN, MODEL>(
    model: MODEL,
    link: Link<SPI, PIN>,
    delay: &mut impl DelayNs,
    options: &TftOptions,
) -> Result<Display<Link<SPI, PIN>, MODEL, NoResetPin>, DisplayError>
where
    SPI: SpiDevice<Error: fmt::Display>,
    PIN: OutputPin<Error: fmt::Display>,
    MODEL: Model<ColorFormat = Rgb565>,
{
    // The panel of an ILI9341 is wired so that columns run backwards: the
    // makers' code sets the bit MX of "memory access control" for an upright
    // picture.
    let columns_reversed = options.controller == TftController::Ili9341;
    let wired = if options.mirror == columns_reversed {
        Orientation::new()
    } else {
        Orientation::new().flip_horizontal()
    };
    let turn = match options.rotation {
        Rotation::Deg0 => Turn::Deg0,
        Rotation::Deg90 => Turn::Deg90,
        Rotation::Deg180 => Turn::Deg180,
        Rotation::Deg270 => Turn::Deg270,
    };
    Builder::new(model, link)
        .display_size(options.width, options.height)
        .display_offset(options.offset.0, options.offset.1)
        .orientation(wired.rotate(turn))
        .color_order(if options.bgr {
            ColorOrder::Bgr
        } else {
            ColorOrder::Rgb
        })
        .invert_colors(if options.invert {
            ColorInversion::Inverted
        } else {
            ColorInversion::Normal
        })
        .init(delay)
        .map_err(|error| match error {
            mipidsi::InitError::Interface(fault) => fault.of(options),
            mipidsi::InitError::ResetPin(never) => match never {},
            mipidsi::InitError::InvalidConfiguration(wrong) => DisplayError::Options(format!(
                "the {} cannot be initialised with these options: {wrong:?}",
                options.controller
            )),
        })
}

impl<SPI, PIN> Panel for TftPanel<SPI, PIN>
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

    fn outline(&self) -> Outline {
        match self.options.controller {
            TftController::Gc9a01 => Outline::Round,
            TftController::St7789 | TftController::Ili9341 => Outline::Rectangle,
        }
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 8,
            // A rectangle needs 11 system calls for lines and bus, about 100 us
            // on a small board, as long as 200 pixels at 32 MHz.
            overhead: 200,
        }
    }

    fn show(&mut self, canvas: &Canvas<Rgb565>, rects: &[Rect]) -> Result<(), DisplayError> {
        for rect in rects {
            // Sides are at most 320.
            let (left, top) = (rect.x as u16, rect.y as u16);
            let (right, bottom) = (rect.right() as u16 - 1, rect.bottom() as u16 - 1);
            let pixels = (u32::from(top)..=u32::from(bottom))
                .flat_map(|y| canvas.span(*rect, y).iter())
                .copied();
            match &mut self.driver {
                Driver::St7789(driver) => driver.set_pixels(left, top, right, bottom, pixels),
                Driver::Gc9a01(driver) => driver.set_pixels(left, top, right, bottom, pixels),
                Driver::Ili9341(driver) => driver.set_pixels(left, top, right, bottom, pixels),
            }
            .map_err(|fault| fault.of(&self.options))?;
        }
        if !self.lit {
            self.light(true)?;
        }
        Ok(())
    }

    /// Switches the backlight off if it has a line; otherwise the picture for
    /// "stopped" stays.
    fn darken(&mut self) -> Result<bool, DisplayError> {
        self.light(false)?;
        Ok(self.backlight.is_some())
    }
}

/// The part of the connection that failed.
#[derive(Debug)]
enum Fault<S, P> {
    Spi(S),
    Dc(P),
}

impl<S: fmt::Display, P: fmt::Display> Fault<S, P> {
    fn of(&self, options: &TftOptions) -> DisplayError {
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

/// SPI with a line that distinguishes data from commands ("4-line serial").
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
        // Everything after the command is data, also pixels.
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
