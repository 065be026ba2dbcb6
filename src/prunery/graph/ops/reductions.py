"""Operations that put elements along axes together, or look at one beside the others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from prunery.graph.flow import Flow, rule
from prunery.graph.labels import viewed
from prunery.graph.read_torch import Call

_MIXED = "channels are put together with equal weight, so their number matters"


def axes_of(call: Call, given: Any, ndim: int) -> Sequence[int]:
    """Return the axes that an argument names; all where it names none."""
    if given is None or given == []:
        return range(ndim)
    return [axis % ndim for axis in (given if isinstance(given, list | tuple) else [given])] if ndim else []


_REDUCTION = """
    mean sum amax amin max min var std var_mean std_mean prod linalg_vector_norm norm argmax argmin any all
    logsumexp count_nonzero median nansum aminmax
"""


@rule.add(ops=_REDUCTION)
def reduction(flow: Flow, call: Call) -> None:
    """Elements along axes put together into one."""
    source, output = call.args[0], call.outputs()[0]
    if id(call) in flow.idle:
        return
    if len(call.args) > 1 and hasattr(call.args[1], "shape"):  # max of two tensors
        flow.pin_all(call, "there is no rule for it")
        return
    place = 2 if call.name in ("linalg_vector_norm", "norm") else 1
    given = call.args[place] if len(call.args) > place else call.kwargs.get("dim")
    axes = axes_of(call, given if not isinstance(given, bool) else None, source.ndim)
    silent = flow.is_weight(source)
    labels = flow.reduced(call, flow.labels(source), axes, _MIXED)
    kept = [1 if axis in axes else n for axis, n in enumerate(source.shape)]
    for out in call.outputs():
        if out.numel() == output.numel():
            flow.set(out, [viewed(ids, kept, out.shape) for ids in labels], weight=silent)


_ALONG_AN_AXIS = """
    _softmax softmax _log_softmax log_softmax _safe_softmax cumsum cumprod logcumsumexp sort argsort
"""


@rule.add(ops=_ALONG_AN_AXIS)
def along_an_axis(flow: Flow, call: Call) -> None:
    """Elements changed by what lies beside them along an axis."""
    source = call.args[0]
    axis = (call.args[1] if len(call.args) > 1 else call.kwargs.get("dim", -1)) % max(1, source.ndim)
    labels = flow.reduced(call, flow.labels(source), [axis], _MIXED)
    for out in call.outputs():
        flow.set(out, labels)


@rule.add(ops="glu")
def glu(flow: Flow, call: Call) -> None:
    """The first half of an axis times a gate from the second half."""
    axis = (call.args[1] if len(call.args) > 1 else -1) % call.args[0].ndim
    labels = []
    for ids in flow.labels(call.args[0]):
        if ids.shape[axis] > 1:
            shape = [*ids.shape[:axis], 2, ids.shape[axis] // 2, *ids.shape[axis + 1 :]]
            ids = flow.channels.tie(ids.reshape(shape), [axis], "").squeeze(axis)
        labels.append(ids)
    flow.set(call.output, labels)
