"""Reading, cleaning and splitting; conditions and preprocessing of single tiles."""

from __future__ import annotations

import tempfile
import unittest
from pathlib import Path

import numpy as np

from affectd_train import preprocess, robustness
from affectd_train.crop import CropRule, crop
from affectd_train.data import TILE, VOTE_COLUMNS, Fer2013, Prepared, ferplus_majority, load, prepare
from affectd_train.metrics import fit_temperature, softmax

from .support import face, prepared_in, write_kaggle, write_mosaic


def votes(**given: int) -> np.ndarray:
    return np.array([[given.get(column, 0) for column in VOTE_COLUMNS]])


class Reading(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def test_both_forms_of_the_data_set_give_the_same(self) -> None:
        write_kaggle(self.folder / "kaggle")
        write_mosaic(self.folder / "kaggle", self.folder / "mosaic")
        one = prepare(load(self.folder / "kaggle"), 14, 1)
        other = prepare(load(self.folder / "mosaic"), 14, 1)
        for name in Prepared.__dataclass_fields__:
            np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)

    def test_what_public_test_shows_too_is_not_trained_on(self) -> None:
        parts = prepared_in(self.folder)
        trained = {tile.tobytes() for tile in [*parts.train_images, *parts.hold_images]}
        self.assertEqual(len(trained), 83)
        self.assertFalse(trained & {tile.tobytes() for tile in parts.test_images})
        self.assertEqual(parts.test_clean.sum(), 27, "the copy does not count")

    def test_folds_hold_out_every_tile_once(self) -> None:
        whole, held = prepared_in(self.folder), []
        for number in range(3):
            parts = whole.without_fold(number, 3)
            held += [tile.tobytes() for tile in parts.hold_images]
            self.assertFalse(set(held[-len(parts.hold_images):])
                             & {tile.tobytes() for tile in parts.train_images})
            self.assertEqual(len(parts.hold_images) + len(parts.train_images), len(whole.train_images))
        self.assertEqual(sorted(held), sorted(tile.tobytes() for tile in whole.train_images))

    def test_near_copies_are_held_out_together(self) -> None:
        rng = np.random.default_rng(7)
        tiles = np.stack([face(i % 7, rng) for i in range(60)])
        lighter = (tiles[:12] * 0.8 + 30).astype(np.uint8)
        count = len(tiles) + len(lighter)
        said = np.zeros((count, len(VOTE_COLUMNS)), np.int64)
        data = Fer2013(np.concatenate([tiles, lighter]), np.arange(count) % 7, said, np.array(["Training"] * count),
                       np.zeros(count, bool), np.arange(count), np.zeros(count, bool))
        parts = prepare(data, 20, 3)

        pair = {tile.tobytes(): number % 60 for number, tile in enumerate(data.images)}
        trained, held = ([pair[tile.tobytes()] for tile in tiles]
                         for tiles in (parts.train_images, parts.hold_images))
        self.assertEqual(len(trained), 52)
        self.assertFalse(set(trained) & set(held))
        self.assertEqual(len(set(trained)), parts.train_group.max() + 1)
        folds = [{pair[tile.tobytes()] for tile in parts.without_fold(number, 4).hold_images}
                 for number in range(4)]
        self.assertEqual(sum(map(len, folds)), len(set(trained)))

    def test_a_file_of_another_version_is_named(self) -> None:
        path = self.folder / "old.npz"
        np.savez(path, train_images=np.zeros((1, TILE, TILE), np.uint8))
        with self.assertRaisesRegex(SystemExit, "another version"):
            Prepared.open(path)


class Labels(unittest.TestCase):
    def test_a_majority_is_more_than_half_of_all_columns(self) -> None:
        self.assertEqual(ferplus_majority(votes(happiness=6, contempt=4))[0], 3)
        self.assertEqual(ferplus_majority(votes(happiness=5, contempt=5))[0], -1)
        self.assertEqual(ferplus_majority(votes(contempt=8, anger=2))[0], -1)


class Settling(unittest.TestCase):
    def test_the_temperature_of_overconfident_answers_is_found(self) -> None:
        rng = np.random.default_rng(4)
        honest = rng.normal(0, 1.5, (4000, 7))
        p = softmax(honest)
        label = np.array([rng.choice(7, p=row) for row in p])
        self.assertAlmostEqual(fit_temperature(honest * 2.5, label), 2.5, delta=0.2)


class Tiles(unittest.TestCase):
    def setUp(self) -> None:
        self.tile = face(3, np.random.default_rng(1))

    def test_every_condition_changes_the_tile_and_keeps_its_form(self) -> None:
        for name, _, change, steps in robustness.CURVES:
            for step in steps:
                with self.subTest(condition=name, step=step):
                    changed = change(self.tile, step, np.random.default_rng(2))
                    self.assertEqual((changed.shape, changed.dtype), ((TILE, TILE), np.uint8))
                    self.assertFalse(np.array_equal(changed, self.tile))

    def test_stronger_blur_and_noise_are_farther_from_the_tile(self) -> None:
        def distance(change, step: float) -> float:
            changed = change(self.tile, step, np.random.default_rng(2))
            return float(np.abs(changed.astype(int) - self.tile).mean())

        for name, _, change, steps in robustness.CURVES:
            if name in ("blur", "noise", "occlusion"):
                distances = [distance(change, step) for step in steps]
                self.assertEqual(distances, sorted(distances), name)

    def test_a_crop_of_the_whole_tile_is_the_tile(self) -> None:
        box = (0, 0, TILE, TILE)
        np.testing.assert_array_equal(crop(self.tile, box, CropRule()), self.tile)
        wide = crop(self.tile, box, CropRule(1.25))
        self.assertEqual(wide.shape, (60, 60))
        np.testing.assert_array_equal(wide[6:54, 6:54], self.tile)

    def test_preprocessing_keeps_the_form(self) -> None:
        for name, method in preprocess.METHODS.items():
            with self.subTest(method=name):
                changed = method(self.tile)
                self.assertEqual((changed.shape, changed.dtype), ((TILE, TILE), np.uint8))

    def test_light_normalisation_takes_a_shadow_away(self) -> None:
        shadow = np.linspace(0.35, 1.0, TILE)[None, :]
        shaded = np.rint(self.tile * shadow).astype(np.uint8)

        def distance(one: np.ndarray, other: np.ndarray) -> float:
            return float(np.abs(one.astype(int) - other).mean())

        for method in (preprocess.difference_of_gaussians, preprocess.without_low_dct):
            self.assertLess(distance(method(shaded), method(self.tile)),
                            0.6 * distance(shaded, self.tile), method.__name__)


if __name__ == "__main__":
    unittest.main()
