"""Which points count, which is best, and which came closest."""

import math
from collections.abc import Sequence

import pytest
from result_builders import GOALS, candidate, point, trial

from tuner.companions import companions
from tuner.objective import Goal
from tuner.rank import Candidate, best_of_each, by_value, candidates, closest, feasible_front, pareto
from tuner.results import Closest, Estimate, FrontPoint, Point, TrialState, Validity

STEADY = ["steady"]
BOTH = ["steady", "bursty"]


# candidates


def test_every_point_of_the_primary_workload_is_a_candidate() -> None:
    found = candidates([trial(1, point(level=1), point(level=2)), trial(2, point(level=4))], STEADY, GOALS)
    assert [(one.trial.number, one.point) for one in found] == [(1, 0), (1, 1), (2, 0)]


@pytest.mark.parametrize("state", ["refused", "crashed", "hung"])
def test_trials_that_are_not_complete_do_not_count(state: TrialState) -> None:
    assert candidates([trial(1, point(), state=state)], STEADY, GOALS) == []


def test_of_a_trial_with_an_invalid_point_the_others_count() -> None:
    spoiled = point(level=1).model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    found = candidates([trial(1, spoiled, point(level=2), state="invalid")], STEADY, GOALS)
    assert [(one.trial.number, one.point) for one in found] == [(1, 1)]


def test_a_point_counts_with_those_of_the_other_workloads() -> None:
    one = trial(1, point("steady", violations={"p99": -0.5}), point("bursty", mode="open", violations={"p99": 0.5}))
    (found,) = candidates([one], BOTH, GOALS)
    assert found.point == 0
    assert found.objective.violations == {"steady.p99": -0.5, "bursty.p99": 0.5}
    assert not found.feasible


def test_a_point_without_one_of_another_workload_does_not_count() -> None:
    assert candidates([trial(1, point("steady"))], BOTH, GOALS) == []


def test_the_only_point_of_another_workload_goes_with_every_level() -> None:
    one = trial(1, point(level=1), point(level=2), point("bursty", mode="open", level=500))
    assert [found.point for found in candidates([one], BOTH, GOALS)] == [0, 1]


def test_a_point_of_another_workload_goes_with_the_same_level() -> None:
    one = trial(
        1,
        point(level=1),
        point(level=2),
        point("bursty", level=1, violations={"p99": -1.0}),
        point("bursty", level=2, violations={"p99": 1.0}),
    )
    assert [found.feasible for found in candidates([one], BOTH, GOALS)] == [True, False]


def test_concurrency_2_is_not_2_requests_per_second() -> None:
    first, second = (
        point("bursty", mode="open", level=9),
        point("bursty", mode="open", level=2, violations={"p99": 1.0}),
    )
    found = candidates([trial(1, point(level=2), first, second)], BOTH, GOALS)
    assert [(one.points[1], one.feasible) for one in found] == [(first, True), (second, False)]


def test_values_follow_the_goals() -> None:
    one = trial(1, point(throughput=300, p99=0.02), point("bursty", p99=0.05))
    goals = (Goal(False, "bursty", "p99"), Goal(True, "steady", "throughput"))
    (found,) = candidates([one], BOTH, goals)
    assert found.objective.values == (0.05, 300.0)


# by_value


def test_the_best_comes_first_and_only_what_meets_the_slo() -> None:
    found = [
        candidate(throughput=100, number=1),
        candidate(throughput=300, number=2, violations={"p99": 0.1}),
        candidate(throughput=200, number=3),
    ]
    assert [one.trial.number for one in by_value(found, GOALS[0])] == [3, 1]


def test_less_is_better_where_the_goal_says_so() -> None:
    goal = Goal(False, "steady", "p99")
    trials = [trial(1, point(p99=0.02)), trial(2, point(p99=0.01))]
    assert [one.trial.number for one in by_value(candidates(trials, STEADY, [goal]), goal)] == [2, 1]


def test_of_equals_the_earlier_comes_first() -> None:
    for goal in GOALS:
        found = candidates([trial(n, point()) for n in (1, 2, 3)], STEADY, [goal])
        assert [one.trial.number for one in by_value(found, goal)] == [1, 2, 3]


# feasible_front


def test_the_feasible_front_has_whom_no_other_beats_on_every_goal() -> None:
    found = [
        candidate(throughput=300, p99=0.009, number=1),
        candidate(throughput=200, p99=0.010, number=2),
        candidate(throughput=200, p99=0.005, number=3),
        candidate(throughput=300, p99=0.009, number=4),
    ]
    assert [one.trial.number for one in feasible_front(found, GOALS)] == [1, 3, 4]


@pytest.mark.parametrize("violated", ["p99", "error_rate"])
def test_who_misses_an_slo_is_not_on_the_feasible_front_and_keeps_nobody_off_it(violated: str) -> None:
    """Not even where the SLO is about an objective, which `pareto` lets pass."""
    found = [candidate(throughput=900, p99=0.001, violations={violated: 0.1}, number=1), candidate(number=2)]
    assert [one.trial.number for one in feasible_front(found, GOALS)] == [2]


def test_who_meets_a_bound_exactly_is_feasible() -> None:
    assert len(feasible_front([candidate(violations={"p99": 0.0})], GOALS)) == 1


def test_without_a_feasible_candidate_there_is_no_front() -> None:
    assert feasible_front([], GOALS) == []
    assert feasible_front([candidate(violations={"p99": 0.1})], GOALS) == []


# pareto


def test_the_front_is_in_the_order_of_the_first_goal() -> None:
    found = [
        candidate(throughput=300, p99=0.009, number=1),
        candidate(throughput=100, p99=0.001, number=2),
        candidate(throughput=200, p99=0.010, number=3),
        candidate(throughput=200, p99=0.005, number=4),
    ]
    assert [one.trial for one in pareto(found, GOALS)] == [2, 4, 1]


def test_a_missed_bound_of_an_objective_keeps_no_point_off_the_front() -> None:
    found = [candidate(throughput=300, p99=0.02, violations={"p99": 1.0}, number=1), candidate(number=2)]
    assert pareto(found, GOALS) == [
        FrontPoint(trial=2, point=0, meets_slo=True, membership=1.0, on_front=True),
        FrontPoint(trial=1, point=0, meets_slo=False, membership=1.0, on_front=True),
    ]


def test_neither_does_one_from_below() -> None:
    goals = (GOALS[0], Goal(True, "steady", "gpu_utilization"))
    found = []
    for number, (throughput, share) in enumerate(((300, 0.3), (100, 0.9), (50, 0.8)), 1):
        one = point(throughput=throughput, violations={"gpu_utilization_at_least": (0.5 - share) / 0.5})
        use = {"gpu_utilization": Estimate(value=share, low=share, high=share, n=9)}
        made = trial(number, one.model_copy(update={"metrics": {**one.metrics, **use}}))
        found += candidates([made], ["steady"], goals)
    assert [(one.trial, one.meets_slo) for one in pareto(found, goals)] == [(2, True), (1, False)]


@pytest.mark.parametrize("violated", ["error_rate", "p50", "accuracy_drop"])
def test_any_other_missed_bound_does(violated: str) -> None:
    found = [candidate(throughput=300, violations={violated: 0.1}, number=1), candidate(number=2)]
    assert [one.trial for one in pareto(found, GOALS)] == [2]


def test_the_bound_of_an_objective_on_another_workload_is_not_traded() -> None:
    one = trial(1, point("steady"), point("bursty", violations={"p99": 0.1}))
    assert pareto(candidates([one], BOTH, GOALS), GOALS) == []


def test_an_infinite_percentile_may_be_on_the_front() -> None:
    found = [candidate(throughput=900, p99=math.inf, violations={"p99": math.inf})]
    assert pareto(found, GOALS) == [FrontPoint(trial=1, point=0, meets_slo=False, membership=1.0, on_front=True)]


def test_nothing_measured_has_no_front() -> None:
    assert pareto([], GOALS) == []


NOISY, LEADING = (150.0, 300.0), (190.0, 210.0)
"""Bounds of a throughput of 180 per second that may be more than 200, and of one of 200."""


def test_a_point_that_may_be_on_the_front_is_listed() -> None:
    behind = trial(1, point(throughput=180, throughputs=NOISY))
    ahead = trial(2, point(throughput=200, throughputs=LEADING))
    one, other = pareto(candidates([ahead, behind], STEADY, GOALS), GOALS)
    assert (one.trial, one.on_front) == (1, False)
    assert (other.trial, other.on_front) == (2, True)
    assert 0.25 < one.membership < 0.45
    assert one.membership + other.membership == pytest.approx(1.0)


def test_a_point_that_is_hardly_ever_on_the_front_is_not_listed() -> None:
    behind = trial(1, point(throughput=180, throughputs=(170.0, 185.0)))
    ahead = trial(2, point(throughput=200, throughputs=LEADING))
    assert [one.trial for one in pareto(candidates([behind, ahead], STEADY, GOALS), GOALS)] == [2]


def test_a_point_of_the_measured_front_is_listed_however_improbable() -> None:
    rivals = [trial(n, point(throughput=200, throughputs=LEADING)) for n in range(2, 42)]
    lucky = trial(1, point(throughput=200.1, throughputs=(190.0, 200.2)))
    found = {one.trial: one for one in pareto(candidates([*rivals, lucky], STEADY, GOALS), GOALS)}
    assert found[1].on_front
    assert found[1].membership < 0.05


def test_the_noise_is_that_of_the_workload_that_the_goal_is_about() -> None:
    goals = (Goal(True, "bursty", "throughput"), Goal(False, "steady", "p99"))
    behind = trial(1, point(), point("bursty", throughput=180, throughputs=NOISY))
    ahead = trial(2, point(throughput=500), point("bursty", throughput=200, throughputs=LEADING))
    found = pareto(candidates([behind, ahead], BOTH, goals), goals)
    assert [(one.trial, one.on_front) for one in found] == [(1, False), (2, True)]


def test_a_point_that_is_not_admitted_takes_no_share_of_the_front() -> None:
    missed = trial(1, point(throughput=900, throughputs=(100.0, 2000.0), violations={"error_rate": 0.1}))
    (one,) = pareto(candidates([missed, trial(2, point())], STEADY, GOALS), GOALS)
    assert (one.trial, one.membership) == (2, 1.0)


def test_the_same_points_have_the_same_front() -> None:
    trials = [trial(n, point(throughput=200 + n, throughputs=(150.0, 300.0))) for n in range(1, 9)]
    found = candidates(trials, STEADY, GOALS)
    assert pareto(found, GOALS) == pareto(found, GOALS)


# closest


def test_the_closest_has_the_smallest_worst_violation() -> None:
    found = [
        candidate(number=1, violations={"p99": 0.1, "error_rate": 2.0}),
        candidate(number=2, violations={"p99": 0.6, "error_rate": -1.0}),
        candidate(number=3, violations={"p99": 0.9}),
    ]
    assert closest(found) == Closest(trial=2, point=0, missed={"steady.p99": 0.6})


def test_the_closest_of_nothing_is_none() -> None:
    assert closest([]) is None


def test_a_point_without_violations_misses_nothing() -> None:
    assert closest([candidate()]) == Closest(trial=1, point=0, missed={})


def test_a_workload_whose_load_changes_too_goes_with_the_same_load_only() -> None:
    both = trial(1, point("steady", 1), point("other", 1), point("steady", 2))
    assert [one.point for one in candidates([both], ["steady", "other"], GOALS)] == [0]


def test_a_workload_whose_load_does_not_change_goes_with_every_load() -> None:
    fixed = point("bursty", 500, mode="open")
    levels = trial(1, fixed, point("steady", 1), point("steady", 2))
    assert [one.points[1] for one in candidates([levels], ["steady", "bursty"], GOALS)] == [fixed, fixed]
    assert companions(levels, levels.points[2]) == [fixed]


def test_a_trial_without_the_metric_of_an_objective_is_no_candidate() -> None:
    goals = (*GOALS, Goal(False, "steady", "ttft_p99"))
    assert candidates([trial(1, point())], ["steady"], goals) == []


def test_the_best_of_each_trial_is_feasible_where_one_is() -> None:
    found = candidates(
        [
            trial(1, point(level=1, throughput=100), point(level=2, throughput=150)),
            trial(2, point(level=1, violations={"p99": 0.5}), point(level=2, violations={"p99": 0.1})),
        ],
        ["steady"],
        GOALS,
    )
    assert [(one.trial.number, one.point) for one in best_of_each(found, GOALS[0])] == [(1, 1), (2, 1)]


# Loads of several workloads.


def web(*rates: float) -> list[Point]:
    """Points of an open loop: it answers what it is offered."""
    return [point("web", rate, throughput=rate, mode="open") for rate in rates]


def levels_of(found: Sequence[Candidate]) -> list[tuple[float, ...]]:
    return [tuple(load.level for load in one.loads.values()) for one in found]


def test_every_load_of_a_workload_with_another_kind_of_load_goes_with_every_level() -> None:
    """A closed loop's concurrency says nothing of an open loop's rate: both were measured by themselves."""
    goal = Goal(True, "web", "throughput")
    own = trial(0, point(level=1), point(level=16), *web(100, 400))
    found = candidates([own], ["steady", "web"], [goal])
    assert levels_of(found) == [(1, 100), (1, 400), (16, 100), (16, 400)]
    assert [one.objective.values for one in found] == [(100,), (400,), (100,), (400,)]
    assert levels_of(by_value(found, goal)[:2]) == [(1, 400), (16, 400)]
    assert levels_of(candidates([own], ["web", "steady"], [goal])) == [(100, 1), (100, 16), (400, 1), (400, 16)]


def test_the_classes_of_a_mix_are_under_the_load_of_their_workload() -> None:
    mixed = [point(name, rate, mode="open") for rate in (100, 400) for name in ("web", "web.read", "web.write")]
    found = candidates([trial(0, point(level=1), *mixed)], ["steady", "web", "web.read", "web.write"], GOALS)
    assert levels_of(found) == [(1, 100, 100, 100), (1, 400, 400, 400)]


def test_a_load_that_was_not_valid_goes_with_nothing() -> None:
    first, second = web(100, 400)
    spoiled = second.model_copy(update={"validity": Validity(valid=False, reasons=["late"])})
    found = candidates([trial(0, point(level=1), first, spoiled)], ["steady", "web"], GOALS)
    assert levels_of(found) == [(1, 100)]


@pytest.mark.parametrize("before", [True, False], ids=["as a climb measures", "as the baseline is measured"])
@pytest.mark.parametrize("mode", ["users", "closed"])
def test_a_workload_with_a_load_of_its_own_goes_with_every_level_of_the_same_kind(mode: str, before: bool) -> None:
    rising = [point("steady", level, mode=mode) for level in (1, 2, 4)]
    fixed = point("shop", 5, mode=mode)
    own = trial(0, *([fixed, *rising] if before else [*rising, fixed]))
    found = candidates([own], ["steady", "shop"], GOALS)
    assert levels_of(found) == [(1, 5), (2, 5), (4, 5)]
    assert levels_of(candidates([own], ["shop", "steady"], GOALS)) == [(5, 1), (5, 2), (5, 4)]


def test_of_a_point_with_several_loads_the_companions_are_those_that_are_meant() -> None:
    own = trial(0, point(level=1), *web(100, 400))
    first, second = own.points[1:]
    assert companions(own, own.points[0]) == [first]
    assert companions(own, own.points[0], {"web": second.load}) == [second]


def test_the_front_lists_a_point_once_with_the_loads_that_it_does_best_with() -> None:
    own = trial(0, point(level=1, p99=0.01), point(level=16, p99=0.02), *web(100, 400))
    goals = [Goal(True, "web", "throughput"), Goal(False, "steady", "p99")]
    found = pareto(candidates([own], ["steady", "web"], goals), goals)
    assert [(one.point, one.loads["web"].level, one.on_front) for one in found] == [(0, 400, True)]


def test_loads_that_change_no_objective_take_no_share_of_the_front() -> None:
    own = trial(0, point(level=1, throughputs=LEADING, throughput=200), *web(100, 400))
    (one,) = pareto(candidates([own], ["steady", "web"], GOALS), GOALS)
    assert (one.membership, one.loads["web"].level) == (1.0, 100)
