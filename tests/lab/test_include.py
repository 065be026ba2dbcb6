"""`include` of a method: parameters pruned beside the usual ones; what does not name it stays as it was."""

import pytest
from lab_kit import ONE_EPOCH, do, planned, spec

from prunery.core.masks import Masks
from prunery.errors import MasksError, ModelError, PatternError
from prunery.lab.plan import plan as plan_of
from prunery.lab.spec import from_plain, plain
from prunery.lab.store import Store
from prunery.lab.work import preflight, pruning

TASK = {**ONE_EPOCH, "model": "lab_nets:experts"}
STACKED = {"name": "m", "criterion": "magnitude", "include": ["*.experts"]}
SNIP = {**STACKED, "name": "s", "criterion": "snip"}
DURING = {**STACKED, "name": "g", "schedule": "gradual(cuts=4)"}
USUAL = {"name": "u", "criterion": "magnitude"}
SIZES = {"1.experts": 3840, "1.router.weight": 192, "3.weight": 200}


def done(tmp_path, methods, **changes):
    plan = planned(**{"task": TASK, "sparsities": [0.9], "seeds": 1, "methods": methods, **changes})
    store = Store(tmp_path)
    for step in plan.steps.values():
        do(step, store)
    return plan, store


def cut_of(plan, store, name):
    cell = next(c for c in plan.cells if c.method == name)
    key = [k for k in cell.path if plan.steps[k].kind == "prune"][-1]
    return Masks.load(store.file(key, "masks.safetensors")), store.record(key), store.record(cell.key)


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    """A study of a mixture of experts: cuts at once, by gradients, inside a training, and sanity arms."""
    methods = [STACKED, SNIP, DURING, USUAL]
    controls = {"controls": ["random"], "sanity": ["invert"], "before_recovery": True}
    return done(tmp_path_factory.mktemp("store"), methods, **controls)


NAMES = ("m", "s", "g", "m (shuffled in each layer)", "g (shuffled in each layer)", "m (inverted)")


@pytest.mark.parametrize("name", NAMES)
def test_stacked_experts_are_pruned_with_exact_counts(ran, name):
    masks, record, measured = cut_of(*ran, name)
    assert {key: mask.numel() for key, mask in masks.items()} == SIZES
    assert record.args["include"] == ["*.experts"]
    kept = sum(int(mask.sum()) for mask in masks.values())
    assert kept == record.number("kept").value == 4232 - round(0.9 * 4232)
    assert measured.number("params_kept").value == kept
    assert {row["name"]: row["params_dense"] for row in measured.tables["layers"]} == SIZES
    assert {row["layer"]: row["total"] for row in measured.tables["histograms"]} == SIZES


def test_a_method_without_it_leaves_them_alone(ran):
    masks, record, measured = cut_of(*ran, "u")
    assert set(masks) == {"1.router.weight", "3.weight"}
    assert masks.kept == 392 - round(0.9 * 392)
    assert "include" not in record.args
    assert measured.number("params_kept").value == masks.kept + 3840, "what the study counts is one thing"


def test_the_dense_network_is_counted_with_the_same_weights(ran):
    plan, store = ran
    dense = next(c for c in plan.cells if c.role == "dense")
    assert store.record(dense.key).number("params_dense").value == 4232
    assert store.record(dense.key).number("macs_dense").value == 4232
    assert all("include" not in plan.steps[key].args for key in dense.path[:2]), "trainings are shared"


def test_scoring_counts_what_the_experts_compute(ran):
    record = cut_of(*ran, "s")[1]
    assert record.cost["scoring_macs"] == pruning.scoring_passes(record.args) * 100 * 4232


def test_masks_that_leave_the_experts_out_are_refused(ran, tmp_path, monkeypatch):
    real = pruning.in_training
    monkeypatch.setattr(pruning, "in_training", lambda s, **choices: real(s, **{**choices, "include": ()}))
    with pytest.raises(MasksError, match=r"there is no mask of 1\.experts"):
        done(tmp_path, [DURING])


def test_keys_know_of_it_only_where_it_is_given():
    def keys(**more):
        return set(planned(task=TASK, methods=[{**USUAL, **more}], seeds=1).steps)

    assert keys() == keys(include=None) == keys(include=[])
    assert len({frozenset(keys()), frozenset(keys(include=["a"])), frozenset(keys(include=["b"]))}) == 3
    plan = planned(task=TASK, methods=[USUAL], seeds=1)
    assert not any("include" in step.args for step in plan.steps.values())


def test_a_stored_spec_has_it_only_where_it_is_given():
    def stored(**more):
        return plain(spec(methods=[{**USUAL, **more}]))["methods"][0]

    assert stored() == stored(include=[])
    assert "include" not in stored()
    assert stored(include=["*.experts"])["include"] == ["*.experts"]
    again = spec(methods=[{**USUAL, "include": ["*.experts"]}])
    assert from_plain(plain(again)) == again


def test_the_magnitude_control_prunes_what_the_first_method_does():
    told = spec(task=TASK, methods=[SNIP, USUAL | {"at": "init"}], controls=["magnitude"])
    assert told.compared[-1].include == ("*.experts",)
    assert told.compared[1].include is None


WRONG = {
    "nothing": ("lab_nets:experts", {"include": ["*.expert"]}, PatternError, "it matches no parameter"),
    "a vector": ("lab_nets:experts", {"include": ["1.router.b*"]}, PatternError, "two or more axes"),
    "an excluded one": ("lab_nets:experts", {"include": ["*.experts"], "exclude": ["*"]}, PatternError, "3"),
    "no layer at all": ("lab_nets:Bare", {"include": ["matrix"]}, ModelError, "could be counted"),
    "whole filters": (
        "lab_nets:experts",
        {"include": ["*.experts"], "granularity": "filter"},
        ModelError,
        "experts",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_said_before_anything_runs(case, tmp_path):
    model, choices, error, found = WRONG[case]
    told = spec(task={**TASK, "model": model}, methods=[{**USUAL, **choices}])
    with pytest.raises(error) as caught:
        preflight.check(told, plan_of(told), Store(tmp_path))
    assert found in str(caught.value)


def test_what_can_be_passes(tmp_path):
    told = spec(task=TASK, methods=[STACKED, SNIP, {**STACKED, "name": "o", "exclude": ["@output"]}])
    preflight.check(told, plan_of(told), Store(tmp_path))
    matrix = {**USUAL, "include": ["3.matrix"], "exclude": ["@output", "3.matrix"]}  # which makes the output
    told = spec(task={**TASK, "model": "lab_nets:ends_bare"}, methods=[matrix])
    preflight.check(told, plan_of(told), Store(tmp_path))
