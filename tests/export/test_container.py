"""A smaller model in a file comes back, whole, in a model of its factory; anything else is refused."""

import subprocess
import sys

import pytest
import torch
from export_kit import channel_masks, normal, outputs, weight_masks
from graph_nets import example_of, load_all, made
from nets import Tied, mlp
from safetensors.torch import save_file
from torch import nn

import prunery
from prunery.errors import ChoiceError, ContainerError, MasksError
from prunery.export.layout import Reader, writing

load_all()
NAMES = ["GroupedUnequal", "Gru", "MultiheadAttention", "GroupNorm"]


@pytest.mark.parametrize("name", NAMES)
def test_a_smaller_model_comes_back(name, tmp_path):
    model, example = made(name), example_of(name)
    small = prunery.compact(model, channel_masks(model, example), example)
    prunery.save(small, tmp_path / "small.prunery")
    other = made(name, seed=5)
    back = prunery.load(tmp_path / "small.prunery", into=other)
    assert back is other
    assert repr(back) == repr(small)
    assert torch.equal(outputs(back, example), outputs(small, example))
    loss = back.train()(example).sum()
    loss.backward()
    assert all(p.requires_grad for p in back.parameters())


def test_a_recurrent_layer_runs_on_what_was_loaded(tmp_path):
    prunery.save(nn.GRU(3, 4), tmp_path / "a")
    back = prunery.load(tmp_path / "a", into=nn.GRU(3, 6))
    assert [id(w) for w in back._flat_weights] == [id(p) for p in back.parameters()]


PROGRAM = """
import sys
import torch
import prunery
from graph_nets import load_all, made
load_all()
model = prunery.load(sys.argv[1], into=made("ResidualAdd", seed=9))
example, expected = torch.load(sys.argv[2])
assert torch.allclose(model(example), expected, atol=1e-6), (model(example) - expected).abs().max()
print(model.training, sum(p.numel() for p in model.parameters()))
"""


def test_a_fresh_process_loads_it(tmp_path):
    model, example = made("ResidualAdd"), example_of("ResidualAdd")
    small = prunery.compact(model, channel_masks(model, example), example)
    prunery.save(small, tmp_path / "small")
    torch.save((example, outputs(small, example)), tmp_path / "expected.pt")
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "small"), str(tmp_path / "expected.pt")]
    done = subprocess.run(command, capture_output=True, text=True, cwd="tests/kits", timeout=120)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[-1] == str(sum(p.numel() for p in small.parameters()))


def test_a_new_bias_comes_back(tmp_path):
    model = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False))
    model[0].weight.data[:4] = 0
    small = prunery.compact(model, None, normal(2, 4))
    prunery.save(small, tmp_path / "a")
    factory = nn.Sequential(nn.Linear(4, 6), nn.Sigmoid(), nn.Linear(6, 3, bias=False))
    back = prunery.load(tmp_path / "a", into=factory)
    assert torch.equal(back[2].bias, small[2].bias)
    assert torch.equal(back(normal(3, 4)), small(normal(3, 4)))


def test_without_a_model_the_state_dict_comes_back(tmp_path):
    model = Tied()
    model.register_buffer("table", torch.arange(3), persistent=False)
    prunery.save(model, tmp_path / "a")
    state = prunery.load(tmp_path / "a")
    assert state.keys() == model.state_dict().keys()
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


def test_tied_weights_and_hidden_buffers_come_back(tmp_path):
    model, other = Tied(), Tied()
    for net, value in ((model, 5.0), (other, 0.0)):
        net.register_buffer("table", torch.full((3,), value), persistent=False)
    tied = [name for name, p in model.named_parameters(remove_duplicate=False) if p.ndim > 1][:2]
    prunery.save(model, tmp_path / "a")
    back = prunery.load(tmp_path / "a", into=other)
    assert back.get_parameter(tied[0]) is back.get_parameter(tied[1])
    assert torch.equal(back.get_parameter(tied[0]), model.get_parameter(tied[0]))
    assert torch.equal(back.table, torch.full((3,), 5.0))


def test_masks_are_applied_to_what_is_written_alone(tmp_path):
    model = mlp(6, 8, 3)
    masks = weight_masks(model, 0.5)
    before = model[0].weight.clone()
    prunery.save(model, tmp_path / "a", masks=masks)
    assert torch.equal(model[0].weight, before)
    state = prunery.load(tmp_path / "a")
    assert torch.equal(state["0.weight"], before * masks["0.weight"])
    with pytest.raises(MasksError):
        prunery.save(model, tmp_path / "a", masks=weight_masks(mlp(5, 4), 0.5))


def test_types_stay_and_other_values_are_refused(tmp_path):
    model = mlp(4, 3, 2).to(torch.bfloat16)
    prunery.save(model, tmp_path / "a", values="float32")
    assert prunery.load(tmp_path / "a")["0.weight"].dtype == torch.bfloat16
    assert prunery.load(tmp_path / "a", into=mlp(4, 3, 2))[0].weight.dtype == torch.bfloat16
    with pytest.raises(ChoiceError, match="int7"):
        prunery.save(model, tmp_path / "a", values="int7")


def test_the_file_is_whole_or_not_there_and_always_the_same(tmp_path):
    model = mlp(4, 3, 2)
    prunery.save(model, tmp_path / "a")
    prunery.save(model, tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    with pytest.raises(FileNotFoundError):
        prunery.save(model, tmp_path / "no" / "a")
    with pytest.raises(ContainerError, match="meta"):
        prunery.save(nn.Linear(2, 2, device="meta"), tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_other_files_are_refused(tmp_path):
    whole = tmp_path / "whole"
    prunery.save(mlp(4, 3, 2), whole)
    (tmp_path / "cut").write_bytes(whole.read_bytes()[:-5])
    (tmp_path / "text").write_text("no model")
    save_file({"a": torch.ones(2)}, tmp_path / "foreign")
    for name in ("cut", "text", "foreign", "missing"):
        with pytest.raises(ContainerError, match=r"prunery\.save wrote"):
            prunery.load(tmp_path / name)
    with Reader(whole) as reader:
        about, tensors = reader.about, {name: reader.read(name) for name in reader.entries}
    for change, message in (
        ({"version": 99}, "version 99"),
        ({"modules": {"": 3}}, "no whole modules"),
        ({"tied": {"a": "b"}}, "no whole b"),
    ):
        with writing(tmp_path / "x", {**about, **change}) as writer:
            for name, tensor in tensors.items():
                writer.add(name, tensor)
        with pytest.raises(ContainerError, match=message):
            prunery.load(tmp_path / "x")


def test_a_model_that_does_not_fit_is_refused_and_stays_as_it_was(tmp_path):
    prunery.save(mlp(4, 3, 2), tmp_path / "a")
    wider = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2, bias=False))
    assert prunery.load(tmp_path / "a", into=wider)[2].bias is not None
    prunery.save(wider[:2], tmp_path / "less")
    deeper = mlp(4, 3, 2)
    deeper[2].weight = nn.Parameter(torch.ones(2, 3, 1))
    for path, model, message in (
        ("a", nn.Sequential(nn.Linear(4, 3), nn.ReLU()), "no module '2'"),
        ("a", nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2)), "class Tanh"),
        ("less", mlp(4, 3, 2), r"lacks '2\.bias' and 1 more"),
        ("a", deeper, "2 axes in the file and 3 in the model"),
    ):
        before = [p.clone() for p in model.parameters()]
        with pytest.raises(ContainerError, match=message):
            prunery.load(tmp_path / path, into=model)
        assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))
