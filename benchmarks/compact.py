"""Half of the channels of a network removed, and the rest compacted: parameters, MACs, bytes, latency.

python benchmarks/compact.py --nets resnet18 vgg16
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import prunery
from prunery.export.compact import Compaction, compacted
from prunery.graph.coupling import graph_of
from prunery.models.build import build


def half_of_all_channels(model: nn.Module, example: Tensor) -> dict[str, Tensor]:
    """Return masks that remove every second unit of each group of channels that may go."""
    masks: dict[str, Tensor] = {}
    parameters = dict(model.named_parameters())
    for group in graph_of(model, example).free:
        for part in group.slices:
            if part.name in parameters:
                mask = masks.setdefault(part.name, torch.ones_like(parameters[part.name], dtype=torch.bool))
                places = torch.from_numpy((part.unit % 2 == 1) & (part.unit >= 0)).nonzero().flatten()
                mask.index_fill_(part.axis, places, False)
    return masks


def milliseconds(models: list[nn.Module], example: Tensor, rounds: int) -> list[float]:
    """Return the median time of a call of each model; they take turns."""
    times: list[list[float]] = [[] for _ in models]
    with torch.inference_mode():
        for number in range(rounds + 3):
            for model, own in zip(models, times, strict=True):
                begin = time.perf_counter()
                model(example)
                if number >= 3:
                    own.append(1000 * (time.perf_counter() - begin))
    return [statistics.median(own) for own in times]


def size(model: nn.Module) -> int:
    """Return the bytes of a model's file."""
    with tempfile.TemporaryDirectory() as folder:
        prunery.save(model, Path(folder) / "model")
        return os.path.getsize(Path(folder) / "model")


def report(name: str, rounds: int) -> None:
    """Print what is left of a network when half of its channels go."""
    model = build(name, shape=(3, 32, 32), classes=10, seed=0).eval()
    example = torch.randn(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    masks = half_of_all_channels(model, example)
    begin = time.perf_counter()
    done: Compaction = compacted(model, masks, example)
    seconds = time.perf_counter() - begin
    small = done.model
    macs = [prunery.cost(m, example).macs.dense for m in (model, small)]
    slow, fast = milliseconds([model, small], example, rounds)
    print(f"{name}, {torch.get_num_threads()} thread(s), batch 1, {rounds} rounds")
    print(f"{'':12}{'before':>14}{'after':>14}{'after, %':>10}")
    before, after = done.parameters
    rows = [("parameters", before, after), ("MACs", *macs), ("bytes", size(model), size(small))]
    for label, one, other in rows:
        print(f"{label:12}{one:>14,}{other:>14,}{100 * other / one:>10.2f}")
    print(f"{'ms':12}{slow:>14.2f}{fast:>14.2f}{100 * fast / slow:>10.2f}")
    print(f"compacted and checked in {seconds:.1f} s; {slow / fast:.2f} times as fast")


def main() -> None:
    """Print a table for each network."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--nets", nargs="+", default=["resnet18", "vgg16"])
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    for name in options.nets:
        report(name, options.rounds)


if __name__ == "__main__":
    main()
