"""Convolutional LeNets: `lenet5` (6-16-120-84-10) and `lenet5-caffe` (20-50-500-10).

Both here: 5x5 convolutions, ReLU after every hidden layer, 2x2 max-pooling, linear outputs.

`lenet5` has the sizes of LeCun et al. 1998, figure 2. Images under 32 pixels are padded by 2 in the first
convolution, so that MNIST's 28 x 28 is seen as the paper's 32 x 32. Deviations from the paper: ReLU for the
scaled tanh; max-pooling for the trainable subsampling; every one of the 16 maps reads all 6 (the paper's
table I connects some); C5 is written as a linear layer, which it is at 32 x 32; logits for the RBF outputs.
Weights at MNIST: 150 + 2,400 + 48,000 + 10,080 + 840 = 61,470.

`lenet5-caffe` is the larger one that pruning papers call LeNet-5: no padding. Caffe's own definition has a
single ReLU, after the layer of 500. Weights at MNIST: 500 + 25,000 + 400,000 + 5,000 = 430,500.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

MAPS = {"lenet5": (6, 16), "lenet5-caffe": (20, 50)}
HIDDEN = {"lenet5": (120, 84), "lenet5-caffe": (500,)}
_FIELD = 32  # the paper's input side


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network `name`: images (N, *shape) to logits (N, classes): `conv1`, `conv2`, `fc1`, ..."""
    channels, height, width = shape
    first, second = MAPS[name]
    padding = 2 if name == "lenet5" and min(height, width) < _FIELD else 0
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=nn.Conv2d(channels, first, 5, padding=padding),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(first, second, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
    )
    inputs = second * _side(height, padding) * _side(width, padding)
    for i, outputs in enumerate(HIDDEN[name], start=1):
        parts[f"fc{i}"] = nn.Linear(inputs, outputs)
        parts[f"relu{i + 2}"] = nn.ReLU()
        inputs = outputs
    parts[f"fc{len(HIDDEN[name]) + 1}"] = nn.Linear(inputs, classes)
    return nn.Sequential(parts)


def _side(side: int, padding: int) -> int:
    """Return the side of the second pooled map."""
    return ((side + 2 * padding - 4) // 2 - 4) // 2
