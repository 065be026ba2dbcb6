"""What is said to be constant is so on every input, and what is plainly constant is found."""

import pytest
import torch
from export_kit import normal, seeded, weight_masks
from graph_nets import example_of, load_all, made
from torch import nn

from prunery.export.constant_rules import rule_of
from prunery.export.constants import Constants
from prunery.export.edit import registered
from prunery.graph.read_torch import read, with_values

NETS = load_all()
PLAIN = [name for name in NETS if name != "WeightNorm"]  # where a row of 0 is divided by its length


def constants(model, example, *, training=False):
    """Return what is known of each output of each call, in order, and the calls."""
    program = read(model, example)
    known, found = Constants(program, registered(model), training=training), []

    def visit(_call):
        if found or before:
            found.append([known.of(tensor) for tensor in before[-1].outputs()])
        before.append(_call)

    before = []
    with torch.no_grad():
        known.follow(rule_of, visit)
    found.append([known.of(tensor) for tensor in before[-1].outputs()])
    return found, program


def storage(tensor):
    return tensor.untyped_storage()._cdata


def damaged(name):
    """Return a network with rows, scales and biases that are 0 here and there."""
    model = made(name)
    weight_masks(model, 0.8).apply_(model)
    rng = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[torch.rand(len(parameter), generator=rng) < 0.4] = 0
    return model


@pytest.mark.parametrize("name", PLAIN)
def test_what_is_said_to_be_constant_is_so(name):
    model = damaged(name)
    found, program = constants(model, example_of(name))
    for seed in (5, 6):
        run = with_values(model, example_of(name, seed=seed))
        assert [call.name for call in run.calls] == [call.name for call in program.calls]
        written = {storage(call.args[0]) for call in run.calls if call.writes}
        for call, constant in zip(run.calls, found, strict=True):
            for tensor, known in zip(call.outputs(), constant, strict=True):
                if storage(tensor) not in written and tensor.is_floating_point():
                    gap = (
                        torch.where(known.known, tensor - known.value, 0).abs().max() if tensor.numel() else 0
                    )
                    assert gap <= 1e-5, f"{call}: {gap}"


def last(model, example, *, training=False):
    found, _ = constants(model, example, training=training)
    constant = found[-1][0]
    return constant.known.flatten().tolist(), constant.value.flatten().tolist()


def conv(padding=0, bias=None):
    model = nn.Sequential(nn.Conv2d(2, 2, 3), nn.Sigmoid(), nn.Conv2d(2, 2, 3, padding=padding))
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0, 0.0
        model[2].weight[0, 1], model[2].weight[0, 0], model[2].bias[0] = 0, 1.0, 2.0
    return model


def test_a_row_that_reads_constants_is_constant_unless_a_border_cuts_it():
    known, value = last(conv(), normal(2, 2, 9, 9))
    assert (known, value[0]) == ([True, False], 2 + 9 * 0.5)
    assert last(conv(padding=1), normal(2, 2, 9, 9))[0] == [False]


def test_a_batch_norm_shifts_what_is_constant_and_otherwise_in_training():
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3)).eval()
    with torch.no_grad():
        model[0].weight[0], model[0].bias[0] = 0, 3.0
        model[1].running_mean[0], model[1].running_var[0] = 1.0, 4.0 - 1e-5
        model[1].weight[:], model[1].bias[:] = torch.tensor([3.0, 0.0, 1.0]), torch.tensor([0.5, 7.0, 1.0])
    known, value = last(model, normal(4, 3))
    assert known == [True, True, False]
    assert value[:2] == pytest.approx([3.5, 7.0])
    assert last(model, normal(4, 3), training=True)[1][:2] == [0.5, 7.0]


class Gate(nn.Module):
    def __init__(self):
        super().__init__()
        self.gate, self.value = nn.Linear(3, 3), nn.Linear(3, 3)
        with torch.no_grad():
            self.gate.weight[0], self.gate.bias[0] = 0, 0
            self.gate.weight[1], self.gate.bias[1] = 0, 1

    def forward(self, x):
        return self.gate(x) * self.value(x)


def test_nothing_times_anything_is_nothing_and_one_times_anything_is_not_known():
    known, value = last(seeded(Gate), normal(4, 3))
    assert known == [True, False, False]
    assert value[0] == 0


class InPlace(nn.Module):
    def __init__(self, part):
        super().__init__()
        self.part, self.fc = part, nn.Linear(3, 4)

    def forward(self, x):
        y = torch.zeros(len(x), 4) + 1
        (y[:, :2] if self.part else y).add_(self.fc(x)[:, :2] if self.part else self.fc(x))
        return y * 1


def test_what_is_written_to_is_not_known_any_more():
    assert last(seeded(lambda: InPlace(True)), normal(4, 3))[0] == [False]
    assert last(seeded(lambda: InPlace(False)), normal(4, 3))[0] == [False]


@pytest.mark.parametrize("draw", [torch.bernoulli, torch.rand_like, torch.nn.functional.dropout])
def test_random_numbers_are_not_known(draw):
    class Noise(nn.Module):
        def forward(self, x):
            return draw(torch.full((2,), 0.5))

    assert last(Noise(), normal(4))[0] == [False]


def test_what_is_scattered_is_not_known():
    class Scattered(nn.Module):
        def forward(self, x):
            mask = torch.tensor([False, True, False, True])
            return torch.zeros(4).masked_scatter(mask, torch.arange(4.0)) + 0 * x[:1].sign()

    assert last(Scattered(), normal(4))[0] == [False]


@pytest.mark.parametrize("kind", ["lstm", "gru", "rnn"])
def test_a_hidden_unit_without_a_candidate_stays_nothing(kind):
    layer = {"lstm": nn.LSTM, "gru": nn.GRU, "rnn": nn.RNN}[kind]
    model = seeded(lambda: layer(3, 4, 2, batch_first=True, bidirectional=True))
    gate = {"lstm": 2, "gru": 2, "rnn": 0}[kind]
    with torch.no_grad():
        for parameter in model.parameters():
            parameter[4 * gate + 1] = 0  # unit 1, everywhere
        model.weight_ih_l1_reverse[4 * gate + 2] = 0  # unit 2 in one cell, which hears only unit 1
        model.weight_hh_l1_reverse[4 * gate + 2] = torch.tensor([0.0, 1, 0, 0])
        model.weight_ih_l1_reverse[4 * gate + 3] = 0  # and unit 3, which hears all
        for bias in (model.bias_ih_l1_reverse, model.bias_hh_l1_reverse):
            bias[4 * gate + 2 : 4 * gate + 4] = 0
    found, _ = constants(model, normal(2, 5, 3))
    output, state = found[-1][:2]
    assert output.known.flatten().tolist() == [False, True, False, False, False, True, True, False]
    assert state.known.flatten().tolist() == [False, True, False, False]
    assert torch.equal(model(normal(2, 5, 3))[0][..., [1, 5, 6]], torch.zeros(2, 5, 3))
    model.bias_hh_l1.data[4 * gate + 1] = 0.3
    assert not constants(model, normal(2, 5, 3))[0][-1][0].known.flatten()[1]
