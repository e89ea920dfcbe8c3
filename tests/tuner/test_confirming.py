"""How the best trials are measured again on a server that does not stand it, with a real server and a real load."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import workload_builders
from result_builders import GOALS, estimate, point, trial

from targets.base import Config, ConfigRefused, Deployment, ServerCounters, ServerDied, Target, TargetError
from targets.simulated.target import SimulatedTarget
from tuner import head_to_head
from tuner.accuracy.variants import Accuracies
from tuner.budget import Budget
from tuner.confirm import Contender, Rounds, per_redeployment
from tuner.confirming import Confirming
from tuner.findings import Findings
from tuner.load.generator import Generator
from tuner.measure import Meter
from tuner.remarks import APART
from tuner.results import Load, Side, SloVerdict
from tuner.slo import Slo
from tuner.stopping import Pace
from tuner.study.spec import ConfirmSpec
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.trials import Trier
from workloads.arrivals import Poisson

ROUNDS = {"steady": 2}


MakeConfirming = Callable[[object], Confirming]


@pytest.fixture
def confirming(tmp_path: Path) -> Iterator[MakeConfirming]:
    """Make what measures again on a target; what it says goes to its `listener.said`."""

    def made(target: object) -> Confirming:
        said: list[str] = []
        steady = workload_builders.workload("steady", Poisson(200.0))
        trier = Trier(
            target=target,  # type: ignore[arg-type]
            meter=Meter(generator, Sampler(Gpus()), {"steady": Slo({"p99": 1.0})}, tmp_path),
            workloads=[steady],
            accuracies=Accuracies(),
            pace=Pace.fixed(0.05, 0.2),
            goals=GOALS,
            tolerance=0.5,
            confidence=0.99,
            run_path=tmp_path,
        )
        spec = SimpleNamespace(confirm=ConfirmSpec(round="0.1 s"))
        listener = SimpleNamespace(note=said.append, said=said)
        return Confirming(spec, trier, None, Budget(100.0), listener, lambda: None)  # type: ignore[arg-type]

    with Generator() as generator:
        yield made


def contenders(target: Target, count: int) -> list[Contender]:
    steady = workload_builders.workload("steady", Poisson(200.0))
    return [Contender(number, target.user_config(), {"steady": steady.at(None)}) for number in range(count)]


def redeployments(gathered: Sequence[Rounds]) -> list[int]:
    """Return how many redeployments of each are there, all of them measured."""
    assert all(group for rounds in gathered for groups in rounds.runs.values() for group in groups)
    return [rounds.redeployments for rounds in gathered]


class Losing:
    """The simulated server, as if it were lost while a deployment is measured whose alias a test says."""

    side_by_side = True
    lost = ""

    def __init__(self, target: SimulatedTarget) -> None:
        self._target = target

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: Config, alias: str) -> "Lost":
        return Lost(self._target.deploy(config, alias), alias, self)


class Lost:
    """A deployment on it."""

    def __init__(self, deployment: Deployment, alias: str, target: Losing) -> None:
        self._deployment, self._alias, self._target = deployment, alias, target

    def __getattr__(self, name: str) -> object:
        return getattr(self._deployment, name)

    def statistics(self) -> Callable[[], ServerCounters]:
        if self._target.lost == self._alias:
            raise ServerDied("the server ended")
        return self._deployment.statistics()


@pytest.mark.parametrize("lost", ["contender0", "contender1"])
def test_what_was_half_measured_when_the_server_was_lost_does_not_count(
    target: SimulatedTarget, confirming: MakeConfirming, lost: str
) -> None:
    losing = Losing(target)
    made, pair, gathered = confirming(losing), contenders(target, 2), [Rounds(), Rounds()]
    assert made._measure(pair, gathered, ROUNDS)
    losing.lost = lost
    assert not made._measure(pair, gathered, ROUNDS)
    assert redeployments(gathered) == [1, 1]
    assert [len(per_redeployment(made.trier, rounds, "steady")) for rounds in gathered] == [1, 1]
    losing.lost = ""
    assert made._measure(pair, gathered, ROUNDS)
    assert redeployments(gathered) == [2, 2]


class Roomy:
    """The simulated server, as if it had room for so many deployments; it says so or ends, as a test wants it."""

    side_by_side = True

    def __init__(self, target: SimulatedTarget, room: int, refusal: type[TargetError] = ConfigRefused) -> None:
        self._target, self._room, self._refusal = target, room, refusal
        self.loaded: list[str] = []
        self.asked: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def start(self) -> None:
        self.loaded.clear()
        self._target.start()

    def deploy(self, config: Config, alias: str) -> "Loaded":
        self.asked.append(alias)
        if len(self.loaded) >= self._room:
            raise self._refusal("out of memory")
        self.loaded.append(alias)
        return Loaded(self._target.deploy(config, alias), alias, self)


class Loaded:
    """A deployment on it."""

    def __init__(self, deployment: Deployment, alias: str, target: Roomy) -> None:
        self._deployment, self._alias, self._target = deployment, alias, target

    def __getattr__(self, name: str) -> object:
        return getattr(self._deployment, name)

    def retire(self) -> None:
        self._target.loaded.remove(self._alias)
        self._deployment.retire()


@pytest.mark.parametrize("refusal", [ConfigRefused, ServerDied])
def test_what_does_not_fit_side_by_side_is_measured_one_after_the_other(
    target: SimulatedTarget, confirming: MakeConfirming, refusal: type[TargetError]
) -> None:
    roomy = Roomy(target, 1, refusal)
    made, pair, gathered = confirming(roomy), contenders(target, 2), [Rounds(), Rounds()]
    assert not made.apart
    assert made._measure(pair, gathered, ROUNDS)
    assert made.apart
    assert made._measure(pair, gathered, ROUNDS)
    assert redeployments(gathered) == [2, 2]
    assert roomy.asked == ["contender0", "contender1", *["contender"] * 4], "it is tried once"
    assert roomy.loaded == []
    assert made.failed == ""
    assert made.listener.said == [  # type: ignore[attr-defined]
        "so many are measured one after the other from here on: trial 1 could not be loaded beside 0: out of memory"
    ]


def test_where_three_do_not_fit_two_still_stand_side_by_side(
    target: SimulatedTarget, confirming: MakeConfirming
) -> None:
    roomy = Roomy(target, 2)
    made, three = confirming(roomy), contenders(target, 3)
    assert made._measure(three, [Rounds(), Rounds(), Rounds()], ROUNDS)
    assert not made.apart
    roomy.asked.clear()
    assert made._measure(three[:2], [Rounds(), Rounds()], ROUNDS)
    assert roomy.asked == ["contender0", "contender1"]


class Together(Roomy):
    """One that loads several at once, if there is room for all of them."""

    loads_together = True

    def deploy_together(self, wanted: Sequence[tuple[Config, str]]) -> "list[Loaded]":
        self.asked.append(" ".join(alias for _, alias in wanted))
        if len(wanted) > self._room:
            raise self._refusal("out of memory")
        self.loaded += [alias for _, alias in wanted]
        return [Loaded(self._target.deploy(config, alias), alias, self) for config, alias in wanted]


def test_what_a_server_loads_at_once_is_deployed_so_in_the_order_of_the_turn(
    target: SimulatedTarget, confirming: MakeConfirming
) -> None:
    together = Together(target, 3)
    made, three = confirming(together), contenders(target, 3)
    gathered = [Rounds(), Rounds(), Rounds()]
    for _ in range(2):
        assert made._measure([*three[:2], three[1]], gathered, ROUNDS)
    assert together.asked == ["contender0 contender1", "contender1 contender0"]
    assert redeployments(gathered) == [2, 2, 2]
    assert not together.loaded
    assert made.trier.at_once_s is not None
    assert 0 < 2 * made.trier.at_once_s <= made.trier.applied_s


@pytest.mark.parametrize("refusal", [ConfigRefused, ServerDied])
def test_what_is_refused_at_once_is_deployed_one_after_the_other(
    target: SimulatedTarget, confirming: MakeConfirming, refusal: type[TargetError]
) -> None:
    together = Together(target, 2, refusal)
    made, three = confirming(together), contenders(target, 3)
    assert made._measure(three, [Rounds(), Rounds(), Rounds()], ROUNDS)
    at_once, *one_by_one = together.asked
    assert at_once == "contender0 contender1 contender2"
    assert one_by_one[:3] == ["contender0", "contender1", "contender2"]
    assert made.trier.room == 2


def test_one_configuration_at_two_loads_is_deployed_once(target: SimulatedTarget, confirming: MakeConfirming) -> None:
    roomy = Roomy(target, 2)
    made, (ours, theirs) = confirming(roomy), contenders(target, 2)
    gathered = [Rounds(), Rounds(), Rounds()]
    for _ in range(2):  # the second time in the other order
        assert made._measure([ours, theirs, theirs], gathered, ROUNDS)
    assert sorted(roomy.asked) == ["contender0", "contender0", "contender1", "contender1"]
    assert redeployments(gathered) == [2, 2, 2]
    assert not roomy.loaded, "each is retired once"
    assert not made.apart


def test_a_configuration_that_is_refused_alone_is_not_measured(
    target: SimulatedTarget, confirming: MakeConfirming
) -> None:
    made, gathered = confirming(Roomy(target, 0)), [Rounds(), Rounds()]
    assert not made._measure(contenders(target, 2), gathered, ROUNDS)
    assert redeployments(gathered) == [0, 0]
    assert made.failed == "out of memory"
    assert not made.apart, "that says nothing of how many fit"


class Picky(Roomy):
    """One with room for many that takes no configuration with two instances, beside others or alone."""

    def deploy(self, config: Config, alias: str) -> "Loaded":
        if config["instances"] == 2:
            self.asked.append(alias)
            raise self._refusal("two are too many")
        return super().deploy(config, alias)


@pytest.mark.parametrize("refusal", [ConfigRefused, ServerDied])
def test_a_configuration_that_is_refused_beside_others_and_alone_says_nothing_of_how_many_fit(
    target: SimulatedTarget, confirming: MakeConfirming, refusal: type[TargetError]
) -> None:
    picky = Picky(target, 9, refusal)
    made, three = confirming(picky), contenders(target, 3)
    gathered = [Rounds(), Rounds(), Rounds()]
    three[1] = Contender(1, {**three[1].config, "instances": 2}, three[1].loads)
    assert not made._measure(three, gathered, ROUNDS)
    assert picky.asked == ["contender0", "contender1", "contender", "contender"]
    assert redeployments(gathered) == [0, 0, 0]
    assert not made.apart
    picky.asked.clear()
    assert made._measure([three[0], three[2]], [Rounds(), Rounds()], ROUNDS)
    assert picky.asked == ["contender0", "contender1"], "the others stand side by side"
    assert made.listener.said == [  # type: ignore[attr-defined]
        "trials 0, 1, 2 could not be measured again: two are too many"
    ]


def test_a_comparison_says_what_did_not_fit_side_by_side(target: SimulatedTarget, confirming: MakeConfirming) -> None:
    trier = confirming(Roomy(target, 1)).trier
    ours, theirs = contenders(target, 2)
    made = head_to_head.measure(trier, (ours, theirs), ConfirmSpec(redeployments=2, rounds=2, round="0.1 s"))
    assert made.notes == [f"{APART}: trial 1 could not be loaded beside 0: out of memory"]


def again(level: float, p99: float, verdict: SloVerdict) -> tuple[Contender, Side]:
    """Return the user's configuration as the shortlist measured it again, with a bound of 10 ms."""
    load = Load(mode="closed", level=level)
    metrics = {"steady": {"throughput_rps": estimate(3 * level), "latency_p99_s": estimate(p99)}}
    made = Side(
        trial=0, config={}, load=load, metrics=metrics, verdicts={"steady": {"p99": verdict}}, server={}, valid=True
    )
    return Contender(0, {}, {"steady": load}), made


@pytest.mark.parametrize(
    ("p99s", "verdicts", "compared", "left"),
    [
        ((0.005, 0.004), ("met", "met"), 64, [64, 32, 16]),
        ((0.011, 0.004), ("undecided", "met"), 32, [32, 16]),
        ((0.012, 0.004), ("missed", "met"), 32, [32, 16]),
        ((0.011, 0.011), ("undecided", "undecided"), 32, [32, 16]),
        ((0.012, 0.012), ("missed", "missed"), 16, [16]),
    ],
)
def test_a_load_of_yours_that_missed_the_slo_in_the_shortlist_counts_no_more(
    target: SimulatedTarget,
    confirming: MakeConfirming,
    p99s: tuple[float, float],
    verdicts: tuple[SloVerdict, SloVerdict],
    compared: float,
    left: list[float],
) -> None:
    """One whose values alone were over the bound still counts where the confirmation measures it once more."""
    study = SimpleNamespace(spec=SimpleNamespace(bounds=lambda: {"steady": {"p99": 0.01}}))
    points = [point(level=level, throughput=3 * level, p99=0.005) for level in (16, 32, 64)]
    steady = [workload_builders.workload()]
    made = confirming(target)
    made.found = Findings(study, None, steady, GOALS, [trial(0, *points)])  # type: ignore[arg-type]
    own, sides = zip(*(again(*one) for one in zip((64, 32), p99s, verdicts, strict=True)), strict=True)
    made._choose_own(own, sides)
    assert made.baseline.loads["steady"].level == compared
    assert [one.loads["steady"].level for one in made.found.not_missed()] == left


def test_who_missed_an_slo_in_the_shortlist_is_remembered(target: SimulatedTarget, confirming: MakeConfirming) -> None:
    made, pair, gathered = confirming(target), contenders(target, 2), [Rounds(), Rounds()]
    made.found = SimpleNamespace(missed={})  # type: ignore[assignment]
    made.trier.meter.slos["steady"] = Slo({"p50": 1e-5})  # type: ignore[index]
    assert made._measure(pair, gathered, {"steady": 12})
    assert made._kept(pair, gathered) == []
    assert {number: one.verdicts["steady"] for number, one in made.found.missed.items()} == {
        0: {"p50": "missed"},
        1: {"p50": "missed"},
    }


@pytest.mark.parametrize(
    ("slow", "waiting", "time", "measured"),
    [
        pytest.param(0.008, 1, True, 2, id="no room"),
        pytest.param(0.002, 1, True, 8, id="room"),
        pytest.param(0.008, 0, True, 8, id="none waits"),
        pytest.param(0.008, 1, False, 8, id="no time for another"),
    ],
)
def test_one_without_room_to_a_bound_does_not_use_up_the_time_of_the_next(
    target: SimulatedTarget,
    confirming: MakeConfirming,
    monkeypatch: pytest.MonkeyPatch,
    slow: float,
    waiting: int,
    time: bool,
    measured: int,
) -> None:
    """At most 1% of the requests may be slow; it stays undecided however long it is measured."""
    made, (candidate, own, *others) = confirming(target), contenders(target, 2 + waiting)
    _, side = again(64, 0.009, "undecided")
    side.metrics["steady"]["over_p99_bound"] = estimate(slow)
    undecided, redeployed = SimpleNamespace(verdict="undecided", candidate=side), []
    made._baseline = own
    made.found = SimpleNamespace(baseline=lambda: None, goals=GOALS, bounds={"steady": {"p99": 0.01}})  # type: ignore[assignment]
    monkeypatch.setattr(Confirming, "_measure", lambda *_: redeployed.append(1) or True)
    monkeypatch.setattr(Confirming, "_first_rounds", lambda *_: ROUNDS)
    monkeypatch.setattr(Confirming, "_further_rounds", lambda *_, **__: ROUNDS)
    monkeypatch.setattr(Confirming, "time_for_next", lambda *_: time)
    monkeypatch.setattr(Rounds, "count", lambda *_: 2)
    monkeypatch.setattr("tuner.confirm.confirmation", lambda *_: undecided)
    assert made.confirm(candidate, others) is undecided
    assert len(redeployed) == measured
