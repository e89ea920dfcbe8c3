"""Measure sides in turn: both deployed anew again and again, short rounds, the order swapped each time.

Both stay loaded where memory allows, so that no reload stands between two rounds and the machine's drift, which takes
seconds, meets both alike. Where it does not, each is loaded and measured alone, one after the other.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

import psutil

from targets.base import Config, ConfigRefused, Deployment, ServerDied
from tuner.confirm import DROPPED_SHARE, MOST_ROUNDS
from tuner.gate.gathering import Gathered, cold_start_s
from tuner.results import Load
from tuner.runs import Run
from tuner.stopping import Pace
from tuner.study.gating import GateSpec
from tuner.trials import Trier
from tuner.workload import Workload

ALIAS = "gate"
PERIODS = 2
"""A round spans this many periods of a workload that has some, at least."""
ROOM = 1.2
"""A second side needs this many times the memory of the first to be free."""


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


@dataclass
class Rounds:
    """Measures sides, one redeployment of each after the other.

    Attributes:
        sides: one, or old and new.
        spec: the study's `gate` section.
        in_turn: whether only one side is loaded at a time; set when memory does not allow both.
        notes: what a reader should know of how it was measured.
    """

    sides: Sequence[Side]
    spec: GateSpec
    in_turn: bool = False
    notes: list[str] = field(default_factory=list)
    _done: int = 0

    @property
    def workloads(self) -> Sequence[Workload]:
        """Those of the study; both sides have the same."""
        return self.sides[0].trier.workloads

    def length_s(self, workload: Workload) -> float:
        """Return the length of a round, in seconds."""
        if workload.arrivals is None:
            return self.spec.round
        shape = workload.arrivals.at_rate(self.sides[0].loads[workload.name].level)
        least_s = max(PERIODS * (shape.period_s or 0.0), shape.least_window_s) / (1 - DROPPED_SHARE)
        return max(self.spec.round, least_s)

    def redeployment_s(self) -> float:
        """Return how long all sides are measured in one redeployment, in seconds: it is fixed beforehand."""
        rounds = sum(self.spec.rounds * self.length_s(workload) for workload in self.workloads)
        return len(self.sides) * (rounds + self.sides[0].trier.pace.longest_warmup_s)

    def redeploy(self) -> None:
        """Deploy all sides anew, measure them, and add that to what was gathered.

        Raises:
            TargetError, GeneratorError: a side cannot be deployed or measured.
        """
        order = list(range(len(self.sides)))
        if self._done % 2:
            order.reverse()
        deployments = {} if self.in_turn else self._all_deployed(order)
        if self.in_turn:
            for index in order:
                self._measured(self._one_deployed(index), [index])
        else:
            self._measured(deployments, order)
        self._done += 1

    def _one_deployed(self, index: int) -> dict[int, Deployment]:
        side = self.sides[index]
        return {index: side.trier.deploy(side.config, ALIAS)}

    def _all_deployed(self, order: Sequence[int]) -> dict[int, Deployment]:
        """Deploy every side; {} and `in_turn` where memory does not allow it."""
        deployments = self._one_deployed(order[0])
        for index in order[1:]:
            why = self._no_room(deployments[order[0]])
            try:
                deployments |= {} if why else self._one_deployed(index)
            except (ConfigRefused, ServerDied) as error:
                why = f"{self.sides[index].label} could not be loaded beside {self.sides[order[0]].label}: {error}"
                if isinstance(error, ServerDied):
                    self.sides[index].trier.target.start()
            if why:
                self._retired(deployments)
                self.in_turn = True
                self.notes.append(f"only one side was loaded at a time: {why}")
                return {}
        return deployments

    def _no_room(self, there: Deployment) -> str:
        """Say why a second side has no memory, "" where it has."""
        used = 0
        for pid in there.processes():
            with suppress(psutil.Error):
                used += psutil.Process(pid).memory_info().rss
        free = psutil.virtual_memory().available
        if used * ROOM <= free:
            return ""
        return f"one needs {used / 2**30:.1f} GiB, and {free / 2**30:.1f} GiB are free"

    def _measured(self, deployments: Mapping[int, Deployment], order: Sequence[int]) -> None:
        colds = {index: self._cold(self.sides[index], deployments[index]) for index in order}
        runs: dict[int, dict[str, list[Run]]] = {index: {} for index in order}
        for workload in self.workloads:
            length = self.length_s(workload)
            pace = Pace.fixed(DROPPED_SHARE * length, (1 - DROPPED_SHARE) * length)
            for number in range(self.spec.rounds):
                for index in order if number % 2 == 0 else reversed(order):
                    side = self.sides[index]
                    own = next(one for one in side.trier.workloads if one.name == workload.name)
                    drawn = own.drawn_anew(self._done * MOST_ROUNDS + number)
                    run = side.trier.measure(deployments[index], drawn, side.loads[workload.name], pace)
                    runs[index].setdefault(workload.name, []).append(run)
        for index in order:
            self.sides[index].gathered.add(runs[index], colds[index])
        self._retired(deployments)

    def _cold(self, side: Side, deployment: Deployment) -> float:
        """Load a new deployment until it has settled; return the latency of its first requests, in seconds."""
        workload, pace = side.trier.workloads[0], side.trier.pace
        short = Pace(pace.warmup_s, pace.max_warmup_s, self.spec.round, self.spec.round)
        run = side.trier.measure(deployment, workload, side.loads[workload.name], short)
        side.trier.learn_accuracy(deployment, side.gathered.variant)
        return cold_start_s(run.records)

    def _retired(self, deployments: Mapping[int, Deployment]) -> None:
        for index, deployment in deployments.items():
            self.sides[index].trier.retire(deployment)
