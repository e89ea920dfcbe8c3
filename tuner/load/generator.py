"""The tuner's end of the load generator: processes of their own that are handed plans and hand back reports."""

import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Pipe
from pathlib import Path
from types import TracebackType
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tuner.live_rows import LiveRows
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, Rewindow, RunReport, merged_reports
from tuner.records import Records, merged, read_records

_START_TIMEOUT_S = 30.0
_MARGIN_S = 30.0


MOST_ATTEMPTS = 3
"""At a measurement in which a part of the generator is lost each time: it may be this load that ends it."""


class GeneratorError(Exception):
    """The generator could not run a plan: a process of it ended or this host ran out of something."""


class LoadLost(GeneratorError):
    """A part of the generator was lost in a measurement, which is worth nothing; what is left can make another one."""

    def after(self, attempts: int) -> GeneratorError | None:
        """Return the error that it is after so many attempts in a row; None: it is worth another one."""
        if attempts < MOST_ATTEMPTS:
            return None
        return GeneratorError(f"a part of the load generator was lost in each of {attempts} attempts: {self}")


@dataclass(frozen=True)
class LoadRun:
    """What a plan gave: the records of every process together, and what the processes say of themselves."""

    records: Records
    report: RunReport


class LoadGenerator(Protocol):
    """What makes a load: processes of this host (`Generator`), or those of many (`AgentGenerator`)."""

    @property
    def ahead_ns(self) -> int:
        """How long ahead of its edge a new window has to be told, in ns, beside the usual."""
        ...

    def ready(self) -> None:
        """Wait until it is ready for a plan. Raises GeneratorError."""
        ...

    def prepare(self, plan: Plan) -> int:
        """Take up all of a plan but its start; return how far ahead of `begin` that has to be, in ns, beside the usual.

        Raises:
            GeneratorError: it cannot.
        """
        ...

    def begin(self, plan: Plan) -> None:
        """Hand over the plan that was prepared; it starts at its own time."""
        ...

    def look(self) -> NDArray[np.void]:
        """Return the requests of the running plan that have ended so far, see `Generator.look`."""
        ...

    def on_their_way(self) -> NDArray[np.int64] | None:
        """Return when the requests that have not ended were sent, see `Generator.on_their_way`."""
        ...

    def rewindow(self, window: Rewindow) -> None:
        """Give the running plan another window; the load ends with it."""
        ...

    def finish(self) -> LoadRun:
        """Wait for the end of the plan handed over. Raises GeneratorError."""
        ...

    def run(self, plan: Plan) -> LoadRun:
        """Run a plan and wait for its end. Raises GeneratorError."""
        ...


class Generator:
    """A load generator of one or several processes; one that is lost is started anew.

    A plan is dealt out: the processes' shares of slots, schedule and connections add up to the plan's.

    Args:
        cpus: CPUs of the processes, each on one of its own where there are enough; None: any.
        processes: how many.
        wait: until they are ready for a plan; without it `ready` has to be called before the first one.
        start: starts a process on CPUs; the load engine's if absent.

    Raises:
        GeneratorError: a process does not start.
    """

    def __init__(
        self,
        cpus: frozenset[int] | None = None,
        processes: int = 1,
        *,
        wait: bool = True,
        start: "Callable[[frozenset[int] | None], Worker] | None" = None,
    ) -> None:
        self._workers: list[Worker] = []
        self._used: Sequence[Worker] = ()
        try:
            for index in range(processes):
                self._workers.append((start or Worker)(_share_of_cpus(cpus, index, processes)))
            if wait:
                self.ready()
        except BaseException:
            self.close()
            raise

    def ready(self) -> None:
        """Wait until every process is ready for a plan.

        Raises:
            GeneratorError: one does not start.
        """
        for worker in self._workers:
            worker.ready()

    @property
    def pids(self) -> list[int]:
        """Process ids of the generator."""
        return [worker.pid for worker in self._workers]

    @property
    def ahead_ns(self) -> int:
        """Nothing: its processes are told at once."""
        return 0

    def prepare(self, plan: Plan) -> int:  # noqa: ARG002 - a plan goes to a process of this host as a whole
        """Nothing has to be prepared, and no start be put off."""
        return 0

    def begin(self, plan: Plan) -> None:
        """Hand over a plan; it starts at its own time."""
        parts = shares(plan, len(self._workers))
        self._used = self._workers[: len(parts)]
        for worker, part in zip(self._used, parts, strict=True):
            worker.begin(part)

    def look(self) -> NDArray[np.void]:
        """Return the requests of the running plan that have ended so far, array [n] of records.ROW, in no order.

        The `phase` column is not filled yet.
        """
        return np.concatenate([worker.look() for worker in self._used])

    def on_their_way(self) -> NDArray[np.int64] | None:
        """Return when the requests that have not ended were sent, int64 [n].

        None where it is not known: of the load engine the plan and the requests that ended tell it.
        """
        found = [worker.on_their_way() for worker in self._used]
        known = [one for one in found if one is not None]
        return np.concatenate(known) if len(known) == len(found) else None

    def rewindow(self, window: Rewindow) -> None:
        """Give the running plan another window, a little ahead of time; the load ends with it."""
        for worker in self._used:
            worker.rewindow(window)

    def done(self) -> bool:
        """Whether `finish` would return at once."""
        return all(worker.done() for worker in self._used)

    def finish(self) -> LoadRun:
        """Wait for the end of the plan handed over.

        Raises:
            GeneratorError: a process ended, hangs, or could not run the plan.
        """
        errors: list[GeneratorError] = []
        reports: list[RunReport] = []
        for worker in self._used:
            try:
                reports.append(worker.finish())
            except GeneratorError as error:  # the others are waited for: they must be free for the next plan
                errors.append(error)
        if errors:
            raise errors[0]
        parts = [read_records(worker.plan.records_path, worker.plan.window) for worker in self._used]
        return LoadRun(merged(parts), merged_reports(reports))

    def run(self, plan: Plan) -> LoadRun:
        """Run a plan and wait for its end."""
        self.begin(plan)
        return self.finish()

    def close(self) -> None:
        """End the processes; safe to call twice."""
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> "Generator":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def shares(plan: Plan, most: int) -> list[Plan]:
    """Return a plan dealt out to as many as there is something to do for: all of it as it is where that is one."""
    count = max(1, min(most, _useful(plan)))
    return [plan] if count == 1 else [_share(plan, index, count) for index in range(count)]


def _useful(plan: Plan) -> int:
    """Return how many processes have something to do."""
    match plan.load:
        case ClosedLoop(concurrency=concurrency):
            return concurrency
        case OpenLoop(connections=connections):
            return connections
    return 1


def _share(plan: Plan, index: int, count: int) -> Plan:
    assert isinstance(plan.load, ClosedLoop | OpenLoop), "users are not dealt out"
    path = plan.records_path if index == 0 else Path(f"{plan.records_path}.{index}")
    sequences = plan.sequences and plan.sequences.shard(index, count)
    return replace(plan, load=plan.load.shard(index, count), records_path=path, worker=index, sequences=sequences)


def _share_of_cpus(cpus: frozenset[int] | None, index: int, processes: int) -> frozenset[int] | None:
    if cpus is None or len(cpus) < processes:
        return cpus
    return frozenset(sorted(cpus)[index::processes])


class Worker:
    """A process of the generator.

    Args:
        cpus: that it is to run on; None: any.
    """

    plan: Plan

    def __init__(self, cpus: frozenset[int] | None) -> None:
        self._cpus = cpus
        self.live = LiveRows()
        try:
            self._start()
        except BaseException:
            self.live.close()
            raise

    def _start(self) -> None:
        self._ready = False
        self._pipe, theirs = Pipe()
        for end in (self._pipe, theirs):
            os.set_blocking(end.fileno(), True)  # an agent's process has other sockets by default
        with theirs:
            self._process = self._launch(theirs.fileno())

    def _launch(self, pipe: int) -> "subprocess.Popen[bytes]":
        """Start the process at the other end of a pipe."""
        return subprocess.Popen(
            [sys.executable, "-P", "-m", "tuner.load.worker", str(pipe), str(self.live.fd)],
            pass_fds=[pipe, self.live.fd],
        )

    def ready(self) -> None:
        """Wait until it is. Raises GeneratorError when it does not start."""
        if self._ready:
            return
        if not self._pipe.poll(_START_TIMEOUT_S):
            self._end()
            raise GeneratorError(f"the load generator did not start within {_START_TIMEOUT_S:g} s")
        self._greeted(self._receive())
        if self._cpus:
            os.sched_setaffinity(self._process.pid, self._cpus)
        self._ready = True

    def _greeted(self, message: object) -> None:
        """Take note of what the process says first."""

    @property
    def pid(self) -> int:
        """Its id."""
        return self._process.pid

    def begin(self, plan: Plan) -> None:
        """Hand over a plan, to a new process if the one there was has ended."""
        if self._process.poll() is not None:
            self._start()
            self.ready()
        self.plan = plan
        with suppress(BrokenPipeError):  # it has just ended; finish() says so
            self._pipe.send(plan)

    def rewindow(self, window: Rewindow) -> None:
        """Give the running plan another window."""
        self.plan = window.of(self.plan)
        with suppress(BrokenPipeError):
            self._pipe.send(window)

    def done(self) -> bool:
        """Whether `finish` would return at once."""
        try:
            return self._pipe.poll()
        except (EOFError, OSError):
            return True

    def finish(self) -> RunReport:
        """Wait for the end of the plan. Raises GeneratorError when it could not be run."""
        plan = self.plan
        longest_s = (plan.warmup_ns + plan.window_ns + 2 * plan.timeout_ns) / 1e9 + _MARGIN_S
        if not self._pipe.poll(longest_s):
            self._end()
            raise GeneratorError(f"the load generator did not finish a plan within {longest_s:.0f} s")
        report = self._receive()
        if isinstance(report, RunReport):
            return report
        raise GeneratorError(f"the load generator could not run: {report}")

    def _receive(self) -> object:
        try:
            return self._pipe.recv()
        except (EOFError, ConnectionResetError):
            code = self._process.wait()
            raise GeneratorError(f"the load generator's process ended with exit code {code}") from None

    def look(self) -> NDArray[np.void]:
        """Return the rows of the running plan so far."""
        rows = self.live.read()
        return rows[rows["intended_ns"] >= self.plan.start_ns]  # those of an earlier plan are there until this one runs

    def on_their_way(self) -> NDArray[np.int64] | None:
        """Return when the requests that have not ended were sent, None: the plan tells it."""
        return None

    def close(self) -> None:
        """End the process and give its memory back."""
        self._end()
        self.live.close()

    def _end(self) -> None:
        self._pipe.close()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
