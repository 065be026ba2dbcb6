"""torch's packed attention: what enters its two weights is seen, pruned by, and solved for."""

import copy
from contextlib import suppress

import pytest
import torch
from recovery_kit import context
from torch import nn

import prunery
from prunery.core.layers import prunable
from prunery.core.matrices import matrix_of
from prunery.errors import EvidenceError, ModelError, PruneryError
from prunery.graph.multihead import in_parts
from prunery.train.recovery import recovery


class Encoder(nn.Module):
    """Rows of digits through two of torch's encoder layers."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0, batch_first=True)
            self.embed, self.head = nn.Linear(8, 16), nn.Linear(16, 10)
            self.blocks = nn.TransformerEncoder(layer, 2, enable_nested_tensor=False)

    def forward(self, x):
        return self.head(self.blocks(self.embed(x.flatten(1, 2))).mean(1))


class Crossed(nn.Module):
    """Attention of the rows of a digit to its columns."""

    def __init__(self):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(1)
            self.rows, self.columns, self.head = nn.Linear(8, 16), nn.Linear(8, 16), nn.Linear(16, 10)
            self.cross = nn.MultiheadAttention(16, 2, batch_first=True)

    def forward(self, x):
        x = x.flatten(1, 2)
        other = self.columns(x.mT)
        return self.head(self.cross(self.rows(x), other, other)[0].mean(1))


def images(count):
    return torch.cat(list(context(Encoder(), None, Encoder()).images(count)))


def entering_by_hand(model, x):
    """What enters the weights of the first block's attention, (inputs, columns)."""
    layer = model.blocks.layers[0]
    attention, x = layer.self_attn, model.embed(x.flatten(1, 2))
    q, k, v = (x @ attention.in_proj_weight.T + attention.in_proj_bias).chunk(3, -1)
    heads = [t.unflatten(-1, (2, 8)).transpose(1, 2) for t in (q, k, v)]
    mixed = (heads[0] @ heads[1].mT / 8**0.5).softmax(-1) @ heads[2]
    return {
        "in_proj_weight": x.flatten(0, 1).T.detach(),
        "out_proj.weight": mixed.transpose(1, 2).flatten(2).flatten(0, 1).T.detach(),
    }


def test_in_parts_computes_the_same_and_leaves_no_trace():
    layer = nn.TransformerEncoderLayer(16, 2, 32, dropout=0.0).eval()
    x, hidden = torch.randn(5, 3, 16), torch.zeros(3, 5, dtype=torch.bool)
    hidden[1, 3:] = True
    before = dict(vars(layer.self_attn))
    calls = [{}, {"src_key_padding_mask": hidden}, {"src_mask": torch.ones(5, 5).triu(1).bool()}]
    expected = [layer(x, **more).detach() for more in calls]
    seen = []
    with suppress(KeyError), in_parts(layer):
        handle = layer.self_attn.out_proj.register_forward_pre_hook(lambda *_: seen.append(1))
        for more, y in zip(calls, expected, strict=True):
            assert torch.allclose(layer(x, **more), y, atol=1e-5)
        handle.remove()
        raise KeyError
    assert len(seen) == 3
    assert type(layer.self_attn) is nn.MultiheadAttention
    assert {**vars(layer.self_attn)} == before
    assert torch.backends.mha.get_fastpath_enabled()


def test_wanda_weighs_by_what_enters_both_weights():
    model, x = Encoder().eval(), images(200)
    masks = prunery.prune(copy.deepcopy(model), 0.5, criterion="wanda", scope="row", batches=[x])
    for short, columns in entering_by_hand(model, x).items():
        name = f"blocks.layers.0.self_attn.{short}"
        weight = dict(model.named_parameters())[name].detach()
        scores = weight.abs() * columns.square().mean(1).sqrt()
        expected = scores >= scores.topk(8, 1).values[:, -1:]
        assert float((masks[name] == expected).float().mean()) > 0.999


def test_reconstruct_lowers_the_error_of_every_layer():
    dense = Encoder().eval()
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.6, criterion="obs", scope="layer", batches=[images(300)])
    before = copy.deepcopy(model)
    recovery.bind("reconstruct(images=600)")(context(model, masks, dense))
    x = images(900)[600:]
    errors = [float((m(x) - dense(x)).detach().square().mean()) for m in (before, model)]
    assert errors[1] < 0.3 * errors[0], errors
    moved = {layer.name for layer in prunable(model) if "self_attn" in layer.name}
    for layer in prunable(model):
        if layer.name in moved:
            assert not torch.equal(layer.parameter, dict(before.named_parameters())[layer.name])
            assert matrix_of(layer).inputs == 16
    assert masks.holds(model)
    assert type(model.blocks.layers[0].self_attn) is nn.MultiheadAttention


def test_attention_to_something_else_is_refused_where_it_is_pruned_and_left_where_it_is_not():
    dense = Crossed().eval()
    x = images(100)
    with pytest.raises((ModelError, EvidenceError), match="not one tensor"):
        prunery.prune(copy.deepcopy(dense), 0.5, criterion="obs", batches=[x])
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.5)
    with pytest.raises(PruneryError, match="not one tensor"):
        recovery.bind("reconstruct(images=100)")(context(model, masks, dense))
    model = copy.deepcopy(dense)
    masks = prunery.prune(model, 0.5, exclude=["cross.in_proj_weight"])
    recovery.bind("reconstruct(images=300)")(context(model, masks, dense))
    assert torch.equal(model.cross.in_proj_weight, dense.cross.in_proj_weight)
    assert not torch.equal(model.cross.out_proj.bias, dense.cross.out_proj.bias)
    assert masks.holds(model)
