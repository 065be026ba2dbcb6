"""Weights of a user's own in place of the dense training: their digest in keys, their copy in the store."""

import hashlib
import shutil

import pytest
import torch
import yaml
from cli_kit import prunery
from lab_kit import ONE_EPOCH, do, raw
from safetensors.torch import load_file, save_file

from prunery.errors import ModelError, SpecError, StoreError
from prunery.lab import pretrained
from prunery.lab.plan import plan
from prunery.lab.spec import from_plain, plain
from prunery.lab.store import Store
from prunery.lab.work import preflight
from prunery.models.build import build
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text.cautions import cautions_of

SGD = {"optimizer": "sgd", "learning_rate": 0.1}
REWIND = {"name": "rw", "criterion": "magnitude", "recovery": {"name": "rewind", "training": {"epochs": 1}}}


def state(seed=7):
    return build("lenet300", shape=(1, 8, 8), classes=10, seed=seed).state_dict()


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file of weights in the working folder."""
    monkeypatch.chdir(tmp_path)
    save_file(state(), "net.safetensors")
    return tmp_path / "net.safetensors"


def study(weights="net.safetensors", *, epochs=0, **changes):
    task = {**ONE_EPOCH, "training": {**SGD, "epochs": epochs}, **({"weights": weights} if weights else {})}
    finetune = {"name": "finetune", "training": {"epochs": 1}}
    methods = [{"criterion": "magnitude", "recovery": finetune}]
    return from_plain(raw(**{"task": task, "methods": methods, "sparsities": [0.5], "seeds": 1, **changes}))


def keys(spec):
    return set(plan(spec).steps)


def train_of(spec):
    return next(step for step in plan(spec).steps.values() if step.kind == "train")


def test_the_digest_enters_the_key_and_the_path_does_not(file):
    here = study()
    assert here.task.weights.sha256 == hashlib.sha256(file.read_bytes()).hexdigest()
    shutil.copy(file, "other.safetensors")
    assert keys(study("other.safetensors")) == keys(here)
    save_file(state(8), "other.safetensors")
    others = keys(study("other.safetensors"))
    assert {plan(here).steps[key].kind for key in keys(here) & others} == {"init"}
    assert "weights" not in train_of(study(None)).args
    file.unlink()
    assert from_plain(plain(here)) == here, "what is stored needs no file"


def test_the_dense_network_is_the_file_and_training_goes_on_from_it(file, tmp_path):
    store = Store(tmp_path / "store")
    for epochs in (0, 1):
        made = plan(study(epochs=epochs))
        pretrained.keep(store, study().task.weights)
        for step in made.steps.values():
            if not store.has(step.key):
                do(step, store)
        train = train_of(study(epochs=epochs))
        found = load_file(store.file(train.key, "weights.safetensors"))
        same = all(torch.equal(found[name], value) for name, value in state().items())
        assert same == (epochs == 0)
        assert store.record(train.key).cost["epochs"] == epochs
    measured = [store.record(cell.key) for cell in plan(study()).cells]
    assert all(record.number("top1", "test") is not None for record in measured)
    told = frame(plan(study()), store)
    assert set(told["pretrained"]) == {study().task.weights.sha256}
    assert any("one pretrained network" in said for said in cautions_of(told, groups_of(told))) == (
        told["seed"].nunique() > 1
    )


def test_a_file_of_torch_is_read_too_and_nothing_in_it_runs(file, tmp_path):
    torch.save({"state_dict": {f"module.{k}": v for k, v in state().items()}}, "net.pt")
    asked, store = study("net.pt"), Store(tmp_path / "store")
    preflight.check(asked, plan(asked), None)
    pretrained.keep(store, asked.task.weights)
    init, train = list(plan(asked).steps.values())[:2]
    do(init, store)
    do(train, store)
    torch.save(torch.nn.Linear(2, 2), "net.pt")  # a pickled module
    with pytest.raises(ModelError, match=r"the weights net\.pt"):
        preflight.check(study("net.pt"), plan(study("net.pt")), None)


def test_what_starts_from_initial_weights_keeps_its_own_controls(file):
    made = plan(study(epochs=1, methods=[REWIND]))
    trains = [step for step in made.steps.values() if step.kind == "train"]
    assert sorted("weights" in step.args for step in trains) == [False, True]
    (control,) = [cell for cell in made.cells if cell.role == "dense_extra"]
    assert control.method == "dense, 1 epochs"
    assert "weights" not in made.steps[control.path[1]].args


@pytest.mark.parametrize(
    ("weights", "found"),
    [
        ("nowhere.safetensors", "it cannot be read: No such file"),
        ("net.bin", "the name does not end in .safetensors or .pt"),
        (7, "task.weights"),
        ({"file": "net.safetensors", "sha256": "abc"}, "task.weights.sha256"),
    ],
)
def test_a_file_that_cannot_be_is_said_with_its_place(file, weights, found):
    with pytest.raises(SpecError, match=r"task\.weights") as caught:
        study(weights)
    assert found in str(caught.value)


@pytest.mark.parametrize("wrong", ["shapes", "names", "no file of weights"])
def test_weights_of_another_network_are_refused_before_a_run(file, wrong):
    if wrong == "shapes":
        save_file({k: torch.zeros(3) for k in state()}, "net.safetensors")
    elif wrong == "names":
        save_file({f"x.{k}": v for k, v in state().items()}, "net.safetensors")
    else:
        file.write_bytes(b"hello")
    with pytest.raises(ModelError, match=r"the weights net\.safetensors.*Give the weights of lenet300"):
        preflight.check(study(), plan(study()), None)


def test_a_file_that_changed_or_went_stops_a_study_that_has_no_copy(file, tmp_path):
    asked, store = study(), Store(tmp_path / "store")
    save_file(state(8), "net.safetensors")
    for _ in range(2):
        with pytest.raises(SpecError, match="the study was begun with the sha256"):
            preflight.check(asked, plan(asked), store)
        with pytest.raises(SpecError, match="the study was begun with the sha256"):
            pretrained.keep(store, asked.task.weights)
        file.unlink(missing_ok=True)
    save_file(state(), "net.safetensors")
    with pytest.raises(StoreError, match="there is no copy in the store"):
        pretrained.kept(store, asked.task.weights.sha256)
    pretrained.keep(store, asked.task.weights)
    file.unlink()
    preflight.check(asked, plan(asked), store)  # the copy serves
    pretrained.kept(store, asked.task.weights.sha256).write_bytes(b"altered")
    with pytest.raises(StoreError, match="the copy in the store was altered"):
        pretrained.kept(store, asked.task.weights.sha256)


def test_a_study_with_weights_runs_and_reports(file, tmp_path):
    task = {**ONE_EPOCH, "training": {**SGD, "epochs": 0}, "weights": "net.safetensors"}
    (tmp_path / "s.yaml").write_text(yaml.safe_dump(raw(task=task, sparsities=[0.5], seeds=1)))
    status, out, errors, _ = prunery("run", "s.yaml", "--store", "s", "--workers", 1, cwd=tmp_path)
    assert status == 0, out + errors
    file.unlink()
    status, out, errors, _ = prunery("report", "s", "-o", "r", cwd=tmp_path)
    assert status == 0, out + errors
    save_file(state(8), "net.safetensors")
    status, out, _, _ = prunery("plan", "s.yaml", "--store", "s", "--no-timing", cwd=tmp_path)
    assert "init     1    1     0" in out, "a changed file is another study"
    assert "train    1    0     1" in out
