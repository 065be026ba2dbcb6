"""What can be pruned, and what lives or dies together.

A `Layer` is one prunable weight of a model. A granularity turns layers into `UnitSet`s: each says how many
units it has, and which slices of which parameters each unit owns. One `UnitSet` drives scoring, masking and
counting, so the three cannot disagree.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from math import prod
from typing import TYPE_CHECKING

from prunery.errors import ChoiceError, ModelError, PatternError
from prunery.table import Table

if TYPE_CHECKING:
    import torch
    from torch import nn

    from prunery.core.evidence import Question

granularity = Table("granularity")

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
            name = f"{module_name}.{short}" if module_name else short
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


@dataclass(frozen=True)
class Member:
    """The slices of one parameter that the units of a set own.

    The parameter is viewed as `view`; unit i owns the slice at index i, flattened, of `axes`.
    axes None: every element is a unit of its own.
    """

    name: str
    shape: tuple[int, ...]
    view: tuple[int, ...] = ()
    axes: tuple[int, ...] | None = None
    counted: bool = True

    def expand(self, keep: torch.Tensor) -> torch.Tensor:
        """The mask shaped like the parameter, from keep of shape (units,)."""
        if self.axes is None:
            return keep.view(self.shape)
        sizes = [n if axis in self.axes else 1 for axis, n in enumerate(self.view)]
        return keep.view(sizes).expand(self.view).reshape(self.shape)

    def reduce(self, values: torch.Tensor, how: Callable[..., torch.Tensor]) -> torch.Tensor:
        """One value per unit, shape (units,), from values shaped like the parameter."""
        if self.axes is None:
            return values.reshape(-1)
        others = [axis for axis in range(len(self.view)) if axis not in self.axes]
        return how(values.reshape(self.view), others).reshape(-1)


@dataclass(frozen=True)
class UnitSet:
    """The units of one layer: how many, and what each owns. The first member is the one that is scored."""

    layer: Layer
    count: int
    members: tuple[Member, ...]
    norm: str | None = None  # how scores of weights become the score of a unit; None: they are the same


@granularity.add(source="LeCun et al. 1990 (unstructured)")
def weight(question: Question) -> list[UnitSet]:
    """One unit per weight."""
    return [
        UnitSet(layer, layer.parameter.numel(), (Member(layer.name, tuple(layer.parameter.shape)),))
        for layer in question.layers
    ]


@granularity.add(source="Li et al. 2017, section 3.1 (filters by L1 norm)")
def filter(question: Question, *, norm: str = "l1") -> list[UnitSet]:
    """One unit per output filter: a row of a Linear, an output channel of a convolution.

    A removed filter's bias and the scale and shift of the batch norm that follows it go too; they are
    masked, and not counted. norm "l1": the sum of the scores (the L1 norm where the score is the
    magnitude); "l2": the root of the sum of their squares.
    """
    from prunery.core.norms import followers

    if norm not in ("l1", "l2"):
        raise ChoiceError(f"norm {norm!r} of granularity 'filter'", "it is neither", "choose 'l1' or 'l2'")
    after = followers(question)
    sets = []
    for layer in question.layers:
        scored = _filters_of(layer)
        count = prod(scored.view[axis] for axis in scored.axes or ())
        riders = [*_bias_of(layer, count), *after.get(layer.name, [])]
        riders = [name for name in riders if not any(matched(name, p) for p in question.exclude)]
        others = tuple(Member(name, (count,), (count,), (0,), counted=False) for name in riders)
        sets.append(UnitSet(layer, count, (scored, *others), norm))
    return sets


def _filters_of(layer: Layer) -> Member:
    shape = tuple(layer.parameter.shape)
    if not getattr(layer.module, "transposed", False):
        return Member(layer.name, shape, shape, (0,))
    groups = int(layer.module.groups)  # type: ignore[arg-type]
    view = (groups, shape[0] // groups, *shape[1:])  # (group, in per group, out per group, kernel ...)
    return Member(layer.name, shape, view, (0, 2))


def _bias_of(layer: Layer, count: int) -> list[str]:
    name = layer.name.replace("weight", "bias")  # in_proj_weight -> in_proj_bias, weight_ih_l0 -> bias_ih_l0
    own = dict(layer.module.named_parameters(recurse=False))
    bias = own.get(name.rpartition(".")[2])
    return [name] if bias is not None and tuple(bias.shape) == (count,) else []
