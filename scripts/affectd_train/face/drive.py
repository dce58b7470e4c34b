"""Shows a rendered driver to the daemon. A gaze that goes down, a head that turns, a squint,
a smile, speech and yawns must not count as sleep; lids that are shut for long must. Each
sequence is a recording on the daemon's standard input."""

from __future__ import annotations

import json
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .renders import BOX_CM, TEST_PEOPLE, Faces

FPS = 10
WIDTH, HEIGHT = 640, 480
CALIBRATION = 34.0       # seconds: 30 of them must be valid
BOARD = """\
[capture]
source = "-"
format = "grey"
size = "{width}x{height}"
fps = {fps}
pace = "fast"
{capture}
[detect]
enhance = "clahe"
[fatigue]
[events]
stdout = true
"""
GRAVE = ("microsleep", "asleep", "unresponsive")
SHUT = {"shut 1.7 s": (1.7, "microsleep"), "shut 3.2 s": (3.2, "asleep"), "shut 6.2 s": (6.2, "unresponsive")}
YAWNS = 3

# How a picture is taken: contrast, and the standard deviation of the noise, of 255.
PICTURES = {"gray": (1.0, 2.0), "dark": (0.25, 3.0), "noisy": (1.0, 12.0)}


@dataclass
class Act:
    """What a face does from a time on. Its function gives the renderer's arguments for the
    progress of the movement, 0 to 1, and the time since it began."""
    name: str
    begin: float
    length: float
    ramp: float
    pose: Callable[[float, float], dict]

    @property
    def end(self) -> float:
        return self.begin + self.length


@dataclass
class Script:
    acts: list[Act] = field(default_factory=list)
    length: float = CALIBRATION

    def add(self, name: str, length: float, pose: Callable[[float, float], dict], ramp: float = 0.5, rest: float = 4.0) -> None:
        self.acts.append(Act(name, self.length, length, ramp, pose))
        self.length += length + rest

    def pose(self, time: float) -> dict:
        for act in self.acts:
            if act.begin <= time < act.end:
                into = time - act.begin
                share = min(1.0, (into + 1 / FPS) / act.ramp, (act.end - time) / act.ramp) if act.ramp else 1.0
                return act.pose(share, into)
        # Four blinks of 200 ms while the eyes are calibrated.
        if time < CALIBRATION - 4 and (time + 3) % 7 < 0.2:
            return {"blink": (1.0, 1.0)}
        return {}


def steps(value: float, step: float) -> float:
    """Rounds a value, so that few different pictures are rendered."""
    return round(value / step) * step


def awake(rng: np.random.Generator) -> Script:
    """All movements that must not count as sleep."""
    script = Script()
    hold = 5.0
    for degrees in (20, 30):
        script.add(f"down {degrees}", hold, lambda share, _, d=degrees: {"gaze": (0.0, -steps(d * share, 5))})
    for side in (30, -30):
        script.add("yaw 30", hold, lambda share, _, d=side: {"yaw": steps(d * share, 5)}, ramp=1.0)
    squint = {"eyeSquint*": 1.0, "cheekSquint*": 0.6, "browDown*": 0.5}
    script.add("squint", hold, lambda share, _: {"expression": {k: v * steps(share, 0.5) for k, v in squint.items()}})
    smile = {"mouthSmile*": 1.0, "cheekSquint*": 0.9, "eyeSquint*": 0.3}
    script.add("smile", hold, lambda share, _: {"expression": {k: v * steps(share, 0.5) for k, v in smile.items()}})
    # Syllables: four or five per second, of random size.
    syllables = rng.uniform(0.05, 0.5, 64)

    def speech(_: float, into: float) -> dict:
        at = into * 4.5
        size = syllables[int(at) % 64] * np.sin(np.pi * (at % 1))
        return {"jaw": steps(float(size), 0.1)}

    script.add("speech", 8.0, speech, ramp=0.0)
    for _ in range(YAWNS):
        yawn = {"eyeSquint*": 0.4, "mouthStretch*": 0.3}
        script.add("yawn", 5.0, lambda share, _: {"jaw": steps(0.9 * share, 0.3), "expression": {k: v * steps(share, 0.5) for k, v in yawn.items()}}, ramp=1.0)
    return script


def sleeper() -> Script:
    script = Script()
    for name, (length, _) in SHUT.items():
        script.add(name, length, lambda *_: {"blink": (1.0, 1.0)}, ramp=0.0, rest=9.0)
    return script


class Person:
    """One person's pictures of one size."""

    def __init__(self, faces: Faces, seed: int, side: int):
        rng = np.random.default_rng([seed, 13])
        self.renderer = faces.renderer
        # The first people without glasses: sunglasses are tested separately.
        self.who = next(who for k in range(1000) if not (who := faces.renderer.identity(TEST_PEOPLE + 900 + 40 * seed + k))["glasses"])
        self.given = {"light": (rng.uniform(-0.6, 0.6), 0.5, 0.8), "seed": seed, "size": HEIGHT, "frame": BOX_CM * HEIGHT / side / 2}
        self.side, self.seed = side, seed
        self.pictures: dict[str, tuple[np.ndarray, np.ndarray]] = {}

    def picture(self, pose: dict) -> tuple[np.ndarray, np.ndarray]:
        """Gray, as wide as the frame, and the landmarks in it."""
        key = json.dumps(pose, sort_keys=True)
        if key not in self.pictures:
            image, truth = self.renderer.render(self.who, **self.given, **pose)
            gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
            # Exposed for the face, as by a camera.
            marks = np.array(truth["landmarks"], np.float32)
            x0, y0, x1, y1 = *marks.min(0).astype(int), *marks.max(0).astype(int)
            if not self.pictures:
                self.gain = 110 / max(float(gray[y0:y1, x0:x1].mean()), 1.0)
            gray = np.clip(gray * self.gain, 0, 255).astype(np.uint8)
            border = (WIDTH - HEIGHT) // 2
            self.pictures[key] = cv2.copyMakeBorder(gray, 0, 0, border, border, cv2.BORDER_REPLICATE), marks + [border, 0]
        return self.pictures[key]

    def frames(self, script: Script, picture: str, worn: bool = False, strobed: bool = False) -> Iterator[np.ndarray]:
        contrast, deviation = PICTURES[picture]
        rng = np.random.default_rng([self.seed, self.side, 17])
        self.picture({})
        noise = [rng.normal(0, deviation, (HEIGHT, WIDTH)).astype(np.float32) for _ in range(4)]
        for k in range(round(script.length * FPS)):
            gray, marks = self.picture(script.pose(k / FPS))
            if worn:
                gray = sunglasses(gray, marks)
            # Nobody sits still.
            sway = 0.015 * self.side * np.sin(2 * np.pi * k / FPS / np.array([5.3, 7.9]))
            moved = cv2.warpAffine(gray, np.array([[1, 0, sway[0]], [0, 1, sway[1]]]), (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
            shifted = np.roll(noise[rng.integers(4)], tuple(rng.integers(0, 400, 2)), (0, 1))
            yield np.clip(moved * contrast + shifted, 0, 255).astype(np.uint8)
            if strobed:
                yield np.clip(moved * 0.03 + shifted, 0, 255).astype(np.uint8)


def sunglasses(gray: np.ndarray, marks: np.ndarray) -> np.ndarray:
    """Dark glasses with a weak reflection, larger than the eyes."""
    out = gray.copy()
    right, left = marks[36:42].mean(0), marks[42:48].mean(0)
    apart = float(np.linalg.norm(left - right))
    for eye in (right, left):
        centre = eye + [0, 0.04 * apart]
        cv2.ellipse(out, (int(centre[0]), int(centre[1])), (int(0.42 * apart), int(0.33 * apart)), 0, 0, 360, 18, -1, cv2.LINE_AA)
        cv2.ellipse(out, (int(centre[0] - 0.12 * apart), int(centre[1] - 0.12 * apart)), (int(0.12 * apart), int(0.05 * apart)), -30, 0, 360, 45, -1, cv2.LINE_AA)
    cv2.line(out, (int(right[0]), int(right[1])), (int(left[0]), int(left[1])), 25, max(1, int(0.06 * apart)), cv2.LINE_AA)
    return cv2.GaussianBlur(out, (0, 0), max(apart / 80, 0.4))


def events(affectd: Path, frames: Iterator[np.ndarray], fps: int = FPS, capture: str = "") -> list[dict]:
    """The daemon's events for frames. The frames go through a file: with a pipe that is
    filled slowly, the daemon would report a camera that stalls."""
    with tempfile.TemporaryDirectory() as folder:
        board, video = Path(folder) / "board.toml", Path(folder) / "frames"
        board.write_text(BOARD.format(width=WIDTH, height=HEIGHT, fps=fps, capture=capture))
        with video.open("wb") as file:
            for frame in frames:
                file.write(frame.tobytes())
        with video.open("rb") as file:
            ran = subprocess.run([affectd, "--log", "error", "run", "--board", board], stdin=file,
                                 stdout=subprocess.PIPE, check=True)
        return [json.loads(line) for line in ran.stdout.splitlines()]


def gravest(lines: list[dict], begin: float, end: float) -> str:
    order = ("ok", *GRAVE)
    # A state that already holds at the beginning was reported in the second
    # before.
    states = [line["state"] for line in lines if line["type"] == "fatigue" and begin <= line["time"] < end]
    return max((s for s in states if s in order), key=order.index, default=states[-1] if states else "nothing")


def judged_awake(lines: list[dict], script: Script) -> dict[str, tuple[int, int]]:
    """Closures of 0.5 s or more, and yawns, for each act. An event that ends while the face
    is at rest again belongs to the act before."""
    counts = {act.name: [0, 0] for act in script.acts}
    for line in lines:
        if line["type"] not in ("closure", "yawn") or line["time"] < CALIBRATION:
            continue
        act = [act for act in script.acts if act.begin <= line["time"]][-1]
        if line["type"] == "yawn":
            counts[act.name][1] += 1
        elif line["duration_ms"] >= 500:
            counts[act.name][0] += 1
    return {name: (closures, yawns) for name, (closures, yawns) in counts.items()}


def drive(affectd: Path, data: Path, people: int) -> bool:
    """Prints the tables; returns whether everything was as it should be."""
    faces = Faces(data)
    good = True
    names = list(dict.fromkeys(act.name for act in awake(np.random.default_rng(0)).acts if act.name != "yawn"))
    print("| face | picture | " + " | ".join(names) + " | " + " | ".join(SHUT) + f" | yawns of {YAWNS * people} |")
    print("|---|---|" + "---|" * (len(names) + len(SHUT) + 1), flush=True)
    extra: dict[str, list[str]] = {"strobed": [], "sunglasses": []}
    for side in (80, 160):
        crowd = [Person(faces, seed, side) for seed in range(people)]
        for picture in PICTURES:
            wrong = {name: [0, 0] for name in names}
            right, yawns, most = dict.fromkeys(SHUT, 0), 0, 0
            for person in tqdm(crowd, desc=f"{side} {picture}", mininterval=10):
                script = awake(np.random.default_rng(person.seed))
                for name, (closures, yawned) in judged_awake(events(affectd, person.frames(script, picture)), script).items():
                    if name == "yawn":
                        yawns += yawned
                        most = max(most, abs(yawned - YAWNS))
                        good &= closures == 0
                    else:
                        wrong[name][0] += closures
                        wrong[name][1] += yawned
                script = sleeper()
                lines = events(affectd, person.frames(script, picture))
                for act in script.acts:
                    right[act.name] += gravest(lines, act.begin + 0.5, act.end + 1.5) == SHUT[act.name][1]
            good &= all(v == [0, 0] for v in wrong.values()) and all(n == people for n in right.values()) and most <= 1
            cells = [" + ".join([f"{c} closures"] * (c > 0) + [f"{y} yawns"] * (y > 0)) or "none" for c, y in wrong.values()]
            cells += [f"{n} of {people}" for n in right.values()]
            print(f"| {side} | {picture} | " + " | ".join(cells) + f" | {yawns} |", flush=True)
        for person in crowd:
            script = sleeper()
            lines = events(affectd, person.frames(script, "gray", strobed=True), 2 * FPS, "skip_darker_than = 30")
            extra["strobed"] += [gravest(lines, act.begin + 0.5, act.end + 1.5) + f" for {SHUT[act.name][1]}" for act in script.acts
                                 if gravest(lines, act.begin + 0.5, act.end + 1.5) != SHUT[act.name][1]]
            lines = events(affectd, person.frames(Script(length=20.0), "gray", worn=True))
            last = [line for line in lines if line["type"] == "fatigue"][-1]
            if (last["state"], last["reason"]) != ("no_reading", "eyes_hidden"):
                extra["sunglasses"].append(f"{last['state']}: {last['reason']}")
    tried = 2 * people
    print(f"\nstrobed light, every other frame dark: {3 * tried - len(extra['strobed'])} of {3 * tried} states right"
          + "".join(f"; {what}" for what in extra["strobed"]))
    print(f"sunglasses: {tried - len(extra['sunglasses'])} of {tried} no_reading: eyes_hidden"
          + "".join(f"; {what}" for what in extra["sunglasses"]))
    return good and not any(extra.values())
