"""`cnn8`: the small CNN of the course report on structure and learning rate, with 8 kernels a convolution.

Known of it: CIFAR-10, 8 kernels in every convolution, small enough that an epoch takes seconds on two
cores, and that pruning its filters leaves whole layers empty. The report does not give the rest. Assumed
here: three 3x3 convolutions (padding 1, with bias), each with ReLU and 2x2 max-pooling, then one linear
layer; no batch norm. Weights at CIFAR-10: 216 + 576 + 576 + 1,280 = 2,648.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

KERNELS = 8
DEPTH = 3


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network: images (N, *shape) to logits (N, classes), by `conv1`, `conv2`, `conv3`, `fc`."""
    channels, height, width = shape
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, DEPTH + 1):
        parts[f"conv{i}"] = nn.Conv2d(channels if i == 1 else KERNELS, KERNELS, 3, padding=1)
        parts[f"relu{i}"] = nn.ReLU()
        parts[f"pool{i}"] = nn.MaxPool2d(2)
    parts["flatten"] = nn.Flatten()
    parts["fc"] = nn.Linear(KERNELS * (height >> DEPTH) * (width >> DEPTH), classes)
    return nn.Sequential(parts)
