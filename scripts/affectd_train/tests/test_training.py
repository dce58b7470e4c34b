"""Runs that are repeated and resumed; every network is exported and loaded into the daemon."""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import signal
import subprocess
import tempfile
import unittest
from dataclasses import replace
from pathlib import Path
from unittest import mock

import numpy as np
import onnx
import torch

from affectd_train import CLASSES, cli, export, model, networks, train
from affectd_train.data import Prepared, load, prepare, resize_pillow
from affectd_train.experiments import cross_validate, recipe_of
from affectd_train.finish import calibrated
from affectd_train.heads import Heads
from affectd_train.metrics import predict, softmax
from affectd_train.quant import fake_quantize
from affectd_train.train import Recipe, load_float, start_network

from .support import AFFECTD, INFERENCE, prepared_in, write_kaggle

CPU = torch.device("cpu")
SHORT = Recipe(schedule="32:1", batch=16, start="none", mixup_part=0.5)


def weights(net: torch.nn.Module) -> dict[str, np.ndarray]:
    return {name: value.numpy().copy() for name, value in net.state_dict().items()}


class Case(unittest.TestCase):
    def setUp(self) -> None:
        folder = tempfile.TemporaryDirectory()
        self.addCleanup(folder.cleanup)
        self.folder = Path(folder.name)

    def trained(self, prepared: Prepared, recipe: Recipe, name: str, resume: bool = True):
        return train.train(prepared, recipe, self.folder / name,
                           lambda: start_network(recipe, None, prepared.train_images), CPU, resume)


    def run_cli(self, command: str, *args: object) -> None:
        words = ["train", command, "--prepared", str(self.folder / "prepared.npz"), *map(str, args)]
        with mock.patch("sys.argv", words):
            self.assertEqual(cli.main(), 0)


class Repeating(Case):
    def test_a_seed_gives_the_same_weights_and_another_seed_others(self) -> None:
        prepared = prepared_in(self.folder)
        first, again = (weights(self.trained(prepared, SHORT, name)) for name in ("a", "b"))
        other = weights(self.trained(prepared, replace(SHORT, seed=2), "c"))
        for name, value in first.items():
            np.testing.assert_array_equal(value, again[name], err_msg=name)
        self.assertTrue(any(not np.array_equal(value, other[name]) for name, value in first.items()))

    def test_a_run_stopped_in_an_epoch_ends_as_one_that_was_not(self) -> None:
        prepared = prepared_in(self.folder)
        recipe = replace(SHORT, schedule="32:2")
        whole = weights(self.trained(prepared, recipe, "whole"))

        steps = 0
        update = train.update_average

        def stop_at_the_sixth(*args) -> None:
            nonlocal steps
            steps += 1
            update(*args)
            if steps == 6:
                os.kill(os.getpid(), signal.SIGTERM)

        with mock.patch.object(train, "update_average", stop_at_the_sixth):
            with self.assertRaisesRegex(SystemExit, "stopped at step 6"):
                self.trained(prepared, recipe, "parts")
        resumed = weights(self.trained(prepared, recipe, "parts"))
        again = weights(self.trained(prepared, recipe, "parts"))
        for name, value in whole.items():
            np.testing.assert_array_equal(value, resumed[name], err_msg=name)
            np.testing.assert_array_equal(value, again[name], err_msg=f"{name}, when it was over")

    def test_a_run_may_end_within_an_epoch(self) -> None:
        prepared = prepared_in(self.folder)
        recipe = replace(SHORT, network="mini_xception", schedule="32:1.3")
        ended = weights(self.trained(prepared, recipe, "run"))
        (self.folder / "run" / "final.pt").unlink()   # as if killed before it was written
        resumed = weights(self.trained(prepared, recipe, "run"))
        for name, value in ended.items():
            np.testing.assert_array_equal(value, resumed[name], err_msg=name)

    def test_a_run_starts_from_another(self) -> None:
        prepared = prepared_in(self.folder)
        recipe = replace(SHORT, network="mini_xception")
        before = weights(self.trained(prepared, recipe, "run"))
        after = start_network(replace(recipe, start=str(self.folder / "run")), None, prepared.train_images)
        for name, value in before.items():
            np.testing.assert_array_equal(value, weights(after)[name], err_msg=name)
        with self.assertRaisesRegex(SystemExit, "there is no .*else/final.pt"):
            start_network(replace(recipe, start=str(self.folder / "else")), None, prepared.train_images)

    def test_networks_trained_together_end_as_each_alone(self) -> None:
        prepared = prepared_in(self.folder)
        teacher = replace(SHORT, network="mini_xception", seed=2)
        self.trained(prepared, teacher, "teacher")
        recipe = replace(SHORT, dropout=0.0, teachers=str(self.folder / "teacher"))
        names = ("mini_xception", "convnet12")
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            self.trained(prepared, replace(recipe, network="mini_xception+convnet12@32"), "both")
        figures = said.getvalue().splitlines()[-len(names):]
        for place, name in enumerate(names, 1):
            self.trained(prepared, replace(recipe, network=name), name)
            alone, _ = load_float(self.folder / name / "final.pt")
            one, size = load_float(self.folder / "both" / f"{place}-{name}" / "final.pt")
            self.assertEqual(size, 32)
            judged = {"network": name, **train.validate(one, prepared, 32, CPU)}
            self.assertEqual(figures[place - 1], json.dumps(judged))
            for key, value in weights(alone).items():
                np.testing.assert_allclose(value, weights(one)[key], rtol=1e-4, atol=1e-5, err_msg=f"{name} {key}")
        whole, _ = load_float(self.folder / "both" / "final.pt")
        mean = np.exp(predict(whole, prepared.test_images, 32, CPU)).reshape(-1, 2, 7)
        expected = np.mean([softmax(predict(net, prepared.test_images, 32, CPU).reshape(-1, 7)).reshape(-1, 2, 7)
                            for net in whole.nets], axis=0)
        np.testing.assert_allclose(mean, expected, atol=1e-5)

    def test_what_cannot_be_trained_is_named(self) -> None:
        for argument, reason in ((("--schedule", "96"), "96 is not SIZE:AMOUNT"),
                                 (("--schedule", "64:1,"), "nothing is not SIZE:AMOUNT"),
                                 (("--schedule", "64:0"), "above 0"), (("--schedule", "64:-1"), "above 0"),
                                 (("--schedule", "31:1"), "at least 32"), (("--unit", "hours"), "epochs and minutes"),
                                 (("--batch", "0"), "of at least 1"), (("--rate", "nan"), "of at least 0"),
                                 (("--mixup-part", "1.5"), "from 0 to 1")):
            with self.assertRaisesRegex(SystemExit, f"{' '.join(argument)}.*{reason}"):
                cli.recipe_of(cli.parser().parse_args(["train", *argument]))

    def test_what_is_not_there_or_cannot_be_quantized_is_named(self) -> None:
        prepared = prepared_in(self.folder)
        prepared.save(self.folder / "prepared.npz")
        self.trained(prepared, replace(SHORT, network="mini_xception"), "small")
        small, none, model_file = (self.folder / name for name in ("small", "none", "none.onnx"))
        for arguments, reason in ((("quantize", "--run", none), "there is no .*none/final.pt"),
                                  (("train", "--start", "none", "--teachers", none), "there is no .*none/final.pt"),
                                  (("quantize", "--run", small), "only a mobilenet_v2"),
                                  (("evaluate", model_file), "there is no .*none.onnx")):
            with self.subTest(arguments=arguments), self.assertRaisesRegex(SystemExit, reason):
                self.run_cli(*arguments)

    def test_networks_that_cannot_be_trained_together_are_named(self) -> None:
        for network, reason in (("vgg16@big+resnet18", "big is not a size"), ("vgg16+vgg16", "twice"),
                                ("vgg16+vgg61", "there is no network vgg61")):
            with self.assertRaisesRegex(SystemExit, reason):
                networks.build(network)

    def test_folds_are_judged_by_what_they_did_not_see(self) -> None:
        prepared = prepared_in(self.folder)
        recipe = replace(SHORT, network="mini_xception")
        found = cross_validate(prepared, recipe, 2, self.folder / "folds", None, CPU)
        for fold in range(2):
            held = prepared.without_fold(fold, 2)
            net, size = load_float(self.folder / "folds" / f"fold{fold}" / "final.pt")
            own = predict(net, held.hold_images, size, CPU)[:, :len(CLASSES)].argmax(axis=1)
            self.assertAlmostEqual(found[fold][0], float((own == held.hold_label).mean()), delta=1e-4)

    def test_one_fold_is_too_few(self) -> None:
        with self.assertRaisesRegex(SystemExit, "at least two are needed"):
            cross_validate(prepared_in(self.folder), SHORT, 1, self.folder / "folds", None, CPU)

    def test_sizes_that_grow_see_as_many_pictures(self) -> None:
        grown = recipe_of("growing-sizes", replace(SHORT, schedule="64:6"))
        self.assertEqual([grown.size_at(p) for p in (0.0, 0.34, 0.99)], [48, 64, 96])
        self.assertEqual(sum(amount for _, amount in grown.phases()), 6)


class Networks(Case):
    def test_every_network_trains_and_answers_in_the_daemon_as_in_onnx_runtime(self) -> None:
        write_kaggle(self.folder)
        prepared = prepare(load(self.folder), 14, 1)
        prepared.save(self.folder / "prepared.npz")
        for network in networks.BUILDERS:
            with self.subTest(network=network):
                run, out = self.folder / network, self.folder / f"{network}.onnx"
                self.run_cli("train", "--network", network, "--run", run, "--schedule", "96:1",
                             "--batch", "16", "--start", "none")
                self.run_cli("export", "--run", run, "--out", out)
                self.answers_agree(out, prepared)

    def answers_agree(self, path: Path, prepared: Prepared) -> None:
        answers = self.folder / "answers.csv"
        done = subprocess.run([AFFECTD, "eval", self.folder / "fer2013.csv", "--usage", "PublicTest",
                               "--model", path, "--predictions", answers],
                              text=True, capture_output=True)
        self.assertEqual(done.returncode, 0, done.stderr)
        with open(answers, newline="") as file:
            rows = list(csv.DictReader(file))
        ours = np.array([[float(row[name]) for name in CLASSES] for row in rows])
        theirs = softmax(export.run_onnx(path, prepared.test_images))
        self.assertEqual(len(ours), len(prepared.test_images))
        np.testing.assert_allclose(ours, theirs, atol=2e-4)


class Integers(Case):
    """The int8 file: PyTorch's fake quantization, ONNX Runtime in f32 and affectd in
    integers must agree to the last bit, because the scales leave nothing to round."""

    def test_quantization_goes_on_from_another_run(self) -> None:
        prepared = prepared_in(self.folder)
        prepared.save(self.folder / "prepared.npz")
        for run in ("one", "other"):
            self.trained(prepared, SHORT, run)
        quantize = ("quantize", "--batch", "16", "--train-only", "--schedule")
        self.run_cli(*quantize, "96:2", "--rate", "1e-2", "--run", self.folder / "one")
        first = self.folder / "one" / "qat" / "final.pt"
        self.run_cli(*quantize, "96:1", "--rate", "1e-9", "--run", self.folder / "other", "--go-on-from", first)
        one, other = (torch.load(self.folder / run / "qat" / "final.pt", weights_only=True)["net"]
                      for run in ("one", "other"))
        for name, value in one.items():
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-5, msg=name)

    def test_rounding_is_pytorchs_with_its_gradient(self) -> None:
        torch.manual_seed(1)
        for scale, zero in ((2.0 ** -4, 0), (2.0 ** -7, 128), (2.0 ** 3, 77)):
            ours = ((torch.rand(4096) * 400 - 200) * scale).requires_grad_()
            theirs = ours.detach().clone().requires_grad_()
            gradient = torch.randn(4096)
            one = fake_quantize(ours, torch.tensor(scale), torch.tensor(zero, dtype=torch.int32))
            other = torch.fake_quantize_per_tensor_affine(theirs, scale, zero, 0, 255)
            one.backward(gradient)
            other.backward(gradient)
            torch.testing.assert_close(one, other, rtol=0, atol=0)
            torch.testing.assert_close(ours.grad, theirs.grad, rtol=0, atol=0)
            self.assertTrue(0 < int((ours.grad == 0).sum()) < 4096)

    def test_a_float_network_has_no_twin(self) -> None:
        with self.assertRaisesRegex(SystemExit, "is for `quantize`"):
            self.trained(prepared_in(self.folder), replace(SHORT, twin=0.5), "run")

    def test_three_runtimes_give_the_same_bits(self) -> None:
        prepared = prepared_in(self.folder)
        self.trained(prepared, replace(SHORT, schedule="96:2", rate=3e-3), "run")
        for size in (96, 112):
            with self.subTest(size=size):
                self.three_runtimes(prepared, size)

    def three_runtimes(self, prepared: Prepared, size: int) -> None:
        net, _ = load_float(self.folder / "run" / "final.pt")
        quant = calibrated(net, size, prepared, 64)
        quant.set_head(*Heads(quant, prepared).one(0.4))
        tiles = torch.from_numpy(resize_pillow(prepared.test_images, size)).unsqueeze(1)
        quant.settle_logits(model.normalise(tiles))
        self.assertEqual(quant.exact_in_f32(), [])

        path = self.folder / "int8.onnx"
        onnx.save(export.to_onnx(quant), path)
        path.with_suffix(".toml").write_text(export.manifest(
            path, size, "test", "MIT", ["drawn faces"], {"scale": 1.0, "shift_x": 0.0, "shift_y": 0.0}, {}))

        inputs = export.normalised(tiles.numpy())
        with torch.no_grad():
            rounded = quant.eval()(torch.from_numpy(inputs)).numpy()
        runtime = export.run_onnx(path, prepared.test_images)
        (self.folder / "inputs").write_bytes(inputs.astype("<f4").tobytes())
        said = subprocess.run([INFERENCE, path], input=f"run {self.folder / 'inputs'}\n",
                              text=True, check=True, capture_output=True).stdout
        ours = np.array([[float(v) for v in line.split()] for line in said.splitlines() if line],
                        np.float32)

        self.assertGreater(len(np.unique(rounded)), 20, "a network that answers always the same")
        np.testing.assert_array_equal(runtime, rounded)
        np.testing.assert_array_equal(ours, runtime)


if __name__ == "__main__":
    unittest.main()
