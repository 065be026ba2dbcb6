"""What a reader is warned of: each rule on records that break it and on records that do not."""

from dataclasses import replace

import pytest
import report_case as case

from prunery.errors import StoreError
from prunery.lab.record import Record
from prunery.report.results import published, validity
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of
from prunery.report.text import cautions
from prunery.report.text.costs import costs

FIVE = (0.5, 0.8, 0.9, 0.95, 0.98)


def built(plan, store):
    cells = frame(plan, store)
    return cells, groups_of(cells)


def sentences_of(rule, plan, store):
    """The sentences of the rows that hold a rule."""
    cells, groups = built(plan, store)
    rows = [cautions.caution[name] for name in cautions.caution]
    return [s for row in rows if row.facts["rule"] == rule for s in row.function(cells, groups)]


def right(cell):
    return 9800 + cell.seed


def changed(store, change):
    """The store with `change(record)` in place of each record."""
    return case.Kept([change(record) for record in store.records.values()])


@pytest.mark.parametrize(
    ("seeds", "words"), [(1, "One seed says little"), (2, "2 seeds say little"), (3, "")]
)
def test_c1_few_seeds(seeds, words):
    plan = case.study(seeds=seeds)
    sentences = sentences_of("C1", plan, case.store(plan, right))
    assert [s[: len(words)] for s in sentences] == ([words] if words else [])


def test_c1_seeds_that_share_one_pretrained_network():
    plan = case.study()
    store = case.store(plan, right)
    cells, groups = built(plan, store)
    assert not any(cells["pretrained"])
    cells["pretrained"] = ["ab12"] * len(cells)
    (said,) = cautions.one_start(cells, groups)
    assert said.startswith("All seeds start from one pretrained network: intervals tell how pruning")
    assert cautions.one_start(cells[cells["seed"] == 0], groups) == []


def test_c9_baselines_that_were_not_run():
    bare = case.study(["snip"])
    assert sentences_of("C9", bare, case.store(bare, right)) == [
        "Baselines that were not run: random pruning with each method's own layer ratios; "
        "random pruning over all layers alike; magnitude of the trained network."
    ]
    early = case.study(["random", {"criterion": "magnitude", "at": "init"}])
    assert sentences_of("C9", early, case.store(early, right))[0].endswith(
        "; magnitude of the trained network."
    )
    filters = {"criterion": "magnitude", "granularity": "filter", "exclude": ["@output"]}
    whole = case.study(["random", filters], controls=["random", "magnitude"])
    (small,) = sentences_of("C9", whole, case.store(whole, right))
    assert "small dense networks trained from scratch" in small
    assert "ratios" not in small
    full = case.study(["random", "snip"], controls=["random", "magnitude"])
    assert sentences_of("C9", full, case.store(full, right)) == []


def test_c14_fewer_than_five_operating_points():
    plan = case.study(sparsities=FIVE)
    assert sentences_of("C14", plan, case.store(plan, right)) == []
    few = case.study(sparsities=FIVE[:4])
    assert (
        "4 sparsities are too few to show a trade-off" in sentences_of("C14", few, case.store(few, right))[0]
    )
    some = case.study(["random", {"criterion": "snip", "sparsities": [0.9]}], sparsities=FIVE)
    assert sentences_of("C14", some, case.store(some, right)) == [
        "The sparsities of some methods (snip has 1) are too few to show a trade-off: use 5 or more, from "
        "harmless to extreme."
    ]
    none = case.study(["random", {"criterion": "snip", "sparsities": [0.9]}], sparsities=FIVE[:3])
    assert sentences_of("C14", none, case.store(none, right))[0].startswith(
        "1-3 sparsities a method are too few"
    )


def test_c15_one_network_and_one_data_set():
    plan = case.study()
    assert sentences_of("C15", plan, case.store(plan, right)) == [
        "One network (lenet300) on one data set (mnist): nothing in general follows."
    ]


def test_c16_a_weak_dense_baseline():
    plan = case.study()
    assert published.reference("lenet300", "mnist") == (98.36, "Han et al. 2015 (table 1)")
    assert sentences_of("C16", plan, case.store(plan, lambda c: 9740)) == []  # 0.96 points below
    (sentence,) = sentences_of("C16", plan, case.store(plan, lambda c: 9700))
    assert sentence == (
        "The dense baseline (97.00 %) is 1.4 points below a known one: 98.36 %, Han et al. 2015 (table 1)."
    )
    assert published.reference("lenet300", "my.own:data") is None


def test_c16_a_reference_is_of_all_classes_and_fewer_images_are_said():
    plan = case.study()
    cells, _ = built(plan, case.store(plan, lambda c: 9000))

    def sentences(**used):
        less = cells.assign(**used)
        return cautions.baseline(less, groups_of(less))

    assert sentences(classes=5) == []
    (sentence,) = sentences(images=1000)
    assert sentence.endswith("Han et al. 2015 (table 1); ours had 1 000 training images.")


def epochs(losses, corrects):
    rows = [
        {"train_loss": loss, "train_correct": correct, "train_total": 10_000}
        for loss, correct in zip(losses, corrects, strict=True)
    ]
    return {"epochs": rows}


@pytest.mark.parametrize(
    ("losses", "corrects", "moves"),
    [
        ([0.5] * 9 + [0.5], [9000] * 10, False),
        ([0.5] * 9 + [0.4945], [9000] * 10, True),  # 0.0055 of 0.1 (the measured loss): over 1 %
        ([0.5] * 9 + [0.4995], [9000] * 10, False),  # 0.0005 nats do not show
        ([0.5] * 9 + [0.5], [9000] * 9 + [9011], True),  # 0.11 points in one epoch
        ([0.5] * 9 + [0.5], [9000] * 9 + [9009], False),
        ([0.5], [9000], False),  # one epoch says nothing
    ],
)
def test_c19_training_that_had_not_come_to_rest(losses, corrects, moves):
    plan = case.study(["magnitude"], sparsities=[0.9])
    tables = epochs(losses, corrects)
    store = changed(
        case.store(plan, right), lambda r: replace(r, tables=tables) if r.kind == "recover" else r
    )
    sentences = sentences_of("C19", plan, store)
    assert bool(sentences) == moves
    if moves:
        assert sentences[0].endswith(": magnitude at 90 %.")  # dense has no such record


def test_c21_seconds_of_different_devices_never_share_a_column():
    plan = case.study(["magnitude", "snip"], sparsities=[0.9])

    def on(record):
        fast = record.kind == "recover" and record.args["seed"] == 0
        return replace(record, environment={"device_name": "fast" if fast else "slow"})

    store = changed(case.store(plan, right), on)
    (sentence,) = sentences_of("C21", plan, store)
    assert "2 kinds of device" in sentence
    table = costs(built(plan, store)[1])
    assert table.header[-2:] == ("seconds (1)", "seconds (2)")
    assert table.caption[-1].endswith("stand apart: (1) slow, 1 thread; (2) slow, fast, 1 thread.")
    row = next(r for r in table.rows if r[0] == "magnitude")
    # seeds 1 and 2 on one device alone, seed 0 on both: 10.5 + 0.5 + 10.5 seconds each
    assert row[-2:] == ("21.5", "21.5")
    assert next(r for r in table.rows if r[0] == "dense")[-1] == "-"


def test_c21_one_device_is_named_with_its_threads():
    plan = case.study(["magnitude"], sparsities=[0.9])
    store = changed(case.store(plan, right), lambda r: replace(r, environment={"device_name": "slow"}))
    assert sentences_of("C21", plan, store) == []
    assert costs(built(plan, store)[1]).caption[-1] == "Seconds: slow, 1 thread."
    unknown = costs(built(plan, case.store(plan, right))[1])
    assert unknown.caption[-1] == "Seconds: device not recorded, 1 thread."


def test_c27_floors_are_told_by_method():
    bare = case.study(["magnitude"])
    assert sentences_of("C27", bare, case.store(bare, right)) == [
        "No floor on the density of a layer: pruning may empty one."
    ]
    some = case.study(["snip", {"criterion": "magnitude", "floor": 0.02}], sparsities=[0.9])
    assert sentences_of("C27", some, case.store(some, right)) == [
        "Floor on the density of a layer: none: snip; at least 2 % of each layer kept: magnitude."
    ]


def test_an_empty_store_is_warned_of_nothing_that_it_does_not_show():
    plan = case.study(sparsities=FIVE)
    assert all(sentences_of(rule, plan, case.Kept()) == [] for rule in ("C14", "C16", "C19", "C21"))


# -- C20: MACs that cannot be -------------------------------------------------------------------------------

# 100 weights with 10 MACs each, 50 with 1 each
LAYERS = [
    {"name": "conv", "params_dense": 100, "macs_dense": 1000},
    {"name": "fc", "params_dense": 50, "macs_dense": 50},
]


@pytest.mark.parametrize(
    ("kept", "low", "high"),
    [(0, 0, 0), (30, 30, 300), (50, 50, 500), (60, 150, 600), (120, 750, 1020), (150, 1050, 1050)],
)
def test_c20_bounds_by_hand(kept, low, high):
    assert validity.between(LAYERS, kept) == (low, high)


def record(macs, *, kept=60, effective=None, layers=LAYERS):
    plan = case.study(["magnitude"], sparsities=[0.9], seeds=1)
    cell = case.cell_of(plan, "magnitude", 0.9)
    store = case.store(plan, right)
    values = {
        "params_kept": kept,
        "macs_kept": macs,
        "macs_effective": macs if effective is None else effective,
    }
    made = store.records[cell.key]
    numbers = tuple(replace(n, value=values.get(n.name, n.value)) for n in made.numbers)
    return plan, store, replace(made, numbers=numbers, tables={"layers": layers})


@pytest.mark.parametrize("macs", [150, 400, 600])
def test_c20_possible_macs_pass(macs):
    assert validity.wrong(record(macs)[2]) is None


@pytest.mark.parametrize(("macs", "effective"), [(149, None), (601, None), (60, None), (400, 401)])
def test_c20_impossible_macs_are_refused_with_the_cell(macs, effective):
    plan, store, altered = record(macs, effective=effective)
    assert validity.wrong(altered) is not None
    store.records[altered.key] = altered
    with pytest.raises(StoreError, match=r"the MACs of magnitude at sparsity 0\.9, seed 0"):
        validity.check(plan, store)


def test_c20_rows_that_are_used_unequally_often_only_bound_by_all():
    uneven = [LAYERS[0] | {"macs_dense": 1001}, LAYERS[1]]
    assert validity.between(uneven, 60) == (0, 1051)
    assert validity.wrong(record(60, layers=uneven)[2]) is None


def test_c20_a_record_without_layers_is_not_judged():
    assert validity.wrong(Record("k", "measure", {}, (), ())) is None
    assert validity.wrong(record(1, layers=[])[2]) is None


@pytest.mark.parametrize("name", ["cnn8", "lenet5", "vgg11_bn", "resnet20"])
@pytest.mark.parametrize("share", [0.02, 0.5])
def test_c20_real_networks_lie_within_their_bounds(name, share):
    import torch

    from prunery.lab.numbers import layer_rows, of_cost
    from prunery.measure.cost import cost
    from prunery.models.build import build

    shape = (1, 28, 28) if name == "lenet5" else (3, 32, 32)
    model = build(name, shape=shape, classes=10, seed=1)
    random = torch.Generator().manual_seed(2)
    weights = {n: p for n, p in model.named_parameters() if p.dim() > 1}
    masks = {n: torch.rand(p.shape, generator=random) < share for n, p in weights.items()}
    for some in (masks, dict(list(masks.items())[:2]), None):
        counted = cost(model, torch.zeros(1, *shape), some)
        made = Record("k", "measure", {}, (), of_cost(counted), tables={"layers": layer_rows(counted)})
        assert validity.wrong(made) is None
