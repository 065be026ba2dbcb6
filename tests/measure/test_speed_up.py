"""Calls timed in turns: what is called how often, which ratio comes out, and whether it is decided."""

import gc
import math
import time

import pytest
import torch
from torch import nn

import prunery
from prunery.errors import ChoiceError, ModelError
from prunery.measure.speed_up import CallTimes, Latency


def busy(seconds):
    """A function that takes so much of the processor's time."""

    def call(x):
        end = time.process_time() + seconds
        while time.process_time() < end:
            pass
        return x

    return call


def measured(**wall):
    """Latencies with these milliseconds of the wall clock; the processor's are twice as many."""
    rows = {name: CallTimes(name, tuple(v), tuple(2 * t for t in v), 1) for name, v in wall.items()}
    return Latency(rows, len(next(iter(wall.values()))), 1, "cpu")


def test_a_known_ratio_is_found_and_decided():
    found = prunery.latency({"dense": busy(3e-3), "sparse": busy(1e-3)}, torch.zeros(1), rounds=40)
    speed = found.speed_up("sparse", clock="cpu")  # other work on the machine changes the wall clock's
    assert 0.95 * speed.low <= 3 <= 1.05 * speed.high
    assert speed.times == pytest.approx(3, rel=0.1)
    assert speed.decided
    assert found.speed_up("dense", "sparse", clock="cpu").times == pytest.approx(1 / speed.times)
    assert 1 <= found.calls["dense"].calls <= 2
    assert "sparse is" in str(found)
    assert "times as fast as dense (95 % interval" in str(found)


def test_the_ratio_is_paired_by_round():
    # by medians of their own, 6 / 6 = 1; round by round always 2
    dense = [1, 2, 4, 8, 16, 32, 64, 128, 2, 8, 32, 4]
    speed = measured(dense=dense, sparse=[value / 2 for value in dense]).speed_up("sparse")
    assert (speed.times, speed.low, speed.high) == pytest.approx((2, 2, 2))


def test_noise_leaves_it_undecided_and_says_so():
    dense = [1.0, 1.3, 0.9, 1.2, 1.1, 0.8, 1.0, 1.25, 0.95, 1.05, 1.15, 0.85]
    found = measured(dense=dense, other=dense[::-1])
    assert not found.speed_up("other").decided
    assert "cannot be told apart" in str(found)
    assert "undecided" in str(found)
    few = measured(dense=[2.0] * 5, other=[1.0] * 5).speed_up("other")
    assert not few.decided  # 5 rounds cannot say anything at 95 %: a sixteenth of the time all lie on a side
    assert (few.low, few.high) == (0, math.inf)


def test_the_first_call_is_what_others_are_compared_with():
    found = measured(dense=[4.0] * 10, sparse=[2.0] * 10, other=[1.0] * 10)
    assert found.speed_up("sparse").times == 2
    assert found.speed_up("other", "sparse").than == "sparse"
    assert found.speed_up("other", "sparse", clock="cpu").times == 2
    assert found.calls["other"].median_cpu_ms == 2
    assert found.calls["dense"].quartiles_ms == (4, 4)
    assert measured(dense=[1.0, 2.0, 3.0, 4.0, 5.0]).calls["dense"].quartiles_ms == (2, 4)


def test_rounds_take_turns_in_changing_order():
    order = []

    def noted(name):
        def call(x):
            order.append(name)
            return busy(6e-3)(x)

        return call

    prunery.latency({"a": noted("a"), "b": noted("b")}, torch.zeros(1), rounds=8)
    turns = order[-32:]  # each a call that is not timed, and one that is
    pairs = ["".join(turns[i : i + 4]) for i in range(0, 32, 4)]
    assert set(pairs) == {"aabb", "bbaa"}


def test_modules_run_in_eval_mode_and_are_left_as_they_were():
    seen = []

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.norm = nn.BatchNorm1d(3)

        def forward(self, x):
            seen.append((self.training, torch.is_inference_mode_enabled(), torch.get_num_threads(), x.dtype))
            return self.norm(x)

    model, threads = Net().double(), torch.get_num_threads()
    found = prunery.latency({"net": model}, torch.zeros(2, 3), rounds=2, threads=1)
    assert set(seen) == {(False, True, 1, torch.float64)}
    assert (model.training, torch.get_num_threads(), gc.isenabled()) == (True, threads, True)
    assert (found.threads, found.rounds, found.device) == (1, 2, "cpu")


def test_modules_of_odd_kinds():
    """An empty one is falsy, a frozen script has no modes, a compiled one has no length."""
    empty, layer = nn.Sequential(), nn.Linear(3, 3).eval()
    frozen = torch.jit.freeze(torch.jit.trace(layer, torch.zeros(1, 3)))
    compiled = torch.compile(layer, backend="eager")
    found = prunery.latency(
        {"empty": empty, "frozen": frozen, "compiled": compiled}, torch.zeros(1, 3), rounds=1
    )
    assert found.calls.keys() == {"empty", "frozen", "compiled"}


def test_arguments_and_keywords():
    def call(a, b):
        return a + b

    assert prunery.latency({"sum": call}, (torch.ones(1), torch.ones(1)), rounds=1).rounds == 1
    assert prunery.latency({"sum": call}, {"b": torch.ones(1), "a": torch.ones(1)}, rounds=1).rounds == 1


def test_what_cannot_be_timed():
    x = torch.zeros(2)

    def broken(x):
        raise RuntimeError("no such kernel")

    for calls, more in (({}, {}), ({"a": busy(0)}, {"rounds": 0}), ({"a": busy(0)}, {"threads": 0})):
        with pytest.raises(ChoiceError, match="at least one of each"):
            prunery.latency(calls, x, **more)
    with pytest.raises(ModelError, match="no such kernel"):
        prunery.latency({"broken": broken}, x)
    with pytest.raises(ModelError, match="changes what it is called with"):
        prunery.latency({"in place": lambda x: x.add_(1)}, x)
    assert torch.equal(x, torch.zeros(2))
    found = measured(dense=[1.0])
    with pytest.raises(ChoiceError, match="there are dense"):
        found.speed_up("sparse")
    with pytest.raises(ChoiceError, match="clock"):
        found.speed_up("dense", clock="sun")
