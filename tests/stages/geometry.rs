//! Boxes and frames of every size up to the largest: nothing overflows, nothing
//! panics, and no face is found outside of its frame.

use std::path::Path;
use std::sync::LazyLock;

use affectd::detect::{Cascade, Detection, Detector, Expected, Options, Search, SearchOptions};
use affectd::frame::{LumaView, MAX_SIDE, Rect, Timestamp};
use affectd::image::read_luma;
use affectd::observe::{Classifier, ClassifyError};
use affectd::track::{self, Tracker};
use proptest::prelude::*;

/// The largest frame, flat. The kernel gives memory for it once, as zeroes.
static LARGEST: LazyLock<Vec<u8>> = LazyLock::new(|| vec![0; (MAX_SIDE * MAX_SIDE) as usize]);

fn frame(width: u32, height: u32) -> LumaView<'static> {
    LumaView::new(&LARGEST, width, height, width as usize).unwrap()
}

fn cascade() -> Cascade {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"));
    Cascade::load(&path.join("models/haarcascade_frontalface_default.xml")).unwrap()
}

fn any_box() -> impl Strategy<Value = Rect> {
    let place = || prop_oneof![-100..8100_i32, any::<i32>()];
    let side = || prop_oneof![0..8100_u32, any::<u32>()];
    (place(), place(), side(), side()).prop_map(|(x, y, w, h)| Rect::new(x, y, w, h))
}

fn is_within(rect: Rect, frame: Rect) -> bool {
    rect.intersection(frame) == Some(rect)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_window_of_every_level_lies_in_its_frame(
        width in 1..=MAX_SIDE,
        height in 1..=MAX_SIDE,
        scale_factor in 1.01..4.0_f64,
        min_size in 0..500_u32,
    ) {
        let options = Options {
            scale_factor,
            min_size: (min_size, min_size),
            ..Options::default()
        };
        let mut detector = Detector::new(cascade(), options).unwrap();
        detector.reserve(width, height);
        for level in detector.levels() {
            prop_assert!(level.width <= width && level.height <= height);
            let scale = f64::from(level.scale);
            let last = |count: u32| f64::from(count.saturating_sub(1) * level.step) * scale;
            // The level's size and the window's size are rounded, so a window
            // may reach over the edge; it is cut off afterwards.
            let room = scale / 2.0 + 1.0;
            prop_assert!(last(level.columns) + f64::from(level.window.0) <= f64::from(width) + room);
            prop_assert!(last(level.rows) + f64::from(level.window.1) <= f64::from(height) + room);
        }
    }

    #[test]
    fn a_search_around_any_box_finds_nothing_outside_of_the_frame(
        tracked in prop::collection::vec(any_box(), 0..6),
        pixels in prop::collection::vec(any::<u8>(), 90 * 70),
        millis in 0..1000_u64,
    ) {
        // So tolerant that noise has faces.
        let options = Options { min_neighbors: 0, ..Options::default() };
        let detector = Detector::new(cascade(), options).unwrap();
        let mut search = Search::new(detector, SearchOptions::default()).unwrap();
        let picture = LumaView::new(&pixels, 90, 70, 90).unwrap();
        let tracked: Vec<_> = Expected::numbered(tracked).collect();
        for at in [0, millis] {
            let found = search.find(picture, Timestamp::from_millis(at), &tracked);
            for detection in found.detections {
                prop_assert!(is_within(detection.rect, picture.bounds()), "{detection:?}");
            }
        }
    }

    #[test]
    fn boxes_are_followed_through_any_frame(
        steps in prop::collection::vec(
            (0..100_000_u64, 1..=MAX_SIDE, 1..=MAX_SIDE,
             prop::collection::vec(any_box(), 0..6)), 1..10),
    ) {
        let mut tracker = Tracker::new(track::Options::default());
        for (millis, width, height, boxes) in steps {
            let faces: Vec<_> = boxes
                .into_iter()
                .map(|rect| Detection { rect, neighbors: 1 })
                .collect();
            let bounds = Rect::new(0, 0, width, height);
            tracker.update(Timestamp::from_millis(millis), bounds, Some(&faces));
            for Expected { rect, .. } in tracker.expected() {
                prop_assert!(rect.right() >= i64::from(rect.x));
            }
        }
    }
}

/// A photograph enlarged to the largest frame, with its face as close to the
/// bottom right corner as possible.
fn photograph() -> Vec<u8> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos/obama-portrait.jpg");
    let photo = read_luma(path).unwrap();
    let faces = Detector::new(cascade(), Options::default())
        .unwrap()
        .detect(photo.view())
        .to_vec();
    let face = faces[0].rect;
    // The part of the photograph that ends shortly after the face.
    let side = face.width * 3 / 2;
    let (right, bottom) = (face.right() + 4, face.bottom() + 4);
    let from = |end: i64, at: u32| (end - i64::from(side) + i64::from(at * side / MAX_SIDE)).max(0);
    let mut pixels = Vec::with_capacity((MAX_SIDE * MAX_SIDE) as usize);
    for y in 0..MAX_SIDE {
        let row = photo.view().row(from(bottom, y) as u32);
        pixels.extend((0..MAX_SIDE).map(|x| row[from(right, x) as usize]));
    }
    pixels
}

/// The largest frame is searched to its last pixel, completely and around boxes
/// at any place, and no face is found outside of it.
#[test]
fn faces_of_the_largest_frame_lie_within_it() {
    let pixels = photograph();
    let picture = LumaView::new(&pixels, MAX_SIDE, MAX_SIDE, MAX_SIDE as usize).unwrap();
    for min_neighbors in [0, 3] {
        let options = Options {
            min_neighbors,
            min_size: (1500, 1500),
            ..Options::default()
        };
        let detector = Detector::new(cascade(), options).unwrap();
        let mut search = Search::new(detector, SearchOptions::default()).unwrap();
        let found = search.find(picture, Timestamp::from_millis(0), &[]);
        let mut faces: Vec<Rect> = found.detections.iter().map(|d| d.rect).collect();
        assert!(!faces.is_empty());
        // The photograph's face is found, and reaches into the corner.
        assert!(
            faces.iter().any(|r| r.right() > 7500 && r.bottom() > 7500),
            "{faces:?}"
        );
        let edges = [i32::MIN, -8000, -1, 0, 4000, 7999, 8000, i32::MAX];
        faces.extend(edges.map(|at| Rect::new(at, at, 4000, 4000)));
        for (millis, side) in [(40, 4000), (80, 1), (120, 8000), (160, u32::MAX)] {
            for face in &mut faces {
                (face.width, face.height) = (side, side);
            }
            for chunk in faces.chunks(8) {
                let tracked: Vec<_> = Expected::numbered(chunk.iter().copied()).collect();
                let found = search.find(picture, Timestamp::from_millis(millis), &tracked);
                for detection in found.detections {
                    assert!(is_within(detection.rect, picture.bounds()), "{detection:?}");
                }
            }
        }
    }
}

/// Any box is classified or refused with a reason, in frames up to the largest.
#[test]
fn any_box_of_the_largest_frame_is_classified_or_refused() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/classify/tiny.onnx");
    let mut classifier = Classifier::load(&path).unwrap();
    let sides = [0, 1, 2, 79, 8000, 31_000, 64_000, u32::MAX];
    let places = [i32::MIN, -8001, -1, 0, 4000, 7999, 8000, i32::MAX];
    for (width, height) in [(1, 1), (1, MAX_SIDE), (MAX_SIDE, 1), (MAX_SIDE, MAX_SIDE)] {
        for side in sides {
            for place in places {
                let face = Rect::new(place, place / 2, side, side);
                match classifier.classify(&frame(width, height), face) {
                    Ok(probabilities) => {
                        let sum: f32 = probabilities.0.iter().sum();
                        assert!((sum - 1.0).abs() < 1e-3, "{face:?}: {probabilities:?}");
                    }
                    Err(ClassifyError::EmptyBox { .. }) => assert_eq!(side, 0, "{face:?}"),
                    Err(ClassifyError::LargeBox { .. }) => assert!(side > 8000, "{face:?}"),
                    Err(error) => panic!("{face:?} in {width}x{height}: {error}"),
                }
            }
        }
    }
}
