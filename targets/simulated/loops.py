"""One queue under a closed loop or under given arrivals: how many answers a second, and how late they are."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from targets.simulated import priorities
from targets.simulated.queue import Queue, served

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

REQUESTS = 120
"""Requests that are counted of a closed loop, at least; with several levels so many of each."""
ON_LEVEL = 60
"""Requests that are counted of each level of a queue that has several."""
MOST_SKIPPED, MOST_COUNTED = 1000, 600
"""Requests that are not counted, and that are, of a closed loop with several levels, at most."""
SHORTEST_S = 1e-9
FEW = 0.5
"""Answers on a level that had none: what is never seen may be."""
FEWEST = 3
"""Round trips that are counted at least."""
ROUND_TRIPS = 2
"""Round trips of a closed loop that are not counted: it begins with all requests at once."""


@dataclass(frozen=True, eq=False)
class Levels:
    """The levels of a queue that requests are told apart by.

    Attributes:
        of_classes: level of each class, from 0.
        order: level of each request in the order in which they are sent.
        shares: of the requests on each level, in the long run.
    """

    of_classes: tuple[int, ...]
    order: Ints
    shares: list[float]

    @cached_property
    def listed(self) -> list[int]:
        """The order as a list, which is faster one by one."""
        return list(map(int, self.order))


@dataclass(frozen=True)
class Found:
    """What one queue does.

    Attributes:
        throughput_rps: answers per second.
        latencies_s: of the counted requests, sorted.
        levels: of the queue, None where it has one.
        on_levels_s: the latencies on each of them, sorted.
        answered: share of the requests on each of them that was answered while others came.
    """

    throughput_rps: float
    latencies_s: Floats
    levels: Levels | None = None
    on_levels_s: tuple[Floats, ...] = ()
    answered: tuple[float, ...] = ()

    def among(self, in_flight: int, simulated: int) -> "Found":
        """Return the same with more requests in flight than were simulated: they wait on the last level."""
        if in_flight == simulated:
            return self
        if self.levels is None:
            return replace(self, latencies_s=self.latencies_s * (in_flight / simulated))
        *others, last = self.on_levels_s
        on_levels_s = *others, last + (in_flight - simulated) / (self.throughput_rps * self.levels.shares[-1])
        return replace(self, latencies_s=np.sort(np.concatenate(on_levels_s)), on_levels_s=on_levels_s)

    def of_class(self, index: int, share: float) -> "Found":
        """Return what it does for a class with this share of the requests; of one level all are alike."""
        if self.levels is None:
            return Found(self.throughput_rps * share, self.latencies_s)
        level = self.levels.of_classes[index]
        own = self.on_levels_s[level]
        answered = self.answered[level] / float(np.dot(self.answered, self.levels.shares))
        return Found(self.throughput_rps * share * answered, own if len(own) else self.latencies_s)


def closed(queue: Queue, in_flight: int, levels: Levels | None) -> Found:
    """Simulate a closed loop.

    Args:
        queue: the server.
        in_flight: requests of the loop, >= 1.
        levels: of the queue, None where it has one.
    """
    if levels is not None:
        return _closed_on_levels(queue, in_flight, levels)
    skipped = ROUND_TRIPS * in_flight
    round_trips = max(FEWEST, -(-REQUESTS // in_flight))  # whole ones: batches keep their rhythm
    wanted = skipped + round_trips * in_flight
    arrived, left = served(queue, [0.0] * in_flight, wanted, back=True)
    return _outcome(queue, arrived, left, skipped, left[skipped - 1])


def _closed_on_levels(queue: Queue, in_flight: int, levels: Levels) -> Found:
    """Simulate a closed loop that begins with all its requests on the last level, where they gather in the end.

    They leave it at that level's share of the throughput: only after that many answers are all latencies as they stay.
    """
    last = len(levels.shares) - 1
    skipped = min(math.ceil(in_flight / levels.shares[last]) + in_flight, MOST_SKIPPED)
    counted = min(max(math.ceil(ON_LEVEL / min(levels.shares)), FEWEST * in_flight), MOST_COUNTED)
    arrived, listed = [0.0] * in_flight, [last] * in_flight + levels.listed
    numbers, left = priorities.served(queue, listed, arrived, skipped + counted, back=True)
    throughput_rps = counted / max(left[-1] - left[skipped - 1], SHORTEST_S)
    order = np.concatenate([np.full(in_flight, last), levels.order])
    latencies = np.array(left) - np.array(arrived)[numbers] + queue.turnaround_s
    on_levels_s = _by_level(latencies[skipped:], order[np.array(numbers) % len(order)][skipped:], levels)
    return Found(throughput_rps, np.sort(latencies[skipped:]), levels, on_levels_s, (1.0,) * len(levels.shares))


def opened(queue: Queue, levels: Levels | None, arrivals: Sequence[float]) -> Found:
    """Simulate an open loop.

    Args:
        queue: the server.
        levels: of the queue, None where it has one.
        arrivals: when requests come, in seconds, ascending, at least one.
    """
    if levels is not None:
        return _open_on_levels(queue, levels, arrivals)
    arrived, left = served(queue, list(arrivals), len(arrivals), back=False)
    return _outcome(queue, arrived, left, 0, arrived[0])


def _open_on_levels(queue: Queue, levels: Levels, arrivals: Sequence[float]) -> Found:
    """Simulate an open loop; under an overload what the server can do goes to the first levels while requests come."""
    numbers, left = priorities.served(queue, levels.listed, list(arrivals), len(arrivals), back=False)
    throughput_rps = len(left) / max(left[-1] - arrivals[0], SHORTEST_S)
    latencies = np.array(left) - np.array(arrivals)[numbers] + queue.turnaround_s
    of_requests = levels.order[np.array(numbers) % len(levels.order)]
    count = len(levels.shares)
    in_time = np.bincount(of_requests[: bisect_right(left, arrivals[-1])], minlength=count)
    some = np.maximum(in_time, FEW) / np.maximum(np.bincount(of_requests, minlength=count), FEW)
    answered = some if in_time.any() else np.ones(count)  # all come at once
    on_levels_s = _by_level(latencies, of_requests, levels)
    return Found(throughput_rps, np.sort(latencies), levels, on_levels_s, tuple(answered.tolist()))


def _outcome(queue: Queue, arrived: Sequence[float], left: Sequence[float], skipped: int, began_s: float) -> Found:
    """Return what came of the requests that have left, all but the skipped ones."""
    latencies = np.array(left[skipped:]) - np.array(arrived[skipped : len(left)]) + queue.turnaround_s
    return Found((len(left) - skipped) / max(left[-1] - began_s, SHORTEST_S), np.sort(latencies))


def _by_level(latencies: Floats, of_requests: Ints, levels: Levels) -> tuple[Floats, ...]:
    """Return the latencies of the requests on each level, sorted."""
    return tuple(np.sort(latencies[of_requests == level]) for level in range(len(levels.shares)))
