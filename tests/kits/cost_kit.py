"""Masks that keep everything, costs by layer, torch's own count, and models written as one function."""

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from prunery.core.layers import all_layers
from prunery.measure.cost import cost


def ones(model, include=()):
    layers = all_layers(model, include)[0]
    return {layer.name: torch.ones(layer.parameter.shape, dtype=torch.bool) for layer in layers}


def effective(model, x, masks):
    price = cost(model, x, masks)
    assert price.notes == ()
    return {layer.name: layer.params.effective for layer in price.layers}


def macs(model, example, **options):
    return {layer.name: layer.macs.dense for layer in cost(model, example, **options).layers}


def outside(price):
    return {weight.name: weight.macs for weight in price.outside}


def flops(model, *args, **kwargs):
    """What torch counts for one call."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*args, **kwargs)
    return counter.get_total_flops()


def parameter(*shape, dtype=torch.float32, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return nn.Parameter(torch.randn(shape, generator=generator, dtype=dtype))


class Written(nn.Module):
    """A model that is one function of itself and its inputs, with these parameters, buffers and modules."""

    def __init__(self, function, **members):
        super().__init__()
        self.function = function
        for name, value in members.items():
            setattr(self, name, value)

    def forward(self, *args, **kwargs):
        return self.function(self, *args, **kwargs)
