"""Cuts inside a training: one prune step that trains, its control and arms, the same bits after a kill."""

import pytest
import torch
from lab_kit import ONE_EPOCH, differences, do, planned, spec
from own_rows import registries_kept
from safetensors.torch import load_file

from prunery.core.masks import Masks
from prunery.errors import MasksError, SpecError
from prunery.lab.spec import from_plain, plain
from prunery.lab.store import Store
from prunery.lab.work import pruning, work
from prunery.registry import Choice
from prunery.report.results.frame import frame
from prunery.train import loop

WEIGHTS = 64 * 300 + 300 * 100 + 100 * 10
GRADUAL = {"name": "gmp", "criterion": "magnitude", "schedule": "gradual"}
SET = {"name": "set", "criterion": "magnitude", "schedule": {"name": "drop_grow", "training": {"epochs": 3}}}
LATE = {**GRADUAL, "name": "late", "at": "trained", "recovery": ["bn", "finetune"]}


def small(**changes):
    return planned(**{"task": ONE_EPOCH, "sparsities": [0.8], "seeds": 1, **changes})


def cell(plan, method):
    return next(c for c in plan.cells if c.method == method)


def done(plan, store):
    for step in plan.steps.values():
        do(step, store)
    return store


def kinds(plan, found):
    return [plan.steps[key].kind for key in found.path]


def test_defaults_are_those_of_the_schedule():
    (gradual, drop_grow) = spec(methods=[GRADUAL, SET]).methods
    assert (gradual.at, gradual.recovery) == ("init", (Choice("none"),))
    assert (drop_grow.at, drop_grow.in_training) == ("init", True)
    unnamed = spec(methods=[{"criterion": "magnitude"}, {"criterion": "magnitude", "schedule": "gradual"}])
    assert unnamed.methods[1].name == "magnitude, gradual, not retrained, before training"
    told = spec(methods=[LATE]).methods[0]
    assert (told.at, len(told.recovery)) == ("trained", 2)


def test_its_step_is_a_cut_that_trains():
    plan = small(methods=[GRADUAL, SET, LATE], sparsities=[0.5, 0.8])
    assert kinds(plan, cell(plan, "gmp")) == ["init", "prune", "measure"]
    assert kinds(plan, cell(plan, "late")) == ["init", "train", "prune", "recover", "recover", "measure"]
    early, late, long = (
        plan.steps[next(k for k in cell(plan, m).path if plan.steps[k].kind == "prune")]
        for m in ("gmp", "late", "set")
    )
    assert (early.args["schedule"], early.args["phase"], early.epochs) == ("gradual", 0, 1)
    assert (late.args["phase"], late.parents) == (1, (cell(plan, "late").path[1],))
    assert (long.args["schedule"], long.epochs) == ("drop_grow", 3)
    assert plan.epochs() == sum(step.epochs for step in plan.steps.values())
    phases = [
        plan.steps[k].args["phase"] for k in cell(plan, "late").path if "training" in plan.steps[k].args
    ]
    assert phases == [0, 1, 2]


def test_dense_is_trained_as_long():
    plan = small(methods=[SET, LATE])
    controls = {
        c.method: [plan.steps[k].epochs for k in c.path] for c in plan.cells if c.role == "dense_extra"
    }
    assert controls == {"dense + 2 epochs": [0, 1, 1, 1, 0]}
    assert cell(plan, "late").extra == cell(plan, "dense + 2 epochs").key
    alone = small(methods=[SET])
    assert [c.method for c in alone.cells] == ["dense", "set", "dense, 3 epochs"]


def test_the_magnitude_control_cuts_the_trained_network_at_once():
    plan = small(methods=[GRADUAL], controls=["magnitude"])
    assert kinds(plan, cell(plan, "magnitude")) == ["init", "train", "prune", "recover", "measure"]
    cut = plan.steps[cell(plan, "magnitude").path[2]]
    assert (cut.args["schedule"], cut.epochs) == ("one_shot", 0)


@pytest.mark.parametrize(
    ("schedule", "words"),
    [
        ("gradual(begin=2.0)", "methods[0].schedule"),
        ({"name": "gradual", "training": {"epoch": 1}}, "methods[0].schedule: the training setting 'epoch'"),
        (
            {"name": "gradual", "training": {"epochs": -1}},
            "methods[0].schedule.training: the training settings",
        ),
        ({"name": "gradual", "training": 3}, "methods[0].schedule: 'training' of schedule 'gradual'"),
        (
            {"name": "iterative", "training": {"epochs": 1}},
            "methods[0].schedule: option 'training' of schedule",
        ),
    ],
)
def test_what_cannot_be_is_said(schedule, words):
    with pytest.raises(SpecError) as caught:
        spec(methods=[{"criterion": "magnitude", "schedule": schedule}])
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_spec_comes_back_from_plain_data():
    before = spec(methods=[SET, LATE])
    assert from_plain(plain(before)) == before


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    plan = small(
        methods=[GRADUAL, SET, LATE, {**GRADUAL, "name": "layers", "scope": "layer"}],
        sanity=["shuffle", "invert", "reinit"],
        before_recovery=True,
    )
    return plan, done(plan, Store(tmp_path_factory.mktemp("store")))


def cut_of(ran, method):
    plan, store = ran
    return store.record(next(k for k in cell(plan, method).path if plan.steps[k].kind == "prune"))


@pytest.mark.parametrize("method", ["gmp", "set", "late", "layers", "set (shuffled in each layer)"])
def test_the_count_at_the_end_is_exact(ran, method):
    record = cut_of(ran, method)
    removed = record.number("sparsity_achieved")
    assert (removed.count, removed.total) == (round(0.8 * WEIGHTS), WEIGHTS)
    _, store = ran
    masks = Masks.load(store.file(record.key, "masks.safetensors"))
    weights = load_file(store.file(record.key, "weights.safetensors"))
    assert masks.kept == WEIGHTS - round(0.8 * WEIGHTS)
    assert all((weights[name][~mask] == 0).all() for name, mask in masks.items())
    layers = [(row["kept"], row["total"]) for row in record.tables["layers"]]
    each = [(total - round(0.8 * total), total) for _, total in layers]
    assert (layers == each) == (method == "layers")


def test_records_tell_training_and_scoring(ran):
    gradual, drop_grow, drawn = (cut_of(ran, m) for m in ("gmp", "set", "set (shuffled in each layer)"))
    train = 1442 - 144
    assert (drop_grow.cost["epochs"], drop_grow.cost["samples"]) == (3, 3 * train)
    assert drop_grow.cost["training_macs"] == 3 * 3 * train * WEIGHTS
    assert [row["epoch"] for row in drop_grow.tables["epochs"]] == [1, 2, 3]
    assert (gradual.number("cuts").value, drop_grow.number("cuts").value) == (30, 31)
    assert drawn.number("cuts").value == 1
    assert gradual.number("chosen_epoch").value == 1
    assert {r.cost["scoring_macs"] for r in (gradual, drop_grow, drawn)} == {0}
    assert set(drop_grow.files) == {"weights.safetensors", "masks.safetensors"}


def test_gradients_are_counted_for_each_cut(tmp_path):
    plan = small(methods=[{"name": "s", "criterion": "snip", "schedule": "gradual(cuts=4)"}])
    record = cut_of((plan, done(plan, Store(tmp_path))), "s")
    assert record.cost["scoring_macs"] == 4 * 3 * 100 * WEIGHTS


def test_arms_have_the_same_layers_start_and_training(ran):
    plan, store = ran
    original = cut_of(ran, "set")
    drawn, inverted = (cut_of(ran, f"set ({arm})") for arm in ("shuffled in each layer", "inverted"))
    assert [row["kept"] for row in drawn.tables["layers"]] == [
        row["kept"] for row in original.tables["layers"]
    ]
    for arm in (drawn, inverted):
        assert arm.parents == (original.parents[0], original.key)
        assert arm.cost["epochs"] == 3
        assert arm.number("agreement").value < 1
    fresh = cell(plan, "set (re-initialised)")
    last = store.record(fresh.path[-2])
    assert kinds(plan, fresh) == ["init", "prune", "recover", "measure"]
    assert (last.args["reset"], last.args["phase"], last.cost["epochs"]) == ("reinit", 0, 3)
    masks = [Masks.load(store.file(key, "masks.safetensors")) for key in (original.key, last.key)]
    assert all(torch.equal(masks[0][name], masks[1][name]) for name in masks[0])


def test_reports_show_cuts_epochs_and_sparsity(ran):
    rows = frame(*ran).set_index("method")
    assert rows.loc["set", "sparsity_achieved"] == round(0.8 * WEIGHTS) / WEIGHTS
    assert list(rows.loc["set", ["epochs_before", "epochs_after", "epochs"]]) == [0, 3, 3]
    assert list(rows.loc["late", ["epochs_before", "epochs_after", "epochs"]]) == [1, 2, 3]
    assert rows.loc["set", "schedule"] == "drop_grow"
    assert list(rows.loc[["dense", "gmp", "set", "late"], "cuts"]) == [0, 30, 31, 30]
    assert set(rows["status"]) <= {"done", "collapsed"}
    assert rows.loc["late", "before_test_top1"] > 0


def test_a_step_that_was_killed_goes_on_to_the_same_bits(tmp_path, monkeypatch):
    monkeypatch.setattr(loop, "BETWEEN_EPOCHS", 0.0)
    monkeypatch.setattr(loop, "WITHIN_EPOCH", 0.0)
    plan = small(methods=[SET])
    path = cell(plan, "set").path
    calm, cut = (Store(tmp_path / name) for name in ("calm", "cut"))
    for store in (calm, cut):
        do(plan.steps[path[0]], store)
    step = plan.steps[path[1]]
    do(step, calm)
    for moment in (0.15, 0.7, 1.0, 1.9, 2.6):

        def dies(epochs, moment=moment):
            if epochs > moment:
                raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):
            work(step, cut, cut.scratch(step.key), report_progress=dies)
    seen = []
    scratch = cut.scratch(step.key)
    cut.commit(work(step, cut, scratch, report_progress=seen.append), scratch)
    assert 2.5 < seen[0] < seen[-1] == 3
    assert differences(calm.record(step.key), cut.record(step.key)) == []
    assert calm.record(step.key).files == cut.record(step.key).files


def test_a_count_that_is_not_exact_fails(tmp_path, monkeypatch):
    plan, store, real = small(methods=[GRADUAL]), Store(tmp_path), pruning.in_training
    monkeypatch.setattr(pruning, "in_training", lambda sparsity, **choices: real(sparsity - 0.01, **choices))
    init, cut = (plan.steps[key] for key in cell(plan, "gmp").path[:2])
    do(init, store)
    with pytest.raises(MasksError, match="were asked for"):
        do(cut, store)


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("never", "there is no mask of fc1.weight, fc2.weight, fc3.weight"),
        ("late", "9990 units are kept, 10040"),
        ("early", None),
    ],
)
def test_updates_of_a_users_own_must_end_exactly(tmp_path, row, words):
    with registries_kept("own_updates"):
        plan, store = small(methods=[{**GRADUAL, "schedule": f"own_updates:{row}"}]), Store(tmp_path)
        init, cut = (plan.steps[key] for key in cell(plan, "gmp").path[:2])
        do(init, store)
        if words is None:
            do(cut, store)
            record = store.record(cut.key)
            assert record.number("cuts") is None
            assert record.notes == ("what its mask update computes is not in its cost",)
        else:
            with pytest.raises(MasksError, match=f"{words}.*Let the masks of 'own_updates:{row}'"):
                do(cut, store)
