//! PNG to luma or RGB.
//!
//! It decodes row by row, so that only the result and one row are in memory;
//! only interlaced pictures are decoded as a whole.
//!
//! The weights are those of `imread(path, IMREAD_GRAYSCALE)` in OpenCV 4.14,
//! where libpng converts. They were found by comparing random pictures, and
//! agree in every pixel (`cvtColor` uses other weights and rounds).
//! Transparency is dropped, as in OpenCV.

use std::io::Cursor;

use png::{BitDepth, ColorType, Decoder, DecodingError, Reader, Transformations};

use super::Fault;
use crate::frame::MAX_SIDE;

/// The start of every PNG.
pub const MAGIC: &[u8] = b"\x89PNG\r\n\x1a\n";

const KIND: &str = "PNG";

/// Decodes a PNG to luma into `out`, which grows if it is too small.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn luma(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    decode(data, out, 1, |colour, depth, row, out| {
        match (colour, depth) {
            (ColorType::Grayscale, BitDepth::Eight) => out.copy_from_slice(row),
            (ColorType::Grayscale, _) => each(row, 2, out, 1, |p, o| o[0] = p[0]),
            (ColorType::GrayscaleAlpha, BitDepth::Eight) => {
                each(row, 2, out, 1, |p, o| o[0] = p[0]);
            }
            (ColorType::GrayscaleAlpha, _) => each(row, 4, out, 1, |p, o| o[0] = p[0]),
            (ColorType::Rgba, BitDepth::Eight) => each(row, 4, out, 1, weigh),
            (ColorType::Rgba, _) => each(row, 8, out, 1, weigh_16),
            (_, BitDepth::Eight) => each(row, 3, out, 1, weigh),
            _ => each(row, 6, out, 1, weigh_16),
        }
    })
}

/// Decodes a PNG to RGB into `out`.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn rgb(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let grey = |p: &[u8], o: &mut [u8]| o.fill(p[0]);
    // The upper byte of each of three 16-bit samples.
    let upper = |p: &[u8], o: &mut [u8]| o.copy_from_slice(&[p[0], p[2], p[4]]);
    decode(data, out, 3, |colour, depth, row, out| {
        match (colour, depth) {
            (ColorType::Grayscale, BitDepth::Eight) => each(row, 1, out, 3, grey),
            (ColorType::Grayscale, _) => each(row, 2, out, 3, grey),
            (ColorType::GrayscaleAlpha, BitDepth::Eight) => each(row, 2, out, 3, grey),
            (ColorType::GrayscaleAlpha, _) => each(row, 4, out, 3, grey),
            (ColorType::Rgba, BitDepth::Eight) => {
                each(row, 4, out, 3, |p, o| o.copy_from_slice(&p[..3]));
            }
            (ColorType::Rgba, _) => each(row, 8, out, 3, upper),
            (_, BitDepth::Eight) => out.copy_from_slice(row),
            _ => each(row, 6, out, 3, upper),
        }
    })
}

/// The orientation in a PNG's EXIF data (chunk eXIf), 1 (upright) to 8; 1 where
/// there is none. Reads the chunks one after the other.
#[must_use]
pub fn orientation(data: &[u8]) -> u8 {
    let mut at = MAGIC.len();
    while let Some(head) = data.get(at..at + 8) {
        let length = u32::from_be_bytes([head[0], head[1], head[2], head[3]]) as usize;
        let Some(body) = data.get(at + 8..).and_then(|rest| rest.get(..length)) else {
            break;
        };
        if &head[4..] == b"eXIf" {
            return super::exif::orientation(body).unwrap_or(1);
        }
        // Length, name and checksum.
        at += 12 + length;
    }
    1
}

/// libpng's weights in 15 bits, with truncation as in libpng.
const WEIGHTS: [u32; 3] = [9797, 19234, 3737];

fn weigh(p: &[u8], o: &mut [u8]) {
    let sum: u32 = WEIGHTS.iter().zip(p).map(|(w, &c)| w * u32::from(c)).sum();
    o[0] = (sum >> 15) as u8;
}

/// 16-bit samples are weighted (here libpng rounds), then cut to 8 bits.
fn weigh_16(p: &[u8], o: &mut [u8]) {
    let sum: u32 = WEIGHTS
        .iter()
        .zip(p.chunks_exact(2))
        .map(|(w, c)| w * u32::from(u16::from_be_bytes([c[0], c[1]])))
        .sum();
    o[0] = ((sum + (1 << 14)) >> 23) as u8;
}

/// Converts pixel by pixel: `from` bytes in, `to` bytes out.
fn each(row: &[u8], from: usize, out: &mut [u8], to: usize, convert: impl Fn(&[u8], &mut [u8])) {
    for (pixel, out) in row.chunks_exact(from).zip(out.chunks_exact_mut(to)) {
        convert(pixel, out);
    }
}

fn decode(
    data: &[u8],
    out: &mut Vec<u8>,
    channels: usize,
    convert: impl Fn(ColorType, BitDepth, &[u8], &mut [u8]),
) -> Result<(u32, u32), Fault> {
    let mut decoder = Decoder::new(Cursor::new(data));
    // Palettes to RGB, and 1, 2 and 4 bits to 8.
    decoder.set_transformations(Transformations::EXPAND);
    decoder.set_ignore_text_chunk(true);
    decoder.set_ignore_iccp_chunk(true);
    let (width, height) = decoder.read_header_info().map_err(fault)?.size();
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(Fault::Size { width, height });
    }
    let mut reader = decoder.read_info().map_err(fault)?;
    let (colour, depth) = reader.output_color_type();
    let row_bytes = width as usize * colour.samples() * depth.into_bytes();
    let out_bytes = width as usize * channels;
    out.resize(out_bytes * height as usize, 0);
    let rows = out.chunks_exact_mut(out_bytes);
    if reader.info().interlaced {
        let mut whole = vec![0; reader.output_buffer_size().ok_or_else(unequal)?];
        let info = reader.next_frame(&mut whole).map_err(fault)?;
        if (info.width, info.height) != (width, height) {
            return Err(unequal());
        }
        for (row, out) in whole.chunks_exact(row_bytes).zip(rows) {
            convert(colour, depth, row, out);
        }
    } else {
        for out in rows {
            let row = next_row(&mut reader, row_bytes)?;
            convert(colour, depth, row, out);
        }
        // The checksums come after the last row.
        reader.next_row().map_err(fault)?;
    }
    Ok((width, height))
}

fn next_row<'r>(reader: &'r mut Reader<Cursor<&[u8]>>, bytes: usize) -> Result<&'r [u8], Fault> {
    let row = reader.next_row().map_err(fault)?.ok_or_else(unequal)?;
    let data = row.data();
    data.get(..bytes).ok_or_else(unequal)
}

trait IntoBytes {
    /// Bytes per sample, after the expansion to at least 8 bits.
    fn into_bytes(self) -> usize;
}

impl IntoBytes for BitDepth {
    fn into_bytes(self) -> usize {
        if self == Self::Sixteen { 2 } else { 1 }
    }
}

fn unequal() -> Fault {
    Fault::Damaged {
        kind: KIND,
        reason: "its rows do not fit its header".to_owned(),
    }
}

fn fault(error: DecodingError) -> Fault {
    match error {
        DecodingError::IoError(e) if e.kind() == std::io::ErrorKind::UnexpectedEof => {
            Fault::Truncated(KIND)
        }
        other => Fault::Damaged {
            kind: KIND,
            reason: other.to_string(),
        },
    }
}
