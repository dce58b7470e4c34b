//! The id of this machine, for people who operate many machines.

use std::fs;
use std::path::Path;

use crate::digest::sha256_hex;

/// Digits of a computed id: 64 bits.
const DIGITS: usize = 16;

/// The files that identify a machine.
#[derive(Clone, Copy, Debug)]
struct Sources<'a> {
    machine_id: &'a Path,
    /// The serial number of the board, from its firmware. It tells machines apart
    /// whose memory cards are copies and therefore have the same machine id.
    serial: &'a Path,
    host_name: &'a Path,
}

/// An id of this machine that stays the same over restarts and updates: 16
/// hexadecimal digits, a hash of `/etc/machine-id` and the board's serial number.
/// The machine id cannot be computed from it.
///
/// Without either, it is a hash of the host's name, and a line in the log says
/// that the board file should have an `id`.
#[must_use]
pub fn machine() -> String {
    of(&Sources {
        machine_id: Path::new("/etc/machine-id"),
        serial: Path::new("/sys/firmware/devicetree/base/serial-number"),
        host_name: Path::new("/proc/sys/kernel/hostname"),
    })
}

fn of(sources: &Sources<'_>) -> String {
    // systemd writes "uninitialized" into an image that has not booted yet.
    let machine_id = read(sources.machine_id).filter(|id| id != "uninitialized");
    let serial = read(sources.serial);
    let parts = match (&machine_id, &serial) {
        (None, None) => {
            log::warn!(
                "this machine has no {} and no serial number, so its id comes from its host name; \
                 set `id` in the board file where several machines have the same name",
                sources.machine_id.display()
            );
            ["host", &read(sources.host_name).unwrap_or_default()].join("\0")
        }
        _ => [
            "machine",
            machine_id.as_deref().unwrap_or_default(),
            serial.as_deref().unwrap_or_default(),
        ]
        .join("\0"),
    };
    let mut id = sha256_hex(format!("affectd id 1\0{parts}").as_bytes());
    id.truncate(DIGITS);
    id
}

/// The text of a file, if it has one.
fn read(path: &Path) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    (!text.is_empty()).then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(machine_id: Option<&str>, serial: Option<&str>, host: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str, text: Option<&str>| {
            let path = folder.path().join(name);
            if let Some(text) = text {
                fs::write(&path, text).unwrap();
            }
            path
        };
        of(&Sources {
            machine_id: &path("machine-id", machine_id),
            serial: &path("serial", serial),
            host_name: &path("hostname", Some(host)),
        })
    }

    #[test]
    fn a_machine_keeps_its_id_and_a_clone_of_its_card_gets_another() {
        const MACHINE: &str = "0123456789abcdef0123456789abcdef\n";
        let machine = Some(MACHINE);
        let first = id(machine, Some("10000000aaaaaaaa\0"), "robot\n");
        assert_eq!(first.len(), DIGITS);
        assert!(first.bytes().all(|b| b.is_ascii_hexdigit()), "{first}");
        assert_eq!(first, id(machine, Some("10000000aaaaaaaa\0"), "other\n"));
        assert_ne!(first, id(machine, Some("10000000bbbbbbbb\0"), "robot\n"));
        assert_ne!(first, id(machine, None, "robot\n"));
        assert!(!MACHINE.contains(&first));
    }

    #[test]
    fn without_a_machine_id_the_serial_number_or_the_name_counts() {
        let serial = Some("10000000aaaaaaaa\0");
        assert_eq!(id(None, serial, "a"), id(Some("\n"), serial, "b"));
        assert_eq!(
            id(Some("uninitialized\n"), None, "a\n"),
            id(None, None, "a")
        );
        assert_ne!(id(None, None, "a"), id(None, None, "b"));
    }
}
