"""A small data set with simple drawn faces, and affectd's own programs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
from PIL import Image

from affectd_train.data import TILE, VOTE_COLUMNS, Prepared, load, prepare

# scripts/test-training builds them and says where they are.
BUILT = Path(os.environ.get("AFFECTD_BUILT", "target/debug"))
AFFECTD = BUILT / "affectd"
INFERENCE = BUILT / "examples" / "inference"


def face(label: int, rng: np.random.Generator) -> np.ndarray:
    """An oval with two eyes and a mouth whose curve and opening depend on the class. The
    light differs each time, so that no face is a near copy of another."""
    y, x = np.mgrid[0:TILE, 0:TILE] / (TILE - 1) * 2 - 1
    picture = np.where(x ** 2 + (y * 0.85) ** 2 < 0.8, 170.0, 60.0)
    for side in (-0.35, 0.35):
        picture[(x - side) ** 2 + (y + 0.3) ** 2 < 0.01 + 0.004 * label] = 30
    mouth = np.abs(y - 0.4 - (label - 3) * 0.15 * x ** 2) < 0.04 + 0.03 * (label % 3)
    picture[mouth & (np.abs(x) < 0.4)] = 40
    light = np.kron(rng.uniform(-45, 45, (6, 6)), np.ones((8, 8)))
    noisy = picture + light + rng.normal(0, 12, picture.shape)
    return np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def votes_of(label: int, rng: np.random.Generator) -> list[int]:
    """Ten voters, most of them for the label."""
    column = VOTE_COLUMNS.index(("anger", "disgust", "fear", "happiness", "sadness",
                                 "surprise", "neutral")[label])
    votes = np.bincount(rng.integers(0, 8, 3), minlength=10)
    votes[column] += 7
    return votes.tolist()


def write_kaggle(folder: Path, training: int = 84, public: int = 28) -> None:
    """fer2013.csv and fer2013new.csv; the last PublicTest row copies the first Training row."""
    rng = np.random.default_rng(5)
    folder.mkdir(parents=True, exist_ok=True)
    rows = [(i % 7, face(i % 7, rng), "Training") for i in range(training)]
    rows += [(i % 7, face(i % 7, rng), "PublicTest") for i in range(public - 1)]
    rows.append((rows[0][0], rows[0][1], "PublicTest"))
    with open(folder / "fer2013.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["emotion", "pixels", "Usage"])
        writer.writerows([label, " ".join(map(str, tile.ravel())), usage]
                         for label, tile, usage in rows)
    with open(folder / "fer2013new.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["Usage", "Image name", *VOTE_COLUMNS])
        writer.writerows([usage, f"fer{i:07}.png", *votes_of(label, rng)]
                         for i, (label, _, usage) in enumerate(rows))


def write_mosaic(kaggle: Path, folder: Path) -> None:
    """The same tiles as one picture with its labels.csv."""
    data = load(kaggle)
    across = TILE   # the mosaic's number of tiles per row is the number of pixels per row of a tile
    folder.mkdir(parents=True, exist_ok=True)
    down = -(-len(data.images) // across)
    picture = np.zeros((down * TILE, across * TILE), dtype=np.uint8)
    for i, tile in enumerate(data.images):
        top, left = i // across * TILE, i % across * TILE
        picture[top:top + TILE, left:left + TILE] = tile
    Image.fromarray(picture).save(folder / "images.png")
    with open(folder / "labels.csv", "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["usage", "fer2013_label", *VOTE_COLUMNS, "lossy", "dup_group",
                         "dup_in_train", "near_dup_in_train"])
        for i in range(len(data.images)):
            writer.writerow([data.usage[i], data.label[i], *data.votes[i], int(data.lossy[i]),
                             data.dup_group[i], int(data.copy_of_train[i]), 0])


def prepared_in(folder: Path) -> Prepared:
    write_kaggle(folder)
    return prepare(load(folder), hold_out=14, seed=1)
