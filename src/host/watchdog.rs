//! The hardware watchdog: a timer that resets the machine unless it is fed,
//! `/dev/watchdog` of the kernel.
//!
//! It is for a machine that hangs as a whole; if only affectd hangs, the
//! service manager's watchdog restarts it
//! ([`Notifier`](super::service::Notifier)). Any byte written feeds it, and `V`
//! as the last one before the file is closed stops it, where the driver allows
//! that (`nowayout=0`). The driver sets the time until the reset; most drivers
//! have a parameter for it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use crate::fault::FaultLog;

/// The board file's `[watchdog]`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Mostly `/dev/watchdog`.
    pub device: PathBuf,
}

/// The watchdog cannot be started.
#[derive(Debug, thiserror::Error)]
#[error("watchdog {}: {source}{}", .device.display(), hint(.source))]
pub struct Error {
    device: PathBuf,
    source: io::Error,
}

fn hint(error: &io::Error) -> &'static str {
    match error.kind() {
        io::ErrorKind::NotFound => {
            "; load the machine's driver (bcm2835_wdt on a Raspberry Pi), or leave [watchdog] out of the board file"
        }
        io::ErrorKind::PermissionDenied => {
            "; give the user the right to write to it with a udev rule, or run affectd as root"
        }
        io::ErrorKind::ResourceBusy => {
            "; another program uses it, for example systemd (RuntimeWatchdogSec= in /etc/systemd/system.conf)"
        }
        _ => "",
    }
}

/// The shortest time between two feedings: drivers wait for at least a few
/// seconds, and each feeding is a system call that may touch a slow bus.
const INTERVAL: Duration = Duration::from_secs(1);

/// A watchdog that runs. If this is dropped without [`HardwareWatchdog::stop`],
/// it keeps running and resets the machine.
#[derive(Debug)]
pub struct HardwareWatchdog {
    file: File,
    fed: Option<Instant>,
    fault: FaultLog,
}

impl HardwareWatchdog {
    /// Starts the watchdog.
    ///
    /// # Errors
    /// The device is missing or busy, or the user may not write to it.
    pub fn start(options: &Options) -> Result<Self, Error> {
        Ok(Self {
            file: open(&options.device).map_err(|source| Error {
                device: options.device.clone(),
                source,
            })?,
            fed: None,
            fault: FaultLog::new(format!("watchdog {}", options.device.display())),
        })
    }

    /// Feeds it, at most once a second however often this is called. Call this
    /// only after a frame was processed, or while the loop waits for a camera
    /// as it should.
    pub fn feed(&mut self) {
        if self.fed.is_some_and(|fed| fed.elapsed() < INTERVAL) {
            return;
        }
        match self.file.write_all(b"\n") {
            Ok(()) => {
                self.fed = Some(Instant::now());
                self.fault.cleared();
            }
            Err(error) => {
                self.fault.occurred(&format_args!("cannot be fed: {error}"));
            }
        }
    }

    /// Stops it, so that the machine keeps running without affectd.
    pub fn stop(mut self) {
        if let Err(error) = self.file.write_all(b"V") {
            self.fault
                .occurred(&format_args!("cannot be stopped: {error}"));
        }
    }
}

fn open(device: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).open(device)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_fed_once_a_second_and_stopped_by_the_magic_letter() {
        let folder = tempfile::tempdir().unwrap();
        let device = folder.path().join("watchdog");
        std::fs::write(&device, "").unwrap();
        let options = Options {
            device: device.clone(),
        };
        let mut watchdog = HardwareWatchdog::start(&options).unwrap();
        for _ in 0..1000 {
            watchdog.feed();
        }
        watchdog.fed = Instant::now().checked_sub(INTERVAL);
        watchdog.feed();
        watchdog.stop();
        assert_eq!(std::fs::read_to_string(device).unwrap(), "\n\nV");
    }

    #[test]
    fn a_device_that_is_not_there_is_named_with_what_to_do() {
        let options = Options {
            device: "/nowhere/watchdog".into(),
        };
        let error = HardwareWatchdog::start(&options).unwrap_err().to_string();
        assert!(
            error.contains("/nowhere/watchdog") && error.contains("driver"),
            "{error}"
        );
    }
}
