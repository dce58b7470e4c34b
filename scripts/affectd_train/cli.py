"""Command line of the training toolchain."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT.parent / "shared" / "data"
RUNS = ROOT / "runs"

EXAMPLES = """\
examples:
  scripts/train prepare                                   # reads ../shared/data
  scripts/train prepare --data ~/kaggle                   # fer2013.csv + fer2013new.csv
  scripts/train train --run runs/first                    # resumes if it was stopped
  scripts/train train --run runs/quick --unit minutes --schedule 64:25,112:50 --workers 2
  scripts/train quantize --run runs/first --out models/mobilenet_v2_112.onnx
  scripts/train evaluate models/mobilenet_v2_112.onnx
  scripts/train train --network efficientnet_lite2 --run runs/teacher
  scripts/train train --teachers runs/teacher --run runs/student
  scripts/train train --network vgg16@64+resnet18@96 --start none --run runs/two
                                                          # side by side, into runs/two/1-vgg16, 2-resnet18
  scripts/train train --start runs/student --run runs/more  # from a trained network
  scripts/train train --network resnet18 --start torchvision --run runs/resnet18
  scripts/train export --run runs/resnet18 --out runs/resnet18/resnet18.onnx
  scripts/train cross-validate --run runs/folds --schedule 64:4
  scripts/train ablate --run runs/ablation --schedule 64:4
  scripts/train measure-crop
  scripts/train face all                                  # the face net and the eye net
"""


def parser() -> argparse.ArgumentParser:
    top = argparse.ArgumentParser(
        prog="scripts/train", epilog=EXAMPLES, description="Trains affectd's networks: `face` the face net and the eye net, every other command the "
                                           "expression classifier.",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    sub = top.add_subparsers(dest="command", required=True)

    def command(name: str, help: str) -> argparse.ArgumentParser:
        return sub.add_parser(name, help=help, description=help,
                              formatter_class=argparse.ArgumentDefaultsHelpFormatter)

    prepare = command("prepare", "clean the data, merge copies, hold some tiles out")
    prepare.add_argument("--data", type=Path, default=DATA)
    prepare.add_argument("--out", type=Path, default=RUNS / "prepared.npz")
    prepare.add_argument("--hold-out", type=int, default=1500)
    prepare.add_argument("--seed", type=int, default=1)

    train = command("train", "train the float network (resumes from RUN/last.pt)")
    common_run(train)
    recipe_arguments(train)
    train.add_argument("--fresh", action="store_true", help="do not resume")

    cross = command("cross-validate", "train once for each fold of the training tiles")
    common_run(cross)
    recipe_arguments(cross, schedule="64:4")
    cross.add_argument("--folds", type=int, default=5)

    from .experiments import VARIANTS
    ablate = command("ablate", "short runs that compare preprocessing and growing sizes with a plain run")
    common_run(ablate)
    recipe_arguments(ablate, schedule="64:4")
    ablate.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))

    quantize = command("quantize", "fine-tune with quantization, export ONNX and manifest")
    common_run(quantize)
    quantize.add_argument("--checkpoint", help="in RUN", default="final.pt")
    quantize.add_argument("--out", type=Path, help="default: models/mobilenet_v2_SIZE.onnx")
    quantize.add_argument("--schedule", help="SIZE:AMOUNT,…; default: an amount of three, with RUN's size")
    quantize.add_argument("--unit", default="epochs", help="epochs or minutes")
    quantize.add_argument("--rate", type=float, default=2e-4)
    quantize.add_argument("--batch", type=int, default=64)
    quantize.add_argument("--workers", type=int, default=1)
    quantize.add_argument("--freeze-blocks", type=int, default=0)
    quantize.add_argument("--freeze-at", type=float, default=0.3)
    quantize.add_argument("--strength", type=float, default=0.6)
    quantize.add_argument("--ema", type=float, default=0.998)
    quantize.add_argument("--mixup-part", type=float, default=0.0)
    quantize.add_argument("--validate-every", type=int, default=1)
    quantize.add_argument("--teachers", help="RUN,…; default: the float network of RUN")
    quantize.add_argument("--teacher-part", type=float, default=0.9)
    quantize.add_argument("--twin", type=float, default=0.5,
                          help="weight of the network without rounding, which is trained beside it")
    quantize.add_argument("--least-recall", type=float, default=0.0,
                          help="raise the bias of each class whose recall on held-out tiles (FER2013's labels) is lower")
    quantize.add_argument("--go-on-from", type=Path, help="continue from qat/final.pt of another run of the same float network")
    quantize.add_argument("--train-only", action="store_true", help="stop before the export")
    quantize.add_argument("--no-training", action="store_true", help="only calibrate")
    quantize.add_argument("--no-fidelity", action="store_true",
                          help="leave out the comparison of float and int8")
    quantize.add_argument("--fresh", action="store_true", help="do not resume")
    about_model(quantize)

    export = command("export", "export a trained network as it is, in floats")
    common_run(export)
    export.add_argument("--checkpoint", help="in RUN", default="final.pt")
    export.add_argument("--out", type=Path, required=True)
    about_model(export)

    evaluate = command("evaluate", "figures of an exported model on PublicTest")
    evaluate.add_argument("model", type=Path, nargs="?", default=ROOT / "models" / "mobilenet_v2_112.onnx")
    evaluate.add_argument("--prepared", type=Path, default=RUNS / "prepared.npz")
    evaluate.add_argument("--json", type=Path)
    evaluate.add_argument("--inference", type=Path,
                          help="run with affectd instead of ONNX Runtime: path of its example `inference`")
    evaluate.add_argument("--robustness", action="store_true", help="also on blurred, dark, turned, noisy, covered, small and badly cropped pictures")
    evaluate.add_argument("--write-manifest", action="store_true", help="put the figures into MODEL.toml")

    plot = command("plot", "curves, confusion matrix and reliability diagram as PNG")
    common_run(plot)
    plot.add_argument("--model", type=Path, default=ROOT / "models" / "mobilenet_v2_112.onnx")
    plot.add_argument("--figures", type=Path, help="the output of `evaluate --robustness --json`")
    plot.add_argument("--out", type=Path, default=RUNS / "plots")

    from .face.cli import add_parser
    add_parser(sub, ROOT, DATA, RUNS)

    crop = command("measure-crop", "measure the crop rule for Haar boxes on training tiles")
    crop.add_argument("--prepared", type=Path, default=RUNS / "prepared.npz")
    crop.add_argument("--tiles", type=int, default=3000)
    return top


def recipe_arguments(command: argparse.ArgumentParser, **defaults: object) -> None:
    from .train import Recipe

    for f in fields(Recipe):
        command.add_argument("--" + f.name.replace("_", "-"), type=type(f.default),
                             default=defaults.get(f.name, f.default), help=f.metadata["help"])
    command.add_argument("--start-weights", type=Path, help="file of ImageNet weights, if not at the usual place")


def recipe_of(args: argparse.Namespace):
    from .train import Recipe

    return Recipe(**{f.name: getattr(args, f.name) for f in fields(Recipe)})


def common_run(command: argparse.ArgumentParser) -> None:
    command.add_argument("--prepared", type=Path, default=RUNS / "prepared.npz")
    command.add_argument("--run", type=Path, default=RUNS / "mobilenet_v2")
    command.add_argument("--device", default="auto", choices=("auto", "cpu", "cuda"), help="the device for training")


def about_model(command: argparse.ArgumentParser) -> None:
    command.add_argument("--ferplus-weight", type=float, default=0.4,
                         help="weight of the head for FER+ votes in the exported head; the rest is for FER2013's labels")
    command.add_argument("--crop", type=float, nargs=3, default=(1.03, 0.0, 0.0),
                         metavar=("SCALE", "SHIFT_X", "SHIFT_Y"), help="the values that measure-crop prints")
    command.add_argument("--origin", default="affectd developers, scripts/train")


def device_of(name: str):
    import torch

    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    if name == "cuda" and not torch.cuda.is_available():
        raise SystemExit("--device cuda: PyTorch finds no CUDA device here")
    return torch.device(name)


def main() -> int:
    args = parser().parse_args()
    if args.command == "prepare":
        from . import data

        prepared = data.prepare(data.load(args.data), args.hold_out, args.seed)
        prepared.save(args.out)
        print(f"{args.out}: {len(prepared.train_images)} to train on, "
              f"{len(prepared.hold_images)} held out, PublicTest {len(prepared.test_images)}, "
              f"without copies {int(prepared.test_clean.sum())}")
    elif args.command == "train":
        from .data import Prepared
        from .train import start_network, train

        recipe = recipe_of(args)
        prepared = Prepared.open(args.prepared)
        train(prepared, recipe, args.run,
              lambda: start_network(recipe, args.start_weights, prepared.train_images),
              device_of(args.device), resume=not args.fresh)
    elif args.command == "cross-validate":
        from . import experiments
        from .data import Prepared

        experiments.cross_validate(Prepared.open(args.prepared), recipe_of(args), args.folds, args.run,
                                   args.start_weights, device_of(args.device))
    elif args.command == "ablate":
        from . import experiments
        from .data import Prepared

        experiments.ablate(Prepared.open(args.prepared), recipe_of(args), args.variants, args.run,
                           args.start_weights, device_of(args.device))
    elif args.command == "quantize":
        from .finish import quantize

        quantize(args, device_of(args.device))
    elif args.command == "export":
        from .finish import export

        export(args)
    elif args.command == "evaluate":
        from .finish import evaluate

        evaluate(args)
    elif args.command == "plot":
        from .plot import plot

        plot(args)
    elif args.command == "face":
        from .face.cli import run

        run(args)
    elif args.command == "measure-crop":
        from .crop import measure
        from .data import Prepared

        rule, spread = measure(Prepared.open(args.prepared).train_images[:args.tiles])
        for name, value in spread.items():
            print(f"{name} = {value:.4g}")
        print(f"[crop]\nscale = {rule.scale}\nshift_x = {rule.shift_x}\nshift_y = {rule.shift_y}")
    return 0
