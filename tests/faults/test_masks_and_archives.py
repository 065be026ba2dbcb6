"""Files of masks and archives that lie: noticed in bounded memory, by an error of the library."""

import gzip
import json
import tracemalloc
import zlib

import pytest
import torch
from fault_kit import line_of, told, written
from safetensors.torch import load, save

from prunery.core.masks import Masks
from prunery.errors import MasksError, PruneryError, StoreError
from prunery.lab import archive
from prunery.report import write

SHAPES = {"a.weight": (8, 40), "b.weight": (10, 8), "b.bias": (10,)}


@pytest.fixture
def masks(seeded=3):
    draw = torch.Generator().manual_seed(seeded)
    kept = {name: torch.rand(shape, generator=draw) < 0.5 for name, shape in SHAPES.items()}
    return Masks(kept, uncounted=["b.bias"], units={"b.weight": (4, 10)})


def about_of(content):
    return json.loads(header(content)["__metadata__"]["about"])


def header(content):
    return json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])


def altered(content, **changes):
    """The file with another header, without a sha256 as before there was one."""
    about = {**about_of(content), **changes}
    about.pop("sha256", None)
    return save(load(content), metadata={"about": json.dumps(about)})


def test_every_flipped_bit_of_masks_is_noticed(masks, tmp_path):
    file = tmp_path / "m"
    masks.save(file)
    content = file.read_bytes()
    place = torch.Generator().manual_seed(0)
    for bit in torch.randint(8 * len(content), (150,), generator=place).tolist():
        flipped = bytearray(content)
        flipped[bit // 8] ^= 1 << bit % 8
        file.write_bytes(flipped)
        try:
            found = Masks.load(file)
        except MasksError:
            continue
        assert found == masks, bit  # a blank of the header's JSON may be another blank
        assert (found.uncounted, found.units) == (masks.uncounted, masks.units), bit


def test_masks_of_before_are_read(masks, tmp_path):
    masks.save(tmp_path / "m")
    (tmp_path / "old").write_bytes(altered((tmp_path / "m").read_bytes()))
    found = Masks.load(tmp_path / "old")
    assert found == masks
    assert (found.uncounted, found.units) == (masks.uncounted, masks.units)


SHAPE_LIES = [
    [8, 41],
    [-8, -40],
    [8, -40],
    [1 << 40, 1 << 40],
    [True, 40],
    [8.0, 40],
    "8x40",
    None,
    [[8], 40],
]
LIES = [
    *({"shapes": {**SHAPES, "a.weight": shape}} for shape in SHAPE_LIES),
    {"shapes": {}},
    {"shapes": {**SHAPES, "c": [1]}},
    {"shapes": 7},
    {"shapes": {**SHAPES, "a.weight": [1] * 5000}},
    *(
        {"units": {"b.weight": units}}
        for units in ([999, 3], [-1, 3], [1, 2, 3], 7, None, ["1", "2"], [1.5, 2])
    ),
    {"units": [1]},
    {"units": None},
    *({"uncounted": names} for names in (["c"], [7], "b.bias", None, {"b.bias": 1}, [["b.bias"]])),
    {"format": 7},
    {"more": 1},
]


@pytest.mark.parametrize("lie", LIES, ids=str)
def test_a_header_of_masks_that_lies_is_refused(masks, tmp_path, lie):
    masks.save(tmp_path / "m")
    (tmp_path / "m").write_bytes(altered((tmp_path / "m").read_bytes(), **lie))
    with pytest.raises(MasksError):
        Masks.load(tmp_path / "m")


@pytest.mark.parametrize("text", ["", "[]", "7", "null", "[" * 100_000, '{"format": "prunery-masks-1"}', "{"])
def test_a_header_that_is_none_is_refused(tmp_path, text):
    (tmp_path / "m").write_bytes(save({"a": torch.zeros(3, dtype=torch.uint8)}, metadata={"about": text}))
    with pytest.raises(MasksError):
        Masks.load(tmp_path / "m")


@pytest.mark.parametrize(
    "bits", [torch.zeros(40), torch.zeros(40, 1, dtype=torch.uint8), torch.zeros(40).bool()]
)
def test_bits_of_another_type_or_form_are_refused(tmp_path, bits):
    about = {"format": "prunery-masks-1", "shapes": {"a": [8, 40]}, "uncounted": [], "units": {}}
    (tmp_path / "m").write_bytes(save({"a": bits}, metadata={"about": json.dumps(about)}))
    with pytest.raises(MasksError, match="bytes of bits"):
        Masks.load(tmp_path / "m")


def test_an_archive_that_is_a_bomb_takes_no_memory(tmp_path):
    pack, zeros = zlib.compressobj(9, wbits=31), bytes(1 << 20)
    (tmp_path / "a.gz").write_bytes(b"".join([pack.compress(zeros) for _ in range(60)]) + pack.flush())
    tracemalloc.start()
    try:
        with pytest.raises(StoreError, match="which no archive does"):
            archive.opened(tmp_path / "a.gz")
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


def test_an_archive_that_was_cut_or_goes_on_is_refused(archived, tmp_path):
    content = written(tmp_path / "a.gz", *archived).read_bytes()
    for wrong in (content[:-1], content[: len(content) // 2], content[:5], b"", content + b"more", b"x" * 99):
        (tmp_path / "b.gz").write_bytes(wrong)
        with pytest.raises(StoreError):
            archive.opened(tmp_path / "b.gz")


@pytest.mark.parametrize(
    "changes",
    [
        {"studies": None},
        {"studies": []},
        {"studies": {"small": None}},
        {"studies": {"small": {}}},
        {"failures": None},
        {"failures": [None]},
        {"failures": [{"key": "x"}]},
        {"failures": [{"key": "0" * 16, "kind": 1, "reason": 2}]},
        {"more": 1},
        {"version": "1"},
        {"archive": ["prunery"]},
    ],
    ids=str,
)
def test_a_first_line_that_lies_is_refused(archived, tmp_path, changes):
    about, lines = archived
    with pytest.raises(StoreError, match=r"an archive in|not its spec"):
        archive.opened(written(tmp_path / "a.gz", {**about, **changes}, lines))


@pytest.mark.parametrize("text", ["", "null", "7", "[]", "[" * 100_000, "{", '"\ud800"'])
def test_a_first_line_that_is_none_is_refused(archived, tmp_path, text):
    with pytest.raises(StoreError, match="an archive in"):
        archive.opened(written(tmp_path / "a.gz", text, archived[1]))


@pytest.mark.parametrize(
    "line", ["x", "0" * 16, "0" * 17 + "{}", "../../../../../x {}", " ", "0" * 15 + "G {}"]
)
def test_a_line_without_a_key_is_refused(archived, tmp_path, line):
    about, lines = archived
    with pytest.raises(StoreError, match=r"line 3 does not begin with a step's key"):
        archive.opened(written(tmp_path / "a.gz", about, [lines[0], line, *lines[1:]]))


NUMBER = {"name": "top1", "value": 1.0, "unit": "%"}
ODD = [
    {"tables": None},
    {"tables": {"layers": None}},
    {"tables": {"layers": [None]}},
    {"tables": {"layers": [{"shape": [1]}]}},
    {"tables": {"layers": [{"name": "fc", "params_dense": "many"}]}},
    {"tables": {"epochs": [{"epoch": 1}]}},
    {"tables": {"histograms": [{"layer": "fc", "low": 0, "high": 1, "counts": [], "kept": 1, "total": 1}]}},
    {"numbers": None},
    {"numbers": [None]},
    {"numbers": [{"name": "top1"}]},
    {"numbers": [{**NUMBER, "value": "high"}]},
    {"numbers": [{**NUMBER, "value": True}]},
    {"numbers": [{**NUMBER, "value": 10**400}]},
    {"numbers": [{**NUMBER, "count": "9"}]},
    {"numbers": [{**NUMBER, "more": 1}]},
    {"notes": "text"},
    {"notes": [7]},
    {"cost": {"seconds": "long"}},
    {"cost": None},
    {"environment": None},
    {"environment": {"data": "x"}},
    {"files": []},
    {"parents": "x"},
    {"parents": ["x"]},
    {"args": None},
    {"args": []},
    {"kind": []},
    {"kind": "odd"},
    {"more": 1},
]


@pytest.mark.parametrize("changes", ODD, ids=str)
def test_a_record_that_holds_what_none_holds_is_refused_with_its_line(finished, archived, tmp_path, changes):
    about, lines = archived
    step = next(step for step in finished[1].values() if step.kind == "measure")
    place = next(i for i, line in enumerate(lines) if line.startswith(step.key))
    lines[place] = line_of(told(step), **changes)
    opened = archive.opened(written(tmp_path / "a.gz", about, lines))
    with pytest.raises(StoreError, match=rf"line {place + 2}"):
        write.write(opened, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "text", ["", "null", "[]", "{}", "[" * 100_000, '{"sha256": 1, "record": []}', "\x00"]
)
def test_a_record_that_is_none_is_refused_with_its_line(archived, tmp_path, text):
    about, lines = archived
    lines[0] = lines[0][:17] + text
    opened = archive.opened(written(tmp_path / "a.gz", about, lines))
    with pytest.raises(StoreError, match="line 2"):
        opened.record(lines[0][:16])


def test_an_archive_that_is_whole_is_read_as_it_was(archived, tmp_path):
    opened = archive.opened(written(tmp_path / "a.gz", *archived))
    assert [opened.record(key).key for key in opened.finished()] == [line[:16] for line in archived[1]]
    assert issubclass(StoreError, PruneryError)
    assert gzip.decompress((tmp_path / "a.gz").read_bytes()).count(b"\n") == len(archived[1]) + 1


def test_an_archive_whose_text_was_altered_or_cut_is_refused(finished, tmp_path):
    archive.write(finished[0], tmp_path / "a.gz")
    text = gzip.decompress((tmp_path / "a.gz").read_bytes()).decode()
    assert archive.opened(tmp_path / "a.gz").study("small")["seeds"] == [0, 1]
    lines = text.splitlines(keepends=True)
    for lie in (text.replace("[0, 1]", "[0, 3]", 1), "".join(lines[:-1]), "".join([lines[0], *lines[2:]])):
        (tmp_path / "b.gz").write_bytes(gzip.compress(lie.encode()))
        with pytest.raises(StoreError, match="altered or cut off"):
            archive.opened(tmp_path / "b.gz")
