"""Faces of muxspace and FER2013, labelled by the teacher on the original pictures."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Iterator

import cv2
import numpy as np
from tqdm import tqdm

from ..data import load_mosaic
from .samples import Samples, UNKNOWN, cut, is_held_out
from .teacher import Seen, Teacher

MUXSPACE_TILE, MUXSPACE_ACROSS, MUXSPACE_FILE = 176, 40, 1600


def muxspace(folder: Path, every: int) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Picture, person, held out."""
    with open(folder / "labels.csv", newline="") as file:
        people = [int(row["person"]) for row in csv.DictReader(file)]
    for first in range(0, len(people), MUXSPACE_FILE):
        mosaic = cv2.imread(str(folder / f"faces_{first // MUXSPACE_FILE:02}.jpg"), cv2.IMREAD_GRAYSCALE)
        for i in range(first, min(first + MUXSPACE_FILE, len(people)), every):
            top, left = (MUXSPACE_TILE * k for k in divmod(i - first, MUXSPACE_ACROSS))
            yield mosaic[top:top + MUXSPACE_TILE, left:left + MUXSPACE_TILE], people[i], is_held_out(people[i])


def fer2013(folder: Path, every: int) -> Iterator[tuple[np.ndarray, int, bool]]:
    """Each `every`th training tile, and PublicTest without copies as held out."""
    data = load_mosaic(folder)
    for i, tile in enumerate(data.images):
        held_out = data.usage[i] != "Training"
        if data.lossy[i] or data.copy_of_train[i] or (i % every and not held_out):
            continue
        yield tile, 1_000_000 + i, held_out


def row_of(seen: Seen, picture: np.ndarray, person: int, held_out: bool) -> dict:
    # An open eye has a blink of 0.1, a shut one 0.65 (medians of resting and
    # sleepy people). The teacher confuses lowered lids with a lowered gaze:
    # then the openness is unknown.
    openness = np.clip((0.65 - seen.blink) / 0.5, 0, 1)
    unsure = (seen.down > 0.35) & (openness > 0.05) & (openness < 0.95)
    open_ahead = (seen.blink < 0.25) & (seen.down < 0.15)
    return {**cut(picture, seen.landmarks, seen.pose),
            "openness": np.where(unsure, UNKNOWN, openness),
            "gaze_down": np.where(open_ahead, 0.0, UNKNOWN),
            "visible": np.where(far_eye_hidden(seen.pose[0]), UNKNOWN, 1.0),
            "jaw": seen.jaw, "smile": seen.smile, "person": person, "held_out": held_out}


def far_eye_hidden(yaw: float) -> np.ndarray:
    """Whether the right and the left eye may be hidden behind the nose. Yaw turns the nose
    to the picture's right, where the person's left eye is."""
    return np.array([yaw < -35, yaw > 35])


def label(source: str, data: Path, out: Path, every: int) -> None:
    cv2.setNumThreads(1)
    teacher, rows, missed = Teacher(data), [], 0
    pictures = {"muxspace": muxspace, "fer2013": fer2013}[source](data / source, every)
    for picture, person, held_out in tqdm(pictures, desc=source, mininterval=20):
        seen = teacher.look_at_tile(picture)
        if seen is None:
            missed += 1
            continue
        rows.append(row_of(seen, picture, person, held_out))
    samples = Samples.of_rows(rows)
    samples.save(out)
    print(f"{out}: {len(samples)} faces, {int(samples.held_out.sum())} held out, {missed} that the teacher does not find; "
          f"shut eyes {int((samples.openness < 0.2).sum())}, yaw above 20 degrees {int((abs(samples.pose[:, 0]) > 20).sum())}")
