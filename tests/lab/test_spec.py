"""Specs: what is right is read, from wherever it comes. (What is wrong: test_lab_spec_errors.)"""

import json

import pytest
import yaml
from lab_kit import raw, spec
from pydantic import ValidationError

from prunery.errors import ChoiceError, PruneryError, SpecError
from prunery.lab.spec import Spec, from_plain, load, load_all, plain
from prunery.lab.spec_parts import Method
from prunery.lab.spec_source import names
from prunery.registry import Choice


def test_defaults_come_from_the_criterion():
    found = spec(
        methods=[{"criterion": c} for c in ("random", "magnitude", "snip", "grasp", "synflow")]
    ).methods
    assert [m.at for m in found] == ["trained", "trained", "init", "init", "init"]
    assert [m.name for m in found] == ["random", "magnitude", "snip", "grasp", "synflow"]
    assert [len(m.levels(0.9)) for m in found] == [1, 1, 1, 1, 100]
    after, whole = Choice("finetune"), Choice("finetune", {"training": {"epochs": 4}})  # 2 before and 2 after
    assert [m.recovery for m in found] == [(after,), (after,), (whole,), (whole,), (whole,)]


@pytest.mark.parametrize(
    ("choices", "name"),
    [
        ({"criterion": "grasp(temperature=100)"}, "grasp(temperature=100)"),
        ({"criterion": {"name": "grasp", "temperature": 200.0}}, "grasp"),
        ({"criterion": "magnitude", "granularity": "filter", "scope": "layer"}, "magnitude filter layer"),
        ({"criterion": "magnitude", "at": "init", "floor": 0.05}, "magnitude at init floor 0.05"),
        (
            {"criterion": "snip", "recovery": {"name": "finetune", "training": {"epochs": 5}}},
            "snip finetune(epochs=5)",
        ),
        (
            {"criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.1, 0.2, 0.3, 0.4]}},
            "magnitude iterative(levels=0.1/…/0.4)",
        ),
    ],
)
def test_names_are_made_from_the_choices(choices, name):
    assert Method.model_validate(choices).name == name


def test_two_spellings_of_one_method_are_equal():
    one = {"criterion": {"name": "grasp", "temperature": 100}, "recovery": {"name": "rewind", "to": 0}}
    other = {"criterion": "grasp(temperature=100)", "recovery": "rewind", "schedule": None, "floor": 0.0}
    del other["schedule"]
    assert spec(methods=[one]) == spec(methods=[other])


def test_filters_go_within_layers_and_spare_the_output_by_default():
    def choices(**more):
        method = Method.model_validate({"criterion": "magnitude", **more})
        return method.scope, method.exclude, method.name

    one = Choice("layer", {"least": 1})
    assert choices(granularity="filter") == (one, ("@output",), "magnitude filter")
    assert choices(granularity="filter", scope=None, exclude=None) == choices(granularity="filter")
    assert choices(granularity="filter", exclude=[]) == (one, (), "magnitude filter")
    assert choices(granularity="filter", scope="global")[0] == Choice("global")
    assert choices(granularity="filter", scope="global")[2] == "magnitude filter global"
    assert choices() == (Choice("global"), (), "magnitude")
    assert choices(exclude=["fc1"])[1] == ("fc1",)
    stored = plain(spec(methods=[{"criterion": "magnitude", "granularity": "filter"}]))["methods"][0]
    assert (stored["scope"], stored["exclude"]) == ({"name": "layer", "least": 1}, ["@output"])


def test_sparsities_and_seeds_have_many_forms():
    found = spec(sparsities=[0.5, "90%", "20x", "density=0.02", "compression=2"], seeds=3)
    assert found.sparsities == (0.5, 0.9, 0.95, 0.98, 0.99)
    assert found.seeds == (0, 1, 2)
    assert spec(seeds=[7, 3]).seeds == (7, 3)


def test_factories_are_taken_by_their_form():
    found = from_plain({**raw(), "task": {**raw()["task"], "model": "my.nets:tiny", "data": "my.sets:mine"}})
    assert (found.task.model, found.task.data) == ("my.nets:tiny", "my.sets:mine")


def test_plain_data_give_back_the_spec():
    before = spec(
        methods=[
            {"criterion": "grasp(temperature=100)", "schedule": {"name": "iterative", "levels": ["50%"]}}
        ],
        threads=2,
    )
    assert from_plain(json.loads(json.dumps(plain(before)))) == before


def test_a_spec_cannot_be_changed():
    with pytest.raises(ValidationError):
        spec().seeds = (1,)


def written(tmp_path, data, name="my study.yaml"):
    path = tmp_path / name
    path.write_text(yaml.safe_dump(data))
    return str(path)


def test_a_file_names_the_study_unless_it_does_itself(tmp_path):
    assert load(written(tmp_path, raw())).name == "small"
    assert load(written(tmp_path, {k: v for k, v in raw().items() if k != "name"})).name == "my-study"


def test_overrides_change_values_and_nothing_else(tmp_path):
    path = written(tmp_path, raw())
    sets = [
        "task.training.epochs=7",
        "methods.0.floor=0.05",
        "methods[1].recovery.training.epochs=3",
        "seeds=[5]",
    ]
    found = load(path, sets)
    assert found.task.training.epochs == 7
    assert found.methods[0].floor == 0.05
    assert found.training_of(found.methods[1]).epochs == 3
    assert found.training_of(found.methods[0]).epochs == 7
    assert found.seeds == (5,)
    assert found.sparsities == load(path).sparsities
    assert load(path, ["sparsities=[90%, 1e-1]"]).sparsities == (0.9, 0.1)


def test_an_override_of_an_option_is_of_the_choice_that_would_be_there(tmp_path):
    path = written(tmp_path, raw(methods=[{"criterion": "magnitude", "granularity": "filter"}]))
    assert load(path, ["methods.0.scope.least=2"]).methods[0].scope == Choice("layer", {"least": 2})
    path = written(tmp_path, raw(methods=[{"criterion": "magnitude", "recovery": ["bn", "finetune"]}]))
    told = load(path, ["methods.0.recovery.1.training.epochs=3"])
    assert [t and t.epochs for t in told.trainings_of(told.methods[0])] == [None, 3]


def test_an_override_does_not_reach_an_aliased_twin(tmp_path):
    path = tmp_path / "twin.yaml"
    text = yaml.safe_dump(
        raw(methods=[{"criterion": "snip", "recovery": "X"}, {"criterion": "grasp", "recovery": "Y"}])
    )
    text = text.replace("recovery: X", "recovery: &r {name: finetune, training: {epochs: 4}}").replace(
        "recovery: Y", "recovery: *r"
    )
    path.write_text(text)
    found = load(str(path), ["methods.0.recovery.training.epochs=9"])
    assert [found.training_of(m).epochs for m in found.methods] == [9, 4]


@pytest.mark.parametrize(
    ("override", "found"),
    [
        ("seeds", "not of the form"),
        ("methods.9.floor=0", "no '9' in a list of 2"),
        ("seeds.a.b=1", "no 'a' in 2"),
        ("task.trainig.epochs=2", "did you mean 'training'?"),
    ],
)
def test_overrides_that_cannot_be(tmp_path, override, found):
    with pytest.raises(SpecError) as caught:
        load(written(tmp_path, raw()), [override])
    assert found in str(caught.value)


FUNCTIONS = f"""
from prunery.lab.spec_source import names
from prunery.lab.spec import Spec
def plain(): return {raw()!r}
def whole(): return Spec(**{raw()!r})
def wrong(): return Spec(**{raw(seeds=0)!r})
def raises(): 1 / 0
def number(): return 3
"""


def test_functions_give_specs_too(tmp_path):
    path = tmp_path / "studies.py"
    path.write_text(FUNCTIONS)
    assert load(f"{path}:plain") == load(f"{path}:whole") == spec()
    assert load(f"{path}:whole", ["seeds=1"]).seeds == (0,)
    for name, found in [
        ("wrong", "seeds 0"),
        ("raises", "ZeroDivisionError"),
        ("number", "is int"),
        ("plan", "did you mean 'plain'?"),
    ]:
        with pytest.raises(SpecError, match=f"{name}.*") as caught:
            load(f"{path}:{name}")
        assert found in str(caught.value)


def test_named_studies_are_found_and_sound():
    assert {"demo", "demo-digits", "lenet300-iterative"} <= set(names())
    parts = {name: [spec.name for spec in load_all(f"study:{name}")] for name in names()}
    for name, own in parts.items():
        assert own == [name] or all(part.startswith(f"{name}-") for part in own)
    assert isinstance(load("study:demo", ["seeds=1"]), Spec)
    with pytest.raises(ChoiceError, match="did you mean 'demo'"):
        load("study:dem")
    with pytest.raises(SpecError, match="did you mean 'study:demo'"):
        load("demo")


@pytest.mark.parametrize("source", ["nowhere.yaml", "nowhere.py:f", "."])
def test_a_source_that_is_not_there(source, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(PruneryError):
        load(source)


def test_every_arm_of_the_demo_trains_equally_long():
    for name in ("demo", "demo-digits"):
        found = load(f"study:{name}")
        dense = found.task.training.epochs
        total = {found.training_of(m).epochs + (dense if m.at == "trained" else 0) for m in found.methods}
        assert len(total) == 1
