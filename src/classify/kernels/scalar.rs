//! Plain Rust: what every kernel must compute, to the bit.

use super::{Add, Geometry, Quantization, Requantize, quantize};

pub fn dense(
    weights: &[i8],
    requantize: &Requantize,
    inputs: usize,
    input: &[u8],
    output: &mut [u8],
) {
    let positions = input.chunks_exact(inputs);
    for (input, output) in positions.zip(output.chunks_exact_mut(requantize.outputs())) {
        let rows = weights.chunks_exact(inputs);
        for (channel, (output, row)) in output.iter_mut().zip(rows).enumerate() {
            let products = input.iter().zip(row);
            let sum = products.fold(requantize.bias[channel], |sum, (&x, &w)| {
                sum.wrapping_add(i32::from(x) * i32::from(w))
            });
            *output = requantize.apply(channel, sum);
        }
    }
}

/// The channels from `first` on.
pub fn depthwise(
    geometry: &Geometry,
    weights: &[i8],
    requantize: &Requantize,
    padding: &[u8],
    first: usize,
    input: &[u8],
    output: &mut [u8],
) {
    let channels = geometry.channels;
    let taps = geometry.taps();
    if first == channels {
        return;
    }
    for (position, output) in output.chunks_exact_mut(channels).enumerate() {
        let (row, column) = (position / geometry.out_width, position % geometry.out_width);
        for (channel, output) in output.iter_mut().enumerate().skip(first) {
            let mut sum = requantize.bias[channel];
            for tap in 0..taps {
                let x = match geometry.source(row, column, tap) {
                    Some(source) => input[source * channels + channel],
                    None => padding[channel],
                };
                let w = weights[channel * taps + tap];
                sum = sum.wrapping_add(i32::from(x) * i32::from(w));
            }
            *output = requantize.apply(channel, sum);
        }
    }
}

pub fn add(add: &Add, a: &[u8], b: &[u8], output: &mut [u8]) {
    let number =
        |q: u8, from: Quantization| (i32::from(q) - i32::from(from.zero)) as f32 * from.scale;
    for (output, (&a, &b)) in output.iter_mut().zip(a.iter().zip(b)) {
        *output = quantize(number(a, add.a) + number(b, add.b), add.to, &add.range);
    }
}

pub fn quantize_all(to: Quantization, input: &[f32], output: &mut [u8]) {
    for (output, &value) in output.iter_mut().zip(input) {
        *output = quantize(value, to, &(0..=255));
    }
}
