"""FER2013 with the FER+ votes: reading, cleaning, splits, training targets.

Two sources are read: the lossless mosaic with its labels.csv (`../shared/data`)
and Kaggle's `fer2013.csv` with Microsoft's `fer2013new.csv`.
"""

from __future__ import annotations

import csv
import hashlib
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Callable

import numpy as np

from . import CLASSES

TILE = 48
# From 0.95 on, pairs of FER2013's training tiles show the same photograph, cut
# or marked in two ways; below 0.94 most show two photographs. (Found by looking
# at pairs.)
NEAR = 0.95
N_CLASSES = len(CLASSES)

VOTE_COLUMNS = ("neutral", "happiness", "surprise", "sadness", "anger",
                "disgust", "fear", "contempt", "unknown", "not_face")
FERPLUS_TO_CLASS = {"anger": 0, "disgust": 1, "fear": 2, "happiness": 3,
                    "sadness": 4, "surprise": 5, "neutral": 6}
EMOTION_VOTE_INDEX = np.array(
    [VOTE_COLUMNS.index(n) for n, _ in
     sorted(FERPLUS_TO_CLASS.items(), key=lambda item: item[1])])
NOT_FACE_INDEX = VOTE_COLUMNS.index("not_face")
CONTEMPT_INDEX = VOTE_COLUMNS.index("contempt")


@dataclass
class Fer2013:
    """All tiles with everything that is known about them, one row per tile."""

    images: np.ndarray         # u8 [n, 48, 48]
    label: np.ndarray          # i64 [n], FER2013 label
    votes: np.ndarray          # i64 [n, 10], in VOTE_COLUMNS order
    usage: np.ndarray          # str [n]
    lossy: np.ndarray          # bool [n]
    dup_group: np.ndarray      # i64 [n], the same number for tiles with identical pixels
    copy_of_train: np.ndarray  # bool [n], exact or near copy of a training tile


def load(data: Path) -> Fer2013:
    """Reads whichever source lies in `data` (a folder, or one level below it)."""
    for folder in (data, data / "fer2013"):
        if (folder / "images.png").exists() and (folder / "labels.csv").exists():
            return load_mosaic(folder)
        if (folder / "fer2013.csv").exists():
            return load_kaggle(folder)
    raise SystemExit(f"{data}: it contains neither images.png with labels.csv nor fer2013.csv")


def load_mosaic(folder: Path) -> Fer2013:
    from PIL import Image

    Image.MAX_IMAGE_PIXELS = None
    with open(folder / "labels.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    mosaic = np.asarray(Image.open(folder / "images.png").convert("L"))
    tile_rows = mosaic.shape[0] // TILE
    images = (mosaic.reshape(tile_rows, TILE, TILE, TILE).transpose(0, 2, 1, 3)
              .reshape(-1, TILE, TILE)[:len(rows)].copy())

    def integers(column: str) -> np.ndarray:
        return np.array([int(row[column] or 0) for row in rows], dtype=np.int64)

    return Fer2013(
        images=images,
        label=integers("fer2013_label"),
        votes=np.stack([integers(c) for c in VOTE_COLUMNS], axis=1),
        usage=np.array([row["usage"] for row in rows]),
        lossy=integers("lossy") != 0,
        dup_group=integers("dup_group"),
        copy_of_train=(integers("dup_in_train") | integers("near_dup_in_train")) != 0,
    )


def load_kaggle(folder: Path) -> Fer2013:
    """`fer2013.csv` (emotion,pixels,Usage) and `fer2013new.csv` (Usage,Image name,
    then the ten vote columns), whose rows have the same order.

    These files do not say which tiles are near copies: only exact copies are found."""
    labels, images, usage = [], [], []
    with open(folder / "fer2013.csv", newline="") as file:
        for row in csv.DictReader(file):
            labels.append(int(row["emotion"]))
            images.append(np.array(row["pixels"].split(), dtype=np.uint8).reshape(TILE, TILE))
            usage.append(row["Usage"])
    votes = np.zeros((len(labels), len(VOTE_COLUMNS)), dtype=np.int64)
    votes_file = folder / "fer2013new.csv"
    if votes_file.exists():
        with open(votes_file, newline="") as file:
            for i, row in enumerate(csv.reader(file)):
                if i > 0:
                    votes[i - 1] = [int(v or 0) for v in row[2:12]]
    pixels, use = np.stack(images), np.array(usage)
    dup_group = _groups_of_identical(pixels)
    in_train = np.isin(dup_group, dup_group[use == "Training"])
    # Tiles without a picture (one gray level) are those that the mosaic marks
    # as lossy.
    blank = pixels.reshape(len(pixels), -1).std(axis=1) < 1.0
    return Fer2013(pixels, np.array(labels, dtype=np.int64), votes, use, blank,
                   dup_group, in_train & (use != "Training"))


def _groups_of_identical(images: np.ndarray) -> np.ndarray:
    first: dict[bytes, int] = {}
    return np.array([first.setdefault(hashlib.sha1(image.tobytes()).digest(), i)
                     for i, image in enumerate(images)], dtype=np.int64)


def ferplus_majority(votes: np.ndarray) -> np.ndarray:
    """The class with more than half of all ten columns' votes, or -1. Only the seven
    emotions can win: contempt is left out."""
    emotions = votes[:, EMOTION_VOTE_INDEX]
    winner = emotions.argmax(axis=1)
    wins = emotions.max(axis=1) * 2 > votes.sum(axis=1)
    return np.where(wins, winner, -1)


@dataclass
class Prepared:
    """The input of training: clean training tiles with target distributions, a held-out
    part of them for the decisions after training, and PublicTest without copies."""

    train_images: np.ndarray    # u8 [n, 48, 48]
    train_fer: np.ndarray       # f32 [n, 7], FER2013 label(s) as distribution
    train_ferplus: np.ndarray   # f32 [n, 7], vote distribution (zero: none)
    train_majority: np.ndarray  # i64 [n], majority of the votes; -1: none
    train_group: np.ndarray     # i64 [n], the same number for near copies of each other
    hold_images: np.ndarray
    hold_label: np.ndarray
    hold_ferplus: np.ndarray    # majority of the votes; -1: none
    test_images: np.ndarray
    test_label: np.ndarray
    test_ferplus: np.ndarray
    test_contempt: np.ndarray   # bool: more than half of the votes say contempt
    test_clean: np.ndarray      # bool, of all PublicTest: no copy, not lossy

    def changed(self, change: Callable[[np.ndarray], np.ndarray]) -> "Prepared":
        """Every tile of every part through `change`."""
        parts = ("train_images", "hold_images", "test_images")
        def changed(tiles: np.ndarray, pool: ProcessPoolExecutor) -> np.ndarray:
            return np.array(list(pool.map(change, tiles, chunksize=200)), np.uint8).reshape(tiles.shape)

        with ProcessPoolExecutor() as pool:
            return replace(self, **{part: changed(getattr(self, part), pool) for part in parts})

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(path, **self.__dict__)

    @classmethod
    def open(cls, path: Path) -> "Prepared":
        if not path.exists():
            raise SystemExit(f"{path} is not there: run `scripts/train prepare` first")
        with np.load(path) as stored:
            kept = {name: stored[name] for name in stored.files}
        if kept.keys() != cls.__dataclass_fields__.keys():
            raise SystemExit(f"{path} was made by another version: run `scripts/train prepare` again")
        return cls(**kept)


    def without_fold(self, number: int, count: int) -> "Prepared":
        """The same data with this fold of the training tiles as the held-out part. Near
        copies are in the same fold."""
        fold_of_group = np.random.default_rng(count).permutation(self.train_group.max() + 1) % count
        held = fold_of_group[self.train_group] == number
        return replace(
            self, **{f.name: getattr(self, f.name)[~held] for f in fields(self) if f.name.startswith("train_")},
            hold_images=self.train_images[held], hold_label=self.train_fer[held].argmax(axis=1),
            hold_ferplus=self.train_majority[held])


def prepare(data: Fer2013, hold_out: int, seed: int) -> Prepared:
    """Holds out `hold_out` tiles, minus those that are near copies of a training tile: a
    network that has seen a tile says nothing about new pictures with it."""
    train = np.flatnonzero(data.usage == "Training")
    test = np.flatnonzero(data.usage == "PublicTest")

    not_face = data.votes[:, NOT_FACE_INDEX] * 2 > data.votes.sum(axis=1)
    usable = ~(data.lossy | not_face)
    in_test = np.isin(data.dup_group, data.dup_group[test])
    train = train[(usable & ~in_test)[train]]

    images, fer, ferplus = _merge_copies(data, train)
    if not 0 <= hold_out < len(images):
        raise SystemExit(f"--hold-out {hold_out}: there are {len(images)} tiles")
    group = near_copies(images)
    order = np.random.default_rng(seed).permutation(len(images))
    hold, keep = order[:hold_out], order[hold_out:]
    hold = hold[~np.isin(group[hold], group[keep])]
    return Prepared(
        train_images=images[keep], train_fer=fer[keep],
        train_ferplus=_vote_distribution(ferplus[keep]),
        train_majority=ferplus_majority(ferplus[keep]),
        train_group=np.unique(group[keep], return_inverse=True)[1],
        hold_images=images[hold], hold_label=fer[hold].argmax(axis=1),
        hold_ferplus=ferplus_majority(ferplus[hold]),
        test_images=data.images[test], test_label=data.label[test],
        test_ferplus=ferplus_majority(data.votes[test]),
        test_contempt=data.votes[test, CONTEMPT_INDEX] * 2 > data.votes[test].sum(axis=1),
        test_clean=~(data.copy_of_train | data.lossy)[test],
    )


def _merge_copies(data: Fer2013, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """One row for each group of identical tiles: labels averaged, votes added."""
    _, first, group = np.unique(data.dup_group[rows], return_index=True, return_inverse=True)
    one_hot = np.eye(N_CLASSES, dtype=np.float32)[data.label[rows]]
    fer = np.zeros((len(first), N_CLASSES), dtype=np.float32)
    votes = np.zeros((len(first), len(VOTE_COLUMNS)), dtype=np.int64)
    np.add.at(fer, group, one_hot)
    np.add.at(votes, group, data.votes[rows])
    return data.images[rows[first]], fer / fer.sum(axis=1, keepdims=True), votes


def near_copies(images: np.ndarray, likeness: float = NEAR, batch: int = 1000) -> np.ndarray:
    """A number for each group of tiles. Each tile of a group is like another one of it:
    the correlation of the two, reduced to 16x16, is at least `likeness`."""
    small = images.reshape(len(images), 16, 3, 16, 3).mean(axis=(2, 4), dtype=np.float32).reshape(len(images), -1)
    small -= small.mean(axis=1, keepdims=True)
    small /= np.maximum(np.linalg.norm(small, axis=1, keepdims=True), 1e-3)
    root = np.arange(len(images))

    def root_of(tile: int) -> int:
        while root[tile] != tile:
            root[tile] = tile = root[root[tile]]
        return tile

    for first in range(0, len(images), batch):
        like = small[first:first + batch] @ small[first:].T >= likeness
        for one, other in zip(*np.nonzero(like)):
            root[root_of(first + other)] = root_of(first + one)
    return np.unique([root_of(tile) for tile in range(len(images))], return_inverse=True)[1]


def _vote_distribution(votes: np.ndarray) -> np.ndarray:
    """Votes of the seven emotions as a distribution. A single vote against nine
    is an outlier (as in the FER+ paper) and dropped; all zero if no vote is left."""
    emotions = votes[:, EMOTION_VOTE_INDEX].astype(np.float32)
    emotions = np.where(emotions <= 1, 0, emotions)
    total = emotions.sum(axis=1, keepdims=True)
    return np.divide(emotions, total, out=np.zeros_like(emotions), where=total > 0)


def resize_pillow(images: np.ndarray, size: int) -> np.ndarray:
    """The manifest's filter: Pillow's BILINEAR on 8-bit gray, to the bit."""
    from PIL import Image

    return np.stack([np.asarray(Image.fromarray(image).resize((size, size), Image.BILINEAR))
                     for image in images])
