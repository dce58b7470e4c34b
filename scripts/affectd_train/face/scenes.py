"""Drawn scenes without people: rooms, shelves, desks and machines, because there are no
photographs of such scenes with a free licence. They contain things that cascades take for
faces: pairs of round things over a bar, drawers, sockets, books, windows, dials."""

from __future__ import annotations

import cv2
import numpy as np


def scene(rng: np.random.Generator, width: int = 640, height: int = 480) -> np.ndarray:
    """One gray picture, as a cheap camera would take it."""
    g = walls(rng, width, height)
    for _ in range(int(rng.integers(3, 8))):
        draw = (shelf, cupboard, machine, window, clutter, screen, plant)[int(rng.integers(7))]
        w, h = int(rng.integers(70, 260)), int(rng.integers(70, 260))
        x, y = int(rng.integers(-w // 4, width - w // 2)), int(rng.integers(-h // 4, height - h // 2))
        part = np.full((h, w), int(rng.integers(30, 220)), np.uint8)
        draw(part, rng)
        paste(g, part, x, y, rng)
    f = g.astype(np.float32)
    light = cv2.resize(rng.uniform(0.5, 1.25, (3, 4)).astype(np.float32), (width, height), interpolation=cv2.INTER_CUBIC)
    grain = cv2.GaussianBlur(rng.normal(0, 12, f.shape).astype(np.float32), (0, 0), rng.uniform(0.8, 3))
    f = cv2.GaussianBlur((f + grain) * light, (0, 0), rng.uniform(0.5, 1.4)) + rng.normal(0, rng.uniform(1, 5), f.shape)
    return np.clip(f, 0, 255).astype(np.uint8)


def shade(rng: np.random.Generator) -> int:
    return int(rng.integers(10, 245))


def walls(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """Ceiling, walls and a floor with boards, seen from a corner of the room."""
    g = np.full((height, width), shade(rng), np.uint8)
    horizon, corner = int(height * rng.uniform(0.5, 0.8)), int(width * rng.uniform(0.1, 0.9))
    tilt = int(height * rng.uniform(-0.1, 0.1))
    cv2.fillPoly(g, [np.array([[0, horizon + tilt], [corner, horizon - 40], [width, horizon + abs(tilt)], [width, height], [0, height]])],
                 shade(rng))
    cv2.fillPoly(g, [np.array([[0, 0], [corner, 0], [corner, horizon - 40], [0, horizon + tilt]])], shade(rng))
    for x in range(-width, 2 * width, int(rng.integers(30, 110))):
        cv2.line(g, (corner, horizon - 40), (x, height), shade(rng), 1, cv2.LINE_AA)
    return g


def paste(g: np.ndarray, part: np.ndarray, x: int, y: int, rng: np.random.Generator) -> None:
    """Puts `part` at a place, a little out of line, as seen from aside."""
    h, w = part.shape
    corners = np.float32([[0, 0], [w, 0], [w, h], [0, h]])
    to = corners + [x, y] + rng.normal(0, 0.05, (4, 2)) * [w, h]
    m = cv2.getPerspectiveTransform(corners, to.astype(np.float32))
    size = g.shape[1], g.shape[0]
    mask = cv2.warpPerspective(np.full_like(part, 255), m, size)
    drawn = cv2.warpPerspective(part, m, size, flags=cv2.INTER_AREA)
    g[mask > 127] = drawn[mask > 127]


def shelf(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    rows = int(rng.integers(2, 6))
    for row in range(rows):
        top, floor, x = row * h // rows, (row + 1) * h // rows - 3, 2
        while x < w - 6:
            thick, tall = int(rng.integers(4, 18)), int((floor - top) * rng.uniform(0.5, 0.95))
            if rng.random() < 0.85:
                tone = shade(rng)
                cv2.rectangle(g, (x, floor - tall), (x + thick, floor), tone, -1)
                cv2.line(g, (x, floor - tall), (x, floor), max(0, tone - 60), 1)
                for line in range(int(rng.integers(0, 4))):
                    at = floor - int(tall * rng.uniform(0.1, 0.9))
                    cv2.line(g, (x + 1, at), (x + thick - 1, at), 255 - tone, int(rng.integers(1, 3)))
            x += thick + 1
        cv2.rectangle(g, (0, floor), (w, floor + 3), shade(rng), -1)


def cupboard(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    rows, columns = int(rng.integers(1, 5)), int(rng.integers(1, 4))
    tone = shade(rng)
    for r in range(rows):
        for c in range(columns):
            x0, y0, x1, y1 = c * w // columns + 3, r * h // rows + 3, (c + 1) * w // columns - 3, (r + 1) * h // rows - 3
            cv2.rectangle(g, (x0, y0), (x1, y1), tone, -1)
            cv2.rectangle(g, (x0, y0), (x1, y1), max(0, tone - 70), 2)
            middle = (y0 + y1) // 2
            if rng.random() < 0.5:   # two knobs
                for x in (x0 + (x1 - x0) * 0.3, x0 + (x1 - x0) * 0.7):
                    cv2.circle(g, (int(x), middle), int(rng.integers(2, 7)), shade(rng), -1)
            else:
                cv2.rectangle(g, (x0 + (x1 - x0) // 3, middle), (x1 - (x1 - x0) // 3, middle + 4), shade(rng), -1)


def machine(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    for _ in range(int(rng.integers(2, 7))):
        x, y, r = int(rng.integers(0, w)), int(rng.integers(0, h)), int(rng.integers(5, 30))
        for dx in (0, int(r * rng.uniform(2.2, 3))) if rng.random() < 0.5 else (0,):   # dials, often in pairs
            cv2.circle(g, (x + dx, y), r, shade(rng), -1, cv2.LINE_AA)
            cv2.circle(g, (x + dx, y), int(r * rng.uniform(0.3, 0.8)), shade(rng), -1, cv2.LINE_AA)
            a = rng.uniform(0, 6.3)
            cv2.line(g, (x + dx, y), (int(x + dx + r * np.cos(a)), int(y + r * np.sin(a))), shade(rng), 2)
        if rng.random() < 0.6:   # and a slot below
            cv2.rectangle(g, (x, y + 2 * r), (x + 3 * r, y + 2 * r + r // 2 + 2), shade(rng), -1)
    for _ in range(int(rng.integers(0, 6))):   # vents
        x, y, n = int(rng.integers(0, w)), int(rng.integers(0, h)), int(rng.integers(3, 9))
        for k in range(n):
            cv2.line(g, (x, y + 4 * k), (x + 40, y + 4 * k), shade(rng), 1)


def window(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    g[:] = cv2.resize(rng.integers(120, 256, (4, 4)).astype(np.uint8), (w, h), interpolation=cv2.INTER_CUBIC)
    frame, bars = shade(rng), int(rng.integers(1, 4))
    for k in range(bars + 2):
        cv2.line(g, (k * w // (bars + 1), 0), (k * w // (bars + 1), h), frame, 5)
        cv2.line(g, (0, k * h // (bars + 1)), (w, k * h // (bars + 1)), frame, 5)


def clutter(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    for _ in range(int(rng.integers(8, 40))):
        x, y, a, b = int(rng.integers(0, w)), int(rng.integers(0, h)), int(rng.integers(3, 40)), int(rng.integers(3, 40))
        tone = shade(rng)
        if rng.random() < 0.5:
            cv2.ellipse(g, ((float(x), float(y)), (float(a), float(b)), float(rng.uniform(0, 180))), tone, -1)
        else:
            cv2.rectangle(g, (x, y), (x + a, y + b), tone, -1)
        if rng.random() < 0.4:
            cv2.ellipse(g, ((x + a / 4, float(y)), (a / 2 + 1, b / 3 + 1), 0.0), shade(rng), -1)


def screen(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    cv2.rectangle(g, (4, 4), (w - 5, h - 5), shade(rng), -1)
    tone = shade(rng)
    for y in range(14, h - 8, int(rng.integers(8, 16))):   # lines of text
        x = 10 + int(rng.integers(0, 3)) * 12
        while x < w * rng.uniform(0.4, 0.95):
            n = int(rng.integers(4, 30))
            cv2.line(g, (x, y), (min(x + n, w - 10), y), tone, 2)
            x += n + 5


def plant(g: np.ndarray, rng: np.random.Generator) -> None:
    h, w = g.shape
    for _ in range(int(rng.integers(20, 70))):
        a, n = rng.uniform(-np.pi, 0), rng.uniform(0.3, 0.9)
        tip = np.array([w / 2 + np.cos(a) * n * w / 2, h * 0.7 + np.sin(a) * n * h * 0.6])
        cv2.ellipse(g, ((float(tip[0]), float(tip[1])), (float(rng.uniform(6, 14)), float(rng.uniform(14, 40))),
                        float(np.degrees(a) + 90)), shade(rng), -1)
    cv2.rectangle(g, (w // 3, int(h * 0.7)), (2 * w // 3, h), shade(rng), -1)
