//! JPEG to luma or RGB, and the search for a JPEG's end.
//!
//! The decoder is our own. zune-jpeg 0.5.15 ends the process on valid pictures
//! with one scan per component, decodes others to stripes, and does not notice
//! left-over data or a missing scan. Here the luma is equal to libjpeg's to the
//! bit, or the picture is refused (`scripts/compare-libjpeg`). Unneeded work is
//! left out: chroma is not transformed if only luma is needed, and a sequential
//! picture needs no memory for coefficients.
//!
//! - [`extent`]: finds the end of a picture in a stream.
//! - `decode`: scans to planes; `bits` and `idct` are its parts.
//! - `standard`: the Huffman tables that Motion-JPEG leaves out, as AVI does.

use super::{Fault, exif};
use crate::frame::MAX_SIDE;
use crate::host::memory;

mod bits;
mod decode;
mod extent;
mod idct;
mod standard;
mod syntax;

use decode::{Colours, Component, Decoder, Frame, Plane};
pub use extent::{Extent, Layout, extent};
pub use syntax::START;
use syntax::{KIND, whole_number};

/// Decodes a JPEG's luma plane into `out`, which grows if it is too small.
/// Bytes after the end marker are ignored (cameras pad). The end marker may be
/// missing if no block is missing.
///
/// RGB and CMYK pictures, which have no luma plane, are weighted as OpenCV's
/// `cvtColor` does.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn luma(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let data = picture(data)?;
    let (decoder, frame) = Decoder::new(data)?;
    let size = size(&frame)?;
    out.resize(frame.width * frame.height, 0);
    match decoder.colours(&frame) {
        Colours::Gray | Colours::YCbCr => {}
        _ => {
            memory::scope(|| {
                let mut pixels = Vec::new();
                rgb(data, &mut pixels)?;
                for (luma, p) in out.iter_mut().zip(pixels.chunks_exact(3)) {
                    *luma = luma_of(p[0], p[1], p[2]);
                }
                Ok(())
            })?;
            return Ok(size);
        }
    }
    let component = &frame.components()[0];
    if (component.width, component.height) != (frame.width, frame.height) {
        return Err(Fault::Unsupported {
            kind: KIND,
            reason: "its luma has fewer samples than its chroma".to_owned(),
        });
    }
    memory::scope(|| decoder.decode(&frame, &mut [Plane::new(&frame, component, out)]))?;
    Ok(size)
}

/// Decodes a JPEG to RGB into `out`. Chroma that has fewer samples is repeated.
///
/// # Errors
/// The picture is invalid; the error says why.
pub fn rgb(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let (decoder, frame) = Decoder::new(picture(data)?)?;
    let size = size(&frame)?;
    out.resize(frame.width * frame.height * 3, 0);
    let colours = decoder.colours(&frame);
    memory::scope(|| {
        let components = frame.components();
        let mut samples: Vec<Vec<u8>> = components
            .iter()
            .map(|c| vec![0; c.width * c.height])
            .collect();
        let mut planes: Vec<Plane<'_>> = components
            .iter()
            .zip(&mut samples)
            .map(|(component, samples)| Plane::new(&frame, component, samples))
            .collect();
        decoder.decode(&frame, &mut planes)?;
        drop(planes);
        let sample = |which: usize, x: usize, y: usize| {
            let component: &Component = &components[which];
            let (x, y) = component.sample_at(&frame, x, y);
            samples[which][y * component.width + x]
        };
        for (i, pixel) in out.chunks_exact_mut(3).enumerate() {
            let (x, y) = (i % frame.width, i / frame.width);
            let at = |which| sample(which, x, y);
            pixel.copy_from_slice(&match colours {
                Colours::Gray => [at(0); 3],
                Colours::Rgb => [at(0), at(1), at(2)],
                Colours::YCbCr => from_ycbcr(at(0), at(1), at(2)),
                Colours::Cmyk => [at(0), at(1), at(2)].map(|ink| times(ink, at(3))),
                Colours::Ycck => from_ycbcr(at(0), at(1), at(2)).map(|ink| times(255 - ink, at(3))),
            });
        }
        Ok(())
    })?;
    Ok(size)
}

/// JFIF's matrix in 16 bits, as in libjpeg.
fn from_ycbcr(y: u8, cb: u8, cr: u8) -> [u8; 3] {
    let (y, cb, cr) = (i32::from(y), i32::from(cb) - 128, i32::from(cr) - 128);
    let round = |sum: i32| (y + ((sum + (1 << 15)) >> 16)).clamp(0, 255) as u8;
    [
        round(91_881 * cr),
        round(-22_554 * cb - 46_802 * cr),
        round(116_130 * cb),
    ]
}

const fn times(a: u8, b: u8) -> u8 {
    ((a as u32 * b as u32 + 127) / 255) as u8
}

/// OpenCV 4's `cvtColor(COLOR_RGB2GRAY)`: 0.299, 0.587 and 0.114 in 15 bits,
/// rounded to nearest.
pub(crate) const fn luma_of(r: u8, g: u8, b: u8) -> u8 {
    ((r as u32 * 9798 + g as u32 * 19235 + b as u32 * 3735 + (1 << 14)) >> 15) as u8
}

/// The bytes of the picture itself.
fn picture(data: &[u8]) -> Result<&[u8], Fault> {
    match extent(data) {
        Extent::Whole(layout) => Ok(&data[..layout.len]),
        Extent::Short if data.is_empty() => Err(Fault::Empty),
        // Only the decoder knows whether more than the end marker is missing.
        Extent::Short if data.len() > 2 => Ok(data),
        Extent::Short => Err(Fault::Truncated(KIND)),
        Extent::Broken { reason, .. } => Err(Fault::Damaged {
            kind: KIND,
            reason: reason.to_owned(),
        }),
    }
}

fn size(frame: &Frame) -> Result<(u32, u32), Fault> {
    let (width, height) = (frame.width as u32, frame.height as u32);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(Fault::Size { width, height });
    }
    Ok((width, height))
}

/// A gray picture as cameras send them: baseline, YCbCr, chroma halved across
/// and down. For measuring how much memory decoding a frame of this size needs.
#[must_use]
pub fn blank(width: u16, height: u16) -> Vec<u8> {
    let mut data = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    data.extend([1; 64]);
    data.extend(standard::TABLES);
    data.extend([0xff, 0xc0, 0, 17, 8]);
    data.extend(height.to_be_bytes());
    data.extend(width.to_be_bytes());
    data.extend([3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0]);
    data.extend([0xff, 0xda, 0, 12, 3, 1, 0x00, 2, 0x11, 3, 0x11, 0, 63, 0]);
    // Of every block: no difference in DC, end of block. For luma these are the
    // codes 00 and 1010, for chroma 00 and 00: 32 bits of six blocks, without a
    // byte of ones.
    let units = usize::from(width.div_ceil(16)) * usize::from(height.div_ceil(16));
    for _ in 0..units {
        data.extend([0b0010_1000, 0b1010_0010, 0b1000_1010, 0]);
    }
    data.extend([0xff, 0xd9]);
    data
}

/// The EXIF orientation, 1 (upright) to 8; 1 where there is none.
#[must_use]
pub fn orientation(data: &[u8]) -> u8 {
    find_orientation(data).unwrap_or(1)
}

fn find_orientation(data: &[u8]) -> Option<u8> {
    let mut at = 2;
    loop {
        let head = data.get(at..at + 4)?;
        if head[0] != 0xff || !matches!(head[1], 0xe0..=0xef | 0xfe) {
            return None;
        }
        let length = usize::from(whole_number(&head[2..]));
        let segment = data.get(at + 4..at + 2 + length)?;
        if let Some(tiff) = segment.strip_prefix(b"Exif\0\0")
            && head[1] == 0xe1
        {
            return exif::orientation(tiff);
        }
        at += 2 + length;
    }
}
