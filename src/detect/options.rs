//! What to search for, named as OpenCV's `detectMultiScale` names it.

use std::ops::RangeInclusive;
use std::str::FromStr;

use super::DetectError;

/// What to search for.
///
/// ```
/// use affectd::detect::Options;
/// let options = Options {
///     min_size: (80, 80),
///     ..Options::default()
/// };
/// assert_eq!(options.min_neighbors, 3);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Options {
    /// From one scale of the search to the next: 1.01 to 10. Smaller finds
    /// more and takes longer; 1.1 as in OpenCV by default.
    pub scale_factor: f64,
    /// More than so many windows must agree on a face; 3 by default. With 0,
    /// every single window is reported, ungrouped.
    pub min_neighbors: u32,
    /// Smallest face in pixels, width and height; `(0, 0)` stands for the
    /// cascade's window. The time a search takes goes down with its square.
    pub min_size: (u32, u32),
    /// Largest face in pixels; `None` for the whole picture.
    pub max_size: Option<(u32, u32)>,
    /// What is done to the picture first.
    pub enhance: Enhance,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            scale_factor: 1.1,
            min_neighbors: 3,
            min_size: (0, 0),
            max_size: None,
            enhance: Enhance::Off,
        }
    }
}

/// A lift of contrast before the search, for dark and infra-red scenes: a
/// cascade passes over windows with less than about 10 gray levels of standard
/// deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Enhance {
    /// Nothing.
    #[default]
    Off,
    /// Histogram equalisation of the whole picture, `cv2.equalizeHist`.
    Equalize,
    /// Contrast-limited equalisation in 8x8 tiles,
    /// `cv2.createCLAHE(clipLimit=2.0, tileGridSize=(8, 8))`.
    Clahe,
}

/// A name that is no way to lift contrast.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{0}' is no way to lift contrast; there are off, equalize and clahe")]
pub struct UnknownEnhance(pub String);

impl FromStr for Enhance {
    type Err = UnknownEnhance;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "off" => Ok(Self::Off),
            "equalize" => Ok(Self::Equalize),
            "clahe" => Ok(Self::Clahe),
            _ => Err(UnknownEnhance(name.to_owned())),
        }
    }
}

impl Options {
    /// What [`scale_factor`](Self::scale_factor) may be.
    pub const SCALE_FACTOR: RangeInclusive<f64> = 1.01..=10.0;

    /// What [`min_neighbors`](Self::min_neighbors) may be.
    pub const MIN_NEIGHBORS: RangeInclusive<u32> = 0..=1000;

    pub(super) fn check(&self) -> Result<(), DetectError> {
        if !Self::SCALE_FACTOR.contains(&self.scale_factor) {
            return Err(DetectError::ScaleFactor(self.scale_factor));
        }
        let neighbors = Self::MIN_NEIGHBORS;
        if !neighbors.contains(&self.min_neighbors) {
            return Err(DetectError::Range {
                name: "min_neighbors",
                value: self.min_neighbors.into(),
                from: (*neighbors.start()).into(),
                to: (*neighbors.end()).into(),
            });
        }
        if let Some((width, height)) = self.max_size
            && (width < self.min_size.0 || height < self.min_size.1)
        {
            return Err(DetectError::Sizes {
                min: self.min_size,
                max: (width, height),
            });
        }
        Ok(())
    }
}
