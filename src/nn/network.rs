//! The network: an ONNX file, run.
//!
//! What a file says about itself is checked against the manifest here, before
//! anything is run: a shape that fits by accident would give nonsense.

use std::time::{Duration, Instant};

use prost::Message as _;
use tract_core::prelude::*;

use super::fuse::{Fused, fuse};
use super::import::import;
use super::kernels::Kernel;
use super::onnx::{self, GraphProto, ModelProto, NodeProto};
use super::op::IntegerNetwork;
use super::program::{Memory, Program};
use crate::host::memory;
use crate::observe::ModelError;
use crate::observe::expression::Expression;
use crate::observe::manifest::{Layout, Manifest, ModelPaths};

/// A network that is ready to run.
pub(crate) struct Network {
    shape: [usize; 4],
    engine: Engine,
}

enum Engine {
    /// All of it in integers: tract is not needed, and nothing is allocated.
    Program {
        program: Box<Program>,
        memory: Box<Memory>,
    },
    /// Some or all of it by tract.
    Tract(TypedSimpleState),
}

impl Network {
    pub fn load(
        onnx: Vec<u8>,
        manifest: &Manifest,
        paths: &ModelPaths,
    ) -> Result<Self, ModelError> {
        let proto = ModelProto::decode(&*onnx).map_err(|error| ModelError::Onnx {
            path: paths.onnx.clone(),
            reason: error.to_string(),
        })?;
        // Once is enough to have in memory while weights are packed.
        drop(onnx);
        Self::from_proto(proto, manifest, paths)
    }

    fn from_proto(
        mut proto: ModelProto,
        manifest: &Manifest,
        paths: &ModelPaths,
    ) -> Result<Self, ModelError> {
        let unusable = |error: TractError| ModelError::Onnx {
            path: paths.onnx.clone(),
            // The alternate form names the causes, the innermost last.
            reason: format!("{error:#}"),
        };
        let graph = proto.graph.as_ref().ok_or_else(|| ModelError::Onnx {
            path: paths.onnx.clone(),
            reason: "there is no graph in it".into(),
        })?;
        check_input(graph, manifest, paths)?;
        check_output(graph, paths)?;
        let shape = manifest.input.shape();
        let output = graph.output[0].name.clone();
        let fused = match shape {
            [1, c, h, w] if manifest.input.layout == Layout::Nchw => {
                fuse(graph, [c, h, w], Kernel::best())
            }
            _ => None,
        };
        let name = paths.onnx.display();
        let engine = match fused {
            Some(fused) if fused.rest.is_empty() => {
                let [(_, shape)] = fused.outputs.as_slice() else {
                    unreachable!("one output and nothing that could need another");
                };
                if shape.iter().product::<usize>() != Expression::COUNT {
                    return Err(ModelError::Output {
                        path: paths.onnx.clone(),
                        name: output,
                        found: format!("{shape:?}"),
                    });
                }
                let kernel = fused.program.kernel();
                log::debug!("{name}: all of it runs in integers ({kernel} kernels)");
                Engine::Program {
                    memory: Box::new(fused.program.memory()),
                    program: Box::new(fused.program),
                }
            }
            fused => {
                let op = match fused {
                    Some(fused) => {
                        log::info!("{name}: {}", rest_of(graph, &fused));
                        Some(replace(&mut proto, fused))
                    }
                    None => {
                        log::info!("{name}: no quantized layer in it, tract runs all of it in f32");
                        None
                    }
                };
                let plan = plan(&proto, op.as_ref(), shape).map_err(unusable)?;
                let fact = plan.model().output_fact(0).map_err(unusable)?;
                let seven = fact.shape.volume().to_i64().ok() == Some(Expression::COUNT as i64);
                if fact.datum_type != f32::datum_type() || !seven {
                    return Err(ModelError::Output {
                        path: paths.onnx.clone(),
                        name: output,
                        found: format!("{fact:?}"),
                    });
                }
                let mut state = plan.spawn().map_err(unusable)?;
                // What tract keeps between runs it makes in the first one: it
                // must not come from a frame's arena.
                run_tract(&mut state, &shape, &vec![0.0; shape.iter().product()])
                    .map_err(unusable)?;
                Engine::Tract(state)
            }
        };
        Ok(Self { shape, engine })
    }

    /// Seven outputs for an input in the manifest's shape.
    pub fn run(&mut self, input: &[f32]) -> Result<[f32; Expression::COUNT], String> {
        match &mut self.engine {
            Engine::Program { program, memory } => {
                let mut outputs = [0.0; Expression::COUNT];
                program.run(memory, &[input], &mut [&mut outputs]);
                Ok(outputs)
            }
            Engine::Tract(state) => memory::scope(|| {
                run_tract(state, &self.shape, input)
                    .map_err(|error| memory::outlasting(|| format!("{error:#}")))
            }),
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
    /// What an element of the output is: `u8` or one of tract's types.
    pub element: String,
    /// Products of a weight and an input; `None` where tract does not say.
    pub macs: Option<u64>,
    /// Bytes of packed weights, 0 where tract holds them.
    pub weights: usize,
    /// The integer kernel that computes it, or `tract`.
    pub kernel: &'static str,
    /// Over all runs.
    pub time: Duration,
}

impl StepProfile {
    fn of_program(program: &Program) -> impl Iterator<Item = Self> {
        let kernel = program.kernel().name();
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

impl Network {
    /// Runs the network `runs` times and gives each of its steps with its time.
    pub fn profile(&mut self, input: &[f32], runs: u32) -> Result<Vec<StepProfile>, String> {
        match &mut self.engine {
            Engine::Program { program, memory } => {
                let mut steps: Vec<_> = StepProfile::of_program(program).collect();
                for _ in 0..runs {
                    let times = steps.iter_mut().map(|step| &mut step.time);
                    program.run_timed(memory, &[input], times);
                }
                Ok(steps)
            }
            Engine::Tract(state) => {
                profile_tract(state, &self.shape, input, runs).map_err(|error| format!("{error:#}"))
            }
        }
    }

    /// Bytes of memory for the tensors between the integer steps, if all of the
    /// network runs in integers.
    pub fn memory(&self) -> Option<usize> {
        match &self.engine {
            Engine::Program { program, .. } => Some(program.memory_bytes()),
            Engine::Tract(_) => None,
        }
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

fn run_tract(
    state: &mut TypedSimpleState,
    shape: &[usize],
    input: &[f32],
) -> TractResult<[f32; Expression::COUNT]> {
    let input = Tensor::from_shape(shape, input)?;
    let outputs = state.run(tvec!(input.into_tvalue()))?;
    let output = outputs[0].try_as_plain_ram()?;
    Ok(output.as_slice::<f32>()?.try_into()?)
}

/// Says what stays with tract, by operation and with an example each.
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

/// Puts one node in the place of all that a program does.
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
    // Weights that nobody reads any more would stay in memory.
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

/// tract's plan for a graph, in which `op` may stand for a part.
fn plan(
    proto: &ModelProto,
    op: Option<&IntegerNetwork>,
    shape: [usize; 4],
) -> TractResult<Arc<TypedSimplePlan>> {
    let graph = proto.graph.as_ref().expect("its graph was looked at");
    import(graph, proto.opset(), shape, op)?
        .into_optimized()?
        .into_runnable()
}

fn check_input(
    graph: &GraphProto,
    manifest: &Manifest,
    paths: &ModelPaths,
) -> Result<(), ModelError> {
    // Up to ONNX IR 3 each initializer is listed as an input too.
    let inputs: Vec<_> = graph
        .input
        .iter()
        .filter(|input| graph.initializer.iter().all(|i| i.name != input.name))
        .collect();
    let [input] = inputs.as_slice() else {
        return Err(ModelError::InputCount {
            path: paths.onnx.clone(),
            names: inputs.iter().map(|input| input.name.clone()).collect(),
        });
    };
    let fact = input.r#type.as_ref().and_then(|t| t.tensor_type.as_ref());
    let Some(tensor) = fact else {
        return Err(ModelError::InputType {
            path: paths.onnx.clone(),
            name: input.name.clone(),
            found: "no tensor".into(),
        });
    };
    if tensor.elem_type != onnx::FLOAT {
        return Err(ModelError::InputType {
            path: paths.onnx.clone(),
            name: input.name.clone(),
            found: onnx::element_name(tensor.elem_type),
        });
    }
    // Without a shape, or with a name for a side, any size fits.
    let Some(shape) = &tensor.shape else {
        return Ok(());
    };
    let expected = manifest.input.shape();
    let fits = shape.dim.len() == expected.len()
        && std::iter::zip(&shape.dim, expected).all(|(dim, expected)| {
            dim.dim_value
                .is_none_or(|value| usize::try_from(value) == Ok(expected))
        });
    if fits {
        return Ok(());
    }
    let found: Vec<_> = shape
        .dim
        .iter()
        .map(|dim| match (&dim.dim_value, &dim.dim_param) {
            (Some(value), _) => value.to_string(),
            (None, Some(name)) => name.clone(),
            (None, None) => "?".into(),
        })
        .collect();
    Err(ModelError::InputShape {
        path: paths.onnx.clone(),
        manifest: paths.manifest.clone(),
        name: input.name.clone(),
        found: format!("[{}]", found.join(", ")),
        expected: expected.into(),
    })
}

fn check_output(graph: &GraphProto, paths: &ModelPaths) -> Result<(), ModelError> {
    if let [output] = graph.output.as_slice() {
        // tract panics on one that comes from nowhere.
        if graph.node.iter().any(|n| n.output.contains(&output.name)) {
            return Ok(());
        }
        return Err(ModelError::Onnx {
            path: paths.onnx.clone(),
            reason: format!("no node of it computes its output '{}'", output.name),
        });
    }
    Err(ModelError::OutputCount {
        path: paths.onnx.clone(),
        names: graph.output.iter().map(|o| o.name.clone()).collect(),
    })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::onnx::TensorProto;
    use super::*;
    use crate::observe::expression::Probabilities;

    const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/classify/tiny");

    fn tiny() -> ModelProto {
        ModelProto::decode(&*std::fs::read(format!("{TINY}.onnx")).unwrap()).unwrap()
    }

    fn load(proto: ModelProto) -> Network {
        let paths = ModelPaths::new(Path::new(TINY));
        let manifest = Manifest::read(&paths.manifest).unwrap();
        Network::from_proto(proto, &manifest, &paths).unwrap()
    }

    #[test]
    fn an_output_from_nowhere_is_told() {
        let paths = ModelPaths::new(Path::new(TINY));
        let manifest = Manifest::read(&paths.manifest).unwrap();
        let mut proto = tiny();
        proto.graph.as_mut().unwrap().output[0].name = "nowhere".to_owned();
        let error = Network::from_proto(proto, &manifest, &paths).err().unwrap();
        assert!(error.to_string().contains("'nowhere'"), "{error}");
    }

    #[test]
    fn a_convolution_whose_sizes_do_not_fit_is_told() {
        use super::onnx::AttributeProto;
        let paths = ModelPaths::new(Path::new(TINY));
        let manifest = Manifest::read(&paths.manifest).unwrap();
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
            let error = Network::from_proto(proto, &manifest, &paths).err();
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
        // Weights with an axis less, as fuzzing made them.
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
        let error = Network::from_proto(proto, &manifest, &paths).err().unwrap();
        assert!(error.to_string().contains("does not suit"), "{error}");
    }

    #[test]
    fn weights_of_an_impossible_shape_are_told() {
        let paths = ModelPaths::new(Path::new(TINY));
        let manifest = Manifest::read(&paths.manifest).unwrap();
        for dims in [&[1 << 62, 8][..], &[1 << 32, 1 << 32, 1], &[3]] {
            let mut proto = tiny();
            let weights = &mut proto.graph.as_mut().unwrap().initializer;
            let largest = weights.iter_mut().max_by_key(|tensor| tensor.dims.len());
            largest.unwrap().dims = dims.to_vec();
            let error = Network::from_proto(proto, &manifest, &paths).err().unwrap();
            assert!(error.to_string().contains("are no tensor of"), "{error}");
        }
    }

    fn stock(proto: &ModelProto, input: &[f32]) -> [f32; 7] {
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
        run_tract(&mut state, &[1, 1, 16, 16], input).unwrap()
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
    fn a_softmax_at_the_end_stays_with_tract() {
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

        let logits = load(tiny()).run(&input()).unwrap();
        let expected = Probabilities::from_logits(logits);
        for (p, expected) in network.run(&input()).unwrap().iter().zip(expected.0) {
            assert!((p - expected).abs() < 1e-6, "{p} for {expected}");
        }
    }

    #[test]
    fn what_follows_an_unknown_layer_stays_with_tract() {
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
        assert_eq!(kernel("b2_project"), Some(Kernel::best().name()));
        assert_eq!(kernel("head"), Some("tract"));
        // tract multiplies by the reciprocal of a scale, so a quantum (0.047)
        // may lie between the two.
        for (output, expected) in network.run(&input()).unwrap().iter().zip(expected) {
            assert!(
                (output - expected).abs() < 0.0471,
                "{output} for {expected}"
            );
        }
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
        assert_eq!(network.memory(), None);
        let outputs = network.run(&[0.5; 256]).unwrap();
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
        let outputs = network.run(&input()).unwrap();
        for (output, expected) in outputs.iter().zip(expected) {
            assert!(
                (output - expected).abs() < 0.0471,
                "{output} for {expected}"
            );
        }
        assert_ne!(outputs, load(tiny()).run(&input()).unwrap());
    }
}
