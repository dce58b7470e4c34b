//! The definition of the kernels' arithmetic: how sums and numbers become
//! bytes.

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
/// `scale` is `s_x * s_w / s_y`; a bias that is a whole multiple of `s_x *
/// s_w`, as the standard requires, is part of the sum; only another bias needs
/// `offset`. Without an offset this is what ONNX Runtime computes for
/// QLinearConv, to the bit (`scripts/compare-onnxruntime` shows it).
///
/// For the same layer between DequantizeLinear and QuantizeLinear, ONNX Runtime
/// adds the products in f32 and rounds each sum. If that rounding error crosses
/// the middle between two quanta, the results differ by one, and so may all
/// later layers.
#[derive(Clone, Debug, PartialEq)]
pub struct Requantizer {
    /// Where the sum starts: the bias minus the input's zero point times the
    /// sum of the weights.
    pub(super) bias: Vec<i32>,
    pub(super) scale: Vec<f32>,
    pub(super) offset: Vec<f32>,
    pub(super) zero: u8,
    pub(super) range: Range,
}

/// Sums stay below 2^31, and results far below the limit at which the
/// conversion from f32 to i32 saturates, so no kernel needs a special case.
const MAX_SUM: f64 = 2_147_483_647.0;

impl Requantizer {
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
            // 256: one kernel subtracts 128 from its inputs and adds 128 times
            // the weights.
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

    pub(super) fn apply(&self, channel: usize, sum: i32) -> u8 {
        let value = (sum as f32)
            .mul_add(self.scale[channel], self.offset[channel])
            .round_ties_even();
        clamp(
            (value as i32).saturating_add(i32::from(self.zero)),
            &self.range,
        )
    }
}

pub(super) fn clamp(value: i32, range: &Range) -> u8 {
    value.clamp(i32::from(*range.start()), i32::from(*range.end())) as u8
}

/// The byte for a number: `clamp(round(value / scale) + zero)`, rounding half
/// to even; the lowest of the range for NaN.
#[must_use]
#[expect(clippy::manual_clamp, reason = "clamp keeps NaN")]
pub fn quantize(value: f32, to: Quantization, range: &Range) -> u8 {
    // Far outside of any byte, and far inside of i32.
    let steps = (value / to.scale).max(-65536.0).min(65536.0);
    clamp(steps.round_ties_even() as i32 + i32::from(to.zero), range)
}

/// Two summands and their sum, each with its quantization.
#[derive(Clone, Debug)]
pub(super) struct Sum {
    pub a: Quantization,
    pub b: Quantization,
    pub to: Quantization,
    pub range: Range,
}

/// The mean of all positions of a channel.
#[derive(Clone, Debug)]
pub struct Pool {
    pub(super) positions: usize,
    pub(super) scale: f32,
    pub(super) input_zero: u8,
    pub(super) zero: u8,
    pub(super) range: Range,
    pub(super) channels: usize,
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
}

/// Zero point and range in the form that the vector kernels need at their end.
#[derive(Clone, Copy)]
pub(super) struct Ends {
    pub zero: i16,
    /// Whether the range is smaller than that of a byte.
    #[cfg(target_arch = "x86_64")]
    pub limited: bool,
    pub low: u8,
    pub high: u8,
}

impl Ends {
    pub fn new(zero: u8, range: &Range) -> Self {
        Self {
            zero: i16::from(zero),
            #[cfg(target_arch = "x86_64")]
            limited: *range != (0..=255),
            low: *range.start(),
            high: *range.end(),
        }
    }
}
