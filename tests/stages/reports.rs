//! Faces for reports to outputs.

use affectd::decide::{ExpressionDecision, FaceDecision, Label};
use affectd::frame::{Rect, Timestamp};
use affectd::observe::Observations;
use affectd::observe::expression::{Expression, Probabilities};
use affectd::output::FaceReport;
use affectd::track::Slot;

/// A face with a label; its expression (with `uncertain`, each of them) has the
/// confidence as its probability.
pub fn face(id: u32, label: Label, confidence: f32) -> FaceReport {
    let mut probabilities = [(1.0 - confidence) / 6.0; Expression::COUNT];
    if let Label::Expression(expression) = label {
        probabilities[expression.index()] = confidence;
    }
    FaceReport {
        id,
        slot: Slot::new(id as usize % 32).unwrap(),
        rect: Rect::new(10, 10, 50, 50),
        searched: Timestamp::default(),
        observed: Observations::default(),
        distance: None,
        decision: FaceDecision {
            expression: ExpressionDecision {
                label,
                confidence,
                probabilities: Probabilities(probabilities),
                since: Timestamp::default(),
            },
            baseline: None,
            facing: None,
        },
    }
}
