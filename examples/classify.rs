//! Names the apparent expression of each face in a picture.
//!
//! ```sh
//! cargo run --example classify -- tests/data/photos/astronaut.jpg
//! ```

use std::error::Error;

use affectd::detect::{Cascade, Detector, Options};
use affectd::observe::Classifier;
use affectd::observe::expression::Expression;
use affectd::{assets, image};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("give a JPEG or PNG file as the argument")?;
    let picture = image::read_luma(path)?;

    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE)?)?;
    let mut detector = Detector::new(cascade, Options::default())?;
    let mut classifier = Classifier::load(&assets::find(assets::DEFAULT_MODEL)?)?;
    for face in detector.detect(picture.view()) {
        let probabilities = classifier.classify(&picture.view(), face.rect)?;
        let (expression, probability) = probabilities.top();
        println!("{:?}: {expression} {probability:.2}", face.rect);
        for expression in Expression::ALL {
            println!("  {expression:8} {:.4}", probabilities.of(expression));
        }
    }
    Ok(())
}
