"""Figures of exported face and eye nets on people, photographs and renders that no training
uses. `prepare` makes the pictures once; `evaluate` runs the two files on them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Callable

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from ..model import MEAN, STD
from .augment import Pictures, cover
from .geometry import (BOX, CANVAS, EYE_SIDE, FACE_SCALE, FACE_SIDE, eye_squares, moved, overlap, to_square, warp)
from .negatives import Cascades, Photo, read
from .renders import POSED
from .samples import Samples
from .scenes import scene
from .teacher import Teacher

Heads = dict[str, np.ndarray]
Net = Callable[[np.ndarray], Heads]
SIZES = (100, 60, 40)               # pixels of a face's box at which eyes are evaluated
FACE_SIZES = (24, 32, 48, 64, 100)
THRESHOLDS = [k / 50 for k in range(1, 50)]
SHUT, OPEN = 0.2, 0.6               # true openness: below is shut, above is open
NEIGHBOURS = {"alt2": (0, 1, 3), "default": (0, 1, 5)}


def onnx_net(path: Path) -> Net:
    """ONNX Runtime without graph optimizations, one thread, one picture at a time."""
    import onnxruntime as ort

    if not path.exists():
        raise SystemExit(f"there is no {path}")
    options = ort.SessionOptions()
    options.graph_optimization_level = ort.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(pictures: np.ndarray) -> Heads:
        x = ((pictures.astype(np.float32) / np.float32(255) - np.float32(MEAN)) / np.float32(STD))[:, None]
        rows = [session.run(None, {"input": x[i:i + 1]}) for i in range(len(x))]
        return {name: np.concatenate([row[k] for row in rows]) for k, name in enumerate(names)}
    return run


def torch_net(path: Path, name: str) -> Net:
    """The float network that the file was made from."""
    import torch

    from .nets import UNITS, split
    from .train import load, to_input

    net = load(path, name)

    def run(pictures: np.ndarray) -> Heads:
        with torch.no_grad():
            y = torch.cat([net(to_input(pictures[i:i + 128])) for i in range(0, len(pictures), 128)])
        return {head: (part * UNITS.get(head, 1.0)).numpy() for head, part in split(name, y).items()}
    return run


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def auc(positive: np.ndarray, negative: np.ndarray) -> float:
    """Share of pairs in which the positive one has the larger value."""
    order = np.sort(negative)
    below = np.searchsorted(order, positive, "left") + np.searchsorted(order, positive, "right")
    return float(below.mean() / (2 * len(negative)))


def upright_crop(gray: np.ndarray, box: np.ndarray) -> np.ndarray:
    """The face net's picture of a box, resized as the daemon does; edges are repeated."""
    side = box[2] * FACE_SCALE
    left, top = box[:2] - side / 2
    margin = int(np.ceil(max(0, -left, -top, left + side - gray.shape[1], top + side - gray.shape[0])))
    if margin:
        gray = cv2.copyMakeBorder(gray, *[margin] * 4, cv2.BORDER_REPLICATE)
    area = left + margin, top + margin, left + margin + side, top + margin + side
    return np.asarray(Image.fromarray(gray).resize((FACE_SIDE, FACE_SIDE), Image.BILINEAR, box=area))


# --- pictures for the evaluation -------------------------------------------------

def prepare_windows(photos: list[Photo], data: Path, rooms: int, out: Path) -> None:
    """Windows that the two cascades find in photographs kept apart, and in drawn rooms.
    Photographs in which the teacher sees a face are left out."""
    teacher, cascades, crops, rows, used = Teacher(data), Cascades(), [], [], {"photographs": 0, "rooms": 0}

    def take(gray: np.ndarray, kind: str, name: str) -> None:
        for cascade in cascades.of:
            raw = cascades.of[cascade].detectMultiScale(gray, 1.1, 0, minSize=(24, 24))
            for neighbours in NEIGHBOURS[cascade]:
                found = list(raw) if neighbours == 0 else list(cv2.groupRectangles([list(map(int, r)) for r in raw], neighbours, 0.2)[0])
                rng = np.random.default_rng(len(found))
                found = [found[k] for k in rng.permutation(len(found))[:12]]   # so that no picture outweighs the others
                for x, y, w, _ in found:
                    crops.append(upright_crop(gray, np.array([x + w / 2, y + w / 2, w], np.float32)))
                    rows.append([kind, name, cascade, neighbours, float(w)])
        used[kind] += 1

    for photo in tqdm(photos, desc="photographs kept apart", mininterval=20):
        gray = read(photo.path)
        if gray is not None and teacher.look(gray) is None:
            take(gray, "photographs", photo.path.name)
    for seed in tqdm(range(rooms), desc="rooms", mininterval=20):
        take(scene(np.random.default_rng([seed, 1])), "rooms", str(seed))
    np.savez(out, image=np.stack(crops), rows=np.array(json.dumps({"rows": rows, "used": used})))
    print(f"{out}: {len(crops)} windows, {used}")


def prepare_faces(faces: Samples, photos: list[Photo], out: Path, count: int, seed: int = 5) -> None:
    """Faces of people kept apart, turned and partly covered, pasted into photographs kept
    apart and boxed by the cascades: first alt2, then default."""
    rng, cascades = np.random.default_rng(seed), Cascades()
    crops, rows, lost = [], [], 0
    usable = [g for g in (read(p.path) for p in photos[:120]) if g is not None and min(g.shape) > 200]
    for k in tqdm(range(count), desc="pasted faces", mininterval=20):
        i, px = int(rng.integers(len(faces))), FACE_SIZES[k % len(FACE_SIZES)]
        canvas = faces.image[i].copy()
        marks = faces.landmarks[i].copy()
        covered = rng.random() < 0.3
        if covered:
            cover(canvas, marks, np.stack([cv2.resize(usable[0], (CANVAS, CANVAS))]), rng)
        side = int(px * CANVAS / BOX)
        m = to_square(np.full(2, CANVAS / 2), CANVAS, rng.normal(0, 6), side)
        m[:, :2] = m[:, :2] @ (np.eye(2) + rng.normal(0, 0.03, (2, 2)))   # sheared and stretched a little
        m[:, 2] = side / 2 - m[:, :2] @ np.full(2, CANVAS / 2)
        small = warp(canvas, m, side)
        ground = usable[int(rng.integers(len(usable)))]
        y, x = (int(rng.integers(0, n - side + 1)) for n in ground.shape) if min(ground.shape) > side else (0, 0)
        scenery = ground.copy() if min(ground.shape) > side else cv2.resize(ground, (2 * side, 2 * side))
        t = np.hypot(*np.meshgrid(*[np.linspace(-1, 1, side)] * 2))
        alpha = np.clip((1.0 - t) / 0.15, 0, 1)   # a disc with a soft edge
        part = scenery[y:y + side, x:x + side]
        part[:] = np.clip(small * alpha + part * (1 - alpha), 0, 255).astype(np.uint8)
        noisy = scenery.astype(np.float32) * rng.uniform(0.6, 1.1) + rng.normal(0, rng.uniform(1, 5), scenery.shape)
        scenery = np.clip(noisy, 0, 255).astype(np.uint8)
        true = np.array([x + side / 2, y + side / 2, px])
        around = [max(0, y - side), max(0, x - side)]
        view = scenery[around[0]:y + 2 * side, around[1]:x + 2 * side]
        found = None
        for name in cascades.of:
            boxes = cascades.boxes(view, name, 1, 20) + [around[1], around[0], 0]
            if len(boxes):
                best = max(boxes, key=lambda b: overlap(b, true))
                if overlap(best, true) > 0.4:
                    found = best
                    break
        if found is None:
            lost += 1
            continue
        crops.append(upright_crop(scenery, found))
        rows.append([px, bool(covered)])
    np.savez(out, image=np.stack(crops), px=np.array([r[0] for r in rows]), covered=np.array([r[1] for r in rows]))
    print(f"{out}: {len(crops)} faces, {lost} that neither cascade finds")


# --- one face through both nets ---------------------------------------------------

def frames(samples: Samples, px: int, seed: int = 9) -> tuple[list[np.ndarray], np.ndarray, list[np.ndarray]]:
    """Each face as a camera would see it with a box of `px` pixels: the frame, a box that a
    detector might give, and the true places of the landmarks."""
    rng = np.random.default_rng([seed, px])
    out, boxes, marks = [], [], []
    side = int(round(px * CANVAS / BOX))
    m = to_square(np.full(2, CANVAS / 2), CANVAS, 0, side)
    for i in range(len(samples)):
        g = warp(samples.image[i], m, side).astype(np.float32) + rng.normal(0, 2, (side, side))
        out.append(np.clip(g, 0, 255).astype(np.uint8))
        boxes.append([*(side / 2 + rng.normal(0, 0.04, 2) * px), px * np.exp(rng.normal(0, 0.06))])
        marks.append(moved(samples.landmarks[i], m))
    return out, np.array(boxes), marks


def observe(pictures: list[np.ndarray], boxes: np.ndarray, face: Net, eye: Net) -> Heads:
    """What the daemon would measure: landmarks in pixels of each picture; right eye, then left."""
    y = face(np.stack([upright_crop(g, b) for g, b in zip(pictures, boxes)]))
    sides = boxes[:, 2] * FACE_SCALE
    corner = boxes[:, :2] - sides[:, None] / 2
    marks = y["landmarks"].reshape(len(boxes), -1, 2) * sides[:, None, None] + corner[:, None]
    crops = []
    for g, mark, box_side in zip(pictures, marks, y["box"][:, 2] * sides):
        for k, (centre, side, turn) in enumerate(eye_squares(mark, max(float(box_side), 8.0))):
            crops.append(warp(g, to_square(centre, side, turn, EYE_SIDE, k == 1), EYE_SIDE))
    e = eye(np.stack(crops))
    return {**y, "landmarks": marks, **{name: sigmoid(v.reshape(-1, 2)) for name, v in e.items()}}


# --- figures ----------------------------------------------------------------------

def presence_figures(face: Net, folder: Path, renders: Samples) -> dict:
    result: dict = {"refused": {}, "kept": {}}
    with np.load(folder / "windows.npz") as stored:
        said = json.loads(str(stored["rows"]))
        p = sigmoid(face(stored["image"])["presence"][:, 0])
    kinds = np.array([[r[0], r[2], str(r[3])] for r in said["rows"]])
    result["pictures"] = said["used"]
    with np.load(folder / "faces.npz") as stored:
        q, px, covered = sigmoid(face(stored["image"])["presence"][:, 0]), stored["px"], stored["covered"]
    pose = abs(renders.pose)
    seen = (pose[:, 0] <= 60) & (pose[:, 1] <= 40)
    rq = []
    for size in (100, 48, 24):
        pictures, boxes, _ = frames(renders[seen], size)
        rq.append(sigmoid(face(np.stack([upright_crop(g, b) for g, b in zip(pictures, boxes)]))["presence"][:, 0]))
    result["curve"] = {}
    for t in (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9):
        result["curve"][t] = {"refused": float((p < t).mean()), "people": float((q >= t).mean()),
                              "renders": float(np.mean([(r >= t).mean() for r in rq]))}
    # By fiftieths, for the plot.
    result["by threshold"] = {"windows refused": [float((p < t).mean()) for t in THRESHOLDS],
                              "people kept": [float((q >= t).mean()) for t in THRESHOLDS],
                              "renders kept": [float(np.mean([(r >= t).mean() for r in rq])) for t in THRESHOLDS]}
    for t in (0.5, 0.8):
        for kind in ("photographs", "rooms"):
            for cascade, counts in NEIGHBOURS.items():
                for n in counts:
                    rows = (kinds == [kind, cascade, str(n)]).all(axis=1)
                    if rows.any():
                        result["refused"][f"{kind}, {cascade}, {n} neighbours, at {t}"] = [float((p[rows] < t).mean()), int(rows.sum())]
        for size in FACE_SIZES:
            result["kept"][f"people {size} px at {t}"] = [float((q[px == size] >= t).mean()), int((px == size).sum())]
        for name, rows in (("covered", covered), ("bare", ~covered)):
            result["kept"][f"people {name} at {t}"] = [float((q[rows] >= t).mean()), int(rows.sum())]
        for size, r in zip((100, 48, 24), rq):
            result["kept"][f"renders {size} px at {t}"] = [float((r >= t).mean()), len(r)]
    return result


def geometry_figures(face: Net, eye: Net, renders: Samples) -> dict:
    result = {}
    for px in SIZES:
        pictures, boxes, marks = frames(renders, px)
        y = observe(pictures, boxes, face, eye)
        error, part = abs(y["pose"] - renders.pose), {}
        for k, name in enumerate(("yaw", "pitch", "roll")):
            size = abs(renders.pose[:, k])
            for label, rows in (("to 30", size <= 30), ("30 to 60", (size > 30) & (size <= 60))):
                if rows.any():
                    part[f"{name} {label}"] = float(error[rows, k].mean())
        true = np.stack(marks)
        apart = np.linalg.norm(true[:, :2].mean(axis=1) - true[:, 4:6].mean(axis=1), axis=1)
        # Relative to the eyes' distance of a frontal face, which turning does
        # not shorten.
        apart = np.maximum(apart, px / 2.6)
        miss = np.linalg.norm(y["landmarks"] - true, axis=2) / apart[:, None]
        near = abs(renders.pose[:, 0]) <= 30
        part["landmarks to 30"], part["landmarks beyond"] = float(miss[near].mean()), float(miss[~near].mean())
        part["jaw"] = float(abs(sigmoid(y["jaw"][:, 0]) - renders.jaw).mean())
        clear = near & (renders.visible.min(axis=1) > 0.9)
        o, truth = y["openness"][clear].ravel(), renders.openness[clear].ravel()
        down = renders.gaze_down[clear].ravel()
        part["openness error"] = float(abs(o - truth).mean())
        part["shut or open AUC"] = auc(-o[(truth < SHUT)], -o[(truth > OPEN) & (down < 0.3)])
        result[px] = part
    return result


def eye_figures(face: Net, eye: Net, sets: dict[str, Samples]) -> dict:
    result = {}
    for px in SIZES:
        o, d = {}, {}
        for name, samples in sets.items():
            pictures, boxes, _ = frames(samples, px)
            y = observe(pictures, boxes, face, eye)
            o[name], d[name] = y["openness"], y["gaze_down"]
        result[px] = {
            "shut or open AUC": auc(-o["shut"].ravel(), -o["open"].ravel()),
            # render.py's pair is (left, right): the person's left eye is shut
            "wink difference": float((o["wink"][:, 0] - o["wink"][:, 1]).mean()),
            "wink, the right side": float((o["wink"][:, 0] > o["wink"][:, 1]).mean()),
            "down 20 read below 0.3": float((o["down20"] < 0.3).mean()),
            "down 30 against shut, gaze_down AUC": auc(d["down30"].ravel(), d["shut"].ravel()),
            "smiles read below 0.2": float((o["smile"] < SHUT).mean()),
            "shut read below 0.3": float((o["shut"] < 0.3).mean()),
            "open, mean": float(o["open"].mean()),
        }
    return result


def teacher_figures(face: Net, eye: Net, samples: Samples) -> dict:
    """Real faces of people kept apart, against the teacher's labels."""
    result = {}
    for px in SIZES:
        pictures, boxes, marks = frames(samples, px)
        y = observe(pictures, boxes, face, eye)
        truth = samples.openness.ravel()
        o = y["openness"].ravel()
        error = abs(y["pose"] - samples.pose).mean(axis=0)
        true = np.stack(marks)
        apart = np.linalg.norm(true[:, :2].mean(axis=1) - true[:, 4:6].mean(axis=1), axis=1)
        miss = np.linalg.norm(y["landmarks"] - true, axis=2) / np.maximum(apart, px / 2.6)[:, None]
        result[px] = {"shut": int((truth < SHUT).sum()), "open": int((truth > OPEN).sum()),
                      "shut or open AUC": auc(-o[truth < SHUT], -o[truth > OPEN]) if (truth < SHUT).any() else None,
                      "jaw AUC": auc(y["jaw"][samples.jaw > 0.3, 0], y["jaw"][samples.jaw < 0.1, 0]),
                      "yaw": float(error[0]), "pitch": float(error[1]), "roll": float(error[2]),
                      "landmarks": float(miss.mean()), "presence below 0.5": float((y["presence"] < 0).mean())}
    return result


def looked_at_figures(face: Net, eye: Net, run: Path) -> dict:
    """Eyes of people kept apart. A person looked at each and called it shut or open, without
    knowing the teacher's label; unclear ones were left out. looked_at.csv names them by the rows
    of the files that `label` makes with its defaults."""
    with open(Path(__file__).with_name("looked_at.csv"), newline="") as file:
        marked = list(csv.DictReader(file))
    result: dict = {}
    parts = {source: Samples.open(run / f"{source}.npz") for source in ("muxspace", "fer2013")}
    for px in SIZES:
        values, said, shut = [], [], []
        for source, samples in parts.items():
            rows = [m for m in marked if m["source"] == source]
            index = np.array([int(m["row"]) for m in rows])
            side = np.array([m["eye"] == "left" for m in rows], int)
            pictures, boxes, _ = frames(samples[index], px)
            y = observe(pictures, boxes, face, eye)
            values.append(y["openness"][np.arange(len(rows)), side])
            said.append(samples.openness[index, side])
            shut.append(np.array([m["shut"] == "1" for m in rows]))
        o, t, is_shut = np.concatenate(values), np.concatenate(said), np.concatenate(shut)
        known = ~np.isnan(t)
        result[px] = {"shut": int(is_shut.sum()), "open": int((~is_shut).sum()), "AUC": auc(-o[is_shut], -o[~is_shut]),
                      "shut read below 0.3": float((o[is_shut] < 0.3).mean()), "open read below 0.3": float((o[~is_shut] < 0.3).mean()),
                      "AUC where the teacher says something": auc(-o[is_shut & known], -o[~is_shut & known]),
                      "AUC of the teacher": auc(-t[is_shut & known], -t[~is_shut & known])}
    return result


def evaluate(face: Net, eye: Net, run: Path, most: int = 300) -> dict:
    renders = [Samples.open(p) for p in sorted(run.glob("renders*.npz"))]
    renders = Samples.join([r[r.held_out] for r in renders])
    result = {"presence": presence_figures(face, run / "test", renders),
              "renders": geometry_figures(face, eye, renders),
              "eyes": eye_figures(face, eye, {name: Samples.open(run / "posed" / f"{name}.npz") for name in POSED})}
    result["looked at"] = looked_at_figures(face, eye, run)
    for name in ("muxspace", "fer2013"):
        samples = Samples.open(run / f"{name}.npz")
        samples = samples[samples.held_out]
        # All shut eyes, and others up to `most`.
        shut = np.flatnonzero((samples.openness < SHUT).any(axis=1))
        rest = np.setdiff1d(np.arange(len(samples)), shut)
        rows = np.concatenate([shut[:most // 2], rest[np.random.default_rng(1).permutation(len(rest))[:most]]])
        result[name] = teacher_figures(face, eye, samples[rows])
    return result


def write_figures(net: str, path: Path, result: dict) -> None:
    """Replaces the manifest's [measured] table with the main figures."""
    head, _, _ = path.read_text().partition("[measured]\n")
    sixty = {name: result[name][60] for name in ("renders", "eyes", "muxspace", "fer2013")}
    lines = ['on = "people, photographs and renders kept apart, at 60 pixels of face; ONNX Runtime, graph optimizations off"',
             'command = "scripts/train face evaluate --write-manifests"']
    if net == "face":
        for t in (0.5, 0.8):
            at = result["presence"]["curve"][t]
            lines += [f"at_{int(100 * t)}_windows_refused = {at['refused']:.4f}",
                      f"at_{int(100 * t)}_people_kept = {at['people']:.4f}", f"at_{int(100 * t)}_renders_kept = {at['renders']:.4f}"]
        names = ("yaw to 30", "pitch to 30", "roll to 30", "landmarks to 30")
        lines += [f"renders_{name.replace(' ', '_')} = {sixty['renders'][name]:.4f}" for name in names]
    else:
        lines += [f"renders_shut_or_open_auc = {sixty['eyes']['shut or open AUC']:.4f}",
                  f"muxspace_shut_or_open_auc = {sixty['muxspace']['shut or open AUC']:.4f}",
                  f"fer2013_shut_or_open_auc = {sixty['fer2013']['shut or open AUC']:.4f}",
                  f"renders_openness_error = {sixty['renders']['openness error']:.4f}",
                  f"renders_wink_difference = {sixty['eyes']['wink difference']:.4f}"]
    path.write_text(head + "[measured]\n" + "\n".join(lines) + "\n")


PLOT = {"windows refused": "#c0392b", "people kept": "#2471a3", "renders kept": "#1e8449"}


def plot(shares: dict[str, list[float]], path: Path) -> None:
    """The shares by presence threshold as SVG, from 90% up, where they differ."""
    width, height, left, top, low = 560, 320, 60, 20, 0.9
    across = lambda t: left + t * (width - left - 20)
    down = lambda share: top + (1 - max(share, low)) / (1 - low) * (height - top - 50)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="13">',
           f'<rect width="{width}" height="{height}" fill="white"/>']
    for k in range(11):
        share = low + (1 - low) * k / 10
        y = down(share)
        out.append(f'<path d="M{left} {y:.1f}H{width - 20}" stroke="#ddd"/>')
        if k % 2 == 0:
            out.append(f'<text x="{left - 8}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f}%</text>')
    for k in range(0, 11, 2):
        out.append(f'<text x="{across(k / 10):.1f}" y="{height - 32}" text-anchor="middle">{k / 10}</text>')
    out.append(f'<text x="{(left + width - 20) / 2:.0f}" y="{height - 10}" text-anchor="middle">presence threshold</text>')
    for t, name in ((0.8, "presence"), (0.5, "presence_keep")):
        out.append(f'<path d="M{across(t):.1f} {top}V{down(low):.1f}" stroke="#888" stroke-dasharray="4 3"/>'
                   f'<text x="{across(t) + 4:.1f}" y="{down(low) - 6:.1f}" fill="#555">{name}</text>')
    for k, (name, color) in enumerate(PLOT.items()):
        points = " ".join(f"{across(t):.1f},{down(share):.1f}" for t, share in zip(THRESHOLDS, shares[name]) if share >= low)
        out.append(f'<polyline points="{points}" fill="none" stroke="{color}" stroke-width="2"/>'
                   f'<text x="{left + 14}" y="{down(0.935) + 18 * k:.1f}" fill="{color}">{name}</text>')
    path.write_text("\n".join([*out, "</svg>"]) + "\n")


def show(result: dict, indent: str = "") -> None:
    for name, value in result.items():
        if isinstance(value, dict):
            print(f"{indent}{name}")
            show(value, indent + "  ")
        else:
            numbers = value if isinstance(value, list) else [value]
            print(f"{indent}{name}: " + ", ".join("-" if n is None else f"{n:.4g}" for n in numbers))
