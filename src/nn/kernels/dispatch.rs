//! The kernels that the rest of the engine calls. Each one calls the variant
//! for the instruction set.

use super::arithmetic::{Pool, Quantization, Range, Requantizer, Sum};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::dense::Packed;
use super::geometry::{Geometry, Picture};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::Isa;
#[cfg(target_arch = "x86_64")]
use crate::isa::{Avx2, Avx512Vnni};
#[cfg(target_arch = "aarch64")]
use crate::isa::{Neon, NeonDot};

/// A matrix product: every output of a position is a sum over all its inputs. A
/// 1x1 convolution is a matrix product; any other convolution becomes one after
/// its inputs are gathered.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    requantizer: Requantizer,
    packed: DensePacked,
}

#[derive(Debug)]
enum DensePacked {
    Scalar(Vec<i8>),
    #[cfg(target_arch = "x86_64")]
    Avx2(Packed<Avx2>),
    #[cfg(target_arch = "x86_64")]
    Avx512Vnni(Packed<Avx512Vnni>),
    #[cfg(target_arch = "aarch64")]
    Neon(Packed<Neon>),
    #[cfg(target_arch = "aarch64")]
    NeonDot(Packed<NeonDot>),
}

impl Dense {
    /// Packs `weights` (`outputs x inputs`) for an instruction set.
    #[must_use]
    pub fn new(isa: Isa, weights: &[i8], requantizer: Requantizer) -> Self {
        let inputs = weights.len() / requantizer.outputs();
        assert_eq!(weights.len(), inputs * requantizer.outputs());
        let packed = match isa {
            Isa::Scalar => DensePacked::Scalar(weights.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => DensePacked::Avx2(Packed::new(isa, weights, &requantizer)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => {
                DensePacked::Avx512Vnni(Packed::new(isa, weights, &requantizer))
            }
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => DensePacked::Neon(Packed::new(isa, weights, &requantizer)),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(isa) => DensePacked::NeonDot(Packed::new(isa, weights, &requantizer)),
        };
        Self {
            inputs,
            requantizer,
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

    /// The bytes of scratch memory that [`Dense::run`] needs.
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

    /// Computes `positions x outputs` from `positions x inputs`.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        let outputs = self.requantizer.outputs();
        let positions = output.len() / outputs;
        assert_eq!(output.len(), positions * outputs);
        assert_eq!(input.len(), positions * self.inputs);
        match &self.packed {
            DensePacked::Scalar(weights) => {
                scalar::dense(weights, &self.requantizer, self.inputs, input, output);
            }
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx2(dense) => dense.run(&self.requantizer, input, output, scratch),
            #[cfg(target_arch = "x86_64")]
            DensePacked::Avx512Vnni(dense) => dense.run(&self.requantizer, input, output, scratch),
            #[cfg(target_arch = "aarch64")]
            DensePacked::Neon(dense) => dense.run(&self.requantizer, input, output, scratch),
            #[cfg(target_arch = "aarch64")]
            DensePacked::NeonDot(dense) => dense.run(&self.requantizer, input, output, scratch),
        }
    }
}

/// A depthwise convolution: each channel has a window of its own.
#[derive(Debug)]
pub struct Depthwise {
    geometry: Geometry,
    requantizer: Requantizer,
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
    /// Packs `weights` (`channels x taps`) for an instruction set.
    #[must_use]
    pub fn new(
        isa: Isa,
        geometry: Geometry,
        weights: &[i8],
        input_zero: u8,
        requantizer: Requantizer,
    ) -> Self {
        assert_eq!(weights.len(), geometry.channels * geometry.taps());
        assert_eq!(requantizer.outputs(), geometry.channels);
        #[cfg(target_arch = "aarch64")]
        let neon = |isa| {
            neon::Depthwise::new(isa, &geometry, weights, &requantizer)
                .map(|depthwise| DepthwisePacked::Neon(depthwise, weights.to_vec()))
        };
        let packed = match isa {
            Isa::Scalar => None,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => avx2::Depthwise::new(isa, &geometry, weights, &requantizer)
                .map(|depthwise| DepthwisePacked::Avx2(depthwise, weights.to_vec())),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => avx512::Depthwise::new(isa, &geometry, weights, &requantizer)
                .map(DepthwisePacked::Avx512Vnni),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => neon(isa),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(isa) => neon::DotDepthwise::new(isa, &geometry, weights, &requantizer)
                .map(DepthwisePacked::NeonDot)
                .or_else(|| neon(isa.neon())),
        };
        Self {
            geometry,
            requantizer,
            padding: vec![input_zero; geometry.width * geometry.channels],
            packed: packed.unwrap_or_else(|| DepthwisePacked::Scalar(weights.to_vec())),
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

    /// Computes rows of outputs from `first` on, as many as `output` has room
    /// for.
    ///
    /// `input` is the picture, or a part of its rows: row `y` is stored at `y`
    /// modulo their number. It must contain the rows that the outputs need.
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
                depthwise.run(geometry, &self.requantizer, first, &input, output);
                self.run_scalar(weights, depthwise.channels(), first, &input, output);
            }
            #[cfg(target_arch = "x86_64")]
            DepthwisePacked::Avx512Vnni(depthwise) => {
                depthwise.run(geometry, &self.requantizer, first, &input, output);
            }
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::NeonDot(depthwise) => {
                depthwise.run(geometry, &self.requantizer, first, &input, output);
            }
            #[cfg(target_arch = "aarch64")]
            DepthwisePacked::Neon(depthwise, weights) => {
                depthwise.run(geometry, &self.requantizer, first, &input, output);
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
            &self.requantizer,
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
    isa: Isa,
    sum: Sum,
}

impl Add {
    #[must_use]
    pub fn new(isa: Isa, a: Quantization, b: Quantization, to: Quantization, range: Range) -> Self {
        Self {
            isa,
            sum: Sum { a, b, to, range },
        }
    }

    /// All three slices have the same length.
    pub fn run(&self, a: &[u8], b: &[u8], output: &mut [u8]) {
        assert_eq!((a.len(), b.len()), (output.len(), output.len()));
        match self.isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => avx2::add(isa, &self.sum, a, b, output),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => avx512::add(isa, &self.sum, a, b, output),
            // For NEON the compiler vectorizes the scalar code by itself.
            _ => scalar::add(&self.sum, a, b, output),
        }
    }
}

/// Numbers to bytes, one by one, as [`quantize`](super::quantize).
pub fn quantize_all(isa: Isa, to: Quantization, input: &[f32], output: &mut [u8]) {
    assert_eq!(input.len(), output.len());
    match isa {
        #[cfg(target_arch = "x86_64")]
        Isa::Avx2(isa) => avx2::quantize_all(isa, to, input, output),
        #[cfg(target_arch = "x86_64")]
        Isa::Avx512Vnni(isa) => avx512::quantize_all(isa, to, input, output),
        _ => scalar::quantize_all(to, input, output),
    }
}

impl Pool {
    /// Computes `channels` from `positions x channels`.
    pub fn run(&self, isa: Isa, input: &[u8], output: &mut [u8]) {
        assert_eq!(output.len(), self.channels);
        assert_eq!(input.len(), self.positions * self.channels);
        match isa {
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => avx2::pool(isa, self, input, output),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => avx2::pool(isa.avx2(), self, input, output),
            _ => scalar::pool(self, input, output),
        }
    }
}
