"""Comparisons: ratios of rounds in turn and of stored runs, and what their intervals say."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
import pytest

from tuner.compare import Standing, ratios_of_pairs, ratios_of_runs, standing, verdict
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


# standing

LUCK, OTHER, THIRD = (0.995, 1.0, 1.005), (1.005, 0.995, 1.0), (1.0, 1.005, 0.995)
"""What redeployments make of two sides, so that they are known within 3% of one another."""


def side(throughput: float, luck: Sequence[float] = LUCK, p99: float = 0.01) -> list[dict[str, Estimate]]:
    """Return what was measured of a side in each of its redeployments."""
    return [metrics(throughput * one, p99 * one) for one in luck]


def test_the_best_comes_first() -> None:
    sides = [side(100, LUCK, 0.0100), side(101, OTHER, 0.0102), side(100.5, THIRD, 0.0101)]
    assert standing(sides, "throughput").order == (1, 2, 0)
    assert standing(sides, "p99").order == (0, 2, 1)


def test_who_is_certainly_worse_than_the_first_drops_out() -> None:
    assert standing([side(100), side(130, OTHER), side(131, THIRD)], "throughput") == Standing((2, 1), certain=True)
    assert standing([side(1, p99=0.03), side(1, OTHER, p99=0.02)], "p99") == Standing((1,), certain=True)


def test_who_may_be_as_good_stays_and_leaves_the_order_open() -> None:
    shaky = side(104, (0.8, 1.0, 1.2))
    assert standing([shaky, side(106)], "throughput") == Standing((1, 0), certain=False)
    others = [side(50), side(105.5), side(106, OTHER)]
    assert standing([shaky, *others], "throughput") == Standing((3, 2, 0), certain=False)
    assert standing(others, "throughput") == Standing((2, 1), certain=True)


def test_who_is_no_different_from_the_first_is_as_good() -> None:
    sides = [side(100.1), side(100, OTHER)]
    assert standing(sides, "throughput") == Standing((0, 1), certain=True)
    assert standing(sides, "throughput", same=0.001) == Standing((0, 1), certain=False)


def test_what_both_sides_share_of_a_redeployment_is_no_doubt() -> None:
    luck = (0.5, 1.0, 2.0)
    assert standing([side(100, luck), side(103, luck)], "throughput") == Standing((1,), certain=True)
    assert not standing([side(100, luck), side(103, luck[::-1])], "throughput").certain


def test_one_redeployment_drops_nobody() -> None:
    assert standing([side(100, [1.0]), side(1000, [1.0])], "throughput") == Standing((1, 0), certain=False)


def test_the_only_one_is_the_best() -> None:
    assert standing([side(100, [1.0])], "throughput") == Standing((0,), certain=True)


def test_a_side_that_failed_in_a_redeployment_comes_last_and_nothing_is_certain_of_it() -> None:
    failed = [*side(100)[:2], metrics(100, math.inf)]
    assert standing([failed, side(100)], "p99") == Standing((1, 0), certain=False)
