"""Many batching queues at once in virtual time: what each would do to this load, for a planner that asks for thousands.

The queues are those of `model.serve_batches`, with what lies around a server added: every answer passes through one
front end, which handles them one by one, an instance is held for a while by the answers of its last batch, and whatever
takes a fixed time on the way there and back. Service times are deterministic. Of queues that cannot differ under a load
only one is simulated.
"""

import heapq
import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REQUESTS = 120
"""Requests that are counted of a closed loop, at least."""
SHORTEST_S = 1e-9
FEWEST = 3
"""Round trips that are counted at least."""
ROUND_TRIPS = 2
"""Round trips of a closed loop that are not counted: it begins with all requests at once."""


@dataclass(frozen=True)
class Queues:
    """Parameters of many queues, each of shape [queues].

    Attributes:
        max_size: requests of a batch at most.
        max_delay_s: how long the oldest request may wait for its batch to fill.
        servers: batches served at once at most.
        service_s: how long a batch of b requests is served is at [queue, b], shape [queues, largest max_size + 1].
        handling_s: time of the front end for each answer; one after the other.
        turnaround_s: what a request takes beside waiting, service and handling.
        held_s: for how long each answer keeps the instance that served it from its next batch.
    """

    max_size: Ints
    max_delay_s: Floats
    servers: Ints
    service_s: Floats
    handling_s: Floats
    turnaround_s: Floats
    held_s: Floats

    def __len__(self) -> int:
        return len(self.max_size)

    def one(self, index: int, most: float) -> "_Queue":
        """Return one of them, as simple as so many waiting requests at most let it be.

        Requests that are fewer than a batch never fill it, however large it is, and a batch of one is full at once.
        """
        size = int(min(self.max_size[index], most + 1))
        delay_s = float(self.max_delay_s[index]) if size > 1 else 0.0
        covered = self.held_s[index] <= self.handling_s[index]  # each that is held has an answer on its way
        servers = int(min(self.servers[index], most) if covered else self.servers[index])
        service_s = tuple(self.service_s[index, : size + 1].tolist())
        around = (float(one[index]) for one in (self.handling_s, self.turnaround_s, self.held_s))
        return _Queue(size, delay_s, servers, service_s, *around)


def linear(fixed_s: Floats, each_s: Floats, largest: int) -> Floats:
    """Return the service times of batches that take fixed_s + each_s * b seconds, shape [queues, largest + 1]."""
    return np.asarray(fixed_s[:, None] + each_s[:, None] * np.arange(largest + 1))


@dataclass(frozen=True)
class Simulated:
    """What the queues do, each of shape [queues].

    Attributes:
        throughput_rps: answers per second.
        latencies_s: of the counted requests, shape [queues, requests], sorted; NaN after the last.
    """

    throughput_rps: Floats
    latencies_s: Floats

    def percentile(self, share: float) -> Floats:
        """Return a quantile of each queue's latencies (the smallest with at least this share at or below it)."""
        counts = np.count_nonzero(~np.isnan(self.latencies_s), axis=1)
        index = np.maximum(np.ceil(share * counts).astype(int) - 1, 0)
        return np.asarray(self.latencies_s[np.arange(len(counts)), index])

    @property
    def mean_s(self) -> Floats:
        """Mean latencies."""
        return np.asarray(np.nanmean(self.latencies_s, axis=1))


def closed_loops(queues: Queues, in_flight: Ints) -> Simulated:
    """Simulate each queue under a closed loop of its own.

    Args:
        queues: the servers.
        in_flight: requests of each loop, >= 1, shape [queues].
    """
    known: dict[tuple[_Queue, int], _Found] = {}
    found = []
    for index, count in enumerate(in_flight.tolist()):
        key = queues.one(index, count), count
        if key not in known:
            known[key] = _closed(*key)
        found.append(known[key])
    return _together(found)


def open_loop(queues: Queues, arrivals_s: Floats) -> Simulated:
    """Simulate every queue under the same arrivals.

    Args:
        queues: the servers.
        arrivals_s: sorted, shape [requests], at least one.
    """
    arrivals = arrivals_s.tolist()
    known: dict[_Queue, _Found] = {}
    found = []
    for index in range(len(queues)):
        key = queues.one(index, len(arrivals))
        if key not in known:
            known[key] = _open(key, arrivals)
        found.append(known[key])
    return _together(found)


@dataclass(frozen=True)
class _Queue:
    """One of the queues, see `Queues`; seconds of a batch of b are at service_s[b]."""

    size: int
    delay_s: float
    servers: int
    service_s: tuple[float, ...]
    handling_s: float
    turnaround_s: float
    held_s: float


_Found = tuple[float, Floats]
"""Throughput, and the latencies of the counted requests, sorted."""


def _together(found: Sequence[_Found]) -> Simulated:
    latencies = np.full((len(found), max((len(own) for _, own in found), default=0)), np.nan)
    for index, (_, own) in enumerate(found):
        latencies[index, : len(own)] = own
    return Simulated(np.array([throughput for throughput, _ in found]), latencies)


def _closed(queue: _Queue, in_flight: int) -> _Found:
    skipped = ROUND_TRIPS * in_flight
    round_trips = max(FEWEST, -(-REQUESTS // in_flight))  # whole ones: batches keep their rhythm
    wanted = skipped + round_trips * in_flight
    arrived, left = _served(queue, [0.0] * in_flight, wanted, back=True)
    return _outcome(queue, arrived, left, skipped, left[skipped - 1])


def _open(queue: _Queue, arrivals: Sequence[float]) -> _Found:
    arrived, left = _served(queue, list(arrivals), len(arrivals), back=False)
    return _outcome(queue, arrived, left, 0, arrived[0])


def _outcome(queue: _Queue, arrived: Sequence[float], left: Sequence[float], skipped: int, began_s: float) -> _Found:
    """Return what came of the requests that have left, all but the skipped ones."""
    latencies = np.array(left[skipped:]) - np.array(arrived[skipped : len(left)]) + queue.turnaround_s
    return (len(left) - skipped) / max(left[-1] - began_s, SHORTEST_S), np.sort(latencies)


def _served(queue: _Queue, arrived: list[float], wanted: int, *, back: bool) -> tuple[list[float], list[float]]:
    """Serve until so many requests have left.

    Requests are numbered in the order of their arrival, which is the order in which they are served.

    Args:
        queue: the server.
        arrived: when each request comes, in seconds, ascending.
        wanted: requests, at least one.
        back: whether each answer comes back as a request.

    Returns:
        When each request came, and when each of those wanted left the front end, in seconds.
    """
    idle, busy = [0.0] * queue.servers, list[tuple[float, int, int]]()
    left, missing, first, front_end = [math.inf] * wanted, wanted, 0, 0.0
    size, delay_s, handling_s, turnaround_s = queue.size, queue.delay_s, queue.handling_s, queue.turnaround_s
    while missing:
        start = math.inf
        if idle and first < len(arrived):
            full = first + size - 1
            ripe = arrived[first] + delay_s
            start = max(idle[0], min(ripe, arrived[full]) if full < len(arrived) else ripe)
        if busy and busy[0][0] < start:
            end, number, count = heapq.heappop(busy)
            heapq.heappush(idle, end + queue.held_s * count)
            begin = max(front_end, end)
            leaving = [begin + handling_s * place for place in range(1, count + 1)]
            front_end = leaving[-1]
            if number < wanted:
                inside = min(count, wanted - number)
                left[number : number + inside] = leaving[:inside]
                missing -= inside
            if back:
                arrived += [at + turnaround_s for at in leaving]
        else:
            count = bisect_right(arrived, start, first, min(first + size, len(arrived))) - first
            heapq.heappop(idle)
            heapq.heappush(busy, (start + queue.service_s[count], first, count))
            first += count
    return arrived, left
