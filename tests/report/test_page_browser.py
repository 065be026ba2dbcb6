"""The report page in a browser: nothing is asked of the network, and the answer comes first."""

import page_browser
import page_kit as kit
import pytest

from prunery.report import page

DRAWN = ("accuracy", "training_macs", "curves", "density")


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


def drawn(tab, name):
    box = tab.locator(f"#fig-{name} .plot").first
    box.scroll_into_view_if_needed()
    found = tab.locator(f"#fig-{name} .plot svg").first
    found.wait_for()
    return found


@pytest.mark.parametrize(("width", "height"), [(1440, 900), (390, 844)])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_first_screen_shows_the_answer_and_the_figure(browser, file, width, height, scheme):
    with page_browser.opened(browser, file, width=width, height=height, scheme=scheme) as tab:
        chart = drawn(tab, "accuracy")
        assert tab.evaluate("scrollY") == 0
        answer = tab.locator("#answer").bounding_box()
        assert answer["y"] + answer["height"] <= 590
        assert tab.locator("#fig-accuracy").bounding_box()["y"] <= 590
        assert chart.bounding_box()["width"] > 0.8 * min(width, 1100)


def test_every_figure_is_drawn(tab):
    for summary in tab.locator("details.fold > summary").all():
        summary.evaluate("summary => { summary.parentNode.open = true; }")
    for name in (*DRAWN, "macs", "weights", "seconds"):
        assert drawn(tab, name).bounding_box()["height"] > 150, name


def test_a_page_with_nothing_in_it_works_too(browser, tmp_path):
    path = tmp_path / "bare.html"
    path.write_bytes(page.html(kit.study(bare=True, seeds=1, broken=False)))
    with page_browser.opened(browser, path) as tab:
        assert tab.locator("#table-cells tbody tr").count() > 10


def test_a_click_sorts_a_table_and_a_second_one_turns_it(tab):
    tab.locator("details:has(#table-costs) > summary").click()
    header = tab.locator("#table-costs thead th").nth(1)
    header.locator("button").click()
    up = [float(text) for text in column(tab, "costs", 2)]
    assert up == sorted(up)
    assert header.get_attribute("aria-sort") == "ascending"
    header.locator("button").press("Enter")
    down = [float(text) for text in column(tab, "costs", 2)]
    assert down == sorted(up, reverse=True) != up


def test_what_is_no_number_is_sorted_last_both_ways(tab):
    tab.locator("details:has(#table-to-dense) > summary").click()
    header = tab.locator("#table-to-dense thead th").last
    for _ in range(2):
        header.locator("button").click()
        cells = column(tab, "to-dense", 4)
        assert cells[-2:] == ["-", "-"], cells
        assert cells[0] != "-"


def test_axes_switch_between_logarithmic_and_linear(tab):
    drawn(tab, "accuracy")
    button = tab.locator(".axes[data-figure=accuracy]")
    button.wait_for()
    assert button.inner_text() == "Axes: logarithmic"  # 98 % is among the levels
    before = tab.locator("#fig-accuracy svg").first.inner_html()
    button.click()
    assert button.inner_text() == "Axes: linear"
    changed = "before => document.querySelector('#fig-accuracy svg').innerHTML !== before"
    tab.wait_for_function(changed, arg=before)


def test_a_table_is_copied(tab):
    tab.locator('[data-table="table-accuracy"]').click()
    tab.locator('[data-table="table-accuracy"]', has_text="Copied").wait_for()
    rows = [line.split("\t") for line in tab.evaluate("navigator.clipboard.readText()").splitlines()]
    assert rows[0] == ["method", "epochs", "50 %", "90 %", "98 %"]
    assert [row[0] for row in rows[1:]] == column(tab, "accuracy", 1)


@pytest.mark.parametrize("width", [390, 1440])
def test_the_page_does_not_scroll_sideways(browser, file, width):
    with page_browser.opened(browser, file, width=width) as tab:
        tab.evaluate("document.querySelectorAll('details').forEach(box => { box.open = true; })")
        drawn(tab, "macs")
        assert tab.evaluate("document.documentElement.scrollWidth") == width


def background(tab):
    return sum(map(int, tab.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g)")[:3]))


def test_dark_and_light_follow_the_system_and_the_button(browser, file):
    with page_browser.opened(browser, file, scheme="dark") as tab:
        assert background(tab) < 150
        label = drawn(tab, "accuracy").locator("text").first
        assert sum(map(int, label.evaluate("n => getComputedStyle(n).fill.match(/\\d+/g)")[:3])) > 500
        button = tab.locator("#theme")
        button.click()
        assert button.inner_text() == "Theme: light"
        assert background(tab) > 600
    with page_browser.opened(browser, file, scheme="light") as tab:
        assert background(tab) > 600


def test_the_first_tab_stop_skips_to_the_content(tab):
    tab.keyboard.press("Tab")
    assert tab.evaluate("document.activeElement.className") == "skip"
    tab.keyboard.press("Enter")
    assert tab.evaluate("document.activeElement.id") == "content"


def test_paper_hides_what_only_a_screen_can_do(tab):
    drawn(tab, "accuracy")
    tab.emulate_media(media="print")
    assert not tab.locator("#theme").is_visible()
    assert tab.locator("#fig-accuracy svg").first.is_visible()
    assert background(tab) > 600
