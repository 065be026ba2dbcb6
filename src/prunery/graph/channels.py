"""Channels: numbers for what may be removed, which of them go together, and which must stay.

A channel is a number from 1 on; 0 means none. Channels that are joined are removed together or not at all. A
channel that is pinned stays, and so do all that are joined to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]


def counted(ids: Ids) -> tuple[Ids, Ids]:
    """Return the channels of an array, each once in order, and how often each is there."""
    ordered = np.sort(ids, axis=None)
    first = np.flatnonzero(np.diff(ordered, prepend=-1))
    return ordered[first], np.diff(first, append=len(ordered))


class Channels:
    """A disjoint-set forest over channels, on whole arrays at a time."""

    def __init__(self) -> None:
        self._parent = np.zeros(1024, np.int64)
        self.count = 1  # channels so far; 0 is none
        self.joins = 0  # how often channels were joined so far
        self._pins: list[tuple[Ids, str]] = []

    def fresh(self, count: int) -> Ids:
        """Return new channels, joined to nothing."""
        first, self.count = self.count, self.count + count
        if self.count > len(self._parent):
            self._parent = np.resize(self._parent, max(self.count, 2 * len(self._parent)))
        ids = np.arange(first, self.count, dtype=np.int64)
        self._parent[first : self.count] = ids
        return ids

    def find(self, ids: Ids) -> Ids:
        """Return, for each channel, the one that stands for it in labels."""
        return self.roots(ids)

    def roots(self, ids: Ids) -> Ids:
        """Return, for each channel, the one that stands for all that are joined to it."""
        roots = self._parent[ids]
        while True:
            above = self._parent[roots]
            if np.array_equal(above, roots):
                self._parent[ids] = roots
                return roots
            roots = above

    def join(self, one: Ids, other: Ids, reason: str, *, weights: int = 0) -> Ids:
        """Join channels pair by pair; what stands opposite to none is pinned for `reason`.

        weights: how many of both are along a weight, `one` first. Returns the channels of what they make.
        """
        one, other = np.broadcast_arrays(one, other)
        self._unite(self.roots(one.reshape(-1)), self.roots(other.reshape(-1)), reason)
        return self.find(other)

    def _unite(self, a: Ids, b: Ids, reason: str) -> None:
        alone = (a == 0) != (b == 0)
        if alone.any():
            self.pin(np.maximum(a, b)[alone], reason)
        there = (a != b) & ~alone
        a, b = a[there], b[there]
        self.joins += bool(len(a))
        while len(a):
            low, high = np.minimum(a, b), np.maximum(a, b)
            np.minimum.at(self._parent, high, low)
            a, b = self.roots(low), self.roots(high)
            apart = a != b
            a, b = a[apart], b[apart]

    def tie(self, ids: Ids, axes: Sequence[int], reason: str) -> Ids:
        """Join the channels along `axes`; return the array with size 1 there."""
        first = ids
        for axis in axes:
            first = first.take([0], axis=axis)
        self.join(first, ids, reason)
        return self.find(first)

    def pin(self, ids: Ids, reason: str) -> Ids:
        """Keep these channels, for `reason`; an empty reason is told to nobody. Returns them."""
        there = counted(ids)[0]
        there = there[there > 0]
        if len(there):
            self._pins.append((there, reason))
        return ids

    def among(self, ids: Ids) -> NDArray[np.bool_]:
        """Return, for every channel there is, whether it is one of `ids`."""
        mask = np.zeros(self.count, bool)
        mask[ids] = True
        return mask

    def stays(self) -> NDArray[np.bool_]:
        """Return, for every channel that stands for others, whether it is pinned."""
        return self.among(self.find(np.concatenate([np.zeros(0, np.int64), *(ids for ids, _ in self._pins)])))

    def reasons(self) -> tuple[Ids, list[tuple[str, ...] | None]]:
        """Return, for every channel that stands for others, a number, and by that number why it stays.

        None: it need not. Of several operations with the same reason ("reason: operation") the first one is
        named.
        """
        classes = Classes(self.count)
        for ids, reason in self._pins:
            classes.divide(counted(self.find(ids))[0], reason)
        lists: list[tuple[str, ...] | None] = [None]
        for kind in range(1, classes.count):
            first: dict[str, str] = {}
            for reason, _ in classes.history(kind):
                if reason:
                    first.setdefault(reason.partition(": ")[0], reason)
            lists.append(tuple(first.values()))
        number = {key: i for i, key in reversed(list(enumerate(lists)))}
        return np.asarray([number[key] for key in lists])[classes.of], lists


class Classes:
    """Channels in classes: those that were marked alike each time are in one; class 0 was never marked."""

    def __init__(self, channels: int) -> None:
        self.of = np.zeros(channels, np.int64)
        self._made: list[tuple[int, Any, int]] = [(0, None, 0)]  # from which class, by what

    @property
    def count(self) -> int:
        """Return how many classes there are, emptied ones too."""
        return len(self._made)

    def divide(self, ids: Ids, what: Any, marks: Ids | None = None) -> None:
        """Put channels, each once, into new classes: of those in one, each mark makes one."""
        marks = np.zeros(len(ids), np.int64) if marks is None else marks
        step = int(marks.max(initial=0)) + 1
        keys, places = np.unique(self.of[ids] * step + marks, return_inverse=True)
        self.of[ids] = self.count + places
        self._made += [(key // step, what, key % step) for key in keys.tolist()]

    def history(self, kind: int) -> list[tuple[Any, int]]:
        """Return by what a class was divided from others, and its marks, in order."""
        found = []
        while kind:
            kind, what, mark = self._made[kind]
            found.append((what, mark))
        return found[::-1]
