"""Many short runs that answer one question each: cross-validation and ablations."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from .data import Prepared
from .preprocess import METHODS
from .train import Recipe, start_network, train

# Each variant is compared with `plain`, except the last two, which are compared
# with each other.
VARIANTS = ("plain", *METHODS, "one-size", "growing-sizes")


def last_figures(run: Path) -> dict:
    stored = torch.load(run / "last.pt", map_location="cpu", weights_only=True)
    return stored["position"]["history"][-1]


def run_once(prepared: Prepared, recipe: Recipe, run: Path, start_weights: Path | None,
             device: torch.device) -> dict:
    """Trains, or resumes an unfinished run; returns the run's last figures."""
    if not (run / "final.pt").exists():
        train(prepared, recipe, run,
              lambda: start_network(recipe, start_weights, prepared.train_images),
              device, resume=True)
    return last_figures(run)


def cross_validate(prepared: Prepared, recipe: Recipe, folds: int, run: Path, start_weights: Path | None,
                   device: torch.device) -> list[tuple[float, float]]:
    """Trains RUN/fold0, … each without that fold of the training tiles. Returns the
    accuracy of the two heads (labels and votes) on the fold that each run did not see."""
    if folds < 2:
        raise SystemExit(f"--folds {folds}: at least two are needed, one for training and one for evaluation")
    found = []
    for fold in range(folds):
        parts = prepared.without_fold(fold, folds)
        figures = run_once(parts, recipe, run / f"fold{fold}", start_weights, device)
        found.append(figures["hold_own"])
        print(f"fold {fold}: {len(parts.hold_images)} tiles, FER2013 labels {found[-1][0]:.4f}, "
              f"FER+ majority {found[-1][1]:.4f}", flush=True)
    for name, values in zip(("FER2013 labels", "FER+ majority"), zip(*found)):
        print(f"{folds} folds, {name}: mean {np.mean(values):.4f}, "
              f"standard deviation {np.std(values, ddof=1):.4f}")
    return found


def recipe_of(variant: str, recipe: Recipe) -> Recipe:
    """The recipe of a variant; those with other sizes see as many pictures as `plain`."""
    amount = sum(amount for _, amount in recipe.phases())
    if variant == "one-size":
        return replace(recipe, schedule=f"96:{amount:g}")
    if variant == "growing-sizes":
        third = amount / 3
        return replace(recipe, schedule=f"48:{third},64:{third},96:{third}")
    return recipe


def ablate(prepared: Prepared, recipe: Recipe, variants: list[str], run: Path,
           start_weights: Path | None, device: torch.device) -> None:
    """Evaluated on held-out tiles (`prepare --hold-out`), not on PublicTest."""
    rows = []
    for variant in variants:
        parts = prepared.changed(METHODS[variant]) if variant in METHODS else prepared
        figures = run_once(parts, recipe_of(variant, recipe), run / variant, start_weights, device)
        rows.append({"variant": variant, "fer2013": figures["hold_accuracy"],
                     "ferplus": figures["hold_ferplus"], "seconds": round(figures["seconds"])})
        print(json.dumps(rows[-1]), flush=True)
    n, voted = len(prepared.hold_label), int((prepared.hold_ferplus >= 0).sum())
    print(f"{'variant':25}{'FER2013':>10}{'FER+':>8}{'seconds':>9}")
    for row in rows:
        print(f"{row['variant']:25}{row['fer2013']:10.4f}{row['ferplus']:8.4f}{row['seconds']:9}")
    print(f"95% intervals: about {1.96 * math.sqrt(0.24 / n):.3f} to either side of the first ({n} tiles), "
          f"{1.96 * math.sqrt(0.14 / voted):.3f} of the second ({voted})")
