"""A real server with a known answer: `python -P -m targets.simulated.server [--port PORT] [--announce FILE]`.

It prints its port and serves HTTP/1.1 on 127.0.0.1 until its standard input closes (one that cannot close, like
/dev/null, leaves that to a signal). Its deployments are queues that work as model.py says, but in real time: a server
of the queue is busy by the clock, not by computing, and the answer is sent when its time has come.

GET /ready                       200
GET /deployments                 the aliases
PUT /deployments/ALIAS           make one, in place of an older one: the JSON of a DeploymentSpec
GET /deployments/ALIAS           its DeploymentSpec
DELETE /deployments/ALIAS        remove it: what is in service is still answered, what waits fails with 503
GET /deployments/ALIAS/stats     its Statistics
POST /deployments/ALIAS/infer    an inference; it joins the queue when its last byte is read

An inference may have two headers. `Service-Time-Ns` says how long it is served where there are no batches; without it
the deployment draws. `Class` is repeated in the answer, which tells what the queue did, in ns of the monotonic clock
that all processes of a host share: {"class": 0, "batch": 1, "arrived_ns": ..., "started_ns": ..., "done_ns": ...}.
Errors are {"error": TEXT}.

One thread. It waits in select, which keeps time to the microsecond; epoll alone would to the millisecond. The last
0.1 ms before an answer is due it looks at clock and connections without pause: a CPU that sleeps wakes up late, and the
answer is to be sent when the queue's arithmetic says.
"""

import argparse
import ctypes
import gc
import heapq
import os
import resource
import select
import signal
import socket
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict
from itertools import count
from pathlib import Path
from typing import NamedTuple

from pydantic import ValidationError

from targets.scheduling import ask_for_short_slices
from targets.simulated.connection import Connection, Head, MalformedRequest, answer
from targets.simulated.hosting import DeploymentSpec, Hosted, Job
from targets.simulated.live import Execution

HOST = "127.0.0.1"
SERVICE_TIME, CLASS = "service-time-ns", "class"
_PR_SET_PDEATHSIG = 1
_PR_SET_TIMERSLACK = 29
_BACKLOG = 4096
_LAST_STRETCH_NS = 100_000
_MAX_EVENTS = 64
_READ_BYTES = 1 << 12


class Refused(Exception):
    """A request that is answered with an error."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _Due(NamedTuple):
    """An execution and the answers that are sent at its end."""

    done_ns: int
    number: int
    hosted: Hosted
    execution: Execution[Job]
    answers: Sequence[bytes]


class Server:
    """Serves whoever connects to `listener`, until `stop_fd` closes."""

    def __init__(self, listener: socket.socket, stop_fd: int) -> None:
        self._listener, self._stop_fd = listener, stop_fd
        self._stopped = False
        self._connections: dict[int, Connection] = {}
        self._deployments: dict[str, Hosted] = {}
        self._due: list[_Due] = []
        self._numbers = count()
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        with suppress(PermissionError):  # what epoll does not take, /dev/null or a file, never closes
            self._epoll.register(stop_fd, select.EPOLLIN)

    def run(self) -> None:
        """Serve."""
        while not self._stopped:
            patience_s = self._patience_s()
            if patience_s != 0:
                select.select([self._epoll], [], [], patience_s)
            self._advance(time.monotonic_ns())
            for fd, mask in self._epoll.poll(0, _MAX_EVENTS):
                self._on_event(fd, mask)

    # -- time --

    def _patience_s(self) -> float | None:
        """Return how long to wait for requests, None: until there is one.

        The last stretch before an answer is due is not waited for, so that it is sent on time. A batch that is to begin
        needs none: it begins at its time even if that is found out later.
        """
        times = [begin + 1 for hosted in self._deployments.values() if (begin := hosted.queue.next_ns()) is not None]
        times += [due.done_ns - _LAST_STRETCH_NS for due in self._due[:1]]
        return max(0, min(times) - time.monotonic_ns()) / 1e9 if times else None

    def _advance(self, now: int) -> None:
        """Let end and begin what is to end and begin by now; answers go first, those to come can wait."""
        self._end(now)
        for hosted in self._deployments.values():
            self._begin(hosted, now)
        self._end(now)

    def _end(self, now: int) -> None:
        while self._due and self._due[0].done_ns <= now:
            due = heapq.heappop(self._due)
            for job, text in zip(due.execution.jobs, due.answers, strict=True):
                self._reply(job.connection, text)
            due.hosted.statistics.count(due.execution)
            for job in due.execution.jobs:
                self._serve(job.connection, time.monotonic_ns())

    def _begin(self, hosted: Hosted, now: int) -> None:
        for execution in hosted.queue.begun(now):
            answers = _answers(execution)
            heapq.heappush(self._due, _Due(execution.done_ns, next(self._numbers), hosted, execution, answers))

    # -- connections --

    def _on_event(self, fd: int, mask: int) -> None:
        connection = self._connections.get(fd)
        if connection is None:
            if fd == self._stop_fd:
                self._stopped = not os.read(fd, _READ_BYTES)
            else:
                self._accept()
            return
        try:
            if mask & select.EPOLLOUT and connection.send():
                self._epoll.modify(fd, select.EPOLLIN)
                self._answered(connection)
            if mask & ~select.EPOLLOUT and not connection.closed:
                connection.receive()
        except OSError:
            self._discard(connection)
        self._serve(connection, time.monotonic_ns())

    def _accept(self) -> None:
        try:
            client, _ = self._listener.accept()
        except OSError:  # whoever it was has left
            return
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[client.fileno()] = Connection(client)
        self._epoll.register(client, select.EPOLLIN)

    def _discard(self, connection: Connection) -> None:
        """End a connection. What it has in a queue stays there: a server of the queue does not know."""
        del self._connections[connection.socket.fileno()]
        connection.close()

    def _reply(self, connection: Connection, data: bytes) -> None:
        """Send an answer, unless the client has left."""
        if connection.closed:
            return
        try:
            if connection.send(data):
                self._answered(connection)
            else:
                self._epoll.modify(connection.socket, select.EPOLLIN | select.EPOLLOUT)
        except OSError:
            self._discard(connection)

    def _answered(self, connection: Connection) -> None:
        connection.busy = False
        if connection.closing:
            self._discard(connection)

    # -- requests --

    def _serve(self, connection: Connection, now: int) -> None:
        """Take the requests of a connection, as far as they are answered at once.

        The first of them was there at `now`; understanding it takes time that is not the client's.
        """
        try:
            while not (connection.busy or connection.closed) and (request := connection.take()) is not None:
                self._handle(connection, *request, now)
                now = time.monotonic_ns()
        except MalformedRequest as error:
            connection.busy = connection.closing = True
            self._reply(connection, answer(400, {"error": str(error)}))

    def _handle(self, connection: Connection, head: Head, body: bytes, now: int) -> None:
        try:
            match head.method, head.path.split("/")[1:]:
                case "POST", ["deployments", alias, "infer"]:
                    self._infer(self._hosted(alias), connection, head, now)
                    return
                case "PUT", ["deployments", alias] if alias:
                    found = self._deploy(alias, body)
                case "GET", ["deployments", alias]:
                    found = self._hosted(alias).spec.model_dump(mode="json")
                case "DELETE", ["deployments", alias]:
                    found = self._remove(alias)
                case "GET", ["deployments", alias, "stats"]:
                    found = asdict(self._hosted(alias).statistics)
                case "GET", ["deployments"]:
                    found = {"deployments": list(self._deployments)}
                case "GET", ["ready"]:
                    found = {"ready": True}
                case _:
                    raise Refused(404, f"nothing answers to {head.method} {head.path}")
        except Refused as error:
            self._reply(connection, answer(error.status, {"error": str(error)}))
        else:
            self._reply(connection, answer(200, found))

    def _infer(self, hosted: Hosted, connection: Connection, head: Head, now: int) -> None:
        try:
            label = int(head.headers.get(CLASS, "0"))
            job = hosted.job(connection, label, _service_ns(head))
        except ValueError as error:
            hosted.statistics.failures += 1
            raise Refused(400, str(error)) from None
        hosted.queue.join(now, job)
        hosted.statistics.joined += 1

    def _hosted(self, alias: str) -> Hosted:
        if alias not in self._deployments:
            raise Refused(404, f"no deployment {alias!r}; there are: {', '.join(self._deployments) or 'none'}")
        return self._deployments[alias]

    def _deploy(self, alias: str, body: bytes) -> dict[str, object]:
        try:
            hosted = Hosted(DeploymentSpec.model_validate_json(body))
        except ValidationError as error:
            raise Refused(400, _complaints(error)) from None
        if alias in self._deployments:
            self._remove(alias)
        self._deployments[alias] = hosted
        _log(f"deployed {alias}: {hosted.spec.model_dump_json()}")
        return hosted.spec.model_dump(mode="json")

    def _remove(self, alias: str) -> dict[str, object]:
        hosted = self._hosted(alias)
        self._begin(hosted, time.monotonic_ns())
        del self._deployments[alias]
        for job in hosted.queue.dismiss():
            self._reply(job.connection, answer(503, {"error": f"deployment {alias!r} was removed"}))
            self._serve(job.connection, time.monotonic_ns())
        _log(f"removed {alias}: {asdict(hosted.statistics)}")
        return {"removed": alias}


def _answers(execution: Execution[Job]) -> list[bytes]:
    """Return the answers to a batch; they are made when it begins, so that at its end they have only to be sent."""
    times = {"started_ns": execution.started_ns, "done_ns": execution.done_ns}
    return [
        answer(200, {"class": job.label, "batch": len(execution.jobs), "arrived_ns": arrived, **times})
        for job, arrived in zip(execution.jobs, execution.arrived_ns, strict=True)
    ]


def _service_ns(head: Head) -> int | None:
    given = head.headers.get(SERVICE_TIME)
    if given is None:
        return None
    if not (given.isascii() and given.isdigit()):
        raise ValueError(f"Service-Time-Ns is a whole number of nanoseconds, not {given!r}")
    return int(given)


def _complaints(error: ValidationError) -> str:
    found = (
        (".".join(map(str, one["loc"])), one["msg"].removeprefix("Value error, "), one["input"])
        for one in error.errors()
    )
    return "; ".join(f"{place}: {what}, but got {value!r}" if place else what for place, what, value in found)


def _log(line: str) -> None:
    sys.stderr.write(f"{line}\n")
    sys.stderr.flush()


def _prepare_process() -> None:
    """End with the process that started this one, wake up on time, and have as many connections as may be."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides when to end
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    libc.prctl(_PR_SET_TIMERSLACK, 1)  # the default lets select wake up 50 us late
    ask_for_short_slices()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _announce(port: int, path: Path | None) -> None:
    print(port, flush=True)  # noqa: T201 - whoever started it reads it
    if path is not None:
        unfinished = path.with_name(f"{path.name}.unfinished")
        unfinished.write_text(str(port))
        unfinished.replace(path)


def main() -> None:
    """Serve until standard input closes."""
    parser = argparse.ArgumentParser(prog="python -P -m targets.simulated.server")
    parser.add_argument("--port", type=int, default=0, help="port to serve on; a free one if not given")
    parser.add_argument("--announce", type=Path, help="file to write the port into once it serves")
    arguments = parser.parse_args()
    _prepare_process()
    try:
        listener = socket.create_server((HOST, arguments.port), backlog=_BACKLOG)
    except OSError as error:
        sys.exit(f"port {arguments.port} on {HOST} cannot be taken ({error.strerror}); free it, or take another")
    with listener:
        listener.setblocking(False)
        server = Server(listener, sys.stdin.fileno())
        _announce(listener.getsockname()[1], arguments.announce)
        gc.freeze()
        gc.disable()  # nothing here makes cycles
        server.run()


if __name__ == "__main__":
    main()
