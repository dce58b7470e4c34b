//! The program that holds a camera, for the message that says so.

use std::fs::{self, Metadata};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::Path;

/// Why a camera that another program holds cannot be opened, with the program's
/// name if this user may see it: of other users' processes the kernel shows
/// only root which files are open.
pub fn in_use(device: &Path) -> String {
    holder(device).map_or_else(
        || {
            format!(
                "it is in use by another program (`sudo fuser -v {}` names it)",
                device.display()
            )
        },
        |(name, process)| format!("it is in use by '{name}' (process {process})"),
    )
}

/// Name and number of a process, other than this one, that has the file open.
fn holder(device: &Path) -> Option<(String, u32)> {
    let device = Identity::of(&fs::metadata(device).ok()?);
    let processes = fs::read_dir("/proc").ok()?.flatten();
    processes
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|process| *process != std::process::id())
        .find(|process| has_open(*process, &device))
        .map(|process| {
            let name = fs::read_to_string(format!("/proc/{process}/comm")).unwrap_or_default();
            (name.trim_end().to_owned(), process)
        })
}

fn has_open(process: u32, device: &Identity) -> bool {
    // A process may end meanwhile.
    fs::read_dir(format!("/proc/{process}/fd")).is_ok_and(|files| {
        files
            .flatten()
            .filter_map(|file| fs::metadata(file.path()).ok())
            .any(|file| Identity::of(&file) == *device)
    })
}

/// What is the same for all names of a file.
#[derive(PartialEq, Eq)]
enum Identity {
    /// The number by which drivers know it; each /dev may have its own node.
    CharDevice(u64),
    File(u64, u64),
}

impl Identity {
    fn of(metadata: &Metadata) -> Self {
        if metadata.file_type().is_char_device() {
            Self::CharDevice(metadata.rdev())
        } else {
            Self::File(metadata.dev(), metadata.ino())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};
    use std::time::{Duration, Instant};

    #[test]
    fn a_program_that_has_a_file_open_is_named() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert_eq!(holder(file.path()), None, "this process does not count");
        let unknown = in_use(file.path());
        assert!(unknown.contains("`sudo fuser -v /"), "{unknown}");
        let mut sleeper = Command::new("sleep")
            .arg("60")
            .stdin(Stdio::from(file.reopen().unwrap()))
            .spawn()
            .unwrap();
        let expected = format!("it is in use by 'sleep' (process {})", sleeper.id());
        let mut known = in_use(file.path());
        // An emulator returns before the new process has become `sleep`.
        let start = Instant::now();
        while known != expected && start.elapsed() < Duration::from_secs(10) {
            std::thread::sleep(Duration::from_millis(5));
            known = in_use(file.path());
        }
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(known, expected);
        assert_eq!(holder(Path::new("/nowhere/video0")), None);
    }
}
