"""Which hosts may measure one study together: those of one kind, on which your configuration does the same. Pure."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from tuner.gate.hosts import fact
from tuner.objective import Goal
from tuner.results import Point, Trial

FACTS = ("cpu", "cores", "gpu", "driver", "server", "agents")
"""What has to be the same, see `gate.hosts.facts`."""
WITHIN = 0.1
"""Your configuration's values on two hosts may differ by this share, beside their intervals."""

UNKNOWN = 2.0
"""A bound that is not known, since there were too few requests, is taken to be off by this factor."""

ENOUGH = 20
"""Of so many requests half fail by chance at no load that a host bears."""
NOWHERE = "nowhere"
MOST_FILES = 3
"""Files that a refusal names."""


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
        value: measured; infinite where so many requests failed that there is none.
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
        config: knob -> value of your configuration on it, as JSON.
        files: of its server, see `contents.contents`.
    """

    name: str
    facts: Mapping[str, str]
    traffic: Mapping[str, str]
    figures: Sequence[Figure]
    config: Mapping[str, str] = field(default_factory=dict)
    files: Mapping[str, str] = field(default_factory=dict)

    def stored(self) -> dict[str, Any]:
        """Return it as JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, stored: Mapping[str, Any]) -> "Host":
        """Return what `stored` gave."""
        return cls(**{**stored, "figures": [Figure(**figure) for figure in stored["figures"]]})


def figures_of(baseline: Trial, goal: Goal) -> list[Figure]:
    """Return what a baseline says of an objective, of each valid point that has it."""
    found = []
    for point in baseline.points:
        metric = point.metrics.get(goal.key)
        if point.workload == goal.workload and point.validity.valid and metric is not None:
            low = metric.low if math.isfinite(metric.low) else None
            if math.isinf(metric.value) and _collapsed(point):
                low = math.inf  # an estimate has no such bound
            high = metric.high if math.isfinite(metric.high) else None
            if metric.value > -math.inf:  # what was not told is neither a number nor a difference
                found.append(Figure(point.workload, point.load.level, metric.value, low, high))
    return found


def _collapsed(point: Point) -> bool:
    """Whether at least half of enough requests failed, so that an infinite latency is no matter of chance."""
    requests = sum(point.outcomes.values())
    return requests >= ENOUGH and 2 * point.outcomes.get("ok", 0) <= requests


def differences(one: Host, other: Host, within: float) -> list[str]:
    """Return how two hosts differ, in words; [] where they may measure together.

    Args:
        one: that was there before.
        other: that comes.
        within: see WITHIN.
    """
    found = [
        f"{name}: {was} there, {now} here"
        for name in FACTS
        if (was := fact(one.facts, name)) != (now := fact(other.facts, name))
    ]
    found += [
        f"workload {name} sends something else here"
        for name in one.traffic
        if one.traffic[name] != other.traffic.get(name)
    ]
    there, here = one.config, other.config
    found += [
        f"your configuration has {name} {there.get(name, NOWHERE)} there and {here.get(name, NOWHERE)} here"
        for name in _unlike(there, here)
    ]
    if files := _unlike(one.files, other.files):
        more = f" and {len(files) - MOST_FILES} more" if len(files) > MOST_FILES else ""
        found.append(f"files of the server are not the same: {', '.join(files[:MOST_FILES])}{more}")
    return [*found, *_of_baselines(one, other, within)]


def _unlike(one: Mapping[str, str], other: Mapping[str, str]) -> list[str]:
    """Return the names of what is not the same in both, or not in both."""
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def _of_baselines(one: Host, other: Host, within: float) -> list[str]:
    """Return what is said where your configuration certainly does something else at most of its loads, or has none."""
    here = {(figure.workload, figure.level): figure for figure in other.figures}
    pairs = [(figure, here[figure.workload, figure.level]) for figure in one.figures if _place(figure) in here]
    if one.figures and not pairs:
        loads = ", ".join(f"{figure.level:g} on {figure.workload}" for figure in one.figures)
        return [f"your configuration has no valid value here at any load at which it has one there ({loads})"]
    apart = [(there, mine) for there, mine in pairs if _apart(there, mine, within)]
    if 2 * len(apart) <= len(pairs):
        return []
    there, mine = max(apart, key=lambda pair: abs(math.log(_bounded(pair[1].value) / _bounded(pair[0].value))))
    ratio = mine.value / there.value if there.value else math.inf
    return [
        f"your configuration at {there.level:g} on {there.workload}: {there.value:.4g} there, {mine.value:.4g} here "
        f"({ratio:.2f}x), and {len(apart)} of {len(pairs)} loads are over {within:.0%} apart beside their intervals"
    ]


def _place(figure: Figure) -> tuple[str, float]:
    return figure.workload, figure.level


def _bounded(value: float) -> float:
    """Return a value that has a logarithm: nothing and infinity are very small and very large ones."""
    return min(max(value, 1e-12), 1e12)


def _apart(one: Figure, other: Figure, within: float) -> bool:
    """Whether the intervals of two values leave more than a share between them."""
    smaller, larger = sorted((one, other), key=lambda figure: figure.value)
    if math.isinf(larger.value) and (larger.low is None or math.isinf(smaller.value)):
        return False
    high = smaller.value * UNKNOWN if smaller.high is None else smaller.high
    low = larger.value / UNKNOWN if larger.low is None else larger.low
    return low > high * (1 + within)
