"""Effects of a study's factors in words, and as a table."""

from __future__ import annotations

from collections.abc import Sequence

from prunery.comparisons import NOT_SHOWN
from prunery.report.results.effects import Effect
from prunery.report.text import formats
from prunery.report.text.texttable import TextTable

_UNITS = {
    "weight": "single weights",
    "filter": "whole filters",
    "channel": "channels that go together",
    "head": "attention heads",
    "block": "blocks of weights",
}
_SCHEDULES = {"one_shot": "at once", "iterative": "step by step", "exponential": "in many rounds"}
_SCOPES = {"global": "over the whole network", "layer": "in each layer by itself"}
_PLACES = {"trained": "the trained network", "init": "the untrained network"}
_RECOVERIES = {"none": "doing nothing after the cut", "bn": "estimating batch norm's statistics again"}
_PHRASES = {
    "granularity": "removing {} rather than {}",
    "criterion": "the criterion {} rather than {}",
    "scope": "ranking weights {} rather than {}",
    "at": "pruning {} rather than {}",
    "recovery": "{} rather than {}",
    "training.learning_rate": "retraining at a learning rate of {} rather than {}",
    "training.epochs": "retraining for {} epochs rather than {}",
    "floor": "keeping at least {} of each layer rather than {}",
    "granularity.norm": "ranking them by their norm {} rather than {}",
}
_WORDS = {
    "granularity": _UNITS,
    "schedule": _SCHEDULES,
    "scope": _SCOPES,
    "at": _PLACES,
    "recovery": _RECOVERIES,
    "granularity.norm": {"l1": "L1", "l2": "L2"},
}
_WITHOUT = "fewer than three seeds, so without an interval"
_IN_ONE = 3  # effects that one sentence holds


def change(effect: Effect) -> str:
    """Return what is compared: `removing single weights rather than whole filters`."""
    name = effect.factor.name
    levels = (effect.better, effect.worse)
    words = [_WORDS.get(name, {}).get(level, level) for level in levels]
    if name == "schedule":
        known = all(level in _SCHEDULES for level in levels)
        words = words if known else list(levels)
        text = ("pruning {} rather than {}" if known else "the schedule {} rather than {}").format(*words)
    else:
        label = name.removeprefix("training.").replace("_", " ").replace(".", ": ")
        text = _PHRASES.get(name, f"{label} {{}} rather than {{}}").format(*words)
    return text + (_epochs(effect) if effect.unequal else " for as many epochs" * effect.factor.equal_epochs)


def sentence(effect: Effect) -> str:
    """Return `removing single weights rather than whole filters keeps 11.2 points more at 50 % [...]`."""
    summary = effect.difference.summary
    there = where(effect)
    if effect.difference.verdict == NOT_SHOWN:
        return (
            f"{change(effect)}: no difference is shown {there} ({summary.mean:+.1f} points, {_how(effect)})"
        )
    return f"{change(effect)} keeps {summary.mean:.1f} points more {there}, {_how(effect)}"


def answer(effects: Sequence[Effect], best: Sequence[str]) -> str | None:
    """Return one sentence that answers a study's question; None where there is nothing to say.

    It holds what is shown, the largest effect first, of each factor its best level against the next; then
    what is not shown. Without effects it is the first of `best`, the winners by range of sparsities.
    """
    ranked = sorted(leading(effects), key=lambda e: -e.difference.summary.mean)
    clear = [sentence(e) for e in ranked if e.difference.verdict not in (NOT_SHOWN, None)]
    open_ones = [sentence(e) for e in ranked if e.difference.verdict in (NOT_SHOWN, None)]
    won = [said.removesuffix(".") for said in best] if not clear else []
    parts = [*clear, *won[-1:], *open_ones][:_IN_ONE] if effects else won[:1]
    text = "; ".join([*parts[:1], *(f"{part[:1].lower()}{part[1:]}" for part in parts[1:])])
    text = text.replace(f", {_WITHOUT}", "", max(0, text.count(_WITHOUT) - 1))  # said once, at the end
    return f"{text[:1].upper()}{text[1:]}." if parts else None


def leading(effects: Sequence[Effect]) -> list[Effect]:
    """Return of each factor the smallest effect: its best level against the next."""
    by_factor: dict[tuple[str, bool], Effect] = {}
    for effect in effects:
        key = effect.factor.name, effect.factor.equal_epochs
        if key not in by_factor or effect.difference.summary.mean < by_factor[key].difference.summary.mean:
            by_factor[key] = effect
    return list(by_factor.values())


def table(effects: Sequence[Effect]) -> TextTable | None:
    """Return every effect with its interval; None where there are none."""
    if not effects:
        return None
    header = ("change", "sparsities", "pairs of methods", "points", "interval", "verdict")
    rows = [
        (
            change(effect),
            _levels(effect),
            str(effect.contexts),
            formats.signed(effect.difference.summary.mean),
            formats.ends(effect.difference.summary) or formats.NOTHING,
            effect.difference.verdict or formats.NOTHING,
        )
        for effect in effects
    ]
    caption = [
        "What each choice changes with all else alike: the mean over pairs of methods that differ in nothing "
        "else, and over the sparsities at which both ended well; the best level against each other."
    ]
    if any(e.over == "contexts" for e in effects):
        caption.append(
            "With fewer than three seeds the intervals are over pairs of methods, and say nothing of seeds."
        )
    if left := _left_out(effects):
        caption.append(left)
    return TextTable("Effect of each choice", header, tuple(rows), tuple(caption), (), fixed=len(header))


def where(effect: Effect) -> str:
    """Return `at 50 %`, or `over 20 % to 90 %`."""
    levels = effect.sparsities
    if len(levels) == 1:
        return f"at {formats.percent(levels[0])}"
    return f"over {formats.percent(levels[0])} to {formats.percent(levels[-1])}"


def _levels(effect: Effect) -> str:
    known = effect.sparsities
    ends = [formats.percent(s) for s in (known[0], known[-1])]
    return ends[0] if len(known) == 1 else f"{len(known)} from {ends[0]} to {ends[1]}"


def _how(effect: Effect) -> str:
    """Return the interval of an effect, and over what it is."""
    summary = effect.difference.summary
    if summary.half is None:
        return _WITHOUT
    interval = f"[{summary.mean - summary.half:+.1f}, {summary.mean + summary.half:+.1f}]".replace("-", "−")
    if effect.over == "seeds":
        return interval
    more = sum(single > 0 for single in effect.singles)
    return f"{interval} over pairs of methods, more in {more} of {summary.n}"


def _epochs(effect: Effect) -> str:
    ours, theirs = (formats.ranged(map(float, epochs)) for epochs in effect.epochs)
    return f" ({ours} epochs against {theirs})"


def _left_out(effects: Sequence[Effect]) -> str:
    left = {(e.factor.name, level) for e in effects for level in e.left_out}
    named = formats.listed(
        [f"{name.removeprefix('training.').replace('_', ' ')} {level}" for name, level in sorted(left)]
    )
    return f"Not compared, for too few of their cells ended well or were measured: {named}." if left else ""
