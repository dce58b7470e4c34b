//! The options of a search, with the names of OpenCV's `detectMultiScale`.

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
    /// The factor between two scales of the search: 1.01 to 10. A smaller
    /// factor finds more faces and takes longer; 1.1 by default, as in OpenCV.
    pub scale_factor: f64,
    /// More than this number of windows must agree on a face; 3 by default.
    /// With 0, every single window is reported, ungrouped.
    pub min_neighbors: u32,
    /// Smallest face in pixels, width and height; `(0, 0)` stands for the
    /// cascade's window. The time of a search falls with the square of this
    /// size.
    pub min_size: (u32, u32),
    /// Largest face in pixels; `None` for the whole picture.
    pub max_size: Option<(u32, u32)>,
    /// The enhancement of the picture before the search.
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

/// Contrast enhancement before the search, for dark and infra-red scenes: a
/// cascade rejects windows whose standard deviation is below about 10 gray
/// levels.
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

/// The name is not a kind of contrast enhancement.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown contrast enhancement '{0}'; use off, equalize or clahe")]
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
    /// The range of [`scale_factor`](Self::scale_factor).
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
