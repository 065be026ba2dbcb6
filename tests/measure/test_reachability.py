"""Effective cost through norms, activations, recurrence and attention; what cannot be followed is said."""

import pytest
import torch
from cost_kit import effective, ones
from torch import nn

from prunery.core.masks import Masks
from prunery.measure.cost import Amount, cost
from prunery.models.build import build


def test_a_norm_scale_that_is_removed_or_zero_stops_its_channel():
    model = nn.Sequential(nn.Conv2d(2, 4, 3, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))
    x = torch.randn(1, 2, 6, 6)
    masks = ones(model)
    with torch.no_grad():
        model[1].weight[0] = 0
        model[1].running_mean += 1  # its shift is no signal
    assert effective(model, x, masks) == {"0.weight": 54, "3.weight": 9}
    masks["1.weight"] = torch.tensor([True, True, True, False])
    assert effective(model, x, Masks(masks, uncounted=["1.weight"])) == {"0.weight": 36, "3.weight": 6}
    assert cost(model, x).params.effective == 72 + 12  # without masks nothing is removed


def test_a_tap_that_only_meets_padding_counts_with_its_kernel():
    model = nn.Sequential(nn.Conv2d(2, 3, 3, padding=1), nn.Conv2d(3, 2, 3, padding=1))
    masks, x = ones(model), torch.randn(1, 2, 1, 1)
    assert effective(model, x, masks) == {"0.weight": 54, "1.weight": 54}
    masks["0.weight"][0] = False
    assert effective(model, x, masks) == {"0.weight": 36, "1.weight": 36}


@pytest.mark.parametrize("kind", [nn.Sigmoid, nn.GELU, nn.Softmax, nn.Tanh, nn.ELU, nn.Hardswish, nn.ReLU6])
def test_activations_let_a_path_through(kind):
    part = kind(dim=1) if kind is nn.Softmax else kind()
    model = nn.Sequential(nn.Linear(3, 4), part, nn.Linear(4, 2))
    assert effective(model, torch.zeros(1, 3) - 100, ones(model)) == {"0.weight": 12, "2.weight": 8}


def test_layer_norm_passes_a_signal_on_and_rms_norm_does_not():
    found = []
    for norm in (nn.LayerNorm(4), nn.RMSNorm(4)):
        model = nn.Sequential(nn.Linear(3, 4), norm, nn.Linear(4, 2))
        masks = ones(model)
        masks["0.weight"][1] = False
        found.append(effective(model, torch.randn(1, 3), masks))
    assert found == [{"0.weight": 9, "2.weight": 8}, {"0.weight": 9, "2.weight": 6}]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
def test_recurrent_layers(kind):
    gates = 4 if kind is nn.LSTM else 3
    model = nn.Sequential()
    model.add_module("fc", nn.Linear(3, 5))
    model.add_module("rnn", kind(5, 6, batch_first=True))
    x, masks = torch.randn(2, 7, 3), ones(model)
    everything = {"fc.weight": 15, "rnn.weight_ih_l0": gates * 30, "rnn.weight_hh_l0": gates * 36}
    assert effective(model, x, masks) == everything
    masks["fc.weight"][0] = False
    assert effective(model, x, masks) == {
        **everything,
        "fc.weight": 12,
        "rnn.weight_ih_l0": gates * 24,
    }


def test_attention_heads():
    model = nn.TransformerEncoderLayer(8, 2, 12, batch_first=True, norm_first=True)
    x, masks = torch.randn(2, 5, 8), ones(model)
    full = effective(model, x, masks)
    assert full == {name: mask.numel() for name, mask in masks.items()}
    masks["self_attn.out_proj.weight"][:, :4] = False  # nothing reads the first head
    masks["linear1.weight"][3] = False
    assert effective(model, x, masks) == {
        "self_attn.in_proj_weight": 3 * 4 * 8,
        "self_attn.out_proj.weight": 32,
        "linear1.weight": 11 * 8,
        "linear2.weight": 8 * 11,
    }


def test_the_value_path_survives_without_queries():
    model = nn.MultiheadAttention(4, 2, batch_first=True)
    x, masks = torch.randn(1, 3, 4), ones(model)
    masks["in_proj_weight"][:4] = False  # all scores equal: still the mean of the values; the keys are moot
    found = effective(model, (x, x, x), masks)
    assert found == {"in_proj_weight": 16, "out_proj.weight": 16}


# Hand-written parts


class CentredNorm(nn.Module):
    def forward(self, x):
        y = x - x.mean(-1, keepdim=True)
        return y / torch.sqrt((y * y).mean(-1, keepdim=True) + 1e-6)


class RootNorm(nn.Module):
    def forward(self, x):
        return x * torch.rsqrt(x.pow(2).mean(-1, keepdim=True) + 1e-6)


class Scale(nn.Module):
    """Values so large that what comes next saturates."""

    def forward(self, x):
        return x * 100


class Squeeze(nn.Module):
    """Squeeze and excite: a gate per channel."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Conv2d(4, 2, 1), nn.Conv2d(2, 4, 1)

    def forward(self, x):
        return x * torch.sigmoid(self.b(self.a(x.mean((2, 3), keepdim=True)).relu()))


class Attend(nn.Module):
    """Causal attention of one head, spelt out."""

    def forward(self, x):
        q, k, v = x.chunk(3, -1)
        future = torch.ones(x.shape[1], x.shape[1], dtype=torch.bool).triu(1)
        return (q @ k.transpose(1, 2)).masked_fill(future, -torch.inf).softmax(-1) @ v


class Largest(nn.Module):
    def forward(self, x):
        return x.amax((2, 3)) + x.max(-1)[0].max(dim=-1).values


def net(*parts):
    return nn.Sequential(*parts)


def shifted():
    norm = nn.BatchNorm2d(4)
    nn.init.constant_(norm.running_mean, 1.0)
    return norm


@pytest.mark.parametrize(
    ("model", "x", "gone", "expected"),
    [
        # every channel gets the others' mean, so all columns of the next layer stay
        (net(nn.Linear(4, 6), CentredNorm(), nn.Linear(6, 3)), (2, 4), [1], [20, 18]),
        (net(nn.Linear(4, 6), RootNorm(), nn.Linear(6, 3)), (2, 4), [1], [20, 15]),
        # a normalised signal is negative as often as not, which is no reason to stop it
        (net(nn.Linear(4, 6), nn.LayerNorm(6), nn.ReLU(), nn.Linear(6, 3)), (1, 4), [1], [20, 18]),
        (net(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1)), (1, 2, 3, 3), [0], [6, 4]),
        (net(nn.Conv2d(2, 4, 1), nn.GroupNorm(2, 4), nn.Conv2d(4, 1, 1)), (1, 2, 3, 3), [0, 1], [4, 2]),
        (net(nn.Conv2d(2, 4, 1), nn.InstanceNorm2d(4), nn.Conv2d(4, 1, 1)), (1, 2, 3, 3), [0], [6, 3]),
        (net(nn.Conv2d(2, 4, 1), shifted(), nn.Conv2d(4, 1, 1)), (1, 2, 3, 3), [0], [6, 3]),
        # what saturates does so for these values only
        (net(nn.Linear(4, 6), Scale(), nn.Tanh(), nn.Linear(6, 3)), (1, 4), [1], [20, 15]),
        (net(nn.Linear(3, 4), Scale(), nn.GLU(), nn.Linear(2, 2)), (1, 3), [1], [6, 2]),  # gate row 3 is moot
        # a sigmoid of nothing still says 0.5: what reads it is kept, on the safe side
        (net(nn.Linear(4, 6), Scale(), nn.Sigmoid(), nn.Linear(6, 3)), (1, 4), [1], [20, 18]),
        (net(nn.Linear(4, 6), nn.Linear(6, 3), nn.Softmax(1)), (1, 4), [1], [20, 15]),
        (net(nn.Linear(4, 6), Scale(), nn.GRU(6, 2)), (3, 4), [1], [20, 30, 12]),
        (net(nn.Linear(3, 4), nn.PReLU(4), nn.Dropout(), nn.Linear(4, 2)), (1, 3), [1], [9, 6]),
        # channel 1: its column in the squeeze, its row in the excitation, its column after
        (net(nn.Conv2d(3, 4, 1), Squeeze(), nn.Conv2d(4, 2, 1)), (1, 3, 5, 5), [1], [9, 6, 6, 6]),
        # q 0 is gone and k 0 (row 2) is moot with it; v 0 (row 4) is gone: its column after
        (net(nn.Linear(3, 6), Attend(), nn.Linear(2, 5)), (1, 4, 3), [0], [12, 10]),
        (net(nn.Linear(3, 6), Attend(), nn.Linear(2, 5)), (1, 4, 3), [4], [15, 5]),
        (net(nn.Conv2d(3, 4, 1), Largest(), nn.Linear(4, 2)), (1, 3, 5, 5), [1], [9, 6]),
    ],
)
def test_parts_of_networks(model, x, gone, expected):
    masks = ones(model)
    assert effective(model, torch.randn(x), masks) == {name: mask.numel() for name, mask in masks.items()}
    masks["0.weight"][gone] = False
    assert list(effective(model, torch.randn(x), masks).values()) == expected


class Centred(nn.Module):
    def forward(self, x):
        return x - x.mean(-1, keepdim=True)


def test_outputs_that_add_up_to_zero_are_alive():
    assert effective(
        net(nn.Linear(3, 4), Centred()), torch.randn(1, 3), {"0.weight": torch.ones(4, 3) > 0}
    ) == {"0.weight": 12}


@pytest.mark.parametrize("pool", [nn.MaxPool1d(4), nn.AdaptiveMaxPool1d(2)])
def test_a_pool_reads_its_whole_window(pool):
    model = net(nn.Linear(3, 8), nn.Unflatten(1, (1, 8)), pool, nn.Flatten(), nn.Linear(2, 2))
    masks = ones(model)
    masks["4.weight"][:, 0] = False  # nothing reads the first window: four rows are moot
    assert effective(model, torch.randn(1, 3), masks) == {"0.weight": 12, "4.weight": 2}


class Maxout(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        return torch.max(a, b)


class MaxOver(nn.Module):
    def forward(self, x):
        a, b = x.chunk(2, 1)
        both = torch.stack([a, b])
        return both.max(0)[0] + both.amax(dim=0) + both.max(dim=0, keepdim=True).values[0]


@pytest.mark.parametrize("part", [Maxout(), MaxOver()])
def test_a_maximum_reads_all_of_its_inputs(part):
    model = nn.Sequential(nn.Linear(3, 40), part, nn.Linear(20, 2))
    masks = ones(model)
    masks["2.weight"][:, :5] = False  # nothing reads the first five maxima: ten rows are moot
    assert effective(model, torch.randn(1, 3), masks) == {"0.weight": 90, "2.weight": 30}


# What cannot be followed is said


class TopTwo(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 4), nn.Linear(2, 2)

    def forward(self, x):
        return self.b(self.a(x).topk(2).values)


class Detached(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = (nn.Conv2d(4, 4, 3, padding=1, bias=False) for _ in range(3))

    def forward(self, x):
        return self.c(self.b(self.a(x)).detach())


def test_what_cannot_be_followed_is_kept_and_noted():
    model = TopTwo()
    masks = ones(model)
    masks["a.weight"][0] = False
    found = cost(model, torch.randn(1, 3), masks)
    assert found.params == Amount(16, 13, 13)
    assert found.notes == (
        "effective = kept: NotImplementedError on following the flow: "
        "topk chooses by value, and the flow has none",
    )
    model = Detached()
    masks = ones(model)
    masks["a.weight"][0] = False
    found = cost(model, torch.randn(1, 4, 6, 6), masks)
    assert [layer.params.effective for layer in found.layers] == [108, 144, 108 + 36]
    assert found.notes == ("effective = kept for a.weight, b.weight: no flow was found through it",)


def test_the_meta_device_has_no_flow():
    model = build("lenet300", device="meta")
    masks = {"fc1.weight": torch.zeros(300, 784, dtype=torch.bool)}
    found = cost(model, torch.empty(1, 1, 28, 28), masks)
    assert found.params == Amount(266_200, 31_000, 31_000)
    assert "meta device" in found.notes[0]
