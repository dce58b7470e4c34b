//! Decide: turns observations of a face over time into decisions.
//!
//! An observer's answers flicker from frame to frame, and an LED or a robot
//! that follows them would flicker too. This stage makes stable decisions.
//! [`expression`] decides on a label. Each other decision has a file of its
//! own, a field in [`FaceDecision`], and its place in [`Decider::decide`].
//!
//! Everything here depends only on frame timestamps and never on a clock, so a
//! recording leads to the same decisions on any machine.

pub mod attention;
pub mod baseline;
mod clock;
pub mod expression;
pub mod fatigue;

pub use attention::{Facing, FacingOptions};
pub use baseline::BaselineOptions;
pub use expression::{ExpressionDecision, Label, Options, OptionsError};

use crate::frame::Timestamp;
use crate::observe::Observations;
use crate::track::FaceKey;
use attention::AttentionDecider;
use baseline::{Baselines, Rest};
use expression::ExpressionDecider;

/// The decisions about a face.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FaceDecision {
    /// The apparent expression.
    pub expression: ExpressionDecision,
    /// How sure the baseline is that was removed, above 0 to 1; `None` if none
    /// was removed.
    pub baseline: Option<f32>,
    /// Whether the face points to the camera; `None` without
    /// [`with_facing`](Decider::with_facing).
    pub facing: Option<Facing>,
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
    baselines: Baselines,
    expression: ExpressionDecider,
    attention: AttentionDecider,
}

impl Decider {
    /// A decider that knows no face. Options should
    /// [validate](Options::validate). Invalid ones are not refused, but with
    /// thresholds in the wrong order labels flicker.
    #[must_use]
    pub fn new(options: Options) -> Self {
        Self {
            baselines: Baselines::new(BaselineOptions::default()),
            expression: ExpressionDecider::new(options),
            attention: AttentionDecider::new(None),
        }
    }

    /// Also removes each face's resting expression before it decides.
    #[must_use]
    pub fn with_baseline(mut self, options: BaselineOptions) -> Self {
        self.baselines.set_options(options);
        self
    }

    /// Takes this as the recorded baseline, for the mode `stored`.
    #[must_use]
    pub fn with_stored_baseline(mut self, stored: Option<Rest>) -> Self {
        self.set_stored_baseline(stored);
        self
    }

    /// Takes this as the recorded baseline from now on.
    pub const fn set_stored_baseline(&mut self, stored: Option<Rest>) {
        self.baselines.set_stored(stored);
    }

    /// Also decides whether faces point to the camera.
    #[must_use]
    pub fn with_facing(mut self, options: FacingOptions) -> Self {
        self.attention.set_options(Some(options));
        self
    }

    /// Uses the options of another decider from now on, and keeps the state of
    /// faces.
    pub fn take_options_of(&mut self, other: &Self) {
        self.baselines.set_options(*other.baselines.options());
        // The other decider has no baseline if it could not be written to a
        // file. Then the present one stays until the process ends.
        if let Some(stored) = other.baselines.stored() {
            self.baselines.set_stored(Some(stored));
        }
        self.expression.set_options(*other.expression.options());
        self.attention.set_options(other.attention.options());
    }

    /// Begins a frame taken at `now` with the faces that count in it. Others
    /// are forgotten: a face that comes back starts again. A timestamp before
    /// the last one counts as the same instant.
    pub fn begin_frame<I>(&mut self, now: Timestamp, faces: I)
    where
        I: IntoIterator<Item = FaceKey, IntoIter: Clone>,
    {
        let faces = faces.into_iter();
        self.baselines.begin_frame(now, faces.clone());
        self.expression.begin_frame(now, faces.clone());
        self.attention.begin_frame(now, faces);
    }

    /// Decides on a face of the frame. Deciding again in the same instant
    /// changes nothing.
    pub fn decide(&mut self, face: FaceKey, observed: &Observations) -> FaceDecision {
        let answer = observed.expression.map(|answer| {
            let seen = observed.face.as_ref();
            let corrected = self.baselines.correct(face, &answer, seen);
            corrected.unwrap_or(answer)
        });
        FaceDecision {
            expression: self.expression.decide(face, answer),
            baseline: self.baselines.confidence(face),
            facing: self
                .attention
                .decide(face, observed.face.map(|seen| (seen.yaw, seen.pitch))),
        }
    }

    /// Forgets every face, for example after the camera was lost.
    pub fn clear(&mut self) {
        self.baselines.clear();
        self.expression.clear();
        self.attention.clear();
    }
}
