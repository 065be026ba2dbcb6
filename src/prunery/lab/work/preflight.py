"""Checks that need the data and the model, made before any step runs.

The data set opens, the model builds and takes its images, patterns match, floors can be kept, every class
has the examples that a criterion is scored on. A user's model is tried out as it will run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunery import machine
from prunery.core.context import ScoringContext
from prunery.core.criteria import criterion as criteria
from prunery.core.granularity import granularity as granularities
from prunery.core.layers import all_layers, prunable
from prunery.core.outputs import without_outputs
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.core.selection import floors
from prunery.data.batches import balanced
from prunery.data.corruptions import corruption
from prunery.data.images import ImageSet
from prunery.data.sets import load
from prunery.errors import ModelError, PruneryError, SparsityError, SpecError, StoreError
from prunery.export.weights import load_weights_
from prunery.factories import as_ours, is_factory
from prunery.forms.engines import form
from prunery.lab import pretrained
from prunery.lab.estimate import alike
from prunery.lab.plan import Plan
from prunery.lab.plan import plan as plan_of
from prunery.lab.spec import Spec, from_plain
from prunery.lab.spec_parts import Method
from prunery.lab.store import Store
from prunery.lab.work.context import images, splits
from prunery.lab.work.provenance import check_begun
from prunery.lab.work.trial import seconds_by_precision, trial_plain
from prunery.lab.work.user_model import check_output, tried_out
from prunery.models.build import build
from prunery.models.names import Shape

_GLANCE = 1.0  # seconds of one training step, where a whole batch would take longer
_SLOWER = 1.05  # a smaller difference may be noise


def check(spec: Spec, plan: Plan, store: Store | None, *, data_dir: str | None = None) -> None:
    """Check that the study can run; raise the PruneryError of the first thing that is wrong.

    store: where it goes on, or None where it begins.
    data_dir: a local mirror that must hold the data set; its decoded copy is what the workers then read.
    """
    if data_dir is not None:
        load(spec.task.data, data_dir=data_dir)
    for name in spec.corruptions:
        corruption[name]  # a name that is not there raises
    for name in spec.forms:
        form[name]
    data = images(spec.task.data)
    if store is not None:
        check_begun(plan, store)
    task = spec.task
    train = splits(task.data, task.validation, spec.seeds[0], task.classes, task.images).train
    model = _built(spec, plan, data.shape, task.classes or data.classes)
    if task.weights is not None:
        load_weights_(model, _weights(task.weights, store), of=task.model)
    if spec.included:
        _check_usual(task.model, model)
    for method in spec.compared:
        with _named(method, task.model):
            _check_cuts(spec, method, model, data)
            per_class = criteria.bind(method.criterion).facts.get("examples_per_class")
            if per_class:
                balanced(train, per_class=per_class, seed=spec.seeds[0])
    check_precision(plan, store)


def check_plain(
    spec: dict[str, Any],
    store: str | None,
    data_dir: str | None,
    begun: bool,
    trial: dict[str, Any] | None = None,
) -> None:
    """Check as `check` does, from plain data; with `begun`, only that a store's steps still stand for it.

    trial: what `trial_plain` is given after the checks; one that cannot be made writes nothing.
    """
    asked = from_plain(spec)
    planned, there = plan_of(asked), None if store is None else Store(store, create=False)
    if not begun:
        check(asked, planned, there, data_dir=data_dir)
    elif there is not None:
        check_begun(planned, there)
    if trial is not None:
        with suppress(Exception):  # the run itself will say what is wrong
            trial_plain(**trial)


def check_precision(plan: Plan, store: Store | None) -> None:
    """SpecError where a study would begin to train in bfloat16 on a machine on which float32 is faster.

    A few steps of each training are timed in both. A study that a store has begun goes on anywhere: its
    results are those of its precision, however long they take.
    """
    half = [s for s in plan.steps.values() if s.args.get("training", {}).get("precision") == "bfloat16"]
    if store is not None and any(store.begun(step.key) for step in half):
        return
    for step in {alike(step): step for step in half if step.epochs}.values():
        seconds = seconds_by_precision(step, seconds=_GLANCE)
        if seconds["bfloat16"] > _SLOWER * seconds["float32"]:
            batch = f"a training step on {step.args['training']['batch']} images takes"
            both = f"{seconds['bfloat16']:.3g} s in bfloat16 and {seconds['float32']:.3g} s in float32"
            raise SpecError(
                f"precision bfloat16 for {step.args['model']!r}",
                f"{batch} {both} on this machine ({machine.processor()})",
                "leave precision out, or begin the study where it is faster: on a GPU, or a CPU with AMX or "
                "avx512_bf16",
            )


def _weights(weights: pretrained.Weights, store: Store | None) -> Path:
    """Return the file of the weights that the study starts from: the store's copy, or the user's."""
    if store is not None:
        with suppress(StoreError):  # there is no copy yet
            return pretrained.kept(store, weights.sha256)
    return pretrained.unchanged(weights)


def _built(spec: Spec, plan: Plan, shape: Shape, classes: int) -> nn.Module:
    name = spec.task.model
    if is_factory(name):
        trains = any(step.epochs for step in plan.steps.values())
        return tried_out(name, shape, classes, seed=spec.seeds[0], trains=trains)
    model = build(name, shape=shape, classes=classes, seed=spec.seeds[0])
    check_output(name, model, shape, classes)
    return model


def _check_usual(name: str, model: nn.Module) -> None:
    """ModelError for a model that only `include` knows weights of: what dense ones cost is not counted."""
    if not any(all_layers(model)):
        problem = "it has no Linear, convolution, attention or recurrent layer whose cost could be counted"
        raise ModelError(f"model {name!r}", problem, "make one of its products a layer, or use prunery.prune")


def _check_cuts(spec: Spec, method: Method, model: nn.Module, data: ImageSet) -> None:
    device = next(iter(model.parameters()), torch.empty(0)).device
    example = torch.zeros(1, *data.shape, device=device)
    include = method.include or ()
    spared = without_outputs(model, method.exclude, example, None, include)
    layers = prunable(model, spared, include=include)
    context = ScoringContext(model, layers, example=example, exclude=spared)
    units = granularities.bind(method.granularity)(context)
    counts = [unit.count for unit in units]
    for sparsity in spec.sparsities_of(method):
        pools = scopes.bind(method.scope)(counts, [Target("*", sparsity, unit) for unit in units])
        for pool in pools:
            least = sum(floors([counts[member] for member in pool.members], method.floor))
            if least > pool.keep:
                names = ", ".join(units[member].name for member in pool.members)
                raise SparsityError(
                    f"a floor of {method.floor:g} at sparsity {sparsity:g}",
                    f"the floors keep {least} units of {names}, the sparsity leaves {pool.keep}",
                    "lower the floor or the sparsity",
                )


@contextmanager
def _named(method: Method, model: str) -> Iterator[None]:
    """Say in errors which method they are about; what code of a user's raises becomes one of them."""
    rows = [choice.name for choice in (method.criterion, method.granularity, method.scope)]
    users = [name for name in (model, *rows) if is_factory(name)]
    asked, do = f"cutting with {', '.join(users)}", "correct it, or choose another"
    try:
        with as_ours(asked, do, ModelError) if users else nullcontext():
            yield
    except PruneryError as error:
        raise type(error)(f"method {method.name!r}: {error.asked}", error.found, error.do) from error
