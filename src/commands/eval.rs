//! `affectd eval`: measures the classifier on labelled pictures.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use super::CommandResult;
use super::faces::{Verifier, VerifyArgs};
use super::pictures::{DetectArgs, Failures, TurnArgs, ended};
use crate::accuracy::data::{DataSet, Labels, Sample, Selection};
use crate::accuracy::subjects::{BySubject, Naming, Spread};
use crate::accuracy::{Report, Tally};
use crate::assets;
use crate::detect::Detector;
use crate::frame::Rect;
use crate::nn::Workspace;
use crate::observe::expression::{Expression, Probabilities};
use crate::observe::{Classifier, ClassifyError};

/// Measure the classifier on pictures whose expression is known
///
/// PATH is one of: a folder with one folder of pictures per class (angry or
/// anger, disgust, fear, happy, sad, surprise, neutral, or 0 to 6 in this order);
/// Kaggle's fer2013.csv; a directory with the mosaic images.png and its
/// labels.csv. Pictures are PNG, JPEG or PGM.
#[derive(clap::Args, Clone, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// Folder with class folders, fer2013.csv, or directory with images.png and
    /// labels.csv
    #[arg(value_name = "PATH")]
    pub path: PathBuf,

    /// Classifier: a path, or the name of a shipped one
    #[arg(long, value_name = "MODEL", default_value = assets::DEFAULT_MODEL)]
    pub model: String,

    /// How the face is cut out of each picture: none uses the whole picture,
    /// haar uses the largest face that the detector finds. A picture without a
    /// detected face counts as a wrong answer
    #[arg(long, value_enum, default_value_t = Crop::None)]
    pub crop: Crop,

    /// Use only the rows with this usage, such as PublicTest (fer2013.csv and
    /// mosaic)
    #[arg(long, value_name = "USAGE")]
    pub usage: Option<String>,

    /// Which labels count as the truth (mosaic)
    #[arg(long, value_enum, default_value_t = Labels::Fer2013)]
    pub labels: Labels,

    /// Leave out copies and near copies of training images, and images that
    /// exist only as a lossy JPEG (mosaic)
    #[arg(long)]
    pub without_copies: bool,

    /// The class of a folder with another name, or skip to leave the folder
    /// out; can be repeated
    #[arg(long = "folder", value_name = "NAME=CLASS", value_parser = folder)]
    pub folders: Vec<(String, Option<Expression>)>,

    /// Also report how accuracy differs between people. The file names of this
    /// data set name the person (class folders)
    #[arg(long, value_enum, value_name = "DATASET")]
    pub subjects: Option<Naming>,

    /// The number of folds to divide the people into
    #[arg(long, value_name = "N", default_value_t = 10, requires = "subjects",
          value_parser = clap::value_parser!(u16).range(1..))]
    pub folds: u16,

    /// Also write the figures to this file as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,

    /// Also write the answer for each picture to this file as CSV
    #[arg(long, value_name = "FILE")]
    pub predictions: Option<PathBuf>,

    #[command(flatten)]
    pub verify: VerifyArgs,

    #[command(flatten)]
    pub turn: TurnArgs,

    #[command(flatten)]
    pub detect: DetectArgs,
}

const EXAMPLES: &str = "\
Examples:
  affectd eval test-pictures/
  affectd eval fer2013.csv --usage PublicTest --json figures.json
  affectd eval mosaic/ --usage PublicTest --labels ferplus --without-copies
  affectd eval photos/ --crop haar --min-size 60 --predictions answers.csv
  affectd eval ck+/ --folder contempt=skip --subjects ckplus

The interval is Wilson's. The expected calibration error uses 15 bins of equal
width over the probability of the most probable class. Macro F1 is the mean over
the classes that have pictures. If a picture cannot be read, an error goes to
standard error, the picture is left out of all figures, and the exit code is 1.";

/// How a face is cut out of a picture.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum Crop {
    None,
    Haar,
}

fn folder(text: &str) -> Result<(String, Option<Expression>), String> {
    let (name, class) = text
        .split_once('=')
        .ok_or("write NAME=CLASS, such as contempt=skip or joy=happy")?;
    let class = match class {
        "skip" => None,
        class => Some(
            class
                .parse::<Expression>()
                .map_err(|error| format!("{error}; or skip"))?,
        ),
    };
    Ok((name.to_owned(), class))
}

/// What `--json` writes: the figures and what was measured.
#[derive(Serialize)]
struct Json<'a> {
    #[serde(flatten)]
    report: &'a Report,
    data: String,
    model: &'a str,
    model_sha256: &'a str,
    crop: &'static str,
    usage: Option<&'a str>,
    labels: &'static str,
    without_copies: bool,
    subjects: Option<&'a Spread>,
    /// Pictures that an option or the label table leaves out.
    left_out: usize,
    /// Pictures that could not be read.
    unreadable: usize,
    images_per_second: f64,
}

/// Runs the command.
///
/// # Errors
/// The data, the model, the cascade or an option is invalid, or a file cannot be
/// written.
pub fn run(args: &Args) -> CommandResult {
    let workspace = Workspace::default();
    let mut classifier = Classifier::load_in(&assets::find(&args.model)?, &workspace)?;
    let mut finder = match args.crop {
        Crop::None => None,
        Crop::Haar => Some((
            args.detect.detector()?,
            Verifier::load(args.verify, &workspace)?,
        )),
    };
    let mut data = DataSet::open(&args.path, &selection(args))?;
    let subjects = subjects(args, &data)?;
    // Created before the work, so that a wrong path fails at once.
    let mut predictions = match &args.predictions {
        Some(path) => Some(Predictions::create(path, args.crop)?),
        None => None,
    };
    let json = match &args.json {
        Some(path) => Some((path, create(path)?)),
        None => None,
    };

    let mut tally = Tally::default();
    let mut people = BySubject::default();
    let mut failures = Failures::default();
    let bar = progress(data.len());
    let start = Instant::now();
    for index in 0..data.len() {
        let answered = match data.read(index) {
            Ok(sample) => {
                let answer = answer(&sample, &mut classifier, finder.as_mut());
                answer
                    .map(|answer| {
                        match answer {
                            Some((_, probabilities)) => tally.add(sample.truth, &probabilities),
                            None => tally.add_not_found(sample.truth),
                        }
                        if let Some(subjects) = &subjects {
                            let right =
                                answer.is_some_and(|(_, said)| said.top().0 == sample.truth);
                            people.add(&subjects[index], right);
                        }
                        (sample.name.to_owned(), sample.truth, answer)
                    })
                    .map_err(|error| format!("{}: {error}", sample.name))
            }
            Err(error) => Err(error.to_string()),
        };
        match answered {
            Ok((name, truth, answer)) => {
                if let Some(predictions) = &mut predictions {
                    predictions.add(&name, truth, answer)?;
                }
            }
            Err(error) => bar.suspend(|| failures.add(&error)),
        }
        bar.inc(1);
    }
    let seconds = start.elapsed();
    bar.finish_and_clear();
    if let Some(predictions) = predictions {
        predictions.finish()?;
    }

    let report = tally.report();
    if report.images == 0 {
        return Err(format!("{}: no picture could be evaluated", args.path.display()).into());
    }
    let spread = subjects.map(|_| people.report(args.folds.into()));
    let rate = report.images as f64 / seconds.as_secs_f64().max(1e-9);
    if let Some((path, file)) = json {
        let manifest = classifier.manifest();
        let json = Json {
            report: &report,
            data: args.path.display().to_string(),
            model: &manifest.name,
            model_sha256: &manifest.sha256,
            crop: args.crop.name(),
            usage: args.usage.as_deref(),
            labels: args.labels.name(),
            without_copies: args.without_copies,
            subjects: spread.as_ref(),
            left_out: data.left_out(),
            unreadable: failures.count(),
            images_per_second: rate,
        };
        write_json(file, &json).map_err(|error| unwritten(path, &error))?;
    }
    let result = print(
        args,
        &report,
        spread.as_ref(),
        data.left_out(),
        failures.count(),
        seconds,
        rate,
    );
    ended(result, &failures)
}

/// The person in each picture, if `--subjects` is given.
fn subjects(args: &Args, data: &DataSet) -> Result<Option<Vec<String>>, String> {
    let Some(naming) = args.subjects else {
        return Ok(None);
    };
    (0..data.len())
        .map(|index| {
            let path = Path::new(data.name(index));
            let file = path.file_name().unwrap_or_default().to_string_lossy();
            naming.subject(&file).map(str::to_owned).ok_or_else(|| {
                format!(
                    "{}: this is not a file name of the data set {}, such as {}; leave --subjects out, or name the data set that the files come from",
                    path.display(),
                    naming.name(),
                    naming.example()
                )
            })
        })
        .collect::<Result<_, _>>()
        .map(Some)
}

fn selection(args: &Args) -> Selection {
    Selection {
        usage: args.usage.clone(),
        labels: args.labels,
        without_copies: args.without_copies,
        folders: args.folders.clone(),
        turn: args.turn.turn(),
    }
}

impl Crop {
    const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Haar => "haar",
        }
    }
}

/// Where the face was and its probabilities.
type Answer = (Rect, Probabilities);

/// The classifier's answer; `None` if no face was found.
fn answer(
    sample: &Sample<'_>,
    classifier: &mut Classifier,
    finder: Option<&mut (Detector, Verifier)>,
) -> Result<Option<Answer>, ClassifyError> {
    let picture = sample.picture;
    let Some((detector, verifier)) = finder else {
        let probabilities = classifier.classify_whole(&picture)?;
        return Ok(Some((picture.bounds(), probabilities)));
    };
    let largest = verifier.largest_face(&picture, detector)?;
    largest
        .map(|face| Ok((face.at.rect, classifier.classify_face(&picture, face.at)?)))
        .transpose()
}

fn progress(images: usize) -> ProgressBar {
    // The bar is hidden if standard error is not a terminal.
    let style = "{bar:40} {pos}/{len} images, {per_sec}, {eta} left";
    let bar = ProgressBar::new(images as u64);
    match ProgressStyle::with_template(style) {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

fn print(
    args: &Args,
    report: &Report,
    spread: Option<&Spread>,
    left_out: usize,
    unreadable: usize,
    seconds: Duration,
    rate: f64,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    write!(out, "images    {}", report.images)?;
    if left_out > 0 {
        write!(out, ", {left_out} left out")?;
    }
    if unreadable > 0 {
        write!(out, ", {unreadable} unreadable and not in the figures")?;
    }
    writeln!(out, "  (model {}, crop {})", args.model, args.crop.name())?;
    writeln!(out, "{report}")?;
    if let Some(spread) = spread {
        writeln!(out, "\n{spread}")?;
    }
    writeln!(
        out,
        "\n{rate:.1} images a second ({:.1} s)",
        seconds.as_secs_f64()
    )
}

fn unwritten(path: &Path, error: &dyn std::fmt::Display) -> String {
    format!("{}: cannot be written: {error}", path.display())
}

fn create(path: &Path) -> Result<File, String> {
    File::create(path).map_err(|error| unwritten(path, &error))
}

fn write_json(file: File, json: &Json<'_>) -> io::Result<()> {
    let mut out = BufWriter::new(file);
    serde_json::to_writer_pretty(&mut out, json)?;
    out.write_all(b"\n")?;
    out.flush()
}

/// The file that `--predictions` names.
struct Predictions {
    path: PathBuf,
    writer: csv::Writer<File>,
    with_box: bool,
}

impl Predictions {
    fn create(path: &Path, crop: Crop) -> Result<Self, String> {
        let mut predictions = Self {
            path: path.to_owned(),
            writer: csv::Writer::from_writer(create(path)?),
            with_box: crop == Crop::Haar,
        };
        let mut header = vec!["image", "label", "predicted", "confidence"];
        header.extend(Expression::ALL.map(Expression::name));
        if predictions.with_box {
            header.extend(["x", "y", "width", "height"]);
        }
        predictions.write(&header)?;
        Ok(predictions)
    }

    /// Writes a row; the fields of the answer are empty if no face was found.
    fn add(&mut self, name: &str, truth: Expression, answer: Option<Answer>) -> Result<(), String> {
        let mut row = vec![name.to_owned(), truth.to_string()];
        if let Some((rect, probabilities)) = answer {
            let (predicted, confidence) = probabilities.top();
            row.extend([predicted.to_string(), confidence.to_string()]);
            row.extend(probabilities.0.map(|p| p.to_string()));
            if self.with_box {
                let Rect {
                    x,
                    y,
                    width,
                    height,
                } = rect;
                row.extend([x.to_string(), y.to_string()]);
                row.extend([width.to_string(), height.to_string()]);
            }
        } else {
            let empty = 2 + Expression::COUNT + if self.with_box { 4 } else { 0 };
            row.extend(std::iter::repeat_n(String::new(), empty));
        }
        self.write(&row)
    }

    fn write<T: AsRef<[u8]>>(&mut self, row: &[T]) -> Result<(), String> {
        self.writer
            .write_record(row)
            .map_err(|error| unwritten(&self.path, &error))
    }

    fn finish(mut self) -> Result<(), String> {
        self.writer
            .flush()
            .map_err(|error| unwritten(&self.path, &error))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_given_a_class_or_skipped() {
        assert_eq!(folder("contempt=skip"), Ok(("contempt".to_owned(), None)));
        assert_eq!(
            folder("1=surprise"),
            Ok(("1".to_owned(), Some(Expression::Surprise)))
        );
        assert!(folder("contempt").unwrap_err().contains("NAME=CLASS"));
        let error = folder("x=furious").unwrap_err();
        assert!(
            error.contains("furious") && error.contains("skip"),
            "{error}"
        );
    }
}
