"""Which channels of a model go together and why, to be printed: one line for each group."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from prunery.graph.coupling import Graph, Group, graph_of

if TYPE_CHECKING:
    from torch import nn

_MOST = 4  # names in a list before "and 3 more"


@dataclass(frozen=True)
class Coupling:
    """Channels that go together: how many units there are, and what each of them is made of.

    made_by, read_by: the weights that have a unit as an output, and as an input. along: what else is sliced
    with it (biases, norms). joined_by: the operations that make it one unit of several layers. kept: why
    these channels must stay; empty where they may be removed.
    """

    name: str
    kind: str
    count: int
    made_by: tuple[str, ...]
    read_by: tuple[str, ...]
    along: tuple[str, ...]
    joined_by: tuple[str, ...]
    kept: tuple[str, ...]

    def __str__(self) -> str:
        parts = [f"{self.count} {self.kind}s made by {_listed(self.made_by)}"]
        parts += [f"read by {_listed(self.read_by)}"] if self.read_by else []
        parts += [f"with {_listed(self.along)}"] if self.along else []
        parts += [f"joined by {_listed(self.joined_by)}"] if self.joined_by else []
        parts += [f"KEPT, for {_listed(self.kept)}"] if self.kept else []
        return "; ".join(parts)


class Couplings(tuple[Coupling, ...]):
    """The couplings of a model; `str` gives a line for each."""

    __slots__ = ()

    def __str__(self) -> str:
        return "\n".join(map(str, self))


def couplings(model: nn.Module, example: Any) -> Couplings:
    """Return which channels of `model` go together, group by group, in the order of modules.

    `example` is what the model is called with: a tensor, a tuple of arguments or a mapping of keywords. Kept
    are channels that lead to the output, to a norm over all of them, to an operation without a rule or to a
    size that the model writes down itself; the group says so. Nothing about the model changes.

    ModelError: the model cannot be called with the example.
    """
    return couplings_of(graph_of(model, example))


def couplings_of(graph: Graph) -> Couplings:
    """Return the couplings of a graph that was read."""
    return Couplings(_coupling(graph, group) for group in graph.groups)


def _coupling(graph: Graph, group: Group) -> Coupling:
    ndim = {name: tensor.ndim for name, tensor in graph.program.registered.items()}
    made = tuple(dict.fromkeys(s.name for s in group.slices if ndim[s.name] > 1 and not s.reads))
    read = tuple(dict.fromkeys(s.name for s in group.slices if s.reads))
    along = tuple(dict.fromkeys(s.name for s in group.slices if ndim[s.name] == 1))
    joined = tuple(dict.fromkeys(_joins(graph, group))) if len(made) > 1 else ()
    return Coupling(group.name, group.kind, group.count, made, read, along, joined, group.pinned)


def _joins(graph: Graph, group: Group) -> Iterator[str]:
    """Yield the operations in which channels of the group from several places meet."""
    flow = graph.flow
    for call in graph.program.calls:
        meets = [t for t in call.tensors() if not flow.is_weight(t) and flow.labels(t)]
        if len(meets) > 1 and all(
            any(np.isin(flow.channels.find(ids), group.roots).any() for ids in flow.labels(t)) for t in meets
        ):
            yield str(call)


def _listed(names: tuple[str, ...]) -> str:
    more = f" and {len(names) - _MOST} more" if len(names) > _MOST else ""
    return ", ".join(names[:_MOST]) + more
