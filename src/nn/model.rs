//! A model: an ONNX file that is ready to run.
//!
//! A model has one f32 input and any number of f32 outputs. Before anything
//! runs, the input that the file describes is compared with the one that the
//! caller will give: a shape that fits only by accident would give nonsense.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use prost::Message as _;
use tract_core::prelude::*;

use super::external;
use super::forms;
use super::fuse::{Fused, fuse};
use super::import::{import, sides};
use super::onnx::{self, GraphProto, ModelProto, NodeProto};
use super::op::IntegerNetwork;
use super::program::{Memory, Program};
use super::refusal::{OrRefuse, Refusal};
use crate::host::memory;
use crate::isa::Isa;

/// Order of the dimensions of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Layout {
    /// `1 x channels x height x width`.
    Nchw,
    /// `1 x height x width x channels`.
    Nhwc,
}

/// The input that the caller will give a model: one f32 picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InputShape {
    /// Sides of the tensor, in the order of `layout`.
    pub shape: [usize; 4],
    pub layout: Layout,
}

/// Why a file cannot be run as a model.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file is damaged, or has layers that cannot be run.
    #[error("not a model that can be run: {0}")]
    Unusable(String),
    /// The model has no input, or several.
    #[error("the model has {} inputs ({}), but it must have exactly one", .0.len(), .0.join(", "))]
    InputCount(Vec<String>),
    /// The input is not f32.
    #[error("input '{name}' takes {found}, but must take f32")]
    InputType { name: String, found: String },
    /// The input has another shape than the caller will give it.
    #[error("input '{name}' has the shape {found:?}, but {expected:?} is needed")]
    InputShape {
        name: String,
        /// Sides as in the file; `None` for a side without a fixed size.
        found: Vec<Option<i64>>,
        expected: [usize; 4],
    },
    /// An output is not f32, or its size depends on the input.
    #[error("output '{name}' is {found}, but must be a fixed count of f32 numbers")]
    Output { name: String, found: String },
    /// The model has no output.
    #[error("the model has no output")]
    NoOutput,
}

impl From<Refusal> for LoadError {
    fn from(Refusal(reason): Refusal) -> Self {
        Self::Unusable(reason)
    }
}

/// Memory for the tensors inside a run. Models that never run at the same time
/// can share one: nothing in it outlives a run, and it is as large as the
/// largest of them needs.
#[derive(Clone, Debug, Default)]
pub struct Workspace(Arc<Mutex<Memory>>);

impl Workspace {
    /// Its size in bytes.
    ///
    /// ```
    /// assert_eq!(affectd::nn::Workspace::default().bytes(), 0);
    /// ```
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.with(|memory| memory.bytes())
    }

    fn with<T>(&self, work: impl FnOnce(&mut Memory) -> T) -> T {
        // The next run reads nothing that a run left when it panicked.
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// An output of a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Output {
    /// The tensor's name in the file.
    pub name: String,
    /// Sides of the tensor.
    pub shape: Vec<usize>,
}

impl Output {
    /// How many numbers it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.shape.iter().product()
    }

    /// Whether it has no numbers at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A model that is ready to run.
pub struct Model {
    input: InputShape,
    outputs: Vec<Output>,
    /// The numbers of all outputs, one output after the other.
    values: Vec<f32>,
    engine: Engine,
}

enum Engine {
    /// The whole model in integers: without tract, and a run does not allocate.
    Program {
        program: Box<Program>,
        workspace: Workspace,
    },
    /// tract runs some or all of it.
    Tract(TypedSimpleState),
}

/// The numbers of a run, output by output.
#[derive(Clone, Copy, Debug)]
pub struct Outputs<'a> {
    outputs: &'a [Output],
    values: &'a [f32],
}

impl<'a> Outputs<'a> {
    /// The numbers of an output, by its place among [`Model::outputs`]; `None`
    /// if there are fewer outputs.
    #[must_use]
    pub fn get(&self, index: usize) -> Option<&'a [f32]> {
        let before: usize = self.outputs.get(..index)?.iter().map(Output::len).sum();
        let length = self.outputs.get(index)?.len();
        self.values.get(before..before + length)
    }
}

impl Model {
    /// Reads an ONNX file. The log calls it `name`. The model runs in
    /// `workspace`, which other models may share.
    ///
    /// # Errors
    /// If the file is damaged, has layers that cannot be run, takes another
    /// input, or has its weights in another file.
    pub fn load(
        onnx: Vec<u8>,
        name: &str,
        input: InputShape,
        workspace: &Workspace,
    ) -> Result<Self, LoadError> {
        Self::from_proto(decode(onnx)?, name, input, workspace)
    }

    /// As [`load`](Self::load), for a model with weights in other files of a
    /// folder, such as `NAME.onnx.data` beside `NAME.onnx`: at most 512 MiB.
    ///
    /// # Errors
    /// As [`load`](Self::load), and if such a file cannot be read or is outside
    /// of the folder.
    pub fn load_beside(
        folder: &Path,
        onnx: Vec<u8>,
        name: &str,
        input: InputShape,
        workspace: &Workspace,
    ) -> Result<Self, LoadError> {
        let mut proto = decode(onnx)?;
        if let Some(graph) = &mut proto.graph {
            external::read(graph, folder)?;
        }
        Self::from_proto(proto, name, input, workspace)
    }

    fn from_proto(
        mut proto: ModelProto,
        title: &str,
        input: InputShape,
        workspace: &Workspace,
    ) -> Result<Self, LoadError> {
        let graph = proto.graph.as_ref();
        let graph = graph.or_refuse(|| "it contains no graph")?;
        if let Some(reason) = forms::unsupported(graph) {
            return Err(LoadError::Unusable(reason));
        }
        check_input(graph, input.shape)?;
        check_outputs(graph)?;
        let names: Vec<_> = graph.output.iter().map(|o| o.name.clone()).collect();
        let fused = match (input.layout, input.shape) {
            (Layout::Nchw, [1, c, h, w]) => fuse(graph, [c, h, w], Isa::best()),
            _ => None,
        };
        let (outputs, engine) = match fused {
            Some(fused) if fused.rest.is_empty() => {
                let isa = fused.program.isa();
                log::debug!("{title}: all of it runs in integers ({isa} kernels)");
                workspace.with(|memory| memory.reserve_for(&fused.program));
                let outputs = fused.outputs.into_iter();
                let outputs = outputs
                    .map(|(name, shape)| Output { name, shape })
                    .collect();
                let engine = Engine::Program {
                    program: Box::new(fused.program),
                    workspace: workspace.clone(),
                };
                (outputs, engine)
            }
            fused => {
                let advice = forms::half_precision(graph);
                let unusable = |Refusal(reason): Refusal| {
                    LoadError::Unusable(match advice {
                        Some(advice) => format!("{reason}; {advice}"),
                        None => reason,
                    })
                };
                let by_tract = |error: TractError| unusable(error.into());
                let op = match fused {
                    Some(fused) => {
                        log::info!("{title}: {}", rest_of(graph, &fused));
                        Some(replace(&mut proto, fused))
                    }
                    None => {
                        log::info!(
                            "{title}: the model has no quantized layer; tract runs all of it in f32"
                        );
                        None
                    }
                };
                let plan = plan(&proto, op.as_ref(), input.shape).map_err(unusable)?;
                let outputs = names
                    .into_iter()
                    .enumerate()
                    .map(|(index, name)| {
                        let fact = plan.model().output_fact(index).map_err(by_tract)?;
                        match fact.shape.as_concrete() {
                            Some(shape) if fact.datum_type == f32::datum_type() => Ok(Output {
                                name,
                                shape: shape.to_vec(),
                            }),
                            _ => Err(LoadError::Output {
                                name,
                                found: described(fact),
                            }),
                        }
                    })
                    .collect::<Result<Vec<_>, _>>()?;
                let mut state = plan.spawn().map_err(by_tract)?;
                // tract allocates memory in the first run and keeps it: it must
                // not come from a frame's arena.
                let blank = vec![0.0; input.shape.iter().product()];
                let mut values = vec![0.0; outputs.iter().map(Output::len).sum()];
                run_tract(&mut state, &input.shape, &blank, &mut values).map_err(by_tract)?;
                (outputs, Engine::Tract(state))
            }
        };
        Ok(Self {
            input,
            values: vec![0.0; outputs.iter().map(Output::len).sum()],
            outputs,
            engine,
        })
    }

    /// The outputs, in the order of the file.
    #[must_use]
    pub fn outputs(&self) -> &[Output] {
        &self.outputs
    }

    /// Runs the model on an input of [`InputShape::shape`], row by row.
    ///
    /// # Errors
    /// If the input has another length, or tract fails.
    pub fn run(&mut self, input: &[f32]) -> Result<Outputs<'_>, String> {
        let expected: usize = self.input.shape.iter().product();
        if input.len() != expected {
            return Err(format!(
                "the input has {} numbers instead of the shape {:?}",
                input.len(),
                self.input.shape
            ));
        }
        match &mut self.engine {
            Engine::Program { program, workspace } => {
                let mut rest = self.values.as_mut_slice();
                let outputs = self.outputs.iter().map(|output| {
                    let (now, later) = std::mem::take(&mut rest).split_at_mut(output.len());
                    rest = later;
                    now
                });
                workspace.with(|memory| program.run(memory, &[input], outputs));
            }
            Engine::Tract(state) => memory::scope(|| {
                run_tract(state, &self.input.shape, input, &mut self.values)
                    .map_err(|error| memory::outlasting(|| Refusal::from(error).0))
            })?,
        }
        Ok(Outputs {
            outputs: &self.outputs,
            values: &self.values,
        })
    }

    /// Runs the model `runs` times and gives each of its steps, in the order in
    /// which they run, with its time over all runs.
    ///
    /// # Errors
    /// As [`Model::run`].
    pub fn profile(&mut self, input: &[f32], runs: u32) -> Result<Vec<StepProfile>, String> {
        match &mut self.engine {
            Engine::Program { program, workspace } => {
                let mut steps: Vec<_> = StepProfile::of_program(program).collect();
                for _ in 0..runs {
                    let times = steps.iter_mut().map(|step| &mut step.time);
                    workspace.with(|memory| program.run_timed(memory, &[input], times));
                }
                Ok(steps)
            }
            Engine::Tract(state) => profile_tract(state, &self.input.shape, input, runs)
                .map_err(|error| Refusal::from(error).0),
        }
    }

    /// Bytes that the tensors between the integer steps need, if all of the
    /// model runs in integers; `None` if tract runs a part, which allocates in
    /// each run.
    #[must_use]
    pub fn working_memory(&self) -> Option<usize> {
        match &self.engine {
            Engine::Program { program, .. } => Some(program.memory_bytes()),
            Engine::Tract(_) => None,
        }
    }
}

/// One step of a network as it runs.
#[derive(Clone, Debug)]
pub struct StepProfile {
    pub name: String,
    pub operation: String,
    /// Sides of the output, in the order in which it is stored.
    pub shape: Vec<usize>,
    /// The type of the output's elements: `u8` or one of tract's types.
    pub element: String,
    /// Products of a weight and an input; `None` where tract does not say.
    pub macs: Option<u64>,
    /// Bytes of packed weights; 0 if tract has them.
    pub weights: usize,
    /// The integer kernel that computes it, or `tract`.
    pub kernel: &'static str,
    /// Sum over all runs.
    pub time: Duration,
}

impl StepProfile {
    fn of_program(program: &Program) -> impl Iterator<Item = Self> {
        let kernel = program.isa().name();
        program.steps().map(move |step| Self {
            name: step.name,
            operation: step.operation,
            shape: step.shape.to_vec(),
            element: "u8".into(),
            macs: Some(step.macs),
            weights: step.weights,
            kernel,
            time: Duration::ZERO,
        })
    }
}

fn profile_tract(
    state: &mut TypedSimpleState,
    shape: &[usize],
    input: &[f32],
    runs: u32,
) -> TractResult<Vec<StepProfile>> {
    let mut steps: Vec<StepProfile> = Vec::new();
    for run in 0..runs {
        let inputs = tvec!(Tensor::from_shape(shape, input)?.into_tvalue());
        let mut at = 0;
        state.run_plan_with_eval(inputs, |context, mut op_state, node, inputs| {
            if let Some(program) = node.op_as::<IntegerNetwork>().map(IntegerNetwork::program) {
                if run == 0 {
                    steps.extend(StepProfile::of_program(program));
                }
                let own = &mut steps[at..at + program.steps().len()];
                at += own.len();
                let integer = op_state.as_mut().and_then(|state| state.downcast_mut());
                if let Some(integer) = integer {
                    let times = own.iter_mut().map(|step| &mut step.time);
                    IntegerNetwork::run_timed(integer, &inputs, times)?;
                }
                return tract_core::plan::eval(context, op_state, node, inputs);
            }
            let start = Instant::now();
            let outputs = tract_core::plan::eval(context, op_state, node, inputs)?;
            let time = start.elapsed();
            if run == 0 {
                steps.push(StepProfile {
                    name: node.name.clone(),
                    operation: node.op.name().into_owned(),
                    shape: outputs[0].shape().to_vec(),
                    element: format!("{:?}", outputs[0].datum_type()).to_lowercase(),
                    macs: None,
                    weights: 0,
                    kernel: "tract",
                    time: Duration::ZERO,
                });
            }
            steps[at].time += time;
            at += 1;
            TractResult::Ok(outputs)
        })?;
    }
    Ok(steps)
}

/// Writes all outputs to `values`, one after the other.
fn run_tract(
    state: &mut TypedSimpleState,
    shape: &[usize],
    input: &[f32],
    values: &mut [f32],
) -> TractResult<()> {
    let input = Tensor::from_shape(shape, input)?;
    let outputs = state.run(tvec!(input.into_tvalue()))?;
    let mut start = 0;
    for output in &outputs {
        let output = output.try_as_plain_ram()?;
        let output = output.as_slice::<f32>()?;
        values[start..start + output.len()].copy_from_slice(output);
        start += output.len();
    }
    Ok(())
}

/// A text that lists what tract runs: the operations, each with an example.
fn rest_of(graph: &GraphProto, fused: &Fused) -> String {
    let mut kinds: Vec<(&str, usize, &str)> = Vec::new();
    for &index in &fused.rest {
        let node = &graph.node[index];
        match kinds.iter_mut().find(|(kind, ..)| *kind == node.op_type) {
            Some((_, count, _)) => *count += 1,
            None => kinds.push((&node.op_type, 1, node.title())),
        }
    }
    let kinds: Vec<_> = kinds
        .into_iter()
        .map(|(kind, count, first)| format!("{count} {kind} (the first: {first})"))
        .collect();
    format!(
        "{} steps run in integers; tract runs the rest in f32: {}",
        fused.program.steps().len(),
        kinds.join(", ")
    )
}

/// Replaces all nodes that the program computes by one node.
fn replace(proto: &mut ModelProto, fused: Fused) -> IntegerNetwork {
    let graph = proto.graph.as_mut().expect("a graph was fused");
    let node = NodeProto {
        input: vec![fused.input],
        output: fused.outputs.iter().map(|(name, _)| name.clone()).collect(),
        name: IntegerNetwork::NAME.into(),
        op_type: IntegerNetwork::NAME.into(),
        ..Default::default()
    };
    let mut nodes = vec![node];
    nodes.extend(fused.rest.iter().map(|&index| graph.node[index].clone()));
    graph.node = nodes;
    // Weights that are no longer read would stay in memory.
    let read = |name: &str| {
        let mut inputs = graph.node.iter().flat_map(|node| &node.input);
        inputs.any(|input| input == name)
    };
    graph.initializer.retain(|tensor| read(&tensor.name));
    graph.input.retain(|input| read(&input.name));
    IntegerNetwork::new(
        fused.program,
        fused.outputs.into_iter().map(|(_, shape)| shape).collect(),
    )
}

/// The type and the sides of a tensor.
fn described(fact: &TypedFact) -> String {
    let element = format!("{:?}", fact.datum_type).to_lowercase();
    format!("{element} with the sides [{}]", sides(&fact.shape))
}

/// tract's plan for a graph, a part of which `op` may compute.
fn plan(
    proto: &ModelProto,
    op: Option<&IntegerNetwork>,
    shape: [usize; 4],
) -> Result<Arc<TypedSimplePlan>, Refusal> {
    let graph = proto.graph.as_ref().expect("its graph was looked at");
    let model = import(graph, proto.opset(), shape, op)?;
    Ok(model.into_optimized()?.into_runnable()?)
}

/// The file's contents, without weights that lie in other files.
fn decode(onnx: Vec<u8>) -> Result<ModelProto, LoadError> {
    // A file that is cut off between two fields, or has another format, may be
    // a valid protocol buffers message without these fields.
    let complete = |proto: &ModelProto| proto.graph.is_some() && !proto.opset_import.is_empty();
    let proto = ModelProto::decode(&*onnx).ok().filter(complete);
    // The caller's copy is freed here: one copy is enough while weights are
    // packed.
    Ok(proto.or_refuse(|| forms::unreadable(&onnx))?)
}

fn check_input(graph: &GraphProto, expected: [usize; 4]) -> Result<(), LoadError> {
    // Up to ONNX IR 3 each initializer is listed as an input too.
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| graph.initializer.iter().all(|i| i.name != input.name))
        .collect();
    let [input] = inputs.as_slice() else {
        let names = inputs.iter().map(|input| input.name.clone());
        return Err(LoadError::InputCount(names.collect()));
    };
    let name = input.name.clone();
    let fact = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some(tensor) = fact else {
        let found = "no tensor".into();
        return Err(LoadError::InputType { name, found });
    };
    if tensor.elem_type != onnx::FLOAT {
        let found = onnx::element_name(tensor.elem_type);
        return Err(LoadError::InputType { name, found });
    }
    // Without a shape, or with a name instead of a size, any size fits.
    let Some(shape) = &tensor.shape else {
        return Ok(());
    };
    let found: Vec<_> = shape.dim.iter().map(|dim| dim.dim_value).collect();
    let fits = found.len() == expected.len()
        && std::iter::zip(&found, expected)
            .all(|(side, expected)| side.is_none_or(|s| usize::try_from(s) == Ok(expected)));
    if fits {
        return Ok(());
    }
    Err(LoadError::InputShape {
        name,
        found,
        expected,
    })
}

fn check_outputs(graph: &GraphProto) -> Result<(), LoadError> {
    if graph.output.is_empty() {
        return Err(LoadError::NoOutput);
    }
    for output in &graph.output {
        // tract panics on an output that no node computes.
        if !graph.node.iter().any(|n| n.output.contains(&output.name)) {
            let reason = format!("no node computes its output '{}'", output.name);
            return Err(LoadError::Unusable(reason));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::onnx::TensorProto;
    use super::*;

    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/classify/tiny");

    fn tiny() -> ModelProto {
        ModelProto::decode(&*std::fs::read(format!("{TINY}.onnx")).unwrap()).unwrap()
    }

    const INPUT: InputShape = InputShape {
        shape: [1, 1, 16, 16],
        layout: Layout::Nchw,
    };

    fn try_load(proto: ModelProto) -> Result<Model, LoadError> {
        Model::from_proto(proto, "tiny", INPUT, &Workspace::default())
    }

    fn load(proto: ModelProto) -> Model {
        try_load(proto).unwrap()
    }

    fn run(model: &mut Model, input: &[f32]) -> Vec<f32> {
        model.run(input).unwrap().get(0).unwrap().to_vec()
    }

    #[test]
    fn an_output_that_no_node_computes_is_an_error() {
        let mut proto = tiny();
        proto.graph.as_mut().unwrap().output[0].name = "nowhere".to_owned();
        let error = try_load(proto).err().unwrap();
        assert!(error.to_string().contains("'nowhere'"), "{error}");
    }

    #[test]
    fn a_convolution_whose_sizes_do_not_fit_is_an_error() {
        use super::onnx::AttributeProto;
        let is_conv = |node: &&mut NodeProto| node.op_type == "Conv";
        let with = |key: &str, ints: &[i64]| {
            let mut proto = tiny();
            let nodes = &mut proto.graph.as_mut().unwrap().node;
            let conv = nodes.iter_mut().find(is_conv).unwrap();
            conv.attribute.retain(|attribute| attribute.name != key);
            conv.attribute.push(AttributeProto {
                name: key.into(),
                ints: ints.to_vec(),
                i: ints[0],
                ..Default::default()
            });
            let error = try_load(proto).err();
            error.expect(key).to_string()
        };
        for (key, ints) in [
            ("strides", &[1][..]),
            ("strides", &[0, 1]),
            ("strides", &[1, 1, 1]),
            ("dilations", &[1, i64::MAX]),
            ("pads", &[1, 1]),
            ("pads", &[1, 1, 1, 1 << 40]),
            ("group", &[0]),
            ("group", &[7]),
            ("group", &[-1]),
        ] {
            let told = with(key, ints);
            assert!(told.contains("does not suit"), "{key} {ints:?}: {told}");
        }
        // Weights with one axis less, as found by fuzzing.
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        let conv = graph.node.iter_mut().find(is_conv).unwrap();
        let weights = conv.input[1].clone();
        let quantized = graph
            .node
            .iter()
            .find(|node| node.output.contains(&weights));
        let weights = quantized.map_or(weights, |node| node.input[0].clone());
        let tensor = graph
            .initializer
            .iter_mut()
            .find(|tensor| tensor.name == weights);
        let dims = &mut tensor.unwrap().dims;
        let last = dims.pop().unwrap();
        *dims.last_mut().unwrap() *= last;
        let error = try_load(proto).err().unwrap();
        assert!(error.to_string().contains("does not suit"), "{error}");
    }

    #[test]
    fn weights_of_an_impossible_shape_are_an_error() {
        for dims in [&[1 << 62, 8][..], &[1 << 32, 1 << 32, 1], &[3]] {
            let mut proto = tiny();
            let weights = &mut proto.graph.as_mut().unwrap().initializer;
            let largest = weights.iter_mut().max_by_key(|tensor| tensor.dims.len());
            largest.unwrap().dims = dims.to_vec();
            let error = try_load(proto).err().unwrap();
            assert!(
                error.to_string().contains("do not fit the shape"),
                "{error}"
            );
        }
    }

    fn stock(proto: &ModelProto, input: &[f32]) -> [f32; 7] {
        let mut values = [0.0; 7];
        use tract_onnx::prelude::*;
        let mut state = tract_onnx::onnx()
            .model_for_read(&mut &*proto.encode_to_vec())
            .unwrap()
            .with_input_fact(0, f32::fact([1, 1, 16, 16]).into())
            .unwrap()
            .into_optimized()
            .unwrap()
            .into_runnable()
            .unwrap()
            .spawn()
            .unwrap();
        run_tract(&mut state, &[1, 1, 16, 16], input, &mut values).unwrap();
        values
    }

    fn input() -> Vec<f32> {
        (0..256)
            .map(|i| ((i * 7919) % 256) as f32 / 64.0 - 2.0)
            .collect()
    }

    #[test]
    fn a_quantized_network_needs_no_tract() {
        let network = load(tiny());
        assert!(matches!(network.engine, Engine::Program { .. }));
    }

    #[test]
    fn tract_runs_a_softmax_at_the_end() {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        graph.node.push(NodeProto {
            op_type: "Softmax".into(),
            input: vec![graph.output[0].name.clone()],
            output: vec!["p".into()],
            ..Default::default()
        });
        graph.output[0].name = "p".into();
        let mut network = load(proto);
        assert!(matches!(network.engine, Engine::Tract(_)));
        let steps = network.profile(&input(), 1).unwrap();
        let by_tract: Vec<_> = steps.iter().filter(|s| s.kernel == "tract").collect();
        assert!(
            by_tract.iter().any(|s| s.operation.contains("Softmax")),
            "{by_tract:?}"
        );
        assert!(
            !by_tract.iter().any(|s| s.operation.contains("Conv")),
            "{by_tract:?}"
        );

        let logits = run(&mut load(tiny()), &input());
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        for (p, logit) in run(&mut network, &input()).iter().zip(logits) {
            let expected = logit.exp() / sum;
            assert!((p - expected).abs() < 1e-6, "{p} for {expected}");
        }
    }

    #[test]
    fn tract_runs_what_follows_an_unknown_layer() {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        let sum = graph.node.iter_mut().find(|n| n.name == "b2_add").unwrap();
        sum.op_type = "Mul".into();
        let expected = stock(&proto, &input());
        let mut network = load(proto);
        let steps = network.profile(&input(), 1).unwrap();
        let kernel = |name: &str| {
            let step = steps.iter().find(|s| s.name.starts_with(name));
            step.map(|s| s.kernel)
        };
        assert_eq!(kernel("b2_project"), Some(Isa::best().name()));
        assert_eq!(kernel("head"), Some("tract"));
        // tract multiplies by the reciprocal of a scale, so a quantum (0.047)
        // may lie between the two.
        for (output, expected) in run(&mut network, &input()).iter().zip(expected) {
            assert!(
                (output - expected).abs() < 0.0471,
                "{output} for {expected}"
            );
        }
    }

    #[test]
    fn every_output_comes_out_under_its_name() {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        let logits = graph.output[0].clone();
        let mut other = logits.clone();
        other.name = "p".into();
        graph.node.push(NodeProto {
            op_type: "Softmax".into(),
            input: vec![logits.name.clone()],
            output: vec!["p".into()],
            ..Default::default()
        });
        graph.output.insert(0, other);
        let mut model = load(proto);
        let names: Vec<_> = model.outputs().iter().map(|o| o.name.clone()).collect();
        assert_eq!(names, ["p".to_owned(), logits.name]);
        let outputs = model.run(&input()).unwrap();
        let sum: f32 = outputs.get(0).unwrap().iter().sum();
        assert!((sum - 1.0).abs() < 1e-5);
        assert_eq!(outputs.get(1).unwrap(), run(&mut load(tiny()), &input()));
        let outputs = model.run(&input()).unwrap();
        assert!(outputs.get(2).is_none());
    }

    #[test]
    fn models_share_a_workspace() {
        let workspace = Workspace::default();
        let mut models =
            [(); 2].map(|()| Model::from_proto(tiny(), "tiny", INPUT, &workspace).unwrap());
        let bytes = workspace.bytes();
        assert_eq!(models[0].working_memory(), Some(bytes));
        let mut inputs = [input(), input()];
        inputs[1].reverse();
        for (input, model) in [(0, 0), (1, 1), (0, 1), (1, 0)] {
            let input = &inputs[input];
            let alone = run(&mut load(tiny()), input);
            assert_eq!(run(&mut models[model], input), alone);
        }
        assert_eq!(workspace.bytes(), bytes);
    }

    #[test]
    fn an_input_of_another_length_is_refused() {
        let error = load(tiny()).run(&[0.0; 255]).unwrap_err();
        assert!(error.contains("255"), "{error}");
    }

    #[test]
    fn a_network_of_floats_runs() {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        let node = |op: &str, input: &[&str], output: &str| NodeProto {
            op_type: op.into(),
            name: output.into(),
            input: input.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            ..Default::default()
        };
        graph.node = vec![
            node("GlobalAveragePool", &["input"], "mean"),
            node("Flatten", &["mean"], "flat"),
            node("MatMul", &["flat", "weights"], "logits"),
        ];
        graph.initializer = vec![TensorProto {
            name: "weights".into(),
            dims: vec![1, 7],
            data_type: onnx::FLOAT,
            float_data: (1..8).map(|w| w as f32).collect(),
            ..Default::default()
        }];
        let mut network = load(proto);
        assert_eq!(network.working_memory(), None);
        let outputs = run(&mut network, &[0.5; 256]);
        assert_eq!(outputs, [0.5, 1.0, 1.5, 2.0, 2.5, 3.0, 3.5]);
    }

    #[test]
    fn activations_are_folded_into_the_quantizer() {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        let at = graph
            .node
            .iter()
            .position(|n| n.name == "b1_project")
            .unwrap();
        let output = std::mem::replace(&mut graph.node[at].output[0], "before".into());
        graph.node.insert(
            at + 1,
            NodeProto {
                op_type: "Relu".into(),
                name: "relu".into(),
                input: vec!["before".into()],
                output: vec![output],
                ..Default::default()
            },
        );
        let expected = stock(&proto, &input());
        let mut network = load(proto);
        assert!(matches!(network.engine, Engine::Program { .. }));
        let outputs = run(&mut network, &input());
        for (output, expected) in outputs.iter().zip(expected) {
            assert!(
                (output - expected).abs() < 0.0471,
                "{output} for {expected}"
            );
        }
        assert_ne!(outputs, run(&mut load(tiny()), &input()));
    }

    /// A network of `nodes` in place of tiny's.
    fn network(nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> ModelProto {
        let mut proto = tiny();
        let graph = proto.graph.as_mut().unwrap();
        graph.output[0].name = nodes.last().unwrap().output[0].clone();
        graph.node = nodes;
        graph.initializer = initializer;
        proto
    }

    fn node(op: &str, inputs: &[&str], output: &str) -> NodeProto {
        NodeProto {
            op_type: op.into(),
            input: inputs.iter().map(ToString::to_string).collect(),
            output: vec![output.into()],
            ..Default::default()
        }
    }

    fn floats(name: &str, dims: &[i64]) -> TensorProto {
        let count = dims.iter().product::<i64>();
        TensorProto {
            name: name.into(),
            dims: dims.to_vec(),
            data_type: onnx::FLOAT,
            float_data: (0..count).map(|i| (i % 7) as f32 / 8.0 - 0.25).collect(),
            ..Default::default()
        }
    }

    #[track_caller]
    fn refused(proto: ModelProto, words: &[&str]) {
        let error = try_load(proto).err().expect("a refusal").to_string();
        for word in words {
            assert!(error.contains(word), "'{word}' is not in: {error}");
        }
        for inner in ["tract", "Failed", "::", "Fact", "TypedOp"] {
            assert!(!error.contains(inner), "tract's text in: {error}");
        }
    }

    #[test]
    fn files_that_are_no_models_say_what_they_are() {
        let whole = std::fs::read(format!("{TINY}.onnx")).unwrap();
        let load = |bytes: &[u8]| {
            let model = Model::load(bytes.to_vec(), "file", INPUT, &Workspace::default());
            model.err().expect("a refusal").to_string()
        };
        for length in [1, 7, 100, whole.len() / 2, whole.len() - 1] {
            let error = load(&whole[..length]);
            assert!(
                error.contains("damaged or not complete"),
                "{length}: {error}"
            );
        }
        // Cut off where the graph ends, before the version of its operators.
        let mut cut = tiny();
        cut.opset_import.clear();
        let mut bytes = vec![8, 8];
        bytes.extend(cut.encode_to_vec());
        assert!(load(&bytes).contains("damaged or not complete"));
        for (bytes, words) in [
            (&b""[..], "is empty"),
            (b"not a model\n", "a text file"),
            ("<!DOCTYPE html>\n<p>\u{e9}</p>".as_bytes(), "a text file"),
            (
                b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
                "git lfs pull",
            ),
            (b"PK\x03\x04\0\0", "torch.onnx.export"),
            (b"\x1c\0\0\0TFL3\0\0", "tf2onnx --tflite"),
            (b"\x89HDF\r\n\x1a\n", "tf2onnx"),
            (b"\xff\xfe\0\x01\0", "not an ONNX file"),
        ] {
            let error = load(bytes);
            assert!(error.contains(words), "{words}: {error}");
        }
    }

    #[test]
    fn a_layer_that_cannot_be_run_is_named() {
        refused(
            network(vec![node("NonZero", &["input"], "y")], vec![]),
            &["node y (NonZero)", "not supported", "onnxsim"],
        );
        // 16 columns times 7 rows.
        let nodes = vec![node("MatMul", &["input", "w"], "y")];
        refused(
            network(nodes, vec![floats("w", &[7, 3])]),
            &["node y (MatMul)", "cannot be multiplied", "16", "7"],
        );
        let mut fused = node("FusedConv", &["input", "w"], "y");
        fused.domain = "com.microsoft".into();
        refused(
            network(vec![fused], vec![floats("w", &[1, 1, 3, 3])]),
            &["node y (FusedConv)", "com.microsoft", "export"],
        );
    }

    /// As ONNX Runtime writes them with `QuantFormat.QOperator`.
    #[test]
    fn qoperator_models_are_refused_with_advice() {
        let byte = |name: &str| TensorProto {
            name: name.into(),
            data_type: 2,
            int32_data: vec![3],
            ..Default::default()
        };
        let constants = || {
            let mut weights = byte("w");
            weights.dims = vec![1, 1, 1, 1];
            vec![floats("s", &[]), byte("z"), weights]
        };
        let x = || node("QuantizeLinear", &["input", "s", "z"], "q");
        let y = || node("DequantizeLinear", &["r", "s", "z"], "y");
        let chain = |middle: NodeProto| network(vec![x(), middle, y()], constants());
        for (op, inputs) in [
            ("QLinearConv", &["q", "s", "z", "w", "s", "z", "s", "z"][..]),
            ("QLinearMatMul", &["q", "s", "z", "q", "s", "z", "s", "z"]),
        ] {
            let named = format!("node r ({op})");
            refused(
                chain(node(op, inputs, "r")),
                &["QOperator", &named, "quantize_static", "QuantFormat.QDQ"],
            );
        }
        let mut add = node("QLinearAdd", &["q", "s", "z", "q", "s", "z", "s", "z"], "r");
        add.domain = "com.microsoft".into();
        refused(chain(add), &["QOperator", "node r (QLinearAdd)"]);
    }

    /// As ONNX Runtime's `quantize_dynamic` writes them.
    #[test]
    fn dynamically_quantized_models_are_refused_with_advice() {
        let weights = |dims: &[i64]| TensorProto {
            name: "w".into(),
            dims: dims.to_vec(),
            data_type: 3,
            int32_data: vec![1; dims.iter().product::<i64>() as usize],
            ..Default::default()
        };
        for (op, dims) in [
            ("ConvInteger", &[1, 1, 1, 1][..]),
            ("MatMulInteger", &[16, 7]),
        ] {
            let mut quantize = node("DynamicQuantizeLinear", &["input"], "q");
            quantize.output.extend(["s".into(), "z".into()]);
            let mut cast = node("Cast", &["i"], "f");
            cast.attribute = vec![to(onnx::FLOAT)];
            let nodes = vec![
                quantize,
                node(op, &["q", "w", "z"], "i"),
                cast,
                node("Mul", &["f", "s"], "y"),
            ];
            let words = ["dynamically", "node q", "float model", "calibration"];
            refused(network(nodes.clone(), vec![weights(dims)]), &words);
            let words = ["dynamically", op, "QuantFormat.QDQ"];
            refused(network(nodes[1..].to_vec(), vec![weights(dims)]), &words);
        }
    }

    fn to(element: i32) -> onnx::AttributeProto {
        onnx::AttributeProto {
            name: "to".into(),
            i: element.into(),
            ..Default::default()
        }
    }

    /// With float32 at both ends, as `keep_io_types=True` makes it.
    #[test]
    fn a_network_of_float16_runs() {
        let nodes = |half: bool| {
            let mut conv = node("Conv", &["h", "w", "b"], "c");
            conv.attribute = vec![onnx::AttributeProto {
                name: "pads".into(),
                ints: vec![1; 4],
                ..Default::default()
            }];
            let mut gemm = node("Gemm", &["flat", "m"], "g");
            gemm.attribute = vec![onnx::AttributeProto {
                name: "alpha".into(),
                f: 0.5,
                ..Default::default()
            }];
            let mut first = node("Identity", &["input"], "h");
            let mut last = node("Identity", &["g"], "y");
            if half {
                first = node("Cast", &["input"], "h");
                first.attribute = vec![to(onnx::FLOAT16)];
                last = node("Cast", &["g"], "y");
                last.attribute = vec![to(onnx::FLOAT)];
            }
            vec![
                first,
                conv,
                node("BatchNormalization", &["c", "one", "b", "b", "one"], "n"),
                node("Relu", &["n"], "r"),
                node("HardSwish", &["r"], "k"),
                node("Add", &["r", "k"], "a"),
                node("GlobalAveragePool", &["a"], "p"),
                node("Flatten", &["p"], "flat"),
                gemm,
                last,
            ]
        };
        let constants = |half: bool| {
            let mut one = floats("one", &[3]);
            one.float_data = vec![1.0; 3];
            let mut constants = vec![
                floats("w", &[3, 1, 3, 3]),
                floats("b", &[3]),
                one,
                floats("m", &[3, 7]),
            ];
            for tensor in constants.iter_mut().filter(|_| half) {
                let numbers = std::mem::take(&mut tensor.float_data);
                let bits = |x: f32| i32::from(tract_core::prelude::f16::from_f32(x).to_bits());
                tensor.int32_data = numbers.into_iter().map(bits).collect();
                tensor.data_type = onnx::FLOAT16;
            }
            constants
        };
        let expected = run(&mut load(network(nodes(false), constants(false))), &input());
        let outputs = run(&mut load(network(nodes(true), constants(true))), &input());
        assert!(expected.iter().any(|x| x.abs() > 0.05), "{expected:?}");
        for (output, expected) in outputs.iter().zip(&expected) {
            assert!((output - expected).abs() < 0.01, "{output} for {expected}");
        }

        let mut proto = network(nodes(true), constants(true));
        let input = &mut proto.graph.as_mut().unwrap().input[0];
        let input = input.r#type.as_mut().unwrap().tensor_type.as_mut().unwrap();
        input.elem_type = onnx::FLOAT16;
        refused(proto, &["is float16", "keep_io_types=True"]);
        let mut odd = network(nodes(true), constants(true));
        odd.graph.as_mut().unwrap().node[4].op_type = "NonZero".into();
        refused(odd, &["(NonZero)", "float32 model"]);
    }

    /// tiny with its weights in `tiny.onnx.data`.
    fn external(folder: &Path, location: &str) -> ModelProto {
        use super::onnx::StringStringEntryProto;
        let mut proto = tiny();
        let mut data = vec![0; 64];
        for tensor in &mut proto.graph.as_mut().unwrap().initializer {
            if tensor.raw_data.is_empty() {
                continue;
            }
            let bytes = std::mem::take(&mut tensor.raw_data);
            let entries = [
                ("location", location.to_owned()),
                ("offset", data.len().to_string()),
                ("length", bytes.len().to_string()),
            ];
            tensor.data_location = 1;
            tensor.external_data = entries
                .map(|(key, value)| StringStringEntryProto {
                    key: key.into(),
                    value,
                })
                .to_vec();
            data.extend(bytes);
        }
        assert!(data.len() > 1000);
        std::fs::write(folder.join("tiny.onnx.data"), data).unwrap();
        proto
    }

    fn load_in(folder: &Path, proto: &ModelProto) -> Result<Model, LoadError> {
        let bytes = proto.encode_to_vec();
        Model::load_beside(folder, bytes, "tiny", INPUT, &Workspace::default())
    }

    #[test]
    fn weights_are_read_from_a_file_beside_the_model() {
        let folder = tempfile::tempdir().unwrap();
        let proto = external(folder.path(), "tiny.onnx.data");
        let mut model = load_in(folder.path(), &proto).unwrap();
        assert!(matches!(model.engine, Engine::Program { .. }));
        assert_eq!(run(&mut model, &input()), run(&mut load(tiny()), &input()));
        // Without a folder there is no such file.
        refused(proto, &["in another file", "as one file"]);
    }

    #[test]
    fn a_data_file_that_cannot_be_used_is_named() {
        let outer = tempfile::tempdir().unwrap();
        let folder = outer.path().join("models");
        std::fs::create_dir(&folder).unwrap();
        #[track_caller]
        fn refused(folder: &Path, proto: &ModelProto, words: &[&str]) {
            let error = load_in(folder, proto).err().expect("a refusal");
            let error = error.to_string();
            for word in words {
                assert!(error.contains(word), "'{word}' is not in: {error}");
            }
        }
        let proto = external(&folder, "tiny.onnx.data");
        let data = folder.join("tiny.onnx.data");
        let bytes = std::fs::read(&data).unwrap();

        std::fs::remove_file(&data).unwrap();
        refused(
            &folder,
            &proto,
            &["tiny.onnx.data is missing", "into the model's folder"],
        );
        std::fs::write(&data, &bytes[..bytes.len() - 1]).unwrap();
        refused(
            &folder,
            &proto,
            &["tiny.onnx.data", "end at byte", "copy it again"],
        );
        std::fs::remove_file(&data).unwrap();
        std::fs::create_dir(&data).unwrap();
        refused(&folder, &proto, &["tiny.onnx.data", "not a regular file"]);
        std::fs::remove_dir(&data).unwrap();

        // A file that exists, but not in the folder.
        std::fs::write(outer.path().join("secret"), &bytes).unwrap();
        let absolute = outer.path().join("secret");
        for location in [
            "../secret",
            "models/../../secret",
            absolute.to_str().unwrap(),
        ] {
            let proto = external(&folder, location);
            refused(
                &folder,
                &proto,
                &["outside of the model's folder", location],
            );
        }
        std::os::unix::fs::symlink("../secret", folder.join("link")).unwrap();
        let proto = external(&folder, "link");
        refused(
            &folder,
            &proto,
            &["outside of the model's folder", "'link'"],
        );

        // More than the limit, in a file without blocks on the disk.
        let mut proto = external(&folder, "large");
        let large = std::fs::File::create(folder.join("large")).unwrap();
        large.set_len(513 << 20).unwrap();
        let tensors = &mut proto.graph.as_mut().unwrap().initializer;
        let tensor = tensors.iter_mut().find(|t| t.is_external()).unwrap();
        tensor.external_data.retain(|entry| entry.key == "location");
        refused(&folder, &proto, &["large", "more than 512 MiB"]);
        tensors_number(&mut proto, "offset", "-1");
        refused(&folder, &proto, &["offset '-1' is not a number"]);
    }

    fn tensors_number(proto: &mut ModelProto, key: &str, value: &str) {
        let tensors = &mut proto.graph.as_mut().unwrap().initializer;
        let tensor = tensors.iter_mut().find(|t| t.is_external()).unwrap();
        tensor
            .external_data
            .push(super::onnx::StringStringEntryProto {
                key: key.into(),
                value: value.into(),
            });
    }
}
