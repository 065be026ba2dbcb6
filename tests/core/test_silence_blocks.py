"""Parts of packed matrices that SynFlow or a loss says nothing of, however they are packed."""

import warnings

import pytest
import torch
from flow_kit import seeded
from torch import nn
from torch.nn import functional

import prunery
from prunery.errors import SilentCriterionWarning


class Attends(nn.Module):
    """Attention whose query, key and value are packed by `split` into one layer, beside others."""

    def __init__(self, split, **layers):
        super().__init__()
        self.split, self.head = split, nn.Linear(16, 5)
        for name, layer in layers.items():
            setattr(self, name, layer)

    def forward(self, x):
        return self.head(functional.scaled_dot_product_attention(*self.split(self, x)))


def shared_keys(self, x):
    """Two heads of queries for each of keys and values."""
    query, key, value = self.packed(x).split([16, 8, 8], -1)
    return (query, torch.cat([key, key], -1), torch.cat([value, value], -1))


def by_turns(self, x):
    """Head by head: query, key and value of each."""
    parts = self.packed(x).unflatten(-1, (2, 24)).chunk(3, -1)
    return tuple(part.flatten(-2) for part in parts)


def of_places(self, x):
    return self.packed(x.mT).mT.chunk(3, -1)


FORMS = {
    "keys and values": (
        lambda s, x: (s.query(x), *s.packed(x).chunk(2, -1)),
        {"query": nn.Linear(16, 16), "packed": nn.Linear(16, 32)},
        "query.weight, packed.weight (rows 0 to 15)",
    ),
    "fewer keys": (
        shared_keys, {"packed": nn.Linear(16, 32)},
        "packed.weight (rows 0 to 15), packed.weight (rows 16 to 23)",
    ),
    "by turns": (
        by_turns, {"packed": nn.Linear(16, 48)}, "packed.weight (rows 0 to 15), packed.weight (rows 24 to 39)"
    ),
    "a convolution": (
        of_places, {"packed": nn.Conv1d(16, 48, 1)},
        "packed.weight (rows 0 to 15), packed.weight (rows 16 to 31)",
    ),
}  # fmt: skip


def told(model, **about):
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        prunery.prune(model, 0.5, **about)
    messages = [str(w.message) for w in caught if w.category is SilentCriterionWarning]
    return messages[0].partition(": ")[0] if messages else ""


@pytest.mark.parametrize("form", list(FORMS))
def test_equal_places_tell_query_and_key_nothing_however_they_are_packed(form):
    split, layers, names = FORMS[form]
    model = seeded(lambda: Attends(split, **layers))
    assert told(model, criterion="synflow", rounds=1, example=torch.randn(2, 5, 16)) == names


@pytest.mark.parametrize("form", ["keys and values", "a convolution"])
def test_one_place_tells_a_loss_nothing_of_them_either(form):
    split, layers, names = FORMS[form]
    batches = [(torch.randn(4, 1, 16), torch.tensor([0, 1, 2, 3]))]
    model = seeded(lambda: Attends(split, **layers))
    about = {
        "criterion": "snip",
        "batches": batches,
        "loss": lambda o, y: functional.cross_entropy(o[:, 0], y),
    }
    assert told(model, **about) == names


def test_units_that_a_rectifier_silences_are_no_blocks():
    model = nn.Sequential(nn.Linear(16, 64), nn.ReLU(), nn.Linear(64, 4))
    nn.init.constant_(model[0].bias[:24], -100.0)
    assert told(model, criterion="snip", batches=[(torch.randn(8, 16), torch.randint(0, 4, (8,)))]) == ""
