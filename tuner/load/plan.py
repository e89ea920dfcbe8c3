"""What the load engine is told and what it reports: plain values that travel between processes."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint, Outcome
from tuner.load.sequences import SequenceOrder
from workloads.schedule import Schedule

STALL_NS = 1_000_000
"""A generator that does not look at its sockets for longer than this has stalled."""


def always(time_ns: int) -> NDArray[np.int64]:
    """Return think times that are all the same."""
    return np.array([time_ns], np.int64)


@dataclass(frozen=True)
class ClosedLoop:
    """A fixed number of requests in flight; each slot sends the next when its answer came and its think time is over.

    Attributes:
        concurrency: slots, each with a connection of its own.
        order: int32 [k], request indices, taken in turn by whichever slot is next, from the start again at the end.
        think_ns: int64 [m], drawn pauses of a slot between an answer and its next request; which of them it takes is
            told by the time of the answer, so that whoever knows that time knows when the next request is due.
        total: end after this many requests, or at the end of the window.
        starts_ns: int64 [concurrency], when each slot begins, from the start of the load; None: all at once.
    """

    concurrency: int
    order: NDArray[np.int32]
    think_ns: NDArray[np.int64] = field(default_factory=lambda: always(0))
    total: int | None = None
    starts_ns: NDArray[np.int64] | None = None

    def first_due_ns(self) -> NDArray[np.int64]:
        """Return when the first request of each slot is due, from the start of the load, int64 [concurrency]."""
        return np.zeros(self.concurrency, np.int64) if self.starts_ns is None else self.starts_ns

    def next_due_ns(self, done_ns: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return when the slots whose answers came at these times send again."""
        due: NDArray[np.int64] = done_ns + self.think_ns[done_ns % len(self.think_ns)]
        return due

    def shard(self, index: int, count: int) -> "ClosedLoop":
        """Return the `index`-th of `count` parts: slots, order and total are dealt out, none is lost or doubled.

        The part takes every `count`-th request of the order from the `index`-th on, round after round.
        """
        length = len(self.order)
        return ClosedLoop(
            _dealt(self.concurrency, index, count),
            self.order[(index + count * np.arange(length // math.gcd(length, count))) % length],
            self.think_ns,
            None if self.total is None else _dealt(self.total, index, count),
            None if self.starts_ns is None else self.starts_ns[index::count],
        )


@dataclass(frozen=True)
class OpenLoop:
    """Arrivals that wait for nobody.

    Attributes:
        schedule: when each request is due, from the start of the load.
        connections: at most this many; a request due while all are busy waits for one.
    """

    schedule: Schedule
    connections: int

    def shard(self, index: int, count: int) -> "OpenLoop":
        """Return the `index`-th of `count` parts: arrivals are dealt out in turn, and so are the connections."""
        return OpenLoop(self.schedule.shard(index, count), max(1, _dealt(self.connections, index, count)))


@dataclass(frozen=True)
class UsersLoop:
    """Users of a locustfile: each does its tasks one after the other, and waits as the file says.

    Attributes:
        users: how many.
        spawn_rate: users that begin per second; math.inf: all at once.
        classes: names of the requests of each class, plain or with the method in front; what has none of these names
            is of the class after them. (): all are of one class.
        own_path: the path that the file has for the model, "" where it is what the server has as well.
        path: what the server has in its place.
        own_host: the users keep the host that the file gives them.
    """

    users: int
    spawn_rate: float
    classes: tuple[tuple[str, ...], ...] = ()
    own_path: str = ""
    path: str = ""
    own_host: bool = False


NAMES = 1 << 16
"""The requests of the k-th class of a locustfile are numbered from k times this: each name is one."""


@dataclass(frozen=True)
class ClassPlan:
    """A class of requests: those from `first` up to the next class' first.

    Attributes:
        first: index of its first request.
        timeout_ns: a request of it without an answer after this long has failed.
    """

    first: int
    timeout_ns: int


@dataclass(frozen=True)
class Plan:
    """One run of the load engine.

    Attributes:
        endpoint: where to send, what, and how answers are judged.
        load: the loop.
        start_ns: when the load starts, on the monotonic clock that all processes of the host share.
        warmup_ns: load before the window.
        window_ns: length of the window; the load never pauses between warm-up and window.
        timeout_ns: a request without an answer after this long has failed; with classes the longest of them.
        records_path: where the rows go.
        keep_answers: return each answer's bytes with its request index (for accuracy; costs memory).
        keep_alive: False: a new connection for every request; gRPC has none of that.
        worker: index of the generator process that runs it, as it stands in the records.
        classes: of the requests, by ascending `first`, the first from 0; (): all are of one.
        sequences: that the requests belong to: which request is sent is then told by what was answered, and the load
            only says when; None: to none.
    """

    endpoint: Endpoint
    load: ClosedLoop | OpenLoop | UsersLoop
    start_ns: int
    warmup_ns: int
    window_ns: int
    timeout_ns: int
    records_path: Path
    keep_answers: bool = False
    keep_alive: bool = True
    worker: int = 0
    classes: tuple[ClassPlan, ...] = ()
    sequences: SequenceOrder | None = None

    def class_of(self, requests: NDArray[np.integer[Any]]) -> NDArray[np.int16]:
        """Return the index of each request's class, same shape."""
        firsts = np.array([one.first for one in self.classes[1:]], np.int64)
        return np.searchsorted(firsts, requests, side="right").astype(np.int16)

    def timeout_of(self, request: int) -> int:
        """Return how long a request is waited for, in ns."""
        found = self.timeout_ns
        for one in self.classes:
            if request < one.first:
                break
            found = one.timeout_ns
        return found

    @property
    def window(self) -> tuple[int, int]:
        """The measuring window [start, end) on the monotonic clock."""
        begin = self.start_ns + self.warmup_ns
        return begin, begin + self.window_ns


@dataclass(frozen=True)
class Rewindow:
    """A new window for the plan that is being run; the load ends with it.

    Attributes:
        start_ns: of the window, on the monotonic clock.
        end_ns: of the window, not after the end that the plan was made with.
    """

    start_ns: int
    end_ns: int

    def of(self, plan: Plan) -> Plan:
        """Return the plan with this window."""
        return replace(plan, warmup_ns=self.start_ns - plan.start_ns, window_ns=self.end_ns - self.start_ns)


@dataclass(frozen=True)
class Failure:
    """The first failure of its kind in a run, as the network or the server put it."""

    outcome: Outcome
    code: int
    text: str


@dataclass(frozen=True)
class AgentReport:
    """What one agent did of a load that several machines offered.

    Attributes:
        name: what it is called.
        cores: CPUs that it may use.
        workers: the first of its processes as the records number them, and the one after its last.
        cpu_share: as in `RunReport`, of its own processes.
        longest_stall_s: as in `RunReport`, of its own processes.
        rtt_s: the shortest round trip of a message to it, right before the load.
        start_skew_s: its start is off the agreed moment by this at most: half of the round trip.
        late_s: how long after the agreed moment it had what it needed to start; 0.0: in time.
    """

    name: str
    cores: int
    workers: tuple[int, int]
    cpu_share: float
    longest_stall_s: float
    rtt_s: float
    start_skew_s: float
    late_s: float = 0.0


@dataclass(frozen=True)
class Named:
    """A request of a locustfile, as Locust's own statistics tell it apart.

    Attributes:
        request: its number in the records.
        method: or type.
        name: of it.
    """

    request: int
    method: str
    name: str


@dataclass(frozen=True)
class Raised:
    """An exception that tasks of a locustfile raised.

    Attributes:
        text: where, and what.
        count: how often.
        unprovoked: how often the user's request before it had been answered well, so that it is the file's own fault.
    """

    text: str
    count: int
    unprovoked: int


@dataclass(frozen=True)
class RunReport:
    """What one process of the generator says of itself after a run.

    Attributes:
        requests: rows recorded.
        cpu_share: CPU time of the process over the window, as a share of one core.
        stalls: times that the process, in the window, did not look at its sockets for longer than STALL_NS.
        longest_stall_s: the longest time, in the window, that it did not look at its sockets because it was busy or
            not scheduled.
        queue_max: most requests found due and not yet sent at one look at the clock.
        waiting_max: most requests that waited for a connection at once.
        failures: the first failure of each (outcome, code).
        answers: (request index, answer bytes) of each answer that was ok, if the plan asked for them.
        spare_s: how long before the start of the load it was ready for it; negative: after it.
        agents: where several machines offered the load, what each of them did.
        notes: what a reader should know of how the load came about.
        locust: whether it was Locust, with a locustfile.
        named: the requests of a locustfile.
        raised: by its tasks.
        kept_share: share of the window for which it had something to do and no CPU.
        held_back_share: share of the window for which the CPU limit of its control groups held it back.
    """

    requests: int
    cpu_share: float
    stalls: int
    longest_stall_s: float
    queue_max: int
    waiting_max: int
    failures: tuple[Failure, ...] = ()
    answers: tuple[tuple[int, bytes], ...] = ()
    spare_s: float = 0.0
    agents: tuple[AgentReport, ...] = ()
    notes: tuple[str, ...] = ()
    locust: bool = False
    named: tuple[Named, ...] = ()
    raised: tuple[Raised, ...] = ()
    kept_share: float = 0.0
    held_back_share: float = 0.0


def merged_reports(reports: Sequence[RunReport]) -> RunReport:
    """Return what several processes, or one in several runs, say together; the CPU share is that of the busiest."""
    failures: dict[tuple[Outcome, int], Failure] = {}
    for report in reports:
        for failure in report.failures:
            failures.setdefault((failure.outcome, failure.code), failure)
    return RunReport(
        requests=sum(report.requests for report in reports),
        cpu_share=max(report.cpu_share for report in reports),
        stalls=sum(report.stalls for report in reports),
        longest_stall_s=max(report.longest_stall_s for report in reports),
        queue_max=max(report.queue_max for report in reports),
        waiting_max=max(report.waiting_max for report in reports),
        failures=tuple(failures.values()),
        answers=tuple(answer for report in reports for answer in report.answers),
        spare_s=min(report.spare_s for report in reports),
        agents=_merged_agents([agent for report in reports for agent in report.agents]),
        notes=tuple(dict.fromkeys(note for report in reports for note in report.notes)),
        locust=any(report.locust for report in reports),
        named=tuple(dict.fromkeys(one for report in reports for one in report.named)),
        raised=_all_raised(reports),
        kept_share=max(report.kept_share for report in reports),
        held_back_share=max(report.held_back_share for report in reports),
    )


def _merged_agents(agents: Sequence[AgentReport]) -> tuple[AgentReport, ...]:
    """Return each agent once, with its worst of several runs."""
    found: dict[str, AgentReport] = {}
    for one in agents:
        known = found.setdefault(one.name, one)
        found[one.name] = replace(
            one,
            cpu_share=max(one.cpu_share, known.cpu_share),
            longest_stall_s=max(one.longest_stall_s, known.longest_stall_s),
            rtt_s=max(one.rtt_s, known.rtt_s),
            start_skew_s=max(one.start_skew_s, known.start_skew_s),
            late_s=max(one.late_s, known.late_s),
        )
    return tuple(found.values())


def _all_raised(reports: Sequence[RunReport]) -> tuple[Raised, ...]:
    found: dict[str, Raised] = {}
    for one in (one for report in reports for one in report.raised):
        before = found.get(one.text, Raised(one.text, 0, 0))
        found[one.text] = Raised(one.text, before.count + one.count, before.unprovoked + one.unprovoked)
    return tuple(found.values())


def _dealt(whole: int, index: int, count: int) -> int:
    """Return the part of a whole that falls to one of `count`: the parts add up, and differ by 1 at most."""
    return whole // count + (index < whole % count)
