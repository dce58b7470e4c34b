//! The board file's `[gpio]`: which lines there are and what each is for.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use super::pattern::Pattern;
use super::role::{Role, SafeLevel};

/// A line of a chip.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum LineId {
    /// The line's number on its chip, from 0.
    Offset(u32),
    /// The line's name, as `affectd devices` and `gpioinfo` show it.
    Name(String),
}

impl FromStr for LineId {
    type Err = std::convert::Infallible;

    /// Digits are an offset, anything else is a name.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text
            .parse()
            .map_or_else(|_| Self::Name(text.to_owned()), Self::Offset))
    }
}

impl fmt::Display for LineId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Offset(offset) => write!(f, "line {offset}"),
            Self::Name(name) => write!(f, "line '{name}'"),
        }
    }
}

/// One line of `[gpio]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineOptions {
    pub role: Role,
    pub line: LineId,
    /// Whether the line is on when its pin is low. Default: false.
    pub active_low: bool,
    /// Default: off; for `no_reading` on.
    pub safe: SafeLevel,
    /// What the line does instead of being on. Safe levels are steady. Only
    /// lines for states of fatigue can have a pattern.
    pub pattern: Option<Pattern>,
}

impl LineOptions {
    /// A line that is on when high, and safe when off unless its role says
    /// otherwise.
    #[must_use]
    pub fn new(role: Role, line: LineId) -> Self {
        Self {
            role,
            line,
            active_low: false,
            safe: role.own_safe_level().unwrap_or_default(),
            pattern: None,
        }
    }
}

/// A button or a switch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOptions {
    pub line: LineId,
    /// Whether the button is pressed, or the switch on, when its pin is low.
    pub active_low: bool,
}

/// The board file's `[gpio]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The chip's label (`pinctrl-bcm2711`), its device's path
    /// (`/dev/gpiochip0`) or its kernel name (`gpiochip0`). Labels stay the
    /// same, but numbers may change at each boot.
    pub chip: String,
    pub lines: Vec<LineOptions>,
    /// The button that silences patterns until the state ends or becomes more
    /// severe.
    pub acknowledge: Option<InputOptions>,
    /// The switch that asks for a pause while it is on.
    pub pause: Option<InputOptions>,
    /// The button that asks for a baseline to be recorded.
    pub baseline: Option<InputOptions>,
    /// A line that went on stays on for at least this time. Default: 100 ms.
    pub min_pulse: Duration,
    /// Without a new frame for this time, lines go to their safe level.
    /// Default: 500 ms.
    pub safe_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chip: String::new(),
            lines: Vec::new(),
            acknowledge: None,
            pause: None,
            baseline: None,
            min_pulse: Duration::from_millis(100),
            safe_after: Duration::from_millis(500),
        }
    }
}
