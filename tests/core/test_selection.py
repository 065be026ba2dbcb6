"""Selection is exact on any input: kept = asked, ties are shared out, NaN names its layer."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from prunery.core import selection as selection_module
from prunery.core.scope import Target, scope
from prunery.core.selection import Pool, Scores, keep, keep_top
from prunery.errors import ScoreError, SparsityError


def scores_of(values, name="layer", live=None):
    flat = values.reshape(-1)
    return Scores(
        name,
        flat.numel(),
        flat.device,
        lambda lo, hi: flat[lo:hi].float() if flat.itemsize < 4 else flat[lo:hi],
        live,
    )


def kinds_of_values(n, g):
    """Score vectors that break thresholds: ties, zeros, infinities, denormals, half precision, scales."""
    normal = torch.randn(n, generator=g)
    mostly_zero = normal * (torch.rand(n, generator=g) > 0.7)
    infinite = torch.where(torch.rand(n, generator=g) > 0.5, torch.inf, normal)
    return {
        "normal": normal,
        "equal": torch.full((n,), 0.25),
        "zeros": torch.zeros(n),
        "signed zeros": torch.where(normal > 0, 0.0, -0.0),
        "mostly zero": mostly_zero,
        "grid": (normal * 3).round(),
        "infinite": infinite,
        "minus infinite": -infinite,
        "all infinite": torch.full((n,), torch.inf),
        "denormal": normal * 1e-42,
        "huge": normal * 1e38,
        "bfloat16": normal.bfloat16(),
        "float16": normal.half(),
        "float64": normal.double() * 1e200,
        "sorted": normal.sort().values,
        "lowest": torch.full((n,), torch.finfo(torch.float32).min),
    }


def reference_kept(values, k):
    """The multiset of kept scores by a full sort."""
    return torch.sort(values.reshape(-1).double(), descending=True).values[:k]


@pytest.mark.parametrize("kind", kinds_of_values(1, torch.Generator()))
@pytest.mark.parametrize("share", [0.0, 0.001, 0.1, 0.5, 0.9, 1.0])
def test_count_is_exact_and_the_best_are_kept(kind, share):
    g = torch.Generator().manual_seed(7)
    values = kinds_of_values(10_007, g)[kind]
    k = round(share * values.numel())
    (kept,) = keep_top([scores_of(values)], k)
    assert int(kept.sum()) == k
    assert torch.equal(torch.sort(values[kept].double(), descending=True).values, reference_kept(values, k))


@pytest.mark.parametrize(
    "kind", ["normal", "mostly zero", "grid", "sorted", "float64", "bfloat16", "infinite"]
)
@pytest.mark.parametrize("share", [1e-5, 0.02, 0.5, 0.9, 0.99999])
def test_large_pools_use_the_sample_and_stay_exact(kind, share):
    g = torch.Generator().manual_seed(3)
    n = 2 * selection_module._SAMPLE + 100_001
    values = kinds_of_values(n, g)[kind]
    parts = values.split([n // 3, n // 5, n - n // 3 - n // 5])
    k = round(share * n)
    kept = torch.cat(keep_top([scores_of(p, f"l{i}") for i, p in enumerate(parts)], k))
    assert int(kept.sum()) == k
    assert torch.equal(torch.sort(values[kept].double(), descending=True).values, reference_kept(values, k))


def test_a_misleading_sample_only_costs_a_pass(monkeypatch):
    values = torch.randn(300_000, generator=torch.Generator().manual_seed(0))
    passes = []
    count = selection_module._count
    monkeypatch.setattr(selection_module, "_count", lambda *a: passes.append(1) or count(*a))
    monkeypatch.setattr(selection_module, "_sample", lambda pool: np.linspace(50, 60, 1000, dtype=np.float32))
    (kept,) = keep_top([scores_of(values)], 30_000)
    assert int(kept.sum()) == 30_000
    assert torch.equal(values[kept].sort(descending=True).values.double(), reference_kept(values, 30_000))
    assert len(passes) > 1


def test_thousands_of_random_draws_have_no_miss():
    g = torch.Generator().manual_seed(11)
    draws = 0
    for seed in range(140):
        rng = np.random.default_rng(seed)
        shapes = [
            tuple(int(n) for n in rng.integers(1, 24, rng.integers(2, 5))) for _ in range(rng.integers(1, 5))
        ]
        for kind in kinds_of_values(1, g):
            layers = [kinds_of_values(math.prod(shape), g)[kind] for shape in shapes]
            counts = [v.numel() for v in layers]
            sparsity = float(rng.choice([0.0, 0.5, 0.9, 0.25, float(rng.random())]))
            for name in ("global", "layer"):
                pools = scope[name].function(counts, [Target("*", sparsity)] * len(layers))
                scores = [scores_of(v) for v in layers]
                for pool in pools:
                    total = sum(counts[m] for m in pool.members)
                    kept = sum(int(m.sum()) for m in keep(scores, pool))
                    assert total - kept == round(sparsity * total), (seed, kind, name)
                    draws += 1
    assert draws > 4_000


def test_dead_units_never_return_even_below_minus_infinity():
    values = torch.tensor([9.0, -torch.inf, 5.0, -torch.inf, 7.0])
    live = torch.tensor([False, True, True, True, False])
    (kept,) = keep_top([scores_of(values, live=live)], 2)
    assert int(kept.sum()) == 2
    assert kept[2]
    assert not (kept & ~live).any()


def test_ties_spread_over_layers_in_proportion_and_within_them():
    layers = [torch.ones(1000), torch.ones(300), torch.ones(20)]
    kept = keep_top([scores_of(v) for v in layers], 660)
    assert [int(k.sum()) for k in kept] == [500, 150, 10]
    rows = kept[0].view(10, 100)
    assert rows.sum(0).min() >= 3  # no column of the layer is emptied
    assert rows.sum(1).min() >= 45


def test_selection_does_not_depend_on_the_piece_size(monkeypatch):
    g = torch.Generator().manual_seed(5)
    layers = [
        kinds_of_values(n, g)[kind] for n, kind in ((70_001, "grid"), (130_000, "mostly zero"), (9, "zeros"))
    ]
    whole = keep_top([scores_of(v) for v in layers], 50_000)
    monkeypatch.setattr(selection_module, "_PIECE", {"cpu": 997})
    pieces = keep_top([scores_of(v) for v in layers], 50_000)
    assert all(torch.equal(a, b) for a, b in zip(whole, pieces, strict=True))


@pytest.mark.parametrize("k", [0, 5, 10])
def test_nan_is_an_error_that_names_the_layer(k):
    bad = torch.randn(10)
    bad[3] = torch.nan
    with pytest.raises(ScoreError, match=r"features\.3\.weight"):
        keep_top([scores_of(torch.randn(10), "first"), scores_of(bad, "features.3.weight")], k)


def test_floor_holds_in_every_layer_and_the_total_stays_exact():
    layers = [torch.full((1000,), 9.0), torch.linspace(0, 1, 100), torch.linspace(0, 1, 33)]
    kept = keep([scores_of(v) for v in layers], Pool((0, 1, 2), 200), floor=0.07)
    counts = [int(k.sum()) for k in kept]
    assert sum(counts) == 200
    assert counts == [190, 7, 3]  # ceil(0.07·100) = 7, ceil(0.07·33) = 3
    assert kept[1][-7:].all()


def test_floors_above_the_budget_raise_with_the_numbers():
    with pytest.raises(SparsityError, match="keep 20 units, the sparsity leaves 10"):
        keep([scores_of(torch.ones(100)), scores_of(torch.ones(100))], Pool((0, 1), 10), floor=0.1)


def test_asking_for_more_than_is_live_raises():
    with pytest.raises(SparsityError, match="earlier cuts left 2"):
        keep_top([scores_of(torch.ones(5), live=torch.tensor([True, True, False, False, False]))], 3)


def test_scope_layer_keeps_at_least_so_many_units():
    counts, targets = [10, 3, 1], [Target("*", 0.99)] * 3
    assert [pool.keep for pool in scope.bind("layer")(counts, targets)] == [0, 0, 0]
    assert [pool.keep for pool in scope.bind("layer(least=1)")(counts, targets)] == [1, 1, 1]
    assert [pool.keep for pool in scope.bind("layer(least=2)")(counts, targets)] == [2, 2, 1]
    with pytest.raises(SparsityError, match="no number of units"):
        scope.bind("layer(least=-1)")(counts, targets)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_any_scores_leave_exactly_what_is_asked_for(data):
    """Ties, zeros, infinities, subnormals and both signs; several members; earlier cuts."""
    value = st.sampled_from([0.0, -0.0, 1.0, -1.0, math.inf, -math.inf, 1e-45, 3.4e38]) | st.floats(
        width=32, allow_nan=False
    )
    lists = data.draw(st.lists(st.lists(value, min_size=1, max_size=30), min_size=1, max_size=4))
    lives = [data.draw(st.lists(st.booleans(), min_size=len(v), max_size=len(v))) for v in lists]
    members = [
        scores_of(torch.tensor(v), f"m{i}", torch.tensor(live))
        for i, (v, live) in enumerate(zip(lists, lives, strict=True))
    ]
    k = data.draw(st.integers(0, sum(map(sum, lives))))
    kept = keep_top(members, k)
    assert sum(int(mask.sum()) for mask in kept) == k
    stays = [
        s for v, m in zip(lists, kept, strict=True) for s, keep in zip(v, m.tolist(), strict=True) if keep
    ]
    goes = [
        s
        for v, m, live in zip(lists, kept, lives, strict=True)
        for s, keep, alive in zip(v, m.tolist(), live, strict=True)
        if alive and not keep
    ]
    assert not any(bool((m & ~torch.tensor(live)).any()) for m, live in zip(kept, lives, strict=True))
    assert not stays or not goes or min(stays) >= max(goes)
