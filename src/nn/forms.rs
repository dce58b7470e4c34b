//! Forms of models and files that affectd does not run, with advice for each.

use super::onnx::{self, GraphProto};

const QDQ: &str = "ONNX Runtime's quantize_static(..., quant_format=QuantFormat.QDQ)";

/// Why the graph cannot run, if it has a known form that is not supported.
pub fn unsupported(graph: &GraphProto) -> Option<String> {
    let by_type = |types: &[&str]| {
        let mut nodes = graph.node.iter();
        let node = nodes.find(|node| types.contains(&node.op_type.as_str()))?;
        Some(format!("node {} ({})", node.title(), node.op_type))
    };
    // First: such models have MatMulInteger and others, too.
    if let Some(node) = by_type(&[
        "DynamicQuantizeLinear",
        "DynamicQuantizeMatMul",
        "DynamicQuantizeLSTM",
        "ConvInteger",
        "MatMulInteger",
        "MatMulIntegerToFloat",
    ]) {
        return Some(format!(
            "it is quantized dynamically ({node}), without scales for its activations; use the \
             float model, or quantize the float model with {QDQ} and some pictures for calibration"
        ));
    }
    let operator = graph.node.iter().find(|node| {
        node.op_type.starts_with("QLinear")
            || matches!(node.op_type.as_str(), "QGemm" | "QAttention")
    });
    if let Some(node) = operator {
        return Some(format!(
            "it is quantized in the QOperator form (node {} ({})); affectd runs the QDQ form: \
             quantize the float model again with {QDQ}",
            node.title(),
            node.op_type
        ));
    }
    let half = graph.input.iter().find_map(|input| {
        let tensor = input.r#type.as_ref()?.tensor_type.as_ref()?;
        let half = [onnx::FLOAT16, onnx::BFLOAT16].contains(&tensor.elem_type);
        half.then(|| (&input.name, onnx::element_name(tensor.elem_type)))
    });
    half.map(|(input, element)| {
        format!(
            "its input '{input}' is {element}; use the float32 model, or convert that with \
             onnxconverter_common's float16.convert_float_to_float16(model, keep_io_types=True)"
        )
    })
}

/// Advice for a network that fails and has 16-bit floats.
pub fn half_precision(graph: &GraphProto) -> Option<&'static str> {
    let half = |code| [onnx::FLOAT16, onnx::BFLOAT16].contains(&code);
    let half = graph
        .initializer
        .iter()
        .any(|tensor| half(tensor.data_type));
    half.then_some("it has float16 weights; try the float32 model")
}

/// What a file is that is not an ONNX file, and what to do.
pub fn unreadable(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty; copy or export it again",
        [b'P', b'K', 3, 4, ..] => {
            "it is a zip archive, as PyTorch saves models; export the model with torch.onnx.export"
        }
        [0x89, b'H', b'D', b'F', ..] => {
            "it is an HDF5 file, as Keras saves models; convert it to ONNX with tf2onnx"
        }
        [_, _, _, _, b'T', b'F', b'L', b'3', ..] => {
            "it is a TensorFlow Lite file; convert it to ONNX with tf2onnx --tflite"
        }
        _ if bytes.starts_with(b"version https://git-lfs") => {
            "it is a Git LFS pointer, not the model; fetch the model with: git lfs pull"
        }
        // ONNX files begin with their IR version, field 1.
        [8, ..] => "the file is damaged or not complete; copy or export it again",
        _ if is_text(bytes) => {
            "it is a text file, not an ONNX file; if a browser or wget fetched it, read its \
             text and download the model itself"
        }
        _ => "it is not an ONNX file; export the model to ONNX",
    }
}

fn is_text(bytes: &[u8]) -> bool {
    let start = &bytes[..bytes.len().min(512)];
    let control = |byte: &u8| byte.is_ascii_control() && !byte.is_ascii_whitespace();
    let text = match std::str::from_utf8(start) {
        Ok(_) => true,
        // Cut inside of a character.
        Err(error) => error.error_len().is_none(),
    };
    text && !start.iter().any(control)
}
