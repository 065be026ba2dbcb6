"""How numbers and the cells of a table are written."""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from prunery.report.results.columns import TOP1
from prunery.report.results.groups import ABSENT, AT_SPARSITY, BROKEN, Group, Run
from prunery.stats import Summary

DECIMALS = TOP1.decimals  # of accuracies and their differences
FEW_PLACES = 4  # sparsities that are named one by one
NOTHING = "-"  # in a cell of a table that has no value
_BRIEFLY = {
    r"predicts class (\S+)": "predicts class {}",
    r"outputs NaN": "outputs NaN",
    r"^no path from input": "no path is left",
    r"^diverged: .* (?:of|in) epoch (\d+)": "at epoch {}",
}


_NUMBER = re.compile(r"(?<![\w.])(\d[\d,]*(?:\.\d+)?(?:e[+-]?\d+)?)(?![\w.]*\w)")  # none within a name


@dataclass
class _Told:
    """Notes that differ in their numbers alone, as they were marked; `every`: each cell's runs all say it."""

    texts: dict[str, list[str]] = field(default_factory=dict)  # by text: its words and numbers, by turns
    every: bool = True

    def text(self) -> str:
        """Return the one text, or one for all, with the range of each number."""
        if len(self.texts) == 1:
            return next(iter(self.texts))
        columns = zip(*self.texts.values(), strict=True)
        merged = "".join(_range_of(parts) if i % 2 else parts[0] for i, parts in enumerate(columns))
        return merged if self.every else f"some seeds: {merged}"


@dataclass
class Footnotes:
    """The footnotes of a table: texts that are equal, or told with other numbers, share one mark."""

    found: dict[object, str | _Told] = field(default_factory=dict)

    def mark(self, text: str) -> str:
        """Return the mark, such as `[2]`, of a footnote with this text."""
        self.found.setdefault(text, text)
        return self._mark(text)

    def told(self, note: str, runs: Sequence[Run], *, every: bool) -> str:
        """Return the mark of what these runs say, one for all notes that differ in their numbers alone."""
        key = _words(note)
        if len(key) == 1:  # no number
            return self.mark(f"{seeds(runs)}: {note}")
        told = self.found.setdefault(key, _Told())
        assert isinstance(told, _Told)
        told.texts[f"{seeds(runs)}: {note}"] = _NUMBER.split(note)
        told.every &= every
        return self._mark(key)

    def _mark(self, key: object) -> str:
        return f"[{list(self.found).index(key) + 1}]"

    def lines(self) -> list[str]:
        """Return the footnotes in the order of their marks."""
        texts = (found if isinstance(found, str) else found.text() for found in self.found.values())
        return [f"[{i}] {text}" for i, text in enumerate(texts, 1)]


def _words(note: str) -> tuple[str, ...]:
    """Return what stands between the numbers of a note."""
    return tuple(_NUMBER.split(note)[::2])


def _range_of(numbers: Sequence[str]) -> str:
    """Return `3`, or `3-12` where numbers differ, as they are written."""
    ordered = sorted(set(numbers), key=lambda text: float(text.replace(",", "")))
    return ordered[0] if len(ordered) == 1 else f"{ordered[0]}-{ordered[-1]}"


def label(group: Group) -> str:
    """Return `magnitude at 90 %`, or the name of a control."""
    at_sparsity = group.role in AT_SPARSITY
    return f"{group.method} at {percent(group.sparsity)}" if at_sparsity else group.method


def methods(groups: Iterable[Group]) -> list[str]:
    """Return the names of the groups' methods, in order."""
    return list(dict.fromkeys(group.method for group in groups))


def place(method: str, groups: Sequence[Group]) -> str:
    """Return `dense`, `snip at 90 %`, `snip at 90 % and 98 %`, `snip at 7 sparsities from 10 % to 80 %`."""
    at = [percent(s) for s in sorted(g.sparsity for g in groups)]
    if len(groups) == 1:
        return label(groups[0])
    if len(groups) <= FEW_PLACES:
        return f"{method} at {listed(at)}"
    return f"{method} at {len(at)} sparsities from {at[0]} to {at[-1]}"


def percent(sparsity: float) -> str:
    """Return a sparsity in [0, 1] as `97.5 %`: two decimals, or as many as give what is left three digits."""
    left = 100 * (1 - sparsity)
    decimals = 2 if left <= 0 else max(2, 2 - math.floor(math.log10(left)))
    return f"{_shortest(100 * sparsity, min(decimals, 9))} %"


def plain(value: float | None, decimals: int = 6) -> str:
    """Return a number with at most `decimals` decimals and no trailing zeros, empty for None: for CSV."""
    return "" if value is None else _shortest(value, decimals)


def signed(value: float) -> str:
    """Return a difference with its sign, a real minus and two decimals."""
    return f"{value:+.{DECIMALS}f}".replace("-", "−")


def interval(summary: Summary, decimals: int = DECIMALS) -> str:
    """Return `97.62 ±0.11`: mean and half-width; both ends where the interval is cut at 0 or 100 %.

    A summary without an interval is its mean alone: `values` writes the few values that it is of.
    """
    mean = f"{summary.mean:.{decimals}f}"
    if summary.half is None:
        return mean
    if summary.cut:
        return f"{mean} [{summary.low:.{decimals}f}, {summary.high:.{decimals}f}]"
    return f"{mean} ±{summary.half:.{decimals}f}"


def values(group: Group, decimals: int = DECIMALS) -> str:
    """Return a group's mean and interval, or its single values where they are fewer than three."""
    if group.summary is None:
        return NOTHING
    if group.summary.half is not None:
        return interval(group.summary, decimals)
    return ", ".join(f"{value:.{decimals}f}" for _, value in sorted(group.values.items()))


def ends(summary: Summary) -> str:
    """Return the interval of a difference as `[−0.10, +0.42]`; empty where there is none."""
    if summary.low is None or summary.high is None:
        return ""
    return f"[{signed(summary.low)}, {signed(summary.high)}]"


def thousands(number: float) -> str:
    """Return a count with thin groups: `10 000`."""
    return f"{number:,.0f}".replace(",", " ")


def ranged(values: Iterable[float]) -> str:
    """Return `10`, or `10-25` where values differ; `-` where there are none."""
    ordered = sorted(set(values))
    if not ordered:
        return "-"
    low, high = plain(ordered[0], 2), plain(ordered[-1], 2)
    return low if low == high else f"{low}-{high}"


def listed(names: Sequence[str]) -> str:
    """Return `a`, `a and b`, `a, b and c`."""
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else list(names))


def few(names: Sequence[str], what: str = "methods", *, most: int | None) -> str:
    """Return `a, b`, or `7 methods` where a caption would turn into a list."""
    return ", ".join(names) if most is None or len(names) <= most else f"{len(names)} {what}"


def seeds(runs: Sequence[Run]) -> str:
    """Return `seed 1` or `seeds 0, 2`."""
    return f"seed{'s' if len(runs) > 1 else ''} {', '.join(str(r.seed) for r in runs)}"


def cell(group: Group, *, usual_n: int | None, footnotes: Footnotes, decimals: int = DECIMALS) -> str:
    """Return what a table says of one group: its interval, and by name what did not end as a number.

    `n` stands in the cell where it differs from `usual_n`, which the caption names.
    """
    parts = [count(group, status) + _why_broken(group, status) for status in BROKEN if group.having(status)]
    for status in ABSENT:
        if runs := group.having(status):
            parts.append(f"{count(group, status)} {' '.join(_reasons(runs, footnotes))}".rstrip())
    if group.summary is not None:
        parts.append(_value(group, usual_n, decimals))
    return "; ".join(parts) + _remarks(group, footnotes)


def count(group: Group, status: str) -> str:
    """Return `collapsed 2/3`; the status alone where there is one run."""
    return status if len(group.runs) == 1 else f"{status} {len(group.having(status))}/{len(group.runs)}"


def shortened(name: str, most: int = 36) -> str:
    """Return the name, cut at `most` characters."""
    return name if len(name) <= most else f"{name[: most - 1]}…"


def briefly(note: str) -> str:
    """Return what broke, in few words (`predicts class 1`, `at epoch 3`), or the note as it is."""
    note = note.removeprefix("test: ")
    for pattern, words in _BRIEFLY.items():
        if match := re.search(pattern, note):
            return words.format(*match.groups())
    return note


def emptied(note: str) -> bool:
    """Return whether a note says that a cut left a layer without a weight."""
    return "empt" in note


def _value(group: Group, usual_n: int | None, decimals: int) -> str:
    summary = group.summary
    assert summary is not None
    if not group.sound:
        rest = "them" if len(_broken(group)) > 1 else "it"
        return f"{summary.mean:.{decimals}f} without {rest} (n={summary.n})"
    return values(group, decimals) + ("" if summary.n == usual_n else f" (n={summary.n})")


def _broken(group: Group) -> list[Run]:
    return [run for status in BROKEN for run in group.having(status)]


def _why_broken(group: Group, status: str) -> str:
    """Return what the seeds' notes say, in brackets: `(predicts class 5 or 3, no path is left)`."""
    texts = [briefly(n) for r in group.having(status) for n in r.notes if not emptied(n)]
    constant = "predicts class "
    classes = [text.removeprefix(constant) for text in texts if text.startswith(constant)]
    others = [text for text in texts if not text.startswith(constant)]
    reasons = [constant + " or ".join(dict.fromkeys(classes))] if classes else []
    reasons += dict.fromkeys(others)
    return f" ({', '.join(reasons)})" if reasons else ""


def _reasons(runs: Sequence[Run], footnotes: Footnotes) -> list[str]:
    reasons: dict[str, list[Run]] = {}
    for run in runs:
        reasons.setdefault(" ".join(run.notes) or "no record", []).append(run)
    return [footnotes.mark(f"{seeds(failed)}: {why}") for why, failed in reasons.items()]


def _remarks(group: Group, footnotes: Footnotes) -> str:
    by_note: dict[str, list[Run]] = {}
    for run in group.runs:
        for note in run.notes if run.status == "done" else filter(emptied, run.notes):
            by_note.setdefault(note, []).append(run)
    done = {run.seed for run in group.runs if run.status == "done"}
    tellers: dict[tuple[str, ...], set[int]] = {}
    for note, runs in by_note.items():
        tellers.setdefault(_words(note), set()).update(run.seed for run in runs)
    told = (footnotes.told(n, runs, every=tellers[_words(n)] >= done) for n, runs in by_note.items())
    marks = list(dict.fromkeys(told))
    achieved = group.first("sparsity_achieved")
    if achieved is not None and abs(achieved - group.sparsity) > 5e-4:
        marks.append(footnotes.mark(f"achieved {percent(round(achieved, 4))} of the weights"))
    return "".join(f" {mark}" for mark in marks)


def _shortest(value: float, decimals: int) -> str:
    text = f"{value:.{decimals}f}"
    text = text.rstrip("0").rstrip(".") if "." in text else text
    return "0" if text == "-0" else text
