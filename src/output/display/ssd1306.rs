//! SSD1306: small OLEDs of one bit over I²C.
//!
//! The crate ssd1306 speaks to the controller. Its own buffered mode sends one
//! rectangle around everything that changed, which for a face on the left and a
//! number on the right is the whole screen; here each rectangle is sent by
//! itself, in whole bytes of 8 rows.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;
use std::time::Duration;

use embedded_graphics::pixelcolor::BinaryColor;
use embedded_hal::i2c::{self, I2c};
use ssd1306::Ssd1306;
use ssd1306::command::AddrMode;
use ssd1306::mode::BasicMode;
use ssd1306::prelude::{DisplayRotation, DisplaySize, I2CInterface};

use crate::frame::Rect;

use super::options::Rotation;
use super::worker::Panel;
use super::{DisplayError, Ssd1306Options};
use crate::draw::{Canvas, Grain};

/// Bytes of the largest controller memory: 128x64 pixels.
const MEMORY: usize = 128 * 64 / 8;

/// An SSD1306 on a bus. `SIZE` is the crate ssd1306's type for its glass.
pub struct Ssd1306Panel<I2C: I2c, SIZE> {
    driver: Ssd1306<I2CInterface<Noting<I2C>>, SIZE, BasicMode>,
    /// What the bus last failed with: the driver only says that it did.
    failure: Rc<RefCell<String>>,
    options: Ssd1306Options,
    /// Whether the controller has just been initialised.
    fresh: bool,
    bytes: [u8; MEMORY],
}

impl<I2C, SIZE> Ssd1306Panel<I2C, SIZE>
where
    I2C: I2c<Error: fmt::Display>,
    SIZE: DisplaySize,
{
    /// Initialises the controller; it stays dark until the first picture, as its
    /// memory holds noise.
    ///
    /// # Errors
    /// The display does not answer.
    pub fn new(i2c: I2C, size: SIZE, options: &Ssd1306Options) -> Result<Self, DisplayError> {
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
        let mut panel = Self {
            driver: Ssd1306::new(interface, size, rotation),
            failure,
            options: options.clone(),
            fresh: true,
            bytes: [0; MEMORY],
        };
        panel.initialise()?;
        panel.send(|driver| driver.set_display_on(false))?;
        Ok(panel)
    }

    fn initialise(&mut self) -> Result<(), DisplayError> {
        self.send(|driver| driver.init_with_addr_mode(AddrMode::Horizontal))
    }

    fn send<E>(
        &mut self,
        command: impl FnOnce(&mut Ssd1306<I2CInterface<Noting<I2C>>, SIZE, BasicMode>) -> Result<(), E>,
    ) -> Result<(), DisplayError> {
        command(&mut self.driver).map_err(|_| DisplayError::I2c {
            bus: self.options.bus.clone(),
            address: self.options.address,
            reason: self.failure.take(),
        })
    }

    /// Sends a rectangle of the controller's memory: columns and pages of 8 rows
    /// as the controller counts them, ends exclusive.
    fn send_area(
        &mut self,
        canvas: &Canvas<BinaryColor>,
        columns: std::ops::Range<u32>,
        pages: std::ops::Range<u32>,
    ) -> Result<(), DisplayError> {
        let turned = self.options.rotation.is_sideways();
        let mut count = 0;
        for page in pages.clone() {
            for column in columns.clone() {
                let mut byte = 0;
                for bit in 0..8 {
                    // Turned by a quarter, a page is 8 columns of the canvas.
                    let (x, y) = if turned {
                        (page * 8 + bit, column)
                    } else {
                        (column, page * 8 + bit)
                    };
                    if x < canvas.width() && canvas.row(y)[x as usize].is_on() {
                        byte |= 1 << bit;
                    }
                }
                self.bytes[count] = byte;
                count += 1;
            }
        }
        // The glass has at most 128 columns and 64 rows: each fits into a byte.
        let corner = |column: u32, page: u32| (column as u8, (page * 8) as u8);
        let start = corner(columns.start, pages.start);
        let end = corner(columns.end, pages.end);
        let bytes = self.bytes;
        self.send(|driver| {
            driver.set_draw_area(start, end)?;
            driver.draw(&bytes[..count])
        })
    }
}

impl<I2C, SIZE> Panel for Ssd1306Panel<I2C, SIZE>
where
    I2C: I2c<Error: fmt::Display>,
    SIZE: DisplaySize,
{
    type Color = BinaryColor;

    const RESEND: Option<Duration> = Some(Duration::from_secs(30));

    fn size(&self) -> (u32, u32) {
        let (width, height) = self.driver.dimensions();
        (width.into(), height.into())
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 8,
            // Two commands of 5 bytes in all with address and control bytes:
            // what 9 columns of 8 pixels take.
            overhead: 9 * 8,
        }
    }

    fn show(&mut self, canvas: &Canvas<BinaryColor>, rects: &[Rect]) -> Result<(), DisplayError> {
        for rect in rects {
            let whole = *rect == canvas.bounds();
            if whole && !self.fresh {
                // A motor that pulls the supply down resets the controller, which
                // then answers but stays dark. It is set up anew now and then;
                // that takes some milliseconds, a blink at most.
                self.initialise()?;
            }
            self.fresh = false;
            let x = rect.x.unsigned_abs()..rect.x.unsigned_abs() + rect.width;
            let y = rect.y.unsigned_abs()..rect.y.unsigned_abs() + rect.height;
            let (columns, rows) = if self.options.rotation.is_sideways() {
                (y, x)
            } else {
                (x, y)
            };
            self.send_area(canvas, columns, rows.start / 8..rows.end.div_ceil(8))?;
            if whole {
                self.send(|driver| driver.set_display_on(true))?;
            }
        }
        Ok(())
    }

    /// Switches the display off: it would go on shining, and ageing, for as long
    /// as it has power.
    fn darken(&mut self) -> Result<bool, DisplayError> {
        self.send(|driver| driver.set_display_on(false))?;
        Ok(true)
    }
}

/// A bus that keeps the words of its last failure.
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
