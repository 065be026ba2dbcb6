"""The tables say what the records say: hand-computed cells, nothing averaged in silently."""

import csv
import io
import math

import pytest
import report_case as case
from rich.console import Console
from table_kit import built, cell, right

from prunery.lab.plan import plan as plan_of
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import csv_rows, tables
from prunery.report.text.formats import briefly, few, interval, percent, plain, ranged, signed
from prunery.stats import Summary

T2 = 4.302652729911275  # t-quantile of two degrees of freedom


def printed(table, width=100):
    console = Console(width=width, file=io.StringIO(), color_system=None)
    for piece in tables.terminal(table, width=width):
        console.print(piece)
    return console.file.getvalue()


def read(text):
    return list(csv.DictReader(io.StringIO(text)))


def test_the_accuracy_table_by_hand():
    plan = case.study(retrain=5)
    _, _, table = built(plan, case.store(plan, right))
    assert table.title == "toy: lenet300 on mnist"
    assert table.header == ("method", "epochs", "50 %", "90 %", "98 %")
    # sd of 98.0, 98.1, 98.2 is 0.1; half-width 4.303 · 0.1 / sqrt(3) = 0.248
    assert f"{T2 * 0.1 / math.sqrt(3):.2f}" == "0.25"
    assert table.rows == (
        ("dense", "10+0", "98.10 ±0.25", "98.10 ±0.25", "98.10 ±0.25"),
        ("dense + 5 epochs", "10+5", "98.10 ±0.25", "98.10 ±0.25", "98.10 ±0.25"),
        ("random", "10+5", "97.10 ±0.25", "93.10 ±0.25", "78.10 ±0.25"),
        ("magnitude", "10+5", "98.00 ±0.25", "97.60 ±0.25", "96.10 ±0.25"),
        ("snip", "0+5", "98.00 ±0.25", "97.60 ±0.25", "96.10 ±0.25"),
    )
    assert table.footnotes == ()


def test_the_title_says_how_much_of_the_data_was_used():
    some = case.spec(seeds=1)
    task = some.task.model_copy(update={"images": 2000, "classes": 5})
    plan = plan_of(some.model_copy(update={"task": task}))
    store = case.store(plan, right)
    table = frame(plan, store)
    title = tables.accuracy(table, groups_of(table)).title
    assert title == "toy: lenet300 on mnist (5 classes, 2 000 training images)"


def test_the_caption_names_metric_split_unit_n_chance_and_unequal_budgets():
    plan = case.study(retrain=5)
    caption = " ".join(built(plan, case.store(plan, right))[2].caption)
    assert (
        "Top-1 accuracy (k = 1) on the test split (10 000 images, labels read once per network), in %"
        in caption
    )
    cells, groups, _ = built(plan, case.store(plan, right))
    sentences = tables.accuracy(cells.assign(test_top1_max=99.0), groups).caption
    assert "10 000 images, read after every epoch too, as a diagnostic" in " ".join(sentences)
    assert "chance level 10.00 %" in caption
    assert "95 % t-interval over n = 3 seeds" in caption
    # noise floor: sqrt(2) · 0.248
    assert "within 0.35 points" in caption
    assert "UNEQUAL total epochs (15: random, magnitude; 5: snip)" in caption


def test_equal_budgets_are_not_called_unequal():
    plan = case.study(["random", "magnitude"])
    assert "UNEQUAL" not in " ".join(built(plan, case.store(plan, right))[2].caption)


def test_a_single_seed_has_a_value_and_neither_interval_nor_verdict():
    plan = case.study(seeds=1)
    _, groups, table = built(plan, case.store(plan, right))
    assert cell(table, "magnitude", "90 %") == "97.50"
    assert "n = 1 seed: single values, without interval or verdict." in table.caption
    difference = tables.differences(groups, "dense")
    assert cell(difference, "magnitude", "90 %") == "−0.50"
    assert "no verdict" in " ".join(difference.caption)


def test_each_bad_end_is_named_in_its_cell():
    plan = case.study(["random", "magnitude"])
    collapsed = [case.cell_of(plan, "magnitude", 0.98, seed) for seed in (0, 2)]
    diverged = case.cell_of(plan, "magnitude", 0.9, 1)
    failure, gone = case.failure(
        plan, case.cell_of(plan, "random", 0.5, 1), "prune", "ScoreError: a score is NaN"
    )
    missing = case.cell_of(plan, "random", 0.9, 2).key
    store = case.store(
        plan,
        right,
        without=gone | {missing},
        failures=[failure],
        notes={c.key: ["test: predicts class 1 for all 10000"] for c in collapsed}
        | {diverged.key: ["test: outputs NaN for all 10000"]},
        losses={diverged.key: math.nan},
    )
    _, groups, table = built(plan, store)
    assert cell(table, "magnitude", "98 %") == "collapsed 2/3 (predicts class 1); 96.10 without them (n=1)"
    assert cell(table, "magnitude", "90 %") == "diverged 1/3 (outputs NaN); 97.60 without it (n=2)"
    # two values, 97.0 and 97.2: sd 0.1414, t(1) = 12.706
    assert cell(table, "random", "50 %") == "failed 1/3 [1]; 97.00, 97.20 (n=2)"
    assert cell(table, "random", "90 %") == "missing 1/3 [2]; 93.00, 93.10 (n=2)"
    assert table.footnotes == (
        f"[1] seed 1: its prune step {failure.key} failed: ScoreError: a score is NaN",
        "[2] seed 2: no record yet",
    )
    difference = tables.differences(groups, "dense")
    assert cell(difference, "magnitude", "98 %") == "-"
    assert cell(difference, "magnitude", "90 %") == "-"


def test_a_cell_without_any_record_says_so():
    plan = case.study(["magnitude"], seeds=1)
    gone = {case.cell_of(plan, "magnitude", 0.9).key}
    _, _, table = built(plan, case.store(plan, right, without=gone))
    assert cell(table, "magnitude", "90 %") == "missing [1]"
    nothing = built(plan, case.Kept())[2]
    assert cell(nothing, "dense", "50 %") == "missing [1]"
    assert "No cell is done." in nothing.caption


def test_emptied_layers_and_other_sparsities_are_footnotes():
    plan = case.study(["magnitude"])
    named = case.cell_of(plan, "magnitude", 0.98, 1)
    pruned = next(key for key in named.path if plan.steps[key].kind == "prune")
    _, _, table = built(plan, case.store(plan, right, notes={pruned: ["fc.0.weight is empty"]}))
    assert cell(table, "magnitude", "98 %") == "96.10 ±0.25 [1]"
    assert table.footnotes == ("[1] seed 1: fc.0.weight is empty",)


def test_seeds_that_predict_different_classes_share_one_text_and_empty_layers_are_named():
    plan = case.study(["magnitude"])
    cells = [case.cell_of(plan, "magnitude", 0.98, seed) for seed in range(3)]
    pruned = next(key for key in cells[0].path if plan.steps[key].kind == "prune")
    notes = {
        c.key: [f"test: predicts class {k} for all 10000"] for c, k in zip(cells, (5, 3, 5), strict=True)
    }
    _, _, table = built(plan, case.store(plan, right, notes=notes | {pruned: ["layer a is empty"]}))
    assert cell(table, "magnitude", "98 %") == "collapsed 3/3 (predicts class 5 or 3) [1]"
    assert table.footnotes == ("[1] seed 0: layer a is empty",)


def test_sparsities_of_one_method_alone_leave_the_others_blank():
    plan = case.study(["random", {"criterion": "magnitude", "sparsities": [0.95]}], sparsities=[0.5])
    _, _, table = built(plan, case.store(plan, right))
    assert table.header == ("method", "epochs", "50 %", "95 %")
    assert cell(table, "random", "95 %") == "-"
    assert cell(table, "magnitude", "50 %") == "-"


def test_verdicts_are_corrected_over_the_table():
    plan = case.study(["magnitude", "snip"], sparsities=[0.9], seeds=3)
    # against dense: magnitude -0.50, -0.51, -0.49, snip -0.1, -0.2, -0.6: spreads that differ
    lost = {"magnitude": (50, 51, 49), "snip": (10, 20, 60)}
    store = case.store(plan, lambda c: 9800 - (lost[c.method][c.seed] if c.method in lost else 0))
    table, groups, _ = built(plan, store)
    difference = tables.differences(groups, "dense")
    assert cell(difference, "magnitude", "90 %") == "−0.50 ±0.04 lower"
    assert cell(difference, "snip", "90 %") == "−0.30 ±0.94 not shown"
    text = " ".join(difference.caption)
    assert "All 2 intervals hold together with a probability of 95 %" in text
    assert "the difference is larger than its half-width" in text
    assert "Not shown with 3 seeds: a difference may be there (in the middle cell, true ones of 0.57" in text
    rows = {r["method"]: r for r in csv_rows.summary_rows(table, groups)}
    ends = [float(rows["magnitude"][f"to_dense_{end}"]) for end in ("low", "high")]
    assert ends == pytest.approx([-0.54, -0.46], abs=0.005)
    assert (rows["magnitude"]["to_dense_verdict"], rows["snip"]["to_dense_verdict"]) == ("lower", "not shown")


def test_the_terminal_keeps_to_its_width_and_loses_nothing():
    plan = case.study(sparsities=[0.1, 0.2, 0.3, 0.5, 0.75, 0.9, 0.95, 0.98, 0.99], retrain=5)
    _, _, table = built(plan, case.store(plan, right))
    for width in (60, 80, 100):
        lines = printed(table, width).splitlines()
        assert max(map(len, lines)) <= width
        text = " ".join(lines)
        assert all(column in text for column in table.header)
        assert text.count("98.10 ±0.25") >= 18  # both dense rows in all nine columns


def test_the_five_column_table_is_one_piece_in_a_hundred_columns():
    plan = case.study(sparsities=[0.5, 0.9, 0.95, 0.98, 0.99], retrain=5)
    broken = case.cell_of(plan, "snip", 0.99, 0)
    store = case.store(plan, right, notes={broken.key: ["predicts class 1 for all 10000"]})
    table = built(plan, store)[2]
    assert len(tables.terminal(table, width=100)) == 1
    assert printed(table).count("98.10 ±0.25") == 10


def test_markdown_is_the_same_text():
    plan = case.study(retrain=5)
    table = built(plan, case.store(plan, right))[2]
    text = tables.markdown(table)
    for row in table.rows:
        assert f"| {' | '.join(row)} |" in text
    assert all(sentence in text for sentence in table.caption)


def test_the_csv_of_cells_and_groups():
    plan = case.study(retrain=5)
    table, groups, _ = built(plan, case.store(plan, right))
    cells = read(csv_rows.csv_text(csv_rows.cell_rows(table)))
    assert len(cells) == 33
    one = next(r for r in cells if (r["method"], r["seed"], r["sparsity_requested"]) == ("snip", "1", "0.98"))
    assert (one["test_top1"], one["test_top5"], one["kept"], one["epochs"]) == ("96.1", "99.9", "5324", "5")
    assert one["key"] == case.cell_of(plan, "snip", 0.98, 1).key
    rows = read(csv_rows.csv_text(csv_rows.summary_rows(table, groups)))
    assert len(rows) == 3 * 3 + 2
    row = next(r for r in rows if (r["method"], r["sparsity_requested"]) == ("magnitude", "0.9"))
    assert (row["n"], row["mean"], row["sd"], row["half_width"]) == ("3", "97.6", "0.1", "0.248414")
    assert (row["low"], row["high"], row["chance"]) == ("97.351586", "97.848414", "10")
    assert (row["to_dense"], row["to_random"], row["to_dense_extra"]) == ("-0.5", "4.5", "-0.5")
    assert (row["epochs_before"], row["epochs_after"]) == ("10", "5")
    assert len(row["keys"].split()) == 3


def test_the_cost_table_counts_shared_work_in_each_row():
    plan = case.study(retrain=5)
    table = tables.costs(built(plan, case.store(plan, right))[1])
    assert cell(table, "magnitude", "M samples") == "0.81"
    assert cell(table, "magnitude", "training GMACs") == plain(3 * 266_200 * 810_000 / 1e9, 2)
    assert cell(table, "snip", "seconds") == "6"


def test_what_broke_is_said_briefly():
    assert briefly("test: predicts class 1 for all 10000") == "predicts class 1"
    assert briefly("diverged: the training loss was not finite at step 7 of epoch 3") == "at epoch 3"
    note = "loss 2.303 is ln 10, top-1 9.80 % is chance"
    assert briefly(f"test: {note}") == note


def test_how_numbers_are_written():
    assert [percent(s) for s in (0, 0.5, 0.975, 0.9944, 1)] == ["0 %", "50 %", "97.5 %", "99.44 %", "100 %"]
    assert [percent(s) for s in (0.68377223, 0.99996838, 1 - 1e-7)] == ["68.38 %", "99.99684 %", "99.99999 %"]
    assert (signed(-0.5), signed(0.0), signed(1.234)) == ("−0.50", "+0.00", "+1.23")
    assert [plain(v) for v in (100.0, 0.1 + 0.2, -0.0, None)] == ["100", "0.3", "0", ""]
    assert (ranged([10.0, 10.0]), ranged([5.0, 10.0]), ranged([])) == ("10", "5-10", "-")
    assert interval(Summary(3, 97.621, 0.2, 0.4968)) == "97.62 ±0.50"


def test_a_caption_counts_methods_where_it_would_be_a_list() -> None:
    names = ["a", "b", "c", "d", "e"]
    assert few(names[:4], most=4) == "a, b, c, d"
    assert few(names, most=4) == "5 methods"
    assert few(names, "methods that remove filters", most=4) == "5 methods that remove filters"
    assert few(names, most=None) == "a, b, c, d, e"
