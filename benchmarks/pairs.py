"""Interleaved timing for the benchmarks: A B C A B C ..., medians, ratios round by round."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Times:
    """Seconds of each round: process CPU and wall."""

    cpu: list[float]
    wall: list[float]


def interleaved(
    arms: Mapping[str, Callable[[], object]], *, rounds: int, warmup: int = 1
) -> dict[str, Times]:
    """Time each arm once per round, in turn, after `warmup` rounds that do not count."""
    times = {name: Times([], []) for name in arms}
    for turn in range(warmup + rounds):
        for name, run in arms.items():
            cpu, wall = time.process_time(), time.perf_counter()
            run()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if turn >= warmup:
                times[name].cpu.append(cpu)
                times[name].wall.append(wall)
    return times


def table(times: Mapping[str, Times], base: str) -> str:
    """A row per arm: median CPU and wall time in ms, and the median of its ratios to `base` by round."""
    lines = [f"{'':24}{'CPU ms':>10}{'(min-max)':>20}{'wall ms':>10}{'CPU ratio':>11}{'wall ratio':>12}"]
    for name, t in times.items():
        cpu = [1e3 * s for s in t.cpu]
        spread = f"({min(cpu):.4g}-{max(cpu):.4g})"
        ratios = [_ratio(t.cpu, times[base].cpu), _ratio(t.wall, times[base].wall)]
        lines.append(
            f"{name:24}{statistics.median(cpu):10.4g}{spread:>20}{1e3 * statistics.median(t.wall):10.4g}"
            f"{ratios[0]:11.3f}{ratios[1]:12.3f}"
        )
    return "\n".join(lines)


def _ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
