"""`prunery prune`: a trained network in, a smaller file out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from prunery.cli.called_with import (
    ClassesOption,
    ExampleOption,
    ShapeOption,
    example_of,
    shape_of,
)
from prunery.cli.options import CriterionOption, ExcludeOption, GranularityOption, ModelArgument, say_plain
from prunery.errors import ModelError

if TYPE_CHECKING:
    from torch import nn

    from prunery.core.masks import Masks
    from prunery.data.splits import Splits

WeightsOption = Annotated[
    Path,
    typer.Option("--weights", metavar="FILE", help="Its weights: safetensors, .pt, or saved by prunery."),
]
SparsityOption = Annotated[
    str, typer.Option("--sparsity", metavar="S", help="How much goes: 90%, 0.9 or 10x.")
]
OutOption = Annotated[Path, typer.Option("-o", "--out", metavar="FILE", help="Where the pruned model goes.")]
ScopeOption = Annotated[str | None, typer.Option("--scope", metavar="NAME", help="Who competes with whom.")]
DataSetOption = Annotated[
    str | None,
    typer.Option(
        "--data", metavar="NAME", help="Images to count accuracy on, and for a criterion that looks at some."
    ),
]
PerClassOption = Annotated[int, typer.Option("--per-class", min=1, help="How many of each class it sees.")]
ValuesOption = Annotated[str, typer.Option("--values", help="float32, float16, bfloat16 or int8")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of what is drawn.")]


def prune(
    model: ModelArgument,
    weights: WeightsOption,
    sparsity: SparsityOption,
    out: OutOption,
    criterion: CriterionOption = "magnitude",
    granularity: GranularityOption = "weight",
    scope: ScopeOption = None,
    exclude: ExcludeOption = None,
    data: DataSetOption = None,
    per_class: PerClassOption = 10,
    shape: ShapeOption = None,
    classes: ClassesOption = None,
    example: ExampleOption = None,
    values: ValuesOption = "float32",
    seed: SeedOption = 0,
) -> int:
    """Prune a network without training it, and write it to a file; what can be cut out is cut out."""
    check_given(model, weights, data)
    size = shape_of(model, shape, needed=example is None, what="the pruning")
    from prunery.core.granularity import granularity as granularities
    from prunery.core.prune import prune as pruned
    from prunery.export.compact import compact
    from prunery.export.container import save
    from prunery.export.formats import parameters_of
    from prunery.export.weights import load_weights_
    from prunery.models.build import build

    network, given = build(model, shape=size, classes=classes), example_of(size, example)
    load_weights_(network, weights, of=model)
    network.eval()
    splits = None if data is None else _splits(data, seed)
    counts = {"before": _accuracy(network, splits)}
    masks = pruned(
        network,
        sparsity,
        criterion=criterion,
        granularity=granularity,
        example=given,
        batches=None if splits is None else _batches(splits, per_class, seed),
        scope=scope,
        exclude=exclude,
        seed=seed,
    )
    _show(masks)
    counts["pruned"] = _accuracy(network, splits)
    removable = granularities.bind(granularity).facts.get("removable", False)
    smaller = compact(network, masks, given) if removable else network
    if removable:
        before, after = parameters_of(network), parameters_of(smaller)
        print(f"{before:,} parameters before, {after:,} after: the channels are cut out")
    say_plain(str(save(smaller, out, values=values)))
    if splits is not None:
        load_weights_(network, out, of=model)
        counts[f"in the file ({values})"] = _accuracy(network, splits)
        told = ", ".join(f"{accuracy:.2f} % {when}" for when, accuracy in counts.items())
        say_plain(f"top-1 on {data} test, {len(splits.test):,} images: {told}")
    return 0


def check_given(model: str, weights: Path, data: str | None) -> None:
    """Check what can be without torch: the model, the set and the file of the weights; else raise."""
    from prunery.data import names as sets
    from prunery.models import names

    names.check(model)
    names.check_there(model)
    if data is not None:
        sets.check(data)
        sets.check_there(data)
    if not weights.is_file():
        raise ModelError(f"the weights {weights}", "there is no such file", "name one")


def _splits(data: str, seed: int) -> Splits:
    from prunery.data.sets import load
    from prunery.data.splits import split

    return split(load(data), seed=seed)


def _accuracy(network: nn.Module, splits: Splits | None) -> float | None:
    """Return the top-1 accuracy on the test images in percent."""
    from prunery.measure.accuracy import evaluate

    return None if splits is None else evaluate(network, splits.test).top1


def _batches(splits: Splits, per_class: int, seed: int) -> list[Any]:
    """Return one batch of training images, as many of each class."""
    from prunery.data.batches import balanced

    return [balanced(splits.train, per_class=per_class, seed=seed)]


def _show(masks: Masks) -> None:
    """Print what each layer keeps."""
    layers = masks.layers()
    width = max((len(layer.name) for layer in layers), default=0)
    for layer in layers:
        share = 1 - layer.sparsity
        say_plain(f"{layer.name:<{width}}  {layer.kept:>12,} of {layer.total:>12,} weights  {share:>7.2%}")
