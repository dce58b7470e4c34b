"""Pictures of faces with the known values of each, in files that training reads."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np

from .geometry import CANVAS, BOX, box_of, moved, to_square, warp

UNKNOWN = np.nan   # an unknown value: it is left out of losses and figures


@dataclass
class Samples:
    """One row per face. The box is the middle BOX pixels of each picture. Pairs are for
    the person's right and left eye."""

    image: np.ndarray       # u8 [n, CANVAS, CANVAS]
    landmarks: np.ndarray   # f32 [n, 14, 2], pixels of the picture
    pose: np.ndarray        # f32 [n, 3], yaw, pitch, roll in degrees
    openness: np.ndarray    # f32 [n, 2], 0 to 1
    gaze_down: np.ndarray   # f32 [n, 2], 0 to 1
    visible: np.ndarray     # f32 [n, 2], 0 to 1
    jaw: np.ndarray         # f32 [n], 0 to 1
    smile: np.ndarray       # f32 [n], 0 to 1
    pixels: np.ndarray      # f32 [n], side of the box in the picture that this was cut from
    person: np.ndarray      # i64 [n]
    held_out: np.ndarray    # bool [n]: of people that no training uses

    def __len__(self) -> int:
        return len(self.image)

    def __getitem__(self, rows: np.ndarray) -> "Samples":
        return Samples(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def save(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_suffix(".part.npz")
        np.savez(part, **self.__dict__)
        part.rename(path)

    @classmethod
    def open(cls, path: Path) -> "Samples":
        if not path.exists():
            raise SystemExit(f"{path} is not there: run the steps before this one (scripts/train face --help)")
        with np.load(path) as stored:
            kept = {name: stored[name] for name in stored.files}
        if kept.keys() != cls.__dataclass_fields__.keys():
            raise SystemExit(f"{path} was made by another version: delete it and make it again")
        return cls(**kept)

    @classmethod
    def join(cls, parts: list["Samples"]) -> "Samples":
        return cls(**{f.name: np.concatenate([getattr(p, f.name) for p in parts]) for f in fields(cls)})

    @classmethod
    def of_rows(cls, rows: list[dict]) -> "Samples":
        kinds = {"image": np.uint8, "person": np.int64, "held_out": bool}
        return cls(**{f.name: np.array([row[f.name] for row in rows], kinds.get(f.name, np.float32))
                      for f in fields(cls)})


def cut(picture: np.ndarray, landmarks: np.ndarray, pose: np.ndarray) -> dict:
    """The parts of a row that describe where the face is, from a whole picture."""
    box = box_of(landmarks, pose[0], pose[1])
    m = to_square(box[:2], box[2] * CANVAS / BOX, 0.0, CANVAS)
    return {"image": warp(picture, m, CANVAS), "landmarks": moved(landmarks, m), "pose": pose,
            "pixels": box[2]}


def is_held_out(person: int) -> bool:
    """One person in six."""
    return (person * 2654435761 >> 7) % 6 == 0
