"""Methods that remove channels: measured cut out, and beside them the small network trained from scratch."""

import copy

import pytest
import torch
from lab_kit import ONE_EPOCH, do, planned, spec
from safetensors.torch import load_file

from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.errors import ModelError
from prunery.export.compact import compact
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store
from prunery.lab.work import preflight
from prunery.measure.cost import cost
from prunery.models.build import build
from prunery.train.recovery_context import RecoveryContext

CHANNELS = {"name": "c", "criterion": "magnitude", "granularity": "channel"}
WEIGHTS = {"name": "w", "criterion": "magnitude"}
NET = {**ONE_EPOCH, "model": "resnet8"}


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    plan = planned(task=NET, methods=[CHANNELS, WEIGHTS], sparsities=[0.5], seeds=1, controls=["magnitude"])
    store = Store(tmp_path_factory.mktemp("study"))
    for step in plan.steps.values():
        do(step, store)
    return plan, store


def cell(plan, method):
    return next(c for c in plan.cells if c.method == method)


def files(plan, store, method, kind, name):
    key = [k for k in cell(plan, method).path if plan.steps[k].kind == kind][-1]
    return store.file(key, name)


def values(store, key):
    return {n.name: n.value for n in store.record(key).numbers if n.split is None}


def test_what_is_left_is_counted_on_the_smaller_network(study):
    plan, store = study
    masks = Masks.load(files(plan, store, "c", "prune", "masks.safetensors"))
    model = build("resnet8", shape=(1, 8, 8), classes=10, seed=0)
    model.load_state_dict(load_file(files(plan, store, "c", "recover", "weights.safetensors")))
    small = compact(model, masks, torch.randn(1, 1, 8, 8))
    found = values(store, cell(plan, "c").key)
    assert found["params_compact"] == sum(p.numel() for p in small.parameters())
    assert found["macs_compact"] == cost(small, torch.zeros(1, 1, 8, 8)).macs.dense < found["macs_dense"]
    assert found["macs_compact"] == found["macs_kept"], "each kept weight is one of the smaller network"
    assert found["bytes_compact"] == 4 * sum(
        t.numel() for t in small.state_dict().values() if t.is_floating_point()
    ) + 8 * sum(t.numel() for t in small.state_dict().values() if not t.is_floating_point())


def test_what_cannot_be_cut_out_is_not_counted_so(study):
    plan, store = study
    for name in ("w", "dense"):
        assert "params_compact" not in values(store, cell(plan, name).key)


def test_scratch_is_a_fresh_network_of_that_shape_trained_as_long(study):
    plan, store = study
    scratch, own = cell(plan, "c (from scratch)"), cell(plan, "c")
    assert (scratch.role, scratch.arm, scratch.of) == ("sanity", "scratch", "c")
    assert not any(c.method == "w (from scratch)" for c in plan.cells)
    epochs = [sum(plan.steps[k].epochs for k in c.path) for c in (scratch, own)]
    dense = plan.steps[own.path[1]].epochs
    assert plan.steps[scratch.path[-2]].epochs == dense + plan.steps[own.path[-2]].epochs
    assert epochs[0] == dense + epochs[1]  # the shape comes from the trained network, which counts too
    assert plan.steps[scratch.path[-2]].args["action"] == "scratch"
    kept = values(store, scratch.key)["params_compact"]
    assert kept == values(store, own.key)["params_compact"]
    masks = Masks.load(files(plan, store, "c", "prune", "masks.safetensors"))
    weights = load_file(files(plan, store, "c (from scratch)", "recover", "weights.safetensors"))
    assert all(not weights[name][~mask].any() for name, mask in masks.items())


def test_fresh_weights_are_as_large_as_those_of_a_small_network():
    model = build("resnet8", shape=(1, 8, 8), classes=10, seed=0)
    masks = prune(copy.deepcopy(model), 0.5, granularity="channel", example=torch.randn(1, 1, 8, 8))
    before = {name: p.detach().clone() for name, p in model.named_parameters()}
    RecoveryContext(model=model, masks=masks, data=None).scale_to_inputs_()
    for name, parameter in model.named_parameters():
        if name.endswith("conv2.weight"):  # half of what enters it is left
            assert torch.allclose(parameter, before[name] * 2**0.5), name
        elif name.endswith("bias"):
            assert torch.equal(parameter, before[name]), name


def test_channels_of_a_network_without_any_are_said_before_compute():
    asked = spec(task={**ONE_EPOCH, "model": "lab_nets:bare"}, methods=[CHANNELS], sparsities=[0.5])
    with pytest.raises(
        ModelError, match=r"method 'c': channels or heads or units to remove: .*leaves the model"
    ):
        preflight.check(asked, plan_of(asked), None)
