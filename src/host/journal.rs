//! systemd's journal: lines with a priority and with fields.
//!
//! If standard error leads to the journal, each line begins with its priority
//! (`sd-daemon(3)`). Only a line about an [`incident`] goes to the journal's
//! own socket, because the protocol of this socket has fields
//! (`systemd-journald.service(8)`). The other lines do not go there, because
//! journald finds the unit of a message on the socket by its process. If the
//! process has ended by then, `journalctl --unit` does not show the message, so
//! the last lines would be missing. The crate systemd-journal-logger is not
//! used: it also sends from the thread that logs, which here is the loop.

use std::fmt::Write as _;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;

use log::{Level, Record};

use crate::incident;

/// Where journald listens.
const SOCKET: &str = "/run/systemd/journal/socket";

/// The journal's socket.
#[derive(Debug)]
pub struct Journal {
    socket: UnixDatagram,
}

/// A line, in the journal's format and as text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    fields: Vec<u8>,
    /// With `<n>` before it, which journald reads from standard error.
    text: Vec<u8>,
    is_incident: bool,
}

impl Journal {
    /// Opens a socket for messages to the journal. journald may start later.
    ///
    /// # Errors
    /// The system gives no socket.
    pub fn open() -> io::Result<Self> {
        Ok(Self {
            socket: UnixDatagram::unbound()?,
        })
    }

    /// Sends a line to the journal. If that fails, passes its text to
    /// `otherwise`, however long that takes.
    pub fn send(&self, entry: &Entry, otherwise: impl FnOnce(&[u8])) {
        self.send_to(Path::new(SOCKET), entry, otherwise);
    }

    fn send_to(&self, socket: &Path, entry: &Entry, otherwise: impl FnOnce(&[u8])) {
        // By its path each time, because journald may have been started again.
        if self.socket.send_to(&entry.fields, socket).is_err() {
            otherwise(&entry.text);
        }
    }
}

impl Entry {
    /// The line of a record.
    #[must_use]
    pub fn new(record: &Record<'_>) -> Self {
        let message = record.args().to_string();
        let priority = priority(record.level());
        let mut fields = Vec::with_capacity(256 + message.len());
        let mut field = |name: &str, value: &str| {
            fields.extend_from_slice(name.as_bytes());
            if value.contains('\n') {
                fields.push(b'\n');
                fields.extend_from_slice(&(value.len() as u64).to_le_bytes());
            } else {
                fields.push(b'=');
            }
            fields.extend_from_slice(value.as_bytes());
            fields.push(b'\n');
        };
        field("MESSAGE", &message);
        field("PRIORITY", &priority.to_string());
        field("SYSLOG_IDENTIFIER", "affectd");
        field("TARGET", record.target());
        let incident = incident::of_target(record.target());
        if let Some(incident) = incident {
            field("MESSAGE_ID", incident.message_id);
            field(
                "AFFECTD_EVENT",
                incident.target.trim_start_matches("affectd::"),
            );
        }
        let mut text = String::with_capacity(message.len() + 8);
        for line in message.lines() {
            // Writing to a String cannot fail.
            let _ = writeln!(text, "<{priority}>{line}");
        }
        Self {
            fields,
            text: text.into_bytes(),
            is_incident: incident.is_some(),
        }
    }

    /// Whether the line has a message id.
    #[must_use]
    pub const fn is_incident(&self) -> bool {
        self.is_incident
    }

    /// The line for standard error.
    #[must_use]
    pub fn into_text(self) -> Vec<u8> {
        self.text
    }
}

/// The priority in the numbers of `syslog(3)`.
const fn priority(level: Level) -> u8 {
    match level {
        Level::Error => 3,
        Level::Warn => 4,
        Level::Info => 6,
        Level::Debug | Level::Trace => 7,
    }
}

/// Whether a descriptor leads to the journal, by `$JOURNAL_STREAM`, which systemd
/// sets for its services.
#[must_use]
pub fn is_behind(descriptor: impl AsFd) -> bool {
    let Ok(stat) = rustix::fs::fstat(descriptor) else {
        return false;
    };
    std::env::var("JOURNAL_STREAM").is_ok_and(|text| names(&text, (stat.st_dev, stat.st_ino)))
}

/// Whether this is the device and the inode, as `DEVICE:INODE`.
fn names(text: &str, (device, inode): (u64, u64)) -> bool {
    text.split_once(':')
        .is_some_and(|(a, b)| (a.parse(), b.parse()) == (Ok(device), Ok(inode)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(level: Level, target: &str, message: &str) -> Entry {
        Entry::new(
            &Record::builder()
                .level(level)
                .target(target)
                .args(format_args!("{message}"))
                .build(),
        )
    }

    #[test]
    fn an_incident_has_its_id_and_every_line_its_priority() {
        let lost = entry(Level::Warn, incident::CAMERA_LOST.target, "unplugged");
        assert!(lost.is_incident());
        let fields = String::from_utf8(lost.fields).unwrap();
        let lines: Vec<_> = fields.lines().collect();
        assert_eq!(
            lines,
            [
                "MESSAGE=unplugged",
                "PRIORITY=4",
                "SYSLOG_IDENTIFIER=affectd",
                "TARGET=affectd::camera_lost",
                &format!("MESSAGE_ID={}", incident::CAMERA_LOST.message_id),
                "AFFECTD_EVENT=camera_lost",
            ]
        );
        let other = entry(Level::Error, "affectd::daemon", "bad");
        assert!(!other.is_incident());
        let fields = String::from_utf8(other.fields).unwrap();
        assert!(!fields.contains("MESSAGE_ID"), "{fields}");
        assert!(fields.contains("PRIORITY=3\n"), "{fields}");
    }

    #[test]
    fn a_message_of_several_lines_is_one_entry() {
        let entry = entry(Level::Info, "affectd", "a\nbc");
        let start = b"MESSAGE\n\x04\0\0\0\0\0\0\0a\nbc\nPRIORITY=6\n";
        assert!(entry.fields.starts_with(start), "{:?}", entry.fields);
        assert_eq!(entry.text, b"<6>a\n<6>bc\n");
    }

    #[test]
    fn without_a_journal_the_text_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let journal = Journal::open().unwrap();
        let entry = entry(Level::Info, "affectd", "here");
        let mut written = Vec::new();
        journal.send_to(&path, &entry, |text| written.extend_from_slice(text));
        assert_eq!(written, b"<6>here\n");
        // journald starts later.
        let server = UnixDatagram::bind(&path).unwrap();
        journal.send_to(&path, &entry, |_| panic!("the journal is there"));
        let mut bytes = [0; 512];
        let length = server.recv(&mut bytes).unwrap();
        assert_eq!(bytes[..length], entry.fields);
    }

    #[test]
    fn the_variable_names_a_descriptor() {
        assert!(names("8:123", (8, 123)));
        for other in ["8:124", "9:123", "8", "", ":", "a:b", "8:123:4"] {
            assert!(!names(other, (8, 123)), "{other}");
        }
    }
}
