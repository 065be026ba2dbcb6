"""What stands under results/ is what its records give: the tables are the same bytes, made anew."""

from pathlib import Path

import pytest

from prunery.audit.run import audit
from prunery.lab import archive
from prunery.report import write
from prunery.report.results.study import load

RESULTS = Path(__file__).parent.parent / "results"
KEPT = sorted(path.parent.name for path in RESULTS.glob("*/records.jsonl.gz"))
TEXTS = ("table.md", "cells.csv", "summary.csv", "layers.csv")


def test_every_folder_keeps_its_records_and_says_how_it_was_made():
    folders = sorted(path.name for path in RESULTS.iterdir() if path.is_dir())
    assert folders == KEPT
    told = (RESULTS / "README.md").read_text(encoding="utf-8")
    assert all(f"| `{name}` |" in told for name in folders)


@pytest.mark.parametrize("name", KEPT)
def test_tables_are_those_of_the_records(name, tmp_path):
    found = archive.opened(RESULTS / name / "records.jsonl.gz")
    made = {path.relative_to(tmp_path): path.read_bytes() for path in write.write(found, tmp_path)}
    tables = [path for path in made if path.name in TEXTS]
    assert len(tables) == len(TEXTS) * len(found.studies())
    for path in tables:
        assert (RESULTS / name / path).read_bytes() == made[path], path


@pytest.mark.parametrize("name", KEPT)
def test_every_cell_is_there(name):
    found = archive.opened(RESULTS / name / "records.jsonl.gz")
    assert all(load(found, study).complete for study in found.studies())


@pytest.mark.parametrize("layers", sorted(RESULTS.rglob("layers.csv")), ids=lambda p: p.parent.name)
def test_the_audit_finds_nothing_in_layers(layers):
    assert [str(f) for f in audit(layers).findings] == []


@pytest.mark.parametrize("cells", sorted(RESULTS.rglob("cells.csv")), ids=lambda p: p.parent.name)
def test_the_audit_finds_in_them_only_what_happened(cells):
    """Collapses, budgets and overshot levels that the reports name too, and single runs off their curve."""
    happened = {"chance", "unequal_budgets", "unmatched_sparsities", "off_the_curve"}
    assert [str(f) for f in audit(cells).findings if f.check not in happened] == []
