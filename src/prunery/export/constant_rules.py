"""The rules of constants: what is known of the result of an operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

import prunery.graph.ops  # noqa: F401  (enters the rules)
from prunery.export.constants import Constant, Constants, Rule, along, full, narrowed
from prunery.export.recurrent import idle_units
from prunery.forward import mapped, tensors
from prunery.graph.flow import rule as graph_rule
from prunery.graph.read_torch import Call

Results = Sequence[Constant | None] | None


def rule_of(call: Call) -> Rule | None:
    """Return the rule of an operation; None if nothing is known of its results."""
    if call.function is None or call.name in _RULES:
        return _RULES.get(call.name)
    each = call.pointwise or call.name in _POINTWISE
    return pointwise if each and torch.Tag.nondeterministic_seeded not in call.function.tags else None


_NOT_EACH_BY_ITSELF = {"native_dropout", "dropout", "_fused_dropout", "pointwise", "tril", "triu"}
_POINTWISE = set(graph_rule["pointwise"].facts["ops"].split()) - _NOT_EACH_BY_ITSELF - {"masked_scatter"}


def _known_of(known: Constants, call: Call) -> list[Constant]:
    return [known.of(tensor) for tensor in call.tensors()]


def _run(call: Call, replace: Callable[[Tensor], Tensor], function: Any = None) -> Any:
    """Run an operation on other tensors; an in-place one on a copy of its first."""
    args, kwargs = mapped(replace, call.args), mapped(replace, call.kwargs)
    if call.writes:
        shape = torch.broadcast_shapes(*(t.shape for t in tensors(args)))  # type: ignore[no-untyped-call]
        args = (args[0].expand(shape).clone(), *args[1:])
    return (function or call.function)(*args, **kwargs)


def _true(like: Tensor) -> Tensor:
    return torch.ones((1,) * like.ndim, dtype=torch.bool, device=like.device)


def pointwise(known: Constants, call: Call) -> Results:
    """Each element comes from those at its place; 0 times anything is 0."""
    given = _known_of(known, call)
    if not given or not any(constant.any() for constant in given) or len(call.outputs()) != 1:
        return None
    flag = given[0].known
    for constant in given[1:]:
        flag = flag & constant.known
    if call.name == "mul":
        for constant in given:
            flag = flag | constant.zero()
    if not flag.any():
        return None
    return [Constant(_run(call, lambda tensor: known.of(tensor).value), flag)]


def moved(known: Constants, call: Call) -> Results:
    """Elements are put elsewhere."""
    if not any(constant.any() for constant in _known_of(known, call)):
        return None
    function = torch.reshape if "view" in call.name else None
    values = list(tensors(_run(call, lambda t: full(known.of(t).value, t.shape), function)))
    if all(constant.all() for constant in _known_of(known, call)):
        return [Constant(value, _true(value)) for value in values]
    flags = tensors(_run(call, lambda t: full(known.of(t).known, t.shape), function))
    return [Constant(narrowed(v), narrowed(flag)) for v, flag in zip(values, flags, strict=True)]


def made(known: Constants, call: Call) -> Results:
    """Values that depend on no input."""
    value = narrowed(_run(call, lambda t: full(known.of(t).value, t.shape)))
    return [Constant(value, _true(value))]


def padded(known: Constants, call: Call) -> Results:
    """Equal values around a tensor."""
    given = known.of(call.args[0])
    if not given.any():
        return None
    shape = call.args[0].shape
    value = _run(call, lambda t: full(known.of(t).value, t.shape))
    flag = nn.functional.pad(full(given.known, shape).float(), call.args[1], value=1.0) > 0
    return [Constant(narrowed(value), narrowed(flag))]


def product(known: Constants, call: Call) -> Results:
    """Rows by columns: a sum is known where each of its terms is, or is 0 times anything."""
    added = call.name in ("addmm", "baddbmm")
    left, right = call.args[1:3] if added else call.args[:2]
    a, b = known.of(left), known.of(right)
    if call.kwargs or left.ndim < 2 or right.ndim < 2 or not (a.any() or b.any()):
        return None
    value, missing = _multiplied(a, b, left.shape[-1])
    if added:
        summand = known.of(call.args[0])
        value, missing = value + summand.value, missing | ~summand.known
    return [Constant(value.to(call.output.dtype), ~missing)]


def _multiplied(a: Constant, b: Constant, inner: int) -> tuple[Tensor, Tensor]:
    """Return the sums of a @ b, and where one of their terms is not known."""

    def left(tensor: Tensor) -> Tensor:
        return tensor.expand(*tensor.shape[:-1], inner)

    def right(tensor: Tensor) -> Tensor:
        return tensor.expand(*tensor.shape[:-2], inner, tensor.shape[-1])

    if not a.any() or not b.any():  # known where it is a sum of zeros
        missing = (~a.zero()).any(-1, keepdim=True) if a.any() else (~b.zero()).any(-2, keepdim=True)
        return torch.zeros((), dtype=torch.float64, device=a.value.device), missing
    missing = left((~a.known).float()) @ right((~b.zero()).float())
    if not b.all():
        missing = missing + left((~a.zero()).float()) @ right((~b.known).float())
    if not (a.value.any() and b.value.any()):
        return torch.zeros((), dtype=torch.float64, device=a.value.device), missing > 0
    return left(a.value.double()) @ right(b.value.double()), missing > 0


def convolution(known: Constants, call: Call) -> Results:
    """Filters: as products, channel by channel; at a padded border only 0 is what it is within."""
    x, weight, bias = call.args[:3]
    kernel = known.of(weight)
    if not kernel.all() or x.ndim != weight.ndim:
        return None
    groups, transposed = int(call.args[8]), bool(call.args[6])
    flag, value = along(known.of(x), 1, x.shape[1])
    if transposed or any(call.args[4]):
        flag = flag & (value == 0)
    w = kernel.value.flatten(2)
    used, sums = ((w != 0).any(2), w.double().sum(2)) if value.any() else ((w != 0).any(2), None)
    used = _rows_by_columns(used, groups, transposed)
    missing = (used & ~flag.reshape(groups, 1, -1)).any(-1).reshape(-1)
    total = torch.zeros(len(missing), dtype=torch.float64, device=w.device)
    if sums is not None and not transposed:
        inputs = value.double().where(flag, 0).reshape(groups, 1, -1)
        total = (_rows_by_columns(sums, groups, False) * inputs).sum(-1).reshape(-1)
    if bias is not None:
        total, missing = total + known.of(bias).value, missing | ~known.of(bias).known
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    return [Constant(total.to(w.dtype).reshape(shape), ~missing.reshape(shape))]


def _rows_by_columns(matrix: Tensor, groups: int, transposed: bool) -> Tensor:
    """Return a convolution's weight, without its kernel, as (groups, outputs, inputs)."""
    grouped = matrix.reshape(groups, matrix.shape[0] // groups, matrix.shape[1])
    return grouped.transpose(1, 2) if transposed else grouped


def batch_norm(known: Constants, call: Call) -> Results:
    """A channel with a scale of 0 has its shift; a constant one is scaled, or has its shift in training."""
    x, scale, shift, mean, var = call.args[:5]
    flag, value = along(known.of(x), 1, x.shape[1])
    value = value.double()
    factor = torch.ones_like(value) if scale is None else known.of(scale).value.double()
    offset = torch.zeros_like(value) if shift is None else known.of(shift).value.double()
    if mean is None or known.training or call.args[5] is True:
        value = offset
    else:
        deviation = (known.of(var).value.double() + call.args[-1]).sqrt()
        value = (value - known.of(mean).value.double()) / deviation * factor + offset
    flag = flag | (factor == 0)
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    return [Constant(offset.where(factor == 0, value).to(x.dtype).reshape(shape), flag.reshape(shape))]


def other_norm(known: Constants, call: Call) -> Results:
    """What is scaled by 0 has its shift."""
    x, (scale, shift) = call.args[0], call.args[1:3] if "group" in call.name else call.args[2:4]
    if scale is None or "native" not in call.name:
        return None
    value = known.of(scale).value
    offset = torch.zeros_like(value) if shift is None else known.of(shift).value
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)] if "group" in call.name else value.shape
    return [Constant(offset.reshape(shape), (value == 0).reshape(shape))]


def space(known: Constants, call: Call) -> Results:
    """Neighbours in space: a channel that is the same everywhere stays so; an average over padding is not."""
    x = call.args[0]
    if x.ndim != 2 + next(int(letter) for letter in call.name if letter.isdigit()):
        return None
    flag, value = along(known.of(x), 1, x.shape[1])
    uneven = any(call.args[3]) if call.name.startswith("avg_pool") and len(call.args) > 3 else False
    if uneven or (len(call.args) > 6 and call.name.startswith("avg_pool")):
        flag = flag & (value == 0)
    shape = [-1 if axis == 1 else 1 for axis in range(x.ndim)]
    return [Constant(value.reshape(shape), flag.reshape(shape))]


def reduction(known: Constants, call: Call) -> Results:
    """Elements put together: known where all of them are."""
    x = call.args[0]
    given = known.of(x)
    if not given.any() or len(call.tensors()) != 1:
        return None
    worst = torch.ops.aten.amax.default if call.name == "amin" else None
    value = _run(call, lambda t: full(given.value, t.shape))
    missing = _run(call, lambda t: full((~given.known).float(), t.shape), worst)
    return [Constant(narrowed(value), narrowed(missing == 0))]


def attention(known: Constants, call: Call) -> Results:
    """A mean over positions of what is the same at each."""
    query, value = call.args[0], call.args[2]
    given = known.of(value)
    if query.ndim < 3 or given.value.shape[-2] > 1 or given.known.shape[-2] > 1:
        return None
    head, times = query.ndim - 3, query.shape[-3] // value.shape[-3]

    def for_each_query(tensor: Tensor) -> Tensor:
        return tensor.repeat_interleave(times, head) if tensor.shape[head] > 1 else tensor

    return [Constant(for_each_query(given.value), for_each_query(given.known))]


def embedding(known: Constants, call: Call) -> Results:
    """A column of the table that has one value."""
    table = known.of(call.args[0])
    if not table.all() or not table.value.numel():
        return None
    flag, value = along(table, 1, call.args[0].shape[1])
    shape = (1,) * (call.output.ndim - 1) + (-1,)
    return [Constant(value.reshape(shape), flag.reshape(shape))]


def glu(known: Constants, call: Call) -> Results:
    """The first half times a gate."""
    x = call.args[0]
    axis, given = (call.args[1] if len(call.args) > 1 else -1), known.of(x)
    a, b = full(given.value, x.shape).chunk(2, axis)
    a_known, b_known = full(given.known, x.shape).chunk(2, axis)
    flag = a_known & (b_known | (a == 0))
    return [Constant(narrowed(a * torch.sigmoid(b)), narrowed(flag))]


def recurrent(known: Constants, call: Call) -> Results:
    """A hidden unit stays 0 if it starts so and its candidate is always 0."""
    idle = idle_units(known, call)
    if idle is None:
        return None
    outputs = call.outputs()
    flags = [idle[-(outputs[0].shape[-1] // idle.shape[1]) :].reshape(-1), *[idle.all(0)] * len(outputs[1:])]
    like = call.args[0].dtype
    return [
        Constant(torch.zeros((1,) * tensor.ndim, dtype=like, device=flag.device), _last(flag, tensor.ndim))
        for flag, tensor in zip(flags, outputs, strict=True)
    ]


def _last(line: Tensor, ndim: int) -> Tensor:
    return line.reshape((1,) * (ndim - 1) + (-1,))


_NAMES: dict[Rule, str] = {
    moved: """
        view _unsafe_view reshape _reshape_alias unsqueeze squeeze flatten view_copy t transpose permute
        movedim swapaxes expand expand_as broadcast_to repeat tile flip slice select unbind split
        split_with_sizes chunk unsafe_split unsafe_chunk unsafe_split_with_sizes tensor_split cat concat
        stack pixel_shuffle pixel_unshuffle channel_shuffle native_channel_shuffle roll
    """,
    made: """
        zeros ones full zeros_like ones_like full_like new_zeros new_ones new_full scalar_tensor arange eye
        linspace
    """,
    padded: "constant_pad_nd",
    product: "mm bmm matmul addmm baddbmm",
    convolution: "convolution _convolution mkldnn_convolution cudnn_convolution",
    batch_norm: """
        native_batch_norm _native_batch_norm_legit_no_training cudnn_batch_norm miopen_batch_norm
    """,
    other_norm: "native_layer_norm native_group_norm",
    space: """
        reflection_pad1d reflection_pad2d reflection_pad3d replication_pad1d replication_pad2d
        replication_pad3d avg_pool1d avg_pool2d avg_pool3d max_pool1d_with_indices
        max_pool2d_with_indices max_pool3d_with_indices mkldnn_max_pool2d
        adaptive_avg_pool1d adaptive_avg_pool2d _adaptive_avg_pool2d _adaptive_avg_pool3d
        upsample_nearest1d upsample_nearest2d upsample_nearest3d upsample_bilinear2d upsample_linear1d
        upsample_trilinear3d _upsample_nearest_exact1d _upsample_nearest_exact2d
    """,
    reduction: "mean sum amax amin",
    attention: """
        _scaled_dot_product_flash_attention_for_cpu _scaled_dot_product_flash_attention
        _scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention
        _scaled_dot_product_fused_attention_overrideable
    """,
    embedding: "embedding",
    glu: "glu",
    recurrent: "lstm gru rnn_tanh rnn_relu",
}
_RULES = {name: rule for rule, names in _NAMES.items() for name in names.split()}
