//! A new output with a pipeline around it: prints the box of each face in a
//! recording (a picture, a folder of pictures, .y4m or .mjpeg).
//!
//!     cargo run --example print_boxes -- tests/data/photos

use std::error::Error;
use std::time::Duration;

use affectd::assets;
use affectd::capture::{self, Pace};
use affectd::decide::{self, Decider};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::observe::Classifier;
use affectd::output::{Changes, Output, Report};
use affectd::pipeline::{Pipeline, Stages, Step};
use affectd::track::{self, Tracker};

struct PrintBoxes;

impl Output for PrintBoxes {
    fn update(&mut self, report: &Report<'_>) -> Changes {
        // Without a new frame, the report repeats the faces of the last one.
        if report.is_new {
            for face in report.faces {
                println!("frame {}: face {} {:?}", report.frame, face.id, face.rect);
            }
        }
        Changes::NONE
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let recording = std::env::args()
        .nth(1)
        .ok_or("give a recording as the argument")?;
    let source = capture::open(&capture::Options {
        source: recording.parse()?,
        pace: Pace::Fast,
        ..capture::Options::default()
    })?;

    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE)?)?;
    let detector = Detector::new(cascade, detect::Options::default())?;
    let search = Search::new(detector, SearchOptions::default())?;
    // Separate photographs: a face counts at once, and ends with its picture.
    let tracker = Tracker::new(track::Options {
        confirm: 1,
        lost_after: Duration::from_millis(400),
        ..track::Options::default()
    });
    let stages = Stages::new(search, tracker, Decider::new(decide::Options::default()))
        .with_observer(
            Classifier::load(&assets::find(assets::DEFAULT_MODEL)?)?,
            Duration::ZERO,
        );

    let mut pipeline = Pipeline::new(source, stages, vec![Box::new(PrintBoxes)]);
    while pipeline.step() != Step::Ended {}
    pipeline.finish("end of recording");
    Ok(())
}
