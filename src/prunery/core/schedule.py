"""Schedules of pruning: when, and how far, is each cut?

A row gives its cuts in order, as `Cut`s or as plain numbers (the cumulative sparsities); the last one is the
target. A row may instead return a mask update of its own (see `prunery.train.updates`).

`between` says whether recovery runs after every cut (iterative) or only after the last one.
`during` says that the cuts lie inside one training: each has a place `at`, or the row returns a mask update.
`at` is then the network that the training begins with, "init" or "trained".
`start` is the sparsity that earlier masks already reached (0 for a dense model).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from math import ceil, cos, floor, isclose, log, pi
from typing import Any

from prunery.core.sparsity import parse
from prunery.errors import ChoiceError, SparsityError
from prunery.registry import Choice, Registry

schedule = Registry("schedule")

MAX_ROUNDS = 10_000

_CUTS = 30  # inside a training, where neither `cuts` nor `every` is given


@dataclass(frozen=True)
class Cut:
    """One cut: the sparsity that it leaves, and where it lies if it lies inside a training.

    sparsity: of the whole pool, in any form that `sparsity.parse` reads. regrow: the share of the kept units
    that is removed on top and grown elsewhere, in [0, 1), so that the sparsity stays. at: the share of the
    training's steps that come before the cut, 0 to 1; None for a cut that lies outside any training.
    grow: how the grown units are drawn; only "random", evenly from those that were removed before.
    criterion: the name of one that scores this cut in place of the method's.
    """

    sparsity: float
    regrow: float = 0.0
    at: float | None = None
    grow: str = "random"
    criterion: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "sparsity", parse(self.sparsity))
        if not _is_number(self.regrow) or not 0 <= self.regrow < 1:
            raise _refused(f"regrow={self.regrow!r}", "give a share of the kept units in [0, 1)")
        if self.at is not None and not (_is_number(self.at) and 0 <= self.at <= 1):
            raise _refused(f"at={self.at!r}", "give a share of the training's steps from 0 to 1, or None")
        if self.grow != "random":
            found = "this version grows at random only"
            raise ChoiceError(f"grow={self.grow!r} of a cut", found, "write grow='random', or leave it out")
        if self.at is None and (self.regrow or self.criterion is not None):
            found = f"{self} with no place in a training"
            raise _refused(found, "give `at`: what is grown starts at 0, and its own criterion needs a place")


def cuts_of(result: Any) -> list[Cut]:
    """Return the cuts that a row's result says, in order; a number is a cut to that sparsity.

    SparsityError for a mask update, which has no cuts, and for cuts that cannot be carried out in this order.
    """
    if is_update(result):
        do = "use it inside a training (fit(..., updates=[it]))"
        raise _refused(f"{type(result).__name__}, a mask update, where cuts are needed", do)
    if isinstance(result, str) or not isinstance(result, Iterable):
        raise _refused(f"{result!r}", "let its row return a list of cuts, or a mask update")
    cuts = [cut if isinstance(cut, Cut) else Cut(cut) for cut in result]
    if not cuts:
        raise _refused("no cut at all", "let its row return one cut or more")
    places = [cut.at for cut in cuts if cut.at is not None]
    if len(places) not in (0, len(cuts)) or places != sorted(places):
        found = f"cuts at {[cut.at for cut in cuts]}"
        raise _refused(found, "give every cut its place in the training in ascending order, or none of them")
    for before, after in pairwise(cuts):
        if after.sparsity < before.sparsity - 1e-9 and not after.regrow:  # rounding aside
            found = f"a cut to {after.sparsity:g} after one to {before.sparsity:g}"
            raise _refused(found, "give sparsities in ascending order: a cut without regrow only removes")
    return cuts


def is_update(result: Any) -> bool:
    """Return whether a row's result is a mask update: an object that is called, and says when it is due."""
    return callable(result) and callable(getattr(result, "due", None)) and not isinstance(result, type)


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


@schedule.add(
    between=False,
    during=True,
    at="init",
    source="Zhu and Gupta 2017, To prune, or not to prune, eq. 1 (cubic)",
)
def gradual(
    sparsity: float,
    start: float = 0.0,
    *,
    begin: float = 0.0,
    end: float = 0.75,
    cuts: int | None = None,
    every: float | None = None,
) -> list[Cut]:
    """Cuts inside the training, along `s_f + (s_i - s_f) (1 - (t - begin) / (last - begin))^3`.

    s_i is `start`, s_f the target. begin, end: shares of the training's steps; what is left after `end`
    trains at the target. cuts: how many (default 30), evenly spaced, the last at `end`; or every: the share
    of the steps from one cut to the next, the last one no later than `end`. The paper counts a cut at `begin`
    too, which removes nothing (its n is our `cuts`). It leaves begin, end and n to the user: the defaults are
    ours, so that 30 cuts in 10 epochs of MNIST lie 107 steps apart (the paper: 100 to 1000 do equally well).
    """
    places = _places(begin, end, cuts, every)
    n = len(places)
    levels = [sparsity + (start - sparsity) * (1 - i / n) ** 3 for i in range(1, n)] + [sparsity]
    return [Cut(level, at=at) for level, at in zip(levels, places, strict=True)]


@schedule.add(
    between=False,
    during=True,
    at="init",
    source="Mocanu et al. 2018, Scalable training of artificial neural networks with adaptive sparse "
    "connectivity, algorithm 1 (SET)",
)
def drop_grow(
    sparsity: float,
    start: float = 0.0,
    *,
    fraction: float = 0.3,
    decay: str = "constant",
    end: float = 0.75,
    cuts: int | None = None,
    every: float | None = None,
    grow: str = "random",
) -> list[Cut]:
    """A sparse start, drawn at random; then in each cut a share of the kept goes and as many others grow.

    The share is `fraction` (0.3: SET's zeta) at every cut (decay="constant", as in SET) or
    `fraction (1 + cos(pi at / end)) / 2` (decay="cosine", Evci et al. 2020, RigL, section 3). cuts: how many
    after the start (default 30), the last at `end`; or every: the share of the steps between them. SET cuts
    after every epoch but the last: for E epochs `cuts=E-1, end=(E-1)/E`; our default stops at 0.75 of the
    training, as RigL does. grow: only "random".
    """
    if not (_is_number(fraction) and 0 < fraction < 1):
        raise _refused(f"fraction={fraction!r}", "give a share of the kept units between 0 and 1")
    if decay not in ("constant", "cosine"):
        raise ChoiceError(f"decay={decay!r} of drop_grow", "it is neither", "choose 'constant' or 'cosine'")
    if _is_number(end) and end >= 1:
        raise _refused(f"end={end!r}", "give an end below 1: what grows after the last step is never trained")
    places = _places(0.0, end, cuts, every)
    left = [(1 + cos(pi * at / end)) / 2 if decay == "cosine" else 1.0 for at in places]
    first = Cut(sparsity, at=0.0, grow=grow, criterion="random")
    return [first, *(Cut(sparsity, fraction * r, at, grow) for r, at in zip(left, places, strict=True))]


def _places(begin: Any, end: Any, cuts: Any, every: Any) -> list[float]:
    """The shares of a training at which cuts lie, after `begin`, the last one at `end` or shortly before."""
    if not (_is_number(begin) and _is_number(end) and 0 <= begin < end <= 1):
        raise _refused(
            f"begin={begin!r} and end={end!r}", "give shares of the training, 0 <= begin < end <= 1"
        )
    if cuts is not None and every is not None:
        raise _refused(f"cuts={cuts!r} and every={every!r}", "give one of them")
    if every is None:
        n = _CUTS if cuts is None else cuts
        if not isinstance(n, int) or isinstance(n, bool) or not 1 <= n <= MAX_ROUNDS:
            raise _refused(f"cuts={n!r}", f"give a whole number of cuts from 1 to {MAX_ROUNDS}")
        return [begin + (end - begin) * i / n for i in range(1, n)] + [end]
    if not (_is_number(every) and (end - begin) / MAX_ROUNDS <= every <= end - begin):
        do = f"give a share of the training that fits between begin and end, at most {MAX_ROUNDS} times"
        raise _refused(f"every={every!r}", do)
    n = floor((end - begin) / every * (1 + 1e-9))  # a whole number of times is not one too few for rounding
    return [min(end, begin + every * i) for i in range(1, n + 1)]


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


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
