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

mod bank;
mod cdev;
mod chips;
mod error;
mod inputs;
mod lines;
mod options;
mod pattern;
mod role;

pub use bank::Bank;
pub use cdev::{Cdev, locate, open, set_safe};
pub use chips::{ChipInfo, LineInfo, chips};
pub use error::{Error, Errors};
pub use lines::{HEARTBEAT, Lines};
pub use options::{InputOptions, LineId, LineOptions, Options};
pub use pattern::{Pattern, PatternError};
pub use role::{FatigueRole, Role, SafeLevel, UnknownRole, UnknownSafeLevel};
