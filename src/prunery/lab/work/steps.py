"""What each kind of step does. Everything random comes from the step's seed."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn

from prunery.core.masks import Masks
from prunery.data.batches import Batches
from prunery.data.names import DATASETS
from prunery.data.samples import samples
from prunery.errors import PruneryError
from prunery.lab import numbers
from prunery.lab.environment import environment
from prunery.lab.plan import Step
from prunery.lab.record import Record
from prunery.lab.store import Store
from prunery.lab.work.context import StepContext, chosen
from prunery.lab.work.provenance import check_parents, origin_of
from prunery.lab.work.pruning import pruned
from prunery.lab.work.recovering import performed, recover
from prunery.measure.accuracy import collapse, evaluate
from prunery.measure.histogram import histograms
from prunery.measure.latency import classify_seconds
from prunery.measure.robustness import Robustness, robustness
from prunery.measure.size import size
from prunery.train.recovery import recovery


def work(
    step: Step, store: Store, scratch: Path, *, report_progress: Callable[[float], None] = lambda epochs: None
) -> Record:
    """Return the record of the step, whose files now lie in `scratch`; whatever cannot be right raises."""
    torch.set_num_threads(int(step.args["threads"]))
    check_parents(step, store)
    context = StepContext(step, store, scratch, report_progress)
    made = KINDS[step.kind](context)
    return Record(
        key=step.key,
        kind=step.kind,
        args=step.args,
        parents=step.parents,
        environment=environment(device=str(context.device), origin=origin_of(step, store)),
        **made,
    )


def init(context: StepContext) -> dict[str, Any]:
    """Build the network; a few images of each class go with its record, unless they are the user's own."""
    began = time.perf_counter()
    context.save(context.built(context.seed), None)
    name, classes = context.args["data"], context.args.get("classes")
    rows = samples(chosen(name, classes, context.seed)) if name in DATASETS else []
    tables = {"tables": {"samples": rows}} if rows else {}
    return {"cost": {"seconds": time.perf_counter() - began}, **tables}


def train(context: StepContext) -> dict[str, Any]:
    """Train the dense network."""
    return performed(context, recovery.bind("finetune"))


def measure(context: StepContext) -> dict[str, Any]:
    """Count right answers on each split, and what the network costs. Nothing is chosen by what it reads.

    Where removed units can be cut out of the network, the smaller one is what answers and is timed.
    """
    whole, masks = context.parent()
    small = without_removed(context, whole, masks)
    model = whole if small is None else small
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
    price = context.cost(whole, masks)
    hard = corrupted(context, model)
    trouble = collapse(counts["test"])
    return {
        "numbers": (
            *numbers.of_counts(counts),
            *numbers.of_cost(price),
            *numbers.of_size(size(whole, masks), saved(context, whole, masks)),
            *(numbers.of_compact(context.cost(small), size(small)) if small is not None else ()),
            *(numbers.of_robustness(hard, context.classes) if hard else ()),
        ),
        "tables": {
            "layers": numbers.layer_rows(price),
            "histograms": [asdict(layer) for layer in histograms(whole, masks, include=context.include)],
            "predicted": numbers.predicted_rows(counts),
            **({"corruptions": [asdict(row) for row in hard.rows]} if hard else {}),
            **forms_of(context, whole, masks),
            "cost_notes": [{"note": note} for note in price.notes],
        },
        "notes": (f"test: {trouble}",) if trouble else (),
        "cost": {"seconds": seconds, "seconds_test": timed.median},
    }


def saved(context: StepContext, model: nn.Module, masks: Masks | None) -> int | None:
    """Return the bytes of the network's file as `prunery.save` writes it; None where it cannot be saved."""
    from prunery.export.container import save

    path = context.scratch / "saved.prunery"
    try:
        return save(model, path, masks=masks).bytes
    except PruneryError:
        return None
    finally:
        path.unlink(missing_ok=True)


def without_removed(context: StepContext, model: nn.Module, masks: Masks | None) -> nn.Module | None:
    """Return the network without its removed units, where a cut on its way removed such; else None."""
    from prunery.export.compact import compact

    if masks is None or not context.removes():
        return None
    return compact(model, masks, context.example()).eval()


def corrupted(context: StepContext, model: nn.Module) -> Robustness | None:
    """Counts on the test images under each corruption that the study asks for; None if it asks for none."""
    kinds = context.args.get("corruptions")
    test = context.splits.test.to(context.device)
    return robustness(model, test, kinds=kinds, seed=context.seed) if kinds else None


def forms_of(context: StepContext, model: nn.Module, masks: Masks | None) -> dict[str, Any]:
    """Return the tables of the forms that the study asks for: what each takes, and what is to be said."""
    names, threads = context.args.get("forms"), int(context.args["threads"])
    if not names:
        return {}
    from prunery.forms.bench import bench

    masks = None if masks is None else masks.to("cpu")
    images = next(iter(Batches(context.splits.test, batch=8, seed=0)))[0].cpu()
    done = bench(model.cpu(), images[:1], masks=masks, inputs=[images], forms=names, threads=threads)
    return {"forms": done.table(), "forms_said": [{"said": done.verdict}]}


KINDS: dict[str, Callable[[StepContext], dict[str, Any]]] = {
    "init": init,
    "train": train,
    "prune": pruned,
    "recover": recover,
    "measure": measure,
}
