//! The face net and the eye net: whether a box holds a face, where it is and how
//! it is turned, and how far its eyes are open.
//!
//! The face net runs on the detector's box, turned upright by the roll of the
//! frame before. The eye net runs on each eye, at the place that the face net
//! found, in the frame's own pixels: a single network for the whole face
//! confuses a smile with half-shut eyes. `models/face.md` describes the outputs
//! and the figures.

use std::path::Path;

use serde::Deserialize;

use super::error::ClassifyError;
use super::face::{FaceObservation, LANDMARKS, Lids, SMALLEST_FOR_EYES};
use super::face_box::FaceBox;
use super::manifest::{self, Filter, Input};
use super::model_file::{ModelError, ModelFile, ModelPaths};
use super::normalise::Normaliser;
use super::observer::{Observations, Observer};
use super::square::{Sampler, Square};
use crate::frame::LumaView;
use crate::nn::{Model, StepProfile, Workspace};

/// Below this presence there is probably no face, and the eye net does not run.
const NO_FACE: f32 = 0.2;

/// Below this, an eye is not in view.
const HIDDEN: f32 = 0.5;

/// Outputs of the face net, with the count of numbers in each.
const FACE_OUTPUTS: [(&str, usize); 7] = [
    ("presence", 1),
    ("eyes_visible", 2),
    ("jaw", 1),
    ("smile", 1),
    ("pose", 3),
    ("box", 3),
    ("landmarks", 2 * LANDMARKS.len()),
];

/// Outputs of the eye net.
const EYE_OUTPUTS: [(&str, usize); 3] = [("openness", 1), ("gaze_down", 1), ("covered", 1)];

/// The manifest of a face net or an eye net.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceManifest {
    /// The model's name, as shown in logs.
    pub name: String,
    /// Which of the two networks it is.
    pub kind: Kind,
    /// SHA-256 of the ONNX file, 64 hexadecimal digits.
    pub sha256: String,
    /// Licence of the weights, as an SPDX expression where there is one.
    pub licence: String,
    /// Who made it, from what, and where it comes from.
    pub origin: String,
    /// Data sets that the weights were trained on.
    pub training_data: Vec<String>,
    /// The network's input.
    pub input: Input,
    /// How the picture is cut out.
    pub crop: FaceCrop,
    /// What each output means, for people.
    #[serde(default)]
    pub outputs: toml::Table,
    /// Figures measured for this model, free-form.
    #[serde(default)]
    pub measured: toml::Table,
}

/// Which network a manifest describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Face,
    Eye,
}

impl Kind {
    const fn name(self) -> &'static str {
        match self {
            Self::Face => "face",
            Self::Eye => "eye",
        }
    }
}

/// From a face to the square that a network sees.
#[derive(Clone, Copy, Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FaceCrop {
    /// The centre of the square: that of the face's box, or the middle between
    /// an eye's corners.
    pub of: Centre,
    /// The square's side divided by that of the face's box, 0.1 to 10.
    pub scale: f64,
    /// Whether left and right are exchanged for a left eye.
    #[serde(default)]
    pub mirror_left: bool,
    /// The resampling filter of the training.
    pub filter: Filter,
}

/// The centre of a crop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Centre {
    Box,
    Eye,
}

/// One of the two networks with its crop and its buffers.
struct Net<const N: usize> {
    manifest: FaceManifest,
    sampler: Sampler,
    normaliser: Normaliser,
    model: Model,
    /// The index of each output among the model's outputs.
    outputs: [usize; N],
}

impl<const N: usize> Net<N> {
    fn load(
        path: &Path,
        kind: Kind,
        outputs: [(&'static str, usize); N],
        workspace: &Workspace,
    ) -> Result<Self, ModelError> {
        let file = ModelFile::read(path)?;
        let manifest: FaceManifest = file.manifest(manifest::read)?;
        check(&manifest, kind, &file.paths)?;
        let (mut model, paths) = file.load(&manifest.sha256, manifest.input.shape(), workspace)?;
        let mut places = [0; N];
        for (place, (name, numbers)) in places.iter_mut().zip(outputs) {
            let found = model
                .outputs()
                .iter()
                .position(|output| output.name == name && output.len() == numbers);
            *place = found.ok_or_else(|| ModelError::FaceOutput {
                path: paths.onnx.clone(),
                kind: kind.name(),
                name,
                numbers,
                found: model.outputs().to_vec(),
            })?;
        }
        let mut normaliser = Normaliser::new(&manifest.input);
        check_finite(&mut model, normaliser.blank(), &paths)?;
        Ok(Self {
            sampler: Sampler::new(manifest.input.width as usize),
            normaliser,
            model,
            outputs: places,
            manifest,
        })
    }

    /// The numbers of each output for a square of a picture.
    fn run(
        &mut self,
        picture: &LumaView<'_>,
        square: &Square,
    ) -> Result<[&[f32]; N], ClassifyError> {
        let input = self.normaliser.input(self.sampler.cut(picture, square));
        let outputs = self.model.run(input).map_err(ClassifyError::Network)?;
        Ok(self
            .outputs
            .map(|place| outputs.get(place).unwrap_or_default()))
    }
}

/// Refuses a manifest that does not fit its network.
fn check(manifest: &FaceManifest, kind: Kind, paths: &ModelPaths) -> Result<(), ModelError> {
    let bad = |key: &'static str, reason: String| ModelError::Value {
        path: paths.manifest.clone(),
        key,
        reason,
    };
    if manifest.kind != kind {
        return Err(bad(
            "kind",
            format!(
                "this manifest describes the {} net, but the {} net is needed here; face.model \
             names the face net and face.eyes the eye net",
                manifest.kind.name(),
                kind.name()
            ),
        ));
    }
    manifest::check_sha256(&manifest.sha256, &paths.manifest)?;
    manifest.input.check(&paths.manifest)?;
    if manifest.input.width != manifest.input.height {
        return Err(bad(
            "input.height",
            format!(
                "{} differs from the width {}, but the input of these networks is a square",
                manifest.input.height, manifest.input.width
            ),
        ));
    }
    let scale = manifest.crop.scale;
    if !(0.1..=10.0).contains(&scale) {
        return Err(bad("crop.scale", format!("{scale} is not from 0.1 to 10")));
    }
    let (centre, name) = match kind {
        Kind::Face => (Centre::Box, "box"),
        Kind::Eye => (Centre::Eye, "eye"),
    };
    if manifest.crop.of != centre {
        return Err(bad(
            "crop.of",
            format!(
                "write \"{name}\": the centre of the {} net's crop",
                kind.name()
            ),
        ));
    }
    Ok(())
}

/// Refuses weights that are not finite, which an f32 file can contain.
fn check_finite(model: &mut Model, input: &[f32], paths: &ModelPaths) -> Result<(), ModelError> {
    let names: Vec<_> = model.outputs().iter().map(|o| o.name.clone()).collect();
    let outputs = model.run(input).map_err(|reason| ModelError::Onnx {
        path: paths.onnx.clone(),
        reason,
    })?;
    for (index, name) in names.into_iter().enumerate() {
        let numbers = outputs.get(index).unwrap_or_default();
        if !numbers.iter().all(|number| number.is_finite()) {
            return Err(ModelError::NotFinite {
                path: paths.onnx.clone(),
                name,
            });
        }
    }
    Ok(())
}

/// A face net or an eye net by itself, to see how it runs.
pub struct FaceNetwork {
    manifest: FaceManifest,
    normaliser: Normaliser,
    model: Model,
}

impl FaceNetwork {
    /// Loads either of the two networks. Returns `None` if the manifest describes
    /// neither the face net nor the eye net.
    ///
    /// # Errors
    /// As [`FaceNetworks::load`].
    pub fn load(path: &Path) -> Option<Result<Self, ModelError>> {
        #[derive(Deserialize)]
        struct AnyManifest {
            kind: Kind,
        }
        let manifest: AnyManifest = manifest::read(&ModelPaths::new(path).manifest).ok()?;
        let workspace = Workspace::default();
        Some(match manifest.kind {
            Kind::Face => Net::load(path, Kind::Face, FACE_OUTPUTS, &workspace).map(Self::of),
            Kind::Eye => Net::load(path, Kind::Eye, EYE_OUTPUTS, &workspace).map(Self::of),
        })
    }

    fn of<const N: usize>(net: Net<N>) -> Self {
        Self {
            manifest: net.manifest,
            normaliser: net.normaliser,
            model: net.model,
        }
    }

    /// The network's manifest.
    #[must_use]
    pub const fn manifest(&self) -> &FaceManifest {
        &self.manifest
    }

    /// The names of its outputs.
    pub fn outputs(&self) -> impl Iterator<Item = &str> {
        self.model
            .outputs()
            .iter()
            .map(|output| output.name.as_str())
    }

    /// The numbers of all outputs, one output after the other, for an input in the
    /// manifest's shape: for comparing the network with other runtimes.
    ///
    /// # Errors
    /// The input has another length than the manifest says, or the network
    /// fails.
    pub fn raw_outputs(&mut self, input: &[f32]) -> Result<Vec<f32>, ClassifyError> {
        let count = self.model.outputs().len();
        let outputs = self.model.run(input).map_err(ClassifyError::Network)?;
        let each = (0..count).filter_map(|index| outputs.get(index));
        Ok(each.flatten().copied().collect())
    }

    /// Runs the network `runs` times on a gray picture and gives each of its
    /// steps, in the order in which they run, with its time over all runs.
    ///
    /// # Errors
    /// The network fails.
    pub fn profile(&mut self, runs: u32) -> Result<Vec<StepProfile>, ClassifyError> {
        let input = self.normaliser.blank();
        self.model
            .profile(input, runs)
            .map_err(ClassifyError::Network)
    }

    /// Bytes that the network's tensors share while it runs, if all of it runs
    /// in integers; `None` if tract runs a part, which allocates in each run.
    #[must_use]
    pub fn working_memory(&self) -> Option<usize> {
        self.model.working_memory()
    }
}

/// The face net, with or without the eye net.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use affectd::frame::{LumaView, Rect};
/// use affectd::nn::Workspace;
/// use affectd::observe::{FaceBox, FaceNetworks};
///
/// let mut networks = FaceNetworks::load(
///     "models/face_64".as_ref(),
///     Some("models/face_eyes_32".as_ref()),
///     &Workspace::default(),
/// )?;
/// let pixels = vec![128; 640 * 480];
/// let picture = LumaView::new(&pixels, 640, 480, 640)?;
/// let seen = networks.look(&picture, FaceBox::upright(Rect::new(200, 120, 180, 180)))?;
/// println!("a face with probability {:.2}, turned by {:.0} degrees", seen.presence, seen.yaw);
/// # Ok(())
/// # }
/// ```
pub struct FaceNetworks {
    face: Net<{ FACE_OUTPUTS.len() }>,
    eyes: Option<Net<{ EYE_OUTPUTS.len() }>>,
}

impl FaceNetworks {
    /// Loads `NAME.onnx` with `NAME.toml` of the face net and of the eye net,
    /// in memory that is shared with models that never run at the same time.
    ///
    /// # Errors
    /// A file cannot be read, a manifest is wrong, or a model is not the one in
    /// its manifest, lacks an output, or has damaged weights.
    pub fn load(
        face: &Path,
        eyes: Option<&Path>,
        workspace: &Workspace,
    ) -> Result<Self, ModelError> {
        Ok(Self {
            face: Net::load(face, Kind::Face, FACE_OUTPUTS, workspace)?,
            eyes: eyes
                .map(|path| Net::load(path, Kind::Eye, EYE_OUTPUTS, workspace))
                .transpose()?,
        })
    }

    /// The manifest of the face net.
    #[must_use]
    pub const fn manifest(&self) -> &FaceManifest {
        &self.face.manifest
    }

    /// Runs both networks on a box.
    ///
    /// # Errors
    /// The box is empty or absurdly large, or a network fails.
    pub fn look(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
    ) -> Result<FaceObservation, ClassifyError> {
        let mut seen = self.look_at_face(picture, face)?;
        if let Some(eyes) = &mut self.eyes
            && seen.presence >= NO_FACE
            && seen.side >= SMALLEST_FOR_EYES
        {
            look_at_eyes(eyes, picture, &mut seen)?;
        }
        Ok(seen)
    }

    /// Runs only the face net on a box: enough to decide whether it contains a
    /// face.
    ///
    /// # Errors
    /// As [`look`](Self::look).
    pub fn look_at_face(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
    ) -> Result<FaceObservation, ClassifyError> {
        let square = Square::around(face, self.face.manifest.crop.scale)?;
        let [presence, visible, jaw, smile, pose, place, landmarks] =
            self.face.run(picture, &square)?;
        // Buffers have room for faces of up to the picture's size.
        let longer = f64::from(picture.width().max(picture.height()));
        let point = |x: f32, y: f32| square.in_picture((f64::from(x), f64::from(y)));
        let mut seen = FaceObservation::at(
            point(place[0], place[1]),
            (f64::from(place[2]) * square.side).min(longer),
            sigmoid(presence[0]),
        );
        seen.yaw = pose[0];
        seen.pitch = pose[1];
        seen.roll = upright_range(pose[2] + face.roll);
        seen.jaw = sigmoid(jaw[0]);
        seen.smile = sigmoid(smile[0]);
        for (landmark, at) in seen.landmarks.iter_mut().zip(landmarks.chunks_exact(2)) {
            let (x, y) = point(at[0], at[1]);
            *landmark = (x as f32, y as f32);
        }
        seen.right_eye.visible = sigmoid(visible[0]);
        seen.left_eye.visible = sigmoid(visible[1]);
        Ok(seen)
    }
}

/// Runs the eye net on both eyes, at the places that the face net found.
fn look_at_eyes(
    eyes: &mut Net<{ EYE_OUTPUTS.len() }>,
    picture: &LumaView<'_>,
    seen: &mut FaceObservation,
) -> Result<(), ClassifyError> {
    let (right, left) = eye_middles(seen);
    let turn = (left.1 - right.1).atan2(left.0 - right.0).to_degrees();
    let side = eyes.manifest.crop.scale * seen.side;
    let mirror_left = eyes.manifest.crop.mirror_left;
    for (eye, centre, mirror) in [
        (&mut seen.right_eye, right, false),
        (&mut seen.left_eye, left, mirror_left),
    ] {
        if eye.visible < HIDDEN {
            continue;
        }
        let square = Square {
            centre,
            side,
            turn,
            mirror,
        };
        let [openness, gaze_down, covered] = eyes.run(picture, &square)?;
        eye.lids = Some(Lids {
            openness: sigmoid(openness[0]),
            gaze_down: sigmoid(gaze_down[0]),
            covered: sigmoid(covered[0]),
        });
    }
    Ok(())
}

/// The middle of the corners of the right and of the left eye, in pixels.
fn eye_middles(seen: &FaceObservation) -> ((f64, f64), (f64, f64)) {
    let middle = |a: usize, b: usize| {
        let (a, b) = (seen.landmarks[a], seen.landmarks[b]);
        (
            (f64::from(a.0) + f64::from(b.0)) / 2.0,
            (f64::from(a.1) + f64::from(b.1)) / 2.0,
        )
    };
    (middle(0, 1), middle(4, 5))
}

/// A probability from a logit. In f64, so that rounding removes the last bit,
/// in which mathematics libraries differ.
fn sigmoid(logit: f32) -> f32 {
    (1.0 / (1.0 + (-f64::from(logit)).exp())) as f32
}

/// An angle from -180 to 180 degrees.
fn upright_range(degrees: f32) -> f32 {
    degrees - 360.0 * (degrees / 360.0).round()
}

/// Fills in [`Observations::face`].
impl Observer for FaceNetworks {
    fn name(&self) -> &str {
        &self.face.manifest.name
    }

    fn observe(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        seen.face = Some(self.look(picture, face)?);
        Ok(())
    }

    fn verify(
        &mut self,
        picture: &LumaView<'_>,
        face: FaceBox,
        seen: &mut Observations,
    ) -> Result<(), ClassifyError> {
        seen.face = Some(self.look_at_face(picture, face)?);
        Ok(())
    }
}
