"""Many batching queues at once in virtual time: what each would do to this load, for a planner that asks for thousands.

The queues are those of `model.serve_batches`, with what lies around a server added: every answer passes through one
front end, which handles them one by one, and whatever takes a fixed time on the way there and back. Service times are
deterministic. All queues of one batch size take their steps together, as columns of arrays.
"""

from dataclasses import dataclass, fields

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
    """

    max_size: Ints
    max_delay_s: Floats
    servers: Ints
    service_s: Floats
    handling_s: Floats
    turnaround_s: Floats

    def __len__(self) -> int:
        return len(self.max_size)

    def take(self, chosen: NDArray[np.int64]) -> "Queues":
        """Return some of them."""
        return Queues(**{field.name: getattr(self, field.name)[chosen] for field in fields(self)})


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
    return _together(queues, in_flight, None)


def open_loop(queues: Queues, arrivals_s: Floats) -> Simulated:
    """Simulate every queue under the same arrivals.

    Args:
        queues: the servers.
        arrivals_s: sorted, shape [requests], at least one.
    """
    return _together(queues, None, arrivals_s)


def _together(queues: Queues, in_flight: Ints | None, arrivals_s: Floats | None) -> Simulated:
    """Simulate queue by queue of one batch size, each such group together."""
    throughput = np.zeros(len(queues))
    found: list[tuple[NDArray[np.int64], Floats]] = []
    for size in np.unique(queues.max_size):
        chosen = np.flatnonzero(queues.max_size == size)
        group = _Group(queues.take(chosen), None if in_flight is None else in_flight[chosen], arrivals_s, int(size))
        group.run()
        throughput[chosen], latencies = group.outcome()
        found.append((chosen, latencies))
    widest = max((latencies.shape[1] for _, latencies in found), default=0)
    together = np.full((len(queues), widest), np.nan)
    for chosen, latencies in found:
        together[chosen, : latencies.shape[1]] = latencies
    return Simulated(throughput, np.sort(together, axis=1))


class _Group:
    """Queues of one batch size, at a moment of their own each.

    Requests are numbered in the order of their arrival, which is the order in which they are served.
    """

    def __init__(self, queues: Queues, in_flight: Ints | None, arrivals_s: Floats | None, size: int) -> None:
        count = len(queues)
        self._queues, self._loop, self._size = queues, in_flight, size
        self._rows = np.arange(count)
        if in_flight is None:
            assert arrivals_s is not None, "an open loop has arrivals"
            self._counted_from = np.zeros(count, np.int64)
            self._wanted = np.full(count, len(arrivals_s))
        else:
            self._counted_from = ROUND_TRIPS * in_flight
            round_trips = np.maximum(FEWEST, -(-REQUESTS // in_flight))  # whole ones: batches keep their rhythm
            self._wanted = self._counted_from + round_trips * in_flight
        # Several servers end their batches out of order: the last ones wanted may come after so many others.
        self._until = self._wanted if in_flight is None else self._wanted + queues.servers * size
        width = int(self._until.max()) + 2 * size + (int(in_flight.max()) if in_flight is not None else 0) + 1
        self._arrived = np.full((count, width), np.inf)
        self._left = np.full((count, width), np.nan)
        if in_flight is None:
            assert arrivals_s is not None
            self._arrived[:, : len(arrivals_s)] = arrivals_s
            self._known = np.full(count, len(arrivals_s))
        else:
            self._arrived[np.arange(width)[None, :] < in_flight[:, None]] = 0.0
            self._known = in_flight.copy()
        most = int(queues.servers.max())
        self._ends = np.full((count, most), np.inf)
        self._idle_since = np.where(np.arange(most)[None, :] < queues.servers[:, None], 0.0, np.inf)
        self._first = np.zeros((count, most), np.int64)
        self._sizes = np.zeros((count, most), np.int64)
        self._next = np.zeros(count, np.int64)
        self._answered = np.zeros(count, np.int64)
        self._front_end = np.zeros(count)
        self._columns = np.arange(size)

    def run(self) -> None:
        """Take steps until every queue has answered what is wanted of it."""
        while True:
            active = self._answered < self._until
            if not active.any():
                break
            starts, idle = self._next_start()
            ending = self._ends.argmin(axis=1)
            ends = self._ends[self._rows, ending]
            starting = active & (starts <= ends) & np.isfinite(starts)
            self._start(np.flatnonzero(starting), idle, starts)
            self._finish(np.flatnonzero(active & ~starting), ending, back=self._loop is not None)
        while (busy := np.isfinite(self._ends).any(axis=1)).any():  # what is in service still ends
            self._finish(np.flatnonzero(busy), self._ends.argmin(axis=1), back=False)

    def outcome(self) -> tuple[Floats, Floats]:
        """Return throughput, shape [queues], and latencies of the counted requests, NaN elsewhere."""
        columns = np.arange(self._left.shape[1])[None, :]
        counted = (columns >= self._counted_from[:, None]) & (columns < self._wanted[:, None])
        latencies = np.where(counted, self._left - self._arrived + self._queues.turnaround_s[:, None], np.nan)
        last = self._left[self._rows, self._wanted - 1]
        if self._loop is None:
            began, number = self._arrived[:, 0], self._wanted
        else:
            began, number = self._left[self._rows, self._counted_from - 1], self._wanted - self._counted_from
        return number / np.maximum(last - began, SHORTEST_S), latencies

    def _next_start(self) -> tuple[Floats, NDArray[np.int64]]:
        """Return when each queue's next batch may begin, inf where it may not yet, and on which server."""
        idle = self._idle_since.argmin(axis=1)
        oldest = self._arrived[self._rows, self._next]
        full = self._arrived[self._rows, self._next + self._size - 1]
        ripe = np.minimum(oldest + self._queues.max_delay_s, full)
        return np.maximum(self._idle_since[self._rows, idle], ripe), idle

    def _start(self, rows: NDArray[np.int64], idle: NDArray[np.int64], starts: Floats) -> None:
        if not len(rows):
            return
        first, begin, server = self._next[rows], starts[rows], idle[rows]
        waiting = self._arrived[rows[:, None], first[:, None] + self._columns]
        sizes = np.count_nonzero(waiting <= begin[:, None], axis=1)
        self._first[rows, server], self._sizes[rows, server] = first, sizes
        service = self._queues.service_s[rows, sizes]
        self._ends[rows, server] = begin + service
        self._idle_since[rows, server] = np.inf
        self._next[rows] = first + sizes

    def _finish(self, rows: NDArray[np.int64], ending: NDArray[np.int64], *, back: bool) -> None:
        """Let each queue's next batch end: its answers leave one by one, and may come back as requests."""
        if not len(rows):
            return
        server = ending[rows]
        first, sizes, end = self._first[rows, server], self._sizes[rows, server], self._ends[rows, server]
        handling = self._queues.handling_s[rows]
        begin = np.maximum(self._front_end[rows], end)
        leaving = begin[:, None] + handling[:, None] * (self._columns + 1)
        mine = self._columns < sizes[:, None]
        row, column = np.nonzero(mine)
        self._left[rows[row], first[row] + column] = leaving[row, column]
        self._front_end[rows] = begin + handling * sizes
        self._idle_since[rows, server], self._ends[rows, server] = end, np.inf
        self._answered[rows] += sizes
        if back:
            arriving = leaving[row, column] + self._queues.turnaround_s[rows][row]
            self._arrived[rows[row], self._known[rows][row] + column] = arriving
            self._known[rows] += sizes
