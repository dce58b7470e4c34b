//! The report on a frame: [`pipeline`](crate::pipeline) fills it and every
//! [`output`](crate::output) reads it.
//!
//! It has a module of its own, so that neither of them depends on the other.

use serde::ser::{Serialize, Serializer};

use crate::decide::FaceDecision;
use crate::decide::baseline::Progress;
use crate::decide::fatigue::{self, FaceSample, FatigueDecision};
use crate::frame::{LumaView, Rect, Timestamp};
use crate::observe::Observations;
use crate::track::{FaceKey, Slot};

/// What the loop knows after a frame, or after a wait without a frame.
#[derive(Clone, Copy, Debug, Default)]
pub struct Report<'a> {
    /// The frame's time, or the time of the wait, on the source's clock.
    pub timestamp: Timestamp,
    /// The frame's sequence number; the last frame's if there is no new one.
    pub frame: u64,
    /// Whether the report is about a frame that no earlier report was about.
    pub is_new: bool,
    pub camera: Camera<'a>,
    /// The frame's size in pixels, to place boxes; (0, 0) before the first.
    pub frame_size: (u32, u32),
    /// The frame's brightness, if the report is about a new frame. Only the
    /// preview copies it, and only while somebody watches.
    pub picture: Option<LumaView<'a>>,
    /// Whether somebody sees the camera's pictures by the preview.
    pub is_watched: bool,
    /// The faces that count, the leading one first; none without a camera.
    pub faces: &'a [FaceReport],
    /// The decisions about eyes, if `[fatigue]` is on.
    pub fatigue: Option<FatigueReport<'a>>,
    /// The progress of the recording of a baseline, if a recording continues or
    /// has just ended.
    pub recording: Option<&'a Progress>,
    /// Since when there is no face, if frames come and there is none.
    pub nobody_since: Option<Timestamp>,
    pub heat: Heat<'a>,
    /// Why the loop ends. Only the last report has it.
    pub shutdown: Option<Shutdown<'a>>,
}

impl<'a> Report<'a> {
    /// The face that counts most.
    #[must_use]
    pub const fn leading(&self) -> Option<&'a FaceReport> {
        self.faces.first()
    }
}

/// Everything that is known about a face that counts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceReport {
    /// Counts up from 1; stays with a face for as long as it is followed.
    pub id: u32,
    /// The face's slot, for memory [`BySlot`](crate::track::BySlot).
    pub slot: Slot,
    /// The face's box in pixels of the frame.
    pub rect: Rect,
    /// When the place of the box was last searched for the face: the time of
    /// this frame or of an earlier one.
    pub searched: Timestamp,
    /// What this frame shows of the face.
    pub observed: Observations,
    /// An estimate of the distance in metres; `None` without a field of view, or
    /// where this frame does not show the face.
    pub distance: Option<f32>,
    /// The decisions about the face over time.
    pub decision: FaceDecision,
}

impl FaceReport {
    /// Identifies the face. An output uses it to find its own data about the
    /// face.
    #[must_use]
    pub const fn key(&self) -> FaceKey {
        FaceKey {
            id: self.id,
            slot: self.slot,
        }
    }
}

/// The decisions about the eyes of the watched persons.
#[derive(Clone, Copy, Debug)]
pub struct FatigueReport<'a> {
    /// About the watched person; of several, about the one in the most severe
    /// state.
    pub decision: &'a FatigueDecision,
    /// What happened in this frame; empty unless the report is new.
    pub events: &'a [fatigue::Event],
    /// What the frame shows of the eyes of all faces, whether they are watched or
    /// not.
    pub samples: &'a [FaceSample],
    /// Whether the alarm that is on was acknowledged.
    pub is_acknowledged: bool,
    /// Whether the last frame took an acknowledgement. A recording of eyes
    /// needs this, so that it leads to the same events when it is read again.
    pub took_acknowledgement: bool,
    /// Whether the eyes were evaluated since the last report: at a new frame,
    /// and once a second without a camera.
    pub is_new: bool,
}

/// Whether frames come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Camera<'a> {
    /// No frame has come yet.
    #[default]
    Starting,
    Streaming,
    Lost {
        reason: &'a str,
    },
    /// During a pause: nobody is watched.
    Paused {
        by: PausedBy,
    },
}

impl Camera<'_> {
    /// The same without the reason.
    #[must_use]
    pub const fn state(self) -> CameraState {
        match self {
            Self::Starting => CameraState::Starting,
            Self::Streaming => CameraState::Streaming,
            Self::Lost { .. } => CameraState::Lost,
            Self::Paused { .. } => CameraState::Paused,
        }
    }
}

/// Who asks for a pause. It lasts as long as one of them asks for it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PausedBy {
    /// `affectd pause`, or another client of the control socket.
    pub control: bool,
    /// A switch (`[gpio.inputs] pause`).
    pub gpio: bool,
}

impl PausedBy {
    /// Whether there is a pause.
    #[must_use]
    pub const fn is_any(self) -> bool {
        self.control || self.gpio
    }

    /// The names used in events.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        let control = self.control.then_some("control");
        control.into_iter().chain(self.gpio.then_some("gpio"))
    }
}

impl Serialize for PausedBy {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names())
    }
}

/// The camera's state without the reason, for code that stores it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CameraState {
    /// No frame has come yet.
    #[default]
    Starting,
    Streaming,
    Lost,
    /// The camera is closed until the pause ends.
    Paused,
}

impl CameraState {
    /// The name used in events.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Streaming => "streaming",
            Self::Lost => "lost",
            Self::Paused => "paused",
        }
    }
}

/// Whether the machine is too hot, so that about every other frame is skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Heat<'a> {
    pub is_hot: bool,
    /// The last measurement in words; empty before the first change.
    pub reason: &'a str,
}

/// Why the loop ends and what it did.
#[derive(Clone, Copy, Debug)]
pub struct Shutdown<'a> {
    /// A signal's name, `end of recording`, an error.
    pub reason: &'a str,
    /// Frames that went through all stages.
    pub frames: u64,
    /// Other counts, by name.
    pub counters: &'a [(&'a str, u64)],
}
