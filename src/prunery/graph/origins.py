"""Where each element of a tensor comes from: the row of a weight that made it, and nothing else.

The rules of operations are those of the graph. There channels that meet are joined, wherever they are; here
they are told apart, tensor by tensor: what two channels make together comes from neither of them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

import prunery.graph.ops  # noqa: F401  (enters the rules)
from prunery.forward import memory_of
from prunery.graph.channels import Channels, Ids
from prunery.graph.flow import Flow
from prunery.graph.labels import Labels
from prunery.graph.read_torch import Call, Program


class Apart(Channels):
    """Channels of which each stands for itself, and what met what.

    Weights that meet each other are joined all the same. met: (channels along a weight, those of the values
    that they met), both along one axis, in order. spent: channels that took part in anything else.
    """

    def __init__(self) -> None:
        super().__init__()
        self.met: list[tuple[Ids, Ids]] = []
        self.spent: list[Ids] = []

    def find(self, ids: Ids) -> Ids:
        """Return the channels as they are."""
        return ids

    def join(self, one: Ids, other: Ids, reason: str, *, weights: int = 0) -> Ids:
        """Return the values' channels where a weight meets values; else those that are the same in both."""
        one, other = np.broadcast_arrays(one, other)
        if weights == 2:
            self._unite(self.roots(one).reshape(-1), self.roots(other).reshape(-1), reason)
        if weights == 1:
            self.met.append((one.reshape(-1), other.reshape(-1)))
        if weights:
            return other
        differ = one != other
        self.spent += [one[differ], other[differ]]
        return np.where(differ, 0, other)

    def tie(self, ids: Ids, axes: Sequence[int], reason: str) -> Ids:
        """Return the array with size 1 along `axes`, and no channel where several lie along them."""
        low, high = ids.min(tuple(axes), keepdims=True), ids.max(tuple(axes), keepdims=True)
        return np.where(low == high, low, 0)

    def pin(self, ids: Ids, reason: str) -> Ids:
        """Return no channel: what these make with others comes from none of them alone."""
        self.spent.append(ids.reshape(-1))
        return np.zeros_like(ids)


class Origins(Flow):
    """The labels of a program's tensors by the channels that made them; `apart` says what met what."""

    def __init__(self, program: Program) -> None:
        self.apart = Apart()
        self.given: dict[int, list[Labels]] = {}  # of the tensors of each call, when it is made
        self.made: dict[int, list[Labels]] = {}  # of what comes out of it; one may be written to later
        super().__init__(program, self.apart)
        self.label()

    def step(self, call: Call) -> None:
        """Label the results of a call; what shares memory with a tensor that it writes to is not known."""
        self.given[id(call)] = [self.labels(tensor) for tensor in call.tensors()]
        super().step(call)
        self.made[id(call)] = [self.labels(tensor) for tensor in call.outputs()]
        if call.writes:
            memory = memory_of(call.args[0])
            results = {id(tensor) for tensor in (call.args[0], *call.outputs())}
            for known in list(self._known.values()):
                if memory_of(known.tensor) == memory and id(known.tensor) not in results:
                    self.set(known.tensor, ())

    def made_by(self, name: str, axis: int) -> Ids:
        """Return the channels along an axis of a parameter; none where it has none."""
        return self.axes.get((name, axis), np.zeros(0, np.int64))

    def partners(self) -> Ids:
        """Return, for every channel, the one of values that it met wherever it took part; 0 for none.

        A channel that met several, or took part in anything else, has none.
        """
        found = np.full(self.apart.count, -1, np.int64)
        for weight, values in self.apart.met:
            root = self.apart.roots(weight)
            clash = (found[root] >= 0) & (found[root] != values)
            found[root] = np.where(clash, 0, values)
        for ids in (*self.apart.spent, *(self.axes[place] for place in self.read)):
            found[self.apart.roots(ids)] = 0
        found[found < 0] = 0
        found[0] = 0
        return found[self.apart.roots(np.arange(len(found)))]


def made_of(program: Program) -> dict[int, frozenset[str]]:
    """Return, by the id of every tensor that does not depend on the input, what it is made of.

    That is the names of parameters and buffers.
    """
    inputs = set(map(id, program.inputs))
    made = {id(tensor): frozenset([name]) for name, tensor in program.registered.items()}
    for call in program.calls:
        given = [tensor for tensor in call.tensors() if not (call.writes and tensor is call.args[0])]
        depends = any(id(tensor) in inputs or id(tensor) not in made for tensor in call.tensors())
        for tensor in call.outputs():
            if depends:
                made.pop(id(tensor), None)
            else:
                made[id(tensor)] = frozenset[str]().union(*(made[id(t)] for t in given))
    return made
