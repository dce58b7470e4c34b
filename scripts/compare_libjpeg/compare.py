"""Compares the luma of `jpeg::luma` with libjpeg-turbo's on valid and mutated JPEGs."""

import argparse
import collections
import io
import os
import pathlib
import random
import re
import struct
import subprocess
import sys
import time

import numpy
import simplejpeg
from PIL import Image

import pictures


class Ours:
    def __init__(self, program):
        self.program = program
        self.start()

    def start(self):
        self.process = subprocess.Popen([self.program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def read(self, count):
        data = self.process.stdout.read(count)
        if len(data) < count:
            raise EOFError
        return data

    def luma(self, data):
        """Pixels, or the error's text. EOFError if the program crashed."""
        self.process.stdin.write(struct.pack("<I", len(data)) + data)
        self.process.stdin.flush()
        if self.read(1) == b"\1":
            width, height = struct.unpack("<II", self.read(8))
            return numpy.frombuffer(self.read(width * height), numpy.uint8).reshape(height, width)
        return self.read(struct.unpack("<I", self.read(4))[0]).decode()


def libjpeg(data, strict):
    """Luma, or the error's text; with `strict` a warning is an error, too.

    TurboJPEG reports warnings, but itself refuses some sampling factors; pictures
    with these go to libjpeg-turbo through Pillow.
    """
    try:
        return simplejpeg.decode_jpeg(data, "GRAY", strict=strict)[:, :, 0]
    except ValueError as error:
        if "subsampling level" not in str(error):
            return str(error)
    try:
        image = Image.open(io.BytesIO(data))
        image.draft("L", None)
        return numpy.asarray(image) if image.mode == "L" else f"Pillow gives {image.mode}"
    except (OSError, SyntaxError, ValueError) as error:
        return str(error)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("program")
    parser.add_argument("--count", type=int, default=20_000, help="number of mutated pictures (default: 20,000); the number of valid ones is a fifth of this")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for pictures that differ")
    parser.add_argument("--record", type=pathlib.Path, help="a folder for 24 valid pictures with libjpeg's luma")
    parser.add_argument("files", nargs="*", type=pathlib.Path, help="JPEGs to mutate as well")
    args = parser.parse_intermixed_args()
    rng = random.Random(args.seed)
    if args.record:
        return record(rng, args.record)
    ours = Ours(args.program)
    seeds = [path.read_bytes() for path in args.files]
    bad = 0
    for kind, count in (("valid", args.count // 5), ("mutated", args.count)):
        outcomes, started = collections.Counter(), time.monotonic()
        base = []
        for number in range(count):
            if kind == "valid":
                data = pictures.make(rng)
            else:
                if number % 4 == 0 or not base:
                    base = [rng.choice(seeds)] if seeds and rng.random() < 0.1 else [pictures.make(rng)]
                data = pictures.mutate(rng, base[0])
            outcome = compare(ours, data)
            outcomes[outcome] += 1
            if outcome[0] in ("DIED", "DIFFERS"):
                bad += 1
                if args.keep:
                    args.keep.mkdir(parents=True, exist_ok=True)
                    (args.keep / f"{kind}-{number}-{outcome[0]}.jpg").write_bytes(data)
        print(f"{count} {kind} pictures in {time.monotonic() - started:.0f} s:")
        for outcome, times in outcomes.most_common():
            print(f"{times:8}  {' | '.join(outcome)}", flush=True)
    return 1 if bad else 0


def record(rng, folder):
    folder.mkdir(parents=True, exist_ok=True)
    number = 0
    while number < 24:
        data = pictures.make(rng)
        luma = libjpeg(data, strict=True)
        frame = next(part for part in pictures.parts_of(data) if part[1] in (0xC0, 0xC1, 0xC2))
        factors = [(f >> 4, f & 15) for f in frame[11::3]]
        full = len(factors) == 1 or factors[0] == tuple(map(max, zip(*factors)))
        if isinstance(luma, str) or len(data) > 2500 or not full:
            continue
        (folder / f"{number:02}.jpg").write_bytes(data)
        Image.fromarray(luma).save(folder / f"{number:02}.png", optimize=True)
        number += 1
    return 0


def undecided(data):
    """Why libjpeg-turbo's pixels cannot be the reference, or None.

    It smooths a progressive picture with missing bits, even its luma if only chroma
    bits are missing. And its code for vector units works in 16 bits: with random
    coefficients it overflows and differs from its own C code.
    """
    if not pictures.is_complete(data):
        return ("libjpeg smooths a picture whose chroma is incomplete",)
    code = "import sys, compare; sys.stdout.buffer.write(compare.libjpeg(sys.stdin.buffer.read(), False).tobytes())"
    outputs = [
        subprocess.run(
            [sys.executable, "-c", code],
            input=data,
            stdout=subprocess.PIPE,
            check=True,
            cwd=pathlib.Path(__file__).parent,
            env={**os.environ, **more},
        ).stdout
        for more in ({}, {"JSIMD_FORCENONE": "1"})
    ]
    return ("libjpeg's own results differ",) if outputs[0] != outputs[1] else None


def compare(ours, data):
    try:
        found = ours.luma(data)
    except (EOFError, BrokenPipeError):
        ours.start()
        return ("DIED",)
    reference = libjpeg(data, strict=True)
    valid = not isinstance(reference, str)
    if isinstance(found, str):
        reason = re.sub(r"\d+x\d+|\d+", "N", found)
        return ("refused here", "libjpeg reads it" if valid else "libjpeg warns or refuses", reason)
    if not valid:
        warning = re.sub(r"\d+x\d+|0x..|\d+", "N", reference)
        reference = libjpeg(data, strict=False)
        # After some errors, libjpeg returns the part that was decoded so far.
        if isinstance(reference, str) or "not defined" in warning:
            return ("read here", "libjpeg refuses", warning)
        if found.shape != reference.shape or (found != reference).any():
            return undecided(data) or ("DIFFERS", "libjpeg warns", warning)
        return ("the same luma", "libjpeg warns", warning)
    if found.shape != reference.shape:
        return ("DIFFERS", "in size")
    if (found != reference).any():
        return undecided(data) or ("DIFFERS", "by at most " + str(numpy.abs(found.astype(int) - reference).max()))
    return ("the same luma",)


if __name__ == "__main__":
    sys.exit(main())
