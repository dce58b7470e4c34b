"""Prediction and the figures made from it."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import nn

from . import CLASSES
from .data import resize_pillow
from .model import normalise

N = len(CLASSES)


def as_inputs(tiles: np.ndarray, size: int) -> torch.Tensor:
    """u8 tiles to the network's input [n, 1, size, size], resized by the manifest's rule."""
    return normalise(torch.from_numpy(resize_pillow(tiles, size)).unsqueeze(1))


@torch.no_grad()
def predict(net: nn.Module, images: np.ndarray, size: int,
            device: torch.device, batch: int = 256) -> np.ndarray:
    """Logits [n, 7] of u8 tiles, resized by the manifest's rule."""
    net.eval()
    inputs = torch.from_numpy(resize_pillow(images, size)).unsqueeze(1)
    out = [net(normalise(inputs[i:i + batch].to(device)).to(memory_format=torch.channels_last)).cpu()
           for i in range(0, len(inputs), batch)]
    return torch.cat(out).numpy()


def softmax(logits: np.ndarray) -> np.ndarray:
    shifted = np.exp(logits - logits.max(axis=1, keepdims=True))
    return shifted / shifted.sum(axis=1, keepdims=True)


def confusion(label: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """Rows: label, columns: prediction."""
    table = np.zeros((N, N), dtype=np.int64)
    np.add.at(table, (label, predicted), 1)
    return table


def wilson_interval(right: int, n: int, z: float = 1.96) -> tuple[float, float]:
    if n == 0:
        return (0.0, 1.0)
    p = right / n
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return (middle - half, middle + half)


def calibration_error(probabilities: np.ndarray, label: np.ndarray, bins: int = 15) -> float:
    """Expected calibration error of the top class, equal-width bins."""
    confidence, predicted = probabilities.max(axis=1), probabilities.argmax(axis=1)
    right = predicted == label
    place = np.minimum((confidence * bins).astype(int), bins - 1)
    error = 0.0
    for b in range(bins):
        inside = place == b
        if inside.any():
            error += inside.mean() * abs(right[inside].mean() - confidence[inside].mean())
    return float(error)


def report(logits: np.ndarray, label: np.ndarray) -> dict:
    """All figures, for the rows with a label (>= 0)."""
    known = label >= 0
    logits, label = logits[known], label[known]
    probabilities = softmax(logits)
    table = confusion(label, probabilities.argmax(axis=1))
    right = int(np.trace(table))
    classes = []
    for c, name in enumerate(CLASSES):
        support, said, hit = table[c].sum(), table[:, c].sum(), table[c, c]
        precision = hit / said if said else 0.0
        recall = hit / support if support else 0.0
        f1 = 2 * precision * recall / (precision + recall) if hit else 0.0
        classes.append({"name": name, "precision": float(precision), "recall": float(recall),
                        "f1": float(f1), "support": int(support)})
    return {
        "n": int(len(label)), "accuracy": right / len(label),
        "accuracy_ci95": wilson_interval(right, len(label)),
        "macro_f1": float(np.mean([c["f1"] for c in classes])),
        "ece": calibration_error(probabilities, label),
        "classes": classes, "confusion": table.tolist(),
    }


def with_missed(figures: dict, missed: int) -> float:
    """Accuracy if `missed` further pictures, of classes without an answer, count as wrong."""
    right = sum(figures["confusion"][c][c] for c in range(N))
    return right / max(1, figures["n"] + missed)


def summary_line(name: str, figures: dict) -> str:
    low, high = figures["accuracy_ci95"]
    return (f"{name}: accuracy {figures['accuracy']:.4f} [{low:.4f}, {high:.4f}] of {figures['n']}, "
            f"macro F1 {figures['macro_f1']:.4f}, ECE {figures['ece']:.4f}")


def as_text(name: str, figures: dict) -> str:
    lines = [summary_line(name, figures),
             f"  {'class':9}{'precision':>10}{'recall':>8}{'F1':>8}{'support':>9}"]
    lines += [f"  {c['name']:9}{c['precision']:10.3f}{c['recall']:8.3f}{c['f1']:8.3f}{c['support']:9}"
              for c in figures["classes"]]
    lines.append("  confusion (rows: label, columns: prediction)")
    lines += ["  " + f"{CLASSES[i]:9}" + "".join(f"{v:6}" for v in row)
              for i, row in enumerate(figures["confusion"])]
    return "\n".join(lines)


def fit_temperature(logits: np.ndarray, label: np.ndarray) -> float:
    """Temperature with the least negative log likelihood (golden section)."""
    def loss(log_t: float) -> float:
        p = softmax(logits / math.exp(log_t))
        return float(-np.log(p[np.arange(len(label)), label] + 1e-12).mean())

    low, high, ratio = -2.0, 2.0, (math.sqrt(5) - 1) / 2
    while high - low > 1e-4:
        a, b = high - ratio * (high - low), low + ratio * (high - low)
        low, high = (low, b) if loss(a) < loss(b) else (a, high)
    return math.exp((low + high) / 2)
