"""`prunery couplings` and `prunery.couplings`: what they show, and what they refuse."""

import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import prunery
from prunery.cli import app
from prunery.errors import ModelError, PruneryError


def test_a_line_for_each_group_and_how_many_may_go():
    result = CliRunner().invoke(app, ["couplings", "resnet8"])
    assert result.exit_code == 0
    *lines, last = result.stdout.splitlines()
    assert last == "7 groups; the channels of 4 of them may be removed"
    assert len(lines) == 7
    assert lines[1] == (
        "16 channels made by layer1.0.conv1.weight; read by layer1.0.conv2.weight; with layer1.0.bn1.weight, "
        "layer1.0.bn1.bias, layer1.0.bn1.running_mean, layer1.0.bn1.running_var"
    )
    assert "joined by add in 'layer1.0' (resnet.py:" in lines[0]
    assert lines[-1] == "10 channels made by fc.weight; with fc.bias; KEPT, for it leaves the model"


def test_a_model_of_your_own_and_what_it_is_called_with(tmp_path, monkeypatch):
    (tmp_path / "my_tagger.py").write_text(
        "import torch\n"
        "class Tagger(torch.nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.r, self.out = torch.nn.LSTM(5, 8), torch.nn.Linear(8, 3)\n"
        "    def forward(self, x):\n"
        "        return self.out(self.r(x)[0])\n"
        "def example(): return torch.zeros(4, 2, 5)\n"
    )
    monkeypatch.chdir(tmp_path)
    asked = ["couplings", "my_tagger:Tagger"]
    result = CliRunner().invoke(app, [*asked, "--example", "my_tagger:example"])
    assert result.stdout.splitlines()[0].startswith("8 units made by r.weight_ih_l0, r.weight_hh_l0; read by")
    unknown = CliRunner().invoke(app, asked)
    assert isinstance(unknown.exception, PruneryError)
    assert "what it is called with is not known" in str(unknown.exception)
    wrong = CliRunner().invoke(app, [*asked, "--shape", "3x3"])
    assert "it is no image shape" in str(wrong.exception)


def test_a_model_that_cannot_be_called_is_named():
    with pytest.raises(ModelError, match="the model raised RuntimeError on the example"):
        prunery.couplings(nn.Linear(4, 3), torch.zeros(2, 5))


def test_what_the_function_returns_says_the_same_as_its_lines():
    rows = prunery.couplings(nn.Sequential(nn.Linear(4, 6), nn.ReLU(), nn.Linear(6, 3)), torch.zeros(2, 4))
    first, last = rows
    assert (first.name, first.kind, first.count) == ("0.weight", "channel", 6)
    assert (first.made_by, first.read_by, first.along) == (("0.weight",), ("2.weight",), ("0.bias",))
    assert first.kept == ()
    assert last.kept == ("it leaves the model",)
    assert str(rows) == f"{first}\n{last}"
