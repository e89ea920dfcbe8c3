"""What the measurements say of how the server works: service times of batches, and what a request takes beside. Pure.

How long a batch takes depends on its size, on the variant, and on how many instances compete for the cores. What is
left of the mean latency after the server's own queue and compute times is the way there and back: a fixed time, and one
per answer, since answers leave one after the other. What answers take also keeps an instance from its next batch: the
least time per answer for which the instances had nothing to compute says for how long.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy
from numpy.typing import NDArray

from targets.base import Value

Floats = NDArray[np.float64]
Variant = tuple[Value, ...]
SPREAD = 2.0
"""The largest batch executed has to be so many times the smallest for the two times of a law to be told apart."""
UPPER = 4.0
"""A line is fitted to the sizes that are at least the largest one over this."""
LEAST_S = 1e-7
LEAST_IDLE = 0.1
"""Share of the measurements in which instances may have been idle for less than is taken for the least."""


@dataclass(frozen=True)
class Observation:
    """What one measured point says of the server.

    Attributes:
        variant: values of the knobs that change how long a batch takes.
        instances: batches served at once at most.
        sizes: executed batch sizes, shape [n].
        counts: executions of each, shape [n].
        times_s: mean service time of each, shape [n].
        latency_s: mean latency of a request.
        queue_s: mean time of a request in the server's queue.
        window_s: length of the window in which these were executed.
    """

    variant: Variant
    instances: int
    sizes: Floats
    counts: Floats
    times_s: Floats
    latency_s: float
    queue_s: float
    window_s: float

    @property
    def requests(self) -> float:
        """Requests executed."""
        return float(self.sizes @ self.counts)

    @property
    def service_s(self) -> float:
        """Mean service time of a request: that of its batch."""
        return float((self.sizes * self.counts) @ self.times_s) / self.requests

    @property
    def place_in_batch(self) -> float:
        """Mean place of a request among the answers of its batch, from 1."""
        return float(self.counts @ (self.sizes * (self.sizes + 1) / 2)) / self.requests

    def idle_s(self, servers: int) -> float:
        """Return how long so many servers together executed nothing, per request."""
        return max(0.0, servers * self.window_s - float(self.counts @ self.times_s)) / self.requests


@dataclass(frozen=True)
class Service:
    """How long batches take: as they were measured, and beyond that fixed_s + each_s * b seconds.

    Attributes:
        fixed_s, each_s: of the sizes that were not measured.
        sizes, times_s: measured sizes, ascending, and their times, not descending; may be empty.
        held_s: for how long each answer keeps the instance from its next batch.
    """

    fixed_s: float
    each_s: float
    sizes: tuple[float, ...] = ()
    times_s: tuple[float, ...] = ()
    held_s: float = 0.0

    def times(self, factor: float) -> "Service":
        """Return a law of the same form that is slower by a factor."""
        slower = tuple(seconds * factor for seconds in self.times_s)
        return Service(self.fixed_s * factor, self.each_s * factor, self.sizes, slower, self.held_s * factor)

    def table(self, largest: int) -> Floats:
        """Return the service time of a batch of b at [b], in seconds, shape [largest + 1], not descending."""
        batch = np.arange(largest + 1.0)
        table = self.fixed_s + self.each_s * batch
        if self.sizes:
            inside = np.interp(batch, self.sizes, self.times_s)
            beyond = self.times_s[-1] + self.each_s * (batch - self.sizes[-1])
            below = np.minimum(table, self.times_s[0])
            table = np.where(batch < self.sizes[0], below, np.where(batch > self.sizes[-1], beyond, inside))
        return np.maximum.accumulate(table)


@dataclass(frozen=True)
class Calibration:
    """The server's laws.

    Attributes:
        laws: (variant, instances) -> service times, of those measured; at least one.
        cores: that the server has; more instances than these share them.
        handling_s: time of each answer on its way out, one after the other.
        turnaround_s: the rest of what a request takes beside queue and service.
    """

    laws: Mapping[tuple[Variant, int], Service]
    cores: int
    handling_s: float
    turnaround_s: float

    def service(self, variant: Variant, instances: int) -> Service:
        """Return the law of a variant with so many instances.

        One that was not measured is taken from the nearest that was: of the variant with the most values in common,
        the nearest number of instances, slower by as much as more instances have to share the cores.
        """

        def distance(key: tuple[Variant, int]) -> tuple[int, int, int]:
            differing = sum(one != other for one, other in zip(key[0], variant, strict=True))
            return differing, abs(key[1] - instances), key[1]

        nearest = min(self.laws, key=distance)
        return self.laws[nearest].times(self._crowding(instances) / self._crowding(nearest[1]))

    def _crowding(self, instances: int) -> float:
        return _crowding(instances, self.cores)


def calibrate(observations: Sequence[Observation], cores: int) -> Calibration | None:
    """Read the server's laws from what was measured; None when nothing says how long a batch takes.

    A batch size that was executed takes as long as it took: the mean over its executions, made not to descend with the
    size (isotonic regression, weighted by executions). For larger ones a line is fitted by non-negative least squares
    to the upper sizes, weighted by executions: the smallest batches are often a special case of the server's. Where too
    few sizes were executed for a line, its proportions are those of the measurements that can tell, together.

    Turnaround T and handling H are the non-negative least squares of latency - queue - service = T + H * place in the
    batch, weighted by 1 / latency. H is at most the least spare time of the cores, (cores * window - busy) / requests,
    over measurements with an instance for each core. An answer holds its instance for the least idle time of those with
    this law, (instances * window - busy) / requests, and for H at most: while requests wait, an instance is idle for no
    other reason.

    Args:
        observations: of measured points, any order.
        cores: that the server has.
    """
    known = [one for one in observations if len(one.sizes) and one.requests > 0]
    if not known:
        return None
    groups: dict[tuple[Variant, int], list[Observation]] = {}
    for one in known:
        groups.setdefault((one.variant, one.instances), []).append(one)
    telling = [group for group in groups.values() if _tells(_pooled(group)[0])]
    together = _line(*_pooled([one for group in telling or groups.values() for one in group]))
    turnaround_s, handling_s = _way(known, cores)
    laws = {
        key: replace(_law(*_pooled(group), together), held_s=_held_s(group, handling_s * _crowding(key[1], cores)))
        for key, group in groups.items()
    }
    return Calibration(laws, cores, handling_s, turnaround_s)


def _crowding(instances: int, cores: int) -> float:
    """Return how many times slower instances are that share the cores."""
    return max(1.0, instances / cores)


def _pooled(observations: Sequence[Observation]) -> tuple[Floats, Floats, Floats]:
    """Return each executed size once, ascending, how often it was executed, and its mean time."""
    sizes, counts, times = (
        np.concatenate([getattr(one, name) for one in observations]) for name in ("sizes", "counts", "times_s")
    )
    distinct, place = np.unique(sizes, return_inverse=True)
    executed = np.bincount(place, counts).astype(float)
    return distinct, executed, np.bincount(place, counts * times) / executed


def _tells(sizes: Floats) -> bool:
    """Whether batch sizes differ enough to tell the fixed time from that of each request."""
    return bool(sizes.max() >= SPREAD * sizes.min())


def _law(sizes: Floats, counts: Floats, times_s: Floats, together: Service) -> Service:
    rising = scipy.optimize.isotonic_regression(times_s, weights=counts).x
    if _tells(sizes):
        line = _line(sizes, counts, times_s)
    else:
        expected = together.fixed_s + together.each_s * sizes
        line = together.times(float(counts @ times_s) / max(float(counts @ expected), LEAST_S))
    return Service(line.fixed_s, line.each_s, tuple(sizes.tolist()), tuple(rising.tolist()))


def _line(sizes: Floats, counts: Floats, times_s: Floats) -> Service:
    """Fit a line to the upper sizes, to all where those are too few to tell."""
    upper = sizes >= sizes.max() / UPPER
    if not _tells(sizes[upper]):
        upper = np.ones(len(sizes), dtype=np.bool_)
    weights = np.sqrt(counts[upper]) / np.maximum(times_s[upper], LEAST_S)
    columns = np.column_stack([weights, weights * sizes[upper]])
    (fixed_s, each_s), _ = scipy.optimize.nnls(columns, weights * times_s[upper])
    return Service(max(float(fixed_s), LEAST_S), float(each_s))


def _way(observations: Sequence[Observation], cores: int) -> tuple[float, float]:
    """Return turnaround and handling, in seconds; a measurement counts by how much of its latency it can tell.

    Handling is work of the cores: it takes no longer than they were without a batch, wherever each has an instance.
    """
    rows = [
        (one.place_in_batch, one.latency_s - one.queue_s - one.service_s, 1 / max(one.latency_s, LEAST_S))
        for one in observations
        if np.isfinite(one.latency_s)
    ]
    if not rows:
        return 0.0, LEAST_S
    places, rest, weights = np.array(rows).T
    columns = np.column_stack([weights, weights * places])
    asked = weights * np.maximum(rest, 0.0)
    (turnaround_s, handling_s), _ = scipy.optimize.nnls(columns, asked)
    spare_s = _least([one.idle_s(cores) for one in observations if one.instances == cores])
    if spare_s is not None and handling_s > spare_s:
        handling_s = spare_s  # the best turnaround beside it: one unknown is left
        turnaround_s = max(0.0, float(columns[:, 0] @ (asked - spare_s * columns[:, 1]) / (weights @ weights)))
    return float(turnaround_s), max(float(handling_s), LEAST_S)


def _held_s(observations: Sequence[Observation], handling_s: float) -> float:
    """Return for how long an answer keeps its instance: instances are idle for longer only where there is no work."""
    least_s = _least([one.idle_s(one.instances) for one in observations])
    return 0.0 if least_s is None else min(least_s, handling_s)


def _least(idle_s: Sequence[float]) -> float | None:
    """Return the least of idle times, None where nothing was idle: more is executed there than is known of."""
    known = [one for one in idle_s if one > 0]
    return float(np.quantile(known, LEAST_IDLE, method="lower")) if known else None
