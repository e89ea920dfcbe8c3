"""What the measurements say of how the server works: service times of batches, and what a request takes beside. Pure.

A batch of b requests is served in fixed + each * b seconds; both depend on the variant and on how many instances
compete for the cores. What is left of the mean latency after the server's own queue and compute times is the way there
and back: a fixed time, and one per answer, since answers leave one after the other.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import nnls

from targets.base import Value

Floats = NDArray[np.float64]
Variant = tuple[Value, ...]
SPREAD = 2.0
"""The largest batch executed has to be so many times the smallest for the two times of a law to be told apart."""
LEAST_S = 1e-7


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
    """

    variant: Variant
    instances: int
    sizes: Floats
    counts: Floats
    times_s: Floats
    latency_s: float
    queue_s: float

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


@dataclass(frozen=True)
class Service:
    """A batch of b requests takes fixed_s + each_s * b seconds."""

    fixed_s: float
    each_s: float

    def times(self, factor: float) -> "Service":
        """Return a law of the same form that is slower by a factor."""
        return Service(self.fixed_s * factor, self.each_s * factor)


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
        return max(1.0, instances / self.cores)


def calibrate(observations: Sequence[Observation], cores: int) -> Calibration | None:
    """Read the server's laws from what was measured; None when nothing says how long a batch takes.

    Service times are fitted by non-negative least squares, each executed batch size weighted by how often it was
    executed. Where too few sizes were executed to tell the fixed time from that of each request, their proportion is
    that of the measurements that can tell, together.

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
    together = _fitted(*_pooled([one for group in telling or groups.values() for one in group]))
    laws = {key: _law(*_pooled(group), together) for key, group in groups.items()}
    turnaround_s, handling_s = _way(known)
    return Calibration(laws, cores, handling_s, turnaround_s)


def _pooled(observations: Sequence[Observation]) -> tuple[Floats, Floats, Floats]:
    """Return sizes, counts and times of all of them."""
    sizes, counts, times = (
        np.concatenate([getattr(one, name) for one in observations]) for name in ("sizes", "counts", "times_s")
    )
    return sizes, counts, times


def _tells(sizes: Floats) -> bool:
    """Whether batch sizes differ enough to tell the fixed time from that of each request."""
    return bool(sizes.max() >= SPREAD * sizes.min())


def _law(sizes: Floats, counts: Floats, times_s: Floats, together: Service) -> Service:
    if _tells(sizes):
        return _fitted(sizes, counts, times_s)
    expected = together.fixed_s + together.each_s * sizes
    factor = float((counts * sizes) @ times_s) / max(float((counts * sizes) @ expected), LEAST_S)
    return together.times(factor)


def _fitted(sizes: Floats, counts: Floats, times_s: Floats) -> Service:
    weights = np.sqrt(counts) / np.maximum(times_s, LEAST_S)  # relative errors: small batches count as large ones do
    (fixed_s, each_s), _ = nnls(np.column_stack([weights, weights * sizes]), weights * times_s)
    return Service(max(float(fixed_s), LEAST_S), float(each_s))


def _way(observations: Sequence[Observation]) -> tuple[float, float]:
    """Return turnaround and handling, in seconds."""
    rows = [
        (one.place_in_batch, one.latency_s - one.queue_s - one.service_s)
        for one in observations
        if np.isfinite(one.latency_s)
    ]
    if not rows:
        return 0.0, LEAST_S
    places, rest = np.array(rows).T
    (turnaround_s, handling_s), _ = nnls(np.column_stack([np.ones(len(places)), places]), np.maximum(rest, 0.0))
    return float(turnaround_s), max(float(handling_s), LEAST_S)
