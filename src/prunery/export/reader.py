"""Goes through a program and notes what each of its products reads."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules.conv import _ConvNd

from prunery.export.constant_rules import rule_of
from prunery.export.constants import Constant, Constants, along
from prunery.export.reads import Read, Weight, both, made
from prunery.export.recurrent import cells, idle_units
from prunery.graph.channels import Ids
from prunery.graph.coupling import Graph
from prunery.graph.labels import narrowed, support
from prunery.graph.read_torch import Call
from prunery.wrappers import named_modules

_PRODUCTS = {"mm", "bmm", "matmul", "mv", "dot", "addmm", "baddbmm", "addmv", "addbmm", "_int_mm"}
_CONVOLUTIONS = {"convolution", "_convolution", "mkldnn_convolution", "cudnn_convolution"}
_SAME_MATRIX = {"expand", "view", "_unsafe_view", "reshape", "unsqueeze", "detach", "clone", "alias"}


def reads_of(
    graph: Graph, model: nn.Module, values: Mapping[str, Tensor], *, training: bool = False
) -> list[Read]:
    """Return what the products of a graph read; those of one weight, which is used more than once, as one.

    values: the parameters and buffers by name. training: constants are those of train mode.
    """
    program = graph.flow.training if training and graph.flow.training else graph.program
    known = Constants(program, values, training=training)
    reader = _Reader(graph, model, known)
    with torch.no_grad():
        known.follow(rule_of, reader.visit)
    return reader.joined()


class _Reader:
    """Collects the reads of a program, call by call."""

    def __init__(self, graph: Graph, model: nn.Module, known: Constants) -> None:
        self.graph, self.known = graph, known
        self.modules = dict(named_modules(model))
        self.names = {id(tensor): name for name, tensor in known.program.registered.items()}
        self.sources = {key: (name, False) for key, name in self.names.items()}  # and whether transposed
        self.reads: list[Read] = []
        self.uses: dict[str, int] = {}
        self.elsewhere: set[str] = set()

    def visit(self, call: Call) -> None:
        """Note what a call reads, and whose values it passes on."""
        for tensor in call.tensors():
            name = self.sources.get(id(tensor), ("", False))[0]
            self.uses[name] = self.uses.get(name, 0) + 1
        read = list(self._read(call))
        self.reads += read
        weights = {r.weight.name for r in read if r.weight is not None}
        if not self._passed_on(call):
            for tensor in call.tensors():
                if id(tensor) in self.sources and self.sources[id(tensor)][0] not in weights:
                    self.elsewhere.add(self.sources[id(tensor)][0])

    def _passed_on(self, call: Call) -> bool:
        """Return whether the result is the first argument, a matrix, perhaps transposed."""
        first = call.args[0] if call.args else None
        if id(first) not in self.sources or not isinstance(first, Tensor) or first.ndim < 2:
            return False
        name, flipped = self.sources[id(first)]
        last = sorted(axis % first.ndim for axis in call.args[1:3]) if call.name == "transpose" else []
        if call.name == "t" or last == [first.ndim - 2, first.ndim - 1]:
            self.sources[id(call.output)] = (name, not flipped)
        elif call.name in _SAME_MATRIX and call.output.shape[-2:] == first.shape[-2:]:
            self.sources[id(call.output)] = (name, flipped)
        else:
            return False
        return True

    def _read(self, call: Call) -> Iterator[Read]:
        if call.name in _CONVOLUTIONS:
            yield self._convolution(call)
        elif call.name in _PRODUCTS:
            yield self._product(call)
        elif "scaled_dot_product" in call.name:
            query, key = call.args[:2]
            yield self._activations(call, query, key, query.ndim - 1, key.ndim - 1)
        elif call.name in ("lstm", "gru", "rnn_tanh", "rnn_relu"):
            yield from self._recurrent(call)

    def units(self, tensor: Tensor, axis: int) -> Ids:
        """Return the unit of each place of an axis; 0 where there is none."""
        line, flow = np.zeros(tensor.shape[axis], np.int64), self.graph.flow
        for ids in flow.labels(tensor):
            ids = narrowed(ids, flow.channels)
            if support(ids) == (axis,):
                line = np.maximum(line, ids.reshape(-1))
        return line

    def _activations(self, call: Call, left: Tensor, right: Tensor, axis: int, other: int) -> Read:
        """Return the read of a product of two tensors that are no weights: its rows are not told apart."""
        columns = np.maximum(self.units(left, axis), self.units(right, other))
        zeros = [
            flag & (value == 0)
            for flag, value in (
                along(self.known.of(t), a, t.shape[a]) for t, a in ((left, axis), (right, other))
            )
        ]
        return made(
            call, columns, np.zeros(1, np.int64), None, (zeros[0] | zeros[1], torch.zeros(len(columns)))
        )

    def _product(self, call: Call) -> Read:
        added = call.name in ("addmm", "baddbmm", "addmv", "addbmm")
        left, right = call.args[1:3] if added else call.args[:2]
        inner = max(0, right.ndim - 2)
        a, b = self.known.of(left), self.known.of(right)
        if min(left.ndim, right.ndim) < 2 or not (a.all() or b.all()):
            return self._activations(call, left, right, left.ndim - 1, inner)
        columns = np.maximum(self.units(left, left.ndim - 1), self.units(right, inner))
        if b.all():
            matrix, (x, axis), rows = _matrix(b, right).mT, (left, left.ndim - 1), call.output.ndim - 1
            weight = self._weight(call, right, 0, call.args[0] if added else None)
        else:
            matrix, (x, axis), rows = _matrix(a, left), (right, inner), call.output.ndim - 2
            weight = self._weight(call, left, 1, None)
        constants = along(self.known.of(x), axis, x.shape[axis])
        read = made(call, columns, self.units(call.output, rows), matrix, constants, weight)
        return replace(read, folds=weight is not None and weight.bias is not None)

    def _weight(self, call: Call, tensor: Tensor, axis: int, bias: Any) -> Weight | None:
        """Return the parameter behind a factor that is summed along one of its last two axes."""
        if id(tensor) not in self.sources:
            return None
        name, flipped = self.sources[id(tensor)]
        registered = self.graph.program.registered[name]
        if registered.ndim != 2 or call.kwargs:
            return None
        return Weight(name, 1 - axis if flipped else axis, *self._bias(call, name, bias))

    def _bias(self, call: Call, name: str, given: Any) -> tuple[str | None, bool]:
        """Return the name of what is added to each row of a product, and whether it is to be made."""
        if given is not None:
            found = self.names.get(id(given))
            return (found if given.ndim == 1 else None), False
        module = self.modules.get(name.rpartition(".")[0])
        if not isinstance(module, nn.Linear | _ConvNd) or call.module != name.rpartition(".")[0]:
            return None, False
        if type(module).forward not in _FORWARDS:
            return None, False
        bias = f"{call.module}.bias".lstrip(".")
        return self.graph.program.aliases.get(bias, bias), module.bias is None

    def _convolution(self, call: Call) -> Read:
        x, weight, bias = call.args[:3]
        transposed, groups = bool(call.args[6]), int(call.args[8])
        constant, name = self.known.of(weight), self.names.get(id(weight))
        rows, columns = self.units(call.output, 1), self.units(x, 1)
        if not constant.all():
            nothing = torch.zeros(len(columns), dtype=torch.bool)
            return made(call, columns, np.zeros(1, np.int64), None, (nothing, nothing))
        used = _blocks((constant.value != 0).flatten(2).any(2), groups, transposed)
        known = along(self.known.of(x), 1, x.shape[1])
        weight_of = None
        if name is not None:
            weight_of = Weight(name, 0 if transposed else 1, *self._bias(call, name, bias), groups)
        read = made(call, columns, rows, used, known, weight_of)
        folds = (
            weight_of is not None and weight_of.bias is not None and not transposed and not any(call.args[4])
        )
        return replace(read, folds=folds)

    def _recurrent(self, call: Call) -> Iterator[Read]:
        x, output = call.args[0], call.outputs()[0]
        all_cells, states = cells(call), call.outputs()[1:]
        units = self.units(states[0], states[0].ndim - 1)
        idle = idle_units(self.known, call)
        idle = torch.zeros(len(all_cells), len(units), dtype=torch.bool) if idle is None else idle
        ways = output.shape[-1] // len(units)
        for number, cell in enumerate(all_cells):
            known = along(self.known.of(x), x.ndim - 1, x.shape[-1])
            columns = self.units(x, x.ndim - 1)
            if cell.layer:
                before = idle[(cell.layer - 1) * ways : cell.layer * ways].reshape(-1)
                known, columns = (before, torch.zeros(len(before))), np.tile(units, ways)
            rows = np.tile(units, cell.into.shape[0] // len(units))
            bias = self.names.get(id(cell.biases[0])) if cell.biases else None
            for tensor, line, given in (
                (cell.into, columns, known),
                (cell.inside, units, (idle[number], torch.zeros(len(units)))),
            ):
                name = self.names.get(id(tensor))
                weight = Weight(name, 1, bias) if name is not None else None
                read = made(call, line, rows, self.known.of(tensor).value != 0, given, weight)
                yield replace(read, folds=weight is not None and bias is not None)

    def joined(self) -> list[Read]:
        """Return the reads; those of one weight are one, whose constants hold in all of its calls."""
        found: list[Read] = []
        place: dict[str, int] = {}
        for read in map(self._settled, self.reads):
            name = read.weight.name if read.weight is not None else ""
            if name and name in place:
                found[place[name]] = both(found[place[name]], read)
            else:
                place[name] = len(found)
                found.append(read)
        return found

    def _settled(self, read: Read) -> Read:
        """Return a read that folds nothing into a bias which others use, nor edits a weight that they do."""
        weight = read.weight
        if weight is None:
            return read
        times = sum(1 for r in self.reads if r.weight is not None and r.weight.name == weight.name)
        alone = weight.new_bias or self.uses.get(weight.bias or "", 0) == times
        weight = replace(weight, editable=weight.name not in self.elsewhere)
        return replace(read, weight=weight, folds=read.folds and alone)


_FORWARDS = {nn.Linear.forward, nn.Conv1d.forward, nn.Conv2d.forward, nn.Conv3d.forward}


def _matrix(constant: Constant, tensor: Tensor) -> Tensor:
    """Return where a factor is not 0 in any of its batches, as (rows, columns)."""
    used = constant.value != 0
    if used.shape == tensor.shape[-2:]:
        return used
    used = used.expand(*used.shape[:-2], *tensor.shape[-2:])
    return used.reshape(-1, *used.shape[-2:]).any(0)


def _blocks(used: Tensor, groups: int, transposed: bool) -> Tensor:
    """Return which inputs each output of a convolution uses, as (outputs, inputs)."""
    parts = [part.mT if transposed else part for part in used.chunk(groups)]
    if groups == 1:
        return parts[0]
    rows, columns = parts[0].shape
    blocks = used.new_zeros(rows * groups, columns * groups)
    for i, part in enumerate(parts):
        blocks[i * rows : (i + 1) * rows, i * columns : (i + 1) * columns] = part
    return blocks
