//! SSD1306: OLEDs of 128x64 and 128x32 pixels. The crate ssd1306 drives the
//! controller.

use std::cell::RefCell;
use std::fmt;
use std::ops::Range;
use std::rc::Rc;

use embedded_hal::i2c::{self, I2c};
use ssd1306::Ssd1306;
use ssd1306::command::AddrMode;
use ssd1306::mode::BasicMode;
use ssd1306::prelude::{DisplayRotation, DisplaySize, I2CInterface};

use super::DisplayError;
use super::oled::{Controller, OledPanel};
use super::options::{OledOptions, Rotation};

/// An SSD1306 on a bus. `SIZE` is the crate ssd1306's type for the panel's
/// size.
pub type Ssd1306Panel<I2C, SIZE> = OledPanel<Ssd1306Controller<I2C, SIZE>>;

impl<I2C, SIZE> Ssd1306Panel<I2C, SIZE>
where
    I2C: I2c<Error: fmt::Display>,
    SIZE: DisplaySize,
{
    /// Initialises the controller; it stays dark until the first picture,
    /// because its memory contains noise.
    ///
    /// # Errors
    /// The display does not answer.
    pub fn new(i2c: I2C, size: SIZE, options: &OledOptions) -> Result<Self, DisplayError> {
        let failure = Rc::new(RefCell::new(String::new()));
        let noting = Noting {
            i2c,
            failure: Rc::clone(&failure),
        };
        let rotation = match options.rotation {
            Rotation::Deg0 => DisplayRotation::Rotate0,
            Rotation::Deg90 => DisplayRotation::Rotate90,
            Rotation::Deg180 => DisplayRotation::Rotate180,
            Rotation::Deg270 => DisplayRotation::Rotate270,
        };
        let interface = I2CInterface::new(noting, options.address, 0x40);
        let controller = Ssd1306Controller {
            driver: Ssd1306::new(interface, size, rotation),
            failure,
            options: options.clone(),
        };
        Self::start(controller, options)
    }
}

/// The driver of the crate ssd1306, with the text of the last failure.
pub struct Ssd1306Controller<I2C: I2c, SIZE> {
    driver: Ssd1306<I2CInterface<Noting<I2C>>, SIZE, BasicMode>,
    /// The text of the bus's last failure, which the driver does not pass on.
    failure: Rc<RefCell<String>>,
    options: OledOptions,
}

impl<I2C, SIZE> Ssd1306Controller<I2C, SIZE>
where
    I2C: I2c<Error: fmt::Display>,
    SIZE: DisplaySize,
{
    fn run<E>(
        &mut self,
        command: impl FnOnce(&mut Ssd1306<I2CInterface<Noting<I2C>>, SIZE, BasicMode>) -> Result<(), E>,
    ) -> Result<(), DisplayError> {
        command(&mut self.driver).map_err(|_| DisplayError::I2c {
            bus: self.options.bus.clone(),
            address: self.options.address,
            reason: self.failure.take(),
        })
    }
}

impl<I2C, SIZE> Controller for Ssd1306Controller<I2C, SIZE>
where
    I2C: I2c<Error: fmt::Display>,
    SIZE: DisplaySize,
{
    fn glass(&self) -> (u8, u8) {
        (SIZE::WIDTH, SIZE::HEIGHT)
    }

    fn initialise(&mut self) -> Result<(), DisplayError> {
        self.run(|driver| driver.init_with_addr_mode(AddrMode::Horizontal))
    }

    fn switch(&mut self, on: bool) -> Result<(), DisplayError> {
        self.run(|driver| driver.set_display_on(on))
    }

    fn send(
        &mut self,
        columns: Range<u8>,
        pages: Range<u8>,
        bytes: &[u8],
    ) -> Result<(), DisplayError> {
        self.run(|driver| {
            driver.set_draw_area(
                (columns.start, pages.start * 8),
                (columns.end, pages.end * 8),
            )?;
            driver.draw(bytes)
        })
    }
}

/// A bus that keeps the text of its last failure.
pub struct Noting<I2C> {
    i2c: I2C,
    failure: Rc<RefCell<String>>,
}

impl<I2C: I2c> i2c::ErrorType for Noting<I2C> {
    type Error = I2C::Error;
}

impl<I2C: I2c<Error: fmt::Display>> I2c for Noting<I2C> {
    fn transaction(
        &mut self,
        address: u8,
        operations: &mut [i2c::Operation<'_>],
    ) -> Result<(), Self::Error> {
        self.i2c
            .transaction(address, operations)
            .inspect_err(|error| {
                *self.failure.borrow_mut() = error.to_string();
            })
    }
}
