"""Fully connected networks: `lenet300` (784-300-100-10) and `fc` (784-100x5-10), with ReLU between layers.

An image of any (C, H, W) is flattened to C*H*W inputs. LeNet-300-100 is the three-layer network of LeCun
et al. 1998, section III.C.4; theirs has scaled tanh units and a squared error. `fc` is the default network
of the code of Tanaka et al. 2020 (SynFlow): five hidden layers of 100.
"""

from __future__ import annotations

from collections import OrderedDict
from itertools import pairwise
from math import prod

from torch import nn

HIDDEN = {"lenet300": (300, 100), "fc": (100,) * 5}


def build(name: str, shape: tuple[int, int, int], classes: int) -> nn.Sequential:
    """Return the network `name`: images (N, *shape) to logits (N, classes). Layers are `fc1`, `fc2`, ..."""
    widths = (prod(shape), *HIDDEN[name], classes)
    parts: OrderedDict[str, nn.Module] = OrderedDict(flatten=nn.Flatten())
    for i, (inputs, outputs) in enumerate(pairwise(widths), start=1):
        parts[f"fc{i}"] = nn.Linear(inputs, outputs)
        parts[f"relu{i}"] = nn.ReLU()
    parts.popitem()  # the logits are left as they are
    return nn.Sequential(parts)
