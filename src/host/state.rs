//! Texts that outlast a restart, each in a file of one directory.
//!
//! A text is read once and then kept in memory, so that affectd can use it even
//! if the directory cannot be written: the text then lasts until the process
//! ends, and the log says so once. A thread of its own writes, because a disk
//! may take seconds; a file is replaced as a whole, so that a power cut leaves
//! the old text or the new one.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;
use std::time::Duration;

use log::warn;

use crate::fault::FaultLog;
use crate::host::replace::replace_file;

/// The board file's `[state]`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Options {
    /// The directory; it is created if it is missing. `None`: the service
    /// manager's directory (`StateDirectory=` in a unit).
    pub directory: Option<PathBuf>,
}

impl Options {
    /// The directory in use; `None` if neither the board file nor the service
    /// manager names one.
    #[must_use]
    pub fn directory(&self) -> Option<PathBuf> {
        self.directory.clone().or_else(|| {
            // Several directories are separated by colons.
            let given = std::env::var("STATE_DIRECTORY").ok()?;
            let first = given.split(':').next()?;
            (!first.is_empty()).then(|| PathBuf::from(first))
        })
    }
}

/// The longest text that is read: longer files are not affectd's.
const LONGEST: u64 = 1 << 16;

/// How long the end of the process waits for the last texts to be written.
const LAST_WRITES: Duration = Duration::from_secs(2);

/// The texts, by name. A name is a plain file name, such as `pause`.
#[derive(Debug)]
pub struct State {
    options: Options,
    /// `None` if nothing is written.
    writer: Option<Writer>,
    /// Every text that was read or set; `None`: there is none.
    texts: BTreeMap<&'static str, Option<String>>,
}

#[derive(Debug)]
struct Writer {
    directory: PathBuf,
    /// `None` once the state ends.
    jobs: Option<Sender<Job>>,
    done: Receiver<()>,
}

/// A file to write, or to remove if it has no text.
#[derive(Debug)]
struct Job {
    name: &'static str,
    text: Option<String>,
}

impl State {
    /// Starts the thread that writes. Reads nothing yet.
    ///
    /// # Errors
    /// No thread can be started.
    pub fn open(options: &Options) -> io::Result<Self> {
        Ok(Self {
            options: options.clone(),
            writer: options.directory().map(Writer::start).transpose()?,
            texts: BTreeMap::new(),
        })
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &Options {
        &self.options
    }

    /// The directory of the texts; `None`: they last until the process ends.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        self.writer.as_ref().map(|writer| &*writer.directory)
    }

    /// A text: the one set last, or the contents of its file. Reads the disk at
    /// the first call for a name. A file that cannot be read counts as missing,
    /// with a warning.
    pub fn get(&mut self, name: &'static str) -> Option<&str> {
        let directory = self.writer.as_ref().map(|writer| &writer.directory);
        let text = self
            .texts
            .entry(name)
            .or_insert_with(|| read(directory?, name));
        text.as_deref()
    }

    /// Sets a text. Returns at once; a thread writes it.
    pub fn set(&mut self, name: &'static str, text: String) {
        self.put(name, Some(text));
    }

    /// Removes a text.
    pub fn remove(&mut self, name: &'static str) {
        self.put(name, None);
    }

    fn put(&mut self, name: &'static str, text: Option<String>) {
        if let Some(writer) = &self.writer {
            writer.send(Job {
                name,
                text: text.clone(),
            });
        }
        self.texts.insert(name, text);
    }

    /// Sets a text that makes no sense aside ([`set_aside`]), and says why. It
    /// then counts as missing.
    pub fn set_aside(&mut self, name: &'static str, reason: &dyn fmt::Display) {
        if let Some(writer) = &self.writer {
            set_aside(&writer.directory, name, reason);
        }
        self.texts.insert(name, None);
    }

    /// Continues in the directory of other options, with all texts.
    ///
    /// # Errors
    /// The system gives no thread; the old options stay in force.
    pub fn set_options(&mut self, options: &Options) -> io::Result<()> {
        if self.options == *options {
            return Ok(());
        }
        let mut next = Self::open(options)?;
        for (name, text) in std::mem::take(&mut self.texts) {
            if let Some(text) = text {
                next.set(name, text);
            }
        }
        *self = next;
        Ok(())
    }
}

impl Writer {
    fn start(directory: PathBuf) -> io::Result<Self> {
        let (jobs, orders) = mpsc::channel::<Job>();
        let (finished, done) = mpsc::channel();
        let place = directory.clone();
        thread::Builder::new()
            .name("state".to_owned())
            .spawn(move || {
                let mut fault = FaultLog::new(format!("state directory {}", place.display()));
                for job in orders {
                    match write(&place, job.name, job.text.as_deref()) {
                        Ok(()) => {
                            fault.cleared();
                        }
                        Err(error) => {
                            fault.occurred(&format_args!(
                                "{} cannot be written: {error}; until this is repaired, its contents \
                                 are lost when affectd ends: let affectd's user write there, or name \
                                 another directory as state.directory",
                                job.name
                            ));
                        }
                    }
                }
                // Without a receiver, the process ends in another way.
                let _ = finished.send(());
            })?;
        Ok(Self {
            directory,
            jobs: Some(jobs),
            done,
        })
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // The thread ends only when this is dropped.
            let _ = jobs.send(job);
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.jobs = None;
        // A disk that hangs must not block the end of the process.
        let _ = self.done.recv_timeout(LAST_WRITES);
    }
}

/// The text of a name in a directory. A file that cannot be read counts as
/// missing, with a warning.
#[must_use]
pub fn read(directory: &Path, name: &str) -> Option<String> {
    let path = directory.join(name);
    read_file(&path).unwrap_or_else(|error| {
        warn!(
            "state {}: cannot be read: {error}; affectd continues without it",
            path.display()
        );
        None
    })
}

/// Renames the file of a text that makes no sense to `NAME.damaged`, so that
/// someone can look at it, and says why.
pub fn set_aside(directory: &Path, name: &str, reason: &dyn fmt::Display) {
    let path = directory.join(name);
    let aside = directory.join(format!("{name}.damaged"));
    match fs::rename(&path, &aside) {
        Ok(()) => warn!(
            "state {}: {reason}; the file is now {}, and affectd continues without it",
            path.display(),
            aside.display()
        ),
        Err(error) => warn!(
            "state {}: {reason}; affectd continues without it (the file cannot be renamed: {error})",
            path.display()
        ),
    }
}

fn read_file(path: &Path) -> io::Result<Option<String>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let mut bytes = Vec::new();
    file.take(LONGEST + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        return Err(io::Error::other("the file is longer than 64 KiB"));
    }
    // A parser says what else is wrong with it.
    Ok(Some(String::from_utf8_lossy(&bytes).into_owned()))
}

/// Writes a text to its file in the directory, or removes the file; makes the
/// directory if it is missing. The file is replaced as a whole.
///
/// # Errors
/// The directory or the file cannot be written.
pub fn write(directory: &Path, name: &str, text: Option<&str>) -> io::Result<()> {
    let path = directory.join(name);
    let Some(text) = text else {
        return match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        };
    };
    DirBuilder::new()
        .recursive(true)
        .mode(0o750)
        .create(directory)?;
    replace_file(&path, text.as_bytes(), None, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(directory: &Path) -> Options {
        Options {
            directory: Some(directory.to_owned()),
        }
    }

    #[test]
    fn texts_outlast_the_process() {
        let folder = tempfile::tempdir().unwrap();
        let directory = folder.path().join("deep/state");
        let mut state = State::open(&options(&directory)).unwrap();
        assert_eq!(state.get("pause"), None);
        state.set("pause", "socket".to_owned());
        state.set("restarts", "3".to_owned());
        assert_eq!(state.get("pause"), Some("socket"));
        drop(state);
        let mut state = State::open(&options(&directory)).unwrap();
        assert_eq!(state.get("pause"), Some("socket"));
        assert_eq!(state.get("restarts"), Some("3"));
        state.remove("pause");
        drop(state);
        let names: Vec<_> = fs::read_dir(&directory)
            .unwrap()
            .map(|entry| entry.unwrap().file_name())
            .collect();
        assert_eq!(names, ["restarts"]);
    }

    #[test]
    fn without_a_directory_texts_last_until_the_end() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        // No directory can be created below a file, not even by root.
        let mut state = State::open(&options(&file.join("state"))).unwrap();
        state.set("pause", "button".to_owned());
        assert_eq!(state.get("pause"), Some("button"));
        assert_eq!(state.get("restarts"), None);
    }

    #[test]
    fn a_damaged_text_is_set_aside() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("baseline"), [0xff, 0xfe]).unwrap();
        assert!(read(folder.path(), "baseline").is_some());
        set_aside(folder.path(), "baseline", &"this is not JSON");
        assert_eq!(read(folder.path(), "baseline"), None);
        assert!(folder.path().join("baseline.damaged").exists());
        assert!(!folder.path().join("baseline").exists());
        // A file that is too long is not read into memory.
        fs::write(folder.path().join("pause"), vec![b'x'; 70_000]).unwrap();
        let mut state = State::open(&options(folder.path())).unwrap();
        assert_eq!(state.get("pause"), None);
    }

    #[test]
    fn other_options_keep_all_texts() {
        let (old, new) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut state = State::open(&options(old.path())).unwrap();
        state.set("pause", "button".to_owned());
        state.set_options(&options(new.path())).unwrap();
        assert_eq!(state.directory(), Some(new.path()));
        drop(state);
        let kept = fs::read_to_string(new.path().join("pause")).unwrap();
        assert_eq!(kept, "button");
    }
}
