"""What lies out of reach: parameters with two or more axes that are not known to be weights."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from prunery.core.layers import all_layers, matched
from prunery.core.weights import weight_names
from prunery.core.wrappers import adapters, named_modules

if TYPE_CHECKING:
    from torch import nn

# names of parameters that are no matrices: positions, embeddings, tokens, biases
_ASIDE = re.compile(r"(?:^|_)(?:pos\w*|rel_\w+|embed(?:ding|dings)?|emb|pe|tokens?|bias\w*)$")


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


def coverage_of(model: nn.Module, include: Sequence[str] = (), exclude: Sequence[str] = ()) -> Coverage:
    """Return what of the model is prunable and what is out of reach; what `exclude` matches is neither."""
    layers, _ = all_layers(model, include)
    known = {id(layer.parameter) for layer in layers}
    lost = tuple(
        OutOfReach(name, tuple(parameter.shape), parameter.numel())
        for name, parameter in _matrices(model)
        if id(parameter) not in known and not any(matched(name, pattern) for pattern in exclude)
    )
    return Coverage(sum(layer.parameter.numel() for layer in layers), lost)


def _matrices(model: nn.Module) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield (name, parameter) of what could be a matrix: two axes above 1, and nothing that stands aside."""
    from torch import nn
    from torch.nn.parameter import UninitializedParameter

    beside, seen = adapters(model), set[int]()
    tables = [m for m in model.modules() if isinstance(m, nn.Embedding | nn.EmbeddingBag)]
    seen.update(id(p) for m in tables for p in m.parameters(recurse=False))
    for module_name, module in named_modules(model):
        if _stands_aside(module) or module_name.startswith(beside):
            continue
        for short, p in module.named_parameters(recurse=False):
            if isinstance(p, UninitializedParameter) or id(p) in seen or _ASIDE.search(short):
                continue
            seen.add(id(p))
            if sum(n > 1 for n in p.shape) >= 2 and short.rpartition("_")[0] not in weight_names(module):
                yield f"{module_name}.{short}".lstrip("."), p


def _stands_aside(module: nn.Module) -> bool:
    kind = type(module).__name__
    return (
        kind.lower().endswith("norm") or kind == "ParametrizationList" or hasattr(module, "normalized_shape")
    )
