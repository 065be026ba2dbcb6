"""Well-known networks at full size: coupled, pruned to half their MACs, compacted, and compared.

python benchmarks/compact_nets.py --nets ResNet-50 ViT-B
python benchmarks/compact_nets.py --quick

A row gives the CPU seconds of each stage, what is left of MACs and parameters, and the largest difference
between the outputs of the masked and of the compacted network, as a share of the largest output. The exit
status is 1 where one of them is above 1e-5, or a stage failed.
"""

from __future__ import annotations

import argparse
import copy
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import graph_compare
import graph_nets
from graph_nets_full import FULL, QUICK

import prunery
from prunery.export.compact import compacted
from prunery.graph.coupling import graph_of
from prunery.graph.read_torch import read

Result = TypeVar("Result")
_STAGES = ("read", "couple", "prune", "compact")
_HEAD = f"{'network':14}" + "".join(f"{stage + ', s':>12}" for stage in _STAGES)
_HEAD += f"{'groups':>9}{'free':>6}{'MACs, %':>9}{'params, %':>11}{'difference':>12}"


def timed(call: Callable[[], Result]) -> tuple[Result, float]:
    """Return what a call returns, and the CPU seconds that it took."""
    begin = time.process_time()
    result = call()
    return result, time.process_time() - begin


@dataclass
class Line:
    """What became of a network: seconds by stage, what is left, and how the outputs differ."""

    name: str
    seconds: dict[str, float]
    groups: tuple[int, int]  # all, free
    macs: float
    parameters: float
    difference: float

    def __str__(self) -> str:
        stages = "".join(f"{self.seconds[stage]:12.2f}" for stage in _STAGES)
        left = f"{100 * self.macs:9.2f}{100 * self.parameters:11.2f}{self.difference:12.1e}"
        return f"{self.name:14}{stages}{self.groups[0]:9}{self.groups[1]:6}{left}"


def one(name: str, net: graph_nets.Net, sparsity: float, progress: Callable[[str], None]) -> Line:
    """Return what became of a network whose MACs are cut by `sparsity`."""
    progress("built")
    model, seconds = graph_nets.built(net.build), dict[str, float]()
    with torch.random.fork_rng():
        torch.manual_seed(1)
        example, others = net.example(1), [net.example(1), net.example(2)]
    progress("read")
    _, seconds["read"] = timed(lambda: read(model, example))
    progress("coupled")
    graph, both = timed(lambda: graph_of(model, example))
    seconds["couple"] = both - seconds["read"]
    progress("pruned")
    masked = copy.deepcopy(model)
    masks, seconds["prune"] = timed(
        lambda: prunery.prune(masked, sparsity, granularity="channel", budget="macs", example=example)
    )
    progress("compacted")
    done, seconds["compact"] = timed(lambda: compacted(model, masks, example))
    progress("compared")
    before, after = (prunery.cost(m, example).macs.dense for m in (model, done.model))
    pairs = ((graph_compare.call(masked, x), graph_compare.call(done.model, x)) for x in [example, *others])
    worst = max(graph_compare.difference(a, b) for a, b in pairs)
    numbers = done.parameters
    counts = (len(graph.groups), len(graph.free))
    return Line(name, seconds, counts, after / before, numbers[1] / numbers[0], worst)


def _progress(name: str) -> Callable[[str], None]:
    def show(stage: str) -> None:
        if sys.stderr.isatty():
            print(f"\r{name}: being {stage} ...\033[K", end="\r", file=sys.stderr, flush=True)

    return show


def main(arguments: list[str] | None = None) -> int:
    """Print a line for each network; return 1 where one failed or is unequal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--nets", nargs="+", choices=list(FULL), default=list(FULL), metavar="NET")
    parser.add_argument("--quick", action="store_true", help="small versions of them, in a few seconds")
    parser.add_argument("--sparsity", type=float, default=0.5, help="share of the MACs that goes")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    torch.set_num_threads(options.threads)
    table: dict[str, Any] = QUICK if options.quick else FULL
    _, first = timed(lambda: graph_of(torch.nn.Linear(2, 2), torch.zeros(1, 2)))
    print(f"{options.threads} thread(s), {options.sparsity:.0%} of the MACs removed")
    print(
        f"the first graph of a process takes {first:.2f} s more, for torch's own start\n{_HEAD}", flush=True
    )
    bad = []
    for name in options.nets:
        try:
            line = one(name, table[name], options.sparsity, _progress(name))
        except Exception as error:  # the others are still of interest
            bad.append(name)
            print(f"{name:14}{type(error).__name__}: {error}", flush=True)
            continue
        print(line, flush=True)
        if line.difference > graph_compare.TOLERANCE:
            bad.append(name)
    print(f"unequal or failed: {', '.join(bad)}" if bad else "all of them are equal")
    return int(bool(bad))


if __name__ == "__main__":
    sys.exit(main())
