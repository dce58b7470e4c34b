//! PGM to luma: binary (`P5`) and text (`P2`), of 8 and 16 bits.
//!
//! The format is that of Netpbm (<https://netpbm.sourceforge.net/doc/pgm.html>).
//! Samples are scaled so that the file's largest value becomes 255, rounded to
//! the nearest. With a largest value of 65535 the upper byte is taken, as with
//! 16-bit PNG and as OpenCV does.
//!
//! A file may hold several pictures one after the other; the first one is read.

use super::Fault;
use crate::frame::MAX_SIDE;

const KIND: &str = "PGM";

/// Whether the bytes begin like a file of the Netpbm family (`P1` to `P7`).
#[must_use]
pub fn is_netpbm(data: &[u8]) -> bool {
    match data {
        [b'P', b'1'..=b'7', rest @ ..] => rest
            .first()
            .is_none_or(|byte| byte.is_ascii_whitespace() || *byte == b'#'),
        _ => false,
    }
}

/// Decodes a PGM to luma into `out`, which grows if it is too small.
///
/// # Errors
/// The picture is invalid; other formats of the family, such as PPM, are named.
pub fn luma(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let mut reader = Numbers { data, at: 2 };
    let text = match data.get(1) {
        Some(b'2') => true,
        Some(b'5') => false,
        other => {
            let digit = other.map_or('?', |&digit| char::from(digit));
            return Err(Fault::Unsupported {
                kind: "Netpbm file",
                reason: format!("it is P{digit}; convert it to PGM (P5) or PNG"),
            });
        }
    };
    let (width, height) = (reader.header("width")?, reader.header("height")?);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(Fault::Size { width, height });
    }
    let largest = reader.header("largest value")?;
    let largest = u16::try_from(largest)
        .ok()
        .filter(|&largest| largest > 0)
        .ok_or_else(|| damaged(format!("the largest value is {largest}, not 1 to 65535")))?;

    let count = width as usize * height as usize;
    // Exactly one white space character comes before binary samples.
    if !text && !reader.skip_white_space() {
        return Err(reader.incomplete("no white space after the largest value"));
    }
    let samples = reader.rest();
    // Checked before memory is allocated for pixels: each sample has at least
    // this many bytes.
    let least = if text || largest < 256 { 1 } else { 2 };
    if samples.len() < count.saturating_mul(least) {
        return Err(Fault::Truncated(KIND));
    }
    out.resize(count, 0);
    if text {
        for pixel in out.iter_mut() {
            let value = reader.number()?.ok_or(Fault::Truncated(KIND))?;
            *pixel = scaled(value, largest)?;
        }
    } else if largest == 255 {
        out.copy_from_slice(&samples[..count]);
    } else if largest < 256 {
        for (pixel, &value) in out.iter_mut().zip(samples) {
            *pixel = scaled(value.into(), largest)?;
        }
    } else {
        for (pixel, value) in out.iter_mut().zip(samples.chunks_exact(2)) {
            let value = u16::from_be_bytes([value[0], value[1]]);
            *pixel = scaled(value.into(), largest)?;
        }
    }
    Ok((width, height))
}

/// Decodes a PGM to RGB into `out`: three equal values per pixel.
///
/// # Errors
/// The picture is invalid.
pub fn rgb(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let mut gray = Vec::new();
    let size = luma(data, &mut gray)?;
    out.clear();
    out.extend(gray.iter().flat_map(|&value| [value; 3]));
    Ok(size)
}

fn scaled(value: u32, largest: u16) -> Result<u8, Fault> {
    let most = u32::from(largest);
    if value > most {
        return Err(damaged(format!(
            "a sample is {value}, above the largest value {largest}"
        )));
    }
    Ok(match largest {
        u16::MAX => (value >> 8) as u8,
        _ => ((value * 255 + most / 2) / most) as u8,
    })
}

fn damaged(reason: String) -> Fault {
    Fault::Damaged { kind: KIND, reason }
}

/// Reads decimal numbers between white space and comments.
struct Numbers<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> Numbers<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.data[self.at..]
    }

    fn skip_white_space(&mut self) -> bool {
        let found = self.rest().first().is_some_and(u8::is_ascii_whitespace);
        self.at += usize::from(found);
        found
    }

    /// The next number; `None` at the end of the file.
    fn number(&mut self) -> Result<Option<u32>, Fault> {
        while let Some(&byte) = self.data.get(self.at) {
            if byte == b'#' {
                let line = self.rest().iter().position(|&b| matches!(b, b'\n' | b'\r'));
                self.at = line.map_or(self.data.len(), |length| self.at + length);
            } else if byte.is_ascii_whitespace() {
                self.at += 1;
            } else {
                break;
            }
        }
        let start = self.at;
        let mut value = 0_u32;
        while let Some(&byte) = self.data.get(self.at) {
            if !byte.is_ascii_digit() {
                break;
            }
            // A number that is too large is refused by its range later.
            value = value
                .saturating_mul(10)
                .saturating_add(u32::from(byte - b'0'));
            self.at += 1;
        }
        if self.at > start {
            return Ok(Some(value));
        }
        match self.rest().first() {
            None => Ok(None),
            Some(byte) => Err(damaged(format!(
                "'{}' is in the place of a number",
                byte.escape_ascii()
            ))),
        }
    }

    fn header(&mut self, what: &str) -> Result<u32, Fault> {
        self.number()?
            .ok_or_else(|| self.incomplete(&format!("no {what}")))
    }

    fn incomplete(&self, what: &str) -> Fault {
        if self.rest().is_empty() {
            Fault::Truncated(KIND)
        } else {
            damaged(what.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(data: &[u8]) -> Result<((u32, u32), Vec<u8>), Fault> {
        let mut out = Vec::new();
        luma(data, &mut out).map(|size| (size, out))
    }

    fn reason(data: &[u8]) -> String {
        decoded(data).unwrap_err().to_string()
    }

    #[test]
    fn binary_and_text_of_8_and_16_bits() {
        let expected = Ok(((3, 2), vec![0, 1, 127, 128, 254, 255]));
        let binary = b"P5 3 2 255\n\x00\x01\x7f\x80\xfe\xff";
        assert_eq!(decoded(binary), expected);
        assert_eq!(decoded(b"P2\n3 2\n255\n0 1 127\n128 254 255\n"), expected);
        let wide = b"P5 3 2 65535\n\x00\xff\x01\x00\x7f\xff\x80\x00\xfe\x80\xff\xff";
        assert_eq!(decoded(wide), expected);
        assert_eq!(
            decoded(b"P2 3 2 65535 255 256 32767 32768 65152 65535"),
            expected
        );
    }

    #[test]
    fn the_largest_value_becomes_255() {
        assert_eq!(decoded(b"P2 3 1 2 0 1 2").unwrap().1, [0, 128, 255]);
        assert_eq!(decoded(b"P5 3 1 15\n\x00\x05\x0f").unwrap().1, [0, 85, 255]);
        // 10-bit and 12-bit cameras.
        let file = b"P5 3 1 1023\n\x00\x00\x02\x00\x03\xff";
        assert_eq!(decoded(file).unwrap().1, [0, 128, 255]);
        assert_eq!(decoded(b"P2 2 1 4095 2048 4095").unwrap().1, [128, 255]);
    }

    #[test]
    fn comments_and_white_space_are_skipped() {
        let file = b"P5# made by hand\n# two lines\n 2#x\r\n1\t255 #\x09";
        assert_eq!(decoded(file), Ok(((2, 1), vec![b'#', 9])));
        let file = b"P2\n2 1 # width, height\n255\n7 # a sample\n8";
        assert_eq!(decoded(file), Ok(((2, 1), vec![7, 8])));
    }

    #[test]
    fn what_follows_the_picture_is_left_alone() {
        assert_eq!(decoded(b"P5 1 1 255\n\x07P5 1 1"), Ok(((1, 1), vec![7])));
        assert_eq!(decoded(b"P2 1 1 255 7\nP2 1 1"), Ok(((1, 1), vec![7])));
    }

    #[test]
    fn rgb_is_gray() {
        let mut out = vec![1];
        assert_eq!(rgb(b"P5 2 1 255\n\x07\x08", &mut out), Ok((2, 1)));
        assert_eq!(out, [7, 7, 7, 8, 8, 8]);
    }

    #[test]
    fn files_that_end_too_soon() {
        let whole = b"P5 2 2 255\n\x01\x02\x03\x04";
        for length in 2..whole.len() {
            let part = &whole[..length];
            assert_eq!(decoded(part), Err(Fault::Truncated(KIND)), "{part:?}");
        }
        // The last one lacks a sample, and its last number is whole.
        for part in [
            "P2",
            "P2 2",
            "P2 2 2 255",
            "P2 2 2 255 1 2 3",
            "P2 2 2 255 1 22 3 ",
        ] {
            assert_eq!(
                decoded(part.as_bytes()),
                Err(Fault::Truncated(KIND)),
                "{part}"
            );
        }
        let wide = b"P5 2 1 256\n\x00\x01\x00";
        assert_eq!(decoded(wide), Err(Fault::Truncated(KIND)));
    }

    #[test]
    fn bad_files_are_refused_with_the_reason() {
        for (file, text) in [
            (&b"P5 2x1 255\n\x01\x02"[..], "'x' is in the place"),
            (b"P5 -2 1 255\n\x01\x02", "'-' is in the place"),
            (b"P2 3 1 255 1 2.5", "'.' is in the place"),
            (b"P5 2 1 0\n\x00\x00", "largest value is 0"),
            (b"P5 2 1 65536\n\x00\x00\x00\x00", "largest value is 65536"),
            (b"P5 2 1 15\n\x00\x10", "a sample is 16"),
            (b"P2 2 1 255 0 256", "a sample is 256"),
            (b"P5 2 1 1023\n\x00\x00\x04\x00", "a sample is 1024"),
            (b"P5 2 1 255x\x01\x02", "no white space"),
            (b"P6 1 1 255\n\x01\x02\x03", "P6"),
            (b"P7\nWIDTH 1\n", "P7"),
        ] {
            assert!(reason(file).contains(text), "{}", reason(file));
        }
        for size in ["0 1", "1 0", "8001 1", "1 4294967295", "99999999999 1"] {
            let file = format!("P5 {size} 255\n12");
            assert!(
                matches!(decoded(file.as_bytes()), Err(Fault::Size { .. })),
                "{size}"
            );
        }
        // No memory is allocated for missing pixels.
        assert!(matches!(
            decoded(b"P5 8000 8000 255\n1"),
            Err(Fault::Truncated(_))
        ));
    }
}
