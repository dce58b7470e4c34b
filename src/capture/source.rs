//! The trait of sources, as the pipeline uses them.

use std::time::Duration;

use crate::frame::{LumaView, Timestamp};

/// A frame, borrowed from its source until the next call.
#[derive(Clone, Copy, Debug)]
pub struct Frame<'a> {
    pub luma: LumaView<'a>,
    /// When the frame was taken, on the source's monotonic clock.
    pub timestamp: Timestamp,
    /// Counts up by one with each frame that was taken; a gap means dropped
    /// frames.
    pub sequence: u64,
}

/// The result of [`Source::next`].
#[derive(Debug)]
pub enum Captured<'a> {
    /// The newest frame.
    Frame(Frame<'a>),
    /// No frame within the time limit, but the source seems to work.
    Waiting,
    /// The camera is gone or stalled; on every later call the source tries to
    /// close and reopen it. `reason` is a text for a log and an event.
    Lost { reason: &'a str },
    /// A frame came that is skipped on purpose, because it is too dark
    /// ([`Options::skip_darker_than`](super::Options::skip_darker_than)).
    Skipped,
    /// The recording is over; there will be no further frame.
    Ended,
}

/// Delivers luma planes without heap allocation per frame.
pub trait Source {
    /// Waits for at most `timeout` for the newest frame.
    fn next(&mut self, timeout: Duration) -> Captured<'_>;

    /// A description for logs and the `hello` event: device, format, size,
    /// rate.
    fn description(&self) -> String;

    /// Whether timestamps are those of [`Timestamp::now`], so that the time
    /// without a frame can be measured: true for cameras and live pipes. A
    /// recording has its own timestamps at any speed of replay, so it always
    /// gives the same decisions.
    fn is_live(&self) -> bool;

    /// Counts since the source was opened.
    fn counts(&self) -> Counts {
        Counts::default()
    }
}

/// Frames that did not reach the later stages.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Frames that could not be used: damaged, cut off, of another size.
    pub broken: u64,
    /// Frames that were skipped because they were too dark.
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
