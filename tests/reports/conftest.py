"""A browser, and the report of a real run, once for all tests."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from tests.support.browser import chromium
from tests.support.hostile_run import hostile_run


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Chromium, running until the last test."""
    with chromium() as running:
        yield running


@pytest.fixture(scope="session")
def real_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory of a finished run of the simulated server."""
    return hostile_run(tmp_path_factory.mktemp("hostile"))


@pytest.fixture(scope="session")
def real_report(real_run: Path) -> Path:
    """Its report."""
    return real_run / "report.html"
