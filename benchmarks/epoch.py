"""One training epoch with prunery's loop, against torch DataLoader loops of the same model and augmentation.

python benchmarks/epoch.py [--tasks mnist cifar10 resnet18 vgg16 resnet50] [--rounds 5] [--images N]
    [--threads 1] [--device cpu] [--precision float32] [--arms prunery tensors]

Arms, each an epoch of SGD with momentum from fresh weights, taking turns:
  prunery             train.fit: batches made from the whole uint8 array
  tensors             DataLoader over tensors that are decoded and normalised beforehand
  PIL, 0 workers      DataLoader whose Dataset decodes each image with PIL, augments and normalises it
  PIL, 2 workers      the same with two worker processes

The threads are those of the training process; a worker has one. CPU time counts worker processes. Images lie
encoded in memory, so no disk is timed. With --precision bfloat16 all arms train in torch's autocast.
The sets come through prunery.data: name a mirror with PRUNERY_DATA, or they are downloaded once.
"""

from __future__ import annotations

import argparse
import io
import random
import resource
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from pairs import Times, table
from PIL import Image, ImageOps
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

from prunery.data.batches import affine
from prunery.data.sets import load
from prunery.data.splits import Split, Splits, split
from prunery.models.build import build
from prunery.train.loop import fit
from prunery.train.settings import Training

PAD = 4
Epoch = Callable[[nn.Module], float]
"""Train the model for one epoch; what comes back is the training accuracy in %."""


@dataclass(frozen=True)
class Task:
    """What is trained on a set."""

    model: str
    data: str
    augmentation: str


TASKS = {
    "mnist": Task("lenet300", "mnist", "none"),
    "cifar10": Task("cnn8", "cifar10", "crop_flip"),
    **{net: Task(net, "cifar10", "crop_flip") for net in ("resnet18", "vgg16", "resnet50")},
}
ARMS = ("prunery", "tensors", "PIL, 0 workers", "PIL, 2 workers")


class Encoded(Dataset):
    """Images as encoded bytes; each access decodes one with PIL, augments it and normalises it."""

    def __init__(self, part: Split, *, augmentation: str, format: str) -> None:
        self.bytes = [encoded(image, format) for image in part.x]
        self.labels = part.y.tolist()
        self.augmentation = augmentation
        self.mean, self.std = (torch.tensor(v).view(-1, 1, 1) for v in (part.mean, part.std))

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        image = Image.open(io.BytesIO(self.bytes[index]))
        if self.augmentation == "crop_flip":
            image = ImageOps.expand(image, PAD)
            left, top = random.randint(0, 2 * PAD), random.randint(0, 2 * PAD)
            image = image.crop((left, top, image.width + left - 2 * PAD, image.height + top - 2 * PAD))
            if random.random() < 0.5:
                image = ImageOps.mirror(image)
        pixels = np.array(image, dtype=np.uint8)
        x = torch.from_numpy(pixels if pixels.ndim == 3 else pixels[:, :, None]).permute(2, 0, 1)
        return (x.float() / 255 - self.mean) / self.std, self.labels[index]


class Augmented(Dataset):
    """A data set of normalised tensors whose images are cropped and mirrored one by one."""

    def __init__(self, inner: TensorDataset, part: Split) -> None:
        self.inner = inner
        _, shift = affine(part)
        self.black = shift[0].expand(-1, part.x.shape[2] + 2 * PAD, part.x.shape[3] + 2 * PAD)

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        x, y = self.inner[index]
        _, h, w = x.shape
        padded = self.black.clone()
        padded[:, PAD : PAD + h, PAD : PAD + w] = x
        top, left = random.randint(0, 2 * PAD), random.randint(0, 2 * PAD)
        x = padded[:, top : top + h, left : left + w]
        return (x.flip(2) if random.random() < 0.5 else x), y


def encoded(image: Tensor, format: str) -> bytes:
    """The image, uint8 (C, H, W), as the bytes of a lossless file."""
    out = io.BytesIO()
    pixels = image.permute(1, 2, 0).numpy()
    Image.fromarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels).save(out, format, lossless=True)
    return out.getvalue()


def tensors(part: Split, *, augmentation: str) -> Dataset:
    """The part decoded and normalised once, beforehand."""
    scale, shift = affine(part)
    whole = TensorDataset(part.x.float().mul_(scale).add_(shift), part.y)
    return Augmented(whole, part) if augmentation == "crop_flip" else whole


def loop(data: Dataset, *, training: Training, workers: int) -> Epoch:
    """The usual loop over a DataLoader, with the optimiser that prunery's loop uses."""

    def epoch(model: nn.Module) -> float:
        batches = DataLoader(data, batch_size=training.batch, shuffle=True, num_workers=workers)
        optimizer = torch.optim.SGD(
            model.parameters(), training.learning_rate, momentum=training.momentum, fused=True
        )
        model.train()
        device = next(model.parameters()).device
        right, loss_sum = torch.zeros(2, device=device).unbind()
        seen, half = 0, training.precision == "bfloat16"
        for x, y in batches:
            x, y = x.to(device, non_blocking=True), y.to(device, non_blocking=True)
            optimizer.zero_grad()
            with torch.autocast(device.type, torch.bfloat16, enabled=half):
                logits = model(x)
            loss = nn.functional.cross_entropy(logits.float(), y)
            loss.backward()
            optimizer.step()
            right += (logits.detach().argmax(1) == y).sum()
            loss_sum += loss.detach() * len(y)
            seen += len(y)
        return 100 * float(right) / seen

    return epoch


def own(splits: Splits, *, training: Training) -> Epoch:
    """Prunery's loop."""

    def epoch(model: nn.Module) -> float:
        row = fit(model, splits, training, seed=0).rows[0]
        return 100 * row.train_correct / row.train_total

    return epoch


def arms(splits: Splits, *, names: Sequence[str], training: Training, format: str) -> dict[str, Epoch]:
    """The ways of training one epoch, by name."""
    found = {"prunery": own(splits, training=training)}
    if "tensors" in names:
        plain = tensors(splits.train, augmentation=training.augmentation)
        found["tensors"] = loop(plain, training=training, workers=0)
    if {*names} & {*ARMS[2:]}:
        files = Encoded(splits.train, augmentation=training.augmentation, format=format)
        counts = dict(zip(ARMS[2:], (0, 2), strict=True))
        found |= {arm: loop(files, training=training, workers=count) for arm, count in counts.items()}
    return {name: epoch for name, epoch in found.items() if name in ("prunery", *names)}


def cpu_seconds() -> float:
    """User and system time of this process and of its children that ended."""
    usages = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


def interleaved(
    epochs: Mapping[str, Epoch], fresh: Callable[[], nn.Module], *, rounds: int
) -> tuple[dict[str, Times], dict[str, float]]:
    """Times of each arm, in turn after a warm-up round, and its last training accuracy in %."""
    times = {name: Times([], []) for name in epochs}
    accuracy: dict[str, float] = {}
    for turn in range(1 + rounds):
        for name, epoch in epochs.items():
            model = fresh()
            cpu, wall = cpu_seconds(), time.perf_counter()
            accuracy[name] = epoch(model)
            cpu, wall = cpu_seconds() - cpu, time.perf_counter() - wall
            if turn > 0:
                times[name].cpu.append(cpu)
                times[name].wall.append(wall)
    return times, accuracy


def measure(
    name: str,
    *,
    rounds: int,
    images: int | None,
    batch: int,
    format: str,
    device: str,
    precision: Any,
    names: Sequence[str],
) -> str:
    """The table of one task."""
    task = TASKS[name]
    splits = split(load(task.data), validation=0, seed=0)
    part = splits.train
    part = replace(part, x=part.x[:images], y=part.y[:images])
    splits = replace(splits, train=part)
    training = Training(
        epochs=1,
        optimizer="sgd",
        learning_rate=0.05,
        batch=batch,
        augmentation=task.augmentation,
        precision=precision,
    )
    shape = tuple(part.x.shape[1:])
    times, accuracy = interleaved(
        arms(splits, names=names, training=training, format=format),
        lambda: build(task.model, shape=shape, classes=part.classes, seed=0, device=device),
        rounds=rounds,
    )
    learnt = ", ".join(f"{arm} {value:.1f}" for arm, value in accuracy.items())
    title = f"{task.model}/{task.data}, {len(part)} images, batch {batch}, augmentation {task.augmentation}"
    how = f"{format}, {precision}, {_device(device)}, {rounds} rounds"
    return f"{title}, {how}\n{table(times, 'prunery')}\ntraining accuracy, %: {learnt}\n"


def _device(device: str) -> str:
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{torch.get_num_threads()} thread(s)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--tasks", nargs="+", default=["mnist", "cifar10"], choices=list(TASKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--images", type=int, help="only the first N training images, for a quick look")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--format", default="PNG", choices=["PNG", "WebP"], help="of the encoded images")
    parser.add_argument("--threads", type=int, default=1, help="of the training process")
    parser.add_argument("--device", default="cpu", choices=["cpu", "cuda"])
    parser.add_argument("--precision", default="float32", choices=["float32", "bfloat16"])
    parser.add_argument("--arms", dest="names", nargs="+", default=ARMS, choices=ARMS, help="beside prunery")
    chosen = vars(parser.parse_args())
    torch.set_num_threads(chosen.pop("threads"))
    for name in chosen.pop("tasks"):
        print(measure(name, **chosen), flush=True)


if __name__ == "__main__":
    main()
