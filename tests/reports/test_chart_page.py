"""The charts in a browser: hover, colour, filter, comparison, themes and print; nothing is loaded, nothing runs."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page

from reports import html
from tests.support.front_page import click, hover, table, traces
from tests.tuner import result_builders as builders
from tests.tuner.result_builders import estimate
from tuner.results import KnobInfo, Point, Result, Value

BAD = "<img src=x onerror=alert(1)>"
ORANGE, BLUE = "#E69F00", "#0072B2"


def measured(workload: str, level: float, throughput: float, p99: float) -> Point:
    one = builders.point(workload, level, throughput, p99, {"p99": p99 / 0.01 - 1})
    metrics = {
        **one.metrics,
        "throughput_rps": estimate(throughput, throughput * 0.98, throughput * 1.02),
        "latency_p50_s": estimate(p99 / 3),
        "latency_p99_s": estimate(p99, p99 * 0.5, p99 * 2),
        "error_rate": estimate(0.0),
    }
    return one.model_copy(update={"metrics": metrics})


def result() -> Result:
    """Trials 0 to 3: two variants, two workloads, and a knob with a name and a value that would be markup."""
    trials = []
    for number in range(4):
        config: dict[str, Value] = {
            "max_batch_size": 2**number,
            "max_queue_delay": 0.0005 * number,
            "precision": "fp32" if number % 2 == 0 else "int8",
            BAD: BAD if number == 3 else "plain",
        }
        steady = measured("steady", 4, 100.0 * (number + 1), 0.004 + 0.002 * number)
        bursty = measured("bursty", 2, 50.0, 0.003)
        trials.append(builders.trial(number, steady, bursty, config=config))
    made = builders.result(*trials)
    knobs = [
        KnobInfo(name=name, unit=unit, applied="reload", doc="", values=[], changes_answers=name == "precision")
        for name, unit in (("max_batch_size", ""), ("max_queue_delay", "s"), ("precision", ""))
    ]
    study = made.study.model_copy(update={"workloads": ["steady", "bursty"]})
    return made.model_copy(update={"knobs": knobs, "study": study})


@pytest.fixture(scope="module")
def report_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of the result above."""
    path = tmp_path_factory.mktemp("charts") / "report.html"
    path.write_text(html.render(result()))
    return path


@pytest.fixture(scope="module")
def opened(browser: Browser, report_file: Path) -> Iterator[Page]:
    """The page, drawn once for all tests; what went wrong meanwhile is asserted at the end."""
    page = browser.new_page(viewport={"width": 1100, "height": 900}, color_scheme="light")
    page.set_default_timeout(60_000)
    wrong: list[str] = []
    requests: list[str] = []

    def said(message: ConsoleMessage) -> None:
        wrong.append(f"{message.type}: {message.text}")

    page.on("console", said)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("dialog", lambda dialog: (wrong.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.on("request", lambda request: requests.append(request.url))
    page.goto(report_file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", state="attached")
    yield page
    assert wrong == []
    assert [url for url in requests if not url.startswith(("file:", "data:", "blob:"))] == []
    assert page.evaluate("document.querySelectorAll('img').length") == 0
    page.close()


@pytest.fixture
def page(opened: Page) -> Page:
    """The page as it is when it is opened."""
    for name in ("front-workload", "front-colour", "front-variant"):
        opened.select_option(f"#{name}", "0")
    return opened


def test_hovering_shows_the_whole_configuration_as_text(page: Page) -> None:
    hover(page, 6, "trial 3")
    text = page.text_content("#front .hoverlayer .hovertext") or ""
    for part in ("trial 3, 4 in flight", "max_batch_size 8", "max_queue_delay 1.5 ms", "precision int8", BAD, "400/s"):
        assert part in text, part


def test_colouring_by_a_knob_changes_the_markers(page: Page) -> None:
    assert traces(page)["your configuration"]["color"] == BLUE
    page.select_option("#front-colour", label="max_batch_size")
    drawn = traces(page)
    assert drawn["meets every SLO"]["color"] == [1, 2, 3]
    assert drawn["your configuration"]["color"] == [0]
    assert drawn["meets every SLO"]["axis"] == "coloraxis"
    assert min(drawn["meets every SLO"]["opacity"]) >= 0.6, "faint colours cannot be told"
    ticks = page.evaluate("document.querySelector('#front .plot').layout.coloraxis.colorbar.ticktext")
    assert ticks == ["1", "2", "4", "8"]
    page.select_option("#front-colour", label="precision")
    assert traces(page)["meets every SLO"]["color"] == [1, 0, 1]
    scale = page.evaluate("document.querySelector('#front .plot').layout.coloraxis.colorscale")
    assert [colour for _, colour in scale] == [BLUE, BLUE, ORANGE, ORANGE]


def test_a_knob_whose_name_is_markup_colours_as_well(page: Page) -> None:
    page.select_option("#front-colour", label=BAD)
    assert BAD in (page.text_content("#front .colorbar") or "")


def test_filtering_by_workload_and_variant_changes_the_points(page: Page) -> None:
    assert traces(page)["meets every SLO"]["customdata"] == [2, 4, 6]
    page.select_option("#front-workload", label="bursty")
    drawn = traces(page)
    assert drawn["meets every SLO"]["customdata"] == [3, 5, 7]
    assert drawn["meets every SLO"]["x"] == [50, 50, 50]
    assert "bursty" in (page.get_attribute("#front .plot", "aria-label") or "")
    page.select_option("#front-variant", label="precision int8")
    drawn = traces(page)
    assert drawn["meets every SLO"]["customdata"] == [3, 7]
    assert len(drawn["meets every SLO"]["opacity"]) == 2
    assert drawn["your configuration"]["x"] == []
    page.select_option("#front-variant", label="all")
    assert traces(page)["meets every SLO"]["customdata"] == [3, 5, 7]


def test_two_clicked_points_stand_side_by_side_with_their_differences_marked(page: Page) -> None:
    for side in ("left", "right"):
        page.select_option(f"#compare-{side}", "0")
    click(page, 2, "trial 1, 4 in flight")
    click(page, 6, "trial 3, 4 in flight")
    found = table(page)
    assert found[""] == ["trial 1, 4 in flight", "trial 3, 4 in flight", "difference"]
    assert found["max_batch_size"] == ["2", "8", "differs"]
    assert found["precision"] == ["int8", "int8", ""]
    assert found[BAD] == ["plain", BAD, "differs"]
    assert found["throughput"] == ["200/s [196/s, 204/s]", "400/s [392/s, 408/s]", "2.00x, intervals apart"]
    assert found["p99"] == [
        "6.00 ms [3.00 ms, 12.00 ms]",
        "10.00 ms [5.00 ms, 20.00 ms]",
        "1.67x, within the intervals",
    ]
    marked = page.evaluate("[...document.querySelectorAll('#comparison tr.differs th')].map((th) => th.textContent)")
    assert {"max_batch_size", "max_queue_delay", BAD, "throughput", "p99"} <= set(marked)
    assert "precision" not in marked
    assert sorted(traces(page)["compared below"]["x"]) == [200, 400]


def test_a_click_replaces_the_side_that_was_not_chosen_last(page: Page) -> None:
    for side, cell in (("left", 1), ("right", 0)):
        for each in ("left", "right", side):
            page.select_option(f"#compare-{each}", "0")
        click(page, 6, "trial 3, 4 in flight")
        titles = ["trial 0, 4 in flight"] * 2
        titles[cell] = "trial 3, 4 in flight"
        assert table(page)[""][:2] == titles


def test_the_comparison_is_driven_by_the_keyboard_as_well(page: Page) -> None:
    page.select_option("#compare-left", label="trial 0, 4 in flight, steady")
    page.select_option("#compare-right", "6")
    page.focus("#compare-right")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowDown")
    assert page.input_value("#compare-right") == "1"
    found = table(page)
    assert found[""][:2] == ["trial 0, 4 in flight", "trial 0, 2 in flight"]
    assert found["workload"] == ["steady", "bursty", "differs"]


def test_a_compared_point_is_found_among_all_trials(page: Page) -> None:
    page.select_option("#compare-left", "0")
    page.select_option("#compare-right", "6")
    for trial in (3, 0):
        page.get_by_role("button", name=f"show trial {trial} among all trials").click()
        assert page.input_value("#filter-text") == f"trial={trial}"
        assert page.locator("#trials tbody tr").count() == 2, "a point of each workload"
    page.locator("#filter-reset").click()


def test_the_knobs_of_other_charts_are_chosen_too(page: Page) -> None:
    before = page.get_attribute("#heat .plot", "aria-label")
    page.select_option("#heat-knobs", "1")
    assert page.get_attribute("#heat .plot", "aria-label") != before
    drawn = page.evaluate("document.querySelector('#heat .plot').layout.yaxis.title.text")
    assert drawn in (page.text_content("#heat-knobs option:checked") or "")


def test_no_button_sends_a_chart_anywhere(page: Page) -> None:
    titles = page.evaluate("[...document.querySelectorAll('.modebar-btn')].map((one) => one.dataset.title)")
    assert "Download plot as a PNG" in titles
    assert not [title for title in titles if "Share" in title or "Cloud" in title or "Studio" in title]
    assert page.evaluate("document.querySelectorAll('figure.drawing a[href]').length") == 0


def text_colours(page: Page) -> set[str]:
    return {
        str(colour)
        for colour in page.evaluate(
            "[...document.querySelectorAll('figure.drawing .plot')].map((plot) => plot.layout.font.color)"
        )
    }


def test_charts_follow_the_theme_of_the_system_of_the_page_and_of_its_toggle_and_are_light_in_print(
    page: Page,
) -> None:
    light, dark = page.evaluate("['light', 'dark'].map((name) => window.paretuneThemes[name].text)")
    assert text_colours(page) == {light}
    page.emulate_media(color_scheme="dark")
    page.wait_for_function("(dark) => document.querySelector('#heat .plot').layout.font.color === dark", arg=dark)
    assert text_colours(page) == {dark}
    page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
    assert text_colours(page) == {light}
    page.evaluate("window.dispatchEvent(new Event('afterprint'))")
    assert text_colours(page) == {dark}
    page.evaluate("document.dispatchEvent(new CustomEvent('paretune:theme', {detail: 'light'}))")
    assert text_colours(page) == {light}
    page.emulate_media(color_scheme="light")


def test_the_pages_own_theme_is_taken_on_load(browser: Browser, report_file: Path) -> None:
    page = browser.new_page(color_scheme="light")
    page.set_default_timeout(60_000)
    page.add_init_script(
        "document.addEventListener('DOMContentLoaded', () => { document.documentElement.dataset.theme = 'dark'; })"
    )
    page.goto(report_file.as_uri())
    page.wait_for_selector("html[data-charts=drawn]", state="attached")
    assert text_colours(page) == {page.evaluate("window.paretuneThemes.dark.text")}
    page.close()
