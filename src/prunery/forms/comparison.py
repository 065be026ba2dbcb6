"""What was found of the forms of a network: a table, the forms that are not there, and a sentence."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from prunery.measure.accuracy import Counts
from prunery.measure.speed_up import Latency, SpeedUp
from prunery.stats import LEVEL

_BUSY = 0.1  # of the wall clock, taken by other work


@dataclass(frozen=True)
class Row:
    """A form. zeros: it may gain by what was pruned; else it does the same work as before.

    bytes: of the file that it is loaded from. difference: of its outputs from the masked network's (of a
    dense form from the dense one's), as a share of the largest. counts: how it does on images, if known.
    """

    name: str
    call: Callable[..., Any] = field(repr=False)
    bytes: int
    file: str
    zeros: bool
    difference: float
    counts: Counts | None
    note: str = ""


@dataclass(frozen=True)
class Comparison:
    """The forms that there are, the dense one first; why others are not; and their times. `str` shows all."""

    rows: tuple[Row, ...]
    missing: Mapping[str, str]  # why, by name
    latency: Latency

    @property
    def elsewhere(self) -> float:
        """The share of the wall clock in which other work had the processor; 0 for several threads."""
        calls = self.latency.calls.values()
        wall, cpu = sum(call.median_ms for call in calls), sum(call.median_cpu_ms for call in calls)
        return max(0.0, 1 - cpu / wall) if self.latency.threads == 1 and self.latency.device == "cpu" else 0.0

    @property
    def clock(self) -> str:
        """What ratios are of: "wall", or "cpu" where one thread had to share its processor."""
        return "cpu" if self.elsewhere > _BUSY else "wall"

    @property
    def verdict(self) -> str:
        """One sentence: which form is the fastest, if that is known, and what it is against the dense one.

        What is compared with the fastest is so at 95 % for all these comparisons together (Bonferroni).
        """
        useful = [row for row in self.rows if row.zeros]
        if not useful:
            return "No form that could gain by what was pruned is there, so nothing can be said."
        plain = self._fastest([row for row in self.rows if not row.zeros])
        best = self._fastest(useful)
        speed = self._speed(best, plain)
        plainly = f"{plain.name}, the fastest form that takes removed weights like any others"
        if speed.low > 1:
            ties = self._ties(best, useful)
            return f"{best.name} is the fastest{ties}: {_times(speed)} {plainly}{self._more(best)}."
        if speed.high < 1:
            other = self._speed(plain, best)
            return f"Nothing is gained in time: {plainly}, is {_times(other)} {best.name}{self._more(plain)}."
        return (
            f"Whether anything is gained in time is undecided: {best.name} cannot be told apart from "
            f"{plainly} ({speed.times:.2f} times, {speed.interval}){self._more(best)}."
        )

    def counted_as(self, other: Comparison) -> Comparison:
        """Return it with the accuracy that its forms have in another one, of the same network."""
        counts = {row.name: row.counts for row in other.rows}
        return replace(self, rows=tuple(replace(row, counts=counts.get(row.name)) for row in self.rows))

    def _fastest(self, rows: list[Row]) -> Row:
        dense = self.rows[0]
        return max(rows, key=lambda row: self._speed(row, dense).times)

    def _speed(self, row: Row, than: Row) -> SpeedUp:
        level = 1 - (1 - LEVEL) / max(1, len(self.rows) - 1)
        return self.latency.speed_up(row.name, than.name, clock=self.clock, level=level)

    def _ties(self, best: Row, rows: list[Row]) -> str:
        """Return which of the others may be as fast."""
        ties = [row.name for row in rows if row is not best and not self._speed(best, row).low > 1]
        return f" ({', '.join(ties)} may be as fast)" if ties else ""

    def _more(self, row: Row) -> str:
        """Return what a form is against the dense network in torch, in time, bytes and accuracy."""
        dense, parts = self.rows[0], []
        if row is not dense:
            speed = self._speed(row, dense)
            told = _times(speed) if speed.decided else "not to be told apart in time from"
            parts.append(f"{told} {dense.name} in torch")
            parts.append(f"in {row.bytes:,} bytes instead of {dense.bytes:,}")
        if row.counts is not None:
            before = "" if dense.counts is None else f" instead of {dense.counts.top1:.2f} %"
            parts.append(f"top-1 {row.counts.top1:.2f} %{before}")
        return "".join(f"; {part}" for part in parts)

    def __str__(self) -> str:
        width = max(len(row.name) for row in self.rows)
        of = "times as fast" if self.clock == "wall" else "times as fast, CPU"
        head = f"{'form':{width}}  {'ms':>8} {'(quartiles)':>17}  {'CPU ms':>8}  {of:>27}"
        lines = [f"{head}  {'bytes':>12} {'file':11} {'top-1 %':>8}  {'differs':>8}"]
        for row in self.rows:
            call = self.latency.calls[row.name]
            quartiles = "({:.3g}-{:.3g})".format(*call.quartiles_ms)
            speed = self.latency.speed_up(row.name, clock=self.clock)
            times = "1" if row is self.rows[0] else f"{speed:short}"
            top1 = "" if row.counts is None else f"{row.counts.top1:.2f}"
            gap = f"{row.difference:.1g}"
            line = f"{row.name:{width}}  {call.median_ms:>8.3g} {quartiles:>17}  {call.median_cpu_ms:>8.3g}  "
            line += f"{times:>27}  {row.bytes:>12,} {row.file:11} {top1:>8}  {gap:>8}"
            lines.append(line.rstrip())
        lines += [f"not there: {name}: {reason}" for name, reason in self.missing.items()]
        lines += [f"{row.name}: {row.note}" for row in self.rows if row.note]
        if self.clock == "cpu":
            lines.append(
                f"Other work had the processor for {self.elsewhere:.0%} of the time: ratios are of the "
                "processor's time, not of the wall clock."
            )
        return "\n".join([*lines, self.verdict])

    def table(self) -> list[dict[str, Any]]:
        """Return a row of plain data for each form; of one that is not there only its name and why."""
        rows = []
        for row in self.rows:
            call, speed = self.latency.calls[row.name], self.latency.speed_up(row.name, clock=self.clock)
            times = {"times": speed.times, "low": speed.low, "high": speed.high, "clock": self.clock}
            own = {"ms": call.median_ms, "cpu_ms": call.median_cpu_ms, "bytes": row.bytes, "file": row.file}
            rows.append({"form": row.name, **own, **times, "difference": row.difference})
        return [*rows, *({"form": name, "missing": reason} for name, reason in self.missing.items())]

    def data(self) -> dict[str, Any]:
        """Return everything as plain data: for each form its times in milliseconds, a value a round."""
        forms = {}
        for row in self.rows:
            call = self.latency.calls[row.name]
            speed = self.latency.speed_up(row.name, clock=self.clock)
            forms[row.name] = {
                "wall_ms": call.wall_ms,
                "cpu_ms": call.cpu_ms,
                "calls": call.calls,
                "times_as_fast": [speed.times, speed.low, speed.high],
                "bytes": row.bytes,
                "file": row.file,
                "gains_by_pruning": row.zeros,
                "difference": row.difference,
                "top1": None if row.counts is None else row.counts.top1,
                "images": None if row.counts is None else row.counts.total,
            }
        about: dict[str, Any] = {
            "clock": self.clock,
            "threads": self.latency.threads,
            "rounds": self.latency.rounds,
        }
        return {**about, "forms": forms, "missing": dict(self.missing), "verdict": self.verdict}


def _times(speed: SpeedUp) -> str:
    return f"{speed.times:.2f} times ({speed.interval}) as fast as"
