"""What the counts of a cost leave open, in sentences that name the parameters."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from torch import Tensor

from prunery.graph.uses.lineage import Watched
from prunery.measure.macs import Counted

_SHOWN = 8


def notes_on(counted: Counted, outside: Mapping[str, int]) -> tuple[str, ...]:
    """Return a sentence for each thing that the totals do not hold; `outside`: MACs by name, see `Cost`."""
    weights = counted.weights
    return (*_unused(weights), *_unknown(counted), *_outside(outside))


def _unused(weights: Iterable[Watched]) -> Iterator[str]:
    layers = [weight for weight in weights if weight.prunable]
    unused = [w for w in layers if w.uses is None and not (w.unknown or w.derived)]
    idle = [weight.name for weight in unused if not weight.entered]
    if idle:
        yield f"0 MACs for {', '.join(idle)}: the model never calls it"
    for operations, names in _by_operations((w, w.entered) for w in unused if w.entered):
        yield f"0 MACs for {names}: it goes into {operations}, and no product with the input uses it"
    partly = [w.name for w in layers if isinstance(w.uses, Tensor) and not w.uses.all()]
    if partly:
        yield f"0 MACs for a part of {_listed(partly)}: this example does not use it"


def _unknown(counted: Counted) -> Iterator[str]:
    weights = [weight for weight in counted.weights if weight.prunable or _is_matrix(weight)]
    for operations, names in _by_operations((w, w.unknown) for w in weights if w.unknown):
        yield f"MACs not known for {names}: nothing here counts how {operations} uses it"
    remade = [w.name for w in weights if w.remade or (w.derived and w.uses is None)]
    if remade:
        yield f"not counted: products of the input with what is computed from {_listed(remade)}"
    if counted.kernels_of_input:
        yield "not counted: convolutions with kernels that depend on the input"
    uneven = [w.name for w in weights if w.uses is not None and w not in counted.per_example]
    if uneven:
        yield f"MACs not known for {_listed(uneven)}: uses do not divide by {counted.examples} examples"


def _outside(macs: Mapping[str, int]) -> Iterator[str]:
    if macs:
        yield f"beside the total, {sum(macs.values()):,} MACs of what is not prunable: {_listed(list(macs))}"


def _is_matrix(weight: Watched) -> bool:
    return sum(n > 1 for n in weight.parameter.shape) > 1


def _by_operations(weights: Iterable[tuple[Watched, set[str]]]) -> Iterator[tuple[str, str]]:
    """For each set of operations, its names and those of the weights that go into them."""
    names: dict[str, list[str]] = {}
    for weight, operations in weights:
        names.setdefault(", ".join(sorted(operations)), []).append(weight.name)
    return ((operations, _listed(group)) for operations, group in names.items())


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
