#!/usr/bin/env python3
"""Writes crops.txt: SHA-256 of crops as Pillow makes them, for tests/stages/classify.rs.

Needs numpy and Pillow (made with Pillow 13.0.0):
    python tests/data/classify/make_crops.py > tests/data/classify/crops.txt

Each line: picture width, height, seed; box x, y, width, height (0 0 0 0: the whole
picture); scale, shift_x, shift_y; output width, height; SHA-256 of the pixels.
"""

import hashlib
import math
import random

import numpy as np
from PIL import Image


def picture(width, height, seed):
    """The same noise as in tests/stages/classify.rs."""
    state, pixels = seed, bytearray()
    for _ in range(width * height):
        state = (state * 1664525 + 1013904223) % 2**32
        pixels.append(state >> 24)
    return np.frombuffer(bytes(pixels), np.uint8).reshape(height, width)


def crop(image, box, scale, shift_x, shift_y):
    x, y, w, h = box
    if w == 0:
        return image
    side = max(w, h) * scale
    cx, cy = x + w / 2 + shift_x * w, y + h / 2 + shift_y * h
    n = max(1, math.floor(side + 0.5))
    x0, y0 = math.floor(cx - side / 2 + 0.5), math.floor(cy - side / 2 + 0.5)
    rows = np.clip(np.arange(y0, y0 + n), 0, image.shape[0] - 1)
    columns = np.clip(np.arange(x0, x0 + n), 0, image.shape[1] - 1)
    return image[np.ix_(rows, columns)]


def main():
    rng = random.Random(20)
    cases = []
    for side in [1, 2, 3, 23, 24, 25, 47, 48, 49, 95, 96, 97, 143, 192, 250, 407]:
        cases.append((300, 200, 1 + side, (40, 30, side, side), 1.0, 0.0, 0.0, 96, 96))
    for index in range(60):
        width, height = rng.randint(1, 400), rng.randint(1, 300)
        w, h = rng.randint(1, 300), rng.randint(1, 300)
        box = (rng.randint(-150, 400), rng.randint(-150, 300), w, h)
        scale = rng.choice([1.0, 0.8, 1.1, 1.25, round(rng.uniform(0.5, 2.0), 3)])
        shift = [rng.choice([0.0, round(rng.uniform(-0.3, 0.3), 3)]) for _ in "xy"]
        to = rng.choice([(96, 96), (96, 96), (48, 48), (64, 64), (224, 224), (40, 56)])
        cases.append((width, height, 100 + index, box, scale, *shift, *to))
    for index, (width, height) in enumerate(
        [(1, 1), (48, 48), (96, 96), (96, 130), (130, 96), (1, 300), (300, 1), (333, 97), (562, 762)]
    ):
        for to in [(96, 96), (40, 56)]:
            cases.append((width, height, 200 + index, (0, 0, 0, 0), 1.0, 0.0, 0.0, *to))
    for width, height, seed, box, scale, shift_x, shift_y, to_w, to_h in cases:
        cut = crop(picture(width, height, seed), box, scale, shift_x, shift_y)
        resized = Image.fromarray(np.ascontiguousarray(cut)).resize((to_w, to_h), Image.BILINEAR)
        assert resized.mode == "L"
        digest = hashlib.sha256(resized.tobytes()).hexdigest()
        print(width, height, seed, *box, scale, shift_x, shift_y, to_w, to_h, digest)


main()
