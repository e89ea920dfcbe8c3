"""What the front says of points in a browser: low rates, what is infinite, was not measured, or has another's value."""

import math
from collections.abc import Iterator, Mapping

import pytest
from playwright.sync_api import Browser, Page

from reports import html
from tests.support.browser import opened
from tests.support.front_page import table, traces
from tests.tuner import result_builders as builders
from tests.tuner.result_builders import estimate
from tuner.results import Estimate, KnobInfo, Point, Result, Value

NAMES = ("size", "delay", "cache", "concurrency")


def measured(level: float, throughput: Estimate, **more: Estimate) -> Point:
    one = builders.point("steady", level, throughput.value, 0.005)
    return one.model_copy(update={"metrics": {**one.metrics, "throughput_rps": throughput, **more}})


def result() -> Result:
    """A slow server: under 1, and under 3 requests/s.

    p50 of 1 and p99 of 2 and 3 are failures, goodput was measured of 3 only. Each trial has knobs of its own.
    """
    configs: list[Mapping[str, Value]] = [
        {"size": 1, "delay": 5, "concurrency": 1},
        {"size": 2, "cache": 3},
        {"size": 4, "delay": 9},
        {"size": 8},
    ]
    points = [
        measured(1, estimate(0.4, 0.377, 0.42), latency_p90_s=estimate(0.006, -math.inf, 0.008)),
        measured(1, estimate(2.4, 1.6, 104.4), latency_p50_s=estimate(math.inf)),
        measured(1, estimate(1.0), latency_p99_s=estimate(math.inf, 0.02, math.inf)),
        measured(1, estimate(1.0), latency_p99_s=estimate(math.inf), goodput_rps=estimate(0.5, -math.inf, math.inf)),
    ]
    trials = [
        builders.trial(number, one, config=config)
        for number, (one, config) in enumerate(zip(points, configs, strict=True))
    ]
    knobs = [KnobInfo(name=name, unit="", applied="reload", doc="", values=[]) for name in NAMES]
    return builders.result(*trials).model_copy(update={"knobs": knobs})


@pytest.fixture(scope="module")
def page(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Page]:
    """The page of the result above."""
    path = tmp_path_factory.mktemp("front") / "report.html"
    path.write_text(html.render(result()))
    with opened(browser, path) as found:
        yield found.page
        assert found.complaints == []


def compared(page: Page, left: int, right: int) -> dict[str, list[str]]:
    """Return the rows of two trials' comparison."""
    page.select_option("#compare-left", str(left))
    page.select_option("#compare-right", str(right))
    return table(page)


def hover_text(page: Page, trial: int) -> str:
    """Return what hovering over a trial's point shows."""
    found = (
        text
        for trace in traces(page).values()
        for point, text in zip(trace["customdata"] or [], trace["text"] or [], strict=True)
        if point == trial
    )
    return str(next(found))


def test_low_rates_have_their_decimals(page: Page) -> None:
    assert compared(page, 0, 1)["throughput"] == [
        "0.4/s [0.377/s, 0.42/s]",
        "2.4/s [1.6/s, 104/s]",
        "6.00x, intervals apart",
    ]
    assert "throughput 0.4/s" in hover_text(page, 0)


def test_what_failed_is_infinite_and_what_was_not_measured_is_not(page: Page) -> None:
    found = compared(page, 2, 3)
    assert found["p99"] == ["∞ [20.00 ms, ∞]", "∞", ""]
    assert found["goodput"] == ["not measured", "0.5/s", ""]
    found = compared(page, 0, 2)
    assert found["p99"] == ["5.00 ms", "∞ [20.00 ms, ∞]", "differs"]
    assert "goodput" not in found, "neither was measured"


def test_where_the_lower_end_of_a_time_is_not_known_it_is_0(page: Page) -> None:
    assert compared(page, 0, 1)["p90"] == ["6.00 ms [0.00 ms, 8.00 ms]", "not measured", ""]


def test_hovering_tells_a_failure(page: Page) -> None:
    assert "p50 ∞" in hover_text(page, 1)
    assert "p50" not in hover_text(page, 0), "it was not measured"


def test_a_knob_that_a_trial_leaves_as_it_is_has_the_users_value(page: Page) -> None:
    assert compared(page, 0, 1)["delay"] == ["5", "5", ""]
    assert "delay 5" in hover_text(page, 1)
    page.select_option("#front-colour", label="delay")
    drawn = traces(page)
    assert drawn["your configuration"]["color"] == drawn["meets every SLO"]["color"] == [0]


def test_a_point_without_the_knob_is_grey(page: Page) -> None:
    assert compared(page, 0, 1)["cache"] == ["", "3", "differs"]
    page.select_option("#front-colour", label="cache")
    assert traces(page)["meets every SLO"]["color"] == [0]
    fill = page.evaluate(
        """() => [...document.querySelectorAll('#front .scatterlayer .trace')]
            .map((one) => [one, one.__data__[0].trace])
            .find(([, trace]) => trace.name === 'your configuration' && trace.customdata)[0]
            .querySelector('path.point').style.fill"""
    )
    assert fill == "rgb(189, 189, 189)"


def test_the_load_is_that_of_each_point_and_none_of_the_users_configuration(page: Page) -> None:
    found = compared(page, 0, 1)
    assert found["load"] == ["1 in flight", "1 in flight", ""]
    assert "concurrency" not in found
