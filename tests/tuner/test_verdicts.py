"""Verdicts on SLOs."""

from collections.abc import Mapping, Sequence

import pytest

from tuner.results import Estimate, SloVerdict, SteadyState, overall
from tuner.verdicts import has_room, in_state, slo_verdicts


def estimate(value: float, low: float, high: float) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=1000)


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.001, 0.01, "met"), (0.001, 0.011, "undecided"), (0.0101, 0.02, "missed")]
)
def test_a_percentile_is_judged_by_the_share_over_its_bound(low: float, high: float, expected: str) -> None:
    metrics = {"latency_p99_s": estimate(0.009, 0.001, 0.1), "over_p99_bound": estimate(0.008, low, high)}
    assert slo_verdicts(metrics, {"p99": 0.010}) == {"p99": expected}


def test_other_bounds_are_judged_by_their_own_interval() -> None:
    metrics = {"latency_mean_s": estimate(0.010, 0.009, 0.011), "error_rate": estimate(0.0, 0.0, 0.0005)}
    bounds = {"mean": 0.010, "error_rate": 0.001, "accuracy_drop": 0.01}
    assert slo_verdicts(metrics, bounds) == {"mean": "undecided", "error_rate": "met"}


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([], "met"),
        (["met", "met"], "met"),
        (["met", "undecided"], "undecided"),
        (["undecided", "missed", "met"], "missed"),
    ],
)
def test_the_worst_verdict_stands_for_all(verdicts: Sequence[SloVerdict], expected: str) -> None:
    assert overall(verdicts) == expected


EVERY_VERDICT: Mapping[str, SloVerdict] = {
    "mean": "met",
    "p50": "undecided",
    "p99": "missed",
    "p95": "met",
    "error_rate": "met",
    "accuracy_drop": "met",
    "throughput_at_least": "met",
}


def test_an_overload_misses_every_bound_on_latency_and_no_other() -> None:
    assert in_state("overloaded", EVERY_VERDICT) == {
        **dict.fromkeys(("mean", "p50", "p95", "p99"), "missed"),
        "error_rate": "met",
        "accuracy_drop": "met",
        "throughput_at_least": "met",
    }


def test_what_was_met_by_a_load_that_had_not_settled_is_undecided() -> None:
    undecided = dict.fromkeys(("mean", "p95", "throughput_at_least"), "undecided")
    assert in_state("unstable", EVERY_VERDICT) == {**EVERY_VERDICT, **undecided}


def test_a_steady_load_leaves_verdicts_as_they_are() -> None:
    assert in_state("steady", EVERY_VERDICT) == EVERY_VERDICT


@pytest.mark.parametrize("state", ["steady", "unstable", "overloaded"])
def test_a_bound_that_nobody_gave_has_no_verdict_in_any_state(state: SteadyState) -> None:
    assert in_state(state, {"error_rate": "undecided"}) == {"error_rate": "undecided"}


@pytest.mark.parametrize(("share", "expected"), [(0.0, True), (0.005, True), (0.0051, False)])
def test_there_is_room_while_at_most_half_of_what_is_allowed_is_over_the_bound(share: float, expected: bool) -> None:
    metrics = {"over_p99_bound": estimate(share, 0.0, 1.0), "error_rate": estimate(0.009, 0.0, 1.0)}
    assert has_room(metrics, {"p99": 0.010, "error_rate": 0.010}) is expected
    assert has_room(metrics, {"error_rate": 0.010}), "errors are another matter"


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(500, 600, "met"), (499, 600, "undecided"), (450, 500, "undecided"), (450, 499, "missed")],
)
def test_a_throughput_is_judged_from_below(low: float, high: float, expected: str) -> None:
    metrics = {"throughput_rps": estimate((low + high) / 2, low, high)}
    assert slo_verdicts(metrics, {"throughput_at_least": 500}) == {"throughput_at_least": expected}


def test_there_is_no_room_where_the_throughputs_interval_reaches_below_its_bound() -> None:
    metrics = {"over_p99_bound": estimate(0.0, 0.0, 0.001), "throughput_rps": estimate(520, 505, 535)}
    assert has_room(metrics, {"p99": 0.010, "throughput_at_least": 505})
    assert not has_room(metrics, {"p99": 0.010, "throughput_at_least": 506})
    assert has_room(metrics, {"p99": 0.010})
