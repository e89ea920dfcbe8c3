"""The hosts that shared a study, in the report: what each of them measured, and their column among all trials."""

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from reports import html, trials_table, trust
from reports.trust import Host
from tests.support.browser import Opened, opened
from tests.tuner import result_builders as builders
from tuner.results import Result
from tuner.run_info import HostInfo

HOSTILE = "<img src=x onerror=alert(1)>"
MEASURED = ("gpu1", "gpu2", HOSTILE, "gpu2")
"""The host of each trial, from trial 0 on."""


def host(name: str, trials: int, group: int | None, refused: str | None = None) -> HostInfo:
    return HostInfo(name=name, group=group, trials=trials, facts={}, baseline=[], refused=refused)


def shared_run(*hosts: HostInfo) -> Result:
    trials = [
        builders.trial(number, builders.point(level=4)).model_copy(update={"host": name})
        for number, name in enumerate(MEASURED)
    ]
    return builders.result(*trials).model_copy(update={"hosts": list(hosts)})


ALL = (
    host("gpu1", 0, 1),
    host("gpu2", 2, 1),
    host(HOSTILE, 1, 1),
    host("old", 0, 9),
    host("slow", 0, None, f"its CPU is {HOSTILE}"),
    host("brief", 0, None),
)


@pytest.fixture(scope="module")
def report(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Opened]:
    path = tmp_path_factory.mktemp("hosts") / "report.html"
    path.write_text(html.render(shared_run(*ALL)))
    with opened(browser, path) as found:
        yield found


@pytest.fixture
def page(report: Opened) -> Iterator[Page]:
    """The page as it was opened; in no test it may complain, ask for anything, or take a name for markup."""
    report.page.locator("#filter-reset").click()
    yield report.page
    assert report.page.locator("img").count() == 0
    assert report.complaints == []
    assert report.requests == []


def column(page: Page, name: str) -> list[str]:
    """Return the cells of a column of all trials, from the top."""
    at = page.locator("#trials thead th").all_text_contents().index(name) + 1
    return page.locator(f"#trials tbody tr td:nth-child({at})").all_text_contents()


def test_the_page_says_how_many_trials_each_host_measured_and_in_which_group(page: Page) -> None:
    assert page.locator("#trust #hosts thead th").all_text_contents() == ["host", "trials", "group"]
    assert page.locator("#trust #hosts tbody tr").all_inner_texts() == [
        "gpu1\t0\t1",
        "gpu2\t2\t1",
        f"{HOSTILE}\t1\t1",
        "old\t0\t9",
        f"slow\t0\tnot admitted: its CPU is {HOSTILE}",
        "brief\t0\tnot admitted",
    ]


def test_all_trials_are_sorted_by_their_host(page: Page) -> None:
    assert column(page, "host") == list(MEASURED)
    head = page.locator("#trials thead th").filter(has_text=re.compile("^host$"))
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    assert column(page, "host") == [HOSTILE, "gpu1", "gpu2", "gpu2"]
    head.locator("button").click()
    assert column(page, "host") == ["gpu2", "gpu2", "gpu1", HOSTILE]


def test_all_trials_are_filtered_by_their_host(page: Page) -> None:
    page.locator("#filter-text").fill("host=gpu2")
    assert column(page, "trial") == ["1", "3"]
    page.locator("#filter-text").fill("gpu1")
    assert column(page, "trial") == ["0"]
    page.locator("#filter-text").fill("onerror")
    assert column(page, "trial") == ["2"]


def test_a_readers_page_without_scripts_has_the_names_as_text() -> None:
    text = html.render(shared_run(*ALL))
    assert HOSTILE not in text
    assert text.count("&lt;img src=x onerror=alert(1)&gt;") == 3, "two in the list of hosts, one among the trials"


def test_a_result_that_does_not_say_its_hosts_has_those_of_its_trials() -> None:
    assert trust.hosts(shared_run()) == [Host("gpu1", 0, ""), Host("gpu2", 2, ""), Host(HOSTILE, 1, "")]
    assert ">group</th>" not in html.render(shared_run())


def test_a_run_of_one_host_shows_no_hosts() -> None:
    alone = builders.result(builders.trial(0, builders.point(level=4)))
    assert trust.hosts(alone) == []
    assert 'id="hosts"' not in html.render(alone)
    assert "host" not in [one.name for one in trials_table.table(alone).columns]
    assert 'id="hosts"' in html.render(shared_run()), "a run of several has them"
