"""The report's figures for papers: what they draw is what the records say, and nothing without records."""

import math
import subprocess
import sys
from itertools import combinations

import matplotlib as mpl
import numpy as np
import page_kit as kit
import pytest
from cli_kit import prunery
from matplotlib.backends.backend_agg import FigureCanvasAgg
from write_kit import FILES, kept

from prunery.report.figures import cost, curves, density, figure_files, macs, weights
from prunery.report.figures.data import Data, layer_name, parts, picked, pruned, share
from prunery.report.figures.heights import log_ticks
from prunery.report.figures.scale import Scale
from prunery.report.figures.sheet import LARGE, text_width, wrapped
from prunery.report.page import points, records

KINDS = ("cost", "curves", "density", "macs", "weights")


@pytest.fixture(scope="module")
def study():
    return kit.study()


@pytest.fixture(scope="module")
def data(study):
    return Data(study)


def drawn(module, data):
    return [draw() for draw in module.figures(data)]


def panels(figure):
    return {axes.get_label(): axes for axes in figure.axes if axes.get_label() not in ("legend", "shades")}


def lines(axes, label):
    return [line for line in axes.lines if line.get_label() == label]


def accuracy(height):
    return Scale(0, 1, 0, 1, 100).accuracy(height)


def texts(figure):
    words = [t.get_text() for t in figure.texts]
    return " ".join(words + [t.get_text() for axes in figure.axes for t in axes.texts])


def test_the_cost_figure_has_the_points_of_the_page(study, data):
    (figure,) = drawn(cost, data)
    axes = panels(figure)["cost"]
    shown = next(m for m in points.metrics(study) if m["id"] == "test_top1")["points"]
    macs = next(c for c in points.costs(study) if c["id"] == "training_macs")["values"]
    plotted = cost.points(data)
    aside = cost.shifts(plotted, np.ptp(axes.get_xlim()))
    seen = 0
    for place, group in enumerate(study.groups):
        places = [i for i, p in enumerate(plotted) if p.group is group]
        assert bool(places) == shown[place]["sound"]
        for i in places:
            label = group.method if group.role == "pruned" else group.role
            at = math.log10(macs[place]) + aside[i]
            marks = [m for m in lines(axes, label) if abs(m.get_xdata()[0] - at) < 1e-9]
            assert sum(near(mark, shown[place]) for mark in marks) == 1
            bars = [c for c in axes.collections if c.get_label() == label]
            ends = [sorted(accuracy(y) for _, y in c.get_segments()[0]) for c in bars]
            if shown[place]["low"] is not None:
                assert any(np.allclose(e, [shown[place]["low"], shown[place]["high"]]) for e in ends)
            seen += 1
    assert seen == len(plotted) > 10


def near(mark, point):
    return abs(accuracy(mark.get_ydata()[0]) - point["mean"]) < 1e-9


def test_the_front_is_what_no_point_beats(data):
    plotted = cost.points(data)
    best = cost.front(plotted)
    for p in plotted:
        beaten = any(o.cost <= p.cost and o.mean >= p.mean and o is not p for o in plotted)
        assert (p in best) == (not beaten)
    (line,) = lines(panels(drawn(cost, data)[0])["cost"], "front")
    assert list(line.get_xdata())[:-1] == pytest.approx([math.log10(p.cost) for p in best])
    assert [accuracy(y) for y in line.get_ydata()][:-1] == pytest.approx([p.mean for p in best])


def test_equal_costs_go_aside_one_place_each_and_dense_stays(data):
    plotted = cost.points(data)
    aside = cost.shifts(plotted, 1.0)
    for cost_ in {p.cost for p in plotted}:
        steps = {
            (p.group.role, p.group.method): a for p, a in zip(plotted, aside, strict=True) if p.cost == cost_
        }
        assert all(a == 0 for (role, _), a in steps.items() if role != "pruned")
        methods = [a for (role, _), a in steps.items() if role == "pruned"]
        assert len(set(methods)) == len(methods)
        assert 0 not in methods or len(methods) == len(steps)


def test_the_curves_are_those_of_the_last_training(study, data):
    (figure,) = drawn(curves, data)
    shown = records.curves(study)
    dense = study.index("dense", "dense")
    checked = 0
    for label, axes in panels(figure).items():
        for place, group in enumerate(study.groups):
            if group.role != "pruned" or label != f"{100 * group.sparsity:g} %":
                continue
            lasts = [path[-1] for p, _, path in shown["paths"] if p == place and isinstance(path[-1], int)]
            values = [shown["steps"][step]["top1"] for step in lasts]
            (line,) = lines(axes, group.method)
            assert list(line.get_xdata()) == [1, 2, 3, 4]
            assert [accuracy(y) for y in line.get_ydata()] == pytest.approx(list(np.mean(values, axis=0)))
            checked += 1
        last = [shown["steps"][path[-1]]["top1"][-1] for p, _, path in shown["paths"] if p == dense]
        assert accuracy(lines(axes, "dense")[0].get_ydata()[0]) == pytest.approx(np.mean(last))
    assert checked == 15


def test_an_epoch_that_a_seed_lacks_has_no_mean_and_no_training_has_no_curve():
    assert curves.band([[10.0, 20.0, None], [30.0, 40.0, 50.0]]) == [(1, 10, 20, 30), (2, 20, 30, 40)]
    assert curves.band([[10.0, 20.0], [30.0]]) == [(1, 10, 20, 30)]
    steps = [{"top1": [50.0]}, {"top1": []}]
    assert curves._last(steps, [0, {"cut": 0.5}]) == []  # it was not trained after its cut
    assert curves._last(steps, [0, {"cut": 0.5}, 1]) == []
    assert curves._last(steps, [{"cut": 0.5}, 0, 1]) == [50.0]


def test_the_heat_map_has_the_page_s_densities(study, data):
    layers, _ = records.layers_and_histograms(study)
    (figure,) = drawn(density, data)
    for label, axes in panels(figure).items():
        array = axes.collections[0].get_array()
        for x, method in enumerate(kit.METHODS):
            place = next(
                i
                for i, g in enumerate(study.groups)
                if g.method == method and f"{100 * g.sparsity:g} %" == label and g.role == "pruned"
            )
            kept = layers["groups"][place]["params_kept"]
            wanted = [k / d for k, d in zip(kept, layers["dense"]["params_dense"], strict=True)]
            assert list(array[:, x]) == pytest.approx(wanted)
            written = [t.get_text() for t in axes.texts if t.get_position()[0] == x + 0.5]
            assert written == [share(v) for v in wanted]


def test_the_macs_are_the_page_s_with_their_sum_first(study, data):
    layers, _ = records.layers_and_histograms(study)
    (figure,) = drawn(macs, data)
    for label, axes in panels(figure).items():
        for place, group in enumerate(study.groups):
            if group.role == "pruned" and f"{100 * group.sparsity:g} %" == label:
                kept = layers["groups"][place]["macs_kept"]
                (line,) = lines(axes, group.method)
                assert [10**y for y in line.get_ydata()] == pytest.approx([sum(kept), *kept])
        tops = [10 ** max(line.get_ydata()) for line in lines(axes, "dense")]
        whole = layers["dense"]["macs_dense"]
        assert tops == pytest.approx([sum(whole), *whole])


def test_the_ridges_are_the_page_s_and_say_what_was_removed(study, data):
    _, histograms = records.layers_and_histograms(study)
    made = drawn(weights, data)
    by_label = {label: axes for figure in made for label, axes in panels(figure).items()}
    assert list(by_label) == list(kit.METHODS)
    for method, axes in by_label.items():
        place = study.index(method, "pruned", 0.9)
        rows = histograms[str(place)]["layers"]
        shown = {p.get_label(): p.get_xy() for p in axes.patches if p.get_label() in kit.LAYERS}
        for i, (name, low, high, code, *_) in enumerate(rows):
            corners, base = shown[name], len(rows) - 1 - i
            assert (corners[:, 0].min(), corners[:, 0].max()) == pytest.approx((low, high))
            heights = [records.ALPHABET.index(c) / 63 for c in code]
            assert (corners[1:-2:2, 1] - base) / weights.TALL == pytest.approx(heights, abs=1e-9)
    assert texts(made[0]).count("50 % of weights removed") == 4
    assert "seed 0" in texts(made[0])


def test_a_layer_s_own_axis_where_layers_are_unlike():
    assert weights._axis([[1, 1, 2], [1, 1, 3]]) == "all"
    assert weights._axis([[1, 1, 2], [10, 10, 30]]) == "panel"
    assert weights._axis([[0.1, 0.1, 2], [0.1, 0.1, 3]]) == "layer"
    assert weights._axis([]) == "all"


def test_the_same_records_give_the_same_bytes_and_settings_stay(study):
    before = dict(mpl.rcParams)
    first = figure_files.files(study)
    assert first == figure_files.files(study)
    assert dict(mpl.rcParams) == before
    assert {name.partition(".")[0].partition("-")[0] for name in first} == set(KINDS)
    several = [f"weights{part}.{kind}" for part in ("-2", "") for kind in ("png", "svg")]
    assert sorted(name for name in first if name.startswith("weights")) == several


def test_what_was_not_recorded_is_not_drawn(study):
    bare = kit.study(("magnitude", "snip"), bare=True, broken=False)
    assert sorted(figure_files.files(bare)) == ["cost.png", "cost.svg"]
    missing = kit.study(("magnitude",), sparsities=(0.9,), seeds=1, bare=True, broken=False)
    missing.store.records.clear()
    empty = kit.study_of(missing.name, missing.spec, missing.plan, missing.store)
    assert figure_files.files(empty) == {}


LONG = ("a control with a name of more than forty letters", "W" * 36, "price in $ and $")


@pytest.mark.parametrize("module", [cost, curves, density, macs, weights])
def test_no_text_leaves_the_sheet_or_meets_another(module):
    named = zip(("random", "magnitude", "snip"), LONG, strict=True)
    study = kit.study([{"criterion": c, "name": n} for c, n in named], broken=False)
    for draw in map(figure_files._plainly, module.figures(Data(study))):
        figure = draw()
        canvas = FigureCanvasAgg(figure)
        canvas.draw()
        width, height = canvas.get_width_height()
        boxes = [(t.get_text(), t.get_window_extent(), t.get_rotation()) for t in shown_texts(figure)]
        assert len(boxes) > 15
        for text, box, _ in boxes:
            assert min(box.x0, box.y0) >= -1, text
            assert max(box.x1 - width, box.y1 - height) <= 1, text
        level = [(text, box) for text, box, turned in boxes if not turned]
        for (one, a), (other, b) in combinations(level, 2):
            apart = a.x1 <= b.x0 + 1 or b.x1 <= a.x0 + 1 or a.y1 <= b.y0 + 1 or b.y1 <= a.y0 + 1
            assert apart, (one, other)


def shown_texts(figure):
    """The texts that are drawn: all but ticks beyond the limits."""
    texts = list(figure.texts)
    for axes in figure.axes:
        texts += [*axes.texts, axes.title, axes._left_title, axes._right_title]
        for axis in (axes.xaxis, axes.yaxis) if axes.axison else ():
            texts += [axis.label, *(tick.label1 for tick in axis._update_ticks())]
    return [text for text in texts if text.get_text() and text.get_visible()]


def test_many_methods_are_drawn_in_parts_that_say_so():
    many = [
        {"criterion": "magnitude", "name": f"m{i}", "scope": "global" if i % 2 else "layer"}
        for i in range(11)
    ]
    data = Data(kit.study(many, sparsities=(0.5, 0.9), seeds=1, broken=False))
    methods = pruned(data, lambda place: True)
    split = parts(data, methods)
    assert [len(p.methods) for p in split] == [8, 3]
    assert [m for p in split for m in p.methods] == methods
    made = drawn(macs, data)
    assert "(1 of 2)" in texts(made[0])
    assert "3 of the study's 11 methods" in texts(made[1])


def test_unequal_budgets_and_seeds_are_said(data):
    for module in (cost, curves, density, macs, weights):
        assert "UNEQUAL total epochs 4-14" in texts(drawn(module, data)[0])
    assert "; total epochs 4;" in texts(drawn(weights, data)[1])  # one method alone
    assert "95 % t-intervals" in texts(drawn(cost, data)[0])
    assert "band: lowest to highest seed" in texts(drawn(curves, data)[0])


def test_small_parts_by_hand():
    assert picked([1, 2, 3], 4) == [1, 2, 3]
    assert picked([0, 1, 2, 3, 4, 5, 6, 7, 8], 3) == [0, 4, 8]
    shares = {0: "0", 0.00123: "0.12", 0.0099999: "1.0", 0.0512: "5.1", 0.0998: "10", 0.9999: "100"}
    assert {value: share(value) for value in shares} == shares
    assert layer_name("features.0.weight") == "features.0"
    assert layer_name("a." * 20 + "conv") == "…" + ("a." * 20 + "conv")[-25:]
    assert log_ticks(2.9, 6.1) == [1e3, 1e4, 1e5, 1e6]
    for line in wrapped(["W" * 60, "and", "more"], 2.0, LARGE):
        assert text_width(line, LARGE) <= 2.0


def test_the_option_writes_them_and_nothing_does_without_it(tmp_path):
    store = kept(tmp_path / "store")
    for folder, options in (("plain", []), ("more", ["--figures"])):
        status, *_ = prunery("report", store.root, "-o", tmp_path / folder, *options, cwd=tmp_path)
        assert status == 0
    assert sorted(p.name for p in (tmp_path / "plain").iterdir()) == sorted(FILES)
    assert sorted(p.name for p in (tmp_path / "more" / "figures").iterdir()) == ["cost.png", "cost.svg"]
    for name in FILES:
        assert (tmp_path / "more" / name).read_bytes() == (tmp_path / "plain" / name).read_bytes()


@pytest.mark.parametrize("module", ["figures.figure_files", "page"])
def test_each_imports_first_free_of_torch_and_matplotlib(module):
    heavy = "print([m for m in ('torch', 'matplotlib') if m in sys.modules])"
    command = [sys.executable, "-c", f"import sys, prunery.report.{module}; {heavy}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.strip() == "[]"
