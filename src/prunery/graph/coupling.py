"""Which channels go together: groups of units, each with the slices of parameters that it owns."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import nn

import prunery.graph.ops  # noqa: F401  (enters the rules)
from prunery.graph.alike import Places, alike
from prunery.graph.channels import Ids
from prunery.graph.flow import Flow
from prunery.graph.read_torch import Program, in_train_mode, read
from prunery.graph.shrink import Width
from prunery.graph.trial import try_out
from prunery.wrappers import unwrapped


@dataclass(frozen=True)
class Slices:
    """What the units of a group own of a parameter or buffer: the unit of each place of an axis, or -1.

    reads: it is a weight whose products put these channels together (the columns of a Linear).
    """

    name: str
    axis: int
    unit: Ids
    reads: bool = False


@dataclass(frozen=True)
class Group:
    """Channels that are alike: how many units, and the slices that each owns.

    name: the first parameter that makes them. kind: "channel"; "head", of attention; "unit", the hidden ones
    of a recurrent layer. pinned: why they must stay; empty if they need not. Each unit has equally many
    places of an axis.
    """

    name: str
    count: int
    slices: tuple[Slices, ...]
    roots: Ids = field(repr=False)
    pinned: tuple[str, ...] = ()
    kind: str = "channel"

    def __str__(self) -> str:
        members = ", ".join(f"{s.name}[{s.axis}]" for s in self.slices)
        kept = f"  kept: {'; '.join(self.pinned)}" if self.pinned else ""
        return f"{self.name}: {self.count} channels: {members}{kept}"


@dataclass(frozen=True)
class Graph:
    """What a model computes, and how its channels go together."""

    program: Program
    flow: Flow
    groups: tuple[Group, ...]
    widths: tuple[Width, ...]

    def __str__(self) -> str:
        return "\n".join(map(str, self.groups))

    @property
    def free(self) -> tuple[Group, ...]:
        """Return the groups whose channels may be removed."""
        return tuple(group for group in self.groups if not group.pinned)


def graph_of(model: nn.Module, example: Any) -> Graph:
    """Return the graph of `model` on `example`; ModelError where it cannot be called with it."""
    program = read(model, example)
    flow = Flow(program)
    flow.follow(lambda: in_train_mode(unwrapped(model), example))
    widths = try_out(unwrapped(model), example, flow)
    return Graph(program, flow, tuple(_groups(flow)), tuple(widths))


def _groups(flow: Flow) -> Iterator[Group]:
    numbers, reasons = flow.channels.reasons()
    axes = {place: flow.channels.find(ids) for place, ids in flow.axes.items()}
    for places, every in alike(flow).items():
        own = numbers[every]
        kinds, first = np.unique(own, return_index=True)
        for kind in kinds[np.argsort(first)].tolist():
            group = _group(flow, axes, places, every[own == kind], reasons[kind])
            if group is not None:
                yield group


def _group(
    flow: Flow,
    axes: dict[tuple[str, int], Ids],
    places: Places,
    ordered: Ids,
    reasons: tuple[str, ...] | None,
) -> Group | None:
    """A group, unless no weight has it as outputs, or it stays for a reason that is told to nobody."""
    if reasons == ():
        return None
    slices = []
    for name, axis, _ in places:
        ids = axes[name, axis]
        at = np.searchsorted(ordered, ids)
        at[at == len(ordered)] = 0
        unit = np.where(ordered[at] == ids, at, -1)
        slices.append(Slices(name, axis, unit, (name, axis) in flow.read))
    ndim = {name: tensor.ndim for name, tensor in flow.program.registered.items()}
    names = [s.name for s in slices if ndim[s.name] > 1 and not s.reads]
    if not names:
        return None
    return Group(names[0], len(ordered), tuple(slices), ordered, reasons or (), flow.kind(ordered))
