"""Names lead nowhere but into the folder that was named, and a record is that of its step."""

import json
import shutil

import pytest
from cli_kit import prunery
from fault_kit import line_of, spec_data, told, written

from prunery.errors import StoreError
from prunery.filenames import file_name, is_file_name
from prunery.lab import archive
from prunery.lab.keys import MEANING, is_key_of
from prunery.lab.record import sealed, to_json
from prunery.lab.store import Store
from prunery.report import write
from prunery.report.results.study import load

OUTSIDE = ["../../x", "/x", "..", "a/b", "a\\b", ".hidden", "", "a\nb", "x" * 81, "a b", "\u202ea", 7, None]


@pytest.mark.parametrize("name", OUTSIDE)
def test_one_rule_says_which_names_become_files(name):
    assert not is_file_name(name)
    with pytest.raises(StoreError, match="no name for a file"):
        file_name("the study", name)
    assert file_name("the study", "a-1_b.c") == "a-1_b.c"


@pytest.mark.parametrize("name", ["../../outside", "{absolute}", "a/../../outside"])
def test_a_study_whose_name_is_a_path_writes_nothing_outside(archived, tmp_path, name):
    name = name.format(absolute=tmp_path / "absolute")
    about, lines = archived
    about["studies"] = {"small": about["studies"]["small"], name: spec_data(name=name)}
    file, deep = written(tmp_path / "a.gz", about, lines), tmp_path / "deep" / "er"
    deep.mkdir(parents=True)
    before = set(tmp_path.iterdir())
    status, _, errors, _ = prunery("report", file, "-o", "out", cwd=deep)
    assert status == 2
    assert "no name for a file" in errors
    assert set(tmp_path.iterdir()) == before
    assert [*deep.iterdir(), *(tmp_path / "deep").iterdir()] == [deep]


def test_a_study_is_not_read_from_outside_the_store(finished, tmp_path):
    store, _ = finished
    (tmp_path / "x.json").write_text(json.dumps(spec_data(name="../../x")))
    with pytest.raises(StoreError, match="no name for a file"):
        store.study("../../x")
    with pytest.raises(StoreError, match="no name for a file"):
        store.path("../../x")


def test_a_study_that_stands_under_another_name_is_refused(finished, archived, tmp_path):
    store, _ = finished
    store.save_study("other", spec_data())
    with pytest.raises(StoreError, match="not its spec"):
        store.study("other")
    about, lines = archived
    about["studies"]["other"] = spec_data()
    with pytest.raises(StoreError, match="not its spec"):
        archive.opened(written(tmp_path / "a.gz", about, lines))


@pytest.mark.parametrize("name", ["../../../x", "/x", "a/b", "..", ""])
def test_the_files_of_a_record_lie_in_its_folder(finished, name):
    store, steps = finished
    step = next(iter(steps.values()))
    text = line_of(told(step), files={name: "00"}).split(" ", 1)[1]
    (store.path(step.key) / "record.json").write_text(text)
    for ask in (store.has, store.record, lambda key: store.file(key, name)):
        with pytest.raises(StoreError, match=r"files has .*not a file's name"):
            ask(step.key)


def test_a_work_that_leaves_a_file_of_an_odd_name_fails(finished):
    store, steps = finished
    record = told(next(iter(steps.values())))
    scratch = store.scratch(record.key)
    (scratch / "a b").write_text("x")
    with pytest.raises(StoreError, match="no name for a file"):
        store.commit(record, scratch)


def test_a_step_copied_over_another_is_noticed(finished):
    store, steps = finished
    a, b = [key for key, step in steps.items() if step.kind == "measure"][:2]
    shutil.rmtree(store.path(a))
    shutil.copytree(store.path(b), store.path(a))
    for opened in (store, Store(store.root)):
        for ask in (opened.has, opened.record):
            with pytest.raises(StoreError, match=f"the record of step {b}"):
                ask(a)


def test_a_record_that_claims_another_steps_key_is_noticed(finished):
    store, steps = finished
    a, b = [step for step in steps.values() if step.kind == "measure"][:2]
    (store.path(a.key) / "record.json").write_text(line_of(told(b), key=a.key).split(" ", 1)[1])
    with pytest.raises(StoreError, match="not that of its kind, arguments and parents"):
        store.record(a.key)


def test_two_lines_exchanged_in_an_archive_are_noticed(archived, tmp_path):
    about, lines = archived
    one, other = [place for place, line in enumerate(lines) if '"kind":"measure"' in line][:2]
    a, b = lines[one], lines[other]
    lines[one], lines[other] = a[:17] + b[17:], b[:17] + a[17:]
    opened = archive.opened(written(tmp_path / "a.gz", about, lines))
    with pytest.raises(StoreError, match=rf"line {one + 2}.*the record of step {b[:16]}"):
        opened.record(a[:16])


def test_a_second_record_of_a_step_is_refused(archived, tmp_path):
    about, lines = archived
    with pytest.raises(StoreError, match=rf"line {len(lines) + 2} is a second record"):
        archive.opened(written(tmp_path / "a.gz", about, [*lines, lines[0]]))


def test_a_record_of_what_its_kind_meant_before_is_still_read(finished):
    _, steps = finished
    step = next(step for step in steps.values() if step.kind == "train")
    assert MEANING["train"] > 1
    assert is_key_of(step.key, step.kind, step.args, step.parents)
    assert not is_key_of("f" * 16, step.kind, step.args, step.parents)
    assert not is_key_of(step.key, "measure", step.args, step.parents)
    assert not is_key_of(step.key, step.kind, {**step.args, "training": {"odd": 1}}, step.parents)


def test_a_torn_study_says_so_and_is_written_anew(finished, tmp_path):
    store, _ = finished
    file = store.root / "studies" / "small.json"
    whole = file.read_text()
    for text in (whole[: len(whole) // 2], whole.replace("0.5", "0.7"), "[]", "", "[" * 100_000, "\x00"):
        file.write_text(text)
        with pytest.raises(StoreError, match=r"torn or was altered|not its spec") as caught:
            store.study("small")
        assert "did you mean" not in str(caught.value)
    store.save_study("small", spec_data())
    assert store.study("small") == spec_data()


def test_a_study_of_before_is_read(finished):
    store, _ = finished
    (store.root / "studies" / "small.json").write_text(json.dumps(spec_data()))
    assert store.study("small") == spec_data()


def test_a_torn_study_leaves_the_others_alone(finished, tmp_path):
    store, _ = finished
    store.save_study("torn", spec_data(name="torn"))
    (store.root / "studies" / "torn.json").write_text('{"sha')
    status, shown, _, _ = prunery("status", "--store", store.root, cwd=tmp_path)
    assert status == 1
    assert "study small: 16 of 16 steps done" in shown
    assert "torn or was altered" in shown
    assert load(store, "small").complete
    with pytest.raises(StoreError, match="Run the study again"):
        write.write(store, tmp_path / "out")


@pytest.mark.parametrize(
    "text", ["[" * 100_000, '{"key": 1}', "null", '{"key": "x", "kind": [], "reason": 1}']
)
def test_a_failure_that_is_none_is_no_failure(finished, text):
    store, steps = finished
    key = next(iter(steps))
    (store.root / "failed" / f"{key}.json").write_text(text)
    assert store.failed(key) is None
    assert store.failures() == []


def test_what_records_hold_survives_a_second_reading(finished):
    store, steps = finished
    for key in steps:
        data = json.loads(to_json(store.record(key)))
        assert data["sha256"] == sealed(data["record"])
