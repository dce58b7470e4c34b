//! Records the resting expression of one person, from a few seconds in which
//! nobody else is in view and the face is at rest.

use std::fmt;
use std::time::Duration;

use super::learned::{self, Learned};
use super::quiet::{Unrest, unrest};
use super::rest::Rest;
use crate::decide::clock::FrameClock;
use crate::frame::Timestamp;
use crate::observe::Observations;
use crate::track::FaceKey;

/// The time at rest that a recording takes.
pub const LENGTH: Duration = Duration::from_secs(5);
/// How long a recording waits until the face was at rest for that time.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// How long the outcome is shown.
const SHOWN: Duration = Duration::from_secs(2);

/// Who is in front of the camera while a baseline is recorded.
#[derive(Clone, Copy, Debug)]
pub enum Present<'a> {
    Nobody,
    Several,
    One(FaceKey, &'a Observations),
}

/// What a recording waits for. As text: what is wrong, and what to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Obstacle {
    Nobody,
    Several,
    Unrest(Unrest),
}

impl Obstacle {
    /// What the person should do, for a small display.
    #[must_use]
    pub const fn advice(self) -> &'static str {
        match self {
            Self::Nobody => "step in front of the camera",
            Self::Several => "one person alone",
            Self::Unrest(unrest) => unrest.advice(),
        }
    }
}

impl fmt::Display for Obstacle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nobody => write!(f, "nobody is there: {}", self.advice()),
            Self::Several => {
                f.write_str("several people are there: record the baseline of one person alone")
            }
            Self::Unrest(unrest) => unrest.fmt(f),
        }
    }
}

/// The progress of a recording.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Progress {
    /// The recording continues.
    Running {
        /// The time at rest that is still needed.
        left: Duration,
        /// What it waits for; `None` while the face is at rest.
        obstacle: Option<Obstacle>,
    },
    /// The resting expression.
    Done(Rest),
    /// It waited for too long.
    Failed(Obstacle),
}

impl Progress {
    /// What the person should do.
    #[must_use]
    pub const fn advice(&self) -> &'static str {
        match self {
            Self::Running { obstacle: None, .. } => "look at the camera and relax",
            Self::Running {
                obstacle: Some(obstacle),
                ..
            }
            | Self::Failed(obstacle) => obstacle.advice(),
            Self::Done(_) => "thank you",
        }
    }
}

/// A recording that continues or has just ended.
#[derive(Clone, Copy, Debug)]
pub struct Recording {
    progress: Progress,
    clock: FrameClock,
    /// When it ended, on `clock`.
    ended: Option<Duration>,
    face: Option<(FaceKey, Learned)>,
}

impl Default for Recording {
    fn default() -> Self {
        Self {
            progress: Progress::Running {
                left: LENGTH,
                obstacle: None,
            },
            clock: FrameClock::default(),
            ended: None,
            face: None,
        }
    }
}

impl Recording {
    /// Its progress.
    #[must_use]
    pub const fn progress(&self) -> &Progress {
        &self.progress
    }

    /// Takes a frame into account. Returns whether there still is progress to
    /// show: false after the outcome was shown for a while.
    pub fn look(&mut self, now: Timestamp, present: Present<'_>) -> bool {
        self.clock.advance(now);
        if let Some(ended) = self.ended {
            return self.clock.time().saturating_sub(ended) < SHOWN;
        }
        let obstacle = match present {
            Present::Nobody => {
                self.face = None;
                Some(Obstacle::Nobody)
            }
            Present::Several => {
                self.face = None;
                Some(Obstacle::Several)
            }
            Present::One(key, observed) => self.learn(key, observed),
        };
        let quiet = self
            .face
            .map_or(Duration::ZERO, |(_, learned)| learned.quiet);
        self.progress = match (self.face, obstacle) {
            (Some((_, learned)), None) if learned.quiet >= LENGTH => Progress::Done(learned.rest),
            (_, Some(obstacle)) if self.clock.time() >= PATIENCE => Progress::Failed(obstacle),
            (_, obstacle) => Progress::Running {
                left: LENGTH.saturating_sub(quiet),
                obstacle,
            },
        };
        if !matches!(self.progress, Progress::Running { .. }) {
            self.ended = Some(self.clock.time());
        }
        true
    }

    /// Takes the answer for the face into account, or returns the reason why
    /// this is not possible.
    fn learn(&mut self, key: FaceKey, observed: &Observations) -> Option<Obstacle> {
        let unrest = unrest(observed.face.as_ref()).map(Obstacle::Unrest);
        // The classifier may run only on every third frame.
        let Some(logs) = observed.expression.as_ref().and_then(Rest::of) else {
            return unrest;
        };
        let step = learned::step(&self.clock);
        let Some((_, face)) = self.face.as_mut().filter(|(last, _)| *last == key) else {
            self.face = Some((key, Learned::new(logs)));
            return unrest;
        };
        let is_steady = face.is_steady(&logs, step);
        if unrest.is_some() {
            return unrest;
        }
        if !is_steady {
            return Some(Obstacle::Unrest(Unrest::Change));
        }
        face.quiet += step;
        let whole = face.quiet.as_secs_f32();
        if whole > 0.0 {
            face.rest.follow(&logs, step.as_secs_f32() / whole);
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::expression::Probabilities;
    use crate::observe::{EyeObservation, FaceObservation, Lids};
    use crate::track::Slot;

    const FACE: FaceKey = FaceKey {
        id: 1,
        slot: Slot::ZERO,
    };
    const REST: Probabilities = Probabilities([0.05, 0.01, 0.04, 0.02, 0.60, 0.02, 0.26]);

    fn quiet() -> Observations {
        let eye = EyeObservation {
            visible: 1.0,
            lids: Some(Lids {
                openness: 0.9,
                gaze_down: 0.0,
                covered: 0.0,
            }),
        };
        Observations {
            expression: Some(REST),
            face: Some(FaceObservation {
                right_eye: eye,
                left_eye: eye,
                ..FaceObservation::at((50.0, 50.0), 80.0, 1.0)
            }),
        }
    }

    fn with(change: impl FnOnce(&mut FaceObservation)) -> Observations {
        let mut observed = quiet();
        change(observed.face.as_mut().unwrap());
        observed
    }

    /// A recording at ten frames per second.
    struct Sitting {
        recording: Recording,
        millis: u64,
    }

    impl Sitting {
        fn new() -> Self {
            Self {
                recording: Recording::default(),
                millis: 0,
            }
        }

        /// Looks for so long, or until the recording ends.
        fn look(&mut self, seconds: u64, present: Present<'_>) -> Progress {
            for _ in 0..10 * seconds {
                self.millis += 100;
                let now = Timestamp::from_millis(self.millis);
                assert!(self.recording.look(now, present));
                if !matches!(self.recording.progress(), Progress::Running { .. }) {
                    break;
                }
            }
            *self.recording.progress()
        }
    }

    #[test]
    fn five_seconds_at_rest_are_recorded() {
        let mut sitting = Sitting::new();
        let observed = quiet();
        let Progress::Running {
            left,
            obstacle: None,
        } = sitting.look(3, Present::One(FACE, &observed))
        else {
            panic!("{:?}", sitting.recording);
        };
        assert_eq!(left, Duration::from_millis(2_100));
        let Progress::Done(rest) = sitting.look(10, Present::One(FACE, &observed)) else {
            panic!("{:?}", sitting.recording);
        };
        assert_eq!(sitting.millis, 5_100);
        assert!(rest.distance(&Rest::of(&REST).unwrap()) < 1e-4);
        // The outcome stays for two seconds.
        for _ in 0..19 {
            sitting.millis += 100;
            let now = Timestamp::from_millis(sitting.millis);
            assert!(sitting.recording.look(now, Present::Nobody));
            assert_eq!(*sitting.recording.progress(), Progress::Done(rest));
        }
        let now = Timestamp::from_millis(sitting.millis + 100);
        assert!(!sitting.recording.look(now, Present::Nobody));
    }

    #[test]
    fn each_obstacle_says_what_to_do() {
        let unrest = |change: fn(&mut FaceObservation)| with(change);
        let turned = unrest(|face| face.yaw = 60.0);
        let unknown = unrest(|face| face.pitch = f32::NAN);
        let shut = unrest(|face| face.left_eye.lids = None);
        let open = unrest(|face| face.jaw = 0.6);
        let smile = unrest(|face| face.smile = 0.8);
        let unseen = Observations {
            face: None,
            ..quiet()
        };
        for (present, words) in [
            (
                Present::Nobody,
                "nobody is there: step in front of the camera",
            ),
            (Present::Several, "several people are there: record"),
            (Present::One(FACE, &turned), "the face is turned away: face"),
            (Present::One(FACE, &unknown), "the face is turned away"),
            (Present::One(FACE, &shut), "the eyes are shut, covered or"),
            (Present::One(FACE, &open), "the mouth is open: shut your"),
            (Present::One(FACE, &smile), "the face smiles: do not smile"),
            (Present::One(FACE, &unseen), "the face is not seen well"),
        ] {
            let mut sitting = Sitting::new();
            let Progress::Failed(obstacle) = sitting.look(60, present) else {
                panic!("{:?}", sitting.recording);
            };
            assert!(obstacle.to_string().starts_with(words), "{obstacle}");
            assert_eq!(sitting.millis, 30_100, "{words}");
        }
    }

    #[test]
    fn nothing_of_one_person_is_taken_for_another() {
        let mut sitting = Sitting::new();
        let observed = quiet();
        sitting.look(4, Present::One(FACE, &observed));
        let next = FaceKey { id: 2, ..FACE };
        let smiling = Observations {
            expression: Some(Probabilities([0.01, 0.01, 0.01, 0.9, 0.03, 0.02, 0.02])),
            ..quiet()
        };
        let Progress::Done(rest) = sitting.look(20, Present::One(next, &smiling)) else {
            panic!("{:?}", sitting.recording);
        };
        assert_eq!(sitting.millis, 9_100);
        assert!(rest.distance(&Rest::of(&smiling.expression.unwrap()).unwrap()) < 1e-4);
        // A second person who passes by starts it again.
        let mut sitting = Sitting::new();
        sitting.look(4, Present::One(FACE, &observed));
        sitting.look(1, Present::Several);
        sitting.look(20, Present::One(FACE, &observed));
        assert_eq!(sitting.millis, 10_100);
    }

    #[test]
    fn a_face_that_is_moved_to_smile_is_waited_for() {
        let mut sitting = Sitting::new();
        let observed = quiet();
        sitting.look(2, Present::One(FACE, &observed));
        let smile = with(|face| face.smile = 0.9);
        let Progress::Running {
            obstacle: Some(Obstacle::Unrest(Unrest::Smile)),
            left,
        } = sitting.look(3, Present::One(FACE, &smile))
        else {
            panic!("{:?}", sitting.recording);
        };
        assert_eq!(left, Duration::from_millis(3_100));
        let done = sitting.look(20, Present::One(FACE, &observed));
        assert!(matches!(done, Progress::Done(_)), "{done:?}");
        assert_eq!(sitting.millis, 8_100);
    }

    #[test]
    fn an_expression_that_changes_is_not_rest() {
        let mut sitting = Sitting::new();
        let observed = quiet();
        sitting.look(1, Present::One(FACE, &observed));
        let other = Observations {
            expression: Some(Probabilities([0.01, 0.01, 0.01, 0.9, 0.03, 0.02, 0.02])),
            ..quiet()
        };
        sitting.millis += 100;
        let now = Timestamp::from_millis(sitting.millis);
        sitting.recording.look(now, Present::One(FACE, &other));
        assert!(matches!(
            sitting.recording.progress(),
            Progress::Running {
                obstacle: Some(Obstacle::Unrest(Unrest::Change)),
                ..
            }
        ));
    }
}
