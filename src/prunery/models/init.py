"""The first weights of a model of the zoo; one rule for all.

Convolutions and linear layers: normal with variance 2 / fan_in (He et al. 2015, equation 10); the output
layer, which no ReLU follows, 1 / fan_in. Biases 0. Batch norm: scale 1, shift 0, mean 0, variance 1.
"""

from __future__ import annotations

import torch
from torch import nn

from prunery.errors import ModelError
from prunery.seeds import stream


def init_(model: nn.Module, *, seed: int) -> nn.Module:
    """Set every parameter and buffer of `model` in place, and return it.

    Each weight is drawn from its own stream, named after it: another number of classes, or another depth,
    leaves the layers of the same name and shape as they were.
    """
    output = [m for m in model.modules() if isinstance(m, nn.Linear)][-1]
    for name, module in model.named_modules():
        tensors = [*module.parameters(recurse=False), *module.buffers(recurse=False)]
        if isinstance(module, nn.Conv2d | nn.Linear):
            gain = 1.0 if module is output else 2.0
            _draw_(module, gain, stream(seed, "init", f"{name}.weight"))
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif tensors:
            raise ModelError(f"first weights of {name!r}", f"no rule for {type(module).__name__}", "add one")
    return model


def _draw_(module: nn.Conv2d | nn.Linear, gain: float, generator: torch.Generator) -> None:
    fan_in = module.weight[0].numel()
    nn.init.normal_(module.weight, std=(gain / fan_in) ** 0.5, generator=generator)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
