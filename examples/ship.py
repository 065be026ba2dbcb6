"""A model of your own: trained, pruned, fine-tuned, checked, saved, loaded in a new process, faster, ONNX.

    python examples/ship.py [FOLDER]

It trains a small convolutional network on the 8x8 digits that come with the package; about half a minute on
one core. The faster callable needs pip install 'prunery[runtime]', ONNX 'prunery[export]'; without them
it says so and goes on.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from itertools import pairwise
from pathlib import Path

import torch
from torch import nn
from torch.nn.functional import cross_entropy

import prunery
from prunery.data.batches import Batches
from prunery.data.sets import load
from prunery.data.splits import Split, split
from prunery.export.formats import export
from prunery.measure.accuracy import evaluate

SPARSITY = "95%"


class Net(nn.Module):
    """Three convolutions with batch norm, and a head."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()
        sizes = [1, width, width, width]
        self.layers = nn.Sequential(*(self.layer(a, b) for a, b in pairwise(sizes)))
        self.head = nn.Linear(width, 10)

    @staticmethod
    def layer(inputs: int, outputs: int) -> nn.Sequential:
        """Return a convolution with its norm."""
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU())

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the logits, (b, 10), of images (b, 1, 8, 8)."""
        return self.head(self.layers(x).mean((2, 3)))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, images: Split, epochs: int) -> None:
    """Train a model; nothing here knows that it is pruned."""
    model.train()
    for epoch in range(epochs):
        for x, y in Batches(images, batch=64, seed=0, epoch=epoch, shuffle=True):
            optimizer.zero_grad()
            cross_entropy(model(x), y).backward()
            optimizer.step()
    model.eval()


def optimizer_of(model: nn.Module, rate: float) -> torch.optim.Optimizer:
    """Return what trains all parameters of a model."""
    return torch.optim.SGD(model.parameters(), rate, momentum=0.9)


def ship(folder: Path) -> None:
    """Take a model from training to files that are ready to be used elsewhere."""
    images, model = split(load("digits"), seed=0), Net()
    example = next(iter(Batches(images.validation, batch=16, seed=0)))[0]

    train(model, optimizer_of(model, 0.1), images.train, epochs=2)
    dense = evaluate(model, images.test)

    masks = prunery.prune(model, SPARSITY)  # in place: the removed weights are 0
    cut = evaluate(model, images.test)
    optimizer = optimizer_of(model, 0.02)
    with masks.enforce(optimizer, model):  # ... and stay 0
        train(model, optimizer, images.train, epochs=2)
    masks.verify(model)
    tuned = evaluate(model, images.test)
    steps = {"dense": dense, "pruned": cut, "fine-tuned": tuned}
    told = ", ".join(f"{counts.top1:.2f} % {step}" for step, counts in steps.items())
    print(f"top-1 on digits test: {told}")

    print(prunery.cost(model, example[:1], masks))
    print(prunery.save(model, folder / "model.prunery", masks=masks))
    subprocess.run([sys.executable, __file__, "--use", folder], check=True)  # as whoever gets the file would

    try:
        print(export(model, folder / "model.onnx", "onnx", example, masks=masks))
    except prunery.PruneryError as missing:
        print(missing)


def use(folder: Path) -> None:
    """Load the file, as a process that has never seen the training does, and make the model faster."""
    model = prunery.load(folder / "model.prunery", into=Net()).eval()
    images = split(load("digits"), seed=0)
    x = next(iter(Batches(images.test, batch=16, seed=0)))[0]
    with torch.no_grad():
        fast = prunery.sparse_callable(model, x, threads=1)
        expected, found = model(x), fast(x)
    print(f"loaded: top-1 {evaluate(model, images.test).top1:.2f} %; {fast.report().verdict}")
    print(f"the callable's outputs differ by at most {float((expected - found).abs().max()):.1g}")
    print(prunery.latency({"torch": model, "sparse": fast}, x, threads=1))


def main() -> None:
    """Ship into a folder, or use what lies there."""
    torch.manual_seed(0)
    match sys.argv[1:]:
        case ["--use", folder]:
            use(Path(folder))
        case [folder]:
            Path(folder).mkdir(parents=True, exist_ok=True)
            ship(Path(folder))
        case _:
            with tempfile.TemporaryDirectory() as made:
                ship(Path(made))


if __name__ == "__main__":
    main()
