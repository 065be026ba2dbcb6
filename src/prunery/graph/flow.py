"""How channels flow through a program: the labels of every tensor, operation by operation.

Each axis of a parameter or buffer starts with channels of its own. The rules of `ops` say which of them are
the same thing: a convolution's output has the channels of its weight's first axis, an addition joins those of
its terms. What no rule covers is pinned, with the reason.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from prunery.graph.channels import Channels, Ids
from prunery.graph.labels import Labels, axis_label, narrowed, spread, support
from prunery.graph.read_torch import Call, Program
from prunery.registry import Registry

rule = Registry("rule of an operation")
"""Rules, each a function of (flow, call) that labels every tensor of the output; the fact `ops` names its
operations, separated by blanks."""


@dataclass
class Known:
    """What is known of a tensor.

    tensor: kept, so that its id stays its own. uniform: all its elements are equal. weight: it comes from
    parameters and buffers alone. narrow: the labels after so many joins.
    """

    tensor: Tensor
    labels: Labels = ()
    uniform: bool = False
    weight: bool = False
    narrow: Labels = ()
    joins: int = -1


@dataclass(frozen=True)
class Operand:
    """What takes part in an operation: shape and labels of a tensor; shape None: all elements are equal."""

    shape: tuple[int, ...] | None
    labels: Labels
    weight: bool = False


class Flow:
    """The channels of a program, and the labels of its tensors so far."""

    def __init__(self, program: Program, channels: Channels | None = None) -> None:
        self.program = program
        self.training: Program | None = None  # a run in train mode, where parts take part only there
        self.channels = Channels() if channels is None else channels
        self.axes: dict[tuple[str, int], Ids] = {}  # of each parameter and buffer
        self.read: set[tuple[str, int]] = set()  # those along which a product puts channels together
        self._kinds: list[tuple[Ids, str]] = []
        self._first: dict[int, tuple[str, int]] = {}  # the axis that a channel began as the first one of
        self.reached: dict[int, list[Ids]] = {}  # by the number of a call, the labels that went into it
        self.idle = program.idle()  # calls whose results nothing uses
        self._known: dict[int, Known] = {}
        self._rules: dict[str, Callable[[Flow, Call], None]] = {}
        self._used: list[Ids] = []  # channels that reach a tensor which depends on the input
        for name, tensor in program.registered.items():
            labels = []
            for axis, size in enumerate(tensor.shape):
                if size > 1 and (tensor.is_floating_point() or tensor.is_complex()):
                    self.axes[name, axis] = ids = self.channels.fresh(size)
                    self._first[int(ids[0])] = (name, axis)
                    labels.append(axis_label(ids, axis, tensor.ndim))
            self._known[id(tensor)] = Known(tensor, tuple(labels), weight=True)

    def labels(self, tensor: Tensor) -> Labels:
        """Return the labels of a tensor; none where nothing is known of it."""
        known = self._known.get(id(tensor))
        if known is None or not known.labels:
            return ()
        if known.joins != self.channels.joins:
            kept = (narrowed(ids, self.channels) for ids in known.labels)
            known.narrow, known.joins = tuple(ids for ids in kept if support(ids)), self.channels.joins
        return known.narrow

    def first_labels(self, tensor: Tensor) -> Labels:
        """Return the labels of a tensor; those of a weight by the channels that it began with."""
        return self._known[id(tensor)].labels if self.is_weight(tensor) else self.labels(tensor)

    def knows(self, tensor: Tensor) -> bool:
        """Return whether a rule said anything of a tensor."""
        return id(tensor) in self._known

    def is_uniform(self, value: Any) -> bool:
        """Return whether all elements of a tensor are equal."""
        known = self._known.get(id(value))
        return not isinstance(value, Tensor) or value.numel() == 1 or (known is not None and known.uniform)

    def is_weight(self, tensor: Tensor) -> bool:
        """Return whether a tensor comes from parameters and buffers alone."""
        known = self._known.get(id(tensor))
        return known is not None and known.weight

    def set(
        self, tensor: Tensor, labels: Iterable[Ids], *, uniform: bool = False, weight: bool = False
    ) -> None:
        """Give a tensor its labels."""
        kept = tuple(ids for ids in labels if support(ids))
        self._known[id(tensor)] = Known(tensor, kept, uniform, weight)
        if not weight:
            self._used += kept

    def note_read(self, tensor: Tensor, axes: Iterable[int]) -> None:
        """Note that a product puts the channels along these axes of a weight together."""
        for ids in self.first_labels(tensor) if self.is_weight(tensor) else ():
            place = self._first.get(int(ids.reshape(-1)[0]))
            if place is not None and set(support(ids)) <= set(axes):
                self.read.add(place)

    def note_kind(self, ids: Ids, kind: str) -> None:
        """Note what the channels are, where that is more than a channel."""
        self._kinds.append((np.unique(ids), kind))

    def kind(self, roots: Ids) -> str:
        """Return what channels are: "channel", "head" or "unit"."""
        kinds = (kind for ids, kind in self._kinds if np.isin(self.channels.find(ids), roots).any())
        return next(kinds, "channel")

    def pin(self, labels: Iterable[Ids], call: Call | None, why: str) -> None:
        """Pin all channels of the labels."""
        for ids in labels:
            self.channels.pin(ids, why if call is None or not why else f"{why}: {call}")

    def pin_all(self, call: Call, why: str) -> None:
        """Pin every channel that goes into a call."""
        for tensor in call.tensors():
            self.pin(self.labels(tensor), call, why)

    def operand(self, value: Any) -> Operand:
        """Return a tensor, or a number, as an operand."""
        if self.is_uniform(value):
            return Operand(None, ())
        return Operand(tuple(value.shape), self.labels(value), self.is_weight(value))

    def joined(self, call: Call, operands: Sequence[Operand], shape: Sequence[int]) -> Labels:
        """Return the labels of what operands make element by element; equal places hold one channel.

        What a channel meets at its place must have channels too, or be equal everywhere.
        """
        result: list[Ids] = []
        values = 0  # how many of them are along values, and not along weights alone
        for operand in sorted(operands, key=lambda operand: operand.weight):
            for ids in operand.labels:
                self._merge(call, spread(ids, shape), result, weight=operand.weight, values=values)
            values = values if operand.weight else len(result)
        for operand in operands:
            if operand.shape is None:
                continue
            sizes = (1,) * (len(shape) - len(operand.shape)) + tuple(operand.shape)
            own = {axis for ids in operand.labels for axis in support(spread(ids, shape))}
            for place, ids in enumerate(result):
                axes = [axis for axis in support(ids) if sizes[axis] > 1]
                if axes and not own.intersection(axes):
                    result[place] = self._met(call, ids, axes)
        return tuple(ids for ids in result if ids.any())

    def _met(self, call: Call, ids: Ids, axes: Sequence[int]) -> Ids:
        """Return a label that meets values without channels along `axes`: it is one there, or stays."""
        if len(axes) < len(support(ids)):
            return self.channels.tie(ids, axes, f"it meets values that have no channels: {call}")
        return self.channels.pin(ids, f"it meets values that have no channels: {call}")

    def _merge(self, call: Call, ids: Ids, result: list[Ids], *, weight: bool, values: int) -> None:
        """Add a label to those of a result, joined to the one that is along the same axes."""
        ids = narrowed(ids, self.channels)
        for place, other in enumerate(result):
            common = set(support(ids)) & set(support(other))
            if not common:
                continue
            if weight and len(support(other)) > len(common):
                self.pin([ids], call, "one weight for several channels")
                result[place] = self._met(call, other, sorted(common))
                return
            ids, other = self._tied(ids, common, call), self._tied(other, common, call)
            why = f"it meets values that have no channels: {call}"
            weights = weight + (weight and place >= values)
            both = self.channels.join(ids, other, why, weights=weights)
            result[place] = narrowed(both, self.channels) if both.any() else both
            return
        if support(ids):
            result.append(ids)

    def _tied(self, ids: Ids, axes: Iterable[int], call: Call) -> Ids:
        others = [axis for axis in support(ids) if axis not in axes]
        return self.channels.tie(ids, others, f"{call}") if others else ids

    def reduced(self, call: Call, labels: Labels, axes: Iterable[int], why: str) -> Labels:
        """Return the labels of a tensor whose elements along `axes` are put together, of size 1 there.

        A channel that is along these axes alone is pinned, for `why`; one that is along others too lives or
        dies there as a whole. An empty `why` pins nothing: what is 0 adds nothing.
        """
        axes, result = set(axes), []
        for ids in labels:
            ids = narrowed(ids, self.channels)
            along = axes.intersection(support(ids))
            if along and along == set(support(ids)):
                if why:
                    self.pin([ids], call, why)
                else:
                    self._used.append(ids)
                continue
            result.append(self.channels.tie(ids, sorted(along), f"{call}") if along else ids)
        return tuple(result)

    def follow(self, in_training: Callable[[], Program] | None = None) -> None:
        """Go through the program, and a run in train mode if it leaves parameters out; pin what leaves."""
        self.label()
        if in_training is not None and any(len(ids) for ids in self._unused()):
            self._follow_too(in_training())
        for call in self.program.asked_for_values:
            self._pin_branch(call)
        for tensor in (*self.program.outputs, *(self.training.outputs if self.training else ())):
            self.pin(self.labels(tensor), None, "it leaves the model")
        for ids in self._unused():  # another run may use them
            self.pin([ids], None, "it takes no part in the run on this example")
        for known in self._known.values():
            self._tie_what_is_left(known.labels)

    def label(self) -> None:
        """Go through the program, operation by operation."""
        self._rules = _by_operation()
        for number, call in enumerate(self.program.calls):
            self.reached[number] = [ids for tensor in call.tensors() for ids in self.labels(tensor)]
            self.step(call)

    def _follow_too(self, program: Program) -> None:
        """Go through another run, whose parameters have the channels that they have here."""
        if program.error is not None:
            return
        self.training, self.idle = program, self.idle | program.idle()
        for name, tensor in program.registered.items():
            own = self._known[id(self.program.registered[name])]
            self._known[id(tensor)] = Known(tensor, own.labels, weight=True)
        for call in program.calls:
            self.step(call)

    def step(self, call: Call) -> None:
        """Label the results of one operation."""
        function = self._rules.get(call.name)
        if function is not None:
            function(self, call)
        elif call.pointwise:
            self._rules["pointwise"](self, call)
        elif call.outputs():
            self._unknown(call)

    def _unknown(self, call: Call) -> None:
        self.pin_all(call, "there is no rule for it")
        weight = all(self.is_weight(t) for t in call.tensors()) and bool(call.tensors())
        for tensor in call.outputs():
            if not self.labels(tensor):
                self.set(tensor, (), weight=weight)

    def _unused(self) -> list[Ids]:
        """Return the channels of each axis of a parameter that nothing in the run came from."""
        known = self.channels.stays()
        for ids in self._used:
            known[self.channels.find(ids)] = True
        return [ids[~known[self.channels.find(ids)]] for ids in self.axes.values()]

    def _pin_branch(self, call: Call) -> None:
        """Pin what the module that looked at a value had at hand: its other branch may use it otherwise."""
        at_hand = [
            t for c in self.program.calls if c.module == call.module for t in (*c.tensors(), *c.outputs())
        ]
        for tensor in (*at_hand, *self.program.passed.get(call.module, ())):
            if not self.is_weight(tensor):
                self.pin(
                    self.labels(tensor),
                    call,
                    "the model asks for a value, and may do something else for others",
                )

    def _tie_what_is_left(self, labels: Labels) -> None:
        """Tie channels that lie along several axes of a tensor, so that removing them leaves a tensor."""
        for ids in labels:
            ids = narrowed(ids, self.channels)
            axes = support(ids)
            if len(axes) > 1:
                free = max(axes, key=lambda axis: ids.shape[axis])
                self.channels.tie(ids, [axis for axis in axes if axis != free], "")


def _by_operation() -> dict[str, Callable[[Flow, Call], None]]:
    """Return the rules by operation; a later one stands before an earlier one."""
    return {name: rule[row].function for row in rule for name in rule[row].facts["ops"].split()}
