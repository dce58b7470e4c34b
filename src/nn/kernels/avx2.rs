//! AVX2: sixteen products an instruction, exactly.
//!
//! `vpmaddubsw` multiplies bytes by bytes but saturates its sums of two
//! products; `vpmaddwd` on 16-bit values never does, and because the former
//! needs a second multiplication to widen its sums, both cost the same. So
//! bytes are widened to i16 once, and everything is exact. Weights stay bytes in
//! memory: a small network's last layers are read from beyond the second cache,
//! and widening them on the way costs less than reading twice as much.
//!
//! A lane of `vpmaddwd` is one channel, its two products are two neighbouring
//! inputs (or two taps of a window). Packing two vectors of eight i32 to
//! sixteen i16 interleaves their halves; the channels of a block are laid out
//! such that it puts them into their natural order.

use std::arch::x86_64::*;

use super::{
    Add, Aligned, Geometry, Picture, Pool, Quantization, Range, Requantize, Rows, Scratch, quantize,
};

/// Channels of a block of two vectors, lane by lane.
const ORDER: [usize; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// Positions computed at once: 6 x 2 sums fill the 16 registers together with
/// two vectors of weights, an input and a product.
const TILE: usize = 6;

/// Widened inputs that are worked on at once, in i16: most of a 32 KiB cache.
const CHUNK: usize = 12 * 1024;

/// Bias, scale and offset, laid out like the sums.
#[derive(Debug)]
pub(super) struct Parameters {
    pub bias: Aligned<i32>,
    pub scale: Aligned<f32>,
    pub offset: Aligned<f32>,
}

impl Parameters {
    /// `lanes` names the channel of each lane; beyond the last channel there
    /// are zeros.
    pub fn new(requantize: &Requantize, lanes: &[usize]) -> Self {
        let mut parameters = Self {
            bias: Aligned::new(lanes.len()),
            scale: Aligned::new(lanes.len()),
            offset: Aligned::new(lanes.len()),
        };
        for (lane, &channel) in lanes.iter().enumerate() {
            if channel < requantize.outputs() {
                parameters.bias[lane] = requantize.bias[channel];
                parameters.scale[lane] = requantize.scale[channel];
                parameters.offset[lane] = requantize.offset[channel];
            }
        }
        parameters
    }
}

/// Zero point and range in the forms that the ends of the kernels need.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub zero: i16,
    /// Whether the range is less than what a byte can hold.
    pub limited: bool,
    pub low: i8,
    pub high: i8,
}

impl Ends {
    pub fn new(zero: u8, range: &Range) -> Self {
        Self {
            zero: i16::from(zero),
            limited: *range != (0..=255),
            low: range.start().cast_signed(),
            high: range.end().cast_signed(),
        }
    }
}

/// A matrix product's weights: block by block of 16 outputs (8 at the end, if
/// that is enough), in it pair by pair of inputs.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    pairs: usize,
    outputs: usize,
    weights: Aligned<i8>,
    parameters: Parameters,
}

impl Dense {
    pub fn new(weights: &[i8], requantize: &Requantize) -> Self {
        let outputs = requantize.outputs();
        let inputs = weights.len() / outputs;
        let pairs = inputs.div_ceil(2);
        let mut lanes = Vec::new();
        for first in (0..outputs).step_by(16) {
            if outputs - first <= 8 {
                lanes.extend(first..first + 8);
            } else {
                lanes.extend(ORDER.map(|channel| first + channel));
            }
        }
        let mut packed = Aligned::new(lanes.len() * pairs * 2);
        let mut at = 0;
        for block in lanes.chunks(16) {
            for pair in 0..pairs {
                for &channel in block {
                    for input in [2 * pair, 2 * pair + 1] {
                        if channel < outputs && input < inputs {
                            packed[at] = weights[channel * inputs + input];
                        }
                        at += 1;
                    }
                }
            }
        }
        Self {
            inputs,
            pairs,
            outputs,
            weights: packed,
            parameters: Parameters::new(requantize, &lanes),
        }
    }

    pub fn bytes(&self) -> usize {
        self.weights.len()
    }

    /// Positions widened at once.
    fn chunk(&self) -> usize {
        (CHUNK / (2 * self.pairs)).max(2 * TILE) / TILE * TILE
    }

    /// The i16 of scratch memory that [`Dense::run`] needs.
    pub fn scratch(&self) -> usize {
        self.chunk() * 2 * self.pairs
    }

    pub fn run(
        &self,
        requantize: &Requantize,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let ends = Ends::new(requantize.zero, &requantize.range);
        let stride = 2 * self.pairs;
        let chunk = self.chunk();
        let inputs = input.chunks(chunk * self.inputs);
        for (input, output) in inputs.zip(output.chunks_mut(chunk * self.outputs)) {
            let positions = input.len() / self.inputs;
            let rows = &mut scratch.rows[..positions * stride];
            if self.inputs == stride {
                // SAFETY: a `Dense` is only made where AVX2 and FMA are there.
                unsafe { widen(input, rows) };
            } else {
                for (input, row) in input
                    .chunks_exact(self.inputs)
                    .zip(rows.chunks_exact_mut(stride))
                {
                    for (wide, &value) in row.iter_mut().zip(input) {
                        *wide = i16::from(value);
                    }
                    // Its weight is zero.
                    row[stride - 1] = 0;
                }
            }
            // SAFETY: as above.
            unsafe { self.product(rows, positions, ends, output) };
        }
    }

    /// All blocks of outputs of some positions.
    #[target_feature(enable = "avx2,fma")]
    fn product(&self, rows: &[i16], positions: usize, ends: Ends, output: &mut [u8]) {
        let stride = 2 * self.pairs;
        let tiles = positions.div_ceil(TILE);
        for first in (0..self.outputs).step_by(16) {
            let channels = (self.outputs - first).min(16);
            let wide = channels > 8;
            let lanes = if wide { 16 } else { 8 };
            let block = Block {
                weights: &self.weights[first * stride..(first + lanes) * stride],
                bias: &self.parameters.bias[first..first + lanes],
                scale: &self.parameters.scale[first..first + lanes],
                offset: &self.parameters.offset[first..first + lanes],
                ends,
                outputs: self.outputs,
                channels,
            };
            for tile in 0..tiles {
                // Tiles of nearly the same size: 9 positions are 5 and 4.
                let start = tile * positions / tiles;
                let size = (tile + 1) * positions / tiles - start;
                let rows = &rows[start * stride..(start + size) * stride];
                let output = &mut output[start * self.outputs + first..];
                match (wide, size) {
                    (true, 6) => tile_of::<6, 2>(&block, rows, output),
                    (true, 5) => tile_of::<5, 2>(&block, rows, output),
                    (true, 4) => tile_of::<4, 2>(&block, rows, output),
                    (true, 3) => tile_of::<3, 2>(&block, rows, output),
                    (true, 2) => tile_of::<2, 2>(&block, rows, output),
                    (true, _) => tile_of::<1, 2>(&block, rows, output),
                    (false, 6) => tile_of::<6, 1>(&block, rows, output),
                    (false, 5) => tile_of::<5, 1>(&block, rows, output),
                    (false, 4) => tile_of::<4, 1>(&block, rows, output),
                    (false, 3) => tile_of::<3, 1>(&block, rows, output),
                    (false, 2) => tile_of::<2, 1>(&block, rows, output),
                    (false, _) => tile_of::<1, 1>(&block, rows, output),
                }
            }
        }
    }
}

/// Eight (one vector) or sixteen (two) outputs of a [`Dense`].
struct Block<'a> {
    weights: &'a [i8],
    bias: &'a [i32],
    scale: &'a [f32],
    offset: &'a [f32],
    ends: Ends,
    /// Bytes from one position of the output to the next.
    outputs: usize,
    /// Those of the block that exist.
    channels: usize,
}

/// Zero-extends bytes to i16.
#[target_feature(enable = "avx2,fma")]
fn widen(input: &[u8], output: &mut [i16]) {
    let (blocks, rest) = input.as_chunks::<16>();
    let (wide, wide_rest) = output.as_chunks_mut::<16>();
    for (block, wide) in blocks.iter().zip(wide) {
        // SAFETY: reads 16 bytes of an array of 16 and writes 16 i16 to one.
        unsafe {
            let bytes = _mm_loadu_si128(block.as_ptr().cast());
            _mm256_storeu_si256(wide.as_mut_ptr().cast(), _mm256_cvtepu8_epi16(bytes));
        }
    }
    for (wide, &byte) in wide_rest.iter_mut().zip(rest) {
        *wide = i16::from(byte);
    }
}

/// `POSITIONS` rows of inputs times a block of `VECTORS` x 8 outputs.
#[target_feature(enable = "avx2,fma")]
fn tile_of<const POSITIONS: usize, const VECTORS: usize>(
    block: &Block<'_>,
    rows: &[i16],
    output: &mut [u8],
) {
    let stride = rows.len() / POSITIONS;
    let lanes = VECTORS * 8;
    assert!(rows.len() == POSITIONS * stride && stride.is_multiple_of(2));
    assert!(block.weights.len() == lanes * stride);
    assert!(block.bias.len() == lanes && block.scale.len() == lanes && block.offset.len() == lanes);
    assert!(block.channels <= lanes);
    assert!(output.len() >= (POSITIONS - 1) * block.outputs + block.channels);
    // SAFETY: the lengths are asserted above: pair `p` of a row is the two i16
    // from `2 p`, and its weights are the `2 * lanes` bytes from `2 * lanes * p`.
    unsafe {
        let mut sums = [[_mm256_setzero_si256(); VECTORS]; POSITIONS];
        for vector in 0..VECTORS {
            let bias = _mm256_loadu_si256(block.bias.as_ptr().add(8 * vector).cast());
            for sums in &mut sums {
                sums[vector] = bias;
            }
        }
        let rows = rows.as_ptr();
        let mut weights = block.weights.as_ptr();
        for pair in 0..stride / 2 {
            let mut vectors = [_mm256_setzero_si256(); VECTORS];
            for (index, vector) in vectors.iter_mut().enumerate() {
                *vector = _mm256_cvtepi8_epi16(_mm_loadu_si128(weights.add(16 * index).cast()));
            }
            weights = weights.add(2 * lanes);
            for (position, sums) in sums.iter_mut().enumerate() {
                let inputs = rows.add(position * stride + 2 * pair).cast::<i32>();
                let inputs = _mm256_set1_epi32(inputs.read_unaligned());
                for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                    *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(inputs, vector));
                }
            }
        }
        let mut scale = [_mm256_setzero_ps(); VECTORS];
        let mut offset = [_mm256_setzero_ps(); VECTORS];
        for vector in 0..VECTORS {
            scale[vector] = _mm256_loadu_ps(block.scale.as_ptr().add(8 * vector));
            offset[vector] = _mm256_loadu_ps(block.offset.as_ptr().add(8 * vector));
        }
        for (position, sums) in sums.iter().enumerate() {
            let bytes = if VECTORS == 2 {
                finish(
                    round(sums[0], scale[0], offset[0]),
                    round(sums[1], scale[1], offset[1]),
                    block.ends,
                )
            } else {
                let values = round(sums[0], scale[0], offset[0]);
                // Both halves one after the other, as natural order wants it.
                finish_natural(values, block.ends)
            };
            let output = output.as_mut_ptr().add(position * block.outputs);
            store(bytes, output, block.channels);
        }
    }
}

/// Writes the first `count` bytes, at most 16.
///
/// # Safety
/// `output` can be written to for `count` bytes.
#[target_feature(enable = "avx2,fma")]
unsafe fn store(bytes: __m128i, output: *mut u8, count: usize) {
    // SAFETY: writes `count` bytes each time, and the caller answers for them.
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
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(ends.low));
    _mm_min_epu8(bytes, _mm_set1_epi8(ends.high))
}

/// The weights of a depthwise convolution with a window of 3 x 3, for eight
/// channels after eight; what remains is computed by [`super::scalar`].
///
/// A pair of products is two rows of one column: two outputs one above the
/// other need four rows, and each column of pairs serves three outputs side by
/// side.
#[derive(Debug)]
pub struct Depthwise {
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
/// # Safety
/// There are eight channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "avx2,fma")]
unsafe fn column<const FOUR: bool>(rows: &Rows<'_, 4>, x: isize, channel: usize) -> Column {
    // SAFETY: the caller answers for the channels.
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

impl Depthwise {
    /// `None` for another window or stride.
    pub fn new(geometry: &Geometry, weights: &[i8], requantize: &Requantize) -> Option<Self> {
        let stride = geometry.stride[0];
        if geometry.window != [3, 3] || ![[1, 1], [2, 2]].contains(&geometry.stride) {
            return None;
        }
        let blocks = geometry.channels / 8;
        let lanes: Vec<_> = (0..8 * blocks).collect();
        let mut packed = Aligned::new(blocks * block_weights(stride));
        let mut at = 0;
        // Which row of the window each of the four rows is, output by output.
        let rows: &[[Option<usize>; 4]] = if stride == 1 {
            &[
                [Some(0), Some(1), Some(2), None],
                [None, Some(0), Some(1), Some(2)],
            ]
        } else {
            &[[Some(0), Some(1), Some(2), None]]
        };
        for block in lanes.chunks(8) {
            for rows in rows {
                for column in 0..3 {
                    for pair in rows.chunks(2) {
                        for channel in block {
                            for row in pair {
                                if let Some(row) = row {
                                    packed[at] = i16::from(weights[channel * 9 + row * 3 + column]);
                                }
                                at += 1;
                            }
                        }
                    }
                }
            }
        }
        Some(Self {
            blocks,
            weights: packed,
            parameters: Parameters::new(requantize, &lanes),
        })
    }

    pub fn bytes(&self) -> usize {
        self.weights.len() * 2
    }

    /// The channels that it computes, from the first on.
    pub fn channels(&self) -> usize {
        8 * self.blocks
    }

    /// Rows of outputs from `first` on.
    pub fn run(
        &self,
        geometry: &Geometry,
        requantize: &Requantize,
        first: usize,
        input: &Picture<'_>,
        output: &mut [u8],
    ) {
        let ends = Ends::new(requantize.zero, &requantize.range);
        let at_once = if geometry.stride[0] == 1 { 2 } else { 1 };
        let out_line = geometry.out_width * geometry.channels;
        for (index, output) in output.chunks_mut(at_once * out_line).enumerate() {
            let rows = input.rows(geometry, first + at_once * index);
            // SAFETY: a `Depthwise` is only made where AVX2 and FMA are there.
            unsafe {
                if at_once == 2 {
                    self.two_rows(geometry, &rows, ends, output);
                } else {
                    self.one_row(geometry, &rows, ends, output);
                }
            }
        }
    }

    /// Weights, bias, scale and offset of a block.
    ///
    /// # Safety
    /// The block is there.
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
            // SAFETY: the block is there, and its eight channels are in each
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

/// `round(value / scale)` where that is far outside of a byte, its sign.
#[target_feature(enable = "avx2,fma")]
fn steps(values: __m256, scale: __m256) -> __m256i {
    let steps = _mm256_div_ps(values, scale);
    // The second operand is taken where the first is no number.
    let steps = _mm256_max_ps(steps, _mm256_set1_ps(-65536.0));
    let steps = _mm256_min_ps(steps, _mm256_set1_ps(65536.0));
    _mm256_cvtps_epi32(steps)
}

pub fn add(add: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (a_blocks, a_rest) = a.as_chunks::<8>();
    let (b_blocks, b_rest) = b.as_chunks::<8>();
    let (blocks, rest) = output.as_chunks_mut::<8>();
    // SAFETY: an `Add` for this kernel is only made where AVX2 and FMA are there.
    unsafe { add_blocks(add, a_blocks, b_blocks, blocks) };
    super::scalar::add(add, a_rest, b_rest, rest);
}

#[target_feature(enable = "avx2,fma")]
fn add_blocks(add: &Add, a: &[[u8; 8]], b: &[[u8; 8]], output: &mut [[u8; 8]]) {
    let ends = Ends::new(add.to.zero, &add.range);
    let scale = _mm256_set1_ps(add.to.scale);
    let number = |bytes: &[u8; 8], from: Quantization| {
        let bytes = _mm_set_epi64x(0, i64::from_le_bytes(*bytes));
        let words = _mm256_cvtepu8_epi32(bytes);
        let words = _mm256_sub_epi32(words, _mm256_set1_epi32(i32::from(from.zero)));
        _mm256_mul_ps(_mm256_cvtepi32_ps(words), _mm256_set1_ps(from.scale))
    };
    for (output, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
        let sum = _mm256_add_ps(number(a, add.a), number(b, add.b));
        let bytes = finish_natural(steps(sum, scale), ends);
        *output = _mm_cvtsi128_si64(bytes).to_le_bytes();
    }
}

pub fn quantize_all(to: Quantization, input: &[f32], output: &mut [u8]) {
    let (values, values_rest) = input.as_chunks::<8>();
    let (blocks, rest) = output.as_chunks_mut::<8>();
    // SAFETY: this kernel is only chosen where AVX2 and FMA are there.
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

pub fn pool(pool: &Pool, input: &[u8], output: &mut [u8]) {
    #[target_feature(enable = "avx2,fma")]
    fn compiled(pool: &Pool, input: &[u8], output: &mut [u8]) {
        super::scalar::pool(pool, input, output);
    }
    // SAFETY: a `Pool` for this kernel is only made where AVX2 and FMA are there.
    unsafe { compiled(pool, input, output) };
}
