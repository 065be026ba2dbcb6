"""One parser for every way of saying how much to remove; everything inside is `sparsity`.

sparsity     removed / all, in [0, 1)
density      1 - sparsity
ratio        "10x": density 1/10
compression  an exponent c with density 10^-c (as in the pruning-at-initialisation literature)
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping

from prunery.errors import SparsityError

FORMS = "0.9, '90%', '10x', 'density=0.1' or 'compression=1'"
_NUMBER = r"[+-]?(?:\d{1,40}\.?\d{0,40}|\.\d{1,40})(?:[eE][+-]?\d{1,2})?"  # bounded: digits cost time
_MAX_EXPONENT = 6.0
_LARGEST = 10**40

Sparsity = float | str
Wanted = Sparsity | Mapping[str, Sparsity]


def parse(value: object) -> float:
    """The sparsity in [0, 1) that `value` spells; SparsityError shows the accepted forms.

    Decimal text is read exactly as written: `"90%"` gives the float 0.9, not 0.9000000000000001.
    """
    if isinstance(value, str):
        return _checked(_from_text(value), value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise _refused(value, "it is neither a number nor a text")
    if isinstance(value, int) and abs(value) > _LARGEST:  # more than a float holds, or a message should
        raise SparsityError(
            "a sparsity", "it is a very large number", f"write one of the accepted forms: {FORMS}"
        )
    return _checked(float(value), value)


def parse_wanted(value: object) -> float | dict[str, float]:
    """As `parse`, or a mapping from layer patterns to sparsities."""
    if not isinstance(value, Mapping):
        return parse(value)
    if not value:
        raise _refused(value, "the mapping is empty")
    return {str(pattern): parse(v) for pattern, v in value.items()}


def _from_text(text: str) -> float:
    stripped = text.strip()
    if m := re.fullmatch(rf"({_NUMBER})\s*%", stripped):
        return _percent(m[1])
    if m := re.fullmatch(rf"({_NUMBER})\s*x", stripped):
        ratio = float(m[1])
        if not 1 <= ratio < math.inf:
            raise _refused(text, "a compression ratio is at least 1x")
        return 1 - 1 / ratio
    if m := re.fullmatch(rf"sparsity\s*=\s*({_NUMBER})", stripped):
        return float(m[1])
    if m := re.fullmatch(rf"density\s*=\s*({_NUMBER})", stripped):
        return _one_minus(m[1])
    if m := re.fullmatch(rf"compression\s*=\s*({_NUMBER})", stripped):
        return _from_exponent(float(m[1]), text)
    if re.fullmatch(_NUMBER, stripped) and 0 <= float(stripped) < 1:
        return float(stripped)
    raise _refused(text, "it is none of the accepted forms")


def _from_exponent(exponent: float, text: str) -> float:
    if exponent < 0:
        raise _refused(text, "a compression exponent is not negative")
    if exponent > _MAX_EXPONENT:
        raise SparsityError(
            f"sparsity {text!r}",
            f"compression is an exponent (density 10^-c), and {exponent:g} is above {_MAX_EXPONENT:g}",
            f"write the ratio if you meant one: '{exponent:g}x'",
        )
    return 1 - 10**-exponent


def _percent(digits: str) -> float:
    from fractions import Fraction

    return float(Fraction(digits) / 100)


def _one_minus(digits: str) -> float:
    from fractions import Fraction

    return float(1 - Fraction(digits))


def _checked(sparsity: float, value: object) -> float:
    if not 0 <= sparsity < 1:
        hint = f"; {sparsity:g} % is written '{sparsity:g}%'" if 1 < sparsity < 100 else ""
        raise _refused(value, f"a sparsity lies in [0, 1), {sparsity:g} does not{hint}")
    return sparsity


def _refused(value: object, found: str) -> SparsityError:
    return SparsityError(f"sparsity {value!r}", found, f"write one of the accepted forms: {FORMS}")
