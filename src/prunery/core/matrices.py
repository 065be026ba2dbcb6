"""Layers as matrices: which axis of a weight counts outputs, and what each output sums over.

Axes: g groups, o outputs of a group, d inputs of an output (channels x places of the kernel), n columns: the
vectors that the matrix multiplies, one for each example and place.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from math import prod
from typing import TYPE_CHECKING, Any

from prunery.core.weights import is_conv1d, weight_names
from prunery.errors import ModelError

if TYPE_CHECKING:
    import torch
    from torch import Tensor, nn

    from prunery.core.layers import Layer

_PIECE = 1 << 23  # elements of the columns that are made at a time: 32 MB in single precision


@dataclass(frozen=True)
class Matrix:
    """How a weight is a matrix (g, o, d): it is viewed as `view`, its axes permuted to `order`.

    channels: of the d inputs of an output, the number of channels; the places of the kernel are the rest.
    """

    view: tuple[int, ...]
    order: tuple[int, ...]
    groups: int
    outputs: int
    channels: int

    @property
    def inputs(self) -> int:
        """Return d, the number of weights of one output."""
        return prod(self.view) // (self.groups * self.outputs)

    @property
    def places(self) -> int:
        """Return over how many axes of the view the kernel reaches; they come last in the order."""
        return max(0, len(self.view) - (2 if len(self.view) == 2 else 3))

    def of(self, values: Tensor) -> Tensor:
        """Return values shaped like the weight, or flat, as (g, o, d)."""
        return values.reshape(self.view).permute(self.order).reshape(self.groups, self.outputs, -1)

    def back(self, matrix: Tensor, shape: tuple[int, ...]) -> Tensor:
        """Return (g, o, d) in the shape of the weight."""
        permuted = matrix.reshape([self.view[axis] for axis in self.order])
        inverse = [self.order.index(axis) for axis in range(len(self.order))]
        return permuted.permute(inverse).reshape(shape)


def matrix_of(layer: Layer) -> Matrix:
    """Return how the layer's weight is a matrix; ModelError for a parameter that only `include` knows."""
    shape, module = tuple(layer.parameter.shape), layer.module
    if layer.name.rpartition(".")[2] not in weight_names(module):
        raise ModelError(
            f"the rows of {layer.name!r}",
            f"nothing tells which axis of a parameter of {type(module).__name__} counts its outputs",
            "exclude it, or use scope 'layer' or 'global'",
        )
    if is_conv1d(module):
        return Matrix(shape, (1, 0), 1, shape[1], shape[0])
    if getattr(module, "transposed", False):
        groups, rest = _groups(module), tuple(range(3, len(shape) + 1))
        view = (groups, shape[0] // groups, *shape[1:])
        return Matrix(view, (0, 2, 1, *rest), groups, shape[1], shape[0] // groups)
    groups = _groups(module)
    view = (groups, shape[0] // groups, *shape[1:])
    return Matrix(view, tuple(range(len(view))), groups, shape[0] // groups, shape[1])


def _groups(module: Any) -> int:
    groups = getattr(module, "groups", 1)
    return groups if isinstance(groups, int) and hasattr(module, "kernel_size") else 1


def check_readable(layer: Layer) -> None:
    """Raise ModelError for a layer whose columns cannot be read from what its module is called with."""
    from torch import nn

    from prunery.graph.multihead import PrunedMultiheadAttention

    module = layer.module
    if isinstance(module, nn.MultiheadAttention):
        plain = type(module) is nn.MultiheadAttention or isinstance(module, PrunedMultiheadAttention)
        read = plain and layer.name.endswith("in_proj_weight") and not module.add_zero_attn
        read = read and module.bias_k is None
    else:
        read = isinstance(module, nn.Linear | nn.modules.conv._ConvNd) or is_conv1d(module)
    if not read:
        raise ModelError(
            f"the inputs of {layer.name!r}",
            f"what {type(module).__name__} multiplies its weight by is not what the module is called with",
            "exclude it, or use a criterion and a recovery that read no inputs of layers",
        )


def entering(module: nn.Module, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:
    """Return what a module's weight multiplies, of what the module is called with.

    ModelError: attention on queries, keys and values that are not one tensor.
    """
    from torch import nn

    x = args[0] if args else next(iter(kwargs.values()), None)
    if not isinstance(module, nn.MultiheadAttention):
        return x
    given = [*args[:3], *(kwargs[name] for name in ("query", "key", "value") if name in kwargs)]
    if any(other is not given[0] for other in given):
        raise ModelError(
            f"the inputs of a {type(module).__name__}",
            "its queries, keys and values are not one tensor, and its packed weight multiplies each apart",
            "exclude it, or use a criterion and a recovery that read no inputs of layers",
        )
    return given[0]


def bias_of(layer: Layer, module: nn.Module | None = None) -> Any:
    """Return the bias beside a layer's weight, in its own module or a like one; None where there is none."""
    name = "in_proj_bias" if layer.name.endswith("in_proj_weight") else "bias"
    return (layer.module if module is None else module)._parameters.get(name)


def check_tied(model: nn.Module, layer: Layer) -> None:
    """Raise ModelError for a weight that another module shares: its outputs would change too."""
    modules = dict(model.named_modules(remove_duplicate=False))
    for name in layer.aliases:
        if modules.get(name.rpartition(".")[0]) is not layer.module:
            raise ModelError(
                f"new values of {layer.name!r}", f"its weight is {name!r} too", "exclude it from pruning"
            )


def columns(
    layer: Layer, x: Tensor, *, share: float = 1.0, draws: torch.Generator | None = None
) -> Iterator[Tensor]:
    """Yield what the layer's matrix multiplies when its module is called on x, in pieces (g, d, n).

    share: of the rows, or of a convolution's lines of places, about this many are drawn; all examples give
    some. A convolution's kernels are unfolded, a few examples at a time, so that memory stays bounded.
    """
    module: Any = layer.module
    if not hasattr(module, "kernel_size"):
        flat = _drawn(x.reshape(-1, x.shape[-1]), 0, share, draws)
        for rows in _split(flat, max(flat.shape[1], 1)):
            yield rows.t()[None]
        return
    x = x[None] if x.ndim == len(module.kernel_size) + 1 else x  # one example without an axis for examples
    x = _stuffed(module, x) if module.transposed else _padded(module, x)
    stride = (1,) * len(module.kernel_size) if module.transposed else module.stride
    each = prod(x.shape[1:]) * prod(module.kernel_size)
    for some in _split(x, max(each, 1)):
        yield _unfolded(module, _drawn(_patches(module, some, stride), 2, share, draws))


def _split(x: Tensor, each: int) -> Iterator[Tensor]:
    """Yield x in parts along its first axis; each of its rows makes `each` elements of columns."""
    step = max(1, _PIECE // each)
    return (x[lo : lo + step] for lo in range(0, len(x), step))


def column_count(layer: Layer, x: Tensor) -> int:
    """Return how many columns the layer's matrix multiplies when its module is called on x."""
    module: Any = layer.module
    if not hasattr(module, "kernel_size"):
        return x.numel() // max(x.shape[-1], 1)
    x = x[None] if x.ndim == len(module.kernel_size) + 1 else x
    one = _stuffed(module, x[:1]) if module.transposed else _padded(module, x[:1])
    stride = (1,) * len(module.kernel_size) if module.transposed else module.stride
    return len(x) * prod(_patches(module, one, stride).shape[2 : 2 + len(module.kernel_size)])


def _drawn(x: Tensor, axis: int, share: float, draws: torch.Generator | None) -> Tensor:
    """Return a random part of x along an axis, one place at least."""
    import torch

    size = x.shape[axis]
    count = max(1, round(share * size))
    if count >= size:
        return x
    return x.index_select(axis, torch.randperm(size, generator=draws)[:count].sort().values.to(x.device))


def _padded(module: Any, x: Tensor) -> Tensor:
    from torch.nn.functional import pad

    mode = "constant" if module.padding_mode == "zeros" else module.padding_mode
    return pad(x, module._reversed_padding_repeated_twice, mode=mode)


def _stuffed(module: Any, x: Tensor) -> Tensor:
    """Return the input of a transposed convolution as that of a plain one: zeros between, and around."""
    from torch.nn.functional import pad

    kernel, stride = module.kernel_size, module.stride
    sizes = [(n - 1) * s + 1 for n, s in zip(x.shape[2:], stride, strict=True)]
    wide = x.new_zeros(*x.shape[:2], *sizes)
    steps: Any = (..., *(slice(None, None, s) for s in stride))
    wide[steps] = x
    around = []
    for axis in reversed(range(len(kernel))):
        reach = module.dilation[axis] * (kernel[axis] - 1) - module.padding[axis]
        around += [reach, reach + module.output_padding[axis]]
    return pad(wide, around)


def _patches(module: Any, x: Tensor, stride: tuple[int, ...]) -> Tensor:
    """Return the patches (b, channels, places..., kernel...) of padded inputs, a view; see `_unfolded`."""
    spatial = len(module.kernel_size)
    for axis in range(spatial):
        reach = module.dilation[axis] * (module.kernel_size[axis] - 1) + 1
        x = x.unfold(2 + axis, reach, stride[axis])[..., :: module.dilation[axis]]
    return x


def _unfolded(module: Any, x: Tensor) -> Tensor:
    """Return patches as columns (g, d, n); a transposed convolution's are flipped, as its kernel is."""
    spatial = len(module.kernel_size)
    places, kernel = range(2, 2 + spatial), range(2 + spatial, 2 + 2 * spatial)
    if module.transposed:
        x = x.flip(list(kernel))
    return x.permute(1, *kernel, 0, *places).reshape(
        module.groups, -1, x.shape[0] * prod(x.shape[2 : 2 + spatial])
    )
