"""Models in other formats: the same outputs when they are read back, or no file at all."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

import prunery
from prunery.errors import ChoiceError, ExportError
from prunery.export import formats, onnx
from prunery.export.formats import FORMATS, export
from prunery.export.program import padded, program_of
from prunery.models.build import build


class Net(nn.Module):
    """A convolution with batch norm, a buffer of its own, a weight that two layers share, and a head."""

    def __init__(self):
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.same, self.head = nn.Conv2d(8, 8, 1, bias=False), nn.Linear(8, 5)
        self.again = nn.Conv2d(8, 8, 1, bias=False)
        self.again.weight = self.same.weight
        self.register_buffer("scale", torch.tensor(2.0))

    def forward(self, x):
        x = self.again(self.same(self.norm(self.conv(x)).relu()))
        return self.head(x.mean((2, 3)) * self.scale)


class OneSize(nn.Module):
    """Takes three examples at once: their number is written into it."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 2)

    def forward(self, x):
        return self.layer(x).reshape(3, 2)


class TwoInputs(nn.Module):
    """Called with keywords; gives a mapping of two tensors."""

    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(4, 4)

    def forward(self, left, right):
        return {"sum": self.layer(left) + right, "product": left * right}


def pruned(seed=0):
    torch.manual_seed(seed)
    model = Net()
    model.norm.running_mean.normal_()
    example = torch.randn(2, 3, 8, 8)
    masks = prunery.prune(model, "50%", granularity="channel", example=example)
    return model.train(), masks, example


@pytest.fixture(params=FORMATS)
def to(request):
    if request.param == "onnx":
        pytest.importorskip("onnxruntime")
    return request.param


def test_what_is_read_back_computes_the_same(to, tmp_path):
    model, masks, example = pruned()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    path, inputs = tmp_path / f"net.{to}", [torch.randn(5, 3, 8, 8), torch.randn(3, 3, 8, 8)]
    done = export(model, path, to, example, masks=masks, inputs=inputs)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert (done.to, done.batch, done.bytes) == (to, None, path.stat().st_size)
    assert (
        done.compared == 2 + 2 + 4 + 1 + 5 + 3
    )  # the example, random, twice the batch, one, and the real ones
    assert done.difference <= (1e-5 if to in ("onnx", "pt2") else 0)
    was, now = done.parameters
    assert (now < was) == (to in ("onnx", "pt2"))
    x = torch.randn(7, 3, 8, 8)
    with torch.no_grad():
        assert torch.allclose(done.call(x), model.eval()(x), rtol=1e-4, atol=1e-5)
    model.train()
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert model.training


def test_masks_are_applied_and_a_smaller_model_on_request(tmp_path):
    model, masks, example = pruned()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1)  # the removed weights are not 0 any more; the masks still say so
    done = export(model, tmp_path / "n", "prunery", example, masks=masks, smaller=True)
    assert done.parameters[1] < done.parameters[0]
    masks.apply_(model)
    back = prunery.load(tmp_path / "n", into=Net()).eval()
    assert back.conv.out_channels < 8
    assert torch.allclose(back(example), model.eval()(example), rtol=1e-4, atol=1e-6)


def test_an_onnx_file_runs_without_this_library(tmp_path):
    pytest.importorskip("onnxruntime")
    model, masks, example = pruned()
    export(model, tmp_path / "net.onnx", "onnx", example, masks=masks)
    x = torch.randn(6, 3, 8, 8)
    np.save(tmp_path / "x.npy", x.numpy())
    code = (
        "import sys, numpy as np, onnxruntime\n"
        "session = onnxruntime.InferenceSession('net.onnx')\n"
        "found = session.run(None, {session.get_inputs()[0].name: np.load('x.npy')})[0]\n"
        "np.save('y.npy', found)\n"
        "assert not {'prunery', 'torch'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=True, timeout=60)
    with torch.no_grad():
        expected = model.eval()(x)
    found = torch.from_numpy(np.load(tmp_path / "y.npy"))
    assert (found - expected).abs().max() <= 1e-4 * expected.abs().max()


@pytest.mark.parametrize("to", ["pt2", "onnx"])
def test_a_batch_size_that_the_model_insists_on_is_kept_and_said(to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    model = OneSize()
    done = export(model, tmp_path / "n", to, torch.randn(3, 4), inputs=[torch.randn(7, 4)])
    assert done.batch == 3
    assert done.compared == 3 + 3 + 6
    assert "takes 3 examples at once" in str(done)
    x = torch.randn(2, 4)
    assert torch.allclose(padded(done.call, 3)(x), model.layer(x), atol=1e-6)


@pytest.mark.parametrize("to", FORMATS)
def test_keywords_and_several_outputs(to, tmp_path):
    if to == "onnx":
        pytest.importorskip("onnxruntime")
    example = {"left": torch.randn(2, 4), "right": torch.randn(2, 4)}
    assert export(TwoInputs(), tmp_path / "n", to, example).difference < 1e-6


@pytest.mark.parametrize("to", ["prunery", "pt2"])
def test_what_computes_something_else_is_not_kept(to, tmp_path, monkeypatch):
    model, masks, example = pruned()
    path = tmp_path / "net"
    path.write_bytes(b"what was there")
    real = formats._written

    def wrong(*args):
        call, batch = real(*args)
        return (lambda x: call(x) * 1.001), batch

    monkeypatch.setattr(formats, "_written", wrong)
    with pytest.raises(ExportError, match=r"differ by 0\.001 of the largest"):
        export(model, path, to, example, masks=masks)
    assert path.read_bytes() == b"what was there"
    assert [entry.name for entry in tmp_path.iterdir()] == ["net"]
    done = export(model, path, to, example, masks=masks, tolerance=0.01)
    assert done.difference == pytest.approx(0.001, rel=0.01)


def test_what_is_not_in_the_file_shows(tmp_path, monkeypatch):
    """A reader that leaves a tensor out leaves NaN there, not the value of the model that was saved."""
    model, masks, example = pruned()
    monkeypatch.setattr(formats, "read_plain", lambda path, into: into)
    with pytest.raises(ExportError, match="not a number"):
        export(model, tmp_path / "n", "safetensors", example, masks=masks)


def test_fewer_bits_are_said_not_refused(tmp_path):
    model, masks, example = pruned()
    gaps = {}
    for values in ("float32", "float16", "bfloat16", "int8"):
        done = export(model, tmp_path / values, "prunery", example, masks=masks, values=values)
        gaps[values] = done.difference
    assert gaps["float32"] == 0 < gaps["float16"] < gaps["bfloat16"]
    assert 0 < gaps["int8"] < 0.1
    with pytest.raises(ChoiceError, match="prunery's own format"):
        export(model, tmp_path / "n", "pt2", example, values="int8")


class Branch(nn.Module):
    """What no program can hold: the way through it depends on a value."""

    def forward(self, x):
        return x * 2 if float(x.sum()) > 0 else x - 1


def test_what_cannot_be_written_is_refused(tmp_path, monkeypatch):
    example = torch.randn(2, 4)
    with pytest.raises(ExportError, match=r"torch\.export raises"):
        export(Branch(), tmp_path / "n", "pt2", example, smaller=False)
    with pytest.raises(ChoiceError, match="did you mean 'onnx'"):
        export(nn.Linear(4, 4), tmp_path / "n", "onxx", example)
    with pytest.raises(ExportError, match="no folder"):
        export(nn.Linear(4, 4), tmp_path / "no" / "n", "pt2", example)
    monkeypatch.setattr(onnx, "find_spec", lambda name: None)
    with pytest.raises(ExportError, match=r"pip install 'prunery\[export\]'"):
        export(nn.Linear(4, 4), tmp_path / "n", "onnx", example)
    assert list(tmp_path.iterdir()) == []


def test_a_program_is_of_any_batch_size_where_it_can_be():
    model = build("lenet300", shape=(1, 8, 8), classes=10)
    assert program_of(model, torch.zeros(1, 1, 8, 8)).batch is None
    assert model.training
