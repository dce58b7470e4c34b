//! Plain Rust: what every kernel must compute, to the bit.

use super::arithmetic::{Pool, Quantization, Requantizer, Sum, clamp, quantize};
use super::geometry::{Geometry, Picture};

pub fn dense(weights: &[i8], requantizer: &Requantizer, input: &[u8], output: &mut [u8]) {
    let inputs = weights.len() / requantizer.outputs();
    let positions = input.chunks_exact(inputs);
    for (input, output) in positions.zip(output.chunks_exact_mut(requantizer.outputs())) {
        let rows = weights.chunks_exact(inputs);
        for (channel, (output, row)) in output.iter_mut().zip(rows).enumerate() {
            let products = input.iter().zip(row);
            let sum = products.fold(requantizer.bias[channel], |sum, (&x, &w)| {
                sum.wrapping_add(i32::from(x) * i32::from(w))
            });
            *output = requantizer.apply(channel, sum);
        }
    }
}

/// Rows of outputs from `first` on, and in them the last channels, as many as
/// there are weights for.
pub fn depthwise(
    geometry: &Geometry,
    weights: &[i8],
    requantizer: &Requantizer,
    first: usize,
    input: &Picture<'_>,
    output: &mut [u8],
) {
    let channels = geometry.channels;
    let taps = geometry.taps();
    let left_out = channels - weights.len() / taps;
    for (position, output) in output.chunks_exact_mut(channels).enumerate() {
        let row = first + position / geometry.out_width;
        let column = position % geometry.out_width;
        for (channel, output) in output.iter_mut().enumerate().skip(left_out) {
            let mut sum = requantizer.bias[channel];
            for tap in 0..taps {
                let x = input.position(geometry, row, column, tap)[channel];
                let w = weights[(channel - left_out) * taps + tap];
                sum = sum.wrapping_add(i32::from(x) * i32::from(w));
            }
            *output = requantizer.apply(channel, sum);
        }
    }
}

pub fn add(sum: &Sum, a: &[u8], b: &[u8], output: &mut [u8]) {
    let number =
        |q: u8, from: Quantization| (i32::from(q) - i32::from(from.zero)) as f32 * from.scale;
    for (output, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b)) {
        *output = quantize(number(a, sum.a) + number(b, sum.b), sum.to, &sum.range);
    }
}

pub fn quantize_all(to: Quantization, input: &[f32], output: &mut [u8]) {
    for (output, &value) in output.iter_mut().zip(input) {
        *output = quantize(value, to, &(0..=255));
    }
}

#[inline(always)]
pub fn pool(pool: &Pool, input: &[u8], output: &mut [u8]) {
    // A cache line of channels at a time.
    for (block, output) in output.chunks_mut(64).enumerate() {
        let mut sums = [-(pool.positions as i32) * i32::from(pool.input_zero); 64];
        for position in input.chunks_exact(pool.channels) {
            let values = &position[64 * block..][..output.len()];
            for (sum, &value) in sums.iter_mut().zip(values) {
                *sum += i32::from(value);
            }
        }
        for (output, &sum) in output.iter_mut().zip(&sums) {
            let mean = (sum as f32 * pool.scale).round_ties_even() as i32;
            *output = clamp(mean.saturating_add(i32::from(pool.zero)), &pool.range);
        }
    }
}
