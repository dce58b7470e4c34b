//! Once a detector has seen a picture's size, searching allocates nothing.

use std::path::Path;

use affectd::detect::{Cascade, Detector, Enhance, Expected, Options, Search, SearchOptions};
use affectd::frame::{LumaView, Timestamp};
use affectd::host::memory;
use affectd::isa::Isa;

fn allocations_in(work: impl FnOnce()) -> u64 {
    let before = memory::usage().system_here;
    work();
    memory::usage().system_here - before
}

#[test]
fn a_search_does_not_allocate() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let cascade = Cascade::load(&root.join("models/haarcascade_frontalface_alt2.xml")).unwrap();
    let file = std::fs::File::open(root.join("tests/data/photos/astronaut-gray.png")).unwrap();
    let mut reader = png::Decoder::new(std::io::BufReader::new(file))
        .read_info()
        .unwrap();
    let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
    let info = reader.next_frame(&mut pixels).unwrap();
    let view = LumaView::new(&pixels, info.width, info.height, info.line_size).unwrap();

    for isa in Isa::available() {
        for enhance in [Enhance::Off, Enhance::Equalize, Enhance::Clahe] {
            let options = Options {
                enhance,
                ..Options::default()
            };
            let mut detector = Detector::with_isa(cascade.clone(), options, isa).unwrap();
            detector.reserve(info.width, info.height);
            let mut faces = 0;
            let count = allocations_in(|| faces = detector.detect(view).len());
            assert_eq!((faces, count), (1, 0), "{isa} {enhance:?}");
        }
    }

    for budget_ms in [0.0, 1.0] {
        let options = SearchOptions {
            budget_ms,
            work_per_ms: 100_000.0,
            full_search_ms: 100,
            ..SearchOptions::default()
        };
        let detector = Detector::new(cascade.clone(), Options::default()).unwrap();
        let mut search = Search::new(detector, options).unwrap();
        let mut tracked = Vec::with_capacity(4);
        let mut frame = |number: u64| {
            let found = search.find(view, Timestamp::from_millis(number * 33), &tracked);
            if let Some(face) = found.detections.first() {
                tracked.clear();
                tracked.push(Expected {
                    key: 0,
                    rect: face.rect,
                    carried: false,
                });
            }
            found.detections.len()
        };
        frame(0);
        let mut seen = 0;
        let count = allocations_in(|| seen = (1..30).map(&mut frame).sum());
        assert!(seen > 10, "{seen} faces in 29 frames");
        assert_eq!(count, 0, "with a budget of {budget_ms} ms");
        assert!(tracked.iter().any(|face: &Expected| face.rect.width > 80));
    }
}
