"""Names of models, and factories of the user's own."""

import subprocess
import sys

import pytest
import torch

from prunery.errors import ChoiceError, ModelError
from prunery.factories import is_factory
from prunery.models.build import build
from prunery.models.names import MODELS, check, check_there


@pytest.mark.parametrize("name", [*MODELS, "torchvision.models:resnet18", "a:b", "a.b:C.d"])
def test_check_accepts(name):
    assert check(name) is None
    assert is_factory(name) is (":" in name)


@pytest.mark.parametrize("name", [None, 3, ["fc"], ("a", "b")])
def test_what_is_no_text_names_no_model(name):
    with pytest.raises(ChoiceError, match="none of that name"):
        check(name)


def test_whether_a_factory_is_there_is_told_without_importing_it(mine):
    name = mine("def net(): return nn.Linear(3, 2)\n")
    check_there("fc")
    check_there(f"{name}:net")
    assert name not in sys.modules
    for wrong, near in ((f"{name}s:net", "mean 'my_model'"), (f"{name}:nets", "mean 'net'")):
        with pytest.raises(ModelError, match=near) as caught:
            check_there(wrong)
        assert caught.value.asked == f"model {wrong!r}"


@pytest.mark.parametrize(
    ("name", "near"),
    [("resnet19", "resnet1"), ("vgg16bn", "vgg16_bn"), ("a:", "none"), (":b", "none"), ("a b:c", "none")],
)
def test_check_names_the_nearest(name, near):
    with pytest.raises(ChoiceError, match=near) as caught:
        check(name)
    assert "package.module:factory" in str(caught.value)


def test_names_need_no_torch():
    code = "import sys, prunery.models.names as n; n.check('fc'); assert 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.fixture
def mine(tmp_path, monkeypatch):
    """A module of the user's in the working folder, imported afresh."""
    monkeypatch.chdir(tmp_path)

    def write(text):
        (tmp_path / "my_model.py").write_text("import torch\nfrom torch import nn\n" + text)
        return "my_model"

    yield write
    sys.modules.pop("my_model", None)


def test_a_factory_gets_what_its_signature_names(mine):
    name = mine(
        "def plain(): return nn.Linear(3, 2)\n"
        "def sized(classes, shape): return nn.Linear(shape[0], classes)\n"
        "def any_(**options): return nn.Linear(1 + len(options), 2)\n"
        "class Net(nn.Module):\n"
        "    def __init__(self, classes=4):\n"
        "        super().__init__(); self.fc = nn.Linear(5, classes)\n"
        "    @staticmethod\n"
        "    def small(): return Net(1)\n"
    )
    path = list(sys.path)
    assert build(f"{name}:plain").weight.shape == (2, 3)
    assert build(f"{name}:sized", shape=(7, 1, 1), classes=9).weight.shape == (9, 7)
    assert build(f"{name}:any_", shape=(7, 1, 1), classes=9).weight.shape == (2, 1)
    assert build(f"{name}:Net", classes=6).fc.weight.shape == (6, 5)
    assert build(f"{name}:Net").fc.weight.shape == (4, 5)
    assert build(f"{name}:Net.small").fc.weight.shape == (1, 5)
    assert build(f"{name}:plain", device="meta").weight.is_meta
    assert sys.path == path


def test_a_factory_is_seeded_and_leaves_the_random_state(mine):
    name = mine("def net(): return nn.Linear(3, 2)\n")
    torch.manual_seed(1)
    state = torch.get_rng_state()
    one = build(f"{name}:net", seed=4)
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    assert torch.equal(build(f"{name}:net", seed=4).weight, one.weight)
    assert not torch.equal(build(f"{name}:net", seed=5).weight, one.weight)


@pytest.mark.parametrize(
    ("body", "attribute", "problem"),
    [
        ("def net(): raise RuntimeError('no weights file')\n", "net", "raised RuntimeError: no weights file"),
        ("def net(wide): return nn.Linear(wide, 2)\n", "net", "raised TypeError"),
        ("def net(): return torch.zeros(3)\n", "net", "returned Tensor, not a torch.nn.Module"),
        ("net = nn.Linear(3, 2)\n", "net", "it is Linear, not a function"),
        ("net = 3\n", "net", "it is int, not a function"),
        ("def net(): return nn.Linear(3, 2)\n", "nets", "'my_model' has no 'nets'"),
        ("import nowhere_at_all\n", "net", "ModuleNotFoundError: No module named 'nowhere_at_all'"),
        ("def net(:\n", "net", "SyntaxError"),
    ],
)
def test_a_factory_that_fails_is_named(mine, body, attribute, problem):
    name = f"{mine(body)}:{attribute}"
    with pytest.raises(ModelError) as caught:
        build(name)
    assert name in str(caught.value)
    assert problem in str(caught.value)


def test_a_module_that_is_not_there_is_named():
    with pytest.raises(ModelError, match=r"no module 'nowhere_at_all'.*[Ii]nstall it"):
        build("nowhere_at_all.models:net")


def test_a_module_that_draws_when_imported_gives_the_same_weights_whenever_that_is(mine):
    name = mine("first = torch.randn(3)\ndef net(): return nn.Linear(3, 2)\n")
    one = build(f"{name}:net", seed=4).weight
    assert torch.equal(build(f"{name}:net", seed=4).weight, one)
    first = sys.modules.pop(name).first
    assert torch.equal(build(f"{name}:net", seed=5).bias, build(f"{name}:net", seed=5).bias)
    assert torch.equal(sys.modules[name].first, first)
