"""The store: a step is there whole or not at all, and nobody does it twice."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from lab_kit import equal, linux, record

from prunery.errors import StoreError
from prunery.lab import record as records
from prunery.lab.store import Failure, Store

KEY = record().key


@pytest.fixture
def store(tmp_path):
    return Store(tmp_path / "store")


def committed(store, key=KEY, text="weights"):
    scratch = store.scratch(key)
    (scratch / "weights").write_text(text)
    return store.commit(record(key), scratch)


def test_what_is_committed_is_there(store):
    assert not store.has(KEY)
    kept = committed(store)
    assert store.has(KEY)
    assert equal(store.record(KEY), kept)
    assert list(kept.files) == ["weights"]
    assert store.file(KEY, "weights").read_text() == "weights"
    assert list(store.finished()) == [KEY]
    assert list((store.root / "scratch").iterdir()) == []


def test_another_process_finds_it(store):
    committed(store)
    assert Store(store.root, create=False).has(KEY)


@pytest.mark.parametrize("left", ["nothing", "files", "half a record", "an empty record", "no weights"])
def test_a_half_written_folder_is_not_a_step(store, left):
    committed(store)
    folder = store.path(KEY)
    text = (folder / "record.json").read_text()
    if left in ("nothing", "files"):
        (folder / "record.json").unlink()
    if left == "nothing":
        (folder / "weights").unlink()
    if left in ("half a record", "an empty record"):
        (folder / "record.json").write_text(text[: len(text) // 2 if left == "half a record" else 0])
    if left == "no weights":
        (folder / "weights").unlink()
    assert not store.has(KEY)
    committed(store, text="again")
    assert store.has(KEY)
    assert store.file(KEY, "weights").read_text() == "again"


def test_an_altered_record_is_an_error_not_a_miss(store):
    committed(store)
    path = store.path(KEY) / "record.json"
    path.write_text(path.read_text().replace("97.5", "99.5"))
    for ask in (store.has, store.record):
        with pytest.raises(StoreError, match="altered"):
            ask(KEY)


def test_a_record_is_read_once_until_it_changes(store, monkeypatch):
    committed(store)
    reads = []
    read = records.files_in
    monkeypatch.setattr(records, "files_in", lambda text, **source: reads.append(1) or read(text, **source))
    assert [store.has(KEY) for _ in range(3)] == [True] * 3
    assert len(reads) == 1
    path = store.path(KEY) / "record.json"
    path.write_text(path.read_text().replace("97.5", "99.75"))
    with pytest.raises(StoreError, match="altered"):
        store.has(KEY)
    path.unlink()
    assert not store.has(KEY)


@linux
def test_a_step_is_on_the_disk_before_it_is_there(store, monkeypatch):
    synced, before, rename = [], [], os.rename
    sync = os.fsync
    monkeypatch.setattr(
        os, "fsync", lambda file: synced.append(os.readlink(f"/proc/self/fd/{file}")) or sync(file)
    )
    monkeypatch.setattr(os, "rename", lambda *paths: before.extend(synced) or rename(*paths))
    scratch = store.scratch(KEY)
    for name in ("weights", "masks"):
        (scratch / name).write_text(name)
    store.commit(record(KEY), scratch)
    assert {*before} == {str(scratch), *(str(scratch / name) for name in ("weights", "masks", "record.json"))}
    assert synced[len(before) :] == [str(store.root / "steps")]


def test_an_altered_file_is_an_error(store):
    committed(store)
    (store.path(KEY) / "weights").write_text("other")
    with pytest.raises(StoreError, match="altered"):
        store.file(KEY, "weights")
    with pytest.raises(StoreError, match="not there"):
        store.file(KEY, "masks")


def test_a_step_that_is_not_there(store):
    with pytest.raises(StoreError, match="not there or cut off"):
        store.record(KEY)


def test_a_commit_clears_what_is_over(store):
    (store.partial(KEY) / "training.pt").write_text("state")
    store.fail(Failure(KEY, "train", "no luck"))
    assert store.failed(KEY).reason == "no luck"
    assert [f.key for f in store.failures()] == [KEY]
    committed(store)
    assert store.failed(KEY) is None
    assert not (store.root / "partial" / KEY).exists()


def test_a_checkpoint_outlives_its_worker_and_scratch_does_not(store):
    (store.partial(KEY) / "training.pt").write_text("state")
    left = store.scratch(KEY)
    (left / "weights").write_text("half")
    other = store.scratch("f" * 16)
    assert store.scratch(KEY) != left
    assert not left.exists()
    assert other.exists()
    assert (store.partial(KEY) / "training.pt").read_text() == "state"


HOLD = """
import sys
from prunery.lab.store import Store
claim = Store(sys.argv[1]).claim(sys.argv[2])
print("got it" if claim else "taken", flush=True)
sys.stdin.read()
"""


def test_one_process_at_a_time_and_the_dead_hold_nothing(store):
    command = [sys.executable, "-c", HOLD, str(store.root), KEY]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "got it\n"
        assert store.claim(KEY) is None
        assert store.running() == [KEY]
        other = store.claim("f" * 16)
        assert other is not None
        other.release()
    finally:
        holder.kill()
        holder.wait()
    assert store.running() == []
    with store.claim(KEY) as claim:
        assert claim is not None
        assert store.claim(KEY) is None, "not twice in one process either"
    assert store.claim(KEY) is not None


@linux
def test_a_forked_child_gives_no_claim_away_that_is_its_parents(store):
    claim = store.claim(KEY)
    child = os.fork()
    if child == 0:
        claim.release()
        os._exit(0)
    os.waitpid(child, 0)
    assert store.claim(KEY) is None
    claim.release()
    assert store.claim(KEY) is not None


def test_whether_a_store_is_shared_shows_in_a_lock(store, tmp_path):
    assert "another folder" in store.shared(".run-1")
    claim = store.claim(".run-1")
    assert store.shared(".run-1") == ""
    assert "another folder" in Store(tmp_path / "other").shared(".run-1")
    assert store.running() == [], "it is no step"
    claim.release()
    (store.root / "locks" / ".run-1").touch()
    assert "flock" in store.shared(".run-1")


def test_claims_leave_no_files_behind(store):
    for key in ("a" * 16, "b" * 16):
        store.claim(key).release()
    assert list((store.root / "locks").iterdir()) == []


def test_studies_are_kept_under_their_names(store):
    store.save_study("one", {"name": "one", "seeds": [0]})
    store.save_study("one", {"name": "one", "seeds": [0, 1]})
    store.save_study("another", {})
    assert store.studies() == ("another", "one")
    assert store.study("one") == {"name": "one", "seeds": [0, 1]}
    with pytest.raises(StoreError, match="did you mean 'one'"):
        store.study("ones")


def test_a_folder_that_is_something_else_is_no_store(tmp_path):
    (tmp_path / "thesis.tex").write_text("x")
    with pytest.raises(StoreError, match="something else is there"):
        Store(tmp_path)
    assert os.listdir(tmp_path) == ["thesis.tex"]
    with pytest.raises(StoreError, match="something else is there"):
        Store(tmp_path / "thesis.tex")


def test_a_store_is_not_made_by_looking(tmp_path):
    with pytest.raises(StoreError, match="there is none"):
        Store(tmp_path / "nowhere", create=False)
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("mark", ['{"store": "prunery", "version": 2}', '{"version": 1}', "[]", "", "{"])
def test_a_store_of_another_version_is_left_alone(store, mark):
    (store.root / "store.json").write_text(mark)
    with pytest.raises(StoreError, match="this prunery reads 1"):
        Store(store.root)


def test_a_store_that_was_being_made_when_the_power_went_is_finished(tmp_path):
    (tmp_path / ".store.json.123").write_text('{"sto')
    Store(tmp_path)
    assert json.loads((tmp_path / "store.json").read_text())["version"] == 1
    shutil.rmtree(tmp_path / "steps")
    assert list(Store(tmp_path).finished()) == []
    assert Path(tmp_path / "steps").is_dir()
