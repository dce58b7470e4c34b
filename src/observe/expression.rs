//! The seven apparent expressions and the probabilities over them.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

/// An apparent expression, in FER2013's order: the discriminant is the class
/// index in models, probabilities, JSON and plots alike.
///
/// It says what a face looks like, by a classifier that was trained on people's
/// judgement of photographs, and never what a person feels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Expression {
    Angry = 0,
    Disgust = 1,
    Fear = 2,
    Happy = 3,
    Sad = 4,
    Surprise = 5,
    Neutral = 6,
}

impl Expression {
    /// The number of classes.
    pub const COUNT: usize = 7;

    /// All classes in FER2013's order.
    pub const ALL: [Self; Self::COUNT] = [
        Self::Angry,
        Self::Disgust,
        Self::Fear,
        Self::Happy,
        Self::Sad,
        Self::Surprise,
        Self::Neutral,
    ];

    /// The class index, 0 to 6.
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// The class with an index, or `None` above 6.
    ///
    /// ```
    /// use affectd::observe::expression::Expression;
    /// assert_eq!(Expression::from_index(3), Some(Expression::Happy));
    /// assert_eq!(Expression::from_index(7), None);
    /// ```
    #[must_use]
    pub fn from_index(index: usize) -> Option<Self> {
        Self::ALL.get(index).copied()
    }

    /// The lower-case name used in models, board files, JSON and plots.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Angry => "angry",
            Self::Disgust => "disgust",
            Self::Fear => "fear",
            Self::Happy => "happy",
            Self::Sad => "sad",
            Self::Surprise => "surprise",
            Self::Neutral => "neutral",
        }
    }
}

impl fmt::Display for Expression {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// The name is not one of the seven classes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{0}' is not an expression; the seven are angry, disgust, fear, happy, sad, surprise, neutral"
)]
pub struct UnknownExpression(pub String);

impl FromStr for Expression {
    type Err = UnknownExpression;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|expression| expression.name() == name)
            .ok_or_else(|| UnknownExpression(name.to_owned()))
    }
}

/// One probability per class, in FER2013's order, each from 0 to 1; their sum
/// is 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Probabilities(pub [f32; Expression::COUNT]);

/// An object with each expression's name and probability, in this order.
impl Serialize for Probabilities {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let of = |expression: Expression| (expression.name(), self.of(expression));
        serializer.collect_map(Expression::ALL.into_iter().map(of))
    }
}

impl Probabilities {
    /// The same probability for each class: the state before the first look.
    pub const UNIFORM: Self = Self([1.0 / Expression::COUNT as f32; Expression::COUNT]);

    /// Softmax over a network's logits.
    ///
    /// ```
    /// use affectd::observe::expression::{Expression, Probabilities};
    /// let p = Probabilities::from_logits([0.0, 0.0, 0.0, 9.0, 0.0, 0.0, 0.0]);
    /// assert_eq!(p.top().0, Expression::Happy);
    /// assert!((p.0.iter().sum::<f32>() - 1.0).abs() < 1e-6);
    /// ```
    #[must_use]
    pub fn from_logits(logits: [f32; Expression::COUNT]) -> Self {
        let largest = logits.into_iter().fold(f32::NEG_INFINITY, f32::max);
        let exponentials = logits.map(|logit| (logit - largest).exp());
        let sum: f32 = exponentials.iter().sum();
        Self(exponentials.map(|e| e / sum))
    }

    /// The probability of one class.
    #[must_use]
    pub fn of(&self, expression: Expression) -> f32 {
        self.0[expression.index()]
    }

    /// Valence and arousal, each -1 to 1: the expectation of the classes'
    /// coordinates in Russell and Mehrabian 1977, "Evidence for a three-factor
    /// theory of emotions" (table 2: angry, disgusted, fearful, happy, sad,
    /// surprised; neutral is the origin). They contain no more information than
    /// the probabilities.
    #[must_use]
    pub fn affect(&self) -> (f32, f32) {
        const COORDINATES: [(f32, f32); Expression::COUNT] = [
            (-0.51, 0.59),
            (-0.60, 0.35),
            (-0.64, 0.60),
            (0.81, 0.51),
            (-0.63, -0.27),
            (0.40, 0.67),
            (0.0, 0.0),
        ];
        self.0
            .iter()
            .zip(COORDINATES)
            .fold((0.0, 0.0), |(valence, arousal), (p, at)| {
                (valence + p * at.0, arousal + p * at.1)
            })
    }

    /// The most probable class with its probability; the lower index wins a tie.
    #[must_use]
    pub fn top(&self) -> (Expression, f32) {
        let mut best = Expression::Angry;
        for expression in Expression::ALL {
            if self.of(expression) > self.of(best) {
                best = expression;
            }
        }
        (best, self.of(best))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_is_fer2013s() {
        let names: Vec<_> = Expression::ALL.iter().map(|e| e.name()).collect();
        assert_eq!(
            names,
            [
                "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"
            ]
        );
        for (index, expression) in Expression::ALL.into_iter().enumerate() {
            assert_eq!(expression.index(), index);
            assert_eq!(expression.name().parse(), Ok(expression));
        }
    }

    #[test]
    fn json_names_the_expressions_in_order() {
        let json = serde_json::to_string(&Probabilities([0.0, 0.5, 0.0, 0.25, 0.0, 0.0, 0.25]));
        assert_eq!(
            json.unwrap(),
            r#"{"angry":0.0,"disgust":0.5,"fear":0.0,"happy":0.25,"sad":0.0,"surprise":0.0,"neutral":0.25}"#
        );
    }

    #[test]
    fn softmax_survives_large_logits() {
        let p = Probabilities::from_logits([1000.0, 0.0, -1000.0, 0.0, 0.0, 0.0, 0.0]);
        assert_eq!(p.top(), (Expression::Angry, 1.0));
    }

    #[test]
    fn the_error_for_an_unknown_name_lists_the_seven() {
        let error = "furious".parse::<Expression>().unwrap_err().to_string();
        assert!(error.contains("furious") && error.contains("surprise"));
    }
}
