"""Pictures of the first screen of a report page, as docs/report/ holds them.

python docs/screenshots.py report/report.html docs/report

Needs playwright (`pip install playwright`) and Chromium (PRUNERY_CHROMIUM, or on the path).
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright


SCREENS = {"page": (1440, 900, "light"), "dark": (1440, 900, "dark"), "phone": (390, 844, "light")}


def main(page_file: str, out: str) -> None:
    """Write one PNG a screen: a desktop's in light and dark, and a phone's."""
    folder = Path(out)
    folder.mkdir(parents=True, exist_ok=True)
    chromium = os.environ.get("PRUNERY_CHROMIUM") or shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        for name, (width, height, scheme) in SCREENS.items():
            page = browser.new_page(viewport={"width": width, "height": height}, color_scheme=scheme)
            page.goto(Path(page_file).resolve().as_uri())
            page.wait_for_selector(".plot svg")
            page.wait_for_timeout(1500)
            page.screenshot(path=folder / f"{name}.png")
        browser.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    main(*sys.argv[1:])
