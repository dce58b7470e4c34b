//! Where GPIO lines come from.

use std::fmt::Display;
use std::time::Duration;

use embedded_hal::digital::{InputPin, OutputPin, PinState};

use super::options::{LineId, LineOptions};

/// A line that failed is requested again after this time, then after twice as
/// long, up to [`RETRY_LONGEST`].
pub(super) const RETRY_FIRST: Duration = Duration::from_millis(100);
pub(super) const RETRY_LONGEST: Duration = Duration::from_secs(10);

/// Where pins come from: a chip of this machine, or a test's double.
pub trait Bank {
    type Pin: OutputPin<Error: Display>;
    type Input: InputPin<Error: Display>;
    type Error: Display;

    /// Takes a line as an output that has this level from the start, without
    /// another level before it. The level is the pin's physical one: a bank
    /// ignores `line.active_low`.
    ///
    /// # Errors
    /// The line is not available, at least for now.
    fn request(&mut self, line: &LineOptions, level: PinState) -> Result<Self::Pin, Self::Error>;

    /// Takes a line as an input. No pull resistor is asked of the kernel.
    /// `purpose` is for errors, and `gpioinfo` shows it as the line's user.
    ///
    /// # Errors
    /// The line is not available, at least for now.
    fn request_input(&mut self, line: &LineId, purpose: &str) -> Result<Self::Input, Self::Error>;
}
