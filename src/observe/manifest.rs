//! The model manifest: what an ONNX file does not say about its network.
//!
//! An ONNX file contains shapes, but not how a face must be cut out and
//! normalised, the order of the classes, or the licence. `NAME.toml` beside
//! `NAME.onnx` contains these. A wrong value does not crash but gives confident
//! nonsense, so everything that can be checked is checked when the model is
//! loaded, and keys have no silent defaults.

use std::path::Path;

use serde::Deserialize;

use super::expression::Expression;
use super::model_file::ModelError;
use crate::nn::{InputShape, Layout};

/// The largest input side. Networks for faces use 32 to 224 pixels.
const MAX_INPUT: u32 = 1024;

/// A model's manifest, `models/NAME.toml`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The model's name, as shown in events and logs.
    pub name: String,
    /// SHA-256 of the ONNX file, 64 hexadecimal digits.
    pub sha256: String,
    /// Licence of the weights, as an SPDX expression where there is one.
    pub licence: String,
    /// Who made it, from what, and where it comes from.
    pub origin: String,
    /// Data sets that the weights were trained on.
    pub training_data: Vec<String>,
    /// Class names in the order of the network's numbers: each of the seven of
    /// [`Expression`] once, by its name or a usual other one (`anger`,
    /// `happiness`, …). `"-"` leaves a number out; any other name is a class
    /// beyond the seven, which keeps its probability.
    pub classes: Vec<String>,
    /// What the network's numbers are.
    pub output: OutputKind,
    /// The output to read, if several have one number per class.
    pub output_name: Option<String>,
    /// The network's input.
    pub input: Input,
    /// How the face is cut out.
    pub crop: CropRule,
    /// Figures measured for this model, free-form.
    #[serde(default)]
    pub measured: toml::Table,
}

/// The meaning of a number of the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Class {
    Expression(Expression),
    /// A class beyond the seven: it takes part in softmax.
    Other,
    /// Left out before softmax (`"-"`).
    Ignored,
}

/// Names that other projects give to the seven expressions.
const ALIASES: [(&str, Expression); 18] = [
    ("anger", Expression::Angry),
    ("disgusted", Expression::Disgust),
    ("disgusting", Expression::Disgust),
    ("afraid", Expression::Fear),
    ("fearful", Expression::Fear),
    ("feared", Expression::Fear),
    ("scared", Expression::Fear),
    ("happiness", Expression::Happy),
    ("joy", Expression::Happy),
    ("smile", Expression::Happy),
    ("sadness", Expression::Sad),
    ("sorrow", Expression::Sad),
    ("surprised", Expression::Surprise),
    ("surprising", Expression::Surprise),
    ("amazed", Expression::Surprise),
    ("neutrality", Expression::Neutral),
    ("natural", Expression::Neutral),
    ("calm", Expression::Neutral),
];

/// What the numbers of the network's output are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OutputKind {
    /// Before softmax.
    Logits,
    /// After softmax: each from 0 to 1; their sum is 1.
    Probabilities,
}

/// The network's input: one image, luma normalised as
/// `(luma / 255 - mean) / std`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Width in pixels, 1 to 1024.
    pub width: u32,
    /// Height in pixels, 1 to 1024.
    pub height: u32,
    /// 1 for luma, 3 for luma repeated three times.
    pub channels: usize,
    /// Order of the dimensions.
    pub layout: Layout,
    /// One number per channel.
    pub mean: Vec<f32>,
    /// One number per channel, above 0.
    pub std: Vec<f32>,
}

impl Input {
    /// The input's shape in the order of its layout.
    #[must_use]
    pub fn shape(&self) -> InputShape {
        let (h, w) = (self.height as usize, self.width as usize);
        InputShape {
            shape: match self.layout {
                Layout::Nchw => [1, self.channels, h, w],
                Layout::Nhwc => [1, h, w, self.channels],
            },
            layout: self.layout,
        }
    }

    pub(super) fn check(&self, path: &Path) -> Result<(), ModelError> {
        let bad = |key: &'static str, reason: String| ModelError::Value {
            path: path.to_owned(),
            key,
            reason,
        };
        for (key, side) in [("input.width", self.width), ("input.height", self.height)] {
            if !(1..=MAX_INPUT).contains(&side) {
                return Err(bad(
                    key,
                    format!("{side} is not from 1 to {MAX_INPUT} pixels"),
                ));
            }
        }
        if ![1, 3].contains(&self.channels) {
            return Err(bad(
                "input.channels",
                format!(
                    "{} channels cannot be made from luma; use 1 (luma) or 3 (luma repeated)",
                    self.channels
                ),
            ));
        }
        for (key, values) in [("input.mean", &self.mean), ("input.std", &self.std)] {
            if values.len() != self.channels {
                return Err(bad(
                    key,
                    format!(
                        "{} values for {} channels; give one per channel",
                        values.len(),
                        self.channels
                    ),
                ));
            }
        }
        if let Some(mean) = self.mean.iter().find(|mean| !mean.is_finite()) {
            return Err(bad("input.mean", format!("{mean} is not a finite number")));
        }
        if let Some(std) = self
            .std
            .iter()
            .find(|std| !(std.is_normal() && **std > 0.0))
        {
            return Err(bad(
                "input.std",
                format!("{std} cannot be divided by; give a number above 0"),
            ));
        }
        Ok(())
    }
}

pub(super) fn check_sha256(sha256: &str, path: &Path) -> Result<(), ModelError> {
    if sha256.len() == 64 && sha256.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Ok(());
    }
    Err(ModelError::Value {
        path: path.to_owned(),
        key: "sha256",
        reason: format!(
            "'{sha256}' is not a SHA-256 of 64 hexadecimal digits; print it with: sha256sum {}",
            path.with_extension("onnx").display()
        ),
    })
}

/// From a detector's box to the square that is resized to the input: its side
/// is `scale` times the longer side of the box, its centre the box's centre
/// moved by `shift_x` box widths and `shift_y` box heights.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CropRule {
    /// Side of the square divided by the longer side of the box, 0.1 to 10.
    pub scale: f64,
    /// To the right, in box widths, -2 to 2.
    pub shift_x: f64,
    /// Downwards, in box heights, -2 to 2.
    pub shift_y: f64,
    /// The resampling filter.
    pub filter: Filter,
}

/// A resampling filter, named after the library whose pixels it reproduces.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Filter {
    /// `Image.resize(size, Image.BILINEAR)` of Pillow on an 8-bit gray image.
    PillowBilinear,
}

impl Manifest {
    /// Reads and checks a manifest.
    ///
    /// # Errors
    /// The file cannot be read or is not TOML, a key is unknown or missing, or
    /// a value is invalid.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let manifest: Self = read(path)?;
        manifest.check(path)?;
        Ok(manifest)
    }

    /// Parses and checks a manifest; `path` is for messages.
    ///
    /// # Errors
    /// As [`Manifest::read`].
    pub fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let manifest: Self = parse(text, path)?;
        manifest.check(path)?;
        Ok(manifest)
    }

    fn check(&self, path: &Path) -> Result<(), ModelError> {
        let bad = |key: &'static str, reason: String| ModelError::Value {
            path: path.to_owned(),
            key,
            reason,
        };
        check_sha256(&self.sha256, path)?;
        self.class_order(path)?;
        self.input.check(path)?;
        let crop = &self.crop;
        if !(0.1..=10.0).contains(&crop.scale) {
            return Err(bad(
                "crop.scale",
                format!("{} is not from 0.1 to 10", crop.scale),
            ));
        }
        for (key, shift) in [
            ("crop.shift_x", crop.shift_x),
            ("crop.shift_y", crop.shift_y),
        ] {
            if !(-2.0..=2.0).contains(&shift) {
                return Err(bad(key, format!("{shift} is not from -2 to 2 box sides")));
            }
        }
        Ok(())
    }

    /// The class of each number of the network.
    pub(super) fn class_order(&self, path: &Path) -> Result<Vec<Class>, ModelError> {
        let bad = |reason: String| ModelError::Value {
            path: path.to_owned(),
            key: "classes",
            reason,
        };
        let mut order = Vec::with_capacity(self.classes.len());
        for name in &self.classes {
            let plain = name.trim().to_lowercase();
            let alias = ALIASES.iter().find(|(alias, _)| *alias == plain);
            let class = match plain.parse::<Expression>().ok().or(alias.map(|a| a.1)) {
                Some(expression) => Class::Expression(expression),
                None if plain == "-" => Class::Ignored,
                None => Class::Other,
            };
            if let Class::Expression(expression) = class
                && order.contains(&class)
            {
                return Err(bad(format!("'{expression}' is in the list twice")));
            }
            order.push(class);
        }
        let missing: Vec<_> = Expression::ALL
            .into_iter()
            .filter(|expression| !order.contains(&Class::Expression(*expression)))
            .map(Expression::name)
            .collect();
        if missing.is_empty() {
            return Ok(order);
        }
        let others: Vec<_> = std::iter::zip(&self.classes, &order)
            .filter(|(_, class)| **class == Class::Other)
            .map(|(name, _)| format!("'{name}'"))
            .collect();
        Err(bad(format!(
            "{} of the seven classes {} missing ({}){}; name each of angry, disgust, fear, \
             happy, sad, surprise, neutral once, in the order of the network's numbers, other \
             classes by any name, and numbers to leave out as \"-\"",
            missing.len(),
            if missing.len() == 1 { "is" } else { "are" },
            missing.join(", "),
            if others.is_empty() {
                String::new()
            } else {
                format!("; not known: {}", others.join(", "))
            },
        )))
    }
}

/// Reads and parses a manifest.
pub(super) fn read<T: serde::de::DeserializeOwned>(path: &Path) -> Result<T, ModelError> {
    let text = std::fs::read_to_string(path).map_err(|source| ModelError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(&text, path)
}

fn parse<T: serde::de::DeserializeOwned>(text: &str, path: &Path) -> Result<T, ModelError> {
    toml::from_str(text).map_err(|error| ModelError::Manifest {
        path: path.to_owned(),
        reason: error.to_string().trim_end().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = r#"
name = "tiny"
sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
licence = "MIT"
origin = "a test"
training_data = []
classes = ["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]
output = "logits"
[input]
width = 96
height = 96
channels = 1
layout = "nchw"
mean = [0.5]
std = [0.25]
[crop]
scale = 1.0
shift_x = 0.0
shift_y = 0.0
filter = "pillow-bilinear"
[measured]
anything = { goes = 1 }
"#;

    fn parse(text: &str) -> Result<Manifest, ModelError> {
        Manifest::parse(text, Path::new("models/tiny.toml"))
    }

    #[track_caller]
    fn refused(from: &str, to: &str, words: &[&str]) {
        assert!(GOOD.contains(from), "{from} is not in the example");
        let message = parse(&GOOD.replace(from, to)).unwrap_err().to_string();
        for word in words.iter().chain(&["models/tiny.toml"]) {
            assert!(message.contains(word), "'{word}' is not in: {message}");
        }
    }

    #[test]
    fn the_example_is_read() {
        let manifest = parse(GOOD).unwrap();
        assert_eq!(manifest.input.shape().shape, [1, 1, 96, 96]);
        assert_eq!(manifest.crop.filter, Filter::PillowBilinear);
        assert_eq!(
            manifest.class_order(Path::new("")).unwrap(),
            Expression::ALL.map(Class::Expression)
        );
    }

    #[test]
    fn other_names_and_further_classes_are_read() {
        let classes = |names: &str| {
            let seven =
                "[\"angry\", \"disgust\", \"fear\", \"happy\", \"sad\", \"surprise\", \"neutral\"]";
            parse(&GOOD.replace(seven, names))
                .unwrap()
                .class_order(Path::new(""))
                .unwrap()
        };
        use Class::{Ignored, Other};
        use Expression::{Angry, Disgust, Fear, Happy, Neutral, Sad, Surprise};
        let of = Class::Expression;
        // FER+'s ten columns.
        assert_eq!(
            classes(
                r#"["neutral", "happiness", "surprise", "sadness", "anger", "disgust", "fear", "contempt", "unknown", "-"]"#
            ),
            [
                of(Neutral),
                of(Happy),
                of(Surprise),
                of(Sad),
                of(Angry),
                of(Disgust),
                of(Fear),
                Other,
                Other,
                Ignored
            ]
        );
        // AffectNet's eight, capitalised.
        assert_eq!(
            classes(
                r#"["Neutral", "Happiness", "Sadness", "Surprise", "Fear", "Disgust", "Anger", "Contempt"]"#
            )[6..],
            [of(Angry), Other]
        );
    }

    #[test]
    fn each_wrong_value_is_named() {
        refused(
            "mean = [0.5]",
            "mean = [0.5, 0.5]",
            &["input.mean", "2 values"],
        );
        refused("std = [0.25]", "std = [0.0]", &["input.std", "0"]);
        refused("std = [0.25]", "std = [nan]", &["input.std"]);
        refused("channels = 1", "channels = 2", &["input.channels", "luma"]);
        refused("width = 96", "width = 0", &["input.width"]);
        refused("scale = 1.0", "scale = -1.0", &["crop.scale"]);
        refused("shift_y = 0.0", "shift_y = inf", &["crop.shift_y"]);
        refused("\"e3b0", "\"", &["sha256", "sha256sum models/tiny.onnx"]);
        refused("\"angry\", ", "", &["classes", "1 of the seven", "(angry)"]);
        refused(
            "\"angry\"",
            "\"furious\"",
            &["classes", "'furious'", "(angry)"],
        );
        refused("\"angry\"", "\"neutral\"", &["classes", "twice"]);
    }

    #[test]
    fn unknown_and_missing_keys_are_named_with_their_line() {
        refused("scale = 1.0", "scael = 1.0", &["scael", "scale", "line 17"]);
        refused("layout = \"nchw\"", "", &["layout"]);
        refused("\"nchw\"", "\"chwn\"", &["chwn", "nchw", "nhwc"]);
        refused("\"logits\"", "\"votes\"", &["votes", "probabilities"]);
    }
}
