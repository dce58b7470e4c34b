//! The shipped face networks in the stages: a head that tilts, and models that
//! cannot be used.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::Digest as _;

use affectd::assets;
use affectd::capture::Frame;
use affectd::decide::{self, Decider, FacingOptions};
use affectd::detect::{self, Cascade, Detector, Search, SearchOptions};
use affectd::frame::{LumaView, Rect, Timestamp};
use affectd::image::{LumaImage, read_luma};
use affectd::nn::Workspace;
use affectd::observe::{FaceBox, FaceNetworks, FieldOfView};
use affectd::pipeline::Stages;
use affectd::pipeline::stats::Stats;
use affectd::report::FaceReport;
use affectd::track::{self, Tracker};

fn photo(name: &str) -> LumaImage {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/photos");
    read_luma(directory.join(name)).unwrap()
}

fn networks() -> FaceNetworks {
    let face = assets::find(assets::DEFAULT_FACE).unwrap();
    let eyes = assets::find(assets::DEFAULT_EYES).unwrap();
    FaceNetworks::load(&face, Some(&eyes), &Workspace::default()).unwrap()
}

fn stages() -> Stages {
    let cascade = Cascade::load(&assets::find(assets::DEFAULT_CASCADE).unwrap()).unwrap();
    let detector = Detector::new(cascade, detect::Options::default()).unwrap();
    let search = Search::new(detector, SearchOptions::default()).unwrap();
    let options = track::Options {
        confirm: 1,
        ..track::Options::default()
    };
    let decider = Decider::new(decide::Options::default()).with_facing(FacingOptions::default());
    Stages::new(search, Tracker::new(options), decider)
}

/// A picture turned clockwise about its middle, as if the head tilted.
fn tilted(image: &LumaImage, degrees: f64) -> LumaImage {
    let (width, height) = (image.width as i32, image.height as i32);
    let (sin, cos) = degrees.to_radians().sin_cos();
    let (cx, cy) = (f64::from(width) / 2.0, f64::from(height) / 2.0);
    let pixels = (0..width * height)
        .map(|i| {
            let (x, y) = (f64::from(i % width) - cx, f64::from(i / width) - cy);
            let at = |from: f64, most: i32| (from.round() as i32).clamp(0, most - 1);
            let (x, y) = (
                at(cx + x * cos + y * sin, width),
                at(cy - x * sin + y * cos, height),
            );
            image.pixels[(y * width + x) as usize]
        })
        .collect();
    LumaImage {
        pixels,
        width: image.width,
        height: image.height,
    }
}

/// The tilts of a head that goes to one side and back, in degrees.
fn tilts() -> impl Iterator<Item = f64> {
    (0..=16)
        .chain((0..16).rev())
        .map(|step| 2.5 * f64::from(step))
}

/// The leading face in each frame of a head that tilts to 40 degrees and back.
fn follow_a_tilting_head(mut stages: Stages) -> Vec<Option<FaceReport>> {
    let upright = photo("astronaut-gray.png");
    let mut stats = Stats::new();
    tilts()
        .enumerate()
        .map(|(number, degrees)| {
            let image = tilted(&upright, degrees);
            let frame = Frame {
                luma: image.view(),
                timestamp: Timestamp::from_millis(40 * number as u64),
                sequence: number as u64 + 1,
            };
            stages.look(&frame, &mut stats).first().copied()
        })
        .collect()
}

#[test]
fn a_head_that_tilts_stays_one_face_with_its_roll() {
    let seen = follow_a_tilting_head(stages().with_verifier(networks()).with_field_of_view(
        FieldOfView {
            degrees: 60.0,
            quarter_turned: false,
        },
    ));
    // The photograph's own roll is about 3 degrees.
    let own = seen[0].unwrap().observed.face.unwrap().roll;
    assert!((0.0..6.0).contains(&own), "{own}");
    for (degrees, face) in tilts().zip(&seen) {
        let face = face.unwrap_or_else(|| panic!("lost at {degrees}"));
        assert_eq!(face.id, 1, "at {degrees}");
        let observed = face.observed.face.unwrap();
        let off = f64::from(observed.roll - own) - degrees;
        assert!(off.abs() < 7.0, "roll {} at {degrees}", observed.roll);
        assert!(observed.right_eye.openness().unwrap() > 0.5, "at {degrees}");
        // 97 pixels with such a wide view mean a distance of about a forearm's
        // length.
        assert!((0.2..0.4).contains(&face.distance.unwrap()));
    }
    assert!(
        seen.last()
            .unwrap()
            .unwrap()
            .decision
            .facing
            .unwrap()
            .is_facing
    );

    // The cascade alone loses the face on the way.
    let alone = follow_a_tilting_head(stages());
    let lost = alone.iter().filter(|face| !face.is_some_and(|f| f.id == 1));
    assert!(lost.count() > 5);
}

#[test]
fn a_face_that_leaves_its_box_is_gone_within_three_frames() {
    let (face, nobody) = (photo("astronaut.jpg"), photo("coffee.jpg"));
    let mut stages = stages().with_verifier(networks());
    let mut stats = Stats::new();
    let mut there = |number: u64, image: &LumaImage| {
        let frame = Frame {
            luma: image.view(),
            timestamp: Timestamp::from_millis(20 * number),
            sequence: number,
        };
        !stages.look(&frame, &mut stats).is_empty()
    };
    assert!((1..5).all(|number| there(number, &face)));
    // 80 ms, long before track.lost_after_ms.
    let seen: Vec<_> = (5..9).map(|number| there(number, &nobody)).collect();
    assert!(!seen[3], "{seen:?}");
}

#[test]
fn the_numbers_do_not_depend_on_where_the_face_lies() {
    let image = photo("astronaut-gray.png");
    let mut networks = networks();
    let rect = Rect::new(48, 63, 97, 97);
    let here = networks
        .look(&image.view(), FaceBox::upright(rect))
        .unwrap();
    // The same pixels, moved by 5 to the left and 3 up.
    let start = 3 * image.width as usize + 5;
    let (width, height) = (image.width - 5, image.height - 3);
    let view = LumaView::new(&image.pixels[start..], width, height, image.width as usize).unwrap();
    let moved = Rect::new(43, 60, 97, 97);
    let there = networks.look(&view, FaceBox::upright(moved)).unwrap();
    assert_eq!(here.presence, there.presence);
    assert_eq!((here.yaw, here.roll), (there.yaw, there.roll));
    assert!((here.centre.0 - there.centre.0 - 5.0).abs() < 1e-9);
}

#[test]
fn boxes_that_cannot_be_looked_at_are_errors() {
    let image = photo("coffee.jpg");
    let mut networks = networks();
    for rect in [Rect::new(0, 0, 0, 9), Rect::new(0, 0, u32::MAX, 1)] {
        assert!(
            networks
                .look(&image.view(), FaceBox::upright(rect))
                .is_err()
        );
    }
    let far = Rect::new(i32::MIN, i32::MAX, 50, 50);
    assert!(networks.look(&image.view(), FaceBox::upright(far)).is_ok());
}

/// A copy of the face net with its manifest changed, and the error that loading
/// it gives.
fn error_of(from: &str, to: &str) -> String {
    let shipped = assets::find(assets::DEFAULT_FACE).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copy: PathBuf = folder.path().join("face.onnx");
    fs::copy(&shipped, &copy).unwrap();
    let manifest = fs::read_to_string(shipped.with_extension("toml")).unwrap();
    assert!(manifest.contains(from), "{from}");
    fs::write(copy.with_extension("toml"), manifest.replacen(from, to, 1)).unwrap();
    match FaceNetworks::load(&copy, None, &Workspace::default()) {
        Ok(_) => panic!("{from} -> {to} is accepted"),
        Err(error) => error.to_string(),
    }
}

#[test]
fn manifests_that_do_not_fit_say_what_is_wrong() {
    let says = |from: &str, to: &str, parts: &[&str]| {
        let error = error_of(from, to);
        for part in parts {
            assert!(error.contains(part), "{error}");
        }
    };
    says("kind = \"face\"", "kind = \"eye\"", &["kind", "face.model"]);
    says("width = 64", "width = 96", &["square"]);
    says("scale = 1.15", "scale = 0.0", &["crop.scale", "0.1 to 10"]);
    says("of = \"box\"", "of = \"eye\"", &["crop.of"]);
    // No hash begins with both.
    let shipped = assets::find(assets::DEFAULT_FACE).unwrap();
    let manifest = fs::read_to_string(shipped.with_extension("toml")).unwrap();
    let [zero, one] = ["sha256 = \"0", "sha256 = \"1"];
    let hash = manifest.split("sha256 = \"").nth(1).unwrap();
    let begin = format!("sha256 = \"{}", &hash[..1]);
    let other = if begin == zero { one } else { zero };
    says(&begin, other, &["SHA-256", "face.toml"]);
    says("filter =", "fliter =", &["fliter"]);
}

#[test]
fn exchanged_networks_are_recognised() {
    let face = assets::find(assets::DEFAULT_FACE).unwrap();
    let eyes = assets::find(assets::DEFAULT_EYES).unwrap();
    let error = |face: &Path, eyes: Option<&Path>| {
        FaceNetworks::load(face, eyes, &Workspace::default())
            .err()
            .unwrap()
            .to_string()
    };
    assert!(error(&eyes, None).contains("face.model names the face net"));
    assert!(error(&face, Some(&face)).contains("the eye net is needed"));
    // The expression network's manifest has a different form.
    let expression = assets::find(assets::DEFAULT_MODEL).unwrap();
    assert!(error(&expression, None).contains("mobilenet_v2_112.toml"));
}

#[test]
fn a_network_without_an_output_is_refused_by_its_name() {
    let shipped = assets::find(assets::DEFAULT_FACE).unwrap();
    let onnx = fs::read(&shipped).unwrap();
    // A new name of the same length, only for the output.
    let mut changed = onnx.clone();
    let name = b"presence";
    let mut at = 0;
    while let Some(found) = changed[at..].windows(name.len()).position(|w| w == name) {
        changed[at + found..at + found + name.len()].copy_from_slice(b"absences");
        at += found + name.len();
    }
    assert_ne!(at, 0);
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("face.onnx");
    fs::write(&copy, &changed).unwrap();
    let manifest = fs::read_to_string(shipped.with_extension("toml")).unwrap();
    let sha256 = manifest
        .lines()
        .find_map(|line| line.strip_prefix("sha256 = \"")?.strip_suffix('"'))
        .unwrap();
    let hash: String = sha2::Sha256::digest(&changed)
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    fs::write(copy.with_extension("toml"), manifest.replace(sha256, &hash)).unwrap();
    let error = FaceNetworks::load(&copy, None, &Workspace::default())
        .err()
        .unwrap()
        .to_string();
    assert!(
        error.contains("output 'presence' of 1 numbers") && error.contains("'absences'"),
        "{error}"
    );
}

#[test]
fn time_without_frames_ends_a_carried_face() {
    let face = photo("astronaut.jpg");
    let mut stages = stages().with_verifier(networks());
    let mut stats = Stats::new();
    let mut id = |millis: u64| {
        let frame = Frame {
            luma: face.view(),
            timestamp: Timestamp::from_millis(millis),
            sequence: millis,
        };
        stages.look(&frame, &mut stats).first().map(|face| face.id)
    };
    assert_eq!((id(0), id(40)), (Some(1), Some(1)));
    let long_after = Duration::from_secs(10).as_millis() as u64;
    assert_eq!(id(long_after), Some(2));
}
