"""A Chromium for the page's tests: found, started without a network, and watched."""

import os
import shutil
from contextlib import contextmanager

import pytest

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
QUIET = (
    "--no-sandbox --disable-gpu --no-first-run --disable-background-networking --disable-component-update "
    "--disable-sync"
)


def executable():
    """The path of a Chromium; the test is skipped where there is none."""
    named = os.environ.get("PRUNERY_CHROMIUM")
    if named and not os.path.exists(named):
        pytest.skip(f"PRUNERY_CHROMIUM names {named}, which is not there")
    found = named or next(filter(None, map(shutil.which, NAMES)), None)
    if not found:
        pytest.skip("no Chromium: install one, or name it in PRUNERY_CHROMIUM")
    return found


@contextmanager
def started():
    """A browser without a profile of its own."""
    api = pytest.importorskip(
        "playwright.sync_api", reason="playwright is not installed: pip install -e .[dev]"
    )
    path = executable()
    with api.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=QUIET.split())
        yield browser
        browser.close()


@contextmanager
def opened(browser, path, *, width=1440, height=900, scheme="light"):
    """The page in a tab; fails if it writes to the console, raises, or asks for anything but itself."""
    context = browser.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, accept_downloads=True
    )
    context.grant_permissions(["clipboard-read", "clipboard-write"])
    tab, said, asked = context.new_page(), [], []
    tab.set_default_timeout(10_000)
    tab.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    tab.on("pageerror", lambda error: said.append(f"error: {error}"))
    tab.on("request", lambda request: asked.append(request.url))
    address = path.as_uri()
    tab.goto(address)
    yield tab
    context.close()
    assert said == []
    assert [url for url in asked if url != address and not url.startswith(("data:", "blob:"))] == []
