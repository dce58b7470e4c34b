//! `affectd model`: shows how a model runs on this machine.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use super::CommandResult;
use crate::observe::{Classifier, ClassifyError, FaceNetwork, ModelError, StepProfile};

/// Show how a model runs on this machine
///
/// Lists each step with its operation, the size of its output, its
/// multiplications, the kernel that computes it and its share of the time. Steps
/// "by N rows" are computed together with their neighbours, N rows at a time, so
/// that the data stays in the cache.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "Example:\n  affectd model models/mobilenet_v2_112.onnx")]
pub struct Args {
    /// The model: NAME.onnx or NAME.toml
    file: PathBuf,

    /// How many runs to measure
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    runs: u32,
}

/// Loads, measures and lists a model on standard output.
///
/// # Errors
/// The model cannot be loaded or fails, or standard output cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let mut network = Network::load(&args.file)?;
    // The first runs are slower: the weights are not in the caches yet.
    network.profile(args.runs.min(10))?;
    let steps = network.profile(args.runs)?;
    match write(&mut io::stdout().lock(), &network, &steps, args.runs) {
        // The reader of the pipe closed it, as `head` does.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        result => result?,
    }
    Ok(ExitCode::SUCCESS)
}

/// A model of any kind.
enum Network {
    Expression(Box<Classifier>),
    Face(Box<FaceNetwork>),
}

impl Network {
    fn load(file: &Path) -> Result<Self, ModelError> {
        match FaceNetwork::load(file) {
            Some(network) => Ok(Self::Face(Box::new(network?))),
            None => Ok(Self::Expression(Box::new(Classifier::load(file)?))),
        }
    }

    fn profile(&mut self, runs: u32) -> Result<Vec<StepProfile>, ClassifyError> {
        match self {
            Self::Expression(classifier) => classifier.profile(runs),
            Self::Face(network) => network.profile(runs),
        }
    }

    fn working_memory(&self) -> Option<usize> {
        match self {
            Self::Expression(classifier) => classifier.working_memory(),
            Self::Face(network) => network.working_memory(),
        }
    }

    /// Prints name, licence, input and outputs.
    fn describe(&self, out: &mut impl Write) -> io::Result<()> {
        let (name, licence, input, answers) = match self {
            Self::Expression(classifier) => {
                let manifest = classifier.manifest();
                let classes = format!("classes {}", manifest.classes.join(" "));
                (&manifest.name, &manifest.licence, &manifest.input, classes)
            }
            Self::Face(network) => {
                let manifest = network.manifest();
                let outputs: Vec<_> = network.outputs().collect();
                let outputs = format!("outputs {}", outputs.join(" "));
                (&manifest.name, &manifest.licence, &manifest.input, outputs)
            }
        };
        writeln!(out, "{name} ({licence})")?;
        writeln!(out, "input {:?} f32, {answers}", input.shape())
    }
}

fn write(
    out: &mut impl Write,
    network: &Network,
    steps: &[StepProfile],
    runs: u32,
) -> io::Result<()> {
    network.describe(out)?;
    writeln!(out)?;
    let name_width = steps.iter().map(|s| s.name.len()).max().unwrap_or(0).max(4);
    let kind_width = steps
        .iter()
        .map(|s| s.operation.len())
        .max()
        .unwrap_or(0)
        .max(9);
    writeln!(
        out,
        "{:name_width$}  {:kind_width$}  {:>16}  {:4}  {:>9}  {:>9}  {:11}  {:>7}  {:>6}",
        "step", "operation", "output", "type", "MACs", "weights", "kernel", "us", "share"
    )?;
    let total: Duration = steps.iter().map(|s| s.time).sum();
    let macs = |macs: Option<u64>| macs.map_or("-".into(), |macs| macs.to_string());
    for step in steps {
        let shape: Vec<_> = step.shape.iter().map(ToString::to_string).collect();
        writeln!(
            out,
            "{:name_width$}  {:kind_width$}  {:>16}  {:4}  {:>9}  {:>9}  {:11}  {:>7.1}  {:>5.1}%",
            step.name,
            step.operation,
            shape.join("x"),
            step.element,
            macs(step.macs),
            step.weights,
            step.kernel,
            micros(step.time) / f64::from(runs),
            100.0 * step.time.as_secs_f64() / total.as_secs_f64().max(f64::MIN_POSITIVE),
        )?;
    }
    writeln!(out)?;
    let all: Option<u64> = steps.iter().map(|step| step.macs).sum();
    writeln!(
        out,
        "{} steps, {} MACs, {:.1} us a run (mean of {runs})",
        steps.len(),
        macs(all),
        micros(total) / f64::from(runs)
    )?;
    let weights: usize = steps.iter().map(|step| step.weights).sum();
    match network.working_memory() {
        Some(bytes) => writeln!(
            out,
            "all in integers; {weights} bytes of packed weights, {bytes} bytes of working memory"
        ),
        None => writeln!(
            out,
            "tract runs all or some steps, and allocates memory in each run"
        ),
    }
}

fn micros(time: Duration) -> f64 {
    1e6 * time.as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn face_networks_run_in_integers_alone() {
        for (name, output) in [("face_64", "presence"), ("face_eyes_32", "openness")] {
            let path = format!("{}/models/{name}", env!("CARGO_MANIFEST_DIR"));
            let mut network = Network::load(path.as_ref()).unwrap();
            let steps = network.profile(1).unwrap();
            let mut text = Vec::new();
            write(&mut text, &network, &steps, 1).unwrap();
            let text = String::from_utf8(text).unwrap();
            assert!(text.starts_with(&format!("{name} (Apache-2.0)")), "{text}");
            assert!(
                text.contains(output) && text.contains("all in integers"),
                "{text}"
            );
        }
    }

    #[test]
    fn each_step_is_a_line() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/classify/tiny");
        let mut network = Network::load(path.as_ref()).unwrap();
        let steps = network.profile(2).unwrap();
        let mut text = Vec::new();
        write(&mut text, &network, &steps, 2).unwrap();
        let text = String::from_utf8(text).unwrap();
        let line = |name: &str| {
            let mut lines = text.lines();
            let line = lines.find(|line| line.split(' ').next() == Some(name));
            line.unwrap_or_else(|| panic!("no line {name} in\n{text}"))
        };
        let stem = line("stem");
        assert!(
            stem.contains("conv 3x3 /2") && stem.contains("8x8x8"),
            "{stem}"
        );
        assert!(stem.contains(" 4608 "), "8 x 8 x 8 x 9 MACs: {stem}");
        let depthwise = line("b3_depthwise");
        assert!(depthwise.contains("depthwise 3x3 /2") && depthwise.contains("4x4x20"));
        assert!(text.contains("13 steps, 94327 MACs"), "{text}");
        assert!(text.contains("all in integers"));
    }
}
