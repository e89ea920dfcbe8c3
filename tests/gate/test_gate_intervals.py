"""Bounds on a change: what they cover, and that looking again and again makes no more errors than are allowed."""

import math
from collections.abc import Callable
from itertools import pairwise

import numpy as np
import pytest
from scipy import stats as scipy_stats

from tuner.gate import intervals
from tuner.gate.intervals import Change

FINE = [1.0, 1.1, 0.9, 1.05, 0.95]
RUNS = 2_000
MOST_AT_ONE_PERCENT = 31
"""Of RUNS at 1%: a binomial distribution has more in 1% of the cases."""


def test_paired_bounds_are_those_of_students_t() -> None:
    rng = np.random.default_rng(1)
    old, new = np.exp(rng.normal(0, 0.1, 7)), np.exp(rng.normal(0.2, 0.1, 7))
    found = intervals.paired(old.tolist(), new.tolist(), 0.025)
    low, high = scipy_stats.ttest_1samp(np.log(new / old), 0).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.expm1(low), math.expm1(high)))


def test_bounds_apart_are_those_of_welch() -> None:
    rng = np.random.default_rng(2)
    old, new = np.exp(rng.normal(0, 0.1, 6)), np.exp(rng.normal(0.1, 0.3, 9))
    found = intervals.apart(old.tolist(), new.tolist(), 0.025)
    low, high = scipy_stats.ttest_ind(np.log(new), np.log(old), equal_var=False).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((math.expm1(low), math.expm1(high)))


def test_a_side_of_too_few_restarts_has_no_spread() -> None:
    found = intervals.apart([1.0] * 4, [2.0] * 9, 0.01)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.why == "the baseline has 4 restarts, of 5 that a spread needs"
    assert found.value == pytest.approx(1.0)


@pytest.mark.parametrize(("values", "why"), [([1.0, 0.0], "0 in"), ([1.0, math.inf], "infinite"), ([], "not measured")])
def test_a_figure_that_has_no_ratio_has_no_bounds(values: list[float], why: str) -> None:
    found = intervals.paired(values, values, 0.01)
    assert why in found.why
    assert (found.low, found.high) == (-math.inf, math.inf)


@pytest.mark.parametrize("bounds", [intervals.paired, intervals.apart])
def test_a_figure_that_every_new_deployment_lost_has_changed_for_certain(bounds: Callable[..., Change]) -> None:
    lost = bounds(FINE, [math.inf] * 5, 0.01)
    assert (lost.low, lost.high) == (math.inf, math.inf)
    gone = bounds(FINE, [0.0] * 5, 0.01)
    assert (gone.low, gone.high) == (-1.0, -1.0)
    some = [*FINE[1:], math.inf]
    for old, new in ((FINE, some), (some, [math.inf] * 5), ([1.0], [math.inf])):
        assert bounds(old, new, 0.01).high == math.inf
        assert bounds(old, new, 0.01).low == -math.inf


@pytest.mark.parametrize("bounds", [intervals.paired, intervals.apart])
def test_a_figure_that_every_new_deployment_has_again_has_changed_for_certain(bounds: Callable[..., Change]) -> None:
    again = bounds([math.inf] * 5, FINE, 0.01)
    assert (again.low, again.high) == (-1.0, -1.0)
    assert "infinite in every deployment of the old side" in again.why
    grown = bounds([0.0] * 5, FINE, 0.01)
    assert (grown.low, grown.high, grown.why) == (math.inf, math.inf, intervals.FROM_NOTHING)
    broken = [math.inf] * 5
    for old, new in ((broken, broken), (broken, [*FINE[1:], math.inf]), ([*FINE[1:], math.inf], FINE)):
        assert (bounds(old, new, 0.01).low, bounds(old, new, 0.01).high) == (-math.inf, math.inf)


def test_of_a_baseline_of_few_restarts_nothing_is_known_not_even_of_a_figure_that_is_lost() -> None:
    found = intervals.apart([1.0, 1.1], [0.0] * 5, 0.01)
    assert (found.low, found.high) == (-math.inf, math.inf)
    assert found.why == "the baseline has 2 restarts, of 5 that a spread needs"
    assert intervals.too_few(9, 3) == "the new side has 3 restarts, of 5 that a spread needs"
    assert intervals.too_few(5, 5) == ""


def test_a_deployment_without_a_request_says_nothing_of_a_share() -> None:
    old, new = [(30, 1000), (50, 1000), (40, 1000)], [(300, 1000), (330, 1000), (315, 1000)]
    found = intervals.share_difference(old, new, 0.01)
    assert found.low > 0
    assert intervals.share_difference([*old, (0, 0)], [(0, 0), *new, (0, 0)], 0.01) == found
    none = intervals.share_difference(old, [(0, 0)] * 3, 0.01)
    assert (none.why, none.low, none.high) == ("no requests", -math.inf, math.inf)
    assert intervals.share_difference([], new, 0.01).why == "no requests"


def test_without_an_error_on_either_side_the_difference_is_bounded_by_the_requests() -> None:
    none = [(0, 10_000)] * 3
    found = intervals.share_difference(none, none, 0.01)
    assert found.value == 0
    assert found.high == pytest.approx(-math.log(0.01) / 30_000, rel=0.01)


def test_errors_in_one_deployment_alone_widen_the_difference() -> None:
    clustered = [(300, 10_000), (0, 10_000), (0, 10_000)]
    spread = [(100, 10_000)] * 3
    none = [(0, 10_000)] * 3
    assert (
        intervals.share_difference(none, clustered, 0.01).low < 0 < (intervals.share_difference(none, spread, 0.01).low)
    )


def test_looks_grow_to_the_last_one_and_spend_the_error_exactly() -> None:
    planned = intervals.looks(3, 24)
    assert planned[0] == 3
    assert planned[-1] == 24
    assert list(planned) == sorted(set(planned))
    assert sum(intervals.spent(0.01, planned, index) for index in range(len(planned))) == pytest.approx(0.01)


@pytest.mark.parametrize("most", range(3, 80))
def test_the_look_before_the_last_one_sees_clearly_less_and_leaves_it_more_than_a_third_of_the_error(most: int) -> None:
    planned = intervals.looks(3, most)
    assert planned[-1] == most
    assert all(later - earlier >= min(earlier * 0.18, most - 3) for earlier, later in pairwise(planned))
    shares = [intervals.spent(1.0, planned, index) for index in range(len(planned))]
    assert shares == sorted(shares)
    assert shares[-1] > 0.37


def ever_beyond(rng: np.random.Generator, change: float, limit: float, most: int = 14) -> int:
    """Count the series of pairs that are found beyond a limit at any look."""
    planned, found = intervals.looks(3, most), 0
    for _ in range(RUNS):
        old = np.exp(rng.normal(0, 0.02, planned[-1]))
        new = old * np.exp(rng.normal(change, 0.02, planned[-1]))
        found += any(
            intervals.paired(
                old[:count].tolist(), new[:count].tolist(), intervals.spent(0.01, planned, index)
            ).low > math.expm1(limit)
            for index, count in enumerate(planned)
        )  # fmt: skip
    return found


def test_looking_again_and_again_at_a_change_that_is_just_allowed_fails_no_more_often_than_nominal() -> None:
    assert ever_beyond(np.random.default_rng(3), 0.05, 0.05) <= MOST_AT_ONE_PERCENT


def test_a_change_of_twice_the_limit_is_found() -> None:
    assert ever_beyond(np.random.default_rng(4), 0.04, 0.02, 36) >= 0.95 * RUNS


def test_without_dividing_the_error_there_would_be_too_many_false_alarms() -> None:
    """The simulation can fail: every look with the whole error is wrong too often."""
    rng, planned, found = np.random.default_rng(5), intervals.looks(3, 14), 0
    for _ in range(RUNS):
        logs = rng.normal(0, 0.02, planned[-1])
        ones = [1.0] * planned[-1]
        found += any(intervals.paired(ones[:count], np.exp(logs[:count]).tolist(), 0.01).low > 0 for count in planned)
    assert found > MOST_AT_ONE_PERCENT
