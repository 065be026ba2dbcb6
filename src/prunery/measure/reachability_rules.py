"""How a signal passes the functions of a network that would, as they are, hide a path.

A signal is a tensor that carries a gradient: noise that was put in, and what comes of it. Positions, indices,
masks and other constants are none, and every function treats them as always. Most functions need no rule: fed
with noise, they pass a signal on where they can. These do not:

    products                 what comes out may be of any size: it becomes noise again where it is not 0
    relu, tanh, clamp, ...   let nothing through where they saturate or cut: the identity
    sigmoid, exp, glu        so do these, and as gates they are open at 0: 1 + x
    max, max-pooling         pass one element of many: sum and average
    batch, instance norm     shift a channel that is not there: scaled only
    x > 0 and the like       true everywhere, and where() passes both of its branches
    topk, argmax, ...        choose by value, which the noise has not: the flow gives up
    if x > 0, x.item()       decide by value: the flow gives up
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
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
    round floor ceil trunc fix sign sgn
    dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
"""
_GATES = "sigmoid hardsigmoid exp"
_PRODUCTS = """
    linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul rmatmul
    mm bmm mv dot inner addmm addmv addbmm baddbmm einsum tensordot multi_dot linalg_multi_dot linalg_matmul
    vdot vecdot linalg_vecdot chain_matmul smm sparse_mm sparse_addmm grouped_mm conv_tbc
    multi_head_attention_forward scaled_dot_product_attention
"""
_RECURRENT = "lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell"
_CHOOSERS = """
    topk kthvalue median nanmedian quantile nanquantile mode sort msort argsort argmax argmin nonzero
    multinomial unique unique_consecutive bucketize searchsorted bernoulli
    fractional_max_pool2d fractional_max_pool3d
    fractional_max_pool2d_with_indices fractional_max_pool3d_with_indices
"""
_READERS = "__bool__ __int__ __float__ __index__ __complex__ item tolist numpy is_nonzero equal allclose"
_ABOUT = "isnan isinf isfinite"  # of the numbers themselves, which the noise may answer as it is


class Flow(TorchFunctionMode):
    """While entered, every function that a signal goes into follows its rule; the others run as they are."""

    def __init__(self, device: torch.device) -> None:
        super().__init__()
        seed = stream(0, "flow").initial_seed()
        self.generator = torch.Generator(device).manual_seed(seed)
        self.choices: dict[int, Tensor] = {}  # by id: what came of comparing signals
        self.places: dict[int, Tensor] = {}  # by id: where a maximum of signals stood

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """The rule of a function of this name, methods and in-place variants alike."""
        kwargs = kwargs or {}
        given = list(_every_tensor((*args, *kwargs.values())))
        signals = any(tensor.requires_grad for tensor in given)
        chosen = any(id(tensor) in self.choices for tensor in given)
        name = getattr(func, "__name__", "")
        if any(id(tensor) in self.places for tensor in given):
            raise _by_value(name.strip("_"))
        if not signals and not chosen:
            return func(*args, **kwargs)
        if name in _READERS.split() or (chosen and name.strip("_") in _CHOOSERS.split()):
            raise NotImplementedError(f"{name.strip('_')} decides by value, and the flow has none")
        plain = {key: value for key, value in kwargs.items() if key != "out"}
        rule = RULES.get(name.strip("_")) if signals else None
        output = func(*args, **plain) if rule is None else rule(self, func, args, plain)
        output = self._compared(name.strip("_"), output, chosen=chosen)
        return output if kwargs.get("out") is None else _put_in(kwargs["out"], output)

    def _compared(self, name: str, output: Any, *, chosen: bool) -> Any:
        """What was compared is true everywhere, whatever the noise; whole numbers cannot be made of it."""
        if name in _ABOUT.split() or name.startswith("new_") or name.endswith("_like"):
            return output
        if isinstance(output, tuple):
            self.places |= {id(t): t for t in output if isinstance(t, Tensor) and _is_whole(t)}
        elif isinstance(output, Tensor) and output.dtype is torch.bool:
            output = output if chosen else torch.ones_like(output)
            self.choices[id(output)] = output
        elif isinstance(output, Tensor) and _is_whole(output):
            if not chosen:
                raise NotImplementedError(f"{name} makes whole numbers of values, and the flow has none")
            self.choices[id(output)] = output
        return output

    def is_choice(self, value: Any) -> bool:
        """Whether a value came of comparing signals."""
        return id(value) in self.choices

    def noise(self, like: Tensor) -> Tensor:
        """Uniform in [0.5, 1.5), shaped like a floating-point tensor; both parts of a complex one."""
        noise = torch.rand(like.shape, generator=self.generator, device=self.generator.device)
        if like.is_complex():
            other = torch.rand(like.shape, generator=self.generator, device=self.generator.device)
            return torch.complex(noise + 0.5, other + 0.5).to(like)
        return noise.to(like) + 0.5

    def signal(self, value: Tensor) -> Tensor:
        """Noise that carries a gradient, in place of a floating-point input; other inputs as they are."""
        if value.layout is not torch.strided or not (value.is_floating_point() or value.is_complex()):
            return value
        return self.noise(value).requires_grad_().clone()  # a leaf may not be changed in place

    def live(self, value: Any) -> Any:
        """Noise where there is a signal, else 0, forwards and backwards; of every tensor in a tuple."""
        if isinstance(value, Tensor) and (value.is_floating_point() or value.is_complex()):
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
    x = _argument(args, kwargs, "input", 0)
    return x if is_signal(x) else func(*args, **kwargs)


def _gate(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return 1 + _argument(args, kwargs, "input", 0)


def _glu(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    axis = _argument(args, kwargs, "dim", 1)
    value, gate = _argument(args, kwargs, "input", 0).chunk(2, -1 if axis is None else axis)
    return value * (1 + gate)


def _gumbel_softmax(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The softmax, whose sample the noise would decide."""
    axis = _argument(args, kwargs, "dim", 4)
    return functional.softmax(args[0], -1 if axis is None else axis)


def _product(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return flow.live(func(*args, **kwargs))


def _recurrent(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The gates inside are left as they are, so what goes in is kept small too."""
    return flow.live(func(flow.live(args[0]), *args[1:], **kwargs))


def _chooser(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise _by_value(func.__name__)


def _by_value(name: str) -> NotImplementedError:
    return NotImplementedError(f"{name} chooses by value, and the flow has none")


def _is_whole(value: Tensor) -> bool:
    return not (value.is_floating_point() or value.is_complex() or value.dtype is torch.bool)


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
        return _sum_of_signals((x, second), func(*args, **kwargs))
    output = func(*args, **kwargs)
    values = output if isinstance(output, Tensor) else output[0]
    axes = kwargs.get("dim", second)
    total = x.sum(tuple(range(x.ndim)) if axes is None else axes, keepdim=values.ndim == x.ndim)
    return total if values is output else type(output)((total, output[1]))


def _where(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Both branches, where signals were compared to choose one."""
    output = func(*args, **kwargs)
    given = [*args, *kwargs.values()]
    return _sum_of_signals(given, output) if any(map(flow.is_choice, given)) else output


def _masked_fill(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return args[0] if flow.is_choice(_argument(args, kwargs, "mask", 1)) else func(*args, **kwargs)


def _set_item(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Where signals were compared to say what is replaced, the new value is added."""
    x, index, value = args
    if not any(map(flow.is_choice, index if isinstance(index, tuple) else (index,))):
        return func(x, index, value)
    return func(x, index, x[index] + value) if is_signal(value) else None


def _sum_of_signals(values: Iterable[Any], like: Tensor) -> Tensor:
    signals = [value for value in values if is_signal(value)]
    return sum(signals[1:], signals[0]).expand(like.shape) if signals else like


def is_signal(value: Any) -> bool:
    """Whether a value is a tensor that carries a signal."""
    return isinstance(value, Tensor) and value.requires_grad


def _channel_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    # torch's own functions have the weight before the statistics, those of torch.nn.functional after them
    behind = func in (functional.batch_norm, functional.instance_norm)
    x, weight = _argument(args, kwargs, "input", 0), _argument(args, kwargs, "weight", 3 if behind else 1)
    return x if weight is None else x * weight.view(1, -1, *[1] * (x.ndim - 2))


def _every_tensor(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, tuple | list):
        for item in value:
            yield from _every_tensor(item)


def _put_in(place: Any, output: Any) -> Any:
    """The output, in the tensors that it was to be written into: autograd does not write there itself."""
    places, outputs = ((place,), (output,)) if isinstance(place, Tensor) else (place, output)
    for target, value in zip(places, outputs, strict=True):
        if target.shape != value.shape:
            target.resize_(value.shape)
        target.copy_(value)
    return place


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
    "gumbel_softmax": _gumbel_softmax,
    "where": _where,
    "masked_fill": _masked_fill,
    "setitem": _set_item,
}
