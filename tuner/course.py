"""The course of a load: waits until it has settled, and ends it when there is nothing more to learn from it."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner import steady, stopping
from tuner.load.generator import Generator
from tuner.load.plan import Plan, Rewindow
from tuner.records import latencies_s
from tuner.rows import Rows
from tuner.stopping import Aims, Decision, Pace

AHEAD_NS = 10_000_000
"""A new window is told this long before it begins or ends."""
NEARLY_ALL = 0.999
TICK_NS = 1_000_000_000


@dataclass
class Course:
    """One load that runs, from its start to its end.

    Attributes:
        generator: runs the plan.
        plan: with the longest warm-up and the longest window.
        pace: the lengths allowed.
        aims: what is to be found out; None: the pace alone decides.
        edge_s: the first moment from a given one on at which a window may begin or end, seconds from the start.
        tick: called every TICK_NS of the window, None: nothing is.
    """

    generator: Generator
    plan: Plan
    pace: Pace
    aims: Aims | None
    edge_s: Callable[[float], float]
    tick: Callable[[], None] | None = None

    def settle(self) -> int:
        """Wait for the end of the transient, or of the longest warm-up; return when the window begins."""
        for length_s in self.pace.warmups_s()[:-1]:
            self._sleep_until(self._edge_ns(length_s))
            if self._settled():
                start_ns = self._edge_ahead_ns()
                if start_ns < self.plan.window[0]:
                    self._rewindow(start_ns, start_ns + self.plan.window_ns)
                break
        self._sleep_until(self.plan.window[0])
        return self.plan.window[0]

    def finish(self) -> Decision | None:
        """Wait until the window may end; return what it was ended for, None when it took its longest length."""
        looks_s = self.pace.looks_s()
        decision: Decision | None = None
        for length_s in looks_s[:-1] if self.aims else ():
            look_ns = self._edge_ns((self.plan.window[0] - self.plan.start_ns) / 1e9 + length_s)
            if look_ns >= self.plan.window[1] - AHEAD_NS:
                break
            self._tick_until(look_ns)
            decision = self._decided(len(looks_s))
            if decision is not None:
                self._rewindow(self.plan.window[0], min(self._edge_ahead_ns(), self.plan.window[1]))
                break
        self._tick_until(self.plan.window[1])
        return decision

    def cut_short(self) -> None:
        """End the load at once: nobody wants its result any more."""
        now_ns = time.monotonic_ns()
        self._rewindow(min(self.plan.window[0], now_ns), min(self.plan.window[1], now_ns + AHEAD_NS))

    def _settled(self) -> bool:
        rows = self.generator.look()
        ordered = Rows({name: rows[name] for name in rows.dtype.names or ()}).in_order_of("intended_ns")
        return steady.transient(latencies_s(ordered)) is not None

    def _decided(self, looks: int) -> Decision | None:
        assert self.aims is not None, "without aims nobody looks"
        now_ns = time.monotonic_ns()  # before the look: what ends during it is not missed
        rows = self.generator.look()
        records = stopping.seen(rows, self.plan, self.plan.window[0], now_ns, self._settle_ns(rows))
        return stopping.decide(records, self.aims, looks)

    def _settle_ns(self, rows: NDArray[np.void]) -> int:
        """Return how long a request is waited for: until it is slow for sure, or as long as nearly all others take."""
        assert self.aims is not None, "without aims nobody looks"
        if self.aims.slow_s is not None:
            return round(self.aims.slow_s * 1e9)
        latencies = rows["done_ns"] - rows["intended_ns"]
        return int(np.quantile(latencies, NEARLY_ALL)) if len(latencies) else 0

    def _rewindow(self, start_ns: int, end_ns: int) -> None:
        window = Rewindow(start_ns, end_ns)
        self.generator.rewindow(window)
        self.plan = window.of(self.plan)

    def _edge_ns(self, after_s: float) -> int:
        return self.plan.start_ns + round(self.edge_s(after_s) * 1e9)

    def _edge_ahead_ns(self) -> int:
        return self._edge_ns((time.monotonic_ns() + AHEAD_NS - self.plan.start_ns) / 1e9)

    def _tick_until(self, at_ns: int) -> None:
        while self.tick is not None and time.monotonic_ns() + TICK_NS < at_ns:
            self._sleep_until(time.monotonic_ns() + TICK_NS)
            self.tick()
        self._sleep_until(at_ns)

    @staticmethod
    def _sleep_until(at_ns: int) -> None:
        while (left := at_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
