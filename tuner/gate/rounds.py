"""Measure sides in turn: both deployed anew again and again, short rounds, the order swapped each time.

Both stay loaded where memory allows, so that no reload stands between two rounds and the machine's drift, which takes
seconds, meets both alike. Where it does not, each is loaded and measured alone, one after the other. A server that has
its models loaded into it is started anew as well.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from itertools import chain

import psutil

from targets.base import Config, ConfigRefused, Deployment, KeepsServer, ServerDied, Settling, Target, TargetError
from tuner.confirm import DROPPED_SHARE, MOST_ROUNDS
from tuner.gate.document import Form
from tuner.gate.gathering import Gathered, cold_start_s
from tuner.gate.rules import MEMORY
from tuner.offered import Offered, leading, paced
from tuner.results import Load
from tuner.runs import Run
from tuner.stopping import Pace
from tuner.study.gating import GateSpec
from tuner.telemetry.room import free_bytes
from tuner.trials import Trier
from tuner.workload import Workload, groups

ALIAS = "gate"
MEMORY_NOT_TOLD = (
    "memory: not measured, for the GPUs do not tell what the server's own processes take, and what is in use on a "
    "whole GPU may be anybody's; in a container, give it the host's process ids (`--pid=host`)"
)
ONE_AT_A_TIME = "only one side was loaded at a time: {}"
PERIODS = 2
"""A round spans this many periods of a workload that has some, at least."""
ROOM = 1.2
"""A second side needs this many times the memory of the first to be free."""


def round_pace(offered: Sequence[Offered], spec: GateSpec) -> Pace:
    """Return how long a round is: as the study says, and as the traffic needs to ramp up and to show its shape.

    Args:
        offered: the workloads that are measured in it at once: one, or those of several models.
        spec: the study's `gate` section.
    """
    length = max(spec.round, *(_shape_s(one) / (1 - DROPPED_SHARE) for one in offered))
    ramp_up_s = max(one.workload.ramp_up_s for one in offered)
    return Pace.fixed(max(DROPPED_SHARE * length, ramp_up_s), (1 - DROPPED_SHARE) * length)


def _shape_s(one: Offered) -> float:
    """Return the shortest window that shows the shape of a traffic, in seconds; 0.0 where any does."""
    if one.workload.arrivals is None:
        return 0.0
    return max(PERIODS * one.period_s, one.workload.arrivals.at_rate(one.load.level).least_window_s)


def least(form: Form, spec: GateSpec) -> int:
    """Return how many redeployments are measured before the first look."""
    return spec.redeployments if form == "ab" else spec.restarts


def cold_pace(pace: Pace, spec: GateSpec) -> Pace:
    """Return how long a new deployment is loaded before its rounds: until it has settled."""
    return Pace(pace.warmup_s, pace.max_warmup_s, spec.round, spec.round)


@dataclass(frozen=True)
class Demand:
    """What a side is loaded with.

    Attributes:
        workloads: of its study.
        loads: workload -> load.
        pace: of its study's measurements.
    """

    workloads: Sequence[Workload]
    loads: Mapping[str, Load]
    pace: Pace

    def offered(self, names: Sequence[str], draw: int | None = None) -> list[Offered]:
        """Return workloads at this side's loads.

        Args:
            names: of the workloads.
            draw: of their traffic, the same one on every side; None: the first.
        """
        own = {one.name: one for one in self.workloads}
        drawn = [own[name] if draw is None else own[name].drawn_anew(draw) for name in names]
        return [Offered(one, self.loads[one.name]) for one in drawn]

    def settled_at_once(self) -> "Demand":
        """Return the same with no more than the shortest warm-up."""
        return replace(self, pace=replace(self.pace, max_warmup_s=self.pace.warmup_s))


def longest_s(sides: Sequence[Demand], spec: GateSpec) -> float:
    """Return how long all sides together are under load in one redeployment at most, in seconds.

    Args:
        sides: one, or old and new, with the same workloads. A new deployment settles under the first workload of the
            last side, or under all that are measured at once, at the pace of its own side; rounds are as long on all.
        spec: the `gate` section of the last one.
    """
    together = [[one.name for one in group] for group in groups(sides[-1].workloads)]
    settling_s = sum(_load_s(side.offered(together[0]), cold_pace(side.pace, spec)) for side in sides)
    return settling_s + sum(spec.rounds * _round_s(sides, names, spec) for names in together)


def common_pace(sides: Sequence[Demand], names: Sequence[str], spec: GateSpec) -> Pace:
    """Return how long a round of these workloads is on every side: as the side needs that needs the most."""
    return round_pace([*chain.from_iterable(side.offered(names) for side in sides)], spec)


def _round_s(sides: Sequence[Demand], names: Sequence[str], spec: GateSpec) -> float:
    """Return how long a round of these workloads takes on all sides together at most, in seconds."""
    pace = common_pace(sides, names, spec)
    return sum(_load_s(side.offered(names), pace) for side in sides)


def _load_s(offered: Sequence[Offered], pace: Pace) -> float:
    """Return what a measurement takes at most, warm-up and window, as `Meter.run_at_once` fits both to the traffic."""
    own = paced(offered, pace)
    return sum(leading(offered).fitted(own.longest_warmup_s, own.longest_window_s, own.window_s))


@dataclass
class Side:
    """One of the two.

    Attributes:
        label: what it is called.
        trier: its target and instruments.
        config: its configuration.
        loads: workload -> load.
        gathered: what was measured of it.
    """

    label: str
    trier: Trier
    config: Config
    loads: Mapping[str, Load]
    gathered: Gathered

    @property
    def demand(self) -> Demand:
        """What it is loaded with."""
        return Demand(self.trier.workloads, self.loads, self.trier.pace)


@dataclass
class Rounds:
    """Measures sides, one redeployment of each after the other.

    Attributes:
        sides: one, or old and new.
        spec: the study's `gate` section.
        of_server: the rules on what the server uses.
        in_turn: whether only one side is loaded at a time; set when memory, or the servers, do not allow both.
        notes: what a reader should know of how it was measured.
        asked: index of the side that is deployed or measured now.
    """

    sides: Sequence[Side]
    spec: GateSpec
    of_server: Sequence[str] = ()
    in_turn: bool = False
    notes: list[str] = field(default_factory=list)
    asked: int = 0
    _done: int = 0

    @property
    def workloads(self) -> Sequence[Workload]:
        """Those of both sides, in the order of the one that is judged: a server is cold for the first."""
        return self.sides[-1].trier.workloads

    def redeployment_s(self) -> float:
        """Return how long all sides are measured in one redeployment at most, in seconds: it is fixed beforehand."""
        return longest_s([side.demand for side in self.sides], self.spec)

    def shortest_s(self) -> float:
        """Return the same where every deployment has settled as soon as it may."""
        return longest_s([side.demand.settled_at_once() for side in self.sides], self.spec)

    def redeploy(self) -> None:
        """Deploy all sides anew, measure them, and add that to what was gathered.

        Raises:
            TargetError, GeneratorError: a side cannot be deployed or measured.
        """
        order = list(range(len(self.sides)))
        if self._done % 2:
            order.reverse()
        self._ended()
        deployments = {} if self.in_turn else self._all_deployed(order)
        if self.in_turn:
            for index in order:
                self.asked = index
                self._measured(self._one_deployed(index), [index])
        else:
            self._measured(deployments, order)
        self._done += 1

    def _ended(self) -> None:
        """End the servers that are started anew: none loads a model while another one still unloads its own."""
        for side in self.sides:
            if self._done and _keeps_server(side.trier.target):
                with side.trier.applying():
                    side.trier.target.stop()

    def _one_deployed(self, index: int) -> dict[int, Deployment]:
        """Deploy a side, on a server of its own. Raises TargetError where its processes have to be known, and are not.

        A process has a luck that every deployment in it shares (memory layout, threads, what its libraries chose), so
        that only a new one is another draw. The first deployment finds the server just started.
        """
        side = self.sides[index]
        target = side.trier.target
        if self._done and _keeps_server(target):
            with side.trier.applying():
                target.start()
        deployment = side.trier.deploy(side.config, ALIAS)
        if self.of_server and not deployment.processes():
            raise TargetError(
                f"{', '.join(self.of_server)}: cannot be measured of {side.label}, for the server's processes are not "
                "known here; take it out of `gate`, or let Paretune start the server on this host"
            )
        return {index: deployment}

    def _all_deployed(self, order: Sequence[int]) -> dict[int, Deployment]:
        """Deploy every side; {} and `in_turn` where memory does not allow it."""
        self.asked = order[0]
        deployments = self._one_deployed(order[0])
        self._settled()
        for index in order[1:]:
            why = self._no_room(deployments[order[0]])
            self.asked = index
            try:
                deployments |= {} if why else self._one_deployed(index)
            except (ConfigRefused, ServerDied) as error:
                why = f"{self.sides[index].label} could not be loaded beside {self.sides[order[0]].label}: {error}"
                if isinstance(error, ServerDied):
                    self.sides[index].trier.target.start()
            if why:
                self.in_turn = True
                self._retired(deployments)
                self._note(ONE_AT_A_TIME.format(why))
                return {}
        return deployments

    def _no_room(self, there: Deployment) -> str:
        """Say why a second side has no memory, "" where it has."""
        used = 0
        for pid in there.processes():
            with suppress(psutil.Error):
                used += psutil.Process(pid).memory_info().rss
        free = free_bytes()
        if used * ROOM <= free:
            return ""
        return f"one needs {used / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"

    def _measured(self, deployments: dict[int, Deployment], order: Sequence[int]) -> None:
        colds = {index: self._cold(index, deployments) for index in order}
        runs: dict[int, dict[str, list[Run]]] = {index: {} for index in order}
        for group in groups(self.workloads):
            names = [one.name for one in group]
            pace = common_pace([side.demand for side in self.sides], names, self.spec)
            for number in range(self.spec.rounds):
                for index in order if number % 2 == 0 else reversed(order):
                    self.asked, side = index, self.sides[index]
                    offered = side.demand.offered(names, self._done * MOST_ROUNDS + number)
                    measured = side.trier.measure_at_once(deployments[index], offered, pace)
                    for name, run in zip(names, measured, strict=True):
                        runs[index].setdefault(name, []).append(run)
        for index in order:
            self.sides[index].gathered.add(runs[index], colds[index])
        if "memory" in self.of_server and not all(side.gathered.tells(MEMORY) for side in self.sides):
            self._note(MEMORY_NOT_TOLD)
        self._retired(deployments)

    def _cold(self, index: int, deployments: dict[int, Deployment]) -> dict[str, float]:
        """Load a new deployment until it has settled; return the latency of its first requests by workload, in seconds.

        It is cold for the first workload alone, but for all of them where these ask models of their own at once. A
        measurement that is made again, because an agent was lost in it, meets a warm server: then another deployment
        takes the place of that one.
        """
        side, names = self.sides[index], [one.name for one in groups(self.workloads)[0]]
        self.asked, short = index, cold_pace(side.trier.pace, self.spec)
        while True:
            repeated = side.trier.repeated
            runs = side.trier.measure_at_once(deployments[index], side.demand.offered(names), short)
            if side.trier.repeated == repeated:
                break
            side.trier.retire(deployments.pop(index))
            self._settled()
            deployments |= self._one_deployed(index)
        side.trier.learn_accuracy(deployments[index], side.gathered.variant)
        return {name: cold_start_s(run.records) for name, run in zip(names, runs, strict=True)}

    def _note(self, text: str) -> None:
        if text not in self.notes:
            self.notes.append(text)

    def _retired(self, deployments: Mapping[int, Deployment]) -> None:
        for index, deployment in deployments.items():
            self.sides[index].trier.retire(deployment)
        if self.in_turn:
            self._settled()  # the other side is deployed on a server of its own

    def _settled(self) -> None:
        """Wait until what was retired on any side has ended: meanwhile it takes memory and CPU time."""
        for side in self.sides:
            if isinstance(side.trier.target, Settling):
                with side.trier.applying():
                    side.trier.target.settle()


def _keeps_server(target: Target) -> bool:
    return isinstance(target, KeepsServer) and target.keeps_server
