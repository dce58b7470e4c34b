//! Output: shows reports on GPIO lines, displays and events. None of them can
//! make the loop wait.

pub mod display;
pub mod events;
pub mod gpio;
mod growing_file;
pub mod latest;
pub mod record;

pub use crate::report::{Camera, FaceReport, FatigueReport, Heat, PausedBy, Report, Shutdown};

/// What an output changed on the hardware for a report, and what it read from
/// there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// Level changes of GPIO lines. The loop measures the time from the frame
    /// to them.
    pub edges: u64,
    /// Whether the alarm was just acknowledged.
    pub is_acknowledged: bool,
    /// Whether a switch asks for a pause.
    pub asks_pause: bool,
    /// Whether a button was just pressed that asks for a baseline to be recorded.
    pub asks_baseline: bool,
}

impl Changes {
    /// The value of an output without GPIO lines.
    pub const NONE: Self = Self {
        edges: 0,
        is_acknowledged: false,
        asks_pause: false,
        asks_baseline: false,
    };
}

/// Something that shows reports.
///
/// Implementations never block: a slow device gets a thread of its own and the
/// [latest] value.
pub trait Output {
    /// Takes a report. The last one has a [`shutdown`](Report::shutdown).
    fn update(&mut self, report: &Report<'_>) -> Changes;

    /// Opens its files again, because logrotate has moved them (SIGUSR1).
    fn reopen_files(&mut self) {}

    /// Puts the device into its safe state and releases it. Called once, after
    /// the last report. Returns within a bounded time.
    fn finish(&mut self) {}
}
