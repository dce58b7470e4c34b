//! The trait of devices that show pictures.

use std::time::Duration;

use crate::draw::palette::Theme;
use crate::draw::{Canvas, Grain};
use crate::frame::Rect;

use super::DisplayError;

/// The form of a display.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outline {
    #[default]
    Rectangle,
    /// A circle or an ellipse that touches the sides; the corners are
    /// invisible.
    Round,
}

/// A device that shows pictures. Dropping it releases the hardware.
pub trait Panel {
    type Color: Theme;

    /// After this time the whole picture is sent again, even without a change.
    /// This repairs pixels that a spike on the bus or another program changed,
    /// and shows whether the device still answers. `None` if this is not
    /// needed.
    const RESEND: Option<Duration> = Some(Duration::from_secs(10));

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// The form of the display.
    fn outline(&self) -> Outline {
        Outline::Rectangle
    }

    /// The form of the rectangles in which changes are sent.
    fn grain(&self) -> Grain;

    /// Sends the canvas's pixels within each of `rects`.
    ///
    /// # Errors
    /// The device or its bus fails. Then the device is opened again.
    fn show(&mut self, canvas: &Canvas<Self::Color>, rects: &[Rect]) -> Result<(), DisplayError>;

    /// Switches the device off, if it can be switched off; `false` if it
    /// cannot, so that the picture for "stopped" should stay on it.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    fn darken(&mut self) -> Result<bool, DisplayError>;
}
