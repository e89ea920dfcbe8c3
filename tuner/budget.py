"""The time budget of a run: what is spent, what is left, and what has to be kept back for the confirmation."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from statistics import fmean

from tuner.results import Trial
from tuner.study.spec import ConfirmSpec, MeasureSpec
from tuner.workload import Workload, at_most, groups, longest_round_s, rounds_of

ROUND_OVERHEAD_S = 0.1
"""What a round costs beside its own length, before any was made: connections, readings, drain."""
FINISH_S = 4.0
"""Kept back for verifying the export and writing the report."""
BASELINE_LEVELS = 2
"""Load levels of the user's configuration that are measured again with the best trials."""
SHORTLIST_PASSES = 2
"""Times that the best trials are measured side by side, if the time is not needed by a longer search."""
FEWEST_ROUNDS = 2
"""Rounds of a side: fewer show nothing of how they differ."""
MOST_RESERVED = 0.5
"""Share of all the time that is kept for the confirmation at most: with nothing tried there is nothing to confirm."""
FIRST_TRIAL_S = 5.0
"""A guess at the cost of the first trial."""


@dataclass
class Budget:
    """Seconds of a run, those of earlier sessions of it included.

    Attributes:
        total_s: the study's budget.
        before_s: spent by earlier sessions.
        started: monotonic time of this session's start.
    """

    total_s: float
    before_s: float = 0.0
    started: float = field(default_factory=time.monotonic)
    _held_at: float | None = field(default=None, init=False)

    def spent_s(self) -> float:
        """Return what is spent."""
        now = time.monotonic() if (held := self._held_at) is None else held
        return self.before_s + now - self.started

    @contextmanager
    def held(self) -> Iterator[None]:
        """Spend nothing in this block, whatever it takes."""
        began = self._held_at = time.monotonic()
        try:
            yield
        finally:
            self.started += time.monotonic() - began
            self._held_at = None

    def left_s(self) -> float:
        """Return what is left; negative when it is overdrawn."""
        return self.total_s - self.spent_s()


def typical_cost_s(costs: Sequence[float], shown_s: float = 0.0) -> float:
    """Return what the next trial will cost: the mean so far; before the first a guess, or what was shown if it is more.

    Args:
        costs: of the trials so far, in seconds.
        shown_s: what a trial takes by the baseline, see `shown_by`.
    """
    return sum(costs) / len(costs) if costs else max(FIRST_TRIAL_S, shown_s)


def shown_by(baseline: Trial, *, climbs: bool) -> float:
    """Return what a trial takes, in seconds, as the baseline shows: applying its configuration, and measuring it.

    Args:
        baseline: your configuration; each workload was measured at every load level.
        climbs: a trial is measured at several load levels as well, and not at one.
    """
    by_workload: dict[str, list[float]] = {}
    for point in baseline.points:
        by_workload.setdefault(point.workload, []).append(point.warmup_s + point.window_s)
    whole_s = sum(map(sum, by_workload.values()))
    share = 1.0 if climbs or not whole_s else sum(map(fmean, by_workload.values())) / whole_s
    return baseline.apply_s + (baseline.wall_s - baseline.apply_s) * share


def least_measuring_s(measure: MeasureSpec, workloads: Sequence[Workload]) -> float:
    """Return what measuring a trial takes at least, in seconds: all that is known of its cost before anything is."""
    return len(groups(workloads)) * (measure.warmup + measure.window)


@dataclass(frozen=True)
class Prices:
    """What the steps of a run cost, in seconds.

    Attributes:
        apply_s: loading a configuration.
        beside_s: a round, beside its own length.
        at_once_s: each of several that are loaded at once; None: they are loaded one after the other.
    """

    apply_s: float
    beside_s: float = ROUND_OVERHEAD_S
    at_once_s: float | None = None


def redeployment_cost_s(
    sides: int,
    prices: Prices,
    rounds: Mapping[str, int],
    workloads: Sequence[Workload],
    round_s: float,
    deployed: int | None = None,
    others: int | None = None,
) -> float:
    """Return what one redeployment of `sides` costs with its rounds, in seconds.

    Args:
        sides: configurations side by side, each at a load of its own.
        prices: of its parts.
        rounds: workload -> rounds of each side.
        workloads: those of the study.
        round_s: length of a round.
        deployed: deployments, where sides share some; None: each has its own.
        others: most rounds that all but the first side take; None: as many as the first.
    """
    shared = at_most(rounds, others)
    rounds_s = sum(
        (rounds_of(group, rounds) + (sides - 1) * rounds_of(group, shared))
        * (longest_round_s(group, round_s) + prices.beside_s)
        for group in groups(workloads)
    )
    count = sides if deployed is None else deployed
    each_s = prices.apply_s if count < 2 or prices.at_once_s is None else prices.at_once_s
    return count * each_s + rounds_s


def reserve_s(
    settings: ConfirmSpec, prices: Prices, rounds: Mapping[str, int], workloads: Sequence[Workload], total_s: float
) -> float:
    """Return what shortlist, confirmation and export will take, in seconds, but MOST_RESERVED of the total at most.

    Where that is too little the confirmation takes the rounds that fit, see `fitting`.
    """
    quick = shortlist_rounds(settings, workloads)
    sides, deployed = settings.candidates + BASELINE_LEVELS, settings.candidates + 1
    everyone = redeployment_cost_s(sides, prices, quick, workloads, settings.round, deployed)
    further = (SHORTLIST_PASSES - 1) * redeployment_cost_s(
        settings.candidates, prices, quick, workloads, settings.round
    )
    return min(everyone + further + confirmation_s(settings, prices, rounds, workloads), MOST_RESERVED * total_s)


def least_reserve_s(settings: ConfirmSpec, prices: Prices, workloads: Sequence[Workload], total_s: float) -> float:
    """Return what the shortest confirmation and the export will take, in seconds; MOST_RESERVED of the total at most.

    It is what has to be kept while there is nothing to confirm: the trial that comes next may be the first.
    """
    fewest = {workload.name: FEWEST_ROUNDS for workload in workloads}
    return min(confirmation_s(settings, prices, fewest, workloads), MOST_RESERVED * total_s)


def confirmation_s(
    settings: ConfirmSpec, prices: Prices, rounds: Mapping[str, int], workloads: Sequence[Workload]
) -> float:
    """Return what confirmation and export will take, in seconds."""
    one_s = redeployment_cost_s(2, prices, rounds, workloads, settings.round, others=settings.rounds)
    return FINISH_S + settings.redeployments * one_s


def shortlist_rounds(settings: ConfirmSpec, workloads: Sequence[Workload]) -> dict[str, int]:
    """Return workload -> rounds that rank candidates; the confirmation takes as many as certainty needs."""
    return {workload.name: max(2, settings.rounds // 2) for workload in workloads}


def fitting(
    rounds: Mapping[str, int], left_s: float, cost_s: Callable[[Mapping[str, int]], float]
) -> dict[str, int] | None:
    """Return as many of the rounds as there is time for; None where there is none for the fewest.

    Those of the workload with the most are given up first.

    Args:
        rounds: workload -> rounds that are wanted.
        left_s: time for them, in seconds.
        cost_s: rounds -> what they take, in seconds.
    """
    fewer = dict(rounds)
    while cost_s(fewer) > left_s:
        most = max(fewer, key=lambda name: fewer[name])
        if fewer[most] <= FEWEST_ROUNDS:
            return None
        fewer[most] -= 1
    return fewer
