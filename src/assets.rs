//! Where models and cascades are found, so that a board file can name them
//! without a path, on a developer's desk and on an installed board alike.

use std::path::{Path, PathBuf};

/// The model of the classifier that is used where none is named.
pub const DEFAULT_MODEL: &str = "mobilenet_v2_112";

/// The face net that verifies boxes where none is named.
pub const DEFAULT_FACE: &str = "face_64";

/// The eye net that belongs to it.
pub const DEFAULT_EYES: &str = "face_eyes_32";

/// The cascade that is used where none is named.
pub const DEFAULT_CASCADE: &str = "haarcascade_frontalface_alt2.xml";

/// A model or cascade was not found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "'{name}' was not found in: {}; give a path with a slash, or set AFFECTD_MODELS to the folder that contains it",
    list(.searched)
)]
pub struct NotFound {
    pub name: String,
    pub searched: Vec<PathBuf>,
}

fn list(directories: &[PathBuf]) -> String {
    let names: Vec<_> = directories
        .iter()
        .map(|d| d.display().to_string())
        .collect();
    names.join(", ")
}

/// Finds a model (`NAME`, `NAME.onnx`) or cascade (`NAME.xml`).
///
/// A name with a `/` is a path and returned as it is. Any other is looked for
/// in `$AFFECTD_MODELS`, in `models/` of the working directory, beside the
/// executable (`../share/affectd/models` as installed, `../../models` as built
/// by cargo), in `/usr/share/affectd/models`, and in the working directory. A
/// model's `NAME` is found by its `NAME.onnx` and returned with that extension.
///
/// # Errors
/// [`NotFound`] with the directories that were searched.
pub fn find(name: &str) -> Result<PathBuf, NotFound> {
    if name.contains('/') {
        return Ok(PathBuf::from(name));
    }
    let searched = directories();
    for directory in &searched {
        for file in [name, &format!("{name}.onnx")] {
            let path = directory.join(file);
            if path.is_file() {
                return Ok(path);
            }
        }
    }
    Err(NotFound {
        name: name.to_owned(),
        searched,
    })
}

/// Finds the file that a board's options name: a path as it is, a bare name as
/// [`find`] does.
///
/// # Errors
/// [`NotFound`] with the directories that were searched.
pub fn find_file(path: &Path) -> Result<PathBuf, NotFound> {
    match path.to_str() {
        Some(name) => find(name),
        None => Ok(path.to_owned()),
    }
}

/// Which model to use where a model is optional.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ModelChoice {
    /// The shipped one, if it is installed.
    #[default]
    Shipped,
    /// None.
    None,
    /// This one.
    File(PathBuf),
}

impl ModelChoice {
    /// The model's ONNX file, `shipped` being the name of the shipped one;
    /// `None` if none is to be used, or the shipped one is not installed.
    #[must_use]
    pub fn file(&self, shipped: &str) -> Option<PathBuf> {
        match self {
            Self::Shipped => find(shipped).ok(),
            Self::None => None,
            Self::File(path) => Some(path.clone()),
        }
    }
}

fn directories() -> Vec<PathBuf> {
    let mut directories = Vec::new();
    if let Some(set) = std::env::var_os("AFFECTD_MODELS") {
        directories.push(PathBuf::from(set));
    }
    directories.push(PathBuf::from("models"));
    if let Some(bin) = std::env::current_exe()
        .ok()
        .as_deref()
        .and_then(Path::parent)
    {
        directories.push(bin.join("../share/affectd/models"));
        directories.push(bin.join("../../models"));
        // Test binaries lie one directory deeper, in target/*/deps.
        directories.push(bin.join("../../../models"));
    }
    directories.push(PathBuf::from("/usr/share/affectd/models"));
    directories.push(PathBuf::from("."));
    directories
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_left_alone() {
        assert_eq!(find("./a/b.onnx").unwrap(), PathBuf::from("./a/b.onnx"));
    }

    #[test]
    fn what_is_missing_is_named_with_the_places() {
        let error = find_file(Path::new("no_such_model")).unwrap_err();
        let error = error.to_string();
        assert!(error.contains("no_such_model"), "{error}");
        assert!(error.contains("/usr/share/affectd/models"), "{error}");
    }
}
