"""The inner search: which load levels are measured, and what is found."""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from record_builders import answered, records
from result_builders import GOALS, point, trial
from workload_builders import workload

from tuner.climb import next_level
from tuner.load_plans import Climb, InTurn, Ladder, sustained
from tuner.rank import worth
from tuner.results import Point, SloVerdict
from tuner.stopping import slo_verdicts
from workloads.arrivals import Bursty, Poisson

DOUBLINGS = (1, 2, 4, 8, 16, 32, 64)


def climbed(
    meets: Callable[[float], bool],
    scan: Sequence[float] = DOUBLINGS,
    start: float = 8,
    resolution: float = 0.05,
    *,
    whole: bool = True,
) -> dict[float, bool]:
    """Return what is measured, in its order."""
    results: dict[float, bool] = {}
    while (level := next_level(results, scan, start, resolution, whole=whole)) is not None:
        assert level not in results
        results[level] = meets(level)
    return results


def highest(results: dict[float, bool]) -> float | None:
    return max((level for level, met in results.items() if met), default=None)


@given(st.integers(0, 100), st.integers(1, 64))
def test_the_highest_level_that_meets_the_slo_is_found_to_a_whole_request(capacity: int, start: int) -> None:
    found = climbed(lambda level: level <= capacity, start=start, resolution=0.0)
    assert highest(found) == (min(capacity, 64) or None)
    assert len(found) <= 14


@given(st.floats(101, 799), st.sampled_from([0.01, 0.03, 0.1]))
def test_a_rate_is_found_within_the_resolution(capacity: float, resolution: float) -> None:
    found = climbed(lambda rate: rate <= capacity, (100, 200, 400, 800), 200, resolution, whole=False)
    best = highest(found)
    assert best is not None
    assert best <= capacity <= best * (1 + resolution)


def test_the_search_begins_where_it_is_told_and_goes_up_while_the_slo_is_met() -> None:
    assert list(climbed(lambda _: True, start=9)) == [8, 16, 32, 64]


def test_it_goes_down_by_halves_of_what_is_left_while_the_slo_is_missed() -> None:
    assert list(climbed(lambda _: False, start=64)) == [64, 8, 2, 1]


def test_an_slo_that_is_missed_for_want_of_load_is_met_above() -> None:
    """A long queue delay makes a lone request wait for others that do not come."""
    found = climbed(lambda level: 8 <= level <= 20, start=2, resolution=0.0)
    assert list(found)[:3] == [2, 1, 4]
    assert highest(found) == 20


def test_little_is_spent_above_a_start_that_missed() -> None:
    assert list(climbed(lambda _: False, start=1)) == [1, 2, 4]


@pytest.mark.parametrize("met", [True, False])
def test_a_single_level_is_measured_once(met: bool) -> None:
    assert climbed(lambda _: met, (16,), 16) == {16: met}


@given(st.integers(0, 2**32), st.integers(1, 64))
def test_it_ends_whatever_the_answers_are(answers: int, start: int) -> None:
    found = climbed(lambda level: bool(answers >> int(level) % 32 & 1), start=start, resolution=0.0)
    assert len(found) <= 64


# What a trial measures.

STEADY, BURSTY = workload("steady"), workload("bursty", Bursty(10, 0.02))
OTHER = workload("other")
LADDER = Ladder("concurrency", (1, 2, 4, 8, 16), 0.05)


def seen(
    name: str, level: float, *, met: bool = True, mode: str = "closed", verdict: SloVerdict | None = None
) -> Point:
    one = point(name, level, throughput=100 * level, violations={"p99": -0.5 if met else 0.5}, mode=mode)
    return one.model_copy(update={"verdicts": {"p99": verdict or ("met" if met else "missed")}})


def measured_in_turn(climb: Climb, answers: Callable[[str, float], bool]) -> list[tuple[str, float]]:
    points: list[Point] = []
    while (at := climb.next(points)) is not None:
        ((one, load),) = at
        points.append(seen(one.name, load.level, met=answers(one.name, load.level), mode=load.mode))
    return [(one.workload, one.load.level) for one in points]


def test_a_climb_measures_what_does_not_change_once_and_the_others_level_by_level() -> None:
    found = measured_in_turn(
        Climb([STEADY, BURSTY, OTHER], LADDER, 4), lambda name, level: level <= 8 or name == "bursty"
    )
    assert found == [
        ("bursty", 500),
        ("steady", 4),
        ("other", 4),
        ("steady", 8),
        ("other", 8),
        ("steady", 16),
        ("steady", 11),
        ("steady", 9),
    ]


def test_a_level_is_given_up_when_one_workload_misses_its_slo() -> None:
    found = measured_in_turn(Climb([STEADY, OTHER], LADDER, 1), lambda name, level: name == "steady" and level < 4)
    assert found == [("steady", 1), ("other", 1), ("steady", 2), ("other", 2), ("steady", 4)]


def test_nothing_is_looked_for_when_the_load_that_does_not_change_is_too_much() -> None:
    found = measured_in_turn(Climb([STEADY, BURSTY], LADDER, 4), lambda name, _: name == "steady")
    assert found == [("bursty", 500), ("steady", 4)]


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ({"p99": "met", "error_rate": "undecided"}, True),
        ({"p99": "met", "accuracy_drop": "undecided"}, True),
        ({"p99": "undecided"}, False),
        ({"p99": "met", "ttft_p90": "undecided"}, False),
    ],
)
def test_a_load_is_sustained_when_every_bound_on_latency_is_certainly_kept(
    verdicts: dict[str, SloVerdict], expected: bool
) -> None:
    one = seen("steady", 4).model_copy(update={"verdicts": verdicts})
    assert sustained(one) is expected
    assert not sustained(one.model_copy(update={"violations": {"error_rate": 0.1}}))


def test_given_loads_are_measured_in_turn() -> None:
    loads = [((STEADY, STEADY.at(1)),), ((BURSTY, BURSTY.at(None)),)]
    plan = InTurn(loads)
    assert [plan.next([]), plan.next([]), plan.next([])] == [*loads, None]


def test_a_trial_is_worth_its_best_sustained_load() -> None:
    levels = {1: True, 2: True, 4: False}
    one = trial(1, *(seen("steady", level, met=met) for level, met in levels.items()))
    assert worth(one, ["steady"], GOALS).values[0] == 200


def test_a_trial_that_sustains_no_load_is_worth_the_one_that_came_closest() -> None:
    near = seen("steady", 1, met=False).model_copy(update={"violations": {"p99": 0.1}})
    one = trial(1, seen("steady", 4, met=False), near)
    assert worth(one, ["steady"], GOALS).violations == {"steady.p99": 0.1}


def test_a_trial_without_a_point_on_every_workload_is_worth_the_worst() -> None:
    one = worth(trial(1, seen("steady", 4, met=False)), ["steady", "other"], GOALS)
    assert one.values[0] == 0.0
    assert one.violations == {"steady.p99": 0.5}
    assert not one.feasible


# How right it is: a server that takes batches, in virtual time.

SERVICE_S = np.array([0.004 + 0.001 * size for size in range(1, 9)])
BOUND_S, WINDOW = 0.03, 6_000


def latencies_s(rate_rps: float, count: int, seed: int) -> NDArray[np.float64]:
    """Return the latencies of a batching server under Poisson arrivals, from an empty start on."""
    rng = np.random.default_rng(seed)
    arrivals_s = Poisson(rate_rps).offsets_ns(count / rate_rps, rng) / 1e9
    return serve_batches(arrivals_s)


def serve_batches(arrivals_s: NDArray[np.float64]) -> NDArray[np.float64]:
    """Serve up to 8 of those waiting at once whenever the server is free."""
    done_s, free_s, first = np.empty(len(arrivals_s)), 0.0, 0
    while first < len(arrivals_s):
        start_s = max(free_s, arrivals_s[first])
        size = min(8, int(np.searchsorted(arrivals_s[first:], start_s, side="right")))
        free_s = start_s + SERVICE_S[size - 1]
        done_s[first : first + size] = free_s
        first += size
    return done_s - arrivals_s


def test_a_violating_load_is_hardly_ever_called_sustainable_and_the_capacity_is_found() -> None:
    """At a nominal 1% for each verdict, and with several verdicts on the way."""
    true_share = {rate: np.mean(latencies_s(rate, 150_000, 1) > BOUND_S) for rate in np.arange(300, 700, 10)}
    capacity = max(rate for rate, share in true_share.items() if share <= 0.01)
    found = []
    for seed in range(40):
        results: dict[float, bool] = {}
        while (rate := next_level(results, (100, 200, 400, 800), 200, 0.03, whole=False)) is not None:
            taken_s = latencies_s(rate, WINDOW, 1000 * seed + len(results))
            some = records(
                [answered(1e3 * index / rate, 1e3 * taken) for index, taken in enumerate(taken_s)],
                (0, 1e3 * len(taken_s) / rate),
            )
            results[rate] = slo_verdicts(some, {"p99": BOUND_S}, 0.01)["p99"] == "met"
        found.append(max((level for level, met in results.items() if met), default=0.0))
    assert sum(one > 1.03 * capacity for one in found) <= 1
    assert np.median(found) > 0.85 * capacity
