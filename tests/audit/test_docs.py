"""docs/audit.md says what the command prints, and names every check."""

from __future__ import annotations

import re
from pathlib import Path

from prunery.audit.findings import CHECKS
from prunery.cli.audit import audit

DOCS = (Path(__file__).parents[2] / "docs" / "audit.md").read_text()


def test_example_prints_what_the_docs_show(tmp_path, monkeypatch, capsys):
    blocks = re.findall(r"^```\n(.*?)^```", DOCS, re.DOTALL | re.MULTILINE)
    _, table, text, output = blocks
    monkeypatch.chdir(tmp_path)
    Path("table.csv").write_text(table)
    Path("text.md").write_text(text)
    assert audit("table.csv", claims="text.md") == 1
    assert capsys.readouterr().out == output


def test_every_check_is_in_the_docs():
    assert [name for name in CHECKS if f"`{name}`" not in DOCS] == []
