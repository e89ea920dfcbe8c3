"""What the server's response cache did, as the report and `tune bench` show it."""

import pytest
from rich.console import Console

from reports import bench, html
from tests.tuner import result_builders as builders
from tuner.results import Cache, Estimate, Point, Server

HALF = Cache(hits=30, misses=70, hit_mean_s=11e-6, miss_mean_s=25e-6)


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


def test_a_server_without_a_cache_has_no_column_for_it() -> None:
    assert "response cache" not in html.render(builders.result(builders.trial(1, point(None))))


def test_bench_has_hits_and_misses_among_the_servers_own_numbers() -> None:
    console = Console(width=140, record=True)
    console.print(bench.picture(builders.trial(1, point(HALF)), "none", None))
    lines = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "cache hit, mean of 30 lookups 11 us 30.0%" in lines
    assert "cache miss, mean of 70 lookups 25 us 70.0%" in lines
