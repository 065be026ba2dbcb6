"""Small networks with parts, paddings, writes into views, and parameters that take no part."""

from __future__ import annotations

import torch
from graph_nets import Head, conv, images, net
from torch import Tensor, nn
from torch.nn import functional


@net(images())
class Slices(nn.Module):
    """Views that are written into, parts of channels, padding by zeros."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.one, self.two, self.head = conv(3, 12), conv(4, 4), conv(12, 16), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        y = x.clone()
        y[:, :4] = self.one(x[:, :4])
        y[:, 4:8].mul_(2.0)
        return self.head(self.two(y))


@net(images())
class PaddedShortcut(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 8), conv(8, 16, 3, 2), Head(16)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        short = functional.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 4, 4))
        return self.head(functional.relu(self.two(x) + short))


@net(images())
class Accumulated(nn.Module):
    """A tensor of zeros that is filled part by part, and a buffer that takes part."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 8), conv(8, 8), Head(8)
        self.register_buffer("gain", torch.rand(8, 1, 1) + 0.5)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        total = torch.zeros_like(x)
        total += x * self.gain
        total.add_(self.two(x), alpha=0.5)
        return self.head(total)


@net(images())
class WrittenBatch(nn.Module):
    """A result is written into an empty tensor, row by row."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 8), nn.Conv2d(8, 8, 1), Head(8)

    def forward(self, x: Tensor) -> Tensor:
        x = self.one(x)
        out = x.new_zeros(x.shape[0], self.two.out_channels, *x.shape[2:])
        for i in range(x.shape[0]):
            out[i] = self.two(x[i : i + 1])[0]
        return self.head(functional.relu(out))


@net(images())
class UnusedParts(nn.Module):
    """Some parameters take no part in the run."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two, self.head = conv(3, 8), conv(8, 8), Head(8)
        self.spare, self.table = nn.Linear(8, 8), nn.Parameter(torch.randn(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.two(self.one(x)))
