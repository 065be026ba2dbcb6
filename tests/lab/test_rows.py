"""Rows of a user's own, in every axis: a file outside the package, a study with two workers, changed code."""

import gzip
import json
import subprocess
import sys

import pytest
import yaml
from cli_kit import prunery

from prunery.errors import SpecError
from prunery.lab.archive import Archive, plan_of
from prunery.lab.store import Store

ROWS = '''
"""One row of my own for each choice."""

from dataclasses import dataclass

import torch

from prunery import prune
from prunery.core.criteria import criterion
from prunery.core.granularity import granularity
from prunery.core.schedule import Cut, schedule
from prunery.core.scope import scope
from prunery.train.recovery import recovery


@criterion.add(needs="weight", at="trained", source="mine")
def sharp(e, *, power=2.0):
    """|w|^power."""
    return e.weight.abs() ** power


@granularity.add(source="mine")
def each(context):
    """One unit per weight."""
    return granularity["weight"].function(context)


@scope.add(source="mine")
def own_pools(counts, targets):
    """Each layer is a pool."""
    return scope["layer"].function(counts, targets)


@schedule.add(between=True, source="mine")
def two_steps(sparsity, start=0.0):
    """Half of the way first."""
    return [sparsity / 2, sparsity]


@dataclass(frozen=True)
class Once:
    """Prunes at half of the training."""

    sparsity: float

    def due(self, step, total):
        return step == total // 2

    def __call__(self, context):
        return prune(context.model, self.sparsity, masks=context.masks)


@schedule.add(during=True, at="init", source="mine")
def at_half(sparsity, start=0.0):
    """A mask update of my own."""
    return Once(sparsity)


@recovery.add(trains=False, needs="dense inputs labels", source="mine")
def shift(context, *, strength=1.0):
    """Move the last bias so that mean outputs are those of the dense network."""
    context.model.eval()
    gap, count = 0.0, 0
    for x in context.images(256):
        with torch.no_grad():
            gap = gap + (context.dense(x) - context.model(x)).sum(0)
        count += len(x)
    context.count(read=2 * count)
    bias = [p for p in context.model.parameters() if p.ndim == 1][-1]
    with torch.no_grad():
        bias += strength * gap / count
'''

METHODS = [
    {
        "name": "all mine",
        "criterion": "my_rows:sharp(power=3.0)",
        "granularity": "my_rows:each",
        "scope": "my_rows:own_pools",
        "schedule": "my_rows:two_steps",
        "recovery": ["my_rows:shift", "finetune", {"name": "my_rows:shift", "strength": 0.5}],
    },
    {"name": "update", "criterion": "magnitude", "schedule": "my_rows:at_half"},
    {"name": "plain", "criterion": "magnitude"},
]
SPEC = {
    "name": "own",
    "task": {
        "model": "lenet300",
        "data": "digits",
        "training": {"epochs": 1, "optimizer": "sgd", "learning_rate": 0.1},
    },
    "methods": METHODS,
    "sparsities": [0.8],
    "seeds": 1,
    "controls": ["random"],
}


def steps(store, kind):
    records = (store.record(key) for key in store.finished())
    return [record for record in records if record.kind == kind]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with a file of rows and a spec, in which the study ran with two workers."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "my_rows.py").write_text(ROWS)
    (folder / "own.yaml").write_text(yaml.safe_dump(SPEC))
    status, out, error, _ = prunery("run", "own.yaml", "--store", "store", "--workers", "2", cwd=folder)
    assert status == 0, out + error
    return folder


@pytest.fixture
def store(folder):
    return Store(folder / "store", create=False)


def test_every_step_is_done_and_exact(store):
    cuts = steps(store, "prune")
    assert {record.args["sparsity"] for record in cuts} == {0.4, 0.8}
    removed = [record.number("sparsity_achieved") for record in cuts]
    assert all(n.count == round(r.args["sparsity"] * n.total) for n, r in zip(removed, cuts, strict=True))
    assert {
        record.args.get("action", {"name": ""})["name"]
        for record in steps(store, "recover")
        if isinstance(record.args.get("action"), dict)
    } == {"my_rows:shift"}


def test_records_hold_the_code_of_the_rows_that_they_depend_on(store):
    mine = {"my_rows:sharp", "my_rows:each", "my_rows:own_pools"}
    for record in steps(store, "prune"):
        rows = set(record.environment.get("rows", {}))
        if record.args["criterion"] != "magnitude":
            assert rows >= mine
        elif record.args["schedule"] == "my_rows:at_half":
            assert rows == {"my_rows:at_half"}
        else:
            assert not rows
    measured = [set(r.environment.get("rows", {})) for r in steps(store, "measure")]
    assert {*mine, "my_rows:shift"} in measured, "what comes later depends on it too"
    assert all(
        len(code) == 16 for r in steps(store, "measure") for code in r.environment.get("rows", {}).values()
    )


def test_plan_why_and_report_know_the_rows(folder, store):
    status, out, error, _ = prunery("plan", "own.yaml", "--store", "store", cwd=folder)
    assert status == 0, error
    assert "all mine" in out
    cut = next(r for r in steps(store, "prune") if r.args["criterion"] != "magnitude")
    status, out, *_ = prunery("why", cut.key, "--store", "store", cwd=folder)
    assert status == 0
    assert "my_rows:sharp" in out
    status, _, error, _ = prunery("report", "store", "-o", "out", cwd=folder)
    assert status == 0, error
    assert "my_rows:sharp" in (folder / "out" / "cells.csv").read_text()


def changed(folder, old, new):
    """The file of rows with other code."""
    assert old in ROWS
    (folder / "my_rows.py").write_text(ROWS.replace(old, new))


@pytest.fixture
def restored(folder):
    """The file of rows is as it was when the test is over."""
    yield
    (folder / "my_rows.py").write_text(ROWS)


def test_a_second_run_does_nothing_whatever_the_comments(folder, restored):
    changed(folder, "\n\n\n", "\n\n\n# a comment\n\n")
    status, out, error, _ = prunery("run", "own.yaml", "--store", "store", cwd=folder)
    assert status == 0, error
    assert "0 steps done" in out


@pytest.mark.parametrize("more", [(), ("--set", "seeds=2")], ids=["done", "to go on"])
def test_changed_code_makes_the_store_refuse(folder, restored, more):
    changed(folder, "total // 2", "total // 3")
    status, out, error, _ = prunery("run", "own.yaml", "--store", "store", *more, cwd=folder)
    assert status == 2, out
    assert "the code of that row has changed since" in error


CHECK = """
import gzip
import json
from pathlib import Path
from prunery.errors import StoreError
from prunery.lab.plan import plan
from prunery.lab.spec import load
from prunery.errors import SpecError
from prunery.lab.archive import Archive, plan_of
from prunery.lab.store import Store
from prunery.lab.work import provenance, work

made, store, real = plan(load("own.yaml")), Store("store"), provenance._row_code
names = sorted({name for step in made.steps.values() for name in step.rows})
refused = {}
for other in names:
    provenance._row_code = lambda name: "changed" if name == other else real(name)
    refused[other] = []
    try:
        provenance.check_begun(made, store)
    except StoreError as error:
        refused[other].append(error.asked)
    for step in made.steps.values():
        if step.kind == "measure" and other in store.record(step.parents[0]).environment.get("rows", {}):
            try:
                work(step, store, Path("."))
            except StoreError as error:
                refused[other].append(error.found)
print(json.dumps(refused))
"""


def test_each_row_is_looked_at_in_the_store_and_along_each_path(folder, store):
    """As a worker sees it that goes on in a store while the file changes, and who starts a study again."""
    done = subprocess.run(
        [sys.executable, "-c", CHECK], cwd=folder, capture_output=True, text=True, timeout=120, check=True
    )
    refused = json.loads(done.stdout)
    # two_steps only says which levels are cut, and these stand in the steps' arguments
    assert set(refused) == {f"my_rows:{row}" for row in ("sharp", "each", "own_pools", "at_half", "shift")}
    for name, (begun, *later) in refused.items():
        assert begun.endswith(f"with {name!r}")
        assert later
        assert set(later) == {"the code of that row has changed since"}


def test_a_row_that_is_not_there_is_said_before_anything_runs(folder):
    wrong = ("--set", "methods.0.criterion=my_rows:shrp", "--store", "new")
    status, _, error, _ = prunery("run", "own.yaml", *wrong, cwd=folder)
    assert status == 2
    assert "did you mean 'my_rows:sharp'" in error
    assert not (folder / "new").exists()


def archived(path, **method):
    """An archive, without any record, of a study that names rows which are nowhere."""
    spec = {**SPEC, "methods": [{"name": "m", "criterion": "magnitude", "recovery": "none", **method}]}
    whole = {"scope": "global", "exclude": [], "schedule": "one_shot", "at": "trained"}
    spec["methods"] = [{**whole, **spec["methods"][0]}]
    about = {"archive": "prunery", "version": 1, "studies": {"own": spec}, "failures": []}
    path.write_bytes(gzip.compress(json.dumps(about).encode() + b"\n"))
    return Archive(path)


def test_an_archive_is_read_without_the_rows(tmp_path):
    axes = {"criterion": "nowhere:sharp", "granularity": "nowhere:each", "scope": "nowhere:own_pools"}
    made = plan_of(archived(tmp_path / "a.gz", **axes), "own")
    cut = next(step for step in made.steps.values() if step.kind == "prune")
    assert {axis: cut.args[axis] for axis in axes} == axes
    for axis in ("schedule", "recovery"):
        with pytest.raises(SpecError, match="nothing is imported while an archive is read"):
            plan_of(archived(tmp_path / "b.gz", **{axis: "nowhere:row"}), "own")
    assert "nowhere" not in sys.modules
