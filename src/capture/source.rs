//! What every source of frames is to the pipeline.

use std::time::Duration;

use crate::frame::{LumaView, Timestamp};

/// A frame, borrowed from its source until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub luma: LumaView<'a>,
    /// When the frame was taken, on the source's monotonic clock.
    pub timestamp: Timestamp,
    /// Counts up by one a frame taken; a gap tells of frames dropped.
    pub sequence: u64,
}

/// What a call of [`Source::next`] found.
#[derive(Debug)]
pub enum Captured<'a> {
    /// The newest frame.
    Frame(Frame<'a>),
    /// No frame within the time allowed, though the source seems well.
    Waiting,
    /// The camera is gone or stalled; the source goes on trying to get it back
    /// (full close and reopen) on every later call. `reason` is fit for a log
    /// and an event.
    Lost { reason: &'a str },
    /// A frame came that is passed over on purpose: it is too dark
    /// ([`Options::skip_darker_than`](super::Options::skip_darker_than)).
    Skipped,
    /// The recording is over; there will be no further frame.
    Ended,
}

/// Something that delivers luma planes without heap allocation per frame.
pub trait Source {
    /// Waits for at most `timeout` for the newest frame.
    fn next(&mut self, timeout: Duration) -> Captured<'_>;

    /// What this is, for logs and the `hello` event: device, format, size, rate.
    fn description(&self) -> String;

    /// Whether timestamps are [`Timestamp::now`]'s, so that the time without a
    /// frame can be told: true for cameras and live pipes. A recording's
    /// timestamps are its own, at whatever pace it is replayed, so that it
    /// always gives the same decisions.
    fn is_live(&self) -> bool;

    /// What was counted since the source was opened.
    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Frames that reached nobody.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that could not be used: damaged, cut off, of another size.
    pub broken: u64,
    /// Frames that were passed over because they were too dark.
    pub dark: u64,
}

impl std::ops::Add for Counts {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        Self {
            broken: self.broken + other.broken,
            dark: self.dark + other.dark,
        }
    }
}
