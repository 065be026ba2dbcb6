"""Changes the values of a model so that the units which go are missed by nobody."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from prunery.export.reads import Flags, Read, Weight
from prunery.export.removable import Plan
from prunery.graph.channels import Ids
from prunery.wrappers import named_modules


def registered(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters and buffers of a model by their first name."""
    found: dict[str, Tensor] = {}
    seen: set[int] = set()
    for name, module in named_modules(model):
        for short, tensor in (*module._parameters.items(), *module._buffers.items()):
            if tensor is not None and id(tensor) not in seen:
                seen.add(id(tensor))
                found[f"{name}.{short}".lstrip(".")] = tensor
    return found


def fold_(model: nn.Module, plan: Plan) -> dict[str, Read]:
    """Add what constants that go contribute to the biases; return the new biases by name."""
    made, gone = dict[str, Read](), plan.graph.flow.channels.among(plan.gone)
    for read in plan.reads if plan.folds else ():
        columns = _constant(read, gone)
        if read.folds and len(columns) and read.weight is not None and read.weight.bias is not None:
            bias = _bias(model, read.weight, len(read.rows))
            if read.weight.new_bias:
                made[read.weight.bias] = read
            with torch.no_grad():
                total = _columns(registered(model)[read.weight.name], read.weight, columns)
                value = torch.from_numpy(read.value[columns]).to(total.device)
                bias.copy_(bias.double() + total @ value)
    return made


def _constant(read: Read, those: Flags) -> Ids:
    """Return the columns of the units marked that are constant, used and not 0."""
    return np.flatnonzero(read.matters & read.known & those[read.columns])


def _bias(model: nn.Module, weight: Weight, rows: int) -> Tensor:
    """Return a bias; a new one is 0."""
    assert weight.bias is not None
    if not weight.new_bias:
        return registered(model)[weight.bias]
    module = dict(named_modules(model))[weight.bias.rpartition(".")[0]]
    like = registered(model)[weight.name]
    module.bias = nn.Parameter(
        torch.zeros(rows, dtype=like.dtype, device=like.device), requires_grad=like.requires_grad
    )
    return module.bias


def _columns(tensor: Tensor, weight: Weight, columns: Ids) -> Tensor:
    """Return some columns of a weight, its kernel summed up, as (rows, columns) in float64."""
    matrix = tensor if weight.axis == 1 else tensor.mT
    matrix = matrix.detach().flatten(2).double().sum(2) if matrix.ndim > 2 else matrix.detach()
    if weight.groups == 1:
        return matrix[:, torch.from_numpy(columns).to(matrix.device)].double()
    rows, inputs = len(matrix) // weight.groups, matrix.shape[1]
    total = torch.zeros(len(matrix), len(columns), dtype=torch.float64, device=matrix.device)
    for i, column in enumerate(columns.tolist()):
        part = slice(column // inputs * rows, (column // inputs + 1) * rows)
        total[part, i] = matrix[part, column % inputs].double()
    return total


def merge_constants_(model: nn.Module, plan: Plan) -> None:
    """Add the columns of constant units to that of the one which stands for them, each in proportion."""
    parameters = registered(model)
    goes = plan.graph.flow.channels.among(np.asarray(list(plan.merged), np.int64))
    for read in plan.reads if plan.merged else ():
        if read.folds or read.weight is None:
            continue
        for column in _constant(read, goes).tolist():
            other = plan.merged[int(read.columns[column])]
            target = int(_constant_of(read, other)[0])
            with torch.no_grad():
                into = parameters[read.weight.name].select(read.weight.axis, target)
                given = parameters[read.weight.name].select(read.weight.axis, column)
                into += given * float(read.value[column] / read.value[target])


def _constant_of(read: Read, unit: int) -> Ids:
    return np.flatnonzero(read.known & (read.value != 0) & (read.columns == unit))


def merge_duplicates_(model: nn.Module, plan: Plan, twins: Mapping[int, int]) -> None:
    """Add the columns of units to those of the ones that compute the same."""
    parameters = registered(model)
    for read in plan.reads if twins else ():
        ids = _channels(plan, read.weight)
        if read.weight is None or ids is None:
            continue
        with torch.no_grad():
            for unit, other in twins.items():
                for column, target in zip(
                    np.flatnonzero(ids == unit).tolist(), np.flatnonzero(ids == other).tolist(), strict=True
                ):
                    tensor = parameters[read.weight.name]
                    tensor.select(read.weight.axis, target).add_(tensor.select(read.weight.axis, column))


def silence_(model: nn.Module, plan: Plan) -> None:
    """Set the columns of the units that stay and do not matter to 0."""
    parameters = registered(model)
    for read in plan.reads if len(plan.idle) else ():
        ids = _channels(plan, read.weight)
        if read.weight is not None and read.weight.editable and ids is not None:
            tensor = parameters[read.weight.name]
            places = torch.from_numpy(np.flatnonzero(np.isin(ids, plan.idle))).to(tensor.device)
            with torch.no_grad():
                tensor.index_fill_(read.weight.axis, places, 0)


def _channels(plan: Plan, weight: Weight | None) -> Ids | None:
    """Return the unit of each place of the axis that a read sums up."""
    flow = plan.graph.flow
    ids = flow.axes.get((weight.name, weight.axis)) if weight is not None else None
    return None if ids is None else flow.channels.find(ids)
