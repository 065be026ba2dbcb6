"""A report that follows a run: it writes when something changed, and ends when nothing more can come."""

import io

import pytest
import report_case as case
from cli_kit import prunery
from rich.console import Console

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Failure, Store
from prunery.report.follow import follow
from prunery.report.write import write

SIZES = {"seeds": 1, "sparsities": [0.5]}


class Run:
    """A run that commits one record whenever the report waits; `stop` after so many waits is a Ctrl-C."""

    def __init__(self, root, *, stop=None, fail=None):
        spec = case.spec(["random", "magnitude"], **SIZES)
        self.store = Store(root)
        plan = plan_of(spec)
        self.store.save_study("toy", specs.plain(spec))
        made = case.store(plan, lambda c: 9700)
        self.todo = list(made.records.values())
        self.waits, self.stop, self.fail = 0, stop, fail

    def wait(self, seconds):
        assert seconds > 0
        self.waits += 1
        assert self.waits < 100, "it waits for ever"
        if self.waits == self.stop:
            raise KeyboardInterrupt
        if self.todo:
            record = self.todo.pop(0)
            if record.kind == self.fail:
                self.todo = []
                self.store.fail(Failure(record.key, record.kind, "MemoryError"))
            else:
                self.store.commit(record)


def followed(run, out, *, terminal=False, **more):
    console = Console(file=io.StringIO(), width=100, force_terminal=terminal, color_system=None)
    return follow(run.store, out, None, console, wait=run.wait, **more), console.file.getvalue()


def test_off_a_terminal_there_is_a_line_when_something_changed_and_the_files_are_the_reports(tmp_path):
    run = Run(tmp_path / "store")
    steps = len(run.todo)
    (study,), text = followed(run, tmp_path / "out")
    assert study.complete
    assert run.waits == steps
    # four cells, one more at each change; steps that finish no cell are no change
    assert text.splitlines() == [
        "toy: 4 cells, 4 missing",
        "toy: 4 cells, 1 done, 3 missing",
        "toy: 4 cells, 2 done, 2 missing",
        "toy: 4 cells, 3 done, 1 missing",
        "toy: 4 cells, 4 done",
    ]
    write(run.store, tmp_path / "plain")
    assert _files(tmp_path / "out") == _files(tmp_path / "plain")


def test_the_files_of_a_part_are_there_before_the_end(tmp_path):
    run = Run(tmp_path / "store", stop=5)
    (study,), _ = followed(run, tmp_path / "out")
    assert not study.complete
    assert "missing" in (tmp_path / "out" / "table.md").read_text(encoding="utf-8")


def test_a_failed_study_is_not_waited_for(tmp_path):
    run = Run(tmp_path / "store", fail="train")
    (study,), text = followed(run, tmp_path / "out")
    assert set(study.statuses) == {"failed", "blocked"}
    assert text.splitlines()[-1] == "toy: 4 cells, 3 blocked, 1 failed"


def test_what_somebody_works_on_is_waited_for(tmp_path):
    run = Run(tmp_path / "store", fail="train")
    (claimed,) = [r.key for r in run.todo if r.kind == "train"]
    with run.store.claim(claimed):
        run.stop = 20
        followed(run, tmp_path / "out")
        assert run.waits == 20


def test_on_a_terminal_the_table_is_shown_in_place(tmp_path):
    run = Run(tmp_path / "store")
    _, text = followed(run, tmp_path / "out", terminal=True)
    assert text.count("toy: lenet300 on mnist") > 1
    assert "97.00" in text
    assert "\x1b[" in text  # the cursor goes back


def test_texts_are_written_when_what_they_quote_is_there(tmp_path):
    text = tmp_path / "p.md"
    text.write_text("{{cell method=magnitude}}", encoding="utf-8")
    followed(Run(tmp_path / "store"), tmp_path / "out", texts=[text])
    assert (tmp_path / "out" / "p.md").read_text(encoding="utf-8") == "97.00"


def test_a_complete_study_is_shown_once(tmp_path):
    run = Run(tmp_path / "store")
    for record in run.todo:
        run.store.commit(record)
    _, text = followed(run, tmp_path / "out")
    assert run.waits == 0
    assert text == "toy: 4 cells, 4 done\n"


@pytest.mark.parametrize("stop", [1, 3])
def test_ctrl_c_ends_quietly(tmp_path, stop):
    studies, _ = followed(Run(tmp_path / "store", stop=stop), tmp_path / "out")
    assert [s.complete for s in studies] == [False]


def _files(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir()}


def test_a_papers_tables_are_not_followed(tmp_path):
    status, _, errors, _ = prunery(
        "report", "runs/none", "-o", "r", "--watch", "--for", "paper", cwd=tmp_path
    )
    assert status == 2
    assert "follow the run first" in errors.lower()
