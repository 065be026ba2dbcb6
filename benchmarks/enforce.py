"""A training step with masks enforced, against the same dense step and the same with torch.nn.utils.prune.

python benchmarks/enforce.py [--nets lenet300 vgg16] [--rounds 40] [--sparsity 90%]

Batch 128, SGD with momentum and weight decay, one thread; the three arms take turns, a step each.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable
from contextlib import ExitStack

import torch
from pairs import interleaved, table
from torch import nn
from torch.nn.utils import prune as torch_prune

import prunery
from prunery.models.build import build

SHAPES = {"lenet300": (1, 28, 28), "vgg16": (3, 32, 32), "vgg16_bn": (3, 32, 32), "resnet18": (3, 32, 32)}


def stepper(
    model: nn.Module, x: torch.Tensor, y: torch.Tensor
) -> tuple[Callable[[], None], torch.optim.Optimizer]:
    optimizer = torch.optim.SGD(model.parameters(), 1e-3, momentum=0.9, weight_decay=5e-4)

    def step() -> None:
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()

    return step, optimizer


def several(step: Callable[[], None], times: int) -> Callable[[], None]:
    return lambda: [step() for _ in range(times)] and None


def measure(net: str, *, rounds: int, sparsity: str, batch: int = 128) -> str:
    dense = build(net, shape=SHAPES[net], classes=10, seed=0)
    masked, other = copy.deepcopy(dense), copy.deepcopy(dense)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(batch, *SHAPES[net], generator=generator)
    y = torch.randint(0, 10, (batch,), generator=generator)
    masks = prunery.prune(masked, sparsity)
    layers = [(layer.module, "weight") for layer in prunery.prunable(other)]
    torch_prune.global_unstructured(layers, pruning_method=torch_prune.L1Unstructured, amount=masks.sparsity)
    steps = {
        "dense": stepper(dense, x, y),
        "enforced": stepper(masked, x, y),
        "torch prune": stepper(other, x, y),
    }
    repeats = 20 if net == "lenet300" else 1  # a pair shorter than a millisecond would measure the clock
    with ExitStack() as stack:
        stack.enter_context(masks.enforce(steps["enforced"][1], masked))
        times = interleaved({n: several(s, repeats) for n, (s, _) in steps.items()}, rounds=rounds, warmup=3)
    return f"{net}, batch {batch}, {repeats} step(s) a round, {rounds} rounds\n{table(times, 'dense')}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nets", nargs="+", default=["lenet300", "vgg16"], choices=list(SHAPES))
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--sparsity", default="90%")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    for net in arguments.nets:
        print(measure(net, rounds=arguments.rounds, sparsity=arguments.sparsity), flush=True)


if __name__ == "__main__":
    main()
