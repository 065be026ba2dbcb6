"""What only data and model can tell is said before anything is trained."""

import time

import pytest
import torch
from lab_kit import do, raw

from prunery.errors import DataError, ModelError, PatternError, SparsityError, SpecError, StoreError
from prunery.lab.plan import plan
from prunery.lab.record import Record
from prunery.lab.spec import from_plain
from prunery.lab.spec_source import overridden
from prunery.lab.store import Store
from prunery.lab.work import preflight
from prunery.lab.work.context import images
from prunery.lab.work.provenance import origin
from prunery.lab.work.trial import seconds_by_precision
from prunery.models.code import code


def check(tmp_path, *overrides, store=None):
    spec = from_plain(overridden(raw(), overrides))
    preflight.check(spec, plan(spec), store or Store(tmp_path / "store"))


@pytest.mark.parametrize(
    "overrides",
    [
        (),
        ("task.model=lab_nets:NotOnMeta",),
        ("methods.0.exclude=[fc1*, '@output']",),
        ("methods.0.floor=0.1",),
        ("methods.0.granularity=filter", "methods.0.scope=layer", "methods.0.floor=0.05"),
    ],
)
def test_what_can_run_passes(tmp_path, overrides):
    check(tmp_path, *overrides)


WRONG = {
    "a pattern that matches nothing": ("methods.1.exclude=[conv9]", PatternError, "method 'snip'", "conv9"),
    "everything excluded": ("methods.0.exclude=['*']", PatternError, "method 'magnitude'", "all 3"),
    "a factory that raises": ("task.model=lab_nets:raises", ModelError, "'lab_nets:raises'", "no such luck"),
    "a factory without a model": ("task.model=lab_nets:no_module", ModelError, "'lab_nets:no_module'", "str"),
    "a module that is not there": ("task.model=nowhere:net", ModelError, "'nowhere:net'", "no module"),
    "a model for other images": ("task.model=lab_nets:narrow", ModelError, "(1, 8, 8)", "calling it raises"),
    "a model with too few outputs": ("task.model=lab_nets:two_classes", ModelError, "(1, 8, 8)", "(2, 2)"),
    "a model for larger images": ("task.model=vgg16", ModelError, "vgg16", "8"),
    "data that are not there": ("task.data=nowhere:images", DataError, "'nowhere:images'", "no module"),
    "too few examples to score on": ("task.data=lab_nets:few", DataError, "method 'snip'", "of class"),
    "a floor that rounding breaks": (
        "methods.0.floor=0.041",  # of 300 filters, 13; 0.041 of them are 12
        SparsityError,
        "method 'magnitude'",
        "the floors keep",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_run_is_said(tmp_path, case):
    override, error, asked, problem = WRONG[case]
    more = ["methods.0.granularity=filter", "sparsities=[0.959]"] if "rounding" in case else []
    with pytest.raises(error) as caught:
        check(tmp_path, override, *more)
    assert asked in caught.value.asked
    assert problem in str(caught.value)
    assert caught.value.do


HALF = "task.training.precision=bfloat16"


def test_bfloat16_is_refused_with_the_seconds_of_both_where_it_is_slower(tmp_path, monkeypatch):
    monkeypatch.setattr(preflight, "seconds_by_precision", lambda *_, **__: {"float32": 1, "bfloat16": 1.5})
    check(tmp_path)
    with pytest.raises(SpecError, match=r"1\.5 s in bfloat16 and 1 s in float32") as caught:
        check(tmp_path, HALF)
    assert "'lenet300'" in caught.value.asked
    monkeypatch.setattr(preflight, "seconds_by_precision", lambda *_, **__: {"float32": 1, "bfloat16": 0.5})
    check(tmp_path, HALF)


def test_a_study_that_was_begun_in_bfloat16_goes_on_where_that_is_slower(tmp_path, monkeypatch):
    spec = from_plain(overridden(raw(), [HALF]))
    first = next(step for step in plan(spec).steps.values() if step.kind == "train")
    store = Store(tmp_path / "store")
    store.partial(first.key)
    monkeypatch.setattr(preflight, "seconds_by_precision", lambda *_, **__: {"float32": 1, "bfloat16": 1.5})
    check(tmp_path, HALF, store=store)


def test_a_step_is_timed_in_both_precisions():
    step = next(s for s in plan(from_plain(raw())).steps.values() if s.kind == "train")
    threads = torch.get_num_threads()
    found = seconds_by_precision(step, seconds=0.01)
    assert found.keys() == {"float32", "bfloat16"}
    assert all(0 < seconds < 10 for seconds in found.values())
    assert torch.get_num_threads() == threads


def test_a_set_that_cannot_be_had_is_said_in_three_seconds(tmp_path, monkeypatch):
    monkeypatch.setenv("PRUNERY_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("PRUNERY_DATA", raising=False)
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    began = time.process_time()
    with pytest.raises(DataError) as caught:
        check(tmp_path, "task.data=cifar10")
    assert "PRUNERY_DATA" in str(caught.value)
    assert time.process_time() - began < 3


def test_a_mirror_that_lacks_the_set_is_said(tmp_path):
    spec = from_plain(overridden(raw(), ["task.data=mnist"]))
    (tmp_path / "mirror").mkdir()
    with pytest.raises(DataError):
        preflight.check(spec, plan(spec), Store(tmp_path / "s"), data_dir=str(tmp_path / "mirror"))


def test_a_store_of_other_code_is_not_gone_on_with(tmp_path):
    store, spec = Store(tmp_path / "store"), from_plain(overridden(raw(), ["task.model=lab_nets:normed"]))
    init = next(iter(plan(spec).steps.values()))
    environment = origin(init.args)
    store.commit(Record(init.key, init.kind, init.args, environment=environment))
    preflight.check(spec, plan(spec), store)
    environment["model"]["code"] = "other"
    store.commit(Record(init.key, init.kind, init.args, environment=environment))
    with pytest.raises(StoreError, match="the code of that model has changed"):
        preflight.check(spec, plan(spec), store)


def test_code_is_what_the_module_says_not_how(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(tmp_path)
    body = "from torch import nn\n\ndef net():\n    return nn.Linear(64, 10)\n"
    texts = {
        "own_a": body,
        "own_b": "# a comment\n" + body.replace("(64, 10)", "( 64,\n 10 )"),
        "own_c": body.replace("Linear(64, 10)", "Linear(64, 10, bias=False)"),
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    a, b, c = (code(f"{name}:net") for name in texts)
    assert a is not None
    assert a == b != c
    assert code("lenet300") is None


def test_images_that_change_between_steps_stop_the_path(tmp_path):
    spec = from_plain(overridden(raw(), ["task.data=lab_nets:draws_anew", "task.validation=10"]))
    init, train, *_ = plan(spec).steps.values()
    assert (init.kind, train.kind) == ("init", "train")
    store = Store(tmp_path / "store")
    for step in (init, init):  # the same process has decoded it once
        do(step, store)
    images.cache_clear()
    with pytest.raises(StoreError, match="saw other images"):
        do(train, store)
    assert not store.has(train.key)


def test_a_store_of_other_images_is_not_gone_on_with(tmp_path):
    store, spec = Store(tmp_path / "store"), from_plain(raw())
    init = next(iter(plan(spec).steps.values()))
    for content in (images("digits").content, "other"):
        environment = {"data": {"content": content}}
        store.commit(Record(init.key, init.kind, init.args, environment=environment))
        if content == "other":
            with pytest.raises(StoreError, match="saw other images"):
                check(tmp_path, store=store)
        else:
            check(tmp_path, store=store)
