"""What the first screen of a report's page shows, in Chromium without a network: one line a page.

    python benchmarks/pages.py report/report.html [MORE ...] [--pictures docs/report]

A page passes where, at 1440x900 and 390x844, light and dark, the answer and the figure's top stand within
the first 590 pixels, nothing scrolls sideways, nothing is written to the console or asked of a network; where
it has at most 2.5 MB, and at most 1 800 words outside of what is folded for up to nine cells. The exit status
is 1 where a page misses any of it. `--pictures`: a PNG a screen. Needs playwright and Chromium
(PRUNERY_CHROMIUM, or on the path).
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from playwright.sync_api import sync_playwright

SCREENS = {
    "page": (1440, 900, "light"),
    "dark": (1440, 900, "dark"),
    "phone": (390, 844, "light"),
    "phone-dark": (390, 844, "dark"),
}
LOWEST, NARROWEST, BYTES, WORDS, CELLS = 590, 250, 2_500_000, 1800, 9
_LOOK = """() => {
  const place = (element) => element ? element.getBoundingClientRect() : null;
  const copy = document.body.cloneNode(true);
  copy.querySelectorAll('details, script, svg, .vega-bindings').forEach((part) => part.remove());
  const table = document.querySelector('#table-accuracy');
  const levels = table ? table.tHead.rows[0].cells.length - 2 : 0;
  return {
    answer: place(document.querySelector('#answer'))?.bottom ?? 9999,
    figure: place(document.querySelector('figure.chart'))?.top ?? 9999,
    chart: place(document.querySelector('figure.chart svg'))?.width ?? 0,
    charts: place(document.querySelector('figure.chart .charts'))?.width ?? 0,
    wide: document.documentElement.scrollWidth,
    words: copy.textContent.split(/\\s+/).filter((word) => word).length,
    cells: table ? levels * table.tBodies[0].rows.length : 0,
  };
}"""


def looked_at(
    browser: Any, path: Path, screen: str, pictures: Path | None
) -> tuple[dict[str, float], list[str]]:
    """Return where things stand on a screen, and what the page said or asked for."""
    width, height, scheme = SCREENS[screen]
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, offline=True
    )
    tab, said = context.new_page(), list[str]()
    tab.on("console", lambda message: said.append(f"console: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    tab.on(
        "request", lambda request: said.append(f"asks for {request.url}") if _foreign(request.url) else None
    )
    tab.goto(path.resolve().as_uri())
    if tab.locator("figure.chart").count():
        tab.wait_for_selector("figure.chart svg")
        tab.wait_for_timeout(500)
    found = tab.evaluate(_LOOK)
    if pictures is not None:
        pictures.mkdir(parents=True, exist_ok=True)
        tab.screenshot(path=pictures / f"{screen}.png")
    context.close()
    return found, said


def _foreign(url: str) -> bool:
    return not url.startswith(("file:", "data:", "blob:"))


def misses(screen: str, found: dict[str, float], said: list[str]) -> Iterator[str]:
    """Yield what a screen does not hold to."""
    width = SCREENS[screen][0]
    if max(found["answer"], found["figure"]) > LOWEST:
        answer, figure = found["answer"], found["figure"]
        yield f"{screen}: the answer ends at {answer:.0f}, the figure begins at {figure:.0f}"
    if found["charts"] < 0.75 * width or found["chart"] < NARROWEST:
        yield f"{screen}: a chart is {found['chart']:.0f} of {found['charts']:.0f} pixels wide"
    if found["wide"] > width:
        yield f"{screen}: it scrolls sideways ({found['wide']:.0f} pixels)"
    if found["words"] > WORDS and found["cells"] <= CELLS:
        yield f"{screen}: {found['words']:.0f} words"
    yield from (f"{screen}: {each}" for each in said)


def main() -> int:
    """Print a line a page, and what it misses; return 1 where any misses something."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("pages", nargs="+", type=Path, metavar="PAGE")
    parser.add_argument("--pictures", type=Path, metavar="FOLDER")
    asked = parser.parse_args()
    chromium = os.environ.get("PRUNERY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    missed = 0
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for path in asked.pages:
            folder = asked.pictures
            if folder is not None and len(asked.pages) > 1:
                folder = folder / "-".join(path.with_suffix("").parts[-3:])
            seen = {screen: looked_at(browser, path, screen, folder) for screen in SCREENS}
            size = path.stat().st_size
            wrong = [each for screen, (found, said) in seen.items() for each in misses(screen, found, said)]
            wrong += [f"{size:,} bytes"] if size > BYTES else []
            low = max(max(found["answer"], found["figure"]) for found, _ in seen.values())
            words, cells = (seen["page"][0][name] for name in ("words", "cells"))
            print(
                f"{'miss' if wrong else 'good'}  {path}: figure or answer at most {low:.0f} px down, "
                f"{words} words for {cells} cells, {size / 1e6:.2f} MB",
                *wrong,
                sep="\n      ",
            )
            missed += bool(wrong)
        browser.close()
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
