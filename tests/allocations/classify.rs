//! After its first face the classifier does not touch the heap.

use std::path::Path;

use affectd::frame::{LumaView, Rect};
use affectd::host::memory;
use affectd::observe::Classifier;

#[test]
fn faces_of_any_size_are_classified_without_the_heap() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classify/tiny");
    let mut classifier = Classifier::load(&model).unwrap();
    let pixels: Vec<u8> = (0..320 * 240).map(|i| ((i * 7919) >> 4) as u8).collect();
    let picture = LumaView::new(&pixels, 320, 240, 320).unwrap();
    classifier.reserve(320, 240);
    let before = memory::usage().system_here;
    assert!(before > 0, "the counter does not count");
    let mut sum = 0.0;
    for side in 1..=320 {
        let face = Rect::new(side as i32 / 2 - 60, 20, side, side);
        sum += classifier.classify(&picture, face).unwrap().0[0];
    }
    sum += classifier.classify_whole(&picture).unwrap().0[0];
    assert_eq!(memory::usage().system_here - before, 0);
    assert!(sum > 0.0);
}
