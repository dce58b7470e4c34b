//! Integer kernels: the arithmetic of a quantized network, one file an
//! instruction set.
//!
//! Values are unsigned bytes with a zero point, in the order row, column,
//! channel. A convolution is an exact i32 sum of products of bytes, turned into
//! the next layer's bytes by [`Requantize`]. What a kernel computes is defined by
//! `scalar`, and every other kernel gives the same bits: sums of integers do
//! not depend on their order, and the few f32 operations at the end are IEEE 754
//! operations that all processors round alike.

#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

use std::fmt;

/// An instruction set to compute with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kernel {
    /// Plain Rust: the definition of the others, and what runs where none of
    /// them does.
    Scalar,
    /// x86-64 with AVX2 and FMA (Haswell, Zen and later).
    #[cfg(target_arch = "x86_64")]
    Avx2,
    /// x86-64 with AVX-512 and its integer dot product (Ice Lake, Zen 4).
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni,
    /// Any 64-bit ARM (Raspberry Pi 3, 4 and Zero 2 W, Jetson Nano).
    #[cfg(target_arch = "aarch64")]
    Neon,
    /// 64-bit ARM with the dot product (Raspberry Pi 5, Jetson Orin).
    #[cfg(target_arch = "aarch64")]
    NeonDot,
}

impl Kernel {
    /// The kernels that this processor can run, the fastest first.
    #[must_use]
    pub fn available() -> Vec<Self> {
        let mut kernels = Vec::new();
        #[cfg(target_arch = "x86_64")]
        if is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma") {
            if is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vl")
                && is_x86_feature_detected!("avx512vnni")
            {
                kernels.push(Self::Avx512Vnni);
            }
            kernels.push(Self::Avx2);
        }
        #[cfg(target_arch = "aarch64")]
        {
            if std::arch::is_aarch64_feature_detected!("dotprod") {
                kernels.push(Self::NeonDot);
            }
            kernels.push(Self::Neon);
        }
        kernels.push(Self::Scalar);
        kernels
    }

    /// The fastest kernel that this processor can run.
    #[must_use]
    pub fn best() -> Self {
        Self::available()[0]
    }

    /// A short name for logs and listings.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Scalar => "scalar",
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => "avx2",
            #[cfg(target_arch = "x86_64")]
            Self::Avx512Vnni => "avx512-vnni",
            #[cfg(target_arch = "aarch64")]
            Self::Neon => "neon",
            #[cfg(target_arch = "aarch64")]
            Self::NeonDot => "neon-dot",
        }
    }
}

impl fmt::Display for Kernel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// Scale and zero point of a quantized tensor: a byte `q` stands for
/// `(q - zero) * scale`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quantization {
    /// Above 0 and finite.
    pub scale: f32,
    pub zero: u8,
}

/// The range that an output is clamped to: all of 0 to 255 unless the model has
/// a ReLU or ReLU6 that its quantization does not imply.
pub type Range = std::ops::RangeInclusive<u8>;

/// From an exact sum to an output byte, channel by channel:
/// `clamp(round(fma(sum as f32, scale, offset)) + zero)`, rounding half to even.
///
/// `scale` is `s_x * s_w / s_y`; a bias that is a whole number of `s_x * s_w`,
/// as the standard asks, is part of the sum, and only another one needs
/// `offset`. Without an offset this is what ONNX Runtime computes for
/// QLinearConv, to the bit (`scripts/compare-onnxruntime` shows it).
///
/// For the same layer between DequantizeLinear and QuantizeLinear ONNX Runtime
/// sums products in f32, each sum rounded. Where that rounding error crosses the
/// middle between two quanta the two differ by one, and what follows from that
/// byte differs in turn.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantize {
    /// Where the sum starts: the bias, less the input's zero point times the
    /// sum of the weights.
    bias: Vec<i32>,
    scale: Vec<f32>,
    offset: Vec<f32>,
    zero: u8,
    range: Range,
}

/// Sums below 2^31 and results far from where f32 to i32 conversion saturates:
/// then no kernel needs a special case.
const MAX_SUM: f64 = 2_147_483_647.0;

impl Requantize {
    /// For `weights` (`outputs x inputs`) over an input with the zero point
    /// `input_zero`, or `None` if the sums or results could overflow.
    #[must_use]
    pub fn new(
        weights: &[i8],
        input_zero: u8,
        bias: &[i32],
        scale: Vec<f32>,
        offset: Vec<f32>,
        zero: u8,
        range: Range,
    ) -> Option<Self> {
        let outputs = bias.len();
        assert_eq!(weights.len() % outputs, 0);
        assert_eq!((scale.len(), offset.len()), (outputs, outputs));
        let inputs = weights.len() / outputs;
        let mut folded = Vec::with_capacity(outputs);
        for (channel, row) in weights.chunks_exact(inputs).enumerate() {
            let sum: i64 = row.iter().map(|&w| i64::from(w)).sum();
            let size: i64 = row.iter().map(|&w| i64::from(w).abs()).sum();
            let start = i64::from(bias[channel]) - i64::from(input_zero) * sum;
            // 256: one kernel takes inputs less 128 and adds 128 times the weights.
            let largest = start.abs() as f64 + 256.0 * size as f64;
            let result =
                largest * f64::from(scale[channel]).abs() + f64::from(offset[channel]).abs();
            // Not `>`: a NaN must not pass.
            if !(largest < MAX_SUM && result < MAX_SUM) {
                return None;
            }
            folded.push(start as i32);
        }
        Some(Self {
            bias: folded,
            scale,
            offset,
            zero,
            range,
        })
    }

    /// Where each channel's sum starts: the bias with the input's zero point
    /// folded in.
    #[must_use]
    pub fn into_bias(self) -> Vec<i32> {
        self.bias
    }

    /// The number of output channels.
    #[must_use]
    pub fn outputs(&self) -> usize {
        self.bias.len()
    }

    fn apply(&self, channel: usize, sum: i32) -> u8 {
        let value = (sum as f32)
            .mul_add(self.scale[channel], self.offset[channel])
            .round_ties_even();
        clamp(
            (value as i32).saturating_add(i32::from(self.zero)),
            &self.range,
        )
    }
}

fn clamp(value: i32, range: &Range) -> u8 {
    value.clamp(i32::from(*range.start()), i32::from(*range.end())) as u8
}

/// The byte for a number: `clamp(round(value / scale) + zero)`, rounding half to
/// even; the lowest of the range for what is no number.
#[must_use]
#[expect(clippy::manual_clamp, reason = "clamp keeps what is no number")]
pub fn quantize(value: f32, to: Quantization, range: &Range) -> u8 {
    // Far outside of any byte, and far inside of i32.
    let steps = (value / to.scale).max(-65536.0).min(65536.0);
    clamp(steps.round_ties_even() as i32 + i32::from(to.zero), range)
}

/// A slice on a cache line's border, for vector loads.
#[derive(Debug, Default)]
pub(super) struct Aligned<T> {
    data: Vec<T>,
    start: usize,
    length: usize,
}

const LINE: usize = 64;

impl<T: Copy + Default> Aligned<T> {
    pub fn new(length: usize) -> Self {
        let data = vec![T::default(); length + LINE / size_of::<T>()];
        let start = data.as_ptr().align_offset(LINE).min(LINE / size_of::<T>());
        Self {
            data,
            start,
            length,
        }
    }
}

impl<T> std::ops::Deref for Aligned<T> {
    type Target = [T];

    fn deref(&self) -> &[T] {
        &self.data[self.start..self.start + self.length]
    }
}

impl<T> std::ops::DerefMut for Aligned<T> {
    fn deref_mut(&mut self) -> &mut [T] {
        &mut self.data[self.start..self.start + self.length]
    }
}

/// Memory that kernels work in, shared by all layers.
#[derive(Debug, Default)]
pub struct Scratch {
    rows: Aligned<i16>,
}

impl Scratch {
    /// How many i16 it holds.
    #[must_use]
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether it holds nothing.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// With room for the largest of the layers' needs.
    #[must_use]
    pub fn new(length: usize) -> Self {
        Self {
            rows: Aligned::new(length),
        }
    }
}

/// A matrix product: every output of a position is a sum over all its inputs.
/// A 1x1 convolution is one, and any other after its inputs are gathered.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    requantize: Requantize,
    packed: DensePacked,
}

#[derive(Debug)]
enum DensePacked {
    Scalar(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx2(avx2::Dense),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(avx512::Dense),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Dense<false>),
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::Dense<true>),
}

impl Dense {
    /// Packs `weights` (`outputs x inputs`) for a kernel.
    #[must_use]
    pub fn new(kernel: Kernel, weights: &[i8], requantize: Requantize) -> Self {
        let inputs = weights.len() / requantize.outputs();
        assert_eq!(weights.len(), inputs * requantize.outputs());
        let packed = match kernel {
            Kernel::Scalar => DensePacked::Scalar(weights.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => DensePacked::Avx2(avx2::Dense::new(weights, &requantize)),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => DensePacked::Avx512Vnni(avx512::Dense::new(weights, &requantize)),
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon => DensePacked::Neon(neon::Dense::new(weights, &requantize)),
            #[cfg(target_arch = "aarch64")]
            Kernel::NeonDot => DensePacked::NeonDot(neon::Dense::new(weights, &requantize)),
        };
        Self {
            inputs,
            requantize,
            packed,
        }
    }

    /// Inputs of each output.
    #[must_use]
    pub fn inputs(&self) -> usize {
        self.inputs
    }

    /// Bytes that the packed weights take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.packed {
            DensePacked::Scalar(weights) => weights.len(),
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx2(dense) => dense.bytes(),
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx512Vnni(dense) => dense.bytes(),
            #[cfg(target_arch = "aarch64")]
            DensePacked::Neon(dense) => dense.bytes(),
            #[cfg(target_arch = "aarch64")]
            DensePacked::NeonDot(dense) => dense.bytes(),
        }
    }

    /// The scratch memory that [`Dense::run`] needs.
    #[must_use]
    pub fn scratch(&self) -> usize {
        match &self.packed {
            DensePacked::Scalar(_) => 0,
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx2(dense) => dense.scratch(),
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx512Vnni(dense) => dense.scratch(),
            #[cfg(target_arch = "aarch64")]
            DensePacked::Neon(dense) => dense.scratch(),
            #[cfg(target_arch = "aarch64")]
            DensePacked::NeonDot(dense) => dense.scratch(),
        }
    }

    /// From `positions x inputs` to `positions x outputs`.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut Scratch) {
        let outputs = self.requantize.outputs();
        let positions = output.len() / outputs;
        assert_eq!(output.len(), positions * outputs);
        assert_eq!(input.len(), positions * self.inputs);
        match &self.packed {
            DensePacked::Scalar(weights) => {
                scalar::dense(weights, &self.requantize, self.inputs, input, output);
            }
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx2(dense) => dense.run(&self.requantize, input, output, scratch),
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx512Vnni(dense) => dense.run(&self.requantize, input, output, scratch),
            #[cfg(target_arch = "aarch64")]
            DensePacked::Neon(dense) => dense.run(&self.requantize, input, output, scratch),
            #[cfg(target_arch = "aarch64")]
            DensePacked::NeonDot(dense) => dense.run(&self.requantize, input, output, scratch),
        }
    }
}

/// The geometry of a convolution with a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    pub height: usize,
    pub width: usize,
    pub channels: usize,
    /// Rows and columns of the window.
    pub window: [usize; 2],
    pub stride: [usize; 2],
    /// Padding above and to the left.
    pub pad: [usize; 2],
    pub out_height: usize,
    pub out_width: usize,
}

impl Geometry {
    /// Positions of the window.
    #[must_use]
    pub fn taps(&self) -> usize {
        self.window[0] * self.window[1]
    }

    /// Whether each output sees the input at its own position only.
    #[must_use]
    pub fn is_pointwise(&self) -> bool {
        self.taps() == 1
            && self.pad == [0, 0]
            && self.stride == [1, 1]
            && (self.height, self.width) == (self.out_height, self.out_width)
    }

    /// Bytes that [`gather`] writes for each output: a multiple of four, because
    /// kernels take inputs in pairs or in fours.
    #[must_use]
    pub fn gathered_inputs(&self) -> usize {
        (self.taps() * self.channels).next_multiple_of(4)
    }

    /// Bytes that [`gather`] writes for so many rows of outputs.
    #[must_use]
    pub fn gathered(&self, rows: usize) -> usize {
        rows * self.out_width * self.gathered_inputs()
    }

    /// The rows of the input, from the first on, that the rows of outputs up to
    /// `out_row` see.
    #[must_use]
    pub fn rows_for(&self, out_row: usize) -> usize {
        (out_row * self.stride[0] + self.window[0])
            .saturating_sub(self.pad[0])
            .min(self.height)
    }

    /// Bytes of the input and of an output with as many channels.
    #[cfg(test)]
    fn lengths(&self) -> (usize, usize) {
        (
            self.height * self.width * self.channels,
            self.out_height * self.out_width * self.channels,
        )
    }
}

/// Lays out the inputs of each output of a convolution one after another
/// (`outputs x gathered inputs`, which are `taps x channels` and up to three that
/// mean nothing), so that [`Dense`] can go on. `zero` is the padding, `first` the
/// first row of outputs; there are as many as `output` has room for.
pub fn gather(geometry: &Geometry, zero: u8, first: usize, input: &[u8], output: &mut [u8]) {
    let channels = geometry.channels;
    let across = geometry.window[1] * channels;
    let line = geometry.width * channels;
    assert_eq!(input.len(), geometry.height * line);
    let inputs = geometry.gathered_inputs();
    let out_line = geometry.out_width * inputs;
    assert!(output.len().is_multiple_of(out_line));
    let [down, _] = geometry.window;
    // A word is copied faster than three bytes. What is one too many is
    // overwritten by the next row of the window, or means nothing.
    let words = across <= 4 && (down - 1) * across + 4 <= inputs;
    let read = if words { 4 } else { across };
    // Columns for which that much is inside of the picture, and where it begins.
    let step = geometry.stride[1] * channels;
    let left = geometry.pad[1] * channels;
    let begin = left.div_ceil(step).min(geometry.out_width);
    let end = match (line + left).checked_sub(read) {
        Some(room) => (room / step + 1).clamp(begin, geometry.out_width),
        None => begin,
    };
    for (row, output) in output.chunks_exact_mut(out_line).enumerate() {
        for tap_row in 0..down {
            let y = ((first + row) * geometry.stride[0] + tap_row).checked_sub(geometry.pad[0]);
            let source = y
                .filter(|y| *y < geometry.height)
                .map(|y| &input[y * line..][..line]);
            let to = tap_row * across;
            let mut at = (begin * step).saturating_sub(left);
            let inside = &mut output[begin * inputs..end * inputs];
            match source {
                Some(source) if words => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..to + 4].copy_from_slice(&source[at..at + 4]);
                        at += step;
                    }
                }
                Some(source) => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..][..across].copy_from_slice(&source[at..at + across]);
                        at += step;
                    }
                }
                None => {
                    for position in inside.chunks_exact_mut(inputs) {
                        position[to..][..across].fill(zero);
                    }
                }
            }
            for column in (0..begin).chain(end..geometry.out_width) {
                let position = &mut output[column * inputs + to..][..across];
                for (tap, to) in position.chunks_exact_mut(channels).enumerate() {
                    let x = (column * geometry.stride[1] + tap).checked_sub(geometry.pad[1]);
                    match (source, x.filter(|x| *x < geometry.width)) {
                        (Some(source), Some(x)) => {
                            to.copy_from_slice(&source[x * channels..][..channels]);
                        }
                        _ => to.fill(zero),
                    }
                }
            }
        }
    }
}

/// The input of a depthwise convolution, or those rows of it that are needed:
/// row `y` is in the place `y` modulo their number.
#[derive(Clone, Copy)]
struct Picture<'a> {
    data: &'a [u8],
    /// A row of padding.
    padding: &'a [u8],
}

impl<'a> Picture<'a> {
    /// The row of the picture that a row of an output's window is.
    fn row(&self, geometry: &Geometry, out_row: usize, row: usize) -> &'a [u8] {
        let line = geometry.width * geometry.channels;
        let y = (out_row * geometry.stride[0] + row).checked_sub(geometry.pad[0]);
        match y.filter(|y| *y < geometry.height) {
            Some(y) => &self.data[y % (self.data.len() / line) * line..][..line],
            None => &self.padding[..line],
        }
    }

    /// What a tap of an output's window sees.
    fn position(&self, geometry: &Geometry, row: usize, column: usize, tap: usize) -> &'a [u8] {
        let [_, across] = geometry.window;
        let row = self.row(geometry, row, tap / across);
        let x = (column * geometry.stride[1] + tap % across).checked_sub(geometry.pad[1]);
        match x.filter(|x| *x < geometry.width) {
            Some(x) => &row[x * geometry.channels..][..geometry.channels],
            None => &self.padding[..geometry.channels],
        }
    }

    /// The first `N` rows that the windows of a row of outputs see.
    fn rows<const N: usize>(&self, geometry: &Geometry, out_row: usize) -> Rows<'a, N> {
        Rows {
            rows: std::array::from_fn(|row| self.row(geometry, out_row, row)),
            padding: self.padding,
            width: geometry.width,
            channels: geometry.channels,
        }
    }
}

/// Rows that a window sees.
struct Rows<'a, const N: usize> {
    /// Each of `width` positions.
    rows: [&'a [u8]; N],
    padding: &'a [u8],
    width: usize,
    channels: usize,
}

impl<const N: usize> Rows<'_, N> {
    /// Where column `x` of each row has its channels from `channel` on.
    ///
    /// # Safety
    /// A position has more than `channel` channels.
    #[inline(always)]
    unsafe fn column(&self, x: isize, channel: usize) -> [*const u8; N] {
        if !(0..self.width as isize).contains(&x) {
            return self.beside(channel);
        }
        let offset = x as usize * self.channels + channel;
        let mut at = [self.padding.as_ptr(); N];
        for (at, row) in at.iter_mut().zip(&self.rows) {
            // SAFETY: column `x` is in the row; the caller answers for the channel.
            *at = unsafe { row.as_ptr().add(offset) };
        }
        at
    }

    /// The same for a column beside the picture.
    #[cold]
    fn beside(&self, channel: usize) -> [*const u8; N] {
        [self.padding[channel..].as_ptr(); N]
    }
}

/// A depthwise convolution: each channel has a window of its own.
#[derive(Debug)]
pub struct Depthwise {
    geometry: Geometry,
    requantize: Requantize,
    /// A row of padding: the input's zero point.
    padding: Vec<u8>,
    packed: DepthwisePacked,
}

#[derive(Debug)]
enum DepthwisePacked {
    Scalar(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    /// With the plain weights for what is left over.
    Avx2(avx2::Depthwise, Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(avx512::Depthwise),
    #[cfg(target_arch = "aarch64")]
    Neon(neon::Depthwise, Vec<i8>),
    #[cfg(target_arch = "aarch64")]
    NeonDot(neon::DotDepthwise),
}

impl Depthwise {
    /// Packs `weights` (`channels x taps`) for a kernel.
    #[must_use]
    pub fn new(
        kernel: Kernel,
        geometry: Geometry,
        weights: &[i8],
        input_zero: u8,
        requantize: Requantize,
    ) -> Self {
        assert_eq!(weights.len(), geometry.channels * geometry.taps());
        assert_eq!(requantize.outputs(), geometry.channels);
        let packed = match kernel {
            Kernel::Scalar => DepthwisePacked::Scalar(weights.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => match avx2::Depthwise::new(&geometry, weights, &requantize) {
                Some(depthwise) => DepthwisePacked::Avx2(depthwise, weights.to_vec()),
                None => DepthwisePacked::Scalar(weights.to_vec()),
            },
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => match avx512::Depthwise::new(&geometry, weights, &requantize) {
                Some(depthwise) => DepthwisePacked::Avx512Vnni(depthwise),
                None => DepthwisePacked::Scalar(weights.to_vec()),
            },
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon | Kernel::NeonDot => {
                let dot = match kernel {
                    Kernel::NeonDot => neon::DotDepthwise::new(&geometry, weights, &requantize),
                    _ => None,
                };
                match (dot, neon::Depthwise::new(&geometry, weights, &requantize)) {
                    (Some(dot), _) => DepthwisePacked::NeonDot(dot),
                    (_, Some(neon)) => DepthwisePacked::Neon(neon, weights.to_vec()),
                    _ => DepthwisePacked::Scalar(weights.to_vec()),
                }
            }
        };
        Self {
            geometry,
            requantize,
            padding: vec![input_zero; geometry.width * geometry.channels],
            packed,
        }
    }

    /// Its sizes.
    #[must_use]
    pub fn geometry(&self) -> &Geometry {
        &self.geometry
    }

    /// Bytes that the packed weights take.
    #[must_use]
    pub fn bytes(&self) -> usize {
        match &self.packed {
            DepthwisePacked::Scalar(weights) => weights.len(),
            #[cfg(target_arch = "x86_64")]
            DepthwisePacked::Avx2(depthwise, weights) => depthwise.bytes() + weights.len(),
            #[cfg(target_arch = "x86_64")]
            DepthwisePacked::Avx512Vnni(depthwise) => depthwise.bytes(),
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::Neon(depthwise, weights) => depthwise.bytes() + weights.len(),
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::NeonDot(depthwise) => depthwise.bytes(),
        }
    }

    /// Rows of outputs from `first` on, as many as `output` has room for.
    ///
    /// `input` is the picture, or as many rows of it as fit: row `y` is in the
    /// place `y` modulo their number. The rows that the outputs see are there.
    pub fn run(&self, first: usize, input: &[u8], output: &mut [u8]) {
        let geometry = &self.geometry;
        let line = geometry.width * geometry.channels;
        let out_line = geometry.out_width * geometry.channels;
        assert!(input.len().is_multiple_of(line) && output.len().is_multiple_of(out_line));
        assert!(first + output.len() / out_line <= geometry.out_height);
        let input = Picture {
            data: input,
            padding: &self.padding,
        };
        match &self.packed {
            DepthwisePacked::Scalar(weights) => self.run_scalar(weights, 0, first, &input, output),
            #[cfg(target_arch = "x86_64")]
            DepthwisePacked::Avx2(depthwise, weights) => {
                depthwise.run(geometry, &self.requantize, first, &input, output);
                self.run_scalar(weights, depthwise.channels(), first, &input, output);
            }
            #[cfg(target_arch = "x86_64")]
            DepthwisePacked::Avx512Vnni(depthwise) => {
                depthwise.run(geometry, &self.requantize, first, &input, output);
            }
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::NeonDot(depthwise) => {
                depthwise.run(geometry, &self.requantize, first, &input, output);
            }
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::Neon(depthwise, weights) => {
                depthwise.run(geometry, &self.requantize, first, &input, output);
                self.run_scalar(weights, depthwise.channels(), first, &input, output);
            }
        }
    }

    /// The channels from `channel` on.
    fn run_scalar(
        &self,
        weights: &[i8],
        channel: usize,
        first: usize,
        input: &Picture<'_>,
        output: &mut [u8],
    ) {
        scalar::depthwise(
            &self.geometry,
            weights,
            &self.requantize,
            channel,
            first,
            input,
            output,
        );
    }
}

/// The sum of two tensors, as ONNX computes it in f32:
/// `clamp(round(((a - zero_a) * scale_a + (b - zero_b) * scale_b) / scale) + zero)`.
#[derive(Clone, Debug)]
pub struct Add {
    kernel: Kernel,
    a: Quantization,
    b: Quantization,
    to: Quantization,
    range: Range,
}

impl Add {
    #[must_use]
    pub fn new(
        kernel: Kernel,
        a: Quantization,
        b: Quantization,
        to: Quantization,
        range: Range,
    ) -> Self {
        Self {
            kernel,
            a,
            b,
            to,
            range,
        }
    }

    /// All three of one length.
    pub fn run(&self, a: &[u8], b: &[u8], output: &mut [u8]) {
        assert_eq!((a.len(), b.len()), (output.len(), output.len()));
        match self.kernel {
            Kernel::Scalar => scalar::add(self, a, b, output),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 => avx2::add(self, a, b, output),
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx512Vnni => avx512::add(self, a, b, output),
            // The compiler makes vectors of it by itself.
            #[cfg(target_arch = "aarch64")]
            Kernel::Neon | Kernel::NeonDot => scalar::add(self, a, b, output),
        }
    }
}

/// Numbers to bytes, one by one, as [`quantize`].
pub fn quantize_all(kernel: Kernel, to: Quantization, input: &[f32], output: &mut [u8]) {
    assert_eq!(input.len(), output.len());
    match kernel {
        Kernel::Scalar => scalar::quantize_all(to, input, output),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx2 => avx2::quantize_all(to, input, output),
        #[cfg(target_arch = "x86_64")]
        Kernel::Avx512Vnni => avx512::quantize_all(to, input, output),
        #[cfg(target_arch = "aarch64")]
        Kernel::Neon | Kernel::NeonDot => scalar::quantize_all(to, input, output),
    }
}

/// The mean of all positions of a channel.
#[derive(Clone, Debug)]
pub struct Pool {
    positions: usize,
    scale: f32,
    input_zero: u8,
    zero: u8,
    range: Range,
    channels: usize,
}

impl Pool {
    /// `None` if the sums could overflow.
    #[must_use]
    pub fn new(
        positions: usize,
        channels: usize,
        from: Quantization,
        to: Quantization,
        range: Range,
    ) -> Option<Self> {
        let scale = f64::from(from.scale) / (positions as f64 * f64::from(to.scale));
        let largest = 255.0 * positions as f64;
        (largest < MAX_SUM && largest * scale < MAX_SUM).then_some(Self {
            positions,
            scale: scale as f32,
            input_zero: from.zero,
            zero: to.zero,
            range,
            channels,
        })
    }

    /// From `positions x channels` to `channels`.
    pub fn run(&self, kernel: Kernel, input: &[u8], output: &mut [u8]) {
        assert_eq!(output.len(), self.channels);
        assert_eq!(input.len(), self.positions * self.channels);
        match kernel {
            #[cfg(target_arch = "x86_64")]
            Kernel::Avx2 | Kernel::Avx512Vnni => avx2::pool(self, input, output),
            _ => scalar::pool(self, input, output),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bytes with many extremes among them.
    fn byte() -> impl Strategy<Value = u8> {
        prop_oneof![2 => any::<u8>(), 1 => Just(0), 1 => Just(255)]
    }

    fn weight() -> impl Strategy<Value = i8> {
        prop_oneof![2 => any::<i8>(), 1 => Just(-128), 1 => Just(127)]
    }

    fn range() -> impl Strategy<Value = Range> {
        prop_oneof![
            3 => Just(0..=255),
            1 => (any::<u8>(), any::<u8>()).prop_map(|(a, b)| a.min(b)..=a.max(b)),
        ]
    }

    fn quantization() -> impl Strategy<Value = Quantization> {
        (1e-4f32..10.0, byte()).prop_map(|(scale, zero)| Quantization { scale, zero })
    }

    /// How sums become bytes: scales around what spreads `inputs` random
    /// products over a byte, and exact powers of two, where ties are.
    fn requantize(
        weights: Vec<i8>,
        outputs: usize,
        zero: u8,
    ) -> impl Strategy<Value = (Vec<i8>, u8, Requantize)> {
        let inputs = weights.len() / outputs;
        let spread = 1.0 / (40.0 * (inputs as f32).sqrt());
        let scale = prop_oneof![
            2 => spread / 30.0..spread,
            2 => (4i32..14).prop_map(|e| (-e as f32).exp2()),
            1 => Just(1.0f32),
            1 => Just(1e-9f32),
        ];
        let offset = prop_oneof![3 => Just(0.0f32), 1 => -3.0f32..3.0, 1 => Just(0.5)];
        (
            prop::collection::vec(-60_000i32..60_000, outputs),
            prop::collection::vec(scale, outputs),
            prop::collection::vec(offset, outputs),
            byte(),
            range(),
        )
            .prop_map(move |(bias, scale, offset, out_zero, range)| {
                let requantize =
                    Requantize::new(&weights, zero, &bias, scale, offset, out_zero, range);
                (weights.clone(), zero, requantize.unwrap())
            })
    }

    type Case = (Vec<u8>, (Vec<i8>, u8, Requantize));

    fn dense() -> impl Strategy<Value = Case> {
        (1usize..80, 1usize..150, 1usize..30)
            .prop_flat_map(|(inputs, outputs, positions)| {
                (
                    prop::collection::vec(byte(), inputs * positions),
                    prop::collection::vec(weight(), inputs * outputs),
                    byte(),
                    Just(outputs),
                )
            })
            .prop_flat_map(|(input, weights, zero, outputs)| {
                (Just(input), requantize(weights, outputs, zero))
            })
    }

    fn geometry() -> impl Strategy<Value = Geometry> {
        (
            (1usize..9, 1usize..9, prop_oneof![1usize..150, (1usize..10).prop_map(|n| 16 * n)]),
            prop_oneof![3 => Just([3usize, 3]), 1 => (1usize..6, 1usize..6).prop_map(|(h, w)| [h, w])],
            // Kernels other than the scalar one know two strides.
            prop_oneof![3 => Just((1, 1)), 3 => Just((2, 2)), 1 => (1usize..4, 1usize..4)],
            (0usize..3, 0usize..3, 0usize..3, 0usize..3),
        )
            .prop_filter_map("the window is larger", |((height, width, channels), window, stride, pad)| {
                let out = |size: usize, window: usize, stride: usize, pad: usize| {
                    Some((size + pad).checked_sub(window)? / stride + 1)
                };
                Some(Geometry {
                    height,
                    width,
                    channels,
                    window,
                    stride: [stride.0, stride.1],
                    pad: [pad.0, pad.1],
                    out_height: out(height, window[0], stride.0, pad.0 + pad.2)?,
                    out_width: out(width, window[1], stride.1, pad.1 + pad.3)?,
                })
            })
    }

    fn depthwise() -> impl Strategy<Value = (Geometry, Case)> {
        geometry()
            .prop_flat_map(|geometry| {
                (
                    Just(geometry),
                    prop::collection::vec(byte(), geometry.lengths().0),
                    prop::collection::vec(weight(), geometry.channels * geometry.taps()),
                    byte(),
                )
            })
            .prop_flat_map(|(geometry, input, weights, zero)| {
                let case = (Just(input), requantize(weights, geometry.channels, zero));
                (Just(geometry), case)
            })
    }

    fn run_dense(kernel: Kernel, (input, (weights, _, requantize)): &Case) -> Vec<u8> {
        let outputs = requantize.outputs();
        let dense = Dense::new(kernel, weights, requantize.clone());
        let mut scratch = Scratch::new(dense.scratch());
        let positions = input.len() / dense.inputs();
        let mut output = vec![77; positions * outputs];
        dense.run(input, &mut output, &mut scratch);
        output
    }

    fn run_depthwise(kernel: Kernel, geometry: Geometry, case: &Case) -> Vec<u8> {
        let (input, (weights, zero, requantize)) = case;
        let depthwise = Depthwise::new(kernel, geometry, weights, *zero, requantize.clone());
        let mut output = vec![77; geometry.lengths().1];
        depthwise.run(0, input, &mut output);
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn dense_kernels_agree(case in dense()) {
            let expected = run_dense(Kernel::Scalar, &case);
            for kernel in Kernel::available() {
                prop_assert_eq!(&run_dense(kernel, &case), &expected, "{}", kernel);
            }
        }

        #[test]
        fn depthwise_kernels_agree((geometry, case) in depthwise()) {
            let expected = run_depthwise(Kernel::Scalar, geometry, &case);
            for kernel in Kernel::available() {
                let got = run_depthwise(kernel, geometry, &case);
                prop_assert_eq!(&got, &expected, "{}", kernel);
            }
        }

        /// Each output's inputs are what its window sees.
        #[test]
        fn gather_follows_the_windows(geometry in geometry(), zero in byte(), seed in any::<u8>()) {
            let geometry = Geometry { channels: geometry.channels % 5 + 1, ..geometry };
            let input: Vec<_> = (0..geometry.lengths().0)
                .map(|at| (at as u8).wrapping_mul(151).wrapping_add(seed))
                .collect();
            let padding = vec![zero; geometry.width * geometry.channels];
            let picture = Picture { data: &input, padding: &padding };
            // The last row alone, and all.
            for first in [geometry.out_height - 1, 0] {
                let mut output = vec![77; geometry.gathered(geometry.out_height - first)];
                gather(&geometry, zero, first, &input, &mut output);
                let positions = output.chunks_exact(geometry.gathered_inputs());
                for (position, inputs) in positions.enumerate() {
                    let row = first + position / geometry.out_width;
                    let column = position % geometry.out_width;
                    for tap in 0..geometry.taps() {
                        let expected = picture.position(&geometry, row, column, tap);
                        let channels = geometry.channels;
                        prop_assert_eq!(&inputs[tap * channels..][..channels], expected);
                    }
                }
            }
        }

        #[test]
        fn add_kernels_agree(
            pairs in prop::collection::vec((byte(), byte()), 1..70),
            (a, b, to) in (quantization(), quantization(), quantization()),
            range in range(),
        ) {
            let (x, y): (Vec<_>, Vec<_>) = pairs.into_iter().unzip();
            let run = |kernel| {
                let mut output = vec![77; x.len()];
                Add::new(kernel, a, b, to, range.clone()).run(&x, &y, &mut output);
                output
            };
            for kernel in Kernel::available() {
                prop_assert_eq!(run(kernel), run(Kernel::Scalar), "{}", kernel);
            }
        }

        #[test]
        fn quantize_kernels_agree(
            values in prop::collection::vec(
                prop_oneof![4 => -20f32..20.0, 1 => any::<f32>(), 1 => Just(f32::NAN)],
                1..70,
            ),
            to in quantization(),
        ) {
            let run = |kernel| {
                let mut output = vec![77; values.len()];
                quantize_all(kernel, to, &values, &mut output);
                output
            };
            for kernel in Kernel::available() {
                prop_assert_eq!(run(kernel), run(Kernel::Scalar), "{}", kernel);
            }
        }

        /// The scalar kernel against the definition in whole numbers: with a
        /// scale of 2^-shift the result is known without any floating point.
        #[test]
        fn scalar_is_integer_arithmetic(
            input in prop::collection::vec(byte(), 1..20),
            weights in prop::collection::vec(weight(), 20),
            zero in byte(),
            bias in -1000i32..1000,
            out_zero in byte(),
            shift in 0u32..12,
        ) {
            let weights = &weights[..input.len()];
            let sum: i64 = input
                .iter()
                .zip(weights)
                .map(|(&x, &w)| (i64::from(x) - i64::from(zero)) * i64::from(w))
                .sum::<i64>() + i64::from(bias);
            let (floor, rest) = (sum >> shift, sum - ((sum >> shift) << shift));
            let half = (1i64 << shift) / 2;
            let up = shift > 0 && (rest > half || (rest == half && floor & 1 == 1));
            let expected = (floor + i64::from(up) + i64::from(out_zero)).clamp(0, 255);

            let scale = vec![(-(shift as f32)).exp2()];
            let requantize =
                Requantize::new(weights, zero, &[bias], scale, vec![0.0], out_zero, 0..=255);
            let case = (input, (weights.to_vec(), zero, requantize.unwrap()));
            prop_assert_eq!(i64::from(run_dense(Kernel::Scalar, &case)[0]), expected);
        }
    }

    /// The shapes of MobileNetV2 with the largest possible sums.
    #[test]
    fn extremes_do_not_overflow() {
        for (x, w) in [(255, 127), (255, -128), (0, -128)] {
            for (inputs, outputs, positions) in [(1280, 7, 1), (960, 160, 9), (16, 96, 40)] {
                let weights = vec![w; inputs * outputs];
                let size = 255.0 * 128.0 * inputs as f32;
                let requantize = Requantize::new(
                    &weights,
                    if x == 0 { 255 } else { 0 },
                    &vec![0; outputs],
                    vec![100.0 / size; outputs],
                    vec![0.0; outputs],
                    128,
                    0..=255,
                );
                let case = (
                    vec![x; inputs * positions],
                    (weights, 0, requantize.unwrap()),
                );
                // -128 or 127 of 128 times 100, up from the zero point.
                let expected = match (x, w) {
                    (255, 127) => 128 + 99,
                    (255, _) => 128 - 100,
                    _ => 128 + 100,
                };
                for kernel in Kernel::available() {
                    let output = run_dense(kernel, &case);
                    assert!(output.iter().all(|&q| q == expected), "{kernel} {output:?}");
                }
            }
        }
    }

    #[test]
    fn sums_that_could_overflow_are_refused() {
        let huge = vec![127; 70_000];
        let new = |weights: &[i8], scale: f32| {
            Requantize::new(weights, 0, &[0], vec![scale], vec![0.0], 0, 0..=255)
        };
        assert!(new(&huge, 1e-6).is_none());
        assert!(new(&huge[..100], 1e-6).is_some());
        assert!(new(&huge[..100], 1e4).is_none());
        assert!(new(&huge[..100], f32::NAN).is_none());
    }

    #[test]
    fn pools_round_half_to_even() {
        let unit = |scale| Quantization { scale, zero: 3 };
        let pool = Pool::new(4, 2, unit(1.0), unit(0.5), 0..=250).unwrap();
        for kernel in Kernel::available() {
            let mut output = [0; 2];
            // (4 + 4 + 4 + 7 - 12) / 4 / 0.5 = 3.5 rounds to 4; 126 / 2 is clamped.
            pool.run(kernel, &[4, 255, 4, 200, 4, 200, 7, 200], &mut output);
            assert_eq!(output, [4 + 3, 250], "{kernel}");
        }
    }
}
