"""What is in a tensor's memory during one call: values that depend on the input, constants, or weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from prunery.forward import memory_of
from prunery.graph.uses.lineage import (
    Back,
    Held,
    Part,
    Watched,
    dense,
    span,
    through_equal,
    through_move,
    through_rows,
)
from prunery.graph.uses.operations import Call

_JOINS = frozenset(["cat", "stack"])
_MOVES = "flip roll repeat constant_pad_nd gather take index index_select embedding"
_KEEPING = frozenset(["fill", "zero", "masked_fill"])  # in place, they change values and not whose they are


class Memory:
    """Knows of each piece of memory in one call whether it depends on the input, and which weights it holds.

    Memory that was never seen is a constant. What holds weights is kept until the end, so that it is not
    taken for what is put in its place.
    """

    def __init__(self, watched: Sequence[Watched], inputs: Iterable[Tensor]) -> None:
        self._held: dict[int | None, list[Held]] = {}
        self._live = {memory_of(tensor) for tensor in inputs} | {None}
        for weight in watched:
            part = Part(weight, lambda uses: uses, direct=True)
            self._hold(Held(weight.parameter, (part,), frozenset([weight])))

    def _hold(self, held: Held) -> None:
        memory = memory_of(held.tensor)
        if memory is not None:
            self._held.setdefault(memory, []).append(held)

    def holds_weights(self, call: Call) -> bool:
        """Whether anything that a call was given comes from a weight."""
        return not self._held.keys().isdisjoint(call.memories)

    def is_live(self, call: Call) -> bool:
        """Whether anything that a call was given depends on the input."""
        return not self._live.isdisjoint(call.memories)

    def depends_on_input(self, tensor: Tensor) -> bool:
        """Whether a tensor depends on the input."""
        return memory_of(tensor) in self._live

    def _entries(self, tensor: Tensor) -> list[Held]:
        """What the memory holds where the tensor lies: the one entry around it, or all that it touches."""
        entries = self._held.get(memory_of(tensor), [])
        if len(entries) < 2:
            return entries
        start, end = span(tensor)
        places = [(*span(held.tensor), held) for held in entries]
        around = [held for first, last, held in places if first <= start and end <= last]
        return around[:1] or [held for first, last, held in places if first < end and start < last]

    def parts(self, tensor: Tensor) -> tuple[Part, ...]:
        """The parts of parameters that the tensor holds; none where their elements are not apart in it."""
        entries = self._entries(tensor)
        return entries[0].parts_of(tensor) if len(entries) == 1 else ()

    def sources(self, tensor: Tensor) -> frozenset[Watched]:
        """The parameters that the tensor comes from."""
        return frozenset().union(*(held.made_from for held in self._entries(tensor)))

    def all_sources(self, given: Iterable[Tensor]) -> set[Watched]:
        """The parameters that any of the tensors comes from."""
        return {weight for tensor in given for weight in self.sources(tensor)}

    def pass_on(self, call: Call) -> None:
        """Note whether what came out depends on the input."""
        results = {memory_of(tensor) for tensor in call.results()}.difference(call.memories)
        if not self.is_live(call):
            self._live -= results - {None}
            return
        self._live |= results
        for memory in map(memory_of, call.written()):
            self._live.add(memory)
            if memory in self._held:
                self._held[memory] = [held for held in self._held[memory] if _is_parameter(held)]

    # What is made of weights

    def derive(
        self, call: Call, *, parts: tuple[Part, ...] | None = None, made_from: Iterable[Watched] | None = None
    ) -> None:
        """Note that the results come from weights: `parts` are those of the first, by default what the
        operation keeps of them; `made_from` all parameters that went into them."""
        parts = self._kept_by(call) if parts is None else parts
        everything = frozenset(self.all_sources(call.given) if made_from is None else made_from)
        written = list(call.written())
        for tensor in written:
            self._overwrite(call, tensor, parts, everything)
        for position, tensor in enumerate(call.results()):
            if memory_of(tensor) not in self._held and not written:
                self._hold(Held(tensor, parts if position == 0 else (), everything))
                for weight in everything:
                    weight.entered.add(call.operation.name)

    def _overwrite(
        self, call: Call, tensor: Tensor, parts: tuple[Part, ...], made_from: frozenset[Watched]
    ) -> None:
        entries = self._entries(tensor)
        if any(map(_is_parameter, entries)):
            return
        operation, memory = call.operation, memory_of(tensor)
        if entries and entries[0].parts and (operation.elementwise or operation.name in _KEEPING):
            return
        made_from = made_from.union(*(held.made_from for held in entries))
        whole = dense(tensor) and span(tensor) == (0, tensor.untyped_storage().nbytes())
        self._held[memory] = [Held(tensor, parts if whole else (), made_from)]

    def _kept_by(self, call: Call) -> tuple[Part, ...]:
        """The parts in the first result: moved, or element for element those of one operand."""
        name = call.operation.name
        if name in _JOINS:
            pieces = {id(tensor): tensor for tensor in call.given}.values()
            return tuple(part for piece in pieces for part in self.moved(call, piece))
        if name in _MOVES.split():
            return self.moved(call, call.args[0])
        if name == "copy":
            return self._copied(call.args[1], call.args[0])
        if not call.operation.elementwise or not call.results():
            return ()
        return self._element_for_element(call, call.results()[0])

    def _element_for_element(self, call: Call, result: Tensor) -> tuple[Part, ...]:
        """The parts of the operand that the result is a version of; none where two parameters could be it."""
        operands = [parts for tensor in call.given if (parts := self._copied(tensor, result))]
        prunable = [parts for parts in operands if any(part.source.prunable for part in parts)]
        best = prunable or operands
        same = len({frozenset(part.source for part in parts) for parts in best}) == 1
        return best[0] if same else ()

    def _copied(self, tensor: Tensor, result: Tensor) -> tuple[Part, ...]:
        shape = tuple(tensor.shape)
        if tensor.numel() != result.numel() or tuple(result.shape)[result.ndim - tensor.ndim :] != shape:
            return ()
        back = through_equal(tensor.ndim)
        return tuple(part.behind(back, copied=True) for part in self.parts(tensor))

    def moved(self, call: Call, operand: Tensor) -> tuple[Part, ...]:
        """The parts of an operand whose elements the operation puts in other places."""
        parts = self.parts(operand)
        if not parts or any(t.is_meta for t in call.given if not t.is_floating_point()):
            return ()  # nobody knows which rows an index takes on the meta device
        back = _move_of(call, operand)
        return tuple(part.behind(back, copied=True) for part in parts)


def _is_parameter(held: Held) -> bool:
    return any(part.source.parameter is held.tensor for part in held.parts)


def _move_of(call: Call, operand: Tensor) -> Back:
    shape = tuple(operand.shape)
    rows = _rows_taken(call)
    if rows is not None and rows.dtype is not torch.bool:
        return through_rows(rows, shape)

    def move(numbers: Tensor) -> Tensor:
        args = tuple(_stand_in(value, operand, numbers) for value in call.args)
        if call.operation.name == "constant_pad_nd":
            args = (*args[:2], 0)
        moved: Tensor = call.function(*args, **call.kwargs)
        return moved

    return through_move(move, shape)


def _stand_in(value: Any, operand: Tensor, numbers: Tensor) -> Any:
    """Numbers for the operand, 0 for what is joined to it, indices as they are."""
    if value is operand:
        return numbers
    if isinstance(value, Tensor):
        return torch.full(value.shape, 0) if value.dtype == operand.dtype else value.cpu()
    if isinstance(value, list | tuple):
        return [_stand_in(item, operand, numbers) for item in value]
    return value


def _rows_taken(call: Call) -> Tensor | None:
    """The index tensor of an operation that takes rows of its first argument."""
    name, args = call.operation.name, call.args
    if name == "embedding":
        return args[1]  # type: ignore[no-any-return]
    if name == "index_select" and args[1] == 0:
        return args[2]  # type: ignore[no-any-return]
    if name == "index" and args[1][0] is not None and all(index is None for index in args[1][1:]):
        return args[1][0]  # type: ignore[no-any-return]
    return None
