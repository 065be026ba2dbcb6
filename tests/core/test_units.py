"""Unit sets of any shape: several scored members, parts of an axis, riders by index; LAMP, FPGM by hand."""

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import prunery
from prunery.core.context import ScoringContext
from prunery.core.granularity import granularity
from prunery.core.layers import prunable
from prunery.core.masks import Masks
from prunery.core.units import Member, UnitSet, unit_counts
from prunery.errors import ChoiceError, EvidenceError


def coupled(context, *, norm="l1"):
    """The outputs of each layer but the last, with the columns of the next one that read them."""
    sets = []
    for first, second in pairwise(context.layers):
        rows, columns = tuple(first.parameter.shape), tuple(second.parameter.shape)
        members = (
            Member(first.name, rows, rows, (0,)),
            Member(second.name, columns, columns, (1,)),
            Member(
                first.name.replace("weight", "bias"), rows[:1], rows[:1], (0,), counted=False, scored=False
            ),
        )
        sets.append(
            UnitSet(f"between {first.name} and {second.name}", rows[0], members, (first, second), norm)
        )
    return sets


@pytest.fixture(autouse=True)
def rows(monkeypatch):
    """The row `coupled`, for the time of a test."""
    monkeypatch.setattr(granularity, "_rows", dict(granularity._rows))
    monkeypatch.setattr(granularity, "_bare", {k: list(v) for k, v in granularity._bare.items()})
    granularity.add(source="a test")(coupled)


def chain(*sizes):
    torch.manual_seed(0)
    return nn.Sequential(*(nn.Linear(a, b) for a, b in pairwise(sizes)))


def test_units_of_several_layers_are_scored_over_all_members_and_removed_whole():
    model = chain(4, 6, 3)
    scores = model[0].weight.abs().sum(1) + model[1].weight.abs().sum(0)
    masks = prunery.prune(copy.deepcopy(model), 0.5, granularity="coupled")
    kept = masks["0.weight"].any(1)
    assert set(kept.nonzero().view(-1).tolist()) == set(scores.topk(3).indices.tolist())
    assert torch.equal(masks["1.weight"], kept.expand(3, 6))
    assert torch.equal(masks["0.bias"], kept)
    own = {"between 0.weight and 1.weight": (3, 6)}
    assert masks.units == {**own, "0.weight": (0, 0), "1.weight": (0, 0)}, "layers have no units of their own"
    assert (masks.kept, masks.total) == (21, 42)
    squares = model[0].weight.square().sum(1) + model[1].weight.square().sum(0)
    masks = prunery.prune(copy.deepcopy(model), 0.5, granularity="coupled(norm='l2')")
    assert set(masks["0.bias"].nonzero().view(-1).tolist()) == set(squares.topk(3).indices.tolist())


@pytest.mark.parametrize("scope", ["global", "layer"])
@pytest.mark.parametrize("criterion", ["magnitude", "random", "snip"])
def test_counts_of_overlapping_sets_are_exact_and_nested(scope, criterion):
    model = chain(5, 8, 6, 4)
    batches = [(torch.randn(9, 5), torch.randint(4, (9,)))]
    about = {"granularity": "coupled", "scope": scope, "criterion": criterion, "batches": batches}
    first = prunery.prune(model, 0.3, **about)
    second = prunery.prune(model, 0.7, masks=first, **about)
    for masks, sparsity in ((first, 0.3), (second, 0.7)):
        layers = prunable(model)
        counts = unit_counts(coupled(ScoringContext(model, layers)), masks)
        assert counts == [units for units in masks.units.values() if units != (0, 0)]
        pools = [counts] if scope == "global" else [[count] for count in counts]
        for pool in pools:
            total = sum(n for _, n in pool)
            assert sum(n for n, _ in pool) == total - round(sparsity * total)
    assert all(not (second[name] & ~mask).any() for name, mask in first.items())


def test_patterns_name_sets_and_the_layers_in_them():
    model = chain(5, 8, 6, 4)
    masks = prunery.prune(copy.deepcopy(model), {"between 0*": 0.5}, granularity="coupled")
    assert masks.units["between 0.weight and 1.weight"] == (4, 8)
    assert masks.units["between 1.weight and 2.weight"] == (6, 6)
    masks = prunery.prune(copy.deepcopy(model), {"2": 0.5, "*": 0.25}, granularity="coupled")
    assert [units for units in masks.units.values() if units != (0, 0)] == [(6, 8), (3, 6)]


def test_a_member_may_own_a_part_of_a_longer_axis():
    member = Member("w", (3, 10), (3, 10), (1,), start=4)
    keep = torch.tensor([True, False, False, True])
    mask = member.expand(keep)
    assert mask[:, 4:8].tolist() == [[True, False, False, True]] * 3
    assert mask[:, :4].all()
    assert mask[:, 8:].all()
    values = torch.arange(30.0).view(3, 10)
    assert member.reduce(values, torch.sum, 4).tolist() == values[:, 4:8].sum(0).tolist()
    assert torch.equal(member.by_unit(values, 4), values[:, 4:8].t())


def test_a_rider_may_say_the_unit_of_each_element():
    member = Member("b", (2, 3), index=torch.tensor([0, 1, -1, 1, 0, -1]), counted=False, scored=False)
    assert member.expand(torch.tensor([True, False])).tolist() == [[True, False, True], [False, True, True]]


def test_a_unit_is_gone_when_all_its_weights_are():
    members = (Member("a", (2, 3), (2, 3), (0,)), Member("b", (4, 2), (4, 2), (1,)))
    unit_set = UnitSet("both", 2, members, prunable(chain(3, 2))[:1], "l1")
    a, b = torch.ones(2, 3, dtype=torch.bool), torch.ones(4, 2, dtype=torch.bool)
    assert unit_set.live({}) is None
    assert unit_set.live_count({}) == 2
    a[0] = False
    assert unit_set.live_count({"a": a}) == 2, "the other matrix is there"
    assert unit_set.live_count({"a": a, "b": b}) == 2
    b[:, 0] = False
    assert unit_set.live({"a": a, "b": b}).tolist() == [False, True]


sizes = st.lists(st.integers(1, 4), min_size=2, max_size=4)


@settings(max_examples=60, deadline=None)
@given(shape=sizes, data=st.data())
def test_masks_of_any_slices_keep_what_is_kept_and_reduce_is_their_inverse(shape, data):
    axes = tuple(sorted(data.draw(st.sets(st.integers(0, len(shape) - 1), min_size=1))))
    member = Member("w", tuple(shape), tuple(shape), axes)
    count = 1
    for axis in axes:
        count *= shape[axis]
    keep = torch.tensor(data.draw(st.lists(st.booleans(), min_size=count, max_size=count)))
    mask = member.expand(keep)
    per_unit = mask.numel() // count
    assert int(mask.sum()) == per_unit * int(keep.sum())
    assert torch.equal(member.reduce(mask, torch.any, count), keep)
    assert torch.equal(member.by_unit(mask, count).all(1), keep)
    assert torch.equal(keep[member.numbers(torch.device("cpu")).long() - 1], mask)


# criteria of whole layers


def test_lamp_by_hand():
    model = nn.Sequential(nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, -2.0], [3.0, 4.0]]))
        model[1].weight.copy_(torch.tensor([[0.1, 0.3], [-0.2, 0.05]]))
    # squares over the sums of what is not smaller:
    # 1/30, 4/29, 9/25, 1 and 0.01/0.1425, 1, 0.04/0.13, 0.0025/0.145
    masks = prunery.prune(model, 0.5, criterion="lamp")
    assert masks["0.weight"].tolist() == [[False, False], [True, True]]
    assert masks["1.weight"].tolist() == [[False, True], [True, False]]


def test_lamp_knows_what_earlier_cuts_removed():
    def scores_of(weight, masks):
        model = nn.Sequential(nn.Linear(3, 1, bias=False))
        with torch.no_grad():
            model[0].weight.copy_(torch.tensor([weight]))
        return prunery.prune(model, 2 / 3, criterion="lamp", masks=masks)["0.weight"].tolist()

    gone = Masks({"0.weight": torch.tensor([[True, False, True]])})
    assert scores_of([1.0, 100.0, 2.0], gone) == [[False, False, True]]


def test_fpgm_by_hand():
    model = nn.Sequential(nn.Linear(2, 4, bias=False), nn.Linear(4, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[1.0, 0.0], [1.0, 1.0], [1.0, 2.0], [10.0, 0.0]]))
    # sums of distances: 0+1+2+9, 1+0+1+9.06, 2+1+0+9.22, 9+9.06+9.22: the second says what the others say
    masks = prunery.prune(model, 0.25, criterion="fpgm", granularity="filter")
    assert masks["0.weight"].any(1).tolist() == [True, False, True, True]
    assert masks.units == {"0.weight": (3, 4)}


def test_fpgm_leaves_removed_filters_out_of_the_sums():
    model = nn.Sequential(nn.Linear(1, 5, bias=False), nn.Linear(5, 1))
    with torch.no_grad():
        model[0].weight.copy_(torch.tensor([[-50.0], [1.0], [2.0], [4.0], [8.0]]))
    rows = torch.tensor([[False], [True], [True], [True], [True]])
    before = Masks({"0.weight": rows}, units={"0.weight": (4, 5)})
    masks = prunery.prune(model, 0.4, criterion="fpgm", granularity="filter", masks=before)
    # among 1, 2, 4, 8 the sums are 11, 9, 9, 17: one of the two equals stays
    kept = masks["0.weight"].view(-1).tolist()
    assert (kept[0], kept[1], kept[4]) == (False, True, True)
    assert sum(kept[2:4]) == 1


def test_fpgm_needs_units_of_one_matrix():
    with pytest.raises(ChoiceError, match="here each weight is one"):
        prunery.prune(chain(4, 4), 0.5, criterion="fpgm")
    with pytest.raises(EvidenceError, match="compares units of one"):
        prunery.prune(chain(4, 4, 4), 0.5, criterion="fpgm", granularity="coupled")
