"""Which hosts may measure one study together: those of one kind, on which your configuration does the same. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from tuner.gate.hosts import fact
from tuner.objective import Goal
from tuner.results import Trial

FACTS = ("cpu", "cores", "gpu", "driver", "server", "agents")
"""What has to be the same, see `gate.hosts.facts`."""
WITHIN = 0.1
"""Your configuration's values on two hosts may differ by this share, beside their intervals."""

UNKNOWN = 2.0
"""A bound that is not known, since there were too few requests, is taken to be off by this factor."""


class HostDiffers(Exception):
    """This host may not take part; the message says how it differs, and from which."""


class StudiesDiffer(Exception):
    """A host has another study than those that are there; the message says what differs."""


@dataclass(frozen=True)
class Figure:
    """What your configuration does at one load: the first objective with its interval, as JSON has it.

    Attributes:
        workload: its name.
        level: of the load.
        value: measured.
        low, high: its 95% interval; None: no bound is known.
    """

    workload: str
    level: float
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True)
class Host:
    """What is compared of a host.

    Attributes:
        name: of the host.
        facts: name -> value.
        traffic: workload -> what identifies its requests.
        figures: of its baseline.
    """

    name: str
    facts: Mapping[str, str]
    traffic: Mapping[str, str]
    figures: Sequence[Figure]

    def stored(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Host":
        """Return what `stored` gave."""
        return cls(
            stored["name"], stored["facts"], stored["traffic"], [Figure(**figure) for figure in stored["figures"]]
        )


def figures_of(baseline: Trial, goal: Goal) -> list[Figure]:
    """Return what a baseline says of an objective, of each valid point that has it."""
    found = []
    for point in baseline.points:
        metric = point.metrics.get(goal.key)
        if point.workload == goal.workload and point.validity.valid and metric is not None:
            low, high = (bound if math.isfinite(bound) else None for bound in (metric.low, metric.high))
            if math.isfinite(metric.value):
                found.append(Figure(point.workload, point.load.level, metric.value, low, high))
    return found


def differences(one: Host, other: Host, within: float) -> list[str]:
    """Return how two hosts differ, in words; [] where they may measure together.

    Args:
        one: that was there before.
        other: that comes.
        within: see WITHIN.
    """
    found = [
        f"{name}: {there} there, {here} here"
        for name in FACTS
        if (there := fact(one.facts, name)) != (here := fact(other.facts, name))
    ]
    found += [
        f"workload {name} sends something else here"
        for name in one.traffic
        if one.traffic[name] != other.traffic.get(name)
    ]
    return [*found, *_of_baselines(one, other, within)]


def _of_baselines(one: Host, other: Host, within: float) -> list[str]:
    """Return what is said where your configuration certainly does something else at most of its loads."""
    here = {(figure.workload, figure.level): figure for figure in other.figures}
    pairs = [(figure, here[figure.workload, figure.level]) for figure in one.figures if _place(figure) in here]
    apart = [(there, mine) for there, mine in pairs if _apart(there, mine, within)]
    if 2 * len(apart) <= len(pairs):
        return []
    there, mine = max(apart, key=lambda pair: abs(math.log(max(pair[1].value, 1e-12) / max(pair[0].value, 1e-12))))
    ratio = mine.value / there.value if there.value else math.inf
    return [
        f"your configuration at {there.level:g} on {there.workload}: {there.value:.4g} there, {mine.value:.4g} here "
        f"({ratio:.2f}x), and {len(apart)} of {len(pairs)} loads are over {within:.0%} apart beside their intervals"
    ]


def _place(figure: Figure) -> tuple[str, float]:
    return figure.workload, figure.level


def _apart(one: Figure, other: Figure, within: float) -> bool:
    """Whether the intervals of two values leave more than a share between them."""
    smaller, larger = sorted((one, other), key=lambda figure: figure.value)
    high = smaller.value * UNKNOWN if smaller.high is None else smaller.high
    low = larger.value / UNKNOWN if larger.low is None else larger.low
    return low > high * (1 + within)
