//! Finds things that two parts of a board want to use: a GPIO line, an address
//! on a bus, a device, a file.
//!
//! The reader notes each such thing with the key that names it. If two keys
//! name the same thing with the same text, the reader reports a problem. Two
//! texts can also mean the same thing (`19` and `"GPIO19"`, a label and a path,
//! a link): only this machine knows, and [`clashes`] asks it.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::output::gpio::{self, LineId};

/// A thing that only one part of a board can use.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Resource {
    Line { chip: String, line: LineId },
    I2c { bus: PathBuf, address: u8 },
    File(PathBuf),
}

impl fmt::Display for Resource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Line { chip, line } if chip.is_empty() => write!(f, "{line}"),
            Self::Line { chip, line } => write!(f, "{line} of GPIO chip '{chip}'"),
            Self::I2c { bus, address } => write!(f, "address {address:#04x} on {}", bus.display()),
            Self::File(path) => write!(f, "{}", path.display()),
        }
    }
}

impl Resource {
    /// The thing's unique name on this machine; `self` if it is missing or
    /// cannot be opened, which is reported when affectd opens it.
    fn resolved(&self) -> Self {
        match self {
            Self::Line { chip, line } => match gpio::locate(chip, line) {
                Ok((path, offset)) => Self::Line {
                    chip: real(&path).display().to_string(),
                    line: LineId::Offset(offset),
                },
                Err(_) => self.clone(),
            },
            Self::I2c { bus, address } => Self::I2c {
                bus: real(bus),
                address: *address,
            },
            Self::File(path) => Self::File(real(path)),
        }
    }
}

/// The path without links; for a file that does not exist yet, only its
/// folder's links are resolved.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| {
        let folder = match path.parent() {
            Some(folder) if folder.as_os_str().is_empty() => Path::new("."),
            Some(folder) => folder,
            None => return path.to_owned(),
        };
        match (folder.canonicalize(), path.file_name()) {
            (Ok(folder), Some(name)) => folder.join(name),
            _ => path.to_owned(),
        }
    })
}

/// A thing and the key of the board file that names it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    pub resource: Resource,
    /// With its sections: `gpio.lines.happy`.
    pub key: String,
    /// The board file; empty for a text without one.
    pub file: PathBuf,
    /// The line in it, from 1.
    pub line: usize,
}

impl Claim {
    /// Where the key stands, for a reader of another key's file.
    fn place_for(&self, file: &Path) -> String {
        if self.file == file {
            format!("line {}", self.line)
        } else {
            format!("{}:{}", self.file.display(), self.line)
        }
    }

    /// The message for a second claim to the same thing.
    pub(super) fn clash(&self, first: &Self) -> String {
        format!(
            "{} is already used by {} ({}); change one of these two keys",
            self.resource,
            first.key,
            first.place_for(&self.file)
        )
    }
}

/// Each claim to a thing that an earlier claim has, with the earlier claim.
pub(super) fn repeated(
    claims: &[Claim],
    thing: impl Fn(&Claim) -> Resource,
) -> impl Iterator<Item = (&Claim, &Claim)> {
    let things: Vec<Resource> = claims.iter().map(thing).collect();
    claims.iter().enumerate().filter_map(move |(at, claim)| {
        let first = things[..at].iter().position(|thing| *thing == things[at])?;
        Some((claim, &claims[first]))
    })
}

/// A message for each pair of claims that mean the same thing on this machine.
#[must_use]
pub fn clashes(claims: &[Claim]) -> Vec<String> {
    repeated(claims, |claim| claim.resource.resolved())
        .map(|(claim, first)| {
            format!(
                "{} ({}): {}",
                claim.key,
                claim.place_for(&first.file),
                claim.clash(first)
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_paths_of_one_file_clash() {
        let folder = tempfile::tempdir().unwrap();
        let real = folder.path().join("real");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, folder.path().join("link")).unwrap();
        let claim = |path: &str, line| Claim {
            resource: Resource::File(folder.path().join(path)),
            key: format!("key{line}"),
            file: PathBuf::new(),
            line,
        };
        // The file itself does not exist yet.
        let found = clashes(&[
            claim("real/events.jsonl", 1),
            claim("real/other.jsonl", 2),
            claim("link/events.jsonl", 3),
        ]);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with("key3 (line 3): "), "{found:?}");
        assert!(found[0].contains("already used by key1 (line 1)"));
    }
}
