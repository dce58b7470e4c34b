"""Shows rendered videos to the daemon: rooms without people, and one head that turns,
tilts and nods. Each video is a recording on the daemon's standard input."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .geometry import MULTIPIE, box_of
from .renders import BOX_CM, TEST_PEOPLE, Faces
from .scenes import scene

BOARD = """\
[capture]
source = "-"
format = "grey"
size = "{width}x{height}"
fps = {fps}
pace = "fast"
[track]
policy = "all"
{track}[events]
stdout = true
period_ms = {period_ms}
{more}"""


def events(affectd: Path, frames: list[np.ndarray] | np.ndarray, period_ms: int = 0, more: str = "",
           track: str = "", fps: int = 30) -> list[dict]:
    """The daemon's events for a recording of gray frames."""
    height, width = frames[0].shape
    with tempfile.TemporaryDirectory() as folder:
        board, video = Path(folder) / "board.toml", Path(folder) / "frames"
        board.write_text(BOARD.format(width=width, height=height, period_ms=period_ms, more=more,
                                      track=track, fps=fps))
        with video.open("wb") as file:
            for frame in frames:
                file.write(np.ascontiguousarray(frame).tobytes())
        with video.open("rb") as file:
            ran = subprocess.run([affectd, "--log", "error", "run", "--board", board], stdin=file,
                                 stdout=subprocess.PIPE, check=True)
    lines = [json.loads(line) for line in ran.stdout.splitlines()]
    if lines[-1]["type"] != "goodbye" or lines[-1]["frames"] != len(frames):
        raise SystemExit(f"the daemon saw {lines[-1]} of {len(frames)} frames")
    return lines


# --- rooms without people ---------------------------------------------------------

def room_video(seed: int, count: int) -> np.ndarray:
    """A drawn scene with a camera's noise, and light that changes a little."""
    rng = np.random.default_rng([seed, 7])
    still = scene(rng).astype(np.float32)
    # New noise for each frame would take minutes, so a few pictures of noise
    # are used, moved to random places.
    noise = rng.normal(0, rng.uniform(1.5, 5), (6, *still.shape)).astype(np.float32)
    frames = np.empty((count, *still.shape), np.uint8)
    period = rng.uniform(80, 400)
    for k in range(count):
        light = 1 + 0.06 * np.sin(2 * np.pi * k / period) + rng.normal(0, 0.004)
        moved = np.roll(noise[rng.integers(len(noise))], tuple(rng.integers(0, 300, 2)), (0, 1))
        frames[k] = np.clip(still * light + moved, 0, 255)
    return frames


def rooms(affectd: Path, scenes: int, count: int, more: str) -> int:
    """Prints how many scenes got a label; returns how many."""
    labelled, refused = 0, 0
    for seed in tqdm(range(scenes), desc="rooms", mininterval=10):
        lines = events(affectd, room_video(50_000 + seed, count), more=more)
        refused += lines[-1]["counters"].get("not_a_face", 0)
        faces = [line for line in lines if line["type"] == "face"]
        if faces:
            labelled += 1
            first = faces[0]
            print(f"scene {seed}: label {first['label']} in frame {first['frame']}, box {first['box']}", flush=True)
    print(f"{labelled} of {scenes} scenes without people got a label, in {count} frames each; "
          f"the face net refused {refused} boxes")
    return labelled


# --- one head ---------------------------------------------------------------------

def sweep(most: float, step: float) -> np.ndarray:
    """From 0 to one side, to the other, and back."""
    out = np.arange(0, most + step / 2, step)
    return np.concatenate([out, out[-2::-1], -out[1:], -out[-2::-1]])


def head_videos(faces: Faces, seed: int, side: int) -> dict[str, tuple[list[np.ndarray], list[np.ndarray]]]:
    """By name: frames of 320x240 and the face's true middle in each."""
    rng = np.random.default_rng([seed, 11])
    who = faces.renderer.identity(TEST_PEOPLE + 700 + seed)
    light = (rng.uniform(-0.6, 0.6), 0.6, 0.7)

    def frame(**pose: float) -> tuple[np.ndarray, np.ndarray]:
        half = BOX_CM * 240 / side / 2
        image, truth = faces.renderer.render(who, size=240, frame=half, light=light, seed=seed, **pose)
        gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
        wide = np.pad(gray, ((0, 0), (40, 40)), mode="edge")
        points = np.array(truth["landmarks"], np.float32) + 0.5
        marks = np.stack([points[list(m)].mean(axis=0) for m in MULTIPIE])
        box = box_of(marks, pose.get("yaw", 0), pose.get("pitch", 0))
        noisy = np.clip(wide + rng.normal(0, 2.5, wide.shape), 0, 255).astype(np.uint8)
        return noisy, box + [40, 0, 0]

    still = [frame() for _ in range(6)]
    videos = {}
    for name, most, step in (("yaw", 60, 4), ("roll", 60, 4), ("pitch", 40, 4)):
        videos[name] = still + [frame(**{name: float(angle)}) for angle in sweep(most, step)]
    covered = []
    for k in range(24):
        g, box = frame()
        if 3 <= k < 21:   # a hand in front of the mouth
            x, y, a = box
            cv2.ellipse(g, (int(x), int(y + 0.35 * a)), (int(0.3 * a), int(0.22 * a)), 10.0 * np.sin(k), 0, 360, 150, -1)
            g = cv2.GaussianBlur(g, (0, 0), 0.7)
        covered.append((g, box))
    videos["hand"] = still + covered
    blurred = [frame() for _ in range(8)]
    blurred[3] = (cv2.GaussianBlur(blurred[3][0], (0, 0), 4), blurred[3][1])
    videos["blur"] = still + blurred
    return {name: ([f for f, _ in v], [b for _, b in v]) for name, v in videos.items()}


def kept(lines: list[dict], boxes: list[np.ndarray], first: int) -> np.ndarray:
    """For each frame from `first` on whether the first track is at the true face."""
    at: dict[int, list] = {}
    for line in lines:
        if line["type"] == "face":
            at.setdefault(line["frame"], []).append(line)
    result = []
    for k in range(first, len(boxes)):
        x, y, side = boxes[k]
        good = False
        for line in at.get(k, []):
            bx, by, w, h = line["box"]
            near = np.hypot(bx + w / 2 - x, by + h / 2 - y) < 0.35 * side
            good |= line["track"] == 1 and near
        result.append(good)
    return np.array(result)


def follow(affectd: Path, data: Path, people: int, side: int) -> float:
    """Prints the share of frames in which one head stays one track; returns it."""
    faces = Faces(data)
    shares: dict[str, dict[str, list]] = {}
    for seed in tqdm(range(people), desc="heads", mininterval=10):
        for name, (frames, boxes) in head_videos(faces, seed, side).items():
            for how, more in (("face net", ""), ("cascade alone", '[face]\nmodel = "none"\n')):
                lines = events(affectd, frames, period_ms=1, more=more)
                shares.setdefault(how, {}).setdefault(name, []).append(kept(lines, boxes, 6))
    whole = 0.0
    print("| frames kept | " + " | ".join(next(iter(shares.values()))) + " | all |")
    for how, by_name in shares.items():
        parts = {name: np.concatenate(v).mean() for name, v in by_name.items()}
        everything = np.concatenate([np.concatenate(v) for v in by_name.values()]).mean()
        whole = whole or float(everything)
        print(f"| {how} | " + " | ".join(f"{100 * p:.1f}%" for p in parts.values()) + f" | {100 * everything:.1f}% |")
    return whole
