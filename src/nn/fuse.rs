//! Fusion: from an ONNX graph of floats between quantizers to integer steps.
//!
//! A quantized model in the QDQ form is a float network with a QuantizeLinear
//! and a DequantizeLinear around every layer. tract would compute it in f32.
//! Here each chain of DequantizeLinear, a layer, its activation and
//! QuantizeLinear becomes one integer step of a [`Program`]; tract runs what is
//! not recognised.
//!
//! This works on the ONNX graph and not on tract's, because tract resolves
//! quantizers while it reads them: it keeps only the reciprocal of a scale,
//! from which the exact scale cannot be computed, and splits quantizers with
//! one scale per channel into casts, subtractions and multiplications. In the
//! file each quantizer is still one node with its own scale and zero point.

use std::collections::{HashMap, HashSet};

use tract_core::prelude::*;

use super::kernels::{Geometry, Pool, Quantization, Range, Requantizer, quantize};
use super::onnx::{GraphProto, NodeProto, TensorProto};
use super::program::{Draft, Exit, Operation, Program, ValueId};
use crate::isa::Isa;

/// The result: a program, and what is left for tract.
pub struct Fused {
    pub program: Program,
    /// The graph's input, which the program quantizes.
    pub input: String,
    /// Names and shapes of the program's f32 outputs.
    pub outputs: Vec<(String, Vec<usize>)>,
    /// Indices of the nodes that stay with tract, in the graph's order.
    pub rest: Vec<usize>,
}

/// A float tensor that stands for a byte tensor.
#[derive(Clone, Copy)]
struct Float {
    value: ValueId,
    from: Quantization,
    rank: Rank,
}

/// How a tensor is shaped in the graph.
#[derive(Clone, Copy, PartialEq)]
enum Rank {
    /// `1 x channels x height x width`.
    Picture,
    /// `1 x channels`.
    Row,
}

/// A float tensor computed by a layer from byte tensors, before an activation.
#[derive(Clone)]
enum Layer<'a> {
    Convolution {
        x: Float,
        geometry: Geometry,
        depthwise: bool,
        weights: Weights<'a>,
    },
    Add([Float; 2]),
    Mean(Float),
}

/// Weights as `outputs x taps x inputs`, with a scale for each output.
#[derive(Clone)]
struct Weights<'a> {
    data: Vec<i8>,
    scale: Vec<f32>,
    bias: Option<&'a str>,
}

struct Graph<'a> {
    proto: &'a GraphProto,
    constants: HashMap<&'a str, &'a TensorProto>,
    producers: HashMap<&'a str, &'a NodeProto>,
    input: &'a str,
    /// Channels, height and width of the input.
    input_shape: [usize; 3],

    drafts: Vec<Draft>,
    /// Byte tensors by name.
    values: HashMap<&'a str, (ValueId, Rank)>,
    /// Float tensors that are dequantized byte tensors, or views of such.
    floats: HashMap<&'a str, Float>,
}

/// Fuses what can be fused, or gives `None` if no layer can.
///
/// `input_shape` is channels, height and width.
pub fn fuse(proto: &GraphProto, input_shape: [usize; 3], isa: Isa) -> Option<Fused> {
    let mut constants: HashMap<&str, &TensorProto> = HashMap::new();
    for tensor in &proto.initializer {
        constants.insert(&tensor.name, tensor);
    }
    let mut producers = HashMap::new();
    for node in &proto.node {
        if node.op_type == "Constant"
            && let Some(tensor) = node.attribute.iter().find_map(|a| a.t.as_ref())
        {
            constants.insert(node.output.first()?, tensor);
        }
        for output in &node.output {
            producers.insert(output.as_str(), node);
        }
    }
    let input = proto
        .input
        .iter()
        .find(|input| !constants.contains_key(input.name.as_str()))?;
    let mut graph = Graph {
        proto,
        constants,
        producers,
        input: &input.name,
        input_shape,
        drafts: Vec::new(),
        values: HashMap::new(),
        floats: HashMap::new(),
    };
    for node in &proto.node {
        match node.op_type.as_str() {
            "QuantizeLinear" => graph.quantizer(node),
            "DequantizeLinear" => graph.dequantizer(node),
            "Flatten" | "Reshape" | "Squeeze" | "Identity" | "Dropout" => graph.view(node),
            _ => None,
        };
    }
    graph.finish(isa)
}

impl<'a> Graph<'a> {
    fn tensor(&self, name: &str) -> Option<Tensor> {
        self.constants.get(name)?.tensor().ok()
    }

    fn numbers<T: Datum + Copy>(&self, name: &str) -> Option<Vec<T>> {
        let tensor = self.tensor(name)?;
        Some(
            tensor
                .try_as_plain_ram()
                .ok()?
                .as_slice::<T>()
                .ok()?
                .to_vec(),
        )
    }

    /// Scale and zero point of a node that quantizes bytes with one scale.
    fn quantization(&self, node: &NodeProto) -> Option<Quantization> {
        let &[scale] = self.numbers::<f32>(node.input.get(1)?)?.as_slice() else {
            return None;
        };
        let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => match self.numbers::<u8>(name)?.as_slice() {
                &[zero] => zero,
                _ => return None,
            },
            None => 0,
        };
        (scale.is_normal() && scale > 0.0).then_some(Quantization { scale, zero })
    }

    fn dequantizer(&mut self, node: &'a NodeProto) -> Option<()> {
        let (value, rank) = *self.values.get(node.input.first()?.as_str())?;
        let from = self.quantization(node)?;
        self.floats
            .insert(node.output.first()?, Float { value, from, rank });
        Some(())
    }

    /// A node that changes only the shape: with a single position, the numbers
    /// have the same order in both layouts.
    fn view(&mut self, node: &'a NodeProto) -> Option<()> {
        let input = node.input.first()?.as_str();
        let output = node.output.first()?.as_str();
        let rank = |value: ValueId, rank: Rank| {
            if matches!(node.op_type.as_str(), "Identity" | "Dropout") {
                return Some(rank);
            }
            let one_position = self.drafts[value].shape[..2] == [1, 1];
            one_position.then(|| self.view_rank(node, rank)).flatten()
        };
        if let Some(&float) = self.floats.get(input) {
            let rank = rank(float.value, float.rank)?;
            self.floats.insert(output, Float { rank, ..float });
        } else if let Some(&(value, before)) = self.values.get(input) {
            let rank = rank(value, before)?;
            self.values.insert(output, (value, rank));
        }
        Some(())
    }

    /// The shape that a view of `1 x channels x 1 x 1` or `1 x channels` has.
    fn view_rank(&self, node: &NodeProto, before: Rank) -> Option<Rank> {
        let axes = || match node.input.get(1) {
            Some(name) => self.numbers::<i64>(name),
            None => Some(node.attribute("axes")?.ints.clone()),
        };
        match node.op_type.as_str() {
            "Flatten" => (node.attribute("axis").is_none_or(|a| a.i == 1)).then_some(Rank::Row),
            "Squeeze" if before == Rank::Picture => {
                let axes = axes()?;
                (axes == [2, 3] || axes == [-2, -1]).then_some(Rank::Row)
            }
            "Reshape" => match *axes()?.as_slice() {
                [-1..=1, _] => Some(Rank::Row),
                [-1..=1, _, 1, 1] => Some(Rank::Picture),
                _ => None,
            },
            _ => None,
        }
    }

    /// A QuantizeLinear: the end of a chain, the entry of the network, or an
    /// unknown pattern.
    fn quantizer(&mut self, node: &'a NodeProto) -> Option<()> {
        let to = self.quantization(node)?;
        let output = node.output.first()?.as_str();
        let mut x = node.input.first()?.as_str();
        if let Some(float) = self.floats.get(x)
            && float.from == to
        {
            // Dequantized and quantized with the same numbers: every byte stays
            // the same.
            self.values.insert(output, (float.value, float.rank));
            return Some(());
        }
        let (draft, rank) = if x == self.input {
            let [channels, height, width] = self.input_shape;
            let draft = Draft {
                name: node.title().to_owned(),
                shape: [height, width, channels],
                operation: Operation::Quantize { input: 0, to },
            };
            (draft, Rank::Picture)
        } else {
            // Activations from the last to the first, as one clamp.
            let mut low = f32::NEG_INFINITY;
            let mut high = f32::INFINITY;
            while let Some((limits, input)) = self.clamp(x) {
                (low, high) = (limits.0.clamp(low, high), limits.1.clamp(low, high));
                x = input;
            }
            // Quantizing never changes an order, so clamping can wait for it.
            let all = 0..=255;
            let range = quantize(low, to, &all)..=quantize(high, to, &all);
            let (layer, rank) = self.layer(x)?;
            let name = self.producers.get(x)?.title().to_owned();
            (self.draft(name, layer, to, range)?, rank)
        };
        self.values.insert(output, (self.drafts.len(), rank));
        self.drafts.push(draft);
        Some(())
    }

    /// Limits and input of an activation that clamps.
    fn clamp(&self, x: &str) -> Option<((f32, f32), &'a str)> {
        let node = *self.producers.get(x)?;
        let input = node.input.first()?.as_str();
        let limits = match node.op_type.as_str() {
            "Relu" => (0.0, f32::INFINITY),
            "Clip" => {
                let limit = |index: usize, key: &str, default: f32| match node
                    .input
                    .get(index)
                    .filter(|name| !name.is_empty())
                {
                    Some(name) => self.numbers::<f32>(name)?.first().copied(),
                    None => Some(node.attribute(key).map_or(default, |a| a.f)),
                };
                (
                    limit(1, "min", f32::NEG_INFINITY)?,
                    limit(2, "max", f32::INFINITY)?,
                )
            }
            _ => return None,
        };
        (limits.0 <= limits.1).then_some((limits, input))
    }

    /// The layer that computes a float tensor, and the tensor's shape.
    fn layer(&self, x: &str) -> Option<(Layer<'a>, Rank)> {
        let node = *self.producers.get(x)?;
        let float = |index: usize| -> Option<Float> {
            self.floats.get(node.input.get(index)?.as_str()).copied()
        };
        match node.op_type.as_str() {
            "Conv" => Some((self.convolution(node, float(0)?)?, Rank::Picture)),
            "Gemm" => {
                let is = |key, value: f32| node.attribute(key).is_none_or(|a| a.f == value);
                let flag = |key| node.attribute(key).is_some_and(|a| a.i != 0);
                if !is("alpha", 1.0) || !is("beta", 1.0) || flag("transA") {
                    return None;
                }
                let layer = self.dense(node, float(0)?, flag("transB"), node.input.get(2));
                Some((layer?, Rank::Row))
            }
            "MatMul" => Some((self.dense(node, float(0)?, false, None)?, Rank::Row)),
            "Add" => {
                if let (Some(a), Some(b)) = (float(0), float(1)) {
                    let same = self.drafts[a.value].shape == self.drafts[b.value].shape
                        && a.rank == b.rank;
                    return same.then_some((Layer::Add([a, b]), a.rank));
                }
                // The bias of a matrix product, as a node of its own.
                let [a, b] = node.input.as_slice() else {
                    return None;
                };
                for (product, bias) in [(a, b), (b, a)] {
                    if let Some(matmul) = self.producers.get(product.as_str())
                        && matmul.op_type == "MatMul"
                        && let Some(&x) = self.floats.get(matmul.input.first()?.as_str())
                    {
                        return Some((self.dense(matmul, x, false, Some(bias))?, Rank::Row));
                    }
                }
                None
            }
            "GlobalAveragePool" => Some((Layer::Mean(float(0)?), Rank::Picture)),
            "ReduceMean" => {
                let mut axes = match node.input.get(1) {
                    Some(name) => self.numbers::<i64>(name)?,
                    None => node.attribute("axes")?.ints.clone(),
                };
                axes.sort_unstable();
                let x = float(0).filter(|x| x.rank == Rank::Picture)?;
                let kept = node.attribute("keepdims").is_none_or(|a| a.i != 0);
                let rank = if kept { Rank::Picture } else { Rank::Row };
                (axes == [2, 3] || axes == [-2, -1]).then_some((Layer::Mean(x), rank))
            }
            _ => None,
        }
    }

    fn convolution(&self, node: &'a NodeProto, x: Float) -> Option<Layer<'a>> {
        let [height, width, channels] = self.drafts[x.value].shape;
        let (shape, data, scale) = self.weights(node.input.get(1)?, 0)?;
        let &[outputs, group_inputs, down, across] = shape.as_slice() else {
            return None;
        };
        let group = node.attribute("group").map_or(1, |a| a.i);
        let depthwise = group_inputs == 1 && outputs == channels && group == channels as i64;
        // One channel is both; a plain convolution is the general case.
        let depthwise = depthwise && channels > 1;
        if !depthwise && (group != 1 || group_inputs != channels) {
            return None;
        }
        let taps = down * across;
        if !(1..=49).contains(&taps) {
            return None;
        }
        let auto_pad = node.attribute("auto_pad").map_or(&b"NOTSET"[..], |a| &a.s);
        let dilations = ints(node, "dilations", 2, 1)?;
        let stride = ints(node, "strides", 2, 1)?;
        let pads = ints(node, "pads", 4, 0)?;
        if !matches!(auto_pad, b"NOTSET" | b"VALID") || dilations != [1, 1] || stride.contains(&0) {
            return None;
        }
        let out = |size: usize, window: usize, axis: usize| {
            let padded = size + pads[axis] + pads[axis + 2];
            Some(padded.checked_sub(window)? / stride[axis] + 1)
        };
        let geometry = Geometry {
            height,
            width,
            channels,
            window: [down, across],
            stride: [stride[0], stride[1]],
            pad: [pads[0], pads[1]],
            out_height: out(height, down, 0)?,
            out_width: out(width, across, 1)?,
        };
        // From outputs x inputs x taps to outputs x taps x inputs.
        let data = if depthwise || taps == 1 {
            data
        } else {
            let mut moved = Vec::with_capacity(data.len());
            for output in data.chunks_exact(channels * taps) {
                for tap in 0..taps {
                    moved.extend((0..channels).map(|channel| output[channel * taps + tap]));
                }
            }
            moved
        };
        Some(Layer::Convolution {
            x,
            geometry,
            depthwise,
            weights: Weights {
                data,
                scale,
                bias: node.input.get(2).map(String::as_str),
            },
        })
    }

    /// A matrix product of one position with constant weights, as a 1x1
    /// convolution.
    fn dense(
        &self,
        node: &'a NodeProto,
        x: Float,
        transposed: bool,
        bias: Option<&'a String>,
    ) -> Option<Layer<'a>> {
        let [height, width, channels] = self.drafts[x.value].shape;
        if (height, width) != (1, 1) || x.rank != Rank::Row {
            return None;
        }
        let (shape, data, scale) = self.weights(node.input.get(1)?, usize::from(!transposed))?;
        let (outputs, data) = match (shape.as_slice(), transposed) {
            (&[outputs, inputs], true) if inputs == channels => (outputs, data),
            (&[inputs, outputs], false) if inputs == channels => {
                let column = |output| (0..inputs).map(move |input| input * outputs + output);
                let moved = (0..outputs).flat_map(column).map(|at| data[at]).collect();
                (outputs, moved)
            }
            _ => return None,
        };
        if scale.len() != outputs {
            return None;
        }
        Some(Layer::Convolution {
            x,
            geometry: Geometry {
                height: 1,
                width: 1,
                channels,
                window: [1, 1],
                stride: [1, 1],
                pad: [0, 0],
                out_height: 1,
                out_width: 1,
            },
            depthwise: false,
            weights: Weights {
                data,
                scale,
                bias: bias.map(String::as_str),
            },
        })
    }

    /// Of dequantized constant weights: shape, integers minus their zero point,
    /// and one scale for each output along `axis`.
    fn weights(&self, name: &str, axis: usize) -> Option<(Vec<usize>, Vec<i8>, Vec<f32>)> {
        let node = self.producers.get(name)?;
        if node.op_type != "DequantizeLinear"
            || node.attribute("block_size").is_some_and(|a| a.i != 0)
        {
            return None;
        }
        let tensor = self.tensor(node.input.first()?)?;
        let shape = tensor.shape().to_vec();
        let outputs = *shape.get(axis)?;
        let scale = self.numbers::<f32>(node.input.get(1)?)?;
        let zero = match node.input.get(2).filter(|name| !name.is_empty()) {
            Some(name) => {
                let zero = self.tensor(name)?.cast_to::<i32>().ok()?.into_owned();
                zero.try_as_plain_ram()
                    .ok()?
                    .as_slice::<i32>()
                    .ok()?
                    .to_vec()
            }
            None => vec![0],
        };
        if scale.len() > 1 || zero.len() > 1 {
            let given = node.attribute("axis").map_or(1, |a| a.i);
            let rank = shape.len() as i64;
            if (given + rank) % rank != axis as i64 {
                return None;
            }
        }
        if ![1, outputs].contains(&scale.len())
            || ![1, outputs].contains(&zero.len())
            || !scale.iter().all(|s| s.is_normal() && *s > 0.0)
            || ![i8::datum_type(), u8::datum_type()].contains(&tensor.datum_type())
        {
            return None;
        }
        let wide = tensor.cast_to::<i32>().ok()?;
        let wide = wide.try_as_plain_ram().ok()?;
        let after: usize = shape[axis + 1..].iter().product();
        let data = wide
            .as_slice::<i32>()
            .ok()?
            .iter()
            .enumerate()
            .map(|(at, w)| {
                let output = at / after % outputs;
                i8::try_from(w - zero[if zero.len() == 1 { 0 } else { output }]).ok()
            })
            .collect::<Option<Vec<_>>>()?;
        let scale = (0..outputs)
            .map(|output| scale[if scale.len() == 1 { 0 } else { output }])
            .collect();
        Some((shape, data, scale))
    }

    /// A bias in whole accumulator steps, and the remainder in the layer's
    /// float unit. `unit` is one accumulator step, output by output.
    fn bias(&self, name: Option<&str>, unit: &[f64]) -> Option<(Vec<i32>, Vec<f64>)> {
        let none = vec![0.0; unit.len()];
        let Some(name) = name.filter(|name| !name.is_empty()) else {
            return Some((vec![0; unit.len()], none));
        };
        if let Some(node) = self.producers.get(name)
            && node.op_type == "DequantizeLinear"
        {
            let steps = self.numbers::<i32>(node.input.first()?)?;
            let scale = self.numbers::<f32>(node.input.get(1)?)?;
            let zero_is_none = match node.input.get(2).filter(|name| !name.is_empty()) {
                Some(name) => self.numbers::<i32>(name)?.iter().all(|zero| *zero == 0),
                None => true,
            };
            if steps.len() != unit.len() || ![1, unit.len()].contains(&scale.len()) || !zero_is_none
            {
                return None;
            }
            let scale = |output: usize| f64::from(scale[if scale.len() == 1 { 0 } else { output }]);
            // The standard requires s_x * s_w, which tools compute in f32.
            let alike = |output: usize| {
                (scale(output) / unit[output] - 1.0).abs() < 4.0 * f64::from(f32::EPSILON)
            };
            if (0..unit.len()).all(alike) {
                return Some((steps, none));
            }
            let offset = (0..unit.len()).map(|output| f64::from(steps[output]) * scale(output));
            return Some((vec![0; unit.len()], offset.collect()));
        }
        let bias = self.numbers::<f32>(name)?;
        (bias.len() == unit.len()).then(|| {
            (
                vec![0; unit.len()],
                bias.iter().map(|b| f64::from(*b)).collect(),
            )
        })
    }

    fn draft(
        &self,
        name: String,
        layer: Layer<'a>,
        to: Quantization,
        range: Range,
    ) -> Option<Draft> {
        let (shape, operation) = match layer {
            Layer::Convolution {
                x,
                geometry,
                depthwise,
                weights,
            } => {
                let unit = steps(&weights, x);
                let (bias, offset) = self.bias(weights.bias, &unit)?;
                // In f32 and in this order, as ONNX Runtime does for
                // QLinearConv: then both give the same bytes.
                let scale = weights.scale.iter();
                let scale = scale.map(|w| x.from.scale * w / to.scale).collect();
                let offset = offset.iter();
                let offset = offset.map(|offset| (offset / f64::from(to.scale)) as f32);
                let requantizer = Requantizer::new(
                    &weights.data,
                    x.from.zero,
                    &bias,
                    scale,
                    offset.collect(),
                    to.zero,
                    range,
                )?;
                let shape = [
                    geometry.out_height,
                    geometry.out_width,
                    requantizer.outputs(),
                ];
                let (input, input_zero, weights) = (x.value, x.from.zero, weights.data);
                let operation = if depthwise {
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
                (shape, operation)
            }
            Layer::Add([a, b]) => (
                self.drafts[a.value].shape,
                Operation::Add {
                    inputs: [a.value, b.value],
                    from: [a.from, b.from],
                    to,
                    range,
                },
            ),
            Layer::Mean(x) => {
                let [height, width, channels] = self.drafts[x.value].shape;
                let pool = Pool::new(height * width, channels, x.from, to, range)?;
                let operation = Operation::Pool {
                    input: x.value,
                    pool,
                };
                ([1, 1, channels], operation)
            }
        };
        Some(Draft {
            name,
            shape,
            operation,
        })
    }

    /// A layer of one position whose numbers are not quantized again.
    fn linear(&self, x: &str) -> Option<(Exit, Rank)> {
        let (
            Layer::Convolution {
                x,
                geometry,
                depthwise: false,
                weights,
            },
            rank,
        ) = self.layer(x)?
        else {
            return None;
        };
        if !geometry.is_pointwise() || (geometry.height, geometry.width) != (1, 1) {
            return None;
        }
        let unit = steps(&weights, x);
        let (bias, offset) = self.bias(weights.bias, &unit)?;
        let scale: Vec<f32> = unit.iter().map(|unit| *unit as f32).collect();
        let offset: Vec<f32> = offset.iter().map(|offset| *offset as f32).collect();
        let folded = Requantizer::new(
            &weights.data,
            x.from.zero,
            &bias,
            scale.clone(),
            offset.clone(),
            0,
            0..=255,
        )?;
        let exit = Exit::Linear {
            value: x.value,
            weights: weights.data,
            bias: folded.into_bias(),
            scale,
            offset,
        };
        Some((exit, rank))
    }

    /// Splits the graph into the program and the rest that the outputs need.
    fn finish(self, isa: Isa) -> Option<Fused> {
        let mut outputs = Vec::new();
        let mut exits = Vec::new();
        let mut kept = HashSet::new();
        let mut seen = HashSet::new();
        // The last one is popped first: outputs keep the file's order.
        let outputs_of_graph = self.proto.output.iter().rev();
        let mut open: Vec<&str> = outputs_of_graph.map(|o| o.name.as_str()).collect();
        while let Some(name) = open.pop() {
            if !seen.insert(name) {
                continue;
            }
            let exit = match self.floats.get(name) {
                Some(&Float { value, from, rank }) => {
                    Some((Exit::Dequantize { value, from }, rank))
                }
                None => self.linear(name),
            };
            if let Some((exit, rank)) = exit {
                let [height, width, channels] = match &exit {
                    Exit::Dequantize { value, .. } => self.drafts[*value].shape,
                    Exit::Linear { bias, .. } => [1, 1, bias.len()],
                };
                let shape = match rank {
                    Rank::Picture => vec![1, channels, height, width],
                    Rank::Row => vec![1, channels],
                };
                outputs.push((name.to_owned(), shape));
                exits.push(exit);
            } else if let Some(node) = self.producers.get(name) {
                kept.insert(std::ptr::from_ref::<NodeProto>(node));
                open.extend(
                    node.input
                        .iter()
                        .map(String::as_str)
                        .filter(|i| !i.is_empty()),
                );
            }
        }
        // Steps that no output needs are not computed.
        let mut needed = vec![false; self.drafts.len()];
        for exit in &exits {
            needed[exit.value()] = true;
        }
        for index in (0..self.drafts.len()).rev() {
            if needed[index] {
                for &input in self.drafts[index].operation.inputs() {
                    needed[input] = true;
                }
            }
        }
        let mut places = Vec::with_capacity(needed.len());
        let mut count = 0;
        for &needed in &needed {
            places.push(count);
            count += usize::from(needed);
        }
        let layers = self.drafts.iter().zip(&needed).filter(|(draft, needed)| {
            **needed && !matches!(draft.operation, Operation::Quantize { .. })
        });
        if layers.count() == 0 {
            return None;
        }
        let mut drafts = Vec::with_capacity(count);
        for (mut draft, needed) in self.drafts.into_iter().zip(needed) {
            if needed {
                for input in draft.operation.inputs_mut() {
                    *input = places[*input];
                }
                drafts.push(draft);
            }
        }
        for exit in &mut exits {
            let value = exit.value_mut();
            *value = places[*value];
        }
        let nodes = self.proto.node.iter().enumerate();
        let rest = nodes
            .filter(|(_, node)| kept.contains(&std::ptr::from_ref(*node)))
            .map(|(index, _)| index)
            .collect();
        Some(Fused {
            program: Program::new(isa, drafts, exits),
            input: self.input.to_owned(),
            outputs,
            rest,
        })
    }
}

/// One accumulator step of each output: `s_x * s_w`.
fn steps(weights: &Weights<'_>, x: Float) -> Vec<f64> {
    let steps = weights.scale.iter();
    steps
        .map(|scale| f64::from(*scale) * f64::from(x.from.scale))
        .collect()
}

/// A list of `count` whole numbers, each `default` if the node has none.
fn ints(node: &NodeProto, key: &str, count: usize, default: usize) -> Option<Vec<usize>> {
    match node.attribute(key) {
        Some(a) => {
            let list: Option<Vec<_>> = a.ints.iter().map(|i| usize::try_from(*i).ok()).collect();
            list.filter(|list| list.len() == count && list.iter().all(|i| *i < 1 << 16))
        }
        None => Some(vec![default; count]),
    }
}
