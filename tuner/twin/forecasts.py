"""What the twin says of configurations: what is expected of each, how sure that is, and what measuring it may gain."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import scipy  # its parts are imported when they are used: they take long
from numpy.typing import NDArray

from targets.base import Config
from tuner.catalog import key_of
from tuner.front import Z_95
from tuner.objective import Goal
from tuner.results import Estimate

Floats = NDArray[np.float64]
OfAll = Mapping[str, Mapping[str, Floats]]
"""Workload or class -> metric -> value of each configuration."""


@dataclass(frozen=True)
class Forecasts:
    """What the twin says of configurations, each array of shape [configurations].

    Attributes:
        configs: parameters of the space, load levels included. Where workloads climb, each by itself, those of the
            workload that the first objective is about; what is said of another one is at its own best level.
        median: workload or class -> metric -> predicted value.
        spread: the same -> standard deviation of its logarithm.
        feasible: probability that every bound is kept.
    """

    configs: Sequence[Config]
    median: OfAll
    spread: OfAll
    feasible: Floats

    def joined(self, other: "Forecasts") -> "Forecasts":
        """Return these and those of other configurations after them."""

        def both(one: OfAll, another: OfAll) -> OfAll:
            return {
                name: {metric: np.concatenate([values, another[name][metric]]) for metric, values in metrics.items()}
                for name, metrics in one.items()
            }

        return Forecasts(
            [*self.configs, *other.configs],
            both(self.median, other.median),
            both(self.spread, other.spread),
            np.concatenate([self.feasible, other.feasible]),
        )

    def predicted(self, index: int) -> dict[str, dict[str, Estimate]]:
        """Return workload -> metric key -> what is expected of a configuration, with its 95% interval."""
        found: dict[str, dict[str, Estimate]] = {}
        for name, metrics in self.median.items():
            found[name] = {}
            for metric, values in metrics.items():
                factor = math.exp(Z_95 * self.spread[name][metric][index])
                value = float(values[index])
                found[name][key_of(metric)] = Estimate(value=value, low=value / factor, high=value * factor, n=0)
        return found

    def gains(self, goal: Goal, best: float | None) -> Floats:
        """Return the expected gain of each on an objective, on the log scale, times the chance to keep its bounds.

        E[max(0, ln y - ln best)] = s (z Phi(z) + phi(z)) with z = (m - ln best) / s, for ln y normal with mean m and
        standard deviation s (expected improvement: Jones, Schonlau and Welch, 1998); the sign turned to minimize.

        Args:
            goal: the objective.
            best: its best value so far that meets the SLO; None: there is none, and the most promising one gains most.
        """
        sign = 1.0 if goal.maximize else -1.0
        logs = sign * np.log(self.median[goal.workload][goal.metric])
        spread = self.spread[goal.workload][goal.metric]
        least = float(logs.min()) if best is None or best <= 0 else sign * math.log(best)
        z = (logs - least) / spread
        gain = spread * (z * scipy.special.ndtr(z) + np.exp(-(z**2) / 2) / math.sqrt(2 * math.pi))
        return np.asarray(gain * self.feasible)

    def chances(self, goal: Goal, best: float, margin: float) -> Floats:
        """Return the probability of each to keep its bounds and to be better than the best by more than a margin."""
        sign = 1.0 if goal.maximize else -1.0
        logs = sign * np.log(self.median[goal.workload][goal.metric])
        least = sign * math.log(best) + math.log1p(margin)
        return np.asarray(scipy.special.ndtr((logs - least) / self.spread[goal.workload][goal.metric]) * self.feasible)
