"""How much the automatic baseline improves the answers if a resting face has a bias, and how
much it harms them if it has none. Input: rendered people, and people of muxspace with several
pictures. Both run through the daemon, one picture per second, to evaluate the shipped code."""

from __future__ import annotations

import csv
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .label import muxspace
from .renders import BOX_CM, TEST_PEOPLE, Faces
from .replay import events

CLASSES = ("angry", "disgust", "fear", "happy", "sad", "surprise", "neutral")
TRACK = "confirm = 1\nlost_after_ms = 3000\nmin_overlap = 0.01\n"
REST = 24      # seconds at rest: the baseline counts in full after 20
SHOWN = 3      # seconds of each picture; the last one is evaluated
SIZE = 200


def answers(affectd: Path, frames: list[np.ndarray], judged: list[int], strength: float) -> list[tuple[str, str] | None]:
    """The classifier's answer for each evaluated frame, without and with the baseline; None
    if no face is seen."""
    more = f'[decide]\ntime_constant_ms = 0\n[decide.baseline]\nmode = "auto"\nstrength = {strength}\n'
    lines = events(affectd, frames, period_ms=1, more=more, track=TRACK, fps=1)
    said = {line["frame"]: line for line in lines if line["type"] == "face" and line["leading"]}

    def top(of: dict[str, float]) -> str:
        return max(of, key=of.get)

    out: list[tuple[str, str] | None] = []
    for frame in judged:
        line = said.get(frame)
        out.append(line and (top(line.get("raw_probabilities", line["probabilities"])), top(line["probabilities"])))
    return out


# --- renders with a resting bias --------------------------------------------------

def bias_of(rng: np.random.Generator, kind: str) -> dict[str, float]:
    """The shapes of this person's face in every picture, by name."""
    if kind == "none":
        return {}
    shapes = {"mouth corners down": ("mouthFrown",), "brows lowered": ("browDown",), "lids half shut": ("eyeBlink",),
              "all three": ("mouthFrown", "browDown", "eyeBlink")}[kind]
    return {f"{shape}_{side}": weight for shape in shapes for weight in [rng.uniform(0.15, 0.4)] for side in "LR"}


def person(faces: Faces, seed: int, kind: str) -> tuple[list[np.ndarray], list[int], list[str]]:
    """Frames of one rendered person: at rest, then each expression twice."""
    rng = np.random.default_rng([seed, 23])
    who = faces.renderer.identity(TEST_PEOPLE + 2000 + seed)
    bias = bias_of(rng, kind)
    light = (rng.normal(0, 0.5), rng.uniform(0.2, 0.9), 0.7)

    def frame(name: str, intensity: float) -> np.ndarray:
        expression = faces.module.prototype(name, intensity, rng)
        for shape, weight in bias.items():
            expression[shape] = expression.get(shape, 0) + weight
        yaw, pitch, roll = rng.normal(0, (5, 4, 3))
        image, _ = faces.renderer.render(who, expression, yaw=yaw, pitch=pitch, roll=roll, gaze=rng.normal(0, 3, 2),
                                         light=light, size=SIZE, frame=BOX_CM, seed=seed)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
        return np.clip(gray + rng.normal(0, 2, gray.shape), 0, 255).astype(np.uint8)

    rest = [frame("neutral", 1.0) for _ in range(6)]
    frames = [rest[k // 4 % len(rest)] for k in range(REST)]
    judged, truth = [], []
    for name in (*CLASSES, *CLASSES):
        frames += [frame(name, rng.uniform(0.6, 1.0))] * SHOWN
        judged.append(len(frames) - 1)
        truth.append(name)
    return frames, judged, truth


def renders(affectd: Path, data: Path, people: int, strengths: tuple[float, ...]) -> dict[str, dict[float, float]]:
    """The gain in points by bias and strength."""
    faces, gains = Faces(data), {}
    print("| resting bias | pictures | without | " + " | ".join(f"strength {s}" for s in strengths) + " |")
    for kind in ("mouth corners down", "brows lowered", "lids half shut", "all three", "none"):
        right: dict[float, list[list[bool]]] = {s: [] for s in strengths}
        for seed in tqdm(range(people), desc=kind, mininterval=10):
            frames, judged, truth = person(faces, seed, kind)
            for strength in strengths:
                for answer, name in zip(answers(affectd, frames, judged, strength), truth):
                    right[strength].append([answer is not None and said == name for said in answer or ("", "")])
        shares = {s: 100 * np.mean(rows, axis=0) for s, rows in right.items()}
        gains[kind] = {s: float(after - before) for s, (before, after) in shares.items()}
        rows = len(right[strengths[0]])
        print(f"| {kind} | {rows} | {shares[strengths[0]][0]:.1f}% | "
              + " | ".join(f"{after:.1f}% ({after - before:+.1f})" for before, after in shares.values()) + " |", flush=True)
    return gains


# --- people with several pictures -------------------------------------------------

def several(data: Path, most: int) -> list[tuple[list[np.ndarray], list[str]]]:
    """The pictures and labels of muxspace's people kept apart who have two or more."""
    with open(data / "muxspace" / "labels.csv", newline="") as file:
        labels = [row["label"] for row in csv.DictReader(file)]
    people: dict[int, list[tuple[np.ndarray, str]]] = {}
    for (picture, who, held_out), label in zip(muxspace(data / "muxspace", 1), labels):
        if held_out and label in CLASSES:
            people.setdefault(who, []).append((picture.copy(), label))
    chosen = [rows for rows in people.values() if len(rows) >= 2][:most]
    return [([p for p, _ in rows], [label for _, label in rows]) for rows in chosen]


def real(affectd: Path, data: Path, people: int, strengths: tuple[float, ...]) -> dict[float, float]:
    """The change in points by strength: each picture is evaluated after the person's others."""
    right: dict[float, list[list[bool]]] = {s: [] for s in strengths}
    for pictures, labels in tqdm(several(data, people), desc="people", mininterval=10):
        for k, (picture, label) in enumerate(zip(pictures, labels)):
            others = [p for i, p in enumerate(pictures) if i != k][:4]
            seconds = -(-REST // len(others))
            frames = [p for other in others for p in [other] * seconds] + [picture] * SHOWN
            for strength in strengths:
                answer = answers(affectd, frames, [len(frames) - 1], strength)[0]
                if answer is not None:
                    right[strength].append([said == label for said in answer])
    shares = {s: 100 * np.mean(rows, axis=0) for s, rows in right.items()}
    print("| people of muxspace | pictures | without | " + " | ".join(f"strength {s}" for s in strengths) + " |")
    print(f"| two or more pictures | {len(right[strengths[0]])} | {shares[strengths[0]][0]:.1f}% | "
          + " | ".join(f"{after:.1f}% ({after - before:+.1f})" for before, after in shares.values()) + " |")
    return {s: float(after - before) for s, (before, after) in shares.items()}
