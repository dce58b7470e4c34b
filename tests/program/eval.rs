//! `affectd eval` on small data sets of each form.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use crate::pictures::{TINY, affectd, photo, stderr, stdout, write_gray};
use serde_json::Value;

const CLASSES: [&str; 7] = [
    "angry", "disgust", "fear", "happy", "sad", "surprise", "neutral",
];

/// A pixel of a synthetic face, different in each tile.
fn pixel(tile: u32, x: u32, y: u32) -> u8 {
    let wave = (x * (3 + tile % 5) + y * (2 + tile % 7) + 31 * tile) % 256;
    (wave / 2 + (x + y) % 48 * 2) as u8
}

fn eval(path: &Path, options: &[&str]) -> Output {
    let mut args: Vec<PathBuf> = vec!["eval".into(), path.into(), "--model".into(), TINY.into()];
    args.extend(options.iter().map(PathBuf::from));
    affectd(args)
}

/// The figures of `--json` and the rows of `--predictions`.
fn figures(path: &Path, options: &[&str]) -> (Value, Vec<HashMap<String, String>>) {
    let directory = tempfile::tempdir().unwrap();
    let json = directory.path().join("figures.json");
    let csv = directory.path().join("answers.csv");
    let mut all = options.to_vec();
    all.extend(["--json", json.to_str().unwrap()]);
    all.extend(["--predictions", csv.to_str().unwrap()]);
    let output = eval(path, &all);
    assert!(output.status.success(), "{}", stderr(&output));
    let figures = serde_json::from_slice(&fs::read(json).unwrap()).unwrap();
    let mut reader = csv::Reader::from_path(csv).unwrap();
    let rows = reader.deserialize().map(Result::unwrap).collect();
    (figures, rows)
}

/// Computes the figures again from the single answers.
fn check(figures: &Value, rows: &[HashMap<String, String>]) {
    let mut confusion = [[0_u64; 7]; 7];
    let mut support = [0_u64; 7];
    for row in rows {
        let index = |name: &str| CLASSES.iter().position(|class| *class == row[name]);
        let truth = index("label").unwrap();
        support[truth] += 1;
        let Some(predicted) = index("predicted") else {
            continue;
        };
        confusion[truth][predicted] += 1;
        let p = CLASSES.map(|class| row[class].parse::<f64>().unwrap());
        assert!((p.iter().sum::<f64>() - 1.0).abs() < 1e-4);
        assert!(p.iter().all(|other| *other <= p[predicted]));
        assert_eq!(row["confidence"], row[CLASSES[predicted]]);
    }
    assert_eq!(figures["confusion"], serde_json::json!(confusion));
    let right: u64 = (0..7).map(|i| confusion[i][i]).sum();
    let accuracy = right as f64 / rows.len() as f64;
    assert!((figures["accuracy"].as_f64().unwrap() - accuracy).abs() < 1e-9);
    let interval = figures["accuracy_ci95"].as_array().unwrap();
    assert!(interval[0].as_f64().unwrap() <= accuracy);
    assert!(interval[1].as_f64().unwrap() >= accuracy);
    let classes = figures["classes"].as_array().unwrap();
    assert_eq!(classes.len(), 7);
    for (i, class) in classes.iter().enumerate() {
        assert_eq!(class["name"], CLASSES[i]);
        assert_eq!(class["support"], support[i]);
        let recall = confusion[i][i] as f64 / support[i].max(1) as f64;
        assert!((class["recall"].as_f64().unwrap() - recall).abs() < 1e-9);
        for figure in ["precision", "f1"] {
            assert!((0.0..=1.0).contains(&class[figure].as_f64().unwrap()));
        }
    }
    for figure in ["macro_f1", "ece"] {
        assert!((0.0..=1.0).contains(&figures[figure].as_f64().unwrap()));
    }
}

/// Class folders with pictures of different sizes.
fn folders(directory: &Path) {
    for (i, name) in [
        "Anger",
        "disgust",
        "2",
        "happiness",
        "SAD",
        "surprised",
        "neutral",
    ]
    .iter()
    .enumerate()
    {
        fs::create_dir(directory.join(name)).unwrap();
        for n in 0..3 {
            let tile = (10 * i + n) as u32;
            let path = directory.join(name).join(format!("{n}.png"));
            write_gray(&path, 40 + 5 * n as u32, 50, |x, y| pixel(tile, x, y));
        }
    }
    fs::write(directory.join("README.txt"), "not a class").unwrap();
    fs::write(directory.join("neutral/notes.txt"), "not a picture").unwrap();
}

#[test]
fn pgm_pictures_give_the_same_answers_as_png() {
    let (png, pgm) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    for (number, class) in ["happy", "sad", "neutral"].into_iter().enumerate() {
        let number = number as u32;
        fs::create_dir(png.path().join(class)).unwrap();
        fs::create_dir(pgm.path().join(class)).unwrap();
        let (width, height) = (50, 40 + number);
        let picture = png.path().join(class).join("0.png");
        write_gray(&picture, width, height, |x, y| pixel(number, x, y));
        let mut text = format!("P5\n# {class}\n{width} {height}\n255\n").into_bytes();
        text.extend((0..height).flat_map(|y| (0..width).map(move |x| pixel(number, x, y))));
        fs::write(pgm.path().join(class).join("0.pgm"), text).unwrap();
    }
    let answers = |directory: &Path| {
        let (figures, mut rows) = figures(directory, &[]);
        assert_eq!(figures["images"], 3);
        rows.iter_mut().for_each(|row| drop(row.remove("image")));
        rows
    };
    assert_eq!(answers(png.path()), answers(pgm.path()));
}

#[test]
fn class_folders() {
    let directory = tempfile::tempdir().unwrap();
    folders(directory.path());
    let (figures, rows) = figures(directory.path(), &[]);
    assert_eq!(rows.len(), 21);
    assert_eq!(figures["images"], 21);
    check(&figures, &rows);
    let mut classes = figures["classes"].as_array().unwrap().iter();
    assert!(classes.all(|class| class["support"] == 3));
    assert!(
        rows[0]["image"].ends_with("/2/0.png"),
        "{}",
        rows[0]["image"]
    );
    assert_eq!(rows[0]["label"], "fear");

    let text = stdout(&eval(directory.path(), &[]));
    for part in [
        "accuracy",
        "95% interval",
        "macro F1",
        "ECE",
        "recall",
        "images a second",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn accuracy_is_reported_per_person_if_file_names_name_the_person() {
    let directory = tempfile::tempdir().unwrap();
    let (happy, sad) = (directory.path().join("happy"), directory.path().join("sad"));
    for (number, folder, file) in [
        (0, &happy, "S005_001_00000011.png"),
        (1, &happy, "S010_001_00000014.png"),
        (2, &sad, "S005_002_00000016.png"),
        (3, &sad, "S011_002_00000020.png"),
    ] {
        fs::create_dir_all(folder).unwrap();
        write_gray(&folder.join(file), 48, 48, |x, y| pixel(number, x, y));
    }
    let (figures, rows) = figures(directory.path(), &["--subjects", "ckplus", "--folds", "2"]);
    let right = |file: &str| {
        let row = rows
            .iter()
            .find(|row| row["image"].ends_with(file))
            .unwrap();
        u8::from(row["label"] == row["predicted"])
    };
    let first = right("S005_001_00000011.png")
        + right("S005_002_00000016.png")
        + right("S011_002_00000020.png");
    let subjects = &figures["subjects"];
    assert_eq!(subjects["subjects"], 3);
    assert_eq!(
        subjects["folds"][0]["subjects"],
        serde_json::json!(["S005", "S011"])
    );
    assert_eq!(subjects["folds"][0]["accuracy"], f64::from(first) / 3.0);
    assert_eq!(subjects["folds"][1]["images"], 1);

    let output = eval(directory.path(), &["--subjects", "ckplus", "--folds", "2"]);
    assert!(stdout(&output).contains("subjects  3 in 2 folds: accuracy"));
    let output = eval(directory.path(), &["--subjects", "jaffe"]);
    assert!(!output.status.success());
    let error = stderr(&output);
    assert!(
        error.contains("S005_001_00000011.png") && error.contains("KA.AN1.39.png"),
        "{error}"
    );
}

#[test]
fn an_unknown_folder_is_an_error_that_says_what_to_do() {
    let directory = tempfile::tempdir().unwrap();
    folders(directory.path());
    let contempt = directory.path().join("contempt");
    fs::create_dir(&contempt).unwrap();
    write_gray(&contempt.join("0.png"), 48, 48, |x, y| pixel(1, x, y));
    let output = eval(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("'contempt' is not a class"),
        "{}",
        stderr(&output)
    );

    let (skipped, rows) = figures(directory.path(), &["--folder", "contempt=skip"]);
    assert_eq!((rows.len(), &skipped["left_out"]), (21, &1.into()));
    let (named, rows) = figures(directory.path(), &["--folder", "contempt=disgust"]);
    assert_eq!(rows.len(), 22);
    assert_eq!(named["classes"][1]["support"], 4);

    // The folder above the class folders.
    let above = tempfile::tempdir().unwrap();
    fs::create_dir_all(above.path().join("test/happy")).unwrap();
    let errors = stderr(&eval(above.path(), &[]));
    assert!(errors.contains("holds class folders"), "{errors}");
}

#[test]
fn a_bad_picture_is_reported_and_the_others_are_evaluated() {
    let directory = tempfile::tempdir().unwrap();
    folders(directory.path());
    fs::write(directory.path().join("SAD/bad.png"), "no picture").unwrap();
    let output = eval(directory.path(), &[]);
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr(&output).contains("SAD/bad.png"),
        "{}",
        stderr(&output)
    );
    assert!(
        stdout(&output).contains("images    21, 1 unreadable"),
        "{}",
        stdout(&output)
    );
}

fn pixels(tile: u32) -> String {
    let mut text = String::new();
    for (y, x) in (0..48).flat_map(|y| (0..48).map(move |x| (y, x))) {
        write!(text, "{} ", pixel(tile, x, y)).unwrap();
    }
    text.trim_end().to_owned()
}

/// Rows of label and usage; the tile has the row's number.
const ROWS: [(usize, &str); 60] = {
    let mut rows = [(0, "Training"); 60];
    let mut i = 0;
    while i < 60 {
        rows[i].0 = (i * 5 + i / 7) % 7;
        if i % 3 == 1 {
            rows[i].1 = "PublicTest";
        }
        i += 1;
    }
    rows
};

fn kaggle(path: &Path) {
    let mut text = String::from("emotion,pixels,Usage\n");
    for (tile, (label, usage)) in ROWS.iter().enumerate() {
        writeln!(text, "{label},{},{usage}", pixels(tile as u32)).unwrap();
    }
    fs::write(path, text).unwrap();
}

/// The same images as a mosaic; votes and marks of copies depend on the row's
/// number.
fn mosaic(directory: &Path) {
    write_gray(&directory.join("images.png"), 48 * 48, 2 * 48, |x, y| {
        pixel(y / 48 * 48 + x / 48, x % 48, y % 48)
    });
    let mut text = String::from(
        "index,usage,fer2013_label,neutral,happiness,surprise,sadness,anger,disgust,fear,contempt,unknown,not_face,lossy,ambiguous,dup_in_train,near_dup_in_train\n",
    );
    for (i, (label, usage)) in ROWS.iter().enumerate() {
        let votes = match i % 4 {
            // Six of ten votes for happy; five of ten, which are not a
            // majority; contempt wins; sad has six of ten, without most votes
            // of the seven alone.
            0 => "0,6,2,0,0,0,0,2,0,0",
            1 => "5,3,0,0,0,0,0,0,2,0",
            2 => "1,0,0,0,0,0,0,9,0,0",
            _ => "2,0,0,6,0,0,0,0,1,1",
        };
        let lossy = u8::from(i == 4);
        let (copy, near) = (u8::from(i == 7), u8::from(i == 7 || i == 10));
        writeln!(text, "{i},{usage},{label},{votes},{lossy},0,{copy},{near}").unwrap();
    }
    fs::write(directory.join("labels.csv"), text).unwrap();
}

#[test]
fn kaggles_file_and_the_mosaic_agree() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("fer2013.csv");
    kaggle(&csv);
    let tiles = directory.path().join("mosaic");
    fs::create_dir(&tiles).unwrap();
    mosaic(&tiles);
    for options in [
        &[][..],
        &["--usage", "PublicTest"],
        &["--usage", "training"],
    ] {
        let (a, a_rows) = figures(&csv, options);
        let (b, b_rows) = figures(&tiles, options);
        check(&a, &a_rows);
        let expected = match options {
            [] => 60,
            [_, "PublicTest"] => 20,
            _ => 40,
        };
        assert_eq!(a_rows.len(), expected);
        for figure in ["images", "accuracy", "confusion", "macro_f1", "ece"] {
            assert_eq!(a[figure], b[figure], "{figure}");
        }
        let answers = |rows: &[HashMap<String, String>]| -> Vec<_> {
            rows.iter()
                .map(|row| (row["image"].clone(), row["confidence"].clone()))
                .collect()
        };
        assert_eq!(answers(&a_rows), answers(&b_rows));
    }
}

#[test]
fn copies_are_left_out_of_the_mosaic() {
    let directory = tempfile::tempdir().unwrap();
    mosaic(directory.path());
    let (figures, rows) = figures(
        directory.path(),
        &["--usage", "PublicTest", "--without-copies"],
    );
    assert_eq!((rows.len(), &figures["left_out"]), (17, &3.into()));
    let images: Vec<_> = rows.iter().map(|row| row["image"].as_str()).collect();
    assert_eq!(images[..3], ["1", "13", "16"]);
}

#[test]
fn the_majority_of_the_votes_is_the_truth() {
    let directory = tempfile::tempdir().unwrap();
    mosaic(directory.path());
    let (figures, rows) = figures(directory.path(), &["--labels", "ferplus"]);
    check(&figures, &rows);
    assert_eq!((rows.len(), &figures["left_out"]), (30, &30.into()));
    assert_eq!(figures["classes"][3]["support"], 15);
    assert_eq!(figures["classes"][4]["support"], 15);
    for row in &rows {
        let i: u32 = row["image"].parse().unwrap();
        assert_eq!(
            row["label"],
            if i.is_multiple_of(4) { "happy" } else { "sad" }
        );
    }
}

#[test]
fn a_face_not_found_counts_as_wrong() {
    let directory = tempfile::tempdir().unwrap();
    for (class, file) in [
        ("happy", "astronaut.jpg"),
        ("neutral", "biden.jpg"),
        ("neutral", "brick.png"),
    ] {
        fs::create_dir_all(directory.path().join(class)).unwrap();
        fs::copy(photo(file), directory.path().join(class).join(file)).unwrap();
    }
    let options = ["--crop", "haar", "--no-verify"];
    let (figures, rows) = figures(directory.path(), &options);
    check(&figures, &rows);
    assert_eq!((rows.len(), &figures["not_found"]), (3, &1.into()));
    assert_eq!(figures["classes"][6]["support"], 2);
    let brick = rows
        .iter()
        .find(|row| row["image"].ends_with("brick.png"))
        .unwrap();
    assert_eq!((&*brick["predicted"], &*brick["x"]), ("", ""));
    let astronaut = rows
        .iter()
        .find(|row| row["image"].ends_with("astronaut.jpg"))
        .unwrap();
    let width: i64 = astronaut["width"].parse().unwrap();
    assert!((width - 95).abs() <= 2);

    // The same crop as in `image`.
    let args: [PathBuf; 5] = [
        "image".into(),
        "--no-verify".into(),
        "--model".into(),
        TINY.into(),
        photo("astronaut.jpg"),
    ];
    let image = &crate::pictures::lines(&affectd(args))[0]["faces"][0];
    assert_eq!(image["label"], astronaut["predicted"]);
    let confidence: f64 = astronaut["confidence"].parse().unwrap();
    assert!((image["confidence"].as_f64().unwrap() - confidence).abs() < 1e-6);

    let text = stdout(&eval(directory.path(), &["--crop", "haar"]));
    assert!(
        text.contains("found in 1 of 3 images, counted as wrong"),
        "{text}"
    );
}

#[test]
fn bad_tables_name_line_and_reason() {
    let directory = tempfile::tempdir().unwrap();
    let csv = directory.path().join("fer2013.csv");
    let good = pixels(0);
    let cases = [
        ("", "emotion"),
        ("emotion,Usage\n0,Training\n", "pixels"),
        ("emotion,pixels\n", "no picture"),
        (
            &format!("emotion,pixels\n0,{good}\n9,{good}\n"),
            "line 3: the label 9",
        ),
        (
            &format!("emotion,pixels\nx,{good}\n"),
            "line 2: emotion is 'x'",
        ),
        (
            &format!("emotion,pixels\n0,{good} 7\n"),
            "line 2: 2305 pixels",
        ),
        (
            "emotion,pixels\n0,1 2 300\n",
            "line 2: '300' is not a pixel",
        ),
        ("emotion,pixels\n0\n", "line 2: 1 fields"),
    ];
    for (text, reason) in cases {
        fs::write(&csv, text).unwrap();
        let output = eval(&csv, &[]);
        assert_eq!(output.status.code(), Some(1), "{text:.40}");
        let errors = stderr(&output);
        assert!(
            errors.contains("fer2013.csv") && errors.contains(reason),
            "{errors}"
        );
    }
    kaggle(&csv);
    for (options, reason) in [
        (
            &["--usage", "PrivateTest"][..],
            "there are Training, PublicTest",
        ),
        (&["--labels", "ferplus"], "images.png and labels.csv"),
        (&["--without-copies"], "images.png and labels.csv"),
    ] {
        let output = eval(&csv, options);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
}

#[test]
fn bad_mosaics_name_the_reason() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    mosaic(path);
    let png = fs::read(path.join("images.png")).unwrap();

    write_gray(&path.join("images.png"), 48 * 48, 48, |x, y| (x + y) as u8);
    let errors = stderr(&eval(path, &[]));
    assert!(
        errors.contains("an image 48, but the mosaic has only 48"),
        "{errors}"
    );

    write_gray(&path.join("images.png"), 480, 480, |x, y| (x + y) as u8);
    let errors = stderr(&eval(path, &[]));
    assert!(errors.contains("2304 pixels wide"), "{errors}");

    fs::write(path.join("images.png"), &png[..png.len() / 2]).unwrap();
    let errors = stderr(&eval(path, &[]));
    assert!(
        errors.contains("images.png") && errors.contains("row"),
        "{errors}"
    );

    fs::write(path.join("images.png"), "").unwrap();
    let errors = stderr(&eval(path, &[]));
    assert!(
        errors.contains("images.png") && errors.contains("not a PNG"),
        "{errors}"
    );
}

#[test]
fn a_path_without_a_data_set_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    for (path, reason) in [
        (directory.path().to_owned(), "no picture to evaluate"),
        (directory.path().join("missing"), "No such file"),
        (photo("coffee.jpg"), "neither a directory nor a .csv"),
    ] {
        let output = eval(&path, &[]);
        assert_eq!(output.status.code(), Some(1));
        assert!(stderr(&output).contains(reason), "{}", stderr(&output));
    }
    // A folder for figures that does not exist is reported before the work.
    folders(directory.path());
    let output = eval(directory.path(), &["--json", "/no/such/place.json"]);
    assert!(
        stderr(&output).contains("/no/such/place.json"),
        "{}",
        stderr(&output)
    );
    assert_eq!(stdout(&output), "");
}

#[test]
fn a_full_disk_is_reported() {
    let directory = tempfile::tempdir().unwrap();
    folders(directory.path());
    for option in ["--json", "--predictions"] {
        let output = eval(directory.path(), &[option, "/dev/full"]);
        assert_eq!(output.status.code(), Some(1));
        let errors = stderr(&output);
        assert!(
            errors.contains("/dev/full") && errors.contains("No space left"),
            "{errors}"
        );
    }
}
