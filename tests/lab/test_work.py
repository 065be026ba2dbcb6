"""What steps leave behind, on the real digits: exact counts, right weights, equal records."""

import pytest
import torch
from lab_kit import ONE_EPOCH, differences, do, planned
from safetensors.torch import load_file

import prunery
from prunery.core.masks import Masks
from prunery.errors import MasksError
from prunery.lab.store import Store
from prunery.lab.work.exactness import check_exact
from prunery.models.build import build
from prunery.report.results.frame import frame
from prunery.report.results.study import Loaded
from prunery.report.text.formats import thousands
from prunery.report.text.measured_tables import bytes_of_forms

MACS = 64 * 300 + 300 * 100 + 100 * 10  # of lenet300 on 8x8 images, and its prunable weights
TRAIN = 1442 - 144
NO_EPOCHS = {"training": {"epochs": 0}}
METHODS = [
    {"criterion": "magnitude"},
    {"criterion": "snip"},
    {"name": "chain", "criterion": "magnitude", "schedule": {"name": "iterative", "levels": [0.5]}},
    {"name": "kept", "criterion": "magnitude", "recovery": {"name": "finetune", **NO_EPOCHS}},
    {"name": "rewound", "criterion": "magnitude", "recovery": {"name": "rewind", **NO_EPOCHS}},
    {"name": "fresh", "criterion": "magnitude", "recovery": {"name": "reinit", **NO_EPOCHS}},
    {"name": "plain", "criterion": "synflow", "recovery": "none", "schedule": "exponential(rounds=10)"},
    {"name": "emptied", "criterion": "magnitude", "at": "init", "recovery": "none", "sparsities": [0.999]},
    {
        "name": "filters",
        "criterion": "magnitude",
        "granularity": "filter",
        "scope": "layer",
        "exclude": [],
        "recovery": "none",
    },
]


def do_all(plan, store):
    for step in plan.steps.values():
        do(step, store)
    return store


@pytest.fixture(scope="module")
def plan():
    return planned(task=ONE_EPOCH, methods=METHODS, sparsities=[0.8], seeds=1)


@pytest.fixture(scope="module")
def store(plan, tmp_path_factory):
    return do_all(plan, Store(tmp_path_factory.mktemp("store")))


def records(plan, store, method):
    """The records on the way to a method's cell, by kind; of several the last one."""
    cell = next(c for c in plan.cells if c.method == method)
    return {record.kind: record for record in map(store.record, cell.path)}


def value(record, name, split=None):
    return record.number(name, split).value


def weights(store, record):
    return load_file(store.file(record.key, "weights.safetensors"))


def masks(store, record):
    return Masks.load(store.file(record.key, "masks.safetensors"))


@pytest.mark.parametrize("method", ["magnitude", "snip", "chain", "kept", "rewound", "fresh", "plain"])
def test_exactly_what_was_asked_is_kept(plan, store, method):
    cut = records(plan, store, method)["prune"]
    removed = round(0.8 * MACS)
    assert (value(cut, "kept"), value(cut, "total")) == (MACS - removed, MACS)
    assert (value(cut, "sparsity_requested"), value(cut, "sparsity_achieved")) == (0.8, removed / MACS)
    assert sum(row["kept"] for row in cut.tables["layers"]) == MACS - removed
    assert masks(store, cut).kept == MACS - removed
    assert value(records(plan, store, method)["measure"], "params_kept") == MACS - removed


def test_filters_are_counted_in_each_layer(plan, store):
    rows = records(plan, store, "filters")["prune"].tables["layers"]
    assert [(row["units_kept"], row["units_total"]) for row in rows] == [(60, 300), (20, 100), (2, 10)]


def test_a_count_that_is_not_exact_is_an_error():
    half = {"a.weight": torch.arange(10).view(2, 5) < 5}
    check_exact(Masks(half), "global", 0.5, {})
    with pytest.raises(MasksError, match="5 units are kept, 4 were asked for in a"):
        check_exact(Masks(half), "global", 0.6, {})
    two = Masks({**half, "b.weight": torch.ones(2, 5, dtype=torch.bool)})
    check_exact(two, "global", 0.25, {})
    with pytest.raises(MasksError):
        check_exact(two, "layer", 0.25, {})


def test_accuracies_are_counts_of_whole_splits(plan, store):
    measured = records(plan, store, "dense")["measure"]
    totals = {n.split: n.total for n in measured.numbers if n.name == "top1"}
    assert totals == {"train": TRAIN, "validation": 144, "test": 355}
    for n in measured.numbers:
        if n.unit == "%":
            assert n.value == 100 * n.count / n.total
            assert n.chance == 10 * n.k
    assert {n.k for n in measured.numbers if n.name == "top5"} == {5}
    assert value(measured, "top1", "test") > 60
    predicted = [row["predicted"] for row in measured.tables["predicted"] if row["split"] == "test"]
    assert sum(predicted) == 355


def test_costs_are_those_of_the_work(plan, store):
    assert records(plan, store, "magnitude")["prune"].cost["scoring_macs"] == 0
    assert records(plan, store, "snip")["prune"].cost["scoring_macs"] == 3 * 100 * MACS
    assert records(plan, store, "plain")["prune"].cost["scoring_macs"] == 3 * 10 * MACS
    dense = records(plan, store, "dense")["train"].cost
    assert (dense["epochs"], dense["samples"], dense["training_macs"]) == (1, TRAIN, 3 * TRAIN * MACS)
    pruned = records(plan, store, "snip")["recover"].cost
    assert pruned["training_macs"] == 3 * TRAIN * MACS
    assert pruned["training_macs_kept"] == 3 * TRAIN * (MACS - round(0.8 * MACS))
    assert dense["seconds"] > 0


def test_where_recovery_starts_from(plan, store):
    init = weights(store, records(plan, store, "dense")["init"])
    trained = weights(store, records(plan, store, "dense")["train"])
    found = {
        name: weights(store, records(plan, store, name)["recover"]) for name in ("kept", "rewound", "fresh")
    }
    cut = masks(store, records(plan, store, "kept")["prune"])
    for name, mask in cut.items():
        assert torch.equal(found["kept"][name], trained[name] * mask)
        assert torch.equal(found["rewound"][name], init[name] * mask)
        assert torch.equal(found["fresh"][name] != 0, mask)
        assert not torch.equal(found["fresh"][name], init[name] * mask)
    assert torch.equal(found["rewound"]["fc1.bias"], init["fc1.bias"])


def test_a_chain_is_nested_and_trains_differently_each_time(plan, store):
    cell = next(c for c in plan.cells if c.method == "chain")
    init, train, *cuts, last, _ = map(store.record, cell.path)
    first, second = (masks(store, record) for record in cuts if record.kind == "prune")
    assert (first.kept, second.kept) == (MACS // 2, MACS - round(0.8 * MACS))
    assert all(torch.equal(second[name] & first[name], second[name]) for name in first)
    after = weights(store, last)
    assert all((after[name][~second[name]] == 0).all() for name in second)
    orders = [record.tables["epochs"][0]["train_loss"] for record in (train, cuts[1], last)]
    assert len(set(orders)) == 3
    assert init.files.keys() == {"weights.safetensors"}


def test_empty_layers_and_collapse_are_noted(plan, store):
    emptied = records(plan, store, "emptied")
    assert "layer fc2.weight is empty" in emptied["prune"].notes
    (note,) = emptied["measure"].notes
    assert note.startswith("test: predicts class")
    assert value(emptied["measure"], "params_effective") == 0
    assert records(plan, store, "dense")["measure"].notes == ()
    assert records(plan, store, "magnitude")["prune"].notes == ()


def test_the_same_steps_give_equal_records_and_bytes(plan, store, tmp_path):
    again = do_all(plan, Store(tmp_path / "again"))
    for key in plan.steps:
        assert differences(store.record(key), again.record(key)) == []


def test_what_the_library_warns_of_is_noted(tmp_path):
    silent = {"name": "s", "criterion": "magnitude", "recovery": "none", "at": "init"}
    task = {**ONE_EPOCH, "model": "lab_nets:half_zero"}
    plan = planned(task=task, methods=[silent], sparsities=[0.5], seeds=1)
    store = do_all(plan, Store(tmp_path))
    notes = records(plan, store, "s")["prune"].notes
    assert any(note.startswith("3.weight: every weight is zero") for note in notes)


def test_the_bytes_of_each_form_are_recorded_and_shown(plan, store, tmp_path):
    dense, pruned = (records(plan, store, name)["measure"] for name in ("dense", "magnitude"))
    plain, mask = value(pruned, "bytes_dense"), 4 * MACS  # every prunable weight has a float mask
    assert value(dense, "bytes_masked") == value(dense, "bytes_masked_memory") == plain
    assert value(pruned, "bytes_masked") == plain + mask
    assert value(pruned, "bytes_masked_memory") == plain + 2 * mask
    key = records(plan, store, "magnitude")["recover"].key
    model = build("lenet300", shape=(1, 8, 8), classes=10)
    model.load_state_dict(load_file(store.file(key, "weights.safetensors")))
    masks = Masks.load(store.file(key, "masks.safetensors"))
    assert value(pruned, "bytes_saved") == prunery.save(model, tmp_path / "a", masks=masks).bytes
    assert pruned.files == {}, "the file is not kept"
    study = Loaded("s", {}, plan, store, frame(plan, store))
    row = next(row for row in bytes_of_forms(study).rows if row[0] == "magnitude")
    assert row[2:4] == (thousands(int(plain)), thousands(int(plain + mask)))
    assert row[-1] == thousands(int(value(pruned, "bytes_saved")))
