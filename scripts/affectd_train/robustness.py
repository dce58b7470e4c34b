"""Measures how accuracy falls with worse pictures: one condition at a time, in steps."""

from __future__ import annotations

import math
from typing import Callable

import numpy as np
from PIL import Image, ImageFilter

from .crop import CropRule, crop
from .data import TILE


def blurred(tile: np.ndarray, sigma: float, _rng: np.random.Generator) -> np.ndarray:
    return np.asarray(Image.fromarray(tile).filter(ImageFilter.GaussianBlur(sigma)))


def darkened(tile: np.ndarray, factor: float, rng: np.random.Generator) -> np.ndarray:
    """Less light, with the same noise of the sensor."""
    return _u8(tile * factor + rng.normal(0, 3, tile.shape))


def turned(tile: np.ndarray, degrees: float, _rng: np.random.Generator) -> np.ndarray:
    # Turned with its edges repeated, so that no black corner reveals the angle.
    margin = TILE // 2
    wide = Image.fromarray(np.pad(tile, margin, mode="edge"))
    turned = np.asarray(wide.rotate(degrees, Image.BILINEAR))
    return np.ascontiguousarray(turned[margin:margin + TILE, margin:margin + TILE])


def noisy(tile: np.ndarray, sigma: float, rng: np.random.Generator) -> np.ndarray:
    return _u8(tile + rng.normal(0, sigma, tile.shape))


def occluded(tile: np.ndarray, part: float, rng: np.random.Generator) -> np.ndarray:
    """A gray square over `part` of the area, anywhere."""
    side = round(TILE * math.sqrt(part))
    top, left = rng.integers(0, TILE - side + 1, 2)
    covered = tile.copy()
    covered[top:top + side, left:left + side] = 128
    return covered


def small(tile: np.ndarray, side: float, _rng: np.random.Generator) -> np.ndarray:
    image = Image.fromarray(tile).resize((int(side), int(side)), Image.BOX)
    return np.asarray(image.resize((TILE, TILE), Image.BILINEAR))


def cropped(scale: float, shift_x: float, shift_y: float, tile: np.ndarray) -> np.ndarray:
    return crop(tile, (0, 0, TILE, TILE), CropRule(scale, shift_x, shift_y))


def _u8(values: np.ndarray) -> np.ndarray:
    return np.clip(np.rint(values), 0, 255).astype(np.uint8)


# Name, unit, function, steps.
CURVES = (
    ("blur", "sigma in pixels of 48", blurred, (0.5, 1.0, 1.5, 2.0)),
    ("darkness", "part of the light", darkened, (0.5, 0.25, 0.1)),
    ("rotation", "degrees", turned, (-30, -20, -10, 10, 20, 30)),
    ("noise", "standard deviation of 255", noisy, (5, 10, 20, 40)),
    ("occlusion", "part of the area", occluded, (0.05, 0.1, 0.2, 0.3)),
    ("resolution", "pixels a side", small, (32, 24, 16, 12)),
)
# The face box scaled, or moved by a part of its side.
CROPS = ((0.8, 0, 0), (0.9, 0, 0), (1.1, 0, 0), (1.25, 0, 0),
         (1, 0.1, 0), (1, -0.1, 0), (1, 0, 0.1), (1, 0, -0.1))


def measure(run: Callable[[np.ndarray], np.ndarray], tiles: np.ndarray, label: np.ndarray) -> dict:
    """Accuracy of the model behind `run` (tiles to logits) in each condition, by curve and step; prints as it goes."""
    def accuracy(changed: list[np.ndarray], name: str) -> float:
        right = float((run(np.stack(changed)).argmax(axis=1) == label).mean())
        print(f"  {name}: accuracy {right:.4f}", flush=True)
        return right

    found: dict = {"as it is": accuracy(list(tiles), "as it is")}
    for name, unit, change, steps in CURVES:
        found[name] = {"unit": unit, "steps": {
            str(step): accuracy([change(tile, step, np.random.default_rng([7, i]))
                                 for i, tile in enumerate(tiles)], f"{name} {step} ({unit})")
            for step in steps}}
    found["crop"] = {"unit": "scale, shift x, shift y", "steps": {
        f"{scale} {x} {y}": accuracy([cropped(scale, x, y, tile) for tile in tiles],
                                     f"crop scaled by {scale}, shifted by {x} {y}")
        for scale, x, y in CROPS}}
    return found
