"""How a study's methods are spread over charts: together, or in small multiples by the factor that varies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from prunery.lab.factors import Factor, factors_of
from prunery.report.figures.chart import COLOURS, colours
from prunery.report.results.groups import arms
from prunery.report.results.study import Loaded

MOST = 6  # methods in one chart
_WORDS = {"training.learning_rate": "lr", "training.epochs": "epochs"}


@dataclass(frozen=True)
class Panel:
    """One chart: its title, its methods with the labels of their lines, and methods that stand behind."""

    title: str
    labels: Mapping[str, str]
    behind: tuple[str, ...] = ()


@dataclass(frozen=True)
class Panels:
    """All charts of a figure, and the colour of each label."""

    panels: tuple[Panel, ...]
    legend: Mapping[str, str]

    @property
    def shown(self) -> Mapping[str, str]:
        """Return the part of the legend that a reader needs: of one chart, or of those with several lines."""
        several = [panel for panel in self.panels if len(panel.labels) > 1 or len(self.panels) == 1]
        needed = {label for panel in several for label in panel.labels.values()}
        return {label: colour for label, colour in self.legend.items() if label in needed}


def panels_of(study: Loaded) -> Panels:
    """Return the pruned methods in one chart; more than six of them in small multiples.

    Those are the contexts of the factor whose levels, one colour each, tell most methods apart; a method in
    none of them has a chart of its own. Without such a factor each method has a chart, before all others.
    """
    methods = arms(study.groups, "pruned")
    if len(methods) <= MOST:
        return Panels((Panel("", {m: m for m in methods}),), colours(methods))
    found = [(factor, contexts) for factor in factors_of(study.spec) if (contexts := _apart(factor, methods))]
    if not found:
        each = (Panel(m, {m: m}, tuple(o for o in methods if o != m)) for m in methods)
        return Panels(tuple(each), dict.fromkeys(methods, COLOURS[0]))
    factor, contexts = max(found, key=_worth)
    word = _WORDS.get(factor.name, "")
    label = {level: f"{word} {level}".strip() for level in factor.levels}
    made = [Panel(_shared(list(c.values()), word), {m: label[v] for v, m in c.items()}) for c in contexts]
    placed = {m for context in contexts for m in context.values()}
    alone = [Panel(_shared([m], word), {m: _alone(m, label)}) for m in methods if m not in placed]
    others = [v for panel in alone for v in panel.labels.values()]
    return Panels((*made, *alone), colours(dict.fromkeys([*label.values(), *others])))


def _worth(found: tuple[Factor, Sequence[Mapping[str, str]]]) -> tuple[int, int, bool]:
    """Return how well a factor tells methods apart: its levels, the methods, and whether it is a setting."""
    factor, contexts = found
    sizes = [len(context) for context in contexts]
    return max(sizes), sum(sizes), factor.name.startswith("training.")


def _apart(factor: Factor, methods: Sequence[str]) -> list[Mapping[str, str]]:
    """Return the contexts of a factor that share no method; [] where few methods are in one."""
    taken: set[str] = set()
    contexts: list[Mapping[str, str]] = []
    for context in sorted(factor.contexts, key=len, reverse=True):
        if not taken & set(context.values()):
            contexts.append({v: m for v, m in context.items() if m in methods})
            taken |= set(context.values())
    return contexts if 3 * len(taken) >= 2 * len(methods) and len(contexts) > 1 else []


def _shared(names: Sequence[str], word: str) -> str:
    """Return the words that all names share, without the factor's own."""
    first, *others = [name.replace(",", "").split() for name in names]
    kept = [w for w in first if all(w in other for other in others)]
    if len(names) == 1 and word in kept:
        kept = kept[: kept.index(word)]
    return " ".join(w for w in kept if w != word) or names[0]


def _alone(method: str, label: Mapping[str, str]) -> str:
    """Return the label of a level that a method's name ends with, or the name."""
    return next((text for text in label.values() if method.endswith(text)), method)
