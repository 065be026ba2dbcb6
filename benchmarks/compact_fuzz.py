"""Compacts random networks under random masks and compares them with the masked original.

python benchmarks/compact_fuzz.py --count 300 --seed 0
"""

from __future__ import annotations

import argparse
import copy
import random
import sys
import traceback
from collections import Counter
from pathlib import Path

import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import graph_compare
import graph_nets
import graph_random
import graph_random_parts  # noqa: F401  (enters more parts)

from prunery.errors import PruneryError
from prunery.export.compact import compacted

BAD = ("UNEQUAL", "CRASH")


def damaged(model: nn.Module, draw: random.Random) -> nn.Module:
    """Set random weights, rows, columns and biases of a model to 0, and some rows equal to others."""
    rng = torch.Generator().manual_seed(draw.randrange(2**31))
    share, whole, equal = draw.choice([0, 0.5, 0.9, 0.98]), draw.uniform(0, 0.6), draw.uniform(0, 0.3)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim > 1:
                parameter[torch.rand(parameter.shape, generator=rng) < share] = 0
                parameter[torch.rand(len(parameter), generator=rng) < whole] = 0
                parameter[:, torch.rand(parameter.shape[1], generator=rng) < whole] = 0
            elif draw.random() < 0.5:
                parameter[torch.rand(parameter.shape, generator=rng) < whole] = 0
            if draw.random() < 0.5:
                twins = torch.rand(len(parameter), generator=rng) < equal
                parameter[twins] = parameter[:1].clone()
    return model


def one(seed: int) -> tuple[str, str]:
    """Return what became of the network of a seed, and what there is to say."""
    draw = random.Random(seed)
    model = damaged(graph_nets.built(lambda: graph_random.Network(seed), seed), draw)
    example = graph_random.input_of(2, seed)
    try:
        done = compacted(model, None, example)
        more = [example, graph_random.input_of(2, seed + 1), graph_random.input_of(3, seed + 2)]
        pairs = [(graph_compare.call(model, x), graph_compare.call(done.model, x)) for x in more]
        worst = max(graph_compare.difference(a, b) for a, b in pairs)
        copy.deepcopy(done.model)
    except PruneryError as error:
        return "refused", str(error)
    except Exception:
        return "CRASH", traceback.format_exc()
    if worst > graph_compare.TOLERANCE:
        return "UNEQUAL", f"{worst:.1e}"
    return ("held back", done.held_back) if done.held_back else ("equal", _did(done.parameters))


def _did(parameters: tuple[int, int]) -> str:
    return "smaller" if parameters[1] < parameters[0] else "as large"


def main() -> int:
    """Print what became of the networks; return 1 where one was unequal or crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.count):
        kind, detail = one(seed)
        counts[f"{kind}, {detail}" if kind == "equal" else kind] += 1
        if kind != "equal":
            print(f"{seed}: {kind}: {detail}", flush=True)
    print(", ".join(f"{count} {kind}" for kind, count in sorted(counts.items())))
    return int(any(counts[kind] for kind in BAD))


if __name__ == "__main__":
    sys.exit(main())
