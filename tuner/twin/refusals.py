"""What the server does not take, and what misses bounds that no simulation has a word on, learnt from trials."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from targets.base import Config, Value
from tuner.catalog import metric_of
from tuner.once import Each
from tuner.results import Trial
from tuner.space import Parameter, Space
from tuner.twin.forecast import FORECAST
from tuner.twin.places import places

Floats = NDArray[np.float64]
NEAR = 0.3
"""Configurations nearer than this are refused for the same reasons."""
LISTS = 3
"""Lists of configurations that it keeps in mind, those that were asked for last."""
AT_ONCE = 50
"""Trials whose nearness to every configuration is computed together."""


@dataclass
class _Seen:
    """How near trials were to some configurations, added up trial by trial.

    Attributes:
        configs: the configurations.
        here: where they lie.
        failed, all: sums of the nearness of those that failed, and of all of them, each of shape [configurations].
        trials: that were added, by identity.
        failed_with: knob -> value -> how many with it failed.
        fine_with: knob -> values with which one did not.
    """

    configs: Sequence[Config]
    here: Floats
    failed: Floats
    all: Floats
    trials: dict[int, Trial] = field(default_factory=dict)
    failed_with: dict[str, dict[Value, int]] = field(default_factory=dict)
    fine_with: dict[str, set[Value]] = field(default_factory=dict)

    def follows(self, trials: Sequence[Trial], configs: Sequence[Config]) -> bool:
        """Whether what was added is among these trials, for these configurations; other hosts' come in between."""
        return configs is self.configs and self.trials.keys() <= set(map(id, trials))

    def count(self, knob: str, value: Value, *, has_failed: bool) -> None:
        """Take note of a trial with a value."""
        if has_failed:
            counts = self.failed_with.setdefault(knob, {})
            counts[value] = counts.get(value, 0) + 1
        else:
            self.fine_with.setdefault(knob, set()).add(value)

    def to_blame(self, parameter: Parameter) -> dict[Value, int]:
        """Return the values of a knob with which every trial failed, and how many these were."""
        fine, counts = self.fine_with.get(parameter.name, set()), self.failed_with.get(parameter.name, {})
        return {value: count for value, count in counts.items() if value not in fine and value in parameter.values}


class Refusals:
    """Learns from trials; those that it has seen before it adds nothing for.

    Args:
        space: of the study.
        level_name: load level of the first workload.
    """

    def __init__(self, space: Space, level_name: str) -> None:
        self._space, self._level_name = space, level_name
        self._fails = Each(fails)
        self._has_level: Each[Trial, bool] = Each(lambda trial: level_name in trial.config)
        self._knobs = list(space.without_load())
        self._seen: dict[tuple[str | None, int], _Seen] = {}

    def chances(self, trials: Sequence[Trial], configs: Sequence[Config]) -> Floats:
        """Return the chance of each that the server takes it, and that it keeps the bounds that are not on latency.

        Each trial that failed so counts for what is near it, against those that did not: 1 - (sum of k for the failed)
        / (1 + sum of k for all), with k the squared exponential kernel over the server's knobs. And a value of a knob
        with which n trials failed and none did not is the reason with a chance of n / (n + 1).
        """
        failed = self._fails(trials)
        if not any(failed):
            return np.ones(len(configs))
        seen = self._added(trials, failed, configs)
        chance = 1 - seen.failed / (1 + seen.all)
        for parameter in self._knobs:
            for value, count in seen.to_blame(parameter).items():
                chance[np.array([self._value(parameter, config) == value for config in configs])] /= 1 + count
        return np.asarray(chance)

    def _added(self, trials: Sequence[Trial], failed: Sequence[bool], configs: Sequence[Config]) -> _Seen:
        loads = self._level_name if any(self._has_level(trials)) else None
        key = loads, id(configs)
        seen = self._seen.pop(key, None)
        if seen is None or not seen.follows(trials, configs):
            nothing = np.zeros(len(configs))
            seen = _Seen(configs, places(self._space, configs, loads), nothing, nothing.copy())
        new = [one for one in zip(trials, failed, strict=True) if id(one[0]) not in seen.trials]
        for first in range(0, len(new), AT_ONCE):
            self._add(seen, new[first : first + AT_ONCE], loads)
        self._seen[key] = seen
        if len(self._seen) > LISTS:
            del self._seen[next(iter(self._seen))]
        return seen

    def _add(self, seen: _Seen, new: Sequence[tuple[Trial, bool]], loads: str | None) -> None:
        there = places(self._space, [trial.config for trial, _ in new], loads)
        squares = np.sum((there[:, None, :] - seen.here[None, :, :]) ** 2, axis=2)
        for (trial, has_failed), near in zip(new, np.exp(-squares / (2 * NEAR**2)), strict=True):
            seen.trials[id(trial)] = trial
            seen.all += near
            if has_failed:
                seen.failed += near
            for parameter in self._knobs:
                seen.count(parameter.name, self._value(parameter, trial.config), has_failed=has_failed)

    def _value(self, parameter: Parameter, config: Config) -> Value:
        """Return the value that a parameter has in a configuration."""
        if parameter.name in config:
            return config[parameter.name]
        return self._space.own.get(parameter.name, parameter.values[0])


def fails(trial: Trial) -> bool:
    """Whether the server did not take a trial, or it missed at every load a bound that is not simulated."""
    if trial.state in ("refused", "crashed", "hung"):
        return True
    by_workload: dict[str, list[bool]] = {}
    for point in trial.points:
        if point.validity.valid:
            missed = any(over > 0 for name, over in point.violations.items() if metric_of(name) not in FORECAST)
            by_workload.setdefault(point.workload, []).append(missed)
    return any(all(missed) for missed in by_workload.values())
