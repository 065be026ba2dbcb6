"""What the figures draw: the very numbers that the page shows, made once by the page's own functions."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from prunery.report.figures.plots import Look, looks_of
from prunery.report.page import points, records
from prunery.report.page.contents import Study
from prunery.report.results.groups import Group, arms, sparsities
from prunery.report.text import captions, formats

V = TypeVar("V")

MOST_METHODS = 8  # in one figure: as many as there are colours
_FEW_PARTS = 4


@dataclass(frozen=True)
class Data:
    """A study's numbers as the page has them."""

    study: Study

    @property
    def groups(self) -> Sequence[Group]:
        """Return the study's groups; a place is an index into them."""
        return self.study.groups

    @cached_property
    def looks(self) -> dict[str, Look]:
        """Return how each pruned method is drawn."""
        return looks_of(self.groups)

    @cached_property
    def top1(self) -> list[dict[str, Any]]:
        """Return a point of top-1 accuracy on test for each group; empty where it was not measured."""
        return next((m["points"] for m in points.metrics(self.study) if m["id"] == "test_top1"), [])

    @cached_property
    def training_macs(self) -> list[float | None]:
        """Return the training MACs of each group; empty where they were not recorded."""
        return next((c["values"] for c in points.costs(self.study) if c["id"] == "training_macs"), [])

    @cached_property
    def curves(self) -> dict[str, Any]:
        """Return the training curves of each cell."""
        return records.curves(self.study)

    @cached_property
    def _measures(self) -> tuple[dict[str, Any], dict[str, Any]]:
        return records.layers_and_histograms(self.study)

    @property
    def layers(self) -> dict[str, Any]:
        """Return weights and MACs of each layer, by the group's place."""
        return self._measures[0]

    @property
    def histograms(self) -> dict[int, dict[str, Any]]:
        """Return the histograms of weights, by the group's place."""
        return {int(place): histogram for place, histogram in self._measures[1].items()}

    @property
    def dense(self) -> int | None:
        """Return the place of the dense network."""
        return next((i for i, g in enumerate(self.groups) if g.role == "dense"), None)

    def place(self, method: str, sparsity: float) -> int | None:
        """Return the place of a pruned method at a sparsity."""
        return self.study.index(method, "pruned", sparsity)

    def title(self, what: str) -> str:
        """Return `lenet300 on mnist: what`."""
        return f"{captions.task(self.study.frame)}: {what}"


@dataclass(frozen=True)
class Part:
    """The methods of one figure; studies of many methods are drawn in several."""

    data: Data
    methods: tuple[str, ...]
    number: int
    many: int
    every: tuple[str, ...]  # the methods of all parts

    def title(self, what: str) -> str:
        """Return the figure's title."""
        return self.data.title(what) + (f" ({self.number} of {self.many})" if self.many > 1 else "")

    @property
    def groups(self) -> list[Group]:
        """Return the pruned groups of these methods."""
        return [g for g in self.data.groups if g.role == "pruned" and g.method in self.methods]

    def note(self) -> list[str]:
        """Say that other methods are in other figures, and of which ones nothing could be drawn."""
        known = self.data.looks
        notes = [f"{len(self.methods)} of the study's {len(known)} methods"] if self.many > 1 else []
        none = [method for method in known if method not in self.every]
        return [*notes, *([f"nothing to draw of {formats.few(none, most=4)}"] if none else [])]

    def at_sparsity(self, by_place: Mapping[int, V], sparsity: float) -> dict[str, V]:
        """Return what was found of the methods at a sparsity, where something was."""
        places = {method: self.data.place(method, sparsity) for method in self.methods}
        return {m: by_place[p] for m, p in places.items() if p is not None and p in by_place}

    def shown(self, by_place: Mapping[int, Any], levels: Sequence[float]) -> list[str]:
        """Return the methods of which something was found at one of the sparsities."""
        having = {method for level in levels for method in self.at_sparsity(by_place, level)}
        return [method for method in self.methods if method in having]

    def elsewhere(self, shown: Sequence[str]) -> list[str]:
        """Say that the other methods have data at other sparsities only."""
        others = [method for method in self.methods if method not in shown]
        return [f"at other sparsities only: {formats.few(others, most=4)}"] if others else []

    def some(self, levels: Sequence[float]) -> list[str]:
        """Say that these are not all of the methods' sparsities."""
        every = len({g.sparsity for g in self.groups})
        return [f"{len(levels)} of {every} sparsities"] if len(levels) < every else []

    def budget(self) -> list[str]:
        """Return the epochs of training that these methods had, and whether they were unequal."""
        epochs = formats.ranged(float(sum(g.epochs)) for g in self.groups if g.epochs)
        if epochs == "-":
            return []
        return [f"{'UNEQUAL ' if captions.unequal(self.groups) else ''}total epochs {epochs}"]

    def levels(self, has: Callable[[int], bool], most: int) -> list[float]:
        """Return up to `most` sparsities, the lowest and the highest among them, at which methods have data.

        A sparsity counts if half as many methods have data there as at the one where most have.
        """
        counts = {s: self._having(s, has) for s in sparsities(self.groups)}
        enough = max(counts.values(), default=0) / 2
        return picked([s for s, many in counts.items() if many and many >= enough], most)

    def _having(self, sparsity: float, has: Callable[[int], bool]) -> int:
        places = (self.data.place(method, sparsity) for method in self.methods)
        return sum(has(place) for place in places if place is not None)


def parts(data: Data, methods: Iterable[str], most: int = MOST_METHODS) -> list[Part]:
    """Return the methods in parts of at most `most`; those that ran at the same sparsities stay together."""
    every = list(methods)
    if len(every) <= most:
        chunks = [every] if every else []
    else:
        levels = {m: tuple(sorted(g.sparsity for g in data.groups if g.method == m)) for m in every}
        alike = [[m for m in every if levels[m] == level] for level in dict.fromkeys(levels.values())]
        kinds = alike if len(alike) <= _FEW_PARTS else [every]
        chunks = [kind[i : i + most] for kind in kinds for i in range(0, len(kind), most)]
    return [Part(data, tuple(chunk), i, len(chunks), tuple(every)) for i, chunk in enumerate(chunks, 1)]


def pruned(data: Data, has: Callable[[int], bool]) -> list[str]:
    """Return the pruned methods of which a group has data."""
    places = [i for i, g in enumerate(data.groups) if g.role == "pruned" and has(i)]
    return arms([data.groups[i] for i in places], "pruned")


def picked(levels: Sequence[float], most: int) -> list[float]:
    """Return up to `most` of the levels, evenly spread, with the first and the last one."""
    if len(levels) <= most:
        return list(levels)
    return [levels[round(i * (len(levels) - 1) / (most - 1))] for i in range(most)]


def seeds(counts: Iterable[int]) -> str:
    """Return `n = 3 seeds`, `n = 1 seed`, `n = 2-3 seeds`."""
    distinct = set(counts)
    return f"n = {formats.ranged(map(float, distinct))} seed" + ("" if distinct == {1} else "s")


def share(part: float) -> str:
    """Return a share in %, short, as in the page's heat map: `100`, `12`, `1.2`, `0.12`."""
    percent = 100 * part
    if percent >= 99.95:
        return "100"
    decimals = 0 if percent >= 9.95 else 1 if percent >= 0.995 else 2
    return f"{percent:.{decimals}f}" if percent >= 0.995 else formats.plain(percent, decimals)


def layer_name(name: str, most: int = 26) -> str:
    """Return a layer's name as the page says it; of a long one the end, which tells it from others."""
    short = name.removesuffix(".weight")
    return short if len(short) <= most else f"…{short[1 - most :]}"
