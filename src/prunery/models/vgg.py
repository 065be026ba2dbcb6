"""VGG-11, 13, 16 and 19 in their CIFAR form, with (`_bn`) and without batch norm.

Simonyan and Zisserman 2015, table 1, columns A, B, D and E: 3x3 convolutions with padding 1, ReLU, five
2x2 max-pools. The three fully connected layers of the paper are one linear layer here, which reads all
512 * (H // 32) * (W // 32) features: 512 for 32 x 32. Convolutions have a bias, but for those that a batch
norm follows (its shift does the same). No dropout. Names are those of the familiar layout: `features.0`, ...,
`classifier`.

VGG-16 at 32 x 32 with 10 classes: 14,710,464 + 5,120 = 14,715,584 weights, 313,201,664 MACs in weights.
"""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

CONVOLUTIONS = {11: (1, 1, 2, 2, 2), 13: (2, 2, 2, 2, 2), 16: (2, 2, 3, 3, 3), 19: (2, 2, 4, 4, 4)}
WIDTHS = (64, 128, 256, 512, 512)


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network `name`: images (N, *shape) to logits (N, classes)."""
    depth, _, norm = name.removeprefix("vgg").partition("_")
    channels, height, width = shape
    features = WIDTHS[-1] * (height >> len(WIDTHS)) * (width >> len(WIDTHS))
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        features=_features(CONVOLUTIONS[int(depth)], channels, norm == "bn"),
        flatten=nn.Flatten(),
        classifier=nn.Linear(features, classes),
    )
    return nn.Sequential(parts)


def _features(convolutions: tuple[int, ...], channels: int, norm: bool) -> nn.Sequential:
    parts: list[nn.Module] = []
    for repeats, width in zip(convolutions, WIDTHS, strict=True):
        for _ in range(repeats):
            parts.append(nn.Conv2d(channels, width, 3, padding=1, bias=not norm))
            parts += [nn.BatchNorm2d(width), nn.ReLU()] if norm else [nn.ReLU()]
            channels = width
        parts.append(nn.MaxPool2d(2))
    return nn.Sequential(*parts)
