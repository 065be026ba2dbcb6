"""Which values of a model do not depend on its input: every tensor of a run, with what is known of it.

The run is the program of the graph. Parameters are known; an operation on what is known is done for real, on
tensors of size 1 along the axes where nothing changes. What no rule covers is not known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from prunery.forward import memory_of
from prunery.graph.read_torch import Call, Program


@dataclass(frozen=True)
class Constant:
    """What is known of a tensor: `value` where `known`, 0 elsewhere; both broadcast to its shape."""

    value: Tensor
    known: Tensor

    def any(self) -> bool:
        """Return whether anything is known."""
        return bool(self.known.any())

    def all(self) -> bool:
        """Return whether all of it is known."""
        return bool(self.known.all())

    def zero(self) -> Tensor:
        """Return where it is known to be 0."""
        return self.known & (self.value == 0)


Rule = Callable[["Constants", Call], "Sequence[Constant | None] | None"]
"""A function of what is known so far and a call: what is known of each tensor that comes out."""


class Constants:
    """What is known of the tensors of a program.

    values: the parameters and buffers by name. training: batch norms use the statistics of the batch.
    """

    def __init__(self, program: Program, values: Mapping[str, Tensor], *, training: bool = False) -> None:
        self.program, self.training = program, training
        self._known: dict[int, Constant] = {}
        self._spoilt = _spoilt(program)
        for name, tensor in program.registered.items():
            value = values[name].detach()
            self._known[id(tensor)] = Constant(value, _flag(True, value.ndim, value))

    def of(self, tensor: Tensor) -> Constant:
        """Return what is known of a tensor."""
        found = self._known.get(id(tensor))
        if found is None:
            value = torch.zeros((1,) * tensor.ndim, dtype=tensor.dtype, device=tensor.device)
            return Constant(value, _flag(False, tensor.ndim, value))
        return found

    def follow(self, rules: Callable[[Call], Rule | None], visit: Callable[[Call], None]) -> None:
        """Go through the program: `visit` each call with what is known before it, then apply its rule."""
        for call in self.program.calls:
            visit(call)
            rule, outputs = rules(call), call.outputs()
            results = (rule(self, call) if rule is not None else None) or []
            for number, tensor in enumerate(outputs):
                self._set(tensor, results[number] if number < len(results) else None)

    def _set(self, tensor: Tensor, constant: Constant | None) -> None:
        self._known.pop(id(tensor), None)
        if constant is None or memory_of(tensor) in self._spoilt:
            return
        known = constant.known
        if not _all_finite(constant.value):
            known = known & torch.isfinite(constant.value)
        if known.any():
            zero = torch.zeros((), dtype=constant.value.dtype, device=known.device)
            value = constant.value if known.numel() == 1 else torch.where(known, constant.value, zero)
            self._known[id(tensor)] = Constant(_of_rank(value, tensor.ndim), _of_rank(known, tensor.ndim))


def _all_finite(tensor: Tensor) -> bool:
    if not tensor.is_floating_point() or bool(torch.isfinite(tensor.sum())):
        return True  # a sum is infinite or not a number where a term is, and seldom elsewhere
    return bool(torch.isfinite(tensor).all())


def _flag(truth: bool, ndim: int, like: Tensor) -> Tensor:
    return torch.full((1,) * ndim, truth, dtype=torch.bool, device=like.device)


def _of_rank(tensor: Tensor, ndim: int) -> Tensor:
    return tensor.reshape((1,) * (ndim - tensor.ndim) + tuple(tensor.shape)) if tensor.ndim < ndim else tensor


def _spoilt(program: Program) -> set[int | None]:
    """Return the storages that an operation writes to while other tensors look at them too."""
    seen: dict[int | None, set[int]] = {}
    for call in program.calls:
        for tensor in (*call.tensors(), *call.outputs()):
            seen.setdefault(memory_of(tensor), set()).add(id(tensor))
    written = {memory_of(call.args[0]) for call in program.calls if call.writes}
    return {storage for storage in written if len(seen[storage]) > 1}


def full(tensor: Tensor, shape: Sequence[int]) -> Tensor:
    """Return a tensor broadcast to a shape, without a copy."""
    return tensor.expand(tuple(shape))


def narrowed(tensor: Tensor) -> Tensor:
    """Return a tensor with size 1 along the axes where nothing changes."""
    for axis, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if size > 1:
            first = tensor.narrow(axis, 0, 1)
            if stride == 0 or bool((tensor == first).all()):
                tensor = first
    return tensor


def along(constant: Constant, axis: int, size: int) -> tuple[Tensor, Tensor]:
    """Return, for each place of an axis, whether one value is known all over it, and the value."""

    def lines(tensor: Tensor) -> Tensor:
        return tensor.movedim(axis, 0).reshape(tensor.shape[axis], -1)

    value = lines(constant.value)
    known = lines(constant.known).all(1) & (value.amin(1) == value.amax(1))
    return known.expand(size), value[:, 0].expand(size)
