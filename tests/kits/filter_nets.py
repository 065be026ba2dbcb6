"""Networks whose forward is any function over named parts, for tests of filters."""

import torch
from torch import nn

import prunery

X = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))


class Net(nn.Module):
    """A forward of one's own over named parts."""

    def __init__(self, forward, **parts):
        super().__init__()
        self.call = forward
        for name, part in parts.items():
            setattr(self, name, part)

    def forward(self, x):
        return self.call(self, x)


def conv_net(forward, norm=None):
    torch.manual_seed(0)
    parts = {"a": nn.Conv2d(3, 8, 3, padding=1), "norm": norm or nn.BatchNorm2d(8)}
    return Net(forward, **parts, b=nn.Conv2d(8, 8, 3, padding=1), head=nn.Linear(8, 5)).eval()


def head(self, x):
    return self.head(torch.relu(self.b(x)).mean((2, 3)))


def riders(model, example=X, **about):
    """The norm's parameters that a cut of half the filters masks, and the masks."""
    masks = prunery.prune(model, 0.5, granularity="filter", example=example, **about)
    return {name for name in masks.uncounted if name.startswith("norm")}, masks
