"""What a proposal that is lost costs on its other workloads, on a real server with a real load."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest
import workload_builders
from result_builders import point

from targets.base import Deployment, Endpoint, ServerCounters, TargetError, Unfit
from targets.options import ServerMetric
from targets.simulated.target import SimulatedTarget
from tuner.confirm import Contender, Rounds, redeploy_and_measure
from tuner.load.generator import Generator, LoadLost, LoadRun
from tuner.load_plans import InTurn, Ladder
from tuner.measure import Meter
from tuner.metrics import violations
from tuner.objective import Goal
from tuner.results import Point, Trial
from tuner.runs import pooled_runs
from tuner.slo import Slo
from tuner.stopping import Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.trials import Accuracies, Trier
from tuner.verdicts import slo_verdicts
from tuner.workload import Workload
from workloads.arrivals import Poisson

PACE = Pace(0.05, 0.05, 0.2, 20.0)
GOALS = (Goal(True, "first", "throughput"),)
MISSED, MET = {"p50": 0.0005}, {"p50": 1.0}
"""A request is served in 1 ms."""
UNBEATABLE = [point("first", mode="open", throughput=1e6)]

MakeTrier = Callable[[Mapping[str, float]], Trier]


def workload(name: str) -> Workload:
    return workload_builders.workload(name, Poisson(400.0))


@pytest.fixture
def make_trier(target: SimulatedTarget, tmp_path: Path) -> Iterator[MakeTrier]:
    (tmp_path / "records").mkdir()
    with Generator() as generator:
        yield lambda bounds: Trier(
            target=target,
            meter=Meter(generator, Sampler(Gpus()), dict.fromkeys(("first", "second"), Slo(bounds)), tmp_path),
            workloads=[workload("first"), workload("second")],
            accuracies=Accuracies(),
            pace=PACE,
            goals=GOALS,
            tolerance=0.5,
            confidence=0.99,
            run_path=tmp_path,
        )


def propose(trier: Trier, rivals: Sequence[Point]) -> Trial:
    return trier.attempt(1, trier.target.user_config(), rivals)


def endings(trial: Trial) -> list[tuple[str, str]]:
    return [(one.workload, one.ended) for one in trial.points]


def test_once_a_proposal_missed_its_slo_the_rest_gets_the_shortest_window(make_trier: MakeTrier) -> None:
    trial = propose(make_trier(MISSED), [])
    assert endings(trial) == [("first", "missed"), ("second", "cap")]
    assert trial.points[1].window_s == PACE.window_s


def test_once_a_proposal_is_dominated_the_rest_gets_the_shortest_window(make_trier: MakeTrier) -> None:
    trial = propose(make_trier(MET), UNBEATABLE)
    assert endings(trial) == [("first", "dominated"), ("second", "cap")]
    assert trial.points[1].window_s == PACE.window_s


def test_a_proposal_that_may_win_is_measured_on_every_workload_until_it_is_certain(make_trier: MakeTrier) -> None:
    trial = propose(make_trier(MET), [])
    assert endings(trial) == [("first", "certain"), ("second", "certain")]
    assert all(one.verdicts == {"p50": "met"} for one in trial.points)


def test_without_rivals_each_load_is_a_question_of_its_own(make_trier: MakeTrier) -> None:
    trier = make_trier(MISSED)
    trial = trier.trial(0, trier.target.user_config(), InTurn([((one, one.at(None)),) for one in trier.workloads]))
    assert endings(trial) == [("first", "missed"), ("second", "missed")]


def test_only_a_workload_that_the_objectives_are_about_can_be_dominated_on(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    second = trier.workloads[1]
    trial = trier.trial(1, trier.target.user_config(), InTurn([((second, second.at(None)),)]), UNBEATABLE)
    assert endings(trial) == [("second", "certain")]


def test_a_rival_on_another_workload_is_no_rival(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    (first, second) = trier.workloads
    trier.goals = (Goal(True, "second", "throughput"),)
    assert trier._aims(second, UNBEATABLE).rivals == []
    assert trier._aims(first, UNBEATABLE).goals == ()


def test_how_well_the_objective_is_known_matters_on_its_own_workload_only(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    trier.tolerance, trier.pace = 1e-9, Pace(0.05, 0.05, 0.2, 0.5)
    trial = propose(trier, [])
    assert endings(trial) == [("first", "cap"), ("second", "certain")]
    assert trial.points[0].window_s == 0.5


@pytest.mark.parametrize(("error", "ends_the_run"), [(Unfit("input X is FP16"), False), (TargetError("gone"), True)])
def test_what_one_configuration_cannot_be_asked_is_a_refused_trial_and_what_concerns_the_server_ends_the_run(
    error: Exception, ends_the_run: bool, make_trier: MakeTrier, monkeypatch: pytest.MonkeyPatch
) -> None:
    trier = make_trier(MET)
    deployment = trier.deploy(trier.target.user_config(), "candidate")

    def fails(_: object) -> Endpoint:
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(type(deployment), "endpoint", lambda _, requests: fails(requests))
        if ends_the_run:
            with pytest.raises(TargetError, match="gone"):
                propose(trier, [])
        else:
            trial = propose(trier, [])
            assert (trial.state, trial.reason, trial.points) == ("refused", "input X is FP16", [])
    assert propose(trier, []).state == "complete", "the next configuration is measured"


# Climbs.

LADDER = Ladder({"concurrency": (1, 2, 4)}, 0.05)
CLOSED = workload_builders.workload("first")
SHORT = Pace(0.05, 0.05, 0.2, 0.4)
"""In 0.4 s 400 requests are served at most, too few for a verdict on a p99."""


def climbing(trier: Trier, pace: Pace) -> Trier:
    return replace(trier, workloads=[CLOSED, workload("second")], ladder=LADDER, pace=pace)


def levels_of(trial: Trial) -> list[float]:
    return [one.load.level for one in trial.points if one.workload == "first"]


def test_too_few_requests_for_a_verdict_end_no_climb_and_are_told_of(make_trier: MakeTrier) -> None:
    trier = climbing(make_trier({"p99": 10.0}), SHORT)
    trial = trier.climbed(0, trier.target.user_config())
    assert [one.verdicts["p99"] for one in trial.points] == ["undecided"] * 4
    assert levels_of(trial) == [2, 1, 4]
    said = "p99 undecided for want of requests; raise `measure.max_window`"
    assert all(said in one.validity.warnings for one in trial.points)
    assert trier.in_doubt == 4


def test_a_climb_begins_where_the_one_before_ended_after_a_resume_too(make_trier: MakeTrier) -> None:
    trier = climbing(make_trier(MET), PACE)
    before = trier.climbed(0, trier.target.user_config())
    assert levels_of(before) == [2, 4]
    assert not any("want of requests" in text for one in before.points for text in one.validity.warnings)
    assert trier.in_doubt == 0
    assert levels_of(trier.climbed(1, trier.target.user_config())) == [4]
    resumed = climbing(make_trier(MET), PACE)
    resumed.climbed_before([before, before.model_copy(update={"points": []})])
    assert levels_of(resumed.climbed(1, resumed.target.user_config())) == [4]


def test_each_workload_begins_where_it_ended_itself_after_a_resume_too(make_trier: MakeTrier) -> None:
    trier = replace(climbing(make_trier(MET), PACE), workloads=[CLOSED, workload_builders.workload("second")])
    assert trier.climbs_apart
    stored = Trial(number=0, config={}, state="complete", points=[point("first", 1), point("second", 4)],
                   apply_s=0.0, wall_s=1.0)  # fmt: skip
    trier.climbed_before([stored])
    trial = trier.climbed(1, trier.target.user_config())
    assert [(one.workload, one.load.level) for one in trial.points] == [
        ("first", 1),
        ("second", 4),
        ("first", 2),
        ("first", 4),
    ]
    assert trial.own_loads


# What only this server gives.

OWN = (
    ServerMetric("executions", "/s", "batches", "rate", "executed"),
    ServerMetric("busy", "share", "of the time", "gauge", "busy"),
)


@dataclass
class Told:
    """A deployment whose server also gives a counter and a gauge."""

    deployment: Deployment
    readings: list[float] = field(default_factory=lambda: [0.0])

    def __getattr__(self, name: str) -> object:
        return getattr(self.deployment, name)

    def statistics(self) -> Callable[[], ServerCounters]:
        self.readings.append(self.readings[-1] + 1)
        number, read = self.readings[-1], self.deployment.statistics()
        return lambda: replace(read(), counters={"executed": 100 * number}, gauges={"busy": number})


def test_what_only_this_server_gives_stands_beside_latency(make_trier: MakeTrier) -> None:
    trier = make_trier({"p50": 1.0, "busy": 0.5})
    trier.meter = replace(trier.meter, own=OWN)
    told = Told(trier.target.deploy(trier.target.user_config(), "told"))
    first = trier.workloads[0]
    run = trier.measure(told, first, first.at(None), Pace.fixed(0.1, 2.5))
    found = trier.meter.summary(run, "first")
    readings = len(told.readings) - 1
    assert readings == 4, "at both edges of the window, and every second between"
    assert found["busy"].value == pytest.approx((1 + 2 + 3 + 4) / 4)
    assert found["executions"].value == pytest.approx(300 / run.server.window_s)
    assert (found["busy"].low, found["busy"].high) == (found["busy"].value, found["busy"].value)
    judged = slo_verdicts(found, {"busy": 0.5, "p50": 1.0})
    assert judged == {"busy": "missed", "p50": "met"}
    assert violations(found, {"busy": 0.5})["busy"] == pytest.approx(4.0)
    pooled = trier.meter.summary(pooled_runs([run, run]), "first")
    assert pooled["busy"].value == pytest.approx(2.5)
    assert pooled["executions"].value == pytest.approx(found["executions"].value)


class OneAtATime:
    """The simulated server, as if it could have one deployment only."""

    side_by_side = False

    def __init__(self, target: SimulatedTarget) -> None:
        self._target = target
        self.deployed: list[tuple[int, str]] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Mapping[str, object], alias: str) -> Deployment:
        self.deployed.append((config["max_batch_size"], alias))
        return self._target.deploy(config, alias)


def test_a_server_for_one_deployment_has_its_contenders_one_after_another(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    trier.target = alone = OneAtATime(trier.target)
    loads = {one.name: one.at(None) for one in trier.workloads}
    user = trier.target.user_config()
    contenders = [Contender(number, {**user, "max_batch_size": number}, loads) for number in (1, 2)]
    gathered = [Rounds(), Rounds()]
    for _ in range(2):
        redeploy_and_measure(trier, contenders, gathered, {"first": 3, "second": 2}, 0.2, others=2)
    assert [size for size, _ in alone.deployed] == [1, 2, 2, 1], "the order is swapped"
    for rounds, first in zip(gathered, (3, 2), strict=True):
        assert {name: len(groups) for name, groups in rounds.runs.items()} == {"first": 2, "second": 2}
        assert rounds.count("first") == 2
        windows = [run.records.window_s for group in rounds.runs["first"] for run in group]
        assert windows == pytest.approx([first * 0.8 * 0.2] * 2)


class Losing(Generator):
    """A load generator that loses a part of itself in its first measurements."""

    lost, times = 0, 1

    def finish(self) -> LoadRun:
        run = super().finish()
        if self.lost < self.times:
            self.lost += 1
            raise LoadLost("lost agent 1")
        return replace(run, report=replace(run.report, notes=("made by 1 agent: lost agent 1",)))


def test_what_an_agent_was_lost_in_is_measured_again_and_says_so(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    with Losing() as generator:
        trier.meter = replace(trier.meter, generator=generator)
        first = trier.workloads[0]
        trial = trier.trial(0, trier.target.user_config(), InTurn([((first, first.at(None)),)]))
    assert generator.lost == 1
    assert trial.state != "crashed"
    assert [one.workload for one in trial.points] == ["first"]
    assert "made by 1 agent: lost agent 1" in trial.points[0].validity.warnings


def test_a_measurement_in_which_an_agent_is_lost_each_time_is_given_up(make_trier: MakeTrier) -> None:
    trier = make_trier(MET)
    with Losing() as generator:
        generator.times = 99
        trier.meter = replace(trier.meter, generator=generator)
        first = trier.workloads[0]
        trial = trier.trial(0, trier.target.user_config(), InTurn([((first, first.at(None)),)]))
    assert generator.lost == 3
    assert (trial.state, trial.points) == ("invalid", [])
    assert trial.reason == "a part of the load generator was lost in each of 3 attempts: lost agent 1"
