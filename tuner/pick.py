"""Which configuration of a run somebody wants: the best, the knee of the front, the fastest, or the cheapest. Pure."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tuner.catalog import METRICS
from tuner.front import non_dominated
from tuner.misses import is_missed_at, missed_loads
from tuner.objective import Goal, parse_goals
from tuner.rank import Candidate, by_value, candidates
from tuner.results import Load, Point, Result, Side, Trial

Pick = Literal["best", "knee", "fastest", "cheapest"]
MEANING: Mapping[Pick, str] = {
    "best": "the recommended one: the most of the first objective within the SLO",
    "knee": "where the front of the first two objectives bends most",
    "fastest": "the lowest p99 within the SLO, at no less throughput than your configuration",
    "cheapest": "the least CPU time (with a GPU: the least energy) per answer within the SLO, at no less throughput "
    "than your configuration",
}
ALIKE = 0.02
"""A throughput that is smaller by this share is no less: an open loop offers all the same, and a few are late."""


class NothingToPick(Exception):
    """No configuration of a run is what was asked for; the message says why."""


@dataclass(frozen=True)
class Picked:
    """What is picked.

    Attributes:
        trial: number of the trial whose configuration it is.
        loads: workload -> the load that it is picked for, the primary one first.
    """

    trial: int
    loads: Mapping[str, Load]


def picked(result: Result, pick: Pick) -> Picked:
    """Return the trial that is picked, and the loads that it is picked for.

    Only points that meet every SLO as they were measured are looked at, of trials that missed none when they were
    measured again. Of those picked, only the best was confirmed.

    Raises:
        NothingToPick: no such point was measured.
    """
    if pick == "best":
        if result.best is None:
            raise NothingToPick("this run has no best configuration; name a trial with --trial N")
        return Picked(result.best.trial, {result.study.workloads[0]: result.best.load, **result.best.loads})
    goals = parse_goals(result.study.objectives, result.study.workloads[0])
    found = candidates(result.trials, result.study.workloads, goals)
    feasible = by_value(found, goals[0])
    if not feasible:
        raise NothingToPick(f"nothing that was measured meets the SLO, so there is no {pick} one")
    feasible = _kept(feasible, result)
    if not feasible:
        raise NothingToPick(f"all that met the SLO missed it when it was measured again, so there is no {pick} one")
    ways: dict[str, Callable[[], Candidate]] = {
        "knee": lambda: _knee(feasible, goals),
        "fastest": lambda: min(_able(feasible), key=lambda one: one.points[0].metrics["latency_p99_s"].value),
        "cheapest": lambda: _cheapest(_able(feasible)),
    }
    one = ways[pick]()
    return Picked(one.trial.number, one.workload_loads)


def _knee(feasible: Sequence[Candidate], goals: Sequence[Goal]) -> Candidate:
    """Return the knee of the front of the first two objectives.

    It is the point that is farthest from the line between the front's ends, both objectives scaled to 0..1.
    After Satopaa, Albrecht, Irwin and Raghavan, Finding a "Kneedle" in a Haystack, 2011.
    """
    if len(goals) < 2:
        raise NothingToPick("a knee needs two objectives; this study has one")
    finite = [one for one in feasible if np.isfinite(one.objective.values[:2]).all()]
    if not finite:
        raise NothingToPick("nothing that meets the SLO has a finite value of both objectives, so there is no knee")
    maximize = [goal.maximize for goal in goals[:2]]
    pairs = np.array([one.objective.values[:2] for one in finite])
    front: list[Candidate] = [finite[index] for index in np.flatnonzero(non_dominated(pairs, maximize))]
    values = np.array([one.objective.values[:2] for one in front]) * np.where(maximize, 1.0, -1.0)
    low, high = values.min(axis=0), values.max(axis=0)
    scaled = (values - low) / np.where(high > low, high - low, 1.0)
    knee = int(np.argmax(scaled.sum(axis=1)))
    return front[knee]


def _kept(feasible: Sequence[Candidate], result: Result) -> list[Candidate]:
    """Return those that did not miss an SLO when they were measured again; of yours: at none of their loads."""
    made = result.confirmation
    again = [*result.shortlist, *([made.candidate, made.baseline] if made else [])]
    missed = [(side.trial, loads) for side in again for loads in _missed(side, result)]
    trials = {number for number, _ in missed if number}
    own = [loads for number, loads in missed if not number]
    return [
        one
        for one in feasible
        if (one.trial.number not in trials if one.trial.number else not is_missed_at(one.loads, own))
    ]


def _missed(side: Side, result: Result) -> list[dict[str, Load]]:
    """Return at which loads a configuration missed an SLO when it was measured again, or was over one."""
    names = result.study.workloads
    known = {names[0]: side.load, **side.loads}
    loads = {name: known[_whole(name)] for name in names if _whole(name) in known}
    alone = all(point.window is None for trial in result.trials for point in trial.points)
    by_workload: dict[str, list[str]] = {}
    for name in names:
        by_workload.setdefault(_whole(name) if alone else "", []).append(name)
    bounds = {name: result.study.bounds_of(name) for name in side.metrics}
    return missed_loads(side, loads, [*by_workload.values()], bounds)


def _whole(name: str) -> str:
    """Return the workload that a class is of, and a workload itself."""
    return name.partition(".")[0]


def _able(feasible: Sequence[Candidate]) -> list[Candidate]:
    """Return those with no less throughput than yours at its best: at a low load anything is fast and takes little."""
    own = max((one for one in feasible if one.trial.number == 0), key=_throughput, default=None)
    return [one for one in feasible if own is None or _does_as_much(one, own)]


def _does_as_much(one: Candidate, own: Candidate) -> bool:
    """Whether a candidate does no less than yours, and carries no less of each workload that climbed by itself."""
    yours = {point.workload: point for point in own.points[1:] if _climbed(own.trial, point.workload)}
    pairs = [(_throughput(one), _throughput(own))]
    pairs += [(_rate(point), _rate(yours[point.workload])) for point in one.points if point.workload in yours]
    return all(rate >= (1 - ALIKE) * least for rate, least in pairs)


def _climbed(trial: Trial, workload: str) -> bool:
    """Whether a workload, not a class of one, was measured at loads of its own."""
    loads = {point.load for point in trial.points if point.workload == workload}
    return trial.own_loads and len(loads) > 1 and workload == _whole(workload)


def _rate(point: Point) -> float:
    """Return the throughput at a point; of an open loop what is offered, since a window has more or less by luck."""
    return point.load.level if point.load.mode == "open" else point.metrics["throughput_rps"].value


def _cheapest(able: Sequence[Candidate]) -> Candidate:
    able = [one for one in able if _throughput(one) > 0]
    for used in (_watts, _cores):  # in one unit: energy where it is known of any
        spent = [(used(one), one) for one in able]
        known = [(amount / _throughput(one), index) for index, (amount, one) in enumerate(spent) if amount is not None]
        if known:
            return able[min(known)[1]]
    raise NothingToPick("what the server used was not measured, so no configuration is the cheapest")


def _throughput(one: Candidate) -> float:
    return one.points[0].metrics["throughput_rps"].value


def _watts(one: Candidate) -> float | None:
    """Return the power of the GPUs, None where none is known."""
    energy = one.points[0].metrics.get(METRICS["energy_per_inference"].key)
    if energy is not None:
        return energy.value * _throughput(one)
    watts = [gpu.power_watts for gpu in one.points[0].telemetry.gpu if gpu.power_watts is not None]
    return sum(watts) if watts else None


def _cores(one: Candidate) -> float | None:
    return one.points[0].telemetry.cpu_cores
