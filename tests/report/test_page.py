"""The report page as bytes: whole, small, equal for equal records, and safe whatever stands in them."""

import json
import math
import re
from dataclasses import replace
from html.parser import HTMLParser

import page_kit as kit
import pytest
import report_case as case

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.report import page
from prunery.report.figures import plots, style
from prunery.report.page import records, strict, words
from prunery.report.page.contents import series

HOSTILE = "</script><b>x</b>\"'&{{7*7}}"


@pytest.fixture(scope="module")
def study():
    return kit.study(published=kit.published())


def data_of(content):
    """The embedded data of a page."""
    return json.loads(re.search(r'id="data">(.*?)</script>', content.decode(), re.S).group(1))


class Outline(HTMLParser):
    """The element names, ids and addresses of a page; raises where elements are not closed in order."""

    VOID = ("meta", "link", "br", "hr", "img", "input")

    def __init__(self, content):
        super().__init__()
        self.open, self.ids, self.addresses, self.tags = [], [], [], []
        self.feed(content.decode())
        assert not self.open

    def handle_starttag(self, tag, attrs):
        given = dict(attrs)
        self.tags.append(tag)
        self.ids += [given["id"]] if "id" in given else []
        self.addresses += [given[name] for name in ("src", "href", "action", "data") if name in given]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_same_records_give_the_same_bytes(study):
    assert page.html(study) == page.html(study) == page.html(kit.study(published=kit.published()))


def test_other_records_give_other_bytes(study):
    assert page.html(kit.study(broken=False)) != page.html(study)


def test_the_page_is_small_and_asks_for_nothing(study):
    content = page.html(study)
    outline = Outline(content)
    assert len(content) < 400_000
    assert all(address.startswith(("#", "data:,")) for address in outline.addresses)
    assert set(re.findall(rb"https?://[^\"' )]+", content)) == {b"http://www.w3.org/2000/svg"}
    assert b"@import" not in content
    assert b"url(#inside" in content


def test_ids_are_unique_and_contents_lead_to_sections(study):
    outline = Outline(page.html(study))
    assert len(outline.ids) == len(set(outline.ids))
    targets = [address[1:] for address in outline.addresses if address.startswith("#")]
    assert len(targets) > 10
    assert set(targets) <= set(outline.ids)


def test_hostile_names_stay_text():
    content = page.html(kit.study(({"criterion": "magnitude", "name": HOSTILE}, "snip"), seeds=2))
    text = content.decode()
    assert HOSTILE not in text
    assert "<b>x</b>" not in text
    assert "{{7*7}}" in text
    Outline(content)
    assert data_of(content)["series"][0]["name"] == HOSTILE


def test_the_data_hold_no_nan_and_cannot_end_their_element():
    hard = {"a": [math.nan, math.inf, 1.5], "b": "<!--</script>\u2028&"}
    text = strict.embedded(hard)
    assert not set("<>&\u2028") & set(text)
    assert json.loads(text) == {"a": [None, None, 1.5], "b": hard["b"]}


def test_a_study_with_nan_losses_is_strict_json():
    study = kit.study(seeds=2, broken=False)
    for record in study.store.records.values():
        for row in record.tables.get("epochs", []):
            row["train_loss"] = math.nan
    data = data_of(page.html(study))
    assert data["curves"]["steps"][0]["loss"] == [None] * 10
    assert data["curves"]["steps"][0]["top1"][0] == pytest.approx(85, abs=1)


def test_a_study_without_a_record_says_so():
    spec = case.spec(("magnitude", "snip"), seeds=1)
    study = kit.study_of("toy", specs.plain(spec), plan_of(spec), case.Kept())
    text = page.html(study).decode()
    for missing in ("nothing to draw", "no histograms", "No cell has been measured", "no record yet"):
        assert missing in text, missing
    assert data_of(text.encode())["metrics"] == []


def test_no_groups_at_all_still_make_a_page(study):
    content = page.html(replace(study, groups=[], published=()))
    assert data_of(content)["series"] == []


def test_a_single_seed_gets_no_verdict():
    text = page.html(kit.study(seeds=1, broken=False)).decode()
    assert "no verdict" in text
    assert "indistinguishable" not in re.sub(r"<script>.*", "", text, flags=re.S).replace(
        "may be indistinguishable", ""
    )


def test_broken_cells_enter_no_mean_and_are_named(study):
    data = data_of(page.html(study))
    place = next(i for i, g in enumerate(data["groups"]) if g["label"] == "random at 98 %")
    point = data["metrics"][0]["points"][place]
    assert not point["sound"]
    assert "low" not in point
    assert "±" not in point["text"]
    assert [run["status"] for run in data["groups"][place]["runs"]] == ["done", "collapsed", "done"]
    text = page.html(study).decode()
    assert "predicts class 1" in text
    assert "GraSP: &lt;no memory&gt;" in text


def test_top_1_and_top_5_stand_apart_with_their_chance_levels(study):
    data = data_of(page.html(study))
    assert [(m["name"], m["chance"]) for m in data["metrics"]] == [("top-1", 10), ("top-5", 50)]
    text = page.html(study).decode()
    assert 'id="table-accuracy"' in text
    assert 'id="table-test-top5"' in text


def test_published_values_stand_under_the_metric_that_they_are(study):
    text, data = page.html(study).decode(), data_of(page.html(study))
    assert 'id="table-published-test-top1"' in text
    assert 'id="table-published-test-top1-max"' in text
    assert [row["metric"] for row in data["published"]] == ["test_top1", "test_top1_max"]


def test_every_layer_and_every_measured_group_has_a_histogram(study):
    data = data_of(page.html(study))
    measured = [i for i, g in enumerate(data["groups"]) if any(r["test_top1"] for r in g["runs"])]
    assert sorted(map(int, data["histograms"])) == measured
    for histogram in data["histograms"].values():
        assert [layer[0] for layer in histogram["layers"]] == list(kit.LAYERS)


def test_heights_are_relative_and_never_hide_a_count():
    assert records.heights([0, 1, 100_000, 50_000]) == "AB_g"
    assert records.heights([0, 0]) == "AA"
    assert records.heights([]) == ""


def test_density_is_the_mean_over_the_measured_seeds(study):
    data = data_of(page.html(study))
    place = next(i for i, g in enumerate(data["groups"]) if g["label"] == "synflow at 90 %")
    cells = [case.cell_of(study.plan, "synflow", 0.9, seed) for seed in range(3)]
    tables = [study.store.record(cell.key).tables["layers"] for cell in cells]
    expected = sum(table[4]["params_kept"] for table in tables) / 3
    kept = data["layers"]["groups"][str(place)]["params_kept"][4]
    assert kept == pytest.approx(expected, rel=1e-5)


def test_curves_follow_the_path_of_a_cell(study):
    data = data_of(page.html(study))
    place = next(i for i, g in enumerate(data["groups"]) if g["label"] == "magnitude at 90 %")
    path = next(p for g, seed, p in data["curves"]["paths"] if (g, seed) == (place, 1))
    assert [part if isinstance(part, dict) else "training" for part in path] == [
        "training",
        {"cut": 0.9},
        "training",
    ]
    assert [len(data["curves"]["steps"][i]["loss"]) for i in path if isinstance(i, int)] == [10, 4]


def test_curves_of_later_seeds_are_left_out_of_a_page_that_would_be_too_large(study, monkeypatch):
    monkeypatch.setattr(records, "MOST_CURVES", 100)
    content = page.html(study)
    assert data_of(content)["curves"]["left_out"] == [1, 2]
    assert "seeds 1, 2 are left out" in content.decode()


def test_histograms_are_joined_in_a_page_that_would_be_too_large(study, monkeypatch):
    few = sum(len(t["counts"]) for r in study.store.records.values() for t in r.tables.get("histograms", ()))
    monkeypatch.setattr(records, "MOST_BINS", few // 10)
    whole = next(iter(data_of(page.html(study))["histograms"].values()))
    assert 10 <= len(whole["layers"][0][3]) < 60


def test_methods_are_drawn_as_in_the_plot_files():
    names = [{"criterion": "magnitude", "name": f"m{i}"} for i in range(10)]
    study = kit.study(("snip", "random", *names), seeds=1, bare=True, broken=False)
    for look, plotted in zip(series(study), plots.looks_of(study.groups).values(), strict=True):
        colour = style.GREY if look["slot"] is None else plots.COLOURS[look["slot"]]
        assert (colour, look["marker"]) == (plotted.colour, plotted.marker)


def test_records_without_tables_make_a_page_that_says_what_is_missing():
    text = page.html(kit.study(bare=True)).decode()
    for missing in (
        "hold no histograms",
        "No training has a record",
        "No measure record has a table of layers",
    ):
        assert missing in text, missing


def test_seconds_of_several_devices_are_not_drawn(study):
    mixed = study.frame.assign(device=[f"device {i % 2}" for i in range(len(study.frame))])
    content = page.html(replace(study, frame=mixed))
    assert "seconds" in [c["id"] for c in data_of(page.html(study))["costs"]]
    assert "seconds" not in [c["id"] for c in data_of(content)["costs"]]
    assert "Seconds come from several devices" in content.decode()


def test_accuracy_before_and_after_retraining_has_a_table(study):
    before = study.frame.assign(before_test_top1=study.frame["test_top1"] - 7)
    assert b"before retraining was not measured" in page.html(study)
    content = page.html(replace(study, frame=before))
    assert b'id="table-retraining"' in content
    assert b"before retraining was not measured" not in content


def test_settings_that_do_nothing_are_not_told():
    training = {"epochs": 5, "schedule": "constant", "momentum": 0.9, "gamma": 0.1, "weight_decay": 0.0}
    assert words.settings({**training, "optimizer": "adam"}) == "epochs 5, schedule constant, optimizer adam"
    assert "momentum 0.9" in words.settings({**training, "optimizer": "sgd"})
    assert "gamma 0.1" in words.settings({**training, "optimizer": "sgd", "schedule": "step"})
    assert words.settings({"epochs": 2}) == "epochs 2"


def test_a_page_names_what_methods_include_where_any_does():
    made = kit.study(broken=False)
    assert words.methods(made).header[-2:] == ("floor", "exclude")
    first, *others = made.spec["methods"]
    told = {**made.spec, "methods": [{**first, "include": ["*.experts", "w"]}, *others]}
    table = words.methods(kit.study_of("s", told, made.plan, made.store))
    assert table.header[-2:] == ("exclude", "include")
    assert [row[-1] for row in table.rows][:2] == ["*.experts, w", words.formats.NOTHING]
    assert table.fixed == len(table.header)
