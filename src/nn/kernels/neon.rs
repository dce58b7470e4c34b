//! NEON, with and without its dot product.
//!
//! Cortex-A76 and A78 (Raspberry Pi 5, Jetson Orin) have `sdot`: sixteen signed
//! products per instruction. Its inputs are signed, so 128 is subtracted from
//! them, and the bias corrects for that. Cortex-A53, A57 and A72 (Zero 2 W,
//! Jetson Nano, Pi 4) do not have it: there `smlal` multiplies four widened
//! values at a time. Both are exact.
//!
//! `sdot` is written in assembly because stable Rust has no intrinsic for it.

use std::arch::aarch64::*;
use std::arch::asm;

use super::aligned::Aligned;
use super::arithmetic::{Ends, Requantizer};
use super::dense::{self, Block, Instructions, Parameters};
use super::depthwise::{self, Windows};
use super::geometry::{Geometry, Rows};
use crate::isa::{Neon, NeonDot};

/// What NEON and its dot product have in common: blocks of eight outputs, in two
/// vectors.
macro_rules! blocks_of_eight {
    () => {
        type Sums = int32x4_t;

        const LANES: usize = 4;
        const VECTORS: (usize, usize) = (2, 2);
        const IN_PLACE: bool = false;
        /// Half of a 32 KiB cache.
        const CHUNK: usize = 16 * 1024;

        /// 8 x 2 sums leave half of the 32 registers to inputs and weights.
        #[inline(always)]
        fn tile(_: usize) -> usize {
            8
        }

        fn output_of(lane: usize, _: usize) -> usize {
            lane
        }

        fn tiles_of<const POSITIONS: usize, const VECTORS: usize>(
            self,
            block: &Block<'_>,
            rows: &[u8],
            output: &mut [u8],
        ) {
            // SAFETY: `self` proves that the processor has the instructions, and
            // all code for 64-bit ARM is compiled for NEON.
            unsafe { dense::tiles_of::<Self, POSITIONS, VECTORS>(block, rows, output) }
        }

        #[inline(always)]
        unsafe fn load(from: *const i32) -> int32x4_t {
            // SAFETY: the caller guarantees four numbers.
            unsafe { vld1q_s32(from) }
        }

        #[inline(always)]
        unsafe fn finish<const POSITIONS: usize, const VECTORS: usize>(
            sums: &[[int32x4_t; VECTORS]; POSITIONS],
            block: &Block<'_>,
            output: *mut u8,
        ) {
            // SAFETY: the caller guarantees scale, offset and output.
            unsafe {
                let (scale, offset) = (block.scale.as_ptr(), block.offset.as_ptr());
                let finish = Finish::new(scale, offset, block.ends);
                for (position, sums) in sums.iter().enumerate() {
                    let bytes = finish.bytes([sums[0], sums[1]]);
                    let output = output.add(position * block.outputs);
                    if block.channels == 8 {
                        vst1_u8(output, bytes);
                    } else {
                        let mut buffer = [0; 8];
                        vst1_u8(buffer.as_mut_ptr(), bytes);
                        std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, block.channels);
                    }
                }
            }
        }
    };
}

impl Instructions for Neon {
    blocks_of_eight!();

    const WIDTH: usize = 2;
    const GROUP: usize = 1;
    const STEP: usize = 4;
    const LESS: i32 = 0;

    fn lay_out(self, input: &[u8], row: &mut [u8]) {
        let (row, _) = row.as_chunks_mut::<2>();
        for (to, &value) in row.iter_mut().zip(input) {
            *to = u16::from(value).to_ne_bytes();
        }
    }

    #[inline(always)]
    unsafe fn multiply<const POSITIONS: usize, const VECTORS: usize>(
        sums: &mut [[int32x4_t; VECTORS]; POSITIONS],
        rows: *const u8,
        stride: usize,
        mut weights: *const i8,
    ) {
        for group in (0..stride).step_by(4) {
            // SAFETY: the caller guarantees the rows and eight weights for each
            // input.
            unsafe {
                let mut inputs = [vdup_n_s16(0); POSITIONS];
                for (position, inputs) in inputs.iter_mut().enumerate() {
                    *inputs = vld1_s16(rows.add(2 * (position * stride + group)).cast());
                }
                multiply::<0, POSITIONS, VECTORS>(sums, &inputs, weights);
                multiply::<1, POSITIONS, VECTORS>(sums, &inputs, weights.add(8));
                multiply::<2, POSITIONS, VECTORS>(sums, &inputs, weights.add(16));
                multiply::<3, POSITIONS, VECTORS>(sums, &inputs, weights.add(24));
                weights = weights.add(32);
            }
        }
    }
}

impl Instructions for NeonDot {
    blocks_of_eight!();

    const WIDTH: usize = 1;
    const GROUP: usize = 4;
    /// A register has room for four groups of four inputs.
    const STEP: usize = 16;
    /// `sdot` takes signed inputs.
    const LESS: i32 = 128;

    fn lay_out(self, input: &[u8], row: &mut [u8]) {
        for (to, &value) in row.iter_mut().zip(input) {
            *to = value ^ 0x80;
        }
    }

    #[inline(always)]
    unsafe fn multiply<const POSITIONS: usize, const VECTORS: usize>(
        sums: &mut [[int32x4_t; VECTORS]; POSITIONS],
        rows: *const u8,
        stride: usize,
        mut weights: *const i8,
    ) {
        for group in (0..stride).step_by(16) {
            // SAFETY: the caller guarantees the instruction, the rows and eight
            // weights for each input.
            unsafe {
                let mut inputs = [vdupq_n_s8(0); POSITIONS];
                for (position, inputs) in inputs.iter_mut().enumerate() {
                    *inputs = vld1q_s8(rows.add(position * stride + group).cast());
                }
                dot::<0, POSITIONS, VECTORS>(sums, &inputs, weights);
                dot::<1, POSITIONS, VECTORS>(sums, &inputs, weights.add(32));
                dot::<2, POSITIONS, VECTORS>(sums, &inputs, weights.add(64));
                dot::<3, POSITIONS, VECTORS>(sums, &inputs, weights.add(96));
                weights = weights.add(128);
            }
        }
    }
}

/// Adds four products for each of eight outputs: inputs `4 * LANE` to
/// `4 * LANE + 3` of each position.
///
/// # Safety
/// There are 32 weights, and the processor has `sdot`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot<const LANE: i32, const POSITIONS: usize, const VECTORS: usize>(
    sums: &mut [[int32x4_t; VECTORS]; POSITIONS],
    inputs: &[int8x16_t; POSITIONS],
    weights: *const i8,
) {
    // SAFETY: the caller guarantees the weights.
    let weights = unsafe { [vld1q_s8(weights), vld1q_s8(weights.add(16))] };
    for (sums, inputs) in sums.iter_mut().zip(inputs) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: changes the sum's register only; the caller guarantees
            // the instruction.
            unsafe {
                asm!(
                    ".arch_extension dotprod",
                    "sdot {sum:v}.4s, {weights:v}.16b, {inputs:v}.4b[{lane}]",
                    sum = inout(vreg) *sum,
                    weights = in(vreg) weights,
                    inputs = in(vreg) *inputs,
                    lane = const LANE,
                    options(pure, nomem, nostack, preserves_flags),
                );
            }
        }
    }
}

/// Adds a product for each of eight outputs: input `LANE` of each position.
///
/// # Safety
/// There are eight weights.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn multiply<const LANE: i32, const POSITIONS: usize, const VECTORS: usize>(
    sums: &mut [[int32x4_t; VECTORS]; POSITIONS],
    inputs: &[int16x4_t; POSITIONS],
    weights: *const i8,
) {
    // SAFETY: the caller guarantees the weights.
    let weights = vmovl_s8(unsafe { vld1_s8(weights) });
    for (sums, inputs) in sums.iter_mut().zip(inputs) {
        sums[0] = vmlal_lane_s16::<LANE>(sums[0], vget_low_s16(weights), *inputs);
        sums[1] = vmlal_high_lane_s16::<LANE>(sums[1], weights, *inputs);
    }
}

/// What turns the sums of eight channels into bytes.
struct Finish {
    scale: [float32x4_t; 2],
    offset: [float32x4_t; 2],
    zero: int16x8_t,
    low: uint8x8_t,
    high: uint8x8_t,
}

impl Finish {
    /// # Safety
    /// There are eight scales and eight offsets.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn new(scale: *const f32, offset: *const f32, ends: Ends) -> Self {
        // SAFETY: the caller guarantees scales and offsets.
        unsafe {
            Self {
                scale: [vld1q_f32(scale), vld1q_f32(scale.add(4))],
                offset: [vld1q_f32(offset), vld1q_f32(offset.add(4))],
                zero: vdupq_n_s16(ends.zero),
                low: vdup_n_u8(ends.low),
                high: vdup_n_u8(ends.high),
            }
        }
    }

    /// # Safety
    /// There are parameters for eight channels from `first` on.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn of(parameters: &Parameters, first: usize, ends: Ends) -> Self {
        // SAFETY: the caller guarantees the parameters.
        unsafe {
            let scale = parameters.scale.as_ptr().add(first);
            Self::new(scale, parameters.offset.as_ptr().add(first), ends)
        }
    }

    /// Eight sums to bytes.
    #[inline]
    #[target_feature(enable = "neon")]
    fn bytes(&self, sums: [int32x4_t; 2]) -> uint8x8_t {
        let mut words = [vdup_n_s16(0); 2];
        for (half, word) in words.iter_mut().enumerate() {
            let sums = vcvtq_f32_s32(sums[half]);
            let value = vfmaq_f32(self.offset[half], sums, self.scale[half]);
            // To the nearest, half to even, saturating.
            *word = vqmovn_s32(vcvtnq_s32_f32(value));
        }
        let words = vqaddq_s16(vcombine_s16(words[0], words[1]), self.zero);
        vmin_u8(vmax_u8(vqmovun_s16(words), self.low), self.high)
    }
}

/// The weights of a depthwise convolution with a window of 3 x 3, as i16: in
/// blocks of eight channels, tap by tap.
#[derive(Debug)]
struct Depthwise {
    blocks: usize,
    weights: Aligned<i16>,
    parameters: Parameters,
}

/// Column `x` of the first three rows.
///
/// # Safety
/// There are eight channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn column(rows: &Rows<'_, 4>, x: isize, channel: usize) -> [int16x8_t; 3] {
    // SAFETY: the caller guarantees the channels.
    let bytes = unsafe {
        let [a, b, c, _] = rows.column(x, channel);
        [vld1_u8(a), vld1_u8(b), vld1_u8(c)]
    };
    let mut values = [vdupq_n_s16(0); 3];
    for (values, bytes) in values.iter_mut().zip(bytes) {
        *values = vreinterpretq_s16_u16(vmovl_u8(bytes));
    }
    values
}

/// `None` for another window or stride.
pub fn depthwise(
    _: Neon,
    geometry: &Geometry,
    weights: &[i8],
    requantizer: &Requantizer,
) -> Option<Box<dyn Windows>> {
    if !depthwise::fits(geometry) {
        return None;
    }
    let blocks = geometry.channels / 8;
    let mut packed = Aligned::new(blocks * 72);
    for (at, weight) in packed.iter_mut().enumerate() {
        let (block, tap, lane) = (at / 72, at % 72 / 8, at % 8);
        *weight = i16::from(weights[(8 * block + lane) * 9 + tap]);
    }
    Some(Box::new(Depthwise {
        blocks,
        weights: packed,
        parameters: Parameters::new(requantizer, &Vec::from_iter(0..8 * blocks)),
    }))
}

impl Windows for Depthwise {
    fn bytes(&self) -> usize {
        self.weights.len() * 2
    }

    fn channels(&self) -> usize {
        8 * self.blocks
    }

    fn rows_at_once(&self, _: &Geometry) -> usize {
        1
    }

    fn rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        // SAFETY: a `Depthwise` is only made with the proof that the processor
        // has NEON.
        unsafe { self.row(geometry, ends, rows, output) };
    }
}

impl Depthwise {
    #[target_feature(enable = "neon")]
    fn row(&self, geometry: &Geometry, ends: Ends, rows: &Rows<'_, 4>, output: &mut [u8]) {
        let channels = geometry.channels;
        let stride = geometry.stride[1] as isize;
        assert!(output.len() == geometry.out_width * channels);
        assert!(self.weights.len() == 72 * self.blocks && 8 * self.blocks <= channels);
        assert!(self.parameters.bias.len() == 8 * self.blocks);
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 8 * block;
            // SAFETY: the block exists, and its eight channels are in each
            // position of inputs and outputs.
            unsafe {
                let mut weights = [vdupq_n_s16(0); 9];
                for (tap, weights) in weights.iter_mut().enumerate() {
                    *weights = vld1q_s16(self.weights.as_ptr().add(72 * block + 8 * tap));
                }
                let bias = self.parameters.bias.as_ptr().add(channel);
                let bias = [vld1q_s32(bias), vld1q_s32(bias.add(4))];
                let finish = Finish::of(&self.parameters, channel, ends);
                let mut first = column(rows, left, channel);
                let mut second = column(rows, left + 1, channel);
                for x in 0..geometry.out_width {
                    let at = left + x as isize * stride;
                    let third = column(rows, at + 2, channel);
                    let mut sums = bias;
                    for (index, column) in [first, second, third].iter().enumerate() {
                        for (row, values) in column.iter().enumerate() {
                            let weights = weights[3 * row + index];
                            let low = vget_low_s16(*values);
                            sums[0] = vmlal_s16(sums[0], low, vget_low_s16(weights));
                            sums[1] = vmlal_high_s16(sums[1], *values, weights);
                        }
                    }
                    let bytes = finish.bytes(sums);
                    vst1_u8(output.as_mut_ptr().add(x * channels + channel), bytes);
                    (first, second) = if stride == 1 {
                        (second, third)
                    } else {
                        (third, column(rows, at + 3, channel))
                    };
                }
            }
        }
    }
}

/// A depthwise convolution with a window of 3 x 3 with `sdot`, sixteen channels
/// at a time.
///
/// The four factors of a lane are a column of four rows: the three rows of a
/// window, and a fourth. With a stride of 1 the fourth row belongs to the
/// window below; otherwise its weight is zero. Each column serves up to three
/// outputs side by side.
#[derive(Debug)]
struct DotDepthwise {
    /// In this order: block, row of outputs computed at once, column of the
    /// window.
    weights: Aligned<i8>,
    parameters: Parameters,
}

/// One column of four rows for sixteen channels, four in a vector; 128 is
/// subtracted from each byte.
///
/// # Safety
/// There are sixteen channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot_column(rows: &Rows<'_, 4>, x: isize, channel: usize) -> [int8x16_t; 4] {
    // SAFETY: the caller guarantees the channels.
    let (a, b, c, d) = unsafe {
        let [a, b, c, d] = rows.column(x, channel);
        (vld1q_u8(a), vld1q_u8(b), vld1q_u8(c), vld1q_u8(d))
    };
    let half = vdupq_n_u8(0x80);
    let (a, b) = (veorq_u8(a, half), veorq_u8(b, half));
    let (c, d) = (veorq_u8(c, half), veorq_u8(d, half));
    let (ab, cd) = (vzip1q_u8(a, b), vzip1q_u8(c, d));
    let (ef, gh) = (vzip2q_u8(a, b), vzip2q_u8(c, d));
    let (ab, cd) = (vreinterpretq_s16_u8(ab), vreinterpretq_s16_u8(cd));
    let (ef, gh) = (vreinterpretq_s16_u8(ef), vreinterpretq_s16_u8(gh));
    [
        vreinterpretq_s8_s16(vzip1q_s16(ab, cd)),
        vreinterpretq_s8_s16(vzip2q_s16(ab, cd)),
        vreinterpretq_s8_s16(vzip1q_s16(ef, gh)),
        vreinterpretq_s8_s16(vzip2q_s16(ef, gh)),
    ]
}

/// `None` for another window or stride, or channels that are left over.
pub fn dot_depthwise(
    _: NeonDot,
    geometry: &Geometry,
    weights: &[i8],
    requantizer: &Requantizer,
) -> Option<Box<dyn Windows>> {
    let channels = geometry.channels;
    if !depthwise::fits(geometry) || !channels.is_multiple_of(16) {
        return None;
    }
    let rows = depthwise::rows_at_once(geometry.stride[0]);
    let mut packed = Aligned::new(channels * 12 * rows);
    for (at, packed) in packed.as_chunks_mut().0.iter_mut().enumerate() {
        let (lane, at) = (at % 16, at / 16);
        let (column, above, block) = (at % 3, at / 3 % rows, at / 3 / rows);
        *packed = depthwise::column_weights(weights, 16 * block + lane, above, column);
    }
    let mut parameters = Parameters::new(requantizer, &Vec::from_iter(0..channels));
    for (bias, window) in parameters.bias.iter_mut().zip(weights.chunks_exact(9)) {
        *bias += 128 * window.iter().map(|&w| i32::from(w)).sum::<i32>();
    }
    Some(Box::new(DotDepthwise {
        weights: packed,
        parameters,
    }))
}

impl Windows for DotDepthwise {
    fn bytes(&self) -> usize {
        self.weights.len()
    }

    fn channels(&self) -> usize {
        self.parameters.bias.len()
    }

    fn rows(&self, geometry: &Geometry, rows: &Rows<'_, 4>, ends: Ends, output: &mut [u8]) {
        // SAFETY: this value is only made with the proof that the processor has
        // the dot product.
        unsafe {
            if geometry.stride[0] == 1 {
                self.outputs::<1, 2>(geometry, ends, rows, output);
            } else {
                self.outputs::<2, 1>(geometry, ends, rows, output);
            }
        }
    }
}

impl DotDepthwise {
    /// `OUTPUTS` rows of outputs (one less, where the last is beyond the end)
    /// from four rows of inputs.
    ///
    /// # Safety
    /// The processor has `sdot`.
    #[target_feature(enable = "neon")]
    unsafe fn outputs<const STRIDE: usize, const OUTPUTS: usize>(
        &self,
        geometry: &Geometry,
        ends: Ends,
        rows: &Rows<'_, 4>,
        output: &mut [u8],
    ) {
        let channels = geometry.channels;
        let out_line = geometry.out_width * channels;
        let count = output.len() / out_line;
        assert!(output.len() == count * out_line && (1..=OUTPUTS).contains(&count));
        assert!(channels.is_multiple_of(16) && self.parameters.bias.len() == channels);
        assert!(self.weights.len() == channels * 12 * OUTPUTS);
        let left = -(geometry.pad[1] as isize);
        for channel in (0..channels).step_by(16) {
            // SAFETY: the sixteen channels are in each position of inputs and
            // outputs, and have twelve vectors of weights a row and parameters.
            unsafe {
                let weights = self.weights.as_ptr().add(channel * 12 * OUTPUTS);
                let bias = self.parameters.bias.as_ptr().add(channel);
                let finish = [
                    Finish::of(&self.parameters, channel, ends),
                    Finish::of(&self.parameters, channel + 8, ends),
                ];
                let mut a = dot_column(rows, left, channel);
                let mut b = dot_column(rows, left + 1, channel);
                for x in 0..geometry.out_width {
                    let at = left + (x * STRIDE) as isize;
                    if STRIDE == 2 {
                        b = dot_column(rows, at + 1, channel);
                    }
                    let c = dot_column(rows, at + 2, channel);
                    for row in 0..count {
                        let weights = weights.add(192 * row);
                        let mut sums = [
                            [vld1q_s32(bias), vld1q_s32(bias.add(4))],
                            [vld1q_s32(bias.add(8)), vld1q_s32(bias.add(12))],
                        ];
                        for (index, column) in [&a, &b, &c].into_iter().enumerate() {
                            let weights = weights.add(64 * index);
                            let sums = sums.as_flattened_mut().iter_mut();
                            for (vector, (sum, column)) in sums.zip(column).enumerate() {
                                add_dot(sum, *column, vld1q_s8(weights.add(16 * vector)));
                            }
                        }
                        let bytes = vcombine_u8(finish[0].bytes(sums[0]), finish[1].bytes(sums[1]));
                        let at = row * out_line + x * channels + channel;
                        vst1q_u8(output[at..].as_mut_ptr(), bytes);
                    }
                    (a, b) = if STRIDE == 1 { (b, c) } else { (c, c) };
                }
            }
        }
    }
}

/// Adds four products in each of four lanes.
///
/// # Safety
/// The processor has `sdot`.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn add_dot(sum: &mut int32x4_t, a: int8x16_t, b: int8x16_t) {
    // SAFETY: changes the sum's register only; the caller guarantees the
    // instruction.
    unsafe {
        asm!(
            ".arch_extension dotprod",
            "sdot {sum:v}.4s, {a:v}.16b, {b:v}.16b",
            sum = inout(vreg) *sum,
            a = in(vreg) a,
            b = in(vreg) b,
            options(pure, nomem, nostack, preserves_flags),
        );
    }
}
