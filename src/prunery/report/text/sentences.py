"""The answers in generated sentences: which method is best where, what is lost against dense, what broke."""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import combinations

from prunery.report.results.groups import ABSENT, BROKEN, Group, arms, sparsities
from prunery.report.text import formats
from prunery.report.text.captions import unequal
from prunery.stats import HIGHER, SAME, holm

VERDICTS = (
    "Verdicts: paired t-tests by seed at 5 %, Holm's correction over all pairs of methods at a sparsity; "
    "the intervals are of one pair each, not corrected."
)
MANY = 10  # groups that are missing
NAMED = (*BROKEN, "failed", "blocked")
_ERRORS = 3  # standard errors of a share of the test images
_OTHERS = {SAME: "Indistinguishable from it", HIGHER: "Lower"}


def answers(groups: Sequence[Group]) -> list[str]:
    """Return the best method at each sparsity, where each leaves the dense interval, and bad ends."""
    kinds = list(dict.fromkeys(g.first("granularity") for g in groups if g.role == "pruned"))
    places = [(s, kind) for s in sparsities(groups) for kind in kinds]
    best = [sentence for s, kind in places if (sentence := _best(groups, s, kind, len(kinds)))]
    verdicts = [VERDICTS] if any("points against" in sentence for sentence in best) else []
    budgets = [sentence for sentence in (unequal(groups),) if sentence and best]
    return [*best, *verdicts, *budgets, *_leaving(groups), *_problems(groups), *_cut_off(groups)]


def _best(groups: Sequence[Group], sparsity: float, kind: str | None, kinds: int) -> str | None:
    """Return which method of a granularity has the highest mean, and which can be told from it."""
    pruned = (g for g in groups if g.role == "pruned" and g.first("granularity") == kind)
    entered = [g for g in pruned if g.sparsity == sparsity]
    ranked = sorted((g for g in entered if g.sound), key=lambda g: -_mean(g))
    if len(entered) < 2 or not ranked:
        return None
    first, second = ranked[0], ranked[1] if len(ranked) > 1 else None
    assert first.summary is not None
    share = f" of the {kind}s removed" if kinds > 1 else ""
    there, value = f"At {formats.percent(sparsity)}{share}", f"{formats.interval(first.summary)} %"
    if (chance := _chance(first)) is not None:
        level = f"{chance:.{formats.DECIMALS}f} %"
        return f"{there}, nothing is above chance ({level}): {first.method} {value}."
    at = f"{there}, {first.method}"
    if second is None:
        return f"{at} alone neither collapsed nor diverged: {value}."
    text = f"{at} is highest: {value}"
    difference = first.minus(second.values)
    if difference is None or difference.p is None:
        return f"{text} (one seed: no verdict)."
    gap = difference.summary
    text += f"; {formats.signed(gap.mean)} {formats.ends(gap)} points against {second.method}"
    verdicts = _against_first(ranked)
    others = [f"{label}: {formats.listed(verdicts[v])}" for v, label in _OTHERS.items() if v in verdicts]
    return ". ".join([text, *others]) + "."


def _chance(group: Group) -> float | None:
    """Return the chance level in % where no seed is above it by more than the draw of images; else None."""
    level, images = group.first("chance_top1"), group.first("test_images")
    if level is None or not images:
        return None
    noise = math.sqrt(level * (100 - level) / images)
    return float(level) if max(group.values.values()) <= level + _ERRORS * noise else None


def _against_first(ranked: Sequence[Group]) -> dict[str | None, list[str]]:
    """Return verdict of the first against each other, to the others' names.

    The first was chosen by its mean, so the family is all pairs, not only those with the first.
    """
    tests = {(a.method, b.method): a.minus(b.values) for a, b in combinations(ranked, 2)}
    p_values = {pair: d.p for pair, d in tests.items() if d is not None and d.p is not None}
    corrected = dict(zip(p_values, holm(list(p_values.values())), strict=True))
    verdicts: dict[str | None, list[str]] = {}
    for other in ranked[1:]:
        pair = (ranked[0].method, other.method)
        difference = tests[pair]
        verdict = difference.verdict(corrected.get(pair)) if difference else None
        verdicts.setdefault(verdict, []).append(other.method)
    return verdicts


def bad_runs(groups: Sequence[Group]) -> list[str]:
    """Return one line for each run that failed, diverged or collapsed: which one, its key, and why."""
    return [
        f"{run.status}: {formats.label(group)}, seed {run.seed} ({run.key}): "
        f"{'; '.join(run.notes) or 'no reason noted'}"
        for group in groups
        for run in group.runs
        if run.status in NAMED
    ]


def _problems(groups: Sequence[Group]) -> list[str]:
    """Return one sentence per kind of bad end, naming each method that has one and where."""
    sentences = []
    for status in (*BROKEN, *ABSENT):
        bad = [g for g in groups if g.having(status)]
        if status == "missing" and len(bad) > MANY:
            sentences.append(f"Missing: {_counted(groups, status)} runs have no record yet.")
        elif bad:
            named = [_where(m, [g for g in bad if g.method == m], status) for m in formats.methods(bad)]
            sentences.append(f"{status.capitalize()}: {formats.listed(named)}.")
    return sentences


def _cut_off(groups: Sequence[Group]) -> list[str]:
    """Return where a network cannot learn, whatever it is trained for."""
    cut = {id(g): sum(run.row.get("params_effective") == 0 for run in g.runs) for g in groups}
    cut_groups = [g for g in groups if cut[id(g)]]
    if not cut_groups:
        return []
    named = []
    for method in formats.methods(cut_groups):
        method_groups = [g for g in cut_groups if g.method == method]
        runs = f"{sum(cut[id(g)] for g in method_groups)} of {sum(len(g.runs) for g in method_groups)}"
        named.append(f"{formats.place(method, method_groups)} ({runs})")
    return [f"No path from input to output is left, so nothing can be learnt: {formats.listed(named)}."]


def _where(method: str, bad: Sequence[Group], status: str) -> str:
    """Return `snip at 90 % (1 of 3)`, `snip at 90 % and 98 % (4 of 6)`."""
    return f"{formats.place(method, bad)} ({_counted(bad, status)})"


def _counted(groups: Sequence[Group], status: str) -> str:
    runs = sum(len(g.having(status)) for g in groups)
    return f"{runs} of {sum(len(g.runs) for g in groups)}"


def _leaving(groups: Sequence[Group]) -> list[str]:
    dense = next((g for g in groups if g.role == "dense" and g.summary), None)
    if dense is None or dense.summary is None or dense.summary.low is None:
        return []
    low, high = dense.summary.low, dense.summary.high
    texts = []
    for method in arms(groups, "pruned"):
        levels = sorted(
            (g for g in groups if (g.method, g.role) == (method, "pruned")), key=lambda g: g.sparsity
        )
        below = next((formats.percent(g.sparsity) for g in levels if _below(g, low)), "none")
        texts.append((method, f"{below}{_by_seed(levels, low)}"))
    text = f"First sparsity with a mean below the dense interval [{low:.2f}, {high:.2f}] %"
    brackets = (
        " (in brackets: of single seeds, where they differ)"
        if any("(" in where for _, where in texts)
        else ""
    )
    return [f"{text}{brackets}: {', '.join(map(' '.join, texts))}."]


def _by_seed(levels: Sequence[Group], low: float) -> str:
    """Return where single seeds fall below, as ` (90 %-95 %)`; empty where all do so at one sparsity."""
    seeds = {run.seed for group in levels for run in group.runs}
    firsts = [next((g.sparsity for g in levels if _falls(g, seed, low)), None) for seed in sorted(seeds)]
    known = sorted(f for f in firsts if f is not None)
    if len(set(firsts)) < 2:
        return ""
    return f" ({formats.percent(known[0])}-{'none' if None in firsts else formats.percent(known[-1])})"


def _falls(group: Group, seed: int, low: float) -> bool:
    broken = any(run.seed == seed for status in BROKEN for run in group.having(status))
    return broken or group.values.get(seed, low) < low


def _below(group: Group, low: float) -> bool:
    """Return whether its mean is below, or a run is broken; a group that is not done says nothing."""
    return any(group.having(s) for s in BROKEN) or (bool(group.values) and _mean(group) < low)


def _mean(group: Group) -> float:
    return group.summary.mean if group.summary else float("-inf")
