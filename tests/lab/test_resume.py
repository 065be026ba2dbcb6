"""Kill a run, or any of its workers, at any time: the rerun ends with the records of an undisturbed run."""

import json
import os
import random
import signal
import time

import pytest
from lab_kit import children, differences, linux, raw, runner, wait_until

from prunery.lab.plan import plan
from prunery.lab.spec import from_plain
from prunery.lab.store import Store

CHAIN = {"name": "imp", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5]}}
TRAINING = {"epochs": 4, "optimizer": "sgd", "learning_rate": 0.1, "batch": 32, "augmentation": "flip"}


def real():
    """A small study with everything that a step can be resumed in the middle of."""
    methods = [CHAIN, {"criterion": "snip"}, {"criterion": "synflow", "recovery": "rewind"}]
    task = {"model": "lenet300", "data": "digits", "training": {**TRAINING, "momentum": 0.9}}
    return raw(name="real", task=task, methods=methods, sparsities=[0.8], seeds=2)


def ended(process):
    """Whether a run ended by itself, and well."""
    answer, _ = process.communicate(timeout=240)
    return bool(answer) and json.loads(answer)["complete"]


def kill_something(process, dice):
    """Kill the whole run, or one worker of it; whether a rerun is needed."""
    workers = children(process.pid)
    if workers and dice.random() < 0.5:
        os.kill(dice.choice(workers), signal.SIGKILL)
        return False
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return True


def disturbed(spec_file, store_path, *, workers, work, rounds, pause, dice):
    """How many kills a study took until it was done."""
    kills = 0
    while True:
        process = runner(spec_file, store_path, workers=workers, work=work)
        while kills < rounds and process.poll() is None:
            wait_for_work(process, store_path)
            time.sleep(dice.uniform(0, pause))
            if process.poll() is None:
                kills += 1
                if kill_something(process, dice):
                    break
        else:
            if ended(process):
                return kills
            assert kills >= 3, "only a step whose worker was killed three times may have failed"


def wait_for_work(process, store_path):
    """Wait until a step is begun or done that was not before: then a kill hits something."""
    before = seen(store_path)
    wait_until(lambda: process.poll() is not None or seen(store_path) - before, 60)


def seen(store_path):
    return {path.name for part in ("steps", "scratch") for path in (store_path / part).glob("*")}


def assert_same(spec, undisturbed, *others):
    steps = plan(from_plain(spec)).steps
    for other in others:
        assert sorted(other.finished()) == sorted(steps)
        for key in steps:
            assert differences(undisturbed.record(key), other.record(key)) == []
            for name in undisturbed.record(key).files:
                assert undisturbed.file(key, name).read_bytes() == other.file(key, name).read_bytes()
        leftovers = [list((other.root / part).iterdir()) for part in ("partial", "failed")]
        assert leftovers == [[], []]


def spec_file(tmp_path, spec):
    path = tmp_path / "spec.json"
    path.write_text(json.dumps(spec))
    return path


@linux
@pytest.mark.parametrize("workers", [1, 2])
def test_ten_kills_of_a_pretended_run(tmp_path, monkeypatch, workers):
    (tmp_path / "slow").write_text("0.02")
    monkeypatch.setenv("LAB_FAKE", str(tmp_path))
    spec, dice = raw(seeds=4), random.Random(workers)
    path = spec_file(tmp_path, spec)
    assert ended(runner(path, tmp_path / "calm", workers=2, work="lab_fake:work"))
    kills = disturbed(
        path, tmp_path / "s", workers=workers, work="lab_fake:work", rounds=10, pause=0.15, dice=dice
    )
    assert kills >= 5, "the run was over before it could be disturbed"
    assert_same(spec, Store(tmp_path / "calm"), Store(tmp_path / "s"))


@linux
@pytest.mark.slow
def test_ten_kills_of_real_runs(tmp_path):
    spec, dice = real(), random.Random(7)
    path = spec_file(tmp_path, spec)
    work = "prunery.lab.work:work"
    assert ended(runner(path, tmp_path / "calm", workers=2, work=work))
    kills, stores = 0, []
    for workers in (1, 2, 2, 1):
        stores.append(tmp_path / f"disturbed-{len(stores)}")
        left = 10 - kills
        kills += disturbed(
            path, stores[-1], workers=workers, work=work, rounds=min(left, 5), pause=1.0, dice=dice
        )
        if kills >= 10:
            break
    assert kills >= 6
    assert_same(spec, Store(tmp_path / "calm"), *map(Store, stores))
