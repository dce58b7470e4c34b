"""From a trained network to an int8 ONNX file with a manifest.

The arithmetic is that of quant.py: powers of two, so that a runtime that
computes in floats and one that computes in integers give the same bits. The
heads are not quantized again: an output is the 32-bit sum times a scale, so
landmarks and logits do not share one 8-bit range.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper
from torch import nn

from ..export import OPSET, GraphWriter
from ..model import MEAN, STD
from ..quant import INPUT_SCALE, INPUT_ZERO, QuantConv, Range, fake_quantize
from .geometry import EYE_SCALE, FACE_SCALE, LANDMARKS
from .nets import PLANS, UNITS, Net
from .train import Recipe, batches, load, to_input, train

EXACT = "exact"   # mode of a head: rounded weights, a sum that is not rounded


class QuantFace(nn.Module):
    """The integer network, trainable; made from a trained float network."""

    def __init__(self, net: Net):
        super().__init__()
        self.plan = net.plan
        self.adds = [layer.adds for layer in net.layers]
        self.convs = nn.ModuleList(QuantConv(f"layer{i}", layer.conv, layer.norm, True)
                                   for i, layer in enumerate(net.layers))
        self.sums = nn.ModuleList(Range(True) if adds else nn.Identity() for adds in self.adds)
        self.heads, first = nn.ModuleList(), 0
        for name, count in self.plan.heads:
            part = nn.Conv2d(self.plan.hidden, count, 1)
            part.weight.data.copy_(net.heads.weight.data[first:first + count, :, None, None])
            part.bias.data.copy_(net.heads.bias.data[first:first + count])
            self.heads.append(QuantConv(name, part, None, False))
            first += count
        self.set_mode("round")
        self.register_buffer("input_scale", torch.tensor(INPUT_SCALE))
        self.register_buffer("input_zero", torch.tensor(INPUT_ZERO, dtype=torch.int32))

    def ranges(self) -> list[Range]:
        return [conv.output for conv in self.convs] + [s for s in self.sums if isinstance(s, Range)]

    def set_mode(self, mode: str) -> None:
        for r in self.ranges():
            r.mode = mode
        for head in self.heads:
            head.output.mode = "float" if mode == "float" else EXACT

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = fake_quantize(x, self.input_scale, self.input_zero)
        for conv, total, adds in zip(self.convs, self.sums, self.adds):
            y = conv(x)
            x = total(x + y) if adds else y
        return torch.cat([head(x) for head in self.heads], dim=1).flatten(1)

    def tell_inputs(self) -> None:
        scale, zero = self.input_scale, self.input_zero
        for conv, total, adds in zip(self.convs, self.sums, self.adds):
            conv.input_scale.copy_(scale)
            conv.input_zero.copy_(zero)
            out = total if adds else conv.output
            scale, zero = out.scale, out.zero
        for head in self.heads:
            head.input_scale.copy_(scale)
            head.input_zero.copy_(zero)

    @torch.no_grad()
    def calibrate(self, inputs: torch.Tensor, batch: int = 128) -> None:
        self.eval()
        self.set_mode("observe")
        for i in range(0, len(inputs), batch):
            self(inputs[i:i + batch])
        for r in self.ranges():
            r.settle()
        self.set_mode("round")
        self.tell_inputs()

    @torch.no_grad()
    def apply_units(self) -> None:
        """Multiplies each head by its unit. After this the heads give the file's outputs."""
        for head in self.heads:
            factor = UNITS.get(head.name, 1.0)
            head.weight *= factor
            head.beta *= factor

    @torch.no_grad()
    def exact_in_f32(self) -> list[str]:
        """Layers in which some input could make a sum too large for f32's 24 bits."""
        doubtful = []
        for conv in [*self.convs, *self.heads]:
            weight, bias = conv.folded()
            quantum = conv.weight_scale(weight, bias)
            levels = (weight / quantum.view(-1, 1, 1, 1)).round().flatten(1).double()
            reach = conv.reach(levels, (bias / (conv.input_scale * quantum)).round())
            part = float(reach.max()) * 3 / 2 ** 24
            if part >= 1:
                doubtful.append(f"{conv.name} ({part:.2f} of what 24 bits hold)")
        return doubtful


@torch.no_grad()
def to_onnx(net: QuantFace, name: str) -> onnx.ModelProto:
    writer = GraphWriter()
    x = writer.quantized("input", "input", INPUT_SCALE, INPUT_ZERO)
    for conv, total, adds in zip(net.convs, net.sums, net.adds):
        y = writer.convolution(conv, x)
        if adds:
            y = writer.activation(writer.node("Add", [x, y], f"{conv.name}_sum_out", f"{conv.name}_sum"),
                                  f"{conv.name}_sum", total)
        x = y
    flat = writer.node("Flatten", [x], "hidden", "flatten", axis=1)
    outputs = []
    for head in net.heads:
        weight, bias = head.folded()
        scale = head.weight_scale(weight, bias)
        levels = (head.rounded(weight, scale) / scale.view(-1, 1, 1, 1)).round().flatten(1).numpy()
        bias_levels = (bias / (head.input_scale * scale)).round().numpy()
        bias_scale = writer.scale_of[x] * scale.numpy()
        zeros = len(bias_levels)
        w = writer.node("DequantizeLinear", [
            writer.constant(f"{head.name}_weight", levels.astype(np.int8)),
            writer.constant(f"{head.name}_weight_scale", scale.numpy()),
            writer.constant(f"{head.name}_weight_zero", np.zeros(zeros, np.int8)),
        ], f"{head.name}_weight_dq", f"{head.name}_weight_dequantize", axis=0)
        b = writer.node("DequantizeLinear", [
            writer.constant(f"{head.name}_bias", bias_levels.astype(np.int32)),
            writer.constant(f"{head.name}_bias_scale", bias_scale),
            writer.constant(f"{head.name}_bias_zero", np.zeros(zeros, np.int32)),
        ], f"{head.name}_bias_dq", f"{head.name}_bias_dequantize", axis=0)
        writer.node("Gemm", [flat, w, b], head.name, f"{head.name}_head", transB=1)
        outputs.append(helper.make_tensor_value_info(head.name, TensorProto.FLOAT, [1, zeros]))
    size = net.plan.size
    graph = helper.make_graph(
        writer.nodes, name, [helper.make_tensor_value_info("input", TensorProto.FLOAT, [1, 1, size, size])],
        outputs, writer.initializers)
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)],
                              producer_name="affectd scripts/train face")
    proto.ir_version = 8
    onnx.checker.check_model(proto, full_check=True)
    return proto


MEANINGS = {
    "presence": ("logit", "sigmoid: probability that the box holds a face; at a box that overlaps a face's by a half 1, by a quarter 0"),
    "eyes_visible": ("logit", "right, left; sigmoid: the eye is in view, not covered by a hand, dark glasses or the nose"),
    "jaw": ("logit", "sigmoid: 0 shut to 1 open as far as a jaw goes (about 3.5 cm)"),
    "smile": ("logit", "sigmoid: 0 none to 1 full"),
    "pose": ("degrees", "yaw > 0 nose to the picture's right, pitch > 0 nose up, roll > 0 clockwise, all in the crop"),
    "box": ("parts of the crop's side", "centre x, centre y, side of the box that a frontal cascade would find: where the next crop is taken"),
    "landmarks": ("parts of the crop's side", "x, y of each in `landmark_names`; 0, 0 is the corner of the first pixel"),
    "openness": ("logit", "sigmoid: lid gap over eye width, divided by the same person's gap at rest, 0 to 1; below 0.2 is shut"),
    "gaze_down": ("logit", "sigmoid: open lids over eyes that look down, 0 at 8 degrees or less below the head's own direction, 1 at 22 or more; of shut lids 0"),
    "covered": ("logit", "sigmoid: no eye is to be seen here: openness and gaze_down say nothing"),
}
TRAINING_DATA = {
    "muxspace": "muxspace/facial_expressions (Apache-2.0), labelled by MediaPipe's face landmarker (Google, Apache-2.0)",
    "fer2013": "FER2013 Training (Goodfellow et al. 2013), labelled by the same",
    "renders": "renders of ICT-FaceKit light (USC ICT, MIT)",
    "negatives": "pictures without people in Debian's packages (scripts/affectd_train/face/negatives.py names them and their licences)",
}


def manifest(path: Path, name: str, origin: str, measured: list[str]) -> str:
    """The text of models/NAME.toml."""
    plan = PLANS[name]
    data = [TRAINING_DATA[k] for k in TRAINING_DATA if k != "negatives" or name == "face"]
    lines = [
        f'name = "{path.stem}"', f'kind = "{name}"',
        f'sha256 = "{hashlib.sha256(path.read_bytes()).hexdigest()}"', 'licence = "Apache-2.0"',
        f'origin = "{origin}"', "training_data = [", *(f'    "{d}",' for d in data), "]", "",
        "[input]", f"width = {plan.size}", f"height = {plan.size}", "channels = 1", 'layout = "nchw"',
        f"mean = [{MEAN!r}]   # 128/255", f"std = [{STD!r}]", "", "[crop]"]
    if name == "face":
        lines += ["# A square around the box's centre, turned by the roll that is known from the frame before.",
                  'of = "box"', f"scale = {FACE_SCALE}   # of the box's side"]
    else:
        lines += ["# A square around the middle of the eye's two corners, turned so that the line from the right eye's",
                  "# middle to the left one's is level; a left eye is mirrored.",
                  'of = "eye"', f"scale = {EYE_SCALE}   # of the side of the face net's output `box`", "mirror_left = true"]
    lines += ['filter = "pillow-bilinear"', ""]
    if name == "face":
        lines += ["[outputs]", "landmark_names = [", *(f'    "{mark}",' for mark in LANDMARKS), "]", ""]
    for head, count in plan.heads:
        unit, meaning = MEANINGS[head]
        lines += [f"[outputs.{head}]", f"numbers = {count}", f'unit = "{unit}"', f'meaning = "{meaning}"', ""]
    return "\n".join(lines + ["[measured]", *measured]) + "\n"


def quantize(name: str, run: Path, out: Path, minutes: float, steps: int, seed: int, origin: str) -> None:
    torch.manual_seed(seed)
    net = load(run / f"{name}.pt", name)
    source = batches(name, run, seed + 100)
    quant = QuantFace(net)
    inputs = torch.cat([to_input(source.batch(128)[0]) for _ in range(8)])
    quant.calibrate(inputs)
    if minutes or steps:
        recipe = Recipe(name, minutes, steps, batch=128, rate=3e-4, ema=0.995, seed=seed, bfloat16=False)
        train(quant, source, recipe, run / f"{name}_int8.pt", teacher=net)
    quant.apply_units()
    for doubtful in quant.exact_in_f32():
        print(f"not exact in f32 for every input: {doubtful}")
    write(quant, name, out, origin)


def write(quant: QuantFace, name: str, out: Path, origin: str) -> None:
    out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(to_onnx(quant, out.stem), out)
    out.with_suffix(".toml").write_text(manifest(out, name, origin, []))
    print(f"{out}: {out.stat().st_size / 1e3:.0f} kB, {sum(p.numel() for p in quant.parameters()) / 1e6:.3f} M parameters")
