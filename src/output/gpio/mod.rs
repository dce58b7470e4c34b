//! GPIO lines that follow the leading decision.
//!
//! A [`Role`] says what a line shows; [`Lines`] turns reports into levels and
//! is generic over where the pins come from ([`Bank`]), so that its rules are
//! tested without hardware; `cdev` is the one file that knows Linux.
//!
//! Rules, in the order in which they win:
//!
//! 1. **Safe levels.** At the start, at the end, while there is no camera and
//!    when no new frame has come for [`Options::safe_after`], each line has its
//!    [`SafeLevel`], at once and whatever the minimum pulse says.
//! 2. **One-hot.** Of all lines for expressions and for `uncertain`, those of
//!    one state at most are on. One goes off before another goes on.
//! 3. **Minimum pulse.** A line of that group, or a `face` line, that went on
//!    stays on for at least [`Options::min_pulse`]; what should show next waits
//!    until then, and is skipped if it has passed by then.
//!
//! With several faces the lines show the leading one (the first decision);
//! `face` is on while any face counts. `heartbeat` toggles with processed
//! frames, at most every [`HEARTBEAT`]; it stands still when frames do.
//!
//! Lines for states of fatigue ([`Role::Fatigue`]) are not part of the one-hot
//! group and have no minimum pulse: they show the state of the watched person,
//! or the gravest of several. A graver state also has the lines of those below
//! it. Without frames they go to their safe levels like all others, which for
//! `no_reading` is on unless the board file says otherwise.
//!
//! A line with a [`Pattern`] follows it in place of being on, and is off once the
//! alarm is acknowledged, by a button that is read with each report.
//!
//! Time is the reports' time, so a recording moves the lines in the same way at
//! any speed.
//!
//! # Levels
//! "On" and "off" are what the line means; "high" and "low" are what the pin
//! has. `active_low` inverts here and nowhere else: the kernel's own ACTIVE_LOW
//! flag is never asked for, because linux-embedded-hal's `CdevPin` undoes it:
//! `set_high` makes such a pin high, as if the flag were not there.
//!
//! When the process lets go of a line, by ending in whatever way, the kernel
//! and the pin's driver decide on its level: most turn it into an input or
//! leave it, some drop it to 0. Hardware that must be off then needs a resistor
//! that pulls it off.
//!
//! ```no_run
//! use affectd::observe::expression::Expression;
//! use affectd::output::gpio::{self, LineOptions, Options, Role};
//!
//! let options = Options {
//!     chip: "pinctrl-bcm2711".to_owned(),
//!     lines: vec![
//!         LineOptions::new(Role::Expression(Expression::Happy), "GPIO17".parse()?),
//!         LineOptions::new(Role::Heartbeat, "27".parse()?),
//!     ],
//!     ..Options::default()
//! };
//! let mut lines = gpio::open(&options)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod cdev;
mod lines;

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

pub use cdev::{Cdev, chips, locate, open, set_safe};
pub use lines::{Bank, HEARTBEAT, Lines};

use crate::decide::fatigue::State;
use crate::observe::expression::Expression;
use crate::suggest::nearest;

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// On while the leading face shows this expression.
    Expression(Expression),
    /// On while a face counts, whatever it shows.
    Face,
    /// On while a face that counts points to the camera.
    Facing,
    /// On while the leading face shows no expression clearly enough.
    Uncertain,
    /// Toggles while frames are processed.
    Heartbeat,
    /// Shows how awake the watched person is. Needs `[fatigue]`.
    Fatigue(FatigueRole),
}

/// Which states of fatigue a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FatigueRole {
    /// On while the person is drowsy, or worse.
    Drowsy,
    /// On in a microsleep, or worse.
    Microsleep,
    /// On while the person is asleep, or worse.
    Asleep,
    /// On while the person does not respond.
    Unresponsive,
    /// On while there is no reading.
    NoReading,
    /// On while there is no face in the watched region.
    Nobody,
    /// On only while the state is `ok`.
    Ok,
}

impl FatigueRole {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Drowsy,
        Self::Microsleep,
        Self::Asleep,
        Self::Unresponsive,
        Self::NoReading,
        Self::Nobody,
        Self::Ok,
    ];

    /// The name used in board files.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drowsy => "drowsy",
            Self::Microsleep => "microsleep",
            Self::Asleep => "asleep",
            Self::Unresponsive => "unresponsive",
            Self::NoReading => "no_reading",
            Self::Nobody => "nobody",
            Self::Ok => "fatigue_ok",
        }
    }

    /// Whether the line is on in a state.
    #[must_use]
    pub fn is_on(self, state: State) -> bool {
        match self {
            Self::Drowsy => state >= State::Drowsy,
            Self::Microsleep => state >= State::Microsleep,
            Self::Asleep => state >= State::Asleep,
            Self::Unresponsive => state >= State::Unresponsive,
            Self::NoReading => state == State::NoReading,
            Self::Nobody => state == State::Nobody,
            Self::Ok => state == State::Ok,
        }
    }
}

impl Role {
    /// Every role, in the order of the expressions and then of this enum.
    pub fn all() -> impl Iterator<Item = Self> {
        Expression::ALL
            .into_iter()
            .map(Self::Expression)
            .chain([Self::Face, Self::Facing, Self::Uncertain, Self::Heartbeat])
            .chain(FatigueRole::ALL.map(Self::Fatigue))
    }

    /// The name used in board files: an expression's, `face`, `facing`,
    /// `uncertain`, `heartbeat`, or a [`FatigueRole`]'s.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expression(expression) => expression.name(),
            Self::Face => "face",
            Self::Facing => "facing",
            Self::Uncertain => "uncertain",
            Self::Heartbeat => "heartbeat",
            Self::Fatigue(role) => role.name(),
        }
    }

    /// The safe level of a line that does not say otherwise, if the role has one
    /// of its own: a line that warns that nothing is known also warns while
    /// nothing runs.
    #[must_use]
    pub const fn own_safe_level(self) -> Option<SafeLevel> {
        match self {
            Self::Fatigue(FatigueRole::NoReading) => Some(SafeLevel::On),
            _ => None,
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name of no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown GPIO role '{name}'{}; roles are {}",
    suggestion(.name, Role::all().map(Role::name)),
    Role::all().map(Role::name).collect::<Vec<_>>().join(", ")
)]
pub struct UnknownRole {
    pub name: String,
}

impl FromStr for Role {
    type Err = UnknownRole;

    /// ```
    /// use affectd::output::gpio::Role;
    /// assert_eq!("face".parse(), Ok(Role::Face));
    /// assert!("hapy".parse::<Role>().unwrap_err().to_string().contains("did you mean 'happy'"));
    /// ```
    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::all()
            .find(|role| role.name() == name)
            .ok_or_else(|| UnknownRole {
                name: name.to_owned(),
            })
    }
}

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

/// What a line does while there is nothing to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SafeLevel {
    #[default]
    Off,
    On,
}

/// A name other than `off` and `on`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown safe level '{0}'; levels are 'off' and 'on'")]
pub struct UnknownSafeLevel(pub String);

impl FromStr for SafeLevel {
    type Err = UnknownSafeLevel;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "off" => Ok(Self::Off),
            "on" => Ok(Self::On),
            _ => Err(UnknownSafeLevel(name.to_owned())),
        }
    }
}

/// On and off times of a line in place of a steady level, for a buzzer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pattern {
    /// Each an even number of times, none zero: on, off, on, off, and so on.
    lists: Vec<Vec<Duration>>,
    rise_after: Option<Duration>,
}

/// A pattern that no line can follow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("has no list; write [[on, off]] in milliseconds, such as [[200, 800]]")]
    Empty,
    #[error(
        "list {list} has {count} times; it needs an even number of them: on, off, on, off, and so on"
    )]
    Odd { list: usize, count: usize },
    #[error("list {list} has a time of 0; each is 1 ms or more")]
    Zero { list: usize },
}

impl Pattern {
    /// A pattern from lists of on and off times. The first list repeats; after
    /// each `rise_after` the next one does; the last one stays.
    ///
    /// # Errors
    /// There is no list, or one is empty, has an odd number of times or a zero.
    pub fn new(
        lists: Vec<Vec<Duration>>,
        rise_after: Option<Duration>,
    ) -> Result<Self, PatternError> {
        if lists.is_empty() {
            return Err(PatternError::Empty);
        }
        for (list, times) in (1..).zip(&lists) {
            if times.is_empty() || times.len() % 2 == 1 {
                let count = times.len();
                return Err(PatternError::Odd { list, count });
            }
            if times.iter().any(Duration::is_zero) {
                return Err(PatternError::Zero { list });
            }
        }
        Ok(Self { lists, rise_after })
    }

    /// Whether a line that has followed the pattern for so long is on.
    ///
    /// ```
    /// use std::time::Duration;
    /// use affectd::output::gpio::Pattern;
    ///
    /// let millis = Duration::from_millis;
    /// let lists = vec![vec![millis(200), millis(800)], vec![millis(100), millis(100)]];
    /// let pattern = Pattern::new(lists, Some(millis(5000))).unwrap();
    /// assert!(pattern.is_on(millis(100)) && !pattern.is_on(millis(900)));
    /// assert!(pattern.is_on(millis(5250)) && !pattern.is_on(millis(5350)));
    /// ```
    #[must_use]
    pub fn is_on(&self, time: Duration) -> bool {
        let rise = self.rise_after.filter(|rise| !rise.is_zero());
        let (index, into) = match rise {
            Some(rise) => {
                let index = time.as_nanos() / rise.as_nanos();
                let index = usize::try_from(index).unwrap_or(usize::MAX);
                let index = index.min(self.lists.len() - 1);
                let begun = rise.saturating_mul(u32::try_from(index).unwrap_or(u32::MAX));
                (index, time.saturating_sub(begun))
            }
            None => (0, time),
        };
        let times = &self.lists[index];
        let length: Duration = times.iter().sum();
        let mut left = Duration::from_nanos((into.as_nanos() % length.as_nanos()) as u64);
        for (place, time) in times.iter().enumerate() {
            if left < *time {
                return place % 2 == 0;
            }
            left -= *time;
        }
        false
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
    /// What the line does in place of being on. Safe levels are steady. Only
    /// lines for states of fatigue follow one.
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

/// A button.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InputOptions {
    pub line: LineId,
    /// Whether the button is pressed when its pin is low.
    pub active_low: bool,
}

/// The board file's `[gpio]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The chip's label (`pinctrl-bcm2711`), its device's path
    /// (`/dev/gpiochip0`) or its kernel name (`gpiochip0`). Labels stay the same
    /// where numbers change from boot to boot.
    pub chip: String,
    pub lines: Vec<LineOptions>,
    /// The button that silences patterns until the state ends or becomes graver.
    pub acknowledge: Option<InputOptions>,
    /// A line that went on stays on at least so long. Default: 100 ms.
    pub min_pulse: Duration,
    /// With no new frame for so long, lines go to their safe level. Default:
    /// 500 ms.
    pub safe_after: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            chip: String::new(),
            lines: Vec::new(),
            acknowledge: None,
            min_pulse: Duration::from_millis(100),
            safe_after: Duration::from_millis(500),
        }
    }
}

/// A GPIO chip of this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChipInfo {
    /// `/dev/gpiochipN`.
    pub path: PathBuf,
    /// Empty if the chip could not be opened.
    pub label: String,
    /// In order of their offsets, from 0.
    pub lines: Vec<LineInfo>,
    /// Why nothing more is known of the chip.
    pub problem: Option<String>,
}

/// A line of a chip as the kernel describes it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LineInfo {
    pub offset: u32,
    pub name: Option<String>,
    /// What the line's user calls itself. `None` if nobody uses the line.
    pub user: Option<String>,
    pub output: bool,
}

/// Why a chip or a line cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("GPIO chip '{wanted}' does not exist; {}", listed(.known))]
    NoChip {
        wanted: String,
        /// Those there are, as text.
        known: Vec<String>,
    },
    #[error(
        "{} GPIO chips are labelled '{wanted}': {}; write the path of the right one",
        .paths.len(), .paths.join(", ")
    )]
    AmbiguousChip { wanted: String, paths: Vec<String> },
    #[error("GPIO chip '{chip}': {source}{}", hint(.source))]
    Chip {
        chip: String,
        source: gpio_cdev::Error,
    },
    #[error("GPIO chip '{chip}' has no line '{name}'{}; `affectd devices` lists the names", suggestion(.name, .names.iter().map(String::as_str)))]
    NoLineName {
        chip: String,
        name: String,
        names: Vec<String>,
    },
    #[error("GPIO chip '{chip}' has lines 0 to {}, so none at {offset}", .count.saturating_sub(1))]
    NoLineOffset {
        chip: String,
        offset: u32,
        count: u32,
    },
    #[error(
        "GPIO chip '{chip}', {line} for {purpose}: already in use by '{user}'; end that program or choose another line"
    )]
    LineInUse {
        chip: String,
        line: LineId,
        purpose: String,
        user: String,
    },
    #[error("GPIO chip '{chip}', {line} is given to both {first} and {second}")]
    LineTwice {
        chip: String,
        line: LineId,
        first: Role,
        second: Role,
    },
    #[error("GPIO chip '{chip}', {line} for {purpose}: {source}")]
    Line {
        chip: String,
        line: LineId,
        purpose: String,
        source: gpio_cdev::Error,
    },
}

/// Everything that is wrong, one error a line of text.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Errors(pub Vec<Error>);

fn listed(known: &[String]) -> String {
    if known.is_empty() {
        "this machine has none (no /dev/gpiochip*)".to_owned()
    } else {
        format!("there are {}", known.join(", "))
    }
}

fn hint(error: &gpio_cdev::Error) -> &'static str {
    match cdev::io_kind(error) {
        Some(std::io::ErrorKind::PermissionDenied) => {
            "; the user must be in the group of the device, mostly 'gpio'"
        }
        Some(std::io::ErrorKind::InvalidInput) => "; this is no GPIO chip",
        _ => "",
    }
}

/// ", did you mean …?" for the name most like a mistyped one, if one is like it.
fn suggestion<'n>(wrong: &str, names: impl Iterator<Item = &'n str>) -> String {
    nearest(wrong, names).map_or_else(String::new, |name| format!(", did you mean '{name}'?"))
}
