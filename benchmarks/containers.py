"""Corrupted and hostile model files, each loaded in a process of its own: errors, seconds, peak memory.

    python benchmarks/containers.py [--count 200] [--seed 0] [--net vgg16]

Half of them are damaged: cut short, bits flipped, bytes put in, taken out or doubled. The others are written
by somebody who knows the format: sizes, counts, types and places that lie, bombs, names that are paths, under
checksums that fit. The exit status is 0 if each one ends in a ContainerError within a second of processor
time, with less than twice the memory that the honest file takes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

import prunery
from prunery.errors import ContainerError
from prunery.export import layout
from prunery.export.coding import zstd
from prunery.models.build import build

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

from fault_hostile import hurt

Header = dict[str, Any]
LIES: dict[str, Callable[[random.Random, Header, dict[str, Any]], Any]] = {
    "a shape of 10^18": lambda draw, about, entry: entry.update(shape=[10**9, 10**9]),
    "a shape a thousand times as large": lambda draw, about, entry: entry.update(
        shape=[1000, *entry["shape"]]
    ),
    "a shape that is smaller": lambda draw, about, entry: entry.update(shape=[1]),
    "a shape below 0": lambda draw, about, entry: entry.update(shape=[-1, *entry["shape"]]),
    "a count of NaN": lambda draw, about, entry: entry.update(count=float("nan")),
    "a count that is too large": lambda draw, about, entry: entry.update(count=entry["count"] + 10**9),
    "a count that is too small": lambda draw, about, entry: entry.update(count=max(0, entry["count"] - 1)),
    "another type": lambda draw, about, entry: entry.update(
        dtype=draw.choice(["float64", "int8", "quint8", "x"])
    ),
    "another coding": lambda draw, about, entry: entry.update(coding=draw.choice(["pickle", "", "dense2"])),
    "another place": lambda draw, about, entry: entry.update(at=draw.choice([0, 7, 10**15, entry["at"] + 1])),
    "parts of other sizes": lambda draw, about, entry: entry.update(
        parts=[[n, 2 * s] for n, s in entry["parts"]]
    ),
    "parts of 4 GB": lambda draw, about, entry: entry.update(parts=[[n, 1 << 32] for n, _ in entry["parts"]]),
    "no parts": lambda draw, about, entry: entry.update(parts=[]),
    "no checksum": lambda draw, about, entry: entry.update(sha256=""),
    "no entry": lambda draw, about, entry: entry.clear(),
    "another version": lambda draw, about, entry: about.update(version=draw.choice([0, 3, "2", None])),
    "tied to nothing": lambda draw, about, entry: about.update(tied={"../../etc/passwd": "nothing"}),
    "modules that are none": lambda draw, about, entry: about.update(modules={"a": [1]}),
    "tensors that are none": lambda draw, about, entry: about.update(
        tensors=draw.choice([[], 7, None, {"a": 1}])
    ),
}


def lied(draw: random.Random, content: bytes) -> tuple[str, bytes]:
    """Return a file that says something false, under checksums that fit, and what that is."""
    place, length, raw, _ = layout._FOOTER.unpack(content[-layout._FOOTER.size :])
    about = json.loads(zstd.decompress(content[place : place + length]))
    what = draw.choice([*LIES, "a header that is a bomb", "a part that is a bomb"])
    body = content[:place]
    if what == "a header that is a bomb":
        stored, raw = zstd.compress(b" " * (1 << 28)), 1 << 20
        return what, sealed(body, stored, raw)
    if what == "a part that is a bomb":
        name, entry = next(iter(sorted(about["tensors"].items())))
        bomb = zstd.compress(b"\0" * (1 << 28))
        body = body[:8] + bomb
        entry.update(at=8, parts=[[len(bomb), 64]], coding="dense", shape=[64], dtype="uint8", count=64)
        entry.update(sha256=layout.hashlib.sha256(bomb).hexdigest())
        about["tensors"] = {name: entry}
    else:
        # of an empty tensor, whose values are all 0, any shape is true
        names = sorted(name for name, entry in about["tensors"].items() if entry["count"] > 1)
        LIES[what](draw, about, about["tensors"][draw.choice(names)])
    text = json.dumps(about).encode()
    return what, sealed(body, zstd.compress(text), len(text))


def sealed(body: bytes, stored: bytes, raw: int) -> bytes:
    """Return a file of these parts and this header, with a checksum that fits."""
    numbers = (len(body), len(stored), raw)
    return body + stored + layout._FOOTER.pack(*numbers, layout._digest(stored, numbers))


def loaded(path: Path, into: Callable[[], torch.nn.Module] | None) -> tuple[str, float, float]:
    """Return how loading a file ends in a process of its own, its seconds, and its peak in MB."""
    said, say = os.pipe()
    child = os.fork()
    if child == 0:
        began = time.process_time()
        try:
            prunery.load(path, into=None if into is None else into())
            ended = "loaded"
        except ContainerError:
            ended = "ContainerError"
        except BaseException as problem:
            ended = f"{type(problem).__name__}: {problem}"[:200]
        os.write(say, f"{time.process_time() - began:.3f} {ended}".encode())
        os._exit(0)
    os.close(say)
    _, _, used = os.wait4(child, 0)
    with os.fdopen(said) as text:
        seconds, _, ended = text.read().partition(" ")
    return ended or "killed", float(seconds or "nan"), used.ru_maxrss / 1024


def main() -> int:
    """Load the honest file, then all others."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--net", default="vgg16")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    model = build(asked.net, classes=10, seed=0)
    prunery.prune(model, "90%")
    wrong, what_came = 0, Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.prunery"
        prunery.save(model, path)
        content = path.read_bytes()
        _, _, nothing = loaded(Path(folder) / "none", None)
        ended, seconds, honest = loaded(path, None)
        print(f"honest: {ended} in {seconds:.2f} s, {honest - nothing:.0f} MB above a process without it")
        slowest = largest = 0.0
        for number in range(asked.count):
            draw = random.Random(asked.seed + number)
            what, bad = ("damaged", hurt(draw, content)) if number % 2 else lied(draw, content)
            if bad == content:
                what, bad = "damaged", content[:-1]
            path.write_bytes(bad)
            ended, seconds, peak = loaded(path, None if draw.random() < 0.5 else lambda: model)
            what_came[what] += 1
            slowest, largest = max(slowest, seconds), max(largest, peak - nothing)
            if ended != "ContainerError" or seconds > 1 or peak - nothing > 2 * (honest - nothing):
                wrong += 1
                print(f"WRONG  number {number}, {what}: {ended} in {seconds:.2f} s, {peak - nothing:.0f} MB")
    worst = f"the slowest took {slowest:.2f} s, the largest {largest:.0f} MB"
    print(f"{asked.count} files, {wrong} ended wrongly; {worst}")
    print(", ".join(f"{what} {times}" for what, times in what_came.most_common()))
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
