"""One batching queue in virtual time that serves the most urgent of those that wait first."""

import heapq
import math
from bisect import bisect_right
from collections import deque
from collections.abc import Sequence

from targets.simulated.queue import Queue


def served(
    queue: Queue, levels: Sequence[int], arrived: list[float], wanted: int, *, back: bool
) -> tuple[list[int], list[float]]:
    """Serve until so many requests have left.

    A batch begins when those that wait fill it, of whatever level, or when the one that came first has waited for the
    delay. It takes those of the lowest level, within a level in the order of their arrival. What is served already is
    not interrupted. So does Triton (`PriorityQueue` in scheduler_utils.cc of triton-inference-server/core).

    Args:
        queue: the server.
        levels: of each request in the order of arrival, from 0; more than these have them from the start again.
        arrived: when each request comes, in seconds, ascending; with `back` those that come back are added.
        wanted: requests, at least one.
        back: whether each answer comes back as a request.

    Returns:
        Numbers of the requests in the order in which they left, and when each left the front end, in seconds.
    """
    idle, busy = [0.0] * queue.servers, list[tuple[float, int, list[int]]]()
    waiting = [deque[int]() for _ in range(max(levels) + 1)]
    numbers, left = list[int](), list[float]()
    came, taken, now, front_end = 0, 0, 0.0, 0.0
    size, delay_s, handling_s, turnaround_s = queue.size, queue.delay_s, queue.handling_s, queue.turnaround_s
    while len(left) < wanted:
        start = math.inf
        if idle and taken < len(arrived):
            start, full = max(now, idle[0]), taken + size - 1
            if came <= full:  # those that wait do not fill a batch yet
                ripe = arrived[_oldest(waiting) if came > taken else came] + delay_s
                start = max(start, min(ripe, arrived[full]) if full < len(arrived) else ripe)
        if busy and busy[0][0] < start:
            end, _, members = heapq.heappop(busy)
            count = len(members)
            heapq.heappush(idle, end + queue.held_s * count)
            begin = max(front_end, end)
            leaving = [begin + handling_s * place for place in range(1, count + 1)]
            front_end = leaving[-1]
            numbers += members
            left += leaving
            if back:
                arrived += [at + turnaround_s for at in leaving]
        else:
            now = start
            until = bisect_right(arrived, now, came)
            for number in range(came, until):
                waiting[levels[number % len(levels)]].append(number)
            members = _taken(waiting, size)
            heapq.heappop(idle)
            heapq.heappush(busy, (now + queue.service_s[len(members)], taken, members))
            came, taken = until, taken + len(members)
    return numbers[:wanted], left[:wanted]


def _oldest(waiting: Sequence[deque[int]]) -> int:
    """Return which request came first of those that wait."""
    return min([one[0] for one in waiting if one])


def _taken(waiting: Sequence[deque[int]], size: int) -> list[int]:
    """Take so many at most out of the queues of the levels."""
    members: list[int] = []
    for one in waiting:
        while one and len(members) < size:
            members.append(one.popleft())
    return members
