"""Which parameters of a model are prunable weights, and how layers are named.

A `Layer` is one prunable weight of a model.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from prunery.core.validate import check_memory, hidden_weights_of, listed
from prunery.core.weights import weights_of
from prunery.errors import ModelError, PatternError
from prunery.wrappers import adapters, named_modules, named_parameters, names_by_parameter

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
    """Whether `pattern` (fnmatch) matches the parameter's name, or that of a module around it, or is one."""
    return any(name == pattern or fnmatchcase(name, pattern) for name in _names_of(parameter_name))


@dataclass(frozen=True)
class HiddenLayer:
    """A weight that cannot be pruned as it is: its parameter's name, and why."""

    name: str
    why: str

    def matches(self, pattern: str) -> bool:
        """Whether `pattern` (fnmatch) names this parameter, its module or a module around it."""
        return matched(self.name, pattern)


def prunable(model: nn.Module, exclude: Sequence[str] = (), *, include: Sequence[str] = ()) -> list[Layer]:
    """Return the prunable weights of `model` in the order of its modules, less those that `exclude` matches.

    Prunable: floating-point weights with two or more axes of Linear, Bilinear, Conv1-3d, ConvTranspose1-3d,
    MultiheadAttention and recurrent modules (subclasses too), and of GPT-2's Conv1D; and every such parameter
    that `include` matches (experts stacked in one parameter, a matrix that the model uses itself). Not
    prunable: what a subclass adds, and adapters beside a `base_layer`. Tied parameters appear once, under the
    first name. `exclude` and `include` hold fnmatch patterns on parameter or module names; "@output" is the
    last prunable layer.

    Raises PatternError for a pattern that matches nothing, or when nothing is left; ModelError where a
    weight in play is hidden behind a parametrization, is not initialised yet, or shares memory with another.
    """
    from torch import nn

    include = listed(include)
    return in_play(
        model, *(all_layers(model, include) if isinstance(model, nn.Module) else ([], [])), exclude
    )


def in_play(
    model: nn.Module, layers: Sequence[Layer], hidden: Sequence[HiddenLayer], exclude: str | Sequence[str]
) -> list[Layer]:
    """Return the layers that `exclude` leaves of all; raises as `prunable` does."""
    if not layers and not hidden:
        raise _none_in(model)
    excluded: set[str] = set()
    for pattern in listed(exclude):
        excluded |= _excluded_by(pattern, layers, hidden, model)
    for layer in hidden:
        if layer.name not in excluded:
            raise _hidden(layer)
    kept = [layer for layer in layers if layer.name not in excluded]
    if not kept:
        raise _all_excluded(exclude, len(layers) + len(hidden))
    check_memory(model, {id(layer.parameter) for layer in kept})
    return kept


def all_layers(model: nn.Module, include: Sequence[str] = ()) -> tuple[list[Layer], list[HiddenLayer]]:
    """Return every prunable weight in the order of modules, and the weights that cannot be seen."""
    modules = list(named_modules(model))
    names = names_by_parameter(model, modules)
    beside = adapters(modules)
    found: dict[int, Layer] = {}
    hidden: list[HiddenLayer] = []
    for module_name, module in modules:
        if module_name.startswith(beside):
            continue
        for short, parameter in _weights_in(module, module_name, include):
            name = f"{module_name}.{short}".lstrip(".")
            others = tuple(n for n in dict.fromkeys(names[id(parameter)]) if n != name)
            found.setdefault(id(parameter), Layer(name, module_name, module, parameter, others))
        hidden += [HiddenLayer(f"{module_name}.{n}".lstrip("."), why) for n, why in hidden_weights_of(module)]
    if include:
        _check_included(include, found.values(), model)
    return list(found.values()), hidden


def _weights_in(module: nn.Module, name: str, include: Sequence[str]) -> Iterator[tuple[str, torch.Tensor]]:
    """Yield the module's weights, and its other matrices that are asked for by name (biases by their own)."""
    yield from weights_of(module)
    if include:
        yield from _included_in(module, name, include)


def _included_in(
    module: nn.Module, module_name: str, include: Sequence[str]
) -> Iterator[tuple[str, torch.Tensor]]:
    weights = dict(weights_of(module))
    for short, p in module.named_parameters(recurse=False):
        name = f"{module_name}.{short}".lstrip(".")
        patterns = [name] if "bias" in short and name in include else [] if "bias" in short else include
        matrix = short not in weights and p.ndim >= 2 and p.numel() and p.is_floating_point()
        if matrix and any(matched(name, pattern) for pattern in patterns):
            yield short, p


def _excluded_by(
    pattern: str, layers: Sequence[Layer], hidden: Sequence[HiddenLayer], model: nn.Module
) -> set[str]:
    if pattern == OUTPUT:
        return {layers[-1].name} if layers else set()
    every: list[Layer | HiddenLayer] = [*layers, *hidden]
    matches = {layer.name for layer in every if layer.matches(pattern)}
    if not matches and not any(n == pattern or fnmatchcase(n, pattern) for n in _every_name(model)):
        raise unmatched("exclude", pattern, layers)
    return matches  # empty for a pattern that names only what is never pruned (norms, embeddings)


def unmatched(
    what: str, pattern: str, layers: Sequence[Layer], found: str = "it matches no layer"
) -> PatternError:
    """Return the error for a layer pattern that matches nothing; it shows names that exist."""
    some = ", ".join(layer.name for layer in layers[:6]) + (", ..." if len(layers) > 6 else "")
    return PatternError(f"{what} pattern {pattern!r}", found, f"match names such as: {some}")


def _check_included(include: Sequence[str], layers: Iterable[Layer], model: nn.Module) -> None:
    for pattern in include:
        if not any(layer.matches(pattern) for layer in layers):
            there = any(matched(name, pattern) for name, _ in named_parameters(model))
            raise PatternError(
                f"include pattern {pattern!r}",
                "no floating-point parameter that it matches has two or more axes"
                if there
                else "it matches no parameter",
                "match a parameter's name, as model.named_parameters() gives it",
            )


def _none_in(model: nn.Module) -> ModelError:
    return ModelError(
        "a model to prune",
        f"{type(model).__name__} has no prunable weight",
        "give one with Linear, convolution, attention or recurrent layers, or name parameters: include=[...]",
    )


def _all_excluded(exclude: Sequence[str], count: int) -> PatternError:
    return PatternError(
        f"exclude={exclude!r}",
        f"the patterns match all {count} prunable layers",
        "leave at least one layer to prune; exclude=() spares nothing, not even the output layer",
    )


def _hidden(layer: HiddenLayer) -> ModelError:
    remove = "remove it first (torch.nn.utils.parametrize.remove_parametrizations, prune.remove)"
    dense = "make it dense (to_dense)" if "sparse" in layer.why else remove
    dense = "prune the model before it is sharded or quantised" if "plain" in layer.why else dense
    do = "run the model once" if "initialised" in layer.why else f"{dense}, or exclude the layer"
    return ModelError(f"the weights {layer.name!r}", layer.why, do)


def _names_of(parameter_name: str) -> Iterator[str]:
    parts = parameter_name.split(".")
    return (".".join(parts[:i]) for i in range(len(parts), 0, -1))


def _every_name(model: nn.Module) -> Iterable[str]:
    yield from (name for name, _ in named_parameters(model))
    yield from (name for name, _ in model.named_buffers())
    yield from (name for name, _ in named_modules(model, once=False) if name)
