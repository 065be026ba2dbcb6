"""The frame: one row per cell, costs summed along the path, each bad end told from the others."""

import math
from dataclasses import replace

import pytest
import report_case as case

from prunery.report.results.columns import NAMED
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of


@pytest.fixture
def plan():
    return case.study(retrain=5)


def right(cell):
    """Ten thousand images; a number that differs in every cell."""
    return 9800 - round(100 * cell.sparsity) - 10 * cell.seed


def row(table, cell):
    """The frame's row of a cell."""
    rows = table[(table["key"] == cell.key) & (table["method"] == cell.method)]
    assert len(rows) == 1
    return rows.iloc[0]


def test_there_is_one_row_per_cell_and_each_has_its_own_numbers(plan):
    table = frame(plan, case.store(plan, right))
    # 3 methods x 3 sparsities x 3 seeds, dense x 3, dense + 5 epochs x 3
    assert len(table) == len(plan.cells) == 33
    for cell in plan.cells:
        values = row(table, cell)
        assert values["test_top1"] == 100 * right(cell) / 10_000
        assert (values["seed"], values["sparsity_requested"]) == (cell.seed, cell.sparsity)
        assert (values["key"], values["dense_key"], values["extra_key"]) == (cell.key, cell.dense, cell.extra)
    assert set(table["status"]) == {"done"}
    assert set(table["study"]) == {"toy"}
    assert set(table["model"]) == {"lenet300"}
    assert set(table["chance_top1"]) == {10.0}
    assert set(table["chance_top5"]) == {50.0}
    assert set(table["test_images"]) == {10_000}


def test_costs_are_sums_along_the_path(plan):
    table = frame(plan, case.store(plan, right))
    trained = row(table, case.cell_of(plan, "magnitude", 0.9))
    # train 10.5 s, prune 0.5 s, recover 5.5 s; to build and to measure a network is none of its cost
    assert (trained["epochs_before"], trained["epochs_after"], trained["epochs"]) == (10, 5, 15)
    assert trained["samples"] == 54_000 * 15
    assert trained["seconds"] == 16.5
    assert trained["training_macs"] == 3 * 266_200 * 54_000 * 15
    at_init = row(table, case.cell_of(plan, "snip", 0.9))
    assert (at_init["epochs_before"], at_init["epochs_after"], at_init["seconds"]) == (0, 5, 6.0)
    dense = row(table, case.cell_of(plan, "dense"))
    assert (dense["epochs_before"], dense["epochs_after"], dense["epochs"]) == (10, 0, 10)
    extra = row(table, case.cell_of(plan, "dense + 5 epochs"))
    assert (extra["epochs_before"], extra["epochs_after"]) == (10, 5)


def test_to_look_at_a_network_is_none_of_its_cost(plan):
    store = case.store(plan, right)
    cell = case.cell_of(plan, "magnitude", 0.9)
    store.records[cell.key] = replace(store.record(cell.key), cost={"seconds": 100.0, "seconds_test": 2.0})
    values = row(frame(plan, store), cell)
    assert (values["seconds"], values["seconds_test"]) == (16.5, 2.0)


def test_counts_come_from_the_last_cut():
    plan = case.study(
        [{"criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5, 0.9]}}],
        sparsities=[0.9],
    )
    table = frame(plan, case.store(plan, right))
    values = row(table, case.cell_of(plan, "magnitude", 0.9))
    assert (values["kept"], values["total"]) == (26_620, 266_200)
    assert values["sparsity_achieved"] == pytest.approx(0.9)
    assert values["epochs_after"] == 20  # two recoveries of ten epochs
    assert row(table, case.cell_of(plan, "dense"))[["kept", "total", "sparsity_achieved"]].isna().all()


def test_the_choices_of_the_last_cut_are_columns():
    plan = case.study(
        [{"criterion": "magnitude", "granularity": "filter", "scope": "layer", "recovery": "none"}]
    )
    table = frame(plan, case.store(plan, right))
    values = row(table, case.cell_of(plan, "magnitude", 0.9))
    wanted = ("magnitude", "filter", "layer", "one_shot", "none")
    names = ("criterion", "granularity", "scope", "schedule", "recovery")
    assert tuple(values[name] for name in names) == wanted
    assert row(table, case.cell_of(plan, "dense"))["criterion"] == ""


def test_an_empty_store_still_gives_every_row(plan):
    table = frame(plan, case.Kept())
    assert len(table) == 33
    assert set(table["status"]) == {"missing"}
    assert table["test_top1"].isna().all()
    assert table["epochs"].isna().all()


def test_a_failed_step_of_its_own_is_failed_with_the_reason(plan):
    cell = case.cell_of(plan, "snip", 0.9, 1)
    failure, gone = case.failure(plan, cell, "prune", "ScoreError: a score is NaN")
    table = frame(plan, case.store(plan, right, without=gone, failures=[failure]))
    values = row(table, cell)
    assert values["status"] == "failed"
    assert values["notes"] == f"its prune step {failure.key} failed: ScoreError: a score is NaN"
    assert math.isnan(values["test_top1"])
    assert list(table["status"]).count("done") == 32


def test_what_a_failed_dense_training_takes_with_it_is_blocked(plan):
    dense = case.cell_of(plan, "dense", seed=2)
    failure, _ = case.failure(plan, dense, "train", "MemoryError")
    gone = {key for c in plan.cells if failure.key in c.path for key in c.path[c.path.index(failure.key) :]}
    table = frame(plan, case.store(plan, right, without=gone, failures=[failure]))
    assert row(table, dense)["status"] == "failed"
    blocked = row(table, case.cell_of(plan, "magnitude", 0.5, 2))
    assert blocked["status"] == "blocked"
    assert "MemoryError" in blocked["notes"]
    # snip prunes at initialisation: the dense training is none of its steps
    assert row(table, case.cell_of(plan, "snip", 0.5, 2))["status"] == "done"
    assert list(table["status"]).count("blocked") == 2 * 3 + 1  # random, magnitude, dense + 5 epochs


def test_collapsed_and_diverged_are_told_apart(plan):
    constant, nan = case.cell_of(plan, "snip", 0.98, 0), case.cell_of(plan, "random", 0.98, 0)
    stopped = case.cell_of(plan, "snip", 0.5, 1)
    notes = {
        constant.key: ["test: predicts class 1 for all 10000"],
        nan.key: ["test: outputs NaN for all 10000"],
        stopped.path[-2]: ["diverged: the training loss was not finite at step 7 of epoch 3"],
    }
    table = frame(plan, case.store(plan, right, notes=notes, losses={nan.key: math.nan}))
    assert row(table, constant)["status"] == "collapsed"
    assert row(table, constant)["notes"] == "test: predicts class 1 for all 10000"
    assert row(table, nan)["status"] == "diverged"
    assert row(table, stopped)["status"] == "diverged"
    assert list(table["status"]).count("done") == 30


def test_a_training_that_diverged_before_a_fresh_start_is_noted_only():
    plan = case.study([{"criterion": "magnitude", "recovery": "rewind"}])
    cell = case.cell_of(plan, "magnitude", 0.9, 0)
    note = "diverged: the training loss was not finite at step 7 of epoch 3"
    table = frame(plan, case.store(plan, right, notes={cell.path[1]: [note]}))
    assert row(table, cell)["status"] == "done"
    assert row(table, cell)["notes"] == note
    assert row(table, case.cell_of(plan, "dense"))["status"] == "diverged"


def test_an_emptied_layer_is_noted_and_not_a_collapse(plan):
    cell = case.cell_of(plan, "magnitude", 0.98, 0)
    pruned = next(key for key in cell.path if plan.steps[key].kind == "prune")
    table = frame(plan, case.store(plan, right, notes={pruned: ["layer fc.0.weight is empty"]}))
    assert row(table, cell)["status"] == "done"
    assert row(table, cell)["notes"] == "layer fc.0.weight is empty"


def test_broken_cells_never_enter_a_mean(plan):
    broken = case.cell_of(plan, "snip", 0.98, 0)
    table = frame(plan, case.store(plan, right, notes={broken.key: ["predicts class 1 for all 10000"]}))
    (group,) = [g for g in groups_of(table) if (g.method, g.sparsity) == ("snip", 0.98)]
    assert group.values == {1: 96.92, 2: 96.82}
    assert group.summary.mean == pytest.approx(96.87)
    assert not group.sound
    assert group.against == {}


def test_differences_are_paired_with_dense_of_the_same_seed(plan):
    (group,) = [
        g for g in groups_of(frame(plan, case.store(plan, right))) if (g.method, g.sparsity) == ("snip", 0.9)
    ]
    against = group.against["dense"].difference.summary
    assert (against.n, against.sd) == (3, 0.0)
    assert against.mean == pytest.approx(-0.9)
    # 5 epochs in all, and dense took 10: no control has as many
    assert "dense_extra" not in group.against


def test_the_control_with_as_many_epochs_is_the_extra_one_or_dense_itself():
    plan = case.study(["magnitude", "snip"])  # snip trains 10 epochs after the cut, as dense does
    extra = {c.key for c in plan.cells if c.role == "dense_extra"}
    groups = groups_of(frame(plan, case.store(plan, lambda c: right(c) + 50 * (c.key in extra))))
    at = {g.method: g.against["dense_extra"].difference.summary.mean for g in groups if g.sparsity == 0.5}
    assert at["magnitude"] == pytest.approx(-1.0)
    assert at["snip"] == pytest.approx(-0.5)


def test_another_control_of_as_many_epochs_serves():
    after = {"name": "finetune", "training": {"epochs": 5}}
    whole = {"name": "finetune", "training": {"epochs": 15}}
    plan = case.study(
        [{"criterion": "magnitude", "recovery": after}, {"criterion": "snip", "recovery": whole}]
    )
    extra = {c.key for c in plan.cells if c.role == "dense_extra"}
    groups = groups_of(frame(plan, case.store(plan, lambda c: 9800 + 50 * (c.key in extra))))
    against = [g.against["dense_extra"] for g in groups if g.method == "snip"]
    assert [a.difference.summary.mean for a in against] == [pytest.approx(-0.5)] * 3
    assert {a.epochs for a in against} == {15}


def test_the_random_control_is_one_that_trained_as_long():
    def method(criterion, epochs):
        training = {"name": "finetune", "training": {"epochs": epochs}}
        return {"name": f"{criterion} {epochs}", "criterion": criterion, "recovery": training}

    methods = [method(c, n) for n in (5, 70) for c in ("random", "magnitude")]
    plan = case.study(methods, sparsities=[0.9])
    best = {"random 5": 9000, "random 70": 9300, "magnitude 5": 9500, "magnitude 70": 9700}
    groups = {
        g.method: g for g in groups_of(frame(plan, case.store(plan, lambda c: best.get(c.method, 9800))))
    }
    for name, lead, epochs in (("magnitude 5", 5.0, 15), ("magnitude 70", 4.0, 80)):
        against = groups[name].against["random"]
        assert against.difference.summary.mean == pytest.approx(lead)
        assert against.epochs == epochs


def test_the_random_control_is_the_one_with_the_same_other_choices():
    plan = case.study(
        [
            {"criterion": "random", "name": "random global"},
            {"criterion": "random", "name": "random layer", "scope": "layer"},
            {"criterion": "magnitude", "name": "magnitude layer", "scope": "layer"},
        ]
    )
    best = {"random global": 9000, "random layer": 9100, "magnitude layer": 9700}
    groups = groups_of(frame(plan, case.store(plan, lambda c: best.get(c.method, 9800))))
    (group,) = [g for g in groups if (g.method, g.sparsity) == ("magnitude layer", 0.9)]
    assert group.against["random"].difference.summary.mean == pytest.approx(6.0)
    assert "random" not in next(g for g in groups if g.method == "random layer").against


def test_random_with_the_same_layer_ratios_is_the_methods_own_masks_shuffled():
    plan = case.study(["snip", "magnitude"], controls=["random"])
    best = {"snip (shuffled in each layer)": 9400, "magnitude (shuffled in each layer)": 9300}
    groups = groups_of(frame(plan, case.store(plan, lambda c: best.get(c.method, 9700) + c.seed)))
    against = {
        g.method: g.against["shuffled"].difference.summary.mean
        for g in groups
        if "shuffled" in g.against and g.sparsity == 0.9
    }
    assert against == {"snip": pytest.approx(3.0), "magnitude": pytest.approx(4.0)}


def test_what_one_test_image_changes_is_no_step_of_other_splits(plan):
    cells = frame(plan, case.store(plan, right))
    steps = {
        m: groups_of(cells, metric=NAMED[m])[0].step for m in ("test_top1", "train_top1", "validation_top1")
    }
    assert steps == {"test_top1": 0.01, "train_top1": 0.0, "validation_top1": 0.0}
