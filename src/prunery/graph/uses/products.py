"""The operations that multiply and add up, and how often each uses an element of its operands.

By the name of the operation as torch dispatches it: whatever a model is written with (modules, `F.linear`,
`@`, einsum) comes down to these. What `torch.utils.flop_counter` counts is here too, and the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from torch import Tensor

from prunery.graph.read_torch import RECURRENT
from prunery.graph.uses.lineage import Uses


@dataclass(frozen=True)
class Operand:
    """One factor of a product."""

    tensor: Tensor
    uses: Uses  # of each element
    weight: bool = False  # it stands where a layer has its weight
    product: int = 0  # which product of the call it is a factor of


Args = tuple[Any, ...]
Product = Callable[[Args, Mapping[str, Any], Any], Iterable[Operand]]


def _matrices(first: int) -> Product:
    """mm, bmm and the like: (..., n, k) times (..., k, m), from the argument of that position on."""

    def operands(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
        a, b = args[first], args[first + 1]
        yield Operand(a, b.shape[-1])
        yield Operand(b, a.shape[-2], weight=b.ndim == 2)

    return operands


def _vector(first: int) -> Product:
    """mv: (n, k) times (k,)."""

    def operands(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
        yield Operand(args[first], 1, weight=True)
        yield Operand(args[first + 1], args[first].shape[0])

    return operands


def _dot(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    yield from (Operand(args[0], 1), Operand(args[1], 1))


def _linear(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    x, weight = args[:2]
    yield Operand(x, weight.shape[0])
    yield Operand(weight, x.numel() // max(1, x.shape[-1]), weight=True)


def _convolution(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """Each weight is used at each output position; transposed, at each input position."""
    positions = args[0] if args[6] else out
    yield Operand(args[1], positions.numel() // max(1, positions.shape[1]), weight=True)


def _plain_convolution(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    yield Operand(args[1], out.numel() // max(1, out.shape[1]), weight=True)


def _trilinear(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """Bilinear layers: three tensors are multiplied element by element, with axes of size 1 put in."""
    shapes = []
    for tensor, added in zip(args[:3], args[3:6], strict=True):
        shape = list(tensor.shape)
        for axis in sorted(added):
            shape.insert(axis, 1)
        shapes.append(shape)
    total = prod(max(sizes) for sizes in zip(*shapes, strict=True))
    for position, tensor in enumerate(args[:3]):
        yield Operand(tensor, total // max(1, tensor.numel()), weight=position == 1)


def _grouped(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """Rows of a matrix by groups, each times a matrix of its own; the offsets say where a group ends."""
    rows, weight = args[:2]
    offsets = args[2] if len(args) > 2 else kwargs.get("offs")
    if weight.ndim != 3 or rows.ndim != 2 or offsets is None:
        yield from _matrices(0)(args, kwargs, out)
        return
    ends = offsets.cpu().long()
    counts = ends.diff(prepend=ends.new_zeros(1))
    yield Operand(rows, weight.shape[-1])
    yield Operand(weight, counts.view(-1, 1, 1), weight=True)


def _one_layer(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """One recurrent layer: the matrices of inputs and of states."""
    return _recurrent(args[0], args[1:3])


def _all_layers(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """All recurrent layers in one call."""
    return _recurrent(args[0], args[1])


def _recurrent_call(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """torch.lstm and its like: the weights are the last list, behind the states."""
    weights = [value for value in args if isinstance(value, list | tuple)][-1]
    return _recurrent(args[0], weights)


def _recurrent(x: Tensor, weights: Iterable[Tensor]) -> Iterator[Operand]:
    """Every matrix is used at each step of each sequence."""
    steps = x.numel() // max(1, x.shape[-1])
    for number, weight in enumerate(weights):
        if weight.ndim == 2:
            yield Operand(weight, steps, weight=True, product=number)


def _scores(args: Args, kwargs: Mapping[str, Any], out: Any) -> Iterator[Operand]:
    """Attention: scores of each query with each key, and as many products with the values."""
    q, k, v = args[:3]
    shared = max(1, q.numel() * k.shape[-2] // max(1, k.numel() * q.shape[-2]))  # queries of one key's head
    yield Operand(q, k.shape[-2])
    yield Operand(k, q.shape[-2] * shared)
    yield Operand(v, q.shape[-2] * shared, product=1)


PRODUCTS: Mapping[str, Product] = {
    **dict.fromkeys(("mm", "bmm", "_scaled_mm", "_int_mm"), _matrices(0)),
    **dict.fromkeys(("addmm", "baddbmm", "addbmm", "_addmm_activation", "_sparse_addmm"), _matrices(1)),
    "mv": _vector(0),
    "addmv": _vector(1),
    **dict.fromkeys(("dot", "vdot"), _dot),
    **dict.fromkeys(("convolution", "_convolution", "convolution_overrideable"), _convolution),
    **dict.fromkeys(("cudnn_convolution", "miopen_convolution", "_slow_conv2d_forward"), _plain_convolution),
    **dict.fromkeys(("_grouped_mm", "grouped_mm_fallback"), _grouped),
    **dict.fromkeys(("_cudnn_rnn", "miopen_rnn"), _all_layers),
    **dict.fromkeys(RECURRENT, _recurrent_call),
    "linear": _linear,
    "_trilinear": _trilinear,
    "mkldnn_rnn_layer": _one_layer,
}


def product(name: str) -> Product | None:
    """The rule of the operation of that name, or None where it is no product."""
    return _scores if name.startswith("_scaled_dot_product") else PRODUCTS.get(name)
