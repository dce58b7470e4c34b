//! A quantized network as a list of integer steps in one block of memory.
//!
//! The steps run in order over byte tensors in the order row, column, channel;
//! tensors that are never alive together share memory. Everything that a run
//! needs is laid out when the program is built, so a run allocates nothing.

use std::time::{Duration, Instant};

use super::kernels::{
    self, Add, Aligned, Dense, Depthwise, Geometry, Kernel, Pool, Quantization, Requantize, Scratch,
};

/// A byte tensor: its number in the order of definition.
pub type ValueId = usize;

/// Height, width and channels of a byte tensor.
pub type Shape = [usize; 3];

/// What a step does, before it is packed for a kernel.
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
        requantize: Requantize,
    },
    /// A depthwise convolution; `weights` are `channels x taps`.
    Depthwise {
        input: ValueId,
        input_zero: u8,
        geometry: Geometry,
        weights: Vec<i8>,
        requantize: Requantize,
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

/// A step of a program to be: the value it defines is its place in the list.
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
        /// Room to quantize plane by plane, if there are several.
        planes: Option<Span>,
    },
    Dense(Dense),
    Convolution {
        geometry: Geometry,
        input_zero: u8,
        /// Room for the gathered inputs.
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

/// A network of integer steps.
#[derive(Debug)]
pub struct Program {
    kernel: Kernel,
    steps: Vec<Step>,
    exits: Vec<(Exit, Shape, Span)>,
    memory: usize,
    scratch: usize,
}

/// The memory that a [`Program`] runs in.
#[derive(Debug)]
pub struct Memory {
    values: Aligned<u8>,
    scratch: Scratch,
}

/// Finds places for values such that those alive together do not overlap.
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
    /// Packs steps for a kernel and lays out their memory. Each step reads
    /// values of earlier steps only.
    #[must_use]
    pub fn new(kernel: Kernel, drafts: Vec<Draft>, exits: Vec<Exit>) -> Self {
        let mut last: Vec<_> = (0..drafts.len()).collect();
        for (index, draft) in drafts.iter().enumerate() {
            for &input in draft.operation.inputs() {
                assert!(input < index, "a step reads what is not there yet");
                last[input] = index;
            }
        }
        for exit in &exits {
            last[exit.value()] = drafts.len();
        }
        let mut planner = Planner::default();
        let mut places: Vec<(Span, Shape)> = Vec::new();
        let mut steps = Vec::new();
        let mut scratch = 0;
        for (index, draft) in drafts.into_iter().enumerate() {
            let output = planner.place(index, last[index], draft.shape.iter().product());
            let mut inputs = [0..0, 0..0];
            for (place, &input) in inputs.iter_mut().zip(draft.operation.inputs()) {
                *place = places[input].0.clone();
            }
            let mut room = |length| planner.place(index, index, length);
            let action = match draft.operation {
                Operation::Quantize { input, to } => Action::Quantize {
                    input,
                    to,
                    planes: (draft.shape[2] > 1).then(|| room(output.len())),
                },
                Operation::Convolution {
                    input_zero,
                    geometry,
                    weights,
                    requantize,
                    ..
                } => {
                    let pointwise = geometry.is_pointwise();
                    let weights = if pointwise {
                        weights
                    } else {
                        padded(&weights, requantize.outputs(), geometry.gathered_inputs())
                    };
                    let dense = Dense::new(kernel, &weights, requantize);
                    scratch = scratch.max(dense.scratch());
                    if pointwise {
                        Action::Dense(dense)
                    } else {
                        Action::Convolution {
                            gathered: room(geometry.gathered()),
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
                    requantize,
                    ..
                } => Action::Depthwise(Depthwise::new(
                    kernel, geometry, &weights, input_zero, requantize,
                )),
                Operation::Add {
                    from, to, range, ..
                } => Action::Add(Add::new(kernel, from[0], from[1], to, range)),
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
        let exits = exits
            .into_iter()
            .map(|exit| {
                let (span, shape) = places[exit.value()].clone();
                (exit, shape, span)
            })
            .collect();
        Self {
            kernel,
            steps,
            exits,
            memory: planner.end,
            scratch,
        }
    }

    /// The kernel that it was packed for.
    #[must_use]
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// Memory for running it.
    #[must_use]
    pub fn memory(&self) -> Memory {
        Memory {
            values: Aligned::new(self.memory),
            scratch: Scratch::new(self.scratch),
        }
    }

    /// Bytes of [`Program::memory`].
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.memory + 2 * self.scratch
    }

    /// Runs all steps. Inputs and outputs are f32 in the order channel, row,
    /// column.
    pub fn run(&self, memory: &mut Memory, inputs: &[&[f32]], outputs: &mut [&mut [f32]]) {
        for step in &self.steps {
            self.run_step(step, memory, inputs);
        }
        for ((exit, shape, span), output) in self.exits.iter().zip(outputs) {
            exit.run(*shape, &memory.values[span.clone()], output);
        }
    }

    /// Runs all steps and adds the time of each to `times`.
    pub fn run_timed<'a>(
        &self,
        memory: &mut Memory,
        inputs: &[&[f32]],
        times: impl Iterator<Item = &'a mut Duration>,
    ) {
        for (step, time) in self.steps.iter().zip(times) {
            let start = Instant::now();
            self.run_step(step, memory, inputs);
            *time += start.elapsed();
        }
    }

    fn run_step(&self, step: &Step, memory: &mut Memory, inputs: &[&[f32]]) {
        let values: &mut [u8] = &mut memory.values;
        let spans = |other: &Span| [step.output.clone(), step.inputs[0].clone(), other.clone()];
        let apart = "the planner keeps values apart";
        let none = 0..0;
        match &step.action {
            Action::Quantize { input, to, planes } => {
                let input = inputs[*input];
                let Some(planes) = planes else {
                    return kernels::quantize_all(
                        self.kernel,
                        *to,
                        input,
                        &mut values[step.output.clone()],
                    );
                };
                let [output, planes] = values
                    .get_disjoint_mut([step.output.clone(), planes.clone()])
                    .expect(apart);
                kernels::quantize_all(self.kernel, *to, input, planes);
                let channels = step.shape[2];
                let size = planes.len() / channels;
                for (position, output) in output.chunks_exact_mut(channels).enumerate() {
                    for (channel, output) in output.iter_mut().enumerate() {
                        *output = planes[channel * size + position];
                    }
                }
            }
            Action::Dense(dense) => {
                let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                dense.run(input, output, &mut memory.scratch);
            }
            Action::Convolution {
                geometry,
                input_zero,
                gathered,
                dense,
            } => {
                let [output, input, gathered] =
                    values.get_disjoint_mut(spans(gathered)).expect(apart);
                kernels::gather(geometry, *input_zero, input, gathered);
                dense.run(gathered, output, &mut memory.scratch);
            }
            Action::Depthwise(depthwise) => {
                let [output, input, _] = values.get_disjoint_mut(spans(&none)).expect(apart);
                depthwise.run(input, output);
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
                pool.run(input, output);
            }
        }
    }

    /// What each step is, in the order in which they run.
    pub fn steps(&self) -> impl ExactSizeIterator<Item = StepInfo> {
        self.steps.iter().map(Step::info)
    }
}

/// Weights with zeros for inputs that only fill up a row.
fn padded(weights: &[i8], outputs: usize, inputs: usize) -> Vec<i8> {
    let mut padded = vec![0; outputs * inputs];
    let rows = weights.chunks_exact(weights.len() / outputs);
    for (row, padded) in rows.zip(padded.chunks_exact_mut(inputs)) {
        padded[..row.len()].copy_from_slice(row);
    }
    padded
}

impl Step {
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
