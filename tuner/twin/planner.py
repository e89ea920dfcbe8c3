"""The twin: says of every configuration what it would do, how sure that is, and what measuring it may gain. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice

import numpy as np
import scipy  # its parts are imported when they are used: they take long
from numpy.typing import NDArray

from targets.base import Config, Value
from tuner.candidates import candidates, listed_whole, neighbours
from tuner.catalog import AT_LEAST, key_of, metric_of
from tuner.front import Z_95
from tuner.objective import Goal
from tuner.once import Each
from tuner.results import Estimate, Point, Trial
from tuner.space import Space
from tuner.twin.calibration import Calibration, Observation, Variant, calibrate
from tuner.twin.forecast import FORECAST, Forecaster, Roles, measured_as, server_of
from tuner.twin.forecasts import Forecasts
from tuner.twin.own_levels import Asked, levels_of_one, own_levels
from tuner.twin.places import places
from tuner.twin.refusals import Refusals
from tuner.twin.residual import MOST, Residual, learn
from tuner.workload import Workload, part_named, parts_of

Floats = NDArray[np.float64]
Law = tuple[Variant, int]
"""What service times depend on beside the batch: the variant, and the number of instances."""
LEAST_NOISE = 0.04
"""A measurement's standard deviation on the log scale at least: what another deployment changes is in no interval."""
UNKNOWN_NOISE = 0.1
"""That of a measurement without bounds."""
FAR = 2.0
"""ln(measured / simulated) of a value that is infinite, and at most."""


_Newest = Sequence[tuple[Trial, Point]]


@dataclass(frozen=True)
class _Learnt:
    """What was learnt of a metric.

    Attributes:
        forecaster: whose errors these are.
        newest: the measurements that it was learnt from.
        residual: the errors.
    """

    forecaster: Forecaster
    newest: _Newest
    residual: Residual

    def holds(self, forecaster: Forecaster, newest: _Newest) -> bool:
        """Whether it would be learnt anew from the same."""
        same = all(one is other for (_, one), (_, other) in zip(self.newest, newest, strict=False))
        return self.forecaster is forecaster and len(self.newest) == len(newest) and same


@dataclass
class _Kept:
    """What is asked of the candidates, and what was simulated of them.

    Attributes:
        rows: workload -> what is asked of it.
        simulated: workload or class -> what the simulation says of those rows, and where they lie.
    """

    rows: dict[str, Asked] = field(default_factory=dict)
    simulated: dict[str, tuple[dict[str, Floats], Floats]] = field(default_factory=dict)


class Twin:
    """Predicts from what was measured.

    Args:
        space: of the study, load levels included.
        workloads: of the study.
        goals: the objectives.
        bounds: workload or class -> SLO -> bound.
        roles: of the target's knobs.
        cores: of the server.
        seed: of the choice among the configurations of a large space.
        climbs: each workload is measured up to the highest level that it sustains, and not at one of a proposal.
    """

    def __init__(
        self,
        space: Space,
        workloads: Sequence[Workload],
        goals: Sequence[Goal],
        bounds: Mapping[str, Mapping[str, float]],
        roles: Roles,
        cores: int,
        seed: int,
        *,
        climbs: bool = False,
    ) -> None:
        self.space, self._workloads, self._roles, self._cores = space, workloads, roles, cores
        self._parts = {part.name: workload for workload, part in parts_of(workloads)}
        self._bounds = {
            name: {slo: bound for slo, bound in bounds.get(name, {}).items() if metric_of(slo) in FORECAST}
            for name in self._parts
        }
        self._goals = [goal for goal in goals if goal.metric in FORECAST]
        self._climbing = self._parts[goals[0].workload] if climbs else None
        self.searched = space if self._climbing is None else levels_of_one(space, self._climbing)
        self.candidates = candidates(self.searched, seed)
        self.sampled = not listed_whole(self.searched)
        self._forecaster: tuple[int, Forecaster] | None = None
        self._asked_of = _Kept()
        self._refusals = Refusals(space, workloads[0].level_name)
        self._laws: Each[Trial, Law | None] = Each(self._law_of)
        self._learnt: dict[tuple[str, str], _Learnt] = {}

    def near(self, configs: Sequence[Config]) -> list[dict[str, Value]]:
        """Return what lies beside configurations; of a large space the candidates may have none of it."""
        return neighbours(self.searched, configs)

    def calibration(self, trials: Sequence[Trial]) -> Calibration | None:
        """Read the server's laws from trials; None when they say nothing of batches."""
        return calibrate([one for trial in trials for one in self._observations(trial)], self._cores)

    def _calibrated(self, trials: Sequence[Trial]) -> Forecaster | None:
        """Return the simulation after these trials, None when they say nothing of batches.

        Everything is simulated anew after a calibration, so there is one when the trials are half as many again, and
        when a variant or a number of instances was measured for the first time; what changes in between is learnt as
        an error. It depends on the trials alone: a run that is resumed goes on as it would have.
        """
        count = self._calibrated_after(trials)
        if self._forecaster is None or self._forecaster[0] != count:
            calibration = self.calibration(trials[:count])
            if calibration is None:
                return None
            self._forecaster = (count, Forecaster(calibration))
            self._asked_of.simulated.clear()
        return self._forecaster[1]

    def _calibrated_after(self, trials: Sequence[Trial]) -> int:
        """Return how many of the trials the calibration takes into account."""
        laws = self._laws(trials)
        first = dict(zip(reversed(laws), range(len(laws), 0, -1), strict=True))  # of each law: the last one that is set
        first.pop(None, None)
        last, count = max(first.values(), default=0), 1
        while math.ceil(count * 1.5) <= len(trials):
            count = math.ceil(count * 1.5)
        return max(last, count)

    def _law_of(self, trial: Trial) -> Law | None:
        """Return which law of the server a trial tells of, None where it tells nothing."""
        if not any(point.server for point in trial.points):
            return None
        server = server_of({**self.space.own, **trial.config}, self._roles)
        return server.variant, server.instances

    def forecasts(self, trials: Sequence[Trial], configs: Sequence[Config]) -> Forecasts | None:
        """Return what is to be expected of configurations after these trials; None when nothing is known of batches."""
        forecaster = self._calibrated(trials)
        if forecaster is None or not configs:
            return None
        wanted = self._wanted()
        median: dict[str, dict[str, Floats]] = {}
        spread: dict[str, dict[str, Floats]] = {}
        feasible = np.ones(len(configs))
        for workload in self._workloads:
            asked, kept = self._asked(workload, configs), None
            found: dict[str, dict[str, tuple[Floats, Floats]]] = {}
            for name in (part.name for part in workload.parts if part.name in wanted):
                found[name] = self._of_part(name, wanted[name], asked, trials, forecaster)
                chance = self._keeps(name, found[name])
                kept = chance if kept is None else kept * chance
            if kept is None:
                continue
            feasible *= asked.best_chance(kept)
            at = asked.rows_at_best(kept)
            median |= {name: {metric: one[0][at] for metric, one in of.items()} for name, of in found.items()}
            spread |= {name: {metric: one[1][at] for metric, one in of.items()} for name, of in found.items()}
        return Forecasts(configs, median, spread, feasible * self._refusals.chances(trials, configs))

    def _of_part(
        self, name: str, metrics: Sequence[str], asked: Asked, trials: Sequence[Trial], forecaster: Forecaster
    ) -> dict[str, tuple[Floats, Floats]]:
        """Return metric -> predicted values and standard deviations of their logarithms, of each row that is asked."""
        simulated, here = self._simulated_at(name, asked, forecaster)
        found = {}
        for metric in metrics:
            mean, deviation = self._corrected(name, metric, trials, forecaster, here)
            found[metric] = simulated[metric] * np.exp(mean), deviation
        return found

    def _keeps(self, name: str, found: Mapping[str, tuple[Floats, Floats]]) -> Floats:
        """Return the probability of each row that a workload or class keeps its bounds."""
        chances = []
        for slo, bound in self._bounds[name].items():
            median, spread = found[metric_of(slo)]
            room = (math.log(bound) - np.log(median)) / spread
            chances.append(scipy.special.ndtr(-room if slo in AT_LEAST else room))
        return np.asarray(np.prod(chances, axis=0) if chances else np.ones(len(next(iter(found.values()))[0])))

    def _asked(self, workload: Workload, configs: Sequence[Config]) -> Asked:
        """Return the rows that are forecast of a workload: configurations as they are, or each at its own levels."""
        if configs is self.candidates and workload.name in self._asked_of.rows:
            return self._asked_of.rows[workload.name]
        if self._climbing is None or workload is self._climbing:
            found = Asked(configs, np.arange(len(configs))[:, None])
        else:
            found = own_levels(self.space, workload, configs)
        if configs is self.candidates:
            self._asked_of.rows[workload.name] = found
        return found

    def _wanted(self) -> dict[str, list[str]]:
        """Return workload or class -> metrics that are predicted of it."""
        wanted = {name: list(dict.fromkeys(map(metric_of, bounds))) for name, bounds in self._bounds.items()}
        for goal in self._goals:
            if goal.metric not in wanted[goal.workload]:
                wanted[goal.workload].append(goal.metric)
        return {name: metrics for name, metrics in wanted.items() if metrics}

    def _observations(self, trial: Trial) -> list[Observation]:
        server = server_of({**self.space.own, **trial.config}, self._roles)
        names = {workload.name for workload in self._workloads}
        found = []
        for point in _usable(trial):
            if point.workload not in names or point.server is None or not point.server.batch_sizes:
                continue
            batches = point.server.batch_sizes
            found.append(
                Observation(
                    variant=server.variant,
                    instances=server.instances,
                    sizes=np.array([float(one.size) for one in batches]),
                    counts=np.array([float(one.count) for one in batches]),
                    times_s=np.array([one.compute_mean_s for one in batches]),
                    latency_s=_mean_latency_s(point),
                    queue_s=point.server.mean_s.get("queue", 0.0),
                    window_s=point.server.window_s,
                )
            )
        return found

    def _simulated_at(self, name: str, asked: Asked, forecaster: Forecaster) -> tuple[dict[str, Floats], Floats]:
        """Return what the simulation says of rows, and where they lie; of the candidates it is kept."""
        of_candidates = asked is self._asked_of.rows.get(self._parts[name].name)
        if of_candidates and name in self._asked_of.simulated:
            return self._asked_of.simulated[name]
        simulated = self._simulated(name, asked.configs, forecaster)
        found = simulated, places(self.space, asked.configs, self._parts[name].level_name)
        if of_candidates:
            self._asked_of.simulated[name] = found
        return found

    def _simulated(self, name: str, configs: Sequence[Config], forecaster: Forecaster) -> dict[str, Floats]:
        workload, part = part_named(self._workloads, name)
        levels = [_level(config, workload) for config in configs]
        servers = [server_of({**self.space.own, **config}, self._roles) for config in configs]
        return forecaster.forecast(servers, levels, workload, part.index)

    def _corrected(
        self,
        name: str,
        metric: str,
        trials: Sequence[Trial],
        forecaster: Forecaster,
        here: Floats,
    ) -> tuple[Floats, Floats]:
        """Return mean and standard deviation of ln(true / simulated) at places, from where it was measured last."""
        newest = _newest(trials, name, key_of(measured_as(metric)))
        known = self._learnt.get((name, metric))
        if known is None or not known.holds(forecaster, newest):
            known = self._learnt[name, metric] = _Learnt(
                forecaster, newest, self._errors(name, metric, newest, forecaster)
            )
        return known.residual.at(here)

    def _errors(self, name: str, metric: str, newest: _Newest, forecaster: Forecaster) -> Residual:
        """Learn how far off the simulation was."""
        key, part = key_of(measured_as(metric)), self._parts[name]
        configs = [_at(trial.config, part, point) for trial, point in newest]
        simulated = self._simulated(name, configs, forecaster)[metric] if configs else np.empty(0)
        estimates = [point.metrics[key] for _, point in newest]
        errors = [_error(one, float(value)) for one, value in zip(estimates, simulated, strict=True)]
        noise = np.array([_noise(one) for one in estimates])
        return learn(places(self.space, configs, part.level_name), np.array(errors), noise)


def _usable(trial: Trial) -> list[Point]:
    return [point for point in trial.points if point.validity.valid]


def _newest(trials: Sequence[Trial], name: str, key: str) -> list[tuple[Trial, Point]]:
    """Return the last points of a workload that have a metric, MOST at most, the oldest first."""
    points = ((trial, point) for trial in reversed(trials) for point in reversed(_usable(trial)))
    having = (one for one in points if one[1].workload == name and key in one[1].metrics)
    return list(islice(having, MOST))[::-1]


def _mean_latency_s(point: Point) -> float:
    """Return the mean latency, infinite where it says nothing of the way: an overload waits outside of the server."""
    overloaded = point.steadiness.state == "overloaded"
    return math.inf if overloaded or key_of("mean") not in point.metrics else point.metrics[key_of("mean")].value


def _level(config: Config, workload: Workload) -> float | None:
    level = workload.concurrency if workload.fixed_level else config.get(workload.level_name)
    return float(level) if isinstance(level, int | float) else None


def _at(config: Config, workload: Workload, point: Point) -> dict[str, Value]:
    """Return a configuration at the level at which a point was measured."""
    return {**config, workload.level_name: point.load.level}


def _error(measured: Estimate, simulated: float) -> float:
    """Return ln(measured / simulated), at most FAR either way."""
    if not measured.value > 0:
        return -FAR
    return float(np.clip(math.log(measured.value) - math.log(simulated), -FAR, FAR))


def _noise(measured: Estimate) -> float:
    """Return the standard deviation of a measurement's logarithm, from its interval."""
    if measured.low <= 0 or measured.high == math.inf:
        return UNKNOWN_NOISE
    return max(LEAST_NOISE, math.log(measured.high / measured.low) / (2 * Z_95))
