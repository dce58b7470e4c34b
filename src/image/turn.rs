//! Turns pictures by quarters and mirrors them.

use std::fmt;
use std::str::FromStr;

use super::{LumaImage, RgbImage};
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
    /// The turn that makes a picture with this EXIF orientation (1 to 8)
    /// upright; other numbers give no turn.
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

    /// Whether it changes nothing.
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

    /// Whether the source's columns and the source's rows are read backwards.
    const fn backwards(self) -> (bool, bool) {
        match self.rotation {
            Rotation::None => (self.mirror, false),
            Rotation::Half => (!self.mirror, true),
            Rotation::Quarter => (false, !self.mirror),
            Rotation::ThreeQuarters => (true, self.mirror),
        }
    }

    /// Turns a picture into `out`, whose memory is reused.
    pub fn apply(self, from: LumaView<'_>, out: &mut LumaImage) {
        (out.width, out.height) = self.size((from.width(), from.height()));
        let pixels = from.width() as usize * from.height() as usize;
        out.pixels.resize(pixels, 0);
        let (columns, rows) = self.backwards();
        if self.is_sideways() {
            let how = Sideways {
                columns_backwards: columns,
                rows_backwards: rows,
            };
            how.transpose(from, &mut out.pixels);
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

    /// Turns a picture with `channels` bytes per pixel.
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

impl RgbImage {
    /// Turns the picture.
    pub fn turn(&mut self, turn: Turn) {
        if !turn.is_none() {
            turn.apply_slowly((self.width, self.height), &mut self.pixels, 3);
            (self.width, self.height) = turn.size((self.width, self.height));
        }
    }
}

/// Sixteen bytes at once: processors have instructions that reverse eight of
/// them. With blocks of eight, the compiler makes slower vector code for x86-64.
fn reverse(from: &[u8], to: &mut [u8]) {
    let (start, blocks) = from.as_rchunks::<16>();
    let (to_blocks, to_end) = to.as_chunks_mut::<16>();
    for (to, from) in to_blocks.iter_mut().zip(blocks.iter().rev()) {
        *to = u128::from_le_bytes(*from).swap_bytes().to_le_bytes();
    }
    for (to, from) in to_end.iter_mut().zip(start.iter().rev()) {
        *to = *from;
    }
}

/// A turn by 90 or 270 degrees: how rows and columns of the source become those
/// of the result.
#[derive(Clone, Copy)]
struct Sideways {
    columns_backwards: bool,
    rows_backwards: bool,
}

impl Sideways {
    /// Columns become rows.
    fn transpose(self, from: LumaView<'_>, out: &mut [u8]) {
        let is_done = blocks::transpose(self, from, out);
        if !is_done {
            self.transpose_bytes(from, out);
        }
    }

    /// One byte after the other: for small pictures, and for processors without
    /// [`blocks`].
    fn transpose_bytes(self, from: LumaView<'_>, out: &mut [u8]) {
        for (x, to) in out.chunks_exact_mut(from.height() as usize).enumerate() {
            let column = self.column(x, from.width() as usize);
            for (y, to) in to.iter_mut().enumerate() {
                let row = self.row(y, from.height() as usize);
                *to = from.row(row as u32)[column];
            }
        }
    }

    /// The source's row that becomes the result's column `x`.
    #[inline(always)]
    const fn row(self, x: usize, height: usize) -> usize {
        if self.rows_backwards {
            height - 1 - x
        } else {
            x
        }
    }

    /// The source's column that becomes the result's row `y`.
    #[inline(always)]
    const fn column(self, y: usize, width: usize) -> usize {
        if self.columns_backwards {
            width - 1 - y
        } else {
            y
        }
    }
}

#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
mod blocks {
    /// Does nothing, and returns false.
    pub(super) fn transpose(_: super::Sideways, _: super::LumaView<'_>, _: &mut [u8]) -> bool {
        false
    }
}

/// Transposes blocks of 16x16 bytes with instructions that interleave two rows
/// byte by byte. Its scalar twin is `Sideways::transpose_bytes`.
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod blocks {
    use super::{LumaView, Sideways};

    const BLOCK: usize = 16;
    const CACHE_LINE: usize = 64;

    /// Columns of a tile: three cache lines of the source. Many, because large
    /// pictures have each row in another page of memory.
    const TILE_COLUMNS: usize = 192;

    /// Rows of a tile. Blocks below each other follow each other, so that most
    /// cache lines of the result are written at once. Rows that are multiples of
    /// 1024 bytes apart share few places of the cache: it keeps 48 of them where
    /// it has 12 ways.
    const TILE_ROWS: usize = 48;

    /// The same if only the rows of the result are so far apart, and not those
    /// of the source: a line of the result that is written in two parts would
    /// leave the cache in between.
    const TILE_ROWS_OF_LONG_COLUMNS: usize = 64;

    /// Transposes a picture of at least one block; false for smaller ones.
    pub(super) fn transpose(how: Sideways, from: LumaView<'_>, out: &mut [u8]) -> bool {
        let (width, height) = (from.width() as usize, from.height() as usize);
        let (data, stride) = (from.data(), from.stride());
        if width < BLOCK || height < BLOCK {
            return false;
        }
        assert!(stride >= width && data.len() >= (height - 1) * stride + width);
        assert!(out.len() >= width * height);
        let (source, target) = (data.as_ptr(), out.as_mut_ptr());
        let source_step = step(stride, how.rows_backwards);
        let target_step = step(height, how.columns_backwards);
        let tile_rows = if height.is_multiple_of(1024) && !stride.is_multiple_of(1024) {
            TILE_ROWS_OF_LONG_COLUMNS
        } else {
            TILE_ROWS
        };
        let transpose_block = |left: usize, x: usize| {
            // The last blocks overlap those before.
            let last_left = left.min(width - BLOCK);
            let x = x.min(height - BLOCK);
            let row = how.row(x, height) * stride;
            let to = how.column(last_left, width) * height + x;
            // A cache line has four blocks: each fetches the next line of four rows.
            let next_line = source.wrapping_add(row + left + CACHE_LINE);
            let quarter = (left % CACHE_LINE / BLOCK * 4) as isize;
            for k in quarter..quarter + 4 {
                prefetch(next_line.wrapping_offset(source_step * k));
            }
            // SAFETY: The block is rows x to x + 15, below `height`, and columns
            // last_left to last_left + 15, below `width`, forwards or backwards.
            // The source has all of these, the target has width rows of height
            // bytes: see the assertions.
            unsafe {
                block(
                    source.add(row + last_left),
                    source_step,
                    target.add(to),
                    target_step,
                );
            }
        };
        for tile in (0..width).step_by(TILE_COLUMNS) {
            for top in (0..height).step_by(tile_rows) {
                for left in (tile..(tile + TILE_COLUMNS).min(width)).step_by(BLOCK) {
                    for x in (top..(top + tile_rows).min(height)).step_by(BLOCK) {
                        transpose_block(left, x);
                    }
                }
            }
        }
        true
    }

    const fn step(length: usize, backwards: bool) -> isize {
        if backwards {
            -(length as isize)
        } else {
            length as isize
        }
    }

    /// Transposes 16 rows of 16 bytes, eight at a time: rows k and k + 4 are
    /// interleaved to rows 2k and 2k + 1. After three such steps each row
    /// contains two columns of eight bytes.
    ///
    /// # Safety
    /// 16 rows of 16 bytes can be read from `source` on, and written from
    /// `target` on, with these steps from row to row.
    #[inline(always)]
    unsafe fn block(source: *const u8, source_step: isize, target: *mut u8, target_step: isize) {
        let mut row = source;
        for half in 0..2 {
            // SAFETY: As the caller says.
            let mut lanes: [Lane; 8] = std::array::from_fn(|k| unsafe {
                load(row.wrapping_offset(source_step * k as isize))
            });
            row = row.wrapping_offset(source_step * 8);
            for _ in 0..3 {
                let before = lanes;
                for k in 0..4 {
                    [lanes[2 * k], lanes[2 * k + 1]] = interleave(before[k], before[k + 4]);
                }
            }
            let mut column = target.wrapping_add(8 * half);
            for lane in lanes {
                let next = column.wrapping_offset(target_step);
                // SAFETY: As the caller says.
                unsafe { store_halves(lane, column, next) };
                column = next.wrapping_offset(target_step);
            }
        }
    }

    #[cfg(target_arch = "x86_64")]
    use x86::{Lane, interleave, load, prefetch, store_halves};
    /// SSE2, which every such processor has.
    #[cfg(target_arch = "x86_64")]
    mod x86 {
        use std::arch::x86_64::{
            __m128i, _MM_HINT_T0, _mm_castsi128_pd, _mm_loadu_si128, _mm_prefetch, _mm_storeh_pd,
            _mm_storel_epi64, _mm_unpackhi_epi8, _mm_unpacklo_epi8,
        };

        pub(super) type Lane = __m128i;

        /// Fetches a cache line that is read soon, from any address.
        #[inline(always)]
        pub(super) fn prefetch(address: *const u8) {
            // SAFETY: SSE belongs to x86_64. A prefetch reads nothing and does
            // not fault.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(address.cast()) }
        }

        /// # Safety
        /// 16 bytes can be read.
        #[inline(always)]
        pub(super) unsafe fn load(row: *const u8) -> Lane {
            // SAFETY: SSE2 belongs to x86_64, and the caller knows the bytes.
            unsafe { _mm_loadu_si128(row.cast()) }
        }

        /// # Safety
        /// 8 bytes can be written at each place.
        #[inline(always)]
        pub(super) unsafe fn store_halves(lane: Lane, low: *mut u8, high: *mut u8) {
            // SAFETY: SSE2 belongs to x86_64, and the caller knows the bytes.
            // Neither instruction needs an alignment.
            unsafe {
                _mm_storel_epi64(low.cast(), lane);
                _mm_storeh_pd(high.cast(), _mm_castsi128_pd(lane));
            }
        }

        #[inline(always)]
        pub(super) fn interleave(a: Lane, b: Lane) -> [Lane; 2] {
            // SAFETY: SSE2 belongs to x86_64.
            unsafe { [_mm_unpacklo_epi8(a, b), _mm_unpackhi_epi8(a, b)] }
        }
    }

    #[cfg(target_arch = "aarch64")]
    use arm::{Lane, interleave, load, prefetch, store_halves};
    /// NEON, which every such processor has.
    #[cfg(target_arch = "aarch64")]
    mod arm {
        use std::arch::aarch64::{
            uint8x16_t, vget_high_u8, vget_low_u8, vld1q_u8, vst1_u8, vzip1q_u8, vzip2q_u8,
        };

        pub(super) type Lane = uint8x16_t;

        /// Does nothing: stable Rust has no intrinsic for it.
        #[inline(always)]
        pub(super) const fn prefetch(_: *const u8) {}

        /// # Safety
        /// 16 bytes can be read.
        #[inline(always)]
        pub(super) unsafe fn load(row: *const u8) -> Lane {
            // SAFETY: NEON belongs to the aarch64 that Linux runs on, and the
            // caller knows the bytes.
            unsafe { vld1q_u8(row) }
        }

        /// # Safety
        /// 8 bytes can be written at each place.
        #[inline(always)]
        pub(super) unsafe fn store_halves(lane: Lane, low: *mut u8, high: *mut u8) {
            // SAFETY: NEON belongs to the aarch64 that Linux runs on, and the
            // caller knows the bytes.
            unsafe {
                vst1_u8(low, vget_low_u8(lane));
                vst1_u8(high, vget_high_u8(lane));
            }
        }

        #[inline(always)]
        pub(super) fn interleave(a: Lane, b: Lane) -> [Lane; 2] {
            // SAFETY: NEON belongs to the aarch64 that Linux runs on.
            unsafe { [vzip1q_u8(a, b), vzip2q_u8(a, b)] }
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

    /// Blocks give the same result as single pixels, also for rows with gaps
    /// between them.
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
            (200, 100),
            (385, 49),
            (20, 1024),
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
