//! GPIO lines that follow the leading decision.
//!
//! A [`Role`] says what a line shows. [`Lines`] turns reports into levels and
//! is generic over the source of pins ([`Bank`]), so its rules are tested
//! without hardware. Only the file `cdev` uses Linux.
//!
//! The rules; an earlier one overrides the later ones:
//!
//! 1. **Safe levels.** Each line has its [`SafeLevel`] at the start, at the
//!    end, while there is no camera, and when no new frame has come for
//!    [`Options::safe_after`]. It gets this level at once, regardless of the
//!    minimum pulse.
//! 2. **One-hot.** Of all lines for expressions and for `uncertain`, only those
//!    of one state are on at a time. One goes off before another goes on.
//! 3. **Minimum pulse.** A line of that group, or a `face` line, that went on
//!    stays on for at least [`Options::min_pulse`]; the next state waits until
//!    then, and is skipped if it has ended by then.
//!
//! With several faces the lines show the leading one (the first decision);
//! `face` is on while any face counts. `heartbeat` toggles with processed
//! frames, at most every [`HEARTBEAT`]; it does not change when no frames come.
//!
//! Lines for states of fatigue ([`Role::Fatigue`]) are not part of the one-hot
//! group and have no minimum pulse: they show the state of the watched person,
//! or the most severe one of several persons. In a more severe state the lines
//! of less severe ones are on, too. Without frames they go to their safe levels
//! like all others; that of `no_reading` is on unless the board file says
//! otherwise.
//!
//! A line with a [`Pattern`] follows the pattern instead of being on. It is off
//! after the alarm was acknowledged by a button, which is read with each
//! report.
//!
//! Time is the reports' time, so a recording moves the lines in the same way at
//! any speed.
//!
//! # Levels
//! "On" and "off" describe the meaning of a line; "high" and "low" describe the
//! level of its pin. Only this module inverts for `active_low`. The kernel's
//! own flag ACTIVE_LOW is never set, because linux-embedded-hal's `CdevPin`
//! undoes it: `set_high` makes such a pin high, as if the flag were not there.
//!
//! When the process releases a line, or ends in any way, the kernel and the
//! pin's driver decide on its level: most turn it into an input or leave it,
//! some set it to 0. Hardware that must be off then needs a pull resistor.
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
mod levels;
mod lines;
mod options;
mod pattern;
mod role;

pub use bank::Bank;
pub use cdev::{Cdev, locate, open, set_safe};
pub use chips::{ChipInfo, LineInfo, chips};
pub use error::{Error, Errors};
pub use levels::{Described, Level, Levels};
pub use lines::{HEARTBEAT, Lines};
pub use options::{InputOptions, LineId, LineOptions, Options};
pub use pattern::{Pattern, PatternError};
pub use role::{FatigueRole, Role, SafeLevel, UnknownRole, UnknownSafeLevel};
