"""Every file of docs/extending.md runs: through `prune`, and through a study with two workers."""

import os
import re
import sys
from pathlib import Path

import pytest
import torch
from cli_kit import prunery as command
from nets import mlp
from own_rows import registries_kept

import prunery
from prunery.lab.store import Store

TEXT = (Path(__file__).parents[1] / "docs" / "extending.md").read_text(encoding="utf-8")
FILES = dict(re.findall(r"```\w+\n# (\S+\.\w+)\n(.*?)```", TEXT, flags=re.S))
MODULES = [name.removesuffix(".py") for name in FILES if name.endswith(".py")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A folder with the page's files, and the store of its study, run by two workers."""
    folder = tmp_path_factory.mktemp("extending")
    for name, text in FILES.items():
        (folder / name).write_text(text, encoding="utf-8")
    status, output, errors, _ = command(
        "run", "compare.yaml", "--store", "runs/1", "--workers", "2", cwd=folder
    )
    assert status == 0, output + errors
    return folder


@pytest.fixture
def importable(folder, monkeypatch):
    monkeypatch.syspath_prepend(str(folder))
    with registries_kept(*MODULES):
        yield
    for module in MODULES:
        sys.modules.pop(module, None)


def test_the_page_has_a_file_of_each_kind():
    assert set(FILES) == {
        "my_criteria.py", "my_evidence.py", "my_granularities.py", "my_scopes.py", "my_schedules.py",
        "my_recoveries.py", "my_engines.py", "my_columns.py", "compare.yaml",
    }  # fmt: skip


def test_rows_run_through_prune(importable):
    model = mlp(20, 16, 12, 4)
    first = model[0].weight.detach().clone()
    masks = prunery.prune(model, 0.5, criterion="my_criteria:power(exponent=1.0)", scope="layer")
    scores = first.abs() * (1.5 + 0.5 * first.sign())
    assert torch.equal(
        masks["0.weight"].view(-1).nonzero().view(-1), scores.view(-1).topk(160).indices.sort().values
    )

    masks = prunery.prune(
        mlp(20, 16, 12, 4), 0.5, granularity="my_granularities:column", scope="my_scopes:gentle(extra=2)"
    )
    assert list(masks.units.values()) == [(10, 20), (8, 16), (8, 12)]
    masks = prunery.prune(mlp(20, 16, 12, 4), 0.5, schedule="my_schedules:halves")
    assert masks.kept == masks.total - round(0.5 * masks.total)
    with pytest.raises(prunery.PruneryError, match="inside a training"):
        prunery.prune(mlp(20, 16, 12, 4), 0.5, schedule="my_schedules:drop")


def test_the_study_ran_every_row_and_its_records_know_their_code(folder):
    store = Store(folder / "runs/1")
    named = {}
    for key in store.finished():
        record = store.record(key)
        text = str(record.args)
        for module in MODULES:
            if f"{module}:" in text:
                named.setdefault(module, []).append(record)
    assert set(named) == {"my_criteria", "my_granularities", "my_scopes", "my_schedules", "my_recoveries"}
    for module, records in named.items():
        assert all(f"{module}:" in str(record.environment) for record in records), module
    cuts = [r for records in named.values() for r in records if r.kind == "prune"]
    exact = [r for r in cuts if r.number("sparsity_requested").value == 0.8]
    assert len(exact) >= 3
    # columns are counted in units: their weights are near what was asked
    assert all(r.number("sparsity_achieved").value == pytest.approx(0.8, abs=0.02) for r in exact)


def test_an_engine_of_your_own_gives_the_same_records(folder):
    status, output, errors, _ = command(
        "run", "compare.yaml", "--store", "runs/2", "--engine", "my_engines:run", cwd=folder
    )
    assert status == 0, output + errors
    one, two = Store(folder / "runs/1"), Store(folder / "runs/2")
    assert list(one.finished()) == list(two.finished())
    for key in one.finished():
        assert one.record(key).numbers == two.record(key).numbers
        assert one.record(key).files == two.record(key).files


def test_a_column_of_your_own_is_in_the_report(folder):
    status, output, errors, _ = command(
        "report", "runs/1", "-o", "report", "--column", "my_columns:gap", cwd=folder
    )
    assert status == 0, output + errors
    assert "my_columns:gap" in (folder / "report" / "cells.csv").read_text(encoding="utf-8").splitlines()[0]
    for name in ("table.md", "report.html"):
        assert "Gap: train minus test top-1" in (folder / "report" / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("name", ["my_criteria.py", "my_schedules.py", "my_recoveries.py"])
def test_a_store_does_not_go_on_when_a_row_s_code_changed(folder, name):
    text = FILES[name]
    try:
        (folder / name).write_text(f"# a comment changes nothing\n{text}", encoding="utf-8")
        assert command("run", "compare.yaml", "--store", "runs/1", cwd=folder)[0] == 0
        (folder / name).write_text(text + "\n\nMORE = 1\n", encoding="utf-8")
        status, _, errors, _ = command("run", "compare.yaml", "--store", "runs/1", cwd=folder)
        assert status == 2
        assert name.removesuffix(".py") in errors
    finally:
        (folder / name).write_text(text, encoding="utf-8")
        os.utime(folder / name)
