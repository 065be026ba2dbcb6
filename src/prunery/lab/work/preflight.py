"""Checks that need the data and the model, made before any step runs.

The data set opens, the model builds and takes its images, patterns match, floors can be kept, every class
has the examples that a criterion is scored on. Nothing is trained; models stand on the meta device where
they can.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from prunery.core.context import ScoringContext
from prunery.core.criteria import criterion as criteria
from prunery.core.granularity import granularity as granularities
from prunery.core.layers import prunable
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.core.selection import floors
from prunery.data.batches import balanced
from prunery.data.corruptions import corruption
from prunery.data.images import ImageSet
from prunery.data.sets import load
from prunery.errors import ModelError, PruneryError, SparsityError
from prunery.lab.plan import Plan
from prunery.lab.spec import Spec
from prunery.lab.spec_parts import Method
from prunery.lab.store import Store
from prunery.lab.work.context import images, splits
from prunery.lab.work.provenance import check_begun
from prunery.models.build import build


def check(spec: Spec, plan: Plan, store: Store | None, *, data_dir: str | None = None) -> None:
    """Check that the study can run; raise the PruneryError of the first thing that is wrong.

    store: where it goes on, or None where it begins.
    data_dir: a local mirror that must hold the data set; its decoded copy is what the workers then read.
    """
    if data_dir is not None:
        load(spec.task.data, data_dir=data_dir)
    for name in spec.corruptions:
        corruption[name]  # a name that is not there raises
    data = images(spec.task.data)
    if store is not None:
        check_begun(plan, store)
    task = spec.task
    train = splits(task.data, task.validation, spec.seeds[0], task.classes, task.images).train
    model = _built(task.model, data, task.classes or data.classes)
    for method in spec.compared:
        with _named(method):
            _check_cuts(spec, method, model, data)
            per_class = criteria.bind(method.criterion).facts.get("examples_per_class")
            if per_class:
                balanced(train, per_class=per_class, seed=spec.seeds[0])


def _built(name: str, data: ImageSet, classes: int) -> nn.Module:
    """Return the model on the meta device if it can be built and called there, else on the CPU."""
    shape = data.shape
    try:
        model = build(name, shape=shape, classes=classes, device="meta")
        _check_output(name, model, shape, classes)
        return model
    except Exception:
        # a model may do what the meta device cannot: what counts is whether it works for real
        model = build(name, shape=shape, classes=classes, device="cpu")
        _check_output(name, model, shape, classes)
        return model


def _check_output(name: str, model: nn.Module, shape: tuple[int, int, int], classes: int) -> None:
    device = next(iter(model.parameters()), torch.empty(0)).device
    asked = f"model {name!r} on images of shape {shape}"
    try:
        with torch.no_grad():
            output = model.eval()(torch.zeros(2, *shape, device=device))
    except Exception as error:
        problem = f"calling it raises {type(error).__name__}: {error}"
        raise ModelError(asked, problem, "use a model that takes these images") from error
    size = tuple(getattr(getattr(output, "logits", output), "shape", ()))
    if size != (2, classes):
        problem = f"two images give outputs of shape {size}"
        raise ModelError(asked, problem, f"end the model in {classes} outputs per image, one per class")


def _check_cuts(spec: Spec, method: Method, model: nn.Module, data: ImageSet) -> None:
    layers = prunable(model, method.exclude)
    example = torch.zeros(1, *data.shape, device=layers[0].parameter.device)
    units = granularities.bind(method.granularity)(ScoringContext(model, layers, example=example))
    counts = [unit.count for unit in units]
    for sparsity in spec.sparsities_of(method):
        pools = scopes.bind(method.scope)(counts, [Target("*", sparsity)] * len(layers))
        for pool in pools:
            least = sum(floors([counts[member] for member in pool.members], method.floor))
            if least > pool.keep:
                names = ", ".join(layers[member].name for member in pool.members)
                raise SparsityError(
                    f"a floor of {method.floor:g} at sparsity {sparsity:g}",
                    f"the floors keep {least} units of {names}, the sparsity leaves {pool.keep}",
                    "lower the floor or the sparsity",
                )


@contextmanager
def _named(method: Method) -> Iterator[None]:
    """Errors inside say which method they are about."""
    try:
        yield
    except PruneryError as error:
        raise type(error)(f"method {method.name!r}: {error.asked}", error.found, error.do) from error
