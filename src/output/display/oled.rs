//! OLEDs of one bit over I²C: the code that all controllers share.
//!
//! Each changed rectangle is sent separately, in whole bytes of 8 rows.
//! Otherwise, changes of a face on the left and a number on the right would
//! also send everything between them.

use std::ops::Range;
use std::time::Duration;

use embedded_graphics::pixelcolor::BinaryColor;

use crate::draw::{Canvas, Grain};
use crate::frame::Rect;

use super::DisplayError;
use super::options::OledOptions;
use super::panel::Panel;

/// Bytes of the largest panel: 128x64 pixels.
const BYTES: usize = 128 * 64 / 8;

/// The commands in which OLED controllers differ.
pub trait Controller {
    /// Width and height of the panel in pixels, before it is turned.
    fn glass(&self) -> (u8, u8);

    /// Sets every register. May leave the display on or off.
    ///
    /// # Errors
    /// The display does not answer.
    fn initialise(&mut self) -> Result<(), DisplayError>;

    /// Switches the pixels on or off; the memory stays.
    ///
    /// # Errors
    /// The display does not answer.
    fn switch(&mut self, on: bool) -> Result<(), DisplayError>;

    /// Sends a rectangle of the panel, page by page, with the controller's
    /// columns and pages of 8 rows.
    ///
    /// # Errors
    /// The display does not answer.
    fn send(
        &mut self,
        columns: Range<u8>,
        pages: Range<u8>,
        bytes: &[u8],
    ) -> Result<(), DisplayError>;
}

/// An OLED on a bus.
pub struct OledPanel<C> {
    controller: C,
    options: OledOptions,
    /// Whether the controller has just been initialised.
    fresh: bool,
    bytes: [u8; BYTES],
}

impl<C: Controller> OledPanel<C> {
    /// Initialises the controller; it stays dark until the first picture, as its
    /// memory holds noise.
    pub(super) fn start(controller: C, options: &OledOptions) -> Result<Self, DisplayError> {
        let mut panel = Self {
            controller,
            options: options.clone(),
            fresh: true,
            bytes: [0; BYTES],
        };
        panel.controller.initialise()?;
        panel.controller.switch(false)?;
        Ok(panel)
    }

    fn send_area(
        &mut self,
        canvas: &Canvas<BinaryColor>,
        columns: Range<u32>,
        pages: Range<u32>,
    ) -> Result<(), DisplayError> {
        let turned = self.options.rotation.is_sideways();
        let mut count = 0;
        for page in pages.clone() {
            for column in columns.clone() {
                let mut byte = 0;
                for bit in 0..8 {
                    // If turned by 90 degrees, a page is 8 columns of the
                    // canvas.
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
        // The panel has at most 128 columns and 64 rows, so each number fits
        // into a byte.
        self.controller.send(
            columns.start as u8..columns.end as u8,
            pages.start as u8..pages.end as u8,
            &self.bytes[..count],
        )
    }
}

impl<C: Controller> Panel for OledPanel<C> {
    type Color = BinaryColor;

    const RESEND: Option<Duration> = Some(Duration::from_secs(30));

    fn size(&self) -> (u32, u32) {
        let (width, height) = self.controller.glass();
        if self.options.rotation.is_sideways() {
            (height.into(), width.into())
        } else {
            (width.into(), height.into())
        }
    }

    fn grain(&self) -> Grain {
        Grain {
            band: 8,
            // About 9 bytes of commands with address and control bytes, as many
            // as 9 columns of 8 pixels.
            overhead: 9 * 8,
        }
    }

    fn show(&mut self, canvas: &Canvas<BinaryColor>, rects: &[Rect]) -> Result<(), DisplayError> {
        for rect in rects {
            let whole = *rect == canvas.bounds();
            if whole && !self.fresh {
                // If a motor pulls the supply down, the controller resets; then
                // it answers but stays dark. So it is initialised again from
                // time to time, which takes some milliseconds.
                self.controller.initialise()?;
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
                self.controller.switch(true)?;
            }
        }
        Ok(())
    }

    /// Switches the display off; otherwise it would shine and age as long as it
    /// has power.
    fn darken(&mut self) -> Result<bool, DisplayError> {
        self.controller.switch(false)?;
        Ok(true)
    }
}
