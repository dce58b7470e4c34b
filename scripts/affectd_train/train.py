"""The float training run: progressive sizes, EMA, cosine schedule, resumable."""

from __future__ import annotations

import copy
import json
import math
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from . import model, networks
from .augment import augment, mixup
from .data import Prepared, mixed_target
from .metrics import predict


@dataclass
class Recipe:
    """Everything that decides the result; written into every checkpoint."""

    network: str = "mobilenet_v2"  # or another of networks.BUILDERS
    schedule: str = "64:12,96:20"  # SIZE:AMOUNT,… in `unit`s
    unit: str = "epochs"           # or minutes: then the run fits the time it has
    batch: int = 64
    workers: int = 1               # CPU: replicas of one thread each; see train()
    rate: float = 1.5e-3
    warm_up: float = 0.03          # part of the whole run
    weight_decay: float = 0.02
    ema: float = 0.998
    ferplus_weight: float = 0.5    # in the target, against the FER2013 label …
    ferplus_late: float = 0.5      # … and from `late_from` of the run on
    late_from: float = 1.0
    disgust_repeat: int = 3        # times each disgust tile is seen in an epoch
    mixup_alpha: float = 0.2
    mixup_part: float = 0.3        # of the batches
    dropout: float = 0.2
    strength: float = 1.0          # of the augmentation
    calm_end: float = 0.1          # last part of the run: augmentation at half strength
    freeze_blocks: int = 0         # so many first blocks stay as they are …
    freeze_at: float = 0.7         # … from this part of the run on: they cost most
    validate_every: int = 1        # epochs
    seed: int = 1
    start: str = "tflite"          # or torchvision, none; tflite has mobilenet_v2 only

    def phases(self) -> list[tuple[int, float]]:
        return [(int(size), float(amount)) for size, amount in
                (part.split(":") for part in self.schedule.split(","))]

    def size_at(self, progress: float) -> int:
        """Input size when `progress` (0..1) of the whole is done."""
        phases = self.phases()
        done, total = 0.0, sum(amount for _, amount in phases)
        for size, amount in phases:
            done += amount
            if progress < done / total:
                return size
        return phases[-1][0]

    def rate_at(self, progress: float) -> float:
        if progress < self.warm_up:
            return self.rate * (0.05 + 0.95 * progress / self.warm_up)
        after = (progress - self.warm_up) / (1 - self.warm_up)
        return self.rate * (0.005 + 0.995 * 0.5 * (1 + math.cos(math.pi * min(after, 1.0))))


@dataclass
class Position:
    """Where the run is."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)


def start_network(recipe: Recipe, tflite: Path | None, images: np.ndarray) -> nn.Module:
    torch.manual_seed(recipe.seed)
    net = networks.build(recipe.network, recipe.dropout, recipe.start == "torchvision")
    if recipe.start == "tflite" and recipe.network == "mobilenet_v2":
        if tflite is None or not tflite.exists():
            raise SystemExit(f"start weights {tflite} are not there (--start-weights)")
        few = torch.from_numpy(images[:256]).unsqueeze(1).float()
        few = F.interpolate(few, size=model.SIZE, mode="bilinear")
        model.load_tflite(net, tflite, model.normalise(few))
    return net


def blocks_of(net: nn.Module) -> list[nn.Module]:
    """The blocks of a MobileNetV2, float or quantized."""
    return list(getattr(net, "blocks", None) or net.features)


class Replicas:
    """Gradients of one batch by several single-threaded replicas, averaged.

    On CPUs that other programs use too, this is several times as fast as
    PyTorch's own threads, which wait for each other in every operation."""

    def __init__(self, net: nn.Module, workers: int):
        self.net = net
        self.copies = [net] + [copy.deepcopy(net) for _ in range(workers - 1)]
        self.frozen = 0
        self.pool = ThreadPoolExecutor(workers)

    def train_mode(self) -> None:
        for c in self.copies:
            c.train()
            if self.frozen:
                for block in blocks_of(c)[:self.frozen]:
                    block.eval()

    def freeze(self, blocks: int, average: nn.Module) -> None:
        """From now on the first blocks stay what their average is."""
        self.frozen = blocks
        for c in self.copies:
            for block, mean in zip(blocks_of(c)[:blocks], blocks_of(average)):
                block.load_state_dict(mean.state_dict())
                for parameter in block.parameters():
                    parameter.requires_grad_(False)
                    parameter.grad = None

    def step(self, work) -> float:
        """`work(replica, number)` gives the loss of that replica's part."""
        with torch.no_grad():
            for other in self.copies[1:]:
                for mine, theirs in zip(self.net.parameters(), other.parameters()):
                    theirs.copy_(mine)

        def one(number: int) -> float:
            replica = self.copies[number]
            replica.zero_grad(set_to_none=True)
            loss = work(replica, number)
            loss.backward()
            return loss.item()

        losses = list(self.pool.map(one, range(len(self.copies))))
        with torch.no_grad():
            scale = 1 / len(self.copies)
            for group in zip(*(c.parameters() for c in self.copies)):
                if group[0].grad is None:
                    continue
                for other in group[1:]:
                    group[0].grad.add_(other.grad)
                group[0].grad.mul_(scale)
            for group in zip(*(c.buffers() for c in self.copies)):
                if group[0].dtype.is_floating_point:
                    for other in group[1:]:
                        group[0].add_(other)
                    group[0].mul_(scale)
                for other in group[1:]:
                    other.copy_(group[0])
        return sum(losses) / len(losses)


@torch.no_grad()
def update_average(average: nn.Module, net: nn.Module, decay: float) -> None:
    for mean, now in zip(average.state_dict().values(), net.state_dict().values()):
        if mean.dtype.is_floating_point:
            mean.lerp_(now, 1 - decay)
        else:
            mean.copy_(now)


def parameter_groups(net: nn.Module, weight_decay: float) -> list[dict]:
    matrices = [p for p in net.parameters() if p.requires_grad and p.ndim > 1]
    vectors = [p for p in net.parameters() if p.requires_grad and p.ndim <= 1]
    return [{"params": matrices, "weight_decay": weight_decay},
            {"params": vectors, "weight_decay": 0.0}]


def epoch_order(labels: np.ndarray, recipe: Recipe, epoch: int) -> np.ndarray:
    order = np.arange(len(labels))
    disgust = np.flatnonzero(labels == 1)
    order = np.concatenate([order] + [disgust] * (recipe.disgust_repeat - 1))
    return np.random.default_rng([recipe.seed, epoch]).permutation(order)


def batch_generator(recipe: Recipe, step: int, worker: int) -> torch.Generator:
    """Random numbers of one batch: the same whether the run was resumed or not."""
    seed = np.random.SeedSequence([recipe.seed, step, worker]).generate_state(1)[0]
    return torch.Generator().manual_seed(int(seed))


def train(prepared: Prepared, recipe: Recipe, run: Path,
          make_net: Callable[[], nn.Module], device: torch.device, resume: bool) -> nn.Module:
    """Trains what `make_net` gives and returns the weights' average."""
    run.mkdir(parents=True, exist_ok=True)
    checkpoint = run / "last.pt"
    where = Position()
    net, stored = make_net(), None
    if resume and checkpoint.exists():
        stored = torch.load(checkpoint, map_location="cpu", weights_only=True)
        where = Position(**stored["position"])
        print(f"resuming at step {where.step}, epoch {where.epoch}")
        net.load_state_dict(stored["net"])

    if device.type == "cpu" and recipe.workers > 1:
        torch.set_num_threads(1)
    net = net.to(device, memory_format=torch.channels_last)
    average = copy.deepcopy(net)
    optimizer = torch.optim.AdamW(parameter_groups(net, recipe.weight_decay), lr=recipe.rate)
    if stored is not None:
        average.load_state_dict(stored["average"])
        optimizer.load_state_dict(stored["optimizer"])
    replicas = Replicas(net, recipe.workers if device.type == "cpu" else 1)

    images = torch.from_numpy(prepared.train_images).to(device)
    target_early, target_late = (
        torch.from_numpy(mixed_target(prepared.train_fer, prepared.train_ferplus, weight)).to(device)
        for weight in (recipe.ferplus_weight, recipe.ferplus_late))
    labels = prepared.train_fer.argmax(axis=1)
    total = sum(amount for _, amount in recipe.phases())
    part = recipe.batch // len(replicas.copies)
    best = max((h["hold_accuracy"] for h in where.history), default=0.0)

    def save() -> None:
        torch.save({"net": net.state_dict(), "average": average.state_dict(),
                    "optimizer": optimizer.state_dict(), "position": asdict(where),
                    "recipe": asdict(recipe)}, checkpoint.with_suffix(".tmp"))
        checkpoint.with_suffix(".tmp").rename(checkpoint)

    stopped = threading.Event()
    for kind in (signal.SIGINT, signal.SIGTERM):
        signal.signal(kind, lambda *_: stopped.set())

    done = where.epoch if recipe.unit == "epochs" else where.seconds / 60
    progress, saved = done / total, time.monotonic()
    while progress < 1:
        order = epoch_order(labels, recipe, where.epoch)
        steps = len(order) // recipe.batch
        bar = tqdm(range(where.step_in_epoch, steps), initial=where.step_in_epoch, total=steps,
                   desc=f"epoch {where.epoch}", mininterval=5.0)
        running = 0.0
        for number in bar:
            began = time.monotonic()
            if recipe.unit == "minutes":
                progress = where.seconds / 60 / total
            else:
                progress = (where.epoch + number / steps) / total
            if progress >= 1:
                break
            size, rate = recipe.size_at(progress), recipe.rate_at(progress)
            strength = recipe.strength * (0.5 if progress > 1 - recipe.calm_end else 1.0)
            target = target_early if progress < recipe.late_from else target_late
            for group in optimizer.param_groups:
                group["lr"] = rate
            chosen = torch.from_numpy(order[number * recipe.batch:(number + 1) * recipe.batch]).to(device)

            def loss_of(replica: nn.Module, worker: int) -> torch.Tensor:
                generator = batch_generator(recipe, where.step, worker)
                mine = chosen[worker * part:(worker + 1) * part]
                inputs, wanted = augment(images[mine], size, generator, strength), target[mine]
                if torch.rand((), generator=generator) < recipe.mixup_part:
                    inputs, wanted = mixup(inputs, wanted, recipe.mixup_alpha, generator)
                inputs = inputs.to(memory_format=torch.channels_last)
                networks.seed_dropout(replica, generator)
                return F.cross_entropy(replica(inputs), wanted)

            if recipe.freeze_blocks and progress >= recipe.freeze_at and not replicas.frozen:
                replicas.freeze(recipe.freeze_blocks, average)
            replicas.train_mode()
            loss = replicas.step(loss_of)
            optimizer.step()
            update_average(average, net, min(recipe.ema, (1 + where.step) / (10 + where.step)))
            running = loss if running == 0 else 0.98 * running + 0.02 * loss
            where.step += 1
            where.step_in_epoch = number + 1
            where.seconds += time.monotonic() - began
            bar.set_postfix(loss=f"{running:.3f}", size=size, rate=f"{rate:.1e}",
                            done=f"{progress:.0%}", refresh=False)
            if stopped.is_set():
                save()
                raise SystemExit(f"stopped at step {where.step}; the same command resumes")
            if time.monotonic() - saved > 180:
                save()
                saved = time.monotonic()
        bar.close()
        if where.step_in_epoch >= steps:
            where.epoch, where.step_in_epoch = where.epoch + 1, 0
        if recipe.unit == "epochs":
            progress = where.epoch / total
        if progress < 1 and where.epoch % recipe.validate_every:
            save()
            continue
        began = time.monotonic()
        figures = validate(average, prepared, size, device)
        where.seconds += time.monotonic() - began
        where.history.append({"epoch": where.epoch, "step": where.step, "size": size,
                              "loss": running, "rate": rate, "seconds": where.seconds, **figures})
        print(json.dumps(where.history[-1]), flush=True)
        if figures["hold_accuracy"] >= best and size == recipe.phases()[-1][0]:
            best = figures["hold_accuracy"]
            torch.save({"net": average.state_dict(), "recipe": asdict(recipe),
                        "position": asdict(where)}, run / "best.pt")
        save()
        saved = time.monotonic()
    torch.save({"net": average.state_dict(), "recipe": asdict(recipe),
                "position": asdict(where)}, run / "final.pt")
    return average


def validate(net: nn.Module, prepared: Prepared, size: int, device: torch.device) -> dict:
    """Held-out training tiles and PublicTest without copies."""
    hold = predict(net, prepared.hold_images, size, device).argmax(axis=1)
    clean = prepared.test_clean
    test = predict(net, prepared.test_images[clean], size, device).argmax(axis=1)
    voted = prepared.test_ferplus[clean] >= 0
    recall = [float((test[prepared.test_label[clean] == c] == c).mean()) for c in range(7)]
    return {
        "hold_accuracy": float((hold == prepared.hold_label).mean()),
        "fer2013_public": float((test == prepared.test_label[clean]).mean()),
        "ferplus_public": float((test[voted] == prepared.test_ferplus[clean][voted]).mean()),
        "recall": [round(r, 3) for r in recall],
    }
