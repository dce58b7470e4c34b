//! The classify stage: the crop alone, the network alone, and both.

use std::hint::black_box;
use std::path::{Path, PathBuf};

use affectd::frame::{LumaView, Rect};
use affectd::observe::Classifier;
use criterion::{Criterion, criterion_group, criterion_main};

/// The shipped model, or the tests' tiny one if it is missing.
fn model() -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let shipped = root.join("models/mobilenet_v2_112.onnx");
    if shipped.exists() {
        shipped
    } else {
        root.join("tests/data/classify/tiny.onnx")
    }
}

fn classify(criterion: &mut Criterion) {
    let model = model();
    let name = model
        .file_stem()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut classifier = Classifier::load(&model).expect("the model is there");
    let (width, height) = (640u32, 480u32);
    let pixels: Vec<u8> = (0..width * height)
        .map(|i| ((i * 7919) >> 5) as u8)
        .collect();
    let picture = LumaView::new(&pixels, width, height, width as usize).expect("it fits");
    let inputs: usize = classifier.manifest().input.shape().shape.iter().product();
    let input = vec![0.25; inputs];
    classifier.reserve(width, height);

    let mut group = criterion.benchmark_group(format!("classify {name}"));
    group.bench_function("crop 200x200", |bencher| {
        bencher.iter(|| {
            let face = black_box(Rect::new(220, 120, 200, 200));
            black_box(classifier.crop_pixels(&picture, face).is_ok())
        });
    });
    group.bench_function("network", |bencher| {
        bencher.iter(|| classifier.raw_outputs(black_box(&input)).map(<[f32]>::len));
    });
    group.bench_function("face 200x200", |bencher| {
        bencher.iter(|| classifier.classify(&picture, black_box(Rect::new(220, 120, 200, 200))));
    });
    group.finish();
}

criterion_group!(benches, classify);
criterion_main!(benches);
