"""Selection: exactly as many units as asked for, on any input.

The k-th largest score is found without sorting and without a copy of the scores: a sample gives a bracket
around it, one pass counts what lies above and collects what lies inside (about 1 %), and the answer is the
right rank of the collected part. If the sample misled, the bracket widens and the pass is repeated, so the
result is always exact. Scores are produced piece by piece, so they need not exist as a whole.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from itertools import accumulate
from math import ceil, gcd, inf, sqrt
from typing import TYPE_CHECKING, Any

from prunery.core.lines import Lines
from prunery.errors import ScoreError, SparsityError

if TYPE_CHECKING:
    import torch


_PIECE = {"cpu": 1 << 17}  # units per piece: fits the second-level cache

_PIECE_ELSEWHERE = 1 << 24  # accelerators want long pieces

_SAMPLE = 1 << 16

_RUN = 128  # neighbouring units per sampled run

_SIGMAS = 8


@dataclass(frozen=True)
class Pool:
    """Unit sets (by index) that compete, and how many of their units stay.

    lines: parts of the one member, each of which keeps as many as every other, or one more.
    """

    members: tuple[int, ...]
    keep: int
    lines: Lines | None = None


@dataclass(frozen=True)
class Scores:
    """The scores of one unit set: `piece(lo, hi)` gives those of its units lo..hi, shape (hi - lo,).

    live: bool of shape (count,), the units that earlier cuts left; None means all of them.
    """

    name: str
    count: int
    device: torch.device
    piece: Callable[[int, int], torch.Tensor]
    live: torch.Tensor | None = None

    def pieces(self) -> Iterator[tuple[int, int]]:
        """The bounds of consecutive pieces."""
        step = _PIECE.get(self.device.type, _PIECE_ELSEWHERE)
        return ((lo, min(lo + step, self.count)) for lo in range(0, self.count, step))

    def of_live(self, lo: int, hi: int) -> Any:
        """The scores of the live units among lo..hi, as an array of the device's kind."""
        values = self.piece(lo, hi)
        return _array(values if self.live is None else values[self.live[lo:hi]])

    @property
    def live_count(self) -> int:
        """How many units are live."""
        return self.count if self.live is None else int(self.live.count_nonzero())


def keep(scores: Sequence[Scores], pool: Pool, floor: float = 0.0) -> list[torch.Tensor]:
    """Which units of the pool stay: for each member a bool tensor of shape (count,); pool.keep in total.

    With a floor, each member first keeps its own best ceil(floor · count), then all others compete.
    Raises SparsityError if the floors exceed pool.keep, or earlier cuts left too few.
    """
    members = [scores[m] for m in pool.members]
    return _keep_apart(members, pool, floor) if floor or pool.lines else keep_top(members, pool.keep)


def _keep_apart(members: Sequence[Scores], pool: Pool, floor: float) -> list[torch.Tensor]:
    """Return what stays where there is a floor, or a quota for each line of a layer."""
    if pool.lines is None:
        return _keep_with_floor(members, pool.keep, floor)
    (only,) = members
    if floors([only.count], floor)[0] > pool.keep:
        return _keep_with_floor(members, pool.keep, floor)  # raises
    values = only.piece(0, only.count)
    if bool(values.isnan().any()):
        raise _nan(only)
    kept = pool.lines.top(values, only.live, pool.keep)
    if kept is None:
        raise _too_few(members, pool.keep, only.live_count)
    return [kept]


def _keep_with_floor(members: Sequence[Scores], k: int, floor: float) -> list[torch.Tensor]:
    least = floors([s.count for s in members], floor)
    if sum(least) > k:
        raise SparsityError(
            f"a floor of {floor} on {len(members)} layers",
            f"the floors keep {sum(least)} units, the sparsity leaves {k}",
            f"lower the floor below {k / sum(s.count for s in members):.4g} or the sparsity",
        )
    safe = [keep_top([s], n)[0] for s, n in zip(members, least, strict=True)]
    rest = [_without(s, kept) for s, kept in zip(members, safe, strict=True)]
    others = keep_top(rest, k - sum(least))
    return [a | b for a, b in zip(safe, others, strict=True)]


def floors(counts: Sequence[int], floor: float) -> list[int]:
    """The fewest units that a floor leaves of layers with these counts, rounded up."""
    share = Fraction(str(floor))  # as written: ceil(0.07 · 100) is 7, not 8
    return [ceil(share * count) for count in counts]


def _without(scores: Scores, taken: torch.Tensor) -> Scores:
    live = ~taken if scores.live is None else scores.live & ~taken
    return Scores(scores.name, scores.count, scores.device, scores.piece, live)


def keep_top(pool: Sequence[Scores], k: int) -> list[torch.Tensor]:
    """Bool tensors, True for exactly the k live units with the largest scores.

    Ties at the k-th score are shared out over the members in proportion to their ties, and evenly within
    each, always the same way. Raises ScoreError for NaN, SparsityError if fewer than k units are live.
    """
    live = sum(s.live_count for s in pool)
    if k > live:
        raise _too_few(pool, k, live)
    threshold, stay, ties = _kth_largest(pool, k, live)
    staying = shares([sum(of_pieces) for of_pieces in ties], stay)
    return [_selected(s, threshold, t, n) for s, t, n in zip(pool, ties, staying, strict=True)]


@dataclass(frozen=True)
class _Near:
    """What one piece has within the bracket: the scores strictly inside, and how many lie at its ends."""

    inside: Any
    at_lo: int
    at_hi: int


def _kth_largest(pool: Sequence[Scores], k: int, live: int) -> tuple[float, int, list[list[int]]]:
    """The k-th largest live score; how many of its equals the top k hold; its equals by member and piece."""
    import numpy as np

    sample = np.sort(_sample(pool)) if live > 2 * _SAMPLE else None
    for sigmas in (_SIGMAS, 8 * _SIGMAS, 64 * _SIGMAS, inf):
        lo, hi = _bracket(sample, k / max(live, 1), sigmas)
        above, near = _count(pool, lo, hi)
        inside = np.concatenate([n.inside for pieces in near for n in pieces])
        at_lo, at_hi = (sum(getattr(n, end) for pieces in near for n in pieces) for end in ("at_lo", "at_hi"))
        if above < k <= above + at_hi + inside.size + at_lo:
            break
    rank = k - above  # 1-based, among what is not above hi
    if rank <= at_hi:
        return hi, rank, [[n.at_hi for n in pieces] for pieces in near]
    if rank > at_hi + inside.size:
        return lo, rank - at_hi - inside.size, [[n.at_lo for n in pieces] for pieces in near]
    place = at_hi + inside.size - rank
    value = np.partition(inside, place)[place]
    greater = at_hi + _how_many(inside > value)
    return float(value), rank - greater, [[_how_many(n.inside == value) for n in pieces] for pieces in near]


def _sample(pool: Sequence[Scores]) -> Any:
    """About _SAMPLE live scores: runs of neighbours, evenly spaced over each member."""
    import numpy as np

    total = sum(s.count for s in pool)
    taken = []
    for s in pool:
        runs = max(1, round(_SAMPLE / _RUN * s.count / total))
        starts = (i * max(s.count - _RUN, 0) // max(runs - 1, 1) for i in range(runs))
        taken += [_on_host(s.of_live(at, min(at + _RUN, s.count))) for at in starts]
    sample = np.concatenate(taken)
    return sample[sample == sample]  # NaN is found, and named, by the counting pass


def _bracket(sample: Any, share: float, sigmas: float) -> tuple[float, float]:
    """Scores that lie `sigmas` standard errors of the sampled rank around the top `share`."""
    if share == 0:
        return inf, inf
    if sample is None or sample.size == 0 or sigmas == inf:
        return -inf, inf
    margin = sigmas * sqrt(sample.size * share * (1 - share)) + sigmas
    lo = int(sample.size * (1 - share) - margin)
    hi = int(sample.size * (1 - share) + margin) + 1
    return float(sample[lo]) if lo >= 0 else -inf, float(sample[hi]) if hi < sample.size else inf


def _count(pool: Sequence[Scores], lo: float, hi: float) -> tuple[int, list[list[_Near]]]:
    """How many live scores lie above hi; what lies within [lo, hi], by member and piece."""
    above, near = 0, list[list[_Near]]()
    for s in pool:
        near.append([])
        for piece in s.pieces():
            values = s.of_live(*piece)
            high = values > hi
            above += _how_many(high)
            within = _on_host(values[~(high | (values < lo))])  # NaN is neither, so it lands here
            inside = within[(within > lo) & (within < hi)]
            at_lo, at_hi = _how_many(within == lo) if lo != hi else 0, _how_many(within == hi)
            if inside.size + at_lo + at_hi != within.size:
                raise _nan(s)
            near[-1].append(_Near(inside, at_lo, at_hi))
    return above, near


def shares(sizes: Sequence[int], count: int) -> list[int]:
    """`count` divided in proportion to `sizes`: whole numbers by largest remainders, the first of equals."""
    total = sum(sizes) or 1
    found = [count * size // total for size in sizes]
    by_remainder = sorted(range(len(sizes)), key=lambda i: -(count * sizes[i] % total))
    for i in by_remainder[: count - sum(found)]:
        found[i] += 1
    return found


def _selected(s: Scores, threshold: float, ties: Sequence[int], stay: int) -> torch.Tensor:
    """True for the live units above the threshold and for `stay` of those at it; `ties` has these by piece.

    Of n tied units the j-th stays where j · step mod n < stay: step is coprime to n, so that this is a
    permutation and the count is exact; near n / golden ratio, so that they are spread evenly and in step
    with no axis of the layer.
    """
    import torch

    n = sum(ties)
    step = next(a for a in range(max(1, round(n * 0.6180339887)), 2 * n + 2) if gcd(a, n) == 1)
    compare = operator.ge if stay == n else operator.gt
    kept = torch.empty(s.count, dtype=torch.bool, device=s.device)
    for (lo, hi), tied, seen in zip(s.pieces(), ties, accumulate(ties, initial=0), strict=False):
        values = s.piece(lo, hi)
        _array(kept[lo:hi])[:] = compare(_array(values), threshold)
        if tied and 0 < stay < n:
            equal = values == threshold if s.live is None else (values == threshold) & s.live[lo:hi]
            order = torch.arange(seen, seen + tied, device=s.device) * step % n
            kept[lo:hi][equal.nonzero().view(-1)[order < stay]] = True
    return kept if s.live is None else kept.logical_and_(s.live)


def _array(values: torch.Tensor) -> Any:
    """The values as numpy shares them, where it can: its passes over small pieces are the faster ones."""
    return values.detach().numpy() if values.device.type == "cpu" else values.detach()


def _how_many(true: Any) -> int:
    import numpy as np

    return int(np.count_nonzero(true) if isinstance(true, np.ndarray) else true.count_nonzero())


def _on_host(values: Any) -> Any:
    return values.cpu().numpy() if hasattr(values, "cpu") else values


def _named(pool: Sequence[Scores]) -> str:
    return f"{pool[0].name!r}" if len(pool) == 1 else f"{len(pool)} layers that compete"


def _too_few(pool: Sequence[Scores], k: int, live: int) -> SparsityError:
    return SparsityError(
        f"{k} units to keep in {_named(pool)}",
        f"earlier cuts left {live}",
        "ask for at least the sparsity that the masks already have, in every pool",
    )


def _nan(s: Scores) -> ScoreError:
    return ScoreError(
        f"the scores of {s.name!r}",
        "some are NaN",
        "look for NaN or infinite weights, inputs or gradients in this layer and before it",
    )
