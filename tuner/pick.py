"""Which configuration of a run somebody wants: the best, the knee of the front, the fastest, or the cheapest. Pure."""

from collections.abc import Callable, Mapping, Sequence
from typing import Literal

import numpy as np

from tuner.catalog import METRICS
from tuner.front import non_dominated
from tuner.metrics import violations
from tuner.objective import Goal, parse_goals
from tuner.rank import Candidate, by_value, candidates
from tuner.results import Result, Side
from tuner.run_info import StudyInfo

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


def picked(result: Result, pick: Pick) -> int:
    """Return the number of the trial that is picked.

    Only points that meet every SLO as they were measured are looked at, of trials that missed none when they were
    measured again. Of those picked, only the best was confirmed.

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
    feasible = _kept(feasible, result)
    if not feasible:
        raise NothingToPick(f"all that met the SLO missed it when it was measured again, so there is no {pick} one")
    ways: dict[str, Callable[[], Candidate]] = {
        "knee": lambda: _knee(feasible, goals),
        "fastest": lambda: min(_able(feasible), key=lambda one: one.points[0].metrics["latency_p99_s"].value),
        "cheapest": lambda: _cheapest(_able(feasible)),
    }
    return ways[pick]().trial.number


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
    """Return those that did not miss an SLO when they were measured again; of yours each load is one of its own."""
    made = result.confirmation
    again = [*result.shortlist, *([made.candidate, made.baseline] if made else [])]
    missed = [side for side in again if _missed(side, result.study)]
    trials = {side.trial for side in missed if side.trial}
    own = [side.load for side in missed if not side.trial]
    return [
        one
        for one in feasible
        if (one.trial.number not in trials if one.trial.number else one.points[0].load not in own)
    ]


def _missed(side: Side, study: StudyInfo) -> bool:
    """Whether a configuration missed an SLO when it was measured again, or was over one without that being certain."""
    over = [
        share for name, found in side.metrics.items() for share in violations(found, study.bounds_of(name)).values()
    ]
    return max(over, default=0.0) > 0 or any("missed" in by_slo.values() for by_slo in side.verdicts.values())


def _able(feasible: Sequence[Candidate]) -> list[Candidate]:
    """Return those with no less throughput than yours at its best: at a low load anything is fast and takes little."""
    own = max((_throughput(one) for one in feasible if one.trial.number == 0), default=0.0)
    return [one for one in feasible if _throughput(one) >= (1 - ALIKE) * own]


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
