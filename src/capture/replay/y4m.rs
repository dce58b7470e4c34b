//! Y4M (`YUV4MPEG2`), the uncompressed format that mjpegtools defined and
//! ffmpeg writes: a header line, then `FRAME` lines each followed by planes.
//!
//! 8 bits per sample; only the luma plane is kept. Interlaced frames are used
//! unchanged, both fields in one picture.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Seek, SeekFrom};

use log::info;

use super::recording::{Rate, Recording, Step};
use crate::frame::MAX_SIDE;
use crate::image::LumaImage;

pub const MAGIC: &[u8] = b"YUV4MPEG2 ";

/// A longer line is not from a Y4M: a real one's parameters have about 60
/// bytes.
const MAX_LINE: usize = 4096;

/// The values of the header line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    pub width: u32,
    pub height: u32,
    pub rate: Option<Rate>,
    /// Bytes of chroma after the luma plane.
    pub chroma: usize,
    /// The colour tag, as in the header.
    pub colours: String,
    interlaced: bool,
}

impl Header {
    pub fn parse(line: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(line).map_err(|_| "the Y4M header is not text")?;
        let mut parameters = text.split(' ');
        if parameters.next() != Some("YUV4MPEG2") {
            return Err("does not start with YUV4MPEG2".to_owned());
        }
        let (mut width, mut height, mut rate) = (None, None, None);
        let mut colours = "420";
        let mut interlaced = false;
        for parameter in parameters.filter(|p| !p.is_empty()) {
            let tag = parameter.as_bytes()[0];
            let value = parameter.get(1..).unwrap_or("");
            match tag {
                b'W' => width = Some(side(value)?),
                b'H' => height = Some(side(value)?),
                b'F' => rate = parse_rate(value)?,
                b'C' => colours = value,
                b'I' => interlaced = matches!(value, "t" | "b" | "m"),
                // Pixel aspect, comments and parameters of later versions.
                _ => {}
            }
        }
        let (Some(width), Some(height)) = (width, height) else {
            return Err("the Y4M header has no width or no height".to_owned());
        };
        if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
            return Err(format!(
                "a Y4M of {width}x{height}: both sides must be from 1 to {MAX_SIDE} pixels"
            ));
        }
        let (w, h) = (width as usize, height as usize);
        let chroma = match colours {
            "420" | "420jpeg" | "420mpeg2" | "420paldv" => 2 * w.div_ceil(2) * h.div_ceil(2),
            "422" => 2 * w.div_ceil(2) * h,
            "411" => 2 * w.div_ceil(4) * h,
            "444" => 2 * w * h,
            "444alpha" => 3 * w * h,
            "mono" => 0,
            other => {
                return Err(format!(
                    "Y4M colours C{other} are not supported, only 8-bit C420 (jpeg, mpeg2, paldv), C422, C411, C444 and Cmono; convert the file with ffmpeg -i FILE -pix_fmt gray OUT.y4m"
                ));
            }
        };
        Ok(Self {
            width,
            height,
            rate,
            chroma,
            colours: colours.to_owned(),
            interlaced,
        })
    }
}

fn side(value: &str) -> Result<u32, String> {
    value
        .parse()
        .map_err(|_| format!("'{value}' in the Y4M header is not a width or height"))
}

/// `NUM:DEN`; 0:0 stands for unknown.
fn parse_rate(value: &str) -> Result<Option<Rate>, String> {
    let wrong = || format!("'{value}' in the Y4M header is not a frame rate");
    let (num, den) = value.split_once(':').ok_or_else(wrong)?;
    let num: u32 = num.parse().map_err(|_| wrong())?;
    let den: u32 = den.parse().map_err(|_| wrong())?;
    Ok((num > 0 && den > 0).then_some(Rate { num, den }))
}

/// The text at the start of each frame.
pub const MARK: &[u8] = b"FRAME";

/// A Y4M file.
pub struct Y4m<R = File> {
    reader: BufReader<R>,
    header: Header,
    /// The position of the first `FRAME`.
    start: u64,
    line: Vec<u8>,
}

impl<R: Read + Seek> Y4m<R> {
    /// Reads the header.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn open(file: R) -> Result<Self, String> {
        let mut reader = BufReader::with_capacity(1 << 16, file);
        let mut line = Vec::with_capacity(128);
        match read_line(&mut reader, &mut line) {
            Ok(Line::Whole) => {}
            Ok(_) => return Err("the Y4M header has no end".to_owned()),
            Err(error) => return Err(error.to_string()),
        }
        let header = Header::parse(&line)?;
        if header.interlaced {
            info!("the Y4M is interlaced: moving faces have combed edges");
        }
        Ok(Self {
            reader,
            header,
            start: line.len() as u64 + 1,
            line,
        })
    }

    pub const fn rate(&self) -> Option<Rate> {
        self.header.rate
    }

    fn read_frame(&mut self, image: &mut LumaImage) -> io::Result<Step> {
        match read_line(&mut self.reader, &mut self.line)? {
            Line::End => return Ok(Step::End),
            Line::Whole if self.line == b"FRAME" || self.line.starts_with(b"FRAME ") => {}
            _ => {
                // A FRAME may be inside of the supposed line. The one at its
                // start must not be found again, because its parameters have no
                // end.
                let taken = self.line.len() + 1;
                let known = if self.line.starts_with(MARK) {
                    MARK.len()
                } else {
                    0
                };
                self.reader.seek_relative(-((taken - known) as i64))?;
                return self.find_frame();
            }
        }
        image.width = self.header.width;
        image.height = self.header.height;
        image
            .pixels
            .resize(image.width as usize * image.height as usize, 0);
        let chroma = self.header.chroma as u64;
        let whole = self.reader.read_exact(&mut image.pixels).and_then(|()| {
            let skipped = io::copy(&mut self.reader.by_ref().take(chroma), &mut io::sink())?;
            if skipped == chroma {
                Ok(())
            } else {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
        });
        match whole {
            Ok(()) => Ok(Step::Frame),
            Err(e) if e.kind() == io::ErrorKind::UnexpectedEof => {
                Ok(Step::Broken("the last frame is cut off".to_owned()))
            }
            Err(e) => Err(e),
        }
    }

    /// Searches the next `FRAME` line after other bytes.
    fn find_frame(&mut self) -> io::Result<Step> {
        let mut matched = 0;
        loop {
            let data = self.reader.fill_buf()?;
            if data.is_empty() {
                break;
            }
            let mut used = 0;
            for &byte in data {
                // Only the first byte of FRAME is an F, so after a mismatch a
                // new match can only start at an F.
                if matched == MARK.len() && matches!(byte, b'\n' | b' ') {
                    break;
                }
                matched = if matched < MARK.len() && byte == MARK[matched] {
                    matched + 1
                } else {
                    usize::from(byte == MARK[0])
                };
                used += 1;
            }
            let found = used < data.len();
            self.reader.consume(used);
            if found {
                // Back before it, for the next call.
                self.reader.seek_relative(-(MARK.len() as i64))?;
                break;
            }
        }
        Ok(Step::Broken(
            "there are unknown bytes between frames".to_owned(),
        ))
    }
}

impl<R: Read + Seek> Recording for Y4m<R> {
    fn read(&mut self, image: &mut LumaImage) -> Step {
        match self.read_frame(image) {
            Ok(step) => step,
            Err(error) => {
                log::warn!("the Y4M cannot be read further: {error}");
                Step::End
            }
        }
    }

    fn rewind(&mut self) -> io::Result<()> {
        self.reader.seek(SeekFrom::Start(self.start)).map(|_| ())
    }

    fn kind(&self) -> String {
        format!("Y4M {}", self.header.colours)
    }
}

enum Line {
    Whole,
    TooLong,
    End,
}

/// Reads a line, without its end, into `line`.
fn read_line(reader: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    reader
        .by_ref()
        .take(MAX_LINE as u64)
        .read_until(b'\n', line)?;
    Ok(match line.pop() {
        None => Line::End,
        Some(b'\n') => Line::Whole,
        Some(_) => Line::TooLong,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::io::Cursor;

    fn open(data: &[u8]) -> Result<Y4m<Cursor<&[u8]>>, String> {
        Y4m::open(Cursor::new(data))
    }

    /// Reads everything; frames as their pixels, broken places as `None`.
    fn read_all<R: Read + Seek>(video: &mut Y4m<R>) -> Vec<Option<Vec<u8>>> {
        let mut image = LumaImage::default();
        let mut found = Vec::new();
        loop {
            match video.read(&mut image) {
                Step::Frame => found.push(Some(image.pixels.clone())),
                Step::Broken(_) => found.push(None),
                Step::End => return found,
            }
        }
    }

    /// Two frames of 3x3 whose chroma is 0xee.
    fn two_frames(colours: &str, chroma: usize) -> Vec<u8> {
        let mut data = format!("YUV4MPEG2 W3 H3 F30000:1001 Ip A1:1 {colours}\n").into_bytes();
        for base in [10u8, 20] {
            data.extend_from_slice(b"FRAME\n");
            data.extend(base..base + 9);
            data.resize(data.len() + chroma, 0xee);
        }
        data
    }

    #[test]
    fn every_chroma_layout_is_stepped_over() {
        for (tag, chroma) in [
            ("", 8),
            ("C420", 8),
            ("C420jpeg", 8),
            ("C420paldv", 8),
            ("C420mpeg2 XYSCSS=420MPEG2", 8),
            ("C422", 12),
            ("C411", 6),
            ("C444", 18),
            ("C444alpha", 27),
            ("Cmono", 0),
        ] {
            let data = two_frames(tag, chroma);
            let mut video = open(&data).unwrap();
            assert_eq!(
                video.rate(),
                Some(Rate {
                    num: 30000,
                    den: 1001
                })
            );
            let frames = [(10..19).collect(), (20..29).collect()];
            assert_eq!(read_all(&mut video), frames.clone().map(Some), "{tag}");
            video.rewind().unwrap();
            assert_eq!(read_all(&mut video), frames.map(Some), "{tag} again");
        }
    }

    #[test]
    fn frame_lines_may_have_parameters() {
        let data = b"YUV4MPEG2 W1 H1 Cmono\nFRAME Ip XABC\n\x07FRAME\n\x08";
        assert_eq!(
            read_all(&mut open(data).unwrap()),
            [Some(vec![7]), Some(vec![8])]
        );
    }

    #[test]
    fn a_cut_off_frame_is_reported_and_the_others_are_kept() {
        let data = two_frames("C420", 8);
        for cut in 1..8 + 9 {
            let found = read_all(&mut open(&data[..data.len() - cut]).unwrap());
            assert_eq!(found, [Some((10..19).collect()), None], "{cut} bytes less");
        }
    }

    #[test]
    fn reading_continues_after_unknown_bytes() {
        let mut data = b"YUV4MPEG2 W1 H1 Cmono\nFRAME\n\x07".to_vec();
        data.extend_from_slice(b"FRgarbage FRAMEx FRFRAM");
        data.extend_from_slice(b"FRAME\n\x08");
        assert_eq!(
            read_all(&mut open(&data).unwrap()),
            [Some(vec![7]), None, Some(vec![8])]
        );
    }

    #[test]
    fn parameters_without_an_end_are_skipped_once() {
        let start = b"YUV4MPEG2 W1 H1 Cmono\nFRAME\n\x07FRAME ";
        assert_eq!(
            read_all(&mut open(start).unwrap()),
            [Some(vec![7]), None],
            "at the end of the file"
        );
        let mut data = start.to_vec();
        data.resize(data.len() + 3 * MAX_LINE, b'x');
        data.extend_from_slice(b"FRAME\n\x08");
        assert_eq!(
            read_all(&mut open(&data).unwrap()),
            [Some(vec![7]), None, Some(vec![8])]
        );
    }

    #[test]
    fn wrong_headers_say_what_is_wrong() {
        for (header, part) in [
            ("YUV4MPEG2 W3\n", "no height"),
            ("YUV4MPEG2 W3 Hx\n", "'x'"),
            ("YUV4MPEG2 W0 H3\n", "0x3"),
            ("YUV4MPEG2 W3 H8001\n", "8000"),
            ("YUV4MPEG2 W99999999999 H3\n", "99999999999"),
            ("YUV4MPEG2 W3 H3 C420p10\n", "C420p10"),
            ("YUV4MPEG2 W3 H3 F25\n", "frame rate"),
            ("YUV4MPEG2 W3 H3", "no end"),
            ("", "no end"),
        ] {
            let error = open(header.as_bytes()).err().unwrap();
            assert!(error.contains(part), "{header:?}: {error}");
        }
        assert_eq!(open(b"YUV4MPEG2 W3 H3 F0:0\n").unwrap().rate(), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(data in proptest::collection::vec(any::<u8>(), 0..300), head in 0usize..3) {
            let mut file = match head {
                0 => Vec::new(),
                1 => b"YUV4MPEG2 ".to_vec(),
                _ => b"YUV4MPEG2 W3 H2 C420\nFRAME\n".to_vec(),
            };
            file.extend(data);
            if let Ok(mut video) = open(&file) {
                prop_assert!(read_all(&mut video).len() <= file.len());
            }
        }
    }
}
