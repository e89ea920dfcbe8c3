"""Pages in a real browser: Debian's Chromium, driven by Playwright."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright

MISSING = "the tests of the report need Chromium: apt-get install chromium"


@contextmanager
def chromium() -> Iterator[Browser]:
    """Start it; root needs --no-sandbox."""
    executable = shutil.which("chromium")
    assert executable, MISSING
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=executable, args=["--no-sandbox"])
        try:
            yield browser
        finally:
            browser.close()


@dataclass
class Opened:
    """A page, and what it did that a report must not do.

    Attributes:
        page: the page.
        complaints: messages on its console, uncaught errors and dialogs.
        requests: everything it asked for but itself.
    """

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)


def _said(message: ConsoleMessage) -> list[str]:
    """Return what the page said; what Chromium's WebGL without a GPU says of its own speed is not the page's."""
    return [] if "GL Driver Message" in message.text else [f"{message.type}: {message.text}"]


@contextmanager
def opened(browser: Browser, path: Path, **context: Any) -> Iterator[Opened]:
    """Open a file in a context of its own that has no network; wait until its charts are drawn."""
    made = browser.new_context(**{"viewport": {"width": 1160, "height": 900}, "offline": True, **context})
    try:
        found = Opened(made.new_page())
        page, url = found.page, path.resolve().as_uri()
        page.on("console", lambda message: found.complaints.extend(_said(message)))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("dialog", lambda dialog: (found.complaints.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        page.on("request", lambda asked: None if asked.url == url else found.requests.append(asked.url))
        page.goto(url)
        if context.get("java_script_enabled", True):
            page.wait_for_function("document.documentElement.dataset.charts === 'drawn'", timeout=120_000)
        yield found
    finally:
        made.close()
