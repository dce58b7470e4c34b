//! Lines that are read: a button, and a switch that is debounced.

use std::fmt::Display;
use std::time::{Duration, Instant};

use embedded_hal::digital::InputPin;

use super::bank::{Bank, RETRY_FIRST, RETRY_LONGEST};
use super::levels::Level;
use super::options::InputOptions;
use crate::fault::FaultLog;
use crate::frame::Timestamp;

/// A change of a switch counts after it has lasted for this long.
const DEBOUNCE: Duration = Duration::from_millis(50);

/// A line that is read, and requested again after it failed.
#[derive(Debug)]
pub(super) struct Input<I> {
    options: InputOptions,
    purpose: &'static str,
    /// `None` while the line is not available.
    pin: Option<I>,
    fault: FaultLog,
    retry_at: Timestamp,
    retry_after: Duration,
}

/// The result of reading a line.
struct Reading {
    /// Pressed, or on.
    is_active: bool,
    /// The line was just requested again.
    was_lost: bool,
}

impl<I: InputPin<Error: Display>> Input<I> {
    pub fn request<B: Bank<Input = I>>(
        bank: &mut B,
        chip: &str,
        options: &InputOptions,
        purpose: &'static str,
    ) -> Result<Self, B::Error> {
        Ok(Self {
            pin: Some(bank.request_input(&options.line, purpose)?),
            options: options.clone(),
            purpose,
            fault: FaultLog::new(format!(
                "GPIO chip '{chip}', {} for {purpose}",
                options.line
            )),
            retry_at: Timestamp::default(),
            retry_after: RETRY_FIRST,
        })
    }

    fn level(&self, is_active: bool) -> Level {
        match self.pin {
            Some(_) => Level::of(is_active),
            None => Level::Unknown,
        }
    }

    /// Reads the line; `None` if it cannot be read, which is logged.
    fn read(&mut self, bank: &mut impl Bank<Input = I>, now: Timestamp) -> Option<Reading> {
        let (was_lost, read) = match &mut self.pin {
            Some(pin) => (false, pin.is_high().map_err(|error| error.to_string())),
            None if now < self.retry_at => return None,
            None => match bank.request_input(&self.options.line, self.purpose) {
                Ok(mut pin) => {
                    let read = pin.is_high().map_err(|error| error.to_string());
                    self.pin = Some(pin);
                    (true, read)
                }
                Err(error) => (true, Err(error.to_string())),
            },
        };
        match read {
            Ok(is_high) => {
                self.fault.cleared();
                self.retry_after = RETRY_FIRST;
                Some(Reading {
                    is_active: is_high != self.options.active_low,
                    was_lost,
                })
            }
            Err(error) => {
                self.pin = None;
                self.fault.occurred(&error);
                self.retry_at = Timestamp(now.0.saturating_add(self.retry_after));
                self.retry_after = (self.retry_after * 2).min(RETRY_LONGEST);
                None
            }
        }
    }
}

/// A button, of which only presses count.
#[derive(Debug)]
pub(super) struct Button<I> {
    input: Input<I>,
    is_pressed: bool,
}

impl<I: InputPin<Error: Display>> Button<I> {
    pub const fn new(input: Input<I>) -> Self {
        Self {
            input,
            // A button that is held from the start does not count as pressed.
            is_pressed: true,
        }
    }

    /// Whether the button was held down when it was last read.
    pub fn level(&self) -> Level {
        self.input.level(self.is_pressed)
    }

    /// Whether the button was pressed since it was last read.
    pub fn is_pressed_now(&mut self, bank: &mut impl Bank<Input = I>, now: Timestamp) -> bool {
        let Some(reading) = self.input.read(bank, now) else {
            return false;
        };
        let was_pressed = std::mem::replace(&mut self.is_pressed, reading.is_active);
        reading.is_active && !was_pressed && !reading.was_lost
    }
}

/// A switch, of which the position counts.
#[derive(Debug)]
pub(super) struct Switch<I> {
    input: Input<I>,
    is_on: bool,
    /// Since when the line has had the other level.
    other_since: Option<Instant>,
}

impl<I: InputPin<Error: Display>> Switch<I> {
    pub const fn new(input: Input<I>) -> Self {
        Self {
            input,
            is_on: false,
            other_since: None,
        }
    }

    /// Takes the position at the start as it is.
    pub fn begin(&mut self, bank: &mut impl Bank<Input = I>) {
        let reading = self.input.read(bank, Timestamp::default());
        self.is_on = reading.is_some_and(|reading| reading.is_active);
    }

    /// The position when it was last read.
    pub const fn is_on(&self) -> bool {
        self.is_on
    }

    /// The position for those who look at it.
    pub fn level(&self) -> Level {
        self.input.level(self.is_on)
    }

    /// Reads the switch. A line that cannot be read leaves the position as it was.
    /// `report` is the time of the report, which may stand still (a recording
    /// that is paused); bouncing takes real time.
    pub fn read(
        &mut self,
        bank: &mut impl Bank<Input = I>,
        report: Timestamp,
        now: Instant,
    ) -> bool {
        match self.input.read(bank, report) {
            Some(reading) if reading.is_active != self.is_on => {
                let since = *self.other_since.get_or_insert(now);
                if now.saturating_duration_since(since) >= DEBOUNCE {
                    self.is_on = reading.is_active;
                    self.other_since = None;
                }
            }
            _ => self.other_since = None,
        }
        self.is_on
    }
}
