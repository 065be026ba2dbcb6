"""Elements that are picked by values."""

from __future__ import annotations

from prunery.graph.flow import Flow, rule
from prunery.graph.labels import axis_label, support
from prunery.graph.read_torch import Call


@rule.add(ops="embedding")
def embedding(flow: Flow, call: Call) -> None:
    """Rows looked up by number: the rows stay, their elements are the channels."""
    table, output = call.args[0], call.output
    labels = []
    for ids in flow.labels(table):
        if ids.shape[0] > 1:
            flow.pin([ids], None, "")
        else:
            labels.append(axis_label(ids.reshape(-1), output.ndim - 1, output.ndim))
    flow.set(output, labels)


@rule.add(ops="index index_select gather take_along_dim")
def index(flow: Flow, call: Call) -> None:
    """Positions picked by values along some axes; channels along others go with it."""
    source, output = call.args[0], call.output
    if call.name == "index":
        axes = [axis for axis, chosen in enumerate(call.args[1]) if chosen is not None]
    else:
        axes = [call.args[1] % source.ndim]
    labels = []
    for ids in flow.labels(source):
        along = support(ids)
        if set(along) & set(axes) or (call.name == "gather"):
            flow.pin(
                [ids],
                call if not flow.is_weight(source) else None,
                "channels are picked by values" if not flow.is_weight(source) else "",
            )
        elif len(along) == 1:
            place = along[0] if along[0] < min(axes) else along[0] - source.ndim + output.ndim
            labels.append(axis_label(ids.reshape(-1), place, output.ndim))
        else:
            flow.pin([ids], call, "positions are picked by values")
    if any(axes[i + 1] - axes[i] != 1 for i in range(len(axes) - 1)):
        flow.pin(labels, call, "positions are picked by values")
        labels = []
    flow.set(output, labels, weight=flow.is_weight(source))
