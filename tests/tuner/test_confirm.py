"""How long the confirmation measures, and which error its verdicts may make."""

from collections.abc import Mapping
from pathlib import Path

import pytest
from result_builders import GOALS, estimate, point, trial
from workload_builders import workload

from tuner.confirm import (
    DROPPED_SHARE,
    MAX_ROUNDS_FACTOR,
    Contender,
    allowed_error,
    in_turn,
    more_rounds,
    rounds_needed,
)
from tuner.measure import Meter
from tuner.results import Load, Point, Side, SloVerdict
from tuner.slo import Slo
from tuner.stats import proportion
from tuner.stopping import Pace
from tuner.study.spec import ConfirmSpec
from tuner.trials import Accuracies, Trier
from tuner.workload import Workload
from workloads.arrivals import Arrivals, Bursty

SETTINGS = ConfirmSpec(redeployments=4, max_redeployments=4, rounds=6, round="0.3 s")
MOST = MAX_ROUNDS_FACTOR * SETTINGS.rounds
COUNTED_S = (1 - DROPPED_SHARE) * SETTINGS.round * SETTINGS.redeployments
"""What one round in each redeployment adds up to."""


def trier(bounds: Mapping[str, float], *workloads: Workload, confidence: float = 0.99) -> Trier:
    """Return one that knows what was asked for; it cannot measure."""
    meter = Meter(None, None, {one.name: Slo(bounds) for one in workloads}, Path())  # type: ignore[arg-type]
    pace = Pace.fixed(0.1, 1.0)
    return Trier(None, meter, workloads, Accuracies(), pace, GOALS, 0.05, confidence, Path())  # type: ignore[arg-type]


def measured(independent: float, offered: float, workload: str = "steady", level: float = 1) -> Point:
    """Return a point by what it had per second: independent requests, and requests."""
    one = point(workload, level)
    return one.model_copy(
        update={
            "independent": independent * one.window_s,
            "metrics": {**one.metrics, "offered_rps": estimate(offered)},
        }
    )


def rounds(
    bounds: Mapping[str, float],
    *points: Point,
    settings: ConfirmSpec = SETTINGS,
    arrivals: Arrivals | None = None,
    confidence: float = 0.99,
) -> int:
    """Return the rounds that contenders with these points need, one point each."""
    trials = {number: trial(number, one) for number, one in enumerate(points)}
    contenders = [Contender(number, {}, {"steady": one.load}) for number, one in enumerate(points)]
    asked = trier(bounds, workload("steady", arrivals), confidence=confidence)
    return rounds_needed(asked, contenders, trials, settings)["steady"]


# rounds_needed


@pytest.mark.parametrize(("independent", "expected"), [(1000, 6), (50, 15), (40, 18), (10, MOST)])
def test_a_p99_needs_half_as_many_again_as_are_certain_without_a_slow_one(independent: float, expected: int) -> None:
    """459 independent requests, none of them slow, show with 99% that at most 1% is."""
    assert proportion(0, 459, 0.98).high <= 0.01 < proportion(0, 458, 0.98).high
    assert rounds({"p99": 0.01}, measured(independent, 10_000)) == expected
    if SETTINGS.rounds < expected < MOST:
        assert expected - 1 < 1.5 * 458.2 / independent / COUNTED_S <= expected


def test_a_point_that_was_worth_nothing_gets_the_most_rounds() -> None:
    assert rounds({"p99": 0.01}, measured(0, 10_000)) == MOST


def test_a_p99_is_claimed_from_662_requests() -> None:
    assert rounds({"p99": 0.01}, measured(1000, 60)) == 12
    assert 11 < 662 / 60 / COUNTED_S <= 12
    assert rounds({"p95": 0.01}, measured(1000, 60)) == 6


def test_an_error_rate_needs_as_many_requests_as_are_certain_without_a_failure() -> None:
    """4,603 for one in a thousand; that they hang together is not known before one is seen."""
    assert rounds({"error_rate": 0.001}, measured(1, 400)) == 12
    assert 11 < 4603 / 400 / COUNTED_S <= 12
    assert rounds({"error_rate": 0.0}, measured(1, 400)) == 6


@pytest.mark.parametrize("bounds", [{}, {"mean": 0.01}, {"accuracy_drop": 0.01}])
def test_other_bounds_need_the_rounds_of_the_study(bounds: Mapping[str, float]) -> None:
    assert rounds(bounds, measured(1, 10_000)) == 6


def test_the_highest_percentile_needs_the_most() -> None:
    assert rounds({"p50": 0.01}, measured(50, 10_000)) == 6
    assert rounds({"p50": 0.01, "p99": 0.05, "p90": 0.02}, measured(50, 10_000)) == 15


def test_a_higher_confidence_needs_more() -> None:
    assert rounds({"p99": 0.01}, measured(50, 10_000), confidence=0.9) == 8


def test_only_the_first_looks_part_of_the_error_may_be_made() -> None:
    more = SETTINGS.model_copy(update={"max_redeployments": 8})
    assert rounds({"p99": 0.01}, measured(50, 10_000), settings=more) == 17


def test_the_contender_that_needs_the_most_counts() -> None:
    assert rounds({"p99": 0.01}, measured(1000, 10_000), measured(50, 10_000)) == 15
    assert rounds({"p99": 0.01}, measured(50, 10_000), measured(1000, 10_000)) == 15


def test_a_bursty_workload_has_longer_rounds_and_so_needs_fewer() -> None:
    assert rounds({"p99": 0.01}, measured(10, 10_000), arrivals=Bursty(10, 0.5)) == 11
    assert 10 < 1.5 * 458.2 / 10 / (0.8 * 2.0 * 4) <= 11


def test_each_workload_has_its_own_number_at_the_load_of_the_contender() -> None:
    one = trial(7, measured(1, 9), measured(40, 9000, workload="other", level=2), measured(50, 9000, level=2))
    loads = dict.fromkeys(("steady", "other"), Load(mode="closed", level=2))
    asked = trier({"p99": 0.01}, workload("steady"), workload("other"))
    assert rounds_needed(asked, [Contender(7, {}, loads)], {7: one}, SETTINGS) == {"steady": 15, "other": 18}


# in_turn


def test_all_sides_are_in_every_round_with_the_order_swapped() -> None:
    assert [tuple(one) for one in in_turn(2, 4, 4, reverse=False)] == [(0, 1), (1, 0), (0, 1), (1, 0)]
    assert [tuple(one) for one in in_turn(3, 2, 2, reverse=True)] == [(2, 1, 0), (0, 1, 2)]


def test_the_others_are_in_as_many_rounds_as_they_need_spread_over_the_time() -> None:
    found = [tuple(one) for one in in_turn(2, 9, 3, reverse=False)]
    assert found == [(0,), (0, 1), (0,), (0,), (1, 0), (0,), (0,), (0, 1), (0,)]


@pytest.mark.parametrize("most", range(1, 25))
def test_each_side_has_its_number_of_rounds_in_balanced_order_and_time(most: int) -> None:
    for shared in range(1, most + 1):
        found = [tuple(one) for one in in_turn(2, most, shared, reverse=False)]
        both = [number for number, one in enumerate(found) if len(one) == 2]
        assert (len(found), len(both)) == (most, shared)
        first = [found[number][0] for number in both]
        assert abs(first.count(0) - first.count(1)) <= 1
        assert abs(sum(both) / shared - (most - 1) / 2) <= 1, "in the middle of the time"


# more_rounds


def side(**verdicts: SloVerdict) -> Side:
    """Return a side with a verdict on each workload, beside an SLO that is met."""
    return Side(
        trial=1,
        config={},
        load=Load(mode="closed", level=1),
        metrics={},
        verdicts={name: {"p50": "met", "p99": verdict} for name, verdict in verdicts.items()},
        server={},
        valid=True,
    )


def test_an_undecided_workload_gets_twice_the_rounds_and_a_decided_one_the_fewest() -> None:
    before = {"a": 6, "b": 12, "c": 15, "d": 15}
    found = more_rounds(before, side(a="undecided", b="undecided", c="met", d="missed"), SETTINGS)
    assert found == {"a": 12, "b": 24, "c": 6, "d": 6}


def test_an_undecided_class_gets_its_workload_more_rounds() -> None:
    found = more_rounds({"a": 6, "b": 6}, side(**{"a": "met", "a.rare": "undecided", "b": "met"}), SETTINGS)
    assert found == {"a": 12, "b": 6}


def test_there_is_an_end_to_more_rounds() -> None:
    assert more_rounds({"a": 20}, side(a="undecided"), SETTINGS) == {"a": MOST}


def test_where_nothing_can_follow_an_undecided_workload_gets_all_that_it_can() -> None:
    found = more_rounds({"a": 6, "b": 12}, side(a="undecided", b="met"), SETTINGS, most=True)
    assert found == {"a": MOST, "b": 6}


# allowed_error


@pytest.mark.parametrize(("planned", "most"), [(4, 8), (2, 3), (2, 12), (4, 4), (4, 2)])
def test_all_looks_together_may_make_the_whole_error(planned: int, most: int) -> None:
    settings = ConfirmSpec(redeployments=planned, max_redeployments=most)
    looks = range(planned, max(planned, most) + 1)
    assert sum(allowed_error(0.99, settings, number) for number in looks) == pytest.approx(0.01)


def test_the_first_look_has_half_of_the_error_and_the_others_equal_parts_of_the_rest() -> None:
    settings = ConfirmSpec(redeployments=4, max_redeployments=8)
    found = [allowed_error(0.99, settings, number) for number in (4, 5, 8)]
    assert found == pytest.approx([0.005, 0.00125, 0.00125])


def test_a_confirmation_that_looks_once_may_make_the_whole_error_then() -> None:
    assert allowed_error(0.95, SETTINGS, 4) == pytest.approx(0.05)
