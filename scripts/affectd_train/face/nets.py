"""The two networks: plain 3x3 convolutions, because these are fast in integers and
in training on a CPU, and a dense layer for each head.

Outputs in training are of the order of one; `UNITS` has the factor for each
exported head. Presence, eyes_visible, jaw, smile, openness, gaze_down and covered
are logits.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from .geometry import EYE_SIDE, FACE_SIDE, LANDMARKS


@dataclass(frozen=True)
class Plan:
    size: int                                    # side of the input
    layers: tuple[tuple[int, int, bool], ...]    # channels, stride, adds its input
    hidden: int
    heads: tuple[tuple[str, int], ...]           # name, numbers


PLANS = {
    "face": Plan(FACE_SIDE, ((16, 2, False), (32, 2, False), (32, 1, True), (64, 2, False), (64, 1, True),
                             (96, 2, False), (96, 1, True)), 128,
                 (("presence", 1), ("eyes_visible", 2), ("jaw", 1), ("smile", 1), ("pose", 3),
                  ("box", 3), ("landmarks", 2 * len(LANDMARKS)))),
    "eye": Plan(EYE_SIDE, ((12, 2, False), (24, 2, False), (24, 1, True), (48, 2, False)), 64,
                (("openness", 1), ("gaze_down", 1), ("covered", 1))),
}
# The factor of a head's numbers in the exported file.
UNITS = {"pose": 45.0}


class Layer(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, pad: int, adds: bool = False):
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, pad, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.adds = adds

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = nn.functional.relu6(self.norm(self.conv(x)))
        return x + y if self.adds else y


class Net(nn.Module):
    def __init__(self, name: str):
        super().__init__()
        self.plan = plan = PLANS[name]
        channels, side, layers = 1, plan.size, []
        for outputs, stride, adds in plan.layers:
            layers.append(Layer(channels, outputs, 3, stride, 1, adds))
            channels, side = outputs, side // stride
        # Sees the whole picture at once, because the outputs depend on where
        # things are.
        layers.append(Layer(channels, plan.hidden, side, 1, 0))
        self.layers = nn.Sequential(*layers)
        self.heads = nn.Linear(plan.hidden, sum(n for _, n in plan.heads))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        hidden = self.layers(x).flatten(1).float()
        with torch.autocast(x.device.type, enabled=False):   # bfloat16's eight bits are a quarter of a pixel
            return self.heads(hidden)


def split(name: str, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """The heads of a network's joined output [n, all]."""
    heads = PLANS[name].heads
    return dict(zip((h for h, _ in heads), y.split([n for _, n in heads], dim=1)))


def multiplications(name: str) -> int:
    plan, count, channels, side = PLANS[name], 0, 1, PLANS[name].size
    for outputs, stride, _ in plan.layers:
        side //= stride
        count += 9 * channels * outputs * side * side
        channels = outputs
    return count + channels * side * side * plan.hidden + plan.hidden * sum(n for _, n in plan.heads)
