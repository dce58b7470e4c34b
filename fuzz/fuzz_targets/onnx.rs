//! A network with a matching manifest: it runs, or is refused. If it runs, it
//! gives a probability for each class.
#![no_main]

use std::fmt::Write as _;

use affectd::observe::Classifier;
use affectd::frame::LumaView;
use libfuzzer_sys::fuzz_target;
use sha2::{Digest as _, Sha256};

const MANIFEST: &str = include_str!("../../tests/data/classify/tiny.toml");

fuzz_target!(|data: &[u8]| {
    let mut hash = String::new();
    for byte in Sha256::digest(data) {
        let _ = write!(hash, "{byte:02x}");
    }
    let manifest: String = MANIFEST
        .lines()
        .map(|line| match line.starts_with("sha256") {
            true => format!("sha256 = \"{hash}\"\n"),
            false => format!("{line}\n"),
        })
        .collect();
    let folder = tempfile::tempdir_in("/dev/shm").expect("room in /dev/shm");
    let model = folder.path().join("model.onnx");
    std::fs::write(&model, data).expect("room in /dev/shm");
    std::fs::write(folder.path().join("model.toml"), manifest).expect("room in /dev/shm");
    let Ok(mut classifier) = Classifier::load(&model) else {
        return;
    };
    let pixels = [77; 24 * 24];
    let picture = LumaView::new(&pixels, 24, 24, 24).expect("numbers that fit");
    if let Ok(probabilities) = classifier.classify_whole(&picture) {
        let sum: f32 = probabilities.0.iter().sum();
        assert!((sum - 1.0).abs() < 1e-3, "{probabilities:?}");
    }
});
