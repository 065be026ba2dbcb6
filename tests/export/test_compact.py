"""Smaller models compute what the masked ones do, and nothing that matters less is left in them."""

import copy
import io
import pickle

import pytest
import torch
from export_kit import channel_masks, count, gap, normal, seeded, weight_masks
from graph_nets import example_of, load_all, made
from nets import ConvNet, mlp
from torch import nn

import prunery
from prunery.core.masks import Masks
from prunery.errors import CompactError, MasksError, ModelError, PruneryError
from prunery.export.compact import compacted

load_all()
X = normal(4, 3, 8, 8)
KINDS = [
    "DenseBlock",
    "DepthwiseSqueeze",
    "GroupedUnequal",
    "LstmTagger",
    "MultiheadAttention",
    "EncoderInModel",
    "FusedQkv",
    "TiedEmbedding",
    "InstanceNorm",
    "ConvTranspose",
]


@pytest.mark.parametrize("name", KINDS)
def test_half_of_all_channels_go_and_the_rest_computes_the_same(name):
    model, example = made(name), example_of(name)
    masks = channel_masks(model, example)
    done = compacted(model, masks, example)
    assert done.parameters[1] < 0.7 * done.parameters[0]
    assert count(done.model) == done.parameters[1]
    assert gap(done.model, model, masks, example_of(name, 3, seed=7)) < 1e-5


@pytest.mark.parametrize("name", ["DepthwiseSqueeze", "Inception", "EncoderInModel", "Gru", "FusedQkv"])
def test_unstructured_masks_leave_dead_and_constant_channels_that_go(name):
    model, example = made(name), example_of(name)
    masks = weight_masks(model, 0.95)
    done = compacted(model, masks, example)
    assert done.parameters[1] < 0.95 * done.parameters[0]
    assert not done.held_back
    assert gap(done.model, model, masks, example_of(name, 3, seed=7)) < 1e-5


def test_filters_that_prune_removed_go():
    model = ConvNet()
    masks = prunery.prune(model, 0.5, granularity="filter", scope="layer")
    small = prunery.compact(model, masks, X)
    assert small.conv2.weight.shape[1] < 8
    assert gap(small, model, masks, normal(5, 3, 8, 8, seed=9)) < 1e-5


def test_without_masks_the_zeros_of_the_model_count():
    model = mlp(6, 8, 3)
    with torch.no_grad():
        model[0].weight[:5] = 0
        model[0].bias[:5] = 0
        model[2].weight[:, 5] = 0
    small = prunery.compact(model, None, normal(2, 6))
    assert [tuple(p.shape) for p in small.parameters()] == [(2, 6), (2,), (3, 2), (3,)]
    assert gap(small, model, {}, normal(7, 6, seed=3)) < 1e-6


def test_what_is_only_read_by_what_goes_goes_too():
    model = mlp(6, 8, 8, 3)
    with torch.no_grad():
        model[4].weight[:, :6] = 0  # six units of the second layer are not used
        model[2].weight[6:, :5] = 0  # the other two use three of the first
    done = compacted(model, {}, normal(2, 6))
    assert [tuple(p.shape) for p in done.model.parameters()] == [(3, 6), (3,), (2, 3), (2,), (3, 2), (3,)]
    assert done.removed == {"0.weight": 5, "2.weight": 6}


def test_a_constant_goes_into_the_next_bias():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False))
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[0].bias[:2] = 0  # sigmoid(0) is 0.5
    done = compacted(model, {}, normal(2, 4))
    assert done.folded == 4
    assert done.model[0].out_features == 2
    assert done.model[2].bias.shape == (3,)
    expected = model[2].weight[:, :2].sum(1) * 0.5 + model[2].weight[:, 2:4] @ model[0].bias[2:4].sigmoid()
    assert torch.allclose(done.model[2].bias, expected, atol=1e-6)
    assert gap(done.model, model, {}, normal(9, 4, seed=2)) < 1e-5


def test_constants_before_a_padded_border_become_one():
    model = nn.Sequential(nn.Conv2d(3, 6, 3, padding=1), nn.Sigmoid(), nn.Conv2d(6, 4, 3, padding=1))
    with torch.no_grad():
        model[0].weight[:4] = 0
        model[0].bias[:4] = torch.tensor([0.0, 1.0, -2.0, 0.5])
    done = compacted(model, {}, X)
    assert done.merged == 3
    assert done.model[0].out_channels == 3
    assert gap(done.model, model, {}, normal(2, 3, 5, 5, seed=2)) < 1e-5


def test_channels_that_compute_the_same_become_one():
    model = nn.Sequential(nn.Conv2d(3, 6, 3), nn.BatchNorm2d(6), nn.ReLU(), nn.Conv2d(6, 4, 3)).eval()
    with torch.no_grad():
        for tensor in (*model[0].parameters(), *model[1].parameters()):
            tensor[3:5] = tensor[:1]
        model[1].weight[4] += 0.25  # what stands after the first differs here
    done = compacted(model, {}, X)
    assert done.twins == 1
    assert done.model[0].out_channels == 5
    assert torch.allclose(done.model[3].weight[:, 0], model[3].weight[:, 0] + model[3].weight[:, 3])
    assert gap(done.model, model, {}, normal(2, 3, 9, 9, seed=2)) < 1e-5


def test_one_merge_leads_to_the_next():
    model = mlp(4, 6, 6, 2)
    with torch.no_grad():
        model[0].weight[1], model[0].bias[1] = model[0].weight[0], model[0].bias[0]
        model[2].weight[3], model[2].bias[3] = model[2].weight[2], model[2].bias[2]
        model[2].weight[3, :2] = model[2].weight[2, :2].flip(0)  # the same once the first two are one
    done = compacted(model, {}, normal(2, 4))
    assert done.twins == 2
    assert gap(done.model, model, {}, normal(9, 4, seed=2)) < 1e-5


def test_units_that_differ_late_or_in_what_they_take_in_are_not_the_same():
    model = mlp(12, 4, 2)
    model[0].weight.data[1, :8], model[0].bias.data[1] = model[0].weight.data[0, :8], model[0].bias.data[0]
    assert compacted(model, {}, normal(2, 12)).twins == 0
    model = nn.Sequential(
        nn.Linear(4, 4), nn.Sigmoid(), nn.Linear(4, 4, bias=False), nn.Tanh(), nn.Linear(4, 2)
    )
    model[0].weight.data[:2] = 0  # constants, which the first two rows of the next layer weigh otherwise
    model[2].weight.data[1, 2:] = model[2].weight.data[0, 2:]
    done = compacted(model, {}, normal(2, 4))
    assert (done.folded, done.twins, done.held_back) == (2, 0, "")


def test_a_layer_of_constants_goes_but_for_one_unit_that_is_read_nowhere():
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3))
    model[0].weight.data.zero_()
    done = compacted(model, {}, normal(2, 4))
    assert (done.folded, done.idle, done.model[0].out_features, done.held_back) == (6, 1, 1, "")
    assert not done.model[2].weight.any()
    assert gap(done.model, model, {}, normal(9, 4, seed=2)) < 1e-6


def test_constants_are_folded_into_a_grouped_convolution():
    model = nn.Sequential(nn.Conv2d(3, 16, 1), nn.Sigmoid(), nn.Conv2d(16, 4, 1, groups=2))
    for rows in ([0, 1, 8, 9], range(16)):  # some, all
        model[0].weight.data[list(rows)] = 0
        done = compacted(model, {}, X)
        assert done.held_back == ""
        assert done.folded >= 2
        assert done.parameters[1] < done.parameters[0]
        assert gap(done.model, model, {}, normal(2, 3, 5, 5, seed=2)) < 1e-5


def test_a_weight_that_is_used_elsewhere_too_is_not_edited():
    class TiedTable(nn.Module):
        def __init__(self):
            super().__init__()
            self.table, self.fc = nn.Embedding(7, 4), nn.Linear(4, 4)
            self.bias = nn.Parameter(torch.zeros(7))

        def forward(self, x):
            x = torch.tanh(self.fc(self.table(x)))[0]
            return nn.functional.linear(x, self.table.weight, self.bias)

    model, x = seeded(TiedTable), torch.arange(7)[None]
    with torch.no_grad():
        model.fc.weight[1], model.fc.bias[1] = model.fc.weight[0], model.fc.bias[0]  # the table has no twins
        model.fc.weight[:, 2] = 0
        model.table.weight[:, 2] = 0
    done = compacted(model, None, x)
    assert (done.twins, done.model.table.embedding_dim) == (0, 3)
    assert gap(done.model, model, {}, x.flip(1)) < 1e-6
    model.fc.weight.data.zero_()  # all is constant: one unit stays, and is read as it was
    done = compacted(model, None, x)
    assert (done.idle, done.held_back, done.model.table.embedding_dim) == (0, "", 1)
    assert gap(done.model, model, {}, x.flip(1)) < 1e-6


def test_a_layer_that_does_not_matter_keeps_one_unit_that_is_read_nowhere():
    model = ConvNet()
    model.bn2.weight.data.zero_()
    done = compacted(model, {}, X)
    assert done.model.conv2.weight.shape[1] <= 8
    assert gap(done.model, model, {}, normal(3, 3, 8, 8, seed=5)) < 1e-5
    dead = mlp(4, 6, 3)
    dead[2].weight.data.zero_()
    done = compacted(dead, {}, normal(2, 4))
    assert (done.idle, done.model[0].out_features) == (1, 1)
    assert gap(done.model, dead, {}, normal(9, 4, seed=2)) < 1e-6


def test_the_same_in_training_unless_a_constant_was_folded():
    model = ConvNet().train()
    model.bn2.eval()
    masks = channel_masks(model, X)
    done = compacted(model, masks, X)
    assert done.exact_in_training
    assert [m.training for m in done.model.modules()] == [m.training for m in model.modules()]
    masked = copy.deepcopy(model)
    masks.apply_(masked)
    assert torch.allclose(done.model(X), masked(X), atol=1e-5)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 3))
    model[0].weight.data[:2] = 0
    model[1].running_mean.fill_(0.5)  # so the batch norm makes another constant in training
    done = compacted(model, {}, X)
    assert (done.folded, done.exact_in_training) == (2, False)
    model[0].bias.data[:2] = 0.5  # now it is 0 both times
    done = compacted(model, {}, X)
    assert (done.folded, done.exact_in_training, done.model[0].out_channels) == (0, True, 2)


def test_the_model_is_as_it_was():
    model = ConvNet().train()
    masks = weight_masks(model, 0.9)
    before = copy.deepcopy(model.state_dict())
    names = {name: id(p) for name, p in model.named_parameters()}
    prunery.compact(model, masks, X)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert names == {name: id(p) for name, p in model.named_parameters()}
    assert all(module.training for module in model.modules())


def test_a_smaller_model_is_a_plain_module():
    model, example = made("DenseBlock"), example_of("DenseBlock")
    small = prunery.compact(model, channel_masks(model, example), example).eval()
    expected = small(example)
    assert vars(small).keys() == vars(model).keys()
    assert torch.equal(copy.deepcopy(small)(example), expected)
    assert torch.equal(pickle.loads(pickle.dumps(small))(example), expected)
    file = io.BytesIO()
    torch.save(small.state_dict(), file)
    file.seek(0)
    assert torch.load(file).keys() == model.state_dict().keys()
    assert torch.allclose(torch.compile(small, backend="eager")(example), expected, atol=1e-6)
    exported = torch.export.export(small, (example,)).module()
    assert torch.allclose(exported(example), expected, atol=1e-5)
    loss = small.train()(example).square().mean()
    loss.backward()
    assert all(p.grad is not None and p.grad.shape == p.shape for p in small.parameters())


def test_compacting_twice_changes_nothing():
    model, example = made("SplitUnequal"), example_of("SplitUnequal")
    small = prunery.compact(model, channel_masks(model, example), example)
    done = compacted(small, None, example)
    assert done.removed == {}
    assert all(torch.equal(a, b) for a, b in zip(small.parameters(), done.model.parameters(), strict=True))


def test_half_precision_and_double():
    for dtype in (torch.float64, torch.bfloat16):
        model = seeded(lambda: mlp(6, 8, 3)).to(dtype)
        model[0].weight.data[:4] = 0
        small = prunery.compact(model, None, normal(2, 6))
        assert small[0].weight.shape == (4, 6)
        assert small[0].weight.dtype == dtype


def test_what_is_wrong_is_said():
    with pytest.raises(MasksError):
        prunery.compact(mlp(4, 3), Masks({"0.weight": torch.ones(2, 2, dtype=torch.bool)}), normal(2, 4))
    with pytest.raises(ModelError):
        prunery.compact(mlp(4, 3), None, normal(2, 5))
    model = mlp(4, 3)
    model.cache = model(normal(2, 4))  # cannot be copied
    with pytest.raises(CompactError, match="can be copied"):
        prunery.compact(model, None, normal(2, 4))
    assert issubclass(CompactError, PruneryError)
    assert issubclass(CompactError, RuntimeError)
