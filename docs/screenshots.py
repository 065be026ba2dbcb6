"""Pictures of each section of a report page, as docs/report/ holds them.

python docs/screenshots.py report/report.html docs/report

Needs playwright (`pip install playwright`) and Chromium (PRUNERY_CHROMIUM, or on the path).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


def main(page_file: str, out: str) -> None:
    """Write one PNG per section, and the whole page at the width of a phone."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("PRUNERY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1440, "height": 900})
        page.goto(Path(page_file).resolve().as_uri())
        for number, section in enumerate(page.query_selector_all("main section"), 1):
            name = section.get_attribute("id") or "section"
            section.screenshot(path=folder / f"{number:02}-{name}.png")
        phone = browser.new_page(viewport={"width": 390, "height": 844})
        phone.goto(Path(page_file).resolve().as_uri())
        phone.screenshot(path=folder / "phone.png")
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
