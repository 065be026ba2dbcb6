"""Lazy layers get their sizes from one run on zeros and their weights from the seed."""

import pytest
import torch
from odd_nets import lazy
from torch import nn

from prunery.errors import ModelError
from prunery.models.build import build
from prunery.models.lazy import uninitialised
from prunery.seeds import number

SHAPE = (1, 8, 8)


def state(seed, **options):
    return build("odd_nets:lazy", seed=seed, shape=SHAPE, **options).state_dict()


def test_every_layer_has_the_size_that_the_images_give_it():
    model = build("odd_nets:lazy", shape=SHAPE)
    assert [tuple(p.shape) for p in model.parameters()] == [(4, 1, 3, 3), (4,), (4,), (4,), (10, 144), (10,)]
    assert list(uninitialised(model)) == []
    assert all(module.training for module in model.modules())
    assert int(model[1].num_batches_tracked) == 0  # the run left no trace
    assert not model[1].running_mean.any()
    larger = build("odd_nets:lazy", shape=(3, 16, 16))
    assert larger[0].weight.shape == (4, 3, 3, 3)
    assert larger[5].weight.shape == (10, 4 * 14 * 14)


def test_weights_come_from_the_seed_alone():
    torch.manual_seed(1)
    before = torch.get_rng_state()
    one = state(4)
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(2)
    again, other = state(4), state(5)
    assert all(torch.equal(one[name], again[name]) for name in one)
    for name in ("0.weight", "0.bias", "5.weight", "5.bias"):
        assert not torch.equal(one[name], other[name]), name


def test_weights_are_drawn_as_by_a_run_of_ones_own():
    with torch.random.fork_rng():
        torch.manual_seed(number(4, "init"))
        model = lazy().eval()
        model(torch.ones(2, *SHAPE))  # the values do not matter
    by_hand = model.state_dict()
    one = state(4)
    assert all(torch.equal(one[name], by_hand[name]) for name in one if "running" not in name)


def test_modes_that_the_factory_set_stay(tmp_path, monkeypatch):
    text = "from torch import nn\ndef net():\n    model = nn.Sequential(nn.LazyLinear(3), nn.Dropout())\n"
    (tmp_path / "half_asleep.py").write_text(text + "    model[1].eval()\n    return model\n")
    monkeypatch.chdir(tmp_path)
    model = build("half_asleep:net", shape=(1, 2, 5))
    assert [module.training for module in model.modules()] == [True, True, False]
    assert model[0].weight.shape == (3, 5)


def test_on_the_meta_device_sizes_are_found_too():
    model = build("odd_nets:lazy", shape=SHAPE, device="meta")
    assert all(p.is_meta for p in model.parameters())
    assert model[5].weight.shape == (10, 144)


@pytest.mark.parametrize(
    ("name", "options", "problem", "do"),
    [
        ("lazy", {}, "their sizes depend on the images", "give shape=(C, H, W)"),
        (
            "lazy",
            {"shape": (1, 2, 2)},
            "running it on zeros raises RuntimeError",
            "take images of shape (1, 2, 2)",
        ),
        (
            "LazyInTraining",
            {"shape": SHAPE},
            "left extra.weight, extra.bias without a size",
            "use layers with sizes",
        ),
    ],
)
def test_what_cannot_get_its_sizes_is_refused(name, options, problem, do):
    with pytest.raises(ModelError) as caught:
        build(f"odd_nets:{name}", **options)
    assert f"model 'odd_nets:{name}' with lazy layers" in caught.value.asked
    assert problem in caught.value.found
    assert do in caught.value.do


def test_a_model_with_sizes_is_not_run(tmp_path, monkeypatch):
    text = "from torch import nn\nclass Net(nn.Linear):\n    def forward(self, x): raise OSError('it ran')\n"
    (tmp_path / "never_run.py").write_text(text + "def net(): return Net(3, 2)\n")
    monkeypatch.chdir(tmp_path)
    assert isinstance(build("never_run:net", shape=SHAPE), nn.Linear)
