//! Board files in layers: a later file wins key by key.
//!
//! The texts of all files share one range of places: before each text come as
//! many blanks as the earlier files are long. So a place shows in which file it
//! is, and the parsed files can be merged unchanged.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io;
use std::ops::Range;
use std::path::{Path, PathBuf};

use toml::de::{DeTable, DeValue};

/// One file.
#[derive(Clone, Debug)]
pub struct Layer {
    path: PathBuf,
    folder: PathBuf,
    /// With blanks before it.
    text: String,
    start: usize,
}

impl Layer {
    /// A text that lies in no file; relative paths in it start from `folder`.
    pub fn of_text(text: &str, folder: &Path) -> Self {
        Self {
            path: PathBuf::new(),
            folder: folder.to_owned(),
            text: text.to_owned(),
            start: 0,
        }
    }

    /// Files with their texts, the lowest first.
    pub fn stack(files: Vec<(PathBuf, String)>) -> Vec<Self> {
        let mut start = 0;
        let mut layers = Vec::with_capacity(files.len());
        for (path, text) in files {
            let text = " ".repeat(start) + &text;
            let end = text.len() + 1;
            layers.push(Self {
                folder: path.parent().unwrap_or(Path::new("")).to_owned(),
                path,
                text,
                start,
            });
            start = end;
        }
        layers
    }

    /// The file that a place is in.
    pub fn of<'l>(layers: &'l [Self], place: &Range<usize>) -> Option<&'l Self> {
        layers
            .iter()
            .rev()
            .find(|layer| layer.start <= place.start)
            .or(layers.first())
    }

    pub fn text(&self) -> &str {
        &self.text
    }

    pub const fn start(&self) -> usize {
        self.start
    }

    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory from which relative paths start.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The line of a place in this file, from 1.
    pub fn line(&self, place: &Range<usize>) -> usize {
        let before = &self.text.as_bytes()[..place.start.min(self.text.len())];
        1 + before.iter().filter(|&&byte| byte == b'\n').count()
    }
}

/// Puts the keys of a later file over those of an earlier one. Sections are merged;
/// everything else, lists too, is replaced as a whole.
pub fn merge<'t>(into: &mut DeTable<'t>, over: DeTable<'t>) {
    for (key, value) in over {
        let name = key.get_ref().to_string();
        let is_section = value.get_ref().is_table();
        match into.get_mut(name.as_str()) {
            Some(below) if is_section && below.get_ref().is_table() => {
                if let (DeValue::Table(below), DeValue::Table(value)) =
                    (below.get_mut(), value.into_inner())
                {
                    merge(below, value);
                }
            }
            _ => {
                // Also replace the key: it has a place too, which must be that
                // of the later file.
                into.remove(name.as_str());
                into.insert(key, value);
            }
        }
    }
}

/// Where the board files of a system lie.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Places {
    /// Board files, the lowest first.
    pub files: Vec<PathBuf>,
    /// Directories of drop-ins, the lowest first: a drop-in replaces one of the
    /// same name in a lower directory, and an empty one removes it.
    pub folders: Vec<PathBuf>,
}

impl Default for Places {
    fn default() -> Self {
        Self::below(Path::new("/"))
    }
}

impl Places {
    /// The places of a system whose root is this directory.
    #[must_use]
    pub fn below(root: &Path) -> Self {
        let all = |paths: &[&str]| paths.iter().map(|path| root.join(path)).collect();
        Self {
            files: all(&["usr/share/affectd/board.toml", "etc/affectd/board.toml"]),
            folders: all(&[
                "usr/share/affectd/board.d",
                "etc/affectd/board.d",
                // Not in /run/affectd, which is the daemon's own and is removed
                // when it ends.
                "run/affectd-config/board.d",
            ]),
        }
    }

    /// The files that exist, in the order in which they are merged.
    ///
    /// # Errors
    /// A directory, with the reason why it cannot be read.
    pub fn found(&self) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
        let there = |path: &&PathBuf| path.symlink_metadata().is_ok();
        let mut found: Vec<_> = self.files.iter().filter(there).cloned().collect();
        let mut drop_ins = BTreeMap::new();
        for folder in &self.folders {
            let failed = |error| (folder.clone(), error);
            let entries = match std::fs::read_dir(folder) {
                Ok(entries) => entries,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(failed(error)),
            };
            for entry in entries {
                let path = entry.map_err(failed)?.path();
                let is_drop_in = path
                    .extension()
                    .is_some_and(|extension| extension == "toml");
                if let Some(name) = path.file_name().filter(|_| is_drop_in) {
                    drop_ins.insert(name.to_owned(), path);
                }
            }
        }
        // Like systemd, a link to /dev/null counts as an empty file.
        let is_empty = |path: &PathBuf| {
            std::fs::metadata(path).is_ok_and(|metadata| {
                metadata.len() == 0 && (metadata.is_file() || path.is_symlink())
            })
        };
        found.extend(drop_ins.into_values().filter(|path| !is_empty(path)));
        Ok(found)
    }
}

/// The merged settings as TOML, with the file and the line of each key.
pub fn effective(layers: &[Layer], table: &DeTable<'_>) -> String {
    let mut text = String::new();
    print(layers, table, "", &mut text);
    text
}

/// A key as TOML writes it: in quotes if it needs them.
fn quoted(key: &str) -> String {
    let is_bare = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
    if !key.is_empty() && key.bytes().all(is_bare) {
        key.to_owned()
    } else {
        format!("{key:?}")
    }
}

fn print(layers: &[Layer], table: &DeTable<'_>, path: &str, text: &mut String) {
    let mut sections = Vec::new();
    for (key, value) in table {
        let name = quoted(key.get_ref());
        if is_list_of_sections(value.get_ref()) || value.get_ref().is_table() {
            sections.push((name, key, value));
            continue;
        }
        let layer = Layer::of(layers, &key.span());
        let literal = layer.and_then(|layer| layer.text.get(value.span()));
        let (file, line) = layer.map_or((Path::new(""), 0), |layer| {
            (layer.path(), layer.line(&key.span()))
        });
        let literal = literal.unwrap_or_default();
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{name} = {literal}  # {}:{line}", file.display());
    }
    for (name, key, value) in sections {
        let inner = if path.is_empty() {
            name
        } else {
            format!("{path}.{name}")
        };
        match value.get_ref() {
            DeValue::Table(table) => {
                let _ = writeln!(text, "\n[{inner}]");
                print(layers, table, &inner, text);
            }
            DeValue::Array(list) => {
                for table in list.iter().filter_map(|item| item.get_ref().as_table()) {
                    let layer = Layer::of(layers, &key.span());
                    let file = layer.map_or(Path::new(""), Layer::path);
                    let _ = writeln!(text, "\n[[{inner}]]  # {}", file.display());
                    print(layers, table, &inner, text);
                }
            }
            _ => {}
        }
    }
}

fn is_list_of_sections(value: &DeValue<'_>) -> bool {
    value
        .as_array()
        .is_some_and(|list| !list.is_empty() && list.iter().all(|item| item.get_ref().is_table()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn drop_ins_come_by_name_and_the_highest_of_a_name_counts() {
        let root = tempfile::tempdir().unwrap();
        let places = Places::below(root.path());
        assert!(places.found().unwrap().is_empty());
        for path in [
            "usr/share/affectd/board.toml",
            "etc/affectd/board.toml",
            "usr/share/affectd/board.d/50-camera.toml",
            "usr/share/affectd/board.d/60-site.toml",
            "usr/share/affectd/board.d/70-gone.toml",
            "etc/affectd/board.d/10-name.toml",
            "etc/affectd/board.d/60-site.toml",
            "etc/affectd/board.d/README",
            "run/affectd-config/board.d/55-now.toml",
        ] {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "# not empty").unwrap();
        }
        fs::write(root.path().join("etc/affectd/board.d/70-gone.toml"), "").unwrap();
        std::os::unix::fs::symlink(
            "/dev/null",
            root.path()
                .join("run/affectd-config/board.d/50-camera.toml"),
        )
        .unwrap();
        let found = places.found().unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|path| path.strip_prefix(root.path()).unwrap().to_str().unwrap())
            .collect();
        assert_eq!(
            found,
            [
                "usr/share/affectd/board.toml",
                "etc/affectd/board.toml",
                "etc/affectd/board.d/10-name.toml",
                "run/affectd-config/board.d/55-now.toml",
                "etc/affectd/board.d/60-site.toml",
            ]
        );
    }

    #[test]
    fn keys_are_replaced_one_by_one_and_lists_as_a_whole() {
        let files = [
            (
                "/a.toml",
                "name = 'a'\n[capture]\nsource = '/dev/video0'\nfps = 30\n[[display]]\nkind = 'x'\n[[display]]\nkind = 'y'\n",
            ),
            (
                "/b.toml",
                "# one more line\n\n[capture]\nfps = 15\n[[display]]\nkind = 'z'\n",
            ),
        ];
        let files = files.map(|(path, text)| (PathBuf::from(path), text.to_owned()));
        let layers = Layer::stack(files.to_vec());
        let mut tables = layers
            .iter()
            .map(|layer| DeTable::parse(layer.text()).unwrap());
        let mut merged = tables.next().unwrap().into_inner();
        merge(&mut merged, tables.next().unwrap().into_inner());
        assert_eq!(
            effective(&layers, &merged),
            "name = 'a'  # /a.toml:1\n\n\
             [capture]\nfps = 15  # /b.toml:4\nsource = '/dev/video0'  # /a.toml:3\n\n\
             [[display]]  # /b.toml\nkind = 'z'  # /b.toml:6\n"
        );
        // It is TOML, and says the same.
        let again = effective(&layers, &merged);
        assert!(toml::from_str::<toml::Table>(&again).is_ok(), "{again}");
    }
}
