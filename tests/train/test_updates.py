"""Cuts inside a training: exact counts, nested or constant; what they are scored on; what is refused."""

import pytest
import torch
from train_kit import Random, Seen, digits, network, norm_network, same, settings, weights

import prunery
from prunery.core.schedule import Cut, schedule
from prunery.errors import ChoiceError, EvidenceError, MasksError, SparsityError, SpecError
from prunery.models.build import build
from prunery.registry import Registry
from prunery.seeds import stream
from prunery.train.loop import fit
from prunery.train.updates import UpdateContext, description, in_training

SPLITS = digits()
STEPS = -(-len(SPLITS.train) // 128)
EXCHANGES = "drop_grow(cuts=6, end=0.9)"


def lenet():
    return build("lenet300", shape=(1, 8, 8), classes=10, seed=0)


def trained(sparsity, *, model=None, epochs=4, seed=1, **choices):
    """The model, its history, and the update that pruned it with what it saw."""
    model = lenet() if model is None else model
    seen = Seen(in_training(sparsity, **choices))
    return model, fit(model, SPLITS, settings(epochs=epochs), seed=seed, updates=[seen]), seen


def removed(model, masks):
    return torch.cat([model.get_parameter(n).detach()[~mask] for n, mask in masks.items()])


@pytest.mark.parametrize("sparsity", [0.9, 0.9137, "95%"])
@pytest.mark.parametrize(
    "schedule", ["gradual", "gradual(every=0.11, end=1.0)", "gradual(begin=0.5)", EXCHANGES]
)
@pytest.mark.parametrize("choices", [{}, {"scope": "layer"}, {"floor": 0.02, "exclude": ["@output"]}])
def test_the_count_at_the_end_is_exact(sparsity, schedule, choices):
    model, history, _ = trained(sparsity, schedule=schedule, **choices)
    share = 0.95 if sparsity == "95%" else sparsity
    layers = history.masks.layers()
    pools = [[layer] for layer in layers] if choices.get("scope") == "layer" else [layers]
    for pool in pools:
        total = sum(layer.total for layer in pool)
        assert sum(layer.kept for layer in pool) == total - round(share * total)
    assert torch.count_nonzero(removed(model, history.masks)) == 0
    assert history.rows[-1].removed == history.masks.total - history.masks.kept


def test_gradual_is_nested_and_follows_its_levels():
    _, history, seen = trained(0.9, schedule="gradual(begin=0.2, cuts=5)")
    total, levels = history.masks.total, [cut.sparsity for cut in seen.update.cuts]
    assert [masks.kept for masks in seen.after] == [total - round(level * total) for level in levels]
    assert [c.step for c in seen.contexts] == [round((0.2 + 0.11 * i) * 4 * STEPS) for i in range(1, 6)]
    for before, after in zip(seen.after, seen.after[1:], strict=False):
        assert all(bool((before[name] | ~mask).all()) for name, mask in after.items())
    assert same(dict(seen.after[-1]), dict(history.masks))


class Weights(Seen):
    """Notes the weights too, as the update finds them."""

    def __call__(self, context):
        self.found = [*getattr(self, "found", []), weights(context.model)]
        return super().__call__(context)


def exchanges(sparsity, fraction, scope="layer"):
    """(weights, masks before, masks after) of each exchange of a training."""
    options = f"drop_grow(fraction={fraction}, cuts=5, end=0.9)"
    seen = Weights(in_training(sparsity, schedule=options, scope=scope))
    fit(lenet(), SPLITS, settings(), seed=1, updates=[seen])
    return list(zip(seen.found[1:], seen.after[:-1], seen.after[1:], strict=True))


@pytest.mark.parametrize("fraction", [0.3, 0.5])
def test_an_exchange_drops_the_smallest_and_grows_what_was_removed(fraction):
    steps = exchanges(0.9, fraction)
    assert len(steps) == 5
    for found, before, after in steps:
        for name, mask in before.items():
            kept = int(mask.sum())
            going = round(fraction * kept)
            dropped, grown = mask & ~after[name], after[name] & ~mask
            assert (int(dropped.sum()), int(grown.sum())) == (going, going)  # so no dropped one grew again
            size = found[name].abs()
            assert size[dropped].max() <= size[mask & after[name]].min()
            assert (found[name][grown] == 0).all()


def test_where_few_are_removed_few_are_exchanged():
    for _, before, after in exchanges(0.1, 0.3):
        for name, mask in before.items():
            free = mask.numel() - int(mask.sum())
            assert int((mask ^ after[name]).sum()) == 2 * free


def test_a_floor_is_not_given_up_for_an_exchange():
    """Of 50 200 weights 1 004 stay, and a floor of 0.02 keeps them all where they are."""
    _, history, seen = trained(0.98, schedule=EXCHANGES, floor=0.02)
    assert [layer.kept for layer in history.masks.layers()] == [384, 600, 20]
    assert all(same(dict(seen.after[0]), dict(masks)) for masks in seen.after)


def test_a_pool_of_all_layers_exchanges_between_them():
    steps = exchanges(0.9, 0.3, scope="global")
    layers = [[layer.kept for layer in after.layers()] for _, _, after in steps]
    assert len({tuple(kept) for kept in layers}) > 1
    assert {sum(kept) for kept in layers} == {50_200 - round(0.9 * 50_200)}


def test_the_start_of_drop_grow_and_what_grows_are_drawn_from_the_seed():
    ends = []
    for seed in (1, 1, 2):
        _, history, seen = trained(0.9, schedule=EXCHANGES, scope="layer", seed=seed)
        ends.append((history, seen))
        start = torch.cat([mask.flatten() for mask in seen.after[0].values()])
        size = torch.cat([p.flatten() for n, p in lenet().named_parameters() if n in seen.after[0]]).abs()
        assert 0.9 < size[start].mean() / size.mean() < 1.1, "the start follows the magnitudes"
    assert same(dict(ends[0][0].masks), dict(ends[1][0].masks))
    assert not same(dict(ends[0][1].after[0]), dict(ends[2][1].after[0]))
    grown = [a["fc1.weight"] & ~b["fc1.weight"] for b, a in zip(seen.after, seen.after[1:], strict=False)]
    assert len({tuple(g.nonzero()[:, 1].tolist()) for g in grown}) == len(grown)


def test_a_gradient_criterion_scores_the_weights_of_the_moment_on_its_batches():
    x, y = SPLITS.train.x[:40].float() / 16, SPLITS.train.y[:40]
    model = network(dropout=0.5)
    seen = Weights(in_training(0.8, criterion="snip", schedule="gradual(cuts=1, end=0.5)", batches=[(x, y)]))
    history = fit(model, SPLITS, settings(), seed=1, updates=[seen])
    assert [c.step for c in seen.contexts] == [2 * STEPS]
    again = network(dropout=0.5).eval()  # dropout takes no part in the scores
    again.load_state_dict(seen.found[0])
    expected = prunery.prune(again, 0.8, criterion="snip", batches=[(x, y)])
    assert same(dict(expected), dict(history.masks))
    with pytest.raises(EvidenceError, match="batches"):
        trained(0.8, criterion="snip")


def test_filters_go_gradually():
    example = torch.zeros(1, 1, 8, 8)
    choices = {"granularity": "filter", "scope": "layer", "exclude": ["@output"], "example": example}
    model, history, _ = trained(0.5, model=norm_network(), **choices)
    (layer,) = history.masks.layers()
    assert (layer.units_kept, layer.units_total) == (2, 4)
    assert torch.count_nonzero(removed(model, history.masks)) == 0
    with pytest.raises(ChoiceError, match="granularity 'filter'"):
        in_training(0.5, schedule="drop_grow", **choices)


def test_several_cuts_may_fall_on_one_step():
    _, history, seen = trained(0.9, epochs=1, schedule="gradual(cuts=100)")
    assert len(seen.contexts) < 15
    assert history.masks.kept == 50_200 - round(0.9 * 50_200)
    _, history, seen = trained(0.9, epochs=0)
    assert [(c.step, c.total) for c in seen.contexts] == [(0, 0)]
    assert history.masks.kept == 50_200 - round(0.9 * 50_200)
    assert (history.rows, history.chosen) == ((), 0)


def test_a_cut_after_the_last_step_comes_before_the_last_validation():
    model, history, seen = trained(0.99, epochs=2, scope="layer", schedule="gradual(cuts=1, end=1.0)")
    assert [(c.step, c.total) for c in seen.contexts] == [(2 * STEPS, 2 * STEPS)]
    assert [row.removed for row in history.rows] == [0, round(0.99 * 50_200)]
    from prunery.measure.accuracy import evaluate

    assert history.rows[-1].validation_correct == evaluate(model, SPLITS.validation).correct1


def test_warnings_come_once_with_the_last_cut():
    class Raw(torch.nn.Sequential):
        def __init__(self):
            super().__init__(*network())
            self.table = torch.nn.Parameter(torch.ones(10, 10))

        def forward(self, x):
            return super().forward(x) @ self.table

    with pytest.warns(prunery.PruneryWarning) as noted:
        _, history, seen = trained(0.9999, model=Raw(), schedule="gradual(cuts=3)")
    assert len(seen.contexts) == 3
    texts = [str(warning.message) for warning in noted]
    assert len(texts) == 2
    assert "no weight is left in" in texts[0]
    assert "table" in texts[1]
    assert history.masks.coverage is not None


def test_masks_from_before_are_gone_on_from():
    model = lenet()
    masks = prunery.prune(model, 0.5)
    update = in_training(0.9, start=0.5, schedule="gradual(cuts=4)")
    assert update.cuts[0].sparsity == pytest.approx(0.9 - 0.4 * 0.75**3)
    history = fit(model, SPLITS, settings(), seed=1, masks=masks, updates=[update])
    assert history.masks.kept == 50_200 - round(0.9 * 50_200)
    assert all(bool((masks[name] | ~mask).all()) for name, mask in history.masks.items())
    with pytest.raises(SparsityError, match="not lower"):
        fit(lenet(), SPLITS, settings(), seed=1, masks=masks, updates=[in_training(0.4)])


@pytest.mark.parametrize("choice", ["one_shot", "iterative", "exponential"])
def test_schedules_without_a_place_in_a_training_are_refused(choice):
    with pytest.raises(SparsityError, match="no place"):
        in_training(0.9, schedule=choice)


def test_choices_are_checked():
    for wrong in ({"criterion": "magnitud"}, {"schedule": "gradual(begin=2)"}, {"scope": "everything"}):
        with pytest.raises(prunery.PruneryError):
            in_training(0.9, **wrong)
    with pytest.raises(SparsityError):
        in_training(90)


def test_a_row_of_ones_own_may_return_cuts_or_an_update(monkeypatch):
    rows = Registry("schedule")
    monkeypatch.setattr("prunery.core.binding.schedules", rows)

    @rows.add(between=False, during=True, at="init", source="mine")
    def late(sparsity, start=0.0, *, at=0.5):
        return [Cut(sparsity / 2, at=at), Cut(sparsity, at=1.0)]

    @rows.add(between=False, during=True, at="init", source="mine")
    def halves(sparsity, start=0.0):
        return Random((3, 9))

    _, history, seen = trained(0.9, schedule="late(at=0.25)")
    assert [c.step for c in seen.contexts] == [STEPS, 4 * STEPS]
    assert history.masks.kept == 50_200 - round(0.9 * 50_200)
    assert in_training(0.9, schedule="halves") == Random((3, 9))
    assert schedule["gradual"].facts["during"]


def test_updates_are_told_apart_by_their_descriptions():
    one, two = in_training(0.9), in_training(0.9, schedule="gradual(cuts=31)")
    assert description(one) == description(in_training("90%"))
    different = [
        one,
        two,
        in_training(0.9, criterion="random"),
        in_training(0.9, scope="layer"),
        Random((1,)),
    ]
    different += [in_training(0.9, floor=0.01), in_training(0.9, exclude=["fc1"]), Random((1, 2))]
    different += [in_training(0.9, options={"invert": True})]
    assert len({description(update) for update in different}) == len(different)


class Bare:
    def __init__(self, at):
        self.at = at

    def due(self, step, total):
        return step == 0

    def __call__(self, context):
        return context.masks


def test_an_update_without_a_stable_description_has_no_checkpoint(tmp_path):
    assert description(Bare(3)).endswith("Bare {'at': 3}")
    model = network()
    fit(model, SPLITS, settings(epochs=1), seed=0, updates=[Bare(object())])
    with pytest.raises(SpecError, match="without addresses"):
        fit(model, SPLITS, settings(), seed=0, updates=[Bare(object())], checkpoint=tmp_path / "state")


def test_what_is_no_update_is_refused():
    nowhere = prunery.Masks({"nowhere.weight": torch.ones(2, 2, dtype=torch.bool)})
    for update, error, word in (
        (lambda context: context.masks, SpecError, "no mask update"),
        (Returns({}), MasksError, "type dict"),
        (Returns(nowhere), MasksError, "no parameter"),
    ):
        with pytest.raises(error, match=word):
            fit(network(), SPLITS, settings(), seed=0, updates=[Bare(0), update])


class Returns(Bare):
    def __call__(self, context):
        return self.at


def test_the_context_is_plain():
    _, _, seen = trained(0.9, schedule=EXCHANGES, seed=7)
    for context in seen.contexts:
        assert isinstance(context, UpdateContext)
        assert (context.seed, context.total) == (7, 4 * STEPS)
        assert stream(context.seed, "x", context.step).initial_seed() >= 0
