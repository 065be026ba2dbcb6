"""Recurrent layers: a hidden unit is its rows in all gates, its column in each gate, and its output."""

from __future__ import annotations

import numpy as np
from torch import Tensor

from prunery.graph.channels import Ids
from prunery.graph.flow import Flow, rule
from prunery.graph.labels import axis_label, support
from prunery.graph.read_torch import Call

_GATES = {"lstm": 4, "gru": 3, "rnn_tanh": 1, "rnn_relu": 1}


@rule.add(ops="lstm gru rnn_tanh rnn_relu")
def recurrent(flow: Flow, call: Call) -> None:
    """All layers and directions have equally many hidden units, and lose the same ones."""
    packed = isinstance(call.args[1], Tensor) and call.args[1].ndim == 1
    x, (states, weights) = call.args[0], call.args[2:4] if packed else call.args[1:3]
    biased, layers, two_ways = (
        (call.args[4:6] + call.args[8:9]) if packed else (call.args[3], call.args[4], call.args[7])
    )
    gates, hidden = _GATES[call.name], int(weights[1].shape[1])
    per = 4 if biased else 2
    units, states = np.zeros(hidden, np.int64), states if isinstance(states, list | tuple) else [states]
    if len(weights) != per * layers * (2 if two_ways else 1):
        flow.pin_all(call, "it has a projection")
        _give(flow, call, ())
        return
    units = _rows(flow, weights[1], gates)[0]
    flow.note_kind(units, "unit")
    incoming = _features(flow, call, x)
    for number in range(0, len(weights), per):
        into, inside, *biases = weights[number : number + per]
        flow.note_read(into, [1])
        flow.note_read(inside, [1])
        for tensor in (into, inside, *biases):
            for gate in _rows(flow, tensor, gates):
                flow.channels.join(gate, units, "")
        flow.channels.join(_columns(flow, inside), units, "")
        layer = number // per // (2 if two_ways else 1)
        given = incoming if layer == 0 else np.tile(units, 2 if two_ways else 1)
        flow.channels.join(_columns(flow, into), given, f"it meets values that have no channels: {call}")
    for state in states:
        for ids in flow.labels(state):
            if state.ndim and ids.shape[-1] > 1:
                flow.channels.join(ids.reshape(-1), units, f"it meets values that have no channels: {call}")
        if not flow.is_uniform(state) and not flow.labels(state):
            flow.pin([units], call, "its first state is given from outside")
    _give(flow, call, np.tile(units, 2 if two_ways else 1), units)


def _give(flow: Flow, call: Call, line: Ids | tuple[()], units: Ids | None = None) -> None:
    """Label the outputs; the last states hold each layer and direction apart."""
    for number, output in enumerate(call.outputs()):
        chosen = line if number == 0 else units
        named = chosen is not None and len(chosen) > 0
        flow.set(output, (axis_label(np.asarray(chosen), output.ndim - 1, output.ndim),) if named else ())


def _rows(flow: Flow, weight: Tensor, gates: int) -> Ids:
    """Return the channels of a weight's first axis, gate by gate."""
    line = next((ids.reshape(-1) for ids in flow.labels(weight) if support(ids) == (0,)), None)
    return np.zeros((gates, weight.shape[0] // gates), np.int64) if line is None else line.reshape(gates, -1)


def _columns(flow: Flow, weight: Tensor) -> Ids:
    line = next((ids.reshape(-1) for ids in flow.labels(weight) if support(ids) == (1,)), None)
    return np.zeros(weight.shape[1], np.int64) if line is None else line


def _features(flow: Flow, call: Call, x: Tensor) -> Ids:
    """Return the channels of the input's last axis."""
    labels = flow.reduced(
        call, flow.labels(x), range(x.ndim - 1), "positions, not channels, are put together"
    )
    line = next((ids.reshape(-1) for ids in labels if ids.shape[-1] > 1), None)
    return np.zeros(x.shape[-1], np.int64) if line is None else line
