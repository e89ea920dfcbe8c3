"""Which configuration of a run somebody wants: the best, the knee of the front, the fastest, or the cheapest. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from tuner.objective import Goal, parse_goals
from tuner.rank import Candidate, by_value, candidates, feasible_front
from tuner.results import Result

Pick = Literal["best", "knee", "fastest", "cheapest"]
MEANING: Mapping[Pick, str] = {
    "best": "the recommended one: the most of the first objective within the SLO",
    "knee": "where the front of the first two objectives bends most",
    "fastest": "the lowest p99 within the SLO",
    "cheapest": "the least CPU time (with a GPU: the least energy) per answer within the SLO, at no less throughput "
    "than your configuration",
}


class NothingToPick(Exception):
    """No configuration of a run is what was asked for; the message says why."""


def picked(result: Result, pick: Pick) -> int:
    """Return the number of the trial that is picked.

    Only points that meet every SLO as they were measured are looked at. Of those picked, only the best was confirmed.

    Raises:
        NothingToPick: no such point was measured.
    """
    if pick == "best":
        if result.best is None:
            raise NothingToPick("this run has no best configuration; name a trial with --trial N")
        return result.best.trial
    goals = parse_goals(result.study.objectives, result.study.workloads[0])
    found = candidates(result.trials, result.study.workloads, goals)
    feasible = by_value(found, goals[0])
    if not feasible:
        raise NothingToPick(f"nothing that was measured meets the SLO, so there is no {pick} one")
    ways: dict[str, Callable[[], Candidate]] = {
        "knee": lambda: _knee(feasible_front(found, goals), goals),
        "fastest": lambda: min(feasible, key=lambda one: one.points[0].metrics["latency_p99_s"].value),
        "cheapest": lambda: _cheapest(feasible),
    }
    return ways[pick]().trial.number


def _knee(front: Sequence[Candidate], goals: Sequence[Goal]) -> Candidate:
    """Return the point of a front that is farthest from the line between its ends, both objectives scaled to 0..1.

    After Satopaa, Albrecht, Irwin and Raghavan, Finding a "Kneedle" in a Haystack, 2011.
    """
    if len(goals) < 2:
        raise NothingToPick("a knee needs two objectives; this study has one")
    signs = np.array([1.0 if goal.maximize else -1.0 for goal in goals[:2]])
    values = np.array([one.objective.values[:2] for one in front]) * signs
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    return front[int(np.argmax(scaled.sum(axis=1)))]


def _cheapest(feasible: Sequence[Candidate]) -> Candidate:
    own = max((_throughput(one) for one in feasible if one.trial.number == 0), default=0.0)
    costs = {index: _cost(one) for index, one in enumerate(feasible) if _throughput(one) >= own}
    known = {index: cost for index, cost in costs.items() if cost is not None}
    if not known:
        raise NothingToPick("what the server used was not measured, so no configuration is the cheapest")
    return feasible[min(known, key=lambda index: known[index])]


def _throughput(one: Candidate) -> float:
    return one.points[0].metrics["throughput_rps"].value


def _cost(one: Candidate) -> float | None:
    """Return joules, or seconds of CPU time where there is no GPU, per answer; None where neither is known."""
    telemetry, rate = one.points[0].telemetry, _throughput(one)
    if rate <= 0:
        return None
    watts = [gpu.power_watts for gpu in telemetry.gpu if gpu.power_watts is not None]
    if watts:
        return sum(watts) / rate
    return None if telemetry.cpu_cores is None else telemetry.cpu_cores / rate
