"""One head out of two: the last layer that serves FER2013's labels and FER+ votes at once.

Of an answer c, the first truth is right with the probability that the FER2013 head gives
to c, the second with the probability that most voters say c. The best single answer has
the greatest weighted sum of both, so the layer is fitted to that sum, normalised. For the
second, the votes' mean is not enough: pictures without a majority do not count there, and
may follow FER2013. Hence an eighth class, `none`, fitted on the training tiles.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from . import CLASSES
from .data import Prepared, resize_pillow
from .metrics import fit_temperature, report
from .model import SIZE, normalise
from .quant import QuantNet

N = len(CLASSES)
STEPS = 40   # of L-BFGS, for both fits


@torch.no_grad()
def features(net: QuantNet, tiles: np.ndarray, batch: int = 256) -> torch.Tensor:
    """Pooled features [n, 1280], without rounding."""
    from tqdm import tqdm

    net.eval()
    net.set_mode("float")
    found = []
    for i in tqdm(range(0, len(tiles), batch), desc="features", mininterval=5.0):
        x = normalise(torch.from_numpy(resize_pillow(tiles[i:i + batch], SIZE)).unsqueeze(1))
        found.append(net.pooled(x.to(memory_format=torch.channels_last)).flatten(1))
    net.set_mode("round")
    return torch.cat(found)


def fit(x: torch.Tensor, start: tuple[torch.Tensor, torch.Tensor], target: torch.Tensor,
        ridge: float) -> tuple[torch.Tensor, torch.Tensor]:
    """Softmax regression on a target distribution, from `start` and held near it."""
    weight, bias = (t.clone().requires_grad_() for t in start)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(x @ weight.T + bias, target)
        value = value + ridge * (weight - start[0]).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


class Heads:
    """What a quantized network with two heads knows of both truths."""

    def __init__(self, net: QuantNet, prepared: Prepared):
        self.prepared = prepared
        weight, bias = (t.detach() for t in net.dense.folded())
        self.weight, self.bias = weight.flatten(1), bias
        self.train = features(net, prepared.train_images)
        self.hold = features(net, prepared.hold_images)

        self.temperature = fit_temperature(self.fer(self.hold).numpy(), prepared.hold_label)
        majority = torch.from_numpy(prepared.train_majority)
        target = F.one_hot(torch.where(majority < 0, N, majority), N + 1).float()
        start = (torch.cat([self.weight[N:], torch.zeros(1, self.weight.shape[1])]),
                 torch.cat([self.bias[N:], torch.zeros(1)]))
        self.majority = fit(self.train, start, target, 1e-3)

    def fer(self, x: torch.Tensor) -> torch.Tensor:
        return x @ self.weight[:N].T + self.bias[:N]

    def target(self, x: torch.Tensor, ferplus_weight: float) -> torch.Tensor:
        """The weighted sum [n, 7], normalised."""
        weight, bias = self.majority
        voted = (x @ weight.T + bias).softmax(dim=1)[:, :N]
        total = ((1 - ferplus_weight) * (self.fer(x) / self.temperature).softmax(dim=1)
                 + ferplus_weight * voted)
        return total / total.sum(dim=1, keepdim=True)

    def one(self, ferplus_weight: float) -> tuple[torch.Tensor, torch.Tensor]:
        """Weight [7, 1280] and bias of the one head."""
        start = (torch.lerp(self.weight[:N], self.weight[N:], ferplus_weight),
                 torch.lerp(self.bias[:N], self.bias[N:], ferplus_weight))
        return fit(self.train, start, self.target(self.train, ferplus_weight), 1e-5)

    def table(self, weights: list[float]) -> list[str]:
        """What each weight of FER+ makes of the held-out tiles."""
        lines = [f"held out, by FER+'s weight: {'FER2013':>10}{'macro F1':>10}{'least recall':>14}{'FER+':>8}"]
        for ferplus_weight in weights:
            weight, bias = self.one(ferplus_weight)
            logits = (self.hold @ weight.T + bias).numpy()
            label, votes = (report(logits, truth) for truth in
                            (self.prepared.hold_label, self.prepared.hold_ferplus))
            least = min(c["recall"] for c in label["classes"])
            lines.append(f"{ferplus_weight:27.3f} {label['accuracy']:10.4f}{label['macro_f1']:10.4f}"
                         f"{least:14.3f}{votes['accuracy']:8.4f}")
        return lines
