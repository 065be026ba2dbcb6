"""VGG-7: a plain network of six 3x3 convolutions, small enough to be trained on one core."""

from __future__ import annotations

from collections import OrderedDict

from torch import nn

WIDTHS = (32, "pool", 64, 128, "pool", 128, 128, "pool", 256)


def build(shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network: images (N, *shape) to logits (N, classes)."""
    parts: OrderedDict[str, nn.Module] = OrderedDict()
    channels, number = shape[0], 0
    for width in WIDTHS:
        if isinstance(width, str):
            parts[f"pool{number}"] = nn.MaxPool2d(2)
            continue
        number += 1
        parts[f"conv{number}"] = nn.Conv2d(channels, width, 3, padding=1, bias=False)
        parts[f"norm{number}"] = nn.BatchNorm2d(width)
        parts[f"relu{number}"] = nn.ReLU()
        channels = width
    parts["average"] = nn.AdaptiveAvgPool2d(1)
    parts["flatten"] = nn.Flatten()
    parts["fc"] = nn.Linear(channels, classes)
    return nn.Sequential(parts)
