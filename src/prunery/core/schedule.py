"""Schedules of pruning: how far does each cut go?

A row gives the cumulative sparsities of its cuts; the last one is the target.

`between` says whether recovery runs after every cut (iterative) or only after the last one.
`start` is the sparsity that earlier masks already reached (0 for a dense model).
"""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil, isclose, log

from prunery.core.sparsity import parse
from prunery.errors import SparsityError
from prunery.registry import Choice, Registry

schedule = Registry("schedule")

MAX_ROUNDS = 10_000


def of_rounds(rounds: int) -> Choice:
    """The schedule of so many rounds without recovery in between: exponential, or one cut."""
    return Choice("one_shot") if rounds == 1 else Choice("exponential", {"rounds": rounds})


@schedule.add(between=False, source="LeCun et al. 1990")
def one_shot(sparsity: float, start: float = 0.0) -> list[float]:
    """One cut."""
    return [sparsity]


@schedule.add(between=True, source="Han et al. 2015; Frankle and Carbin 2019 (20 % of what remains a round)")
def iterative(
    sparsity: float,
    start: float = 0.0,
    *,
    fraction: float | None = None,
    levels: Sequence[float | str] | None = None,
    rounds: int | None = None,
) -> list[float]:
    """Cuts of a `fraction` of what remains, or to each of `levels`, or `rounds` equal fractions.

    fraction (default 0.2): the density falls by that factor until the target, which the last cut hits
    exactly. levels: ascending sparsities; those below the target are cuts, then the target itself.
    """
    given = {"fraction": fraction, "levels": levels, "rounds": rounds}
    if sum(value is not None for value in given.values()) > 1:
        raise _refused(f"{given}", "give one of fraction, levels, rounds")
    if levels is not None:
        return _through(levels, sparsity, start)
    if rounds is not None:
        return exponential(sparsity, start, rounds=rounds)
    return _by_fraction(parse(0.2 if fraction is None else fraction), sparsity, start)


@schedule.add(between=False, source="Tanaka et al. 2020, alg. 1: density (1-s)^(r/n) after round r of n")
def exponential(sparsity: float, start: float = 0.0, *, rounds: int = 100) -> list[float]:
    """`rounds` cuts that each keep the same fraction of what remains; the last hits the target exactly."""
    if not isinstance(rounds, int) or not 1 <= rounds <= MAX_ROUNDS:
        raise _refused(f"{rounds!r} rounds", f"give a whole number of rounds from 1 to {MAX_ROUNDS}")
    keep = (1 - sparsity) / (1 - start)  # what the cuts keep together
    return [1 - (1 - start) * keep ** (r / rounds) for r in range(1, rounds)] + [sparsity]


def _by_fraction(fraction: float, sparsity: float, start: float) -> list[float]:
    if not fraction > 0:
        raise _refused(f"a fraction of {fraction}", "a cut removes something: give 0 < fraction < 1")
    exact = log((1 - sparsity) / (1 - start)) / log(1 - fraction)
    whole = round(exact)  # a target that a whole number of cuts reaches is not cut once more for rounding
    rounds = max(1, whole if isclose(exact, whole, rel_tol=1e-9) else ceil(exact))
    if rounds > MAX_ROUNDS:
        raise _refused(f"{rounds} cuts", f"give a larger fraction: at most {MAX_ROUNDS} cuts are allowed")
    return [1 - (1 - start) * (1 - fraction) ** r for r in range(1, rounds)] + [sparsity]


def _through(levels: Sequence[float | str], sparsity: float, start: float) -> list[float]:
    wanted = [parse(level) for level in levels]
    if wanted != sorted(set(wanted)):
        raise _refused(f"levels {list(levels)}", "give each level once, in ascending order")
    return [level for level in wanted if start < level < sparsity] + [sparsity]


def _refused(found: str, do: str) -> SparsityError:
    return SparsityError("a pruning schedule", f"it was given {found}", do)
