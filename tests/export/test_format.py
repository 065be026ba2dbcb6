"""A file is as small as its information, comes back to the bit, and is refused whatever is changed in it."""

import hashlib
import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from cli_kit import prunery as command
from nets import mlp
from safetensors.torch import load_file
from torch import nn

import prunery
from prunery.errors import ChoiceError, ContainerError
from prunery.export.coding import CodingError, decode, dtype_name, encode, from_gaps, gaps, inflated, zstd
from prunery.export.container import read_tensor
from prunery.export.layout import MAGIC, Reader, writing
from prunery.models.build import build

FORMAT = Path(__file__).parents[2] / "docs" / "format.md"
TYPES = [
    torch.float32, torch.float16, torch.bfloat16, torch.float64, torch.int64, torch.int32, torch.bool,
    torch.uint8, torch.complex64, torch.float8_e4m3fn,
]  # fmt: skip


def bits(tensor):
    return tensor.contiguous().reshape(-1).view(torch.uint8)


@pytest.mark.parametrize("kind", TYPES, ids=map(dtype_name, TYPES))
@pytest.mark.parametrize("density", [0.0, 0.001, 0.1, 0.5, 1.0])
def test_a_tensor_comes_back_to_the_bit(kind, density):
    for shape in ((0,), (), (1,), (7, 3, 5), (3, 999)):
        tensor = torch.randn(shape) * 100 * (torch.rand(shape) < density)
        tensor = tensor != 0 if kind is torch.bool else tensor.to(kind)
        coded = encode(tensor)
        back = decode(coded.coding, dtype_name(kind), shape, coded.count, coded.parts)
        assert (back.dtype, back.shape) == (kind, tensor.shape)
        assert torch.equal(bits(back), bits(tensor))


def test_odd_values_come_back_to_the_bit():
    odd = torch.tensor([0.0, -0.0, float("nan"), float("-inf"), 1e-45, -1e-45, 3.4e38, 0.0])
    odd = torch.cat(
        [odd, torch.zeros(100), torch.tensor([0x7FA00001], dtype=torch.int32).view(torch.float32)]
    )
    coded = encode(odd)
    assert coded.count == 7
    assert torch.equal(bits(decode(coded.coding, "float32", odd.shape, coded.count, coded.parts)), bits(odd))


def test_gaps_of_any_length():
    for places in ([], [0], [254], [255], [256, 257, 1000, 10**6], list(range(0, 5000, 510))):
        assert from_gaps(gaps(np.asarray(places, np.int64))).tolist() == places


def test_the_smallest_form_is_taken():
    forms = {}
    for density in (0.01, 0.2, 0.9):
        tensor = torch.randn(20000).where(torch.rand(20000) < density, torch.zeros(()))
        forms[density] = encode(tensor).coding
        assert sum(len(part) for part, _ in encode(tensor).parts) < 20000 * (4 * density + 1)
    assert forms[0.01] == "gaps"
    assert forms[0.9] == "dense"


@pytest.mark.parametrize("density", [0.02, 0.05, 0.1, 0.2])
def test_where_values_are_takes_no_more_than_it_must(density):
    mask = torch.rand(500_000) < density
    entropy = -sum(p * np.log2(p) for p in (density, 1 - density)) * len(mask) / 8
    where = encode(mask.float()).parts[0][0]
    assert len(where) < 1.03 * entropy  # 1.015, and what the mask's own density differs by


@pytest.mark.parametrize(("sparsity", "most"), [(0.9, 104_000), (0.98, 32_000)])
def test_lenet300_is_small_and_the_same(sparsity, most, tmp_path):
    model = build("lenet300", shape=(1, 28, 28), classes=10, seed=0)
    masks = prunery.prune(model, sparsity)
    saved = prunery.save(model, tmp_path / "a")
    assert saved.bytes == (tmp_path / "a").stat().st_size <= most
    assert saved.dense_bytes == 4 * sum(p.numel() for p in model.parameters())
    assert {t.name: t.count for t in saved.tensors if t.name in masks} == {
        name: int(mask.sum()) for name, mask in masks.items()
    }
    other = prunery.load(tmp_path / "a", into=build("lenet300", shape=(1, 28, 28), classes=10, seed=1))
    for (name, one), (_, two) in zip(model.state_dict().items(), other.state_dict().items(), strict=True):
        assert torch.equal(bits(one), bits(two)), name


def reader_of_the_docs():
    code = re.search(r"```python\n(.*?)```", FORMAT.read_text(), re.S)[1]
    assert len(code.splitlines()) <= 60
    space = {"__name__": "reader"}
    exec(code, space)
    return space["read"]


@pytest.mark.parametrize("values", ["float32", "int8"])
def test_the_reader_of_the_docs_reads_it(values, tmp_path):
    model = nn.Sequential(nn.Linear(40, 30), nn.BatchNorm1d(30), nn.Linear(30, 3))
    prunery.prune(model, 0.8)
    model.register_buffer("z", torch.randn(5, dtype=torch.complex64))
    prunery.save(model, tmp_path / "a", values=values)
    header, tensors = reader_of_the_docs()(tmp_path / "a")
    assert header["values"] == values
    for name, tensor in model.state_dict().items():
        stored = tensors[name]
        if "scale" in header["tensors"][name]:
            scale = tensors[header["tensors"][name]["scale"]]
            stored = stored.astype(np.float32) * scale[:, None]
            assert torch.equal(torch.from_numpy(stored), prunery.load(tmp_path / "a")[name])
        else:
            assert torch.equal(torch.from_numpy(stored), tensor)


def test_one_tensor_is_read_without_the_others(tmp_path):
    model = mlp(6, 8, 3)
    prunery.save(model, tmp_path / "a")
    damaged = bytearray((tmp_path / "a").read_bytes())
    with Reader(tmp_path / "a") as reader:
        damaged[reader.entries["0.weight"]["at"]] ^= 1
    (tmp_path / "a").write_bytes(damaged)
    assert torch.equal(read_tensor(tmp_path / "a", "2.weight"), model[2].weight)
    with pytest.raises(ContainerError, match=r"'0\.weight' is damaged"):
        read_tensor(tmp_path / "a", "0.weight")
    with pytest.raises(ContainerError, match="it holds"):
        read_tensor(tmp_path / "a", "7.weight")


@pytest.mark.parametrize(("values", "most"), [("float16", 1e-3), ("bfloat16", 8e-3), ("int8", 4e-3)])
def test_fewer_bits_say_their_error(values, most, tmp_path):
    model = mlp(60, 80, 3)
    prunery.prune(model, 0.5)
    saved = prunery.save(model, tmp_path / "a", values=values)
    state = prunery.load(tmp_path / "a")
    for tensor in saved.tensors:
        value = model.state_dict()[tensor.name]
        error = float((state[tensor.name] - value).abs().max() / value.abs().max())
        assert state[tensor.name].dtype == torch.float32
        assert error == pytest.approx(tensor.error)
        assert error <= most
    assert "differs by at most" in str(saved)
    assert saved.bytes < prunery.save(model, tmp_path / "b").bytes
    zeros = model[0].weight == 0
    assert (state["0.weight"][zeros] == 0).all()


def test_numbers_that_fewer_bits_cannot_hold_are_refused(tmp_path):
    model = mlp(4, 3)
    with torch.no_grad():
        model[0].weight[0, 0] = 1e6
    with pytest.raises(ChoiceError, match=r"1e\+06"):
        prunery.save(model, tmp_path / "a", values="float16")
    with torch.no_grad():
        model[0].weight[0, 0] = float("nan")
    with pytest.raises(ChoiceError, match="NaN"):
        prunery.save(model, tmp_path / "a", values="int8")
    assert not (tmp_path / "a").exists()


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop])
def test_training_goes_on_as_if_it_had_not_stopped(kind, tmp_path):
    def step(model, optimizer):
        optimizer.zero_grad()
        model(torch.arange(12.0).view(3, 4)).square().mean().backward()
        optimizer.step()

    about = {"lr": 0.01} | ({"momentum": 0.9} if kind is torch.optim.SGD else {})
    model = mlp(4, 6, 2)
    optimizer = kind(model.parameters(), **about)
    step(model, optimizer)
    prunery.save(model, tmp_path / "a", optimizer=optimizer)
    other = mlp(4, 6, 2)
    second = kind(other.parameters(), lr=1.0)
    prunery.load(tmp_path / "a", into=other, optimizer=second)
    step(model, optimizer)
    step(other, second)
    for one, two in zip(model.parameters(), other.parameters(), strict=True):
        assert torch.equal(one, two)
    prunery.save(model, tmp_path / "without")
    with pytest.raises(ContainerError, match="no optimiser"):
        prunery.load(tmp_path / "without", into=other, optimizer=second)
    wrong = torch.optim.SGD([other[0].weight], lr=0.1)
    with pytest.raises(ContainerError, match="other groups"):
        prunery.load(tmp_path / "a", into=other, optimizer=wrong)


def flipped(data, place, bit):
    return data[:place] + bytes([data[place] ^ (1 << bit)]) + data[place + 1 :]


def test_every_change_is_noticed(tmp_path):
    model = mlp(40, 30, 10)
    prunery.prune(model, 0.8)
    prunery.save(model, tmp_path / "a")
    data = (tmp_path / "a").read_bytes()
    draw = np.random.default_rng(0)
    changed = [flipped(data, int(draw.integers(len(data))), int(draw.integers(8))) for _ in range(120)]
    changed += [data[: int(draw.integers(len(data)))] for _ in range(60)]
    changed += [data + b"0", data + data, b"", b"\0" * len(data), data[1:], data[8:]]
    for content in changed:
        (tmp_path / "x").write_bytes(content)
        with pytest.raises(ContainerError):
            prunery.load(tmp_path / "x")


def crafted(path, entries, about=None):
    """A file that is whole, whose header says something else than what is there."""
    blob = b"".join(entry.pop("blob", b"") for entry in entries.values())
    for entry in entries.values():
        entry.setdefault("sha256", hashlib.sha256(blob).hexdigest())
    header = {"format": "prunery-model", "version": 2, "modules": {}, "tied": {}, "hidden": []}
    raw = json.dumps({**header, **(about or {}), "tensors": entries}).encode()
    stored = zstd.compress(raw)
    numbers = struct.pack("<QQQ", len(MAGIC) + len(blob), len(stored), len(raw))
    path.write_bytes(MAGIC + blob + stored + numbers + hashlib.sha256(stored + numbers).digest())
    return path


BOMB = zstd.compress(bytes(1 << 27))
ENTRY = {"at": 8, "dtype": "float32", "shape": [4], "coding": "dense", "count": 4}
FOUR = {"parts": [[4, 4]] * 4, "blob": bytes(16)}
NOTHING = {"coding": "gaps", "count": 0, "parts": [[0, 0]] * 5}
BYTES = {"parts": [[len(BOMB), 4]], "blob": BOMB, "dtype": "uint8"}
LIES = {
    "a bomb": BYTES,
    "a bomb that says so": {**BYTES, "parts": [[len(BOMB), 1 << 27]], "shape": [1 << 27]},
    "a huge tensor of nothing": {**NOTHING, "shape": [1 << 40]},
    "sizes whose product is huge": {**NOTHING, "shape": [1 << 20] * 5},
    "a negative size": {**FOUR, "shape": [-4]},
    "a size that is no number": {**FOUR, "shape": ["4"]},
    "too few parts": {"parts": [[4, 4]] * 3, "blob": bytes(12)},
    "parts beyond the end": {**FOUR, "parts": [[4, 4]] * 3 + [[400, 400]]},
    "another count": {**NOTHING, "coding": "bitmask", "count": 1, "parts": [[1, 1]] * 5, "blob": bytes(5)},
    "a count that no dense tensor has": {**FOUR, "count": 3},
    "a count beyond the size": {**NOTHING, "count": 9, "parts": [[9, 9]] * 5, "blob": bytes(45)},
    "a place beyond the size": {**NOTHING, "count": 1, "parts": [[1, 1]] * 5, "blob": b"\x09" + bytes(4)},
    "an unknown type": {**FOUR, "dtype": "nn"},
    "a type that is packed": {**FOUR, "dtype": "quint4x2"},
    "an unknown coding": {**FOUR, "coding": "pickle"},
    "no compressed bytes": {"parts": [[2, 4], *[[4, 4]] * 3], "blob": bytes(14)},
    "scales that are not there": {**FOUR, "as": "float32", "scale": "b"},
    "a type that it never had": {**FOUR, "as": "int64"},
    "another place": {**FOUR, "at": 9},
}


@pytest.mark.parametrize("lie", list(LIES))
def test_a_header_that_lies_is_refused(lie, tmp_path):
    path = crafted(tmp_path / "x", {"a": {**ENTRY, **LIES[lie]}})
    with pytest.raises(ContainerError, match=r"prunery\.save wrote"):
        prunery.load(path)


def test_the_crafted_file_is_one_but_for_its_lies(tmp_path):
    path = crafted(tmp_path / "x", {"a": {**ENTRY, **FOUR}})
    assert torch.equal(prunery.load(path)["a"], torch.zeros(4))
    for about in ({"tied": 3}, {"hidden": "a"}, {"modules": []}, {"version": True}, {"format": None}):
        path = crafted(tmp_path / "x", {"a": {**ENTRY, **FOUR}}, about)
        with pytest.raises(ContainerError):
            prunery.load(path)


def test_a_tensor_larger_than_the_models_is_refused_before_it_is_read(tmp_path):
    prunery.save(mlp(40, 30, 2), tmp_path / "a")
    with pytest.raises(ContainerError, match=r"\(30, 40\) in the file and \(30, 4\) in the model"):
        prunery.load(tmp_path / "a", into=mlp(4, 30, 2))


def test_no_more_is_unpacked_than_is_asked():
    with pytest.raises(CodingError, match="more come out"):
        inflated(BOMB, 10 + len(BOMB))
    with pytest.raises(CodingError, match="134217728 bytes come out"):
        inflated(BOMB, 1 << 28)
    assert inflated(b"abc", 3) == b"abc"


def test_an_error_on_the_way_leaves_the_old_file(tmp_path):
    (tmp_path / "a").write_bytes(b"old")
    with pytest.raises(AttributeError), writing(tmp_path / "a", {}) as writer:
        writer.add("a", None)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("a", b"old")]


def test_unpack_makes_a_plain_file(tmp_path):
    model = mlp(6, 8, 3)
    prunery.prune(model, 0.5)
    prunery.save(model, tmp_path / "a.prunery")
    status, output, errors, _ = command("unpack", "a.prunery", "-o", "a.safetensors", cwd=tmp_path)
    assert (status, errors) == (0, "")
    assert "4 tensors" in output
    plain = load_file(tmp_path / "a.safetensors")
    assert all(torch.equal(plain[name], value) for name, value in model.state_dict().items())
