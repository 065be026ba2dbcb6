"""A results table as the checks see it: rows, columns with roles, and one entry per measured number."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from typing import TypeVar

from prunery.audit.table.facts import Data, unusual
from prunery.audit.table.hints import is_log
from prunery.audit.table.numbers import Number
from prunery.audit.table.roles import Metric
from prunery.audit.table.words import plain

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
    everywhere: frozenset[str] = frozenset()  # columns of labels that are the same in all rows

    @cached_property
    def wider(self) -> bool:
        """Whether it says that the network is wider or narrower than usual."""
        return any(_says_width(c) and text not in ("", "1") for c, text in self.cells.items())


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
    origins: tuple[str, ...] = ()  # columns that say what it was trained on before

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
    def described(self) -> str:
        """The number as a message calls it: an error rate is not an accuracy."""
        text = self.number.text
        return f"error {text} = accuracy {round(self.number.value, 6):g}" if self.metric.error else text

    @property
    def kind(self) -> str:
        """What is measured."""
        return self.metric.kind

    @cached_property
    def dense(self) -> bool:
        """Whether it belongs to a network that was not pruned; `no retraining` at 50 % was pruned."""
        if self.order == 0 or self.labels.get("role", "").startswith("dense"):
            return True
        text = " ".join(self.method.lower().replace("_", " ").split())
        return (_UNPRUNED.fullmatch(text) if self.order else _NOT_PRUNED.match(text)) is not None

    @cached_property
    def special(self) -> bool:
        """Whether its labels speak of a wider or pretrained network, or of several."""
        before = (self.row.cells.get(c, "").lower() for c in self.origins)
        if any(text.strip() and not _NOTHING.fullmatch(text.strip()) for text in before):
            return True
        return self.row.wider or any(
            unusual(text) for text in (self.model, self.method, *self.labels.values())
        )

    @cached_property
    def place(self) -> tuple[str, ...]:
        """Report, table, data, model, layer and metric: what a comparison stays within."""
        metric = "/".join(map(str, (*self.metric.sort, self.metric.variant)))
        return (self.row.report, self.row.table, self.data_name, self.model, self.layer, metric, self.family)

    @cached_property
    def arm(self) -> tuple[str, ...]:
        """Place and labels: what differs by sparsity and seed only."""
        return (*self.place, *(f"{k}={v}" for k, v in sorted(self.labels.items())))


@lru_cache(maxsize=1 << 14)
def _says_width(column: str) -> bool:
    return re.search(r"width|widen", plain(column)) is not None


_NETWORK = r"(?: (?:network|model|baseline|reference|net))?"
_UNPRUNED = re.compile(
    rf"(?:dense|unpruned)(?:{_NETWORK}|(?: ?[+,] ?\d| \().*)|(?:no|without) pruning"
    r"|(?:full|original) (?:network|model)"
)
_NOT_PRUNED = re.compile(
    r"(?:none|dense|baseline|base|unpruned|original|-),?(?!\S)|(?:full|no)$|(?:full|no) (?:net|model|prun)"
)
_NOISY = re.compile(r"label_?nois|noisy_label|nois\w*_(rate|ratio|level|labels?)|corrupted_labels")
_NOTHING = re.compile(r"no|none|false|0|-|—|n/?a|nan|(from )?scratch|random(ly)?( init\w*)?")
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

    @cached_property
    def by_method(self) -> Mapping[tuple[str, str], list[Entry]]:
        """(report, method) -> one entry for each of its sets of labels."""
        groups: dict[tuple[str, str], dict[object, Entry]] = {}
        for entry in self.entries:
            same = groups.setdefault((entry.row.report, entry.method), {})
            same.setdefault(tuple(entry.labels.items()), entry)
        return {key: list(entries.values()) for key, entries in groups.items()}

    def entries_of(self, *kinds: str) -> list[Entry]:
        """Return the entries of these kinds that were measured on what is kept."""
        return [e for e in self.entries if e.kind in kinds]

    def columns_of(self, *roles: str) -> list[str]:
        """Return the columns that have one of these roles."""
        return [column for column in self.columns if self.roles.get(column) in roles]

    @cached_property
    def noisy(self) -> bool:
        """Whether labels are wrong on purpose: a dense network learns them by heart, a pruned one cannot."""
        return any(_NOISY.search(plain(column)) for column in self.columns)

    @cached_property
    def log(self) -> bool:
        """Whether rows are moments of one run: epochs, or steps at one sparsity, that count up."""
        columns = [c for c in self.columns if self.roles.get(c) == "log"]
        stated = [next(iter(row.stated.values()), 0.0) for row in self.rows]
        return any(is_log(c, "log", stated) for c in columns)

    @cached_property
    def references(self) -> References:
        """The dense networks that each entry may be compared with."""
        methods = {"method", *self.columns_of("method", "dataset", "model")}
        return References(() if self.log else self.entries, methods)


class References:
    """The dense networks of a table by what must agree: place, column, and the labels that tell rows apart.

    A label that no dense row shares with a pruned one (an epoch count, a remark) tells nothing.
    """

    def __init__(self, entries: Sequence[Entry], ignored: Collection[str]) -> None:
        self._ignored = ignored
        self._dense: dict[object, list[Entry]] = {}
        pruned: dict[object, dict[str, set[str]]] = {}
        for entry in entries:
            if entry.dense:
                self._dense.setdefault(self._key(entry), []).append(entry)
            else:
                labels = pruned.setdefault(self._key(entry), {})
                for column, text in entry.labels.items():
                    labels.setdefault(column, set()).add(text)
        self._telling = {
            key: {c for e in dense for c, t in e.labels.items() if t in pruned.get(key, {}).get(c, ())}
            for key, dense in self._dense.items()
        }
        self._matching: dict[object, list[Entry]] = {}
        self._beside: dict[object, dict[int, list[Entry]]] = {}  # of those, the ones in a row of their own
        self._once: dict[tuple[int, ...], list[Entry]] = {}

    def dense_of(self, entry: Entry) -> list[Entry]:
        """Return the dense entries to compare an entry with: in its row, else by its column and labels.

        The same entries are the same list each time.
        """
        key = self._key(entry)
        dense = self._dense.get(key, [])
        labels = [(c, entry.labels.get(c, "")) for c in self._telling.get(key, ()) if c not in self._ignored]
        known = (key, entry.family, *sorted(labels))
        if known not in self._matching:
            here = [d for d in dense if d.family == entry.family or d.metric.variant]
            fitting = [d for d in here if all(_fits(d.labels.get(c, ""), text) for c, text in labels)]
            same = [d for d in fitting if all(d.labels.get(c, "") == text for c, text in labels)]
            self._matching[known] = matching = self._only(same or fitting)
            rows = grouped([d for d in matching if d.metric.variant], lambda d: d.line)
            self._beside[known] = {row[0].line: self._only(row) for row in rows}
        return self._beside[known].get(entry.line) or self._matching[known]

    def _only(self, entries: list[Entry]) -> list[Entry]:
        return self._once.setdefault(tuple(map(id, entries)), entries)

    @staticmethod
    def _key(entry: Entry) -> object:
        return (entry.row.report, entry.data_name, entry.model, entry.layer, *entry.metric.sort)


def _fits(dense: str, text: str) -> bool:
    return dense == text or not text or dense.lower() in (*DENSE, "", "—", "n/a", "0")


def grouped(items: Iterable[T], by: Callable[[T], object]) -> Iterator[list[T]]:
    """Yield the items that agree in `by`, group after group, each in the order given."""
    groups: dict[object, list[T]] = {}
    for item in items:
        groups.setdefault(by(item), []).append(item)
    yield from groups.values()
