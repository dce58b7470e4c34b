//! Weights in a file beside the model: ONNX's external data, which exporters
//! write as `NAME.onnx.data`.

use std::fs::{self, File};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::path::{Component, Path, PathBuf};

use super::onnx::{GraphProto, TensorProto};
use super::refusal::{OrRefuse, Refusal, Result, refuse, require};

/// How many bytes a model may read from such files.
const LIMIT: u64 = 512 << 20;

/// Reads the numbers of all tensors that lie in other files of `folder`.
pub fn read(graph: &mut GraphProto, folder: &Path) -> Result<()> {
    let attributes = graph.node.iter_mut().flat_map(|node| &mut node.attribute);
    let constants = attributes.filter_map(|attribute| attribute.t.as_mut());
    let mut left = LIMIT;
    for tensor in graph.initializer.iter_mut().chain(constants) {
        if tensor.is_external() {
            let bytes = numbers(tensor, folder, left)?;
            left -= bytes.len() as u64;
            tensor.hold(bytes);
        }
    }
    Ok(())
}

fn numbers(tensor: &TensorProto, folder: &Path, most: u64) -> Result<Vec<u8>> {
    let name = &tensor.name;
    let number = |key| -> Result<Option<u64>> {
        let Some(text) = tensor.external(key) else {
            return Ok(None);
        };
        let number = text.parse().ok().map(Some);
        number.or_refuse(|| format!("{name}: its {key} '{text}' is not a number"))
    };
    let location = tensor
        .external("location")
        .or_refuse(|| format!("{name}: it does not say which file has its weights"))?;
    let path = inside(folder, location, name)?;
    let failed = |error: std::io::Error| Refusal(format!("{}: {error}", path.display()));
    // A pipe would keep the open call waiting.
    let metadata = fs::metadata(&path).map_err(failed)?;
    require!(
        metadata.is_file(),
        "{}: it is not a regular file, but should contain the weights of {name}",
        path.display()
    );
    let start = number("offset")?.unwrap_or(0);
    let length = match number("length")? {
        Some(length) => length,
        None => metadata.len().saturating_sub(start),
    };
    let end = start.saturating_add(length);
    require!(
        end <= metadata.len(),
        "{}: it has {} bytes, and the weights of {name} end at byte {end}; copy it again, from \
         the same export as the model",
        path.display(),
        metadata.len()
    );
    require!(
        length <= most,
        "{}: the model's weights have more than {} MiB; use a smaller model",
        path.display(),
        LIMIT >> 20
    );
    let mut file = File::open(&path).map_err(failed)?;
    file.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut bytes = vec![0; usize::try_from(length)?];
    file.read_exact(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The path of a file in the folder; other paths are refused.
fn inside(folder: &Path, location: &str, name: &str) -> Result<PathBuf> {
    let outside = || {
        format!(
            "the weights of {name} are in '{location}', outside of the model's folder {}; save \
             the model with its data in the same folder",
            folder.display()
        )
    };
    let mut parts = Path::new(location).components();
    let plain = |part| matches!(part, Component::Normal(_) | Component::CurDir);
    require!(parts.all(plain), "{}", outside());
    let path = folder.join(location);
    let found = match path.canonicalize() {
        Ok(found) => found,
        Err(error) if error.kind() == ErrorKind::NotFound => refuse!(
            "{} is missing; it contains the weights of {name}: copy it into the model's folder, \
             under this name",
            path.display()
        ),
        Err(error) => refuse!("{}: {error}", path.display()),
    };
    // A link must not lead out of the folder.
    let folder = folder.canonicalize();
    let folder = folder.map_err(|error| Refusal(format!("{}: {error}", path.display())))?;
    require!(found.starts_with(folder), "{}", outside());
    Ok(path)
}
