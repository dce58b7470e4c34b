//! Takes a recording through all stages and writes events to standard output.
//!
//! A recording is a Y4M or Motion-JPEG file, or a directory of pictures:
//!
//! ```sh
//! cargo run --example pipeline -- tests/data/photos
//! ```

use std::error::Error;
use std::time::Duration;

use affectd::assets;
use affectd::capture::{self, Pace, SourceSpec};
use affectd::decide::{self, Decider};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::observe::Classifier;
use affectd::output::events::{self, Events, Hello};
use affectd::pipeline::{Pipeline, Stages, Step};
use affectd::track::{self, Tracker};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("give a recording as the argument")?;
    let source = capture::open(&capture::Options {
        source: SourceSpec::Replay(path.into()),
        pace: Pace::Fast,
        ..capture::Options::default()
    })?;

    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE)?)?;
    let detector = Detector::new(cascade, detect::Options::default())?;
    let search = Search::new(detector, SearchOptions::default())?;
    // Each picture may show another person, so a face counts at once.
    let tracker = Tracker::new(track::Options {
        confirm: 1,
        ..track::Options::default()
    });
    let classifier = Classifier::load(&assets::find(assets::DEFAULT_MODEL)?)?;
    let hello = Hello {
        source: source.description(),
        live: source.is_live(),
        model: classifier.manifest().name.clone(),
        ..Hello::default()
    };
    let stages = Stages::new(search, tracker, Decider::new(decide::Options::default()))
        .with_observer(classifier, Duration::ZERO);

    let options = events::Options {
        stdout: true,
        ..events::Options::default()
    };
    let output = Events::new(&options, hello)?;
    let mut pipeline = Pipeline::new(source, stages, vec![Box::new(output)]);
    while pipeline.step() != Step::Ended {}
    pipeline.finish("end of recording");
    Ok(())
}
