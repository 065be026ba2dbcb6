"""Recurrent layers: their weights, and the hidden units that stay 0."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from prunery.export.constants import Constants, along
from prunery.graph.read_torch import Call

GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}
_CANDIDATE = {"lstm": 2, "gru": 2, "rnn_tanh": 0, "rnn_relu": 0}  # the gate without which a unit stays 0


@dataclass(frozen=True)
class Cell:
    """One layer in one direction: its weights of inputs and of hidden units, and their biases if any."""

    into: Tensor
    inside: Tensor
    biases: tuple[Tensor, ...]
    layer: int


def cells(call: Call) -> tuple[Cell, ...]:
    """Return the cells of a recurrent layer, in torch's order; none where it has projections."""
    packed = isinstance(call.args[1], Tensor) and call.args[1].ndim == 1
    weights = call.args[3] if packed else call.args[2]
    biased, layers = call.args[4:6] if packed else call.args[3:5]
    two_ways = call.args[8] if packed else call.args[7]
    per, ways = (4 if biased else 2), (2 if two_ways else 1)
    if len(weights) != per * layers * ways:
        return ()
    parts = [weights[i : i + per] for i in range(0, len(weights), per)]
    return tuple(Cell(part[0], part[1], tuple(part[2:]), i // ways) for i, part in enumerate(parts))


def first_states(call: Call) -> list[Tensor]:
    """Return the states that a recurrent layer starts from."""
    packed = isinstance(call.args[1], Tensor) and call.args[1].ndim == 1
    states = call.args[2] if packed else call.args[1]
    return list(states) if isinstance(states, tuple | list) else [states]


def idle_units(known: Constants, call: Call) -> Tensor | None:
    """Return, for each cell, which hidden units are always 0; None where the first states are not 0."""
    all_cells = cells(call)
    if not all_cells or not all(bool(known.of(state).zero().all()) for state in first_states(call)):
        return None
    x = call.args[0]
    flag, value = along(known.of(x), x.ndim - 1, x.shape[-1])
    silent, layer = flag & (value == 0), 0
    lines: list[Tensor] = []
    ways = len(all_cells) // (all_cells[-1].layer + 1)
    for cell in all_cells:
        if cell.layer != layer:
            silent, layer = torch.cat(lines[-ways:]), cell.layer
        lines.append(_idle(known, cell, silent, call.name))
    return torch.stack(lines)


def _idle(known: Constants, cell: Cell, silent: Tensor, name: str) -> Tensor:
    """Return the units of a cell whose candidate is 0 while they and the silent inputs are."""
    hidden = cell.inside.shape[1]
    rows = slice(_CANDIDATE[name] * hidden, (_CANDIDATE[name] + 1) * hidden)
    idle = ~((known.of(cell.into).value[rows] != 0) & ~silent).any(1)
    for bias in cell.biases:
        idle = idle & (known.of(bias).value[rows] == 0)
    heard = known.of(cell.inside).value[rows] != 0
    while True:
        still = idle & ~(heard & ~idle).any(1)
        if torch.equal(still, idle):
            return idle
        idle = still
