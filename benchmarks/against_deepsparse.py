"""The sparse callable against DeepSparse 1.8.0, in turns, each in a process of its own.

python benchmarks/against_deepsparse.py
python benchmarks/against_deepsparse.py --nets vgg16_bn --sparsity 0.9 --batch 64 --rounds 30

DeepSparse is closed, no longer maintained, and licensed for evaluation only; its last wheel that installs
is for Python 3.11 at most. This makes a virtual environment for it (--venv; `python3.11` must be found).
Networks are those of sparse_callable.py. Times are of the process on the processor, one thread. A ratio is
the median over rounds of DeepSparse's time over the callable's in the same round.
"""

from __future__ import annotations

import argparse
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy
import onnx
import sparse_callable as bench
import torch

import prunery

PACKAGES = ("deepsparse==1.8.0", "numpy<2", "onnx<1.15", "setuptools<81")
TURN = 0.05  # seconds

WORKER = """
import sys, time
import numpy
from deepsparse import compile_model
model, inputs, out, batch = sys.argv[1:5]
x = [numpy.load(inputs)]
engine = compile_model(model, batch_size=int(batch), num_cores=1)
numpy.save(out, engine.run(x)[0])
print("ready", flush=True)
for line in sys.stdin:
    count, begin = 0, time.process_time()
    while count == 0 or time.process_time() - begin < float(line):
        engine.run(x)
        count += 1
    print(1000 * (time.process_time() - begin) / count, flush=True)
"""


def environment(folder: Path) -> Path:
    """Return the interpreter of a virtual environment that has DeepSparse, made if need be."""
    python = folder / "bin" / "python"
    if (
        python.exists()
        and not subprocess.run([python, "-c", "import deepsparse"], capture_output=True).returncode
    ):
        return python
    base = shutil.which("python3.11") or shutil.which("python3.10")
    if base is None:
        sys.exit("DeepSparse 1.8.0 needs Python 3.11 or 3.10: install one")
    subprocess.run([base, "-m", "venv", "--clear", folder], check=True)
    subprocess.run([python, "-m", "pip", "install", "--quiet", *PACKAGES], check=True)
    return python


class DeepSparse:
    """An engine of DeepSparse in a process of its own, which waits for its turns."""

    def __init__(self, python: Path, model: torch.nn.Module, x: torch.Tensor, folder: Path) -> None:
        path, inputs, out = (folder / name for name in ("model.onnx", "x.npy", "y.npy"))
        # the older exporter: of the newer one's graphs DeepSparse runs ResNet-18's dense
        torch.onnx.export(model, (x,), path, dynamo=False, opset_version=13)
        written = onnx.load(path)
        written.ir_version = 8  # what onnx 1.14 reads
        onnx.save(written, path)
        numpy.save(inputs, x.numpy())
        command = [python, "-c", WORKER, path, inputs, out, str(len(x))]
        self._process = subprocess.Popen(
            [str(part) for part in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        while (line := self._read()) != "ready\n":
            if not line:
                sys.exit("DeepSparse ended: see above")
        self.output = torch.from_numpy(numpy.load(out))

    def turn(self) -> float:
        """Return the milliseconds of a call."""
        assert self._process.stdin is not None
        self._process.stdin.write(f"{TURN}\n")
        self._process.stdin.flush()
        return float(self._read())

    def close(self) -> None:
        """End its process."""
        self._process.terminate()
        self._process.wait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()


def turn(call: Callable[[], Any]) -> float:
    """Return the milliseconds of a call."""
    count, begin = 0, time.process_time()
    while count == 0 or time.process_time() - begin < TURN:
        call()
        count += 1
    return 1000 * (time.process_time() - begin) / count


def line(python: Path, name: str, sparsity: float, batch: int, asked: argparse.Namespace) -> None:
    """Time one network and print its line."""
    model, shape = bench.network(name, sparsity)
    x = torch.randn(batch, *shape, generator=torch.Generator().manual_seed(1))
    fast = prunery.sparse_callable(model, x, threads=1, tune=asked.tune)
    with torch.inference_mode(), tempfile.TemporaryDirectory() as folder:
        other = DeepSparse(python, model, x, Path(folder))
        expected = model(x)
        apart = [float((y - expected).abs().max() / expected.abs().max()) for y in (fast(x), other.output)]
        own, theirs = list[float](), list[float]()
        for number in range(asked.rounds + 2):
            pair = turn(lambda: fast(x)), other.turn()
            if number >= 2:
                own.append(pair[0])
                theirs.append(pair[1])
        other.close()
    ratios = sorted(a / b for a, b in zip(theirs, own, strict=True))
    low, middle, high = (ratios[round(q * (len(ratios) - 1))] for q in (0.25, 0.5, 0.75))
    print(
        f"{name:12} {100 * sparsity:4.0f} % batch {batch:3}  {middle:5.2f}x ({low:.2f}-{high:.2f})  "
        f"DeepSparse {statistics.median(theirs):.2f} ms, sparse callable {statistics.median(own):.2f} ms; "
        f"apart from torch {apart[1]:.0e}, {apart[0]:.0e}",
        flush=True,
    )


def main() -> None:
    """Print a line for each network, sparsity and batch size."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--nets", nargs="+", default=["vgg16_bn", "resnet18", "lenet5", "resnet50"])
    parser.add_argument("--sparsity", nargs="+", type=float, default=[0.9, 0.95])
    parser.add_argument("--batch", nargs="+", type=int, default=[1, 64])
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--tune", default="fast")
    parser.add_argument("--venv", type=Path, default=Path(tempfile.gettempdir()) / "prunery-deepsparse")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    warnings.filterwarnings("ignore")
    python = environment(asked.venv)
    for name in asked.nets:
        for sparsity in asked.sparsity:
            for batch in asked.batch:
                line(python, name, sparsity, batch, asked)


if __name__ == "__main__":
    main()
