"""Preprocessing of faces from papers, which `scripts/train ablate` compares with none.
The shipped model uses none of it; docs/training.md has the accuracy with each. Each
function takes and returns a tile, u8 [48, 48].
"""

from __future__ import annotations

import math
from functools import cache
from typing import Callable

import numpy as np

from .data import TILE


def equalized(tile: np.ndarray) -> np.ndarray:
    import cv2

    return cv2.equalizeHist(tile)


def clahe(tile: np.ndarray) -> np.ndarray:
    """Contrast-limited adaptive histogram equalization, limit 2, 4x4 fields of 12 pixels."""
    import cv2

    return cv2.createCLAHE(clipLimit=2.0, tileGridSize=(4, 4)).apply(tile)


def difference_of_gaussians(tile: np.ndarray) -> np.ndarray:
    """Tan and Triggs 2010 without their last step, which compresses the range: gamma 0.2,
    then their band between sigma 1 and 2, adapted to this size, spread over the range."""
    import cv2

    light = np.power(tile.astype(np.float32) / 255, 0.2)
    band = cv2.GaussianBlur(light, (0, 0), 0.5) - cv2.GaussianBlur(light, (0, 0), 2.0)
    return _spread(band)


def without_low_dct(tile: np.ndarray, kept_from: int = 3) -> np.ndarray:
    """Chen, Er and Wu 2006: log picture without its lowest DCT terms, which are the light."""
    import cv2

    terms = cv2.dct(np.log1p(tile.astype(np.float32)))
    rows, columns = np.indices(terms.shape)
    mean = terms[0, 0]
    terms[rows + columns < kept_from] = 0
    terms[0, 0] = mean
    return _spread(cv2.idct(terms))


def _spread(values: np.ndarray) -> np.ndarray:
    """Scales so that the mean becomes 128, and two and a half deviations the ends of the range."""
    centred = (values - values.mean()) / (values.std() + 1e-6)
    return np.clip(np.rint(128 + centred * 51), 0, 255).astype(np.uint8)


@cache
def _eye_cascade():
    import cv2

    return cv2.CascadeClassifier(cv2.data.haarcascades + "haarcascade_eye.xml")


def level_eyes(tile: np.ndarray) -> np.ndarray:
    """Turned so that the eyes are level, where two plausible ones are found."""
    import cv2

    enlarge = 4
    picture = cv2.resize(tile, None, fx=enlarge, fy=enlarge, interpolation=cv2.INTER_CUBIC)
    boxes = _eye_cascade().detectMultiScale(picture[:TILE * enlarge * 6 // 10], 1.1, 3,
                                            minSize=(24, 24), maxSize=(80, 80))
    middle = TILE * enlarge / 2
    centres = sorted((x + w / 2, y + h / 2) for x, y, w, h in boxes)
    left = [c for c in centres if c[0] < middle]
    right = [c for c in centres if c[0] >= middle]
    if len(left) != 1 or len(right) != 1:
        return tile
    (x0, y0), (x1, y1) = left[0], right[0]
    degrees = math.degrees(math.atan2(y1 - y0, x1 - x0))
    if x1 - x0 < middle / 2 or abs(degrees) > 30:
        return tile
    turn = cv2.getRotationMatrix2D((TILE / 2 - 0.5, TILE / 2 - 0.5), degrees, 1.0)
    return cv2.warpAffine(tile, turn, (TILE, TILE), flags=cv2.INTER_LINEAR,
                          borderMode=cv2.BORDER_REPLICATE)


METHODS: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "equalize": equalized,
    "clahe": clahe,
    "difference-of-gaussians": difference_of_gaussians,
    "dct": without_low_dct,
    "level-eyes": level_eyes,
}
