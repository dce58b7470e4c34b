"""Rendered faces with exact truth: poses, shut and lowered lids, winks, lowered gaze."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
from tqdm import tqdm

from .geometry import BOX, CANVAS, MULTIPIE
from .samples import Samples, cut

TEST_PEOPLE = 10_000_000        # seeds from here on are for people kept apart
A_PERSON = 12                   # pictures of each
PICTURE = 144                   # side of what is rendered
BOX_CM = 2.6 * 6.4


def load_renderer(data: Path) -> ModuleType:
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path.home() / ".cache" / "affectd-numba"))
    path = data / "ict_face" / "render.py"
    if not path.exists():
        raise SystemExit(f"there is no {path}")
    # By its own name, because numba stores compiled functions under this name.
    sys.path.append(str(path.parent))
    return importlib.import_module("render")


class Faces:
    """Random renders; the same seed gives the same pictures."""

    def __init__(self, data: Path):
        self.module = load_renderer(data)
        self.renderer = self.module.Renderer()
        with np.load(data / "ict_face" / "ict_face.npz") as model:
            marks = model["landmarks68"]
            self.shapes = model["expression"][:, marks].astype(np.float32)

    def gap_at_rest(self, who: dict) -> np.ndarray:
        """Lid gap over eye width of this person's open eyes, right and left."""
        r = self.renderer
        points = who["vertices"][r.landmarks].copy()
        for name, weight in r.weights({}, eyelid=who["eyelid"]).items():
            if abs(weight) > 1e-4:
                own = who.get("blink_" + name[-1], 1) if name.startswith("eyeBlink") else 1
                points += weight * own * self.shapes[r.names.index(name)]
        return np.array([r._opening(points, 36), r._opening(points, 42)])

    def row(self, who: dict, gap: np.ndarray, rng: np.random.Generator, held_out: bool, **set_) -> dict:
        """One picture of this person; `set_` overrides what is drawn at random."""
        module = self.module
        given = module.sample(self.renderer, rng, *expression_of(rng, module), size=PICTURE, seeds=1)
        del given["who"]
        given.update(pose_of(rng))
        given.update(eyes_of(rng))
        if rng.random() < 0.25:
            given["jaw"] = float(rng.uniform(0.05, 0.8))
        # The whole head in view with a margin, whatever its pose.
        given.update(frame=BOX_CM * CANVAS / BOX / 2 * PICTURE / CANVAS, blur=0.0, noise=0.0)
        if "gaze" not in set_ and "yaw" in set_:
            given["gaze"] = np.zeros(2)
        given.update(set_)
        image, truth = self.renderer.render(who, **given)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        points = np.array(truth["landmarks"], np.float32) + 0.5
        landmarks = np.stack([points[list(marks)].mean(axis=0) for marks in MULTIPIE])
        pose = np.array([given["yaw"], given["pitch"], given["roll"]], np.float32)
        closed = np.array([truth["closed_r"], truth["closed_l"]])
        opened = np.array([truth["openness_r"], truth["openness_l"]]) / np.maximum(gap, 0.08)
        weights = truth["weights"]
        smile = np.mean([weights.get("mouthSmile_L", 0), weights.get("mouthSmile_R", 0)])
        down = np.clip((-given["gaze"][1] - 8) / 14, 0, 1)
        return {**cut(gray, landmarks, pose), "openness": np.clip(opened, 0, 1),
                # Shut lids hide where the eye looks: a shut eye is not "looking down".
                "gaze_down": np.where(closed > 0.75, 0.0, down),
                "visible": visible(landmarks, pose), "jaw": np.clip(truth["jaw"], 0, 1),
                "smile": np.clip(smile, 0, 1), "person": -1 - who["seed"], "held_out": held_out}

    def make(self, count: int, seed: int, held_out: bool) -> Samples:
        rng = np.random.default_rng([seed, int(held_out)])
        rows: list[dict] = []
        for i in tqdm(range(count), desc="renders", mininterval=20):
            if i % A_PERSON == 0:
                who = self.renderer.identity(int(rng.integers(TEST_PEOPLE)) + TEST_PEOPLE * held_out)
                gap = self.gap_at_rest(who)
            rows.append(self.row(who, gap, rng, held_out))
        return Samples.of_rows(rows)


def expression_of(rng: np.random.Generator, module: ModuleType) -> tuple[str, float]:
    if rng.random() < 0.35:
        return "neutral", 1.0
    return str(rng.choice(module.CLASSES)), float(rng.uniform(0.3, 1.1))


def pose_of(rng: np.random.Generator) -> dict[str, float]:
    if rng.random() < 0.5:
        yaw, pitch, roll = rng.normal(0, (14, 10, 6))
    else:
        yaw, pitch, roll = rng.uniform((-65, -42, -25), (65, 42, 25))
        if rng.random() < 0.5:
            pitch *= 0.3
    return {"yaw": float(np.clip(yaw, -70, 70)), "pitch": float(np.clip(pitch, -45, 45)), "roll": float(roll)}


def eyes_of(rng: np.random.Generator) -> dict[str, np.ndarray]:
    """Lids and gaze: open, shut, half shut, one shut, looking down with open lids."""
    gaze = rng.normal(0, (10, 5))
    kind = rng.choice(["open", "shut", "part", "wink", "parts", "down"], p=[.3, .2, .12, .1, .06, .22])
    blink = np.zeros(2)
    if kind == "shut":
        blink = np.ones(2)
    elif kind == "part":
        blink = np.full(2, rng.uniform(0.2, 0.95))
    elif kind == "wink":
        blink[rng.integers(2)] = rng.uniform(0.85, 1.0)
    elif kind == "parts":
        blink = rng.uniform(0, 1, 2)
    elif kind == "down":
        gaze[1] = -rng.uniform(8, 32)
        if rng.random() < 0.25:
            blink = np.full(2, rng.uniform(0, 0.4))
    return {"blink": blink, "gaze": gaze.clip((-28, -32), (28, 22))}


def visible(landmarks: np.ndarray, pose: np.ndarray) -> np.ndarray:
    """Visibility of the right and the left eye, 0 to 1. An eye counts as hidden behind the
    nose if the width between its corners is below two fifths of the other eye's width."""
    width = np.array([np.linalg.norm(landmarks[1] - landmarks[0]), np.linalg.norm(landmarks[5] - landmarks[4])])
    part = width / max(float(width.max()), 1e-6)
    far = np.array([pose[0] < 0, pose[0] > 0])
    return np.where(far, np.clip((part - 0.4) / 0.2, 0, 1), 1.0)


POSED = {
    # The eyes look down with open lids.
    "down20": {"blink": np.zeros(2), "gaze": np.array([0.0, -20.0])},
    "down30": {"blink": np.zeros(2), "gaze": np.array([0.0, -30.0])},
    "shut": {"blink": np.ones(2), "gaze": np.zeros(2)},
    "wink": {"blink": np.array([1.0, 0.0]), "gaze": np.zeros(2)},      # (left, right) as in render.py
    "open": {"blink": np.zeros(2), "gaze": np.zeros(2)},
    "smile": {"blink": np.zeros(2), "gaze": np.zeros(2)},
}


def posed(faces: Faces, people: int, seed: int) -> dict[str, Samples]:
    """The same people, kept apart, in each of POSED, near frontal."""
    rng = np.random.default_rng([seed, 2])
    rows: dict[str, list[dict]] = {name: [] for name in POSED}
    for _ in tqdm(range(people), desc="posed", mininterval=20):
        who = faces.renderer.identity(int(rng.integers(TEST_PEOPLE)) + TEST_PEOPLE)
        gap = faces.gap_at_rest(who)
        for name, set_ in POSED.items():
            yaw, pitch, roll = (float(v) for v in rng.normal(0, (8, 5, 4)))
            expression = faces.module.prototype("happy", 0.9, rng) if name == "smile" else \
                faces.module.prototype("neutral", 1.0, rng)
            jaw = 0.0
            rows[name].append(faces.row(who, gap, rng, True, expression=expression, yaw=yaw, pitch=pitch,
                                        roll=roll, jaw=jaw, **set_))
    return {name: Samples.of_rows(r) for name, r in rows.items()}
