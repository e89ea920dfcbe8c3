"""Workloads that are offered at the same time: what they share, and who answers each."""

from collections.abc import Sequence
from dataclasses import dataclass

from targets.base import Deployment, SeveralDeployments
from tuner.load.generator import GeneratorError, LoadGenerator, LoadRun
from tuner.results import Load
from tuner.stopping import Aims, Pace
from tuner.workload import Workload


@dataclass(frozen=True)
class Offered:
    """A workload that is offered to a deployment.

    Attributes:
        workload: the traffic.
        load: its level.
        aims: what is to be found out; None: the window has its longest length.
    """

    workload: Workload
    load: Load
    aims: Aims | None = None

    @property
    def period_s(self) -> float:
        """After this long the traffic repeats itself, in seconds; 0.0: it does not."""
        arrivals = self.workload.arrivals
        return arrivals.at_rate(self.load.level).period_s if arrivals else 0.0

    def edge_s(self, after_s: float) -> float:
        """Return where a window may begin or end, see `Workload.edge_s`."""
        return self.workload.edge_s(self.load, after_s)

    def fitted(self, warmup_s: float, window_s: float, least_s: float) -> tuple[float, float]:
        """Return warm-up and window in whole periods, see `Workload.fitted`."""
        return self.workload.fitted(self.load, warmup_s, window_s, least_s)


def leading(offered: Sequence[Offered]) -> Offered:
    """Return the one that says where a window may begin and end: the one with the longest period.

    All share the window, and one can only suit all where their periods are alike. It cuts the shorter ones somewhere,
    which are in it many times.
    """
    return max(offered, key=lambda one: one.period_s)


def paced(offered: Sequence[Offered], pace: Pace) -> Pace:
    """Return a pace that leaves each of them time to show its shape."""
    for one in offered:
        pace = one.workload.paced(one.load, pace)
    return pace


def of_model(deployment: Deployment, workload: Workload) -> Deployment:
    """Return the deployment that a workload asks."""
    if workload.model and isinstance(deployment, SeveralDeployments):
        return deployment.of_model(workload.model)
    return deployment


def finished(generators: Sequence[LoadGenerator]) -> list[LoadRun]:
    """Wait for the end of every generator's plan. Raises GeneratorError when all are done and one could not run."""
    found: list[LoadRun] = []
    errors: list[GeneratorError] = []
    for one in generators:
        try:
            found.append(one.finish())
        except GeneratorError as error:  # the others are waited for: they must be free for the next plan
            errors.append(error)
    if errors:
        raise errors[0]
    return found
