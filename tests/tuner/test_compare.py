"""Comparisons: ratios of rounds in turn and of stored runs, and what their intervals say."""

import math
from collections.abc import Mapping

import numpy as np
import pytest

from tuner.compare import ratios_of_pairs, ratios_of_runs, verdict
from tuner.results import Estimate


def metrics(throughput: float, p99: float, width: float = 0.01) -> dict[str, Estimate]:
    return {
        key: Estimate(value=value, low=value * (1 - width), high=value * (1 + width), n=1000)
        for key, value in (("throughput_rps", throughput), ("latency_p99_s", p99))
    }


@pytest.mark.parametrize(
    ("low", "high", "more", "less"),
    [
        (1.01, 1.2, "better", "worse"),
        (0.7, 0.99, "worse", "better"),
        (0.98, 1.03, "no difference", "no difference"),
        (0.98, 1.06, "inconclusive", "inconclusive"),
        (0.94, 1.01, "inconclusive", "inconclusive"),
        (0.0, math.inf, "inconclusive", "inconclusive"),
        (1.0, 1.2, "inconclusive", "inconclusive"),
    ],
)
def test_a_verdict_needs_an_interval_without_doubt(low: float, high: float, more: str, less: str) -> None:
    assert verdict(low, high, more_is_better=True) == more
    assert verdict(low, high, more_is_better=False) == less


def test_pairs_give_a_ratio_over_redeployments() -> None:
    pairs = [
        (metrics(200 * drift, 0.010), metrics(100 * drift, 0.010 * luck))
        for drift, luck in ((1.0, 0.8), (1.5, 1.25), (0.7, 1.0))
    ]
    found = ratios_of_pairs(pairs)
    assert found["throughput_rps"].value == pytest.approx(2.0)
    assert found["throughput_rps"].low == pytest.approx(2.0), "what drifts for both sides alike is no noise"
    assert found["throughput_rps"].verdict == "better"
    assert found["latency_p99_s"].verdict == "inconclusive"
    assert found["latency_p99_s"].n == 3


def test_a_redeployment_that_failed_leaves_no_ratio() -> None:
    pairs = [(metrics(100, 0.01), metrics(100, 0.01)), (metrics(100, math.inf), metrics(100, 0.01))]
    found = ratios_of_pairs(pairs)
    assert "latency_p99_s" not in found
    assert "throughput_rps" in found


def test_one_redeployment_has_no_bounds() -> None:
    one = ratios_of_pairs([(metrics(200, 0.01), metrics(100, 0.01))])["throughput_rps"]
    assert (one.low, one.high, one.verdict) == (0.0, math.inf, "inconclusive")


def test_runs_are_compared_by_their_own_intervals() -> None:
    found = ratios_of_runs(metrics(110, 0.012), metrics(100, 0.010))
    assert found["throughput_rps"].value == pytest.approx(1.1)
    assert found["throughput_rps"].verdict == "better"
    assert found["latency_p99_s"].verdict == "worse"
    assert ratios_of_runs(metrics(100.5, 0.01), metrics(100, 0.01))["throughput_rps"].verdict == "no difference"
    assert ratios_of_runs(metrics(103, 0.01, 0.1), metrics(100, 0.01))["throughput_rps"].verdict == "inconclusive"


def test_what_only_one_run_measured_has_no_ratio() -> None:
    ours: Mapping[str, Estimate] = metrics(100, 0.01)
    theirs = {"throughput_rps": ours["throughput_rps"]}
    assert set(ratios_of_runs(ours, theirs)) == {"throughput_rps"}


def test_a_config_against_itself_seldom_differs() -> None:
    """5% of the comparisons of equals may be called different; 200 of them, seeded."""
    rng = np.random.default_rng(5)
    different = 0
    for _ in range(200):
        noise = rng.normal(0, 0.02, (4, 2))
        pairs = [(metrics(100 * math.exp(ours), 0.01), metrics(100 * math.exp(theirs), 0.01)) for ours, theirs in noise]
        different += ratios_of_pairs(pairs)["throughput_rps"].verdict in ("better", "worse")
    assert different <= 18, "the 99th percentile of a binomial of 200 at 5%"
