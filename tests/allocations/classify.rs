//! After its first face the classifier does not touch the heap.

use std::path::Path;

use affectd::assets;
use affectd::frame::{LumaView, Rect};
use affectd::host::memory;
use affectd::image::read_luma;
use affectd::nn::Workspace;
use affectd::observe::{Classifier, FaceBox, FaceNetworks};

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

/// A second model beside the first needs memory for its weights, but no working
/// memory of its own.
#[test]
fn two_models_run_in_one_workspace_without_the_heap() {
    let model = assets::find(assets::DEFAULT_MODEL).unwrap();
    let workspace = Workspace::default();
    let mut first = Classifier::load_in(&model, &workspace).unwrap();
    let bytes = workspace.bytes();
    assert!(bytes > 0, "the shipped network runs outside the workspace");
    let mut second = Classifier::load_in(&model, &workspace).unwrap();
    assert_eq!(workspace.bytes(), bytes);

    let pixels: Vec<u8> = (0..320 * 240).map(|i| ((i * 7919) >> 4) as u8).collect();
    let picture = LumaView::new(&pixels, 320, 240, 320).unwrap();
    let faces = [Rect::new(20, 20, 120, 120), Rect::new(150, 60, 90, 90)];
    let alone = faces.map(|face| {
        let mut classifier = Classifier::load(&model).unwrap();
        classifier.classify(&picture, face).unwrap()
    });
    first.reserve(320, 240);
    second.reserve(320, 240);
    let before = memory::usage().system_here;
    for _ in 0..3 {
        assert_eq!(first.classify(&picture, faces[0]).unwrap(), alone[0]);
        assert_eq!(second.classify(&picture, faces[1]).unwrap(), alone[1]);
    }
    assert_eq!(memory::usage().system_here - before, 0);
}

/// The face networks beside the expression network need memory for their
/// weights, but no working memory of their own.
#[test]
fn face_networks_look_at_tilted_faces_without_the_heap() {
    let find = |name| assets::find(name).unwrap();
    let workspace = Workspace::default();
    let mut classifier = Classifier::load_in(&find(assets::DEFAULT_MODEL), &workspace).unwrap();
    let bytes = workspace.bytes();
    let eyes = find(assets::DEFAULT_EYES);
    let face = find(assets::DEFAULT_FACE);
    let mut networks = FaceNetworks::load(&face, Some(&eyes), &workspace).unwrap();
    assert_eq!(workspace.bytes(), bytes);

    let photos = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    let image = read_luma(photos.join("astronaut-gray.png")).unwrap();
    let picture = image.view();
    classifier.reserve(picture.width(), picture.height());
    let before = memory::usage().system_here;
    for side in [20, 60, 97, 150, 208] {
        let rect = Rect::new(97 - side as i32 / 2, 112 - side as i32 / 2, side, side);
        for roll in [0.0, 4.0, -30.0, 170.0] {
            let face = FaceBox { rect, roll };
            let seen = networks.look(&picture, face).unwrap();
            assert!(seen.presence.is_finite());
            let seen = seen.face_box().unwrap_or(face);
            classifier.classify_face(&picture, seen).unwrap();
        }
    }
    assert_eq!(memory::usage().system_here - before, 0);
}
