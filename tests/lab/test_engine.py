"""The local engine: every step once, in order, whatever befalls the workers. The work is pretended."""

import json
import os
import signal

import pytest
from engine_kit import WORK, Heard, log, of_kind, run
from lab_kit import alive, children, linux, planned, raw, runner, wait_until

from prunery.errors import PruneryError
from prunery.lab.engines import local
from prunery.lab.plan import Plan, Step
from prunery.lab.store import Store


@pytest.mark.parametrize("workers", [1, 2])
def test_every_step_once_and_after_its_parents(fake, store, workers):
    plan = planned()
    outcome = run(plan, store, workers=workers)
    assert outcome.complete
    assert sorted(outcome.done) == sorted(plan.steps)
    keys = [key for _, key in log(fake)]
    assert sorted(keys) == sorted(plan.steps), "once each"
    assert all(keys.index(p) < keys.index(k) for k in keys for p in plan.steps[k].parents)
    assert all(store.has(key) for key in plan.steps)
    assert [list((store.root / part).iterdir()) for part in ("scratch", "locks", "failed")] == [[], [], []]


def test_dense_training_comes_first(fake, store):
    run(planned(seeds=3), store)
    order = [kind for kind, _ in log(fake)]
    last_dense = max(i for i, kind in enumerate(order) if kind == "train")
    assert last_dense < min(i for i, kind in enumerate(order) if kind == "recover")


def test_a_second_run_does_nothing_and_a_larger_study_only_what_is_new(fake, store):
    plan = planned()
    run(plan, store)
    again = run(plan, store)
    assert (again.done, sorted(again.cached), again.complete) == ((), sorted(plan.steps), True)
    larger = planned(sparsities=[0.5, 0.9, 0.95])
    assert set(run(larger, store).done) == set(larger.steps) - set(plan.steps)


def test_a_step_waits_for_all_its_parents(fake, store):
    (first, second, *_) = (step for step in planned().steps.values() if step.kind == "init")
    both = Step("f" * 16, "measure", first.args, (first.key, second.key))
    plan = Plan("diamond", {step.key: step for step in (first, second, both)}, ())
    (fake / f"kill-{second.key}").write_text("1")  # it is done late
    assert run(plan, store, workers=2).complete
    assert log(fake)[-1] == ["measure", both.key]


def test_a_step_that_raises_blocks_its_own_children_only(fake, store):
    plan, heard = planned(), Heard()
    bad = of_kind(plan, "prune")[0]
    (fake / f"raise-{bad}").touch()
    outcome = run(plan, store, workers=2, progress=heard)
    failure = outcome.failed[bad]
    assert list(outcome.failed) == [bad]
    assert (failure.reason, failure.tries) == ("ZeroDivisionError: as told", 1)
    assert "lab_fake.py" in failure.trace
    assert store.failed(bad) == failure
    assert heard.failures == [(bad, failure.reason, True)]
    children_ = [k for k, s in plan.steps.items() if bad in s.parents]
    below = [k for k, s in plan.steps.items() if set(children_) & set(s.parents)]
    assert sorted(outcome.blocked) == sorted([*children_, *below])
    assert len(outcome.done) == len(plan.steps) - 3
    assert not outcome.complete
    assert list((store.root / "scratch").iterdir()) == []
    (fake / f"raise-{bad}").unlink()
    assert run(plan, store).complete
    assert store.failed(bad) is None


@pytest.mark.parametrize("workers", [1, 2])
def test_a_worker_that_is_killed_costs_its_step_a_try(fake, store, workers):
    plan, heard = planned(), Heard()
    for key, times in zip(of_kind(plan, "recover"), (1, 2), strict=False):
        (fake / f"kill-{key}").write_text(str(times))
    outcome = run(plan, store, workers=workers, progress=heard)
    assert outcome.complete
    assert len(log(fake)) == len(plan.steps) + 3, "two steps begun once and twice more"
    assert [final for _, _, final in heard.failures] == [False] * 3
    assert all("SIGKILL" in reason for _, reason, _ in heard.failures)


def test_a_step_that_kills_every_worker_fails_after_three_tries(fake, store):
    plan = planned()
    bad = of_kind(plan, "measure")[-1]
    (fake / f"kill-{bad}").write_text("99")
    outcome = run(plan, store)
    assert outcome.failed[bad].tries == 3
    assert "died 3 times" in outcome.failed[bad].reason
    assert len(outcome.done) == len(plan.steps) - 1


def test_progress_hears_of_epochs(fake, store):
    heard = Heard()
    run(planned(), store, progress=heard)
    assert ("train", 1.0) in heard.epochs


def test_work_that_cannot_be_imported_is_an_error(store):
    with pytest.raises(PruneryError, match="No module named 'nowhere'"):
        local.run(planned(), store, work="nowhere:work")
    with pytest.raises(PruneryError, match="Define it in a module"):
        local.run(planned(), store, work=lambda step: None)
    with pytest.raises(PruneryError, match="0 workers"):
        local.run(planned(), store, workers=0, work=WORK)


def test_a_store_whose_parents_were_altered_fails_with_the_reason(fake, store):
    plan = planned(seeds=1)
    run(plan, store)
    init = of_kind(plan, "init")[0]
    (store.path(init) / "out").write_bytes(b"other")
    larger = planned(seeds=1, sparsities=[0.95], methods=[{"criterion": "snip"}])
    outcome = run(larger, store)
    (failure,) = outcome.failed.values()
    assert "altered" in failure.reason


def started(tmp_path, fake, *, workers):
    """A run in a process of its own, once it has done something; and the store."""
    (tmp_path / "spec.json").write_text(json.dumps(raw(seeds=3)))
    (fake / "slow").write_text("0.05")
    process = runner(tmp_path / "spec.json", tmp_path / "store", workers=workers, work=WORK)
    assert wait_until(lambda: (fake / "log").exists() and len(log(fake)) > 3)
    return process, Store(tmp_path / "store")


def test_two_runs_on_one_store_do_nothing_twice(tmp_path, fake):
    first, store = started(tmp_path, fake, workers=2)
    (fake / "slow").write_text("0.15")  # so that the second finds something to do
    second = runner(tmp_path / "spec.json", store.root, workers=2, work=WORK)
    answers = [json.loads(process.communicate(timeout=60)[0]) for process in (first, second)]
    assert all(answer["complete"] for answer in answers)
    keys = [key for _, key in log(fake)]
    assert sorted(keys) == sorted(planned(seeds=3).steps)
    assert sum(answer["done"] for answer in answers) == len(keys), "each says what it did itself"


@linux
def test_workers_die_with_their_parent(tmp_path, fake):
    process, _ = started(tmp_path, fake, workers=2)
    (fake / "slow").write_text("5")
    workers = children(process.pid)
    assert len(workers) == 2
    assert all(map(alive, workers))
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
    assert wait_until(lambda: not any(map(alive, workers)), 3)


@linux
def test_ctrl_c_stops_everything_and_a_rerun_goes_on(tmp_path, fake):
    process, store = started(tmp_path, fake, workers=2)
    (fake / "slow").write_text("60")  # so that it is still at work, however late the signal comes
    workers = children(process.pid)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does: to all of them
    answer = json.loads(process.communicate(timeout=50)[0])
    assert answer["stopped"]
    assert not answer["complete"]
    assert not any(map(alive, workers))
    done = sum(1 for _ in store.finished())
    assert 0 < done < len(planned(seeds=3).steps)
    (fake / "slow").write_text("0")
    outcome = run(planned(seeds=3), store)
    assert outcome.complete
    assert len(outcome.cached) == done
