"""The answers in generated sentences: which method is best where, what is lost against dense, what broke."""

from __future__ import annotations

from collections.abc import Sequence

from prunery.report.results.effects import Effect
from prunery.report.results.groups import ABSENT, BROKEN, Group, arms
from prunery.report.text import formats
from prunery.report.text.captions import unequal
from prunery.report.text.effects import leading, sentence
from prunery.report.text.winners import winners

MANY = 10  # groups that are missing
NAMED = (*BROKEN, "failed", "blocked")


def answers(groups: Sequence[Group], effects: Sequence[Effect] = ()) -> list[str]:
    """Return what each factor changes, the best method by range of sparsities, what is lost, and bad ends."""
    best = winners(groups)
    changes = [f"{said[:1].upper()}{said[1:]}." for said in map(sentence, leading(effects))]
    budgets = [said for said in (unequal(groups),) if said and best]
    return [*changes, *best, *budgets, *below_dense(groups), *ends(groups)]


def ends(groups: Sequence[Group]) -> list[str]:
    """Return what ended badly, by kind: which methods and where."""
    return [*_problems(groups), *_cut_off(groups)]


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


def below_dense(groups: Sequence[Group]) -> list[str]:
    """Return at which sparsity each method first falls below the dense network's interval."""
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
