//! Output: decisions to GPIO lines, a display and events, none of which can
//! make the loop wait.

pub mod display;
pub mod events;
pub mod gpio;
pub mod latest;

use crate::decide::Decision;
use crate::frame::Timestamp;

/// What the loop knows after a frame (or after waiting for one), handed to
/// every output.
#[derive(Clone, Copy, Debug)]
pub struct Report<'a> {
    /// The frame's time, or the time of the wait, on the source's clock.
    pub timestamp: Timestamp,
    /// The frame's sequence number; the last one while there is no camera.
    pub frame: u64,
    pub camera: Camera<'a>,
    /// The frame's size in pixels, to place boxes; (0, 0) before the first.
    pub frame_size: (u32, u32),
    /// One decision a face that counts, the leading one first; a single one
    /// with `State::None` when there is no face.
    pub decisions: &'a [Decision],
}

/// Whether frames come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Camera<'a> {
    /// Not a single frame yet.
    Starting,
    Streaming,
    Lost {
        reason: &'a str,
    },
}

/// Why the loop ends and what it did.
#[derive(Clone, Copy, Debug)]
pub struct Farewell<'a> {
    /// A signal's name, `end of recording`, an error.
    pub reason: &'a str,
    /// Frames that went through all stages.
    pub frames: u64,
    /// What else was counted, by name.
    pub counters: &'a [(&'a str, u64)],
}

/// Something that shows decisions. Implementations never block: a slow device
/// gets a thread of its own and the latest value.
pub trait Output {
    /// Takes what the loop knows now.
    fn update(&mut self, report: &Report<'_>);

    /// Learns that the machine has become too hot, so that about every other
    /// frame is passed over, or cool again. Only outputs that tell people
    /// anything care.
    fn temperature(&mut self, _at: Timestamp, _hot: bool, _reason: &str) {}

    /// Level changes of GPIO lines so far, for telling how long after its frame
    /// one comes.
    fn edges(&self) -> u64 {
        0
    }

    /// Learns why the loop ends; called once, before [`Output::finish`]. Only
    /// outputs that tell people anything care.
    fn farewell(&mut self, _farewell: &Farewell<'_>) {}

    /// Opens the files that it writes again: logrotate has moved them (SIGUSR1).
    fn reopen_files(&mut self) {}

    /// Puts the device into its safe state and lets go of it; called once, at
    /// the end. Bounded in time.
    fn finish(&mut self);
}
