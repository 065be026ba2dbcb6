"""Tries whether a model runs without some of its channels, and pins those that it cannot do without.

A smaller copy of the model runs on the same example. Each of its operations must be that of the original, on
tensors as large as the graph says and with the same numbers. Where one is not, sizes that a module writes
down itself (`self.heads`) are corrected if that helps; else the channels that go in there are pinned.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence, Set
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from prunery.graph.alike import alike
from prunery.graph.channels import Ids, counted
from prunery.graph.flow import Flow
from prunery.graph.read_torch import Call, Program, attempt, in_train_mode, with_values
from prunery.graph.shrink import Removal, Width, shrunk
from prunery.wrappers import named_modules

_ROUNDS = 200
_NONE = np.zeros(0, np.int64)
_IN_PLACE = ("clone", "contiguous", "view", "detach", "alias", "expand", "lift_fresh", "_to_copy")


@dataclass(frozen=True)
class Difference:
    """Where a smaller copy first does something else: the number of the call, of which mode, and why."""

    number: int
    why: str
    training: bool = False


def try_out(model: nn.Module, example: Any, flow: Flow) -> list[Width]:
    """Pin the channels that `model` cannot do without, and return the sizes it writes down itself."""
    widths: list[Width] = []
    hopeless: set[tuple[Any, ...]] = set()
    turn = 0
    for _ in range(_ROUNDS):
        removed = some_of_each(flow, turn)
        if removed is None:
            return widths
        removal = Removal(flow, removed)
        difference = run(model, example, removal, widths) if len(removed) else None
        if difference is None:
            turn += 1
            continue
        better = None
        if not difference.training:
            better = _corrected(model, example, removal, widths, difference, hopeless)
        if better:
            widths = better
        else:
            _blame(model, flow, difference)
            turn = 0  # what is left must pass all turns
    flow.pin(flow.axes.values(), None, f"without some channels the model differs in over {_ROUNDS} ways")
    return []


def some_of_each(flow: Flow, turn: int) -> Ids | None:
    """Return the channels to remove in a turn; None after the last one.

    Unequal numbers of each kind go, so that one that is taken for another is seen. Where there are too many
    kinds for that, more turns follow, and for any two of one size there is one in which they differ.
    """
    stays = flow.channels.stays()
    kinds = [(every[~stays[every]], {times for _, _, times in at}) for at, every in alike(flow).items()]
    kinds = sorted((kind for kind in kinds if len(kind[0]) > 1), key=lambda kind: len(kind[0]))
    sizes = [len(roots) for roots, _ in kinds]
    counts, clash = _unequal(sizes, [times for _, times in kinds], turn)
    if turn > 1:
        counts = _digits(sizes, turn - 2) if clash else []
    if not any(counts):
        return np.zeros(0, np.int64) if turn == 0 else None
    draw = np.random.default_rng(turn)
    some = [draw.permutation(roots)[:count] for (roots, _), count in zip(kinds, counts, strict=True)]
    return np.sort(np.concatenate(some))


def _unequal(sizes: Sequence[int], times: Sequence[Set[int]], seed: int = 0) -> tuple[list[int], bool]:
    """Return a number below each size, from 1 on, and whether there were too few numbers.

    times: how often a channel is along an axis; no two kinds lose equally many places, if that can be.
    """
    draw, counts, taken, clash = np.random.default_rng(seed), list[int](), set[int](), False
    for size, often in zip(sizes, times, strict=True):
        below = range(1, min(size, len(taken) + 8))
        free = [count for count in below if not any(count * n in taken for n in often)]
        clash |= not free
        counts.append(int(draw.choice(free or below)))
        taken |= {counts[-1] * n for n in often}
    return counts, clash


def _digits(sizes: Sequence[int], place: int) -> list[int]:
    """Return a digit of each one's number among those of its size, on the base of that size."""
    seen: dict[int, int] = {}
    digits = []
    for size in sizes:
        number = seen[size] = seen.get(size, 0) + 1
        digits.append(number // size**place % size)
    return digits


def run(model: nn.Module, example: Any, removal: Removal, widths: Sequence[Width]) -> Difference | None:
    """Return where a copy of `model` without these channels first differs from the graph, if anywhere."""

    def emptied(name: str, tensor: Tensor) -> Tensor:
        index = removal.index(name, tensor.ndim)
        if all(places is None for places in index):
            return tensor
        shape = [n if places is None else len(places) for n, places in zip(tensor.shape, index, strict=True)]
        return torch.empty(shape, dtype=tensor.dtype, device=tensor.device)

    values = removal.flow.program.has_values
    small = shrunk(model, removal, widths, cut=None if values else emptied, share=True)
    program = (with_values if values else attempt)(small, example)
    own = {name: type(module) for name, module in named_modules(model)}
    replaced = {name for name, module in named_modules(small) if type(module) is not own[name]}
    difference = _first_difference(program, removal.flow.program, removal, replaced)
    if difference is None and (more := removal.flow.training) is not None:
        found = _first_difference(in_train_mode(small, example), more, removal, replaced)
        return None if found is None else replace(found, training=True)
    return difference


def _first_difference(
    program: Program, original: Program, removal: Removal, replaced: Set[str]
) -> Difference | None:
    """Walk through both runs side by side; whether elements are copied makes no difference.

    replaced: modules that compute the same in another way.
    """
    calls, expected = program.calls, original.calls
    i = j = 0
    while i < len(calls) and j < len(expected):
        call, before = calls[i], expected[j]
        if call.module in replaced or before.module in replaced:
            i, j = i + (call.module in replaced), j + (before.module in replaced)
        elif _name(call) == _name(before):
            if why := _differs(call, before, removal):
                return Difference(j, why)
            i, j = i + 1, j + 1
        elif _name(call) in _IN_PLACE:
            i += 1
        elif _name(before) in _IN_PLACE:
            j += 1
        else:
            return Difference(j, f"it does {call.name} instead")
    number = min(j, len(expected) - 1)
    if program.error is not None:
        message = (str(program.error).splitlines() or [""])[0]
        return Difference(number, f"{type(program.error).__name__}: {message}")
    rest = (*calls[i:], *expected[j:])
    return (
        None
        if all(_name(call) in _IN_PLACE or call.module in replaced for call in rest)
        else Difference(number, "it does less")
    )


def _name(call: Call) -> str:
    return "view" if call.name in ("_unsafe_view", "_reshape_alias", "reshape") else call.name


def _differs(call: Call, before: Call, removal: Removal) -> str:
    """Return how a call differs from what the graph says; empty if it does not."""
    for tensor, old in zip(call.outputs(), before.outputs(), strict=False):
        told = removal.flow.knows(old) and not removal.flow.is_uniform(old)
        if told and tuple(tensor.shape) != removal.shape(old):
            return f"its result has shape {tuple(tensor.shape)}, not {removal.shape(old)}"
    if id(before) in removal.flow.idle:
        return ""
    if before.pointwise or before.name.startswith(("_scaled", "scaled")):
        numbers, others = list(_numbers(call)), list(_numbers(before))
        if numbers != others:
            return f"a number in it depends on how many channels there are ({numbers[:1]} for {others[:1]})"
    return ""


def _numbers(call: Call) -> Iterator[float]:
    for value in (*call.args, *call.kwargs.values()):
        if isinstance(value, int | float) and not isinstance(value, bool):
            yield value


def _corrected(
    model: nn.Module,
    example: Any,
    removal: Removal,
    widths: list[Width],
    difference: Difference,
    hopeless: set[tuple[Any, ...]],
) -> list[Width] | None:
    """Return the widths with more that let the copy get further; None if none does."""
    flow = removal.flow
    call = flow.program.calls[difference.number]
    kind = _kind(model, call)
    if kind in hopeless:
        return None
    for names in _candidates(model, call, removal, widths):
        more = [*widths, *_everywhere(model, flow, call, names)]
        after = run(model, example, removal, more)
        if after is None or after.number > difference.number:
            return more
    hopeless.add(kind)
    return None


def _kind(model: nn.Module, call: Call) -> tuple[Any, ...]:
    return (type(dict(named_modules(model))[call.module]), call.place, call.name)


@dataclass(frozen=True)
class _Found:
    """An attribute of a module that has the size of an axis of a tensor at one of its calls."""

    attribute: str
    item: int | None
    offset: int  # of the call among those of the module
    side: str
    position: int
    axis: int


def _candidates(
    model: nn.Module, call: Call, removal: Removal, widths: Sequence[Width]
) -> Iterator[list[_Found]]:
    """Yield sets of attributes of the module that runs a call which may hold a size that changed."""
    module = dict(named_modules(model))[call.module]
    known = {(w.attribute, w.item) for w in widths if w.module == call.module}
    sizes: dict[int, dict[int, _Found]] = {}
    for offset, other in enumerate(removal.flow.program.by_module[call.module]):
        for side, held in (("in", other.tensors()), ("out", other.outputs())):
            for position, tensor in enumerate(held):
                for axis, (old, new) in enumerate(zip(tensor.shape, removal.shape(tensor), strict=True)):
                    if old != new:
                        found = _Found("", None, offset, side, position, axis)
                        sizes.setdefault(old, {}).setdefault(new, found)
    choices = []
    for attribute, item, value in _integers(module):
        if (attribute, item) not in known and value in sizes:
            choices.append([_with(found, attribute, item) for found in sizes[value].values()])
    yield from ([option] for options in choices for option in options)
    if len(choices) > 1:
        yield [options[0] for options in choices]


def _with(found: _Found, attribute: str, item: int | None) -> _Found:
    return _Found(attribute, item, found.offset, found.side, found.position, found.axis)


def _integers(module: nn.Module) -> Iterator[tuple[str, int | None, int]]:
    for name, value in vars(module).items():
        if isinstance(value, int) and not isinstance(value, bool):
            yield name, None, value
        elif isinstance(value, tuple | list):
            yield from ((name, i, n) for i, n in enumerate(value) if type(n) is int)


def _everywhere(model: nn.Module, flow: Flow, call: Call, names: Sequence[_Found]) -> Iterator[Width]:
    """Yield the widths for every module of the same class whose calls are alike."""
    for name, calls in _alike(model, flow.program, call).items():
        for found in names:
            other = calls[found.offset]
            held = other.tensors() if found.side == "in" else other.outputs()
            yield Width(name, found.attribute, found.item, held[found.position], found.axis)


def _alike(model: nn.Module, program: Program, call: Call) -> dict[str, list[Call]]:
    """Return the calls of each module that is of the same class as that of `call` and does the same."""
    modules, calls = dict(named_modules(model)), program.by_module
    kind, names = type(modules[call.module]), [c.name for c in calls[call.module]]
    every = {name: calls.get(name, []) for name, module in modules.items() if type(module) is kind}
    return {name: calls for name, calls in every.items() if [c.name for c in calls] == names}


def _blame(model: nn.Module, flow: Flow, difference: Difference) -> None:
    """Pin what goes into the call that differs, else what its module handles, else all there is."""
    program = flow.training if difference.training and flow.training else flow.program
    call = program.calls[difference.number]
    modules = _alike(model, program, call)
    offset = next(i for i, c in enumerate(modules[call.module]) if c is call)
    stays = flow.channels.stays()
    same = [calls[offset] for calls in modules.values()]
    every = [c for calls in modules.values() for c in calls]
    for calls in (same, every, program.calls):
        labels = [ids for c in calls for t in (*c.tensors(), *c.outputs()) for ids in flow.labels(t)]
        roots = counted(flow.channels.find(np.concatenate([ids.reshape(-1) for ids in labels] or [_NONE])))[0]
        new = roots[(roots > 0) & ~stays[roots]]
        if len(new):
            flow.pin([new], call, f"without some of them, {difference.why}")
            return
    flow.pin(flow.axes.values(), call, f"without some of them, {difference.why}")
