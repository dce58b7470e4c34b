//! Finds the faces in a picture, as OpenCV's cascades do.
//!
//! ```sh
//! cargo run --example detect_faces -- tests/data/photos/astronaut.jpg
//! ```

use std::error::Error;

use affectd::detect::{Cascade, Detector, Options};
use affectd::{assets, image};

fn main() -> Result<(), Box<dyn Error>> {
    let path = std::env::args()
        .nth(1)
        .ok_or("give a JPEG or PNG file as the argument")?;
    let picture = image::read_luma(path)?;

    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE)?)?;
    let mut detector = Detector::new(cascade, Options::default())?;
    for face in detector.detect(picture.view()) {
        println!("{:?}, found by {} windows", face.rect, face.neighbors);
    }
    Ok(())
}
