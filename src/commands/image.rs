//! `affectd image`: finds faces in pictures and their apparent expressions.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::CommandResult;
use super::pictures::{DetectArgs, Failures, Named, TurnArgs, ended, write_line};
use crate::assets;
use crate::detect::Detector;
use crate::draw::annotate::{self, Annotation};
use crate::image::{self, LumaImage, Reader};
use crate::observe::Classifier;

/// Find faces in pictures, classify each, and print one JSON line per file
///
/// Each line is {"file","width","height","faces":[{"box":[x,y,w,h],"label",
/// "confidence","probabilities":{…}}]}. Boxes are in pixels from the top left
/// corner. The label is the most probable of the seven expressions. Files are PNG, JPEG or
/// PGM, of up to 8000x8000 pixels.
#[derive(clap::Args, Clone, Debug)]
#[allow(
    rustdoc::broken_intra_doc_links,
    reason = "the text is shown by --help"
)]
#[command(after_help = EXAMPLES)]
pub struct Args {
    /// PNG, JPEG or PGM files; - for one on standard input
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,

    /// Also write a copy of each picture with boxes, labels and bars as
    /// DIR/NAME-faces.png
    #[arg(long, value_name = "DIR")]
    pub annotate: Option<PathBuf>,

    /// Classifier: a path, or the name of a shipped one
    #[arg(long, value_name = "MODEL", default_value = assets::DEFAULT_MODEL)]
    pub model: String,

    #[command(flatten)]
    pub turn: TurnArgs,

    #[command(flatten)]
    pub detect: DetectArgs,
}

const EXAMPLES: &str = "\
Examples:
  affectd image portrait.jpg
  affectd image --annotate seen *.jpg
  affectd image portrait.jpg | jq -r '.faces[].label'

If a file cannot be read, an error goes to standard error, the other files are
still processed, and the exit code is 1.";

#[derive(Serialize)]
struct Line<'a> {
    file: &'a str,
    width: u32,
    height: u32,
    faces: Vec<Face>,
}

#[derive(Serialize)]
struct Face {
    #[serde(rename = "box")]
    rect: (i32, i32, u32, u32),
    label: &'static str,
    confidence: f32,
    probabilities: Named,
}

impl From<&Annotation> for Face {
    fn from(face: &Annotation) -> Self {
        let (label, confidence) = face.probabilities.top();
        let rect = face.rect;
        Self {
            rect: (rect.x, rect.y, rect.width, rect.height),
            label: label.name(),
            confidence,
            probabilities: Named(face.probabilities),
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The model, the cascade, an option or the directory for copies is invalid, or
/// standard output cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let mut detector = args.detect.detector()?;
    let mut classifier = Classifier::load(&assets::find(&args.model)?)?;
    if let Some(directory) = &args.annotate {
        fs::create_dir_all(directory)
            .map_err(|error| format!("{}: cannot be created: {error}", directory.display()))?;
    }
    let mut failures = Failures::default();
    let result = each_file(args, &mut detector, &mut classifier, &mut failures);
    ended(result, &failures)
}

fn each_file(
    args: &Args,
    detector: &mut Detector,
    classifier: &mut Classifier,
    failures: &mut Failures,
) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut reader = Reader::turning(args.turn.turn());
    let mut image = LumaImage::default();
    let mut names = HashSet::new();
    for file in &args.files {
        if let Err(error) = reader.luma(file, &mut image) {
            failures.add(&error);
            continue;
        }
        let picture = image.view();
        let mut faces = Vec::new();
        for detection in detector.detect(picture) {
            match classifier.classify(&picture, detection.rect) {
                Ok(probabilities) => faces.push(Annotation {
                    rect: detection.rect,
                    probabilities,
                }),
                Err(error) => failures.add(&format_args!("{}: {error}", file.display())),
            }
        }
        let line = Line {
            file: &file.to_string_lossy(),
            width: image.width,
            height: image.height,
            faces: faces.iter().map(Face::from).collect(),
        };
        write_line(&mut out, &line)?;
        if let Some(directory) = &args.annotate {
            let copy = directory.join(copy_name(file, &mut names));
            let written = reader.last_as_rgb(file).and_then(|mut rgb| {
                rgb.turn(args.turn.turn());
                image::write_png_rgb(&copy, &annotate::draw(&rgb, &faces))
            });
            if let Err(error) = written {
                failures.add(&error);
            }
        }
    }
    Ok(())
}

/// A name for the annotated copy that differs from all other copies of this run
/// and from the original.
fn copy_name(file: &Path, taken: &mut HashSet<String>) -> String {
    let stem = if file == Path::new(image::STDIN) {
        "stdin".into()
    } else {
        file.file_stem().unwrap_or_default().to_string_lossy()
    };
    let mut name = format!("{stem}-faces.png");
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{stem}-faces-{number}.png");
        number += 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_of_equal_names_are_numbered() {
        let mut taken = HashSet::new();
        let mut name = |file: &str| copy_name(Path::new(file), &mut taken);
        assert_eq!(name("a/1.jpg"), "1-faces.png");
        assert_eq!(name("b/1.jpg"), "1-faces-2.png");
        assert_eq!(name("b/1.png"), "1-faces-3.png");
        assert_eq!(name("-"), "stdin-faces.png");
    }
}
