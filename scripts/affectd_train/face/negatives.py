"""Windows without a face: windows that frontal cascades find in pictures without people.

The pictures come from Debian's packages (photographs of animals and things,
desktop wallpapers, textures of games) and from the Python package scikit-image's
and scikit-learn's data, and are drawn (rooms, shelves, machines: scenes.py).
"""

from __future__ import annotations

import json
import subprocess
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from .geometry import BOX, CANVAS, overlap, to_square, warp
from .teacher import Teacher

# Debian packages, with the licences that debian/copyright of each names.
PACKAGES = {
    "tuxpaint-stamps-default": "GPL-2",
    "plasma-workspace-wallpapers": "GPL-2+",
    "gnome-backgrounds": "CC-BY-SA-3.0, CC-BY-SA-2.0, CC-BY-2.0",
    "mate-backgrounds": "CC-BY-SA-4.0, GPL-2+",
    "ukui-wallpapers": "CC-BY-SA-3.0",
    "lomiri-wallpapers-16.04": "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0",
    "lomiri-wallpapers-20.04": "CC-BY-4.0, CC-BY-SA-3.0, CC-BY-SA-4.0, CC0-1.0",
    "lxqt-themes": "CC-BY-SA-3.0, LGPL-2.1+, LGPL-3",
    "mypaint-data-extras": "CC0-1.0, CC-BY-3.0, GPL-2+ and others",
    "sway-backgrounds": "MIT-like, LGPL-2.1+",
    "hugin-data": "GPL-2+",
    "marble-data": "LGPL-2.1+, GPL-2+, CC0-1.0 and others",
    "torcs-data": "GPL-2+, Free Art License and others",
    "trigger-rally-data": "CC-BY-SA-3.0, CC-BY-3.0, CC0, GPL-2+",
    "supertuxkart-data": "CC-BY-SA-3.0, CC-BY-SA-4.0, CC-BY, CC0, GPL and others",
}
TEXTURES = {"torcs-data", "supertuxkart-data", "trigger-rally-data", "marble-data"}
ENDINGS = {".jpg", ".jpeg", ".png", ".webp"}
LEAST_SIDE, LARGEST_SIDE, LEAST_BYTES = 128, 640, 12_000
# A game has many pictures: only one in this many is used.
EVERY_TEXTURE = 2


def fetch(folder: Path) -> None:
    """Downloads and unpacks the packages; unpacked ones are kept."""
    for name in PACKAGES:
        target = folder / name
        if target.exists():
            continue
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(["apt-get", "download", name], cwd=folder, check=True)
        deb, = folder.glob(f"{name}_*.deb")
        part = folder / f"{name}.part"
        subprocess.run(["dpkg-deb", "-x", deb, part], check=True)
        part.rename(target)
        deb.unlink()


@dataclass
class Photo:
    path: Path
    held_out: bool


def photos(folder: Path) -> list[Photo]:
    """All usable pictures. One in three is kept apart; textures by their folder, because
    those of one game level are alike. Of nearly equal pictures only one is used."""
    import skimage
    import sklearn

    found: list[tuple[str, Path]] = []
    for name in sorted(PACKAGES):
        files = sorted(p for p in (folder / name).rglob("*") if p.suffix.lower() in ENDINGS and not p.is_symlink()
                       and p.stat().st_size >= LEAST_BYTES)
        found += [(name, p) for p in files[::EVERY_TEXTURE if name in TEXTURES else 1]]
    for name, root in (("scikit-image", Path(skimage.__file__).parent / "data"),
                       ("scikit-learn", Path(sklearn.__file__).parent / "datasets" / "images")):
        found += [(name, p) for p in sorted(root.glob("*")) if p.suffix.lower() in ENDINGS
                  and p.stem not in ("astronaut", "lfw_subset")]
    kept, seen = [], np.zeros((0, 256), np.float32)
    for name, path in tqdm(found, desc="pictures", mininterval=20):
        gray = read(path)
        if gray is None:
            continue
        small = cv2.resize(gray, (16, 16), interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
        small -= small.mean()
        small /= max(float(np.linalg.norm(small)), 1e-3)
        if len(seen) and float((seen @ small).max()) > 0.95:
            continue
        seen = np.concatenate([seen, small[None]])
        group = path.parent if name in TEXTURES else path
        kept.append(Photo(path, zlib.crc32(f"{name}/{group.name}".encode()) % 3 == 0))
    return kept


def read(path: Path) -> np.ndarray | None:
    """Gray, at most LARGEST_SIDE long; transparent parts become a gray of the picture's own."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if image is None or min(image.shape[:2]) < LEAST_SIDE:
        return None
    if image.dtype != np.uint8:
        image = (image >> 8).astype(np.uint8)
    if image.ndim == 3 and image.shape[2] == 4:
        alpha = image[..., 3:] / 255.0
        ground = 60 + zlib.crc32(path.name.encode()) % 170
        image = (image[..., :3] * alpha + ground * (1 - alpha)).astype(np.uint8)
    gray = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) if image.ndim == 3 else image
    scale = LARGEST_SIDE / max(gray.shape)
    return cv2.resize(gray, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) if scale < 1 else gray


class Cascades:
    def __init__(self) -> None:
        self.of = {name: cv2.CascadeClassifier(f"{cv2.data.haarcascades}haarcascade_frontalface_{name}.xml")
                   for name in ("alt2", "default")}

    def boxes(self, gray: np.ndarray, name: str, neighbours: int, least: int = 24) -> np.ndarray:
        """Boxes [n, 3], in the form of geometry.py."""
        found = self.of[name].detectMultiScale(gray, 1.1, neighbours, minSize=(least, least))
        return np.array([(x + w / 2, y + w / 2, w) for x, y, w, _ in found], np.float32).reshape(-1, 3)


def windows_of(gray: np.ndarray, cascades: Cascades, rng: np.random.Generator, most: int) -> list[np.ndarray]:
    """Windows of both cascades that differ from each other, those with neighbours first."""
    kept: list[np.ndarray] = []
    for neighbours in (1, 0):
        for name in ("default", "alt2"):
            boxes = cascades.boxes(gray, name, neighbours, 26)
            for box in boxes[rng.permutation(len(boxes))[:3 * most]]:
                if len(kept) < most and all(overlap(box, other) < 0.5 for other in kept):
                    kept.append(box)
    return kept


def listed(photo_folder: Path, list_file: Path) -> list[Photo]:
    """The result of `photos`, kept in a file, because `photos` takes minutes."""
    if not list_file.exists():
        known = photos(photo_folder)
        list_file.parent.mkdir(parents=True, exist_ok=True)
        list_file.write_text(json.dumps([[str(p.path), p.held_out] for p in known]))
    return [Photo(Path(path), held_out) for path, held_out in json.loads(list_file.read_text())]


def prepare(photo_folder: Path, data: Path, out: Path, most_pictures: int, seed: int) -> None:
    """Writes the training windows as canvases, and smaller copies of the pictures as
    backgrounds. Continues where it was stopped."""
    cv2.setNumThreads(1)
    known = listed(photo_folder, out.with_name("pictures.json"))
    train = [p for p in known if not p.held_out]
    train = [train[i] for i in np.random.default_rng(seed).permutation(len(train))[:most_pictures]]
    teacher, cascades = Teacher(data), Cascades()
    images, pixels, grounds, first = [], [], [], 0
    if out.exists():
        with np.load(out) as kept:
            images, pixels, grounds = list(kept["image"]), list(kept["pixels"]), list(kept["ground"])
            first = int(kept["done"])
    saved = time.time()
    for i in tqdm(range(first, len(train)), desc="windows", mininterval=20):
        gray, rng = read(train[i].path), np.random.default_rng([seed, i])
        boxes = windows_of(gray, cascades, rng, 9)
        faceless = without_faces(gray, boxes, teacher)
        for box in faceless:
            images.append(canvas_of(gray, box))
            pixels.append(box[2])
        if len(faceless) == len(boxes):
            side = min(gray.shape)
            y, x = (int(rng.integers(0, n - side + 1)) for n in gray.shape)
            grounds.append(cv2.resize(gray[y:y + side, x:x + side], (CANVAS, CANVAS), interpolation=cv2.INTER_AREA))
        if i == len(train) - 1 or time.time() - saved > 120:
            part = out.with_suffix(".part.npz")
            np.savez(part, image=np.stack(images), pixels=np.array(pixels, np.float32), ground=np.stack(grounds), done=i + 1)
            part.rename(out)
            saved = time.time()
    print(f"{out}: {len(images)} windows from {len(train)} pictures, {sum(p.held_out for p in known)} pictures kept apart")


def canvas_of(gray: np.ndarray, box: np.ndarray) -> np.ndarray:
    return warp(gray, to_square(box[:2], box[2] * CANVAS / BOX, 0, CANVAS), CANVAS)


def without_faces(gray: np.ndarray, boxes: list[np.ndarray], teacher: Teacher) -> list[np.ndarray]:
    """The boxes in which the teacher sees no face, neither in the picture nor in the box alone."""
    whole = teacher.look(gray) if len(boxes) else None
    kept = []
    for box in boxes:
        if whole is not None:
            reach = whole.reach
            face = np.array([*(reach[:2] + reach[2:]) / 2, (reach[2:] - reach[:2]).max()])
            if overlap(box, face) > 0.05:
                continue
        if teacher.look(cv2.resize(canvas_of(gray, box), (256, 256))) is None:
            kept.append(box)
    return kept


def draw_scenes(out: Path, count: int, seed: int) -> None:
    """Training windows in drawn scenes, in a file of their own."""
    from .scenes import scene

    cv2.setNumThreads(1)
    cascades, rng = Cascades(), np.random.default_rng([seed, 0])
    images, pixels, grounds = [], [], []
    for _ in tqdm(range(count), desc="scenes", mininterval=20):
        gray = scene(rng)
        for box in windows_of(gray, cascades, rng, 9):
            images.append(warp(gray, to_square(box[:2], box[2] * CANVAS / BOX, 0, CANVAS), CANVAS))
            pixels.append(box[2])
        grounds.append(cv2.resize(gray[:, 80:560], (CANVAS, CANVAS), interpolation=cv2.INTER_AREA))
    out.parent.mkdir(parents=True, exist_ok=True)
    np.savez(out, image=np.stack(images), pixels=np.array(pixels, np.float32), ground=np.stack(grounds))
    print(f"{out}: {len(images)} windows from {count} drawn scenes")
