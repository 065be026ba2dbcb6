"""How long a model takes to classify a split."""

from __future__ import annotations

import statistics
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from prunery.data.batches import Batches
from prunery.errors import ChoiceError, DataError
from prunery.forward import no_trace, placed

if TYPE_CHECKING:
    from prunery.data.splits import Split


@dataclass(frozen=True)
class Timing:
    """Seconds to classify all examples of a split, and under which conditions."""

    median: float
    low: float  # the quickest repeat
    high: float  # the slowest
    repeats: int
    examples: int
    batch: int
    threads: int  # of torch on the CPU
    dtype: str  # of the parameters, such as float32
    device: str  # "cpu", or the accelerator's type and name

    @property
    def per_second(self) -> float:
        """Examples classified in a second, by the median."""
        return self.examples / self.median


def classify_seconds(model: nn.Module, split: Split, *, batch: int = 1000, repeats: int = 3) -> Timing:
    """Seconds that `model` in eval mode takes for the whole of `split`: the median of `repeats` passes.

    Counted from the batch on the model's device to the class of each example; making the batch is not. One
    batch goes before, untimed. The model, its buffers and random state are left as they were found.

    ChoiceError: `repeats` below 1. DataError: an empty split, or `batch` below 1.
    """
    if repeats < 1:
        raise ChoiceError(f"a median of {repeats} passes", "there is none", "give repeats=1 or more")
    if not len(split):
        raise DataError(f"seconds for the {split.name} split", "it is empty", "give it some examples")
    batches = Batches(split, batch=batch, seed=0)
    like = next((p for p in model.parameters() if p.is_floating_point()), split.x)
    with no_trace(model), torch.inference_mode():
        _seconds(model, placed(next(iter(batches))[0], model))
        times = [sum(_seconds(model, placed(x, model)) for x, _ in batches) for _ in range(repeats)]
    dtype = str(like.dtype if like.is_floating_point() else torch.float32).removeprefix("torch.")
    conditions = (batch, torch.get_num_threads(), dtype, _name(like.device))
    return Timing(statistics.median(times), min(times), max(times), repeats, len(split), *conditions)


def _seconds(model: nn.Module, x: Tensor) -> float:
    _wait(x.device)
    begin = time.perf_counter()
    output = model(x)
    getattr(output, "logits", output).argmax(-1)
    _wait(x.device)
    return time.perf_counter() - begin


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def _name(device: torch.device) -> str:
    return f"cuda {torch.cuda.get_device_name(device)}" if device.type == "cuda" else device.type
