"""A store's records in one file: the same reports, the same bytes, and errors for what is no archive."""

import gzip

import pytest
from lab_kit import ONE_EPOCH, do, spec

from prunery.errors import StoreError
from prunery.lab import archive
from prunery.lab.plan import plan
from prunery.lab.spec import plain
from prunery.lab.store import Failure, Store
from prunery.report import write


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    found = Store(tmp_path_factory.mktemp("store"))
    asked = spec(task=ONE_EPOCH, seeds=2, sparsities=[0.5], methods=[{"criterion": "magnitude"}])
    steps = list(plan(asked).steps.values())
    for step in steps[:-1]:
        do(step, found)
    found.save_study(asked.name, plain(asked))
    found.fail(Failure(steps[-1].key, steps[-1].kind, "it was not done"))
    return found


def test_reports_are_those_of_the_store(store, tmp_path):
    file = tmp_path / "a.jsonl.gz"
    number = archive.write(store, file)
    found = archive.opened(file)
    assert list(found.finished()) == list(store.finished())
    assert len(list(found.finished())) == number
    assert all(found.record(key) == store.record(key) for key in store.finished())
    assert found.failures() == store.failures()
    folders = [tmp_path / "from-store", tmp_path / "from-file"]
    for source, folder in zip((store, found), folders, strict=True):
        write.write(source, folder)
    names = sorted(p.name for p in folders[0].iterdir())
    assert names == sorted(p.name for p in folders[1].iterdir())
    assert len(names) > 5
    for name in names:
        assert (folders[0] / name).read_bytes() == (folders[1] / name).read_bytes(), name


def test_equal_stores_give_equal_bytes(store, tmp_path):
    files = [tmp_path / name for name in ("a", "b")]
    for file in files:
        archive.write(store, file)
    assert files[0].read_bytes() == files[1].read_bytes()
    assert len(files[0].read_bytes()) < sum(
        (store.path(k) / "record.json").stat().st_size for k in store.finished()
    )


def test_an_altered_record_is_an_error(store, tmp_path):
    file = tmp_path / "a.jsonl.gz"
    archive.write(store, file)
    text = gzip.decompress(file.read_bytes()).decode()
    key = next(store.finished())
    altered = "\n".join(
        line.replace('"seed":0', '"seed":3') if line.startswith(key) else line for line in text.splitlines()
    )
    assert altered != text.rstrip("\n")
    file.write_bytes(gzip.compress(altered.encode()))
    with pytest.raises(StoreError, match="altered"):
        archive.opened(file).record(key)


def test_a_flipped_byte_is_an_error_of_the_store(store, tmp_path):
    archive.write(store, tmp_path / "a")
    content = bytearray((tmp_path / "a").read_bytes())
    for place in range(10, 40, 3):
        (tmp_path / "b").write_bytes(content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :])
        with pytest.raises(StoreError):
            archive.opened(tmp_path / "b")


def test_names_may_hold_what_ends_a_line_elsewhere(tmp_path):
    asked = spec(
        task=ONE_EPOCH, seeds=1, sparsities=[0.5], methods=[{"name": "a\u2028b", "criterion": "snip"}]
    )
    found = Store(tmp_path / "s")
    do(next(iter(plan(asked).steps.values())), found)
    found.save_study(asked.name, plain(asked))
    assert archive.write(found, tmp_path / "a") == 1
    assert archive.opened(tmp_path / "a").study("small") == found.study("small")


@pytest.mark.parametrize("content", ["", "hello", "gzip []", 'gzip {"archive": "x"}'])
def test_what_is_no_archive(content, tmp_path):
    text = content.removeprefix("gzip ").encode()
    (tmp_path / "x").write_bytes(gzip.compress(text) if content.startswith("gzip") else text)
    with pytest.raises(StoreError, match="Give a whole file"):
        archive.opened(tmp_path / "x")


def test_a_cut_archive(store, tmp_path):
    archive.write(store, tmp_path / "a")
    (tmp_path / "a").write_bytes((tmp_path / "a").read_bytes()[:-50])
    with pytest.raises(StoreError):
        archive.opened(tmp_path / "a")


def test_an_empty_store_has_nothing_to_keep(tmp_path):
    with pytest.raises(StoreError, match="no study ran"):
        archive.write(Store(tmp_path / "s"), tmp_path / "a")
    assert not (tmp_path / "a").exists()
