//! Runs a model's network alone, for comparing it with other runtimes: the
//! other side of `scripts/bench-inference` and `scripts/compare-onnxruntime`.
//!
//! `inference MODEL` runs it as the daemon does, `inference MODEL --stock` with
//! tract alone. It answers lines on standard input. `time N` runs the last
//! input N times; the answer is the processor time of each run in nanoseconds.
//! `run FILE` runs each input in a file of little-endian f32; the answer is a
//! line of outputs for each. `outputs` gives the names of a face network's
//! outputs. `peak` gives the kernel's name, the number of products of weights
//! and inputs in a run, and how many products this core could compute per
//! second.

mod peak;

use std::error::Error;
use std::io::{BufRead, Write};

use affectd::observe::{Classifier, FaceNetwork};
use rustix::time::{ClockId, clock_gettime};
use tract_onnx::prelude::*;

type Run = Box<dyn FnMut(&[f32]) -> Result<Vec<f32>, Box<dyn Error>>>;

fn fused(model: &str) -> Result<(Run, usize), Box<dyn Error>> {
    if let Some(network) = FaceNetwork::load(model.as_ref()) {
        let mut network = network?;
        let length = network.manifest().input.shape().shape.iter().product();
        let run = move |input: &[f32]| Ok(network.raw_outputs(input)?);
        return Ok((Box::new(run), length));
    }
    let mut classifier = Classifier::load(model.as_ref())?;
    let length = classifier.manifest().input.shape().shape.iter().product();
    let run = move |input: &[f32]| Ok(classifier.raw_outputs(input)?.to_vec());
    Ok((Box::new(run), length))
}

/// The names of a face network's outputs, in their order.
fn outputs(model: &str) -> Result<String, Box<dyn Error>> {
    let network = FaceNetwork::load(model.as_ref()).transpose()?;
    let names = network.iter().flat_map(FaceNetwork::outputs);
    Ok(names.collect::<Vec<_>>().join(" "))
}

fn stock(model: &str) -> Result<(Run, usize), Box<dyn Error>> {
    let shape = Classifier::load(model.as_ref())?
        .manifest()
        .input
        .shape()
        .shape;
    let plan = tract_onnx::onnx()
        .model_for_path(std::path::Path::new(model).with_extension("onnx"))?
        .with_input_fact(0, f32::fact(shape).into())?
        .into_optimized()?
        .into_runnable()?;
    let mut state = plan.spawn()?;
    let run = move |input: &[f32]| {
        let input = Tensor::from_shape(&shape, input)?.into_tvalue();
        let outputs = state.run(tvec!(input))?;
        let output = outputs[0].try_as_plain_ram()?;
        Ok(output.as_slice::<f32>()?.to_vec())
    };
    Ok((Box::new(run), shape.iter().product()))
}

/// The kernel's name, products per run, and products per second that the
/// processor could compute with it.
fn rates(model: &str) -> Result<String, Box<dyn Error>> {
    let steps = Classifier::load(model.as_ref())?.profile(1)?;
    let kernel = steps.first().map_or("none", |step| step.kernel);
    let products: u64 = steps.iter().filter_map(|step| step.macs).sum();
    let peak = peak::products_per_second(kernel).unwrap_or(0.0);
    Ok(format!("{kernel} {products} {peak:.0}"))
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let (mut run, length) = match arguments.as_slice() {
        [model] => fused(model)?,
        [model, flag] if flag == "--stock" => stock(model)?,
        _ => return Err("usage: inference MODEL [--stock]".into()),
    };
    let mut input = vec![0.25; length];
    let mut out = std::io::stdout().lock();
    for line in std::io::stdin().lock().lines() {
        let line = line?;
        match line.split_once(' ') {
            None if line == "outputs" => writeln!(out, "{}", outputs(&arguments[0])?)?,
            None if line == "peak" => writeln!(out, "{}", rates(&arguments[0])?)?,
            Some(("time", count)) => {
                let mut times = Vec::new();
                for _ in 0..count.parse()? {
                    let start = clock_gettime(ClockId::ThreadCPUTime);
                    run(&input)?;
                    let end = clock_gettime(ClockId::ThreadCPUTime);
                    let seconds = end.tv_sec - start.tv_sec;
                    times.push(seconds * 1_000_000_000 + end.tv_nsec - start.tv_nsec);
                }
                let times: Vec<_> = times.iter().map(ToString::to_string).collect();
                writeln!(out, "{}", times.join(" "))?;
            }
            Some(("run", file)) => {
                let bytes = std::fs::read(file)?;
                for bytes in bytes.chunks_exact(4 * length) {
                    let (numbers, _) = bytes.as_chunks::<4>();
                    for (value, bytes) in input.iter_mut().zip(numbers) {
                        *value = f32::from_le_bytes(*bytes);
                    }
                    // Display of f32 gives the digits that make it unique.
                    let outputs = run(&input)?;
                    let outputs: Vec<_> = outputs.iter().map(ToString::to_string).collect();
                    writeln!(out, "{}", outputs.join(" "))?;
                }
                writeln!(out)?;
            }
            _ => {
                return Err(format!(
                    "'{line}' is none of 'time N', 'run FILE', 'outputs' and 'peak'"
                )
                .into());
            }
        }
        out.flush()?;
    }
    Ok(())
}
