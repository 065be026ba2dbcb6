"""Forms of a network in one comparison: what they are made of, which are refused and why."""

import time

import pytest
import torch
from own_rows import registries_kept
from torch import nn

import prunery
from prunery.data.splits import Split
from prunery.errors import ChoiceError
from prunery.forms.bench import bench
from prunery.forms.engines import Form, form
from prunery.measure.accuracy import evaluate

EXAMPLE = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(1))


class Net(nn.Module):
    """Two convolutions and a head."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1)
        )
        self.head = nn.Linear(16, 4)

    def forward(self, x):
        return self.head(self.layers(x).relu().mean((2, 3)))


def net(seed=0):
    torch.manual_seed(seed)
    return Net()


def images(n=20):
    rng = torch.Generator().manual_seed(2)
    x = torch.randint(0, 256, (n, 3, 8, 8), generator=rng, dtype=torch.uint8)
    y = torch.randint(0, 4, (n,), generator=rng)
    return Split("test", x, y, mean=(0.5,) * 3, std=(0.25,) * 3, classes=4)


@pytest.fixture
def rows():
    """Rows of a test's own, forgotten afterwards."""
    with registries_kept():

        @form.add(label="skips zeros", zeros=True)
        def skips(model, example, threads, folder):
            (folder / "file").write_bytes(b"1234")
            return Form(model, 4, "own", note=f"{threads} thread(s)")

        @form.add(label="broken")
        def broken(model, example, threads, folder):
            raise RuntimeError("no kernel for\n  this operation")

        @form.add(label="raises late")
        def late(model, example, threads, folder):
            def call(x):
                raise ValueError("too late")

            return Form(call, 4, "own")

        @form.add(label="wrong")
        def wrong(model, example, threads, folder):
            return Form(lambda x: model(x) * 1.01, 4, "own")

        @form.add(label="elsewhere", packages=("torch", "no_such_package"), extra="pip install it")
        def elsewhere(model, example, threads, folder):
            raise AssertionError("it is not called")

        @form.add(label="two at once")
        def two(model, example, threads, folder):
            def call(x):
                assert len(x) == 2
                return model(x)

            return Form(call, 4, "own", batch=2)

        yield


def own(*names):
    return [f"{__name__}:{name}" for name in names]


def test_forms_of_a_network_that_can_be_cut(rows):
    dense = net()
    model = net()
    masks = prunery.prune(model, "50%", granularity="channel", example=EXAMPLE)
    done = bench(
        model,
        EXAMPLE,
        masks=masks,
        dense=dense,
        split=images(),
        forms=own("skips", "two"),
        rounds=2,
        threads=1,
    )
    names = [row.name for row in done.rows]
    assert names == ["dense", "masked", "compacted", "skips zeros", "two at once", "dense, two at once"]
    assert {row.name: row.zeros for row in done.rows if row.zeros}.keys() == {
        "compacted",
        "skips zeros",
        "two at once",
    }
    counted = {row.name: row.counts.correct1 for row in done.rows if row.counts}
    expected = evaluate(dense, images()).correct1, evaluate(model, images()).correct1
    assert counted["dense"] == expected[0]
    assert {count for name, count in counted.items() if "dense" not in name} == {expected[1]}
    by_name = {row.name: row for row in done.rows}
    assert by_name["dense"].file == "torch.save"
    assert by_name["compacted"].bytes < by_name["masked"].bytes < by_name["dense"].bytes
    assert max(row.difference for row in done.rows) < 1e-5
    assert by_name["dense"].difference == 0
    assert all(len(call.wall_ms) == 2 for call in done.latency.calls.values())
    text = str(done)
    assert text.splitlines()[-1] == done.verdict
    assert "skips zeros: 1 thread(s)" in text


def test_a_few_channels_are_not_worth_odd_widths(rows):
    dense, model = net(), net()
    with torch.no_grad():  # one of 16 channels is dead
        model.layers[0].weight[3] = 0
        model.layers[0].bias[3] = 0
    done = bench(model, EXAMPLE, dense=dense, forms=own("skips", "two"), rounds=1)
    assert [row.name for row in done.rows] == ["dense", "masked", "compacted", "skips zeros", "two at once"]
    sizes = {
        row.name: sum(p.numel() for p in row.call.parameters())
        for row in done.rows
        if row.name != "two at once"
    }
    assert sizes["compacted"] < sizes["skips zeros"] == sizes["masked"]
    assert [row.name for row in done.rows if row.zeros] == ["compacted", "skips zeros"]


def test_what_is_not_there_is_listed_with_the_reason(rows):
    model = net()
    prunery.prune(model, "50%")
    done = bench(model, EXAMPLE, forms=own("broken", "late", "wrong", "elsewhere"), rounds=1)
    assert [row.name for row in done.rows] == ["dense", "masked"]
    assert done.missing == {
        "compacted": "nothing can be cut out",
        "broken": "RuntimeError: no kernel for this operation",
        "raises late": "ValueError: too late",
        "wrong": "the model as wrong: on the example outputs differ by 0.01 of the largest",
        "elsewhere": "no_such_package not installed: pip install it",
    }
    assert all(f"not there: {name}: {reason}" in str(done) for name, reason in done.missing.items())
    assert "nothing can be said" in done.verdict
    with pytest.raises(ChoiceError, match="did you mean 'sparse'"):
        bench(model, EXAMPLE, forms=["spars"])
    with pytest.raises(ChoiceError, match="Give 1 or more"):
        bench(model, EXAMPLE, rounds=0)


def test_a_network_that_was_cut_before(rows):
    dense, model = net(), net()
    masks = prunery.prune(model, "50%", granularity="channel", example=EXAMPLE)
    small = prunery.compact(model, masks, EXAMPLE)
    done = bench(small, EXAMPLE, dense=dense, trained=False, split=images(), forms=[], rounds=1)
    assert [row.name for row in done.rows] == ["dense", "compacted"]
    assert done.missing == {"masked": "what was pruned is cut out already"}
    assert [row.counts is None for row in done.rows] == [True, False]


def test_the_model_and_the_number_of_threads_are_left_as_they_were(rows):
    model, threads = net().train(), torch.get_num_threads()
    masks = prunery.prune(model, "50%", granularity="channel", example=EXAMPLE)
    with torch.no_grad():
        model.head.weight.add_(1)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    bench(model, EXAMPLE, masks=masks, forms=own("skips"), rounds=1)
    assert model.training
    assert torch.get_num_threads() == threads
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


@pytest.mark.slow
def test_the_engines_that_are_installed_agree():
    model = net()
    masks = prunery.prune(model, "50%", granularity="channel", example=EXAMPLE)
    done = bench(
        model, EXAMPLE, masks=masks, forms=["sparse", "onnx_runtime", "open_vino", "torch_script"], rounds=1
    )
    installed = {row.name for row in done.rows}
    assert "TorchScript" in installed
    assert all("not installed: pip install" in reason for reason in done.missing.values())
    assert max(row.difference for row in done.rows) < 1e-4


def test_the_verdict_agrees_with_another_clock():
    """Half of the channels of wide layers: by far faster in torch, as a loop of this test's own says too."""
    torch.manual_seed(0)
    wide = nn.Sequential(*(part for _ in range(4) for part in (nn.Conv2d(160, 160, 3, padding=1), nn.ReLU())))
    model = nn.Sequential(nn.Conv2d(3, 160, 3), *wide, nn.Flatten(), nn.Linear(160 * 36, 4)).eval()
    masks = prunery.prune(model, "75%", granularity="channel", example=EXAMPLE)
    done = bench(model, EXAMPLE, masks=masks, forms=[], rounds=30)
    assert done.verdict.startswith("compacted is the fastest")
    small = prunery.compact(model, masks, EXAMPLE)
    ratios, threads = [], torch.get_num_threads()
    torch.set_num_threads(1)
    with torch.inference_mode():
        for _ in range(10):
            times = []
            for call in (model, small):
                call(EXAMPLE)
                begin = time.process_time()
                for _ in range(5):
                    call(EXAMPLE)
                times.append(time.process_time() - begin)
            ratios.append(times[0] / times[1])
    torch.set_num_threads(threads)
    independent = sorted(ratios)[5]
    assert independent > 1.5
    assert done.latency.speed_up("compacted", "dense", clock="cpu").times == pytest.approx(
        independent, rel=0.5
    )
