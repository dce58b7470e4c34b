"""Interleaved single-thread times of one network in several runtimes.

    bench.py INFERENCE MODEL [--rounds N] [--side N]

INFERENCE is the example `inference`, built in release. Each round runs each
runtime a few times, one runtime after another, so that disturbances affect all
runtimes equally. Times are processor time of the whole process.

--side gives the network square pictures of another size. A network that ends in
a global mean accepts them; the weights stay the same.
"""

import argparse
import hashlib
import os
import pathlib
import re
import statistics
import subprocess
import tempfile
import time

os.environ["OMP_NUM_THREADS"] = "1"
import numpy as np  # noqa: E402

import convert  # noqa: E402

RUNS = 5  # a round


class Ours:
    def __init__(self, inference, model, *flags):
        self.child = subprocess.Popen(
            [inference, model, *flags], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, request):
        print(request, file=self.child.stdin, flush=True)
        return self.child.stdout.readline().split()

    def times(self):
        return [int(t) for t in self.ask(f"time {RUNS}")]


class Called:
    """A runtime in this process, as a function."""

    def __init__(self, call):
        self.call = call

    def times(self):
        times = []
        for _ in range(RUNS):
            start = time.process_time_ns()
            self.call()
            times.append(time.process_time_ns() - start)
        return times


def onnxruntime(model, x):
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    (name,) = [i.name for i in session.get_inputs()]
    return Called(lambda: session.run(None, {name: x}))


def litert(model, x):
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_content=model, num_threads=1)
    interpreter.allocate_tensors()
    index = interpreter.get_input_details()[0]["index"]
    nhwc = np.ascontiguousarray(x.transpose(0, 2, 3, 1))

    def call():
        interpreter.set_tensor(index, nhwc)
        interpreter.invoke()

    return Called(call)


def openvino(model, x):
    import openvino as ov

    core = ov.Core()
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY"}
    compiled = core.compile_model(core.read_model(model), "CPU", options)
    request = compiled.create_infer_request()
    return Called(lambda: request.infer({0: x}, share_inputs=True))


def resized(path, side, folder):
    """A copy of a model and its manifest for pictures of `side` x `side`."""
    import onnx

    model = onnx.load(path)
    for dimension in model.graph.input[0].type.tensor_type.shape.dim[2:]:
        dimension.dim_value = side
    del model.graph.value_info[:]
    copy = pathlib.Path(folder) / f"{path.stem}_at_{side}.onnx"
    onnx.save(model, copy)
    manifest = path.with_suffix(".toml").read_text()
    manifest = re.sub(r"^(width|height) = \d+", rf"\1 = {side}", manifest, flags=re.MULTILINE)
    digest = hashlib.sha256(copy.read_bytes()).hexdigest()
    manifest = re.sub(r"^sha256 = .*", f'sha256 = "{digest}"', manifest, flags=re.MULTILINE)
    copy.with_suffix(".toml").write_text(manifest)
    return copy


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("inference")
    parser.add_argument("model", type=pathlib.Path)
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--side", type=int)
    arguments = parser.parse_args()
    path = arguments.model.with_suffix(".onnx")
    scratch = tempfile.TemporaryDirectory()
    if arguments.side:
        path = resized(path, arguments.side, scratch.name)
    path = str(path)
    shape = [d.dim_value for d in convert.Graph(path).model.graph.input[0].type.tensor_type.shape.dim]
    x = np.random.default_rng(1).uniform(-1, 1, shape).astype(np.float32)

    float_file = tempfile.NamedTemporaryFile(suffix=".onnx")
    float_file.write(convert.to_float(path))
    float_file.flush()
    makers = {
        "affectd (int8, exact)": lambda: Ours(arguments.inference, path),
        "LiteRT int8": lambda: litert(convert.to_tflite(path), x),
        "ONNX Runtime int8": lambda: onnxruntime(path, x),
        "ONNX Runtime f32": lambda: onnxruntime(float_file.name, x),
        "OpenVINO int8": lambda: openvino(path, x),
        "tract, QDQ as it is": lambda: Ours(arguments.inference, path, "--stock"),
    }
    runtimes = {}
    for name, make in makers.items():
        try:
            runtimes[name] = make()
        except ImportError as error:
            print(f"{name}: left out, {error}")
    times = {name: [] for name in runtimes}
    for runtime in runtimes.values():
        runtime.times()
    for _ in range(arguments.rounds):
        for name, runtime in runtimes.items():
            times[name] += runtime.times()
    medians = {name: statistics.median(t) for name, t in times.items()}
    base = medians.get("LiteRT int8")
    print(f"{path}: {'x'.join(map(str, shape))}, one thread, {arguments.rounds * RUNS} runs each, interleaved")
    print(f"{'':24} {'median ms':>10} {'fastest':>10} {'to LiteRT':>10}")
    for name, median in sorted(medians.items(), key=lambda item: item[1]):
        ratio = f"{median / base:10.2f}" if base else ""
        print(f"{name:24} {median / 1e6:10.3f} {min(times[name]) / 1e6:10.3f} {ratio}")
    ours = "affectd (int8, exact)"
    kernel, products, peak = runtimes[ours].ask("peak")
    if float(peak):
        rate = int(products) / medians[ours]
        share = 100 * rate / (float(peak) / 1e9)
        print(
            f"affectd ({kernel}): {int(products) / 1e6:.1f} M products a run, {rate:.0f} G a second, "
            f"{share:.0f}% of the {float(peak) / 1e9:.0f} G that this core multiplies at most"
        )


main()
