"""`cnn8`, `cnn8_bn`: the small CNN of the course report on structure and learning rate.

Known of it: CIFAR-10, 8 kernels in every convolution, small enough that an epoch takes seconds on two cores,
trained by SGD with batches of 512 at a learning rate of 0.8, plots that reach between 60 and 70 %, and that
pruning its filters leaves whole layers empty. The report does not give the rest. Assumed here: three 3x3
convolutions (padding 1), each with ReLU and 2x2 max-pooling, then one linear layer. Weights at CIFAR-10:
216 + 576 + 576 + 1,280 = 2,648.

`cnn8` has no batch norm, and its convolutions a bias. It does not survive the report's learning rate, so it
cannot be the report's network. `cnn8_bn` has a batch norm behind each convolution, which then needs no bias,
and trains at 0.8 (`study:structure-and-learning-rate`). Batch norm is an assumption too: what makes
such a network train at that rate is what the report does not say.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

KERNELS = 8
DEPTH = 3


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network: images (N, *shape) to logits (N, classes), by `conv1`, ..., `conv3`, `fc`."""
    channels, height, width = shape
    norm = name.endswith("_bn")
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, DEPTH + 1):
        parts[f"conv{i}"] = nn.Conv2d(channels if i == 1 else KERNELS, KERNELS, 3, padding=1, bias=not norm)
        if norm:
            parts[f"bn{i}"] = nn.BatchNorm2d(KERNELS)
        parts[f"relu{i}"] = nn.ReLU()
        parts[f"pool{i}"] = nn.MaxPool2d(2)
    parts["flatten"] = nn.Flatten()
    parts["fc"] = nn.Linear(KERNELS * (height >> DEPTH) * (width >> DEPTH), classes)
    return nn.Sequential(parts)
