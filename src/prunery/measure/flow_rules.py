"""The functions of a network, each with one that is positive where the real one lets something through."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812 (its usual name)
from torch.overrides import TorchFunctionMode

from prunery.seeds import stream

Rule = Callable[["Flow", Any, tuple[Any, ...], dict[str, Any]], Any]

_IDENTITY = """
    relu relu6 leaky_relu prelu rrelu elu selu celu gelu silu mish hardswish hardtanh tanh tanhshrink softsign
    hardshrink softshrink threshold clamp clamp_min clamp_max clip abs erf expm1 log1p log_softmax normalize
    local_response_norm dropout dropout1d dropout2d dropout3d alpha_dropout feature_alpha_dropout
"""
_GATES = "sigmoid hardsigmoid logsigmoid softplus exp"
_PRODUCTS = """
    linear bilinear conv1d conv2d conv3d conv_transpose1d conv_transpose2d conv_transpose3d matmul rmatmul
    mm bmm mv dot inner addmm addmv addbmm baddbmm einsum tensordot
    lstm gru rnn_tanh rnn_relu lstm_cell gru_cell rnn_tanh_cell rnn_relu_cell
"""
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

    def signal(self, tensor: Tensor) -> Tensor:
        """Positive noise of the shape of `tensor`; indices and boolean masks stay as they are."""
        return self._noise(tensor) if tensor.is_floating_point() else tensor

    def live(self, value: Any) -> Any:
        """Noise where there is a signal, else 0, in both directions; noise, so that no difference is 0."""
        if isinstance(value, Tensor):
            if not value.is_floating_point():
                return value
            return _Live.apply(value, self._noise(value))  # type: ignore[no-untyped-call]
        return type(value)(self.live(item) for item in value) if type(value) in (tuple, list) else value

    def _noise(self, like: Tensor) -> Tensor:
        noise = torch.rand(like.shape, generator=self.generator, device=self.generator.device)
        return noise.to(like) + 0.5


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
    return _first(args, kwargs)


def _gate(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return 1 + _first(args, kwargs)


def _softmax(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = _first(args, kwargs)
    return torch.where(x.isneginf(), 0, 1 + x)


def _glu(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    dim = args[1] if len(args) > 1 else kwargs.get("dim", -1)
    value, gate = _first(args, kwargs).chunk(2, dim)
    return value * (1 + gate)


def _product(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    return flow.live(func(*args, **kwargs))


def _chooser(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    raise NotImplementedError(f"{func.__name__} chooses by value, and the flow has none")


def _pool(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The average for the maximum, where the average can do the same windows."""
    names = ("input", "kernel_size", "stride", "padding", "dilation", "ceil_mode")
    given = {**dict(zip(names, args, strict=False)), **kwargs}
    dilation = given.pop("dilation", 1)
    if given.pop("return_indices", False) or prod([dilation] if isinstance(dilation, int) else dilation) != 1:
        raise NotImplementedError("max-pooling with indices or dilation")
    average: Any = getattr(F, func.__name__.replace("max", "avg"))
    return average(**given)


def _adaptive_pool(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    average: Any = getattr(F, func.__name__.replace("max", "avg"))
    return average(_first(args, kwargs), args[1] if len(args) > 1 else kwargs["output_size"])


def _largest(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The sum for the maximum: of two tensors, over everything, or over one axis (with its indices)."""
    x = _first(args, kwargs)
    other = args[1] if len(args) > 1 else kwargs.get("other")
    if isinstance(other, Tensor):
        return x + other
    found = func(*args, **kwargs)
    if isinstance(found, Tensor):  # over all axes, or those of amax
        axes = kwargs.get("dim", other if other is not None else tuple(range(x.ndim)))
        return x.sum(axes, keepdim=found.ndim == x.ndim)
    axis = kwargs.get("dim", other)
    return type(found)((x.sum(axis, keepdim=found[1].ndim == x.ndim), found[1]))


def _channel_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Batch and instance norm: each channel by itself."""
    x = _first(args, kwargs)
    functional = func in (F.batch_norm, F.instance_norm)  # torch's own have the weight before the statistics
    return _scaled(x, _argument(args, kwargs, "weight", 3 if functional else 1))


def _group_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = _first(args, kwargs)
    groups = x.reshape(x.shape[0], _argument(args, kwargs, "num_groups", 1), -1)
    return _scaled((groups + groups.sum(2, keepdim=True)).view(x.shape), _argument(args, kwargs, "weight", 2))


def _layer_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x = _first(args, kwargs)
    axes = tuple(range(-len(_argument(args, kwargs, "normalized_shape", 1)), 0))
    weight = _argument(args, kwargs, "weight", 2)
    y = x + x.sum(axes, keepdim=True)
    return y if weight is None else y * weight


def _rms_norm(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    x, weight = _first(args, kwargs), _argument(args, kwargs, "weight", 2)
    return x if weight is None else x * weight


def _scaled(x: Tensor, weight: Tensor | None) -> Tensor:
    return x if weight is None else x * weight.view(1, -1, *[1] * (x.ndim - 2))


def _dot_attention(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    q, k, v = (_argument(args, kwargs, name, i) for i, name in enumerate(("query", "key", "value")))
    return _attend(flow, q, k, v)


def _attend(flow: Flow, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Every query attends to every key, and more where their product is alive; (..., heads, L, d) each."""
    if k.ndim > 2 and k.shape[-3] != q.shape[-3]:  # grouped queries
        k, v = (t.repeat_interleave(q.shape[-3] // t.shape[-3], -3) for t in (k, v))
    weights = 1 + flow.live(q @ k.transpose(-1, -2))
    return flow.live(weights @ v)  # type: ignore[no-any-return]


def _attention_layer(flow: Flow, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function behind MultiheadAttention, its parts in the open; inputs (L, N, E) or (L, E)."""
    bound = inspect.signature(func).bind(*args, **kwargs)
    bound.apply_defaults()
    p = bound.arguments
    if p["use_separate_proj_weight"]:
        matrices = [p[f"{name}_proj_weight"] for name in "qkv"]
    else:
        matrices = p["in_proj_weight"].chunk(3)
    q, k, v = (
        _heads(flow.live(F.linear(p[name], matrix)), p["num_heads"])
        for name, matrix in zip(("query", "key", "value"), matrices, strict=True)
    )
    merged = _attend(flow, q, k, v).permute(2, 0, 1, 3).flatten(2)  # (L, N, E)
    output = flow.live(F.linear(merged, p["out_proj_weight"])).view(p["query"].shape)
    if not p["need_weights"]:
        return output, None
    weights = q.new_ones(*q.shape[:3], k.shape[2])  # (N, heads, L, S)
    weights = weights[:, 0] if p["average_attn_weights"] else weights
    return output, weights if p["query"].ndim == 3 else weights[0]


def _heads(x: Tensor, heads: int) -> Tensor:
    """(L, N, E) or (L, E) to (N, heads, L, E / heads)."""
    x = x if x.ndim == 3 else x.unsqueeze(1)
    return x.view(*x.shape[:2], heads, -1).permute(1, 2, 0, 3)


def _first(args: tuple[Any, ...], kwargs: dict[str, Any]) -> Tensor:
    first: Tensor = args[0] if args else kwargs["input"]
    return first


def _argument(args: tuple[Any, ...], kwargs: dict[str, Any], name: str, position: int) -> Any:
    return args[position] if len(args) > position else kwargs.get(name)


RULES: Mapping[str, Rule] = {
    **dict.fromkeys(_IDENTITY.split(), _identity),
    **dict.fromkeys(_GATES.split(), _gate),
    **dict.fromkeys(_PRODUCTS.split(), _product),
    **dict.fromkeys(_CHOOSERS.split(), _chooser),
    **dict.fromkeys(("softmax", "softmin", "gumbel_softmax"), _softmax),
    **dict.fromkeys(("max_pool1d", "max_pool2d", "max_pool3d"), _pool),
    **dict.fromkeys((f"adaptive_max_pool{d}d" for d in (1, 2, 3)), _adaptive_pool),
    **dict.fromkeys((f"max_pool{d}d_with_indices" for d in (1, 2, 3)), _pool),
    **dict.fromkeys(("max", "min", "amax", "amin", "maximum", "minimum"), _largest),
    **dict.fromkeys(("batch_norm", "instance_norm"), _channel_norm),
    "glu": _glu,
    "group_norm": _group_norm,
    "layer_norm": _layer_norm,
    "rms_norm": _rms_norm,
    "scaled_dot_product_attention": _dot_attention,
    "multi_head_attention_forward": _attention_layer,
}
