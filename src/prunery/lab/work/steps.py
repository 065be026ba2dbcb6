"""What each kind of step does. Everything random comes from the step's seed."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunery.core.criteria import criterion as criteria
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.data.batches import balanced
from prunery.errors import EmptyLayerWarning, MasksError
from prunery.lab import numbers
from prunery.lab.environment import environment
from prunery.lab.plan import Step
from prunery.lab.record import Number, Record
from prunery.lab.store import Store
from prunery.lab.work import sanity
from prunery.lab.work.context import CHECKPOINT, StepContext
from prunery.lab.work.provenance import check_parents, origin
from prunery.measure.accuracy import collapse, evaluate
from prunery.measure.cost import training_macs
from prunery.measure.histogram import histograms
from prunery.measure.latency import classify_seconds
from prunery.measure.robustness import Robustness, robustness
from prunery.measure.size import size
from prunery.seeds import number
from prunery.train.batchnorm import estimate_
from prunery.train.loop import fit
from prunery.train.settings import Training

# Passes over an example that one round of a criterion makes, in forward passes: a gradient is a forward
# and a backward pass (3); a Hessian-gradient product is a gradient, and a gradient of one (3 + 9).
PASSES = {"grad": 3, "flow_grad": 3, "hessian_grad": 12}


def work(
    step: Step, store: Store, scratch: Path, *, report_progress: Callable[[float], None] = lambda epochs: None
) -> Record:
    """The record of the step, whose files now lie in `scratch`; whatever cannot be right raises."""
    torch.set_num_threads(int(step.args["threads"]))
    check_parents(step, store)
    context = StepContext(step, store, scratch, report_progress)
    made = KINDS[step.kind](context)
    return Record(
        key=step.key,
        kind=step.kind,
        args=step.args,
        parents=step.parents,
        environment=environment(device=str(context.device), origin=origin(step.args)),
        **made,
    )


def init(context: StepContext) -> dict[str, Any]:
    """Build the network."""
    began = time.perf_counter()
    context.save(context.built(context.seed), None)
    return {"cost": {"seconds": time.perf_counter() - began}}


def train(context: StepContext) -> dict[str, Any]:
    """Train the dense network."""
    model, _ = context.parent()
    return trained(context, model, None)


def recover(context: StepContext) -> dict[str, Any]:
    """Reset the survivors if asked, then train them under their masks."""
    model, masks = context.parent()
    if context.args.get("estimate"):
        return estimated(context, model, masks)
    if context.args["reset"] == "init":
        model, _ = context.model_of(context.step.parents[1])
    elif context.args["reset"] == "reinit":
        model = sanity.fresh(context.built, context.seed, phase=context.args["phase"])
    if masks is not None:
        masks.apply_(model)
    return trained(context, model, masks)


def estimated(context: StepContext, model: nn.Module, masks: Masks | None) -> dict[str, Any]:
    """Batch norm's statistics anew, no weight changed; the cost is that of the forward passes."""
    began = time.perf_counter()
    seen = estimate_(model, context.splits.train, seed=context.seed)
    seconds = time.perf_counter() - began
    context.save(model, masks)
    return {
        "notes": () if seen else ("there is no batch norm to estimate",),
        "cost": {"scoring_macs": seen * context.cost(model, masks).macs.dense, "seconds": seconds},
    }


def trained(context: StepContext, model: nn.Module, masks: Masks | None) -> dict[str, Any]:
    """What one training phase leaves; the trainings on a path draw their orders from different seeds."""
    training = Training.model_validate(context.args["training"])
    price = context.cost(model, masks)
    history = fit(
        model,
        context.splits,
        training,
        seed=number(context.seed, "phase", context.args["phase"]),
        masks=masks,
        checkpoint=context.store.partial(context.step.key) / CHECKPOINT,
        test_curves=bool(context.args.get("test_curves")),
        on_step=context.report_progress,
    )
    context.save(model, masks)
    macs = training_macs(price, history.samples)
    return {
        "numbers": (
            Number("chosen_epoch", history.chosen, "epochs"),
            *numbers.of_test_max(history.test_max, context.classes),
        ),
        "tables": {"epochs": [row.plain() for row in history.rows]},
        "notes": (history.note,) if history.note else (),
        "cost": {
            "epochs": len(history.rows),
            "samples": history.samples,
            "training_macs": macs,
            "training_macs_kept": macs * price.macs.kept // price.macs.dense,
            "seconds": history.seconds,
        },
    }


def pruned(context: StepContext) -> dict[str, Any]:
    """Cut the parent's network; the count must be exactly what was asked."""
    args, arm = context.args, context.args.get("sanity")
    model, before = context.parent()
    model.eval()
    batches, examples = scored_on(context)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayerWarning)  # the record notes each empty layer
        if arm == "shuffle":
            masks = sanity.shuffled(
                model, context.masks_of(context.step.parents[1]), before, args, context.example()
            )
        else:
            masks = cut(context, model, before, batches, {"invert": True} if arm == "invert" else None)
    seconds = time.perf_counter() - began
    check_exact(masks, args["scope"], args["sparsity"])
    context.save(None, masks)
    passes = 0 if arm == "shuffle" else scoring_passes(args)  # a draw scores nothing
    macs = passes * examples * context.cost(model).macs.dense if passes else 0
    layers = masks.layers()
    beside = sanity.agreement(arm, masks, context.masks_of(context.step.parents[1])) if arm else ()
    return {
        "numbers": (*numbers.of_masks(layers, args["sparsity"]), *beside),
        "tables": {"layers": [asdict(layer) for layer in layers]},
        "notes": (
            *(f"layer {layer.name} is empty" for layer in layers if not layer.kept),
            *outputs_gone(model, masks),
        ),
        "cost": {"scoring_macs": macs, "seconds": seconds},
    }


def outputs_gone(model: nn.Module, masks: Masks) -> list[str]:
    """A note where whole outputs of the last layer are removed, each of them a class."""
    name = prunable(model)[-1].name
    kept, total = masks.units.get(name, (0, 0))
    return (
        [f"{total - kept} of the {total} outputs are removed: exclude '@output' to keep them"]
        if kept < total
        else []
    )


def cut(
    context: StepContext,
    model: nn.Module,
    before: Masks | None,
    batches: list[tuple[torch.Tensor, torch.Tensor]] | None,
    options: dict[str, Any] | None,
) -> Masks:
    """The masks that the step's choices give; the model is pruned in place."""
    args = context.args
    return prune(
        model,
        args["sparsity"],
        **{axis: args[axis] for axis in ("criterion", "granularity", "scope", "schedule")},
        options=options,
        masks=before,
        example=context.example(),
        batches=batches,
        exclude=args["exclude"],
        floor=args["floor"],
        seed=context.seed,
    )


def scored_on(context: StepContext) -> tuple[list[tuple[torch.Tensor, torch.Tensor]] | None, int]:
    """The batch that a gradient criterion is scored on (None for others), and how many examples it reads."""
    per_class = criteria.bind(context.args["criterion"]).facts.get("examples_per_class")
    if per_class is None:
        return None, 1
    x, y = balanced(context.splits.train, per_class=per_class, seed=context.seed)
    return [(x.to(context.device), y.to(context.device))], len(y)


def scoring_passes(args: Mapping[str, Any]) -> int:
    """Forward passes over each example that the scoring of one prune step costs, in all its rounds."""
    from prunery.core.schedule import schedule

    needs = criteria.bind(args["criterion"]).facts["needs"].split()
    rounds = len(schedule.bind(args["schedule"])(args["sparsity"]))
    return rounds * sum(PASSES.get(kind, 0) for kind in needs)


def check_exact(masks: Masks, scope: Any, sparsity: float) -> None:
    """MasksError unless every pool keeps exactly what the sparsity leaves of it."""
    layers = masks.layers()
    pools = scopes.bind(scope)([x.units_total for x in layers], [Target("*", sparsity)] * len(layers))
    for pool in pools:
        kept = sum(layers[member].units_kept for member in pool.members)
        if kept != pool.keep:
            names = ", ".join(layers[member].name for member in pool.members)
            found = f"{kept} units are kept, {pool.keep} were asked for in {names}"
            raise MasksError(f"sparsity {sparsity:g}", found, "report this as a defect of the library")


def measure(context: StepContext) -> dict[str, Any]:
    """Count right answers on each split, and what the network costs. Nothing is chosen by what it reads."""
    model, masks = context.parent()
    began = time.perf_counter()
    parts = {
        "train": context.splits.train,
        "validation": context.splits.validation,
        "test": context.splits.test,
    }
    groups = context.superclasses
    counts = {
        name: evaluate(model, part.to(context.device), groups=groups)
        for name, part in parts.items()
        if len(part)
    }
    seconds = time.perf_counter() - began
    # labels aside, a second look at the test images: answers are not kept
    timed = classify_seconds(model, context.splits.test.to(context.device), repeats=1)
    found = context.cost(model, masks)
    hard = corrupted(context, model)
    trouble = collapse(counts["test"])
    return {
        "numbers": (
            *numbers.of_counts(counts),
            *numbers.of_cost(found),
            *numbers.of_size(size(model, masks)),
            *(numbers.of_robustness(hard, context.classes) if hard else ()),
        ),
        "tables": {
            "layers": numbers.layer_rows(found),
            "histograms": [asdict(found) for found in histograms(model, masks)],
            "predicted": numbers.predicted_rows(counts),
            **({"corruptions": [asdict(row) for row in hard.rows]} if hard else {}),
            "cost_notes": [{"note": note} for note in found.notes],
        },
        "notes": (f"test: {trouble}",) if trouble else (),
        "cost": {"seconds": seconds, "seconds_test": timed.median},
    }


def corrupted(context: StepContext, model: nn.Module) -> Robustness | None:
    """Counts on the test images under each corruption that the study asks for; None if it asks for none."""
    kinds = context.args.get("corruptions")
    test = context.splits.test.to(context.device)
    return robustness(model, test, kinds=kinds, seed=context.seed) if kinds else None


KINDS: dict[str, Callable[[StepContext], dict[str, Any]]] = {
    "init": init,
    "train": train,
    "prune": pruned,
    "recover": recover,
    "measure": measure,
}
