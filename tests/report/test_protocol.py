"""docs/protocol.md says which test shows each rule: the rules are all there, and so are the tests."""

import re
from pathlib import Path

import pytest

from prunery.report.text.cautions import caution
from prunery.report.text.quote import SHOWS

ROOT = Path(__file__).parents[2]
TEXT = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
ROWS = {m[1]: m[0].split(" | ") for m in re.finditer(r"^\| (C\d+) \|.*$", TEXT, re.MULTILINE)}
SHOWN = re.findall(r"`(tests/\w+\.py)::(\w+)`", TEXT)


def test_all_28_rules_are_there_in_order():
    assert list(ROWS) == [f"C{i}" for i in range(1, 29)]
    assert all(len(cells) == 5 for cells in ROWS.values())


@pytest.mark.parametrize(("file", "name"), SHOWN)
def test_the_test_that_it_names_is_there(file, name):
    assert f"\ndef {name}(" in (ROOT / file).read_text(encoding="utf-8")


def test_every_rule_names_a_test_and_a_module():
    for rule, cells in ROWS.items():
        assert "tests/" in cells[4], rule
        for module in re.findall(r"`(\w+/\w+)`", cells[3]):
            path = ROOT / "src" / "prunery" / module
            assert path.with_suffix(".py").is_file() or path.is_dir(), f"{rule}: {module}"


def test_what_warns_is_a_row_of_the_table_of_cautions():
    rules = {caution[name].facts["rule"] for name in caution}
    also = {"C1", "C9", "C21"}  # held, and warned of where they are not
    assert {rule for rule, cells in ROWS.items() if cells[2].startswith("warns")} == rules - also
    assert also <= rules


def test_every_way_to_show_a_number_is_listed():
    line = next(line for line in TEXT.splitlines() if line.startswith("| `show` |"))
    assert re.findall(r"`([a-z0-9-]+)`", line)[1:] == list(SHOWS)
