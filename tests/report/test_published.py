"""Published values stand beside what was done alike, under the metric that they really are."""

import csv
import io

import pytest
import report_case as case

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.lab.store import Store
from prunery.report.figures import accuracy
from prunery.report.results import published
from prunery.report.results.frame import frame
from prunery.report.results.study import load
from prunery.report.text import published_tables
from prunery.report.write import files

AT_INIT = {"at": "init", "recovery": "finetune"}


def spec(name, *, model="fc", data="mnist", methods, sparsities=(0.9,), seeds=3, optimizer="sgd", **task):
    training = {"epochs": 10, "optimizer": optimizer, "learning_rate": 0.1}
    task |= {"model": model, "data": data, "training": training}
    return specs.from_plain(
        {
            "name": name,
            "task": task,
            "methods": list(methods),
            "sparsities": list(sparsities),
            "seeds": seeds,
            "controls": [],
        }
    )


def built(made, right=lambda cell: 9600 + 10 * cell.seed, **more):
    """The frame with its facts, for a spec and the right answers per cell."""
    plan = plan_of(made)
    store = case.store(plan, right, **more)
    return frame(plan, store)


FIVE = (
    {"name": "ours", "criterion": "magnitude"},
    {"name": "layerwise", "criterion": "magnitude", "scope": "layer"},
    {"name": "bare", "criterion": "magnitude", "recovery": "none"},
    {"name": "hundred rounds", "criterion": "synflow"},
    {"name": "one round", "criterion": "synflow", "schedule": "one_shot"},
)


@pytest.fixture
def five():
    return built(spec("five-criteria-fc", methods=FIVE, sparsities=[0.5, 0.9]))


def test_only_equal_choices_match(five):
    matches = published.rows("five-criteria-fc", five)
    assert [(p.method, p.sparsity, p.value) for p in matches] == [
        ("ours", 0.9, 97.68),
        ("one round", 0.9, 11.35),
    ]
    assert {(p.metric, p.n, p.report) for p in matches} == {("test_top1", 1, "five-criteria")}
    assert "one round instead of 100" in matches[1].note


def test_norms_estimated_anew_stand_beside_nothing_published():
    methods = [
        {"name": recovery, "criterion": "magnitude", "scope": "layer", "recovery": recovery}
        for recovery in ("none", "bn", "finetune")
    ]
    cells = built(spec("no-retraining", model="lenet300", methods=methods, sparsities=[0.5]))
    assert dict(cells.groupby("method")["recovery"].first()) == {
        "dense": "none",
        "dense + 10 epochs": "retrained",
        "none": "none",
        "bn": "norms estimated",
        "finetune": "retrained",
    }
    assert {p.method for p in published.rows("no-retraining", cells)} == {"dense", "none"}


@pytest.mark.parametrize("name", ["five-criteria", "five-criteria-smoke", "five-criteria-fc-cpu"])
def test_a_study_is_matched_by_the_beginning_of_its_name(name, five):
    assert len(published.rows(name, five)) == 2


@pytest.mark.parametrize("name", ["five-criteriafc", "six-criteria", "my-five-criteria", "five", "cifar"])
def test_other_names_match_nothing(name, five):
    assert published.rows(name, five) == []


def test_another_network_or_data_set_matches_nothing():
    assert published.rows("five-criteria", built(spec("five-criteria", model="lenet300", methods=FIVE))) == []


def test_fewer_classes_match_nothing():
    methods = [{"name": "snip", "criterion": "snip"}]
    for classes, match in ((None, True), (10, False)):
        made = built(spec("cifar100", model="vgg16", data="cifar100", methods=methods, classes=classes))
        assert bool(published.rows("cifar100", made)) is match


def test_near_sparsities_match_and_others_do_not():
    methods = [{"name": "random", "criterion": "random", "schedule": {"name": "iterative", "fraction": 0.1}}]
    name, levels = "one-shot-vs-iterative", [0.5, 0.5217, 0.52125]
    made = built(spec(name, model="resnet18", data="cifar10", methods=methods, sparsities=levels))
    matches = published.rows(name, made)
    # three runs went through 52.17 %; the dense network of the report stands beside ours
    pruned = [(p.sparsity, p.value) for p in matches if p.method == "random"]
    assert pruned == [(s, v) for s in (0.5217, 0.52125) for v in (93.3, 93.5, 93.34)]
    assert [(p.method, p.value, p.metric) for p in matches if p.sparsity == 0] == [
        ("dense", 93.06, "test_top1_max")
    ]


def test_one_shot_and_iterative_are_told_apart_by_the_cuts():
    methods = [
        {"name": "once", "criterion": "random"},
        {"name": "step by step", "criterion": "random", "schedule": {"name": "iterative", "fraction": 0.1}},
    ]
    name = "one-shot-vs-iterative-cpu"
    made = built(spec(name, model="resnet18", data="cifar10", methods=methods, sparsities=[0.9, 0.9015]))
    values = {(p.method, p.sparsity): p.value for p in published.rows(name, made) if p.sparsity}
    assert values == {("once", 0.9): 89.99, ("step by step", 0.9015): 91.99}


def test_what_was_chosen_on_the_test_split_is_not_subtracted():
    methods = [{"name": "once", "criterion": "random"}]
    name = "one-shot-vs-iterative"
    made = built(spec(name, model="resnet18", data="cifar10", methods=methods, sparsities=[0.9]))
    (table,) = published_tables.tables(published_tables.pairs(made, published.rows(name, made)))
    assert table.title == "Beside published values: top-1 accuracy of the best epoch on the test split, %"
    once = next(row for row in table.rows if row[0] == "once")
    # sd of 96.0, 96.1, 96.2 is 0.1; 4.303 · 0.1 / sqrt(3) = 0.25
    assert once == ("once", "90 %", "96.10 ±0.25 (n=3)", "89.99 [2]", "1", "-", name)
    assert "Not subtracted" in " ".join(table.caption)
    assert any("ran random" in note for note in table.footnotes)


def test_a_best_epoch_on_the_test_split_is_subtracted_from_our_own_best_one():
    name = "one-shot-vs-iterative"
    methods = [{"name": "once", "criterion": "random"}]
    made = built(spec(name, model="resnet18", data="cifar10", methods=methods, sparsities=[0.9]))
    made["test_top1_max"] = made["test_top1"] - 10
    (pair,) = (
        p for p in published_tables.pairs(made, published.rows(name, made)) if p.published.method == "once"
    )
    assert pair.difference == pytest.approx(86.10 - 89.99)
    (table,) = published_tables.tables([pair])
    assert table.rows[0][2:6] == ("86.10 ±0.25 (n=3)", "89.99 [1]", "1", "−3.89")
    assert "Not subtracted" not in " ".join(table.caption)
    (sentence,) = published_tables.below([pair])
    assert "theirs is the best epoch" not in sentence


def test_top_5_stands_beside_our_top_5_and_never_beside_top_1():
    methods = [{"name": "snip", "criterion": "snip"}]
    made = built(spec("cifar100", model="vgg16", data="cifar100", methods=methods))
    matches = published.rows("cifar100", made)
    assert {p.metric for p in matches} == {"test_top5", "macs_millions"}
    top5, macs = published_tables.tables(published_tables.pairs(made, matches))
    assert "top-5 accuracy" in top5.title
    # ours: 9990 of 10 000 in every seed; printed: 63.63 under the heading top-1
    assert top5.rows[0][2:6] == ("99.90 ±0.01 (n=3)", "63.63 [1]", "1", "+36.27")
    assert "printed as top-1" in top5.footnotes[0]
    assert macs.rows[0][2:6] == ("0.3 ±0.0 (n=3)", "69.1 [1]", "1", "-")


def test_the_same_number_printed_twice_is_one_value():
    made = built(
        spec("cifar100", model="vgg16", data="cifar10", methods=[{"name": "m", "criterion": "magnitude"}])
    )
    assert [p.value for p in published.rows("cifar100", made) if p.metric == "test_top1"] == [80.39]


def test_below_by_more_than_our_interval_is_said_with_what_differs(five):
    (sentence,) = published_tables.below(published_tables.pairs(five, published.rows("five-criteria", five)))
    assert sentence == (
        "Below the published value by more than our interval: ours at 90 %, 96.10 ±0.25 % against the "
        "97.68 % of five-criteria (what differs: 20+10 epochs there, 10+10 here; adam there, sgd here; "
        "learning rate 0.001 there, 0.1 here; batch 64 there, 128 here)."
    )


def test_fewer_images_differ_too():
    made = built(spec("five-criteria-fc", methods=FIVE[:1], images=2000))
    (sentence,) = published_tables.below(published_tables.pairs(made, published.rows("five-criteria", made)))
    assert sentence.endswith("; 2 000 training images here).")


def test_within_our_interval_nothing_is_said():
    made = built(spec("five-criteria", methods=FIVE[:1]), lambda c: (9700, 9790, 9750)[c.seed])
    assert published_tables.below(published_tables.pairs(made, published.rows("five-criteria", made))) == []


def test_one_seed_has_no_interval_and_the_sentence_says_so():
    made = built(spec("five-criteria", methods=FIVE[:1], seeds=1, optimizer="adam"))
    (sentence,) = published_tables.below(published_tables.pairs(made, published.rows("five-criteria", made)))
    assert sentence.startswith(
        "Below the published value (too few seeds for an interval): ours at 90 %, 96.00 % against"
    )
    assert "adam" not in sentence


def test_a_collapse_is_below_what_is_not_one_and_not_below_its_equal():
    made = spec("five-criteria", methods=[FIVE[0], FIVE[4]])
    keys = [c.key for c in plan_of(made).cells if c.role == "pruned"]
    notes = {key: ["test: predicts class 1 for all 10000"] for key in keys}
    cells = built(made, lambda c: 1135 if c.role == "pruned" else 9700, notes=notes)
    (sentence,) = published_tables.below(
        published_tables.pairs(cells, published.rows("five-criteria", cells))
    )
    assert "ours at 90 %, ours collapsed 3/3 against the 97.68 %" in sentence  # one round: 11.35 there too


def test_the_files_hold_them_and_the_plot_marks_them(tmp_path):
    made = spec("five-criteria-fc", methods=FIVE, sparsities=[0.5, 0.9])
    plan, store = plan_of(made), Store(tmp_path / "store")
    store.save_study(made.name, specs.plain(made))
    for record in case.store(plan, lambda c: 9600 + 10 * c.seed).records.values():
        store.commit(record)
    study = load(store, made.name)
    contents = files(study)
    text = contents["table.md"].decode()
    assert "## Beside published values: top-1 accuracy, %" in text
    assert "| ours | 90 % | 96.10 ±0.25 (n=3) | 97.68 | 1 | −1.58 | five-criteria |" in text
    assert "- Below the published value by more than our interval: ours at 90 %" in text
    rows = {
        (r["method"], r["sparsity_requested"]): r
        for r in csv.DictReader(io.StringIO(contents["summary.csv"].decode()))
    }
    row = rows["ours", "0.9"]
    wanted = ("97.68", "top1", "1", "five-criteria", "-1.58")
    names = ("published", "published_metric", "published_n", "published_report", "minus_published")
    assert tuple(row[name] for name in names) == wanted
    assert rows["ours", "0.5"]["published"] == ""
    assert len(_diamonds(study)) == 2
    study.__dict__["published"] = []
    assert _diamonds(study) == []


def test_every_packaged_row_is_whole():
    rows = published._table("published")
    assert len(rows) > 250
    for row in rows:
        assert row["metric"] in published_tables.KINDS
        assert 0 <= float(row["sparsity"]) < 1
        assert row["n"] == "1"
        assert float(row["value"]) > 0 if row["value"] else row["note"], row


def test_a_run_that_gave_no_number_stands_beside_nothing():
    empty = [row for row in published._table("published") if not row["value"]]
    assert empty
    row = empty[0]
    methods = [{"name": "m", "criterion": row["criterion"], "schedule": "one_shot"}]
    made = spec(row["report"], model=row["model"], data=row["dataset"], methods=methods)
    made = made.model_copy(update={"sparsities": (float(row["sparsity"]),)})
    matches = published.rows(row["report"], built(made))
    assert row["metric"] not in {p.metric for p in matches}


def _diamonds(study):
    """The published values that the accuracy figure draws; all of them are within its axis."""
    (spec,) = accuracy.sparsity_figure(study).specs()
    rows = [row for layer in spec["layer"] for row in layer["data"]["values"]]
    return [row["y"] for row in rows if "published" in str(row.get("accuracy"))]
