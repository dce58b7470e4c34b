"""Trains one of the two networks; continues from RUN/last.pt."""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F

from ..model import normalise
from .augment import EyeBatches, FaceBatches
from .geometry import BOX
from .nets import Net, multiplications, split
from .samples import Samples
from .teacher import JAW_SAID, JAW_TRUE, PITCH_BIAS, landmark_bias


@dataclass
class Recipe:
    net: str
    minutes: float        # of training, counted over all calls
    steps: int            # or as many steps; 0: as many as `minutes` allow
    batch: int = 128
    rate: float = 3e-3
    ema: float = 0.997
    seed: int = 1
    bfloat16: bool = True
    stop_at: int = 0      # a step to stop at before the end, as when it is stopped from outside


def open_faces(run: Path, held_out: bool = False) -> Samples:
    parts = [Samples.open(path) for name in ("muxspace", "fer2013", "renders*") for path in sorted(run.glob(f"{name}.npz"))]
    if not parts:
        raise SystemExit(f"no faces in {run}: run the steps before this one (scripts/train face --help)")
    faces = Samples.join([part[part.held_out == held_out] for part in parts])
    said = faces.person >= 0   # labelled by the teacher, whose errors on renders are corrected
    faces.pose[said, 1] += PITCH_BIAS
    faces.jaw[said] = np.interp(faces.jaw[said], JAW_SAID, JAW_TRUE)
    faces.landmarks[said] -= landmark_bias(faces.pose[said]) * (BOX / 2.6)
    return faces


def negatives(run: Path) -> tuple[np.ndarray, np.ndarray]:
    """Windows without a face, and backgrounds."""
    files = sorted(run.glob("negatives*.npz"))
    if not files:
        raise SystemExit(f"no windows without a face in {run}: run `scripts/train face negatives` first")
    stored = [np.load(file) for file in files]
    return np.concatenate([s["image"] for s in stored]), np.concatenate([s["ground"] for s in stored])


def batches(net: str, run: Path, seed: int) -> FaceBatches | EyeBatches:
    faces = open_faces(run)
    if net == "eye":
        return EyeBatches(faces, faces.image[::97], seed)   # parts of any pictures cover eyes
    windows, grounds = negatives(run)
    shut = np.nan_to_num(faces.openness, nan=1).min(axis=1) < 0.25
    weights = (1.0 + 1.5 * (abs(faces.pose[:, 0]) > 20) + 1.0 * (abs(faces.pose[:, 1]) > 15) + 1.0 * (faces.jaw > 0.3) + shut)
    rendered = faces.person < 0
    if rendered.any() and not rendered.all():   # half of the faces are renders
        weights[rendered] *= weights[~rendered].sum() / weights[rendered].sum()
    return FaceBatches(faces, weights, windows, grounds, seed)


def to_input(pictures: np.ndarray) -> torch.Tensor:
    return normalise(torch.from_numpy(pictures))[:, None].contiguous(memory_format=torch.channels_last)


def mean_of(loss: torch.Tensor, counts: torch.Tensor) -> torch.Tensor:
    return (loss * counts).sum() / counts.sum().clamp_min(1)


VALUES = {"jaw": 2.0, "openness": 6.0}   # weights of the absolute errors


def loss_of(net: str, y: torch.Tensor, target: torch.Tensor, counts: torch.Tensor) -> dict[str, torch.Tensor]:
    """Each head's part of the loss, with its weight."""
    y, t, c = (split(net, part) for part in (y, target, counts))
    parts = {}
    for head, weight in (("presence", 1.0), ("eyes_visible", 0.3), ("jaw", 1.0), ("smile", 0.5),
                         ("openness", 1.0), ("gaze_down", 0.6), ("covered", 0.4)):
        if head in y:
            loss = F.binary_cross_entropy_with_logits(y[head], t[head], reduction="none")
            if head in VALUES:   # a value, not only yes or no
                loss = loss + VALUES[head] * (y[head].sigmoid() - t[head]).abs()
            parts[head] = weight * mean_of(loss, c[head])
    for head, weight, beta in (("pose", 6.0, 0.03), ("box", 6.0, 0.03), ("landmarks", 24.0, 0.01)):
        if head in y:
            parts[head] = weight * mean_of(F.smooth_l1_loss(y[head], t[head], beta=beta, reduction="none"), c[head])
    return parts


class Average:
    """Exponential average of weights, and of BatchNorm's statistics."""

    def __init__(self, net: torch.nn.Module, keep: float):
        self.keep, self.state = keep, {k: v.clone() for k, v in net.state_dict().items()}

    @torch.no_grad()
    def update(self, net: torch.nn.Module, step: int) -> None:
        keep = min(self.keep, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                self.state[name].lerp_(value, 1 - keep)
            else:
                self.state[name].copy_(value)


def train(net: torch.nn.Module, source: FaceBatches | EyeBatches, recipe: Recipe, out: Path, teacher=None) -> None:
    """Trains `net` in place; `out` holds the last state and the average."""
    torch.set_num_threads(1)
    net.to(memory_format=torch.channels_last).train()
    decayed = [p for p in net.parameters() if p.ndim > 1]
    plain = [p for p in net.parameters() if p.ndim <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed, "weight_decay": 0.02}, {"params": plain, "weight_decay": 0.0}],
                                  lr=recipe.rate)
    average, step, before = Average(net, recipe.ema), 0, 0.0
    if out.exists():
        kept = torch.load(out, weights_only=False)
        net.load_state_dict(kept["net"])
        optimizer.load_state_dict(kept["optimizer"])
        average.state, step, before = kept["average"], kept["step"], kept["seconds"]
        source.rng.bit_generator.state = kept["rng"]
        print(f"continues from step {step} of {out}", flush=True)
    start, saved, sums, summed = time.time(), time.time(), {}, 0
    while True:
        seconds = before + time.time() - start
        done = step / recipe.steps if recipe.steps else seconds / (60 * recipe.minutes)
        stop = done >= 1 or step == recipe.stop_at > 0
        if stop or time.time() - saved > 60:
            out.parent.mkdir(parents=True, exist_ok=True)
            part = out.with_suffix(".part")
            torch.save({"net": net.state_dict(), "average": average.state, "optimizer": optimizer.state_dict(),
                        "step": step, "seconds": seconds, "rng": source.rng.bit_generator.state,
                        "done": done >= 1}, part)
            part.rename(out)
            saved = time.time()
        if stop:
            break
        rate = recipe.rate * min(1, (step + 1) / 100) * (0.5 * (1 + math.cos(math.pi * done)) + 0.003)
        for group in optimizer.param_groups:
            group["lr"] = rate
        pictures, target, counts = source.batch(recipe.batch)
        x = to_input(pictures)
        with torch.autocast("cpu", torch.bfloat16, enabled=recipe.bfloat16):
            y = net(x)
        parts = loss_of(recipe.net, y.float(), torch.from_numpy(target), torch.from_numpy(counts))
        loss = sum(parts.values())
        if teacher is not None:
            with torch.no_grad():
                wanted = teacher(x)
            loss = loss + 2 * F.smooth_l1_loss(y.float(), wanted, beta=0.05)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 5.0)
        optimizer.step()
        step += 1
        average.update(net, step)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        summed += 1
        if step % 200 == 0:
            print(f"step {step}, {step * recipe.batch / 1000:.0f} k pictures, {seconds:.0f} s, {100 * done:.0f}%: "
                  + ", ".join(f"{name} {value / summed:.4f}" for name, value in sums.items()), flush=True)
            sums, summed = {}, 0
    net.load_state_dict(average.state)
    net.eval()


def load(path: Path, name: str) -> Net:
    if not path.exists():
        raise SystemExit(f"{path} is not there: run `scripts/train face train --net {name}` first")
    net = Net(name)
    net.load_state_dict(torch.load(path, weights_only=False)["average"])
    return net.eval()


def run_training(recipe: Recipe, run: Path) -> None:
    torch.manual_seed(recipe.seed)
    source = batches(recipe.net, run, recipe.seed)
    net = Net(recipe.net)
    print(f"{recipe.net}: {multiplications(recipe.net) / 1e6:.2f} M multiplications, "
          f"{sum(p.numel() for p in net.parameters()) / 1e6:.3f} M parameters, {len(source.faces)} faces", flush=True)
    train(net, source, recipe, run / f"{recipe.net}.pt")
