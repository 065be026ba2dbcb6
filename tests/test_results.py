"""What stands under results/ is what its records give: each table is the same bytes when it is made again."""

from functools import cache
from pathlib import Path

import pytest

from prunery.audit.run import audit
from prunery.lab import archive
from prunery.report import write
from prunery.report.results.study import load

RESULTS = Path(__file__).parent.parent / "results"
KEPT = sorted(path.parent.name for path in RESULTS.glob("*/records.jsonl.gz"))
SHIPPED = "ship"  # tables of `prunery bench`, which has no records
REPAIRED = "one-shot"  # tables of benchmarks, which have none either
PARTS = sorted(str(path.parent.relative_to(RESULTS)) for path in RESULTS.rglob("table.md"))


@pytest.fixture(scope="module")
def remade(tmp_path_factory):
    """A function from the name of a folder to the folder of its report, made once."""

    @cache
    def report(name):
        folder = tmp_path_factory.mktemp("report")
        write.write(archive.opened(RESULTS / name / "records.jsonl.gz"), folder)
        return folder

    return report


def test_every_folder_keeps_its_records_and_tables_alone_and_says_how_it_was_made():
    folders = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
    assert folders == sorted([*KEPT, SHIPPED, REPAIRED])
    text = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in text for name in folders)
    files = {
        path.name
        for path in RESULTS.rglob("*")
        if path.is_file() and path.parent.name not in (SHIPPED, REPAIRED)
    }
    assert files == {"README.md", "records.jsonl.gz", "table.md"}


@pytest.mark.parametrize("path", sorted((RESULTS / SHIPPED).glob("*.txt")), ids=lambda path: path.name)
def test_tables_of_forms_begin_with_their_command_and_name_every_form(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith("$ ")
    for name in ("dense", "masked", "compacted", "sparse callable", "ONNX Runtime", "OpenVINO"):
        assert f"\n{name}  " in text or f"\nnot there: {name}: " in text
    assert {"torch.compile", "TorchScript"} <= set(text.split())


@pytest.mark.parametrize("path", sorted((RESULTS / REPAIRED).glob("*.txt")), ids=lambda path: path.name)
def test_tables_of_benchmarks_begin_with_a_command_that_is_there(path):
    command = path.read_text(encoding="utf-8").splitlines()[0].split()
    assert command[:2] == ["$", "python"]
    assert (RESULTS.parent / command[2]).is_file()


@pytest.mark.parametrize("name", KEPT)
def test_tables_are_those_of_the_records(name, remade):
    tables = [path.relative_to(remade(name)) for path in remade(name).rglob("table.md")]
    assert len(tables) == len(archive.opened(RESULTS / name / "records.jsonl.gz").studies())
    for path in tables:
        assert (RESULTS / name / path).read_bytes() == (remade(name) / path).read_bytes(), path


@pytest.mark.parametrize("name", KEPT)
def test_every_cell_is_there(name):
    opened = archive.opened(RESULTS / name / "records.jsonl.gz")
    assert all(load(opened, study).complete for study in opened.studies())


@pytest.mark.parametrize("part", PARTS)
def test_the_audit_finds_in_them_only_what_happened(part, remade):
    """Collapses, budgets and overshot levels that the reports name too, and single runs off their curve."""
    name, _, rest = part.partition("/")
    folder = remade(name) / rest
    assert [str(f) for f in audit(folder / "layers.csv").findings] == []
    happened = {"chance", "unequal_budgets", "unmatched_sparsities", "off_the_curve"}
    assert [str(f) for f in audit(folder / "cells.csv").findings if f.check not in happened] == []
