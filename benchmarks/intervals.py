"""How often the intervals of a table hold together, and what they show, on synthetic studies of known truth.

    python benchmarks/intervals.py

For studies of methods by sparsities, each compared with one dense network, over 3 and 5 seeds: the share in
which all intervals cover the truth (equal spreads, and spreads that differ), the share in which a difference
of twice the spread of a difference is shown, and how often a verdict and its interval disagree. "seeds
apart": at each sparsity, what pruned networks of a seed share varies once more, as much as single runs do.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

import numpy as np

from prunery.comparisons import NOT_SHOWN, Difference, Pair, compared

SHAPES = ((3, 3), (9, 1), (5, 6), (10, 9))  # methods, sparsities


def study(
    rng: np.random.Generator,
    spreads: Sequence[Sequence[float]],
    *,
    dense: float,
    apart: float,
    n: int,
    truth: float,
) -> tuple[list[Difference], list[float]]:
    """Return the comparisons of one study, and their true differences; the first one's is `truth`."""
    shared = rng.normal(0, 1, n)
    baseline = dict(enumerate(shared + rng.normal(0, dense, n)))
    pairs, truths = [], []
    for level, of_level in enumerate(spreads):
        here = shared + rng.normal(0, apart, n)
        for method, sd in enumerate(of_level):
            truths.append(0.0 if pairs else truth)
            values = dict(enumerate(here + rng.normal(0, sd, n) + truths[-1]))
            pairs.append(Pair(level, method, "dense", values, baseline))
    return [d for d in compared(pairs, together=True) if d is not None], truths


def counted(
    times: int,
    spreads: Sequence[Sequence[float]],
    *,
    dense: float = 1.0,
    apart: float = 0.0,
    n: int,
    truth: float = 0.0,
) -> tuple[float, float, int]:
    """Return the shares of studies that hold and that show the first, and how many verdicts disagree."""
    rng = np.random.default_rng(1)
    hold = shown = disagree = 0
    for _ in range(times):
        differences, truths = study(rng, spreads, dense=dense, apart=apart, n=n, truth=truth)
        summaries = [d.summary for d in differences]
        hold += all((s.low or 0) <= t <= (s.high or 0) for s, t in zip(summaries, truths, strict=True))
        shown += differences[0].verdict != NOT_SHOWN
        disagree += sum(
            (d.verdict == NOT_SHOWN) != ((d.summary.low or 0) <= 0 <= (d.summary.high or 0))
            for d in differences
        )
    return hold / times, shown / times, disagree


def main() -> None:
    """Print one line per shape and number of seeds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--studies", type=int, default=2000)
    times = parser.parse_args().studies
    print(f"{times} studies each; all intervals hold, by whose spread is larger than all others':")
    print("nobody's | every other method's, twofold | one sparsity's, twofold, fourfold |")
    print(
        "the dense network's, twofold, fourfold | seeds apart || a difference of twice its spread is shown |"
    )
    print("verdicts that contradict their interval")
    for n in (3, 5):
        for methods, levels in SHAPES:
            equal = [[1.0] * methods] * levels
            second = [[1.0, 2.0] * (methods // 2) + [1.0] * (methods % 2)] * levels
            level = [[*equal[1:], [size] * methods] for size in (2.0, 4.0)]
            kept, shown, disagree = counted(times, equal, n=n, truth=2 * 2**0.5)
            alone = [counted(times, s, n=n)[0] for s in (second, *level)]
            dense = [counted(times, equal, dense=size, n=n)[0] for size in (2.0, 4.0)]
            apart = counted(times, equal, apart=1.0, n=n)[0]
            shares = " | ".join(f"{share:6.1%}" for share in (kept, *alone, *dense, apart))
            print(f"{n} seeds, {methods:2} x {levels}: {shares} || {shown:6.1%} | {disagree}", flush=True)


if __name__ == "__main__":
    main()
