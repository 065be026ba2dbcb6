"""What a call may be given beside its choices, and errors that say what cannot be."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any

from prunery.core.weights import weight_names
from prunery.errors import ChoiceError, MasksError, ModelError, PatternError
from prunery.wrappers import named_parameters, wrapping

if TYPE_CHECKING:
    import torch
    from torch import nn


_STANDS_FOR = ("_orig", "_v")  # what torch's prune, spectral_norm and weight_norm keep instead


def device_of(
    model: nn.Module, masks: Any, exclude: Any, include: Any, options: Any, seed: Any, device: Any
) -> torch.device | None:
    """The device asked for, or None; raises a PruneryError for the first argument that cannot be."""
    from torch import nn

    if not isinstance(model, nn.Module):
        found = f"{getattr(model, '__name__', 'it')} is {_kind(model)}"
        raise ModelError("a model to prune", found, "give an instance of torch.nn.Module")
    if any(p.is_meta for p in model.parameters()):
        raise ModelError("a model to prune", "its weights are on the meta device", "load them first")
    if not (masks is None or hasattr(masks, "check")):
        found = f"they are {_kind(masks)}"
        raise MasksError("the masks to go on from", found, "give what prune or Masks.load returned")
    for word, patterns in (("exclude", exclude), ("include", include)):
        if not isinstance(patterns, str | Sequence) or not all(isinstance(p, str) for p in patterns):
            raise PatternError(f"{word}={patterns!r}", "it is no list of patterns", "give, say, ['head.*']")
    if not (options is None or isinstance(options, Mapping)):
        raise ChoiceError(f"options={options!r}", "they are no mapping", "give, say, {'temperature': 200}")
    if not isinstance(seed, int):
        raise ChoiceError(f"seed={seed!r}", f"it is {_kind(seed)}", "give a whole number")
    return None if device is None else _device(device)


def by_name(masks: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Return the masks in a dict; raises MasksError for what is no mapping."""
    if not isinstance(masks, Mapping):
        found = f"they are {_kind(masks)}"
        raise MasksError("masks", found, "give a mapping from parameter name to bool tensor")
    return dict(masks)


def listed(patterns: str | Sequence[str]) -> Sequence[str]:
    """Return the patterns as a sequence; a text is one pattern."""
    return (patterns,) if isinstance(patterns, str) else patterns


def _device(asked: Any) -> torch.device:
    import torch

    try:
        found = torch.device(asked)
        torch.empty(1, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        said = (str(error).splitlines() or [type(error).__name__])[0].rstrip(".")
        raise ChoiceError(f"device {asked!r}", said, "name one that this torch has, such as cpu") from error
    return found


def _kind(value: Any) -> str:
    return f"of type {type(value).__name__}"


def check_memory(model: nn.Module, in_play: AbstractSet[int]) -> None:
    """Raise ModelError where a weight lies in the memory of another parameter: a cut of one cuts the other.

    Likewise where elements of one weight lie in one place. in_play: ids of the parameters that may be cut.
    """
    parameters = list(named_parameters(model, once=True))
    for name, parameter in parameters:
        if id(parameter) in in_play and _is_expanded(parameter):
            found = "several of its elements lie in one place in memory (it was made with `expand`)"
            raise ModelError(
                f"the weight {name!r}", found, "give it memory of its own: p.data = p.data.clone()"
            )
    before: list[tuple[int, int, int, str, Any]] = []
    for storage, start, end, name, parameter in sorted(_spans(parameters), key=lambda span: span[:3]):
        before = [span for span in before if span[0] == storage and span[2] >= start]
        for *_, other_name, other in before:
            if in_play & {id(parameter), id(other)} and _overlap(parameter, other):
                raise ModelError(
                    f"the weights {other_name!r} and {name!r}",
                    "they are two parameters in one memory, and a cut of one cuts the other",
                    "make them one parameter (b.weight = a.weight), or give each a copy of its own",
                )
        before.append((storage, start, end, name, parameter))


def _spans(parameters: Sequence[tuple[str, nn.Parameter]]) -> Iterator[tuple[int, int, int, str, Any]]:
    """Yield (storage, first element, last element, name, parameter) where parameters share a storage."""
    import torch
    from torch.nn.parameter import UninitializedParameter

    by_storage: dict[int, list[tuple[str, Any]]] = {}
    for name, p in parameters:
        unseen = isinstance(p, UninitializedParameter) or p.is_meta or p.layout is not torch.strided
        unseen = unseen or wrapping(p) is not None
        if not unseen and p.numel():
            by_storage.setdefault(p.untyped_storage().data_ptr(), []).append((name, p))
    for storage, sharing in by_storage.items():
        for name, p in sharing if len(sharing) > 1 else ():
            last = sum((n - 1) * step for n, step in zip(p.shape, p.stride(), strict=True))
            start = int(p.storage_offset())
            yield storage, start, start + int(last), name, p


def _is_expanded(parameter: Any) -> bool:
    return any(n > 1 and step == 0 for n, step in zip(parameter.shape, parameter.stride(), strict=True))


def _overlap(one: torch.Tensor, other: torch.Tensor) -> bool:
    """Whether two views of one storage have an element in common."""
    import torch

    taken = torch.zeros(one.untyped_storage().nbytes() // one.element_size(), dtype=torch.bool)
    taken.as_strided(one.shape, one.stride(), one.storage_offset()).fill_(True)
    return bool(taken.as_strided(other.shape, other.stride(), other.storage_offset()).any())


def hidden_weights_of(module: nn.Module) -> Iterator[tuple[str, str]]:
    """Yield (name, why) of the module's own weights that cannot be seen."""
    import torch
    from torch.nn.parameter import UninitializedParameter

    for name in weight_names(module):
        weight = module._parameters.get(name)
        if isinstance(weight, UninitializedParameter):
            yield name, "it is not initialised"
        elif weight is not None and weight.layout is not torch.strided:
            yield name, "it is a sparse tensor"
        elif weight is not None and (kind := wrapping(weight)) is not None:
            yield name, f"it is a {kind}, no plain tensor"
        elif weight is None and is_replaced(module, name):
            yield name, "a parametrization, weight_norm or torch.nn.utils.prune stands in front of it"


def is_replaced(module: nn.Module, name: str) -> bool:
    """Return whether something stands in front of a parameter: the module computes it from others."""
    parametrized = name in getattr(module, "parametrizations", ())
    return parametrized or any(f"{name}{ending}" in module._parameters for ending in _STANDS_FOR)
