"""From a loaded table to rows and entries."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from prunery.audit.table import facts, levels, roles
from prunery.audit.table.amend import amended
from prunery.audit.table.columns import Layout, Measured, layout_of
from prunery.audit.table.load import Raw, load
from prunery.audit.table.numbers import parse
from prunery.audit.table.roles import Metric
from prunery.audit.table.sheet import DENSE, Entry, Row, Sheet
from prunery.audit.table.words import plain
from prunery.errors import DataError

_TOTAL = re.compile(r"(sub)?total|sum|overall|all layers|mean|average|avg", re.IGNORECASE)
_LAYER = re.compile(r"(?P<model>[^:]+):(?P<layer>[\w.]+)")
_SPREAD_WORDS = r"acc|accuracy|mean|avg|average|sd|std|stdev|stddev|test|n\d*|pct|percent"


def read(path: Path) -> tuple[Sheet, tuple[tuple[int, int], ...]]:
    """Return the table in a file, and (line, cells) of misfit lines; DataError if nothing is measured."""
    raw = load(path)
    layout = layout_of(raw)
    raw = _filled(raw, layout)
    rows = tuple(_row(raw, layout, line, cells) for line, cells in raw.lines)
    same = frozenset(
        c
        for c, r in layout.roles.items()
        if r == "label" and len({row.cells[c] for row in rows}) == 1 < len(rows)
    )
    rows = tuple(replace(row, everywhere=same) for row in rows)
    stating = [row for row in rows if _states_total(row, layout)]
    plain = [row for row in rows if not _states_total(row, layout)]
    entries, saved = amended(list(_entries(raw, layout, plain)))
    if not entries:
        raise DataError(
            f"table {path}",
            f"no column of measured numbers in it (columns: {', '.join(raw.columns)})",
            "name the columns, for example method, sparsity, accuracy",
        )
    roles_ = {c: "derived" if c in saved else r for c, r in layout.roles.items()}
    sheet = Sheet(raw.name, raw.columns, roles_, tuple(plain), tuple(entries), tuple(stating), layout.unread)
    return sheet, raw.ragged


def _filled(raw: Raw, layout: Layout) -> Raw:
    """Return the table with what merged cells of data sets and networks leave blank below the first line."""
    lines = [list(cells) for _, cells in raw.lines]
    for i, column in enumerate(raw.columns):
        texts = [cells[i] for cells in lines]
        again = any(a == b != "" for a, b in pairwise(texts))
        if layout.roles[column] not in ("dataset", "model") or again or not texts or not texts[0]:
            continue
        for cells, before in zip(lines[1:], lines, strict=False):
            cells[i] = cells[i] or before[i]
    numbers = [line for line, _ in raw.lines]
    return replace(raw, lines=tuple((n, tuple(cells)) for n, cells in zip(numbers, lines, strict=True)))


def _row(raw: Raw, layout: Layout, line: int, cells: Sequence[str]) -> Row:
    by_name = dict(zip(raw.columns, cells, strict=True))
    numbers = {c: n for c, text in by_name.items() if (n := parse(text, comma=c in raw.commas)) is not None}
    kept = ("dataset", "model", "method", "label", "layer", "origin")
    labels = {c: _tidy(text) for c, text in by_name.items() if layout.roles[c] in kept}
    budget = {c: t for c, t in by_name.items() if layout.roles[c] in ("epochs", "rounds", "cost") and t}
    stated = {
        c: s
        for c, scale in layout.scales.items()
        if c in numbers and (s := scale.sparsity(numbers[c])) is not None
    }
    report, table, seed = (_first(by_name, layout, role) for role in ("report", "table", "seed"))
    return Row(line, by_name, numbers, labels, stated, budget, report, table, seed or None)


@lru_cache(maxsize=4096)
def _tidy(text: str) -> str:
    return re.sub(r"\s+", " ", text.strip().strip("*")).strip()


def _first(cells: Mapping[str, str], layout: Layout, role: str) -> str:
    """Return the texts of the columns with a role, as one."""
    return " ".join(_tidy(t) for c in layout.by_role.get(role, ()) if (t := cells[c]))


def _states_total(row: Row, layout: Layout) -> bool:
    texts = [t for c, t in row.labels.items() if layout.roles[c] in ("layer", "label", "method", "model")]
    return any(_TOTAL.fullmatch(text) for text in [*texts, row.seed or ""])


def _entries(raw: Raw, layout: Layout, rows: Sequence[Row]) -> Iterator[Entry]:
    every = [c for c in layout.by_role.get("spread", ()) if re.search("sd|std", plain(c))]
    means = [m for m in layout.measured if not m.of_seeds and m.level is None]
    spreads = {m.column: _spread_of(m, every, alone=len(means) == len(every) == 1) for m in layout.measured}
    for row in rows:
        for measured in layout.measured:
            if measured.column in row.numbers and (metric := _metric(measured, row, layout)):
                yield _entry(raw, layout, row, measured, metric, spreads[measured.column])


def _metric(measured: Measured, row: Row, layout: Layout) -> Metric | None:
    if measured.metric is not None:
        return measured.metric
    name = _first(row.cells, layout, "metric")
    return roles.metric(name) or Metric(name, "other")


def _spread_of(measured: Measured, spreads: Sequence[str], *, alone: bool) -> str | None:
    """Return the column of standard deviations that belongs to a measured one; `alone`: there is one each."""
    if measured.of_seeds or not spreads:
        return None
    stem = _stem(measured.column)
    named = next((c for c in spreads if _stem(c) == stem), None)
    return named or (spreads[0] if alone else None)


@lru_cache(maxsize=1 << 14)
def _stem(column: str) -> str:
    words = plain(column).split("_")
    return "_".join(w for w in words if not re.fullmatch(_SPREAD_WORDS, w))


def _entry(
    raw: Raw, layout: Layout, row: Row, measured: Measured, metric: Metric, spread: str | None
) -> Entry:
    number = row.numbers[measured.column]
    if spread is not None and spread in row.numbers and number.spread is None:
        number = replace(number, spread=row.numbers[spread].value)
    texts = _sources(raw, row, measured, layout)
    model, layer = _split_layer(_first(row.cells, layout, "model"), _first(row.cells, layout, "layer"))
    data = next((d for text in texts["dataset"] if (d := facts.data_in(text))), None)
    data = data and _labels_of(data, row, metric)
    network = next((n for text in [model, *texts["model"]] if (n := facts.network_in(text))), None)
    named = (_tidy(t) for c in layout.by_role.get("method", ()) if (t := row.cells[c]))
    method = measured.method or next(named, "")
    labels = dict(row.labels) if measured.method is None else {**row.labels, "method": measured.method}
    labels = {c: _split_layer(t, "")[0] if layout.roles.get(c) == "model" else t for c, t in labels.items()}
    sparsity, order = _sparsity(row, layout, measured, method)
    if metric.kind == "accuracy" and metric.variant == "dense":
        method, sparsity, order = "dense", 0.0, 0.0
    return Entry(
        row,
        measured.column,
        metric,
        number,
        {c: t for c, t in labels.items() if layout.roles.get(c) != "layer"},
        data=data,
        data_name=_first(row.cells, layout, "dataset") or (data.name if data else ""),
        model=model or network or "",
        network=network,
        method=method,
        layer=layer,
        sparsity=sparsity,
        order=order,
        seed=measured.column if measured.of_seeds else row.seed,
        family=measured.family if measured.metric is not None else f"{measured.family}/{metric.name}",
        of_seeds=measured.of_seeds,
        known_chance=_chance(row, layout, metric),
        origins=tuple(layout.by_role.get("origin", ())),
    )


def _labels_of(data: facts.Data, row: Row, metric: Metric) -> facts.Data:
    """Return the data set as this number sees it: some of its classes, or CIFAR-100's twenty superclasses."""
    if data.classes == 100 and roles.SUPERCLASS.search(plain(metric.name)):
        return replace(data, classes=20, counts=())
    counts = (n.value for c, n in row.numbers.items() if _counts_classes(c))
    drawn = next(counts, data.classes)
    return data if drawn >= data.classes or drawn < 2 else replace(data, classes=int(drawn), counts=())


@lru_cache(maxsize=1 << 14)
def _counts_classes(column: str) -> bool:
    return roles.CLASSES.fullmatch(plain(column)) is not None


def _sources(raw: Raw, row: Row, measured: Measured, layout: Layout) -> dict[str, list[str]]:
    """For data set and model: the texts that may name it, the likeliest first."""
    rest = [t for c, t in row.labels.items() if layout.roles[c] == "label"]
    fallback = [measured.named, *rest, row.table, row.report, raw.name]
    sources = {}
    for role in ("dataset", "model"):
        name = _first(row.cells, layout, role)
        sources[role] = [name] if name else fallback
    return sources


def _split_layer(model: str, layer: str) -> tuple[str, str]:
    """(model, layer), where a model's text may name both: `vgg16:layers.0.conv`."""
    parts = _LAYER.fullmatch(model)
    return (parts["model"], parts["layer"]) if parts and not layer else (model, layer)


def _sparsity(row: Row, layout: Layout, measured: Measured, method: str) -> tuple[float | None, float | None]:
    """(sparsity, what sorts like it)."""
    if measured.level is not None:
        return measured.level, measured.level
    column = main_level(layout.roles, row)
    if column is not None:
        value = row.stated[column]
        return (value if layout.scales[column].known else 0.0 if value == 0 else None), value
    dense = method.lower() in DENSE or row.labels.get("role", "").startswith("dense")
    return (0.0, 0.0) if dense else (None, None)


def main_level(columns: Mapping[str, str], row: Row) -> str | None:
    """Return the column of the sparsity to use: the requested one, else in the order of `levels.ROLES`."""
    stated = sorted(
        row.stated, key=lambda c: (levels.ROLES.index(columns[c]), "achieved" in c or "actual" in c)
    )
    return stated[0] if stated else None


def _chance(row: Row, layout: Layout, metric: Metric) -> float | None:
    if roles.SUPERCLASS.search(plain(metric.name)):
        return None  # what is stated is of the classes
    columns = [c for c in layout.by_role.get("chance", ()) if c in row.numbers]
    named = [c for c in columns if len(columns) == 1 or str(metric.k or 1) in plain(c)]
    return row.numbers[named[0]].value if named and metric.kind == "accuracy" else None
