//! The daemon's health in figures, for the event `health` and for `affectd
//! status`.

use std::sync::Arc;
use std::time::Duration;

use serde::ser::{Serialize, SerializeMap, Serializer};

use crate::report::{CameraState, PausedBy};

/// The daemon's health. Creating and cloning one does not allocate.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Health {
    pub camera: CameraState,
    /// What requested the pause, if there is one.
    pub paused_by: PausedBy,
    /// Frames per second that went through all stages, in the last ten seconds;
    /// `None` in the first second.
    pub fps: Option<f64>,
    /// The same since the start.
    pub frames: u64,
    pub dropped: Dropped,
    /// From the arrival of a frame to the end of the reports to all outputs:
    /// the median of the last ten seconds.
    pub frame_p50: Option<Duration>,
    /// The same time, as the 99th percentile.
    pub frame_p99: Option<Duration>,
    /// Degrees Celsius, with `[thermal]`.
    pub temperature: Option<f32>,
    /// Whether about every other frame is skipped because of it.
    pub is_hot: bool,
    /// Allocations that the frame arena had no room for.
    pub arena_overflows: u64,
    /// Resident memory of the process in bytes.
    pub resident: u64,
    /// Since the process started.
    pub uptime: Duration,
    pub reloads: Reloads,
    /// How often affectd was restarted after an unplanned end.
    pub restarts: u64,
    /// The reason of the last one.
    pub restart_reason: Option<Arc<str>>,
}

/// Frames that did not pass through the stages since the start, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// A newer frame came before they could be processed.
    pub busy: u64,
    /// They were damaged or cut off.
    pub broken: u64,
    /// They were too dark (`capture.skip_darker_than`).
    pub dark: u64,
    /// The machine was too hot.
    pub hot: u64,
}

/// Reloads of the board file since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reloads {
    pub done: u64,
    pub failed: u64,
    /// Why the last reload failed; `None` if it did not fail.
    pub error: Option<Arc<str>>,
}

impl Health {
    /// Writes the figures as entries of a JSON object.
    ///
    /// # Errors
    /// Those of the map.
    pub fn serialize_into<M: SerializeMap>(&self, map: &mut M) -> Result<(), M::Error> {
        map.serialize_entry("camera", self.camera.name())?;
        if self.paused_by.is_any() {
            map.serialize_entry("paused_by", &self.paused_by)?;
        }
        if let Some(fps) = self.fps {
            map.serialize_entry("fps", &to_tenths(fps))?;
        }
        map.serialize_entry("frames", &self.frames)?;
        map.serialize_entry("dropped", &self.dropped)?;
        for (key, time) in [
            ("frame_p50_ms", self.frame_p50),
            ("frame_p99_ms", self.frame_p99),
        ] {
            if let Some(time) = time {
                map.serialize_entry(key, &(time.as_micros() as f64 / 1e3))?;
            }
        }
        if let Some(celsius) = self.temperature {
            map.serialize_entry("temperature", &to_tenths(f64::from(celsius)))?;
        }
        map.serialize_entry("hot", &self.is_hot)?;
        map.serialize_entry("arena_overflows", &self.arena_overflows)?;
        map.serialize_entry("rss_kib", &(self.resident >> 10))?;
        map.serialize_entry("uptime", &(self.uptime.as_millis() as f64 / 1e3))?;
        map.serialize_entry("reloads_done", &self.reloads.done)?;
        map.serialize_entry("reloads_failed", &self.reloads.failed)?;
        if let Some(error) = &self.reloads.error {
            map.serialize_entry("reload_error", &**error)?;
        }
        map.serialize_entry("restarts", &self.restarts)?;
        if let Some(reason) = &self.restart_reason {
            map.serialize_entry("restart_reason", &**reason)?;
        }
        Ok(())
    }
}

impl Dropped {
    /// Each count with the name of its reason.
    #[must_use]
    pub const fn by_reason(&self) -> [(&'static str, u64); 4] {
        [
            ("busy", self.busy),
            ("broken", self.broken),
            ("dark", self.dark),
            ("hot", self.hot),
        ]
    }
}

impl Serialize for Dropped {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.by_reason())
    }
}

fn to_tenths(value: f64) -> f64 {
    (value * 10.0).round() / 10.0
}
