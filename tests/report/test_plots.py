"""The plot: deterministic bytes, something on it, and axes that show what matters."""

import io
import re

import numpy as np
import pytest
import report_case as case
from PIL import Image

from prunery.report.figures import plots, style
from prunery.report.figures.scale import accuracy_ticks, scale, sparsity_ticks, spread
from prunery.report.results.frame import frame
from prunery.report.results.groups import groups_of

LOST = {0.5: 10, 0.9: 50, 0.98: 200}


def groups_from(plan, *, collapsed=()):
    def right(cell):
        if cell.key in collapsed:
            return 1135
        return 9800 + 10 * cell.seed - LOST.get(cell.sparsity, 0) * (10 if cell.method == "random" else 1)

    notes = {key: ["predicts class 1 for all 10000"] for key in collapsed}
    return groups_of(frame(plan, case.store(plan, right, notes=notes)))


def test_the_same_records_give_the_same_bytes():
    plan = case.study()
    first, second = (plots.images(groups_from(plan), title="toy") for _ in range(2))
    assert first == second
    assert set(first) == {"png", "svg"}
    assert plots.images(groups_from(plan), title="other")["svg"] != first["svg"]


def test_no_date_and_no_version_is_in_the_files():
    images = plots.images(groups_from(case.study()), title="toy")
    assert b"date" not in images["svg"].lower()
    assert b"matplotlib" not in images["png"].lower()
    assert not re.search(rb"20\d\d-\d\d", images["svg"])


def test_the_picture_is_not_blank_and_shows_each_method_in_its_colour():
    image = Image.open(io.BytesIO(plots.images(groups_from(case.study()), title="toy")["png"])).convert("RGB")
    pixels = np.asarray(image)
    assert pixels.std() > 10
    for colour in (plots.COLOURS[0], plots.COLOURS[1], style.GREY):
        wanted = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
        assert (pixels == wanted).all(-1).sum() > 200, colour
    assert (pixels == [int(plots.COLOURS[2][i : i + 2], 16) for i in (1, 3, 5)]).all(-1).sum() == 0


def test_global_settings_stay_as_they_were():
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    plots.images(groups_from(case.study()), title="toy")
    assert dict(mpl.rcParams) == before


def test_nothing_done_gives_no_picture():
    assert plots.images(groups_of(frame(case.study(), case.Kept())), title="toy") == {}


@pytest.mark.parametrize("more", [{"seeds": 1}, {"sparsities": [0.9]}, {"methods": ["random"]}])
def test_small_studies_have_a_picture_too(more):
    assert len(plots.images(groups_from(case.study(**more)), title="toy")["png"]) > 10_000


def test_a_cell_with_a_collapsed_seed_breaks_the_line_and_is_labelled():
    plan = case.study()
    broken = case.cell_of(plan, "snip", 0.98, 1)
    figure = plots.accuracy(groups_from(plan, collapsed={broken.key}), title="toy")
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.texts]
    assert "snip collapsed 1/3" in labels
    assert "magnitude 96.10" in labels
    assert "dense 98.10" in labels
    line = next(li for li in axes.lines if li.get_color() == plots.COLOURS[1] and li.get_linestyle() == "-")
    assert np.isnan(line.get_ydata()).tolist() == [False, False, True]


def test_a_collapsed_cell_does_not_flatten_the_rest():
    plan = case.study(["magnitude"])
    axis = scale(groups_from(plan, collapsed={case.cell_of(plan, "magnitude", 0.98, 1).key}))
    assert axis.inside(11.35)
    # from 97.6 to 98.1 is more than a twentieth of the height though the axis reaches to 11 %
    assert (axis.y(98.1) - axis.y(97.6)) / (axis.top - axis.bottom) > 0.05


def test_the_axes_by_hand():
    axis = scale(groups_from(case.study()))
    assert axis.x(0.9) == pytest.approx(1.0)
    assert axis.x(0.99) == pytest.approx(2.0)
    assert axis.y(99.0) == pytest.approx(2.0)
    assert axis.accuracy(axis.y(97.5)) == pytest.approx(97.5)
    assert axis.y(100.0) == axis.y(99.995)  # half an error in ten thousand images
    assert axis.left < axis.x(0.5)
    assert axis.x(0.98) < axis.right


def test_wide_and_narrow_axes_have_readable_ticks():
    broad = scale(groups_from(case.study()))
    assert {80, 90, 95, 98} <= set(accuracy_ticks(broad))
    narrow = scale(groups_from(case.study(["magnitude"], sparsities=[0.5])))
    assert len(accuracy_ticks(narrow)) >= 4
    assert all(narrow.inside(tick) for tick in accuracy_ticks(narrow))


def test_crowded_sparsities_are_thinned_from_the_left():
    plan = case.study(["magnitude"], sparsities=[0.1, 0.12, 0.5, 0.9, 0.99])
    assert sparsity_ticks(scale(groups_from(plan)), [0.1, 0.12, 0.5, 0.9, 0.99]) == [0.12, 0.5, 0.9, 0.99]


def test_labels_are_moved_apart_and_keep_their_order():
    assert spread([0.2, 0.8], gap=0.1, low=0, high=1) == pytest.approx([0.2, 0.8])
    assert spread([0.5, 0.52], gap=0.1, low=0, high=1) == pytest.approx([0.46, 0.56])
    assert spread([0.0, 0.0, 0.0], gap=0.1, low=0, high=1) == pytest.approx([0.05, 0.15, 0.25])
    assert spread([0.99, 0.98, 0.97], gap=0.1, low=0, high=1) == pytest.approx([0.95, 0.85, 0.75])
    assert spread([], gap=0.1, low=0, high=1) == []
