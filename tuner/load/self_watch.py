"""The engine's watch over itself: its CPU time, its stalls, its queues."""

import time
from collections import deque
from typing import NamedTuple

from tuner.load.kept import held_back_ns, statistics_of_groups, waited_ns
from tuner.load.plan import STALL_NS

_NEVER = 1 << 63


class _Reading(NamedTuple):
    """What the clocks said at an edge of the window, all in ns."""

    wall: int
    cpu: int
    waited: int
    held_back: int


class SelfWatch:
    """What the engine knows of itself.

    Args:
        window: start and end of the measuring window, monotonic ns.

    Attributes:
        next_edge: the edge of the window that comes next, monotonic ns.
        stalls: times, in the window, that the sockets were not looked at for over STALL_NS.
        longest_ns: the longest such time.
        queue_max: most requests found due and not yet sent at one look at the clock.
        waiting_max: most requests that waited for a connection at once.
        spare_s: how long before the start of the load all was ready for it; negative: after it.
    """

    def __init__(self, window: tuple[int, int]) -> None:
        self._edges = deque(window)
        self._readings: list[_Reading] = []
        self._groups = statistics_of_groups()
        self.next_edge = self._edges[0]
        self._in_window = False
        self.stalls = self.longest_ns = self.queue_max = self.waiting_max = 0
        self.spare_s = 0.0

    def ready(self, start_ns: int) -> None:
        """Take note that all is ready for a load that starts at a time."""
        self.spare_s = (start_ns - time.monotonic_ns()) / 1e9

    def rewindow(self, window: tuple[int, int]) -> None:
        """Take another window; edges that were passed stay where they were read."""
        self._edges = deque(window[len(self._readings) :])
        self.next_edge = self._edges[0] if self._edges else _NEVER

    def at_edge(self, now: int) -> None:
        """Read the clocks of this process at the first look at the time after either edge of the window."""
        self._readings.append(_Reading(now, time.process_time_ns(), waited_ns(), held_back_ns(self._groups)))
        self._edges.popleft()
        self.next_edge = self._edges[0] if self._edges else _NEVER
        self._in_window = bool(self._edges)

    def busy(self, duration_ns: int) -> None:
        """Take note of how long the sockets were not looked at."""
        if self._in_window and duration_ns > self.longest_ns:
            self.longest_ns = duration_ns
        if self._in_window and duration_ns > STALL_NS:
            self.stalls += 1

    def cpu_share(self) -> float:
        """Return the CPU time of this process over the window, in cores."""
        return self._share("cpu")

    def kept_share(self) -> float:
        """Return for which share of the window it had something to do and no CPU."""
        return self._share("waited")

    def held_back_share(self) -> float:
        """Return for which share of the window a limit of its control groups held it back; with several CPUs over 1."""
        return self._share("held_back")

    def _share(self, name: str) -> float:
        if len(self._readings) == 1:  # the last answer came before the window's end
            self.at_edge(time.monotonic_ns())
        if len(self._readings) < 2:
            return 0.0
        before, after = self._readings
        used: int = getattr(after, name) - getattr(before, name)
        return used / max(1, after.wall - before.wall)
