"""Bytes of a network, counted by hand."""

import io

import torch
from torch import nn
from torch.nn.utils.prune import custom_from_mask

from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.measure.size import size


def test_by_hand():
    model = nn.Sequential(nn.Linear(10, 7), nn.BatchNorm1d(7))  # 70 + 7, 7 + 7 + 7 + 7 floats and one int64
    whole = size(model)
    assert whole.dense == whole.sparse == 4 * (77 + 28) + 8
    masks = prune(model, 0.9)
    found = size(model, masks)
    assert found.dense == whole.dense
    assert found.sparse == whole.dense - 63 * 4 + 9  # 63 of 70 left out; 70 bits are 9 bytes
    assert found.zipped < whole.zipped


def test_masked_is_what_torchs_own_pruning_keeps():
    ours, theirs = (nn.Sequential(nn.Linear(10, 7), nn.Linear(7, 3)) for _ in range(2))
    masks = Masks({"0.weight": torch.rand(7, 10) < 0.5})
    found = size(ours, masks)
    custom_from_mask(theirs[0], "weight", masks["0.weight"].float())
    held = {**theirs.state_dict(keep_vars=True), "0.weight": theirs[0].weight}
    assert found.masked == sum(t.numel() * t.itemsize for t in theirs.state_dict().values())
    assert found.masked_memory == sum(t.numel() * t.itemsize for t in held.values())
    assert (size(ours).masked, size(ours).masked_memory) == (size(ours).dense, size(ours).dense)


def test_dense_is_what_torch_writes_headers_aside():
    model = nn.Linear(1000, 1000).double()
    file = io.BytesIO()
    torch.save(model.state_dict(), file)
    assert 0 < len(file.getvalue()) - size(model).dense < 4000


def test_tied_weights_count_once():
    model = nn.Sequential(nn.Linear(8, 8, bias=False), nn.Linear(8, 8, bias=False))
    model[1].weight = model[0].weight
    assert size(model).dense == 4 * 64
    assert size(model, Masks({"0.weight": torch.zeros(8, 8, dtype=torch.bool)})).sparse == 8
