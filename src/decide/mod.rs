//! Decide: from probabilities over time to a stable label.

use crate::expression::{Expression, Probabilities};
use crate::frame::{Rect, Timestamp};

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
    /// Since when the state holds.
    pub since: Timestamp,
}
