"""Which parameters of a model are prunable weights, and how layers are named.

A `Layer` is one prunable weight of a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from prunery.errors import MasksError, ModelError, PatternError

if TYPE_CHECKING:
    import torch
    from torch import nn


OUTPUT = "@output"


@dataclass(frozen=True)
class Layer:
    """One prunable weight: its parameter's name, its module, and the module's name."""

    name: str
    module_name: str
    module: nn.Module
    parameter: torch.Tensor
    aliases: tuple[str, ...] = ()  # the other names of a tied parameter

    def matches(self, pattern: str) -> bool:
        """Whether `pattern` (fnmatch) names this parameter, its module or a module around it."""
        return any(matched(name, pattern) for name in (self.name, *self.aliases))


def matched(parameter_name: str, pattern: str) -> bool:
    """Whether `pattern` (fnmatch) matches the parameter's name, or that of a module around it."""
    return any(fnmatchcase(name, pattern) for name in _names_of(parameter_name))


def prunable(model: nn.Module, exclude: Sequence[str] = ()) -> list[Layer]:
    """The prunable weights of `model` in the order of its modules, less those that `exclude` matches.

    Prunable: floating-point weights with two or more axes of Linear, Conv1-3d, ConvTranspose1-3d,
    MultiheadAttention and recurrent modules (subclasses too). Tied parameters appear once, under the first
    name. `exclude` holds fnmatch patterns on parameter or module names; "@output" is the last prunable layer.

    Raises PatternError for a pattern that matches nothing, or when nothing is left; ModelError where a
    weight is hidden behind a parametrization, or is not initialised yet.
    """
    from torch import nn

    layers = _all_layers(model) if isinstance(model, nn.Module) else []
    if not layers:
        raise _none_in(model)
    excluded: set[str] = set()
    for pattern in [exclude] if isinstance(exclude, str) else exclude:
        excluded |= _excluded_by(pattern, layers, model)
    kept = [layer for layer in layers if layer.name not in excluded]
    if not kept:
        raise _all_excluded(exclude, len(layers))
    return kept


def _excluded_by(pattern: str, layers: list[Layer], model: nn.Module) -> set[str]:
    if pattern == OUTPUT:
        return {layers[-1].name}
    matched = {layer.name for layer in layers if layer.matches(pattern)}
    if not matched and not any(fnmatchcase(n, pattern) for n in _every_name(model)):
        raise unmatched("exclude", pattern, layers)
    return matched  # empty for a pattern that names only what is never pruned (norms, embeddings)


def unmatched(what: str, pattern: str, layers: Sequence[Layer]) -> PatternError:
    """The error for a layer pattern that matches nothing; it shows names that exist."""
    some = ", ".join(layer.name for layer in layers[:6]) + (", ..." if len(layers) > 6 else "")
    return PatternError(f"{what} pattern {pattern!r}", "it matches no layer", f"match names such as: {some}")


def _none_in(model: nn.Module) -> ModelError:
    return ModelError(
        "a model to prune",
        f"{type(model).__name__} has no prunable weight",
        "give one with Linear, convolution, attention or recurrent layers",
    )


def _all_excluded(exclude: Sequence[str], count: int) -> PatternError:
    return PatternError(
        f"exclude={exclude!r}",
        f"the patterns match all {count} prunable layers",
        "leave at least one layer to prune",
    )


def _hidden(where: str) -> ModelError:
    return ModelError(
        f"the weights of layer {where!r}",
        "a parametrization, weight_norm or torch.nn.utils.prune stands in front of them",
        "remove it first (torch.nn.utils.parametrize.remove_parametrizations, prune.remove)",
    )


def _not_initialised(where: str) -> ModelError:
    return ModelError(f"the weights of layer {where!r}", "they are not initialised", "run the model once")


def _all_layers(model: nn.Module) -> list[Layer]:
    names: dict[int, list[str]] = {}  # a tied parameter has several, an embedding's among them
    for name, tensor in model.named_parameters(remove_duplicate=False):
        names.setdefault(id(tensor), []).append(name)
    found: dict[int, Layer] = {}
    for module_name, module in model.named_modules():
        for short, parameter in _weights_of(module, module_name):
            name = f"{module_name}.{short}".lstrip(".")
            others = tuple(n for n in names[id(parameter)] if n != name)
            found.setdefault(id(parameter), Layer(name, module_name, module, parameter, others))
    return list(found.values())


def _weights_of(module: nn.Module, module_name: str) -> Iterator[tuple[str, torch.Tensor]]:
    from torch import nn
    from torch.nn.parameter import UninitializedParameter

    convolution = nn.modules.conv._ConvNd
    kinds = (nn.Linear, convolution, nn.MultiheadAttention, nn.RNNBase, nn.modules.rnn.RNNCellBase)
    if not isinstance(module, kinds):
        return
    where = module_name or type(module).__name__
    if {"weight_orig", "weight_v"} & set(module._parameters) or hasattr(module, "parametrizations"):
        raise _hidden(where)
    for short, parameter in module.named_parameters(recurse=False):
        if isinstance(parameter, UninitializedParameter):
            raise _not_initialised(where)
        if parameter.ndim >= 2 and parameter.numel() and parameter.is_floating_point():
            yield short, parameter


def _names_of(parameter_name: str) -> Iterator[str]:
    parts = parameter_name.split(".")
    return (".".join(parts[:i]) for i in range(len(parts), 0, -1))


def _every_name(model: nn.Module) -> Iterable[str]:
    yield from (name for name, _ in model.named_parameters(remove_duplicate=False))
    yield from (name for name, _ in model.named_modules(remove_duplicate=False) if name)


_WRAPPERS = ("_orig_mod.", "module.")  # torch.compile, DataParallel


def parameter_of(model: nn.Module, name: str) -> nn.Parameter:
    """The parameter called `name`, also inside the wrappers of torch.compile and DataParallel."""
    for prefix in ("", *_WRAPPERS):
        try:
            return model.get_parameter(prefix + name)
        except AttributeError:
            continue
    found = f"{type(model).__name__} has no parameter of that name"
    raise MasksError(f"the mask of {name!r}", found, "use the masks with the model that they were made for")
