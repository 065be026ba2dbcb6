"""Which column of a table identifies, which measures, and what."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache

from prunery.audit.table import facts, hints, levels, roles
from prunery.audit.table.load import Raw
from prunery.audit.table.numbers import Number, parse
from prunery.audit.table.roles import Metric
from prunery.audit.table.words import plain

_METHODS = re.compile(
    r"dense|baseline|unpruned|magnitude|random|snip|grasp|synflow|lamp|wanda|taylor|fisher|obd|obs|l1|l2|imp"
    r"|lth|lottery|rigl|set|erk|gmp|granet|one_?shot|iterative|gradual|movement|fpgm|hrank|slim|hessian"
    r"|uniform|global|layerwise|ours|edge_popup|sparsegpt|admm|str|prospr|force|ntk|deep_?r|rewind|ltr"
)
_SEED_VALUE = re.compile(r"((acc|accuracy|top_?1|test|value)_)*(seed|run|trial|rep|repeat|fold)_?\d+")
_ACCURACY_WORDS = re.compile(
    r"_?(test_?)?(acc|accuracy|top_?1)_?(mean|percent)?$|^(test_?)?(acc|accuracy|top_?1)_"
)
_MEAN = re.compile(r"mean|average|avg|value_mean|mean_value")
TEXT_ROLES = ("origin", "dataset", "model", "method", "layer", "metric", "report", "table", "note")


@dataclass(frozen=True)
class Measured:
    """A column of measured numbers; a header may name a method, a data set or a sparsity as well."""

    column: str
    metric: Metric | None  # None: a metric column says
    method: str | None = None
    named: str = ""  # text of the header that may name data or model
    level: float | None = None
    of_seeds: bool = False

    @property
    def family(self) -> str:
        """The column, or what it shares with others whose headers name seeds, sparsities or methods."""
        if self.of_seeds or self.method is not None:
            return "seeds" if self.of_seeds else ""
        return self.named if self.level is not None else self.column


@dataclass(frozen=True)
class Layout:
    """The role of each column, and the measured ones."""

    roles: Mapping[str, str]
    measured: tuple[Measured, ...]
    scales: Mapping[str, levels.Scale]
    unread: tuple[str, ...]

    @cached_property
    def by_role(self) -> Mapping[str, list[str]]:
        """The columns of each role, in the table's order."""
        columns: dict[str, list[str]] = defaultdict(list)
        for column, role in self.roles.items():
            columns[role].append(column)
        return columns


def layout_of(raw: Raw) -> Layout:
    """Return the role of each column of a loaded table."""
    cells = {c: [line[i] for _, line in raw.lines] for i, c in enumerate(raw.columns)}
    numbers = {c: [n for t in texts if (n := parse(t, comma=c in raw.commas))] for c, texts in cells.items()}
    role_of: dict[str, str] = {}
    numeric = {c for c in raw.columns if _mostly(numbers[c], cells[c])}
    measured = list(_sparsity_headers(raw, numeric))
    role_of |= {m.column: "measured" for m in measured}
    for column in raw.columns:
        if column not in role_of:
            role_of[column] = _role(column, column in numeric, cells[column])
            if role_of[column] in levels.ROLES and levels.doubtful(column, role_of[column], numbers[column]):
                role_of[column] = "unread"
    hints.correct(role_of, cells, numbers, numeric)
    if "metric" in role_of.values():
        measured = [replace(m, metric=None) for m in measured]
    measured += _measuring(raw, role_of, numbers)
    if not measured:  # losses, ratios or ranks alone are numbers still
        aside = [c for c in raw.columns if c in numeric and role_of[c] in ("delta", "derived")]
        measured = [Measured(c, Metric(c, "other")) for c in aside]
    for m in measured:
        role_of[m.column] = "measured"
    _settle(role_of, cells)
    _first_text_is_method(role_of, cells, numeric, measured)
    scales = {c: levels.scale(c, r, numbers[c]) for c, r in role_of.items() if r in levels.ROLES}
    return Layout(role_of, tuple(measured), scales, _unread(role_of, measured))


def _unread(role_of: Mapping[str, str], measured: Sequence[Measured]) -> tuple[str, ...]:
    """Return the columns of numbers that no check knows: a speed-up without times, say."""
    kinds = {m.metric.kind for m in measured if m.metric}
    checked = {c for c, r in role_of.items() if r == "derived" and kinds & set(roles.costs_of(c))}
    ends = {c for c, r in role_of.items() if r == "bound" and re.search("(low|lower|high|upper)$", plain(c))}
    ratio = any(r in ("ratio", "compression") for r in role_of.values())
    sizes = {c for c in role_of if ratio and roles.SIZE.search(plain(c))}
    read = checked | ends | sizes
    return tuple(c for c, r in role_of.items() if r in ("unread", "derived", "bound") and c not in read)


def _mostly(numbers: Sequence[Number], texts: Sequence[str]) -> bool:
    """Return whether a column holds numbers, as far as its cells say anything."""
    filled = [
        t
        for t in texts
        if t.strip().lower() not in ("", "-", "—", "n/a", "na", "nan", "none", "crash", "oom")
    ]
    return bool(numbers) and len(numbers) >= 0.8 * len(filled)


def _sparsity_headers(raw: Raw, numeric: set[str]) -> list[Measured]:
    beside = any(roles.role(c) in levels.ROLES for c in numeric)
    headers = roles.levels([c for c in raw.columns if c in numeric], beside=beside)
    numbers = [n for n in (parse(text) for _, text in headers.values()) if n is not None]
    scale = lru_cache(lambda form: levels.scale("", form, numbers))
    measured = []
    for column, (what, text) in headers.items():
        kind = roles.metric(what) or roles.metric(raw.name) or Metric(what, "accuracy")
        level = levels.level(what, text, scale)
        if level is not None:
            measured.append(Measured(column, kind, level=level, named=what))
    return measured


def _role(column: str, numeric: bool, texts: Sequence[str]) -> str:
    """Return the role of a column by its name, else by what it holds."""
    role = roles.role(column) if any(texts) else "note"
    if numeric and (role == "origin" or plain(column) == "target"):
        role = None
    if role == "seed" and plain(column) == "seeds" and len(set(texts)) == 1:
        return "count"
    if role in TEXT_ROLES and role != "note":
        return "label" if role == "metric" and numeric else role
    if role is not None:
        return (
            role
            if numeric or role in ("seed", "note", "layer_share", "count") or role in levels.ROLES
            else "label"
        )
    if roles.is_setting(column):
        return "label"
    if numeric:
        text = plain(column)
        if _SEED_VALUE.fullmatch(text) or _MEAN.fullmatch(text):
            return "mean" if _MEAN.fullmatch(text) else "seed_value"
        aside = roles.aside(column)
        if aside is not None and not (aside == "bound" and roles.metric(column)):
            return aside
        return "open"
    return "label"


def _measuring(raw: Raw, role_of: dict[str, str], numbers: Mapping[str, list[Number]]) -> list[Measured]:
    """Return the columns that measure, by metric column, by name, by a method's name, or as the only ones."""
    known = [c for c in raw.columns if role_of[c] in ("open", "layer_share")]
    named = [Measured(c, m, method=_method_in(c, m)) for c in known if (m := roles.metric(c))]
    if roles.numbered(raw.columns):
        named = [
            replace(m, metric=replace(m.metric, k=None)) if m.metric and roles.short(m.column) else m
            for m in named
        ]
    value = [c for r in ("value", "mean", "open") for c in raw.columns if role_of[c] == r]
    beside = {role_of[c] for c in raw.columns[1:]} - {"measured"}
    sides = roles.role(raw.columns[0]) != "metric" or beside == {"open"}
    if role_of[raw.columns[0]] == "metric" and sides and (len(value) > 1 or beside != {"open"}):
        return [Measured(c, None, method=c) for c in value]
    if "metric" in role_of.values() and value:
        return [Measured(value[0], None)]
    first = next((m.metric for m in named if m.metric and m.metric.kind == "accuracy"), None)
    stand_in = first or roles.metric(raw.name) or Metric("value", "accuracy")
    extra = [c for c in raw.columns if role_of[c] in ("value", "mean") and first is None]
    named += [Measured(c, replace(stand_in, name=c)) for c in extra]
    seeds = [Measured(c, stand_in, of_seeds=True) for c in raw.columns if role_of[c] == "seed_value"]
    taken = {m.column for m in named}
    left = [c for c in raw.columns if role_of[c] == "open" and c not in taken]
    others = _method_columns(raw, left, numbers, bare=not (named or seeds))
    if "method" in role_of.values():  # a header names no method of its own, unless it is a known one
        others = [m if _is_method(m.column) else replace(m, method=None) for m in others]
        others = [m for m in others if not first or not m.method or plain(m.column) in hints.BEFORE]
    return named + seeds + others


def _method_in(column: str, metric: Metric) -> str | None:
    """Return the method that a header names beside the accuracy: `magnitude_acc`."""
    rest = _ACCURACY_WORDS.sub("", plain(column))
    named = metric.kind == "accuracy" and rest and not metric.variant
    return rest if named and re.fullmatch(rf"({_METHODS.pattern})(_?\w+)?", rest) else None


def _method_columns(
    raw: Raw, left: Sequence[str], numbers: Mapping[str, list[Number]], *, bare: bool
) -> list[Measured]:
    """Columns whose header is a method, or a data set or network, with the accuracies below it."""
    measured = []
    for column in left:
        named = not bare
        if hints.is_count(column, numbers[column], named=named) and plain(column) not in hints.BEFORE:
            measured += [Measured(column, Metric(column, "other"))] if bare else []
            continue
        is_method = _is_method(column)
        is_place = facts.data_in(column) is not None or facts.network_in(column) is not None
        kind = roles.metric(raw.name) or Metric(column, "accuracy" if _percent(numbers[column]) else "other")
        if is_method or is_place or (bare and _percent(numbers[column])):
            method = column if not is_place else None
            measured.append(Measured(column, replace(kind, name=column), method=method, named=column))
    return measured


def _is_method(column: str) -> bool:
    text = plain(column)
    return text in hints.BEFORE or re.match(rf"({_METHODS.pattern})(_|\d|$)", text) is not None


def _percent(numbers: Sequence[Number]) -> bool:
    return all(0 <= n.value <= 100 for n in numbers)


def _first_text_is_method(
    role_of: dict[str, str],
    cells: Mapping[str, Sequence[str]],
    numeric: set[str],
    measured: Sequence[Measured],
) -> None:
    """Where no column or header is called a method, the first text that names no data or network is one."""
    if "method" in role_of.values() or any(m.method for m in measured):
        return
    for column, role in role_of.items():
        texts = [t for t in cells[column] if t]
        place = any(facts.data_in(t) or facts.network_in(t) for t in texts)
        if role == "label" and column not in numeric and texts and not place:
            role_of[column] = "method"
            return


def _settle(role_of: dict[str, str], cells: Mapping[str, Sequence[str]]) -> None:
    """Settle open roles: a column of few different values is a setting, one of many is unread.

    A text of its own in every line is a name of the line, no part of a configuration.
    """
    places = {column: place for place, column in enumerate(cells)}
    first = min((places[c] for c, r in role_of.items() if r == "measured"), default=0)
    for column, role in list(role_of.items()):
        texts = [t for t in cells[column] if t]
        if role in ("open", "value", "mean", "seed_value", "layer_share"):
            often = 2 if places[column] < first else 3  # settings stand left of what was measured
            few = often * len(set(texts)) <= len(texts) and role == "open"
            role_of[column] = "label" if few else "unread"
        elif (
            role == "label"
            and len(texts) > 4
            and len(set(texts)) == len(texts)
            and "method" in role_of.values()
        ):
            role_of[column] = "note"
