"""What a run knows: the baseline's place, and who is measured again."""

from collections.abc import Sequence
from types import SimpleNamespace

from result_builders import GOALS, candidate, estimate, point, trial
from workload_builders import workload

from tuner.document import front_point
from tuner.findings import Findings
from tuner.objective import Goal
from tuner.preference import FIRST, Preference
from tuner.rank import candidates, pareto
from tuner.results import FrontPoint, Side, Trial
from workloads.arrivals import Poisson


def test_the_baseline_is_as_the_front_lists_it() -> None:
    own = candidates([trial(0, point(level=1, throughput=50, p99=0.001), point(level=2))], ["steady"], GOALS)
    front = pareto(own, GOALS)
    assert front_point(own[1], front) == front[1]
    assert front[1].membership == 1.0


def test_a_baseline_that_is_not_listed_has_no_membership() -> None:
    own, better = candidate(number=0), candidate(number=1, throughput=200)
    assert front_point(own, pareto([own, better], GOALS)) == FrontPoint(
        trial=0, point=0, meets_slo=True, membership=0.0, on_front=False
    )


def over(share: float, number: int, throughput: float) -> Trial:
    """Return a trial of which a share of the requests took longer than the bound of the p99."""
    one = point(throughput=throughput)
    slow = estimate(share, 0.0, 1.0)
    return trial(number, one.model_copy(update={"metrics": {**one.metrics, "over_p99_bound": slow}}))


def test_trials_with_room_to_the_bound_are_measured_again_before_faster_ones_without() -> None:
    study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {"p99": 0.01}}))
    found = Findings(study, None, [workload()], GOALS)  # type: ignore[arg-type]
    found.trials = [over(0.0, 0, 150), over(0.009, 1, 300), over(0.0, 2, 200), over(0.004, 3, 250), over(0.0, 4, 100)]
    assert [one.trial.number for one in found.ranked()] == [1, 3, 2, 0, 4]
    assert [one.trial.number for one in found.challengers(2)] == [3, 2]
    assert [one.trial.number for one in found.challengers(9)] == [3, 2, 1, 4], "the last is worse than the baseline"


def spoilt(number: int) -> Trial:
    """Return a trial that the generator spoiled."""
    return trial(number, point()).model_copy(update={"state": "invalid", "reason": f"sent late in trial {number}"})


def test_a_run_that_the_generator_mostly_spoiled_does_not_say_that_the_server_missed_the_slo() -> None:
    found = Findings(None, None, [], GOALS)  # type: ignore[arg-type]
    found.trials = [trial(0, point()), spoilt(1), spoilt(2)]
    assert [one.number for one in found.spoiled()] == [1, 2]
    assert found.nothing_met() == (
        "not decided: nothing valid met the SLO, and 2 of 3 trials are invalid; the last one: sent late in trial 2"
    )


def test_a_few_spoiled_trials_leave_the_answer_to_the_others() -> None:
    found = Findings(None, None, [], GOALS)  # type: ignore[arg-type]
    found.trials = [trial(0, point()), trial(1, point()), spoilt(2)]
    assert found.spoiled() == []
    assert found.nothing_met() == "no configuration met the SLO"


# A baseline whose workloads have loads of different kinds.

WEB = Goal(True, "web", "throughput")


def of_two_kinds(goals: Sequence[Goal], preference: Preference = FIRST) -> Findings:
    """Return a run whose baseline was measured at two concurrencies, and at two rates of another workload."""
    rates = [point("web", rate, throughput=rate, mode="open") for rate in (100, 400)]
    levels = [point(level=1, p99=0.001), point(level=16, throughput=300, p99=0.002)]
    workloads = [workload(), workload("web", Poisson(50.0))]
    found = Findings(None, None, workloads, goals, preference=preference)  # type: ignore[arg-type]
    found.trials = [trial(0, *levels, *rates)]
    return found


def levels(found: Findings, count: int = 2) -> list[tuple[float, float]]:
    return [(one.loads["steady"].level, one.loads["web"].level) for one in found.baseline_contenders(count)]


def test_the_baseline_meets_a_candidate_at_its_best_load_of_the_objectives_workload() -> None:
    """At 100 requests per second it could not have answered more, whatever the server is able to."""
    assert levels(of_two_kinds([WEB])) == [(1, 400), (1, 100)]


def test_the_baselines_two_best_levels_are_two_of_the_objectives() -> None:
    assert levels(of_two_kinds([GOALS[0]])) == [(16, 100), (1, 100)]


def test_a_choice_by_several_objectives_looks_at_every_load_of_the_baseline() -> None:
    found = of_two_kinds([GOALS[0], WEB], Preference("robust"))
    assert levels(found) == [(16, 400), (1, 400)]
    best = found.baseline()
    assert best is not None
    assert found.regrets(0, best.loads) == {"maximize steady.throughput": 0.0, "maximize web.throughput": 0.0}


def test_what_a_choice_gives_up_is_against_what_held_when_it_was_measured_again() -> None:
    found = Findings(None, None, [workload()], GOALS, preference=Preference("robust"))  # type: ignore[arg-type]
    found.trials = [
        trial(0, point(throughput=100, p99=0.004)),
        trial(1, point(throughput=400, p99=0.002)),
        trial(2, point(throughput=200, p99=0.004)),
    ]
    two = next(one for one in found.candidates() if one.trial.number == 2)
    assert list(found.regrets(2, two.loads).values()) == [0.5, 0.5]
    assert found.scores([two.objective.values]) == [-0.5]
    found.missed[1] = SimpleNamespace()  # type: ignore[assignment]
    assert list(found.regrets(2, two.loads).values()) == [0.0, 0.0]
    assert found.scores([two.objective.values]) == [0.0]


def test_what_the_baseline_is_probed_from_is_its_best_load_of_each_workload() -> None:
    start = of_two_kinds([WEB]).probe_start()
    assert start is not None
    assert [(name, load.level) for name, load in start.loads.items()] == [("steady", 1), ("web", 400)]


def test_a_baseline_that_misses_its_slo_meets_a_candidate_where_it_comes_closest() -> None:
    found = of_two_kinds([WEB])
    missed = [
        one.model_copy(update={"violations": {"p99": over}})
        for one, over in zip(found.trials[0].points, (0.3, 0.2, 0.9, 0.1), strict=True)
    ]
    found.trials = [trial(0, *missed)]
    assert levels(found) == [(16, 400)]


def test_a_load_counts_no_more_with_any_load_of_another_workload_that_it_was_not_measured_at_once_with() -> None:
    found = of_two_kinds([WEB])
    found.study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {}, "web": {}}))  # type: ignore[assignment]
    (best, *_) = found.baseline_contenders(1)
    missed = Side(
        trial=0,
        config={},
        load=best.loads["steady"],
        metrics={"steady": {}, "web": {}},
        verdicts={"steady": {"p99": "met"}, "web": {"p99": "missed"}},
        server={},
        valid=True,
    )
    found.drop_own(best.loads, missed)
    left = [one.loads for one in found.not_missed()]
    assert [(one["steady"].level, one["web"].level) for one in left] == [(1, 100), (16, 100)]


def test_the_result_says_at_which_loads_the_baseline_is_best() -> None:
    found = of_two_kinds([WEB])
    best = found.baseline()
    assert best is not None
    listed = front_point(best, pareto(found.candidates(), found.goals))
    assert (listed.point, listed.loads["web"].level, listed.membership) == (0, 400, 1.0)
