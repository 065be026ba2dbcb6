"""A trained network pruned and repaired in one call: a ladder of recoveries, each kept only if it helps.

What can be done depends on what is given. No examples: masks by the weights alone. Examples: masks by second
order, the survivors solved for, then moved towards the dense network. Labels: moved towards them as well.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import nn

from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.core.sparsity import Wanted
from prunery.data.batches import check_augmentation
from prunery.errors import ModelError
from prunery.registry import Choice
from prunery.train.batchnorm import batch_norms
from prunery.train.beside import check_counts
from prunery.train.calibration import calibration, check_takes
from prunery.train.ladder import Ladder, Progress, Report
from prunery.train.recovery import recovery
from prunery.wrappers import unwrapped


class Compressed(NamedTuple):
    """What `compress` gives: a pruned copy of the model, its masks, and what each rung gave and cost."""

    model: nn.Module
    masks: Masks
    report: Report


def compress(
    model: nn.Module,
    sparsity: Wanted,
    *,
    data: Any = None,
    example: Any = None,
    exclude: Sequence[str] | None = None,
    scope: str | None = None,
    images: int = 4096,
    held_out: float = 0.125,
    steps: int = 300,
    batch: int = 64,
    learning_rate: float = 0.002,
    augmentation: str = "none",
    seed: int = 0,
    progress: Progress | None = None,
) -> Compressed:
    """Return a pruned copy of a trained model, repaired without retraining, its masks and a report.

    sparsity, exclude, example: as `prunery.prune` takes them. data: what the model is called with, as a
    tensor, a pair (x, y) with labels, a list of batches, a DataLoader, a data set or an ImageSet; with None
    the weights alone decide. images: how many examples are looked at, of which the part `held_out` is put
    aside. A rung is kept only if it lowers the error on these: the squared distance to the dense model's
    outputs over their variance, or with labels the cross entropy. The first rung is magnitude with batch
    norm estimated again, so what comes back is never worse than it by that error. scope: who competes with
    whom, by default `global`. steps, batch, learning_rate, augmentation: of the gradient steps (see `align`);
    steps=0 leaves these out. progress: called with (rung, part done).

    The model is left as it is; the copy is in eval mode. Half precision is worked on in single precision and
    given back in half. Raises a PruneryError for data that do not fit the model or are too few, for weights
    that are NaN or infinite, and for what `prune` refuses.
    """
    network, dtype = _copied(model)
    choices: dict[str, Any] = {"exclude": exclude, "example": example}
    if data is None:
        masks = prune(network, sparsity, scope=scope, seed=seed, **choices)
        return Compressed(_given_back(network, masks, dtype), masks, Report((), None, labelled=False, held=0))
    check_counts(images=images, **({"steps": steps} if steps else {}))
    told: dict[str, Any] = {"images": images, "steps": steps, "batch": batch, "learning_rate": learning_rate}
    told["augmentation"] = augmentation
    recovery.bind(Choice("align", told))
    examples = calibration(data, examples=images, held_out=held_out, seed=seed)
    check_augmentation(augmentation, examples.used)
    check_takes(network, examples)
    ladder = Ladder(network, examples, seed=seed, progress=progress or (lambda rung, part: None))
    repair = ["bn"] if batch_norms(network) else []
    name = " + ".join(["magnitude", *repair])
    ladder.start(name, sparsity, {**choices, "criterion": "magnitude", "scope": scope}, repair)
    how = {**choices, "criterion": "obs(outputs='model')", "scope": scope}
    ladder.start("obs + reconstruct", sparsity, how, [f"reconstruct(images={images})"])
    if steps:
        last = "align_labelled" if examples.labelled else "align"
        ladder.climb(last, [Choice(last, told)], steps=steps, labels=examples.labelled)
    best, masks = ladder.best()
    return Compressed(_given_back(best, masks, dtype), masks, ladder.report())


def _copied(model: nn.Module) -> tuple[nn.Module, torch.dtype]:
    """Return a copy of the bare model in eval mode, in single precision at least; and its precision."""
    bad = [
        name
        for name, value in [*model.named_parameters(), *model.named_buffers()]
        if value.is_floating_point() and not bool(value.isfinite().all())
    ]
    if bad:
        found = f"{', '.join(bad[:3])}{' and more' if len(bad) > 3 else ''} hold NaN or infinite values"
        raise ModelError("to compress the model", found, "load weights of a training that did not diverge")
    network = copy.deepcopy(unwrapped(model)).eval()
    floating = [p for p in network.parameters() if p.is_floating_point()]
    dtype = floating[0].dtype if floating else torch.float32
    return (network.float() if dtype.itemsize < 4 else network), dtype


def _given_back(network: nn.Module, masks: Masks, dtype: torch.dtype) -> nn.Module:
    """Return the network in the precision that it had, as sparse as its masks."""
    network = network.to(dtype) if dtype.itemsize < 4 else network
    masks.verify(network)
    return network.eval()
