"""The ranks of one job: what each gathers on its own data becomes one mean, so that all cut the same weights.

Where torch.distributed has no process group, or one of a single rank, nothing here does anything. Otherwise
all ranks must prune, with the same arguments but for the data.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from prunery.core.context import ScoringContext, summary
from prunery.errors import EvidenceError
from prunery.seeds import number

_ASKED = "evidence averaged over ranks"
_DO = "call prune on every rank, with the same model, masks and options"


@contextmanager
def in_step(q: ScoringContext) -> Iterator[None]:
    """Within it each rank works alone; at its end an error of one rank is an error of all, and none waits."""
    if not several():
        yield
        return
    try:
        yield
    except Exception:
        _meet(q, failed=True)
        raise
    _meet(q, failed=False)


def several() -> bool:
    """Return whether this process is one of several ranks."""
    return dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1


def total(q: ScoringContext, tensors: dict[str, Tensor], size: float, count: int) -> tuple[float, int]:
    """Return a size and a count summed over the ranks; the tensors in the dict are summed too, IN PLACE.

    Half precision is summed in float32.
    """
    if not several():
        return size, count
    for name in sorted(tensors):
        tensor = tensors[name]
        tensors[name] = _reduced(q, tensor.float() if tensor.itemsize < 4 else tensor).to(tensor.device)
    sums = _reduced(q, torch.tensor([size, count], dtype=torch.float64)).tolist()
    return sums[0], round(sums[1])


def check_equal(q: ScoringContext, kind: str, tensors: dict[str, Tensor]) -> None:
    """Raise EvidenceError unless every rank holds the same tensors, bit for bit."""
    if several() and not _same_on_all(
        q, _fingerprint({layer.name: tensors[layer.name] for layer in q.layers})
    ):
        found = "it differs from rank to rank, and so would the masks"
        do = "take its mean with prunery.core.evidence.example_mean, or all_reduce it"
        raise EvidenceError(f"evidence {kind!r}", found, do)


def _fingerprint(tensors: dict[str, Tensor]) -> int:
    flat = (tensor.detach().cpu().contiguous().view(torch.uint8).numpy() for tensor in tensors.values())
    return number(0, *(str(number(0, part.tobytes().hex())) for part in flat))


def _meet(q: ScoringContext, *, failed: bool) -> None:
    shapes = [f"{layer.name} {tuple(layer.parameter.shape)}" for layer in q.layers]
    key, values = number(0, *shapes), 0 if failed else _values(q)
    worst, low, high, lowest, highest = _largest(q, [int(failed), -key, key, -values, values])
    if failed:
        return
    if worst:
        raise EvidenceError(_ASKED, "another rank failed", "look at that rank's error")
    if -low != high:
        raise EvidenceError(_ASKED, "the ranks prune different layers", _DO)
    if -lowest != highest:
        do = "give all ranks the same weights (DistributedDataParallel does) and masks before they prune"
        raise EvidenceError(_ASKED, "the weights or the masks differ from rank to rank", do)


def _values(q: ScoringContext) -> int:
    """Return a number made of the bits of the weights and masks; 0 after the first time in a call."""
    if "ranks met" in q.memo:
        return 0
    q.memo["ranks met"] = True
    digest = hashlib.blake2b(digest_size=8)
    for layer in q.layers:
        mask = q.masks.get(layer.name)
        for tensor in (layer.parameter.detach(), *([] if mask is None else [mask])):
            digest.update(tensor.cpu().contiguous().view(torch.uint8).numpy().tobytes())
    return number(0, digest.hexdigest())


def _same_on_all(q: ScoringContext, value: int) -> bool:
    low, high = _largest(q, [-value, value])
    return -low == high


def _largest(q: ScoringContext, values: list[int]) -> list[int]:
    numbers = torch.tensor(values, dtype=torch.int64)
    return _reduced(q, numbers, largest=True).tolist()


def _reduced(q: ScoringContext, tensor: Tensor, *, largest: bool = False) -> Tensor:
    group = _group_of(q)
    on_gpu = dist.get_backend(group) == "nccl"
    tensor = tensor.to(torch.device("cuda", torch.cuda.current_device()) if on_gpu else tensor.device)
    tensor = tensor.contiguous()
    try:
        dist.all_reduce(tensor, dist.ReduceOp.MAX if largest else dist.ReduceOp.SUM, group=group)
    except RuntimeError as error:
        raise EvidenceError(_ASKED, f"the ranks did not meet: {summary(error)}", _DO) from error
    return tensor


def _group_of(q: ScoringContext) -> Any:
    """Return the process group of the DistributedDataParallel around or in the model; None is the default."""
    kind = torch.nn.parallel.DistributedDataParallel
    return next((module.process_group for module in q.model.modules() if isinstance(module, kind)), None)
