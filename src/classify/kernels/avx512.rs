//! AVX-512 with VNNI: 64 products an instruction, exactly.
//!
//! `vpdpbusd` multiplies four unsigned bytes by four signed ones and adds the
//! products to an i32, without saturating anywhere: what the scalar kernel does,
//! sixteen channels at a time. So bytes stay bytes from layer to layer, and the
//! inputs of a matrix product are read from where they are.
//!
//! The processor's other instructions become the cost then. Packing four
//! vectors of i32 to one of bytes works on each 128 bits by itself; in a matrix
//! product the channels of a block are laid out such that the result is in
//! natural order, and in a depthwise convolution it undoes the interleaving of
//! rows, which works in the same way.

use std::arch::x86_64::*;

use super::{Add, Aligned, Geometry, Quantization, Range, Requantize, Scratch, quantize};

/// Positions computed at once: 12 x 2 sums, which leaves 8 of 32 registers to
/// two vectors of weights and inputs.
const TILE: usize = 12;

/// The channel in a block of 32 that is in a lane of its two vectors.
const fn channel_of(lane: usize) -> usize {
    let (vector, lane) = (lane / 16, lane % 16);
    8 * (lane / 4) + 4 * vector + lane % 4
}

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

/// The first `count` of 64 bytes.
const fn first(count: usize) -> __mmask64 {
    if count < 64 { (1 << count) - 1 } else { !0 }
}

/// A matrix product's weights: block by block of 32 outputs (16 at the end, if
/// that is enough), in it four inputs of each output after four.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    /// Bytes of a position, a multiple of four.
    stride: usize,
    outputs: usize,
    weights: Aligned<i8>,
    parameters: Parameters,
}

impl Dense {
    pub fn new(weights: &[i8], requantize: &Requantize) -> Self {
        let outputs = requantize.outputs();
        let inputs = weights.len() / outputs;
        let stride = inputs.next_multiple_of(4);
        let mut lanes = Vec::new();
        for first in (0..outputs).step_by(32) {
            if outputs - first <= 16 {
                lanes.extend(first..first + 16);
            } else {
                lanes.extend((0..32).map(|lane| first + channel_of(lane)));
            }
        }
        let mut packed = Aligned::new(lanes.len() * stride);
        let mut at = 0;
        for block in lanes.chunks(32) {
            for group in (0..stride).step_by(4) {
                for &channel in block {
                    for input in group..group + 4 {
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
            stride,
            outputs,
            weights: packed,
            parameters: Parameters::new(requantize, &lanes),
        }
    }

    pub fn bytes(&self) -> usize {
        self.weights.len()
    }

    /// The i16 of scratch memory that [`Dense::run`] needs.
    pub fn scratch(&self) -> usize {
        if self.inputs == self.stride {
            0
        } else {
            TILE * self.stride / 2
        }
    }

    pub fn run(
        &self,
        requantize: &Requantize,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let ends = Ends::new(requantize.zero, &requantize.range);
        if self.inputs == self.stride {
            // SAFETY: a `Dense` is only made where all of AVX-512 is there that
            // this module uses.
            return unsafe { self.product(input, ends, output) };
        }
        let inputs = input.chunks(TILE * self.inputs);
        for (input, output) in inputs.zip(output.chunks_mut(TILE * self.outputs)) {
            let positions = input.len() / self.inputs;
            // SAFETY: the bytes of i16 are bytes.
            let (_, rows, _) = unsafe { scratch.rows.align_to_mut::<u8>() };
            let rows = &mut rows[..positions * self.stride];
            let to = rows.chunks_exact_mut(self.stride);
            for (input, row) in input.chunks_exact(self.inputs).zip(to) {
                // The weights of the others are zero.
                row[..self.inputs].copy_from_slice(input);
            }
            // SAFETY: as above.
            unsafe { self.product(rows, ends, output) };
        }
    }

    /// All blocks of outputs of some positions.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
    fn product(&self, rows: &[u8], ends: Ends, output: &mut [u8]) {
        let stride = self.stride;
        let positions = rows.len() / stride;
        let tiles = positions.div_ceil(TILE);
        for first in (0..self.outputs).step_by(32) {
            let channels = (self.outputs - first).min(32);
            let wide = channels > 16;
            let lanes = if wide { 32 } else { 16 };
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
                // Tiles of nearly the same size: 13 positions are 7 and 6.
                let start = tile * positions / tiles;
                let size = (tile + 1) * positions / tiles - start;
                let rows = &rows[start * stride..(start + size) * stride];
                let output = &mut output[start * self.outputs + first..];
                macro_rules! tiles_of {
                    ($($size:literal)*) => {
                        match (wide, size) {
                            $((true, $size) => tile_of::<$size, 2>(&block, rows, output),)*
                            $((false, $size) => tile_of::<$size, 1>(&block, rows, output),)*
                            _ => unreachable!("a tile has 1 to {TILE} positions"),
                        }
                    };
                }
                tiles_of!(1 2 3 4 5 6 7 8 9 10 11 12);
            }
        }
    }
}

/// 16 (one vector) or 32 (two) outputs of a [`Dense`].
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

/// `POSITIONS` rows of inputs times a block of `VECTORS` x 16 outputs.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn tile_of<const POSITIONS: usize, const VECTORS: usize>(
    block: &Block<'_>,
    rows: &[u8],
    output: &mut [u8],
) {
    let stride = rows.len() / POSITIONS;
    let lanes = VECTORS * 16;
    assert!(rows.len() == POSITIONS * stride && stride.is_multiple_of(4));
    assert!(block.weights.len() == lanes * stride);
    assert!(block.bias.len() == lanes && block.scale.len() == lanes && block.offset.len() == lanes);
    assert!(block.channels <= lanes);
    assert!(output.len() >= (POSITIONS - 1) * block.outputs + block.channels);
    // SAFETY: the lengths are asserted above: group `g` of a row is the four
    // bytes from `4 g`, and its weights are the `4 * lanes` from `4 * lanes * g`.
    unsafe {
        let mut sums = [[_mm512_setzero_si512(); VECTORS]; POSITIONS];
        for vector in 0..VECTORS {
            let bias = _mm512_loadu_si512(block.bias.as_ptr().add(16 * vector).cast());
            for sums in &mut sums {
                sums[vector] = bias;
            }
        }
        let rows: [*const u8; POSITIONS] =
            std::array::from_fn(|position| rows.as_ptr().add(position * stride));
        let mut weights = block.weights.as_ptr();
        for group in (0..stride).step_by(4) {
            let mut vectors = [_mm512_setzero_si512(); VECTORS];
            for (index, vector) in vectors.iter_mut().enumerate() {
                *vector = _mm512_loadu_si512(weights.add(64 * index).cast());
            }
            weights = weights.add(4 * lanes);
            for (sums, row) in sums.iter_mut().zip(rows) {
                let inputs = row.add(group).cast::<i32>().read_unaligned();
                let inputs = _mm512_set1_epi32(inputs);
                for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                    *sum = _mm512_dpbusd_epi32(*sum, inputs, vector);
                }
            }
        }
        let mut scale = [_mm512_setzero_ps(); VECTORS];
        let mut offset = [_mm512_setzero_ps(); VECTORS];
        for vector in 0..VECTORS {
            scale[vector] = _mm512_loadu_ps(block.scale.as_ptr().add(16 * vector));
            offset[vector] = _mm512_loadu_ps(block.offset.as_ptr().add(16 * vector));
        }
        let whole = block.channels == lanes;
        let mask = first(block.channels) as u32;
        let mut store = |bytes: __m256i, position: usize| {
            let output = output.as_mut_ptr().add(position * block.outputs);
            if !whole {
                _mm256_mask_storeu_epi8(output.cast(), mask, bytes);
            } else if VECTORS == 2 {
                _mm256_storeu_si256(output.cast(), bytes);
            } else {
                _mm_storeu_si128(output.cast(), _mm256_castsi256_si128(bytes));
            }
        };
        let words = |position: usize| {
            let sums: [__m512i; VECTORS] = sums[position];
            let values: [__m512i; VECTORS] =
                std::array::from_fn(|vector| round(sums[vector], scale[vector], offset[vector]));
            words(values[0], values[VECTORS - 1], block.ends)
        };
        for position in (0..POSITIONS).step_by(2) {
            let second = (position + 1).min(POSITIONS - 1);
            let bytes = _mm512_packus_epi16(words(position), words(second));
            let bytes = limit(bytes, block.ends);
            if VECTORS == 2 {
                // Eight channels of each position in turn.
                let order = _mm512_set_epi64(7, 5, 3, 1, 6, 4, 2, 0);
                let bytes = _mm512_permutexvar_epi64(order, bytes);
                store(_mm512_castsi512_si256(bytes), position);
                if second > position {
                    store(_mm512_extracti64x4_epi64::<1>(bytes), second);
                }
            } else {
                // Four channels of each position in turn, twice.
                let order = _mm512_set_epi32(0, 0, 0, 0, 14, 10, 6, 2, 0, 0, 0, 0, 12, 8, 4, 0);
                let bytes = _mm512_permutexvar_epi32(order, bytes);
                store(_mm512_castsi512_si256(bytes), position);
                if second > position {
                    store(_mm512_extracti64x4_epi64::<1>(bytes), second);
                }
            }
        }
    }
}

/// `round(fma(sum, scale, offset))`, half to even (the rounding mode that Rust
/// programs run in).
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn round(sums: __m512i, scale: __m512, offset: __m512) -> __m512i {
    _mm512_cvtps_epi32(_mm512_fmadd_ps(_mm512_cvtepi32_ps(sums), scale, offset))
}

/// Two vectors of values as i16, four of each in turn, with the zero point.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn words(first: __m512i, second: __m512i, ends: Ends) -> __m512i {
    _mm512_adds_epi16(
        _mm512_packs_epi32(first, second),
        _mm512_set1_epi16(ends.zero),
    )
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn limit(bytes: __m512i, ends: Ends) -> __m512i {
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(ends.low));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(ends.high))
}

/// The weights of a depthwise convolution with a window of 3 x 3: 64 channels
/// after 64, with zeros for those that are not there.
///
/// The four factors of a lane are a column of four rows: the three of a
/// window, and one that serves the window below with a stride of 1 and has a
/// weight of zero otherwise. Each column serves up to three outputs side by
/// side.
#[derive(Debug)]
pub struct Depthwise {
    blocks: usize,
    weights: Aligned<i8>,
    parameters: Parameters,
}

/// Bytes of weights of a block: 24 or 12 vectors.
const fn block_weights(stride: usize) -> usize {
    if stride == 1 { 24 * 64 } else { 12 * 64 }
}

/// One column of four rows for 64 channels, sixteen in a vector.
type Column = [__m512i; 4];

/// Where the rows of a window start, and the bytes from column to column: none
/// for a row of padding.
struct Rows<'a> {
    rows: [(&'a [u8], usize); 4],
    /// A position of padding.
    padding: &'a [u8],
    width: usize,
}

impl Rows<'_> {
    /// Column `x` of the rows; in vector `v` the four rows of the channels `16 l
    /// + 4 v` to `16 l + 4 v + 3` are in its 128-bit lane `l`.
    ///
    /// # Safety
    /// The channels of `mask` from `channel` on are there in each position.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
    unsafe fn column(&self, x: isize, channel: usize, mask: __mmask64) -> Column {
        let inside = (0..self.width as isize).contains(&x);
        let load = |row: usize| {
            let (row, step) = self.rows[row];
            let at = if inside {
                // SAFETY: a row has `width * step` bytes, or is one position
                // where the step is 0; the caller answers for the channels.
                unsafe { row.as_ptr().add(x as usize * step + channel) }
            } else {
                // SAFETY: as above.
                unsafe { self.padding.as_ptr().add(channel) }
            };
            // SAFETY: the bytes of the mask from there are in the row.
            unsafe { _mm512_maskz_loadu_epi8(mask, at.cast()) }
        };
        let (a, b, c, d) = (load(0), load(1), load(2), load(3));
        let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
        let (ef, gh) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
        [
            _mm512_unpacklo_epi16(ab, cd),
            _mm512_unpackhi_epi16(ab, cd),
            _mm512_unpacklo_epi16(ef, gh),
            _mm512_unpackhi_epi16(ef, gh),
        ]
    }
}

impl Depthwise {
    /// `None` for another window or stride.
    pub fn new(geometry: &Geometry, weights: &[i8], requantize: &Requantize) -> Option<Self> {
        let stride = geometry.stride[0];
        if geometry.window != [3, 3] || ![[1, 1], [2, 2]].contains(&geometry.stride) {
            return None;
        }
        let channels = geometry.channels;
        let blocks = channels.div_ceil(64);
        let lanes: Vec<_> = (0..64 * blocks)
            .map(|lane| {
                let (block, vector, lane) = (lane / 64, lane % 64 / 16, lane % 16);
                64 * block + 16 * (lane / 4) + 4 * vector + lane % 4
            })
            .collect();
        let mut packed = Aligned::new(blocks * block_weights(stride));
        let mut at = 0;
        for block in lanes.chunks(64) {
            // An output from the rows 0 to 2, and one from 1 to 3.
            for above in 0..if stride == 1 { 2 } else { 1 } {
                for column in 0..3 {
                    for &channel in block {
                        for row in 0..4usize {
                            let row = row.checked_sub(above).filter(|row| *row < 3);
                            if let Some(row) = row
                                && channel < channels
                            {
                                packed[at] = weights[channel * 9 + row * 3 + column];
                            }
                            at += 1;
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
        self.weights.len()
    }

    pub fn run(
        &self,
        geometry: &Geometry,
        requantize: &Requantize,
        padding: &[u8],
        input: &[u8],
        output: &mut [u8],
    ) {
        let ends = Ends::new(requantize.zero, &requantize.range);
        let line = geometry.width * geometry.channels;
        let stride = geometry.stride[0];
        let at_once = if stride == 1 { 2 } else { 1 };
        let out_line = geometry.out_width * geometry.channels;
        for (index, output) in output.chunks_mut(at_once * out_line).enumerate() {
            let rows = std::array::from_fn(|row| {
                let y = (index * at_once * stride + row).checked_sub(geometry.pad[0]);
                match y.filter(|y| *y < geometry.height) {
                    Some(y) => (&input[y * line..][..line], geometry.channels),
                    None => (padding, 0),
                }
            });
            let rows = Rows {
                rows,
                padding,
                width: geometry.width,
            };
            // SAFETY: a `Depthwise` is only made where all of AVX-512 is there
            // that this module uses.
            unsafe {
                if stride == 1 {
                    self.rows::<1, 2>(geometry, &rows, ends, output);
                } else {
                    self.rows::<2, 1>(geometry, &rows, ends, output);
                }
            }
        }
    }

    /// `OUTPUTS` rows of outputs (one less, where the last is beyond the end)
    /// from four rows of inputs.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
    fn rows<const STRIDE: usize, const OUTPUTS: usize>(
        &self,
        geometry: &Geometry,
        rows: &Rows<'_>,
        ends: Ends,
        output: &mut [u8],
    ) {
        let channels = geometry.channels;
        let out_line = geometry.out_width * channels;
        let count = output.len() / out_line;
        assert!(output.len() == count * out_line && (1..=OUTPUTS).contains(&count));
        assert!(self.weights.len() == self.blocks * OUTPUTS * 12 * 64);
        assert!(self.parameters.bias.len() == 64 * self.blocks);
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 64 * block;
            let mask = first(channels - channel);
            // SAFETY: the block is there, and its channels of `mask` are in each
            // position of inputs and outputs.
            unsafe {
                let weights = self.weights.as_ptr().add(block * OUTPUTS * 12 * 64);
                let bias = self.parameters.bias.as_ptr().add(channel);
                let scale = self.parameters.scale.as_ptr().add(channel);
                let offset = self.parameters.offset.as_ptr().add(channel);
                let mut before = rows.column(left, channel, mask);
                let mut here = if STRIDE == 1 {
                    rows.column(left + 1, channel, mask)
                } else {
                    before
                };
                for x in 0..geometry.out_width {
                    let at = left + (x * STRIDE) as isize;
                    if STRIDE > 1 {
                        here = rows.column(at + 1, channel, mask);
                    }
                    let after = rows.column(at + 2, channel, mask);
                    for row in 0..count {
                        let mut values = [_mm512_setzero_si512(); 4];
                        for (vector, value) in values.iter_mut().enumerate() {
                            let mut sum = _mm512_loadu_si512(bias.add(16 * vector).cast());
                            for (index, column) in [before, here, after].iter().enumerate() {
                                let at = weights.add(64 * (12 * row + 4 * index + vector));
                                let weights = _mm512_loadu_si512(at.cast());
                                sum = _mm512_dpbusd_epi32(sum, column[vector], weights);
                            }
                            *value = round(
                                sum,
                                _mm512_loadu_ps(scale.add(16 * vector)),
                                _mm512_loadu_ps(offset.add(16 * vector)),
                            );
                        }
                        let bytes = _mm512_packus_epi16(
                            words(values[0], values[1], ends),
                            words(values[2], values[3], ends),
                        );
                        let to = output
                            .as_mut_ptr()
                            .add(row * out_line + x * channels + channel);
                        _mm512_mask_storeu_epi8(to.cast(), mask, limit(bytes, ends));
                    }
                    (before, here) = if STRIDE == 1 {
                        (here, after)
                    } else {
                        (after, here)
                    };
                }
            }
        }
    }
}

/// `round(value / scale)` where that is far outside of a byte, its sign.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn steps(values: __m512, scale: __m512) -> __m512i {
    let steps = _mm512_div_ps(values, scale);
    // The second operand is taken where the first is no number.
    let steps = _mm512_max_ps(steps, _mm512_set1_ps(-65536.0));
    let steps = _mm512_min_ps(steps, _mm512_set1_ps(65536.0));
    _mm512_cvtps_epi32(steps)
}

/// Sixteen values to bytes.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn bytes(values: __m512i, zero: u8, range: &Range) -> __m128i {
    let values = _mm512_add_epi32(values, _mm512_set1_epi32(i32::from(zero)));
    let values = _mm512_max_epi32(values, _mm512_set1_epi32(i32::from(*range.start())));
    let values = _mm512_min_epi32(values, _mm512_set1_epi32(i32::from(*range.end())));
    _mm512_cvtepi32_epi8(values)
}

pub fn add(add: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let (blocks, rest) = output.as_chunks_mut::<16>();
    // SAFETY: an `Add` for this kernel is only made where AVX-512 is there.
    unsafe { add_blocks(add, a_blocks, b_blocks, blocks) };
    super::scalar::add(add, a_rest, b_rest, rest);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn add_blocks(add: &Add, a: &[[u8; 16]], b: &[[u8; 16]], output: &mut [[u8; 16]]) {
    let scale = _mm512_set1_ps(add.to.scale);
    let number = |bytes: &[u8; 16], from: Quantization| {
        // SAFETY: reads sixteen bytes of an array of sixteen.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let words = _mm512_cvtepu8_epi32(bytes);
        let words = _mm512_sub_epi32(words, _mm512_set1_epi32(i32::from(from.zero)));
        _mm512_mul_ps(_mm512_cvtepi32_ps(words), _mm512_set1_ps(from.scale))
    };
    for (output, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
        let sum = _mm512_add_ps(number(a, add.a), number(b, add.b));
        let bytes = bytes(steps(sum, scale), add.to.zero, &add.range);
        // SAFETY: writes sixteen bytes to an array of sixteen.
        unsafe { _mm_storeu_si128(output.as_mut_ptr().cast(), bytes) };
    }
}

pub fn quantize_all(to: Quantization, input: &[f32], output: &mut [u8]) {
    let (values, values_rest) = input.as_chunks::<16>();
    let (blocks, rest) = output.as_chunks_mut::<16>();
    // SAFETY: this kernel is only chosen where AVX-512 is there.
    unsafe { quantize_blocks(to, values, blocks) };
    for (output, &value) in rest.iter_mut().zip(values_rest) {
        *output = quantize(value, to, &(0..=255));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn quantize_blocks(to: Quantization, input: &[[f32; 16]], output: &mut [[u8; 16]]) {
    let scale = _mm512_set1_ps(to.scale);
    for (output, values) in output.iter_mut().zip(input) {
        // SAFETY: reads sixteen f32 and writes as many bytes.
        unsafe {
            let values = _mm512_loadu_ps(values.as_ptr());
            let bytes = bytes(steps(values, scale), to.zero, &(0..=255));
            _mm_storeu_si128(output.as_mut_ptr().cast(), bytes);
        }
    }
}
