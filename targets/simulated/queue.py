"""One batching queue in virtual time that serves in the order of arrival, with what lies around its server."""

import heapq
import math
from bisect import bisect_right
from dataclasses import dataclass


@dataclass(frozen=True)
class Queue:
    """One queue, see `many.Queues`; seconds of a batch of b are at service_s[b]."""

    size: int
    delay_s: float
    servers: int
    service_s: tuple[float, ...]
    handling_s: float
    turnaround_s: float
    held_s: float


def served(queue: Queue, arrived: list[float], wanted: int, *, back: bool) -> tuple[list[float], list[float]]:
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
