"""Small specs, plans and records for the tests of the lab."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest

from prunery.lab.plan import key_of, plan
from prunery.lab.record import Number, Record, canonical
from prunery.lab.spec import from_plain

HERE = Path(__file__).parent
linux = pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="looks at processes in /proc")

SMALL = {
    "name": "small",
    "task": {
        "model": "lenet300",
        "data": "digits",
        "training": {"epochs": 2, "optimizer": "sgd", "learning_rate": 0.1},
    },
    "methods": [{"criterion": "magnitude"}, {"criterion": "snip", "recovery": "finetune"}],
    "sparsities": [0.5, 0.9],
    "seeds": 2,
    "controls": [],
}


ONE_EPOCH = {**SMALL["task"], "training": {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1}}


def raw(**changes):
    """The small spec as plain data, with some of its keys replaced."""
    return {**copy.deepcopy(SMALL), **changes}


def spec(**changes):
    return from_plain(raw(**changes))


def planned(**changes):
    return plan(spec(**changes))


def record(key=None, **changes):
    """A record with every kind of content; its key is that of its contents unless another is given."""
    content = {
        "kind": "measure",
        "args": {"model": "lenet300", "seed": 0},
        "parents": ("fedcba9876543210",),
        "numbers": (Number("top1", 97.5, "%", "test", count=975, total=1000, k=1, chance=10.0),),
        "tables": {"epochs": [_epoch(1, float("nan")), _epoch(2, 0.5)]},
        "notes": ("a note",),
        "cost": {"epochs": 2, "seconds": 1.5},
        "environment": {"device": "cpu"},
    }
    content |= changes
    key = key or key_of(content["kind"], content["args"], content["parents"])
    return Record(key=key, **content)


def _epoch(number, loss):
    return {"epoch": number, "train_loss": loss, "train_correct": 5, "train_total": 10}


def do(step, store):
    """Do a step for real, here."""
    from prunery.lab.work import work

    scratch = store.scratch(step.key)
    store.commit(work(step, store, scratch), scratch)


def runner(spec_file, store, *, workers, work, engine="local", env=None):
    """A process (with its own process group) that runs a spec on an engine; see lab_run."""
    told = [spec_file, store, workers, work, engine]
    command = [sys.executable, str(HERE / "lab_run.py"), *map(str, told)]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, text=True, env={**os.environ, **(env or {})}
    )


def children(pid):
    """The process ids of a process's children."""
    tasks = Path(f"/proc/{pid}/task")
    try:
        return [int(c) for task in tasks.iterdir() for c in (task / "children").read_text().split()]
    except FileNotFoundError:
        return []


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_until(condition, seconds=20.0):
    """Whether the condition came true in time."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if condition():
            return True
        time.sleep(0.01)
    return condition()


def equal(a, b):
    """Whether two records say the same, times and environment aside."""
    return not differences(a, b)


def differences(a, b):
    """The fields in which two records differ, times and environment aside."""
    left, right = _without_times(a), _without_times(b)
    return [name for name in left if canonical(left[name]) != canonical(right[name])]


def _without_times(record):
    data = asdict(record)
    del data["environment"]
    data["cost"] = {k: v for k, v in data["cost"].items() if not k.startswith("seconds")}
    return data
