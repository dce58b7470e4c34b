//! How often the classifier is right, on pictures whose expression is known.
//!
//! [`data`] delivers the pictures, this file counts, and [`subjects`] counts
//! person by person. The definitions are the usual ones. Each field states its
//! own, because published figures often use different definitions.

pub mod data;
pub mod subjects;

use std::fmt;

use serde::Serialize;
use serde::ser::Serializer;

use crate::observe::expression::{Expression, Probabilities};

/// The number of bins of the expected calibration error.
pub const CALIBRATION_BINS: usize = 15;

/// The two-sided 95% quantile of the normal distribution.
const Z_95: f64 = 1.959_963_984_540_054;

const CLASSES: usize = Expression::COUNT;

/// Counts answers picture by picture.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// `[true class][predicted class]`.
    confusion: [[u64; CLASSES]; CLASSES],
    /// By true class: pictures in which the detector found no face.
    not_found: [u64; CLASSES],
    bins: [Bin; CALIBRATION_BINS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Bin {
    count: u64,
    right: u64,
    confidence: f64,
}

impl Tally {
    /// Adds an answer; the most probable class is the predicted one.
    pub fn add(&mut self, truth: Expression, answer: &Probabilities) {
        let (predicted, confidence) = answer.top();
        self.confusion[truth.index()][predicted.index()] += 1;
        let confidence = f64::from(confidence);
        // Bins are open below and closed above, as in Guo et al. 2017.
        let bin = (confidence * CALIBRATION_BINS as f64).ceil() as usize;
        let bin = &mut self.bins[bin.clamp(1, CALIBRATION_BINS) - 1];
        bin.count += 1;
        bin.right += u64::from(predicted == truth);
        bin.confidence += confidence;
    }

    /// Adds a picture in which no face was found: a wrong answer.
    pub fn add_not_found(&mut self, truth: Expression) {
        self.not_found[truth.index()] += 1;
    }

    /// The figures for the pictures counted so far.
    #[must_use]
    pub fn report(&self) -> Report {
        let not_found: u64 = self.not_found.iter().sum();
        let answered: u64 = self.confusion.iter().flatten().sum();
        let images = answered + not_found;
        let right: u64 = (0..CLASSES).map(|i| self.confusion[i][i]).sum();

        let classes: Vec<_> = Expression::ALL
            .into_iter()
            .map(|expression| self.class(expression))
            .collect();
        let supported = || classes.iter().filter(|class| class.support > 0);
        let ece = self
            .bins
            .iter()
            .map(|bin| (bin.right as f64 - bin.confidence).abs())
            .sum::<f64>();
        Report {
            images,
            accuracy: ratio(right as f64, images as f64),
            accuracy_ci95: wilson(right, images),
            not_found,
            accuracy_found: ratio(right as f64, answered as f64),
            macro_f1: ratio(
                supported().map(|class| class.f1).sum(),
                supported().count() as f64,
            ),
            ece: ratio(ece, answered as f64),
            classes,
            confusion: self.confusion,
            not_found_by_class: self.not_found,
        }
    }

    fn class(&self, expression: Expression) -> Class {
        let i = expression.index();
        let hits = self.confusion[i][i] as f64;
        let predicted: u64 = self.confusion.iter().map(|row| row[i]).sum();
        let support = self.confusion[i].iter().sum::<u64>() + self.not_found[i];
        let precision = ratio(hits, predicted as f64);
        let recall = ratio(hits, support as f64);
        Class {
            name: expression,
            precision,
            recall,
            f1: ratio(2.0 * precision * recall, precision + recall),
            support,
        }
    }
}

/// 0 if `whole` is 0.
fn ratio(part: f64, whole: f64) -> f64 {
    if whole == 0.0 { 0.0 } else { part / whole }
}

/// Wilson's score interval for a proportion (Wilson 1927): unlike the normal
/// approximation it is right for small numbers and near 0 and 1. `[0, 1]`
/// without any answers.
#[must_use]
pub fn wilson(right: u64, of: u64) -> [f64; 2] {
    if of == 0 {
        return [0.0, 1.0];
    }
    let n = of as f64;
    let p = right as f64 / n;
    let z2 = Z_95 * Z_95;
    let centre = (p + z2 / (2.0 * n)) / (1.0 + z2 / n);
    let half = Z_95 / (1.0 + z2 / n) * (p * (1.0 - p) / n + z2 / (4.0 * n * n)).sqrt();
    // Exact at the ends, where rounding would leave a last bit.
    let low = if right == 0 { 0.0 } else { centre - half };
    let high = if right == of { 1.0 } else { centre + half };
    [low, high]
}

/// The figures of an evaluation, each proportion from 0 to 1.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// The number of pictures, including those in which no face was found.
    pub images: u64,
    /// Right answers among all pictures; one without a face found is wrong,
    /// because the daemon would not have named its expression either.
    pub accuracy: f64,
    /// Wilson's 95% interval of `accuracy`.
    pub accuracy_ci95: [f64; 2],
    /// Pictures in which the detector found no face; 0 without detector.
    pub not_found: u64,
    /// Right answers among the pictures with a face found.
    pub accuracy_found: f64,
    /// The mean F1 of the classes that have pictures.
    pub macro_f1: f64,
    /// The expected calibration error: over 15 equally wide bins of the top
    /// class's probability, the mean distance between that probability and the
    /// accuracy, weighted by the bin's number of answers.
    pub ece: f64,
    /// In FER2013's order.
    pub classes: Vec<Class>,
    /// `[true class][predicted class]`, pictures with a face found.
    pub confusion: [[u64; CLASSES]; CLASSES],
    /// By true class: pictures in which no face was found.
    pub not_found_by_class: [u64; CLASSES],
}

/// The figures of a class.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Class {
    #[serde(serialize_with = "by_name")]
    pub name: Expression,
    /// Right among the pictures that were given this class; 0 if none was.
    pub precision: f64,
    /// Right among the pictures of this class; 0 if there are none.
    pub recall: f64,
    /// The harmonic mean of the two.
    pub f1: f64,
    /// The pictures of this class.
    pub support: u64,
}

fn by_name<S: Serializer>(expression: &Expression, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(expression.name())
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [low, high] = self.accuracy_ci95.map(|p| 100.0 * p);
        writeln!(
            f,
            "accuracy  {:.2}%  (95% interval {low:.2}% to {high:.2}%)",
            100.0 * self.accuracy
        )?;
        if self.not_found > 0 {
            writeln!(
                f,
                "no face   found in {} of {} images, counted as wrong; accuracy of the others {:.2}%",
                self.not_found,
                self.images,
                100.0 * self.accuracy_found
            )?;
        }
        writeln!(f, "macro F1  {:.4}", self.macro_f1)?;
        writeln!(f, "ECE       {:.4}  ({CALIBRATION_BINS} bins)", self.ece)?;
        writeln!(
            f,
            "\n{:<10}{:>10}{:>10}{:>10}{:>10}",
            "", "precision", "recall", "F1", "images"
        )?;
        for class in &self.classes {
            writeln!(
                f,
                "{:<10}{:>10.4}{:>10.4}{:>10.4}{:>10}",
                class.name, class.precision, class.recall, class.f1, class.support
            )?;
        }
        write!(f, "\n{:<10}", "true\\said")?;
        for expression in Expression::ALL {
            write!(f, "{expression:>10}")?;
        }
        if self.not_found > 0 {
            write!(f, "{:>10}", "no face")?;
        }
        for (i, expression) in Expression::ALL.into_iter().enumerate() {
            write!(f, "\n{expression:<10}")?;
            for count in self.confusion[i] {
                write!(f, "{count:>10}")?;
            }
            if self.not_found > 0 {
                write!(f, "{:>10}", self.not_found_by_class[i])?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sure(expression: Expression, p: f32) -> Probabilities {
        let mut probabilities = [(1.0 - p) / 6.0; 7];
        probabilities[expression.index()] = p;
        Probabilities(probabilities)
    }

    #[test]
    fn figures_of_a_small_example_by_hand() {
        use Expression::{Angry, Happy, Sad};
        let mut tally = Tally::default();
        for _ in 0..3 {
            tally.add(Happy, &sure(Happy, 0.9));
        }
        tally.add(Happy, &sure(Sad, 0.6));
        tally.add(Sad, &sure(Sad, 0.6));
        tally.add(Sad, &sure(Angry, 0.5));
        let report = tally.report();
        assert_eq!((report.images, report.not_found), (6, 0));
        assert!((report.accuracy - 4.0 / 6.0).abs() < 1e-12);
        let happy = &report.classes[3];
        assert_eq!(
            (happy.precision, happy.recall, happy.support),
            (1.0, 0.75, 4)
        );
        assert!((happy.f1 - 6.0 / 7.0).abs() < 1e-12);
        let sad = &report.classes[4];
        assert_eq!((sad.precision, sad.recall, sad.f1), (0.5, 0.5, 0.5));
        // Angry was predicted but has no picture: the mean does not contain it.
        assert_eq!(
            (report.classes[0].precision, report.classes[0].support),
            (0.0, 0)
        );
        assert!((report.macro_f1 - (6.0 / 7.0 + 0.5) / 2.0).abs() < 1e-12);
        assert_eq!(report.confusion[3][4], 1);
        // |3 - 2.7| + |1 - 1.2| + |0 - 0.5| over 6.
        assert!((report.ece - 1.0 / 6.0).abs() < 1e-6, "{}", report.ece);
    }

    #[test]
    fn a_face_not_found_is_wrong() {
        let mut tally = Tally::default();
        tally.add(Expression::Fear, &sure(Expression::Fear, 0.8));
        tally.add_not_found(Expression::Fear);
        let report = tally.report();
        assert_eq!((report.images, report.not_found), (2, 1));
        assert_eq!((report.accuracy, report.accuracy_found), (0.5, 1.0));
        assert_eq!(
            (report.classes[2].recall, report.classes[2].precision),
            (0.5, 1.0)
        );
        assert!(report.to_string().contains("found in 1 of 2 images"));
    }

    #[test]
    fn nothing_gives_no_nonsense() {
        let report = Tally::default().report();
        assert_eq!((report.images, report.accuracy, report.ece), (0, 0.0, 0.0));
        assert_eq!(report.accuracy_ci95, [0.0, 1.0]);
    }

    #[test]
    fn wilson_is_as_published() {
        // Newcombe 1998, table I, method 3.
        for (right, of, low, high) in [
            (81, 263, 0.2553, 0.3662),
            (15, 148, 0.0624, 0.1605),
            (0, 20, 0.0, 0.1611),
            (1, 29, 0.0061, 0.1718),
        ] {
            let [a, b] = wilson(right, of);
            assert!((a - low).abs() < 5e-5 && (b - high).abs() < 5e-5, "{a} {b}");
        }
        assert_eq!(wilson(20, 20)[1], 1.0);
    }

    #[test]
    fn calibration_bins_are_closed_above() {
        let mut tally = Tally::default();
        tally.add(Expression::Happy, &sure(Expression::Happy, 1.0));
        assert_eq!(tally.bins[14].count, 1);
        tally.add(Expression::Happy, &Probabilities([0.0; 7]));
        assert_eq!(tally.bins[0].count, 1);
        tally.add(Expression::Happy, &sure(Expression::Happy, 0.41));
        assert_eq!(tally.bins[6].count, 1);
    }

    proptest! {
        #[test]
        fn figures_are_proportions(
            answers in prop::collection::vec((0_usize..7, prop::array::uniform7(0.01_f32..1.0)), 0..80),
            lost in prop::collection::vec(0_usize..7, 0..10),
        ) {
            let mut tally = Tally::default();
            for (truth, p) in &answers {
                let sum: f32 = p.iter().sum();
                tally.add(Expression::ALL[*truth], &Probabilities(p.map(|p| p / sum)));
            }
            for truth in &lost {
                tally.add_not_found(Expression::ALL[*truth]);
            }
            let report = tally.report();
            prop_assert_eq!(report.images as usize, answers.len() + lost.len());
            let support: u64 = report.classes.iter().map(|class| class.support).sum();
            prop_assert_eq!(support, report.images);
            let [low, high] = report.accuracy_ci95;
            prop_assert!(low <= report.accuracy || report.images == 0);
            prop_assert!(report.accuracy <= high);
            for p in [report.accuracy, report.macro_f1, report.ece, report.accuracy_found] {
                prop_assert!((0.0..=1.0).contains(&p), "{p}");
            }
        }
    }
}
