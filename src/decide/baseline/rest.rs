//! A resting expression: the classifier's answer for a face at rest, and how it
//! is removed from later answers.

use serde::{Deserialize, Serialize};

use crate::observe::expression::{Expression, Probabilities};

/// The largest change of a log probability, in nats.
const MOST: f32 = 2.0;

/// Below this probability, differences in the logarithm mean nothing.
const FLOOR: f32 = 0.002;

/// The mean log probabilities, not below that of [`FLOOR`], that the shipped
/// classifier gives to the 7,494 tiles of FER2013's Training part that are neutral
/// by FER+ majority (`affectd eval ../shared/data/fer2013 --usage Training
/// --labels ferplus --predictions FILE`).
const AVERAGE: [f32; Expression::COUNT] = [-3.43, -5.0, -3.02, -4.13, -2.68, -4.68, -0.51];

/// The mean log probabilities of a face, class by class.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rest([f32; Expression::COUNT]);

impl Rest {
    /// The log probabilities of one answer; `None` if a value is not a
    /// probability.
    #[must_use]
    pub fn of(answer: &Probabilities) -> Option<Self> {
        let are_probabilities = answer.0.iter().all(|p| (0.0..=1.0).contains(p));
        are_probabilities.then(|| Self(answer.0.map(|p| p.max(FLOOR).ln())))
    }

    /// Moves towards another one, by this part of the difference.
    pub fn follow(&mut self, other: &Self, part: f32) {
        for (mean, log) in self.0.iter_mut().zip(other.0) {
            *mean += part * (log - *mean);
        }
    }

    /// The largest difference between two log probabilities of a class.
    #[must_use]
    pub fn distance(&self, other: &Self) -> f32 {
        let differences = std::iter::zip(self.0, other.0).map(|(a, b)| (a - b).abs());
        differences.fold(0.0, f32::max)
    }

    /// Returns `answer`, whose log probabilities are `logs`, without a part (0
    /// to 1) of the difference between this face at rest and an average neutral
    /// face.
    #[must_use]
    pub fn removed_from(&self, answer: &Probabilities, logs: &Self, part: f32) -> Probabilities {
        let mut corrected = logs.0;
        for ((log, rest), average) in corrected.iter_mut().zip(self.0).zip(AVERAGE) {
            *log -= part * (rest - average).clamp(-MOST, MOST);
        }
        // Classes beyond the seven keep their share.
        let sum: f32 = answer.0.iter().sum();
        Probabilities(Probabilities::from_logits(corrected).0.map(|p| p * sum))
    }

    /// The text in which it is stored. `model` names the classifier.
    #[must_use]
    pub fn to_text(&self, model: &str) -> String {
        let stored = Stored {
            version: VERSION,
            model: model.to_owned(),
            log_probabilities: self.0,
        };
        // Numbers and a string into memory: nothing can fail.
        serde_json::to_string(&stored).unwrap_or_default() + "\n"
    }

    /// Reads a stored text.
    ///
    /// # Errors
    /// The text is damaged, or it was recorded with another classifier than
    /// `model`.
    pub fn from_text(text: &str, model: &str) -> Result<Self, StoredError> {
        let stored: Stored =
            serde_json::from_str(text).map_err(|error| StoredError::Damaged(error.to_string()))?;
        if stored.version != VERSION {
            return Err(StoredError::Damaged(format!(
                "version {} is not known, only {VERSION}",
                stored.version
            )));
        }
        let lowest = FLOOR.ln() - 0.01;
        let logs = stored.log_probabilities;
        if let Some(log) = logs.iter().find(|log| !(lowest..=0.0).contains(*log)) {
            return Err(StoredError::Damaged(format!(
                "{log} is not a log probability from {lowest:.2} to 0"
            )));
        }
        if stored.model != model {
            return Err(StoredError::OtherModel {
                recorded: stored.model,
                present: model.to_owned(),
            });
        }
        Ok(Self(logs))
    }
}

const VERSION: u32 = 1;

/// The file, as JSON.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    version: u32,
    /// The name of the classifier whose answers these are.
    model: String,
    /// In FER2013's order.
    log_probabilities: [f32; Expression::COUNT],
}

/// A stored baseline that cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoredError {
    /// The text is not a baseline, or is incomplete.
    #[error("the stored baseline is damaged: {0}")]
    Damaged(String),
    /// It was recorded with another classifier, which gives other answers for
    /// the same face.
    #[error(
        "the stored baseline was recorded with the model {recorded}, but the model in use is {present}: \
         record it again"
    )]
    OtherModel { recorded: String, present: String },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stored_text_gives_the_same_again() {
        let rest = Rest::of(&Probabilities([0.05, 0.0, 0.04, 0.02, 0.61, 0.02, 0.26])).unwrap();
        let text = rest.to_text("mobilenet");
        assert_eq!(Rest::from_text(&text, "mobilenet"), Ok(rest));
        assert!(matches!(
            Rest::from_text(&text, "another"),
            Err(StoredError::OtherModel { .. })
        ));
    }

    #[test]
    fn damaged_texts_are_refused() {
        let good = Rest([-1.0; 7]).to_text("m");
        assert!(Rest::from_text(&good, "m").is_ok());
        for damaged in [
            String::new(),
            good[..good.len() / 2].to_owned(),
            good.replace("-1.0", "1.0"),
            good.replace("-1.0", "-70.0"),
            good.replace("-1.0", "null"),
            good.replacen("-1.0,", "", 1),
            good.replacen("\"version\":1", "\"version\":2", 1),
            good.replace("model", "madel"),
            "\0\0\0\0".to_owned(),
        ] {
            let refused = Rest::from_text(&damaged, "m");
            assert!(matches!(refused, Err(StoredError::Damaged(_))), "{damaged}");
        }
    }

    #[test]
    fn what_is_no_probability_is_refused() {
        for odd in [f32::NAN, -0.1, 1.5, f32::INFINITY] {
            assert_eq!(Rest::of(&Probabilities([odd; 7])), None);
        }
    }
}
