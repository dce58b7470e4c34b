#!/usr/bin/env python3
"""Writes tilted.xml and lbp.xml beside this file, for tests/stages/detect.rs.

Invented cascades with parts that the shipped ones lack: tilted features, features
of three weighted rectangles, weak classifiers of two nodes, an oblong window,
and local binary patterns. Thresholds and subsets are chosen on scene.png so that
each stage passes some part of the windows. OpenCV's results with them are in
opencv-other.json:

    python3 tests/data/detect/make_cascades.py
    scripts/compare-opencv tests/data --record tests/data/detect/opencv-other.json \\
        --cascades tests/data/detect/tilted.xml,tests/data/detect/lbp.xml \\
        --only 'detect/*.png' --scale-factors 1.4 --min-neighbors 0,2 --min-sizes 20 --max-sizes 40

Needs numpy and opencv-python-headless (to read the picture).
"""

import pathlib

import cv2
import numpy as np

HERE = pathlib.Path(__file__).parent
WIDTH, HEIGHT = 14, 12
rng = np.random.default_rng(3)
SCENE = cv2.imread(str(HERE / "scene.png"), cv2.IMREAD_GRAYSCALE)


def windows(count):
    """Windows of a shrunken scene that are not too plain."""
    small = cv2.resize(SCENE, None, fx=0.4, fy=0.4, interpolation=cv2.INTER_AREA).astype(np.int64)
    found = []
    while len(found) < count:
        y, x = rng.integers(small.shape[0] - HEIGHT), rng.integers(small.shape[1] - WIDTH)
        window = small[y : y + HEIGHT, x : x + WIDTH]
        if window[1:-1, 1:-1].std() > 12:
            found.append(window)
    return found


def covered(rect, tilted):
    """The pixels of a rectangle, or of one that is turned by 45 degrees."""
    x, y, w, h = rect
    mask = np.zeros((HEIGHT, WIDTH), np.int64)
    if not tilted:
        mask[y : y + h, x : x + w] = 1
        return mask
    # Differences of triangles that open upwards, as the integral image has them.
    for sign, (cx, cy) in [(1, (x, y)), (-1, (x - h, y + h)), (-1, (x + w, y + w)), (1, (x + w - h, y + w + h))]:
        for py in range(HEIGHT):
            for px in range(WIDTH):
                mask[py, px] += sign * (py < cy and abs(px - cx + 0.5) < cy - py)
    return mask


def feature():
    tilted = rng.random() < 0.5
    while True:
        w, h = rng.integers(1, 5, 2)
        x, y = rng.integers(0, WIDTH), rng.integers(0, HEIGHT)
        if tilted:
            whole, parts = (x, y, 2 * w, h), [(x, y, w, h)]
            fits = x >= h and x + 2 * w <= WIDTH and y + 2 * w + h <= HEIGHT
        elif rng.random() < 0.5:
            whole, parts = (x, y, 2 * w, 2 * h), [(x, y, w, h), (x + w, y + h, w, h)]
            fits = x + 2 * w <= WIDTH and y + 2 * h <= HEIGHT
        else:
            whole, parts = (x, y, 3 * w, h), [(x + w, y, w, h)]
            fits = x + 3 * w <= WIDTH and y + h <= HEIGHT
        if fits:
            break
    weight = 3.0 if whole[2] == 3 * w else 2.0
    return {"tilted": tilted, "rects": [(whole, -1.0)] + [(part, weight) for part in parts]}


def value(item, window):
    inner = window[1:-1, 1:-1]
    norm = inner.size * inner.std()
    return sum(weight * (covered(rect, item["tilted"]) * window).sum() for rect, weight in item["rects"]) / norm


def text(numbers):
    return " ".join(f"{n:.8g}" if isinstance(n, float) else str(int(n)) for n in numbers)


def cascade(kind, categories, stages, features):
    weak = max(len(trees) for _, trees in stages)
    xml = ['<?xml version="1.0"?>', "<opencv_storage>", '<cascade type_id="opencv-cascade-classifier">']
    xml += ["<stageType>BOOST</stageType>", f"<featureType>{kind}</featureType>"]
    xml += [f"<height>{HEIGHT}</height>", f"<width>{WIDTH}</width>"]
    xml += [f"<stageParams><maxWeakCount>{weak}</maxWeakCount></stageParams>"]
    xml += [f"<featureParams><maxCatCount>{categories}</maxCatCount></featureParams>"]
    xml += [f"<stageNum>{len(stages)}</stageNum>", "<stages>"]
    for threshold, trees in stages:
        xml += [f"<_><maxWeakCount>{len(trees)}</maxWeakCount>", f"<stageThreshold>{threshold:.8g}</stageThreshold>"]
        xml += ["<weakClassifiers>"]
        for nodes, leaves in trees:
            xml += [f"<_><internalNodes>{text(nodes)}</internalNodes><leafValues>{text(leaves)}</leafValues></_>"]
        xml += ["</weakClassifiers></_>"]
    return "\n".join(xml + ["</stages>", "<features>"] + features + ["</features>", "</cascade>", "</opencv_storage>", ""])


def tilted():
    sample = windows(400)
    features = [feature() for _ in range(24)]
    values = np.array([[value(item, window) for window in sample] for item in features])
    stages = []
    for count in (3, 5, 6):
        trees, votes = [], np.zeros(len(sample))
        for _ in range(count):
            first, second = rng.choice(len(features), 2, replace=False)
            a, b = (float(np.float32(np.median(values[index]))) for index in (first, second))
            leaves = [float(np.float32(v)) for v in rng.normal(size=3)]
            # Below the first threshold the second node decides; otherwise the
            # last leaf is the result.
            trees.append(([1, -2, first, a, 0, -1, second, b], leaves))
            votes += np.where(values[first] < a, np.where(values[second] < b, leaves[0], leaves[1]), leaves[2])
        stages.append((float(np.quantile(votes, 0.5)), trees))
    lines = []
    for item in features:
        rects = "".join(f"<_>{text(rect)} {weight:.1f}</_>" for rect, weight in item["rects"])
        lines.append(f"<_><rects>{rects}</rects><tilted>{int(item['tilted'])}</tilted></_>")
    return cascade("HAAR", 0, stages, lines)


def lbp():
    features = []
    while len(features) < 16:
        w, h = rng.integers(1, 5, 2)
        if 3 * w <= WIDTH and 3 * h <= HEIGHT:
            features.append((rng.integers(WIDTH - 3 * w + 1), rng.integers(HEIGHT - 3 * h + 1), w, h))
    stages = []
    for count in (4, 5, 6):
        trees = []
        for _ in range(count):
            subset = rng.integers(-(2**31), 2**31, 8)
            leaves = [float(np.float32(v)) for v in rng.normal(size=2)]
            trees.append(([0, -1, rng.integers(len(features)), *subset], leaves))
        stages.append((0.3 * sum(sum(leaves) / 2 for _, leaves in trees) + 0.3, trees))
    return cascade("LBP", 256, stages, [f"<_><rect>{text(item)}</rect></_>" for item in features])


(HERE / "tilted.xml").write_text(tilted())
(HERE / "lbp.xml").write_text(lbp())
