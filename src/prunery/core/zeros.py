"""Where removed filters are 0: from their layers on, through norms whose scales and shifts go with them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from torch import Tensor

from prunery.graph.channels import Ids
from prunery.graph.flow import rule
from prunery.graph.labels import Labels
from prunery.graph.origins import Origins, made_of
from prunery.graph.read_torch import Call, Program

_SUMS = ("add", "sub", "rsub", "lerp")
_PUT_ELSEWHERE = """
    neg clone contiguous detach alias _to_copy to slice select unbind split split_with_sizes cat stack
    unsafe_split lift_fresh
"""
_MOVES = frozenset(_PUT_ELSEWHERE.split()).union(
    *(rule[name].facts["ops"].split() for name in ("view", "permute", "expand", "repeat"))
)
_MEETS = (
    "mul", "div", "addcmul", "copy", "addmm", "baddbmm", "addmv", "addbmm", "convolution", *_SUMS,
)  # fmt: skip


class Zeros:
    """What is 0 in a program where all filters and their riders are removed.

    own: names of the weights of layers. riders: names of parameters that may go with filters; those that
    would do harm (a divisor, what goes through another function than 0 -> 0) are left out of `riders`. left:
    the numbers of layers whose filters are not 0 where a product reads them, or where they meet others.
    """

    def __init__(
        self, program: Program, origins: Origins, layer_of: Ids, own: Iterable[str], riders: Mapping[str, Any]
    ) -> None:
        self.program, self.origins, self.layer_of = program, origins, layer_of
        self.own, self.riders = frozenset(own), dict.fromkeys(riders)
        self.made = made_of(program)
        before = -1
        while before != (before := len(self.riders)):
            self._follow()

    def _follow(self) -> None:
        """Go through the program once, with the riders that there still are."""
        self.zero: set[int] = set()
        self.left: set[int] = set()
        for name, tensor in self.program.registered.items():
            if name in self.own or name in self.riders:
                self.zero.add(id(tensor))
        for call in self.program.calls:
            weight = all(id(tensor) in self.made for tensor in call.outputs())
            self._check(call, harmless=_harmless(call) or (weight and call.name in _MOVES))
            is_zero = self._is_zero(call, weight=weight)
            if not weight:
                self._note_left(call)
            for tensor in call.outputs():
                (self.zero.add if is_zero else self.zero.discard)(id(tensor))
        leaving = [t for t in self.program.outputs if id(t) not in self.zero]
        self.left.update(*(self._layers(self.origins.labels(tensor)) for tensor in leaving))

    def _rows(self, tensor: Tensor) -> bool:
        """Whether a tensor is made of a layer's weight."""
        return not self.own.isdisjoint(self.made.get(id(tensor), ()))

    def _check(self, call: Call, *, harmless: bool) -> None:
        """Leave out the riders that a call makes something else of than a scale or a shift."""
        for place, tensor in enumerate(call.tensors()):
            divides = call.name == "div" and place > 0
            if id(tensor) in self.zero and not self._rows(tensor) and (divides or not harmless):
                for name in self.made.get(id(tensor), ()):
                    self.riders.pop(name, None)

    def _is_zero(self, call: Call, *, weight: bool) -> bool:
        given = call.tensors()
        flags = [id(tensor) in self.zero for tensor in given]
        rows = [self._rows(tensor) for tensor in given]
        if any(rows):
            others = [f for t, f, r in zip(given, flags, rows, strict=True) if not r and id(t) in self.made]
            return weight or all(others)
        if call.name == "mul":
            return any(flags)
        if call.name == "addcmul":
            return flags[0] and any(flags[1:])
        if call.name == "div":
            return bool(flags) and flags[0]
        if "norm" in call.name and not weight and "vector" not in call.name:
            return self._normalised(call)
        if weight:
            return bool(flags) and all(flags) and call.name in (*_MOVES, *_SUMS)
        sums = call.name in _SUMS
        there = [
            flag
            for tensor, flag, labels in zip(given, flags, self.origins.given[id(call)], strict=True)
            if (tensor.numel() > 1 and tensor.is_floating_point() if sums else self._layers(labels))
        ]
        return bool(there) and all(there) and any(map(self._layers, self.origins.made[id(call)]))

    def _normalised(self, call: Call) -> bool:
        """Whether a norm leaves 0 what was 0: by scale and shift, or because nothing is subtracted."""
        first = 1 if "batch" in call.name or call.name == "native_group_norm" else 2
        affine = [value for value in call.args[first : first + 2] if isinstance(value, Tensor)]
        if affine:
            return all(id(value) in self.zero for value in affine)
        own = "rms" in call.name or ("batch" in call.name and not isinstance(call.args[3], Tensor))
        return own and id(call.args[0]) in self.zero

    def _note_left(self, call: Call) -> None:
        """Note the layers that are not 0 where a product reads them, or where they meet others."""
        if call.name in rule["reduction"].facts["ops"].split():
            return
        after = set().union(*map(self._layers, self.origins.made[id(call)]))
        over_others = "norm" in call.name and "vector" not in call.name  # each filter is mixed with others
        for tensor, labels in zip(call.tensors(), self.origins.given[id(call)], strict=True):
            if (over_others or id(tensor) not in self.zero) and id(tensor) not in self.made:
                self.left.update(self._layers(labels) - after)

    def _layers(self, labels: Labels) -> set[int]:
        """Return the numbers of the layers whose filters a tensor with these labels has."""
        found: set[int] = set()
        for ids in labels:
            found.update(np.unique(self.layer_of[ids]).tolist())
        return found - {-1}


def _harmless(call: Call) -> bool:
    """Whether what is multiplied or added by a call may be 0."""
    return call.name in _MEETS or "norm" in call.name
