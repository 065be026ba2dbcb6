"""ResNet-18, 34 and 50 (He et al. 2016, table 1) in two forms.

`resnet18`, ...: the CIFAR form, with a 3x3 stem of stride 1 and no max-pool.
`resnet18_imagenet`, ...: the paper's, with a 7x7 stem of stride 2 and a 3x3 max-pool of stride 2.

Shortcuts are option B (a 1x1 convolution with batch norm where the shape changes). In the bottleneck the
3x3 convolution has the stride, not the first 1x1 as in the paper: the variant known as v1.5, which common
trained weights have. Names are those of that common layout: `conv1`, `layer1.0.conv1`, `downsample.0`, `fc`.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import nn

BLOCKS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3)}
WIDTHS = (64, 128, 256, 512)
BOTTLENECK = {50}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut: (N, `channels`, H, W) to (N, `width`, H/stride, W/stride)."""

    expansion = 1

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = conv3x3(channels, width, stride)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = shortcut
        self.relu2 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.bn2(self.conv2(y))
        out: torch.Tensor = self.relu2(y + self.downsample(x))
        return out


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 and a shortcut: (N, `channels`, H, W) to (N, 4 * `width`, H/stride, W/stride)."""

    expansion = 4

    def __init__(self, channels: int, width: int, stride: int, shortcut: nn.Module) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.relu1 = nn.ReLU()
        self.conv2 = conv3x3(width, width, stride)
        self.bn2 = nn.BatchNorm2d(width)
        self.relu2 = nn.ReLU()
        self.conv3 = nn.Conv2d(width, width * self.expansion, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(width * self.expansion)
        self.downsample = shortcut
        self.relu3 = nn.ReLU()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return the block's output."""
        y = self.relu1(self.bn1(self.conv1(x)))
        y = self.relu2(self.bn2(self.conv2(y)))
        y = self.bn3(self.conv3(y))
        out: torch.Tensor = self.relu3(y + self.downsample(x))
        return out


def conv3x3(channels: int, width: int, stride: int = 1) -> nn.Conv2d:
    """Return a 3x3 convolution with padding 1 and no bias (a batch norm follows)."""
    return nn.Conv2d(channels, width, 3, stride, padding=1, bias=False)


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network `name`: images (N, *shape) to logits (N, classes)."""
    number, _, form = name.removeprefix("resnet").partition("_")
    depth = int(number)
    block = Bottleneck if depth in BOTTLENECK else BasicBlock
    parts = _stem(shape[0], imagenet=form == "imagenet")
    channels = WIDTHS[0]
    for i, (repeats, width) in enumerate(zip(BLOCKS[depth], WIDTHS, strict=True), start=1):
        parts[f"layer{i}"] = _stage(block, channels, width, repeats, stride=1 if i == 1 else 2)
        channels = width * block.expansion
    parts.update(avgpool=nn.AdaptiveAvgPool2d(1), flatten=nn.Flatten(), fc=nn.Linear(channels, classes))
    return nn.Sequential(parts)


def _stem(channels: int, *, imagenet: bool) -> OrderedDict[str, nn.Module]:
    if not imagenet:
        conv = conv3x3(channels, WIDTHS[0])
        return OrderedDict(conv1=conv, bn1=nn.BatchNorm2d(WIDTHS[0]), relu=nn.ReLU())
    conv = nn.Conv2d(channels, WIDTHS[0], 7, stride=2, padding=3, bias=False)
    pool = nn.MaxPool2d(3, stride=2, padding=1)
    return OrderedDict(conv1=conv, bn1=nn.BatchNorm2d(WIDTHS[0]), relu=nn.ReLU(), maxpool=pool)


def _stage(
    block: type[BasicBlock] | type[Bottleneck], channels: int, width: int, repeats: int, stride: int
) -> nn.Sequential:
    outputs = width * block.expansion
    first = block(channels, width, stride, _shortcut(channels, outputs, stride))
    return nn.Sequential(first, *(block(outputs, width, 1, nn.Identity()) for _ in range(repeats - 1)))


def _shortcut(channels: int, outputs: int, stride: int) -> nn.Module:
    if channels == outputs and stride == 1:
        return nn.Identity()
    return nn.Sequential(nn.Conv2d(channels, outputs, 1, stride, bias=False), nn.BatchNorm2d(outputs))
