"""What a run knows: the baseline's place, and who is measured again."""

from types import SimpleNamespace

from result_builders import GOALS, candidate, estimate, point, trial
from workload_builders import workload

from tuner.findings import Findings, front_point
from tuner.rank import candidates, pareto
from tuner.results import FrontPoint, Trial


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
