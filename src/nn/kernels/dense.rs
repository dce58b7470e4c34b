//! A matrix product, written once for all instruction sets.
//!
//! Outputs are computed in blocks of a few vectors, and positions in tiles: the
//! sums of a tile stay in registers while the loop reads all inputs.
//! [`Instructions`] contains what differs between instruction sets: how many
//! products an instruction computes, how wide its inputs are, and how sums
//! become bytes.

use std::fmt::Debug;

use super::aligned::Aligned;
use super::arithmetic::{Ends, Requantizer};

/// The part of a matrix product that depends on the instruction set. A value
/// proves that the processor has the set.
///
/// # Safety
/// Call the unsafe methods only if the processor has the instruction set, and
/// only inside of a function that is compiled for it.
pub(super) trait Instructions: Copy + Debug + Send + Sync + 'static {
    /// A vector of sums, one for each of [`LANES`](Self::LANES) outputs.
    type Sums: Copy;

    const LANES: usize;
    /// Smallest and largest number of vectors in a block of outputs.
    const VECTORS: (usize, usize);
    /// Bytes of an input in a row that [`multiply`](Self::multiply) reads.
    const WIDTH: usize;
    /// Number of inputs whose weights for one output are stored side by side.
    const GROUP: usize;
    /// Inputs that one pass of the loop in [`multiply`](Self::multiply) takes.
    const STEP: usize;
    /// Whether [`multiply`](Self::multiply) can read the inputs directly,
    /// without [`lay_out`](Self::lay_out).
    const IN_PLACE: bool;
    /// What [`lay_out`](Self::lay_out) subtracts from each input.
    const LESS: i32;
    /// Bytes of rows that are laid out at once; they should fit into the first
    /// cache.
    const CHUNK: usize;

    /// Positions in a tile, for blocks of `vectors` vectors: beside the sums
    /// there must be registers for weights and inputs.
    fn tile(vectors: usize) -> usize;

    /// The output of a block that a lane holds, chosen so that `finish` writes
    /// the outputs in order.
    fn output_of(lane: usize, vectors: usize) -> usize;

    /// Writes inputs as `multiply` reads them: `WIDTH` bytes for each.
    fn lay_out(self, input: &[u8], row: &mut [u8]);

    /// Calls [`tiles_of`] in a function that is compiled for the instruction
    /// set. In most sets each size of tile needs a function of its own: in a
    /// common function the compiler would compute the addresses of all sizes
    /// before the loops and run out of registers.
    fn tiles_of<const POSITIONS: usize, const VECTORS: usize>(
        self,
        block: &Block<'_>,
        rows: &[u8],
        output: &mut [u8],
    );

    /// Reads a vector.
    ///
    /// # Safety
    /// As for the trait, and `LANES` numbers are there.
    unsafe fn load(from: *const i32) -> Self::Sums;

    /// Adds the products of all inputs to the sums of each position. A network
    /// spends most of its time in this loop.
    ///
    /// # Safety
    /// As for the trait; there are `POSITIONS` rows of `stride` inputs, a multiple
    /// of `STEP`, and `stride * LANES * VECTORS` weights.
    unsafe fn multiply<const POSITIONS: usize, const VECTORS: usize>(
        sums: &mut [[Self::Sums; VECTORS]; POSITIONS],
        rows: *const u8,
        stride: usize,
        weights: *const i8,
    );

    /// Turns sums into bytes and writes them.
    ///
    /// # Safety
    /// As for the trait; scale and offset of the block have `VECTORS` vectors,
    /// and `output` can be written to for each position of it.
    unsafe fn finish<const POSITIONS: usize, const VECTORS: usize>(
        sums: &[[Self::Sums; VECTORS]; POSITIONS],
        block: &Block<'_>,
        output: *mut u8,
    );
}

/// Bias, scale and offset, laid out like the sums.
#[derive(Debug)]
pub(super) struct Parameters {
    pub bias: Aligned<i32>,
    pub scale: Aligned<f32>,
    pub offset: Aligned<f32>,
}

impl Parameters {
    /// `lanes` names the channel of each lane; beyond the last channel there
    /// are zeros.
    pub fn new(requantizer: &Requantizer, lanes: &[usize]) -> Self {
        let mut parameters = Self {
            bias: Aligned::new(lanes.len()),
            scale: Aligned::new(lanes.len()),
            offset: Aligned::new(lanes.len()),
        };
        for (lane, &channel) in lanes.iter().enumerate() {
            if channel < requantizer.outputs() {
                parameters.bias[lane] = requantizer.bias[channel];
                parameters.scale[lane] = requantizer.scale[channel];
                parameters.offset[lane] = requantizer.offset[channel];
            }
        }
        parameters
    }
}

/// A block of outputs of a matrix product, some vectors wide. Only
/// [`Packed::block`] makes one, so there are as many parameters as lanes, and
/// `stride` weights for each lane.
pub(super) struct Block<'a> {
    vectors: usize,
    /// Inputs in a row: a multiple of `STEP`.
    stride: usize,
    weights: &'a [i8],
    bias: &'a [i32],
    pub scale: &'a [f32],
    pub offset: &'a [f32],
    pub ends: Ends,
    /// Bytes from one position of the output to the next.
    pub outputs: usize,
    /// How many channels of the block exist.
    pub channels: usize,
}

/// A matrix product's weights, block by block. A block stores `GROUP` inputs of
/// each output, then the next `GROUP`, and so on.
#[derive(Debug)]
pub(super) struct Packed<I> {
    instructions: I,
    inputs: usize,
    /// Inputs in a row: a multiple of `STEP`.
    stride: usize,
    outputs: usize,
    weights: Aligned<i8>,
    parameters: Parameters,
}

impl<I: Instructions> Packed<I> {
    /// Packs `weights` (`outputs x inputs`).
    pub fn new(instructions: I, weights: &[i8], requantizer: &Requantizer) -> Self {
        let outputs = requantizer.outputs();
        let inputs = weights.len() / outputs;
        let stride = inputs.next_multiple_of(I::STEP);
        let mut lanes = Vec::new();
        for first in (0..outputs).step_by(I::VECTORS.1 * I::LANES) {
            let vectors = Self::vectors(outputs - first);
            let block = 0..vectors * I::LANES;
            lanes.extend(block.map(|lane| first + I::output_of(lane, vectors)));
        }
        let mut packed = Aligned::new(lanes.len() * stride);
        let mut at = 0;
        for block in lanes.chunks(I::VECTORS.1 * I::LANES) {
            for group in (0..stride).step_by(I::GROUP) {
                for &output in block {
                    for input in group..group + I::GROUP {
                        if output < outputs && input < inputs {
                            packed[at] = weights[output * inputs + input];
                        }
                        at += 1;
                    }
                }
            }
        }
        let mut parameters = Parameters::new(requantizer, &lanes);
        for (bias, &output) in parameters.bias.iter_mut().zip(&lanes) {
            if output < outputs {
                let row = &weights[output * inputs..][..inputs];
                *bias += I::LESS * row.iter().map(|&w| i32::from(w)).sum::<i32>();
            }
        }
        Self {
            instructions,
            inputs,
            stride,
            outputs,
            weights: packed,
            parameters,
        }
    }

    /// Bytes of packed weights.
    pub fn bytes(&self) -> usize {
        self.weights.len()
    }

    /// Number of vectors in a block: no more than `outputs` need.
    #[inline(always)]
    fn vectors(outputs: usize) -> usize {
        let mut vectors = I::VECTORS.1;
        while vectors > I::VECTORS.0 && vectors / 2 * I::LANES >= outputs {
            vectors /= 2;
        }
        vectors
    }

    /// Bytes of a row.
    fn line(&self) -> usize {
        self.stride * I::WIDTH
    }

    /// Positions laid out at once.
    fn chunk(&self) -> usize {
        let tile = I::tile(I::VECTORS.0);
        (I::CHUNK / self.line()).max(2 * tile) / tile * tile
    }

    fn in_place(&self) -> bool {
        I::IN_PLACE && self.inputs == self.stride
    }

    /// The bytes of scratch memory that [`run`](Self::run) needs.
    pub fn scratch(&self) -> usize {
        if self.in_place() {
            return 0;
        }
        self.chunk() * self.line()
    }

    /// Computes `positions x outputs` from `positions x inputs`.
    pub fn run(
        &self,
        requantizer: &Requantizer,
        input: &[u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        let ends = Ends::new(requantizer.zero, &requantizer.range);
        let instructions = self.instructions;
        if self.in_place() {
            return self.product(input, ends, output);
        }
        let chunk = self.chunk();
        let inputs = input.chunks(chunk * self.inputs);
        for (input, output) in inputs.zip(output.chunks_mut(chunk * self.outputs)) {
            let positions = input.len() / self.inputs;
            let rows = &mut scratch[..positions * self.line()];
            if self.inputs == self.stride {
                instructions.lay_out(input, rows);
            } else {
                let rows = rows.chunks_exact_mut(self.line());
                for (input, row) in input.chunks_exact(self.inputs).zip(rows) {
                    let (row, rest) = row.split_at_mut(self.inputs * I::WIDTH);
                    instructions.lay_out(input, row);
                    // Their weights are zero.
                    rest.fill(0);
                }
            }
            self.product(rows, ends, output);
        }
    }

    /// The outputs from `first` on.
    fn block(&self, first: usize, ends: Ends) -> Block<'_> {
        let left = self.outputs - first;
        let vectors = Self::vectors(left);
        let lanes = vectors * I::LANES;
        Block {
            vectors,
            stride: self.stride,
            weights: &self.weights[first * self.stride..(first + lanes) * self.stride],
            bias: &self.parameters.bias[first..first + lanes],
            scale: &self.parameters.scale[first..first + lanes],
            offset: &self.parameters.offset[first..first + lanes],
            ends,
            outputs: self.outputs,
            channels: left.min(lanes),
        }
    }

    /// All blocks of outputs of some positions.
    fn product(&self, rows: &[u8], ends: Ends, output: &mut [u8]) {
        let line = self.line();
        let positions = rows.len() / line;
        for first in (0..self.outputs).step_by(I::VECTORS.1 * I::LANES) {
            let block = self.block(first, ends);
            // Tiles of nearly the same size: 9 positions are 5 and 4.
            let tiles = positions.div_ceil(I::tile(block.vectors));
            let (size, larger) = (positions / tiles, positions % tiles);
            let (mut rows, mut output) = (rows, &mut output[first..]);
            for (size, tiles) in [(size + 1, larger), (size, tiles - larger)] {
                if tiles == 0 {
                    continue;
                }
                let now;
                (now, rows) = rows.split_at(tiles * size * line);
                // Sizes that an instruction set does not use are not compiled.
                macro_rules! tiles_of {
                    ($($vectors:literal: $($size:literal)*;)*) => {
                        match (block.vectors, size) {
                            $($(($vectors, $size)
                                if I::VECTORS.0 <= $vectors
                                    && $vectors <= I::VECTORS.1
                                    && $size <= I::tile($vectors) =>
                                self.instructions
                                    .tiles_of::<$size, $vectors>(&block, now, output),)*)*
                            _ => unreachable!("no tile is larger"),
                        }
                    };
                }
                tiles_of! {
                    4: 1 2 3 4 5 6;
                    2: 1 2 3 4 5 6 7 8 9 10 11 12;
                    1: 1 2 3 4 5 6 7 8 9 10 11 12;
                }
                output = output
                    .get_mut(tiles * size * self.outputs..)
                    .unwrap_or_default();
            }
        }
    }
}

/// Rows of inputs times a block of `VECTORS` vectors of outputs, `POSITIONS` rows
/// at a time.
///
/// # Safety
/// As for [`Instructions`].
#[inline(always)]
pub(super) unsafe fn tiles_of<I: Instructions, const POSITIONS: usize, const VECTORS: usize>(
    block: &Block<'_>,
    rows: &[u8],
    output: &mut [u8],
) {
    assert!(block.vectors == VECTORS);
    let tiles = rows.chunks_exact(POSITIONS * block.stride * I::WIDTH);
    for (rows, output) in tiles.zip(output.chunks_mut(POSITIONS * block.outputs)) {
        // SAFETY: the caller guarantees the instruction set; the numbers of
        // vectors and rows are those that the function requires.
        unsafe { tile_of::<I, POSITIONS, VECTORS>(block, rows, output) };
    }
}

/// One tile: a function of its own where that leaves the compiler more registers
/// for addresses.
///
/// # Safety
/// As for [`Instructions`]; the block has `VECTORS` vectors, and there are
/// `POSITIONS` rows of its stride.
#[cfg_attr(target_arch = "x86_64", inline(always))]
#[cfg_attr(target_arch = "aarch64", inline(never))]
unsafe fn tile_of<I: Instructions, const POSITIONS: usize, const VECTORS: usize>(
    block: &Block<'_>,
    rows: &[u8],
    output: &mut [u8],
) {
    // Not the block's stride: after the division the compiler knows that
    // addresses do not overflow, and uses shorter instructions for them.
    let stride = rows.len() / (POSITIONS * I::WIDTH);
    assert!(rows.len() == POSITIONS * stride * I::WIDTH && stride.is_multiple_of(I::STEP));
    assert!(output.len() >= (POSITIONS - 1) * block.outputs + block.channels);
    // SAFETY: the caller guarantees the instruction set and the rows, the block
    // its lengths, and the length of the output is asserted above.
    unsafe {
        let bias = block.bias.as_ptr();
        let mut sums = [[I::load(bias); VECTORS]; POSITIONS];
        for vector in 1..VECTORS {
            let bias = I::load(bias.add(I::LANES * vector));
            for sums in &mut sums {
                sums[vector] = bias;
            }
        }
        I::multiply(&mut sums, rows.as_ptr(), stride, block.weights.as_ptr());
        I::finish(&sums, block, output.as_mut_ptr());
    }
}
