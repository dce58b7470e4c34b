"""Makes one head from two: a last layer that serves both FER2013's labels and FER+ votes.

An answer c is right by FER2013's label with the probability that the FER2013 head gives
to c. It is right by FER+ with the probability that most voters say c. The best single
answer has the largest weighted sum of both, so the layer is fitted to that sum, normalised.
The mean of the votes does not give the second probability: pictures without a majority do
not count for FER+, and may follow FER2013. So there is an eighth class, `none`, which is
fitted on the training tiles.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

from . import CLASSES
from .data import Prepared
from .metrics import as_inputs, fit_temperature, report
from .quant import QuantNet

N = len(CLASSES)
STEPS = 40        # of L-BFGS, for both fits
ENOUGH = 50       # held-out pictures of a class that are enough to measure its recall
BIAS_STEP = 0.02  # of logits
MOST_BIAS = 2.0
Layer = tuple[torch.Tensor, torch.Tensor]   # weight [out, in] and bias


@torch.no_grad()
def features(net: QuantNet, tiles: np.ndarray, batch: int = 256) -> torch.Tensor:
    """Pooled features [n, 1280], without rounding."""
    from tqdm import tqdm

    net.eval()
    net.set_mode("float")
    found = []
    for i in tqdm(range(0, len(tiles), batch), desc="features", mininterval=5.0):
        x = as_inputs(tiles[i:i + batch], net.size)
        found.append(net.pooled(x.to(memory_format=torch.channels_last)).flatten(1))
    net.set_mode("round")
    return torch.cat(found)


def logits(x: torch.Tensor, layer: Layer) -> torch.Tensor:
    weight, bias = layer
    return x @ weight.T + bias


def fit(x: torch.Tensor, start: Layer, target: torch.Tensor, ridge: float) -> Layer:
    """Softmax regression on a target distribution; it starts at `start` and stays near it."""
    weight, bias = (t.clone().requires_grad_() for t in start)
    optimizer = torch.optim.LBFGS([weight, bias], max_iter=STEPS)

    def loss() -> torch.Tensor:
        optimizer.zero_grad()
        value = F.cross_entropy(logits(x, (weight, bias)), target)
        value = value + ridge * (weight - start[0]).square().sum()
        value.backward()
        return value

    optimizer.step(loss)
    return weight.detach(), bias.detach()


class Heads:
    """The answers of a quantized network with two heads for both truths."""

    def __init__(self, net: QuantNet, prepared: Prepared):
        self.prepared = prepared
        weight, bias = (t.detach() for t in net.dense.folded())
        self.labels, self.votes = zip(weight.flatten(1).chunk(2), bias.chunk(2))
        self.train = features(net, prepared.train_images)
        self.hold = features(net, prepared.hold_images)

        self.temperature = fit_temperature(logits(self.hold, self.labels).numpy(), prepared.hold_label)
        majority = torch.from_numpy(prepared.train_majority)
        target = F.one_hot(torch.where(majority < 0, N, majority), N + 1).float()
        start = tuple(torch.cat([t, torch.zeros_like(t[:1])]) for t in self.votes)
        self.majority = fit(self.train, start, target, 1e-3)

    def target(self, x: torch.Tensor, ferplus_weight: float) -> torch.Tensor:
        """The weighted sum [n, 7], normalised."""
        labels = (logits(x, self.labels) / self.temperature).softmax(dim=1)
        majority = logits(x, self.majority).softmax(dim=1)[:, :N]
        total = torch.lerp(labels, majority, ferplus_weight)
        return total / total.sum(dim=1, keepdim=True)

    def one(self, ferplus_weight: float, least_recall: float = 0.0) -> Layer:
        """Weight [7, 1280] and bias of the single head. If the recall of a class on held-out
        pictures, by their labels, is below `least_recall`, its bias is raised until it is not."""
        start = tuple(torch.lerp(a, b, ferplus_weight) for a, b in zip(self.labels, self.votes))
        weight, bias = fit(self.train, start, self.target(self.train, ferplus_weight), 1e-5)
        label = torch.from_numpy(self.prepared.hold_label)
        many = torch.bincount(label, minlength=N) >= ENOUGH
        answers = logits(self.hold, (weight, bias))
        for _ in range(round(MOST_BIAS / BIAS_STEP)):
            recall = torch.stack([(answers[label == c].argmax(dim=1) == c).float().mean() for c in range(N)])
            found = torch.where(many, recall, 1.0)
            if found.min() >= least_recall:
                break
            for changed in (answers.T, bias):
                changed[found.argmin()] += BIAS_STEP
        return weight, bias

    def table(self, weights: list[float], least_recall: float = 0.0) -> list[str]:
        """The figures on the held-out tiles for each weight of FER+."""
        lines = [f"held out, by FER+'s weight: {'FER2013':>10}{'macro F1':>10}{'least recall':>14}{'FER+':>8}"]
        for ferplus_weight in weights:
            answers = logits(self.hold, self.one(ferplus_weight, least_recall)).numpy()
            label, votes = (report(answers, truth) for truth in
                            (self.prepared.hold_label, self.prepared.hold_ferplus))
            least = min(c["recall"] for c in label["classes"])
            lines.append(f"{ferplus_weight:27.3f} {label['accuracy']:10.4f}{label['macro_f1']:10.4f}"
                         f"{least:14.3f}{votes['accuracy']:8.4f}")
        return lines
