//! Baseline: removes a person's resting expression from the classifier's
//! answer.
//!
//! The classifier compares every face with the average one: a person whose
//! mouth points down at rest is "sad" all day. This file estimates the resting
//! expression of each face from its quiet frames. It subtracts a part of the
//! difference to an average neutral face from the log probabilities, before
//! they are smoothed.
//!
//! In the mode `stored` it uses the resting expression of one person instead,
//! which was recorded before.
//!
//! A frame is quiet if the face looks towards the camera with open eyes, a shut
//! mouth and no smile, and if the classifier's answer has not just changed. The
//! face networks measure eyes, mouth and smile, because the classifier's answer
//! is the one to correct. So a smile that lasts a minute does not count as
//! rest.

mod learned;
mod quiet;
mod recording;
mod rest;

use std::str::FromStr;
use std::time::Duration;

use super::clock::FrameClock;
use crate::frame::Timestamp;
use crate::observe::FaceObservation;
use crate::observe::expression::Probabilities;
use crate::track::{BySlot, FaceKey};
use learned::{Learned, share};
use quiet::unrest;

pub use quiet::Unrest;
pub use recording::{LENGTH, Obstacle, PATIENCE, Present, Progress, Recording};
pub use rest::{Rest, StoredError};

/// Quiet time until the estimate has its full weight; before, its weight grows
/// with the quiet time.
const LEARNED: Duration = Duration::from_secs(20);
/// The time constant of the estimate after it has its full weight: it follows
/// slow changes, such as those of light, but not a mood of some minutes.
const SLOW: Duration = Duration::from_secs(300);

/// Where a baseline comes from.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// None: every face is compared with the average one.
    #[default]
    Off,
    /// Each face's own baseline, from its quiet frames.
    Auto,
    /// A recorded baseline for all faces: for a machine that one person uses.
    Stored,
}

/// The name is not a mode.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown baseline mode '{0}'; modes are off, auto and stored")]
pub struct UnknownMode(pub String);

impl FromStr for Mode {
    type Err = UnknownMode;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "off" => Ok(Self::Off),
            "auto" => Ok(Self::Auto),
            "stored" => Ok(Self::Stored),
            _ => Err(UnknownMode(name.to_owned())),
        }
    }
}

/// The board file's `[decide.baseline]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BaselineOptions {
    /// Default: off.
    pub mode: Mode,
    /// How much of the difference is removed, 0 to 1. Default: 0.5. More helps
    /// resting faces, but harms angry and sad ones.
    pub strength: f32,
}

impl BaselineOptions {
    /// The range of `strength`.
    pub const STRENGTH_RANGE: std::ops::RangeInclusive<f64> = 0.0..=1.0;
}

impl Default for BaselineOptions {
    fn default() -> Self {
        Self {
            mode: Mode::Off,
            strength: 0.5,
        }
    }
}

/// Estimates each face's resting expression.
#[derive(Debug)]
pub struct Baselines {
    options: BaselineOptions,
    /// The recorded one.
    stored: Option<Rest>,
    memory: BySlot<Option<Learned>>,
    clock: FrameClock,
}

impl Baselines {
    /// A baseline estimator without faces.
    #[must_use]
    pub fn new(options: BaselineOptions) -> Self {
        Self {
            options,
            stored: None,
            memory: BySlot::default(),
            clock: FrameClock::default(),
        }
    }

    /// Uses other options from now on, and keeps the state of faces.
    pub fn set_options(&mut self, options: BaselineOptions) {
        self.options = options;
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &BaselineOptions {
        &self.options
    }

    /// Takes this as the recorded baseline from now on.
    pub const fn set_stored(&mut self, stored: Option<Rest>) {
        self.stored = stored;
    }

    /// The recorded baseline.
    #[must_use]
    pub const fn stored(&self) -> Option<Rest> {
        self.stored
    }

    /// Begins a frame taken at `now` with the faces that count in it, and
    /// forgets all others: a baseline does not pass to the next person.
    pub fn begin_frame(&mut self, now: Timestamp, faces: impl IntoIterator<Item = FaceKey>) {
        self.clock.advance(now);
        self.memory.keep_only(faces);
    }

    /// Adds a face's answer to the estimate, and returns it without the
    /// baseline; `None` if there is no baseline: it is switched off, or the
    /// face was never quiet.
    pub fn correct(
        &mut self,
        face: FaceKey,
        answer: &Probabilities,
        seen: Option<&FaceObservation>,
    ) -> Option<Probabilities> {
        if self.options.mode == Mode::Off {
            return None;
        }
        let logs = Rest::of(answer)?;
        if self.options.mode == Mode::Stored {
            let part = self.options.strength;
            let stored = self.stored.filter(|_| part > 0.0)?;
            return Some(stored.removed_from(answer, &logs, part));
        }
        let step = learned::step(&self.clock);
        let Some(learned) = self.memory.of(face) else {
            *self.memory.of(face) = Some(Learned::new(logs));
            return None;
        };
        if learned.is_steady(&logs, step) && unrest(seen).is_none() {
            learn(learned, &logs, step);
        }
        let part = self.options.strength * weight(learned);
        (part > 0.0).then(|| learned.rest.removed_from(answer, &logs, part))
    }

    /// How sure the baseline of a face is, above 0 to 1; `None` if it has none.
    #[must_use]
    pub fn confidence(&self, face: FaceKey) -> Option<f32> {
        match self.options.mode {
            Mode::Off => return None,
            Mode::Stored => return self.stored.map(|_| 1.0),
            Mode::Auto => {}
        }
        let learned = self.memory.get(face).copied().flatten()?;
        Some(weight(&learned)).filter(|weight| *weight > 0.0)
    }

    /// Forgets every face.
    pub fn clear(&mut self) {
        self.memory.clear();
    }
}

/// The weight of an estimate, 0 to 1.
fn weight(learned: &Learned) -> f32 {
    learned.quiet.as_secs_f32() / LEARNED.as_secs_f32()
}

/// Adds the answer of a quiet frame to an estimate.
fn learn(learned: &mut Learned, logs: &Rest, step: Duration) {
    if learned.quiet < LEARNED {
        // The mean of all quiet time so far.
        let before = learned.quiet;
        learned.quiet = (before + step).min(LEARNED);
        let whole = (before + step).as_secs_f32();
        let part = if whole > 0.0 {
            step.as_secs_f32() / whole
        } else {
            1.0
        };
        learned.rest.follow(logs, part);
    } else {
        learned.rest.follow(logs, share(step, SLOW));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::expression::Expression;
    use crate::observe::{EyeObservation, Lids};
    use crate::track::Slot;

    const FACE: FaceKey = FaceKey {
        id: 1,
        slot: Slot::ZERO,
    };

    /// A face that looks sad at rest.
    const REST: Probabilities = Probabilities([0.05, 0.01, 0.04, 0.02, 0.60, 0.02, 0.26]);
    const HAPPY: Probabilities = Probabilities([0.01, 0.01, 0.01, 0.90, 0.03, 0.02, 0.02]);
    const SAD: Probabilities = Probabilities([0.02, 0.01, 0.03, 0.01, 0.91, 0.01, 0.01]);

    fn quiet() -> FaceObservation {
        let eye = EyeObservation {
            visible: 1.0,
            lids: Some(Lids {
                openness: 0.9,
                gaze_down: 0.0,
                covered: 0.0,
            }),
        };
        FaceObservation {
            right_eye: eye,
            left_eye: eye,
            ..FaceObservation::at((50.0, 50.0), 80.0, 1.0)
        }
    }

    struct Face {
        baselines: Baselines,
        millis: u64,
    }

    impl Face {
        fn new(mode: Mode, strength: f32) -> Self {
            Self {
                baselines: Baselines::new(BaselineOptions { mode, strength }),
                millis: 0,
            }
        }

        fn look(&mut self, answer: Probabilities, seen: FaceObservation) -> Option<Probabilities> {
            self.millis += 100;
            let now = Timestamp::from_millis(self.millis);
            self.baselines.begin_frame(now, [FACE]);
            self.baselines.correct(FACE, &answer, Some(&seen))
        }

        fn rest(&mut self, seconds: u64) {
            for _ in 0..10 * seconds {
                self.look(REST, quiet());
            }
        }
    }

    fn top(corrected: Option<Probabilities>) -> Expression {
        corrected.unwrap().top().0
    }

    #[test]
    fn a_resting_face_becomes_neutral_and_expressions_stay() {
        let mut face = Face::new(Mode::Auto, 1.0);
        assert_eq!(face.look(REST, quiet()), None);
        face.rest(5);
        let early = face.baselines.confidence(FACE).unwrap();
        assert!((0.2..0.3).contains(&early), "{early}");
        face.rest(20);
        let learned = face.look(REST, quiet()).unwrap();
        assert_eq!(face.baselines.confidence(FACE), Some(1.0));
        assert_eq!(learned.top().0, Expression::Neutral);
        let sum: f32 = learned.0.iter().sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert_eq!(top(face.look(HAPPY, quiet())), Expression::Happy);
        assert_eq!(top(face.look(SAD, quiet())), Expression::Sad);
    }

    #[test]
    fn a_long_smile_is_not_rest() {
        let mut face = Face::new(Mode::Auto, 1.0);
        face.rest(30);
        let smiling = FaceObservation {
            smile: 0.9,
            ..quiet()
        };
        for _ in 0..600 {
            assert_eq!(top(face.look(HAPPY, smiling)), Expression::Happy);
        }
        assert_eq!(top(face.look(REST, quiet())), Expression::Neutral);
        // A face that always smiles has no baseline.
        let mut face = Face::new(Mode::Auto, 1.0);
        for _ in 0..600 {
            assert_eq!(face.look(HAPPY, smiling), None);
        }
    }

    #[test]
    fn frames_that_are_not_quiet_teach_nothing() {
        let eyes_shut = EyeObservation {
            lids: Some(Lids {
                openness: 0.1,
                ..quiet().left_eye.lids.unwrap()
            }),
            ..quiet().left_eye
        };
        let unrest = [
            FaceObservation {
                yaw: 30.0,
                ..quiet()
            },
            FaceObservation {
                pitch: -30.0,
                ..quiet()
            },
            FaceObservation {
                jaw: 0.5,
                ..quiet()
            },
            FaceObservation {
                left_eye: eyes_shut,
                ..quiet()
            },
            FaceObservation {
                right_eye: EyeObservation::default(),
                ..quiet()
            },
            FaceObservation {
                yaw: f32::NAN,
                ..quiet()
            },
        ];
        for seen in unrest {
            let mut face = Face::new(Mode::Auto, 1.0);
            for _ in 0..50 {
                assert_eq!(face.look(REST, seen), None, "{seen:?}");
            }
        }
    }

    #[test]
    fn the_next_person_starts_without_a_baseline() {
        let mut face = Face::new(Mode::Auto, 1.0);
        face.rest(30);
        let next = FaceKey { id: 2, ..FACE };
        face.baselines
            .begin_frame(Timestamp::from_millis(60_000), [next]);
        assert_eq!(face.baselines.correct(next, &REST, Some(&quiet())), None);
    }

    #[test]
    fn switched_off_it_corrects_nothing() {
        let mut face = Face::new(Mode::Off, 1.0);
        face.rest(30);
        assert_eq!(face.look(REST, quiet()), None);
        assert_eq!(face.baselines.confidence(FACE), None);
        let mut face = Face::new(Mode::Auto, 0.0);
        face.rest(30);
        assert_eq!(face.look(REST, quiet()), None);
    }

    #[test]
    fn a_recorded_baseline_is_taken_off_from_the_first_frame() {
        let mut face = Face::new(Mode::Stored, 1.0);
        assert_eq!(face.look(REST, quiet()), None);
        assert_eq!(face.baselines.confidence(FACE), None);
        face.baselines.set_stored(Rest::of(&REST));
        assert_eq!(top(face.look(REST, quiet())), Expression::Neutral);
        assert_eq!(face.baselines.confidence(FACE), Some(1.0));
        assert_eq!(top(face.look(HAPPY, quiet())), Expression::Happy);
        assert_eq!(top(face.look(SAD, quiet())), Expression::Sad);
        // Nothing is learned meanwhile.
        face.rest(60);
        assert_eq!(face.baselines.stored(), Rest::of(&REST));
        let mut face = Face::new(Mode::Stored, 0.0);
        face.baselines.set_stored(Rest::of(&REST));
        assert_eq!(face.look(REST, quiet()), None);
    }

    #[test]
    fn odd_answers_do_no_harm() {
        let mut face = Face::new(Mode::Auto, 1.0);
        let mut odd = REST;
        odd.0[2] = f32::NAN;
        for answer in [
            odd,
            Probabilities([0.0; 7]),
            Probabilities([f32::INFINITY; 7]),
        ] {
            for _ in 0..10 {
                if let Some(corrected) = face.look(answer, quiet()) {
                    assert!(corrected.0.iter().all(|p| p.is_finite()));
                }
            }
        }
        // Classes beyond the seven keep their share.
        let mut face = Face::new(Mode::Auto, 1.0);
        let half = Probabilities(REST.0.map(|p| p / 2.0));
        let corrected = (0..300).filter_map(|_| face.look(half, quiet())).last();
        let sum: f32 = corrected.unwrap().0.iter().sum();
        assert!((sum - 0.5).abs() < 1e-4, "{sum}");
    }
}
