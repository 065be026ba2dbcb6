"""`repair`, `align` and `distill_blocks`: moments and outputs come near the dense network's."""

import copy

import pytest
import torch
from recovery_kit import NETS, Attending, Digits, Twice, context, linear, pruned
from torch import nn

from prunery.errors import ChoiceError, EvidenceError, ModelError, ScoreError
from prunery.train.alignment import blocks
from prunery.train.beside import modules_of
from prunery.train.moments import summed
from prunery.train.recovery import recovery


def distance(model, dense):
    x = next(iter(context(model, None, dense).images(1400, batch=1400)))
    with torch.no_grad():
        return float((model.eval()(x) - dense(x)).square().sum())


@pytest.mark.parametrize("build", NETS)
def test_repair_gives_channels_the_moments_of_the_dense_network(build):
    dense, model, masks = pruned(build, 0.5)
    work = context(model, masks, dense)
    recovery.bind("repair(images=512)")(work)
    matched = 0
    for name, module in modules_of(model).items():
        if isinstance(getattr(module, "bias", None), nn.Parameter):
            one, other = summed(work, name, 512, 1)
            varies = other.deviation() > 1e-3 * one.deviation()
            assert torch.allclose(one.deviation()[varies], other.deviation()[varies], rtol=1e-3)
            assert torch.allclose(one.mean(), other.mean(), atol=1e-3)
            matched += int(varies.sum())
    assert matched
    assert masks.holds(model)
    assert "no gradient step" in work.book.notes[0]


def test_a_layer_without_bias_is_only_scaled():
    plain = nn.Sequential(
        nn.Flatten(), nn.Linear(64, 12, bias=False), nn.ReLU(), nn.Linear(12, 10, bias=False)
    )
    dense, model, masks = pruned(lambda: plain, 0.5)
    work = context(model, masks, dense)
    recovery.bind("repair(images=512)")(work)
    for name in ("1", "3"):
        one, other = summed(work, name, 512, 1)
        assert torch.allclose(one.deviation(), other.deviation(), rtol=1e-4)
    factors = model[1].weight.detach() / dense[1].weight.detach()
    assert torch.allclose(factors.max(1).values[:, None] * masks["1.weight"], factors, rtol=1e-4)


@pytest.mark.parametrize("action", ["align", "align_labelled", "distill_blocks"])
@pytest.mark.parametrize("build", NETS)
def test_steps_bring_outputs_nearer_to_the_dense_network(build, action):
    dense, model, masks = pruned(build)
    before = distance(model, dense)
    work = context(model, masks, dense)
    flags = [p.requires_grad for p in model.parameters()]
    recovery.bind(f"{action}(images=512, steps=40, batch=64)")(work)
    assert distance(model, dense) < before
    assert masks.holds(model)
    assert [p.requires_grad for p in model.parameters()] == flags
    assert all(p.grad is None for p in model.parameters())
    assert work.book.samples
    assert ("with labels" in work.book.notes[0]) == (action == "align_labelled")


def test_statistics_of_norms_and_the_dense_network_stay():
    dense, model, masks = pruned(Digits)
    work = context(model, masks, dense)
    buffers = {name: b.clone() for name, b in model.named_buffers()}
    values = {name: p.clone() for name, p in work.dense.state_dict().items()}
    recovery.bind("align(images=256, steps=5)")(work)
    assert all(torch.equal(b, buffers[name]) for name, b in model.named_buffers())
    assert all(torch.equal(p, values[name]) for name, p in work.dense.state_dict().items())


@pytest.mark.parametrize("action", ["align", "distill_blocks"])
def test_the_same_seed_gives_the_same_weights(action):
    dense, model, masks = pruned(linear)
    twin = copy.deepcopy(model)
    for each in (model, twin):
        recovery.bind(f"{action}(images=256, steps=5)")(context(each, masks, dense))
    assert all(torch.equal(p, q) for p, q in zip(model.parameters(), twin.parameters(), strict=True))


def test_blocks():
    assert blocks(Attending()) == ["embed", "qkv", "out", "up", "down", "head"]
    nested = nn.ModuleDict(
        {
            "stem": nn.Linear(4, 4),
            "body": nn.Sequential(*[nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 4)) for _ in range(2)]),
        }
    )
    assert blocks(nested) == ["stem", "body.0", "body.1"]


@pytest.mark.parametrize("action", ["align", "distill_blocks"])
def test_steps_that_lead_away_at_any_rate_are_undone(action):
    dense, model, masks = pruned(Digits)
    before = copy.deepcopy(model.state_dict())
    work = context(model, masks, dense)
    recovery.bind(f"{action}(learning_rate=1e30, steps=20, images=256)")(work)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert action == "distill_blocks" or "undone" in work.book.notes[0]


def test_a_rate_that_is_too_high_is_lowered():
    dense, model, masks = pruned(Digits)
    recovery.bind("reconstruct(images=512)")(context(model, masks, dense))
    before, work = distance(model, dense), context(model, masks, dense)
    recovery.bind("align(learning_rate=0.3, steps=60, images=512)")(work)
    assert distance(model, dense) < before
    assert "rates that were too high" in work.book.notes[0]
    assert work.book.samples > 60 * 128
    assert masks.holds(model)


def test_what_cannot_be_is_refused():
    dense, model, masks = pruned(linear)
    with pytest.raises(ChoiceError, match="whole number"):
        recovery.bind("align(steps=0)")(context(model, masks, dense))
    for name in ("bias", "repair", "reconstruct", "distill_blocks"):
        with pytest.raises(ChoiceError, match="whole number"):
            recovery.bind(f"{name}(images=0)")(context(model, masks, dense))
    with pytest.raises(ChoiceError, match="learning_rate"):
        recovery.bind("align(learning_rate=0)")
    with pytest.raises(ChoiceError, match="augmentation"):
        recovery.bind("align(augmentation='flop')")(context(model, masks, dense))
    with pytest.raises(EvidenceError, match="labels"):
        recovery.bind("align_labelled")(context(model, masks, dense, needs=frozenset({"dense"})))
    broken = copy.deepcopy(model)
    with torch.no_grad():
        broken[1].bias[0] = float("nan")
    with pytest.raises(ScoreError, match="loss of step 0"):
        recovery.bind("align(steps=20)")(context(broken, masks, dense))
    dense, model, masks = pruned(Twice)
    with pytest.raises(ChoiceError, match="more than once"):
        recovery.bind("distill_blocks(images=128)")(context(model, masks, dense))
    dense, model, masks = pruned(lambda: Tied())
    with pytest.raises(ModelError, match="too"):
        recovery.bind("repair")(context(model, masks, dense))


class Tied(nn.Module):
    """Two linear layers with one weight."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(64, 24), nn.Linear(24, 24), nn.Linear(24, 24)
        self.c.weight = self.b.weight

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x.flatten(1))))))
