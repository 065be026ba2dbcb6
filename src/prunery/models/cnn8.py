"""`cnn8`, `cnn8_bn`: the small CNN of the course report on structure and learning rate.

Known of it: CIFAR-10, 8 kernels in every convolution, small enough that an epoch takes seconds on two cores,
trained by SGD with batches of 512 at a learning rate of 0.8, plots that reach between 60 and 70 %, and that
pruning its filters leaves whole layers empty. The report does not give the rest. Assumed here: three 3x3
convolutions (padding 1) with ReLU, 2x2 max-pooling, then one linear layer.

`cnn8` pools behind each convolution and has no batch norm: 216 + 576 + 576 + 1,280 = 2,648 weights at
CIFAR-10. It does not survive the report's learning rate, so it cannot be the report's network.

`cnn8_bn` has a batch norm behind each convolution (which then has no bias) and pools behind the first two:
216 + 576 + 576 + 5,120 = 6,488 weights. It trains at 0.8 (`study:structure-and-learning-rate`), where
pooling behind all three ends some points lower. Both are assumptions: what makes such a network train at that
rate is what the report does not say.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

KERNELS = 8
DEPTH = 3
POOLS = {"cnn8": 3, "cnn8_bn": 2}


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network: images (N, *shape) to logits (N, classes), by `conv1`, ..., `conv3`, `fc`."""
    channels, height, width = shape
    norm, pools = name.endswith("_bn"), POOLS[name]
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    for i in range(1, DEPTH + 1):
        parts[f"conv{i}"] = nn.Conv2d(channels if i == 1 else KERNELS, KERNELS, 3, padding=1, bias=not norm)
        if norm:
            parts[f"bn{i}"] = nn.BatchNorm2d(KERNELS)
        parts[f"relu{i}"] = nn.ReLU()
        if i <= pools:
            parts[f"pool{i}"] = nn.MaxPool2d(2)
    parts["flatten"] = nn.Flatten()
    parts["fc"] = nn.Linear(KERNELS * (height >> pools) * (width >> pools), classes)
    return nn.Sequential(parts)
