"""The integer network: BatchNorm folded, values rounded as ONNX QDQ rounds them.

Activations are unsigned 8-bit per tensor, weights signed 8-bit per output channel
and symmetric, biases 32-bit. An output after ReLU6 has zero point 0 and a top of
at most 6, so that saturation is the activation and no Clip is needed.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .model import MEAN, STD, all_layers, layers_of_block, normalise

INPUT_SCALE = 1 / (255 * STD)       # one quantum a luma step
INPUT_ZERO = round(MEAN * 255)
POOL_DIVISOR = 3   # pool scale = head scale / 3: at 3x3 cells the rounded mean
#                    is round(sum / 3), an integer rule without ties


class Range(nn.Module):
    """Scale and zero point of one activation tensor."""

    def __init__(self, unsigned_from_zero: bool):
        super().__init__()
        self.from_zero = unsigned_from_zero
        self.register_buffer("scale", torch.tensor(1.0))
        self.register_buffer("zero", torch.tensor(0, dtype=torch.int32))
        self.mode = "round"                # or "observe", "float"
        self.seen: list[torch.Tensor] = []  # samples, while observing

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.mode == "observe":
            self.observe(x)
        if self.mode != "round":
            return x
        return torch.fake_quantize_per_tensor_affine(x, self.scale, self.zero, 0, 255)

    def observe(self, x: torch.Tensor) -> None:
        flat = x.detach().flatten()
        step = max(1, flat.numel() // 40_000)
        self.seen.append(torch.cat([flat[::step], flat.min().view(1), flat.max().view(1)]))

    def set(self, low: float, high: float) -> None:
        low, high = min(low, 0.0), max(high, 1e-3)
        if self.from_zero:
            low = 0.0
        self.scale.fill_((high - low) / 255)
        self.zero.fill_(int(round(-low / float(self.scale))))

    def settle(self) -> None:
        """Ends observing: of shrunk ranges, the one with the least squared error."""
        values = torch.cat(self.seen)
        self.mode, self.seen = "round", []
        low, high = float(values.min()), float(values.max())
        best = (float("inf"), low, high)
        for shrink in np.linspace(0.3, 1.0, 36):
            self.set(low * shrink, high * shrink)
            error = float((self(values) - values).square().mean())
            best = min(best, (error, low * shrink, high * shrink))
        self.set(*best[1:])


class QuantConv(nn.Module):
    """Convolution with its BatchNorm's statistics frozen and folded in."""

    def __init__(self, name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, relu6: bool):
        super().__init__()
        self.name, self.relu6 = name, relu6
        self.stride, self.padding, self.groups = conv.stride, conv.padding, conv.groups
        self.weight = nn.Parameter(conv.weight.detach().clone())
        channels = conv.out_channels
        if norm is not None:
            self.gamma = nn.Parameter(norm.weight.detach().clone())
            self.beta = nn.Parameter(norm.bias.detach().clone())
            self.register_buffer("mean", norm.running_mean.clone())
            self.register_buffer("deviation", (norm.running_var + norm.eps).sqrt())
        else:
            self.gamma = nn.Parameter(torch.ones(channels))
            self.beta = nn.Parameter(conv.bias.detach().clone())
            self.register_buffer("mean", torch.zeros(channels))
            self.register_buffer("deviation", torch.ones(channels))
        self.output = Range(relu6)

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        factor = self.gamma / self.deviation
        return self.weight * factor.view(-1, 1, 1, 1), self.beta - self.mean * factor

    @staticmethod
    def weight_scale(weight: torch.Tensor) -> torch.Tensor:
        # The floor keeps the 32-bit bias of a dead channel far from overflow.
        return (weight.detach().flatten(1).abs().amax(dim=1) / 127).clamp_min(1e-6)

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.folded()
        if self.output.mode != "float":
            scale = self.weight_scale(weight)
            zero = torch.zeros_like(scale, dtype=torch.int32)
            weight = torch.fake_quantize_per_channel_affine(weight, scale, zero, 0, -127, 127)
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.raw(x)
        if self.output.mode != "round" and self.relu6:
            y = F.relu6(y)
        return self.output(y)


class QuantBlock(nn.Module):
    def __init__(self, convs: list[QuantConv], residual: bool):
        super().__init__()
        self.convs = nn.ModuleList(convs)
        self.residual = residual
        if residual:
            self.sum = Range(False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = x
        for conv in self.convs:
            y = conv(y)
        return self.sum(x + y) if self.residual else y


class QuantNet(nn.Module):
    """The integer network, trainable; made from a trained float network."""

    def __init__(self, net: nn.Module):
        super().__init__()
        blocks = []
        for index, block in enumerate(net.features):
            convs = [QuantConv(l.name, l.conv, l.norm, l.relu6) for l in layers_of_block(index, block)]
            blocks.append(QuantBlock(convs, bool(getattr(block, "use_res_connect", False))))
        self.blocks = nn.ModuleList(blocks)
        self.pool = Range(True)
        linear = net.classifier[1]
        dense = nn.Conv2d(linear.in_features, linear.out_features, 1)
        dense.weight.data.copy_(linear.weight.data[:, :, None, None])
        dense.bias.data.copy_(linear.bias.data)
        self.dense = QuantConv("dense", dense, None, False)
        self.dropout = nn.Dropout(net.classifier[0].p)
        self.register_buffer("input_scale", torch.tensor(INPUT_SCALE))
        self.register_buffer("input_zero", torch.tensor(INPUT_ZERO, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = torch.fake_quantize_per_tensor_affine(x, self.input_scale, self.input_zero, 0, 255)
        for block in self.blocks:
            x = block(x)
        x = self.dropout(self.pool(x.mean(dim=(2, 3), keepdim=True)))
        # The logits' range is settled last: training sees them unrounded.
        return (self.dense.raw(x) if self.training else self.dense(x)).flatten(1)

    def ranges(self) -> list[Range]:
        return [m for m in self.modules() if isinstance(m, Range)]

    @torch.no_grad()
    def calibrate(self, inputs: torch.Tensor, batch: int = 64) -> None:
        """Sets every range from normalised inputs."""
        self.eval()
        self.set_mode("observe")
        for i in range(0, len(inputs), batch):
            self(inputs[i:i + batch].to(memory_format=torch.channels_last))
        for r in self.ranges():
            r.settle()
        self.pool.scale.copy_(self.blocks[-1].convs[0].output.scale / POOL_DIVISOR)
        self.pool.zero.zero_()

    @torch.no_grad()
    def settle_logits(self, inputs: torch.Tensor, temperature: float = 1.0, batch: int = 64) -> None:
        """Folds the temperature into the dense layer; then the logits' range."""
        self.eval()
        self.dense.weight /= temperature
        self.dense.beta /= temperature
        logits = self.dense.output
        logits.mode = "observe"
        for i in range(0, len(inputs), batch):
            self(inputs[i:i + batch].to(memory_format=torch.channels_last))
        seen = torch.cat(logits.seen)
        logits.mode, logits.seen = "round", []
        logits.set(float(seen.min()), float(seen.max()))

    def set_mode(self, mode: str) -> None:
        """"round": the integer network; "float": the same weights without rounding."""
        for r in self.ranges():
            r.mode = mode
