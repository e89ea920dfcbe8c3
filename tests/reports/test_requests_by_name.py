"""The names of a locustfile's requests: each has results of its own, up to a number, in the terminal and the page."""

from dataclasses import replace

import numpy as np
from rich.console import Console

from reports import bench, html
from reports.requests_by_name import rows
from targets.base import Outcome
from tests.tuner import result_builders as builders
from tests.tuner.record_builders import answered, records
from tuner.load.plan import Named
from tuner.named_requests import MOST_NAMES, by_name
from tuner.records import Records
from tuner.results import NamedRequests, Point

HOSTILE = "/<img src=x onerror=alert(1)>"


def of_names(counts: list[int]) -> Records:
    """Return records of so many requests of each name; the k-th took k + 1 ms, and those of the last failed."""
    took = [number + 1 for number, count in enumerate(counts) for _ in range(count)]
    made = records([answered(10 * index, latency) for index, latency in enumerate(took)], (0, 10_000))
    columns = dict(made.columns) | {"request": np.array(took, np.int32) - 1}
    columns["outcome"] = np.where(columns["request"] == len(counts) - 1, int(Outcome.HTTP_ERROR), int(Outcome.OK))
    return replace(made, columns=columns)


def named(count: int) -> tuple[Named, ...]:
    return tuple(Named(number, "GET", f"/{number}") for number in range(count))


def test_the_most_frequent_names_are_told_one_by_one_and_the_others_together() -> None:
    counts = [2] * MOST_NAMES + [3, 1, 1]
    *told, rest = by_name(of_names(counts), named(len(counts)))
    assert [one.name for one in told] == [f"/{MOST_NAMES}", *(f"/{number}" for number in range(MOST_NAMES - 1))]
    assert [one.requests for one in told] == [3, *[2] * (MOST_NAMES - 1)]
    assert (rest.method, rest.name, rest.names, rest.requests) == ("", "", 3, 4)
    assert rest.metrics["error_rate"].value == 0.25


def test_each_name_is_measured_by_its_own_requests() -> None:
    first, second = by_name(of_names([30, 10]), named(2))
    assert (first.metrics["latency_p50_s"].value, second.metrics["latency_p50_s"].value) == (0.001, float("inf"))
    assert (first.metrics["throughput_rps"].value, second.metrics["throughput_rps"].value) == (3.0, 0.0)
    assert (first.metrics["error_rate"].value, second.metrics["error_rate"].value) == (0.0, 1.0)


def test_names_that_share_a_number_are_told_together() -> None:
    last = Named(1, "GET", "/yet/another")
    first, rest = by_name(of_names([30, 10]), (*named(2), last))
    assert (first.name, rest.name, rest.names, rest.requests) == ("/0", "", 2, 10)


def test_traffic_that_no_locustfile_describes_has_no_names() -> None:
    assert by_name(of_names([3]), ()) == []


def users_point(level: float = 4) -> Point:
    found = by_name(of_names([3, 2]), (Named(0, "GET", HOSTILE), Named(1, "POST", "/buy")))
    found.append(NamedRequests(method="", name="", names=7, requests=70, metrics=found[0].metrics))
    return builders.point(level=level, mode="users").model_copy(update={"named": found})


def test_the_page_has_the_names_of_yours_and_of_the_best() -> None:
    result = builders.result(builders.trial(0, users_point(2)), builders.trial(1, users_point()))
    result = result.model_copy(update={"best": builders.best()})
    assert [(row.side.partition(",")[0], row.name, row.requests) for row in rows(result)] == [
        (side, name, count)
        for side in ("your configuration", "trial 1")
        for name, count in ((f"GET {HOSTILE}", 3), ("POST /buy", 2), ("7 other names", 70))
    ]
    page = html.render(result)
    assert '<section id="requests-by-name">' in page
    assert "7 other names" in page
    assert HOSTILE not in page
    assert 'id="requests-by-name"' not in html.render(builders.result(builders.trial(0, builders.point())))


def test_the_terminal_has_the_names_of_each_point() -> None:
    figures = builders.point().metrics | {
        key: users_point().named[0].metrics[key]
        for key in ("throughput_rps", "error_rate", "latency_p50_s", "latency_p90_s", "latency_p99_s")
    }
    figures["offered_rps"] = figures["throughput_rps"]
    console = Console(width=140, record=True)
    point = users_point().model_copy(update={"metrics": figures})
    console.print(bench.picture(builders.trial(0, point), "none", None))
    said = [line.split() for line in console.export_text().splitlines()]
    assert ["POST", "/buy", "2", "0/s", "∞", "∞", "∞", "100.00%"] in said
    assert any(line[:3] == ["7", "other", "names"] for line in said)
