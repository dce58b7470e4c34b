"""MobileNetV2 with a gray stem, and its start weights.

The module tree is torchvision's, so that torchvision's ImageNet weights load
into it. If these cannot be downloaded, the dequantized weights of
`mobilenet_v2_1.0_224_quant.tflite` are used, with BatchNorm restored.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Iterator

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from . import CLASSES

# value = (luma / 255 - MEAN) / STD = (luma - 128) / 128: with scale 2^-7 and zero
# point 128 the input's quantum is just its luma.
MEAN = 128 / 255
STD = 128 / 255


class TinyDepthwise(torch.autograd.Function):
    """3x3 depthwise convolution, stride 1, on 2x2 cells. oneDNN has no good weight
    gradient for these: three such layers cost a seventh of a step at 64x64."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        ctx.save_for_backward(x, weight)
        return F.conv2d(x, weight, None, 1, 1, groups=len(weight))

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        x, weight = ctx.saved_tensors
        to_input, _, _ = torch.ops.aten.convolution_backward(
            gradient, x, weight, None, (1, 1), (1, 1), (1, 1), False, (0, 0),
            len(weight), (True, False, False))
        height, width = x.shape[2:]
        to_weight = torch.zeros_like(weight)
        for i in range(3):
            for j in range(3):
                # Output rows r with 0 <= r + i - 1 < height, and the same for
                # columns.
                top, bottom = max(0, 1 - i), min(height, height + 1 - i)
                left, right = max(0, 1 - j), min(width, width + 1 - j)
                seen = x[:, :, top + i - 1:bottom + i - 1, left + j - 1:right + j - 1]
                to_weight[:, 0, i, j] = (seen * gradient[:, :, top:bottom, left:right]).sum((0, 2, 3))
        return to_input, to_weight


def depthwise(x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """3x3 depthwise convolution with stride 1 and padding 1."""
    if x.device.type == "cpu" and x.shape[-1] <= 2 and weight.requires_grad:
        return TinyDepthwise.apply(x, weight)
    return F.conv2d(x, weight, None, 1, 1, groups=len(weight))


class Depthwise(nn.Conv2d):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return depthwise(x, self.weight)


def build(dropout: float = 0.2) -> nn.Module:
    from torchvision.models import mobilenet_v2

    net = mobilenet_v2(weights=None, num_classes=2 * len(CLASSES), dropout=dropout)
    net.features[0][0] = nn.Conv2d(1, 32, 3, stride=2, padding=1, bias=False)
    for layer in all_layers(net):
        if layer.conv.groups > 1 and layer.conv.stride == (1, 1):
            layer.conv.__class__ = Depthwise
    return net


@dataclass
class Layer:
    """A convolution with the layers that follow it, by its place in the network."""

    name: str
    conv: nn.Conv2d
    norm: nn.BatchNorm2d
    relu6: bool


def layers_of_block(index: int, block: nn.Module) -> list[Layer]:
    """The convolutions of `features[index]` in order."""
    if hasattr(block, "conv"):      # inverted residual
        parts, found = list(block.conv), []
        units = [p for p in parts if isinstance(p, nn.Sequential)]
        names = ["expand", "depthwise"] if len(units) == 2 else ["depthwise"]
        for part_name, unit in zip(names, units):
            found.append(Layer(f"block{index}_{part_name}", unit[0], unit[1], True))
        found.append(Layer(f"block{index}_project", parts[-2], parts[-1], False))
        return found
    name = "stem" if index == 0 else "head"
    return [Layer(name, block[0], block[1], True)]


def all_layers(net: nn.Module) -> Iterator[Layer]:
    for index, block in enumerate(net.features):
        yield from layers_of_block(index, block)


def normalise(luma: torch.Tensor) -> torch.Tensor:
    """u8 or float luma in 0..255 to the network's input."""
    return (luma.float() / 255 - MEAN) / STD


# --- start weights -----------------------------------------------------------

def gray_kernel(kernel: torch.Tensor) -> torch.Tensor:
    """One channel from the three of a network with torchvision's normalisation,
    (v - mean_c) / std_c. Our normalisation is (v - MEAN) / STD."""
    channel_std = torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)
    return (kernel * STD / channel_std).sum(dim=1, keepdim=True)


def load_torchvision(net: nn.Module) -> None:
    from torchvision.models import MobileNet_V2_Weights

    state = MobileNet_V2_Weights.IMAGENET1K_V2.get_state_dict(progress=True)
    state["features.0.0.weight"] = gray_kernel(state["features.0.0.weight"])
    state = {k: v for k, v in state.items() if not k.startswith("classifier")}
    net.load_state_dict(state, strict=False)


def read_tflite_convolutions(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Dequantized (weight OIHW, bias) of every convolution, in network order."""
    import tflite

    model = tflite.Model.GetRootAsModel(path.read_bytes(), 0)
    graph = model.Subgraphs(0)

    def dequantized(index: int) -> np.ndarray:
        tensor = graph.Tensors(index)
        kind = {tflite.TensorType.UINT8: np.uint8, tflite.TensorType.INT32: np.int32}[tensor.Type()]
        raw = model.Buffers(tensor.Buffer()).DataAsNumpy().tobytes()
        values = np.frombuffer(raw, dtype=kind).reshape(tensor.ShapeAsNumpy())
        quantization = tensor.Quantization()
        return ((values.astype(np.float64) - quantization.ZeroPoint(0))
                * quantization.Scale(0)).astype(np.float32)

    found = []
    for i in range(graph.OperatorsLength()):
        operator = graph.Operators(i)
        code = model.OperatorCodes(operator.OpcodeIndex())
        kind = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        if kind == tflite.BuiltinOperator.CONV_2D:
            weight = dequantized(operator.Inputs(1)).transpose(0, 3, 1, 2)  # OHWI
        elif kind == tflite.BuiltinOperator.DEPTHWISE_CONV_2D:
            weight = dequantized(operator.Inputs(1)).transpose(3, 0, 1, 2)  # 1HWC
        else:
            continue
        found.append((np.ascontiguousarray(weight), dequantized(operator.Inputs(2))))
    return found


@torch.no_grad()
def load_tflite(net: nn.Module, path: Path, images: torch.Tensor) -> None:
    """Puts folded weights into the network and restores BatchNorm without changing the
    function: each channel's mean and variance over `images` (normalised input)
    become its statistics, and the affine terms undo them. Filters are scaled to
    norm 1, which BatchNorm compensates, so that one learning rate suits all."""
    folded = read_tflite_convolutions(path)
    layers = list(all_layers(net))
    if len(folded) < len(layers):
        raise SystemExit(f"{path}: it has {len(folded)} convolutions, but {len(layers)} are needed")
    net.eval()
    for layer, (weight, bias) in zip(layers, folded):
        weight = torch.from_numpy(weight)
        if layer.name == "stem":
            weight = weight.sum(dim=1, keepdim=True)
        if weight.shape != layer.conv.weight.shape:
            raise SystemExit(f"{path}: {layer.name} is {tuple(weight.shape)}")
        norm = weight.flatten(1).norm(dim=1).clamp_min(1e-6)
        layer.conv.weight.copy_(weight / norm.view(-1, 1, 1, 1))
        layer.norm.weight.copy_(norm)
        layer.norm.bias.copy_(torch.from_numpy(bias))
        layer.norm.running_mean.zero_()
        layer.norm.running_var.fill_(1.0 - layer.norm.eps)

    # Now BatchNorm is z*norm + bias. Give each one the statistics of its z.
    def restore(norm: nn.BatchNorm2d, inputs: tuple[torch.Tensor]) -> None:
        z = inputs[0]
        mean, var = z.mean(dim=(0, 2, 3)), z.var(dim=(0, 2, 3))
        scale, shift = norm.weight.clone(), norm.bias.clone()
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(var)
        norm.weight.copy_(scale * (var + norm.eps).sqrt())
        norm.bias.copy_(shift + scale * mean)

    hooks = [layer.norm.register_forward_pre_hook(restore) for layer in layers]
    net(images)
    for hook in hooks:
        hook.remove()
