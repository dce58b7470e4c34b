//! `affectd image`: finds faces in pictures and their apparent expressions.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};

use super::CommandResult;
use super::faces::{self, Verifier, VerifyArgs};
use super::pictures::{DetectArgs, Failures, TurnArgs, ended, write_line};
use crate::assets;
use crate::detect::{Detection, Detector};
use crate::draw::annotate::{self, Annotation};
use crate::frame::LumaView;
use crate::image::{self, LumaImage, Reader};
use crate::nn::Workspace;
use crate::observe::{Classifier, ClassifyError, record};

/// Find faces in pictures, classify each, and print one JSON line per file
///
/// Each line is {"file","width","height","faces":[{"box":[x,y,w,h],"label",
/// "confidence","probabilities":{…},"presence",…}]}. Boxes are in pixels from the top left
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
    pub verify: VerifyArgs,

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
    /// Boxes of the cascade that the face net rejected.
    #[serde(skip_serializing_if = "Option::is_none")]
    not_a_face: Option<usize>,
}

struct Face(Annotation);

impl Serialize for Face {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Annotation {
            rect,
            probabilities,
            seen,
        } = &self.0;
        let (label, confidence) = probabilities.top();
        let mut map = serializer.serialize_map(None)?;
        map.serialize_entry("box", &(rect.x, rect.y, rect.width, rect.height))?;
        map.serialize_entry("label", label.name())?;
        map.serialize_entry("confidence", &confidence)?;
        map.serialize_entry("probabilities", probabilities)?;
        if let Some(seen) = seen {
            record::serialize_face(&mut map, seen)?;
            record::serialize_landmarks(&mut map, seen)?;
        }
        map.end()
    }
}

/// Runs the command.
///
/// # Errors
/// The model, the cascade, an option or the directory for copies is invalid, or
/// standard output cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let mut detector = args.detect.detector()?;
    let workspace = Workspace::default();
    let mut classifier = Classifier::load_in(&assets::find(&args.model)?, &workspace)?;
    let mut verifier = Verifier::load(args.verify, &workspace)?;
    if let Some(directory) = &args.annotate {
        fs::create_dir_all(directory)
            .map_err(|error| format!("{}: cannot be created: {error}", directory.display()))?;
    }
    let mut failures = Failures::default();
    let stages = Stages {
        detector: &mut detector,
        verifier: &mut verifier,
        classifier: &mut classifier,
    };
    let result = each_file(args, stages, &mut failures);
    ended(result, &failures)
}

/// The stages that a picture passes through.
struct Stages<'a> {
    detector: &'a mut Detector,
    verifier: &'a mut Verifier,
    classifier: &'a mut Classifier,
}

impl Stages<'_> {
    /// The face in a box, or `None` if there is none.
    fn look(
        &mut self,
        picture: &LumaView<'_>,
        detection: Detection,
    ) -> Result<Option<Annotation>, ClassifyError> {
        let Some(faces::Face { at, seen }) = self.verifier.face(picture, detection)? else {
            return Ok(None);
        };
        Ok(Some(Annotation {
            rect: at.rect,
            probabilities: self.classifier.classify_face(picture, at)?,
            seen,
        }))
    }
}

fn each_file(args: &Args, mut stages: Stages<'_>, failures: &mut Failures) -> io::Result<()> {
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
        let mut refused = 0;
        for detection in stages.detector.detect(picture).to_vec() {
            match stages.look(&picture, detection) {
                Ok(Some(face)) => faces.push(face),
                Ok(None) => refused += 1,
                Err(error) => failures.add(&format_args!("{}: {error}", file.display())),
            }
        }
        let line = Line {
            file: &file.to_string_lossy(),
            width: image.width,
            height: image.height,
            faces: faces.iter().copied().map(Face).collect(),
            not_a_face: stages.verifier.is_on().then_some(refused),
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
