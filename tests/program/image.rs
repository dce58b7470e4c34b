//! `affectd image`: lines of JSON and annotated copies.

use crate::pictures::{FACES, NO_FACES, TINY, affectd, lines, numbers, photo, stderr};
use std::path::{Path, PathBuf};

use serde_json::Value;

use affectd::image::turn::{Rotation, Turn};
use affectd::image::{LumaImage, read_luma, read_rgb, write_png_luma};

const CLASSES: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
];

#[test]
fn each_face_has_a_label_and_seven_probabilities() {
    // Without verification: the cascade's boxes, which are OpenCV's.
    let lines = look_at_photos(&["--no-verify"]);
    for (line, (name, expected)) in lines.iter().zip(FACES) {
        let faces = line["faces"].as_array().unwrap();
        assert_eq!(faces.len(), 1, "{name}");
        let found = numbers(&faces[0]["box"]);
        assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 2));
        let probabilities = faces[0]["probabilities"].as_object().unwrap();
        assert_eq!(probabilities.len(), 7);
        let p = CLASSES.map(|class| probabilities[class].as_f64().unwrap());
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-5, "{p:?}");
        let top = (0..7).max_by(|a, b| p[*a].total_cmp(&p[*b])).unwrap();
        assert_eq!(faces[0]["label"], CLASSES[top]);
        assert_eq!(faces[0]["confidence"].as_f64().unwrap(), p[top]);
    }
    for line in &lines[FACES.len()..] {
        assert_eq!(line["faces"], serde_json::json!([]), "{line}");
    }
}

/// The lines of `image` for the photographs, those with a face first.
fn look_at_photos(options: &[&str]) -> Vec<Value> {
    let mut args = vec!["image".into(), "--model".into(), TINY.into()];
    args.extend(options.iter().map(PathBuf::from));
    args.extend(FACES.map(|(name, _)| photo(name)));
    args.extend(NO_FACES.map(photo));
    let output = affectd(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), FACES.len() + NO_FACES.len());
    lines
}

#[test]
fn boxes_are_verified_by_the_face_net() {
    for (line, (name, expected)) in look_at_photos(&[]).iter().zip(FACES) {
        let faces = line["faces"].as_array().unwrap();
        assert_eq!((faces.len(), &line["not_a_face"]), (1, &0.into()), "{name}");
        let face = &faces[0];
        assert!(face["presence"].as_f64().unwrap() >= 0.8, "{face}");
        // Within the cascade's box, and not much smaller.
        let [x, y, side, _] = numbers(&face["box"])[..] else {
            panic!("{face}")
        };
        let middle = [x + side / 2, y + side / 2];
        let off = [
            middle[0] - expected[0] - expected[2] / 2,
            middle[1] - expected[1] - expected[3] / 2,
        ];
        assert!(
            off.iter().all(|off| off.abs() * 10 <= expected[2]),
            "{name}: {face}"
        );
        assert!(
            (expected[2] * 3 / 4..expected[2] * 5 / 4).contains(&side),
            "{name}: {face}"
        );
        // All of these people have open eyes and look approximately ahead.
        for eye in ["eye_openness_left", "eye_openness_right"] {
            assert!(face[eye].as_f64().unwrap() > 0.5, "{name}: {face}");
        }
        for angle in ["yaw", "pitch", "roll"] {
            assert!(face[angle].as_f64().unwrap().abs() < 20.0, "{name}: {face}");
        }
        assert_eq!(face["landmarks"].as_array().unwrap().len(), 14);
    }

    // Every window of the cascade; most contain no face.
    let every_window = ["--min-neighbors", "0", "--min-size", "24"];
    let verified = look_at_photos(&every_window);
    let unverified = look_at_photos(&[&every_window[..], &["--no-verify"]].concat());
    let faces = |line: &Value| line["faces"].as_array().unwrap().len();
    let refused = |line: &Value| line["not_a_face"].as_u64().unwrap() as usize;
    for (verified, unverified) in verified.iter().zip(&unverified) {
        assert_eq!(faces(verified) + refused(verified), faces(unverified));
        assert_eq!(unverified.get("not_a_face"), None);
    }
    let without_people = FACES.len()..;
    assert!(
        unverified[without_people.clone()]
            .iter()
            .map(faces)
            .sum::<usize>()
            > 0
    );
    assert_eq!(verified[without_people].iter().map(faces).sum::<usize>(), 0);
}

/// A camera that hangs upside down, and one that shows a mirrored picture: the
/// turned copy of a photo, turned back, gives the photo's face.
#[test]
fn a_turned_picture_is_turned_back() {
    let directory = tempfile::tempdir().unwrap();
    let upright = read_luma(photo("biden.jpg")).unwrap();
    let save = |name: &str, image: &LumaImage| {
        let path = directory.path().join(name);
        write_png_luma(&path, image.view()).unwrap();
        path
    };
    let original = save("upright.png", &upright);
    for command in ["image", "detect"] {
        let run = |options: &[&str], file: &Path| {
            let mut args = vec![PathBuf::from(command)];
            if command == "image" {
                args.extend(["--model".into(), TINY.into()]);
            }
            args.extend(options.iter().map(PathBuf::from));
            args.push(file.to_owned());
            let output = affectd(args);
            assert!(output.status.success(), "{}", stderr(&output));
            let mut line = lines(&output).remove(0);
            line.as_object_mut().unwrap().remove("file");
            line
        };
        let expected = run(&[], &original);
        assert_eq!(expected["faces"].as_array().unwrap().len(), 1);
        for (degrees, mirror, options) in [
            (180, false, &["--rotation", "180"][..]),
            (90, false, &["--rotation", "270"]),
            (270, false, &["--rotation", "90"]),
            (0, true, &["--mirror"]),
            (90, true, &["--rotation", "90", "--mirror"]),
        ] {
            let rotation = Rotation::from_degrees(degrees).unwrap();
            let mut turned = LumaImage::default();
            Turn { rotation, mirror }.apply(upright.view(), &mut turned);
            let file = save("turned.png", &turned);
            assert_eq!(run(options, &file), expected, "{command} {options:?}");
        }
    }
}

#[test]
fn an_unknown_rotation_is_refused() {
    for command in ["image", "detect", "eval", "run"] {
        let output = affectd([command, "--rotation", "45"].map(PathBuf::from));
        assert_eq!(output.status.code(), Some(2), "{command}");
        assert!(stderr(&output).contains("0, 90, 180 or 270"), "{command}");
    }
}

#[test]
fn the_same_pictures_give_the_same_bytes() {
    let run = || {
        let args = [
            "image".into(),
            "--model".into(),
            TINY.into(),
            photo("biden.jpg"),
        ];
        affectd(args).stdout
    };
    assert_eq!(run(), run());
}

#[test]
fn annotated_copies_show_the_picture_the_box_and_a_card() {
    let directory = tempfile::tempdir().unwrap();
    let copies = directory.path().join("new/copies");
    let output = affectd([
        "image".into(),
        "--model".into(),
        TINY.into(),
        "--annotate".into(),
        copies.clone(),
        photo("astronaut.jpg"),
        photo("coffee.jpg"),
    ]);
    assert!(output.status.success(), "{}", stderr(&output));
    let original = read_rgb(photo("astronaut.jpg")).unwrap();
    let copy = read_rgb(copies.join("astronaut-faces.png")).unwrap();
    assert_eq!(copy.height, original.height);
    assert!(copy.width > original.width + 200);
    let at = |image: &affectd::image::RgbImage, x: u32, y: u32| {
        let at = 3 * (y * image.width + x) as usize;
        image.pixels[at..at + 3].to_vec()
    };
    // Far from the face and inside its box, the picture is unchanged.
    for (x, y) in [(5, 500), (400, 300), (225, 120)] {
        assert_eq!(at(&copy, x, y), at(&original, x, y));
    }
    // The box's left side, in the middle of its height.
    let face = &lines(&output)[0]["faces"][0];
    let [x, y, _, height] = numbers(&face["box"]).try_into().unwrap();
    let (x, y) = (x as u32, (y + height / 2) as u32);
    assert_ne!(at(&copy, x, y), at(&original, x, y));
    // The card is not empty.
    let colours: std::collections::HashSet<_> = (0..200)
        .flat_map(|y| (520..copy.width).map(move |x| (x, y)))
        .map(|(x, y)| at(&copy, x, y))
        .collect();
    assert!(colours.len() > 6, "{colours:?}");

    let coffee = read_rgb(copies.join("coffee-faces.png")).unwrap();
    assert!(coffee.width > 400);
}

#[test]
fn a_bad_model_is_refused_with_the_reason() {
    for (model, reason) in [
        ("no_such_model", "no_such_model"),
        ("./tests/data/photos/coffee.jpg", "coffee"),
    ] {
        let output = affectd([
            "image".into(),
            "--model".into(),
            model.into(),
            photo("coffee.jpg"),
        ]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}
