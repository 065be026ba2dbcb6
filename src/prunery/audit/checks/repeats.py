"""Checks of numbers that stand in several places: repeats, misprints, copies."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from itertools import combinations

from prunery.audit.checks.curves import Point, curves, misfit, of_one_layer
from prunery.audit.checks.values import chance_level
from prunery.audit.findings import CHECKS, Finding, finding, percent, several
from prunery.audit.table.numbers import agree, mean, sd, slip
from prunery.audit.table.sheet import Entry, Sheet, grouped

_SLIP = 0.4  # points; smaller differences of one digit are usual between runs
_STUCK = 4  # so many neighbouring points of a curve are not equal by accident
_ACCIDENTS = 0.01  # runs of equal values that are expected by accident
_BASELINE_OF = re.compile(r"(baseline|base|dense|original|unpruned)\W+\w", re.IGNORECASE)
_NO_REMARK = (
    "table",
    "tab",
    "text",
    "figure",
    "fig",
    "appendix",
    "supplement",
    "section",
    "main",
    "abstract",
)
_BLANK = ("", "-", "—", "n/a")


@CHECKS.add(
    says="the same configuration several times with different values, within a table or between tables"
)
def twice(sheet: Sheet) -> Iterator[Finding]:
    """Such values are repeats to be pooled, or one of them is a misprint."""
    for group in _same_configuration(sheet):
        texts = list(dict.fromkeys(e.printed for e in group))
        values = [e.value for e in group]
        step = max(e.number.step for e in group)
        if max(values) - min(values) <= step * 1.001 / 2:
            continue
        tables = list(dict.fromkeys(e.row.table for e in group))
        where = f"in tables {several(tables)}" if len(tables) > 1 else "in one table"
        head = f"the same configuration {where}: {several(texts)}"
        if (why := _slipped(sheet, group)) is not None:
            yield finding("twice", group, f"{head}; {why}")
            continue
        spread = f"n = {len(values)}, mean {mean(values):.4g} ± {sd(values):.2g} (SD)"
        yield finding("twice", group, f"{head}; pooled: {spread}, apart by {max(values) - min(values):.4g}")


def _same_configuration(sheet: Sheet) -> Iterator[list[Entry]]:
    if sheet.log:
        return
    entries = [e for e in sheet.entries if e.kind != "time" and (e.order is not None or e.dense)]
    designed = _designed(sheet)
    first = min((sheet.columns.index(e.column) for e in sheet.entries), default=0)
    settings = [c for c in sheet.unread if sheet.columns.index(c) < first]  # left of what was measured
    for group in grouped(entries, lambda e: (_configuration(e), *(e.row.cells[c] for c in settings))):
        for cluster in _clusters(group):
            tables = {e.row.table for e in cluster}
            if len(cluster) > 1 and (len(tables) > 1 or (cluster[0].family, *tables) not in designed):
                yield cluster


def _configuration(entry: Entry) -> object:
    place = (entry.row.report, _remark(entry.row.table), *entry.place[2:])
    budget = tuple(sorted(entry.row.budget.items()))
    return place, entry.method, entry.order, entry.seed, budget


def _remark(table: str) -> str:
    """Return what a table's name says besides its number: `2 (without augmentation)`."""
    words = re.findall(r"[^\W\d_]{3,}", table.lower())
    return " ".join(w for w in words if w not in _NO_REMARK and not re.fullmatch("[ivxlc]+", w))


def _clusters(group: Sequence[Entry]) -> list[list[Entry]]:
    """Return the entries whose labels do not contradict each other."""
    words = [c for c in group[0].labels if all(_one_word(e.labels.get(c, "")) for e in group)]
    apart = grouped(group, lambda e: tuple(e.labels[c] for c in words))  # single words are equal or not
    return [cluster for part in apart for cluster in _compatible_clusters(part)]


def _one_word(text: str) -> bool:
    return text not in _BLANK and len(text.replace(",", " ").split()) == 1


def _compatible_clusters(group: Sequence[Entry]) -> list[list[Entry]]:
    clusters: list[list[list[Entry]]] = []
    for alike in grouped(group, lambda e: tuple(sorted(e.labels.items()))):
        home = next((c for c in clusters if all(_compatible(alike[0], other[0]) for other in c)), None)
        if home is None:
            clusters.append([alike])
        else:
            home.append(alike)
    members = [{id(e) for alike in cluster for e in alike} for cluster in clusters]
    return [[e for e in group if id(e) in ids] for ids in members]


def _compatible(a: Entry, b: Entry) -> bool:
    return all(same_or_shorter(a.labels.get(c, ""), b.labels.get(c, "")) for c in {*a.labels, *b.labels})


def same_or_shorter(a: str, b: str) -> bool:
    """Return whether two labels may mean the same: equal, or one says less in the same words."""
    if a in _BLANK or b in _BLANK:
        return a in _BLANK and b in _BLANK
    short, long = sorted((a.replace(",", " ").split(), b.replace(",", " ").split()), key=len)
    return long[: len(short)] == short


def _designed(sheet: Sheet) -> set[tuple[str, str]]:
    """(column, table) where nearly every configuration stands as often: runs without a seed column."""
    designed = set()
    for alike in grouped(sheet.entries, lambda e: (e.family, e.row.table)):
        sizes = [len(g) for g in grouped(alike, lambda e: (_configuration(e), e.arm))]
        if sum(s > 1 for s in sizes) >= 0.6 * len(sizes):
            designed.add((alike[0].family, alike[0].row.table))
    return designed


def _slipped(sheet: Sheet, group: Sequence[Entry]) -> str | None:
    """Return which of two printed values is probably a misprint of the other, and why."""
    texts = list(dict.fromkeys(e.printed for e in group))
    if len(texts) != 2 or (how := slip(*texts)) is None:
        return None
    a, b = (next(e for e in group if e.printed == text) for text in texts)
    if abs(a.value - b.value) < _SLIP:
        return None
    wrong, right = (a, b) if misfit(sheet, a) > misfit(sheet, b) else (b, a)
    where = f" of table {right.row.table}" if right.row.table else f" of line {right.line}"
    return f"{how}: {wrong.printed} (line {wrong.line}) is probably a misprint of the {right.printed}{where}"


@CHECKS.add(says="what every row of one network repeats, but one: dense accuracy, dense costs, chance")
def all_but_one(sheet: Sheet) -> Iterator[Finding]:
    """A constant of a network that one row states differently."""
    constants = [e for e in sheet.entries_of("macs", "params") if e.metric.variant == "dense" and not e.layer]
    for group in grouped(constants, lambda e: (e.row.report, e.data_name, e.model, e.column)):
        yield from _odd_one(group, 0.0)
    dense = [
        e for e in sheet.entries_of("accuracy") if e.order == 0 and e.seed is None and not e.metric.variant
    ]
    dense = [] if sheet.log else dense
    methods = {"method", *sheet.columns_of("method")}
    for group in grouped(dense, lambda e: (*e.place, *_whose(e, methods))):
        yield from _odd_one(group, 1.0 if len(group) == 3 else 0.3)
    stating = [e for e in sheet.entries_of("accuracy") if e.known_chance is not None and e.data]
    for group in grouped(stating, lambda e: (e.row.report, e.data, e.metric.k)):
        yield from _chances(group)


def _chances(group: Sequence[Entry]) -> Iterator[Finding]:
    """Stated chances that are not the data set's; where all rows state the same, some classes were drawn."""
    assert group[0].data is not None
    implied = group[0].data.chance(group[0].metric.k or 1)
    if len(group) > 1 and len({e.known_chance for e in group}) == 1:
        return
    for entry in group:
        level = entry.known_chance or 0.0
        if not agree(level, implied, 0.01 * implied):
            message = f"chance is stated as {level:g} %, {implied:g} % for its data set"
            yield finding("all_but_one", [entry], message)


def _whose(entry: Entry, methods: Collection[str]) -> list[str]:
    """Labels besides the method's, and whose own baseline an entry is: `baseline (HRank)`."""
    named = f"method={entry.method}" if _BASELINE_OF.match(entry.method) else ""
    return [named, *sorted(f"{c}={t}" for c, t in entry.labels.items() if c not in methods)]


def _odd_one(group: Sequence[Entry], least: float) -> Iterator[Finding]:
    values = [e.value for e in group]
    common = max(set(values), key=values.count)
    odd = [e for e in group if abs(e.value - common) > least]
    if len(group) >= 3 and values.count(common) == len(group) - 1 and len(odd) == 1:
        message = (
            f"{odd[0].printed}, where the {len(group) - 1} other rows of the dense network say {common:g}"
        )
        yield finding("all_but_one", odd, message)


@CHECKS.add(says="one number for every layer and method, where each has its own")
def one_for_all(sheet: Sheet) -> Iterator[Finding]:
    """What each layer keeps differs by layer and by method, except where every layer is cut alike."""
    for group in grouped(
        sheet.entries_of("layer_share"), lambda e: (e.row.report, e.row.table, e.sparsity, e.family)
    ):
        methods = {e.method for e in group}
        uniform = any(
            "layer" in t.lower() or "uniform" in t.lower() for e in group for t in e.labels.values()
        )
        if len(group) < 3 or len(methods) < 2 or len({e.value for e in group}) > 1 or uniform:
            continue
        if _asked_for(group):
            continue
        message = (
            f"{group[0].printed} for each layer of {len(methods)} methods: methods differ in what they leave"
        )
        sparsity = group[0].sparsity
        if sparsity is not None:
            share = min((100 * sparsity, 100 - 100 * sparsity), key=lambda s: abs(s - group[0].value))
            near = abs(share - group[0].value) < 0.5
            message += (
                f" a layer; this is the share of the whole network ({share:.4g} %)" if near else " a layer"
            )
        yield finding("one_for_all", group, message)


def _asked_for(group: Sequence[Entry]) -> bool:
    """Return whether layers are cut alike by choice: each is named, or the number is round."""
    digits = group[0].printed.strip(" %").replace(".", "").strip("0")
    return all(e.layer for e in group) or len(digits) <= 2


@CHECKS.add(says="an accuracy that stays the same to the last digit over several sparsities")
def stuck(sheet: Sheet) -> Iterator[Finding]:
    """A collapse that is not at 100/C (classes of unequal size), or one number copied down."""
    for points in curves(sheet, "accuracy"):
        unpruned = {e.value for p in points if not p.order for e in p.entries}
        unpruned |= {d.value for d in sheet.references.dense_of(points[0].entries[0])}
        by_layer = of_one_layer(points[0].entries[0])
        runs = list(_runs([p for p in points if len(p.entries) == 1]))
        for run in runs:
            entries = [p.entries[0] for p in run]
            if len(run) < _STUCK or by_layer or entries[0].value in unpruned:
                continue
            if _telling(entries[0]) and not _by_chance(run, runs):
                at = f"{percent(entries[0].sparsity or 0)} to {percent(entries[-1].sparsity or 0)}"
                message = (
                    f"{entries[0].described} at {len(run)} sparsities in a row ({at}): collapsed, or copied"
                )
                yield finding("stuck", entries, message)


def _by_chance(run: Sequence[Point], runs: Sequence[Sequence[Point]]) -> bool:
    """Return whether so many equal neighbours are expected on a long curve with many equal points."""
    others = sum(len(r) for r in runs) - len(run)
    equal = sum(len(r) - 1 for r in runs) - (len(run) - 1)
    return others * (equal / max(others, 1)) ** (len(run) - 1) > _ACCIDENTS


def _runs(points: Sequence[Point]) -> Iterator[list[Point]]:
    run: list[Point] = []
    for point in points:
        if run and point.entries[0].value != run[-1].entries[0].value:
            yield run
            run = []
        run.append(point)
    yield run


def _telling(entry: Entry) -> bool:
    """Return whether the value is not at chance, and two runs would differ in its digits."""
    level = chance_level(entry)
    known = level is not None and agree(entry.value, level, 0.06)
    shares = [share for _, share in entry.data.shares()] if entry.data else []
    fine = entry.number.step < 0.05
    return fine and entry.value < 99.5 and not known and not any(agree(entry.value, s, 0.02) for s in shares)


@CHECKS.add(says="two accuracies of one method that another table of the report exchanges")
def exchanged(sheet: Sheet) -> Iterator[Finding]:
    """Two configurations whose values stand the other way round in another table."""
    for group in grouped(sheet.entries_of("accuracy"), lambda e: (e.row.report, *e.place[2:], e.seed)):
        by_table = list(grouped(group, lambda e: e.row.table))
        for first, second in combinations(by_table, 2):
            yield from _exchanges(first, second)


def _exchanges(first: Sequence[Entry], second: Sequence[Entry]) -> Iterator[Finding]:
    there = {(e.method, e.order): e for e in second}
    pairs = [(e, there[e.method, e.order]) for e in first if (e.method, e.order) in there]
    moved = [(a, b) for a, b in pairs if a.value != b.value]
    stand: dict[tuple[float, float], list[Entry]] = {}
    for a, b in moved:
        for other in stand.get((b.value, a.value), ()):
            message = f"{other.printed} and {b.printed} stand the other way round in another table"
            yield finding("exchanged", [other, b], message)
        stand.setdefault((a.value, b.value), []).append(b)
