"""The report of a real run in a real browser: what its page does, not only what it says."""

import json
import re
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from playwright.sync_api import Browser, Locator, Page

from reports import words
from reports.charts.drawing import significant
from reports.points import all_points
from tests.support.browser import Opened, opened
from tests.support.front_page import click, table, traces
from tests.support.hostile_run import MODEL
from tuner.results import Result, read_result
from tuner.units import format_measured, format_setting


@pytest.fixture(scope="module")
def found(real_run: Path) -> Result:
    return read_result(real_run)


@pytest.fixture(scope="module")
def shared(browser: Browser, real_report: Path) -> Iterator[Opened]:
    with opened(browser, real_report, permissions=["clipboard-read", "clipboard-write"]) as page:
        yield page


@pytest.fixture
def report(shared: Opened) -> Iterator[Opened]:
    """The page as it was opened; it must not complain or ask for anything in any test."""
    shared.page.set_viewport_size({"width": 1160, "height": 900})
    shared.page.emulate_media(media="screen")
    turn(shared.page, "light")
    shared.page.locator("#filter-reset").click()
    yield shared
    assert shared.complaints == []
    assert shared.requests == []


@pytest.fixture
def page(report: Opened) -> Page:
    return report.page


def column(page: Page, name: str) -> list[str]:
    """Return the cells of a column of the trials, from the top."""
    heads = [head.strip(" ↕↑↓") for head in page.locator("#trials thead th").all_inner_texts()]
    at = heads.index(name) + 1
    return page.locator(f"#trials tbody tr td:nth-child({at})").all_inner_texts()


def head(page: Page, name: str) -> Locator:
    return page.locator("#trials thead th").filter(has_text=re.compile(rf"^{name}$"))


def numbers(cells: list[str]) -> list[float]:
    return [float(re.sub(r"[^\d.]", "", cell)) for cell in cells if cell]


def style(page: Page, selector: str, name: str) -> str:
    return str(page.evaluate("([one, name]) => getComputedStyle(document.querySelector(one))[name]", [selector, name]))


def downloaded(page: Page, name: str) -> str:
    with page.expect_download() as told:
        page.locator(f"button[data-download='{name}']").click()
    assert told.value.suggested_filename == name
    return Path(told.value.path()).read_bytes().decode()


# -- opening --


def test_the_page_opens_without_a_complaint_or_a_request(report: Opened) -> None:
    assert report.page.title() == "Paretune: queue"
    assert report.page.evaluate("typeof Plotly.newPlot") == "function"
    assert report.complaints == []
    assert report.requests == []


def test_what_looks_like_html_in_a_model_name_or_a_study_is_shown_as_text(page: Page) -> None:
    assert MODEL in page.locator("#config-diff").inner_text()
    assert MODEL in page.locator("#trust").inner_text()
    assert page.locator("img").count() == 0
    assert "document.title =" in page.locator("#trust pre").last.inner_text()
    assert page.title() == "Paretune: queue"


def test_sections_stand_in_the_order_of_a_readers_questions(page: Page) -> None:
    order = [page.locator(f"#{name}").bounding_box() for name in ("answer", "the-front", "trust", "all-trials")]
    tops = [box["y"] for box in order if box]
    assert len(tops) == 4
    assert tops == sorted(tops)


# -- the answer --


def test_the_answer_says_what_to_deploy_the_gain_the_slos_the_costs_and_how_sure_it_is(
    page: Page, found: Result
) -> None:
    assert found.best is not None
    answer = page.locator("#answer").inner_text()
    assert f"rial {found.best.trial}" in page.locator("#answer h2").inner_text()
    if found.best.confirmed:
        assert found.best.gain_vs_baseline is not None
        assert f"{found.best.gain_vs_baseline.value:.2f}x throughput, 95% interval [" in answer
        assert "Every SLO is met on all 2 workloads" in answer
        assert "Confirmed against your configuration: 4 redeployments" in answer
    changed = page.locator("#changes tbody tr").all_inner_texts()
    assert "precision\tslow\tfast" in changed
    rows = {row.split("\t")[0]: row.split("\t")[1:] for row in page.locator("#costs tbody tr").all_inner_texts()}
    prices = {f"a million requests, {workload}": workload for workload in found.study.workloads}
    assert {"accuracy, steady", "memory of the server", "CPU of the server", *prices} <= set(rows)
    made = found.confirmation
    assert made is not None
    for name, workload in prices.items():
        for cell, side in zip(rows[name], (made.baseline, made.candidate), strict=False):
            asked = 1.2 / 3600 / side.metrics[workload]["throughput_rps"].value * 1e6
            assert float(cell.split(" ")[0].removeprefix("$")) == pytest.approx(asked, rel=0.01)


def test_the_commands_are_those_that_apply_and_repeat_it(page: Page, real_run: Path) -> None:
    assert page.locator("#apply").inner_text() == f"tune export runs/queue/{real_run.resolve().name} --apply"
    assert page.locator("#again").inner_text() == "tune queue.yaml --fresh"


def test_the_page_says_what_its_numbers_rest_on(page: Page, found: Result) -> None:
    facts = {row.split("\t")[0]: row.split("\t")[1] for row in page.locator("#trust .facts tr").all_inner_texts()}
    points = [point for trial in found.trials for point in trial.points]
    states = Counter(trial.state for trial in found.trials)
    counted = ", ".join(f"{count} {state}" for state, count in states.items())
    assert facts["trials"] == f"{len(found.trials)} tried: {counted}"
    assert f"{sum(sum(point.outcomes.values()) for point in points):,} in all" in facts["samples"]
    assert f"of {len(points)} measurements are valid" in facts["validity"]
    assert facts["warm-up"].endswith("cut off")
    assert facts["seed"] == "1"
    for name in ("noise", "load generator", "confirmation", "paretune", "python", "cpu"):
        assert facts[name]


# -- copy and download --


def test_the_files_of_the_run_are_downloaded_byte_for_byte(page: Page, real_run: Path) -> None:
    for name in ("trials.csv", "front.csv", "result.json"):
        assert downloaded(page, name) == (real_run / name).read_text(), name


def test_the_change_is_downloaded_as_a_patch(page: Page) -> None:
    patch = downloaded(page, "config.patch")
    assert patch.startswith(f"--- yours/{MODEL}/queue.json\n+++ best/{MODEL}/queue.json\n")
    assert patch == page.evaluate("document.querySelector('#config-diff').textContent")
    assert "config.patch is downloaded" in page.locator("#answer [role=status]").first.inner_text()


def test_the_change_and_the_command_are_copied(page: Page) -> None:
    said = "[...document.querySelectorAll('[role=status]')].some((one) => one.textContent === 'copied')"
    for button, source in (("[data-copy-file='config.patch']", "#config-diff"), ("[data-copy=apply]", "#apply")):
        page.evaluate("document.querySelectorAll('.buttons [role=status]').forEach((one) => { one.textContent = '' })")
        page.locator(button).click()
        page.wait_for_function(said)
        copied = page.evaluate("navigator.clipboard.readText()")
        assert copied == page.evaluate("one => document.querySelector(one).textContent", source)


# -- all trials --


def test_the_table_has_a_row_for_each_point(page: Page, found: Result) -> None:
    points = [(trial.number, point.workload) for trial in found.trials for point in trial.points]
    rows = list(zip(map(int, column(page, "trial")), column(page, "workload"), strict=True))
    assert rows == points
    assert page.locator("#trials-count").inner_text() == f"{len(points)} rows"


@pytest.mark.parametrize("name", ["throughput", "p99", "load"])
def test_a_click_sorts_by_a_column_and_another_the_other_way(name: str, page: Page) -> None:
    before = numbers(column(page, name))
    head(page, name).locator("button").click()
    assert head(page, name).get_attribute("aria-sort") == "ascending"
    assert numbers(column(page, name)) == sorted(before)
    head(page, name).locator("button").click()
    assert head(page, name).get_attribute("aria-sort") == "descending"
    assert numbers(column(page, name)) == sorted(before, reverse=True)
    assert page.locator("#trials [aria-sort]").count() == 1


def test_the_keyboard_sorts_too(page: Page) -> None:
    head(page, "p50").locator("button").focus()
    page.keyboard.press("Enter")
    assert head(page, "p50").get_attribute("aria-sort") == "ascending"
    cells = numbers(column(page, "p50"))
    assert cells == sorted(cells)
    page.keyboard.press("Space")
    assert head(page, "p50").get_attribute("aria-sort") == "descending"


def test_words_and_named_columns_filter_the_rows(page: Page, found: Result) -> None:
    box = page.locator("#filter-text")
    box.fill("precision=fast instances=2")
    wanted = [
        str(trial.number)
        for trial in found.trials
        for _ in trial.points
        if (trial.config["precision"], trial.config["instances"]) == ("fast", 2)
    ]
    assert wanted
    assert column(page, "trial") == wanted
    total = sum(len(trial.points) for trial in found.trials)
    assert page.locator("#trials-count").inner_text() == f"{len(wanted)} of {total} rows"
    box.fill("no such word")
    assert column(page, "trial") == []
    box.fill("")
    assert len(column(page, "trial")) == total


def test_choices_filter_by_workload_state_and_slo(page: Page, found: Result) -> None:
    page.locator("#filter-workload").select_option("web")
    assert set(column(page, "workload")) == {"web"}
    page.locator("#filter-state").select_option("complete")
    complete = [trial for trial in found.trials if trial.state == "complete"]
    assert column(page, "trial") == [str(trial.number) for trial in complete]
    offered = page.locator("#filter-slo option").all_inner_texts()
    for verdict in offered[1:]:
        page.locator("#filter-slo").select_option(verdict)
        shown = page.locator("#trials tbody tr td:last-child").all_inner_texts()
        assert all(cell.startswith(verdict) for cell in shown)


def test_a_filter_and_an_order_hold_together(page: Page) -> None:
    head(page, "throughput").locator("button").click()
    page.locator("#filter-workload").select_option("steady")
    cells = numbers(column(page, "throughput"))
    assert cells == sorted(cells)
    assert set(column(page, "workload")) == {"steady"}


def test_reset_takes_filters_and_order_back(page: Page) -> None:
    before = column(page, "throughput")
    head(page, "throughput").locator("button").click()
    page.locator("#filter-text").fill("fast")
    page.locator("#filter-workload").select_option("web")
    page.locator("#filter-reset").click()
    assert column(page, "throughput") == before
    assert page.locator("#trials [aria-sort]").count() == 0
    assert page.locator("#filter-text").input_value() == ""


def test_who_draws_a_trial_can_show_it_in_the_table(page: Page) -> None:
    page.evaluate("document.dispatchEvent(new CustomEvent('paretune:trial', {detail: {trial: 1}}))")
    assert set(column(page, "trial")) == {"1"}
    assert page.locator("#filter-text").input_value() == "trial=1"


# -- light, dark, narrow, print, keyboard --

COLOURS = """() => ({
  background: getComputedStyle(document.body).backgroundColor,
  theme: document.documentElement.dataset.theme,
  charts: [...document.querySelectorAll('.js-plotly-plot')].map((one) => one.layout.font.color),
})"""


def turn(page: Page, theme: Literal["light", "dark"]) -> None:
    """Have the system in a theme; the page is told before the next but one frame."""
    page.emulate_media(color_scheme=theme)
    page.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")


def colours(page: Page) -> dict[str, Any]:
    found: dict[str, Any] = page.evaluate(COLOURS)
    return found


def test_the_page_and_its_charts_follow_the_system_and_then_the_reader(page: Page) -> None:
    turn(page, "dark")
    dark = colours(page)
    button = page.locator("#theme")
    assert button.get_attribute("aria-pressed") == "true"
    button.click()
    light = colours(page)
    assert (dark["theme"], light["theme"]) == ("dark", "light")
    assert dark["background"] != light["background"] == "rgb(255, 255, 255)"
    assert len(dark["charts"]) >= 2
    assert not set(dark["charts"]) & set(light["charts"])
    assert button.get_attribute("aria-pressed") == "false"
    button.click()
    turn(page, "light")
    assert colours(page)["theme"] == "light", "who chose what the system has follows it again"


def test_what_the_reader_chose_holds_when_the_system_changes(page: Page) -> None:
    turn(page, "dark")
    page.locator("#theme").click()
    turn(page, "light")
    turn(page, "dark")
    assert colours(page)["theme"] == "light"
    page.locator("#theme").click()
    assert colours(page)["theme"] == "dark"


CONTRASTS = """() => {
  const parse = (text) => text.match(/[\\d.]+/g).map(Number);
  const light = ([r, g, b]) => [r, g, b].map((one) => one / 255)
    .map((one) => (one <= 0.04045 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
    .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
  const ground = (element) => {
    for (let one = element; one; one = one.parentElement) {
      const [r, g, b, a = 1] = parse(getComputedStyle(one).backgroundColor);
      if (a === 1) return [r, g, b];
    }
    return [255, 255, 255];
  };
  const found = [];
  for (const one of document.querySelectorAll("body *")) {
    const words = [...one.childNodes].filter((node) => node.nodeType === 3 && node.data.trim());
    if (!words.length || !one.getClientRects().length || one.closest("svg, script, style, option")) continue;
    const [a, b] = [light(parse(getComputedStyle(one).color)), light(ground(one))].sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), words[0].data.trim().slice(0, 40)]);
  }
  for (const one of document.querySelectorAll("svg :is(.xtick text, .ytick text, .legendtext, .g-xtitle text)")) {
    const [a, b] = [light(parse(getComputedStyle(one).fill)), light(ground(one.closest(".plot, .chart, body")))]
      .sort((x, y) => y - x);
    found.push([(a + 0.05) / (b + 0.05), one.textContent.slice(0, 40)]);
  }
  return found;
}"""
AA = 4.5
"""WCAG 2.2, success criterion 1.4.3: contrast of text."""


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_every_text_has_the_contrast_of_aa(theme: Literal["light", "dark"], page: Page) -> None:
    turn(page, theme)
    measured = page.evaluate(CONTRASTS)
    assert len(measured) > 100
    assert [one for one in measured if one[0] < AA] == []


def test_the_page_fits_360_pixels(page: Page) -> None:
    page.set_viewport_size({"width": 360, "height": 740})
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    widths = page.evaluate(
        "[...document.querySelectorAll('button, input, select')].filter((one) => !one.closest('.scroll, .chart'))"
        ".map((one) => one.getBoundingClientRect().right)"
    )
    assert len(widths) > 10
    assert max(widths) <= 360
    page.locator("#filter-workload").select_option("web")
    assert set(column(page, "workload")) == {"web"}


def test_a_print_is_light_and_has_the_answer_the_front_and_the_table(page: Page) -> None:
    page.emulate_media(color_scheme="dark", media="print")
    page.wait_for_function("document.documentElement.dataset.theme === 'light'")
    assert style(page, "body", "backgroundColor") == "rgb(255, 255, 255)"
    for shown in ("#answer h2", "#config-diff", "#slo table", "#the-front .js-plotly-plot", "#trials tbody tr"):
        assert page.locator(shown).first.is_visible(), shown
    controls = page.evaluate(
        "[...document.querySelectorAll('button:not(.sort), input, select')]"
        ".filter((one) => one.getClientRects().length).map((one) => one.outerHTML.slice(0, 80))"
    )
    assert controls == []
    assert style(page, "#config-diff", "whiteSpace") == "pre-wrap", "nothing is cut off"
    page.emulate_media(color_scheme="dark", media="screen")
    page.wait_for_function("document.documentElement.dataset.theme === 'dark'")


PAPER = 703
"""Pixels between the margins of a page of A4: 210 mm less 2 x 12 mm, at 96 to the inch."""
WIDTHS = "[...document.querySelectorAll('.main-svg')].map((one) => one.getBoundingClientRect().width)"


def test_charts_and_tables_fit_the_width_of_the_paper(page: Page) -> None:
    page.evaluate(f"window.addEventListener('beforeprint', () => {{ window.printed = {WIDTHS}; }})")
    assert page.pdf(format="A4").startswith(b"%PDF-")
    printed = page.evaluate("window.printed")
    assert len(printed) > 10
    assert 600 < min(printed) <= max(printed) <= PAPER, "as they are when the paper is laid out"
    assert min(page.evaluate(WIDTHS)) > PAPER, "and afterwards as wide as the window again"
    page.emulate_media(media="print")
    page.set_viewport_size({"width": PAPER, "height": 900})
    assert page.evaluate("document.documentElement.scrollWidth") == PAPER


def test_the_keyboard_reaches_every_control_and_shows_where_it_is(page: Page) -> None:
    page.evaluate("document.body.tabIndex = -1; document.body.focus(); document.body.removeAttribute('tabindex')")
    reached: list[str] = []
    for _ in range(300):
        page.keyboard.press("Tab")
        told = page.evaluate(
            "() => { const one = document.activeElement; const { outlineStyle, outlineWidth } = getComputedStyle(one);"
            " return [one.id || one.dataset.download || one.dataset.copy || one.dataset.copyFile || one.textContent,"
            " outlineStyle !== 'none' && outlineWidth !== '0px', one === document.body] }"
        )
        if told[2]:
            break
        assert told[1], f"{told[0]} has no outline"
        reached.append(told[0])
    assert reached[0] == "To the answer"
    for name in ("theme", "config.patch", "apply", "filter-text", "filter-slo", "trials.csv", "throughput", "SLO"):
        assert name in reached, name


def test_without_scripts_the_answer_and_the_trials_are_there(
    browser: Browser, real_report: Path, found: Result
) -> None:
    with opened(browser, real_report, java_script_enabled=False, color_scheme="dark") as report:
        page = report.page
        assert page.locator("#answer h2").is_visible()
        assert page.locator("#trials tbody tr").count() == sum(len(trial.points) for trial in found.trials)
        assert page.locator("button:visible, input:visible").count() == 0


# -- the front --


@pytest.fixture
def front(page: Page) -> Iterator[Page]:
    """The page, and its front as it was opened afterwards too."""
    yield page
    for name in ("front-workload", "front-vertical"):
        page.select_option(f"#{name}", "0")


def bound_drawn(page: Page) -> tuple[list[str], list[float], bool]:
    """Return the SLO's lines in the front, the upper ends of green areas, and whether the caption speaks of one."""
    lines, ends = page.evaluate(
        """() => { const { data, layout } = document.querySelector("#front .plot");
            return [data.map((one) => one.name).filter((name) => name.startsWith("SLO")),
                    (layout.shapes || []).map((one) => one.y1)]; }"""
    )
    return lines, ends, "green area" in page.locator("#front figcaption").inner_text()


def test_the_line_and_the_region_of_the_slo_are_in_the_front_and_nobody_speaks_of_them_where_they_are_not(
    front: Page,
) -> None:
    """The study's bound is on p90, and it minimizes p99."""
    p90 = (["SLO: p90 900.00 ms"], [900], True)
    assert bound_drawn(front) == p90
    assert "p90 is within its bound of 900.00 ms" in front.locator("#front figcaption").inner_text()
    assert front.locator("#the-front h2").inner_text() == "Throughput against p90 or p99"
    front.select_option("#front-vertical", label="p99")
    assert bound_drawn(front) == ([], [], False)
    front.select_option("#front-workload", label="web")
    assert bound_drawn(front) == ([], [], False)
    front.select_option("#front-vertical", label="p90")
    assert bound_drawn(front) == p90
    assert "web" in (front.get_attribute("#front .plot", "aria-label") or "")


def alone(page: Page) -> list[int]:
    """Return the numbers of the points of the front, those first that are farthest from what is drawn beside them."""
    numbers: list[int] = page.evaluate(
        """() => {
            const plot = document.querySelector("#front .plot"), { xaxis, yaxis } = plot._fullLayout;
            const drawn = plot.data.filter((one) => one.customdata || (one.name || "").startsWith("best"));
            const all = drawn.flatMap(({ x, y, customdata }) => x.map((_, at) =>
                [customdata && customdata[at], xaxis.d2p(x[at]), yaxis.d2p(y[at])]));
            const gap = ([, x, y], own) => Math.min(...all.map(([, left, top], at) =>
                at === own ? Infinity : Math.hypot(left - x, top - y)));
            return all.map((one, at) => [gap(one, at), one[0]]).filter(([, number]) => number !== undefined)
                .sort((one, other) => other[0] - one[0]).map(([, number]) => number);
        }"""
    )
    return numbers


def test_a_pointer_over_a_point_shows_its_whole_configuration_and_two_clicks_compare(page: Page, found: Result) -> None:
    units = {knob.name: knob.unit for knob in found.knobs}
    points = all_points(found)
    left, right, other = (points[number] for number in alone(page)[:3])
    for side in ("left", "right"):
        page.select_option(f"#compare-{side}", str(other.number))
    for one in (left, right):
        title = f"trial {one.trial.number}, {words.load(one.point.load)}"
        shown = click(page, one.number, title)
        config = [f"{name} {format_setting(value, units.get(name, ''))}" for name, value in one.trial.config.items()]
        p90 = words.milliseconds(one.point.metrics["latency_p90_s"].value)
        for part in (title, *config, f"p90 {p90}"):
            assert part in shown, part
    compared = table(page)
    assert compared[""] == [
        *(f"trial {one.trial.number}, {words.load(one.point.load)}" for one in (left, right)),
        "difference",
    ]
    assert compared["load"][:2] == [words.load(one.point.load) for one in (left, right)]
    assert "concurrency" not in compared, "the load says it, of your configuration too"
    values = [words.per_second(one.point.metrics["throughput_rps"].value) for one in (left, right)]
    assert [cell.partition(" ")[0] for cell in compared["throughput"][:2]] == values
    assert len(traces(page)["compared below"]["x"]) == 2


def test_figures_in_the_charts_have_the_digits_of_the_command_line(page: Page) -> None:
    """Of random figures, of those at the edge between two digits, and of ties."""
    rng = np.random.default_rng(5)
    random = (10 ** rng.uniform(-3, 5, size=200)).tolist()
    edges = [13.755, 0.013755, 182.5, 183.5, 12.25, 12.35, 1.005, 0.125, 0.135, 0.99996, 99.95, 9_999.4, 123_456.5, 0.0]
    given = [value for value in map(significant, (*random, *edges)) if value is not None]
    for unit in ("s", "/s", "share", "bytes", "J", "cores", "tokens"):
        told = page.evaluate("([values, unit]) => values.map((one) => paretune.shown(one, unit))", [given, unit])
        spelled = words.milliseconds if unit == "s" else partial(format_measured, unit=unit)
        assert dict(zip(given, told, strict=True)) == {value: spelled(value) for value in given}


def test_the_data_of_the_page_is_the_runs(page: Page, real_run: Path) -> None:
    """What is packed in the page comes out as the document that the run directory has."""
    found = page.evaluate("paretunePage.file('result.json')")
    assert json.loads(found) == json.loads((real_run / "result.json").read_text())
