//! Integer kernels: the arithmetic of a quantized network, with one file for
//! each instruction set.
//!
//! Values are unsigned bytes with a zero point, in the order row, column,
//! channel. A convolution is an exact i32 sum of products of bytes, turned into
//! the next layer's bytes by [`Requantizer`]. `scalar` defines the results, and
//! every other kernel gives the same bits: sums of integers do not depend on
//! their order, and all processors round the few f32 operations at the end in
//! the same way (IEEE 754).
//!
//! The matrix product is written once, in `dense`: an instruction set
//! implements its trait `Instructions`. The depthwise convolution is written
//! for each set, because the sets go through rows and columns in different
//! ways; `depthwise` has the parts that they share.

mod aligned;
mod arithmetic;
#[cfg(target_arch = "x86_64")]
mod avx2;
#[cfg(target_arch = "x86_64")]
mod avx512;
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
mod dense;
#[cfg_attr(
    not(any(target_arch = "x86_64", target_arch = "aarch64")),
    allow(dead_code)
)]
mod depthwise;
mod dispatch;
mod geometry;
#[cfg(target_arch = "aarch64")]
mod neon;
mod scalar;

pub(super) use aligned::Aligned;
pub use arithmetic::{Pool, Quantization, Range, Requantizer, quantize};
pub use dispatch::{Add, Dense, Depthwise, quantize_all};
pub use geometry::{Geometry, gather};

#[cfg(test)]
mod tests {
    use super::arithmetic::*;
    use super::geometry::Picture;
    use super::*;
    use crate::isa::Isa;
    use proptest::prelude::*;

    /// Bytes, with many extreme values.
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

    /// Requantizers with scales that spread `inputs` random products over a
    /// byte, and with exact powers of two, which give ties.
    fn requantizer(
        weights: Vec<i8>,
        outputs: usize,
        zero: u8,
    ) -> impl Strategy<Value = (Vec<i8>, u8, Requantizer)> {
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
                let requantizer =
                    Requantizer::new(&weights, zero, &bias, scale, offset, out_zero, range);
                (weights.clone(), zero, requantizer.unwrap())
            })
    }

    type Case = (Vec<u8>, (Vec<i8>, u8, Requantizer));

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
                (Just(input), requantizer(weights, outputs, zero))
            })
    }

    fn geometry() -> impl Strategy<Value = Geometry> {
        (
            (1usize..9, 1usize..9, prop_oneof![1usize..150, (1usize..10).prop_map(|n| 16 * n)]),
            prop_oneof![3 => Just([3usize, 3]), 1 => (1usize..6, 1usize..6).prop_map(|(h, w)| [h, w])],
            // Only the scalar kernel supports strides other than these two.
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
                let case = (Just(input), requantizer(weights, geometry.channels, zero));
                (Just(geometry), case)
            })
    }

    fn run_dense(isa: Isa, (input, (weights, _, requantizer)): &Case) -> Vec<u8> {
        let outputs = requantizer.outputs();
        let dense = Dense::new(isa, weights, requantizer.clone());
        let mut scratch = vec![0; dense.scratch()];
        let positions = input.len() / dense.inputs();
        let mut output = vec![77; positions * outputs];
        dense.run(input, &mut output, &mut scratch);
        output
    }

    fn run_depthwise(isa: Isa, geometry: Geometry, case: &Case) -> Vec<u8> {
        let (input, (weights, zero, requantizer)) = case;
        let depthwise = Depthwise::new(isa, geometry, weights, *zero, requantizer.clone());
        let mut output = vec![77; geometry.lengths().1];
        depthwise.run(0, input, &mut output);
        output
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(192))]

        #[test]
        fn dense_kernels_agree(case in dense()) {
            let expected = run_dense(Isa::Scalar, &case);
            for isa in Isa::available() {
                prop_assert_eq!(&run_dense(isa, &case), &expected, "{}", isa);
            }
        }

        #[test]
        fn depthwise_kernels_agree((geometry, case) in depthwise()) {
            let expected = run_depthwise(Isa::Scalar, geometry, &case);
            for isa in Isa::available() {
                let got = run_depthwise(isa, geometry, &case);
                prop_assert_eq!(&got, &expected, "{}", isa);
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
            // The last row alone, then all rows.
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
            let run = |isa| {
                let mut output = vec![77; x.len()];
                Add::new(isa, a, b, to, range.clone()).run(&x, &y, &mut output);
                output
            };
            for isa in Isa::available() {
                prop_assert_eq!(run(isa), run(Isa::Scalar), "{}", isa);
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
            let run = |isa| {
                let mut output = vec![77; values.len()];
                quantize_all(isa, to, &values, &mut output);
                output
            };
            for isa in Isa::available() {
                prop_assert_eq!(run(isa), run(Isa::Scalar), "{}", isa);
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
            let requantizer =
                Requantizer::new(weights, zero, &[bias], scale, vec![0.0], out_zero, 0..=255);
            let case = (input, (weights.to_vec(), zero, requantizer.unwrap()));
            prop_assert_eq!(i64::from(run_dense(Isa::Scalar, &case)[0]), expected);
        }
    }

    /// The shapes of MobileNetV2 with the largest possible sums.
    #[test]
    fn extremes_do_not_overflow() {
        for (x, w) in [(255, 127), (255, -128), (0, -128)] {
            for (inputs, outputs, positions) in [(1280, 7, 1), (960, 160, 9), (16, 96, 40)] {
                let weights = vec![w; inputs * outputs];
                let size = 255.0 * 128.0 * inputs as f32;
                let requantizer = Requantizer::new(
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
                    (weights, 0, requantizer.unwrap()),
                );
                // -128 or 127 of 128 times 100, up from the zero point.
                let expected = match (x, w) {
                    (255, 127) => 128 + 99,
                    (255, _) => 128 - 100,
                    _ => 128 + 100,
                };
                for isa in Isa::available() {
                    let output = run_dense(isa, &case);
                    assert!(output.iter().all(|&q| q == expected), "{isa} {output:?}");
                }
            }
        }
    }

    #[test]
    fn sums_that_could_overflow_are_refused() {
        let huge = vec![127; 70_000];
        let new = |weights: &[i8], scale: f32| {
            Requantizer::new(weights, 0, &[0], vec![scale], vec![0.0], 0, 0..=255)
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
        for isa in Isa::available() {
            let mut output = [0; 2];
            // (4 + 4 + 4 + 7 - 12) / 4 / 0.5 = 3.5 rounds to 4; 126 / 2 is clamped.
            pool.run(isa, &[4, 255, 4, 200, 4, 200, 7, 200], &mut output);
            assert_eq!(output, [4 + 3, 250], "{isa}");
        }
    }
}
