//! Turns probabilities over time into a stable label.
//!
//! Three rules make the classifier's answers stable:
//!
//! 1. **Smoothing.** A face's probabilities p follow the observed ones, q, by p
//!    += (1 - exp(-dt / time constant)) (q - p). This is a sampled first-order
//!    low-pass filter: if every other frame is dropped, p changes little.
//! 2. **Hysteresis.** An expression begins when it is the most probable one and
//!    reaches `enter`. It ends when another one reaches `enter`, or changes to
//!    `Uncertain` when it falls below the lower threshold `leave`.
//! 3. **Dwell.** An expression holds for a minimum time, unless the face ends,
//!    and changes to `Uncertain` only after it was below `leave` for that time:
//!    while one expression changes into another, there is often a moment at
//!    which neither is above its threshold. `Uncertain` can end at any time: it
//!    only means that there is no expression, and waiting would make the device
//!    slow.

use std::fmt;
use std::time::Duration;

use super::clock::FrameClock;
use crate::frame::Timestamp;
use crate::observe::expression::{Expression, Probabilities};
use crate::track::{BySlot, FaceKey};

/// The label of a face.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Label {
    /// No expression passes its threshold.
    Uncertain,
    /// A stable apparent expression.
    Expression(Expression),
}

impl Label {
    /// The expression's name, or `uncertain`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Uncertain => "uncertain",
            Self::Expression(expression) => expression.name(),
        }
    }

    /// The expression, if there is one.
    #[must_use]
    pub const fn expression(self) -> Option<Expression> {
        match self {
            Self::Uncertain => None,
            Self::Expression(expression) => Some(expression),
        }
    }
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The decision on a face's expression at one time.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ExpressionDecision {
    pub label: Label,
    /// The smoothed probability of the label's expression (of the most probable
    /// class when uncertain), 0 to 1.
    pub confidence: f32,
    /// The smoothed probabilities; uniform before the first observation.
    pub probabilities: Probabilities,
    /// Since when the label holds.
    pub since: Timestamp,
}

/// The board file's `[decide]`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Options {
    /// The time in which the smoothed probabilities follow a change by 63%;
    /// zero: no smoothing. Default: 300 ms.
    pub time_constant: Duration,
    /// The smoothed probability at which an expression begins, above `leave`
    /// and at most 1. Default: 0.5, more than all others together.
    pub enter: f32,
    /// The smoothed probability below which it ends, from 0. Default: 0.35.
    pub leave: f32,
    /// The shortest time for which an expression is shown, and for which it
    /// must be below `leave` before it changes to `Uncertain`. Default: 400 ms,
    /// about as long as the shortest expressions that people notice.
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

/// An option is out of range.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum OptionsError {
    #[error("{name} is {value}, but a probability is from 0 to 1")]
    Range { name: &'static str, value: f32 },
    #[error(
        "leave is {leave} and enter {enter}, but leave must be the lower one, otherwise the label flickers (0.35 and 0.5 are usual)"
    )]
    Order { enter: f32, leave: f32 },
}

impl Options {
    /// Checks the ranges.
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

/// The state of a face.
#[derive(Clone, Copy, Debug)]
struct Memory {
    /// Smoothed; `None` before the first observation.
    smoothed: Option<Probabilities>,
    /// The last observation, on the decider's own clock.
    last_observed: Duration,
    label: Label,
    since: Timestamp,
    /// `since` on the decider's own clock.
    entered_at: Duration,
    /// Since when the label's expression is below `leave`, on the decider's
    /// own clock.
    below_since: Option<Duration>,
}

/// Decides on the expression of every face.
#[derive(Debug)]
pub struct ExpressionDecider {
    options: Options,
    /// `None` for a face that was never decided on.
    memory: BySlot<Option<Memory>>,
    clock: FrameClock,
}

impl ExpressionDecider {
    /// A decider that knows no face.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            options,
            memory: BySlot::default(),
            clock: FrameClock::default(),
        }
    }

    /// Uses other options from now on, and keeps the state of faces.
    pub fn set_options(&mut self, options: Options) {
        self.options = options;
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// Begins a frame taken at `now` with the faces that count in it, and
    /// forgets all others.
    pub fn begin_frame(&mut self, now: Timestamp, faces: impl IntoIterator<Item = FaceKey>) {
        self.clock.advance(now);
        self.memory.keep_only(faces);
    }

    /// Decides on a face of the frame, from the classifier's answer; `None` if
    /// the classifier did not run. Invalid probabilities (not finite, negative,
    /// all zero) count as `None`; other sums are scaled to 1.
    pub fn decide(&mut self, face: FaceKey, observed: Option<Probabilities>) -> ExpressionDecision {
        let (now, clock) = (self.clock.now(), self.clock.time());
        let memory = self.memory.of(face).get_or_insert(Memory {
            smoothed: None,
            last_observed: clock,
            label: Label::Uncertain,
            since: now,
            entered_at: clock,
            below_since: None,
        });
        if let Some(observed) = observed.and_then(normalised) {
            smooth(memory, observed, clock, self.options.time_constant);
        }
        settle(memory, now, clock, &self.options);
        decision(memory)
    }

    /// Forgets every face.
    pub fn clear(&mut self) {
        self.memory.clear();
    }
}

/// If the sum of the seven is below this, the rest belongs to further classes
/// and is kept; closer to 1 the difference is only rounding.
const LEAVES_A_SHARE: f32 = 0.999;

/// The probabilities, scaled to a sum of 1, or less if classes beyond the seven
/// have a share; `None` if they are invalid.
fn normalised(probabilities: Probabilities) -> Option<Probabilities> {
    let sum: f32 = probabilities.0.iter().sum();
    let valid = probabilities.0.iter().all(|p| *p >= 0.0) && sum.is_finite() && sum > 0.0;
    valid.then(|| match sum {
        ..LEAVES_A_SHARE => probabilities,
        _ => Probabilities(probabilities.0.map(|p| p / sum)),
    })
}

/// Updates the smoothed probabilities with an observation.
fn smooth(memory: &mut Memory, observed: Probabilities, clock: Duration, tau: Duration) {
    let Some(smoothed) = &mut memory.smoothed else {
        // The first observation is used directly; a start from equal
        // probabilities would only delay the first decision.
        memory.smoothed = Some(observed);
        memory.last_observed = clock;
        return;
    };
    let step = clock.saturating_sub(memory.last_observed).as_secs_f64();
    memory.last_observed = clock;
    let gain = if step == 0.0 {
        0.0
    } else {
        // In f64, so that rounding removes the last bit, in which mathematics
        // libraries differ. A time constant of 0 gives 1.
        1.0 - (-step / tau.as_secs_f64()).exp()
    };
    let gain = gain as f32;
    for (p, q) in smoothed.0.iter_mut().zip(observed.0) {
        *p += gain * (q - *p);
    }
    // Rounding errors must not grow over a year.
    if let Some(scaled) = normalised(*smoothed) {
        *smoothed = scaled;
    }
}

/// Changes the label if thresholds and dwell time allow it.
fn settle(memory: &mut Memory, now: Timestamp, clock: Duration, options: &Options) {
    let Some(smoothed) = memory.smoothed else {
        return;
    };
    let (top, top_probability) = smoothed.top();
    let passes = top_probability >= options.enter;
    let next = match memory.label {
        Label::Expression(current) => {
            if smoothed.of(current) >= options.leave {
                memory.below_since = None;
            } else {
                memory.below_since.get_or_insert(clock);
            }
            let lasts = |since: Duration| clock.saturating_sub(since) >= options.dwell;
            if !lasts(memory.entered_at) {
                memory.label
            } else if passes && top != current {
                Label::Expression(top)
            } else if memory.below_since.is_some_and(lasts) {
                Label::Uncertain
            } else {
                memory.label
            }
        }
        Label::Uncertain if passes => Label::Expression(top),
        Label::Uncertain => Label::Uncertain,
    };
    if next != memory.label {
        memory.label = next;
        memory.since = now;
        memory.entered_at = clock;
        memory.below_since = None;
    }
}

fn decision(memory: &Memory) -> ExpressionDecision {
    let probabilities = memory.smoothed.unwrap_or(Probabilities::UNIFORM);
    let confidence = match memory.label {
        Label::Expression(expression) => probabilities.of(expression),
        Label::Uncertain => probabilities.top().1,
    };
    ExpressionDecision {
        label: memory.label,
        confidence,
        probabilities,
        since: memory.since,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::track::Slot;

    fn key(id: u32, slot: usize) -> FaceKey {
        FaceKey {
            id,
            slot: Slot::new(slot).unwrap(),
        }
    }

    /// A face that looks happy with a probability and neutral otherwise.
    fn happy(p: f32) -> [f32; 7] {
        [0.0, 0.0, 0.0, p, 0.0, 0.0, 1.0 - p]
    }

    /// The decision on a single face, which may not have been observed.
    fn at(
        decider: &mut ExpressionDecider,
        millis: u64,
        observed: impl Into<Option<[f32; 7]>>,
    ) -> ExpressionDecision {
        let face = key(1, 0);
        decider.begin_frame(Timestamp::from_millis(millis), [face]);
        decider.decide(face, observed.into().map(Probabilities))
    }

    const HAPPY: Label = Label::Expression(Expression::Happy);
    const NEUTRAL: Label = Label::Expression(Expression::Neutral);

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
    fn smoothing_depends_on_time_and_not_on_frames() {
        let after = |frame_millis: u64| {
            let mut decider = ExpressionDecider::new(Options::default());
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
    fn without_smoothing_each_observation_counts_directly() {
        let mut decider = ExpressionDecider::new(Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        });
        at(&mut decider, 0, happy(1.0));
        let decision = at(&mut decider, 1, happy(0.25));
        assert_eq!(decision.probabilities.of(Expression::Happy), 0.25);
    }

    #[test]
    fn classes_beyond_the_seven_keep_their_share() {
        let mut decider = ExpressionDecider::new(Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        });
        // By far the most probable of the seven, but not enough.
        let mut mostly_other = [0.02; 7];
        mostly_other[3] = 0.3;
        let decision = at(&mut decider, 0, mostly_other);
        assert_eq!(decision.label, Label::Uncertain);
        assert_eq!(decision.probabilities.of(Expression::Happy), 0.3);
    }

    #[test]
    fn between_the_thresholds_the_label_holds() {
        let options = Options {
            time_constant: Duration::ZERO,
            dwell: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = ExpressionDecider::new(options);
        let spread = |p: f32| [0.0, (1.0 - p) / 2.0, 0.0, p, (1.0 - p) / 2.0, 0.0, 0.0];
        assert_eq!(at(&mut decider, 0, spread(0.45)).label, Label::Uncertain);
        assert_eq!(at(&mut decider, 10, spread(0.5)).label, HAPPY);
        assert_eq!(at(&mut decider, 20, spread(0.4)).label, HAPPY);
        let left = at(&mut decider, 30, spread(0.34));
        assert_eq!(left.label, Label::Uncertain);
        assert_eq!(left.since, Timestamp::from_millis(30));
        assert_eq!(at(&mut decider, 40, spread(0.45)).label, Label::Uncertain);
    }

    #[test]
    fn the_dwell_holds_an_expression() {
        let options = Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = ExpressionDecider::new(options);
        assert_eq!(at(&mut decider, 1000, happy(0.9)).label, HAPPY);
        let held = at(&mut decider, 1399, happy(0.1));
        assert_eq!(held.label, HAPPY);
        // The confidence shows that the label holds against the evidence.
        assert!((held.confidence - 0.1).abs() < 1e-6);
        let changed = at(&mut decider, 1400, happy(0.1));
        assert_eq!(changed.label, NEUTRAL);
        assert_eq!(changed.since, Timestamp::from_millis(1400));
    }

    #[test]
    fn an_expression_gives_way_to_uncertain_only_after_the_dwell() {
        let options = Options {
            time_constant: Duration::ZERO,
            ..Options::default()
        };
        let mut decider = ExpressionDecider::new(options);
        let faint = [0.3, 0.1, 0.1, 0.2, 0.1, 0.1, 0.1];
        at(&mut decider, 0, happy(0.9));
        assert_eq!(at(&mut decider, 1000, faint).label, HAPPY);
        // Above the threshold once, so the time starts again.
        let clearer = [0.2, 0.1, 0.1, 0.4, 0.1, 0.1, 0.0];
        assert_eq!(at(&mut decider, 1300, clearer).label, HAPPY);
        assert_eq!(at(&mut decider, 1400, faint).label, HAPPY);
        assert_eq!(at(&mut decider, 1799, faint).label, HAPPY);
        assert_eq!(at(&mut decider, 1800, faint).label, Label::Uncertain);
        // Another expression does not have to wait for it.
        at(&mut decider, 1900, happy(0.9));
        at(&mut decider, 3000, faint);
        assert_eq!(at(&mut decider, 3010, happy(0.1)).label, NEUTRAL);
    }

    #[test]
    fn a_face_that_goes_ends_the_dwell() {
        let mut decider = ExpressionDecider::new(Options::default());
        at(&mut decider, 0, happy(0.9));
        decider.begin_frame(Timestamp::from_millis(10), []);
        // A face that comes back with the same id starts again.
        let back = at(&mut decider, 20, happy(0.1));
        assert_eq!((back.label, back.probabilities.0[3]), (NEUTRAL, 0.1));
    }

    #[test]
    fn a_face_that_takes_over_a_slot_starts_anew() {
        let mut decider = ExpressionDecider::new(Options::default());
        at(&mut decider, 0, happy(0.9));
        let other = key(2, 0);
        decider.begin_frame(Timestamp::from_millis(10), [other]);
        let first = decider.decide(other, Some(Probabilities(happy(0.1))));
        assert_eq!((first.label, first.probabilities.0[3]), (NEUTRAL, 0.1));
    }

    #[test]
    fn a_face_that_is_not_observed_keeps_its_label() {
        let mut decider = ExpressionDecider::new(Options::default());
        let first = at(&mut decider, 0, None);
        assert_eq!(first.label, Label::Uncertain);
        assert_eq!(first.probabilities, Probabilities::UNIFORM);
        let seen = at(&mut decider, 100, happy(0.9));
        let kept = at(&mut decider, 5000, None);
        assert_eq!(kept.probabilities, seen.probabilities);
        assert_eq!((kept.label, kept.since), (HAPPY, seen.since));
    }

    #[test]
    fn faces_are_decided_apart() {
        let mut decider = ExpressionDecider::new(Options::default());
        let faces = [key(7, 4), key(3, 0)];
        decider.begin_frame(Timestamp::from_millis(0), faces);
        for (face, p, label) in [(faces[0], 0.9, HAPPY), (faces[1], 0.1, NEUTRAL)] {
            let decision = decider.decide(face, Some(Probabilities(happy(p))));
            assert_eq!(decision.label, label);
            // The first observation of an instant counts.
            let again = decider.decide(face, Some(Probabilities(happy(1.0 - p))));
            assert_eq!(again, decision);
        }
    }

    #[test]
    fn invalid_probabilities_do_not_count() {
        let mut decider = ExpressionDecider::new(Options::default());
        let before = at(&mut decider, 0, happy(0.9));
        for bad in [f32::NAN, f32::INFINITY, -0.5] {
            let decision = at(&mut decider, 100, [0.2, 0.2, 0.2, bad, 0.2, 0.2, 0.2]);
            assert_eq!(decision.probabilities, before.probabilities);
        }
        let decision = at(&mut decider, 200, [0.0; 7]);
        assert_eq!(decision.probabilities, before.probabilities);
        let mut fresh = ExpressionDecider::new(Options::default());
        let scaled = at(&mut fresh, 0, [0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 1.0]);
        assert_eq!(scaled.confidence, 0.75);
    }

    #[test]
    fn time_may_stand_still_go_back_or_leap() {
        let mut decider = ExpressionDecider::new(Options::default());
        let first = at(&mut decider, 5000, happy(1.0));
        let same = at(&mut decider, 5000, happy(0.0));
        assert_eq!(same, first);
        let back = at(&mut decider, 100, happy(0.0));
        assert_eq!(back.probabilities, first.probabilities);
        // From there on time runs again.
        let later = at(&mut decider, 400, happy(0.0));
        assert!((later.probabilities.of(Expression::Happy) - (-1.0_f32).exp()).abs() < 1e-6);
        // After an hour only the new observation counts.
        let leapt = at(&mut decider, 3_600_000, happy(0.0));
        assert_eq!((leapt.label, leapt.confidence), (NEUTRAL, 1.0));
    }
}
