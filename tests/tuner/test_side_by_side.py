"""What is told of the memory of configurations that stand side by side: each its own, or none."""

import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import workload_builders
from result_builders import GOALS

from targets.base import Deployment, Target
from targets.simulated.target import SimulatedTarget
from tuner import side_by_side
from tuner.accuracy.variants import Accuracies
from tuner.confirm import Contender, Rounds, redeploy_and_measure, side
from tuner.load.generator import Generator
from tuner.measure import Meter
from tuner.slo import Slo
from tuner.stopping import Pace
from tuner.telemetry.nvml import Gpus
from tuner.telemetry.sampler import Sampler
from tuner.trials import Trier
from workloads.arrivals import Poisson


class Watched:
    """The simulated server, one process with all that is deployed; each alias that is deployed is noted."""

    side_by_side = True

    def __init__(self, target: SimulatedTarget) -> None:
        self._target = target
        self.aliases: list[str] = []

    def __getattr__(self, name: str) -> object:
        return getattr(self._target, name)

    def deploy(self, config: dict[str, object], alias: str) -> Deployment:
        self.aliases.append(alias)
        return self._target.deploy(config, alias)


class OfItsOwn(Watched):
    """The same as if each deployment were a process of its own: the second one is this one."""

    def deploy(self, config: dict[str, object], alias: str) -> "Apart":  # type: ignore[override]
        return Apart(super().deploy(config, alias), [os.getpid()] if alias == "contender1" else None)


class Apart:
    """A deployment on it."""

    def __init__(self, deployment: Deployment, processes: list[int] | None) -> None:
        self._deployment, self._own = deployment, processes

    def __getattr__(self, name: str) -> object:
        return getattr(self._deployment, name)

    def processes(self) -> Sequence[int]:
        return self._own or self._deployment.processes()


MakeTrier = Callable[..., Trier]


@pytest.fixture
def make_trier(tmp_path: Path) -> Iterator[MakeTrier]:
    def make(target: object, *asked: str, **bounds: float) -> Trier:
        meter = Meter(generator, Sampler(Gpus()), {"steady": Slo(bounds)}, tmp_path, asked=frozenset(asked))
        return Trier(
            target=target,  # type: ignore[arg-type]
            meter=meter,
            workloads=[workload_builders.workload("steady", Poisson(200.0))],
            accuracies=Accuracies(),
            pace=Pace.fixed(0.05, 0.2),
            goals=GOALS,
            tolerance=0.5,
            confidence=0.99,
            run_path=tmp_path,
        )

    with Generator() as generator:
        yield make


def contenders(target: Target) -> list[Contender]:
    steady = workload_builders.workload("steady", Poisson(200.0))
    return [Contender(number, target.user_config(), {"steady": steady.at(None)}) for number in range(2)]


def measured(trier: Trier) -> tuple[str | None, list[Rounds]]:
    gathered = [Rounds(), Rounds()]
    said = redeploy_and_measure(trier, contenders(trier.target), gathered, {"steady": 2}, 0.2)
    return said, gathered


def test_memory_that_is_asked_is_measured_with_nothing_beside_it_on_the_server(
    target: SimulatedTarget, make_trier: MakeTrier
) -> None:
    trier = make_trier(watched := Watched(target), "server_rss", server_rss=2.0**40)
    said, gathered = measured(trier)
    assert said == "they are on one server, and server_rss would be of everything that it has loaded"
    assert watched.aliases == ["contender0", "contender1", "contender", "contender"]
    sides = [side(trier, *pair, 0.01) for pair in zip(contenders(target), gathered, strict=True)]
    assert [one.verdicts["steady"]["server_rss"] for one in sides] == ["met", "met"]
    assert measured(trier)[0] is None, "it is said once"
    assert watched.aliases[4:] == ["contender", "contender"]


def test_memory_that_nobody_asks_is_not_told_of_one_on_a_server_with_others(
    target: SimulatedTarget, make_trier: MakeTrier
) -> None:
    trier = make_trier(watched := Watched(target))
    said, gathered = measured(trier)
    assert said is None
    assert watched.aliases == ["contender0", "contender1"]
    found = [trier.meter.summary(one.pooled("steady"), "steady") for one in gathered]
    assert all("server_rss_bytes" not in one and "server_cpu_cores" in one for one in found)


def test_the_first_can_be_measured_more_often_than_the_others(target: SimulatedTarget, make_trier: MakeTrier) -> None:
    trier, gathered = make_trier(target), [Rounds(), Rounds()]
    for _ in range(2):
        redeploy_and_measure(trier, contenders(trier.target), gathered, {"steady": 4}, 0.2, others=1)
    assert [[len(group) for group in one.runs["steady"]] for one in gathered] == [[4, 4], [1, 1]]


def test_memory_of_servers_of_their_own_is_told_side_by_side(target: SimulatedTarget, make_trier: MakeTrier) -> None:
    trier = make_trier(watched := OfItsOwn(target), "server_rss", server_rss=2.0**40)
    said, gathered = measured(trier)
    assert said is None
    assert watched.aliases == ["contender0", "contender1"]
    sides = [side(trier, *pair, 0.01) for pair in zip(contenders(target), gathered, strict=True)]
    assert [one.verdicts["steady"]["server_rss"] for one in sides] == ["met", "met"]


def test_memory_of_a_gpu_that_is_asked_is_measured_with_nothing_beside_it() -> None:
    """A GPU that does not tell whose its memory is tells that of all."""
    asked = frozenset({"gpu_memory"})
    pair = [SimpleNamespace(processes=lambda: [1]), SimpleNamespace(processes=lambda: [2])]
    assert "all that are on it" in side_by_side._not_of_each(asked, pair)  # type: ignore[arg-type]
    assert side_by_side._not_of_each(asked, pair[:1]) == ""  # type: ignore[arg-type]
