"""The face net and the eye net: geometry, labels, targets, training, and the exported files."""

from __future__ import annotations

import tempfile
import tomllib
import unittest
from pathlib import Path

import cv2
import numpy as np
import torch

from affectd_train.face import augment, evaluate, geometry, negatives, quantize, scenes
from affectd_train.face import train as training
from affectd_train.face.label import row_of
from affectd_train.face.nets import PLANS, UNITS, Net, multiplications, split
from affectd_train.face.renders import eyes_of, pose_of, visible
from affectd_train.face.samples import Samples, is_held_out
from affectd_train.face.teacher import Seen

# A frontal face with its box in the middle of a canvas.
MARKS = np.array([[56, 71], [66, 71], [61, 69], [61, 73], [94, 71], [104, 71], [99, 69], [99, 73],
                  [80, 92], [67, 113], [93, 113], [80, 111], [80, 115], [80, 131]], np.float32)


def drawn(openness: float, rng: np.random.Generator) -> np.ndarray:
    """A canvas with a face whose eyes are open by that much."""
    g = np.full((geometry.CANVAS, geometry.CANVAS), int(rng.integers(20, 100)), np.uint8)
    cv2.ellipse(g, ((80.0, 90.0), (78.0, 108.0), 0.0), int(rng.integers(150, 220)), -1)
    for x in (61, 99):
        cv2.ellipse(g, ((float(x), 71.0), (11.0, 1 + 7 * openness), 0.0), 20, -1)
    cv2.line(g, (67, 113), (93, 113), 40, 3)
    return g


def samples(count: int, seed: int = 1) -> Samples:
    rng = np.random.default_rng(seed)
    rows = []
    for i in range(count):
        openness = float(i % 2)
        rows.append({"image": drawn(openness, rng), "landmarks": MARKS + rng.normal(0, 0.3, MARKS.shape),
                     "pose": np.zeros(3), "openness": np.full(2, openness), "gaze_down": np.zeros(2),
                     "visible": np.ones(2), "jaw": 0.0, "smile": 0.0, "pixels": 100.0, "person": -1 - i,
                     "held_out": i % 4 == 3})
    return Samples.of_rows(rows)


def run_folder(folder: Path) -> Path:
    """The files of the steps before training."""
    samples(40).save(folder / "muxspace.npz")
    rng = np.random.default_rng(2)
    windows = rng.integers(0, 256, (20, geometry.CANVAS, geometry.CANVAS)).astype(np.uint8)
    np.savez(folder / "negatives.npz", image=windows, ground=windows[:5])
    return folder


class Geometry(unittest.TestCase):
    def test_a_turned_square_becomes_upright(self) -> None:
        m = geometry.to_square(np.array([50.0, 40.0]), 20.0, 30.0, 64)
        np.testing.assert_allclose(geometry.moved(np.array([[50.0, 40.0]]), m), [[32, 32]])
        # The direction that is turned clockwise by 30 degrees from "right"
        # becomes level.
        right = np.array([[50 + 10 * np.cos(np.radians(30)), 40 + 10 * np.sin(np.radians(30))]])
        np.testing.assert_allclose(geometry.moved(right, m), [[64, 32]], atol=1e-9)

    def test_pixels_and_points_move_alike(self) -> None:
        picture = np.zeros((80, 80), np.uint8)
        picture[30:34, 50:54] = 255   # its middle is at 52, 32
        for turn, mirror, size in ((0, False, 64), (20, False, 64), (-35, True, 96), (10, True, 20)):
            m = geometry.to_square(np.array([45.0, 38.0]), 50.0, turn, size, mirror)
            crop = geometry.warp(picture, m, size).astype(float)
            y, x = np.mgrid[0:size, 0:size] + 0.5
            middle = np.array([(crop * x).sum(), (crop * y).sum()]) / crop.sum()
            np.testing.assert_allclose(middle, geometry.moved(np.array([[52.0, 32.0]]), m)[0], atol=0.15)

    def test_the_box_of_a_turned_or_mirrored_face_keeps_its_size(self) -> None:
        box = geometry.box_of(MARKS, 0, 0)
        np.testing.assert_allclose(box, [80, 80, 100], atol=2)
        turned = MARKS.copy()
        turned[:, 0] = 80 + (turned[:, 0] - 80) * np.cos(np.radians(45))
        self.assertAlmostEqual(geometry.box_of(turned, 45, 0)[2] / box[2], 1, delta=0.05)
        mirrored = (MARKS * [-1, 1] + [160, 0])[geometry.MIRRORED]
        self.assertAlmostEqual(geometry.box_of(mirrored, 0, 0)[2], box[2], delta=0.5)

    def test_mirrored_landmarks_keep_their_sides(self) -> None:
        marks = (MARKS * [-1, 1] + [160, 0])[geometry.MIRRORED]
        self.assertLess(marks[0, 0], marks[1, 0])            # right outer, right inner
        self.assertLess(marks[1, 0], marks[4, 0])            # left inner
        self.assertLess(marks[9, 0], marks[10, 0])           # corners of the mouth

    def test_overlap(self) -> None:
        a = np.array([10.0, 10.0, 10.0])
        self.assertAlmostEqual(geometry.overlap(a, a), 1.0)
        self.assertAlmostEqual(geometry.overlap(a, np.array([15.0, 10.0, 10.0])), 1 / 3)
        self.assertAlmostEqual(geometry.overlap(a, np.array([10.0, 10.0, 5.0])), 0.25)
        self.assertEqual(geometry.overlap(a, np.array([30.0, 10.0, 10.0])), 0.0)

    def test_eye_squares_are_level_with_the_eyes(self) -> None:
        turn = np.radians(25)
        r = np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        squares = geometry.eye_squares((MARKS - 80) @ r.T + 80, 100)
        level = geometry.eye_squares(MARKS, 100)
        for (_, side, angle), (_, level_side, level_angle) in zip(squares, level):
            self.assertAlmostEqual(angle - level_angle, 25, delta=0.01)
            self.assertEqual(side, level_side)


class Labels(unittest.TestCase):
    def seen(self, blink: float, down: float, yaw: float = 0.0) -> dict:
        seen = Seen(MARKS, np.array([30, 30, 130, 140]), np.array([yaw, 0, 0], np.float32), np.full(2, blink),
                    np.full(2, down), 0.1, 0.2)
        return row_of(seen, np.zeros((160, 160), np.uint8), 1, False)

    def test_the_teacher_says_nothing_where_it_confuses_lids_with_gaze(self) -> None:
        self.assertTrue(np.isnan(self.seen(0.4, 0.5)["openness"]).all())
        self.assertTrue((self.seen(0.8, 0.7)["openness"] == 0).all())
        self.assertTrue((self.seen(0.05, 0.05)["openness"] == 1).all())
        self.assertTrue((self.seen(0.05, 0.05)["gaze_down"] == 0).all())
        self.assertTrue(np.isnan(self.seen(0.5, 0.1)["gaze_down"]).all())

    def test_the_eye_behind_the_nose_is_the_far_one(self) -> None:
        right, left = self.seen(0, 0, yaw=45)["visible"]   # nose to the picture's right
        self.assertTrue(np.isnan(left))
        self.assertEqual(right, 1)
        narrow = MARKS.copy()
        narrow[5] = narrow[4] + [2, 0]   # the left eye is seen from aside
        np.testing.assert_array_equal(visible(narrow, np.array([50.0, 0, 0])), [1, 0])

    def test_people_are_on_one_side_only(self) -> None:
        share = np.mean([is_held_out(p) for p in range(6000)])
        self.assertAlmostEqual(share, 1 / 6, delta=0.03)

    def test_random_poses_and_lids_stay_in_their_ranges(self) -> None:
        rng = np.random.default_rng(0)
        for _ in range(300):
            pose, eyes = pose_of(rng), eyes_of(rng)
            self.assertLessEqual(abs(pose["yaw"]), 70)
            self.assertLessEqual(abs(pose["pitch"]), 45)
            self.assertTrue(((eyes["blink"] >= 0) & (eyes["blink"] <= 1)).all())


class Targets(unittest.TestCase):
    def setUp(self) -> None:
        faces = samples(12)
        grounds = np.random.default_rng(1).integers(0, 256, (4, 160, 160)).astype(np.uint8)
        self.faces = augment.FaceBatches(faces, np.ones(12), grounds, grounds, 3)
        self.eyes = augment.EyeBatches(faces, grounds, 3)

    def test_targets_fill_the_heads(self) -> None:
        for name, source in (("face", self.faces), ("eye", self.eyes)):
            pictures, target, counts = source.batch(16)
            width = sum(n for _, n in PLANS[name].heads)
            self.assertEqual((target.shape, counts.shape), ((16, width), (16, width)))
            self.assertEqual(pictures.shape, (16, PLANS[name].size, PLANS[name].size))
            self.assertFalse(np.isnan(target).any())

    def test_landmarks_lie_where_the_picture_shows_them(self) -> None:
        """The eyes are dark in a light face: at their targets the picture is darker than between them."""
        darker = total = 0
        for _ in range(60):
            picture, target, counts = self.faces.one("face")
            if not counts[1:].all():
                continue
            y = split("face", torch.from_numpy(target)[None])
            marks = y["landmarks"].view(14, 2).numpy() * 64
            self.assertTrue((abs(y["pose"].numpy() * 45) < 60).all())
            at = lambda p: float(picture[tuple(np.clip(p[::-1], 0, 63).astype(int))])
            eyes = [marks[0:2].mean(axis=0), marks[4:6].mean(axis=0)]
            darker += np.mean([at(e) for e in eyes]) < at((eyes[0] + eyes[1]) / 2) + 2
            total += 1
        self.assertGreater(darker / total, 0.75)

    def test_windows_without_a_face_count_for_presence_only(self) -> None:
        for kind in ("window", "ground"):
            _, target, counts = self.faces.one(kind)
            self.assertEqual((target[0], counts.sum()), (0, 1))

    def test_a_window_beside_a_face_is_judged_by_its_overlap(self) -> None:
        presences = [float(self.faces.one("beside")[1][0]) for _ in range(200)]
        self.assertGreater(np.mean(np.array(presences) < 0.1), 0.3)
        self.assertTrue(all(0 <= p <= 1 for p in presences))

    def test_what_is_covered_says_nothing_of_lids(self) -> None:
        covered = 0
        for _ in range(400):
            _, target, counts = self.eyes.one()
            if target[2] == 1:
                covered += 1
                self.assertEqual(counts[:2].sum(), 0)
        self.assertGreater(covered, 5)


class Training(unittest.TestCase):
    def test_a_stopped_training_goes_on_as_if_it_had_not_stopped(self) -> None:
        def trained(folder: Path, stops: tuple[int, ...]) -> dict:
            for steps in stops:
                torch.manual_seed(1)
                source = training.batches("eye", folder, 1)
                net = Net("eye")
                recipe = training.Recipe("eye", 0, stops[-1], batch=8)
                if steps < stops[-1]:
                    recipe.stop_at = steps
                training.train(net, source, recipe, folder / f"{len(stops)}.pt")
            return net.state_dict()

        with tempfile.TemporaryDirectory() as name:
            folder = run_folder(Path(name))
            whole, parts = trained(folder, (6,)), trained(folder, (3, 6))
        for key, value in whole.items():
            torch.testing.assert_close(parts[key], value, rtol=0, atol=0)

    def test_it_learns_to_tell_shut_eyes_from_open_ones(self) -> None:
        with tempfile.TemporaryDirectory() as name:
            folder = run_folder(Path(name))
            torch.manual_seed(1)
            net = Net("eye")
            recipe = training.Recipe("eye", 0, 60, batch=32, ema=0.8, bfloat16=False)
            training.train(net, training.batches("eye", folder, 1), recipe, folder / "eye.pt")
            pictures, target, counts = training.batches("eye", folder, 7).batch(200)
            with torch.no_grad():
                openness = net(training.to_input(pictures))[:, 0].numpy()
        known = counts[:, 0] > 0
        shut, opened = known & (target[:, 0] < 0.2), known & (target[:, 0] > 0.8)
        self.assertGreater(evaluate.auc(openness[opened], openness[shut]), 0.9)


class Files(unittest.TestCase):
    def quantized(self, name: str) -> tuple[quantize.QuantFace, torch.Tensor]:
        generator = torch.Generator().manual_seed(4)
        torch.manual_seed(4)
        net = Net(name)
        size = PLANS[name].size
        levels = torch.randint(0, 256, (32, 1, size, size), generator=generator)
        x = training.to_input(levels[:, 0].numpy().astype(np.uint8))
        net.train()
        for _ in range(10):
            net(x)
        quant = quantize.QuantFace(net.eval())
        quant.calibrate(x)
        with torch.no_grad():
            # Near the float network, and the units are applied at export only.
            rough = (quant(x) - net(x)).abs().mean() / net(x).abs().mean()
        self.assertLess(float(rough), 0.25)
        quant.apply_units()
        return quant, levels[:, 0].numpy().astype(np.uint8)

    def test_the_file_gives_the_bits_of_fake_quantization(self) -> None:
        for name in PLANS:
            with self.subTest(net=name), tempfile.TemporaryDirectory() as folder:
                quant, pictures = self.quantized(name)
                self.assertEqual(quant.exact_in_f32(), [])
                path = Path(folder) / f"{name}.onnx"
                quantize.write(quant, name, path, "test")
                with torch.no_grad():
                    expected = split(name, quant.eval()(training.to_input(pictures)))
                got = evaluate.onnx_net(path)(pictures)
                self.assertEqual(list(got), [head for head, _ in PLANS[name].heads])
                for head, value in expected.items():
                    np.testing.assert_array_equal(got[head], value.numpy())

    def test_the_manifest_says_what_the_file_puts_out(self) -> None:
        for name, plan in PLANS.items():
            with self.subTest(net=name), tempfile.TemporaryDirectory() as folder:
                quant, _ = self.quantized(name)
                path = Path(folder) / f"{name}.onnx"
                quantize.write(quant, name, path, "test")
                said = tomllib.loads(path.with_suffix(".toml").read_text())
                self.assertEqual(said["kind"], name)
                self.assertEqual(said["input"]["width"], plan.size)
                numbers = {head: part["numbers"] for head, part in said["outputs"].items() if head != "landmark_names"}
                self.assertEqual(numbers, dict(plan.heads))

    def test_both_nets_stay_within_their_budget(self) -> None:
        self.assertLessEqual(multiplications("face") + 2 * multiplications("eye"), 12e6)
        self.assertTrue(set(UNITS) <= {head for plan in PLANS.values() for head, _ in plan.heads})
        with tempfile.TemporaryDirectory() as folder:
            size = 0
            for name in PLANS:
                path = Path(folder) / f"{name}.onnx"
                quantize.write(self.quantized(name)[0], name, path, "test")
                size += path.stat().st_size
        self.assertLessEqual(size, 600_000)


class Pictures(unittest.TestCase):
    def test_drawn_scenes_are_repeatable_and_differ(self) -> None:
        one, same, other = (scenes.scene(np.random.default_rng([seed, 1]), 160, 120) for seed in (1, 1, 2))
        np.testing.assert_array_equal(one, same)
        self.assertGreater(float(abs(one.astype(float) - other).mean()), 5)

    def test_transparent_and_large_pictures_are_read(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "a.png"
            picture = np.zeros((900, 700, 4), np.uint8)
            picture[:450, :, :] = 255
            cv2.imwrite(str(path), picture)
            gray = negatives.read(path)
            self.assertEqual(gray.shape, (640, 498))
            self.assertEqual(int(gray[:300].min()), 255)
            self.assertGreaterEqual(int(gray[-300:].min()), 60)   # a ground, not black
            path.write_bytes(b"no picture")
            self.assertIsNone(negatives.read(path))

    def test_windows_of_one_picture_do_not_cover_each_other(self) -> None:
        rng = np.random.default_rng(0)
        boxes = negatives.windows_of(scenes.scene(np.random.default_rng([3, 0])), negatives.Cascades(), rng, 6)
        for i, a in enumerate(boxes):
            for b in boxes[:i]:
                self.assertLess(geometry.overlap(a, b), 0.5)

    def test_auc(self) -> None:
        self.assertEqual(evaluate.auc(np.array([3.0, 4.0]), np.array([1.0, 2.0])), 1.0)
        self.assertEqual(evaluate.auc(np.array([1.0]), np.array([1.0])), 0.5)


if __name__ == "__main__":
    unittest.main()
