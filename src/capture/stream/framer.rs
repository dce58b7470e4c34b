//! Cuts the bytes of a stream into frames: raw ones of a known layout,
//! concatenated JPEGs, or Y4M.
//!
//! Memory is allocated when the format of the stream is known, and then reused.

use crate::capture::convert::Layout;
use crate::capture::replay::mjpeg::{Split, Splitter};
use crate::capture::replay::y4m::{self, Header};
use crate::capture::{CaptureError, Options, PixelFormat};
use crate::image::{LumaImage, jpeg};

/// The format that the options give.
pub(super) fn expected(options: &Options) -> Result<Expected, CaptureError> {
    match (options.format, options.size) {
        (Some(PixelFormat::Mjpg), _) => Ok(Expected::Jpegs),
        (None, _) => Ok(Expected::Anything),
        (Some(format), None) => Err(CaptureError::SizeMissing { format }),
        (Some(format), Some((width, height))) => {
            Layout::padded(format, width, height, options.stride).map(Expected::Raw)
        }
    }
}

/// The expected format of a stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Raw frames of this layout. A stream that starts as Y4M is read as Y4M.
    Raw(Layout),
    Jpegs,
    /// Y4M or JPEGs, recognised by their first bytes.
    Anything,
}

/// How many bytes are needed to recognise a stream.
const HEAD: usize = y4m::MAGIC.len();

/// The result of [`Framer::take`].
#[derive(Debug, PartialEq, Eq)]
pub enum Taken {
    /// A whole frame, now in the image.
    Frame,
    /// A frame that cannot be used, with the reason.
    Broken(String),
    /// More bytes are needed.
    More,
}

/// The state of a stream that is cut into frames.
pub enum Framer {
    /// The format is not known yet.
    Start {
        head: [u8; HEAD],
        got: usize,
        expected: Expected,
    },
    Raw {
        layout: Layout,
        bytes: Vec<u8>,
        got: usize,
    },
    Jpegs {
        splitter: Splitter,
        /// A second picture, so that a broken one does not damage the one
        /// before it.
        spare: LumaImage,
    },
    Y4m(Box<Y4m>),
    /// The stream cannot be read. Its bytes are thrown away.
    Unreadable {
        reason: String,
        bytes: Vec<u8>,
    },
}

impl Framer {
    /// A framer at the start of a stream.
    pub fn new(expected: Expected) -> Self {
        match expected {
            // A stream of JPEGs may start with anything.
            Expected::Jpegs => Self::jpegs(),
            Expected::Raw(_) | Expected::Anything => Self::Start {
                head: [0; HEAD],
                got: 0,
                expected,
            },
        }
    }

    fn jpegs() -> Self {
        Self::Jpegs {
            splitter: Splitter::default(),
            spare: LumaImage::default(),
        }
    }

    /// Room for the next bytes; call [`filled`](Self::filled) afterwards.
    pub fn room(&mut self) -> &mut [u8] {
        match self {
            Self::Start {
                head,
                got,
                expected,
            } => {
                let size = head_size(*expected);
                &mut head[*got..size]
            }
            Self::Raw { bytes, got, .. } => &mut bytes[*got..],
            Self::Jpegs { splitter, .. } => splitter.room(),
            Self::Y4m(y4m) => y4m.room(),
            Self::Unreadable { bytes, .. } => bytes,
        }
    }

    /// Says that the first `count` bytes of the room now contain data.
    pub fn filled(&mut self, count: usize) {
        match self {
            Self::Start { got, .. } | Self::Raw { got, .. } => *got += count,
            Self::Jpegs { splitter, .. } => splitter.filled(count),
            Self::Y4m(y4m) => y4m.to += count,
            Self::Unreadable { .. } => {}
        }
        let Self::Start {
            head,
            got,
            expected,
        } = self
        else {
            return;
        };
        if *got < head_size(*expected) {
            return;
        }
        let (head, got) = (*head, *got);
        *self = Self::of(&head[..got], *expected);
        // Pass on the bytes read so far.
        let mut rest = &head[..got];
        while !rest.is_empty() && !matches!(self, Self::Unreadable { .. }) {
            let room = self.room();
            let count = rest.len().min(room.len());
            room[..count].copy_from_slice(&rest[..count]);
            self.filled(count);
            rest = &rest[count..];
        }
    }

    fn of(head: &[u8], expected: Expected) -> Self {
        if head == y4m::MAGIC {
            return Self::Y4m(Box::default());
        }
        match expected {
            Expected::Raw(layout) => Self::Raw {
                layout,
                bytes: vec![0; layout.frame()],
                got: 0,
            },
            Expected::Jpegs => Self::jpegs(),
            // Plain, or in the parts of an HTTP answer.
            Expected::Anything
                if head.starts_with(jpeg::START)
                    || head.starts_with(b"--")
                    || head.starts_with(b"\r\n--") =>
            {
                Self::jpegs()
            }
            Expected::Anything => Self::Unreadable {
                reason: UNKNOWN.to_owned(),
                bytes: vec![0; CHUNK],
            },
        }
    }

    /// Why this stream cannot be read, if so.
    pub fn unreadable(&self) -> Option<&str> {
        match self {
            Self::Unreadable { reason, .. } => Some(reason),
            _ => None,
        }
    }

    /// The rate that the stream announces, in frames per second.
    pub fn rate(&self) -> Option<f64> {
        match self {
            Self::Y4m(y4m) => y4m.header.as_ref()?.rate.map(|rate| rate.fps()),
            _ => None,
        }
    }

    /// Takes the next frame into `image`, if it is complete.
    pub fn take(&mut self, image: &mut LumaImage) -> Taken {
        match self {
            Self::Start { .. } | Self::Unreadable { .. } => Taken::More,
            Self::Raw { layout, bytes, got } => {
                if *got < bytes.len() {
                    return Taken::More;
                }
                *got = 0;
                (image.width, image.height) = (layout.width, layout.height);
                let pixels = layout.width as usize * layout.height as usize;
                image.pixels.resize(pixels, 0);
                match layout.luma(bytes, &mut image.pixels) {
                    Ok(()) => Taken::Frame,
                    Err(short) => Taken::Broken(short.to_string()),
                }
            }
            Self::Jpegs { splitter, spare } => match splitter.next() {
                Split::More => Taken::More,
                Split::Broken(reason) => Taken::Broken(format!("a JPEG: {reason}")),
                Split::Picture(range) => decode(splitter.bytes(range), spare, image),
            },
            Self::Y4m(y4m) => match y4m.take(image) {
                Ok(taken) => taken,
                Err(reason) => {
                    *self = Self::Unreadable {
                        reason,
                        bytes: vec![0; CHUNK],
                    };
                    Taken::More
                }
            },
        }
    }

    /// As [`take`](Self::take), for the end of the stream: the last JPEG may
    /// lack its end marker.
    pub fn take_last(&mut self, image: &mut LumaImage) -> Taken {
        let Self::Jpegs { splitter, spare } = self else {
            return Taken::More;
        };
        let is_cut = splitter.is_within();
        match splitter.last() {
            Some(range) => decode(splitter.bytes(range), spare, image),
            None if is_cut => Taken::Broken("the last JPEG is cut off".to_owned()),
            None => Taken::More,
        }
    }

    /// A text about an incomplete frame, if there is one.
    pub fn partial(&self) -> Option<String> {
        let of = |got: usize, size: usize| {
            (got > 0).then(|| format!("{got} of the {size} bytes of a frame"))
        };
        match self {
            Self::Start { got, expected, .. } => match expected {
                Expected::Raw(layout) => of(*got, layout.frame()),
                _ => (*got > 0).then(|| format!("{got} bytes")),
            },
            Self::Raw { bytes, got, .. } => of(*got, bytes.len()),
            Self::Jpegs { splitter, .. } => {
                splitter.is_within().then(|| "part of a JPEG".to_owned())
            }
            Self::Y4m(y4m) => (y4m.got > 0).then(|| "part of a frame".to_owned()),
            Self::Unreadable { .. } => None,
        }
    }
}

/// Decodes a JPEG into `image`, which stays as it is if the JPEG is broken.
fn decode(data: &[u8], spare: &mut LumaImage, image: &mut LumaImage) -> Taken {
    match jpeg::luma(data, &mut spare.pixels) {
        Ok((width, height)) => {
            (spare.width, spare.height) = (width, height);
            std::mem::swap(spare, image);
            Taken::Frame
        }
        Err(fault) => Taken::Broken(fault.to_string()),
    }
}

pub const UNKNOWN: &str = "the stream is neither Y4M nor JPEG, and raw frames do not contain their format: \
                           give format and size (board file: capture.format and capture.size; \
                           command line: --format i420 --size 640x480)";

/// How many bytes to read before the stream is recognised. Not more than a
/// frame, because no more may come for a while.
fn head_size(expected: Expected) -> usize {
    match expected {
        Expected::Raw(layout) => layout.frame().min(HEAD),
        Expected::Jpegs | Expected::Anything => HEAD,
    }
}

/// How many bytes of a Y4M are read at once.
const CHUNK: usize = 1 << 16;

/// The longest line of a Y4M.
const MAX_LINE: usize = 4096;

/// Y4M that arrives piece by piece.
pub struct Y4m {
    header: Option<Header>,
    bytes: Vec<u8>,
    /// Start and end of the unused bytes.
    from: usize,
    to: usize,
    part: Part,
    line: Vec<u8>,
    /// Bytes of the present part so far.
    got: usize,
    /// The next frame's line is searched after unknown bytes.
    searching: bool,
    /// The picture that is being filled.
    spare: LumaImage,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    /// The header line, or the line before a frame.
    Line,
    Luma,
    Chroma,
}

impl Default for Y4m {
    fn default() -> Self {
        Self {
            header: None,
            bytes: vec![0; CHUNK],
            from: 0,
            to: 0,
            part: Part::Line,
            line: Vec::with_capacity(MAX_LINE),
            got: 0,
            searching: false,
            spare: LumaImage::default(),
        }
    }
}

impl Y4m {
    fn room(&mut self) -> &mut [u8] {
        if self.from == self.to {
            (self.from, self.to) = (0, 0);
        } else if self.to == self.bytes.len() {
            self.bytes.copy_within(self.from..self.to, 0);
            (self.from, self.to) = (0, self.to - self.from);
        }
        &mut self.bytes[self.to..]
    }

    /// # Errors
    /// The header is wrong; the rest of the stream cannot be read.
    fn take(&mut self, image: &mut LumaImage) -> Result<Taken, String> {
        loop {
            let data = &self.bytes[self.from..self.to];
            if self.part == Part::Line {
                let end = data.iter().position(|&byte| byte == b'\n');
                let count = end.unwrap_or(data.len());
                let kept = count.min(MAX_LINE - self.line.len());
                self.line.extend_from_slice(&data[..kept]);
                self.from += count + usize::from(end.is_some());
                if end.is_none() && self.line.len() < MAX_LINE {
                    return Ok(Taken::More);
                }
                if let Some(broken) = self.end_of_line(end.is_some())? {
                    return Ok(Taken::Broken(broken));
                }
                continue;
            }
            let Some(header) = &self.header else {
                return Ok(Taken::More);
            };
            let size = match self.part {
                Part::Luma => self.spare.pixels.len(),
                _ => header.chroma,
            };
            let count = data.len().min(size - self.got);
            if self.part == Part::Luma {
                self.spare.pixels[self.got..self.got + count].copy_from_slice(&data[..count]);
            }
            self.got += count;
            self.from += count;
            if self.got < size {
                return Ok(Taken::More);
            }
            self.got = 0;
            if self.part == Part::Luma {
                self.part = Part::Chroma;
                continue;
            }
            self.part = Part::Line;
            std::mem::swap(&mut self.spare, image);
            return Ok(Taken::Frame);
        }
    }

    /// Handles a line; `whole` if its end has come. Returns what is wrong if it
    /// is not a frame's line.
    fn end_of_line(&mut self, whole: bool) -> Result<Option<String>, String> {
        let Some(header) = &self.header else {
            if !whole {
                return Err("the Y4M header has no end".to_owned());
            }
            let header = Header::parse(&self.line)?;
            self.line.clear();
            self.header = Some(header);
            return Ok(None);
        };
        let is_mark = whole && (self.line == y4m::MARK || self.line.starts_with(b"FRAME "));
        // After unknown bytes, a frame's line ends with the mark.
        let is_found = whole && self.line.ends_with(y4m::MARK);
        if is_mark || is_found {
            (self.spare.width, self.spare.height) = (header.width, header.height);
            let pixels = header.width as usize * header.height as usize;
            self.spare.pixels.resize(pixels, 0);
            self.part = Part::Luma;
        }
        self.line.clear();
        let is_news = !is_mark && !self.searching;
        self.searching = !is_mark && !is_found;
        Ok(is_news.then(|| "there are unknown bytes between frames".to_owned()))
    }
}

/// A description of a stream's contents.
pub fn describe(expected: Expected, framer: &Framer) -> String {
    match (framer, expected) {
        (Framer::Y4m(y4m), _) => match &y4m.header {
            Some(header) => format!("Y4M {} {}x{}", header.colours, header.width, header.height),
            None => "Y4M".to_owned(),
        },
        (_, Expected::Raw(layout)) => {
            format!("{} {}x{}", layout.format, layout.width, layout.height)
        }
        (Framer::Jpegs { .. }, _) | (_, Expected::Jpegs) => PixelFormat::Mjpg.to_string(),
        (_, Expected::Anything) => "Y4M or JPEGs".to_owned(),
    }
}
