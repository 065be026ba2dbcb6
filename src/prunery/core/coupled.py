"""Units that are coupled across layers: channels, heads of attention, hidden units of recurrent layers.

They are read from the graph (see `prunery.graph`). A unit owns the rows that make it, the columns that read
it, and what rides along: biases, scales and shifts of norms.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from prunery.core.context import ScoringContext, errors_are_ours, example_of, moved
from prunery.core.layers import Layer, matched
from prunery.core.units import Member, UnitSet
from prunery.errors import ChoiceError, EvidenceError, ModelError
from prunery.graph.coupling import Graph, Group, Slices, graph_of

if TYPE_CHECKING:
    from collections.abc import Mapping

NORMS = ("l1", "l2", "mean", "max")


def coupled_sets(
    context: ScoringContext, kinds: Sequence[str], *, norm: str, even: bool, multiple: int
) -> list[UnitSet]:
    """Return a unit set for each group of the graph that is of one of the kinds and may lose units.

    Left out are groups that must stay, those whose outputs a layer that is excluded makes, and those of which
    no weight is in play. ModelError: no group is left; it gives the reasons.
    """
    check_norm(norm)
    if not isinstance(multiple, int) or isinstance(multiple, bool) or multiple < 1:
        raise ChoiceError(f"multiple={multiple!r}", "it is no number of units", "give, say, 8")
    graph = graph_of_context(context)
    layers = {layer.name: layer for layer in context.layers}
    reasons: dict[str, str] = {}
    sets = []
    for group in graph.groups:
        if group.kind not in kinds:
            continue
        why = _why_it_stays(group, layers, context)
        if why:
            reasons[group.name] = why
        else:
            sets.append(_unit_set(group, layers, context, norm=norm, even=even, multiple=multiple))
    if not sets:
        raise _nothing_to_remove(kinds, reasons)
    return sets


def graph_of_context(context: ScoringContext) -> Graph:
    """Return the graph of the context's model on its example; worked out once for all cuts of a call."""
    if context.example is None and context.batches is None:
        do = "pass example=, what the model is called with (a tensor, tuple or dict)"
        raise EvidenceError("the channels of the model", "no example was given to read them from", do)
    if "graph" not in context.memo:
        example = moved(example_of(context), context.where())
        with errors_are_ours("the graph of the model"):
            context.memo["graph"] = graph_of(context.model, example)
    graph: Graph = context.memo["graph"]
    return graph


def _why_it_stays(group: Group, layers: Mapping[str, Layer], context: ScoringContext) -> str:
    """Return why a group loses no units; empty if it may."""
    if group.pinned:
        return "; ".join(group.pinned)
    if group.count < 2:
        return "it is one unit"
    made_by = [s.name for s in group.slices if not s.reads and _is_matrix(s, context)]
    excluded = [n for n in made_by if n not in layers and any(matched(n, p) for p in context.exclude)]
    if excluded:
        return f"{', '.join(excluded)} is excluded"
    return "" if any(name in layers for name in made_by) else f"{', '.join(made_by)} is not in play"


def _is_matrix(slices: Slices, context: ScoringContext) -> bool:
    tensor = context.model.get_parameter(slices.name) if slices.name in _parameters(context) else None
    return tensor is not None and tensor.ndim > 1


def _parameters(context: ScoringContext) -> Mapping[str, torch.nn.Parameter]:
    if "parameters" not in context.memo:
        from prunery.wrappers import named_parameters

        context.memo["parameters"] = dict(named_parameters(context.model))
    parameters: Mapping[str, torch.nn.Parameter] = context.memo["parameters"]
    return parameters


def _unit_set(
    group: Group,
    layers: Mapping[str, Layer],
    context: ScoringContext,
    *,
    norm: str,
    even: bool,
    multiple: int,
) -> UnitSet:
    members = tuple(_members(group, layers, context))
    made_by = (s.name for s in group.slices if not s.reads and s.name in layers)
    own = tuple(layers[name] for name in dict.fromkeys(made_by))
    return UnitSet(group.name, group.count, members, own, norm, even, multiple)


def _members(group: Group, layers: Mapping[str, Layer], context: ScoringContext) -> Iterator[Member]:
    """Yield the slices of parameters that the units own; buffers follow when they are really removed."""
    parameters = _parameters(context)
    for slices in sorted(group.slices, key=lambda s: s.name != group.name or s.reads):
        if slices.name not in parameters:
            continue
        shape = tuple(parameters[slices.name].shape)
        weight = slices.name in layers
        order = torch.from_numpy(np.argsort(slices.unit, kind="stable")[int((slices.unit < 0).sum()) :])
        yield Member(slices.name, shape, shape, (slices.axis,), order=order, counted=weight, scored=weight)


def check_norm(norm: str) -> None:
    """Raise ChoiceError unless scores of weights can be put together so."""
    if norm not in NORMS:
        known = ", ".join(map(repr, NORMS))
        raise ChoiceError(f"norm {norm!r} of larger units", "there is none of that name", f"choose {known}")


def _nothing_to_remove(kinds: Sequence[str], reasons: Mapping[str, str]) -> ModelError:
    what = " or ".join(f"{kind}s" for kind in kinds)
    some = [f"{name}: {why}" for name, why in reasons.items()]
    found = "no group of them may lose any. " + " | ".join(some[:8]) if some else "the model has none"
    more = f" | and {len(some) - 8} more" if len(some) > 8 else ""
    return ModelError(
        f"{what} to remove",
        found + more,
        "see prunery.couplings(model, example), exclude less, or prune weights or filters",
    )
