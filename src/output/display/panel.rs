//! What a device that shows pictures has to do.

use std::time::Duration;

use crate::draw::palette::Theme;
use crate::draw::{Canvas, Grain};
use crate::frame::Rect;

use super::DisplayError;

/// The form of a display's glass.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Outline {
    #[default]
    Rectangle,
    /// A circle, or an ellipse, that touches the sides: the corners cannot be
    /// seen.
    Round,
}

/// A device that shows pictures. Dropping it lets go of the hardware.
pub trait Panel {
    type Color: Theme;

    /// After this time the whole picture is sent again, changed or not: this
    /// repairs what a spike on the bus or another program drew over it, and
    /// shows that the device still answers. `None` where this is not needed.
    const RESEND: Option<Duration> = Some(Duration::from_secs(10));

    /// Width and height in pixels.
    fn size(&self) -> (u32, u32);

    /// The form of the glass.
    fn outline(&self) -> Outline {
        Outline::Rectangle
    }

    /// In what pieces changes are sent.
    fn grain(&self) -> Grain;

    /// Sends the canvas's pixels within each of `rects`.
    ///
    /// # Errors
    /// The device or its bus fails; the device is then opened again.
    fn show(&mut self, canvas: &Canvas<Self::Color>, rects: &[Rect]) -> Result<(), DisplayError>;

    /// Goes dark for good if the device can; `false` if it cannot and the
    /// picture for "stopped" should stay on it.
    ///
    /// # Errors
    /// As [`show`](Self::show).
    fn darken(&mut self) -> Result<bool, DisplayError>;
}
