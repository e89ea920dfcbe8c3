"""Locust's web interface: what its server answers, and what a browser shows of it."""

import json
import re
import time
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.browser import chromium


@dataclass(frozen=True)
class Seen:
    """What a browser showed.

    Attributes:
        requests: of all names together, in the table of the statistics.
        edited: the server's answer when the load was edited.
        stopped: that when it was stopped.
    """

    requests: int
    edited: Mapping[str, object]
    stopped: Mapping[str, object]


def answered(port: int, path: str) -> str:
    """Return what the server answers."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}") as answer:
        return str(answer.read().decode())


def charted(port: int, patience_s: float) -> dict[str, Any]:
    """Return what the page is given, once its charts have a moment with requests, or when the time is up."""
    deadline = time.monotonic() + patience_s
    while True:
        found = re.search(r"templateArgs = (\{.*\})", answered(port, "/"))
        assert found, "the page has what it shows in a line of its own"
        given: dict[str, Any] = json.loads(found[1])
        if any(one["total_avg_response_time"][1] > 0 for one in given["history"]) or time.monotonic() > deadline:
            return given
        time.sleep(0.2)


def browsed(port: int) -> Seen:
    """Read the statistics in a browser, and then press what would change the load."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(f"http://127.0.0.1:{port}/")
        total = page.get_by_role("row").filter(has_text="Aggregated")
        total.wait_for()
        cells = total.get_by_role("cell").all_inner_texts()
        page.get_by_role("button", name="Edit").click()
        page.locator("input[name=userCount]").fill("3")
        with page.expect_response("**/swarm") as edited:
            page.get_by_role("button", name="Update").click()
        with page.expect_response("**/stop") as stopped:
            page.get_by_role("button", name="Stop").click()
        return Seen(int(cells[2]), edited.value.json(), stopped.value.json())
