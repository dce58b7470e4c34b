//! The commands on files with files that are not pictures, damaged pictures,
//! and pictures from 1x1 to 8000x8000: bad files are reported, good ones are
//! processed, and nothing panics.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::pictures::{TINY, affectd, lines, photo, stderr, write_gray};

/// Bad files, each with a word of the reason.
fn bad_files(directory: &Path) -> Vec<(PathBuf, &'static str)> {
    let file = |name: &str, bytes: &[u8]| {
        let path = directory.join(name);
        fs::write(&path, bytes).unwrap();
        path
    };
    let jpeg = fs::read(photo("coffee.jpg")).unwrap();
    let png = fs::read(photo("brick.png")).unwrap();
    let mut flipped = png.clone();
    flipped[png.len() / 2] ^= 0x55;
    // The header gives a width of 100,000, with a correct checksum.
    let mut absurd = png[..33].to_vec();
    absurd[16..20].copy_from_slice(&100_000_u32.to_be_bytes());
    vec![
        (directory.join("missing.jpg"), "No such file"),
        (directory.to_owned(), "directory"),
        (file("empty.jpg", b""), "empty"),
        (
            file("text.png", b"not a picture\n"),
            "not a PNG, JPEG or PGM",
        ),
        (file("half.jpg", &jpeg[..jpeg.len() / 2]), "half.jpg"),
        (file("head.jpg", &jpeg[..20]), "head.jpg"),
        (file("half.png", &png[..png.len() / 2]), "half.png"),
        (file("flipped.png", &flipped), "flipped.png"),
        (file("absurd.png", &absurd), "absurd.png"),
        (file("half.pgm", b"P5 64 64 255\nhalf"), "PGM ends before"),
        (file("colour.ppm", b"P6 1 1 255\n123"), "convert it to PGM"),
    ]
}

#[test]
fn bad_files_are_told_of_and_good_ones_done() {
    let directory = tempfile::tempdir().unwrap();
    let bad = bad_files(directory.path());
    for command in [vec!["detect"], vec!["image", "--model", TINY]] {
        let mut args: Vec<PathBuf> = command.iter().map(PathBuf::from).collect();
        args.push(photo("astronaut.jpg"));
        args.extend(bad.iter().map(|(path, _)| path.clone()));
        args.push(photo("coffee.jpg"));
        let output = affectd(&args);
        assert_eq!(output.status.code(), Some(1));
        let lines = lines(&output);
        let files: Vec<_> = lines
            .iter()
            .map(|line| line["file"].as_str().unwrap())
            .collect();
        assert_eq!(
            files,
            [
                photo("astronaut.jpg").to_str().unwrap(),
                photo("coffee.jpg").to_str().unwrap()
            ]
        );
        let errors = stderr(&output);
        assert!(!errors.contains("panicked"), "{errors}");
        let errors: Vec<_> = errors.lines().collect();
        assert_eq!(errors.len(), bad.len(), "{errors:#?}");
        for (error, (path, reason)) in errors.iter().zip(&bad) {
            assert!(error.contains(path.to_str().unwrap()), "{error}");
            assert!(error.contains(reason), "{error}");
        }
    }
}

#[test]
fn pictures_of_any_size_are_accepted() {
    let directory = tempfile::tempdir().unwrap();
    let mut files = Vec::new();
    for (width, height) in [
        (1, 1),
        (1, 300),
        (300, 1),
        (23, 24),
        (24, 24),
        (8000, 3),
        (3, 8000),
    ] {
        let path = directory.path().join(format!("{width}x{height}.png"));
        write_gray(&path, width, height, |x, y| (x * 7 + y * 13) as u8);
        files.push((path, width, height));
    }
    let copies = directory.path().join("copies");
    let mut args = vec!["image".into(), "--model".into(), TINY.into()];
    args.extend(["--annotate".into(), copies.clone()]);
    args.extend(files.iter().map(|(path, ..)| path.clone()));
    let output = affectd(&args);
    assert!(output.status.success(), "{}", stderr(&output));
    for (line, (_, width, height)) in lines(&output).iter().zip(&files) {
        assert_eq!(
            (&line["width"], &line["height"]),
            (&(*width).into(), &(*height).into())
        );
    }
    assert_eq!(fs::read_dir(copies).unwrap().count(), files.len());
}

#[test]
fn the_largest_picture_is_searched_and_a_larger_one_refused() {
    let directory = tempfile::tempdir().unwrap();
    let largest = directory.path().join("largest.png");
    write_gray(&largest, 8000, 8000, |x, y| ((x ^ y) >> 4) as u8);
    // A few scales are enough here.
    let args = ["--min-size", "2000", "--scale-factor", "1.5"].map(PathBuf::from);
    let mut all = vec!["detect".into()];
    all.extend(args);
    all.push(largest);
    let output = affectd(&all);
    assert!(output.status.success(), "{}", stderr(&output));
    assert_eq!(lines(&output)[0]["width"], 8000);
}

#[test]
fn a_closed_pipe_ends_the_command_quietly() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_affectd"))
        .arg("detect")
        .args((0..40).map(|_| photo("brick.png")))
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let mut errors = String::new();
    child
        .stderr
        .take()
        .unwrap()
        .read_to_string(&mut errors)
        .unwrap();
    let status = child.wait().unwrap();
    assert_eq!(errors, "");
    assert_eq!(status.code(), Some(0));
}

#[test]
fn the_answer_is_printed_even_if_the_copy_cannot_be_written() {
    let directory = tempfile::tempdir().unwrap();
    // A directory where the copy should be.
    fs::create_dir(directory.path().join("astronaut-faces.png")).unwrap();
    let output = affectd([
        "image".into(),
        "--model".into(),
        TINY.into(),
        "--annotate".into(),
        directory.path().to_owned(),
        photo("astronaut.jpg"),
    ]);
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(lines(&output).len(), 1);
    assert!(stderr(&output).contains("astronaut-faces.png"));
}
