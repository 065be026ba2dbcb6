"""Controls of a method: sanity arms that change the masks, measures before recovery, fewer data."""

import pytest
import torch
from lab_kit import ONE_EPOCH, do, planned, spec
from safetensors.torch import load_file

from prunery.core.masks import Masks
from prunery.core.prune import prune
from prunery.data.sets import load
from prunery.data.splits import split
from prunery.data.subset import fewer, of_classes
from prunery.errors import ChoiceError, DataError, MasksError, ModelError
from prunery.lab.plan import ARMS
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store
from prunery.lab.work import preflight
from prunery.lab.work.sanity import agreement, shuffled
from prunery.report.results.frame import frame

MAGNITUDE = {"name": "m", "criterion": "magnitude"}
CHAIN = {**MAGNITUDE, "name": "chain", "schedule": {"name": "iterative", "levels": [0.5, 0.8]}}
FILTERS = {
    "name": "f",
    "criterion": "magnitude",
    "granularity": {"name": "filter", "norm": "l2"},
    "exclude": ["@output"],
}
FREE = {"name": "b", "criterion": "magnitude", "recovery": "bn", "at": "init"}


def done(tmp_path, **changes):
    plan = planned(**{"task": ONE_EPOCH, "sparsities": [0.8], "seeds": 1, **changes})
    store = Store(tmp_path)
    for step in plan.steps.values():
        do(step, store)
    return plan, store


def cell(plan, method):
    return next(c for c in plan.cells if c.method == method)


def last_masks(plan, store, method):
    key = [k for k in cell(plan, method).path if plan.steps[k].kind == "prune"][-1]
    return Masks.load(store.file(key, "masks.safetensors")), store.record(key)


def counts(masks):
    """Per layer: weights kept, and outputs with any weight left, counted from the masks themselves."""
    weights = ((layer.name, masks[layer.name]) for layer in masks.layers())
    return [(name, int(m.sum()), int(m.flatten(1).any(1).sum())) for name, m in weights]


@pytest.mark.parametrize("method", [MAGNITUDE, CHAIN, FILTERS], ids=lambda m: m["name"])
def test_sanity_arms_keep_as_much_and_other_weights(method, tmp_path):
    plan, store = done(tmp_path, methods=[method], sanity=list(ARMS))
    name = method["name"]
    original, _ = last_masks(plan, store, name)
    shuffled_, about = last_masks(plan, store, f"{name} ({ARMS['shuffle']})")
    inverted, also = last_masks(plan, store, f"{name} ({ARMS['invert']})")
    reinit, _ = last_masks(plan, store, f"{name} ({ARMS['reinit']})")
    assert counts(shuffled_) == counts(original)
    assert about.number("agreement").value < 1
    column = 2 if method is FILTERS else 1  # as many filters, of other sizes
    assert sum(row[column] for row in counts(inverted)) == sum(row[column] for row in counts(original))
    assert also.number("agreement").value < 1
    assert all(torch.equal(reinit[k], original[k]) for k in original)
    arm = cell(plan, f"{name} ({ARMS['reinit']})")
    assert (arm.role, arm.of, arm.sparsity) == ("sanity", name, 0.8)
    assert arm.extra == cell(plan, name).extra


def test_a_draw_costs_no_scoring(tmp_path):
    plan, store = done(tmp_path, methods=[{"name": "s", "criterion": "snip"}], controls=["random"])
    names = ("s", f"s ({ARMS['shuffle']})")
    costs = [last_masks(plan, store, name)[1].cost["scoring_macs"] for name in names]
    assert costs[0] > 0
    assert costs[1] == 0


def test_inverting_removes_what_matters_most():
    model = torch.nn.Linear(10, 10, bias=False)
    weights = model.weight.detach().clone()
    masks = prune(model, 0.3, options={"invert": True})
    gone = weights.abs()[~masks["weight"]]
    assert len(gone) == 30
    assert gone.min() >= weights.abs()[masks["weight"]].max()


def test_shuffled_masks_are_nested_and_keep_empty_layers_empty():
    model = torch.nn.Sequential(torch.nn.Linear(20, 20), torch.nn.Linear(20, 4))
    before = prune(model, 0.5, scope="layer", seed=3)
    like = {name: before[name].clone() for name in before}
    like["0.weight"].view(-1)[:300] = False
    like["1.weight"][:] = False
    args = {"granularity": "weight", "scope": "layer", "exclude": [], "seed": 0}
    masks = shuffled(model, Masks(like), before, args, torch.zeros(1, 20))
    assert not masks["1.weight"].any()
    assert not model[1].weight.any()
    assert int(masks["0.weight"].sum()) == int(like["0.weight"].sum())
    assert not (masks["0.weight"] & ~before["0.weight"]).any()


def test_an_arm_that_changes_nothing_is_an_error():
    some = Masks({"w": torch.arange(100).reshape(10, 10) % 2 == 0})
    with pytest.raises(MasksError, match="weight for weight"):
        agreement("shuffle", some, some)
    few = Masks({"w": torch.tensor([[True, False], [True, True]])})  # one of four draws: an accident
    assert agreement("shuffle", few, few)[0].value == 1
    whole = Masks({"w": torch.ones(2, 2, dtype=torch.bool)})
    assert agreement("shuffle", whole, whole)[0].value == 1


def test_a_model_that_seeds_itself_has_no_other_initial_weights(tmp_path):
    task = {**ONE_EPOCH, "model": "lab_nets:seeds_itself"}
    with pytest.raises(ModelError, match="the same weights"):
        done(tmp_path, task=task, methods=[MAGNITUDE], sanity=["reinit"])
    plan, store = done(tmp_path / "fine", task={**ONE_EPOCH, "model": "lab_nets:normed"}, methods=[MAGNITUDE])
    assert store.has(cell(plan, "m").key)


def test_class_outputs_that_are_removed_are_noted(tmp_path):
    whole = {**FILTERS, "name": "w", "exclude": [], "scope": "layer"}
    plan, store = done(tmp_path, methods=[FILTERS, whole, MAGNITUDE])
    notes = {name: last_masks(plan, store, name)[1].notes for name in ("f", "w", "m")}
    assert notes["w"] == ("8 of the 10 outputs are removed: exclude '@output' to keep them",)
    assert notes["f"] == notes["m"] == ()


def test_random_pruning_has_no_sanity_arms():
    plan = planned(methods=[{"criterion": "random"}], sanity=["shuffle", "reinit", "invert"])
    assert {c.role for c in plan.cells} == {"dense", "dense_extra", "pruned"}


def test_before_recovery_measures_the_cut_itself(tmp_path):
    plan, store = done(
        tmp_path,
        methods=[MAGNITUDE, {**MAGNITUDE, "name": "n", "recovery": "none"}],
        sparsities=[0.95],
        before_recovery=True,
    )
    found = cell(plan, "m")
    assert plan.steps[found.before].parents == (found.path[-3],)
    before, after = (store.record(key).number("top1", "test") for key in (found.before, found.key))
    assert before.count < after.count
    assert cell(plan, "n").before == ""
    assert store.record(cell(plan, "n").key).number("top1", "test") == before
    assert all(not c.before for c in planned(methods=[MAGNITUDE]).cells)


def test_batch_norm_estimated_anew_changes_no_weight(tmp_path):
    task = {**ONE_EPOCH, "model": "lab_nets:normed"}
    plan, store = done(tmp_path, task=task, methods=[FREE, {**FREE, "name": "n", "recovery": "none"}])
    path = cell(plan, "b").path
    assert [plan.steps[k].kind for k in path] == ["init", "prune", "recover", "measure"]
    start, end = (load_file(store.file(path[i], "weights.safetensors")) for i in (0, 2))
    same = {name for name in start if torch.equal(start[name], end[name])}
    masks = Masks.load(store.file(path[2], "masks.safetensors"))
    assert torch.equal(end["0.weight"], start["0.weight"] * masks["0.weight"])
    assert {"1.weight", "1.bias", "0.bias", "4.bias"} <= same
    assert "1.running_mean" not in same
    assert store.record(path[2]).cost["scoring_macs"] > 0
    assert store.record(path[2]).cost.get("epochs", 0) == 0


def test_classes_and_images_are_drawn_from_the_seed(tmp_path):
    digits = load("digits")
    some = of_classes(digits, 4, seed=1)
    assert (some.classes, len(some.class_names)) == (4, 4)
    old = [int(n) for n in some.class_names]
    kept = torch.isin(digits.test.y, torch.tensor(old))
    assert torch.equal(torch.tensor(old)[some.test.y], digits.test.y[kept])
    assert torch.equal(some.test.x, digits.test.x[kept])
    assert of_classes(digits, 4, seed=1).content == some.content != of_classes(digits, 4, seed=2).content
    parts = split(digits, validation=0.1, seed=0)
    less = fewer(parts, 103, seed=0)
    assert torch.bincount(less.train.y).tolist() == pytest.approx([10.3] * 10, abs=1)
    assert (len(less.train), len(less.validation)) == (103, len(parts.validation))
    assert less.test is parts.test
    whole = {image.numpy().tobytes() for image in parts.train.x}
    assert all(image.numpy().tobytes() in whole for image in less.train.x)


@pytest.mark.parametrize("count", [1, 11])
def test_classes_that_are_not_there(count):
    with pytest.raises(DataError, match="Ask for 2 to 10"):
        of_classes(load("digits"), count, seed=0)


@pytest.mark.parametrize("count", [9, 1299])
def test_images_that_are_not_there(count):
    with pytest.raises(DataError, match="Ask for 10 to 1298"):
        fewer(split(load("digits"), validation=0.1, seed=0), count, seed=0)


def test_a_study_on_less_data(tmp_path):
    plan, store = done(tmp_path, task={**ONE_EPOCH, "classes": 3, "images": 60}, methods=[MAGNITUDE])
    found = store.record(cell(plan, "m").key)
    assert found.number("top1", "train").total == 60
    assert found.number("top5", "test") is None  # five of three are no question
    assert found.number("top1", "test").chance == pytest.approx(100 / 3)
    assert found.number("params_dense").value == 64 * 300 + 300 * 100 + 100 * 3


def test_measured_networks_tell_their_weights_and_time(tmp_path):
    plan, store = done(tmp_path, methods=[MAGNITUDE])
    found = store.record(cell(plan, "m").key)
    rows = found.tables["histograms"]
    assert [r["layer"] for r in rows] == [r["name"] for r in found.tables["layers"]]
    assert [sum(r["counts"]) for r in rows] == [r["params_kept"] for r in found.tables["layers"]]
    assert found.cost["seconds_test"] > 0


def test_accuracy_under_corruption(tmp_path):
    kinds = ["gaussian_noise", "contrast"]
    plan, store = done(tmp_path, methods=[MAGNITUDE], corruptions=kinds)
    found = store.record(cell(plan, "m").key)
    rows = found.tables["corruptions"]
    assert [(r["corruption"], r["severity"]) for r in rows] == [(k, s) for k in kinds for s in (1, 3, 5)]
    number = found.number("corrupted_top1", "test")
    assert (number.count, number.total) == (sum(r["correct"] for r in rows), 6 * 355)
    assert number.value < found.number("top1", "test").value
    assert "corruptions" not in store.record(cell(plan, "dense").path[1]).tables


def test_forms_are_timed_of_what_a_method_ends_with_alone(tmp_path):
    recovered = {**MAGNITUDE, "recovery": ["bn", "bias"]}
    plan, store = done(tmp_path, methods=[recovered], forms=["eager", "sparse"], before_recovery=True)
    found = store.record(cell(plan, "m").key)
    rows = {row["form"]: row for row in found.tables["forms"]}
    assert {"dense", "masked"} <= set(rows)
    timed = [row for row in rows.values() if "missing" not in row]
    assert all(row["ms"] > 0 and row["bytes"] > 0 and row["low"] <= row["high"] for row in timed)
    assert max(row["difference"] for row in timed) <= 1e-4
    assert found.tables["forms_said"][0]["said"].endswith(".")
    others = [store.record(s.key) for s in plan.steps.values() if s.kind == "measure" and s.key != found.key]
    assert others
    assert not any("forms" in record.tables for record in others)
    plain = planned(task=ONE_EPOCH, sparsities=[0.8], seeds=1, methods=[recovered], before_recovery=True)
    assert set(plan.steps) - set(plain.steps) == {found.key}


def test_a_form_that_is_not_there_is_said_before_anything_runs(tmp_path):
    asked = spec(forms=["sparce"])
    with pytest.raises(ChoiceError, match="sparce"):
        preflight.check(asked, plan_of(asked), Store(tmp_path))


def test_a_corruption_that_is_not_there_is_said_before_anything_runs(tmp_path):
    asked = spec(corruptions=["fogg"])
    with pytest.raises(ChoiceError, match="fogg"):
        preflight.check(asked, plan_of(asked), Store(tmp_path))


def test_test_curves_are_a_diagnostic_that_changes_nothing(tmp_path):
    task = {**ONE_EPOCH, "training": {**ONE_EPOCH["training"], "epochs": 3}}
    one, plain = done(tmp_path / "a", task=task, methods=[MAGNITUDE])
    two, told = done(tmp_path / "b", task=task, methods=[MAGNITUDE], test_curves=True)
    paths = [[p.record(k) for k in cell(plan, "m").path] for plan, p in ((one, plain), (two, told))]
    without, with_ = (next(r for r in path if r.kind == "recover") for path in paths)
    assert with_.files == without.files
    rows = with_.tables["epochs"]
    assert [r["test_total"] for r in rows] == [355] * 3
    assert "test_correct" not in without.tables["epochs"][0]
    found = with_.number("top1_max", "test")
    assert (found.count, found.total) == (max(r["test_correct"] for r in rows), 355)
    last = paths[1][-1].number("top1", "test")
    assert rows[-1]["test_correct"] == last.count
    assert without.number("top1_max", "test") is None
    frames = [frame(plan, p) for plan, p in ((one, plain), (two, told))]
    assert frames[0]["test_top1_max"].isna().all()
    assert frames[1].set_index("method").loc["m", "test_top1_max"] == found.value
