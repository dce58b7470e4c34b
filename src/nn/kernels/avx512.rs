//! AVX-512 with VNNI: 64 exact products per instruction.
//!
//! `vpdpbusd` multiplies four unsigned bytes by four signed ones and adds the
//! products to an i32, and never saturates, like the scalar kernel, for sixteen
//! channels at a time. So bytes stay bytes from layer to layer, and a matrix
//! product reads its inputs where they are.
//!
//! So the other instructions determine the time. Packing four vectors of i32 to
//! one of bytes works on each 128 bits by itself. In a matrix product the
//! channels of a block are laid out such that the result is in natural order.
//! In a depthwise convolution packing undoes the interleaving of rows, which
//! works in the same way.

use std::arch::x86_64::*;

use super::aligned::Aligned;
use super::arithmetic::{Ends, Quantization, Range, Requantizer, Sum, quantize};
use super::dense::{self, Block, Instructions};
use super::depthwise::{self, Windows};
use super::geometry::{Geometry, Rows};
use crate::isa::Avx512Vnni;

/// The channel of a lane in a block of `vectors` x 16, chosen so that packing
/// puts channels into their natural order.
const fn channel_of(lane: usize, vectors: usize) -> usize {
    let (vector, lane) = (lane / 16, lane % 16);
    4 * vectors * (lane / 4) + 4 * vector + lane % 4
}

/// The first `count` of 64 bytes.
const fn first(count: usize) -> __mmask64 {
    if count < 64 { (1 << count) - 1 } else { !0 }
}

impl Instructions for Avx512Vnni {
    type Sums = __m512i;

    const LANES: usize = 16;
    const VECTORS: (usize, usize) = (1, 4);
    const WIDTH: usize = 1;
    const GROUP: usize = 4;
    const STEP: usize = 4;
    const IN_PLACE: bool = true;
    const LESS: i32 = 0;
    /// The smallest chunk: rows are laid out only for odd numbers of inputs.
    const CHUNK: usize = 0;

    /// 24 sums, which leaves 8 of 32 registers to weights and inputs.
    #[inline(always)]
    fn tile(vectors: usize) -> usize {
        if vectors == 4 { 6 } else { 12 }
    }

    fn output_of(lane: usize, vectors: usize) -> usize {
        channel_of(lane, vectors)
    }

    fn lay_out(self, input: &[u8], row: &mut [u8]) {
        row.copy_from_slice(input);
    }

    fn tiles_of<const POSITIONS: usize, const VECTORS: usize>(
        self,
        block: &Block<'_>,
        rows: &[u8],
        output: &mut [u8],
    ) {
        #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
        fn compiled<const POSITIONS: usize, const VECTORS: usize>(
            block: &Block<'_>,
            rows: &[u8],
            output: &mut [u8],
        ) {
            // SAFETY: this function is compiled for all of AVX-512 that is used.
            unsafe { dense::tiles_of::<Avx512Vnni, POSITIONS, VECTORS>(block, rows, output) }
        }
        // SAFETY: `self` proves that the processor has all of AVX-512 that is used.
        unsafe { compiled::<POSITIONS, VECTORS>(block, rows, output) }
    }

    #[inline(always)]
    unsafe fn load(from: *const i32) -> __m512i {
        // SAFETY: the caller guarantees sixteen numbers.
        unsafe { _mm512_loadu_si512(from.cast()) }
    }

    #[inline(always)]
    unsafe fn multiply<const POSITIONS: usize, const VECTORS: usize>(
        sums: &mut [[__m512i; VECTORS]; POSITIONS],
        rows: *const u8,
        stride: usize,
        mut weights: *const i8,
    ) {
        // SAFETY: the caller guarantees the rows and the weights: four inputs have
        // 64 bytes of weights for each vector.
        unsafe {
            let rows: [*const u8; POSITIONS] =
                std::array::from_fn(|position| rows.add(position * stride));
            for group in (0..stride).step_by(4) {
                let mut vectors = [_mm512_setzero_si512(); VECTORS];
                for (index, vector) in vectors.iter_mut().enumerate() {
                    *vector = _mm512_loadu_si512(weights.add(64 * index).cast());
                }
                weights = weights.add(64 * VECTORS);
                for (sums, row) in sums.iter_mut().zip(rows) {
                    let inputs = row.add(group).cast::<i32>().read_unaligned();
                    let inputs = _mm512_set1_epi32(inputs);
                    for (sum, &vector) in sums.iter_mut().zip(&vectors) {
                        *sum = _mm512_dpbusd_epi32(*sum, inputs, vector);
                    }
                }
            }
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
    unsafe fn finish<const POSITIONS: usize, const VECTORS: usize>(
        sums: &[[__m512i; VECTORS]; POSITIONS],
        block: &Block<'_>,
        output: *mut u8,
    ) {
        // SAFETY: the caller guarantees scale, offset and output.
        unsafe {
            let ends = block.ends;
            let mut scale = [_mm512_setzero_ps(); VECTORS];
            let mut offset = [_mm512_setzero_ps(); VECTORS];
            for vector in 0..VECTORS {
                scale[vector] = _mm512_loadu_ps(block.scale.as_ptr().add(16 * vector));
                offset[vector] = _mm512_loadu_ps(block.offset.as_ptr().add(16 * vector));
            }
            // Two vectors of a position as words.
            let pair = |position: usize, [first, second]: [usize; 2]| {
                let sums = &sums[position];
                words(
                    round(sums[first], scale[first], offset[first]),
                    round(sums[second], scale[second], offset[second]),
                    ends,
                )
            };
            if VECTORS == 4 {
                for position in 0..POSITIONS {
                    let bytes = bytes(pair(position, [0, 1]), pair(position, [2, 3]), ends);
                    store::<VECTORS>(bytes, block, output, position);
                }
                return;
            }
            for position in (0..POSITIONS).step_by(2) {
                let next = (position + 1).min(POSITIONS - 1);
                let both = [0, VECTORS - 1];
                let bytes = bytes(pair(position, both), pair(next, both), ends);
                // Eight channels of each position in turn, or four channels twice.
                let order = if VECTORS == 2 {
                    _mm512_set_epi32(15, 14, 11, 10, 7, 6, 3, 2, 13, 12, 9, 8, 5, 4, 1, 0)
                } else {
                    _mm512_set_epi32(0, 0, 0, 0, 14, 10, 6, 2, 0, 0, 0, 0, 12, 8, 4, 0)
                };
                let bytes = _mm512_permutexvar_epi32(order, bytes);
                store::<VECTORS>(bytes, block, output, position);
                if position + 1 < POSITIONS {
                    let upper = _mm512_castsi256_si512(_mm512_extracti64x4_epi64::<1>(bytes));
                    store::<VECTORS>(upper, block, output, position + 1);
                }
            }
        }
    }
}

/// Writes the bytes of a position.
///
/// # Safety
/// `output` can be written to for the block's channels at that position.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn store<const VECTORS: usize>(
    bytes: __m512i,
    block: &Block<'_>,
    output: *mut u8,
    position: usize,
) {
    // SAFETY: writes `channels` bytes, and the caller guarantees them.
    unsafe {
        let output = output.add(position * block.outputs);
        match VECTORS {
            _ if block.channels != 16 * VECTORS => {
                _mm512_mask_storeu_epi8(output.cast(), first(block.channels), bytes);
            }
            4 => _mm512_storeu_si512(output.cast(), bytes),
            2 => _mm256_storeu_si256(output.cast(), _mm512_castsi512_si256(bytes)),
            _ => _mm_storeu_si128(output.cast(), _mm512_castsi512_si128(bytes)),
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
    let bytes = _mm512_max_epu8(bytes, _mm512_set1_epi8(ends.low.cast_signed()));
    _mm512_min_epu8(bytes, _mm512_set1_epi8(ends.high.cast_signed()))
}

/// A depthwise convolution with a window of 3 x 3, 64 channels at a time, with
/// zeros for missing ones.
///
/// The four factors of a lane are a column of four rows: the three rows of a
/// window, and a fourth. With a stride of 1 the fourth row belongs to the
/// window below; otherwise its weight is zero. Each column serves up to three
/// outputs side by side.
#[derive(Debug)]
struct Depthwise {
    channels: usize,
    /// For each block, for each of its four vectors: bias, scale, offset, and
    /// for each row of outputs that is computed at once the weights of three
    /// columns.
    packed: Aligned<i32>,
}

/// Length of one vector's part of [`Depthwise::packed`].
const fn part(rows_at_once: usize) -> usize {
    16 * (3 + 3 * rows_at_once)
}

/// One column of four rows for 64 channels, sixteen in a vector.
type Column = [__m512i; 4];

/// Column `x` of the rows; in vector `v` the four rows of the channels `16 l +
/// 4 v` to `16 l + 4 v + 3` are in its 128-bit lane `l`.
///
/// # Safety
/// Each position has the channels of `mask` from `channel` on.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
unsafe fn column(rows: &Rows<'_, 4>, x: isize, channel: usize, mask: __mmask64) -> Column {
    // SAFETY: the caller guarantees the channels.
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

/// `None` for another window or stride.
pub fn depthwise(
    _: Avx512Vnni,
    geometry: &Geometry,
    weights: &[i8],
    requantizer: &Requantizer,
) -> Option<Box<dyn Windows>> {
    if !depthwise::fits(geometry) {
        return None;
    }
    let channels = geometry.channels;
    let part = part(depthwise::rows_at_once(geometry.stride[0]));
    let mut packed = Aligned::new(channels.div_ceil(64) * 4 * part);
    for (index, part) in packed.chunks_exact_mut(part).enumerate() {
        let (block, vector) = (index / 4, index % 4);
        for lane in 0..16 {
            let channel = 64 * block + channel_of(16 * vector + lane, 4);
            if channel >= channels {
                continue;
            }
            part[lane] = requantizer.bias[channel];
            part[16 + lane] = requantizer.scale[channel].to_bits().cast_signed();
            part[32 + lane] = requantizer.offset[channel].to_bits().cast_signed();
            for (index, part) in part[48..].chunks_exact_mut(16).enumerate() {
                let rows = depthwise::column_weights(weights, channel, index / 3, index % 3);
                part[lane] = i32::from_le_bytes(rows.map(i8::cast_unsigned));
            }
        }
    }
    Some(Box::new(Depthwise { channels, packed }))
}

impl Windows for Depthwise {
    fn bytes(&self) -> usize {
        4 * self.packed.len()
    }

    fn channels(&self) -> usize {
        self.channels
    }

    fn rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        // SAFETY: a `Depthwise` is only made with the proof that the processor
        // has all of AVX-512 that is used.
        unsafe {
            if geometry.stride[0] == 1 {
                self.outputs::<1, 2>(geometry, rows, ends, output);
            } else {
                self.outputs::<2, 1>(geometry, rows, ends, output);
            }
        }
    }
}

impl Depthwise {
    /// `OUTPUTS` rows of outputs (one less, where the last is beyond the end)
    /// from four rows of inputs.
    #[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
    fn outputs<const STRIDE: usize, const OUTPUTS: usize>(
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
        let blocks = channels.div_ceil(64);
        assert!(self.packed.len() == blocks * 4 * part(OUTPUTS));
        let left = -(geometry.pad[1] as isize);
        for block in 0..blocks {
            let channel = 64 * block;
            let parts = self.packed[4 * part(OUTPUTS) * block..].as_ptr();
            let mask = first(channels - channel);
            // SAFETY: the block's parts exist, and so do its channels of `mask`
            // in each position of inputs and outputs.
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

/// The outputs of two windows side by side, in one of the rows computed at
/// once.
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
    // SAFETY: the caller guarantees four parts; `opaque` changes nothing.
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

/// Returns the same number, but hides its value from the compiler. Otherwise
/// the compiler loads the data before the loop, has too few registers for it,
/// and keeps it on the stack, across cache lines.
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
    // SAFETY: the caller guarantees the part, whose vectors are read.
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

/// `round(value / scale)`; a result far outside of a byte keeps only its sign.
#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn steps(values: __m512, scale: __m512) -> __m512i {
    let steps = _mm512_div_ps(values, scale);
    // The instruction gives the second operand if the first is NaN.
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

pub fn add(_: Avx512Vnni, sum: &Sum, a: &[u8], b: &[u8], output: &mut [u8]) {
    let (a_blocks, a_rest) = a.as_chunks::<16>();
    let (b_blocks, b_rest) = b.as_chunks::<16>();
    let (blocks, rest) = output.as_chunks_mut::<16>();
    // SAFETY: the first argument proves that AVX-512 is there.
    unsafe { add_blocks(sum, a_blocks, b_blocks, blocks) };
    super::scalar::add(sum, a_rest, b_rest, rest);
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn add_blocks(parameters: &Sum, a: &[[u8; 16]], b: &[[u8; 16]], output: &mut [[u8; 16]]) {
    let scale = _mm512_set1_ps(parameters.to.scale);
    let number = |bytes: &[u8; 16], from: Quantization| {
        // SAFETY: reads sixteen bytes of an array of sixteen.
        let bytes = unsafe { _mm_loadu_si128(bytes.as_ptr().cast()) };
        let words = _mm512_cvtepu8_epi32(bytes);
        let words = _mm512_sub_epi32(words, _mm512_set1_epi32(i32::from(from.zero)));
        _mm512_mul_ps(_mm512_cvtepi32_ps(words), _mm512_set1_ps(from.scale))
    };
    for (output, (a, b)) in output.iter_mut().zip(a.iter().zip(b)) {
        let sum = _mm512_add_ps(number(a, parameters.a), number(b, parameters.b));
        let bytes = clamped(steps(sum, scale), parameters.to.zero, &parameters.range);
        // SAFETY: writes sixteen bytes to an array of sixteen.
        unsafe { _mm_storeu_si128(output.as_mut_ptr().cast(), bytes) };
    }
}

pub fn quantize_all(_: Avx512Vnni, to: Quantization, input: &[f32], output: &mut [u8]) {
    let (values, values_rest) = input.as_chunks::<16>();
    let (blocks, rest) = output.as_chunks_mut::<16>();
    // SAFETY: the first argument proves that AVX-512 is there.
    unsafe { quantize_blocks(to, values, blocks) };
    for (output, &value) in rest.iter_mut().zip(values_rest) {
        *output = quantize(value, to, &(0..=255));
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vl,avx512vnni,fma")]
fn quantize_blocks(to: Quantization, input: &[[f32; 16]], output: &mut [[u8; 16]]) {
    let scale = _mm512_set1_ps(to.scale);
    for (output, values) in output.iter_mut().zip(input) {
        // SAFETY: reads sixteen f32 and writes sixteen bytes.
        unsafe {
            let values = _mm512_loadu_ps(values.as_ptr());
            let bytes = clamped(steps(values, scale), to.zero, &(0..=255));
            _mm_storeu_si128(output.as_mut_ptr().cast(), bytes);
        }
    }
}
