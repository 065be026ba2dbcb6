"""Operations element by element, and those that make or copy tensors."""

from __future__ import annotations

from torch import Tensor

from prunery.forward import tensors
from prunery.graph.flow import Flow, Operand, rule
from prunery.graph.labels import Labels, axis_label, support
from prunery.graph.read_torch import Call

_POINTWISE = """
    pointwise clone contiguous detach alias lift_fresh lift_fresh_copy _to_copy to where masked_fill
    _prelu_kernel prelu native_dropout dropout _conj _fused_dropout tril triu nan_to_num addcmul addcdiv lerp
    hardswish log_sigmoid log_sigmoid_forward rrelu_with_noise polar complex bernoulli rsub fix masked_scatter
"""


@rule.add(ops=_POINTWISE)
def pointwise(flow: Flow, call: Call) -> None:
    """Operands meet element by element; the channels at one place are joined."""
    outputs = call.outputs()
    if not outputs:
        return
    given = list(tensors((call.args, {key: value for key, value in call.kwargs.items() if key != "out"})))
    shape = outputs[0].shape
    labels = flow.joined(call, [flow.operand(tensor) for tensor in given], shape)
    uniform = all(flow.is_uniform(tensor) for tensor in given)
    weight = all(flow.is_weight(tensor) or flow.is_uniform(tensor) for tensor in given)
    for output in outputs:
        flow.set(
            output, labels if output.shape == shape else (), uniform=uniform, weight=weight and not uniform
        )


_FILLED = """
    zeros ones full empty zeros_like ones_like full_like empty_like new_zeros new_ones new_full new_empty
    scalar_tensor empty_strided new_empty_strided empty_permuted
"""


@rule.add(ops=_FILLED)
def filled(flow: Flow, call: Call) -> None:
    """Make a tensor of equal elements: its channels are those of what it will meet."""
    like = flow.labels(call.args[0]) if call.name.endswith("_like") else ()
    for output in call.outputs():
        flow.set(output, (*like, *_of_its_own(flow, output, like)))


def _of_its_own(flow: Flow, tensor: Tensor, like: Labels) -> Labels:
    """Return a label for each axis along which none of `like` lies."""
    taken = {axis for ids in like for axis in support(ids)}
    axes = [axis for axis, size in enumerate(tensor.shape) if size > 1 and axis not in taken]
    return tuple(axis_label(flow.channels.fresh(tensor.shape[axis]), axis, tensor.ndim) for axis in axes)


@rule.add(ops="fill zero")
def overwritten(flow: Flow, call: Call) -> None:
    """Fill a tensor in place; it keeps its channels, which a tensor that it is a part of may have too."""
    flow.set(call.args[0], flow.labels(call.args[0]))


@rule.add(ops="arange rand randn randint rand_like randn_like eye linspace randperm")
def values(flow: Flow, call: Call) -> None:
    """Return a tensor of values that no channel comes from."""
    for output in call.outputs():
        flow.set(output, (), weight=call.name in ("arange", "eye", "linspace"))


@rule.add(ops="copy")
def copy(flow: Flow, call: Call) -> None:
    """Write one tensor into another, which may be a part of a third."""
    target, source = call.args[:2]
    given = [Operand(tuple(target.shape), flow.labels(target)), flow.operand(source)]
    flow.set(call.output, flow.joined(call, given, target.shape))
