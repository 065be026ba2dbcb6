"""Whole models as sparse callables: the same outputs, in every situation that a caller may bring about."""

from __future__ import annotations

import copy
import pickle
import threading

import pytest
import torch
from runtime_kit import Everything, agrees, apart, conv_net, drawn, pruned
from torch import nn

import prunery
from prunery.errors import ChoiceError, ModelError
from prunery.models.build import build
from prunery.runtime import callable as module
from prunery.runtime import team
from prunery.runtime.running import shares
from prunery.runtime.team import at_once, openmp


@pytest.fixture(autouse=True)
def _sparse_wins(monkeypatch):
    """The kernels run even where a small network gains nothing."""
    monkeypatch.setattr(module, "GAIN", 0.0)


@pytest.mark.parametrize("batch", [2, 20])
def test_everything_at_once(isa, batch):
    model = pruned(Everything(), 0.8)
    fast = prunery.sparse_callable(model, drawn(batch, 3, 32, 32))
    report = fast.report()
    assert "times as fast" in report.verdict
    assert report.isa == isa
    assert [row.name for row in report.rows if row.runs.startswith("sparse")], str(report)
    for other in (batch, 1, 3, 17, 0):
        agrees(fast, model, other, 3, 32, 32, seed=other)


@pytest.mark.parametrize(
    ("name", "shape"), [("resnet20", (3, 32, 32)), ("lenet5", (1, 28, 28)), ("vgg11_bn", (3, 32, 32))]
)
def test_networks_of_the_zoo(kernels, name, shape):
    model = pruned(build(name, shape=shape, classes=10, seed=0), 0.9)
    fast = prunery.sparse_callable(model, drawn(1, *shape))
    for batch in (1, 4):
        agrees(fast, model, batch, *shape, seed=batch)


def test_one_dimension(kernels):
    parts = [nn.Conv1d(4, 24, 5, padding=2), nn.ReLU(), nn.Conv1d(24, 24, 3, stride=2, dilation=2), nn.ReLU()]
    model = pruned(nn.Sequential(*parts), 0.9)
    fast = prunery.sparse_callable(model, drawn(2, 4, 50))
    assert fast.report().rows[1].runs.startswith("sparse")
    agrees(fast, model, 2, 4, 50)
    agrees(fast, model, 19, 4, 50)


def test_structured_inputs_and_outputs(kernels):
    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 16, 3), nn.Conv2d(16, 16, 1)

        def forward(self, x, *, scale):
            y = torch.relu(self.a(x))
            return {"y": y, "more": (self.b(y), scale * 2)}

    model, given = pruned(Net(), 0.9), {"x": drawn(2, 3, 9, 9), "scale": drawn(2, 1)}
    fast = prunery.sparse_callable(model, given)
    with torch.no_grad():
        found, expected = fast(scale=given["scale"], x=given["x"]), model(**given)
    assert found.keys() == expected.keys()
    assert isinstance(found["more"], tuple)
    assert apart(found["y"], expected["y"]) < 1e-5
    assert apart(found["more"][0], expected["more"][0]) < 1e-5
    assert torch.equal(found["more"][1], expected["more"][1])


def test_layouts_of_the_input(kernels):
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16))
    x = drawn(2, 3, 16, 32)
    with torch.no_grad():
        for given in (x[..., ::2], x[..., :16].contiguous(memory_format=torch.channels_last)):
            assert apart(fast(given), model(given)) < 1e-5


def test_nan_and_infinity_spread_as_in_torch(kernels):
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(3, 3, 16, 16))
    with torch.no_grad():
        dense = nn.Sequential(*list(model)[:-2])
        features = prunery.sparse_callable(dense, drawn(3, 3, 16, 16))
        for value in (torch.nan, torch.inf):
            x = drawn(3, 3, 16, 16)
            x[1, 0, 5, 5] = value
            found, expected = features(x), dense(x)
            own = expected[1].isnan()
            assert found[1].isnan().any()
            assert not (found[1].isnan() & ~own & expected[1].isfinite()).any()
            for image in (0, 2):
                assert apart(found[image], expected[image]) < 1e-5
        again = fast(drawn(3, 3, 16, 16))
        assert again.isfinite().all()  # no NaN is left in the buffers


def test_it_is_a_snapshot_that_leaves_the_model_alone(kernels):
    model = conv_net().train()
    before = copy.deepcopy(model.state_dict())
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16))
    assert model.training
    assert all(torch.equal(a, b) for a, b in zip(model.state_dict().values(), before.values(), strict=True))
    x = drawn(2, 3, 16, 16)
    first = fast(x)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert torch.equal(fast(x), first)
    assert not first.requires_grad


def test_concurrent_calls(kernels):
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16))
    inputs = [drawn(2, 3, 16, 16, seed=i) for i in range(4)]
    found = [[] for _ in inputs]

    def calls(index):
        found[index].extend(fast(inputs[index]) for _ in range(20))

    threads = [threading.Thread(target=calls, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with torch.no_grad():
        for x, outputs in zip(inputs, found, strict=True):
            assert len(outputs) == 20
            assert max(apart(y, model(x)) for y in outputs) < 1e-5


def test_threads_agree(kernels):
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16), threads=2)
    assert torch.get_num_threads() == 1
    assert fast.report().threads == 2
    for batch in (1, 2, 7, 7, 18, 18, 40, 40):
        agrees(fast, model, batch, 3, 16, 16)


def test_a_callable_that_was_made_for_one_image_takes_many_together(kernels):
    model = pruned(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3)), 0.9)
    fast = prunery.sparse_callable(model, drawn(1, 8, 24, 24), threads=1)
    plans = fast._running.plans
    assert [plan.images for plan in plans.values()] == [1]
    agrees(fast, model, 37, 8, 24, 24)
    images = max(plan.images for plan in plans.values())
    assert images > 1
    assert len(plans) == 2
    agrees(fast, model, 1, 8, 24, 24)
    agrees(fast, model, images - 1, 8, 24, 24)
    assert len(plans) == 2


def test_where_all_threads_work_on_one_image_torch_has_them_too(kernels, monkeypatch):
    model = pruned(nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.SiLU(), nn.Conv2d(16, 16, 3)), 0.9)
    fast = prunery.sparse_callable(model, drawn(1, 8, 24, 24), threads=2)
    seen, run = [], module.Running._piece

    def watched(*args, **more):
        seen.append(torch.get_num_threads())
        return run(*args, **more)

    monkeypatch.setattr(module.Running, "_piece", watched)
    for _ in range(3):
        fast(drawn(1, 8, 24, 24))
    assert seen == [2, 2, 2]


def test_workers_leave_torch_one_thread_each():
    own = torch.get_num_threads()
    seen = []
    at_once([lambda: seen.append(torch.get_num_threads())] * 3)
    assert seen == [1, 1, 1]
    assert torch.get_num_threads() == own


@pytest.mark.skipif(openmp() is None, reason="torch has another OpenMP here")
def test_workers_are_the_threads_that_torch_has():
    """Any others would have to share the processors with them: OpenMP's threads wait without sleeping."""

    def ids():
        seen, together = [], threading.Barrier(2)

        def note():
            seen.append(threading.get_native_id())
            together.wait(60)

        at_once([note, note])
        return set(seen)

    assert ids() == ids()
    assert len(ids()) == 2


def test_shares_of_threads():
    def sizes(*how):
        pieces = shares(*how)
        assert [p.start for p in pieces] == [0, *(p.stop for p in pieces[:-1])]
        assert pieces[-1].stop == how[0]
        return [p.stop - p.start for p in pieces]

    assert sizes(5, 1, 16) == [5]
    assert sizes(3, 2, 16) == [3]
    assert sizes(4, 2, 16) == [2, 2]
    assert sizes(31, 2, 16) == [16, 15]
    assert sizes(64, 2, 16) == [32, 32]
    assert sizes(40, 2, 16) == [32, 8]
    assert sizes(100, 3, 16) == [48, 48, 4]


@pytest.mark.parametrize("library", [openmp(), None])
def test_an_error_in_a_thread_is_raised(library, monkeypatch):
    monkeypatch.setattr(team, "openmp", lambda: library)

    def fails():
        raise ValueError("as it should")

    with pytest.raises(ValueError, match="as it should"):
        at_once([lambda: None, fails])


def test_subnormal_weights_are_flushed(kernels):
    model = conv_net()
    with torch.no_grad():
        model[3].weight[0, 0, 0, 0] = 1e-40
        model[3].weight[1, 0, 0, 1] = 1e-31
    assert prunery.sparse_callable(model, drawn(2, 3, 16, 16)).report().flushed == 2


def test_constants_that_follow_the_batch(kernels):
    norm = nn.InstanceNorm2d(16, affine=True)  # which repeats its weight for each image
    model = pruned(nn.Sequential(nn.Conv2d(3, 16, 3), norm, nn.ReLU(), nn.Conv2d(16, 16, 3)), 0.9)
    fast = prunery.sparse_callable(model, drawn(2, 3, 9, 9))
    assert [row.runs[:6] for row in fast.report().rows] == ["sparse", "sparse"]
    for batch in (2, 3, 19):
        agrees(fast, model, batch, 3, 9, 9)


def test_refusals(kernels):
    model, x = conv_net(), drawn(2, 3, 16, 16)
    with pytest.raises(ChoiceError, match="'hard'"):
        prunery.sparse_callable(model, x, tune="hard")
    for threads in (0, True, 1.5):
        with pytest.raises(ChoiceError, match="no number of threads"):
            prunery.sparse_callable(model, x, threads=threads)
    with pytest.raises(ModelError, match="raised RuntimeError"):
        prunery.sparse_callable(model, drawn(2, 4, 16, 16))
    with pytest.raises(ModelError, match="meta"):
        prunery.sparse_callable(copy.deepcopy(model).to("meta"), x)
    fast = prunery.sparse_callable(model, x)
    for wrong in (drawn(2, 3, 8, 8), x.double(), x[0], drawn(2, 3, 16, 16).to("meta")):
        with pytest.raises(ModelError, match=r"ake another one|CPU"):
            fast(wrong)
    for arguments in ((), (x, x), (x, 3)):
        with pytest.raises(ModelError, match="does not fit the example"):
            fast(*arguments)
    for use in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(ModelError, match="machine code"):
            use(fast)


@pytest.mark.parametrize("threads", [1, 2])
def test_calls_may_be_in_inference_mode_by_turns(kernels, threads):
    model = conv_net()
    fast = prunery.sparse_callable(model, drawn(2, 3, 16, 16), threads=threads)
    x = drawn(40, 3, 16, 16)
    with torch.inference_mode():
        other = prunery.sparse_callable(model, x, threads=threads)
        found = [
            other(x),
            fast(x),
            fast(x.clone()),
        ]  # plans are made in the first call, and shared by threads in the next
        given = x.clone()
    found += [fast(x), fast(given), other(x)]
    assert not found[0].is_inference()
    with torch.no_grad():
        assert max(apart(y, model(x)) for y in found) < 1e-5
