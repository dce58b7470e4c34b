//! `affectd detect`: finds faces in pictures.

use std::io;
use std::path::PathBuf;

use serde::Serialize;

use super::CommandResult;
use super::pictures::{DetectArgs, Failures, TurnArgs, ended, write_line};
use crate::detect::{Detection, Detector};
use crate::image::{LumaImage, Reader};

/// Find faces in pictures and print one JSON line per file
///
/// Each line is {"file","width","height","faces":[{"box":[x,y,w,h],"neighbors"}]}.
/// Boxes are in pixels from the top left corner; "neighbors" is the number of
/// windows that agreed on the face. Files are PNG, JPEG or PGM, of up to 8000x8000 pixels.
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

    #[command(flatten)]
    pub turn: TurnArgs,

    #[command(flatten)]
    pub detect: DetectArgs,
}

const EXAMPLES: &str = "\
Examples:
  affectd detect portrait.jpg
  affectd detect --min-size 80 --cascade haarcascade_frontalface_alt2.xml *.jpg
  affectd detect --min-neighbors 0 portrait.jpg    every window that passes

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
    neighbors: u32,
}

impl From<&Detection> for Face {
    fn from(detection: &Detection) -> Self {
        let rect = detection.rect;
        Self {
            rect: (rect.x, rect.y, rect.width, rect.height),
            neighbors: detection.neighbors,
        }
    }
}

/// Runs the command.
///
/// # Errors
/// The cascade or an option is invalid, or standard output cannot be written.
pub fn run(args: &Args) -> CommandResult {
    let mut detector = args.detect.detector()?;
    let mut failures = Failures::default();
    let result = each_file(args, &mut detector, &mut failures);
    ended(result, &failures)
}

fn each_file(args: &Args, detector: &mut Detector, failures: &mut Failures) -> io::Result<()> {
    let mut out = io::stdout().lock();
    let mut reader = Reader::turning(args.turn.turn());
    let mut image = LumaImage::default();
    for file in &args.files {
        if let Err(error) = reader.luma(file, &mut image) {
            failures.add(&error);
            continue;
        }
        let line = Line {
            file: &file.to_string_lossy(),
            width: image.width,
            height: image.height,
            faces: detector
                .detect(image.view())
                .iter()
                .map(Face::from)
                .collect(),
        };
        write_line(&mut out, &line)?;
    }
    Ok(())
}
