//! Standard input: a pipe into which another program writes frames.
//!
//! A file that is redirected to standard input is replayed like any other
//! recording.

use std::fs::File;
use std::io::{self, IsTerminal, Read, Seek, SeekFrom};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;

use log::warn;

use super::framer::{Expected, expected};
use super::pipe::Stream;
use super::producer::Producer;
use crate::capture::convert::Layout;
use crate::capture::replay::mjpeg::Mjpeg;
use crate::capture::replay::y4m::{self, Y4m};
use crate::capture::replay::{Player, Rate, Recording, Step, VIDEO_RATE, read_head};
use crate::capture::{CaptureError, Options, Source};
use crate::image::{LumaImage, jpeg};

const NAME: &str = "standard input";

/// Opens standard input.
///
/// # Errors
/// It is a terminal or a directory, raw frames have no size, or a file contains
/// no frame.
pub fn open(options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let stdin = io::stdin();
    if stdin.is_terminal() {
        return Err(fail(
            "is a terminal: pipe frames into it, as in rpicam-vid -t 0 --codec yuv420 --width 640 --height 480 -o - | affectd run --board BOARD --source - --format i420 --size 640x480",
        ));
    }
    let fd = stdin
        .as_fd()
        .try_clone_to_owned()
        .map_err(|error| fail(&error.to_string()))?;
    open_fd(fd, options)
}

fn fail(reason: &str) -> CaptureError {
    CaptureError::Stdin {
        reason: reason.to_owned(),
    }
}

pub(super) fn open_fd(fd: OwnedFd, options: &Options) -> Result<Box<dyn Source>, CaptureError> {
    let expected = expected(options)?;
    let file = File::from(fd);
    let metadata = file.metadata().map_err(|e| fail(&e.to_string()))?;
    if metadata.is_file() {
        return open_file(file, expected, options).map_err(|reason| fail(&reason));
    }
    if metadata.is_dir() {
        return Err(fail("is a directory"));
    }
    let pipe = Stdin {
        fd: Some(OwnedFd::from(file)),
    };
    Ok(Box::new(Stream::new(pipe, expected, options)))
}

fn open_file(
    mut file: File,
    expected: Expected,
    options: &Options,
) -> Result<Box<dyn Source>, String> {
    let name = NAME.to_owned();
    let asked = options.fps.map(Rate::from_fps);
    let mut head = [0; y4m::MAGIC.len()];
    let got = read_head(&mut file, &mut head).map_err(|e| e.to_string())?;
    let head = &head[..got];
    if head == y4m::MAGIC {
        let video = Y4m::open(file)?;
        let rate = asked.or(video.rate()).unwrap_or(VIDEO_RATE);
        return Ok(Box::new(Player::open(video, name, rate, options)?));
    }
    let rate = asked.unwrap_or(VIDEO_RATE);
    Ok(match expected {
        Expected::Raw(layout) => {
            let video = RawFile::new(file, layout);
            Box::new(Player::open(video, name, rate, options)?)
        }
        Expected::Anything if !head.starts_with(jpeg::START) => {
            return Err(super::framer::UNKNOWN.to_owned());
        }
        Expected::Jpegs | Expected::Anything => {
            let video = Mjpeg::open(file).map_err(|e| e.to_string())?;
            Box::new(Player::open(video, name, rate, options)?)
        }
    })
}

/// Another program's pipe. When it is closed, the source ends.
struct Stdin {
    fd: Option<OwnedFd>,
}

impl Producer for Stdin {
    fn name(&self) -> &str {
        NAME
    }

    fn connect(&mut self, _now: Instant) -> Result<Option<OwnedFd>, String> {
        Ok(self.fd.take())
    }

    fn closed(&mut self, _now: Instant) -> Option<String> {
        None
    }

    fn stalled(&mut self, _now: Instant) -> bool {
        false
    }
}

/// A file of raw frames.
struct RawFile<R> {
    file: R,
    layout: Layout,
    bytes: Vec<u8>,
}

impl<R> RawFile<R> {
    fn new(file: R, layout: Layout) -> Self {
        Self {
            file,
            layout,
            bytes: vec![0; layout.frame()],
        }
    }
}

impl<R: Read + Seek> Recording for RawFile<R> {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        let mut got = 0;
        while got < self.bytes.len() {
            match self.file.read(&mut self.bytes[got..]) {
                Ok(0) if got == 0 => return Step::End,
                Ok(0) => {
                    return Step::Broken(format!(
                        "the last frame has {got} of {} bytes",
                        self.bytes.len()
                    ));
                }
                Ok(n) => got += n,
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    warn!("standard input cannot be read further: {error}");
                    return Step::End;
                }
            }
        }
        let Layout { width, height, .. } = self.layout;
        (image.width, image.height) = (width, height);
        image.pixels.resize(width as usize * height as usize, 0);
        match self.layout.luma(&self.bytes, &mut image.pixels) {
            Ok(()) => Step::Frame,
            Err(short) => Step::Broken(short.to_string()),
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }

    fn kind(&self) -> String {
        format!("raw {}", self.layout.format)
    }
}
