"""Cost: weights and MACs by hand and against torch's own counter; nothing about the model changes."""

import math
from contextlib import contextmanager

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.utils.rnn import pack_sequence
from torch.utils.flop_counter import FlopCounterMode

from prunery.errors import MasksError, ModelError
from prunery.measure.cost import Amount, cost
from prunery.models.build import build
from prunery.models.names import MODELS


def all_same(n):
    return Amount(n, n, n)


def macs(model, example, **options):
    return {layer.name: layer.macs.dense for layer in cost(model, example, **options).layers}


def flops(model, *args, **kwargs):
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        model.eval()(*args, **kwargs)
    return counter.get_total_flops()


# The zoo


VGG16 = {
    # weights times positions: out * in * 9 * (side of the map)^2
    "features.0.weight": 64 * 3 * 9 * 32**2,
    "features.2.weight": 64 * 64 * 9 * 32**2,
    "features.5.weight": 128 * 64 * 9 * 16**2,
    "features.7.weight": 128 * 128 * 9 * 16**2,
    "features.10.weight": 256 * 128 * 9 * 8**2,
    "features.12.weight": 256 * 256 * 9 * 8**2,
    "features.14.weight": 256 * 256 * 9 * 8**2,
    "features.17.weight": 512 * 256 * 9 * 4**2,
    "features.19.weight": 512 * 512 * 9 * 4**2,
    "features.21.weight": 512 * 512 * 9 * 4**2,
    "features.24.weight": 512 * 512 * 9 * 2**2,
    "features.26.weight": 512 * 512 * 9 * 2**2,
    "features.28.weight": 512 * 512 * 9 * 2**2,
    "classifier.weight": 10 * 512,
}


def test_vgg16_layer_by_layer():
    found = cost(build("vgg16", seed=0), torch.randn(1, 3, 32, 32))
    assert {layer.name: layer.macs.dense for layer in found.layers} == VGG16
    assert found.macs == all_same(313_201_664)
    assert found.params == all_same(14_715_584)
    assert found.other_params == 4_224 + 10
    # one addition per bias and output is what published totals have on top
    biases = sum(VGG16[name] // (math.prod(shape[1:])) for name, shape in shapes(found).items())
    assert found.macs.dense + biases == 313_478_154


def shapes(found):
    return {layer.name: layer.shape for layer in found.layers}


@pytest.mark.parametrize("name", MODELS)
def test_the_zoo_against_torch_on_the_meta_device(name):
    model = build(name, device="meta")
    x = torch.empty(2, *MODELS[name].shape, device="meta")
    found = cost(model, x)
    assert flops(model, x) == 2 * 2 * found.macs.dense  # 2 FLOPs a MAC, 2 examples
    assert found.params.dense + found.other_params == sum(p.numel() for p in model.parameters())
    assert found.notes == ()


@pytest.mark.parametrize("batch", [1, 2, 7])
def test_per_example_whatever_the_batch(batch):
    assert cost(build("lenet5", seed=0), torch.randn(batch, 1, 28, 28)).macs.dense == 416_520


def test_an_example_on_the_cpu_serves_a_model_on_the_meta_device_and_in_half_precision():
    x = torch.zeros(1, 1, 28, 28)
    assert cost(build("lenet5", device="meta"), x).macs.dense == 416_520
    assert cost(build("lenet5", seed=0).bfloat16(), x).macs.dense == 416_520


# Kinds of layers, by hand


def test_grouped_convolution():
    model = nn.Conv2d(8, 12, 3, groups=4, padding=1, stride=2)
    x = torch.randn(2, 8, 9, 7)
    assert macs(model, x) == {"weight": 12 * 2 * 9 * 5 * 4}
    assert flops(model, x) == 2 * 2 * 12 * 2 * 9 * 5 * 4


def test_depthwise_and_dilated_1d_and_3d():
    assert macs(nn.Conv1d(6, 6, 5, groups=6), torch.randn(1, 6, 20)) == {"weight": 6 * 5 * 16}
    assert macs(nn.Conv1d(2, 3, 3, dilation=4), torch.randn(1, 2, 20)) == {"weight": 6 * 3 * 12}
    assert macs(nn.Conv3d(2, 3, 2), torch.randn(1, 2, 4, 5, 6)) == {"weight": 3 * 2 * 8 * 3 * 4 * 5}


def test_transposed_convolution_counts_input_positions():
    model = nn.ConvTranspose2d(6, 4, 3, stride=2, groups=2)
    x = torch.randn(3, 6, 5, 7)
    assert macs(model, x) == {"weight": 6 * 2 * 9 * 35}
    assert flops(model, x) == 3 * 2 * 6 * 2 * 9 * 35


def test_linear_on_sequences():
    assert macs(nn.Linear(4, 5), torch.randn(2, 3, 7, 4)) == {"weight": 20 * 21}


def test_a_call_without_a_batch_axis_is_one_example():
    assert macs(nn.Conv2d(4, 2, 3), torch.randn(4, 6, 6)) == {"weight": 2 * 4 * 9 * 16}
    assert macs(nn.Linear(4, 5), torch.randn(4)) == {"weight": 20}
    assert macs(nn.LSTM(4, 5), torch.randn(4, 4))["weight_ih_l0"] == 20 * 4 * 4


@pytest.mark.parametrize(("kind", "gates"), [(nn.RNN, 1), (nn.GRU, 3), (nn.LSTM, 4)])
@pytest.mark.parametrize("first", [True, False])
def test_recurrent_layers_count_every_step(kind, gates, first):
    model = kind(5, 7, num_layers=2, bidirectional=True, batch_first=first)
    x = torch.randn(3, 11, 5) if first else torch.randn(11, 3, 5)
    expected = {}
    for end in ("", "_reverse"):
        expected |= {f"weight_ih_l0{end}": gates * 7 * 5 * 11, f"weight_hh_l0{end}": gates * 7 * 7 * 11}
        expected |= {f"weight_ih_l1{end}": gates * 7 * 14 * 11, f"weight_hh_l1{end}": gates * 7 * 7 * 11}
    assert macs(model, x) == expected


def test_lstm_projection_packed_sequence_and_cell():
    assert macs(nn.LSTM(5, 7, proj_size=3, batch_first=True), torch.randn(2, 4, 5)) == {
        "weight_ih_l0": 28 * 5 * 4,
        "weight_hh_l0": 28 * 3 * 4,
        "weight_hr_l0": 3 * 7 * 4,
    }
    packed = pack_sequence([torch.randn(6, 5), torch.randn(2, 5)])  # 8 steps, 2 sequences: 4 on average
    assert macs(nn.LSTM(5, 7), packed) == {"weight_ih_l0": 28 * 5 * 4, "weight_hh_l0": 28 * 7 * 4}
    assert macs(nn.GRUCell(5, 7), torch.randn(3, 5)) == {"weight_ih": 21 * 5, "weight_hh": 21 * 7}


@pytest.mark.parametrize("first", [True, False])
def test_attention_rows_of_q_by_queries_and_of_k_and_v_by_keys(first):
    length, keys, batch, width = 5, 9, 2, 8
    q, k = torch.randn(batch, length, width), torch.randn(batch, keys, width)
    if not first:
        q, k = q.transpose(0, 1), k.transpose(0, 1)
    model = nn.MultiheadAttention(width, 2, batch_first=first)
    expected = {
        "in_proj_weight": width * width * (length + 2 * keys),
        "out_proj.weight": width * width * length,
    }
    assert macs(model, (q, k, k)) == expected
    assert macs(model, {"value": k, "query": q, "key": k}, batch=batch) == expected
    masks = {"in_proj_weight": torch.ones(24, 8, dtype=torch.bool)}
    masks["in_proj_weight"][:8, 0] = False  # eight weights of q, used 5 times each
    masks["in_proj_weight"][8:, :2] = False  # and 32 of k and v, used 9 times each
    found = cost(model, (q, k, k), masks)
    assert found.layers[0].macs.kept == expected["in_proj_weight"] - 8 * 5 - 32 * 9
    assert found.layers[0].params.kept == 192 - 40


def test_attention_with_other_key_and_value_widths():
    model = nn.MultiheadAttention(8, 2, kdim=6, vdim=4, batch_first=True)
    example = (torch.randn(1, 5, 8), torch.randn(1, 9, 6), torch.randn(1, 9, 4))
    assert macs(model, example) == {
        "q_proj_weight": 64 * 5,
        "k_proj_weight": 48 * 9,
        "v_proj_weight": 32 * 9,
        "out_proj.weight": 64 * 5,
    }


def test_transformer_layer_against_torch():
    model = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    x = torch.randn(2, 6, 16)
    found = macs(model, x)
    assert found["self_attn.in_proj_weight"] == 6 * 16 * 48  # not hidden by the fused kernel
    assert torch.backends.mha.get_fastpath_enabled()
    scores = 2 * (6 * 6 * 16)  # q k^T and its product with v: no weights
    with sdpa_kernel(SDPBackend.MATH), plain_layers():
        assert flops(model, x) == 2 * 2 * (sum(found.values()) + scores)


@contextmanager
def plain_layers():
    torch.backends.mha.set_fastpath_enabled(False)
    yield
    torch.backends.mha.set_fastpath_enabled(True)


def test_padded_positions_count_as_the_shape_says():
    model = nn.TransformerEncoder(nn.TransformerEncoderLayer(16, 4, 32, batch_first=True), 1)
    padding = torch.arange(6).expand(2, 6) >= 4  # eval mode would pack the sequences
    found = macs(model, {"src": torch.randn(2, 6, 16), "src_key_padding_mask": padding})
    assert found["layers.0.linear1.weight"] == 6 * 16 * 32


# Sharing, calling, dividing


class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = nn.Linear(4, 4)
        self.b = nn.Linear(4, 4)
        self.idle = nn.Linear(4, 2)
        self.b.weight = self.a.weight

    def forward(self, x):
        return self.b(self.a(self.a(x)))


def test_reused_modules_count_each_time_and_tied_weights_once():
    found = cost(Twice(), torch.randn(5, 4))
    assert {x.name: x.macs.dense for x in found.layers} == {"a.weight": 48, "idle.weight": 0}
    assert found.params.dense == 16 + 8
    assert found.other_params == 4 + 4 + 2
    assert found.notes == ("0 MACs for idle.weight: the model never calls it",)


class Keywords(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, scale, *, x):
        return {"out": self.fc(x) * scale}


def test_an_example_may_be_a_tuple_or_keywords():
    x = torch.randn(2, 4)
    assert macs(Keywords(), {"scale": 2.0, "x": x}) == {"fc.weight": 12}
    assert macs(nn.Linear(4, 3), (x,)) == macs(nn.Linear(4, 3), [x]) == {"weight": 12}


class Frames(nn.Module):
    """Frames of a video folded into the batch."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(3, 2, 3)

    def forward(self, x):
        return self.conv(x.flatten(0, 1))


def test_frames_folded_into_the_batch_belong_to_their_example():
    assert macs(Frames(), torch.randn(2, 5, 3, 6, 6)) == {"conv.weight": 54 * 16 * 5}


class OncePerCall(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(4, 3)

    def forward(self, x):
        return x.sum() + self.fc(torch.ones(5, 4)).sum()


def test_uses_that_do_not_divide_by_the_batch_are_an_error():
    with pytest.raises(ModelError, match=r"5 times in a batch of 2.*batch size 1"):
        cost(OncePerCall(), torch.randn(2, 4))
    assert macs(OncePerCall(), torch.randn(1, 4)) == {"fc.weight": 60}


def test_an_example_that_the_model_refuses_is_an_error():
    with pytest.raises(ModelError, match="raised RuntimeError on the example"):
        cost(build("lenet300", seed=0), torch.randn(1, 5))


def test_masks_that_do_not_fit_are_an_error():
    model, x = nn.Linear(4, 3), torch.randn(1, 4)
    with pytest.raises(MasksError, match="no parameter"):
        cost(model, x, {"fc.weight": torch.ones(3, 4, dtype=torch.bool)})
    with pytest.raises(MasksError, match="shape"):
        cost(model, x, {"weight": torch.ones(4, 3, dtype=torch.bool)})


def test_a_model_without_prunable_weights_is_an_error():
    with pytest.raises(ModelError, match="no prunable weight"):
        cost(nn.ReLU(), torch.randn(1))


@pytest.mark.parametrize("batch", [0, -8, "8", 2.0])
def test_a_number_of_examples_that_is_none(batch):
    with pytest.raises(ModelError, match="whole number from 1 on"):
        cost(nn.Linear(8, 6), torch.randn(8, 8), batch=batch)


def test_what_is_no_model_or_no_masks():
    with pytest.raises(ModelError, match="of type str"):
        cost("model", torch.ones(1, 8))
    with pytest.raises(MasksError, match="mapping"):
        cost(nn.Linear(8, 6), torch.ones(1, 8), [1])
