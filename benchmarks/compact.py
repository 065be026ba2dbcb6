"""Half of the channels of a network removed, and the rest compacted: parameters, MACs, bytes, latency.

python benchmarks/compact.py --nets resnet18 vgg16 --onnx

--onnx times ONNX Runtime too (pip install 'prunery[export]').
"""

from __future__ import annotations

import argparse
import copy
import os
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import prunery
from prunery.export.compact import Compaction, compacted
from prunery.models.build import build


def milliseconds(calls: Sequence[Callable[[], Any]], rounds: int) -> list[float]:
    """Return the median time of each call; they take turns."""
    times: list[list[float]] = [[] for _ in calls]
    with torch.inference_mode():
        for number in range(rounds + 3):
            for call, own in zip(calls, times, strict=True):
                begin = time.perf_counter()
                call()
                if number >= 3:
                    own.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(own) for own in times]


def size(model: nn.Module) -> int:
    """Return the bytes of a model's file."""
    with tempfile.TemporaryDirectory() as folder:
        prunery.save(model, Path(folder) / "model")
        return os.path.getsize(Path(folder) / "model")


def in_onnx_runtime(model: nn.Module, example: Tensor) -> Callable[[], Any]:
    """Return a call of the model in ONNX Runtime, on as many threads as torch has."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "model.onnx")
        torch.onnx.export(model, (example,), path, dynamo=True, verbose=False)
        session = onnxruntime.InferenceSession(path, options)
    given = {session.get_inputs()[0].name: example.numpy()}
    return lambda: session.run(None, given)


def report(name: str, rounds: int, *, onnx: bool) -> None:
    """Print what is left of a network when half of its channels go."""
    model = build(name, shape=(3, 32, 32), classes=10, seed=0).eval()
    example = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = prunery.prune(copy.deepcopy(model), "50%", granularity="channel", example=example)
    begin = time.perf_counter()
    done: Compaction = compacted(model, masks, example)
    seconds = time.perf_counter() - begin
    small = done.model
    macs = [prunery.cost(m, example).macs.dense for m in (model, small)]
    networks = (model, small)
    times = {"ms in torch": milliseconds([lambda m=m: m(example) for m in networks], rounds)}
    if onnx:
        times["ms in ORT"] = milliseconds([in_onnx_runtime(m, example) for m in networks], rounds)
    print(f"{name}, {torch.get_num_threads()} thread(s), batch 1, {rounds} rounds")
    print(f"{'':12}{'before':>14}{'after':>14}{'after, %':>10}")
    before, after = done.parameters
    rows = [("parameters", before, after), ("MACs", *macs), ("bytes", size(model), size(small))]
    for label, one, other in rows:
        print(f"{label:12}{one:>14,}{other:>14,}{100 * other / one:>10.2f}")
    for label, (slow, fast) in times.items():
        print(
            f"{label:12}{slow:>14.2f}{fast:>14.2f}{100 * fast / slow:>10.2f}  {slow / fast:.2f} times as fast"
        )
    print(f"compacted and checked in {seconds:.1f} s")


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["resnet18", "vgg16"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--onnx", action="store_true")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.nets:
        report(name, options.rounds, onnx=options.onnx)


if __name__ == "__main__":
    main()
