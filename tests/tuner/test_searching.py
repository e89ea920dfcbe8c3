"""When a search ends."""

from types import SimpleNamespace
from typing import Any

import pytest
from result_builders import GOALS, estimate, point, trial
from workload_builders import workload

from tuner.budget import Budget
from tuner.choosing import Choice
from tuner.findings import Findings
from tuner.objective import Goal
from tuner.results import Trial
from tuner.searching import Searching
from tuner.space import Space
from tuner.study.spec import BudgetSpec, ConfirmSpec, LoadSpec, SearchSpec


class Planned:
    """A planner whose state a test says."""

    handed_over = False
    space = Space(())

    def __init__(self, chance_left: float | None = None, errors: int = 0) -> None:
        self.chance_left, self._errors = chance_left, errors

    def prediction_errors(self) -> list[float]:
        return [0.1] * self._errors


def searching(planner: Planned, *trials: Trial, left_s: float = 1000.0, **budget: Any) -> Searching:
    spec = SimpleNamespace(search=SearchSpec(budget=BudgetSpec(**budget)), confirm=ConfirmSpec(), load=LoadSpec())
    study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {"p99": 0.01}}))
    found = Findings(study, None, [workload()], GOALS, [trial(0, point(throughput=50)), *trials])  # type: ignore[arg-type]
    trier = SimpleNamespace(workloads=[workload()], confidence=0.99, beside_s=0.1)
    return Searching(
        spec,  # type: ignore[arg-type]
        {},
        trier,  # type: ignore[arg-type]
        None,  # type: ignore[arg-type]
        found,
        planner,  # type: ignore[arg-type]
        Choice("twin", ""),
        Budget(left_s),
        lambda *_: None,
        lambda _: None,
    )


@pytest.fixture(autouse=True)
def no_rounds(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.confirm.rounds_needed", lambda *_: {"steady": 6})


def series(*throughputs: float, missing: bool = False) -> list[Trial]:
    over = {"p99": 1.0} if missing else None
    return [trial(n, point(throughput=one, violations=over)) for n, one in enumerate(throughputs, 1)]


def test_all_trials_of_the_budget_are_made() -> None:
    assert searching(Planned(), *series(1, 2), trials=2)._ending() == "trials"
    assert searching(Planned(), *series(1, 2), trials=3)._ending() is None


def test_the_time_of_the_confirmation_is_kept() -> None:
    assert searching(Planned(), *series(1, 2), left_s=5)._ending() == "time"


def test_no_first_trial_begins_that_would_overrun_the_time_by_what_the_baseline_showed() -> None:
    """A start takes a minute, and so will that of the first trial."""
    for left_s, ending in ((120, None), (60, "time")):
        one = searching(Planned(), left_s=left_s)
        one.found.trials[0] = one.found.trials[0].model_copy(update={"apply_s": 60.0, "wall_s": 61.0})
        one._reserve_s = lambda: 5.0  # type: ignore[method-assign]
        assert one._ending() == ending


def test_while_nothing_but_yours_meets_the_slo_only_the_shortest_confirmation_is_kept() -> None:
    missed, met = (searching(Planned(), *series(1, 2, missing=one)) for one in (True, False))
    assert missed._reserve_s() < met._reserve_s()


def test_patience_ends_a_search_whose_front_does_not_grow() -> None:
    assert searching(Planned(), *series(100, 90, 80, 70), patience=3)._ending() == "patience"
    assert searching(Planned(), *series(100, 90, 80, 130), patience=3)._ending() is None
    assert searching(Planned(), *series(100, 90, 80), patience=3)._ending() is None
    assert searching(Planned(), *series(100, 90, 80, 70))._ending() is None


def test_patience_counts_trials_where_another_group_of_hosts_has_the_numbers_between() -> None:
    late = [one.model_copy(update={"number": 50 + 3 * one.number}) for one in series(100, 90, 80, 70)]
    assert searching(Planned(), *late, patience=3)._ending() == "patience"
    better = [*late[:3], late[3].model_copy(update={"points": [point(throughput=130)]})]
    assert searching(Planned(), *better, patience=3)._ending() is None


def test_a_front_that_grows_by_less_than_a_percent_does_not_grow() -> None:
    assert searching(Planned(), *series(1000, 1001, 1002, 1003), patience=3)._ending() == "patience"


def scored(*throughputs: float) -> Searching:
    """Return a search whose answers have a score below 0, the same one of all trials."""
    one = searching(Planned(), *series(*throughputs), patience=3)
    one.found.goals = (GOALS[0], Goal(True, "steady", "accuracy"))
    score = {"accuracy": estimate(-0.5)}
    one.found.trials = [
        whole.model_copy(
            update={"points": [at.model_copy(update={"metrics": {**at.metrics, **score}}) for at in whole.points]}
        )
        for whole in one.found.trials
    ]
    return one


def test_patience_sees_a_front_grow_whose_scores_are_below_0() -> None:
    assert scored(100, 90, 80, 130)._ending() is None
    assert scored(100, 90, 80, 70)._ending() == "patience"


def test_patience_does_not_end_a_search_that_found_nothing_yet() -> None:
    one = searching(Planned(), *series(1, 1, 1, 1, 1, missing=True), patience=2)
    one.found.trials[0] = trial(0, point(violations={"p99": 1.0}))
    assert one._ending() is None


def test_what_is_said_of_the_search_is_what_it_was() -> None:
    one = searching(Planned(0.25, 3))
    one.ended = "certain"
    info = one.info()
    assert (info.ended, info.chance_left, info.predictions) == ("certain", 0.25, 3)
    assert info.prediction_error == pytest.approx(0.105, abs=0.001)
    assert info.left_out is None
