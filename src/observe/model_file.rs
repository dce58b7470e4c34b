//! The two files of a model, `NAME.onnx` and its manifest `NAME.toml`: finds
//! them, checks that they belong together, and says why they cannot be used.

use std::path::{Path, PathBuf};

use crate::digest::sha256_hex;
use crate::nn::{self, InputShape, LoadError, Model, Workspace};

/// Why a model was refused.
#[derive(Debug, thiserror::Error)]
pub enum ModelError {
    #[error("{}: {source}", path.display())]
    Read {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error(
        "{}: the model's manifest is missing. Write {} with name, sha256 (print it with: \
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
    #[error("{}: {reason}", path.display())]
    Onnx { path: PathBuf, reason: String },
    #[error(
        "{}: the network has {} inputs ({}), but affectd can only give it one: the picture of a \
         face",
        path.display(), names.len(), names.join(", ")
    )]
    InputCount { path: PathBuf, names: Vec<String> },
    #[error(
        "{}: input '{name}' takes {found}, but affectd gives it f32; export the model with an \
         f32 input",
        path.display()
    )]
    InputType {
        path: PathBuf,
        name: String,
        found: String,
    },
    #[error(
        "{}: input '{name}' has the shape {found}, but {} describes {expected:?}; {advice}",
        path.display(), manifest.display()
    )]
    InputShape {
        path: PathBuf,
        manifest: Box<Path>,
        name: String,
        found: String,
        expected: Box<[usize]>,
        advice: &'static str,
    },
    #[error(
        "{}: no output has {classes} numbers, one for each of the classes in {}; it has {}",
        path.display(), manifest.display(), listed(found)
    )]
    NoOutput {
        path: PathBuf,
        manifest: PathBuf,
        classes: usize,
        found: Vec<nn::Output>,
    },
    #[error(
        "{}: {} outputs have one number per class ({}); name one of them as output_name in {}",
        path.display(), found.len(), listed(found), manifest.display()
    )]
    SeveralOutputs {
        path: PathBuf,
        manifest: PathBuf,
        found: Vec<nn::Output>,
    },
    #[error(
        "{}: it has no output '{name}', which {} names as output_name; it has {}",
        path.display(), manifest.display(), listed(found)
    )]
    OutputName {
        path: PathBuf,
        manifest: PathBuf,
        name: String,
        found: Vec<nn::Output>,
    },
    #[error(
        "{}: the {kind} net needs an output '{name}' of {numbers} numbers, but this model has \
         {}; use a model from scripts/train face, or remove the key that names this one from the \
         board file",
        path.display(), listed(found)
    )]
    FaceOutput {
        path: PathBuf,
        kind: &'static str,
        name: &'static str,
        numbers: usize,
        found: Vec<nn::Output>,
    },
    #[error(
        "{}: output '{name}' gives numbers that are not finite for a gray picture, so its weights \
         are damaged; use another copy of the model",
        path.display()
    )]
    NotFinite { path: PathBuf, name: String },
}

fn listed(outputs: &[nn::Output]) -> String {
    let outputs = outputs
        .iter()
        .map(|output| format!("'{}' {:?}", output.name, output.shape));
    outputs.collect::<Vec<_>>().join(", ")
}

impl ModelError {
    /// Explains what a manifest must contain, if there is none.
    fn of_manifest(error: Self, paths: &ModelPaths) -> Self {
        match error {
            Self::Read { source, .. } if source.kind() == std::io::ErrorKind::NotFound => {
                Self::NoManifest {
                    onnx: paths.onnx.clone(),
                    manifest: paths.manifest.clone(),
                }
            }
            error => error,
        }
    }

    pub(super) fn of_load(error: LoadError, paths: &ModelPaths) -> Self {
        let path = paths.onnx.clone();
        match error {
            LoadError::InputCount(names) => Self::InputCount { path, names },
            LoadError::InputType { name, found } => Self::InputType { path, name, found },
            LoadError::InputShape {
                name,
                found,
                expected,
            } => Self::InputShape {
                path,
                manifest: paths.manifest.as_path().into(),
                name,
                advice: match found.first() {
                    Some(Some(batch)) if found.len() == 4 && *batch > 1 => {
                        "the first dimension is a fixed batch, but affectd gives one face at a time: \
             export the model with a batch of 1 or a free one"
                    }
                    _ => "correct width, height, channels or layout in its table [input]",
                },
                found: shape_text(&found),
                expected: expected.into(),
            },
            error @ (LoadError::Unusable(_) | LoadError::Output { .. } | LoadError::NoOutput) => {
                Self::Onnx {
                    path,
                    reason: error.to_string(),
                }
            }
        }
    }
}

fn shape_text(sides: &[Option<i64>]) -> String {
    let sides = sides
        .iter()
        .map(|side| side.map_or_else(|| "?".into(), |side| side.to_string()));
    format!("[{}]", sides.collect::<Vec<_>>().join(", "))
}

/// The two files of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ModelPaths {
    pub onnx: PathBuf,
    pub manifest: PathBuf,
}

impl ModelPaths {
    /// From `NAME`, `NAME.onnx` or `NAME.toml`.
    pub fn new(path: &Path) -> Self {
        let extension = path.extension().and_then(|e| e.to_str());
        let stem = match extension {
            Some("onnx" | "toml") => path.with_extension(""),
            // A name may contain a dot: `mobilenet_v2_1.0`.
            _ => path.to_owned(),
        };
        let with = |extension: &str| {
            let mut name = stem.clone().into_os_string();
            name.push(extension);
            PathBuf::from(name)
        };
        Self {
            onnx: with(".onnx"),
            manifest: with(".toml"),
        }
    }
}

/// A model's ONNX file, read and not yet loaded.
pub(super) struct ModelFile {
    pub paths: ModelPaths,
    onnx: Vec<u8>,
}

impl ModelFile {
    /// Reads the ONNX file of a model, given as [`ModelPaths::new`] takes it.
    pub fn read(path: &Path) -> Result<Self, ModelError> {
        let paths = ModelPaths::new(path);
        let onnx = std::fs::read(&paths.onnx).map_err(|source| ModelError::Read {
            path: paths.onnx.clone(),
            source,
        })?;
        Ok(Self { paths, onnx })
    }

    /// The manifest beside it, parsed by `read`.
    pub fn manifest<T>(
        &self,
        read: impl FnOnce(&Path) -> Result<T, ModelError>,
    ) -> Result<T, ModelError> {
        read(&self.paths.manifest).map_err(|error| ModelError::of_manifest(error, &self.paths))
    }

    /// Loads the model that a manifest describes, with weights in files beside
    /// it. Also returns the paths of its files, for later errors.
    pub fn load(
        self,
        sha256: &str,
        input: InputShape,
        workspace: &Workspace,
    ) -> Result<(Model, ModelPaths), ModelError> {
        let Self { paths, onnx } = self;
        check_hash(sha256, &onnx, &paths)?;
        let title = paths.onnx.display().to_string();
        let folder = match paths.onnx.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        let model = Model::load_beside(folder, onnx, &title, input, workspace)
            .map_err(|error| ModelError::of_load(error, &paths))?;
        Ok((model, paths))
    }
}

/// Refuses a file with another hash than the manifest's.
fn check_hash(expected: &str, onnx: &[u8], paths: &ModelPaths) -> Result<(), ModelError> {
    let found = sha256_hex(onnx);
    if found.eq_ignore_ascii_case(expected) {
        return Ok(());
    }
    Err(ModelError::Hash {
        path: paths.onnx.clone(),
        manifest: paths.manifest.clone(),
        expected: expected.to_ascii_lowercase(),
        found,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_is_named_in_three_ways() {
        let expected = ModelPaths {
            onnx: "models/net_1.0.onnx".into(),
            manifest: "models/net_1.0.toml".into(),
        };
        for name in [
            "models/net_1.0",
            "models/net_1.0.onnx",
            "models/net_1.0.toml",
        ] {
            assert_eq!(ModelPaths::new(Path::new(name)), expected);
        }
    }

    #[test]
    fn another_file_is_refused() {
        // The hash of an empty file.
        let sha256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        let paths = ModelPaths::new(Path::new("models/tiny"));
        assert!(check_hash(sha256, b"", &paths).is_ok());
        let message = check_hash(sha256, b"x", &paths).unwrap_err().to_string();
        assert!(message.contains("e3b0c442") && message.contains("2d711642"));
    }

    #[test]
    fn a_fixed_batch_is_named() {
        let error = |found: &[i64]| {
            let load = LoadError::InputShape {
                name: "x".into(),
                found: found.iter().copied().map(Some).collect(),
                expected: [1, 1, 48, 48],
            };
            ModelError::of_load(load, &ModelPaths::new(Path::new("a/net"))).to_string()
        };
        assert!(error(&[4, 1, 48, 48]).contains("batch of 1"));
        assert!(error(&[1, 1, 64, 64]).contains("width, height"));
    }
}
