"""ONNX QDQ file and manifest of a calibrated QuantNet."""

from __future__ import annotations

import hashlib
import tomllib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper

from . import CLASSES
from .model import MEAN, STD
from .quant import INPUT_SCALE, INPUT_ZERO, QuantConv, QuantNet, Range

OPSET = 13


class GraphWriter:
    """Collects nodes and initializers under tidy names."""

    def __init__(self) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self.scale_of: dict[str, np.float32] = {}   # of each dequantized tensor

    def constant(self, name: str, value: np.ndarray) -> str:
        self.initializers.append(numpy_helper.from_array(np.array(value, order="C"), name))
        return name

    def node(self, kind: str, inputs: list[str], output: str, name: str, **attributes) -> str:
        self.nodes.append(helper.make_node(kind, inputs, [output], name=name, **attributes))
        return output

    def quantized(self, value: str, name: str, scale: float, zero: int) -> str:
        """Passes `value` through QuantizeLinear and DequantizeLinear; returns the output."""
        s = self.constant(f"{name}_scale", np.array(scale, dtype=np.float32))
        z = self.constant(f"{name}_zero", np.array(zero, dtype=np.uint8))
        self.node("QuantizeLinear", [value, s, z], f"{name}_u8", f"{name}_quantize")
        self.scale_of[f"{name}_dq"] = np.float32(scale)
        return self.node("DequantizeLinear", [f"{name}_u8", s, z], f"{name}_dq", f"{name}_dequantize")

    def activation(self, value: str, name: str, r: Range) -> str:
        return self.quantized(value, name, float(r.scale), int(r.zero))

    def convolution(self, conv: QuantConv, x: str) -> str:
        name = conv.name
        weight, bias = conv.folded()
        scale = conv.weight_scale(weight, bias)
        # Rounded as in training, which divides in f32: near a tie f64 may round
        # to the other side.
        levels = (conv.rounded(weight, scale) / scale.view(-1, 1, 1, 1)).round().numpy()
        bias_levels = (bias / (conv.input_scale * scale)).round().numpy()
        scale = scale.numpy()
        bias_scale = self.scale_of[x] * scale
        w = self.node("DequantizeLinear", [
            self.constant(f"{name}_weight", levels.astype(np.int8)),
            self.constant(f"{name}_weight_scale", scale),
            self.constant(f"{name}_weight_zero", np.zeros(len(scale), dtype=np.int8)),
        ], f"{name}_weight_dq", f"{name}_weight_dequantize", axis=0)
        b = self.node("DequantizeLinear", [
            self.constant(f"{name}_bias", bias_levels.astype(np.int32)),
            self.constant(f"{name}_bias_scale", bias_scale),
            self.constant(f"{name}_bias_zero", np.zeros(len(scale), dtype=np.int32)),
        ], f"{name}_bias_dq", f"{name}_bias_dequantize", axis=0)
        kernel = list(conv.weight.shape[2:])
        y = self.node("Conv", [x, w, b], f"{name}_out", name, kernel_shape=kernel,
                      strides=list(conv.stride), pads=list(conv.padding) * 2,
                      dilations=[1, 1], group=conv.groups)
        return self.activation(y, name, conv.output)


@torch.no_grad()
def to_onnx(net: QuantNet) -> onnx.ModelProto:
    writer = GraphWriter()
    x = writer.quantized("input", "input", INPUT_SCALE, INPUT_ZERO)
    for index, block in enumerate(net.blocks):
        y = x
        for conv in block.convs:
            y = writer.convolution(conv, y)
        if block.residual:
            total = writer.node("Add", [x, y], f"block{index}_sum_out", f"block{index}_sum")
            y = writer.activation(total, f"block{index}_sum", block.sum)
        x = y
    pooled = writer.node("GlobalAveragePool", [x], "pool_out", "pool")
    x = writer.activation(pooled, "pool", net.pool)
    logits = writer.convolution(net.dense, x)
    writer.node("Flatten", [logits], "logits", "flatten", axis=1)
    graph = helper.make_graph(
        writer.nodes, "mobilenet_v2",
        [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, net.size, net.size])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, len(CLASSES)])],
        writer.initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                              producer_name="affectd scripts/train")
    proto.ir_version = 8
    onnx.checker.check_model(proto, full_check=True)
    return proto


@torch.no_grad()
def float_to_onnx(net: torch.nn.Module, temperature: float, size: int) -> onnx.ModelProto:
    """`net` in f32, its logits divided by the temperature."""
    class Tempered(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = net

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net(x) * (1 / temperature)

    program = torch.onnx.export(Tempered().eval(), (torch.zeros(1, 1, size, size),), dynamo=True,
                                input_names=["input"], output_names=["logits"],
                                opset_version=18, verbose=False)
    proto = program.model_proto
    onnx.checker.check_model(proto, full_check=True)
    return proto


def run_onnx(path: Path, tiles: np.ndarray, bar: str | None = None) -> np.ndarray:
    """Logits by ONNX Runtime without graph optimizations: its optimized int8
    kernels saturate on some processors, plain QDQ arithmetic does not."""
    import onnxruntime as ort
    from tqdm import tqdm

    from .data import resize_pillow

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = torch.get_num_threads()
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    size = session.get_inputs()[0].shape[-1]
    said = tomllib.loads(path.with_suffix(".toml").read_text())["input"]
    inputs = normalised(resize_pillow(tiles, size), *said["mean"], *said["std"])
    rows = tqdm(inputs, desc=bar, disable=bar is None, mininterval=2.0)
    return np.concatenate([session.run(None, {"input": row[None, None]})[0] for row in rows])


def run_affectd(inference: Path, model: Path, tiles: np.ndarray) -> np.ndarray:
    """Logits by affectd's own integers: `inference` is the example of that name, built by
    `cargo build --release --example inference`. Tens of times as fast as run_onnx."""
    import subprocess
    import tempfile

    from .data import resize_pillow

    said = tomllib.loads(model.with_suffix(".toml").read_text())["input"]
    inputs = normalised(resize_pillow(tiles, said["width"]), *said["mean"], *said["std"])
    with tempfile.NamedTemporaryFile() as file:
        file.write(inputs.astype("<f4").tobytes())
        file.flush()
        done = subprocess.run([inference, model], input=f"run {file.name}\n", text=True, check=True,
                              capture_output=True)
    return np.array([[float(v) for v in line.split()] for line in done.stdout.splitlines() if line],
                    np.float32)


def normalised(luma: np.ndarray, mean: float = MEAN, std: float = STD) -> np.ndarray:
    """u8 to the network's input, in f32 as the daemon computes it."""
    return (luma.astype(np.float32) / np.float32(255) - np.float32(mean)) / np.float32(std)


def manifest(onnx_path: Path, size: int, origin: str, licence: str, training_data: list[str],
             crop: dict[str, float], measured: dict[str, float | int | str]) -> str:
    """The text of models/NAME.toml."""
    def quoted(text: str) -> str:
        return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'

    def value(v: float | int | str) -> str:
        return quoted(v) if isinstance(v, str) else str(v)

    digest = hashlib.sha256(onnx_path.read_bytes()).hexdigest()
    lines = [
        f"name = {quoted(onnx_path.stem)}",
        f"sha256 = {quoted(digest)}",
        f"licence = {quoted(licence)}",
        f"origin = {quoted(origin)}",
        "training_data = [" + ", ".join(quoted(t) for t in training_data) + "]",
        "classes = [" + ", ".join(quoted(c) for c in CLASSES) + "]",
        'output = "logits"',
        "",
        "[input]",
        f"width = {size}",
        f"height = {size}",
        "channels = 1",
        'layout = "nchw"',
        f"mean = [{MEAN!r}]   # 128/255",
        f"std = [{STD!r}]",
        "",
        "[crop]",
        *(f"{k} = {v}" for k, v in crop.items()),
        'filter = "pillow-bilinear"',
        "",
        "[measured]",
        *(f"{k} = {value(v)}" for k, v in measured.items()),
    ]
    return "\n".join(lines) + "\n"
