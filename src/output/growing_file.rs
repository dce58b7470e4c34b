//! A file that grows until it is full and then makes room for a new one. The
//! event file and the recording of eyes are such files.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Opens a file to append to it, and creates it if it does not exist.
pub(super) fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        // A named pipe without a reader must not block the start.
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits() as i32)
        .open(path)
}

/// The new name of a full file: `events.jsonl` becomes `events.jsonl.1`. One old
/// file is kept.
pub(super) fn old_file(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".1");
    name.into()
}

/// Renames a full file to [`old_file`], which replaces an earlier one, and opens
/// a new file in its place.
pub(super) fn replace(path: &Path) -> io::Result<File> {
    fs::rename(path, old_file(path))?;
    open(path)
}
