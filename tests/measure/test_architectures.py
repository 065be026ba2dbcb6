"""Costs of well-known architectures, written out: MACs against torch's count, and what lives."""

import pytest
import torch
from architectures import GPT2, ConvNeXt, Experts, Llama, LoRA, T5Attention, WindowAttention
from cost_kit import flops, macs, ones, outside
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.measure.cost import Amount, cost

IDS = torch.randint(0, 30, (2, 7))


def transformer(model):
    """Per example: what torch counts, less the products of attention, which have no weight."""
    with sdpa_kernel(SDPBackend.MATH):
        return flops(model, IDS) // (2 * len(IDS)) - 2 * 7 * 7 * 16


@pytest.mark.parametrize("kind", [GPT2, T5Attention, Llama])
def test_language_models_as_torch_counts(kind):
    model = kind()
    price = cost(model, {"input_ids": IDS})
    assert price.macs.dense == transformer(model)
    assert price.notes == price.outside == ()
    meta = cost(kind().to("meta"), {"input_ids": IDS})
    assert [layer.macs for layer in meta.layers] == [layer.macs for layer in price.layers]


def test_gpt2_by_hand():
    assert macs(GPT2(), {"input_ids": IDS}) == {
        "c_attn.weight": 16 * 48 * 7,
        "c_proj.weight": 16 * 16 * 7,
        "c_fc.weight": 16 * 64 * 7,
        "c_out.weight": 64 * 16 * 7,
        "lm_head.weight": 30 * 16 * 7,
    }


@pytest.mark.parametrize("kind", [GPT2, T5Attention, Llama])
def test_the_flow_of_language_models(kind):
    model = kind()
    masks = ones(model)
    price = cost(model, {"input_ids": IDS}, masks)
    assert price.notes == ()
    assert price.params.effective == price.params.dense


def test_what_dies_with_a_unit():
    masks = ones(GPT2())
    masks["c_fc.weight"][:, 3] = False  # a column of (in, out) is a unit, and a row of the next reads it
    masks["c_out.weight"][5] = False  # nothing reads this unit
    assert cost(GPT2(), {"input_ids": IDS}, masks).notes == ()
    live = {layer.name: layer.params for layer in cost(GPT2(), {"input_ids": IDS}, masks).layers}
    assert live["c_fc.weight"] == Amount(16 * 64, 16 * 63, 16 * 62)
    assert live["c_out.weight"] == Amount(64 * 16, 63 * 16, 62 * 16)

    masks = ones(Llama())
    masks["gate_proj.weight"][4] = False
    live = {layer.name: layer.params.effective for layer in cost(Llama(), {"input_ids": IDS}, masks).layers}
    assert (live["gate_proj.weight"], live["up_proj.weight"]) == (23 * 16, 23 * 16)
    assert live["down_proj.weight"] == 16 * 23

    masks = ones(T5Attention())
    masks["o.weight"][:, :8] = False  # nothing reads the first head
    live = {
        layer.name: layer.params.effective for layer in cost(T5Attention(), {"input_ids": IDS}, masks).layers
    }
    assert live == {"q.weight": 128, "k.weight": 128, "v.weight": 128, "o.weight": 128}


@pytest.mark.parametrize("how", ["loop", "gathered"])
def test_stacked_experts(how):
    model, x = Experts(how=how), torch.randn(1, 10, 8)
    price = cost(model, x, include=["*_proj"])
    assert price.macs.dense * 2 == flops(model, x)
    by_name = {layer.name: layer.macs.dense for layer in price.layers}
    assert by_name == {"router.weight": 32 * 10, "gate_up_proj": 12 * 8 * 20, "down_proj": 8 * 6 * 20}
    without = cost(model, x)
    assert without.macs.dense == 320
    assert outside(without) == {"gate_up_proj": 1920, "down_proj": 960}


@pytest.mark.parametrize("how", ["loop", "gathered"])
def test_masks_of_stacked_experts(how):
    model, x = Experts(how=how), torch.randn(1, 10, 8)
    masks = ones(model, ["*_proj"])
    chosen = model.router(x[0]).softmax(-1).topk(2, -1)[1].flatten().bincount(minlength=4)
    masks["down_proj"][1] = False
    price = cost(model, x, masks)
    amounts = {layer.name: layer.macs for layer in price.layers}
    assert amounts["down_proj"] == Amount(960, 960 - 48 * int(chosen[1]), 960 - 48 * int(chosen[1]))
    assert any("topk chooses by value" in note for note in price.notes)


def test_adapters_beside_a_layer():
    model = nn.Sequential(LoRA(nn.Linear(8, 6)), nn.ReLU(), nn.Linear(6, 3))
    price = cost(model, torch.randn(2, 5, 8))
    assert [layer.name for layer in price.layers] == ["0.base_layer.weight", "2.weight"]
    assert price.macs.dense == (48 + 18) * 5
    assert outside(price) == {"0.lora_A.default.weight": 16 * 5, "0.lora_B.default.weight": 12 * 5}
    masks = ones(model)
    masks["0.base_layer.weight"][2] = False  # the adapter still writes to the unit
    assert [layer.params.effective for layer in cost(model, torch.randn(2, 5, 8), masks).layers] == [40, 18]


def test_blocks_of_vision_models():
    window, x = WindowAttention(), torch.randn(3, 4, 8)
    price = cost(window, x, ones(window))
    assert price.macs == Amount(*[flops(window, x) // 6 - 2 * 4 * 4 * 8] * 3)
    assert price.notes == price.outside == ()
    block, image = ConvNeXt(), torch.randn(2, 8, 9, 9)
    price = cost(block, image, ones(block))
    assert price.macs == Amount(*[flops(block, image) // 4] * 3)
    assert price.notes == price.outside == ()
