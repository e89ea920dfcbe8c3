"""Reports of no trials, one, and hundreds; of trials that failed; and what is packed in a page comes out of it."""

import json
from pathlib import Path

import pytest
from playwright.sync_api import Browser

from reports import html, trials_table
from reports.packed import packed, script
from tests.support.browser import opened
from tests.tuner import result_builders as builders
from tuner.results import KnobInfo, Load, Point, Result, Trial

HOSTILE = "<img src=x onerror=alert(1)>"
MOST_BYTES = 6_000_000
KNOB = KnobInfo(name="instances", unit="", applied="reload", doc="", values=[1, 2, 4])
FLAG = KnobInfo(name="flag", unit="", applied="restart", doc="", values=[])


def point(number: int) -> Point:
    one = builders.point(level=4, throughput=100.0 + number % 97, p99=0.001 * (1 + number % 13))
    others = {"latency_p50_s": builders.estimate(0.001), "error_rate": builders.estimate(0.0)}
    verdict = {"p99": "met"} if number % 3 else {"p99": "missed"}
    return one.model_copy(update={"metrics": {**one.metrics, **others}, "verdicts": verdict})


def result(count: int) -> Result:
    trials = [
        builders.trial(number, point(number), config={"instances": number % 3, "flag": f"a={number}"})
        for number in range(count)
    ]
    return builders.result(*trials).model_copy(update={"knobs": [KNOB, FLAG]})


def failed() -> Trial:
    return builders.trial(1, config={"instances": 2}, state="refused").model_copy(update={"reason": f"no {HOSTILE}"})


def written(found: Result, folder: Path) -> Path:
    path = folder / "report.html"
    path.write_text(html.render(found))
    return path


@pytest.mark.parametrize("count", [0, 1])
def test_a_report_of_hardly_anything_opens(count: int, browser: Browser, tmp_path: Path) -> None:
    with opened(browser, written(result(count), tmp_path)) as report:
        assert report.page.locator("#trials tbody tr").count() == count
        said = ("Nothing was measured yet", "Nothing that was measured meets the SLO")[count]
        assert said in report.page.locator("#answer h2").inner_text()
        assert f"{count} tried" in report.page.locator("#trust").inner_text()
        assert report.complaints == []
        assert report.requests == []


def test_a_report_of_500_trials_is_small_and_draws_a_part_of_them_at_a_time(browser: Browser, tmp_path: Path) -> None:
    path = written(result(500), tmp_path)
    assert path.stat().st_size <= MOST_BYTES
    with opened(browser, path) as report:
        page, rows = report.page, report.page.locator("#trials tbody tr")
        assert rows.count() == 200
        assert page.locator("#trials-count").inner_text() == "500 rows, the first 200 are shown"
        page.locator("#trials-more").click()
        assert rows.count() == 400
        page.locator("#trials-more").click()
        assert rows.count() == 500
        assert page.locator("#trials-more").is_hidden()
        page.locator("#trials thead button", has_text="throughput").click()
        first = page.locator("#trials tbody tr").first.locator("td").all_inner_texts()
        assert "100/s" in first, "the whole table is sorted, not the part that is drawn"
        page.locator("#filter-text").fill("trial=499")
        assert rows.count() == 1
        page.locator("#filter-text").fill("flag=a=499")
        assert rows.count() == 1, "only the first = stands between a name and its value"
        page.locator("#filter-reset").click()
        page.emulate_media(media="print")
        page.wait_for_function("document.querySelectorAll('#trials tbody tr').length === 500")
        page.emulate_media(media="screen")
        page.wait_for_function("document.querySelectorAll('#trials tbody tr').length === 200")
        assert report.complaints == []


def test_trials_that_failed_are_listed_with_their_reason_as_text(browser: Browser, tmp_path: Path) -> None:
    found = builders.result(builders.trial(0, point(0)), failed())
    found = found.model_copy(update={"environment": {HOSTILE: HOSTILE}, "message": HOSTILE, "knobs": [KNOB]})
    with opened(browser, written(found, tmp_path)) as report:
        page = report.page
        assert page.locator("#failed tbody tr").all_inner_texts() == [f"1\tinstances 2\trefused\tno {HOSTILE}"]
        assert page.locator("#answer h2").inner_text() == HOSTILE
        page.locator("#filter-state").select_option("refused")
        assert page.locator("#trials tbody tr").last.locator("td").last.inner_text() == f"refused: no {HOSTILE}"
        assert page.locator("img").count() == 0
        assert report.complaints == []
        assert report.requests == []


def test_a_value_that_is_missing_stays_at_the_end_whichever_way_is_sorted(browser: Browser, tmp_path: Path) -> None:
    found = builders.result(failed(), *(builders.trial(number, point(number)) for number in (2, 3)))
    with opened(browser, written(found, tmp_path)) as report:
        numbers = report.page.locator("#trials tbody tr td:first-child")
        button = report.page.locator("#trials thead button", has_text="throughput")
        button.click()
        assert numbers.all_inner_texts() == ["2", "3", "1"]
        button.click()
        assert numbers.all_inner_texts() == ["3", "2", "1"]


def test_the_page_itself_has_the_rows_that_matter_where_they_are_many() -> None:
    found = result(500).model_copy(update={"best": builders.best(450)})
    table = trials_table.table(found)
    drawn = table.drawn
    assert len(table.rows) == 500
    assert len(drawn) == trials_table.DRAWN
    assert {(row.trial, row.mark) for row in drawn if row.mark} == {(0, "yours"), (450, "best")}


def test_percentiles_of_failed_requests_sort_after_all_that_are_measured() -> None:
    endless = builders.point(p99=float("inf"))
    found = builders.result(builders.trial(1, endless), builders.trial(2, builders.point(p99=0.5)))
    document = json.loads(trials_table.table(found).packed_text())
    p99 = next(column for column in document["columns"] if column["name"] == "p99")
    assert p99["shown"][0] == "∞"
    assert p99["values"][0] > p99["values"][1]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "a",
        "</script><script>alert(1)</script> ∞ 😀 \r\n",
        "abc" * 100_000,
        "".join(chr(32 + (number * number * 7919) % 90) for number in range(70_000)),
    ],
    ids=["nothing", "one letter", "markup", "repeats", "hardly any repeats"],
)
@pytest.mark.parametrize("level", [0, 1, 9], ids=["stored", "fast", "small"])
def test_what_is_packed_comes_out_as_it_was(text: str, level: int, browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    path = tmp_path / "page.html"
    path.write_text(f"<meta charset=utf-8><script>{script('unpack.js')}</script>{packed('some', text, level)}")
    page.goto(path.as_uri())
    assert page.evaluate("paretunePage.unpacked('some')") == text
    page.close()


def test_data_that_was_cut_off_is_an_error_and_not_something_else(browser: Browser, tmp_path: Path) -> None:
    page = browser.new_page()
    made = str(packed("some", "abc" * 1000 + "xyz")).replace('data-bytes="3003"', 'data-bytes="3000"')
    (tmp_path / "page.html").write_text(f"<script>{script('unpack.js')}</script>{made}")
    page.goto((tmp_path / "page.html").as_uri())
    told = page.evaluate("() => { try { paretunePage.unpacked('some') } catch (error) { return error.message } }")
    assert told == "the data packed in this page is damaged"
    page.close()


def test_a_load_is_sorted_by_its_level() -> None:
    loads = [builders.point(level=level) for level in (2, 16)]
    open_loop = builders.point().model_copy(update={"load": Load(mode="open", level=500.0)})
    table = trials_table.table(builders.result(builders.trial(1, *loads, open_loop)))
    at = [column.name for column in table.columns].index("load")
    assert [row.cells[at] for row in table.rows] == [
        ("2 in flight", 2.0),
        ("16 in flight", 16.0),
        ("500/s offered", 500.0),
    ]
