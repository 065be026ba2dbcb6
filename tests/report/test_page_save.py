"""Figures of the report page as files: what is drawn, in light colours, with its legend."""

import io
from pathlib import Path
from xml.etree import ElementTree

import page_browser
import page_kit as kit
import pytest
from PIL import Image

from prunery.report import page


@pytest.fixture(scope="module")
def browser():
    with page_browser.started() as started:
        yield started


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_bytes(page.html(kit.study()))
    return path


def saved(tab, name, kind):
    box = tab.locator(f"#fig-{name} .picture")
    if not box.get_attribute("open"):
        box.evaluate("box => { box.open = true; }")
    with tab.expect_download() as waiting:
        box.locator(f'[data-as="{kind}"]').click()
    assert waiting.value.suggested_filename == f"toy-{name}.{kind}"
    return Path(waiting.value.path()).read_bytes()


@pytest.mark.parametrize("name", ["accuracy", "cost", "curves", "macs", "weights"])
def test_a_figure_is_saved_as_it_is_drawn_in_light_colours(browser, file, name):
    with page_browser.opened(browser, file, scheme="dark") as tab:
        if name in ("accuracy", "cost"):
            tab.locator(f'#fig-{name} [data-series="snip"]').click()
        drawn = ElementTree.fromstring(saved(tab, name, "svg"))
        shown = tab.locator(f"#fig-{name} .plot svg").first
        size = float(shown.get_attribute("width")), float(drawn.get("height"))
        assert float(drawn.get("width")) == size[0]
        text = "".join(drawn.itertext())
        assert shown.locator("text").first.text_content() in text
        looks = [node.get("fill", "") + node.get("stroke", "") for node in drawn.iter()]
        assert looks[1] == "#fff"
        assert not any("var(" in look for look in looks)
        assert not any("class" in node.attrib or "style" in node.attrib for node in drawn.iter())
        if name in ("accuracy", "cost"):
            assert "magnitude" in text
            assert "snip" not in text, "what is hidden is not drawn"
        with Image.open(io.BytesIO(saved(tab, name, "png"))) as image:
            assert image.size == (3 * size[0], 3 * size[1])
            assert image.convert("L").getextrema()[0] < 100, "something is drawn"
            assert image.convert("RGB").getpixel((1, 1)) == (255, 255, 255)
        assert tab.evaluate("document.documentElement.dataset.theme") is None
