//! Accuracy person by person, in folds of subjects, for data sets whose file
//! names say who the person is.
//!
//! Pictures of one person resemble each other, so the interval in
//! [`Report`](super::Report) is too narrow if a few people were photographed
//! often. The standard deviation between folds of people does not have this
//! fault.

use std::collections::BTreeMap;
use std::fmt;

use serde::Serialize;

use super::ratio;

/// How a data set's file names name the subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Naming {
    /// CK+ (Lucey et al. 2010): `S010_004_00000017.png`, subject `S010`
    Ckplus,
    /// JAFFE (Lyons et al. 1998): `KA.AN1.39.png`, subject `KA`
    Jaffe,
    /// KDEF (Lundqvist et al. 1998): `AF01ANS.JPG`, subject `F01` in both
    /// sessions
    Kdef,
}

impl Naming {
    /// The name used on the command line and in figures.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ckplus => "ckplus",
            Self::Jaffe => "jaffe",
            Self::Kdef => "kdef",
        }
    }

    /// A file name of this kind, for messages.
    #[must_use]
    pub const fn example(self) -> &'static str {
        match self {
            Self::Ckplus => "S010_004_00000017.png",
            Self::Jaffe => "KA.AN1.39.png",
            Self::Kdef => "AF01ANS.JPG",
        }
    }

    /// The subject in a file's name (without folders); `None` for a file name
    /// of another form.
    ///
    /// ```
    /// use affectd::accuracy::subjects::Naming;
    ///
    /// assert_eq!(Naming::Kdef.subject("BM24HAS.JPG"), Some("M24"));
    /// assert_eq!(Naming::Jaffe.subject("IMG_0001.png"), None);
    /// ```
    #[must_use]
    pub fn subject(self, file: &str) -> Option<&str> {
        let letter = |byte: u8| byte.is_ascii_alphabetic();
        let digit = |byte: u8| byte.is_ascii_digit();
        let bytes = file.as_bytes();
        match (self, bytes) {
            (Self::Ckplus, [b'S' | b's', a, b, c, b'_', ..])
                if [*a, *b, *c].into_iter().all(digit) =>
            {
                Some(&file[..4])
            }
            (Self::Jaffe, [a, b, b'.', c, d, e, b'.', ..])
                if [*a, *b, *c, *d].into_iter().all(letter) && digit(*e) =>
            {
                Some(&file[..2])
            }
            (
                Self::Kdef,
                [
                    b'A' | b'B' | b'a' | b'b',
                    b'F' | b'M' | b'f' | b'm',
                    a,
                    b,
                    c,
                    d,
                    _,
                    ..,
                ],
            ) if digit(*a) && digit(*b) && letter(*c) && letter(*d) => Some(&file[1..4]),
            _ => None,
        }
    }
}

/// Counts answers subject by subject.
#[derive(Clone, Debug, Default)]
pub struct BySubject {
    subjects: BTreeMap<String, Count>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Count {
    images: u64,
    right: u64,
}

impl BySubject {
    /// Adds an answer about a picture of `subject`; upper and lower case count
    /// as the same.
    pub fn add(&mut self, subject: &str, right: bool) {
        let count = self
            .subjects
            .entry(subject.to_ascii_uppercase())
            .or_default();
        count.images += 1;
        count.right += u64::from(right);
    }

    /// The figures of `folds` folds, or fewer if there are fewer subjects.
    /// Subjects are assigned to the folds one after the other, in the order of
    /// their names.
    #[must_use]
    pub fn report(&self, folds: usize) -> Spread {
        let mut parts = vec![Fold::default(); folds.clamp(1, self.subjects.len().max(1))];
        let count = parts.len();
        let mut right = vec![0; count];
        for (i, (subject, answers)) in self.subjects.iter().enumerate() {
            parts[i % count].subjects.push(subject.clone());
            parts[i % count].images += answers.images;
            right[i % count] += answers.right;
        }
        for (part, right) in parts.iter_mut().zip(right) {
            part.accuracy = ratio(right as f64, part.images as f64);
        }
        let mean = parts.iter().map(|fold| fold.accuracy).sum::<f64>() / count as f64;
        let squares: f64 = parts
            .iter()
            .map(|fold| (fold.accuracy - mean).powi(2))
            .sum();
        Spread {
            subjects: self.subjects.len(),
            mean,
            standard_deviation: ratio(squares, count as f64 - 1.0).sqrt(),
            folds: parts,
        }
    }
}

/// How accuracy differs between people.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Spread {
    /// The number of people.
    pub subjects: usize,
    /// The mean of the folds' accuracies, from 0 to 1.
    pub mean: f64,
    /// Between folds, of a sample (n - 1); 0 for a single one.
    pub standard_deviation: f64,
    pub folds: Vec<Fold>,
}

/// Some of the people.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct Fold {
    pub subjects: Vec<String>,
    pub images: u64,
    /// Right answers among the pictures of these people, from 0 to 1.
    pub accuracy: f64,
}

impl fmt::Display for Spread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let least = self
            .folds
            .iter()
            .map(|fold| fold.accuracy)
            .fold(1.0, f64::min);
        let most = self
            .folds
            .iter()
            .map(|fold| fold.accuracy)
            .fold(0.0, f64::max);
        write!(
            f,
            "subjects  {} in {} folds: accuracy {:.2}% on average, {:.2}% to {:.2}%, standard deviation {:.2} points",
            self.subjects,
            self.folds.len(),
            100.0 * self.mean,
            100.0 * least,
            100.0 * most,
            100.0 * self.standard_deviation
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn subjects_are_read_from_each_kind_of_name() {
        for (naming, file, subject) in [
            (Naming::Ckplus, "S010_004_00000017.png", Some("S010")),
            (Naming::Ckplus, "s999_1.png", Some("s999")),
            (Naming::Ckplus, "S01_004_00000017.png", None),
            (Naming::Jaffe, "KA.AN1.39.tiff", Some("KA")),
            (Naming::Jaffe, "KA.AN.39.tiff", None),
            (Naming::Kdef, "AF01ANS.JPG", Some("F01")),
            (Naming::Kdef, "bm35suhl.jpg", Some("m35")),
            (Naming::Kdef, "CF01ANS.JPG", None),
            (Naming::Kdef, "AF01", None),
            (Naming::Jaffe, "", None),
        ] {
            assert_eq!(naming.subject(file), subject, "{naming:?} {file}");
        }
        for naming in [Naming::Ckplus, Naming::Jaffe, Naming::Kdef] {
            assert!(naming.subject(naming.example()).is_some());
        }
    }

    #[test]
    fn a_person_is_in_one_fold_and_the_spread_is_between_folds() {
        let mut people = BySubject::default();
        for (subject, right) in [
            ("F01", true),
            ("F01", true),
            ("f01", false),
            ("F01", true),
            ("F02", false),
            ("F02", true),
            ("M01", true),
        ] {
            people.add(subject, right);
        }
        let spread = people.report(2);
        let fold = |subjects: &[&str], images, accuracy| Fold {
            subjects: subjects.iter().map(ToString::to_string).collect(),
            images,
            accuracy,
        };
        assert_eq!(
            spread.folds,
            [fold(&["F01", "M01"], 5, 0.8), fold(&["F02"], 2, 0.5)]
        );
        assert_eq!(spread.subjects, 3);
        assert!((spread.mean - 0.65).abs() < 1e-12);
        assert!((spread.standard_deviation - (2.0 * 0.15_f64.powi(2)).sqrt()).abs() < 1e-12);
        assert!(
            spread
                .to_string()
                .contains("3 in 2 folds: accuracy 65.00% on average, 50.00% to 80.00%")
        );
        assert_eq!(people.report(10).folds.len(), 3);
        assert_eq!(people.report(1).standard_deviation, 0.0);
    }

    proptest! {
        #[test]
        fn no_name_makes_it_panic(file in "\\PC{0,12}") {
            for naming in [Naming::Ckplus, Naming::Jaffe, Naming::Kdef] {
                let _ = naming.subject(&file);
            }
        }
    }
}
