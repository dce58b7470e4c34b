"""Turns a trained float network into a file for the daemon: quantizes or exports, evaluates."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import onnx
import torch
from torch import nn
from torchvision.models import MobileNetV2

from . import networks
from .cli import ROOT
from .data import Prepared, near_copies
from .export import float_to_onnx, manifest, run_affectd, run_onnx, to_onnx
from .heads import Heads
from .metrics import as_inputs, as_text, fit_temperature, predict, report, summary_line, with_missed
from .quant import QuantNet
from .robustness import measure
from .train import Recipe, load_float, stored_at, train

TRAINING_DATA = ["FER2013 Training (Goodfellow et al. 2013), copies and non-faces removed",
                 "FER+ votes (Barsoum et al. 2016, MIT)"]
LICENCE = "Apache-2.0"   # that of the ImageNet start weights


@torch.no_grad()
def refresh_statistics(net: nn.Module, inputs: torch.Tensor, batch: int = 64) -> None:
    """Computes BatchNorm's mean and variance again over `inputs`: exact ones for the average
    of weights, and for this input size if training ended at another."""
    norms = [m for m in net.modules() if isinstance(m, nn.BatchNorm2d)]
    momentum = [m.momentum for m in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None   # cumulative
    net.train()
    for i in range(0, len(inputs), batch):
        net(inputs[i:i + batch].to(memory_format=torch.channels_last))
    net.eval()
    for norm, value in zip(norms, momentum):
        norm.momentum = value


def calibrated(net: nn.Module, size: int, prepared: Prepared, count: int = 512) -> QuantNet:
    refresh_statistics(net, as_inputs(prepared.train_images[-1024:], size))
    quant = QuantNet(net, size)
    quant.calibrate(as_inputs(prepared.train_images[:count], size))
    return quant


def quantize(args: argparse.Namespace, device: torch.device) -> None:
    prepared = Prepared.open(args.prepared)
    net, size = load_float(args.run / args.checkpoint)
    if not isinstance(net, MobileNetV2):
        raise SystemExit(f"--run {args.run}: only a mobilenet_v2 can be quantized; `scripts/train export` writes "
                         "any network in floats")
    schedule = args.schedule or f"{size}:3"
    size = Recipe(schedule=schedule).phases()[-1][0]
    args.out = args.out or ROOT / "models" / f"mobilenet_v2_{size}.onnx"

    def start() -> QuantNet:
        if args.go_on_from is None:
            return calibrated(net, size, prepared)
        quant = QuantNet(net, size)
        quant.load_state_dict(stored_at(args.go_on_from)["net"])
        return quant

    if args.no_training:
        quant = start()
    else:
        recipe = Recipe(schedule=schedule, unit=args.unit, rate=args.rate, batch=args.batch,
                        workers=args.workers, warm_up=0.05, weight_decay=0.01, ema=args.ema,
                        strength=args.strength, mixup_part=args.mixup_part, calm_end=0.3, dropout=0.0,
                        freeze_blocks=args.freeze_blocks, freeze_at=args.freeze_at,
                        teachers=str(args.run) if args.teachers is None else args.teachers,
                        teacher_part=args.teacher_part, twin=args.twin,
                        validate_every=args.validate_every)
        quant = train(prepared, recipe, args.run / "qat", start, device, resume=not args.fresh).cpu()
        if args.train_only:
            return
    cpu = torch.device("cpu")
    heads = Heads(quant, prepared)
    for line in heads.table([0.3, 0.4, 0.5, 0.6], args.least_recall):
        print(line, flush=True)
    weight, bias = heads.one(args.ferplus_weight, args.least_recall)
    quant.set_head(weight, bias)
    last = networks.last_layer(net)
    last.weight, last.bias = nn.Parameter(weight.clone()), nn.Parameter(bias.clone())
    # From tiles that were held out of training, not from PublicTest.
    logits = predict(quant, prepared.hold_images, size, cpu)
    temperature = fit_temperature(logits, prepared.hold_label)
    quant.settle_logits(as_inputs(prepared.hold_images, size), temperature)
    for doubtful in quant.exact_in_f32():
        print(f"not exact in f32 for every input: {doubtful}")
    write_model(args, to_onnx(quant), quant, temperature, size)
    if not args.no_fidelity:
        for line in fidelity(quant, net, args.out, prepared):
            print(line)


def export(args: argparse.Namespace) -> None:
    """Writes any trained network as an ONNX file of floats, for its size in training."""
    prepared = Prepared.open(args.prepared)
    net, size = load_float(args.run / args.checkpoint)
    networks.fold_heads(net, args.ferplus_weight)
    logits = predict(net, prepared.hold_images, size, torch.device("cpu"))
    temperature = fit_temperature(logits, prepared.hold_label)
    write_model(args, float_to_onnx(net, temperature, size), net, temperature, size)


def write_model(args: argparse.Namespace, proto: onnx.ModelProto, net: nn.Module,
                temperature: float, size: int) -> None:
    args.out.parent.mkdir(parents=True, exist_ok=True)
    onnx.save(proto, args.out)
    scale, shift_x, shift_y = args.crop
    args.out.with_suffix(".toml").write_text(manifest(
        args.out, size, args.origin, LICENCE, TRAINING_DATA,
        {"scale": scale, "shift_x": shift_x, "shift_y": shift_y},
        {"temperature_folded_in": round(temperature, 4)}))
    print(f"{args.out}: {args.out.stat().st_size / 1e6:.2f} MB, "
          f"{sum(p.numel() for p in net.parameters()) / 1e6:.2f} M parameters, "
          f"temperature {temperature:.4f}")


def fidelity(quant: QuantNet, before: nn.Module, path: Path, prepared: Prepared) -> list[str]:
    """Compares the exported file with the same weights without rounding, and with the float
    network that quantization-aware training started from, on the whole PublicTest."""
    cpu = torch.device("cpu")
    tiles, label = prepared.test_images, prepared.test_label
    exported = run_onnx(path, tiles, "ONNX Runtime").argmax(axis=1)
    rounded = predict(quant, tiles, quant.size, cpu).argmax(axis=1)
    quant.set_mode("float")
    twin = predict(quant, tiles, quant.size, cpu).argmax(axis=1)
    quant.set_mode("round")
    start = predict(before, tiles, quant.size, cpu).argmax(axis=1)

    def line(name: str, other: np.ndarray) -> str:
        return (f"{name}: accuracy {(other == label).mean():.4f}, "
                f"top-1 agreement with the file {(other == exported).mean():.4f}")

    return [f"whole PublicTest ({len(label)}), FER2013 labels: "
            f"file accuracy {(exported == label).mean():.4f}",
            line("the same network in PyTorch's fake quantization", rounded),
            line("the same weights in float, without rounding", twin),
            line("the float network before quantization-aware training", start)]


def evaluate(args: argparse.Namespace) -> dict:
    for needed in (args.model, args.model.with_suffix(".toml"), args.inference):
        if needed and not needed.exists():
            raise SystemExit(f"there is no {needed}")
    prepared = Prepared.open(args.prepared)
    clean = prepared.test_clean
    tiles = prepared.test_images[clean]

    def run(tiles: np.ndarray) -> np.ndarray:
        if args.inference:
            return run_affectd(args.inference, args.model, tiles)
        return run_onnx(args.model, tiles, "ONNX Runtime")

    logits = run(tiles)
    results = {"model": args.model.name,
               "fer2013": report(logits, prepared.test_label[clean]),
               "ferplus": report(logits, prepared.test_ferplus[clean])}
    results["ferplus_8_accuracy"] = with_missed(results["ferplus"],
                                                int(prepared.test_contempt[clean].sum()))
    print(as_text("PublicTest without copies, FER2013 labels", results["fer2013"]))
    print(as_text("PublicTest without copies, FER+ majority of 7 classes", results["ferplus"]))
    unlike = without_near_copies(tiles, prepared.train_images)
    for name, truth in (("FER2013 labels", prepared.test_label), ("FER+ majority of 7 classes", prepared.test_ferplus)):
        print(summary_line(f"the same without tiles like one trained on, {name}",
                           report(logits[unlike], truth[clean][unlike])))
    print(f"FER+ majority of 8 classes, contempt counted as missed: "
          f"accuracy {results['ferplus_8_accuracy']:.4f}")
    if args.robustness:
        results["robustness"] = measure(run, tiles, prepared.test_label[clean])
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")
    if args.write_manifest:
        write_figures(args.model.with_suffix(".toml"), results, args.inference)
    return results


def without_near_copies(tiles: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Which tiles are not near copies of any in `of`: the data set's own marks miss some."""
    group = near_copies(np.concatenate([of, tiles]))
    return ~np.isin(group[len(of):], group[:len(of)])


def write_figures(path: Path, results: dict, inference: Path | None) -> None:
    """Replaces the figures in the manifest's [measured] table; other entries are kept."""
    head, _, tail = path.read_text().partition("[measured]\n")
    kept = [l for l in tail.splitlines() if l.startswith("temperature_folded_in")]
    fer, plus = results["fer2013"], results["ferplus"]
    recalls = [f"recall_{c['name']} = {c['recall']:.4f}" for c in fer["classes"]]
    command = f"scripts/train evaluate models/{path.stem}.onnx --write-manifest"
    runtime = "ONNX Runtime, graph optimizations off"
    if inference:
        command += " --inference target/release/examples/inference"
        runtime = "affectd's integers"
    path.write_text(head + "[measured]\n" + "\n".join([
        'on = "FER2013 PublicTest without exact and near copies of training images '
        f'({fer["n"]} images; FER+ majority of 7 classes: {plus["n"]}); {runtime}"',
        f"fer2013_public_accuracy = {fer['accuracy']:.4f}",
        f"fer2013_public_accuracy_ci95 = [{fer['accuracy_ci95'][0]:.4f}, {fer['accuracy_ci95'][1]:.4f}]",
        f"fer2013_public_macro_f1 = {fer['macro_f1']:.4f}",
        f"fer2013_public_ece = {fer['ece']:.4f}",
        *recalls,
        f"ferplus_public_accuracy = {plus['accuracy']:.4f}",
        f"ferplus_8_public_accuracy = {results['ferplus_8_accuracy']:.4f}",
        *kept,
        f'command = "{command}"']) + "\n")
