"""Costs of models of transformers and peft, from small configurations; skipped where they are not installed.

`test_architectures.py` has the same parts in plain torch.
"""

import pytest
import torch
from cost_kit import flops, ones, outside
from torch.nn.attention import SDPBackend, sdpa_kernel

from prunery.measure.cost import cost

transformers = pytest.importorskip("transformers")

IDS = torch.arange(24).view(2, 12) % 19 + 2
SMALL = {"vocab_size": 60, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
GATED = {**SMALL, "intermediate_size": 32, "num_attention_heads": 4, "num_key_value_heads": 2}
SEQUENCES = {"input_ids": IDS, "decoder_input_ids": IDS[:, :7]}
IMAGES = {"pixel_values": torch.randn(2, 3, 16, 16)}


def of(model, config, **settings):
    """A model of a small configuration."""
    return getattr(transformers, model)(getattr(transformers, config)(**settings)).eval()


# name: (model, configuration, its settings, what the model is called with)
DENSE = {
    "gpt2": (
        "GPT2LMHeadModel",
        "GPT2Config",
        {"n_layer": 2, "n_head": 2, "n_embd": 16, "vocab_size": 60},
        {"input_ids": IDS},
    ),
    "bert": ("BertForMaskedLM", "BertConfig", {**SMALL, "intermediate_size": 32}, {"input_ids": IDS}),
    "t5": (
        "T5ForConditionalGeneration",
        "T5Config",
        {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2, "vocab_size": 60},
        SEQUENCES,
    ),
    "llama": ("LlamaForCausalLM", "LlamaConfig", GATED, {"input_ids": IDS}),
    "llama, tied": (
        "LlamaForCausalLM",
        "LlamaConfig",
        {**GATED, "tie_word_embeddings": True},
        {"input_ids": IDS},
    ),
    "vit": (
        "ViTForImageClassification",
        "ViTConfig",
        {**SMALL, "intermediate_size": 32, "image_size": 16, "patch_size": 4},
        IMAGES,
    ),
    "convnext": (
        "ConvNextV2ForImageClassification",
        "ConvNextV2Config",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2},
        IMAGES,
    ),
}


def without_scores(model, example):
    """What torch counts for one example, less its batched products: attention has no other."""
    from torch.utils.flop_counter import FlopCounterMode

    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        model(**example)
    batch = len(next(iter(example.values())))
    counts = counter.get_flop_counts()["Global"]
    return (counter.get_total_flops() - counts.get(torch.ops.aten.bmm, 0)) // (2 * batch)


@pytest.mark.parametrize("name", DENSE)
def test_as_torch_counts_and_nothing_is_dead(name):
    model, config, settings, example = DENSE[name]
    model = of(model, config, **settings)
    price = cost(model, example, ones(model))
    assert price.macs.dense == without_scores(model, example)
    assert price.notes == price.outside == ()
    assert price.params.effective == price.params.dense
    assert price.macs.effective == price.macs.dense


@pytest.mark.parametrize("how", ["eager", "batched_mm", "grouped_mm"])
def test_experts_of_mixtral(how):
    model = of("MixtralForCausalLM", "MixtralConfig", num_local_experts=4, **GATED)
    model.config._experts_implementation = how
    example = {"input_ids": IDS[:1]}
    price = cost(model, example, include=["*.experts.*", "*.gate.weight"])
    by_kind = {"gate_up_proj": 0, "down_proj": 0}
    for layer in price.layers:
        if "experts" in layer.name:
            by_kind[layer.name.rpartition(".")[2]] += layer.macs.dense
    assert by_kind == {"gate_up_proj": 2 * 64 * 16 * 24, "down_proj": 2 * 16 * 32 * 24}  # two experts a token
    assert price.outside == ()
    assert outside(cost(model, example))["model.layers.0.mlp.experts.down_proj"] == 16 * 32 * 24


def test_an_adapter_of_peft():
    peft = pytest.importorskip("peft")
    model = of("LlamaForCausalLM", "LlamaConfig", **GATED)
    before = cost(model, {"input_ids": IDS})
    adapted = peft.get_peft_model(model, peft.LoraConfig(r=2, target_modules=["q_proj", "v_proj"])).eval()
    after = cost(adapted, {"input_ids": IDS})
    assert after.macs == before.macs
    assert [layer.shape for layer in after.layers] == [layer.shape for layer in before.layers]
    by_kind = {"lora_A": 0, "lora_B": 0}
    for name, macs in outside(after).items():
        by_kind[name.split(".")[-3]] += macs
    assert by_kind == {"lora_A": 2 * 2 * 2 * 16 * 12, "lora_B": 2 * 2 * (16 + 8) * 12}


def test_a_weight_norm_inside_a_model_does_not_stop_it():
    settings = {
        "conv_dim": (8, 8),
        "conv_kernel": (5, 3),
        "conv_stride": (3, 2),
        "num_conv_pos_embeddings": 4,
    }
    sizes = {**SMALL, "num_hidden_layers": 1, "intermediate_size": 32, "num_conv_pos_embedding_groups": 2}
    model = of("Wav2Vec2ForCTC", "Wav2Vec2Config", **settings, **sizes)
    example = {"input_values": torch.randn(2, 200)}
    price = cost(model, example)
    ((name, macs),) = outside(price).items()
    assert name == "wav2vec2.encoder.pos_conv_embed.conv.parametrizations.weight.original1"
    assert price.macs.dense + macs == flops(model, **example) // 4
