//! NEON, with and without its dot product.
//!
//! Cortex-A76 and A78 (Raspberry Pi 5, Jetson Orin) have `sdot`: sixteen signed
//! products an instruction. It takes inputs less 128, which the bias makes up
//! for. Cortex-A53, A57 and A72 (Zero 2 W, Jetson Nano, Pi 4) have not: there
//! `smlal` multiplies four widened values at a time. Both are exact.
//!
//! `sdot` is written as assembly because its intrinsic is not in stable Rust.

use std::arch::aarch64::*;
use std::arch::asm;

use super::{Aligned, Geometry, Picture, Range, Requantize, Rows, Scratch};

/// Positions computed at once: 8 x 2 sums, which leaves half of the 32
/// registers to inputs and weights.
const TILE: usize = 8;

/// Inputs that are worked on at once, in bytes: half of a 32 KiB cache.
const CHUNK: usize = 16 * 1024;

/// Bias, scale and offset for a multiple of eight channels.
#[derive(Debug)]
struct Parameters {
    bias: Aligned<i32>,
    scale: Aligned<f32>,
    offset: Aligned<f32>,
}

impl Parameters {
    fn new(requantize: &Requantize, lanes: usize) -> Self {
        let mut parameters = Self {
            bias: Aligned::new(lanes),
            scale: Aligned::new(lanes),
            offset: Aligned::new(lanes),
        };
        let channels = requantize.outputs().min(lanes);
        parameters.bias[..channels].copy_from_slice(&requantize.bias[..channels]);
        parameters.scale[..channels].copy_from_slice(&requantize.scale[..channels]);
        parameters.offset[..channels].copy_from_slice(&requantize.offset[..channels]);
        parameters
    }
}

/// A matrix product's weights, block by block of eight outputs. `DOT`: in it
/// four inputs of each output after four, so that a vector is what `sdot`
/// takes; else input by input.
#[derive(Debug)]
pub struct Dense<const DOT: bool> {
    inputs: usize,
    /// Inputs in a row of scratch memory: a multiple of four.
    stride: usize,
    outputs: usize,
    weights: Aligned<i8>,
    parameters: Parameters,
}

impl<const DOT: bool> Dense<DOT> {
    pub fn new(weights: &[i8], requantize: &Requantize) -> Self {
        let outputs = requantize.outputs();
        let inputs = weights.len() / outputs;
        // `sdot` reads sixteen inputs at a time, four times four.
        let stride = inputs.next_multiple_of(if DOT { 16 } else { 4 });
        let lanes = outputs.next_multiple_of(8);
        let mut packed = Aligned::new(lanes * stride);
        let together = if DOT { 4 } else { 1 };
        let mut at = 0;
        for first in (0..lanes).step_by(8) {
            for group in (0..stride).step_by(together) {
                for output in first..first + 8 {
                    for input in group..group + together {
                        if output < outputs && input < inputs {
                            packed[at] = weights[output * inputs + input];
                        }
                        at += 1;
                    }
                }
            }
        }
        let mut parameters = Parameters::new(requantize, lanes);
        if DOT {
            let rows = weights.chunks_exact(inputs);
            for (bias, row) in parameters.bias.iter_mut().zip(rows) {
                *bias += 128 * row.iter().map(|&w| i32::from(w)).sum::<i32>();
            }
        }
        Self {
            inputs,
            stride,
            outputs,
            weights: packed,
            parameters,
        }
    }

    pub fn bytes(&self) -> usize {
        self.weights.len()
    }

    /// Positions laid out at once.
    fn chunk(&self) -> usize {
        let value = if DOT { 1 } else { 2 };
        (CHUNK / (value * self.stride)).max(2 * TILE) / TILE * TILE
    }

    /// The i16 of scratch memory that [`Dense::run`] needs.
    pub fn scratch(&self) -> usize {
        self.chunk() * self.stride
    }

    pub fn run(
        &self,
        requantize: &Requantize,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut Scratch,
    ) {
        let chunk = self.chunk();
        let inputs = input.chunks(chunk * self.inputs);
        for (input, output) in inputs.zip(output.chunks_mut(chunk * self.outputs)) {
            let positions = input.len() / self.inputs;
            let rows = &mut scratch.rows[..positions * self.stride];
            // SAFETY: any bytes are i8, and so are any bytes of i16.
            let (_, bytes, _) = unsafe { rows.align_to_mut::<i8>() };
            for (index, input) in input.chunks_exact(self.inputs).enumerate() {
                if DOT {
                    let row = &mut bytes[index * self.stride..][..self.stride];
                    for (to, &value) in row.iter_mut().zip(input) {
                        *to = (value ^ 0x80).cast_signed();
                    }
                    // Their weights are zero.
                    row[self.inputs..].fill(0);
                } else {
                    let values = &mut bytes[2 * index * self.stride..][..2 * self.stride];
                    let (values, _) = values.as_chunks_mut::<2>();
                    for (to, &value) in values.iter_mut().zip(input) {
                        *to = i16::from(value).to_ne_bytes().map(u8::cast_signed);
                    }
                    values[self.inputs..].fill([0; 2]);
                }
            }
            self.product(requantize, bytes, positions, output);
        }
    }

    fn product(&self, requantize: &Requantize, rows: &[i8], positions: usize, output: &mut [u8]) {
        let line = self.stride * if DOT { 1 } else { 2 };
        let tiles = positions.div_ceil(TILE);
        for first in (0..self.outputs).step_by(8) {
            let block = Block {
                weights: &self.weights[first * self.stride..][..8 * self.stride],
                parameters: &self.parameters,
                first,
                zero: requantize.zero,
                range: &requantize.range,
                outputs: self.outputs,
                channels: (self.outputs - first).min(8),
            };
            for tile in 0..tiles {
                // Tiles of nearly the same size: 9 positions are 5 and 4.
                let start = tile * positions / tiles;
                let size = (tile + 1) * positions / tiles - start;
                let rows = &rows[start * line..][..size * line];
                let output = &mut output[start * self.outputs + first..];
                // SAFETY: NEON is part of every 64-bit ARM, and a `Dense` with
                // `DOT` is only made where its dot product is there.
                unsafe {
                    match size {
                        8 => block.tile::<8, DOT>(rows, output),
                        7 => block.tile::<7, DOT>(rows, output),
                        6 => block.tile::<6, DOT>(rows, output),
                        5 => block.tile::<5, DOT>(rows, output),
                        4 => block.tile::<4, DOT>(rows, output),
                        3 => block.tile::<3, DOT>(rows, output),
                        2 => block.tile::<2, DOT>(rows, output),
                        _ => block.tile::<1, DOT>(rows, output),
                    }
                }
            }
        }
    }
}

/// Eight outputs of a [`Dense`].
struct Block<'a> {
    weights: &'a [i8],
    parameters: &'a Parameters,
    /// The first of the outputs.
    first: usize,
    zero: u8,
    range: &'a Range,
    /// Bytes from one position of the output to the next.
    outputs: usize,
    /// Those of the block that exist.
    channels: usize,
}

impl Block<'_> {
    /// `POSITIONS` rows of inputs times the block's weights.
    ///
    /// # Safety
    /// With `DOT`, the processor has `sdot`.
    #[target_feature(enable = "neon")]
    unsafe fn tile<const POSITIONS: usize, const DOT: bool>(&self, rows: &[i8], output: &mut [u8]) {
        let line = rows.len() / POSITIONS;
        let stride = line / if DOT { 1 } else { 2 };
        assert!(rows.len() == POSITIONS * line);
        assert!(self.weights.len() == 8 * stride);
        assert!(stride.is_multiple_of(if DOT { 16 } else { 4 }));
        assert!(self.parameters.bias.len() >= self.first + 8);
        assert!(output.len() >= (POSITIONS - 1) * self.outputs + self.channels);
        // SAFETY: the lengths are asserted above, and parameters have one
        // length. The loops read rows of `stride` values and eight weights for
        // each of them.
        unsafe {
            let bias = self.parameters.bias.as_ptr().add(self.first);
            let bias = [vld1q_s32(bias), vld1q_s32(bias.add(4))];
            let mut sums = [bias; POSITIONS];
            let mut weights = self.weights.as_ptr();
            let rows = rows.as_ptr();
            if DOT {
                for group in (0..stride).step_by(16) {
                    let mut inputs = [vdupq_n_s8(0); POSITIONS];
                    for (position, inputs) in inputs.iter_mut().enumerate() {
                        *inputs = vld1q_s8(rows.add(position * line + group));
                    }
                    dot::<0, POSITIONS>(&mut sums, &inputs, weights);
                    dot::<1, POSITIONS>(&mut sums, &inputs, weights.add(32));
                    dot::<2, POSITIONS>(&mut sums, &inputs, weights.add(64));
                    dot::<3, POSITIONS>(&mut sums, &inputs, weights.add(96));
                    weights = weights.add(128);
                }
            } else {
                for group in (0..stride).step_by(4) {
                    let mut inputs = [vdup_n_s16(0); POSITIONS];
                    for (position, inputs) in inputs.iter_mut().enumerate() {
                        *inputs = vld1_s16(rows.add(position * line + 2 * group).cast());
                    }
                    multiply::<0, POSITIONS>(&mut sums, &inputs, weights);
                    multiply::<1, POSITIONS>(&mut sums, &inputs, weights.add(8));
                    multiply::<2, POSITIONS>(&mut sums, &inputs, weights.add(16));
                    multiply::<3, POSITIONS>(&mut sums, &inputs, weights.add(24));
                    weights = weights.add(32);
                }
            }
            let ends = Ends::new(self.parameters, self.first, self.zero, self.range);
            for (position, sums) in sums.iter().enumerate() {
                let bytes = ends.bytes(*sums);
                let output = output.as_mut_ptr().add(position * self.outputs);
                if self.channels == 8 {
                    vst1_u8(output, bytes);
                } else {
                    let mut buffer = [0; 8];
                    vst1_u8(buffer.as_mut_ptr(), bytes);
                    std::ptr::copy_nonoverlapping(buffer.as_ptr(), output, self.channels);
                }
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
unsafe fn dot<const LANE: i32, const POSITIONS: usize>(
    sums: &mut [[int32x4_t; 2]; POSITIONS],
    inputs: &[int8x16_t; POSITIONS],
    weights: *const i8,
) {
    // SAFETY: the caller answers for the weights.
    let weights = unsafe { [vld1q_s8(weights), vld1q_s8(weights.add(16))] };
    for (sums, inputs) in sums.iter_mut().zip(inputs) {
        for (sum, weights) in sums.iter_mut().zip(weights) {
            // SAFETY: changes the sum's register only; the caller answers for
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
unsafe fn multiply<const LANE: i32, const POSITIONS: usize>(
    sums: &mut [[int32x4_t; 2]; POSITIONS],
    inputs: &[int16x4_t; POSITIONS],
    weights: *const i8,
) {
    // SAFETY: the caller answers for the weights.
    let weights = vmovl_s8(unsafe { vld1_s8(weights) });
    for (sums, inputs) in sums.iter_mut().zip(inputs) {
        sums[0] = vmlal_lane_s16::<LANE>(sums[0], vget_low_s16(weights), *inputs);
        sums[1] = vmlal_high_lane_s16::<LANE>(sums[1], weights, *inputs);
    }
}

/// What turns the sums of eight channels into bytes.
struct Ends {
    scale: [float32x4_t; 2],
    offset: [float32x4_t; 2],
    zero: int16x8_t,
    low: uint8x8_t,
    high: uint8x8_t,
}

impl Ends {
    /// # Safety
    /// There are parameters for eight channels from `first` on.
    #[inline]
    #[target_feature(enable = "neon")]
    unsafe fn new(parameters: &Parameters, first: usize, zero: u8, range: &Range) -> Self {
        // SAFETY: the caller answers for the parameters.
        unsafe {
            let scale = parameters.scale.as_ptr().add(first);
            let offset = parameters.offset.as_ptr().add(first);
            Self {
                scale: [vld1q_f32(scale), vld1q_f32(scale.add(4))],
                offset: [vld1q_f32(offset), vld1q_f32(offset.add(4))],
                zero: vdupq_n_s16(i16::from(zero)),
                low: vdup_n_u8(*range.start()),
                high: vdup_n_u8(*range.end()),
            }
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

/// The weights of a depthwise convolution with a window of 3 x 3: eight
/// channels after eight, in them tap by tap, as i16.
#[derive(Debug)]
pub struct Depthwise {
    blocks: usize,
    weights: Aligned<i16>,
    parameters: Parameters,
}

/// Column `x` of the three rows.
///
/// # Safety
/// There are eight channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn column(rows: &Rows<'_, 3>, x: isize, channel: usize) -> [int16x8_t; 3] {
    // SAFETY: the caller answers for the channels.
    let bytes = unsafe {
        let [a, b, c] = rows.column(x, channel);
        [vld1_u8(a), vld1_u8(b), vld1_u8(c)]
    };
    let mut values = [vdupq_n_s16(0); 3];
    for (values, bytes) in values.iter_mut().zip(bytes) {
        *values = vreinterpretq_s16_u16(vmovl_u8(bytes));
    }
    values
}

impl Depthwise {
    /// `None` for another window or stride.
    pub fn new(geometry: &Geometry, weights: &[i8], requantize: &Requantize) -> Option<Self> {
        if geometry.window != [3, 3] || ![[1, 1], [2, 2]].contains(&geometry.stride) {
            return None;
        }
        let blocks = geometry.channels / 8;
        let mut packed = Aligned::new(blocks * 72);
        for (at, weight) in packed.iter_mut().enumerate() {
            let (block, tap, lane) = (at / 72, at % 72 / 8, at % 8);
            *weight = i16::from(weights[(8 * block + lane) * 9 + tap]);
        }
        Some(Self {
            blocks,
            weights: packed,
            parameters: Parameters::new(requantize, 8 * blocks),
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
        let out_line = geometry.out_width * geometry.channels;
        for (index, output) in output.chunks_exact_mut(out_line).enumerate() {
            let rows = input.rows(geometry, first + index);
            // SAFETY: NEON is part of every 64-bit ARM.
            unsafe { self.row(geometry, requantize, &rows, output) };
        }
    }

    #[target_feature(enable = "neon")]
    fn row(
        &self,
        geometry: &Geometry,
        requantize: &Requantize,
        rows: &Rows<'_, 3>,
        output: &mut [u8],
    ) {
        let channels = geometry.channels;
        let stride = geometry.stride[1] as isize;
        assert!(output.len() == geometry.out_width * channels);
        assert!(self.weights.len() == 72 * self.blocks && 8 * self.blocks <= channels);
        assert!(self.parameters.bias.len() == 8 * self.blocks);
        let left = -(geometry.pad[1] as isize);
        for block in 0..self.blocks {
            let channel = 8 * block;
            // SAFETY: the block is there, and its eight channels are in each
            // position of inputs and outputs.
            unsafe {
                let mut weights = [vdupq_n_s16(0); 9];
                for (tap, weights) in weights.iter_mut().enumerate() {
                    *weights = vld1q_s16(self.weights.as_ptr().add(72 * block + 8 * tap));
                }
                let bias = self.parameters.bias.as_ptr().add(channel);
                let bias = [vld1q_s32(bias), vld1q_s32(bias.add(4))];
                let (zero, range) = (requantize.zero, &requantize.range);
                let ends = Ends::new(&self.parameters, channel, zero, range);
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
                    let bytes = ends.bytes(sums);
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

/// A depthwise convolution with a window of 3 x 3 by `sdot`, for sixteen channels
/// after sixteen.
///
/// The four factors of a lane are a column of four rows: the three of a window,
/// and one that serves the window below with a stride of 1 and has a weight of
/// zero otherwise. Each column serves up to three outputs side by side.
#[derive(Debug)]
pub struct DotDepthwise {
    /// Block by block, in it for each row of outputs made at once, in it column by
    /// column of the window.
    weights: Aligned<i8>,
    parameters: Parameters,
}

/// Rows of outputs made at once from four rows of inputs.
const fn rows_at_once(stride: usize) -> usize {
    if stride == 1 { 2 } else { 1 }
}

/// One column of four rows for sixteen channels, four in a vector, less 128.
///
/// # Safety
/// There are sixteen channels from `channel` on in each position.
#[inline]
#[target_feature(enable = "neon")]
unsafe fn dot_column(rows: &Rows<'_, 4>, x: isize, channel: usize) -> [int8x16_t; 4] {
    // SAFETY: the caller answers for the channels.
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

impl DotDepthwise {
    /// `None` for another window or stride, or channels that are left over.
    pub fn new(geometry: &Geometry, weights: &[i8], requantize: &Requantize) -> Option<Self> {
        let stride = geometry.stride[0];
        let channels = geometry.channels;
        if geometry.window != [3, 3]
            || ![[1, 1], [2, 2]].contains(&geometry.stride)
            || !channels.is_multiple_of(16)
        {
            return None;
        }
        let rows = rows_at_once(stride);
        let mut packed = Aligned::new(channels * 12 * rows);
        for (at, packed) in packed.iter_mut().enumerate() {
            let (lane, at) = (at % 64, at / 64);
            let (column, above, block) = (at % 3, at / 3 % rows, at / 3 / rows);
            let channel = 16 * block + lane / 4;
            if let Some(row) = (lane % 4).checked_sub(above).filter(|row| *row < 3) {
                *packed = weights[channel * 9 + row * 3 + column];
            }
        }
        let mut parameters = Parameters::new(requantize, channels);
        for (bias, window) in parameters.bias.iter_mut().zip(weights.chunks_exact(9)) {
            *bias += 128 * window.iter().map(|&w| i32::from(w)).sum::<i32>();
        }
        Some(Self {
            weights: packed,
            parameters,
        })
    }

    pub fn bytes(&self) -> usize {
        self.weights.len()
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
        let at_once = rows_at_once(geometry.stride[0]);
        let out_line = geometry.out_width * geometry.channels;
        for (index, output) in output.chunks_mut(at_once * out_line).enumerate() {
            let rows = input.rows(geometry, first + at_once * index);
            // SAFETY: this is only made where the dot product is there.
            unsafe {
                if at_once == 2 {
                    self.rows::<1, 2>(geometry, requantize, &rows, output);
                } else {
                    self.rows::<2, 1>(geometry, requantize, &rows, output);
                }
            }
        }
    }

    /// `OUTPUTS` rows of outputs (one less, where the last is beyond the end)
    /// from four rows of inputs.
    ///
    /// # Safety
    /// The processor has `sdot`.
    #[target_feature(enable = "neon")]
    unsafe fn rows<const STRIDE: usize, const OUTPUTS: usize>(
        &self,
        geometry: &Geometry,
        requantize: &Requantize,
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
                let (zero, range) = (requantize.zero, &requantize.range);
                let ends = [
                    Ends::new(&self.parameters, channel, zero, range),
                    Ends::new(&self.parameters, channel + 8, zero, range),
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
                        let bytes = vcombine_u8(ends[0].bytes(sums[0]), ends[1].bytes(sums[1]));
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
    // SAFETY: changes the sum's register only; the caller answers for the
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
