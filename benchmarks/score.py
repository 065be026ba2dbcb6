"""Masks by snip, grasp and synflow (100 rounds) on VGG-16, against plain autograd and a threshold.

python benchmarks/score.py [--criteria snip grasp synflow] [--rounds 3] [--sparsity 90%]

The plain arm computes the same scores the direct way (gradients on the model itself, float32; one
concatenated copy of the scores and torch.kthvalue). One thread, 100 images of noise: the time does not
depend on what they show.
"""

from __future__ import annotations

import argparse
import copy
from collections.abc import Callable

import torch
from pairs import interleaved, table
from torch import nn

import prunery
from prunery.models.build import build

Scorer = Callable[[nn.Module, torch.Tensor, torch.Tensor], list[torch.Tensor]]


def weights(model: nn.Module) -> list[torch.Tensor]:
    return [layer.parameter for layer in prunery.prunable(model)]


def plain_snip(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    own = weights(model)
    grads = torch.autograd.grad(nn.functional.cross_entropy(model(x), y), own)
    return [(w * g).abs() for w, g in zip(own, grads, strict=True)]


def plain_grasp(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    own = weights(model)
    fixed = torch.autograd.grad(nn.functional.cross_entropy(model(x) / 200, y), own)
    moving = torch.autograd.grad(nn.functional.cross_entropy(model(x) / 200, y), own, create_graph=True)
    dot = torch.stack([(a * b).sum() for a, b in zip(fixed, moving, strict=True)]).sum()
    return [w * g for w, g in zip(own, torch.autograd.grad(dot, own), strict=True)]


def plain_synflow(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    own = weights(model)
    grads = torch.autograd.grad(model(torch.ones_like(x[:1])).sum(), own)
    return [(w * g).abs() for w, g in zip(own, grads, strict=True)]


PLAIN: dict[str, tuple[Scorer, int]] = {
    "snip": (plain_snip, 1),
    "grasp": (plain_grasp, 1),
    "synflow": (plain_synflow, 100),
}


def plain(name: str, model: nn.Module, x: torch.Tensor, y: torch.Tensor, sparsity: float) -> None:
    scorer, rounds = PLAIN[name]
    if name == "synflow":
        with torch.no_grad():
            for p in model.parameters():
                p.abs_()
    for r in range(1, rounds + 1):
        scores = [s.detach() for s in scorer(model, x, y)]
        flat = torch.cat([s.flatten() for s in scores])
        threshold = torch.kthvalue(
            flat, max(1, round((1 - (1 - sparsity) ** (r / rounds)) * len(flat)))
        ).values
        with torch.no_grad():
            for w, s in zip(weights(model), scores, strict=True):
                w.mul_(s > threshold)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--criteria", nargs="+", default=list(PLAIN), choices=list(PLAIN))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--sparsity", type=float, default=0.9)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    model = build("vgg16", shape=(3, 32, 32), classes=10, seed=0)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(100, 3, 32, 32, generator=generator)
    y = torch.randint(0, 10, (100,), generator=generator)
    for name in arguments.criteria:
        arms = {
            "plain": lambda n=name: plain(n, copy.deepcopy(model), x, y, arguments.sparsity),
            "prunery": lambda n=name: prunery.prune(
                copy.deepcopy(model), arguments.sparsity, criterion=n, batches=[(x, y)]
            ),
        }
        times = interleaved(arms, rounds=arguments.rounds, warmup=0 if name == "synflow" else 1)
        print(
            f"{name}, VGG-16, 100 images, sparsity {arguments.sparsity}\n{table(times, 'plain')}\n",
            flush=True,
        )


if __name__ == "__main__":
    main()
