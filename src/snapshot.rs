//! The state of the loop at one time, for the threads that answer at sockets and
//! write metrics.

use std::sync::{Arc, Mutex, PoisonError, TryLockError};
use std::time::{Duration, Instant, SystemTime};

use crate::health::Health;
use crate::output::events::Hello;
use crate::pipeline::stats::StageBuckets;
use crate::report::CameraState;

/// The loop counts as stuck after this time without a snapshot. It publishes
/// one every second; a reload may delay it for some seconds.
const STUCK: Duration = Duration::from_secs(5);

/// The loop's state at one time. Creating one does not allocate.
#[derive(Clone, Debug)]
pub struct Snapshot {
    /// Which machine this is and what it runs.
    pub hello: Arc<Hello>,
    pub health: Health,
    /// Why the camera is lost, if it is.
    pub lost_reason: Arc<str>,
    pub figures: Figures,
    /// When this was true.
    pub at: Instant,
}

/// Figures that only metrics have.
#[derive(Clone, Copy, Debug)]
pub struct Figures {
    /// When the process started, by the wall clock.
    pub started: SystemTime,
    pub stages: StageBuckets,
    /// When the last frame arrived that went through the stages.
    pub last_frame: Option<Instant>,
    /// How often the camera was lost since the start.
    pub camera_losses: u64,
    /// How many faces count at this moment.
    pub faces: usize,
    /// The valid share of the last minute of the watched eyes, 0 to 1; `None`
    /// without `[fatigue]`, and while nobody is watched.
    pub valid_eyes: Option<f32>,
}

impl Default for Figures {
    fn default() -> Self {
        Self {
            started: SystemTime::UNIX_EPOCH,
            stages: StageBuckets::default(),
            last_frame: None,
            camera_losses: 0,
            faces: 0,
            valid_eyes: None,
        }
    }
}

/// Holds the newest snapshot: the loop puts it there, and other threads read it.
#[derive(Clone, Debug, Default)]
pub struct Published(Arc<Mutex<Option<Snapshot>>>);

impl Published {
    /// Puts a snapshot there. Does nothing if a thread is just reading the last
    /// one; never waits.
    pub fn put(&self, snapshot: Snapshot) {
        match self.0.try_lock() {
            Ok(mut latest) => *latest = Some(snapshot),
            Err(TryLockError::Poisoned(latest)) => *latest.into_inner() = Some(snapshot),
            Err(TryLockError::WouldBlock) => {}
        }
    }

    /// The newest snapshot; `None` while affectd is starting.
    #[must_use]
    pub fn get(&self) -> Option<Snapshot> {
        let latest = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        latest.clone()
    }
}

/// Whether the daemon does its work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Condition {
    Well,
    /// It runs, but something is wrong.
    Unwell,
    Paused,
}

impl Condition {
    /// The name used in answers.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Well => "well",
            Self::Unwell => "unwell",
            Self::Paused => "paused",
        }
    }
}

impl Snapshot {
    /// The problems at a time, as texts.
    #[must_use]
    pub fn problems(&self, now: Instant) -> Vec<String> {
        let mut problems = Vec::new();
        let silent = now.saturating_duration_since(self.at);
        if silent >= STUCK {
            problems.push(format!(
                "the loop has not answered for {} s",
                silent.as_secs()
            ));
        }
        match self.health.camera {
            CameraState::Starting => problems.push("no frame has come yet".to_owned()),
            CameraState::Lost => problems.push(format!("the camera is lost: {}", self.lost_reason)),
            CameraState::Streaming | CameraState::Paused => {}
        }
        if let Some(error) = &self.health.reloads.error {
            problems.push(format!(
                "the last reload failed, and the settings before it stay in force: {error}"
            ));
        }
        problems
    }

    /// Whether the daemon does its work, given its problems.
    #[must_use]
    pub fn condition(&self, problems: &[String]) -> Condition {
        match self.health.camera {
            CameraState::Paused => Condition::Paused,
            _ if problems.is_empty() => Condition::Well,
            _ => Condition::Unwell,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Reloads;

    fn snapshot(camera: CameraState, error: Option<&str>) -> Snapshot {
        Snapshot {
            hello: Arc::default(),
            health: Health {
                camera,
                reloads: Reloads {
                    error: error.map(Into::into),
                    ..Reloads::default()
                },
                ..Health::default()
            },
            lost_reason: "unplugged".into(),
            figures: Figures::default(),
            at: Instant::now(),
        }
    }

    fn judged(snapshot: &Snapshot, after: Duration) -> (Condition, String) {
        let problems = snapshot.problems(snapshot.at + after);
        (snapshot.condition(&problems), problems.join("; "))
    }

    #[test]
    fn a_daemon_is_well_while_frames_come_and_the_loop_lives() {
        let streaming = snapshot(CameraState::Streaming, None);
        let soon = Duration::from_secs(1);
        assert_eq!(judged(&streaming, soon), (Condition::Well, String::new()));
        let (condition, problems) = judged(&streaming, Duration::from_secs(9));
        assert_eq!(condition, Condition::Unwell);
        assert!(problems.contains("9 s"), "{problems}");
        let failed = snapshot(CameraState::Streaming, Some("bad key"));
        assert!(judged(&failed, soon).1.ends_with(": bad key"));
        for (camera, says) in [
            (CameraState::Starting, "no frame"),
            (CameraState::Lost, "unplugged"),
        ] {
            let (condition, problems) = judged(&snapshot(camera, None), soon);
            assert_eq!(condition, Condition::Unwell);
            assert!(problems.contains(says), "{problems}");
        }
        let paused = snapshot(CameraState::Paused, Some("bad key"));
        assert_eq!(judged(&paused, soon).0, Condition::Paused);
    }
}
