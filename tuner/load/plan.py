"""What the load engine is told and what it reports: plain values that travel between processes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from targets.base import Endpoint
from workloads.schedule import Schedule


@dataclass(frozen=True)
class ClosedLoop:
    """A fixed number of requests in flight; each slot sends the next when its answer came and its think time is over.

    Attributes:
        concurrency: slots, each with a connection of its own.
        order: int32 [k], request indices, taken in turn by whichever slot is next, from the start again at the end.
        think_time_ns: pause of a slot between an answer and its next request.
        total: end after this many requests, or at the end of the window.
    """

    concurrency: int
    order: NDArray[np.int32]
    think_time_ns: int = 0
    total: int | None = None


@dataclass(frozen=True)
class OpenLoop:
    """Arrivals that wait for nobody.

    Attributes:
        schedule: when each request is due, from the start of the load.
        connections: at most this many; a request due while all are busy waits for one.
    """

    schedule: Schedule
    connections: int


@dataclass(frozen=True)
class Plan:
    """One run of the load engine.

    Attributes:
        endpoint: where to send, what, and how answers are judged.
        load: the loop.
        start_ns: when the load starts, on the monotonic clock that all processes of the host share.
        warmup_ns: load before the window.
        window_ns: length of the window; the load never pauses between warm-up and window.
        timeout_ns: a request without an answer after this long has failed.
        records_path: where the rows go.
        keep_answers: return each answer's bytes with its request index (for accuracy; costs memory).
    """

    endpoint: Endpoint
    load: ClosedLoop | OpenLoop
    start_ns: int
    warmup_ns: int
    window_ns: int
    timeout_ns: int
    records_path: Path
    keep_answers: bool = False

    @property
    def window(self) -> tuple[int, int]:
        """The measuring window [start, end) on the monotonic clock."""
        begin = self.start_ns + self.warmup_ns
        return begin, begin + self.window_ns


@dataclass(frozen=True)
class RunReport:
    """What the engine says of itself after a run.

    Attributes:
        requests: rows recorded.
        cpu_share: CPU time of the generator's process over the window, as a share of one core.
        answers: (request index, answer bytes) of each answer that was ok, if the plan asked for them.
    """

    requests: int
    cpu_share: float
    answers: tuple[tuple[int, bytes], ...] = ()
