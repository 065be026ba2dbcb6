"""Shrinks random networks at a random sparsity and compares them with the masked original.

python benchmarks/graph_fuzz.py --count 2000 --seed 0
"""

from __future__ import annotations

import argparse
import random
import sys
import traceback
from collections import Counter
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent / "tests" / "kits"))

import graph_compare
import graph_nets
import graph_random
import graph_random_parts  # noqa: F401  (enters more parts)

from prunery.errors import PruneryError
from prunery.graph.coupling import graph_of

BAD = ("UNEQUAL", "CRASH")


def one(seed: int) -> tuple[str, str]:
    """Return what became of the network of a seed, and what there is to say."""
    draw = random.Random(seed)
    model = graph_nets.built(lambda: graph_random.Network(seed), seed)
    example = graph_random.input_of(2, seed)
    try:
        graph = graph_of(model, example)
        if not graph.free:
            return "pinned wholly", ""
        roots = graph_compare.chosen(graph.free, draw.uniform(0.1, 0.9), seed)
        more = [example, graph_random.input_of(2, seed + 1), graph_random.input_of(3, seed + 2)]
        same, detail = graph_compare.verdict(model, graph, roots, more)
    except PruneryError as error:
        return "refused", str(error)
    except Exception:
        return "CRASH", traceback.format_exc()
    return ("equal" if same else "UNEQUAL"), detail


def main() -> int:
    """Print what became of the networks; return 1 where one was unequal or crashed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    torch.set_num_threads(1)
    counts: Counter[str] = Counter()
    for seed in range(options.seed, options.seed + options.count):
        kind, detail = one(seed)
        counts[kind] += 1
        if detail:
            print(f"seed {seed}: {kind} {detail}")
    print(", ".join(f"{kind}: {counts[kind]}" for kind in ("equal", "pinned wholly", "refused", *BAD)))
    return int(any(counts[kind] for kind in BAD))


if __name__ == "__main__":
    sys.exit(main())
