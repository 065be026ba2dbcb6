"""Figures: one drawing for the page and the files, with the numbers of the records, the same bytes twice."""

import io
import subprocess
import sys
from xml.etree import ElementTree

import altair as alt
import page_kit as kit
import pytest
import report_case as case
from PIL import Image

from prunery.lab import spec as specs
from prunery.lab.plan import plan as plan_of
from prunery.report.figures import accuracy, axes, chart
from prunery.report.figures import all as figures
from prunery.report.figures.panels import panels_of

SLOW, FAST = 0.01, 0.1
COSTS = ("training_macs", "epochs", "seconds")
NAMES = ("accuracy", *COSTS, "curves", "density", "macs", "weights", "samples")


@pytest.fixture(scope="module")
def study():
    return kit.study(published=kit.published())


@pytest.fixture(scope="module")
def drawn(study):
    found = [figures.first(study), *(f for section in figures.others(study).values() for f in section)]
    return {figure.name: figure for figure in found}


def rows_of(spec):
    """All rows of data that stand in a chart."""
    if isinstance(spec, dict):
        own = spec.get("data", {}).get("values", []) if isinstance(spec.get("data"), dict) else []
        return [*own, *(row for value in spec.values() for row in rows_of(value))]
    return [row for value in spec for row in rows_of(value)] if isinstance(spec, list) else []


def many(count=8):
    """A study of two structures by two schedules by two learning rates."""
    methods = []
    for unit in ("weight", "filter"):
        for kind, schedule in (("once", "one_shot"), ("chain", {"name": "iterative", "rounds": 3})):
            for rate in (FAST, SLOW):
                methods.append(
                    {
                        "name": f"{unit}s {kind} lr {rate:g}",
                        "criterion": "magnitude",
                        "granularity": unit,
                        "scope": "layer",
                        "schedule": schedule,
                        "exclude": ["@output"],
                        "recovery": {"name": "finetune", "training": {"epochs": 4, "learning_rate": rate}},
                    }
                )
    spec = case.spec(methods[:count], seeds=3)
    plan = plan_of(spec)
    return kit.study_of("toy", specs.plain(spec), plan, case.store(plan, lambda c: 9000 + c.seed))


def test_every_figure_is_a_valid_chart_that_altair_accepts(drawn):
    assert set(drawn) == set(NAMES)
    for figure in drawn.values():
        assert isinstance(figure.whole(), alt.ConcatChart)
        figure.whole().to_dict(validate=True)


def test_page_and_files_hold_the_same_numbers(drawn):
    for name, figure in drawn.items():
        page = [row for spec in figure.specs() for row in rows_of(spec)]
        assert rows_of(figure.whole().to_dict(validate=False)) == page, name
        assert page, name


def test_a_figure_is_a_png_an_svg_and_a_pdf_the_same_bytes_twice(drawn):
    first, second = (drawn["accuracy"].files() for _ in range(2))
    assert set(first) == {"accuracy.png", "accuracy.svg"}
    assert first == second
    width, height = Image.open(io.BytesIO(first["accuracy.png"])).size
    assert width > 1000 > 600 < height
    assert ElementTree.fromstring(first["accuracy.svg"]).tag.endswith("svg")
    assert drawn["accuracy"].files(["pdf"])["accuracy.pdf"].startswith(b"%PDF")


def test_points_are_the_means_of_sound_groups_and_broken_runs_are_crosses(study, drawn):
    (spec,) = drawn["accuracy"].specs()
    rows = rows_of(spec)
    sound = [g for g in study.groups if g.role == "pruned" and g.sound]
    shown = {(row["method"], row["s"]): row for row in rows if "seeds" in row and "end" not in row}
    assert set(shown) == {(g.method, g.sparsity) for g in sound}
    for group in sound:
        row = shown[group.method, group.sparsity]
        assert row["y"] == pytest.approx(group.summary.mean, rel=1e-5)
        if group.summary.half is not None:
            assert row["low"] == pytest.approx(group.summary.low, rel=1e-5)
    crosses = {(row["method"], row["end"]) for row in rows if row.get("end")}
    assert crosses == {
        ("random", "collapsed"),
        ("grasp", "diverged"),
    }
    assert [row["y"] for row in rows if "published" in str(row.get("accuracy"))] == [98.0]


def test_up_to_six_methods_share_a_chart_and_no_colour_stands_twice(study):
    layout = panels_of(study)
    assert len(layout.panels) == 1
    assert len(set(layout.legend.values())) == len(kit.METHODS)
    assert layout.legend["random"] == chart.GREY


def test_more_methods_are_small_multiples_by_the_factor_that_varies():
    layout = panels_of(many())
    assert list(layout.shown) == list(layout.legend)  # each chart has several lines
    odd = panels_of(many(7))  # the last chart has one line, of a colour that the others explain
    assert set(odd.shown) == {f"lr {FAST:g}", f"lr {SLOW:g}"}
    assert [panel.title for panel in layout.panels] == [
        "weights once",
        "weights chain",
        "filters once",
        "filters chain",
    ]
    assert list(layout.panels[0].labels.values()) == ["lr 0.1", "lr 0.01"]
    assert list(layout.legend) == ["lr 0.1", "lr 0.01"]
    figure = accuracy.sparsity_figure(many())
    assert (len(figure.charts), len(figure.legend)) == (4, 2)


def test_many_methods_without_a_factor_have_a_chart_each_before_the_others():
    names = [{"criterion": "magnitude", "name": f"m{i}", "floor": i / 1000} for i in range(9)]
    layout = panels_of(kit.study(names, seeds=1, bare=True, broken=False))
    assert len(layout.panels) == 9
    assert all(len(panel.labels) == 1 and len(panel.behind) == 8 for panel in layout.panels)


def test_axes_have_a_tick_for_every_level_and_are_logarithmic_where_that_helps():
    levels = [0.5, 0.9, 0.99]
    values = axes.sparsity(levels).to_dict()["axis"]["values"]["expr"]
    assert "[0.5, 0.9, 0.99]" in values
    assert axes.switch(levels).param.value is True
    assert axes.switch([0.1, 0.5]).param.value is False


def test_histograms_travel_as_counts_of_any_network_and_seed(study, drawn):
    (spec,) = drawn["weights"].specs()
    rows = rows_of(spec)
    assert {row["network"] for row in rows} > {"magnitude at 90 %, seed 0", "magnitude at 90 %, seed 2"}
    first = [row["layer"] for row in rows[: len(kit.LAYERS)]]
    assert first == [name.removesuffix(".weight") for name in kit.LAYERS]
    assert max(max(row["h"]) for row in rows) == 60


def test_samples_are_the_images_that_the_first_record_keeps(study, drawn):
    rows = rows_of(drawn["samples"].specs()[0])
    kept = study.store.record(study.plan.cells[0].path[0]).tables["samples"]
    assert [row["class"] for row in rows] == [row["class"] for row in kept] == list(map(str, range(10)))
    assert all(
        row["jpeg"] == f"data:image/jpeg;base64,{k['jpeg']}" for row, k in zip(rows, kept, strict=True)
    )
    image = Image.open(io.BytesIO(drawn["samples"].files(("png",))["samples.png"])).convert("L")
    assert len(set(image.tobytes())) > 100  # grey levels: the images are drawn, and not only their names


def test_a_store_without_samples_has_no_such_figure():
    bare = kit.study(bare=True, seeds=1, broken=False)
    assert "setup" not in figures.others(bare)


def test_density_is_the_mean_over_the_measured_seeds(study, drawn):
    cells = [case.cell_of(study.plan, "synflow", 0.9, seed) for seed in range(3)]
    tables = [study.store.record(cell.key).tables["layers"] for cell in cells]
    expected = 100 * sum(table[4]["params_kept"] for table in tables) / 3 / tables[0][4]["params_dense"]
    name = kit.LAYERS[4].removesuffix(".weight")
    rows = rows_of(drawn["density"].specs()[0])
    (shown,) = {r["left"] for r in rows if (r["method"], r["level"], r["layer"]) == ("synflow", "90 %", name)}
    assert shown == pytest.approx(expected, rel=1e-3)


def test_curves_follow_the_path_of_a_cell(drawn):
    rows = rows_of(drawn["curves"].specs()[0])
    path = [row for row in rows if (row["series"], row["level"]) == ("magnitude", "90 %")]
    path = list({row["epoch"]: row for row in path}.values())
    assert [row["epoch"] for row in path] == list(range(1, 15))
    assert [row["epoch"] for row in path if row.get("cut")] == [10]


def test_nothing_done_has_no_figure():
    spec = case.spec(("magnitude",), seeds=1)
    study = kit.study_of("toy", specs.plain(spec), plan_of(spec), case.Kept())
    assert figures.first(study) is None
    assert figures.others(study) == {}


def test_a_page_is_transparent_with_the_colour_of_its_text_and_a_file_is_white():
    figure = accuracy.sparsity_figure(many(2))
    assert figure.specs()[0]["config"]["background"] == "transparent"
    assert figure.specs()[0]["config"]["axis"]["labelColor"] == "currentColor"
    assert figure.whole().to_dict(validate=False)["config"]["background"] == "white"


@pytest.mark.parametrize("module", ["accuracy", "curves", "layers", "classes", "all"])
def test_each_imports_without_torch_and_altair(module):
    heavy = "print([m for m in ('torch', 'altair', 'vl_convert') if m in sys.modules])"
    code = f"import sys; import prunery.report.figures.{module}; {heavy}"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
