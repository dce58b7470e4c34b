//! Turns pictures by quarters and mirrors them.

use std::fmt;
use std::str::FromStr;

use super::LumaImage;
use crate::frame::LumaView;

/// Quarters of a turn, clockwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Rotation {
    #[default]
    None,
    Quarter,
    Half,
    ThreeQuarters,
}

impl Rotation {
    /// Whether width and height change places.
    #[must_use]
    pub const fn is_quarter(self) -> bool {
        matches!(self, Self::Quarter | Self::ThreeQuarters)
    }

    /// By 0, 90, 180 or 270 degrees, or `None`.
    #[must_use]
    pub const fn from_degrees(degrees: u32) -> Option<Self> {
        Some(match degrees {
            0 => Self::None,
            90 => Self::Quarter,
            180 => Self::Half,
            270 => Self::ThreeQuarters,
            _ => return None,
        })
    }

    #[must_use]
    pub const fn degrees(self) -> u32 {
        self as u32 * 90
    }
}

/// A text that is not a rotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the rotation is 0, 90, 180 or 270 (degrees clockwise)")]
pub struct NoRotation;

impl FromStr for Rotation {
    type Err = NoRotation;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let degrees = text.parse().map_err(|_| NoRotation)?;
        Self::from_degrees(degrees).ok_or(NoRotation)
    }
}

impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.degrees().fmt(f)
    }
}

/// A rotation, and left and right exchanged after it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Turn {
    pub rotation: Rotation,
    pub mirror: bool,
}

impl Turn {
    /// What turns a picture with this EXIF orientation (1 to 8) upright; other
    /// numbers leave it as it is.
    #[must_use]
    pub const fn from_exif(orientation: u8) -> Self {
        let (rotation, mirror) = match orientation {
            2 => (Rotation::None, true),
            3 => (Rotation::Half, false),
            4 => (Rotation::Half, true),
            5 => (Rotation::Quarter, true),
            6 => (Rotation::Quarter, false),
            7 => (Rotation::ThreeQuarters, true),
            8 => (Rotation::ThreeQuarters, false),
            _ => (Rotation::None, false),
        };
        Self { rotation, mirror }
    }

    /// Whether it leaves pictures as they are.
    #[must_use]
    pub const fn is_none(self) -> bool {
        matches!(self.rotation, Rotation::None) && !self.mirror
    }

    /// Whether width and height change places.
    #[must_use]
    pub const fn is_sideways(self) -> bool {
        matches!(self.rotation, Rotation::Quarter | Rotation::ThreeQuarters)
    }

    /// Width and height of a turned picture.
    #[must_use]
    pub const fn size(self, (width, height): (u32, u32)) -> (u32, u32) {
        if self.is_sideways() {
            (height, width)
        } else {
            (width, height)
        }
    }

    /// Where rows and columns are read backwards: whether the source's columns
    /// run against the result (its rows, when sideways), and the source's rows.
    const fn backwards(self) -> (bool, bool) {
        match self.rotation {
            Rotation::None => (self.mirror, false),
            Rotation::Half => (!self.mirror, true),
            Rotation::Quarter => (false, !self.mirror),
            Rotation::ThreeQuarters => (true, self.mirror),
        }
    }

    /// Turns a picture into `out`, whose memory is used again.
    pub fn apply(self, from: LumaView<'_>, out: &mut LumaImage) {
        (out.width, out.height) = self.size((from.width(), from.height()));
        let pixels = from.width() as usize * from.height() as usize;
        out.pixels.resize(pixels, 0);
        let (columns, rows) = self.backwards();
        if self.is_sideways() {
            transpose(from, columns, rows, &mut out.pixels);
            return;
        }
        let height = from.height();
        let width = out.width as usize;
        for (y, to) in (0..height).zip(out.pixels.chunks_exact_mut(width)) {
            let row = from.row(if rows { height - 1 - y } else { y });
            if columns {
                reverse(row, to);
            } else {
                to.copy_from_slice(row);
            }
        }
    }

    /// Turns a picture of `channels` bytes a pixel.
    pub(super) fn apply_slowly(
        self,
        (width, height): (u32, u32),
        pixels: &mut Vec<u8>,
        channels: usize,
    ) {
        let (w, h) = (width as usize, height as usize);
        let (columns, rows) = self.backwards();
        let mut turned = Vec::with_capacity(pixels.len());
        let (new_width, new_height) = self.size((width, height));
        for y in 0..new_height as usize {
            for x in 0..new_width as usize {
                let (x, y) = if self.is_sideways() { (y, x) } else { (x, y) };
                let x = if columns { w - 1 - x } else { x };
                let y = if rows { h - 1 - y } else { y };
                let at = (y * w + x) * channels;
                turned.extend_from_slice(&pixels[at..at + channels]);
            }
        }
        *pixels = turned;
    }
}

/// Eight bytes at once: a processor has an instruction that reverses them.
fn reverse(from: &[u8], to: &mut [u8]) {
    let (start, blocks) = from.as_rchunks::<8>();
    let (to_blocks, to_end) = to.as_chunks_mut::<8>();
    for (to, from) in to_blocks.iter_mut().zip(blocks.iter().rev()) {
        *to = u64::from_le_bytes(*from).swap_bytes().to_le_bytes();
    }
    for (to, from) in to_end.iter_mut().zip(start.iter().rev()) {
        *to = *from;
    }
}

const BLOCK: usize = 16;

/// Columns become rows. In blocks of 16x16, the last of which overlap those
/// before where a side is no multiple of 16.
fn transpose(from: LumaView<'_>, columns_backwards: bool, rows_backwards: bool, out: &mut [u8]) {
    let (width, height) = (from.width() as usize, from.height() as usize);
    let (data, stride) = (from.data(), from.stride());
    let row = |x: usize| if rows_backwards { height - 1 - x } else { x };
    let column = |y: usize| if columns_backwards { width - 1 - y } else { y };
    if width < BLOCK || height < BLOCK {
        for (y, to) in out.chunks_exact_mut(height).enumerate() {
            for (x, to) in to.iter_mut().enumerate() {
                *to = data[row(x) * stride + column(y)];
            }
        }
        return;
    }
    for left in (0..width).step_by(BLOCK) {
        let left = left.min(width - BLOCK);
        for x in (0..height).step_by(BLOCK) {
            let x = x.min(height - BLOCK);
            let rows: [[u8; BLOCK]; BLOCK] = std::array::from_fn(|k| {
                let start = row(x + k) * stride + left;
                *data[start..].first_chunk().expect("a block lies within")
            });
            for (k, values) in block::transposed(&rows).iter().enumerate() {
                let start = column(left + k) * height + x;
                out[start..start + BLOCK].copy_from_slice(values);
            }
        }
    }
}

/// A block of 16x16 bytes is transposed by exchanging rows four times: each time
/// rows k and k + 8 are interleaved byte by byte to rows 2k and 2k + 1.
mod block {
    use super::BLOCK;

    #[inline(always)]
    pub(super) fn transposed(rows: &[[u8; BLOCK]; BLOCK]) -> [[u8; BLOCK]; BLOCK] {
        let mut lanes: [Lane; BLOCK] = std::array::from_fn(|k| load(&rows[k]));
        for _ in 0..4 {
            let before = lanes;
            for k in 0..BLOCK / 2 {
                [lanes[2 * k], lanes[2 * k + 1]] = interleave(before[k], before[k + 8]);
            }
        }
        lanes.map(store)
    }

    #[inline(always)]
    fn halves(row: &[u8; BLOCK]) -> [u64; 2] {
        let (halves, _) = row.as_chunks::<8>();
        [u64::from_le_bytes(halves[0]), u64::from_le_bytes(halves[1])]
    }

    #[inline(always)]
    fn joined(halves: [u64; 2]) -> [u8; BLOCK] {
        let mut row = [0; BLOCK];
        row[..8].copy_from_slice(&halves[0].to_le_bytes());
        row[8..].copy_from_slice(&halves[1].to_le_bytes());
        row
    }

    #[cfg(target_arch = "x86_64")]
    use x86::{Lane, interleave, load, store};
    /// SSE2, which every such processor has.
    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::x86_64::{
            __m128i, _mm_cvtsi128_si64, _mm_set_epi64x, _mm_unpackhi_epi8, _mm_unpackhi_epi64,
            _mm_unpacklo_epi8,
        };

        use super::{BLOCK, halves, joined};

        pub(super) type Lane = __m128i;

        #[inline(always)]
        pub(super) fn load(row: &[u8; BLOCK]) -> Lane {
            let [low, high] = halves(row);
            // SAFETY: SSE2 belongs to x86_64.
            unsafe { _mm_set_epi64x(high as i64, low as i64) }
        }

        #[inline(always)]
        pub(super) fn store(lane: Lane) -> [u8; BLOCK] {
            // SAFETY: SSE2 belongs to x86_64.
            let (low, high) = unsafe {
                let high = _mm_unpackhi_epi64(lane, lane);
                (_mm_cvtsi128_si64(lane), _mm_cvtsi128_si64(high))
            };
            joined([low as u64, high as u64])
        }

        #[inline(always)]
        pub(super) fn interleave(a: Lane, b: Lane) -> [Lane; 2] {
            // SAFETY: SSE2 belongs to x86_64.
            unsafe { [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)] }
        }
    }

    #[cfg(target_arch = "aarch64")]
    use arm::{Lane, interleave, load, store};
    /// NEON, which every such processor has.
    #[cfg(target_arch = "aarch64")]
    mod arm {
        use std::arch::aarch64::{
            uint8x16_t, vcombine_u8, vcreate_u8, vgetq_lane_u64, vreinterpretq_u64_u8, vzip1q_u8,
            vzip2q_u8,
        };

        use super::{BLOCK, halves, joined};

        pub(super) type Lane = uint8x16_t;

        #[inline(always)]
        pub(super) fn load(row: &[u8; BLOCK]) -> Lane {
            let [low, high] = halves(row);
            // SAFETY: NEON belongs to the aarch64 that Linux runs on.
            unsafe { vcombine_u8(vcreate_u8(low), vcreate_u8(high)) }
        }

        #[inline(always)]
        pub(super) fn store(lane: Lane) -> [u8; BLOCK] {
            // SAFETY: NEON belongs to the aarch64 that Linux runs on.
            joined(unsafe {
                let lane = vreinterpretq_u64_u8(lane);
                [vgetq_lane_u64::<0>(lane), vgetq_lane_u64::<1>(lane)]
            })
        }

        #[inline(always)]
        pub(super) fn interleave(a: Lane, b: Lane) -> [Lane; 2] {
            // SAFETY: NEON belongs to the aarch64 that Linux runs on.
            unsafe { [vzip1q_u8(a, b), vzip2q_u8(a, b)] }
        }
    }

    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    use any::{Lane, interleave, load, store};
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    mod any {
        use super::{BLOCK, halves, joined};

        pub(super) type Lane = [u64; 2];

        #[inline(always)]
        pub(super) fn load(row: &[u8; BLOCK]) -> Lane {
            halves(row)
        }

        #[inline(always)]
        pub(super) fn store(lane: Lane) -> [u8; BLOCK] {
            joined(lane)
        }

        #[inline(always)]
        pub(super) fn interleave(a: Lane, b: Lane) -> [Lane; 2] {
            [0, 1].map(|half| {
                [spread(a[half]) | spread(b[half]) << 8, {
                    spread(a[half] >> 32) | spread(b[half] >> 32) << 8
                }]
            })
        }

        /// The lower four bytes, each followed by a zero.
        #[inline(always)]
        fn spread(bytes: u64) -> u64 {
            let bytes = bytes & 0xffff_ffff;
            let pairs = (bytes | bytes << 16) & 0x0000_ffff_0000_ffff;
            (pairs | pairs << 8) & 0x00ff_00ff_00ff_00ff
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROTATIONS: [Rotation; 4] = [
        Rotation::None,
        Rotation::Quarter,
        Rotation::Half,
        Rotation::ThreeQuarters,
    ];

    fn turned(rotation: Rotation, mirror: bool, pixels: &[u8], width: u32) -> LumaImage {
        let height = pixels.len() as u32 / width;
        let view = LumaView::new(pixels, width, height, width as usize).unwrap();
        let mut out = LumaImage::default();
        Turn { rotation, mirror }.apply(view, &mut out);
        out
    }

    #[test]
    fn a_turn_is_clockwise_and_a_mirror_comes_after_it() {
        // 1 2 3
        // 4 5 6
        let picture = [1, 2, 3, 4, 5, 6];
        for (rotation, mirror, width, expected) in [
            (Rotation::None, false, 3, [1, 2, 3, 4, 5, 6]),
            (Rotation::None, true, 3, [3, 2, 1, 6, 5, 4]),
            (Rotation::Quarter, false, 2, [4, 1, 5, 2, 6, 3]),
            (Rotation::Quarter, true, 2, [1, 4, 2, 5, 3, 6]),
            (Rotation::Half, false, 3, [6, 5, 4, 3, 2, 1]),
            (Rotation::Half, true, 3, [4, 5, 6, 1, 2, 3]),
            (Rotation::ThreeQuarters, false, 2, [3, 6, 2, 5, 1, 4]),
            (Rotation::ThreeQuarters, true, 2, [6, 3, 5, 2, 4, 1]),
        ] {
            let out = turned(rotation, mirror, &picture, 3);
            assert_eq!((out.width, out.height), (width, 6 / width));
            assert_eq!(out.pixels, expected, "{rotation} {mirror}");
        }
    }

    /// The blocks give what one pixel after the other gives, rows with gaps
    /// between them included.
    #[test]
    fn blocks_and_single_pixels_agree_in_every_size() {
        for (width, height) in [
            (1, 1),
            (15, 16),
            (16, 16),
            (17, 33),
            (40, 23),
            (64, 48),
            (7, 90),
        ] {
            for gap in [0, 5] {
                let stride = width as usize + gap;
                let data: Vec<u8> = (0..stride * height as usize)
                    .map(|i| (i * 37 % 251) as u8)
                    .collect();
                let view = LumaView::new(&data, width, height, stride).unwrap();
                let packed: Vec<u8> = view.rows().flatten().copied().collect();
                for rotation in ROTATIONS {
                    for mirror in [false, true] {
                        let turn = Turn { rotation, mirror };
                        let mut out = LumaImage::default();
                        turn.apply(view, &mut out);
                        let mut expected = packed.clone();
                        turn.apply_slowly((width, height), &mut expected, 1);
                        assert_eq!(out.pixels, expected, "{width}x{height} {turn:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn the_same_memory_is_used_again() {
        let pixels = vec![7; 64 * 48];
        let view = LumaView::new(&pixels, 64, 48, 64).unwrap();
        let mut out = LumaImage::default();
        let mut addresses = Vec::new();
        for rotation in ROTATIONS {
            let mirror = false;
            Turn { rotation, mirror }.apply(view, &mut out);
            addresses.push(out.pixels.as_ptr());
        }
        addresses.dedup();
        assert_eq!(addresses.len(), 1);
    }

    #[test]
    fn rotations_are_written_in_degrees() {
        for rotation in ROTATIONS {
            assert_eq!(rotation.to_string().parse(), Ok(rotation));
        }
        for bad in ["", "45", "-90", "360", "left"] {
            assert_eq!(bad.parse::<Rotation>(), Err(NoRotation), "{bad}");
        }
    }
}
