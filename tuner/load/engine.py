"""Run a plan: one thread, one loop over non-blocking connections, a timer for the schedule.

Every time stamp is taken beside the system call it speaks of. A request that fails in any way becomes a row with its
outcome; nothing a server does ends a run.
"""

import errno
import gc
import os
import ssl
import time
from collections import deque
from collections.abc import Sequence
from contextlib import closing
from multiprocessing.connection import Connection as Control
from select import POLLIN

from targets.base import Outcome
from tuner.load.outcomes import Outcomes
from tuner.load.plan import Plan, Rewindow, RunReport
from tuner.load.poller import Poller, make_poller
from tuner.load.self_watch import SelfWatch
from tuner.load.sources import make_source
from tuner.load.wire.connection import WRITABLE, Connection, Exchange, MalformedAnswer, resolved
from tuner.load.wire.grpc import GrpcConnection
from tuner.load.wire.http1 import Http1Connection

_SWEEP_NS = 20_000_000
_RECONNECT_PAUSE_NS = 10_000_000
_FRUITLESS_AT_ONCE = 10
_OUR_OWN_LACK = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM, errno.EADDRNOTAVAIL)


def run(plan: Plan, poller: Poller | None = None, control: Control | None = None, live: int | None = None) -> RunReport:
    """Run a plan to its end: until every request ended, failed or timed out.

    Args:
        plan: what to do.
        poller: how to wait, the platform's best if not given; it is closed at the end.
        control: where a `Rewindow` may come from while the plan runs.
        live: file descriptor of shared memory that the rows are captured in, for others to look at; see `LiveRows`.

    Raises:
        OSError: a resource of this host ran out (file descriptors, ports, disk), the endpoint's host has no address or
            its certificates cannot be read; nothing the server does.
    """
    gc.collect()
    gc.disable()
    try:
        with closing(poller or make_poller()) as waiting, closing(_Engine(plan, waiting, control, live)) as engine:
            engine.run()
        return engine.report()
    finally:
        gc.enable()


class _Engine:
    def __init__(self, plan: Plan, poller: Poller, control: Control | None = None, live: int | None = None) -> None:
        self.plan = plan
        self.poller = poller
        self.control = control
        self.source = make_source(plan)
        self.watch_self = SelfWatch(plan.window)
        self.outcomes = Outcomes(plan, live)
        self.connections: dict[int, Connection] = {}
        self.opening: dict[Connection, int] = {}
        self.free: deque[Connection] = deque()
        self.waiting: deque[Exchange] = deque()
        self.busy: dict[Exchange, Connection] = {}
        self.places = 0
        self.fruitless = 0
        self.retry_ns = 0
        self.next_sweep = 0
        self.site = resolved(plan.endpoint, plan.timeout_ns)
        self.shortest_timeout_ns = min((one.timeout_ns for one in plan.classes), default=plan.timeout_ns)

    def run(self) -> None:
        if self.plan.keep_alive or self.plan.endpoint.grpc:
            self._provide(self.source.first_places)
            self._settle()
        self.watch_self.ready(self.plan.start_ns)
        control_fd = self.control.fileno() if self.control else -1
        if self.control:
            self.poller.watch(control_fd, POLLIN, new=True)
        self.poller.arm(self.plan.start_ns)
        wait, connections, own = self.poller.wait, self.connections, self.watch_self
        while not (self.source.exhausted and not self.busy and not self.waiting):
            found = wait(_SWEEP_NS / 1e9)
            woken = time.monotonic_ns()
            for fd, mask in found:
                if connection := connections.get(fd):
                    self._on_event(connection, mask)
                elif fd == self.poller.due_fd:
                    self.poller.disarm()
                    self._issue_due(time.monotonic_ns())
                elif fd == control_fd:
                    self._rewindow()
            now = time.monotonic_ns()
            own.busy(now - woken)
            if now >= own.next_edge:
                own.at_edge(now)
            if now >= self.next_sweep:
                self._sweep(now)
            self._end_turn(now)

    def _rewindow(self) -> None:
        """Take the window that the control says."""
        assert self.control is not None, "only a control can be read from"
        message = self.control.recv()
        if isinstance(message, Rewindow):
            self.plan = message.of(self.plan)
            if not self.source.goes_on:
                self.source.end_at(self.plan.window[1])
            self.watch_self.rewindow(self.plan.window)

    def _end_turn(self, now: int) -> None:
        """See to those that wait too long, and end a closed loop when all of the window have ended."""
        self._drop_waiting(now)
        if now < (end_ns := self.plan.window[1]) or not self.source.goes_on:
            return
        oldest = (next(iter(one), None) for one in (self.busy, self.waiting))  # they are in the order of being due
        if not any(one and one.intended < end_ns for one in oldest):
            self.source.end_at(end_ns)

    def close(self) -> None:
        for connection in self.connections.values():
            connection.close()

    def report(self) -> RunReport:
        return self.outcomes.report(self.plan, self.watch_self)

    # -- connections --

    def _settle(self) -> None:
        """Wait until the first connections are open, so that the load starts on time."""
        while self.opening and (left := self.plan.start_ns - time.monotonic_ns()) > 0:
            for fd, mask in self.poller.wait(min(left / 1e9, 0.01)):
                if connection := self.connections.get(fd):
                    self._on_event(connection, mask)

    def _provide(self, places: int) -> None:
        """Open connections until there are this many places, or as many as the load may have."""
        while self.places < min(places, self.source.most_places):
            self._connect()

    def _connect(self) -> None:
        left = self.source.most_places - self.places
        call = self.plan.endpoint.grpc
        connection = (
            GrpcConnection(self.site, self, call, min(left, call.streams_per_connection))
            if call
            else Http1Connection(self.site, self, self.plan.keep_alive)
        )
        self.places += connection.places
        self.connections[connection.fd] = connection
        self.opening[connection] = connection.places
        self.poller.watch(connection.fd, WRITABLE, new=True)
        try:
            connection.connect()
        except OSError as error:
            self._lose(connection, error)

    def watch(self, connection: Connection, mask: int) -> None:
        self.poller.watch(connection.fd, mask, new=False)

    def opened(self, connection: Connection) -> None:
        self.places += connection.places - self.opening.pop(connection)  # the server may allow fewer
        now = time.monotonic_ns()
        for _ in range(connection.places):
            if not connection.closing:
                self._use_place(connection, now)

    def _on_event(self, connection: Connection, mask: int) -> None:
        try:
            connection.on_event(mask)
        except MalformedAnswer as error:
            self._break(connection, Outcome.MALFORMED, 0, str(error))
        except OSError as error:
            if _code_of(error) in _OUR_OWN_LACK:  # it may be of a connection that was to take this one's place
                raise _lack(_code_of(error)) from error
            self._lose(connection, error)
        except Exception as error:  # a target's judge; no request may end the run
            self._break(connection, Outcome.MALFORMED, 0, f"the answer could not be judged: {error!r}")

    def _lose(self, connection: Connection, error: OSError) -> None:
        self._break(connection, Outcome.CONNECTION_ERROR, _code_of(error), error.strerror or str(error))

    def _break(self, connection: Connection, outcome: Outcome, code: int, text: str) -> None:
        """A connection cannot go on: what is on it fails, and so does a request that waits for it to open."""
        if connection.closed:
            return
        if code in _OUR_OWN_LACK:
            raise _lack(code)
        now = time.monotonic_ns()
        was_open = connection.is_open
        exchanges = tuple(connection.exchanges())
        self._drop(connection, now)
        for exchange in exchanges:
            self._record(exchange, now, 0, code, outcome, text)
        if not was_open and self.waiting:
            self._fail_waiting(now, outcome, code, text)
        self.next_sweep = 0  # what is due because of it is seen to at the end of this turn of the loop

    def _drop(self, connection: Connection, now: int) -> None:
        """Close a connection. Many in a row that never served make the next one wait: a dead server is not hammered."""
        self.poller.forget(connection.fd)
        del self.connections[connection.fd]
        self.opening.pop(connection, None)
        self.places -= connection.places
        connection.close()
        if not connection.served:
            self.fruitless += 1
            if self.fruitless > _FRUITLESS_AT_ONCE:
                self.retry_ns = now + _RECONNECT_PAUSE_NS

    # -- requests --

    def _issue_due(self, now: int) -> None:
        """Send or queue everything that is due, then arm the timer for what is next."""
        source, issued = self.source, 0
        while (intended := source.next_ns()) is not None and intended <= now:
            issued += 1
            exchange = Exchange(source.take(), intended, intended)
            if (connection := self._free_connection()) is not None:
                self._send(connection, exchange)
            else:
                self.waiting.append(exchange)
        if intended is not None:
            self.poller.arm(intended)
        own = self.watch_self
        own.queue_max = max(own.queue_max, issued)
        if self.waiting:
            own.waiting_max = max(own.waiting_max, len(self.waiting))
            self._open_for_waiting(now)

    def _free_connection(self) -> Connection | None:
        while self.free:
            connection = self.free.popleft()
            if not connection.closing:
                return connection
            if not connection.closed:
                self._give_back(connection)
        return None

    def _open_for_waiting(self, now: int) -> None:
        """Open connections for the requests that wait and have none coming."""
        coming = sum(connection.places for connection in self.opening)
        while coming < len(self.waiting) and self.places < self.source.most_places and now >= self.retry_ns:
            before = self.places
            self._connect()
            coming += max(0, self.places - before)

    def _send(self, connection: Connection, exchange: Exchange) -> None:
        if exchange not in self.busy:  # what was put back is bound, counted, and keeps its place in the order
            exchange.request = self.source.bound(exchange.request)
            self.outcomes.sends(exchange)
        self.busy[exchange] = connection
        try:
            connection.start(exchange)
        except OSError as error:
            self._lose(connection, error)

    def event(self, exchange: Exchange, at_ns: int, tokens: int) -> None:
        self.outcomes.event(exchange, at_ns, tokens)

    def put_back(self, connection: Connection, exchanges: Sequence[Exchange]) -> None:
        """Requests go to other connections, before those that wait; they stay busy: times and timeouts run on."""
        now = time.monotonic_ns()
        left = deque(exchanges)
        for exchange in exchanges:
            exchange.sent_ns = exchange.sent_ns or now
        while left and (other := self._free_connection()) is not None:
            self._send(other, left.popleft())
        self.waiting.extendleft(reversed(left))
        self._go_on(connection, now)

    def done(
        self,
        connection: Connection,
        exchange: Exchange,
        done_ns: int,
        bytes_in: int,
        code: int,
        outcome: Outcome,
        answer: bytes | bytearray,
        text: str = "",
    ) -> None:
        """An answer came: the next request goes first, in a closed loop it waits for nothing else."""
        self.fruitless = 0
        del self.busy[exchange]
        self._ended(done_ns, exchange.request, ok=outcome is Outcome.OK)
        self._go_on(connection, done_ns)
        if self.plan.keep_answers and outcome is Outcome.OK:
            self.outcomes.keep(exchange.request, answer)
        self.outcomes.ended(exchange, done_ns, bytes_in, code, outcome, text)

    def _go_on(self, connection: Connection, now: int) -> None:
        """Use the place of an exchange that ended, if the connection goes on."""
        if not connection.closing:
            self._use_place(connection, now)
            return
        self._give_back(connection)
        if not connection.exchanges():
            self._drop(connection, now)
        self._issue_due(now)

    def _give_back(self, connection: Connection) -> None:
        """Count the places that a closing connection does not use any more as free for others to be opened."""
        used = len(connection.exchanges())
        self.places -= connection.places - used
        connection.places = used

    def _record(self, exchange: Exchange, done: int, bytes_in: int, code: int, outcome: Outcome, text: str) -> None:
        del self.busy[exchange]
        self.outcomes.ended(exchange, done, bytes_in, code, outcome, text)
        self._ended(done, exchange.request, ok=outcome is Outcome.OK)

    def _ended(self, done: int, request: int | None = None, *, ok: bool = False) -> None:
        if self.source.on_done(done, request, ok=ok) and (intended := self.source.next_ns()) and intended > done:
            self.poller.arm(intended)

    def _use_place(self, connection: Connection, now: int) -> None:
        """Give a place that became free to the request that waits longest, or to the next that is due."""
        if self.waiting:
            exchange = self.waiting.popleft()
        elif (due := self.source.next_ns()) is not None and due <= now:
            exchange = Exchange(self.source.take(), due, due)
        else:
            self.free.append(connection)
            return
        if not exchange.sent_ns:
            exchange.ready = max(now, exchange.intended)
        self._send(connection, exchange)

    def _fail_waiting(self, now: int, outcome: Outcome, code: int, text: str) -> None:
        """There is no connection for the request that waits longest for one: it fails."""
        exchange = self.waiting.popleft()
        if exchange in self.busy:
            self._record(exchange, now, 0, code, outcome, text)
            return
        self.outcomes.unsent(exchange.request, exchange.intended, now, code, outcome, text)
        self._ended(now)

    def _sweep(self, now: int) -> None:
        """Fail what had no answer in time, and see to what is due and has no connection."""
        self.next_sweep = now + _SWEEP_NS
        for exchange in self._sent_before(now - self.shortest_timeout_ns):
            if exchange.sent_ns < now - self.plan.timeout_of(exchange.request):
                self._time_out(exchange, now)
        late = now - self.plan.timeout_ns
        for connection in [one for one in self.opening if one.since_ns < late]:
            self._break(connection, Outcome.TIMEOUT, 0, "the connection did not open in time")
        now = time.monotonic_ns()  # what timed out just now may have made others due
        if self.waiting or ((intended := self.source.next_ns()) is not None and intended <= now):
            self._issue_due(now)

    def _sent_before(self, late: int) -> list[Exchange]:
        """Return the requests on their way that were sent before a time; they stand in the order of sending."""
        found: list[Exchange] = []
        for exchange in self.busy:
            if exchange.sent_ns >= late:
                break
            found.append(exchange)
        return found

    def _time_out(self, exchange: Exchange, now: int) -> None:
        connection = self.busy.get(exchange)
        if connection is None:
            return
        text = f"no answer within {self.plan.timeout_of(exchange.request) / 1e9:g} s"
        if connection.closing and exchange in self.waiting:
            self.waiting.remove(exchange)
            self._record(exchange, now, 0, 0, Outcome.TIMEOUT, text)
            return
        try:
            goes_on = connection.abandon(exchange)
        except OSError:
            goes_on = False
        if not goes_on:
            self._break(connection, Outcome.TIMEOUT, 0, text)
            return
        self._record(exchange, now, 0, 0, Outcome.TIMEOUT, text)
        self._go_on(connection, now)

    def _drop_waiting(self, now: int) -> None:
        """When the run is over, what never got a connection was dropped."""
        over = now > self.plan.window[1] + self.plan.timeout_ns
        while over and self.waiting:
            self._fail_waiting(now, Outcome.DROPPED, 0, "no connection became free before the end")


def _code_of(error: OSError) -> int:
    """Return an error's errno, 0 where it has none of the system's: TLS has numbers of its own."""
    return 0 if isinstance(error, ssl.SSLError) else error.errno or 0


def _lack(code: int) -> OSError:
    return OSError(code, f"{os.strerror(code)} on the load generator's host")
