"""Sparsities as tables state them: fractions, percent, densities, ratios and exponents."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from prunery.audit.table.numbers import Number, parse
from prunery.audit.table.words import plain

ROLES = ("sparsity", "density", "exponent", "ratio", "compression")  # the first is preferred
_SURE = re.compile("spars|dens|ratio|rate|percent|pct|frac|amount|level")
_COUNTED = re.compile(r"^(n|num)_|_(m|k|g|mb|kb|millions?|thousands?|counts?)$")


@dataclass(frozen=True)
class Scale:
    """How a column states sparsity; `known` is False where only the order of its numbers is sure."""

    form: str  # sparsity, density, exponent, ratio
    factor: float = 1.0
    known: bool = True

    def sparsity(self, number: Number) -> float | None:
        """Return the sparsity in [0, 1] that a number states, or None outside."""
        value = number.value * (0.01 if number.unit == "%" and self.factor == 1 else self.factor)
        if number.unit == "x" or self.form == "ratio":
            return 1 - 1 / number.value if number.value >= 1 else None
        if self.form == "exponent":
            return 1 - 10**-value if value >= 0 else None
        sparsity = 1 - value if self.form == "density" else value
        return round(sparsity, 12) if -1e-9 <= sparsity <= 1 + 1e-9 else None

    def slack(self, number: Number) -> float:
        """Return how much rounding of the printed number moves the sparsity."""
        low, high = (self.sparsity(_moved(number, sign)) for sign in (-0.5, 0.5))
        return 1e-6 if low is None or high is None else abs(high - low) / 2 + 1e-9


def _moved(number: Number, steps: float) -> Number:
    return Number(number.text, number.value + steps * number.step, number.step, None, number.unit)


def scale(name: str, role: str, numbers: Sequence[Number]) -> Scale:
    """Return how a column of this role states sparsity, by its name and its numbers."""
    values = [n.value for n in numbers if n.value]
    if role == "compression":
        return _compression(values, any(n.unit == "x" for n in numbers))
    if role in ("exponent", "ratio"):
        return Scale(role, known=role == "exponent" or min(values, default=1.0) >= 1)
    large = sum(v > 1 for v in values) > len(values) / 2
    percent = large or re.search("percent|pct", plain(name)) is not None
    return Scale(role, 0.01 if percent else 1.0)


def doubtful(name: str, role: str, numbers: Sequence[Number]) -> bool:
    """Return whether a column named like sparsities counts something, or its numbers are unclear.

    `channels_pruned` 312 is a count; a `compression_rate` of 0.66 may be what is kept or what is gone.
    """
    text = plain(name)
    if role == "ratio":
        return bool(numbers) and sum(n.value >= 1 for n in numbers) < len(numbers) / 2
    if role not in ("sparsity", "density") or _SURE.search(text):
        return False
    return _COUNTED.search(text) is not None or 4 * sum(n.value > 100 for n in numbers) > len(numbers)


def _compression(values: list[float], ratio: bool) -> Scale:
    """Ratios and exponents share a name: numbers below 1 are no ratios, numbers above 6 no exponents."""
    if ratio or max(values, default=0.0) > 6:
        return Scale("ratio")
    return Scale("exponent", known=min(values, default=1.0) < 1)


def level(what: str, text: str, scale: Callable[[str], Scale]) -> float | None:
    """Return the sparsity that a header names; `scale` is that of all headers that name one in a form."""
    number = parse(text)
    if number is None:
        return None
    form = "density" if re.search("dens|remain|kept|left", plain(what)) else "sparsity"
    form = "compression" if "comp" in plain(what) else form
    return scale(form).sparsity(number)
