"""Which layers make the model's output: their values leave the model without passing another layer."""

from __future__ import annotations

import glob
import warnings
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from torch import Tensor, nn

from prunery.core.context import ScoringContext, program_of
from prunery.core.layers import OUTPUT, Layer, all_layers
from prunery.errors import OutputWarning, PruneryError
from prunery.forward import memory_of
from prunery.graph.guess import guessed
from prunery.graph.origins import made_of
from prunery.graph.read_torch import RECURRENT, Call, Program


def without_outputs(
    model: nn.Module, exclude: str | Sequence[str], example: Any, batches: Any, include: Sequence[str] = ()
) -> tuple[str, ...]:
    """Return the patterns of `exclude` with "@output" replaced by the names of the layers that it means.

    They are found by a run on the example, or on a made-up one. Where the model cannot be called with that,
    "@output" stays: the layer registered last; OutputWarning names it.
    """
    patterns = (exclude,) if isinstance(exclude, str) else tuple(exclude)
    if OUTPUT not in patterns:
        return patterns
    layers, _ = all_layers(model, include)
    names = output_layers(model, example, batches, include)
    if layers and not names:
        given = example is not None or batches is not None
        found = "no layer's values leave the model" if given else "no example tells more"
        warnings.warn(
            f"{layers[-1].name} is taken for the output layer because the model registers it last "
            f"({found}); name the output layer in exclude" + ("" if given else ", or pass example="),
            OutputWarning,
            stacklevel=3,
        )
    spared = [glob.escape(name) for name in names] or [OUTPUT]
    return tuple(p for p in patterns if p != OUTPUT) + tuple(spared)


def output_layers(
    model: nn.Module, example: Any = None, batches: Any = None, include: Sequence[str] = ()
) -> list[str]:
    """Return the names of the weights whose products leave the model, in the order of modules.

    The heads that only training uses are among them, if the model is in train mode and runs so. Without an
    example or batches the model is called with made-up ones; empty where that is not possible.
    """
    layers, _ = all_layers(model, include)
    if not layers or (len(layers) == 1 and example is None and batches is None):
        return [layer.name for layer in layers]
    names: set[str] = set()
    for program in _programs(model, layers, example, batches):
        own = {program.aliases.get(layer.name, layer.name): layer.name for layer in layers}
        names |= {own[name] for name in _last_weights(program, own)}
    return [layer.name for layer in layers if layer.name in names]


def _programs(model: nn.Module, layers: Sequence[Layer], example: Any, batches: Any) -> Iterable[Program]:
    """Yield what the model computes in eval mode, and in the mode that it is in."""
    if example is None and batches is None:
        yield from guessed(model)
        return
    context = ScoringContext(model, layers, example=example, batches=batches)
    yield program_of(context)
    if any(module.training for module in model.modules()):
        with suppress(PruneryError):  # one example may be too few for batch norm
            yield program_of(context, training=True)


def _last_weights(program: Program, own: Mapping[str, str]) -> set[str]:
    """Return the weights that are met first on every way back from the output."""
    made = made_of(program)
    used = {id(tensor) for tensor in program.outputs}
    memory = {memory_of(tensor) for tensor in program.outputs}
    found: set[str] = set()
    for call in reversed(program.calls):
        outputs = call.outputs()
        written = call.writes and memory_of(call.args[0]) in memory
        if not written and used.isdisjoint(map(id, outputs)):
            continue
        weights = set().union(*(made.get(id(tensor), ()) for tensor in _weights(call))) & own.keys()
        if weights and not all(id(tensor) in made for tensor in outputs):
            found |= weights
            continue
        for tensor in call.tensors():
            used.add(id(tensor))
            memory.add(memory_of(tensor))
    return found


def _weights(call: Call) -> list[Tensor]:
    """Return what goes into a call; of a recurrent layer, only what its last part is computed with."""
    given = call.tensors()
    if call.name not in RECURRENT:
        return given
    several = next(value for value in call.args if isinstance(value, list | tuple) and len(value) > 2)
    layers = next(value for value in call.args if isinstance(value, int) and not isinstance(value, bool))
    return list(several[len(several) // layers * (layers - 1) :])
