//! Output: reports to GPIO lines, a display and events, none of which can make
//! the loop wait.

pub mod display;
pub mod events;
pub mod gpio;
pub mod latest;
mod old_file;
pub mod record;

pub use crate::report::{Camera, FaceReport, FatigueReport, Heat, PausedBy, Report, Shutdown};

/// What an output changed on hardware by a report, and what it heard from there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Level changes of GPIO lines. The loop notes how long after its frame they
    /// come.
    pub edges: u64,
    /// Whether somebody has just acknowledged the alarm.
    pub is_acknowledged: bool,
    /// Whether a switch asks for a pause.
    pub asks_pause: bool,
}

impl Changes {
    /// What an output returns that drives no GPIO lines.
    pub const NONE: Self = Self {
        edges: 0,
        is_acknowledged: false,
        asks_pause: false,
    };
}

/// Something that shows reports.
///
/// Implementations never block: a slow device gets a thread of its own and the
/// [latest] value.
pub trait Output {
    /// Takes what the loop knows now. The last report has a
    /// [`shutdown`](Report::shutdown).
    fn update(&mut self, report: &Report<'_>) -> Changes;

    /// Opens the files that it writes again: logrotate has moved them (SIGUSR1).
    fn reopen_files(&mut self) {}

    /// Puts the device into its safe state and lets go of it. Called once, after
    /// the last report. Returns within a bounded time.
    fn finish(&mut self) {}
}
