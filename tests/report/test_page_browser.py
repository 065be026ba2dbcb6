"""The report page in a browser: nothing is asked of the network, and everything can be reached and done."""

import csv
import io
import json

import page_browser
import page_kit as kit
import pytest

from prunery.report import page

CURVES, WEIGHTS, ACCURACY = "#fig-curves", "#fig-weights", "#fig-accuracy"


@pytest.fixture(scope="module")
def browser():
    with page_browser.started() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page.html(kit.study(published=kit.published())))
    return path


@pytest.fixture
def tab(browser, file):
    with page_browser.opened(browser, file) as opened:
        yield opened


def column(tab, table, place):
    return tab.locator(f"#table-{table} tbody tr > :nth-child({place})").all_inner_texts()


def copied(tab, table, kind):
    """What the clipboard holds after a table was copied as this kind."""
    block = tab.locator(f'.tools[data-table="{table}"]')
    if not block.is_visible():
        block.locator("xpath=..").locator("summary").click()
    block.locator(f'[data-do="copy"][data-as="{kind}"]').click()
    block.locator(".said", has_text="Copied").wait_for()
    return tab.evaluate("navigator.clipboard.readText()")


def test_every_figure_is_drawn_and_labelled(tab):
    for name in ("accuracy", "cost", "curves", "macs", "weights"):
        drawn = tab.locator(f"#fig-{name} svg[role=group]").first
        assert drawn.get_attribute("aria-label"), name
        assert drawn.bounding_box()["height"] > 200, name
    assert tab.locator("#fig-density table.heat tbody tr").count() == len(kit.LAYERS)


def test_a_page_with_nothing_in_it_works_too(browser, tmp_path):
    path = tmp_path / "bare.html"
    path.write_bytes(page.html(kit.study(bare=True, seeds=1, broken=False)))
    with page_browser.opened(browser, path) as tab:
        assert tab.locator("#all-cells tbody tr").count() > 10


def test_a_click_sorts_a_table_and_a_second_one_turns_it(tab):
    header = tab.locator("#table-costs thead th").nth(1)
    header.locator("button").click()
    up = [float(text) for text in column(tab, "costs", 2)]
    assert up == sorted(up)
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").press("Enter")
    down = [float(text) for text in column(tab, "costs", 2)]
    assert down == sorted(up, reverse=True) != up
    assert header.get_attribute("aria-sort") == "descending"


def test_what_is_no_number_is_sorted_last_both_ways(tab):
    header = tab.locator("#table-to-dense thead th").last
    for _ in range(2):
        header.locator("button").click()
        cells = column(tab, "to-dense", 4)
        assert cells[-2:] == ["-", "-"], cells
        assert cells[0] != "-"


def test_the_legend_hides_a_method_in_all_figures(tab):
    button = tab.locator(f"{ACCURACY} .legend button", has_text="synflow")
    shown = [tab.locator(f'{name} .pt[data-of="synflow"]') for name in (ACCURACY, "#fig-cost", CURVES)]
    assert [marks.count() for marks in shown] == [3, 3, 2]
    button.press("Enter")
    assert [marks.count() for marks in shown] == [0, 0, 0]
    assert button.get_attribute("aria-pressed") == "false"
    assert tab.evaluate("document.activeElement.dataset.series") == "synflow"
    button.click()
    assert [marks.count() for marks in shown] == [3, 3, 2]


def places(tab):
    points = tab.locator(f'{ACCURACY} .pt[data-of="snip"]')
    return [points.nth(i).bounding_box()["x"] for i in range(3)]


def test_the_sparsity_axis_switches_between_log_density_and_linear(tab):
    a, b, c = places(tab)
    assert (c - b) / (b - a) == pytest.approx(1, abs=0.03)  # 50, 90, 98 %: five times fewer weights each
    tab.locator(f"{ACCURACY} fieldset", has_text="Sparsity axis").get_by_label("linear").check()
    a, b, c = places(tab)
    assert (c - b) / (b - a) == pytest.approx(0.2, abs=0.03)


def test_top_5_is_another_view_and_never_beside_top_1(tab):
    assert "top-1" in tab.locator(f"{ACCURACY} svg.title, {ACCURACY} text.title").first.text_content()
    tab.locator(f"{ACCURACY} fieldset", has_text="Metric").get_by_label("top-5").check()
    assert "top-5" in tab.locator(f"{ACCURACY} text.title").first.text_content()


def test_tables_are_copied_in_three_formats(tab):
    rows = list(csv.reader(io.StringIO(copied(tab, "accuracy", "csv"))))
    assert rows[0] == ["method", "epochs", "50 %", "90 %", "98 %"]
    assert len(rows) == 8
    markdown = copied(tab, "accuracy", "markdown").splitlines()
    assert markdown[:2] == ["| method | epochs | 50 % | 90 % | 98 % |", "|---|--:|--:|--:|--:|"]
    latex = copied(tab, "accuracy", "latex")
    assert "method & epochs & 50 \\% & 90 \\% & 98 \\% \\\\" in latex
    assert "$\\pm$" in latex
    assert latex.count("\\\\") == 8


def test_what_is_copied_is_in_the_order_shown(tab):
    tab.locator("#table-accuracy thead th").first.locator("button").click()
    rows = list(csv.reader(io.StringIO(copied(tab, "accuracy", "csv"))))
    assert [row[0] for row in rows[1:]] == column(tab, "accuracy", 1)
    assert rows[-1][0] == "synflow"


def test_a_table_is_downloaded(tab):
    tab.locator('.export:has(.tools[data-table="costs"]) summary').click()
    with tab.expect_download() as waiting:
        tab.locator('.tools[data-table="costs"] [data-do="save"][data-as="csv"]').click()
    assert waiting.value.suggested_filename == "toy-costs.csv"
    with open(waiting.value.path(), encoding="utf-8") as saved:
        assert saved.readline().startswith("method,epochs before")


def test_a_point_opens_its_records_by_keyboard_and_gives_the_focus_back(tab):
    first = tab.locator(f"{ACCURACY} .pt").first
    first.focus()
    tab.keyboard.press("ArrowRight")
    label = tab.evaluate("document.activeElement.getAttribute('aria-label')")
    assert label.startswith("random at 90 %, test top-1: 96.64 ±0.22 %")
    assert "n = 3" in label
    tab.keyboard.press("Enter")
    panel = tab.locator("#why")
    assert panel.locator("h2").inner_text() == "random at 90 %"
    data = json.loads(tab.locator("#data").text_content())
    keys = next(g for g in data["groups"] if g["label"] == "random at 90 %")["runs"]
    assert panel.locator("code").all_inner_texts() == [f"prunery why {run['key']}" for run in keys]
    tab.keyboard.press("Escape")
    assert not panel.is_visible()
    assert tab.evaluate("document.activeElement.getAttribute('aria-label')") == label


def test_a_table_cell_opens_its_records(tab):
    tab.locator("#table-accuracy button.why", has_text="collapsed").press("Enter")
    panel = tab.locator("#why")
    assert "predicts class 1" in panel.inner_text()
    assert "collapsed 1/3" in panel.inner_text()
    panel.get_by_text("Close").click()
    assert not panel.is_visible()


def test_every_cell_stands_in_a_table_with_its_key(tab):
    data = json.loads(tab.locator("#data").text_content())
    keys = [run["key"] for group in data["groups"] for run in group["runs"]]
    assert column(tab, "cells", 4) == keys
    tab.locator("#table-cells button.why").last.press("Enter")
    assert keys[-1] in tab.locator("#why").inner_text()


def test_one_tab_stop_for_each_figure(tab):
    for name in ("accuracy", "cost", "macs", "weights"):
        assert tab.locator(f'#fig-{name} .pt[tabindex="0"]').count() == 1, name


def test_collapsed_cells_are_marked_and_interrupt_their_line(tab):
    broken = tab.locator(f'{ACCURACY} .pt[data-of="random"]').last
    assert "collapsed 1/3" in broken.get_attribute("aria-label")
    assert "without them" in broken.get_attribute("aria-label")


def test_every_layer_has_its_ridge_in_order(tab):
    ridges = tab.locator(f"{WEIGHTS} .ridge")
    assert ridges.evaluate_all("nodes => nodes.map(n => n.dataset.layer)") == list(kit.LAYERS)
    assert tab.locator(f"{WEIGHTS} .ridge path").count() >= len(kit.LAYERS)
    before = ridges.nth(5).inner_html()
    tab.locator(f"{WEIGHTS} select").select_option(label="synflow at 98 %")
    assert ridges.count() == len(kit.LAYERS)
    assert ridges.nth(5).inner_html() != before


def test_curves_show_the_cuts_of_the_chosen_sparsity_and_seed(tab):
    cuts = tab.locator(f"{CURVES} .cut title").all_text_contents()
    assert "magnitude: cut to 90 % after 10 epochs" in cuts
    assert "snip: cut to 90 % after 0 epochs" in cuts
    tab.locator(f"{CURVES} select[name=at]").select_option(label="98 %")
    tab.locator(f"{CURVES} select[name=seed]").select_option(label="1")
    assert "seed 1" in tab.locator(f"{CURVES} svg").last.get_attribute("aria-label")
    cuts = tab.locator(f"{CURVES} .cut title").all_text_contents()
    assert "magnitude: cut to 98 % after 10 epochs" in cuts


def test_the_numbers_of_a_figure_are_a_table(tab):
    for name in ("accuracy", "cost", "curves", "density", "macs", "weights"):
        tab.locator(f"#fig-{name} .numbers > summary").click()
        rows = tab.locator(f"#table-fig-{name} tbody tr")
        rows.first.wait_for()  # the page fills the table in its own time after the click
        assert rows.count() >= 5, name
    assert tab.locator("#table-fig-weights tbody tr").count() == len(kit.LAYERS)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_does_not_scroll_sideways(browser, file, width):
    with page_browser.opened(browser, file, width=width) as tab:
        for summary in tab.locator(".numbers > summary").all():
            summary.click()
        assert tab.evaluate("document.documentElement.scrollWidth") == width
        outside = "n => n.getBoundingClientRect().right > innerWidth + 1"
        assert not any(tab.locator("main > section > *").evaluate_all(f"nodes => nodes.map({outside})"))


def background(tab):
    return sum(map(int, tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")[:3]))


def test_dark_and_light_follow_the_system_and_the_button(browser, file):
    with page_browser.opened(browser, file, scheme="dark") as tab:
        assert background(tab) < 150
        button = tab.locator("#theme")
        button.click()
        assert button.inner_text() == "Theme: light"
        assert background(tab) > 600
        tab.reload()
        assert background(tab) > 600  # the choice is kept
        button.click()
        assert background(tab) < 150
    with page_browser.opened(browser, file, scheme="light") as tab:
        assert background(tab) > 600


def test_the_first_tab_stop_skips_to_the_content(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"
    assert [
        tab.locator(f"{landmark}:visible").count() for landmark in ("main", "nav", "header", "footer")
    ] == [1] * 4


def test_paper_hides_what_only_a_screen_can_do(tab):
    tab.emulate_media(media="print")
    assert not tab.locator(".toc").is_visible()
    assert not tab.locator(f"{ACCURACY} .controls").is_visible()
    assert tab.locator(f"{ACCURACY} svg[role=group]").is_visible()
    assert background(tab) > 600
