"""Recoveries in several actions and cuts inside a training, as reports show them."""

import page_kit as kit
import report_case as case

from prunery.report.figures import curves
from prunery.report.results.columns import COLUMNS, columns_of_rungs, recorded
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import tables

FINETUNE = {"name": "finetune", "training": {"epochs": 3}}
METHODS = (
    {"criterion": "magnitude", "name": "two actions", "recovery": ["bn", FINETUNE]},
    {"criterion": "magnitude", "name": "norms", "recovery": "bn"},
    {"criterion": "magnitude", "name": "inside", "schedule": "gradual", "at": "trained"},
)


def built():
    """The plan, its store with 9700 right answers after the first of two actions, and the frame."""
    plan = case.study(METHODS, sparsities=[0.9])
    store = case.store(plan, lambda cell: 9800)
    for cell in plan.cells:
        for _, key in cell.rungs:
            store.records[key] = case.measured(plan.steps[key], 9700 + cell.seed)
    columns = (*COLUMNS, *columns_of_rungs(plan))
    return plan, store, columns, frame(plan, store, columns)


def test_what_each_action_leaves_is_a_column_with_a_table():
    _, _, columns, cells = built()
    assert [c.name for c in columns[len(COLUMNS) :]] == ["after_bn_test_top1"]
    of_method = cells.groupby("method")["after_bn_test_top1"]
    assert of_method.get_group("two actions").tolist() == [97.00, 97.01, 97.02]
    assert of_method.get_group("norms").isna().all()
    last = recorded(cells, columns)[-1]
    table = tables.accuracy(cells, groups_of(cells, metric=last), metric=last)
    assert table.title == "Top-1 accuracy after bn, before the rest of the recovery (k = 1)"
    by_method = {row[0]: row[2] for row in table.rows}
    assert (by_method["two actions"], by_method["norms"]) == ("97.01 ±0.02", "-")
    assert "on the test split (10 000 images" in table.caption[0]


def test_a_study_of_single_actions_has_no_such_column():
    assert columns_of_rungs(case.study(retrain=5)) == ()


def test_recoveries_are_told_apart():
    *_, cells = built()
    first = dict(cells.groupby("method")["recovery"].first())
    assert first["two actions"] == "retrained"
    assert (first["norms"], first["inside"]) == ("norms estimated", "none")


def test_a_training_that_cuts_lie_in_comes_since_the_first_cut():
    *_, cells = built()
    inside = cells[cells["method"] == "inside"].iloc[0]
    assert (inside["epochs_before"], inside["epochs_after"], inside["epochs"]) == (10, 10, 20)
    assert (inside["optimizer"], inside["at"], inside["cuts"]) == ("sgd", "trained", 1)


def test_such_a_training_that_diverged_is_named():
    plan, store, columns, _ = built()
    cell = case.cell_of(plan, "inside", 0.9)
    cut = next(key for key in cell.path if plan.steps[key].kind == "prune")
    note = "diverged: the training loss was not finite at step 7 of epoch 3"
    store.records[cut] = case.worked(plan.steps[cut], notes=[note])
    cells = frame(plan, store, columns)
    row = cells[cells["key"] == cell.key].iloc[0]
    assert (row["status"], row["notes"]) == ("diverged", note)


def test_its_curve_is_cut_after_the_training_before_it():
    plan, store, *_ = built()
    store.records = {key: kit.with_tables(record, plan.steps[key]) for key, record in store.records.items()}
    rows = list(curves.rows(kit.study_of("toy", {}, plan, store), case.cell_of(plan, "inside", 0.9)))
    assert [row["epoch"] for row in rows if row.get("cut")] == [10]
