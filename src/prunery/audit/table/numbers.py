"""Numbers as a table prints them: value, printed spread, and how finely they were rounded."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from functools import lru_cache

_DIGITS = r"[+-]?(?:\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+\.?\d*|\.\d+)(?:[eE][+-]?\d{1,3})?"
_CELL = re.compile(
    rf"(?P<value>{_DIGITS})\s*(?P<unit>%|[xX×]|[kKMGB])?"
    rf"(?:\s*(?:\(?\s*(?:±|\+/-|\+-|\\pm)|\()\s*(?P<spread>{_DIGITS})\s*%?\s*\)?)?\s*%?"
)
_SCALES = {"k": 1e3, "K": 1e3, "M": 1e6, "G": 1e9, "B": 1e9}
_LONGEST = 100  # characters: a longer text takes longer to be found no number
_LARGEST = 1e30  # what is larger is no measurement: a hash like 4821e719, an overflow


@dataclass(frozen=True)
class Number:
    """A number of one cell. `step` is one unit of its last printed digit."""

    text: str
    value: float
    step: float
    spread: float | None = None
    unit: str = ""

    def scaled(self, factor: float) -> Number:
        """Return the same number in another unit."""
        spread = None if self.spread is None else self.spread * factor
        return Number(self.text, self.value * factor, self.step * factor, spread, self.unit)


@lru_cache(maxsize=1 << 16)
def parse(text: str, *, comma: bool = False) -> Number | None:
    """Return the number that a cell prints, or None; `comma`: 93,2 is a decimal."""
    if len(text) > _LONGEST:
        return None
    plain = text.strip().strip("*_†‡$~≈ ").replace("−", "-").replace("\u00a0", " ")
    if comma:
        plain = re.sub(
            r"(?<![\d.,])[1-9]\d{0,2}(?:\.\d{3})+(?![\d.])", lambda m: m[0].replace(".", ""), plain
        )
        plain = re.sub(r"(?<=\d),(?=\d)", ".", plain)
    match = _CELL.fullmatch(plain)
    if match is None:
        return None
    digits = match["value"].replace(",", "")
    unit = match["unit"] or ""
    spread = None if match["spread"] is None else float(match["spread"].replace(",", ""))
    if max(abs(float(digits)), abs(spread or 0.0)) > _LARGEST:
        return None
    number = Number(text.strip(), float(digits), _step(digits), spread, unit.lower().replace("×", "x"))
    return number.scaled(_SCALES[unit]) if unit in _SCALES else number


def _step(digits: str) -> float:
    mantissa, _, exponent = digits.lower().partition("e")
    decimals = len(mantissa.partition(".")[2])
    return float(10.0 ** max(int(exponent or 0) - decimals, -300))


def agree(a: float, b: float, slack: float) -> bool:
    """Return whether two numbers are the same up to rounding by `slack` (and the rounding of floats)."""
    return abs(a - b) <= slack * 1.0001 + 1e-9 * max(abs(a), abs(b), 1e-9)


def slip(a: str, b: str) -> str | None:
    """Return how one printed number becomes the other by a single misprint, or None.

    A slip is one digit replaced, or two neighbouring digits exchanged.
    """
    if a == b:
        return None
    long = max(len(a.partition(".")[2]), len(b.partition(".")[2]))
    try:
        a, b = f"{float(a):.{long}f}", f"{float(b):.{long}f}"
    except ValueError:
        return None
    differ = [i for i, (x, y) in enumerate(zip(a, b, strict=False)) if x != y]
    if len(a) != len(b) or sum(c.isdigit() for c in a) < 3:
        return None
    if len(differ) == 1 and a[differ[0]].isdigit() and b[differ[0]].isdigit():
        return "one digit differs"
    if len(differ) == 2 and (a[differ[0]], a[differ[1]]) == (b[differ[1]], b[differ[0]]):
        return "two digits are exchanged" if _neighbours(a, differ) else None
    return None


def _neighbours(text: str, places: list[int]) -> bool:
    return not any(c.isdigit() for c in text[places[0] + 1 : places[1]])


def mean(values: list[float]) -> float:
    """Return the arithmetic mean."""
    return math.fsum(values) / len(values)


def sd(values: list[float], *, whole: bool = False) -> float:
    """Return the standard deviation of a sample, or of a whole population."""
    centre = mean(values)
    return math.sqrt(math.fsum((v - centre) ** 2 for v in values) / (len(values) - (not whole)))


def median(values: list[float]) -> float:
    """Return the middle value, or the mean of the two."""
    ranked = sorted(values)
    half = len(ranked) // 2
    return ranked[half] if len(ranked) % 2 else (ranked[half - 1] + ranked[half]) / 2


def mended(text: str, target: float, slack: float) -> str | None:
    """Return the number nearest to a target that is one digit away from the printed one, if near enough."""
    places = [i for i, c in enumerate(text) if c.isdigit()]
    tried = [text[:i] + d + text[i + 1 :] for i in places for d in "0123456789" if d != text[i]]
    close = [(abs(n.value - target), t) for t in tried if (n := parse(t)) is not None]
    gap, nearest = min(close, default=(math.inf, None))
    return nearest if gap <= slack else None
