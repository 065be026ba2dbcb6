"""Seconds to classify a split: what is called, how often, and what is reported."""

import time

import pytest
import torch
from torch import nn

from prunery.data.splits import Split
from prunery.errors import ChoiceError, DataError
from prunery.measure.latency import classify_seconds


class Slow(nn.Module):
    """Sleeps on each call, the first for longer; notes the modes and batch sizes it was called with."""

    def __init__(self, first=0.05, each=0.01):
        super().__init__()
        self.layer, self.norm = nn.Linear(4, 3), nn.BatchNorm1d(3)
        self.first, self.each, self.calls = first, each, []

    def forward(self, x):
        time.sleep(self.each if self.calls else self.first)
        self.calls.append((len(x), self.training, torch.is_inference_mode_enabled(), x.dtype))
        torch.rand(1)
        return self.norm(self.layer(x.flatten(1)))


def images(n):
    x = torch.zeros(n, 1, 2, 2, dtype=torch.uint8)
    return Split("test", x, torch.zeros(n, dtype=torch.int64), mean=(0.0,), std=(1.0,), classes=3)


def test_every_example_is_classified_in_each_pass_after_one_untimed_batch():
    model = Slow()
    timing = classify_seconds(model, images(10), batch=4, repeats=3)
    assert [size for size, *_ in model.calls] == [4] + [4, 4, 2] * 3
    assert {call[1:] for call in model.calls} == {(False, True, torch.float32)}
    assert (timing.repeats, timing.examples, timing.batch) == (3, 10, 4)
    assert (timing.threads, timing.dtype, timing.device) == (torch.get_num_threads(), "float32", "cpu")
    assert 0.03 <= timing.low <= timing.median <= timing.high
    assert timing.per_second == 10 / timing.median


def test_the_warm_up_is_not_counted():
    assert classify_seconds(Slow(first=0.5, each=0.0), images(2), repeats=1).high < 0.4


def test_the_median_is_that_of_whole_passes(monkeypatch):
    ticks = iter([0, 9, *(t for seconds in (5, 1, 2) for t in (0, seconds))])  # warm-up, then three passes
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    timing = classify_seconds(Slow(0, 0), images(2), repeats=3)
    assert (timing.low, timing.median, timing.high) == (1, 2, 5)


def test_precision_of_the_model():
    model = Slow(0, 0).double()
    assert classify_seconds(model, images(2)).dtype == "float64"
    assert model.calls[0][3] is torch.float64


def test_no_trace():
    model = Slow(0, 0)
    model.layer.eval()
    state = {k: v.clone() for k, v in model.state_dict().items()}
    random = torch.random.get_rng_state()
    classify_seconds(model, images(5))
    assert (model.training, model.layer.training, model.norm.training) == (True, False, True)
    assert all(torch.equal(v, state[k]) for k, v in model.state_dict().items())
    assert torch.equal(random, torch.random.get_rng_state())


def test_what_cannot_be_timed():
    with pytest.raises(ChoiceError, match="repeats"):
        classify_seconds(Slow(), images(2), repeats=0)
    with pytest.raises(DataError, match="empty"):
        classify_seconds(Slow(), images(0))
    with pytest.raises(DataError, match="batches of 0"):
        classify_seconds(Slow(), images(2), batch=0)
