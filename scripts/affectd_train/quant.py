"""The integer network: BatchNorm folded, values rounded as ONNX QDQ rounds them.

Activations are unsigned 8-bit per tensor, weights signed 8-bit per output channel
and symmetric, biases 32-bit. An output after ReLU has zero point 0 and saturates
at the top of the unsigned range, so no Clip is needed.

Scales of activations are powers of two, those of weights two or three times a
power of two. Every product, partial sum and quotient is then exact in f32, in any
order of adding: a runtime that computes the QDQ graph in floats and one that
computes it in integers give the same bits. `exact_in_f32` checks that no sum can
become too large for f32's 24 bits.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from .model import MEAN, STD, layers_of_block

INPUT_SCALE = 1 / (255 * STD)       # 2^-7: one quantum a luma step
INPUT_ZERO = round(MEAN * 255)


class FakeQuantize(torch.autograd.Function):
    """The same bits as torch.fake_quantize_per_tensor_affine for a scale that is a power of
    two, and four times as fast on CPUs: PyTorch's function took three fifths of a step."""

    @staticmethod
    def forward(ctx, x: torch.Tensor, scale: float, zero: int) -> torch.Tensor:
        ctx.save_for_backward(x)
        ctx.inside = (-zero - 0.5) * scale, (255 - zero + 0.5) * scale
        return (x / scale).round_().clamp_(-zero, 255 - zero).mul_(scale)

    @staticmethod
    def backward(ctx, gradient: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        x, = ctx.saved_tensors
        return torch.ops.aten.hardtanh_backward(gradient, x, *ctx.inside), None, None


def fake_quantize(x: torch.Tensor, scale: torch.Tensor, zero: torch.Tensor) -> torch.Tensor:
    if x.device.type == "cpu":
        return FakeQuantize.apply(x, float(scale), int(zero))
    return torch.fake_quantize_per_tensor_affine(x, scale, zero, 0, 255)


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
        return fake_quantize(x, self.scale, self.zero)

    def top(self) -> torch.Tensor:
        return self.scale * 255

    def observe(self, x: torch.Tensor) -> None:
        flat = x.detach().flatten()
        step = max(1, flat.numel() // 40_000)
        self.seen.append(torch.cat([flat[::step], flat.min().view(1), flat.max().view(1)]))

    def set(self, low: float, high: float) -> None:
        """The smallest power of two whose range spans low..high, which lies in its middle."""
        low, high = min(low, 0.0), max(high, 1e-3)
        if self.from_zero:
            low = 0.0
        scale = 2.0 ** math.ceil(math.log2((high - low) / 255) - 1e-9)
        self.scale.fill_(scale)
        spare = 0.0 if self.from_zero else 255 * scale - (high - low)
        self.zero.fill_(min(255, int(round((spare / 2 - low) / scale))))

    def settle(self) -> None:
        """Ends observing: chooses, among shrunk ranges, the one with the least squared error."""
        values = torch.cat(self.seen)
        self.mode, self.seen = "round", []
        low, high = float(values.min()), float(values.max())
        best = (float("inf"), low, high)
        for shrink in np.linspace(0.2, 1.0, 41):
            self.set(low * shrink, high * shrink)
            error = float((self(values) - values).square().mean())
            best = min(best, (error, low * shrink, high * shrink))
        self.set(*best[1:])


class QuantConv(nn.Module):
    """Convolution with its BatchNorm's statistics frozen and folded in."""

    def __init__(self, name: str, conv: nn.Conv2d, norm: nn.BatchNorm2d | None, relu: bool):
        super().__init__()
        self.name, self.relu = name, relu
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
        self.output = Range(relu)
        self.register_buffer("input_scale", torch.tensor(1.0))
        self.register_buffer("input_zero", torch.tensor(0, dtype=torch.int32))

    def folded(self) -> tuple[torch.Tensor, torch.Tensor]:
        factor = self.gamma / self.deviation
        return self.weight * factor.view(-1, 1, 1, 1), self.beta - self.mean * factor

    def weight_scale(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """The smallest of 2, 3, 4, 6, 8, 12, … times a power of two that spans each channel
        and keeps its sums within f32's 24 bits."""
        weight, bias = weight.detach().flatten(1), bias.detach()
        least = weight.abs().amax(dim=1) / 127
        # 3.2 instead of 3, because rounding to levels may increase a sum.
        least = torch.maximum(least, self.reach(weight, bias / self.input_scale) * 3.2 / 2 ** 24)
        least = least.clamp_min(2.0 ** -40)
        power = torch.exp2(torch.floor(torch.log2(least)))
        ratio = least / power
        return power * torch.where(ratio <= 1, 1.0, torch.where(ratio <= 1.5, 1.5, 2.0))

    @staticmethod
    def rounded(weight: torch.Tensor, scale: torch.Tensor) -> torch.Tensor:
        """The nearest levels -127..127 of each channel, which span it; the gradient passes
        through. (PyTorch's own function waits for the GPU in every call.) The sum is exact:
        a difference of two numbers within a factor of two, or from zero, needs no rounding."""
        scale = scale.view(-1, 1, 1, 1)
        levels = (weight.detach() / scale).round().clamp(-127, 127)
        return weight + (levels * scale - weight).detach()

    def reach(self, weight: torch.Tensor, bias: torch.Tensor) -> torch.Tensor:
        """The largest possible partial sum of each channel, in quanta of the input."""
        up, down = weight.clamp_min(0).sum(dim=1), weight.clamp_max(0).abs().sum(dim=1)
        below, above = self.input_zero, 255 - self.input_zero
        return torch.maximum(up * above + down * below, down * above + up * below) + bias.abs()

    def raw(self, x: torch.Tensor) -> torch.Tensor:
        weight, bias = self.folded()
        if self.output.mode != "float":
            scale = self.weight_scale(weight, bias)
            weight = self.rounded(weight, scale)
            quantum = self.input_scale * scale
            # The file's bias is a whole number of quanta; its gradient is that
            # of the float bias.
            bias = bias + ((bias / quantum).round() * quantum - bias).detach()
        return F.conv2d(x, weight, bias, self.stride, self.padding, groups=self.groups)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.raw(x)
        if self.relu and self.output.mode == "observe":
            y = F.relu6(y)   # as in the float network's training
        elif self.relu and self.output.mode == "float":
            top = self.output.top()   # stays a tensor: making it a number would wait for the GPU
            y = F.hardtanh(y, 0.0, float(top)) if y.device.type == "cpu" else torch.minimum(F.relu(y), top)
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

    def __init__(self, net: nn.Module, size: int):
        super().__init__()
        self.size = size   # side of the pictures
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
        self.dropout = net.classifier[0]
        self.register_buffer("input_scale", torch.tensor(INPUT_SCALE))
        self.register_buffer("input_zero", torch.tensor(INPUT_ZERO, dtype=torch.int32))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.dropout(self.pooled(x))
        # The logits' range is set at the end: training sees the logits
        # unrounded.
        return (self.dense.raw(x) if self.training else self.dense(x)).flatten(1)

    def pooled(self, x: torch.Tensor) -> torch.Tensor:
        """Features [n, 1280, 1, 1]."""
        x = fake_quantize(x, self.input_scale, self.input_zero)
        for block in self.blocks:
            x = block(x)
        return self.pool(x.mean(dim=(2, 3), keepdim=True))

    def unrounded(self, x: torch.Tensor) -> torch.Tensor:
        """The same weights and ranges without rounding."""
        self.set_mode("float")
        y = self(x)
        self.set_mode("round")
        return y

    @torch.no_grad()
    def set_head(self, weight: torch.Tensor, bias: torch.Tensor) -> None:
        """Puts a last layer [7, 1280] in the place of the two heads."""
        dense, one = self.dense, torch.ones_like(bias)
        dense.weight = nn.Parameter(weight.view(*weight.shape, 1, 1).clone())
        dense.beta, dense.gamma = nn.Parameter(bias.clone()), nn.Parameter(one.clone())
        dense.mean, dense.deviation = torch.zeros_like(one), one.clone()
        dense.output.mode = "float"   # until settle_logits

    def ranges(self) -> list[Range]:
        return [m for m in self.modules() if isinstance(m, Range)]

    def convolutions(self) -> list[QuantConv]:
        return [conv for block in self.blocks for conv in block.convs] + [self.dense]

    def tell_inputs(self) -> None:
        """Gives each convolution the range of its input."""
        scale, zero = self.input_scale, self.input_zero
        for block in self.blocks:
            for conv in block.convs:
                conv.input_scale.copy_(scale)
                conv.input_zero.copy_(zero)
                scale, zero = conv.output.scale, conv.output.zero
            if block.residual:
                scale, zero = block.sum.scale, block.sum.zero
        self.dense.input_scale.copy_(self.pool.scale)
        self.dense.input_zero.copy_(self.pool.zero)

    @torch.no_grad()
    def calibrate(self, inputs: torch.Tensor, batch: int = 64) -> None:
        """Sets every range from normalised inputs."""
        self.eval()
        self.set_mode("observe")
        for i in range(0, len(inputs), batch):
            self(inputs[i:i + batch].to(memory_format=torch.channels_last))
        for r in self.ranges():
            r.settle()
        self.tell_inputs()

    @torch.no_grad()
    def settle_logits(self, inputs: torch.Tensor, temperature: float = 1.0, batch: int = 64) -> None:
        """Folds the temperature into the dense layer, then sets the logits' range."""
        self.eval()
        self.dense.weight /= temperature
        self.dense.beta /= temperature
        logits = self.dense.output
        logits.mode = "float"
        exact = torch.cat([self(inputs[i:i + batch].to(memory_format=torch.channels_last))
                           for i in range(0, len(inputs), batch)])
        logits.mode = "round"
        # The logit of a very unlikely class may be clipped, because finer steps
        # for the likely ones matter more. The range is the one that changes the
        # probabilities least.
        probabilities = exact.softmax(dim=1)
        low, high = float(exact.min()), float(exact.max())
        best = (float("inf"), low, high)
        for top in np.linspace(0.4, 1.0, 13):
            for bottom in np.linspace(0.1, 1.0, 19):
                logits.set(low * bottom, high * top)
                error = float((logits(exact).softmax(dim=1) - probabilities).square().mean())
                best = min(best, (error, low * bottom, high * top))
        logits.set(*best[1:])

    def set_mode(self, mode: str) -> None:
        """"round": the integer network; "float": the same weights without rounding."""
        for r in self.ranges():
            r.mode = mode

    @torch.no_grad()
    def exact_in_f32(self) -> list[str]:
        """Convolutions in which some input could make a sum too large for f32's 24 bits."""
        doubtful = []
        for conv in self.convolutions():
            weight, bias = conv.folded()
            quantum = conv.weight_scale(weight, bias)
            levels = (weight / quantum.view(-1, 1, 1, 1)).round().flatten(1).double()
            reach = conv.reach(levels, (bias / (conv.input_scale * quantum)).round())
            # A weight's quantum is 2 or 3 times a power of two, which is the
            # unit of sums.
            part = float(reach.max()) * 3 / 2 ** 24
            if part >= 1:
                doubtful.append(f"{conv.name} ({part:.2f} of what 24 bits hold)")
        return doubtful
