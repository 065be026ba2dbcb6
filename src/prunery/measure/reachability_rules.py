"""How a signal passes the functions of a network that would, as they are, hide a path.

Most functions need no rule: fed with noise, they pass a signal on where they can. These do not:

    products                 what comes out may be of any size: it becomes noise again where it is not 0
    relu, tanh, clamp, ...   let nothing through where they saturate or cut: the identity
    sigmoid, exp, glu        so do these, and as gates they are open at 0: 1 + x
    max, max-pooling         pass one element of many: sum and average
    batch, instance norm     shift a channel that is not there: scaled only
    topk, argmax, ...        choose by value, which the noise has not: the flow gives up
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

from prunery.seeds import stream

Rule = Callable[["Flow", Any, tuple[Any, ...], dict[str, Any]], Any]

_IDENTITY = """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardtanh tanh tanhshrink softsign
    hardshrink softshrink threshold clamp clamp_min clamp_max clip erf
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
"""
_GATES = "sigmoid hardsigmoid exp"
_PRODUCTS = """
    linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul rmatmul
    mm bmm mv dot inner addmm addmv addbmm baddbmm einsum tensordot
    multi_head_attention_forward scaled_dot_product_attention
"""
_RECURRENT = "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"
_CHOOSERS = "topk kthvalue median nanmedian argmax argmin nonzero multinomial"


class Flow(TorchFunctionMode):
    """While entered, every function with a rule follows it; the others run as they are."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        seed = stream(0, "flow").initial_seed()
        self.generator = torch.Generator(device).manual_seed(seed)

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The rule of a function of this name, methods and in-place variants alike."""
        rule = RULES.get(getattr(func, "__name__", "").strip("_"))
        return func(*args, **kwargs or {}) if rule is None else rule(self, func, args, kwargs or {})

    def noise(self, like: Tensor) -> Tensor:
        """Uniform in [0.5, 1.5), shaped like a floating-point tensor."""
        noise = torch.rand(like.shape, generator=self.generator, device=self.generator.device)
        return noise.to(like) + 0.5

    def live(self, value: Any) -> Any:
        """Noise where there is a signal, else 0, forwards and backwards; of every tensor in a tuple."""
        if isinstance(value, Tensor) and value.is_floating_point():
            return _Live.apply(value, self.noise(value))  # type: ignore[no-untyped-call]
        return tuple(self.live(item) for item in value) if type(value) is tuple else value


class _Live(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, noise: Tensor) -> Tensor:
        ctx.save_for_backward(noise)
        return torch.where(x != 0, noise, 0)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (noise,) = ctx.saved_tensors
        return torch.where(gradients[0] != 0, noise, 0), None


def _identity(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _argument(args, kwargs, "input", 0)


def _gate(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return 1 + _argument(args, kwargs, "input", 0)


def _glu(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    axis = _argument(args, kwargs, "dim", 1)
    value, gate = _argument(args, kwargs, "input", 0).chunk(2, -1 if axis is None else axis)
    return value * (1 + gate)


def _product(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return flow.live(func(*args, **kwargs))


def _recurrent(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The gates inside are left as they are, so what goes in is kept small too."""
    return flow.live(func(flow.live(args[0]), *args[1:], **kwargs))


def _chooser(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise NotImplementedError(f"{func.__name__} chooses by value, and the flow has none")


def _pool(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The average for the maximum, where the average can have the same windows."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    dilation = given.pop("dilation", 1)
    if given.pop("return_indices", False) or prod([dilation] if isinstance(dilation, int) else dilation) != 1:
        raise NotImplementedError("max-pooling with indices or dilation")
    return _averaging(func)(**given)


def _adaptive_pool(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return _averaging(func)(_argument(args, kwargs, "input", 0), _argument(args, kwargs, "output_size", 1))


def _averaging(func: Any) -> Callable[..., Tensor]:
    name = func.__name__.replace("max", "avg").removesuffix("_with_indices")
    average: Callable[..., Tensor] = getattr(functional, name)
    return average


def _largest(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The sum for the maximum: of two tensors, over axes, or over one axis with the indices beside it."""
    x, second = _argument(args, kwargs, "input", 0), _argument(args, kwargs, "other", 1)
    if isinstance(second, Tensor):
        return x + second
    found = func(*args, **kwargs)
    values = found if isinstance(found, Tensor) else found[0]
    axes = kwargs.get("dim", second)
    total = x.sum(tuple(range(x.ndim)) if axes is None else axes, keepdim=values.ndim == x.ndim)
    return total if values is found else type(found)((total, found[1]))


def _channel_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # torch's own functions have the weight before the statistics, those of torch.nn.functional after them
    behind = func in (functional.batch_norm, functional.instance_norm)
    x, weight = _argument(args, kwargs, "input", 0), _argument(args, kwargs, "weight", 3 if behind else 1)
    return x if weight is None else x * weight.view(1, -1, *[1] * (x.ndim - 2))


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str, position: int) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_IDENTITY.split(), _identity),
    **dict.fromkeys(_GATES.split(), _gate),
    **dict.fromkeys(_PRODUCTS.split(), _product),
    **dict.fromkeys(_RECURRENT.split(), _recurrent),
    **dict.fromkeys(_CHOOSERS.split(), _chooser),
    **dict.fromkeys((f"max_pool{d}d{end}" for d in (1, 2, 3) for end in ("", "_with_indices")), _pool),
    **dict.fromkeys((f"adaptive_max_pool{d}d" for d in (1, 2, 3)), _adaptive_pool),
    **dict.fromkeys(("max", "min", "amax", "amin", "maximum", "minimum"), _largest),
    **dict.fromkeys(("batch_norm", "instance_norm"), _channel_norm),
    "glu": _glu,
}
