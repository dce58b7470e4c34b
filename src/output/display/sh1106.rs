//! SH1106: OLEDs of 1.3 inches, 128x64 pixels.
//!
//! No maintained crate drives this controller with embedded-hal 1. It differs
//! from an SSD1306 in three ways (data sheet 2.3): its memory has 132 columns,
//! and the panel shows the middle 128; a picture is written page by page, each
//! with an address of its own; and another command switches the supply of the
//! pixels.

use std::fmt;
use std::ops::Range;

use embedded_hal::i2c::I2c;

use super::DisplayError;
use super::oled::{Controller, OledPanel};
use super::options::{OledOptions, Rotation};

/// An SH1106 on a bus.
pub type Sh1106Panel<I2C> = OledPanel<Sh1106Controller<I2C>>;

impl<I2C: I2c<Error: fmt::Display>> Sh1106Panel<I2C> {
    /// Initialises the controller; it stays dark until the first picture,
    /// because its memory contains noise.
    ///
    /// # Errors
    /// The display does not answer.
    pub fn new(i2c: I2C, options: &OledOptions) -> Result<Self, DisplayError> {
        let controller = Sh1106Controller {
            i2c,
            options: options.clone(),
        };
        Self::start(controller, options)
    }
}

/// The column of the memory that the panel's first column shows, in both
/// directions: (132 - 128) / 2.
const FIRST_COLUMN: u8 = 2;

/// Bytes of pixels in one write: some USB adapters for I²C accept only about 60
/// bytes.
const CHUNK: usize = 32;

/// Control bytes (data sheet, "I2C-bus interface"): commands follow, or pixels.
const COMMAND: u8 = 0x00;
const PIXELS: u8 = 0x40;

/// The commands of an SH1106.
pub struct Sh1106Controller<I2C> {
    i2c: I2C,
    options: OledOptions,
}

impl<I2C: I2c<Error: fmt::Display>> Sh1106Controller<I2C> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), DisplayError> {
        self.i2c
            .write(self.options.address, bytes)
            .map_err(|error| DisplayError::I2c {
                bus: self.options.bus.clone(),
                address: self.options.address,
                reason: error.to_string(),
            })
    }
}

impl<I2C: I2c<Error: fmt::Display>> Controller for Sh1106Controller<I2C> {
    fn glass(&self) -> (u8, u8) {
        (128, 64)
    }

    fn initialise(&mut self) -> Result<(), DisplayError> {
        // Modules are wired so that segments and rows run backwards.
        let (segments, rows) = match self.options.rotation {
            Rotation::Deg0 => (0xa1, 0xc8),
            Rotation::Deg90 => (0xa0, 0xc8),
            Rotation::Deg180 => (0xa0, 0xc0),
            Rotation::Deg270 => (0xa1, 0xc0),
        };
        let commands: [&[u8]; 16] = [
            &[0xae],       // display off
            &[0xd5, 0x80], // clock: as after a reset
            &[0xa8, 0x3f], // 64 rows
            &[0xd3, 0x00], // no offset of the rows
            &[0x40],       // start with row 0
            &[0xad, 0x8b], // the pixels' supply from the built-in converter
            &[0x32],       // of 8 V, as after a reset
            &[segments],
            &[rows],
            &[0xda, 0x12], // alternating row pins
            &[0x81, 0x80], // contrast: as after a reset
            &[0xd9, 0x22], // precharge: as after a reset
            &[0xdb, 0x35], // deselect level: as after a reset
            &[0xa4],       // show the memory
            &[0xa6],       // not inverted
            &[0xaf],       // display on
        ];
        for command in commands {
            let mut message = [COMMAND; 3];
            message[1..=command.len()].copy_from_slice(command);
            self.write(&message[..=command.len()])?;
        }
        Ok(())
    }

    fn switch(&mut self, on: bool) -> Result<(), DisplayError> {
        self.write(&[COMMAND, 0xae | u8::from(on)])
    }

    fn send(
        &mut self,
        columns: Range<u8>,
        pages: Range<u8>,
        bytes: &[u8],
    ) -> Result<(), DisplayError> {
        let first = columns.start + FIRST_COLUMN;
        for (page, row) in pages.zip(bytes.chunks(columns.len().max(1))) {
            self.write(&[COMMAND, 0xb0 | page, first & 0x0f, 0x10 | first >> 4])?;
            // The column counter continues from one write to the next.
            for pixels in row.chunks(CHUNK) {
                let mut message = [PIXELS; CHUNK + 1];
                message[1..=pixels.len()].copy_from_slice(pixels);
                self.write(&message[..=pixels.len()])?;
            }
        }
        Ok(())
    }
}
