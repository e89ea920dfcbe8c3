"""The course of a load, or of several: waits until it has settled, and ends it when nothing more is to be learnt."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tuner import steady, stopping
from tuner.load.generator import LoadGenerator
from tuner.load.plan import Plan, Rewindow, UsersLoop
from tuner.records import Records, latencies_s
from tuner.results import Ending
from tuner.rows import Rows
from tuner.stopping import Aims, Decision, Pace

AHEAD_NS = 10_000_000
"""A new window is told this long before it begins or ends."""
NEARLY_ALL = 0.999
TICK_NS = 1_000_000_000
LOST: tuple[Ending, ...] = ("missed", "dominated")
"""Decisions that are as good as one on the whole configuration."""


@dataclass
class Lane:
    """One load that runs: alone, or beside others that have the same warm-up and window.

    Attributes:
        generator: runs the plan.
        plan: with the longest warm-up and the longest window.
        aims: what is to be found out; None: the pace alone decides.
    """

    generator: LoadGenerator
    plan: Plan
    aims: Aims | None

    def settled(self) -> bool:
        """Whether its transient is over."""
        rows = self.generator.look()
        ordered = Rows({name: rows[name] for name in rows.dtype.names or ()}).in_order_of("intended_ns")
        return steady.transient(latencies_s(ordered)) is not None

    def decided(self, looks: int) -> Decision | None:
        """Return why it may end now, see `stopping.decide`; None too where nobody knows what is on its way."""
        found = self._seen()
        return found and stopping.decide(found[1], found[0], looks)

    def given_up(self, looks: int, ending: Ending) -> Decision | None:
        """Return what is certain of it now that another one ends the window of both; None: it goes on."""
        found = self._seen()
        return found and stopping.cut(found[1], found[0], looks, ending)

    def rewindow(self, window: Rewindow) -> None:
        """Give it another window."""
        self.generator.rewindow(window)
        self.plan = window.of(self.plan)

    def _seen(self) -> tuple[Aims, Records] | None:
        assert self.aims is not None, "without aims nobody looks"
        now_ns = time.monotonic_ns()  # before the look: what ends during it is not missed
        open_ns = self.generator.on_their_way()
        if open_ns is None and isinstance(self.plan.load, UsersLoop):
            return None
        rows = self.generator.look()
        settle_ns = self._settle_ns(rows, self.aims)
        return self.aims, stopping.seen(rows, self.plan, self.plan.window[0], now_ns, settle_ns, open_ns)

    @staticmethod
    def _settle_ns(rows: NDArray[np.void], aims: Aims) -> int:
        """Return how long a request is waited for: until it is slow for sure, or as long as nearly all others take."""
        if aims.slow_s is not None:
            return round(aims.slow_s * 1e9)
        latencies = rows["done_ns"] - rows["intended_ns"]
        return int(np.quantile(latencies, NEARLY_ALL)) if len(latencies) else 0


@dataclass
class Course:
    """One load, or several at once, from the start to the end: all settle, are counted, and end together.

    Attributes:
        lanes: the loads; their plans have one start, one warm-up and one window.
        pace: the lengths allowed.
        edge_s: the first moment from a given one on at which a window may begin or end, seconds from the start.
        tick: called every TICK_NS of the window, None: nothing is.
    """

    lanes: Sequence[Lane]
    pace: Pace
    edge_s: Callable[[float], float]
    tick: Callable[[], None] | None = None

    @property
    def ahead_ns(self) -> int:
        """How long before its edge a new window is told: longer where that goes to other machines."""
        return AHEAD_NS + max(lane.generator.ahead_ns for lane in self.lanes)

    @property
    def plan(self) -> Plan:
        """The first load's plan: of start, warm-up and window it says what holds for all."""
        return self.lanes[0].plan

    def settle(self) -> int:
        """Wait for the end of all transients, or of the longest warm-up; return when the window begins."""
        for length_s in self.pace.warmups_s()[:-1]:
            self._sleep_until(self._edge_ns(length_s))
            if all(lane.settled() for lane in self.lanes):
                start_ns = self._edge_ahead_ns()
                if start_ns < self.plan.window[0]:
                    self._rewindow(start_ns, start_ns + self.plan.window_ns)
                break
        self._sleep_until(self.plan.window[0])
        return self.plan.window[0]

    def finish(self) -> list[Decision | None]:
        """Wait until the window may end; return for each load what it was ended for, None: it took its longest length.

        The window of several ends when there is a decision on each, or when one of them has lost: a configuration that
        misses an SLO of one workload, or is dominated, is measured no further on the others.
        """
        looks_s = self.pace.looks_s()
        decisions: list[Decision | None] = [None] * len(self.lanes)
        for length_s in looks_s[:-1] if all(lane.aims for lane in self.lanes) else ():
            look_ns = self._edge_ns((self.plan.window[0] - self.plan.start_ns) / 1e9 + length_s)
            if look_ns >= self.plan.window[1] - self.ahead_ns:
                break
            self._tick_until(look_ns)
            decisions = self._look(decisions, len(looks_s))
            if None not in decisions:
                self._rewindow(self.plan.window[0], min(self._edge_ahead_ns(), self.plan.window[1]))
                break
        self._tick_until(self.plan.window[1])
        # What was decided of one while the others went on is asked again of the whole window.
        return decisions if None not in decisions else [None] * len(decisions)

    def _look(self, before: Sequence[Decision | None], looks: int) -> list[Decision | None]:
        """Look at every load once: what was decided stays so; when one has lost, the others are given up."""
        found = [earlier or lane.decided(looks) for earlier, lane in zip(before, self.lanes, strict=True)]
        lost = next((one.ending for one in found if one is not None and one.ending in LOST), None)
        if lost is None:
            return found
        return [one or lane.given_up(looks, lost) for one, lane in zip(found, self.lanes, strict=True)]

    def cut_short(self) -> None:
        """End the load at once: nobody wants its result any more."""
        now_ns = time.monotonic_ns()
        self._rewindow(min(self.plan.window[0], now_ns), min(self.plan.window[1], now_ns + self.ahead_ns))

    def _rewindow(self, start_ns: int, end_ns: int) -> None:
        for lane in self.lanes:
            lane.rewindow(Rewindow(start_ns, end_ns))

    def _edge_ns(self, after_s: float) -> int:
        return self.plan.start_ns + round(self.edge_s(after_s) * 1e9)

    def _edge_ahead_ns(self) -> int:
        return self._edge_ns((time.monotonic_ns() + self.ahead_ns - self.plan.start_ns) / 1e9)

    def _tick_until(self, at_ns: int) -> None:
        while self.tick is not None and time.monotonic_ns() + TICK_NS < at_ns:
            self._sleep_until(time.monotonic_ns() + TICK_NS)
            self.tick()
        self._sleep_until(at_ns)

    @staticmethod
    def _sleep_until(at_ns: int) -> None:
        while (left := at_ns - time.monotonic_ns()) > 0:
            time.sleep(left / 1e9)
