"""Filters as units: which slices of a layer's parameters, and of the norm behind it, one output owns."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from math import prod

from torch import nn
from torch.nn.modules.rnn import RNNCellBase

from prunery.core.context import ScoringContext
from prunery.core.layers import Layer, matched
from prunery.core.riders import riders_of
from prunery.core.units import Member, UnitSet
from prunery.core.validate import is_replaced
from prunery.core.weights import is_conv1d, weight_names
from prunery.errors import ModelError
from prunery.wrappers import named_modules

_RECURRENT = re.compile(r"weight_(ih|hh|hr)(.*)")


def filter_sets(context: ScoringContext, norm: str) -> list[UnitSet]:
    """Return a set of filters for each layer; the matrices of one recurrent layer share theirs."""
    _check_known(context.layers)
    groups: dict[str, list[Layer]] = {}
    for layer in context.layers:
        groups.setdefault(_group(layer), []).append(layer)
    scored_of, biases_of = {}, {}
    for name, layers in groups.items():
        scored = _hidden_units(layers) if _recurrent(layers[0]) else (outputs_of(layers[0]),)
        scored_of[name] = scored
        biases_of[name] = _biases(context.model, layers, scored[0], _count(scored[0]))
    others = riders_of(context, {x.name: outputs_of(x) for x in context.layers if not _recurrent(x)})
    sets = []
    for name, layers in groups.items():
        scored, biases = scored_of[name], biases_of[name]
        riders = [*biases.values(), *(x for x in others.get(layers[0].name, ()) if x.name not in biases)]
        riders = [rider for rider in riders if not any(matched(rider.name, p) for p in context.exclude)]
        sets.append(UnitSet(layers[0].name, _count(scored[0]), (*scored, *riders), tuple(layers), norm))
    return sets


def outputs_of(layer: Layer) -> Member:
    """Return the slices of a layer's weight that its outputs own."""
    shape = tuple(layer.parameter.shape)
    if is_conv1d(layer.module):
        return Member(layer.name, shape, shape, (1,))
    if not getattr(layer.module, "transposed", False):
        return Member(layer.name, shape, shape, (0,))
    groups = int(layer.module.groups)  # type: ignore[arg-type]
    view = (groups, shape[0] // groups, *shape[1:])  # (group, in per group, out per group, kernel ...)
    return Member(layer.name, shape, view, (0, 2))


def _count(member: Member) -> int:
    return prod(member.view[axis] for axis in member.axes or ())


def _short(layer: Layer) -> str:
    return layer.name.rpartition(".")[2]


def _recurrent(layer: Layer) -> bool:
    return isinstance(layer.module, nn.RNNBase | RNNCellBase)


def _group(layer: Layer) -> str:
    """Return what the layers have in common that share their units."""
    match = _RECURRENT.fullmatch(_short(layer)) if _recurrent(layer) else None
    return f"{layer.module_name}:{match[2]}" if match else layer.name


def _hidden_units(layers: Sequence[Layer]) -> tuple[Member, ...]:
    """Return the rows of each hidden unit in all gates of both matrices of one recurrent layer."""
    module = layers[0].module
    kinds = {match[1] for layer in layers if (match := _RECURRENT.fullmatch(_short(layer)))}
    if kinds != {"ih", "hh"}:
        projected = (
            "it has a projection (proj_size)" if "hr" in kinds else "only one of its matrices is in play"
        )
        raise ModelError(
            f"the hidden units of {layers[0].module_name or type(module).__name__!r}",
            projected,
            "exclude both matrices (weight_ih, weight_hh), or prune weights",
        )
    size = int(module.hidden_size)  # type: ignore[arg-type]
    return tuple(_gate_rows(layer.name, tuple(layer.parameter.shape), size) for layer in layers)


def _gate_rows(name: str, shape: tuple[int, ...], size: int, *, rides: bool = False) -> Member:
    view = (shape[0] // size, size, *shape[1:])
    return Member(name, shape, view, (1,), counted=not rides, scored=not rides)


def _biases(model: nn.Module, layers: Sequence[Layer], scored: Member, count: int) -> dict[str, Member]:
    """Return the biases beside the layers' weights by name; of a tied weight, those of all its modules."""
    riders: dict[str, Member] = {}
    for layer in [x for first in layers for x in (first, *_tied(model, first))]:
        short = _short(layer)
        stem, _, ending = short.rpartition("weight")  # in_proj_weight -> in_proj_bias, weight_ih -> bias_ih
        short_name = f"{stem}bias{ending}"
        name = f"{layer.name[: -len(short)]}{short_name}"
        bias = layer.module._parameters.get(short_name)
        if bias is None:
            if is_replaced(layer.module, short_name):
                raise _hidden_bias(name, layer.name)
        elif _recurrent(layer):
            riders[name] = _gate_rows(name, tuple(bias.shape), count, rides=True)
        elif tuple(bias.shape) == (count,):
            riders[name] = Member(name, (count,), (count,), (0,), counted=False, scored=False)
    return riders


def _tied(model: nn.Module, layer: Layer) -> Iterator[Layer]:
    """Yield the layers of other modules that have this weight, if its slices are their outputs as well."""
    modules = dict(named_modules(model)) if layer.aliases else {}
    for alias in layer.aliases:
        module_name, _, short = alias.rpartition(".")
        module = modules.get(module_name)
        if module is not None and module is not layer.module and short in weight_names(module):
            other = Layer(alias, module_name, module, layer.parameter)
            if _recurrent(layer) == _recurrent(other) and (
                _recurrent(layer) or outputs_of(layer).axes == outputs_of(other).axes
            ):
                yield other


def _hidden_bias(name: str, weight: str) -> ModelError:
    return ModelError(
        f"the filters of {weight!r}",
        f"a parametrization or torch.nn.utils.prune stands in front of {name!r}, which goes with them",
        f"remove it first, or exclude the layer (exclude=[{weight!r}])",
    )


def _check_known(layers: Sequence[Layer]) -> None:
    """Raise ModelError where a row of a weight is no output that could be removed by itself."""
    packed = [x.name for x in layers if isinstance(x.module, nn.MultiheadAttention)]
    if packed:
        raise ModelError(
            f"the filters of {', '.join(packed)}",
            "a row of attention's queries, keys or values is part of a head, not an output of its own",
            f"exclude={packed!r}, or prune weights",
        )
    unknown = [x.name for x in layers if _short(x) not in weight_names(x.module) or not _is_plain(x)]
    if unknown:
        raise ModelError(
            f"the filters of {', '.join(unknown)}",
            "which axis of these parameters holds the outputs is not known",
            "prune weights, or leave them out of include",
        )


def _is_plain(layer: Layer) -> bool:
    """Whether a weight has as many axes as its class gives it; a subclass may mix several into one."""
    module = layer.module
    if isinstance(module, nn.modules.conv._ConvNd):
        return layer.parameter.ndim == 2 + len(module.kernel_size)
    return not isinstance(module, nn.Linear) or layer.parameter.ndim == 2
