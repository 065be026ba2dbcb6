"""Gradient steps towards the dense network: of all layers against its outputs, or block by block.

The survivors are moved by Adam under the masks, in eval mode, so that norms keep their statistics.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from prunery.core.context import first_tensor
from prunery.core.layers import all_layers
from prunery.data.batches import Batches, normalised
from prunery.data.splits import Split
from prunery.errors import ChoiceError
from prunery.forward import eval_mode, mapped, placed
from prunery.seeds import stream
from prunery.train.beside import call_order, check_counts, modules_of
from prunery.train.descent import Descent, descend
from prunery.train.job import laid_out
from prunery.train.recovery_context import RecoveryContext

_TARGETS = 1 << 28  # bytes of the dense network's outputs that are kept rather than computed in each step


def align_(
    context: RecoveryContext,
    *,
    images: int,
    steps: int,
    batch: int,
    learning_rate: float,
    augmentation: str,
    labels: float = 0.0,
) -> None:
    """Move all survivors so that outputs are the dense network's; see `prunery.train.recovery.align`."""
    check_counts(images=images, steps=steps, batch=batch)
    model, dense, split = context.model, context.dense, some(context, images)

    two = normalised(split, split.x[:2])
    channels_last = laid_out(model, two) and laid_out(dense, two)

    def run(network: nn.Module, x: Tensor) -> Tensor:
        x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
        return first_tensor(network(x))

    kept = _kept_targets(context, split, run, steps * batch) if augmentation == "none" else None

    def loss(x: Tensor, rows: Tensor) -> Tensor:
        with torch.no_grad():
            target = run(dense, x) if kept is None else kept[rows]
        output = run(model, x)
        value = distance(output, target)
        return value + labels * functional.cross_entropy(output, split.y[rows]) if labels else value

    with eval_mode(model), eval_mode(dense):
        drawn = _drawn(context, split, batch, augmentation)
        done = descend(context, model, drawn, loss, steps, learning_rate)
    if channels_last:
        model.to(memory_format=torch.contiguous_format)  # type: ignore[call-overload]
    batch = min(batch, len(split))
    context.count(samples=done.taken * batch)
    used = f"{len(split)} images {'with' if labels else 'without'} labels"
    context.note(f"{steps} steps of {batch} on {used}: {done.told(steps)}")


def _kept_targets(
    context: RecoveryContext, split: Split, run: Callable[[nn.Module, Tensor], Tensor], draws: int
) -> Tensor | None:
    """Return the dense network's outputs for all examples, in order; None if too much, or no less work."""
    targets, size = list[Tensor](), 0
    if draws < len(split):
        return None
    with eval_mode(context.dense), torch.no_grad():
        for x, _ in Batches(split, batch=128, seed=0):
            targets.append(run(context.dense, placed(x, context.dense)))
            size += targets[-1].numel() * targets[-1].itemsize
            if size > _TARGETS:
                return None
    context.count(read=len(split))
    return torch.cat(targets)


def distance(output: Tensor, target: Tensor) -> Tensor:
    """Return the squared distance of two outputs over the target's variance; 0 where they are equal."""
    spread = target.detach().float().var().clamp_min(torch.finfo(torch.float32).tiny)
    return functional.mse_loss(output.float(), target.float()) / spread


def some(context: RecoveryContext, images: int) -> Split:
    """Return random training images, those that `context.images` yields first."""
    train = context.data.train
    order = torch.randperm(len(train), generator=stream(context.seed, "order", 0))[:images]
    return replace(train, x=train.x[order], y=train.y[order]).to(context.device)


def _drawn(
    context: RecoveryContext, split: Split, batch: int, augmentation: str
) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield random images and their rows without end, as many in each batch (fewer if there are fewer)."""
    epoch = 0
    size = min(batch, len(split))
    numbered = replace(split, y=torch.arange(len(split), device=split.x.device))
    while True:
        order = Batches(
            numbered, batch=size, augmentation=augmentation, seed=context.seed, epoch=epoch, shuffle=True
        )
        for x, y in order:
            if len(x) == size:
                yield placed(x, context.model), y
        epoch += 1


def distill_(context: RecoveryContext, *, images: int, steps: int, batch: int, learning_rate: float) -> None:
    """Move each block in turn so that its outputs are the dense one's; see `recovery.distill_blocks`."""
    check_counts(images=images, steps=steps, batch=batch)
    names = blocks(context.model)
    calls = call_order(context.model, names, next(iter(context.images(1))))
    once = [name for name, count in calls.items() if count == 1]
    if skipped := sorted(set(names) - set(once)):
        raise ChoiceError(
            f"recovery distill_blocks for {', '.join(skipped)}",
            "the model does not call them, or calls them more than once",
            "use align or reconstruct",
        )
    before, after, taken = list[float](), list[float](), 0
    for name in once:
        held = _held(context, name, images)
        done = _block(context, name, held, steps, batch, learning_rate)
        before.append(done.first)
        after.append(done.last)
        taken += done.taken
    context.count(samples=taken * batch // max(1, len(once)))
    context.note(
        f"{len(once)} blocks, {steps} steps of {batch} each on {images} images without labels: "
        f"mean loss {sum(before) / len(before):.4g} to {sum(after) / len(after):.4g}"
    )


def blocks(model: nn.Module) -> list[str]:
    """Return the names of the blocks: for each layer the smallest module around it with several layers.

    A layer that only the whole model shares with others is a block by itself; of nested blocks the outer one.
    """
    layers = [layer.module_name for layer in all_layers(model)[0]]
    chosen = []
    for name in layers:
        around = [name[:at] for at in range(len(name)) if name[at] == "."][::-1]
        chosen.append(next((a for a in around if sum(n.startswith(f"{a}.") for n in layers) > 1), name))
    unique = list(dict.fromkeys(chosen))
    return [n for n in unique if not any(n.startswith(f"{other}.") for other in unique)]


def _held(context: RecoveryContext, name: str, images: int) -> list[tuple[Any, Tensor]]:
    """Return (what the pruned network's block is called with, what the dense block returns), by batch."""
    held = []
    for x in context.images(images):
        context.count(read=2 * len(x))
        held.append((called_with(context.model, name, x), output_of(context.dense, name, x)))
    return held


class _DoneError(Exception):
    """Ends a run of a model."""


def called_with(model: nn.Module, name: str, x: Tensor) -> tuple[tuple[Any, ...], Mapping[str, Any]]:
    """Return (args, kwargs) that the named module is called with."""
    found: list[Any] = []

    def keep(_: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        found.append(mapped(lambda t: t.detach(), (args, kwargs)))
        raise _DoneError

    _run(model, modules_of(model)[name].register_forward_pre_hook(keep, with_kwargs=True), x)
    args, kwargs = found[0]
    return tuple(args), kwargs


def output_of(model: nn.Module, name: str, x: Tensor) -> Tensor:
    """Return the first tensor that the named module returns."""
    found: list[Tensor] = []

    def keep(_: nn.Module, args: Any, output: Any) -> None:
        found.append(first_tensor(output).detach())
        raise _DoneError

    _run(model, modules_of(model)[name].register_forward_hook(keep), x)
    return found[0]


def _run(model: nn.Module, handle: Any, x: Tensor) -> None:
    try:
        with torch.no_grad(), eval_mode(model):
            model(x)
    except _DoneError:
        pass
    finally:
        handle.remove()


def _block(
    context: RecoveryContext, name: str, held: list[Any], steps: int, batch: int, learning_rate: float
) -> Descent:
    """Train one block on what was held; return what came of it."""
    block = modules_of(context.model)[name]
    generator = stream(context.seed, "blocks", name)

    def drawn() -> Iterator[Any]:
        while True:
            (args, kwargs), target = held[int(torch.randint(len(held), (1,), generator=generator))]
            rows = torch.randperm(len(target), generator=generator)[:batch].to(target.device)
            size = len(target)

            def cut(t: Tensor, rows: Tensor = rows, size: int = size) -> Tensor:
                return t[rows] if t.ndim and len(t) == size else t

            yield mapped(cut, args), mapped(cut, kwargs), target[rows]

    def loss(args: Any, kwargs: Any, target: Tensor) -> Tensor:
        return distance(first_tensor(block(*args, **kwargs)), target)

    with eval_mode(context.model):
        return descend(context, block, drawn(), loss, steps, learning_rate)
