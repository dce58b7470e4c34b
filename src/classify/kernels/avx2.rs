//! AVX2: sixteen products an instruction, exactly.
//!
//! `vpmaddubsw` multiplies bytes by bytes but saturates its sums of two
//! products; `vpmaddwd` on 16-bit values never does, and because the former
//! needs a second multiplication to widen its sums, both cost the same. So
//! bytes are widened to i16 once, and everything is exact.
//!
//! A lane of `vpmaddwd` is one channel, its two products are two neighbouring
//! inputs (or two taps of a window). Packing two vectors of eight i32 to
//! sixteen i16 interleaves their halves; the channels of a block are laid out
//! such that it puts them into their natural order.

use std::arch::x86_64::*;

use super::{Add, Aligned, Geometry, Quantization, Range, Requantize, Scratch, quantize};

/// Channels of a block of two vectors, lane by lane.
const ORDER: [usize; 16] = [0, 1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7, 12, 13, 14, 15];

/// Positions computed at once: 6 x 2 sums fill the 16 registers together with
/// two vectors of weights, an input and a product.
const TILE: usize = 6;

/// Widened inputs that are worked on at once, in i16: most of a 32 KiB cache.
const CHUNK: usize = 12 * 1024;

/// Bias, scale and offset, laid out like the sums.
#[derive(Debug)]
struct Parameters {
    bias: Aligned<i32>,
    scale: Aligned<f32>,
    offset: Aligned<f32>,
}

impl Parameters {
    /// `lanes` names the channel of each lane; beyond the last channel there
    /// are zeros.
    fn new(requantize: &Requantize, lanes: &[usize]) -> Self {
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
struct Ends {
    zero: i16,
    low: i8,
    high: i8,
}

impl Ends {
    fn new(zero: u8, range: &Range) -> Self {
        Self {
            zero: i16::from(zero),
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
    weights: Aligned<i16>,
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
                            packed[at] = i16::from(weights[channel * inputs + input]);
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
        self.weights.len() * 2
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
            self.product(rows, positions, ends, output);
        }
    }

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
                // SAFETY: a `Dense` is only made where AVX2 and FMA are there.
                unsafe {
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
}

/// Eight (one vector) or sixteen (two) outputs of a [`Dense`].
struct Block<'a> {
    weights: &'a [i16],
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
    // from `2 p`, and its weights are the `2 * lanes` i16 from `2 * lanes * p`.
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
                *vector = _mm256_loadu_si256(weights.add(16 * index).cast());
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
    let bytes = _mm_max_epu8(bytes, _mm_set1_epi8(ends.low));
    _mm_min_epu8(bytes, _mm_set1_epi8(ends.high))
}

/// A depthwise convolution's weights: block by block of 16 channels, in it pair
/// by pair of taps; channels beyond the last whole block stay as they were.
#[derive(Debug)]
pub struct Depthwise {
    pairs: usize,
    weights: Aligned<i16>,
    parameters: Parameters,
    /// `channels x taps`.
    plain: Vec<i8>,
}

/// The largest window: 7 x 7, rounded up to pairs.
const MAX_TAPS: usize = 50;

impl Depthwise {
    pub fn new(geometry: &Geometry, weights: &[i8], requantize: &Requantize) -> Self {
        let taps = geometry.taps();
        assert!(taps <= MAX_TAPS);
        let pairs = taps.div_ceil(2);
        let blocks = geometry.channels / 16;
        let mut lanes = Vec::with_capacity(16 * blocks);
        for block in 0..blocks {
            lanes.extend(ORDER.map(|channel| 16 * block + channel));
        }
        let mut packed = Aligned::new(blocks * pairs * 32);
        let mut at = 0;
        for block in lanes.chunks(16) {
            for pair in 0..pairs {
                for &channel in block {
                    for tap in [2 * pair, 2 * pair + 1] {
                        if tap < taps {
                            packed[at] = i16::from(weights[channel * taps + tap]);
                        }
                        at += 1;
                    }
                }
            }
        }
        Self {
            pairs,
            weights: packed,
            parameters: Parameters::new(requantize, &lanes),
            plain: weights.to_vec(),
        }
    }

    pub fn bytes(&self) -> usize {
        self.weights.len() * 2 + self.plain.len()
    }

    pub fn run(
        &self,
        geometry: &Geometry,
        requantize: &Requantize,
        padding: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) {
        let channels = geometry.channels;
        let taps = geometry.taps();
        let ends = Ends::new(requantize.zero, &requantize.range);
        for (position, output) in output.chunks_exact_mut(channels).enumerate() {
            let (row, column) = (position / geometry.out_width, position % geometry.out_width);
            let mut sources = [padding; MAX_TAPS];
            for (tap, source) in sources[..taps].iter_mut().enumerate() {
                if let Some(position) = geometry.source(row, column, tap) {
                    *source = &input[position * channels..][..channels];
                }
            }
            // SAFETY: a `Depthwise` is only made where AVX2 and FMA are there.
            unsafe {
                if self.pairs == 5 {
                    self.position::<5>(&sources[..10], ends, output);
                } else {
                    self.position::<0>(&sources[..2 * self.pairs], ends, output);
                }
            }
            for channel in channels / 16 * 16..channels {
                let mut sum = requantize.bias[channel];
                for (source, &w) in sources.iter().zip(&self.plain[channel * taps..][..taps]) {
                    sum = sum.wrapping_add(i32::from(source[channel]) * i32::from(w));
                }
                output[channel] = requantize.apply(channel, sum);
            }
        }
    }

    /// All whole blocks of one position; `PAIRS` is the number of pairs of taps
    /// if it is known when the program is built, or 0.
    #[target_feature(enable = "avx2,fma")]
    fn position<const PAIRS: usize>(&self, sources: &[&[u8]], ends: Ends, output: &mut [u8]) {
        let pairs = if PAIRS == 0 { self.pairs } else { PAIRS };
        let blocks = output.len() / 16;
        assert!(sources.len() == 2 * pairs);
        assert!(sources.iter().all(|source| source.len() == output.len()));
        assert!(self.weights.len() == blocks * pairs * 32);
        assert!(self.parameters.bias.len() == blocks * 16);
        for block in 0..blocks {
            // SAFETY: the lengths are asserted above: a block is 16 bytes of
            // each source and of the output, 32 weights a pair, and 16 of each
            // parameter.
            unsafe {
                let bias = self.parameters.bias.as_ptr().add(16 * block);
                let mut first = _mm256_loadu_si256(bias.cast());
                let mut second = _mm256_loadu_si256(bias.add(8).cast());
                let weights = self.weights.as_ptr().add(block * pairs * 32);
                for pair in 0..pairs {
                    let a = sources[2 * pair].as_ptr().add(16 * block);
                    let b = sources[2 * pair + 1].as_ptr().add(16 * block);
                    let a = _mm256_cvtepu8_epi16(_mm_loadu_si128(a.cast()));
                    let b = _mm256_cvtepu8_epi16(_mm_loadu_si128(b.cast()));
                    let weights = weights.add(32 * pair);
                    let low = _mm256_loadu_si256(weights.cast());
                    let high = _mm256_loadu_si256(weights.add(16).cast());
                    let low = _mm256_madd_epi16(_mm256_unpacklo_epi16(a, b), low);
                    let high = _mm256_madd_epi16(_mm256_unpackhi_epi16(a, b), high);
                    first = _mm256_add_epi32(first, low);
                    second = _mm256_add_epi32(second, high);
                }
                let scale = self.parameters.scale.as_ptr().add(16 * block);
                let offset = self.parameters.offset.as_ptr().add(16 * block);
                let first = round(first, _mm256_loadu_ps(scale), _mm256_loadu_ps(offset));
                let second = round(
                    second,
                    _mm256_loadu_ps(scale.add(8)),
                    _mm256_loadu_ps(offset.add(8)),
                );
                let bytes = finish(first, second, ends);
                _mm_storeu_si128(output.as_mut_ptr().add(16 * block).cast(), bytes);
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
