#!/usr/bin/env python3
"""Writes tiny.onnx and tiny.txt beside this file, for tests/stages/classify.rs.

A MobileNetV2 in miniature with random weights, in the form of the shipped
model: ONNX QDQ with unsigned 8-bit activations and signed 8-bit weights per
channel; the quantizer's saturation replaces ReLU6. tiny.txt contains pictures
(as hexadecimal luma, 16 x 16) and the seven outputs that ONNX Runtime computes
for each without any graph optimisation.

Needs numpy, onnx and onnxruntime (made with onnx 1.23.2, onnxruntime 1.31.1).
"""

import hashlib
import pathlib

import numpy as np
import onnx
import onnxruntime as ort
from onnx import TensorProto, helper, numpy_helper

HERE = pathlib.Path(__file__).parent
SIDE = 16
rng = np.random.default_rng(7)
nodes, initializers = [], []


def constant(name, value):
    initializers.append(numpy_helper.from_array(np.asarray(value), name))
    return name


def quantize(x, name, scale, zero):
    """Quantizes and dequantizes x; returns the name of the result."""
    s = constant(f"{name}_scale", np.float32(scale))
    z = constant(f"{name}_zero_point", np.uint8(zero))
    nodes.append(helper.make_node("QuantizeLinear", [x, s, z], [f"{name}_q"], f"{name}/q"))
    nodes.append(helper.make_node("DequantizeLinear", [f"{name}_q", s, z], [name], f"{name}/dq"))
    scales[name] = scale
    return name


scales = {}


def weights(name, shape, x):
    """Random weights and bias, dequantized per channel."""
    values = rng.normal(0, 40, shape).round().clip(-127, 127).astype(np.int8)
    scale = (rng.uniform(0.6, 1.4, shape[0]) * 1.2 / 40 / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
    w = constant(f"{name}_w_q", values)
    s = constant(f"{name}_w_scale", scale)
    z = constant(f"{name}_w_zero_point", np.zeros(shape[0], np.int8))
    nodes.append(helper.make_node("DequantizeLinear", [w, s, z], [f"{name}_w"], f"{name}/w", axis=0))
    bias = rng.normal(0, 0.3, shape[0])
    bias_scale = (scale * np.float32(scales[x])).astype(np.float32)
    b = constant(f"{name}_b_q", (bias / bias_scale).round().astype(np.int32))
    bs = constant(f"{name}_b_scale", bias_scale)
    bz = constant(f"{name}_b_zero_point", np.zeros(shape[0], np.int32))
    nodes.append(helper.make_node("DequantizeLinear", [b, bs, bz], [f"{name}_b"], f"{name}/b", axis=0))
    return f"{name}_w", f"{name}_b"


def conv(x, name, cin, cout, kernel=1, stride=1, group=1, scale=6 / 255, zero=0):
    w, b = weights(name, (cout, cin // group, kernel, kernel), x)
    nodes.append(
        helper.make_node(
            "Conv", [x, w, b], [f"{name}_y"], name, group=group,
            kernel_shape=[kernel, kernel], strides=[stride, stride], pads=[kernel // 2] * 4,
        )
    )
    return quantize(f"{name}_y", f"{name}_out", scale, zero)


x = quantize("input", "image", 0.0185, 113)
x = conv(x, "stem", 1, 8, kernel=3, stride=2)
skip = x = conv(x, "b1_project", 8, 12, scale=0.031, zero=121)
x = conv(x, "b2_expand", 12, 24)
x = conv(x, "b2_depthwise", 24, 24, kernel=3, group=24)
x = conv(x, "b2_project", 24, 12, scale=0.029, zero=130)
nodes.append(helper.make_node("Add", [x, skip], ["b2_sum"], "b2_add"))
x = quantize("b2_sum", "b2_add_out", 0.043, 126)
x = conv(x, "b3_expand", 12, 20)
x = conv(x, "b3_depthwise", 20, 20, kernel=3, stride=2, group=20)
x = conv(x, "b3_project", 20, 17, scale=0.027, zero=125)
x = conv(x, "head", 17, 33)
nodes.append(helper.make_node("GlobalAveragePool", [x], ["pool"], "pool"))
x = quantize("pool", "pool_out", 0.011, 0)
nodes.append(helper.make_node("Flatten", [x], ["flat"], "flatten", axis=1))
scales["flat"] = scales["pool_out"]
w, b = weights("dense", (7, 33), "flat")
nodes.append(helper.make_node("Gemm", ["flat", w, b], ["dense_y"], "dense", transB=1))
quantize("dense_y", "logits", 0.047, 131)

graph = helper.make_graph(
    nodes,
    "tiny",
    [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, SIDE, SIDE])],
    [helper.make_tensor_value_info("logits", TensorProto.FLOAT, [1, 7])],
    initializers,
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
onnx.checker.check_model(model)
onnx.save(model, HERE / "tiny.onnx")
digest = hashlib.sha256((HERE / "tiny.onnx").read_bytes()).hexdigest()
manifest = HERE / "tiny.toml"
manifest.write_text(
    "\n".join(
        f'sha256 = "{digest}"' if line.startswith("sha256") else line
        for line in manifest.read_text().splitlines()
    )
    + "\n"
)

options = ort.SessionOptions()
options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
session = ort.InferenceSession(HERE / "tiny.onnx", options, providers=["CPUExecutionProvider"])
with open(HERE / "tiny.txt", "w") as file:
    for index in range(12):
        noise = rng.integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
        ramp = np.add.outer(np.arange(SIDE) * index, np.arange(SIDE) * 9).clip(0, 255).astype(np.uint8)
        luma = [noise, ramp, np.uint8(noise // 8 + ramp // 2)][index % 3]
        tensor = ((luma.astype(np.float32) / np.float32(255)) - np.float32(0.5)) / np.float32(0.25)
        (logits,) = session.run(None, {"input": tensor[None, None]})
        print(luma.tobytes().hex(), *(repr(float(v)) for v in logits[0]), file=file)
