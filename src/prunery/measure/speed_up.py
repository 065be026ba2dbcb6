"""What is known of calls that were timed in turns: medians, quartiles, and which one is faster."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping
from dataclasses import dataclass

from prunery.errors import ChoiceError
from prunery.stats import LEVEL, median_interval


@dataclass(frozen=True)
class CallTimes:
    """Milliseconds of one call, a value a round: each the mean of `calls` calls in a row."""

    name: str
    wall_ms: tuple[float, ...]
    cpu_ms: tuple[float, ...]  # of the process, all its threads together
    calls: int

    @property
    def median_ms(self) -> float:
        """The median by the wall clock, in milliseconds."""
        return statistics.median(self.wall_ms)

    @property
    def median_cpu_ms(self) -> float:
        """The median of the processor's time, in milliseconds."""
        return statistics.median(self.cpu_ms)

    @property
    def quartiles_ms(self) -> tuple[float, float]:
        """The first and third quartile by the wall clock, in milliseconds."""
        if len(self.wall_ms) == 1:
            return self.wall_ms[0], self.wall_ms[0]
        low, _, high = statistics.quantiles(self.wall_ms, n=4, method="inclusive")
        return low, high


@dataclass(frozen=True)
class SpeedUp:
    """How many times as fast one call is as another, with an interval that holds at `level`."""

    name: str
    than: str
    times: float
    low: float
    high: float
    level: float

    @property
    def decided(self) -> bool:
        """Return whether the interval says which of the two is faster."""
        return self.low > 1 or self.high < 1

    def __format__(self, form: str) -> str:
        if form != "short":
            return str(self)
        undecided = "" if self.decided else ", undecided"
        between = f"{self.low:.2f}-{self.high:.2f}" if math.isfinite(self.high) else "few rounds"
        return f"{self.times:.2f} ({between}){undecided}"

    @property
    def interval(self) -> str:
        """The interval in words."""
        if not math.isfinite(self.high):
            return "too few rounds for an interval"
        return f"{100 * self.level:.3g} % interval {self.low:.3g} to {self.high:.3g}"

    def __str__(self) -> str:
        interval = f"({self.interval})"
        if not self.decided:
            return f"{self.name} and {self.than} cannot be told apart: {self.times:.3g} times {interval}"
        return f"{self.name} is {self.times:.3g} times as fast as {self.than} {interval}"


@dataclass(frozen=True)
class Latency:
    """What `latency` measured; `str` gives a table with each call against the first one."""

    calls: Mapping[str, CallTimes]
    rounds: int
    threads: int  # of torch on the CPU; other engines are told theirs when they are made
    device: str  # "cpu", or the accelerator's type and name

    def speed_up(
        self, name: str, than: str | None = None, *, clock: str = "wall", level: float = LEVEL
    ) -> SpeedUp:
        """Return how many times as fast `name` is as `than`, by default the first call.

        The median over rounds of the ratio of the two times of a round: what slows a machine for a while
        slows both. The interval is that of `prunery.stats.median_interval`: order statistics, without an
        assumption on the distribution (Thompson 1936). clock: "wall", or "cpu" for the process's time.
        ChoiceError: an unknown call or clock.
        """
        than = next(iter(self.calls)) if than is None else than
        for asked in (name, than):
            if asked not in self.calls:
                known = f"there is none; there are {', '.join(self.calls)}"
                raise ChoiceError(f"the speed of {asked!r}", known, "name one of them")
        if clock not in ("wall", "cpu"):
            raise ChoiceError(f"the clock {clock!r}", "there is none of that name", "choose 'wall' or 'cpu'")
        one, other = (getattr(self.calls[asked], f"{clock}_ms") for asked in (name, than))
        logs = [math.log(max(b, 1e-9) / max(a, 1e-9)) for a, b in zip(one, other, strict=True)]
        low, high = median_interval(logs, level)
        return SpeedUp(name, than, math.exp(statistics.median(logs)), math.exp(low), math.exp(high), level)

    def __str__(self) -> str:
        first, *others = self.calls
        width = max(6, *map(len, self.calls))
        heads = f"{'':{width}}  {'median ms':>10}  {'(quartiles)':>19}  {'CPU ms':>8}"
        lines = [f"{self.device}, {self.threads} thread(s), {self.rounds} rounds in turns"]
        lines.append(f"{heads}  times as fast as {first}")
        for name, call in self.calls.items():
            quartiles = "({:.3g}-{:.3g})".format(*call.quartiles_ms)
            line = f"{name:{width}}  {call.median_ms:>10.3g}  {quartiles:>19}  {call.median_cpu_ms:>8.3g}"
            lines.append(line if name == first else f"{line}  {self.speed_up(name):short}")
        return "\n".join([*lines, *(str(self.speed_up(name)) for name in others)])
