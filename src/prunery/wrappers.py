"""Modules that only stand around another one: torch.compile's, DataParallel's and the like.

A parameter has one name, that of the bare model, whichever modules around it or inside it are wrapped.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from prunery.errors import MasksError, ModelError

if TYPE_CHECKING:
    import torch
    from torch import nn

_MARKS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module", "_forward_module")
"""Names that only a wrapper gives to the module in it."""
_KINDS = {"DataParallel", "DistributedDataParallel", "AveragedModel", "DeepSpeedEngine"}
"""Classes, by name, that call the module in them `module`, as other modules may call a part of theirs."""
_PLAIN = "module"


def inside(module: nn.Module) -> str | None:
    """Return what `module` calls the module that it wraps, or None if it is no wrapper."""
    parts: Any = module._modules  # of TorchScript's modules it is no dict
    if not parts:
        return None
    kind: Any = type(module)
    return next((name for name in _inner_names(kind) if name in parts and parts[name] is not None), None)


@lru_cache(maxsize=512)
def _inner_names(kind: Any) -> tuple[str, ...]:
    """Return what modules of a class may call a module that they wrap."""
    kinds = {base.__name__ for base in kind.__mro__}
    return _MARKS if _KINDS.isdisjoint(kinds) else (*_MARKS, _PLAIN)


def unwrapped(model: nn.Module) -> nn.Module:
    """Return the bare model inside all wrappers around it, or `model` itself; wrapped parts of it stay."""
    while (name := inside(model)) is not None:
        model = model._modules[name]  # type: ignore[assignment]
    return model


def named_modules(
    model: nn.Module, name: str = "", *, once: bool = True, seen: set[nn.Module] | None = None
) -> Iterator[tuple[str, nn.Module]]:
    """Yield (name, module) as `model.named_modules()`, by the names of the bare model and without wrappers.

    once: a module under several names appears under the first one only. seen: the modules to leave out then.
    """
    model, seen = unwrapped(model), set() if seen is None else seen
    if once and model in seen:
        return
    seen.add(model)
    yield name, model
    for part, child in model._modules.items():
        if child is not None:
            yield from named_modules(child, f"{name}.{part}" if name else part, once=once, seen=seen)


def named_parameters(model: nn.Module, *, once: bool = False) -> Iterator[tuple[str, nn.Parameter]]:
    """Yield (name, parameter) for each name that a parameter has in the bare model; once: the first alone."""
    seen: set[nn.Parameter] = set()
    for name, module in named_modules(model, once=once):
        for short, parameter in module._parameters.items():
            if parameter is not None and not (once and parameter in seen):
                seen.add(parameter)
                yield (f"{name}.{short}" if name else short), parameter


def adapters(modules: Iterable[tuple[str, nn.Module]]) -> tuple[str, ...]:
    """Return the beginnings of the names of adapters: `lora_...`, and what hangs beside a `base_layer`.

    Likewise of what peft keeps of a layer that it trains a copy of (`original_module`).
    """
    return tuple(
        f"{name}.{child}".lstrip(".")
        for name, module in modules
        for child, _ in module._modules.items()
        if child.startswith("lora_")
        or ("base_layer" in module._modules and child != "base_layer")
        or ("modules_to_save" in module._modules and child == "original_module")
    )


def route(model: nn.Module, name: str) -> list[str]:
    """Return the attributes that lead from `model` to the parameter called `name`, wrappers included.

    A name made on a wrapped model leads to the bare model's parameter too. Raises AttributeError when no
    parameter has the name.
    """
    return _found(model, name)[0]


def parameter_at(model: nn.Module, steps: list[str]) -> nn.Parameter:
    """Return the parameter that the attributes lead to; AttributeError where there is none.

    ModelError: it is there, and not a plain tensor.
    """
    *parts, last = steps
    module: Any = model
    for part in parts:
        module = getattr(module, part)
    return _checked(_own_parameter(module, last), steps)


def _checked(parameter: nn.Parameter, steps: list[str]) -> nn.Parameter:
    if (kind := wrapping(parameter)) is not None:
        do = "apply masks before the model is sharded or quantised"
        raise ModelError(f"the parameter {'.'.join(steps)!r}", f"it is a {kind}, no plain tensor", do)
    return parameter


def _own_parameter(module: Any, name: str) -> nn.Parameter:
    own = getattr(module, "_parameters", {})  # TorchScript's has no `get`, and its modules no `get_parameter`
    if name not in own or own[name] is None:
        raise AttributeError(name)
    parameter: nn.Parameter = own[name]
    return parameter


def wrapping(tensor: torch.Tensor) -> str | None:
    """Return the class of a tensor that wraps others (sharded, quantised), or None for a plain one."""
    return _wrapping_kind(type(tensor))


@lru_cache(maxsize=512)
def _wrapping_kind(kind: type) -> str | None:
    wraps = hasattr(kind, "__tensor_flatten__") and hasattr(kind, "__tensor_unflatten__")
    return kind.__name__ if wraps else None


def _found(model: nn.Module, name: str) -> tuple[list[str], nn.Parameter]:
    """Return the attributes that lead to the parameter, as `route` does, and the parameter."""
    try:
        return _way(model, name)
    except AttributeError:
        if _PLAIN not in model._modules:
            raise
    inner: Any = model._modules[_PLAIN]  # a wrapper of another kind
    steps, parameter = _way(inner, name)
    return [_PLAIN, *steps], parameter


def _way(model: nn.Module, name: str) -> tuple[list[str], nn.Parameter]:
    steps: list[str] = []
    *parts, last = name.split(".")
    module = _entered(model, steps)
    for part in parts:
        children: Any = module._modules
        child = children[part] if part in children else getattr(module, part, None)
        if child is not None:
            steps.append(part)
            module = _entered(child, steps)
        elif part not in (*_MARKS, _PLAIN):
            raise AttributeError(part)
    return [*steps, last], _own_parameter(module, last)


def _entered(module: nn.Module, steps: list[str]) -> nn.Module:
    while (name := inside(module)) is not None:
        steps.append(name)
        module = module._modules[name]  # type: ignore[assignment]
    return module


def parameter_of(model: nn.Module, name: str) -> nn.Parameter:
    """Return the parameter called `name`, also where wrappers stand around the model or a part of it."""
    try:
        steps, parameter = _found(model, name)
        return _checked(parameter, steps)
    except AttributeError:
        found = f"{type(model).__name__} has no parameter of that name"
        do = "use the masks with the model that they were made for"
    raise MasksError(f"the mask of {name!r}", found, do)


def names_by_parameter(model: nn.Module, modules: Sequence[Any]) -> dict[int, list[str]]:
    """Return every name of each parameter by its id: a tied one has several, an embedding's among them.

    modules: those that `named_modules` yields, which the caller has already.
    """
    names: dict[int, list[str]] = {}
    bare = len(modules) == sum(1 for _ in model.modules())
    longer = () if bare else model.named_parameters(remove_duplicate=False)
    for name, tensor in (*named_parameters(model), *longer):
        names.setdefault(id(tensor), []).append(name)
    return names
