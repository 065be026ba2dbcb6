"""`report --for paper`: the tables that a course report needs, as Markdown, LaTeX and CSV."""

import csv
import io

import page_kit as kit
import pytest
import report_case as case
import write_kit

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.report.text import paper_tables
from prunery.report.write import write

LEVELS = [0.5, 0.9, 0.98]


@pytest.fixture(scope="module")
def study():
    chain = {"name": "chain", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": LEVELS}}
    spec = case.spec(["snip", chain], sparsities=LEVELS, retrain=4)
    spec = spec.model_copy(update={"before_recovery": True})
    plan = plan_of(spec)
    store = case.store(plan, lambda c: 9800 - round(100 * c.sparsity) + 8 * c.seed)
    for cell in plan.cells:
        if cell.before:
            store.records[cell.before] = case.measured(plan.steps[cell.before], 9000)
    store.records = {key: kit.with_tables(record, plan.steps[key]) for key, record in store.records.items()}
    return kit.study_of("toy", specs.plain(spec), plan, store)


def test_every_table_that_a_report_needs_is_there(study):
    made = paper_tables.paper_tables(study)
    wanted = [
        "accuracy",
        "top5",
        "loss",
        "effects",
        "dense_difference",
        "sizes",
        "layers",
        "cuts",
        "retraining",
    ]
    assert [name for name in made if name != "effects"] == [n for n in (*wanted, "times") if n != "effects"]
    assert all(table.caption and table.rows for table in made.values())
    assert {
        len(row) for table in made.values() for row in table.rows if len(row) != len(table.header)
    } == set()


def test_flops_stand_in_a_column_of_their_own_and_are_two_macs(study):
    sizes = paper_tables.paper_tables(study)["sizes"]
    macs, flops = sizes.header.index("MACs kept"), sizes.header.index("FLOPs kept")
    for row in sizes.rows:
        assert int(row[flops].replace(" ", "")) == 2 * int(row[macs].replace(" ", ""))
    assert [row[1:3] for row in sizes.rows if row[0] == "chain"][1] == ("90 %", "90 %")  # asked, achieved


def test_every_cut_of_a_chain_is_a_row_with_what_its_retraining_reached(study):
    rows = [row for row in paper_tables.cuts(study).rows if row[0] == "chain"]
    assert [row[1:3] for row in rows] == [("1", "50 %"), ("2", "90 %"), ("3", "98 %")]
    assert {row[4] for row in rows} == {"4"}
    record = study.store.record(case.cell_of(study.plan, "chain", 0.5).path[-2])
    last = record.tables["epochs"][-1]
    assert float(rows[0][5]) == pytest.approx(100 * last["train_correct"] / last["train_total"], abs=0.5)


def test_one_cut_makes_no_chain():
    assert paper_tables.cuts(kit.study(("snip", "random"))) is None


def test_before_and_after_are_told_on_all_three_splits(study):
    header = paper_tables.paper_tables(study)["retraining"].header
    assert header[2:] == tuple(
        f"{w}, {s}" for s in ("test", "validation", "train") for w in ("before", "after")
    )


def test_times_are_told_apart_with_their_device(study):
    rows = {row[:2]: row for row in paper_tables.times(study).rows}
    # the kit's steps take half a second, and a second an epoch: ten and four epochs, one cut
    assert rows["chain", "50 %"][2:4] == ("15", "0.5")
    assert rows["snip", "50 %"][2:4] == ("4.5", "0.5")
    assert rows["snip", "50 %"][-1].endswith("1 thread(s)")


def test_files_hold_the_same_rows_and_their_braces_are_closed(study):
    files = paper_tables.files(study)
    rows = list(csv.reader(io.StringIO(files["accuracy.csv"].decode())))
    assert rows[1:] == [list(row) for row in paper_tables.paper_tables(study)["accuracy"].rows]
    text = files["paper.tex"].decode().replace("\\{", "").replace("\\}", "")
    assert text.count("{") == text.count("}")
    assert (
        text.count("\\begin{table}")
        == text.count("\\end{table}")
        == text.count("\\caption{")
        == len(files) - 2
    )
    assert "%" not in text.replace("\\%", "").partition("\n")[2]


def test_only_those_are_written(tmp_path):
    store = write_kit.kept(tmp_path / "store")
    names = {path.name for path in write(store, tmp_path / "out", paper=True)}
    assert {"paper.md", "paper.tex", "accuracy.csv", "accuracy.pdf"} <= names
    assert not {"report.html", "table.md", "cells.csv"} & names
