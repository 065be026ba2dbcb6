"""What the tests of SynFlow's call share: its gradient, and that of a model in plain float64."""

import torch
from torch import nn

from prunery.core.context import ScoringContext
from prunery.core.evidence import gather
from prunery.core.layers import prunable


def flow(model, example=None, **given):
    return gather("flow_grad", ScoringContext(model, prunable(model), example=example, **given))


def alike(a, b):
    """Whether two gathered gradients are equal but for a factor: the number of equal examples."""
    assert a.keys() == b.keys()
    factor = sum(v.abs().sum() for v in a.values()) / sum(v.abs().sum() for v in b.values())
    return all(torch.allclose(a[k], factor * b[k], rtol=1e-9, atol=1e-12) for k in a)


def seeded(build, *args, **kwargs):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return build(*args, **kwargs)


def plain_flow(model, *args):
    """The gradient of the summed output on `args`, weights in absolute value, float64, by plain autograd."""
    with torch.no_grad():
        for p in model.double().eval().parameters():
            p.abs_()
    names = [layer.name for layer in prunable(model)]
    weights = [model.get_parameter(name) for name in names]
    return dict(zip(names, torch.autograd.grad(model(*args).sum(), weights), strict=True))


class Recurrent(nn.Module):
    def __init__(self, start=None, batch_first=True):
        super().__init__()
        self.start = start
        self.cell = nn.GRU(6, 8, batch_first=batch_first)
        self.head = nn.Linear(8, 3)

    def forward(self, x):
        size = len(x) if self.cell.batch_first else x.shape[1]
        state = None if self.start is None else self.start(size)
        return self.head(self.cell(x, state)[0])
