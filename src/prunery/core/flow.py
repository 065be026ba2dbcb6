"""SynFlow's call of a model: in float64, all parameters and buffers in absolute value, on an input of ones.

The call keeps its form. Indices, masks and settings stay as they are, shapes too; what the model makes itself
(initial states, positions) takes part in float64.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import PackedSequence
from torch.overrides import TorchFunctionMode

from prunery.core.context import (
    ScoringContext,
    call_on,
    first_batch,
    gradients,
    lacks,
    run_quietly,
    running,
    stand_ins_of,
    summary,
    weights_among,
)
from prunery.errors import EvidenceError, PruneryError
from prunery.forward import SEVERAL, call_of, eval_mode, mapped, named_items, tensors

_MASKING = -1e4  # what stands in additive masks for minus infinity is this or less


def flow_gradient(q: ScoringContext) -> tuple[dict[str, Tensor], float]:
    """Return dR/d|w| per name, and the sum of the outputs' absolute values (R where there is no sign).

    R is the sum of all floating-point outputs. Raises EvidenceError where the model cannot be called so.
    """
    if "flow call" not in q.memo:
        q.memo["flow call"] = _call_of_ones(q)
    args, kwargs = call_of(q.memo["flow call"])
    try:
        return _gradient(q, args, kwargs)
    except PruneryError:
        raise
    except Exception as error:
        run_quietly(q, stand_ins_of(q))  # raises too if it is the example that is wrong
        raise EvidenceError(
            "evidence 'flow_grad' for the criterion",
            "the model runs on the example, but not as this criterion (SynFlow) runs it: in float64, weights "
            f"in absolute value, ones in place of the data. That raises {summary(error)}",
            "let the model's forward take float64 (no kernel or check for one type only), score on "
            "device='cpu', or choose another criterion",
        ) from error


def _gradient(
    q: ScoringContext, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[dict[str, Tensor], float]:
    buffers = {id(buffer) for buffer in q.model.buffers()}
    stand_ins = {key: absolute(tensor, key in buffers) for key, tensor in stand_ins_of(q).items()}
    weights = weights_among(stand_ins, q)
    with eval_mode(q.model), InFloat64(), running(q, stand_ins) as model:
        outputs = list(outputs_of(model(*args, **kwargs)))
        if not outputs:
            raise lacks(
                "a floating-point tensor in the model's output",
                "return tensors, in mappings, tuples, lists or dataclasses if there are several",
            )
        size = sum(float(output.detach().abs().sum()) for output in outputs)
        sums = [output.sum() for output in outputs]
        return gradients(sum(sums[1:], sums[0]), weights), size


def absolute(tensor: Tensor, may_mask: bool = False) -> Tensor:
    """Return |tensor| in float64; indices stay as they are, and masks added to scores if it may be one."""
    if tensor.is_complex():
        return tensor.abs().to(torch.complex128)
    if not tensor.is_floating_point():
        return tensor
    return tensor.double() if may_mask and is_additive_mask(tensor) else tensor.double().abs()


def is_additive_mask(tensor: Tensor) -> bool:
    """Return whether a floating-point tensor holds minus infinity, or only 0 and what stands for it."""
    if (
        tensor.layout is not torch.strided
        or tensor.is_nested
        or not tensor.numel()
        or tensor.amin() > _MASKING
    ):
        return False
    return bool((tensor == -torch.inf).any()) or bool(((tensor == 0) | (tensor <= _MASKING)).all())


def ones(value: Any) -> Any:
    """Return `value` with ones (float64) in place of its data: of floating-point tensors with an axis.

    Masks that are added to scores, and single numbers (a temperature, a time), keep their values.
    """
    return mapped(_ones, value)


def _ones(tensor: Tensor) -> Tensor:
    if tensor.is_complex():
        return torch.ones_like(tensor, dtype=torch.complex128)
    if not tensor.is_floating_point():
        return tensor
    if not tensor.ndim or is_additive_mask(tensor):
        return tensor.double()
    if tensor.layout is torch.strided and not tensor.is_nested:
        return torch.ones_like(tensor, dtype=torch.float64)
    tensor = tensor.detach().to(torch.float64, copy=True)  # sparse or ragged: ones where it has values
    (tensor if tensor.is_nested else tensor._values() if tensor.is_sparse else tensor.values()).fill_(1)
    return tensor


def outputs_of(value: Any) -> Iterator[Tensor]:
    """Yield every floating-point tensor in a model's output, each once.

    The entry `loss` of a mapping that has others is none: it is a function of the labels.
    """
    seen: set[int] = set()
    for tensor in _leaves(value):
        if id(tensor) not in seen and (tensor.is_floating_point() or tensor.is_complex()):
            seen.add(id(tensor))
            yield tensor.real if tensor.is_complex() else tensor


def _leaves(value: Any) -> Iterator[Tensor]:
    if isinstance(value, Tensor):
        yield value
    elif (named := named_items(value)) is not None:
        for key, item in named.items():
            if key != "loss" or len(named) == 1:
                yield from _leaves(item)
    elif isinstance(value, SEVERAL):
        for item in value:
            yield from _leaves(item)


def _call_of_ones(q: ScoringContext) -> Any:
    """Return the input of ones: one example where that says the same as all of them, else as it was given.

    The first axis is that of the examples if two equal ones have twice the gradient of one. In sequences
    (time, batch, ...) it is not, and a mask (time, time) has no such axis.
    """
    inputs, labels = (q.example, None) if q.example is not None else first_batch(q)
    if (kind := _object_with_tensors(inputs)) is not None:
        what = f"an example whose tensors it can replace by ones (it got an object of type {kind})"
        raise lacks(what, "wrap the model in a module that takes tensors, or choose another criterion")
    every = ones(_on(inputs, q.where()))
    sizes = [tensor.shape[0] if tensor.ndim else 0 for tensor in tensors(every)]
    packed = any(isinstance(item, PackedSequence) for item in _items(every))
    packed |= any(tensor.layout is not torch.strided or tensor.is_nested for tensor in tensors(every))
    if packed or len(set(sizes)) != 1 or sizes[0] < 2:
        return every
    one = mapped(lambda tensor: tensor[:1], every)
    return one if _counts(every, labels) or _is_one_of_equals(q, one) else every


def _object_with_tensors(value: Any, depth: int = 3) -> str | None:
    """Return the type of an object in `value` that holds floating-point tensors out of reach, or None."""
    if isinstance(value, Tensor | PackedSequence) or not depth:
        return None
    named = named_items(value)
    items = named.values() if named is not None else value if isinstance(value, SEVERAL) else None
    if items is not None:
        return next((kind for item in items if (kind := _object_with_tensors(item, depth)) is not None), None)
    held = list(getattr(value, "__dict__", {}).values())
    real = any(tensor.is_floating_point() for tensor in tensors(held))
    return type(value).__name__ if real or _object_with_tensors(held, depth - 1) else None


def _on(inputs: Any, where: torch.device) -> Any:
    args, kwargs = call_on(inputs, where)
    return kwargs or args


def _items(every: Any) -> list[Any]:
    return list(every.values() if isinstance(every, Mapping) else every)


def _counts(every: Any, labels: Any) -> bool:
    """Whether the first axis of the one input, and no other, is as long as there are labels."""
    if not isinstance(labels, Tensor) or not labels.ndim or len(_items(every)) != 1:
        return False
    (only,) = _items(every)
    return isinstance(only, Tensor) and only.shape[0] == len(labels) and len(labels) not in only.shape[1:]


def _is_one_of_equals(q: ScoringContext, one: Any) -> bool:
    """Whether a call with an example twice has twice the gradient of a call with it once."""
    twice = mapped(lambda tensor: torch.cat([tensor, tensor]), one)
    try:
        (single, _), (double, _) = (_gradient(q, *call_of(inputs)) for inputs in (one, twice))
    except Exception:  # the first axis cannot be cut; if the whole cannot be run either, that is said later
        return False
    weights = {layer.name: layer.parameter.detach().to(q.where(), torch.float64) for layer in q.layers}
    pairs = [(w * single[name], w * double[name]) for name, w in weights.items()]
    scale = max(float(a.abs().sum()) for a, _ in pairs)
    return all(float((b - 2 * a).abs().sum()) <= 1e-6 * scale for a, b in pairs)


_CASTS = {"float", "half", "bfloat16"}
_NARROW = (torch.float32, torch.float16, torch.bfloat16)


class InFloat64(TorchFunctionMode):
    """Within it floating-point tensors are float64, whatever a model makes or casts to.

    A model that asks for float32, float16 or bfloat16 (`dtype=`, `.float()`) gets float64. Tensors that it
    holds without registering them are read as float64, and written as they are.
    """

    def __torch_function__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        name, kwargs = getattr(func, "__name__", ""), kwargs or {}
        if name in _CASTS and args and isinstance(args[0], Tensor) and not args[0].is_complex():
            func, args, kwargs = Tensor.double, args[:1], {}
        if name == "view" or "autocast" in name:  # reads the bits as another type; sets a mode
            return func(*args, **kwargs)
        in_place = _writes_first(name)
        kept = args[:1] if in_place else ()
        others = tuple(_widened(value) for value in args[len(kept) :])
        named = {key: value if key == "out" else _widened(value) for key, value in kwargs.items()}
        output = func(*kept, *others, **named)
        return output if in_place or "out" in named else _widened(output)


def _writes_first(name: str) -> bool:
    """Whether the function of this name writes to its first argument."""
    if name.startswith("__"):
        return name in ("__setitem__", "__set__") or (name.startswith("__i") and name not in ("__invert__",))
    return name.endswith("_")


def _widened(value: Any) -> Any:
    """`value` with float64 for each narrower floating-point type, and tensors in it cast to it."""
    if isinstance(value, Tensor):
        if value.dtype in _NARROW:
            return value.double()
        return value.to(torch.complex128) if value.dtype is torch.complex64 else value
    if isinstance(value, torch.dtype):
        return torch.float64 if value in _NARROW else value
    if type(value) in (tuple, list):
        return type(value)(_widened(item) for item in value)
    return value
