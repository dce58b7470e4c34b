//! The event file: one file, or two generations of a limited size.

use std::fs::{self, File};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{Access, access};

use super::options::Error;
use super::target::Target;
use crate::output::growing_file;

/// How long after a failed attempt the next attempt to replace a full file is
/// made.
const RETRY: Duration = Duration::from_secs(60);

/// A file that lines are appended to.
#[derive(Debug)]
pub(super) struct EventFile {
    path: PathBuf,
    file: File,
    /// Bytes in the file, as far as this process knows.
    bytes: u64,
    /// The largest size of a generation in bytes. `None`: no limit, or not a
    /// regular file.
    max_bytes: Option<u64>,
    /// No new generation begins before this time.
    retry_at: Option<Instant>,
}

impl EventFile {
    /// Opens a file, and creates it if it does not exist.
    pub fn open(path: &Path, max_bytes: Option<u64>) -> Result<Self, Error> {
        let failed = |source| Error::File {
            path: path.to_owned(),
            source,
        };
        let file = growing_file::open(path).map_err(failed)?;
        let metadata = file.metadata().map_err(failed)?;
        Ok(Self {
            // If it is a link, the link's target is replaced, not the link.
            path: path.canonicalize().unwrap_or_else(|_| path.to_owned()),
            file,
            bytes: metadata.len(),
            max_bytes: max_bytes.filter(|_| metadata.is_file()),
            retry_at: None,
        })
    }

    /// Whether the file ends inside a line, after a power cut or a full disk.
    pub fn ends_inside_line(&self) -> bool {
        let last = || -> io::Result<u8> {
            if !self.file.metadata()?.is_file() {
                return Ok(b'\n');
            }
            let mut file = File::open(&self.path)?;
            // Fails on an empty file.
            file.seek(SeekFrom::End(-1))?;
            let mut last = [0];
            file.read_exact(&mut last)?;
            Ok(last[0])
        };
        last().is_ok_and(|last| last != b'\n')
    }

    /// Whether a line of this many bytes would make the file too large.
    fn is_full(&mut self, line: usize) -> bool {
        let Some(most) = self.max_bytes else {
            return false;
        };
        let fits = |bytes: u64| bytes == 0 || bytes + line as u64 <= most;
        if fits(self.bytes) {
            return false;
        }
        // Another program may have truncated the file (logrotate's
        // copytruncate).
        if let Ok(metadata) = self.file.metadata() {
            self.bytes = metadata.len();
        }
        !fits(self.bytes)
    }
}

impl Write for EventFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes)?;
        self.bytes += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Target for EventFile {
    fn reopen(&mut self) -> io::Result<bool> {
        let file = growing_file::open(&self.path)?;
        self.bytes = file.metadata()?.len();
        self.file = file;
        Ok(self.bytes == 0)
    }

    fn make_room(&mut self, line: usize) -> io::Result<bool> {
        if self.retry_at.is_some_and(|at| Instant::now() < at) || !self.is_full(line) {
            return Ok(false);
        }
        match growing_file::replace(&self.path) {
            Ok(file) => {
                self.file = file;
                self.bytes = 0;
                self.retry_at = None;
                Ok(true)
            }
            Err(error) => {
                self.retry_at = Some(Instant::now() + RETRY);
                Err(error)
            }
        }
    }
}

/// Checks whether an event file can be written, and replaced if it has a limit.
/// A file that this created is removed again: if root runs this, the daemon
/// could not write to it.
pub(super) fn probe(path: &Path, max_bytes: Option<u64>) -> Result<(), Error> {
    let existed = path.symlink_metadata().is_ok();
    let file = EventFile::open(path, max_bytes)?;
    if !existed {
        let _ = fs::remove_file(path);
    }
    if file.max_bytes.is_some()
        && let Some(folder) = file.path.parent()
    {
        access(folder, Access::WRITE_OK).map_err(|error| Error::Folder {
            path: path.to_owned(),
            source: error.into(),
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open_in(folder: &Path, max_bytes: u64) -> EventFile {
        EventFile::open(&folder.join("e"), Some(max_bytes)).unwrap()
    }

    fn put(file: &mut EventFile, line: &str) -> bool {
        let fresh = file.make_room(line.len()).unwrap();
        file.write_all(line.as_bytes()).unwrap();
        fresh
    }

    fn content(folder: &Path, name: &str) -> String {
        fs::read_to_string(folder.join(name)).unwrap()
    }

    #[test]
    fn a_full_file_becomes_the_old_file() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut file = open_in(folder, 10);
        assert!(!put(&mut file, "12345\n"));
        assert!(!put(&mut file, "789\n"));
        assert_eq!(content(folder, "e"), "12345\n789\n");
        assert!(put(&mut file, "a\n"));
        assert_eq!(content(folder, "e"), "a\n");
        assert_eq!(content(folder, "e.1"), "12345\n789\n");
        // The old generation is replaced, and the earlier contents of the file
        // count.
        let mut file = open_in(folder, 10);
        assert!(put(&mut file, "123456789\n"));
        assert_eq!(content(folder, "e"), "123456789\n");
        assert_eq!(content(folder, "e.1"), "a\n");
        assert_eq!(fs::read_dir(folder).unwrap().count(), 2);
    }

    #[test]
    fn a_truncated_file_has_room_again() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open_in(folder.path(), 10);
        put(&mut file, "123456789\n");
        File::create(folder.path().join("e")).unwrap();
        assert!(!put(&mut file, "a\n"));
        assert_eq!(content(folder.path(), "e"), "a\n");
    }

    #[test]
    fn a_file_that_cannot_be_replaced_goes_on_growing() {
        let folder = tempfile::tempdir().unwrap();
        let mut file = open_in(folder.path(), 10);
        put(&mut file, "123456789\n");
        // A folder in the place of the old generation.
        fs::create_dir(folder.path().join("e.1")).unwrap();
        file.make_room(2).unwrap_err();
        // There is no second attempt at once.
        assert!(!put(&mut file, "a\n"));
        assert_eq!(content(folder.path(), "e"), "123456789\na\n");
    }

    #[test]
    fn the_target_of_a_link_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        fs::create_dir(folder.join("data")).unwrap();
        fs::write(folder.join("data/real"), "123456789\n").unwrap();
        std::os::unix::fs::symlink("data/real", folder.join("e")).unwrap();
        let mut file = open_in(folder, 10);
        assert!(put(&mut file, "a\n"));
        assert_eq!(content(folder, "data/real"), "a\n");
        assert_eq!(content(folder, "data/real.1"), "123456789\n");
        assert!(folder.join("e").is_symlink());
    }

    #[test]
    fn a_moved_file_is_left_alone_after_opening_again() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path();
        let mut file = EventFile::open(&folder.join("e"), None).unwrap();
        put(&mut file, "old\n");
        fs::rename(folder.join("e"), folder.join("moved")).unwrap();
        assert!(file.reopen().unwrap());
        put(&mut file, "new\n");
        assert!(!file.reopen().unwrap(), "the file is not a new one");
        assert_eq!(content(folder, "moved"), "old\n");
        assert_eq!(content(folder, "e"), "new\n");
    }

    #[test]
    fn devices_have_no_generations() {
        let mut file = EventFile::open(Path::new("/dev/null"), Some(10)).unwrap();
        for _ in 0..10 {
            assert!(!put(&mut file, "123456789\n"));
        }
    }
}
