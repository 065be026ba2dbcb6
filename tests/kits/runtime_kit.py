"""Networks and comparisons for the tests of the sparse runtime."""

from __future__ import annotations

import torch
from torch import nn

PRODUCTS = (nn.Conv1d, nn.Conv2d, nn.Linear)


def drawn(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def pruned(model, sparsity, *, seed=0):
    """`model` in eval mode: weights of its products random, that fraction 0; norms with statistics."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in model.modules():
            if isinstance(module, PRODUCTS):
                weight = torch.randn(module.weight.shape, generator=generator)
                weight *= (torch.rand(weight.shape, generator=generator) >= sparsity).float()
                module.weight.copy_(weight * (2 / max(1, weight.count_nonzero() / weight.shape[0])) ** 0.5)
            if isinstance(module, nn.BatchNorm2d):
                for tensor, low, high in (
                    (module.weight, 0.5, 1.5),
                    (module.bias, -0.3, 0.3),
                    (module.running_mean, -0.2, 0.2),
                    (module.running_var, 0.5, 2.0),
                ):
                    tensor.copy_(low + (high - low) * torch.rand(tensor.shape, generator=generator))
    return model.eval()


def apart(found, expected):
    """The largest difference as a fraction of the largest value."""
    assert found.shape == expected.shape
    if not expected.numel():
        return 0.0
    return float((found - expected).abs().max() / expected.abs().max().clamp(min=1e-30))


class Block(nn.Module):
    """A residual block whose shortcut is a strided 1x1 convolution."""

    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.one = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
        self.norm = nn.BatchNorm2d(outputs)
        self.two = nn.Conv2d(outputs, outputs, 3, 1, 1)
        self.short = nn.Conv2d(inputs, outputs, 1, stride)

    def forward(self, x):
        y = self.two(torch.relu_(self.norm(self.one(x))))
        y += self.short(x)
        return torch.relu(y)


class Everything(nn.Module):
    """Residual sums, pools, concatenation, groups, ReLU6, SiLU, a linear layer."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 24, 3, 1, 1)
        self.block = Block(24, 32, 2)
        self.wide = nn.Conv2d(32, 24, 1)
        self.deep = nn.Sequential(nn.Conv2d(32, 32, 3, 1, 1, groups=32), nn.BatchNorm2d(32), nn.ReLU6())
        self.join = nn.Sequential(nn.Conv2d(56, 40, 3, 1, 2, 2), nn.BatchNorm2d(40), nn.SiLU())
        self.last = nn.Sequential(nn.AvgPool2d(2), nn.Conv2d(40, 48, 3, 1, 1), nn.ReLU(), nn.MaxPool2d(2))
        self.head = nn.Linear(48, 10)

    def forward(self, x):
        x = self.block(nn.functional.max_pool2d(torch.relu(self.stem(x)), 3, 2, 1))
        x = torch.cat([self.wide(x), self.deep(x)], 1)
        return self.head(self.last(self.join(x)).mean((2, 3)))


def conv_net():
    """Two convolutions, a pool and a linear layer, for images of 16 x 16."""
    parts = [nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 16, 3, padding=1)]
    return pruned(nn.Sequential(*parts, nn.ReLU(), nn.Flatten(), nn.Linear(16 * 64, 10)), 0.9)


def agrees(fast, model, *shape, seed=0):
    """Assert that a callable computes what its model does."""
    x = drawn(*shape, seed=seed)
    with torch.no_grad():
        assert apart(fast(x), model(x)) < 1e-5
