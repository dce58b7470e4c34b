//! Shared by the tests of the commands on files: how to run the binary, and
//! pictures for it.

#![allow(dead_code, reason = "each test file uses some of it")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;

/// The photographs with a face, with OpenCV's box for each
/// (tests/data/photos/ORIGIN.md).
pub const FACES: [(&str, [i64; 4]); 5] = [
    ("astronaut.jpg", [176, 66, 96, 96]),
    ("astronaut-gray.png", [49, 66, 96, 96]),
    ("biden.jpg", [153, 117, 188, 188]),
    ("obama-portrait.jpg", [172, 49, 143, 143]),
    ("obama-speech.jpg", [102, 130, 235, 235]),
];

/// The photographs without a face.
pub const NO_FACES: [&str; 4] = ["brick.png", "cat.jpg", "coffee.jpg", "rocket.jpg"];

/// A miniature network with random weights: its answers mean nothing, but are
/// always the same.
pub const TINY: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/classify/tiny.onnx");

pub fn photo(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/photos")
        .join(name)
}

/// Runs affectd.
pub fn affectd<S: AsRef<std::ffi::OsStr>>(args: impl IntoIterator<Item = S>) -> Output {
    Command::new(env!("CARGO_BIN_EXE_affectd"))
        .args(args)
        .env_remove("AFFECTD_MODELS")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .output()
        .unwrap()
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// The JSON lines of standard output.
pub fn lines(output: &Output) -> Vec<Value> {
    stdout(output)
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

pub fn numbers(value: &Value) -> Vec<i64> {
    let numbers = value.as_array().unwrap().iter();
    numbers.map(|number| number.as_i64().unwrap()).collect()
}

/// Writes an 8-bit gray PNG.
pub fn write_gray(path: &Path, width: u32, height: u32, pixel: impl Fn(u32, u32) -> u8) {
    let pixels: Vec<u8> = (0..height)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .map(|(x, y)| pixel(x, y))
        .collect();
    let view = affectd::frame::LumaView::new(&pixels, width, height, width as usize).unwrap();
    affectd::image::write_png_luma(path, view).unwrap();
}
