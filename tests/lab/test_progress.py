"""What a run and a plan tell of themselves: steps, epochs, time left."""

import io
from dataclasses import replace

import pytest
from lab_kit import planned, raw, record
from rich.console import Console

from prunery.lab import progress
from prunery.lab.estimate import Rates, estimate
from prunery.lab.pace import Pace
from prunery.lab.progress import Shown, duration, labels


@pytest.fixture
def clock(monkeypatch):
    """Seconds that pass when told to."""
    now = [100.0]
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    return now


def shown(*, terminal):
    out = io.StringIO()
    return Shown(Console(file=out, force_terminal=terminal, width=100)), out


def steps(plan, kind):
    return [step for step in plan.steps.values() if step.kind == kind]


def test_labels_say_what_a_step_is_for():
    plan = planned(seeds=1, sparsities=[0.9])
    found = labels(plan)
    assert set(found) == set(plan.steps)
    assert {found[s.key] for s in steps(plan, "train")} == {"train, dense, seed 0"}
    assert {found[s.key] for s in steps(plan, "prune")} == {
        "prune, magnitude 90%, seed 0",
        "prune, snip 90%, seed 0",
    }
    assert "recover, dense + 2 epochs, seed 0" in found.values()


def test_time_left_follows_the_epochs(clock):
    plan = planned(seeds=1, sparsities=[0.9])  # train 2, three recoveries of 2, and 6 small steps
    bar, out = shown(terminal=False)
    bar.begin(plan, plan.steps)
    (init,), (train,) = steps(plan, "init"), steps(plan, "train")
    bar.started(init)
    bar.finished(init)
    assert "not known yet" in bar._time_left()
    bar.started(train)
    bar.advanced(train, 0.25)
    clock[0] += 12
    bar.advanced(train, 1.25)  # an epoch in 12 seconds
    assert bar._time_left() != ", time left not known yet"
    bar.tick()
    assert out.getvalue() == "", "a line every fifteen seconds only"
    clock[0] += 20
    bar.tick()
    line = " ".join(out.getvalue().split())
    assert line.startswith(f"1 of {len(plan.steps)} steps, about ")
    assert line.endswith("| train, dense, seed 0 1.2/2")


def test_steps_alike_have_a_pace_of_their_own():
    plan = planned(seeds=1, sparsities=[0.9])
    pace = Pace(plan.steps.values())
    (init,), (train,) = steps(plan, "init"), steps(plan, "train")
    first, *others = steps(plan, "measure")
    pace.started(init, 0.0)
    pace.finished(init, 1.0)
    assert pace.seconds_left(1.0) is None, "too little was seen"
    pace.started(train, 1.0)
    pace.advanced(train, 0.0, 1.0)
    pace.finished(train, 21.0)  # 10 seconds an epoch
    pace.started(first, 21.0)
    pace.finished(first, 51.0)  # 30 seconds to measure
    recoveries = sum(s.epochs for s in plan.steps.values() if s.kind == "recover")
    usual = (1 + 20 + 30) / (0.2 + 2 + 0.2)  # for the prunings, of which none was seen
    prunings = sum(s.weight for s in steps(plan, "prune"))
    wanted = 10 * recoveries + 30 * len(others) + usual * prunings
    assert pace.seconds_left(51.0) == pytest.approx(wanted)
    pace.started(others[0], 51.0)
    pace.started(others[1], 51.0)
    assert pace.seconds_left(51.0) == pytest.approx(wanted / 2), "two workers"


def test_what_another_run_did_of_a_training_is_no_pace():
    (train,) = steps(planned(seeds=1), "train")
    pace = Pace([train])
    pace.started(train, 0.0)
    pace.advanced(train, 1.5, 6.0)  # resumed
    assert pace.seconds_left(7.0) is None
    pace.advanced(train, 1.6, 16.0)
    assert pace.seconds_left(16.0) == pytest.approx(0.4 * 100)


def test_of_many_running_steps_some_are_named(clock):
    plan = planned(seeds=12)
    bar, out = shown(terminal=False)
    bar.begin(plan, plan.steps)
    for init in steps(plan, "init"):
        bar.started(init)
    clock[0] += 20
    bar.tick()
    line = " ".join(out.getvalue().split())
    assert line.count("init, dense") == 8
    assert line.endswith("| and 4 more")


def test_what_another_run_does_is_not_ours(clock):
    plan = planned(seeds=1)
    bar, _ = shown(terminal=False)
    bar.begin(plan, plan.steps)
    (train,) = steps(plan, "train")
    bar.started(train)
    bar.advanced(train, 1)
    bar.postponed(train)
    assert (bar.pace.running, bar.pace.seconds_left(1e6), bar.done) == ({}, None, 0)


def test_failures_are_told_at_once(clock):
    plan = planned(seeds=1)
    bar, out = shown(terminal=False)
    bar.begin(plan, plan.steps)
    (train,) = steps(plan, "train")
    bar.started(train)
    bar.failed(train, "no luck", final=False)
    bar.failed(train, "no luck [again]", final=True)
    text = " ".join(out.getvalue().split())
    assert f"train, dense, seed 0 ({train.key}) is tried again: no luck" in text
    assert "failed: no luck [again]" in text


def test_a_terminal_has_a_bar(clock):
    plan = planned(seeds=1)
    bar, out = shown(terminal=True)
    bar.begin(plan, plan.steps)
    (init,) = steps(plan, "init")
    bar.started(init)
    bar.finished(init)
    bar.bar.refresh()
    bar.end()
    assert f"1/{len(plan.steps)}" in out.getvalue()
    assert bar.bar is None


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(-1, "0 s"), (0.4, "0 s"), (89, "89 s"), (90, "2 min"), (600, "10 min"), (9000, "2.5 h")],
)
def test_durations(seconds, text):
    assert duration(seconds) == text


def done(step, seconds):
    cost = {"epochs": step.epochs, "seconds": seconds} if step.epochs else {"seconds": seconds}
    return replace(record(step.key), kind=step.kind, args=step.args, cost=cost)


def test_an_estimate_counts_what_is_left():
    plan = planned(seeds=1, sparsities=[0.9])
    found = estimate(plan, (), Rates())
    assert (found.epochs, found.epochs_todo, found.unshared_epochs) == (8, 8, 2 + 4 + 4 + 2)
    assert found.steps == {"init": 1, "train": 1, "prune": 2, "recover": 3, "measure": 4}
    assert found.seconds is None, "nothing tells the pace"
    cached = [s.key for s in (*steps(plan, "init"), *steps(plan, "train"))]
    found = estimate(plan, cached, Rates())
    assert (found.epochs_todo, found.cached) == (6, {"init": 1, "train": 1})


def test_an_estimate_goes_by_records_of_the_same_network():
    longer = {"name": "finetune", "training": {"epochs": 5}}
    methods = [{"criterion": "magnitude", "recovery": longer}, {"name": "snip", "criterion": "snip"}]
    plan = planned(seeds=1, sparsities=[0.9], methods=methods)
    (train,) = steps(plan, "train")
    magnitude = next(s for s in steps(plan, "prune") if s.args["criterion"] == "magnitude")
    measured = steps(plan, "measure")[0]
    records = [done(train, 6.0), done(magnitude, 0.5), done(measured, 0.25)]
    # 5 + 5 + 7 epochs at 3 s (snip has as many as magnitude in all), one more cut of a kind that nothing
    # is known of, 3 measurements
    cached = {train.key, magnitude.key, measured.key, steps(plan, "init")[0].key}
    assert estimate(plan, cached, Rates.of_records(records)).seconds == pytest.approx(51 + 0.75)
    other = planned(seeds=1, task={**raw()["task"], "model": "fc"})
    assert estimate(other, (), Rates.of_records(records)).seconds is None
