"""The points of a trial side by side in the terminal, at every width."""

import pytest
from rich.console import Console

from reports import bench
from tests.tuner import result_builders as builders
from tuner.results import Estimate, Point, Server, Trial
from tuner.run_info import MetricInfo

KEYS = ("offered_rps", "throughput_rps", "error_rate", *(f"latency_{name}_s" for name in ("p50", "p90", "p99")))


def point(level: float) -> Point:
    """A point all of whose figures tell its level."""
    server = Server(
        window_s=1.0, requests=100, failures=0, executions=50, mean_s={"queue": level / 1e3}, batch_sizes=[]
    )
    figures = {key: Estimate(value=level / 1e3 if key[-1] == "s" and "rps" not in key else 1_000 * level, low=0.0,
                             high=9e9, n=100) for key in KEYS}  # fmt: skip
    figures["error_rate"] = Estimate(value=0.0, low=0.0, high=0.01, n=100)
    return builders.point(level=level).model_copy(
        update={"metrics": figures, "server": server, "verdicts": {"p99": "missed", "error_rate": "undecided"}}
    )


TRIAL: Trial = builders.trial(1, *(point(level) for level in (1, 2, 4, 8, 16, 32)))


def lines(width: int, trial: Trial = TRIAL) -> list[str]:
    console = Console(width=width, record=True)
    console.print(bench.picture(trial, "none", None))
    text = console.export_text()
    return text[: text.index("steady, 1 in flight:")].splitlines()


@pytest.mark.parametrize("width", [40, 80, 100])
def test_where_the_terminal_is_narrow_each_figure_has_a_row_and_is_whole(width: int) -> None:
    found = lines(width)
    assert max(map(len, found)) <= width
    told = [line.split() for line in found]
    for name, shown in (("throughput", "{:,}/s"), ("p99", "{}.00"), ("queue", "{}.00")):
        values = [word for line in told if line[:1] == [name] for word in line[1:] if word != "ms"]
        factor = 1_000 if name == "throughput" else 1
        assert values == [shown.format(level * factor) for level in (1, 2, 4, 8, 16, 32)]
    assert not any("compute" in line for line in told), "what no point has is left out"


def test_where_it_is_wide_each_point_has_a_row() -> None:
    found = [line.split() for line in lines(220)]
    (heading,) = (line for line in found if line[:1] == ["workload"])
    assert heading[-2:] == ["p99", "SLO"]
    rows = [line for line in found if line[:1] == ["steady"]]
    assert [row[1] for row in rows] == ["1", "2", "4", "8", "16", "32"]


def test_one_point_needs_no_overview() -> None:
    assert lines(80, builders.trial(1, point(1))) == []


def test_the_metrics_that_only_this_server_has_have_their_units() -> None:
    own = [MetricInfo(name=name, unit=unit, doc="of its own") for name, unit in (("hits", "share"), ("took", "s"))]
    figures = {"hits": Estimate(value=0.3014, low=0.29, high=0.31, n=9), "took": Estimate(value=0.00213, low=0.002,
               high=0.003, n=9)}  # fmt: skip
    one = point(1)
    console = Console(width=120, record=True)
    made = builders.trial(1, one.model_copy(update={"metrics": {**one.metrics, **figures}}))
    console.print(bench.picture(made, "none", None, own))
    said = [" ".join(line.split()) for line in console.export_text().splitlines()]
    assert "hits 30.14% [29.00%, 31.00%] 9" in said
    assert "took 2.13 ms [2.00 ms, 3.00 ms] 9" in said
