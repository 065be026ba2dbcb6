"""What lies out of reach: parameters with two or more axes that are not known to be weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunery.core.layers import Layer, matched
from prunery.core.weights import weight_names
from prunery.wrappers import adapters, named_modules

if TYPE_CHECKING:
    import torch
    from torch import nn

# names of parameters that are no matrices: positions, embeddings, tokens, biases, adapters
_ASIDE = re.compile(
    r"(?:^|_)(?:pos|pos_\w+|pos(?:ition|e)\w*|rel_(?:pos\w*|height|width|[hw])"
    r"|embed(?:ding|dings)?|emb|pe|tokens?|bias\w*)$|^lora_"
)


@dataclass(frozen=True)
class OutOfReach:
    """One parameter that is not pruned although it may be a matrix."""

    name: str
    shape: tuple[int, ...]
    count: int


@dataclass(frozen=True)
class Coverage:
    """How many parameters with two or more axes can be pruned, and which cannot.

    Embeddings, positional tables, norms, adapters, biases and tensors with one axis above 1 stand aside.
    """

    prunable: int
    out_of_reach: tuple[OutOfReach, ...] = ()

    @property
    def share(self) -> float:
        """Parameters out of reach / those and the prunable ones."""
        lost = sum(parameter.count for parameter in self.out_of_reach)
        return lost / (lost + self.prunable) if lost else 0.0

    def __str__(self) -> str:
        names = [p.name for p in self.out_of_reach]
        some = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
        return (
            f"{100 * self.share:.3g} % of the parameters with two or more axes cannot be pruned: {some}"
            if names
            else "every parameter with two or more axes can be pruned"
        )


def coverage_of(model: nn.Module, layers: Sequence[Layer], exclude: Sequence[str] = ()) -> Coverage:
    """Return what of the model is prunable and what is out of reach; what `exclude` matches is neither.

    layers: every prunable weight of the model, excluded ones too.
    """
    known = {id(layer.parameter) for layer in layers}
    lost = tuple(
        OutOfReach(name, tuple(parameter.shape), parameter.numel())
        for name, parameter in _matrices(model, known)
        if not any(matched(name, pattern) for pattern in exclude)
    )
    return Coverage(sum(layer.parameter.numel() for layer in layers), lost)


def _matrices(model: nn.Module, known: AbstractSet[int]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield (name, tensor) of what else could be a matrix: two axes above 1, nothing that stands aside."""
    modules, seen = list(named_modules(model)), set(known)
    seen.update(id(p) for _, m in modules if _is_table(m) for p in m._parameters.values())
    beside = adapters(modules)
    for module_name, module in modules:
        for short, p in module._parameters.items():
            if p is None or id(p) in seen or not (_is_matrix(p) or _is_packed(p, short, module)):
                continue
            seen.add(id(p))
            aside = _stands_aside(module) or module_name.startswith(beside) or _ASIDE.search(short)
            if not aside and short.rpartition("_")[0] not in weight_names(module):
                yield f"{module_name}.{short}".lstrip("."), p
        for short, b in module._buffers.items():
            if b is not None and id(b) not in seen and _is_packed_weight(short, b):
                seen.add(id(b))
                yield f"{module_name}.{short}".lstrip("."), b


def _is_packed(parameter: nn.Parameter, name: str, module: nn.Module) -> bool:
    """Whether a layer's weight holds integers, several in one: it may have any shape (4 bits: one axis)."""
    return not parameter.is_floating_point() and name in weight_names(module)


def _is_packed_weight(name: str, buffer: torch.Tensor) -> bool:
    """Whether a buffer holds weights as integers, several in one (as quantised layers' `qweight`)."""
    import torch

    real = buffer.is_floating_point() or buffer.is_complex() or buffer.dtype is torch.bool
    return "weight" in name and not real and _is_matrix(buffer)


def _is_table(module: nn.Module) -> bool:
    from torch import nn

    return isinstance(module, nn.Embedding | nn.EmbeddingBag)


def _is_matrix(parameter: torch.Tensor) -> bool:
    from torch.nn.parameter import UninitializedParameter

    return not isinstance(parameter, UninitializedParameter) and sum(n > 1 for n in parameter.shape) >= 2


def _stands_aside(module: nn.Module) -> bool:
    kind = type(module).__name__
    norm = kind.lower().endswith("norm") or hasattr(module, "normalized_shape")
    return norm or kind == "ParametrizationList"
