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
from prunery.core.masks import Masks
from prunery.core.scope import Target
from prunery.core.scope import scope as scopes
from prunery.core.step import prune
from prunery.core.units import prunable
from prunery.data.batches import balanced
from prunery.errors import EmptyLayerWarning, MasksError
from prunery.lab import numbers
from prunery.lab.environment import environment
from prunery.lab.plan import Step
from prunery.lab.record import Number, Record
from prunery.lab.store import Store
from prunery.lab.work import arms
from prunery.lab.work.bench import CHECKPOINT, Bench
from prunery.lab.work.origin import check_parents, origin
from prunery.measure.accuracy import collapse, evaluate
from prunery.measure.clock import classify_seconds
from prunery.measure.cost import training_macs
from prunery.measure.histogram import histograms
from prunery.measure.robust import Robustness, robustness
from prunery.measure.size import size
from prunery.seeds import number
from prunery.train.loop import fit
from prunery.train.norms import estimate_
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
    bench = Bench(step, store, scratch, report_progress)
    made = KINDS[step.kind](bench)
    return Record(
        key=step.key,
        kind=step.kind,
        args=step.args,
        parents=step.parents,
        environment=environment(device=str(bench.device), origin=origin(step.args)),
        **made,
    )


def init(bench: Bench) -> dict[str, Any]:
    """Build the network."""
    began = time.perf_counter()
    bench.save(bench.built(bench.seed), None)
    return {"cost": {"seconds": time.perf_counter() - began}}


def train(bench: Bench) -> dict[str, Any]:
    """Train the dense network."""
    model, _ = bench.parent()
    return trained(bench, model, None)


def recover(bench: Bench) -> dict[str, Any]:
    """Reset the survivors if asked, then train them under their masks."""
    model, masks = bench.parent()
    if bench.args.get("estimate"):
        return estimated(bench, model, masks)
    if bench.args["reset"] == "init":
        model, _ = bench.model_of(bench.step.parents[1])
    elif bench.args["reset"] == "reinit":
        model = arms.fresh(bench.built, bench.seed, phase=bench.args["phase"])
    if masks is not None:
        masks.apply_(model)
    return trained(bench, model, masks)


def estimated(bench: Bench, model: nn.Module, masks: Masks | None) -> dict[str, Any]:
    """Batch norm's statistics anew, no weight changed; the cost is that of the forward passes."""
    began = time.perf_counter()
    seen = estimate_(model, bench.splits.train, seed=bench.seed)
    seconds = time.perf_counter() - began
    bench.save(model, masks)
    return {
        "notes": () if seen else ("there is no batch norm to estimate",),
        "cost": {"scoring_macs": seen * bench.cost(model, masks).macs.dense, "seconds": seconds},
    }


def trained(bench: Bench, model: nn.Module, masks: Masks | None) -> dict[str, Any]:
    """What one training phase leaves; the trainings on a path draw their orders from different seeds."""
    training = Training.model_validate(bench.args["training"])
    price = bench.cost(model, masks)
    history = fit(
        model,
        bench.splits,
        training,
        seed=number(bench.seed, "phase", bench.args["phase"]),
        masks=masks,
        checkpoint=bench.store.partial(bench.step.key) / CHECKPOINT,
        test_curves=bool(bench.args.get("test_curves")),
        on_step=bench.report_progress,
    )
    bench.save(model, masks)
    macs = training_macs(price, history.samples)
    return {
        "numbers": (
            Number("chosen_epoch", history.chosen, "epochs"),
            *numbers.of_test_max(history.test_max, bench.classes),
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


def pruned(bench: Bench) -> dict[str, Any]:
    """Cut the parent's network; the count must be exactly what was asked."""
    args, arm = bench.args, bench.args.get("sanity")
    model, before = bench.parent()
    model.eval()
    batches, examples = scored_on(bench)
    began = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", EmptyLayerWarning)  # the record notes each empty layer
        if arm == "shuffle":
            masks = arms.shuffled(model, bench.masks_of(bench.step.parents[1]), before, args, bench.example())
        else:
            masks = cut(bench, model, before, batches, {"invert": True} if arm == "invert" else None)
    seconds = time.perf_counter() - began
    check_exact(masks, args["scope"], args["sparsity"])
    bench.save(None, masks)
    passes = 0 if arm == "shuffle" else scoring_passes(args)  # a draw scores nothing
    macs = passes * examples * bench.cost(model).macs.dense if passes else 0
    layers = masks.layers()
    beside = arms.agreement(arm, masks, bench.masks_of(bench.step.parents[1])) if arm else ()
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
    bench: Bench,
    model: nn.Module,
    before: Masks | None,
    batches: list[tuple[torch.Tensor, torch.Tensor]] | None,
    options: dict[str, Any] | None,
) -> Masks:
    """The masks that the step's choices give; the model is pruned in place."""
    args = bench.args
    return prune(
        model,
        args["sparsity"],
        **{axis: args[axis] for axis in ("criterion", "granularity", "scope", "schedule")},
        options=options,
        masks=before,
        example=bench.example(),
        batches=batches,
        exclude=args["exclude"],
        floor=args["floor"],
        seed=bench.seed,
    )


def scored_on(bench: Bench) -> tuple[list[tuple[torch.Tensor, torch.Tensor]] | None, int]:
    """The batch that a gradient criterion is scored on (None for others), and how many examples it reads."""
    per_class = criteria.bind(bench.args["criterion"]).facts.get("examples_per_class")
    if per_class is None:
        return None, 1
    x, y = balanced(bench.splits.train, per_class=per_class, seed=bench.seed)
    return [(x.to(bench.device), y.to(bench.device))], len(y)


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


def measure(bench: Bench) -> dict[str, Any]:
    """Count right answers on each split, and what the network costs. Nothing is chosen by what it reads."""
    model, masks = bench.parent()
    began = time.perf_counter()
    parts = {"train": bench.splits.train, "validation": bench.splits.validation, "test": bench.splits.test}
    groups = bench.superclasses
    counts = {
        name: evaluate(model, part.to(bench.device), groups=groups)
        for name, part in parts.items()
        if len(part)
    }
    seconds = time.perf_counter() - began
    # labels aside, a second look at the test images: answers are not kept
    timed = classify_seconds(model, bench.splits.test.to(bench.device), repeats=1)
    found = bench.cost(model, masks)
    hard = corrupted(bench, model)
    trouble = collapse(counts["test"])
    return {
        "numbers": (
            *numbers.of_counts(counts),
            *numbers.of_cost(found),
            *numbers.of_size(size(model, masks)),
            *(numbers.of_robustness(hard, bench.classes) if hard else ()),
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


def corrupted(bench: Bench, model: nn.Module) -> Robustness | None:
    """Counts on the test images under each corruption that the study asks for; None if it asks for none."""
    kinds = bench.args.get("corruptions")
    test = bench.splits.test.to(bench.device)
    return robustness(model, test, kinds=kinds, seed=bench.seed) if kinds else None


KINDS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "init": init,
    "train": train,
    "prune": pruned,
    "recover": recover,
    "measure": measure,
}
