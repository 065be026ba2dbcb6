"""Reports from a store on disk: files that regenerate byte for byte, and what the terminal shows."""

import io
import subprocess
import sys
from pathlib import Path

import pytest
from rich.console import Console
from write_kit import FILES, kept

import prunery.report
from prunery.errors import StoreError
from prunery.lab.store import Store
from prunery.report.results.study import load, names
from prunery.report.write import print_shown, write


def text_of(store):
    console = Console(width=100, file=io.StringIO(), color_system=None)
    print_shown([load(store, name) for name in names(store, None)], console)
    return console.file.getvalue()


def test_a_report_is_these_files_and_regenerates_byte_for_byte(tmp_path):
    store = kept(tmp_path / "store")
    first = write(store, tmp_path / "a")
    assert [p.name for p in first] == FILES
    assert sorted(p.name for p in (tmp_path / "a").iterdir()) == sorted(FILES)  # nothing half-written beside
    second = write(Store(tmp_path / "store"), tmp_path / "b")
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]
    again = write(store, tmp_path / "a")
    assert [p.read_bytes() for p in again] == [p.read_bytes() for p in second]


def test_another_process_writes_the_same_bytes(tmp_path):
    store = kept(tmp_path / "store")
    here = write(store, tmp_path / "a")
    code = (
        "import sys; from prunery.lab.store import Store; from prunery.report.write import write;"
        "write(Store(sys.argv[1]), sys.argv[2])"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(store.root), str(tmp_path / "b")], check=True, timeout=120
    )
    assert [p.read_bytes() for p in here] == [(tmp_path / "b" / p.name).read_bytes() for p in here]


def test_the_markdown_holds_table_answers_differences_and_costs(tmp_path):
    text = write(kept(tmp_path / "store"), tmp_path / "out")[0].read_text(encoding="utf-8")
    assert text.startswith("# toy: lenet300 on mnist\n")
    headings = [line for line in text.splitlines() if line.startswith("#")]
    assert headings[1] == "## Answers"
    assert headings[-1] == "## Cost"
    assert "## Difference to the dense network" in headings
    assert "From 50 % to 98 %, " in text


def test_the_terminal_shows_table_caption_and_answers_in_a_hundred_columns(tmp_path):
    text = text_of(kept(tmp_path / "store"))
    assert max(len(line) for line in text.splitlines()) <= 100
    for wanted in (
        "toy: lenet300 on mnist",
        "magnitude",
        "97.50, 97.58",
        "n = 2 seeds",
        "is highest",
        "UNEQUAL",
    ):
        assert wanted in text, wanted


def test_a_missing_cell_makes_a_study_incomplete_and_is_named(tmp_path):
    assert load(kept(tmp_path / "whole"), "toy").complete
    store = kept(tmp_path / "part", without=1)
    assert not load(store, "toy").complete
    assert "missing 1/2" in text_of(store)
    assert "[1] seed 1: no record yet" in text_of(store)


def test_several_studies_get_a_folder_each(tmp_path):
    store = kept(tmp_path / "store")
    kept(tmp_path / "store", name="second")
    paths = write(store, tmp_path / "out")
    assert {p.parent.name for p in paths} == {"toy", "second", "out"}
    assert {p.name for p in paths if p.parent.name == "out"} == {"index.html", "studies.csv"}
    assert [p.name for p in write(store, tmp_path / "one", "second")] == FILES
    assert (tmp_path / "one" / "table.md").read_text().startswith("# second: ")


def test_a_store_without_a_study_is_an_error_that_says_what_to_do(tmp_path):
    store = Store(tmp_path / "store")
    with pytest.raises(StoreError, match="no study ran there"):
        write(store, tmp_path / "out")
    with pytest.raises(StoreError, match="did not run here"):
        write(kept(tmp_path / "other"), tmp_path / "out", "tyo")


def test_importing_the_report_is_cheap_and_free_of_torch():
    folder = Path(prunery.report.__file__).parent
    modules = [p.relative_to(folder).with_suffix("").parts for p in sorted(folder.rglob("*.py"))]
    left_out = {"figures", "__init__", "sensitivity"}
    names = [".".join(m) for m in modules if not left_out & set(m)]
    assert len(names) > 25
    code = "import sys\n" + "\n".join(f"import prunery.report.{name}" for name in names)
    code += "\nprint([m for m in ('torch', 'pandas', 'scipy', 'altair', 'rich.table') if m in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=60
    )
    assert done.stdout.strip() == "[]"


def test_a_report_never_loads_torch(tmp_path):
    store = kept(tmp_path / "store")
    code = (
        "import sys; from rich.console import Console; from prunery.lab.store import Store;"
        "from prunery.report.results.study import load;"
        "from prunery.report.write import print_shown, write; store = Store(sys.argv[1]);"
        "write(store, sys.argv[2]); print_shown([load(store, 'toy')], Console());"
        "sys.exit('torch' in sys.modules)"
    )
    subprocess.run(
        [sys.executable, "-c", code, str(store.root), str(tmp_path / "out")],
        check=True,
        timeout=120,
        stdout=subprocess.DEVNULL,
    )
