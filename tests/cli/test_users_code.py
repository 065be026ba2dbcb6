"""Factories of a user's in specs and commands: looked for before anything runs, and run to the end."""

import os

import pytest
import yaml
from cli_kit import prunery
from lab_kit import ONE_EPOCH, raw

TORCH = "import torch\nraise RuntimeError('this code ran')\n"
FILES = {
    "my_model.py": TORCH + "def net(): pass\n",
    "my_data.py": TORCH + "def digits(): pass\n",
    "my_typo.py": "def net(:\n",
    "nets/__init__.py": TORCH,
    "nets/small.py": TORCH + "def net(): pass\n",
}


@pytest.fixture
def folder(tmp_path):
    """A folder with a spec `study.yaml`, and with modules that raise when they are imported."""
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    spec = raw(task={**ONE_EPOCH, "model": "lenet300"}, sparsities=[0.5], seeds=1)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(spec))
    return tmp_path


@pytest.mark.parametrize("command", ["plan", "run"])
@pytest.mark.parametrize(
    ("override", "expected"),
    [
        (
            "task.model=my_modle:net",
            "model 'my_modle:net': there is no module 'my_modle'; did you mean 'my_model'?",
        ),
        ("task.model=nets.smal:net", "there is no module 'nets.smal'; did you mean 'nets.small'?"),
        (
            "task.model=nowhere.nets:net",
            "there is no module 'nowhere'. Install it, or run the command in the folder",
        ),
        ("task.model=my_model:nett", "'my_model' has no 'nett'; did you mean 'net'?"),
        ("task.model=my_typo:net", "importing 'my_typo' raises SyntaxError"),
        ("task.model=s:net", "model 's:net': there is no module 's'"),
        (
            "task.data=my_date:digits",
            "data set 'my_date:digits': there is no module 'my_date'; did you mean 'my_data'?",
        ),
        ("task.data=my_data:digit", "'my_data' has no 'digit'; did you mean 'digits'?"),
    ],
)
def test_a_factory_that_is_not_there_is_refused_before_anything_runs(folder, command, override, expected):
    before = sorted(os.listdir(folder))
    status, out, errors, torch = prunery(command, "study.yaml", "--store", "s", "--set", override, cwd=folder)
    assert (status, out, torch) == (2, "", False)
    assert expected in errors
    assert sorted(os.listdir(folder)) == before


def test_a_plan_with_factories_runs_none_of_their_code(folder):
    for overrides in (
        ("task.model=my_model:net", "task.data=my_data:digits"),
        ("task.model=nets.small:net",),
    ):
        options = [word for override in overrides for word in ("--set", override)]
        status, out, errors, torch = prunery("plan", "study.yaml", *options, cwd=folder)
        assert (status, errors, torch) == (0, "", False)
        assert "dense trainings" in out


def test_a_scan_looks_for_its_factories_first(folder):
    for args in (("my_modle:net", "--data", "digits"), ("lenet300", "--data", "my_date:digits")):
        status, out, errors, torch = prunery("sensitivity", *args, "--untrained", "-o", "out", cwd=folder)
        assert (status, out, torch) == (2, "", False)
        assert "did you mean 'my_" in errors


def test_a_study_of_a_lazy_model_runs_to_its_end_and_a_bad_one_not_at_all(folder):
    options = ("study.yaml", "--store", "s", "--workers", 2, "--set")
    status, _, errors, _ = prunery("run", *options, "task.model=odd_nets:TupleInTraining", cwd=folder)
    assert status == 2
    assert "two images give a tuple" in errors
    assert not (folder / "s").exists()
    status, out, errors, _ = prunery("run", *options, "task.model=odd_nets:lazy", cwd=folder)
    assert (status, errors) == (0, "")
    status, out, errors, _ = prunery("run", *options, "task.model=odd_nets:lazy", cwd=folder)
    assert (status, errors) == (0, "")
    assert "0 steps done" in out
