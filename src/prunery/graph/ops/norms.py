"""Norms: over a channel they keep it apart; over several they mix it with the others."""

from __future__ import annotations

from prunery.graph.flow import Flow, Operand, rule
from prunery.graph.labels import Labels, axis_label, support
from prunery.graph.read_torch import Call

_OVER = "a norm is over several channels, so their number matters"


def _scaled(flow: Flow, call: Call, labels: Labels, parameters: tuple[object, ...], axis: int | None) -> None:
    """Label the output, joined to scale, shift and statistics: along `axis`, or the last axes."""
    x, operands = call.args[0], [Operand(tuple(call.args[0].shape), labels)]
    for parameter in parameters:
        if parameter is None or not getattr(parameter, "ndim", 0):
            continue
        own = flow.labels(parameter)  # type: ignore[arg-type]
        if axis is not None:
            shape = tuple(x.shape[axis] if i == axis else 1 for i in range(x.ndim))
            operands.append(Operand(shape, tuple(axis_label(ids, axis, x.ndim) for ids in own), True))
        else:
            operands.append(Operand(tuple(parameter.shape), own, True))  # type: ignore[attr-defined]
    labels = flow.joined(call, operands, x.shape)
    flow.set(call.outputs()[0], labels, weight=flow.is_weight(x))


_BATCH_NORM = """
    native_batch_norm _native_batch_norm_legit _native_batch_norm_legit_no_training cudnn_batch_norm
    batch_norm _batch_norm_no_update _batch_norm_with_update miopen_batch_norm
"""


@rule.add(ops=_BATCH_NORM)
def batch_norm(flow: Flow, call: Call) -> None:
    """Each channel of axis 1 by its own statistics."""
    x = call.args[0]
    others = [axis for axis in range(x.ndim) if axis != 1]
    labels = flow.reduced(call, flow.labels(x), others, "a batch norm is over another axis")
    tensors = tuple(value for value in call.args[1:5] if hasattr(value, "shape"))
    _scaled(flow, call, labels, tensors, 1)


@rule.add(ops="_weight_norm_interface _weight_norm")
def weight_norm(flow: Flow, call: Call) -> None:
    """Directions of a weight over their norms, times lengths; what is 0 adds nothing to a norm."""
    directions, lengths = call.args[:2]
    weights = [Operand(tuple(tensor.shape), flow.labels(tensor), True) for tensor in (directions, lengths)]
    labels = flow.joined(call, weights, directions.shape)
    flow.set(call.outputs()[0], labels, weight=True)


@rule.add(ops="native_layer_norm layer_norm _fused_rms_norm rms_norm")
def layer_norm(flow: Flow, call: Call) -> None:
    """All elements along the last axes by their common statistics."""
    x, shape = call.args[0], call.args[1]
    axes = range(x.ndim - len(shape), x.ndim)
    labels = flow.labels(x)
    for ids in labels:
        if set(support(ids)) <= set(axes):
            flow.pin([ids], call, _OVER)
    apart = flow.reduced(call, labels, axes, "")
    inside = tuple(ids for ids in labels if set(support(ids)) <= set(axes))
    _scaled(flow, call, (*apart, *inside), tuple(call.args[2:4]), None)


@rule.add(ops="native_group_norm group_norm")
def group_norm(flow: Flow, call: Call) -> None:
    """The channels of each group by their common statistics: a group goes as a whole."""
    x, weight, bias = call.args[:3]
    groups = call.args[6] if call.name == "native_group_norm" else call.args[1]
    parameters = (weight, bias) if call.name == "native_group_norm" else tuple(call.args[2:4])
    labels = flow.reduced(call, flow.labels(x), range(2, x.ndim), "a group norm is over positions")
    for ids in labels:
        if ids.shape[1] > 1 and groups == 1:
            flow.pin([ids], call, _OVER)
        elif ids.shape[1] > groups:
            shape = (ids.shape[0], groups, ids.shape[1] // groups, *ids.shape[2:])
            flow.channels.tie(ids.reshape(shape), [2], "")
    _scaled(flow, call, labels, parameters, 1)
