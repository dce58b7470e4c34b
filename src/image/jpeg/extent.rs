//! Finds the end of a JPEG by a walk through its markers, which only searches
//! for bytes of `0xFF`. A missing end marker shows that a picture is cut off.

use super::syntax::START;

/// What the walk through the markers found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Extent {
    /// A picture from the first byte up to its end marker.
    Whole(Layout),
    /// The data ends before the picture does.
    Short,
    /// Not a picture; the search for the next one can continue at byte
    /// `resume`.
    Broken { reason: &'static str, resume: usize },
}

/// The size of a JPEG, in bytes and pixels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layout {
    /// Bytes from the start marker to the end marker, inclusive.
    pub len: usize,
    pub width: u32,
    pub height: u32,
    /// Number of colour components: 1 (gray), 3 (YCbCr or RGB) or 4 (CMYK).
    pub components: u8,
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
        // Only fill bytes (0xFF) may be between segments.
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
            // A fill byte may also be the start of a marker.
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
            0xc0..=0xcf if !matches!(marker, 0xc4 | 0xc8 | 0xcc) => {
                if segment.len() < 6 {
                    return Extent::Broken {
                        reason: "a frame header that is too short",
                        resume: 2,
                    };
                }
                layout.height = u32::from(u16::from_be_bytes([segment[1], segment[2]]));
                layout.width = u32::from(u16::from_be_bytes([segment[3], segment[4]]));
                layout.components = segment[5];
            }
            0xda => in_scan = true,
            _ => {}
        }
        at += length;
    }
}
