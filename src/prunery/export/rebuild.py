"""Gives a model, as its factory makes it, the sizes and values of one that was saved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor, nn

from prunery.errors import ContainerError
from prunery.graph.multihead import PrunedMultiheadAttention
from prunery.wrappers import named_modules

_REPLACED: dict[str, tuple[type[nn.Module], Callable[[Any], None]]] = {
    "PrunedMultiheadAttention": (nn.MultiheadAttention, PrunedMultiheadAttention.replace_)
}
"""Classes that `compact` gives to modules: the class before, and what changes one."""
_ASK = "a model from {}"
_FIT = "give the model that the same factory makes, before pruning"


def is_size(value: Any) -> bool:
    """Return whether an attribute is a whole number or a sequence of them."""
    if isinstance(value, tuple | list):
        return all(type(item) is int for item in value)
    return type(value) is int


def check_header(about: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Any) -> None:
    """Raise ContainerError where a header lacks something, or names tensors that are not there."""
    parts = {"modules": dict, "tied": dict, "hidden": list}
    wrong = [name for name, kind in parts.items() if not isinstance(about.get(name), kind)]
    if not wrong:
        known = [m if isinstance(m, dict) else {} for m in about["modules"].values()]
        whole = all(isinstance(m.get("class"), str) and isinstance(m.get("sizes"), dict) for m in known)
        wrong = [] if whole else ["modules"]
        wrong += sorted({*about["tied"].values(), *about["hidden"]} - tensors.keys())
    if wrong:
        found = f"its header has no whole {', '.join(wrong)}"
        raise ContainerError(_ASK.format(path), found, "give a whole file that prunery.save wrote")


def rebuild_(model: nn.Module, about: Mapping[str, Any], tensors: Mapping[str, Tensor], path: Any) -> None:
    """Give `model` the sizes and values of a file; it is as it was if they do not fit."""
    modules = dict(named_modules(model, once=False))
    _check_modules(modules, about["modules"], path)
    names = {**{name: name for name in tensors}, **about["tied"]}
    _check_tensors(modules, names, tensors, path)
    for name, saved in about["modules"].items():
        _resize_(modules[name], saved)
    placed: dict[str, Tensor] = {}
    used: set[int] = set()
    for name, first in names.items():
        module, short = modules[name.rpartition(".")[0]], name.rpartition(".")[2]
        if first not in placed:
            placed[first] = _in_place(module, short, tensors[first], used)
            used.add(id(placed[first]))
        registry: Any = module._parameters if short in module._parameters else module._buffers
        registry[short] = placed[first]
    for module in modules.values():
        if isinstance(module, nn.RNNBase):
            module._flat_weights = [getattr(module, name) for name in module._flat_weights_names]


def _check_modules(modules: Mapping[str, nn.Module], saved: Mapping[str, Any], path: Any) -> None:
    unknown = sorted(saved.keys() - modules.keys())
    if unknown:
        raise _unfit(path, f"the model has no module {unknown[0]!r}{_more(unknown)}")
    for name, about in saved.items():
        kind = type(modules[name])
        before = _REPLACED[about["class"]][0] if about["class"] in _REPLACED else None
        if kind.__name__ != about["class"] and kind is not before:
            raise _unfit(path, f"{name!r} is of class {kind.__name__}, in the file of {about['class']}")


def _check_tensors(
    modules: Mapping[str, nn.Module], names: Mapping[str, str], tensors: Mapping[str, Tensor], path: Any
) -> None:
    expected: dict[str, Tensor | None] = {}
    for name, module in modules.items():
        for short, tensor in (*module._parameters.items(), *module._buffers.items()):
            expected[f"{name}.{short}".lstrip(".")] = tensor
    missing = sorted(n for n, tensor in expected.items() if tensor is not None and n not in names)
    unexpected = sorted(names.keys() - expected.keys())
    if missing or unexpected:
        what = "lacks" if missing else "has, and the model does not,"
        raise _unfit(path, f"the file {what} {(missing or unexpected)[0]!r}{_more(missing or unexpected)}")
    for name, first in names.items():
        there, given = expected[name], tensors[first]
        if there is not None and there.ndim != given.ndim:
            raise _unfit(path, f"{name!r} has {given.ndim} axes in the file and {there.ndim} in the model")
        if there is not None and there.is_floating_point() != given.is_floating_point():
            raise _unfit(path, f"{name!r} is {given.dtype} in the file and {there.dtype} in the model")


def _resize_(module: nn.Module, saved: Mapping[str, Any]) -> None:
    """Give a module the class and the sizes of the saved one."""
    if type(module).__name__ != saved["class"]:
        _REPLACED[saved["class"]][1](module)
    for name, value in saved["sizes"].items():
        old = getattr(module, name, None)
        if is_size(old) and is_size(value) and not _same(old, value):
            setattr(module, name, type(old)(value) if isinstance(old, tuple | list) else value)


def _same(old: Any, value: Any) -> bool:
    return (
        list(old) == value
        if isinstance(old, tuple | list) and isinstance(value, list)
        else bool(old == value)
    )


def _in_place(module: nn.Module, short: str, value: Tensor, used: set[int]) -> Tensor:
    """Return the module's own parameter with another value, for an optimiser knows it; else a new tensor."""
    there = module._parameters.get(short)
    if there is None or there.is_meta or there.dtype != value.dtype or id(there) in used:
        return _like(module, short, value)
    there.data, there.grad = value.to(there.device), None
    return there


def _like(module: nn.Module, short: str, value: Tensor) -> Tensor:
    """Return a value as what the module registers: on its device, and a parameter that learns if it does."""
    there = module._parameters.get(short) if short in module._parameters else module._buffers[short]
    beside = there if there is not None else module._parameters.get("weight")
    value = value if beside is None else value.to(beside.device)
    if short not in module._parameters:
        return value
    learns = value.is_floating_point() and (beside is None or beside.requires_grad)
    return nn.Parameter(value, requires_grad=learns)


def _more(names: list[str]) -> str:
    return f" and {len(names) - 1} more" if len(names) > 1 else ""


def _unfit(path: Any, found: str) -> ContainerError:
    return ContainerError(_ASK.format(path), found, _FIT)
