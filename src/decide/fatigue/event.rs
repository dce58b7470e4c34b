//! What the rules report when it happens: closures, yawns, alarms, changes of
//! state.

use std::time::Duration;

use super::decision::FatigueDecision;
use super::state::State;
use crate::frame::Timestamp;

/// The kind of a closure, by its length.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ClosureKind {
    /// Up to 500 ms.
    Blink,
    /// Longer, but not a microsleep.
    Long,
    /// From [`Options::microsleep`](super::Options::microsleep) on.
    Microsleep,
    /// From [`Options::asleep`](super::Options::asleep) on.
    Sleep,
}

impl ClosureKind {
    /// The name in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Blink => "blink",
            Self::Long => "long",
            Self::Microsleep => "microsleep",
            Self::Sleep => "sleep",
        }
    }
}

/// The alarm that should wake a person.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Alarm {
    /// Drowsy or more severe; the last state when the alarm is over.
    pub state: State,
    /// Whether the alarm is on, acknowledged or not.
    pub is_on: bool,
    /// Whether it was acknowledged. A more severe state ends this.
    pub is_acknowledged: bool,
}

/// An event with its time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Event {
    pub time: Timestamp,
    pub what: What,
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum What {
    /// The state of a person: when it changes, and once a second.
    State {
        decision: FatigueDecision,
        change: bool,
    },
    /// Eyes that were shut have opened, or were lost.
    Closure {
        track: u32,
        kind: ClosureKind,
        duration: Duration,
    },
    /// A yawn has ended.
    Yawn { track: u32, duration: Duration },
    /// An alarm began, changed its state, was acknowledged, or ended.
    Alarm(Alarm),
}
