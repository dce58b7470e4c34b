//! What a board file says, as the options of each part.

use std::path::PathBuf;
use std::time::Duration;

use super::claims::Claim;
use super::reader::Problem;
use crate::assets::{self, ModelChoice};
use crate::host::{realtime, state, thermal, watchdog};
use crate::output::{display, events, gpio, record};
use crate::{capture, control, decide, detect, metrics, preview, track};

/// A valid board file.
#[derive(Clone, Debug)]
pub struct Board {
    /// The machine's id, for programs; `None` for
    /// [`identity::machine`](crate::host::identity::machine).
    pub id: Option<String>,
    /// A name for logs and the display's first picture.
    pub name: String,
    pub capture: capture::Options,
    pub detect: DetectOptions,
    pub track: track::Options,
    pub face: FaceOptions,
    pub classify: ClassifyOptions,
    pub decide: decide::Options,
    pub baseline: decide::BaselineOptions,
    pub facing: Option<decide::FacingOptions>,
    /// The camera's horizontal angle of view in degrees.
    pub horizontal_fov: Option<f64>,
    /// Whose eyes are watched, if `[fatigue]` is on.
    pub fatigue: Option<FatigueOptions>,
    pub gpio: Option<gpio::Options>,
    pub displays: Vec<display::Options>,
    pub events: Option<events::Options>,
    pub thermal: Option<thermal::Options>,
    pub watchdog: Option<watchdog::Options>,
    pub process: realtime::Options,
    pub state: state::Options,
    pub control: Option<control::Options>,
    pub metrics: Option<metrics::FileOptions>,
    pub http: Option<metrics::HttpOptions>,
    pub preview: Option<preview::Options>,
    /// Things that only one part of the board can use.
    pub claims: Vec<Claim>,
    /// Keys that should be changed in the file, by line.
    pub warnings: Vec<Problem>,
}

/// The board file's `[detect]`.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectOptions {
    /// The cascade's XML file.
    pub cascade: PathBuf,
    pub detector: detect::Options,
    pub search: detect::SearchOptions,
}

/// The board file's `[face]` without its thresholds, which are
/// [`track::Options::presence`] and [`track::Options::presence_keep`].
#[derive(Clone, Debug, Default)]
pub struct FaceOptions {
    /// The face net; its manifest lies beside it.
    pub model: ModelChoice,
    /// The eye net.
    pub eyes: ModelChoice,
}

impl FaceOptions {
    /// The face net's file and the eye net's; `None` without a face net.
    #[must_use]
    pub fn files(&self) -> Option<(PathBuf, Option<PathBuf>)> {
        let face = self.model.file(assets::DEFAULT_FACE)?;
        Some((face, self.eyes.file(assets::DEFAULT_EYES)))
    }
}

/// The board file's `[fatigue]`.
#[derive(Clone, Debug, PartialEq)]
pub struct FatigueOptions {
    pub rules: decide::fatigue::Options,
    pub record: Option<record::Options>,
}

/// The board file's `[classify]`.
#[derive(Clone, Debug)]
pub struct ClassifyOptions {
    /// The model's ONNX file; its manifest lies beside it.
    pub model: PathBuf,
    /// The shortest time between two runs of the network on the same face;
    /// zero: every frame.
    pub interval: Duration,
}
