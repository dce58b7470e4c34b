//! Decide: from probabilities over time to a stable label.
//!
//! A classifier's answers flicker from frame to frame; an LED or a robot that
//! follows them does too. Three things calm them, each a function of frame
//! timestamps alone, so that a recording decides the same on any machine at any
//! frame rate:
//!
//! 1. **Smoothing.** A face's probabilities p follow what is observed, q, by
//!    p += (1 - exp(-dt / time constant)) (q - p). It is the sampled first-order
//!    low-pass: dropping every other frame changes p little.
//! 2. **Hysteresis.** An expression is entered when it is the most probable and
//!    reaches `enter`. It is left for another that does, or for `Uncertain`
//!    when it falls below the lower `leave`.
//! 3. **Dwell.** An expression once entered holds for a minimum time, unless the
//!    face goes, and gives way to `Uncertain` only when it has been below
//!    `leave` for that time: while one expression changes into another there is
//!    often a moment at which neither passes. `Uncertain` may be left at any
//!    time: it is a lack of an expression, and waiting in it would only make the
//!    device slow.

use std::time::Duration;

use crate::frame::{Rect, Timestamp};
use crate::observe::expression::{Expression, Probabilities};

/// The number of faces for which space is reserved: the tracker's limit. More
/// work, at the price of an allocation.
const RESERVED: usize = crate::track::MAX_TRACKS;

/// What is shown of a face, or of there being none.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// No face.
    None,
    /// A face, but no expression passes its threshold.
    Uncertain,
    /// A stable apparent expression.
    Expression(Expression),
}

/// A decision about one face at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Decision {
    /// The track's id; 0 when there is no face.
    pub track: u32,
    pub state: State,
    /// The smoothed probability of the state's expression (of the top class
    /// when uncertain), 0 to 1; 0 when there is no face.
    pub confidence: f32,
    /// The smoothed probabilities.
    pub probabilities: Probabilities,
    /// The face's box in the frame; empty when there is no face.
    pub rect: Rect,
    /// When the place of the box was last searched for the face; without one
    /// the same as `since`.
    pub searched: Timestamp,
    /// Since when the state holds.
    pub since: Timestamp,
}

impl Decision {
    /// What is decided when there is no face, since a time.
    #[must_use]
    pub fn nobody(since: Timestamp) -> Self {
        Self {
            track: 0,
            state: State::None,
            confidence: 0.0,
            probabilities: Probabilities::UNIFORM,
            rect: Rect::default(),
            searched: since,
            since,
        }
    }
}

/// The board file's `[decide]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The time after which a changed face has changed the smoothed
    /// probabilities by 63%; zero takes each look as it is. Default: 300 ms.
    pub time_constant: Duration,
    /// The smoothed probability at which an expression is entered, above
    /// `leave` and at most 1. Default: 0.5, more probable than all the others
    /// together.
    pub enter: f32,
    /// The smoothed probability below which it is left again, from 0.
    /// Default: 0.35.
    pub leave: f32,
    /// The least time for which an expression is shown, and for which it must
    /// be below `leave` to give way to `Uncertain`. Default: 400 ms, about as
    /// long as the shortest expressions that people notice.
    pub dwell: Duration,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            time_constant: Duration::from_millis(300),
            enter: 0.5,
            leave: 0.35,
            dwell: Duration::from_millis(400),
        }
    }
}

/// An option that makes no sense.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    #[error("{name} is {value}, but a probability is from 0 to 1")]
    Range { name: &'static str, value: f32 },
    #[error(
        "leave is {leave} and enter {enter}, but leave must be the lower one, or a face near them flickers (0.35 and 0.5 are usual)"
    )]
    Order { enter: f32, leave: f32 },
}

impl Options {
    /// Says what makes no sense.
    ///
    /// # Errors
    /// [`OptionsError`], naming the option.
    pub fn validate(&self) -> Result<(), OptionsError> {
        for (name, value) in [("enter", self.enter), ("leave", self.leave)] {
            if !(0.0..=1.0).contains(&value) {
                return Err(OptionsError::Range { name, value });
            }
        }
        if self.leave >= self.enter {
            return Err(OptionsError::Order {
                enter: self.enter,
                leave: self.leave,
            });
        }
        Ok(())
    }
}

/// A face that counts in a frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Face {
    /// The track's id.
    pub track: u32,
    pub rect: Rect,
    /// When the place of the box was last searched for the face.
    pub searched: Timestamp,
    /// What the classifier says of it in this frame; `None` if it was not
    /// looked at. Numbers that are no probabilities (not finite, negative, all
    /// zero) count as not looked at; a sum other than 1 is scaled to it.
    pub probabilities: Option<Probabilities>,
}

/// What is remembered of a face.
#[derive(Clone, Copy, Debug)]
struct Remembered {
    track: u32,
    /// Smoothed; `None` before the first look.
    smoothed: Option<Probabilities>,
    /// The last look, on the decider's own clock.
    looked_at: Duration,
    state: State,
    since: Timestamp,
    /// `since` on the decider's own clock.
    entered_at: Duration,
    /// Since when the state's expression is below `leave`, on the decider's
    /// own clock.
    below_since: Option<Duration>,
    /// Whether the current frame's face of this id was already taken.
    taken: bool,
}

/// Decides. Allocates only when built, for up to 32 faces.
///
/// ```
/// use affectd::decide::{Decider, Face, Options, State};
/// use affectd::observe::expression::{Expression, Probabilities};
/// use affectd::frame::{Rect, Timestamp};
///
/// let mut decider = Decider::new(Options::default());
/// let smile = Face {
///     track: 1,
///     rect: Rect::new(10, 10, 80, 80),
///     searched: Timestamp::from_millis(0),
///     probabilities: Some(Probabilities([0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.1])),
/// };
/// let decisions = decider.update(Timestamp::from_millis(0), &[smile]);
/// assert_eq!(decisions[0].state, State::Expression(Expression::Happy));
/// let decisions = decider.update(Timestamp::from_millis(100), &[]);
/// assert_eq!(decisions[0].state, State::None);
/// ```
#[derive(Debug)]
pub struct Decider {
    options: Options,
    remembered: Vec<Remembered>,
    decisions: Vec<Decision>,
    previous: Option<Timestamp>,
    /// Advances with the timestamps but never back.
    clock: Duration,
    /// Since when nobody is there.
    nobody_since: Option<Timestamp>,
}

impl Decider {
    /// A decider that has seen nobody. Options should
    /// [validate](Options::validate); others are not refused, but thresholds in
    /// the wrong order flicker.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            remembered: Vec::with_capacity(RESERVED),
            decisions: Vec::with_capacity(RESERVED),
            previous: None,
            clock: Duration::ZERO,
            nobody_since: None,
        }
    }

    /// Takes the faces that count at a time and decides about each, in their
    /// order; without a face a single decision with [`State::None`].
    ///
    /// Faces that are not among them are forgotten: who comes back starts anew.
    /// Two faces with one id count as the first. A timestamp before the last
    /// one counts as the same instant, and a second look at a face in the same
    /// instant changes nothing.
    pub fn update(&mut self, now: Timestamp, faces: &[Face]) -> &[Decision] {
        let step = self.previous.map_or(Duration::ZERO, |p| now.since(p));
        self.previous = Some(now);
        self.clock = self.clock.saturating_add(step);

        self.remembered
            .retain(|known| faces.iter().any(|face| face.track == known.track));
        for known in &mut self.remembered {
            known.taken = false;
        }
        self.decisions.clear();
        for face in faces {
            let index = self
                .remembered
                .iter()
                .position(|known| known.track == face.track)
                .unwrap_or_else(|| {
                    self.remembered.push(Remembered {
                        track: face.track,
                        smoothed: None,
                        looked_at: self.clock,
                        state: State::Uncertain,
                        since: now,
                        entered_at: self.clock,
                        below_since: None,
                        taken: false,
                    });
                    self.remembered.len() - 1
                });
            let known = &mut self.remembered[index];
            if known.taken {
                continue;
            }
            known.taken = true;
            if let Some(observed) = face.probabilities.and_then(normalised) {
                smooth(known, observed, self.clock, self.options.time_constant);
            }
            settle(known, now, self.clock, &self.options);
            self.decisions.push(decision(known, face));
        }

        if self.decisions.is_empty() {
            let since = *self.nobody_since.get_or_insert(now);
            self.decisions.push(Decision::nobody(since));
        } else {
            self.nobody_since = None;
        }
        &self.decisions
    }

    /// The decisions of the last update; empty before the first.
    #[must_use]
    pub fn decisions(&self) -> &[Decision] {
        &self.decisions
    }

    /// Forgets every face, as after the camera was gone.
    pub fn clear(&mut self) {
        self.remembered.clear();
        self.decisions.clear();
        self.nobody_since = None;
    }
}

/// Probabilities that sum to 1, or `None` if these are none.
fn normalised(probabilities: Probabilities) -> Option<Probabilities> {
    let sum: f32 = probabilities.0.iter().sum();
    let valid = probabilities.0.iter().all(|p| *p >= 0.0) && sum.is_finite() && sum > 0.0;
    valid.then(|| Probabilities(probabilities.0.map(|p| p / sum)))
}

/// Lets the smoothed probabilities follow a look.
fn smooth(known: &mut Remembered, observed: Probabilities, clock: Duration, tau: Duration) {
    let Some(smoothed) = &mut known.smoothed else {
        // The first look is all that is known; a start from equal
        // probabilities would only delay the first decision.
        known.smoothed = Some(observed);
        known.looked_at = clock;
        return;
    };
    let step = clock.saturating_sub(known.looked_at).as_secs_f64();
    known.looked_at = clock;
    let gain = if step == 0.0 {
        0.0
    } else {
        // In f64, so that the last bit, where mathematics libraries differ
        // from each other, is rounded away. A time constant of 0 gives 1.
        1.0 - (-step / tau.as_secs_f64()).exp()
    };
    let gain = gain as f32;
    for (p, q) in smoothed.0.iter_mut().zip(observed.0) {
        *p += gain * (q - *p);
    }
    // Rounding must not add up over a year.
    if let Some(scaled) = normalised(*smoothed) {
        *smoothed = scaled;
    }
}

/// Changes the state if the thresholds and the dwell say so.
fn settle(known: &mut Remembered, now: Timestamp, clock: Duration, options: &Options) {
    let Some(smoothed) = known.smoothed else {
        return;
    };
    let (top, top_probability) = smoothed.top();
    let passes = top_probability >= options.enter;
    let next = match known.state {
        State::Expression(current) => {
            if smoothed.of(current) >= options.leave {
                known.below_since = None;
            } else {
                known.below_since.get_or_insert(clock);
            }
            let lasts = |since: Duration| clock.saturating_sub(since) >= options.dwell;
            if !lasts(known.entered_at) {
                known.state
            } else if passes && top != current {
                State::Expression(top)
            } else if known.below_since.is_some_and(lasts) {
                State::Uncertain
            } else {
                known.state
            }
        }
        State::Uncertain | State::None if passes => State::Expression(top),
        State::Uncertain | State::None => State::Uncertain,
    };
    if next != known.state {
        known.state = next;
        known.since = now;
        known.entered_at = clock;
        known.below_since = None;
    }
}

fn decision(known: &Remembered, face: &Face) -> Decision {
    let probabilities = known.smoothed.unwrap_or(Probabilities::UNIFORM);
    let confidence = match known.state {
        State::Expression(expression) => probabilities.of(expression),
        State::Uncertain | State::None => probabilities.top().1,
    };
    Decision {
        track: known.track,
        state: known.state,
        confidence,
        probabilities,
        rect: face.rect,
        searched: face.searched,
        since: known.since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn face(probabilities: [f32; 7]) -> Face {
        Face {
            track: 1,
            rect: Rect::new(0, 0, 50, 50),
            searched: Timestamp::default(),
            probabilities: Some(Probabilities(probabilities)),
        }
    }

    /// A face that looks happy with a probability and neutral otherwise.
    fn happy(p: f32) -> Face {
        face([0.0, 0.0, 0.0, p, 0.0, 0.0, 1.0 - p])
    }

    fn at(decider: &mut Decider, millis: u64, face: Face) -> Decision {
        decider.update(Timestamp::from_millis(millis), &[face])[0]
    }

    const HAPPY: State = State::Expression(Expression::Happy);
    const NEUTRAL: State = State::Expression(Expression::Neutral);

    #[test]
    fn options_are_checked() {
        assert_eq!(Options::default().validate(), Ok(()));
        let with = |enter, leave| {
            Options {
                enter,
                leave,
                ..Options::default()
            }
            .validate()
        };
        assert!(matches!(with(0.5, 0.5), Err(OptionsError::Order { .. })));
        assert!(matches!(
            with(1.5, 0.5),
            Err(OptionsError::Range { name: "enter", .. })
        ));
        assert!(with(0.5, f32::NAN).is_err());
    }

    #[test]
    fn smoothing_is_a_matter_of_time_and_not_of_frames() {
        let after = |frame_millis: u64| {
            let mut decider = Decider::new(Options::default());
            at(&mut decider, 0, happy(0.0));
            let mut last = None;
            for millis in (frame_millis..=600).step_by(frame_millis as usize) {
                last = Some(at(&mut decider, millis, happy(1.0)));
            }
            last.unwrap().probabilities.of(Expression::Happy)
        };
        // Two time constants.
        let expected = 1.0 - (-2.0_f32).exp();
        for frame_millis in [10, 50, 200, 600] {
            assert!((after(frame_millis) - expected).abs() < 1e-5);
        }
    }

    #[test]
    fn no_smoothing_takes_each_look_as_it_is() {
        let mut decider = Decider::new(Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        });
        at(&mut decider, 0, happy(1.0));
        let decision = at(&mut decider, 1, happy(0.25));
        assert_eq!(decision.probabilities.of(Expression::Happy), 0.25);
    }

    #[test]
    fn between_the_thresholds_the_state_holds() {
        let options = Options {
            time_constant: Duration::ZERO,
            dwell: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = Decider::new(options);
        let spread = |p: f32| face([0.0, (1.0 - p) / 2.0, 0.0, p, (1.0 - p) / 2.0, 0.0, 0.0]);
        assert_eq!(at(&mut decider, 0, spread(0.45)).state, State::Uncertain);
        assert_eq!(at(&mut decider, 10, spread(0.5)).state, HAPPY);
        assert_eq!(at(&mut decider, 20, spread(0.4)).state, HAPPY);
        let left = at(&mut decider, 30, spread(0.34));
        assert_eq!(left.state, State::Uncertain);
        assert_eq!(left.since, Timestamp::from_millis(30));
        assert_eq!(at(&mut decider, 40, spread(0.45)).state, State::Uncertain);
    }

    #[test]
    fn the_dwell_holds_an_expression() {
        let options = Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = Decider::new(options);
        assert_eq!(at(&mut decider, 1000, happy(0.9)).state, HAPPY);
        let held = at(&mut decider, 1399, happy(0.1));
        assert_eq!(held.state, HAPPY);
        // The confidence does not hide what is held against the evidence.
        assert!((held.confidence - 0.1).abs() < 1e-6);
        let changed = at(&mut decider, 1400, happy(0.1));
        assert_eq!(changed.state, NEUTRAL);
        assert_eq!(changed.since, Timestamp::from_millis(1400));
    }

    #[test]
    fn an_expression_gives_way_to_uncertain_only_after_the_dwell() {
        let options = Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = Decider::new(options);
        let faint = face([0.3, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1]);
        at(&mut decider, 0, happy(0.9));
        assert_eq!(at(&mut decider, 1000, faint).state, HAPPY);
        // Once more above, and the time starts again.
        let clearer = face([0.2, 0.1, 0.1, 0.4, 0.1, 0.1, 0.0]);
        assert_eq!(at(&mut decider, 1300, clearer).state, HAPPY);
        assert_eq!(at(&mut decider, 1400, faint).state, HAPPY);
        assert_eq!(at(&mut decider, 1799, faint).state, HAPPY);
        assert_eq!(at(&mut decider, 1800, faint).state, State::Uncertain);
        // Another expression need not wait for it.
        at(&mut decider, 1900, happy(0.9));
        at(&mut decider, 3000, faint);
        assert_eq!(at(&mut decider, 3010, happy(0.1)).state, NEUTRAL);
    }

    #[test]
    fn a_face_that_goes_ends_the_dwell() {
        let mut decider = Decider::new(Options::default());
        at(&mut decider, 0, happy(0.9));
        let nobody = decider.update(Timestamp::from_millis(10), &[]).to_vec();
        assert_eq!(nobody, [Decision::nobody(Timestamp::from_millis(10))]);
        let still = decider.update(Timestamp::from_millis(500), &[]);
        assert_eq!(still[0].since, Timestamp::from_millis(10));
        // Who comes back under the same id starts anew.
        let back = at(&mut decider, 600, happy(0.1));
        assert_eq!((back.state, back.probabilities.0[3]), (NEUTRAL, 0.1));
    }

    #[test]
    fn a_face_not_looked_at_keeps_its_state() {
        let mut decider = Decider::new(Options::default());
        let unseen = Face {
            probabilities: None,
            ..happy(0.0)
        };
        let first = at(&mut decider, 0, unseen);
        assert_eq!(first.state, State::Uncertain);
        assert_eq!(first.probabilities, Probabilities::UNIFORM);
        let seen = at(&mut decider, 100, happy(0.9));
        let kept = at(&mut decider, 5000, unseen);
        assert_eq!(kept.probabilities, seen.probabilities);
        assert_eq!((kept.state, kept.since), (HAPPY, seen.since));
    }

    #[test]
    fn faces_are_decided_apart_and_in_order() {
        let mut decider = Decider::new(Options::default());
        let faces = [
            Face {
                track: 7,
                ..happy(0.9)
            },
            Face {
                track: 3,
                ..happy(0.1)
            },
        ];
        let decisions = decider.update(Timestamp::from_millis(0), &faces);
        let states: Vec<_> = decisions.iter().map(|d| (d.track, d.state)).collect();
        assert_eq!(states, [(7, HAPPY), (3, NEUTRAL)]);
        // The second one of an id is left out.
        let twice = [
            faces[0],
            Face {
                track: 7,
                ..happy(0.0)
            },
        ];
        assert_eq!(
            decider.update(Timestamp::from_millis(10), &twice)[0].state,
            HAPPY
        );
        assert_eq!(decider.decisions().len(), 1);
    }

    #[test]
    fn memory_is_taken_only_when_built() {
        let mut decider = Decider::new(Options::default());
        let capacities =
            |decider: &Decider| (decider.remembered.capacity(), decider.decisions.capacity());
        let before = capacities(&decider);
        // New faces all the time, as many as the tracker follows.
        for frame in 0..10 {
            let faces: Vec<_> = (0..RESERVED as u32)
                .map(|i| Face {
                    track: 1 + i + 32 * frame,
                    ..happy(0.5)
                })
                .collect();
            decider.update(Timestamp::from_millis(frame.into()), &faces);
        }
        assert_eq!(capacities(&decider), before);
    }

    #[test]
    fn what_is_no_probability_is_not_looked_at() {
        let mut decider = Decider::new(Options::default());
        let before = at(&mut decider, 0, happy(0.9));
        for bad in [f32::NAN, f32::INFINITY, -0.5] {
            let decision = at(&mut decider, 100, face([0.2, 0.2, 0.2, bad, 0.2, 0.2, 0.2]));
            assert_eq!(decision.probabilities, before.probabilities);
        }
        let decision = at(&mut decider, 200, face([0.0; 7]));
        assert_eq!(decision.probabilities, before.probabilities);
        let scaled = Decider::new(Options::default()).update(
            Timestamp::default(),
            &[face([0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 1.0])],
        )[0];
        assert_eq!(scaled.confidence, 0.75);
    }

    #[test]
    fn time_may_stand_still_go_back_or_leap() {
        let mut decider = Decider::new(Options::default());
        let first = at(&mut decider, 5000, happy(1.0));
        let same = at(&mut decider, 5000, happy(0.0));
        assert_eq!(same, first);
        let back = at(&mut decider, 100, happy(0.0));
        assert_eq!(back.probabilities, first.probabilities);
        // From there on time runs again.
        let later = at(&mut decider, 400, happy(0.0));
        assert!((later.probabilities.of(Expression::Happy) - (-1.0_f32).exp()).abs() < 1e-6);
        // After an hour only the new look counts.
        let leapt = at(&mut decider, 3_600_000, happy(0.0));
        assert_eq!((leapt.state, leapt.confidence), (NEUTRAL, 1.0));
    }
}
