"""TTFT, TPOT, ITL and counts of tokens against a server that sends tokens at known times."""

import time
from pathlib import Path

import numpy as np
import pytest

from targets.base import Outcome
from targets.openai.options import RequestOptions
from targets.openai.wire import address_of, endpoint
from tests.support.load_runs import MS, closed, outcomes
from tuner.catalog import ITL, TPOT, TTFT
from tuner.load import engine
from tuner.load.plan import Plan, RunReport
from tuner.metrics import summarise
from tuner.records import Records, read_records
from tuner.slo import Slo
from tuner.timings import misplaced, values_s
from workloads.requests import Prompts

FORMS = ["chat", "completions"]
USAGES = ["continuous", "final", "none"]


def ask(
    url: str, folder: Path, *scripts: str, form: str = "chat", usage: str = "continuous", at_once: int = 2
) -> tuple[RunReport, Records]:
    """Send each script once."""
    where = endpoint(
        Prompts(scripts, np.full(len(scripts), 8)),
        model="clock",
        address=address_of(url),
        options=RequestOptions(kind="openai", endpoint=form),
        usage=usage,
        headers={},
    )
    plan = Plan(
        endpoint=where,
        load=closed(at_once, len(scripts), len(scripts)),
        start_ns=time.monotonic_ns() + 20 * MS,
        warmup_ns=0,
        window_ns=30_000 * MS,
        timeout_ns=20_000 * MS,
        records_path=folder / "records.bin",
    )
    report = engine.run(plan)
    return report, read_records(plan.records_path, plan.window)


def by_request(records: Records, column: str) -> list[int]:
    return list(records.rows.in_order_of("request")[column])


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("form", FORMS)
def test_tokens_are_counted_whatever_the_usage_block_says_when(url: str, tmp_path: Path, form: str, usage: str) -> None:
    _, records = ask(url, tmp_path, "count=1", "count=5 every=2", "count=8", form=form, usage=usage)
    assert outcomes(records) == {Outcome.OK}
    assert by_request(records, "tokens") == [1, 5, 8]
    assert misplaced(records) == (0, 3)


@pytest.mark.parametrize("form", FORMS)
def test_a_late_first_token_is_the_first_token_and_not_the_first_event(url: str, tmp_path: Path, form: str) -> None:
    _, records = ask(url, tmp_path, "first=120 every=1 count=6", form=form, usage="none")
    (ttft,) = values_s(TTFT, records)
    assert ttft >= 0.120
    (tpot,) = values_s(TPOT, records)
    gaps = values_s(ITL, records)
    assert len(gaps) == 5
    assert gaps.sum() == pytest.approx(tpot * 5)
    assert records.rows["first_ns"][0] + round(tpot * 5e9) == pytest.approx(records.rows["last_ns"][0], abs=2)


def test_several_tokens_in_one_event_came_at_once(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=8 per_event=3 every=200")
    gaps = values_s(ITL, records)
    assert by_request(records, "tokens") == [8]
    assert list(gaps > 0.1) == [False, False, True, False, False, True, False], "3, 3 and 2 tokens"
    assert list(gaps == 0) == [True, True, False, True, True, False, True]
    assert gaps.sum() == pytest.approx(values_s(TPOT, records)[0] * 7)


def test_tokens_that_only_the_end_tells_of_are_counted_and_called_misplaced(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=8 per_event=2", "count=8", usage="final")
    assert by_request(records, "tokens") == [8, 8]
    assert misplaced(records) == (1, 2)
    assert values_s(TPOT, records) == pytest.approx((records.rows["last_ns"] - records.rows["first_ns"]) / 7e9)


def test_what_the_usage_block_says_at_the_end_counts_and_is_no_token_of_its_own(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=4 lie=3", usage="final")
    assert by_request(records, "tokens") == [7]
    assert records.events["tokens"].sum() == 4
    assert records.rows["last_ns"][0] == records.events["at_ns"][records.events["tokens"] > 0].max()


@pytest.mark.parametrize("form", FORMS)
def test_tokens_that_no_event_had_have_no_time(url: str, tmp_path: Path, form: str) -> None:
    """The server ends at once and counts the token that said so: it comes with the usage block only."""
    _, records = ask(url, tmp_path, "count=0 lie=1", "count=0 lie=5", "count=3", form=form, usage="final")
    assert outcomes(records) == {Outcome.OK}
    assert by_request(records, "tokens") == [1, 5, 3]
    assert by_request(records, "first_ns")[:2] == [0, 0]
    ttft = values_s(TTFT, records)
    assert np.count_nonzero(np.isinf(ttft)) == 2
    assert np.all(ttft > 0)
    assert len(values_s(TPOT, records)) == 1
    assert len(values_s(ITL, records)) == 2
    assert misplaced(records) == (2, 3)


def test_one_token_in_several_packets_is_one_token(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=4 pieces=3", usage="none")
    assert outcomes(records) == {Outcome.OK}
    assert by_request(records, "tokens") == [4]


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize(
    ("script", "outcome", "tokens", "text"),
    [
        ("count=6 cut_after=3", Outcome.CONNECTION_ERROR, 3, "closed in the middle"),
        ("count=6 done=0", Outcome.MALFORMED, 6, ""),
        ("count=6 error_after=2", Outcome.HTTP_ERROR, 2, "out of memory"),
        ("status=503", Outcome.HTTP_ERROR, 0, "as asked"),
    ],
)
def test_an_answer_that_failed_is_infinite_whatever_came_before(
    url: str, tmp_path: Path, script: str, outcome: Outcome, tokens: int, text: str, usage: str
) -> None:
    report, records = ask(url, tmp_path, script, "count=3", usage=usage)
    rows = records.rows.in_order_of("request")
    assert [Outcome(one) for one in rows["outcome"]] == [outcome, Outcome.OK]
    assert rows["tokens"][0] == tokens
    assert text in "".join(failure.text for failure in report.failures)
    for timing in (TTFT, TPOT, ITL):
        assert np.count_nonzero(np.isinf(values_s(timing, records))) == 1, timing
    assert len(values_s(ITL, records)) == 1 + 2
    found = summarise(records, Slo({"ttft_p50": 1.0, "itl_p99": 1.0}))
    assert found["error_rate"].value == 0.5
    assert found["over_ttft_p50_bound"].value == 0.5
    assert found["over_itl_p99_bound"].value == pytest.approx(1 / 3)


def test_an_answer_of_one_token_has_a_first_one_and_no_gap(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=1", "count=2 every=5")
    assert len(values_s(TTFT, records)) == 2
    assert len(values_s(TPOT, records)) == len(values_s(ITL, records)) == 1


def test_goodput_holds_each_request_to_the_bounds_on_its_tokens(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=3 first=2000", "count=3 every=1000", "count=3", "count=1", at_once=4)
    rates = {
        name: summarise(records, Slo(bounds))["goodput_rps"].value * records.window_s
        for name, bounds in {
            "all": {},
            "ttft": {"ttft_p99": 1.5},
            "tpot": {"tpot_p90": 0.75},
            "both": {"ttft_p50": 10.0, "ttft_p99": 1.5, "tpot_p90": 0.75},
        }.items()
    }
    assert rates == pytest.approx({"all": 4, "ttft": 3, "tpot": 3, "both": 2})


def test_throughput_counts_tokens_when_they_came(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=8 per_event=4 every=5", "count=5", at_once=1)
    found = summarise(records, Slo({}))
    assert found["token_throughput_tps"].value * records.window_s == pytest.approx(13)
    assert found["output_tokens_mean"].value == 6.5


def test_throughput_counts_the_tokens_that_only_the_end_tells_of(url: str, tmp_path: Path) -> None:
    _, records = ask(url, tmp_path, "count=8 per_event=4", "count=5", "count=0 lie=2", usage="final", at_once=1)
    assert records.events["tokens"].sum() == 2 + 5
    found = summarise(records, Slo({}))
    assert found["token_throughput_tps"].value * records.window_s == pytest.approx(15)


def test_the_times_of_two_hundred_streams_at_once_are_in_their_order(url: str, tmp_path: Path) -> None:
    scripts = ["count=10 every=100"] * 200
    report, records = ask(url, tmp_path, *scripts, at_once=200)
    assert outcomes(records) == {Outcome.OK}, report.failures
    assert by_request(records, "tokens") == [10] * 200
    assert len(values_s(ITL, records)) == 200 * 9
    rows = records.rows
    assert np.all(rows["intended_ns"] <= rows["first_ns"])
    assert np.all(rows["first_ns"] < rows["last_ns"])
    assert np.all(rows["last_ns"] <= rows["done_ns"])
