"""A server that does nothing but answer: the yardstick for what the load generator itself can reach on a host.

`python -P -m tuner.load.null_server [HOST]` prints its port and serves HTTP/1.1 on the address of HOST, 127.0.0.1 if
absent, until its standard input closes.

Each request, without a body or with a Content-Length, gets the same answer. One thread, one epoll loop; a connection
that repeats its last request to the byte, as a load generator's does, is answered without parsing. A client that sends
without end and does not read its answers is disconnected.
"""

import ctypes
import gc
import os
import re
import select
import signal
import socket
import subprocess
import sys
from types import TracebackType

from targets.base import Endpoint, Outcome

REQUEST = b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
LOOPBACK = "127.0.0.1"
_BODY = b"ok"
_START_TIMEOUT_S = 30.0
_PR_SET_PDEATHSIG = 1
_READ_BYTES = 1 << 14
_MAX_EVENTS = 64
_MAX_HEAD_BYTES = 1 << 16
_HEAD_END = b"\r\n\r\n"
_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d+)", re.IGNORECASE)


class NullServerError(Exception):
    """The null server's process did not start."""


class NullServer:
    """A null server's process.

    Args:
        cpus: that it runs on, None: any.
        host: address that it serves on.

    Raises:
        NullServerError: it does not start.
        OSError: the CPUs cannot be used.
    """

    def __init__(self, cpus: frozenset[int] | None = None, host: str = LOOPBACK) -> None:
        self._host = host
        command = [sys.executable, "-P", "-m", "tuner.load.null_server", host]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        try:
            self.port = self._read_port()
            if cpus:
                os.sched_setaffinity(self._process.pid, cpus)
        except BaseException:
            self.close()
            raise

    def _read_port(self) -> int:
        assert self._process.stdout is not None
        if not select.select([self._process.stdout], [], [], _START_TIMEOUT_S)[0]:
            raise NullServerError(f"the null server did not start within {_START_TIMEOUT_S:g} s")
        if line := self._process.stdout.readline():
            return int(line)
        raise NullServerError(f"the null server ended with exit code {self._process.wait()}")

    @property
    def pid(self) -> int:
        """Process id of the server."""
        return self._process.pid

    @property
    def endpoint(self) -> Endpoint:
        """Where to send, and the one request."""
        return Endpoint(self._host, self.port, (REQUEST,), judge)

    def close(self) -> None:
        """End the process; safe to call twice."""
        self._process.kill()
        self._process.communicate()

    def __enter__(self) -> "NullServer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def judge(status: int, body: bytes) -> Outcome:
    """Accept the null server's answer and no other."""
    return Outcome.OK if status == 200 and body == _BODY else Outcome.HTTP_ERROR


class _Connection:
    """A client's connection.

    Attributes:
        expected: the last request, while nothing else came since: these bytes need no parsing.
    """

    __slots__ = ("_buffer", "expected", "recv", "send", "socket")

    def __init__(self, client: socket.socket) -> None:
        self.socket = client
        self.recv, self.send = client.recv, client.send
        self.expected: bytes | None = None
        self._buffer = bytearray()

    def take(self, data: bytes) -> int:
        """Take bytes that were not expected and return how many requests are whole with them.

        Raises:
            ConnectionError: the client left, or sends something else than requests.
        """
        if not data:
            raise ConnectionResetError("the client left")
        alone = not self._buffer
        self._buffer += data
        count = start = 0
        while (end := _request_end(self._buffer, start)) is not None:
            count, start = count + 1, end
        del self._buffer[:start]
        self.expected = data if alone and count == 1 and not self._buffer else None
        return count


def _request_end(data: bytearray, start: int) -> int | None:
    """Return where the request that begins at `start` ends, None while it is not whole.

    Raises:
        ConnectionError: its head does not end.
    """
    head_end = data.find(_HEAD_END, start)
    if head_end < 0:
        if len(data) - start > _MAX_HEAD_BYTES:
            raise ConnectionError("a head without an end")
        return None
    length = _LENGTH.search(data, start, head_end)
    end = head_end + len(_HEAD_END) + (int(length[1]) if length else 0)
    return end if end <= len(data) else None


class _Server:
    """Answers whoever connects to `listener`, until `stop_fd` closes."""

    def __init__(self, listener: socket.socket, stop_fd: int) -> None:
        self._listener, self._stop_fd = listener, stop_fd
        self._connections: dict[int, _Connection] = {}
        self._epoll = select.epoll()
        self._epoll.register(listener, select.EPOLLIN)
        self._epoll.register(stop_fd, select.EPOLLIN)

    def run(self) -> None:
        poll, connections = self._epoll.poll, self._connections
        while True:
            for fd, _ in poll(-1, _MAX_EVENTS):
                connection = connections.get(fd)
                if connection is None:
                    if fd == self._stop_fd:
                        return
                    self._accept()
                    continue
                try:
                    data = connection.recv(_READ_BYTES)
                    answers = ANSWER if data == connection.expected else ANSWER * connection.take(data)
                    if connection.send(answers) != len(answers):
                        raise ConnectionError("the client does not read its answers")
                except OSError:
                    self._discard(connection)

    def _accept(self) -> None:
        client, _ = self._listener.accept()
        client.setblocking(False)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._connections[client.fileno()] = _Connection(client)
        self._epoll.register(client, select.EPOLLIN)

    def _discard(self, connection: _Connection) -> None:
        del self._connections[connection.socket.fileno()]
        connection.socket.close()


def main() -> None:
    """Serve until standard input closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the tuner decides when to end
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    host = sys.argv[1] if len(sys.argv) > 1 else LOOPBACK
    with socket.create_server((host, 0), backlog=1024) as listener:
        print(listener.getsockname()[1], flush=True)  # noqa: T201 - the tuner reads it
        gc.freeze()
        gc.disable()  # nothing here makes cycles
        _Server(listener, sys.stdin.fileno()).run()


if __name__ == "__main__":
    main()
