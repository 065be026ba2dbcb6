"""Which batch norm takes a layer's outputs as they are."""

import torch
from torch import nn

from prunery.core.norms_behind import norms_behind


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        for name in ("a", "b", "c", "d", "e"):
            self.add_module(name, nn.Conv2d(2, 2, 1))
        for name in ("norm_a", "after_relu", "shared", "unused"):
            self.add_module(name, nn.BatchNorm2d(2))
        self.plain = nn.BatchNorm2d(2, track_running_stats=False)

    def forward(self, x):
        x = self.norm_a(self.a(x))
        x = self.after_relu(torch.relu(self.b(x)))
        x = self.shared(self.c(x)) + self.shared(self.d(x))
        return self.plain(self.e(x))


def test_only_a_norm_with_statistics_that_takes_nothing_else_counts():
    model = Net().eval()
    modules = dict(model.named_modules())
    layers = ["a", "b", "c", "d", "e"]
    with norms_behind(modules, layers) as behind:
        for seed in range(2):
            model(torch.randn(3, 2, 4, 4, generator=torch.Generator().manual_seed(seed)))
    assert [behind[name] for name in layers] == ["norm_a", None, None, None, None]
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in model.modules())
