"""What can be said of one group of cells in a sentence: the table behind `show=` in a quote.

A row is a function from a group to text, or to None where the group has no such number.
"""

from __future__ import annotations

from prunery.report import text
from prunery.report.compare import Against, Group
from prunery.table import Table

shows = Table("show")


@shows.add()
def interval(group: Group) -> str | None:
    """`97.62 ±0.11`."""
    return text.interval(group.summary, _decimals(group)) if group.summary else None


@shows.add()
def mean(group: Group) -> str | None:
    """`97.62`."""
    return _number(group, "mean")


@shows.add()
def half(group: Group) -> str | None:
    """The half-width of the 95 % t-interval."""
    return _number(group, "half")


@shows.add()
def low(group: Group) -> str | None:
    """The lower end of the interval."""
    return _number(group, "low")


@shows.add()
def high(group: Group) -> str | None:
    """The upper end of the interval."""
    return _number(group, "high")


@shows.add()
def sd(group: Group) -> str | None:
    """The standard deviation over seeds (n - 1)."""
    return _number(group, "sd")


@shows.add()
def n(group: Group) -> str | None:
    """The number of seeds."""
    return str(group.summary.n) if group.summary else None


@shows.add(name="difference-to-dense")
def to_dense(group: Group) -> str | None:
    """`−0.45 ±0.18`, paired by seed."""
    return _difference(group, group.against.get("dense"))


@shows.add(name="difference-to-dense-extra")
def to_dense_extra(group: Group) -> str | None:
    """The difference to dense after the same training."""
    return _difference(group, group.against.get("dense_extra"))


@shows.add(name="difference-to-random")
def to_random(group: Group) -> str | None:
    """The difference to the random control."""
    return _difference(group, group.against.get("random"))


@shows.add(name="difference-to-shuffled")
def to_shuffled(group: Group) -> str | None:
    """The difference to random pruning with the same layer ratios."""
    return _difference(group, group.against.get("shuffled"))


@shows.add(name="verdict-to-dense")
def verdict(group: Group) -> str | None:
    """`higher`, `lower` or `indistinguishable`, corrected over the table."""
    found = group.against.get("dense")
    return found.verdict if found else None


@shows.add()
def epochs(group: Group) -> str | None:
    """Training epochs in all."""
    return str(sum(group.epochs)) if group.epochs else None


@shows.add(name="sparsity-achieved")
def achieved(group: Group) -> str | None:
    """The share of the weights that was removed, as counted from the masks."""
    value = group.first("sparsity_achieved")
    return None if value is None else text.percent(round(float(value), 6))


def _number(group: Group, name: str) -> str | None:
    value = getattr(group.summary, name, None)
    return None if value is None else f"{value:.{_decimals(group)}f}"


def _difference(group: Group, against: Against | None) -> str | None:
    if against is None:
        return None
    found, decimals = against.difference.summary, _decimals(group)
    signed = f"{found.mean:+.{decimals}f}".replace("-", "−")
    return signed if found.half is None else f"{signed} ±{found.half:.{decimals}f}"


def _decimals(group: Group) -> int:
    """Two for accuracies, three for losses and the like, none for counts."""
    if group.counted:
        return text.DECIMALS
    values = group.values.values()
    return 0 if values and all(float(v).is_integer() for v in values) else 3
