"""Command line of `scripts/train face`."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

STEPS = """\
steps, in order; each writes files into RUN, which later steps read. A step whose file exists
does not run again, and the two trainings continue from their last checkpoint:
  label      muxspace's and FER2013's faces, by the teacher            about 5 minutes of one core
  render     faces of ICT-FaceKit with exact truth                     about 20 renders a second
  negatives  downloads Debian packages with pictures (1.6 GB); finds in
             them, and in drawn rooms, windows that cascades take for faces about 15 minutes
  train      one net, for some minutes or steps                        --net face, then --net eye
  quantize   fine-tunes in int8, writes ONNX file and manifest         --net face, then --net eye
  test-data  pictures for the evaluation: photographs, people and
             renders that no training uses                             about 10 minutes
  evaluate   figures of both files, beside those of the float nets
  all        each of the above in turn

and four checks of the daemon itself (--affectd):
  rooms      drawn rooms without people, 1,000 frames each: none may get a label
  follow     rendered heads that turn to 60 degrees, tilt to 60, nod to 40, with a
             hand in front of the mouth, and a blurred frame: in which share of the
             frames the head stays one track
  baseline   how much the automatic baseline improves the answers for rendered people
             whose resting face has a bias, and how much it harms the answers for
             people of muxspace that no training uses
  drive      a rendered driver: closures, states and yawns

A training with --minutes fits the available time. One with --steps gives the same files again
on the same machine, even if it is stopped and resumed.
"""
RENDERS = ((1500, False), (1008, True), (1500, False), (1500, False), (1500, False), (1500, False))
OUTPUT = {"face": "face_64.onnx", "eye": "face_eyes_32.onnx"}


def add_parser(sub: argparse._SubParsersAction, root: Path, data: Path, runs: Path) -> None:
    face = sub.add_parser("face", help="the networks that say whether a box holds a face, and where it looks",
                          description="Trains the face net and the eye net.", epilog=STEPS,
                          formatter_class=argparse.RawDescriptionHelpFormatter)
    face.add_argument("step", choices=("label", "render", "negatives", "train", "quantize", "test-data", "evaluate", "all", "rooms", "follow", "baseline", "drive"))
    face.add_argument("--run", type=Path, default=runs / "face", help="working files (default: runs/face)")
    face.add_argument("--data", type=Path, default=data)
    face.add_argument("--photos", type=Path, help="unpacked packages (default: RUN/photos)")
    face.add_argument("--net", choices=("face", "eye"), help="the net for train and quantize (default: both)")
    face.add_argument("--minutes", type=float, default=40.0, help="minutes of training per net, over all calls (default: 40)")
    face.add_argument("--steps", type=int, default=0, help="steps of training, instead of minutes")
    face.add_argument("--rate", type=float, default=3e-3)
    face.add_argument("--batch", type=int, default=128)
    face.add_argument("--no-bfloat16", action="store_true", help="train in f32: slower where the processor has bfloat16")
    face.add_argument("--int8-minutes", type=float, default=5.0, help="minutes of fine-tuning in int8; 0 only calibrates (default: 5)")
    face.add_argument("--int8-steps", type=int, default=0)
    face.add_argument("--seed", type=int, default=1)
    face.add_argument("--every-tile", type=int, default=2, help="use one in this many of FER2013's training tiles (default: 2)")
    face.add_argument("--pictures", type=int, default=1300, help="photographs to search for windows (default: 1300)")
    face.add_argument("--scenes", type=int, default=260, help="drawn scenes to search for windows (default: 260)")
    face.add_argument("--models", type=Path, default=root / "models", help="folder of the exported files (default: models)")
    face.add_argument("--origin", default="affectd developers, scripts/train face")
    face.add_argument("--float", action="store_true", help="also evaluate the float nets")
    face.add_argument("--json", type=Path, help="write evaluate's figures here")
    face.add_argument("--plot", type=Path, help="write evaluate's curves of presence thresholds here, as SVG")
    face.add_argument("--affectd", type=Path, default=root / "target/release/affectd", help="for rooms, follow, baseline and drive")
    face.add_argument("--count", type=int, help="scenes for rooms (default: 50), people for follow (default: 8), baseline (default: 30) and drive (default: 3)")
    face.add_argument("--frames", type=int, default=1000, help="frames per scene for rooms (default: 1000)")
    face.add_argument("--side", type=int, default=100, help="pixels of the face's box for follow (default: 100)")
    face.add_argument("--write-manifests", action="store_true", help="put evaluate's main figures into the manifests")


def run(args: argparse.Namespace) -> None:
    if args.step in ("rooms", "follow", "baseline", "drive"):
        return check_daemon(args)
    for step in ("label", "render", "negatives", "train", "quantize", "test-data", "evaluate"):
        if args.step in (step, "all"):
            {"label": label, "render": render, "negatives": negatives, "train": train, "quantize": quantize,
             "test-data": test_data, "evaluate": evaluate}[step](args)


def check_daemon(args: argparse.Namespace) -> None:
    from .drive import drive
    from .replay import follow, rooms

    if not args.affectd.exists():
        raise SystemExit(f"there is no {args.affectd}: run `cargo build --release`, or name a binary with --affectd")
    if args.step == "rooms":
        if rooms(args.affectd, args.count or 50, args.frames, "") > 0:
            raise SystemExit(1)
    elif args.step == "baseline":
        baseline(args)
    elif args.step == "drive":
        if not drive(args.affectd, args.data, args.count or 3):
            raise SystemExit(1)
    elif follow(args.affectd, args.data, args.count or 8, args.side) < 0.97:
        raise SystemExit("less than 97% of the frames were kept")


STRENGTHS = (0.25, 0.5, 0.75, 1.0)   # 0.5 is the default


def baseline(args: argparse.Namespace) -> None:
    from .resting import real, renders

    gains = renders(args.affectd, args.data, args.count or 30, STRENGTHS)
    change = real(args.affectd, args.data, 10 * (args.count or 30), STRENGTHS)
    if min(gain[0.5] for kind, gain in gains.items() if kind != "none") < 8 or change[0.5] < -0.5:
        raise SystemExit("with the baseline, a bias must cost at least 8 points less, and people without a bias may lose at most 0.5 points")


def label(args: argparse.Namespace) -> None:
    from .label import label as label_source

    for source, every in (("muxspace", 1), ("fer2013", args.every_tile)):
        if not (out := args.run / f"{source}.npz").exists():
            label_source(source, args.data, out, every)


def render(args: argparse.Namespace) -> None:
    from .renders import Faces

    wanted = {k: part for k, part in enumerate(RENDERS) if not (args.run / f"renders_{k}.npz").exists()}
    if not wanted:
        return
    faces = Faces(args.data)
    for k, (count, held_out) in wanted.items():
        faces.make(count, 100 * args.seed + k, held_out).save(args.run / f"renders_{k}.npz")


def photos_folder(args: argparse.Namespace) -> Path:
    return args.photos or args.run / "photos"


def negatives(args: argparse.Namespace) -> None:
    from .negatives import draw_scenes, fetch, prepare

    if args.photos is None:
        fetch(photos_folder(args))
    prepare(photos_folder(args), args.data, args.run / "negatives.npz", args.pictures, args.seed)
    if not (out := args.run / "negatives_drawn.npz").exists():
        draw_scenes(out, args.scenes, args.seed)


def nets(args: argparse.Namespace) -> tuple[str, ...]:
    return (args.net,) if args.net else ("face", "eye")


def train(args: argparse.Namespace) -> None:
    from .train import Recipe, run_training

    for net in nets(args):
        run_training(Recipe(net, args.minutes, args.steps, args.batch, args.rate, seed=args.seed,
                            bfloat16=not args.no_bfloat16), args.run)


def quantize(args: argparse.Namespace) -> None:
    from .quantize import quantize as quantize_net

    for net in nets(args):
        quantize_net(net, args.run, args.models / OUTPUT[net], args.int8_minutes, args.int8_steps, args.seed, args.origin)


def test_data(args: argparse.Namespace) -> None:
    from .evaluate import prepare_faces, prepare_windows
    from .negatives import listed
    from .renders import Faces, POSED, posed
    from .samples import Samples

    if not all((args.run / "posed" / f"{name}.npz").exists() for name in POSED):
        for name, samples in posed(Faces(args.data), 100, args.seed).items():
            samples.save(args.run / "posed" / f"{name}.npz")
    apart = [p for p in listed(photos_folder(args), args.run / "pictures.json") if p.held_out]
    apart = [apart[i] for i in np.random.default_rng(3).permutation(len(apart))]
    out = args.run / "test"
    out.mkdir(parents=True, exist_ok=True)
    if not (out / "faces.npz").exists():
        people = Samples.open(args.run / "muxspace.npz")
        prepare_faces(people[people.held_out], apart, out / "faces.npz", 1000)
    if not (out / "windows.npz").exists():
        prepare_windows(apart[:404], args.data, 100, out / "windows.npz")


def evaluate(args: argparse.Namespace) -> None:
    from .evaluate import evaluate as figures, onnx_net, plot, show, torch_net, write_figures

    paths = {net: args.models / name for net, name in OUTPUT.items()}
    result = {"int8": figures(onnx_net(paths["face"]), onnx_net(paths["eye"]), args.run)}
    if args.float:
        result["float"] = figures(torch_net(args.run / "face.pt", "face"), torch_net(args.run / "eye.pt", "eye"), args.run)
    show(result)
    if args.json:
        args.json.write_text(json.dumps(result, indent=1) + "\n")
    if args.plot:
        plot(result["int8"]["presence"]["by threshold"], args.plot)
    if args.write_manifests:
        for net, path in paths.items():
            write_figures(net, path.with_suffix(".toml"), result["int8"])
