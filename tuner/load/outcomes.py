"""What became of the requests of a run: their rows, the events of streamed answers, the answers, the first failures."""

import array

import numpy as np

from targets.base import Outcome
from tuner.load.plan import Failure, Plan, RunReport
from tuner.load.self_watch import SelfWatch
from tuner.load.wire.connection import Exchange
from tuner.records import EventsWriter, RecordsWriter


class Outcomes:
    """What a run leaves behind. Times are monotonic ns.

    Args:
        plan: what is run.
        live: file descriptor of shared memory that the rows are captured in, None: the run's own.
    """

    def __init__(self, plan: Plan, live: int | None = None) -> None:
        self._requests = plan.endpoint.requests
        self._streamed = plan.endpoint.tokens is not None
        self._records = RecordsWriter(plan.records_path, plan.worker, live)
        self._events = EventsWriter(plan.records_path)
        self._rows_of_streams = array.array("q")
        self._answers: list[tuple[int, bytes]] = []
        self._failures: dict[tuple[Outcome, int], str] = {}

    def sends(self, exchange: Exchange) -> None:
        """Take note of a request that is about to be sent: one whose answer is streamed gets its number."""
        if self._streamed:
            exchange.number = len(self._rows_of_streams)
            self._rows_of_streams.append(-1)

    def event(self, exchange: Exchange, at_ns: int, tokens: int) -> None:
        """Add an event of a streamed answer."""
        self._events.append(exchange.number, tokens, at_ns)

    def keep(self, request: int, answer: bytes | bytearray) -> None:
        """Keep an answer."""
        self._answers.append((request, bytes(answer)))

    def ended(self, exchange: Exchange, done: int, bytes_in: int, code: int, outcome: Outcome, text: str) -> None:
        """Add the row of a request that had a connection."""
        if outcome is not Outcome.OK:
            self._failures.setdefault((outcome, code), text)
        if exchange.number >= 0:
            self._rows_of_streams[exchange.number] = self._records.count
        request = exchange.request
        self._records.append(
            (exchange.intended, exchange.ready, exchange.sent_ns, exchange.first_ns, done),
            (len(self._requests[request]), bytes_in),
            request,
            code,
            outcome,
            exchange.tokens,
            exchange.last_ns,
        )

    def unsent(self, request: int, intended: int, done: int, code: int, outcome: Outcome, text: str) -> None:
        """Add the row of a request that never had a connection."""
        self._failures.setdefault((outcome, code), text)
        self._records.append((intended, 0, 0, 0, done), (0, 0), request, code, outcome)

    def report(self, plan: Plan, own: SelfWatch) -> RunReport:
        """Write the files and return what the run says of itself; nothing may be added afterwards.

        Args:
            plan: as it was in the end, with the window that was taken.
            own: what the engine knows of itself.
        """
        self._records.close(plan.window, plan.class_of if plan.classes else None)
        self._events.close(np.array(self._rows_of_streams, np.int64))
        return RunReport(
            requests=self._records.count,
            cpu_share=own.cpu_share(),
            kept_share=own.kept_share(),
            held_back_share=own.held_back_share(),
            stalls=own.stalls,
            longest_stall_s=own.longest_ns / 1e9,
            queue_max=own.queue_max,
            waiting_max=own.waiting_max,
            failures=tuple(Failure(*kind, text) for kind, text in self._failures.items()),
            answers=tuple(self._answers),
            spare_s=own.spare_s,
        )
