"""A results table as the checks see it: rows, columns with roles, and one entry per measured number."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeVar

from prunery.report.audit.facts import Data
from prunery.report.audit.numbers import Number
from prunery.report.audit.roles import Metric

T = TypeVar("T")


@dataclass(frozen=True)
class Row:
    """One line of the file, and what its cells say besides measured numbers."""

    line: int
    cells: Mapping[str, str]  # column -> text
    numbers: Mapping[str, Number]  # column -> number, where it is one
    labels: Mapping[str, str]  # what identifies the configuration, without seed and sparsity
    stated: Mapping[str, float]  # column -> the sparsity that it states
    budget: Mapping[str, str]  # columns of epochs, rounds and other costs
    report: str = ""
    table: str = ""
    seed: str | None = None


@dataclass(frozen=True)
class Entry:
    """One measured number with all that identifies it; `number` is in %, MACs, weights or seconds."""

    row: Row
    column: str
    metric: Metric
    number: Number
    labels: Mapping[str, str]
    data: Data | None = None
    data_name: str = ""
    model: str = ""
    network: str | None = None
    method: str = ""
    layer: str = ""
    sparsity: float | None = None
    order: float | None = None  # sorts like the sparsity where its scale is unknown
    seed: str | None = None
    family: str = ""  # column, but for headers that name a seed, a sparsity or a method
    of_seeds: bool = False  # one of several seeds of one row
    known_chance: float | None = None  # in %, where the table states it

    @property
    def line(self) -> int:
        """Its line in the file, the header being line 1."""
        return self.row.line

    @property
    def value(self) -> float:
        """The number in its unit."""
        return self.number.value

    @property
    def printed(self) -> str:
        """The number as the table prints it."""
        return self.number.text

    @property
    def kind(self) -> str:
        """What is measured."""
        return self.metric.kind

    @property
    def dense(self) -> bool:
        """Whether it belongs to a network that was not pruned."""
        words = self.method.lower().replace("_", " ").split()
        named = bool(words) and words[0].strip(",") in DENSE
        return self.order == 0 or named or self.labels.get("role", "").startswith("dense")

    @cached_property
    def place(self) -> tuple[str, ...]:
        """Report, table, data, model, layer and metric: what a comparison stays within."""
        metric = f"{self.metric.kind}/{self.metric.k}/{self.metric.split}/{self.metric.variant}"
        return (self.row.report, self.row.table, self.data_name, self.model, self.layer, metric, self.family)

    @cached_property
    def arm(self) -> tuple[str, ...]:
        """Place and labels: what differs by sparsity and seed only."""
        return (*self.place, *(f"{k}={v}" for k, v in sorted(self.labels.items())))


DENSE = ("none", "dense", "baseline", "base", "unpruned", "original", "full", "no", "-")


@dataclass(frozen=True)
class Sheet:
    """A table that was read."""

    name: str
    columns: tuple[str, ...]
    roles: Mapping[str, str]
    rows: tuple[Row, ...]
    entries: tuple[Entry, ...]
    totals: tuple[Row, ...] = field(default=())  # rows that state sums over the others
    unread: tuple[str, ...] = field(default=())  # columns of numbers that no check knows

    @cached_property
    def by_line(self) -> Mapping[int, list[Entry]]:
        """Line -> its entries."""
        return {group[0].line: group for group in grouped(self.entries, lambda e: e.line)}

    def of(self, *kinds: str) -> list[Entry]:
        """The entries of these kinds that were measured on what is kept."""
        return [e for e in self.entries if e.kind in kinds]

    def columns_of(self, *roles: str) -> list[str]:
        """The columns that have one of these roles."""
        return [column for column in self.columns if self.roles.get(column) in roles]


def grouped(items: Iterable[T], by: Callable[[T], object]) -> Iterator[list[T]]:
    """The items that agree in `by`, group after group, each in the order given."""
    groups: dict[object, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    yield from groups.values()
