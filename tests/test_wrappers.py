"""Masks have the names of the bare model, whatever stands around it or around a part of it."""

import copy

import pytest
import torch
from nets import ConvNet, Tied, batch, mlp
from torch import nn
from torch.distributed.algorithms._checkpoint.checkpoint_wrapper import checkpoint_wrapper
from torch.optim.swa_utils import AveragedModel

import prunery
from prunery import Masks
from prunery.errors import MasksError, PatternError
from prunery.wrappers import named_modules, named_parameters, parameter_of, unwrapped

X, Y = batch((3, 8, 8), 5)


class Sharded(nn.Module):
    """As FullyShardedDataParallel names what it holds."""

    def __init__(self, module):
        super().__init__()
        self._fsdp_wrapped_module = module

    def forward(self, x):
        return self._fsdp_wrapped_module(x)


class DeepSpeedEngine(nn.Module):
    """As deepspeed's engine, which calls the model `module` and has other modules beside it."""

    def __init__(self, module):
        super().__init__()
        self.module = module
        self.loss = nn.CrossEntropyLoss()

    def forward(self, x):
        return self.module(x)


class Fabric(nn.Module):
    """As lightning's Fabric, which registers the model twice."""

    def __init__(self, module):
        super().__init__()
        self._forward_module = nn.DataParallel(module)
        self._original_module = module

    def forward(self, x):
        return self._forward_module(x)


def compiled(model):
    return torch.compile(model, backend="eager")


def with_parts_wrapped(model):
    model.conv1 = compiled(model.conv1)
    model.bn1 = Sharded(model.bn1)
    model.conv2 = checkpoint_wrapper(nn.DataParallel(model.conv2))
    return model


def distributed(model):
    if not torch.distributed.is_initialized():
        torch.distributed.init_process_group(
            "gloo", store=torch.distributed.HashStore(), rank=0, world_size=1
        )
    return nn.parallel.DistributedDataParallel(model)


WRAPPED = {
    "DataParallel": nn.DataParallel,
    "AveragedModel": AveragedModel,
    "compiled": compiled,
    "distributed": distributed,
    "sharded": Sharded,
    "deepspeed": DeepSpeedEngine,
    "fabric": Fabric,
    "checkpointed": checkpoint_wrapper,
    "compiled around distributed": lambda m: compiled(distributed(m)),
    "averaged around compiled": lambda m: AveragedModel(compiled(m)),
    "three": lambda m: Sharded(compiled(nn.DataParallel(m))),
    "parts": with_parts_wrapped,
    "parts and whole": lambda m: nn.DataParallel(compiled(with_parts_wrapped(m))),
}


@pytest.fixture(autouse=True)
def _no_process_group():
    yield
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


def same(one, other):
    return list(one) == list(other) and all(torch.equal(one[n], other[n]) for n in one)


@pytest.mark.parametrize("name", WRAPPED)
def test_masks_made_on_a_wrapped_model_fit_the_bare_one_and_back(name, tmp_path):
    bare = ConvNet()
    masks = prunery.prune(bare, {"conv*": 0.5, "head": 0.3}, exclude=["head.bias", "conv1"])
    wrapped = WRAPPED[name](ConvNet())
    made = prunery.prune(wrapped, {"conv*": 0.5, "head": 0.3}, exclude=["head.bias", "conv1"])
    assert same(made, masks)
    assert same(Masks.of(wrapped), Masks.of(bare))
    made.save(tmp_path / "m")
    assert Masks.load(tmp_path / "m").holds(bare)
    other, other_wrapped = ConvNet(seed=1), WRAPPED[name](ConvNet(seed=1))
    made.apply_(other)
    masks.apply_(other_wrapped)
    assert masks.holds(other)
    assert made.holds(other_wrapped)
    assert same(prunery.prune(wrapped, 0.8, masks=masks), prunery.prune(bare, 0.8, masks=made))


@pytest.mark.parametrize("name", WRAPPED)
def test_filters_and_their_norms_have_bare_names(name):
    masks = prunery.prune(ConvNet(), 0.5, granularity="filter", scope="layer", exclude=["head"], example=X)
    wrapped = WRAPPED[name](ConvNet())
    made = prunery.prune(wrapped, 0.5, granularity="filter", scope="layer", exclude=["head"], example=X)
    assert "bn1.weight" in made
    assert same(made, masks)
    assert made.layers() == masks.layers()


@pytest.mark.parametrize("name", WRAPPED)
def test_training_a_wrapped_model(name):
    masks = prunery.prune(ConvNet(), 0.5)
    wrapped = WRAPPED[name](ConvNet())
    optimizer = torch.optim.SGD(wrapped.parameters(), 0.1, momentum=0.9)
    with masks.enforce(optimizer, wrapped):
        for _ in range(2):
            nn.functional.cross_entropy(wrapped(X), Y).backward()
            for parameter, mask in ((parameter_of(wrapped, n), m) for n, m in masks.items()):
                assert (parameter.grad[~mask] == 0).all()
                assert (parameter.grad != 0).any()
                parameter.data.add_(1)
            optimizer.step()
            masks.verify(wrapped)


@pytest.mark.parametrize("name", WRAPPED)
def test_names_are_those_of_the_bare_model(name):
    bare, wrapped = ConvNet(), WRAPPED[name](ConvNet())
    assert [n for n, _ in named_modules(wrapped)] == [n for n, _ in bare.named_modules()]
    assert [n for n, _ in named_parameters(wrapped)] == [n for n, _ in bare.named_parameters()]
    assert {id(p) for _, p in named_parameters(wrapped)} == {id(p) for p in wrapped.parameters()}
    assert isinstance(unwrapped(wrapped), ConvNet)


def test_shared_modules_and_parameters_have_all_their_names():
    model = Tied()
    model.third = model.first
    assert [n for n, _ in named_parameters(model)] == [
        n for n, _ in model.named_parameters(remove_duplicate=False)
    ]
    assert [n for n, _ in named_modules(model)] == [n for n, _ in model.named_modules()]
    every = [n for n, _ in model.named_modules(remove_duplicate=False)]
    assert [n for n, _ in named_modules(model, once=False)] == every


def test_a_part_that_is_called_module_is_no_wrapper():
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.module = mlp(20, 30, 5)

        def forward(self, x):
            return self.module(x)

    model = Net()
    masks = prunery.prune(model, 0.5, exclude=["module.2"])
    assert list(masks) == ["module.0.weight"]
    assert list(prunery.prune(nn.DataParallel(Net()), 0.5, exclude=["module.2"])) == ["module.0.weight"]
    bare = mlp(20, 30, 5)
    masks.apply_(bare)  # and yet, where it does wrap, masks fit both ways
    assert masks.holds(bare)
    other = Net()
    made = prunery.prune(mlp(20, 30, 5), 0.5)
    made.apply_(other)
    assert made.holds(other)
    assert int((other.module[0].weight == 0).sum()) == int((~made["0.weight"]).sum()) > 0
    assert Masks.of(bare).sparsity == Masks.of(model).sparsity


@pytest.mark.parametrize("prefix", ["module.", "_orig_mod.", "_orig_mod.module.", "module._orig_mod."])
def test_names_with_a_prefix_still_fit(prefix):
    bare = mlp(20, 30, 5)
    masks = prunery.prune(copy.deepcopy(bare), 0.5)
    old = Masks({prefix + n: m for n, m in masks.items()})  # as masks were written before
    old.apply_(bare)
    masks.verify(bare)
    assert same(old.fitted(bare), masks)
    wrapped = nn.DataParallel(bare)
    assert same(old.fitted(wrapped), masks)
    assert same(prunery.prune(wrapped, 0.7, masks=old), prunery.prune(bare, 0.7, masks=masks))


def test_masks_of_a_part_that_was_wrapped_then():
    model = nn.Sequential(nn.DataParallel(mlp(20, 30)), nn.Linear(30, 5))
    old = Masks({"0.module.0.weight": torch.zeros(30, 20, dtype=torch.bool)})
    bare = nn.Sequential(mlp(20, 30), nn.Linear(30, 5))
    old.apply_(bare)
    assert not bare[0][0].weight.any()
    assert list(old.fitted(model)) == ["0.0.weight"]


def test_masks_under_a_tied_weights_second_name():
    model = Tied()
    masks = prunery.prune(model, 0.5)
    second = Masks({"second.weight": masks["first.weight"]})
    assert same(second.fitted(model), masks)
    assert masks.fitted(model) is masks
    both = Masks(
        {**second, "first.weight": torch.rand(6, 6, generator=torch.Generator().manual_seed(0)) > 0.5}
    )
    ((name, mask),) = both.fitted(model).items()
    assert name == "first.weight"
    assert torch.equal(mask, both["first.weight"] & both["second.weight"])
    after = prunery.prune(model, 0.7, masks=second)
    assert list(after) == ["first.weight"]
    assert not (after["first.weight"] & ~masks["first.weight"]).any()


def test_fitted_renames_norms_and_units_too():
    masks = prunery.prune(ConvNet(), 0.5, granularity="filter", scope="layer", exclude=["head"], example=X)
    old = Masks(
        {f"module.{n}": m for n, m in masks.items()},
        uncounted=[f"module.{n}" for n in masks.uncounted],
        units={f"module.{n}": u for n, u in masks.units.items()},
    )
    fitted = old.fitted(ConvNet())
    assert same(fitted, masks)
    assert (fitted.uncounted, fitted.units) == (masks.uncounted, masks.units)


def test_patterns_of_the_wrapped_model_match_as_they_did():
    assert list(prunery.prune(nn.DataParallel(mlp(4, 4, 4)), 0.5, exclude=["module.0"])) == ["2.weight"]
    with pytest.raises(PatternError):
        prunery.prune(mlp(4, 4, 4), 0.5, exclude=["module.0"])


@pytest.mark.parametrize("name", ["3.weight", "weight", "0", "0.bias.x", "", "module", "0.module.nothing"])
def test_names_that_fit_nothing_are_refused(name):
    masks = Masks({name: torch.ones(2, 2, dtype=torch.bool)})
    for model in (mlp(20, 30, 5), nn.DataParallel(mlp(20, 30, 5)), nn.Identity()):
        with pytest.raises(MasksError, match="no parameter of that name"):
            masks.check(model)
    with pytest.raises(MasksError):
        masks.check(torch.optim.SGD([torch.zeros(1)], 0.1))
