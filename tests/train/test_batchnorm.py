"""Batch norm's statistics estimated anew: in batches that memory allows, as the plain average over them."""

import pytest
import torch
from torch import nn

from prunery.data.splits import Split
from prunery.train.batchnorm import estimate_


@pytest.mark.parametrize(
    ("size", "sizes"), [(16, [512, 88]), (64, [128] * 4 + [88]), (160, [32] * 18 + [24])]
)
def test_large_images_come_in_smaller_batches(size, sizes):
    images = torch.randint(0, 256, (600, 3, size, size), dtype=torch.uint8)
    split = Split("train", images, torch.zeros(600, dtype=torch.long), (0.5,) * 3, (0.25,) * 3, 0)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Flatten(), nn.LazyLinear(2))
    model(torch.zeros(2, 3, size, size))
    found, means = [], []

    def look(_, args):
        found.append(len(args[0]))
        means.append(args[0].mean((0, 2, 3)))

    model[0].register_forward_pre_hook(look)
    assert estimate_(model, split, seed=0) == 600
    assert found == sizes
    assert torch.allclose(model[0].running_mean, torch.stack(means).mean(0), atol=1e-4)
