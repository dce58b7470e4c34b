//! Concatenated JPEGs, as most webcams and `ffmpeg -f mjpeg` write them.
//!
//! There is no container, so pictures are found by their markers. A picture
//! ends at its end marker, or where the next one starts: end markers may be
//! missing, and a picture that breaks off does not damage the next one.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::recording::{Recording, Step};
use crate::image::LumaImage;
use crate::image::jpeg;

/// The largest picture in bytes.
const MAX_PICTURE: usize = 32 << 20;

/// The most bytes of a picture besides its pixels: a thumbnail, a colour
/// profile.
const MAX_HEADERS: usize = 2 << 20;

/// Bytes per pixel at most. Cameras stay far below 1.
const MAX_BYTES_PER_PIXEL: usize = 2;

/// How much is read at once.
const CHUNK: usize = 1 << 16;

/// Cuts a stream of JPEGs into pictures, in memory that grows to the largest
/// picture and is reused.
#[derive(Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Start and end of the unused bytes.
    start: usize,
    end: usize,
    walk: Walk,
}

/// What the splitter found in the bytes so far.
#[derive(Debug, PartialEq, Eq)]
pub enum Split {
    /// Probably a picture, in the bytes of [`Splitter::bytes`]. Its end marker
    /// may be missing, or its end: only the decoder knows.
    Picture(Range<usize>),
    Broken(&'static str),
    /// More bytes are needed.
    More,
}

impl Splitter {
    /// Room for the next bytes; call [`filled`](Self::filled) afterwards.
    pub fn room(&mut self) -> &mut [u8] {
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < CHUNK {
                let most = self.walk.limit() + 2 * CHUNK;
                let grown = (self.buffer.len() * 2).min(most).max(self.end + CHUNK);
                self.buffer.resize(grown, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// Says that the first `count` bytes of the room now contain data.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
    }

    /// Size of its memory in bytes.
    #[cfg(test)]
    pub fn capacity(&self) -> usize {
        self.buffer.capacity()
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.start, self.end) = (0, 0);
        self.walk = Walk::default();
    }

    /// Whether there are unused bytes that could belong to a picture.
    pub fn is_within(&self) -> bool {
        self.buffer[self.start..self.end].starts_with(&jpeg::START[..2])
    }

    /// The next picture. Bytes between pictures (padding, the headers of a
    /// multipart stream) are skipped.
    pub fn next(&mut self) -> Split {
        if self.walk.at == 0 {
            self.skip_to_start();
        }
        match self.walk.on(&self.buffer[self.start..self.end]) {
            Walked::Picture(len) => {
                let range = self.start..self.start + len;
                self.go_on(len);
                Split::Picture(range)
            }
            Walked::Broken { reason, resume } => {
                self.go_on(resume);
                Split::Broken(reason)
            }
            Walked::More if self.end - self.start <= self.walk.limit() => Split::More,
            Walked::More => {
                // In a scan, every byte has already been searched for a start.
                let resume = if self.walk.in_scan {
                    self.walk.at
                } else {
                    self.walk.segment + 2
                };
                self.go_on(resume);
                Split::Broken("it does not end")
            }
        }
    }

    /// The remaining bytes at the end of the stream, if they may be a picture.
    pub fn last(&mut self) -> Option<Range<usize>> {
        let rest = self.start..self.end;
        let is_picture = self.walk.in_scan && self.is_within();
        self.walk = Walk::default();
        self.start = self.end;
        is_picture.then_some(rest)
    }

    fn go_on(&mut self, count: usize) {
        self.start += count;
        self.walk = Walk::default();
    }

    fn skip_to_start(&mut self) {
        let found = self.buffer[self.start..self.end]
            .windows(2)
            .position(|w| w == &jpeg::START[..2]);
        self.start += found.unwrap_or_else(|| {
            // The last byte may be the first half of a marker.
            let len = self.end - self.start;
            let half = usize::from(len > 0 && self.buffer[self.end - 1] == 0xff);
            len - half
        });
    }
}

/// Walks through the markers of a picture while its bytes arrive, and reads
/// each byte only once.
#[derive(Default)]
struct Walk {
    /// The next byte to read, counted from the picture's start.
    at: usize,
    in_scan: bool,
    /// Where the last segment starts. If the picture breaks off in this
    /// segment, the next picture starts inside of its supposed contents.
    /// Earlier segments are complete, and a thumbnail in them is not a picture
    /// of the stream.
    segment: usize,
    /// From the frame header; 0 before.
    pixels: usize,
}

enum Walked {
    /// It has this many bytes.
    Picture(usize),
    /// The search for the next picture can continue at byte `resume`.
    Broken {
        reason: &'static str,
        resume: usize,
    },
    More,
}

impl Walk {
    /// A picture that has not ended after this many bytes counts as broken.
    fn limit(&self) -> usize {
        (MAX_HEADERS + self.pixels.saturating_mul(MAX_BYTES_PER_PIXEL)).min(MAX_PICTURE)
    }

    /// Continues with all bytes that the picture has so far.
    fn on(&mut self, data: &[u8]) -> Walked {
        if self.at == 0 {
            if !data.starts_with(&jpeg::START[..2]) {
                return Walked::More;
            }
            self.at = 2;
        }
        loop {
            let Some(gap) = data[self.at..].iter().position(|&byte| byte == 0xff) else {
                if !self.in_scan && self.at < data.len() {
                    return self.broken("bytes lie between its segments");
                }
                self.at = data.len();
                return Walked::More;
            };
            // Only fill bytes (0xFF) may be between segments.
            if !self.in_scan && gap > 0 {
                return self.broken("bytes lie between its segments");
            }
            self.at += gap;
            let Some(&marker) = data.get(self.at + 1) else {
                return Walked::More;
            };
            match marker {
                // A fill byte: the next one may start the marker.
                0xff => self.at += 1,
                // A stuffed 0xFF and the restart markers belong to the scan.
                0x00 | 0xd0..=0xd7 if self.in_scan => self.at += 2,
                0x01 => self.at += 2,
                0xd8 if self.in_scan => return Walked::Picture(self.at),
                0xd8 => {
                    return Walked::Broken {
                        reason: "another picture starts in its headers",
                        resume: self.at,
                    };
                }
                0xd9 if self.in_scan => return Walked::Picture(self.at + 2),
                0xd9 => {
                    return Walked::Broken {
                        reason: "it ends before any picture data",
                        resume: self.at + 2,
                    };
                }
                0xc0..=0xcf | 0xda..=0xdf | 0xe0..=0xef | 0xfe => {
                    let Some(length) = data.get(self.at + 2..self.at + 4) else {
                        return Walked::More;
                    };
                    let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
                    if length < 2 {
                        return self.broken("a segment has no length");
                    }
                    let Some(segment) = data.get(self.at + 4..self.at + 2 + length) else {
                        return Walked::More;
                    };
                    match (marker, segment) {
                        (0xda, _) => self.in_scan = true,
                        (0xc4 | 0xc8 | 0xcc, _) => {}
                        (0xc0..=0xcf, [_, height @ .., _]) if height.len() >= 4 => {
                            let side = |at: usize| {
                                usize::from(u16::from_be_bytes([height[at], height[at + 1]]))
                            };
                            self.pixels = side(0) * side(2);
                        }
                        _ => {}
                    }
                    self.segment = self.at;
                    self.at += 2 + length;
                }
                _ => return self.broken("it has an unknown marker"),
            }
        }
    }

    const fn broken(&self, reason: &'static str) -> Walked {
        Walked::Broken {
            reason,
            resume: self.segment + 2,
        }
    }
}

/// A file of concatenated JPEGs.
pub struct Mjpeg<R = File> {
    file: R,
    splitter: Splitter,
    at_end: bool,
}

impl<R: Read + Seek> Mjpeg<R> {
    /// Starts at the file's first byte.
    ///
    /// # Errors
    /// The file cannot be positioned.
    pub fn open(mut file: R) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            file,
            splitter: Splitter::default(),
            at_end: false,
        })
    }

    fn decode(&mut self, range: Range<usize>, image: &mut LumaImage) -> Step {
        let data = self.splitter.bytes(range);
        match jpeg::luma(data, &mut image.pixels) {
            Ok((width, height)) => {
                (image.width, image.height) = (width, height);
                Step::Frame
            }
            Err(fault) => Step::Broken(fault.to_string()),
        }
    }

    fn read_more(&mut self) -> io::Result<()> {
        loop {
            match self.file.read(self.splitter.room()) {
                Ok(0) => self.at_end = true,
                Ok(n) => self.splitter.filled(n),
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                Err(e) => return Err(e),
            }
            return Ok(());
        }
    }
}

impl<R: Read + Seek> Recording for Mjpeg<R> {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        loop {
            match self.splitter.next() {
                Split::Picture(range) => return self.decode(range, image),
                Split::Broken(reason) => return Step::Broken(format!("the JPEG: {reason}")),
                Split::More if self.at_end => {
                    let cut = self.splitter.is_within();
                    return match self.splitter.last() {
                        Some(range) => self.decode(range, image),
                        None if cut => Step::Broken("the last JPEG is cut off".to_owned()),
                        None => Step::End,
                    };
                }
                Split::More => {
                    if let Err(error) = self.read_more() {
                        log::warn!("the recording cannot be read further: {error}");
                        return Step::End;
                    }
                }
            }
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.splitter.clear();
        self.at_end = false;
        self.file.seek(SeekFrom::Start(0)).map(|_| ())
    }

    fn kind(&self) -> String {
        "Motion-JPEG".to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    /// A gray JPEG whose pixels all have (nearly) this value.
    fn picture(value: u8) -> Vec<u8> {
        let mut out = Vec::new();
        jpeg_encoder::Encoder::new(&mut out, 95)
            .encode(&[value; 16 * 8], 16, 8, jpeg_encoder::ColorType::Luma)
            .unwrap();
        out
    }

    /// The first pixel of every frame, `None` for a broken place.
    fn values(data: &[u8]) -> Vec<Option<u8>> {
        let mut video = Mjpeg::open(Cursor::new(data)).unwrap();
        let mut image = LumaImage::default();
        let mut found = Vec::new();
        loop {
            match video.read(&mut image) {
                Step::Frame => found.push(Some(image.pixels[0])),
                Step::Broken(_) => found.push(None),
                Step::End => return found,
            }
        }
    }

    #[test]
    fn pictures_follow_each_other_with_and_without_padding() {
        let data = [
            &[0; 3][..],
            &picture(30),
            &picture(60),
            b"\r\n--boundary\r\nContent-Type: image/jpeg\r\n\r\n",
            &picture(90),
            &[0; 100],
        ]
        .concat();
        assert_eq!(values(&data), [Some(30), Some(60), Some(90)]);
    }

    #[test]
    fn a_picture_without_its_end_marker_is_used() {
        let whole = picture(30);
        let open = &whole[..whole.len() - 2];
        let data = [open, &picture(60), open, open].concat();
        assert_eq!(values(&data), [Some(30), Some(60), Some(30), Some(30)]);
    }

    #[test]
    fn a_thumbnail_of_a_broken_picture_is_not_shown_in_its_place() {
        let thumbnail = picture(200);
        let whole = picture(30);
        let mut segment = vec![0xff, 0xe1];
        segment.extend_from_slice(&u16::to_be_bytes(thumbnail.len() as u16 + 2));
        segment.extend_from_slice(&thumbnail);
        let broken = [&whole[..2], &segment, &whole[2..40], b"no segment"].concat();
        assert_eq!(
            values(&[&broken[..], &picture(60)].concat()),
            [None, Some(60)]
        );
    }

    #[test]
    fn a_picture_that_breaks_off_does_not_damage_the_next() {
        let whole = picture(30);
        // Inside of the entropy-coded data: the last bytes before the marker.
        let half = &whole[..whole.len() - 3];
        let data = [half, &picture(60), half, &picture(90)].concat();
        assert_eq!(values(&data), [None, Some(60), None, Some(90)]);
        let data = [&picture(60)[..], half].concat();
        assert_eq!(values(&data), [Some(60), None]);
    }

    #[test]
    fn an_embedded_thumbnail_is_not_a_separate_picture() {
        let thumbnail = picture(200);
        let whole = picture(30);
        let mut segment = vec![0xff, 0xe1];
        segment.extend_from_slice(&u16::to_be_bytes(thumbnail.len() as u16 + 2));
        segment.extend_from_slice(&thumbnail);
        let data = [&whole[..2], &segment, &whole[2..], &picture(60)].concat();
        assert_eq!(values(&data), [Some(30), Some(60)]);
    }

    proptest! {
        /// The same pictures come out, in whatever pieces the bytes arrive.
        #[test]
        fn pieces_of_any_size(pieces in proptest::collection::vec(1usize..400, 1..40)) {
            let data = [picture(10), picture(20), vec![1, 2, 3], picture(30)].concat();
            let mut splitter = Splitter::default();
            let (mut fed, mut found, mut turn) = (0, Vec::new(), 0);
            loop {
                match splitter.next() {
                    Split::Picture(range) => found.push(splitter.bytes(range).to_vec()),
                    Split::Broken(reason) => prop_assert!(false, "{}", reason),
                    Split::More if fed == data.len() => break,
                    Split::More => {
                        let count = pieces[turn % pieces.len()].min(data.len() - fed);
                        turn += 1;
                        splitter.room()[..count].copy_from_slice(&data[fed..fed + count]);
                        splitter.filled(count);
                        fed += count;
                    }
                }
            }
            prop_assert_eq!(found, vec![picture(10), picture(20), picture(30)]);
        }

        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..400)) {
            values(&data);
            // Damage inside of a picture reaches the decoder.
            let mut damaged = picture(50);
            for (at, byte) in data.iter().enumerate().take(20) {
                let place = (at * 131 + usize::from(*byte) * 7) % damaged.len();
                damaged[place] = *byte;
            }
            values(&damaged);
        }
    }
}
