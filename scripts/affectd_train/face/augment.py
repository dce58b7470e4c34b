"""Turns stored pictures into pictures as a camera and a cascade would give them."""

from __future__ import annotations

import cv2
import numpy as np

from .geometry import (BOX, CANVAS, EYE_SIDE, FACE_SCALE, FACE_SIDE, LEFT_EYE, MIRRORED, RIGHT_EYE,
                       eye_squares, moved, overlap, to_square, warp)
from .samples import Samples

BOX_IN_CANVAS = np.array([CANVAS / 2, CANVAS / 2, BOX])
SMALLEST, LARGEST = 22, 112      # pixels of a face's box
SMALLEST_FOR_EYES = 34           # the daemon asks about lids only from 40 on
# A window with an overlap with the true box below the first value is not a
# face; above the second value it is.
NO_FACE, FACE = 0.25, 0.5


class Pictures:
    """Canvases with a copy of half the size, from which small crops are cut."""

    def __init__(self, canvases: np.ndarray):
        self.whole = canvases
        self.half = np.stack([cv2.resize(c, None, fx=0.5, fy=0.5, interpolation=cv2.INTER_AREA) for c in canvases])

    def crop(self, i: int, centre: np.ndarray, side: float, turn: float, n: int, mirror: bool) -> np.ndarray:
        if side > 1.5 * n:
            return warp(self.half[i], to_square(np.asarray(centre) / 2, side / 2, turn, n, mirror), n)
        return warp(self.whole[i], to_square(centre, side, turn, n, mirror), n)


def photograph(g: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Light, contrast, blur and noise of a camera, at the camera's own resolution."""
    f = g.astype(np.float32)
    n = g.shape[0]
    if rng.random() < 0.25:
        f = cv2.GaussianBlur(f, (0, 0), rng.uniform(0.4, 1.3 if n < 60 else 2.0))
    elif rng.random() < 0.1:
        q = int(rng.integers(2, 2 + max(2, n // 12)))
        f = cv2.blur(f, (q, 1) if rng.random() < 0.6 else (1, q))
    if rng.random() < 0.8:
        mean = float(f.mean())
        f = (f - mean) * rng.uniform(0.4, 1.4) + np.clip(rng.normal(118, 42), 25, 225)
    if rng.random() < 0.3:   # light from one side
        a, t = rng.uniform(0, 2 * np.pi), np.linspace(-1, 1, n, dtype=np.float32)
        f *= 1 + rng.uniform(0, 0.75) * (np.cos(a) * t[None] + np.sin(a) * t[:, None])
    if rng.random() < 0.3:
        f = 255 * (np.clip(f, 0, 255) / 255) ** rng.uniform(0.5, 2.0)
    if rng.random() < 0.07:   # a dark room: little light, much noise
        f = f * rng.uniform(0.12, 0.4) + rng.standard_normal(f.shape, dtype=np.float32) * rng.uniform(2, 7)
    elif rng.random() < 0.5:
        f += rng.standard_normal(f.shape, dtype=np.float32) * rng.uniform(1, 12)
    g = np.clip(f, 0, 255).astype(np.uint8)
    if rng.random() < 0.12:
        g = cv2.imdecode(cv2.imencode(".jpg", g, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 80))])[1],
                         cv2.IMREAD_GRAYSCALE)
    return g


def fit(g: np.ndarray, size: int) -> np.ndarray:
    if g.shape[0] == size:
        return g
    return cv2.resize(g, (size, size), interpolation=cv2.INTER_LINEAR if g.shape[0] < size else cv2.INTER_AREA)


def cover(g: np.ndarray, marks: np.ndarray | None, grounds: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Draws something in front of a face (`marks` are its landmarks in pixels of `g`), or
    anywhere without a face. Changes `g`; returns the mask of the hidden pixels."""
    n = g.shape[0]
    mask = np.zeros((n, n), np.uint8)
    kind = rng.choice(["patch", "hand", "microphone", "dark_glasses", "mask"], p=[.35, .25, .15, .15, .1])
    if marks is None and kind in ("dark_glasses", "mask"):
        kind = "patch"
    at = rng.uniform(0.15, 0.85, 2) * n if marks is None else marks[rng.choice([1, 4, 8, 9, 10, 12, 13])]
    gray = float(rng.integers(10, 240))
    if kind == "patch":
        w, h = rng.uniform(0.12, 0.45, 2) * n
        if rng.random() < 0.5:
            cv2.ellipse(mask, (tuple(map(float, at)), (w, h), float(rng.uniform(0, 180))), 255, -1)
        else:
            x, y = (at - [w / 2, h / 2]).astype(int)
            cv2.rectangle(mask, (x, y), (x + int(w), y + int(h)), 255, -1)
    elif kind == "hand":
        gray = float(np.median(g)) * rng.uniform(0.7, 1.3)
        width, angle = rng.uniform(0.08, 0.13) * n, rng.uniform(0, 2 * np.pi)
        along = np.array([np.cos(angle), np.sin(angle)])
        across = np.array([-along[1], along[0]])
        cv2.ellipse(mask, (tuple(map(float, at + along * 2.5 * width)), (4.4 * width, 4.6 * width), 0.0), 255, -1)
        for k in range(4):   # fingers
            base = at + across * (k - 1.5) * width * 1.05 + along * width
            tip = base - along * width * rng.uniform(1.5, 3.5)
            cv2.line(mask, tuple(int(v) for v in base), tuple(int(v) for v in tip), 255, max(1, int(width * 0.9)))
    elif kind == "microphone":
        at = at if marks is None else marks[[11, 12]].mean(axis=0) + [rng.normal(0, 0.06) * n, 0.08 * n]
        gray = float(rng.integers(5, 90))
        r = rng.uniform(0.06, 0.14) * n
        cv2.circle(mask, tuple(int(v) for v in at), int(r), 255, -1)
        end = at + np.array([rng.normal(0, 0.3), 1.0]) * n
        cv2.line(mask, tuple(int(v) for v in at), tuple(int(v) for v in end), 255, max(1, int(r * rng.uniform(0.5, 1))))
    elif kind == "dark_glasses":
        gray = float(rng.integers(0, 70))
        right, left = marks[RIGHT_EYE].mean(axis=0), marks[LEFT_EYE].mean(axis=0)
        apart, turn = left - right, np.degrees(np.arctan2(*(left - right)[::-1]))
        reach = max(float(np.linalg.norm(apart)), 0.15 * n)
        for eye in (right, left):
            cv2.ellipse(mask, (tuple(map(float, eye + [0, 0.04 * reach])), (0.85 * reach, rng.uniform(0.45, 0.75) * reach),
                               float(turn)), 255, -1)
        cv2.line(mask, tuple(int(v) for v in right), tuple(int(v) for v in left), 255, max(1, int(0.08 * reach)))
    else:   # a mask over mouth and nose
        nose, chin = marks[8], marks[13]
        middle, half = (nose + chin) / 2, rng.uniform(0.28, 0.42) * n
        cv2.ellipse(mask, (tuple(map(float, middle + [0, 0.05 * n])), (2 * half, float(np.linalg.norm(chin - nose)) * 1.5), 0.0),
                    255, -1)
    if kind == "patch" and rng.random() < 0.6:
        paint = fit(grounds[rng.integers(len(grounds))], n)
    else:
        slope = rng.normal(0, 12, 2)
        t = np.linspace(-1, 1, n)
        paint = np.clip(gray + slope[0] * t[None] + slope[1] * t[:, None], 0, 255).astype(np.uint8)
    g[mask > 0] = paint[mask > 0]
    return mask


def pixels_drawn(rng: np.random.Generator, known: float, least: float = SMALLEST) -> float:
    """Side of the box as a camera sees it: not much more than in the stored picture."""
    px = float(np.exp(rng.uniform(np.log(least), np.log(LARGEST))))
    return min(px, max(1.2 * known, least))


class FaceBatches:
    """Batches for the face net: faces, windows without a face, windows beside a face."""

    def __init__(self, faces: Samples, weights: np.ndarray, windows: np.ndarray, grounds: np.ndarray, seed: int):
        self.faces, self.rng = faces, np.random.default_rng(seed)
        self.pictures, self.windows, self.grounds = Pictures(faces.image), Pictures(windows), grounds
        self.ground_pictures = Pictures(grounds)
        self.reach = np.cumsum(weights / weights.sum())

    def one(self, kind: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """The picture, the targets in the order of the heads, and which of these count."""
        rng = self.rng
        mirror = bool(rng.random() < 0.5)
        target, counts = np.zeros(39, np.float32), np.zeros(39, np.float32)
        counts[0] = 1
        if kind in ("window", "ground"):
            pictures = self.windows if kind == "window" else self.ground_pictures
            i = int(rng.integers(len(pictures.whole)))
            n = max(16, int(pixels_drawn(rng, 80.0) * FACE_SCALE))
            if kind == "window":
                centre, side = CANVAS / 2 + rng.normal(0, 0.06, 2) * BOX, BOX * FACE_SCALE * rng.uniform(0.82, 1.25)
            else:
                side = rng.uniform(30, 150)
                centre = rng.uniform(side / 2, CANVAS - side / 2, 2)
            g = pictures.crop(i, centre, side, rng.normal(0, 8), n, mirror)
            if rng.random() < 0.15:
                cover(g, None, self.grounds, rng)
            return fit(photograph(g, rng), FACE_SIDE), target, counts
        faces = self.faces
        i = min(int(np.searchsorted(self.reach, rng.random())), len(faces) - 1)
        turn = rng.normal(0, 7) if rng.random() < 0.8 else rng.uniform(-35, 35)
        if kind == "face":
            scale, shift = np.exp(rng.normal(0, 0.09)), rng.normal(0, 0.055, 2)
        elif rng.random() < 0.5:   # a window on a part of the face, or a much larger one
            scale = rng.uniform(0.22, 0.6) if rng.random() < 0.7 else rng.uniform(1.5, 2.2)
            shift = rng.uniform(-0.4, 0.4, 2)
        else:                      # a window beside the face
            a, d = rng.uniform(0, 2 * np.pi), rng.uniform(0.2, 0.9)
            scale, shift = rng.uniform(0.6, 1.4), d * np.array([np.cos(a), np.sin(a)])
        centre, side = CANVAS / 2 + shift * BOX, BOX * FACE_SCALE * scale
        n = max(16, int(pixels_drawn(rng, faces.pixels[i]) * FACE_SCALE))
        g = self.pictures.crop(i, centre, side, turn, n, mirror)
        m = to_square(centre, side, turn, n, mirror)
        marks = moved(faces.landmarks[i], m)
        pose, visible = faces.pose[i] - [0, 0, turn], faces.visible[i]
        if mirror:
            marks, visible, pose = marks[MIRRORED], visible[::-1], pose * [-1, 1, -1]
        if rng.random() < 0.28:
            mask = cover(g, marks, self.grounds, rng)
            hidden = []
            for eye in (RIGHT_EYE, LEFT_EYE):
                x, y = np.clip(marks[eye].mean(axis=0), 0, n - 1).astype(int)
                hidden.append(mask[y, x] > 0)
            visible = np.where(hidden, 0.0, visible)
        window = np.array([*centre, side / FACE_SCALE])
        share = overlap(window, BOX_IN_CANVAS)
        target[0] = np.clip((share - NO_FACE) / (FACE - NO_FACE), 0, 1)
        box = moved(BOX_IN_CANVAS[None, :2], m)[0] / n
        target[1:] = [*visible, faces.jaw[i], faces.smile[i], *(pose / 45), *box, BOX / side, *(marks / n).ravel()]
        if share > 0.45:
            counts[1:] = 1
            counts[np.isnan(target)] = 0
            if faces.person[i] >= 0:   # the teacher has errors of degrees and pixels; a render's truth is exact
                counts[5:8] *= 0.35
                counts[11:] *= 0.5
        return fit(photograph(g, rng), FACE_SIDE), np.nan_to_num(target), counts

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        kinds = self.rng.choice(["face", "window", "ground", "beside"], size, p=[.66, .2, .04, .1])
        return tuple(np.stack(part) for part in zip(*(self.one(kind) for kind in kinds)))


class EyeBatches:
    """Batches for the eye net. Left eyes are mirrored, so every eye is a right eye."""

    def __init__(self, faces: Samples, grounds: np.ndarray, seed: int):
        self.faces, self.grounds, self.rng = faces, grounds, np.random.default_rng(seed)
        self.pictures = Pictures(faces.image)
        o, d = faces.openness, np.nan_to_num(faces.gaze_down)
        weight = 1.0 + 6 * (o < 0.25) + 2 * (o < 0.7) + 3 * (d > 0.3) + 4 * (np.abs(o - o[:, ::-1]) > 0.25)
        rendered = faces.person < 0
        # Renders have the truth where the teacher confuses lids and gaze; three
        # fifths of all eyes are from renders.
        weight = weight * np.where(np.isnan(o) & np.isnan(faces.gaze_down), 0, 1)
        if rendered.any() and not rendered.all():
            weight[rendered] *= 1.5 * weight[~rendered].sum() / weight[rendered].sum()
        self.reach = np.cumsum(weight.ravel() / weight.sum())

    def one(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        rng, faces = self.rng, self.faces
        i, eye = divmod(min(int(np.searchsorted(self.reach, rng.random())), self.reach.size - 1), 2)
        centre, side, turn = eye_squares(faces.landmarks[i], BOX)[eye]
        target = np.array([faces.openness[i, eye], faces.gaze_down[i, eye], 0], np.float32)
        hidden = faces.visible[i, eye] < 0.25
        elsewhere = rng.random() < 0.05
        if elsewhere:   # no eye at all: a cheek, a mouth, hair
            centre = centre + rng.choice([-1, 1], 2) * rng.uniform(0.6, 1.6, 2) * side
            others = [np.linalg.norm(centre - faces.landmarks[i][e].mean(axis=0)) for e in (RIGHT_EYE, LEFT_EYE)]
            elsewhere = min(others) > 0.5 * side
        if not elsewhere:
            centre = eye_squares(faces.landmarks[i], BOX)[eye][0] + rng.normal(0, 0.05, 2) * side
        side, turn = side * np.exp(rng.normal(0, 0.09)), turn + rng.normal(0, 5)
        n = max(8, int(pixels_drawn(rng, faces.pixels[i], SMALLEST_FOR_EYES) * side / BOX))
        g = self.pictures.crop(i, centre, side, turn, n, eye == 1)
        drawn = False
        if not elsewhere and rng.random() < 0.06:
            drawn = True
            if rng.random() < 0.5:
                mask = cover(g, None, self.grounds, rng)
                part = float((mask[n // 4:-n // 4, n // 5:-n // 5] > 0).mean())
                if part > 0.6:
                    target[2] = 1
                else:   # partly visible: the truth is unknown
                    target[:] = np.nan
            else:       # a dark lens
                g[:] = (g * rng.uniform(0, 0.12) + rng.integers(5, 70)).astype(np.uint8)
                target[2] = 1
        if elsewhere or hidden:
            target[2] = 1
        elif not drawn and np.isnan(faces.visible[i, eye]):
            target[2] = np.nan
        if target[2] == 1:
            target[:2] = np.nan
        counts = ~np.isnan(target)
        return fit(photograph(g, rng), EYE_SIDE), np.nan_to_num(target), counts.astype(np.float32)

    def batch(self, size: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return tuple(np.stack(part) for part in zip(*(self.one() for _ in range(size))))
