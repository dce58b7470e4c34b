//! Files that are replaced as a whole: a reader sees the old contents or the new
//! ones.

use std::ffi::OsString;
use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::path::Path;

use rustix::fs::{Mode, fchmod};

/// Writes a file beside `path` and gives it that name. `mode`: whatever the
/// umask is; `None` for the usual one. `is_durable`: wait until the contents are
/// on the disk, because a power cut may otherwise leave an empty file.
///
/// # Errors
/// The file cannot be written. No part of it is left.
pub fn replace_file(
    path: &Path,
    contents: &[u8],
    mode: Option<Mode>,
    is_durable: bool,
) -> io::Result<()> {
    let mut name = OsString::from(".");
    name.push(path.file_name().unwrap_or_default());
    name.push(".part");
    let part = path.with_file_name(name);
    // What a killed process left. A link in its place is not followed.
    match fs::remove_file(&part) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .open(&part)?;
    let written = file
        .write_all(contents)
        .and_then(|()| mode.map_or(Ok(()), |mode| Ok(fchmod(&file, mode)?)))
        .and_then(|()| if is_durable { file.sync_all() } else { Ok(()) })
        .and_then(|()| fs::rename(&part, path));
    if written.is_err() {
        // The first error is the important one.
        let _ = fs::remove_file(&part);
    }
    written
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use super::*;

    #[test]
    fn nothing_of_another_file_is_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        let other = folder.path().join("other");
        fs::write(&other, "precious").unwrap();
        symlink(&other, folder.path().join(".a.part")).unwrap();
        symlink(&other, &path).unwrap();
        replace_file(&path, b"new", Some(Mode::from_raw_mode(0o604)), false).unwrap();
        assert_eq!(fs::read_to_string(&other).unwrap(), "precious");
        let found = fs::symlink_metadata(&path).unwrap();
        assert!(found.is_file());
        assert_eq!(found.permissions().mode() & 0o777, 0o604);
        assert_eq!(fs::read_to_string(&path).unwrap(), "new");
        // A folder cannot be replaced by a file, and nothing is left over.
        fs::create_dir(folder.path().join("b")).unwrap();
        replace_file(&folder.path().join("b"), b"", None, true).unwrap_err();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 3);
    }
}
