//! The classifier: crops equal to Pillow's, networks that run, and models that
//! are refused.

use std::fs;
use std::path::{Path, PathBuf};

use affectd::frame::{LumaView, Rect};
use affectd::observe::{Classifier, ModelError};
use prost::Message as _;
use sha2::{Digest, Sha256};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data/classify")
        .join(name)
}

/// The noise of tests/data/classify/make_crops.py.
fn picture(width: u32, height: u32, seed: u32) -> Vec<u8> {
    let mut state = seed;
    (0..width * height)
        .map(|_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        })
        .collect()
}

/// A copy of the tiny model with its manifest changed.
fn changed(edit: impl Fn(String) -> String) -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("tiny.onnx");
    fs::copy(data("tiny.onnx"), &model).unwrap();
    let manifest = fs::read_to_string(data("tiny.toml")).unwrap();
    let edited = edit(manifest.clone());
    assert_ne!(edited, manifest, "the edit changed nothing");
    fs::write(model.with_extension("toml"), edited).unwrap();
    (folder, model)
}

#[test]
fn crops_are_pillows() {
    let text = fs::read_to_string(data("crops.txt")).unwrap();
    let mut checked = 0;
    for line in text.lines() {
        let fields: Vec<_> = line.split(' ').collect();
        let int = |index: usize| fields[index].parse::<i32>().unwrap();
        let (width, height) = (int(0) as u32, int(1) as u32);
        let face = Rect::new(int(3), int(4), int(5) as u32, int(6) as u32);
        let pixels = picture(width, height, int(2) as u32);
        let view = LumaView::new(&pixels, width, height, width as usize).unwrap();
        let rule = toml::from_str(&format!(
            "scale = {:?}\nshift_x = {:?}\nshift_y = {:?}\nfilter = 'pillow-bilinear'",
            fields[7].parse::<f64>().unwrap(),
            fields[8].parse::<f64>().unwrap(),
            fields[9].parse::<f64>().unwrap()
        ))
        .unwrap();
        let mut cropper = affectd::observe::Cropper::new(int(10) as usize, int(11) as usize);
        let crop = if face.width == 0 {
            cropper.whole(&view)
        } else {
            cropper.face(&view, face, &rule).unwrap()
        };
        let digest: String = Sha256::digest(crop)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        assert_eq!(digest, fields[12], "another crop than Pillow's for: {line}");
        checked += 1;
    }
    assert_eq!(checked, 94);
}

/// A stride with unused bytes between rows does not change the crop.
#[test]
fn strides_are_honoured() {
    let pixels = picture(50, 40, 5);
    let mut padded = Vec::new();
    for row in pixels.chunks(50) {
        padded.extend_from_slice(row);
        padded.extend_from_slice(&[255; 13]);
    }
    let mut cropper = affectd::observe::Cropper::new(24, 24);
    let tight = LumaView::new(&pixels, 50, 40, 50).unwrap();
    let wide = LumaView::new(&padded, 50, 40, 63).unwrap();
    let expected = cropper.whole(&tight).to_vec();
    assert_eq!(cropper.whole(&wide), expected);
}

/// Pictures, and the outputs that ONNX Runtime computes for them.
fn golden() -> Vec<(Vec<u8>, [f32; 7])> {
    let text = fs::read_to_string(data("tiny.txt")).unwrap();
    text.lines()
        .map(|line| {
            let mut fields = line.split(' ');
            let hex = fields.next().unwrap();
            let luma = (0..hex.len() / 2)
                .map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap())
                .collect();
            let logits: Vec<f32> = fields.map(|field| field.parse().unwrap()).collect();
            (luma, logits.try_into().unwrap())
        })
        .collect()
}

fn normalised(luma: &[u8]) -> Vec<f32> {
    luma.iter()
        .map(|&l| (f32::from(l) / 255.0 - 0.5) / 0.25)
        .collect()
}

#[test]
fn the_network_equals_onnx_runtime() {
    let mut classifier = Classifier::load(&data("tiny")).unwrap();
    let golden = golden();
    assert_eq!(golden.len(), 12);
    for (luma, logits) in golden {
        assert_eq!(classifier.raw_outputs(&normalised(&luma)).unwrap(), logits);
        let view = LumaView::new(&luma, 16, 16, 16).unwrap();
        let p = classifier.classify_whole(&view).unwrap();
        let exponentials = logits.map(|l| f64::from(l).exp());
        let sum: f64 = exponentials.iter().sum();
        for (p, e) in p.0.into_iter().zip(exponentials) {
            assert!((f64::from(p) - e / sum).abs() < 1e-6);
        }
    }
}

#[test]
fn classes_are_sorted_into_our_order() {
    let luma = golden()[0].0.clone();
    let view = LumaView::new(&luma, 16, 16, 16).unwrap();
    let ours = Classifier::load(&data("tiny"))
        .unwrap()
        .classify_whole(&view)
        .unwrap();
    let (_folder, model) = changed(|text| {
        text.replace(
            r#"["angry", "disgust", "fear", "happy", "sad", "surprise", "neutral"]"#,
            r#"["neutral", "angry", "disgust", "fear", "happy", "sad", "surprise"]"#,
        )
    });
    let theirs = Classifier::load(&model)
        .unwrap()
        .classify_whole(&view)
        .unwrap();
    for index in 0..7 {
        // Only the order in which softmax adds may change the last bit.
        let difference = theirs.0[(index + 6) % 7] - ours.0[index];
        assert!(
            difference.abs() <= f32::EPSILON,
            "class {index}: {difference}"
        );
    }
}

#[test]
fn a_face_at_the_edge_is_classified_like_its_crop() {
    let mut classifier = Classifier::load(&data("tiny.onnx")).unwrap();
    let pixels = picture(60, 50, 3);
    let view = LumaView::new(&pixels, 60, 50, 60).unwrap();
    let face = Rect::new(40, -10, 33, 33);
    let p = classifier.classify(&view, face).unwrap();
    let crop = classifier.crop_pixels(&view, face).unwrap().to_vec();
    let crop = LumaView::new(&crop, 16, 16, 16).unwrap();
    assert_eq!(classifier.classify_whole(&crop).unwrap(), p);
}

#[track_caller]
fn refused(model: &Path, words: &[&str]) -> ModelError {
    let Err(error) = Classifier::load(model) else {
        panic!("{} was accepted", model.display());
    };
    let message = error.to_string();
    for word in words {
        assert!(message.contains(word), "'{word}' is not in: {message}");
    }
    error
}

#[test]
fn models_that_do_not_fit_are_refused_with_the_reason() {
    refused(&data("none"), &["none.onnx"]);

    let (folder, model) = changed(|text| text.replace("width = 16", "width = 32"));
    refused(&model, &["[1, 1, 16, 16]", "[1, 1, 16, 32]", "tiny.toml"]);

    fs::remove_file(folder.path().join("tiny.toml")).unwrap();
    refused(
        &model,
        &["manifest is missing", "tiny.toml", "sha256sum", "[crop]"],
    );

    let (_folder, model) = changed(|text| text.replace("layout = \"nchw\"", "layout = \"nhwc\""));
    refused(&model, &["[1, 16, 16, 1]"]);

    let (_folder, model) = changed(|text| text.replace("\"disgust\", ", ""));
    refused(&model, &["classes", "1 of the seven", "(disgust)"]);
}

#[test]
fn broken_files_are_errors() {
    let bytes = fs::read(data("tiny.onnx")).unwrap();
    let text = fs::read_to_string(data("tiny.toml")).unwrap();
    let hash = text
        .lines()
        .find(|line| line.starts_with("sha256"))
        .unwrap();
    let folder = tempfile::tempdir().unwrap();
    let model = folder.path().join("broken.onnx");
    let write = |bytes: &[u8]| {
        let digest: String = Sha256::digest(bytes)
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        fs::write(&model, bytes).unwrap();
        let text = text.replace(hash, &format!("sha256 = \"{digest}\""));
        fs::write(model.with_extension("toml"), text).unwrap();
    };

    // The file changes, but the manifest does not.
    write(&bytes);
    fs::write(&model, &bytes[1..]).unwrap();
    assert!(matches!(
        refused(&model, &["SHA-256", "broken.onnx", "broken.toml"]),
        ModelError::Hash { .. }
    ));

    // Cut off anywhere, and noise: an error each time, never a panic.
    for length in [0, 1, 7, 100, bytes.len() / 2, bytes.len() - 1] {
        write(&bytes[..length]);
        refused(&model, &["broken.onnx"]);
    }
    write(&picture(100, 10, 1));
    refused(&model, &["broken.onnx", "not a model"]);
}

/// The model in models/ is loaded, runs in integers only, and gives different
/// answers for different pictures.
#[test]
fn the_shipped_model_runs_in_integers() {
    let model = Path::new(env!("CARGO_MANIFEST_DIR")).join("models/mobilenet_v2_112");
    let mut classifier = Classifier::load(&model).unwrap();
    assert!(classifier.working_memory().is_some());
    let mut all = Vec::new();
    for seed in 0..3 {
        let pixels = picture(120, 120, seed);
        let view = LumaView::new(&pixels, 120, 120, 120).unwrap();
        let p = classifier.classify_whole(&view).unwrap();
        assert!((p.0.iter().sum::<f32>() - 1.0).abs() < 1e-5);
        all.push(p);
    }
    assert!(all[0] != all[1] && all[1] != all[2]);
}

/// A network with one layer: number k is the mean of all inputs times
/// `weights[k]`, plus k / 10.
fn mean_network(shape: [i64; 4], weights: [f32; 8]) -> Vec<u8> {
    use tract_onnx::pb::tensor_shape_proto::{Dimension, dimension::Value};
    use tract_onnx::pb::{
        GraphProto, ModelProto, NodeProto, OperatorSetIdProto, TensorProto, TensorShapeProto,
        TypeProto, ValueInfoProto, type_proto,
    };
    let value = |name: &str, dimensions: &[i64]| ValueInfoProto {
        name: name.into(),
        r#type: Some(TypeProto {
            value: Some(type_proto::Value::TensorType(type_proto::Tensor {
                elem_type: 1,
                shape: Some(TensorShapeProto {
                    dim: dimensions
                        .iter()
                        .map(|&size| Dimension {
                            value: Some(Value::DimValue(size)),
                            ..Default::default()
                        })
                        .collect(),
                }),
            })),
            ..Default::default()
        }),
        ..Default::default()
    };
    let tensor = |name: &str, dims: &[i64], values: Vec<f32>| TensorProto {
        name: name.into(),
        dims: dims.to_vec(),
        data_type: 1,
        float_data: values,
        ..Default::default()
    };
    let node = |op: &str, input: &[&str], output: &str| NodeProto {
        op_type: op.into(),
        input: input.iter().map(|&name| name.into()).collect(),
        output: vec![output.into()],
        ..Default::default()
    };
    let channels = shape[1];
    let matrix = (0..channels).flat_map(|_| weights.map(|w| w / channels as f32));
    let graph = GraphProto {
        name: "mean".into(),
        input: vec![value("x", &shape)],
        output: vec![value("y", &[1, 8])],
        initializer: vec![
            tensor("w", &[channels, 8], matrix.collect()),
            tensor("b", &[8], (0..8).map(|k| k as f32 / 10.0).collect()),
        ],
        node: vec![
            node("GlobalAveragePool", &["x"], "pooled"),
            node("Flatten", &["pooled"], "flat"),
            node("Gemm", &["flat", "w", "b"], "y"),
        ],
        ..Default::default()
    };
    ModelProto {
        ir_version: 8,
        opset_import: vec![OperatorSetIdProto {
            version: 13,
            ..Default::default()
        }],
        graph: Some(graph),
        ..Default::default()
    }
    .encode_to_vec()
}

/// Each manifest in docs/models.md loads a network of the shape that it names,
/// and gives each expression the right number and each pixel the right value.
#[test]
fn the_manifests_in_the_documents_load_models_of_their_shape() {
    const LUMA: u8 = 200;
    // The index of happy, the input for that luma, and the shape.
    let imagenet = [(0.485, 0.229), (0.456, 0.224), (0.406, 0.225)]
        .map(|(mean, std)| (f32::from(LUMA) / 255.0 - mean) / std);
    let imagenet = imagenet.iter().sum::<f32>() / 3.0;
    let cases = [
        ("emotion-ferplus-8", 1, f32::from(LUMA), [1, 1, 64, 64]),
        ("affectnet-8", 1, imagenet, [1, 3, 224, 224]),
        ("affectnet-8-sorted", 4, imagenet, [1, 3, 224, 224]),
    ];
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/models.md");
    let document = fs::read_to_string(path).unwrap();
    let manifests: Vec<_> = document
        .split("```toml\n")
        .skip(1)
        .map(|rest| rest.split("```").next().unwrap())
        .collect();
    assert_eq!(manifests.len(), cases.len());
    for (manifest, (name, happy, input, shape)) in manifests.into_iter().zip(cases) {
        assert!(manifest.contains(&format!("name = \"{name}\"")), "{name}");
        let mut weights = [0.0; 8];
        // Adds 2 to the number of happy.
        weights[happy] = 2.0 / input;
        let onnx = mean_network(shape, weights);
        let hash: String = Sha256::digest(&onnx)
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(format!("{name}.onnx"));
        fs::write(&path, &onnx).unwrap();
        let lines = manifest.lines().map(|line| {
            if line.starts_with("sha256") {
                format!("sha256 = \"{hash}\"")
            } else {
                line.to_owned()
            }
        });
        let text = lines.collect::<Vec<_>>().join("\n");
        fs::write(path.with_extension("toml"), &text).unwrap();

        let mut classifier = Classifier::load(&path).unwrap();
        let pixels = vec![LUMA; 320 * 240];
        let view = LumaView::new(&pixels, 320, 240, 320).unwrap();
        let found = classifier
            .classify(&view, Rect::new(80, 60, 120, 120))
            .unwrap();

        let logits: [f32; 8] =
            std::array::from_fn(|k| k as f32 / 10.0 + if k == happy { 2.0 } else { 0.0 });
        let sum: f32 = logits.iter().map(|logit| logit.exp()).sum();
        let table: toml::Table = toml::from_str(&text).unwrap();
        let classes: Vec<_> = table["classes"].as_array().unwrap().iter().collect();
        let names = [
            "anger",
            "disgust",
            "fear",
            "happiness",
            "sadness",
            "surprise",
            "neutral",
        ];
        for (probability, class) in found.0.iter().zip(names) {
            let place = classes.iter().position(|c| c.as_str() == Some(class));
            let expected = logits[place.unwrap()].exp() / sum;
            assert!(
                (probability - expected).abs() < 1e-4,
                "{name}, {class}: {probability} instead of {expected}"
            );
        }
    }
}
