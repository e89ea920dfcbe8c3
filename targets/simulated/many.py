"""Many batching queues at once in virtual time: what each would do to this load, for a planner that asks for thousands.

The queues are those of `model.serve_batches`, with what lies around a server added: every answer passes through one
front end, which handles them one by one, an instance is held for a while by the answers of its last batch, and whatever
takes a fixed time on the way there and back. Service times are deterministic. Of queues that cannot differ under a load
only one is simulated. Where classes of requests wait in several levels of a queue, the lowest level is served first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from targets.simulated.loops import Found, Levels, closed, opened
from targets.simulated.queue import Queue

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


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

    def one(self, index: int, most: float) -> Queue:
        """Return one of them, as simple as so many waiting requests at most let it be.

        Requests that are fewer than a batch never fill it, however large it is, and a batch of one is full at once.
        """
        size = int(min(self.max_size[index], most + 1))
        delay_s = float(self.max_delay_s[index]) if size > 1 else 0.0
        covered = self.held_s[index] <= self.handling_s[index]  # each that is held has an answer on its way
        servers = int(min(self.servers[index], most) if covered else self.servers[index])
        service_s = tuple(self.service_s[index, : size + 1].tolist())
        around = (float(one[index]) for one in (self.handling_s, self.turnaround_s, self.held_s))
        return Queue(size, delay_s, servers, service_s, *around)


def linear(fixed_s: Floats, each_s: Floats, largest: int) -> Floats:
    """Return the service times of batches that take fixed_s + each_s * b seconds, shape [queues, largest + 1]."""
    return np.asarray(fixed_s[:, None] + each_s[:, None] * np.arange(largest + 1))


@dataclass(frozen=True)
class Classes:
    """Classes of requests that share a queue.

    Attributes:
        order: class of each request in the order in which they are sent, from 0, shape [requests]; a closed loop that
            sends more takes it from the start again.
        shares: of the requests that are of each class, in the long run, shape [classes]; their sum is 1.
        levels: level of each queue that each class waits in, the lowest is served first, shape [queues, classes].
    """

    order: Ints
    shares: Floats
    levels: Ints


@dataclass(frozen=True)
class Simulated:
    """What the queues do, each of shape [queues].

    Attributes:
        throughput_rps: answers per second.
        latencies_s: of the counted requests, shape [queues, requests], sorted; NaN after the last.
        classes: the same of each class of the requests, () where they are of none.
    """

    throughput_rps: Floats
    latencies_s: Floats
    classes: tuple["Simulated", ...] = ()

    def percentile(self, share: float) -> Floats:
        """Return a quantile of each queue's latencies (the smallest with at least this share at or below it)."""
        counts = np.count_nonzero(~np.isnan(self.latencies_s), axis=1)
        index = np.maximum(np.ceil(share * counts).astype(int) - 1, 0)
        return np.asarray(self.latencies_s[np.arange(len(counts)), index])

    @property
    def mean_s(self) -> Floats:
        """Mean latencies."""
        return np.asarray(np.nanmean(self.latencies_s, axis=1))


def closed_loops(
    queues: Queues, in_flight: Ints, classes: Classes | None = None, most: Ints | None = None
) -> Simulated:
    """Simulate each queue under a closed loop of its own.

    Args:
        queues: the servers.
        in_flight: requests of each loop, >= 1, shape [queues].
        classes: of the requests, None: they are of none.
        most: requests of each loop that are simulated at most, shape [queues]: so many keep the server busy, and what
            is more waits in the queue, on its last level, at the same throughput (Little, 1961). None: all are.
    """
    known: dict[tuple[Queue, int, Levels | None], Found] = {}
    found = []
    simulated = in_flight if most is None else np.minimum(in_flight, most)
    for index, (count, levels) in enumerate(zip(simulated.tolist(), _levels(len(queues), classes), strict=True)):
        key = queues.one(index, count), count, levels
        if key not in known:
            known[key] = closed(*key)
        found.append(known[key].among(int(in_flight[index]), count))
    return _together(found, classes)


def open_loop(queues: Queues, arrivals_s: Floats, classes: Classes | None = None) -> Simulated:
    """Simulate every queue under the same arrivals.

    Args:
        queues: the servers.
        arrivals_s: sorted, shape [requests], at least one.
        classes: of the requests, None: they are of none.
    """
    arrivals = arrivals_s.tolist()
    known: dict[tuple[Queue, Levels | None], Found] = {}
    found = []
    for index, levels in enumerate(_levels(len(queues), classes)):
        key = queues.one(index, len(arrivals)), levels
        if key not in known:
            known[key] = opened(*key, arrivals)
        found.append(known[key])
    return _together(found, classes)


def _levels(count: int, classes: Classes | None) -> list[Levels | None]:
    """Return the levels of each of so many queues, the same ones where they are alike."""
    if classes is None:
        return [None] * count
    known: dict[tuple[int, ...], Levels | None] = {}
    found = []
    for given in classes.levels.tolist():
        distinct = sorted(set(given))
        of_classes = tuple(map(distinct.index, given))
        if of_classes not in known:
            order = np.array(of_classes)[classes.order]
            shares = np.bincount(of_classes, classes.shares).tolist()
            known[of_classes] = Levels(of_classes, order, shares) if len(distinct) > 1 else None
        found.append(known[of_classes])
    return found


def _together(found: Sequence[Found], classes: Classes | None) -> Simulated:
    shares = () if classes is None else classes.shares.tolist()
    of_classes = ([one.of_class(index, share) for one in found] for index, share in enumerate(shares))
    whole = _padded(found)
    return Simulated(whole.throughput_rps, whole.latencies_s, tuple(map(_padded, of_classes)))


def _padded(found: Sequence[Found]) -> Simulated:
    latencies = np.full((len(found), max((len(one.latencies_s) for one in found), default=0)), np.nan)
    for index, one in enumerate(found):
        latencies[index, : len(one.latencies_s)] = one.latencies_s
    return Simulated(np.array([one.throughput_rps for one in found]), latencies)
