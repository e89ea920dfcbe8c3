"""What a measurement with a locustfile is worth, and what a look at one that runs tells."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import workload_builders
from record_builders import MS, answered, records

from reports import words
from targets.base import Endpoint, Outcome
from tuner.load.plan import NAMES, Named, Plan, Raised, RunReport, UsersLoop, merged_reports
from tuner.load.users.messages import unjudged
from tuner.measure import Meter
from tuner.metrics import summarise
from tuner.records import ROW
from tuner.request_class import Part
from tuner.results import Load, Validity
from tuner.runs import Run
from tuner.slo import Slo
from tuner.stopping import LAG_NS, seen
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.validity import unnamed

LOCUST = RunReport(1000, 0.5, 0, 0.0, 0, 0, locust=True)
ANSWERED = records([answered(index, 5) for index in range(1000)])


def judged(report: RunReport) -> Validity:
    slo, one = Slo({"p99": 0.01}), workload_builders.workload()
    meter = Meter(None, Sampler(Gpus()), {"steady": slo}, Path())  # type: ignore[arg-type]
    return meter.validity(Run(ANSWERED, None, 0.1, report), one, one.parts[0], summarise(ANSWERED, slo))


def test_a_locust_process_that_used_up_its_core_was_the_limit() -> None:
    assert judged(LOCUST).valid
    (reason,) = judged(replace(LOCUST, cpu_share=0.97)).reasons
    assert reason.startswith("the load generator was the limit: it used 97% of its core (bound 90%); a locustfile runs")
    assert "generator.processes" not in reason


def test_users_that_were_kept_waiting_by_their_own_process_are_a_warning() -> None:
    assert judged(replace(LOCUST, longest_stall_s=0.005)).warnings == []
    (warning,) = judged(replace(LOCUST, longest_stall_s=0.012)).warnings
    assert warning.startswith("Locust's process was kept from its users for up to 12 ms, which their latencies include")


def test_a_class_whose_names_no_request_has_is_told_with_the_names_that_there_were() -> None:
    named = (Named(0, "GET", "/search"), Named(2 * NAMES, "GET", "/pages"))
    classes = (("/search",), ("/page", "GET /page"))
    assert unnamed(named, classes, Part("shop.search", 0)) == []
    assert unnamed(named, classes, Part("shop.page", 1)) == [
        "no request has the name /page or GET /page of shop.page; there were GET /search, GET /pages"
    ]
    assert unnamed((), classes, Part("shop.other", 2)) == []


def test_tasks_that_raise_by_themselves_spoil_a_measurement_when_they_are_many() -> None:
    few = judged(replace(LOCUST, raised=(Raised("shop.py:7: in buy KeyError: 'id'", 10, 10),)))
    assert few.valid
    assert few.warnings == [
        "tasks of the locustfile raised 10 exceptions, the most frequent: shop.py:7: in buy KeyError: 'id'"
    ]
    many = judged(replace(LOCUST, raised=(Raised("shop.py:7: in buy KeyError: 'id'", 11, 11),)))
    assert many.reasons == [
        "tasks of the locustfile raised 11 exceptions beside 1000 requests, without a request that failed before: "
        "shop.py:7: in buy KeyError: 'id'; mend it, or the load is not what it describes"
    ]


def test_tasks_that_raise_after_a_failed_request_are_a_warning() -> None:
    found = judged(replace(LOCUST, raised=(Raised("shop.py:7: in buy KeyError: 'id'", 500, 0),)))
    assert (found.valid, len(found.warnings)) == (True, 1)


def test_what_several_runs_raised_is_counted_together() -> None:
    one = replace(LOCUST, raised=(Raised("a", 1, 1), Raised("b", 2, 0)))
    other = replace(LOCUST, raised=(Raised("b", 3, 1),))
    assert merged_reports([one, other]).raised == (Raised("a", 1, 1), Raised("b", 5, 1))
    assert merged_reports([one, other]).locust


@pytest.mark.parametrize(
    ("load", "text"),
    [
        (Load(mode="users", level=50), "50 users"),
        (Load(mode="closed", level=16), "16 in flight"),
        (Load(mode="open", level=500), "500/s offered"),
    ],
)
def test_a_load_is_told_in_its_own_words(load: Load, text: str) -> None:
    assert words.load(load) == text


# -- a look at a running load --


def rows_of(*intended_ms: float) -> np.ndarray:
    rows = np.zeros(len(intended_ms), ROW)
    rows["intended_ns"] = np.array(intended_ms) * MS
    rows["done_ns"] = rows["intended_ns"] + MS
    return rows


def look(on_their_way_ms: list[float], settle_ms: float) -> tuple[list[float], list[int]]:
    """Return when the requests were sent that a look at 100 ms sees in the window, and how they ended."""
    plan = Plan(Endpoint("h", 1, (), unjudged), UsersLoop(4, 1.0), 0, 0, 1000 * MS, 100 * MS, Path())
    on_their_way = np.array(on_their_way_ms, np.float64) * MS
    now_ns = 100 * MS + LAG_NS
    found = seen(rows_of(10, 20, 30, 90), plan, 0, now_ns, round(settle_ms * MS), on_their_way.astype(np.int64))
    rows = found.in_window()
    return (rows["intended_ns"] / MS).tolist(), rows["outcome"].tolist()


def test_a_look_sees_up_to_the_oldest_request_that_is_on_its_way() -> None:
    assert look([25.0], settle_ms=90) == ([10, 20], [Outcome.OK] * 2)
    assert look([], settle_ms=90) == ([10, 20, 30, 90], [Outcome.OK] * 4)


def test_a_request_on_its_way_for_too_long_is_seen_as_timed_out() -> None:
    assert look([25.0], settle_ms=50) == ([10, 20, 25, 30], [Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.OK])


def test_a_request_that_ended_between_the_two_looks_is_there_once() -> None:
    assert look([30.0], settle_ms=50) == ([10, 20, 30, 90], [Outcome.OK] * 4)
