//! The file for node_exporter, and the thread that writes it.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::Duration;

use rustix::fs::Mode;

use super::options::FileOptions;
use super::text::text;
use crate::fault::FaultLog;
use crate::host::replace::replace_file;
use crate::snapshot::Published;

/// How often the file is written.
pub const PERIOD: Duration = Duration::from_secs(15);

/// How long a snapshot may take to come at the start before the thread looks
/// again.
const FIRST: Duration = Duration::from_millis(200);

/// How long the end waits until the file is removed.
const LAST: Duration = Duration::from_secs(1);

/// Everybody may read it: node_exporter has a user of its own.
const MODE: Mode = Mode::from_raw_mode(0o644);

/// The metrics file. Dropping it removes the file: node_exporter would otherwise
/// show its last values for ever.
#[derive(Debug)]
pub struct MetricsFile {
    options: FileOptions,
    /// `None` at the end, which the thread sees.
    alive: Option<Sender<()>>,
    removed: Receiver<()>,
}

impl MetricsFile {
    /// Starts the thread, which writes the latest snapshot every [`PERIOD`]. If
    /// it cannot write, it logs one warning and goes on trying.
    ///
    /// # Errors
    /// The system gives no thread.
    pub fn start(options: &FileOptions, latest: &Published) -> io::Result<Self> {
        let (alive, ended) = mpsc::channel();
        let (done, removed) = mpsc::channel();
        let (path, latest) = (options.file.clone(), latest.clone());
        thread::Builder::new()
            .name("metrics".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || {
                write_until_end(&path, &latest, &ended);
                // Without a receiver, nobody waits.
                let _ = done.send(());
            })?;
        Ok(Self {
            options: options.clone(),
            alive: Some(alive),
            removed,
        })
    }

    /// The options in force.
    #[must_use]
    pub const fn options(&self) -> &FileOptions {
        &self.options
    }
}

impl Drop for MetricsFile {
    fn drop(&mut self) {
        self.alive = None;
        // A disk that hangs must not block the loop.
        let _ = self.removed.recv_timeout(LAST);
    }
}

fn write_until_end(path: &Path, latest: &Published, ended: &Receiver<()>) {
    let mut fault = FaultLog::new(format!("metrics file {}", path.display()));
    let mut is_written = false;
    loop {
        let snapshot = latest.get();
        if let Some(snapshot) = &snapshot {
            match write(path, &text(snapshot)) {
                Ok(()) => {
                    is_written = true;
                    fault.cleared();
                }
                Err(error) => {
                    fault.occurred(&format_args!(
                        "cannot be written: {error}; tried again every {} s; let affectd's user \
                         write to its folder, or name another file as metrics.file",
                        PERIOD.as_secs()
                    ));
                }
            }
        }
        let pause = if snapshot.is_some() { PERIOD } else { FIRST };
        if ended.recv_timeout(pause) != Err(RecvTimeoutError::Timeout) {
            break;
        }
    }
    if is_written {
        // A file that is gone already is as good.
        let _ = std::fs::remove_file(path);
    }
}

fn write(path: &Path, text: &str) -> io::Result<()> {
    // After a power cut it is written anew, so it need not reach the disk.
    replace_file(path, text.as_bytes(), Some(MODE), false)
}

/// Writes an empty file beside the metrics file and removes it, to check whether
/// the daemon can write there.
///
/// # Errors
/// It cannot.
pub fn probe_file(options: &FileOptions) -> io::Result<()> {
    let mut name = options.file.file_name().unwrap_or_default().to_owned();
    name.push(".check");
    let path: PathBuf = options.file.with_file_name(name);
    replace_file(&path, b"", Some(MODE), false)?;
    std::fs::remove_file(path)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;
    use std::sync::Arc;
    use std::time::Instant;

    use super::*;
    use crate::health::Health;
    use crate::snapshot::{Figures, Snapshot};

    fn published() -> Published {
        let latest = Published::default();
        latest.put(Snapshot {
            hello: Arc::default(),
            health: Health::default(),
            lost_reason: "".into(),
            figures: Figures::default(),
            at: Instant::now(),
        });
        latest
    }

    fn options(file: PathBuf) -> FileOptions {
        FileOptions { file }
    }

    #[test]
    fn the_file_is_there_while_the_daemon_runs() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("metrics.prom");
        let file = MetricsFile::start(&options(path.clone()), &published()).unwrap();
        let start = Instant::now();
        while !path.exists() {
            assert!(start.elapsed() < Duration::from_secs(60));
            thread::sleep(Duration::from_millis(2));
        }
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o644);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.ends_with("\naffectd_restarts_total 0\n"), "{text}");
        drop(file);
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn a_folder_that_cannot_be_written_ends_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("file");
        std::fs::write(&place, "").unwrap();
        // Nothing can be created below a file, not even by root.
        let wrong = options(place.join("metrics.prom"));
        assert!(probe_file(&wrong).is_err());
        drop(MetricsFile::start(&wrong, &published()).unwrap());
        let right = options(folder.path().join("metrics.prom"));
        probe_file(&right).unwrap();
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
