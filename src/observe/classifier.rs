//! From a face box in a luma plane to seven probabilities: crops the face,
//! normalises its pixels by the manifest, and runs the network.

use std::path::{Path, PathBuf};

use super::crop::Cropper;
use super::manifest::{Layout, Manifest, ModelPaths, OutputKind};
use crate::nn::network::{Network, StepProfile};

use crate::frame::{LumaView, Rect};
use crate::observe::expression::{Expression, Probabilities};

/// Why a model was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{}: the model has no manifest beside it. Write {} with name, sha256 (print it with: \
         sha256sum {}), licence, origin, training_data, classes and output, and the tables \
         [input] (width, height, channels, layout, mean, std) and [crop] (scale, shift_x, \
         shift_y, filter); models/README.md explains each key",
        onnx.display(), manifest.display(), onnx.display()
    )]
    NoManifest { onnx: PathBuf, manifest: PathBuf },
    #[error("{}: {reason}", path.display())]
    Manifest { path: PathBuf, reason: String },
    #[error("{}: {key}: {reason}", path.display())]
    Value {
        path: PathBuf,
        key: &'static str,
        reason: String,
    },
    #[error(
        "{}: the file's SHA-256 is {found}, but {} was written for {expected}; use the model \
         that belongs to the manifest, or, if you changed it, write the new hash there",
        path.display(), manifest.display()
    )]
    Hash {
        path: PathBuf,
        manifest: PathBuf,
        expected: String,
        found: String,
    },
    #[error("{}: not a model that can be run: {reason}", path.display())]
    Onnx { path: PathBuf, reason: String },
    #[error(
        "{}: the network has {} ({}), but one face picture is all that there is to give it",
        path.display(), count(names, "input"), names.join(", ")
    )]
    InputCount { path: PathBuf, names: Vec<String> },
    #[error(
        "{}: input '{name}' takes {found}, but luma normalised by the manifest is f32; export \
         the model with an f32 input",
        path.display()
    )]
    InputType {
        path: PathBuf,
        name: String,
        found: String,
    },
    #[error(
        "{}: input '{name}' has the shape {found}, but {} describes {expected:?}; correct \
         width, height, channels or layout in its table [input]",
        path.display(), manifest.display()
    )]
    InputShape {
        path: PathBuf,
        manifest: PathBuf,
        name: String,
        found: String,
        expected: Box<[usize]>,
    },
    #[error(
        "{}: the network has {} ({}); exactly one with the seven classes is needed",
        path.display(), count(names, "output"), names.join(", ")
    )]
    OutputCount { path: PathBuf, names: Vec<String> },
    #[error(
        "{}: output '{name}' is {found}, but seven f32 numbers, one a class, are needed",
        path.display()
    )]
    Output {
        path: PathBuf,
        name: String,
        found: String,
    },
}

fn count(names: &[String], noun: &str) -> String {
    let s = if names.len() == 1 { "" } else { "s" };
    format!("{} {noun}{s}", names.len())
}

/// Why a face was not classified. The classifier can be used again afterwards.
#[derive(Debug, thiserror::Error)]
pub enum ClassifyError {
    #[error("a face box of {}x{} pixels has nothing in it", face.width, face.height)]
    EmptyBox { face: Rect },
    #[error(
        "a face box of {}x{} pixels asks for a crop of {side} pixels a side; the limit is {limit}",
        face.width, face.height
    )]
    LargeBox { face: Rect, side: i64, limit: i64 },
    #[error("the network failed: {0}")]
    Network(String),
    #[error("the network's outputs are no probabilities: {outputs:?}")]
    Outputs { outputs: [f32; Expression::COUNT] },
}

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
    /// The class of each of the network's outputs.
    order: [Expression; Expression::COUNT],
    cropper: Cropper,
    /// For each channel what the network gets for each of the 256 luma values.
    normalised: Vec<[f32; 256]>,
    /// The network's input in the manifest's shape and layout.
    input: Vec<f32>,
    network: Network,
}

impl Classifier {
    /// Loads `NAME.onnx` with `NAME.toml`, given either of the two or `NAME`.
    ///
    /// # Errors
    /// A file cannot be read, the manifest is wrong, or the model is not the
    /// one that it describes.
    pub fn load(path: &Path) -> Result<Self, ModelError> {
        let paths = ModelPaths::new(path);
        let onnx = std::fs::read(&paths.onnx).map_err(|source| ModelError::Read {
            path: paths.onnx.clone(),
            source,
        })?;
        let manifest = match Manifest::read(&paths.manifest) {
            Err(ModelError::Read { source, .. })
                if source.kind() == std::io::ErrorKind::NotFound =>
            {
                return Err(ModelError::NoManifest {
                    onnx: paths.onnx,
                    manifest: paths.manifest,
                });
            }
            manifest => manifest?,
        };
        manifest.check_hash(&onnx, &paths)?;
        let order = manifest.class_order(&paths.manifest)?;
        let network = Network::load(onnx, &manifest, &paths)?;
        let input = &manifest.input;
        // The arithmetic of the training script, in f32 and in its order.
        let normalised = std::iter::zip(&input.mean, &input.std)
            .map(|(mean, std)| std::array::from_fn(|luma| (luma as f32 / 255.0 - mean) / std))
            .collect();
        let (width, height) = (input.width as usize, input.height as usize);
        Ok(Self {
            order,
            cropper: Cropper::new(width, height),
            normalised,
            input: vec![0.0; width * height * input.channels],
            network,
            manifest,
        })
    }

    /// Makes room for faces in pictures of up to `width x height` pixels, so
    /// that classifying one in them does not allocate for the crop.
    pub fn reserve(&mut self, width: u32, height: u32) {
        let longer = f64::from(width.max(height)) * self.manifest.crop.scale.max(1.0);
        let longer = longer.ceil() as usize + 1;
        self.cropper.reserve(longer, longer);
    }

    /// What is known of the model.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The face in `face`, which may reach out of the picture.
    ///
    /// # Errors
    /// The box is empty or absurdly large, or the network fails.
    pub fn classify(
        &mut self,
        luma: &LumaView<'_>,
        face: Rect,
    ) -> Result<Probabilities, ClassifyError> {
        self.cropper.face(luma, face, &self.manifest.crop)?;
        self.run()
    }

    /// A picture that is a face already: all of it is resized to the input.
    ///
    /// # Errors
    /// The network fails.
    pub fn classify_whole(&mut self, luma: &LumaView<'_>) -> Result<Probabilities, ClassifyError> {
        self.cropper.whole(luma);
        self.run()
    }

    /// The pixels that the network would see of a face: the manifest's width
    /// times height, row by row.
    ///
    /// # Errors
    /// The box is empty or absurdly large.
    pub fn crop_pixels(&mut self, luma: &LumaView<'_>, face: Rect) -> Result<&[u8], ClassifyError> {
        self.cropper.face(luma, face, &self.manifest.crop)
    }

    /// The network's seven outputs, unchanged and in its own order, for an
    /// input in the manifest's shape: for comparing it with other runtimes.
    ///
    /// # Errors
    /// The input has another length than the manifest says, or the network
    /// fails.
    pub fn raw_outputs(
        &mut self,
        input: &[f32],
    ) -> Result<[f32; Expression::COUNT], ClassifyError> {
        if input.len() != self.input.len() {
            return Err(ClassifyError::Network(format!(
                "{} numbers were given for an input of {:?}",
                input.len(),
                self.manifest.input.shape()
            )));
        }
        self.network.run(input).map_err(ClassifyError::Network)
    }

    /// Runs the network `runs` times on a gray picture and gives each of its
    /// steps, in the order in which they run, with its time over all runs.
    ///
    /// # Errors
    /// The network fails.
    pub fn profile(&mut self, runs: u32) -> Result<Vec<StepProfile>, ClassifyError> {
        self.input.fill(0.0);
        self.network
            .profile(&self.input, runs)
            .map_err(ClassifyError::Network)
    }

    /// Bytes that the network's tensors share while it runs, if all of it runs
    /// in integers; `None` where tract allocates in each run.
    #[must_use]
    pub fn working_memory(&self) -> Option<usize> {
        self.network.memory()
    }

    fn run(&mut self) -> Result<Probabilities, ClassifyError> {
        let pixels = self.cropper.pixels();
        let channels = self.normalised.len();
        match self.manifest.input.layout {
            Layout::Nchw => {
                let planes = self.input.chunks_exact_mut(pixels.len());
                for (plane, table) in planes.zip(&self.normalised) {
                    for (value, &pixel) in plane.iter_mut().zip(pixels) {
                        *value = table[usize::from(pixel)];
                    }
                }
            }
            Layout::Nhwc => {
                let values = self.input.chunks_exact_mut(channels);
                for (values, &pixel) in values.zip(pixels) {
                    for (value, table) in values.iter_mut().zip(&self.normalised) {
                        *value = table[usize::from(pixel)];
                    }
                }
            }
        }
        let outputs = self
            .network
            .run(&self.input)
            .map_err(ClassifyError::Network)?;
        self.probabilities(outputs)
    }

    fn probabilities(
        &self,
        outputs: [f32; Expression::COUNT],
    ) -> Result<Probabilities, ClassifyError> {
        let mut ordered = [0.0; Expression::COUNT];
        for (class, output) in self.order.into_iter().zip(outputs) {
            ordered[class.index()] = output;
        }
        let sound = match self.manifest.output {
            OutputKind::Logits => ordered.iter().all(|logit| logit.is_finite()),
            // Quantized probabilities are off by up to half a quantum each.
            OutputKind::Probabilities => {
                ordered.iter().all(|p| (0.0..=1.0).contains(p))
                    && (ordered.iter().sum::<f32>() - 1.0).abs() < 0.05
            }
        };
        if !sound {
            return Err(ClassifyError::Outputs { outputs });
        }
        Ok(match self.manifest.output {
            OutputKind::Logits => Probabilities::from_logits(ordered),
            OutputKind::Probabilities => {
                let sum: f32 = ordered.iter().sum();
                Probabilities(ordered.map(|p| p / sum))
            }
        })
    }
}
