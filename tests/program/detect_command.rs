//! `affectd detect` on photographs.

use crate::pictures::{FACES, NO_FACES, affectd, lines, numbers, photo, stderr, stdout};

#[test]
fn each_face_is_found_where_opencv_finds_it() {
    let files: Vec<_> = FACES.iter().map(|(name, _)| photo(name)).collect();
    let mut args = vec!["detect".into()];
    args.extend(files.iter().cloned());
    let output = affectd(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    let lines = lines(&output);
    assert_eq!(lines.len(), FACES.len());
    for ((line, file), (name, expected)) in lines.iter().zip(&files).zip(FACES) {
        assert_eq!(line["file"], file.to_str().unwrap());
        let faces = line["faces"].as_array().unwrap();
        assert_eq!(faces.len(), 1, "{name}: {line}");
        let found = numbers(&faces[0]["box"]);
        // Two pixels, because another JPEG decoder rounds differently.
        let near = found.iter().zip(expected).all(|(a, b)| (a - b).abs() <= 2);
        assert!(near, "{name}: {found:?} and not {expected:?}");
        assert!(faces[0]["neighbors"].as_u64().unwrap() >= 3);
    }
    assert_eq!(
        (&lines[0]["width"], &lines[0]["height"]),
        (&512.into(), &512.into())
    );
}

#[test]
fn pictures_without_a_face_give_no_face() {
    let mut args = vec!["detect".into()];
    args.extend(NO_FACES.map(photo));
    let lines = lines(&affectd(&args));
    assert_eq!(lines.len(), NO_FACES.len());
    for line in lines {
        assert_eq!(line["faces"], serde_json::json!([]), "{line}");
    }
}

#[test]
fn the_line_has_the_documented_fields_in_order() {
    let output = affectd(["detect".into(), photo("brick.png")]);
    let file = serde_json::to_string(photo("brick.png").to_str().unwrap()).unwrap();
    assert_eq!(
        stdout(&output),
        format!("{{\"file\":{file},\"width\":224,\"height\":224,\"faces\":[]}}\n")
    );
}

#[test]
fn size_limits_are_kept() {
    let faces = |args: &[&str]| {
        let mut all = vec!["detect".to_owned()];
        all.extend(args.iter().map(|arg| (*arg).to_owned()));
        all.push(photo("astronaut.jpg").to_str().unwrap().to_owned());
        lines(&affectd(&all))[0]["faces"].as_array().unwrap().len()
    };
    assert_eq!(faces(&["--min-size", "80"]), 1);
    assert_eq!(faces(&["--min-size", "150x150"]), 0);
    assert_eq!(faces(&["--max-size", "60"]), 0);
    assert_eq!(faces(&["--min-neighbors", "500"]), 0);
    assert!(faces(&["--min-neighbors", "0"]) > 10);
    let other = "haarcascade_frontalface_default.xml";
    assert_eq!(faces(&["--cascade", other]), 1);
    assert_eq!(faces(&["--cascade", other, "--enhance", "clahe"]), 1);
}

#[test]
fn wrong_options_are_refused_with_the_reason() {
    for (args, reason) in [
        (["--min-size", "big"], "30x40"),
        (["--scale-factor", "1.0"], "1.01"),
        (["--cascade", "no_such.xml"], "no_such.xml"),
        (["--enhance", "magic"], "clahe"),
    ] {
        let mut all: Vec<_> = vec!["detect".into()];
        all.extend(args.map(std::path::PathBuf::from));
        all.push(photo("brick.png"));
        let output = affectd(&all);
        assert!(!output.status.success());
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
        assert_eq!(stdout(&output), "");
    }
}
