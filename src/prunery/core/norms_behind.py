"""Which batch norm takes a layer's outputs as they are: its running mean can make up for a shift of these."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn


class NormsBehind:
    """What runs of a model have shown: of each layer the norms, of each norm the layers."""

    def __init__(self) -> None:
        self._last: dict[str, weakref.ref[Tensor]] = {}
        self._norms: dict[str, set[str]] = {}
        self._makers: dict[str, set[str | None]] = {}

    def __getitem__(self, layer: str) -> str | None:
        """Return the norm that took every output of the layer, and nothing else; None where there is none."""
        norms = self._norms.get(layer, set())
        norm = next(iter(norms)) if len(norms) == 1 else None
        return norm if norm is not None and self._makers[norm] == {layer} else None

    def made(self, layer: str, output: Any) -> None:
        """Note what a layer put out; attention puts out a tuple, which no norm takes."""
        if isinstance(output, Tensor):
            self._last[layer] = weakref.ref(output)

    def taken(self, norm: str, x: Tensor) -> None:
        """Note what a norm was called on."""
        maker = next((layer for layer, last in self._last.items() if last() is x), None)
        self._makers.setdefault(norm, set()).add(maker)
        if maker is not None:
            self._norms.setdefault(maker, set()).add(norm)


@contextmanager
def norms_behind(modules: dict[str, nn.Module], layers: Iterable[str]) -> Iterator[NormsBehind]:
    """Within it runs of the model tell which norms with running statistics stand behind the named modules."""
    found = NormsBehind()
    with ExitStack() as stack:
        for name in layers:
            stack.callback(modules[name].register_forward_hook(_made(found, name)).remove)
        for name, module in modules.items():
            if isinstance(module, nn.modules.batchnorm._NormBase) and module.running_mean is not None:
                stack.callback(module.register_forward_pre_hook(_taken(found, name)).remove)
        yield found


def _made(found: NormsBehind, name: str) -> Any:
    def note(module: nn.Module, args: Any, output: Any) -> None:
        found.made(name, output)

    return note


def _taken(found: NormsBehind, name: str) -> Any:
    def note(module: nn.Module, args: tuple[Any, ...]) -> None:
        if args:
            found.taken(name, args[0])

    return note
