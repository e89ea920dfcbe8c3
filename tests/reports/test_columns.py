"""Files that a page carries as columns come out as they were, and a long run's page stays small."""

import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from playwright.sync_api import Browser, Page
from pydantic_core import to_json

from reports import html, tables
from reports.packed import packed_files, script
from tests.support.browser import opened
from tests.tuner import result_builders as builders
from tuner import results
from tuner.data import by_key
from tuner.results import Estimate, Load, Point, Result

MOST_BYTES = 6_000_000
POINTS = 8
"""Of a trial: a climb of seven levels and one between two of them."""
HOSTILE = '</script>\u2028 "a", b\\n\n\t\x00\x1f 😀 {0 [1 null'
DOCUMENTS: dict[str, object] = {
    "nothing": None,
    "empty ones": [{}, [], {"a": {}, "b": []}, [[]], ""],
    "texts": {HOSTILE: [HOSTILE, "\\", "\\n", "null", "__proto__"], "__proto__": {"constructor": 1}},
    "numbers": [0, -1, 1.0, -0.0, 1e-300, 1.7976931348623157e308, 0.1 + 0.2, 10**20, True, False],
    "values of several kinds at one place": [{"a": 1}, {"a": None}, {"a": [{"a": 2}]}, None, {"b": 3, "a": {"a": "x"}}],
    "nulls among values": [None, 1, None, None, 2, None],
}


@pytest.fixture(scope="module")
def empty(browser: Browser) -> Iterator[Page]:
    """A page that files are put into."""
    page = browser.new_page()
    yield page
    page.close()


def carried(page: Page, folder: Path, files: Mapping[str, object], digits: int | None = None) -> dict[str, str]:
    """Return files as a page gives them back."""
    path = folder / "page.html"
    scripts = (
        f"<script>{script('unpack.js')}</script>{packed_files(files, digits)}<script>{script('files.js')}</script>"
    )
    path.write_text(f"<meta charset=utf-8>{scripts}")
    page.goto(path.as_uri())
    return {name: page.evaluate("(name) => paretunePage.file(name)", name) for name in files}


@pytest.mark.parametrize("document", DOCUMENTS.values(), ids=DOCUMENTS.keys())
def test_a_document_comes_out_byte_for_byte(document: object, empty: Page, tmp_path: Path) -> None:
    found = carried(empty, tmp_path, {"one.json": document, "one.patch": HOSTILE})
    assert found == {"one.json": to_json(document, indent=1).decode(), "one.patch": HOSTILE}


@pytest.mark.parametrize(
    "rows",
    [[], [["a", "b"]], [["a", "", HOSTILE], ["", HOSTILE, "\\"], ["", "", ""], ['"', ",", "x\r\ny"]]],
    ids=["nothing", "headings only", "quoted cells and gaps"],
)
def test_a_table_comes_out_byte_for_byte(rows: list[list[str]], empty: Page, tmp_path: Path) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows or [[]])
    files = {"one.csv": text.getvalue()}
    assert carried(empty, tmp_path, files) == files


def test_numbers_lose_digits_and_nothing_else_does(empty: Page, tmp_path: Path) -> None:
    content = {"long": 0.123456789123, "whole": 12345678901, "short": 1.5, "said": "0.123456789123"}
    together = {
        "one": content,
        "alike": [0.123456789123, 0.5],
        "of several kinds": [0.123456789123, None, True, 12345678901],
    }
    found = carried(empty, tmp_path, {"one.json": together}, digits=9)["one.json"]
    assert found == json.dumps(together, indent=1).replace("0.123456789123,", "0.123456789,")


def test_what_is_infinite_is_null_as_in_a_stored_result(empty: Page, tmp_path: Path) -> None:
    found = carried(empty, tmp_path, {"one.json": [math.inf, 1.0, -math.inf]})["one.json"]
    assert json.loads(found) == [None, 1.0, None]


def test_a_stored_result_comes_out_byte_for_byte(empty: Page, tmp_path: Path) -> None:
    found = builders.result(builders.trial(1, builders.point(p99=math.inf, violations={"p99": math.inf})))
    carrying = {"result.json": by_key(found)}
    assert carried(empty, tmp_path, carrying) == {"result.json": results.to_json(found)}


def test_values_of_other_kinds_stand_for_those_that_json_has(empty: Page, tmp_path: Path) -> None:
    content = [np.float64(0.5), (1, np.str_("a")), MappingProxyType({"a": None}), True]
    found = carried(empty, tmp_path, {"one.json": content})["one.json"]
    assert json.loads(found) == [0.5, [1, "a"], {"a": None}, True]
    with pytest.raises(TypeError):
        packed_files({"one.json": [object()]})


def different(point: Point, level: int, random: np.random.Generator) -> Point:
    """Return a point under another load, each of whose numbers is another's than any other point's."""

    def changed(one: Estimate) -> Estimate:
        value, low, high = (float(bound * np.exp(random.normal(0, 0.2))) for bound in (one.value, one.low, one.high))
        return one.model_copy(update={"value": value, "low": low, "high": high, "n": int(random.integers(100, 9999))})

    def measured(one: Any) -> Any:
        numbers = {name: value for name, value in one if isinstance(value, float)}
        return one.model_copy(update={name: float(random.uniform(0, 1)) for name in numbers})

    return point.model_copy(
        update={
            "load": Load(mode="closed", level=float(2**level)),
            "metrics": {name: changed(one) for name, one in point.metrics.items()},
            "telemetry": measured(point.telemetry),
            "generator": measured(point.generator),
            "records": f"records/{random.integers(10**6)}.npz",
        }
    )


@pytest.fixture(scope="module")
def long_run() -> Result:
    """500 trials of 8 points; of every tenth the last level failed, and p99 has no end."""
    random = np.random.default_rng(1)
    names = ("throughput_rps", "goodput_rps", "offered_rps", "error_rate", "over_p99_bound", "server_cpu_cores")
    timings = [
        f"{stem}_{one}_s" for stem in ("latency", "service_time") for one in ("mean", "p50", "p90", "p95", "p99")
    ]
    metrics = {name: builders.estimate(0.01, 0.009, 0.011) for name in (*names, *timings)}
    one = builders.point().model_copy(update={"metrics": metrics})
    endless = builders.estimate(math.inf, 0.01, math.inf)
    trials = []
    for number in range(500):
        points = [different(one, level, random) for level in range(POINTS)]
        if number % 10 == 9:
            points[-1] = points[-1].model_copy(update={"metrics": {**points[-1].metrics, "latency_p99_s": endless}})
        trials.append(builders.trial(number, *points, config={"instances": 1 + number % 4, "delay": number / 7}))
    return builders.result(*trials)


def test_a_page_of_500_climbs_is_small_and_its_files_are_complete(
    long_run: Result, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(html.render(long_run))
    assert path.stat().st_size <= MOST_BYTES
    with opened(browser, path) as report:
        assert report.page.evaluate("paretunePage.file('trials.csv')") == tables.trials_csv(long_run)
        found = report.page.evaluate("paretunePage.file('result.json')")
        assert report.page.locator("#trials-count").inner_text() == "4,000 rows, the first 200 are shown"
        assert report.complaints == []
    assert same(json.loads(found), json.loads(results.to_json(long_run)))


def same(one: object, other: object) -> bool:
    """Whether two documents say the same, numbers to nine digits."""
    if isinstance(one, dict) and isinstance(other, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(other, float) and isinstance(one, int | float):
        return math.isclose(one, other, rel_tol=5e-9)
    return one == other
