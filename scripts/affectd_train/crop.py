"""The crop rule: how FER2013's framing of a face relates to a Haar box.

For a box (x, y, w, h) the daemon takes a square of side max(w, h) * scale about
the box's centre moved by (shift_x * w, shift_y * h), with edge pixels
repeated outside of the frame, and resizes it by Pillow's BILINEAR.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from .data import TILE

CASCADE = "haarcascade_frontalface_alt2.xml"


@dataclass
class CropRule:
    scale: float = 1.0
    shift_x: float = 0.0
    shift_y: float = 0.0


def crop(frame: np.ndarray, box: tuple[float, float, float, float], rule: CropRule) -> np.ndarray:
    """The square of `frame` (u8, gray) that the rule takes for `box`."""
    x, y, w, h = box
    side = max(w, h) * rule.scale
    centre_x = x + w / 2 + rule.shift_x * w
    centre_y = y + h / 2 + rule.shift_y * h
    left = math.floor(centre_x - side / 2 + 0.5)
    top = math.floor(centre_y - side / 2 + 0.5)
    n = max(1, math.floor(side + 0.5))
    rows = np.clip(np.arange(top, top + n), 0, frame.shape[0] - 1)
    cols = np.clip(np.arange(left, left + n), 0, frame.shape[1] - 1)
    return frame[np.ix_(rows, cols)]


def haar_cascade():
    import cv2

    return cv2.CascadeClassifier(cv2.data.haarcascades + CASCADE)


def framed(tile: np.ndarray, padding: int, enlarge: int) -> np.ndarray:
    """The tile enlarged, with its edges repeated around it, as a detector needs it."""
    import cv2

    wide = np.pad(tile, padding, mode="edge")
    return cv2.resize(wide, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_LINEAR)


def measure(tiles: np.ndarray, padding: int = 20, enlarge: int = 4,
            scale_factor: float = 1.1, min_neighbors: int = 3) -> tuple[CropRule, dict[str, float]]:
    """Runs the detector on the tiles and returns the rule that turns its boxes into
    the tiles: medians over the tiles on which one plausible face was found."""
    from tqdm import tqdm

    cascade = haar_cascade()
    side, middle = TILE * enlarge, (padding + TILE / 2) * enlarge
    found = []
    for tile in tqdm(tiles, desc="detecting", mininterval=2.0):
        boxes = cascade.detectMultiScale(framed(tile, padding, enlarge), scaleFactor=scale_factor,
                                         minNeighbors=min_neighbors, minSize=(side // 2, side // 2))
        if len(boxes) != 1:
            continue
        x, y, w, _ = (float(v) for v in boxes[0])
        found.append((side / w, (middle - (x + w / 2)) / w, (middle - (y + w / 2)) / w))
    table = np.array(found)
    scale, shift_x, shift_y = np.median(table, axis=0)
    low, high = np.percentile(table, [10, 90], axis=0)
    spread = {"tiles": len(tiles), "detected": len(found),
              "mean_scale": table[:, 0].mean(), "mean_shift_x": table[:, 1].mean(),
              "mean_shift_y": table[:, 2].mean()}
    for i, name in enumerate(("scale", "shift_x", "shift_y")):
        spread[f"{name}_p10"], spread[f"{name}_p90"] = low[i], high[i]
    # Faces are as often mirrored as not, so any remaining shift_x comes from
    # the detector's grid.
    return CropRule(round(float(scale), 3), round(float(shift_x), 3), round(float(shift_y), 3)), spread
