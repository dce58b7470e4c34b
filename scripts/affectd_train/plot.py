"""Curves, confusion matrix, reliability diagram and robustness as PNG."""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

import numpy as np
import torch

from . import CLASSES
from .data import Prepared
from .export import run_onnx
from .metrics import report, softmax


def plot(args: argparse.Namespace) -> None:
    import matplotlib

    matplotlib.use("Agg")
    args.out.mkdir(parents=True, exist_ok=True)
    for stored in (args.run / "final.pt", args.run / "last.pt"):
        if stored.exists():
            curves(stored, args.out / "curves.png")
            break
    if args.model.exists():
        prepared = Prepared.open(args.prepared)
        clean = prepared.test_clean
        logits = run_onnx(args.model, prepared.test_images[clean], "ONNX Runtime")
        confusion_png(logits, prepared.test_label[clean], args.out / "confusion.png")
        reliability(logits, prepared.test_label[clean], args.out / "reliability.png")
    if args.figures:
        robustness_png(json.loads(args.figures.read_text())["robustness"], args.out / "robustness.png")
    print(args.out)


def curves(checkpoint: Path, out: Path) -> None:
    import matplotlib.pyplot as plt

    history = torch.load(checkpoint, map_location="cpu", weights_only=True)["position"]["history"]
    epochs = [h["step"] for h in history]
    figure, (left, right) = plt.subplots(1, 2, figsize=(10, 4))
    left.plot(epochs, [h["loss"] for h in history], marker=".")
    left.set(xlabel="step", ylabel="training loss")
    for key in ("hold_accuracy", "hold_ferplus", "public_accuracy", "public_ferplus"):
        if key in history[-1]:   # a run may have been without PublicTest
            right.plot(epochs, [h[key] for h in history], marker=".", label=key)
    right.set(xlabel="step", ylabel="accuracy")
    right.legend()
    figure.savefig(out, dpi=120, bbox_inches="tight")


def confusion_png(logits: np.ndarray, label: np.ndarray, out: Path) -> None:
    import matplotlib.pyplot as plt

    table = np.array(report(logits, label)["confusion"], dtype=float)
    table /= table.sum(axis=1, keepdims=True)
    figure, axes = plt.subplots(figsize=(6, 5))
    axes.imshow(table, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(7), CLASSES, rotation=45)
    axes.set_yticks(range(7), CLASSES)
    axes.set(xlabel="prediction", ylabel="label")
    for i, row in enumerate(table):
        for j, value in enumerate(row):
            axes.text(j, i, f"{value:.2f}", ha="center", va="center",
                      color="white" if value > 0.5 else "black", fontsize=8)
    figure.savefig(out, dpi=120, bbox_inches="tight")


def reliability(logits: np.ndarray, label: np.ndarray, out: Path, bins: int = 15) -> None:
    import matplotlib.pyplot as plt

    probabilities = softmax(logits)
    confidence = probabilities.max(axis=1)
    right = probabilities.argmax(axis=1) == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    points = [(confidence[place == b].mean(), right[place == b].mean(), (place == b).sum())
              for b in range(bins) if (place == b).any()]
    figure, axes = plt.subplots(figsize=(5, 5))
    axes.plot([0, 1], [0, 1], color="gray", linewidth=1)
    axes.scatter([p[0] for p in points], [p[1] for p in points], s=[4 + p[2] / 4 for p in points])
    axes.set(xlabel="confidence", ylabel="accuracy", xlim=(0, 1), ylim=(0, 1),
             title=f"ECE {report(logits, label)['ece']:.3f}")
    figure.savefig(out, dpi=120, bbox_inches="tight")


def robustness_png(found: dict, out: Path) -> None:
    import matplotlib.pyplot as plt

    curves = {name: curve for name, curve in found.items() if name != "as it is"}
    figure, places = plt.subplots(2, math.ceil(len(curves) / 2), figsize=(14, 6), sharey=True)
    for axes, (name, curve) in zip(places.flat, curves.items()):
        axes.plot(list(curve["steps"]), list(curve["steps"].values()), marker="o")
        axes.axhline(found["as it is"], color="gray", linewidth=1)
        axes.set(title=name, xlabel=curve["unit"], ylim=(0, 1))
        axes.tick_params(axis="x", rotation=45 if name == "crop" else 0, labelsize=7)
    for axes in list(places.flat)[len(curves):]:
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(out, dpi=110, bbox_inches="tight")
    plt.close(figure)
