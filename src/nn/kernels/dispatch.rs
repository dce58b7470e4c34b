//! The kernels that the rest of the engine calls. Each one calls the variant
//! for the instruction set.

use std::fmt::Debug;

use super::arithmetic::{Pool, Quantization, Range, Requantizer, Sum};
#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
use super::dense::{Instructions, Packed};
use super::depthwise::{self, Windows};
use super::geometry::{Geometry, Picture};
#[cfg(target_arch = "aarch64")]
use super::neon;
use super::scalar;
#[cfg(target_arch = "x86_64")]
use super::{avx2, avx512};
use crate::isa::Isa;

/// A matrix product for one instruction set.
trait Product: Debug + Send + Sync {
    /// Bytes that the packed weights take.
    fn bytes(&self) -> usize;

    /// The bytes of scratch memory that [`run`](Self::run) needs.
    fn scratch(&self) -> usize;

    fn run(&self, requantizer: &Requantizer, input: &[u8], output: &mut [u8], scratch: &mut [u8]);
}

#[cfg(any(target_arch = "x86_64", target_arch = "aarch64"))]
impl<I: Instructions> Product for Packed<I> {
    fn bytes(&self) -> usize {
        Self::bytes(self)
    }

    fn scratch(&self) -> usize {
        Self::scratch(self)
    }

    fn run(&self, requantizer: &Requantizer, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        Self::run(self, requantizer, input, output, scratch);
    }
}

/// Plain weights.
impl Product for Vec<i8> {
    fn bytes(&self) -> usize {
        self.len()
    }

    fn scratch(&self) -> usize {
        0
    }

    fn run(&self, requantizer: &Requantizer, input: &[u8], output: &mut [u8], _: &mut [u8]) {
        scalar::dense(self, requantizer, input, output);
    }
}

/// A matrix product: every output of a position is a sum over all its inputs. A
/// 1x1 convolution is a matrix product; any other convolution becomes one after
/// its inputs are gathered.
#[derive(Debug)]
pub struct Dense {
    inputs: usize,
    requantizer: Requantizer,
    product: Box<dyn Product>,
}

impl Dense {
    /// Packs `weights` (`outputs x inputs`) for an instruction set.
    #[must_use]
    pub fn new(isa: Isa, weights: &[i8], requantizer: Requantizer) -> Self {
        let inputs = weights.len() / requantizer.outputs();
        assert_eq!(weights.len(), inputs * requantizer.outputs());
        let product: Box<dyn Product> = match isa {
            Isa::Scalar => Box::new(weights.to_vec()),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => Box::new(Packed::new(isa, weights, &requantizer)),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => Box::new(Packed::new(isa, weights, &requantizer)),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => Box::new(Packed::new(isa, weights, &requantizer)),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(isa) => Box::new(Packed::new(isa, weights, &requantizer)),
        };
        Self {
            inputs,
            requantizer,
            product,
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
        self.product.bytes()
    }

    /// The bytes of scratch memory that [`Dense::run`] needs.
    #[must_use]
    pub fn scratch(&self) -> usize {
        self.product.scratch()
    }

    /// Computes `positions x outputs` from `positions x inputs`.
    pub fn run(&self, input: &[u8], output: &mut [u8], scratch: &mut [u8]) {
        let outputs = self.requantizer.outputs();
        let positions = output.len() / outputs;
        assert_eq!(output.len(), positions * outputs);
        assert_eq!(input.len(), positions * self.inputs);
        self.product.run(&self.requantizer, input, output, scratch);
    }
}

/// A depthwise convolution: each channel has a window of its own.
#[derive(Debug)]
pub struct Depthwise {
    geometry: Geometry,
    requantizer: Requantizer,
    /// A row of padding: the input's zero point.
    padding: Vec<u8>,
    /// The kernel of the instruction set, if it has one for this window.
    vectors: Option<Box<dyn Windows>>,
    /// Plain weights, if there are channels that `vectors` leaves over.
    weights: Vec<i8>,
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
        let vectors: Option<Box<dyn Windows>> = match isa {
            Isa::Scalar => None,
            #[cfg(target_arch = "x86_64")]
            Isa::Avx2(isa) => avx2::depthwise(isa, &geometry, weights, &requantizer),
            #[cfg(target_arch = "x86_64")]
            Isa::Avx512Vnni(isa) => avx512::depthwise(isa, &geometry, weights, &requantizer),
            #[cfg(target_arch = "aarch64")]
            Isa::Neon(isa) => neon::depthwise(isa, &geometry, weights, &requantizer),
            #[cfg(target_arch = "aarch64")]
            Isa::NeonDot(isa) => neon::dot_depthwise(isa, &geometry, weights, &requantizer)
                .or_else(|| neon::depthwise(isa.neon(), &geometry, weights, &requantizer)),
        };
        let done = vectors.as_ref().map_or(0, |vectors| vectors.channels());
        Self {
            padding: vec![input_zero; geometry.width * geometry.channels],
            weights: weights[done * geometry.taps()..].to_vec(),
            geometry,
            requantizer,
            vectors,
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
        let packed = self.vectors.as_ref().map_or(0, |vectors| vectors.bytes());
        packed + self.weights.len()
    }

    /// Computes rows of outputs from `first` on, as many as `output` has room
    /// for.
    ///
    /// `input` is the picture, or a part of its rows: row `y` is stored at `y`
    /// modulo their number. It must contain the rows that the outputs need.
    pub fn run(&self, first: usize, input: &[u8], output: &mut [u8]) {
        let (geometry, requantizer) = (&self.geometry, &self.requantizer);
        let line = geometry.width * geometry.channels;
        let out_line = geometry.out_width * geometry.channels;
        assert!(input.len().is_multiple_of(line) && output.len().is_multiple_of(out_line));
        assert!(first + output.len() / out_line <= geometry.out_height);
        let input = Picture {
            data: input,
            padding: &self.padding,
        };
        if let Some(vectors) = &self.vectors {
            depthwise::run(&**vectors, geometry, requantizer, first, &input, output);
        }
        if !self.weights.is_empty() {
            scalar::depthwise(geometry, &self.weights, requantizer, first, &input, output);
        }
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
