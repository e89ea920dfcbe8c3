"""What a trial is worth."""

import math

import pytest
from result_builders import point

from tuner.objective import WORST, Goal, Objective, evaluate, evened, parse_goals, pessimistic


def test_an_objective_is_about_the_primary_workload_unless_named() -> None:
    assert parse_goals(["maximize goodput", "minimize bursty.p99"], "steady") == (
        Goal(True, "steady", "goodput"),
        Goal(False, "bursty", "p99"),
    )


def test_a_workloads_name_may_have_a_dash() -> None:
    assert parse_goals(["minimize night-shift.p50"], "steady") == (Goal(False, "night-shift", "p50"),)


def test_a_goal_knows_the_key_of_its_metric() -> None:
    assert Goal(True, "steady", "throughput").key == "throughput_rps"
    assert Goal(False, "steady", "p99").key == "latency_p99_s"


def test_values_come_in_the_order_of_the_goals() -> None:
    points = [point("bursty", throughput=50, p99=0.04), point("steady", throughput=200, p99=0.01)]
    goals = (Goal(False, "bursty", "p99"), Goal(True, "steady", "throughput"))
    assert evaluate(points, goals).values == (0.04, 200.0)


def test_violations_are_those_of_every_workload() -> None:
    points = [point("steady", violations={"p99": 0.5, "error_rate": -1.0}), point("bursty", violations={"p99": -0.2})]
    found = evaluate(points, (Goal(True, "steady", "throughput"),))
    assert found.violations == {"steady.p99": 0.5, "steady.error_rate": -1.0, "bursty.p99": -0.2}


@pytest.mark.parametrize(
    ("violations", "feasible"),
    [
        ({}, True),
        ({"a.p99": 0.0}, True),
        ({"a.p99": -0.5, "b.p99": -0.1}, True),
        ({"a.p99": -0.5, "b.p99": 0.001}, False),
        ({"a.p99": math.inf}, False),
        ({"a.p99": math.nan}, False),
    ],
)
def test_every_slo_must_be_met(violations: dict[str, float], feasible: bool) -> None:
    assert Objective((1.0,), violations).feasible is feasible


def test_what_could_not_be_measured_is_worst_in_everything() -> None:
    worst = pessimistic((Goal(True, "a", "goodput"), Goal(False, "a", "p99")), ["a.p99", "b.error_rate"])
    assert worst.values == (0.0, WORST)
    assert worst.violations == {"a.p99": WORST, "b.error_rate": WORST}
    assert not worst.feasible


# What a sampler that scales is told.


def test_what_could_not_be_measured_is_as_bad_as_the_worst_that_was() -> None:
    """Scaled beside 1e9 all measured latencies would be one and the same."""
    goals = (Goal(True, "a", "goodput"), Goal(False, "a", "p99"))
    told = [Objective((300.0, 0.01), {"a.p99": -0.2}), Objective((100.0, 0.04), {"a.p99": 3.0})]
    found = evened([*told, pessimistic(goals, ["a.p99"])], [True, False])
    assert found[:2] == told
    assert found[2] == Objective((0.0, 0.04), {"a.p99": 3.0})


def test_what_could_not_be_measured_stays_a_violation_where_all_else_is_none() -> None:
    told = [Objective((1.0,), {"a.p99": -0.5}), Objective((1.0,), {"a.p99": WORST})]
    assert [one.feasible for one in evened(told, [True])] == [True, False]


def test_all_have_the_same_violations_in_the_same_order() -> None:
    told = [
        Objective((1.0,), {"b.p99": 0.1, "a.p99": -0.1}),
        Objective((2.0,), dict.fromkeys(("a.p99", "b.accuracy_drop", "b.p99"), WORST)),
        Objective((3.0,), {}),
    ]
    assert [list(one.violations.items()) for one in evened(told, [True])] == [
        [("a.p99", -0.1), ("b.accuracy_drop", 0.0), ("b.p99", 0.1)],
        [("a.p99", 1.0), ("b.accuracy_drop", 1.0), ("b.p99", 1.0)],
        [("a.p99", 0.0), ("b.accuracy_drop", 0.0), ("b.p99", 0.0)],
    ]


def test_while_nothing_was_measured_all_are_alike() -> None:
    assert evened([], [True]) == []
    assert evened([Objective((WORST,), {})] * 2, [False]) == [Objective((0.0,), {})] * 2


def test_the_worst_score_of_answers_is_below_0() -> None:
    """Beside scores of -0.2 a 0 would be the best of all."""
    goals = (Goal(True, "a", "goodput"), Goal(True, "a", "accuracy"), Goal(False, "a", "prediction_error"))
    assert pessimistic(goals, []).values == (0.0, -WORST, WORST)
    assert evened([Objective((1.0, -0.2, 0.1), {}), pessimistic(goals, [])], [True, True, False])[1].values == (
        0.0,
        -0.2,
        0.1,
    )
