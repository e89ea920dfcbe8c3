"""What the server's response cache did, as the report and `tune bench` show it."""

import math

import pytest
from rich.console import Console

from reports import bench, html
from tests.tuner import result_builders as builders
from tuner.results import Cache, Estimate, Point, Server

HALF = Cache(hits=30, misses=70, hit_mean_s=11e-6, miss_mean_s=25e-6)


def latency(count: int, *seconds: float) -> dict[str, Estimate]:
    return {
        name: Estimate(value=value, low=value / 2, high=value * 1.5, n=count)
        for name, value in zip(("p50", "p90", "p99"), seconds, strict=True)
    }


APART = HALF.model_copy(
    update={
        "hit_latency": latency(30, 0.001, 0.002, 0.003),
        "miss_latency": latency(68, 0.01, 0.02, math.inf),
        "either": 2,
    }
)


def pictured(cache: Cache) -> list[str]:
    console = Console(width=140, record=True)
    console.print(bench.picture(builders.trial(1, point(cache)), "none", None))
    return [" ".join(line.split()) for line in console.export_text().splitlines()]


def point(cache: Cache | None) -> Point:
    one = Estimate(value=0.01, low=0.005, high=0.02, n=100)
    server = Server(
        window_s=1.0, requests=100, failures=0, executions=70, mean_s={"queue": 0.001}, batch_sizes=[], cache=cache
    )
    names = ("latency_p50_s", "latency_p99_s", "error_rate", "throughput_rps")
    return builders.point(level=4).model_copy(update={"server": server, "metrics": dict.fromkeys(names, one)})


@pytest.mark.parametrize(
    ("cache", "shown"),
    [
        (HALF, "30.0% hits, 11 us each; a miss 25 us more"),
        (Cache(hits=0, misses=7, hit_mean_s=None, miss_mean_s=1e-3), "0.0% hits; a miss 1 ms more"),
        (Cache(hits=7, misses=0, hit_mean_s=2e-6, miss_mean_s=None), "100.0% hits, 2 us each<"),
    ],
)
def test_the_reports_table_has_hits_and_misses_apart(cache: Cache, shown: str) -> None:
    page = html.render(builders.result(builders.trial(1, point(cache))))
    assert "response cache, in the server" in page
    assert shown in page


@pytest.mark.parametrize(
    ("cache", "shown"),
    [
        (APART, "hits 1.00, 2.00, 3.00 ms; misses 10.00, 20.00, ∞ ms"),
        (HALF.model_copy(update={"hit_latency": APART.hit_latency}), "hits 1.00, 2.00, 3.00 ms<"),
        (HALF.model_copy(update={"latency_note": "the server counted 7"}), "not told apart: the server counted 7"),
    ],
)
def test_the_reports_table_has_latencies_of_hits_and_misses_apart_or_why_not(cache: Cache, shown: str) -> None:
    page = html.render(builders.result(builders.trial(1, point(cache))))
    assert "latency of cache hits and misses: p50, p90, p99" in page
    assert shown in page


def test_bench_has_latencies_of_hits_and_misses_below_those_of_all() -> None:
    lines = pictured(APART)
    assert lines[lines.index("latency p50 of cache hits 1.00 ms [0.50 ms, 1.50 ms] 30") :][:6] == [
        "latency p50 of cache hits 1.00 ms [0.50 ms, 1.50 ms] 30",
        "latency p90 of cache hits 2.00 ms [1.00 ms, 3.00 ms] 30",
        "latency p99 of cache hits 3.00 ms [1.50 ms, 4.50 ms] 30",
        "latency p50 of cache misses 10.00 ms [5.00 ms, 15.00 ms] 68",
        "latency p90 of cache misses 20.00 ms [10.00 ms, 30.00 ms] 68",
        "latency p99 of cache misses ∞ [0.00 ms, ∞] 68",
    ]
    assert "2 requests may be cache hits or misses: they were on their way with their like" in lines
    noted = pictured(HALF.model_copy(update={"latency_note": "so many"}))
    assert "latencies of cache hits and misses are not told apart: so many" in noted


def test_a_server_without_a_cache_has_no_column_for_it() -> None:
    assert "response cache" not in html.render(builders.result(builders.trial(1, point(None))))


def test_bench_has_hits_and_misses_among_the_servers_own_numbers() -> None:
    lines = pictured(HALF)
    assert "cache hit, mean of 30 lookups 11 us 30.0%" in lines
    assert "cache miss, mean of 70 lookups 25 us 70.0%" in lines
