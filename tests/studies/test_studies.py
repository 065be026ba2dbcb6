"""Each study that answers a question runs at smoke and is reported whole; larger ones are sound plans."""

import csv
import time
from itertools import product

import pytest
from cli_kit import prunery

from prunery.errors import ChoiceError, SpecError
from prunery.lab.plan import plan
from prunery.lab.spec import load, load_all

QUESTIONS = (
    "channels",
    "ladder",
    "no-retraining",
    "five-criteria",
    "cifar100",
    "structure-and-learning-rate",
    "one-shot-vs-iterative",
)
MEASURED = {"done", "collapsed", "diverged"}


@pytest.mark.parametrize("name", QUESTIONS)
def test_smoke_runs_and_reports(name, tmp_path):
    began = time.monotonic()
    status, said, errors, _ = prunery(
        "run", f"study:{name}", "--scale", "smoke", "--store", "s", cwd=tmp_path
    )
    assert status == 0, said + errors
    assert time.monotonic() - began < 120
    asked = (f"study:{name}", "--scale", "smoke", "--store", "s")
    status, said, errors, torch = prunery("report", *asked, "-o", "r", cwd=tmp_path)
    assert (status, torch) == (0, False), said + errors
    specs = load_all(f"study:{name}", scale="smoke")
    for spec in specs:
        folder = tmp_path / "r" / spec.name if len(specs) > 1 else tmp_path / "r"
        rows = list(csv.DictReader((folder / "cells.csv").open()))
        assert len(rows) == len(plan(spec).cells)
        assert {row["status"] for row in rows} <= MEASURED
        assert all(spec.name in (folder / file).read_text() for file in ("table.md", "report.html"))


@pytest.mark.parametrize("scale", ["cpu", "full"])
@pytest.mark.parametrize("name", QUESTIONS)
def test_larger_scales_are_sound_and_say_their_size(name, scale):
    for spec in load_all(f"study:{name}", scale=scale):
        assert spec.name.startswith(name)
        assert spec.name.endswith("-cpu") == (scale == "cpu")
        assert plan(spec).epochs() > 0


@pytest.mark.parametrize("name", QUESTIONS)
def test_cpu_is_the_scale_without_saying(name):
    assert load_all(f"study:{name}") == load_all(f"study:{name}", scale="cpu")


def test_chains_land_on_their_targets_and_overshoot_where_published():
    spec = load("study:one-shot-vs-iterative")
    chains = {m.name: [m.levels(s) for s in spec.sparsities_of(m)] for m in spec.methods}
    assert [len(levels) for levels in chains["magnitude iterative"]] == [7, 14, 22]
    assert [levels[-1] for levels in chains["magnitude iterative"]] == [0.5, 0.75, 0.9]
    over = [round(100 * levels[-1], 2) for levels in chains["random iterative overshooting"]]
    assert over == [52.17, 77.12, 90.15]
    epochs = {m.name: spec.training_of(m).epochs for m in spec.methods}
    assert epochs["magnitude one-shot 22× epochs"] == 22 * epochs["magnitude iterative"]


def test_eighths_are_what_eight_filters_can_be():
    eighths = {}
    for scale in ("smoke", "cpu", "full"):
        spec = load("study:structure-and-learning-rate", scale=scale)
        filters = next(m for m in spec.methods if m.granularity.name == "filter")
        eighths[scale] = [8 * s for s in spec.sparsities_of(filters)]
    assert eighths["full"] == list(range(1, 8))
    assert {*eighths["smoke"], *eighths["cpu"]} < {*eighths["full"]}


def test_the_twelve_curves_of_report_b_are_methods_and_the_dense_network_is_trained_as_there():
    for scale in ("cpu", "full"):
        spec = load("study:structure-and-learning-rate", scale=scale)
        curves = {
            (m.granularity.name, m.schedule.name, spec.training_of(m).learning_rate) for m in spec.methods
        }
        assert curves == set(product(("weight", "filter"), ("one_shot", "iterative"), (0.8, 0.01, 0.0001)))
        training = spec.task.training
        assert (training.learning_rate, training.lr_schedule, training.batch) == (0.8, "constant", 512)
        assert (spec.task.model, spec.task.images, len(spec.seeds)) == ("cnn8_bn", None, 3)


def test_cifar10_is_the_same_work_in_both_studies():
    ours, theirs = (load(f"study:{name}", scale="cpu") for name in ("five-criteria/cnn8", "cifar100/cifar10"))
    assert plan(ours).steps.keys() == plan(theirs).steps.keys()


@pytest.mark.parametrize(
    ("source", "scale", "error", "said"),
    [
        ("study:five-criteria", None, SpecError, "Name one: study:NAME/PART"),
        ("study:five-criteria/fcc", None, SpecError, "did you mean 'fc'"),
        ("study:demo/fc", None, SpecError, "it has no parts"),
        ("study:demo", "smoke", ChoiceError, "'scale' of study 'demo'"),
        ("study:five-criteria", "huge", ChoiceError, "smoke, cpu, full"),
        ("spec.yaml", "cpu", SpecError, "only named studies have scales"),
    ],
)
def test_what_cannot_be_is_said(source, scale, error, said):
    with pytest.raises(error, match=said):
        load(source, scale=scale)
