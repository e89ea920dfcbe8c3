"""The time budget: what the next steps will cost, and what has to be kept back."""

import time
from collections.abc import Mapping

import pytest
from result_builders import point, trial
from workload_builders import workload

from tuner.budget import (
    BASELINE_LEVELS,
    FINISH_S,
    FIRST_TRIAL_S,
    ROUND_OVERHEAD_S,
    SHORTLIST_PASSES,
    Budget,
    Prices,
    confirmation_s,
    fitting,
    least_measuring_s,
    least_reserve_s,
    redeployment_cost_s,
    reserve_s,
    shortlist_rounds,
    shown_by,
    typical_cost_s,
)
from tuner.study.spec import ConfirmSpec, MeasureSpec
from workloads.arrivals import Bursty, Poisson

SETTINGS = ConfirmSpec(candidates=3, redeployments=4, rounds=6, round="0.3 s")


def test_an_overdrawn_budget_is_negative() -> None:
    assert Budget(10.0, before_s=12.0).left_s() <= -2.0


def test_what_is_spent_and_left_add_up_to_the_budget() -> None:
    budget = Budget(1e6, before_s=5.0)
    spent, left = budget.spent_s(), budget.left_s()
    assert spent >= 5.0
    assert spent + left <= 1e6


def test_while_a_budget_is_held_nothing_of_it_is_spent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    budget = Budget(60.0, 5.0, started=now[0])
    now[0] += 1.0
    with budget.held():
        now[0] += 30.0
        assert budget.spent_s() == 6.0
    assert budget.spent_s() == 6.0
    now[0] += 2.0
    assert budget.spent_s() == 8.0


def test_the_next_trial_costs_what_the_others_did() -> None:
    assert typical_cost_s([2.0, 4.0, 9.0]) == 5.0


def test_the_first_trial_costs_a_guess_or_what_the_baseline_showed_if_that_is_more() -> None:
    assert typical_cost_s([]) == FIRST_TRIAL_S
    assert typical_cost_s([], 0.5) == FIRST_TRIAL_S
    assert typical_cost_s([], 65.0) == 65.0
    assert typical_cost_s([2.0], 65.0) == 2.0


def test_the_baseline_shows_what_a_start_and_one_level_take() -> None:
    """Of four points, three of them levels of one workload, a trial measures one of each workload: half of the time."""
    own = trial(0, *(point(level=level) for level in (1, 8, 64)), point("open"))
    own = own.model_copy(update={"apply_s": 60.0, "wall_s": 66.0})
    assert shown_by(own, climbs=False) == pytest.approx(63.0)
    assert shown_by(own, climbs=True) == pytest.approx(66.0)
    assert shown_by(trial(0), climbs=False) == 2.5, "nothing was measured"


def test_before_anything_is_measured_a_trial_takes_the_shortest_window_of_each_workload() -> None:
    measure = MeasureSpec(warmup="0.5 s", window="1 s")
    assert least_measuring_s(measure, [workload("a"), workload("b")]) == pytest.approx(3.0)


def test_a_redeployment_costs_its_loads_and_its_rounds() -> None:
    rounds = {"steady": 6, "open": 2}
    cost = redeployment_cost_s(2, Prices(1.5), rounds, [workload("steady"), workload("open", Poisson(100.0))], 0.3)
    assert cost == pytest.approx(2 * (1.5 + 8 * (0.3 + ROUND_OVERHEAD_S)))


def test_rounds_cost_what_others_took_beside_their_length() -> None:
    cost = redeployment_cost_s(1, Prices(2.0, 0.5), {"steady": 4}, [workload("steady")], 0.3)
    assert cost == pytest.approx(2.0 + 4 * (0.3 + 0.5))


def test_a_round_of_bursts_lasts_four_periods() -> None:
    bursty = workload("bursty", Bursty(10, 0.5))
    assert redeployment_cost_s(1, Prices(0.0), {"bursty": 1}, [bursty], 0.3) == pytest.approx(2.0 + ROUND_OVERHEAD_S)


def test_the_shortlist_takes_half_the_rounds_and_two_at_least() -> None:
    workloads = [workload("a"), workload("b")]
    assert shortlist_rounds(SETTINGS, workloads) == {"a": 3, "b": 3}
    assert shortlist_rounds(ConfirmSpec(rounds=2), workloads) == {"a": 2, "b": 2}


def test_sides_that_share_a_deployment_pay_it_once() -> None:
    alone = redeployment_cost_s(2, Prices(1.5), {"a": 4}, [workload("a")], 0.3)
    assert redeployment_cost_s(2, Prices(1.5), {"a": 4}, [workload("a")], 0.3, deployed=1) == pytest.approx(alone - 1.5)


def test_the_others_may_take_fewer_rounds_than_the_first() -> None:
    workloads = [workload("a"), workload("b")]
    all_s = redeployment_cost_s(3, Prices(0.0), {"a": 10, "b": 4}, workloads, 0.3)
    fewer_s = redeployment_cost_s(3, Prices(0.0), {"a": 10, "b": 4}, workloads, 0.3, others=6)
    assert all_s - fewer_s == pytest.approx(2 * 4 * (0.3 + ROUND_OVERHEAD_S))


def test_what_is_loaded_at_once_costs_less_than_one_after_the_other() -> None:
    prices, apart = Prices(1.5, at_once_s=0.6), Prices(1.5)
    one, two = ((count, {"a": 4}, [workload("a")], 0.3) for count in (1, 2))
    assert redeployment_cost_s(one[0], prices, *one[1:]) == redeployment_cost_s(one[0], apart, *one[1:])
    saved = redeployment_cost_s(two[0], apart, *two[1:]) - redeployment_cost_s(two[0], prices, *two[1:])
    assert saved == pytest.approx(2 * (1.5 - 0.6))


def test_shortlist_confirmation_and_export_are_kept_back() -> None:
    workloads = [workload("a")]
    shortlist = redeployment_cost_s(3 + BASELINE_LEVELS, Prices(1.0), {"a": 3}, workloads, 0.3, deployed=3 + 1)
    confirmation = 4 * redeployment_cost_s(2, Prices(1.0), {"a": 6}, workloads, 0.3)
    again = redeployment_cost_s(3, Prices(1.0), {"a": 3}, workloads, 0.3)
    assert SHORTLIST_PASSES == 2
    whole = shortlist + again + confirmation + FINISH_S
    assert reserve_s(SETTINGS, Prices(1.0), {"a": 6}, workloads, 3 * whole) == pytest.approx(whole)
    assert confirmation_s(SETTINGS, Prices(1.0), {"a": 6}, workloads) == pytest.approx(confirmation + FINISH_S)


def test_half_of_the_time_is_kept_back_at_most() -> None:
    assert reserve_s(SETTINGS, Prices(1.0), {"a": 1000}, [workload("a")], 90.0) == 45.0


def test_while_there_is_nothing_to_confirm_the_shortest_confirmation_is_kept() -> None:
    fewest = confirmation_s(SETTINGS, Prices(1.0), {"a": 2}, [workload("a")])
    assert least_reserve_s(SETTINGS, Prices(1.0), [workload("a")], 10 * fewest) == pytest.approx(fewest)
    assert least_reserve_s(SETTINGS, Prices(1.0), [workload("a")], fewest) == pytest.approx(fewest / 2)


def test_rounds_are_given_up_where_there_are_most_until_they_fit() -> None:
    def cost(rounds: Mapping[str, int]) -> float:
        return 1.0 + sum(rounds.values())

    assert fitting({"a": 12, "b": 6}, 100, cost) == {"a": 12, "b": 6}
    assert fitting({"a": 12, "b": 6}, 15, cost) == {"a": 8, "b": 6}
    assert fitting({"a": 12, "b": 6}, 9, cost) == {"a": 4, "b": 4}
    assert fitting({"a": 12, "b": 6}, 5, cost) == {"a": 2, "b": 2}
    assert fitting({"a": 12, "b": 6}, 4.9, cost) is None
