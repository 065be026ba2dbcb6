"""A store with a run of each bad end: each is named, none enters a mean, and the exit status says so."""

import math

import pytest
import report_case as case
from typer.testing import CliRunner

from prunery.cli import app
from prunery.lab import archive
from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store
from prunery.report.results.study import load
from prunery.report.text.sentences import bad_runs
from prunery.report.write import files

ENDS = {
    "failed": ("random", 0.5, 1),
    "diverged": ("magnitude", 0.9, 0),
    "collapsed": ("snip", 0.98, 2),
    "missing": ("random", 0.98, 0),
}


def right(cell):
    """Very wrong numbers where a run broke: whoever averages them in shows it."""
    broken = (cell.method, cell.sparsity, cell.seed) in ENDS.values()
    return 1000 if broken else 9700 + 10 * cell.seed


def kept(root, ends):
    """A store whose runs end well, but those named in `ends`; and the cells of those."""
    spec = case.spec(retrain=5)
    plan, store = plan_of(spec), Store(root)
    cells = {end: case.cell_of(plan, *ENDS[end]) for end in ends}
    failure, gone = None, set()
    if "failed" in ends:
        failure, gone = case.failure(plan, cells["failed"], "prune", "ScoreError: a score is NaN")
        store.fail(failure)
    if "missing" in ends:
        gone = gone | {cells["missing"].key}
    noted = {
        "collapsed": "test: predicts class 1 for all 10000",
        "diverged": "test: outputs NaN for all 10000",
    }
    notes = {cells[end].key: [note] for end, note in noted.items() if end in ends}
    losses = {cells["diverged"].key: math.nan} if "diverged" in ends else {}
    store.save_study("toy", specs.plain(spec))
    for record in case.store(plan, right, without=gone, notes=notes, losses=losses).records.values():
        store.commit(record)
    return store, cells, failure


def reported(store, out, *more):
    return CliRunner().invoke(app, ["report", str(store.root), "-o", str(out), *more])


@pytest.fixture(scope="module")
def bad(tmp_path_factory):
    return kept(tmp_path_factory.mktemp("bad") / "store", list(ENDS))


def test_each_bad_run_is_named_with_its_key_and_its_reason(bad):
    store, cells, failure = bad
    lines = bad_runs(load(store, "toy").groups)
    assert sorted(lines) == [
        f"collapsed: snip at 98 %, seed 2 ({cells['collapsed'].key}): test: predicts class 1 for all 10000",
        f"diverged: magnitude at 90 %, seed 0 ({cells['diverged'].key}): test: outputs NaN for all 10000",
        f"failed: random at 50 %, seed 1 ({cells['failed'].key}): "
        f"its prune step {failure.key} failed: ScoreError: a score is NaN",
    ]


def test_none_enters_a_mean(bad):
    store, _, _ = bad
    for group in load(store, "toy").groups:
        assert all(97.0 <= value <= 97.2 for value in group.values.values())
        left = [end for end, place in ENDS.items() if (group.method, group.sparsity) == place[:2]]
        assert len(group.values) == 3 - len(left)


def test_the_files_name_them_and_count_who_is_left(bad):
    store, _, _ = bad
    made = files(load(store, "toy"))
    contents = {name: made[name].decode() for name in ("table.md", "table.tex")}
    for text in contents.values():
        for words in ("failed 1/3", "diverged 1/3", "collapsed 1/3", "missing 1/3", "without it"):
            assert words in text
        assert "10.00" not in text.replace("chance level 10.00", "")
    assert "## Runs that failed, diverged or collapsed" in contents["table.md"]


def test_the_command_names_them_on_standard_error_and_ends_with_1(bad, tmp_path):
    store, cells, _ = bad
    done = reported(store, tmp_path / "out")
    assert done.exit_code == 1
    for end in ("failed", "diverged", "collapsed"):
        (line,) = [line for line in done.stderr.splitlines() if line.startswith(f"{end}: ")]
        assert cells[end].key in line
    assert (tmp_path / "out" / "table.md").exists()  # what there is, is shown


@pytest.mark.parametrize(
    ("end", "status"), [("failed", 1), ("missing", 1), ("collapsed", 0), ("diverged", 0), (None, 0)]
)
def test_what_is_missing_or_failed_makes_the_status_1(tmp_path, end, status):
    store, _, _ = kept(tmp_path / "store", [end] if end else [])
    done = reported(store, tmp_path / "out")
    assert done.exit_code == status, done.output
    assert (end or "") in done.output + done.stderr


def test_a_quote_of_a_bad_cell_ends_with_an_error_and_writes_nothing(bad, tmp_path):
    store, _, _ = bad
    text = tmp_path / "p.md"
    text.write_text("{{cell method=snip sparsity=98%}}", encoding="utf-8")
    done = reported(store, tmp_path / "out", "--text", str(text))
    assert done.exit_code != 0
    assert "collapsed: seed 2" in str(done.exception)
    assert not (tmp_path / "out").exists()


def test_a_study_is_named_with_its_store(tmp_path):
    store, _, _ = kept(tmp_path / "store", [])
    named = ["report", "study:toy", "--store", str(store.root), "-o"]
    done = CliRunner().invoke(app, [*named, str(tmp_path / "a")])
    assert done.exit_code == 0, done.output
    reported(store, tmp_path / "b")
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / x).iterdir()} for x in "ab")
    assert first == second
    unknown = CliRunner().invoke(app, ["report", "study:tyo", "--store", str(store.root), "-o", "x"])
    assert "did you mean 'toy'?" in str(unknown.exception)


def test_an_archive_gives_the_same_report_and_the_same_status(bad, tmp_path):
    store, _, _ = bad
    archive.write(store, tmp_path / "kept.jsonl.gz")
    done = CliRunner().invoke(app, ["report", str(tmp_path / "kept.jsonl.gz"), "-o", str(tmp_path / "a")])
    assert done.exit_code == 1
    assert done.stderr == reported(store, tmp_path / "b").stderr
    first, second = ({p.name: p.read_bytes() for p in (tmp_path / x).iterdir()} for x in "ab")
    assert first == second
