//! From a face box in a luma plane to seven probabilities: crops the face,
//! normalises its pixels by the manifest, and runs the network.

use std::path::Path;

use super::crop::Cropper;
use super::error::ClassifyError;
use super::expression::{Expression, Probabilities};
use super::face_box::FaceBox;
use super::manifest::{Class, CropRule, Manifest, OutputKind};
use super::model_file::{ModelError, ModelFile, ModelPaths};
use super::normalise::Normaliser;
use super::square::{Sampler, Square};
use crate::frame::{LumaView, Rect};
use crate::nn::{Model, StepProfile, Workspace};

/// The roll in degrees from which on a face is cut out upright. For smaller
/// rolls, the filter of the training gives more accuracy than level eyes.
const TURNED_FROM: f32 = 5.0;

/// A network with its manifest and its buffers.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use affectd::observe::Classifier;
/// use affectd::frame::{LumaView, Rect};
///
/// let mut classifier = Classifier::load("models/mobilenet_v2_112".as_ref())?;
/// let pixels = vec![128; 640 * 480];
/// let picture = LumaView::new(&pixels, 640, 480, 640)?;
/// let probabilities = classifier.classify(&picture, Rect::new(200, 120, 180, 180))?;
/// let (expression, probability) = probabilities.top();
/// println!("{expression}: {probability:.2}");
/// # Ok(())
/// # }
/// ```
pub struct Classifier {
    manifest: Manifest,
    /// The class of each number in the output.
    order: Vec<Class>,
    /// The index of the model's output that is read.
    output: usize,
    cropper: Cropper,
    /// For tilted faces; `None` if the network's input is not a square.
    sampler: Option<Sampler>,
    normaliser: Normaliser,
    model: Model,
}

impl Classifier {
    /// Loads `NAME.onnx` with `NAME.toml`; `path` is one of them, or `NAME`.
    ///
    /// # Errors
    /// A file cannot be read, the manifest is wrong, or it describes another
    /// model.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        Self::load_in(path, &Workspace::default())
    }

    /// As [`load`](Self::load), in memory that is shared with models that never
    /// run at the same time.
    ///
    /// # Errors
    /// As [`load`](Self::load).
    pub fn load_in(path: &Path, workspace: &Workspace) -> Result<Self, ModelError> {
        let file = ModelFile::read(path)?;
        let manifest = file.manifest(Manifest::read)?;
        let order = manifest.class_order(&file.paths.manifest)?;
        let (model, paths) = file.load(&manifest.sha256, manifest.input.shape(), workspace)?;
        let output = choose_output(&model, &manifest, order.len(), &paths)?;
        let input = &manifest.input;
        let (width, height) = (input.width as usize, input.height as usize);
        Ok(Self {
            order,
            cropper: Cropper::new(width, height),
            sampler: (width == height).then(|| Sampler::new(width)),
            normaliser: Normaliser::new(input),
            output,
            model,
            manifest,
        })
    }

    /// Allocates memory for faces in pictures of up to `width x height` pixels,
    /// so that the crop allocates nothing later.
    pub fn reserve(&mut self, width: u32, height: u32) {
        let longer = f64::from(width.max(height)) * self.manifest.crop.scale.max(1.0);
        let longer = longer.ceil() as usize + 1;
        self.cropper.reserve(longer, longer);
    }

    /// The model's manifest.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Classifies the face in the box `face`, which may reach out of the
    /// picture.
    ///
    /// # Errors
    /// The box is empty or absurdly large, or the network fails.
    pub fn classify(
        &mut self,
        luma: &LumaView<'_>,
        face: Rect,
    ) -> Result<Probabilities, ClassifyError> {
        self.cropper.face(luma, face, &self.manifest.crop)?;
        self.run(View::Upright)
    }

    /// Classifies a face that may be tilted: from 5 degrees of roll on it is
    /// cut out upright.
    ///
    /// # Errors
    /// The box is empty or absurdly large, or the network fails.
    pub fn classify_face(
        &mut self,
        luma: &LumaView<'_>,
        face: FaceBox,
    ) -> Result<Probabilities, ClassifyError> {
        match &mut self.sampler {
            Some(sampler) if face.roll.abs() >= TURNED_FROM => {
                let square = square_around(face, &self.manifest.crop)?;
                sampler.cut(luma, &square);
                self.run(View::Turned)
            }
            _ => self.classify(luma, face.rect),
        }
    }

    /// Classifies a picture that shows only a face: all of it is resized to the
    /// input.
    ///
    /// # Errors
    /// The network fails.
    pub fn classify_whole(&mut self, luma: &LumaView<'_>) -> Result<Probabilities, ClassifyError> {
        self.cropper.whole(luma);
        self.run(View::Upright)
    }

    /// The pixels that the network would get for a face: the manifest's width
    /// times height, row by row.
    ///
    /// # Errors
    /// The box is empty or absurdly large.
    pub fn crop_pixels(&mut self, luma: &LumaView<'_>, face: Rect) -> Result<&[u8], ClassifyError> {
        self.cropper.face(luma, face, &self.manifest.crop)
    }

    /// Runs the network on an input of the manifest's shape and returns the
    /// output's numbers, unchanged and in the model's own order. For
    /// comparisons with other runtimes.
    ///
    /// # Errors
    /// The input's length differs from the manifest's, or the network fails.
    pub fn raw_outputs(&mut self, input: &[f32]) -> Result<&[f32], ClassifyError> {
        let outputs = self.model.run(input).map_err(ClassifyError::Network)?;
        Ok(outputs.get(self.output).unwrap_or_default())
    }

    /// Runs the network `runs` times on a gray picture and gives each of its
    /// steps, in the order in which they run, with its time over all runs.
    ///
    /// # Errors
    /// The network fails.
    pub fn profile(&mut self, runs: u32) -> Result<Vec<StepProfile>, ClassifyError> {
        self.model
            .profile(self.normaliser.blank(), runs)
            .map_err(ClassifyError::Network)
    }

    /// Bytes that the network's tensors share while it runs, if all of it runs
    /// in integers; `None` if tract runs a part, which allocates in each run.
    #[must_use]
    pub fn working_memory(&self) -> Option<usize> {
        self.model.working_memory()
    }

    fn run(&mut self, view: View) -> Result<Probabilities, ClassifyError> {
        let pixels = match (view, &self.sampler) {
            (View::Turned, Some(sampler)) => sampler.pixels(),
            _ => self.cropper.pixels(),
        };
        let input = self.normaliser.input(pixels);
        let outputs = self.model.run(input);
        let outputs = outputs.map_err(ClassifyError::Network)?;
        let outputs = outputs.get(self.output).unwrap_or_default();
        probabilities(outputs, &self.order, self.manifest.output)
    }
}

/// Which buffer contains the pixels of the face.
#[derive(Clone, Copy)]
enum View {
    Upright,
    Turned,
}

/// The square around a tilted face.
fn square_around(face: FaceBox, rule: &CropRule) -> Result<Square, ClassifyError> {
    let square = Square::around(face, rule.scale)?;
    // The rule's shifts are along the face's own axes.
    let shift = |of: f64| 0.5 + of / rule.scale;
    Ok(Square {
        centre: square.in_picture((shift(rule.shift_x), shift(rule.shift_y))),
        ..square
    })
}

/// The output that has one number per class.
fn choose_output(
    model: &Model,
    manifest: &Manifest,
    classes: usize,
    paths: &ModelPaths,
) -> Result<usize, ModelError> {
    let (path, manifest_path) = (paths.onnx.clone(), paths.manifest.clone());
    let outputs = model.outputs();
    let fitting: Vec<_> = (0..outputs.len())
        .filter(|index| outputs[*index].len() == classes)
        .collect();
    if let Some(name) = &manifest.output_name {
        let named = outputs.iter().position(|output| output.name == *name);
        return match named {
            Some(index) if fitting.contains(&index) => Ok(index),
            Some(index) => Err(ModelError::NoOutput {
                path,
                manifest: manifest_path,
                classes,
                found: vec![outputs[index].clone()],
            }),
            None => Err(ModelError::OutputName {
                path,
                manifest: manifest_path,
                name: name.clone(),
                found: outputs.to_vec(),
            }),
        };
    }
    match fitting.as_slice() {
        [index] => Ok(*index),
        [] => Err(ModelError::NoOutput {
            path,
            manifest: manifest_path,
            classes,
            found: outputs.to_vec(),
        }),
        several => Err(ModelError::SeveralOutputs {
            path,
            manifest: manifest_path,
            found: several
                .iter()
                .map(|index| outputs[*index].clone())
                .collect(),
        }),
    }
}

/// Probabilities of the seven classes: their sum is 1 minus the share of
/// classes beyond the seven.
fn probabilities(
    outputs: &[f32],
    order: &[Class],
    kind: OutputKind,
) -> Result<Probabilities, ClassifyError> {
    let counted = || {
        std::iter::zip(order, outputs)
            .filter(|(class, _)| **class != Class::Ignored)
            .map(|(_, number)| *number)
    };
    let sound = match kind {
        OutputKind::Logits => counted().all(f32::is_finite),
        // Each quantized probability is wrong by up to half a quantum, and
        // classes that are left out make the sum smaller than 1.
        OutputKind::Probabilities => {
            let (sum, all) = (counted().sum::<f32>(), counted().count() == order.len());
            counted().all(|p| (0.0..=1.0).contains(&p))
                && sum < 1.05
                && sum > if all { 0.95 } else { 0.0 }
        }
    };
    if !sound {
        let outputs = outputs.to_vec();
        return Err(ClassifyError::Outputs { outputs });
    }
    let mut seven = [0.0; Expression::COUNT];
    for (class, number) in std::iter::zip(order, outputs) {
        if let Class::Expression(expression) = class {
            seven[expression.index()] = *number;
        }
    }
    let other = || {
        std::iter::zip(order, outputs)
            .filter(|(class, _)| **class == Class::Other)
            .map(|(_, number)| *number)
    };
    Ok(match kind {
        OutputKind::Logits => {
            let largest = seven.into_iter().chain(other()).fold(f32::MIN, f32::max);
            let exponentials = seven.map(|logit| (logit - largest).exp());
            let rest: f32 = other().map(|logit| (logit - largest).exp()).sum();
            let sum = exponentials.iter().sum::<f32>() + rest;
            Probabilities(exponentials.map(|e| e / sum))
        }
        OutputKind::Probabilities => {
            let sum = seven.iter().sum::<f32>() + other().sum::<f32>();
            Probabilities(seven.map(|p| p / sum))
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(beyond: &[Class]) -> Vec<Class> {
        let seven = Expression::ALL.map(Class::Expression);
        seven.iter().chain(beyond).copied().collect()
    }

    #[test]
    fn seven_logits_are_a_softmax() {
        let logits = [0.5, -1.0, 2.0, 0.25, 0.0, 1.5, -3.0];
        let p = probabilities(&logits, &order(&[]), OutputKind::Logits).unwrap();
        assert_eq!(p, Probabilities::from_logits(logits));
    }

    #[test]
    fn a_class_beyond_the_seven_takes_its_share() {
        let logits = [0.0; 8];
        let p = probabilities(&logits, &order(&[Class::Other]), OutputKind::Logits).unwrap();
        assert_eq!(p.0, [0.125; 7]);
        let p = probabilities(&logits, &order(&[Class::Ignored]), OutputKind::Logits).unwrap();
        assert_eq!(p, Probabilities::from_logits([0.0; 7]));
    }

    #[test]
    fn numbers_that_are_left_out_may_have_any_value() {
        let mut numbers = [0.125; 8];
        numbers[7] = f32::NAN;
        let order = order(&[Class::Ignored]);
        let p = probabilities(&numbers, &order, OutputKind::Probabilities).unwrap();
        assert!((p.0[0] - 1.0 / 7.0).abs() < 1e-6);
        numbers[0] = f32::NAN;
        for kind in [OutputKind::Logits, OutputKind::Probabilities] {
            assert!(probabilities(&numbers, &order, kind).is_err());
        }
    }
}
