"""Two ranks of one job, each a process with its own data, and what each of them finds."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from nets import batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import evidence, example_mean, gather
from prunery.core.layers import prunable

CALL = "import sys, ranks_kit; ranks_kit.work(int(sys.argv[1]), sys.argv[2])"
SIZES = ((6, 10), (8,))  # examples in the batches of each rank


def found(folder: Path) -> list[dict[str, Any]]:
    """What the two ranks found: case -> masks, gradients or the text of an error."""
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1"}
    ranks = [
        subprocess.Popen(
            [sys.executable, "-c", CALL, str(rank), str(folder)],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for rank in (0, 1)
    ]
    texts = []
    try:
        texts = [rank.communicate(timeout=300)[0] for rank in ranks]
    finally:
        for rank in ranks:
            rank.kill()
    assert [rank.returncode for rank in ranks] == [0, 0], texts
    return [torch.load(folder / f"{rank}.pt") for rank in (0, 1)]


def data(rank: int) -> list[tuple[torch.Tensor, torch.Tensor]]:
    """The batches of one rank: of different data, and not as many as those of the other."""
    return [batch((8,), 3, n=n, seed=10 * rank + i) for i, n in enumerate(SIZES[rank])]


def work(rank: int, folder: str) -> None:
    """Do every case as one rank of two, and save what it gives."""
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    results = {name: _result(case, rank) for name, case in CASES.items()}
    torch.save(results, f"{folder}/{rank}.pt")
    dist.destroy_process_group()


def _result(case: Any, rank: int) -> Any:
    try:
        return case(rank)
    except Exception as error:
        return f"{type(error).__name__}: {error}"


def _pruned(criterion: str, wrap: Any = lambda model: model, dtype: torch.dtype = torch.float32) -> Any:
    def case(rank: int) -> dict[str, torch.Tensor]:
        model = wrap(mlp(8, 12, 3, dtype=dtype))
        batches = [(x.to(dtype), y) for x, y in data(rank)]
        masks = prunery.prune(model, 0.5, criterion=criterion, batches=batches, rounds=2)
        return dict(masks)

    return case


def _gathered(kind: str, model: nn.Module, batches: Any, **given: Any) -> dict[str, torch.Tensor]:
    return gather(kind, ScoringContext(model, prunable(model), batches=batches, **given))


def _tokens(rank: int) -> dict[str, torch.Tensor]:
    model = nn.Sequential(nn.Embedding(5, 4), nn.Linear(4, 3))
    with torch.no_grad():
        model[0].weight.copy_(torch.arange(20.0).view(5, 4))
        model[1].weight.fill_(0.5)
    return _gathered("flow_grad", model, None, example=torch.full((1, 2), rank))


def _one_fails(rank: int) -> Any:
    return _gathered("grad", mlp(8, 12, 3), data(0) if rank else [(torch.randn(2, 7), torch.zeros(2).long())])


def _one_has_no_batches(rank: int) -> Any:
    return _gathered("hessian_grad", mlp(8, 12, 3), data(0) if rank else [])


def _two_models(rank: int) -> Any:
    return _gathered("grad", mlp(8, 12 + rank, 3), data(rank))


def _other_weights(rank: int) -> Any:
    model = mlp(8, 12, 3)
    with torch.no_grad():
        model[0].weight[0, 0] += rank
    return dict(prunery.prune(model, 0.5, criterion="snip", batches=data(rank)))


def _other_masks(rank: int) -> Any:
    model = mlp(8, 12, 3)
    masks = prunery.prune(copy.deepcopy(model), 0.3, criterion="random", seed=rank)
    return dict(prunery.prune(model, 0.5, criterion="synflow", masks=masks, batches=data(rank)))


def _own_row(rank: int, averaged: bool) -> Any:
    def mean(context: ScoringContext) -> Any:
        return example_mean(context, lambda loss, weights: {n: loss * w for n, w in weights.items()})

    def local(context: ScoringContext) -> Any:
        return {layer.name: layer.parameter.detach() * (1 + rank) for layer in context.layers}

    name = "averaged" if averaged else "local"
    evidence.add(passes=1, name=name)(mean if averaged else local)
    return _gathered(f"{__name__}:{name}", mlp(8, 12, 3), data(rank))


CASES = {
    **{name: _pruned(name) for name in ("snip", "grasp", "synflow", "random", "magnitude")},
    "bfloat16": _pruned("snip", dtype=torch.bfloat16),
    "bfloat16 grad": lambda rank: _gathered(
        "grad", mlp(8, 12, 3).bfloat16(), [(x.bfloat16(), y) for x, y in data(rank)]
    ),
    "wrapped snip": _pruned("snip", nn.parallel.DistributedDataParallel),
    "wrapped grasp": _pruned("grasp", nn.parallel.DistributedDataParallel),
    **{
        kind: lambda rank, kind=kind: _gathered(kind, mlp(8, 12, 3), data(rank))
        for kind in ("grad", "hessian_grad", "flow_grad")
    },
    "tokens": _tokens,
    "one fails": _one_fails,
    "one has no batches": _one_has_no_batches,
    "two models": _two_models,
    "other weights": _other_weights,
    "other masks": _other_masks,
    "own row, averaged": lambda rank: _own_row(rank, True),
    "own row, local": lambda rank: _own_row(rank, False),
    "after errors": lambda rank: _gathered("grad", mlp(8, 12, 3), data(rank)),
}
