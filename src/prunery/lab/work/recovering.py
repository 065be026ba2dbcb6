"""What recovery does: an action on the pruned network under its masks, and the record of what it did.

The dense training is one of these: it is the action `finetune` on a network that has no masks.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from torch import Tensor, nn

from prunery.core.masks import Masks
from prunery.errors import MasksError, SpecError
from prunery.export.weights import load_weights_
from prunery.lab import numbers
from prunery.lab.actions import choice_in, needed
from prunery.lab.pretrained import kept
from prunery.lab.record import Number
from prunery.lab.work import sanity
from prunery.lab.work.context import CHECKPOINT, StepContext
from prunery.measure.cost import Cost, training_macs
from prunery.registry import BoundEntry
from prunery.seeds import number
from prunery.train.history import History
from prunery.train.recovery import recovery
from prunery.train.recovery_context import Book, RecoveryContext
from prunery.train.settings import Training


def recover(context: StepContext) -> dict[str, Any]:
    """Do the step's action; what comes back are the contents of its record."""
    return performed(context, recovery.bind(choice_in(context.args)))


def performed(context: StepContext, action: BoundEntry) -> dict[str, Any]:
    """Do an action on the parent's network under its masks, keep what it leaves, and tell what it did."""
    model, masks = context.parent()
    if (weights := context.args.get("weights")) is not None:
        load_weights_(model, kept(context.store, weights), of=context.args["model"])
    price = context.cost(model, masks)
    work = _work(context, action, model, masks)
    copies = {name: mask.clone() for name, mask in (masks or {}).items()}
    began = time.perf_counter()
    action(work)
    seconds = time.perf_counter() - began - work.book.apart
    _check_epochs(action, work)
    _check_masks(action, model, masks or {}, copies)
    context.save(model, masks)
    return _record(work.book, price, context.classes, seconds, trains=work.training is not None)


def _work(context: StepContext, action: BoundEntry, model: nn.Module, masks: Masks | None) -> RecoveryContext:
    """Return the context of an action, with what its facts and the step's arguments say."""
    args, seed = context.args, context.seed
    phase = args.get("phase", 0)
    drawn_apart = "action" in args  # the library's older actions draw from the seed itself
    return RecoveryContext(
        model=model,
        masks=masks,
        data=context.splits,
        training=Training.model_validate(args["training"]) if "training" in args else None,
        seed=number(seed, "action", phase) if drawn_apart else seed,
        order_seed=number(seed, "phase", phase),
        needs=frozenset(str(action.facts.get("needs", "")).split()),
        networks=_networks(context, action),
        checkpoint=context.store.partial(context.step.key) / CHECKPOINT,
        test_curves=bool(args.get("test_curves")),
        report_progress=context.report_progress,
    )


def _networks(context: StepContext, action: BoundEntry) -> Mapping[str, Callable[[], nn.Module]]:
    """How to load what the action needs from the step's further parents, and to build fresh weights."""
    words = needed(action.facts)
    keys = dict(zip(words, context.step.parents[1:], strict=True))
    fresh = partial(sanity.fresh, context.built, context.seed, phase=context.args.get("phase", 0))
    return {"reinit": fresh, **{word: partial(_loaded, context, key) for word, key in keys.items()}}


def _loaded(context: StepContext, key: str) -> nn.Module:
    return context.model_of(key)[0].eval()


def _check_epochs(action: BoundEntry, work: RecoveryContext) -> None:
    """SpecError unless the action trained for as many epochs as the plan counts."""
    planned = 0 if work.training is None else work.training.epochs
    if work.book.epochs != planned:
        raise SpecError(
            f"recovery {action.name!r}",
            f"it trained for {work.book.epochs:g} epochs, and the plan counts {planned}",
            "train with context.train(), and let context.count(epochs=...) know of a loop of its own",
        )


def _check_masks(
    action: BoundEntry, model: nn.Module, masks: Mapping[str, Tensor], copies: Mapping[str, Tensor]
) -> None:
    """MasksError unless the masks are what they were and removed weights are exactly 0."""
    parameters = dict(model.named_parameters(remove_duplicate=False))
    for name, copy in copies.items():
        if not masks[name].equal(copy):
            raise MasksError(
                f"recovery {action.name!r}", f"it changed the mask of {name!r}", "leave masks as they are"
            )
        alive = int((parameters[name].detach()[~copy] != 0).sum())
        if alive:
            problem = f"it left {alive} removed weights of {name!r} that are not 0"
            raise MasksError(
                f"recovery {action.name!r}", problem, "end with context.masks.apply_(context.model)"
            )


def _record(book: Book, price: Cost, classes: int, seconds: float, *, trains: bool) -> dict[str, Any]:
    histories = book.histories
    samples = book.samples + sum(history.samples for history in histories)
    macs = training_macs(price, samples)
    cost: dict[str, float] = {}
    if trains:
        cost |= {"epochs": sum(len(history.rows) for history in histories) + book.counted}
    if trains or samples:  # gradient steps that are no epochs are training too
        cost |= {"samples": samples, "training_macs": macs}
        cost |= {"training_macs_kept": macs * price.macs.kept // price.macs.dense}
    if book.read or not trains:
        cost |= {"scoring_macs": book.read * price.macs.dense}
    cost |= {"seconds": seconds + sum(history.seconds for history in histories)}
    return {
        "numbers": trained_numbers(histories[-1], classes) if histories else (),
        "tables": {"epochs": [row.plain() for h in histories for row in h.rows]} if histories else {},
        "notes": (*book.notes, *(history.note for history in histories if history.note)),
        "cost": cost,
    }


def trained_numbers(history: History, classes: int) -> tuple[Number, ...]:
    """Return which epoch's weights were kept, and the best test accuracy of any where it was read."""
    return (
        Number("chosen_epoch", history.chosen, "epochs"),
        *numbers.of_test_max(history.test_max, classes),
    )
