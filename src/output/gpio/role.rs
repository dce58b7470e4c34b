//! What a line shows, and its level while there is nothing to show.

use std::fmt;
use std::str::FromStr;

use crate::decide::fatigue::State;
use crate::observe::expression::Expression;
use crate::suggest::suggestion;

/// What a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// On while the leading face shows this expression.
    Expression(Expression),
    /// On while a face counts, with any expression.
    Face,
    /// On while a face that counts points to the camera.
    Facing,
    /// On while the leading face has no stable expression.
    Uncertain,
    /// Toggles while frames are processed.
    Heartbeat,
    /// On during a pause.
    Paused,
    /// Shows how awake the watched person is. Needs `[fatigue]`.
    Fatigue(FatigueRole),
}

/// Which states of fatigue a line shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FatigueRole {
    /// On while the person is drowsy, or in a more severe state.
    Drowsy,
    /// On in a microsleep, or in a more severe state.
    Microsleep,
    /// On while the person is asleep, or in a more severe state.
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
            .chain([
                Self::Face,
                Self::Facing,
                Self::Uncertain,
                Self::Heartbeat,
                Self::Paused,
            ])
            .chain(FatigueRole::ALL.map(Self::Fatigue))
    }

    /// The name used in board files: an expression's, `face`, `facing`,
    /// `uncertain`, `heartbeat`, `paused`, or a [`FatigueRole`]'s.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Expression(expression) => expression.name(),
            Self::Face => "face",
            Self::Facing => "facing",
            Self::Uncertain => "uncertain",
            Self::Heartbeat => "heartbeat",
            Self::Paused => "paused",
            Self::Fatigue(role) => role.name(),
        }
    }

    /// The default safe level of a role, if it has one: a line that warns that
    /// there is no reading must also warn while affectd does not run.
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

/// The name is not a role.
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

/// The level of a line while there is nothing to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum SafeLevel {
    #[default]
    Off,
    On,
}

/// The name is not `off` or `on`.
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
