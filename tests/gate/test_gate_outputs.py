"""What a gate found in every format: JUnit that fits the common schema, Markdown, a page, a table."""

import io
import re
from html import unescape
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from junit2htmlreport.parser import Junit
from junitparser import Error, Failure, JUnitXml, Skipped, TestSuite
from markdown_it import MarkdownIt
from rich.console import Console

from reports.gate import drawing, junit, markdown, page, rows, table
from tests.gate.gate_builders import measurement, noisy
from tests.support.junit import violations
from tests.support.tune import tune
from tuner.gate.baseline import written
from tuner.gate.document import Accepted, GateResult
from tuner.gate.running import compare


def gate(factor: float, *, inconclusive: str = "fail", n: int = 8) -> GateResult:
    rng = np.random.default_rng(1)
    limits = {"throughput": 0.05, "p99": 0.1, "energy": 0.1}
    old = measurement(noisy(rng, n), label="main")
    return compare(old, measurement(noisy(rng, n, factor), rules=limits, inconclusive=inconclusive, label="<new>"), [])


@pytest.mark.parametrize("inconclusive", ["fail", "warn"])
def test_junit_has_a_case_for_each_rule_and_fits_the_schema(inconclusive: str) -> None:
    text = junit.report(gate(0.8, inconclusive=inconclusive))
    assert violations(text) == []
    (suite,) = ElementTree.fromstring(text)
    cases = {case.get("name"): [child.tag for child in case] for case in suite.iter("testcase")}
    undecided = "error" if inconclusive == "fail" else "skipped"
    assert cases == {"throughput": ["failure"], "p99": [], "energy per request": [undecided], "SLO p99": []}
    assert suite.get("failures") == "1"


def invalid(rules: dict[str, float]) -> GateResult:
    """A gate whose new side was spoiled."""
    new = measurement(rules=rules, label="new").model_copy(update={"invalid": ["steady: sent late"]})
    return compare(measurement(), new if rules else new.model_copy(update={"bounds": {}}), [])


@pytest.mark.parametrize("rules", [{"throughput": 0.05}, {}])
def test_each_case_of_a_gate_that_is_not_valid_is_an_error_with_the_reason(rules: dict[str, float]) -> None:
    text = junit.report(invalid(rules))
    assert violations(text) == []
    (suite,) = JUnitXml.fromstring(text.encode())
    assert isinstance(suite, TestSuite)
    assert [case.name for case in suite] == (["throughput", "SLO p99"] if rules else ["measurement"])
    told = [(type(one), one.type, one.message) for case in suite for one in case.result]
    assert told == [(Error, "invalid", "new: steady: sent late")] * len(list(suite))


def test_a_gate_that_compared_nothing_has_a_case_that_says_so() -> None:
    for inconclusive, kind in (("fail", Error), ("warn", Skipped)):
        text = junit.report(compare(measurement(), measurement(rules={}, bounds={}, inconclusive=inconclusive), []))
        assert violations(text) == []
        (suite,) = JUnitXml.fromstring(text.encode())
        assert isinstance(suite, TestSuite)
        assert {case.name: [type(one) for one in case.result] for case in suite} == {"measurement": [kind]}
        assert "nothing was compared" in text


def test_an_slo_that_was_missed_before_says_so_in_every_format() -> None:
    steady = measurement().workloads["steady"].model_copy(update={"slo": {"p99": "missed"}})
    sides = [measurement(rules={}).model_copy(update={"workloads": {"steady": steady}}) for _ in range(2)]
    found = compare(*sides, [])
    text = junit.report(found)
    assert violations(text) == []
    (suite,) = JUnitXml.fromstring(text.encode())
    assert isinstance(suite, TestSuite)
    assert {case.name: [type(one) for one in case.result] for case in suite} == {"SLO p99": [Failure]}
    for said in (text, markdown.summary(found), page.render(found)):
        assert "missed on the old side, too" in said
        assert "an SLO is missed, as on the old side: steady SLO p99" in said
        assert "10.00 ms" in said


def test_a_rule_that_is_skipped_has_its_reason_in_the_output_of_the_suite() -> None:
    text = junit.report(gate(1.0, inconclusive="warn"))
    (said,) = ElementTree.fromstring(text).iter("system-out")
    assert "energy per request: " in (said.text or "")
    assert "inconclusive not measured" in (said.text or "")


def test_the_schema_refuses_what_is_wrong() -> None:
    """The check can fail."""
    text = junit.report(gate(0.8))
    assert violations(text.replace("<failure ", "<failed ").replace("</failure>", "</failed>"))
    assert violations(re.sub(r' timestamp="[^"]*"', "", text))


def test_a_name_that_xml_cannot_hold_is_replaced() -> None:
    one = gate(0.8)
    spoiled = one.model_copy(update={"study": "digits\x00\x1b[31m"})
    assert violations(junit.report(spoiled)) == []


def test_markdown_has_the_verdict_and_a_row_for_each_rule() -> None:
    text = markdown.summary(gate(0.8))
    assert text.startswith("## ❌ Gate of digits: FAIL: a regression: steady throughput\n")
    rows = [line for line in text.split("<details>")[0].splitlines() if line.startswith("| steady")]
    assert len(rows) == 4
    assert all(line.count(" | ") == 7 for line in rows)
    assert "✅" in markdown.summary(gate(1.0)) or "⚠️" in markdown.summary(gate(1.0))


HOSTILE = [
    'File "<string>", line 1 in <module>',
    "<img src=x onerror=alert(1)> & <!-- hidden",
    "[the log](http://example.org) [the log][1] ![x](y)",
    "[1]: http://example.org",
    "# no heading, *no* emphasis, __init__ ~~gone~~ a | b \\ `code` @team",
]


def rendered(text: str) -> str:
    return MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(text)


@pytest.mark.parametrize("said", HOSTILE)
def test_what_a_server_said_is_text_in_markdown(said: str) -> None:
    found = gate(0.8).model_copy(update={"notes": [said], "study": said, "message": said})
    page = rendered(markdown.summary(found))
    assert set(re.findall(r"</?([a-z]\w*)", page)) <= {
        *("h2", "p", "code", "blockquote", "details", "summary"),
        *("table", "thead", "tbody", "tr", "th", "td"),
    }
    assert page.count("<code>") == 2, "the labels of both sides"
    read = unescape(page.replace("<!-- -->", ""))
    assert f"<p>{said}</p>" in read
    assert f"Gate of {said}: FAIL: {said}</h2>" in read
    assert "@team" not in page


@pytest.mark.parametrize("label", ["a`b", "``", "main|x", "<b>", "@team"])
def test_a_revision_is_code_in_markdown_whatever_its_name(label: str) -> None:
    found = gate(0.8)
    page = rendered(markdown.summary(found.model_copy(update={"new": found.new.model_copy(update={"label": label})})))
    assert f"<code>main</code>, new <code>{label}</code>" in unescape(page)


def test_the_page_overlays_both_distributions_and_loads_nothing() -> None:
    text = page.render(gate(0.8))
    (chart,) = re.findall(r"<svg.*?</svg>", text)
    assert chart.count("<polyline") == 2
    assert ">old<" in chart
    assert ">new<" in chart
    assert not re.search(r"https?://|<script|<link", text)
    assert "&lt;new&gt;" in text
    assert "<new>" not in text


@pytest.mark.parametrize(("confidence", "said"), [(0.99, "99%"), (0.999, "99.9%"), (0.9999, "99.99%"), (0.95, "95%")])
def test_a_confidence_is_not_rounded_up(confidence: float, said: str) -> None:
    one = gate(1.0).model_copy(update={"confidence": confidence})
    assert rows.how(one).endswith(f", {said} confidence over all looks and rules")


def test_a_request_that_failed_is_a_part_of_the_distribution_without_a_latency() -> None:
    whole = measurement().workloads["steady"]
    half = whole.model_copy(
        update={
            "latency": {-140: 10_000, -139: 15_000},
            "restarts": [one.model_copy(update={"errors": 5_000}) for one in whole.restarts],
        }
    )
    chart = drawing.overlay(whole.model_copy(update={"latency": {-140: 20_000, -139: 30_000}}), half, "latency")
    assert ">old<" in chart
    assert ">new, 50.00% failed<" in chart
    *_, highest = re.findall(r'text-anchor="end">([^<]+)<', chart)
    assert highest == "60%", "of the old side; the new one is half as high"
    old, new = re.findall(r'<polyline points="([^"]+)"', chart)
    heights = [[float(point.split(",")[1]) for point in line.split()] for line in (old, new)]
    floor = heights[0][0]
    assert [floor - min(line) for line in heights] == pytest.approx([204.0, 102.0], abs=0.2)


def test_a_legend_has_what_has_a_name_side_by_side() -> None:
    points = [(0.0, 1.0), (1.0, 2.0)]
    series = [drawing.Series(name, drawing.STEP, points) for name in ("accepted", "level", *[""] * 6, "last")]
    chart = drawing.chart("steps", series, x=str, y=str)
    assert chart.count("<polyline") == 9
    assert re.findall(r'<rect x="(\d+)"', chart) == ["80", "230", "380"]


def test_stored_measurements_say_the_restarts_of_each() -> None:
    one = compare(measurement([100.0] * 6), measurement([100.0] * 5), [])
    assert rows.how(one).startswith("stored measurements of 6 and 5 restarts, ")


def test_a_chart_of_one_value_has_no_empty_axis() -> None:
    one = drawing.Series("one", drawing.OLD, [(1.0, 2.0)])
    assert "nan" not in drawing.chart("one", [one], x=str, y=str)
    assert drawing.chart("none", [], x=str, y=str) == ""


def test_an_interval_of_which_nothing_is_known_is_told_as_that_and_an_endless_gain_as_endless() -> None:
    few = compare(measurement([100.0] * 4), measurement(), [])
    broken = compare(measurement([0.0] * 5), measurement(), [])
    assert [rows.rows(one.rules)[0].interval for one in (few, broken)] == ["[?, ?]", "[endless, endless]"]


def test_the_table_says_what_failed() -> None:
    console = Console(width=160, record=True, file=io.StringIO())
    console.print(table.picture(gate(0.8)))
    text = console.export_text()
    assert "FAIL: a regression: steady throughput" in text
    assert re.search(r"steady +throughput .* -5\.00% +FAILED", text)


@pytest.mark.parametrize("inconclusive", ["fail", "warn"])
def test_another_parser_reads_the_same_cases_from_the_junit_file(inconclusive: str) -> None:
    result = gate(0.8, inconclusive=inconclusive)
    (suite,) = JUnitXml.fromstring(junit.report(result).encode())
    assert isinstance(suite, TestSuite)
    assert (suite.name, suite.tests, suite.failures) == ("digits.steady", 4, 1)
    assert (suite.errors, suite.skipped) == ((1, 0) if inconclusive == "fail" else (0, 1))
    told = {case.name: (case.classname, [(type(one), one.type) for one in case.result]) for case in suite}
    undecided = (Error, "inconclusive") if inconclusive == "fail" else (Skipped, None)
    assert told == {
        "throughput": ("digits.steady", [(Failure, "fail")]),
        "p99": ("digits.steady", []),
        "energy per request": ("digits.steady", [undecided]),
        "SLO p99": ("digits.steady", []),
    }
    assert {one.name: one.value for one in suite.properties()} == {"new": "<new>", "old": "main"}
    (failure,) = next(case for case in suite if case.is_failure).result
    assert failure.message.startswith("throughput: 100/s -> 80/s")


@pytest.mark.parametrize(("inconclusive", "shown"), [("fail", "failed"), ("warn", "skipped")])
def test_a_viewer_shows_every_rule_with_its_state_and_why(inconclusive: str, shown: str, tmp_path: Path) -> None:
    (tmp_path / "junit.xml").write_text(junit.report(gate(0.8, inconclusive=inconclusive)))
    page = Junit(filename=str(tmp_path / "junit.xml")).html()
    outcomes = re.findall(r'<div class="test outcome outcome-(\w+)">.*?<b>(.*?)</b>(.*?)</div>', page, re.DOTALL)
    assert [(rule, outcome) for outcome, rule, _ in outcomes] == [
        ("throughput", "failed"), ("p99", "passed"), ("energy per request", shown), ("SLO p99", "passed"),
    ]  # fmt: skip
    told = {rule: text for _, rule, text in outcomes}
    assert "throughput: 100/s -&gt; 80/s" in told["throughput"]
    assert "inconclusive not measured" in told["energy per request"]


@pytest.fixture
def stored(tmp_path: Path) -> Path:
    """A measurement that has a throughput a fifth below that of a good one."""
    (tmp_path / "old.json").write_text(written(gate(0.8).old or measurement()))
    (tmp_path / "new.json").write_text(written(gate(0.8).new))
    (tmp_path / "taken").write_text("a file, no folder")
    return tmp_path


def test_a_file_that_cannot_be_written_costs_neither_the_verdict_nor_the_other_files(stored: Path) -> None:
    files = ["--junit", "taken/junit.xml", "--markdown", "deep/folder/gate.md"]
    ended = tune("gate", "compare", "old.json", "new.json", *files, cwd=stored)
    assert ended.returncode == 2
    assert "FAIL: a regression: steady throughput" in ended.stdout
    assert re.search(r"taken/junit\.xml: cannot be written \(.+\); name another file", ended.stderr)
    assert "Traceback" not in ended.stderr
    assert "FAIL: a regression" in (stored / "deep" / "folder" / "gate.md").read_text()


def test_a_history_makes_its_folder_and_names_a_page_that_cannot_be_written(stored: Path) -> None:
    by_ada = Accepted(by="ada", when="2026-01-31 12:00 UTC", why="", run="run")
    (stored / "kept.json").write_text(written(gate(0.8).new.model_copy(update={"accepted": by_ada})))
    made = tune("gate", "history", ".", "--to", "pages/history.html", cwd=stored)
    assert made.returncode == 0, made.stderr
    assert "new.json: nobody accepted it; `tune gate accept` makes a baseline of it" in made.stderr
    assert f"<h1>{stored.name}: what was accepted</h1>" in (stored / "pages" / "history.html").read_text()
    refused = tune("gate", "history", "new.json", "--to", "taken/history.html", cwd=stored)
    assert refused.returncode == 2
    assert "taken/history.html: cannot be written" in refused.stderr
