"""A criterion that says nothing: refused for a whole network, named for a layer or a block of one."""

import copy
import warnings
from collections import Counter

import pytest
import torch
from nets import ConvNet, Odd, batch, mlp
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.evidence import evidence
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.core.silence import check_silence
from prunery.errors import EvidenceError, PruneryWarning, SilentCriterionWarning


def seeded(build, seed=0):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return build()


def silent(model, **given):
    """The layers and blocks that pruning warns of."""
    given = {"criterion": "synflow", "rounds": 2, **given}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("ignore", PruneryWarning)
        warnings.simplefilter("always", SilentCriterionWarning)
        prunery.prune(copy.deepcopy(model), 0.3, **given)
    messages = [str(w.message) for w in caught if w.category is SilentCriterionWarning]
    assert len(messages) <= 1
    assert all(w.filename == __file__ for w in caught if w.category is SilentCriterionWarning)
    return messages[0].partition(":")[0] if messages else ""


def body(*end, width=16):
    return nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, width), *end)


CONSTANT = {
    "layer norm": lambda: body(nn.LayerNorm(16)),
    "layer norm of few": lambda: body(nn.LayerNorm(3), width=3),
    "softmax": lambda: body(nn.Softmax(-1), width=5),
    "group norm": lambda: nn.Sequential(nn.Linear(8, 16), nn.GroupNorm(4, 16)),
    "softmax in a mean": lambda: nn.Sequential(body(nn.Softmax(-1)), nn.AvgPool1d(16)),
    "no sign left": lambda: body(nn.Hardtanh(0, 1e-9)),
}


@pytest.mark.parametrize("build", CONSTANT.values(), ids=CONSTANT)
@pytest.mark.parametrize("seed", range(8))  # rounding errors differ, and some are 0
def test_a_network_whose_outputs_have_a_constant_sum_is_refused(build, seed):
    model = seeded(build, seed)
    before = [p.clone() for p in model.parameters()]
    with pytest.raises(EvidenceError) as caught:
        prunery.prune(model, 0.5, criterion="synflow", example=torch.randn(2, 8))
    for part in ("every layer", "rounding noise", "last norm or softmax", "another criterion"):
        assert part in str(caught.value)
    assert all(torch.equal(p, q) for p, q in zip(before, model.parameters(), strict=True))


def test_instance_norm_of_a_constant_is_refused():
    model = seeded(
        lambda: nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.InstanceNorm2d(8))
    )
    with pytest.raises(EvidenceError, match="rounding noise"):
        prunery.prune(model, 0.5, criterion="synflow", example=torch.randn(2, 3, 9, 9))


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
@pytest.mark.parametrize(
    ("build", "loss"),
    [
        (lambda: body(nn.LayerNorm(16)), lambda output, y: output.mean()),
        (lambda: body(nn.Softmax(-1)), lambda output, y: output.sum()),
        (body, lambda output, y: (0 * output).sum()),
        (lambda: body(nn.ReLU6(), nn.Hardtanh(9, 10)), lambda output, y: output.sum()),
        (lambda: body(width=1), lambda output, y: nn.functional.cross_entropy(output, y * 0)),
    ],
)
@pytest.mark.parametrize("seed", range(4))
def test_a_loss_that_does_not_move_is_refused(criterion, build, loss, seed):
    with pytest.raises(EvidenceError, match=r"every layer.*Give more batches"):
        prunery.prune(seeded(build, seed), 0.5, criterion=criterion, batches=[batch((8,), 3)], loss=loss)


def test_a_head_of_zeros_silences_all_scores():
    model = body()
    nn.init.zeros_(model[2].weight)
    with pytest.raises(EvidenceError, match="every layer"):
        prunery.prune(model, 0.5, criterion="snip", batches=[batch((8,), 3)])


class Recurrent(nn.Module):
    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.cell, self.head = kind(6, 12, batch_first=True), nn.Linear(12, 5)

    def forward(self, x):
        return self.head(self.cell(x)[0][:, -1])


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        (nn.LSTM, "cell.weight_hh_l0, cell.weight_ih_l0 (forget gate)"),
        (nn.GRU, "cell.weight_hh_l0"),
        (nn.RNN, "cell.weight_hh_l0"),
    ],
)
@pytest.mark.parametrize("criterion", ["synflow", "snip", "grasp"])
def test_in_one_time_step_nothing_recurs(kind, names, criterion):
    x, y = batch((1, 6), 5)
    model = seeded(lambda: Recurrent(kind))
    assert silent(model, criterion=criterion, batches=[(x, y)]) == names
    assert silent(model, criterion=criterion, batches=[(x, y)], exclude=["*hh*"]) == names.partition(", ")[2]
    x, y = batch((4, 6), 5)
    assert silent(seeded(lambda: Recurrent(kind)), criterion=criterion, batches=[(x, y)]) == ""


class Attention(nn.Module):
    """Self-attention: torch's, or one plain packed matrix."""

    def __init__(self, packed, places):
        super().__init__()
        self.attention = nn.Linear(16, 48) if packed else nn.MultiheadAttention(16, 4, batch_first=True)
        self.places = nn.Parameter(torch.rand(7, 16)) if places else None
        self.head = nn.Linear(16, 5)

    def forward(self, x):
        x = x if self.places is None else x + self.places[: x.shape[1]]
        if isinstance(self.attention, nn.MultiheadAttention):
            return self.head(self.attention(x, x, x, need_weights=False)[0])
        query, key, value = self.attention(x).chunk(3, -1)
        return self.head((query @ key.transpose(1, 2) / 4).softmax(-1) @ value)


@pytest.mark.parametrize("tokens", [1, 3, 7])
@pytest.mark.parametrize(
    ("packed", "names"),
    [
        (False, "attention.in_proj_weight (query), attention.in_proj_weight (key)"),
        (True, "attention.weight (rows 0 to 15), attention.weight (rows 16 to 31)"),
    ],
)
def test_equal_tokens_tell_query_and_key_nothing(tokens, packed, names):
    x = torch.randn(2, tokens, 16)
    assert silent(seeded(lambda: Attention(packed, False)), example=x) == names
    placed = seeded(lambda: Attention(packed, True))
    assert silent(placed, example=x) == (names if tokens == 1 else "")


def test_layers_that_the_loss_does_not_reach_are_named():
    class Spare(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = mlp(6, 8, 3), nn.Linear(6, 4)

        def forward(self, x):
            return self.net(x)

    assert silent(Spare(), criterion="snip", batches=[batch((6,), 3)]) == "spare.weight"
    assert silent(Spare(), example=torch.randn(1, 6)) == "spare.weight"


def test_weights_that_are_all_zero_are_named():
    model = body()
    nn.init.zeros_(model[2].weight)
    assert silent(model, criterion="magnitude", rounds=1) == "2.weight"
    nn.init.zeros_(model[0].weight)
    with pytest.raises(EvidenceError, match="every weight is zero"):
        prunery.prune(model, 0.5)
    assert silent(model, criterion="random", rounds=1) == ""


FINE = {
    "convolutions": (ConvNet, (3, 8, 8)),
    "a layer norm inside": (lambda: body(nn.LayerNorm(16), nn.Linear(16, 3)), (8,)),
    "twenty sigmoids": (
        lambda: nn.Sequential(*(m for _ in range(20) for m in (nn.Linear(8, 8), nn.Sigmoid()))),
        (8,),
    ),
    "log softmax": (lambda: body(nn.LogSoftmax(-1)), (8,)),
    "a learned norm at the end": (lambda: learned_norm(), (8,)),
    "every kind of layer": (Odd, (4, 6)),
}


def learned_norm():
    model = body(nn.LayerNorm(16))
    nn.init.uniform_(model[-1].weight, 0.9, 1.1)
    return model


@pytest.mark.parametrize(("build", "shape"), FINE.values(), ids=FINE)
@pytest.mark.parametrize("criterion", ["snip", "grasp", "synflow"])
def test_small_gradients_are_not_taken_for_noise(build, shape, criterion):
    assert silent(seeded(build), criterion=criterion, batches=[batch(shape, 3)]) == ""


def test_only_the_first_cut_of_a_call_is_looked_at(monkeypatch):
    """Later cuts cost no more than their own gradients; the first of `synflow` is looked at once more."""
    counts = Counter()
    row = evidence["flow_grad"]

    def counted(context):
        counts[bool(context.jitter)] += 1
        return row.function(context)

    monkeypatch.setitem(evidence._rows, "flow_grad", type(row)(row.name, counted, row.options, row.facts))
    prunery.prune(body(), 0.5, criterion="synflow", example=torch.randn(1, 8), rounds=10)
    assert counts == {False: 10, True: 1}


def test_gradients_of_plain_networks_are_not_gathered_twice(monkeypatch):
    jitters = []
    row = evidence["grad"]

    def noted(context):
        jitters.append(context.jitter)
        return row.function(context)

    monkeypatch.setitem(evidence._rows, "grad", type(row)(row.name, noted, row.options, row.facts))
    prunery.prune(ConvNet(), 0.5, criterion="snip", batches=[batch((3, 8, 8), 5)])
    assert jitters == [0.0]


def test_masks_that_cut_the_network_in_two_are_a_warning():
    model = body()
    masks = Masks({"2.weight": torch.zeros(16, 16, dtype=torch.bool)})
    with pytest.warns(SilentCriterionWarning, match="masks given may cut the network in two"):
        check(model, masks, torch.zeros)


def test_a_layer_without_live_weights_is_not_named():
    """What was removed earlier says nothing, and need not; nor does a block that was removed."""
    model, third = Attention(False, True), (torch.arange(48) >= 32)[:, None]  # only the values speak
    mask = torch.ones(48, 16, dtype=torch.bool)
    mask[16:32] = False
    masks = Masks({"head.weight": torch.zeros(5, 16, dtype=torch.bool), "attention.in_proj_weight": mask})
    with pytest.warns(SilentCriterionWarning) as caught:
        check(
            model,
            masks,
            lambda shape: torch.eye(*shape).flip(1) if shape[0] < 48 else torch.ones(shape) * third,
        )
    (message,) = (str(w.message) for w in caught)
    assert message.startswith("attention.in_proj_weight (query): ")


def check(model, masks, values):
    """Check a gradient of `values` for each layer of the model."""
    layers = prunable(model)
    gathered = {
        "weight": {layer.name: layer.parameter.detach() for layer in layers},
        "grad": {layer.name: values(tuple(layer.parameter.shape)) for layer in layers},
    }
    check_silence(ScoringContext(model, layers, masks), ["weight", "grad"], gathered)


def test_what_earlier_masks_removed_does_not_speak_for_a_layer():
    model = mlp(4, 8, 4)
    masks = Masks({"0.weight": torch.ones(8, 4, dtype=torch.bool), "2.weight": torch.eye(4, 8).bool()})
    with pytest.warns(SilentCriterionWarning, match=r"^2\.weight: "):
        check(model, masks, lambda shape: torch.ones(shape) - torch.eye(*shape) * (shape[0] == 4))


def test_many_names_are_cut_short():
    class Unused(nn.Module):
        def __init__(self):
            super().__init__()
            self.net, self.spare = mlp(6, 8, 3), nn.ModuleList(nn.Linear(6, 4) for _ in range(12))

        def forward(self, x):
            return self.net(x)

    assert silent(Unused(), example=torch.randn(1, 6)).endswith("spare.7.weight and 4 more")
