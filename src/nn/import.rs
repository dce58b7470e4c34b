//! Turns an ONNX graph into a model of tract, for networks, or parts of them,
//! that do not run in integers.
//!
//! It supports the operators that networks for pictures use; an error names any
//! other operator. tract's own reader, tract-onnx, supports more, but it also
//! links tract's own file format and Fourier transforms. They register
//! themselves when the process starts, so a linker cannot remove them: 10 MB of
//! a binary for a small board. Each operator here is built in the same way as
//! in tract-onnx.

use std::collections::HashMap;

use tract_core::internal::*;
use tract_core::ops::array::{Pad, PadMode, StridedSlice};
use tract_core::ops::binary::{BinMiniOp, TypedBinOp};
use tract_core::ops::cast::{cast, wire_cast};
use tract_core::ops::change_axes::{wire_rank_broadcast, wire_with_rank_broadcast};
use tract_core::ops::cnn::{PaddingSpec, PoolSpec};
use tract_core::ops::einsum::EinSum;
use tract_core::ops::nn::DataFormat;
use tract_core::ops::quant::{DequantizeLinearF32, quantize_linear_i8, quantize_linear_u8};
use tract_core::ops::{math, nn as core_nn};
use tract_hir::ops::expandable::Expansion;
use tract_hir::ops::{activations, array, cnn, matmul, nn};

use super::onnx::{GraphProto, NodeProto, datum_type};
use super::op::IntegerNetwork;
use super::refusal::{OrRefuse, Refusal, Result, refuse, require};

/// tract's model of a graph with an f32 input of `shape`. The node of the type
/// [`IntegerNetwork::NAME`], if there is one, runs `integers`.
pub fn import(
    graph: &GraphProto,
    opset: i64,
    shape: [usize; 4],
    integers: Option<&IntegerNetwork>,
) -> Result<TypedModel> {
    let mut import = Import {
        model: TypedModel::default(),
        opset,
        values: HashMap::new(),
        integers,
    };
    for tensor in &graph.initializer {
        let constant = import.model.add_const(&*tensor.name, tensor.tensor()?)?;
        import.values.insert(tensor.name.clone(), constant);
    }
    for input in &graph.input {
        if !import.values.contains_key(&input.name) {
            let source = import.model.add_source(&*input.name, f32::fact(shape))?;
            import.values.insert(input.name.clone(), source);
        }
    }
    for (index, node) in graph.node.iter().enumerate() {
        let mut name = node.title().to_owned();
        if import.model.nodes.iter().any(|other| other.name == name) {
            name = format!("{name}#{index}");
        }
        let outputs = import.wire(&name, node).map_err(|Refusal(reason)| {
            Refusal(format!(
                "node {} ({}): {reason}",
                node.title(),
                node.op_type
            ))
        })?;
        for (output, outlet) in node.output.iter().zip(outputs) {
            import.values.insert(output.clone(), outlet);
        }
    }
    let outputs = graph.output.iter().map(|output| import.value(&output.name));
    let outputs: Vec<_> = outputs.collect::<Result<_>>()?;
    import.model.select_output_outlets(&outputs)?;
    Ok(import.model)
}

/// The sides of a tensor, for a text.
pub fn sides(shape: &[TDim]) -> String {
    let sides: Vec<_> = shape.iter().map(ToString::to_string).collect();
    sides.join(", ")
}

type Outlets = TVec<OutletId>;

struct Import<'a> {
    model: TypedModel,
    opset: i64,
    /// The model's outlet for each tensor of the graph.
    values: HashMap<String, OutletId>,
    integers: Option<&'a IntegerNetwork>,
}

impl Import<'_> {
    fn value(&self, name: &str) -> Result<OutletId> {
        let value = self.values.get(name).copied();
        value.or_refuse(|| format!("no node before it computes the tensor {name}"))
    }

    /// An input that may be left out.
    fn option(&self, node: &NodeProto, index: usize) -> Result<Option<OutletId>> {
        let name = node.input.get(index).filter(|name| !name.is_empty());
        name.map(|name| self.value(name)).transpose()
    }

    /// Whole numbers that newer models have as an input and older ones as an
    /// attribute.
    fn integers(
        &self,
        node: &NodeProto,
        index: usize,
        attribute: &str,
    ) -> Result<Option<Vec<i64>>> {
        let Some(input) = self.option(node, index)? else {
            return Ok(node.ints(attribute).map(<[i64]>::to_vec));
        };
        let tensor = self.constant(input)?.cast_to::<i64>()?.into_owned();
        Ok(Some(tensor.try_as_plain_ram()?.as_slice::<i64>()?.to_vec()))
    }

    fn constant(&self, outlet: OutletId) -> Result<Arc<Tensor>> {
        let fact = self.model.outlet_fact(outlet)?;
        let value = fact.konst.clone();
        value.or_refuse(|| {
            let name = &self.model.node(outlet.node).name;
            format!("{name} must be a constant")
        })
    }

    fn rank(&self, outlet: OutletId) -> Result<usize> {
        Ok(self.model.outlet_fact(outlet)?.rank())
    }

    fn element(&self, outlet: OutletId) -> Result<DatumType> {
        Ok(self.model.outlet_fact(outlet)?.datum_type)
    }

    /// Counts an axis from the front.
    fn axis(&self, of: OutletId, axis: i64) -> Result<usize> {
        let rank = self.rank(of)?;
        let front = if axis < 0 { axis + rank as i64 } else { axis };
        let found = usize::try_from(front).ok().filter(|axis| *axis < rank);
        found.or_refuse(|| format!("there is no axis {axis} in a tensor of {rank}"))
    }

    fn unary(&mut self, name: &str, op: impl Into<Box<dyn TypedOp>>, x: &[OutletId]) -> Wired {
        Ok(self.model.wire_node(name, op, &x[..1])?)
    }

    fn expand(&mut self, name: &str, op: &impl Expansion, inputs: &[OutletId]) -> Wired {
        Ok(op.wire(name, &mut self.model, inputs)?)
    }

    /// An operator on two tensors, or on several, one after the other.
    fn binary(&mut self, name: &str, op: impl BinMiniOp + Clone, inputs: &[OutletId]) -> Wired {
        let mut left = inputs[0];
        for (index, &right) in inputs.iter().enumerate().skip(1) {
            let name = match index {
                1 => name.to_owned(),
                _ => format!("{name}.{index}"),
            };
            let element = op.operating_datum_type(self.element(left)?, self.element(right)?)?;
            let both = wire_rank_broadcast(&name, &mut self.model, &[left, right])?;
            let both = wire_cast(&name, &mut self.model, &both, element)?;
            let op = TypedBinOp(Box::new(op.clone()), None);
            left = self.model.wire_node(name, op, &both)?[0];
        }
        Ok(tvec![left])
    }

    fn wire(&mut self, name: &str, node: &NodeProto) -> Wired {
        require!(
            matches!(node.domain.as_str(), "" | "ai.onnx") || self.is_ours(node),
            "operators of {} are not supported (ONNX Runtime adds its own when it optimizes a \
             model: export the model without optimization)",
            node.domain
        );
        let inputs = node.input.iter().filter(|name| !name.is_empty());
        let x: Result<Outlets> = inputs.map(|name| self.value(name)).collect();
        let x = x?;
        let least = match node.op_type.as_str() {
            "Constant" => 0,
            "Add" | "Sub" | "Mul" | "Div" | "Pow" | "MatMul" | "Gemm" | "Conv" | "Reshape"
            | "Gather" | "Expand" | "PRelu" | "QuantizeLinear" | "DequantizeLinear" => 2,
            "BatchNormalization" => 5,
            _ => 1,
        };
        require!(
            x.len() >= least,
            "it has {} inputs and needs {least}",
            x.len()
        );
        match node.op_type.as_str() {
            IntegerNetwork::NAME => {
                let op = self
                    .integers
                    .or_refuse(|| "this network has no integer part")?
                    .clone();
                Ok(self.model.wire_node(name, op, &x)?)
            }
            "Constant" => self.constant_node(name, node),
            "Identity" | "Dropout" => Ok(tvec![x[0]]),
            "Cast" => {
                let to = datum_type(node.int("to", 0) as i32)?;
                self.unary(name, cast(to), &x)
            }

            "Add" | "Sum" => self.binary(name, math::Add, &x),
            "Sub" => self.binary(name, math::Sub, &x),
            "Mul" => self.binary(name, math::Mul, &x),
            "Div" => self.binary(name, math::Div, &x),
            "Pow" => self.binary(name, math::Pow, &x),
            "Max" => self.binary(name, math::Max, &x),
            "Min" => self.binary(name, math::Min, &x),
            "Abs" => self.unary(name, math::abs(), &x),
            "Neg" => self.unary(name, math::neg(), &x),
            "Exp" => self.unary(name, math::exp(), &x),
            "Log" => self.unary(name, math::ln(), &x),
            "Sqrt" => self.unary(name, math::sqrt(), &x),
            "Reciprocal" => self.unary(name, math::recip(), &x),
            "Floor" => self.unary(name, math::floor(), &x),
            "Ceil" => self.unary(name, math::ceil(), &x),
            "Erf" => self.unary(name, math::erf(), &x),
            "Tanh" => self.unary(name, math::tanh(), &x),
            "Sigmoid" => self.unary(name, core_nn::sigmoid(), &x),
            "HardSwish" => self.unary(name, core_nn::hard_swish(), &x),
            "Swish" => self.unary(name, core_nn::silu::silu(), &x),
            "Relu" => self.expand(name, &activations::Clip::new(Some(0.0), None), &x),
            "Clip" => self.clip(name, node, &x),
            "LeakyRelu" => {
                let op = activations::LeakyRelu(node.float("alpha", 0.01));
                self.expand(name, &op, &x)
            }
            "Elu" => self.expand(name, &activations::Elu(node.float("alpha", 1.0)), &x),
            "HardSigmoid" => {
                let (alpha, beta) = (node.float("alpha", 0.2), node.float("beta", 0.5));
                self.expand(name, &activations::HardSigmoid(alpha, beta), &x)
            }
            "Softplus" => self.expand(name, &activations::Softplus, &x),
            "PRelu" => self.prelu(name, &x),

            "Conv" => self.conv(name, node, &x),
            "MatMul" => {
                // A row of numbers on the right stands for a column.
                let sides = [self.rank(x[0])?, self.rank(x[1])?];
                require!(
                    !sides.contains(&0),
                    "a single number cannot be multiplied as a matrix"
                );
                self.check_product(&x, [sides[0] - 1, sides[1].saturating_sub(2)])?;
                self.expand(name, &matmul::MatMulInference::default(), &x)
            }
            "Gemm" => self.gemm(name, node, &x),
            "BatchNormalization" => self.batch_normalization(name, node, &x),
            "AveragePool" => {
                let with_pad = node.int("count_include_pad", 0) == 1;
                let op = cnn::HirSumPool::new(pool(node, self.rank(x[0])?)?, with_pad, true);
                self.expand(name, &op, &x)
            }
            "MaxPool" => self.expand(
                name,
                &cnn::HirMaxPool::new(pool(node, self.rank(x[0])?)?, None),
                &x,
            ),
            "GlobalAveragePool" => self.expand(name, &nn::GlobalAvgPool, &x),
            "GlobalMaxPool" => self.expand(name, &nn::GlobalMaxPool, &x),
            "ReduceMean" => self.reduce(name, node, &x, nn::Reducer::Mean),
            "ReduceSum" => self.reduce(name, node, &x, nn::Reducer::Sum),
            "ReduceMax" => self.reduce(name, node, &x, nn::Reducer::Max),
            "ReduceMin" => self.reduce(name, node, &x, nn::Reducer::Min),
            "Softmax" if self.opset < 13 => {
                let op = nn::LayerSoftmax::new(node.int("axis", 1) as isize, true);
                self.expand(name, &op, &x)
            }
            "Softmax" => {
                let op = nn::Softmax::new(node.int("axis", -1) as isize);
                self.expand(name, &op, &x)
            }

            "Shape" => self.expand(name, &array::Shape::new(i64::datum_type()), &x),
            "Flatten" => self.expand(name, &array::Flatten::new(node.int("axis", 1)), &x),
            "Reshape" => {
                let op = array::Reshape::new(node.int("allowzero", 0) != 0);
                self.expand(name, &op, &x)
            }
            "Transpose" => {
                let order = node.ints("perm");
                let order = order.map(|order| order.iter().map(|&axis| axis as usize).collect());
                self.expand(name, &array::PermuteAxes::new(order), &x)
            }
            "Squeeze" => self.squeeze(name, node, &x),
            "Unsqueeze" => {
                let axes = self
                    .integers(node, 1, "axes")?
                    .or_refuse(|| "it names no axes")?;
                let axes = axes.into_iter().map(|axis| axis as isize).collect();
                self.expand(name, &array::AddDims::new(axes), &x[..1])
            }
            "Concat" => self.expand(name, &array::Concat::new(node.int("axis", 0)), &x),
            "Split" => self.split(name, node, &x),
            "Slice" => self.slice(name, node, &x),
            "Gather" => self.expand(name, &array::Gather::new(node.int("axis", 0)), &x),
            "Expand" => self.expand(name, &array::MultiBroadcastTo, &x),
            "Pad" => self.pad(name, node, &x),

            "QuantizeLinear" => self.quantize(name, node, &x),
            "DequantizeLinear" => self.dequantize(name, node, &x),
            _ => refuse!(
                "this operator is not supported; models/README.md lists the supported ones; a \
                 simplified export (onnxsim) often needs no others"
            ),
        }
    }

    fn is_ours(&self, node: &NodeProto) -> bool {
        self.integers.is_some() && node.op_type == IntegerNetwork::NAME
    }

    fn constant_node(&mut self, name: &str, node: &NodeProto) -> Wired {
        let attribute = node.attribute.first().or_refuse(|| "it has no value")?;
        let value = match (attribute.name.as_str(), &attribute.t) {
            ("value", Some(tensor)) => tensor.tensor()?,
            ("value_float", _) => tensor0(attribute.f),
            ("value_floats", _) => tensor1(&attribute.floats),
            ("value_int", _) => tensor0(attribute.i),
            ("value_ints", _) => tensor1(&attribute.ints),
            (other, _) => refuse!("a {other} is not supported"),
        };
        Ok(tvec![self.model.add_const(name, value)?])
    }

    fn clip(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        if self.opset < 11 {
            let bound = |key| node.attribute(key).map(|a| a.f);
            return self.expand(name, &activations::Clip::new(bound("min"), bound("max")), x);
        }
        let mut wire = tvec![x[0]];
        let element = self.element(x[0])?;
        for (index, key, op) in [(1, "min", math::max()), (2, "max", math::min())] {
            if let Some(bound) = self.option(node, index)? {
                let name = format!("{name}.{key}");
                let bound = wire_cast(&name, &mut self.model, &[bound], element)?[0];
                wire = wire_with_rank_broadcast(name, &mut self.model, op, &[wire[0], bound])?;
            }
        }
        Ok(wire)
    }

    /// `max(x, 0) + slope * min(x, 0)`
    fn prelu(&mut self, name: &str, x: &[OutletId]) -> Wired {
        let zero = Tensor::zero_scalar_dt(self.element(x[0])?)?;
        let zero = self.model.add_const(format!("{name}.zero"), zero)?;
        let above = self.binary(&format!("{name}.above"), math::Max, &[x[0], zero])?[0];
        let below = self.binary(&format!("{name}.below"), math::Min, &[x[0], zero])?[0];
        let slope = self.binary(&format!("{name}.slope"), math::Mul, &[x[1], below])?[0];
        self.binary(name, math::Add, &[above, slope])
    }

    fn conv(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let rank = self.rank(x[0])?;
        check_window(node, rank)?;
        let kernel = self.model.outlet_fact(x[1])?.shape.to_tvec();
        let sizes: Option<TVec<i64>> = kernel.iter().map(|d| d.to_i64().ok()).collect();
        let sizes = sizes.or_refuse(|| "the sizes of its kernel are not known")?;
        let group = node.int("group", 1);
        let channels = &self.model.outlet_fact(x[0])?.shape[1];
        require!(
            sizes.len() == rank && sizes.iter().all(|size| (1..=LARGEST as i64).contains(size)),
            "a kernel of {sizes:?} does not suit a tensor of {rank} axes"
        );
        require!(
            (1..=LARGEST as i64).contains(&group)
                && sizes[0] % group == 0
                && *channels == TDim::from(sizes[1] * group),
            "a kernel of {sizes:?} in {group} groups does not suit {channels} channels"
        );
        let mut op = cnn::Conv::default().padding(padding(node, false)?);
        op.kernel_shape = node.sizes("kernel_shape")?;
        op.strides = node.sizes("strides")?;
        op.dilations = node.sizes("dilations")?;
        op.group = Some(usize::try_from(node.int("group", 1))?);
        op.bias_input = (x.len() == 3).then_some(2);
        self.expand(name, &op, x)
    }

    /// Refuses two matrices whose summed axes differ in length: tract
    /// multiplies some of them without an error.
    fn check_product(&self, x: &[OutletId], axes: [usize; 2]) -> Result<()> {
        let left = &self.model.outlet_fact(x[0])?.shape;
        let right = &self.model.outlet_fact(x[1])?.shape;
        require!(
            left[axes[0]] == right[axes[1]],
            "a matrix with the sides [{}] cannot be multiplied by one with [{}]; export the model \
             again, for the size of input that its manifest gives",
            sides(left),
            sides(right)
        );
        Ok(())
    }

    fn gemm(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let transposed = |key| node.int(key, 0) != 0;
        for matrix in &x[..2] {
            let rank = self.rank(*matrix)?;
            require!(rank == 2, "a tensor of {rank} axes is not a matrix");
        }
        let summed = [!transposed("transA"), transposed("transB")];
        self.check_product(x, summed.map(usize::from))?;
        let axes =
            AxesMapping::for_numpy_matmul(2, transposed("transA"), transposed("transB"), false)?;
        let element = self.element(x[0])?;
        let product = format!("{name}.product");
        let product = self
            .model
            .wire_node(product, EinSum::new(axes, element), &x[..2])?[0];
        let alpha = node.float("alpha", 1.0);
        let product = self.times(&format!("{name}.alpha"), alpha, product)?;
        let Some(&c) = x.get(2) else {
            return Ok(tvec![product]);
        };
        let c = self.times(&format!("{name}.beta"), node.float("beta", 1.0), c)?;
        self.binary(name, math::Add, &[product, c])
    }

    /// A tensor with the element type of another: a network of float16 stays one.
    fn like(&self, tensor: Tensor, other: OutletId) -> Result<Tensor> {
        Ok(tensor.cast_to_dt(self.element(other)?)?.into_owned())
    }

    fn times(&mut self, name: &str, factor: f32, x: OutletId) -> Result<OutletId> {
        if factor == 1.0 {
            return Ok(x);
        }
        let factor = self.like(tensor0(factor), x)?;
        let factor = self.model.add_const(format!("{name}.factor"), factor)?;
        Ok(self.binary(name, math::Mul, &[factor, x])?[0])
    }

    fn batch_normalization(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let epsilon = node.float("epsilon", 1e-5);
        let mut rows = Vec::new();
        for &row in &x[1..5] {
            let tensor = self.constant(row)?.cast_to::<f32>()?.into_owned();
            rows.push(tensor.try_as_plain_ram()?.as_slice::<f32>()?.to_vec());
        }
        let [scale, shift, mean, variance] = rows.as_slice() else {
            unreachable!("four rows were taken");
        };
        let mut factors = Vec::new();
        let mut summands = Vec::new();
        for (((&scale, &shift), &mean), &variance) in
            scale.iter().zip(shift).zip(mean).zip(variance)
        {
            let deviation = (variance + epsilon).sqrt();
            factors.push(scale / deviation);
            summands.push(shift - (mean * scale) / deviation);
        }
        let mut shape = vec![1; self.rank(x[0])?];
        *shape.get_mut(1).or_refuse(|| "its input has no channels")? = factors.len();
        let factors = self.like(tensor1(&factors).into_shape(&shape)?, x[0])?;
        let summands = self.like(tensor1(&summands).into_shape(&shape)?, x[0])?;
        let factors = self.model.add_const(format!("{name}.factors"), factors)?;
        let summands = self.model.add_const(format!("{name}.summands"), summands)?;
        let product = self.binary(&format!("{name}.product"), math::Mul, &[x[0], factors])?[0];
        self.binary(name, math::Add, &[product, summands])
    }

    fn reduce(
        &mut self,
        name: &str,
        node: &NodeProto,
        x: &[OutletId],
        reducer: nn::Reducer,
    ) -> Wired {
        let keep = node.int("keepdims", 1) != 0;
        let mut axes = self
            .integers(node, 1, "axes")?
            .filter(|axes| !axes.is_empty());
        if axes.is_none() && node.int("noop_with_empty_axes", 0) != 0 {
            axes = Some(vec![]);
        }
        self.expand(name, &nn::Reduce::new(axes, keep, reducer), &x[..1])
    }

    fn squeeze(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let axes = match self.integers(node, 1, "axes")? {
            Some(axes) => axes.into_iter().map(|axis| axis as isize).collect(),
            None => {
                let shape = &self.model.outlet_fact(x[0])?.shape;
                let ones = shape.iter().enumerate().filter(|(_, side)| side.is_one());
                ones.map(|(axis, _)| axis as isize).collect()
            }
        };
        self.expand(name, &array::Squeeze::new(Some(axes)), &x[..1])
    }

    fn split(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let parts = self.integers(node, 1, "split")?;
        let parts = parts.map(|parts| parts.iter().map(|&part| part as usize).collect());
        let op = array::Split::new(node.int("axis", 0) as isize, node.output.len(), parts);
        self.expand(name, &op, &x[..1])
    }

    fn slice(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let starts = self
            .integers(node, 1, "starts")?
            .or_refuse(|| "it has no starts")?;
        let ends = self
            .integers(node, 2, "ends")?
            .or_refuse(|| "it has no ends")?;
        let axes = match self.integers(node, 3, "axes")? {
            Some(axes) => axes,
            None => (0..starts.len() as i64).collect(),
        };
        let steps = match self.integers(node, 4, "steps")? {
            Some(steps) => steps,
            None => vec![1; starts.len()],
        };
        let mut inputs = tvec![x[0]];
        for (key, numbers) in [
            ("starts", starts),
            ("ends", ends),
            ("axes", axes),
            ("steps", steps),
        ] {
            inputs.push(
                self.model
                    .add_const(format!("{name}.{key}"), tensor1(&numbers))?,
            );
        }
        let op = StridedSlice {
            begin_mask: 0,
            end_mask: 0,
            shrink_axis_mask: 0,
            optional_axes_input: Some(3),
            optional_steps_input: Some(4),
        };
        Ok(self.model.wire_node(name, op, &inputs)?)
    }

    fn pad(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let sides = self
            .integers(node, 1, "pads")?
            .or_refuse(|| "it has no pads")?;
        let mode = match node.attribute("mode").map(|mode| mode.s.as_slice()) {
            None | Some(b"constant") => {
                let value = match self.option(node, 2)? {
                    Some(value) => self.constant(value)?.cast_to_scalar::<f32>()?,
                    None => node.float("value", 0.0),
                };
                PadMode::Constant(rctensor0(value))
            }
            Some(b"reflect") => PadMode::Reflect,
            Some(b"edge") => PadMode::Edge,
            Some(other) => refuse!(
                "the mode {} is not supported",
                String::from_utf8_lossy(other)
            ),
        };
        let mut pads = vec![(0, 0); self.rank(x[0])?];
        let axes = match self.integers(node, 3, "axes")? {
            Some(axes) => axes,
            None => (0..pads.len() as i64).collect(),
        };
        require!(
            sides.len() == 2 * axes.len(),
            "it pads {} sides",
            sides.len()
        );
        let (before, after) = sides.split_at(axes.len());
        for (axis, (&before, &after)) in axes.iter().zip(before.iter().zip(after)) {
            let axis = self.axis(x[0], *axis)?;
            pads[axis] = (usize::try_from(before)?, usize::try_from(after)?);
        }
        Ok(self.model.wire_node(name, Pad::new(pads, mode), &x[..1])?)
    }

    fn quantize(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let (scale, zero) = self.quantization(node, x)?;
        let element = zero.datum_type();
        if scale.len() == 1 && zero.len() == 1 {
            let step = scale.cast_to_scalar::<f32>()?;
            let scale = step.recip();
            let x = self.limited(name, x[0], step)?;
            return match element {
                DatumType::U8 => {
                    let op = quantize_linear_u8(scale, zero.cast_to_scalar::<u8>()?);
                    self.unary(name, op, &x)
                }
                DatumType::I8 => {
                    let op = quantize_linear_i8(scale, zero.cast_to_scalar::<i8>()?);
                    self.unary(name, op, &x)
                }
                other => refuse!("quantizing to {other:?} is not supported"),
            };
        }
        let (least, most) = match element {
            DatumType::U8 => (0.0f32, 255.0f32),
            DatumType::I8 => (-128.0, 127.0),
            other => refuse!("quantizing to {other:?} is not supported"),
        };
        let (scale, zero) = self.by_channel(name, node, x[0], &scale, &zero)?;
        let steps = self.binary(&format!("{name}.steps"), math::Div, &[x[0], scale])?;
        let round = math::round_half_to_even();
        let steps = self.unary(&format!("{name}.round"), round, &steps)?[0];
        let steps = self.binary(&format!("{name}.shift"), math::Add, &[steps, zero])?[0];
        let steps = self.between(&format!("{name}.range"), steps, least, most)?;
        self.unary(name, cast(element), &steps)
    }

    /// Limits numbers to a safe range: beyond it, tract adds the zero point to
    /// the largest integer, which overflows to the smallest.
    fn limited(&mut self, name: &str, x: OutletId, step: f32) -> Wired {
        const STEPS: f32 = 1e6;
        let (least, most) = (-(step.abs() * STEPS), step.abs() * STEPS);
        if self.element(x)? != DatumType::F32 {
            return Ok(tvec![x]);
        }
        self.between(&format!("{name}.limit"), x, least, most)
    }

    fn between(&mut self, name: &str, x: OutletId, least: f32, most: f32) -> Wired {
        let least = self
            .model
            .add_const(format!("{name}.least"), tensor0(least))?;
        let most = self
            .model
            .add_const(format!("{name}.most"), tensor0(most))?;
        let x = self.binary(&format!("{name}.max"), math::Max, &[x, least])?[0];
        self.binary(&format!("{name}.min"), math::Min, &[x, most])
    }

    fn dequantize(&mut self, name: &str, node: &NodeProto, x: &[OutletId]) -> Wired {
        let (scale, zero) = self.quantization(node, x)?;
        if scale.len() == 1 && zero.len() == 1 {
            let (scale, zero) = (scale.cast_to_scalar()?, zero.cast_to_scalar()?);
            return self.unary(name, DequantizeLinearF32::new(scale, zero), x);
        }
        let (scale, zero) = self.by_channel(name, node, x[0], &scale, &zero)?;
        let wide = self.unary(&format!("{name}.wide"), cast(f32::datum_type()), x)?[0];
        let steps = self.binary(&format!("{name}.shift"), math::Sub, &[wide, zero])?[0];
        self.binary(name, math::Mul, &[steps, scale])
    }

    fn quantization(&self, node: &NodeProto, x: &[OutletId]) -> Result<(Arc<Tensor>, Arc<Tensor>)> {
        require!(
            node.int("block_size", 0) == 0,
            "one scale for each block is not supported"
        );
        let zero = self.option(node, 2)?.map(|zero| self.constant(zero));
        let zero = zero.unwrap_or_else(|| Ok(rctensor0(0u8)))?;
        Ok((self.constant(x[1])?, zero))
    }

    /// Scales and zero points of single channels, in the shape that spreads them
    /// over a tensor.
    fn by_channel(
        &mut self,
        name: &str,
        node: &NodeProto,
        x: OutletId,
        scale: &Tensor,
        zero: &Tensor,
    ) -> Result<(OutletId, OutletId)> {
        let axis = self.axis(x, node.int("axis", 1))?;
        let mut spread = |key, tensor: &Tensor| -> Result<OutletId> {
            let mut shape = vec![1; self.rank(x)?];
            shape[axis] = tensor.len();
            let tensor = tensor.cast_to::<f32>()?.into_owned().into_shape(&shape)?;
            Ok(self.model.add_const(format!("{name}.{key}"), tensor)?)
        };
        Ok((spread("scale", scale)?, spread("zero", zero)?))
    }
}

type Wired = Result<Outlets>;

/// The largest size, step or padding of a kernel.
const LARGEST: usize = 1 << 16;

/// Refuses windows on which tract would panic: lists whose length differs from
/// the picture's number of axes, and absurd sizes.
fn check_window(node: &NodeProto, rank: usize) -> Result<()> {
    let axes = rank.saturating_sub(2);
    require!(axes > 0, "a tensor of {rank} axes is not a picture");
    for (key, each, least) in [
        ("kernel_shape", 1, 1),
        ("strides", 1, 1),
        ("dilations", 1, 1),
        ("pads", 2, 0),
    ] {
        if let Some(sizes) = node.sizes(key)? {
            let suits = sizes.len() == each * axes
                && sizes.iter().all(|size| (least..=LARGEST).contains(size));
            require!(
                suits,
                "{key} {sizes:?} does not suit a tensor of {rank} axes"
            );
        }
    }
    Ok(())
}

fn pool(node: &NodeProto, rank: usize) -> Result<PoolSpec> {
    check_window(node, rank)?;
    require!(
        node.output.len() == 1,
        "the indices of a pool are not supported"
    );
    Ok(PoolSpec::new(
        DataFormat::NCHW,
        node.sizes("kernel_shape")?
            .or_refuse(|| "it has no kernel_shape")?,
        padding(node, true)?,
        node.sizes("dilations")?,
        node.sizes("strides")?,
        0,
        0,
    ))
}

fn padding(node: &NodeProto, pool: bool) -> Result<PaddingSpec> {
    let explicit = |before: TVec<usize>, after: TVec<usize>| {
        if pool {
            let ceil = node.int("ceil_mode", 0) == 1;
            PaddingSpec::ExplicitOnnxPool(before, after, ceil)
        } else {
            PaddingSpec::Explicit(before, after)
        }
    };
    if let Some(pads) = node.sizes("pads")? {
        let (before, after) = pads.split_at(pads.len() / 2);
        return Ok(explicit(before.into(), after.into()));
    }
    match node.attribute("auto_pad").map(|auto| auto.s.as_slice()) {
        None | Some(b"NOTSET") => Ok(match node.sizes("kernel_shape")? {
            Some(kernel) => explicit(tvec![0; kernel.len()], tvec![0; kernel.len()]),
            None => PaddingSpec::Valid,
        }),
        Some(b"VALID") => Ok(PaddingSpec::Valid),
        Some(b"SAME_UPPER") => Ok(PaddingSpec::SameUpper),
        Some(b"SAME_LOWER") => Ok(PaddingSpec::SameLower),
        Some(other) => refuse!(
            "auto_pad {} is not supported",
            String::from_utf8_lossy(other)
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nn::onnx::{
        AttributeProto, FLOAT, ModelProto, OperatorSetIdProto, TensorProto, TensorTypeProto,
        TypeProto, ValueInfoProto,
    };
    use prost::Message as _;

    const SHAPE: [usize; 4] = [1, 4, 6, 6];

    enum Value {
        Int(i64),
        Ints(&'static [i64]),
        Float(f32),
        Text(&'static str),
        Tensor(TensorProto),
    }

    use Value::{Float, Int, Ints, Text};

    fn attribute((name, value): &(&str, Value)) -> AttributeProto {
        let mut attribute = AttributeProto {
            name: (*name).into(),
            ..Default::default()
        };
        attribute.r#type = match value {
            Float(f) => {
                attribute.f = *f;
                1
            }
            Int(i) => {
                attribute.i = *i;
                2
            }
            Text(text) => {
                attribute.s = text.as_bytes().to_vec();
                3
            }
            Value::Tensor(tensor) => {
                attribute.t = Some(tensor.clone());
                4
            }
            Ints(ints) => {
                attribute.ints = ints.to_vec();
                7
            }
        };
        attribute
    }

    fn floats(name: &str, dims: &[i64]) -> TensorProto {
        let count = dims.iter().product::<i64>();
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: FLOAT,
            float_data: (0..count)
                .map(|i| (i * 37 % 19) as f32 / 8.0 - 1.0)
                .collect(),
            ..Default::default()
        }
    }

    fn longs(name: &str, numbers: &[i64]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: vec![numbers.len() as i64],
            data_type: 7,
            raw_data: numbers.iter().flat_map(|n| n.to_le_bytes()).collect(),
            ..Default::default()
        }
    }

    fn bytes(name: &str, dims: &[i64], numbers: &[i32]) -> TensorProto {
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: 2,
            int32_data: numbers.to_vec(),
            ..Default::default()
        }
    }

    fn node(op: &str, inputs: &[&str], outputs: &[&str], with: &[(&str, Value)]) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: outputs.iter().map(ToString::to_string).collect(),
            attribute: with.iter().map(attribute).collect(),
            ..Default::default()
        }
    }

    /// A graph from `x` to the first output of its last node.
    fn model(opset: i64, nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
        let value = |name: &str| ValueInfoProto {
            name: name.into(),
            r#type: Some(TypeProto {
                tensor_type: Some(TensorTypeProto {
                    elem_type: FLOAT,
                    shape: None,
                }),
            }),
        };
        ModelProto {
            graph: Some(GraphProto {
                output: vec![value(&nodes.last().unwrap().output[0])],
                node: nodes,
                initializer,
                input: vec![value("x")],
            }),
            opset_import: vec![OperatorSetIdProto {
                domain: String::new(),
                version: opset,
            }],
        }
    }

    fn run(model: TypedModel) -> Tensor {
        let input: Vec<f32> = (0..144).map(|i| (i * 31 % 47) as f32 / 8.0 - 2.5).collect();
        let input = Tensor::from_shape(&SHAPE, &input).unwrap();
        let plan = model.into_optimized().unwrap().into_runnable().unwrap();
        let output = plan.run(tvec![input.into_tvalue()]).unwrap().remove(0);
        output.into_tensor()
    }

    fn ours(model: &ModelProto) -> Result<TypedModel> {
        import(model.graph.as_ref().unwrap(), model.opset(), SHAPE, None)
    }

    /// The same file, read by tract's own reader.
    fn theirs(model: &ModelProto) -> TypedModel {
        use tract_onnx::prelude::*;
        tract_onnx::onnx()
            .model_for_read(&mut &*model.encode_to_vec())
            .unwrap()
            .with_input_fact(0, f32::fact(SHAPE).into())
            .unwrap()
            .into_typed()
            .unwrap()
    }

    #[track_caller]
    fn the_same(opset: i64, nodes: Vec<NodeProto>, constants: Vec<TensorProto>) {
        let model = model(opset, nodes, constants);
        let names: Vec<_> = model.graph.iter().flat_map(|g| &g.node).collect();
        let names: Vec<_> = names.iter().map(|node| node.op_type.as_str()).collect();
        let (ours, theirs) = (run(ours(&model).unwrap()), run(theirs(&model)));
        ours.close_enough(&theirs, Approximation::Exact)
            .unwrap_or_else(|error| panic!("{names:?}: {error:#}"));
    }

    fn one(opset: i64, op: &str, with: &[(&str, Value)]) {
        the_same(opset, vec![node(op, &["x"], &["y"], with)], vec![]);
    }

    #[test]
    fn operators_of_one_tensor_are_as_in_tract_onnx() {
        for op in [
            "Abs",
            "Neg",
            "Exp",
            "Floor",
            "Ceil",
            "Erf",
            "Tanh",
            "Sigmoid",
            "HardSwish",
            "Relu",
            "Softplus",
            "Identity",
            "Dropout",
            "GlobalAveragePool",
            "GlobalMaxPool",
            "Elu",
            "LeakyRelu",
            "HardSigmoid",
            "Softmax",
            "Flatten",
            "Transpose",
            "ReduceMean",
            "ReduceSum",
            "ReduceMax",
            "ReduceMin",
            "Clip",
            "Swish",
        ] {
            one(13, op, &[]);
        }
        one(12, "Softmax", &[("axis", Int(2))]);
        one(13, "Softmax", &[("axis", Int(1))]);
        one(9, "Clip", &[("min", Float(-0.5)), ("max", Float(1.5))]);
        one(13, "LeakyRelu", &[("alpha", Float(0.3))]);
        one(
            13,
            "HardSigmoid",
            &[("alpha", Float(0.3)), ("beta", Float(0.4))],
        );
        one(13, "Flatten", &[("axis", Int(-2))]);
        one(13, "Transpose", &[("perm", Ints(&[0, 2, 3, 1]))]);
        one(
            13,
            "ReduceMean",
            &[("axes", Ints(&[2, -1])), ("keepdims", Int(0))],
        );
        one(11, "Unsqueeze", &[("axes", Ints(&[0]))]);
        one(11, "Squeeze", &[("axes", Ints(&[0]))]);
        one(
            9,
            "Slice",
            &[
                ("axes", Ints(&[2])),
                ("starts", Ints(&[1])),
                ("ends", Ints(&[-1])),
            ],
        );
        one(
            9,
            "Pad",
            &[
                ("pads", Ints(&[0, 0, 1, 2, 0, 0, 3, 0])),
                ("value", Float(0.5)),
            ],
        );
        for mode in ["reflect", "edge"] {
            let pads = Ints(&[0, 0, 1, 2, 0, 0, 3, 0]);
            one(9, "Pad", &[("pads", pads), ("mode", Text(mode))]);
        }
    }

    #[test]
    fn pools_are_as_in_tract_onnx() {
        for op in ["MaxPool", "AveragePool"] {
            let kernel = || ("kernel_shape", Ints(&[3, 2]));
            let strides = || ("strides", Ints(&[2, 2]));
            let pads = || ("pads", Ints(&[1, 0, 1, 1]));
            one(13, op, &[kernel()]);
            one(13, op, &[kernel(), strides(), pads()]);
            one(13, op, &[kernel(), strides(), ("ceil_mode", Int(1))]);
            for auto in ["SAME_UPPER", "SAME_LOWER", "VALID"] {
                one(13, op, &[kernel(), strides(), ("auto_pad", Text(auto))]);
            }
        }
        let with = [
            ("kernel_shape", Ints(&[3, 3])),
            ("pads", Ints(&[1, 1, 1, 1])),
            ("count_include_pad", Int(1)),
        ];
        one(13, "AveragePool", &with);
    }

    #[test]
    fn operators_of_two_tensors_are_as_in_tract_onnx() {
        for op in ["Add", "Sub", "Mul", "Div", "Max", "Min", "Sum"] {
            for dims in [&[4, 1, 1][..], &[1, 4, 6, 6], &[1], &[6]] {
                let nodes = vec![node(op, &["x", "c"], &["y"], &[])];
                the_same(13, nodes, vec![floats("c", dims)]);
            }
        }
        let square = vec![node("Mul", &["x", "x"], &["s"], &[])];
        for op in ["Sqrt", "Log", "Reciprocal"] {
            let mut nodes = square.clone();
            nodes.push(node("Add", &["s", "one"], &["positive"], &[]));
            nodes.push(node(op, &["positive"], &["y"], &[]));
            let mut one = floats("one", &[1]);
            one.float_data = vec![1.0];
            the_same(13, nodes, vec![one]);
        }
        let mut two = floats("two", &[1]);
        two.float_data = vec![2.0];
        the_same(13, vec![node("Pow", &["x", "two"], &["y"], &[])], vec![two]);
        let slope = vec![floats("slope", &[4, 1, 1])];
        the_same(13, vec![node("PRelu", &["x", "slope"], &["y"], &[])], slope);
        let matrix = vec![floats("matrix", &[6, 5])];
        the_same(
            13,
            vec![node("MatMul", &["x", "matrix"], &["y"], &[])],
            matrix,
        );
    }

    #[test]
    fn layers_are_as_in_tract_onnx() {
        let weights = || vec![floats("w", &[6, 4, 3, 3]), floats("b", &[6])];
        for with in [
            vec![],
            vec![("pads", Ints(&[1, 1, 0, 2])), ("strides", Ints(&[2, 1]))],
            vec![("auto_pad", Text("SAME_UPPER")), ("strides", Ints(&[2, 2]))],
            vec![("dilations", Ints(&[2, 2]))],
        ] {
            the_same(
                13,
                vec![node("Conv", &["x", "w"], &["y"], &with)],
                weights(),
            );
            the_same(
                13,
                vec![node("Conv", &["x", "w", "b"], &["y"], &with)],
                weights(),
            );
        }
        let depthwise = [("group", Int(4)), ("kernel_shape", Ints(&[3, 3]))];
        let weights = vec![floats("w", &[4, 1, 3, 3])];
        the_same(
            13,
            vec![node("Conv", &["x", "w"], &["y"], &depthwise)],
            weights,
        );

        let flat = || node("Flatten", &["x"], &["row"], &[]);
        let with = [
            ("alpha", Float(0.5)),
            ("beta", Float(2.0)),
            ("transB", Int(1)),
        ];
        let gemm = node("Gemm", &["row", "w", "b"], &["y"], &with);
        the_same(
            13,
            vec![flat(), gemm],
            vec![floats("w", &[7, 144]), floats("b", &[7])],
        );
        let gemm = node("Gemm", &["row", "w"], &["y"], &[]);
        the_same(13, vec![flat(), gemm], vec![floats("w", &[144, 7])]);

        let mut variance = floats("variance", &[4]);
        variance.float_data = vec![0.5, 1.0, 2.0, 0.0];
        let names = ["x", "scale", "shift", "mean", "variance"];
        let nodes = vec![node(
            "BatchNormalization",
            &names,
            &["y"],
            &[("epsilon", Float(1e-3))],
        )];
        let row = |name| floats(name, &[4]);
        the_same(
            13,
            nodes,
            vec![row("scale"), row("shift"), row("mean"), variance],
        );
    }

    #[test]
    fn changes_of_shape_are_as_in_tract_onnx() {
        let with = |op: &str, name: &str, tensor: TensorProto| {
            the_same(13, vec![node(op, &["x", name], &["y"], &[])], vec![tensor]);
        };
        with("Reshape", "to", longs("to", &[0, -1, 9]));
        with("Unsqueeze", "axes", longs("axes", &[0, -1]));
        with("Squeeze", "axes", longs("axes", &[0]));
        with("ReduceSum", "axes", longs("axes", &[1, 2]));
        with("Expand", "to", longs("to", &[3, 4, 6, 6]));
        with("Gather", "which", longs("which", &[0]));
        with("Pad", "pads", longs("pads", &[0, 0, 1, 2, 0, 0, 3, 0]));
        one(13, "Squeeze", &[]);

        let slice = |names: &[&str]| vec![node("Slice", names, &["y"], &[])];
        let part = || {
            vec![
                longs("starts", &[1, -4]),
                longs("ends", &[i64::MAX, -1]),
                longs("axes", &[2, 3]),
                longs("steps", &[2, 1]),
            ]
        };
        the_same(13, slice(&["x", "starts", "ends", "axes"]), part());
        the_same(13, slice(&["x", "starts", "ends", "axes", "steps"]), part());

        let halves = |names: &[&str], with: &[(&str, Value)]| {
            vec![
                node("Split", names, &["one", "two"], with),
                node("Concat", &["two", "one"], &["y"], &[("axis", Int(-1))]),
            ]
        };
        let axis = || ("axis", Int(2));
        the_same(13, halves(&["x"], &[axis()]), vec![]);
        the_same(
            11,
            halves(&["x"], &[axis(), ("split", Ints(&[3, 3]))]),
            vec![],
        );
        the_same(
            13,
            halves(&["x", "parts"], &[axis()]),
            vec![longs("parts", &[3, 3])],
        );

        let bounds = vec![floats("least", &[]), {
            let mut most = floats("most", &[]);
            most.float_data = vec![1.25];
            most
        }];
        the_same(
            13,
            vec![node("Clip", &["x", "least", "most"], &["y"], &[])],
            bounds.clone(),
        );
        the_same(
            13,
            vec![node("Clip", &["x", "", "most"], &["y"], &[])],
            bounds,
        );
    }

    #[test]
    fn shapes_that_are_computed_are_as_in_tract_onnx() {
        let nodes = vec![
            node("Shape", &["x"], &["shape"], &[]),
            node("Gather", &["shape", "first"], &["batch"], &[]),
            node(
                "Constant",
                &[],
                &["rest"],
                &[("value", Value::Tensor(longs("", &[-1])))],
            ),
            node("Concat", &["batch", "rest"], &["to"], &[("axis", Int(0))]),
            node("Reshape", &["x", "to"], &["y"], &[]),
        ];
        the_same(13, nodes, vec![longs("first", &[0])]);
    }

    #[test]
    fn quantizers_are_as_in_tract_onnx() {
        let chain = |scale: &[i64], zero: &[i32]| {
            let nodes = vec![
                node("QuantizeLinear", &["x", "s", "z"], &["q"], &[]),
                node("DequantizeLinear", &["q", "s", "z"], &["y"], &[]),
            ];
            let mut scale = floats("s", scale);
            for value in &mut scale.float_data {
                *value = value.abs() / 16.0 + 0.03125;
            }
            the_same(
                13,
                nodes,
                vec![scale.clone(), bytes("z", &scale.dims, zero)],
            );
        };
        chain(&[], &[100]);
        chain(&[4], &[100, 0, 128, 255]);
    }

    #[test]
    fn numbers_far_beyond_the_range_saturate() {
        let nodes = vec![
            node("Abs", &["x"], &["a"], &[]),
            node("QuantizeLinear", &["a", "s", "z"], &["q"], &[]),
            node("DequantizeLinear", &["q", "one", "none"], &["y"], &[]),
        ];
        let mut scale = floats("s", &[]);
        scale.float_data = vec![1e-30];
        let mut one = floats("one", &[]);
        one.float_data = vec![1.0];
        let constants = vec![scale, one, bytes("z", &[], &[7]), bytes("none", &[], &[0])];
        let quantized = run(ours(&model(13, nodes, constants)).unwrap());
        let plain = quantized.try_as_plain_ram().unwrap();
        let values = plain.as_slice::<f32>().unwrap();
        assert!(values.iter().all(|&v| v == 255.0 || v == 7.0), "{values:?}");
        assert!(values.contains(&255.0));
    }

    #[test]
    fn an_unknown_operator_is_named() {
        let error = |node| format!("{}", ours(&model(13, vec![node], vec![])).unwrap_err());
        let mut unknown = node("NonZero", &["x"], &["y"], &[]);
        let text = error(unknown.clone());
        assert!(
            text.contains("node y (NonZero): this operator is not supported"),
            "{text}"
        );
        unknown.domain = "com.microsoft".into();
        let text = error(unknown);
        assert!(text.contains("operators of com.microsoft"), "{text}");
        let text = error(node("Add", &["x", "nowhere"], &["y"], &[]));
        assert!(text.contains("computes the tensor nowhere"), "{text}");
        let text = error(node("Add", &["x"], &["y"], &[]));
        assert!(text.contains("it has 1 inputs and needs 2"), "{text}");
    }
}
