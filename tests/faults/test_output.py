"""Names of others do nothing: not in a terminal, a spreadsheet or a page; no character ends a command."""

import io
import json
import os
import re
import subprocess
import sys

import pytest
from cli_kit import HERE, prunery
from fault_kit import finished, spec_data
from rich.table import Table

from prunery.cli.terminal import Terminal
from prunery.errors import StoreError
from prunery.inert import inert, show_all
from prunery.lab.store import Failure
from prunery.report import write
from prunery.report.figures.chart import rendered
from prunery.report.text.csv_rows import csv_text
from prunery.report.text.texttable import TextTable, markdown

EVIL = "\x1b[2J\x1b]0;title\x07\x9b31m\u202egnp.exe\u2066\x00\r\x7f"
ACTIVE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\u200e\u200f]")


def test_what_a_terminal_obeys_is_spelt_out():
    assert inert("a\x1b[31m\u202eb") == "a\\u001b[31m\\u202eb"
    assert inert("line\n\ttab é ± 漢") == "line\n\ttab é ± 漢"
    assert not ACTIVE.search(inert(EVIL))
    assert inert(inert(EVIL)) == inert(EVIL)
    assert json.loads(inert(json.dumps({"a": EVIL}, ensure_ascii=False))) == {"a": EVIL}


@pytest.mark.parametrize("terminal", [False, True])
def test_the_console_prints_names_inert_and_without_markup(terminal):
    out = io.StringIO()
    console = Terminal(file=out, force_terminal=terminal, width=100)
    table = Table(f"[/red]{EVIL}", title=f"[bold]{EVIL}")
    table.add_row(f"[/]{EVIL}")
    for part in (EVIL, table):
        console.print(part)
    text = re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue())  # rich's own colours
    assert not ACTIVE.search(text)
    assert "[/red]" in text


def test_commands_print_names_inert(tmp_path):
    name = f"evil {EVIL}"
    store, steps = finished(tmp_path / "store", methods=[{"criterion": "magnitude", "name": name}])
    key = next(iter(steps))
    store.fail(Failure(key, "init", f"it says {EVIL}"))
    for args in (("status",), ("why", key[:6])):
        _, shown, errors, _ = prunery(*args, "--store", store.root, cwd=tmp_path)
        assert not ACTIVE.search(shown + errors)
    _, shown, errors, _ = prunery("why", EVIL.replace("\x00", ""), "--store", store.root, cwd=tmp_path)
    assert "no step's key begins so" in errors
    assert not ACTIVE.search(shown + errors)


def test_a_report_with_evil_names_is_inert(tmp_path):
    name = "<img src=x onerror=alert(1)> &lt; a|b"
    store, _ = finished(tmp_path / "store", methods=[{"criterion": "magnitude", "name": name + "\x1b[2J"}])
    write.write(store, tmp_path / "out")
    table = (tmp_path / "out" / "table.md").read_text()
    assert "<img" not in table
    assert "&lt;img src=x onerror=alert(1)> &amp;lt; a\\|b\\u001b[2J" in table
    assert not ACTIVE.search(table)


def test_markdown_keeps_what_is_no_html():
    table = TextTable("p < 0.05 & R&D", ("a", "b"), (("1 <2", "x\ny"),), ("a <b>", "&amp;"), ("* <!--",))
    assert "p < 0.05 & R&D" in markdown(table)
    assert "| 1 <2 | x y |" in markdown(table)
    assert "a &lt;b> &amp;amp;" in markdown(table)
    assert "* &lt;!--" in markdown(table)


def test_no_cell_is_a_formula():
    cells = [
        "=1+1",
        "@SUM(A1)",
        "+cmd|' /C calc'!A0",
        "-2+3",
        "\t=1",
        "\r=1",
        "-0.5",
        "+5",
        "-1e-3",
        "-",
        "a=b",
        "",
    ]
    rows = csv_text([{"a": cell} for cell in cells]).splitlines()
    first = [row.strip('"')[:2] for row in rows[1:5]]
    assert first == ["'=", "'@", "'+", "'-"]
    assert rows[-6:] == ["-0.5", "+5", "-1e-3", "-", "a=b", ""] or rows[-5:] == [
        "+5",
        "-1e-3",
        "-",
        "a=b",
        '""',
    ]


def test_what_an_encoding_lacks_is_replaced():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii", write_through=True)
    show_all(stream)
    stream.write("93.1 ±0.2 −1 3×3 漢…")
    assert raw.getvalue() == b"93.1 +/-0.2 -1 3x3 ?..."
    show_all(io.StringIO())


def test_a_terminal_without_plus_minus_ends_no_command(tmp_path):
    store, _ = finished(tmp_path / "store", seeds=3)
    code = "import sys; from prunery.cli import main; sys.argv[0] = 'prunery'; main()"
    env = {**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])}
    args = ["report", str(store.root), "-o", str(tmp_path / "out")]
    done = subprocess.run([sys.executable, "-c", code, *args], capture_output=True, env=env, timeout=120)
    assert done.returncode == 0, done.stderr
    assert b"+/-" in done.stdout
    assert (tmp_path / "out" / "table.md").is_file()


def test_an_error_names_what_was_asked_inert(finished):
    with pytest.raises(StoreError) as caught:
        finished[0].study(EVIL)
    assert not ACTIVE.search(inert(str(caught.value)))
    assert spec_data()["name"] == "small"


@pytest.mark.parametrize("text", [EVIL, "\ufffe\uffff", "a" * 100_000, "\x1b[2J &lt; <img>"])
def test_a_chart_of_any_text_is_drawn(text):
    chart = {
        "title": text,
        "data": {"values": [{"a": text, "b": 1}]},
        "mark": "bar",
        "encoding": {"x": {"field": "a", "type": "nominal"}, "y": {"field": "b", "type": "quantitative"}},
    }
    assert all(len(rendered(chart, kind)) > 1000 for kind in ("png", "svg", "pdf"))


def test_an_expression_of_a_chart_stays_whole():
    names = {f"layer {i}": f"label{i}" for i in range(200)}
    chart = {
        "data": {"values": [{"a": "layer 199", "b": 1}]},
        "mark": "bar",
        "encoding": {
            "x": {
                "field": "a",
                "type": "nominal",
                "axis": {"labelExpr": f"{json.dumps(names)}[datum.value]"},
            },
            "y": {"field": "b", "type": "quantitative"},
        },
    }
    assert b"label199" in rendered(chart, "svg")
