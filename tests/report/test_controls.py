"""Controls in the tables: many stand apart, and unequal budgets are said where they are."""

import report_case as case
from table_kit import built, cell, right

from prunery.report.results.groups import groups_of
from prunery.report.text import tables

LEVELS = [0.5, 0.9, 0.95, 0.98]


def test_many_dense_controls_have_a_table_of_their_own():
    chain = {"name": "chain", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": LEVELS}}
    plan = case.study([chain], sparsities=LEVELS, retrain=5)
    cells, _, table = built(plan, case.store(plan, lambda c: right(c) + len(c.path)))
    assert [row[0] for row in table.rows] == ["dense", "chain"]
    controls = tables.dense_controls(groups_of(cells))
    assert [row[:2] for row in controls.rows] == [
        ("dense + 5 epochs", "10+5"),
        ("dense + 2×5 epochs", "10+10"),
        ("dense + 3×5 epochs", "10+15"),
        ("dense + 4×5 epochs", "10+20"),
    ]
    assert controls.rows[0][2] == "98.14 ±0.25"  # 9810 and four steps, of 10 000
    few = case.study([chain], sparsities=LEVELS[:3], retrain=5)
    cells, _, table = built(few, case.store(few, right))
    assert len(table.rows) == 1 + 3 + 1
    assert tables.dense_controls(groups_of(cells)) is None


def test_many_shuffled_arms_have_a_table_of_their_own():
    plan = case.study(["magnitude", "snip", "grasp", "synflow"], controls=["random"])
    cells, _, table = built(plan, case.store(plan, lambda c: right(c) - 300 * bool(c.of)))
    assert [row[0] for row in table.rows if "shuffled" in row[0]] == []
    controls = tables.arm_controls(groups_of(cells))
    assert controls.header == table.header
    assert [row[0] for row in controls.rows] == [
        f"{m} (shuffled in each layer)" for m in ("magnitude", "snip", "grasp", "synflow")
    ]
    assert cell(controls, "snip (shuffled in each layer)", "90 %") == "94.60 ±0.25"
    few = case.study(["snip"], controls=["random"])
    cells, _, table = built(few, case.store(few, right))
    assert cell(table, "snip (shuffled in each layer)", "90 %") == "97.60 ±0.25"
    assert tables.arm_controls(groups_of(cells)) is None


def test_one_method_is_not_unequal_to_itself():
    chain = {"name": "chain", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": LEVELS}}
    plan = case.study([chain], sparsities=LEVELS, retrain=5)
    assert "UNEQUAL" not in " ".join(built(plan, case.store(plan, right))[2].caption)


def test_a_difference_to_what_trained_for_less_says_so():
    plan = case.study(["magnitude", "snip"], retrain=5)
    groups = built(plan, case.store(plan, right))[1]
    sentence = tables.differences(groups, "dense").caption[-1]
    assert sentence == (
        "UNEQUAL total epochs, ours against those of the dense network (15 against 10: magnitude; "
        "5 against 10: snip)."
    )
    assert "UNEQUAL" not in " ".join(tables.differences(groups, "dense_extra").caption)
