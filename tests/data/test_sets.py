"""Sets by name: where they are looked for, what is kept, and that nothing altered is ever used."""

import logging
import os
import subprocess
import sys
import time
from pathlib import Path

import data_kit as kit
import numpy as np
import pytest
import torch

from prunery.data import cache, hub, parquet, sets
from prunery.data.names import DATASETS, check
from prunery.data.sets import load
from prunery.errors import ChoiceError, DataError


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A mirror and a cache of this test's own; the hub answers nothing."""
    monkeypatch.setitem(DATASETS, "tiny", kit.facts())
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(hub, "snapshot", _no_network)
    kit.write(tmp_path / "mirror" / "tiny" / "plain")
    return tmp_path


def _no_network(facts):
    raise hub.HubError("no route to host")


def _cached(place):
    return next((place / "cache").glob("sets-*/tiny-*.safetensors"))


def _decodes(monkeypatch):
    """A list that grows by one with every decoding."""
    calls, read = [], parquet.read
    monkeypatch.setattr(parquet, "read", lambda *args: calls.append(1) or read(*args))
    return calls


def test_a_set_holds_what_its_files_hold(place):
    made = load("tiny", data_dir=place / "mirror")
    for split, images in (("train", made.train), ("test", made.test)):
        assert torch.equal(images.x, torch.tensor(kit.pixels(split)))
        assert torch.equal(images.y, torch.tensor(kit.labels(split)))
    train = kit.pixels("train").astype(np.float64) / 255
    np.testing.assert_allclose(made.mean, train.mean((0, 2, 3)), rtol=1e-14)
    np.testing.assert_allclose(made.std, train.std((0, 2, 3)), rtol=1e-13)
    assert (made.name, made.classes, made.class_names, made.shape) == ("tiny", 3, kit.CLASSES, kit.SHAPE)


@pytest.mark.parametrize("layout", ["tiny/plain", "someone/tiny/plain", "plain"])
def test_both_layouts_of_a_mirror_are_read(place, layout):
    kit.write(place / "other" / layout)
    assert load("tiny", data_dir=place / "other").content == load("tiny", data_dir=place / "mirror").content


def test_the_order_of_look_up(place, monkeypatch):
    asked = []
    monkeypatch.setattr(hub, "snapshot", lambda facts: asked.append("hub") or _no_network(facts))
    with pytest.raises(DataError, match="PRUNERY_DATA is not set, no copy is in the cache"):
        load("tiny")
    monkeypatch.setenv("PRUNERY_DATA", str(place / "mirror"))
    content = load("tiny").content
    monkeypatch.setenv("PRUNERY_DATA", str(place))  # without the set: the cache serves
    assert load("tiny").content == content
    assert asked == ["hub"]
    with pytest.raises(DataError, match="leave the folder out"):  # an explicit folder must hold it
        load("tiny", data_dir=place)


def test_a_folder_that_is_not_there(place):
    with pytest.raises(DataError, match=r"is not a folder.*tiny/plain/train-\*\.parquet"):
        load("tiny", data_dir=place / "nowhere")


def test_a_missing_shard_or_split(place):
    folder = place / "mirror/tiny/plain"
    (folder / "train-00001-of-00002.parquet").unlink()
    with pytest.raises(DataError, match="holds 1 of its 2 train files"):
        load("tiny", data_dir=place / "mirror")
    for path in folder.glob("train*"):
        path.unlink()
    with pytest.raises(DataError, match="holds 0 of its 1 train files"):
        load("tiny", data_dir=place / "mirror")


def test_the_second_time_nothing_is_decoded_or_hashed(place, monkeypatch):
    decodes = _decodes(monkeypatch)
    first = load("tiny", data_dir=place / "mirror")
    monkeypatch.setattr(cache, "hashes", lambda source: pytest.fail("hashed again"))
    second = load("tiny", data_dir=place / "mirror")
    assert len(decodes) == 1
    for split in ("train", "test"):
        assert torch.equal(getattr(first, split).x, getattr(second, split).x)
        assert torch.equal(getattr(first, split).y, getattr(second, split).y)
    facts = [{k: v for k, v in vars(s).items() if k not in ("train", "test")} for s in (first, second)]
    assert facts[0] == facts[1]


def test_touched_files_are_hashed_and_found_the_same(place, monkeypatch):
    decodes = _decodes(monkeypatch)
    load("tiny", data_dir=place / "mirror")
    for path in (place / "mirror/tiny/plain").iterdir():
        os.utime(path, (1, 1))
    load("tiny", data_dir=place / "mirror")
    assert len(decodes) == 1


def test_the_same_files_elsewhere_are_not_decoded_again_but_other_files_are(place, monkeypatch):
    load("tiny", data_dir=place / "mirror")
    decodes = _decodes(monkeypatch)
    load("tiny", data_dir=kit.write(place / "copy" / "plain").parent)
    assert decodes == []
    load("tiny", data_dir=kit.write(place / "other" / "plain", form="WEBP").parent)
    assert len(decodes) == 1


def test_names_and_sources_are_known_without_torch():
    code = "import sys, prunery.data.names, prunery.data.sources; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


@pytest.mark.parametrize("damage", ["cut", "flip", "sum", "no sum"])
def test_a_damaged_copy_in_the_cache_is_made_again(place, monkeypatch, caplog, damage):
    first = load("tiny", data_dir=place / "mirror")
    path, decodes = _cached(place), _decodes(monkeypatch)
    whole = path.read_bytes()
    _damage(path, damage)
    with caplog.at_level(logging.WARNING):
        assert load("tiny", data_dir=place / "mirror").content == first.content
    assert len(decodes) == 1
    assert "decoding the source files again" in caplog.text
    assert path.read_bytes() == whole  # the same bits, however often it is made


def _damage(path, how):
    beside = path.with_name(path.name + ".sha256")
    data = path.read_bytes()
    if how == "cut":
        path.write_bytes(data[:-10])
    elif how == "flip":
        path.write_bytes(data[:-10] + bytes([data[-10] ^ 1]) + data[-9:])
    elif how == "sum":
        beside.write_text("0" * 64)
    else:
        beside.unlink()


def test_a_damaged_copy_without_a_source_is_an_error(place):
    load("tiny", data_dir=place / "mirror")
    _damage(_cached(place), "flip")
    with pytest.raises(DataError) as caught:
        load("tiny")
    assert f"the copy in the cache was altered ({_cached(place)})" in caught.value.found


def test_a_failure_leaves_nothing_behind(place):
    file = place / "mirror/tiny/plain/test-00000-of-00001.parquet"
    file.write_bytes(file.read_bytes()[:300])
    with pytest.raises(DataError):
        load("tiny", data_dir=place / "mirror")
    assert [p.name for p in (place / "cache").rglob("*") if p.is_file()] == []


def test_a_write_that_fails_leaves_nothing_behind(place, monkeypatch):
    def half(path, data):
        path.write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(Path, "write_bytes", half)
    with pytest.raises(DataError, match="disk full"):
        load("tiny", data_dir=place / "mirror")
    assert list((place / "cache").glob("sets-*/tiny*")) == []


def test_what_a_killed_process_left_is_removed_in_time(place):
    folder = place / "cache" / "sets-1"
    folder.mkdir(parents=True)
    old, new = folder / "a.tmp", folder / "b.tmp"
    for path in (old, new):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    load("tiny", data_dir=place / "mirror")
    assert (old.exists(), new.exists()) == (False, True)


def test_a_cache_that_cannot_be_written_is_said_before_decoding(place, monkeypatch):
    decodes = _decodes(monkeypatch)
    (place / "file").write_text("")
    with pytest.raises(DataError, match=r"cannot be written.*PRUNERY_CACHE"):
        load("tiny", data_dir=place / "mirror", cache_dir=place / "file")
    assert decodes == []


def test_sums_of_a_mirror_are_checked(place):
    folder = place / "mirror/tiny/plain"
    lines = [f"{sets.sources.digest_of(p)}  ./tiny/plain/{p.name}" for p in sorted(folder.iterdir())]
    (place / "mirror/SHA256SUMS").write_text("\n".join(lines) + "\n")
    load("tiny", data_dir=place / "mirror")
    file = folder / "train-00000-of-00002.parquet"
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(DataError) as caught:
        load("tiny", data_dir=place / "mirror")
    assert str(file) in caught.value.asked
    assert "altered" in caught.value.found


def test_the_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "a"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "b"))
    assert cache.root(tmp_path / "c") == tmp_path / "c"
    assert cache.root() == tmp_path / "a"
    monkeypatch.delenv("PRUNERY_CACHE")
    assert cache.root() == tmp_path / "b" / "prunery"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache.root() == tmp_path / ".cache" / "prunery"


def test_an_unknown_name_gets_the_nearest():
    with pytest.raises(ChoiceError, match="did you mean 'mnist'"):
        load("mnits")
    check("my.module:factory")
    with pytest.raises(ChoiceError):
        check("my module:factory")


def test_a_mirror_that_lacks_the_set_and_no_network_is_an_error_within_three_seconds(place, monkeypatch):
    monkeypatch.setenv("PRUNERY_DATA", str(place / "mirror"))
    start = time.perf_counter()
    with pytest.raises(DataError) as caught:
        load("cifar10")
    assert time.perf_counter() - start < 3
    for part in ("'cifar10'", str(place / "mirror"), "uoft-cs/cifar10", "PRUNERY_DATA", "digits"):
        assert part in str(caught.value)
