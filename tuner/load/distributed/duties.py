"""What an agent does when the master asks: it keeps data, runs plans on the load engine, and hands over what came."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gevent
import numpy as np
from locust.stats import RequestStats
from numpy.typing import NDArray

from tuner.load.distributed.statistics import count, label_of
from tuner.load.distributed.wire import (
    CHUNK_BYTES,
    packed_answers,
    packed_rows,
    plain_report,
    unpacked_plan,
)
from tuner.load.generator import Generator, LoadRun
from tuner.load.plan import Plan, Rewindow
from tuner.records import ROW

_POLL_S = 0.005
_COUNT_S = 1.0


class Cursor:
    """How far the rows of a running plan were seen: each generator process appends its own."""

    def __init__(self) -> None:
        self._seen: dict[int, int] = {}

    def new(self, rows: NDArray[np.void]) -> NDArray[np.void]:
        """Return the rows that were not there the last time; those of a process stand in the order they were added."""
        parts = []
        for worker in np.unique(rows["worker"]).tolist():
            own = rows[rows["worker"] == worker]
            parts.append(own[self._seen.get(worker, 0) :])
            self._seen[worker] = len(own)
        return np.concatenate(parts) if parts else rows[:0]


@dataclass
class Lane:
    """One of the loads that an agent may run at the same time.

    Attributes:
        generator: runs its plans.
        processes: of the generator.
        plan: the present one.
        looked: rows that the master has seen.
        counted: rows that Locust's statistics have.
        running: whether a plan was begun that is not finished.
        waiting: rows seen that did not fit into one message.
        results: of the plan that ended: what -> its bytes.
    """

    generator: Generator
    processes: int
    plan: Plan | None = None
    looked: Cursor = field(default_factory=Cursor)
    counted: Cursor = field(default_factory=Cursor)
    running: bool = False
    waiting: bytes = b""
    results: dict[str, bytes] = field(default_factory=dict)

    @property
    def present(self) -> Plan:
        """The present plan. Raises ValueError where there is none."""
        if self.plan is None:
            raise ValueError("there is no plan")
        return self.plan


class Duties:
    """Answers the master's questions.

    Args:
        scratch: folder for records.
        stats: Locust's statistics of this worker.
    """

    def __init__(self, scratch: Path, stats: Callable[[], RequestStats]) -> None:
        self._scratch, self._stats = scratch, stats
        self._data: dict[str, bytearray] = {}
        self._lanes: dict[int, Lane] = {}
        self._named: Mapping[str, Callable[..., dict[str, Any]]] = {
            "clock": self.clock,
            "data": self.data,
            "forget": self.forget,
            "plan": self.plan,
            "start": self.start,
            "look": self.look,
            "rewindow": self.rewindow,
            "finish": self.finish,
            "fetch": self.fetch,
        }

    def answer(self, content: dict[str, Any]) -> dict[str, Any]:
        """Do what a question asks; an error is an answer, too."""
        arguments = dict(content)
        try:
            return self._named[arguments.pop("kind")](**arguments)
        except Exception as error:  # the master says what it was
            return {"error": f"{type(error).__name__}: {error}"}

    def close(self) -> None:
        """End the load generators."""
        for lane in self._lanes.values():
            lane.generator.close()

    def clock(self) -> dict[str, Any]:
        """Say what time it is here."""
        return {"now_ns": time.monotonic_ns()}

    def data(self, name: str, at: int, part: bytes, size: int) -> dict[str, Any]:
        """Keep a part of some data."""
        if at == 0:
            self._data[name] = bytearray()
        if at != len(self._data[name]) or at + len(part) > size:
            raise ValueError(f"{name}: a part at {at} of {size} bytes, after {len(self._data[name])}")
        self._data[name] += part
        return {}

    def forget(self, name: str) -> dict[str, Any]:
        """Keep some data no longer."""
        self._data.pop(name, None)
        return {}

    def plan(self, lane: int, processes: int, plan: str, endpoint: str) -> dict[str, Any]:
        """Take up a plan from the data that it came as; the first one of a lane starts its load generator."""
        known = self._lanes.get(lane)
        if known is None or known.processes != processes or known.running:  # what still runs nobody waits for
            if known is not None:
                known.generator.close()
            known = Lane(Generator(processes=processes), processes)
        self._lanes[lane] = Lane(known.generator, processes)
        path = self._scratch / f"lane{lane}.bin"
        self._lanes[lane].plan = unpacked_plan(bytes(self._data[plan]), bytes(self._data[endpoint]), path)
        return {}

    def start(self, lane: int, start_ns: int) -> dict[str, Any]:
        """Hand the plan to the load generator; say how far ahead of its start that was."""
        one = self._lanes[lane]
        one.plan = replace(one.present, start_ns=start_ns)
        one.running = True
        one.generator.begin(one.plan)
        gevent.spawn(self._count_while_it_runs, one)
        return {"ahead_ns": start_ns - time.monotonic_ns()}

    def look(self, lane: int) -> dict[str, Any]:
        """Hand over the rows that ended since the last look, as many as one message holds."""
        one = self._lanes[lane]
        if not one.waiting:
            one.waiting = one.looked.new(one.generator.look()).tobytes()
        most = CHUNK_BYTES // ROW.itemsize * ROW.itemsize
        rows, one.waiting = one.waiting[:most], one.waiting[most:]
        return {"rows": rows, "more": bool(one.waiting)}

    def rewindow(self, lane: int, from_ns: int, to_ns: int) -> dict[str, Any]:
        """Give the running plan another window, in ns from its start."""
        one = self._lanes[lane]
        window = Rewindow(one.present.start_ns + from_ns, one.present.start_ns + to_ns)
        one.generator.rewindow(window)
        one.plan = window.of(one.present)
        return {}

    def finish(self, lane: int) -> dict[str, Any]:
        """Wait for the plan's end; say what there is to fetch."""
        one = self._lanes[lane]
        while not one.generator.done():
            gevent.sleep(_POLL_S)
        try:
            run = one.generator.finish()
        finally:
            one.running = False
        one.results = {
            "rows": packed_rows(run.records),
            "events": run.records.events.tobytes(),
            "answers": packed_answers(run.report.answers),
        }
        self._count_rest(one, run)
        return {"report": plain_report(run.report), "sizes": {what: len(data) for what, data in one.results.items()}}

    def fetch(self, lane: int, what: str, at: int) -> dict[str, Any]:
        """Hand over a part of what a plan left."""
        return {"part": self._lanes[lane].results[what][at : at + CHUNK_BYTES]}

    def _count_while_it_runs(self, one: Lane) -> None:
        """Put what has ended into Locust's statistics from time to time."""
        plan = one.present
        label = label_of(plan.endpoint)
        gevent.sleep(max(0.0, plan.start_ns - time.monotonic_ns()) / 1e9)
        while one.plan is not None and one.plan.start_ns == plan.start_ns and not (one.results or one.generator.done()):
            count(self._stats(), label, one.counted.new(one.generator.look()))
            gevent.sleep(_COUNT_S)

    def _count_rest(self, one: Lane, run: LoadRun) -> None:
        rows = np.frombuffer(one.results["rows"], ROW)
        assert len(rows) == len(run.records.rows), "they are the same"
        count(self._stats(), label_of(one.present.endpoint), one.counted.new(rows))
