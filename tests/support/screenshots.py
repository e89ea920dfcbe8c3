"""The screenshots of the documentation, of the report of a real run; the tests take the same ones.

python -m tests.support.screenshots RUN [--to DIR]
"""

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from playwright.sync_api import Browser

from tests.support.browser import chromium, opened
from tests.support.pages import DOCS

WIDE, NARROW, HEIGHT = 1000, 360, 1500
PAGES: Mapping[str, Mapping[str, Any]] = {
    "report": {},
    "report-dark": {"color_scheme": "dark"},
    "report-narrow": {"viewport": {"width": NARROW, "height": HEIGHT}},
}
"""Picture of the top of the page -> how the browser is."""
SECTIONS = {"report-front": "#the-front", "report-trials": "#all-trials"}
"""Picture of a section of the page, or of as much of it as is readable -> what it is."""
MOST = 700


def take(browser: Browser, run: Path, folder: Path) -> list[Path]:
    """Take the screenshots of a run's report into a folder; return them.

    Raises:
        AssertionError: the page complained, or asked for anything but itself.
    """
    taken = []
    for name, context in PAGES.items():
        with opened(browser, run / "report.html", **{"viewport": {"width": WIDE, "height": HEIGHT}, **context}) as page:
            taken.append(folder / f"{name}.png")
            page.page.screenshot(path=taken[-1])
            for section, selector in SECTIONS.items() if not context else ():
                taken.append(folder / f"{section}.png")
                box = page.page.locator(selector).bounding_box()
                assert box is not None
                shown = {**box, "height": min(box["height"], MOST)}
                page.page.screenshot(path=taken[-1], full_page=True, clip=shown)  # type: ignore[arg-type]
            assert (page.complaints, page.requests) == ([], [])
    return taken


def main() -> None:
    """Take them into the documentation."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="directory of a finished run")
    parser.add_argument("--to", type=Path, default=DOCS, help="where to (default: docs)")
    asked = parser.parse_args()
    with chromium() as browser:
        for picture in take(browser, asked.run, asked.to):
            print(picture)


if __name__ == "__main__":
    main()
