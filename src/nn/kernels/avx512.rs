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

use super::avx2::{Ends, Parameters};
use super::{
    Add, Aligned, Geometry, Picture, Quantization, Range, Requantize, Rows, Scratch, quantize,
};

/// Sums at a time: of so many positions times vectors of outputs, which leaves 8
/// of 32 registers to weights and inputs.
const SUMS: usize = 24;

/// The channel in a block of `vectors` x 16 that a lane of them belongs to, such
/// that packing puts channels into their natural order.
const fn channel_of(lane: usize, vectors: usize) -> usize {
    let (vector, lane) = (lane / 16, lane % 16);
    4 * vectors * (lane / 4) + 4 * vector + lane % 4
}

/// Vectors for a block of outputs: four, or what is enough for the last ones.
const fn vectors_for(outputs: usize) -> usize {
    match outputs {
        0..=16 => 1,
        17..=32 => 2,
        _ => 4,
    }
}

/// The first `count` of 64 bytes.
const fn first(count: usize) -> __mmask64 {
    if count < 64 { (1 << count) - 1 } else { !0 }
}

/// A matrix product's weights: block by block of 64 outputs (32 or 16 at the end,
/// if that is enough), in it four inputs of each output after four.
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
        for first in (0..outputs).step_by(64) {
            let vectors = vectors_for(outputs - first);
            lanes.extend((0..16 * vectors).map(|lane| first + channel_of(lane, vectors)));
        }
        let mut packed = Aligned::new(lanes.len() * stride);
        let mut at = 0;
        for block in lanes.chunks(64) {
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
            SUMS * self.stride / 2
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
        let inputs = input.chunks(SUMS * self.inputs);
        for (input, output) in inputs.zip(output.chunks_mut(SUMS * self.outputs)) {
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
        for first in (0..self.outputs).step_by(64) {
            let channels = (self.outputs - first).min(64);
            let vectors = vectors_for(channels);
            let lanes = 16 * vectors;
            let block = Block {
                weights: &self.weights[first * stride..(first + lanes) * stride],
                bias: &self.parameters.bias[first..first + lanes],
                scale: &self.parameters.scale[first..first + lanes],
                offset: &self.parameters.offset[first..first + lanes],
                ends,
                outputs: self.outputs,
                channels,
            };
            let tiles = positions.div_ceil(if vectors == 4 { SUMS / 4 } else { SUMS / 2 });
            for tile in 0..tiles {
                // Tiles of nearly the same size: 13 positions are 7 and 6.
                let start = tile * positions / tiles;
                let size = (tile + 1) * positions / tiles - start;
                let rows = &rows[start * stride..(start + size) * stride];
                let output = &mut output[start * self.outputs + first..];
                macro_rules! tiles_of {
                    ($($vectors:literal: $($size:literal)*;)*) => {
                        match (vectors, size) {
                            $($(($vectors, $size) =>
                                tile_of::<$size, $vectors>(&block, rows, output),)*)*
                            _ => unreachable!("no tile is larger"),
                        }
                    };
                }
                tiles_of! {
                    4: 1 2 3 4 5 6;
                    2: 1 2 3 4 5 6 7 8 9 10 11 12;
                    1: 1 2 3 4 5 6 7 8 9 10 11 12;
                }
            }
        }
    }
}

/// 16 outputs of a [`Dense`] for each vector.
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
        let mask = first(block.channels);
        let whole = block.channels == lanes;
        let mut store = |bytes: __m512i, position: usize| {
            let output = output.as_mut_ptr().add(position * block.outputs);
            match VECTORS {
                _ if !whole => _mm512_mask_storeu_epi8(output.cast(), mask, bytes),
                4 => _mm512_storeu_si512(output.cast(), bytes),
                2 => _mm256_storeu_si256(output.cast(), _mm512_castsi512_si256(bytes)),
                _ => _mm_storeu_si128(output.cast(), _mm512_castsi512_si128(bytes)),
            }
        };
        let value = |position: usize, vector: usize| {
            round(sums[position][vector], scale[vector], offset[vector])
        };
        if VECTORS == 4 {
            for position in 0..POSITIONS {
                let bytes = bytes(
                    words(value(position, 0), value(position, 1), block.ends),
                    words(value(position, 2), value(position, 3), block.ends),
                    block.ends,
                );
                store(bytes, position);
            }
            return;
        }
        for position in (0..POSITIONS).step_by(2) {
            let next = (position + 1).min(POSITIONS - 1);
            let [here, next] =
                [position, next].map(|p| words(value(p, 0), value(p, VECTORS - 1), block.ends));
            let bytes = bytes(here, next, block.ends);
            // Eight channels of each position in turn, or four channels twice.
            let order = if VECTORS == 2 {
                _mm512_set_epi32(15, 14, 11, 10, 7, 6, 3, 2, 13, 12, 9, 8, 5, 4, 1, 0)
            } else {
                _mm512_set_epi32(0, 0, 0, 0, 14, 10, 6, 2, 0, 0, 0, 0, 12, 8, 4, 0)
            };
            let bytes = _mm512_permutexvar_epi32(order, bytes);
            store(bytes, position);
            if position + 1 < POSITIONS {
                let upper = _mm512_castsi256_si512(_mm512_extracti64x4_epi64::<1>(bytes));
                store(upper, position + 1);
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

/// Two vectors of words as bytes, eight of each in turn, within their range.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn bytes(first: __m512i, second: __m512i, ends: Ends) -> __m512i {
    let bytes = _mm512_packus_epi16(first, second);
    if !ends.limited {
        return bytes;
    }
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(ends.low));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(ends.high))
}

/// A depthwise convolution with a window of 3 x 3, for 64 channels after 64, with
/// zeros for those that are not there.
///
/// The four factors of a lane are a column of four rows: the three of a
/// window, and one that serves the window below with a stride of 1 and has a
/// weight of zero otherwise. Each column serves up to three outputs side by
/// side.
#[derive(Debug)]
pub struct Depthwise {
    blocks: usize,
    /// Block by block, in it for each of four vectors: bias, scale, offset, and for
    /// each row of outputs made at once the weights of three columns.
    packed: Aligned<i32>,
}

/// i32 of one vector's part of [`Depthwise::packed`].
const fn part(rows_at_once: usize) -> usize {
    16 * (3 + 3 * rows_at_once)
}

/// Rows of outputs made at once from four rows of inputs.
const fn rows_at_once(stride: usize) -> usize {
    if stride == 1 { 2 } else { 1 }
}

/// One column of four rows for 64 channels, sixteen in a vector.
type Column = [__m512i; 4];

/// Column `x` of the rows; in vector `v` the four rows of the channels `16 l +
/// 4 v` to `16 l + 4 v + 3` are in its 128-bit lane `l`.
///
/// # Safety
/// The channels of `mask` from `channel` on are there in each position.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn column(rows: &Rows<'_, 4>, x: isize, channel: usize, mask: __mmask64) -> Column {
    // SAFETY: the caller answers for the channels.
    let (a, b, c, d) = unsafe {
        let [a, b, c, d] = rows.column(x, channel);
        (
            _mm512_maskz_loadu_epi8(mask, a.cast()),
            _mm512_maskz_loadu_epi8(mask, b.cast()),
            _mm512_maskz_loadu_epi8(mask, c.cast()),
            _mm512_maskz_loadu_epi8(mask, d.cast()),
        )
    };
    let (ab, cd) = (_mm512_unpacklo_epi8(a, b), _mm512_unpacklo_epi8(c, d));
    let (ef, gh) = (_mm512_unpackhi_epi8(a, b), _mm512_unpackhi_epi8(c, d));
    [
        _mm512_unpacklo_epi16(ab, cd),
        _mm512_unpackhi_epi16(ab, cd),
        _mm512_unpacklo_epi16(ef, gh),
        _mm512_unpackhi_epi16(ef, gh),
    ]
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
        let rows = rows_at_once(stride);
        let mut packed = Aligned::new(blocks * 4 * part(rows));
        for (index, part) in packed.chunks_exact_mut(part(rows)).enumerate() {
            let (block, vector) = (index / 4, index % 4);
            for lane in 0..16 {
                let channel = 64 * block + channel_of(16 * vector + lane, 4);
                if channel >= channels {
                    continue;
                }
                part[lane] = requantize.bias[channel];
                part[16 + lane] = requantize.scale[channel].to_bits().cast_signed();
                part[32 + lane] = requantize.offset[channel].to_bits().cast_signed();
                for (index, part) in part[48..].chunks_exact_mut(16).enumerate() {
                    let (above, column) = (index / 3, index % 3);
                    let weights: [i8; 4] = std::array::from_fn(|row| {
                        let row = row.checked_sub(above).filter(|row| *row < 3);
                        row.map_or(0, |row| weights[channel * 9 + row * 3 + column])
                    });
                    part[lane] = i32::from_le_bytes(weights.map(i8::cast_unsigned));
                }
            }
        }
        Some(Self { blocks, packed })
    }

    pub fn bytes(&self) -> usize {
        4 * self.packed.len()
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
        let at_once = rows_at_once(geometry.stride[0]);
        let out_line = geometry.out_width * geometry.channels;
        for (index, output) in output.chunks_mut(at_once * out_line).enumerate() {
            let rows = input.rows(geometry, first + at_once * index);
            // SAFETY: a `Depthwise` is only made where all of AVX-512 is there
            // that this module uses.
            unsafe {
                if at_once == 2 {
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
        rows: &Rows<'_, 4>,
        ends: Ends,
        output: &mut [u8],
    ) {
        let channels = geometry.channels;
        let out_line = geometry.out_width * channels;
        let count = output.len() / out_line;
        assert!(output.len() == count * out_line && (1..=OUTPUTS).contains(&count));
        assert!(self.packed.len() == self.blocks * 4 * part(OUTPUTS));
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 64 * block;
            let parts = self.packed[4 * part(OUTPUTS) * block..].as_ptr();
            let mask = first(channels - channel);
            // SAFETY: the block's parts are there, and its channels of `mask` in
            // each position of inputs and outputs.
            unsafe {
                let store = |bytes: __m512i, row: usize, x: usize, output: &mut [u8]| {
                    let at = row * out_line + x * channels + channel;
                    _mm512_mask_storeu_epi8(output[at..].as_mut_ptr().cast(), mask, bytes);
                };
                let one = |x: isize| column(rows, x, channel, mask);
                let mut a = one(left);
                let mut b = if STRIDE == 1 { one(left + 1) } else { a };
                // Two outputs side by side share each vector of weights.
                for x in (0..geometry.out_width).step_by(2) {
                    let at = left + (x * STRIDE) as isize;
                    if STRIDE == 2 {
                        b = one(at + 1);
                    }
                    let (c, d) = (one(at + 2), one(at + 3));
                    let (windows, next) = if STRIDE == 1 {
                        ([[a, b, c], [b, c, d]], (c, d))
                    } else {
                        let e = one(at + 4);
                        ([[a, b, c], [c, d, e]], (e, e))
                    };
                    for row in 0..count {
                        let [here, next] = outputs::<OUTPUTS>(&windows, parts, row, ends);
                        store(here, row, x, output);
                        if x + 1 < geometry.out_width {
                            store(next, row, x + 1, output);
                        }
                    }
                    (a, b) = next;
                }
            }
        }
    }
}

/// The outputs of two windows side by side, in one of the rows made at once.
///
/// # Safety
/// `parts` are a block of [`Depthwise::packed`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn outputs<const OUTPUTS: usize>(
    windows: &[[Column; 3]; 2],
    parts: *const i32,
    row: usize,
    ends: Ends,
) -> [__m512i; 2] {
    // SAFETY: the caller answers for four parts; `opaque` changes nothing.
    unsafe {
        let parts = parts.add(opaque(0));
        let first = vector::<OUTPUTS, 0>(windows, parts, row);
        let second = vector::<OUTPUTS, 1>(windows, parts, row);
        let third = vector::<OUTPUTS, 2>(windows, parts, row);
        let fourth = vector::<OUTPUTS, 3>(windows, parts, row);
        let mut outputs = first;
        for (index, output) in outputs.iter_mut().enumerate() {
            *output = bytes(
                words(first[index], second[index], ends),
                words(third[index], fourth[index], ends),
                ends,
            );
        }
        outputs
    }
}

/// The same number, about which the compiler knows nothing. It would load what
/// lies there before the loop, find too few registers for that, and keep it on
/// the stack instead, across the borders of cache lines.
#[inline(always)]
fn opaque(mut number: usize) -> usize {
    // SAFETY: does nothing.
    unsafe {
        std::arch::asm!(
            "/* {0} */",
            inout(reg) number,
            options(nomem, nostack, preserves_flags)
        );
    }
    number
}

/// One vector of the outputs of two windows.
///
/// # Safety
/// `parts` are a block of [`Depthwise::packed`].
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn vector<const OUTPUTS: usize, const VECTOR: usize>(
    windows: &[[Column; 3]; 2],
    parts: *const i32,
    row: usize,
) -> [__m512i; 2] {
    // SAFETY: the caller answers for the part, whose vectors are read.
    unsafe {
        let part = parts.add(VECTOR * part(OUTPUTS));
        let bias = _mm512_loadu_si512(part.cast());
        let scale = _mm512_loadu_ps(part.add(16).cast());
        let offset = _mm512_loadu_ps(part.add(32).cast());
        let mut sums = [bias; 2];
        for (index, (here, next)) in windows[0].iter().zip(&windows[1]).enumerate() {
            let weights = _mm512_loadu_si512(part.add(16 * (3 + 3 * row + index)).cast());
            sums[0] = _mm512_dpbusd_epi32(sums[0], here[VECTOR], weights);
            sums[1] = _mm512_dpbusd_epi32(sums[1], next[VECTOR], weights);
        }
        for sum in &mut sums {
            *sum = round(*sum, scale, offset);
        }
        sums
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
fn clamped(values: __m512i, zero: u8, range: &Range) -> __m128i {
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
        let bytes = clamped(steps(sum, scale), add.to.zero, &add.range);
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
            let bytes = clamped(steps(values, scale), to.zero, &(0..=255));
            _mm_storeu_si128(output.as_mut_ptr().cast(), bytes);
        }
    }
}
