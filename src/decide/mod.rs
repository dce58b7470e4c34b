//! Decide: what holds of a face over time.
//!
//! An observer's answers flicker from frame to frame, and an LED or a robot
//! that follows them flickers too. This stage turns them into decisions that
//! last. [`expression`] decides on a label; what else is decided of a face gets
//! a file of its own beside it, a field in [`FaceDecision`], and its place in
//! [`Decider::decide`].
//!
//! Everything here depends on frame timestamps alone and never on a clock, so
//! that a recording leads to the same decisions on any machine.

pub mod expression;
pub mod fatigue;

pub use expression::{ExpressionDecision, Label, Options, OptionsError};

use crate::frame::Timestamp;
use crate::observe::Observations;
use crate::track::FaceKey;
use expression::ExpressionDecider;

/// What is decided of a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceDecision {
    /// The apparent expression.
    pub expression: ExpressionDecision,
}

/// Decides on every face, in memory of fixed size.
///
/// ```
/// use affectd::decide::{Decider, Label, Options};
/// use affectd::frame::Timestamp;
/// use affectd::observe::Observations;
/// use affectd::observe::expression::{Expression, Probabilities};
/// use affectd::track::{FaceKey, Slot};
///
/// let mut decider = Decider::new(Options::default());
/// let face = FaceKey { id: 1, slot: Slot::default() };
/// let smile = Observations {
///     expression: Some(Probabilities([0.0, 0.0, 0.0, 0.9, 0.0, 0.0, 0.1])),
///     ..Observations::default()
/// };
/// decider.begin_frame(Timestamp::from_millis(0), [face]);
/// let decision = decider.decide(face, &smile);
/// assert_eq!(decision.expression.label, Label::Expression(Expression::Happy));
/// ```
#[derive(Debug)]
pub struct Decider {
    expression: ExpressionDecider,
}

impl Decider {
    /// A decider that knows no face. Options should
    /// [validate](Options::validate). Others are not refused, but thresholds in
    /// the wrong order flicker.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            expression: ExpressionDecider::new(options),
        }
    }

    /// Decides by the options of another decider from now on, and keeps what it
    /// knows of faces.
    pub fn take_options_of(&mut self, other: &Self) {
        self.expression.set_options(*other.expression.options());
    }

    /// Begins a frame taken at `now` with the faces that count in it. Others are
    /// forgotten: a face that comes back starts anew. A timestamp before the
    /// last one counts as the same instant.
    pub fn begin_frame(&mut self, now: Timestamp, faces: impl IntoIterator<Item = FaceKey>) {
        self.expression.begin_frame(now, faces);
    }

    /// Decides on a face of the frame. Deciding again in the same instant
    /// changes nothing.
    pub fn decide(&mut self, face: FaceKey, observed: &Observations) -> FaceDecision {
        FaceDecision {
            expression: self.expression.decide(face, observed.expression),
        }
    }

    /// Forgets every face, as after the camera was gone.
    pub fn clear(&mut self) {
        self.expression.clear();
    }
}
