r"""Accuracy without retraining: a ladder of recoveries after one cut, on networks that are trained already.

python benchmarks/one_shot.py lenet300 lenet5 [--seeds 5]
python benchmarks/one_shot.py resnet20 --nets FOLDER --sparsities 0.5 0.7 0.9 --align 500 --outputs model
python benchmarks/one_shot.py mlpnet --nets FOLDER --sparsities 0.9 0.95 0.98 --align 1000 --labelled 10000 \
    --labelled-images 54000

LeNets are trained here (LeNet-300-100 for 20 epochs of SGD with label smoothing, LeNet-5 for 30 of AdamW
with a weight decay of 0.3, of four recipes that were tried on seed 0); the output layer is not pruned. FOLDER
holds the checkpoints of IST-DASLab/WoodFisher as safetensors (resnet20_cifar10_woodfisher,
mlpnet_mnist_woodfisher); of these every weight is pruned. Images are training images without labels, but for
`align_labelled`. Each row of the table is one rung on top of those before it: test accuracy, and the rung's
seconds, of the clock and of all cores.
"""

from __future__ import annotations

import argparse
import copy
import resource
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import prunery
from prunery.data.batches import Batches
from prunery.data.sets import load
from prunery.data.splits import Split, Splits, split
from prunery.models.build import build
from prunery.registry import Choice
from prunery.train.loop import fit
from prunery.train.recovery import recovery
from prunery.train.recovery_context import RecoveryContext
from prunery.train.settings import Training

HALF = (0.5, 0.5, 0.5)


class Block(nn.Module):
    """Two 3x3 convolutions with batch norm and a sum; a 1x1 convolution where sizes change."""

    def __init__(self, width: int, out: int, stride: int) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(width, out, 3, stride, 1, bias=False), nn.BatchNorm2d(out)
        self.conv2, self.bn2 = nn.Conv2d(out, out, 3, 1, 1, bias=False), nn.BatchNorm2d(out)
        short = nn.Sequential(nn.Conv2d(width, out, 1, stride, bias=False), nn.BatchNorm2d(out))
        self.downsample = short if stride > 1 else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        inner = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(inner)) + self.downsample(x))


class ResNet20(nn.Module):
    """ResNet-20 for CIFAR-10 as in WoodFisher's checkpoints."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        for number, (width, out) in enumerate(((16, 16), (16, 32), (32, 64)), 1):
            first = Block(width, out, 1 if width == out else 2)
            stage = nn.Sequential(first, Block(out, out, 1), Block(out, out, 1))
            setattr(self, f"layer{number}", stage)
        self.fc = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        x = torch.relu(self.bn1(self.conv1(x)))
        for stage in (self.layer1, self.layer2, self.layer3):
            x = stage(x)  # type: ignore[operator]
        return self.fc(x.mean((2, 3)))  # type: ignore[no-any-return]


class MLPNet(nn.Module):
    """784-40-20-10 without biases."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.fc2 = nn.Linear(784, 40, bias=False), nn.Linear(40, 20, bias=False)
        self.fc3 = nn.Linear(20, 10, bias=False)

    def forward(self, x: Tensor) -> Tensor:  # noqa: D102
        return self.fc3(torch.relu(self.fc2(torch.relu(self.fc1(x.flatten(1))))))  # type: ignore[no-any-return]


@dataclass
class Case:
    """A trained network, its data, and which layers are not pruned."""

    dense: nn.Module
    data: Splits
    exclude: tuple[str, ...] = ()


def lenet(name: str, seed: int) -> Case:
    """Train a LeNet on MNIST."""
    data = split(load("mnist"), validation=0.1, seed=seed)
    model = build(name, shape=(1, 28, 28), classes=10, seed=seed)
    about: dict[str, Any] = {"optimizer": "sgd", "learning_rate": 0.1, "weight_decay": 5e-4}
    about |= {"epochs": 20, "label_smoothing": 0.1}
    if name != "lenet300":  # it does not survive that
        about = {"optimizer": "adamw", "learning_rate": 0.003, "weight_decay": 0.3, "epochs": 30}
    settings = Training(lr_schedule="cosine", batch=128, **about)
    fit(model, data, settings, seed=seed)
    return Case(model.eval(), data, ("@output",))


def stored(model: nn.Module, path: Path, dataset: str, mean: Any, std: Any) -> Case:
    """Load a checkpoint of the literature, with its preprocessing."""
    from safetensors.torch import load_file

    weights = {name.removeprefix("module."): value for name, value in load_file(path).items()}
    model.load_state_dict(weights)
    data = split(load(dataset), validation=0.1, seed=0)
    parts = [replace(part, mean=mean, std=std) for part in (data.train, data.validation, data.test)]
    return Case(model.eval(), Splits(*parts))


def case_of(name: str, seed: int, folder: Path | None) -> Case:
    """Return the network of that name; those of the literature need their folder."""
    if name.startswith("lenet"):
        return lenet(name, seed)
    if folder is None:
        raise SystemExit(f"{name} needs --nets FOLDER")
    if name == "resnet20":
        return stored(ResNet20(), folder / "resnet20_cifar10_woodfisher.safetensors", "cifar10", HALF, HALF)
    path = folder / "mlpnet_mnist_woodfisher.safetensors"
    return stored(MLPNet(), path, "mnist", (0.1307,), (0.3081,))


def _clock() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(began: tuple[float, float]) -> tuple[float, float]:
    """Return the seconds since then, of the clock and of all cores."""
    return time.perf_counter() - began[0], time.process_time() - began[1]


def top1(model: nn.Module, part: Split) -> float:
    """Return the accuracy in percent, in eval mode."""
    right = 0
    with torch.no_grad():
        for x, y in Batches(part, batch=500, seed=0):
            right += int((model.eval()(x).argmax(1) == y).sum())
    return 100 * right / len(part)


def ladder(
    case: Case, sparsity: float, asked: argparse.Namespace, seed: int
) -> Iterator[tuple[str, float, tuple[float, float]]]:
    """Yield (rung, accuracy, seconds of clock and cores): magnitude, its batch norm, obs and what follows."""
    dense = {"dense": lambda: copy.deepcopy(case.dense)}

    def context(model: nn.Module, masks: Any) -> RecoveryContext:
        return RecoveryContext(model, masks, case.data, seed=seed, networks=dense)

    images = list(context(case.dense, None).images(asked.images))
    obs = Choice("obs", {"outputs": asked.outputs})
    for criterion, how, rungs in (("magnitude", "magnitude", ["bn"]), ("obs", obs, asked.rungs)):
        model = copy.deepcopy(case.dense)
        began = _clock()
        masks = prunery.prune(
            model, sparsity, criterion=how, scope=asked.scope, batches=images, exclude=case.exclude
        )
        seconds = _since(began)
        yield criterion, top1(model, case.data.test), seconds
        for rung in rungs:
            action = recovery.bind(rung)
            began = _clock()
            action(context(model, masks))
            seconds = _since(began)
            masks.verify(model)
            yield f"{criterion} + {action.name}", top1(model, case.data.test), seconds


def rungs(asked: argparse.Namespace) -> list[str]:
    """Return the recoveries after obs, in order."""
    found = [f"reconstruct(images={asked.images})"]
    flip = "crop_flip" if asked.net == "resnet20" else "none"
    rate = f"images={asked.images}, learning_rate={asked.rate}, augmentation='{flip}'"
    if asked.align:
        found.append(f"align(steps={asked.align}, {rate})")
    if asked.labelled:
        told = f"images={asked.labelled_images}, learning_rate={asked.labelled_rate}, labels=5.0"
        found.append(f"align_labelled(steps={asked.labelled}, {told}, augmentation='{flip}')")
    return found


def report(asked: argparse.Namespace, show: Callable[[str], None]) -> None:
    """Print a table of one network: a row a rung, accuracies of all seeds and their mean."""
    found: dict[tuple[float, str], list[tuple[float, tuple[float, float]]]] = {}
    start = []
    for seed in range(asked.seeds if asked.net.startswith("lenet") else 1):
        case = case_of(asked.net, seed, asked.nets)
        start.append(top1(case.dense, case.data.test))
        for sparsity in asked.sparsities:
            for rung, accuracy, seconds in ladder(case, sparsity, asked, seed):
                found.setdefault((sparsity, rung), []).append((accuracy, seconds))
                print(f"seed {seed}, {sparsity:g}, {rung}: {accuracy:.2f}", file=sys.stderr, flush=True)
    show(f"\n{asked.net}, dense {statistics.mean(start):.2f} %, {asked.images} images, scope {asked.scope}\n")
    show("| sparsity % | rung | n | test top-1 % | lowest | s of the rung | s of all cores |")
    show("|--:|---|--:|--:|--:|--:|--:|")
    for (sparsity, rung), values in found.items():
        scores = [accuracy for accuracy, _ in values]
        wall, cores = (statistics.median(s[i] for _, s in values) for i in (0, 1))
        show(
            f"| {100 * sparsity:g} | {rung} | {len(scores)} | {statistics.mean(scores):.2f} "
            f"| {min(scores):.2f} | {wall:.1f} | {cores:.1f} |"
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    show(f"\npeak memory of the process: {peak:.0f} MB; {torch.get_num_threads()} threads")


def main() -> None:
    """Run the networks that were named, one after the other."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("networks", nargs="+", choices=["lenet300", "lenet5", "resnet20", "mlpnet"])
    parser.add_argument("--nets", type=Path, help="folder of the checkpoints of the literature")
    parser.add_argument("--sparsities", type=float, nargs="+", default=[0.8, 0.9, 0.95])
    parser.add_argument("--images", type=int, default=4096)
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--scope", default="global")
    parser.add_argument("--outputs", default="layer", choices=["layer", "model"], help="of criterion obs")
    parser.add_argument("--align", type=int, default=0, help="steps towards the dense network, unlabelled")
    parser.add_argument("--labelled", type=int, default=0, help="steps with labels after these")
    parser.add_argument("--labelled-images", type=int, default=4096, help="images of these steps")
    parser.add_argument("--labelled-rate", type=float, default=0.005, help="learning rate of these steps")
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args()
    torch.set_num_threads(asked.threads)
    for net in asked.networks:
        asked.net = net
        asked.rungs = rungs(asked)
        report(asked, lambda line: print(line, flush=True))


if __name__ == "__main__":
    main()
