"""What a model computes, as steps that can be run again on a batch of another size.

A model is read three times, at three sizes of the batch. A number in a step's arguments or shapes that
follows the batch is a `PerBatch`; if anything else differs, the model is not taken apart.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensor

from prunery.forward import mapped, memory_of, tensors
from prunery.graph.read_torch import Call, Program, read

SIZES = (2, 3, 7)


@dataclass(frozen=True)
class Ref:
    """A tensor that a step reads, by its number."""

    value: int


@dataclass(frozen=True)
class PerBatch:
    """slope * batch + constant."""

    slope: int
    constant: int

    def at(self, batch: int) -> int:
        """Return the number for a batch of that size."""
        return self.slope * batch + self.constant


@dataclass
class Step:
    """One operation of torch. outputs: numbers of the tensors that come out; -1: not a tensor."""

    name: str
    function: Any
    args: Any
    kwargs: Any
    outputs: list[int]
    module: str

    def reads(self) -> list[int]:
        """Return the numbers of the tensors that it reads."""
        return refs((self.args, self.kwargs))


@dataclass
class Network:
    """A whole model. shapes: of each tensor, with `PerBatch` where they follow the batch."""

    steps: list[Step] = field(default_factory=list)
    constants: dict[int, Tensor] = field(default_factory=dict)
    inputs: list[int] = field(default_factory=list)
    outputs: list[int] = field(default_factory=list)
    shapes: dict[int, tuple[Any, ...]] = field(default_factory=dict)


class NotSeparableError(Exception):
    """The model cannot be taken apart; the message says why, in a clause."""


def take_apart(model: nn.Module, example: Any) -> Network:
    """Return the network that `model` is; NotSeparableError: it can only be run as a whole."""
    given = list(tensors(example))
    if not given or any(t.ndim == 0 or t.shape[0] != given[0].shape[0] for t in given):
        raise NotSeparableError("its inputs have no batch axis in common")
    if given[0].shape[0] == 0:
        raise NotSeparableError("the example is an empty batch")
    read_at = [_numbered(read(model, _sized(example, size)), model) for size in SIZES]
    return _merged(read_at)


def _sized(example: Any, size: int) -> Any:
    return mapped(lambda t: t[:1].detach().expand(size, *t.shape[1:]).clone(), example)


def refs(tree: Any) -> list[int]:
    """Return the numbers of the tensors in a tree of arguments."""
    if isinstance(tree, Ref):
        return [tree.value]
    if isinstance(tree, dict):
        tree = tree.values()
    if isinstance(tree, list | tuple) or type(tree) is type({}.values()):
        return [number for item in tree for number in refs(item)]
    return []


def filled(tree: Any, replaced: Callable[[Any], Any]) -> Any:
    """Return a tree of arguments with each `Ref` and `PerBatch` replaced."""
    if isinstance(tree, Ref | PerBatch):
        return replaced(tree)
    if isinstance(tree, list | tuple):
        return type(tree)(filled(item, replaced) for item in tree)
    if isinstance(tree, dict):
        return {key: filled(item, replaced) for key, item in tree.items()}
    return tree


def _numbered(program: Program, model: nn.Module) -> Network:
    """The program with numbers in place of tensors."""
    if program.has_values or program.asked_for_values:
        raise NotSeparableError("its forward looks at values of tensors")
    return _Numbering(program, model).network


class _Numbering:
    def __init__(self, program: Program, model: nn.Module) -> None:
        self.network = Network()
        self.numbers: dict[int, int] = {}  # by the id of a tensor, which the program keeps alive
        self.memory: dict[int, set[int]] = {}  # tensors by their memory
        real = {**dict(model.named_parameters()), **dict(model.named_buffers())}
        for name, tensor in program.registered.items():
            self.network.constants[self._new(tensor)] = real[name].detach()
        self.fixed = set(self.memory)
        self.network.inputs = [self._new(tensor) for tensor in program.inputs]
        self.fixed |= {memory_of(t) or 0 for t in program.inputs}
        idle = program.idle()
        for call in program.calls:
            if id(call) not in idle:
                self._step(call)
        self.network.outputs = [self._number(tensor) for tensor in program.outputs]

    def _new(self, tensor: Tensor) -> int:
        number = len(self.network.shapes)
        self.numbers[id(tensor)] = number
        self.network.shapes[number] = tuple(tensor.shape)
        self.memory.setdefault(memory_of(tensor) or 0, set()).add(id(tensor))
        return number

    def _number(self, tensor: Tensor) -> int:
        if id(tensor) not in self.numbers:
            if isinstance(tensor, FakeTensor):
                raise NotSeparableError("it uses tensors whose origin is not known")
            self.network.constants[self._new(tensor)] = tensor.detach()
        return self.numbers[id(tensor)]

    def _step(self, call: Call) -> None:
        if call.function is None or not isinstance(call.function, torch._ops.OpOverload):
            raise NotSeparableError(f"it has a layer that torch runs as a whole ({call.name})")
        arguments = mapped(lambda t: Ref(self._number(t)), (list(call.args), dict(call.kwargs)))  # type: ignore[arg-type,return-value]
        if call.writes:
            target = call.args[0]
            if memory_of(target) in self.fixed or self.memory[memory_of(target) or 0] != {id(target)}:
                raise NotSeparableError(f"{call.name} writes to a tensor that has other readers")
        outputs = call.output if isinstance(call.output, tuple | list) else [call.output]
        numbers = [self._new(t) if isinstance(t, Tensor) else -1 for t in outputs]
        args, kwargs = arguments
        step = Step(call.name, call.function, args, kwargs, numbers, call.module)
        self.network.steps.append(step)


def _merged(read_at: list[Network]) -> Network:
    first = read_at[0]
    if any(len(n.steps) != len(first.steps) or n.outputs != first.outputs for n in read_at):
        raise NotSeparableError("what it computes depends on the size of the batch")
    steps = []
    for versions in zip(*(n.steps for n in read_at), strict=True):
        if len({(s.function, tuple(s.outputs)) for s in versions}) != 1:
            raise NotSeparableError("what it computes depends on the size of the batch")
        args, kwargs = _merge([(s.args, s.kwargs) for s in versions])
        steps.append(replace(versions[0], args=args, kwargs=kwargs))
    shapes = {number: _merge([n.shapes[number] for n in read_at]) for number in first.shapes}
    return replace(first, steps=steps, shapes=shapes)


def _merge(trees: list[Any]) -> Any:
    """Return one tree for the three sizes of the batch."""
    first = trees[0]
    if any(type(tree) is not type(first) for tree in trees):
        raise NotSeparableError("what it computes depends on the size of the batch")
    if isinstance(first, list | tuple):
        if any(len(tree) != len(first) for tree in trees):
            raise NotSeparableError("what it computes depends on the size of the batch")
        return type(first)(_merge(list(items)) for items in zip(*trees, strict=True))
    if isinstance(first, dict):
        return {key: _merge([tree[key] for tree in trees]) for key in first}
    if type(first) is int and len(set(trees)) > 1:
        return _per_batch(trees)
    if any(tree is not first and tree != first for tree in trees):
        raise NotSeparableError("what it computes depends on the size of the batch")
    return first


def _per_batch(numbers: list[int]) -> PerBatch:
    slope = (numbers[1] - numbers[0]) // (SIZES[1] - SIZES[0])
    found = PerBatch(slope, numbers[0] - slope * SIZES[0])
    if any(found.at(size) != number for size, number in zip(SIZES, numbers, strict=True)):
        raise NotSeparableError("what it computes depends on the size of the batch")
    return found
