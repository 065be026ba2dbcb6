"""What a model is called with: a tensor, a tuple or list of arguments, or a mapping of keywords."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from torch import Tensor
from torch.nn.utils.rnn import PackedSequence


def call_of(example: Any) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """(args, kwargs) of the call: a mapping is keywords, a tuple or list arguments, anything else one."""
    if isinstance(example, Mapping):
        return (), dict(example)
    if isinstance(example, tuple | list) and not isinstance(example, PackedSequence):
        return tuple(example), {}
    return (example,), {}


def mapped(function: Callable[[Tensor], Tensor], value: Any) -> Any:
    """`value` with `function` applied to each tensor in it."""
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, PackedSequence):
        return PackedSequence(function(value.data), *value[1:])
    if isinstance(value, Mapping):
        return {key: mapped(function, item) for key, item in value.items()}
    if type(value) in (tuple, list):
        return type(value)(mapped(function, item) for item in value)
    return value


def tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in `value`, in order."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from tensors(item)
    elif isinstance(value, tuple | list):
        for item in value:
            yield from tensors(item)
