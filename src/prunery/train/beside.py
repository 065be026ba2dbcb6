"""The pruned network beside the dense one: what enters or leaves a layer in both, a batch at a time.

A run ends as soon as the layer has been reached, so that no more than one layer's tensors are held.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from typing import Any, Literal

import torch
from torch import Tensor, nn

from prunery.core.matrices import entering
from prunery.errors import ChoiceError, ModelError
from prunery.forward import no_trace
from prunery.wrappers import named_modules, unwrapped

Side = Literal["inputs", "outputs"]


class _ReachedError(Exception):
    """Ends a run of a model."""


def modules_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the modules of the bare model by name, once each."""
    return dict(named_modules(unwrapped(model)))


def call_order(model: nn.Module, names: Iterable[str], x: Tensor) -> dict[str, int]:
    """Return how often the model calls each named module on x, in the order of their first calls.

    Names of modules that it does not call are not in it.
    """
    modules, calls = modules_of(model), dict[str, int]()
    with ExitStack() as stack:
        for name in names:
            stack.callback(modules[name].register_forward_pre_hook(_counter(calls, name)).remove)
        with no_trace(model), torch.no_grad():
            model(x)
    return calls


def input_sizes(model: nn.Module, names: Iterable[str], x: Tensor) -> dict[str, int]:
    """Return how many elements enter each named module in its first call, for each example of x."""
    modules, sizes = modules_of(model), dict[str, int]()

    def noting(name: str) -> Any:
        def note(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            sizes.setdefault(name, entering(module, args, kwargs).numel() // len(x))

        return note

    with ExitStack() as stack:
        for name in names:
            hook = modules[name].register_forward_pre_hook(noting(name), with_kwargs=True)
            stack.callback(hook.remove)
        with no_trace(model), torch.no_grad():
            model(x)
    return sizes


def reached(model: nn.Module, module: nn.Module, x: Tensor, *, calls: int, side: Side) -> list[Tensor]:
    """Return what enters or leaves a module in each of its `calls` calls; the run ends after the last.

    ModelError: it is called less often than before.
    """
    found: list[Tensor] = []

    def enter(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        keep(entering(module, args, kwargs))

    def leave(_: nn.Module, args: tuple[Any, ...], output: Any) -> None:
        keep(output)

    def keep(value: Any) -> None:
        found.append(value.detach().clone() if calls > 1 else value.detach())
        if len(found) == calls:
            raise _ReachedError

    if side == "inputs":
        handle = module.register_forward_pre_hook(enter, with_kwargs=True)
    else:
        handle = module.register_forward_hook(leave)
    try:
        with torch.no_grad():
            model(x)
    except _ReachedError:
        return found
    finally:
        handle.remove()
    raise ModelError(
        f"what a {type(module).__name__} is called with",
        f"the model calls it {len(found)} times and called it {calls} times before",
        "give a model that calls the same modules each time",
    )


def pairs(
    models: tuple[nn.Module, nn.Module], name: str, batches: Iterable[Tensor], *, calls: int, side: Side
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield (first, second): what enters or leaves the named module of two alike models, call by call.

    Both are read in eval mode and without a trace; they may be changed between two iterations over batches.
    """
    first, second = models
    modules = modules_of(first)[name], modules_of(second)[name]
    with no_trace(first), no_trace(second):
        for x in batches:
            one = reached(first, modules[0], x, calls=calls, side=side)
            other = reached(second, modules[1], x, calls=calls, side=side)
            yield from zip(one, other, strict=True)


def _counter(calls: dict[str, int], name: str) -> Any:
    def count(*_: Any) -> None:
        calls[name] = calls.get(name, 0) + 1

    return count


def listed(names: Sequence[str], most: int = 4) -> str:
    """Return the first names as a text, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def check_counts(**counts: int) -> None:
    """Raise ChoiceError for a number that is no whole number above 0."""
    for name, value in counts.items():
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise ChoiceError(f"{name}={value!r}", "it is no whole number above 0", "give, say, 100")
