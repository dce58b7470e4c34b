//! A named pipe (`mkfifo`) with writers that come and go.

use std::fs::OpenOptions;
use std::os::fd::OwnedFd;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rustix::fs::OFlags;

use super::framer::expected;
use super::pipe::Stream;
use super::producer::Producer;
use crate::capture::{CaptureError, Options, Source};

/// Opens a FIFO, whether or not a program writes into it already.
///
/// # Errors
/// Raw frames have no size, or the FIFO cannot be read.
pub fn open(path: &Path, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let mut fifo = Fifo {
        path: path.to_owned(),
        name: format!("FIFO {}", path.display()),
        first: None,
    };
    let expected = expected(options)?;
    let first = fifo.reader().map_err(|reason| CaptureError::Recording {
        path: path.to_owned(),
        reason,
    })?;
    fifo.first = Some(first);
    Ok(Box::new(Stream::new(fifo, expected, options)))
}

struct Fifo {
    path: PathBuf,
    name: String,
    /// The end that was opened at the start.
    first: Option<OwnedFd>,
}

impl Fifo {
    /// An end to read from. Without `NONBLOCK` opening would wait for a writer.
    fn reader(&self) -> Result<OwnedFd, String> {
        let mut options = OpenOptions::new();
        options.read(true);
        options.custom_flags(OFlags::NONBLOCK.bits() as i32);
        let file = options.open(&self.path).map_err(|e| e.to_string())?;
        Ok(file.into())
    }
}

impl Producer for Fifo {
    fn name(&self) -> &str {
        &self.name
    }

    /// A new reader has not seen the end of a writer, so `poll` waits for the
    /// next writer.
    fn connect(&mut self, _now: Instant) -> Result<Option<OwnedFd>, String> {
        match self.first.take() {
            Some(fd) => Ok(Some(fd)),
            None => self.reader().map(Some),
        }
    }

    fn closed(&mut self, _now: Instant) -> Option<String> {
        Some("the program that wrote into it has closed it".to_owned())
    }

    fn stalled(&mut self, _now: Instant) -> bool {
        false
    }
}
