//! A quantized network as a list of integer steps in one block of memory.
//!
//! The steps run in order over byte tensors in the order row, column, channel;
//! tensors that are never alive together share memory. Everything that a run
//! needs is laid out when the program is built, so a run allocates nothing.
//!
//! An inverted residual widens its input six times for a depthwise convolution
//! and narrows it again. If the wide tensor is too large for the cache, the
//! three steps take turns over bands of rows, and memory holds only those of
//! its rows that the next band needs.

use std::time::{Duration, Instant};

use super::kernels::{
    self, Add, Aligned, Dense, Depthwise, Geometry, Pool, Quantization, Requantizer,
};
use crate::isa::Isa;

/// A byte tensor: its number in the order of definition.
pub type ValueId = usize;

/// Height, width and channels of a byte tensor.
pub type Shape = [usize; 3];

/// The operation of a step, before it is packed for an instruction set.
#[derive(Debug)]
pub enum Operation {
    /// From an f32 input of the program, in the order channel, row, column.
    Quantize {
        input: usize,
        to: Quantization,
    },
    /// A convolution without groups; `weights` are `outputs x taps x channels`.
    Convolution {
        input: ValueId,
        input_zero: u8,
        geometry: Geometry,
        weights: Vec<i8>,
        requantizer: Requantizer,
    },
    /// A depthwise convolution; `weights` are `channels x taps`.
    Depthwise {
        input: ValueId,
        input_zero: u8,
        geometry: Geometry,
        weights: Vec<i8>,
        requantizer: Requantizer,
    },
    Add {
        inputs: [ValueId; 2],
        from: [Quantization; 2],
        to: Quantization,
        range: kernels::Range,
    },
    Pool {
        input: ValueId,
        pool: Pool,
    },
}

impl Operation {
    pub fn inputs_mut(&mut self) -> &mut [ValueId] {
        match self {
            Self::Quantize { .. } => &mut [],
            Self::Convolution { input, .. }
            | Self::Depthwise { input, .. }
            | Self::Pool { input, .. } => std::slice::from_mut(input),
            Self::Add { inputs, .. } => inputs,
        }
    }

    pub fn inputs(&self) -> &[ValueId] {
        match self {
            Self::Quantize { .. } => &[],
            Self::Convolution { input, .. }
            | Self::Depthwise { input, .. }
            | Self::Pool { input, .. } => std::slice::from_ref(input),
            Self::Add { inputs, .. } => inputs,
        }
    }
}

/// A step before packing. Its index in the list is the id of the value that it
/// computes.
#[derive(Debug)]
pub struct Draft {
    pub name: String,
    pub shape: Shape,
    pub operation: Operation,
}

/// An f32 output of a program.
#[derive(Debug)]
pub enum Exit {
    /// A byte tensor's numbers, in the order channel, row, column.
    Dequantize { value: ValueId, from: Quantization },
    /// A dense layer whose result is not quantized:
    /// `sum * scale + offset`, output by output.
    Linear {
        value: ValueId,
        weights: Vec<i8>,
        bias: Vec<i32>,
        scale: Vec<f32>,
        offset: Vec<f32>,
    },
}

impl Exit {
    pub fn value(&self) -> ValueId {
        match self {
            Self::Dequantize { value, .. } | Self::Linear { value, .. } => *value,
        }
    }

    pub fn value_mut(&mut self) -> &mut ValueId {
        match self {
            Self::Dequantize { value, .. } | Self::Linear { value, .. } => value,
        }
    }
}

/// A part of the block of memory.
type Span = std::ops::Range<usize>;

#[derive(Debug)]
enum Action {
    Quantize {
        input: usize,
        to: Quantization,
        /// Memory to quantize plane by plane, if there are several.
        planes: Option<Span>,
    },
    Dense(Dense),
    Convolution {
        geometry: Geometry,
        input_zero: u8,
        /// Memory for the gathered inputs.
        gathered: Span,
        dense: Dense,
    },
    Depthwise(Depthwise),
    Add(Add),
    Pool(Pool),
}

#[derive(Debug)]
struct Step {
    name: String,
    shape: Shape,
    inputs: [Span; 2],
    output: Span,
    action: Action,
}

/// One line of a listing of what will run.
#[derive(Clone, Debug)]
pub struct StepInfo {
    pub name: String,
    pub operation: String,
    /// Height, width and channels of the output.
    pub shape: Shape,
    /// Products of a weight and an input.
    pub macs: u64,
    /// Bytes of packed weights.
    pub weights: usize,
}

/// Steps that run one after another, or taking turns over bands of rows.
#[derive(Debug)]
struct Group {
    steps: Span,
    /// Rows that the last of three steps computes at a time.
    band: Option<usize>,
}

/// A network of integer steps.
#[derive(Debug)]
pub struct Program {
    isa: Isa,
    steps: Vec<Step>,
    groups: Vec<Group>,
    exits: Vec<(Exit, Shape, Span)>,
    memory: usize,
    scratch: usize,
}

/// The memory that programs run in, one after the other: first the values of a
/// program, then the scratch memory of its kernels.
#[derive(Debug, Default)]
pub struct Memory(Aligned<u8>);

impl Memory {
    /// Grows to the size that a program needs. Nothing in it outlives a run.
    pub fn reserve_for(&mut self, program: &Program) {
        if self.bytes() < program.memory_bytes() {
            self.0 = Aligned::new(program.memory_bytes());
        }
    }

    /// Its size in bytes.
    pub fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Bytes of a wide tensor that are in memory at a time, if it is not there as a
/// whole. Together with the rows computed from it this is much smaller than the
/// second cache of a small processor, and it has enough rows that weights are
/// read seldom.
const BAND: usize = 96 * 1024;

/// Rows of outputs in a band of a depthwise convolution that has `size` bytes
/// of its input in memory, and rows of its input that they need; `None` if the
/// whole input is not larger.
fn band(geometry: &Geometry, size: usize) -> Option<(usize, usize)> {
    let [down, _] = geometry.window;
    let [stride, _] = geometry.stride;
    let fit = size / (geometry.width * geometry.channels);
    // Some kernels compute two rows at once.
    let rows = ((fit + stride).saturating_sub(down) / stride / 2 * 2).max(2);
    let kept = (rows - 1) * stride + down;
    (kept < geometry.height && rows < geometry.out_height).then_some((rows, kept))
}

/// Finds places in memory for values, so that values in use at the same time do
/// not overlap.
#[derive(Default)]
struct Planner {
    /// Places in use and the step after which each is free.
    live: Vec<(Span, usize)>,
    end: usize,
}

impl Planner {
    fn place(&mut self, now: usize, last: usize, length: usize) -> Span {
        self.live.retain(|(_, last)| *last >= now);
        self.live.sort_by_key(|(span, _)| span.start);
        // Whole cache lines, so that each tensor starts on one.
        let room = length.next_multiple_of(64);
        let mut start = 0;
        for (span, _) in &self.live {
            if span.start >= start + room {
                break;
            }
            start = start.max(span.end.next_multiple_of(64));
        }
        let span = start..start + length;
        self.live.push((start..start + room, last));
        self.end = self.end.max(start + room);
        span
    }
}

impl Program {
    /// Packs steps for an instruction set and lays out their memory. Each step reads
    /// values of earlier steps only.
    #[must_use]
    pub fn new(isa: Isa, drafts: Vec<Draft>, exits: Vec<Exit>) -> Self {
        Self::with_band(isa, drafts, exits, BAND)
    }

    fn with_band(isa: Isa, drafts: Vec<Draft>, exits: Vec<Exit>, size: usize) -> Self {
        let groups = grouped(&drafts, &exits, size);
        // The last group that reads each value.
        let mut last = Vec::with_capacity(drafts.len());
        for (now, group) in groups.iter().enumerate() {
            for index in group.steps.clone() {
                for &input in drafts[index].operation.inputs() {
                    assert!(
                        input < index,
                        "a step reads a value that is not computed yet"
                    );
                    last[input] = now;
                }
                last.push(now);
            }
        }
        for exit in &exits {
            last[exit.value()] = groups.len();
        }
        let mut planner = Planner::default();
        let mut places: Vec<(Span, Shape)> = Vec::new();
        let mut steps: Vec<Step> = Vec::new();
        let mut scratch = 0;
        let mut drafts = drafts.into_iter();
        for (now, group) in groups.iter().enumerate() {
            // Rows of each step's output that are in memory at a time.
            let mut rows = [usize::MAX; 3];
            if group.band.is_some()
                && let Operation::Depthwise { geometry, .. } = &drafts.as_slice()[1].operation
                && let Some((made, kept)) = band(geometry, size)
            {
                rows = [kept, made, usize::MAX];
            }
            for (rows, draft) in rows[..group.steps.len()].iter().zip(drafts.by_ref()) {
                let [height, width, channels] = draft.shape;
                let rows = height.min(*rows);
                let length = rows * width * channels;
                let output = planner.place(now, last[steps.len()], length);
                let mut inputs = [0..0, 0..0];
                for (place, &input) in inputs.iter_mut().zip(draft.operation.inputs()) {
                    *place = places[input].0.clone();
                }
                let mut room = |length| planner.place(now, now, length);
                let action = match draft.operation {
                    Operation::Quantize { input, to } => Action::Quantize {
                        input,
                        to,
                        planes: (channels > 1).then(|| room(length)),
                    },
                    Operation::Convolution {
                        input_zero,
                        geometry,
                        weights,
                        requantizer,
                        ..
                    } => {
                        let pointwise = geometry.is_pointwise();
                        let weights = if pointwise {
                            weights
                        } else {
                            padded(&weights, requantizer.outputs(), geometry.gathered_inputs())
                        };
                        let dense = Dense::new(isa, &weights, requantizer);
                        scratch = scratch.max(dense.scratch());
                        if pointwise {
                            Action::Dense(dense)
                        } else {
                            Action::Convolution {
                                gathered: room(geometry.gathered(rows)),
                                geometry,
                                input_zero,
                                dense,
                            }
                        }
                    }
                    Operation::Depthwise {
                        input_zero,
                        geometry,
                        weights,
                        requantizer,
                        ..
                    } => Action::Depthwise(Depthwise::new(
                        isa,
                        geometry,
                        &weights,
                        input_zero,
                        requantizer,
                    )),
                    Operation::Add {
                        from, to, range, ..
                    } => Action::Add(Add::new(isa, from[0], from[1], to, range)),
                    Operation::Pool { pool, .. } => Action::Pool(pool),
                };
                places.push((output.clone(), draft.shape));
                steps.push(Step {
                    name: draft.name,
                    shape: draft.shape,
                    inputs,
                    output,
                    action,
                });
            }
        }
        let exits = exits
            .into_iter()
            .map(|exit| {
                let (span, shape) = places[exit.value()].clone();
                (exit, shape, span)
            })
            .collect();
        Self {
            isa,
            steps,
            groups,
            exits,
            memory: planner.end,
            scratch,
        }
    }

    /// The instruction set that it was packed for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.isa
    }

    /// Memory for running it.
    #[must_use]
    pub fn memory(&self) -> Memory {
        let mut memory = Memory::default();
        memory.reserve_for(self);
        memory
    }

    /// Bytes of [`Program::memory`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory + self.scratch
    }

    /// Runs all steps. Inputs and outputs are f32 in the order channel, row,
    /// column.
    pub fn run<'a>(
        &self,
        memory: &mut Memory,
        inputs: &[&[f32]],
        outputs: impl IntoIterator<Item = &'a mut [f32]>,
    ) {
        self.run_steps(memory, inputs, |_| ());
        for ((exit, shape, span), output) in self.exits.iter().zip(outputs) {
            exit.run(*shape, &memory.0[span.clone()], output);
        }
    }

    /// Runs all steps and adds the time of each to `times`.
    pub fn run_timed<'a>(
        &self,
        memory: &mut Memory,
        inputs: &[&[f32]],
        times: impl Iterator<Item = &'a mut Duration>,
    ) {
        let mut times: Vec<_> = times.collect();
        let mut start = Instant::now();
        self.run_steps(memory, inputs, |index| {
            let end = Instant::now();
            *times[index] += end - start;
            start = end;
        });
    }

    /// Runs all steps. Calls `done` with the step's number after each piece of
    /// work.
    fn run_steps(&self, memory: &mut Memory, inputs: &[&[f32]], mut done: impl FnMut(usize)) {
        let (values, scratch) = memory.0.split_at_mut(self.memory);
        for group in &self.groups {
            let first = group.steps.start;
            match (&self.steps[group.steps.clone()], group.band) {
                ([wide, deep, narrow], Some(rows)) => {
                    run_band([wide, deep, narrow], rows, values, scratch, |step| {
                        done(first + step);
                    });
                }
                (steps, _) => {
                    for (index, step) in steps.iter().enumerate() {
                        self.run_step(step, values, scratch, inputs);
                        done(first + index);
                    }
                }
            }
        }
    }

    fn run_step(&self, step: &Step, values: &mut [u8], scratch: &mut [u8], inputs: &[&[f32]]) {
        let spans = |other: &Span| [step.output.clone(), step.inputs[0].clone(), other.clone()];
        let apart = "the planner keeps values apart";
        let none = 0..0;
        match &step.action {
            Action::Quantize { input, to, planes } => {
                let input = inputs[*input];
                let Some(planes) = planes else {
                    return kernels::quantize_all(
                        self.isa,
                        *to,
                        input,
                        &mut values[step.output.clone()],
                    );
                };
                let [output, planes] = values
                    .get_disjoint_mut([step.output.clone(), planes.clone()])
                    .expect(apart);
                kernels::quantize_all(self.isa, *to, input, planes);
                let channels = step.shape[2];
                let size = planes.len() / channels;
                for (position, output) in output.chunks_exact_mut(channels).enumerate() {
                    for (channel, output) in output.iter_mut().enumerate() {
                        *output = planes[channel * size + position];
                    }
                }
            }
            Action::Dense(_) => {
                let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                step.convolve(0, input, &mut [], output, scratch);
            }
            Action::Convolution { gathered, .. } => {
                let [output, input, gathered] =
                    values.get_disjoint_mut(spans(gathered)).expect(apart);
                step.convolve(0, input, gathered, output, scratch);
            }
            Action::Depthwise(depthwise) => {
                let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                depthwise.run(0, input, output);
            }
            Action::Add(add) => {
                if step.inputs[0] == step.inputs[1] {
                    let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                    return add.run(input, input, output);
                }
                let [output, a, b] = values
                    .get_disjoint_mut(spans(&step.inputs[1]))
                    .expect(apart);
                add.run(a, b, output);
            }
            Action::Pool(pool) => {
                let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                pool.run(self.isa, input, output);
            }
        }
    }

    /// A description of each step, in the order in which they begin.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = StepInfo> {
        self.steps.iter().enumerate().map(|(index, step)| {
            let mut info = step.info();
            let group = self.groups.iter().find(|g| g.steps.contains(&index));
            if let Some(rows) = group.and_then(|group| group.band) {
                info.operation += &format!(" by {rows} rows");
            }
            info
        })
    }
}

/// Which steps run as bands: a convolution, a depthwise one and a 1x1
/// convolution in a row, whose large tensors no other step reads.
fn grouped(drafts: &[Draft], exits: &[Exit], size: usize) -> Vec<Group> {
    let mut readers = vec![0; drafts.len()];
    let read = drafts.iter().flat_map(|draft| draft.operation.inputs());
    for value in read.copied().chain(exits.iter().map(Exit::value)) {
        readers[value] += 1;
    }
    let mut groups = Vec::new();
    let mut start = 0;
    while start < drafts.len() {
        let rows = match &drafts[start..] {
            [wide, deep, narrow, ..] if readers[start] == 1 && readers[start + 1] == 1 => {
                match (&wide.operation, &deep.operation, &narrow.operation) {
                    (
                        Operation::Convolution { .. },
                        Operation::Depthwise {
                            input, geometry, ..
                        },
                        Operation::Convolution {
                            input: deep,
                            geometry: narrow,
                            ..
                        },
                    ) if (*input, *deep) == (start, start + 1) && narrow.is_pointwise() => {
                        band(geometry, size)
                    }
                    _ => None,
                }
            }
            _ => None,
        };
        let band = rows.map(|(made, _)| made);
        let end = start + if band.is_some() { 3 } else { 1 };
        groups.push(Group {
            steps: start..end,
            band,
        });
        start = end;
    }
    groups
}

/// Runs a convolution, a depthwise one and a 1x1 convolution, with a number of
/// rows of the last one at a time; calls `done` as [`Program::run_steps`] does.
fn run_band(
    [wide, deep, narrow]: [&Step; 3],
    rows: usize,
    values: &mut [u8],
    scratch: &mut [u8],
    mut done: impl FnMut(usize),
) {
    let Action::Depthwise(depthwise) = &deep.action else {
        unreachable!("grouped that way");
    };
    let gathered = match &wide.action {
        Action::Convolution { gathered, .. } => gathered.clone(),
        _ => 0..0,
    };
    let [input, gathered, kept, made, output] = values
        .get_disjoint_mut([
            wide.inputs[0].clone(),
            gathered,
            wide.output.clone(),
            deep.output.clone(),
            narrow.output.clone(),
        ])
        .expect("the planner keeps values apart");
    let places = kept.len() / wide.line();
    let mut next = 0;
    for first in (0..deep.shape[0]).step_by(rows) {
        let last = (first + rows).min(deep.shape[0]);
        let needed = depthwise.geometry().rows_for(last - 1);
        while next < needed {
            // A row is stored at its number modulo the number of places.
            let place = next % places;
            let count = (needed - next).min(places - place);
            let to = &mut kept[place * wide.line()..][..count * wide.line()];
            wide.convolve(next, input, gathered, to, scratch);
            next += count;
        }
        done(0);
        let made = &mut made[..(last - first) * deep.line()];
        depthwise.run(first, kept, made);
        done(1);
        let to = &mut output[first * narrow.line()..last * narrow.line()];
        narrow.convolve(0, made, &mut [], to, scratch);
        done(2);
    }
}

/// Weights, with zeros for the filler inputs of a row.
fn padded(weights: &[i8], outputs: usize, inputs: usize) -> Vec<i8> {
    let mut padded = vec![0; outputs * inputs];
    let rows = weights.chunks_exact(weights.len() / outputs);
    for (row, padded) in rows.zip(padded.chunks_exact_mut(inputs)) {
        padded[..row.len()].copy_from_slice(row);
    }
    padded
}

impl Step {
    /// Bytes of a row of the output.
    fn line(&self) -> usize {
        self.shape[1] * self.shape[2]
    }

    /// Runs a convolution for rows of outputs from `first` on, as many as
    /// `output` has room for.
    fn convolve(
        &self,
        first: usize,
        input: &[u8],
        gathered: &mut [u8],
        output: &mut [u8],
        scratch: &mut [u8],
    ) {
        let rows = output.len() / self.line();
        match &self.action {
            Action::Dense(dense) => {
                let line = self.shape[1] * dense.inputs();
                dense.run(&input[first * line..][..rows * line], output, scratch);
            }
            Action::Convolution {
                geometry,
                input_zero,
                dense,
                ..
            } => {
                let gathered = &mut gathered[..geometry.gathered(rows)];
                kernels::gather(geometry, *input_zero, first, input, gathered);
                dense.run(gathered, output, scratch);
            }
            _ => unreachable!("only called for convolutions"),
        }
    }

    fn info(&self) -> StepInfo {
        let size = |g: &Geometry| format!("{}x{} /{}", g.window[0], g.window[1], g.stride[0]);
        let positions = (self.shape[0] * self.shape[1]) as u64;
        let dense_macs = |dense: &Dense| positions * (dense.inputs() * self.shape[2]) as u64;
        let (operation, macs, weights) = match &self.action {
            Action::Quantize { .. } => ("quantize".into(), 0, 0),
            Action::Dense(dense) => ("conv 1x1".into(), dense_macs(dense), dense.bytes()),
            Action::Convolution {
                geometry, dense, ..
            } => (
                format!("conv {}", size(geometry)),
                positions * (geometry.taps() * geometry.channels * self.shape[2]) as u64,
                dense.bytes(),
            ),
            Action::Depthwise(depthwise) => {
                let geometry = depthwise.geometry();
                (
                    format!("depthwise {}", size(geometry)),
                    positions * (geometry.taps() * self.shape[2]) as u64,
                    depthwise.bytes(),
                )
            }
            Action::Add(_) => ("add".into(), 0, 0),
            Action::Pool(_) => ("mean".into(), 0, 0),
        };
        StepInfo {
            name: self.name.clone(),
            operation,
            shape: self.shape,
            macs,
            weights,
        }
    }
}

impl Exit {
    fn run(&self, shape: Shape, value: &[u8], output: &mut [f32]) {
        match self {
            Self::Dequantize { from, .. } => {
                let channels = shape[2];
                let size = value.len() / channels;
                for (position, value) in value.chunks_exact(channels).enumerate() {
                    for (channel, &q) in value.iter().enumerate() {
                        let steps = i32::from(q) - i32::from(from.zero);
                        output[channel * size + position] = steps as f32 * from.scale;
                    }
                }
            }
            Self::Linear {
                weights,
                bias,
                scale,
                offset,
                ..
            } => {
                let rows = weights.chunks_exact(value.len());
                for (index, (output, row)) in output.iter_mut().zip(rows).enumerate() {
                    let sum = value.iter().zip(row).fold(bias[index], |sum, (&x, &w)| {
                        sum.wrapping_add(i32::from(x) * i32::from(w))
                    });
                    *output = sum as f32 * scale[index] + offset[index];
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn requantizer(weights: &[i8], outputs: usize, input_zero: u8) -> Requantizer {
        let scale = vec![0.004; outputs];
        let bias: Vec<_> = (0..outputs as i32).map(|output| 37 * output).collect();
        Requantizer::new(
            weights,
            input_zero,
            &bias,
            scale,
            vec![0.0; outputs],
            100,
            3..=250,
        )
        .unwrap()
    }

    /// A picture, widened (by a 1x1 or a 3x3 convolution), filtered, narrowed and
    /// added to itself.
    fn drafts(
        [height, width]: [usize; 2],
        window: usize,
        stride: usize,
        weights: &[i8],
    ) -> (Vec<Draft>, Vec<Exit>) {
        let (channels, wide) = (8, 72);
        let quantization = Quantization {
            scale: 0.01,
            zero: 120,
        };
        let mut drafts = vec![Draft {
            name: "picture".into(),
            shape: [height, width, channels],
            operation: Operation::Quantize {
                input: 0,
                to: quantization,
            },
        }];
        let weights = |count: usize| weights.iter().copied().cycle().take(count).collect();
        let mut layer = |channels: usize, outputs: usize, window: usize, stride: usize| {
            let input = drafts.len() - 1;
            let [height, width, inputs] = drafts[input].shape;
            let pad = window / 2;
            let geometry = Geometry {
                height,
                width,
                channels: inputs,
                window: [window; 2],
                stride: [stride; 2],
                pad: [pad; 2],
                out_height: (height + 2 * pad - window) / stride + 1,
                out_width: (width + 2 * pad - window) / stride + 1,
            };
            let weights: Vec<i8> = weights(outputs * channels * window * window);
            let (input_zero, requantizer) = (100, requantizer(&weights, outputs, 100));
            let shape = [geometry.out_height, geometry.out_width, outputs];
            let operation = if channels == 1 {
                Operation::Depthwise {
                    input,
                    input_zero,
                    geometry,
                    weights,
                    requantizer,
                }
            } else {
                Operation::Convolution {
                    input,
                    input_zero,
                    geometry,
                    weights,
                    requantizer,
                }
            };
            drafts.push(Draft {
                name: String::new(),
                shape,
                operation,
            });
        };
        layer(channels, wide, window, 1);
        layer(1, wide, 3, stride);
        layer(wide, channels, 1, 1);
        drafts.push(Draft {
            name: "sum".into(),
            shape: drafts[3].shape,
            operation: Operation::Add {
                inputs: [3, if stride == 1 { 0 } else { 3 }],
                from: [quantization; 2],
                to: quantization,
                range: 0..=255,
            },
        });
        (
            drafts,
            vec![Exit::Dequantize {
                value: 4,
                from: quantization,
            }],
        )
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(24))]

        #[test]
        fn bands_change_nothing(
            sides in [9usize..24, 1usize..20],
            window in prop_oneof![Just(1usize), Just(3)],
            stride in 1usize..3,
            weights in prop::collection::vec(any::<i8>(), 997),
            input in prop::collection::vec(-1.5f32..1.5, 8 * 24 * 20),
        ) {
            let run = |isa, size| {
                let (drafts, exits) = drafts(sides, window, stride, &weights);
                let [height, width, channels] = drafts[4].shape;
                let program = Program::with_band(isa, drafts, exits, size);
                let mut output = vec![0.0; height * width * channels];
                let mut memory = program.memory();
                for _ in 0..2 {
                    let input = &input[..8 * sides[0] * sides[1]];
                    program.run(&mut memory, &[input], [&mut output[..]]);
                }
                (program.groups.iter().any(|group| group.band.is_some()), output)
            };
            let (banded, whole) = run(Isa::Scalar, usize::MAX);
            prop_assert!(!banded);
            for isa in Isa::available() {
                for size in [0, 6 * 72 * sides[1]] {
                    let (banded, output) = run(isa, size);
                    prop_assert!(banded || size > 0);
                    prop_assert_eq!(&output, &whole, "{} {}", isa, size);
                }
            }
        }
    }
}
