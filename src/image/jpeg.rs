//! JPEG to luma or RGB through zune-jpeg, and the search for a JPEG's end.
//!
//! zune-jpeg is lenient where a camera must not be believed: a picture cut off
//! half way comes back whole with gray below. So the structure is walked
//! first ([`extent`]): it costs a search for `0xFF` bytes, finds where a
//! picture in a stream ends, tells a cut-off one by its missing end marker,
//! and gives the size before memory is taken. Decoding is strict on top of
//! that, so that entropy-coded data that makes no sense is an error too.
//!
//! Many webcams leave the Huffman tables out of their Motion-JPEG, as AVI does
//! (the tables are then those of ITU T.81, annex K.3). They are put in.

use zune_core::bytestream::ZCursor;
use zune_core::colorspace::ColorSpace;
use zune_core::options::DecoderOptions;
use zune_jpeg::JpegDecoder;
use zune_jpeg::errors::DecodeErrors;

use super::Fault;
use crate::frame::MAX_SIDE;
use crate::host::memory;

/// How every JPEG starts: the marker SOI and the first byte of the next one.
pub const START: &[u8] = &[0xff, 0xd8, 0xff];

const KIND: &str = "JPEG";

/// Largest sampling factors, across and down, that are decoded right: 4:4:4,
/// 4:2:2, 4:4:0, 4:2:0 and 4:1:1.
const SAMPLING: [(u8, u8); 5] = [(1, 1), (2, 1), (1, 2), (2, 2), (4, 1)];

/// What the walk through the markers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A picture from the first byte up to its end marker.
    Whole(Layout),
    /// The data ends before the picture does.
    Short,
    /// No picture; the search for the next may go on at byte `resume`.
    Broken { reason: &'static str, resume: usize },
}

/// Where a JPEG's parts lie and how large it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from the start marker to behind the end marker.
    pub len: usize,
    pub width: u32,
    pub height: u32,
    /// Number of colour components: 1 (gray), 3 (YCbCr or RGB) or 4 (CMYK).
    pub components: u8,
    /// Whether Huffman tables come with it.
    pub tables: bool,
    /// The Adobe marker says that components are stored without a transform.
    untransformed: bool,
    progressive: bool,
    /// The largest sampling factors, across and down.
    sampling: (u8, u8),
}

/// Walks through the markers of the JPEG that starts at the first byte.
#[must_use]
pub fn extent(data: &[u8]) -> Extent {
    if data.len() < 2 {
        return Extent::Short;
    }
    if data[..2] != START[..2] {
        return Extent::Broken {
            reason: "it does not start as one",
            resume: 1,
        };
    }
    let mut layout = Layout::default();
    let mut in_scan = false;
    let mut at = 2;
    loop {
        let Some(next) = data[at..].iter().position(|&b| b == 0xff) else {
            return Extent::Short;
        };
        // Between segments nothing but fill bytes (0xFF) has a place.
        if !in_scan && next > 0 {
            return Extent::Broken {
                reason: "bytes lie between its segments",
                resume: 2,
            };
        }
        at += next + 1;
        let Some(&marker) = data.get(at) else {
            return Extent::Short;
        };
        at += 1;
        match marker {
            // A fill byte: look at it again as the start of a marker.
            0xff => {
                at -= 1;
                continue;
            }
            // A stuffed 0xFF and the restart markers belong to the scan.
            0x00 | 0x01 | 0xd0..=0xd7 if in_scan => continue,
            0x01 => continue,
            0xd8 => {
                return Extent::Broken {
                    reason: "another picture starts within it",
                    resume: at - 2,
                };
            }
            0xd9 if in_scan => {
                layout.len = at;
                return Extent::Whole(layout);
            }
            0xd9 => {
                return Extent::Broken {
                    reason: "it ends before any picture data",
                    resume: at,
                };
            }
            0xc0..=0xcf | 0xda..=0xdf | 0xe0..=0xef | 0xfe => {}
            _ => {
                return Extent::Broken {
                    reason: "an unknown marker",
                    resume: 2,
                };
            }
        }
        let Some(length) = data.get(at..at + 2) else {
            return Extent::Short;
        };
        let length = usize::from(u16::from_be_bytes([length[0], length[1]]));
        if length < 2 {
            return Extent::Broken {
                reason: "a segment without a length",
                resume: 2,
            };
        }
        let Some(segment) = data.get(at + 2..at + length) else {
            return Extent::Short;
        };
        match marker {
            0xc4 => layout.tables = true,
            0xee if segment.starts_with(b"Adobe") && segment.len() >= 12 => {
                layout.untransformed = segment[11] == 0;
            }
            0xc0..=0xcf if !matches!(marker, 0xc8 | 0xcc) => {
                if segment.len() < 6 {
                    return Extent::Broken {
                        reason: "a frame header that is too short",
                        resume: 2,
                    };
                }
                layout.height = u32::from(u16::from_be_bytes([segment[1], segment[2]]));
                layout.width = u32::from(u16::from_be_bytes([segment[3], segment[4]]));
                layout.components = segment[5];
                layout.progressive = marker == 0xc2;
                for component in segment[6..].chunks_exact(3) {
                    let (across, down) = layout.sampling;
                    layout.sampling = (across.max(component[1] >> 4), down.max(component[1] & 15));
                }
            }
            0xda => in_scan = true,
            _ => {}
        }
        at += length;
    }
}

/// Decodes a JPEG's luma plane into `out`, which is grown where it is too
/// small. Bytes behind the end marker are ignored (cameras pad). `scratch` is
/// used where Huffman tables have to be put in.
///
/// RGB and CMYK pictures, which have no luma plane, are weighted as OpenCV's
/// `cvtColor` does.
///
/// # Errors
/// What is wrong with the picture.
pub fn luma(data: &[u8], scratch: &mut Vec<u8>, out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let layout = whole(data)?;
    let data = &data[..layout.len];
    let size = layout.width as usize * layout.height as usize;
    if layout.components == 4 || (layout.components == 3 && layout.untransformed) {
        return weighted(data, size, out);
    }
    let data = with_tables(data, &layout, scratch);
    if layout.progressive && layout.sampling == (1, 2) {
        // zune-jpeg 0.5.15 mixes up the rows of luma alone here: all three
        // components, then.
        out.resize(size, 0);
        memory::scope(|| {
            let mut all = Vec::new();
            decode(data, ColorSpace::YCbCr, size * 3, &mut all)?;
            for (luma, pixel) in out.iter_mut().zip(all.chunks_exact(3)) {
                *luma = pixel[0];
            }
            Ok(())
        })
        .map_err(|refusal: Refusal| Fault::from(refusal))?;
        return Ok((layout.width, layout.height));
    }
    match decode(data, ColorSpace::Luma, size, out) {
        // Components named R, G and B mark an RGB picture too; only the
        // decoder looks at names.
        Err(Refusal::Colours) => weighted(data, size, out)?,
        Err(Refusal::Fault(fault)) => return Err(fault),
        Ok(()) => (layout.width, layout.height),
    };
    Ok((layout.width, layout.height))
}

/// Decodes a JPEG to RGB into `out`.
///
/// # Errors
/// What is wrong with the picture.
pub fn rgb(data: &[u8], out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    let layout = whole(data)?;
    let size = layout.width as usize * layout.height as usize * 3;
    let mut scratch = Vec::new();
    let data = with_tables(&data[..layout.len], &layout, &mut scratch);
    decode(data, ColorSpace::RGB, size, out)
        .map(|()| (layout.width, layout.height))
        .map_err(Fault::from)
}

fn weighted(data: &[u8], size: usize, out: &mut Vec<u8>) -> Result<(u32, u32), Fault> {
    out.resize(size, 0);
    memory::scope(|| {
        let mut rgb = Vec::new();
        let shape = self::rgb(data, &mut rgb)?;
        for (luma, p) in out.iter_mut().zip(rgb.chunks_exact(3)) {
            *luma = luma_of(p[0], p[1], p[2]);
        }
        Ok(shape)
    })
}

/// OpenCV 4's `cvtColor(COLOR_RGB2GRAY)`: 0.299, 0.587 and 0.114 in 15 bits,
/// rounded to nearest.
pub(crate) const fn luma_of(r: u8, g: u8, b: u8) -> u8 {
    ((r as u32 * 9798 + g as u32 * 19235 + b as u32 * 3735 + (1 << 14)) >> 15) as u8
}

fn whole(data: &[u8]) -> Result<Layout, Fault> {
    let layout = match extent(data) {
        Extent::Whole(layout) => layout,
        Extent::Short if data.is_empty() => return Err(Fault::Empty),
        Extent::Short => return Err(Fault::Truncated(KIND)),
        Extent::Broken { reason, .. } => {
            return Err(Fault::Damaged {
                kind: KIND,
                reason: reason.to_owned(),
            });
        }
    };
    let (width, height) = (layout.width, layout.height);
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Err(Fault::Size { width, height });
    }
    // With other factors (4:1:0 and its turned kin, which no camera sends)
    // zune-jpeg 0.5.15 mixes up rows or leaves them out.
    if !SAMPLING.contains(&layout.sampling) {
        let (across, down) = layout.sampling;
        return Err(Fault::Unsupported {
            kind: KIND,
            reason: format!("chroma sampled by factors of {across}x{down}"),
        });
    }
    Ok(layout)
}

enum Refusal {
    /// The picture's colours cannot become the ones asked for.
    Colours,
    Fault(Fault),
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::Fault(fault) => fault,
            Refusal::Colours => Self::Unsupported {
                kind: KIND,
                reason: "its colours cannot be converted".to_owned(),
            },
        }
    }
}

/// What the decoder allocates comes from the frame's arena; `out`, which is to
/// stay, is grown before.
fn decode(data: &[u8], colours: ColorSpace, size: usize, out: &mut Vec<u8>) -> Result<(), Refusal> {
    out.resize(size, 0);
    memory::scope(|| decode_into(data, colours, out))
}

fn decode_into(data: &[u8], colours: ColorSpace, out: &mut [u8]) -> Result<(), Refusal> {
    let refusal = |error: DecodeErrors| Refusal::Fault(memory::outlasting(|| fault(&error)));
    let options = DecoderOptions::default()
        .set_strict_mode(true)
        .set_max_width(MAX_SIDE as usize)
        .set_max_height(MAX_SIDE as usize)
        .jpeg_set_out_colorspace(colours);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(data), options);
    decoder.decode_headers().map_err(refusal)?;
    let input = decoder.input_colorspace();
    if colours == ColorSpace::Luma && !matches!(input, Some(ColorSpace::YCbCr | ColorSpace::Luma)) {
        return Err(Refusal::Colours);
    }
    if decoder.output_buffer_size() != Some(out.len()) {
        let reason = memory::outlasting(|| "its headers contradict each other".to_owned());
        return Err(Refusal::Fault(Fault::Damaged { kind: KIND, reason }));
    }
    decoder.decode_into(out).map_err(refusal)
}

fn fault(error: &DecodeErrors) -> Fault {
    match error {
        DecodeErrors::Unsupported(scheme) => Fault::Unsupported {
            kind: KIND,
            reason: format!("{scheme:?}"),
        },
        DecodeErrors::ExhaustedData => Fault::Truncated(KIND),
        other => Fault::Damaged {
            kind: KIND,
            // Some of the decoder's messages are quoted or end with a new line.
            reason: format!("{other:?}")
                .trim_matches(['"', '\n', ' '])
                .to_owned(),
        },
    }
}

/// The picture with the standard Huffman tables behind its start marker if it
/// brings none.
fn with_tables<'a>(data: &'a [u8], layout: &Layout, scratch: &'a mut Vec<u8>) -> &'a [u8] {
    if layout.tables {
        return data;
    }
    scratch.clear();
    scratch.extend_from_slice(&data[..2]);
    scratch.extend_from_slice(&STANDARD_TABLES);
    scratch.extend_from_slice(&data[2..]);
    scratch
}

/// A gray picture as cameras send them: baseline, YCbCr, chroma halved across
/// and down. For trying out what decoding a frame of this size takes.
#[must_use]
pub fn blank(width: u16, height: u16) -> Vec<u8> {
    let mut data = vec![0xff, 0xd8, 0xff, 0xdb, 0, 67, 0];
    data.extend([1; 64]);
    data.extend(STANDARD_TABLES);
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
    let tiff = loop {
        let head = data.get(at..at + 4)?;
        if head[0] != 0xff || !matches!(head[1], 0xe0..=0xef | 0xfe) {
            return None;
        }
        let length = usize::from(u16::from_be_bytes([head[2], head[3]]));
        let segment = data.get(at + 4..at + 2 + length)?;
        if head[1] == 0xe1 && segment.starts_with(b"Exif\0\0") {
            break &segment[6..];
        }
        at += 2 + length;
    };
    let big = match tiff.get(..2)? {
        b"MM" => true,
        b"II" => false,
        _ => return None,
    };
    let short = |at: usize| {
        let bytes = tiff.get(at..at + 2)?.try_into().ok()?;
        Some(if big {
            u16::from_be_bytes(bytes)
        } else {
            u16::from_le_bytes(bytes)
        })
    };
    let long = |at: usize| {
        let bytes = tiff.get(at..at + 4)?.try_into().ok()?;
        Some(if big {
            u32::from_be_bytes(bytes)
        } else {
            u32::from_le_bytes(bytes)
        })
    };
    let directory = long(4)? as usize;
    let entries = usize::from(short(directory)?);
    for entry in 0..entries {
        let at = directory + 2 + entry * 12;
        // Tag 0x0112 of type SHORT: the value lies in the entry itself.
        if short(at)? == 0x0112 && short(at + 2)? == 3 {
            return u8::try_from(short(at + 8)?)
                .ok()
                .filter(|o| (1..=8).contains(o));
        }
    }
    None
}

/// ITU T.81, annex K.3: the tables for luminance and chrominance, DC and AC,
/// as one DHT segment.
#[rustfmt::skip]
const STANDARD_TABLES: [u8; 420] = [
    0xff, 0xc4, 0x01, 0xa2,
    // Luminance, DC.
    0x00,
    0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    // Luminance, AC.
    0x10,
    0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7d,
    0x01, 0x02, 0x03, 0x00, 0x04, 0x11, 0x05, 0x12, 0x21, 0x31, 0x41, 0x06, 0x13, 0x51, 0x61, 0x07,
    0x22, 0x71, 0x14, 0x32, 0x81, 0x91, 0xa1, 0x08, 0x23, 0x42, 0xb1, 0xc1, 0x15, 0x52, 0xd1, 0xf0,
    0x24, 0x33, 0x62, 0x72, 0x82, 0x09, 0x0a, 0x16, 0x17, 0x18, 0x19, 0x1a, 0x25, 0x26, 0x27, 0x28,
    0x29, 0x2a, 0x34, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49,
    0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68, 0x69,
    0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x83, 0x84, 0x85, 0x86, 0x87, 0x88, 0x89,
    0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7,
    0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3, 0xc4, 0xc5,
    0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda, 0xe1, 0xe2,
    0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
    // Chrominance, DC.
    0x01,
    0, 3, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0,
    0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11,
    // Chrominance, AC.
    0x11,
    0, 2, 1, 2, 4, 4, 3, 4, 7, 5, 4, 4, 0, 1, 2, 0x77,
    0x00, 0x01, 0x02, 0x03, 0x11, 0x04, 0x05, 0x21, 0x31, 0x06, 0x12, 0x41, 0x51, 0x07, 0x61, 0x71,
    0x13, 0x22, 0x32, 0x81, 0x08, 0x14, 0x42, 0x91, 0xa1, 0xb1, 0xc1, 0x09, 0x23, 0x33, 0x52, 0xf0,
    0x15, 0x62, 0x72, 0xd1, 0x0a, 0x16, 0x24, 0x34, 0xe1, 0x25, 0xf1, 0x17, 0x18, 0x19, 0x1a, 0x26,
    0x27, 0x28, 0x29, 0x2a, 0x35, 0x36, 0x37, 0x38, 0x39, 0x3a, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48,
    0x49, 0x4a, 0x53, 0x54, 0x55, 0x56, 0x57, 0x58, 0x59, 0x5a, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68,
    0x69, 0x6a, 0x73, 0x74, 0x75, 0x76, 0x77, 0x78, 0x79, 0x7a, 0x82, 0x83, 0x84, 0x85, 0x86, 0x87,
    0x88, 0x89, 0x8a, 0x92, 0x93, 0x94, 0x95, 0x96, 0x97, 0x98, 0x99, 0x9a, 0xa2, 0xa3, 0xa4, 0xa5,
    0xa6, 0xa7, 0xa8, 0xa9, 0xaa, 0xb2, 0xb3, 0xb4, 0xb5, 0xb6, 0xb7, 0xb8, 0xb9, 0xba, 0xc2, 0xc3,
    0xc4, 0xc5, 0xc6, 0xc7, 0xc8, 0xc9, 0xca, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0xd8, 0xd9, 0xda,
    0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8,
    0xf9, 0xfa,
];
