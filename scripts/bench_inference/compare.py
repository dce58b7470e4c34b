"""Compares a model's outputs with those of ONNX Runtime, input by input.

    compare.py INFERENCE MODEL [--count N]

It compares twice, both times without any graph optimisation (ORT_DISABLE_ALL):

1. with each convolution as QLinearConv: integer arithmetic, which must be
   equal to the last bit;
2. with the model as it is, which ONNX Runtime computes in f32. A model that
   `scripts/train quantize` wrote is equal here too, because with its scales f32
   needs no rounding. With another model, ONNX Runtime's sums have rounding
   errors, affectd's sums do not. Where such an error crosses the middle between
   two quanta, a byte differs by one, and so may all later layers. These
   differences are counted in quanta of the last quantizer.

ONNX Runtime's optimized kernels for signed weights saturate on processors
without VNNI, so they cannot be the reference.
"""

import argparse
import pathlib
import subprocess
import tempfile

import numpy as np
import onnxruntime as ort

import convert


def inputs(count, shape):
    """Pictures with structure at all scales, normalised luma of whole numbers."""
    rng = np.random.default_rng(2)
    _, _, height, width = shape
    for index in range(count):
        picture = np.zeros((height, width))
        for scale in (2, 4, 8, 16, 32):
            coarse = rng.normal(0, 40, (height // scale + 2, width // scale + 2))
            fine = coarse.repeat(scale, 0).repeat(scale, 1)[:height, :width]
            picture += fine * rng.uniform(0, 1)
        picture = picture * rng.uniform(0.3, 1.5) + rng.uniform(60, 190)
        yield picture.clip(0, 255).astype(np.uint8)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("inference")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--count", type=int, default=1000)
    arguments = parser.parse_args()
    path = str(arguments.model.with_suffix(".onnx"))
    import tomllib

    manifest = tomllib.loads(arguments.model.with_suffix(".toml").read_text())["input"]
    graph = convert.Graph(path)
    shape = [d.dim_value for d in graph.model.graph.input[0].type.tensor_type.shape.dim]
    mean = np.float32(manifest["mean"]).reshape(1, -1, 1, 1)
    std = np.float32(manifest["std"]).reshape(1, -1, 1, 1)
    luma = np.stack(list(inputs(arguments.count, shape)))[:, None].repeat(shape[1], 1)
    x = ((luma.astype(np.float32) / np.float32(255)) - mean) / std

    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL

    def reference(model, names):
        session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
        (name,) = [i.name for i in session.get_inputs()]
        rows = [session.run(names, {name: x[i : i + 1]}) for i in range(len(x))]
        return np.stack([np.concatenate([output.ravel() for output in row]) for row in rows])

    with tempfile.NamedTemporaryFile() as file:
        file.write(x.astype("<f4").tobytes())
        file.flush()
        answer = subprocess.run(
            [arguments.inference, path], input=f"outputs\nrun {file.name}\n", text=True, capture_output=True, check=True
        ).stdout
    # A face network has several outputs; of the expression network only one
    # counts.
    names, answer = answer.split("\n", 1)
    names = names.split() or [graph.model.graph.output[0].name]
    ours = np.float32([[float(v) for v in line.split()] for line in answer.splitlines() if line])
    last = [n for n in graph.model.graph.node if n.op_type == "QuantizeLinear"][-1]
    quantum = float(graph.constants[last.input[1]].ravel()[0])
    print(f"{path}: {len(ours)} inputs against ONNX Runtime {ort.__version__}, ORT_DISABLE_ALL")
    exact = True
    for title, model in [("QLinearConv (integers)", convert.to_integer(path)), ("QDQ (f32)", path)]:
        theirs = reference(model, names)
        assert ours.shape == theirs.shape, (ours.shape, theirs.shape)
        steps = np.abs(np.rint((ours - theirs) / quantum)).astype(int)
        equal = int((ours == theirs).all(1).sum())
        print(f"{title}: {equal} inputs equal to the last bit ({100 * equal / len(ours):.1f}%)")
        for distance in range(steps.max() + 1):
            count = int((steps == distance).sum())
            print(f"  {distance} quanta apart: {count} of {steps.size} outputs ({100 * count / steps.size:.3f}%)")
        if len(names) == 1:
            agree = (ours.argmax(1) == theirs.argmax(1)).mean()
            print(f"  same first class: {100 * agree:.2f}%")
        if model is not path:
            exact = equal == len(ours)
    raise SystemExit(0 if exact else "not equal in integers")


main()
