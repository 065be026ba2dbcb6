"""What goes with a filter beside its own weights: scales and shifts that its values meet, and no others do.

They are those of a norm behind the layer, in whatever spelling; of a norm behind a concatenation each filter
has its own. Where a removed filter is not 0 behind its norm all the same, a warning says so.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prunery.core.context import ScoringContext, program_of
from prunery.core.units import Member
from prunery.core.weights import weight_names
from prunery.core.zeros import Zeros
from prunery.errors import EvidenceError, NormWarning
from prunery.graph.channels import Ids
from prunery.graph.guess import guessed
from prunery.graph.origins import Origins
from prunery.graph.read_torch import Program
from prunery.wrappers import named_parameters

Riders = dict[str, list[Member]]

_NORMS = (nn.modules.batchnorm._NormBase, nn.GroupNorm, nn.LayerNorm, nn.RMSNorm)


def riders_of(context: ScoringContext, filters: Mapping[str, Member]) -> Riders:
    """Return, per layer name, the scales and shifts that go with its filters.

    filters: the slices of each layer's weight that its filters own. Warns (NormWarning) of a layer whose
    removed filters are not 0 behind their norm.

    EvidenceError: the model has norms, no example was given, and it cannot be told without one.
    """
    found = [_Found(program, context, filters) for program in _programs(context, filters)]
    if any(not one.agrees(found[0]) for one in found[1:]):
        raise _lacks("a norm may be over a layer's outputs, or over positions")
    for layer in sorted(set().union(*(one.unsilenced for one in found))):
        warnings.warn(
            f"the filters of {layer!r} are normalised without scale and shift of their own: a removed filter "
            "is not 0 behind that norm until its statistics are estimated again (recovery bn), or the model "
            "is trained",
            NormWarning,
            stacklevel=2,
        )
    return found[0].riders if found else {}


def _programs(context: ScoringContext, filters: Mapping[str, Member]) -> list[Program]:
    """Return what the model computes on its example; without one, on made-up ones.

    Nothing where it holds no more than layers, which no scale or shift can follow.
    """
    if context.example is not None or context.batches is not None:
        return [program_of(context)]
    if not any(_is_more(module) for module in context.model.modules()):
        return []
    programs = guessed(context.model)
    if not programs:
        raise _lacks("what the model is called with cannot be told from its layers")
    return programs


def _is_more(module: nn.Module) -> bool:
    holds = any(True for _ in (*module._parameters, *module._buffers)) and not weight_names(module)
    return holds or isinstance(module, _NORMS)


def _lacks(why: str) -> EvidenceError:
    return EvidenceError(
        "granularity 'filter' on a model with norms, or parameters of its own",
        f"no example was given, and {why}",
        "pass example=, what the model is called with",
    )


class _Found:
    """The riders in one program, and the layers whose removed filters are not 0 where they are read."""

    def __init__(self, program: Program, context: ScoringContext, filters: Mapping[str, Member]) -> None:
        self.program, self.origins = program, Origins(program)
        self.partners = self.origins.partners()  # the channel of values that each one of a weight met
        self.layers = [layer.name for layer in context.layers if layer.name in filters]
        self._number(filters)
        own = {program.aliases.get(layer.name, layer.name) for layer in context.layers}
        parameters = {name for name, _ in named_parameters(context.model, once=True)}
        free = [name for name in program.registered if name in parameters and name not in own]
        riders = {name: index for name in free if (index := self._index(name)) is not None}
        zeros = Zeros(program, self.origins, self.layer_of, own, riders)
        self.riders: Riders = {}
        for name in zeros.riders:
            self._add(name, *riders[name])
        self.unsilenced = {self.layers[number] for number in zeros.left}

    def agrees(self, other: _Found) -> bool:
        """Return whether the same places of the same parameters go with the same filters."""
        one, two = ({(k, m.name): m.index for k, ms in x.riders.items() for m in ms} for x in (self, other))
        return one.keys() == two.keys() and all(_equal(index, two[key]) for key, index in one.items())

    def _number(self, filters: Mapping[str, Member]) -> None:
        """Note which layer and which of its filters each channel is; -1 where it is none."""
        count = self.origins.apart.count
        self.layer_of, self.filter_of = np.full(count, -1, np.int64), np.full(count, -1, np.int64)
        for number, name in enumerate(self.layers):
            axis = _axis(filters[name])
            registered = self.program.aliases.get(name, name)
            ids = self.origins.made_by(registered, axis) if axis is not None else np.zeros(0, np.int64)
            self.layer_of[ids], self.filter_of[ids] = number, np.arange(len(ids))

    def _index(self, name: str) -> tuple[Ids, Ids] | None:
        """Return the layer and the filter of each element of a parameter; None where it is no rider."""
        shape = tuple(self.program.registered[name].shape)
        lines = []
        for axis in range(len(shape)):
            ids = self.partners[self.origins.made_by(name, axis)]
            if (self.layer_of[ids] >= 0).any():
                sizes = [-1 if i == axis else 1 for i in range(len(shape))]
                lines.append(np.broadcast_to(ids.reshape(sizes), shape).reshape(-1))
        if len(lines) != 1:
            return None
        return self.layer_of[lines[0]], self.filter_of[lines[0]]

    def _add(self, name: str, layers: Ids, filters: Ids) -> None:
        shape = tuple(self.program.registered[name].shape)
        for number in np.unique(layers[layers >= 0]).tolist():
            index = torch.from_numpy(np.where(layers == number, filters, -1))
            member = Member(name, shape, index=index, counted=False, scored=False)
            self.riders.setdefault(self.layers[number], []).append(member)


def _axis(member: Member) -> int | None:
    """Return the axis of a weight along which its filters lie; None where they lie along several."""
    axes = member.axes or ()
    if member.view == member.shape and len(axes) == 1:
        return axes[0]
    transposed = len(axes) == 2 and member.view[0] == 1  # one group of a transposed convolution
    return axes[1] - 1 if transposed else None


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)
