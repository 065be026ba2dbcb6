"""The narrow ResNets for CIFAR: `resnet20`, 32, 44, 56 and 110 (He et al. 2016, section 4.2), and `resnet8`.

A 3x3 stem of 16 channels, then three stages of n = (depth - 2) / 6 basic blocks with 16, 32 and 64 channels.
Shortcuts are the paper's option A: every second pixel, and zeros for the channels that are new (appended
after the old ones), so that they have no parameters.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

from prunery.models.resnet import BasicBlock, conv3x3

WIDTHS = (16, 32, 64)


class Subsample(nn.Module):
    """Option A: (N, C, H, W) to (N, C + extra, H/2, W/2), every second pixel and then channels of zeros."""

    def __init__(self, extra: int) -> None:
        super().__init__()
        self.extra = extra

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the shortcut's output."""
        return nn.functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 0, self.extra))

    def extra_repr(self) -> str:
        """Return what `print` shows between the brackets."""
        return f"extra={self.extra}"


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network `name`: images (N, *shape) to logits (N, classes)."""
    repeats = (int(name.removeprefix("resnet")) - 2) // 6
    parts: OrderedDict[str, nn.Module] = OrderedDict(
        conv1=conv3x3(shape[0], WIDTHS[0]), bn1=nn.BatchNorm2d(WIDTHS[0]), relu=nn.ReLU()
    )
    channels = WIDTHS[0]
    for i, width in enumerate(WIDTHS, start=1):
        parts[f"layer{i}"] = _stage(channels, width, repeats)
        channels = width
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes))
    return nn.Sequential(parts)


def _stage(channels: int, width: int, repeats: int) -> nn.Sequential:
    widens = width != channels
    shortcut = Subsample(width - channels) if widens else nn.Identity()
    first = BasicBlock(channels, width, 2 if widens else 1, shortcut)
    return nn.Sequential(first, *(BasicBlock(width, width, 1, nn.Identity()) for _ in range(repeats - 1)))
