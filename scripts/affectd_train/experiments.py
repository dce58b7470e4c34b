"""Many short runs that answer one question each: cross-validation and ablations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .data import Fer2013, Prepared, prepare
from .preprocess import METHODS
from .train import Recipe, start_network, train

# What each is compared with: `plain`, but for the last two, which are each other's peers.
VARIANTS = ("plain", *METHODS, "one-size", "growing-sizes")


def last_figures(run: Path) -> dict:
    stored = torch.load(run / "last.pt", map_location="cpu", weights_only=True)
    return stored["position"]["history"][-1]


def run_once(prepared: Prepared, recipe: Recipe, run: Path, start_weights: Path,
             device: torch.device) -> dict:
    """Trains, or takes up what is there of that run already; its last figures."""
    if not (run / "final.pt").exists():
        train(prepared, recipe, run,
              lambda: start_network(recipe, start_weights, prepared.train_images),
              device, resume=True)
    return last_figures(run)


def cross_validate(data: Fer2013, recipe: Recipe, folds: int, run: Path, start_weights: Path,
                   device: torch.device) -> list[float]:
    """Accuracy on each fold of the training tiles by a network that did not see it."""
    found = []
    for fold in range(folds):
        parts = prepare(data, 0, recipe.seed, (fold, folds))
        figures = run_once(parts, recipe, run / f"fold{fold}", start_weights, device)
        found.append(figures["hold_accuracy"])
        print(f"fold {fold}: {len(parts.hold_images)} tiles, accuracy {found[-1]:.4f}", flush=True)
    print(f"{folds} folds: mean {np.mean(found):.4f}, standard deviation {np.std(found, ddof=1):.4f}")
    return found


def recipe_of(variant: str, recipe: Recipe) -> Recipe:
    """The sizes' variants see as many pictures as `plain`."""
    amount = sum(amount for _, amount in recipe.phases())
    if variant == "one-size":
        return replace(recipe, schedule=f"96:{amount:g}")
    if variant == "growing-sizes":
        third = amount / 3
        return replace(recipe, schedule=f"48:{third:g},64:{third:g},96:{third:g}")
    return recipe


def ablate(prepared: Prepared, recipe: Recipe, variants: list[str], run: Path,
           start_weights: Path, device: torch.device) -> None:
    rows = []
    for variant in variants:
        parts = prepared.changed(METHODS[variant]) if variant in METHODS else prepared
        figures = run_once(parts, recipe_of(variant, recipe), run / variant, start_weights, device)
        n = len(prepared.hold_label) + int(prepared.test_clean.sum())
        right = (figures["hold_accuracy"] * len(prepared.hold_label)
                 + figures["fer2013_public"] * prepared.test_clean.sum()) / n
        rows.append({"variant": variant, "held_out": figures["hold_accuracy"],
                     "fer2013_public": figures["fer2013_public"],
                     "ferplus_public": figures["ferplus_public"], "both_fer2013": right,
                     "seconds": round(figures["seconds"])})
        print(json.dumps(rows[-1]), flush=True)
    error = math.sqrt(0.24 / n) * 1.96
    print(f"{'variant':25}{'held out':>10}{'FER2013':>10}{'FER+':>8}{'both':>8}{'seconds':>9}")
    for row in rows:
        print(f"{row['variant']:25}{row['held_out']:10.4f}{row['fer2013_public']:10.4f}"
              f"{row['ferplus_public']:8.4f}{row['both_fer2013']:8.4f}{row['seconds']:9}")
    print(f"95% interval of `both` ({n} tiles): about {error:.3f} to either side")
