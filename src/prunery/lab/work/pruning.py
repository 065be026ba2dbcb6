"""What a cut does: masks by the step's choices, at once or inside a training, exactly as many as asked."""

from __future__ import annotations

import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

import torch
from torch import nn

from prunery.core.criteria import criterion as criteria
from prunery.core.evidence import evidence
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.schedule import Cut, cuts_of, is_update
from prunery.core.schedule import schedule as schedules
from prunery.core.scope import scope as scopes
from prunery.data.batches import Batches, balanced
from prunery.errors import EmptyLayerWarning, MasksError, PruneryWarning
from prunery.lab.numbers import of_masks
from prunery.lab.record import Number
from prunery.lab.work import sanity
from prunery.lab.work.context import CHECKPOINT, StepContext
from prunery.lab.work.exactness import DEFECT, check_exact, units_of
from prunery.lab.work.recovering import trained_numbers
from prunery.measure.cost import training_macs
from prunery.registry import Choice, is_dotted
from prunery.seeds import number, stream
from prunery.train.history import History
from prunery.train.loop import fit
from prunery.train.settings import Training
from prunery.train.updates import in_training

Batch = tuple[torch.Tensor, torch.Tensor]

IMAGES = 2048  # without labels, for a criterion that reads what enters layers, if it names no number
PER_CLASS = 10  # examples of each class that a criterion of a user's own is scored on, if it names no number
_OF_BATCHES = ("grad", "hessian_grad", "fisher")


def pruned(context: StepContext) -> dict[str, Any]:
    """Cut the parent's network; the count must be exactly what was asked."""
    if "training" in context.args:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruneryWarning)  # a process that resumes would not see them all
            return _in_training(context)
    with _noted() as notes:
        made = _at_once(context)
    return {**made, "notes": (*made["notes"], *dict.fromkeys(notes))}


@contextmanager
def _noted() -> Iterator[list[str]]:
    """Collect what the library warns of inside, for a record's notes; empty layers are noted anyway."""
    notes: list[str] = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", PruneryWarning)
        yield notes
    for warning in caught:
        if not issubclass(warning.category, PruneryWarning):
            warnings.warn_explicit(warning.message, warning.category, warning.filename, warning.lineno)
        elif not issubclass(warning.category, EmptyLayerWarning):
            notes.append(str(warning.message))


def _at_once(context: StepContext) -> dict[str, Any]:
    args, arm = context.args, context.args.get("sanity")
    model, before = context.parent()
    model.eval()
    batches, examples = scored_on(context)
    began = time.perf_counter()
    if arm == "shuffle":
        masks = _shuffled(context, model, before)
    else:
        masks = cut(context, model, before, batches, {"invert": True} if arm == "invert" else None)
    seconds = time.perf_counter() - began
    check_exact(masks, args["scope"], args["sparsity"], units_of(model, masks))
    context.save(None, masks)
    passes = 0 if arm == "shuffle" else scoring_passes(args)  # a draw scores nothing
    macs = passes * examples * context.cost(model).macs.dense if passes else 0
    cost = {"scoring_macs": macs, "seconds": seconds}
    return _record(context, model, masks, numbers=(), tables={}, notes=(), cost=cost)


def _in_training(context: StepContext) -> dict[str, Any]:
    """Cut while the network trains; of the arm `shuffle`, train under masks that are drawn before."""
    args, arm = context.args, context.args.get("sanity")
    training = Training.model_validate(args["training"])
    model, before = context.parent()
    batches, examples = scored_on(context)
    price = context.cost(model)
    if arm == "shuffle":
        cuts: Sequence[Cut] | None = ()
        history = _fitted(context, model, training, _shuffled(context, model, before), ())
    else:
        cuts = _cuts(args, _sparsity(before))
        update = in_training(
            args["sparsity"],
            **{axis: args[axis] for axis in ("criterion", "granularity", "scope", "schedule")},
            options={"invert": True} if arm == "invert" else None,
            floor=args["floor"],
            exclude=args["exclude"],
            include=context.include,
            example=context.example(),
            batches=batches,
            start=_sparsity(before),
        )
        history = _fitted(context, model, training, before, (update,))
    masks = _masks_after(history, args, model)
    context.save(model, masks)
    cost = {
        "epochs": len(history.rows),
        "samples": history.samples,
        "training_macs": training_macs(price, history.samples),
        "scoring_macs": _passes(args, cuts or ()) * examples * price.macs.dense,
        "seconds": history.seconds,
    }
    return _record(
        context,
        model,
        masks,
        numbers=(*_count(cuts), *trained_numbers(history, context.classes)),
        tables={"epochs": [row.plain() for row in history.rows]},
        notes=_training_notes(history, cuts),
        cost=cost,
    )


def _masks_after(history: History, args: Mapping[str, Any], model: nn.Module) -> Masks:
    """Return the masks that a training ended with; MasksError unless they are exactly what was asked."""
    asked = f"sparsity {args['sparsity']:g}"
    name = Choice.parse(args["schedule"]).name
    do = f"let the masks of {name!r} keep exactly what it leaves" if is_dotted(name) else DEFECT
    if history.unfinished is not None:
        raise MasksError(asked, history.unfinished, "train at a lower learning rate")
    masks = history.masks or Masks({})
    layers = prunable(model, args["exclude"], include=args.get("include", ()))
    if without := [x.name for x in layers if x.name not in masks]:
        raise MasksError(asked, f"there is no mask of {', '.join(without)}", do)
    check_exact(masks, args["scope"], args["sparsity"], units_of(model, masks), do=do)
    return masks


def _record(
    context: StepContext,
    model: nn.Module,
    masks: Masks,
    *,
    numbers: tuple[Number, ...],
    tables: Mapping[str, Any],
    notes: tuple[str, ...],
    cost: Mapping[str, float],
) -> dict[str, Any]:
    args, arm, layers = context.args, context.args.get("sanity"), masks.layers()
    beside = sanity.agreement(arm, masks, context.masks_of(context.step.parents[1])) if arm else ()
    return {
        "numbers": (*of_masks(layers, args["sparsity"]), *beside, *numbers),
        "tables": {"layers": [asdict(layer) for layer in layers], **tables},
        "notes": (
            *(f"layer {layer.name} is empty" for layer in layers if not layer.kept),
            *outputs_gone(model, masks),
            *notes,
        ),
        "cost": dict(cost),
    }


def outputs_gone(model: nn.Module, masks: Masks) -> list[str]:
    """Return a note where whole outputs of the last layer are removed, each of them a class."""
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
    batches: list[Batch] | None,
    options: dict[str, Any] | None,
) -> Masks:
    """Return the masks that the step's choices give; the model is pruned in place."""
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
        include=context.include,
        floor=args["floor"],
        seed=context.seed,
    )


def _shuffled(context: StepContext, model: nn.Module, before: Masks | None) -> Masks:
    like = context.masks_of(context.step.parents[1])
    return sanity.shuffled(model, like, before, context.args, context.example())


def _fitted(
    context: StepContext, model: nn.Module, training: Training, masks: Masks | None, updates: Sequence[Any]
) -> History:
    return fit(
        model,
        context.splits,
        training,
        seed=number(context.seed, "phase", context.args["phase"]),
        masks=masks,
        updates=updates,
        checkpoint=context.store.partial(context.step.key) / CHECKPOINT,
        test_curves=bool(context.args.get("test_curves")),
        on_step=context.report_progress,
    )


def scored_on(context: StepContext) -> tuple[list[Any] | None, int]:
    """Return the batches that a criterion is scored on, None where it reads none, and how many examples.

    Criteria that read what enters layers, and scopes that measure, get training images without labels.
    """
    facts = criteria.bind(context.args["criterion"]).facts
    kinds = facts["needs"].split()
    measured = scopes.bind(context.args["scope"]).facts.get("measured")
    if measured or any(evidence[kind].facts.get("inputs") for kind in kinds):
        return _unlabelled(context, facts.get("images", IMAGES))
    reads = any(kind in _OF_BATCHES for kind in kinds)
    per_class = facts.get("examples_per_class", PER_CLASS if reads else None)
    if per_class is None:
        return None, 1
    x, y = balanced(context.splits.train, per_class=per_class, seed=context.seed)
    return [(x.to(context.device), y.to(context.device))], len(y)


def _unlabelled(context: StepContext, images: int) -> tuple[list[torch.Tensor], int]:
    """Return random training images, without labels and without augmentation, in batches of 128."""
    train = context.splits.train
    order = torch.randperm(len(train), generator=stream(context.seed, "order", 0))[:images]
    some = replace(train, x=train.x[order], y=train.y[order])
    batches = [x.to(context.device) for x, _ in Batches(some, batch=128, seed=context.seed)]
    return batches, len(order)


def scoring_passes(args: Mapping[str, Any]) -> float:
    """Forward passes over each example that the scoring of one prune step costs, in all its rounds."""
    return _passes(args, _cuts(args, 0.0) or ())


def _passes(args: Mapping[str, Any], cuts: Sequence[Cut]) -> float:
    """Return those of all cuts; a cut may be scored by a criterion of its own."""
    scored_by = [args["criterion"] if cut.criterion is None else cut.criterion for cut in cuts]
    passes: float = sum(evidence[kind].facts["passes"] for c in scored_by for kind in _needs(c))
    return passes


def _needs(criterion: Any) -> list[str]:
    needs: str = criteria.bind(criterion).facts["needs"]
    return needs.split()


def _cuts(args: Mapping[str, Any], start: float) -> list[Cut] | None:
    """Return the cuts of the step's schedule; None where it is a mask update."""
    result = schedules.bind(args["schedule"])(args["sparsity"], start)
    return None if is_update(result) else cuts_of(result)


def _count(cuts: Sequence[Cut] | None) -> tuple[Number, ...]:
    """Return the number of cuts that were made; unknown of a mask update."""
    return () if cuts is None else (Number("cuts", max(1, len(cuts)), "cuts"),)


def _training_notes(history: History, cuts: Sequence[Cut] | None) -> tuple[str, ...]:
    uncounted = "what its mask update computes is not in its cost" if cuts is None else None
    return tuple(note for note in (history.note, uncounted) if note)


def _sparsity(masks: Masks | None) -> float:
    """Return the share of units that the masks remove."""
    layers = masks.layers() if masks else []
    total = sum(layer.units_total for layer in layers)
    return 1 - sum(layer.units_kept for layer in layers) / total if total else 0.0
