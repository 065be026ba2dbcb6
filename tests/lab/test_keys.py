"""Keys: what enters them and what does not, that they never move, and that many are made at once."""

import time
from hashlib import sha256

import pytest
from lab_kit import planned, raw, spec

from prunery.lab.plan import key_of, plan
from prunery.lab.spec import from_plain

TASK = raw()["task"]
CHAIN = {"name": "imp", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5, 0.8]}}


# one step of each kind as keys have always been; a failure here loses everybody's records
GOLDEN = {
    "init": "0839b3fa8de293c5",
    "train": "fb1478a8bb5e0ae8",
    "prune": "f2aa54aa24eda768",
    "recover": "32bebc9d0e6ebabb",
    "measure": "fbe19df9f20db98a",
}


def test_keys_never_move():
    found = planned(seeds=1, sparsities=[0.9], methods=[{"criterion": "snip"}])
    assert {step.kind: key for key, step in found.steps.items()} == GOLDEN
    text = '["init",1,{"data":"digits","model":"lenet300","seed":0},[]]'
    assert sha256(text.encode()).hexdigest()[:16] == GOLDEN["init"]


def test_defaults_do_not_enter_the_key():
    usual = {"momentum": 0.9, "milestones": [], "precision": "float32"}
    whole = planned(
        threads=1,
        task={**TASK, "validation": 0.1, "training": {**TASK["training"], **usual}},
        methods=[
            {
                "criterion": "magnitude",
                "granularity": "weight",
                "scope": "global",
                "floor": 0.0,
                "exclude": [],
            },
            {"criterion": "snip", "schedule": "one_shot", "at": "init", "recovery": "finetune"},
        ],
    )
    assert set(whole.steps) == set(planned().steps)


def test_names_and_the_order_of_methods_do_not_enter_the_key():
    methods = [{"name": "a", "criterion": "snip"}, {"name": "b", "criterion": "magnitude"}]
    unnamed = [{"criterion": "magnitude"}, {"criterion": "snip"}]
    assert set(planned(name="other", methods=methods).steps) == set(planned(methods=unnamed).steps)
    assert set(planned(seeds=[1, 0]).steps) == set(planned().steps)


@pytest.mark.parametrize(
    "changes",
    [
        {"threads": 2},
        {"seeds": [5, 6]},
        {"task": {**TASK, "model": "fc"}},
        {"task": {**TASK, "data": "mnist"}},
    ],
)
def test_what_a_result_depends_on_changes_every_key(changes):
    assert not set(planned(**changes).steps) & set(planned().steps)


def test_training_changes_all_but_what_comes_before_it():
    longer = planned(task={**TASK, "training": {**TASK["training"], "epochs": 3}})
    shared = set(longer.steps) & set(planned().steps)
    assert {planned().steps[k].kind for k in shared} == {"init", "prune"}  # snip's cuts, at init


def test_the_precision_of_a_training_enters_its_key():
    half = planned(task={**TASK, "training": {**TASK["training"], "precision": "bfloat16"}})
    shared = set(half.steps) & set(planned().steps)
    assert {planned().steps[k].kind for k in shared} == {"init", "prune"}  # snip's cuts, at init


def test_arguments_that_enter_the_key():
    args = {"model": "lenet300", "data": "digits", "seed": 0, "threads": 1}
    assert key_of("init", args, ()) == key_of("init", {"model": "lenet300", "data": "digits", "seed": 0}, ())
    others = [
        key_of("init", args, ("0123456789abcdef",)),
        key_of("measure", args, ()),
        key_of("init", {**args, "seed": 1}, ()),
    ]
    assert len({key_of("init", args, ()), *others}) == 4
    assert key_of("init", {**args, "seed": 0.0}, ()) == key_of("init", args, ()), "0.0 is 0"


def test_filters_resolve_before_the_key():
    def cut(**more):
        found = planned(methods=[{"criterion": "magnitude", "granularity": "filter", **more}], seeds=1)
        return next(key for key, step in found.steps.items() if step.kind == "prune")

    told = {"scope": {"name": "layer", "least": 1}, "exclude": ["@output"]}
    assert cut() == cut(**told)
    assert len({cut(), cut(exclude=[]), cut(scope="layer"), cut(scope="global", exclude=[])}) == 4


def large():
    """A spec of more than 33 500 steps."""
    criteria = ("magnitude", "snip", "grasp", "synflow")
    methods = [
        {"name": f"{c} {s} {f}", "criterion": c, "scope": s, "floor": f}
        for c in criteria
        for s in ("global", "layer")
        for f in (0.0, 0.001, 0.002)
    ]
    return raw(methods=methods, sparsities=[round(0.01 * i, 2) for i in range(1, 61)], seeds=8)


def test_keys_are_those_of_their_contents_however_they_were_made():
    chain = {"name": "rw", "criterion": "magnitude", "schedule": "iterative(rounds=3)", "recovery": "rewind"}
    listed = {
        "name": "list",
        "criterion": "magnitude",
        "recovery": ["bn", {"name": "rewind", "train": False}],
    }
    during = {
        "name": "gmp",
        "criterion": "magnitude",
        "schedule": {"name": "gradual", "training": {"epochs": 3}},
    }
    task = {**TASK, "images": 100, "validation": 0.2}
    changes = {"sanity": ["shuffle", "reinit", "invert"], "threads": 2, "test_curves": True, "task": task}
    found = planned(methods=[CHAIN, chain, listed, during], seeds=[3, 0], corruptions=["contrast"], **changes)
    timed = planned(methods=[CHAIN, chain], seeds=[3, 0], forms=["eager"], **changes)
    found = {**found.steps, **timed.steps}
    for key, step in found.items():
        assert key == key_of(step.kind, step.args, step.parents), step


def test_a_large_plan_is_made_at_once():
    read = from_plain(large())
    began = time.process_time()
    found = plan(read)
    seconds = time.process_time() - began
    assert len(found.steps) > 33_500
    assert seconds < 3
    some = list(found.steps.items())[::1000]
    assert all(key == key_of(step.kind, step.args, step.parents) for key, step in some)


def test_a_larger_study_reuses_the_smaller_one():
    larger = plan(from_plain(raw(sparsities=[0.5, 0.9, 0.95], seeds=3)))
    assert set(planned().steps) < set(larger.steps)
    assert spec().sparsities == (0.5, 0.9)
