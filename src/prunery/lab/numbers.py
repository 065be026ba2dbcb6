"""From what the parts measured to a record's numbers and tables, with units, counts and chance levels."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from prunery.lab.record import Number

if TYPE_CHECKING:
    from prunery.core.masks import LayerMask
    from prunery.measure.accuracy import Counts
    from prunery.measure.cost import Cost
    from prunery.measure.robustness import Robustness
    from prunery.measure.size import Size

_AMOUNTS = ("dense", "kept", "effective")


def of_masks(layers: Sequence[LayerMask], requested: float) -> tuple[Number, ...]:
    """Requested and achieved sparsity in weights, and the weights kept and in total."""
    kept, total = sum(layer.kept for layer in layers), sum(layer.total for layer in layers)
    return (
        Number("sparsity_requested", requested, "fraction"),
        Number("sparsity_achieved", (total - kept) / total, "fraction", count=total - kept, total=total),
        Number("kept", kept, "weights"),
        Number("total", total, "weights"),
    )


def of_counts(counts: Mapping[str, Counts]) -> tuple[Number, ...]:
    """Top-1, top-5 (more than five classes) and loss of each split."""
    found: list[Number] = []
    for split, c in counts.items():
        for k, right, value in ((1, c.correct1, c.top1), (5, c.correct5, c.top5)):
            if right is not None and value is not None:
                chance = 100 * k / c.classes
                accuracy = Number(
                    f"top{k}", value, "%", split, count=right, total=c.total, k=k, chance=chance
                )
                found.append(accuracy)
        if c.correct_group is not None:
            share, chance = 100 * c.correct_group / c.total, 100 * c.group_chance
            counted: dict[str, Any] = {"count": c.correct_group, "total": c.total, "k": 1, "chance": chance}
            found.append(Number("superclass_top1", share, "%", split, **counted))
        found.append(Number("loss", c.loss, "nats", split, total=c.total))
    return tuple(found)


def of_cost(cost: Cost) -> tuple[Number, ...]:
    """Prunable parameters and MACs of one example, dense, kept and effective; and all other parameters."""
    sizes = [(f"params_{a}", getattr(cost.params, a), "weights") for a in _AMOUNTS]
    work = [(f"macs_{a}", getattr(cost.macs, a), "MACs") for a in _AMOUNTS]
    other = ("params_other", cost.other_params, "parameters")
    return tuple(Number(name, value, unit) for name, value, unit in (*sizes, *work, other))


def of_size(size: Size, saved: int | None) -> tuple[Number, ...]:
    """Bytes of the network in each form; `saved`: of the file that `prunery.save` writes, None for none."""
    kinds = asdict(size) | ({} if saved is None else {"saved": saved})
    return tuple(Number(f"bytes_{kind}", value, "bytes") for kind, value in kinds.items())


def of_compact(small: Cost, size: Size) -> tuple[Number, ...]:
    """What is left of a network once removed units are cut out of it."""
    return (
        Number("params_compact", small.params.dense + small.other_params, "parameters"),
        Number("macs_compact", small.macs.dense, "MACs"),
        Number("bytes_compact", size.dense, "bytes"),
    )


def of_robustness(found: Robustness, classes: int) -> tuple[Number, ...]:
    """The mean top-1 accuracy over corrupted test images."""
    counted: dict[str, Any] = {"count": found.correct, "total": found.total, "k": 1}
    return (Number("corrupted_top1", found.mean, "%", "test", **counted, chance=100 / classes),)


def of_test_max(found: tuple[int, int] | None, classes: int) -> tuple[Number, ...]:
    """The best test accuracy of any epoch, which is no result: it was chosen on test. Empty if unread."""
    if found is None:
        return ()
    correct, total = found
    counted: dict[str, Any] = {"count": correct, "total": total, "k": 1}
    return (Number("top1_max", 100 * correct / total, "%", "test", **counted, chance=100 / classes),)


def layer_rows(cost: Cost) -> list[dict[str, Any]]:
    """One row per layer: its name and shape, parameters and MACs dense, kept and effective."""
    return [
        {
            "name": layer.name,
            "shape": list(layer.shape),
            **{f"params_{a}": getattr(layer.params, a) for a in _AMOUNTS},
            **{f"macs_{a}": getattr(layer.macs, a) for a in _AMOUNTS},
        }
        for layer in cost.layers
    ]


def predicted_rows(counts: Mapping[str, Counts]) -> list[dict[str, Any]]:
    """How often each class was predicted on each split."""
    return [
        {"split": split, "class": index, "predicted": n}
        for split, c in counts.items()
        for index, n in enumerate(c.predicted)
    ]
