"""Pruning without retraining in a study: criteria that read inputs, scopes of rows, recoveries' records."""

import pytest
from lab_kit import ONE_EPOCH, do, planned

from prunery.core.masks import Masks
from prunery.lab.store import Store


def run(tmp_path, method, **changes):
    plan = planned(
        **{"task": ONE_EPOCH, "methods": [method], "sparsities": [0.5], "seeds": 1, "controls": [], **changes}
    )
    store = Store(tmp_path)
    for step in plan.steps.values():
        do(step, store)
    cell = next(c for c in plan.cells if c.method == method["name"])
    return store, [store.record(key) for key in cell.path]


@pytest.mark.parametrize(
    ("criterion", "scope"), [("wanda", "row"), ("obs", "row"), ("fisher", "erk"), ("taylor", "global")]
)
def test_a_cut_keeps_exactly_what_was_asked_and_its_scoring_is_counted(tmp_path, criterion, scope):
    method = {"name": "m", "criterion": criterion, "scope": scope, "recovery": "none"}
    store, path = run(tmp_path, method)
    cut = next(record for record in path if record.kind == "prune")
    masks = Masks.load(store.file(cut.key, "masks.safetensors"))
    assert masks.kept == masks.total - round(0.5 * masks.total)
    assert cut.cost["scoring_macs"] > 0


@pytest.mark.parametrize("scope", ["row", "n_of_m"])
def test_the_random_control_keeps_the_same_number_in_each_line(tmp_path, scope):
    method = {"name": "m", "criterion": "wanda", "scope": scope, "exclude": ["@output"], "recovery": "none"}
    plan = planned(task=ONE_EPOCH, methods=[method], sparsities=[0.5], seeds=1, controls=["random"])
    store = Store(tmp_path)
    for step in plan.steps.values():
        do(step, store)
    cuts = [key for key, step in plan.steps.items() if step.kind == "prune"]
    first, other = (Masks.load(store.file(key, "masks.safetensors")) for key in cuts)
    assert not any(first[name].equal(other[name]) for name in first)
    for name in first:
        lines = first[name].unflatten(1, (-1, 4 if scope == "n_of_m" else first[name].shape[1]))
        assert lines.sum(2).equal(other[name].view_as(lines).sum(2))


def test_records_say_what_each_rung_used(tmp_path):
    actions = [
        {"name": "bias", "images": 64},
        {"name": "repair", "images": 64},
        {"name": "reconstruct", "images": 300},
        {"name": "distill_blocks", "images": 64, "steps": 2},
        {"name": "align", "images": 64, "steps": 2},
        {"name": "align_labelled", "images": 64, "steps": 3},
    ]
    method = {"name": "m", "criterion": "obs", "scope": "n_of_m", "exclude": ["@output"], "recovery": actions}
    _, path = run(tmp_path, method)
    found = {record.args["action"]["name"]: record for record in path if "action" in record.args}
    assert list(found) == [action["name"] for action in actions]
    for name, record in found.items():
        assert ("with labels" in record.notes[0]) == (name == "align_labelled")
        assert ("without labels" in record.notes[0]) == (name != "align_labelled")
        assert record.cost["seconds"] >= 0
        steps = name in ("align", "align_labelled", "distill_blocks")
        assert ("training_macs" in record.cost) == steps
    assert found["align"].cost["samples"] == 2 * 64
    assert "MB" in found["reconstruct"].notes[0]
    assert found["reconstruct"].cost["scoring_macs"] > 0
