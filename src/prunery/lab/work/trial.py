"""How fast this machine trains and evaluates a network: a few steps on images of noise, in a few seconds.

Values do not change how long a step takes, so nothing is read or downloaded of a data set with known facts.
"""

from __future__ import annotations

import json
import math
import statistics
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, get_args

import torch
from torch import nn

from prunery.core.bits import threads_of
from prunery.data.custom import from_tensors
from prunery.data.images import ImageSet
from prunery.data.names import DATASETS
from prunery.data.splits import split
from prunery.lab.estimate import Trial
from prunery.lab.plan import Step
from prunery.lab.work.context import images
from prunery.measure.accuracy import evaluate
from prunery.models.build import build
from prunery.models.names import MODELS
from prunery.train.job import Job, job_of
from prunery.train.settings import Training

_SHORT = 900.0  # seconds
_FEW = 8  # images of the first two steps, which warm up and say whether a whole batch fits into the time
_STEPS = 8
_TURNS = 4
_EVALUATED = 500


@dataclass(frozen=True)
class _Data:
    """The shape and the counts of a step's images."""

    shape: tuple[int, int, int]
    classes: int
    train: int
    validation: int
    test: int


def trial(steps: Sequence[Step], *, seconds: float) -> Trial:
    """Return what steps like these take here (seconds), and the bytes of their networks' weights.

    `seconds`: for all of them together, building networks aside; a network of which two steps of 8 images
    take longer exceeds it.
    Errors are those of building the model, or of loading a data set of the user's own.
    """
    found: dict[str, float] = {}
    sizes: dict[str, int] = {}
    share = seconds / max(len(steps), 1)
    for step in steps:
        with threads_of(int(step.args["threads"])):
            found[step.key], sizes[step.key] = _tried(step, share)
    return Trial(found, sizes)


def is_short(steps: Iterable[Step]) -> bool:
    """Return whether the steps take minutes on any machine, which no trial needs to tell.

    A bound: a network uses each weight at most once at each place of an image, a training step costs three
    evaluations, and a processor does 10^9 products a second. Code of a user's own is not judged.
    """
    weights: dict[tuple[str, str, int], int] = {}
    products = 0.0
    for step in steps:
        name, data = step.args["model"], step.args["data"]
        if name not in MODELS or data not in DATASETS:
            return False
        images = _data(step.args)
        key = (name, data, images.classes)
        if key not in weights:
            model = build(name, shape=images.shape, classes=images.classes, device="meta")
            weights[key] = sum(p.numel() for p in model.parameters())
        each = weights[key] * images.shape[1] * images.shape[2]
        all_of_them = images.train + images.validation + images.test
        products += each * (3 * step.epochs * images.train + (step.kind == "measure") * all_of_them)
    return products < _SHORT * 1e9


def trial_plain(steps: Sequence[Mapping[str, Any]], path: str, seconds: float) -> None:
    """Write the trial of steps that are given as plain data to a file, as JSON."""
    asked = [Step(s["key"], s["kind"], s["args"], tuple(s["parents"])) for s in steps]
    done = trial(asked, seconds=seconds)
    Path(path).write_text(json.dumps({"seconds": done.seconds, "bytes": done.bytes}), encoding="utf-8")


def _tried(step: Step, seconds: float) -> tuple[float, int]:
    """Return the seconds that a step takes, and the bytes of its network."""
    data, seed = _data(step.args), int(step.args["seed"])
    model = _built(step, data)
    size = sum(t.numel() * t.element_size() for t in model.state_dict().values())
    if not step.epochs:
        whole = _noise(data, _EVALUATED)
        each = _evaluation(model, whole, seconds)
        return each * (data.train + data.validation + data.test), size
    training = Training.model_validate(step.args["training"])
    noise = _noise(data, training.batch)
    job = job_of(model, split(noise, validation=0, seed=0), training, seed)
    each = _training_step(job, 0.8 * seconds) * math.ceil(data.train / training.batch)
    each += _evaluation(model, noise, 0.2 * seconds) * data.validation
    return each * step.epochs, size


def seconds_by_precision(step: Step, *, seconds: float) -> dict[str, float]:
    """Return the seconds of a training step on a whole batch, like those of `step`, in each precision.

    The shortest of a few steps, in turns; `seconds`: for one of them, where a whole batch would take longer.
    """
    data, asked = _data(step.args), Training.model_validate(step.args["training"])
    parts = split(_noise(data, asked.batch), validation=0, seed=0)
    whole = min(asked.batch, len(parts.train))
    jobs = {
        precision: job_of(_built(step, data), parts, asked.model_copy(update={"precision": precision}), 0)
        for precision in get_args(Training.model_fields["precision"].annotation)
    }
    trained = {precision: _stepping(job) for precision, job in jobs.items()}
    with threads_of(int(step.args["threads"])), jobs[asked.precision].noise():
        few = max(_warm(partial(once, _FEW), seconds) for once in trained.values())
        count = _fitting(few, whole, seconds)
        turns = [{p: _timed(partial(once, count)) for p, once in trained.items()} for _ in range(_TURNS)]
    return {precision: min(turn[precision] for turn in turns) * whole / count for precision in trained}


def _built(step: Step, data: _Data) -> nn.Module:
    where = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    seed = int(step.args["seed"])
    return build(step.args["model"], shape=data.shape, classes=data.classes, seed=seed, device=where)


def _data(args: Mapping[str, Any]) -> _Data:
    facts = DATASETS.get(args["data"])
    if facts is None:
        own = images(args["data"])
        shape, every, train, test = own.shape, own.classes, len(own.train.y), len(own.test.y)
    else:
        shape, every, train, test = facts.shape, facts.classes, facts.rows["train"], facts.rows["test"]
    classes = int(args.get("classes") or every)
    train, test = train * classes // every, test * classes // every
    asked = args.get("validation", 0)
    validation = asked if isinstance(asked, int) else round(asked * train)
    left = max(train - validation, 1)
    return _Data(shape, classes, min(left, int(args.get("images") or left)), validation, test)


def _noise(data: _Data, count: int) -> ImageSet:
    """Return a set of so many images of noise to train on, and a few to test on."""
    draws = torch.Generator().manual_seed(0)
    count = max(min(count, data.train), _FEW)
    x = torch.randint(0, 256, (count + _FEW, *data.shape), dtype=torch.uint8, generator=draws)
    y = torch.arange(count + _FEW) % data.classes
    return from_tensors(x[:count], y[:count], x[count:], y[count:], name="noise", classes=data.classes)


def _training_step(job: Job, seconds: float) -> float:
    """Return the seconds of one step on a whole batch."""
    step, whole = _stepping(job), min(job.training.batch, len(job.train))
    with job.noise():
        few = _warm(partial(step, _FEW), seconds)
        count = _fitting(few, whole, seconds)
        times: list[float] = []
        end = time.perf_counter() + seconds
        while len(times) < _STEPS and (not times or time.perf_counter() + times[-1] < end):
            times.append(_timed(partial(step, count)))
    return statistics.median(times[1:] or times) * whole / count


def _stepping(job: Job) -> Callable[[int], None]:
    """Return a function that makes one training step on so many images, and waits for it."""
    job.model.train()
    x, y = next(iter(job.batches(0, 0)))

    def step(count: int) -> None:
        loss, _ = job.loss(x[:count], y[:count])
        job.optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        job.optimizer.step()
        float(loss.detach())  # waits for the device

    return step


def _evaluation(model: nn.Module, noise: ImageSet, seconds: float) -> float:
    """Return the seconds of evaluating one image."""
    part = split(noise, validation=0, seed=0).train
    few = replace(part, x=part.x[:_FEW], y=part.y[:_FEW])
    count = _fitting(_warm(lambda: evaluate(model, few), seconds), len(part), seconds)
    part = replace(part, x=part.x[:count], y=part.y[:count])
    return _timed(lambda: evaluate(model, part)) / count


def _fitting(few: float, images: int, seconds: float) -> int:
    """Return how many of the images fit into the time, by the seconds that the first few took."""
    return max(_FEW, min(images, int(_FEW * seconds / few)))


def _warm(call: Callable[[], object], seconds: float) -> float:
    """Return the seconds of a second call, for the first one warms up; of the first where it is very slow."""
    first = _timed(call)
    return first if first > 2 * seconds else _timed(call)


def _timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began
