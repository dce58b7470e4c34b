//! Concatenated JPEGs: what most webcams and `ffmpeg -f mjpeg` write.
//!
//! There is no container, so that pictures are found by their markers. A
//! picture that breaks off is noticed where the next one starts.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::ops::Range;

use super::{Recording, Step};
use crate::image::LumaImage;
use crate::image::jpeg::{self, Extent};

/// A picture that has not ended after this many bytes is none.
const MAX_PICTURE: usize = 32 << 20;

/// How much is read at once.
const CHUNK: usize = 1 << 16;

/// Cuts a stream of JPEGs into pictures, in memory that grows with the
/// largest one and is used again.
#[derive(Default)]
pub struct Splitter {
    buffer: Vec<u8>,
    /// Where the unused bytes start and end.
    start: usize,
    end: usize,
    /// Up to here no end marker has been found.
    searched: usize,
}

/// What the bytes so far hold.
#[derive(Debug, PartialEq, Eq)]
pub enum Split {
    /// A picture, in the bytes of [`Splitter::bytes`].
    Picture(Range<usize>),
    Broken(&'static str),
    /// More bytes are needed.
    More,
}

impl Splitter {
    /// Room for the next bytes, to be followed by [`filled`](Self::filled).
    pub fn room(&mut self) -> &mut [u8] {
        if self.buffer.len() - self.end < CHUNK {
            self.buffer.copy_within(self.start..self.end, 0);
            self.searched -= self.start;
            self.end -= self.start;
            self.start = 0;
            if self.buffer.len() - self.end < CHUNK {
                let grown = (self.buffer.len() * 2).max(self.end + CHUNK);
                self.buffer.resize(grown, 0);
            }
        }
        &mut self.buffer[self.end..]
    }

    /// The first `count` bytes of the room now hold data.
    pub fn filled(&mut self, count: usize) {
        self.end += count;
    }

    pub fn bytes(&self, range: Range<usize>) -> &[u8] {
        &self.buffer[range]
    }

    /// Forgets everything.
    pub fn clear(&mut self) {
        (self.start, self.end, self.searched) = (0, 0, 0);
    }

    /// Whether bytes are left that could belong to a picture.
    pub fn is_within(&self) -> bool {
        self.buffer[self.start..self.end].starts_with(&jpeg::START[..2])
    }

    /// The next picture. What lies between pictures (padding, the headers of
    /// a multipart stream) is passed over.
    pub fn next(&mut self) -> Split {
        self.skip_to_start();
        // Only new end markers can complete the picture.
        let from = self.searched.max(self.start).saturating_sub(1);
        let ends = self.buffer[from..self.end]
            .windows(2)
            .any(|w| w == [0xff, 0xd9]);
        self.searched = self.end;
        let len = self.end - self.start;
        if !ends && len <= MAX_PICTURE {
            return Split::More;
        }
        match jpeg::extent(&self.buffer[self.start..self.end]) {
            Extent::Whole(layout) => {
                let range = self.start..self.start + layout.len;
                self.go_on(layout.len);
                Split::Picture(range)
            }
            // An end marker within a segment, as embedded thumbnails have.
            Extent::Short if len <= MAX_PICTURE => Split::More,
            Extent::Short => {
                self.go_on(2);
                Split::Broken("it does not end")
            }
            Extent::Broken { reason, resume } => {
                self.go_on(resume);
                Split::Broken(reason)
            }
        }
    }

    fn go_on(&mut self, count: usize) {
        self.start += count;
        self.searched = self.start;
    }

    fn skip_to_start(&mut self) {
        let found = self.buffer[self.start..self.end]
            .windows(2)
            .position(|w| w == &jpeg::START[..2]);
        let skip = found.unwrap_or_else(|| {
            // The last byte may be the first half of a marker.
            let len = self.end - self.start;
            let half = usize::from(len > 0 && self.buffer[self.end - 1] == 0xff);
            len - half
        });
        self.start += skip;
        self.searched = self.searched.max(self.start);
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
    /// What seeking says.
    pub fn open(mut file: R) -> io::Result<Self> {
        file.seek(SeekFrom::Start(0))?;
        Ok(Self {
            file,
            splitter: Splitter::default(),
            at_end: false,
        })
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
                Split::Picture(range) => {
                    let data = self.splitter.bytes(range);
                    return match jpeg::luma(data, &mut image.pixels) {
                        Ok((width, height)) => {
                            (image.width, image.height) = (width, height);
                            Step::Frame
                        }
                        Err(fault) => Step::Broken(fault.to_string()),
                    };
                }
                Split::Broken(reason) => return Step::Broken(format!("the JPEG: {reason}")),
                Split::More if self.at_end => {
                    let cut = self.splitter.is_within();
                    self.splitter.clear();
                    return if cut {
                        Step::Broken("the last JPEG is cut off".to_owned())
                    } else {
                        Step::End
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
    fn a_picture_that_breaks_off_costs_only_itself() {
        let whole = picture(30);
        // Within the entropy-coded data: the last bytes before the marker.
        let half = &whole[..whole.len() - 3];
        let data = [half, &picture(60), half, &picture(90)].concat();
        assert_eq!(values(&data), [None, Some(60), None, Some(90)]);
        let data = [&picture(60)[..], half].concat();
        assert_eq!(values(&data), [Some(60), None]);
    }

    #[test]
    fn an_embedded_thumbnail_is_no_picture_of_its_own() {
        let thumbnail = picture(200);
        let whole = picture(30);
        let mut segment = vec![0xff, 0xe1];
        segment.extend_from_slice(&u16::to_be_bytes(thumbnail.len() as u16 + 2));
        segment.extend_from_slice(&thumbnail);
        let data = [&whole[..2], &segment, &whole[2..], &picture(60)].concat();
        assert_eq!(values(&data), [Some(30), Some(60)]);
    }

    proptest! {
        /// However the bytes arrive, the same pictures come out.
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
            // Damage within a picture reaches the decoder itself.
            let mut damaged = picture(50);
            for (at, byte) in data.iter().enumerate().take(20) {
                let place = (at * 131 + usize::from(*byte) * 7) % damaged.len();
                damaged[place] = *byte;
            }
            values(&damaged);
        }
    }
}
