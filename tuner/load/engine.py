"""Run a plan: one thread, one epoll loop, non-blocking sockets, a timerfd for the schedule.

Every time stamp is taken beside the system call it speaks of. A request that fails in any way becomes a row with its
outcome; nothing a server does ends a run.
"""

import errno
import gc
import heapq
import select
import socket
import time
from collections import deque

from targets.base import Outcome
from tuner.load.http1 import MalformedAnswer, read_head
from tuner.load.plan import ClosedLoop, OpenLoop, Plan, RunReport
from tuner.load.timer import Timer
from tuner.records import RecordsWriter

_READ_BYTES = 1 << 18
_SWEEP_NS = 20_000_000
_RECONNECT_PAUSE_NS = 10_000_000
_IN, _OUT = select.EPOLLIN, select.EPOLLIN | select.EPOLLOUT


def run(plan: Plan) -> RunReport:
    """Run a plan to its end: until every request ended, failed or timed out.

    Raises:
        OSError: a resource of this host ran out (file descriptors, disk); nothing the server does.
    """
    gc.collect()
    gc.disable()
    try:
        records = RecordsWriter(plan.records_path)
        engine = _Engine(plan, records)
        try:
            engine.run()
        finally:
            engine.close()
        records.close(plan.window)
        return RunReport(records.count, engine.cpu.share(), tuple(engine.answers))
    finally:
        gc.enable()


class _Connection:
    """A connection and the request on it, if any."""

    __slots__ = (
        "buffer",
        "busy",
        "connected",
        "fd",
        "first_ns",
        "intended",
        "out",
        "ready",
        "request",
        "sent_ns",
        "socket",
    )

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.socket(socket.AF_INET6 if ":" in address[0] else socket.AF_INET, socket.SOCK_STREAM)
        self.socket.setblocking(False)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.socket.fileno()
        self.connected = self.socket.connect_ex(address) == 0
        self.buffer = bytearray()
        self.out = memoryview(b"")
        self.busy = False
        self.request = self.intended = self.ready = self.sent_ns = self.first_ns = 0


class _CpuMeter:
    """CPU time of this process over the window, read at the first event after either edge."""

    def __init__(self, window: tuple[int, int]) -> None:
        self._edges = deque(window)
        self._readings: list[tuple[int, int]] = []
        self.next_ns = self._edges[0]

    def read(self, now: int) -> None:
        self._readings.append((now, time.process_time_ns()))
        self._edges.popleft()
        self.next_ns = self._edges[0] if self._edges else 1 << 63

    def share(self) -> float:
        if len(self._readings) < 2:
            return 0.0
        (wall_0, cpu_0), (wall_1, cpu_1) = self._readings
        return (cpu_1 - cpu_0) / max(1, wall_1 - wall_0)


class _Engine:
    def __init__(self, plan: Plan, records: RecordsWriter) -> None:
        self.plan = plan
        self.records = records
        self.requests = plan.endpoint.requests
        self.judge = plan.endpoint.judge
        self.address = (plan.endpoint.host, plan.endpoint.port)
        self.epoll = select.epoll()
        self.timer = Timer()
        self.epoll.register(self.timer.fd, _IN)
        self.cpu = _CpuMeter(plan.window)
        self.answers: list[tuple[int, bytes]] = []
        self.connections: dict[int, _Connection] = {}
        self.free: deque[_Connection] = deque()
        self.waiting: deque[tuple[int, int]] = deque()
        self.open_retries: list[int] = []
        self.in_flight = 0
        self.next_sweep = 0
        self.end_ns = plan.window[1]
        self.source = (
            _ClosedSource(plan.load, plan) if isinstance(plan.load, ClosedLoop) else _OpenSource(plan.load, plan)
        )

    def run(self) -> None:
        for _ in range(self.source.initial_connections):
            self._connect()
        self._settle_connections()
        self.timer.arm(self.plan.start_ns)
        deadline = self.end_ns + self.plan.timeout_ns
        while not (self.source.exhausted and not self.in_flight and not self.waiting):
            for fd, _ in self.epoll.poll(_SWEEP_NS / 1e9):
                if fd == self.timer.fd:
                    self.timer.clear()
                    self._issue_due(time.monotonic_ns())
                elif connection := self.connections.get(fd):
                    self._on_event(connection)
            now = time.monotonic_ns()
            if now >= self.cpu.next_ns:
                self.cpu.read(now)
            if now >= self.next_sweep:
                self._sweep(now)
            if now > deadline and self.waiting:
                self._drop_waiting(now)

    def close(self) -> None:
        for connection in self.connections.values():
            connection.socket.close()
        self.epoll.close()
        self.timer.close()

    def _settle_connections(self) -> None:
        """Wait until the first connections are open, so that the load starts on time."""
        deadline = time.monotonic_ns() + self.plan.timeout_ns
        while time.monotonic_ns() < min(deadline, self.plan.start_ns):
            pending = [one for one in self.connections.values() if not one.connected]
            if not pending:
                return
            for fd, _ in self.epoll.poll(0.01):
                if connection := self.connections.get(fd):
                    self._on_event(connection)

    def _connect(self) -> None:
        connection = _Connection(self.address)
        self.connections[connection.fd] = connection
        self.epoll.register(connection.fd, _IN if connection.connected else _OUT)
        if connection.connected:
            self._release(connection, time.monotonic_ns())

    def _issue_due(self, now: int) -> None:
        """Send or queue everything that is due, then arm the timer for what is next."""
        while (intended := self.source.next_ns()) is not None and intended <= now:
            request = self.source.take()
            self._offer(request, intended)
        if intended is not None:
            self.timer.arm(intended)

    def _offer(self, request: int, intended: int) -> None:
        if self.free:
            self._send(self.free.popleft(), request, intended, intended)
            return
        self.waiting.append((request, intended))
        if len(self.connections) + len(self.open_retries) < self.source.max_connections:
            self._connect()

    def _send(self, connection: _Connection, request: int, intended: int, ready: int) -> None:
        connection.busy = True
        connection.request, connection.intended, connection.ready = request, intended, ready
        connection.first_ns = 0
        self.in_flight += 1
        data = self.requests[request]
        connection.sent_ns = time.monotonic_ns()
        try:
            sent = connection.socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError as error:
            self._fail(connection, Outcome.CONNECTION_ERROR, error.errno or 0)
            return
        if sent < len(data):
            connection.out = memoryview(data)[sent:]
            self.epoll.modify(connection.fd, _OUT)

    def _on_event(self, connection: _Connection) -> None:
        try:
            if not connection.connected or connection.out:
                self._on_writable(connection)
            else:
                self._on_readable(connection)
        except BlockingIOError:
            return
        except MalformedAnswer:
            self._fail(connection, Outcome.MALFORMED, 0)
        except OSError as error:
            self._fail(connection, Outcome.CONNECTION_ERROR, error.errno or 0)

    def _on_writable(self, connection: _Connection) -> None:
        if not connection.connected:
            if code := connection.socket.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
                raise OSError(code, "connect failed")
            connection.connected = True
            self.epoll.modify(connection.fd, _IN)
            self._release(connection, time.monotonic_ns())
            return
        connection.out = connection.out[connection.socket.send(connection.out) :]
        if not connection.out:
            self.epoll.modify(connection.fd, _IN)

    def _on_readable(self, connection: _Connection) -> None:
        data: bytes | bytearray = connection.socket.recv(_READ_BYTES)
        done = time.monotonic_ns()
        if not connection.busy:
            self._discard(connection)  # closed, or bytes that nobody asked for
            return
        if not data:
            raise ConnectionResetError(errno.ECONNRESET, "closed in the middle of an answer")
        connection.first_ns = connection.first_ns or done
        if connection.buffer:
            connection.buffer += data
            data = connection.buffer
        head = read_head(data)
        if head is None or len(data) < head.total:
            if data is not connection.buffer:
                connection.buffer += data
            return
        if len(data) > head.total:
            raise MalformedAnswer("more bytes than the answer's length")
        self._complete(connection, head.status, bytes(data), head.body_start, done)
        if head.keep_alive:
            connection.buffer.clear()
            self._release(connection, done)
        else:
            self._discard(connection)

    def _complete(self, connection: _Connection, status: int, data: bytes, body_start: int, done: int) -> None:
        outcome = self.judge(status, data[body_start:])
        if self.plan.keep_answers and outcome is Outcome.OK:
            self.answers.append((connection.request, data))
        self._record(connection, done, len(data), status, outcome)

    def _record(self, connection: _Connection, done: int, bytes_in: int, code: int, outcome: int) -> None:
        request = connection.request
        self.records.append(
            (connection.intended, connection.ready, connection.sent_ns, connection.first_ns, done),
            (len(self.requests[request]), bytes_in),
            request,
            code,
            outcome,
        )
        connection.busy = False
        self.in_flight -= 1
        self._finished(done)

    def _finished(self, done: int) -> None:
        if self.source.on_done(done):
            intended = self.source.next_ns()
            if intended is not None and intended > done:
                self.timer.arm(intended)

    def _release(self, connection: _Connection, now: int) -> None:
        """Give a connection that became free to the request that waits longest, or to the next that is due."""
        if self.waiting:
            request, intended = self.waiting.popleft()
            self._send(connection, request, intended, max(now, intended))
            return
        intended_next = self.source.next_ns()
        if intended_next is not None and intended_next <= now:
            self._send(connection, self.source.take(), intended_next, max(now, intended_next))
            return
        self.free.append(connection)

    def _fail(self, connection: _Connection, outcome: Outcome, code: int) -> None:
        if connection.busy:
            self._record(connection, time.monotonic_ns(), len(connection.buffer), code, outcome)
        elif not connection.connected and self.waiting:
            self._fail_waiting(outcome, code)
        self._discard(connection)

    def _fail_waiting(self, outcome: Outcome, code: int) -> None:
        """A connection could not be opened: the request that waits longest for one fails with it."""
        request, intended = self.waiting.popleft()
        now = time.monotonic_ns()
        self.records.append((intended, 0, 0, 0, now), (0, 0), request, code, outcome)
        self._finished(now)

    def _discard(self, connection: _Connection) -> None:
        """Close a connection; another is opened after a pause, so that a dead server is not hammered."""
        self.epoll.unregister(connection.fd)
        del self.connections[connection.fd]
        if connection in self.free:
            self.free.remove(connection)
        connection.socket.close()
        if connection.connected:
            self._connect()
        else:
            self.open_retries.append(time.monotonic_ns() + _RECONNECT_PAUSE_NS)

    def _sweep(self, now: int) -> None:
        """Fail requests that had no answer in time, and open connections whose pause is over."""
        self.next_sweep = now + _SWEEP_NS
        late = now - self.plan.timeout_ns
        for connection in [one for one in self.connections.values() if one.busy and one.sent_ns < late]:
            self._fail(connection, Outcome.TIMEOUT, 0)
        due = [at for at in self.open_retries if at <= now]
        self.open_retries = [at for at in self.open_retries if at > now]
        for _ in due:
            self._connect()
        if (intended := self.source.next_ns()) is not None and intended <= now:
            self._issue_due(now)

    def _drop_waiting(self, now: int) -> None:
        """The run is over: what never got a connection was dropped."""
        while self.waiting:
            request, intended = self.waiting.popleft()
            self.records.append((intended, 0, 0, 0, now), (0, 0), request, 0, Outcome.DROPPED)
            self._finished(now)


class _OpenSource:
    """Arrivals from a schedule."""

    def __init__(self, load: OpenLoop, plan: Plan) -> None:
        self._intended = (load.schedule.offsets_ns + plan.start_ns).tolist()
        self._requests = load.schedule.requests.tolist()
        self._next = 0
        self.max_connections = load.connections
        self.initial_connections = min(load.connections, len(self._intended), 64)

    @property
    def exhausted(self) -> bool:
        return self._next == len(self._intended)

    def next_ns(self) -> int | None:
        return self._intended[self._next] if self._next < len(self._intended) else None

    def take(self) -> int:
        self._next += 1
        return int(self._requests[self._next - 1])

    def on_done(self, done: int) -> bool:  # noqa: ARG002 - a schedule does not wait for answers
        return False


class _ClosedSource:
    """Slots: a request is due when a slot's answer came and its think time is over."""

    def __init__(self, load: ClosedLoop, plan: Plan) -> None:
        self._order = load.order.tolist()
        self._left = load.total if load.total is not None else -1
        self._think = load.think_time_ns
        self._end = plan.window[1]
        self._due = [plan.start_ns] * load.concurrency
        self._position = 0
        self.max_connections = self.initial_connections = load.concurrency

    @property
    def exhausted(self) -> bool:
        return not self._due

    def next_ns(self) -> int | None:
        return self._due[0] if self._due else None

    def take(self) -> int:
        heapq.heappop(self._due)
        request = self._order[self._position]
        self._position = (self._position + 1) % len(self._order)
        self._left -= 1
        if self._left == 0:
            self._due.clear()
        return int(request)

    def on_done(self, done: int) -> bool:
        due = done + self._think
        if due >= self._end or self._left == 0:
            return False
        heapq.heappush(self._due, due)
        return True
