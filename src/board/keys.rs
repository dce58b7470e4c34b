//! Keys that several sections have in common: files, GPIO lines, sizes.

use std::path::PathBuf;

use super::claims::Resource;
use super::reader::{IntegerOrString, Section};
use crate::output::gpio;

/// The longest time that a key accepts: an hour.
pub(super) const HOUR_MS: u64 = 3_600_000;

/// Replaces the default by the file's value, if there is one.
pub(super) fn set<T>(option: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *option = value;
    }
}

/// A path, which starts from the directory of the file that names it.
pub(super) fn path(section: &mut Section<'_, '_>, key: &str) -> Option<PathBuf> {
    section
        .string(key)
        .map(|found| found.folder().join(found.value))
}

/// `"640x480"`.
pub(super) fn size(section: &mut Section<'_, '_>, key: &str) -> Option<(u32, u32)> {
    let found = section.string(key)?;
    let parsed = crate::frame::parse_size(found.value);
    match parsed {
        Ok(size) => Some(size),
        Err(error) => {
            found.reject(error);
            None
        }
    }
}

/// A line of a chip, which no other key may name.
pub(super) fn line_id(
    section: &mut Section<'_, '_>,
    key: &str,
    chip: &str,
) -> Option<gpio::LineId> {
    let found = section.integer_or_string(key)?;
    let line = match &found.value {
        IntegerOrString::Integer(number) => match u32::try_from(*number) {
            Ok(offset) => gpio::LineId::Offset(offset),
            Err(_) => {
                found.reject(format_args!("{number} is not a line's offset"));
                return None;
            }
        },
        IntegerOrString::String(name) => gpio::LineId::Name(name.clone()),
    };
    found.claim(Resource::Line {
        chip: chip.to_owned(),
        line: line.clone(),
    });
    Some(line)
}

/// A file or device that no other key may name.
pub(super) fn own_path(section: &mut Section<'_, '_>, key: &str) -> Option<PathBuf> {
    let found = section.string(key)?;
    let path = found.folder().join(found.value);
    found.claim(Resource::File(path.clone()));
    Some(path)
}
