"""A queue in virtual time: what a server that works like this does to these arrivals, exactly.

Two queues, both first come, first served, with one or several servers: one that serves requests one by one, and one
that serves them in batches. They are pure arithmetic over arrays, so a test can know the right answer.
"""

import heapq
import math
from bisect import bisect_right
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Served:
    """When each request was served, in the order of arrival.

    Attributes:
        start_s: when its service (or that of its batch) began, shape [n], seconds.
        done_s: when it ended, shape [n], seconds.
        batch: how many requests were served with it, shape [n]; 1 without batching.
    """

    start_s: Times
    done_s: Times
    batch: NDArray[np.int64]


@dataclass(frozen=True)
class Service:
    """Independent service times.

    Attributes:
        kind: `deterministic`, `exponential` or `lognormal`.
        mean_s: mean, seconds.
        cv: coefficient of variation of the log-normal; the others have 0 and 1 by nature.
    """

    kind: str
    mean_s: float
    cv: float = 1.0

    def __post_init__(self) -> None:
        if self.kind not in ("deterministic", "exponential", "lognormal"):
            raise ValueError(f"service is deterministic, exponential or lognormal, but got {self.kind!r}.")
        if self.mean_s <= 0 or self.cv <= 0:
            raise ValueError(f"`mean_s > 0` and `cv > 0` must hold, but got ({self.mean_s=}, {self.cv=}).")

    def draw(self, n: int, rng: np.random.Generator) -> Times:
        """Draw n service times in seconds, shape [n]."""
        if self.kind == "deterministic":
            return np.full(n, self.mean_s)
        if self.kind == "exponential":
            return rng.exponential(self.mean_s, n)
        variance = math.log1p(self.cv**2)
        return rng.lognormal(math.log(self.mean_s) - variance / 2, math.sqrt(variance), n)


@dataclass(frozen=True)
class Batching:
    """How a server that batches works.

    A free server takes what waits as soon as `max_size` requests wait, or the oldest has waited `max_delay_s`.

    Attributes:
        max_size: requests of a batch at most.
        max_delay_s: how long the oldest request may wait for its batch to fill.
        fixed_s, each_s: a batch of b requests is served in fixed_s + each_s * b seconds.
    """

    max_size: int
    max_delay_s: float
    fixed_s: float
    each_s: float

    def __post_init__(self) -> None:
        if self.max_size < 1 or min(self.max_delay_s, self.fixed_s, self.each_s) < 0:
            raise ValueError(f"`max_size >= 1` and no negative time must hold, but got {self}.")

    def service_s(self, size: int) -> float:
        """Return the service time of a batch, in seconds."""
        return self.fixed_s + self.each_s * size


def serve(arrivals_s: Times, services_s: Times, servers: int = 1) -> Served:
    """Serve requests one by one: each by the server that is free first.

    With one server done_n = max(arrival_n, done_(n-1)) + service_n (Lindley, 1952), as running maxima and sums.

    Args:
        arrivals_s: sorted, shape [n], seconds.
        services_s: service time of each request, shape [n], seconds.
        servers: how many, >= 1.
    """
    if arrivals_s.shape != services_s.shape or servers < 1:
        raise ValueError(f"as many services as arrivals, by a server at least, but got {servers=}, {services_s.shape}.")
    done = _one_server(arrivals_s, services_s) if servers == 1 else _several_servers(arrivals_s, services_s, servers)
    return Served(done - services_s, done, np.ones(len(done), np.int64))


def serve_batches(arrivals_s: Times, batching: Batching, servers: int = 1) -> Served:
    """Serve requests in batches.

    Args:
        arrivals_s: sorted, shape [n], seconds.
        batching: when a batch begins and how long it takes.
        servers: batches served at once at most, >= 1.
    """
    if servers < 1:
        raise ValueError(f"`servers >= 1` must hold, but got {servers}.")
    arrivals = arrivals_s.tolist()
    n, first = len(arrivals), 0
    free = [-math.inf] * servers
    starts, sizes = [], []
    times = [batching.service_s(size) for size in range(batching.max_size + 1)]
    while first < n:
        full = first + batching.max_size - 1
        ripe = arrivals[first] + batching.max_delay_s
        begin = max(free[0], min(ripe, arrivals[full]) if full < n else ripe)
        size = min(bisect_right(arrivals, begin, first, min(n, full + 1)) - first, batching.max_size)
        heapq.heapreplace(free, begin + times[size])
        starts.append(begin)
        sizes.append(size)
        first += size
    batch = np.repeat(sizes, sizes) if sizes else np.empty(0, np.int64)
    start = np.repeat(starts, sizes) if sizes else np.empty(0)
    return Served(start, start + np.asarray(times)[batch] if len(batch) else start, batch)


def _one_server(arrivals_s: Times, services_s: Times) -> Times:
    work = np.cumsum(services_s)
    done: Times = work + np.maximum.accumulate(arrivals_s - (work - services_s))
    return done


def _several_servers(arrivals_s: Times, services_s: Times, servers: int) -> Times:
    free = [-math.inf] * servers
    done = []
    for arrival, service in zip(arrivals_s.tolist(), services_s.tolist(), strict=True):
        end = max(arrival, free[0]) + service
        heapq.heapreplace(free, end)
        done.append(end)
    return np.array(done, float)
