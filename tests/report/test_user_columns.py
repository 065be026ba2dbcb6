"""A column of a user's own, in a module of their own, stands in CSV, tables and page beside the library's."""

import csv
import io
import json
import re
import sys

import pytest
import report_case as case
import write_kit as kit
from cli_kit import prunery as command
from rich.console import Console

import prunery
from prunery.errors import ChoiceError
from prunery.report import write
from prunery.report.follow import follow
from prunery.report.results.columns import COLUMNS, column
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.results.user_columns import columns_of
from prunery.report.text import tables

MODULE = '''
"""Columns of one's own."""

from prunery.report.results.columns import column


@column.add(label="Wrong answers on test", unit="images", decimals=1, better="lower")
def wrong(cell, *, times=1):
    """Return how many test images are answered wrongly."""
    top1 = cell.number("top1", "test")
    return times * (top1.total - top1.count)


@column.add(label="epochs of training, squared", unit="epochs²", tables="cost", figures=("cost",), csv=False)
def squared(cell):
    """Return the epochs, squared."""
    return cell.spent("epochs") ** 2


@column.add(unit="%")
def absent(cell):
    """Return nothing."""


@column.add(unit="%")
def broken(cell):
    """Return a sum of what is not there."""
    return cell.value("top7", "test") + 1


@column.add(lable="a fact that is none")
def unknown(cell):
    """Return 0."""
    return 0


@column.add(better="bigger")
def neither(cell):
    """Return 0."""
    return 0
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with a user's module `rows_of_mine`, importable for the time of the test."""
    (tmp_path / "rows_of_mine.py").write_text(MODULE, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "rows_of_mine", raising=False)
    for name in ("_rows", "_bare"):
        monkeypatch.setattr(column, name, {})
    return tmp_path


@pytest.fixture
def store(folder):
    return kit.kept(folder / "store")


def rows(path):
    return list(csv.DictReader(io.StringIO(path.read_text())))


def page_data(path):
    block = re.search(r'<script type="application/json" id="data">(.*?)</script>', path.read_text(), re.S)
    return json.loads(block[1])


def test_it_stands_in_the_files_of_a_report(store, folder):
    write.write(store, folder / "out", columns=["rows_of_mine:wrong"])
    cells = rows(folder / "out" / "cells.csv")
    assert list(cells[0]) == [c.name for c in COLUMNS if c.csv] + ["rows_of_mine:wrong"]
    # the kit's networks have 9800 - 100 * sparsity + 8 * seed right answers of 10 000
    assert {
        (r["sparsity_requested"], r["seed"]): r["rows_of_mine:wrong"] for r in cells if r["method"] == "snip"
    }[("0.9", "1")] == "282"
    summary = next(r for r in rows(folder / "out" / "summary.csv") if r["sparsity_requested"] == "0.9")
    assert (summary["rows_of_mine:wrong"], summary["rows_of_mine:wrong_n"]) == ("286", "2")
    assert summary["rows_of_mine:wrong_low"] == ""  # two seeds have no interval
    table = (folder / "out" / "table.md").read_text().partition("## Wrong answers on test\n")[2]
    assert "Wrong answers on test (rows_of_mine:wrong), in images; lower is better." in table
    assert "290.0, 282.0" in table
    page = (folder / "out" / "report.html").read_text()
    assert 'id="table-rows-of-mine-wrong"' in page
    assert "290.0, 282.0" in page
    assert "Wrong answers on test" in (folder / "out" / "table.tex").read_text()


def test_without_it_the_files_are_as_they_were(store, folder):
    for out in ("one", "two"):
        write.write(store, folder / out)
    write.write(store, folder / "three", columns=["rows_of_mine:absent"])
    for path in (folder / "one").iterdir():
        assert path.read_bytes() == (folder / "two" / path.name).read_bytes()
    assert "rows_of_mine" not in (folder / "one" / "cells.csv").read_text()
    assert "rows_of_mine" in (folder / "three" / "cells.csv").read_text()
    table = "table.md"  # without a value there is no table
    assert (folder / "one" / table).read_bytes() == (folder / "three" / table).read_bytes()


def test_it_stands_where_its_facts_say(store, folder):
    write.write(store, folder / "out", columns=["rows_of_mine:squared"])
    text = (folder / "out" / "table.md").read_text()
    cost = text.partition("## Cost\n")[2]
    assert "| scoring GMACs | epochs of training, squared |" in cost
    assert re.search(r"\| magnitude \|.*\| 225 \|", cost), "10 + 5 epochs"
    assert text.count("epochs of training, squared") == 1
    assert "squared" not in (folder / "out" / "cells.csv").read_text()
    (chart,) = page_data(folder / "out" / "report.html")["rows_of_mine_squared"]
    assert "epochs of training, squared (epochs²)" in json.dumps(chart, ensure_ascii=False)
    assert 225 in [row["v"] for row in chart["layer"][-1]["data"]["values"]]


def test_options_make_a_column_of_their_own(folder):
    twice, once = columns_of(["rows_of_mine:wrong(times=2)", "rows_of_mine:wrong"])
    assert (twice.name, once.name) == ("rows_of_mine:wrong(times=2)", "rows_of_mine:wrong")
    plan = case.study(["snip"], seeds=1, sparsities=[0.9])
    cells = frame(plan, case.store(plan, lambda cell: 9000), (*COLUMNS, twice, once))
    assert set(zip(cells[twice.name], cells[once.name], strict=True)) == {(2000.0, 1000.0)}
    assert [g.metric for g in groups_of(cells, metric=twice)] == [twice] * 2


def test_a_cell_without_a_record_has_no_value(folder):
    (wrong,) = columns_of(["rows_of_mine:wrong"])
    plan = case.study(["snip"], seeds=1)
    cells = frame(plan, case.Kept(), (*COLUMNS, wrong))
    assert cells[wrong.name].isna().all()
    assert tables.accuracy(cells, groups_of(cells, metric=wrong), metric=wrong).rows


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("rows_of_mine:unknown", ("'lable'", "did you mean 'label'")),
        ("rows_of_mine:neither", ("'better'", "it is 'bigger'", "higher, lower, none")),
        ("rows_of_mine:wrongs", ("did you mean 'rows_of_mine:wrong'",)),
        ("rows_of_mine:wrong(time=2)", ("'time'", "no such option")),
        ("rows_of_yours:wrong", ("ModuleNotFoundError",)),
    ],
)
def test_what_cannot_be_a_column_is_said(folder, row, words):
    with pytest.raises(ChoiceError) as error:
        columns_of([row])
    assert all(word in str(error.value) for word in words), str(error.value)


def test_what_it_raises_is_said_with_the_cell(store, folder):
    with pytest.raises(ChoiceError, match=r"column 'rows_of_mine:broken' of .*seed 0 .*TypeError") as error:
        write.write(store, folder / "out", columns=["rows_of_mine:broken"])
    assert error.value.do == "return a number, or None where there is none"
    assert not (folder / "out").exists()


def test_a_text_quotes_it_with_its_decimals(store, folder):
    text = folder / "mine.md"
    text.write_text("{{cell method=snip sparsity=90% metric=rows_of_mine:wrong show=mean}} wrong")
    write.write(store, folder / "out", texts=[text], columns=["rows_of_mine:wrong"])
    assert (folder / "out" / "mine.md").read_text() == "286.0 wrong"


def test_the_command_takes_several(store, folder):
    asked = ["--column", "rows_of_mine:wrong", "--column", "rows_of_mine:squared"]
    status, _, errors, _ = command("report", store.root, "-o", "out", *asked, cwd=folder)
    assert status == 0, errors
    assert "rows_of_mine:wrong" in (folder / "out" / "cells.csv").read_text()
    assert "epochs of training, squared" in (folder / "out" / "table.md").read_text()
    wrong = ["--column", "rows_of_mine:wrongs"]
    status, _, errors, _ = command("report", store.root, "-o", "two", *wrong, cwd=folder)
    assert status == 2
    assert "did you mean 'rows_of_mine:wrong'" in errors


def test_a_report_that_follows_a_run_has_it_too(store, folder):
    follow(store, folder / "out", None, Console(file=io.StringIO()), columns=["rows_of_mine:wrong"])
    assert "rows_of_mine:wrong" in (folder / "out" / "cells.csv").read_text()


def test_its_decorator_is_at_hand_as_the_errors_say(folder):
    assert prunery.column is column
    with pytest.raises(ChoiceError, match=r"@prunery\.column\.add"):
        columns_of(["rows_of_mine:column"])


def test_each_column_of_the_catalogue_is_declared_once():
    names = [c.name for c in COLUMNS]
    assert len(set(names)) == len(names)
    for c in COLUMNS:
        assert not {"own", "cost"} & {*c.tables} or c.unit, c.name
        assert not c.figures or (c.label and c.unit), c.name
