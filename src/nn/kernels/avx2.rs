//! AVX2: sixteen exact products per instruction.
//!
//! `vpmaddubsw` multiplies bytes by bytes but saturates its sums of two
//! products. `vpmaddwd` on 16-bit values never saturates, and costs the same,
//! because `vpmaddubsw` needs a second multiplication to widen its sums. So
//! bytes are widened to i16 once, and everything is exact. Weights stay bytes
//! in memory: a small network's last layers are read from beyond the second
//! cache, and widening them on the way costs less than reading twice as much.
//!
//! A lane of `vpmaddwd` is one channel, its two products are two neighbouring
//! inputs (or two taps of a window). Packing two vectors of eight i32 to
//! sixteen i16 interleaves their halves; the channels of a block are laid out
//! such that it puts them into their natural order.

use std::arch::x86_64::*;

use super::aligned::Aligned;
use super::arithmetic::{Ends, Pool, Quantization, Requantizer, Sum, quantize};
use super::dense::{self, Block, Instructions, Parameters};
use super::depthwise::{self, Windows};
use super::geometry::{Geometry, Rows};
use crate::isa::Avx2;

/// Channels of a block of two vectors, lane by lane.
const ORDER: [usize; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

impl Instructions for Avx2 {
    type Sums = __m256i;

    const LANES: usize = 8;
    const VECTORS: (usize, usize) = (1, 2);
    const WIDTH: usize = 2;
    const GROUP: usize = 2;
    const STEP: usize = 2;
    const IN_PLACE: bool = false;
    const LESS: i32 = 0;
    /// Most of a 32 KiB cache.
    const CHUNK: usize = 24 * 1024;

    /// 6 x 2 sums fill the 16 registers together with two vectors of weights, an
    /// input and a product.
    #[inline(always)]
    fn tile(_: usize) -> usize {
        6
    }

    fn output_of(lane: usize, vectors: usize) -> usize {
        if vectors == 2 { ORDER[lane] } else { lane }
    }

    fn lay_out(self, input: &[u8], row: &mut [u8]) {
        // SAFETY: `self` proves that the processor has AVX2.
        unsafe { widen(input, row) };
    }

    fn tiles_of<const POSITIONS: usize, const VECTORS: usize>(
        self,
        block: &Block<'_>,
        rows: &[u8],
        output: &mut [u8],
    ) {
        #[target_feature(enable = "avx2,fma")]
        fn compiled<const POSITIONS: usize, const VECTORS: usize>(
            block: &Block<'_>,
            rows: &[u8],
            output: &mut [u8],
        ) {
            // SAFETY: this function is compiled for AVX2 and FMA.
            unsafe { dense::tiles_of::<Avx2, POSITIONS, VECTORS>(block, rows, output) }
        }
        // SAFETY: `self` proves that the processor has AVX2 and FMA.
        unsafe { compiled::<POSITIONS, VECTORS>(block, rows, output) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m256i {
        // SAFETY: the caller guarantees eight numbers.
        unsafe { _mm256_loadu_si256(from.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply<const POSITIONS: usize, const VECTORS: usize>(
        sums: &mut [[__m256i; VECTORS]; POSITIONS],
        rows: *const u8,
        stride: usize,
        mut weights: *const i8,
    ) {
        let rows = rows.cast::<i16>();
        for pair in 0..stride / 2 {
            // SAFETY: the caller guarantees the rows and the weights: pair `p` of
            // a row is the two i16 from `2 p`, and has 16 bytes of weights for
            // each vector.
            unsafe {
                let mut vectors = [_mm256_setzero_si256(); VECTORS];
                for (index, vector) in vectors.iter_mut().enumerate() {
                    *vector = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(16 * index).cast()));
                }
                weights = weights.add(16 * VECTORS);
                for (position, sums) in sums.iter_mut().enumerate() {
                    let inputs = rows.add(position * stride + 2 * pair).cast::<i32>();
                    let inputs = _mm256_set1_epi32(inputs.read_unaligned());
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, vector));
                    }
                }
            }
        }
    }

    #[inline(always)]
    unsafe fn finish<const POSITIONS: usize, const VECTORS: usize>(
        sums: &[[__m256i; VECTORS]; POSITIONS],
        block: &Block<'_>,
        output: *mut u8,
    ) {
        // SAFETY: the caller guarantees scale, offset and output.
        unsafe {
            let mut scale = [_mm256_setzero_ps(); VECTORS];
            let mut offset = [_mm256_setzero_ps(); VECTORS];
            for vector in 0..VECTORS {
                scale[vector] = _mm256_loadu_ps(block.scale.as_ptr().add(8 * vector));
                offset[vector] = _mm256_loadu_ps(block.offset.as_ptr().add(8 * vector));
            }
            for (position, sums) in sums.iter().enumerate() {
                let first = round(sums[0], scale[0], offset[0]);
                let bytes = if VECTORS == 2 {
                    finish(first, round(sums[1], scale[1], offset[1]), block.ends)
                } else {
                    // Both halves one after the other, for the natural order.
                    finish_natural(first, block.ends)
                };
                store(bytes, output.add(position * block.outputs), block.channels);
            }
        }
    }
}

/// Zero-extends bytes to i16.
#[target_feature(enable = "avx2,fma")]
fn widen(input: &[u8], output: &mut [u8]) {
    let (blocks, rest) = input.as_chunks::<16>();
    let (wide, wide_rest) = output.as_chunks_mut::<32>();
    for (block, wide) in blocks.iter().zip(wide) {
        // SAFETY: reads 16 bytes of an array of 16 and writes 32 to one.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            _mm256_storeu_si256(wide.as_mut_ptr().cast(), _mm256_cvtepu8_epi16(bytes));
        }
    }
    let (wide_rest, _) = wide_rest.as_chunks_mut::<2>();
    for (wide, &byte) in wide_rest.iter_mut().zip(rest) {
        *wide = u16::from(byte).to_ne_bytes();
    }
}

/// Writes the first `count` bytes, at most 16.
///
/// # Safety
/// `output` can be written to for `count` bytes.
#[target_feature(enable = "avx2,fma")]
unsafe fn store(bytes: __m128i, output: *mut u8, count: usize) {
    // SAFETY: writes `count` bytes each time, and the caller guarantees them.
    unsafe {
        match count {
            16 => _mm_storeu_si128(output.cast(), bytes),
            8 => _mm_storel_epi64(output.cast(), bytes),
            _ => {
                let mut buffer = [0u8; 16];
                _mm_storeu_si128(buffer.as_mut_ptr().cast(), bytes);
                std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, count);
            }
        }
    }
}

/// `round(fma(sum, scale, offset))`, half to even (the rounding mode that Rust
/// programs run in).
#[target_feature(enable = "avx2,fma")]
fn round(sums: __m256i, scale: __m256, offset: __m256) -> __m256i {
    _mm256_cvtps_epi32(_mm256_fmadd_ps(_mm256_cvtepi32_ps(sums), scale, offset))
}

/// Sixteen values in [`ORDER`] to bytes in natural order.
#[target_feature(enable = "avx2,fma")]
fn finish(first: __m256i, second: __m256i, ends: Ends) -> __m128i {
    let words = _mm256_packs_epi32(first, second);
    let words = _mm256_adds_epi16(words, _mm256_set1_epi16(ends.zero));
    let bytes = _mm_packus_epi16(
        _mm256_castsi256_si128(words),
        _mm256_extracti128_si256::<1>(words),
    );
    limit(bytes, ends)
}

/// Eight values to bytes; the upper half repeats them.
#[target_feature(enable = "avx2,fma")]
fn finish_natural(values: __m256i, ends: Ends) -> __m128i {
    let words = _mm_packs_epi32(
        _mm256_castsi256_si128(values),
        _mm256_extracti128_si256::<1>(values),
    );
    let words = _mm_adds_epi16(words, _mm_set1_epi16(ends.zero));
    limit(_mm_packus_epi16(words, words), ends)
}

#[target_feature(enable = "avx2,fma")]
fn limit(bytes: __m128i, ends: Ends) -> __m128i {
    if !ends.limited {
        return bytes;
    }
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(ends.low.cast_signed()));
    _mm_min_epu8(bytes, _mm_set1_epi8(ends.high.cast_signed()))
}

/// The weights of a depthwise convolution with a window of 3 x 3, eight
/// channels at a time; [`super::scalar`] computes the rest.
///
/// A pair of products takes two rows of one column. Two outputs, one above the
/// other, need four rows, and each column of pairs serves three outputs side by
/// side.
#[derive(Debug)]
struct Depthwise {
    blocks: usize,
    weights: Aligned<i16>,
    parameters: Parameters,
}

/// i16 of weights of a block of eight channels: 12 or 6 vectors.
const fn block_weights(stride: usize) -> usize {
    if stride == 1 { 12 * 16 } else { 6 * 16 }
}

/// One column of three or four rows as pairs, for eight channels.
#[derive(Clone, Copy)]
struct Column([__m256i; 2]);

/// Column `x` of rows 0 and 1 and of rows 2 and 3 (`FOUR`) or 2 alone.
///
/// # Safety There are eight channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn column<const FOUR: bool>(rows: &Rows<'_, 4>, x: isize, channel: usize) -> Column {
    // SAFETY: the caller guarantees the channels.
    let (a, b, c, d) = unsafe {
        let [a, b, c, d] = rows.column(x, channel);
        (
            _mm_loadl_epi64(a.cast()),
            _mm_loadl_epi64(b.cast()),
            _mm_loadl_epi64(c.cast()),
            _mm_loadl_epi64(d.cast()),
        )
    };
    let upper = _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(a, b));
    let lower = if FOUR {
        _mm256_cvtepu8_epi16(_mm_unpacklo_epi8(c, d))
    } else {
        _mm256_cvtepu8_epi32(c)
    };
    Column([upper, lower])
}

/// `None` for another window or stride.
pub fn depthwise(
    _: Avx2,
    geometry: &Geometry,
    weights: &[i8],
    requantizer: &Requantizer,
) -> Option<Box<dyn Windows>> {
    if !depthwise::fits(geometry) {
        return None;
    }
    let stride = geometry.stride[0];
    let blocks = geometry.channels / 8;
    let lanes: Vec<_> = (0..8 * blocks).collect();
    let mut packed = Aligned::new(blocks * block_weights(stride));
    let mut pairs = packed.as_chunks_mut::<2>().0.iter_mut();
    for block in lanes.chunks(8) {
        for above in 0..depthwise::rows_at_once(stride) {
            for column in 0..3 {
                for pair in [0, 2] {
                    for (&channel, packed) in block.iter().zip(&mut pairs) {
                        let rows = depthwise::column_weights(weights, channel, above, column);
                        *packed = [rows[pair], rows[pair + 1]].map(i16::from);
                    }
                }
            }
        }
    }
    Some(Box::new(Depthwise {
        blocks,
        weights: packed,
        parameters: Parameters::new(requantizer, &lanes),
    }))
}

impl Windows for Depthwise {
    fn bytes(&self) -> usize {
        self.weights.len() * 2
    }

    fn channels(&self) -> usize {
        8 * self.blocks
    }

    fn rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        // SAFETY: a `Depthwise` is only made with the proof that the processor
        // has AVX2 and FMA.
        unsafe {
            if geometry.stride[0] == 1 {
                self.two_rows(geometry, rows, ends, output);
            } else {
                self.one_row(geometry, rows, ends, output);
            }
        }
    }
}

impl Depthwise {
    /// Weights, bias, scale and offset of a block.
    ///
    /// # Safety
    /// The block exists.
    #[target_feature(enable = "avx2,fma")]
    unsafe fn block<const VECTORS: usize>(
        &self,
        block: usize,
    ) -> ([__m256i; VECTORS], __m256i, __m256, __m256) {
        // SAFETY: a block has `VECTORS` vectors of weights and one of each
        // parameter.
        unsafe {
            let weights = self.weights.as_ptr().add(block * VECTORS * 16);
            let mut vectors = [_mm256_setzero_si256(); VECTORS];
            for (index, vector) in vectors.iter_mut().enumerate() {
                *vector = _mm256_loadu_si256(weights.add(16 * index).cast());
            }
            (
                vectors,
                _mm256_loadu_si256(self.parameters.bias.as_ptr().add(8 * block).cast()),
                _mm256_loadu_ps(self.parameters.scale.as_ptr().add(8 * block)),
                _mm256_loadu_ps(self.parameters.offset.as_ptr().add(8 * block)),
            )
        }
    }

    /// Two rows of outputs (one, where the second is beyond the end) from four
    /// rows of inputs, with a stride of 1.
    #[target_feature(enable = "avx2,fma")]
    fn two_rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        let channels = geometry.channels;
        let out_line = geometry.out_width * channels;
        let both = output.len() == 2 * out_line;
        assert!(both || output.len() == out_line);
        assert!(self.weights.len() == self.blocks * block_weights(1));
        assert!(8 * self.blocks <= channels);
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 8 * block;
            // SAFETY: the block exists, and its eight channels are in each
            // position of inputs and outputs.
            unsafe {
                let (weights, bias, scale, offset) = self.block::<12>(block);
                let mut first = column::<true>(rows, left, channel);
                let mut second = column::<true>(rows, left + 1, channel);
                for x in 0..geometry.out_width {
                    let third = column::<true>(rows, left + 2 + x as isize, channel);
                    let mut sums = [bias; 2];
                    for (row, sum) in sums.iter_mut().enumerate() {
                        for (column, Column(pairs)) in [first, second, third].iter().enumerate() {
                            let weights = &weights[6 * row + 2 * column..][..2];
                            for (pair, weights) in pairs.iter().zip(weights) {
                                *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(*pair, *weights));
                            }
                        }
                    }
                    (first, second) = (second, third);
                    let bytes = finish(
                        round(sums[0], scale, offset),
                        round(sums[1], scale, offset),
                        ends,
                    );
                    // Channels 0 to 3 of both rows, then 4 to 7 of both.
                    let bytes = _mm_shuffle_epi32::<0b11_01_10_00>(bytes);
                    let at = output.as_mut_ptr().add(x * channels + channel);
                    _mm_storel_epi64(at.cast(), bytes);
                    if both {
                        let high = _mm_unpackhi_epi64(bytes, bytes);
                        _mm_storel_epi64(at.add(out_line).cast(), high);
                    }
                }
            }
        }
    }

    /// A row of outputs from three rows of inputs, with a stride of 2.
    #[target_feature(enable = "avx2,fma")]
    fn one_row(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        let channels = geometry.channels;
        assert!(output.len() == geometry.out_width * channels);
        assert!(self.weights.len() == self.blocks * block_weights(2));
        assert!(8 * self.blocks <= channels);
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 8 * block;
            // SAFETY: as in `two_rows`.
            unsafe {
                let (weights, bias, scale, offset) = self.block::<6>(block);
                let mut first = column::<false>(rows, left, channel);
                for x in 0..geometry.out_width {
                    let at = left + 2 * x as isize;
                    let second = column::<false>(rows, at + 1, channel);
                    let third = column::<false>(rows, at + 2, channel);
                    let mut sum = bias;
                    for (column, Column(pairs)) in [first, second, third].iter().enumerate() {
                        for (pair, weights) in pairs.iter().zip(&weights[2 * column..]) {
                            sum = _mm256_add_epi32(sum, _mm256_madd_epi16(*pair, *weights));
                        }
                    }
                    first = third;
                    let bytes = finish_natural(round(sum, scale, offset), ends);
                    let at = output.as_mut_ptr().add(x * channels + channel);
                    _mm_storel_epi64(at.cast(), bytes);
                }
            }
        }
    }
}

/// `round(value / scale)`; a result far outside of a byte keeps only its sign.
#[target_feature(enable = "avx2,fma")]
fn steps(values: __m256, scale: __m256) -> __m256i {
    let steps = _mm256_div_ps(values, scale);
    // The instruction gives the second operand if the first is NaN.
    let steps = _mm256_max_ps(steps, _mm256_set1_ps(-65536.0));
    let steps = _mm256_min_ps(steps, _mm256_set1_ps(65536.0));
    _mm256_cvtps_epi32(steps)
}

pub fn add(_: Avx2, sum: &Sum, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let (blocks, rest) = output.as_chunks_mut::<8>();
    // SAFETY: the first argument proves that AVX2 and FMA are there.
    unsafe { add_blocks(sum, a_blocks, b_blocks, blocks) };
    super::scalar::add(sum, a_rest, b_rest, rest);
}

#[target_feature(enable = "avx2,fma")]
fn add_blocks(parameters: &Sum, a: &[[u8; 8]], b: &[[u8; 8]], output: &mut [[u8; 8]]) {
    let ends = Ends::new(parameters.to.zero, &parameters.range);
    let scale = _mm256_set1_ps(parameters.to.scale);
    let number = |bytes: &[u8; 8], from: Quantization| {
        let bytes = _mm_set_epi64x(0, i64::from_le_bytes(*bytes));
        let words = _mm256_cvtepu8_epi32(bytes);
        let words = _mm256_sub_epi32(words, _mm256_set1_epi32(i32::from(from.zero)));
        _mm256_mul_ps(_mm256_cvtepi32_ps(words), _mm256_set1_ps(from.scale))
    };
    for (output, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
        let sum = _mm256_add_ps(number(a, parameters.a), number(b, parameters.b));
        let bytes = finish_natural(steps(sum, scale), ends);
        *output = _mm_cvtsi128_si64(bytes).to_le_bytes();
    }
}

pub fn quantize_all(_: Avx2, to: Quantization, input: &[f32], output: &mut [u8]) {
    let (values, values_rest) = input.as_chunks::<8>();
    let (blocks, rest) = output.as_chunks_mut::<8>();
    // SAFETY: the first argument proves that AVX2 and FMA are there.
    unsafe { quantize_blocks(to, values, blocks) };
    for (output, &value) in rest.iter_mut().zip(values_rest) {
        *output = quantize(value, to, &(0..=255));
    }
}

#[target_feature(enable = "avx2,fma")]
fn quantize_blocks(to: Quantization, input: &[[f32; 8]], output: &mut [[u8; 8]]) {
    let ends = Ends::new(to.zero, &(0..=255));
    let scale = _mm256_set1_ps(to.scale);
    for (output, values) in output.iter_mut().zip(input) {
        // SAFETY: reads eight f32 of an array of eight.
        let values = unsafe { _mm256_loadu_ps(values.as_ptr()) };
        let bytes = finish_natural(steps(values, scale), ends);
        *output = _mm_cvtsi128_si64(bytes).to_le_bytes();
    }
}

pub fn pool(_: Avx2, pool: &Pool, input: &[u8], output: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn compiled(pool: &Pool, input: &[u8], output: &mut [u8]) {
        super::scalar::pool(pool, input, output);
    }
    // SAFETY: the first argument proves that AVX2 and FMA are there.
    unsafe { compiled(pool, input, output) };
}
