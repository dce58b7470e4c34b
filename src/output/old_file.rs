//! The new name of a full file. One old file is kept.

use std::path::{Path, PathBuf};

/// `events.jsonl` to `events.jsonl.1`.
pub(super) fn old_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}
