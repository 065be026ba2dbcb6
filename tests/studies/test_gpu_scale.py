"""The scale gpu: one seed in parts, each short enough for a GPU that is lent for minutes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from lab_kit import HERE

from prunery.errors import ChoiceError
from prunery.lab import archive
from prunery.lab.plan import plan
from prunery.lab.spec import load, load_all

STUDIES = (
    "one-shot-vs-iterative",
    "five-criteria",
    "cifar100",
    "no-retraining",
    "structure-and-learning-rate",
)
SPECS = [spec for study in STUDIES for spec in load_all(f"study:{study}", scale="gpu")]
LIMIT = 480.0  # seconds

# What one H100 is assumed to take: nobody has measured it yet. Seconds of a training step (its kernels are
# too small to fill the card, so that a step takes as long as they take to be started), and of evaluating
# 1 000 images in single precision.
STEP = {"resnet18": 0.009, "resnet50": 0.022, "vgg16": 0.004, "vgg16_bn": 0.006, "cnn8_bn": 0.002}
THOUSAND = {"resnet18": 0.04, "resnet50": 0.08, "vgg16": 0.02, "vgg16_bn": 0.02, "cnn8_bn": 0.005}
# Loading, saving, counting costs and packing of every step, which grow with the weights.
AROUND = {"resnet18": 1.5, "resnet50": 2.5, "vgg16": 1.5, "vgg16_bn": 1.5, "cnn8_bn": 0.7}
TRAIN, VALIDATION, TEST = 45_000, 5_000, 10_000


def seconds(step):
    """What a step takes: its training, with a look at validation (and test) after each epoch; its reading."""
    args, net = step.args, step.args["model"]
    read = TRAIN + VALIDATION + 2 * TEST if step.kind == "measure" else 0
    steps = 0
    if step.epochs:
        steps = step.epochs * -(-TRAIN // args["training"]["batch"])
        read = step.epochs * (VALIDATION + (TEST if args.get("test_curves") else 0))
    return steps * STEP[net] + read / 1000 * THOUSAND[net] + AROUND[net]


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_part_fits_into_eight_minutes_of_an_h100(spec):
    planned = plan(spec)
    taken = sum(map(seconds, planned.steps.values()))
    assert taken < LIMIT, f"{taken:.0f} s, {planned.epochs()} epochs, {len(planned.steps)} steps"


@pytest.mark.parametrize("spec", SPECS, ids=lambda spec: spec.name)
def test_a_part_is_one_seed_without_controls_on_all_images(spec):
    assert spec.name.endswith("-gpu")
    assert (spec.seeds, spec.controls, spec.task.images) == ((0,), (), None)
    assert spec.task.training.precision == ("float32" if spec.task.model == "cnn8_bn" else "bfloat16")


def test_every_cut_of_the_longest_chain_is_measured():
    for criterion in ("random", "magnitude"):
        plans = [plan(load(f"study:one-shot-vs-iterative/{criterion}-{to}", scale="gpu")) for to in (75, 90)]
        steps = {key: step for planned in plans for key, step in planned.steps.items()}
        chain = [c for p in plans for c in p.cells if c.method == f"{criterion} iterative overshooting"]
        assert [round(100 * cell.sparsity, 2) for cell in chain][::7] == [10.0, 56.95, 79.41, 90.15]
        assert len(chain) == 22
        cuts = {key for cell in chain for key in cell.path if steps[key].kind == "prune"}
        assert len(cuts) == 22, "the chain is one"


def test_all_compressions_of_both_networks_are_in_some_part():
    for study, data in (("five-criteria", "cifar10"), ("cifar100", "cifar100")):
        specs = [spec for spec in SPECS if spec.name.startswith(f"{study}-")]
        assert {spec.task.data for spec in specs} == {data}
        for net in ("vgg16", "vgg16_bn"):
            levels = [s for spec in specs if spec.task.model == net for s in spec.sparsities]
            assert len(levels) == len(set(levels)) == 6


@pytest.mark.parametrize("name", ["channels", "ladder"])
def test_other_studies_have_no_such_scale(name):
    with pytest.raises(ChoiceError, match="scale"):
        load_all(f"study:{name}", scale="gpu")


def test_the_script_runs_parts_until_the_time_is_over_and_keeps_what_is_done(tmp_path):
    part, later = "structure-and-learning-rate/lr0.8", "five-criteria/vgg16-mild"
    few = ("--set", "task.data=custom_sets:small_images", "--set", "task.training.epochs=30000")
    told = ["-o", "out", "--store", "s", "--parts", part, later, *few]
    script = Path(__file__).parents[2] / "benchmarks" / "gpu_studies.py"
    path = os.pathsep.join([str(HERE), *filter(None, [os.environ.get("PYTHONPATH")])])
    done = subprocess.run(
        [sys.executable, str(script), *told, "--minutes", "0.75"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=200,
        env={**os.environ, "PYTHONPATH": path},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert f"{part}: stopped" in done.stdout
    assert f"not begun: {later}" in done.stdout
    kept = archive.opened(tmp_path / "out" / "records.jsonl.gz")
    assert kept.studies() == ("structure-and-learning-rate-lr0.8-gpu",)
    assert [kept.record(key).kind for key in kept.finished()] == ["init"]
